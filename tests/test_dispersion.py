"""Deviation of proportions: by its definition, by Gries's reading, and its chance value by simulation."""

import numpy as np
import pytest
from scipy import sparse

from dsl_probe.share.dispersion import chance_dispersion, dispersion


def test_it_is_half_the_sum_of_absolute_differences():
    rng = np.random.default_rng(0)
    counts, units = rng.poisson(0.7, (30, 20)), rng.integers(10, 400, 30).astype(float)
    counts[:, 0] = 0
    share = units / units.sum()
    with np.errstate(invalid="ignore"):
        want = 0.5 * np.abs(counts / counts.sum(0) - share[:, None]).sum(0)
    got = dispersion(sparse.csr_matrix(counts), units)
    assert np.isnan(got[0])
    np.testing.assert_allclose(got[1:], want[1:])


def test_in_proportion_is_0_and_all_in_one_place_is_the_rest_of_the_text():
    units = np.array([10.0, 30.0, 60.0])
    counts = np.array([[1, 5], [3, 0], [6, 0]])
    assert dispersion(sparse.csr_matrix(counts), units) == pytest.approx([0.0, 0.9])


@pytest.mark.parametrize("n", [1, 2, 7, 60, 900])
def test_chance_is_the_mean_over_random_placements(n):
    rng = np.random.default_rng(n)
    units = rng.integers(20, 500, 25).astype(float)
    draws = rng.multinomial(n, units / units.sum(), 20_000).T
    found = dispersion(sparse.csr_matrix(draws), units)
    error = found.std() / np.sqrt(len(found))
    assert chance_dispersion(np.array([n, 0]), units)[0] == pytest.approx(found.mean(), abs=5 * error + 1e-9)
    assert np.isnan(chance_dispersion(np.array([n, 0]), units)[1])
