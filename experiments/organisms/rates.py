"""Shares of problems and their differences, with 95 % intervals by problem; means over units."""

import math
from collections.abc import Sequence
from typing import Any

from scipy import stats

Z = float(stats.norm.ppf(0.975))


def share(right: Sequence[bool]) -> dict[str, Any]:
    """Share of True, one a problem, with Wilson's interval (Wilson 1927). None where there is no problem.

    >>> share([True] * 19 + [False])
    {'n': 20, 'value': 0.95, 'low': 0.764, 'high': 0.991}

    Not shown: the spread between trainings; the problems are the sample, the model is given.
    """
    n = len(right)
    if not n:
        return {"n": 0, "value": None, "low": None, "high": None}
    p = sum(right) / n
    middle, half = p + Z**2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n * n))
    low, high = (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)
    return {"n": n, "value": round(p, 6), "low": round(max(low, 0), 3), "high": round(min(high, 1), 3)}


def difference(after: Sequence[bool], before: Sequence[bool]) -> dict[str, Any]:
    """Share of `after` - share of `before` on the same problems, with the interval of Agresti and Min (2005).

    One half is added to each of the four cells of the pair table, so that no interval has width 0.

    >>> difference([True, True, False, True], [True] * 4)
    {'value': -0.25, 'low': -0.609, 'high': 0.276}
    """
    n = len(after)
    if not n:
        return {"value": None, "low": None, "high": None}
    won = sum(a and not b for a, b in zip(after, before, strict=True))
    lost = sum(b and not a for a, b in zip(after, before, strict=True))
    w, l, m = won + 0.5, lost + 0.5, n + 2  # noqa: E741
    middle, se = (w - l) / m, math.sqrt(w + l - (w - l) ** 2 / m) / m
    return {"value": round((won - lost) / n, 6), "low": round(middle - Z * se, 3), "high": round(middle + Z * se, 3)}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """Mean of one number a problem, with Student's interval; without limits where there are fewer than two.

    >>> mean([3, 5, 4])
    {'n': 3, 'value': 4.0, 'low': 1.516, 'high': 6.484}
    """
    n, middle = len(values), sum(values) / len(values)
    half = _half(values) if n > 1 else math.nan
    return {"n": n, "value": round(middle, 6), "low": round(middle - half, 3), "high": round(middle + half, 3)}


def _half(values: Sequence[float]) -> float:
    """Half the width of Student's 95 % interval of the mean."""
    n, middle = len(values), sum(values) / len(values)
    return float(stats.t.ppf(0.975, n - 1)) * math.sqrt(sum((v - middle) ** 2 for v in values) / (n - 1) / n)


def over_units(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over units, low and high: Student's 95 % interval of three or more units, the range of two, or one value.

    >>> over_units([0.5, 0.7])
    (0.6, 0.5, 0.7)

    Not shown: units of one lineage share their base model, and the t interval takes them as independent.
    """
    middle = sum(values) / len(values)
    if len(values) < 3:
        return middle, min(values), max(values)
    half = _half(values)
    return middle, middle - half, middle + half
