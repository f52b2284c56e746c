"""Filters of the motifs beyond words: by what was found of them, by writing system, by a sequence with slots.

All of them are worked out on the server; their choices stand in the address.
"""

import re

import compared
import labels
import numpy as np
import pandas as pd
import probed
import pyarrow as pa
import pyarrow.compute as pc
import states
import streamlit as st

import data
from dsl_probe.mine.segment import segment
from dsl_probe.store import Run

ALL = "all"
EMERGENT, MORE_A, MORE_B, BEARING = "emergent", "over-represented in A", "over-represented in B", "load-bearing"
SEVERAL, NONE = "several scripts", "no letters"
_SLOT = re.compile(r"<[A-Z][A-Z0-9_]*(?::[^<>\s]*)?>")
# A slot, or an asterisk that stands alone.
_PART = re.compile(r"(<[A-Z][A-Z0-9_]*>|(?<!\S)\*(?!\S))")
Key = tuple[str, str]


def boxes(run: Run, key: Key) -> tuple[str, str, str]:
    """The boxes: what was found, in which comparison ("" where none is asked), writing system."""
    found, missing = _available(run)
    asked = st.query_params.get("only")
    only = labels.pick(
        "Finding",
        [ALL, *found],
        "only",
        width=230,
        help="Over-represented: at equal units over all domains, family-wise p ≤ .05. Load-bearing: the model needs it "
        "more than its placebo. Emergent: over-represented against the base model, stable and load-bearing.",
    )
    comparison = states.choose_comparison(run.comparisons(), 200) if only in (EMERGENT, MORE_A, MORE_B) else ""
    script = labels.pick(
        "Script",
        [ALL, *scripts(key)[1]],
        "script",
        width=160,
        help="Motifs with a letter of this writing system; slots and LaTeX commands have none. A script is no "
        "language: English and French share one.",
    )
    if missing:
        with st.popover("more findings", icon=":material/terminal:"):
            for what, command in missing.items():
                st.text(what)
                st.code(labels.visible(command), language="bash", wrap_lines=True)
    if asked in missing:
        labels.trouble(f"This run cannot tell yet which motifs are {asked}.", command=missing[asked], kind="info")
    return only, comparison, script


def _available(run: Run) -> tuple[list[str], dict[str, str]]:
    """Filters that this run has the data for, and for each of the others the command that makes them."""
    done = run.comparisons()
    bearing = bool(probed.results(run, "effects"))
    emergent = [id for id in done if judged(data.key(run, f"compare.{id}"), id)]
    found = [EMERGENT] * bool(emergent) + [MORE_A, MORE_B] * bool(done) + [BEARING] * bearing
    models = sorted(data.trace_facts(data.key(run, "traces"))["model"].dropna().unique())
    a, b = (labels.one_line(m, 80) for m in [*models, "NAME", "NAME"][:2])
    compare = f"dsl-probe compare {run.path} --a 'model={b}' --b 'model={a}' --base 'model={a}'"
    effects = f"dsl-probe effects {run.path} --model MODEL"
    if done:
        id = next(iter(done))
        compare = f"dsl-probe compare {run.path} --config {run.path / 'stages' / f'compare.{id}.json'} --force"
    missing = {}
    if not emergent:
        missing[EMERGENT] = compare if bearing else f"{effects}\n{compare}"
    if not done:
        missing |= {MORE_A: compare, MORE_B: compare}
    if not bearing:
        missing[BEARING] = effects
    return found, missing


@st.cache_data(max_entries=32, show_spinner=False)
def judged(key: Key, id: str) -> bool:
    """Whether a comparison knows of any motif if it is load-bearing, so that it can tell what is emergent."""
    column = Run(key[0]).table(f"comparisons/{id}/comparison", ["load_bearing"])["load_bearing"]
    return column.null_count < len(column)


def narrow(run: Run, key: Key, frame: pd.DataFrame, only: str, comparison: str, script: str, query: str):
    """The rows of a table of motifs that pass the filters; `query` is a sequence of units, or empty."""
    if only == BEARING:
        known = probed.carried(probed.carried_key(run)).needed
        held = {name for name, rows in known.items() if any(row.bearing for row in rows)}
        frame = frame[frame["motif_id"].isin(held) | frame["text"].isin(held)]
    elif only != ALL:
        own = of_comparison(data.key(run, f"compare.{comparison}"), comparison, only)
        frame = frame[frame["motif_id"].isin(own)]
    if script != ALL or query:
        keep = np.ones(data.motifs(key).num_rows, bool)
        if script != ALL:
            keep &= written_in(key, script)
        if query:
            keep &= matches(key, query)
        ids = data.motifs(key)["motif_id"].filter(pa.array(keep))
        frame = frame[pc.is_in(pa.array(frame["motif_id"]), ids).to_numpy(zero_copy_only=False)]
    return frame


