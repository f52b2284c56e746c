"""Log-odds against a dense reference, and its interval against simulation."""

import numpy as np
from scipy import sparse

from dsl_probe.share.logodds import log_odds


def test_estimate_is_monroe_et_al_by_hand():
    a, b = np.array([[3.0], [5.0]]), np.array([[1.0], [0.0]])
    n_a, n_b = np.array([100.0, 120.0]), np.array([90.0, 130.0])
    got, _, _ = log_odds(sparse.csr_matrix(a), n_a, sparse.csr_matrix(b), n_b, True, prior_units=50)
    prior = 50 * 9 / 440
    want = np.log((8 + prior) / (220 + 50 - 8 - prior)) - np.log((1 + prior) / (220 + 50 - 1 - prior))
    np.testing.assert_allclose(got, want)


def test_sandwich_equals_the_sum_of_squared_influences():
    rng = np.random.default_rng(0)
    a, b = rng.poisson(2.0, (40, 6)).astype(float), rng.poisson(1.0, (40, 6)).astype(float)
    a[:5] *= 9  # bursts, so that the sandwich is the larger variance
    n_a, n_b = rng.integers(80, 120, 40).astype(float), rng.integers(80, 120, 40).astype(float)
    for paired in (True, False):
        estimate, low, high = log_odds(sparse.csr_matrix(a), n_a, sparse.csr_matrix(b), n_b, paired)
        prior = 1000 * (a.sum(0) + b.sum(0)) / (n_a.sum() + n_b.sum())
        u = []
        for y, n in ((a, n_a), (b, n_b)):
            rate = (y.sum(0) + prior) / (n.sum() + 1000)
            u.append((y - rate * n[:, None]) / (n.sum() * rate * (1 - rate)))
        sandwich = ((u[0] - u[1]) ** 2).sum(0) if paired else (u[0] ** 2).sum(0) + (u[1] ** 2).sum(0)
        plain = sum(1 / (y.sum(0) + prior) + 1 / (n.sum() + 1000 - y.sum(0) - prior) for y, n in ((a, n_a), (b, n_b)))
        np.testing.assert_allclose((high - low) / 2, 1.959964 * np.sqrt(np.maximum(plain, sandwich)))
        np.testing.assert_allclose((high + low) / 2, estimate)


def test_interval_covers_zero_when_bursty_groups_are_alike():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        burst = rng.gamma(0.2, 5.0, (2, 80, 1)) * 3
        y = rng.poisson(burst).astype(float)
        n = np.full(80, 400.0)
        _, low, high = log_odds(sparse.csr_matrix(y[0]), n, sparse.csr_matrix(y[1]), n, True)
        inside += low[0] <= 0 <= high[0]
    assert inside >= 0.92 * 300
