"""What the probes of two classes share of scikit-learn's protocol."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data


class BinaryProbe(ClassifierMixin, BaseEstimator):
    """A classifier with coef_ [1, d] and intercept_ [1], set by `fit`. A base class; what it computes its kinds say."""

    _kind: type = np.float64
    coef_: np.ndarray
    intercept_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:
        """Decision values [n]; above 0 the second class."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=self._kind, reset=False) @ self.coef_[0] + self.intercept_[0]

    def predict(self, X: Any) -> np.ndarray:
        """Classes [n]."""
        above = self.decision_function(X) > 0
        return self.classes_[above.astype(int)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Logistic function of the decision value, [n, 2]."""
        p = 1 / (1 + np.exp(-np.clip(self.decision_function(X).astype(float), -50, 50)))
        return np.stack([1 - p, p], 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """States [n, d] and int[n], 1 for the second of `classes_`, which it sets."""
        X, y = validate_data(self, X, y, dtype=self._kind)
        check_classification_targets(y)
        self.classes_, of = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError(f"{type(self).__name__} tells two classes apart; y has one class, {self.classes_[0]!r}.")
        if len(self.classes_) > 2:
            # The first words are those that scikit-learn's own checks ask for.
            raise ValueError(
                f"Only binary classification is supported: {type(self).__name__} tells two classes apart; y has "
                f"{len(self.classes_)}. The type of the target is {type_of_target(y)}."
            )
        return X, of
