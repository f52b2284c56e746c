"""A trace with its lexicon uses replaced by their glosses, to read beside the original."""

from typing import NamedTuple

import numpy as np

from dsl_probe.mine.dictionary import Entry, dictionary, gloss_in
from dsl_probe.mine.uses import cover, find_uses, read_lexicon, read_rows
from dsl_probe.store import Run


class Piece(NamedTuple):
    """Characters start to stop of a trace; gloss is None between the uses."""

    start: int
    stop: int
    text: str
    gloss: str | None


def translate(run: Run, trace_row: int, language: str | None = None, entries: list[Entry] | None = None) -> list[Piece]:
    """The whole text in pieces, in order and without a gap: uses of lexicon entries with their gloss, and the rest.

    Glosses are by the grammar of the trace's domain, where there is one. Where uses of several entries overlap, the
    leftmost is taken, then the longest. `entries`: the dictionary, if it is at hand; otherwise it is made, which reads
    all traces.

    >>> pieces = translate(Run("runs/demo"), 7, "rl-only")     # doctest: +SKIP
    >>> "".join(p.gloss or p.text for p in pieces)             # doctest: +SKIP

    What it does not show: what the trace means. A gloss says where an entry stands.
    """
    lexicon = read_lexicon(run, language)
    entries = dictionary(run, language) if entries is None else entries
    units = read_rows(run, np.array([trace_row]))
    uses = cover(find_uses(run, lexicon, units))
    trace = run.shard_rows("traces", [trace_row], ["text", "domain"]).to_pylist()[0]
    text, gloss = trace["text"], {e.motif_id: gloss_in(e, trace["domain"]) for e in entries}
    pieces, end = [], 0
    for k in range(len(uses.entry)):
        start, stop = int(units.starts[uses.start[k]]), int(units.stops[uses.stop[k] - 1])
        if start > end:
            pieces.append(Piece(end, start, text[end:start], None))
        pieces.append(Piece(start, stop, text[start:stop], gloss[lexicon.entries[uses.entry[k]]["motif_id"]]))
        end = stop
    if end < len(text):
        pieces.append(Piece(end, len(text), text[end:], None))
    return pieces
