"""What the mine stage reads: the units of all traces of a run, their forms, and whose they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.engine import local_executor, map_shards
from dsl_probe.mine import segment as seg
from dsl_probe.store import Run
from dsl_probe.types import UNITS, VOCABULARY, UserError

if TYPE_CHECKING:
    from dsl_probe.mine.stage import MineConfig


@dataclass(frozen=True)
class Corpus:
    """The units of all traces of a run, one trace after another.

    symbols: int32[n_units], codes into `forms`, the forms under which the units are mined. flags: uint8[n_units], why a
    unit is not counted. bounds: int64[n_traces + 1]. problem, cell: int32[n_traces]; cells: (model, domain) by code.
    texts: the vocabulary, by unit id. prompt_unknown: traces without a prompt. files: what was written of the run.
    """

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


def read_units(run: Run, config: "MineConfig", workers: int | None) -> Corpus:
    """Segment all traces of a run; writes its units and its vocabulary."""
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
    return Corpus(
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
