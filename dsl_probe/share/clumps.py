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
    pair, times = _overlaps(motif[place], trace[place], start[place], stop[place], n)
    total = np.bincount(motif, minlength=n)
    under: dict[int, list[tuple[int, float]]] = {}
    for x, y, k in zip((pair // n).tolist(), (pair % n).tolist(), times.tolist(), strict=True):
        if k >= _OVERLAP * total[x]:
            under.setdefault(x, []).append((y, k))
    rank = np.empty(n, np.int64)
    rank[np.lexsort((-np.asarray(length), -np.abs(z).round(9)))] = np.arange(n)
    head = np.full(n, -1, np.int64)
    for x in np.argsort(rank).tolist():
        for y in sorted((y for y, _ in under.get(x, ())), key=rank.__getitem__):
            if rank[y] < rank[x] and head[y] == -1 and z[x] * z[y] > 0 and abs(far[y]) >= abs(near[x]):
                head[x] = y
                break
    return head


@numba.njit(cache=True)
def _overlaps(motif, trace, start, stop, n):
    """Pairs x * n + y, x and y different, and in how many occurrences of x one of y touches it; spans by trace, start.

    One motif's occurrences do not overlap, so that the touches of one pair come in the order of its occurrences.
    """
    number = {-1: -1}
    pairs, times, last = [0], [0], [0]
    for i in range(len(motif)):
        j = i + 1
        while j < len(motif) and trace[j] == trace[i] and start[j] < stop[i]:
            if motif[i] != motif[j]:
                for x, y, at in ((motif[i], motif[j], i), (motif[j], motif[i], j)):
                    key = x * n + y
                    if key not in number:
                        number[key] = len(pairs)
                        pairs.append(key)
                        times.append(1)
                        last.append(at)
                    elif last[number[key]] != at:
                        times[number[key]] += 1
                        last[number[key]] = at
            j += 1
    return np.array(pairs[1:], np.int64), np.array(times[1:], np.int64)
