"""What the mine stage reads: the units of all traces of a run, their forms, and whose they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.collect.tokens import table_rows
from dsl_probe.engine import Executor, map_shards
from dsl_probe.executors import executor_of, how_many
from dsl_probe.groups import problem_codes
from dsl_probe.mine import segment as seg
from dsl_probe.mine import token_units
from dsl_probe.mine.echoes import flag_units
from dsl_probe.mine.slots import find_names, name_evidence, slot_forms
from dsl_probe.mine.spans import CODE, MATH, find_spans, join_spans
from dsl_probe.mine.steps import find_steps
from dsl_probe.store import Run
from dsl_probe.types import UNITS, VOCABULARY, UserError

if TYPE_CHECKING:
    from dsl_probe.mine.stage import MineConfig

_COLUMNS = ("trace_id", "text", "prompt", "prefix")
_TOKENS = ("token_ids", "prompt_ids")


@dataclass(frozen=True)
class Corpus:
    """The units of all traces of a run, one trace after another.

    symbols: int32[n_units], codes into `forms`, the forms under which the units are mined. flags: uint8[n_units], why a
    unit is not counted. bounds: int64[n_traces + 1]. problem, cell: int32[n_traces]; cells: (model, domain) by code.
    texts: the vocabulary, by unit id. joiner: what stands between the units of a motif's text. prompt_unknown: traces
    without a prompt. files: what was written of the run; the steps are in its units (read_steps).
    """

    symbols: np.ndarray
    flags: np.ndarray
    bounds: np.ndarray
    problem: np.ndarray
    cell: np.ndarray
    cells: list[tuple[str, str]]
    forms: list[str]
    texts: list[str]
    joiner: str
    prompt_unknown: int
    files: list[str]


def group_column(traces: pa.Table) -> pa.ChunkedArray:
    """What tables group by: the training run where there is one, else the model."""
    return pc.coalesce(traces["run"], traces["model"])


def _segment_shard(job: "tuple[str, str, MineConfig, str]") -> dict[str, Any]:
    path, name, config, tokenizer = job
    shard = Run(path).table(name, [*_COLUMNS, *(_TOKENS if config.units == "tokens" else ())])
    texts = shard["text"].to_pylist()
    forced = [len(p) if p and t.startswith(p) else 0 for t, p in zip(texts, shard["prefix"].to_pylist(), strict=True)]
    known = pc.not_equal(shard["prompt"], "").to_numpy()
    if config.units == "tokens":
        units, prompts, asked = token_units.segment_tokens(table_rows(shard), tokenizer)
        steps, ends, flags = token_units.on_tokens(texts, units)
        known = known | (np.diff(prompts.bounds)[asked] > 0)
    else:
        units, prompts, asked, (steps, ends) = _words(texts, shard["prompt"], config)
        flags = 0
    return {
        "trace_id": shard["trace_id"].combine_chunks(),
        "units": units,
        "flags": flag_units(units, prompts, asked, forced, config.echo_min) | flags,
        "steps": steps,
        "step_bounds": ends,
        "evidence": name_evidence(units) if "NAME" in config.slots else None,
        "prompt_unknown": int(np.count_nonzero(~known)),
    }


def _words(texts: list[str], asked: pa.ChunkedArray, config: "MineConfig"):
    """Units of the texts and of their prompts, which prompt each answers, and the texts' steps."""
    # One vocabulary for texts and prompts, so that an echo is an equality of ids; each prompt once.
    encoded = asked.combine_chunks().dictionary_encode()
    together = texts + encoded.dictionary.to_pylist()
    both = seg.segment(together, config.keep_case)
    spans = find_spans(both)
    own = both.bounds[len(texts)]
    steps, ends = find_steps(seg.select(both, 0, len(texts)), spans[spans[:, 0] < own])
    whole = [kind for slot, kind in (("MATH", MATH), ("CODE", CODE)) if slot in config.slots]
    if whole:
        first = np.repeat(both.bounds[: len(texts)], np.diff(ends))
        both, place = join_spans(both, spans, together, whole)
        now = np.repeat(both.bounds[: len(texts)], np.diff(ends))
        steps = (place[first + steps] - now).astype(np.int32)
    return *seg.split(both, len(texts)), encoded.indices.to_numpy(), (steps, ends)


