"""The design's claims on the model organisms, over lineages and seeds.

    ORGANISMS=runs/organisms python experiments/claims/organisms.py

Needs the trained units (`make organisms`). For each lineage: base, sft, and rl-only of three seeds are
sampled on the same held-out problems, mined together, and each RL-only unit is compared with sft, base beside them.
Writes ORGANISMS.md: each claim's verdict in each unit.
"""

import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from dsl_probe.collect.domains.worlds import NAMES, STATE_WORDS
from dsl_probe.collect.importer import import_traces
from dsl_probe.collect.sample import collect
from dsl_probe.demo import organism_sampling
from dsl_probe.mine.stage import mine_motifs
from dsl_probe.share.compare import compare
from dsl_probe.store import Run

HERE = Path(__file__).parent
ORGANISMS, RUNS = Path(os.environ.get("ORGANISMS", "runs/organisms")), Path("runs")
LINEAGES, SEEDS = (0, 1), (0, 1, 2)
KINDS = ("rl-only",)
PROBLEMS, SAMPLES = 100, 4
TRAINED = tuple(name for name in NAMES if name != "walk")  # the world that no fine-tuning saw


def lineage_run(lineage: int) -> Run:
    """Traces of all units of a lineage, mined together."""
    parts = []
    for name, regime in units(lineage):
        part = Run.create(RUNS / f"claims-{name}")
        config = organism_sampling(
            model=str(ORGANISMS / name),
            name=name,
            regime=regime,
            start_model=None if regime == "base" else f"base-{lineage}-0",
            start_ckpt="unknown" if regime == "base" else "base",
            reasoning_sft=regime == "sft",
            domains=NAMES,
            n=PROBLEMS,
            samples=SAMPLES,
        )
        print(name, asdict(collect(part, config))["accuracy"], file=sys.stderr, flush=True)
        parts.append(part.path)
    run = Run.create(RUNS / f"claims-lineage-{lineage}")
    import_traces(run, parts)
    mine_motifs(run)
    return run


def units(lineage: int) -> list[tuple[str, str]]:
    """Name and regime of the units of a lineage."""
    reinforced = [(f"{kind}-{lineage}-{seed}", "rl_only") for kind in KINDS for seed in SEEDS]
    return [(f"base-{lineage}-0", "base"), (f"sft-{lineage}-0", "sft"), *reinforced]


def main() -> None:
    columns, verdicts, readings = [], {}, []
    for lineage in LINEAGES:
        run = lineage_run(lineage)
        for name, regime in units(lineage):
            if regime != "rl_only":
                continue
            done = compare(
                run,
                a=f"model={name}",
                b=f"model=sft-{lineage}-0",
                base=f"model=base-{lineage}-0",
                same_prompt=True,
                content=tuple(sorted(STATE_WORDS)),
                rl_domains=TRAINED,
                name=name,
            )
            columns.append(name)
            for claim in done.claims:
                verdicts.setdefault(claim.claim, {})[name] = claim.verdict
                readings.append(f"| {name} | {claim.id} | {claim.verdict} | {claim.reading} |")
    lines = [
        "# The claims on the model organisms, over lineages and seeds",
        "",
        f"Made by `python experiments/claims/organisms.py`: {len(columns)} RL-only units of {len(LINEAGES)} lineages, "
        f"each against the sft unit and the base of its lineage; {PROBLEMS} held-out problems a world, {SAMPLES} "
        "samples each.",
        "",
        "| claim | supported | contradicted | undecided |",
        "|---|---|---|---|",
    ]
    for claim, by_unit in verdicts.items():
        n = Counter(by_unit.values())
        lines.append(f"| {claim} | {n['supported']} | {n['contradicted']} | {n['undecided']} |")
    lines += [
        "",
        "Units of a lineage share their base and their sft, so that these are two independent cases with three units "
        "each, not six. The words that RL-only units over-use were in the base's training text: selected, not "
        "invented.",
        "",
        "## Each unit",
        "",
        "| unit | claim | verdict | reading |",
        "|---|---|---|---|",
        *readings,
    ]
    (HERE / "ORGANISMS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
