"""Does a capture hold what the model computed: a share of the traces again, by plain transformers, one at a time."""

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.collect.backends import decoder, hooked, site_modules
from dsl_probe.collect.tokens import Tokens
from dsl_probe.types import UserError

if TYPE_CHECKING:
    import torch

    from dsl_probe.models import Model

# Relative difference that the rounding of the pass and of the file explains. A pass in bf16 differed from another over
# the same tokens by 5.8 % at most; a state of another position or layer differs by about 100 %.
PASS = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
FILE = {"fp32": 0.0, "bf16": 2**-8}
_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def sample_of(trace_ids: Sequence[str], share: float, sizes: Sequence[int]) -> list[int]:
    """Which traces are checked: those with the smallest hashes, at least one; the same ones every time.

    >>> sample_of(["a", "b", "c"], 0.01, [1, 1, 0])
    [0]
    """
    used = [i for i, n in enumerate(sizes) if n]
    if not share or not used:
        return []
    ranked = sorted(used, key=lambda i: hashlib.blake2b(trace_ids[i].encode(), digest_size=8).digest())
    return sorted(ranked[: math.ceil(share * len(used))])


def check_states(
    model: "Model",
    tokens: Tokens,
    positions: Sequence[int] | np.ndarray,
    layers: Sequence[int],
    site: str,
    stored: "dict[str, torch.Tensor]",
    dtype: str,
) -> float:
    """Largest relative difference between stored states and those of a plain pass; raises beyond the tolerance.

    stored: float32 [len(positions), d_model] by name. The pass is transformers' own, unpadded, with all hidden states;
    the last layer's are compared behind the final norm, since transformers gives them so. For attn_out and mlp_out,
    which transformers does not hand out, it is a hook on an unpadded full pass: a check of batching and positions only.

    The difference of two rows is ||a - b|| / ||b||, and the same of the medians of their entries' sizes, of which the
    larger counts: a few massive dimensions would hide anything else from the first.
    """
    import torch

    ids = torch.as_tensor(tokens.ids, dtype=torch.long)[None].to(model.hf.get_input_embeddings().weight.device)
    at = torch.as_tensor(positions, dtype=torch.long)
    tolerance = PASS[model.dtype] + FILE[dtype]
    worst = 0.0
    with torch.inference_mode():
        for name, expected, got in _expected(model, ids, at, layers, site, stored):
            a, b = got.float().cpu(), expected.float().cpu()
            norms = (a - b).norm(dim=-1) / b.norm(dim=-1).clamp(min=1e-30)
            medians = (a - b).abs().median(-1).values / b.abs().median(-1).values.clamp(min=1e-30)
            error = float(torch.maximum(norms, medians).max())
            if not error <= tolerance:
                raise UserError(
                    f"self-check failed: {name} of trace {tokens.trace_id!r} differs from plain transformers by "
                    f"{error:.2g} relative, allowed {tolerance:.2g} for a pass in {model.dtype} stored as {dtype}. "
                    f"Try --batch 1, --compute float32 or another --backend; the shard was not written."
                )
            worst = max(worst, error)
    return worst


def _expected(model: "Model", ids: Any, at: Any, layers: Sequence[int], site: str, stored: dict[str, Any]):
    import torch

    core = decoder(model.hf)
    names = [f"{site}.{k}" for k in layers]
    if site != "resid_post":
        seen: dict[int, torch.Tensor] = {}

        def keep(i: int, output: Any) -> None:
            seen[i] = (output[0] if isinstance(output, tuple) else output)[0, at.to(ids.device)]

        with hooked(site_modules(model, layers, site), keep):
            core(input_ids=ids, use_cache=False)
        yield from ((name, seen[i], stored[name]) for i, name in enumerate(names))
        return
    states = core(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
    for name, k in zip(names, layers, strict=True):
        expected, got = states[k + 1][0].cpu()[at], stored[name]
        if k == model.n_layers - 1:
            norm = next((getattr(core, n) for n in _NORMS if hasattr(core, n)), None)
            if norm is None:
                continue
            weight = next(norm.parameters())
            got = norm(got.to(weight.device, weight.dtype))
        yield name, expected, got
