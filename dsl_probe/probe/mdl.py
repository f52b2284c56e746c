"""Description length of labels given states, by the online code (Voita and Titov 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

SHARES = (0.0625, 0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Code:
    """bits: bits a label, mean over the questions. prior: the same of a code that learns the share of positives alone,
    in the same blocks. compression: prior / bits; 1 where the states tell nothing, below 1 where they mislead."""

    bits: float
    prior: float
    compression: float


def online_code(
    x: "torch.Tensor",
    columns: np.ndarray,
    problem: np.ndarray,
    seed: int,
    strength: float,
    sweep: Callable[..., Any] | None = None,
) -> Code:
    """Bits to send labels int8[n, questions] to someone who has the states [n, d].

    The problems, in an order drawn by seed and never divided, are sent in blocks that end at 1/16, 1/8, 1/4, 1/2 and
    all of them; the first at one bit a label, each other by a logistic probe fitted to all before. sweep: by default
    linear.logistic_sweep.

    What it does not show: the shortest code; another probe or strength may give a shorter one.
    """
    from dsl_probe.probe.linear import logistic_sweep, scores

    names, of = np.unique(problem.astype(str), return_inverse=True)
    rank = np.random.default_rng(seed).permutation(len(names))[of]
    ends = sorted({max(1, round(share * len(names))) for share in SHARES})
    block = np.searchsorted(ends, rank, "right")
    # One fit for each block but the first: the rows of earlier blocks train it.
    later = range(1, len(ends))
    left_out = [tuple(range(b, len(ends))) for b in later]
    first = int((block == 0).sum()) * columns.shape[1]
    total, prior = float(first), float(first)
    if left_out:
        weights = (sweep or logistic_sweep)(x, columns, block, left_out, [strength])
        for i, b in enumerate(later):
            rows = np.flatnonzero(block == b)
            value = scores(x[rows], weights.coef[i], weights.intercept[i])[:, :, 0].numpy()
            total += _bits(1 / (1 + np.exp(-np.clip(value.astype(float), -50, 50))), columns[rows])
            before = columns[block < b]
            share = (before.sum(0) + 0.5) / (len(before) + 1)
            prior += _bits(np.broadcast_to(share, columns[rows].shape), columns[rows])
    n = columns.size
    return Code(total / n, prior / n, prior / total)


def _bits(p: np.ndarray, labels: np.ndarray) -> float:
    # Nobody may be so sure that one label costs more than 20 bits.
    p = np.clip(p, 2.0**-20, 1 - 2.0**-20)
    return float(-np.log2(np.where(labels == 1, p, 1 - p)).sum())
