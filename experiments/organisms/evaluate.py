"""What the trained organisms do on held-out problems: one JSON a unit.

    python experiments/organisms/evaluate.py                  every complete unit that is not evaluated yet
    python experiments/organisms/evaluate.py sft-0-0          one
    python experiments/organisms/evaluate.py --quick          40 problems a world

Writes $ORGANISMS/evaluation/UNIT.json (runs/organisms by default). A unit whose weights and number of problems are
those of its JSON is left alone. The same command gives the same bytes, on one machine.
"""

import argparse
import hashlib
import json
import math
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dialects import IDS, OPENINGS, ids
from interventions import chain_words, donors, first_half, half_edits, last_state_corrupted, shuffled
from model import as_model, load
from nonces import events, meanings
from rates import difference, mean, share
from train import words_of
from units import OUT, TRAINED
from vocabulary import between, connectives, count, language, within

from dsl_probe.collect.decode import draw
from dsl_probe.collect.domains import worlds
from dsl_probe.collect.seeded import Completion, Sampling, key_of
from dsl_probe.types import Problem, UserError

VERSION = 1
LONGER = tuple(f"{name}+{more}" for more in (1, 2) for name in TRAINED)
# Problems of the longer sets, of the edits and of the openings: most of the time goes there, and fewer tell enough.
FEWER = 200
NEW_TOKENS, ANSWER_TOKENS, BATCH = 110, 8, 256


@dataclass(frozen=True)
class Job:
    """A prompt to go on from, in words. `follow`: the answer of who reads the edited state or the lent chain."""

    edit: str
    problem: Problem
    words: list[str]
    follow: str | None = None


Outcomes = dict[str, dict[str, tuple[bool, bool | None]]]  # edit -> problem id -> correct, followed


def write(
    model: Any, prompts: Sequence[Sequence[str]], keys: Sequence[int], temperature: float, new: int
) -> list[Completion]:
    """A completion of each prompt (words)."""
    sampling = Sampling(temperature=temperature, max_new_tokens=new, stop_ids=(IDS["<eos>"],), loop_tokens=0)
    return draw(model, [ids(p) for p in prompts], keys, sampling, size=BATCH)


def free(model: Any, problems: Sequence[Problem], temperature: float) -> list[Completion]:
    """A completion of each problem, nothing forced."""
    keys = [key_of(0, p.id, 0) for p in problems]
    return write(model, [["<bos>", *p.prompt.split()] for p in problems], keys, temperature, NEW_TOKENS)


def accuracy(problems: Sequence[Problem], done: Sequence[Completion]) -> dict[str, Any]:
    """Share right with its interval, mean length in tokens with its own, share of each finish, of closed chains."""
    right = [bool(worlds.verify(p, words_of(c.token_ids)).correct) for p, c in zip(problems, done, strict=True)]
    return share(right) | {
        "length": mean([len(c.token_ids) for c in done]),
        "finish": {name: sum(c.finish == name for c in done) / len(done) for name in ("stop", "length")},
        "closed": sum(chain_words(words_of(c.token_ids)) is not None for c in done) / len(done),
    }


def opened(model: Any, problems: Sequence[Problem]) -> dict[str, Any]:
    """Greedy accuracy with the first words of a human dialect forced: is the dialect there to be called for?"""
    found = {}
    for style, opening in OPENINGS.items():
        done = write(
            model, [["<bos>", *p.prompt.split(), *opening] for p in problems], [0] * len(problems), 0, NEW_TOKENS
        )
        right = [bool(worlds.verify(p, words_of(c.token_ids)).correct) for p, c in zip(problems, done, strict=True)]
        found[style] = share(right)
    return found


# ---------------------------------------------------------------- edits


