"""Hill numbers at equal size and coverage: published values, brute force over subsamples, limits, intervals."""

import itertools
import math

import numpy as np
import pytest
import scipy.sparse as sp
from test_vocab import GIRDLED, LOGGED, communities, draw

from dsl_probe.share.diversity import diversity, partition, thinned
from dsl_probe.share.hill import (
    ORDERS,
    agreement,
    common_coverage,
    coverage_at,
    hill,
    hill_asymptotic,
    hill_at_coverage,
    hill_at_size,
    sample,
)
from dsl_probe.share.vocab import good_coverage


@pytest.mark.parametrize(
    ("counts", "seen", "asymptotic"),
    [
        (GIRDLED, [26, 12.059650, 7.840000], [43.892857, 13.826253, 8.174825]),
        (LOGGED, [37, 14.421002, 6.761499], [61.402778, 16.337069, 6.920350]),
    ],
)
def test_published_values_of_the_spiders(counts, seen, asymptotic):
    assert [hill(counts, q) for q in ORDERS] == pytest.approx(seen, abs=1e-6)
    assert [hill_asymptotic(counts, q) for q in ORDERS] == pytest.approx(asymptotic, abs=1e-6)


def test_published_extrapolation_of_the_girdled_spiders():
    """To 300 individuals, from the output of iNEXT 3 that the vignette of divent shows."""
    assert coverage_at(GIRDLED, 300) == pytest.approx(0.9579518, abs=1e-7)
    published = [33.317733, 12.869603, 7.983882]
    assert [hill_at_size(GIRDLED, q, 300) for q in ORDERS] == pytest.approx(published, abs=1e-6)
    assert [hill_at_coverage(GIRDLED, q, coverage_at(GIRDLED, 300)) for q in ORDERS] == pytest.approx(published, 1e-6)


@pytest.mark.parametrize("counts", [[4, 3, 2, 1, 1], [6, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1, 1]])
def test_rarefaction_is_the_expectation_over_all_subsamples(counts):
    tokens = np.repeat(np.arange(len(counts)), counts)
    for m in range(1, len(tokens)):
        tables = [
            np.bincount(tokens[list(s)], minlength=len(counts)) for s in itertools.combinations(range(len(tokens)), m)
        ]
        # Types that have k of the m tokens, on average over the subsamples; Hill numbers follow from these.
        f = np.mean([np.bincount(t, minlength=m + 1) for t in tables], axis=0)[1:]
        k = np.arange(1, m + 1) / m
        want = [f.sum(), math.exp(-(f * k * np.log(k)).sum()), 1 / (f * k * k).sum()]
        assert [hill_at_size(counts, q, m) for q in ORDERS] == pytest.approx(want)


@pytest.mark.parametrize("counts", [[4, 3, 2, 1, 1], [6, 1, 1, 1], [2, 2, 2, 2]])
def test_coverage_below_n_is_the_chance_that_the_next_token_is_known(counts):
    tokens = np.repeat(np.arange(len(counts)), counts)
    for m in range(1, len(tokens)):
        seen = [
            np.isin(tokens[rest], tokens[list(s)])
            for s in itertools.combinations(range(len(tokens)), m)
            for rest in set(range(len(tokens))) - set(s)
        ]
        assert coverage_at(counts, m) == pytest.approx(np.mean(seen))


def test_coverage_at_n_is_goods_and_rises_to_one():
    for counts in (GIRDLED, LOGGED):
        n = sum(counts)
        curve = [coverage_at(counts, m) for m in range(3 * n)]
        assert curve[n] == pytest.approx(good_coverage(counts))
        assert (np.diff(curve) > 0).all() and coverage_at(counts, 10**5) == pytest.approx(1)


@pytest.mark.parametrize("q", ORDERS)
def test_extrapolation_ends_at_the_asymptote_and_joins_at_n(q):
    for counts in (GIRDLED, LOGGED, [3, 1, 1], [5, 5], [4, 1]):
        n = sum(counts)
        curve = [hill_at_size(counts, q, m) for m in range(1, 3 * n)]
        assert curve[n - 1] == pytest.approx(hill(counts, q))
        assert (np.diff(curve) > -1e-12).all()
        assert hill_at_size(counts, q, 10**9) == pytest.approx(hill_asymptotic(counts, q), rel=1e-6)


