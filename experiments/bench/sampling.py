"""Tokens a second of seeded sampling against transformers' generate, and of rows that join against naive order.

    python experiments/bench/sampling.py [--model smollm2] [--rounds 3] [--out experiments/bench/SAMPLING.md]

The variants take turns within each round, so that a busy machine hurts all alike; medians over the rounds, and the
median of the ratios within a round. On a machine that others use, the processor seconds tell more than the wall clock.

Prompts of unlike length: all variants get the same prompts in the same order, the same stop tokens and limit, and the
same memory, `size` rows of the longest prompt with its completion. Tokens count up to the stop. Naive order fills each
batch with the next `size` prompts, pads them to the longest and decodes until all have ended. generate draws other
completions than the seeded variants, which draw the same.
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

from dsl_probe.collect.decode import draw
from dsl_probe.collect.domains import load_domain
from dsl_probe.collect.seeded import Sampling, key_of
from dsl_probe.models import load_model, render, stop_ids


def plain(model, prompts, new, logits=False, stops=()):
    """transformers' own sampling of up to `new` tokens each from a left-padded batch; returns the number of tokens."""
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
        min_new_tokens=1 if stops else new,
        max_new_tokens=new,
        pad_token_id=0,
        **({"eos_token_id": list(stops)} if stops else {}),
        return_dict_in_generate=True,
        output_logits=logits,
    )
    if logits:
        for step, scores in enumerate(out.logits):
            logprobs = scores.log_softmax(-1)
            logprobs.gather(-1, out.sequences[:, width + step, None])
            (logprobs.exp() * logprobs).sum(-1).tolist()
    rows = out.sequences[:, width:].tolist()
    return sum(next((i + 1 for i, token in enumerate(row) if token in stops), len(row)) for row in rows)


def seeded(model, prompts, new):
    """Our own, with log-probabilities and entropies; nothing ends a completion early, as in `plain`."""
    sampling = Sampling(max_new_tokens=new, loop_tokens=0)
    done = draw(model, prompts, [key_of(0, "bench", i) for i in range(len(prompts))], sampling)
    return tokens_of(done)


def tokens_of(done):
    """Tokens of all completions."""
    return sum(len(completion.token_ids) for completion in done)


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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--new", type=int, default=24)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--size", type=int, default=4, help="rows of the longest of these prompts that fit")
    parser.add_argument("--mixed-new", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--mixed-rounds", type=int, default=1)
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

    prompts, size = mixed_prompts(model, options.prompts), options.size
    keys = [key_of(0, "bench", i) for i in range(len(prompts))]
    lengths = sorted(map(len, prompts))
    for new in options.mixed_new:
        ending = Sampling(max_new_tokens=new, stop_ids=stop_ids(model))
        speed = rounds(
            {
                "seeded, naive order": lambda e=ending: tokens_of(draw(model, prompts, keys, e, size=size, join=False)),
                "seeded, rows join": lambda e=ending: tokens_of(draw(model, prompts, keys, e, size=size)),
                "generate, naive order": lambda e=ending: sum(
                    plain(model, prompts[i : i + size], e.max_new_tokens, stops=e.stop_ids)
                    for i in range(0, len(prompts), size)
                ),
            },
            options.mixed_rounds,
            warm=0,
        )
        text += [
            f"\n## {len(prompts)} prompts of {lengths[0]} to {lengths[-1]} tokens (median "
            f"{lengths[len(lengths) // 2]}), up to {new} new tokens, {options.mixed_rounds} rounds\n\n"
            f"Held equal: memory for {size} rows of {lengths[-1] + new} tokens, prompts, their order, limit, stops.\n",
            *lines(speed, "seeded, naive order"),
        ]
        print("\n".join(text[-5:]), flush=True)
    text += [
        f"\nMachine: {machine(model)}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {version('transformers')}. Load average at the end: {os.getloadavg()[0]:.1f}.\n",
    ]
    print(text[-1])
    if options.out:
        options.out.write_text("\n".join(text))


if __name__ == "__main__":
    main()
