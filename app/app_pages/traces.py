"""Traces: filter, step through them, and read one with a motif or the discoveries of a comparison highlighted."""

import labels
import numpy as np
import pandas as pd
import probed
import states
import streamlit as st
import tokens

import data
from dsl_probe.groups import parse_group

# As the Compare page says it, so that a chosen domain is kept from page to page.
ALL = "all"

run = data.current()
st.title("Traces")
key = states.need_traces(run)
mined = data.key(run, "traces", "mine")
facts = data.trace_facts(key)


def _values(column: str) -> list[str]:
    return [ALL, *sorted(set(facts[column].cat.categories) - {ALL})]


def _first() -> None:
    _go(None)


def _moved() -> None:
    # A place in the address is one of the trace that it came with.
    st.query_params.pop("place", None)


def filters() -> tuple[np.ndarray, dict | None]:
    """Rows that match, ascending, and the chosen motif."""
    keep = np.ones(len(facts), bool)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for column, label, width in (("group", "Model or training run", 340), ("domain", "Domain", 170)):
            value = labels.pick(label, _values(column), column, width=width, on_change=_first)
            if value != ALL:
                keep &= (facts[column] == value).to_numpy()
        judged = st.selectbox(
            "Answer",
            [ALL, "correct", "wrong", "not judged"],
            key="answer",
            bind="query-params",
            width=130,
            on_change=_first,
        )
        if judged != ALL:
            correct = facts["correct"]
            keep &= {"correct": correct.eq(True), "wrong": correct.eq(False), "not judged": correct.isna()}[
                judged
            ].to_numpy(bool)
        if facts["finish"].notna().any():
            finish = labels.pick("Finish", _values("finish"), "finish", width=120, on_change=_first)
            if finish != ALL:
                keep &= (facts["finish"] == finish).to_numpy()
        motif = None
        if mined[1]:
            asked = st.text_input(
                "Holds motif (id or exact text)",
                key="motif",
                bind="query-params",
                width=240,
                placeholder="any",
                on_change=_first,
            )
            motif = data.find_motif(mined, asked.strip()) if asked else None
    if mined[1] and asked and motif is None:
        labels.trouble("There is no such motif in this run.", asked, kind="warning")
    if motif is not None:
        where = data.occurrences(mined, motif["motif_id"])
        holds = np.zeros(len(facts), bool)
        holds[where.loc[~where["echo"], "trace_row"]] = True
        keep &= holds
    return np.flatnonzero(keep), motif


