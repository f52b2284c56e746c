"""Tails of the sign-flip distribution: all patterns, the sign test in closed form, 10^6 permutations, q by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from dsl_probe.permute import paired_test
from dsl_probe.share import signflip
from dsl_probe.share.signflip import by_q, signflip_p


def p_of(d) -> float:
    return float(signflip_p(sparse.csc_matrix(np.asarray(d, float)[:, None]))[0])


def brute(d) -> float:
    d = np.asarray(d, float)
    sums = np.array(list(itertools.product([-1, 1], repeat=len(d)))) @ d
    return float(np.mean(np.abs(sums) >= abs(d.sum()) * (1 - 1e-9) - 1e-12))


def skewed(n: int, seed: int, shape: float = 0.5, lean: float = 0.7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.gamma(shape, size=n) * np.where(rng.random(n) < lean, 1, -1)


@pytest.mark.parametrize("n", range(1, 17))
def test_few_problems_are_counted_exactly(n):
    rng = np.random.default_rng(n)
    for d in (rng.normal(0.4, 1, n), skewed(n, n), rng.choice([-1.0, 1.0, 0.5, 2.0], n)):
        assert p_of(d) == pytest.approx(brute(d), abs=1e-15)


@given(st.lists(st.integers(-3, 5), max_size=9))
@settings(max_examples=100, deadline=None)
def test_ties_and_zeros_are_counted_as_the_definition_says(d):
    assert p_of([x / 7 for x in d] if d else [0.0]) == pytest.approx(brute(d) if any(d) else 1)


@pytest.mark.parametrize("n", [5, 26, 27, 60, 400, 2_000])
def test_equal_differences_give_the_sign_test(n):
    for up in {n, n - 1, n - 3, int(0.8 * n), int(0.6 * n), n // 2 + 1, n // 2}:
        if up >= 0:
            d = 0.013 * np.r_[np.ones(up), -np.ones(n - up)]
            want = stats.binomtest(up, n).pvalue
            assert p_of(d) == pytest.approx(want, rel=2e-4 if want > 1e-30 else 0.02, abs=1e-300)


def test_branches_agree_with_all_patterns(monkeypatch):
    """28 problems, which all branches can do: the tail's patterns, the lattice, the saddle point; exact by halves."""
    rng = np.random.default_rng(0)
    for seed in range(40):
        sizes = rng.choice([1.0, 1.5, 2.0, 3.5], 28)
        lattice = sizes * np.where(rng.random(28) < 0.75, 1, -1)
        for d, tolerance in ((lattice, 1e-12), (skewed(28, seed, 1.0, 0.9), 0.06)):
            a, s = np.sort(np.abs(d)), abs(d.sum())
            if s > 1e-9:
                assert signflip._upper_tail(a, s) == pytest.approx(signflip._all_patterns(a, s), rel=tolerance)


def test_a_tail_of_few_patterns_is_exact():
    d = skewed(40, 3, lean=1.0)
    assert p_of(d) == pytest.approx(2 * 0.5**40, rel=1e-12)
    d[np.argmin(d)] *= -1
    assert p_of(d) == pytest.approx(4 * 0.5**40, rel=1e-12)


@pytest.mark.parametrize("shape, lean", [(0.5, 0.8), (1.0, 0.65), (2.0, 0.6)])
def test_saddle_point_against_a_million_permutations(shape, lean):
    d = skewed(60, 11, shape, lean)
    rng, larger = np.random.default_rng(1), 0
    for _ in range(100):
        signs = rng.integers(0, 2, (10_000, 60), dtype=np.int8)
        larger += int((np.abs((2.0 * signs - 1) @ d) >= abs(d.sum()) * (1 - 1e-9)).sum())
    share = larger / 1_000_000
    assert 0.0005 < share < 0.5
    assert p_of(d) == pytest.approx(share, abs=4 * (share / 1e6) ** 0.5 + 0.03 * share)


def test_agrees_with_the_permutation_test():
    rng = np.random.default_rng(2)
    d = sparse.csc_matrix(rng.normal(0.15, 1, (80, 40)) * (rng.random((80, 40)) < 0.5))
    p, permuted = signflip_p(d), paired_test(d, 20_000, 0).p
    assert (np.abs(p - permuted) < 4.5 * np.sqrt(p * (1 - p) / 20_000) + 0.02 * p).all()


def test_p_is_no_smaller_than_uniform_under_the_null():
    d = sparse.csc_matrix(np.random.default_rng(4).standard_t(3, size=(40, 4_000)))
    p = signflip_p(d)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    for level in (0.001, 0.01, 0.05):
        assert (p <= level).sum() <= stats.binom.ppf(0.999, 4_000, level)


def test_scale_sign_and_order_do_not_matter():
    d = skewed(50, 5)
    for other in (-d, 1e-6 * d, d[::-1]):
        assert p_of(other) == pytest.approx(p_of(d), rel=1e-6)
    assert p_of(np.zeros(5)) == 1 and p_of([1.0, -1.0]) == 1
    assert signflip_p(sparse.csc_matrix((5, 0))).shape == (0,)


def test_the_input_is_left_as_it_was():
    d = sparse.csc_matrix(np.array([[1.0], [2.0]]))
    d.data[0] = 0
    assert p_of(d.toarray()[:, 0]) == signflip_p(d)[0] == 1 and d.nnz == 2


def test_q_is_the_step_up_of_benjamini_and_yekutieli():
    p = np.array([0.0001, 0.2, 0.004, 0.9, 0.003])
    n, harmonic = 5, sum(1 / i for i in range(1, 6))
    order, want, least = np.argsort(p), np.empty(5), 1.0
    for rank in range(n, 0, -1):
        least = min(least, p[order[rank - 1]] * n * harmonic / rank)
        want[order[rank - 1]] = least
    np.testing.assert_allclose(by_q(p), want)
    assert by_q(np.zeros(0)).shape == (0,)
