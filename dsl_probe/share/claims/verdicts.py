"""A claim with its verdict, and how intervals are read against a margin that was set before looking."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scipy.special import stdtrit

from dsl_probe.share.means import Estimate

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED)


@dataclass(frozen=True)
class Claim:
    """A claim of the design, the test that was set for it, and what came out.

    effect: name of the main measure, which value, ci_low, ci_high (95 %) and n (problems) are of; None where nothing
    could be measured. evidence: what the verdict rests on and what stands beside it, each a dict of measure, value,
    ci_low, ci_high, n and source (`measured` or `published`). threats: why the verdict may be wrong for this run.
    """

    id: str
    claim: str
    test: str
    verdict: str
    reading: str
    effect: str | None = None
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int | None = None
    evidence: tuple[dict[str, Any], ...] = ()
    threats: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For claims.json: a number that is not finite is null."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Claim":
        """A claim as `as_json` wrote it."""
        fields: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in stored.items()}
        return cls(**fields)


def widened(found: Estimate, parts: int, *, share: bool = True) -> Estimate:
    """The interval at a level of 1 - .05 / parts (Bonferroni), from one at .95.

    Each side is stretched by the ratio of Student's quantiles with problems - 1 degrees of freedom. An interval of a
    share that has no width, since no problem differs from the next, is given -log(.05 / parts) / problems on either
    side: as many problems may differ unseen (for one part the rule of three, 3 / problems).

    >>> [round(x, 3) for x in widened(Estimate(0.0, -1.0, 1.0, 10_000), 5)[:3]]
    [0.0, -1.314, 1.314]
    >>> [round(x, 3) for x in widened(Estimate(0.0, 0.0, 0.0, 100), 1)[:3]]
    [0.0, -0.03, 0.03]

    What it does not show: an exact level where the interval was not Student's (jackknife, bootstrap).
    """
    value, low, high, n = found
    if low == high:
        spare = -math.log(0.05 / parts) / n if share and n else 0.0
        return Estimate(value, value - spare, value + spare, n)
    if n < 2:
        return Estimate(value, math.nan, math.nan, n)
    ratio = float(stdtrit(n - 1, 1 - 0.025 / parts) / stdtrit(n - 1, 0.975))
    return Estimate(value, value - (value - low) * ratio, value + (high - value) * ratio, n)


def above(found: Estimate | None, limit: float, parts: int = 1, *, share: bool = True) -> bool | None:
    """True if the interval lies above the limit, False if it lies below it, None if it holds it or there is none.

    >>> above(Estimate(0.2, 0.1, 0.3, 50), 0.0), above(Estimate(0.2, 0.1, 0.3, 50), 0.15), above(None, 0.0)
    (True, None, None)
    """
    if found is None or not (math.isfinite(found.low) and math.isfinite(found.high)):
        return None
    found = widened(found, parts, share=share)
    return True if found.low > limit else False if found.high < limit else None


def below(found: Estimate | None, limit: float, parts: int = 1, *, share: bool = True) -> bool | None:
    """`above`, the other way round: True if the interval lies below the limit."""
    outcome = above(found, limit, parts, share=share)
    return None if outcome is None else not outcome


def together(parts: Sequence[bool | None]) -> str:
    """Verdict on a claim whose parts must all hold: one that fails contradicts it, one that is open leaves it open.

    >>> together([True, True]), together([True, None]), together([None, False])
    ('supported', 'undecided', 'contradicted')
    """
    if any(part is False for part in parts):
        return CONTRADICTED
    return SUPPORTED if parts and all(parts) else UNDECIDED


def row(measure: str, found: Estimate | None, source: str = "measured") -> dict[str, Any]:
    """One line of evidence; limits that are not finite are None."""
    value, low, high, n = found or (None, None, None, None)
    return {
        "measure": measure,
        "value": finite(value),
        "ci_low": finite(low),
        "ci_high": finite(high),
        "n": n,
        "source": source,
    }


def finite(value: float | None) -> float | None:
    """A number, or None for NaN and infinity, which JSON does not have."""
    return None if value is None or not math.isfinite(value) else float(value)


def written(found: Estimate | None, sign: str = "+") -> str:
    """Estimate with its interval, for a sentence; sign "" for what is no difference.

    >>> written(Estimate(0.25, 0.1, 0.4, 9)), written(Estimate(0.25, 0.1, 0.4, 9), sign="")
    ('+0.250 [+0.100, +0.400]', '0.250 [0.100, 0.400]')
    """
    if found is None or not math.isfinite(found.value):
        return "not measured"
    value, low, high = (f"{x:{sign}.3f}" for x in found[:3])
    return f"{value} [{low}, {high}]" if math.isfinite(found.low) else f"{value} (no interval)"


def judged(
    made: Claim,
    verdict: str,
    reading: str,
    evidence: Sequence[dict[str, Any]],
    main: Estimate | None,
    effect: str | None = None,
) -> Claim:
    """The claim with what came out; effect: name of the main measure, by default that of the first line of evidence."""
    value, low, high = (finite(x) for x in main[:3]) if main else (None, None, None)
    return replace(
        made,
        verdict=verdict,
        reading=reading,
        evidence=tuple(evidence),
        effect=effect or evidence[0]["measure"],
        value=value,
        ci_low=low,
        ci_high=high,
        n=main.problems if main else None,
    )


def figure(measure: str, value: float | None, problems: int | None = None) -> dict[str, Any]:
    """One line of evidence without an interval: a count, a p."""
    return row(measure, None) | {"value": value, "n": problems}
