"""How good scores or probabilities are: ranking, calibration. Each takes [n] or [n, k] and gives a number or [k].

scores: decision values; p: probabilities of 1; labels: 1 or 0. AUROC with an interval by problem is in grouped.py.
"""

import numpy as np


def auroc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Chance that a positive is ranked above a negative, ties by half; NaN where a class is missing.

    labels [n] are those of all columns, [n, k] those of each.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).item()
    0.75

    What it does not show: calibration, nor how rare the positives are.
    """
    scores, labels, shape = _columns(scores, labels)
    found = np.full(scores.shape[1], np.nan)
    for k in range(scores.shape[1]):
        positive = labels[:, k] == 1
        a, b = scores[positive, k], np.sort(scores[~positive, k])
        if len(a) and len(b):
            below = np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")
            found[k] = below.mean() / (2 * len(b))
    return found.reshape(shape)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean over the positives of the precision at their rank, tied scores taken together; NaN without a positive.

    >>> average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).round(4).item()
    0.8333

    What it does not show: anything without the share of positives beside it, which is what chance gives.
    """
    scores, labels, shape = _columns(scores, labels)
    found = np.full(scores.shape[1], np.nan)
    for k in range(scores.shape[1]):
        order = np.argsort(-scores[:, k], kind="stable")
        ranked, hits = scores[order, k], np.cumsum(labels[order, k] == 1)
        if len(hits) and hits[-1]:
            last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
            gained = np.diff(np.concatenate([[0], hits[last]]))
            found[k] = (gained * hits[last] / (last + 1)).sum() / hits[-1]
    return found.reshape(shape)


def accuracy(told: np.ndarray, right: np.ndarray) -> float:
    """Share of answers [n] that are right; NaN of none."""
    return float((told == right).mean()) if len(told) else float("nan")


def ece(p: np.ndarray, labels: np.ndarray, bins: int = 15) -> np.ndarray:
    """Expected calibration error (Naeini, Cooper and Hauskrecht 2015) over bins of equal numbers of rows: the mean over
    the bins, by their rows, of |mean probability - share of positives|.

    >>> ece(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]), bins=2).item()
    0.0

    What it does not show: it is above 0 for a calibrated probe too, the more so the fewer rows a bin has.
    """
    p, labels, shape = _columns(p, labels)
    found = np.full(p.shape[1], np.nan)
    for k in range(p.shape[1]):
        order = np.argsort(p[:, k], kind="stable")
        parts = [part for part in np.array_split(order, min(bins, max(len(order), 1))) if len(part)]
        if parts:
            found[k] = sum(abs(p[part, k].sum() - labels[part, k].sum()) for part in parts) / len(order)
    return found.reshape(shape)


def brier(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean squared difference of probability and label, 0 to 1; the share s of positives alone gives s (1 - s).

    >>> brier(np.array([0.0, 0.5]), np.array([0, 1])).item()
    0.125
    """
    p, labels, shape = _columns(p, labels)
    return ((p - labels) ** 2).mean(0).reshape(shape)


def _columns(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    values, labels = np.asarray(values), np.asarray(labels)
    shape = values.shape[1:]
    values = values.reshape(len(values), -1)
    if labels.ndim == 1:
        labels = np.broadcast_to(labels[:, None], values.shape)
    return values, labels.reshape(values.shape), shape
