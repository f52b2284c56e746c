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
        tested = [(key, _by_problem(part)) for key, part in family.groupby(["motif_id", "intervention", "domain"])]
        rows += _tested(tested, permutations, seed)
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
    found: dict[str, Any] = {"problems": len(arm), "samples": len(part), "tokens": int(part["tokens"].sum())}
    found |= {"plain": plain.mean(), "arm": arm.mean(), "placebo": placebo.mean()}
    found |= {"leak": float(leak.astype(float).mean()) if len(leak) else None}
    found["cost"], found["cost_low"], found["cost_high"] = mean_interval((plain - arm).to_numpy())
    found["effect"], found["ci_low"], found["ci_high"] = mean_interval((placebo - arm).to_numpy())
    return found | {"of": (placebo - arm).to_dict()}


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


def _tested(tested: list[tuple[Any, dict[str, Any]]], permutations: int, seed: int) -> list[dict[str, Any]]:
    if not tested:
        return []
    problems = sorted({problem for _, found in tested for problem in found["of"]})
    number = {problem: i for i, problem in enumerate(problems)}
    entries = [(number[p], j, d) for j, (_, found) in enumerate(tested) for p, d in found.pop("of").items() if d]
    i, j, d = (np.array(column) for column in zip(*entries, strict=True)) if entries else (np.zeros(0, int),) * 3
    table = sparse.csc_matrix((d.astype(float), (i, j)), shape=(len(problems), len(tested)))
    result = paired_test(table, permutations, seed)
    rows = []
    for k, ((motif, intervention, domain), found) in enumerate(tested):
        row = {"motif_id": motif, "intervention": intervention, "domain": domain, **found}
        row |= {"z": float(result.z[k]), "p": float(result.p[k]), "p_adj": float(result.p_adj[k])}
        rows.append(row | {"load_bearing": row["effect"] > 0 and row["p_adj"] <= LEVEL})
    return rows
