"""The lexicon of a run as tables: its motifs, their variants, and every trace parsed with them."""

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dsl_probe.store import Run
from dsl_probe.types import LEXICON, OCCURRENCES, VARIANTS

if TYPE_CHECKING:
    from dsl_probe.mine.align import Text
    from dsl_probe.mine.corpus import Corpus
    from dsl_probe.mine.lexicon import Entry

MOST_VARIANTS = 100  # of a motif that are listed


def motif_id(units: str, pattern: list[str]) -> str:
    """Stable name of a motif across runs: BLAKE2b-64 of the unit system and the pattern.

    >>> motif_id("words", ["wait", ","])
    '063a6369ccfb385f'
    """
    return hashlib.blake2b("\x1f".join([units, *pattern]).encode(), digest_size=8).hexdigest()


def write_lexicon(
    run: Run, config, corpus: "Corpus", index, found, rows: np.ndarray, outputs: list[str]
) -> tuple[int, float]:
    """Choose the lexicon among the closed repeats `rows`; writes lexicon, variants and parse.

    parse.parquet holds the uses of lexicon motifs that describe each trace, in order and without overlap, with the
    variant that stands there. Returns the number of motifs, and the share that their uses cover of the units outside
    echoes of the prompt, forced prefixes and format tags. Of each motif the 100 most frequent variants are listed.
    """
    from dsl_probe.mine import lexicon
    from dsl_probe.mine.decoys import unit_q

    least = {"min_count": config.min_traces, "min_problems": config.min_problems, "longest": config.max_length}
    q = unit_q(index, found, rows, corpus.problem, **least)
    seeds = np.flatnonzero(q <= config.q)
    barrier = corpus.flags > 0
    supported = (corpus.problem, config.min_traces, config.min_problems)
    text, entries = lexicon.without_reference(index, found, rows[seeds], barrier, *supported)
    _write(run, config, corpus, text, entries, q[seeds], outputs)
    covered = sum(int((e.uses.stop - e.uses.start)[e.uses.free].sum()) for e in entries)
    return len(entries), covered / max(int(np.count_nonzero(~barrier)), 1)


def _write(run: Run, config, corpus: "Corpus", text: "Text", entries: "list[Entry]", q: np.ndarray, outputs: list[str]):
    forms = np.array([*corpus.forms, "*"], object)
    index = text.index
    lexicon, variants, where = [], [], []
    names = [motif_id(config.units, forms[e.pattern].tolist()) for e in entries]
    for i in sorted(range(len(entries)), key=names.__getitem__):
        entry, uses = entries[i], entries[i].uses
        start, stop = uses.start[uses.free], uses.stop[uses.free]
        written, listed = variants_of(index.symbols, start, stop, forms, config.units)
        doc = index.doc_of[start]
        lexicon.append(
            {
                "motif_id": names[i],
                "text": corpus.joiner.join(forms[entry.pattern]),
                "pattern": forms[entry.pattern].tolist(),
                "length": len(entry.pattern),
                "count": len(start),
                "support": len(np.unique(doc)),
                "problems": len(np.unique(corpus.problem[doc])),
                "exact_share": exact_share(entry, uses.free),
                "bits_saved": entry.saved,
                "q_unit": float(q[entry.seed]),
                "variants": len(listed),
            }
        )
        variants += [{"motif_id": names[i], **row} for row in listed[:MOST_VARIANTS]]
        at = (start - index.doc_starts[doc]).astype(np.int32)
        where.append((np.full(len(start), len(where), np.int32), written, doc, at, stop - start))
    outputs.append(run.write_table("lexicon.parquet", pa.Table.from_pylist(lexicon, schema=LEXICON)))
    outputs.append(run.write_table("variants.parquet", pa.Table.from_pylist(variants, schema=VARIANTS)))
    outputs.append(run.write_table("parse.parquet", _parse_table(lexicon, where)))


def variants_of(
    symbols: np.ndarray, start: np.ndarray, stop: np.ndarray, forms: np.ndarray, units: str
) -> tuple[list[str], list[dict[str, Any]]]:
    """The variant_id of each use (symbols[start:stop]); and the rows of all variants, by falling count, but for the
    motif_id.
    """
    written = [symbols[a:b].tobytes() for a, b in zip(start.tolist(), stop.tolist(), strict=True)]
    rows: dict[bytes, dict[str, Any]] = {}
    for code, count in Counter(written).items():
        pattern = forms[np.frombuffer(code, symbols.dtype)].tolist()
        rows[code] = {"variant_id": motif_id(units, pattern), "pattern": pattern, "count": count}
    listed = sorted(rows.values(), key=lambda row: (-row["count"], row["variant_id"]))
    return [rows[code]["variant_id"] for code in written], listed


def exact_share(entry: "Entry", chosen: np.ndarray) -> float:
    """Share of the chosen uses bool[k] that have every element and no other: nothing was put between them."""
    uses, wild = entry.uses, int(np.count_nonzero(entry.pattern < 0))
    width = (uses.stop - uses.start)[chosen]
    fits = (width >= len(entry.pattern)) & (width <= len(entry.pattern) + 2 * wild)
    return float((uses.have[chosen].all(1) & fits).mean())


def _parse_table(lexicon: list[dict], where: list[tuple]) -> pa.Table:
    """The uses of all motifs by trace and place."""
    if not where:
        return OCCURRENCES.empty_table()
    motif, doc, start, width = (np.concatenate([part[k] for part in where]) for k in (0, 2, 3, 4))
    variant = pa.array([name for part in where for name in part[1]], pa.string())
    order = np.lexsort((start, doc))
    ids = pa.array([row["motif_id"] for row in lexicon], pa.string())
    return pa.table(
        [
            ids.take(pa.array(motif[order])),
            variant.take(pa.array(order)),
            doc[order].astype(np.int32),
            start[order],
            (start + width)[order].astype(np.int32),
            np.zeros(len(order), bool),
        ],
        schema=OCCURRENCES,
    )
