"""Figures: places against the values, hostile words against an XML parser."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hostile import ALL, LONG
from hypothesis import given
from hypothesis import strategies as st

from dsl_probe.share import svg
from dsl_probe.share.figures import MOST_POINTS, Dot, Figure, Line, curve, heatmap, intervals, volcano
from dsl_probe.types import UserError

SVG = "{http://www.w3.org/2000/svg}"


def texts(figure: Figure) -> list[str]:
    return [t.text or "" for t in ET.fromstring(figure.svg).iter(f"{SVG}text")]


def places(figure: Figure) -> list[tuple[float, float]]:
    """Where the marks stand; those of the legend are at x = 20."""
    found = (
        re.fullmatch(r"translate\((\S+) (\S+)\)", p.get("transform", "")) for p in ET.fromstring(figure.svg).iter()
    )
    points = [(float(m[1]), float(m[2])) for m in found if m]
    return [p for p in points if p[0] != 20]


def scaled(pixels: list[float], values: list[float]) -> bool:
    """Whether pixels are one straight line of the values, to the rounding of a hundredth of a pixel."""
    slope, start = np.polyfit(values, pixels, 1)
    return bool(np.allclose(np.polyval([slope, start], values), pixels, atol=0.02))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(3, 9))
def test_ticks_are_round_and_inside(low, width, most):
    found = svg.ticks(low, low + width, most)
    assert 1 <= len(found) <= most and all(low - 1e-6 * width <= t <= low + width * (1 + 1e-6) for t in found)
    if len(found) > 1:
        step = float(f"{found[1] - found[0]:.3g}")
        assert np.allclose(np.diff(found), step, rtol=1e-3)
        digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(digits - d) for d in (1, 2, 5, 10)) < 1e-3
        assert all(abs(t / step - round(t / step)) < 1e-3 for t in found)


def test_dots_stand_where_their_values_are():
    values = [-1.5, 0.25, 2.0, 7.0]
    dots = [Dot(f"m{k}", v, v - 0.5, v + 1) for k, v in enumerate(values)]
    figure = intervals(dots, "Effects", "log-odds")
    at = places(figure)
    assert scaled([x for x, _ in at], values) and [y for _, y in at] == sorted(y for _, y in at)
    whiskers = [e for e in ET.fromstring(figure.svg).iter(f"{SVG}line") if e.get("stroke-width") == "2"]
    ends = [float(w.get(n, "")) for w in whiskers for n in ("x1", "x2")]
    assert scaled([*ends, *(x for x, _ in at)], [*(e for d in dots for e in (d.low, d.high)), *values])
    zero = [e for e in ET.fromstring(figure.svg).iter(f"{SVG}line") if e.get("stroke") == svg.INK]
    assert len(zero) == 1 and scaled([float(zero[0].get("x1", "")), *(x for x, _ in at)], [0, *values])
    assert [t for t in texts(figure) if t.startswith("m")] == ["m0", "m1", "m2", "m3"]


def test_a_dot_without_an_interval_or_a_value():
    figure = intervals([Dot("a", 1.0), Dot("b", math.nan), Dot("c", 0.5, -9.0, 9.0)], "t", within=(0, 1))
    assert len(places(figure)) == 2 and {"a", "b", "c"} <= set(texts(figure))
    whisker = [e for e in ET.fromstring(figure.svg).iter(f"{SVG}line") if e.get("stroke-width") == "2"]
    assert len(whisker) == 1 and float(whisker[0].get("x2", "")) <= svg.WIDTH


def test_volcano_shows_every_discovery_in_its_place_and_thins_the_rest():
    rng = np.random.default_rng(0)
    effect, evidence = rng.normal(size=9_000), rng.exponential(size=9_000)
    found = evidence > 5
    assert 20 < found.sum() < 200
    names = [f"w{k}" for k in range(9_000)]
    figure = volcano(effect, evidence, found, names, "t")
    at = places(figure)
    order = [k for side in (1, -1) for k in np.flatnonzero(found & (np.sign(effect) == side)).tolist()]
    assert len(at) == found.sum()
    assert scaled([x for x, _ in at], effect[order].tolist()) and scaled([y for _, y in at], evidence[order].tolist())
    rest = max((p.get("d", "") for p in ET.fromstring(figure.svg).iter(f"{SVG}path")), key=len)
    assert rest.count("M") == MOST_POINTS - found.sum()
    named = {t for t in texts(figure) if t.startswith("w")}
    assert names[int(np.argmax(np.where(found, evidence, 0)))] in named
    assert named <= {names[k] for k in np.flatnonzero(found)}
    assert figure == volcano(effect, evidence, found, names, "t")
    nan, both = np.array([math.nan, 1]), np.array([True, True])
    assert places(volcano(nan, nan[::-1], both, ["a", "b"], "t")) == []


def test_heat_map_prints_every_value_and_darkens_with_it():
    values = np.array([[0.0, 0.25], [0.999, math.nan]])
    figure = heatmap(values, ["r0", "r1"], ["c0", "c1"], "t")
    assert [t for t in texts(figure) if t[0] in "01–"] == ["0.00", "0.25", "1.00", "–"]
    fills = [r.get("fill", "") for r in ET.fromstring(figure.svg).iter(f"{SVG}rect")][1:]
    assert fills[0] == fills[3] == "#ffffff" and int(fills[2][1:3], 16) < int(fills[1][1:3], 16) < 255


def test_curves_and_bands_stand_where_their_values_are():
    x, y, low, high = [0.0, 20.0, 50.0], [0.1, 0.4, 0.3], [0.0, 0.3, 0.2], [0.2, 0.5, 0.5]
    figure = curve([Line("one", x, y, low, high), Line("two", x, [0.5, math.nan, 0.0])], "t", "step", "share")
    at = places(figure)
    assert scaled([p[0] for p in at], [*x, 0.0, 50.0]) and scaled([p[1] for p in at], [*y, 0.5, 0.0])
    band = next(p.get("d", "") for p in ET.fromstring(figure.svg).iter(f"{SVG}path") if p.get("fill-opacity"))
    corners = [float(v) for v in re.findall(r"[\d.]+", band)]
    assert scaled([*corners[1::2], *(p[1] for p in at)], [*high, *low[::-1], *y, 0.5, 0.0])
    assert curve([], "t").svg and curve([Line("none", [], [], [], [])], "t").svg and intervals([], "t").svg


@pytest.mark.parametrize("word", ALL)
def test_hostile_words_are_text(word):
    word_too = word + "\ud800"  # a lone surrogate, which no file may hold
    figures = [
        intervals([Dot(word_too, 1, 0, 2, word_too)], word_too, word_too),
        volcano(np.ones(1), np.ones(1), np.array([True]), [word_too], word_too, (word_too, word_too), word_too),
        heatmap(np.ones((1, 1)), [word_too], [word_too], word_too),
        curve([Line(word_too, [0, 1], [0, 1])], word_too, word_too, word_too),
    ]
    for figure in figures:
        figure.svg.encode("utf-8")
        root = ET.fromstring(figure.svg)  # raises where it is not well formed
        assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {"svg", "title", "rect", "line", "path", "text"}
        names = {name for e in root.iter() for name in e.attrib}
        assert not any(name.startswith("on") or "href" in name or name == "style" for name in names)
        assert root.get("role") == "img" and root[0].tag == f"{SVG}title"
        assert root[1].tag == f"{SVG}rect" and root[1].get("fill") == svg.PAPER
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", figure.svg)
        assert all(len(t.text or "") < 400 for t in root.iter(f"{SVG}text"))


def test_a_figure_is_shown_by_notebooks_and_saved(tmp_path):
    figure = heatmap(np.ones((1, 1)), ["a"], [LONG], "t")
    assert figure._repr_svg_() == figure.svg
    assert figure.save(tmp_path / "f.svg").read_text() == figure.svg + "\n"
    with pytest.raises(UserError, match=r"f\.png: a figure is written as \.svg"):
        figure.save(tmp_path / "f.png")
