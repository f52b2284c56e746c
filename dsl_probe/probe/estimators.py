"""The probes of linear.py one at a time, by scikit-learn's protocol."""

from typing import Any

import numpy as np

from dsl_probe.probe.binary import BinaryProbe
from dsl_probe.probe.linear import Weights, logistic_sweep, ridge_sweep


class LogisticProbe(BinaryProbe):
    """Logistic regression on standardised states; coef_ [1, d] and intercept_ [1] are for raw ones.

    strength: inverse of the L2 penalty, as LogisticRegression's C. device: where it is solved.

    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> LogisticProbe().fit(x, [0, 0, 1, 1]).predict([[0.5], [2.5]]).tolist()
    [0, 1]
    """

    _kind = np.float32

    def __init__(self, strength: float = 1.0, device: str = "cpu"):
        self.strength = strength
        self.device = device

    def fit(self, X: Any, y: Any) -> "LogisticProbe":
        """Fit to states [n, d] and two classes [n]."""
        X, of = self._checked(X, y)
        weights = self._solve(X, of.astype(np.int8)[:, None])
        self.coef_ = weights.coef[0, :, 0].numpy()
        self.intercept_ = weights.intercept[0, :, 0].numpy()
        return self

    def _solve(self, X: np.ndarray, columns: np.ndarray) -> Weights:
        fold = np.zeros(len(X), np.int64)
        return logistic_sweep(X, columns, fold, [()], [self.strength], device=self.device, tolerance=1e-8)


class RidgeProbe(LogisticProbe):
    """Ridge regression of labels -1 and 1 on standardised states: Ridge with alpha = 1 / strength, used to classify.

    >>> RidgeProbe().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]).predict([[0.5], [2.5]]).tolist()
    [0, 1]
    """

    def _solve(self, X: np.ndarray, columns: np.ndarray) -> Weights:
        labels = 2.0 * columns.astype(np.float64) - 1
        return ridge_sweep(X, labels, np.zeros(len(X), np.int64), [()], [self.strength], device=self.device)
