"""Foresight of errors: found where it was planted, chance where nothing was, and figures as a peer library has them."""

import numpy as np
from scipy import sparse
from sklearn.metrics import roc_auc_score

from dsl_probe.share.claims.foresee import aurocs, calibration_errors, exchanged, foresee, some_problems


def made(seed: int, planted: bool, problems: int = 150, samples: int = 2):
    """Counts of 30 motifs in traces of two domains; planted: motif 0 stands mostly in wrong traces."""
    rng = np.random.default_rng(seed)
    problem = np.repeat(np.arange(problems), samples)
    domain = problem % 2
    correct = rng.random(len(problem)) < np.where(domain == 0, 0.4, 0.8)
    counts = rng.poisson(0.7, (len(problem), 30)).astype(float)
    if planted:
        counts[:, 0] = rng.poisson(np.where(correct, 0.1, 2.0))
    return sparse.csr_matrix(counts), correct, problem, domain, rng.integers(20, 60, len(problem))


def test_a_motif_that_marks_errors_is_found():
    found = foresee(*made(0, planted=True))
    assert found.auroc.low > 0.7 and found.gain.low > 0.1 and found.p == 1 / 20
    assert found.auroc.problems == 150 and (found.traces, found.motifs) == (300, 30)


def test_without_one_the_interval_holds_one_half():
    held, significant = 0, 0
    for seed in range(1, 9):
        found = foresee(*made(seed, planted=False))
        # The domains differ in accuracy, and that is no foresight.
        held += found.auroc.low < 0.5 < found.auroc.high
        significant += found.p <= 0.05
        assert 0.45 < found.null < 0.55
    assert held >= 6 and significant <= 2


def test_the_same_seed_gives_the_same_figures():
    assert foresee(*made(3, planted=True)) == foresee(*made(3, planted=True))


def test_too_few_wrong_or_no_motif_gives_nothing():
    counts, _, problem, domain, units = made(0, planted=False)
    assert foresee(counts, problem > 10, problem, domain, units) is None
    assert foresee(counts[:, :0], problem % 3 == 0, problem, domain, units) is None


def test_auroc_is_that_of_scikit_learn():
    rng = np.random.default_rng(5)
    forecast, correct = np.round(rng.random(80), 1), rng.random(80) < 0.4
    weights = rng.integers(0, 4, (80, 3)).astype(float)
    want = [roc_auc_score(correct, forecast, sample_weight=weights[:, k]) for k in range(3)]
    np.testing.assert_allclose(aurocs(forecast, correct, np.zeros(80), weights), want)
    stratum = np.repeat([0, 1], 40)
    halves = [(forecast[:40], correct[:40]), (forecast[40:], correct[40:])]
    areas, pairs = zip(*((roc_auc_score(c, f), c.sum() * (~c).sum()) for f, c in halves), strict=True)
    pooled = np.average(areas, weights=pairs)
    np.testing.assert_allclose(aurocs(forecast, correct, stratum, np.ones((80, 1))), [pooled])


def test_calibration_error_by_hand():
    forecast = np.repeat(np.linspace(0.05, 0.95, 10), 4)
    correct = np.tile([True, False, False, False], 10)
    want = np.abs(np.linspace(0.05, 0.95, 10) - 0.25).mean()
    np.testing.assert_allclose(calibration_errors(forecast, correct, np.ones((40, 1))), [want])


def test_verdicts_are_exchanged_as_whole_problems_within_a_domain():
    rng = np.random.default_rng(0)
    problem = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4])
    domain = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    correct = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1], bool)
    seen = {tuple(exchanged(correct, problem, domain, rng).astype(int)) for _ in range(60)}
    assert seen == {
        (*first, *second, 1) for first in ((1, 0, 1, 1), (1, 1, 1, 0)) for second in ((0, 0, 1, 0), (1, 0, 0, 0))
    }


def test_whole_problems_are_drawn():
    problem = np.repeat(np.arange(900), 3)
    rows = some_problems(problem, 1)
    assert len(rows) == 1_998 and (np.bincount(problem[rows])[np.unique(problem[rows])] == 3).all()
