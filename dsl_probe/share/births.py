"""When do items of a language come up, change and die over the steps of a training: a permutation test of them all.

An item (motif, unit, opener) is held by a trace or not. Three statistics of an item, each a likelihood ratio of
binomial shares (G2): the best split of the steps in two; the rise of each step over the first; the fall of each step
from the step before it that has the highest share. Null: steps dealt anew to the traces, for all items at once, so that
their dependence is kept. The dealt unit is the cell, the traces of one problem at one step, within its problem where
problems return at several steps, else among all cells. Over items the adjustment is the step-down max-T of Westfall and
Young (1993), in each of the three families by itself.
"""

from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

ALPHA = 0.05
# A fall is a death where no later step has more than this part of the highest share.
DEAD = 0.1


@dataclass(frozen=True)
class Events:
    """What happened to each item, one entry an item; a step is its index, -1 where there is none.

    change: first step after the best split in two. p: permutation p of that split; p_adj: adjusted over items. birth:
    first step whose share is above that of the first step, at an adjusted p of .05 or less; birth_p: the adjusted p of
    the item's highest rise. death: first step, after which the share stays at a tenth of the highest or less, whose
    share is below that of the highest step before it, at an adjusted p of .05 or less; death_p as birth_p.
    """

    change: np.ndarray
    p: np.ndarray
    p_adj: np.ndarray
    birth: np.ndarray
    birth_p: np.ndarray
    death: np.ndarray
    death_p: np.ndarray


def find_events(
    held: sparse.csr_matrix, step: np.ndarray, problem: np.ndarray, permutations: int = 499, seed: int = 0
) -> Events:
    """Births, change points and deaths of items.

    held: [traces, items], not zero where a trace holds an item. step: int[traces], codes 0 .. steps - 1, all used.
    problem: int[traces]. Time: permutations x (cells of `held` + 20 x steps x items) operations.

    >>> held = sparse.csr_matrix(np.repeat([0, 1], 40)[:, None])
    >>> found = find_events(held, np.repeat([0, 1, 2, 3], 20), np.arange(80), 99)
    >>> found.change.tolist(), found.birth.tolist(), found.death.tolist(), found.p.tolist()
    ([2], [2], [-1], [0.01])

    What it does not show: why an item came up. A longer trace holds more items, and with unpaired problems the later
    problems may differ in kind. Where a step has few traces a birth is seen later than it was. A step alone is dealt
    against all others: that an item differs at some step does not prove it at the step named.
    """
    held = sparse.csr_matrix(held)
    steps, problem = int(step.max()) + 1, np.unique(problem, return_inverse=True)[1]
    sizes = np.bincount(step, minlength=steps).astype(np.int64)
    counts = _counts(held.indptr, held.indices, step.astype(np.int64), steps, held.shape[1])
    table = _xlogx(held.shape[0])
    change, split, rise, fall = _statistics(counts, sizes, table)
    orders = [np.argsort(s, kind="stable") for s in (split, rise.max(0), fall.max(0))]
    own = np.zeros(held.shape[1], np.int64)
    stepped = np.zeros(held.shape[1], np.int64)
    rises, falls = np.zeros(rise.shape, np.int64), np.zeros(fall.shape, np.int64)
    for dealt in dealt_steps(step, problem, permutations, seed):
        there = np.bincount(dealt, minlength=steps).astype(np.int64)
        again = _statistics(_counts(held.indptr, held.indices, dealt, steps, held.shape[1]), there, table)[1:]
        own += again[0] >= split * (1 - 1e-9) - 1e-9
        _larger(again[0], split[None], orders[0], stepped[None])
        _larger(again[1].max(0), rise, orders[1], rises)
        _larger(again[2].max(0), fall, orders[2], falls)
    p = (own + 1) / (permutations + 1)
    p_adj = np.maximum(_step_down((stepped + 1) / (permutations + 1), orders[0]), p)
    birth, birth_p = _first((rises + 1) / (permutations + 1), rise, orders[1], np.ones(rise.shape, bool))
    share = counts / sizes[:, None]
    later = np.maximum.accumulate(share[::-1], axis=0)[::-1]
    death, death_p = _first((falls + 1) / (permutations + 1), fall, orders[2], later <= DEAD * share.max(0))
    return Events(np.where(split > 0, change, -1), p, p_adj, birth, birth_p, death, death_p)


