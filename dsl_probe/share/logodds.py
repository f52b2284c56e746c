"""How much more one group uses a motif: weighted log-odds with an informative Dirichlet prior, interval by problem."""

import numpy as np
from scipy import sparse


def log_odds(
    counts_a: sparse.csr_matrix,
    units_a: np.ndarray,
    counts_b: sparse.csr_matrix,
    units_b: np.ndarray,
    paired: bool,
    prior_units: float = 1_000.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate and 95 % interval (low, high) in nats, float64[motifs].

    counts_a, counts_b: [problems, motifs] occurrences; units_a, units_b: float64[problems] units of text. With
    `paired`, row i of both is the same problem. Monroe, Colaresi and Quinn (2008): the prior is the pooled rate, worth
    `prior_units` units. The variance is the larger of theirs, which holds where occurrences are independent, and a
    linearised one by problem (sandwich), which holds where they come in bursts.

    >>> c = lambda k: sparse.csr_matrix(np.full((10, 1), k))
    >>> estimate, low, high = log_odds(c(4), np.full(10, 100.0), c(1), np.full(10, 100.0), True)
    >>> bool(0.5 < estimate[0] < 1.4), bool(low[0] > 0)
    (True, True)

    What it does not show: whether the difference is more than chance (see `permute`). Where one group never uses the
    motif the size of the estimate is set by the prior; read the interval's near end.
    """
    total_a, total_b = float(units_a.sum()), float(units_b.sum())
    y_a, y_b = (np.asarray(c.sum(0), float).ravel() for c in (counts_a, counts_b))
    prior = prior_units * (y_a + y_b) / max(total_a + total_b, 1.0)
    prior = np.maximum(prior, 1e-9)
    odds = []
    influence = []
    plain = np.zeros(len(prior))
    for counts, units, y, total in ((counts_a, units_a, y_a, total_a), (counts_b, units_b, y_b, total_b)):
        rest = np.maximum(total + prior_units - y - prior, 1e-9)
        odds.append(np.log((y + prior) / rest))
        plain += 1 / (y + prior) + 1 / rest
        # d log-odds of leaving a problem in: u = (y_p - rate n_p) / (total rate (1 - rate))
        rate = (y + prior) / (total + prior_units)
        influence.append((1 / (max(total, 1.0) * rate * (1 - rate)), rate, counts, units))
    variance = np.maximum(plain, _sandwich(influence, paired))
    estimate = odds[0] - odds[1]
    half = 1.959964 * np.sqrt(variance)
    return estimate, estimate - half, estimate + half


def _sandwich(influence, paired: bool) -> np.ndarray:
    """Sum over problems of (u_a - u_b)^2 where paired, else of u_a^2 + u_b^2, without a dense matrix."""
    (s_a, r_a, c_a, n_a), (s_b, r_b, c_b, n_b) = influence

    def square(s, r, c, n):
        yy = np.asarray(c.multiply(c).sum(0)).ravel()
        yn = np.asarray(c.T @ n).ravel()
        return s**2 * (yy - 2 * r * yn + r**2 * (n**2).sum())

    total = square(s_a, r_a, c_a, n_a) + square(s_b, r_b, c_b, n_b)
    if paired:
        ab = np.asarray(c_a.multiply(c_b).sum(0)).ravel()
        cross = ab - r_b * np.asarray(c_a.T @ n_b).ravel() - r_a * np.asarray(c_b.T @ n_a).ravel()
        total -= 2 * s_a * s_b * (cross + r_a * r_b * (n_a * n_b).sum())
    return np.maximum(total, 0)