def test_asymptotic_entropy_equals_its_series():
    counts = np.array([9, 5, 3, 2, 2, 1, 1, 1])
    n, f1, f2 = counts.sum(), 3, 2
    b = 2 * f2 / ((n - 1) * f1 + 2 * f2)
    seen = sum(x / n * sum(1 / k for k in range(x, n)) for x in counts.tolist())
    tail = -math.log(b) - sum((1 - b) ** r / r for r in range(1, n))
    assert hill_asymptotic(counts, 1) == pytest.approx(math.exp(seen + f1 / n * (1 - b) ** (1 - n) * tail))


def test_agreement_is_the_share_of_equal_pairs_of_different_problems():
    counts = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0], [4, 0, 1]])
    tokens = [(problem, t) for problem, row in enumerate(counts) for t, x in enumerate(row) for _ in range(x)]
    pairs = [(s, t) for (p, s), (q, t) in itertools.combinations(tokens, 2) if p != q]
    assert agreement(sample(counts)) == pytest.approx(np.mean([s == t for s, t in pairs]))
    assert hill_asymptotic(counts, 2) == pytest.approx(1 / np.mean([s == t for s, t in pairs]))
    each = [s == t for (_, s), (_, t) in itertools.combinations(tokens, 2)]
    assert agreement(sample(counts.sum(0))) == pytest.approx(np.mean(each))
    assert hill_asymptotic(counts.sum(0), 2) == pytest.approx(1 / np.mean(each))


def test_order_two_is_that_of_the_whole_where_words_come_in_bursts():
    rng = np.random.default_rng(1)
    p = np.full(50, 1 / 50)
    samples = [draw(p, 20, 60, 30, rng) for _ in range(200)]
    by_problem = np.mean([1 / hill_asymptotic(a, 2) for a in samples])
    assert by_problem == pytest.approx(1 / 50, rel=0.01)
    assert np.mean([1 / hill_asymptotic(a.sum(0), 2) for a in samples]) > 1.05 / 50


def test_large_samples_keep_their_precision():
    rng = np.random.default_rng(0)
    p = 1 / (np.arange(20_000) + 2.0)
    p /= p.sum()
    x = rng.multinomial(2_000_000, p)
    assert hill_asymptotic(x, 1) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=0.005)
    # A tenth of the sample, drawn: its own Hill number is about what rarefaction says.
    small = rng.multivariate_hypergeometric(x, 200_000, method="marginals")
    for q in ORDERS:
        assert hill_at_size(x, q, 200_000) == pytest.approx(hill(small, q), rel=0.01)
    steps = [hill_at_size(x, 1, 2_000_000 + m) for m in (-1_000, 0, 1_000)]
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0], rel=0.1)


def test_degenerate_samples():
    for function in (hill, hill_asymptotic):
        assert all(math.isnan(function([0, 0], q)) for q in ORDERS)
    assert [hill([7], q) for q in ORDERS] == [hill_at_size([1], q, 5) for q in ORDERS] == [1, 1, 1]
    assert hill_asymptotic([1, 1, 1], 2) == math.inf
    assert math.isnan(hill_at_size([2, 1], 0, 0)) and math.isnan(hill_at_coverage([0], 0, 0.5))
    with pytest.raises(ValueError, match="out of reach"):
        hill_at_coverage(GIRDLED, 0, 0.99)
    with pytest.raises(ValueError, match="order q is 3"):
        hill([1, 2], 3)


# ---------------------------------------------------------------- between domains


@pytest.mark.parametrize("q", ORDERS)
def test_beta_is_one_for_one_vocabulary_and_n_for_private_ones(q):
    counts = np.array(LOGGED)
    nothing = np.zeros_like(counts)
    apart = [np.roll(np.concatenate([counts, nothing, nothing]), k * len(counts)) for k in range(3)]
    assert partition(apart, q).beta == pytest.approx(3)
    # The same large sample three times: gamma of the pool and alpha at one coverage agree but for what is unseen.
    same = partition([1_000 * counts] * 3, q, coverage=0.99)
    assert same.beta == pytest.approx(1, abs=2e-3) and same.gamma == pytest.approx(same.alpha * same.beta)


