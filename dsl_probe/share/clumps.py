"""Which discoveries say the same: each weaker one that a stronger one accounts for is put under it."""

import numba
import numpy as np

_OVERLAP = 0.5


def clumps(
    motif: np.ndarray,
    trace: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    z: np.ndarray,
    length: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
) -> np.ndarray:
    """For each discovery the stronger discovery that accounts for it, -1 for one that stands by itself: int64[motifs].

    motif, trace, start, stop: occurrences [k] in units, motif numbered from 0; z, length: [motifs]; near, far: the ends
    of the interval of the effect that lie nearer to and farther from 0. By falling |z| (the longer first among equals)
    each motif goes under the first one before it that stands by itself, has the same sign, overlaps at least half of
    its occurrences and whose effect may be as large (its far end is no less than the other's near end). So "the zorp"
    goes under "zorp", while "wait ," stands by itself beside a "," that rose a little. As variants in one region of a
    genome are clumped by their strongest.

    >>> where = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([3, 5, 3, 5]), np.array([5, 7, 4, 6])
    >>> clumps(*where, np.array([5.0, 4.0]), np.array([2, 1]), np.ones(2), np.full(2, 2.0))
    array([-1,  0])

    What it does not show: that the weaker one has no use of its own.
    """
    order = np.lexsort((trace, motif))
    motif, trace, start, stop = (np.asarray(a)[order].astype(np.int64) for a in (motif, trace, start, stop))
    place = np.lexsort((start, trace))
    n = len(z)
    rank = np.empty(n, np.int64)
    rank[np.lexsort((-np.asarray(length), -np.abs(z).round(9)))] = np.arange(n)
    side = np.asarray(z) > 0
    spans = (motif[place], trace[place], start[place], stop[place])
    pair, times = _overlaps(*spans, rank, side, np.abs(near), np.abs(far))
    total = np.bincount(motif, minlength=n)
    under: dict[int, list[int]] = {}
    often = times >= _OVERLAP * total[pair // n]
    for x, y in zip((pair[often] // n).tolist(), (pair[often] % n).tolist(), strict=True):
        under.setdefault(x, []).append(y)
    head = np.full(n, -1, np.int64)
    for x in np.argsort(rank).tolist():
        stronger = [y for y in under.get(x, ()) if head[y] == -1]
        if stronger:
            head[x] = min(stronger, key=rank.__getitem__)
    return head


@numba.njit(cache=True)
def _overlaps(motif, trace, start, stop, rank, side, near, far):
    """Pairs x * n + y in which y may account for x, and in how many occurrences of x one of y touches it.

    Spans by trace and start. One motif's occurrences do not overlap, so that the touches of one pair come in the order
    of its occurrences.
    """
    n = len(rank)
    number = {-1: -1}
    pairs, times, last = [0], [0], [0]
    for i in range(len(motif)):
        j = i + 1
        while j < len(motif) and trace[j] == trace[i] and start[j] < stop[i]:
            if side[motif[i]] == side[motif[j]] and motif[i] != motif[j]:
                weaker, other = (i, j) if rank[motif[i]] > rank[motif[j]] else (j, i)
                x, y = motif[weaker], motif[other]
                if far[y] >= near[x]:
                    key = x * n + y
                    if key not in number:
                        number[key] = len(pairs)
                        pairs.append(key)
                        times.append(1)
                        last.append(weaker)
                    elif last[number[key]] != weaker:
                        times[number[key]] += 1
                        last[number[key]] = weaker
            j += 1
    return np.array(pairs[1:], np.int64), np.array(times[1:], np.int64)
