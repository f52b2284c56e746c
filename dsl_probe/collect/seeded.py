"""Sampling in which a completion depends on the model, the prompt and its own key alone, whatever shares its batch.

Gumbel-max: token = argmax(logits / T + G), with G standard Gumbel noise, draws from softmax(logits / T) exactly. The
noise of a row comes from a generator seeded with that row's key. Top-k and top-p are applied before the noise. The
loop below is transformers' own forward pass with every parameter in plain sight: a model's generation_config cannot
change it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from dsl_probe.models import Model, render, stop_ids
from dsl_probe.types import Problem, UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

NOISE = "gumbel-sfc64-1"
LOOP_EVERY = 32
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


def sample_batch(
    model: Model,
    prompts: Sequence[Sequence[int]],
    keys: Sequence[int],
    sampling: Sampling,
    progress: Callable[[int], object] | None = None,
) -> list[Completion]:
    """One completion for each prompt (token ids), all in one left-padded batch; rows that ended leave the batch.

    Same tokens alone, in any company and in any order, in float32: rounding differs with the shape of a batch by about
    1e-6, so two tokens must be that close for it to matter. In bfloat16 it is 1e-2, and completions do depend on their
    batch; a shard then still repeats bit for bit, as its batches are fixed. `progress` is called with the number of
    tokens of each step. Memory: logits and noise, two float32[b, vocabulary], and the cache of b sequences.
    """
    import torch

    hf, device = model.hf, model.hf.device
    mask = torch.zeros(len(prompts), max(map(len, prompts)), dtype=torch.long)
    ids = torch.zeros_like(mask)
    for i, prompt in enumerate(prompts):
        ids[i, mask.shape[1] - len(prompt) :] = torch.tensor(list(prompt))
        mask[i, mask.shape[1] - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    accepted = _accepted(hf)
    cache = roomy_cache(hf.config, mask.shape[1] + sampling.max_new_tokens)
    noise = _Noise(keys) if sampling.temperature > 0 else None
    rows = list(range(len(prompts)))  # which completion each row of the batch is
    tokens: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    entropies: list[list[float]] = [[] for _ in prompts]
    finish = ["length"] * len(prompts)
    live, drawn = [True] * len(prompts), 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    stops = set(sampling.stop_ids)
    with torch.inference_mode():
        for step in range(sampling.max_new_tokens):
            fed = {"position_ids": positions, "logits_to_keep": 1}
            fed = {name: value for name, value in fed.items() if name in accepted}
            if noise:
                noise.ahead(device.type != "cpu")
            out = hf(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **fed)
            logits = out.logits[:, -1].float()
            chosen = _choose(logits, sampling, noise)
            told = torch.stack(_told(logits, chosen)).tolist()
            for row, token, logprob, entropy in zip(rows, chosen.tolist(), *told, strict=True):
                if live[row]:
                    tokens[row].append(token)
                    logprobs[row].append(logprob)
                    entropies[row].append(entropy)
                    if token in stops or _says(model.tokenizer, tokens[row], sampling.stop_texts):
                        finish[row], live[row] = "stop", False
                    elif (step + 1) % LOOP_EVERY == 0 and is_loop(tokens[row], sampling.loop_tokens):
                        finish[row], live[row] = "loop", False
            if progress:
                progress(sum(map(len, tokens)) - drawn)
            drawn = sum(map(len, tokens))
            stay = [i for i, row in enumerate(rows) if live[row]]
            if not stay:
                break
            ids, positions = chosen[:, None].to(device), positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            if len(stay) <= 0.75 * len(rows):
                kept = torch.tensor(stay, device=device)
                ids, positions, mask = ids[kept], positions[kept], mask[kept]
                cache.batch_select_indices(kept)
                rows = [rows[i] for i in stay]
                if noise:
                    noise.keep(stay)
    return [Completion(*parts) for parts in zip(tokens, logprobs, entropies, finish, strict=True)]


def by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of `size`, shortest first, ties in order: little padding, and always the same batches.

    >>> list(by_length([5, 1, 4, 1], 2))
    [[1, 3], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    for start in range(0, len(order), size):
        yield order[start : start + size]


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


def roomy_cache(config: Any, length: int) -> Any:
    """A DynamicCache whose plain layers write into room made ahead: concatenation would copy them at every token."""
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


def sampling_record(model: Model, sampling: Sampling, seed: int, size: int) -> dict[str, Any]:
    """What a trace records of how it was drawn: every parameter, and what the numbers beside its tokens are."""
    return asdict(sampling) | {
        "seed": seed,
        "noise": NOISE if sampling.temperature else None,
        "batch_size": size,
        "dtype": model.dtype,
        "device": model.device.partition(":")[0],
        "logprobs": "raw model at temperature 1",
        "transformers": version("transformers"),
    }


def shown(model: Model, ids: list[int], sampling: Sampling) -> str:
    """The text of token ids without the token that ended them; other special tokens are part of it."""
    kept = ids[:-1] if ids and ids[-1] in sampling.stop_ids else ids
    return model.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)


class LocalBackend:
    """Samples (problem, sample) pairs from a transformers model in batches of like length."""

    def __init__(
        self, model: Model, sampling: Sampling, template: str = "raw", prefix: str = "", seed: int = 0, size: int = 32
    ):
        self.options = replace(sampling, stop_ids=sampling.stop_ids or stop_ids(model))
        self.model, self.template, self.prefix, self.seed, self.size = model, template, prefix, seed, size
        self.tokenizer_hash = model.tokenizer_hash
        self.sampling = sampling_record(model, self.options, seed, size)

    def __call__(self, pairs: Sequence[tuple[Problem, int]], progress: Progress) -> list[Outcome]:
        prefix = self.model.tokenizer(self.prefix, add_special_tokens=False)["input_ids"]
        rendered: dict[str, list[int]] = {}
        for problem, _ in pairs:
            if problem.id not in rendered:
                rendered[problem.id] = [*render(self.model, self.template, problem.prompt), *prefix]
        prompts = [rendered[problem.id] for problem, _ in pairs]
        self._fits(prompts)
        outcomes: dict[int, Outcome] = {}
        for rows in by_length([len(p) for p in prompts], self.size):
            keys = [key_of(self.seed, pairs[i][0].id, pairs[i][1]) for i in rows]
            done = sample_batch(self.model, [prompts[i] for i in rows], keys, self.options, progress.tokens)
            for i, completion in zip(rows, done, strict=True):
                text = shown(self.model, completion.token_ids, self.options)
                meta = {"prefix_tokens": len(prefix)} if prefix else {}
                parts = asdict(completion)
                outcomes[i] = Outcome(text=self.prefix + text, prompt_ids=prompts[i], meta=meta, **parts)
            progress.traces(len(rows))
        return [outcomes[i] for i in range(len(pairs))]

    def _fits(self, prompts: Sequence[Sequence[int]]) -> None:
        room = getattr(self.model.hf.config.get_text_config(decoder=True), "max_position_embeddings", None)
        longest = max(map(len, prompts))
        if room and longest + self.options.max_new_tokens > room:
            raise UserError(
                f"a prompt of {longest} tokens and --max-new-tokens {self.options.max_new_tokens} do not fit into the "
                f"{room} positions of {self.model.name}; --max-new-tokens may be {max(0, room - longest)} at most."
            )


class _Noise:
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
        import numpy as np
        import torch

        self.size = size
        drawn = np.empty((len(self.streams), size), np.float32)
        for i, stream in enumerate(self.streams):
            drawn[i] = self.ready[i].result() if self.ready else self._draw(stream)
        self.ready = None
        return torch.from_numpy(drawn).to(device).log_()

    def keep(self, rows: Sequence[int]) -> None:
        self.streams = [self.streams[i] for i in rows]

    def _draw(self, stream: "np.random.Generator") -> "np.ndarray":
        return stream.standard_exponential(self.size)


def _choose(logits: "torch.Tensor", sampling: Sampling, noise: _Noise | None) -> "torch.Tensor":
    """Token ids int[b] out of logits float32[b, v]."""
    if noise is None:
        return logits.argmax(-1)
    scores = keep_likely(logits / sampling.temperature, sampling.top_k, sampling.top_p)
    return scores.sub_(noise.take(logits.shape[-1], logits.device)).argmax(-1)


def _told(logits: "torch.Tensor", chosen: "torch.Tensor") -> "list[torch.Tensor]":
    """Log-probability of the chosen tokens and entropy, float32[b] each, in nats."""
    logprobs = logits.log_softmax(-1)
    picked = logprobs.gather(-1, chosen[:, None])[:, 0]
    # A token that the model rules out has log-probability -inf, and 0 * -inf is no number.
    return [picked, -logprobs.exp().mul_(logprobs.clamp(min=-200)).sum(-1)]


def _says(tokenizer: Any, tokens: list[int], texts: Sequence[str]) -> bool:
    """Whether one of `texts` stands in what was just written."""
    if not texts:
        return False
    tail = tokenizer.decode(tokens[-max(map(len, texts)) - 4 :], clean_up_tokenization_spaces=False)
    return any(text in tail for text in texts)


def _wider(old: Any, like: "torch.Tensor", length: int) -> "torch.Tensor":
    room = like.new_empty(*like.shape[:-2], length, like.shape[-1])
    if old.numel():
        room[..., : old.shape[-2], :] = old
    return room


def _accepted(hf: Any) -> set[str]:
    import inspect

    base = hf.get_base_model() if hasattr(hf, "get_base_model") else hf
    return set(inspect.signature(base.forward).parameters)