def whole_jobs(world: str, problems: Sequence[Problem], texts: Sequence[str]) -> list[Job]:
    """Every edit of the finished chain of each completion that has one, closed, the answer still to be given."""
    chains = [chain_words(text) for text in texts]
    answers = [worlds.verify(p, text).answer for p, text in zip(problems, texts, strict=True)]
    lent = donors([len(worlds.states(p.prompt)) for p in problems], answers, [p.target for p in problems])
    jobs = []
    for i, (problem, chain) in enumerate(zip(problems, chains, strict=True)):
        if chain is None:
            continue
        rng = random.Random(f"edits/{problem.id}")
        edits: dict[str, tuple[list[str], str | None]] = {
            "same": (chain, None),
            "blanked": ([], None),
            "shuffled": (shuffled(chain, rng), None),
        }
        corrupted = last_state_corrupted(world, chain, problem.target, rng)
        if corrupted:
            edits["last state"] = corrupted
        donor = lent[i]
        if donor is not None:
            edits["lent chain"] = (chains[donor] or [], answers[donor])
        start = ["<bos>", *problem.prompt.split(), "<think>"]
        jobs += [Job(edit, problem, [*start, *words, "</think>"], follow) for edit, (words, follow) in edits.items()]
    return jobs


def half_jobs(world: str, problems: Sequence[Problem], texts: Sequence[str]) -> list[Job]:
    """Half of each closed chain, in all versions, to be gone on with."""
    jobs = []
    for problem, text in zip(problems, texts, strict=True):
        chain = chain_words(text)
        half = first_half(world, chain) if chain else None
        if half is None:
            continue
        start = ["<bos>", *problem.prompt.split(), "<think>"]
        edits = half_edits(world, half, random.Random(f"halves/{problem.id}"))
        jobs += [Job(edit, problem, [*start, *words]) for edit, words in edits.items()]
    return jobs


def run_jobs(model: Any, jobs: Sequence[Job], new: int) -> Outcomes:
    """What each job led to, greedily."""
    found: Outcomes = {}
    for job, completion in zip(jobs, write(model, [j.words for j in jobs], [0] * len(jobs), 0, new), strict=True):
        tail = words_of(completion.token_ids)
        verdict = worlds.verify(job.problem, tail if new == NEW_TOKENS else f"</think> {tail}")
        followed = None if job.follow is None else verdict.answer == job.follow
        found.setdefault(job.edit, {})[job.problem.id] = bool(verdict.correct), followed
    return found


def summary(outcomes: Outcomes, names: Sequence[str]) -> dict[str, Any]:
    """World (and "all", all problems of these worlds together) -> edit -> accuracy, difference from "same", followed.

    The difference is paired: the same problems, their chains unedited.
    """
    found: dict[str, Any] = {}
    for name in [*names, "all"]:
        found[name] = {}
        for edit, done in outcomes.items():
            rows = {p: row for p, row in done.items() if name == "all" or p.startswith(f"{name}/")}
            right = [correct for correct, _ in rows.values()]
            before = [outcomes["same"][p][0] for p in rows]
            followed = [f for _, f in rows.values() if f is not None]
            row = {"accuracy": share(right), "difference": difference(right, before)}
            found[name][edit] = row | ({"followed": share(followed)} if followed else {})
    return found


# ---------------------------------------------------------------- one unit


