"""Motifs: search and filter all of them on the server, a page at a time; one motif in its numbers and contexts."""

import carried
import downloads
import labels
import motif_filters
import motif_views
import numpy as np
import opened
import pandas as pd
import pyarrow as pa
import states
import streamlit as st
import tokens

import data

PAGE = 200
LINES, LINES_A_TRACE = 200, 5
BLOCK, BLOCKS = 1_000, 16
SORTS = {
    "count": "count",
    "rate": "rate per 1,000 units",
    "support": "traces",
    "problems": "problems",
    "length": "length",
    "echo_share": "echo share",
    "text": "text",
}

run = data.current()
st.title("Motifs")
key = states.need_motifs(run)


def _pick(table: str, ids: list[str]) -> None:
    rows = st.session_state[table].selection.rows
    if rows and rows[0] < len(ids):
        st.session_state["motif"] = ids[rows[0]]


def found() -> pd.DataFrame | None:
    """The filters, and the motifs that match."""
    longest = int(data.motifs(key)["length"].to_numpy().max())
    cells = data.cells(key)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search",
            key="q",
            bind="query-params",
            placeholder="words, or = <NUM>, or <NUM> + *",
            width=320,
            help="Words stand anywhere in a motif. With a slot such as <NUM>, or a * alone, a search is a sequence of "
            "whole units without a gap: a slot finds itself, * any unit.",
        )
        regex = st.toggle(
            "regular expression", key="regex", bind="query-params", help="RE2 syntax, upper and lower case alike"
        )
        hidden = not st.toggle(
            "show format motifs",
            key="formats",
            bind="query-params",
            help="Motifs that hold tags such as <think> or \\boxed: the format reward trains them.",
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        models = st.multiselect(
            "Models or training runs",
            sorted(cells["model"].astype(str).unique()),
            key="models",
            placeholder="all",
            format_func=lambda m: labels.one_line(m, 60),
            width=420,
        )
        domains = st.multiselect(
            "Domains",
            sorted(cells["domain"].astype(str).unique()),
            key="domains",
            placeholder="all",
            format_func=lambda d: labels.one_line(d, 60),
            width=260,
        )
        lengths = (
            st.slider("Length in units", 1, longest, (1, longest), key="lengths", width=220) if longest > 1 else None
        )
        sort = st.selectbox(
            "Sort by", list(SORTS), format_func=SORTS.__getitem__, key="sort", bind="query-params", width=190
        )
        descending = st.toggle("descending", value=True, key="descending", bind="query-params")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = motif_filters.boxes(run, key)
    query = text if text and not regex and motif_filters.is_sequence(text) else ""
    words = "" if query else text or ""
    try:
        matching = data.search_motifs(key, words, regex, lengths, models, domains, hidden, sort, descending)
        return motif_filters.narrow(run, key, matching, *chosen, query)
    except pa.ArrowInvalid as error:
        labels.trouble("This is no regular expression (RE2 syntax).", str(error))
        return None


def table(rows: pd.DataFrame) -> None:
    """One page of the motifs; the rest never leaves the server."""
    pages = max(1, -(-len(rows) // PAGE))
    left, right = st.columns([3, 2], vertical_alignment="center")
    total = data.motifs(key).num_rows
    left.caption(f"{len(rows):,} of {total:,} motifs match; {PAGE} a page. Select a row to see it in context.")
    with right:
        asked = st.pagination(pages, max_visible_pages=7, key=f"page_{pages}") if pages > 1 else 1
    shown = rows.iloc[(asked - 1) * PAGE : asked * PAGE]
    ids = shown["motif_id"].tolist()
    name = f"table_{hash(tuple(ids)) & 0xFFFFFF:x}"
    number = st.column_config.NumberColumn
    st.dataframe(
        shown[["text", "count", "rate", "support", "problems", "length", "echo_share", "format"]].assign(
            text=[labels.one_line(t, 300) for t in shown["text"]]
        ),
        hide_index=True,
        height=labels.height(len(shown), 330),
        key=name,
        on_select=lambda: _pick(name, ids),
        selection_mode="single-row",
        alt="Motifs that match, one page",
        column_config={
            "text": st.column_config.TextColumn("motif", width=320, pinned=True),
            "count": number(format="localized", help="in the chosen models and domains, outside prompt echoes"),
            "rate": number("per 1,000", format="%.3f", help="per 1,000 units of the chosen models and domains"),
            "support": number("traces", format="localized", help="traces that hold it, in all models and domains"),
            "problems": number(format="localized", help="problems that hold it, in all models and domains"),
            "length": number(help="units"),
            "echo_share": number("echo share", format="%.2f", help="share of its occurrences that copy the prompt"),
            "format": st.column_config.CheckboxColumn(width="small"),
        },
    )


def detail(motif: dict) -> None:
    """One motif: numbers, rates by model and domain, contexts, traces."""
    st.subheader(labels.code(motif["text"], 200))
    a, b, c, d, e = st.columns(5)
    a.metric("Count", f"{motif['count']:,}")
    b.metric("Traces", f"{motif['support']:,}")
    c.metric("Problems", f"{motif['problems']:,}")
    d.metric("Length", f"{motif['length']} unit{'s' * (motif['length'] != 1)}")
    e.metric(
        "Echo share",
        f"{motif['echo_share']:.2f}",
        help="share of its occurrences that copy the prompt; those are not counted",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        states.link_to_holders("Read the traces that hold it", key, motif["motif_id"])
        st.caption(f"id {motif['motif_id']}" + (" · format motif" if motif["format"] else ""))
    where, id = data.occurrences(key, motif["motif_id"]), motif["motif_id"]
    panels = {
        "In context": lambda: _contexts(motif),
        "Rate by model and domain": lambda: motif_views.rates(key, id),
        "Where it stands": lambda: motif_views.place(key, id),
        "Traces that hold it": lambda: _holders(motif, where),
        "What it carries": lambda: carried.show(run, id, motif["text"]),
    }
    if run.has("growth.parquet"):
        panels["Over training"] = lambda: motif_views.over_training(run, id)
    opened.tabs(panels, "motif_tab")


def _contexts(motif: dict) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = st.segmented_control(
            "Sort by",
            ["right context", "left context", "trace"],
            default="right context",
            required=True,
            key="kwic_order",
        )
        echoes = st.toggle("with prompt echoes", key="kwic_echo")
    lines, note = _lines(key, motif["motif_id"], echoes)
    if not lines:
        st.info("No occurrence outside prompt echoes.")
        return
    if order == "right context":
        lines = sorted(lines, key=lambda x: x[2].lower())
    elif order == "left context":
        lines = sorted(lines, key=lambda x: x[0].lower().split()[::-1])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(note + " Select a line to open its trace.")
        names = ["left", "motif", "right", "echo", "trace"]
        downloads.button(lambda: pd.DataFrame(lines, columns=names), f"contexts.{motif['motif_id']}")
    tokens.kwic([[*x[:4], labels.query(trace=x[4], motif=motif["motif_id"])] for x in lines], key="kwic_lines")


@st.cache_data(max_entries=32, show_spinner="Reading contexts …")
def _lines(key: tuple[str, str], motif_id: str, echoes: bool) -> tuple[list[list], str]:
    """[left, motif, right, is echo, trace row] of a seeded sample of occurrences, from few blocks of traces."""
    where = data.occurrences(key, motif_id)
    where = where if echoes else where[~where["echo"]]
    rng = np.random.default_rng(0)
    total, block = len(where), where["trace_row"] // BLOCK
    blocks = block.unique()
    if len(blocks) > BLOCKS:
        where = where[block.isin(rng.choice(blocks, BLOCKS, replace=False))]
    # A trace that loops holds hundreds: it would fill the page with one sentence.
    where = where.iloc[rng.permutation(len(where))].groupby("trace_row", sort=False).head(LINES_A_TRACE).sort_index()
    if len(where) > LINES:
        where = where.iloc[np.sort(rng.choice(len(where), LINES, replace=False))]
    run = data.Run(key[0])
    rows = where["trace_row"].unique()
    texts = dict(zip(rows, run.shard_rows("traces", rows, ["text"])["text"].to_pylist(), strict=True))
    units = run.shard_rows("units", rows, ["starts", "stops"])
    offsets = {r: {n: units[n][i].values.to_numpy() for n in ("starts", "stops")} for i, r in enumerate(rows)}
    lines = [
        [*tokens.context(texts[r], offsets[r], start, stop), bool(echo), int(r)]
        for r, start, stop, echo in where[["trace_row", "start", "stop", "echo"]].itertuples(index=False)
    ]
    note = (
        f"{total:,} occurrences."
        if total == len(lines)
        else f"{len(lines):,} of {total:,} occurrences, drawn at random; {LINES_A_TRACE} of a trace at most."
    )
    return lines, note


def _holders(motif: dict, where: pd.DataFrame) -> None:
    own = where[~where["echo"]] if len(where[~where["echo"]]) else where
    times = own["trace_row"].value_counts(sort=False)
    facts = data.trace_facts(data.key(run, "traces")).loc[
        times.index, ["group", "domain", "problem_id", "step", "correct", "finish"]
    ]
    judged = facts["correct"].map({True: "correct", False: "wrong"}).fillna("not judged")
    frame = facts.assign(occurrences=times, trace=times.index, correct=judged)
    frame = frame.sort_values(["occurrences", "trace"], ascending=[False, True]).dropna(axis="columns", how="all")
    st.caption(
        f"{len(frame):,} traces"
        + (f"; the {PAGE} that hold it most often. " if len(frame) > PAGE else ". ")
        + "Select one to open it."
    )
    frame = frame.head(PAGE)
    order = ["trace", "occurrences", "group", "domain", "problem_id", "correct", "step", "finish"]
    picked = st.dataframe(
        frame[[name for name in order if name in frame]],
        hide_index=True,
        height=330,
        key=f"holders_{motif['motif_id']}",
        on_select="rerun",
        selection_mode="single-row",
        alt="Traces that hold the motif",
        column_config={"group": "model or training run", "problem_id": "problem", "correct": "answer"},
    )
    if picked.selection.rows and picked.selection.rows[0] < len(frame):
        row = int(frame["trace"].iloc[picked.selection.rows[0]])
        labels.link(f"Open trace {row}", "traces", icon=":material/arrow_forward:", trace=row, motif=motif["motif_id"])


matching = found()
if matching is not None:
    if len(matching):
        table(matching)
    else:
        st.info("No motif matches these filters.")
chosen = st.text_input(
    "Motif, by id or exact text",
    key="motif",
    bind="query-params",
    width=420,
    placeholder="select a row above, or type one",
)
if chosen:
    one = data.find_motif(key, chosen.strip())
    if one is None:
        labels.trouble("There is no such motif in this run.", chosen, kind="warning")
    else:
        detail(one)
