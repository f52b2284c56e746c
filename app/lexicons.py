"""Cached readers of what was mined besides motifs: the lexicon and its uses, languages, growth over training."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import data
from dsl_probe.store import Run


@st.cache_resource(max_entries=4, show_spinner=False)
def lexicon(key: tuple[str, str]) -> pd.DataFrame | None:
    """The lexicon without the patterns; None where the run was mined without one."""
    run = Run(key[0])
    if not run.has("lexicon.parquet"):
        return None
    names = ["motif_id", "text", "count", "support", "problems", "exact_share", "bits_saved", "q_unit", "variants"]
    return run.table("lexicon", names).to_pandas()


@st.cache_resource(max_entries=4, show_spinner=False)
def lexicon_uses(key: tuple[str, str]) -> pd.DataFrame:
    """Uses of each motif of the lexicon (rows as there) by model or training run (columns)."""
    table = Run(key[0]).table("parse", ["motif_id", "trace_row"], dictionary=["motif_id"]).combine_chunks()
    codes = table["motif_id"].combine_chunks()
    entries = lexicon(key)
    ids = [] if entries is None else entries["motif_id"].tolist()
    rank = pd.Index(ids).get_indexer(codes.dictionary.to_pylist())
    group = data.trace_facts(key)["group"].cat
    names, k = group.categories.astype(str).tolist(), len(group.categories)
    motif = rank[codes.indices.to_numpy()] if len(codes) else np.zeros(0, np.int64)
    cell = motif * k + group.codes.to_numpy()[table["trace_row"].to_numpy()]
    found = np.bincount(cell[motif >= 0], minlength=len(ids) * k).reshape(len(ids), k)
    return pd.DataFrame(found, columns=names)[sorted(names)]


@st.cache_resource(max_entries=4, show_spinner=False)
def lexicon_units(key: tuple[str, str]) -> pd.Series:
    """Units of text by model or training run."""
    frame = data.cells(key)
    return frame.groupby(frame["model"].astype(str))["units"].sum()


@st.cache_data(max_entries=64, show_spinner=False)
def variants(key: tuple[str, str], motif_id: str, folder: str = "") -> pd.DataFrame:
    """The most frequent variants of a motif of the lexicon, or of that of a language in its folder."""
    table = Run(key[0]).table(f"{folder}variants", ["pattern", "count"], filters=[("motif_id", "=", motif_id)])
    frame = table.to_pandas()
    return frame.assign(text=[" ".join(pattern) for pattern in frame["pattern"]])


@st.cache_data(max_entries=16, show_spinner=False)
def private_lexicon(key: tuple[str, str], id: str) -> pd.DataFrame | None:
    """Words and phrases of a language that its reference lacks; None where there was no reference."""
    run = Run(key[0])
    if not run.has(f"languages/{id}/lexicon.parquet"):
        return None
    return run.table(f"languages/{id}/lexicon").to_pandas().drop(columns="pattern").sort_values("g2", ascending=False)


@st.cache_data(max_entries=16, show_spinner=False)
def grammars(key: tuple[str, str], id: str) -> dict[str, dict[str, Any]]:
    """The grammars of a language by domain; empty where none was learnt."""
    run = Run(key[0])
    return run.json(f"languages/{id}/grammar.json") if run.has(f"languages/{id}/grammar.json") else {}


@st.cache_data(max_entries=8, show_spinner=False)
def growth(key: tuple[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Series over training steps, and the change of each unit and motif."""
    run = Run(key[0])
    events = run.frame("growth_events")
    return run.frame("growth"), events.iloc[np.lexsort((-events["growth"].abs(), events["p_adj"]))]


@st.cache_data(max_entries=8, show_spinner="reading the dictionary")
def entries(key: tuple[str, str], language: str) -> list:
    """The dictionary of a language."""
    from dsl_probe.mine.dictionary import dictionary

    return dictionary(Run(key[0]), language)


@st.cache_data(max_entries=64, show_spinner=False)
def translation(key: tuple[str, str], row: int, language: str) -> str:
    """A trace with each word and phrase of a language replaced by its gloss, in brackets."""
    from dsl_probe.mine.translate import translate

    pieces = translate(Run(key[0]), row, language, entries(key, language))
    return "".join(p.text if p.gloss is None else p.gloss for p in pieces)


@st.cache_data(max_entries=16, show_spinner=False)
def rows_of(key: tuple[str, str], group: str) -> np.ndarray:
    """Rows of the traces of a group."""
    from dsl_probe.groups import group_columns, select_rows

    return select_rows(Run(key[0]).all_shards("traces", group_columns(group)), group)
