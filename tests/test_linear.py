"""Sweeps and probes against scikit-learn, fitted one at a time on states standardised by their own training rows."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from dsl_probe.probe.estimators import LogisticProbe, RidgeProbe
from dsl_probe.probe.linear import logistic_sweep, ridge_sweep, scores
from dsl_probe.probe.massmean import MassMeanProbe

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
SETS = [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
STRENGTHS = (1e-3, 1e-1, 10.0)


class Blocks:
    """States in pieces, as StoredStates gives them."""

    def __init__(self, x, sizes):
        self.x, self.sizes, self.shape = x, sizes, x.shape

    def blocks(self):
        start = 0
        for size in self.sizes:
            yield start, torch.from_numpy(self.x[start : start + size])
            start += size


def made(seed=0, n=240, d=7):
    """States with a massive dimension, a constant one and one that varies in fold 0 alone; labels, some unknown."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    fold = rng.integers(0, 3, n)
    truth = x @ rng.normal(size=(d, 3)) + rng.normal(0, 2, (n, 3))
    cut = [np.quantile(truth[:, t], share) for t, share in enumerate((0.5, 0.8, 0.3))]
    labels = (truth > cut).astype(np.int8)
    labels[rng.random((n, 3)) < 0.1] = -1
    x[:, 0] = 5_000 + 1_000 * x[:, 0]
    x[:, 1] = 333.3
    x[:, 2] = np.where(fold == 0, x[:, 2], 1.7)
    return x, labels, fold


def one_by_one(x, y, fold, out, make):
    """coef [d] and intercept of an estimator of scikit-learn for raw states, and its training rows."""
    train = ~np.isin(fold, out) & ((y >= 0) if y.dtype.kind == "i" else np.isfinite(y))
    scaler = StandardScaler().fit(x[train].astype(float))
    fitted = make().fit(scaler.transform(x[train].astype(float)), y[train])
    coef = np.ravel(fitted.coef_) / scaler.scale_
    return coef, float(np.ravel(fitted.intercept_)[0] - coef @ scaler.mean_), train


def assert_all_equal(weights, x, labels, fold, estimator, tolerance):
    """Coefficients times the spread of their dimension, decision values and AUROC of every fit."""
    spread = x.astype(float).std(0)
    for s, out in enumerate(SETS):
        for t in range(labels.shape[1]):
            for c, strength in enumerate(STRENGTHS):
                coef, intercept, train = one_by_one(x, labels[:, t], fold, out, lambda C=strength: estimator(C))
                got = weights.coef[s, t, c].double().numpy()
                # What does not vary in the training rows has no weight, whatever it does in the others.
                still = x[train].std(0) < 1e-3
                assert still.sum() >= 1 and not got[still].any()
                np.testing.assert_allclose((got * spread)[~still], (coef * spread)[~still], atol=tolerance, rtol=1e-3)
                mine, theirs = x @ got + weights.intercept[s, t, c].item(), x @ coef + intercept
                np.testing.assert_allclose(mine, theirs, atol=10 * tolerance, rtol=1e-3)


def test_logistic_sweep_is_scikit_learn_fit_by_fit():
    x, labels, fold = made()
    weights = logistic_sweep(x, labels, fold, SETS, STRENGTHS, tolerance=1e-9)
    assert weights.coef.shape == (7, 3, 3, 7) and weights.intercept.shape == (7, 3, 3)
    assert weights.converged.all()
    estimator = lambda C: LogisticRegression(C=C, tol=1e-8, max_iter=10_000)  # noqa: E731
    assert_all_equal(weights, x, labels, fold, estimator, 2e-3)


def test_ranking_is_scikit_learns_at_the_usual_tolerance():
    x, labels, fold = made(1)
    weights = logistic_sweep(x, labels, fold, SETS, STRENGTHS)
    value = scores(torch.from_numpy(x), weights.coef, weights.intercept).numpy()
    for s, out in enumerate(SETS[1:4], 1):
        for t in range(3):
            test = np.isin(fold, out) & (labels[:, t] >= 0)
            for c, strength in enumerate(STRENGTHS):
                estimator = lambda C=strength: LogisticRegression(C=C, tol=1e-8, max_iter=10_000)  # noqa: E731
                coef, intercept, _ = one_by_one(x, labels[:, t], fold, out, estimator)
                theirs = roc_auc_score(labels[test, t], x[test] @ coef + intercept)
                assert roc_auc_score(labels[test, t], value[test, s, t, c]) == pytest.approx(theirs, abs=3e-3)


