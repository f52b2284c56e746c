"""Traces: filter, step through them, and read one, or two of a problem side by side, with highlights."""

import labels
import marks
import numpy as np
import pair
import states
import streamlit as st
import take
import together
import tokens
import underlays

import data

# As the Compare page says it, so that a chosen domain is kept from page to page.
ALL = "all"
NOTHING = "nothing"

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
    for place, label, icon, key_of, to in (
        (before, "Previous", ":material/chevron_left:", "P", at - 1),
        (after, "Next", ":material/chevron_right:", "N", at + 1 if inside else at),
    ):
        there = 0 <= to < len(rows)
        goal = (int(rows[to]) if there else None,)
        place.button(label, icon=icon, disabled=not there, on_click=_go, args=goal, shortcut=key_of)
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


def head(trace: dict, row: int, narrow: bool = False) -> None:
    """Where the trace comes from, and how it ended."""
    verdict, color, icon = {
        True: ("correct", "green", ":material/check:"),
        False: ("wrong", "red", ":material/close:"),
        None: ("not judged", "gray", ":material/question_mark:"),
    }[trace["correct"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(verdict, color=color, icon=icon)
        st.text(labels.one_line(trace["run"] or trace["model"], 110))
    left, right = [st.container()] * 2 if narrow else st.columns(2)
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
    with st.container(horizontal=True, vertical_alignment="center"):
        take.buttons(key, row)
        st.caption(f"trace {row} · id {labels.code(trace['trace_id'], 120)}")


def choose_other(row: int) -> int | None:
    """The trace to show beside: another model's, or another sample, of the same problem."""
    problem = facts["problem_id"].iloc[row]
    groups = sorted(facts["group"].cat.categories)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        of = labels.pick("Trace beside it", [NOTHING, *groups], "beside", width=340, help="of the same problem")
        if of == NOTHING:
            return None
        same = facts["problem_id"].eq(problem) & facts["group"].eq(of) if isinstance(problem, str) else []
        rows = [int(r) for r in np.flatnonzero(same) if r != row]
        if not rows:
            known_problem = isinstance(problem, str)
            st.text("There is none of this problem." if known_problem else "This trace is of no known problem.")
            return None
        known = {_sample(r): r for r in rows}
        if st.session_state.get("beside_sample") not in known:
            st.session_state["beside_sample"] = next(iter(known))
        if len(known) == 1:
            return rows[0]
        return known[st.selectbox("Sample", list(known), key="beside_sample", bind="query-params", width=260)]


def _sample(row: int) -> str:
    trace = facts.iloc[row]
    step = f"step {int(trace['step'])}, " if trace["step"] == trace["step"] else ""
    return f"{step}sample {trace['sample']}, row {row}"


def shown(
    row: int, mark: marks.Mark | None, underlay: underlays.Underlay | None, key_of: str, jump: bool = True
) -> None:
    """The text of one trace in the reader, with what there is to say of it."""
    trace = data.trace(key, row)
    text = trace["text"]
    if not text:
        st.info("This trace is empty.")
        return
    shades = underlays.shades(run, underlay, row, len(text))
    if mark is None:
        place = asked_place(text)
        units = {name: np.zeros(0, np.int32) for name in ("starts", "stops", "flags")}
        if place is not None:
            rest = np.array([max(len(text), place + 1)], np.int32)
            units = {"starts": np.array([place], np.int32), "stops": rest, "flags": np.zeros(1, np.int32)}
        found, legend, none = marks.at_place(units, place) if place is not None else marks.NONE
        tokens.reader(tokens.pieces(text, units, found, shades), legend, none, key=key_of, copy=True)
        return
    units = data.trace_units(mined, row)
    found, legend, none = marks.find(run, mark, row, units)
    grey = [("echo", "copied from the prompt")] if (units["flags"] & 3).any() else []
    steps = together.steps(mined, row)
    pieces = tokens.pieces(text, units, found, shades, steps)
    tokens.reader(pieces, [*legend, *grey], none, jump=jump, key=key_of, copy=True)
    if mark.kind == "discoveries":
        st.caption(
            f"{marks.side(trace, run.comparisons()[mark.comparison])} Discoveries over all domains at equal units; "
            "where several overlap, the leftmost longest."
        )


def one(row: int, motif: dict | None) -> None:
    """One trace."""
    head(data.trace(key, row), row)
    prompt(row)
    place = asked_place(data.trace(key, row)["text"] or "") if mined[1] else None
    mark = marks.choose(run, motif, place, None) if mined[1] and data.trace(key, row)["text"] else None
    underlay = underlays.choose(run, row) if data.trace(key, row)["text"] else None
    shown(row, mark, underlay, "reader")


def two(row: int, other: int, motif: dict | None) -> None:
    """Two traces of one problem side by side, and what they share."""
    prompt(row)
    mark = marks.choose(run, motif, None, (row, other)) if mined[1] else None
    underlay = underlays.choose(run, row)
    for column, at, name in zip(st.columns(2), (row, other), ("reader", "reader_beside"), strict=True):
        with column:
            head(data.trace(key, at), at, narrow=True)
            shown(at, mark, underlay, name, jump=False)
    if mark is not None:
        pair.tables(run, mark, row, other)


def prompt(row: int) -> None:
    """The prompt, open where it is short."""
    text = data.trace(key, row)["prompt"]
    with st.expander("Prompt", expanded=len(text or "") < 300):
        st.text(labels.visible(text) or "unknown: echoes of the prompt cannot be marked")


matching, chosen_motif = filters()
chosen = choose(matching)
if chosen is not None:
    beside = choose_other(chosen)
    if beside is None:
        one(chosen, chosen_motif)
    else:
        two(chosen, beside, chosen_motif)
    if not mined[1]:
        labels.trouble(
            "Nothing to highlight: the motifs have not been mined yet.",
            command=f"dsl-probe mine {run.path}",
            kind="info",
        )
elif not len(matching):
    st.info("No trace matches these filters.")
