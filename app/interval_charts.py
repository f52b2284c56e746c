"""Altair charts of estimates with their intervals. Field names are fixed words; colours are those of Okabe and Ito."""

from collections.abc import Sequence

import altair as alt
import pandas as pd
from charts import NEITHER, A, B
from probe_charts import COLOURS, SHAPES

# A is orange and a diamond, B blue and a circle, everywhere in the app; a third group is green and a square.
SIDE_COLOURS, SIDE_SHAPES = [A, B, "#009e73"], ["diamond", "circle", "square"]
_TIPS = [("value", "value"), ("ci_low", "95 % from"), ("ci_high", "to")]


def _series(names: Sequence[str], sides: bool) -> tuple[alt.Color, alt.Shape]:
    colours, shapes = (SIDE_COLOURS, SIDE_SHAPES) if sides else (COLOURS, SHAPES)
    several = len(names) > 1
    legend = alt.Legend(orient="bottom", direction="vertical", labelLimit=320, symbolOpacity=1) if several else None
    domain = list(names)
    return (
        alt.Color(
            "series:N",
            title=None,
            legend=legend,
            scale=alt.Scale(domain=domain, range=[colours[k % len(colours)] for k in range(len(domain))]),
        ),
        alt.Shape(
            "series:N",
            title=None,
            legend=legend,
            scale=alt.Scale(domain=domain, range=[shapes[k % len(shapes)] for k in range(len(domain))]),
        ),
    )


def _tips(frame: pd.DataFrame, first: Sequence[str], format: str) -> list[alt.Tooltip]:
    tips = [alt.Tooltip(f"{name}:N") for name in first]
    tips += [alt.Tooltip(f"{name}:Q", title=title, format=format) for name, title in _TIPS]
    return tips + ([alt.Tooltip("n:Q", format=",")] if "n" in frame else [])


def dots(
    frame: pd.DataFrame, title: str, zero: bool = False, sides: bool = False, format: str = ".3f", room: int = 170
) -> alt.LayerChart:
    """A point with its interval for each row and series, the rows in the order given.

    frame: label, series, value, ci_low, ci_high and perhaps n. zero: a line where there is no difference. sides: the
    series are A, B and a third. room: pixels that a label may take.
    """
    names = list(dict.fromkeys(frame["series"]))
    color, shape = _series(names, sides)
    y = alt.Y(
        "label:N",
        title=None,
        sort=None,
        scale=alt.Scale(paddingInner=0.35),
        axis=alt.Axis(labelLimit=room, labelOverlap=False, labelFlush=False, labelBound=False),
    )
    more = {"yOffset": alt.YOffset("series:N", sort=names)} if len(names) > 1 else {}
    base = alt.Chart(frame).encode(y=y, tooltip=_tips(frame, ["label", "series"], format), **more)
    x = alt.Scale(zero=zero, nice=True)
    whisker = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("ci_low:Q", title=title, scale=x), x2="ci_high:Q", color=color
    )
    point = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("value:Q", title=title, scale=x), color=color, shape=shape
    )
    drawn = [whisker, point]
    if zero:
        line = alt.Chart(pd.DataFrame({"at": [0]})).mark_rule(color=NEITHER, strokeDash=[2, 2])
        drawn.insert(0, line.encode(x=alt.datum(0)))
    rows = frame["label"].nunique()
    return alt.layer(*drawn).properties(
        height=90 + rows * max(30, 20 * len(names)) + 32 * len(names) * (len(names) > 1)
    )


def lines(
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    log: bool = False,
    unit: bool = False,
    sides: bool = False,
    format: str = ".3f",
    height: int = 300,
) -> alt.LayerChart:
    """A line with its 95 % band for each series; frame: at, series, value, ci_low, ci_high and perhaps n.

    x, y: the names of the axes. log: `at` on a logarithmic axis. unit: values lie between 0 and 1.
    """
    names = list(dict.fromkeys(frame["series"]))
    color, shape = _series(names, sides)
    across = alt.Scale(type="log", nice=False, padding=8) if log else alt.Scale(zero=False, nice=False, padding=8)
    up = alt.Scale(domain=[0, 1]) if unit else alt.Scale(zero=True)
    at = alt.X("at:Q", title=x, scale=across, axis=alt.Axis(format="~s", grid=False, labelOverlap=True))
    tips = [alt.Tooltip("series:N"), alt.Tooltip("at:Q", title=x, format=",.4~g"), *_tips(frame, [], format)]
    base = alt.Chart(frame).encode(x=at, color=color)
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("ci_low:Q", title=y, scale=up), y2="ci_high:Q")
    line = base.mark_line(strokeWidth=1.8).encode(y=alt.Y("value:Q", title=y, scale=up))
    point = base.mark_point(filled=True, size=50, opacity=1).encode(
        y=alt.Y("value:Q", title=y, scale=up), shape=shape, tooltip=tips
    )
    return alt.layer(band, line, point).properties(height=height + 34 * len(names) * (len(names) > 1))


def bars(frame: pd.DataFrame, title: str) -> alt.Chart:
    """A bar for each row and series, beside each other; frame: label, series, value. The series are A and B."""
    names = list(dict.fromkeys(frame["series"]))
    color, _ = _series(names, True)
    return (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("value:Q", title=title, axis=alt.Axis(tickMinStep=1, format=",d")),
            y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=150)),
            yOffset=alt.YOffset("series:N", sort=names),
            color=color,
            tooltip=["label:N", "series:N", alt.Tooltip("value:Q", title=title, format=",")],
        )
        .properties(height=130 + 50 * frame["label"].nunique())
    )
