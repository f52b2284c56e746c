"""All uses of a pattern, by alignment: with units substituted, put in or left out, and wildcards of one to three units.

Candidates are the places where a pair of neighbouring elements stands intact. From there the rest of the pattern is
aligned in both directions by dynamic programming in a band (Needleman and Wunsch 1970), in bits: an element that is
there saves what its unit costs alone, each edit costs `EDIT`. A stretch is a use if it saves more than the name of the
motif costs (description length, Rissanen 1978). Not shown: that the author of the text meant one thing by them.
"""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from dsl_probe.mine.repeats import Repeats, ngram_table
from dsl_probe.mine.suffixes import Index

WILD = -1
GAP = 3  # a wildcard stands for one to so many units
DRIFT = 2  # units by which a use may be longer or shorter than the pattern
PAIRS = 4  # neighbouring units from which uses are found: a use with fewer edits than that has one intact
EDIT = 6.0  # bits that an edit costs beside its unit: where it is and of which kind
_ROUNDING = 1e-6  # bounds are summed in another order than what they bound


@dataclass(frozen=True)
class Anchors:
    """Where each frequent pair of neighbouring units, and each frequent unit, stands in the suffix array.

    key int64[k], sorted: unit * n_symbols + next unit, and for single units -1 - unit; first, count int32[k].
    """

    key: np.ndarray
    first: np.ndarray
    count: np.ndarray
    n_symbols: int
    scratch: np.ndarray


def anchors(index: Index, found: Repeats) -> Anchors:
    """The postings of the units and pairs among the repeats."""
    n = int(index.symbols.max(initial=0)) + 1
    row, length = ngram_table(found, 1, 2)
    at = index.sa[found.first[row]]
    one = index.symbols[at].astype(np.int64)
    two = index.symbols[np.minimum(at + 1, len(index.symbols) - 1)]
    key = np.where(length == 2, one * n + two, -1 - one)
    order = np.argsort(key)
    return Anchors(key[order], found.first[row][order], found.count[row][order], n, np.zeros(len(index.symbols), bool))


@dataclass(frozen=True)
class Uses:
    """Uses of one pattern, by position: start, stop int32[k] positions; saved float32[k]: bits that it saves there, but
    for those of naming the motif; free bool[k]: none of its units is taken by another motif, nor by a better use.

    have bool[k, len(pattern)]: which elements it has.
    """

    start: np.ndarray
    stop: np.ndarray
    saved: np.ndarray
    free: np.ndarray
    have: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """float64[len(pattern)]: share of the free uses that have each element."""
        return self.have[self.free].mean(0) if self.free.any() else np.zeros(self.have.shape[1])


@dataclass(frozen=True)
class Text:
    """What is mined: index and postings; bits float64[n_symbols], what a unit costs alone; barrier bool[n]: units that
    no use may hold; taken bool[n]: units that motifs found so far explain. own bool[n_docs]: documents whose language
    is looked for; the others are the reference.
    """

    index: Index
    anchored: Anchors
    bits: np.ndarray
    barrier: np.ndarray
    taken: np.ndarray
    own: np.ndarray

    @cached_property
    def chance(self) -> np.ndarray:
        """float64[n_symbols]: share of the units that are this one."""
        return 2.0**-self.bits

    def own_uses(self, uses: Uses) -> np.ndarray:
        """bool[k]: free uses in own documents."""
        return uses.free & self.own[self.index.doc_of[uses.start]]

    def name(self, count: int) -> float:
        """Bits of naming a motif that is used `count` times."""
        return float(np.log2(len(self.index.symbols) / max(count, 1)))

    def saved(self, pattern: np.ndarray, uses: Uses) -> float:
        """Bits that a pattern saves in own documents, less what it costs to write it down."""
        mine = self.own_uses(uses)
        cost = self.bits[pattern[pattern != WILD]].sum() + np.log2(len(self.bits)) * np.count_nonzero(pattern == WILD)
        return float(uses.saved[mine].sum() - self.name(int(mine.sum())) * mine.sum() - cost)


