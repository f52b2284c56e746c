"""Change what a layer puts out while the model reads or samples: add a direction, erase a label, put in other states.

Each change is a context manager around whatever runs the model (`draw`, `capture`, the transformers model itself), and
its hooks are gone when the block ends. The layer is that of capture: decoder block k, counted from 0, and its output is
resid_post. A change is made at chosen positions of chosen sequences; a position is an index into prompt and completion
together without padding, the same whether a token is read in a batch or fed alone to a cache.
"""

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dsl_probe.collect.backends import check_layers, decoder, hooked, site_modules
from dsl_probe.collect.reading import rows_read
from dsl_probe.types import UserError

if TYPE_CHECKING:
    import torch

    from dsl_probe.models import Model

# bool[rows, new] of the positions of a pass at which something is changed.
Where: TypeAlias = "Callable[[Pass], torch.Tensor]"
# States [rows, new, d] of a pass, changed.
Change: TypeAlias = "Callable[[torch.Tensor, Pass], torch.Tensor]"


@dataclass(frozen=True)
class Pass:
    """What the model is fed in one pass: token ids int[rows, new], and positions int[rows, new], -1 at padding.

    cached: whether tokens were read before these. rows: the sequences that each row stands for, as `draw` and `capture`
    number them (by the order in which they were given); else each row's own number.
    """

    ids: "torch.Tensor"
    positions: "torch.Tensor"
    cached: bool
    rows: Sequence[Sequence[int]]

    def of(self, given: Sequence[Any], what: str) -> list[Any]:
        """Of what was given for each sequence, that of each row."""
        for sequences in self.rows:
            if max(sequences) >= len(given):
                raise UserError(f"{what} were given for {len(given)} sequences; the model reads {max(sequences) + 1}.")
            if any(not _same(given[i], given[sequences[0]]) for i in sequences):
                raise UserError(
                    f"sequences {', '.join(map(str, sequences))} begin alike and are read once, but their {what} "
                    f"differ. Draw them with join=False, which reads each by itself."
                )
        return [given[sequences[0]] for sequences in self.rows]


def everywhere(now: Pass) -> "torch.Tensor":
    """All positions."""
    return now.positions >= 0


def sampled(now: Pass) -> "torch.Tensor":
    """The tokens that were sampled: those fed to a cache, one at a time.

    Not the last token of the prompt, out of which the first is sampled. In a pass over a finished trace nothing is
    sampled: there take `at`.
    """
    return (now.positions >= 0) & now.cached


def at(positions: Sequence[Sequence[int]]) -> Where:
    """Chosen positions of each sequence. Right before a motif is the position of the token before its first.

    >>> with steer(model, 3, direction, 1.0, where=at([[5, 6], []])): ...     # doctest: +SKIP
    """
    import torch

    if any(place < 0 for places in positions for place in places):
        raise UserError("positions are counted from 0, the first token of the prompt.")

    def where(now: Pass) -> "torch.Tensor":
        chosen = torch.zeros_like(now.positions, dtype=torch.bool)
        for row, places in enumerate(now.of(positions, "positions")):
            chosen[row] = torch.isin(now.positions[row], torch.as_tensor(list(places)).to(chosen.device))
        return chosen

    return where


def after(tokens: Sequence[int]) -> Where:
    """Wherever the token is one of these: the state that it leaves, out of which the next is sampled.

    What will be sampled next cannot be known; this serves where a motif follows a few words alone.
    """
    import torch

    return lambda now: (now.positions >= 0) & torch.isin(now.ids, torch.as_tensor(tokens).to(now.ids.device))


def before(motif: Sequence[int]) -> Where:
    """Right before a motif (token ids), in a pass that reads it: never where tokens are sampled one at a time."""
    import torch

    def where(now: Pass) -> "torch.Tensor":
        chosen = torch.zeros_like(now.positions, dtype=torch.bool)
        n = now.ids.shape[1] - len(motif)
        if n > 0 and len(motif):
            windows = now.ids[:, 1:].unfold(1, len(motif), 1)
            found = (windows == torch.as_tensor(list(motif)).to(windows.device)).all(-1)
            real = now.positions[:, 1:].unfold(1, len(motif), 1).min(-1).values >= 0
            chosen[:, :n] = found & real
        return chosen & (now.positions >= 0)

    return where


