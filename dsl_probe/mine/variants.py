"""Motifs that differ by noise or by a slot become one: seeds grow to a consensus, and its uses are found by alignment.

A repeated sequence is a read of a motif, as in the assembly of genomes. From the positions of a seed the columns to its
left and right are looked at: where one unit stands in at least half of the places, the consensus goes on; where a unit
comes after one to three others of any kind, there is a wildcard `*` before it. Then every use of the consensus is found
by aligning it, from pairs of neighbouring units that are intact, and the elements that most uses do not have are taken
away again, until nothing changes.

Whether an aligned stretch is a use is decided by description length (Rissanen 1978): the bits that its units cost one
by one, less those of naming the motif and of each edit. Not shown: that the author of the text meant one thing by them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from dsl_probe.mine.repeats import Repeats, ngram_table
from dsl_probe.mine.suffixes import Index

WILD = -1
GAP = 3  # a wildcard stands for one to so many units
SHARE = 0.5  # of the uses that must agree on an element
DRIFT = 2  # units by which a use may be longer or shorter than the pattern
PAIRS = 4  # neighbouring units from which uses are found: a use with fewer edits than that has one intact
REPEATED = 2  # times that a unit may come again in what is added on one side
EDIT = 6.0  # bits that an edit costs beside its unit: where it is and of which kind
_LOOK = 4_000  # uses looked at when a consensus grows
_ROUNDS = 4
_MORE = 1.05  # a wildcard must save so many times the bits


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


def grow(text: Text, seed: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, Uses]:
    """Consensus of a seed and its uses. seed: unit ids; at: positions of its free occurrences in own documents."""
    pattern, width = np.asarray(seed, np.int32), len(seed)
    start = at.astype(np.int32)
    true = np.ones(len(at), bool)
    uses = Uses(start, start + np.int32(width), np.zeros(len(at)), true, np.ones((len(at), width), bool))
    name, seen = text.name(len(at)), set()
    for _ in range(_ROUNDS):
        left, right = _extended(text, uses)
        longer = np.concatenate([left, pattern, right])
        if longer.tobytes() in seen:
            break
        pattern = longer
        seen.add(pattern.tobytes())
        uses = match(text, pattern, name)
        trimmed = _trimmed(pattern, uses.share)
        if len(trimmed) == 0:
            return trimmed, uses
        if not np.array_equal(trimmed, pattern):
            pattern = trimmed
            seen.add(pattern.tobytes())
            uses = match(text, pattern, name)
        if not uses.free.any():
            break
    return pattern, uses


def generalised(text: Text, pattern: np.ndarray, uses: Uses) -> tuple[np.ndarray, Uses]:
    """The same shorter at an end, or with an inner element made a wildcard, where that saves bits.

    What a seed held there was one of several units that stand in that place.
    """
    best, name = text.saved(pattern, uses), text.name(int(text.own_uses(uses).sum()))
    for wider in _wider(pattern):
        found = match(text, wider, name)
        if text.saved(wider, found) > _MORE * best:
            return generalised(text, wider, found)
    return pattern, uses


def _wider(pattern: np.ndarray) -> Iterator[np.ndarray]:
    for shorter in (pattern[1:], pattern[:-1]):
        if np.count_nonzero(shorter != WILD) >= 2 and WILD not in shorter[[0, -1]]:
            yield shorter
    for j in range(1, len(pattern) - 1):
        if WILD not in pattern[j - 1 : j + 2]:
            wider = pattern.copy()
            wider[j] = WILD
            if _allowed(wider):
                yield wider


def _allowed(pattern: np.ndarray) -> bool:
    """At least two units stand to each wildcard: else it is a frame around anything."""
    return bool(2 * np.count_nonzero(pattern == WILD) <= np.count_nonzero(pattern != WILD))


def _trimmed(pattern: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Without the outer elements that too few uses have; inner ones become wildcards, and of two in a row one."""
    good = np.flatnonzero((share >= SHARE) & (pattern != WILD))
    if len(good) == 0:
        return pattern[:0]
    inner = slice(good[0], good[-1] + 1)
    cut = np.where(share[inner] < SHARE, WILD, pattern[inner]).astype(np.int32)
    keep = np.ones(len(cut), bool)
    keep[1:] = (cut[1:] != WILD) | (cut[:-1] != WILD)
    cut = cut[keep]
    while not _allowed(cut):
        # Wildcards that came with the growth are given up from the end that is nearer to one.
        wild = np.flatnonzero(cut == WILD)
        cut = cut[wild[0] + 1 :] if wild[0] < len(cut) - 1 - wild[-1] else cut[: wild[-1]]
    return cut


