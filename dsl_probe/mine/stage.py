"""The mine stage: units, closed motifs, their counts by model and domain, their occurrences."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from dsl_probe.engine import Executor
from dsl_probe.mine import segment as seg
from dsl_probe.mine.entries import motif_id
from dsl_probe.mine.slots import DEFAULT_SLOTS, parse_slots
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import COUNTS, ECHO, MOTIFS, OCCURRENCES, PREFIX, UserError

if TYPE_CHECKING:
    from dsl_probe.mine.corpus import Corpus

_OCCURRENCE_ROWS = 1 << 20


@dataclass(frozen=True)
class MineConfig:
    """What counts as a motif."""

    units: Literal["words", "tokens"] = "words"
    """Unit system. words: words, numbers, marks, single CJK characters; works across tokenizers. tokens: the model's
    own, for traces that carry token ids of one tokenizer."""
    min_traces: int = 20
    """Least support: traces that hold the motif outside prompt echoes, all models and domains pooled."""
    min_problems: int = 10
    """Least number of problems that hold it."""
    max_length: int = 48
    """Longest motif, in units."""
    slots: tuple[str, ...] = DEFAULT_SLOTS
    """What is mined as a typed slot: NUM (numbers), DATA (blocks of numbers, boards), VAR (single letters), OP (signs),
    MATH and CODE (as one unit each), NAME (capitalised words), NAME=REGEX (your own, such as 'UNIT=km|cm'). The first
    in the list that fits takes a unit."""
    keep_case: bool = False
    """Tell upper from lower case (tokens always do)."""
    echo_min: int = 6
    """Shortest span copied from the prompt, in units, that is marked as an echo."""
    q: float = 0.05
    """Largest q, against resampled and shuffled text, of a sequence that the lexicon may grow from."""
    tokenizer: str | None = None
    """With --units tokens: the model or folder whose tokenizer made the ids (default: the traces' model)."""


@dataclass(frozen=True)
class MineResult:
    """Counts of a mine job. `prompt_unknown`: traces without a prompt, where echoes cannot be marked. `lexicon`: motifs
    chosen to describe the traces; `coverage`: share of the units outside echoes, prefixes and format that they cover.
    """

    traces: int
    units: int
    vocabulary: int
    motifs: int
    occurrences: int
    echo_units: int
    prompt_unknown: int
    lexicon: int
    coverage: float


@stage_of_run
def mine_motifs(
    run: Run, config: MineConfig = MineConfig(), *, executor: str | Executor = "process", force: bool = False
) -> MineResult:
    """Find the closed motifs of length 1 and more in all traces of a run, pooled.

    A motif is closed if no longer sequence has all its occurrences. `count` is the number of leftmost, non-overlapping
    occurrences outside echoes of the prompt and forced prefixes; `support` and `problems` are the traces and problems
    that hold one. Method: suffix array with longest common prefixes clipped at traces (Abouelhoda, Kurtz and Ohlebusch
    2004), distinct documents by duplicate counting (Hui 1992). Of these a lexicon is chosen (lexicon.py), whose motifs
    have variants. Writes units/*, vocabulary, motifs, counts, occurrences, lexicon, variants, parse.

    Memory: about 30 bytes a unit, 45 bytes an occurrence and .3 GB (experiments/reliability). executor: where the
    traces are segmented, shard by shard (`executors.py`).

    What it does not show: that a motif is meaningful, or particular to a model. Frequent is neither.
    """
    for name, least in (("min_traces", 1), ("min_problems", 1), ("max_length", 1), ("echo_min", 2)):
        if getattr(config, name) < least:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(config, name)}; the least is {least}.")
    if not 0 < config.q <= 1:
        raise UserError(f"--q is {config.q}; it must be above 0 and at most 1.")
    if config.units not in ("words", "tokens"):
        raise UserError(f"--units {config.units!r} is unknown; known are words and tokens.")
    parse_slots(config.slots, config.units)
    if not run.begin("mine", asdict(config), run.trace_files(), force):
        return MineResult(**run.counts("mine"))
    from dsl_probe.mine import repeats
    from dsl_probe.mine.corpus import read_units
    from dsl_probe.mine.entries import write_lexicon
    from dsl_probe.mine.suffixes import build_index

    try:
        corpus = read_units(run, config, executor)
    except UserError:
        run.abandon("mine")  # refused: another setting may be tried
        raise
    _say(f"{len(corpus.symbols):,} units in {len(corpus.bounds) - 1:,} traces; indexing")
    index = build_index(corpus.symbols, corpus.bounds)
    found = repeats.find_repeats(
        index,
        doc_problem=corpus.problem,
        min_count=config.min_traces,
        min_support=config.min_traces,
        min_problems=config.min_problems,
        max_length=config.max_length,
    )
    rows = np.flatnonzero(found.closed)
    _say(f"{len(rows):,} closed repeats; finding their occurrences")
    outputs = list(corpus.files)
    counts, occurrences = _write_motifs(run, config, corpus, index, found, rows, outputs)
    _say("choosing the lexicon")
    entries, coverage = write_lexicon(run, config, corpus, index, found, rows, outputs)
    result = MineResult(
        traces=len(corpus.bounds) - 1,
        units=len(corpus.symbols),
        vocabulary=len(corpus.texts),
        motifs=counts,
        occurrences=occurrences,
        echo_units=int(np.count_nonzero(corpus.flags & ECHO)),
        prompt_unknown=corpus.prompt_unknown,
        lexicon=entries,
        coverage=coverage,
    )
    run.finish("mine", outputs, asdict(result))
    return result


