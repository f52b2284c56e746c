"""Watch a GRPO run for a language of its own: a callback for TRL that logs dsl_probe.monitor at every step.

    watch = LanguageMonitor(texts_of_the_base)
    GRPOTrainer(..., reward_funcs=[earned, watch.collect], callbacks=[watch],
                args=GRPOConfig(..., reward_weights=[1.0, 0.0]))

`collect` is a reward function that gives 0 to all and keeps what it is shown. The base's texts should answer like
prompts: sample them from the model before training.
"""

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

import dsl_probe


class LanguageMonitor(TrainerCallback):
    """Logs what each step wrote beside the base: novelty, openers, turnover, scripts. `path`: a JSONL file beside.

    least: min_traces, min_problems of dsl_probe.monitor; steps of few prompts need lower ones.
    """

    def __init__(self, base: list[str], path: Path | None = None, **least: int):
        self.base, self.path, self.least = base, path, least
        self.texts: list[str] = []
        self.prompts: list[str] = []
        self.last: Any = None

    def collect(self, prompts: list, completions: list, **_: Any) -> list[float]:
        """A reward of nothing: keeps the texts of the step."""
        self.texts += [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        self.prompts += [str(p) for p in prompts]
        return [0.0] * len(completions)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self.texts:
            return
        problems = [*self.prompts, *(f"base {i}" for i in range(len(self.base)))]
        found = dsl_probe.monitor(self.texts, self.base, problems=problems, previous=self.last, **self.least)
        self.last, self.texts, self.prompts = found, [], []
        row = {"step": state.global_step} | found.as_dict()
        state.log_history.append({f"language/{name}": value for name, value in row.items()})
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps(row | {"new": found.words[:10]}) + "\n")
