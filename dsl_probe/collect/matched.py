"""Occurrences of chosen motifs in one shard of traces, each with a matched place that does not hold the motif."""

from pathlib import Path
from typing import Any

import numpy as np

from dsl_probe.collect.positions import Wanted
from dsl_probe.store import Run
from dsl_probe.types import ECHO, PREFIX, UserError


def read_motifs(run: Run, file: str) -> list[str]:
    """Motif ids that a file names, one a line: the id, or the text as the motifs table shows it."""
    table = run.table("motifs", ["motif_id", "text"]).to_pydict()
    known = {text: i for i, text in zip(table["motif_id"], table["text"], strict=True)} | {
        i: i for i in table["motif_id"]
    }
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}. It holds one motif (id or text) a line.") from error
    chosen = {}
    for n, line in enumerate(lines, 1):
        name = " ".join(line.split())
        if not name:
            continue
        found = known.get(name) or known.get(name.lower())
        if found is None:
            raise UserError(
                f"line {n} of {file}: {name!r} is no motif of {run.path}. Known are the {len(table['text'])} ids and "
                f"texts of its motifs table, such as {', '.join(map(repr, table['text'][:3]))}."
            )
        chosen[found] = None
    if not chosen:
        raise UserError(f"{file} names no motif; it holds one (id or text) a line.")
    return list(chosen)


def wanted_spans(
    run: Run, shard: int, first_row: int, rows: int, motifs: list[str], most: int = 1_000
) -> dict[int, list[Wanted]]:
    """Spans around which states are wanted in the traces first_row .. first_row + rows, by trace row.

    Each occurrence outside echoes of the prompt, at most `most` of a motif in a shard (evenly spaced). Its negative is
    a span of as many units that follows the same unit (or, for an occurrence that opens its trace, opens one), overlaps
    no occurrence of the motif, no echo and no forced opening, and whose position in the trace and whose trace's length
    are both within a factor of 2: the nearest such place in log2 of both that is not in use yet, in the order of the
    occurrences. Where there is none, the occurrence stands alone.

    Example: for "wait" after "." at unit 40 of 300, a place after "." near unit 40 of a trace of about 300 units.

    What it does not show: matching holds the unit before constant, not the topic, the problem or the model.
    """
    units = run.table(f"units/{shard:05d}")
    if units.num_rows != rows:
        raise UserError(f"units/{shard:05d} does not match its traces; mine again: dsl-probe mine {run.path} --force")
    vocabulary = run.table("vocabulary", ["slot"])["slot"].combine_chunks().dictionary_encode()
    form_of = vocabulary.indices.to_numpy(zero_copy_only=False)
    lists = units["ids"].combine_chunks()
    bounds = lists.offsets.to_numpy().astype(np.int64)
    forms = form_of[lists.values.to_numpy()] if bounds[-1] else np.zeros(0, np.int64)
    starts, stops, flags = (units[c].combine_chunks().values.to_numpy() for c in ("starts", "stops", "flags"))
    place = _Places(forms, bounds, (flags & (ECHO | PREFIX)) > 0)

    occurrences = run.table(
        "occurrences",
        ["motif_id", "trace_row", "start", "stop", "echo"],
        filters=[("motif_id", "in", motifs), ("trace_row", ">=", first_row), ("trace_row", "<", first_row + rows)],
    )
    ids = np.array(occurrences["motif_id"].to_pylist(), object)
    trace, start, stop, echo = (
        occurrences[c].to_numpy(zero_copy_only=False) for c in ("trace_row", "start", "stop", "echo")
    )
    found: dict[int, list[Wanted]] = {}
    pair = 0
    for motif in motifs:
        mine = np.flatnonzero(ids == motif)
        mine = mine[np.lexsort((start[mine], trace[mine]))]
        at = bounds[trace[mine] - first_row] + start[mine]
        length = int(stop[mine[0]] - start[mine[0]]) if len(mine) else 0
        own = np.flatnonzero(~echo[mine].astype(bool))
        if most and len(own) > most:
            own = own[np.linspace(0, len(own) - 1, most).astype(int)]
        for u, other in zip(at[own], place.negatives(at[own], at, length), strict=True):
            for spot, negative in ((int(u), False), (other, True)):
                if spot is None:
                    continue
                row = int(np.searchsorted(bounds, spot, side="right")) - 1
                span = Wanted(
                    int(starts[spot]),
                    int(stops[spot + length - 1]),
                    motif,
                    negative,
                    int(spot - bounds[row]),
                    pair,
                )
                found.setdefault(first_row + row, []).append(span)
            pair += 1
    return found


class _Places:
    """All units of a shard, ordered so that those that follow the same unit lie together."""

    def __init__(self, forms: np.ndarray, bounds: np.ndarray, barred: np.ndarray):
        lengths = np.diff(bounds)
        self.before = np.concatenate([[-1], forms[:-1]]) if len(forms) else forms
        self.before[bounds[:-1][lengths > 0]] = -1
        self.order = np.argsort(self.before, kind="stable")
        self.sorted = self.before[self.order]
        self.left = np.repeat(bounds[1:], lengths) - np.arange(len(forms))
        index = np.arange(len(forms)) - np.repeat(bounds[:-1], lengths)
        self.feature = np.stack([np.log2(index + 1), np.log2(np.repeat(lengths, lengths))], 1)
        self.barred = np.concatenate([[0], np.cumsum(barred)])

    def negatives(self, chosen: np.ndarray, every: np.ndarray, length: int) -> list[int | None]:
        """For each chosen occurrence its negative, or None. every: all occurrences of the motif, echoes included."""
        if not len(chosen):
            return []
        touched = np.zeros(len(self.before) + 1, np.int64)
        np.add.at(touched, every, 1)
        np.add.at(touched, np.minimum(every + length, len(self.before)), -1)
        covered = np.concatenate([[0], np.cumsum(np.cumsum(touched[:-1]) > 0)])
        candidates: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        result: list[Any] = []
        for u in chosen:
            code = int(self.before[u])
            if code not in candidates:
                low, high = np.searchsorted(self.sorted, [code, code + 1])
                at = self.order[low:high]
                at = at[self.left[at] >= length]
                clear = (covered[at + length] == covered[at]) & (self.barred[at + length] == self.barred[at])
                at = at[clear]
                candidates[code] = at, np.ones(len(at), bool)
            at, free = candidates[code]
            distance = np.abs(self.feature[at] - self.feature[u])
            cost = np.where(free & (distance <= 1).all(1), distance.sum(1), np.inf)
            best = int(np.argmin(cost)) if len(cost) else -1
            if best < 0 or not np.isfinite(cost[best]):
                result.append(None)
                continue
            free[best] = False
            result.append(int(at[best]))
        return result
