"""Splits with nothing to find, of real traces: how often does the comparison find something?

    python experiments/calibration/nulls.py runs/real [--splits 200] [--log LOG.jsonl]

A line a split goes to the log, from which the same command goes on; it ends by writing NULLS.md and nulls.svg here.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from tables import write_report

from dsl_probe.share.comparison import EQUAL
from dsl_probe.share.contrast import ALPHA, RAW, TestSettings, contrast
from dsl_probe.share.corpus import Corpus, Sample, choose_sample, cuts, trace_counts, unit_counts
from dsl_probe.share.validate import splits
from dsl_probe.share.vocab import jensen_shannon
from dsl_probe.store import Run

MODEL = "Qwen2.5-3B-Instruct+GRPO(RG-games)"
KINDS = ("within problems", "whole problems", "cut", "by length")
PERMUTATIONS, MIN_PROBLEMS, MIN_UNITS = 999, 10, 20
# Motifs in so many problems or more: their randomised p is looked at; of so many a split.
FREQUENT, DRAWN = 20, 200
# Where the distributions of p are kept.
GRID = np.arange(1, 201) / 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--log", type=Path, default=Path("runs/nulls.jsonl"))
    options = parser.parse_args()
    corpus = Corpus.load(Run(options.run), ["model"])
    rows = np.flatnonzero(np.array(corpus.traces["model"].to_pylist(), object) == MODEL)
    corpus = splits.only(corpus, rows)
    done = [json.loads(line) for line in options.log.read_text().splitlines()] if options.log.exists() else []
    known = {(row["kind"], row["seed"]) for row in done}
    with options.log.open("a") as log:
        for kind, seed in [("with itself", 0), *((kind, seed) for seed in range(options.splits) for kind in KINDS)]:
            if (kind, seed) not in known:
                begun = time.perf_counter()
                row = {"kind": kind, "seed": seed, **one_split(corpus, rows, kind, seed)}
                row["seconds"] = round(time.perf_counter() - begun, 2)
                log.write(json.dumps(row) + "\n")
                log.flush()
                done.append(row)
                print(f"{kind}, seed {seed}: {row['discoveries']} in {row['seconds']} s", file=sys.stderr, flush=True)
    write_report(done, GRID, Path(__file__).parent)


def one_split(corpus: Corpus, rows: np.ndarray, kind: str, seed: int) -> dict[str, Any]:
    """The headline family of one split, at equal units; for the kinds that raw text tells apart also raw."""
    rng = np.random.default_rng([seed, (*KINDS, "with itself").index(kind)])
    split: dict[str, Callable[[], splits.Sides]] = {
        "with itself": lambda: (rows, rows),
        "within problems": lambda: splits.split_within(rows, corpus.problem, rng),
        "whole problems": lambda: splits.split_problems(one_each(corpus, rows, rng), corpus.problem, rng),
        "cut": lambda: splits.split_within(rows, corpus.problem, rng),
        # Two samples a problem have one such split; half of the problems have many.
        "by length": lambda: splits.split_by_length(half(corpus, rows, rng), corpus.problem, corpus.units, rng),
    }
    a, b = split[kind]()
    used = splits.cut_side(corpus, (a, b), rng) if kind == "cut" else corpus
    sample = choose_sample(used, a, b, MIN_PROBLEMS, MIN_UNITS)
    settings = TestSettings(PERMUTATIONS, seed, MIN_PROBLEMS, False, ("rate",))
    found = contrast(used, sample, EQUAL, settings)
    row = {"problems": len(sample.item_domain), "paired": sample.paired, **summed(found)}
    if kind == "with itself":
        totals = [np.asarray(m.sum(0)).ravel() for m in unit_counts(used, sample)]
        return row | {"jensen_shannon": jensen_shannon(*totals)}
    row |= naive(found, *units_of(used, sample))
    if kind in ("cut", "by length"):
        row["raw"] = summed(contrast(used, sample, RAW, settings))["discoveries"]
    if kind != "by length":
        p = np.fromiter(randomised(used, sample, rng), float)
        row |= {"one_p": p[0], "pooled": below(p).tolist(), "drawn": len(p)}
    return row


def one_each(corpus: Corpus, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random sample of each problem."""
    order = rng.permutation(rows)
    return np.sort(order[np.unique(corpus.problem[order], return_index=True)[1]])


