"""What do the states of the organisms carry, at which motifs, and does it transfer between domains?

    python experiments/probes/organisms.py --work runs/probes-organisms --out experiments/probes/ORGANISMS.md

Traces of each organism on the same problems of the four worlds that they were trained on, in one run; its states on its
own traces at every layer, at the states that the world tells and at the motifs of the lexicon; the same of the model
with random weights; probes with all controls. Goes on where it stopped.
"""

import argparse
from collections import Counter
from pathlib import Path

import pandas as pd

from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.domains.worlds import STATE_WORDS
from dsl_probe.collect.importer import import_traces
from dsl_probe.collect.sample import collect
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.probe.stage import ProbeConfig, probe
from dsl_probe.store import Run

FOLDER = shipped_folder("organisms")
MODELS = {"base": "base", "sft": "sft", "rl-only": "rl_only", "rl-only-seed1": "rl_only", "rl-only-lp0": "rl_only"}
DOMAINS = ("chain", "hop", "swap", "grid")
LAYERS = (0, 1, 2, 3)
MOTIFS = 8
WORDS = {word.lower() for word in STATE_WORDS} | {"<num>"}
STRENGTHS = (1e-3, 1e-2, 1e-1)
TRANSFERRED = ("last", "correct", "next")


def make(work: Path, n: int) -> Run:
    """The run with its captures."""
    parts = []
    for name, regime in MODELS.items():
        part = Run.create(work.with_name(f"{work.name}-{name}"))
        options = {"name": name, "regime": regime, "domains": DOMAINS, "n": n, "samples": 1}
        collect(part, organism_sampling(model=str(FOLDER / name), **options))
        parts.append(part.path)
    run = Run.create(work)
    import_traces(run, parts)
    mine_motifs(run, MineConfig())
    file = work / "motifs.txt"
    ids = dict.fromkeys(motif for name in MODELS for motif in connectives(run, name))
    file.write_text("".join(f"{motif}\n" for motif in ids))
    for name in MODELS:
        for random in (None, 0):
            config = CaptureConfig(
                model=str(FOLDER / name), name=name + ("" if random is None else "-random"), random=random,
                only=f"model={name}", layers=LAYERS, at=("states", f"motifs:{file}"), per_motif=1_000, batch=64,
                compute="float32", device="cpu",
            )  # fmt: skip
            capture_states(run, config)
    return run


def connectives(run: Run, model: str) -> list[str]:
    """Ids of a model's motifs of one or two words that most of its traces hold, words of states left out."""
    table = run.table("motifs", ["motif_id", "pattern", "length", "format"]).to_pylist()
    free = {
        row["motif_id"]
        for row in table
        if row["length"] <= 2 and not row["format"] and not {word.lower() for word in row["pattern"]} & WORDS
    }
    held: Counter[str] = Counter()
    for row in run.table("counts", ["motif_id", "model", "support"], filters=[("model", "=", model)]).to_pylist():
        held[row["motif_id"]] += row["support"]
    return sorted(free & set(held), key=lambda motif: (-held[motif], motif))[:MOTIFS]


