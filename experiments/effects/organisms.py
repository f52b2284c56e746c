"""Which words do the organisms need: the nonces of the RL-only ones, the sentences of the fine-tuned one?

    python experiments/effects/organisms.py --work runs/effects-organisms --out experiments/effects/ORGANISMS.md

Traces of each organism at temperature 1 on the same problems of its four worlds; its most held motifs of one or two
words, those of states left out, banned and cut out; the whole chain shuffled and blank. Goes on where it stopped.
"""

import argparse
from collections import Counter
from pathlib import Path

import pandas as pd

from dsl_probe.collect.domains.worlds import STATE_WORDS
from dsl_probe.collect.sample import collect
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.probe.effects import EffectsConfig, effects
from dsl_probe.store import Run

FOLDER = shipped_folder("organisms")
MODELS = {"sft": "sft", "rl-only": "rl_only", "rl-only-seed1": "rl_only", "rl-only-lp0": "rl_only"}
DOMAINS = ("chain", "hop", "swap", "grid")
MOTIFS, BUDGET = 16, 6_000
INTERVENTIONS = ("ban", "delete", "shuffle", "blank")


def make(work: Path, name: str, n: int) -> Run:
    """One organism's traces, motifs and effects."""
    run = Run.create(work.with_name(f"{work.name}-{name}"))
    options = {"name": name, "regime": MODELS[name], "domains": DOMAINS, "n": n, "samples": 1}
    collect(run, organism_sampling(model=str(FOLDER / name), **options))
    mine_motifs(run, MineConfig())
    given = EffectsConfig(
        model=str(FOLDER / name), motifs=tuple(connectives(run)), interventions=INTERVENTIONS, budget=BUDGET,
        batch_size=256, compute="float32", device="cpu",
    )  # fmt: skip
    effects(run, given)
    return run


def connectives(run: Run) -> list[str]:
    """The motifs of one or two units that most traces hold, without a word of a state."""
    states = {word.lower() for word in STATE_WORDS} | {"<num>"}
    held: Counter[str] = Counter()
    for row in run.table("counts", ["motif_id", "support"]).to_pylist():
        held[row["motif_id"]] += row["support"]
    found = [
        row["motif_id"]
        for row in run.table("motifs", ["motif_id", "pattern", "length", "format"]).to_pylist()
        if row["length"] <= 2 and not row["format"] and not {word.lower() for word in row["pattern"]} & states
    ]
    return sorted(found, key=lambda motif: (-held[motif], motif))[:MOTIFS]


def lines_of(name: str, run: Run) -> list[str]:
    """A section of the report."""
    table = run.table("effects/default/effects").to_pandas()
    everywhere = table[table.domain == "all"]
    counts = run.counts("effects.default")
    lines = [
        "",
        f"## {name}",
        "",
        f"{counts['draws']:,} draws, {counts['tokens']:,} new tokens; {counts['load_bearing']} load-bearing.",
        "",
        "| motif | how | uses | problems | plain | arm | placebo | cost | effect | p adjusted | load-bearing in |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in everywhere.sort_values(["intervention", "effect"], ascending=[True, False]).itertuples():
        same = table[(table.motif_id == row.motif_id) & (table.intervention == row.intervention) & table.load_bearing]
        where = ", ".join(["all"] * bool(row.load_bearing) + sorted(set(same.domain) - {"all"})) or "-"
        uses = "" if pd.isna(row.uses) else f"{row.uses:.2f}"
        interval = "" if pd.isna(row.ci_low) else f" [{row.ci_low:+.2f}, {row.ci_high:+.2f}]"
        lines.append(
            f"| {row.text} | {row.intervention} | {uses} | {row.problems} | {row.plain:.3f} | {row.arm:.3f} | "
            f"{row.placebo:.3f} | {row.cost:+.3f} | {row.effect:+.3f}{interval} | {row.p_adj:.4f} | {where} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/effects-organisms"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "ORGANISMS.md")
    parser.add_argument("--n", type=int, default=250, help="problems of each domain")
    given = parser.parse_args()
    lines = [
        "# Organisms: which words are needed",
        "",
        f"Made by `python experiments/effects/organisms.py`: {given.n} problems of each of {', '.join(DOMAINS)}, one",
        f"trace each at temperature 1; the {MOTIFS} most held motifs of one or two words without a word of a state; at",
        f"most {BUDGET:,} new tokens a motif. effect = placebo - arm; max-T over all motifs and interventions of a",
        "model.",
    ]
    for name in MODELS:
        lines += lines_of(name, make(given.work, name, given.n))
    given.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