@st.cache_data(max_entries=16, show_spinner=False)
def of_comparison(key: Key, id: str, which: str) -> set[str]:
    """Motifs that a comparison found emergent (in any of its pairs), or over-represented in its A or B."""
    columns = ["a", "b", "motif_id", "z", "p_adj", "verdict"]
    headline = [("domain", "=", "all"), ("matched", "=", "equal units")]
    frame = Run(key[0]).frame(f"comparisons/{id}/comparison", columns, headline)
    if which == EMERGENT:
        return set(frame.loc[frame["verdict"] == EMERGENT, "motif_id"])
    a, b = compared.pairs(compared.comparison_record(Run(key[0]), id))[0]
    told = (frame["a"] == a) & (frame["b"] == b) & (frame["p_adj"] <= data.ALPHA)
    return set(frame.loc[told & ((frame["z"] > 0) == (which == MORE_A)), "motif_id"])


# ---- units


@st.cache_resource(max_entries=4, show_spinner="Reading patterns …")
def patterns(key: Key) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The units of all motifs, one motif after another: codes int32[units], bounds int64[motifs + 1], form of a code.

    In the order of `data.motifs`.
    """
    column = Run(key[0]).table("motifs", ["pattern"])["pattern"].combine_chunks()
    bounds = column.offsets.to_numpy().astype(np.int64)
    coded = column.flatten().dictionary_encode()
    return coded.indices.to_numpy().astype(np.int32), bounds - bounds[0], coded.dictionary.to_pylist()


def is_sequence(query: str) -> bool:
    """Whether a search asks for units: it holds a slot, or an asterisk that stands alone.

    >>> is_sequence("= <NUM>"), is_sequence("so *"), is_sequence("a*b"), is_sequence("<think>")
    (True, True, False, False)
    """
    return _PART.search(query) is not None


def wanted(query: str) -> list[str]:
    """A search as a sequence of units, in lower case but for slots; `*` is any unit.

    >>> wanted("Therefore x= <NUM> *")
    ['therefore', 'x', '=', '<NUM>', '*']
    """
    made = []
    for k, part in enumerate(_PART.split(query)):
        if k % 2:
            made.append(part)
        else:
            units = segment([part])
            made += [units.texts[i] for i in units.ids]
    return made


def matches(key: Key, query: str) -> np.ndarray:
    """bool[motifs]: whether a motif holds the sequence without a gap; a slot is matched by itself, `*` by any unit."""
    codes, bounds, forms = patterns(key)
    units = wanted(query)
    here = np.ones(max(len(codes) - len(units) + 1, 0), bool)
    lowered = np.array([form if _SLOT.fullmatch(form) else form.strip().lower() for form in forms], object)
    for k, unit in enumerate(units):
        if unit != "*":
            here &= (lowered == unit)[codes[k : k + len(here)]]
    owner = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    starts = np.flatnonzero(here)
    starts = starts[owner[starts] == owner[starts + len(units) - 1]]
    found = np.zeros(len(bounds) - 1, bool)
    found[owner[starts]] = True
    return found


# ---- writing systems


@st.cache_resource(max_entries=4, show_spinner="Reading scripts …")
def scripts(key: Key) -> tuple[np.ndarray, list[str]]:
    """Of each motif its scripts as bits, uint8[motifs], and the names that the filter offers: those that occur."""
    from dsl_probe.share.scripts import SCRIPTS, script_counts

    codes, bounds, forms = patterns(key)
    plain = ["" if _SLOT.fullmatch(form) or form.startswith("\\") else form for form in forms]
    bits = ((script_counts(plain)[0] > 0) << np.arange(len(SCRIPTS))).sum(axis=1).astype(np.uint8)
    of = np.bitwise_or.reduceat(bits[codes], bounds[:-1]) if len(codes) else np.zeros(len(bounds) - 1, np.uint8)
    names = [name for k, name in enumerate(SCRIPTS) if (of >> k & 1).any()]
    several = [SEVERAL] * bool((np.bitwise_count(of) > 1).any())
    return of, [*names, *several, *([NONE] if (of == 0).any() else [])]


def written_in(key: Key, script: str) -> np.ndarray:
    """bool[motifs]: whether a motif holds a letter of the script, of several, or of none."""
    from dsl_probe.share.scripts import SCRIPTS

    of = scripts(key)[0]
    if script in (SEVERAL, NONE):
        return np.bitwise_count(of) > 1 if script == SEVERAL else of == 0
    return (of >> SCRIPTS.index(script) & 1).astype(bool)
