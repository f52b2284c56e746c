"""The lexicon of a run as tables: its motifs, their variants, and every trace parsed with them."""

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dsl_probe.store import Run
from dsl_probe.types import ECHO, FORMAT, LEXICON, OCCURRENCES, PREFIX, VARIANTS

if TYPE_CHECKING:
    from dsl_probe.mine.align import Text
    from dsl_probe.mine.corpus import Corpus
    from dsl_probe.mine.lexicon import Entry

_VARIANTS = 100


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
    barrier = (corpus.flags & (ECHO | PREFIX | FORMAT)) > 0
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
        written = [index.symbols[a:b].tobytes() for a, b in zip(start.tolist(), stop.tolist(), strict=True)]
        counts = Counter(written)
        kinds = {}
        for code in counts:
            pattern = forms[np.frombuffer(code, np.int32)].tolist()
            kinds[code] = (motif_id(config.units, pattern), pattern)
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
                "exact_share": float((uses.have[uses.free].all(1) & _fits(entry.pattern, stop - start)).mean()),
                "bits_saved": entry.saved,
                "q_unit": float(q[entry.seed]),
                "variants": len(counts),
            }
        )
        often = sorted(counts, key=lambda code: (-counts[code], kinds[code][0]))[:_VARIANTS]
        variants += [
            {"motif_id": names[i], "variant_id": kinds[c][0], "pattern": kinds[c][1], "count": counts[c]} for c in often
        ]
        at = (start - index.doc_starts[doc]).astype(np.int32)
        where.append((np.full(len(start), len(where), np.int32), [kinds[c][0] for c in written], doc, at, stop - start))
    outputs.append(run.write_table("lexicon.parquet", pa.Table.from_pylist(lexicon, schema=LEXICON)))
    outputs.append(run.write_table("variants.parquet", pa.Table.from_pylist(variants, schema=VARIANTS)))
    outputs.append(run.write_table("parse.parquet", _parse_table(lexicon, where)))


def _fits(pattern: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Whether a use is as long as its elements: nothing was put between them."""
    wild = int(np.count_nonzero(pattern < 0))
    return (width >= len(pattern)) & (width <= len(pattern) + 2 * wild)


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