def choose(rows: np.ndarray) -> int | None:
    """The trace to read: the one in the address or box, else the first that matches. Previous and next step through."""
    asked = st.query_params.get("trace")
    if asked is not None and not asked.lstrip("-").isdecimal():
        detail = f"trace = {labels.one_line(asked)}; there are 0 to {len(facts) - 1}"
        labels.trouble("The address asks for a trace that is not here.", detail, kind="warning")
    if st.session_state.get("trace", asked) is None and len(rows):
        st.session_state["trace"] = int(rows[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        before = st.container(width="content")
        row = st.number_input(
            "Trace",
            value=None,
            step=1,
            key="trace",
            bind="query-params",
            placeholder="row",
            width=150,
            on_change=_moved,
        )
        after = st.container(width="content")
        where = st.container(width="content")
    if row is None:
        row = int(rows[0]) if len(rows) else None
    if row is None or not 0 <= row < len(facts):
        if row is not None:
            detail = f"{row}; traces run from 0 to {len(facts) - 1}"
            labels.trouble("There is no such trace.", detail, kind="warning")
        return None
    at = int(np.searchsorted(rows, row))
    inside = at < len(rows) and rows[at] == row
    for place, label, icon, to in (
        (before, "Previous", ":material/chevron_left:", at - 1),
        (after, "Next", ":material/chevron_right:", at + 1 if inside else at),
    ):
        there = 0 <= to < len(rows)
        place.button(label, icon=icon, disabled=not there, on_click=_go, args=(int(rows[to]) if there else None,))
    count = f"{len(rows):,} match"
    where.caption(f"{at + 1:,} of {count}" if inside else f"{count}; this one is not among them")
    return int(row)


def _go(row: int | None) -> None:
    st.session_state["trace"] = row
    _moved()


def asked_place(text: str) -> int | None:
    """The character that the address asks for; says so where it is none."""
    asked = st.query_params.get("place")
    if asked is None:
        return None
    if asked.isdecimal() and int(asked) <= len(text):
        return int(asked)
    detail = f"place = {labels.one_line(asked)}; the text has {len(text):,} characters"
    labels.trouble("The address asks for a place that is not here.", detail, kind="warning")
    return None


def head(trace: dict, row: int) -> None:
    """Where the trace comes from, and how it ended."""
    verdict, color, icon = {
        True: ("correct", "green", ":material/check:"),
        False: ("wrong", "red", ":material/close:"),
        None: ("not judged", "gray", ":material/question_mark:"),
    }[trace["correct"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(verdict, color=color, icon=icon)
        st.text(labels.one_line(trace["run"] or trace["model"], 110))
    left, right = st.columns(2)
    came = {
        "domain": "domain",
        "problem_id": "problem",
        "regime": "regime",
        "step": "training step",
        "sample": "sample",
    }
    ended = {"answer": "answer", "reference": "reference", "score": "score", "finish": "finish"}
    for column, names in ((left, came), (right, ended)):
        known = {n: trace[c] for c, n in names.items() if trace[c] not in (None, "")}
        column.text("\n".join(f"{n}: {labels.one_line(str(v), 60)}" for n, v in known.items()) or "no answer recorded")
    with st.container():
        st.caption(f"trace {row} · id {labels.code(trace['trace_id'], 120)}")


def side(trace: dict, config: dict) -> str:
    """Which group of a comparison a trace belongs to, in words."""
    asked = {g: parse_group(config[g]) for g in "ab"}
    if not all(c in trace for group in asked.values() for c in group):
        return ""
    held = [g for g, group in asked.items() if all(_as_text(trace[c]) == v for c, v in group.items())]
    return f"This trace is of group {' and '.join(held).upper()}." if held else "This trace is of neither group."


def _as_text(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def spans(units: dict, motif: dict | None, row: int, place: int | None) -> tuple[list, list, str]:
    """What to highlight: spans in units, legend, and what to say if there is none."""
    done = run.comparisons()
    kinds = (
        (["place"] if place is not None else [])
        + (["motif"] if motif else [])
        + (["discoveries"] if done else [])
        + ["nothing"]
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Highlight", kinds, default=kinds[0], required=True, key=f"highlight_{len(kinds)}_{kinds[0]}"
        )
        if kind == "discoveries":
            id = states.choose_comparison(done)
            least = st.segmented_control("Shortest", [1, 2, 3], default=1, required=True, key="least", help="in units")
    if kind == "place" and place is not None:
        return at_place(units, place)
    if kind == "motif" and motif:
        where = data.occurrences(mined, motif["motif_id"])
        here = where[where["trace_row"] == row].sort_values("start")
        found = [
            (int(a), int(b), "motif", "copied from the prompt" if e else "motif")
            for a, b, e in here[["start", "stop", "echo"]].itertuples(index=False)
        ]
        return found, [("motif", labels.one_line(motif["text"], 60))], "this trace does not hold the motif"
    if kind == "discoveries":
        patterns = data.discovery_patterns(data.key(run, f"compare.{id}"), mined, id)
        patterns = {p: which for p, which in patterns.items() if len(p) >= (least or 1)}
        forms = data.unit_forms(mined)
        found = [
            (a, b, which.lower(), f"over-represented in {which}")
            for a, b, which in tokens.match([forms[i] for i in units["ids"]], patterns)
            if not units["flags"][a:b].any()
        ]
        legend = [("a", f"A: {labels.short(done[id]['a'])}"), ("b", f"B: {labels.short(done[id]['b'])}")]
        return found, legend, "no discovery of this comparison stands in this trace"
    return [], [], ""


def at_place(units: dict, place: int) -> tuple[list, list, str]:
    """The unit that follows a place: what the state there had not read."""
    k = int(np.searchsorted(units["stops"], place, "right"))
    found = [(k, k + 1, "motif", "the state has read up to here")] if k < len(units["stops"]) else []
    return found, [("motif", "next after the place")], "the place is the end of the text"


# Measure of the underlay -> (column, what the deepest shade stands for, unit).
UNDERLAYS = {
    "entropy": ("entropies", 4.0, "nats"),
    "surprise": ("logprobs", 8.0, "nats"),
    "shift": ("js", 0.5, "bits"),
}


def underlay(row: int, length: int) -> list[tuple[int, int, float, str]]:
    """A choice of per-token scores or of a probe's read-outs to shade the text with, where there are such."""
    scored, probes = data.score_names(run), probed.choices(run)
    kinds = [*(UNDERLAYS if scored else []), *(["probe"] if probes else [])]
    if not kinds:
        return []
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Underlay",
            ["nothing", *kinds],
            default="nothing",
            required=True,
            key="underlay",
            bind="query-params",
        )
        if kind in UNDERLAYS:
            name = st.selectbox("Scored by", scored, key="scored_by")
        if kind == "probe":
            probe = probes[labels.pick("Read out", list(probes), "readout", width=340)]
            name, acts, target = probe
            found = probed.readouts(data.key(run, f"probe.{name}"), name, acts, target, row)
            questions = probed.unique({q: q for q in sorted(set(found["question"]))})
            question = labels.pick("Question", list(questions), "question", width=180) if questions else None
    if kind == "probe":
        return read_out(found, questions[question], length) if question else not_read_out(probe)
    return token_shades(kind, name, row) if kind in UNDERLAYS and name else []


def read_out(found: pd.DataFrame, question: str, length: int) -> list[tuple[int, int, float, str]]:
    """Stretches of text shaded by the probability that was read out at their beginning."""
    own = found[found["question"] == question]
    st.caption(
        f"{len(own):,} states, layer {int(own['layer'].iloc[0])}, by the fit that did not see this problem. The "
        "deepest shade stands for 1; each stretch has the read-out of the state at its beginning."
    )
    return probed.stretches(own, length, labels.one_line(question, 40))


def not_read_out(probe: tuple[str, str, str]) -> list:
    """Say which traces a probe was read out on."""
    rows = probed.traces_read(data.key(run, f"probe.{probe[0]}"), *probe)
    st.caption(f"This probe was not read out on this trace, but on {len(rows):,} others, the first of them {rows[0]}.")
    return []


def token_shades(kind: str, name: str, row: int) -> list[tuple[int, int, float, str]]:
    """Per-token scores of one trace, as shades."""
    column, deepest, unit = UNDERLAYS[kind]
    scores = data.token_scores(run, name, row)
    values = scores.get(column)
    if not values:
        st.caption("This scoring has no such values for this trace." + " It needs --against." * (kind == "shift"))
        return []
    st.caption(f"The deepest shade stands for {deepest:g} {unit} and more; rest on a token for its value.")
    shades = []
    for start, stop, value in zip(scores["starts"], scores["stops"], values, strict=True):
        if value is not None and value == value:
            value = -value if column == "logprobs" else value
            shades.append((start, stop, 0.75 * min(max(value / deepest, 0), 1), f"{kind} {value:.2f} {unit}"))
    return shades


def read(row: int, motif: dict | None) -> None:
    """The prompt and the text."""
    trace = data.trace(key, row)
    head(trace, row)
    with st.expander("Prompt", expanded=len(trace["prompt"] or "") < 300):
        st.text(labels.visible(trace["prompt"]) or "unknown: echoes of the prompt cannot be marked")
    if not trace["text"]:
        st.info("This trace is empty.")
        return
    place = asked_place(trace["text"])
    if not mined[1]:
        nothing = {name: np.zeros(0, np.int32) for name in ("starts", "stops", "flags")}
        if place is not None:
            rest = np.array([max(len(trace["text"]), place + 1)], np.int32)
            nothing = {"starts": np.array([place], np.int32), "stops": rest, "flags": np.zeros(1, np.int32)}
        found, legend, none = at_place(nothing, place) if place is not None else ([], [], "")
        shades = underlay(row, len(trace["text"]))
        tokens.reader(tokens.pieces(trace["text"], nothing, found, shades), legend, none, key="reader")
        labels.trouble(
            "Nothing to highlight: the motifs have not been mined yet.",
            command=f"dsl-probe mine {run.path}",
            kind="info",
        )
        return
    units = data.trace_units(mined, row)
    found, legend, none = spans(units, motif, row, place)
    shades = underlay(row, len(trace["text"]))
    grey = [("echo", "copied from the prompt")] if (units["flags"] & 3).any() else []
    tokens.reader(tokens.pieces(trace["text"], units, found, shades), [*legend, *grey], none, key="reader")
    if legend and legend[0][0] == "a":
        whose = side(trace, run.comparisons()[st.session_state["comparison"]])
        st.caption(f"{whose} Discoveries over all domains at equal units; where several overlap, the leftmost longest.")


matching, chosen_motif = filters()
chosen = choose(matching)
if chosen is not None:
    read(chosen, chosen_motif)
elif not len(matching):
    st.info("No trace matches these filters.")
