"""Altair charts of probes and effects. Field names are fixed words, never data; colours are those of Okabe and Ito."""

import altair as alt
import numpy as np
import pandas as pd
from charts import NEITHER, A, B

CHOSEN = "#d55e00"
# Black is left out, since the ground may be dark; grey is for what is not told apart.
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a6761d"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]
MOST_TILES = 12  # layers up to which a number stands in each tile
_AUROC = alt.Scale(scheme="viridis", domain=[0.5, 1], clamp=True)
_PADDED = alt.Scale(padding=12, nice=False, zero=False)
_BELOW = alt.Legend(orient="bottom", labelLimit=200, columns=2, symbolOpacity=1, symbolType="stroke")
_ON_TILE = alt.condition("datum.value > 0.78", alt.value("#111"), alt.value("#fff"))


def _tip(field: str, title: str | None = None, format: str = ".3f") -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", title=title or field, format=format)


def _layers(layers: list[int]) -> alt.Axis:
    """At most 12 layers are named."""
    return alt.Axis(values=layers[:: -(-len(layers) // 12)], format="d", grid=False)


def tiles(frame: pd.DataFrame) -> alt.LayerChart:
    """AUROC by layer and target, the chosen layer framed; frame: title, layer, value, chosen, domains."""
    order = list(dict.fromkeys(frame["title"]))
    base = alt.Chart(frame).encode(
        x=alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "title:N",
            title=None,
            sort=order,
            axis=alt.Axis(labelLimit=150, labelOverlap=False, labelFlush=False, labelBound=False),
        ),
        tooltip=[
            alt.Tooltip("title:N", title="target"),
            alt.Tooltip("layer:O"),
            _tip("value", "AUROC"),
            _tip("domains", format="d"),
        ],
    )
    drawn = [base.mark_rect().encode(color=alt.Color("value:Q", title="AUROC", scale=_AUROC))]
    if frame["layer"].nunique() <= MOST_TILES:
        drawn.append(base.mark_text(fontSize=11).encode(text=alt.Text("value:Q", format=".2f"), color=_ON_TILE))
    frames = base.transform_filter("datum.chosen").mark_rect(fillOpacity=0, stroke=CHOSEN, strokeWidth=3)
    return alt.layer(*drawn, frames).properties(height=100 + 28 * len(order))


def by_layer(own: pd.DataFrame, controls: pd.DataFrame, height: int = 430) -> alt.LayerChart:
    """AUROC of one target over the layers with its intervals, the nested choice as a ring, and a line a control.

    own, controls: control, layer, value, ci_low, ci_high; own also chosen. Values of controls that have no layer, or
    one, are drawn over all layers.
    """
    own = own.astype({"layer": int})
    layers = sorted(own["layer"].unique().tolist())
    lowest = min([0.45, *own["ci_low"].dropna(), *own["value"], *controls["value"]])
    x = alt.X("layer:Q", title="layer", axis=_layers(layers), scale=_PADDED)
    scale = alt.Scale(domain=[max(0.0, np.floor(20 * lowest) / 20), 1.0], clamp=True)
    y = alt.Y("value:Q", title="AUROC on unseen problems", scale=scale)
    base = alt.Chart(own.loc[~own["chosen"]]).encode(x=x)
    tips = [alt.Tooltip("layer:Q", format="d"), _tip("value", "AUROC"), _tip("ci_low", "from"), _tip("ci_high", "to")]
    drawn = [
        base.mark_area(opacity=0.18, color=B).encode(y=alt.Y("ci_low:Q", scale=scale, title=""), y2="ci_high:Q"),
        base.mark_line(color=B, point=alt.OverlayMarkDef(color=B, size=40)).encode(y=y, tooltip=tips),
    ]
    if len(controls):
        names = list(controls["control"])
        lines = pd.concat([controls.assign(layer=at)[["control", "layer", "value"]] for at in layers])
        colours = [COLOURS[1:][k % (len(COLOURS) - 1)] for k in range(len(names))]
        legend = alt.Legend(orient="bottom", columns=2, labelLimit=170, symbolType="stroke")
        shared = {"x": x, "y": y, "tooltip": [alt.Tooltip("control:N"), _tip("value", "AUROC")]}
        control = alt.Chart(lines).encode(
            color=alt.Color("control:N", title=None, scale=alt.Scale(domain=names, range=colours), legend=legend),
            strokeDash=alt.StrokeDash("control:N", title=None, scale=alt.Scale(domain=names), legend=None),
            **shared,
        )
        drawn.append(control.mark_line(strokeWidth=1.8) if len(layers) > 1 else control.mark_point())
    ring = alt.Chart(own[own["chosen"]]).mark_point(size=190, color=CHOSEN, strokeWidth=2.5, filled=False)
    drawn.append(ring.encode(x=x, y=y, tooltip=tips))
    drawn.append(_rule(0.5))
    return alt.layer(*drawn).properties(height=height)


def _rule(at: float, field: str = "y") -> alt.Chart:
    """A thin line where there is nothing: chance, or no effect."""
    data = pd.DataFrame({"at": [at]})
    return alt.Chart(data).mark_rule(color=NEITHER, strokeDash=[2, 2]).encode(**{field: alt.datum(at)})


def domains_by_layer(frame: pd.DataFrame, height: int = 300) -> alt.LayerChart:
    """AUROC by layer, a line a domain and a dashed one for its strongest control; frame: domain, layer, value, chosen,
    control (the value of the strongest)."""
    names = list(dict.fromkeys(frame["domain"]))
    layers = sorted(frame["layer"].unique().tolist())
    scale = alt.Scale(domain=[max(0.0, min(0.45, float(np.floor(20 * frame["value"].min()) / 20))), 1.0], clamp=True)
    base = alt.Chart(frame).encode(
        x=alt.X("layer:Q", title="layer", axis=_layers(layers), scale=_PADDED),
        color=alt.Color(
            "domain:N",
            title=None,
            scale=alt.Scale(domain=names, range=[COLOURS[k % len(COLOURS)] for k in range(len(names))]),
            legend=_BELOW,
        ),
        tooltip=[alt.Tooltip("domain:N"), alt.Tooltip("layer:Q", format="d"), _tip("value", "AUROC"),
                 _tip("control", "strongest control")],
    )  # fmt: skip
    y = alt.Y("value:Q", title="AUROC", scale=scale)
    lines = base.mark_line(point=True).encode(y=y)
    control = base.mark_line(strokeDash=[5, 4], opacity=0.8).encode(y=alt.Y("control:Q", scale=scale, title=""))
    ring = base.transform_filter("datum.chosen").mark_point(size=170, strokeWidth=2.5, filled=False).encode(y=y)
    return alt.layer(control, lines, ring, _rule(0.5)).properties(height=height)


def reliability(bins: pd.DataFrame) -> alt.LayerChart:
    """Share of positives against mean probability, a point a bin, beside the diagonal; bins: see probed.reliability."""
    unit = alt.Scale(domain=[0, 1])
    diagonal = alt.Chart(pd.DataFrame({"probability": [0, 1], "share": [0, 1]})).mark_line(
        color=NEITHER, strokeDash=[4, 4]
    )
    base = alt.Chart(bins).encode(
        x=alt.X("probability:Q", title="probability read out (mean of the bin)", scale=unit),
        y=alt.Y("share:Q", title="share that is so", scale=unit),
        tooltip=[
            _tip("probability", "mean probability"),
            _tip("share"),
            _tip("states", format=","),
            _tip("lowest", "from"),
            _tip("highest", "to"),
        ],
    )
    line = base.mark_line(color=B, point=alt.OverlayMarkDef(color=B, size=60))
    return alt.layer(diagonal.encode(x="probability:Q", y="share:Q"), line).properties(height=330)


def transfer(frame: pd.DataFrame) -> alt.LayerChart:
    """Train x test map of AUROC with its interval in the cell; frame: train, test, layer, value, ci_low, ci_high, p."""
    names = sorted(set(frame["train"]) | set(frame["test"]))
    limits = [
        "" if pd.isna(low) else f"{low:.2f} – {high:.2f}"
        for low, high in zip(frame["ci_low"], frame["ci_high"], strict=True)
    ]
    base = alt.Chart(frame.assign(limits=limits)).encode(
        x=alt.X("test:N", title="tested in", scale=alt.Scale(domain=names), axis=alt.Axis(labelAngle=0, labelLimit=90)),
        y=alt.Y("train:N", title="trained in", scale=alt.Scale(domain=names), axis=alt.Axis(labelLimit=90)),
        tooltip=[
            alt.Tooltip("train:N"),
            alt.Tooltip("test:N"),
            alt.Tooltip("layer:Q", format="d"),
            _tip("value", "AUROC"),
            alt.Tooltip("limits:N", title="95 %"),
            _tip("p", "p of transfer"),
        ],
    )
    text = base.mark_text(fontSize=12, dy=-6).encode(text=alt.Text("value:Q", format=".2f"), color=_ON_TILE)
    small = base.mark_text(fontSize=9, dy=8).encode(text="limits:N", color=_ON_TILE)
    rect = base.mark_rect().encode(color=alt.Color("value:Q", title="AUROC", scale=_AUROC))
    return alt.layer(rect, text, small).properties(height=110 + 52 * len(names))


def means(frame: pd.DataFrame) -> alt.LayerChart:
    """Mean AUROC by layer, a line a kind (within a domain, from one to another), with 95 % bands."""
    layers = sorted(frame["layer"].astype(int).unique().tolist())
    lowest = min([0.45, *frame["ci_low"].dropna(), *frame["value"]])
    scale = alt.Scale(domain=[max(0.0, np.floor(20 * lowest) / 20), 1.0], clamp=True)
    base = alt.Chart(frame).encode(
        x=alt.X("layer:Q", title="layer", axis=_layers(layers), scale=_PADDED),
        color=alt.Color("kind:N", title=None, scale=alt.Scale(range=[A, B]), legend=_BELOW),
    )
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("ci_low:Q", title="", scale=scale), y2="ci_high:Q")
    tips = [alt.Tooltip("kind:N"), alt.Tooltip("layer:Q", format="d"), _tip("value", "mean AUROC")]
    line = base.mark_line(point=True).encode(y=alt.Y("value:Q", title="mean AUROC", scale=scale), tooltip=tips)
    return alt.layer(band, line, _rule(0.5)).properties(height=300)


def sites(frame: pd.DataFrame, names: list[str], rest: str) -> alt.Chart:
    """The map of motif sites; frame: x, y, motif, trace, read. names: motifs with a colour and shape of their own."""
    domain = [*names, *([rest] if rest in set(frame["motif"]) else [])]
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(names))] + [NEITHER]
    shapes = [SHAPES[k % len(SHAPES)] for k in range(len(names))] + ["circle"]
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=160)
    picked = alt.selection_point(name="site", fields=["trace", "read"], on="click", nearest=False)
    off = alt.Axis(labels=False, ticks=False, grid=False, domain=False)
    return (
        alt.Chart(frame)
        .mark_point(filled=True, size=34)
        .encode(
            x=alt.X("x:Q", title=None, axis=off, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", title=None, axis=off, scale=alt.Scale(zero=False)),
            color=alt.Color("motif:N", title=None, scale=alt.Scale(domain=domain, range=colours), legend=legend),
            shape=alt.Shape("motif:N", title=None, scale=alt.Scale(domain=domain, range=shapes), legend=legend),
            opacity=alt.condition(picked, alt.value(0.75), alt.value(0.2)),
            tooltip=[alt.Tooltip("motif:N"), alt.Tooltip("trace:Q", format="d")],
        )
        .add_params(picked)
        .properties(height=420)
    )


def forest(frame: pd.DataFrame) -> alt.LayerChart:
    """Effect with its interval, a line a row, in the order given.

    frame: label, effect, ci_low, ci_high, p_adj, kind (load-bearing | not shown to be).
    """
    kinds = ["load-bearing", "not shown to be"]
    base = alt.Chart(frame).encode(
        y=alt.Y(
            "label:N",
            title=None,
            sort=None,
            axis=alt.Axis(labelLimit=190, labelOverlap=False, labelFlush=False, labelBound=False),
        ),
        color=alt.Color(
            "kind:N",
            title=None,
            scale=alt.Scale(domain=kinds, range=[A, NEITHER]),
            legend=alt.Legend(orient="top", labelLimit=200),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="motif"),
            _tip("effect", format="+.3f"),
            _tip("ci_low", "from", "+.3f"),
            _tip("ci_high", "to", "+.3f"),
            _tip("p_adj", format=".4f"),
        ],
    )
    whisker = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("ci_low:Q", title="accuracy lost beyond the placebo"), x2="ci_high:Q"
    )
    point = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=alt.X("effect:Q", title="accuracy lost beyond the placebo"),
        shape=alt.Shape(
            "kind:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle"]), legend=alt.Legend(orient="top")
        ),
    )
    return alt.layer(_rule(0, "x"), whisker, point).properties(height=130 + 28 * frame["label"].nunique())
