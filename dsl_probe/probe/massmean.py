"""Mass-mean probes: the difference of the class means, also corrected by the covariance (Marks and Tegmark 2023)."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class MassMeanProbe(ClassifierMixin, BaseEstimator):
    """Decision value w'x + b with w = m1 - m0, or with `covariance` w = C^-1 (m1 - m0); scikit-learn's protocol.

    m1, m0: means of the two classes; C: covariance within classes, pooled, made invertible by `shrinkage` of its mean
    variance. b puts the decision between the means, moved by the log-odds of the classes if corrected: then it is
    linear discriminant analysis, and predict_proba its posterior; uncorrected the decision value has no scale.

    >>> probe = MassMeanProbe().fit(np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1]))
    >>> probe.coef_, probe.predict(np.array([[2.0], [3.0]]))
    (array([[4.]]), array([0, 1]))
    """

    def __init__(self, covariance: bool = False, shrinkage: float = 1e-4):
        self.covariance = covariance
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: Any) -> "MassMeanProbe":
        """Fit to states [n, d] and two classes [n]."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, of = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"MassMeanProbe tells two classes apart; y has {len(self.classes_)} class(es).")
        means = np.stack([X[of == c].mean(0) for c in (0, 1)])
        direction, prior = means[1] - means[0], 0.0
        if self.covariance:
            inner = X - means[of]
            c = inner.T @ inner / max(len(X) - 2, 1)
            c[np.diag_indices_from(c)] += self.shrinkage * max(float(np.trace(c)) / len(c), 1e-12)
            direction = np.linalg.solve(c, direction)
            prior = np.log((of == 1).sum() / (of == 0).sum())
        self.coef_ = direction[None]
        self.intercept_ = np.array([prior - direction @ means.mean(0)])
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Decision values [n]; above 0 the second class."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_[0] + self.intercept_[0]

    def predict(self, X: Any) -> np.ndarray:
        """Classes [n]."""
        return self.classes_[(self.decision_function(X) > 0).astype(int)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Logistic function of the decision value, [n, 2]."""
        p = 1 / (1 + np.exp(-np.clip(self.decision_function(X), -50, 50)))
        return np.stack([1 - p, p], 1)
