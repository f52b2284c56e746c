"""What two texts have in common, in units, and the motifs of the lexicon that one trace or both hold."""

from collections import Counter
from collections.abc import Sequence

import labels
import numpy as np
import pandas as pd
import streamlit as st
import tokens

import data
from dsl_probe.store import Run

Span = tuple[int, int, str, str]


@st.cache_data(max_entries=64, show_spinner=False)
def steps(key: tuple[str, str], row: int) -> list[int]:
    """The first character of each step of a trace; empty where the run was mined before steps were kept."""
    table = Run(key[0]).shard_rows("units", [row])
    if "steps" not in table.column_names:
        return []
    starts = data.trace_units(key, row)["starts"]
    return [int(starts[s]) for s in table["steps"][0].as_py()]


@st.cache_data(max_entries=64, show_spinner=False)
def uses(key: tuple[str, str], row: int) -> list[tuple[int, int, str]]:
    """Where the entries of the run's lexicon are used in a trace: start, stop (units), motif_id; echoes left out."""
    run = Run(key[0])
    if not run.has("parse.parquet"):
        return []
    columns = ["start", "stop", "motif_id", "echo"]
    table = run.table("parse", columns, filters=[("trace_row", "=", row)]).to_pylist()
    return sorted((u["start"], u["stop"], u["motif_id"]) for u in table if not u["echo"])


@st.cache_resource(max_entries=8, show_spinner=False)
def private_patterns(key: tuple[str, str], id: str) -> dict[tuple[str, ...], str]:
    """Pattern -> word or phrase, for what a language has beyond its reference, in all variants."""
    run, folder = Run(key[0]), f"languages/{id}/"
    if not run.has(f"{folder}lexicon.parquet"):
        return {}
    kinds = {e["motif_id"]: e for e in run.table(f"{folder}lexicon", ["motif_id", "kind", "pattern"]).to_pylist()}
    found = {tuple(e["pattern"]): e["kind"] for e in kinds.values()}
    if run.has(f"{folder}variants.parquet"):
        for v in run.table(f"{folder}variants", ["motif_id", "pattern"]).to_pylist():
            if v["motif_id"] in kinds:
                found.setdefault(tuple(v["pattern"]), kinds[v["motif_id"]]["kind"])
    return found


def private_spans(forms: Sequence[str], flags: np.ndarray, patterns: dict[tuple[str, ...], str]) -> list[Span]:
    """Uses of a language's own words and phrases, outside echoes, prefixes and format."""
    found = tokens.match(forms, patterns)
    return [(a, b, kind, f"{kind} beyond the reference") for a, b, kind in found if not flags[a:b].any()]


def beside_others(spans: list[Span], more: list[Span]) -> list[Span]:
    """Spans, and of `more` those that overlap none of them, by place."""
    taken = {i for a, b, *_ in spans for i in range(a, b)}
    return sorted([*spans, *(s for s in more if taken.isdisjoint(range(s[0], s[1])))])


def common(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The longest sequence that ends at each unit of `a` and stands anywhere in `b`, and the other way round: lengths.

    a: int[n], b: int[m] unit ids; a negative id equals no other. Exact, n steps over m units.

    >>> [x.tolist() for x in common(np.array([5, 1, 2, 9]), np.array([1, 2, 5]))]
    [[1, 1, 2, 0], [1, 2, 1]]
    """
    of_a, of_b = np.zeros(len(a), np.int32), np.zeros(len(b), np.int32)
    if not len(a) or not len(b):
        return of_a, of_b
    ends = np.zeros(len(b) + 1, np.int32)
    for i, unit in enumerate(a):
        ends[1:] = np.where((b == unit) & (unit >= 0), ends[:-1] + 1, 0)
        of_a[i] = ends.max()
        np.maximum(of_b, ends[1:], out=of_b)
    return of_a, of_b


def sequences(longest: np.ndarray, least: int) -> list[tuple[int, int]]:
    """Spans of the sequences that cannot be made longer, of `least` units or more, by place; they may overlap."""
    grows = np.append(longest[1:] == longest[:-1] + 1, False)
    return [(int(i - longest[i] + 1), int(i + 1)) for i in np.flatnonzero(~grows & (longest >= least))]


def apart(spans: list[tuple[int, int]], least: int) -> list[tuple[int, int]]:
    """Spans that do not overlap: the longest first, of the others what is left if it still has `least` units.

    >>> apart([(0, 4), (3, 9), (8, 10)], 2)
    [(0, 3), (3, 9)]
    """
    taken, kept = set(), []
    for start, stop in sorted(spans, key=lambda s: (s[0] - s[1], s)):
        low, high = start, stop
        while low < high and low in taken:
            low += 1
        while high > low and high - 1 in taken:
            high -= 1
        if high - low >= least and taken.isdisjoint(range(low, high)):
            taken |= set(range(low, high))
            kept.append((low, high))
    return sorted(kept)


def told_apart(units: dict[str, np.ndarray]) -> np.ndarray:
    """Unit ids with those that are no words of the model (echoes, prefixes, format) made equal to nothing."""
    return np.where(units["flags"] > 0, -1, units["ids"]).astype(np.int64)


@st.cache_data(max_entries=16, show_spinner="Comparing …")
def common_of(key: tuple[str, str], left: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Of two traces: the length of the longest common sequence that ends at each unit."""
    return common(*(told_apart(data.trace_units(key, row)) for row in (left, right)))


def sequence_table(
    a: np.ndarray, b: np.ndarray, longest: np.ndarray, text: str, units: dict, least: int
) -> pd.DataFrame:
    """The distinct common sequences, longest first: text (as the first trace has it), units, times in each trace."""
    rows: dict[tuple[int, ...], dict] = {}
    for start, stop in sequences(longest, least):
        key = tuple(a[start:stop].tolist())
        if key not in rows:
            words = text[int(units["starts"][start]) : int(units["stops"][stop - 1])]
            times = {"left": _times(key, a), "right": _times(key, b)}
            rows[key] = {"text": labels.one_line(words, 300), "units": stop - start} | times
    frame = pd.DataFrame(rows.values(), columns=["text", "units", "left", "right"])
    return frame.sort_values(["units", "left"], ascending=False, kind="stable", ignore_index=True)


def _times(pattern: tuple[int, ...], ids: np.ndarray) -> int:
    """Occurrences, overlapping ones too."""
    size = len(pattern)
    if size > len(ids):
        return 0
    return int((np.lib.stride_tricks.sliding_window_view(ids, size) == np.array(pattern)).all(1).sum())


def motif_table(
    left: list[tuple[int, int, str]], right: list[tuple[int, int, str]], names: dict[str, str]
) -> pd.DataFrame:
    """Entries of the lexicon that two traces use: text, uses in each; those in both first."""
    counts = [Counter(m for *_, m in found) for found in (left, right)]
    rows = [
        {"text": labels.one_line(names.get(m, m), 300), "left": counts[0][m], "right": counts[1][m]}
        for m in counts[0].keys() | counts[1].keys()
    ]
    frame = pd.DataFrame(rows, columns=["text", "left", "right"])
    frame["in both"] = (frame["left"] > 0) & (frame["right"] > 0)
    order = frame.assign(sum=frame["left"] + frame["right"]).sort_values(
        ["in both", "sum", "text"], ascending=[False, False, True]
    )
    return order.drop(columns="sum").reset_index(drop=True)
