"""States of one layer at every position of 2,048 tokens, SmolLM2-135M: time and peak memory of ours and its peers.

python experiments/bench/capture.py [--tokens 2048] [--rounds 3] [--repeats 1] [--out experiments/bench/CAPTURE.md]

Each measurement is a process of its own with one thread; the peers take turns. Seconds are processor time. Peak memory
is VmHWM, reset once the model is loaded and what loading left behind is given back.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIDDLE, LAST = 15, 29
OURS = "ours"
PEERS = {
    f"{OURS}, layer {MIDDLE}": ("ours", MIDDLE),
    f"{OURS}, layer {LAST} (the last: nothing to skip)": ("ours", LAST),
    f"transformers `output_hidden_states=[{MIDDLE + 1}]`": ("selective", MIDDLE),
    f"TransformerLens `run_with_cache`, layer {MIDDLE}": ("cache", MIDDLE),
    f"TransformerLens `run_with_cache`, layer {MIDDLE}, `stop_at_layer`": ("cache-stop", MIDDLE),
    f"TransformerLens `run_with_cache`, layer {LAST}": ("cache", LAST),
    "bare forward, `logits_to_keep=1`": ("bare", 0),
}


def peer(kind: str, layer: int, model: Any) -> Callable[[list[int]], Any]:
    """What is timed: from token ids to states [tokens, d_model], but for the bare forward."""
    import torch

    from dsl_probe.collect.backends import capture

    if kind == "ours":
        return lambda ids: capture(model, [ids], [layer], [range(len(ids))])[f"resid_post.{layer}"]
    if kind == "bare":
        return lambda ids: model.hf(torch.tensor([ids]), logits_to_keep=1).logits
    if kind == "selective":

        def select(ids: list[int]) -> Any:
            states = model.hf(torch.tensor([ids]), output_hidden_states=[layer + 1], logits_to_keep=1).hidden_states
            return next(s for s in states if s is not None)[0]

        return select
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers("smollm2", hf_model=model.hf, tokenizer=model.tokenizer, device="cpu")
    name = f"blocks.{layer}.hook_resid_post"
    stop = {"stop_at_layer": layer + 1} if kind == "cache-stop" else {}
    return lambda ids: bridge.run_with_cache(torch.tensor([ids]), names_filter=lambda n: n == name, **stop)[1][name][0]


def measure(kind: str, layer: int, tokens: int, repeats: int) -> dict[str, Any]:
    """In this process: seconds of each repeat, peak and resident MiB, and a checksum of the states."""
    import torch

    from_torch = _status("VmRSS")
    import transformers.modeling_utils
    import transformers.models.llama.modeling_llama  # noqa: F401

    from dsl_probe.models import load_model

    from_imports = _status("VmRSS")
    # One thread and its own processor time: then what else the machine does hardly counts.
    torch.set_num_threads(1)
    model = load_model("smollm2", device="cpu")
    ids = torch.randint(10, 40_000, (tokens,), generator=torch.Generator().manual_seed(0)).tolist()
    call = peer(kind, layer, model)
    with torch.inference_mode():
        call(ids[:64])
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        resident = _status("VmRSS")
        seconds = []
        for _ in range(repeats):
            start = time.process_time()
            states = call(ids)
            seconds.append(time.process_time() - start)
    return {
        "seconds": seconds,
        "peak": _status("VmHWM"),
        "torch": from_torch,
        "imports": from_imports,
        "resident": resident,
        "weights": sum(p.numel() * p.element_size() for p in model.hf.parameters()) / 2**20,
        "checksum": float(states.double().abs().mean()),
    }


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith(field)).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2_048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]), options.tokens, options.repeats)))
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PEERS}
    for _ in range(options.rounds):
        for name, (kind, layer) in PEERS.items():
            command = [sys.executable, __file__, "--one", kind, str(layer), "--tokens", str(options.tokens)]
            done = subprocess.run(
                [*command, "--repeats", str(options.repeats)],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    text = report(found, options.tokens, options.rounds, options.repeats)
    print(text)
    if options.out:
        options.out.write_text(text)


def report(found: dict[str, list[dict[str, Any]]], tokens: int, rounds: int, repeats: int) -> str:
    """The table, and the ratios that were aimed at."""
    for layer in (MIDDLE, LAST):
        sums = [r["checksum"] for n, (k, at) in PEERS.items() if at == layer and k != "bare" for r in found[n]]
        if max(sums) - min(sums) > 1e-3 * max(sums):
            raise SystemExit(f"the peers do not agree on layer {layer}: {sums}")
    second = {n: statistics.median(s for r in rs for s in r["seconds"]) for n, rs in found.items()}
    peak = {n: statistics.median(r["peak"] for r in rs) for n, rs in found.items()}
    above = {n: statistics.median(r["peak"] - r["resident"] for r in rs) for n, rs in found.items()}
    weights = statistics.median(r["weights"] for rs in found.values() for r in rs)
    least = min((r for rs in found.values() for r in rs), key=lambda r: r["resident"])
    rest = least["resident"] - weights
    with_weights = {n: weights + v for n, v in above.items()}
    rows = [f"| {n} | {second[n]:.2f} | {peak[n]:,.0f} | {above[n]:,.0f} |" for n in PEERS]
    names = list(PEERS)
    middle, last, _, cache, stopped, cache_last, bare = names
    # What must go from both sides for the ratio to be 0.6: (a - x) / (b - x) = 0.6.
    short = max(0.0, (peak[middle] - 0.6 * peak[cache]) / 0.4)
    ratios = [
        ("peak memory, whole process / run_with_cache", peak, cache, cache_last, "<= 0.6"),
        ("peak memory, weights and pass / run_with_cache", with_weights, cache, cache_last, "<= 0.6"),
        ("peak memory, pass alone / run_with_cache", above, cache, cache_last, ""),
        ("seconds / run_with_cache", second, cache, cache_last, "<= 0.67"),
        ("seconds / bare forward", second, bare, bare, "<= 1.05"),
    ]
    lines = [f"| {n} | {v[middle] / v[a]:.2f} | {v[last] / v[b]:.2f} | {aim} |" for n, v, a, b, aim in ratios]
    lines.append(f"| seconds / run_with_cache with stop_at_layer | {second[middle] / second[stopped]:.2f} | | |")
    return (
        "# Capture: results\n\n"
        "`python experiments/bench/capture.py --out experiments/bench/CAPTURE.md` writes this file. States of one "
        f"layer at all of {tokens:,} positions, one sequence, SmolLM2-135M-Instruct in float32, one thread, all peers' "
        f"states equal. Medians of {rounds} processes a peer, each with {repeats} timed after one short pass.\n\n"
        "| peer | processor seconds | peak MiB | of which beyond the loaded model |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\n| ours against | layer {MIDDLE} | layer {LAST} | aim |\n|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n\nWhat makes the difference: no logits, rows taken in the hook, no attention weights, and the pass ends "
        f"at the last layer that is wanted (worth half the time at layer {MIDDLE}, nothing at layer {LAST}).\n\n"
        f"Besides weights ({weights:,.0f} MiB) and pass, each process holds {rest:,.0f} MiB, the same for every peer: "
        f"{least['torch']:,.0f} MiB once torch is imported, {least['imports'] - least['torch']:,.0f} more with "
        "transformers' Llama and what that imports by itself (torch._dynamo, torch.distributed, sympy, accelerate, "
        f"scipy), and {rest - least['imports']:,.0f} for tokenizer, heap and what reading GGUF leaves. For so small a "
        f"model that floor decides the ratio of whole processes: 0.6 at layer {MIDDLE} needs {short:,.0f} MiB less "
        "of it. TransformerLens adds its own to it.\n\n"
        f"Machine: {_cpu()}, {len(os.sched_getaffinity(0))} cores, shared with other processes; Python "
        f"{platform.python_version()}.\n"
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "?")


if __name__ == "__main__":
    main()
