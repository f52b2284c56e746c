"""The probe that a config names, as `fit_layer` takes it."""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.probe.linear import Weights, logistic_sweep, ridge_sweep
from dsl_probe.probe.massmean import MassMeanProbe
from dsl_probe.probe.sweep import Solver, estimators, linear
from dsl_probe.types import UserError

if TYPE_CHECKING:
    from dsl_probe.probe.stage import ProbeConfig

PROBE_NAMES = ("logistic", "ridge", "mass-mean", "mass-mean-corrected")


def solver_of(config: "ProbeConfig") -> tuple[Solver, tuple[float, ...]]:
    """The solver and the strengths that it is given; a probe without strengths is given one, which it does not read.

    A dotted path names a class of scikit-learn's protocol, fitted with its defaults: fit, and decision_function or
    predict_proba.
    """
    if config.probe == "logistic":
        return linear(logistic_sweep, config.device), config.strengths
    if config.probe == "ridge":
        return linear(_ridge, config.device), config.strengths
    if config.probe.startswith("mass-mean"):
        corrected = config.probe == "mass-mean-corrected"
        return estimators(lambda: MassMeanProbe(covariance=corrected)), (1.0,)
    return estimators(_imported(config.probe)), (1.0,)


def _ridge(x: Any, labels: np.ndarray, *rest: Any, **options: Any) -> Weights:
    """Ridge regression of -1 and 1, so that a decision value above 0 says yes."""
    return ridge_sweep(x, np.where(labels < 0, np.nan, 2.0 * labels - 1), *rest, **options)


def _imported(name: str):
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"--probe {name!r} is unknown ({error}); known are {', '.join(PROBE_NAMES)}, package.module:Class."
        ) from error
    if not hasattr(found, "fit") or not (hasattr(found, "decision_function") or hasattr(found, "predict_proba")):
        raise UserError(
            f"--probe {name!r} needs fit, and decision_function or predict_proba, as scikit-learn has them."
        )
    return found
