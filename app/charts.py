"""Altair charts. Field names are fixed words, never data; colours are those of Okabe and Ito."""

import math
from collections.abc import Callable
from functools import lru_cache

import altair as alt
import numpy as np
import pandas as pd

A, B, NEITHER = "#d55e00", "#0072b2", "#9a9a9a"
MOST_POINTS = 3_000
# Where a smaller value means more sharing.
DIVERGENCES = ("jensen", "divergence", "distance", "beta")


def thin(frame: pd.DataFrame, most: int = MOST_POINTS, seed: int = 0) -> pd.DataFrame:
    """All discoveries and a seeded sample of the rest, `most` rows in all; of too many discoveries the strongest."""
    told = (frame["side"] != "not told apart").to_numpy()
    found, rest = np.flatnonzero(told)[:most], np.flatnonzero(~told)
    room = most - len(found)
    if len(rest) > room:
        rest = rest[np.sort(np.random.default_rng(seed).choice(len(rest), room, replace=False))]
    return frame.iloc[np.concatenate([rest, found])]


def volcano(frame: pd.DataFrame, name_a: str, name_b: str) -> tuple[pd.DataFrame, dict]:
    """Effect (log-odds) against evidence (|z|); a discovery has the colour of the side that over-uses it.

    The points, and a Vega-Lite chart of them that is made once: to check it takes longer than all else here.
    """
    names = {
        "A": f"over-represented in A: {name_a}",
        "B": f"over-represented in B: {name_b}",
        "not told apart": "not told apart",
    }
    # What is here is what the tooltip shows: a format for each point would be most of the drawing.
    points = pd.DataFrame(
        {
            "motif": frame["text"].str.slice(0, 80),
            "kind": frame["side"].map(names),
            "A per 1,000 units": (1000 * frame["rate_a"]).round(3),
            "B per 1,000 units": (1000 * frame["rate_b"]).round(3),
            "log-odds": frame["log_odds"].round(2),
            "|z|": frame["abs_z"].round(2),
            "p_adj": frame["p_adj"].round(4),
        }
    )
    low, high = frame["log_odds"].quantile([0.0005, 0.9995]) if len(frame) else (-1, 1)
    # Whole numbers, and a scale that takes the rest from the data: the browser keeps a chart whose data alone changes.
    reach = math.ceil(1.1 * max(abs(float(low)), abs(float(high)), 0.5))
    return points, _volcano(tuple(names.values()), reach)


@lru_cache(maxsize=64)
def _volcano(kinds: tuple[str, str, str], reach: int) -> dict:
    colours, shades = [A, B, NEITHER], [0.8, 0.8, 0.35]
    chart = (
        alt.Chart(alt.NamedData("points"))
        .mark_circle(size=28, clip=True, aria=False, tooltip=alt.TooltipContent("data"))
        .encode(
            x=alt.X(
                field="log-odds",
                type="quantitative",
                title="log-odds, A against B (right: more in A)",
                scale=alt.Scale(domain=[-reach, reach]),
            ),
            y=alt.Y(
                field="|z|",
                type="quantitative",
                title="|z| of the difference in rate",
                scale=alt.Scale(domain=alt.DomainUnionWith([0, 5]), nice=True),
            ),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=kinds, range=colours),
                legend=alt.Legend(orient="top", direction="vertical", labelLimit=700),
            ),
            opacity=alt.Opacity("kind:N", legend=None, scale=alt.Scale(domain=kinds, range=shades)),
        )
        .properties(height=420)
    )
    spec = chart.to_dict()
    del spec["data"]  # comes beside it
    return spec


def sharing(frame: pd.DataFrame, measure: str, span: tuple[float, float]) -> alt.LayerChart:
    """Domain x domain map of one group; both triangles are drawn, the diagonal is left blank."""
    names = ["domain_a", "domain_b"]
    other = frame.rename(columns=dict(zip(names, names[::-1], strict=True)))
    both = pd.concat([frame, other])[[*names, "value", "ci_low", "ci_high", "n_a", "n_b"]]
    domains = sorted(set(both["domain_a"]))
    reverse = any(word in measure for word in DIVERGENCES)
    scale = alt.Scale(scheme="viridis", domain=list(span), reverse=reverse)
    base = alt.Chart(both).encode(
        x=alt.X(
            "domain_a:N", title=None, scale=alt.Scale(domain=domains), axis=alt.Axis(labelAngle=-40, labelLimit=140)
        ),
        y=alt.Y("domain_b:N", title=None, scale=alt.Scale(domain=domains), axis=alt.Axis(labelLimit=140)),
        tooltip=[
            alt.Tooltip("domain_a:N", title="domain"),
            alt.Tooltip("domain_b:N", title="and"),
            alt.Tooltip("value:Q", format=".3f"),
            alt.Tooltip("ci_low:Q", title="from", format=".3f"),
            alt.Tooltip("ci_high:Q", title="to", format=".3f"),
            alt.Tooltip("n_a:Q", title="n"),
            alt.Tooltip("n_b:Q", title="n (and)"),
        ],
    )
    middle = (span[0] + span[1]) / 2
    bright = f"datum.value {'<' if reverse else '>'} {middle}"
    text = base.mark_text(fontSize=11).encode(
        text=alt.Text("value:Q", format=".2f"), color=alt.condition(bright, alt.value("#111"), alt.value("#fff"))
    )
    tiles = base.mark_rect().encode(color=alt.Color("value:Q", title=None, scale=scale))
    return (tiles + text).properties(height=60 + 44 * len(domains))


