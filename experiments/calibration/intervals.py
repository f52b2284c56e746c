"""Do the intervals of the sharing measures hold the truth as often as they say?

    python experiments/calibration/intervals.py [--simulations 1000] [--differences 300]   -> INTERVALS.md

Each simulation is a line of runs/calibration.jsonl, so that the same command goes on where it stopped.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from communities import KINDS, TYPES
from models import CASES
from simulations import EVERY, RESAMPLES, SEED, all_lines, simulate, simulate_difference

HERE = Path(__file__).resolve().parent
COVERAGE = 0.9
BAND = (0.925, 0.975)
PROMISED = {
    "morisita_horn": "Morisita-Horn",
    "beta_2": "overlap, q = 2",
    "jensen_shannon_corrected": "Jensen-Shannon, corrected",
}
OTHERS = {
    "jensen_shannon": "Jensen-Shannon, plug-in",
    "chao_jaccard": "Chao-Jaccard",
    "chao_sorensen": "Chao-Sorensen",
    "beta_0": "overlap, q = 0",
    "beta_1": "overlap, q = 1",
    **{f"{name}_{q}": f"{name}, q = {q}" for name in ("hill", "alpha", "gamma") for q in range(3)},
}
BOOTSTRAP = {
    "morisita_horn": "jackknife",
    "morisita_horn, basic": "bootstrap, basic",
    "morisita_horn, percentile": "bootstrap, percentile",
}
# From each of these problem coverages to the next.
STEPS = (0.0, COVERAGE, 0.95, 0.98, 1.01)
Lines = Sequence[Mapping[str, Any]]


def measured(lines: Lines, measure: str) -> np.ndarray:
    """Value, low and high end, truth of the measure: float64[simulations, 4]."""
    return np.array([line["measures"][measure] for line in lines], float).reshape(-1, 4)


def held(lines: Lines, measure: str) -> float:
    """Share of the simulations whose interval holds the truth; one without limits does not."""
    _, low, high, truth = measured(lines, measure).T
    return float(((low <= truth) & (truth <= high)).mean()) if len(lines) else float("nan")


def error(lines: Lines, measure: str) -> np.ndarray:
    """Value less truth, float64[simulations]."""
    value, _, _, truth = measured(lines, measure).T
    return value - truth


def by_group(lines: Lines) -> dict[str, Lines]:
    """Simulations at the promised coverage: all, by kind of community, by types and text; then those below it."""
    rich = [line for line in lines if line["problem_coverage"] >= COVERAGE]
    groups: dict[str, Lines] = {"all": rich}
    groups |= {kind: [line for line in rich if line["kind"] == kind] for kind in KINDS}
    for types in TYPES:
        of_types = [line for line in rich if line["types"] == types]
        groups[f"{types:,} types, independent"] = [line for line in of_types if line["burst"] == 1]
        groups[f"{types:,} types, bursty"] = [line for line in of_types if line["burst"] > 1]
    return groups | {f"below {COVERAGE:g}": between(lines, 0, COVERAGE)}


def between(lines: Lines, low: float, high: float) -> Lines:
    return [line for line in lines if low <= line["problem_coverage"] < high]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def share(value: float) -> str:
    return "–" if np.isnan(value) else "1" if value == 1 else f"{value:.3f}".removeprefix("0")


def report(lines: Lines, differences: Lines) -> str:
    return "\n".join([head(lines, differences), *tables(lines), subset_table(lines), difference_table(differences)])


def head(lines: Lines, differences: Lines) -> str:
    rich = by_group(lines)["all"]
    gap = np.quantile([abs(line["problem_coverage"] - line["coverage"]) for line in lines], 0.95)
    seconds = sum(line["seconds"] for line in [*lines, *differences])
    verdicts = []
    for name, label in PROMISED.items():
        found = held(rich, name)
        side = "inside" if BAND[0] <= found <= BAND[1] else "**outside**"
        verdicts.append(f"- {label}: {share(found)}, {side}")
    standard = (0.0475 / max(len(rich), 1)) ** 0.5
    return (
        "# Intervals: how often they hold the truth\n\n`python experiments/calibration/intervals.py` writes this file: "
        f"{len(lines):,} simulations of two domains, seeds ({SEED}, 0 .. {len(lines) - 1}); settings and communities "
        f"in `communities.py`; {seconds:.0f} CPU seconds. Coverage is `problem_coverage` of the poorer domain, within "
        f"{gap:.3f} of the true one in 95 of 100. A share of n simulations has a standard error of (.05 x .95 / n)^.5, "
        f"{standard:.3f} for all of them; n in brackets.\n\n"
        f"Wanted at a coverage of {COVERAGE:g} and more: shares of {BAND[0]:g} to {BAND[1]:g}, and a mean absolute "
        "error of Morisita-Horn of .02 at most.\n\n"
        + "\n".join(verdicts)
        + f"\n- Mean absolute error of Morisita-Horn: {np.abs(error(rich, 'morisita_horn')).mean():.4f}\n"
    )


def tables(lines: Lines) -> list[str]:
    groups = by_group(lines)
    steps = {f"{low:g} to {min(high, 1):g}": between(lines, low, high) for low, high in pairwise(STEPS)}
    columns = [f"{name} ({len(members)})" for name, members in groups.items()]
    poor = list(groups.values())[-1]

    def shares(measures: Mapping[str, str], groups: Mapping[str, Lines]) -> str:
        rows = [[label, *(share(held(m, name)) for m in groups.values())] for name, label in measures.items()]
        return table(["measure", *(f"{name} ({len(members)})" for name, members in groups.items())], rows)

    errors = []
    for name, label in (PROMISED | OTHERS).items():
        off = error(groups["all"], name)
        means = (f"{np.abs(x).mean():.4f}" if len(x) else "–" for x in (off, error(poor, name)))
        errors.append([label, f"{off.mean():+.4f}", *means])
    chao1 = [np.array([line["chao1"] for line in members]) for members in groups.values()]
    return [
        "## Promised\n\n" + shares(PROMISED, groups),
        "By problem coverage:\n\n" + shares(PROMISED, steps),
        "The overlap of order q is a monotone function of beta of that order, for q = 2 it is 2 / beta - 1, so that "
        "the intervals of both hold the truth together.\n\n## The others\n\n" + shares(OTHERS, groups),
        "## Errors\n\nOf overlaps: those of beta; of Hill numbers, alpha and gamma: in types.\n\n"
        + table(["measure", "mean", "mean absolute", f"mean absolute below {COVERAGE:g}"], errors),
        "## Chao1, a lower bound\n\n"
        + table(
            ["", *columns],
            [
                ["at or below the number of types", *(share(float((c <= 1).mean())) for c in chao1)],
                ["its mean over the number of types", *(share(float(c.mean())) for c in chao1)],
            ],
        ),
    ]


def subset_table(lines: Lines) -> str:
    subset = [line for line in by_group(lines)["all"] if line["number"] % EVERY == 0]
    rows = []
    for name, label in BOOTSTRAP.items():
        _, low, high, _ = measured(subset, name).T
        rows.append([label, share(held(subset, name)), f"{(high - low).mean():.4f}"])
    return (
        f"## Jackknife and bootstrap of Morisita-Horn\n\nEvery {EVERY}th simulation, {RESAMPLES} resamples; the "
        f"{len(subset)} with a coverage of {COVERAGE:g} and more.\n\n"
        + table(["interval", "holds the truth", "mean width"], rows)
    )


def difference_table(differences: Lines) -> str:
    rows = []
    for truth in CASES:
        value, low, high, _ = measured(differences, str(truth)).T
        zero = float(((low <= 0) & (high >= 0)).mean())
        rows.append([f"{truth:g}", share(held(differences, str(truth))), f"{value.mean():+.4f}", share(zero)])
    return (
        "## Difference of two models in mean sharing\n\nPaired: three domains of 40 problems that both answer "
        f"(`models.py`), {len(differences)} simulations a row.\n\n"
        + table(["truth", "holds the truth", "mean", "holds 0"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1_000)
    parser.add_argument("--differences", type=int, default=300)
    options = parser.parse_args()
    lines = all_lines("interval", range(options.simulations), simulate)
    differences = all_lines("difference", range(options.differences), simulate_difference)
    text = report(lines, differences)
    print(text)
    (HERE / "INTERVALS.md").write_text(text)


if __name__ == "__main__":
    main()
