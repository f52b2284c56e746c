"""How evenly a motif is spread over problems, and how evenly chance would spread it."""

import numpy as np
from scipy import sparse
from scipy.special import gammaln


def dispersion(counts: sparse.csr_matrix, units: np.ndarray) -> np.ndarray:
    """Deviation of proportions of each motif over problems: float64[motifs], NaN where it does not occur.

        DP = (1/2) sum over problems |v_i - s_i| = 1 - sum over problems min(v_i, s_i)

    v_i is the share of the motif's occurrences that stand in problem i, s_i the problem's share of the text.
    counts: [problems, motifs]; units: float64[problems]. From 0 (in proportion to the text) to nearly 1 (all in one
    short problem). Source: Gries 2008, International Journal of Corpus Linguistics 13:403.

    >>> dispersion(sparse.csr_matrix([[2, 4], [2, 0]]), np.array([50.0, 50.0]))
    array([0. , 0.5])

    What it does not show: clumping, where the motif is rare: three occurrences cannot be even over a hundred problems.
    Read it beside `chance_dispersion`.
    """
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    total = np.asarray(counts.sum(0)).ravel()
    share = units / max(units.sum(), 1e-12)
    problem = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    common = np.minimum(counts.data / total[counts.indices], share[problem])
    kept = np.bincount(counts.indices, common, counts.shape[1])
    return np.where(total > 0, 1 - kept, np.nan)


def chance_dispersion(totals: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Mean `dispersion` of as many occurrences scattered over the text at random: float64[motifs].

    totals: occurrences of each motif; units: float64[problems]. The number in problem i is binomial (n, s_i), whose
    mean absolute deviation is 2 (m + 1) C(n, m + 1) s^(m + 1) (1 - s)^(n - m), m = floor(n s) (de Moivre 1730).

    >>> chance_dispersion(np.array([1, 100]), np.full(2, 10.0)).round(3)
    array([0.5 , 0.04])
    """
    share = units / max(units.sum(), 1e-12)
    share = share[share > 0]
    number, where = np.unique(np.asarray(totals, np.int64), return_inverse=True)
    found = np.full(len(number), np.nan)
    for k, n in enumerate(number.tolist()):
        if n > 0:
            m = np.minimum(np.floor(n * share), n - 1)
            log = gammaln(n + 1) - gammaln(m + 2) - gammaln(n - m) + (m + 1) * np.log(share)
            rest = (n - m) * np.log1p(-np.minimum(share, 1 - 1e-15))
            found[k] = np.exp(np.log(m + 1) + log + rest).sum() / n
    return found[where]
