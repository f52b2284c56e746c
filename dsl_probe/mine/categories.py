"""Categories of units: those that can stand for each other, found from what precedes and follows them.

Units are merged two by two as long as that makes the description of the text shorter: a category is named given the one
before it, then its unit by how often it is used, and where the unit before was of the same category also whether it
comes again (a permutation never repeats itself, and is a list of one category all the same).

Source: class-based n-grams, Brown et al. (1992); the number of classes by two-part code, Rissanen (1978). Not shown:
that units of one category mean the same; red and blue are of one.
"""

import numba
import numpy as np

REST = 1  # symbols: 0 the edge of a document, 1 whatever is rare, then the units
LEAST = 20


def bigrams(documents: np.ndarray, bounds: np.ndarray, n: int) -> np.ndarray:
    """int64[n, n]: how often each symbol follows each; documents begin and end with symbol 0.

    documents int[k], symbols from 1; bounds int64[n_docs + 1].
    """
    padded = np.insert(documents, bounds, 0)
    return np.bincount(padded[:-1].astype(np.int64) * n + padded[1:], minlength=n * n).reshape(n, n)


def categories(documents: np.ndarray, bounds: np.ndarray, most: int = 300) -> np.ndarray:
    """int32[n_units]: category of each unit; 1 for rare ones, then by falling number of uses. documents: units from 0.

    Units used `LEAST` times or more, at most `most` of them, get a category; 0 is the edge of a document.

    >>> text = np.array([0, 1, 3, 0, 2, 3] * 50)
    >>> categories(text, np.arange(0, 301, 3)).tolist()
    [2, 4, 4, 3]
    """
    count = np.bincount(documents)
    often = np.argsort(-count, kind="stable")[:most]
    often = often[count[often] >= LEAST]
    symbol = np.full(len(count), REST, np.int64)
    symbol[often] = np.arange(len(often)) + 2
    n = len(often) + 2
    merged = _merge(bigrams(symbol[documents], bounds, n).astype(np.float64))
    uses = np.bincount(merged[symbol[documents]], minlength=n)
    uses[:2] = np.iinfo(np.int64).max, np.iinfo(np.int64).max - 1
    kept = np.unique(merged)
    rank = np.zeros(n, np.int32)
    rank[kept[np.argsort(-uses[kept], kind="stable")]] = np.arange(len(kept))
    return rank[merged][symbol]


@numba.njit(cache=True)
def _merge(pairs):
    """Category of each symbol: merged as long as the description becomes shorter. pairs float64[n, n]."""
    n = len(pairs)
    table = pairs.copy()  # between categories; the lesser symbol names one
    owner = np.arange(n)
    alive = np.ones(n, np.bool_)
    inner = np.zeros(n)  # bits to say which unit, of each category: nothing where there is one
    uses = pairs.sum(0)
    cell = np.log2(n)
    # What joining two changes is looked up; it is worked out again for the best pair, and for all where none is left.
    known = np.full((n, n), np.inf)
    fresh = False
    while True:
        used = np.flatnonzero(alive)
        total = table.sum(1)
        if not fresh:
            for x in used[used > REST]:
                for y in used[used > x]:
                    known[x, y] = _joined(pairs, uses, owner, inner, table, total, used, x, y, cell)
            fresh = True
        at = np.argmin(known)
        x, y = at // n, at % n
        if known[x, y] >= 0:
            return owner
        now = _joined(pairs, uses, owner, inner, table, total, used, x, y, cell)
        if now > known[x, y] + 1e-9:
            known[x, y] = now
            continue
        owner[owner == y] = x
        alive[y] = False
        known[y], known[:, y] = np.inf, np.inf
        table[x] += table[y]
        table[:, x] += table[:, y]
        table[y] = 0.0
        table[:, y] = 0.0
        inner[x] = _inner(pairs, uses, np.flatnonzero(owner == x))
        used, total = np.flatnonzero(alive), table.sum(1)
        for z in used[used > REST]:
            if z != x:
                a, b = min(x, z), max(x, z)
                known[a, b] = _joined(pairs, uses, owner, inner, table, total, used, a, b, cell)
        fresh = known.min() < 0


@numba.njit(cache=True)
def _joined(pairs, uses, owner, inner, table, total, used, x, y, cell):
    """Bits that the description becomes longer by if x and y are one category; naming a unit never costs less."""
    change = _change(table, total, used, x, y, cell) - inner[x] - inner[y]
    return change if change >= 0 else change + _inner(pairs, uses, np.flatnonzero((owner == x) | (owner == y)))


@numba.njit(inline="always")
def _f(x):
    return x * np.log2(x) if x > 0 else 0.0


@numba.njit(inline="always")
def _row(total, cells, cell):
    """Bits of a row of the table beside those of its counts: how often, and where."""
    return _f(total) + cells * (0.5 * np.log2(total + 1) + cell)


@numba.njit(cache=True)
def _change(table, total, used, x, y, cell):
    """Bits that naming the category after each takes more when x and y are one."""
    change, kx, ky, kxy = 0.0, 0, 0, 0
    for a in used:
        here, there = table[x, a], table[y, a]
        kx += here > 0
        ky += there > 0
        if a in (x, y):
            continue
        kxy += here + there > 0
        change += _f(here) + _f(there) - _f(here + there)
        p, q = table[a, x], table[a, y]
        if p > 0 and q > 0:
            change += _f(p) + _f(q) - _f(p + q) - 0.5 * np.log2(total[a] + 1) - cell
    own = table[x, x] + table[x, y] + table[y, x] + table[y, y]
    change += _f(table[x, x]) + _f(table[x, y]) + _f(table[y, x]) + _f(table[y, y]) - _f(own)
    kxy += own > 0
    return change + _row(total[x] + total[y], kxy, cell) - _row(total[x], kx, cell) - _row(total[y], ky, cell)


@numba.njit(cache=True)
def _inner(pairs, uses, members):
    """Bits to say which unit of a category of two or more, where the category is known."""
    n = 0.0
    for i in members:
        n += uses[i]
    bits = 0.5 * np.log2(n + 1) * len(members)
    inside, again = 0.0, 0.0
    for i in members:
        outside = uses[i]
        for j in members:
            k = pairs[j, i]
            inside += k
            outside -= k
            if i == j:
                again += k
            elif k > 0:
                bits -= k * (np.log2(uses[i] / n) - np.log2(max(n - uses[j], 1.0) / n))
        if outside > 0:
            bits -= outside * np.log2(uses[i] / n)
    return bits + _f(inside) - _f(again) - _f(inside - again)
