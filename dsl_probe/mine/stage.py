"""The mine stage: units, closed motifs, their counts by model and domain, their occurrences."""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.engine import local_executor, map_shards
from dsl_probe.mine import segment as seg
from dsl_probe.store import Run
from dsl_probe.types import COUNTS, ECHO, MOTIFS, OCCURRENCES, PREFIX, UNITS, VOCABULARY, UserError

_OCCURRENCE_ROWS = 1 << 20


@dataclass(frozen=True)
class MineConfig:
    """What counts as a motif."""

    units: Literal["words"] = "words"
    """Unit system. words: words, numbers, marks, single CJK characters; works across tokenizers."""
    min_traces: int = 20
    """Least support: traces that hold the motif outside prompt echoes, all models and domains pooled."""
    min_problems: int = 10
    """Least number of problems that hold it."""
    max_length: int = 48
    """Longest motif, in units."""
    slots: bool = True
    """Mine numbers as the slot <NUM>."""
    keep_case: bool = False
    """Tell upper from lower case."""
    echo_min: int = 6
    """Shortest span copied from the prompt, in units, that is marked as an echo."""


@dataclass(frozen=True)
class MineResult:
    """Counts of a mine job. `prompt_unknown`: traces without a prompt, where echoes cannot be marked."""

    traces: int
    units: int
    vocabulary: int
    motifs: int
    occurrences: int
    echo_units: int
    prompt_unknown: int


def mine_motifs(
    run: Run, config: MineConfig = MineConfig(), *, workers: int | None = None, force: bool = False
) -> MineResult:
    """Find the closed motifs of length 1 and more in all traces of a run, pooled.

    A motif is closed if no longer sequence has all its occurrences. `count` is the number of leftmost, non-overlapping
    occurrences outside echoes of the prompt and forced prefixes; `support` and `problems` are the traces and problems
    that hold one. Method: suffix array with longest common prefixes clipped at traces (Abouelhoda, Kurtz and Ohlebusch
    2004), distinct documents by duplicate counting (Hui 1992). Writes units/*, vocabulary, motifs, counts, occurrences.

    Memory: about 60 bytes a unit and 13 bytes an occurrence. `workers`: processes that segment (default: one a core).

    What it does not show: that a motif is meaningful, or particular to a model. Frequent is neither.
    """
    for name, least in (("min_traces", 1), ("min_problems", 1), ("max_length", 1), ("echo_min", 2)):
        if getattr(config, name) < least:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(config, name)}; the least is {least}.")
    if config.units != "words":
        raise UserError(f"--units {config.units!r} is unknown; known is words.")
    if not run.begin("mine", asdict(config), run.trace_files(), force):
        return MineResult(**run.counts("mine"))
    from dsl_probe.mine import repeats
    from dsl_probe.mine.suffixes import build_index

    corpus = _read_units(run, config, workers)
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
    result = MineResult(
        traces=len(corpus.bounds) - 1,
        units=len(corpus.symbols),
        vocabulary=len(corpus.texts),
        motifs=counts,
        occurrences=occurrences,
        echo_units=int(np.count_nonzero(corpus.flags & ECHO)),
        prompt_unknown=corpus.prompt_unknown,
    )
    run.finish("mine", outputs, asdict(result))
    return result


@dataclass(frozen=True)
class _Corpus:
    symbols: np.ndarray
    flags: np.ndarray
    bounds: np.ndarray
    problem: np.ndarray
    cell: np.ndarray
    cells: list[tuple[str, str]]
    forms: list[str]
    texts: list[str]
    prompt_unknown: int
    files: list[str]


def group_column(traces: pa.Table) -> pa.ChunkedArray:
    """What tables group by: the training run where there is one, else the model."""
    return pc.coalesce(traces["run"], traces["model"])


def problem_codes(traces: pa.Table) -> np.ndarray:
    """int32[n] code of each trace's problem; a trace without a problem_id is a cluster of its own."""
    own = pa.array([f"\0{i}" for i in range(traces.num_rows)])
    filled = pc.if_else(pc.is_valid(traces["problem_id"]), traces["problem_id"], own)
    return filled.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)