def text_of(index: Index, found: Repeats, barrier: np.ndarray, own: np.ndarray) -> Text:
    """The text of an index, of which nothing is taken yet but what is barred."""
    bits = np.log2(len(index.symbols) / np.maximum(np.bincount(index.symbols), 1))
    return Text(index, anchors(index, found), bits, barrier, barrier.copy(), own)


def match(text: Text, pattern: np.ndarray, name: float) -> Uses:
    """All uses of a pattern that save more bits than its name costs; of those that overlap the better one is free.

    Found from intact pairs of neighbouring elements; where the pattern has none, from its rarest unit.
    """
    index, anchored = text.index, text.anchored
    where, element = _candidates(index, anchored, pattern)
    cost = np.where(pattern >= 0, text.bits[pattern], 0.0)
    about = (index.symbols, index.doc_starts, index.doc_of, pattern, cost, where, element, text.barrier, EDIT, name)
    start, stop, saved, have = _align(*about)
    good = np.flatnonzero(saved > name)
    good = good[np.lexsort((start[good], -saved[good]))]
    good = good[_apart(start[good], stop[good], anchored.scratch, text.barrier)]
    free = _apart(start[good], stop[good], anchored.scratch, text.taken)
    order = np.argsort(start[good], kind="stable")
    chosen = good[order]
    return Uses(start[chosen], stop[chosen], saved[chosen].astype(np.float32), free[order], have[chosen])


