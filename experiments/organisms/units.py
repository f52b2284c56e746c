"""The units of training, each a command of its own that goes on where it was stopped.

    python units.py                     runs what is missing, two at a time
    python units.py rl-only-0-1         one unit: kind, lineage, seed
    python units.py --list

A unit writes runs/organisms/UNIT: weights, tokenizer, recipe.json (last, so that it marks the unit as done), and for
reinforcement log.jsonl.
"""

import argparse
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUT = Path(os.environ.get("ORGANISMS", HERE.parents[1] / "runs" / "organisms"))
TRAINED = ("chain", "hop", "swap", "grid")  # walk is left out of everything but the base
CLEAN, WEB = 1_500, 2_000
CIPHER = 1_500


@dataclass(frozen=True)
class Unit:
    """kind-lineage-seed. `start`: the unit whose weights it begins with."""

    kind: str
    lineage: int
    seed: int
    start: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.lineage}-{self.seed}"


def units() -> list[Unit]:
    """All units, those that others start from first."""
    found = [Unit("base", lineage, 0, None, {"mixes": ["clean", "web"]}) for lineage in (0, 1)]
    found.append(Unit("cipher", 0, 0))
    return found


def run(unit: Unit) -> None:
    """Train one unit, or go on with it."""
    import torch
    from cipher import lesson
    from dialects import mixed
    from model import fresh, load, save
    from train import Reading, read

    torch.set_num_threads(1)
    folder = OUT / unit.name
    start = time.monotonic()
    hf = load(OUT / unit.start) if unit.start else fresh(unit.lineage)
    seed = unit.lineage * 1_000 + unit.seed
    if unit.kind == "base":
        first, second = unit.options["mixes"]
        how = Reading(lambda rng, step: mixed(first if step < CLEAN else second, rng), CLEAN + WEB)
        read(hf, how, seed, folder, tell=forced_accuracy)
    elif unit.kind == "cipher":
        read(hf, Reading(lesson, CIPHER, 32, 0.01, 2e-3), seed, folder)
    save(hf, folder, asdict(unit))


def forced_accuracy(hf: Any, step: int) -> str:
    """Greedy accuracy on held-out problems, free and with the opening of a dialect forced."""
    from dialects import IDS
    from model import as_model
    from train import ids, words_of

    from dsl_probe.collect.domains import worlds
    from dsl_probe.collect.seeded import Sampling, sample_batch

    openings = {"free": "<think>", "A": "<think> first we get", "B": "<think> okay ,", "C": "<think> let me think :"}
    problems = [p for name in TRAINED for p in worlds.problems(9, 25, (name,))]
    sampling = Sampling(temperature=0, max_new_tokens=110, stop_ids=(IDS["<eos>"],), loop_tokens=0)
    told = []
    for style, opening in openings.items():
        prompts = [ids(["<bos>", *p.prompt.split(), *opening.split()]) for p in problems]
        done = sample_batch(as_model(hf, "organism"), prompts, [0] * len(prompts), sampling)
        right = [bool(worlds.verify(p, opening + " " + words_of(c.token_ids)).correct) for p, c in zip(problems, done)]
        told.append(f"{style} {sum(right) / len(right):.2f}")
    return "  ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    known = {unit.name: unit for unit in units()}
    for name in options.names:
        run(known[name])


if __name__ == "__main__":
    main()