def test_beta_of_large_samples_is_that_of_the_frequencies():
    p, q = communities(300, "jittered", np.random.default_rng(3))
    mixture, cells = (p + q) / 2, np.concatenate([p, q]) / 2
    want = math.exp(-(mixture * np.log(mixture)).sum() + (cells * np.log(cells)).sum()) * 2
    domains = thinned([np.round(3e7 * p), np.round(3e7 * q)])
    # This coverage of 300 types is reached with some 40,000 tokens, where the plug-in entropy lacks 299 / 80,000.
    assert partition(domains, 1, coverage=1 - 1e-9).beta == pytest.approx(want, rel=5e-3)
    assert partition(domains, 2, coverage=1 - 1e-9).beta == pytest.approx(
        2 * (cells**2).sum() / (mixture**2).sum(), rel=5e-3
    )


def test_order_two_does_not_take_bursts_for_another_vocabulary():
    rng = np.random.default_rng(7)
    p = np.full(40, 1 / 40)
    pairs = [thinned([draw(p, 40, 60, 30, rng), draw(p, 40, 60, 30, rng)]) for _ in range(60)]
    by_problem = np.mean([partition(pair, 2, coverage=0.99).beta for pair in pairs])
    by_token = np.mean([partition([m.sum(0) for m in pair], 2, coverage=0.99).beta for pair in pairs])
    assert by_problem == pytest.approx(1, abs=0.006) and by_token > 1.01


def test_thinned_domains_are_equal_and_parts_of_the_whole():
    rng = np.random.default_rng(0)
    a, b = sp.csr_array(rng.poisson(2.0, (10, 30))), sp.csr_array(rng.poisson(1.0, (8, 30)))
    small_a, small_b = thinned([a, b], seed=1)
    assert small_a.sum() == small_b.sum() == b.sum() and (small_b != b).nnz == 0
    assert (small_a.toarray() <= a.toarray()).all()
    assert (thinned([a, b], seed=1)[0] != small_a).nnz == 0


def test_rows_say_what_was_brought_to_which_coverage():
    rng = np.random.default_rng(2)
    p, q = communities(60, "private", rng)
    a, b = draw(p, 25, 80, 0, rng), draw(q, 30, 120, 0, rng)
    rows = diversity({"math": a, "logic": b})
    assert [(r["domain"], r["measure"]) for r in rows] == [
        *((d, f"hill_{k}") for d in ("math", "logic") for k in ORDERS),
        *(("all", f"{name}_{k}") for k in ORDERS for name in ("alpha", "beta", "gamma")),
    ]
    of = {(r["domain"], r["measure"]): r for r in rows}
    one = of["math", "hill_2"]
    assert one["coverage"] == common_coverage([a, b]) and one["n"] == a.sum()
    assert one["value"] == pytest.approx(hill_at_coverage(a, 2, one["coverage"]))
    # Order 0 has its jackknife bias taken off, by hand: 25 problems, one a group.
    plain = hill_at_coverage(a, 0, one["coverage"])
    deleted = [hill_at_coverage(np.delete(a, k, 0), 0, one["coverage"]) for k in range(25)]
    assert of["math", "hill_0"]["value"] == pytest.approx(25 * plain - 24 * np.mean(deleted))
    assert one["ci_low"] < one["value"] < one["ci_high"]
    assert of["all", "beta_2"]["n"] == 2 * min(a.sum(), b.sum())
    assert [r["measure"] for r in diversity({"math": a})] == ["hill_0", "hill_1", "hill_2"]
    with pytest.raises(ValueError, match="same types"):
        diversity({"math": a, "logic": b[:, :-1]})


def test_intervals_hold_the_truth():
    rng = np.random.default_rng(8)
    p, q = communities(300, "private", rng)
    truth = {f"beta_{k}": partition([np.round(3e7 * p), np.round(3e7 * q)], k, coverage=0.9).beta for k in ORDERS}
    hits = dict.fromkeys(truth, 0)
    for _ in range(40):
        rows = diversity({"a": draw(p, 12, 250, 0, rng), "b": draw(q, 12, 250, 0, rng)}, coverage=0.9)
        for row in rows:
            if row["measure"] in truth:
                hits[row["measure"]] += row["ci_low"] <= truth[row["measure"]] <= row["ci_high"]
    # 40 trials of .95: below 34 is a chance of 1 in 300.
    assert min(hits.values()) >= 34