def _candidates(index: Index, anchored: Anchors, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions where an element (or a pair of which it is the first) stands: (position, element)."""
    a, b = pattern[:-1].astype(np.int64), pattern[1:].astype(np.int64)
    pairs = np.flatnonzero((a != WILD) & (b != WILD))
    keys = a[pairs] * anchored.n_symbols + b[pairs]
    elements = pairs
    if len(pairs) == 0:
        concrete = np.flatnonzero(pattern != WILD)
        keys, elements = -1 - pattern[concrete].astype(np.int64), concrete
    at = np.minimum(np.searchsorted(anchored.key, keys), len(anchored.key) - 1)
    known = anchored.key[at] == keys
    at, elements = at[known], elements[known]
    rare = np.argsort(anchored.count[at], kind="stable")[: PAIRS if len(pairs) else 1]
    at, elements = at[rare], elements[rare]
    parts = [index.sa[anchored.first[i] : anchored.first[i] + anchored.count[i]] for i in at]
    if not parts:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    return np.concatenate(parts), np.repeat(elements, [len(p) for p in parts])


@numba.njit(cache=True, nogil=True)
def _apart(start, stop, scratch, taken):
    """Which of the stretches, the better first, overlap no better one and nothing taken. scratch: all False."""
    kept = np.zeros(len(start), np.bool_)
    for i in range(len(start)):
        kept[i] = not (scratch[start[i] : stop[i]].any() or taken[start[i] : stop[i]].any())
        if kept[i]:
            scratch[start[i] : stop[i]] = True
    for i in range(len(start)):
        scratch[start[i] : stop[i]] = False
    return kept


@numba.njit(cache=True, nogil=True)
def _align(symbols, doc_starts, doc_of, pattern, cost, where, element, barrier, edit, name):
    """Each candidate's best alignment: start, stop, bits saved (-1: not more than name), which elements it has."""
    m, k = len(pattern), len(where)
    wild = 0
    for s in pattern:
        wild += s == WILD
    width = m + DRIFT + (GAP - 1) * wild
    score = np.empty((m + 1, width + 1))
    back = np.empty((m + 1, width + 1), np.int8)
    start, stop = np.empty(k, np.int32), np.empty(k, np.int32)
    gain = np.full(k, -1.0)
    have = np.zeros((k, m), np.bool_)
    ahead = np.zeros(m + 1)
    for j in range(m):
        ahead[j + 1] = ahead[j] + cost[j]
    for i in range(k):
        p, j = where[i], element[i]
        start[i] = stop[i] = p
        if barrier[p]:
            continue
        low, high = doc_starts[doc_of[p]], doc_starts[doc_of[p] + 1]
        before, after = ahead[j], ahead[m] - ahead[j + 1]
        least = name - cost[j] - _ROUNDING
        after = _reach(symbols, p + 1, high, 1, pattern, cost, j + 1, m - j - 1, edit, after, least - before)
        if after <= least - before:
            continue
        before = _reach(symbols, p - 1, low, -1, pattern, cost, j - 1, j, edit, before, least - after)
        if before <= least - after:
            continue
        have[i, j] = True
        g, units = _one_way(
            symbols, p + 1, high, 1, pattern, cost, j + 1, m - j - 1, barrier, edit, score, back, have[i]
        )
        if g <= least - before:
            continue
        total = cost[j] + g
        stop[i] = p + 1 + units
        g, units = _one_way(symbols, p - 1, low, -1, pattern, cost, j - 1, j, barrier, edit, score, back, have[i])
        total += g
        start[i] = p - units
        gain[i] = total
    return start, stop, gain, have


@numba.njit(cache=True, nogil=True)
def _reach(symbols, at, end, step, pattern, cost, first, m, edit, most, least):
    """No alignment in this direction saves more; looked at no further once it is `least` or less.

    most: bits if every element is there. One whose unit does not stand about where it should costs an edit.
    """
    low, high = 0, DRIFT
    for j in range(1, m + 1):
        s = pattern[first + (j - 1) * step]
        if s == WILD:
            high += GAP
            continue
        high += 1
        low = max(j - DRIFT, 1)
        absent = True
        for t in range(low, high + 1):
            c = at + (t - 1) * step
            if (step > 0 and c >= end) or (step < 0 and c < end):
                break
            if symbols[c] == s:
                absent = False
                break
        if absent:
            most -= cost[first + (j - 1) * step] + edit
            if most <= least:
                break
    return most


@numba.njit(cache=True, nogil=True)
def _one_way(symbols, at, end, step, pattern, cost, first, m, barrier, edit, score, back, have):
    """Align m elements from `first` in the direction of step with the units from `at` on: (bits, units used).

    Marks the elements that are there. A barred unit ends the text.
    """
    width = score.shape[1] - 1
    room = 0
    while room < width:
        c = at + room * step
        if (step > 0 and c >= end) or (step < 0 and c < end) or barrier[c]:
            break
        room += 1
    low, high = 0, min(DRIFT, room)
    for t in range(high + 1):
        score[0, t] = -edit * t
        back[0, t] = 3
    _fence(score[0], low, high, room)
    for j in range(1, m + 1):
        s = pattern[first + (j - 1) * step]
        last_low, last_high = low, high
        low = max(j - DRIFT, 0) if s != WILD else last_low
        low = min(low, room)
        high = min(last_high + (GAP if s == WILD else 1), room)
        for t in range(low, high + 1):
            best, how = score[j - 1, t] - edit, 2  # left out
            if s == WILD:
                for g in range(1, GAP + 1):
                    if t >= g and score[j - 1, t - g] > best:
                        best, how = score[j - 1, t - g], 3 + g
            elif t >= 1:
                if symbols[at + (t - 1) * step] == s:
                    now = score[j - 1, t - 1] + cost[first + (j - 1) * step]
                    if now > best:
                        best, how = now, 0
                elif score[j - 1, t - 1] - edit > best:
                    best, how = score[j - 1, t - 1] - edit, 1
                if t > low and score[j, t - 1] - edit > best:
                    best, how = score[j, t - 1] - edit, 3
            score[j, t] = best
            back[j, t] = how
        _fence(score[j], low, high, room)
    top = low
    for t in range(low, high + 1):
        if score[m, t] > score[m, top]:
            top = t
    j, t = m, top
    while j > 0 or t > 0:
        how = back[j, t] if j > 0 else 3
        if how == 0:
            have[first + (j - 1) * step] = True
            j, t = j - 1, t - 1
        elif how == 1:
            j, t = j - 1, t - 1
        elif how == 2:
            j -= 1
        elif how == 3:
            t -= 1
        else:
            have[first + (j - 1) * step] = True
            j, t = j - 1, t - (how - 3)
    return score[m, top], top


@numba.njit(inline="always")
def _fence(row, low, high, room):
    """No path leads from beyond the band of a row."""
    for t in range(max(low - GAP - 1, 0), low):
        row[t] = -1e9
    for t in range(high + 1, min(high + GAP + 1, room) + 1):
        row[t] = -1e9