def evaluate(folder: Path, n: int) -> dict[str, Any]:
    """All measures of a unit on n problems a world."""
    model = as_model(load(folder), folder.name)
    recipe = json.loads((folder / "recipe.json").read_text())
    few = min(n, FEWER)
    sets = {name: worlds.problems(0, few if "+" in name else n, (name,)) for name in (*worlds.NAMES, *LONGER)}
    texts: dict[str, dict[str, list[str]]] = {}
    rates: dict[str, dict[str, Any]] = {}
    for how, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        done = {name: free(model, problems, temperature) for name, problems in sets.items()}
        texts[how] = {name: [words_of(c.token_ids) for c in part] for name, part in done.items()}
        groups = {name: [name] for name in sets} | {f"all{m}": [f"{w}{m}" for w in TRAINED] for m in ("", "+1", "+2")}
        for group, names in groups.items():
            problems, part = [p for name in names for p in sets[name]], [c for name in names for c in done[name]]
            rates.setdefault(group, {})[how] = accuracy(problems, part)
    edited = {name: (sets[name][:few], texts["greedy"][name][:few]) for name in TRAINED}
    whole = run_jobs(model, [j for w, parts in edited.items() for j in whole_jobs(w, *parts)], ANSWER_TOKENS)
    halves = run_jobs(model, [j for w, parts in edited.items() for j in half_jobs(w, *parts)], NEW_TOKENS)
    counts = {w: count([connectives(w, text) for text in texts["sampled"][w]]) for w in TRAINED}
    chains = {w: [events(*pair) for pair in zip(sets[w], texts["sampled"][w], strict=True)] for w in TRAINED}
    return {
        "version": VERSION,
        "unit": {part: recipe[part] for part in ("kind", "lineage", "seed")},
        "model": weights_hash(folder),
        "problems": {"a world": n, "longer, edits, openings": few},
        "accuracy": rates,
        "openings": opened(model, [p for name in TRAINED for p in sets[name][:few]]),
        "edits": summary(whole, TRAINED),
        "halves": summary(halves, TRAINED),
        "language": {w: language(w, texts["sampled"][w]) for w in worlds.NAMES},
        "sharing": {"between": between(counts), "within": within(counts)},
        "nonces": meanings(chains),
        "curve": curve(folder / "log.jsonl"),
        "examples": {w: {how: texts[how][w][0] for how in texts} | {"prompt": sets[w][0].prompt} for w in worlds.NAMES},
    }


def curve(log: Path, every: int = 25) -> list[dict[str, float]]:
    """Accuracy, length and entropy of the training samples after 0, 25, 50 ... updates, and of the last step.

    A step measures the weights that it starts with: step 1 of the log is 0 updates. After a resume the last line of a
    step counts.
    """
    if not log.exists():
        return []
    rows = {row["step"]: row for row in map(json.loads, log.read_text().splitlines())}
    wanted = [s for s in sorted(rows) if (s - 1) % every == 0 or s == max(rows)]
    return [{"updates": s - 1} | {part: rows[s][part] for part in ("accuracy", "length", "entropy")} for s in wanted]


def weights_hash(folder: Path) -> str:
    """Hash of the weights on disk."""
    return hashlib.blake2b((folder / "model.safetensors").read_bytes(), digest_size=16).hexdigest()


def plain(value: Any) -> Any:
    """The same for JSON: None where a number is not finite."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def is_done(path: Path, folder: Path, n: int) -> bool:
    """Whether the JSON there is of these weights, this number of problems and this version."""
    if not path.exists():
        return False
    old = json.loads(path.read_text())
    return (old["version"], old["problems"]["a world"], old["model"]) == (VERSION, n, weights_hash(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", nargs="*", help="names of units; all complete ones by default")
    parser.add_argument("--problems", type=int, default=500, help="held-out problems a world")
    parser.add_argument("--quick", action="store_true", help="40 problems a world, into evaluation-quick")
    options = parser.parse_args()
    torch.set_num_threads(1)
    n, out = (40, OUT / "evaluation-quick") if options.quick else (options.problems, OUT / "evaluation")
    complete = [path.parent.name for path in sorted(OUT.glob("*/recipe.json"))]
    for name in options.units:
        if name not in complete:
            raise UserError(f"no complete unit {name!r} in {OUT}; there are {', '.join(complete) or 'none'}.")
    out.mkdir(parents=True, exist_ok=True)
    for name in options.units or complete:
        path = out / f"{name}.json"
        if is_done(path, OUT / name, n):
            continue
        start, cpu = time.monotonic(), time.process_time()
        found = plain(evaluate(OUT / name, n))
        path.with_suffix(".tmp").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
        os.replace(path.with_suffix(".tmp"), path)
        spent = time.monotonic() - start, time.process_time() - cpu
        print(f"{name}: {spent[0]:.0f} s, {spent[1]:.0f} s of one core", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
