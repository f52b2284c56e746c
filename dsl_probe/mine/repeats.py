"""Every repeated contiguous sequence of units, exactly: suffix array, LCP clipped at documents, interval stack.

    index = build_index(symbols, doc_starts)        once: 17 bytes a unit, 19 while it is built
    found = find_repeats(index, doc_label, n_labels, min_count=20)
    row, doc, start = occurrences(index, found, rows)

One row of `Repeats` is one LCP interval: a set of positions, and with it every sequence that stands at exactly these
positions. `count` counts overlapping occurrences ("a a a" holds "a a" twice); `occurrences` does not overlap.
Documents never share a sequence across their border.

Sources: intervals after Abouelhoda, Kurtz and Ohlebusch, Replacing suffix trees with enhanced suffix arrays (2004);
documents and problems by Hui, Color set size problem (1992).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from dsl_probe.mine.suffixes import U1, Index, ones, set_bit

_LIMIT = 2**31 - 1
_CHUNK = 4096  # rows handled at once
_WIDTH = 64  # rows looked at to drop small intervals early


@dataclass(frozen=True)
class Repeats:
    """One row = one set of positions, index.sa[first : first + count]; inner rows stand before the rows around them.

    first, count, length, shortest, problems int32[m]; support, counts int32[m, n_labels]; left_maximal,
    right_maximal bool[m]. All n-grams of lengths shortest..length of one of the positions share these positions;
    the longest is index.symbols[p : p + length] with p = index.sa[first].
    """

    first: np.ndarray
    count: np.ndarray
    length: np.ndarray
    shortest: np.ndarray
    support: np.ndarray
    counts: np.ndarray
    problems: np.ndarray
    left_maximal: np.ndarray
    right_maximal: np.ndarray

    @property
    def closed(self) -> np.ndarray:
        """bool[m]: no longer contiguous sequence has the same count."""
        return self.left_maximal & self.right_maximal

    def __len__(self) -> int:
        return len(self.first)


def find_repeats(
    index: Index,
    doc_label=None,
    n_labels: int = 1,
    doc_problem=None,
    min_count: int = 2,
    min_support: int = 1,
    min_problems: int = 1,
    max_length: int | None = None,
) -> Repeats:
    """All sets of positions that share a sequence, with occurrences, documents and problems.

    doc_label int[n_docs] in 0..n_labels - 1 (default: all 0); doc_problem int[n_docs], any ids >= 0 (default: each
    document is a problem of its own). min_* hold for totals over the labels. Lengths start at 1. A sequence that
    occurs once has no row, so min_count < 2 means 2. With max_length, `length` ends there; right_maximal (hence
    `closed`) then still tells the truth about the longest sequence kept: at the cap it is true only if the
    occurrences do not all go on alike.

    >>> from dsl_probe.mine.suffixes import build_index
    >>> found = find_repeats(build_index([7, 8, 9, 7, 8, 7], [0, 3, 6]))
    >>> for row in np.flatnonzero(found.closed):
    ...     print(found.count[row], found.shortest[row], found.length[row], found.support[row])
    2 2 2 [2]
    3 1 1 [2]
    """
    labels = _per_document(index, doc_label, "doc_label")
    if n_labels < 1 or (len(labels) and (labels.min() < 0 or labels.max() >= n_labels)):
        raise ValueError(f"doc_label must lie in 0..n_labels - 1 with n_labels = {n_labels}")
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length must be at least 1; got {max_length}")
    problem = np.empty(0, np.int32)
    if doc_problem is not None:
        problem = np.unique(_per_document(index, doc_problem, "doc_problem"), return_inverse=True)[1].astype(np.int32)
    cap, min_count = min(max_length or _LIMIT, _LIMIT), max(min_count, 2)
    depth, room = _measure(index.lcp, cap, min_count)
    who, least = (labels.astype(np.int32), problem, n_labels), (min_count, min_support, min_problems)
    m, columns = _enumerate(index.sa, index.lcp, index.turn, index.doc_of, *who, cap, *least, depth, room)
    return Repeats(*(column[:m] if 2 * m > room else column[:m].copy() for column in columns))


def occurrences(index: Index, repeats: Repeats, rows=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leftmost non-overlapping occurrences of the longest sequence of each of the rows (default: all of them).

    Returns row int32[k], doc int32[k], start int32[k], sorted by (row, doc, start); start counts units from the
    beginning of the document. Memory: the answer, twice while it grows, plus the positions of the largest row.

    >>> from dsl_probe.mine.suffixes import build_index
    >>> index = build_index([5, 5, 5, 5, 5], [0, 5])
    >>> found = find_repeats(index, max_length=2)
    >>> [part.tolist() for part in occurrences(index, found, np.flatnonzero(found.length == 2))]
    [[0, 0], [0, 0], [0, 2]]
    """
    rows = np.arange(len(repeats)) if rows is None else np.unique(np.asarray(rows, np.int64))
    if len(rows) and (rows[0] < 0 or rows[-1] >= len(repeats)):
        raise IndexError(f"rows must lie in 0..{len(repeats) - 1}; got {rows[0]}..{rows[-1]}")
    chosen = (column[rows] for column in (repeats.first, repeats.count, repeats.length))
    return _occurrences(index.sa, index.doc_of, index.doc_starts, rows.astype(np.int32), *chosen)


