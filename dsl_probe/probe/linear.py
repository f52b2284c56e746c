"""Linear probes, a whole sweep at once: all targets, left-out folds and strengths of one matrix of states together.

Fitted one by one, a probe's work is a product of a matrix and a vector, which waits for memory. Here the columns of all
fits stand side by side, so that an iteration is two products of matrices. Logistic columns are solved by L-BFGS (Liu
and Nocedal 1989) that starts from an upper bound of the Hessian, base rate (1 - base rate) X'X + strength, diagonal in
the eigenvectors of X'X: one decomposition serves all columns (after Boehning 1992).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.probe.design import Design

if TYPE_CHECKING:
    import torch

_MEMORY = 8


@dataclass(frozen=True)
class Weights:
    """coef: float32 [sets, targets, strengths, d], intercept: float32 [sets, targets, strengths], for raw states.

    iterations: passes over the states. converged: bool [sets, targets, strengths].
    """

    coef: "torch.Tensor"
    intercept: "torch.Tensor"
    iterations: int
    converged: "torch.Tensor"


def scores(x: "torch.Tensor", coef: "torch.Tensor", intercept: "torch.Tensor") -> "torch.Tensor":
    """Decision values [n, ...] of states x [n, d] under coef [..., d] and intercept [...]."""
    return (x @ coef.reshape(-1, coef.shape[-1]).T).reshape(len(x), *intercept.shape) + intercept


def logistic_sweep(
    x: Any,
    labels: np.ndarray,
    fold: np.ndarray,
    left_out: Sequence[tuple[int, ...]],
    strengths: Sequence[float],
    *,
    device: str = "cpu",
    tolerance: float = 1e-6,
    most: int = 200,
) -> Weights:
    """Logistic regression with an L2 penalty for every left-out set of folds, target and strength.

    x: states, float [n, d], or something with `.shape` and `.blocks()` that yields (first row, float32 [m, d]).
    labels: int8 [n, targets]: 1, 0, or -1 where a row has no label. fold: int [n]. left_out: the folds that a fit does
    not see. strengths: C of scikit-learn's LogisticRegression, whose objective this is, on states standardised by the
    mean and standard deviation of the fit's own training rows; the intercept has no penalty. The weights are for raw
    states. A fit whose training labels are all alike has zero weights.

    tolerance: mean loss that may be left to gain, as the last step's quadratic model tells it. Memory: a standardised
    copy of x (none for blocks), and a block of rows by columns.

    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]]); y = np.array([[0], [0], [1], [1]], np.int8)
    >>> w = logistic_sweep(x, y, np.arange(4), [()], [1.0])
    >>> scores(torch.tensor([[1.5]]), w.coef, w.intercept).abs().max() < 1e-3     # doctest: +SKIP
    """
    import torch

    data = Design(x, labels, fold, left_out, device)
    n_sets, n_targets, n_strengths = len(left_out), labels.shape[1], len(strengths)
    pair = torch.arange(n_sets * n_targets, device=device).repeat_interleave(n_strengths)
    penalty = 1 / (torch.tensor(strengths, device=device).repeat(n_sets * n_targets) * data.rows[pair].clamp(min=1))
    share = (data.positives / data.rows.clamp(min=1)).clamp(0, 1)
    curvature = (share * (1 - share))[pair]
    theta = torch.zeros(data.d + 1, len(pair), device=device)
    theta[-1] = torch.logit(share[pair], eps=1e-6)
    live = torch.nonzero(curvature > 0)[:, 0]
    theta[-1, curvature == 0] = 0
    done = curvature == 0
    step = _Lbfgs(*data.spectrum(), penalty[live], curvature[live])
    value, slope = data.evaluate(theta[:, live], pair[live], penalty[live])
    iterations = 1
    while len(live) and iterations < most:
        direction, gain = step.direction(slope)
        finished = gain < tolerance
        if finished.any():
            done[live[finished]] = True
            keep = ~finished
            live, value, slope, direction = live[keep], value[keep], slope[:, keep], direction[:, keep]
            step.keep(keep)
            if not len(live):
                break
        before = theta[:, live]
        length = torch.ones(len(live), device=device)
        new_value, new_slope = data.evaluate(before + direction, pair[live], penalty[live])
        iterations += 1
        descent = (slope * direction).sum(0)
        for _ in range(12):
            worse = torch.nonzero(~(new_value <= value + 1e-4 * length * descent + 1e-7))[:, 0]
            if not len(worse):
                break
            length[worse] /= 2
            again = before[:, worse] + length[worse] * direction[:, worse]
            new_value[worse], new_slope[:, worse] = data.evaluate(again, pair[live[worse]], penalty[live[worse]])
        theta[:, live] = before + length * direction
        step.learn(length * direction, new_slope - slope)
        value, slope = new_value, new_slope
    coef, intercept = data.raw(theta, pair)
    shape = (n_sets, n_targets, n_strengths)
    return Weights(
        coef.reshape(*shape, -1).cpu(), intercept.reshape(shape).cpu(), iterations, done.reshape(shape).cpu()
    )


def ridge_sweep(
    x: Any,
    labels: np.ndarray,
    fold: np.ndarray,
    left_out: Sequence[tuple[int, ...]],
    strengths: Sequence[float],
    *,
    device: str = "cpu",
) -> Weights:
    """Ridge regression for every left-out set of folds, target and strength, in closed form.

    Arguments and standardisation as in `logistic_sweep`, where labels may be numbers (float, NaN for none); int8 labels
    are read as 1, 0 and -1 for none. The objective is that of scikit-learn's Ridge with alpha = 1 / strength.
    """
    import torch

    data = Design(x, labels, fold, left_out, device)
    alpha = 1 / torch.tensor(strengths, dtype=torch.float64, device=device)
    theta = torch.zeros(data.d + 1, len(data.rows), len(alpha), device=device)
    for i in range(len(data.rows)):
        gram, cross, mean = data.moments(i)
        values, vectors = torch.linalg.eigh(gram)
        theta[:-1, i] = (vectors @ ((vectors.T @ cross)[:, None] / (values.clamp(min=0)[:, None] + alpha))).float()
        theta[-1, i] = mean.float()
    pair = torch.arange(len(data.rows), device=device).repeat_interleave(len(alpha))
    coef, intercept = data.raw(theta.reshape(data.d + 1, -1), pair)
    shape = (len(left_out), labels.shape[1], len(alpha))
    every = torch.ones(shape, dtype=torch.bool)
    return Weights(coef.reshape(*shape, -1).cpu(), intercept.reshape(shape).cpu(), 1, every)


class _Lbfgs:
    """Steps of many columns at once. Points and slopes are [d + 1, k], the intercept last."""

    def __init__(self, values: Any, vectors: Any, penalty: Any, curvature: Any):
        self.values, self.vectors, self.penalty, self.curvature = values, vectors, penalty, curvature
        self.past: list[tuple[Any, Any, Any]] = []

    def direction(self, slope: Any) -> tuple[Any, Any]:
        """Where to step, and the gain that the quadratic model promises, half of minus slope times direction."""
        q, tied = slope.clone(), []
        for s, y, scale in reversed(self.past):
            a = scale * (s * q).sum(0)
            q -= a * y
            tied.append(a)
        r = self._bound(q)
        for (s, y, scale), a in zip(self.past, reversed(tied), strict=True):
            r += s * (a - scale * (y * r).sum(0))
        return -r, (slope * r).sum(0) / 2

    def learn(self, step: Any, change: Any) -> None:
        """Take a step and the change of slope along it into the memory; columns of no curvature are left out of it."""
        import torch

        product = (step * change).sum(0)
        good = product > 1e-12
        scale = torch.where(good, 1 / product.clamp(min=1e-12), torch.zeros_like(product))
        self.past = [*self.past, (step, change, scale)][-_MEMORY:]

    def keep(self, columns: Any) -> None:
        """Go on with these columns alone."""
        self.penalty, self.curvature = self.penalty[columns], self.curvature[columns]
        self.past = [(s[:, columns], y[:, columns], scale[columns]) for s, y, scale in self.past]

    def _bound(self, slope: Any) -> Any:
        """The slope over the bound of the Hessian."""
        import torch

        turned = self.vectors.T @ slope[:-1]
        turned /= self.values[:, None] * self.curvature + self.penalty
        return torch.cat([self.vectors @ turned, slope[-1:] / self.curvature])
