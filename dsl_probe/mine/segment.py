"""Traces -> units: words, numbers, LaTeX commands, runs of one punctuation mark, single CJK characters.

Units work across tokenizers and for text-only traces. What a unit is typed as (a number, a block of data, a format tag)
belongs to its vocabulary entry, so that a slot costs one look-up an entry and not one a unit.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
# Combining marks are not \w for Python; without them Indic, Arabic and decomposed Latin words would fall apart.
_MARKS = r"\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd\u0e31-\u0e4e"
_LETTER = rf"[^\W\d_{_CJK}]"
# What may stand in a square of a board. Letters only as X and O: "a b c d" is no board; and "2 * 3 * 4" is none.
_SQUARE = r"(?:\d+|[.#_@?XO]|(?<!\d )\*(?! ?\d))"
# Between the numbers of a block; not before the marker of the next list item ("5, 8\n2. Then"). Possessive, so linear.
_BETWEEN = r"[\s,;|]++(?!(?:(?<=\n)|(?<=\n )|(?<=\n  )|(?<=\n   ))\d{1,3}[.)]\s)"
# The kinds in the order in which they are tried. Together they match any text without a gap, so that the lengths of the
# matches are the offsets, and the pattern needs no group: findall then runs at C speed.
_KINDS = {
    "space": r"\s+",
    "format": r"</?(?:think|answer|reasoning|solution|scratchpad)>|<\|[^|<>\s]{1,40}\|>|\\boxed(?![A-Za-z])",
    "data": rf"\d+(?:{_BETWEEN}\d+){{3,}}|(?<![^\s|]){_SQUARE}(?:[ |\n]{{1,3}}{_SQUARE}){{4,}}(?![^\s|])",
    "number": r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?",
    "latex": r"\\[A-Za-z]+",
    "word": rf"{_LETTER}[{_MARKS}]*(?:['’]?{_LETTER}[{_MARKS}]*)*",
    "cjk": rf"[{_CJK}]",
    "punct": r"[^\w\s]|_",
    "other": r".",
}
# Most pieces are plain words, with a space before: one piece, and a pattern that is quick to try.
_PLAIN = rf" ?[A-Z]?[a-z]+(?![\w'’{_MARKS}])"
_UNIT = re.compile("|".join([_PLAIN, *_KINDS.values()]), re.DOTALL)
_KIND = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _KINDS.items()}
_RUN_LIMIT = 64
# White space before a unit, and how a unit is written.
NO_SPACE, SPACE, LINE_BREAK, BLANK_LINE = range(4)
CASELESS, LOWER, CAPITALISED, CAPITALS = range(4)


@dataclass(frozen=True)
class Segmented:
    """Units of some texts, one after another. Offsets are in characters of the text they come from.

    texts, kinds: the vocabulary, by id. ids, starts, stops: int32[n_units]. bounds: int64[n_texts + 1].
    space: uint8[n_units], the white space before the unit (NO_SPACE .. BLANK_LINE). case: uint8[n_units], how it is
    written in the text (CASELESS .. CAPITALS), which the vocabulary has lost where case is folded.
    """

    texts: list[str]
    kinds: list[str]
    ids: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    bounds: np.ndarray
    space: np.ndarray
    case: np.ndarray


def segment(texts: Sequence[str], keep_case: bool = False) -> Segmented:
    """Split texts into units.

    kinds: word, number, data (four or more numbers with nothing but space and separators between, or five or more
    squares of a board), latex, cjk, punct (a run of one mark), format (`<think>`, `\\boxed`, special tokens). A data
    block's vocabulary entry is the hash of its numbers, or of its squares, so that equal blocks are equal units. White
    space is no unit.

    >>> s = segment(["Wait, 1 2 3 4: the 12.5 == x"])
    >>> [s.texts[i] for i in s.ids]
    ['wait', ',', '<DATA:3ed55896f60d>', ':', 'the', '12.5', '==', 'x']
    """
    found = _Found(keep_case)
    pieces = [np.zeros(0, np.int32)]
    for text in texts:
        split = _UNIT.findall(text)
        pieces.append(np.fromiter(map(found.__getitem__, split), np.int32, len(split)))
        del split
    ends = np.cumsum([len(p) for p in pieces])
    return found.finish(np.concatenate(pieces), ends)


class _Found(dict):
    """Piece of text -> its code; only a piece not seen before runs Python. Pieces that differ in case share a unit."""

    def __init__(self, keep_case: bool):
        super().__init__()
        self.keep_case = keep_case
        self.index: dict[str, int] = {}
        self.kinds: list[str] = []
        # By code of the piece: unit (-1: white space), length, kind of white space, case, if it begins with a space.
        self.about: list[tuple[int, int, int, int, int]] = []

    def __missing__(self, whole: str) -> int:
        lead = int(whole[0] == " " and not whole.isspace())
        piece = whole[lead:]
        kind = next(k for k, pattern in _KIND.items() if pattern.fullmatch(piece))
        if kind == "space":
            breaks = piece.count("\n") or len(f"{piece}.".splitlines()) - 1
            unit, space = -1, SPACE + min(breaks, 2)
        else:
            unit, space = self.add(self._entry(piece, kind), "punct" if kind == "other" else kind), NO_SPACE
        self[whole] = code = len(self.about)
        self.about.append((unit, len(whole), space, _case(piece) if kind == "word" else CASELESS, lead))
        return code

    def _entry(self, piece: str, kind: str) -> str:
        if kind == "data":
            return f"<DATA:{digest(' '.join(re.findall(_SQUARE, piece)))}>"
        return piece if self.keep_case or kind in ("punct", "other") else piece.lower()

    def add(self, unit: str, kind: str) -> int:
        code = self.index.setdefault(unit, len(self.kinds))
        if code == len(self.kinds):
            self.kinds.append(kind)
        return code

    def finish(self, pieces: np.ndarray, ends: np.ndarray) -> Segmented:
        """Drop white space, and make one unit of a run of one mark."""
        unit, length, space, case, lead = np.array(self.about, np.int32).reshape(-1, 5).T
        stops = np.cumsum(length[pieces], dtype=np.int64)
        # Offsets restart with each text.
        before_text = np.concatenate([[0], stops])[ends[:-1]]
        ids = unit[pieces]
        mark = np.append(np.array([k == "punct" for k in self.kinds], bool), False)  # ids of -1 read the last
        first = np.ones(len(ids), bool)
        if len(ids):
            first[1:] = (ids[1:] != ids[:-1]) | ~mark[ids[1:]]
        first[ends[:-1][ends[:-1] < len(ids)]] = True
        head = np.flatnonzero(first)
        run = np.diff(np.append(head, len(ids)))
        text_of = np.searchsorted(ends, head, side="right") - 1
        shown = length - lead
        starts = (stops[head] - shown[pieces[head]] - before_text[text_of]).astype(np.int32)
        stops = (stops[head + run - 1] - before_text[text_of]).astype(np.int32)
        gap = space[pieces[head]].astype(np.uint8)
        gap[1:] = np.where(text_of[1:] == text_of[:-1], gap[:-1], NO_SPACE)
        if len(gap):
            gap[0] = NO_SPACE
        gap = np.maximum(gap, lead[pieces[head]].astype(np.uint8) * np.uint8(SPACE))
        written = case[pieces[head]].astype(np.uint8)
        ids = self._join_runs(ids[head].copy(), run)
        keep = ids >= 0
        bounds = np.concatenate([[0], np.cumsum(keep)])[np.searchsorted(head, ends)].astype(np.int64)
        columns = (c[keep] for c in (ids, starts, stops))
        return Segmented(list(self.index), self.kinds, *columns, bounds, gap[keep], written[keep])

    def _join_runs(self, ids: np.ndarray, run: np.ndarray) -> np.ndarray:
        several = np.flatnonzero(run > 1)
        key = ids[several].astype(np.int64) * (_RUN_LIMIT + 1) + np.minimum(run[several], _RUN_LIMIT)
        kinds_of_run, which = np.unique(key, return_inverse=True)
        texts = list(self.index)
        made = [self.add(texts[k // (_RUN_LIMIT + 1)] * (k % (_RUN_LIMIT + 1)), "punct") for k in kinds_of_run.tolist()]
        ids[several] = np.array(made, np.int32)[which]
        return ids


def _case(word: str) -> int:
    if word.islower():
        return LOWER
    if not word[0].isupper():
        return LOWER if word[0].islower() else CASELESS
    return CAPITALS if len(word) > 1 and word.isupper() else CAPITALISED


def digest(text: str) -> str:
    """Short hash for a vocabulary entry: BLAKE2b-48 in hexadecimal; lone surrogates do not break it."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def kind_of(text: str) -> str:
    """The kind of a piece of text as a whole; "other" where it is more than one unit.

    >>> kind_of("12.5"), kind_of("Wait"), kind_of("Wait, what")
    ('number', 'word', 'other')
    """
    return next((k for k, pattern in _KIND.items() if pattern.fullmatch(text)), "other")


def is_format(text: str) -> bool:
    """Whether a unit is a format tag, which the format reward trains: `<think>`, `\\boxed`, a special token.

    >>> is_format("<think>"), is_format("think")
    (True, False)
    """
    return _KIND["format"].fullmatch(text) is not None


def split(units: Segmented, n: int) -> tuple[Segmented, Segmented]:
    """The first n texts and the rest, with one vocabulary."""
    return select(units, 0, n), select(units, n, len(units.bounds) - 1)


def select(units: Segmented, first: int, last: int) -> Segmented:
    """Texts first..last - 1 alone, with the vocabulary of all."""
    low, high = units.bounds[first], units.bounds[last]
    columns = {name: getattr(units, name)[low:high] for name in ("ids", "starts", "stops", "space", "case")}
    return replace(units, bounds=units.bounds[first : last + 1] - low, **columns)
