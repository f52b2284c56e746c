"""Cached readers over a Run. Nothing here knows a file name; everything goes through dsl_probe.store.

Each cache is keyed by the run's folder and a stamp of what its stages recorded, so that a run which was mined again is
read again. Cached tables are shared between sessions: never change one in place.
"""

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dsl_probe.store import Run

ALPHA = 0.05
_FACTS = ["trace_id", "problem_id", "domain", "model", "run", "step", "regime", "sample", "finish", "correct"]
_READER = [
    *_FACTS,
    "start_model",
    "prompt",
    "text",
    "prefix",
    "answer",
    "reference",
    "score",
]


def current() -> Run:
    """The run that the sidebar chose."""
    return Run(st.session_state["run_path"])


def stamp(run: Run, *stages: str) -> str:
    """Digest of what the stages recorded; changes when one of them is done again. Empty if one has not run.

    `traces` stands for the stage that made the traces.
    """
    records = [run.stage(run.trace_stage() if stage == "traces" else stage) for stage in stages]
    if any(record is None for record in records):
        return ""
    kept = [(r["outputs"], r["config"], r["counts"]) for r in records if r]
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=12).hexdigest()


def key(run: Run, *stages: str) -> tuple[str, str]:
    """What a cached reader is keyed by: the folder and the stamp of the stages."""
    return str(run.path.resolve()), stamp(run, *stages)


@st.cache_resource(max_entries=4, show_spinner="Reading traces …")
def trace_facts(key: tuple[str, str]) -> pd.DataFrame:
    """One row a trace without its text; `group` is the training run where there is one, else the model."""
    run = Run(key[0])
    table = run.all_shards("traces", _FACTS)
    group = pc.coalesce(table["run"], table["model"])
    facts = table.append_column("group", group)
    for name in ("domain", "model", "run", "regime", "finish", "group"):
        at = facts.schema.get_field_index(name)
        facts = facts.set_column(at, name, facts[name].dictionary_encode())
    return facts.to_pandas()


@st.cache_data(max_entries=64, show_spinner=False)
def trace(key: tuple[str, str], row: int) -> dict[str, Any]:
    """One trace with its prompt and text."""
    return Run(key[0]).shard_rows("traces", [row], _READER).to_pylist()[0]


@st.cache_data(max_entries=64, show_spinner=False)
def trace_units(key: tuple[str, str], row: int) -> dict[str, np.ndarray]:
    """Units of one trace: ids, starts, stops, flags."""
    table = Run(key[0]).shard_rows("units", [row], ["ids", "starts", "stops", "flags"])
    return {name: table[name].combine_chunks().flatten().to_numpy() for name in table.column_names}


def score_names(run: Run) -> list[str]:
    """Names of the finished scorings of a run: the model, or model-against-model."""
    return [stage.partition(".")[2] for stage in run.stages() if stage.startswith("score.")]


def token_scores(run: Run, name: str, row: int) -> dict[str, list]:
    """Per-token scores of one trace: starts, stops (characters) and the measures; empty if it was left out."""
    for shard in run.shards(f"scores/{name}"):
        found = run.table(shard, filters=[("trace_row", "=", row)]).to_pylist()
        if found:
            return found[0] if found[0]["starts"] is not None else {}
    return {}


@st.cache_resource(max_entries=4, show_spinner=False)
def unit_forms(key: tuple[str, str]) -> list[str]:
    """Unit id -> the form that motifs are made of (its slot, where it has one)."""
    return Run(key[0]).table("vocabulary", ["slot"])["slot"].to_pylist()


@st.cache_resource(max_entries=4, show_spinner="Reading motifs …")
def motifs(key: tuple[str, str]) -> pa.Table:
    """The motifs table without the patterns."""
    names = ["motif_id", "text", "length", "count", "support", "problems", "echo_share", "format"]
    return Run(key[0]).table("motifs", names).combine_chunks()


@st.cache_resource(max_entries=4, show_spinner=False)
def motif_ids(key: tuple[str, str]) -> frozenset[str]:
    """Ids of the closed motifs; a comparison also tests motifs with a wildcard, which the lexicon alone has."""
    return frozenset(motifs(key)["motif_id"].to_pylist())


