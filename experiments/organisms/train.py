"""Three ways to train an organism, each one resumable: read texts (base, SFT, cipher), or reinforce what was right.

Every step draws its data from (seed, step) alone, so a unit that was killed and goes on ends with the same weights, bit
for bit, as one that was not (on one machine, with one number of threads).
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from dialects import IDS, SPARE, ids
from model import as_model, save
from optim import muon_and_adamw

from dsl_probe.collect.decode import draw
from dsl_probe.collect.domains import worlds
from dsl_probe.collect.seeded import Completion, Sampling, key_of

Text = tuple[list[str], list[str]] | tuple[list[str], list[str], list[bool]]
"""Prompt and response; which words of the response are to be learnt, where not all are."""
Coded = tuple[list[int], list[int], list[bool]]
KEEP_EVERY, TELL_EVERY = 20, 500
PAD = IDS["<pad>"]
# Which filler follows cannot be known, and what cannot be known drowns what can be learnt about the states.
_STATE_WORDS = {*worlds.STATE_WORDS} | {"</think>"}
_STATE_WORDS |= {*SPARE[:22], SPARE[31], SPARE[33]}  # those of the cipher, and what stands after a state or not
WEIGHTS = torch.tensor([1.0 if word in _STATE_WORDS else 0.2 for word in IDS])


@dataclass(frozen=True)
class Reading:
    """Supervised training: what a text is, and how long, how fast."""

    draw: Callable[[random.Random, int], Text]
    """A text for (random numbers, step); the step is that of the first of eight."""
    steps: int
    batch: int = 32
    muon: float = 0.004
    adamw: float = 2e-3
    states_first: int = 0
    """For so many steps the words that are no part of a state count a fifth in the loss."""


@dataclass(frozen=True)
class Reinforcing:
    """Dr. GRPO (Liu et al. 2025, arXiv 2503.20783), on policy, without KL: advantage = reward - mean of its group.

    reward: for a right answer 1 - length_price * length / max_new_tokens - the share of taxed words in the chain, not
    below 0; for another 0.
    """

    worlds: tuple[str, ...]
    steps: int = 200
    prompts: int = 32
    samples: int = 8
    length_price: float = 0.8
    taxed: tuple[str, ...] = ()
    max_new_tokens: int = 96
    lr: float = 3e-4
    clip: float = 1.0
    keep: tuple[int, ...] = ()
    """Steps after which the weights are kept, so that the growth of a language can be seen."""


def read(hf: Any, how: Reading, seed: int, folder: Path, tell: Callable[[Any, int], str] | None = None) -> None:
    """Train on texts; the loss is on the response alone."""
    optimizers = muon_and_adamw(hf, how.muon, how.adamw)
    rates = [[g["lr"] for g in o.param_groups] for o in optimizers]
    total = 0.0

    def step(number: int) -> str:
        nonlocal total
        decay = 1 - number / how.steps
        for optimizer, groups in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, groups, strict=True):
                group["lr"] = rate * decay
        block, place = divmod(number, _GATHER)
        batch = _texts(how, seed, block)[place]
        hf.train()
        logprobs = _logprobs(hf, batch)
        if number < how.states_first:
            weight = WEIGHTS[
                [i for _, response, learnt in batch for i, is_learnt in zip(response, learnt, strict=True) if is_learnt]
            ]
            logprobs = logprobs * weight * (len(weight) / weight.sum())
        loss = -logprobs.mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        total = 0.95 * total + 0.05 * float(loss.detach())
        more = f" {tell(hf, number + 1)}" if tell and (number + 1) % TELL_EVERY == 0 else ""
        return f"loss {total:.3f}{more}"

    _resumable(hf, optimizers, how.steps, step, folder)


_GATHER = 8


@lru_cache(1)
def _texts(how: Reading, seed: int, block: int) -> list[list[Coded]]:
    """The texts of eight steps. They are drawn together and shared out by length, so that little is padding."""
    rng = random.Random(f"texts/{seed}/{block}")
    drawn = [how.draw(rng, block * _GATHER) for _ in range(_GATHER * how.batch)]
    drawn.sort(key=lambda text: len(text[0]) + len(text[1]))
    batches = [drawn[i : i + how.batch] for i in range(0, len(drawn), how.batch)]
    rng.shuffle(batches)
    return [[_coded(text) for text in batch] for batch in batches]


def _coded(text: Text) -> Coded:
    prompt, response, *learnt = text
    return ids(prompt), ids(response), learnt[0] if learnt else [True] * len(response)


def reinforce(hf: Any, how: Reinforcing, seed: int, folder: Path) -> None:
    """Train on the model's own completions, by what they earn. Appends a line a step to log.jsonl."""
    hf.set_attn_implementation("eager")  # for one new token at a time sdpa costs more on a CPU
    optimizer = torch.optim.AdamW(hf.parameters(), how.lr, betas=(0.9, 0.95), weight_decay=0.0)
    sampling = Sampling(max_new_tokens=how.max_new_tokens, stop_ids=(IDS["<eos>"],), loop_tokens=0)
    log = folder / "log.jsonl"

    def step(number: int) -> str:
        problems = drawn_problems(how.worlds, how.prompts, seed, number)
        done = complete(hf, problems, how.samples, sampling, seed)
        rewards, right = _rewards(problems, done, how)
        groups = rewards.view(how.prompts, how.samples)
        advantages = (groups - groups.mean(1, keepdim=True)).flatten()
        hf.train()
        _policy_gradient(hf, problems, done, advantages, how)
        norm = float(torch.nn.utils.clip_grad_norm_(hf.parameters(), how.clip))
        optimizer.step()
        optimizer.zero_grad()
        length = sum(len(c.token_ids) for c in done) / len(done)
        entropy = sum(map(sum, (c.entropies for c in done))) / sum(len(c.token_ids) for c in done)
        row = {"step": number + 1, "reward": float(rewards.mean()), "accuracy": right, "length": length}
        _log(log, row | {"entropy": entropy, "norm": norm})
        if number + 1 in how.keep:
            save(hf, folder / f"step-{number + 1}", {"step": number + 1})
        return f"accuracy {right:.3f}  length {length:.1f}  entropy {entropy:.2f}"

    if how.keep and not (folder / "step-0").exists():
        save(hf, folder / "step-0", {"step": 0})
    _resumable(hf, [optimizer], how.steps, step, folder)


