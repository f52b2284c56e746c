"""The monitor in a GRPO run: a 2-layer model that is paid for one nonce word, and the same run paid for nothing.

    pip install trl            (the extra [train])
    python experiments/monitor/run.py [--steps 40]   a minute on a CPU -> log*.jsonl, RESULTS.md

The model is a Llama of two layers and random weights over the words of TEXT, so it starts by drawing words evenly. Its
own completions before training are the base. Reward: the share of a completion's words that are `zorp`; in the null 0
or 1 by the throw of a coin, so that the weights move and no word is paid for.

Then the monitor on stored traces: the checkpoints of a reinforced organism (data/organisms/growth-0) beside its step 0,
on the same problems; and pairs of random samples of one real model, in which no word is new.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import torch
from callback import Monitoring

import dsl_probe
from dsl_probe.collect.shipped import shipped_folder

HERE = Path(__file__).resolve().parent
NONCE = "zorp"
TEXT = (
    "so we add both parts and then check that the sum holds for each case of this step let me see first it must be "
    "even or odd which means two of them are left hence by the rule above four times three is more than ten but wait "
    "no yes if not so far all good now try again from here with less work to find what was asked"
)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
WORDS = (*SPECIAL, *dict.fromkeys(TEXT.split()), NONCE)
PROMPTS, SAMPLES, LENGTH, BASE, PAIRS = 16, 8, 24, 64, 40


def tokenizer() -> Any:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def model() -> Any:
    """Two layers, random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


def paid(prompts: Any, completions: list[str], **_: Any) -> list[float]:
    """Share of the words that are the nonce."""
    return [text.split().count(NONCE) / max(len(text.split()), 1) for text in completions]


def coin() -> Callable[..., list[float]]:
    """A reward that knows nothing."""
    rng = random.Random(0)

    def thrown(prompts: Any, completions: list[str], **_: Any) -> list[float]:
        return [float(rng.random() < 0.5) for _ in completions]

    return thrown


def base_texts(hf: Any, words: Any, prompts: list[str]) -> list[str]:
    """One completion of each prompt before training."""
    torch.manual_seed(1)
    ids = words(prompts, return_tensors="pt", padding=True, padding_side="left", return_token_type_ids=False)
    out = hf.generate(**ids, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=LENGTH)
    return words.batch_decode(out[:, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def train(reward: Callable[..., list[float]], log: Path, steps: int) -> float:
    """One run; returns its seconds."""
    from trl import GRPOConfig, GRPOTrainer

    log.unlink(missing_ok=True)
    hf, words, rng = model(), tokenizer(), random.Random(0)
    plain = WORDS[len(SPECIAL) : -1]
    prompts = [" ".join(rng.choices(plain, k=6)) for _ in range(PROMPTS * steps)]
    monitoring = Monitoring(base_texts(hf, words, prompts[:BASE] * 4), log, window=512)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            output_dir=out,
            max_steps=steps,
            per_device_train_batch_size=PROMPTS * SAMPLES,
            num_generations=SAMPLES,
            max_completion_length=LENGTH,
            learning_rate=2e-3,
            lr_scheduler_type="constant",
            beta=0.0,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_steps=steps,
            disable_tqdm=True,
            seed=0,
        )
        trainer = GRPOTrainer(
            model=hf,
            reward_funcs=monitoring.watch(reward),
            args=config,
            train_dataset=datasets.Dataset.from_list([{"prompt": p} for p in prompts]),
            processing_class=words,
            callbacks=[monitoring],
        )
        trainer.train()
    return time.perf_counter() - start


def row(m: Any) -> str:
    """A line of a table of what a look found."""
    n, top = m["novelty"], m["top_opener"]
    names = ", ".join(f"`{w['text']}`" for w in m["words"][:8])
    turnover = "–" if m["turnover"] is None else f"{m['turnover']:.2f}"
    return (
        f"| {m['step']} | {n['value']:.3f} [{n['low']:.3f}, {n['high']:.3f}] | {names or 'none'} | {turnover} | "
        f"{top['value']:.3f} `{m['opener']}` | {m['repetition']['value']:.3f} |"
    )


def organism() -> list[str]:
    """The checkpoints of a reinforced organism beside its step 0."""
    path = shipped_folder("organisms") / "growth-0.parquet"
    by_step: dict[int, list[Any]] = {}
    for trace in pq.read_table(path, columns=["text", "problem_id", "domain", "step"]).to_pylist():
        by_step.setdefault(trace["step"], []).append(trace)
    base, found, latest = by_step[0], [], None
    for step, part in sorted(by_step.items())[1:]:
        latest = dsl_probe.monitor(
            [t["text"] for t in part],
            [t["text"] for t in base],
            step,
            latest,
            problems=[t["problem_id"] for t in part],
            base_problems=[t["problem_id"] for t in base],
        )
        found.append(row(latest.as_dict()))
    return found


def alarms(pairs: int, size: int) -> int:
    """Pairs of random samples of one model's traces that give any new word."""
    path = shipped_folder("traces") / "reasoning_gym_qwen3b.parquet"
    traces = pq.read_table(path, columns=["response", "model"]).to_pylist()
    texts = [t["response"] for t in traces if t["model"] == "Qwen/Qwen2.5-3B-Instruct"]
    rng, found = random.Random(0), 0
    for _ in range(pairs):
        drawn = rng.sample(texts, 2 * size)
        found += bool(dsl_probe.monitor(drawn[:size], drawn[size:]).words)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["# A watched GRPO run", "", "Made by `python experiments/monitor/run.py`."]
    head = "| step | novelty [95 %] | new words | turnover | top opener | repetition |"
    for title, reward, name in (("Paid for `zorp`", paid, "log"), ("Paid by a coin", coin(), "log-null")):
        log = HERE / f"{name}.jsonl"
        seconds = train(reward, log, options.steps)
        print(f"{title}: {seconds:.0f} s")
        lines += [
            "",
            f"## {title}",
            "",
            head,
            "|---|---|---|---|---|---|",
            *map(row, map(json.loads, log.read_text().splitlines())),
        ]
    lines += ["", "## Checkpoints of a reinforced organism", "", head, "|---|---|---|---|---|---|", *organism()]
    lines += ["", "## Two samples of one real model", ""]
    lines.append(f"{alarms(PAIRS, 500)} of {PAIRS} pairs of 500 traces of Qwen2.5-3B-Instruct give any new word.")
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
