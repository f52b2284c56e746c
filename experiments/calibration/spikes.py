"""Motifs planted in real traces: how many problems must one differ in to be found?

    python experiments/calibration/spikes.py runs/real

`dsl-probe validate` with more motifs, problems and splits than its defaults, on a model with two samples of a problem
(paired). Ends by writing SPIKES.md here; what is done is not repeated.
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd

from dsl_probe.collect.steps import wilson
from dsl_probe.share.validate import ValidateConfig, validate
from dsl_probe.share.validate.recall import BINS
from dsl_probe.share.validate.spikes import REPURPOSED
from dsl_probe.store import Run

MODELS = {"paired": "Qwen2.5-3B-Instruct+GRPO(RG-games)", "unpaired": "starzmustdie/Qwen-2.5-3B-rlft"}
SPLITS = 30
LEAST = {30: 0.8, 40: 0.95}
TESTS = {"found": "rate", "found_presence": "presence"}

WORDS = (
    "d: problems in which only A's side holds the planted motif, less those in which only B's does. s, for words that",
    "both hold: d abs(d) / n, n the problems in which one side alone holds it; so many problems of one side and none",
    "of the other are as hard to tell from chance. Rate: p_adj <= .05, the headline; presence: p_adj_presence <= .05.",
    "In brackets 95 % limits; number of motifs and splits.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    options = parser.parse_args()
    run = Run(options.run)
    lines = ["# Planted motifs: result", "", "`experiments/calibration/spikes.py` writes this file.", "", *WORDS]
    for design, model in MODELS.items():
        begun = time.perf_counter()
        config = ValidateConfig(
            f"model={model}",
            nulls=False,
            motifs=6,
            problems=90,
            splits=SPLITS,
            most_traces=5_000,
            name=f"spikes-{design}",
        )
        result = validate(run, config)
        print(f"{model}: {time.perf_counter() - begun:.0f} s")
        rows = run.frame(f"validations/{result.id}/validation")
        lines += ["", f"## {model}, {result.design}", ""]
        lines += [f"- {sentence}" for sentence in result.reading]
        tables = [by_kind(rows), by_bin(rows), by_background(rows)]
        lines += ["", about(result, rows)]
        for table in tables:
            lines += ["", *table]
    Path(__file__).with_name("SPIKES.md").write_text("\n".join(lines) + "\n")


def about(result, rows: pd.DataFrame) -> str:
    motifs = rows[rows.what == "spike"].motif.nunique()
    tested = rows[(rows.what == "spike") & (rows.d >= 10)].tested.astype(bool).mean()
    return (
        f"{motifs} motifs in {result.problems_each} problems each, {result.corpora} corpora, at most "
        f"{result.planted:.2%} of the units of any planted; {SPLITS} splits of each. A motif with half or more of its "
        f"units in common with the planted one was mined and tested in {tested:.1%} of the splits where d >= 10."
    )


def share(some: pd.Series) -> str:
    n, found = len(some), int(some.sum())
    if not n:
        return "-"
    low, high = wilson(found, n)
    return f"{found / n:.2f} ({low:.2f} to {high:.2f}; {n})"


def by_kind(rows: pd.DataFrame) -> list[str]:
    """Against what is wanted: .8 from 30, .95 from 40 problems on."""
    wanted = [f"{name}, d >= {d}, wanted {least}" for name in TESTS.values() for d, least in LEAST.items()]
    lines = ["| kind | " + " | ".join(wanted) + " |", "|---" * (len(wanted) + 1) + "|"]
    spiked = rows[rows.what == "spike"]
    for kind in [*(k for k in spiked.kind.unique() if k != REPURPOSED), "all but re-purposed"]:
        own = spiked[(spiked.kind == kind) | ((kind == "all but re-purposed") & (spiked.kind != REPURPOSED))]
        cells = [share(own[own.d >= d][column].astype(bool)) for column in TESTS for d in LEAST]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def by_bin(rows: pd.DataFrame) -> list[str]:
    """All kinds but re-purposed; whole: with nearly all of its units."""
    own = rows[(rows.what == "spike") & (rows.kind != REPURPOSED)]
    lines = ["| d | " + " | ".join([*TESTS.values(), "rate, whole"]) + " |", "|---" * (len(TESTS) + 2) + "|"]
    for low, high in pairwise(BINS):
        inside = own[(own.d >= low) & (own.d < high)]
        if len(inside):
            cells = [share(inside[column].astype(bool)) for column in (*TESTS, "whole")]
            name = f"below {high}" if low < 0 else f"{low} or more" if high > 1_000 else f"{low} to {high - 1}"
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def by_background(rows: pd.DataFrame) -> list[str]:
    """Re-purposed words by the share of traces that held them before."""
    own = rows[(rows.what == "spike") & (rows.kind == REPURPOSED)]
    bins = [(10, 20), (20, 30), (30, 40), (40, 1_000_000)]
    heads = [f"s {low} to {high - 1}" if high < 1_000 else f"s >= {low}" for low, high in bins]
    lines = ["| word | traces that hold it | " + " | ".join(heads) + " |", "|---" * (len(bins) + 2) + "|"]
    for (background, word), some in own.groupby(["background", "motif"]):
        cells = [
            share(some[(some.one_sided >= low) & (some.one_sided < high)].found.astype(bool)) for low, high in bins
        ]
        lines.append(f"| {word} | {background:.1%} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
