"""Measures of probes against scikit-learn and by hand; intervals by problem in simulations; description length."""

from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from dsl_probe.probe import metrics
from dsl_probe.probe.grouped import Shares, auroc_shares, crossed, mean_of, within_folds
from dsl_probe.probe.mdl import online_code

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("ties", [False, True])
def test_ranking_and_brier_are_scikit_learns_column_by_column(ties):
    rng = np.random.default_rng(0)
    p = rng.random((90, 2, 3))
    p = np.round(p, 1) if ties else p
    labels = (rng.random((90, 2, 3)) < 0.3).astype(np.int8)
    for ours, theirs in (
        (metrics.auroc, roc_auc_score),
        (metrics.average_precision, average_precision_score),
        (metrics.brier, brier_score_loss),
    ):
        got = ours(p, labels)
        assert got.shape == (2, 3)
        want = [[theirs(labels[:, i, j], p[:, i, j]) for j in range(3)] for i in range(2)]
        np.testing.assert_allclose(got, want)
        np.testing.assert_allclose(
            ours(p[:, :, 0], labels[:, 0, 0]), [ours(p[:, i, 0], labels[:, 0, 0]) for i in (0, 1)]
        )
    same = auroc_shares(p[:, 0, 0], labels[:, 0, 0], np.arange(90), 90)
    assert same.value == pytest.approx(roc_auc_score(labels[:, 0, 0], p[:, 0, 0]))


def test_what_cannot_be_ranked_has_no_measure():
    scores, none = np.array([0.1, 0.2]), np.zeros(2, int)
    assert np.isnan(metrics.auroc(scores, none)) and np.isnan(metrics.auroc(scores, none + 1))
    assert np.isnan(metrics.average_precision(scores, none)) and metrics.average_precision(scores, none + 1) == 1
    assert (
        np.isnan(metrics.accuracy(none[:0], none[:0]))
        and metrics.accuracy(np.arange(4), np.array([0, 1, 0, 3])) == 0.75
    )
    assert auroc_shares(scores, none, np.arange(2), 2) is None and mean_of([]) is None
    assert within_folds(scores[:, None], none[:, None], none, np.arange(2)) is None


def test_calibration_error_by_hand():
    p = np.array([0.9, 0.1, 0.3, 0.2, 0.8, 0.6])
    labels = np.array([1, 0, 1, 0, 0, 1])
    # Bins {.1, .2}, {.3, .6}, {.8, .9}: means .15, .45, .85; shares 0, 1, .5.
    assert metrics.ece(p, labels, bins=3) == pytest.approx((0.15 + 0.55 + 0.35) / 3)
    # More bins than rows: each row is its own.
    assert metrics.ece(p, labels, bins=15) == pytest.approx(np.abs(p - labels).mean())
    rng = np.random.default_rng(1)
    p = rng.random((20_000, 2))
    told = rng.random((20_000, 2)) < np.stack([p[:, 0], np.sqrt(p[:, 1])], 1)
    right, wrong = metrics.ece(p, told)
    # The mean of sqrt(p) - p is 1/6.
    assert right < 0.02 and wrong == pytest.approx(1 / 6, abs=0.02)


def delong(scores, labels):
    """DeLong's variance, pair by pair."""
    a, b = scores[labels == 1], scores[labels == 0]
    wins = (a[:, None] > b).astype(float) + 0.5 * (a[:, None] == b)
    return np.var(wins.mean(1), ddof=1) / len(a) + np.var(wins.mean(0), ddof=1) / len(b)


def obuchowski(scores, labels, problem):
    """Obuchowski's variance for clusters, by her formulas (1997, equations 3 to 5)."""
    a, b = labels == 1, labels == 0
    wins = (scores[a][:, None] > scores[b]).astype(float) + 0.5 * (scores[a][:, None] == scores[b])
    value, m, n = wins.mean(), a.sum(), b.sum()
    x = {p: (wins.mean(1)[problem[a] == p] - value).sum() for p in set(problem)}
    y = {p: (wins.mean(0)[problem[b] == p] - value).sum() for p in set(problem)}
    with_a, with_b = len(set(problem[a])), len(set(problem[b]))
    s10 = with_a / ((with_a - 1) * m) * sum(v**2 for v in x.values())
    s01 = with_b / ((with_b - 1) * n) * sum(v**2 for v in y.values())
    cross = sum(x[p] * y[p] for p in x)
    return s10 / m + s01 / n, 2 * cross / (m * n)


