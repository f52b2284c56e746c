"""Which repeats are motifs of the models: echoes set apart, support counted in traces and in problems, by cell.

A cell is a (model or training run, domain). Motifs are selected on the pooled traces of all cells: a filter that looked
at the groups would make every later test invalid.
"""

from dataclasses import dataclass

import numba
import numpy as np


@dataclass(frozen=True)
class CellCounts:
    """Long form, one row a (motif, cell) that is not zero; and the pooled totals, one row a motif."""

    row: np.ndarray
    cell: np.ndarray
    count: np.ndarray
    support: np.ndarray
    problems: np.ndarray
    pooled_count: np.ndarray
    pooled_support: np.ndarray
    pooled_problems: np.ndarray


def echo_occurrences(doc: np.ndarray, start: np.ndarray, length: np.ndarray, bounds: np.ndarray, flagged: np.ndarray):
    """bool[k]: occurrences all of whose units are flagged (echo of the prompt, or forced prefix).

    doc, start, length: of each occurrence, start in units of its document. bounds: int64[n_docs + 1]. flagged: bool[n].
    """
    cumulative = np.zeros(len(flagged) + 1, np.int32)
    np.cumsum(flagged, out=cumulative[1:])
    first = bounds[doc] + start
    return cumulative[first + length] - cumulative[first] == length


def cell_counts(
    row: np.ndarray, doc: np.ndarray, n_rows: int, doc_cell: np.ndarray, n_cells: int, doc_problem: np.ndarray
) -> CellCounts:
    """Count occurrences, traces and problems by motif and cell.

    row, doc: of each occurrence, sorted by (row, doc). doc_cell, doc_problem: int32[n_docs], codes from 0.
    """
    pair, doc_pair = np.unique(
        doc_cell.astype(np.int64) * (doc_problem.max(initial=0) + 1) + doc_problem, return_inverse=True
    )
    args = (row, doc, doc_cell, doc_pair.astype(np.int32), doc_problem)
    sizes = (n_rows, n_cells, len(pair), int(doc_problem.max(initial=0)) + 1)
    empty = np.zeros((5, 0), np.int64)
    n, _ = _count(*args, *sizes, empty, False)
    long = np.zeros((5, n), np.int64)
    _, pooled = _count(*args, *sizes, long, True)
    return CellCounts(*long, *pooled)


@numba.njit(cache=True, nogil=True)
def _count(row, doc, doc_cell, doc_pair, doc_problem, n_rows, n_cells, n_pairs, n_problems, long, fill):
    pooled = np.zeros((3, n_rows), np.int64)
    slot = np.full(n_cells, -1, np.int64)
    slot_row = np.full(n_cells, -1, np.int64)
    pair_row = np.full(n_pairs, -1, np.int64)
    problem_row = np.full(n_problems, -1, np.int64)
    n = 0
    for i in range(len(row)):
        r, d = row[i], doc[i]
        c = doc_cell[d]
        if slot_row[c] != r:
            slot_row[c] = r
            slot[c] = n
            if fill:
                long[0, n] = r
                long[1, n] = c
            n += 1
        if fill:
            long[2, slot[c]] += 1
            pooled[0, r] += 1
            if i == 0 or row[i - 1] != r or doc[i - 1] != d:
                long[3, slot[c]] += 1
                pooled[1, r] += 1
            if pair_row[doc_pair[d]] != r:
                pair_row[doc_pair[d]] = r
                long[4, slot[c]] += 1
            if problem_row[doc_problem[d]] != r:
                problem_row[doc_problem[d]] = r
                pooled[2, r] += 1
    return n, pooled


# A motif is in excess of a reference where its count is at least three times what the reference leads to expect and the
# likelihood ratio (Dunning 1993) is beyond chance for ten thousand motifs; a seed may yet gather the uses for that.
RATIO, SURE, MAYBE = 3.0, 24.0, 8.0


def log_likelihood(a: np.ndarray, b: np.ndarray, size_a: float, size_b: float) -> np.ndarray:
    """G2 of counts a and b in texts of two sizes, negative where a is the rarer: chi-squared with one degree if equal.

    Source: Dunning, Accurate methods for the statistics of surprise and coincidence (1993). Not shown: that uses in
    one document depend on each other, which makes it too large; support in documents and problems is asked for beside.

    >>> round(float(log_likelihood(np.array(12), np.array(4), 100, 100)), 3)
    4.186
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (a + b) * size_a / (size_a + size_b), (a + b) * size_b / (size_a + size_b)
        parts = [np.where(n > 0, n * np.log(n / e), 0.0) for n, e in zip((a, b), expected, strict=True)]
    return 2 * (parts[0] + parts[1]) * np.where(a * size_b >= b * size_a, 1, -1)


def in_excess(a: np.ndarray, b: np.ndarray, size_a: float, size_b: float, least: float) -> np.ndarray:
    """bool: counts a exceed `RATIO` times what counts b of a reference lead to expect, with G2 of `least` or more."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return (a * size_b >= RATIO * b * size_a) & (log_likelihood(a, b, size_a, size_b) >= least)
