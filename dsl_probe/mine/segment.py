"""Traces -> units: words, numbers, LaTeX commands, runs of one punctuation mark, single CJK characters.

Units work across tokenizers and for text-only traces. What a unit is typed as (a number, a block of data, a format tag)
belongs to its vocabulary entry, so that a slot costs one look-up an entry and not one a unit.
"""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from dsl_probe.types import ECHO, FORMAT, PREFIX

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
# Combining marks are not \w for Python; without them Indic, Arabic and decomposed Latin words would fall apart.
_MARKS = r"\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd\u0e31-\u0e4e"
_LETTER = rf"[^\W\d_{_CJK}]"
# The kinds in the order in which they are tried. Together they match any text without a gap, so that the lengths of the
# matches are the offsets, and the pattern needs no group: findall then runs at C speed.
_KINDS = {
    "space": r"\s+",
    "format": r"</?(?:think|answer|reasoning|solution|scratchpad)>|<\|[^|<>\s]{1,40}\|>|\\boxed(?![A-Za-z])",
    "data": r"\d+(?:[\s,;|]+\d+){3,}",
    "number": r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?",
    "latex": r"\\[A-Za-z]+",
    "word": rf"{_LETTER}[{_MARKS}]*(?:['’]?{_LETTER}[{_MARKS}]*)*",
    "cjk": rf"[{_CJK}]",
    "punct": r"[^\w\s]|_",
    "other": r".",
}
_UNIT = re.compile("|".join(_KINDS.values()), re.DOTALL)
_KIND = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _KINDS.items()}
SLOTS = {"number": "<NUM>", "data": "<DATA>"}
_RUN_LIMIT = 64


@dataclass(frozen=True)
class Segmented:
    """Units of some texts, one after another. Offsets are in characters of the text they come from.

    texts, kinds: the vocabulary, by id. ids, starts, stops: int32[n_units]. bounds: int64[n_texts + 1].
    """

    texts: list[str]
    kinds: list[str]
    ids: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    bounds: np.ndarray


def segment(texts: list[str], keep_case: bool = False) -> Segmented:
    """Split texts into units.

    kinds: word, number, data (four or more numbers with nothing but space and separators between), latex, cjk, punct
    (a run of one mark), format (`<think>`, `\\boxed`, special tokens). A data block's vocabulary entry is the hash of
    its numbers, so that equal blocks are equal units. White space is no unit.

    >>> s = segment(["Wait, 1 2 3 4: the 12.5 == x"])
    >>> [s.texts[i] for i in s.ids]
    ['wait', ',', '<DATA:3ed55896f60d>', ':', 'the', '12.5', '==', 'x']
    """
    found = _Found(keep_case)
    codes: list[int] = []
    lengths: list[int] = []
    ends = []
    for text in texts:
        pieces = _UNIT.findall(text)
        codes += map(found.__getitem__, pieces)
        lengths += map(len, pieces)
        ends.append(len(codes))
    ids, stops = np.array(codes, np.int32), np.cumsum(np.array(lengths, np.int64))
    ends = np.array([0, *ends])
    # Offsets restart with each text.
    text_start = np.concatenate([[0], stops])[ends[:-1]]
    stops -= np.repeat(text_start, np.diff(ends))
    starts = stops - np.array(lengths, np.int64)
    return found.finish(ids, starts, stops, ends)