def is_paired(step: np.ndarray, problem: np.ndarray) -> bool:
    """Whether at least half of the traces belong to problems that stand at two steps or more.

    >>> is_paired(np.array([0, 1, 0]), np.array([5, 5, 6])), is_paired(np.array([0, 1]), np.array([5, 6]))
    (True, False)
    """
    cells = np.unique(np.stack([problem, step]), axis=1)[0]
    seen, at = np.unique(cells, return_counts=True)
    return bool(2 * np.isin(problem, seen[at > 1]).sum() >= len(problem))


def dealt_steps(step: np.ndarray, problem: np.ndarray, permutations: int, seed: int):
    """Yields int64[traces], the steps as each permutation deals them; see the module for what is dealt."""
    cells, cell = np.unique(np.stack([problem, step]), axis=1, return_inverse=True)
    stratum = cells[0] if is_paired(step, problem) else np.zeros(cells.shape[1], np.int64)
    rng = np.random.default_rng([seed, 17])
    place = np.argsort(stratum, kind="stable")
    for _ in range(permutations):
        dealt = np.empty(cells.shape[1], np.int64)
        dealt[place] = cells[1][np.lexsort((rng.random(len(place)), stratum))]
        yield dealt[cell]


def _xlogx(n: int) -> np.ndarray:
    x = np.arange(n + 1, dtype=np.float64)
    return x * np.log(np.maximum(x, 1))


def _step_down(p: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Adjusted p from the strongest item on: no smaller than that of any stronger item."""
    out = np.empty(len(p))
    out[order[::-1]] = np.maximum.accumulate(p[order[::-1]])
    return out


def _first(
    p: np.ndarray, statistic: np.ndarray, order: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First step of each item that is allowed and has an adjusted p of ALPHA or less; and the item's least p."""
    best = _step_down(p[statistic.argmax(0), np.arange(p.shape[1])], order)
    good = (np.maximum(p, best) <= ALPHA) & allowed & (statistic > 0)
    return np.where(good.any(0), good.argmax(0), -1), best


@numba.njit(cache=True, nogil=True)
def _counts(indptr, indices, step, steps, items):
    counts = np.zeros((steps, items), np.int64)
    for row in range(len(indptr) - 1):
        for cell in range(indptr[row], indptr[row + 1]):
            counts[step[row], indices[cell]] += 1
    return counts


@numba.njit(cache=True, nogil=True)
def _fit(k, n, table):
    return table[k] + table[n - k] - table[n]


@numba.njit(cache=True, nogil=True)
def _statistics(counts, sizes, table):
    """Best split and its G2; G2 of the rise over the first step, and of the fall from the highest step so far."""
    steps, items = counts.shape
    total = sizes.sum()
    change = np.zeros(items, np.int64)
    split = np.zeros(items)
    rise = np.zeros((steps, items))
    fall = np.zeros((steps, items))
    for m in range(items):
        every = 0
        for s in range(steps):
            every += counts[s, m]
        whole = _fit(every, total, table)
        k, n, top = 0, 0, 0
        for s in range(1, steps):
            k += counts[s - 1, m]
            n += sizes[s - 1]
            value = 2 * (_fit(k, n, table) + _fit(every - k, total - n, table) - whole)
            if value > split[m] + 1e-9:
                split[m], change[m] = value, s
            here, size = counts[s, m], sizes[s]
            for other in (0, top):
                before, there = counts[other, m], sizes[other]
                g2 = 2 * (_fit(before, there, table) + _fit(here, size, table))
                g2 -= 2 * _fit(before + here, there + size, table)
                if other == 0 and here * there > before * size:
                    rise[s, m] = g2
                if other == top and here * there < before * size:
                    fall[s, m] = g2
            if here * sizes[top] > counts[top, m] * size:
                top = s
    return change, split, rise, fall


@numba.njit(cache=True, nogil=True)
def _larger(permuted, observed, order, larger):
    """Adds one to each (step, item) whose statistic the maximum over items that are no stronger reaches."""
    best = 0.0
    for m in order:
        best = max(best, permuted[m])
        for s in range(observed.shape[0]):
            # The same value summed in another order must count as a tie.
            larger[s, m] += best >= observed[s, m] * (1 - 1e-9) - 1e-9
