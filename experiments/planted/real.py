"""The planted table in real text: operators in one half of the shipped traces, the other half as reference.

    python experiments/planted/real.py      seeds 100 to 102 -> REAL.md

The traces of each problem are halved at random, whichever models wrote them (problems of one trace, too: they fall to
one side or the other). So the halves are alike but for chance and for what is planted, and what a miner claims beside
it is false. Halves by model would not do: models do differ, and nobody knows in what.
"""

import numpy as np
from benchmark import LENGTH, OPERATORS, Case, language, real, with_reference
from run import GIVEN, HERE, NOISE, measure, seeds_of, table

SEEDS, USES = range(100, 103), (25, 600)
COLUMNS = ("exact P", "exact R", "exact F1", "soft P", "soft R", "soft F1", "slot F1", "scope", "boundary")


def halves(problem: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The documents of two halves, in order: of each problem's 2k or 2k + 1 documents k in each and one by lot.

    problem int[n_docs].
    """
    rng = np.random.default_rng([seed, 4])
    order = np.lexsort((rng.random(len(problem)), problem))
    sorted_problem = problem[order]
    first = np.searchsorted(sorted_problem, sorted_problem)
    lot = rng.integers(0, 2, int(problem.max()) + 1)
    side = (np.arange(len(problem)) - first + lot[sorted_problem]) % 2
    return np.sort(order[side == 0]), np.sort(order[side == 1])


def case(seed: int, noise: float, operators: int = OPERATORS) -> Case:
    """Half of the problems, the beginnings of their traces in two halves, operators in one; the same at every noise.

    Less than all there is, for time: a few traces go round in loops of thousands of units, where each lap is a repeat
    to be looked at, and with them a case was not done in ten minutes; beginnings of all take two to three.
    """
    shipped = real()[0].beginnings(LENGTH)
    drawn = np.random.default_rng([seed, 6]).random(int(shipped.problem.max()) + 1) < 0.5
    shipped = shipped.some(np.flatnonzero(drawn[shipped.problem]))
    own, reference = (shipped.some(rows) for rows in halves(shipped.problem, seed))
    filler = np.random.default_rng([seed, 5]).choice(reference.symbols, 100_000)
    return with_reference(own, reference, language(operators, seed, USES), filler, noise, seed)


def main() -> None:
    rows = measure("real", SEEDS, NOISE, GIVEN, case)
    alike = measure("real-alike", SEEDS, (0.0,), GIVEN, lambda seed, noise: case(seed, noise, 0))
    lines = [
        "# A planted language in real traces: what is found",
        "",
        f"Made by `python experiments/planted/real.py`; {seeds_of(rows)}. The first {LENGTH} units of the shipped "
        "traces of half of the problems, drawn for each seed, in random halves of each problem's traces; "
        f"{OPERATORS} operators, {USES[0]} to {USES[1]} uses. The columns are those of RESULTS.md; 1 less soft P is "
        "the share of false claims: motifs whose uses overlap a planted operator's by less than 0.6 (intersection over "
        "union) on average.",
        "",
        "## Nothing planted",
        "",
        "| miner | seed | claimed |",
        "|---|---|---|",
        *(
            f"| {r['miner']} | {r['seed']} | {r['claimed']} |"
            for r in sorted(alike, key=lambda r: GIVEN.index(r["miner"]))
        ),
    ]
    (HERE / "REAL.md").write_text("\n".join(lines) + "\n" + table(rows, COLUMNS))


if __name__ == "__main__":
    main()
