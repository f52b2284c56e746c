"""AUROC within folds, averaged, with an interval whose unit is the problem.

The AUROC is a U-statistic. Each row's share in its error is known (DeLong, DeLong and Clarke-Pearson 1988), and summed
over the rows of a problem it gives the variance of clustered rows (Obuchowski 1997). Means of several AUROCs over the
same problems add such shares, so their covariance is kept.

That takes the fits as given. But each fold is tested by a fit that saw the others, and it helped to train the fits that
these are tested by, so the AUROCs of the folds go up and down together (Bengio and Grandvalet 2004). Where states tell
nothing, the mean is close to a degenerate U-statistic in the folds, sum of c_i c_j over i != j: each product is in it
twice, so its variance is twice that of independent folds, for any number of folds. Where states tell much it is less.
No estimate of it is unbiased, so twice is taken throughout (Nadeau and Bengio 2003 take 1 + k / (k - 1)): intervals
hold .5 where there is nothing to tell, and are on the wide side where there is.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Shares:
    """An estimate and each problem's share in its error, float64[problems], whose squares add up to its variance."""

    value: float
    of: np.ndarray

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Normal interval within 0 and 1; NaN where fewer than two problems have a share."""
        if np.count_nonzero(self.of) < 2:
            return float("nan"), float("nan")
        reach = NormalDist().inv_cdf(0.5 + level / 2) * float(np.sqrt((self.of**2).sum()))
        return max(self.value - reach, 0.0), min(self.value + reach, 1.0)


def auroc_shares(scores: np.ndarray, labels: np.ndarray, problem: np.ndarray, problems: int) -> Shares | None:
    """AUROC of scores [n] for labels [n] (1, 0), problem int [n] in 0 .. problems - 1. None if one class is missing.

    >>> auroc_shares(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), np.arange(4), 4).value
    0.75
    """
    positive = labels == 1
    a, b = scores[positive], scores[~positive]
    if not len(a) or not len(b):
        return None
    place_a, place_b = _below(a, b), 1 - _below(b, a)
    value = float(place_a.mean())
    of = _shares(place_a, value, problem[positive], problems) + _shares(place_b, value, problem[~positive], problems)
    return Shares(value, of)


def mean_of(parts: list[Shares]) -> Shares | None:
    """The mean of estimates over the same problems; None of none."""
    if not parts:
        return None
    return Shares(float(np.mean([p.value for p in parts])), np.mean([p.of for p in parts], axis=0))


def crossed(found: Shares) -> Shares:
    """A mean over fits that were trained on what others of them are tested on: twice the variance, as told above."""
    return Shares(found.value, found.of * np.sqrt(2))


def within_folds(scores: np.ndarray, labels: np.ndarray, fold: np.ndarray, problem: np.ndarray) -> Shares | None:
    """Mean of the AUROCs of each fold and question: scores, labels [n, questions], fold, problem int [n].

    The scores of a fold are those of a fit to the others.

    Scores of different folds come from different fits and are never ranked against each other: pooled, a label that is
    constant within its problem would be told by the fit's offset alone. Folds and questions without both classes are
    left out. None if all are.
    """
    problems = int(problem.max()) + 1 if len(problem) else 0
    parts = []
    for o in np.unique(fold):
        rows = np.flatnonzero(fold == o)
        for q in range(labels.shape[1]):
            parts.append(auroc_shares(scores[rows, q], labels[rows, q], problem[rows], problems))
    found = mean_of([part for part in parts if part is not None])
    return found and crossed(found)


def _shares(places: np.ndarray, value: float, problem: np.ndarray, problems: int) -> np.ndarray:
    """Of the rows of one class, with the mean `value` of their places: each problem's share in the error of that mean.

    A class that lies in one problem does not tell how problems differ: its share is the most that the mean allows.
    """
    held = np.unique(problem)
    if len(held) == 1:
        return np.where(np.arange(problems) == held[0], np.sqrt(value * (1 - value)), 0)
    return np.bincount(problem, places - value, problems) / len(places) * np.sqrt(len(held) / (len(held) - 1))


def _below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each value the share of `others` below it, ties counted by half."""
    ranked = np.sort(others)
    return (np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")) / (2 * len(ranked))
