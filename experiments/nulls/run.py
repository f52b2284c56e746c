"""Pairs with no difference: does the comparison stay silent?

    python experiments/nulls/run.py runs/demo [--splits 20] [--out experiments/nulls/RESULTS.md]

Every model of a run against itself; and random splits of one model: within problems where it has two or more samples of
a problem (paired), and of whole problems (unpaired). Each split is tested at equal units and raw, over all domains and
in each; the headline is the family `all` at equal units.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from dsl_probe.share.compare import compare_rows
from dsl_probe.share.comparison import CompareConfig
from dsl_probe.share.contrast import ALPHA
from dsl_probe.share.corpus import Corpus
from dsl_probe.share.validate.splits import split_problems, split_within
from dsl_probe.store import Run
from dsl_probe.types import UserError

MODELS = ("Qwen/Qwen2.5-3B-Instruct", "Qwen2.5-3B-Instruct+GRPO(RG-games)", "starzmustdie/Qwen-2.5-3B-rlft")


def discoveries(corpus: Corpus, a: np.ndarray, b: np.ndarray, seed: int) -> dict[tuple[str, str], int]:
    """Motifs with p_adj <= .05 by (domain, matched)."""
    table, _, _ = compare_rows(corpus, CompareConfig("a", "b", permutations=499, seed=seed), a, b, tests=("rate",))
    frame = table.select(["domain", "matched", "p_adj"]).to_pandas()
    return (frame.p_adj <= ALPHA).groupby([frame.domain, frame.matched]).sum().to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    corpus = Corpus.load(Run(options.run), ["model"])
    model = np.array(corpus.traces["model"].to_pylist(), object)
    lines = [
        "| model | split | splits | with any discovery, headline | 97.5 % bound | families with any discovery |",
        "|---|---|---|---|---|---|",
    ]
    bad = False
    for name in MODELS:
        rows = np.flatnonzero(model == name)
        kinds = {"with itself": None, "within problems": split_within, "whole problems": split_problems}
        for kind, split in kinds.items():
            headline, families, any_family, done = 0, 0, 0, 0
            for seed in range(options.splits if split else 1):
                a, b = split(rows, corpus.problem, np.random.default_rng(seed)) if split else (rows, rows)
                try:
                    found = discoveries(corpus, a, b, seed)
                except UserError:
                    break
                done += 1
                headline += found[("all", "equal units")] > 0
                families += len(found)
                any_family += sum(n > 0 for n in found.values())
                print(f"{name}, {kind}, seed {seed}: {found[('all', 'equal units')]}", file=sys.stderr, flush=True)
            if not done:
                continue
            bound = int(stats.binom.ppf(0.975, done, ALPHA)) if split else 0
            bad |= headline > bound
            lines.append(f"| {name} | {kind} | {done} | {headline} | {bound} | {any_family} of {families} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(
            "# Pairs with no difference: result\n\n`experiments/nulls/run.sh` writes this file.\n\n" + text
        )
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