def half_width(shares):
    """Of the interval that holds two in three: one standard error."""
    error = np.sqrt((shares.of**2).sum())
    low, high = shares.interval(level=NormalDist().cdf(1) - NormalDist().cdf(-1))
    assert (low, high) == pytest.approx((max(shares.value - error, 0), min(shares.value + error, 1)))
    return error


@pytest.mark.parametrize("seed", range(5))
def test_with_a_row_a_problem_the_interval_is_delongs(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random(25) < 0.4).astype(int)
    scores = np.round(rng.normal(size=25) + labels, 1)
    assert half_width(auroc_shares(scores, labels, rng.permutation(25), 25)) ** 2 == pytest.approx(
        delong(scores, labels)
    )


@pytest.mark.parametrize("seed", range(5))
def test_with_rows_in_problems_the_interval_is_obuchowskis(seed):
    rng = np.random.default_rng(seed)
    problem = rng.integers(0, 12, 150)
    labels = (rng.random(150) < rng.random(12)[problem]).astype(int)
    scores = rng.normal(size=150) + labels + rng.normal(size=12)[problem]
    own, cross = obuchowski(scores, labels, problem)
    # Her covariance has one factor of problems, n / (n - 1), ours the geometric mean of those of the two classes.
    with_a, with_b = (len(set(problem[labels == c])) for c in (1, 0))
    factor = np.sqrt(with_a / (with_a - 1) * with_b / (with_b - 1))
    assert half_width(auroc_shares(scores, labels, problem, 12)) ** 2 == pytest.approx(own + factor * cross)


def simulate(rng, problems=100, rows=10, folds=5, pull=1.0, constant=True, positives=None):
    """Scores with an offset for each problem and fold, and labels that are constant in a problem or not.

    positives: problems of the positive class in a fold; default half of them.
    """
    problem = np.repeat(np.arange(problems), rows)
    fold = problem % folds
    label_of = np.zeros(problems, int)
    for o in range(folds):
        mine = rng.permutation(np.arange(o, problems, folds))
        label_of[mine[: positives or len(mine) // 2]] = 1
    labels = label_of[problem] if constant else rng.integers(0, 2, len(problem))
    offset = rng.normal(0, 1, problems)[problem] + 5 * rng.normal(size=folds)[fold]
    scores = pull * labels + offset + rng.normal(0, 1, len(problem))
    return scores[:, None], labels[:, None], fold, problem


def alone(found):
    """Without the factor for fits that saw each other's rows."""
    return Shares(found.value, found.of / np.sqrt(2))


def coverage(n, truth, **how):
    """Share of simulations whose interval holds the truth: by problem, and taking rows for independent.

    No fit has seen the scores, so the interval is that of independent folds.
    """
    rng, held, naive = np.random.default_rng(0), 0, 0
    for _ in range(n):
        scores, labels, fold, problem = simulate(rng, **how)
        low, high = alone(within_folds(scores, labels, fold, problem)).interval()
        held += low <= truth <= high
        low, high = alone(within_folds(scores, labels, fold, np.arange(len(problem)))).interval()
        naive += low <= truth <= high
    return held / n, naive / n


# Two scores of different problems differ by 1 in the mean, with variance 4; of one problem, with variance 2.
APART, TOGETHER = NormalDist().cdf(1 / 2), NormalDist().cdf(1 / 2**0.5)


@pytest.mark.parametrize("problems", [50, 100])
def test_the_interval_by_problem_holds_the_truth_where_one_by_rows_does_not(problems):
    held, naive = coverage(1_000, APART, problems=problems)
    # Four standard errors of a share of 1,000, and .01 for a normal interval with 10 problems a fold.
    assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 1_000) + 0.01
    assert naive < 0.7


def test_the_interval_holds_the_truth_of_labels_that_vary_within_problems():
    same = 9 / 199
    held, _ = coverage(1_000, same * TOGETHER + (1 - same) * APART, constant=False)
    assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 1_000) + 0.01


