"""The labels of a target: which stored states should tell which class."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.probe.states import checked_capture
from dsl_probe.probe.targets import POOLED, Target, parse_target, teller
from dsl_probe.store import Run
from dsl_probe.types import UserError

_COLUMNS = ["trace_id", "problem_id", "domain", "text", "correct", "regime", "answer", "prompt", "reference", "meta"]
_OF_ROWS = ("rows", "of", "problem", "domain", "trace_row", "read", "length")


@dataclass(frozen=True)
class Labels:
    """Stored states with the class that each should tell.

    rows: int64[n], numbers of states in the capture, running over its shards. classes: names; of: int32[n], an index
    into them. Two classes are one question, of which the second is the positive answer. problem, domain: object[n].
    trace_row, read: int32[n], the trace and the characters of its text that the state has behind it. length: int32[n],
    characters of the text. left_out: why other states at these sites have no label, with counts.
    """

    target: Target
    rows: np.ndarray
    classes: tuple[str, ...]
    of: np.ndarray
    problem: np.ndarray
    domain: np.ndarray
    trace_row: np.ndarray
    read: np.ndarray
    length: np.ndarray
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, chosen: np.ndarray) -> "Labels":
        """The labels of the rows that are chosen, by number or by bools; classes stay."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return Labels(**kept | {name: kept[name][chosen] for name in _OF_ROWS})

    def columns(self) -> np.ndarray:
        """int8[n, questions]: one question for two classes, else one for each class against the others."""
        if len(self.classes) == 2:
            return (self.of == 1).astype(np.int8)[:, None]
        return (self.of[:, None] == np.arange(len(self.classes))).astype(np.int8)

    def questions(self) -> tuple[str, ...]:
        """The positive answer of each column."""
        return self.classes[1:] if len(self.classes) == 2 else self.classes


def read_labels(run: Run, acts: str, target: str, *, least: int = 20, most_classes: int = 10) -> Labels:
    """The labels of a target for the states of a capture.

    Classes with fewer than `least` states in every domain, and those beyond the `most_classes` most frequent of each,
    are left out with a count, as are states whose label nobody knows (no verdict, no answer given, no further state).

    What it does not show: that the model could know the label from anything but the text behind the state; for that are
    the controls.
    """
    parsed = parse_target(target, captured_rules(run, acts))
    left_out: Counter[str] = Counter()
    parts = [_of_shard(parsed, *shard, left_out) for shard in _shards(run, acts, parsed)]
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}
    label, domain = columns.pop("label", np.zeros(0, object)), columns.get("domain", np.zeros(0, object))
    whole = np.full(len(domain), "", object) if parsed.name in POOLED else domain
    classes, of = _classes(label, whole, least, most_classes)
    if (of < 0).any():
        left_out["a class of too few states"] += int((of < 0).sum())
    if len(classes) < 2:
        why = "; ".join(f"{n:,} states: {reason}" for reason, n in left_out.items())
        raise UserError(
            f"target {target!r} on {acts} has {len(classes)} classes of {least} states or more in a domain; two are the "
            f"least. Take more traces or other sites{f' ({why})' if why else ''}."
        )
    kept = of >= 0
    rest = {key: value[kept] for key, value in columns.items()}
    return Labels(parsed, classes=classes, of=of[kept], left_out=dict(left_out), **rest)


def captured_rules(run: Run, acts: str) -> frozenset[str]:
    """The rules by which the states of a capture were chosen."""
    tables = [run.table(name, ["rule"]) for name in _indices(run, acts)]
    return frozenset(rule for table in tables for rule in pc.unique(table["rule"]).to_pylist())


def captured_motifs(run: Run, acts: str) -> list[str]:
    """Ids of the motifs at whose sites a capture has states, sorted."""
    tables = [run.table(name, ["label"], filters=[("rule", "=", "motifs")]) for name in _indices(run, acts)]
    return sorted({label for table in tables for label in pc.unique(table["label"]).to_pylist()})


def _indices(run: Run, acts: str) -> list[str]:
    checked_capture(run, acts)
    return [f"acts/{acts}/{k:05d}.index" for k in range(len(run.shards("traces")))]


def _shards(run: Run, acts: str, target: Target) -> Iterator[tuple[pa.Table, dict[str, dict[str, Any]], int]]:
    """For each shard the places of a target, the traces by id, and the number of the shard's first state."""
    first = 0
    for shard, name in zip(run.shards("traces"), _indices(run, acts), strict=True):
        index = run.table(name)
        if "read" not in index.column_names:
            raise UserError(
                f"capture {acts!r} was made by an earlier version, without what each state has read; "
                f"capture again: dsl-probe capture {run.path} ... --force"
            )
        chosen = np.zeros(index.num_rows, bool)
        for site in target.sites:
            wanted = pc.equal(index["rule"], site.rule)
            for column, value in (("label", site.label), ("where", site.where)):
                if value is not None:
                    wanted = pc.and_(wanted, pc.equal(index[column], value))
            chosen |= wanted.to_numpy(zero_copy_only=False).astype(bool)
        if chosen.any():
            places = index.filter(pa.array(chosen))
            traces = {trace["trace_id"]: trace for trace in run.table(shard, _COLUMNS).to_pylist()}
            yield places, traces, first
        first += pc.max(index["row"]).as_py() + 1 if index.num_rows else 0


def _of_shard(
    target: Target, places: pa.Table, traces: dict[str, dict[str, Any]], first: int, left_out: Counter[str]
) -> dict[str, np.ndarray]:
    found: dict[str, list[Any]] = {name: [] for name in (*_OF_ROWS, "label") if name != "of"}
    tell, told_of, seen = None, None, set()
    for place in places.select(["row", "trace_row", "trace_id", "read", "negative"]).to_pylist():
        # A state may be asked for twice, as where one motif begins with another; it has one label.
        if place["row"] in seen:
            continue
        seen.add(place["row"])
        if place["read"] is None:
            left_out["tokens do not spell the text"] += 1
            continue
        trace = traces[place["trace_id"]]
        if tell is None or told_of != place["trace_id"]:
            tell, told_of = teller(target, trace), place["trace_id"]
        label = tell(place["read"], place["negative"])
        if label is None:
            left_out["nobody knows the label"] += 1
            continue
        found["rows"].append(first + place["row"])
        found["label"].append(label)
        found["problem"].append(trace["problem_id"] or f"trace {trace['trace_id']}")
        found["domain"].append(trace["domain"])
        found["trace_row"].append(place["trace_row"])
        found["read"].append(place["read"])
        found["length"].append(len(trace["text"]))
    kinds = {"rows": np.int64, "trace_row": np.int32, "read": np.int32, "length": np.int32}
    return {name: np.array(values, kinds.get(name, object)) for name, values in found.items()}


def _classes(labels: np.ndarray, domain: np.ndarray, least: int, most: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes that are kept in any domain, sorted (no before yes), and of each label its class or -1."""
    kept = set()
    for one in set(domain.tolist()):
        counts = Counter(labels[domain == one].tolist())
        kept |= set([name for name, n in counts.most_common() if n >= least][:most])
    names = tuple(sorted(kept))
    code = {name: i for i, name in enumerate(names)}
    return names, np.array([code.get(label, -1) for label in labels], np.int32)
