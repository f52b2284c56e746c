"""The bootstrap by problem: sums of a resample by hand, closed forms, agreement with the jackknife, coverage."""

import numpy as np
import pytest
import scipy.sparse as sp
from test_vocab import communities, draw

from dsl_probe.share import vocab
from dsl_probe.share.bootstrap import basic_interval, bootstrap, problem_weights, resampled_totals


def horn(totals) -> float:
    x, y = (t.astype(float) / t.sum() for t in totals)
    return float(2 * (x @ y) / (x @ x + y @ y))


def test_totals_are_those_of_the_problems_drawn():
    rng = np.random.default_rng(0)
    counts, weights = rng.poisson(1.0, (12, 30)), problem_weights(12, 37, 5)
    assert weights.shape == (12, 37) and (weights.sum(0) == 12).all()
    blocks = list(resampled_totals(sp.csr_array(counts), weights))
    assert [len(b) for b in blocks] == [16, 16, 5]
    for got, w in zip(np.concatenate(blocks), weights.T.astype(int), strict=True):
        np.testing.assert_array_equal(got, counts[np.repeat(np.arange(12), w)].sum(0))


def test_weights_are_multinomial():
    w = problem_weights(20, 20_000, 1)
    assert w.mean() == pytest.approx(1) and w.var() == pytest.approx(1 - 1 / 20, rel=0.02)
    assert np.corrcoef(w[0], w[1])[0, 1] == pytest.approx(-1 / 19, abs=0.02)


def test_interval_of_a_mean_is_the_closed_form():
    """Of a mean over problems the bootstrap variance is known: (K - 1)/K times that of the jackknife."""
    x = np.random.default_rng(2).poisson(20.0, (200, 1))
    got = bootstrap([x], lambda t: float(t[0][0] / 200), resamples=4_000)
    half = 1.96 * x.std() / np.sqrt(200)
    assert got.value == x.mean()
    assert (got.low, got.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.08 * half)


def test_basic_interval_reflects_the_resamples():
    skewed = np.array([0.0, 1.0, 1.0, 5.0, 9.0])
    low, high = np.quantile(skewed, [0.05, 0.95])
    assert basic_interval(2.0, skewed, 0.9) == pytest.approx((2, 4 - high, 4 - low))
    assert np.isnan(basic_interval(2.0, np.zeros(0))).tolist() == [False, True, True]


def test_agrees_with_the_jackknife():
    rng = np.random.default_rng(4)
    p, q = communities(300, "jittered", rng)
    a, b = draw(p, 80, 150, 200, rng), draw(q, 60, 150, 200, rng)
    got = bootstrap([a, b], horn)
    knife = next(r for r in vocab.sharing(a, b) if r["measure"] == "morisita_horn")
    width = knife["ci_high"] - knife["ci_low"]
    assert got.value == pytest.approx(vocab.morisita_horn(a, b))
    assert got.high - got.low == pytest.approx(width, rel=0.2)
    assert got.low == pytest.approx(knife["ci_low"], abs=0.2 * width)


def test_paired_domains_draw_the_same_problems():
    x = np.random.default_rng(3).poisson(3.0, (40, 10))
    difference = bootstrap([x, x], lambda t: float(np.abs(t[0] - t[1]).sum()), resamples=50, paired=True)
    assert difference == (0, 0, 0)
    assert bootstrap([x, x], lambda t: float(np.abs(t[0] - t[1]).sum()), resamples=50).low < 0
    with pytest.raises(ValueError, match="as many rows"):
        bootstrap([x, x[1:]], horn, paired=True)


def test_same_seed_same_interval():
    x = np.random.default_rng(3).poisson(3.0, (40, 10))
    first, again, other = (bootstrap([x, x[:20]], horn, resamples=64, seed=s) for s in (1, 1, 2))
    assert first == again and first != other


def test_intervals_hold_the_truth():
    rng = np.random.default_rng(8)
    p, q = communities(200, "private", rng)
    truth = 2 * (p * q).sum() / ((p * p).sum() + (q * q).sum())
    hits = 0
    for s in range(100):
        got = bootstrap([draw(p, 40, 100, 100, rng), draw(q, 40, 100, 100, rng)], horn, resamples=300, seed=s)
        hits += got.low <= truth <= got.high
    assert hits >= 88  # 100 trials of .95: below 88 is a chance of 1 in 250