def half(corpus: Corpus, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All samples of a random half of the problems."""
    return splits.split_problems(rows, corpus.problem, rng)[0]


def summed(found: dict[str, Any]) -> dict[str, Any]:
    """Discoveries, motifs tested, and the distribution of their p: how many are no larger than each point of GRID."""
    sure = int((found["p_adj"] <= ALPHA).sum())
    return {"discoveries": sure, "tested": len(found["p"]), "p": below(found["p"]).tolist()}


def below(p: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(p), GRID + 1e-12, "right")


def units_of(corpus: Corpus, sample: Sample) -> tuple[int, int]:
    keep = cuts(sample, corpus.units)
    return int(keep[sample.group == 0].sum()), int(keep[sample.group == 1].sum())


def naive(found: dict[str, Any], units_a: int, units_b: int) -> dict[str, Any]:
    """Weighted log-odds as usually used: each occurrence counts as independent (Monroe, Colaresi and Quinn 2008).

    The prior is the pooled rate, worth 1,000 units. Share of motifs with |z| > 1.96, and how many Benjamini and
    Hochberg's procedure calls at .05.
    """
    from scipy import stats

    y = np.stack([found["count_a"], found["count_b"]]).astype(float)
    units = np.array([units_a, units_b], float)
    prior = 1_000 * y.sum(0) / units.sum()
    rest = units[:, None] + 1_000 - y - prior
    delta = np.subtract(*np.log((y + prior) / rest))
    z = delta / np.sqrt((1 / (y + prior) + 1 / rest).sum(0))
    q = stats.false_discovery_control(2 * stats.norm.sf(np.abs(z)))
    return {"naive_share": float((np.abs(z) > 1.96).mean()), "naive_bh": int((q <= ALPHA).sum())}


def randomised(corpus: Corpus, sample: Sample, rng: np.random.Generator) -> Iterator[float]:
    """Randomised permutation p of motifs drawn at random of those in FREQUENT problems or more: uniform under the null.

    The statistic is counted anew here, from rates, and compared with that of 999 permutations of its own.
    """
    keep = cuts(sample, corpus.units)
    entry, motif, count = trace_counts(corpus, sample.rows, keep)
    per_item = np.zeros((2, len(sample.item_domain)))
    np.add.at(per_item, (sample.group, sample.item), 1)
    rate = count / np.maximum(keep[entry], 1) / per_item[sample.group[entry], sample.item[entry]]
    sign = np.where(sample.group[entry] == 0, 1.0, -1.0) if sample.paired else 1.0
    shape = (len(sample.item_domain), corpus.motifs.num_rows)
    value = sparse.csc_matrix((rate * sign, (sample.item[entry], motif)), shape)
    held = sparse.csc_matrix((np.ones(len(entry)), (sample.item[entry], motif)), shape)
    usable = (np.diff(held.indptr) >= FREQUENT) & ~corpus.motifs["format"].to_numpy()
    drawn = rng.choice(np.flatnonzero(usable), DRAWN, replace=False)
    weights = flips(sample, rng)
    total = np.abs(np.asarray(value[:, drawn].T @ weights))
    bar = total[:, :1]
    above = (total[:, 1:] > bar + 1e-12).sum(1)
    ties = (np.abs(total[:, 1:] - bar) <= 1e-12).sum(1)
    yield from (above + rng.random(DRAWN) * (ties + 1)) / (PERMUTATIONS + 1)


def flips(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """Weights of the problems: observed in column 0, permuted in the others. float64[problems, 1 + PERMUTATIONS]."""
    n = len(sample.item_domain)
    if sample.paired:
        return np.concatenate([np.ones((n, 1)), rng.choice([-1.0, 1.0], (n, PERMUTATIONS))], 1)
    in_a = np.zeros(n, bool)
    in_a[sample.item[sample.group == 0]] = True
    weights = np.zeros((n, 1 + PERMUTATIONS))
    for domain in np.unique(sample.item_domain):
        items = np.flatnonzero(sample.item_domain == domain)
        a = in_a[items]
        base = np.where(a, 1 / max(a.sum(), 1), -1 / max((~a).sum(), 1)) * len(items)
        weights[items, 0] = base
        weights[items, 1:] = rng.permuted(np.repeat(base[:, None], PERMUTATIONS, 1), axis=0)
    return weights


if __name__ == "__main__":
    main()
