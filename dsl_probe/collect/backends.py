"""Capture backends: what a model computed, at some layers and positions of given token ids.

A backend is any callable `capture(model, ids, layers, positions, site) -> {"resid_post.12": tensor [rows, d_model]}`.
A built-in one has a name in `BACKENDS`; `package.module:object` names one of your own.

One convention of layers everywhere: layer k is decoder block k, counted from 0, and resid_post of layer k is what that
block puts out. It is transformers' `hidden_states[k + 1]`, except for the last layer, where transformers hands out the
state after the final norm instead (in SmolLM2 up to 4,137 apart).
"""

import importlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from dsl_probe.collect.reading import reading
from dsl_probe.types import UserError

if TYPE_CHECKING:
    import torch

    from dsl_probe.models import Model

SITES = ("resid_post", "attn_out", "mlp_out")
BATCH, BATCH_TOKENS = 8, 8_192
# How the architectures in transformers name these two parts of a block.
_PARTS = {
    "attn_out": ("self_attn", "attn", "attention", "self_attention"),
    "mlp_out": ("mlp", "feed_forward", "block_sparse_moe", "feedforward", "moe"),
}
Backend = Callable[..., "dict[str, torch.Tensor]"]
_bridges: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()


def capture(
    model: "Model",
    ids: Sequence[Sequence[int]],
    layers: Sequence[int],
    positions: Sequence[Sequence[int]],
    site: str = "resid_post",
    *,
    batch: int = BATCH,
    batch_tokens: int = BATCH_TOKENS,
) -> "dict[str, torch.Tensor]":
    """States by transformers itself: the default backend.

    ids: token ids of each sequence. positions: for each sequence, the places whose state is wanted (0-based, any
    order). Returns {f"{site}.{layer}": [rows, d_model]} on the CPU in the model's dtype; rows follow the sequences and,
    within one, its positions.

    site: resid_post, what the block puts out; attn_out and mlp_out, what its attention or MLP module puts out, before a
    norm that the block may apply to it and before it is added to the residual.

    A hook takes the wanted rows out of each layer's output and nothing else is kept, no logits are computed, and the
    pass ends at the last layer that was asked for. (`output_hidden_states=[k]`, transformers' own selection, gives the
    same bits, but keeps whole sequences, runs every layer, and means something else before transformers 5.23.)
    Sequences of like length share a pass, right-padded, at most `batch` of them and `batch_tokens` tokens with padding.

    What it does not show: states while the trace was sampled. In bf16 those differ by about 1 % from a later pass over
    the same tokens (5.8 % at most, measured), and the batch around a sequence changes the last bits.

    >>> states = capture(model, [[1, 2, 3], [4, 5]], [0, 11], [[2], [0, 1]])  # doctest: +SKIP
    >>> states["resid_post.11"].shape                                        # doctest: +SKIP
    torch.Size([3, 576])
    """
    import torch

    layers = check_layers(layers, model.n_layers)
    check_ids(model, ids, positions)
    modules = {f"{site}.{k}": m for k, m in zip(layers, site_modules(model, layers, site), strict=True)}
    first = [0]
    for wanted in positions:
        first.append(first[-1] + len(wanted))
    states: dict[str, torch.Tensor] = {}
    with _evaluating(model.hf), torch.inference_mode():
        for members in batches([len(x) for x in ids], batch, batch_tokens):
            members = [i for i in members if len(positions[i])]
            if not members:
                continue
            with reading([(i,) for i in members]):
                part = _one_pass(model, [ids[i] for i in members], [positions[i] for i in members], modules)
            goes = torch.cat([torch.arange(first[i], first[i + 1]) for i in members])
            for name, rows in part.items():
                if name not in states:
                    states[name] = rows.new_empty(first[-1], rows.shape[-1])
                states[name][goes] = rows
    dtype = next(model.hf.parameters()).dtype
    return {name: states.get(name, torch.empty(0, model.d_model, dtype=dtype)) for name in modules}


