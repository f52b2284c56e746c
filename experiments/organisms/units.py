"""The units of training, each a command of its own that goes on where it was stopped.

    python units.py                     runs what is missing, one process a core
    python units.py rl-only-0-1         these units: kind-lineage-seed
    python units.py --quick             all kinds of lineage 0 with a tenth of the steps: does the road hold?
    python units.py --list

A unit writes $ORGANISMS/UNIT (default runs/organisms): weights, tokenizer, recipe.json (last, so that it marks the unit
as done), and for reinforcement log.jsonl. One thread a process: with it a unit repeats bit for bit.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUT = Path(os.environ.get("ORGANISMS", HERE.parents[1] / "runs" / "organisms"))
TRAINED = ("chain", "hop", "swap", "grid")  # walk is read in the base mix alone: the unseen world
LINEAGES, SEEDS = (0, 1), (0, 1, 2)
CLEAN, WEB, SFT = 3_000, 1_500, 250
CIPHER_CLEAN, CIPHER_SLIPS, CIPHER, CIPHER_MUON = 1_000, 1_200, 800, 0.004
# What is rewarded in the search for inventions, beside right answers; all from `base-human`, whose mix gives nonces no
# job. plain: as rl-only. short: a chain of 32 tokens earns nothing. no-human, no-states: such words are taxed.
SEARCHES = ("plain", "short", "no-human", "no-states")
# Steps of reinforcement, and the steps at which the two watched runs keep their weights.
RL, LP0, AFTER, SINGLE, SEARCH = 160, 100, 60, 100, 160
WATCHED = (2, 5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 140, 160)


@dataclass(frozen=True)
class Unit:
    """kind-lineage-seed. `start`: the unit whose weights it begins with. steps: of its last phase."""

    kind: str
    lineage: int
    seed: int
    start: str | None = None
    steps: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.lineage}-{self.seed}"


def units(quick: bool = False) -> list[Unit]:
    """All units, each after the one that it starts from; those that tell most come first."""
    share = 0.1 if quick else 1.0
    lineages = LINEAGES[:1] if quick else LINEAGES
    seeds = SEEDS[:1] if quick else SEEDS

    def made(kind: str, lineage: int, seed: int, start: str | None, steps: int) -> Unit:
        return Unit(kind, lineage, seed, start and f"{start}-{lineage}-0", max(1, round(steps * share)))

    found = [made("base", lineage, 0, None, WEB) for lineage in lineages]
    found += [made(kind, lineage, 0, "base", SFT) for kind in ("sft", "sft-mixed") for lineage in lineages]
    found.append(made("cipher", lineages[-1], 0, "base", CIPHER))
    for seed in seeds:
        found += [made("rl-only", lineage, seed, "base", RL) for lineage in lineages]
        found += [made("rl-only-lp0", lineage, seed, "base", LP0) for lineage in lineages]
        if seed == 0:
            found += [made("sft-rl", lineage, 0, "sft", AFTER) for lineage in lineages]
    found += [made(f"rl-single-{world}", lineage, 0, "base", SINGLE) for world in TRAINED for lineage in lineages]
    last = lineages[-1]
    found.append(made("base-human", last, 0, None, WEB))
    found += [made(f"search-{name}", last, seed, "base-human", SEARCH) for name in SEARCHES for seed in seeds[:2]]
    return found


def run(unit: Unit) -> None:
    """Train one unit, or go on with it; a finished one is left alone."""
    import torch
    from cipher_lessons import lesson, renew
    from dialects import mixed, text
    from model import fresh, load, save
    from train import Reading, read, reinforce

    folder = OUT / unit.name
    if (folder / "recipe.json").exists():
        return
    torch.set_num_threads(1)
    start = time.process_time()
    hf = load(OUT / unit.start) if unit.start else fresh(unit.lineage)
    seed = unit.lineage * 1_000 + unit.seed
    clean = round(CLEAN * unit.steps / WEB)
    if unit.kind in ("base", "base-human"):
        first, then = ("clean", "web") if unit.kind == "base" else ("clean-human", "web-human")
        how = Reading(
            lambda rng, step: mixed(first if step < clean else then, rng), clean + unit.steps, states_first=clean
        )
        read(hf, how, seed, folder, tell=forced_accuracy)
    elif unit.kind in ("sft", "sft-mixed"):
        styles = ("A",) if unit.kind == "sft" else ("B", "C")
        how = Reading(lambda rng, _: text(rng.choice(styles), rng.choice(TRAINED), rng), unit.steps, 32, 0.002, 1e-3)
        read(hf, how, seed, folder, tell=forced_accuracy)
    elif unit.kind == "cipher":
        renew(hf, seed)
        ends = [round(many * unit.steps / CIPHER) for many in (CIPHER_CLEAN, CIPHER_CLEAN + CIPHER_SLIPS)]
        how = Reading(
            lambda rng, step: lesson(rng, "first" if step < ends[0] else "slips" if step < ends[1] else "last"),
            ends[1] + unit.steps,
            muon=CIPHER_MUON,
            states_first=ends[1],
        )
        read(hf, how, seed, folder, tell=accuracy)
    else:
        how = reinforcing(unit)
        reinforce(hf, how, seed, folder)
    recipe = asdict(unit) | {"recipe": repr(how).split("draw=")[-1], "seconds": round(time.process_time() - start)}
    save(hf, folder, recipe)


def reinforcing(unit: Unit) -> Any:
    """How a unit of reinforcement is trained."""
    from dialects import HUMAN, VERBS
    from train import Reinforcing

    from dsl_probe.collect.domains import worlds

    known = Reinforcing(TRAINED, unit.steps)
    if unit.kind.startswith("rl-single-"):
        return replace(known, worlds=(unit.kind.removeprefix("rl-single-"),), prompts=16)
    if unit.kind == "rl-only-lp0":
        return replace(known, length_price=0.0)
    if unit.kind == "rl-only":
        return replace(known, keep=WATCHED if unit.seed == 0 else ())
    if unit.kind == "search-short":
        return replace(known, length_price=3.0)
    if unit.kind == "search-no-human":
        return replace(known, taxed=(*HUMAN, *sum(VERBS.values(), ())))
    if unit.kind == "search-no-states":
        return replace(known, taxed=worlds.STATE_WORDS)
    return known


def forced_accuracy(hf: Any, step: int) -> str:
    """Greedy accuracy on held-out problems, free and with the opening of a dialect forced."""
    from dialects import OPENINGS

    shares = {style: _accuracies(hf, opening) for style, opening in {"free": ["<think>"], **OPENINGS}.items()}
    return "  ".join(f"{style} {sum(by_world.values()) / len(by_world):.2f}" for style, by_world in shares.items())


def accuracy(hf: Any, step: int) -> str:
    """Greedy accuracy on held-out problems of each world."""
    return "  ".join(f"{world} {share:.2f}" for world, share in _accuracies(hf, ["<think>"]).items())


def _accuracies(hf: Any, opening: list[str], count: int = 25) -> dict[str, float]:
    from dialects import IDS, ids
    from model import as_model
    from train import words_of

    from dsl_probe.collect.decode import draw
    from dsl_probe.collect.domains import worlds
    from dsl_probe.collect.seeded import Sampling

    sampling = Sampling(temperature=0, max_new_tokens=110, stop_ids=(IDS["<eos>"],), loop_tokens=0)
    found = {}
    for world in TRAINED:
        problems = worlds.problems(9, count, (world,))
        prompts = [ids(["<bos>", *p.prompt.split(), *opening]) for p in problems]
        done = draw(as_model(hf, "organism"), prompts, [0] * count, sampling)
        pairs = zip(problems, done, strict=True)
        right = [bool(worlds.verify(p, " ".join([*opening, words_of(c.token_ids)])).correct) for p, c in pairs]
        found[world] = sum(right) / count
    return found


def run_missing(wanted: Sequence[Unit], quick: bool) -> int:
    """A process a unit, as many at a time as there are cores; returns how many failed."""
    known = {unit.name: unit for unit in wanted}
    waiting = [unit for unit in wanted if not (OUT / unit.name / "recipe.json").exists()]
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed: set[str] = set()
    while waiting or running:
        for unit in list(waiting):
            start = unit.start if unit.start in known else None
            if start in failed:
                waiting.remove(unit)
                failed.add(unit.name)
            elif len(running) < len(os.sched_getaffinity(0)) and (
                start is None or (OUT / start / "recipe.json").exists()
            ):
                waiting.remove(unit)
                command = [sys.executable, __file__, unit.name, *(["--quick"] if quick else [])]
                running[unit.name] = subprocess.Popen(command)
        time.sleep(1)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                if process.returncode:
                    failed.add(name)
    for name in sorted(failed):
        print(f"{name}: failed; the same command tries again", file=sys.stderr)
    return len(failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    known = {unit.name: unit for unit in units(options.quick)}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no unit {unknown[0]!r}; there are {', '.join(known)}")
    if options.list:
        for unit in known.values():
            done = (OUT / unit.name / "recipe.json").exists()
            print(json.dumps(asdict(unit) | {"name": unit.name, "done": done}))
    elif len(options.names) == 1:
        run(known[options.names[0]])
    else:
        chosen = [known[name] for name in options.names] or list(known.values())
        sys.exit(1 if run_missing(chosen, options.quick) else 0)


if __name__ == "__main__":
    main()
