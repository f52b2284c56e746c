"""A model in this process: problems rendered, completions drawn by seed, and what is recorded of how."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

from dsl_probe.collect.decode import draw
from dsl_probe.collect.seeded import NOISE, Outcome, Progress, Sampling, key_of
from dsl_probe.collect.tokens import context_length
from dsl_probe.models import Model, render, stop_ids
from dsl_probe.types import Problem, UserError


class LocalBackend:
    """Samples (problem, sample) pairs from a transformers model, `size` of the longest prompts at a time."""

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
        check_fit(self.model, prompts, self.options.max_new_tokens)
        keys = [key_of(self.seed, problem.id, sample) for problem, sample in pairs]
        done = draw(self.model, prompts, keys, self.options, size=self.size, progress=progress)
        meta = {"prefix_tokens": len(prefix)} if prefix else {}
        return [
            Outcome(
                text=self.prefix + shown(self.model, completion.token_ids, self.options),
                prompt_ids=prompt,
                meta=meta,
                **asdict(completion),
            )
            for prompt, completion in zip(prompts, done, strict=True)
        ]


def check_fit(model: Model, prompts: Iterable[Sequence[int]], new: int) -> None:
    """Raises UserError where a prompt and `new` tokens are longer than the model's context."""
    room, longest = context_length(model), max(map(len, prompts))
    if room and longest + new > room:
        raise UserError(
            f"a prompt of {longest} tokens and --max-new-tokens {new} do not fit into the {room} positions of "
            f"{model.name}; --max-new-tokens may be {max(0, room - longest)} at most."
        )


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