def test_ridge_sweep_is_scikit_learn_fit_by_fit():
    x, labels, fold = made(2)
    estimator = lambda C: Ridge(alpha=1 / C)  # noqa: E731
    assert_all_equal(ridge_sweep(x, labels, fold, SETS, STRENGTHS), x, labels, fold, estimator, 1e-4)
    numbers = np.where(labels < 0, np.nan, 3 * x[:, 3:6] + labels)
    assert_all_equal(ridge_sweep(x, numbers, fold, SETS, STRENGTHS), x, numbers, fold, estimator, 1e-4)


@pytest.mark.parametrize("strength", [1e-4, 1.0, 100.0])
def test_labels_that_are_told_apart_perfectly_or_are_rare(strength):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    labels = np.stack([x[:, 0] > 0, np.arange(300) < 3], 1).astype(np.int8)
    weights = logistic_sweep(x, labels, np.zeros(300, int), [()], [strength], tolerance=1e-9)
    for t in range(2):
        estimator = lambda: LogisticRegression(C=strength, tol=1e-9, max_iter=10_000)  # noqa: E731
        coef, intercept, _ = one_by_one(x, labels[:, t], np.zeros(300), (), estimator)
        np.testing.assert_allclose(weights.coef[0, t, 0].numpy(), coef, rtol=2e-2, atol=2e-2)
        assert weights.intercept[0, t, 0].item() == pytest.approx(intercept, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("sweep", [logistic_sweep, ridge_sweep])
def test_blocks_give_what_the_whole_matrix_gives(sweep):
    x, labels, fold = made(4)
    whole = sweep(x, labels, fold, SETS, STRENGTHS)
    split = sweep(Blocks(x, [1, 100, 0, 139]), labels, fold, SETS, STRENGTHS)
    spread = torch.from_numpy(np.maximum(x.std(0), 1e-3))
    torch.testing.assert_close(split.coef * spread, whole.coef * spread, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(split.intercept, whole.intercept, atol=2e-2, rtol=2e-3)


def test_without_two_classes_the_weights_are_zero():
    x, labels, fold = made(5)
    labels[fold != 1, 0] = 1
    labels[:, 1] = -1
    weights = logistic_sweep(x, labels, fold, SETS, STRENGTHS)
    for s, out in enumerate(SETS):
        none = [t for t in range(3) if len(set(labels[~np.isin(fold, out), t]) - {-1}) < 2]
        assert set(none) >= {1} and (1 not in out or 0 in none)
        assert not weights.coef[s, none].any() and not weights.intercept[s, none].any()
        assert weights.coef[s, 2].any() and torch.isfinite(weights.coef[s]).all()
    assert weights.converged.all()


@pytest.mark.parametrize("sweep", [logistic_sweep, ridge_sweep])
def test_a_fit_does_not_see_what_it_leaves_out(sweep):
    x, labels, fold = made(6)
    before = sweep(x, labels, fold, [(0,)], STRENGTHS)
    out = fold == 0
    other = labels.copy()
    other[out] = np.random.default_rng(0).integers(-1, 2, (out.sum(), 3))
    # Their labels are masked: not a bit changes. Their states move the common scaling, which is undone up to rounding.
    assert torch.equal(sweep(x, other, fold, [(0,)], STRENGTHS).coef, before.coef)
    moved = x.copy()
    moved[out, 3:] = 50 + 20 * moved[out, 3:]
    after = sweep(moved, labels, fold, [(0,)], STRENGTHS)
    spread = torch.from_numpy(x[~out].std(0))
    torch.testing.assert_close(after.coef * spread, before.coef * spread, atol=3e-3, rtol=3e-3)


PROBES = [LogisticProbe(), RidgeProbe(), MassMeanProbe(), MassMeanProbe(covariance=True)]


@parametrize_with_checks(PROBES)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("probe", PROBES, ids=repr)
def test_probes_stand_where_scikit_learns_estimators_stand(probe):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(200, 5))
    y = np.where(x[:, 0] + x[:, 1] + rng.normal(0, 0.3, 200) > 0, "so", "no")
    twin = clone(probe)
    assert twin.get_params() == probe.get_params() and not hasattr(twin, "coef_")
    assert cross_val_score(probe, x, y, cv=4).mean() > 0.85
    assert cross_val_score(make_pipeline(StandardScaler(), probe), x, y, cv=4, scoring="roc_auc").mean() > 0.95
    fitted = twin.fit(x, y)
    p, value = fitted.predict_proba(x), fitted.decision_function(x)
    assert fitted.classes_.tolist() == ["no", "so"] and p.shape == (200, 2)
    np.testing.assert_allclose(p.sum(1), 1)
    assert (fitted.predict(x) == np.where(p[:, 1] > 0.5, "so", "no")).all()
    np.testing.assert_allclose(value, x @ fitted.coef_[0] + fitted.intercept_[0], atol=1e-4)
    with pytest.raises(ValueError, match="two classes apart; y has one"):
        clone(probe).fit(x, np.zeros(200))


def test_strength_is_searched_as_any_parameter():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(80, 4))
    search = GridSearchCV(LogisticProbe(), {"strength": [1e-4, 1.0]}, scoring="neg_log_loss").fit(x, x[:, 0] > 0)
    assert search.best_params_ == {"strength": 1.0}


