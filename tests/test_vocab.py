"""Measures of a shared vocabulary: published values, brute force, degenerate input, and intervals that cover."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial import distance
from scipy.special import exp1, psi

from dsl_probe.share import sums, vocab

A = np.array([1, 0, 4, 3, 5, 0, 0, 7])
B = np.array([2, 1, 3, 0, 0, 1, 0, 6])
GIRDLED = [46, 22, 17, 15, 15, 9, 8, 6, 6, 4, 2, 2, 2, 2] + [1] * 12
LOGGED = [88, 22, 16, 15, 13, 10, 8, 8, 7, 7, 7, 5, 4, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2] + [1] * 14

FUNCTIONS: dict[str, Callable[..., float]] = {name: getattr(vocab, name) for name in vocab.MEASURES}


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rows_of(*args, **kwargs) -> dict[str, dict]:
    rows = vocab.sharing(*args, **kwargs)
    assert [r["measure"] for r in rows] == list(vocab.MEASURES)
    assert all(
        list(r) == ["measure", "value", "ci_low", "ci_high", "coverage_a", "coverage_b", "n_a", "n_b"] for r in rows
    )
    return {r["measure"]: r for r in rows}


def zipf(types: int) -> NDArray[np.float64]:
    p = 1 / (np.arange(types) + 2.0)
    return p / p.sum()


def draw(p: NDArray[np.float64], problems: int, tokens: int, burst: float, rng: np.random.Generator) -> NDArray:
    """Counts [problems, types]; with `burst`, each problem has its own Dirichlet(burst * p) frequencies."""
    lengths = rng.gamma(4, tokens / 4, problems).astype(int) + 1
    if not burst:
        return rng.multinomial(lengths, p)
    own = rng.standard_gamma(np.broadcast_to(burst * p, (problems, len(p))))
    return rng.multinomial(lengths, own / own.sum(1, keepdims=True))


# ---------------------------------------------------------------- values


def test_published_values_of_the_chao_indices():
    assert vocab.chao_jaccard(A, B) == pytest.approx(0.56995, abs=5e-6)
    assert vocab.chao_sorensen(A, B) == pytest.approx(0.72608, abs=5e-6)


@pytest.mark.parametrize(("counts", "seen", "total"), [(GIRDLED, 26, 43.893), (LOGGED, 37, 61.403)])
def test_chao1_of_the_published_spiders(counts, seen, total):
    assert len(counts) == seen
    assert vocab.chao1(counts) == pytest.approx(total, abs=5e-4)


def test_good_coverage_by_hand():
    # n = 7, f1 = 2, f2 = 1: 1 - 2/7 * (6*2)/(6*2 + 2*1)
    assert vocab.good_coverage([3, 2, 1, 1]) == pytest.approx(1 - 2 / 7 * 12 / 14)
    # no type seen twice: n = 5, f1 = 2: 1 - 2/5 * (4*1)/(4*1 + 2)
    assert vocab.good_coverage([3, 1, 1]) == pytest.approx(1 - 2 / 5 * 4 / 6)
    assert vocab.good_coverage([3, 4]) == vocab.good_coverage([4, 1]) == 1
    assert math.isnan(vocab.good_coverage([1])) and math.isnan(vocab.good_coverage([0, 0]))


def test_good_coverage_is_the_mass_of_the_types_seen():
    rng, p = np.random.default_rng(1), zipf(2000)
    samples = rng.multinomial(3000, p, size=200)
    error = np.array([vocab.good_coverage(x) - p[x > 0].sum() for x in samples])
    assert abs(error.mean()) < 0.002


def test_problem_coverage_by_hand_and_under_bursts():
    assert vocab.problem_coverage([[2, 1, 0], [1, 0, 4]]) == pytest.approx(3 / 8)
    assert vocab.problem_coverage([[1, 2], [3, 4], [0, 0]]) == 1
    assert math.isnan(vocab.problem_coverage([[1, 2], [0, 0]]))
    rng, p = np.random.default_rng(9), zipf(2000)
    samples = [draw(p, 40, 150, 300, rng) for _ in range(30)]
    truth = np.mean([p[a.sum(0) > 0].sum() for a in samples])
    assert np.mean([vocab.problem_coverage(a) for a in samples]) == pytest.approx(truth, abs=0.01)
    assert np.mean([vocab.good_coverage(a) for a in samples]) > truth + 0.02


def brute(a: NDArray, b: NDArray) -> dict[str, float]:
    """The measures type by type, as their docstrings state them."""
    x, y = a.sum(0), b.sum(0)
    n, m, types = x.sum(), y.sum(), range(len(x))
    common = [(i, j) for i, j in zip(x.tolist(), y.tolist(), strict=True) if i and j]

    def share(common, n, m):
        once, twice = sum(j == 1 for _, j in common), max(sum(j == 2 for _, j in common), 1)
        rare = sum(i for i, j in common if j == 1)
        return min(1.0, sum(i for i, _ in common) / n + (m - 1) / m * once / (2 * twice) * rare / n)

    def entropy(*domains):
        """Of the sum of the rows of all domains: one row a problem, its share of the mass of each type."""
        parts = np.concatenate(domains)
        mass, inside = parts.sum(0), (parts > 0).sum(0)
        level = mass.copy()
        for domain in domains:
            alone = (inside == 1) & (domain.sum(0) > 0)
            level[alone] = mass[alone].mean() if alone.any() else 0
        draws = [mass[t] ** 2 / (parts[:, t] ** 2).sum() if mass[t] else 1.0 for t in types]
        first = sum(mass[t] * (-math.log(level[t]) + math.log(draws[t]) - psi(draws[t])) for t in types if mass[t])
        once, twice, singles = mass[inside == 1].sum(), mass[inside == 2].sum(), (inside == 1).sum()
        if not once or (not twice and singles == 1):
            return first
        r = twice / once if twice else 2 / (singles - 1)
        return first + once * math.exp(r) * exp1(r)

    u, v = share(common, n, m), share([(j, i) for i, j in common], m, n)
    p, q = x / n, y / m
    mixture = entropy(a / n / 2, b / m / 2)
    return {
        "chao_jaccard": u * v / (u + v - u * v) if u and v else 0.0,
        "chao_sorensen": 2 * u * v / (u + v) if u and v else 0.0,
        "morisita_horn": 2 * (p * q).sum() / ((p * p).sum() + (q * q).sum()),
        "jensen_shannon": distance.jensenshannon(p, q, base=2) ** 2,
        "jensen_shannon_corrected": (mixture - (entropy(a / n) + entropy(b / m)) / 2) / math.log(2),
    }


def one_token_a_problem(x: NDArray) -> NDArray:
    return np.eye(len(x), dtype=int)[np.repeat(np.arange(len(x)), x)]


COUNTS = hnp.arrays(np.int64, st.tuples(st.integers(2, 6), st.just(9)), elements=st.integers(0, 4))


@given(COUNTS, COUNTS)
@settings(max_examples=60, deadline=None)
def test_every_measure_equals_its_formula(a, b):
    x, y = a.sum(0), b.sum(0)
    if x.sum() and y.sum():
        for name, expected in brute(a, b).items():
            assert FUNCTIONS[name](sp.csc_array(a), b) == pytest.approx(expected, abs=1e-9), name
        for name, expected in brute(one_token_a_problem(x), one_token_a_problem(y)).items():
            assert FUNCTIONS[name](x, y) == pytest.approx(expected, abs=1e-9), name


def test_every_measure_is_symmetric():
    for name, measure in FUNCTIONS.items():
        assert measure(A, B) == pytest.approx(measure(B, A), abs=1e-12), name


def test_the_unseen_term_stays_finite_where_its_exponential_would_overflow():
    x = np.array([1] + [2] * 1000)
    assert math.isfinite(vocab.jensen_shannon_corrected(x, x[::-1]))


def test_corrected_entropies_of_unequal_samples_are_nearly_unbiased():
    rng, p = np.random.default_rng(2), zipf(1000)
    q = p * np.exp(rng.normal(size=1000))
    q /= q.sum()
    truth = distance.jensenshannon(p, q, base=2) ** 2
    pairs = [(rng.multinomial(12_000, p), rng.multinomial(4_000, q)) for _ in range(100)]
    plain = np.mean([vocab.jensen_shannon(x, y) for x, y in pairs]) - truth
    corrected = np.mean([vocab.jensen_shannon_corrected(x, y) for x, y in pairs]) - truth
    assert plain > 0.03 and abs(corrected) < plain / 8


# ---------------------------------------------------------------- the jackknife


def deleted_by_hand(a: NDArray, b: NDArray, name: str, side: str) -> list[float]:
    rows = len(b) if side == "b" else len(a)
    out = []
    for k in range(rows):
        left_a = a if side == "b" else np.delete(a, k, axis=0)
        left_b = b if side == "a" else np.delete(b, k, axis=0)
        out.append(FUNCTIONS[name](left_a, left_b))
    return out


@given(COUNTS, COUNTS)
@settings(max_examples=30, deadline=None)
def test_incremental_deletion_equals_recomputation(a, b):
    for name, result in vocab.leave_one_out(sp.csr_array(a), sp.csc_array(b)).items():
        for side, deleted in zip("ab", result.deleted, strict=True):
            np.testing.assert_allclose(deleted, deleted_by_hand(a, b, name, side), atol=1e-9, err_msg=name)
    rows = min(len(a), len(b))
    a, b = a[:rows], b[:rows]
    for name, result in vocab.leave_one_out(a, b, paired=True).items():
        np.testing.assert_allclose(result.deleted[0], deleted_by_hand(a, b, name, "both"), atol=1e-9, err_msg=name)


def test_incremental_deletion_in_many_blocks(monkeypatch):
    monkeypatch.setattr(sums, "_BLOCK", 64)
    rng = np.random.default_rng(3)
    a, b = draw(zipf(80), 17, 30, 20, rng), draw(zipf(80), 11, 50, 20, rng)
    for name, result in vocab.leave_one_out(a, b).items():
        np.testing.assert_allclose(result.deleted[0], deleted_by_hand(a, b, name, "a"), atol=1e-9, err_msg=name)
        np.testing.assert_allclose(result.deleted[1], deleted_by_hand(a, b, name, "b"), atol=1e-9, err_msg=name)


def test_jackknife_of_a_mean_and_of_a_difference_of_means():
    x, y = np.array([1.0, 2, 3, 7]), np.array([2.0, 2, 5])
    without = [(x.sum() - x) / 3 - y.mean(), x.mean() - (y.sum() - y) / 2]
    result = vocab.jackknife(x.mean() - y.mean(), without)
    vx, vy = x.var(ddof=1) / 4, y.var(ddof=1) / 3
    assert result.bias == pytest.approx(0)
    assert result.se == pytest.approx(math.sqrt(vx + vy))
    assert result.df == pytest.approx((vx + vy) ** 2 / (vx**2 / 3 + vy**2 / 2))  # Welch


def test_rows_follow_from_the_jackknife():
    rng = np.random.default_rng(4)
    a, b = draw(zipf(100), 12, 40, 0, rng), draw(zipf(100), 15, 60, 0, rng)
    a_and_empty = np.insert(a, 3, 0, axis=0)
    rows, results = rows_of(sp.csr_array(a_and_empty), b), vocab.leave_one_out(a, b)
    for name, row in rows.items():
        result = results[name]
        assert result.value == FUNCTIONS[name](a, b)
        value = result.value - (0 if name in vocab.INDEX_ONLY else result.bias)
        assert row["value"] == pytest.approx(value)
        assert row["ci_high"] - value == pytest.approx(value - row["ci_low"])
        assert row["coverage_a"] == vocab.good_coverage(a) and row["n_b"] == b.sum() and type(row["n_b"]) is int
    wide = rows_of(a, b, level=0.99)["morisita_horn"]
    assert wide["ci_low"] < rows["morisita_horn"]["ci_low"]


def test_the_input_is_left_as_it_was():
    a = sp.csr_array((np.array([1, 0, 2, 3]), np.array([1, 0, 2, 2]), np.array([0, 2, 4])), shape=(2, 3))
    before = a.data.copy(), a.indices.copy(), a.indptr.copy()
    vocab.sharing(a, a)
    assert all((x == y).all() for x, y in zip(before, (a.data, a.indices, a.indptr), strict=True))


def test_two_thousand_problems_and_fifty_thousand_types_are_no_trouble():
    rng, p = np.random.default_rng(5), zipf(50_000)

    def domain():
        owner, types = np.repeat(np.arange(2000), 200), rng.choice(50_000, 400_000, p=p)
        return sp.coo_array((np.ones(len(owner), np.int64), (owner, types)), shape=(2000, 50_000)).tocsr()

    a, b = domain(), domain()
    vocab.sharing(a, b)


# ---------------------------------------------------------------- the ends of the range


def test_a_set_with_itself():
    a = draw(zipf(50), 20, 100, 10, np.random.default_rng(6))
    assert vocab.jensen_shannon(a, a) == 0
    assert vocab.morisita_horn(a, a) == pytest.approx(1)
    assert vocab.chao_jaccard(a, a) == vocab.chao_sorensen(a, a) == 1
    assert vocab.jensen_shannon_corrected(a, a) < 0 and vocab.jensen_shannon_corrected(a.sum(0), a.sum(0)) < 0
    assert rows_of(a, a)["jensen_shannon"]["value"] == 0
    paired = rows_of(a, a, paired=True)
    assert paired["jensen_shannon"]["value"] == 0 and paired["morisita_horn"]["value"] == pytest.approx(1)
    assert math.isnan(paired["jensen_shannon"]["ci_low"])


def test_disjoint_domains():
    rng = np.random.default_rng(7)
    nothing = np.zeros((20, 50), int)
    a = np.hstack([draw(zipf(50), 20, 100, 0, rng), nothing])
    b = np.hstack([nothing, draw(zipf(50), 20, 50, 0, rng)])
    rows = rows_of(a, b)
    for name in ("chao_jaccard", "chao_sorensen", "morisita_horn"):
        assert rows[name]["value"] == 0 and math.isnan(rows[name]["ci_low"]) and math.isnan(rows[name]["ci_high"])
    assert rows["jensen_shannon"]["value"] == pytest.approx(1)
    assert rows["jensen_shannon_corrected"]["value"] == pytest.approx(1, abs=0.05)


def test_empty_domains_and_single_problems_give_nan():
    some = [[1, 2, 0], [0, 3, 1]]
    for empty in (np.zeros((2, 3), int), np.zeros((0, 3), int), sp.csr_array((2, 3), dtype=int), [0, 0, 0]):
        for pair in ((some, empty), (empty, some), (empty, empty)):
            for row in vocab.sharing(*pair):
                assert math.isnan(row["value"]) and math.isnan(row["ci_low"]) and math.isnan(row["ci_high"])
        assert all(math.isnan(measure(np.zeros(3), [1, 2, 3])) for measure in FUNCTIONS.values())
        assert rows_of(empty, some)["morisita_horn"]["n_a"] == 0
    for name, row in rows_of(some, [1, 1, 1]).items():  # one problem: nothing to correct by
        assert math.isfinite(row["value"]) == (name in vocab.INDEX_ONLY)
        assert math.isnan(row["ci_low"]) and math.isnan(row["ci_high"])
    for row in vocab.sharing(np.zeros((0, 0), int), np.zeros((0, 0), int), paired=True):
        assert math.isnan(row["value"])
    # Paired, one problem alone has tokens in A: without it A is empty, so no interval.
    assert math.isnan(rows_of([[1, 2], [0, 0]], [[1, 1], [2, 1]], paired=True)["morisita_horn"]["ci_low"])


@pytest.mark.parametrize("bad", [[0.5, 1.0], [-1, 2], [float("nan"), 1], [float("inf"), 1]])
def test_rates_and_negative_counts_are_refused(bad):
    with pytest.raises(ValueError, match="whole numbers"):
        vocab.chao_jaccard(bad, [1, 1])


def test_misaligned_domains_are_refused():
    with pytest.raises(ValueError, match="same types"):
        vocab.sharing([[1, 2]], [[1, 2, 3]])
    with pytest.raises(ValueError, match="same types"):
        vocab.morisita_horn([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="as many rows"):
        vocab.sharing([[1, 2]], [[1, 2], [3, 4]], paired=True)


# ---------------------------------------------------------------- do the intervals hold the truth


def communities(types: int, kind: str, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    p = zipf(types)
    if kind == "same":
        return p, p
    if kind == "jittered":
        q = p * np.exp(rng.normal(size=types))
        return p, q / q.sum()
    private = rng.random(types) < 0.5
    return np.concatenate([p, 0 * p]), np.concatenate([p * ~private, p * private])


def share_of_hits(kind: str, types: int, problems: tuple[int, int], burst: float, times: int) -> dict[str, float]:
    rng = np.random.default_rng(8)
    p, q = communities(types, kind, rng)
    js = distance.jensenshannon(p, q, base=2) ** 2
    truth = {
        "morisita_horn": 2 * (p * q).sum() / ((p * p).sum() + (q * q).sum()),
        "jensen_shannon": js,
        "jensen_shannon_corrected": js,
    }
    hits = dict.fromkeys(truth, 0)
    for _ in range(times):
        rows = rows_of(draw(p, problems[0], 150, burst, rng), draw(q, problems[1], 150, burst, rng))
        for name, value in truth.items():
            hits[name] += rows[name]["ci_low"] <= value <= rows[name]["ci_high"]
    return {name: hit / times for name, hit in hits.items()}


@pytest.mark.parametrize("kind", ["same", "jittered", "private"])
def test_intervals_hold_the_truth(kind):
    hits = share_of_hits(kind, types=400, problems=(40, 30), burst=200, times=150)
    assert hits["morisita_horn"] >= 0.9 and hits["jensen_shannon_corrected"] >= 0.9
    assert hits["jensen_shannon"] <= 0.1  # why its row is an index of the sample


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["same", "jittered", "private"])
@pytest.mark.parametrize("burst", [0, 300])
@pytest.mark.parametrize("types, problems", [(1000, (60, 60)), (1000, (200, 60)), (3000, (200, 60))])
def test_intervals_hold_the_truth_over_the_grid(types, problems, burst, kind):
    hits = share_of_hits(kind, types, problems, burst, times=60)
    # Three binomial standard errors below the lowest share measured over more simulations: .92 and .88.
    assert hits["morisita_horn"] >= 0.81
    assert hits["jensen_shannon_corrected"] >= 0.75