def read_units(run: Run, config: "MineConfig", executor: str | Executor = "process") -> Corpus:
    """Segment all traces of a run; writes its units and its vocabulary."""
    from tqdm import tqdm

    names = run.shards("traces")
    if not names:
        raise UserError(f"{run.path} has no traces: the import set every row aside; see rejected.parquet.")
    tokenizer = token_units.check_tokens(run, config.tokenizer) if config.units == "tokens" else ""
    jobs = [(str(run.path), name, config, tokenizer) for name in names]
    index: dict[str, int] = {}
    kinds: list[str] = []
    ids, flags, lengths, files, unknown = [], [], [], [], 0
    evidence = []
    # Starting processes costs a second or two each, more than one shard does.
    with executor_of("process:1" if len(jobs) == 1 else executor, folder=run.path / "jobs") as pool:
        done = tqdm(
            map_shards(_segment_shard, jobs, pool, ahead=how_many(pool)),
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
            if part["evidence"] is not None:
                evidence.append((code[used], part["evidence"][used]))
            unknown += part["prompt_unknown"]
            files.append(run.write_shard("units", i, _units_table(part, ids[-1])))
    flat, bounds = np.concatenate(ids), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    texts = list(index)
    forms = slot_forms(texts, kinds, config.slots, _names(texts, kinds, evidence) if evidence else None)
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
    return Corpus(
        symbols=to_form[flat] if len(flat) else flat,
        flags=np.concatenate(flags),
        bounds=bounds,
        problem=problem_codes(traces),
        cell=np.array([cell_code[k] for k in keys], np.int32),
        cells=cells,
        forms=list(form_code),
        texts=texts,
        joiner="" if config.units == "tokens" else " ",
        prompt_unknown=unknown,
        files=files,
    )


def unit_forms(run: Run) -> tuple[np.ndarray, list[str]]:
    """The forms under which a run's units were mined: int32[n_vocabulary], the form of each unit id; and the forms."""
    forms: dict[str, int] = {}
    slots = run.table("vocabulary", ["slot"])["slot"].to_pylist()
    return np.array([forms.setdefault(form, len(forms)) for form in slots], np.int32), list(forms)


def read_symbols(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """The units of a mined run as they were mined: symbols int32[n], codes into the forms; flags uint8[n]; bounds
    int64[n_traces + 1]; forms.
    """
    to_form, forms = unit_forms(run)
    ids, flags, counts = [], [], [np.zeros(1, np.int64)]
    for shard in run.each_shard("units", ["ids", "flags"]):
        lists = shard["ids"].combine_chunks()
        ids.append(to_form[lists.flatten().to_numpy()])
        flags.append(shard["flags"].combine_chunks().flatten().to_numpy())
        counts.append(np.diff(lists.offsets.to_numpy()))
    return np.concatenate(ids), np.concatenate(flags), np.cumsum(np.concatenate(counts)).astype(np.int64), forms


def units_of(rows: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the units of some traces stand, one trace after another: int64[n]; and bounds int64[len(rows) + 1].

    >>> [a.tolist() for a in units_of(np.array([2, 0]), np.array([0, 2, 3, 6]))]
    [[3, 4, 5, 0, 1], [0, 3, 5]]
    """
    lengths = np.diff(bounds)[rows]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(ends[-1]) + np.repeat(bounds[rows] - ends[:-1], lengths), ends


def read_steps(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """First unit of each step of a mined run, int32[n_steps], counted from its trace; and bounds int64[n_traces + 1].

    >>> steps, bounds = read_steps(Run("runs/demo"))     # doctest: +SKIP
    >>> steps[bounds[7] : bounds[8]]                     # of trace_row 7      # doctest: +SKIP
    """
    steps, counts = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
    for shard in run.each_shard("units"):
        if "steps" not in shard.column_names:
            raise UserError(f"{run.path} was mined before steps were kept; run: dsl-probe mine {run.path} --force")
        lists = shard["steps"].combine_chunks()
        steps.append(lists.flatten().to_numpy())
        counts.append(np.diff(lists.offsets.to_numpy()))
    return np.concatenate(steps), np.cumsum(np.concatenate(counts)).astype(np.int64)


def _names(texts: list[str], kinds: list[str], evidence: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    total = np.zeros((len(texts), 3), np.int64)
    for code, counts in evidence:
        total[code] += counts
    return find_names(texts, kinds, total)


def _units_table(part: dict[str, Any], ids: np.ndarray) -> pa.Table:
    units: seg.Segmented = part["units"]
    columns = [ids, units.starts, units.stops, part["flags"]]
    lists = [_lists(units.bounds, column) for column in columns] + [_lists(part["step_bounds"], part["steps"])]
    return pa.table([part["trace_id"], *lists], schema=UNITS)


def _lists(bounds: np.ndarray, column: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(column))