def ngram_table(repeats: Repeats, lo: int, hi: int) -> tuple[np.ndarray, np.ndarray]:
    """Every n-gram of lo..hi units among the repeats: row int32[k], length int32[k], by row, then length.

    The statistics of the i-th are those of its row: repeats.count[row[i]], repeats.support[row[i]]; its units are
    index.symbols[p : p + length[i]] with p = index.sa[repeats.first[row[i]]].

    >>> from dsl_probe.mine.suffixes import build_index
    >>> index = build_index([1, 2, 3, 1, 2, 3], [0, 3, 6])
    >>> [part.tolist() for part in ngram_table(find_repeats(index), 1, 2)]
    [[0, 1, 1, 2, 2], [1, 1, 2, 1, 2]]
    """
    low, high = np.maximum(repeats.shortest, lo), np.minimum(repeats.length, min(hi, _LIMIT))
    many = np.maximum(high - low + 1, 0)
    row = np.repeat(np.arange(len(many), dtype=np.int32), many)
    before = np.cumsum(many) - many
    return row, (np.arange(len(row)) - (before - low)[row]).astype(np.int32)


def _per_document(index, values, name):
    if values is None:
        return np.zeros(index.n_docs, np.int32)
    values = np.asarray(values)
    if values.shape != (index.n_docs,):
        raise ValueError(f"{name} must have one entry for each of {index.n_docs} documents; got shape {values.shape}")
    return values


@njit(cache=True, nogil=True)
def _open_lcp(lcp, begin, end, cap, width, out, work):
    """out[i - begin] = the longest sequence that rows i - 1 and i share with width + 1 rows in one stretch.

    That is a morphological opening of the clipped LCP: a sliding minimum, then a sliding maximum, each in log2(width)
    passes that the compiler turns into vector code. It drops intervals too small to be kept, four in five of them
    at min_count = 20, before the branching starts.
    """
    n = len(lcp)
    low = begin - width + 1
    size = end - begin + 2 * (width - 1)
    for i in range(size):
        work[i] = 0
    for i in range(max(low, 0), min(low + size, n)):
        work[i - low] = min(lcp[i], cap)
    # work[i] becomes the minimum of `width` entries from i on, then the maximum of `width` of these up to i.
    done = 1
    while done < width:
        step = min(done, width - done)
        size -= step
        for i in range(size):
            work[i] = min(work[i], work[i + step])
        done += step
    done = 1
    while done < width:
        step = min(done, width - done)
        size -= step
        for i in range(size):
            work[i] = max(work[i], work[i + step])
        done += step
    for i in range(size):
        out[i] = work[i]


