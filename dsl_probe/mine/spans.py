"""LaTeX formulas and code in the units of texts: found in one pass, so that a step never ends inside them.

Formulas: `$...$`, `$$...$$`, `\\(...\\)`, `\\[...\\]`. Code: fenced blocks and `inline code`. Nothing that is left open
is a span, so a stray `$` or a fence that was cut off swallows nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numba import njit

from dsl_probe.mine.segment import BLANK_LINE, LINE_BREAK, NO_SPACE, Segmented, digest

MATH, CODE = 1, 2
# Longest formula in units; a pair of marks further apart is taken for two stray ones.
_LONGEST_MATH = 2_000
_SHOWN = 60
# What a vocabulary entry may open or close. NOTHING must be 0.
_NOTHING, _ESCAPE, _ROUND_IN, _ROUND_OUT, _SQUARE_IN, _SQUARE_OUT, _DOLLAR, _DOLLARS, _TICK, _TICKS, _FENCE, _DIGITS = (
    range(12)
)
_ROLE = {"\\": _ESCAPE, "(": _ROUND_IN, ")": _ROUND_OUT, "[": _SQUARE_IN, "]": _SQUARE_OUT}
_ROLE |= {"$": _DOLLAR, "$$": _DOLLARS, "`": _TICK, "``": _TICKS}


def find_spans(units: Segmented) -> np.ndarray:
    """Formulas and code: int64[m, 3] of first unit, unit after the last, MATH or CODE; delimiters included, in order.

    Units are counted through all texts. A `$` opens where no space follows and closes where no space stands before and
    no number after ("$5 and $10" is no formula). `$`, `$$` and `\\(` do not reach over a blank line, inline code not
    over a line break; a fence stands at the start of a line, and one with a language name opens. Where two openings
    follow each other, the second counts. One pass, so linear in the units whatever they are.

    >>> from dsl_probe.mine.segment import segment
    >>> find_spans(segment(["so $x = 1$ and `y`"])).tolist()
    [[1, 6, 1], [7, 10, 2]]

    What it does not show: formulas without delimiters, environments (`\\begin{align}`) outside of them, `$x$$y$`,
    indented code.
    """
    role = np.zeros(len(units.kinds), np.uint8)
    for i, (text, kind) in enumerate(zip(units.texts, units.kinds, strict=True)):
        if kind == "punct":
            role[i] = _FENCE if text.startswith("```") else _ROLE.get(text, _NOTHING)
        elif kind in ("number", "data") and not text.startswith("."):
            role[i] = _DIGITS
    return _find(role[units.ids], units.space, units.bounds)


@njit(cache=True, nogil=True)
def _find(role, space, bounds):  # pragma: no cover
    found = np.empty((64, 3), np.int64)
    m = 0
    for text in range(len(bounds) - 1):
        low, high = bounds[text], bounds[text + 1]
        # What is open: its role and its first unit.
        opened, start = 0, low
        i = low
        while i < high:
            what, size = role[i], 1
            at_line = i == low or space[i] >= LINE_BREAK
            if opened and opened != _FENCE:
                code = opened in (_TICK, _TICKS)
                limit = LINE_BREAK if code else (BLANK_LINE if opened != _SQUARE_IN else 255)
                if space[i] >= limit or (not code and i - start > _LONGEST_MATH):
                    opened = 0
            if what == 0 or what == _DIGITS:
                i += 1
                continue
            if what == _FENCE:
                # A fence whose line goes on names a language, so it opens.
                bare = i + 1 == high or space[i + 1] >= LINE_BREAK
                if at_line and opened == _FENCE and bare:
                    m, found = _add(found, m, start, i + 1, CODE)
                    opened = 0
                elif at_line:
                    opened, start = _FENCE, i
                i += 1
                continue
            if opened == _FENCE:
                i += 1
                continue
            if what in (_TICK, _TICKS):
                if opened == what:
                    if i > start + 1:
                        m, found = _add(found, m, start, i + 1, CODE)
                    opened = 0
                elif opened == 0:
                    opened, start = what, i
                i += 1
                continue
            if opened in (_TICK, _TICKS):
                i += 1
                continue
            if what == _ESCAPE:
                if i + 1 == high or space[i + 1] != NO_SPACE:
                    i += 1
                    continue
                following, size = role[i + 1], 2
                if following in (_ROUND_IN, _SQUARE_IN):
                    if following == _SQUARE_IN or opened != _SQUARE_IN:
                        opened, start = following, i
                elif (following == _ROUND_OUT and opened == _ROUND_IN) or (
                    following == _SQUARE_OUT and opened == _SQUARE_IN
                ):
                    if i > start + 2:
                        m, found = _add(found, m, start, i + 2, MATH)
                    opened = 0
                elif following != _DOLLAR:  # "\$" is money
                    size = 1
            elif what == _DOLLARS:
                if opened == _DOLLARS:
                    if i > start + 1:
                        m, found = _add(found, m, start, i + 1, MATH)
                    opened = 0
                elif opened == 0:
                    opened, start = _DOLLARS, i
            elif what == _DOLLAR and (opened == _DOLLAR or opened == 0):
                closes = opened == _DOLLAR and i > start + 1 and space[i] == NO_SPACE
                if closes and not (i + 1 < high and role[i + 1] == _DIGITS and space[i + 1] == NO_SPACE):
                    m, found = _add(found, m, start, i + 1, MATH)
                    opened = 0
                elif i + 1 < high and space[i + 1] == NO_SPACE:
                    opened, start = _DOLLAR, i
                else:
                    opened = 0
            i += size
    return found[:m].copy()


@njit(cache=True, nogil=True)
def _add(found, m, start, stop, kind):  # pragma: no cover
    if m == len(found):
        wider = np.empty((2 * m, 3), np.int64)
        wider[:m] = found
        found = wider
    found[m, 0], found[m, 1], found[m, 2] = start, stop, kind
    return m + 1, found


def join_spans(
    units: Segmented, spans: np.ndarray, texts: Sequence[str], whole: Sequence[int]
) -> tuple[Segmented, np.ndarray]:
    """The units with each span of the kinds in `whole` as one unit, and the new place of each old unit, int64[n + 1].

    A formula's entry is its text without delimiters and needless space, `<MATH:x+1>`, or its hash where that is long;
    code is always its hash. Delimiters aside, equal formulas are equal units. Case is kept inside. A span that holds a
    format tag, such as `\\boxed`, stays as it is, so that the tag is seen.

    >>> from dsl_probe.mine.segment import segment
    >>> texts = ["so $x = 1$ or \\\\(x=1\\\\)"]
    >>> joined, _ = join_spans(s := segment(texts), find_spans(s), texts, [MATH])
    >>> [joined.texts[i] for i in joined.ids]
    ['so', '<MATH:x=1>', 'or', '<MATH:x=1>']
    """
    tags = np.concatenate([[0], np.cumsum(np.array([k == "format" for k in units.kinds], bool)[units.ids])])
    spans = spans[np.isin(spans[:, 2], np.array(whole, np.int64)) & (tags[spans[:, 0]] == tags[spans[:, 1]])]
    keep = np.ones(len(units.ids) + 1, bool)
    inner = np.zeros(len(units.ids) + 2, np.int32)
    np.add.at(inner, spans[:, 0] + 1, 1)
    np.add.at(inner, spans[:, 1], -1)
    keep[np.cumsum(inner)[:-1] > 0] = False
    ids, stops = units.ids.copy(), units.stops.copy()
    index = {text: i for i, text in enumerate(units.texts)}
    entries, kinds = list(units.texts), list(units.kinds)
    known: dict[tuple[str, int], int] = {}
    text_of = np.searchsorted(units.bounds, spans[:, 0], side="right") - 1
    last = stops[spans[:, 1] - 1]
    places = zip(spans[:, 0].tolist(), spans[:, 2].tolist(), text_of.tolist(), last.tolist(), strict=True)
    for first, kind, text, stop in places:
        piece = texts[text][units.starts[first] : stop]
        code = known.get((piece, kind))
        if code is None:
            entry = _math_entry(piece) if kind == MATH else f"<CODE:{digest(_bare(piece))}>"
            code = index.setdefault(entry, len(entries))
            if code == len(entries):
                entries.append(entry)
                kinds.append("math" if kind == MATH else "code")
            known[piece, kind] = code
        ids[first], stops[first] = code, stop
    place = np.concatenate([[0], np.cumsum(keep[:-1])])
    kept = keep[:-1]
    return replace(
        units,
        texts=entries,
        kinds=kinds,
        ids=ids[kept],
        starts=units.starts[kept],
        stops=stops[kept],
        bounds=place[units.bounds],
        space=units.space[kept],
        case=units.case[kept],
    ), place


def _bare(code: str) -> str:
    return code.strip("`").strip()


def _math_entry(formula: str) -> str:
    edge = 1 if formula[0] == "$" and not formula.startswith("$$") else 2
    inner = " ".join(formula[edge:-edge].split())
    inner = re.sub(r" ?([^\w\s\\]) ?", r"\1", inner)
    return f"<MATH:{inner}>" if len(inner) <= _SHOWN else f"<MATH:{digest(inner)}>"
