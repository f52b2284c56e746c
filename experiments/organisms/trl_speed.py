"""How fast are steps of Dr. GRPO in TRL, and in the loop of train.py, from the same weights on the same problems?

    pip install trl            (the extra [train])
    python experiments/organisms/trl_speed.py [--steps 6] [--model data/organisms/base]        -> TRL_SPEED.md

Both draw 32 prompts x 8 samples a step with at most 96 new tokens at temperature 1, reward a right answer x (1 - .8 x
length / 96), without KL, one AdamW step of 3e-4 a batch, float32, one thread. TRL is set so that it computes the same:
loss_type dr_grpo, scale_rewards none, beta 0. The first step, which pays for what is loaded late, is left out. The
loops alternate in one process.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from dialects import IDS
from model import load, tokenizer
from tables import table
from train import Reinforcing, drawn_problems, reinforce, words_of
from units import HERE, TRAINED

from dsl_probe.collect.domains import worlds

HOW = Reinforcing(TRAINED)


def own(folder: Path, steps: int) -> list[float]:
    """Seconds of each step of the loop of train.py."""
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        for number in range(steps):
            start = time.perf_counter()
            marks.append(-start)
            # A folder a step: the loop is the same, and nothing is resumed.
            reinforce(load(folder), Reinforcing(TRAINED, 1), number, Path(out) / str(number))
            marks[-1] += time.perf_counter()
    return marks


def trl(folder: Path, steps: int) -> list[float]:
    """Seconds of each step of TRL's GRPOTrainer."""
    import datasets
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    problems = [p for number in range(steps) for p in drawn_problems(HOW.worlds, HOW.prompts, 0, number)]
    by_prompt = {p.prompt: p for p in problems}

    def earned(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        found = []
        for prompt, tokens in zip(prompts, completion_ids, strict=True):
            right = bool(worlds.verify(by_prompt[prompt], words_of(tokens)).correct)
            found.append(right * (1 - HOW.length_price * len(tokens) / HOW.max_new_tokens))
        return found

    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            seconds.append(-time.perf_counter())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            seconds[-1] += time.perf_counter()

    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            output_dir=out,
            max_steps=steps,
            per_device_train_batch_size=HOW.prompts * HOW.samples,
            num_generations=HOW.samples,
            max_completion_length=HOW.max_new_tokens,
            learning_rate=HOW.lr,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            loss_type="dr_grpo",
            scale_rewards="none",
            beta=0.0,
            max_grad_norm=HOW.clip,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            seed=0,
        )
        hf = load(folder)
        hf.generation_config.eos_token_id = IDS["<eos>"]
        trainer = GRPOTrainer(
            model=hf,
            reward_funcs=earned,
            args=config,
            train_dataset=datasets.Dataset.from_list([{"prompt": p.prompt} for p in problems]),
            processing_class=tokenizer(),
            callbacks=[Clock()],
        )
        trainer.train()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", type=Path, default=HERE.parents[1] / "data" / "organisms" / "base")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    ways: dict[str, Callable[[Path, int], list[float]]] = {"train.py": own, "TRL GRPOTrainer": trl}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            seconds[name] += way(options.model, options.steps)[1:]
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [
        (name, f"{middle[name]:.2f}", f"{min(s):.2f} to {max(s):.2f}", f"{middle[name] / middle['train.py']:.2f}")
        for name, s in seconds.items()
    ]
    import trl as package

    text = (
        "# Dr. GRPO on an organism: TRL beside the loop of train.py\n\nMade by "
        f"`python experiments/organisms/trl_speed.py`; TRL {package.__version__}, one thread of a CPU, "
        f"{options.rounds} rounds of {options.steps - 1} steps each, first steps left out.\n\n"
        + table(("loop", "seconds a step, median", "range", "of train.py"), rows)
        + "\n"
    )
    (HERE / "TRL_SPEED.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