@njit(cache=True, nogil=True)
def _measure(lcp, cap, min_count):
    """Bounds: how deep the stack can grow, and how many intervals there can be.

    An interval's first row of smallest LCP is its alone, and the LCP differs from that of the row before.
    """
    n = len(lcp)
    depth = 0
    for v in lcp:
        depth = max(depth, v)
    rows = before = 0
    width = min(min_count - 1, _WIDTH)
    opened, work = np.empty(_CHUNK, np.int32), np.empty(_CHUNK + 2 * _WIDTH, np.int32)
    for low in range(0, n, _CHUNK):
        size = min(_CHUNK, n - low)
        _open_lcp(lcp, low, low + size, cap, width, opened, work)
        rows += opened[0] != before
        for k in range(1, size):
            rows += opened[k] != opened[k - 1]
        before = opened[size - 1]
    return min(depth, cap), rows


@njit(cache=True, nogil=True)
def _enumerate(
    sa, lcp, turn, doc_of, labels, problem, n_labels, cap, min_count, min_support, min_problems, depth, room
):
    """One pass over the rows with a stack of open intervals; see Repeats for what comes out.

    counts[label] of an interval = those seen when it closes - those seen before it opened. Documents: a row whose
    document was last seen at row q is a duplicate in every open interval that holds q; it is noted at the innermost
    such interval, and handed outwards when that closes (Hui 1992). The same for problems.
    """
    n = len(sa)
    first, count, length = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    shortest, problems = np.empty(room, np.int32), np.empty(room, np.int32)
    support, counts = np.empty((room, n_labels), np.int32), np.empty((room, n_labels), np.int32)
    left, right = np.empty(room, np.bool_), np.empty(room, np.bool_)
    by_problem = len(problem) > 0
    seen_doc = np.zeros(len(labels), np.int32)  # last row of the document + 1, 0 for none
    seen_problem = np.zeros(len(problem), np.int32)
    s_length, s_begin = np.zeros(depth + 2, np.int32), np.zeros(depth + 2, np.int32)
    s_before, s_again = np.zeros((depth + 2, n_labels), np.int32), np.zeros((depth + 2, n_labels), np.int32)
    s_again_problem = np.zeros(depth + 2, np.int32)
    seen = np.zeros(n_labels, np.int32)
    top = m = 0
    label = turned = 0  # label of the row before; last row preceded by another unit than the row before it
    floor = 0  # smallest unclipped LCP in the open interval at the cap
    width = min(min_count - 1, _WIDTH)
    opened, work = np.empty(_CHUNK + 1, np.int32), np.empty(_CHUNK + 2 * _WIDTH, np.int32)
    docs_here = np.empty(_CHUNK, np.int32)
    for low in range(0, n, _CHUNK):
        high = min(low + _CHUNK, n)
        _open_lcp(lcp, low, high, cap, width, opened, work)
        # Far reads first, as in _permuted_lcp.
        for i in range(low, high):
            docs_here[i - low] = doc_of[sa[i]]
        if high == n:
            opened[n - low] = 0
        for i in range(low, high + (high == n)):  # row n closes what is open
            v = opened[i - low]
            while s_length[top] > v:
                b = s_begin[top]
                if i - b >= min_count:
                    docs = 0
                    for c in range(n_labels):
                        counts[m, c] = seen[c] - s_before[top, c]
                        support[m, c] = counts[m, c] - s_again[top, c]
                        docs += support[m, c]
                    problems[m] = i - b - s_again_problem[top] if by_problem else docs
                    if docs >= min_support and problems[m] >= min_problems:
                        first[m], count[m], length[m] = b, i - b, s_length[top]
                        shortest[m] = max(s_length[top - 1], v) + 1
                        left[m] = turned > b
                        right[m] = s_length[top] < cap or floor == cap
                        m += 1
                if s_length[top - 1] < v:  # the interval around it opens at the same row
                    s_length[top] = v
                else:
                    top -= 1
                    for c in range(n_labels):
                        s_again[top, c] += s_again[top + 1, c]
                    s_again_problem[top] += s_again_problem[top + 1]
            if i == n:
                break
            if s_length[top] < v:
                top += 1
                s_length[top], s_begin[top] = v, i - 1
                for c in range(n_labels):
                    s_before[top, c] = seen[c]
                    s_again[top, c] = 0
                s_before[top, label] -= 1
                s_again_problem[top] = 0
                floor = lcp[i]
            if v == cap:
                floor = min(floor, lcp[i])
            turned = i if turn[i] else turned
            d = docs_here[i - low]
            label = labels[d]
            seen[label] += 1
            q = seen_doc[d] - 1
            seen_doc[d] = i + 1
            s_again[_holder(s_begin, top, q), label] += q >= 0
            if by_problem:
                d = problem[d]
                q = seen_problem[d] - 1
                seen_problem[d] = i + 1
                s_again_problem[_holder(s_begin, top, q)] += q >= 0
    return m, (first, count, length, shortest, support, counts, problems, left, right)