@contextmanager
def changed(model: "Model", layer: int, change: Change, where: Where = everywhere) -> Generator[None]:
    """What block `layer` puts out is changed at chosen positions, and nothing else is, until the block ends.

    change: states [rows, new, d] and the pass -> states. Changes of one layer may be nested: the outer comes first.
    States that `capture` takes within are the changed ones.

    What it does not show: how far the changed states are from any that the model makes by itself. Such states may do
    anything.
    """
    import torch

    blocks = site_modules(model, check_layers([layer], model.n_layers), "resid_post")
    reader = decoder(model.hf)
    names = [name for name in inspect.signature(reader.forward).parameters if name != "self"]
    seen: list[Pass] = []

    def note(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen[:] = [_pass_of(dict(zip(names, args, strict=False)) | kwargs)]

    def put(_i: int, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        chosen = where(seen[0]).to(hidden.device)
        if not chosen.any():
            return output
        new = torch.where(chosen[..., None], change(hidden, seen[0]), hidden)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = reader.register_forward_pre_hook(note, with_kwargs=True)
    try:
        with hooked(blocks, put):
            yield
    finally:
        handle.remove()


@contextmanager
def steer(
    model: "Model",
    layer: int,
    direction: "torch.Tensor",
    scale: float,
    *,
    norm: float | None = None,
    where: Where = everywhere,
) -> Generator[None]:
    """Add scale * norm * direction / |direction| to what a layer puts out (Turner et al. 2023, arXiv 2308.10248).

    direction: float[d], or float[sequences, d], one for each sequence. norm: typical norm of the states, for example
    `typical_norm`; default: each state's own, measured as it comes.

    What it does not show: that the model uses the direction by itself; put `random_direction` beside it.

    >>> with steer(model, 12, probe.coef, 0.5, where=sampled):                             # doctest: +SKIP
    ...     draw(model, prompts, keys, Sampling())
    """
    import torch

    direction = torch.as_tensor(direction)
    length = direction.double().norm(dim=-1, keepdim=True)
    if direction.shape[-1] != model.d_model or not bool((length > 0).all() & length.isfinite().all()):
        raise UserError(f"a direction is {model.d_model} numbers, finite and not all 0; got {list(direction.shape)}.")
    unit = direction.double() / length * scale

    def add(hidden: "torch.Tensor", now: Pass) -> "torch.Tensor":
        step = unit if unit.ndim == 1 else torch.stack(now.of(unit, "directions"))[:, None]
        wide = hidden if hidden.dtype == torch.float64 else hidden.float()
        size = wide.norm(dim=-1, keepdim=True) if norm is None else norm
        return (wide + size * step.to(wide)).to(hidden.dtype)

    with changed(model, layer, add, where):
        yield


@contextmanager
def erase(
    model: "Model", layer: int, eraser: "Callable[[torch.Tensor], torch.Tensor]", *, where: Where = everywhere
) -> Generator[None]:
    """Put what a layer puts out through an eraser (erase.py), or any map of states [..., d].

    What it does not show: that the label is gone from the model. Earlier layers hold it still, later blocks may compute
    it again out of other positions, and what is erased linearly may be read otherwise. An eraser was fitted at some
    positions; elsewhere the states have another mean, and it moves them as far as that is off.

    >>> with erase(model, 12, leace(states, labels)): draw(model, prompts, keys, Sampling())     # doctest: +SKIP
    """
    with changed(model, layer, lambda hidden, now: eraser(hidden), where):
        yield


@contextmanager
def patch(model: "Model", layer: int, positions: Sequence[Sequence[int]], states: "torch.Tensor") -> Generator[None]:
    """Put other states in place of those at the given positions of each sequence.

    positions: for each sequence, places (0-based, any order, none twice). states: float[rows, d]; rows follow the
    sequences and, within one, its positions, as `capture` gives them.

    What it does not show: which part of the state matters; a whole state holds all that the other trace had there.

    >>> other = capture(model, donors, [12], places)["resid_post.12"]                       # doctest: +SKIP
    >>> with patch(model, 12, places, other): draw(model, prompts, keys, Sampling())         # doctest: +SKIP
    """
    import torch

    n = sum(map(len, positions))
    if tuple(states.shape) != (n, model.d_model) or any(len(set(p)) < len(p) for p in positions):
        raise UserError(
            f"{n} positions need states [{n}, {model.d_model}], and got {list(states.shape)}; no position twice."
        )
    given = [
        (torch.as_tensor(list(places), dtype=torch.long), part)
        for places, part in zip(positions, states.split([len(places) for places in positions]), strict=True)
    ]

    def put(hidden: "torch.Tensor", now: Pass) -> "torch.Tensor":
        new = hidden.clone()
        for row, (places, part) in enumerate(now.of(given, "states")):
            here, which = torch.nonzero(now.positions[row][:, None] == places.to(now.positions), as_tuple=True)
            new[row, here.to(new.device)] = part.to(new)[which.to(new.device)]
        return new

    with changed(model, layer, put, at(positions)):
        yield


def typical_norm(states: "torch.Tensor") -> float:
    """Median of the norms of states [n, d]: a few states, such as the first token's, may be a thousand times longer."""
    return float(states.double().norm(dim=-1).median())


def random_direction(direction: "torch.Tensor", seed: int, covariance: "torch.Tensor | None" = None) -> "torch.Tensor":
    """A random direction [d] at right angles to `direction`, of its norm: the placebo of `steer`.

    covariance: of the states, float[d, d]; the draw is normal with it, so that the model meets such a direction as
    often. Without it all directions are alike likely, and most of them are ones along which the states hardly vary.

    >>> random_direction(torch.tensor([3.0, 0.0]), 0).abs()     # doctest: +SKIP
    tensor([0., 3.])
    """
    import torch

    kind: dict[str, Any] = {"dtype": torch.float64, "device": direction.device}
    drawn = torch.randn(len(direction), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(**kind)
    if covariance is not None:
        values, vectors = torch.linalg.eigh(covariance.to(**kind))
        values[values <= len(values) * torch.finfo(torch.float64).eps * values[-1]] = (
            0  # their roots would be no trifle
        )
        drawn = vectors @ (values.sqrt() * drawn)
    wide = direction.double()
    length = wide.norm()
    unit = wide / length
    size = drawn.norm()
    for _ in range(2):  # once leaves a rounding error of the part that was taken off
        drawn = drawn - unit * (unit @ drawn)
    if not (length > 0 and drawn.norm() > 1e-9 * size):
        raise UserError("there is no direction at right angles: the states vary along this one alone, or it is 0.")
    return (drawn / drawn.norm() * length).to(direction.dtype)


def _pass_of(fed: dict[str, Any]) -> Pass:
    import torch

    ids, mask, cache = (fed.get(name) for name in ("input_ids", "attention_mask", "past_key_values"))
    if ids is None:
        raise UserError("the model was fed embeddings; interventions need token ids (input_ids).")
    past = int(cache.get_seq_length()) if cache is not None else 0
    if mask is None:
        positions = torch.arange(past, past + ids.shape[1], device=ids.device).expand(ids.shape)
    elif mask.ndim == 2:
        positions = (mask.long().cumsum(-1) - 1).masked_fill(mask == 0, -1)[:, -ids.shape[1] :]
    else:
        raise UserError(f"an attention mask of {mask.ndim} dimensions does not tell padding; give one of 2, or none.")
    return Pass(ids, positions, past > 0, rows_read(len(ids)))


def _same(a: Any, b: Any) -> bool:
    import torch

    if isinstance(a, tuple):
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if torch.is_tensor(a) else list(a) == list(b)