def capture_transformer_lens(
    model: "Model",
    ids: Sequence[Sequence[int]],
    layers: Sequence[int],
    positions: Sequence[Sequence[int]],
    site: str = "resid_post",
) -> "dict[str, torch.Tensor]":
    """States by TransformerLens' bridge, one sequence a pass: the second backend, and the oracle of the tests.

    Arguments and result as in `capture`. The bridge changes the model that it is given (eager attention, wrapped
    modules), so it works on a copy: twice the memory. It is fed token ids, since from a text it would add a BOS.
    """
    import torch

    layers = check_layers(layers, model.n_layers)
    check_ids(model, ids, positions)
    site_modules(model, layers, site)
    bridge = _bridge(model)
    keys = {f"{site}.{k}": f"blocks.{k}.hook_{site}" for k in layers}
    wanted = set(keys.values())
    found: dict[str, list[torch.Tensor]] = {name: [] for name in keys}
    with torch.inference_mode():
        for sequence, places in zip(ids, positions, strict=True):
            if not len(places):
                continue
            tokens = torch.as_tensor(sequence, device=model.device, dtype=torch.long)[None]
            # A list as names_filter drops a wrong name silently, so filter by function and look names up.
            _, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name in wanted)
            for name, key in keys.items():
                if key not in cache.keys():  # noqa: SIM118
                    raise UserError(f"TransformerLens has no {key} for {model.name}; use --backend transformers.")
                found[name].append(cache[key][0, torch.as_tensor(places, device=model.device)].cpu())
    dtype = next(model.hf.parameters()).dtype
    return {name: torch.cat(f) if f else torch.empty(0, model.d_model, dtype=dtype) for name, f in found.items()}


# A dotted path stands for a backend whose module need not be imported before it is asked for.
BACKENDS: dict[str, Backend | str] = {
    "transformers": capture,
    "transformer-lens": capture_transformer_lens,
    "vllm": "dsl_probe.collect.vllm:capture_vllm",
}


def resolve_backend(name: str) -> Backend:
    """A backend by name or by dotted path.

    >>> resolve_backend("transformers") is capture
    True
    """
    found = BACKENDS.get(name, name)
    if not isinstance(found, str):
        return found
    path, _, attribute = found.partition(":")
    if not attribute:
        raise UserError(f"--backend {name!r} is unknown; known are {', '.join(BACKENDS)}, or package.module:object.")
    try:
        return getattr(importlib.import_module(path), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"--backend {name!r} cannot be imported: {error}.") from error


def check_layers(layers: Sequence[int], n_layers: int) -> list[int]:
    """The layers, ascending and once each; a UserError names those that do not exist."""
    bad = [k for k in layers if not 0 <= k < n_layers]
    if bad or not len(layers):
        what = f"layer {', '.join(map(str, bad))} does not exist" if bad else "no layer was given"
        raise UserError(f"{what}: this model has layers 0..{n_layers - 1}, counted from 0.")
    return sorted(set(layers))


