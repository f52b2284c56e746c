"""Permutation tests over many motifs at once, with the step-down max-T adjustment of Westfall and Young (1993).

Every statistic here is linear in the items (problems): T_m = sum_i w_i v_im. Permuting the groups changes the weights
w and nothing else, so all motifs share one matrix of permuted weights, and their dependence is kept.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

_BLOCK = 512


@dataclass(frozen=True)
class TestResult:
    """z: studentised statistic; p: two-sided permutation p; p_adj: step-down max-T p. float64[n_motifs] each."""

    z: np.ndarray
    p: np.ndarray
    p_adj: np.ndarray


def paired_test(differences: sparse.csc_matrix, permutations: int, seed: int) -> TestResult:
    """Swap the two groups within each problem.

    differences: [problems, motifs], rate of A minus rate of B in a problem that both answered. The statistic is
    z = sum d / sqrt(sum d^2); under the swap only the signs change. A motif used in s problems of A and in none of B,
    at equal rates, has z = sqrt(s).

    >>> d = sparse.csc_matrix(np.ones((16, 1)))
    >>> float(paired_test(d, 99, 0).z[0])
    4.0

    What it does not show: which property of the models makes the difference; rates are compositional, so that one
    rising motif lowers all others.
    """
    signs = np.random.default_rng(seed).integers(0, 2, (differences.shape[0], permutations), dtype=np.int8)
    weights = (2 * signs - 1).astype(np.float32)
    scale = np.sqrt(np.asarray(differences.multiply(differences).sum(0)).ravel())
    return _max_t(differences, np.ones(differences.shape[0], np.float32), weights, scale)


def clustered_test(
    values: sparse.csc_matrix, in_a: np.ndarray, stratum: np.ndarray, permutations: int, seed: int
) -> TestResult:
    """Exchange whole problems between the groups, within strata (domains).

    values: [problems, motifs], mean rate in a problem that one of the groups answered; in_a: bool[problems]; stratum:
    int[problems]. The statistic is the difference of means, averaged over strata by their size, over its standard
    deviation under exchange. Strata without problems of both groups are left out.

    What it does not show: that the models differ, where the two sets of problems differ in kind.
    """
    rng = np.random.default_rng(seed)
    observed = np.zeros(values.shape[0], np.float32)
    weights = np.zeros((values.shape[0], permutations), np.float32)
    variance = np.zeros(values.shape[1])
    for items, base in _strata(in_a, stratum):
        observed[items] = base
        weights[items] = rng.permuted(np.repeat(base[:, None], permutations, 1), axis=0)
        part = values[items]
        total, squares = (np.asarray(x.sum(0)).ravel() for x in (part, part.multiply(part)))
        variance += _exchange_variance(total, squares, base)
    return _max_t(values, observed, weights, np.sqrt(variance))


def _strata(in_a: np.ndarray, stratum: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each stratum with problems of both groups: its rows, and their weights in the difference of means."""
    strata = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    used = [items for items in strata if 0 < in_a[items].sum() < len(items)]
    total = sum(map(len, used))
    out = []
    for items in used:
        n, n_a = len(items), int(in_a[items].sum())
        out.append((items, np.where(in_a[items], 1 / n_a, -1 / (n - n_a)) * (n / total)))
    return out


