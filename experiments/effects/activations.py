"""Does the fine-tuned organism use the value that a probe reads before it is written, and in which layer?

    python experiments/effects/activations.py --out experiments/effects/ACTIVATIONS.md       two minutes on a CPU

Chain problems: 200 traces at temperature 1 are captured where a value is about to be written, and `value` is probed.
Then, on 100 other problems, the value is erased and pushed, and in the traces it is patched, each beside its placebo.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.domains import load_domain
from dsl_probe.collect.sample import collect
from dsl_probe.collect.seeded import Sampling
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling
from dsl_probe.models import load_model
from dsl_probe.probe.activations import ActivationConfig, activation_effects
from dsl_probe.probe.labels import read_labels
from dsl_probe.probe.patching import patch_values
from dsl_probe.probe.sites import pair_sites, read_sites
from dsl_probe.probe.stage import ProbeConfig, probe
from dsl_probe.store import Run

DOMAIN, MODEL, TARGET = "chain", "sft", "value"
TRACES, ASKED, SEEDS = 200, 100, (0, 1, 2)
SAMPLING = Sampling(max_new_tokens=110)
READING = [
    "",
    "## Reading",
    "",
    "- In layer 0 the value can hardly be read, and erasing what can costs a tenth, which the correction does not tell "
    "from the placebo. A state patched there does harm whatever its value was (it may be of another step), so arm and "
    "placebo agree. From layer 1 on the other trace's value is written nearly always when its state is put in, and the "
    "trace's own when the state is of the same value.",
    "- Erasing the value costs far more than erasing as much of something else, the more the later the layer.",
    "- The probe reads the value without error, yet half a norm along its weights costs no more than a random push of "
    "the same length in layers 0 to 2, and little more in the last. Along the pattern (covariance times weights) it "
    "costs more in all layers, surely in 0, 2 and 3. Weights say what to look at, not what moves.",
    "- A push of a whole norm is beyond what the model knows: its placebo costs two thirds and more.",
    "",
    "What it does not show: anything of other models. The organism has one word before every value, so the place is "
    "known while it samples; in natural text it is not. One seed is one draw of the placebo. Each p_adj is over the "
    "rows of one call.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    folder = str(shipped_folder("organisms") / MODEL)
    model = load_model(folder, device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as temporary:
        run = Run.create(Path(temporary) / "run")
        collect(run, organism_sampling(model=folder, name=MODEL, domains=(DOMAIN,), n=TRACES, samples=1))
        layers = tuple(range(model.n_layers))
        capture_states(
            run, CaptureConfig(folder, layers=layers, at=("states",), dtype="fp32", name="own", device="cpu")
        )
        probe(run, ProbeConfig(targets=(TARGET,), controls=False, transfer=False))
        args.out.write_text("\n".join(report(run, model)) + "\n")


def report(run: Run, model: Any) -> list[str]:
    domain = load_domain(DOMAIN)
    asked = [(domain, problem) for problem in domain.problems(1, ASKED)]
    config = ActivationConfig(acts="own", target=TARGET, interventions=("erase", "steer"))
    found: list[dict[str, Any]] = []
    for along in ("weights", "pattern"):
        for scale in (0.5, 1.0) if along == "weights" else (0.5,):
            for seed in SEEDS:
                kinds = ("erase", "steer", "patch") if (along, scale) == ("weights", 0.5) else ("steer",)
                mine = replace(config, along=along, scale=scale, seed=seed, interventions=kinds)
                for row in activation_effects(run, model, asked, SAMPLING, mine).to_pylist():
                    how = f" ({along}, {scale})" if row["intervention"] == "steer" else ""
                    found.append(row | {"how": row["intervention"] + how, "seed": seed})
    aurocs = run.table("probes/default/probes", filters=[("metric", "=", "auroc")]).to_pylist()
    lines = [
        "# The value in the activations: erased, pushed, patched",
        "",
        f"Made by `python experiments/effects/activations.py`: organism {MODEL}, {DOMAIN}, {TRACES} traces at "
        f"temperature 1, {ASKED} other problems, {len(SEEDS)} seeds of placebo, noise and pairs. Changed is the state "
        "of one layer at the token before a value, wherever that token is written.",
        "",
        "| what | layer | probe's AUROC | plain | arm | placebo | effect (placebo - arm), seeds | p_adj, largest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for how in dict.fromkeys(row["how"] for row in found):
        for layer in range(model.n_layers):
            rows = [r for r in found if (r["how"], r["layer"]) == (how, layer)]
            means = [f"{sum(r[c] for r in rows) / len(rows):.2f}" for c in ("plain", "arm", "placebo")]
            auroc = next(r["value"] for r in aurocs if r["layer"] == layer and not r["control"])
            effects = ", ".join(f"{r['effect']:.2f}{_interval(r)}" for r in rows)
            p = max(r["p_adj"] for r in rows)
            lines.append(f"| {how} | {layer} | {auroc:.3f} | {' | '.join(means)} | {effects} | {p:.4f} |")
    lines += [
        "",
        "Patched from a trace of another value: how often the other's value is the likeliest next word.",
        "",
        "| layer | unpatched | patched: the other's | patched: its own | from the same value: its own | places |",
        "|---|---|---|---|---|---|",
    ]
    sites = read_sites(run, "own", read_labels(run, "own", TARGET), model)
    pairs = pair_sites(sites, model.tokenizer, 200, 0)
    for layer in range(model.n_layers):
        got = patch_values(model, sites, pairs, layer)
        shares = [f"{c.mean():.2f}" for c in (got.flipped_plain, got.flipped, got.arm, got.placebo)]
        lines.append(f"| {layer} | {' | '.join(shares)} | {len(pairs.place)} |")
    return [*lines, *READING]


def _interval(row: dict[str, Any]) -> str:
    return "" if row["ci_low"] is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"


if __name__ == "__main__":
    main()
