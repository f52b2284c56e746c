"""Mass-mean probes: the difference of the class means, also corrected by the covariance (Marks and Tegmark 2023)."""

from typing import Any

import numpy as np

from dsl_probe.probe.binary import BinaryProbe


class MassMeanProbe(BinaryProbe):
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
        X, of = self._checked(X, y)
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
