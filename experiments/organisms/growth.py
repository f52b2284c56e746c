"""How the words of a rewarded model come up: traces of the kept checkpoints of the two watched runs.

    python experiments/organisms/growth.py [--out data/organisms] [--problems 50]

Collects one sample at temperature 1 of the same held-out problems from every step-N of rl-only-LINEAGE-0 (units.py
keeps them; step 0 is the base), into $ORGANISMS/growth-LINEAGE, and writes growth-LINEAGE.parquet with a column `step`.
Then GROWTH.md here: accuracy, length, and the shares that nonces and human dialects have of the connectives, by step.
"""

import argparse
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rates import share
from tables import number, table, triple
from units import HERE, LINEAGES, OUT, TRAINED
from vocabulary import connectives, kind_of

from dsl_probe.collect.domains import worlds
from dsl_probe.collect.sample import collect
from dsl_probe.demo import organism_sampling
from dsl_probe.store import Run

TOP = 3


def collected(lineage: int, problems: int) -> pa.Table:
    """The traces of every checkpoint of a lineage's watched run; those that are there already are kept."""
    run = Run.create(OUT / f"growth-{lineage}")
    config = organism_sampling(
        checkpoints=str(OUT / f"rl-only-{lineage}-0" / "step-*"),
        name=f"rl-only-lineage{lineage}",
        regime="rl_only",
        start_model="base",
        start_ckpt="base",
        reasoning_sft=False,
        domains=worlds.NAMES,
        n=problems,
        samples=1,
    )
    collect(run, config)
    return pa.concat_tables([pq.read_table(path) for path in sorted((run.path / "traces").glob("*.parquet"))])


def rows(traces: list[dict[str, Any]]) -> list[list[str]]:
    """A row a step, over the four worlds of training."""
    found = []
    for step in sorted({trace["step"] for trace in traces}):
        part = [t for t in traces if t["step"] == step and t["domain"] in TRAINED]
        words = [(t["domain"], word) for t in part for word in connectives(t["domain"], t["text"])]
        kinds = [kind_of(*word) for word in words]
        right = share([bool(t["correct"]) for t in part])
        counts: dict[str, int] = {}
        for _, word in words:
            counts[word] = counts.get(word, 0) + 1
        top = sorted(counts, key=lambda word: (-counts[word], word))[:TOP]
        found.append(
            [
                str(step),
                triple((right["value"], right["low"], right["high"])),
                number(sum(len(t["token_ids"]) for t in part) / len(part), 1),
                number(kinds.count("nonce") / len(kinds)),
                number((kinds.count("dialect") + kinds.count("verb")) / len(kinds)),
                ", ".join(f"`{word}` {number(counts[word] / len(words))}" for word in top),
            ]
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "data" / "organisms")
    parser.add_argument("--problems", type=int, default=50, help="held-out problems a world")
    options = parser.parse_args()
    parts = [
        "# Growth of a rewarded model's words",
        "",
        "Made by `python experiments/organisms/growth.py`. The four worlds of training, "
        f"{options.problems} held-out problems each, one sample at temperature 1, the same problems at every step. "
        "Intervals by problem; a step's neighbours are almost the same model, so they move together.",
    ]
    heads = ("step", "accuracy", "tokens", "nonces among connectives", "dialect words", "most frequent")
    for lineage in LINEAGES:
        traces = collected(lineage, options.problems)
        pq.write_table(traces, options.out / f"growth-{lineage}.parquet", compression="zstd")
        parts += ["", f"## Lineage {lineage}", "", table(heads, rows(traces.to_pylist()))]
    (HERE / "GROWTH.md").write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
