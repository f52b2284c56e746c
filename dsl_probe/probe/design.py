"""The states and labels of a sweep as its solvers see them: scaled, by block, with the rows that each fit sees."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

BLOCK = 16_384
_LEAST_STD = 1e-6


class Design:
    """Columns of a sweep are pairs of a left-out set and a target; each pair has its own training rows.

    States are centred and scaled once by all rows, since a few massive dimensions would else cost float32 its digits;
    what differs between the training rows of the pairs is put into the weights.

    rows, positives: float32[pairs], training rows and the sum of their labels. mean, std: float32[d, pairs] of the
    training rows, in units of the states scaled by all; std is infinite where a feature does not vary.
    """

    def __init__(
        self, x: Any, labels: np.ndarray, fold: np.ndarray, left_out: Sequence[tuple[int, ...]], device: str = "cpu"
    ):
        import torch

        self.device, self.d = device, int(x.shape[1])
        self.source: Any = (
            x if hasattr(x, "blocks") else torch.as_tensor(np.asarray(x) if not torch.is_tensor(x) else x)
        )
        known = labels >= 0 if labels.dtype.kind in "iu" else np.isfinite(labels)
        seen = np.stack([~np.isin(fold, list(folds)) for folds in left_out], 1)
        mask = (seen[:, :, None] & known[:, None, :]).reshape(len(labels), -1)
        self.mask = torch.from_numpy(mask).to(device)
        self.labels = torch.from_numpy(np.where(known, labels, 0).astype(np.float32)).to(device)
        self.target = torch.arange(labels.shape[1], device=device).repeat(len(left_out))
        self._scale()
        self._count()

    def blocks(self) -> "Iterator[tuple[int, torch.Tensor]]":
        """(first row, float32 [m, d]), scaled by all rows."""
        if self.scaled is not None:
            for start in range(0, len(self.scaled), BLOCK):
                yield start, self.scaled[start : start + BLOCK]
            return
        for first, block in self._raw():
            yield first, (self._centred(block) / self.spread.to(block.dtype)).float()

    def evaluate(
        self, theta: "torch.Tensor", pair: "torch.Tensor", penalty: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Mean logistic loss with penalty |weights|^2 / 2, [k], and its slope [d + 1, k], at theta [d + 1, k]: weights
        for states standardised by the pair's training rows, and the intercept last."""
        import torch

        mean, std, target = self.mean[:, pair], self.std[:, pair], self.target[pair]
        w = theta[:-1] / std
        b = theta[-1] - (mean * w).sum(0)
        value = torch.zeros(len(pair), device=self.device)
        cross = torch.zeros(self.d, len(pair), device=self.device)
        total = torch.zeros(len(pair), device=self.device)
        for first, x in self.blocks():
            s = torch.addmm(b, x, w)
            here = slice(first, first + len(x))
            mask, y = self.mask[here][:, pair], self.labels[here][:, target]
            loss = torch.nn.functional.softplus(s).sub_(y * s).mul_(mask)
            value += loss.sum(0)
            r = s.sigmoid_().sub_(y).mul_(mask)
            cross.addmm_(x.T, r)
            total += r.sum(0)
        n = self.rows[pair].clamp(min=1)
        slope = torch.empty_like(theta)
        slope[:-1] = (cross - mean * total) / std / n + penalty * theta[:-1]
        slope[-1] = total / n
        return value / n + penalty * (theta[:-1] ** 2).sum(0) / 2, slope

    def raw(self, theta: "torch.Tensor", pair: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """coef [k, d] and intercept [k] for states as they are."""
        w = (theta[:-1] / self.std[:, pair]).double()
        b = theta[-1].double() - (self.mean[:, pair] * w).sum(0)
        coef = w / self.spread[:, None]
        return coef.T.float().contiguous(), (b - (self.centre[:, None] * coef).sum(0)).float()

    def spectrum(self) -> "tuple[torch.Tensor, torch.Tensor]":
        """Eigenvalues [d] and vectors [d, d] of the covariance of the states scaled by all rows."""
        import torch

        gram = torch.zeros(self.d, self.d, device=self.device)
        for _, x in self.blocks():
            gram.addmm_(x.T, x)
        values, vectors = torch.linalg.eigh(gram / len(self.labels))
        return values.clamp(min=0), vectors

    def moments(self, pair: int) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """Of one pair, float64: Gram matrix [d, d] of its standardised training rows, their products with the centred
        labels [d], and the labels' mean."""
        import torch

        gram = torch.zeros(self.d, self.d, dtype=torch.float64, device=self.device)
        cross = torch.zeros(self.d, dtype=torch.float64, device=self.device)
        for first, x in self.blocks():
            here = slice(first, first + len(x))
            chosen = x[self.mask[here, pair]].double()
            gram.addmm_(chosen.T, chosen)
            cross += chosen.T @ self.labels[here, self.target[pair]][self.mask[here, pair]].double()
        n, mean, std = (v.double() for v in (self.rows[pair], self.mean[:, pair], self.std[:, pair]))
        y = self.positives[pair].double() / n.clamp(min=1)
        gram = (gram - n * torch.outer(mean, mean)) / torch.outer(std, std)
        return gram, (cross - n * mean * y) / std, y

    def _raw(self) -> "Iterator[tuple[int, torch.Tensor]]":
        """Blocks as they are, float32 or float64."""
        import torch

        if hasattr(self.source, "blocks"):
            blocks = self.source.blocks()
        else:
            blocks = ((start, self.source[start : start + BLOCK]) for start in range(0, len(self.source), BLOCK))
        for first, block in blocks:
            block = block.to(self.device)
            yield first, block if block.dtype == torch.float64 else block.float()

    def _centred(self, block: "torch.Tensor") -> "torch.Tensor":
        return block - self.centre.to(block.dtype)

    def _scale(self) -> None:
        import torch

        n = len(self.labels)
        total = torch.zeros(self.d, dtype=torch.float64, device=self.device)
        for _, block in self._raw():
            total += block.sum(0, dtype=torch.float64)
        # Rounded to float32, so that what float32 states are centred by is what the weights are told.
        self.centre = (total / n).float().double()
        square = torch.zeros_like(total)
        for _, block in self._raw():
            square += (self._centred(block) ** 2).sum(0, dtype=torch.float64)
        spread = (square / n).sqrt()
        self.spread = torch.where(spread > _LEAST_STD, spread, torch.ones_like(spread))
        self.scaled = None
        if not hasattr(self.source, "blocks"):
            self.scaled = torch.cat([block for _, block in self.blocks()])

    def _count(self) -> None:
        import torch

        rows = self.mask.sum(0).double()
        positives = torch.zeros_like(rows)
        sums = torch.zeros(self.d, len(rows), dtype=torch.float64, device=self.device)
        squares = torch.zeros_like(sums)
        # In float64: in float32 the spread of what does not vary in the training rows would come out as its rounding,
        # above the threshold below, and such a feature would get weight.
        for first, x in self.blocks():
            here = slice(first, first + len(x))
            mask, x = self.mask[here].double(), x.double()
            positives += (mask * self.labels[here][:, self.target]).sum(0)
            sums.addmm_(x.T, mask)
            squares.addmm_((x * x).T, mask)
        n = rows.clamp(min=1)
        mean = sums / n
        std = (squares / n - mean**2).clamp(min=0).sqrt()
        # A feature that does not vary in the training rows tells nothing: over infinity its weight is 0.
        std = torch.where(std > 1e-4, std, torch.full_like(std, torch.inf))
        self.rows, self.positives, self.mean, self.std = (v.float() for v in (rows, positives, mean, std))