def _write_motifs(run: Run, config: MineConfig, corpus: "Corpus", index, found, rows, outputs) -> tuple[int, int]:
    from dsl_probe.mine import repeats, select

    row, doc, start = repeats.occurrences(index, found, rows)
    row = np.searchsorted(rows, row).astype(np.int32)
    length = found.length[rows].astype(np.int32)
    echo = select.echo_occurrences(doc, start, length[row], corpus.bounds, (corpus.flags & (ECHO | PREFIX)) > 0)
    own = ~echo
    cells = select.cell_counts(row[own], doc[own], len(rows), corpus.cell, len(corpus.cells), corpus.problem)
    keep = (cells.pooled_support >= config.min_traces) & (cells.pooled_problems >= config.min_problems)
    chosen = np.flatnonzero(keep)

    first = index.sa[found.first[rows]]
    patterns = {
        int(r): [corpus.forms[s] for s in index.symbols[first[r] : first[r] + length[r]].tolist()] for r in chosen
    }
    formats = {t for t in corpus.forms if seg.is_format(t)}
    names = {r: motif_id(config.units, p) for r, p in patterns.items()}
    order = sorted(patterns, key=names.__getitem__)
    total = np.bincount(row, minlength=len(rows))
    outputs.append(
        run.write_table(
            "motifs.parquet",
            pa.Table.from_pylist(
                [
                    {
                        "motif_id": names[r],
                        "text": corpus.joiner.join(patterns[r]),
                        "pattern": patterns[r],
                        "length": len(patterns[r]),
                        "count": cells.pooled_count[r],
                        "support": cells.pooled_support[r],
                        "problems": cells.pooled_problems[r],
                        "echo_share": 1 - cells.pooled_count[r] / total[r],
                        "format": any(u in formats for u in patterns[r]),
                    }
                    for r in order
                ],
                schema=MOTIFS,
            ),
        )
    )

    rank = np.full(len(rows), -1, np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    ids = pa.array([names[r] for r in order], pa.string())
    outputs.append(run.write_table("counts.parquet", _counts_table(corpus, cells, rank, ids)))
    bounds = np.searchsorted(row, np.arange(len(rows) + 1))
    n = 0
    with run.table_writer("occurrences.parquet", OCCURRENCES) as writer:
        for block in _blocks(order, bounds):
            take = np.concatenate([np.arange(bounds[r], bounds[r + 1]) for r in block])
            motif = pa.DictionaryArray.from_arrays(pa.array(rank[row[take]]), ids).cast(pa.string())
            writer.write_table(
                pa.table(
                    [
                        motif,
                        pa.nulls(len(take), pa.string()),
                        doc[take].astype(np.int32),
                        start[take].astype(np.int32),
                        (start[take] + length[row[take]]).astype(np.int32),
                        echo[take],
                    ],
                    schema=OCCURRENCES,
                ),
                row_group_size=1 << 16,
            )
            n += len(take)
    outputs.append("occurrences.parquet")
    return len(order), n


def _blocks(order: list[int], bounds: np.ndarray) -> Iterator[list[int]]:
    """Motifs in blocks of about a million occurrences, so that the writer's memory stays bounded."""
    block, size = [], 0
    for r in order:
        block.append(r)
        size += bounds[r + 1] - bounds[r]
        if size >= _OCCURRENCE_ROWS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _counts_table(corpus: "Corpus", cells, rank: np.ndarray, ids: pa.Array) -> pa.Table:
    keep = np.flatnonzero(rank[cells.row] >= 0)
    keep = keep[np.lexsort((cells.cell[keep], rank[cells.row[keep]]))]
    counted = np.concatenate([[0], np.cumsum(corpus.flags == 0)])
    units = np.bincount(corpus.cell, counted[corpus.bounds[1:]] - counted[corpus.bounds[:-1]], len(corpus.cells))
    cell = cells.cell[keep]
    names, domains = (pa.array([c[i] for c in corpus.cells], pa.string()) for i in (0, 1))
    return pa.table(
        [
            ids.take(pa.array(rank[cells.row[keep]])),
            names.take(pa.array(cell)),
            domains.take(pa.array(cell)),
            cells.count[keep],
            cells.support[keep],
            cells.problems[keep],
            units[cell].astype(np.int64),
        ],
        schema=COUNTS,
    )


def _say(message: str) -> None:
    say(f"mine: {message}")
