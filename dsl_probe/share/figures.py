"""Figures as SVG that need nothing: intervals, volcano, heat map, curve. The same values give the same bytes.

Texts are cut and escaped (`svg`), colours are Okabe and Ito's with a shape or a dash beside them, and the ground is
white of its own, so that a figure can be read on a dark page too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from dsl_probe.files import replacing
from dsl_probe.share import svg
from dsl_probe.share.svg import COLOURS, INK, WIDTH, number
from dsl_probe.types import UserError

MOST_POINTS, _MOST_NAMES = 4_000, 6  # names: of a side
_LABEL = 34  # columns of a label on the left


@dataclass(frozen=True)
class Figure:
    """An SVG document and what it shows in a sentence. Notebooks show it as it is."""

    svg: str
    title: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Write the SVG file; returns its path."""
        path = Path(path)
        if path.suffix != ".svg":
            raise UserError(f"{path}: a figure is written as .svg; give a name that ends so.")
        with replacing(path) as temporary:
            temporary.write_text(self.svg + "\n", "utf-8")
        return path


@dataclass(frozen=True)
class Dot:
    """A value with its interval; limits may be NaN. Dots of one label stand on one row, told apart by `series`."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    series: str = ""


@dataclass(frozen=True)
class Line:
    """A line through (x, y), with a band from low to high where they are given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def intervals(
    dots: Sequence[Dot], title: str, x_label: str = "", zero: bool = True, within: tuple[float, float] | None = None
) -> Figure:
    """Dots with whiskers, a row a label in the order given; zero: a line at 0, which the axis then holds.

    within: ends of the axis, at which whiskers are cut; by default it holds all of them.

    >>> intervals([Dot("wait", 1.2, 0.4, 2.0)], "Log-odds").svg[:4]
    '<svg'
    """
    series = list(dict.fromkeys(d.series for d in dots))
    rows: dict[str, list[Dot]] = {}
    for d in dots:
        rows.setdefault(d.label, []).append(d)
    left = 16 + max((svg.width_of(svg.fitted(label, _LABEL)) for label in rows), default=0)
    keys, top = svg.legend(series, 14) if any(series) else ([], 6)
    ends = _finite([v for d in dots for v in (d.value, d.low, d.high)]) + [0.0] * zero
    low, high = within or (min(ends), max(ends))
    room = 0.04 * (high - low) or 1.0
    at = svg.scale(low - room, high + room, left, WIDTH - 14)
    bottom = top + sum(_tall(own) for own in rows.values())
    parts = [*keys, *svg.x_axis(svg.ticks(low - room, high + room), at, top, bottom, x_label)]
    if zero:
        parts.append(svg.line(at(0), top, at(0), bottom, INK))
    for label, own in rows.items():
        middle = top + _tall(own) / 2
        parts.append(svg.text(left - 8, middle + 4, label, most=_LABEL, anchor="end"))
        for k, d in enumerate(own):
            y, s = middle + 14 * (k - (len(own) - 1) / 2), series.index(d.series)
            if math.isfinite(d.low) and math.isfinite(d.high):
                start, stop = (at(min(max(v, low - room), high + room)) for v in (d.low, d.high))
                parts.append(svg.line(start, y, stop, y, COLOURS[s % len(COLOURS)], 2))
            if math.isfinite(d.value):
                parts.append(svg.mark(at(min(max(d.value, low - room), high + room)), y, s))
        top += _tall(own)
    return Figure(svg.document(bottom + 42, title, parts), title)


def _tall(own: Sequence[Dot]) -> float:
    """Height of a row."""
    return max(24, 14 * len(own) + 6)


