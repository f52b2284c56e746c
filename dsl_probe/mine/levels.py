"""Every frequent n-gram with its exact statistics, length by length: the second counting engine.

    found = count_ngrams(symbols, doc_starts, 12, doc_label, n_labels, doc_problem, min_count=20)
    found.count[found.rows(2, 12)], found.grams(3), markov_expected(found)

An n-gram is the pair (its first n - 1 units, its last n - 1 units), both rows of the length before, so a dictionary of
pairs of integers is exact at any length. Both halves of a frequent n-gram are frequent (Agrawal and Srikant, Fast
algorithms for mining association rules, 1994); a small array of counters by hash drops most rare pairs before the
dictionary sees them. `count` counts overlapping occurrences ("a a a" holds "a a" twice), as repeats.py does.

Against repeats.py: no suffix array and a cost that grows with the longest length asked for, but pointers to the halves
of each n-gram, and rows in an order that does not depend on the corpus, so that results merge (shards.py).
What this does not give: the occurrences, closedness, lengths without a limit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit

_LIMIT = 2**31 - 1
_ODD = np.uint64(0x9E3779B97F4A7C15)
_U32 = np.uint64(32)
_LOW = np.uint64(2**32 - 1)
_DOC, _PROBLEM, _POSITION, _PROBLEMS, _COUNTS = range(5)  # columns while a length is tallied; then support


@dataclass(frozen=True)
class Length:
    """The n-grams of one length in lexicographic order of their units.

    prefix, suffix int32[m]: rows of the length before (of length 1: the unit itself, both times); position int32[m]:
    where one stands in the symbols; counts, support int[m, n_labels]; problems int[m].
    """

    prefix: np.ndarray
    suffix: np.ndarray
    position: np.ndarray
    counts: np.ndarray
    support: np.ndarray
    problems: np.ndarray

    def __len__(self) -> int:
        return len(self.prefix)


@dataclass(frozen=True)
class NGrams:
    """Rows by length, then in lexicographic order of the units; lengths 1..hi, whatever is asked for later.

    bounds int64[hi + 1]: rows bounds[k - 1] : bounds[k] have length k. last int32[m]: the last unit. prefix, suffix
    int32[m]: the rows one unit shorter, -1 at length 1. count int[m], counts and support (documents) int[m, n_labels],
    problems int[m]. position int32[m]: where one occurrence starts in the symbols; empty if they lie in many shards.
    """

    bounds: np.ndarray
    last: np.ndarray
    prefix: np.ndarray
    suffix: np.ndarray
    count: np.ndarray
    counts: np.ndarray
    support: np.ndarray
    problems: np.ndarray
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.last)

    @property
    def length(self) -> np.ndarray:
        """int32[m]"""
        return np.repeat(np.arange(1, len(self.bounds), dtype=np.int32), np.diff(self.bounds))

    def rows(self, lo: int, hi: int) -> slice:
        """The rows of lengths lo..hi."""
        top = len(self.bounds) - 1
        return slice(int(self.bounds[min(max(lo, 1) - 1, top)]), int(self.bounds[max(min(hi, top), 0)]))

    def grams(self, k: int) -> np.ndarray:
        """int32[m_k, k]: the units of the rows of length k, sorted: the key under which other counts can be joined."""
        at = np.arange(len(self))[self.rows(k, k)]
        out = np.empty((len(at), k), np.int32)
        for j in range(k - 1, -1, -1):
            out[:, j] = self.last[at]
            at = self.prefix[at]
        return out


def count_ngrams(
    symbols,
    doc_starts,
    hi: int,
    doc_label=None,
    n_labels: int = 1,
    doc_problem=None,
    min_count: int = 20,
) -> NGrams:
    """All n-grams of 1..hi units that occur `min_count` times or more (over all labels), with exact statistics.

    symbols: ids in 0..2**31 - 1, all documents concatenated; doc_starts: n_docs + 1 offsets, empty documents allowed;
    doc_label int[n_docs] in 0..n_labels - 1 (default: all 0); doc_problem int[n_docs], any ids, in any order (default:
    each document is a problem of its own). No n-gram crosses the border of a document.
    Memory: about 10 bytes a unit, with the symbols, at the default; the smaller min_count is, the more: at 2, up to 60
    where almost all pairs of units are distinct, and the result beside.

    >>> found = count_ngrams([7, 8, 9, 7, 8, 7], [0, 3, 6], 3, min_count=2)
    >>> found.grams(1).tolist(), found.grams(2).tolist(), len(found.grams(3))
    ([[7], [8]], [[7, 8]], 0)
    >>> found.count.tolist(), found.support.tolist(), found.prefix.tolist(), found.suffix.tolist()
    ([3, 2, 2], [[2], [2], [2]], [-1, -1, 0], [-1, -1, 1])
    """
    return flat(list(each_length(symbols, doc_starts, hi, doc_label, n_labels, doc_problem, min_count)))


def markov_expected(found: NGrams) -> np.ndarray:
    """float64[m]: the count that an order-(k - 2) Markov model expects: count(prefix) * count(suffix) / count(middle).

    NaN at length 1; at length 2 the middle is any unit that was counted at all, so rare units are missing from it.
    What this does not show: the effect of document borders, which lower the count by at most one a document.

    >>> found = count_ngrams([1, 2, 3, 1, 2, 4, 5, 2, 3], [0, 9], 3, min_count=1)
    >>> row = found.grams(3).tolist().index([1, 2, 3]) + found.bounds[2]
    >>> float(markov_expected(found)[row]), int(found.count[row])    # 2 times "1 2", 2 times "2 3", 3 times "2"
    (1.3333333333333333, 1)
    """
    out = np.full(len(found), np.nan)
    longer, pairs = found.rows(2, len(found.bounds)), found.rows(2, 2)
    prefix, suffix = found.prefix[longer], found.suffix[longer]
    middle = found.count[found.suffix[prefix]].astype(float)
    middle[: pairs.stop - pairs.start] = found.count[found.rows(1, 1)].sum()
    out[longer] = found.count[prefix].astype(float) * found.count[suffix] / middle
    return out


def each_length(
    symbols, doc_starts, hi: int, doc_label=None, n_labels: int = 1, doc_problem=None, min_count: int = 20
) -> Iterator[Length]:
    """What count_ngrams counts, one length at a time from 1 to hi, so that only one need be held."""
    if min_count < 1:
        raise ValueError(f"min_count must be at least 1; got {min_count}")
    ids, documents = _checked(symbols, doc_starts, hi, doc_label, n_labels, doc_problem)
    alive = len(ids)
    for k in range(1, hi + 1):
        cells = _cells(alive, min_count)
        least = min(min_count, 255)
        _filter(ids, documents[0], k, cells, least)
        table, n_candidates = _count(ids, documents[0], k, cells, least, np.zeros((4096, 2), np.uint64), 0, True)
        del cells
        keys, remap, alive = _frequent(table, n_candidates, min_count)
        del table
        yield _tallied(ids, documents, n_labels, k, keys, remap)


def count_given(
    symbols,
    doc_starts,
    dictionary: Iterable[tuple[np.ndarray, np.ndarray]],
    doc_label=None,
    n_labels: int = 1,
    doc_problem=None,
) -> Iterator[Length]:
    """The statistics of the given n-grams and no others, one length at a time, without a threshold.

    dictionary: (prefix, suffix) as in Length, from length 1 on, each in lexicographic order; so both halves of every
    n-gram are among the given. position is -1 where there is no occurrence.
    """
    ids, documents = _checked(symbols, doc_starts, 1, doc_label, n_labels, doc_problem)
    for k, (prefix, suffix) in enumerate(dictionary, start=1):
        keys = (prefix.astype(np.uint64) << _U32) | suffix.astype(np.uint64)
        cells = _cells(4 * len(keys), 1)
        table = np.zeros((_power(2 * len(keys)), 2), np.uint64)
        _enter(keys, cells, table)
        _count(ids, documents[0], k, cells, 1, table, len(keys), False)
        del table, cells
        yield _tallied(ids, documents, n_labels, k, keys, np.arange(len(keys), dtype=np.int32))


def flat(lengths: list[Length], position: bool = True) -> NGrams:
    """All lengths in one. Takes them out of the list as it goes, to hold them once."""
    sizes = [len(part) for part in lengths]
    bounds = np.cumsum([0, *sizes])
    m = int(bounds[-1])
    if m > _LIMIT:
        raise ValueError(f"{m} n-grams in one table; at most {_LIMIT}: raise min_count, or take the lengths one by one")
    n_labels, kind = lengths[0].counts.shape[1], lengths[0].counts.dtype
    last, prefix, suffix = (np.full(m, -1, np.int32) for _ in range(3))
    counts, support = np.empty((m, n_labels), kind), np.empty((m, n_labels), kind)
    problems, where = np.empty(m, kind), np.empty(m if position else 0, np.int32)
    for k in range(len(sizes)):
        part, here = lengths.pop(0), slice(int(bounds[k]), int(bounds[k + 1]))
        if k == 0:
            last[here] = part.prefix
        else:
            prefix[here] = part.prefix + bounds[k - 1]
            suffix[here] = part.suffix + bounds[k - 1]
            last[here] = last[suffix[here]]
        counts[here], support[here], problems[here] = part.counts, part.support, part.problems
        if position:
            where[here] = part.position
        del part
    return NGrams(bounds, last, prefix, suffix, counts.sum(1, dtype=kind), counts, support, problems, where)


def _checked(symbols, doc_starts, hi, doc_label, n_labels, doc_problem):
    """A copy of the symbols to work in, and (doc_starts, labels, problems, order in which documents are tallied)."""
    symbols, doc_starts = np.asarray(symbols), np.array(doc_starts, np.int64)
    n, n_docs = len(symbols), len(doc_starts) - 1
    if n_docs < 0 or doc_starts[0] != 0 or doc_starts[-1] != n or (np.diff(doc_starts) < 0).any():
        raise ValueError(f"doc_starts must rise from 0 to len(symbols) = {n}; got {doc_starts[:3]}...{doc_starts[-3:]}")
    if n > _LIMIT or n_docs > _LIMIT:
        raise ValueError(f"{n} units in {n_docs} documents at once; at most {_LIMIT}: count shards of whole documents")
    if hi < 1:
        raise ValueError(f"hi, the longest length, must be at least 1; got {hi}")
    if n and (symbols.ndim != 1 or symbols.dtype.kind not in "iu"):
        raise ValueError(f"symbols must be one row of integers; got shape {symbols.shape} of {symbols.dtype}")
    if n and (symbols.min() < 0 or symbols.max() > _LIMIT):
        raise ValueError(f"symbols must be ids in 0..{_LIMIT}; got {symbols.min()}..{symbols.max()}")
    labels = np.zeros(n_docs, np.int32) if doc_label is None else np.asarray(doc_label)
    problem = np.empty(0, np.int32) if doc_problem is None else np.asarray(doc_problem)
    for name, values in (("doc_label", labels), ("doc_problem", problem)):
        if values.shape != (n_docs,) and not (name == "doc_problem" and doc_problem is None):
            raise ValueError(f"{name} must have one entry for each of {n_docs} documents; got shape {values.shape}")
    if n_labels < 1 or (n_docs and (labels.min() < 0 or labels.max() >= n_labels)):
        raise ValueError(f"doc_label must lie in 0..n_labels - 1 with n_labels = {n_labels}")
    order = np.arange(n_docs, dtype=np.int32)
    if doc_problem is not None:
        # Documents of one problem are tallied one after another: then the last problem seen is all to remember.
        problem = np.unique(problem, return_inverse=True)[1].astype(np.int32)
        order = np.argsort(problem, kind="stable").astype(np.int32)
    return np.array(symbols, np.int32), (doc_starts, np.array(labels, np.int32), problem, order)


def _power(size, least=4096):
    return max(least, 1 << max(int(size) - 1, 0).bit_length())


def _cells(alive, min_count):
    """Counters by hash: as few, to stay in the cache, as keep a cell of rare pairs below min_count most of the time."""
    return np.zeros(_power(5 * alive // (4 * min_count)), np.uint8)


def _frequent(table, n_candidates, min_count):
    """Sorted keys of the frequent pairs, candidate -> row (-1: not frequent), occurrences of all frequent pairs."""
    counts = table[:, 1] & _LOW
    kept = np.flatnonzero(counts >= max(min_count, 1))
    alive = int(counts[kept].sum())
    keys = table[kept, 0]
    order = np.argsort(keys)
    remap = np.full(n_candidates, -1, np.int32)
    remap[(table[kept[order], 1] >> _U32).astype(np.int64)] = np.arange(len(kept), dtype=np.int32)
    return keys[order], remap, alive


def _tallied(ids, documents, n_labels, k, keys, remap):
    stats = np.zeros((len(keys), _COUNTS + 2 * n_labels), np.int32)
    _tally(ids, *documents, k, remap, stats, n_labels)
    counts, support = stats[:, _COUNTS : _COUNTS + n_labels], stats[:, _COUNTS + n_labels :]
    problems = stats[:, _PROBLEMS] if len(documents[2]) else support.sum(1, dtype=np.int32)
    prefix, suffix = (keys >> _U32).astype(np.int32), (keys & _LOW).astype(np.int32)
    return Length(prefix, suffix, stats[:, _POSITION] - 1, counts, support, problems)


@njit(cache=True, nogil=True)
def _shift(size):
    """How far to shift a 64-bit hash down to an index of an array of `size`, a power of two."""
    bits = 0
    while 1 << bits < size:
        bits += 1
    return np.uint64(64 - bits)


@njit(cache=True, nogil=True)
def _filter(ids, doc_starts, k, cells, least):
    """cells[hash of a pair] = how often it occurs, up to `least`."""
    shift, step = _shift(len(cells)), min(k - 1, 1)
    for d in range(len(doc_starts) - 1):
        for i in range(doc_starts[d], doc_starts[d + 1] - k + 1):
            a, b = ids[i], ids[i + step]
            if (a | b) >= 0:
                h = (((np.uint64(a) << _U32) | np.uint64(b)) * _ODD) >> shift
                c = cells[h]
                cells[h] = c + (c < least)


@njit(cache=True, nogil=True)
def _count(ids, doc_starts, k, cells, least, table, n_candidates, may_add):
    """Replace each id by that of its candidate (-1: none) and count it; returns the table and how many there are.

    table[slot] = (pair, candidate << 32 | occurrences), open addressing; an empty slot has 0 in its second word.
    At length k, position i holds the id of the (k - 1)-gram there; the pair is that of positions i and i + 1.
    """
    cell_shift, step = _shift(len(cells)), min(k - 1, 1)
    shift, mask = _shift(len(table)), np.uint64(len(table) - 1)
    one = np.uint64(1)
    for d in range(len(doc_starts) - 1):
        end = doc_starts[d + 1] - k + 1
        for i in range(doc_starts[d], end):
            a, b = ids[i], ids[i + step]
            ids[i] = -1
            if (a | b) < 0:
                continue
            key = (np.uint64(a) << _U32) | np.uint64(b)
            h = key * _ODD
            if cells[h >> cell_shift] < least:
                continue
            slot = h >> shift
            while table[slot, 1] != 0 and table[slot, 0] != key:
                slot = (slot + one) & mask
            if table[slot, 1] == 0:
                if not may_add:
                    continue
                if 2 * n_candidates >= len(table):
                    table = _twice(table)
                    shift, mask = _shift(len(table)), np.uint64(len(table) - 1)
                    slot = h >> shift
                    while table[slot, 1] != 0:
                        slot = (slot + one) & mask
                table[slot, 0], table[slot, 1] = key, np.uint64(n_candidates) << _U32
                n_candidates += 1
            table[slot, 1] += one
            ids[i] = np.int32(table[slot, 1] >> _U32)
        if k > 1 and end >= doc_starts[d]:
            ids[end] = -1  # its n-gram would leave the document
    return table, n_candidates


@njit(cache=True, nogil=True)
def _twice(table):
    out = np.zeros((2 * len(table), 2), np.uint64)
    shift, mask = _shift(len(out)), np.uint64(len(out) - 1)
    for old in range(len(table)):
        if table[old, 1] != 0:
            slot = (table[old, 0] * _ODD) >> shift
            while out[slot, 1] != 0:
                slot = (slot + np.uint64(1)) & mask
            out[slot, 0], out[slot, 1] = table[old, 0], table[old, 1]
    return out


@njit(cache=True, nogil=True)
def _enter(keys, cells, table):
    """Distinct keys into an empty table, candidate c = row c; one occurrence too many marks the slot as used."""
    cell_shift, shift, mask = _shift(len(cells)), _shift(len(table)), np.uint64(len(table) - 1)
    for c in range(len(keys)):
        h = keys[c] * _ODD
        cells[h >> cell_shift] = 1
        slot = h >> shift
        while table[slot, 1] != 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot, 0], table[slot, 1] = keys[c], (np.uint64(c) << _U32) | np.uint64(1)


@njit(cache=True, nogil=True)
def _tally(ids, doc_starts, labels, problem, order, k, remap, stats, n_labels):
    """Replace candidates by rows, and count occurrences, documents and problems of each row."""
    by_problem = len(problem) > 0
    for d in order:
        label = labels[d]
        for i in range(doc_starts[d], doc_starts[d + 1] - k + 1):
            c = ids[i]
            if c < 0:
                continue
            r = remap[c]
            ids[i] = r
            if r < 0:
                continue
            if stats[r, _DOC] != d + 1:
                if stats[r, _DOC] == 0:
                    stats[r, _POSITION] = i + 1
                stats[r, _DOC] = d + 1
                stats[r, _COUNTS + n_labels + label] += 1
                if by_problem and stats[r, _PROBLEM] != problem[d] + 1:
                    stats[r, _PROBLEM] = problem[d] + 1
                    stats[r, _PROBLEMS] += 1
            stats[r, _COUNTS + label] += 1