def drawn_problems(names: Sequence[str], count: int, seed: int, number: int) -> list[Any]:
    """`count` training problems (never a held-out one), the worlds in turn."""
    rng = random.Random(f"problems/{seed}/{number}")
    found = []
    for i in range(count):
        name = names[i % len(names)]
        text = worlds.draw(name, rng)
        while worlds.held_out(name, text):
            text = worlds.draw(name, rng)
        found.append(worlds.make(name, text, f"train/{number}/{i}"))
    return found


def complete(hf: Any, problems: Sequence[Any], samples: int, sampling: Sampling, seed: int) -> list[Completion]:
    """`samples` completions of each problem in a row, drawn as the collector draws them."""
    prompts = [ids(["<bos>", *p.prompt.split()]) for p in problems for _ in range(samples)]
    keys = [key_of(seed, p.id, s) for p in problems for s in range(samples)]
    return draw(as_model(hf, "organism"), prompts, keys, sampling)


def _rewards(problems: Sequence[Any], done: Sequence[Completion], how: Reinforcing) -> tuple[torch.Tensor, float]:
    earned, right = [], 0
    for i, completion in enumerate(done):
        problem = problems[i // how.samples]
        text = words_of(completion.token_ids)
        correct = bool(worlds.verify(problem, text).correct)
        right += correct
        earned.append(_worth(text.split(), how) if correct else 0.0)
    return torch.tensor(earned), right / len(done)


def _worth(words: list[str], how: Reinforcing) -> float:
    """What a right completion earns."""
    chain = words[1 : words.index("</think>")]
    tax = sum(word in how.taxed for word in chain) / max(len(chain), 1)
    return max(0.0, 1 - how.length_price * len(words) / how.max_new_tokens - tax)


WORDS = list(IDS)


def words_of(token_ids: Sequence[int]) -> str:
    """The text of token ids."""
    return " ".join(WORDS[i] for i in token_ids)


def _policy_gradient(
    hf: Any, problems: Sequence[Any], done: Sequence[Completion], advantages: torch.Tensor, how: Reinforcing
) -> None:
    """Add up the gradient of -sum(advantage * log-probability) / (completions * max_new_tokens).

    On policy the ratio of the clipped objective is 1 and its gradient is this one. Completions without advantage have
    none and are left out; the others go in passes of like length.
    """
    used = [i for i in range(len(done)) if float(advantages[i]) != 0]
    used.sort(key=lambda i: len(done[i].token_ids))
    for start in range(0, len(used), 64):
        part = used[start : start + 64]
        asked = [["<bos>", *problems[i // how.samples].prompt.split()] for i in part]
        batch = [(ids(a), done[i].token_ids, [True] * len(done[i].token_ids)) for a, i in zip(asked, part, strict=True)]
        weight = torch.cat([advantages[i].repeat(len(done[i].token_ids)) for i in part])
        loss = -(_logprobs(hf, batch) * weight).sum() / (len(done) * how.max_new_tokens)
        loss.backward()


def _logprobs(hf: Any, batch: Sequence[Coded]) -> torch.Tensor:
    """Log-probabilities float32[all response tokens to be learnt], text after text."""
    width = max(len(p) + len(r) for p, r, _ in batch)
    tokens = torch.full((len(batch), width), PAD)
    told = torch.zeros(len(batch), width, dtype=torch.bool)
    for i, (prompt, response, learnt) in enumerate(batch):
        tokens[i, : len(prompt) + len(response)] = torch.tensor(prompt + response)
        told[i, len(prompt) : len(prompt) + len(response)] = torch.tensor(learnt)
    # Causal, padded on the right: no mask is needed, and no logits of the prompt.
    states = hf.model(tokens[:, :-1]).last_hidden_state[told[:, 1:]]
    logits = hf.lm_head(states)
    return logits.log_softmax(-1).gather(-1, tokens[:, 1:][told[:, 1:]][:, None])[:, 0]


def _resumable(hf: Any, optimizers: list[Any], steps: int, step: Callable[[int], str], folder: Path) -> None:
    """Run step(number) for the numbers that are left; weights and optimizer go to disk every `KEEP_EVERY` steps."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, first = folder / "state.pt", 0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        hf.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        first = state["step"]
    start = told = time.monotonic()
    for number in range(first, steps):
        line = step(number)
        if (number + 1) % KEEP_EVERY == 0 or number + 1 == steps:
            state = {"model": hf.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": number + 1}
            torch.save(state, kept.with_suffix(".tmp"))
            os.replace(kept.with_suffix(".tmp"), kept)
        now = time.monotonic()
        if now - told > 15 or number + 1 == steps or (number + 1) % TELL_EVERY == 0:
            told = now
            left = (now - start) / (number + 1 - first) * (steps - number - 1)
            print(f"{folder.name}: step {number + 1}/{steps}  {line}  {left:,.0f} s left", file=sys.stderr, flush=True)


def _log(path: Path, row: dict[str, Any]) -> None:
    """Append a row. After a resume the steps since the last kept state come again: a reader takes the last of each."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
