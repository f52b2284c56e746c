"""The graph of moves, drawn with one node selected: which entry of the lexicon follows which in a group's traces."""

from typing import Any

import downloads
import labels
import pandas as pd
import streamlit as st

from dsl_probe.store import Run

# Nodes that are drawn: the most used.
MOST = 40
# Edges that are drawn beside those of the selected node.
_EDGES = 100
_TABLE = 300
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_REST = "#9a9a9a"


@st.cache_data(max_entries=16, show_spinner="Following the moves …")
def graph(key: tuple[str, str], group: str, language: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nodes (label, count, community, gap: whether it is `other`; index: code) and edges (source, target, count) of the
    moves of a group.

    language: None for the entries of the run's lexicon, else a language's own words and phrases. What stands between
    uses is the move `other`.
    """
    from dsl_probe.mine.graph import communities, moves, transition_graph

    found = moves(Run(key[0]), group, language)
    made = transition_graph(found.sequences, found.labels)
    part = {n: i for i, nodes in enumerate(communities(made)) for n in nodes}
    nodes = pd.DataFrame(
        [(n, a["label"], a["count"], part[n], n == len(found.labels) - 1) for n, a in made.nodes(data=True)],
        columns=["code", "label", "count", "community", "gap"],
    ).astype({"gap": bool})
    edges = pd.DataFrame(list(made.edges(data="count")), columns=["source", "target", "count"])
    return nodes.sort_values(["count", "code"], ascending=[False, True]).set_index("code"), edges


@st.cache_data(max_entries=16, show_spinner="Drawing moves without order …")
def figures(key: tuple[str, str], group: str, language: str | None, draws: int = 20) -> pd.DataFrame:
    """Figures of the graph beside those of the same moves without order."""
    from dsl_probe.mine.graph import against_nulls, moves

    found = against_nulls(moves(Run(key[0]), group, language), draws)
    return pd.DataFrame([f.__dict__ for f in found])


def neighbours(nodes: pd.DataFrame, edges: pd.DataFrame, node: int) -> pd.DataFrame:
    """What stands right before and right after a move: side, move, count, share of all that stands there."""
    rows = []
    for side, own, other in (("before", "target", "source"), ("after", "source", "target")):
        part = edges[edges[own] == node].sort_values("count", ascending=False)
        total = max(int(part["count"].sum()), 1)
        rows += [
            {"side": side, "move": nodes["label"].loc[n], "count": int(k), "share": k / total}
            for n, k in part[[other, "count"]].itertuples(index=False)
        ]
    return pd.DataFrame(rows, columns=["side", "move", "count", "share"])


def drawn(nodes: pd.DataFrame, edges: pd.DataFrame, chosen: int) -> tuple[dict[str, Any], list[int]]:
    """ECharts options of the most used moves and the chosen one, and the codes of its nodes in their order.

    `other`, to which nearly all moves lead, is drawn only where it is chosen.
    """
    codes = nodes.index[~nodes["gap"]][:MOST].tolist()
    if chosen not in codes:
        codes.append(chosen)
    inside = edges[edges["source"].isin(codes) & edges["target"].isin(codes)]
    near = set(inside.loc[inside["source"] == chosen, "target"]) | set(inside.loc[inside["target"] == chosen, "source"])
    own = (inside["source"] == chosen) | (inside["target"] == chosen)
    inside = pd.concat([inside[own], inside[~own].nlargest(_EDGES, "count")])
    most = max(int(nodes["count"].loc[codes].max()), 1)
    widest = max(int(inside["count"].max()), 1) if len(inside) else 1
    points = []
    for n in codes:
        label, count, part = nodes.loc[n, ["label", "count", "community"]]
        points.append(
            {
                "name": str(n),
                "value": int(count),
                "symbolSize": 8 + 30 * (count / most) ** 0.5,
                "symbol": "diamond" if n == chosen else "circle",
                "label": {"show": bool(n == chosen or n in near or n in codes[:8]), "formatter": _label(label)},
                "itemStyle": {
                    "color": _COLORS[part] if part < len(_COLORS) else _REST,
                    "opacity": 1 if n == chosen or n in near else 0.45,
                },
            }
        )
    links = [
        {
            "source": str(a),
            "target": str(b),
            "value": int(k),
            "lineStyle": {
                "width": 0.5 + 4 * (k / widest) ** 0.5,
                "opacity": 0.8 if chosen in (a, b) else 0.12,
                "curveness": 0.15,
            },
        }
        for a, b, k in inside.itertuples(index=False)
        if a != b
    ]
    series = {
        "type": "graph",
        "layout": "force",
        "force": {"initLayout": "circular", "repulsion": 220, "edgeLength": [60, 160], "layoutAnimation": False},
        "roam": True,
        "zoom": 0.65,
        "draggable": True,
        "selectedMode": "single",
        "edgeSymbol": ["none", "arrow"],
        "edgeSymbolSize": 6,
        "label": {"position": "right", "fontSize": 11, "textBorderWidth": 0, "color": "#808080"},
        "labelLayout": {"hideOverlap": True},
        "data": points,
        "links": links,
    }
    return {"series": [series], "tooltip": {"show": False}}, codes


def _label(text: str) -> str:
    # ECharts fills {a}, {b} and {c} in, and reads {name|text} as a style.
    return labels.one_line(text, 24).replace("{", "(").replace("}", ")").replace("|", "/")


def show(key: tuple[str, str], group: str, language: str | None, key_of: str) -> None:
    """The graph of a group, the box that selects a node, and that node's neighbours."""
    nodes, edges = graph(key, group, language)
    if nodes.empty:
        st.caption("No trace of this group makes a move.")
        return
    titles = _titles(nodes)
    options = list(titles)
    box, clicked = f"move{key_of}", f"_clicked{key_of}"
    if box not in st.session_state:
        labels.asked(box, options, "move")
    entries = [t for t in options if not nodes["gap"].loc[titles[t]]]
    default = (entries or options)[0]
    if st.session_state.get(box, default) not in options:
        st.session_state[box] = default  # another language's
    chosen = titles[st.selectbox("Move", options, options.index(default), key=box, bind="query-params")]
    options_of, codes = drawn(nodes, edges, chosen)
    st.caption(
        f"{len(nodes):,} moves, {len(edges):,} pairs of one right after the other"
        f"{f'; the {MOST} most used are drawn' if len(nodes) > MOST else ''}. `other` is what stands between entries. "
        "A colour is a community of moves, the diamond the selected move. Select a node for its neighbours."
    )
    st.echarts_chart(
        options_of,
        height=440,
        renderer="svg",
        key=clicked,
        on_select=lambda: _take(clicked, box, codes, {code: title for title, code in titles.items()}),
        alt="The graph of moves: which entry follows which",
    )
    downloads.button(
        lambda: edges.assign(**{end: nodes["label"].loc[edges[end]].to_numpy() for end in ("source", "target")}),
        f"moves.{group}.{language or 'lexicon'}{key_of}",
        help="every pair of moves, one right after the other",
    )
    beside = neighbours(nodes, edges, chosen)
    beside["move"] = [labels.one_line(m, 200) for m in beside["move"]]
    for side, title in (("before", "Right before it"), ("after", "Right after it")):
        part = beside[beside["side"] == side].drop(columns="side")
        several = "move" if len(part) == 1 else "moves"
        st.markdown(f"**{title}**: {len(part):,} {several}, {int(part['count'].sum()):,} times")
        st.dataframe(
            part.head(_TABLE),
            hide_index=True,
            height="content" if len(part) < 6 else 220,
            key=f"{side}{key_of}",
            alt=f"What stands {title.lower()}",
            column_config={
                "move": st.column_config.TextColumn(width="medium"),
                "count": st.column_config.NumberColumn(format="localized"),
                "share": st.column_config.NumberColumn(format="percent"),
            },
        )


def _titles(nodes: pd.DataFrame) -> dict[str, int]:
    """Words for the box -> code; a label that another move has too is told apart by its code."""
    said = [labels.one_line(label, 80) for label in nodes["label"]]
    twice = {s for s in said if said.count(s) > 1} if len(set(said)) < len(said) else set()
    return {f"{s} ({n})" if s in twice else s: int(n) for n, s in zip(nodes.index, said, strict=True)}


def _take(clicked: str, box: str, codes: list[int], title: dict[int, str]) -> None:
    """Put the node that was clicked into the box."""
    parts = st.session_state[clicked]["selection"]["selected"]
    at = [i for part in parts if part["data_type"] == "node" for i in part["data_indices"] if i < len(codes)]
    if at:
        st.session_state[box] = title[codes[at[0]]]


def nulls(key: tuple[str, str], group: str, language: str | None) -> None:
    """The figures of the graph beside moves without order."""
    table = figures(key, group, language)
    table = table.assign(
        null=table["null"].map({"shuffled": "shuffled in each trace", "unigram": "drawn by frequency"})
    )
    st.dataframe(
        table.rename(columns={"low": "2.5 %", "high": "97.5 %", "mean": "mean without order", "null": "without order"}),
        hide_index=True,
        alt="Figures of the graph beside those without order",
        column_config={c: st.column_config.NumberColumn(format="%.3f") for c in ("value", "2.5 %", "97.5 %")}
        | {"mean without order": st.column_config.NumberColumn(format="%.3f")},
    )
