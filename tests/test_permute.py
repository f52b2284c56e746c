"""The permutation tests against full enumeration, closed forms and a brute-force step-down max-T."""

import itertools

import numpy as np
import pytest
from scipy import sparse, stats

from dsl_probe.permute import clustered_test, paired_test, stable_share, stable_share_clustered


def test_a_motif_in_s_problems_of_one_side_has_z_of_root_s():
    d = np.zeros((40, 2))
    d[:25, 0] = 0.01
    d[:9, 1] = -0.2
    z = paired_test(sparse.csc_matrix(d), 99, 0).z
    np.testing.assert_allclose(z, [5, -3])


def test_paired_p_is_the_share_of_all_sign_flips():
    d = np.array([0.3, 0.1, 0.4, -0.1, 0.5, 0.2, 0.25])
    flips = np.array(list(itertools.product([-1, 1], repeat=len(d)))) @ d
    exact = np.mean(np.abs(flips) >= abs(d.sum()) - 1e-12)
    p = paired_test(sparse.csc_matrix(d[:, None]), 20_000, 1).p[0]
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)


def step_down(z: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Westfall and Young's step-down max-T, written as the definition says."""
    order = np.argsort(-np.abs(z), kind="stable")
    adjusted, highest = np.empty(len(z)), 0.0
    for k, m in enumerate(order):
        maxima = np.abs(permuted[:, order[k:]]).max(1)
        p = (1 + np.sum(maxima >= abs(z[m]) * (1 - 1e-9))) / (1 + len(permuted))
        highest = max(highest, p)
        adjusted[m] = highest
    return adjusted


def test_max_t_equals_its_definition():
    rng = np.random.default_rng(3)
    d = rng.normal(size=(30, 700)) * (rng.random((30, 700)) < 0.4)
    d[:, 0] += 0.8
    got = paired_test(sparse.csc_matrix(d), 199, 7)
    signs = 2.0 * np.random.default_rng(7).integers(0, 2, (30, 199), dtype=np.int8) - 1
    scale = np.sqrt((d**2).sum(0))
    np.testing.assert_allclose(got.z, d.sum(0) / scale)
    np.testing.assert_allclose(got.p_adj, step_down(got.z, (signs.T @ d) / scale))
    assert (got.p_adj >= got.p).all() and got.p_adj[0] <= 0.05


def test_no_difference_gives_p_of_one_and_no_nan():
    got = paired_test(sparse.csc_matrix((50, 4)), 99, 0)
    assert (got.z == 0).all() and (got.p == 1).all() and (got.p_adj == 1).all()


def test_family_wise_error_under_the_null_is_kept():
    found = 0
    for seed in range(200):
        d = np.random.default_rng(seed).standard_t(3, size=(60, 50))
        found += (paired_test(sparse.csc_matrix(d), 199, seed).p_adj <= 0.05).any()
    assert found <= stats.binom.ppf(0.999, 200, 0.05)


def test_clustered_z_is_the_permutation_standardised_difference():
    rng = np.random.default_rng(0)
    v = rng.random((24, 3))
    in_a = np.arange(24) < 9
    got = clustered_test(sparse.csc_matrix(v), in_a, np.zeros(24, int), 4_000, 1)
    draws = np.array([v[p[:9]].mean(0) - v[p[9:]].mean(0) for p in (rng.permutation(24) for _ in range(4_000))])
    want = (v[in_a].mean(0) - v[~in_a].mean(0)) / draws.std(0)
    np.testing.assert_allclose(got.z, want, rtol=0.05, atol=0.03)


def test_clustered_test_exchanges_only_within_strata():
    # All of A lies in one stratum and all of B in the other: nothing can be exchanged, so nothing is claimed.
    v = np.r_[np.ones(10), np.zeros(10)][:, None]
    in_a = np.arange(20) < 10
    got = clustered_test(sparse.csc_matrix(v), in_a, np.where(in_a, 0, 1), 99, 0)
    assert got.p[0] == 1
    # A confounded stratum effect is no discovery either.
    stratum = np.repeat([0, 1], 20)
    v = np.where(stratum, 5.0, 1.0)[:, None] + np.random.default_rng(1).normal(0, 0.1, (40, 1))
    in_a = np.r_[np.arange(20) < 15, np.arange(20) < 5]
    assert clustered_test(sparse.csc_matrix(v), in_a, stratum, 499, 0).p[0] > 0.05


def test_clustered_null_is_uniform():
    rng = np.random.default_rng(5)
    p = [
        clustered_test(
            sparse.csc_matrix(rng.gamma(0.3, size=(50, 1))), np.arange(50) < 20, np.zeros(50, int), 199, s
        ).p[0]
        for s in range(300)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.001


@pytest.mark.parametrize("effect, stable", [(2.0, True), (0.0, False)])
def test_stability_tells_a_strong_motif_from_noise(effect, stable):
    d = np.random.default_rng(2).normal(effect, 1, (50, 1))
    assert (stable_share(sparse.csc_matrix(d), 100, 0)[0] >= 0.9) == stable


def test_clustered_stability_is_the_share_of_tests_of_resampled_problems():
    """Rows drawn one by one within group and stratum, each draw tested by `clustered_test`."""
    rng = np.random.default_rng(4)
    in_a = rng.random(40) < 0.4
    stratum = np.repeat([0, 1, 2], [15, 15, 10])
    in_a[stratum == 2] = True  # a stratum without problems of B
    v = sparse.csc_matrix(rng.gamma(0.5, size=(40, 6)) * (rng.random((40, 6)) < 0.6) + np.outer(in_a, np.arange(6) / 5))
    cells = [np.flatnonzero((in_a == side) & (stratum == s)) for s in range(3) for side in (True, False)]
    sign = np.sign(clustered_test(v, in_a, stratum, 1, 0).z)
    hits = np.zeros(6)
    for _ in range(2_000):
        drawn = np.concatenate([rng.choice(c, len(c)) for c in cells if len(c)])
        hits += clustered_test(v[drawn], in_a[drawn], stratum[drawn], 1, 0).z * sign >= 1.959964
    got = stable_share_clustered(v, in_a, stratum, 2_000, 1)
    np.testing.assert_allclose(got, hits / 2_000, atol=4 * np.sqrt(0.5 / 2_000))
    assert got.min() < 0.4 and got.max() > 0.9


def test_clustered_stability_of_two_normal_samples_is_the_power_of_z():
    """Known in closed form: about N(z, 1) over the resamples, z that of the samples, for a small effect."""
    rng = np.random.default_rng(6)
    v = np.r_[rng.normal(0.12, 1, 800), rng.normal(0, 1, 1_200)][:, None]
    in_a = np.arange(2_000) < 800
    z = clustered_test(sparse.csc_matrix(v), in_a, np.zeros(2_000, int), 1, 0).z[0]
    got = stable_share_clustered(sparse.csc_matrix(v), in_a, np.zeros(2_000, int), 4_000, 0)[0]
    assert got == pytest.approx(stats.norm.cdf(abs(z) - 1.959964), abs=0.03)


def test_clustered_stability_claims_nothing_where_nothing_can_be_compared():
    v = sparse.csc_matrix(np.r_[np.ones(10), np.zeros(10)][:, None])
    in_a = np.arange(20) < 10
    assert stable_share_clustered(v, in_a, np.where(in_a, 0, 1), 50, 0) == 0
    assert stable_share_clustered(sparse.csc_matrix((20, 1)), in_a, np.zeros(20, int), 50, 0) == 0
    # Equal values on one side: their variance in each sample is that of the two sides together.
    assert stable_share_clustered(v, in_a, np.zeros(20, int), 50, 0) == 1
