"""Means over problems and their intervals: the problem, not the trace, is what was sampled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Estimate(NamedTuple):
    """A value, the low and high end of its interval, and the number of problems behind it."""

    value: float
    low: float
    high: float
    problems: int


def problem_means(values: np.ndarray, problem: np.ndarray, problems: int | None = None) -> np.ndarray:
    """float64[problems]: mean of the values that are not NaN over the traces of each problem, NaN where there is none.

    values: float64[n]; problem: int[n], codes from 0.

    >>> problem_means(np.array([1.0, 0.0, np.nan, 1.0]), np.array([0, 0, 1, 2]))
    array([0.5, nan, 1. ])
    """
    values, problem = np.asarray(values, np.float64), np.asarray(problem)
    known = ~np.isnan(values)
    size = problems if problems is not None else int(problem.max(initial=-1)) + 1
    n = np.bincount(problem[known], minlength=size)
    total = np.bincount(problem[known], weights=values[known], minlength=size)
    return np.divide(total, n, out=np.full(size, np.nan), where=n > 0)


def mean_interval(means: np.ndarray, level: float = 0.95) -> Estimate:
    """Mean over the problems that have a value, with Student's t interval by problem (the jackknife of a mean is this).

    means: float64[problems], NaN where a problem has none. Limits are NaN below two problems.

    >>> [round(x, 3) for x in mean_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484, 3]

    What it does not show: rare events. Where all problems agree the interval has no width; with nothing seen in n
    problems up to 3/n of them may still have it (95 %). Limits are not cut at the ends of a share's range.
    """
    return sum_interval([np.asarray(means, np.float64)], level)


def difference_interval(a: np.ndarray, b: np.ndarray, *, paired: bool, level: float = 0.95) -> Estimate:
    """Mean of A minus mean of B over problems, with its interval by problem.

    a, b: float64[problems], NaN where a problem has no value. Paired: entry i of both is the same problem, and problems
    that either lacks are left out, so that what is common to both cancels. Unpaired: Welch's interval; `problems` is
    then the smaller of the two numbers.

    >>> difference_interval(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0]), paired=True)
    Estimate(value=1.0, low=1.0, high=1.0, problems=3)

    What it does not show: what `mean_interval` does not show; unpaired, that the problems of the two are alike.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not paired:
        return sum_interval([a, -b], level)
    if a.shape != b.shape:
        raise ValueError(f"paired problems need as many values in both; they have {a.size} and {b.size}")
    return sum_interval([a - b], level)


def share_intervals(sums: np.ndarray, squares: np.ndarray, problems: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares with Wilson 95 % limits, from the sum and the sum of squares of each item's shares by problem.

    The n of Wilson's interval is share (1 - share) / variance of the mean; where problems do not differ, the number of
    problems. Limits are NaN below two problems.

    >>> [x.round(3).tolist() for x in share_intervals(np.array([0.0, 5.0]), np.array([0.0, 5.0]), 10)]
    [[0.0, 0.5], [0.0, 0.199], [0.339, 0.801]]
    """
    share = np.clip(sums / problems, 0, 1)  # sums of thirds round to beyond 1
    if problems < 2:
        return share, np.full(len(share), np.nan), np.full(len(share), np.nan)
    variance = np.maximum(squares - problems * share**2, 0) / (problems - 1) / problems
    spread = share * (1 - share)
    n = np.divide(spread, variance, out=np.full(len(share), float(problems)), where=variance > 1e-12)
    t = float(stdtrit(problems - 1, 0.975)) ** 2
    middle = (share + t / (2 * n)) / (1 + t / n)
    half = np.sqrt(t * (spread / n + t / (4 * n**2))) / (1 + t / n)
    return share, np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def sum_interval(parts: Sequence[np.ndarray], level: float = 0.95) -> Estimate:
    """Sum of the means of independent parts: variances add, degrees of freedom by Welch and Satterthwaite.

    parts: float64[problems] each, NaN where a problem has no value; a part to be taken off has its sign turned.
    `problems` is that of the smallest part.

    >>> [round(x, 3) for x in sum_interval([np.array([1.0, 2.0, 3.0]), np.array([-1.0, -1.0])])]
    [1.0, -1.484, 3.484, 2]

    What it does not show: what `mean_interval` does not show.
    """
    parts = [p[~np.isnan(p)] for p in parts]
    least = min(len(p) for p in parts)
    if least == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    value = float(sum(p.mean() for p in parts))
    if least == 1:
        return Estimate(value, float("nan"), float("nan"), 1)
    variances = np.array([p.var(ddof=1) / len(p) for p in parts])
    total = float(variances.sum())
    if total == 0:
        return Estimate(value, value, value, least)
    df = total**2 / (variances**2 / (np.array([len(p) for p in parts]) - 1)).sum()
    half = float(stdtrit(df, 0.5 + level / 2)) * total**0.5
    return Estimate(value, value - half, value + half, least)
