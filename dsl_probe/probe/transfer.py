"""Is it read out by the same direction in another domain: train in A, test in B; and how alike the directions are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsl_probe.probe.asked import ALL, Asked, Rows, Sweep
from dsl_probe.probe.grouped import Shares, auroc_shares, crossed, mean_of, within_folds
from dsl_probe.probe.sweep import LayerFit

if TYPE_CHECKING:
    import torch

SHUFFLES = 99


@dataclass(frozen=True)
class Part:
    """One domain: states [n, d]; labels int8[n, questions] and fit over all questions of the target, those not asked
    in this domain without a positive answer; problem int[n], numbers that all domains share."""

    x: "torch.Tensor"
    labels: np.ndarray
    problem: np.ndarray
    problems: int
    fold: np.ndarray
    scores: np.ndarray
    coef: np.ndarray | None
    intercept: np.ndarray | None


def part_of(asked: Asked, x: "torch.Tensor", fit: LayerFit, questions: int, problems: np.ndarray) -> Part:
    """A domain's share, its questions put in their places among all `questions`; problems: names, sorted."""
    at = list(asked.questions)

    def wide(values: np.ndarray, axis: int) -> np.ndarray:
        shape = list(values.shape)
        shape[axis] = questions
        found = np.zeros(shape, values.dtype)
        found[(slice(None),) * axis + (at,)] = values
        return found

    problem = np.searchsorted(problems, asked.labels.problem.astype(str))
    coef, intercept = (None if w is None else wide(w[0], 0) for w in (fit.coef, fit.intercept))
    return Part(x, wide(asked.columns, 1), problem, len(problems), asked.fold, wide(fit.scores, 1), coef, intercept)


def askable(a: Part, b: Part) -> list[int]:
    """Questions with both answers in both domains."""
    both = [(part.labels == 1).any(0) & (part.labels == 0).any(0) for part in (a, b)]
    return np.flatnonzero(both[0] & both[1]).tolist()


def transfer_auroc(train: Part, test: Part, questions: Sequence[int]) -> Shares | None:
    """AUROC in the domain `test` of the fit to all of the domain `train`, mean over the questions.

    The interval is over the problems of `test`; the fit is taken as given. What it does not show: whether a fit to both
    domains would do in both.
    """
    if train.coef is None or train.intercept is None:
        return None
    return _asked(train.coef[list(questions)], train.intercept[list(questions)], test, questions)


def add_transfer(rows: Rows, asked: Sequence[Asked], parts: Sequence[Part], layer: int) -> None:
    """Rows of one layer: for every pair of domains the AUROC and the cosine of directions; the means within and across.

    The means add each problem's share in the error over all pairs that it is in, so that their intervals hold for pairs
    that share a domain. Two domains tested by each other's fits go up and down together, as folds do (grouped.py).
    """
    across: list[Shares] = []
    within: list[Shares] = []
    for i, source in enumerate(parts):
        for j, goal in enumerate(parts):
            questions = askable(source, goal)
            if not questions:
                continue
            if i == j:
                found = within_folds(
                    source.scores[:, questions], source.labels[:, questions], source.fold, source.problem
                )
                within += [] if found is None else [Shares(found.value, _padded(found.of, source.problems))]
                continue
            found = transfer_auroc(source, goal, questions)
            if found is None or source.coef is None or goal.coef is None:
                continue
            across.append(found)
            more = {"train": asked[i].domain, "layer": layer}
            rows.add(asked[j], "auroc", found.value, found.interval(), **more)
            cosine = whitened_cosine(source.coef[questions], goal.coef[questions], pooled_covariance([source, goal]))
            rows.add(asked[j], "whitened cosine", float(np.nanmean(cosine)), **more)
    for metric, some in (("mean within domains", within), ("mean across domains", across)):
        if mean := mean_of(some):
            mean = crossed(mean) if some is across else mean
            rows.add(asked[0], metric, mean.value, mean.interval(), train=ALL, test=ALL, layer=layer)


def add_shuffled(
    rows: Rows, sweep: Sweep, asked: Sequence[Asked], parts: Sequence[Part], source: int, layer: int
) -> None:
    """Rows `p of transfer` and the null's 95th percentile, from one domain to each other, at one layer.

    The null: fits to labels that have been moved along the rows of the source domain (ordered by problem, in random
    order of problems) by a random number of rows: how labels hang together within a problem stays, what they have to do
    with the states goes. The strength is the middle one for all. p: two-sided about .5.
    """
    train = parts[source]
    rng = np.random.default_rng(sweep.config.seed)
    n, questions = train.labels.shape
    if train.coef is None:
        return
    moved = np.zeros((n, SHUFFLES, questions), np.int8)
    _, of = np.unique(train.problem, return_inverse=True)
    for k in range(SHUFFLES):
        order = np.argsort(rng.permutation(of.max() + 1)[of], kind="stable")
        moved[order, k] = train.labels[np.roll(order, int(rng.integers(1, max(n, 2))))]
    middle = sweep.strengths[len(sweep.strengths) // 2]
    fits = sweep.solver(train.x, moved.reshape(n, -1), np.zeros(n, np.int64), [()], [middle])
    if fits.coef is None or fits.intercept is None:
        return
    coef = fits.coef[0, :, 0].reshape(SHUFFLES, questions, -1)
    intercept = fits.intercept[0, :, 0].reshape(SHUFFLES, questions)
    for j, test in enumerate(parts):
        shared = askable(train, test)
        real = transfer_auroc(train, test, shared) if shared and j != source else None
        if real is None:
            continue
        null = [_asked(w[shared], b[shared], test, shared) for w, b in zip(coef, intercept, strict=True)]
        away = np.array([abs(one.value - 0.5) for one in null if one is not None])
        more = {"train": asked[source].domain, "layer": layer, "chosen": True}
        p = (1 + int((away >= abs(real.value - 0.5)).sum())) / (1 + len(away))
        rows.add(asked[j], "p of transfer", p, **more)
        rows.add(asked[j], "auroc", 0.5 + float(np.quantile(away, 0.95)), control="95 % of shuffled labels", **more)


def whitened_cosine(a: np.ndarray, b: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Cosine of probe directions a, b [..., d] in the space in which the states have unit covariance.

    A probe's weight acts on whitened states as C^(1/2) w, so the cosine is a'Cb / sqrt(a'Ca b'Cb): the correlation of
    the two read-outs over the states. Raw cosines are ruled by directions in which the states hardly vary.

    >>> whitened_cosine(np.array([1.0, 0]), np.array([1.0, 1]), np.eye(2)).round(4).item()
    0.7071
    """
    ca, cb = a @ covariance, b @ covariance
    norm = np.sqrt((ca * a).sum(-1) * (cb * b).sum(-1))
    return np.divide((ca * b).sum(-1), norm, out=np.full(norm.shape, np.nan), where=norm > 0)


def pooled_covariance(parts: Sequence[Part]) -> np.ndarray:
    """Covariance float64[d, d] of the states within domains, each domain with equal weight."""
    return np.mean([np.cov(part.x.double().numpy(), rowvar=False) for part in parts], axis=0)


def _asked(coef: np.ndarray, intercept: np.ndarray, test: Part, questions: Sequence[int]) -> Shares | None:
    scores = test.x.numpy() @ coef.T + intercept
    found = [
        auroc_shares(scores[:, i], test.labels[:, q], test.problem, test.problems) for i, q in enumerate(questions)
    ]
    return mean_of([one for one in found if one is not None])


def _padded(of: np.ndarray, problems: int) -> np.ndarray:
    return np.pad(of, (0, problems - len(of)))
