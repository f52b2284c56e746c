"""The planted table: how much of a known language is found, by this miner and by others, with and without noise.

    python experiments/planted/run.py                        seeds 100 to 109 (baselines: 100) -> RESULTS.md
    python experiments/planted/run.py --seeds 0 1 --quick    two cases of a fifth of the size, nothing written

Each (seed, noise, miner) is kept in a line of runs/planted.jsonl, so that the same command goes on where it stopped.
Nothing was tuned on seeds 100 to 109.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from benchmark import DOCS, Case, case, score
from miners import MINERS
from scipy import stats

GIVEN = ("dsl-probe", "without variants")  # the reference, too
HERE = Path(__file__).resolve().parent
NOISE = (0.0, 0.05, 0.15)
COLUMNS = ("exact P", "exact R", "exact F1", "soft F1", "slot F1", "scope", "boundary")
RECALL = ("recall 25 to 49 uses", "recall 50 to 199 uses", "recall 200 to 2000 uses")


def interval(values: list[float]) -> str:
    """Mean and Student's 95 % interval over seeds."""
    known = [v for v in values if not np.isnan(v)]
    if not known:
        return "–"
    mean = float(np.mean(known))
    if len(known) < 2:
        return f"{mean:.3f}"
    half = float(stats.t.ppf(0.975, len(known) - 1) * np.std(known, ddof=1) / len(known) ** 0.5)
    return f"{mean:.3f} ± {half:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(100, 110)))
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE)
    parser.add_argument("--miners", nargs="+", default=list(MINERS), choices=list(MINERS))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    docs = DOCS // 5 if options.quick else DOCS
    name = f"planted{'-quick' if options.quick else ''}"
    rows = []
    for seeds, known in ((options.seeds, GIVEN), (options.seeds[:1], [m for m in MINERS if m not in GIVEN])):
        miners = [m for m in known if m in options.miners]
        rows += measure(name, seeds, options.noise, miners, lambda seed, noise: case(seed, noise, docs))
    if not options.quick:
        head = (
            f"# A planted language: what is found\n\nMade by `python experiments/planted/run.py`; {seeds_of(rows)}. "
            "What is planted and what the columns mean is said in `benchmark.py`, what each miner does in `miners.py`. "
            f"Only {GIVEN[0]} and {GIVEN[1]} are given the reference; the others are run on the first seed.\n"
        )
        (HERE / "RESULTS.md").write_text(head + table(rows, COLUMNS))


def measure(
    name: str, seeds: Iterable[int], noises: Iterable[float], miners: Iterable[str], make: Callable[[int, float], Case]
) -> list[dict]:
    """The rows of these seeds, noises and miners; what runs/NAME.jsonl has of them is not done again."""
    kept = HERE.parents[1] / "runs" / f"{name}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(r["seed"], r["noise"], r["miner"]): r for r in lines}
    wanted = list(itertools.product(seeds, noises, miners))
    for (seed, noise), part in itertools.groupby(wanted, key=lambda key: key[:2]):
        todo = [miner for _, _, miner in part if (seed, noise, miner) not in done]
        made = make(seed, noise) if todo else None
        for miner in todo:
            start = time.process_time()
            found = MINERS[miner](made)
            row = {"seed": seed, "noise": noise, "miner": miner, "seconds": time.process_time() - start}
            row |= {"claimed": len(found)} | score(made.planted, found, made.domain)
            done[seed, noise, miner] = row
            with kept.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    return [done[key] for key in wanted]


def seeds_of(rows: list[dict]) -> str:
    """Which seeds the rows are of, and what is shown of them."""
    seeds = sorted({r["seed"] for r in rows})
    return f"seeds {', '.join(map(str, seeds))}; mean and Student's 95 % interval over seeds"


def table(rows: list[dict], columns: Sequence[str]) -> str:
    """The results in Markdown, by noise; recall by use for the miners that are given the reference."""
    lines = []
    for noise in sorted({r["noise"] for r in rows}):
        part = [r for r in rows if r["noise"] == noise]
        names = [name for name in MINERS if any(r["miner"] == name for r in part)]
        lines += ["", f"## {noise:.0%} of the planted units corrupted", ""]
        lines += [
            "| miner | seeds | claimed | " + " | ".join(columns) + " | CPU s |",
            "|---" * (len(columns) + 4) + "|",
        ]
        for name in names:
            mine = [r for r in part if r["miner"] == name]
            cells = [interval([r[c] for r in mine]) for c in columns]
            seconds = np.mean([r["seconds"] for r in mine])
            lines.append(
                f"| {name} | {len(mine)} | {np.mean([r['claimed'] for r in mine]):,.0f} | "
                + " | ".join(cells)
                + f" | {seconds:.0f} |"
            )
        lines += ["", "| miner | " + " | ".join(RECALL) + " |", "|---" * (len(RECALL) + 1) + "|"]
        for name in [name for name in names if name in GIVEN]:
            mine = [r for r in part if r["miner"] == name]
            lines.append(f"| {name} | " + " | ".join(interval([r[c] for r in mine]) for c in RECALL) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