def _extended(text: Text, uses: Uses) -> tuple[np.ndarray, np.ndarray]:
    """What stands to the left and to the right of most free uses in own documents."""
    index, mine = text.index, np.flatnonzero(text.own_uses(uses))
    mine = mine[:: -(-len(mine) // _LOOK) or 1]
    start, stop = uses.start[mine], uses.stop[mine]
    low, high = (index.doc_starts[index.doc_of[start] + k] for k in (0, 1))
    args = (index.symbols, low, high, text.barrier, np.zeros(len(text.bits), np.int32), 2.0**-text.bits)
    return _extend(start - np.int32(1), -1, *args)[::-1], _extend(stop, 1, *args)


@numba.njit(cache=True, nogil=True)
def _extend(cursor, step, symbols, low, high, barrier, count, chance):
    """Elements that follow the cursors in the direction of step, nearest first."""
    n = len(cursor)
    cursor = cursor.copy()
    missed = np.zeros(n, np.bool_)
    out = np.empty(128, np.int32)
    m = 0
    while m < 126:
        best, top = -1, 0
        for i in range(n):
            if low[i] <= cursor[i] < high[i] and not barrier[cursor[i]]:
                s = symbols[cursor[i]]
                count[s] += 1
                if count[s] > top or (count[s] == top and s < best):
                    best, top = s, count[s]
        for i in range(n):
            if low[i] <= cursor[i] < high[i]:
                count[symbols[cursor[i]]] = 0
        if top >= 2 and top >= _needed(n, chance[max(best, 0)]):
            # A run of the same few units has no end of its own: "down down down" would grow without limit.
            known = 0
            for e in range(m):
                known += out[e] == best
            if known >= REPEATED:
                break
            out[m] = best
            m += 1
            for i in range(n):
                c = cursor[i]
                inside = low[i] <= c < high[i] and not barrier[c]
                if inside and symbols[c] == best:
                    cursor[i], missed[i] = c + step, False
                elif missed[i] and low[i] <= c - step < high[i] and symbols[c - step] == best:
                    missed[i] = False  # the element before was left out, not replaced
                elif low[i] <= c + step < high[i] and symbols[c + step] == best:
                    cursor[i], missed[i] = c + 2 * step, False
                else:
                    cursor[i], missed[i] = c + step, True
            continue
        # A slot: the same unit after one to GAP others.
        best, top = -1, 0
        for i in range(n):
            for g in range(1, GAP + 1):
                c = cursor[i] + g * step
                if low[i] <= c < high[i] and not barrier[c]:
                    s = symbols[c]
                    new = True
                    for h in range(1, g):
                        new &= symbols[cursor[i] + h * step] != s
                    if new:
                        count[s] += 1
                        if count[s] > top or (count[s] == top and s < best):
                            best, top = s, count[s]
        for i in range(n):
            for g in range(1, GAP + 1):
                c = cursor[i] + g * step
                if low[i] <= c < high[i]:
                    count[symbols[c]] = 0
        known = 0
        for e in range(m):
            known += out[e] == best
        if top < 2 or top < _needed(n, 1 - (1 - chance[best]) ** GAP) or known >= REPEATED:
            break
        out[m], out[m + 1] = WILD, best
        m += 2
        for i in range(n):
            hit = 0
            for g in range(1, GAP + 1):
                c = cursor[i] + g * step
                if hit == 0 and low[i] <= c < high[i] and symbols[c] == best:
                    hit = g
            missed[i] = hit == 0
            cursor[i] += (hit + 1 if hit else 2) * step
    return out[:m].copy()


@numba.njit(inline="always")
def _needed(n, chance):
    """Of n places, in how many a unit must stand: in half of those where it does not stand by chance."""
    return n * (chance + SHARE * (1 - chance))


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
    if len(pairs) == 0 and len(at):
        rarest = np.argmin(anchored.count[at])
        at, elements = at[rarest : rarest + 1], elements[rarest : rarest + 1]
    rare = np.argsort(anchored.count[at], kind="stable")[:PAIRS]
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
    gain = np.empty(k)
    have = np.zeros((k, m), np.bool_)
    for i in range(k):
        p, j = where[i], element[i]
        low, high = doc_starts[doc_of[p]], doc_starts[doc_of[p] + 1]
        total = cost[j]
        reach = total + _reach(symbols, p + 1, high, 1, pattern, cost, j + 1, m - j - 1)
        if barrier[p] or reach + _reach(symbols, p - 1, low, -1, pattern, cost, j - 1, j) <= name:
            start[i], stop[i], gain[i] = p, p, -1.0
            continue
        have[i, j] = True
        g, units = _one_way(
            symbols, p + 1, high, 1, pattern, cost, j + 1, m - j - 1, barrier, edit, score, back, have[i]
        )
        total += g
        stop[i] = p + 1 + units
        g, units = _one_way(symbols, p - 1, low, -1, pattern, cost, j - 1, j, barrier, edit, score, back, have[i])
        total += g
        start[i] = p - units
        gain[i] = total
    return start, stop, gain, have


@numba.njit(cache=True, nogil=True)
def _reach(symbols, at, end, step, pattern, cost, first, m):
    """No alignment in this direction saves more: the elements whose unit stands about where it should."""
    total, low, high = 0.0, 0, DRIFT
    for j in range(1, m + 1):
        s = pattern[first + (j - 1) * step]
        if s == WILD:
            high += GAP
            continue
        high += 1
        low = max(j - DRIFT, 1)
        for t in range(low, high + 1):
            c = at + (t - 1) * step
            if (step > 0 and c >= end) or (step < 0 and c < end):
                break
            if symbols[c] == s:
                total += cost[first + (j - 1) * step]
                break
    return total


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


def monotonous(pattern: np.ndarray) -> bool:
    """Whether few units come again and again: one alone, or of six or more fewer than half different.

    >>> monotonous(np.array([1, 1])), monotonous(np.array([1, 2, 1, 2, 1, 2])), monotonous(np.array([1, 2, 3, 1, 2, 3]))
    (True, True, False)
    """
    kinds = len(np.unique(pattern[pattern != WILD]))
    return kinds == 1 or (len(pattern) >= 6 and 2 * kinds < len(pattern))
