"""The simulations behind INTERVALS.md: each measure with its interval and its truth, a line of JSON each.

Simulation i draws two domains by setting i % 48 of `communities.SETTINGS` with the seed (7, i); every fifth has the
bootstrap beside the jackknife. The settings were fixed, and these seeds unused, before the first run.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from communities import SETTINGS, draw, frequencies, hill_truth, partition_truth, sharing_truth
from models import CASES, difference

from dsl_probe.share import vocab
from dsl_probe.share.bootstrap import bootstrap
from dsl_probe.share.diversity import diversity
from dsl_probe.share.sums import column_sums

SEED, RESAMPLES, EVERY = 7, 500, 5
KEPT = Path(__file__).resolve().parents[2] / "runs" / "calibration.jsonl"


def simulate(number: int) -> dict[str, Any]:
    """One line: setting, coverage of the poorer domain (estimated, true), every measure as (value, low, high, truth).

    chao1: of the first domain, over its number of types.
    """
    setting, rng = SETTINGS[number % len(SETTINGS)], np.random.default_rng([SEED, number])
    wholes = frequencies(setting.kind, setting.types, rng)
    domains = [draw(p, setting.problems, setting.tokens, setting.burst, rng) for p in wholes]
    truth = sharing_truth(*wholes)
    rows = vocab.sharing(*domains)
    for row in diversity(dict(zip("ab", domains, strict=True))):
        if row["measure"] == "hill_0" and row["domain"] == "a":
            truth |= {f"hill_{q}": float(v) for q, v in enumerate(hill_truth(wholes[0], row["coverage"]))}
        elif row["measure"] == "alpha_0":
            truth |= partition_truth(*wholes, row["coverage"])
        if row["domain"] != "b":
            rows.append(row)
    if number % EVERY == 0:
        value, low, high = bootstrap(domains, _morisita_horn, resamples=RESAMPLES, seed=number)
        # The basic interval is the percentile interval reflected in the value.
        ends = {"basic": (low, high), "percentile": (2 * value - high, 2 * value - low)}
        for name, (low, high) in ends.items():
            truth[f"morisita_horn, {name}"] = truth["morisita_horn"]
            rows.append({"measure": f"morisita_horn, {name}", "value": value, "ci_low": low, "ci_high": high})
    seen = [float(p[column_sums(d) > 0].sum()) for p, d in zip(wholes, domains, strict=True)]
    return {
        "part": "interval",
        "number": number,
        **setting._asdict(),
        "problem_coverage": min(map(vocab.problem_coverage, domains)),
        "coverage": min(seen),
        "chao1": vocab.chao1(domains[0]) / int((wholes[0] > 0).sum()),
        "measures": {r["measure"]: (r["value"], r["ci_low"], r["ci_high"], truth[r["measure"]]) for r in rows},
    }


def _morisita_horn(totals: Sequence[np.ndarray]) -> float:
    # vocab.morisita_horn works out all measures, 500 times for nothing.
    x, y = (t / t.sum(dtype=np.float64) for t in totals)
    return float(2 * (x @ y) / (x @ x + y @ y))


def simulate_difference(number: int) -> dict[str, Any]:
    """One line: the difference of two models in mean sharing, for each truth of `models.CASES`."""
    measures = {str(truth): (*difference(truth, number), truth) for truth in CASES}
    return {"part": "difference", "number": number, "measures": measures}


def all_lines(part: str, numbers: Iterable[int], simulation: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of these simulations, out of runs/calibration.jsonl where they stand there; new ones are added to it."""
    KEPT.parent.mkdir(exist_ok=True)
    known = [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []
    done = {line["number"]: line for line in known if line["part"] == part}
    numbers = list(numbers)
    for number in (n for n in numbers if n not in done):
        start = time.process_time()
        line = simulation(number)
        done[number] = line | {"seconds": time.process_time() - start}
        with KEPT.open("a") as file:
            file.write(json.dumps(done[number]) + "\n")
    return [done[number] for number in numbers]