class _Found(dict):
    """Piece of text -> code of its vocabulary entry; only a piece not seen before runs Python."""

    def __init__(self, keep_case: bool):
        super().__init__()
        self.keep_case = keep_case
        self.index: dict[str, int] = {}
        self.kinds: list[str] = []

    def __missing__(self, piece: str) -> int:
        kind = next(k for k, pattern in _KIND.items() if pattern.fullmatch(piece))
        if kind == "data":
            numbers = " ".join(re.findall(r"\d+", piece))
            unit = f"<DATA:{hashlib.blake2b(numbers.encode(), digest_size=6).hexdigest()}>"
        elif kind == "space":
            unit = " "
        else:
            unit = piece if self.keep_case or kind in ("punct", "other") else piece.lower()
        self[piece] = code = self.add(unit, "punct" if kind == "other" else kind)
        return code

    def add(self, unit: str, kind: str) -> int:
        code = self.index.setdefault(unit, len(self.kinds))
        if code == len(self.kinds):
            self.kinds.append(kind)
        return code

    def finish(self, ids, starts, stops, ends) -> Segmented:
        """Drop white space, and make one unit of a run of one mark."""
        mark = np.array([k == "punct" for k in self.kinds], bool)
        first = np.ones(len(ids), bool)
        first[1:] = (ids[1:] != ids[:-1]) | ~mark[ids[1:]] if len(ids) else True
        first[ends[:-1][ends[:-1] < len(ids)]] = True
        head = np.flatnonzero(first)
        run = np.diff(np.append(head, len(ids)))
        ids = ids[head].copy()
        texts = list(self.index)
        for i in np.flatnonzero(run > 1):
            ids[i] = self.add(texts[ids[i]] * min(int(run[i]), _RUN_LIMIT), "punct")
        keep = ids != self.index.get(" ", -1)
        starts, stops = starts[head], stops[head + run - 1]
        before = np.concatenate([[0], np.cumsum(keep)])
        bounds = before[np.searchsorted(head, ends)]
        return Segmented(
            list(self.index),
            self.kinds,
            ids[keep],
            starts[keep].astype(np.int32),
            stops[keep].astype(np.int32),
            bounds.astype(np.int64),
        )


def slot_of(text: str, kind: str, slots: bool = True) -> str:
    """The form under which a vocabulary entry is mined: itself, or its typed slot.

    >>> slot_of("12.5", "number"), slot_of("wait", "word")
    ('<NUM>', 'wait')
    """
    return SLOTS.get(kind, text) if slots or kind == "data" else text


def flag_units(
    units: Segmented, prompts: Segmented, asked: np.ndarray, prefixes: list[int], echo_min: int
) -> np.ndarray:
    """Flags uint8[n_units] of each text's units: ECHO, PREFIX, FORMAT or 0.

    An echo is a span of `echo_min` or more units that stands in the trace's own prompt, or a block of data that does.
    `units` and `prompts` share one vocabulary; asked: int[n_texts], which prompt each text answers; prefixes: length
    in characters of the opening that was forced.
    Spans are compared by a 64-bit hash. What this does not show: an echo that is shorter, reworded or of another text.
    """
    is_data = np.array([k == "data" for k in units.kinds], bool)
    is_format = np.array([k == "format" for k in units.kinds], bool)
    flags = np.where(is_format[units.ids], FORMAT, 0).astype(np.uint8) if len(units.ids) else np.zeros(0, np.uint8)
    for i, forced in enumerate(prefixes):
        low, high = units.bounds[i], units.bounds[i + 1]
        mine = units.ids[low:high]
        theirs = prompts.ids[prompts.bounds[asked[i]] : prompts.bounds[asked[i] + 1]]
        if len(theirs) and len(mine):
            echo = is_data[mine] & np.isin(mine, theirs)
            if len(mine) >= echo_min <= len(theirs):
                copied = np.isin(_gram_hashes(mine, echo_min), _gram_hashes(theirs, echo_min))
                for shift in range(echo_min):
                    echo[shift : shift + len(copied)] |= copied
            flags[low:high] |= np.where(echo, ECHO, 0).astype(np.uint8)
        if forced:
            flags[low:high] |= np.where(units.stops[low:high] <= forced, PREFIX, 0).astype(np.uint8)
    return flags


def _gram_hashes(ids: np.ndarray, k: int) -> np.ndarray:
    n = len(ids) - k + 1
    total = np.zeros(n, np.uint64)
    with np.errstate(over="ignore"):
        for shift in range(k):
            total = total * np.uint64(0x9E3779B97F4A7C15) + ids[shift : shift + n].astype(np.uint64) + np.uint64(1)
            total ^= total >> np.uint64(29)
    return total


def is_format(text: str) -> bool:
    """Whether a unit is a format tag, which the format reward trains: `<think>`, `\\boxed`, a special token.

    >>> is_format("<think>"), is_format("think")
    (True, False)
    """
    return _KIND["format"].fullmatch(text) is not None


def split(units: Segmented, n: int) -> tuple[Segmented, Segmented]:
    """The first n texts and the rest, with one vocabulary."""
    cut = units.bounds[n]
    parts = ((slice(None, cut), units.bounds[: n + 1]), (slice(cut, None), units.bounds[n:] - cut))
    first, rest = (
        Segmented(units.texts, units.kinds, units.ids[s], units.starts[s], units.stops[s], bounds)
        for s, bounds in parts
    )
    return first, rest
