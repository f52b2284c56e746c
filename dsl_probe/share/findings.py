"""Findings of a comparison in sentences, worded as weakly as the evidence."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsl_probe.groups import short
from dsl_probe.share.comparison import CompareResult, Comparison
from dsl_probe.share.contrast import ALPHA

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One sentence, the table it follows from, and its kind: scope | accuracy | motifs | sharing."""

    text: str
    evidence: str
    kind: str


def findings(comparison: Comparison, top: int = 6) -> list[Finding]:
    """What a comparison shows, as sentences that follow from its tables and from nothing else."""
    made = [_scope(comparison), _accuracy(comparison), *_motifs(comparison, top), *_sharing(comparison)]
    return [f for f in made if f is not None]


def representatives(texts: list[str], top: int) -> list[str]:
    """The first `top` motifs that neither hold nor stand in an earlier one.

    >>> representatives(["to find the", "find the", "wait"], 2)
    ['to find the', 'wait']
    """
    chosen: list[str] = []
    for text in texts:
        padded = f" {text} "
        if not any(padded in f" {c} " or f" {c} " in padded for c in chosen):
            chosen.append(text)
            if len(chosen) == top:
                break
    return chosen


def strongest(found: "pd.DataFrame") -> "dict[str, pd.DataFrame]":
    """Discoveries of each side, strongest first by the end of the interval that lies nearer to zero."""
    return {
        "A": found[found.z > 0].sort_values("ci_low", ascending=False),
        "B": found[found.z < 0].sort_values("ci_high"),
    }


def by_themselves(found: "pd.DataFrame") -> "pd.DataFrame":
    """The discoveries that no stronger one accounts for."""
    return found[found.part_of.isna()]


def _scope(c: Comparison) -> Finding:
    r = c.result
    left = (
        f" ({r.left_out_a:,} and {r.left_out_b:,} traces without a counterpart, or too short, left out)"
        if r.left_out_a + r.left_out_b
        else ""
    )
    how = (
        f"{r.problems:,} problems that both answered, {r.traces_a:,} traces each{left}"
        + (
            f", {r.prompts_differ:,} of them with other prompts than B's (--same-prompt leaves them out)"
            * bool(r.prompts_differ)
        )
        if r.design == "paired"
        else f"different problems ({r.traces_a:,} and {r.traces_b:,} traces{left}), so that a difference between the "
        f"problems cannot be told from one between the models"
    )
    longer = r.units_a / max(r.units_b, 1) * max(r.traces_b, 1) / max(r.traces_a, 1)
    return Finding(
        f"{short(c.config.a)} (A) against {short(c.config.b)} (B): {how}. "
        f"A writes {longer:.2f} times as many units a trace, echoes of the prompt apart.",
        f"stages/compare.{c.id}.json",
        "scope",
    )


def _accuracy(c: Comparison) -> Finding | None:
    r = c.result
    if r.accuracy_a is None or r.accuracy_b is None or r.accuracy_difference is None:
        return None
    return Finding(
        f"Accuracy {r.accuracy_a:.3f} against {r.accuracy_b:.3f}, "
        f"difference {_interval(r.accuracy_difference)} by problem.",
        f"stages/compare.{c.id}.json",
        "accuracy",
    )


def _bearing(c: Comparison) -> str:
    """What effects have shown of the motifs that are over-represented in A, against its base where there is one."""
    found = c.discoveries("all", b=c.result.base)
    found = strongest(found if len(found) else c.discoveries("all"))["A"]
    judged = found[found["load_bearing"].notna()]
    if not len(judged):
        return "Whether they are emergent is undecided: effects not run."
    return (
        f"Of the {len(judged):,} of A whose effect on accuracy was measured {int(judged['load_bearing'].sum()):,} are "
        f"load-bearing; {int((judged['verdict'] == 'emergent').sum()):,} are emergent."
    )


def _motifs(c: Comparison, top: int) -> list[Finding]:
    r, where = c.result, f"comparisons/{c.id}/comparison.parquet"
    made = [
        Finding(
            f"At equal units {r.discoveries_a:,} motifs are over-represented in A and {r.discoveries_b:,} in B, of "
            f"{r.motifs_tested:,} tested (family-wise p <= {ALPHA:.2f}; raw: {r.discoveries_raw:,}{_same(r)}). "
            f"{r.separate_a:,} and {r.separate_b:,} of them stand by themselves, the others are parts or extensions of "
            f"these. {_bearing(c)}",
            where,
            "motifs",
        )
    ]
    for part in r.against_base:
        made.append(
            Finding(
                f"{short(part['a'])} against its base {short(part['b'])}: {part['discoveries_a']:,} motifs are "
                f"over-represented in it, {part['separate_a']:,} of them by themselves, {part['new_a']:,} in no "
                f"trace of the base on these {part['problems']:,} problems.",
                where,
                "motifs",
            )
        )
    domains = [d for d, design in r.domains.items() if d != "all" and not design.startswith("not")]
    for domain in ["all", *(domains if len(domains) > 1 else [])]:
        found = c.discoveries(domain)
        sides = []
        for side, part in strongest(found).items():
            if len(part):
                listed = "; ".join(_listed(row, side) for row in by_themselves(part).head(top).itertuples())
                sides.append(f"{len(part)} in {side}: {listed}")
        made.append(
            Finding(f"[{domain}] " + (". ".join(sides) if sides else "no difference found") + ".", where, "motifs")
        )
    return made


def _same(r: CompareResult) -> str:
    return "" if r.discoveries_same_accuracy is None else f"; at equal accuracy: {r.discoveries_same_accuracy:,}"


def _listed(row, side: str) -> str:
    mine, other = (row.rate_a, row.rate_b) if side == "A" else (row.rate_b, row.rate_a)
    return f"“{row.text}” ({1000 * mine:.2f} against {1000 * other:.2f} per 1,000 units)"


def _sharing(c: Comparison) -> list[Finding]:
    if len(c.sharing) == 0:
        return []
    t = c.sharing[c.sharing.measure == "morisita_horn"]
    made = []
    for side, group in (("A", c.config.a), ("B", c.config.b)):
        values = t[t.group == group].value
        if len(values):
            made.append(f"{values.mean():.3f} in {side}")
    if not made:
        return []
    difference = c.result.sharing_difference
    tail = ""
    if difference is not None and np.isfinite(difference[0]):
        tail = f"; difference {_interval(difference)} by problem"
        tail += "" if difference[1] > 0 or difference[2] < 0 else " (not told from zero)"
    pairs = len(t[t.group == c.config.a])
    return [
        Finding(
            f"Mean Morisita-Horn similarity of the word counts of {pairs} pair{'s' * (pairs != 1)} of domains: "
            f"{', '.join(made)}{tail}.",
            f"comparisons/{c.id}/sharing.parquet",
            "sharing",
        )
    ]


def _interval(three: tuple[float, float, float]) -> str:
    return f"{three[0]:+.3f} [{three[1]:+.3f}, {three[2]:+.3f}]"