def test_logistic_and_ridge_probe_are_scikit_learns():
    x, labels, _ = made(9)
    y = np.maximum(labels[:, 0], 0)
    coef, intercept, _ = one_by_one(x, y, np.zeros(len(x)), (), lambda: LogisticRegression(C=0.5, tol=1e-8))
    spread = x.std(0)
    got = LogisticProbe(strength=0.5).fit(x, y)
    np.testing.assert_allclose(got.coef_[0] * spread, coef * spread, atol=2e-3)
    np.testing.assert_allclose(got.decision_function(x), x @ coef + intercept, atol=1e-2)
    coef, intercept, _ = one_by_one(x, 2.0 * y - 1, np.zeros(len(x)), (), lambda: Ridge(alpha=2.0))
    got = RidgeProbe(strength=0.5).fit(x, y)
    np.testing.assert_allclose(got.coef_[0] * spread, coef * spread, atol=1e-4)
    np.testing.assert_allclose(got.decision_function(x), x @ coef + intercept, atol=1e-3)


def test_mass_mean_is_the_difference_of_means_and_corrected_it_is_discriminant_analysis():
    rng = np.random.default_rng(10)
    mix = rng.normal(size=(6, 6))
    y = rng.random(400) < 0.3
    x = rng.normal(size=(400, 6)) @ mix + np.outer(y, rng.normal(size=6))
    plain = MassMeanProbe().fit(x, y)
    np.testing.assert_allclose(plain.coef_[0], x[y].mean(0) - x[~y].mean(0))
    middle = (x[y].mean(0) + x[~y].mean(0)) / 2
    assert plain.decision_function(middle[None])[0] == pytest.approx(0, abs=1e-9)
    analysis = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)
    corrected = MassMeanProbe(covariance=True, shrinkage=0).fit(x, y)
    # scikit-learn divides the covariance by n, here by n - 2.
    np.testing.assert_allclose(corrected.coef_[0] * 400 / 398, analysis.coef_[0], rtol=1e-6)
    np.testing.assert_allclose(corrected.predict_proba(x), analysis.predict_proba(x), atol=5e-3)
    shrunk = MassMeanProbe(covariance=True).fit(x, y).coef_[0]
    cosine = shrunk @ analysis.coef_[0] / np.linalg.norm(shrunk) / np.linalg.norm(analysis.coef_[0])
    assert cosine > 0.99


def test_corrected_mass_mean_holds_with_fewer_rows_than_dimensions():
    x = np.random.default_rng(11).normal(size=(20, 50))
    y = np.arange(20) % 2
    fitted = MassMeanProbe(covariance=True).fit(x, y)
    assert np.isfinite(fitted.coef_).all() and fitted.score(x, y) == 1
