"""What probes and effects have shown of a motif: where it is decodable, what it predicts, whether it is needed.

Read from the tables that a run holds by then; nothing is fitted here.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from dsl_probe.store import Run

_OF_MOTIF = re.compile(r"motif:(?P<its>[^@]+)(?:@.*)?|(?P<what>[^@]+)@motifs:(?P<at>[^/+]+)(?:/\w+)?")
# What bounds a control from above or has other labels is nothing that the probe's AUROC is set beside.
NOT_BESIDE = ("control task", "95 % of shuffled labels")


@dataclass(frozen=True)
class Decodable:
    """AUROC of one target on one capture in one domain, on unseen problems.

    target: "used next" where the states before a motif tell whether it comes, else what is read out at the motif.
    layers: (layer, AUROC), rising. layer, auroc, low, high: of the layer chosen on inner folds. control, control_auroc:
    the strongest control at it; "" and None without controls.
    """

    acts: str
    target: str
    domain: str
    layers: tuple[tuple[int, float], ...]
    layer: int
    auroc: float
    low: float | None
    high: float | None
    control: str
    control_auroc: float | None


@dataclass(frozen=True)
class Needed:
    """One row of an effects table: accuracy lost beyond the placebo, with its interval; bearing: load-bearing."""

    model: str
    domain: str
    intervention: str
    effect: float
    low: float | None
    high: float | None
    p_adj: float
    bearing: bool


@dataclass(frozen=True)
class Carried:
    """By motif_id, and of effects by text too, since a word may have been named and not mined."""

    decodable: dict[str, tuple[Decodable, ...]]
    needed: dict[str, tuple[Needed, ...]]


def read_carried(run: Run) -> Carried:
    """All that the finished probe and effects stages of a run say of single motifs.

    What it does not show: that what is decodable is used; only effects speak of use.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for stage in run.stages():
        kind, _, name = stage.partition(".")
        names[kind].append(name)
    decodable: dict[str, list[Decodable]] = defaultdict(list)
    for name in names["probe"]:
        table = run.table(f"probes/{name}/probes", filters=[("metric", "=", "auroc")])
        table = table.filter(pc.equal(table["train"], table["test"]))
        parts: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in table.filter(pc.match_substring(table["target"], "motif")).to_pylist():
            parts[row["acts"], row["target"], row["train"]].append(row)
        for (acts, target, domain), rows in parts.items():
            motif, said = _about(target)
            chosen = next((row for row in rows if row["chosen"] and not row["control"]), None)
            if motif and chosen:
                decodable[motif].append(_decodable(acts, said, domain, rows, chosen))
    needed: dict[str, list[Needed]] = defaultdict(list)
    for name in names["effects"]:
        for row in run.table(f"effects/{name}/effects").to_pylist():
            if not row["motif_id"]:  # of a whole chain, or of states
                continue
            found = Needed(
                row["model"],
                row["domain"],
                row["intervention"],
                row["effect"],
                row["ci_low"],
                row["ci_high"],
                row["p_adj"],
                row["load_bearing"],
            )
            for key in {row["motif_id"], row["text"]}:
                needed[key].append(found)
    return Carried({k: tuple(v) for k, v in decodable.items()}, {k: tuple(v) for k, v in needed.items()})


def _about(target: str) -> tuple[str, str]:
    """The motif that a target is about, and what is read out.

    >>> _about("motif:a1"), _about("value@motifs:b2/before"), _about("value")
    (('a1', 'used next'), ('b2', 'value'), ('', ''))
    """
    match = _OF_MOTIF.fullmatch(target)
    if match is None:
        return "", ""
    return (match["its"], "used next") if match["its"] else (match["at"], match["what"])


def _decodable(acts: str, target: str, domain: str, rows: list[dict[str, Any]], chosen: dict[str, Any]) -> Decodable:
    layers = {row["layer"]: row["value"] for row in rows if not row["control"] and not row["chosen"]}
    others = [row for row in rows if row["control"] and row["control"] not in NOT_BESIDE]
    best = max(others, key=lambda row: row["value"], default=None)
    return Decodable(
        acts,
        target,
        domain,
        tuple(sorted(layers.items())),
        chosen["layer"],
        chosen["value"],
        chosen["ci_low"],
        chosen["ci_high"],
        best["control"] if best else "",
        best["value"] if best else None,
    )
