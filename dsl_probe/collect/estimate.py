"""What a capture will take: disk exactly, memory by the sizes of the model's parts, both before anything is written."""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl_probe.types import UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model

# Allocator slack, and what the first pass of a process sets up besides (thread pools, kernels).
_SLACK, _START = 1.25, 96 << 20


@dataclass(frozen=True)
class Estimate:
    """Counts, and sizes in bytes. disk: all shards; disk_to_write: those not there yet. work: one pass and its tokens.

    memory (weights + work) is of the accelerator if the model is on one, else of this process beyond what it held.
    """

    traces: int
    tokens: int
    rows: int
    layers: int
    disk: int
    disk_to_write: int
    disk_free: int
    weights: int
    work: int
    available: int | None

    @property
    def memory(self) -> int:
        """Peak memory in bytes."""
        return self.weights + self.work

    def text(self) -> str:
        """One line for people."""
        room = "" if self.available is None else f" of {self.available / 2**20:,.0f} MiB available"
        return (
            f"{self.traces:,} traces, {self.tokens:,} tokens, {self.rows:,} states x {self.layers} layers; "
            f"disk {self.disk / 2**20:,.1f} MiB of {self.disk_free / 2**20:,.0f} MiB free; "
            f"memory {self.memory / 2**20:,.0f} MiB, of which the model {self.weights / 2**20:,.0f} MiB and a pass "
            f"{self.work / 2**20:,.0f} MiB{room}"
        )


def check_room(estimate: Estimate) -> None:
    """Refuse what does not fit."""
    if estimate.disk_to_write > estimate.disk_free:
        raise UserError(
            f"the states need {estimate.disk_to_write / 2**20:,.1f} MiB and the disk has "
            f"{estimate.disk_free / 2**20:,.1f} MiB free: take fewer layers or positions, or another disk."
        )
    if estimate.available is not None and estimate.work > estimate.available:
        raise UserError(
            f"a pass needs {estimate.work / 2**20:,.0f} MiB beyond the model and {estimate.available / 2**20:,.0f} MiB "
            f"are available: lower --batch-tokens or --batch."
        )


def pass_bytes(model: "Model", n: int, longest: int, rows: int, *, every_layer: bool = False) -> int:
    """Peak bytes of a forward pass over n sequences padded to `longest`, without weights and logits.

    Counted: the residual stream with its norm and sum, the wider of attention (queries, keys, values, before and after
    rotation and repetition) and MLP (gate, up, product), a mask where sequences differ in length (n > 1), the weights
    of attention where the model computes it eagerly, and the rows that are taken. every_layer: keep all hidden states.

    What it does not cover: experts of a mixture, and kernels that need a workspace of their own.
    """
    config = model.hf.config.get_text_config(decoder=True)
    d, heads = model.d_model, getattr(config, "num_attention_heads", None) or 1
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * d
    wide = heads * (getattr(config, "head_dim", None) or d // heads)
    item = 2 if model.dtype in ("bfloat16", "float16") else 4
    tokens = n * longest
    elements = tokens * (4 * d + max(4 * inner, 8 * wide))
    if every_layer:
        elements += tokens * d * (model.n_layers + 1)
    size = elements * item + tokens * d * 8 + 2 * rows * d * item
    if n > 1:
        size += n * longest**2 * (item + 1)
    if getattr(config, "_attn_implementation", "sdpa") == "eager":
        size += n * heads * longest**2 * (2 * item + 4)
    return int(size * _SLACK) + _START


def weight_bytes(model: "Model") -> int:
    """Bytes of parameters and buffers; on a CPU all that this process holds by now, which includes them."""
    if not model.device.startswith(("cuda", "mps")):
        resident = _resident()
        if resident:
            return resident
    return sum(t.numel() * t.element_size() for t in [*model.hf.parameters(), *model.hf.buffers()])


def available_memory(model: "Model") -> int | None:
    """Bytes that a pass may take: free on the accelerator, or available on the machine; None where nothing tells."""
    if model.device.startswith("cuda"):
        import torch

        return sum(torch.cuda.mem_get_info(i)[0] for i in _devices(model))
    info = Path("/proc/meminfo")
    if not info.is_file():
        return None
    line = next((x for x in info.read_text().splitlines() if x.startswith("MemAvailable")), None)
    return int(line.split()[1]) * 1024 if line else None


def peak_memory(model: "Model") -> int:
    """Bytes at the highest so far: of the accelerator if the model is on one, else of this process with loading."""
    if model.device.startswith("cuda"):
        import torch

        return sum(torch.cuda.max_memory_allocated(i) for i in _devices(model))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _devices(model: "Model") -> list[Any]:
    return sorted({p.device for p in model.hf.parameters() if p.device.type == "cuda"}, key=str)


def _resident() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.is_file() else 0
