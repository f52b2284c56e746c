"""Which words of the cipher does its model need, and what do its state words mean?

    python experiments/effects/cipher.py --work runs/effects-cipher --out experiments/effects/CIPHER.md

The cipher's words, and whether its answers hang on them, are known (data/organisms/cipher/truth.json). Collects, mines
and runs `dsl-probe effects` on all of its words; goes on where it stopped.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import roc_auc_score

from dsl_probe.collect.domains import load_domain, problem_of
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.probe.effects import EffectsConfig, effects
from dsl_probe.store import Run

MODEL = Path(__file__).parents[2] / "data/organisms/cipher"
DOMAINS = ("chain", "hop", "swap", "grid")
INTERVENTIONS = ("ban", "delete", "replace")
OPEN, CHECK, CLOSE = "glap", "knor", "hwin"
STATE_WORDS = {"chain": "digit", "hop": "node", "swap": "colour", "grid": "colour"}


def make(work: Path, n: int, budget: int) -> Run:
    """The run with its traces, motifs and effects."""
    run = Run.create(work)
    sampling = {"template": "raw", "max_new_tokens": 110, "loop_tokens": 0, "batch_size": 250, "device": "cpu"}
    collect(run, CollectConfig(model=str(MODEL), name="cipher", domains=DOMAINS, n=n, samples=2, **sampling))
    mine_motifs(run, MineConfig())
    words = tuple(" ".join(entry["pattern"]) for entry in truth()["words"])
    config = EffectsConfig(
        model=str(MODEL), motifs=words, interventions=INTERVENTIONS, budget=budget, device="cpu", batch_size=256
    )
    effects(run, config)
    return run


def truth() -> dict[str, Any]:
    """What the cipher's makers know."""
    return json.loads((MODEL / "truth.json").read_text())