def check_ids(model: "Model", ids: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> None:
    """A UserError where sequences and positions do not fit each other or the model."""
    if len(ids) != len(positions):
        raise UserError(f"{len(ids)} sequences but {len(positions)} lists of positions: give one list each.")
    size = model.hf.get_input_embeddings().weight.shape[0]
    for i, (sequence, places) in enumerate(zip(ids, positions, strict=True)):
        if len(sequence) and not 0 <= np.min(sequence) <= np.max(sequence) < size:
            raise UserError(f"sequence {i} holds token ids outside 0..{size - 1}: it is of another tokenizer.")
        if len(places) and not 0 <= np.min(places) <= np.max(places) < len(sequence):
            raise UserError(f"sequence {i} has {len(sequence)} tokens; positions run from 0 to {len(sequence) - 1}.")


def batches(lengths: Sequence[int], batch: int = BATCH, batch_tokens: int = BATCH_TOKENS) -> list[list[int]]:
    """Which sequences share a pass: those of like length, longest first, so that little is padding.

    At most `batch` sequences and `batch_tokens` tokens a pass, padding counted; a longer sequence goes alone.

    >>> batches([5, 90, 6, 80], batch=8, batch_tokens=180)
    [[1, 3], [2, 0]]
    """
    found: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        # Half as long as the longest would be half padding.
        full = not found or len(found[-1]) >= batch or (len(found[-1]) + 1) * longest > batch_tokens
        if full or 2 * lengths[i] < longest:
            found.append([])
            longest = lengths[i]
        found[-1].append(i)
    return found


def padded(ids: Sequence[Sequence[int]], device: Any) -> "tuple[torch.Tensor, torch.Tensor | None]":
    """Right-padded token ids [n, longest] and their mask, None where nothing is padded.

    Right, not left: under causal attention a state then cannot depend on the padding, and positions stay what they are.
    (Left padding without a mask was wrong by 37 %, silently.)
    """
    import torch

    lengths = [len(x) for x in ids]
    tokens = torch.zeros(len(ids), max(lengths), dtype=torch.long)
    for row, sequence in zip(tokens, ids, strict=True):
        row[: len(sequence)] = torch.as_tensor(sequence)
    if min(lengths) == max(lengths):
        return tokens.to(device), None
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return tokens.to(device), mask.long().to(device)


def decoder(hf: Any) -> Any:
    """The model without its head: embeddings, blocks, final norm. An adapter on it stays in."""
    return hf.get_decoder()


@contextmanager
def hooked(modules: Sequence[Any], hook: Callable[[int, Any], Any]) -> Generator[None]:
    """Call hook(i, output) after the i-th module ran; what it returns, unless None, stands in place of the output.

    The hooks are gone when the block ends, however it ends.
    """
    handles = []
    try:
        for i, module in enumerate(modules):
            handles.append(module.register_forward_hook(lambda _m, _a, out, i=i: hook(i, out)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Enough(Exception):
    """Ends a pass when the last wanted layer has run."""


def _one_pass(model: "Model", ids: list, positions: list, modules: dict[str, Any]) -> "dict[str, torch.Tensor]":
    import torch

    tokens, mask = padded(ids, model.hf.get_input_embeddings().weight.device)
    member = torch.repeat_interleave(torch.arange(len(ids)), torch.tensor([len(p) for p in positions]))
    place = torch.cat([torch.as_tensor(p, dtype=torch.long) for p in positions])
    names, found = list(modules), {}

    def take(i: int, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        found[names[i]] = hidden[member.to(hidden.device), place.to(hidden.device)]
        if len(found) == len(names):
            raise _Enough

    try:
        with hooked(list(modules.values()), take):
            decoder(model.hf)(input_ids=tokens, attention_mask=mask, use_cache=False)
    except _Enough:
        pass
    return {name: found[name].cpu() for name in names}


def site_modules(model: "Model", layers: Sequence[int], site: str) -> list[Any]:
    """The modules whose outputs are this site at these layers."""
    if site not in SITES:
        raise UserError(f"--site {site!r} is unknown; known are {', '.join(SITES)}.")
    blocks = _blocks(model)
    if site == "resid_post":
        return [blocks[k] for k in layers]
    parts = []
    for k in layers:
        name = next((n for n in _PARTS[site] if hasattr(blocks[k], n)), None)
        if name is None:
            children = ", ".join(n for n, _ in blocks[k].named_children())
            raise UserError(f"layer {k} of {model.name} has no {site}: its parts are {children}. Use resid_post.")
        parts.append(getattr(blocks[k], name))
    return parts


def _blocks(model: "Model") -> Any:
    import torch

    lists = [
        (name.count("."), module)
        for name, module in decoder(model.hf).named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == model.n_layers
    ]
    if not lists:
        raise UserError(f"{model.name} has no list of {model.n_layers} decoder blocks that could be read.")
    return min(lists, key=lambda found: found[0])[1]


@contextmanager
def _evaluating(hf: Any) -> Generator[None]:
    """No dropout while the block runs."""
    training = hf.training
    hf.eval()
    try:
        yield
    finally:
        hf.train(training)


def _bridge(model: "Model") -> Any:
    if model.hf not in _bridges:
        import copy

        from transformer_lens.model_bridge import TransformerBridge

        own = copy.deepcopy(model.hf)
        if hasattr(own, "merge_and_unload"):  # the bridge looks parts up by name, which an adapter changes
            own = own.merge_and_unload()
        _bridges[model.hf] = TransformerBridge.boot_transformers(
            model.name,
            hf_model=own,
            tokenizer=copy.deepcopy(model.tokenizer),
            dtype=next(model.hf.parameters()).dtype,
            device=model.device,
        )
    return _bridges[model.hf]
