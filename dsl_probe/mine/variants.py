"""Motifs that differ by noise or by a slot become one: seeds grow to a consensus.

A repeated sequence is a read of a motif, as in the assembly of genomes. From the positions of a seed the columns to its
left and right are looked at: where one unit stands in at least half of the places, the consensus goes on; where a unit
comes after one to three others of any kind, there is a wildcard `*` before it. Then every use of the consensus is found
by aligning it (align.py), and the elements that most uses do not have are taken away again, until nothing changes.
"""

from collections.abc import Iterator

import numba
import numpy as np

from dsl_probe.mine.align import GAP, WILD, Text, Uses, match

SHARE = 0.5  # of the uses that must agree on an element
REPEATED = 2  # times that a unit may come again in what is added on one side
_LOOK = 4_000  # uses looked at when a consensus grows
_ROUNDS = 4
_MORE = 1.05  # a wildcard must save so many times the bits


def grow(text: Text, seed: np.ndarray, at: np.ndarray, met: set[bytes]) -> tuple[np.ndarray, Uses]:
    """Consensus of a seed and its uses. seed: unit ids; at: positions of its free occurrences in own documents.

    met: what other seeds grew through, added to. A seed that comes to one of these, or to a monotonous sequence, ends
    there, and its pattern is empty: the one leads where the other seed led, the other nearly always to no motif.
    """
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
        if pattern.tobytes() in met or monotonous(pattern):
            return pattern[:0], uses
        seen.add(pattern.tobytes())
        uses = match(text, pattern, name)
        trimmed = _trimmed(pattern, uses.share)
        if len(trimmed) == 0:
            return trimmed, uses
        if not np.array_equal(trimmed, pattern):
            pattern = trimmed
            if pattern.tobytes() in met or monotonous(pattern):
                return pattern[:0], uses
            seen.add(pattern.tobytes())
            uses = match(text, pattern, name)
        if not uses.free.any():
            break
    met |= seen
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
    args = (index.symbols, low, high, text.barrier, np.zeros(len(text.bits), np.int32), text.chance)
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
            if np.count_nonzero(out[:m] == best) >= REPEATED:
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
        known = np.count_nonzero(out[:m] == best)
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


def monotonous(pattern: np.ndarray) -> bool:
    """Whether few units come again and again: one alone, or of six or more fewer than half different.

    >>> monotonous(np.array([1, 1])), monotonous(np.array([1, 2, 1, 2, 1, 2])), monotonous(np.array([1, 2, 3, 1, 2, 3]))
    (True, True, False)
    """
    kinds = len(np.unique(pattern[pattern != WILD]))
    return kinds == 1 or (len(pattern) >= 6 and 2 * kinds < len(pattern))