def fit(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of the probes: of states, and of motifs."""
    for name in MODELS:
        shared = {"acts": (name,), "random": f"{name}-random", "readout_traces": 0, "layout": 0, "strengths": STRENGTHS}
        targets = ("value", *TRANSFERRED)
        probe(run, ProbeConfig(targets=targets, name=f"states-{name}", **shared))
        config = ProbeConfig(
            targets=tuple(f"value@motifs:{i}/at" for i in connectives(run, name)), name=f"motifs-{name}",
            transfer=False, **shared,
        )  # fmt: skip
        probe(run, config)
    tables = []
    for kind in ("states", "motifs"):
        tables.append(pd.concat([run.table(f"probes/{kind}-{name}/probes").to_pandas() for name in MODELS]))
    return tables[0], tables[1]


def curves(table: pd.DataFrame) -> list[str]:
    """AUROC of the true value before a state is written, by layer, with the strongest control."""
    lines = [
        "| model | domain | layer 0 | 1 | 2 | 3 | chosen | strongest control | selectivity | compression |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (acts, domain), rows in table[(table.target == "value") & (table.train == table.test)].groupby(
        ["acts", "test"]
    ):
        auroc = rows[rows.metric == "auroc"]
        by_layer = auroc[(auroc.control == "") & ~auroc.chosen].set_index("layer").value
        chosen = auroc[(auroc.control == "") & auroc.chosen]
        if chosen.empty:
            continue
        chosen, best = chosen.iloc[0], strongest(auroc)
        more = rows[rows.chosen & (rows.control == "")].set_index("metric").value
        lines.append(
            f"| {acts} | {domain} | {' | '.join(f'{by_layer[layer]:.3f}' for layer in LAYERS)} | "
            f"{interval(chosen)} at {chosen.layer:.0f} | {best.control} {interval(best)} | "
            f"{more['selectivity']:.2f} | {more['compression']:.2f} |"
        )
    return lines


def strongest(auroc: pd.DataFrame) -> pd.Series:
    """The control with the highest AUROC, of those that have the true labels."""
    others = auroc[~auroc.control.isin(["", "control task", "shuffled labels", "95 % of shuffled labels"])]
    return others.loc[others.value.idxmax()] if others.value.notna().any() else others.iloc[0]


def carriers(run: Run, table: pd.DataFrame) -> list[str]:
    """Motifs at which the value to come is told better than by every control, and from which layer on."""
    texts = {row["motif_id"]: row["text"] for row in run.table("motifs", ["motif_id", "text"]).to_pylist()}
    lines = [
        "| model | motif | domain | states | AUROC, layer | strongest control | from layer |",
        "|---|---|---|---|---|---|---|",
    ]
    tried, found = 0, []
    for (acts, target, domain), rows in table[table.metric == "auroc"].groupby(["acts", "target", "test"]):
        own = rows[(rows.control == "") & (rows.train == rows.test)]
        chosen = own[own.chosen]
        if chosen.empty:
            continue
        tried += 1
        chosen, best = chosen.iloc[0], strongest(rows)
        ends = [best.ci_high, best.value]
        bar = next(end for end in ends if end is not None and end == end)
        # An AUROC of 1 has no interval.
        if not low(chosen) > bar:
            continue
        layers = own[~own.chosen].sort_values("layer")
        first = min(row.layer for _, row in layers.iterrows() if low(row) > bar)
        motif = texts[target.split(":")[1].split("/")[0]]
        said = f"| {acts} | {motif} | {domain} | {chosen.rows} | {interval(chosen)}, {chosen.layer:.0f} | "
        said += f"{best.control} {interval(best)} | {first:.0f} |"
        found.append((acts, -(chosen.value - best.value), said))
    lines += [said for _, _, said in sorted(found)]
    return [f"{len(found)} of {tried} (model, motif, domain) that could be asked.", "", *lines]


def transfer(table: pd.DataFrame) -> list[str]:
    """AUROC within and across domains by model, at the layer with the best mean within."""
    lines = ["| target | model | layer | mean within domains | mean across domains |", "|---|---|---|---|---|"]
    for target in TRANSFERRED:
        for name in MODELS:
            rows = table[(table.target == target) & (table.acts == name)]
            within = rows[rows.metric == "mean within domains"]
            across = rows[rows.metric == "mean across domains"].set_index("layer")
            if within.empty or across.empty:
                lines.append(f"| {target} | {name} | | no two domains can be asked | |")
                continue
            best = within.loc[within.value.idxmax()]
            lines.append(
                f"| {target} | {name} | {best.layer:.0f} | {interval(best)} | {interval(across.loc[best.layer])} |"
            )
    return lines


def low(row: pd.Series) -> float:
    """The lower end of the interval, or the value where there is none."""
    return row.value if row.ci_low is None or row.ci_low != row.ci_low else row.ci_low


def interval(row: pd.Series) -> str:
    """A value with its interval, if it has one."""
    if row.ci_low is None or row.ci_low != row.ci_low:
        return f"{row.value:.3f}"
    return f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/probes-organisms"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "ORGANISMS.md")
    parser.add_argument("--n", type=int, default=200, help="problems of each domain")
    given = parser.parse_args()
    run = make(given.work, given.n)
    states, motifs = fit(run)
    lines = [
        "# Organisms: what the states carry",
        "",
        f"Made by `python experiments/probes/organisms.py`: {run.counts('import')['traces']:,} traces of {len(MODELS)} "
        f"models on the same {given.n} problems of each of {', '.join(DOMAINS)}; AUROC on unseen problems, intervals",
        "by problem; AUROC of value is the mean over the values of a domain. Seed 0.",
        "",
        "## The true value, read before it is written",
        "",
        *curves(states),
        "",
        "## Motifs at which the value to come can be read",
        "",
        f"Of each model's {MOTIFS} most held motifs of one or two words without a word of a state: those at whose last",
        "token the first word of the next true state is told better than by the strongest control (the lower end of",
        "the interval of the layer chosen on inner folds above the upper end of the control's: bag of units, place",
        "and length, layer 0, random weights). From layer: the first whose interval is above it.",
        "",
        *carriers(run, motifs),
        "",
        "## Transfer between domains",
        "",
        *transfer(states),
    ]
    text = "\n".join(lines) + "\n"
    given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
