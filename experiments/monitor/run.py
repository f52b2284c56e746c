"""A GRPO run in TRL under the monitor, on a two-layer model on a CPU: does a language show while it is born?

    pip install -e ".[train]"
    python experiments/monitor/run.py               half a minute -> RESULTS.md

The start is a random model of two layers that was taught nothing but to write words at random; the reward is the share
of a completion's words that are one nonce word. Nobody needs a monitor for that: it shows that the monitor sees it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import datasets
import torch
from callback import LanguageMonitor
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

HERE = Path(__file__).resolve().parent
WORDS = "so the next part is to add both and then see what holds here we get it".split()  # noqa: SIM905
NONCE, STEPS, PROMPTS, SAMPLES, LENGTH = "zorp", 30, 16, 8, 24


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names = ["<pad>", "<eos>", *WORDS, NONCE]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", padding_side="left")
    config = LlamaConfig(
        vocab_size=len(names), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        pad_token_id=0, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # at first the nonce word is rare
        model.lm_head.weight *= 0.5
    prompts = [" ".join(WORDS[i % 12 : i % 12 + 3 + i // 12]) for i in range(PROMPTS)]

    def earned(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [text.split().count(NONCE) / max(len(text.split()), 1) for text in completions]

    batch = tokenizer(prompts * 25, return_tensors="pt", padding=True)
    drawn = model.generate(
        **batch, do_sample=True, max_new_tokens=LENGTH, suppress_tokens=[0, names.index(NONCE)], pad_token_id=0
    )
    base = tokenizer.batch_decode(drawn[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    with tempfile.TemporaryDirectory() as out:
        log = Path(out) / "log.jsonl"
        watch = LanguageMonitor(base, log, min_traces=10, min_problems=5)
        args = GRPOConfig(
            output_dir=out, max_steps=STEPS, per_device_train_batch_size=PROMPTS * SAMPLES, num_generations=SAMPLES,
            max_completion_length=LENGTH, learning_rate=3e-3, lr_scheduler_type="constant", beta=0.0, use_cpu=True,
            bf16=False, gradient_checkpointing=False, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, seed=0, reward_weights=[1.0, 0.0],
        )  # fmt: skip
        GRPOTrainer(
            model=model,
            reward_funcs=[earned, watch.collect],
            args=args,
            train_dataset=datasets.Dataset.from_list([{"prompt": p} for p in prompts * STEPS]),
            processing_class=tokenizer,
            callbacks=[watch],
        ).train()
        rows = [json.loads(line) for line in log.read_text().splitlines()]
    lines = [
        "# A GRPO run under the monitor",
        "",
        f"Made by `python experiments/monitor/run.py`: {STEPS} steps of {PROMPTS} prompts x {SAMPLES} samples of "
        f"{LENGTH} tokens, two layers, CPU; the reward is the share of the nonce word `{NONCE}`. Means over traces, "
        "95 % intervals by problem.",
        "",
        "| step | over-used words | the strongest | novelty | opener (share) | turnover | repetition |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows[:: max(len(rows) // 15, 1)]:
        lines.append(
            f"| {r['step']} | {r['words']} | {' '.join(r['new'][:3])} | {r['novelty']:.3f} [{r['novelty_low']:.3f}, "
            f"{r['novelty_high']:.3f}] | {r['opener']} ({r['opener_share']:.2f}) | {r['turnover']:.2f} | "
            f"{r['repetition']:.2f} |"
        )
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