@njit(cache=True, nogil=True, inline="always")
def _holder(begin, top, q):
    """The innermost open interval that holds row q; 0, which is no interval, if none does."""
    low, size = 0, top + 1
    while size > 1:
        half = size >> 1
        low += half if begin[low + half] <= q else 0
        size -= half
    return low


@njit(cache=True, nogil=True)
def _occurrences(sa, doc_of, doc_starts, rows, first, count, length):
    n = len(sa)
    largest = 0
    for c in count:
        largest = max(largest, c)
    words = np.zeros(n // 64 + 1, np.uint64)
    words_used = np.zeros(len(words) // 64 + 1, np.uint64)
    blocks_used = np.zeros(len(words_used) // 64 + 1, np.uint64)
    here = np.empty(largest, np.int32)
    row, doc, start = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    k = 0
    for r in range(len(rows)):
        positions = here[: count[r]]
        for i in range(count[r]):
            positions[i] = sa[first[r] + i]
        if count[r] > 32:
            _bit_sort(positions, words, words_used, blocks_used)
        else:
            _insertion_sort(positions)
        if k + count[r] > len(row):
            room = max(2 * len(row), k + count[r])
            row, doc, start = _grown(row, room), _grown(doc, room), _grown(start, room)
        free = np.int64(0)
        for p in positions:
            if p >= free:
                d = doc_of[p]
                row[k], doc[k], start[k] = rows[r], d, p - doc_starts[d]
                k += 1
                free = p + np.int64(length[r])
    return row[:k].copy(), doc[:k].copy(), start[:k].copy()


@njit(cache=True, nogil=True)
def _bit_sort(positions, words, words_used, blocks_used):
    """Sort distinct positions in linear time: set bits, and bits for the words in use; read them off and clear."""
    low = high = positions[0] >> 18
    for p in positions:
        set_bit(words, p)
        set_bit(words_used, p >> 6)
        set_bit(blocks_used, p >> 12)
        low, high = min(low, p >> 18), max(high, p >> 18)
    k = 0
    for top in range(low, high + 1):
        blocks = blocks_used[top]
        blocks_used[top] = 0
        while blocks:
            block = (top << 6) + _trailing_zeros(blocks)
            blocks &= blocks - U1
            used = words_used[block]
            words_used[block] = 0
            while used:
                w = (block << 6) + _trailing_zeros(used)
                used &= used - U1
                bits = words[w]
                words[w] = 0
                while bits:
                    positions[k] = (w << 6) + _trailing_zeros(bits)
                    bits &= bits - U1
                    k += 1


@njit(cache=True, nogil=True)
def _insertion_sort(values):
    for i in range(1, len(values)):
        v = values[i]
        j = i
        while j > 0 and values[j - 1] > v:
            values[j] = values[j - 1]
            j -= 1
        values[j] = v


@njit(inline="always")
def _trailing_zeros(x):
    return np.int64(ones((x & (~x + U1)) - U1))


@njit(cache=True, nogil=True)
def _grown(values, room):
    out = np.empty(room, np.int32)
    for i in range(len(values)):  # a slice assignment would take numba three seconds to compile
        out[i] = values[i]
    return out
