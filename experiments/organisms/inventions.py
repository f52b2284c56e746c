"""Does a rewarded model give a word a job that no word of its base's training text had? The search units, side by side.

    python experiments/organisms/inventions.py [--problems 500]        -> INVENTIONS.md

All start from base-human, in whose text nonce words stand only as stray tokens. A word is new to a world where it is
neither a word of the three dialects, nor a verb of that world, nor one of its states. Whether new words have a job is
asked in three ways: do they tell of the state, operation or step they stand at (mutual information above a permutation
null); does another word in their place cost anything; and is the answer right though states were not written, so that
something else must have carried them. Needs evaluate.py's JSON of these units.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from evaluate import free
from interventions import chain_words, states_in
from model import as_model, load
from nonces import LABELS, events, meanings
from rates import share
from tables import number, table, triple
from train import words_of
from units import HERE, OUT, SEARCHES, TRAINED
from vocabulary import WORDS, connectives, kind_of

from dsl_probe.collect.domains import worlds
from dsl_probe.types import Problem

LINEAGE = 1
TOP = 4
KINDS = {
    "human": ("dialect", "verb"),
    "other human words": ("human",),
    "nonces, spare and states": ("nonce", "spare", "other"),
}


def new_words(world: str) -> set[str]:
    """Words that stand in no dialect of a world and are none of its states."""
    own = {word for part in worlds.SHAPE[world] for word in part}
    return {word for word in WORDS if word not in own and kind_of(world, word) not in ("dialect", "verb")}


def measured(unit: str, n: int) -> dict[str, Any]:
    """What a unit writes at temperature 1 on n held-out problems a world."""
    model = as_model(load(OUT / unit), unit)
    counts: Counter[tuple[str, str]] = Counter()
    chains, skipped, written, operations = {}, [], 0, 0
    for world in TRAINED:
        problems = worlds.problems(0, n, (world,))
        texts = [words_of(c.token_ids) for c in free(model, problems, 1.0)]
        counts.update((world, word) for text in texts for word in connectives(world, text))
        chains[world] = [events(p, text, new_words(world)) for p, text in zip(problems, texts, strict=True)]
        for problem, text in zip(problems, texts, strict=True):
            states = len(states_in(world, chain_words(text) or []))
            written, operations = written + states, operations + len(worlds.states(problem.prompt))
            if chain_words(text) is not None and states < len(worlds.states(problem.prompt)):
                skipped.append(right(problem, text))
    return {"counts": counts, "meanings": meanings(chains), "skipped": skipped, "written": written / operations}


def right(problem: Problem, text: str) -> bool:
    """Whether a completion is right."""
    return bool(worlds.verify(problem, text).correct)


def risen(counts: Counter[tuple[str, str]], base: Counter[tuple[str, str]]) -> list[tuple[str, float, float]]:
    """The connectives whose share grew most, over all worlds: (word, share, share in the base)."""
    here, there = Counter(), Counter()
    for (_, word), times in counts.items():
        here[word] += times
    for (_, word), times in base.items():
        there[word] += times
    shares = [(w, here[w] / max(here.total(), 1), there[w] / max(there.total(), 1)) for w in here]
    return sorted(shares, key=lambda row: (row[2] - row[1], row[0]))[:TOP]


def told(found: dict[str, dict[str, Any]]) -> str:
    """The largest excess of information over worlds and labels, its p over all of them."""
    rows = [
        (row[label]["excess"], row[label]["p_adj"], world, label)
        for world, row in found.items()
        for label in LABELS
        if label in row
    ]
    if not rows:
        return "too few"
    excess, p, world, label = max(rows)
    return f"{number(excess, 3, sign=True)} of the {label} in {world} (p {number(p, 3)})"


def row(unit: str, found: dict[str, Any], base: dict[str, Any], evaluation: dict[str, Any]) -> list[str]:
    """A unit's row of the first table."""
    counts = found["counts"]
    kinds = Counter()
    for (world, word), times in counts.items():
        kinds[kind_of(world, word)] += times
    skipped = share(found["skipped"])
    rates = evaluation["accuracy"]["all"]
    blanked = evaluation["edits"]["all"]["blanked"]["accuracy"]["value"]
    return [
        unit,
        number(rates["greedy"]["value"]),
        number(rates["sampled"]["value"]),
        number(rates["sampled"]["length"]["value"], 1),
        number(blanked),
        number(found["written"]),
        f"{skipped['n']}: {triple((skipped['value'], skipped['low'], skipped['high']))}",
        *(number(sum(kinds[k] for k in names) / max(kinds.total(), 1)) for names in KINDS.values()),
        ", ".join(f"`{word}` {number(now)} ({number(before)})" for word, now, before in risen(counts, base["counts"])),
        told(found["meanings"]),
        exchanged(evaluation),
    ]


def exchanged(evaluation: dict[str, Any]) -> str:
    """The change in accuracy where the connectives of half a chain are replaced by random nonces."""
    change = evaluation["halves"]["all"].get("nonces", {}).get("difference")
    return triple((change["value"], change["low"], change["high"]), sign=True) if change else "–"


HEADS = (
    "unit",
    "greedy",
    "T=1",
    "tokens",
    "chain blanked",
    "states written an operation",
    "chains with too few states: right",
    *KINDS,
    "risen most: share (in the base)",
    "new words tell, bits above null",
    "connectives of half a chain replaced by nonces",
)


def examples(units: Sequence[str], evaluations: dict[str, Any]) -> list[str]:
    """A completion of each unit at temperature 1, the first problem of each world."""
    lines = []
    for unit in units:
        lines += ["", f"`{unit}`", "", "```"]
        lines += [f"{e['prompt']}  {e['sampled']}" for w, e in evaluations[unit]["examples"].items() if w in TRAINED]
        lines += ["```"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500, help="held-out problems a world")
    parser.add_argument("--out", type=Path, default=HERE / "INVENTIONS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [f"search-{name}-{LINEAGE}-{seed}" for name in SEARCHES for seed in (0, 1)]
    units = [f"base-human-{LINEAGE}-0", *(unit for unit in wanted if (OUT / "evaluation" / f"{unit}.json").exists())]
    evaluations = {unit: json.loads((OUT / "evaluation" / f"{unit}.json").read_text()) for unit in units}
    found = {unit: measured(unit, options.problems) for unit in units}
    rows = [row(unit, found[unit], found[units[0]], evaluations[unit]) for unit in units]
    missing = [unit for unit in wanted if unit not in units]
    parts = [
        "# The search for inventions: figures",
        "",
        f"Made by `python experiments/organisms/inventions.py`; {options.problems} held-out problems a world, at "
        "temperature 1 where nothing else is said. What they show is said in README.md.",
        "",
        table(HEADS, rows),
        *(["", f"Not trained: {', '.join(missing)}."] if missing else []),
        "",
        "## Examples",
        *examples(units, evaluations),
    ]
    options.out.write_text("\n".join(parts) + "\n")
    print("\n".join(parts))


if __name__ == "__main__":
    main()