@st.cache_resource(max_entries=4, show_spinner=False)
def counts(key: tuple[str, str]) -> pd.DataFrame:
    """Counts by motif, model and domain; `motif` is the row in `motifs`."""
    columns = ["motif_id", "model", "domain", "count", "support", "problems", "units"]
    table = Run(key[0]).table("counts", columns, dictionary=columns[:3]).unify_dictionaries().combine_chunks()
    codes = table["motif_id"].combine_chunks()
    rank = pc.index_in(codes.dictionary, motifs(key)["motif_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    frame = table.drop_columns(["motif_id"]).to_pandas()
    # Half the memory: no count of a motif is above what 32 bits hold.
    frame = frame.astype(dict.fromkeys(columns[3:6], np.int32))
    frame["motif"] = rank.astype(np.int32)[codes.indices.to_numpy()] if len(frame) else np.zeros(0, np.int32)
    return frame


@st.cache_resource(max_entries=4, show_spinner=False)
def cells(key: tuple[str, str]) -> pd.DataFrame:
    """Counted units by model and domain."""
    columns = ["model", "domain", "units"]
    table = Run(key[0]).table("counts", columns, dictionary=columns[:2]).unify_dictionaries()
    return table.group_by(columns, use_threads=False).aggregate([]).to_pandas()


def overview(run: Run) -> None:
    """Read what the overview shows."""
    if made := stamp(run, "traces"):
        place = str(run.path.resolve())
        for by in (("group", "regime"), ("group", "domain", "regime")):
            accuracy((place, made), by)
        if mined := stamp(run, "traces", "mine"):
            cells((place, mined))


@st.cache_data(max_entries=64, show_spinner=False)
def motif(key: tuple[str, str], motif_id: str) -> dict[str, Any] | None:
    """One motif with its pattern, or None."""
    found = Run(key[0]).table("motifs", filters=[("motif_id", "=", motif_id)]).to_pylist()
    return found[0] if found else None


def find_motif(key: tuple[str, str], asked: str) -> dict[str, Any] | None:
    """A motif by its id, or by its exact text."""
    found = motif(key, asked)
    if found is None:
        at = pc.index(motifs(key)["text"], pa.scalar(asked, pa.string())).as_py()
        found = motif(key, motifs(key)["motif_id"][at].as_py()) if at >= 0 else None
    return found


@st.cache_resource(max_entries=16, show_spinner="Finding occurrences …")
def occurrences(key: tuple[str, str], motif_id: str) -> pd.DataFrame:
    """Where a motif stands: trace_row, start, stop (in units), echo. Only its own row groups are read."""
    columns = ["trace_row", "start", "stop", "echo"]
    return Run(key[0]).table("occurrences", columns, filters=[("motif_id", "=", motif_id)]).to_pandas()


def search_motifs(
    key: tuple[str, str],
    text: str = "",
    regex: bool = False,
    lengths: tuple[int, int] | None = None,
    models: list[str] | None = None,
    domains: list[str] | None = None,
    hide_format: bool = True,
    sort: str = "count",
    descending: bool = True,
) -> pd.DataFrame:
    """The motifs that match, sorted; `count` and `rate` are those of the chosen models and domains.

    A regular expression is RE2, which takes linear time. Raises pyarrow.ArrowInvalid if it is none.
    """
    cell = (tuple(models or ()), tuple(domains or ()))
    return _matching(key, text, regex, lengths, *cell, hide_format, sort, descending)


@st.cache_resource(max_entries=8, show_spinner=False)
def _matching(key, text, regex, lengths, models, domains, hide_format, sort, descending) -> pd.DataFrame:
    table = motifs(key)
    keep = np.ones(table.num_rows, bool)
    if text:
        match = pc.match_substring_regex if regex else pc.match_substring
        keep &= match(table["text"], text, ignore_case=True).to_numpy()
    if hide_format:
        keep &= ~table["format"].to_numpy()
    if lengths:
        n = table["length"].to_numpy()
        keep &= (n >= lengths[0]) & (n <= lengths[1])
    count, units = _counted(key, models, domains)
    if models or domains:
        keep &= count > 0
    rows = np.flatnonzero(keep)
    found = table.take(pa.array(rows)).set_column(3, "count", pa.array(count[rows]))
    found = found.append_column("rate", pa.array(1000 * count[rows] / max(units, 1)))
    order = [(sort, "descending" if descending else "ascending"), ("motif_id", "ascending")]
    return found.sort_by(order).to_pandas()


@st.cache_resource(max_entries=8, show_spinner=False)
def _counted(key: tuple[str, str], models: tuple[str, ...], domains: tuple[str, ...]) -> tuple[np.ndarray, int]:
    """Count of each motif in the chosen models and domains (all of them, where none is chosen), and their units."""
    part, units = counts(key), cells(key)
    keep = np.ones(len(part), bool)
    for column, chosen in (("model", models), ("domain", domains)):
        if chosen:
            keep &= part[column].isin(chosen).to_numpy()
            units = units[units[column].isin(chosen)]
    motif, count = (part[name].to_numpy()[keep] for name in ("motif", "count"))
    every = np.bincount(motif, count, motifs(key).num_rows).astype(np.int64)
    return every, int(units["units"].sum())


# ---- comparisons


@st.cache_data(max_entries=8, show_spinner=False)
def accuracy(key: tuple[str, str], by: tuple[str, ...]) -> pd.DataFrame:
    """Traces, problems and accuracy of each group.

    The interval is Wilson's at the effective number of traces: their number over the design effect of the problems,
    since answers to one problem go together. It does not compare groups that answered different problems.
    """
    facts = trace_facts(key)
    problem = facts["problem_id"].where(facts["problem_id"].notna(), "\0" + facts.index.astype(str))
    made = []
    for name, part in facts.groupby([*by], observed=True, sort=True, dropna=False):
        ids = problem.loc[part.index]
        judged = part["correct"].notna().to_numpy()
        low = high = value = None
        if judged.any():
            value, low, high = _clustered_wilson(
                part["correct"].to_numpy()[judged].astype(float), ids.to_numpy()[judged]
            )
        finish = part["finish"].value_counts()
        made.append(
            dict(zip(by, name if isinstance(name, tuple) else (name,), strict=True))
            | {
                "traces": len(part),
                "problems": ids.nunique(),
                "domains": part["domain"].nunique(),
                "judged": int(judged.sum()),
                "accuracy": value,
                "low": low,
                "high": high,
                "finish": ", ".join(f"{k} {v:,}" for k, v in finish.items() if v) or "not recorded",
            }
        )
    return pd.DataFrame(made)


def _clustered_wilson(correct: np.ndarray, problem: np.ndarray, z: float = 1.959964) -> tuple[float, float, float]:
    n, value = len(correct), float(correct.mean())
    code = pd.factorize(problem)[0]
    sums = np.bincount(code, correct - value)
    k = len(sums)
    variance = (sums**2).sum() / n**2 * k / max(k - 1, 1)
    plain = value * (1 - value) / n
    effective = n / max(variance / plain, 1.0) if plain > 0 else float(k)
    centre = (value + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * np.sqrt(value * (1 - value) / effective + z**2 / (4 * effective**2))
    return value, max(float(centre - half), 0.0), min(float(centre + half), 1.0)
