"""A key-value cache with room to grow, whose rows can be left out, repeated, and joined with another's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def roomy_cache(config: Any, length: int) -> Any:
    """A DynamicCache whose plain layers write into room made ahead: concatenation would copy them at every token.

    length: tokens that it will hold at most, as far as is known.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class Roomy(DynamicLayer):
        room: Any = None

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            start = self.get_seq_length()
            stop = start + key_states.shape[-2]
            if self.room is None or self.room[0].shape[-2] < stop:
                wide = min(max(length, stop), stop + max(128, start))
                self.room = _wider(self.keys, key_states, wide), _wider(self.values, value_states, wide)
            keys, values = self.room
            keys[..., start:stop, :] = key_states
            values[..., start:stop, :] = value_states
            self.keys, self.values = keys[..., :stop, :], values[..., :stop, :]
            return self.keys, self.values

        def batch_select_indices(self, indices: Any) -> None:
            super().batch_select_indices(indices.to(self.device))  # layers may lie on several devices
            self.room = None

    cache = DynamicCache(config=config)
    cache.layers = [Roomy() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def joinable(cache: Any) -> bool:
    """Whether every layer keeps all keys and values, so that rows of two caches fit beside each other."""
    return bool(cache.layers) and all(hasattr(layer, "room") for layer in cache.layers)


def joined_cache(config: Any, caches: Sequence[Any], rows: "Sequence[torch.Tensor]", length: int, most: int) -> Any:
    """One cache out of several, right-aligned: rows[i] (int[n_i], repeats allowed) of caches[i], one below the other.

    length: tokens that are kept, those furthest right; shorter caches get zeros on the left. most: tokens that it will
    hold at most. The old caches are emptied layer by layer, so that little is held twice.
    """
    cache = roomy_cache(config, most)
    wide = min(most, length + max(128, length))
    for number, layer in enumerate(cache.layers):
        old = [c.layers[number] for c in caches]
        layer.lazy_initialization(old[0].keys, old[0].values)
        layer.room = tuple(_stacked([getattr(o, name) for o in old], rows, length, wide) for name in ("keys", "values"))
        layer.keys, layer.values = (tensor[..., :length, :] for tensor in layer.room)
        for o in old:
            o.keys = o.values = o.room = None
    return cache


def _stacked(
    tensors: "Sequence[torch.Tensor]", rows: "Sequence[torch.Tensor]", length: int, wide: int
) -> "torch.Tensor":
    like = tensors[0]
    out = like.new_empty(sum(map(len, rows)), like.shape[1], wide, like.shape[3])
    first = 0
    for tensor, chosen in zip(tensors, rows, strict=True):
        kept = min(length, tensor.shape[2])
        here = out[first : first + len(chosen)]
        here[:, :, : length - kept] = 0  # what is masked out still must not be NaN
        here[:, :, length - kept : length] = tensor[:, :, tensor.shape[2] - kept :][chosen.to(tensor.device)]
        first += len(chosen)
    return out


def _wider(old: Any, like: "torch.Tensor", length: int) -> "torch.Tensor":
    room = like.new_empty(*like.shape[:-2], length, like.shape[-1])
    if old.numel():
        room[..., : old.shape[-2], :] = old
    return room
