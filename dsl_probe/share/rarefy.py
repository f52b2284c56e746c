"""How many kinds a sample of fixed size would show: rarefaction, with an interval by problem."""

import numpy as np
from scipy import sparse
from scipy.special import gammaln

from dsl_probe.share.vocab import jackknife

_GROUPS = 25


def count_matrix(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """How often each (row, column) stands there."""
    return sparse.csr_matrix((np.ones(len(row)), (row, column)), shape)


def summed(counts: sparse.csr_matrix, problem: np.ndarray) -> sparse.csr_matrix:
    """[problems, columns]: the rows of each problem added up."""
    code = np.unique(problem, return_inverse=True)[1]
    return (count_matrix(code, np.arange(len(code)), (code.max() + 1, len(code))) @ counts).tocsr()


def seen_in(uses: np.ndarray, whole: int, size: int) -> float:
    """Expected number of kinds among `size` drawn without replacement of `whole`, of which uses[k] hold kind k.

    Rarefaction (Hurlbert 1971). size: at most `whole`.

    >>> seen_in(np.array([1, 3]), 4, 2)
    1.5

    What it does not show: more than this sample; units of one trace come in bursts, and are drawn here one by one.
    """
    uses = uses[uses > 0]
    can = uses <= whole - size
    left = whole - uses[can]
    missed = np.exp(gammaln(left + 1) - gammaln(left - size + 1) - gammaln(whole + 1) + gammaln(whole - size + 1))
    return float(len(uses) - missed.sum())


def rarefied(
    counts: sparse.csr_matrix, weight: np.ndarray, problem: np.ndarray, size: int
) -> tuple[float, float, float]:
    """`seen_in` with its interval by groups of problems. weight: what each row adds to the whole."""
    code = np.unique(problem, return_inverse=True)[1]
    groups = min(_GROUPS, int(code.max()) + 1)
    by_group, whole = summed(counts, code % groups).toarray(), np.bincount(code % groups, weights=weight)
    uses, every = by_group.sum(0), int(whole.sum())
    if size < 1:
        return float("nan"), float("nan"), float("nan")
    deleted = [
        seen_in(uses - one, every - int(w), min(size, every - int(w))) for one, w in zip(by_group, whole, strict=True)
    ]
    return jackknife(seen_in(uses, every, size), [np.array(deleted)]).interval(corrected=False)
