"""Tokens a second of seeded sampling against transformers' generate, and of batches by length against naive order.

    python experiments/bench/sampling.py [--model smollm2] [--rounds 5] [--out experiments/bench/SAMPLING.md]

The variants take turns within each round, so that a busy machine hurts all alike; medians over the rounds, and the
median of the ratios within a round. On a machine that others use, the processor seconds tell more than the wall clock.
"""

import argparse
import os
import platform
import random
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import torch

from dsl_probe.collect.domains import load_domain
from dsl_probe.collect.seeded import Sampling, by_length, key_of, sample_batch
from dsl_probe.models import load_model, render, stop_ids


def plain(model, prompts, new, logits=False):
    """transformers' own sampling of `new` tokens each from a left-padded batch; returns the number of tokens."""
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :], mask[i, width - len(prompt) :] = torch.tensor(prompt), 1
    out = model.hf.generate(
        ids.to(model.hf.device),
        attention_mask=mask.to(model.hf.device),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_new_tokens=new,
        max_new_tokens=new,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=logits,
    )
    if logits:
        for step, scores in enumerate(out.logits):
            logprobs = scores.log_softmax(-1)
            logprobs.gather(-1, out.sequences[:, width + step, None])
            (logprobs.exp() * logprobs).sum(-1).tolist()
    return len(prompts) * new


def seeded(model, prompts, new):
    """Our own, with log-probabilities and entropies; nothing ends a completion early, as in `plain`."""
    sampling = Sampling(max_new_tokens=new, loop_tokens=0)
    done = sample_batch(model, prompts, [key_of(0, "bench", i) for i in range(len(prompts))], sampling)
    return sum(len(c.token_ids) for c in done)


def rounds(variants, count, warm=1):
    """(tokens / s, tokens / processor second) of each variant in each round; the first `warm` rounds are dropped."""
    speed = {name: [] for name in variants}
    for number in range(count + warm):
        for name, run in variants.items():
            start, busy = time.perf_counter(), time.process_time()
            tokens = run()
            if number >= warm:
                speed[name].append((tokens / (time.perf_counter() - start), tokens / (time.process_time() - busy)))
    return speed


def lines(speed, base):
    """Table rows: medians, and the ratio to `base` within a round: median (lowest to highest)."""
    yield f"| | tokens/s | against {base} | tokens a processor second | against {base} |\n|---|---|---|---|---|"
    for name, values in speed.items():
        cells = []
        for kind in (0, 1):
            ratios = [a[kind] / b[kind] for a, b in zip(values, speed[base], strict=True)]
            cells.append(f"{statistics.median(v[kind] for v in values):.0f}")
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        yield f"| {name} | {' | '.join(cells)} |"


def mixed_prompts(model, count):
    """Prompts of unlike length in random order: school mathematics, logic, and grids written out."""
    problems = [p for name in ("gsm8k", "logic", "arc") for p in load_domain(name).problems(0, 200)]
    random.Random(0).shuffle(problems)
    ids = [render(model, "chat", problem.prompt) for problem in problems]
    return [prompt for prompt in ids if len(prompt) <= 1_000][:count]


def machine(model):
    """The device in words."""
    if model.device.startswith("cuda"):
        return torch.cuda.get_device_name()
    names = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((x.split(":")[1].strip() for x in names if x.startswith("model name")), platform.processor())
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--threads", type=int, help="of torch; fewer than cores where other work shares the machine")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load_model(options.model)
    text = [
        "# Sampling\n",
        f"`python experiments/bench/sampling.py` writes this file. {options.model}, {model.dtype}, medians of "
        f"{options.rounds} rounds in which "
        "the variants take turns; the ratio is taken within a round.\n",
    ]
    short = [render(model, "chat", p.prompt) for p in load_domain("gsm8k").problems(0, max(options.batches))]
    for size in options.batches:
        batch = short[:size]
        speed = rounds(
            {
                "generate": lambda batch=batch: plain(model, batch, options.new),
                "generate, log-probability and entropy after": lambda batch=batch: plain(
                    model, batch, options.new, True
                ),
                "seeded, log-probability and entropy": lambda batch=batch: seeded(model, batch, options.new),
            },
            options.rounds,
        )
        text += [f"\n## Batch of {size}, {options.new} new tokens, prompts of school mathematics\n"]
        text += lines(speed, "generate")
        print("\n".join(text[-5:]), flush=True)

    prompts, size, new = mixed_prompts(model, options.prompts), 8, options.new
    ending = Sampling(max_new_tokens=new, stop_ids=stop_ids(model))

    def run(batches, sampling=ending):
        keys = [key_of(0, "bench", i) for i in range(len(prompts))]
        done = [sample_batch(model, [prompts[i] for i in rows], [keys[i] for i in rows], sampling) for rows in batches]
        return sum(len(c.token_ids) for batch in done for c in batch)

    naive = [list(range(i, min(i + size, len(prompts)))) for i in range(0, len(prompts), size)]
    speed = rounds(
        {
            "naive order": lambda: run(naive),
            "by length": lambda: run(by_length([len(p) for p in prompts], size)),
            "generate, naive order": lambda: sum(plain(model, [prompts[i] for i in rows], new) for rows in naive),
        },
        options.rounds,
        warm=0,
    )
    lengths = sorted(map(len, prompts))
    text += [
        f"\n## {len(prompts)} prompts of {lengths[0]} to {lengths[-1]} tokens (median {lengths[len(lengths) // 2]}), "
        f"batches of {size}, up to {new} new tokens\n",
        *lines(speed, "naive order"),
        f"\nMachine: {machine(model)}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {version('transformers')}. Load average at the end: {os.getloadavg()[0]:.1f}.\n",
    ]
    print("\n".join(text))
    if options.out:
        options.out.write_text("\n".join(text))


if __name__ == "__main__":
    main()
