"""Steps of a trace: sentences, lines, list items, blocks; from its units, without a second look at the text.

A formula, a code block and a block of data belong to one step as a whole.
"""

import numpy as np
from numba import njit

from dsl_probe.mine.segment import CAPITALISED, LINE_BREAK, LOWER, NO_SPACE, Segmented
from dsl_probe.mine.spans import find_spans

# What a vocabulary entry may mean for the end of a sentence. Anything else is 0, a mark.
_WORD, _LETTER, _E, _G, _I, _NUMBER, _DOT, _DOTS, _BANG, _END, _CJK_END, _CLOSER, _OPEN_TAG, _CLOSE_TAG = range(1, 15)
_TITLE, _ENTRY, _OPEN_END = range(15, 18)
# Never the end of a sentence; not before a number; only before a capital.
_TITLES = ("dr", "mr", "mrs", "ms", "prof", "vs", "cf", "approx", "resp", "viz")
_ENTRIES = ("no", "nos", "fig", "figs", "eq", "eqs", "sec", "ch", "p", "pp", "vol", "thm", "def", "prop", "ex")
_OPEN_ENDS = ("etc", "al", "st", "jr", "sr", "inc", "ltd", "co")
_CLOSERS = "\"'’”)]}»*_`」』）》】＂～"
_ENDS = "!！?？。｡؟।۔…‥.．"
# What is awaited after a mark: a step may start after space; anywhere; after space with a capital, with no number, with
# no small letter.
_AFTER_SPACE, _ANYWHERE, _CAPITAL, _NO_NUMBER, _NO_SMALL = range(1, 6)


def find_steps(units: Segmented, spans: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """First unit of each step, int32[n_steps], counted from the start of its text; and bounds int64[n_texts + 1].

    A step starts with a text, with a line, after the mark that ends a sentence (and the quotes and brackets that close
    after it), at an opening tag and after a closing one; a tag on a line of its own makes no step of its own.
    None starts inside of `spans` (default: formulas and code).
    A full stop ends none in a number, a list marker ("1. "), an abbreviation (e.g., Dr., No. 5); an ellipsis, "5!" and
    "etc." only before a capital. Chinese and Japanese marks need no space after them. Linear in the units.

    >>> from dsl_probe.mine.segment import segment
    >>> find_steps(segment(["1. So x is 1.5, e.g. this. Wait\\nno"]))[0].tolist()
    [0, 13, 14]

    What it does not show: steps of an argument. A line broken by hand counts as two; the initial of a name ends a step
    as a variable does ("take x. Then"); so does "U.S." before a capital.
    """
    role = _roles(units)
    spans = find_spans(units) if spans is None else spans
    return _find(role[units.ids], units.space, units.case, units.bounds, spans)


def _roles(units: Segmented) -> np.ndarray:
    role = np.zeros(len(units.kinds), np.uint8)
    words = dict.fromkeys(_TITLES, _TITLE) | dict.fromkeys(_ENTRIES, _ENTRY) | dict.fromkeys(_OPEN_ENDS, _OPEN_END)
    letters = {"e": _E, "g": _G, "i": _I}
    for i, (text, kind) in enumerate(zip(units.texts, units.kinds, strict=True)):
        if kind == "word":
            low = text.lower()
            role[i] = words.get(low) or (letters.get(low, _LETTER) if len(low) == 1 else _WORD)
        elif kind == "cjk" or kind == "latex":
            role[i] = _WORD
        elif kind == "number":
            role[i] = _NUMBER
        elif kind == "format":
            role[i] = _CLOSE_TAG if text.startswith("</") else _OPEN_TAG if not text.startswith(("<|", "\\")) else _WORD
        elif kind == "punct":
            mark = text[0]
            if mark in _CLOSERS and len(text) <= 3:
                role[i] = _CLOSER
            elif mark in _ENDS:
                if mark in "！？。｡．":
                    role[i] = _CJK_END
                elif mark in "…‥" or (mark == "." and len(text) > 1):
                    role[i] = _DOTS
                else:
                    role[i] = _DOT if mark == "." else _BANG if text == "!" else _END
    return role


@njit(cache=True, nogil=True)
def _find(role, space, case, bounds, spans):  # pragma: no cover
    first = np.empty(len(role), np.int32)
    ends = np.zeros(len(bounds), np.int64)
    m, span = 0, 0
    for text in range(len(bounds) - 1):
        low, high = bounds[text], bounds[text + 1]
        i, awaited, words, marker = low, 0, 0, np.int64(-1)
        while i < high:
            what, gap, written = role[i], space[i], case[i]
            starts = i == low or gap >= LINE_BREAK
            if starts:
                words, marker = 0, -1
            elif awaited == _ANYWHERE:
                starts = what != _CLOSER and not (gap == NO_SPACE and _DOT <= what <= _CJK_END)
            elif awaited and gap != NO_SPACE:
                starts = (
                    awaited == _AFTER_SPACE
                    or (awaited == _CAPITAL and written >= CAPITALISED)
                    or (awaited == _NO_NUMBER and what != _NUMBER)
                    or (awaited == _NO_SMALL and written != LOWER)
                )
            if what == _OPEN_TAG:
                starts = True
            elif i > low and (what == _CLOSE_TAG or role[i - 1] == _OPEN_TAG):
                starts = False
            if starts:
                first[m] = i - low
                m += 1
                awaited = 0
            if span < len(spans) and spans[span, 0] == i:
                i = spans[span, 1]
                span += 1
                # "$x = 5.$ Then": the full stop stands inside.
                inside = role[i - 2] == _DOT or (i - 3 >= low and role[i - 3] == _DOT and role[i - 2] == 0)
                awaited, words, marker = (_CAPITAL if inside else 0), 9, -1
                continue
            if what == _CLOSER and gap == NO_SPACE and awaited:
                if awaited == _AFTER_SPACE:
                    awaited = _NO_SMALL
                i += 1
                continue
            awaited = _after(role, space, low, i, marker)
            if what == _NUMBER or (what >= _LETTER and what <= _I):
                before = role[i - 1] if i > low else 0
                named = what == _NUMBER and words == 1 and before == _WORD
                marker = i if words == 0 or named else -1
            if (what >= _WORD and what <= _NUMBER) or what >= _TITLE:
                words += 1
            i += 1
        ends[text + 1] = m
    return first[:m].copy(), ends


@njit(cache=True, nogil=True)
def _after(role, space, low, i, marker):  # pragma: no cover
    """What unit i awaits: 0 unless it may end a sentence."""
    what = role[i]
    before = role[i - 1] if i > low and space[i] == NO_SPACE else 0
    if what == _DOT:
        if before != 0 and marker == i - 1:
            return 0
        if _LETTER <= before <= _I and i - 2 >= low and role[i - 2] == _DOT and space[i - 1] == NO_SPACE:
            two = role[i - 3] if i - 3 >= low else 0
            return 0 if (before == _G and two == _E) or (before == _E and two == _I) else _CAPITAL
        if before == _TITLE:
            return 0
        if before == _ENTRY:
            return _NO_NUMBER
        return _CAPITAL if before == _OPEN_END else _AFTER_SPACE
    if what == _BANG:
        return _CAPITAL if before in (_NUMBER, _CLOSER) or _LETTER <= before <= _I else _AFTER_SPACE
    if what == _END:
        return _AFTER_SPACE
    if what == _DOTS:
        return _CAPITAL
    return _ANYWHERE if what in (_CJK_END, _CLOSE_TAG) else 0
