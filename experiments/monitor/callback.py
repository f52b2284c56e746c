"""A TRL callback that watches a GRPO run: words that the start model lacks, one opening, scripts, repetition."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

import dsl_probe


class Monitoring(TrainerCallback):
    """Every `every` steps: `dsl_probe.monitor` of the last `window` completions, a line of JSON in `log`.

    Wrap one reward function with `watch`, and add this to the trainer's callbacks. base: texts of the model before
    training, on the same kind of prompts. The figures also go to the trainer's own log, as monitor/NAME.
    """

    def __init__(self, base: Sequence[str], log: Path, every: int = 5, window: int = 512):
        self.base, self.log, self.every = list(base), log, every
        self.seen: deque[tuple[str, str]] = deque(maxlen=window)
        self.latest: Any = None

    def watch(self, reward: Callable[..., list[float]]) -> Callable[..., list[float]]:
        """The reward function, which now shows its completions to the monitor."""

        @wraps(reward)
        def watched(prompts: Sequence[Any], completions: Sequence[Any], **rest: Any) -> list[float]:
            self.seen.extend((_text(p), _text(c)) for p, c in zip(prompts, completions, strict=True))
            if self.latest and "log_metric" in rest:
                for name in ("novelty", "top_opener", "script_mix", "switches", "repetition"):
                    rest["log_metric"](f"monitor/{name}", getattr(self.latest, name).value)
                rest["log_metric"]("monitor/new_words", len(self.latest.words))
            return reward(prompts=prompts, completions=completions, **rest)

        return watched

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every or not self.seen or not state.is_world_process_zero:
            return
        prompts, texts = zip(*self.seen, strict=True)
        self.latest = dsl_probe.monitor(texts, self.base, state.global_step, self.latest, problems=prompts)
        with open(self.log, "a") as file:
            file.write(json.dumps(self.latest.as_dict(), ensure_ascii=False) + "\n")


def _text(message: Any) -> str:
    """A prompt or completion as text, also where it is a conversation."""
    return message if isinstance(message, str) else "\n".join(part["content"] for part in message)
