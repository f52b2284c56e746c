"""One target, all layers: fits on grouped folds, strength and layer chosen on inner folds, scores of unseen problems.

With k folds, the fits that leave out one fold give the scores, and the fits that leave out two give the choice: for
the outer fold o, the fit without {o, i} is judged on i. So each pair serves both of its folds, and the whole of the
nested cross-validation is 1 + k + k (k - 1) / 2 fits, solved together.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dsl_probe.probe.metrics import auroc

if TYPE_CHECKING:
    import torch

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
Sets: TypeAlias = Sequence[tuple[int, ...]]
# States [n, d], labels int8[n, questions], fold [n], left-out sets, strengths -> Fits.
Solver: TypeAlias = "Callable[..., Fits]"


@dataclass(frozen=True)
class Fits:
    """judge(i, rows): decision values float[rows, questions, strengths] of the fit without the left-out set i. coef
    [sets, questions, strengths, d], intercept [sets, questions, strengths]; None for what has no such form."""

    judge: Callable[[int, np.ndarray], np.ndarray]
    coef: np.ndarray | None
    intercept: np.ndarray | None


@dataclass(frozen=True)
class LayerFit:
    """What one layer gives.

    inner: float64[k, strengths], mean AUROC over the inner folds of each outer fold. strength: int[k], index of the
    strength with the best of it. scores: float32[n, questions], decision values of each row by the fit that left its
    fold out, at that strength. coef float32[1 + k, questions, d], intercept [1 + k, questions]: first of the fit to all
    rows, at the strength best on average, `final`; then of the fits that left out each fold, at theirs. None for
    estimators without such weights.
    """

    inner: np.ndarray
    strength: np.ndarray
    scores: np.ndarray
    coef: np.ndarray | None
    intercept: np.ndarray | None
    final: int


@dataclass(frozen=True)
class Choice:
    """The layer chosen for each outer fold on its inner folds (layer: int[k], positions in the list of layers), the one
    chosen most often (the lowest of those), and the scores float32[n, questions] of that nested choice."""

    layers: np.ndarray
    layer: int
    scores: np.ndarray


def deal_folds(problem: np.ndarray, k: int, seed: int) -> np.ndarray:
    """int[n] in 0 .. k - 1: all rows of a problem in one fold, folds of equal numbers of problems.

    Problems are ranked by a hash of seed and name, so that targets over the same problems share their folds.

    >>> deal_folds(np.array(["a", "a", "b", "c"], object), 3, 0).tolist()
    [1, 1, 2, 0]
    """
    names, of = np.unique(problem.astype(str), return_inverse=True)
    ranks = [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in names]
    place = np.empty(len(names), np.int64)
    place[sorted(range(len(names)), key=ranks.__getitem__)] = np.arange(len(names))
    return place[of] % k


def fit_layer(
    x: "torch.Tensor", labels: np.ndarray, fold: np.ndarray, solver: Solver, strengths: Sequence[float] = STRENGTHS
) -> LayerFit:
    """All fits of one layer. x: float [n, d]; labels: int8 [n, questions]; fold: int [n]."""
    k = int(fold.max()) + 1
    pairs = list(combinations(range(k), 2))
    fits = solver(x, labels, fold, [(), *((o,) for o in range(k)), *pairs], strengths)
    rows_of = [np.flatnonzero(fold == o) for o in range(k)]
    each = np.full((k, k, len(strengths)), np.nan)
    for i, (a, b) in enumerate(pairs, 1 + k):
        for outer, judge in ((a, b), (b, a)):
            each[outer, judge] = _mean_auroc(fits.judge(i, rows_of[judge]), labels[rows_of[judge]])
    inner = np.nan_to_num(_nanmean(each, 1), nan=0.5)
    strength = inner.argmax(1)
    scores = np.zeros(labels.shape, np.float32)
    for o, rows in enumerate(rows_of):
        scores[rows] = fits.judge(1 + o, rows)[:, :, strength[o]]
    final = int(inner.mean(0).argmax())
    if fits.coef is None or fits.intercept is None:
        return LayerFit(inner, strength, scores, None, None, final)
    at = [final, *strength]
    coef = np.stack([fits.coef[i, :, s] for i, s in enumerate(at)])
    intercept = np.stack([fits.intercept[i, :, s] for i, s in enumerate(at)])
    return LayerFit(inner, strength, scores, coef, intercept, final)


def choose_layer(fits: Sequence[LayerFit], fold: np.ndarray) -> Choice:
    """The nested choice of the layer: for each outer fold the layer whose best inner AUROC is highest."""
    best = np.stack([fit.inner.max(1) for fit in fits])
    layers = best.argmax(0)
    scores = np.zeros_like(fits[0].scores)
    for o, layer in enumerate(layers):
        scores[fold == o] = fits[layer].scores[fold == o]
    return Choice(layers, int(np.bincount(layers).argmax()), scores)


def linear(sweep: Callable[..., Any], device: str = "cpu") -> Solver:
    """A solver of linear.py (`logistic_sweep`, `ridge_sweep`) as `fit_layer` takes it."""

    def solve(
        x: Any, labels: np.ndarray, fold: np.ndarray, sets: Sequence[tuple[int, ...]], strengths: Sequence[float]
    ):
        weights = sweep(x, labels, fold, sets, strengths, device=device)

        def judge(i: int, rows: np.ndarray) -> np.ndarray:
            coef = weights.coef[i]
            flat = x[rows] @ coef.reshape(-1, coef.shape[-1]).T
            return flat.reshape(len(rows), *coef.shape[:2]).numpy() + weights.intercept[i].numpy()

        return Fits(judge, weights.coef.numpy(), weights.intercept.numpy())

    return solve


def estimators(make: Callable[[], Any]) -> Solver:
    """Any scikit-learn estimator, fitted for each left-out set and question by itself. make: gives a fresh one.

    Strengths are not its business: fit_layer is then given one, which stands for none. Its decision value is that of
    decision_function, else the logit of predict_proba. Weights are kept where it has `coef_` and `intercept_`.
    """

    def solve(
        x: Any, labels: np.ndarray, fold: np.ndarray, sets: Sequence[tuple[int, ...]], strengths: Sequence[float]
    ):
        data = x.numpy()
        made = []
        for folds in sets:
            train = ~np.isin(fold, folds)
            made.append([_fitted(make, data[train], labels[train, q]) for q in range(labels.shape[1])])

        def judge(i: int, rows: np.ndarray) -> np.ndarray:
            return np.stack([_decision(one, data[rows]) for one in made[i]], 1)[:, :, None]

        weights = [_weights(one, data.shape[1]) for row in made for one in row]
        if any(pair is None for pair in weights):
            return Fits(judge, None, None)
        coef = np.array([pair[0] for pair in weights if pair], np.float32)
        intercept = np.array([pair[1] for pair in weights if pair], np.float32)
        shape = (len(sets), labels.shape[1], 1)
        return Fits(judge, coef.reshape(*shape, -1), intercept.reshape(shape))

    return solve


def _fitted(make: Callable[[], Any], x: np.ndarray, y: np.ndarray) -> Any:
    """A fitted estimator; None where the training labels are all alike, which many estimators refuse."""
    return make().fit(x, y) if (y == 1).any() and (y == 0).any() else None


def _decision(estimator: Any, x: np.ndarray) -> np.ndarray:
    if estimator is None:
        return np.zeros(len(x), np.float32)
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(x), np.float32).ravel()
    p = np.clip(estimator.predict_proba(x)[:, 1], 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p)).astype(np.float32)


def _weights(estimator: Any, d: int) -> tuple[np.ndarray, float] | None:
    if estimator is None:
        return np.zeros(d), 0.0
    coef, intercept = getattr(estimator, "coef_", None), getattr(estimator, "intercept_", None)
    if coef is None or intercept is None or np.size(coef) != d:
        return None
    return np.ravel(coef), float(np.ravel(intercept)[0])


def _mean_auroc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean over the questions, for each strength: scores [n, questions, strengths], labels [n, questions]."""
    each = np.stack([auroc(scores[:, q], labels[:, q]) for q in range(labels.shape[1])])
    return _nanmean(each, 0)


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    seen = np.isfinite(values)
    return np.where(seen, values, 0).sum(axis) / np.where(seen.any(axis), seen.sum(axis), np.nan)