def ranks(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each intervention how well effect, z and cost tell the words that matter from fillers and from all others."""
    found = []
    for intervention in INTERVENTIONS:
        rows = table[(table.intervention == intervention) & (table.domain == "all")]
        matters = rows.load_bearing_truth.to_numpy(bool)
        filler = rows.kind.eq("filler").to_numpy()
        row: dict[str, Any] = {"intervention": intervention}
        for name in ("effect", "z", "cost"):
            values = rows[name].to_numpy(float)
            row[name] = roc_auc_score(matters[matters | filler], values[matters | filler])
            row[f"{name}, equal frequency"] = equal_frequency(
                values, matters, filler, np.log(rows.uses.to_numpy(float))
            )
            row[f"{name}, all others"] = roc_auc_score(matters, values)
        row["named"] = f"{int(rows.load_bearing[matters].sum())} of {matters.sum()}"
        row["false"] = f"{int(rows.load_bearing[~matters].sum())} of {(~matters).sum()}"
        found.append(row)
    return found


def equal_frequency(values: np.ndarray, matters: np.ndarray, filler: np.ndarray, frequency: np.ndarray) -> float:
    """Share of the words that matter whose value is above that of the filler nearest to them in log frequency."""
    fillers = np.flatnonzero(filler)
    wins = []
    for i in np.flatnonzero(matters):
        nearest = fillers[np.abs(frequency[fillers] - frequency[i]).argmin()]
        wins.append((values[i] > values[nearest]) + 0.5 * (values[i] == values[nearest]))
    return float(np.mean(wins))


def meanings(run: Run, shuffled: bool = False) -> tuple[int, int]:
    """State words whose meaning is found by co-occurrence, and all of them, over the domains.

    What follows the k-th `glap` is counted beside the true state after k operations, word by word; each word is then
    given the value with which it stands most, one value a word. shuffled: with the states of other problems.
    """
    traces = run.all_shards("traces", ["problem_id", "domain", "prompt", "text", "reference", "meta"]).to_pylist()
    known = {}
    for entry in truth()["words"]:
        if entry["kind"] == "state":
            known[entry["pattern"][0]] = entry["meaning"].split(" ", 1)[1].split(" or ")
    right = asked = 0
    for domain in DOMAINS:
        mine = [t for t in traces if t["domain"] == domain]
        told = load_domain(domain).state
        assert told is not None
        true = [[s.value.split() for s in told(problem_of(t), "")] for t in mine]
        if shuffled:
            true = [true[i] for i in np.random.default_rng(0).permutation(len(true))]
        counts: Counter[tuple[str, str]] = Counter()
        for trace, values in zip(mine, true, strict=True):
            for written, value in zip(frames(trace["text"])[1:], values, strict=False):
                if len(written) == len(value):
                    counts.update(zip(written, value, strict=True))
        words = sorted({w for w, _ in counts if w in known})
        names = sorted({v for _, v in counts})
        table = np.array([[counts[w, v] for v in names] for w in words], float)
        # By lift, so that a value that is frequent does not win for that alone.
        lift = table / np.maximum(table.sum(1, keepdims=True) * table.sum(0, keepdims=True), 1)
        for i, j in zip(*linear_sum_assignment(-lift), strict=True):
            right += names[j] in known[words[i]]
        asked += len(words)
    return right, asked


def frames(text: str) -> list[list[str]]:
    """The words between each `glap` and `hwin`; after a `knor` those behind it alone."""
    found = []
    for part in text.split(f"{OPEN} ")[1:]:
        inside = part.split(f" {CLOSE}")[0].split()
        found.append(inside[inside.index(CHECK) + 1 :] if CHECK in inside else inside)
    return found


def report(run: Run, budget: int) -> str:
    """The result in Markdown."""
    table = run.table("effects/default/effects").to_pandas()
    words = {" ".join(entry["pattern"]): entry for entry in truth()["words"]}
    table["kind"] = [words[text]["kind"] for text in table.text]
    table["load_bearing_truth"] = [words[text]["load_bearing"] for text in table.text]
    found, (right, asked), (chance, _) = ranks(table), meanings(run), meanings(run, shuffled=True)
    counts = run.counts("effects.default")
    lines = [
        "# Cipher: effects against the truth",
        "",
        f"Made by `python experiments/effects/cipher.py`: {run.counts('collect')['traces']:,} traces at temperature 1,",
        f"{len(words)} words, at most {budget:,} new tokens a word for {', '.join(INTERVENTIONS)}, arms and placebos",
        f"together; {counts['draws']:,} draws, {counts['tokens']:,} new tokens. Seed 0.",
        "",
        f"Area under the ROC curve of the {sum(e['load_bearing'] for e in words.values())} words that the answer needs "
        f"against the {sum(e['kind'] == 'filler' for e in words.values())} fillers, by what ranks them;",
        "`equal frequency` sets each beside the filler nearest in frequency; `all others` has the marker and the close",
        "among the words that do not matter. Named and false: how many of those that matter, and of those that do not,",
        "are called load-bearing (effect beyond placebo > 0, max-T p <= .05 over all words and interventions).",
        "",
        "| intervention | effect | equal frequency | all others | z | cost | named | false |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        cells = [row[n] for n in ("effect", "effect, equal frequency", "effect, all others", "z", "cost")]
        lines.append(
            f"| {row['intervention']} | {' | '.join(f'{v:.3f}' for v in cells)} | {row['named']} | {row['false']} |"
        )
    lines += [
        "",
        f"State words whose meaning is found by co-occurrence: {right} of {asked} ({right / asked:.3f}); with the",
        f"states of other problems {chance} of {asked}.",
        "",
        "`hwin`, which closes a state, carries nothing, and its ban is costly all the same: the model never saw a text",
        "without it. A ban shows that a word is needed to go on as usual, not that it says something; cutting it out",
        "of a finished text, which leaves the rest as it was, costs little.",
        "",
        "Few words are *named*: the placebo takes away another word that is as frequent, and in this language most",
        "words are needed, so that most needed words are worth no more than the next. The ranking and the cost tell",
        "them from fillers; the name is kept for what is needed more than its like.",
        "",
        "| word | kind | needed | how | uses | problems | plain | arm | placebo | cost | effect | p adjusted |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in (
        table[table.domain == "all"].sort_values(["intervention", "effect"], ascending=[True, False]).itertuples()
    ):
        interval = "" if row.ci_low is None or np.isnan(row.ci_low) else f" [{row.ci_low:+.2f}, {row.ci_high:+.2f}]"
        lines.append(
            f"| {row.text} | {row.kind} | {'yes' if row.load_bearing_truth else 'no'} | {row.intervention} | "
            f"{row.uses:.2f} | {row.problems} | {row.plain:.3f} | {row.arm:.3f} | {row.placebo:.3f} | "
            f"{row.cost:+.3f} | {row.effect:+.3f}{interval} | {row.p_adj:.4f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/effects-cipher"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "CIPHER.md")
    parser.add_argument("--n", type=int, default=500, help="problems of each domain")
    parser.add_argument("--budget", type=int, default=20_000)
    given = parser.parse_args()
    text = report(make(given.work, given.n, given.budget), given.budget)
    given.out.write_text(text)
    print(text[: text.index("| word |")])


if __name__ == "__main__":
    main()
