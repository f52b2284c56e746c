"""Muon for the matrices, AdamW for the rest; Muon in float32, since bfloat16 is slow on many processors."""

from typing import Any

import torch


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by five Newton-Schulz steps (Jordan et al. 2024, "Muon").

    params: matrices only. lr: the size of an update's singular values, times sqrt(rows / columns) where that is more
    than 1.
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(m, group["momentum"]))
                p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    """A matrix [n, m] with the singular vectors of g and singular values near 1 (0.7 to 1.2)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        y = x @ x.T
        x = a * x + (b * y + c * y @ y) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def muon_and_adamw(hf: Any, muon: float, adamw: float) -> list[torch.optim.Optimizer]:
    """Muon on every matrix inside the blocks, AdamW on embeddings and norms."""
    matrices = [p for n, p in hf.named_parameters() if p.ndim == 2 and "layers" in n]
    chosen = set(map(id, matrices))
    rest = [p for p in hf.parameters() if id(p) not in chosen]
    return [Muon(matrices, muon), torch.optim.AdamW(rest, adamw, betas=(0.9, 0.95), weight_decay=0.0)]
