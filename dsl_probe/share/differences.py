"""Measures of the traces of several groups side by side, and the differences between the groups, by problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl_probe.share.means import Estimate, difference_interval, mean_interval, problem_means, sum_interval

# The differences, as `group` names them: side, less side.
PAIRS = {"A - B": ("a", "b"), "A - base": ("a", "base"), "B - base": ("b", "base")}


@dataclass(frozen=True)
class Sides:
    """The groups of a comparison by their side: `a`, `b` and, where it is a third group, `base`.

    names: what each group is called; rows: int64[n] rows of its traces.
    """

    names: Mapping[str, str]
    rows: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, a: str, b: str, base: str | None, rows: Sequence[np.ndarray | None]) -> "Sides":
        """Rows in the order a, b, base. A base that is the same traces as A or as B is no third group."""
        known = [np.asarray(own) for own in rows if own is not None]
        third = len(known) == 3 and not any(np.array_equal(known[2], own) for own in known[:2])
        names = {"a": a, "b": b} | ({"base": base or "base"} if third else {})
        return cls(names, dict(zip(names, known, strict=False)))

    @property
    def all_rows(self) -> np.ndarray:
        """Rows of any group, ascending, each once."""
        return np.unique(np.concatenate(list(self.rows.values())))


def measure_rows(
    values: Mapping[str, np.ndarray],
    sides: Sides,
    problem: np.ndarray,
    domain: np.ndarray,
    rl_domains: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Rows (group, domain, design, measure, value, ci_low, ci_high, problems, traces) of each group and each pair.

    values: float64[traces] of each measure, NaN where a trace has none. problem: int[traces], codes of a problem in its
    domain; domain: object[traces]. domain of a row: `all`, each domain where there are several, and with `rl_domains`
    `inside` and `outside` these. A value is the mean over problems of the mean over a problem's traces. Differences are
    taken over the problems that have a value on both sides, where there are two or more (design `paired`), else over
    all of each (`unpaired`, Welch). For each pair `outside - inside` is the difference of its differences.

    >>> sides = Sides.of("x", "y", None, [np.array([0, 1]), np.array([2, 3]), None])
    >>> codes, names = np.array([0, 1, 0, 1]), np.array(["d"] * 4, object)
    >>> rows = measure_rows({"m": np.array([1.0, 3.0, 0.0, 1.0])}, sides, codes, names)
    >>> [(r["group"], r["design"], r["value"], r["problems"]) for r in rows]
    [('x', None, 2.0, 2), ('y', None, 0.5, 2), ('A - B', 'paired', 1.5, 2)]

    What it does not show: what `means.mean_interval` does not show; a cause; and, unpaired, that the problems of the
    two groups are alike, as those outside are never those inside.
    """
    used = sides.all_rows
    names = sorted(set(domain[used].tolist()))
    parts = {"all": np.ones(len(domain), bool)}
    if len(names) > 1:
        parts |= {name: domain == name for name in names}
    if rl_domains:
        inside = np.isin(domain, list(rl_domains))
        parts |= {"inside": inside, "outside": ~inside}
    size = int(problem.max(initial=-1)) + 1
    made = []
    for measure, value in values.items():
        means = {
            (side, part): problem_means(value[own[mask[own]]], problem[own[mask[own]]], size)
            for side, own in sides.rows.items()
            for part, mask in parts.items()
        }
        n = {
            (side, part): int((~np.isnan(value[own[mask[own]]])).sum())
            for side, own in sides.rows.items()
            for part, mask in parts.items()
        }
        for name, side in {name: side for side, name in sides.names.items()}.items():
            for part in parts:
                made.append(_row(name, part, None, measure, mean_interval(means[side, part]), n[side, part]))
        for pair, (first, second) in PAIRS.items():
            if second not in sides.rows:
                continue
            for part in parts:
                both = means[first, part], means[second, part]
                found = difference_interval(*both, paired=_paired(*both))
                traces = n[first, part] + n[second, part]
                made.append(_row(pair, part, _paired(*both), measure, found, traces))
            if rl_domains:
                outside, inside = ((means[first, part], means[second, part]) for part in ("outside", "inside"))
                paired = _paired(*outside) and _paired(*inside)
                found = sum_interval([*_signed(*outside, paired), *(-p for p in _signed(*inside, paired))])
                traces = n[first, "all"] + n[second, "all"]
                made.append(_row(pair, "outside - inside", paired, measure, found, traces))
    return [row for row in made if row["problems"]]


def _paired(a: np.ndarray, b: np.ndarray) -> bool:
    return int((~np.isnan(a - b)).sum()) >= 2


def _signed(a: np.ndarray, b: np.ndarray, paired: bool) -> list[np.ndarray]:
    """The parts of a difference that are independent of each other."""
    return [a - b] if paired else [a, -b]


def _row(group: str, domain: str, paired: bool | None, measure: str, found: Estimate, traces: int) -> dict[str, Any]:
    design = None if paired is None else "paired" if paired else "unpaired"
    about = {"group": group, "domain": domain, "design": design, "measure": measure}
    interval = {"value": found.value, "ci_low": found.low, "ci_high": found.high}
    return about | interval | {"problems": found.problems, "traces": traces}