def test_a_class_that_lies_in_one_problem_does_not_make_the_interval_narrow():
    held, naive = coverage(1_000, 0.5, pull=0.0, positives=1)
    assert held > 0.93 and naive < 0.6
    one = auroc_shares(np.array([0.1, 0.9, 0.2, 0.4]), np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1]), 2)
    low, high = one.interval()
    assert (low, high) == (0, 1)


def test_the_mean_keeps_what_its_parts_share():
    rng = np.random.default_rng(2)
    scores, labels, _, problem = simulate(rng)
    one = auroc_shares(scores[:, 0], labels[:, 0], problem, 100)
    twice = mean_of([one, one])
    assert twice.value == one.value and twice.interval() == pytest.approx(one.interval())
    assert half_width(crossed(one)) == pytest.approx(np.sqrt(2) * half_width(one))
    other = auroc_shares(-scores[:, 0], labels[:, 0], problem, 100)
    none = mean_of([one, other])
    assert none.value == pytest.approx(0.5) and half_width(none) == pytest.approx(0, abs=1e-9)


# ---- description length


def entropy(share):
    return -share * np.log2(share) - (1 - share) * np.log2(1 - share)


def test_labels_that_states_do_not_tell_cost_their_entropy():
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.normal(size=(2_000, 3)).astype(np.float32))
    columns = (rng.random((2_000, 2)) < (0.5, 0.2)).astype(np.int8)
    code = online_code(x, columns, np.arange(2_000) // 4, 0, strength=1e-3)
    # A sixteenth is sent at one bit a label.
    want = 1 / 16 + 15 / 16 * (entropy(0.5) + entropy(0.2)) / 2
    assert code.bits == pytest.approx(want, abs=0.03) and code.prior == pytest.approx(want, abs=0.03)
    assert code.compression == pytest.approx(1, abs=0.02)


def test_labels_that_states_tell_are_compressed():
    rng = np.random.default_rng(4)
    x = torch.from_numpy(rng.normal(size=(2_000, 3)).astype(np.float32))
    columns = (x[:, :1] > 0).numpy().astype(np.int8)
    code = online_code(x, columns, np.arange(2_000) // 4, 0, strength=100.0)
    assert code.compression > 5 and code.bits < 0.2


def test_a_code_by_hand():
    rng = np.random.default_rng(5)
    problem = np.repeat([f"p{i}" for i in range(16)], 2)
    columns = rng.integers(0, 2, (32, 1)).astype(np.int8)
    asked = {}

    def sure(x, labels, fold, left_out, strengths):
        """Says yes with .8 whatever the state."""
        asked.update(fold=fold, left_out=left_out, strengths=strengths)
        assert labels is columns
        return SimpleNamespace(
            coef=torch.zeros(len(left_out), 1, 1, 4), intercept=torch.full((len(left_out), 1, 1), float(np.log(4)))
        )

    code = online_code(torch.randn(32, 4), columns, problem, 7, 0.5, sweep=sure)
    block = asked["fold"]
    assert asked["left_out"] == [(1, 2, 3, 4), (2, 3, 4), (3, 4), (4,)] and asked["strengths"] == [0.5]
    # 16 problems of two rows: blocks of 1, 1, 2, 4 and 8, none divided.
    assert np.bincount(block).tolist() == [2, 2, 4, 8, 16] and (block[::2] == block[1::2]).all()
    later = columns[block > 0, 0]
    bits = 2 - np.log2(np.where(later == 1, 0.8, 0.2)).sum()
    prior = 2.0
    for b in range(1, 5):
        seen = columns[block < b, 0]
        yes = (seen.sum() + 0.5) / (len(seen) + 1)
        prior -= np.log2(np.where(columns[block == b, 0] == 1, yes, 1 - yes)).sum()
    assert code.bits == pytest.approx(bits / 32) and code.prior == pytest.approx(prior / 32)
    assert code.compression == pytest.approx(prior / bits)


def test_one_problem_is_sent_at_a_bit_a_label():
    code = online_code(torch.randn(6, 2), np.ones((6, 1), np.int8), np.zeros(6), 0, 1.0)
    assert (code.bits, code.prior, code.compression) == (1, 1, 1)