def _segment_shard(job: tuple[str, str, bool, int]) -> dict[str, Any]:
    path, name, keep_case, echo_min = job
    shard = Run(path).table(name, ["trace_id", "text", "prompt", "prefix"])
    texts = shard["text"].to_pylist()
    # One vocabulary for texts and prompts, so that an echo is an equality of ids; each prompt once.
    prompts = shard["prompt"].combine_chunks()
    encoded = prompts.dictionary_encode()
    both = seg.segment(texts + encoded.dictionary.to_pylist(), keep_case)
    units, questions = seg.split(both, len(texts))
    forced = [len(p) if p and t.startswith(p) else 0 for t, p in zip(texts, shard["prefix"].to_pylist(), strict=True)]
    return {
        "trace_id": shard["trace_id"].combine_chunks(),
        "units": units,
        "flags": seg.flag_units(units, questions, encoded.indices.to_numpy(), forced, echo_min),
        "prompt_unknown": pc.sum(pc.equal(prompts, "")).as_py() or 0,
    }


def _read_units(run: Run, config: MineConfig, workers: int | None) -> _Corpus:
    from tqdm import tqdm

    names = run.shards("traces")
    if not names:
        raise UserError(f"{run.path} has no traces: the import set every row aside; see rejected.parquet.")
    jobs = [(str(run.path), name, config.keep_case, config.echo_min) for name in names]
    index: dict[str, int] = {}
    kinds: list[str] = []
    ids, flags, lengths, files, unknown = [], [], [], [], 0
    # Starting processes costs a second or two each, more than one shard does.
    with local_executor(1 if len(jobs) == 1 else workers) as executor:
        done = tqdm(
            map_shards(_segment_shard, jobs, executor),
            total=len(jobs),
            desc="segment",
            unit=" shards",
            delay=1,
            leave=False,
        )
        for i, part in enumerate(done):
            units: seg.Segmented = part["units"]
            used = np.zeros(len(units.texts), bool)
            used[units.ids] = True
            code = np.full(len(units.texts), -1, np.int32)
            for local in np.flatnonzero(used):
                text = units.texts[local]
                known = index.get(text)
                if known is None:
                    known = index[text] = len(kinds)
                    kinds.append(units.kinds[local])
                code[local] = known
            ids.append(code[units.ids])
            flags.append(part["flags"])
            lengths.append(np.diff(units.bounds))
            unknown += part["prompt_unknown"]
            files.append(run.write_shard("units", i, _units_table(part, ids[-1])))
    flat, bounds = np.concatenate(ids), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    texts = list(index)
    forms = [seg.slot_of(t, k, config.slots) for t, k in zip(texts, kinds, strict=True)]
    form_code = {form: i for i, form in enumerate(dict.fromkeys(forms))}
    to_form = np.array([form_code[f] for f in forms], np.int32)
    vocabulary = {
        "id": np.arange(len(texts), dtype=np.int32),
        "text": texts,
        "kind": kinds,
        "slot": forms,
        "count": np.bincount(flat, minlength=len(texts)),
    }
    files.append(run.write_table("vocabulary.parquet", pa.table(vocabulary, schema=VOCABULARY)))
    traces = run.all_shards("traces", ["problem_id", "model", "run", "domain"])
    keys = list(zip(group_column(traces).to_pylist(), traces["domain"].to_pylist(), strict=True))
    cells = sorted(set(keys))
    cell_code = {c: i for i, c in enumerate(cells)}
    return _Corpus(
        symbols=to_form[flat] if len(flat) else flat,
        flags=np.concatenate(flags),
        bounds=bounds,
        problem=problem_codes(traces),
        cell=np.array([cell_code[k] for k in keys], np.int32),
        cells=cells,
        forms=list(form_code),
        texts=texts,
        prompt_unknown=unknown,
        files=files,
    )


def _units_table(part: dict[str, Any], ids: np.ndarray) -> pa.Table:
    units: seg.Segmented = part["units"]
    offsets = pa.array(units.bounds.astype(np.int32))
    columns = [ids, units.starts, units.stops, part["flags"]]
    lists = [pa.ListArray.from_arrays(offsets, pa.array(column)) for column in columns]
    return pa.table([part["trace_id"], *lists], schema=UNITS)


def motif_id(units: str, pattern: list[str]) -> str:
    """Stable name of a motif across runs: BLAKE2b-64 of the unit system and the pattern.

    >>> motif_id("words", ["wait", ","])
    '063a6369ccfb385f'
    """
    return hashlib.blake2b("\x1f".join([units, *pattern]).encode(), digest_size=8).hexdigest()


def _write_motifs(run: Run, config: MineConfig, corpus: _Corpus, index, found, rows, outputs) -> tuple[int, int]:
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
                        "text": " ".join(patterns[r]),
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


def _counts_table(corpus: _Corpus, cells, rank: np.ndarray, ids: pa.Array) -> pa.Table:
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
    print(f"mine: {message}", file=sys.stderr, flush=True)