def volcano(
    effect: np.ndarray,
    evidence: np.ndarray,
    found: np.ndarray,
    names: Sequence[str],
    title: str,
    sides: tuple[str, str] = ("A", "B"),
    x_label: str = "log-odds, A against B",
    y_label: str = "-log10 p",
    seed: int = 0,
) -> Figure:
    """Effect against evidence of each motif; discoveries are coloured by side, and those with most of it are named.

    effect, evidence: float[n], such as the log-odds and -log10 p or |z|; a NaN leaves the motif out. found: bool[n].
    names: str[n]. More than MOST_POINTS points: all discoveries (most evidence first) and a seeded sample of the rest.

    >>> volcano(np.array([1.0]), np.array([3.0]), np.array([True]), ["wait"], "Motifs").title
    'Motifs'
    """
    effect, height, found = np.asarray(effect, np.float64), np.asarray(evidence, np.float64), np.asarray(found, bool)
    shown = _thinned(effect, height, found, seed)
    groups = [shown[found[shown] & (effect[shown] > 0)], shown[found[shown] & (effect[shown] <= 0)]]
    rest = shown[~found[shown]]
    told = [f"more in {side}: {len(own):,} of the points shown" for side, own in zip(sides, groups, strict=True)]
    keys, top = svg.legend(told, 14)
    left, right, top, bottom = 44, WIDTH - 14, top + 20, top + 340
    reach = 1.05 * float(np.abs(effect[shown]).max(initial=0.5))
    peak = 1.05 * float(height[shown].max(initial=1.0))
    at_x, at_y = svg.scale(-reach, reach, left, right), svg.scale(0, peak, bottom, top)
    parts = [
        *keys,
        *svg.x_axis(svg.ticks(-reach, reach), at_x, top, bottom, x_label),
        *svg.y_axis(svg.ticks(0, peak), at_y, left, right, y_label),
        svg.line(at_x(0), top, at_x(0), bottom, INK),
    ]
    if len(rest):
        # One path of dots of no length with round ends: a tenth of the bytes of as many circles.
        dots = "".join(f"M{number(at_x(effect[i]))} {number(at_y(height[i]))}h0" for i in rest.tolist())
        parts.append(f'<path d="{dots}" stroke="#9a9a9a" stroke-width="3" stroke-linecap="round"/>')
    for s, own in enumerate(groups):
        parts += [svg.mark(at_x(effect[i]), at_y(height[i]), s) for i in own.tolist()]
    taken: list[tuple[float, float, float]] = []
    for own in groups:
        room = _MOST_NAMES
        for i in sorted(own.tolist(), key=lambda i: (-height[i], -abs(effect[i]), names[i])):
            name = svg.fitted(names[i], 24)
            x, y, wide = at_x(effect[i]), at_y(height[i]) + 4, svg.width_of(name)
            right_of = x + 8 + wide < right
            first = x + 8 if right_of else x - 8 - wide
            clash = any(abs(y - v) <= 13 and first <= u + w + 4 and u <= first + wide + 4 for u, v, w in taken)
            if room and not clash:
                room -= 1
                taken.append((first, y, wide))
                at, anchor = (x + 8, "start") if right_of else (x - 8, "end")
                halo = svg.text(at, y, name, anchor=anchor, stroke=svg.PAPER, stroke_width="2")
                parts += [halo, svg.text(at, y, name, anchor=anchor)]
    return Figure(svg.document(bottom + 42, title, parts), title)


def heatmap(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, low: float = 0.0, high: float = 1.0
) -> Figure:
    """A square of each value, which is printed in it: white at `low` and below, dark blue at `high`; NaN is a dash.

    values: float[rows, columns].

    >>> "0.25" in heatmap(np.array([[0.25]]), ["math"], ["logic"], "Sharing").svg
    True
    """
    values = np.asarray(values, np.float64)
    left = 16 + max((svg.width_of(svg.fitted(r, 24)) for r in rows), default=0)
    side = min(84.0, (WIDTH - left - 14) / max(len(columns), 1))
    most = max(int(side / 7.6), 2)
    top, tall = 28, min(side, 44)
    parts = [
        svg.text(left + side * (j + 0.5), top - 8, name, most=most, anchor="middle") for j, name in enumerate(columns)
    ]
    for i, name in enumerate(rows):
        y = top + tall * i
        parts.append(svg.text(left - 8, y + tall / 2 + 4, name, most=24, anchor="end"))
        for j in range(len(columns)):
            v = float(values[i, j])
            share = min(max((v - low) / (high - low), 0), 1) if math.isfinite(v) else 0.0
            # White to Okabe and Ito's blue, darkened.
            colour = "#" + "".join(f"{round(255 + share * (c - 255)):02x}" for c in (0, 82, 136))
            x = left + side * j
            size = f'x="{number(x)}" y="{number(y)}" width="{number(side)}" height="{number(tall)}"'
            parts.append(f'<rect {size} fill="{colour}" stroke="{svg.PALE}"/>')
            said = f"{v:.2f}" if math.isfinite(v) else "–"
            ink = "#ffffff" if share > 0.55 else INK
            parts.append(svg.text(x + side / 2, y + tall / 2 + 4, said, anchor="middle", fill=ink))
    return Figure(svg.document(top + tall * len(rows) + 10, title, parts), title)


