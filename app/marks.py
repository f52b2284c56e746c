"""What the reader highlights: a place, a motif, discoveries, the lexicon by category, or what two traces share."""

from collections.abc import Sequence
from dataclasses import dataclass

import compared
import labels
import lexicons
import numpy as np
import states
import streamlit as st
import together
import tokens

import data
from dsl_probe.groups import parse_group
from dsl_probe.store import Run

Marked = tuple[list[together.Span], list[tuple[str, str]], str]
NONE: Marked = ([], [], "")
SEQUENCES, SHARED = "shared sequences", "shared motifs"


@dataclass(frozen=True)
class Mark:
    """What to highlight. kind: place | motif | discoveries | lexicon | one of the two of a pair | nothing. pair: the
    rows of two traces side by side."""

    kind: str
    place: int | None = None
    motif: dict | None = None
    comparison: str = ""
    language: str = ""
    least: int = 1
    pair: tuple[int, int] | None = None


def choose(run: Run, motif: dict | None, place: int | None, pair: tuple[int, int] | None) -> Mark:
    """The boxes that choose what to highlight."""
    done = run.comparisons()
    lexicon = run.has("lexicon.parquet")
    languages = [i for i, c in run.languages().items() if c["reference"]]
    kinds = (
        ([SEQUENCES, *([SHARED] if lexicon else [])] if pair else [])
        + (["place"] if place is not None and not pair else [])
        + (["motif"] if motif else [])
        + (["discoveries"] if done else [])
        + (["lexicon"] if lexicon or languages else [])
        + ["nothing"]
    )
    comparison, language, least = "", "", 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Highlight", kinds, default=kinds[0], required=True, key=f"highlight_{len(kinds)}_{kinds[0]}"
        )
        if kind == "discoveries":
            comparison = states.choose_comparison(done)
            least = st.segmented_control("Shortest", [1, 2, 3], default=1, required=True, key="least", help="in units")
        if kind == "lexicon" and languages:
            language = labels.pick("Beyond the reference of", languages, "language_of", width=320)
        if kind == SEQUENCES:
            least = st.segmented_control("Shortest", [3, 5, 8], default=3, required=True, key="common", help="in units")
    return Mark(kind or "nothing", place, motif, comparison, language, least or 1, pair)


def find(run: Run, mark: Mark, row: int, units: dict[str, np.ndarray]) -> Marked:
    """What to highlight in one trace: spans in units, legend, and what to say if there is none."""
    mined = data.key(run, "traces", "mine")
    if mark.kind == "place" and mark.place is not None:
        return at_place(units, mark.place)
    if mark.kind == "motif" and mark.motif:
        where = data.occurrences(mined, mark.motif["motif_id"])
        here = where[where["trace_row"] == row].sort_values("start")
        found = [
            (int(a), int(b), "motif", "copied from the prompt" if e else "motif")
            for a, b, e in here[["start", "stop", "echo"]].itertuples(index=False)
        ]
        return found, [("motif", labels.one_line(mark.motif["text"], 60))], "this trace does not hold the motif"
    if mark.kind == "discoveries":
        return _discoveries(run, mark, mined, units)
    if mark.kind == "lexicon":
        return _lexicon(run, mark, mined, row, units)
    if mark.kind == SEQUENCES and mark.pair:
        longest = together.common_of(mined, *mark.pair)[mark.pair.index(row)]
        spans = together.apart(together.sequences(longest, mark.least), mark.least)
        found = [(a, b, "both", "the other trace has it too") for a, b in spans]
        legend = [("both", f"{mark.least} units and more that both hold")]
        return found, legend, "no sequence of this length is in both"
    if mark.kind == SHARED and mark.pair:
        other = {m for *_, m in together.uses(mined, mark.pair[1 - mark.pair.index(row)])}
        found = [
            (a, b, "both" if m in other else "alone", "in both" if m in other else "in this one alone")
            for a, b, m in together.uses(mined, row)
        ]
        return found, [("both", "in both"), ("alone", "in this one alone")], "this trace uses no motif of the lexicon"
    return NONE


def at_place(units: dict, place: int) -> Marked:
    """The unit that follows a place: what the state there had not read."""
    k = int(np.searchsorted(units["stops"], place, "right"))
    found = [(k, k + 1, "motif", "the state has read up to here")] if k < len(units["stops"]) else []
    return found, [("motif", "next after the place")], "the place is the end of the text"


def _discoveries(run: Run, mark: Mark, mined: tuple[str, str], units: dict) -> Marked:
    patterns = compared.discovery_patterns(data.key(run, f"compare.{mark.comparison}"), mined, mark.comparison)
    patterns = {p: which for p, which in patterns.items() if len(p) >= mark.least}
    found = [
        (a, b, which.lower(), f"over-represented in {which}")
        for a, b, which in tokens.match(_forms(mined, units), patterns)
        if not units["flags"][a:b].any()
    ]
    done = run.comparisons()[mark.comparison]
    legend = [("a", f"A: {labels.short(done['a'])}"), ("b", f"B: {labels.short(done['b'])}")]
    return found, legend, "no discovery of this comparison stands in this trace"


def _lexicon(run: Run, mark: Mark, mined: tuple[str, str], row: int, units: dict) -> Marked:
    own: list[together.Span] = []
    if mark.language:
        key = data.key(run, "mine", f"language.{mark.language}")
        patterns = together.private_patterns(key, mark.language)
        own = together.private_spans(_forms(mined, units), units["flags"], patterns)
    names = motif_names(mined)
    rest: list[together.Span] = [
        (a, b, "shared", f"lexicon: {labels.one_line(names.get(m, ''), 60)}") for a, b, m in together.uses(mined, row)
    ]
    legend = [("word", "word beyond the reference"), ("phrase", "phrase beyond it")] if mark.language else []
    return (
        together.beside_others(own, rest),
        [*legend, ("shared", "lexicon of the run")],
        "no motif stands in this trace",
    )


def _forms(mined: tuple[str, str], units: dict) -> Sequence[str]:
    forms = data.unit_forms(mined)
    return [forms[i] for i in units["ids"]]


def motif_names(mined: tuple[str, str]) -> dict[str, str]:
    """Id -> text of the lexicon's entries."""
    lexicon = lexicons.lexicon(mined)
    return {} if lexicon is None else dict(zip(lexicon["motif_id"], lexicon["text"], strict=True))


def side(trace: dict, config: dict) -> str:
    """Which group of a comparison a trace belongs to, in words."""
    asked = {g: parse_group(config[g]) for g in "ab"}
    if not all(c in trace for group in asked.values() for c in group):
        return ""
    held = [g for g, group in asked.items() if all(_as_text(trace[c]) == v for c, v in group.items())]
    return f"This trace is of group {' and '.join(held).upper()}." if held else "This trace is of neither group."


def _as_text(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
