"""Draws that depend on the model, the prompt and a completion's own key alone, whatever shares its batch.

Gumbel-max: token = argmax(logits / T + G), with G standard Gumbel noise, draws from softmax(logits / T) exactly. The
noise of a row comes from a generator seeded with that row's key. Top-k and top-p are applied before the noise. The
loop around it (decode.py) is transformers' own forward pass with every parameter in plain sight: a model's
generation_config cannot change it.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dsl_probe.types import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

NOISE = "gumbel-sfc64-1"
_FIRST_LOOK = 1024


@dataclass(frozen=True)
class Sampling:
    """Every parameter of sampling. Temperature 0 takes the likeliest token; top_k 0 and top_p 1 cut nothing.

    stop_ids end a completion and are its last token; stop_texts end it with the token that completes one of them.
    loop_tokens: a completion whose last `loop_tokens` tokens repeat a block of at most a quarter of that is ended as a
    loop (looked at every 32 tokens); 0 never ends one.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 1024
    stop_ids: tuple[int, ...] = ()
    stop_texts: tuple[str, ...] = ()
    loop_tokens: int = 256

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise UserError(f"--temperature must be 0 or more, not {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top-p must be above 0 and at most 1, not {self.top_p}.")
        if self.top_k < 0 or self.max_new_tokens < 1 or self.loop_tokens < 0:
            raise UserError("--top-k and --loop-tokens must be 0 or more, --max-new-tokens 1 or more.")


@dataclass(frozen=True)
class Completion:
    """What was sampled: token_ids[n], the stop token included; logprobs[n] and entropies[n] in nats; finish.

    logprobs and entropies are those of the raw model (temperature 1, nothing cut off), whatever was sampled with, so
    that they are comparable between runs; those of the sampled distribution follow from the recorded parameters.
    finish: stop | length | loop.
    """

    token_ids: list[int]
    logprobs: list[float]
    entropies: list[float]
    finish: str


@dataclass(frozen=True)
class Outcome:
    """A completion from anywhere, before it is verified. `text` starts with the forced prefix."""

    text: str
    finish: str | None
    prompt_ids: list[int] | None = None
    token_ids: list[int] | None = None
    logprobs: list[float] | None = None
    entropies: list[float] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class Progress(Protocol):
    """Told how far the sampling is."""

    def tokens(self, count: int) -> None: ...
    def traces(self, count: int) -> None: ...


def key_of(seed: int, problem_id: str, sample: int) -> int:
    """The 64-bit key of a completion. It leaves the model out: two models meet the same noise on the same sample.

    >>> key_of(0, "gsm8k-1", 0) != key_of(0, "gsm8k-1", 1)
    True
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}/{sample}/{problem_id}".encode(), digest_size=8).digest(), "little")


def keep_likely(scores: "torch.Tensor", top_k: int, top_p: float) -> "torch.Tensor":
    """scores float[b, v] with -inf where top-k, then top-p (Holtzman et al. 2020), cut a token off.

    A token stays while the mass of those above it is below top_p; tokens tied with the last that stays all stay.
    """
    import torch

    size = scores.shape[-1]
    if 0 < top_k < size:
        scores = scores.masked_fill(scores < scores.topk(top_k).values[:, -1:], -torch.inf)
    if top_p < 1:
        total = scores.logsumexp(-1, keepdim=True)
        for look in (min(_FIRST_LOOK, size), size):
            ranked = scores.topk(look).values
            mass = (ranked - total).exp()
            mass = mass if mass.device.type == "mps" else mass.double()  # in float32 the sum blurs near top_p = 1
            stays = mass.cumsum(-1) - mass < top_p
            if look == size or not bool(stays[:, -1].any()):
                break
        last = stays.long().sum(-1, keepdim=True).clamp(min=1) - 1
        scores = scores.masked_fill(scores < ranked.gather(-1, last), -torch.inf)
    return scores


def is_loop(tokens: Sequence[int], window: int) -> bool:
    """Whether the last `window` tokens are one block of at most window / 4 tokens, over and over.

    >>> is_loop([9, 1, 2, 1, 2, 1, 2, 1, 2], 8), is_loop([1, 2, 3, 4, 5, 6, 7, 8], 8)
    (True, False)
    """
    import numpy as np

    if not 4 <= window <= len(tokens):
        return False
    last = np.array(tokens[-window:])
    return any(bool((last[period:] == last[:-period]).all()) for period in range(1, window // 4 + 1))


class Noise:
    """log E[b, v] of the next step, E standard exponential: -log E is standard Gumbel. A stream for each row.

    Drawn in float64: numpy's float32 exponential comes in steps of 1e-7 and is exactly 0 once in 10^7 draws, which
    would make an impossible token win every few hundred steps. On an accelerator it is drawn while the device works.
    """

    def __init__(self, keys: Sequence[int]):
        import numpy as np

        self.streams = [np.random.Generator(np.random.SFC64(key)) for key in keys]
        self.size: int | None = None
        self.ready: list[Future[np.ndarray]] | None = None
        self.pool: ThreadPoolExecutor | None = None

    def ahead(self, threads: bool) -> None:
        """Begin to draw the next step in the background, if asked to and the size of the vocabulary is known."""
        if threads and self.size is not None and self.ready is None:
            self.pool = self.pool or ThreadPoolExecutor(min(8, os.cpu_count() or 1))
            self.ready = [self.pool.submit(self._draw, stream) for stream in self.streams]

    def take(self, size: int, device: Any) -> "torch.Tensor":
        """The noise of one step, float32[b, size]."""
        import numpy as np
        import torch

        self.size = size
        drawn = np.empty((len(self.streams), size), np.float32)
        for i, stream in enumerate(self.streams):
            drawn[i] = self.ready[i].result() if self.ready else self._draw(stream)
        self.ready = None
        return torch.from_numpy(drawn).to(device).log_()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self.streams = [self.streams[i] for i in rows]

    def join(self, other: "Noise") -> None:
        """Take another's rows in behind one's own."""
        self.streams += other.streams

    def _draw(self, stream: "np.random.Generator") -> "np.ndarray":
        return stream.standard_exponential(self.size)


def choose(logits: "torch.Tensor", sampling: Sampling, noise: Noise | None) -> "torch.Tensor":
    """Token ids int[b] out of logits float32[b, v]."""
    if noise is None:
        return logits.argmax(-1)
    scores = keep_likely(logits / sampling.temperature, sampling.top_k, sampling.top_p)
    return scores.sub_(noise.take(logits.shape[-1], logits.device)).argmax(-1)


def told(logits: "torch.Tensor", chosen: "torch.Tensor") -> "list[torch.Tensor]":
    """Log-probability of the chosen tokens and entropy, float32[b] each, in nats."""
    logprobs = logits.log_softmax(-1)
    picked = logprobs.gather(-1, chosen[:, None])[:, 0]
    # A token that the model rules out has log-probability -inf, and 0 * -inf is no number.
    return [picked, -logprobs.exp().mul_(logprobs.clamp(min=-200)).sum(-1)]
