"""The figures of a validation, and what they say in words."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from dsl_probe.collect.steps import wilson
from dsl_probe.share.contrast import ALPHA, RAW
from dsl_probe.share.validate import recall
from dsl_probe.share.validate.spikes import REPURPOSED

WITHIN, WHOLE, CUT, LENGTH = "within problems", "whole problems", "cut", "by length"
NULLS = (WITHIN, WHOLE, CUT, LENGTH)
CHANCE = 0.8
_SHARE = 0.02


@dataclass(frozen=True)
class Null:
    """Splits of one kind, with nothing planted. exact: whether the two sides are exchangeable, so that at most `bound`
    of the splits (97.5 % point of a binomial with .05) should have any discovery; mean: discoveries a split."""

    kind: str
    matched: str
    exact: bool
    splits: int
    with_any: int
    bound: int
    mean: float


@dataclass(frozen=True)
class ValidateResult:
    """What `validate` counted. design: paired (samples within problems) or unpaired (whole problems); problems: those
    that it can split. recall: kind -> bins of d, counted as `recall.one_sided` has it. needed: kind -> d at which .8
    are found, None where no d that was tried reaches it. background: share of traces that held a re-purposed word ->
    bins. separate, false: discoveries that stand by themselves among what was planted, and those of them that are no
    planted motif, in `comparisons` comparisons. planted: largest share of the units of a corpus that was planted.
    """

    id: str
    design: str
    problems: int
    traces: int
    left_out: int
    problems_each: int
    corpora: int
    planted: float
    nulls: tuple[dict[str, Any], ...]
    recall: dict[str, list[dict[str, Any]]]
    needed: dict[str, float | None]
    background: dict[str, list[dict[str, Any]]]
    comparisons: int
    separate: int
    false: int
    reading: tuple[str, ...]


def nulls(rows: Sequence[dict[str, Any]], paired: bool) -> list[dict[str, Any]]:
    """The rows of the splits with nothing planted, summed by kind and matching: fields of `Null`."""
    made = []
    for kind in NULLS:
        for matched in dict.fromkeys(row["matched"] for row in rows):
            own = [r["discoveries"] for r in rows if (r["what"], r["kind"], r["matched"]) == ("null", kind, matched)]
            if own:
                exact = kind in (WITHIN, WHOLE) or (kind == CUT and paired and matched != RAW)
                bound = int(stats.binom.ppf(0.975, len(own), ALPHA))
                with_any = sum(n > 0 for n in own)
                made.append(asdict(Null(kind, matched, exact, len(own), with_any, bound, float(np.mean(own)))))
    return made


def binned(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recall by d, one-sided, of some rows of planted motifs: fields of `recall.Bin`."""
    return [asdict(b) for b in recall.bins(*_columns(rows))] if rows else []


def fitted(rows: Sequence[dict[str, Any]], test: str = "found") -> recall.Curve | None:
    """Chance of being found by d, of all kinds but re-purposed, by the test of rates or of presence (`found_presence`);
    None without rows."""
    new = [row for row in rows if row["kind"] != REPURPOSED]
    return recall.fit(*_columns(new, test)) if new else None


def _columns(rows: Sequence[dict[str, Any]], test: str = "found") -> tuple[np.ndarray, np.ndarray]:
    return np.array([row["one_sided"] for row in rows]), np.array([row[test] for row in rows], bool)


def sentences(result: ValidateResult, curve: recall.Curve | None, presence: recall.Curve | None) -> tuple[str, ...]:
    """What the figures say, as weak as they are; curve, presence: `fitted` of either test."""
    said = [_design(result), *_silence(result.nulls)]
    if curve is not None and presence is not None:
        said += [*_power(result, curve, "by its rate"), *_power(result, presence, "by the traces that hold it")]
        said += _background(result)
        right = result.separate - result.false
        if result.separate:
            low, high = wilson(right, result.separate)
            precision = f"precision {right / result.separate:.3f} ({low:.3f} to {high:.3f})"
            said.append(
                f"Of {result.separate:,} discoveries that stand by themselves where motifs were planted, "
                f"{result.false:,} are none, in {result.comparisons:,} comparisons: {precision}."
            )
    return tuple(said)


def _design(result: ValidateResult) -> str:
    how = "samples within problems (paired)" if result.design == "paired" else "whole problems (unpaired)"
    out = f" {result.left_out:,} traces were left out by lot, to bound the work." if result.left_out else ""
    return f"{result.traces:,} traces of {result.problems:,} problems; the halves are {how}.{out}"


def _silence(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    for null in found:
        what = (
            f"{null['with_any']} of {null['splits']} splits have any discovery, {null['mean']:,.2f} a split on average"
        )
        if null["exact"]:
            verdict = "as chance has it" if null["with_any"] <= null["bound"] else "more than chance has"
            yield f"Nothing planted, {null['kind']}, {null['matched']}: {what} ({verdict}: up to {null['bound']})."
        elif null["kind"] == LENGTH:
            yield f"The longer of two samples against the shorter, {null['matched']}: {what}; length can bring that."
        else:
            yield f"One side cut short, {null['matched']}: {what}; its texts have no ending, so this is no null."


def _power(result: ValidateResult, curve: recall.Curve, how: str) -> Iterator[str]:
    # Unpaired, a motif of A can stand in A's problems alone.
    most = result.problems if result.design == "paired" else result.problems // 2
    d = curve.needed(CHANCE)
    has = f"With your {result.problems:,} problems"
    if d is None or d > most:
        tried = f"no difference that was tried (d up to {curve.highest}) is found {how} with probability {CHANCE:.1f}"
        yield f"{has} {tried}: more problems are needed."
    else:
        yield (
            f"{has} a motif that one model uses in {max(d, 0) / most:.1%} of its traces and the other never is found "
            f"{how} with probability {CHANCE:.1f} (d of {max(d, 0):.0f} problems, one trace in each)."
        )
    low = _SHARE * most
    found = f"is found {how} with probability {curve.chance(low):.2f}"
    yield f"One that it uses in {_SHARE:.0%} of its traces (d of {low:.0f}) {found}."


def _background(result: ValidateResult) -> Iterator[str]:
    for share, some in result.background.items():
        tried = [b for b in some if b["low"] >= 20]
        if tried:
            n, found = (sum(b[name] for b in tried) for name in ("n", "found"))
            yield (
                f"A word that {float(share):.1%} of the traces hold anyway, planted with a d of 20 or more: found in "
                f"{found} of {n}."
            )