def over_training(frame: pd.DataFrame) -> alt.LayerChart:
    """Shares over training steps, one line an item, with 95 % bands."""
    # The bands are faint, and the marks of a legend would be as they are; one line needs none.
    legend = alt.Legend(symbolOpacity=1, labelLimit=220) if frame["text"].nunique() > 1 else None
    base = alt.Chart(frame).encode(
        x=alt.X("step:Q", title="training step"),
        color=alt.Color("text:N", title=None, scale=alt.Scale(scheme="tableau10"), legend=legend),
    )
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("ci_low:Q", title="share of traces"), y2="ci_high:Q")
    tips = ["text:N", "step:Q", alt.Tooltip("value:Q", format=".3f"), "n:Q"]
    return alt.layer(band, base.mark_line(point=True).encode(y="value:Q", tooltip=tips)).properties(height=340)


def recall(bins: pd.DataFrame) -> alt.LayerChart:
    """Share of planted motifs found by d, one line a kind, with 95 % limits; bins: kind, d, share, ci_low, ci_high."""
    base = alt.Chart(bins).encode(
        x=alt.X("d:Q", title="problems that one side alone holds (middle of the bin)"),
        color=alt.Color("kind:N", title=None, scale=alt.Scale(scheme="tableau10"), legend=alt.Legend(symbolOpacity=1)),
    )
    whisker = base.mark_rule(opacity=0.4).encode(
        y=alt.Y("ci_low:Q", title="share found", scale=alt.Scale(domain=[0, 1])), y2="ci_high:Q"
    )
    tips = ["kind:N", "low:Q", "high:Q", alt.Tooltip("share:Q", format=".2f"), "found:Q", "n:Q"]
    return alt.layer(whisker, base.mark_line(point=True).encode(y="share:Q", tooltip=tips)).properties(height=340)


def automaton(grammar: dict, label: Callable[[str], str]) -> dict:
    """ECharts options of a grammar's automaton: a node a state, its size by uses; an edge for each pair of states."""
    uses = dict.fromkeys(range(grammar["states"]), 0)
    between: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for a, category, b, count in grammar["edges"]:
        uses[a] += count
        between.setdefault((a, b), []).append((count, category))
    most = max(uses.values(), default=1)
    ends = {state for state, _ in grammar["ends"]}
    nodes = [
        {
            "name": str(state),
            "value": count,
            "symbolSize": 14 + 30 * (count / most) ** 0.5,
            "symbol": "rect" if state in ends else "circle",
            "itemStyle": {"color": "#0072b2" if state == 0 else "#56b4e9" if state not in ends else "#e69f00"},
        }
        for state, count in uses.items()
    ]
    links = []
    for (a, b), edges in between.items():
        names = ", ".join(label(grammar["names"][c]) for _, c in sorted(edges, reverse=True)[:3])
        links.append(
            {
                "source": str(a),
                "target": str(b),
                "value": sum(count for count, _ in edges),
                "label": {
                    "show": True,
                    "formatter": names[:30],
                    "fontSize": 10,
                    "color": "#909090",
                    "textBorderWidth": 0,
                    "opacity": 1,
                },
                "lineStyle": {"width": 1 + 3 * (sum(c for c, _ in edges) / most), "curveness": 0.2, "opacity": 0.9},
            }
        )
    series = {
        "type": "graph",
        "layout": "force",
        "force": {"initLayout": "circular", "repulsion": 260, "edgeLength": 90, "layoutAnimation": False},
        "roam": True,
        "zoom": 0.75,
        "draggable": True,
        "selectedMode": "single",
        "edgeSymbol": ["none", "arrow"],
        "edgeSymbolSize": 7,
        "label": {"show": True},
        "data": nodes,
        "links": links,
    }
    return {"series": [series], "tooltip": {"show": False}}
