"""What an intervention costs beyond its placebo: estimates by problem, and one correction over all that was tested."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse, stats

from dsl_probe.permute import paired_test
from dsl_probe.store import Run
from dsl_probe.types import EFFECTS

ALL = "all"
LEVEL = 0.05


def effect_rows(
    samples: pd.DataFrame,
    named: Mapping[str, str],
    uses: Mapping[tuple[str, str], float],
    *,
    model: str,
    permutations: int,
    seed: int,
) -> pa.Table:
    """EFFECTS from samples (EFFECT_SAMPLES).

    A problem counts once: its traces' means of plain, arm and placebo. cost = plain - arm and effect = placebo - arm
    have Student's intervals over the problems; z and p are of the effect, by exchanging arm and placebo within problems
    (Fisher's sign-flip), p_adj by the step-down maximum (Westfall and Young 1993) over all motifs and interventions
    over all domains, and apart from them over those of the single domains. load_bearing: effect > 0 and p_adj <= .05.

    named: motif_id -> text. uses: (motif_id, domain or all) -> mean uses in a trace. Samples without a verdict are left
    out with their partner.

    What it does not show: that the motif says what the model means by it. A model that is used to a word may only be
    thrown off by its absence; the placebo takes that off as far as its own span is as usual.
    """
    if not len(samples):
        return EFFECTS.empty_table()
    both = samples.groupby(["motif_id", "intervention", "trace_id"])["correct"].transform(lambda c: c.notna().all())
    samples = samples[both].astype({"correct": float, "plain": float})
    everywhere = samples.assign(domain=ALL)
    rows = []
    for family in (everywhere, samples):
        parts = family.groupby(["motif_id", "intervention", "domain"])
        found = [_by_problem(part) | dict(zip(parts.keys, key, strict=True)) for key, part in parts]
        rows += tested(found, permutations, seed)
    for row in rows:
        row |= {"model": model, "text": named[row["motif_id"]], "target": None, "layer": None}
        row["uses"] = uses.get((row["motif_id"], row["domain"]))
    rows.sort(key=lambda row: (row["domain"] != ALL, row["domain"], row["intervention"], -row["effect"], row["text"]))
    return pa.Table.from_pylist(rows, EFFECTS)


def read_bearing(run: Run, models: Iterable[str]) -> dict[tuple[str, str], bool]:
    """(motif_id, domain or all) -> whether an intervention showed it load-bearing in one of the models, of all effects
    that a run holds. Motifs that were not tested are missing.

    Not shown: several jobs are several families of tests, each corrected by itself.
    """
    found: dict[tuple[str, str], bool] = {}
    for stage in run.stages():
        kind, _, name = stage.partition(".")
        if kind != "effects":
            continue
        table = run.table(f"effects/{name}/effects", ["motif_id", "domain", "model", "load_bearing"])
        for row in table.filter(pc.is_in(table["model"], pa.array(sorted(models), pa.string()))).to_pylist():
            if not row["motif_id"]:  # of a whole chain, or of states
                continue
            key = row["motif_id"], row["domain"]
            found[key] = found.get(key, False) or row["load_bearing"]
    return found


def _by_problem(part: pd.DataFrame) -> dict[str, Any]:
    arms = {arm: rows.groupby("problem_id")["correct"].mean() for arm, rows in part.groupby("arm")}
    arm = arms["arm"]
    placebo, plain = arms["placebo"].reindex(arm.index), part.groupby("problem_id")["plain"].mean().reindex(arm.index)
    leak = part.loc[part["arm"] == "arm", "leak"].dropna()
    found: dict[str, Any] = {"samples": len(part), "tokens": int(part["tokens"].sum())}
    found["leak"] = float(leak.astype(float).mean()) if len(leak) else None
    three = (column.to_numpy() for column in (plain, arm, placebo))
    return found | estimates(*three) | {"of": (placebo - arm).to_dict()}


def estimates(plain: np.ndarray, arm: np.ndarray, placebo: np.ndarray) -> dict[str, Any]:
    """Columns of EFFECTS from means by problem, float[problems] each: accuracies, cost and effect with intervals."""
    found: dict[str, Any] = {"problems": len(arm), "plain": plain.mean(), "arm": arm.mean(), "placebo": placebo.mean()}
    found["cost"], found["cost_low"], found["cost_high"] = mean_interval(plain - arm)
    found["effect"], found["ci_low"], found["ci_high"] = mean_interval(placebo - arm)
    return found


def mean_interval(differences: np.ndarray) -> tuple[float, float | None, float | None]:
    """Mean of differences [problems] and Student's 95 % interval; no interval of fewer than two, or if all are equal.

    >>> [round(v, 3) for v in mean_interval(np.array([0.0, 1.0, 1.0, 0.0]))]
    [0.5, -0.419, 1.419]
    """
    n, mean = len(differences), float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / n**0.5 if n > 1 else 0.0
    if not error:
        return mean, None, None
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    return mean, mean - reach, mean + reach


def tested(rows: list[dict[str, Any]], permutations: int, seed: int) -> list[dict[str, Any]]:
    """Rows with z, p, p_adj over all of them, and load_bearing, in place of `of`: problem -> placebo less arm."""
    if not rows:
        return []
    problems = sorted({problem for row in rows for problem in row["of"]})
    number = {problem: i for i, problem in enumerate(problems)}
    entries = [(number[p], k, d) for k, row in enumerate(rows) for p, d in row["of"].items() if d]
    i, k, d = (np.array(column) for column in zip(*entries, strict=True)) if entries else (np.zeros(0, int),) * 3
    result = paired_test(
        sparse.csc_matrix((d.astype(float), (i, k)), shape=(len(problems), len(rows))), permutations, seed
    )
    made = []
    for row, z, p, p_adj in zip(rows, result.z, result.p, result.p_adj, strict=True):
        row = {name: value for name, value in row.items() if name != "of"}
        row |= {"z": float(z), "p": float(p), "p_adj": float(p_adj)}
        made.append(row | {"load_bearing": row["effect"] > 0 and row["p_adj"] <= LEVEL})
    return made
