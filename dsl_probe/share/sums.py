"""The overlap measures as sums over types, so that deleting a problem costs only that problem's types.

Deleting a problem changes the counts of its own types only. So each measure is written as a function of sums over
types, and a deletion subtracts the old and adds the new terms of the types in that row. The one part that is not such
a sum, the mixture (p + q)/2, also moves with n; there equal types are grouped, of which a Zipf vocabulary has many. A
domain is [3, types]: tokens, sum over problems of squared tokens, problems.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import exp1, psi, rel_entr, xlogy

Floats = NDArray[np.float64]
Counts = ArrayLike | sp.sparray | sp.spmatrix

_LN2 = float(np.log(2.0))
_BLOCK = 1 << 19  # cells evaluated at once: bounds memory to some tens of MB


def _sums(x: Floats, y: Floats) -> Floats:
    """Terms of the sums over types, [31, types]; the order is that of the unpacking in `_finish`."""
    (x, _, in_x), (y, _, in_y), lack_x, lack_y = x, y, x[0] * _lack(x[0], x[1]), y[0] * _lack(y[0], y[1])
    seen_x, seen_y, x1, y1, inside = x > 0, y > 0, x == 1, y == 1, in_x + in_y
    both = seen_x & seen_y
    x_log_x, y_log_y = xlogy(x, x), xlogy(y, y)
    return np.array(
        [
            *(x, y),
            *(both * x, both * y, (y1 & seen_x) * x, (x1 & seen_y) * y),
            *(y1 & seen_x, (y == 2) & seen_x, x1 & seen_y, (x == 2) & seen_y),
            *(x * x, y * y, x * y),
            *(lack_x, (in_x == 1) * x, (in_x == 2) * x, in_x == 1),
            *(lack_y, (in_y == 1) * y, (in_y == 2) * y, in_y == 1),
            *((inside == 1) * x, (inside == 1) * y, (inside == 2) * x, (inside == 2) * y),
            *((inside == 1) & seen_x, (inside == 1) & seen_y),
            *((in_x == 1) * x_log_x, (in_y == 1) * y_log_y, (inside == 1) * x_log_x, (inside == 1) * y_log_y),
        ],
        dtype=np.float64,
    )


def _lack(total: Floats, squares: Floats) -> Floats:
    """log k - psi(k) at k = total^2 / squares: what the plug-in -log p lacks, in nats."""
    seen = squares > 0
    k = np.where(seen, total, 1.0) ** 2 / np.where(seen, squares, 1.0)
    return np.log(k) - psi(k)


def _mixture(x: Floats, y: Floats, n: Any, m: Any) -> tuple[Floats, Floats]:
    """Per type: its share of the plug-in divergence, and what its mixture entropy lacks, in nats."""
    (x, x_squares, _), (y, y_squares, _), p, q = x, y, x[0] / n, y[0] / m
    # Written by ratios of counts, so that two equal domains give exactly 0.
    plug_in = (rel_entr(x, (x + y * (n / m)) / 2) / n + rel_entr(y, (y + x * (m / n)) / 2) / m) / 2
    return plug_in, (p + q) / 2 * _lack(p + q, x_squares / n**2 + y_squares / m**2)


class _Groups(NamedTuple):
    """The distinct types, as far as `_mixture` can tell, and how many there are of each."""

    x: Floats
    y: Floats
    types: Floats

    def at(self, n: Any, m: Any) -> Floats:
        """Sums over types of both parts of `_mixture` for each total n, m: [2, len(n)] (or [2])."""
        n, m = np.broadcast_arrays(np.asarray(n, np.float64), np.asarray(m, np.float64))
        totals, back = np.unique(np.stack([n.ravel(), m.ravel()]), axis=1, return_inverse=True)
        out = np.full((2, totals.shape[1]), np.nan)
        step = max(1, _BLOCK // max(1, len(self.types)))
        for start in range(0, totals.shape[1], step):
            ok = start + np.flatnonzero(totals[:, start : start + step].min(0) > 0)
            for part, terms in enumerate(_mixture(self.x, self.y, totals[0, ok, None], totals[1, ok, None])):
                out[part, ok] = terms @ self.types
        return out[:, back.ravel()].reshape(2, *n.shape)


def _groups(x: Floats, y: Floats) -> _Groups:
    kinds, types = np.unique(np.concatenate([x[:2], y[:2]]), axis=1, return_counts=True)
    kinds, types = kinds[:, kinds.any(0)], types[kinds.any(0)]
    unused = np.zeros((1, len(types)))
    return _Groups(np.concatenate([kinds[:2], unused]), np.concatenate([kinds[2:], unused]), types.astype(np.float64))


def _finish(sums: Floats, mixture: Floats) -> dict[str, Any]:
    """The measures from the sums over types (of `_sums`) and the two of `_mixture`; arrays in, arrays out."""
    n, m = sums[:2]
    known = (n > 0) & (m > 0)
    n, m = np.where(known, n, 1.0), np.where(known, m, 1.0)
    common_x, common_y, x_rare, y_rare, b1, b2, a1, a2, xx, yy, xy = sums[2:13]
    lack_x, once_x, twice_x, singles_x, lack_y, once_y, twice_y, singles_y = sums[13:21]
    once_in_x, once_in_y, twice_in_x, twice_in_y, only_x, only_y = sums[21:27]
    bursts_x, bursts_y, only_bursts_x, only_bursts_y = sums[27:]

    u = np.minimum((common_x + (m - 1) / m * b1 / (2 * np.maximum(b2, 1)) * x_rare) / n, 1)
    v = np.minimum((common_y + (n - 1) / n * a1 / (2 * np.maximum(a2, 1)) * y_rare) / m, 1)
    either = np.where(u + v > 0, u + v, 1.0)  # no common type: 0, not 0/0
    horn = xx / n**2 + yy / m**2

    plug_in, lack = mixture
    mixed = lack + _unseen((once_in_x / n + once_in_y / m) / 2, (twice_in_x / n + twice_in_y / m) / 2, only_x + only_y)
    mixed += (_uneven(only_bursts_x, once_in_x, only_x) / n + _uneven(only_bursts_y, once_in_y, only_y) / m) / 2
    in_a = (lack_x + _uneven(bursts_x, once_x, singles_x)) / n + _unseen(once_x / n, twice_x / n, singles_x)
    in_b = (lack_y + _uneven(bursts_y, once_y, singles_y)) / m + _unseen(once_y / m, twice_y / m, singles_y)
    measures = {
        "chao_jaccard": u * v / (either - u * v),
        "chao_sorensen": 2 * u * v / either,
        "morisita_horn": 2 * xy / (n * m) / np.where(horn > 0, horn, 1.0),
        "jensen_shannon": plug_in / _LN2,
        "jensen_shannon_corrected": (plug_in + mixed - (in_a + in_b) / 2) / _LN2,
    }
    return {name: np.where(known, value, np.nan) for name, value in measures.items()}


def _unseen(once: Floats, twice: Floats, singles: Floats) -> Floats:
    """U e^r E1(r), in nats: mass of the types in one problem, mass of those in two, number of those in one."""
    fallback = np.where(singles > 1, 2 / np.maximum(singles - 1, 1), np.inf)
    r = np.where(twice > 0, twice / np.where(once > 0, once, 1.0), fallback)
    near = np.minimum(r, 100.0)
    far = np.maximum(r, 100.0)  # e^r overflows; four terms of the asymptotic series are exact to 1e-6 here
    scaled = np.where(r < 100, np.exp(near) * exp1(near), (1 - (1 - (2 - 6 / far) / far) / far) / far)
    return np.where((once > 0) & np.isfinite(r), once * scaled, 0.0)


def _uneven(x_log_x: Floats, tokens: Floats, types: Floats) -> Floats:
    """Sum of x log x over the types in one problem, less that of as many types of equal tokens: never below 0.

    Such a type is one draw, and how often the problem repeats it says nothing of its frequency; but by the uneven
    lengths of the bursts the plug-in entropy takes some of them for more frequent than others, and comes out too low.
    """
    return x_log_x - xlogy(tokens, tokens / np.maximum(types, 1))


def all_measures(a: Counts, b: Counts) -> dict[str, float]:
    x, y = type_sums(a), type_sums(b)
    if x.shape != y.shape:
        raise ValueError(f"both domains need the same types as columns; they have {x.shape[1]} and {y.shape[1]}")
    return {name: float(v) for name, v in of_totals(x, y).items()}


def of_totals(x: Floats, y: Floats) -> dict[str, Any]:
    return _finish(_sums(x, y).sum(1), _groups(x, y).at(x[0].sum(), y[0].sum()))


def each_deleted(x: Floats, y: Floats, a: sp.csr_array | None, b: sp.csr_array | None) -> dict[str, Floats]:
    """Every measure with row k of `a` taken from the domain x and row k of `b` from the domain y, for each k.

    Where both are given they store the same cells.
    """
    pattern = a if a is not None else b
    assert pattern is not None
    rows = pattern.shape[0]
    sums = np.repeat(_sums(x, y).sum(1)[:, None], rows, axis=1)
    changes = np.zeros((2, rows))
    for block in _row_blocks(pattern.indptr):
        cells = slice(pattern.indptr[block.start], pattern.indptr[block.stop])
        types = pattern.indices[cells]
        owner = np.repeat(np.arange(block.stop - block.start), np.diff(pattern.indptr[block.start : block.stop + 1]))
        old_x, old_y = x[:, types], y[:, types]
        new_x = old_x - _one_problem(a.data[cells]) if a is not None else old_x
        new_y = old_y - _one_problem(b.data[cells]) if b is not None else old_y
        for total, term in zip(sums, _sums(new_x, new_y) - _sums(old_x, old_y), strict=True):
            total[block] += _by_row(owner, term, block)
        # The mixture's terms at the totals after the deletion, for the types of the row; emptied domains are NaN later.
        n, m = np.maximum(sums[:2, block], 1)[:, owner]
        after, before = _mixture(new_x, new_y, n, m), _mixture(old_x, old_y, n, m)
        for part in range(2):
            changes[part, block] = _by_row(owner, after[part] - before[part], block)
    return _finish(sums, _groups(x, y).at(*sums[:2]) + changes)


def _one_problem(tokens: Floats) -> Floats:
    return np.stack([tokens, tokens**2, tokens > 0])


def _by_row(owner: NDArray[np.integer], terms: Floats, block: slice) -> Floats:
    return np.bincount(owner, weights=terms, minlength=block.stop - block.start).astype(np.float64)


def _row_blocks(indptr: NDArray[np.integer]) -> Iterator[slice]:
    """Runs of rows that hold at most _BLOCK / 4 stored cells together, one row at least."""
    start, last = 0, len(indptr) - 1
    while start < last:
        stop = int(np.searchsorted(indptr, indptr[start] + (_BLOCK >> 2), side="right")) - 1
        stop = min(max(stop, start + 1), last)
        yield slice(start, stop)
        start = stop


# ---------------------------------------------------------------- input


def as_csr(counts: Counts) -> sp.csr_array:
    """[problems, types] as float64 CSR without stored zeros; the caller's matrix is not changed."""
    matrix = counts if sp.issparse(counts) else np.atleast_2d(np.asarray(counts))
    csr = sp.csr_array(matrix, dtype=np.float64, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    _whole(csr.data)
    return csr


def type_totals(counts: Counts) -> Floats:
    """Counts by type, from a vector or a matrix [problems, types]."""
    if not sp.issparse(counts) and np.ndim(counts) < 2:
        return _whole(np.atleast_1d(np.asarray(counts, np.float64)))
    return column_sums(as_csr(counts))


def _whole(counts: Floats) -> Floats:
    bad = ~((counts >= 0) & (counts < np.inf) & (counts == np.floor(counts)))
    if bad.any():
        raise ValueError(f"counts must be whole numbers from 0 up, not rates; got {counts[bad][0]:g}")
    return counts


def type_sums(counts: Counts) -> Floats:
    """[3, types]: tokens, sum over problems of squared tokens, problems. In a vector each token is its own problem."""
    csr = as_csr(counts)
    tokens = column_sums(csr)
    if not sp.issparse(counts) and np.ndim(counts) < 2:
        return np.stack([tokens] * 3)
    squares = np.bincount(csr.indices, weights=csr.data**2, minlength=csr.shape[1])
    problems = np.bincount(csr.indices, minlength=csr.shape[1])
    return np.stack([tokens, squares, problems]).astype(np.float64)


def column_sums(csr: sp.csr_array) -> Floats:
    return np.bincount(csr.indices, weights=csr.data, minlength=csr.shape[1]).astype(np.float64)


def same_columns(a: sp.csr_array, b: sp.csr_array, *, rows: bool) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both domains need the same types as columns; they have {a.shape[1]} and {b.shape[1]}")
    if rows and a.shape[0] != b.shape[0]:
        raise ValueError(f"paired problems need as many rows in both; they have {a.shape[0]} and {b.shape[0]}")


def common_cells(a: sp.csr_array, b: sp.csr_array) -> tuple[sp.csr_array, sp.csr_array]:
    """Both matrices with the stored cells of either, zeros included."""
    ones = [sp.csr_array((np.ones(len(c.data)), c.indices, c.indptr), shape=c.shape) for c in (a, b)]
    cells = (ones[0] + ones[1]).tocsr()
    cells.sort_indices()
    rows = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))
    key = rows * cells.shape[1] + cells.indices
    out = []
    for c in (a, b):
        own = np.repeat(np.arange(c.shape[0]), np.diff(c.indptr)) * c.shape[1] + c.indices
        data = np.zeros(len(key))
        data[np.searchsorted(key, own)] = c.data
        out.append(sp.csr_array((data, cells.indices, cells.indptr), shape=cells.shape))
    return out[0], out[1]
