"""Parts of a figure as SVG: texts, axes, legends, the document. What models write is hostile: all text passes here."""

import html
import math
import unicodedata
from collections.abc import Callable, Sequence

from dsl_probe.mine.dictionary_text import plain
from dsl_probe.mine.graph import for_xml

WIDTH = 640
INK, GREY, PALE, PAPER = "#222222", "#6b6b6b", "#e2e2e2", "#ffffff"
# Okabe and Ito 2008: told apart by the colour-blind. The first two are A and B, as in the app.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 3", "10 4")
# Pixels of a character at 12 px in a wide sans serif (DejaVu Sans, the widest in common use), so that labels fit.
_THIN, _LOWER, _UPPER, _BROAD = 4.5, 7.6, 9.2, 12.2

Scale = Callable[[float], float]


def columns_of(text: str) -> int:
    """Columns that a text takes: wide characters two, combining ones none.

    >>> columns_of("a因")
    3
    """
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def width_of(text: str) -> float:
    """Pixels that a text takes at 12 px, rather too many than too few.

    >>> width_of("il") < width_of("ab") < width_of("AB") < width_of("因果")
    True
    """
    total = 0.0
    for c in text:
        if unicodedata.combining(c):
            continue
        if unicodedata.east_asian_width(c) in "WF" or c in "mwMW@%…":
            total += _BROAD
        elif c in " iljtfr.,;:'|!()[]-":
            total += _THIN if c in "ilj.,;:'|! " else _THIN + 1
        else:
            total += _UPPER if c.isupper() or not c.isalnum() else _LOWER
    return total


def fitted(text: str, most: int) -> str:
    """One line of at most `most` columns, the middle cut out; of combining characters two in a row are kept.

    >>> fitted("abcdefg", 5), fitted("a\\x00\\u202eb", 9) == "a\\ufffd\\ufffdb"
    ('ab…fg', True)
    """
    # What is far beyond the limit need not be looked at.
    near = 8 * most + 8
    text = text if len(text) <= 2 * near else text[:near] + text[-near:]
    kept, marks = [], 0
    for c in for_xml(plain(text)):
        marks = marks + 1 if unicodedata.combining(c) else 0
        if marks <= 2:
            kept.append(c)
    if columns_of("".join(kept)) <= most:
        return "".join(kept)
    head, tail = _first(kept, most // 2), _first(kept[::-1], most - most // 2 - 1)
    return "".join(head) + "…" + "".join(tail[::-1])


def _first(characters: Sequence[str], most: int) -> list[str]:
    """As many characters as fit into so many columns."""
    taken, columns = [], 0
    for c in characters:
        columns += columns_of(c)
        if columns > most:
            break
        taken.append(c)
    return taken


def number(value: float) -> str:
    """A coordinate, to a hundredth of a pixel.

    >>> number(1.0), number(2.345678), number(-0.001)
    ('1', '2.35', '0')
    """
    return f"{round(value, 2) + 0.0:g}"


def text(x: float, y: float, content: str, *, most: int = 80, anchor: str = "start", **more: str) -> str:
    """A text at a point, cut to `most` columns and escaped; more: attributes, `font_size="11"`.

    >>> text(1, 2, "<b>", anchor="end")
    '<text x="1" y="2" text-anchor="end" unicode-bidi="isolate">&lt;b&gt;</text>'
    """
    given = {"x": number(x), "y": number(y), "text-anchor": anchor, "unicode-bidi": "isolate"}
    given |= {name.replace("_", "-"): value for name, value in more.items()}
    attributes = "".join(f' {name}="{value}"' for name, value in given.items())
    return f"<text{attributes}>{html.escape(fitted(content, most))}</text>"


def line(x1: float, y1: float, x2: float, y2: float, colour: str = PALE, width: float = 1, dash: str = "") -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{number(width)}"{dashed}/>'


def mark(x: float, y: float, series: int = 0) -> str:
    """A point of a series: its colour, and its shape too (dot, square, diamond, triangle)."""
    shapes = ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z", "M-4-4h8v8h-8Z", "M0-5.5L5.5 0 0 5.5-5.5 0Z", "M0-5L5 4h-10Z")
    colour, shape = COLOURS[series % len(COLOURS)], shapes[series % len(shapes)]
    return f'<path d="{shape}" transform="translate({number(x)} {number(y)})" fill="{colour}"/>'


def scale(low: float, high: float, start: float, stop: float) -> Scale:
    """Values low..high to pixels start..stop; one value alone goes to the middle."""
    if not high > low:
        return lambda _: (start + stop) / 2
    return lambda value: start + (value - low) / (high - low) * (stop - start)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values inside low..high, steps of 1, 2 or 5 times a power of ten, `most` at the most.

    >>> ticks(0, 1), ticks(-3, 14)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 5.0, 10.0])
    """
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for times in (1, 2, 5, 10, 20, 50, 100):
        step = times * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def x_axis(values: Sequence[float], at: Scale, top: float, bottom: float, label: str) -> list[str]:
    """Ticks below, lines of the grid, and the axis's label."""
    middle = (at(values[0]) + at(values[-1])) / 2
    return [
        *(line(at(v), top, at(v), bottom) for v in values),
        *(text(at(v), bottom + 16, f"{v:.10g}", anchor="middle", fill=GREY) for v in values),
        text(middle, bottom + 34, label, anchor="middle"),
    ]


def y_axis(values: Sequence[float], at: Scale, left: float, right: float, label: str) -> list[str]:
    """Ticks on the left, lines of the grid, and the axis's label above."""
    return [
        *(line(left, at(v), right, at(v)) for v in values),
        *(text(left - 6, at(v) + 4, f"{v:.10g}", anchor="end", fill=GREY) for v in values),
        text(4, at(values[-1]) - 12 if len(values) else 12, label),
    ]


def legend(names: Sequence[str], y: float, dashed: bool = False) -> tuple[list[str], float]:
    """A line for each series, and where the next thing below may stand."""
    parts = []
    for k, name in enumerate(names):
        if dashed:
            parts.append(line(8, y, 32, y, COLOURS[k % len(COLOURS)], 2, DASHES[k % len(DASHES)]))
        parts += [mark(20, y, k), text(38, y + 4, name, most=82)]
        y += 18
    return parts, y


def document(height: float, title: str, parts: Sequence[str]) -> str:
    """The whole figure: WIDTH pixels wide, on its own ground, with the title that a screen reader says."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {number(height)}" width="{WIDTH}" '
        f'height="{number(height)}" role="img" font-family="sans-serif" font-size="12" fill="{INK}" direction="ltr">'
    )
    ground = f'<rect width="{WIDTH}" height="{number(height)}" fill="{PAPER}"/>'
    return f"{head}<title>{html.escape(fitted(title, 300))}</title>{ground}{''.join(parts)}</svg>"