def _exchange_variance(total: np.ndarray, squares: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Variance of a stratum's part of the difference under exchange, from the sums of its values and their squares."""
    n = len(base)
    return np.maximum(squares - total**2 / n, 0) / (n - 1) * (base @ base)


def _max_t(values: sparse.csc_matrix, observed: np.ndarray, weights: np.ndarray, scale: np.ndarray) -> TestResult:
    values = sparse.csc_matrix(values)
    n_motifs, permutations = values.shape[1], weights.shape[1]
    # A scale of rounding errors would make a z of nothing.
    usable = scale > 1e-12
    safe = np.where(usable, scale, 1.0)
    z = np.where(usable, np.asarray(values.T @ observed.astype(np.float64)).ravel() / safe, 0.0)
    order = np.argsort(np.abs(z), kind="stable")
    larger = np.zeros(n_motifs, np.int64)
    larger_max = np.zeros(n_motifs, np.int64)
    running = np.zeros(permutations)
    # From the weakest motif up: the maximum over all motifs that are no stronger.
    for block, permuted in _permuted_blocks(values, weights, np.where(usable, 1 / safe, 0.0), order):
        _count_larger(permuted, np.abs(z), block, running, larger, larger_max)
    p = (larger + 1) / (permutations + 1)
    stepped = (larger_max[order[::-1]] + 1) / (permutations + 1)
    p_adj = np.empty(n_motifs)
    p_adj[order[::-1]] = np.maximum.accumulate(stepped)
    return TestResult(z, p, np.maximum(p_adj, p))


def _permuted_blocks(values, weights, inverse_scale, order) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    blocks = [order[i : i + _BLOCK] for i in range(0, len(order), _BLOCK)]

    def compute(block: np.ndarray) -> np.ndarray:
        out = np.zeros((len(block), weights.shape[1]))
        _weighted_sums(values.indptr, values.indices, values.data, weights, block, inverse_scale, out)
        return out

    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        # A few blocks at a time: all of them together would be motifs x permutations.
        for i in range(0, len(blocks), threads):
            some = blocks[i : i + threads]
            yield from zip(some, pool.map(compute, some), strict=True)


@numba.njit(cache=True, nogil=True)
def _weighted_sums(indptr, indices, data, weights, block, inverse_scale, out):
    for k in range(len(block)):
        m = block[k]
        for i in range(indptr[m], indptr[m + 1]):
            v = data[i] * inverse_scale[m]
            item = indices[i]
            for q in range(weights.shape[1]):
                out[k, q] += v * weights[item, q]


@numba.njit(cache=True, nogil=True)
def _count_larger(permuted, z, block, running, larger, larger_max):
    for k in range(len(block)):
        # The same value summed in another order must count as a tie.
        bar = z[block[k]] * (1 - 1e-9) - 1e-12
        own = 0
        best = 0
        for q in range(len(running)):
            value = abs(permuted[k, q])
            own += value >= bar
            running[q] = max(running[q], value)
            best += running[q] >= bar
        larger[block[k]] = own
        larger_max[block[k]] = best


def stable_share(differences: sparse.csc_matrix, resamples: int, seed: int) -> np.ndarray:
    """Share of problem bootstraps in which |z| >= 1.96 (unadjusted p <= .05) with the sign of the whole.

    differences: [problems, motifs], as in `paired_test`. Returns float64[motifs] in 0..1.
    """
    n = differences.shape[0]
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)
    total = np.asarray((differences.T @ times.T).T)
    squares = np.asarray((differences.multiply(differences).T @ times.T).T)
    z = np.divide(total, np.sqrt(squares), out=np.zeros_like(total), where=squares > 1e-24)
    sign = np.sign(np.asarray(differences.sum(0)).ravel())
    return ((np.abs(z) >= 1.959964) & (np.sign(z) == sign)).mean(0)


def stable_share_clustered(
    values: sparse.csc_matrix, in_a: np.ndarray, stratum: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """`stable_share` where each problem was answered by one of the groups: |z| >= 1.96 with the sign of the whole.

    values, in_a, stratum: as in `clustered_test`, whose z is taken in each bootstrap sample. Whole problems are drawn
    within group and stratum, so that the groups keep their sizes; strata without problems of both are left out.
    Returns float64[motifs] in 0..1.

    >>> v = sparse.csc_matrix([[1.0, 0.2], [0.9, 0.1], [1.1, 0.2], [0.0, 0.1], [0.1, 0.2], [0.2, 0.1]])
    >>> stable_share_clustered(v, np.arange(6) < 3, np.zeros(6, int), 100, 0)[0]
    np.float64(1.0)

    What it does not show: as the share, how a new set of problems of another kind would turn out.
    """
    rng = np.random.default_rng(seed)
    rows, squared = sparse.csr_matrix(values), sparse.csr_matrix(values.multiply(values))
    shape = (resamples, values.shape[1])
    difference, variance, whole = np.zeros(shape), np.zeros(shape), np.zeros(values.shape[1])
    for items, base in _strata(in_a, stratum):
        times = np.zeros((len(items), resamples))
        for group in (base > 0, base < 0):
            size = int(group.sum())
            times[group] = rng.multinomial(size, np.full(size, 1 / size), resamples).T
        part = rows[items]
        whole += part.T @ base
        difference += (part.T @ (base[:, None] * times)).T
        variance += _exchange_variance((part.T @ times).T, (squared[items].T @ times).T, base)
    z = np.divide(difference, np.sqrt(variance), out=np.zeros(shape), where=variance > 1e-24)
    return ((np.abs(z) >= 1.959964) & (np.sign(z) == np.sign(whole))).mean(0)