def board(rows: Sequence[str], columns: Sequence[str], chosen: Sequence[int], title: str) -> Figure:
    """One mark a row, in the column chosen for it; shape and colour go with the column.

    >>> board(["it holds"], ["yes", "no"], [0], "Verdicts").title
    'Verdicts'
    """
    wide, top, tall = 92, 28, 30
    left = WIDTH - 14 - wide * len(columns)
    parts = [
        svg.text(left + wide * (j + 0.5), top - 8, name, most=14, anchor="middle") for j, name in enumerate(columns)
    ]
    for i, (name, column) in enumerate(zip(rows, chosen, strict=True)):
        y = top + tall * (i + 0.5)
        parts.append(svg.line(14, y + tall / 2, WIDTH - 14, y + tall / 2))
        parts.append(svg.text(14, y + 4, name, most=int((left - 20) / 7.6)))
        parts.append(svg.mark(left + wide * (column + 0.5), y, column))
    return Figure(svg.document(top + tall * len(rows) + 10, title, parts), title)


def curve(lines: Sequence[Line], title: str, x_label: str = "", y_label: str = "") -> Figure:
    """Lines with their bands; each has a colour, a dash and a shape.

    >>> curve([Line("quil", [0, 20], [0.0, 0.5], [0.0, 0.4], [0.1, 0.6])], "Growth").title
    'Growth'
    """
    keys, top = svg.legend([one.name for one in lines], 14, dashed=True)
    left, right, top, bottom = 52, WIDTH - 14, top + 20, top + 280
    x_ends = _finite([v for one in lines for v in one.x])
    y_ends = _finite([v for one in lines for v in (*one.y, *one.low, *one.high)])
    at_x = svg.scale(min(x_ends), max(x_ends), left, right)
    at_y = svg.scale(min(y_ends), max(y_ends), bottom, top)
    parts = [
        *keys,
        *svg.x_axis(svg.ticks(min(x_ends), max(x_ends)), at_x, top, bottom, x_label),
        *svg.y_axis(svg.ticks(min(y_ends), max(y_ends)), at_y, left, right, y_label),
    ]
    for k, one in enumerate(lines):
        colour, dash = COLOURS[k % len(COLOURS)], svg.DASHES[k % len(svg.DASHES)]
        if len(one.low):
            around = [*_known(one.x, one.high), *reversed(_known(one.x, one.low))]
            band = "L".join(f"{number(at_x(x))} {number(at_y(y))}" for x, y in around)
            parts.append(f'<path d="M{band or "0 0"}Z" fill="{colour}" fill-opacity="0.15"/>')
        points = [(at_x(x), at_y(y)) for x, y in _known(one.x, one.y)]
        parts += [svg.line(*a, *b, colour, 2, dash) for a, b in pairwise(points)]
        parts += [svg.mark(x, y, k) for x, y in points]
    return Figure(svg.document(bottom + 42, title, parts), title)


def _thinned(effect: np.ndarray, height: np.ndarray, found: np.ndarray, seed: int) -> np.ndarray:
    """Which points to show, ascending."""
    known = np.flatnonzero(np.isfinite(effect) & np.isfinite(height))
    own = known[found[known]]
    own = own[np.argsort(-height[own], kind="stable")][:MOST_POINTS]
    rest = known[~found[known]]
    room = MOST_POINTS - len(own)
    if len(rest) > room:
        rest = np.random.default_rng(seed).choice(rest, room, replace=False)
    return np.sort(np.concatenate([own, rest]))


def _finite(values: Sequence[float]) -> list[float]:
    return [float(v) for v in values if math.isfinite(v)] or [0.0, 1.0]


def _known(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """Points of which both are finite; a line goes on over those that are missing."""
    return [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
