"""How often models are right, by domain, and by how much two of them differ; intervals by problem."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from dsl_probe.collect.curve import MEASURES, Sampled, value_at_k
from dsl_probe.groups import group_columns, select_rows
from dsl_probe.mine.corpus import group_column
from dsl_probe.share.corpus import Corpus, Sample, subsample
from dsl_probe.share.means import Estimate, difference_interval, mean_interval, problem_means
from dsl_probe.store import Run
from dsl_probe.types import UserError

# (domain, problem) -> its judged completions.
Judged = dict[tuple[str, str], Sampled]

_COLUMNS = ("model", "run", "domain", "regime", "problem_id", "answer", "correct")


def accuracy_rows(run: Run, ks: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Rows (model, regime, domain, measure, k, value, ci_low, ci_high, problems, samples) of every model and domain.

    measure: `pass` (at k = 1 the accuracy; unbiased, Chen et al. 2021) and `majority` (Wang et al. 2022), as in
    `collect.curve`. ks: by default 1, 2, 4 .. up to what each problem of the model and domain has; of a given k the
    problems with fewer completions are left out. Completions without a verdict or a problem are left out. value: mean
    over problems, so that a problem sampled often counts once; interval: Student's t by problem, not cut at 0 and 1.

    What it does not show: pass@k needs someone who knows the answer; it is what a model can reach, not what it hands
    in. Where all problems agree the interval has no width (see `means.mean_interval`).
    """
    traces = run.all_shards("traces", list(_COLUMNS))
    models, regimes = group_column(traces).to_pylist(), traces["regime"].to_pylist()
    members: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(models, regimes, strict=True)):
        members.setdefault(key, []).append(i)
    rows = []
    for (model, regime), own in sorted(members.items()):
        judged = judged_problems(traces, np.array(own))
        for domain, part in by_domain(judged).items():
            about = {"model": model, "regime": regime, "domain": domain}
            for measure in MEASURES:
                for k in ks or common_ks([part]):
                    found = mean_interval(values_at_k(part, list(part), measure, k))
                    samples = sum(len(s.correct) for s in part.values() if len(s.correct) >= k)
                    rows.append(about | {"measure": measure, "k": k, **_columns(found), "samples": samples})
    return rows


def difference_rows(run: Run, a: str, b: str, ks: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Accuracy of A less that of B, as rows (a, b, domain, design, measure, k, value_a, value_b, value, ci_low, ..).

    The other columns are those of `accuracy_rows`. a, b: groups, `model=NAME,domain=math`. Paired, where at least two
    problems are judged for both: on these alone, by the difference in each, so that a hard problem is hard for both.
    Otherwise unpaired, all problems of each (Welch).

    What it does not show: a cause; and, unpaired, that the problems are alike.
    """
    traces = run.all_shards("traces", sorted({*_COLUMNS, *group_columns(a, b)}))
    sides = [by_domain(judged_problems(traces, select_rows(traces, group))) for group in (a, b)]
    rows = []
    for domain in sides[0]:
        parts = [side.get(domain, {}) for side in sides]
        shared = [problem for problem in parts[0] if problem in parts[1]]
        paired = len(shared) >= 2
        keys = [shared, shared] if paired else [list(part) for part in parts]
        if not all(parts):
            continue
        used = [{key: part[key] for key in own} for part, own in zip(parts, keys, strict=True)]
        for measure in MEASURES:
            for k in ks or common_ks(used):
                values = [values_at_k(part, own, measure, k) for part, own in zip(used, keys, strict=True)]
                found = difference_interval(*values, paired=paired)
                if paired:
                    both = ~np.isnan(values[0] - values[1])
                    values = [v[both] for v in values]
                means = {f"value_{s}": mean_interval(v).value for s, v in zip("ab", values, strict=True)}
                about = {"a": a, "b": b, "domain": domain, "design": "paired" if paired else "unpaired"}
                rows.append(about | {"measure": measure, "k": k, **means, **_columns(found)})
    if not rows:
        raise UserError(
            f"{a} and {b} have no judged completions in a common domain: give traces with `correct`, or other groups."
        )
    return rows


def judged_problems(traces: pa.Table, rows: np.ndarray) -> Judged:
    """The completions in these rows that have a verdict and a problem, by (domain, problem)."""
    columns = [traces[name].take(pa.array(rows)).to_pylist() for name in ("domain", "problem_id", "answer", "correct")]
    judged: Judged = {}
    for domain, problem, answer, correct in zip(*columns, strict=True):
        if correct is not None and problem is not None:
            one = judged.setdefault((domain, problem), Sampled([], [], []))
            one.answers.append(answer)
            one.correct.append(correct)
    return judged


def by_domain(judged: Judged) -> dict[str, Judged]:
    """The problems of `all` and of each domain; of the domain alone where there is but one."""
    domains = sorted({domain for domain, _ in judged})
    parts = {d: {key: value for key, value in judged.items() if key[0] == d} for d in domains}
    return parts if len(domains) < 2 else {"all": judged, **parts}


def common_ks(parts: Sequence[Judged]) -> list[int]:
    """1, 2, 4 .. and the most completions that every problem has.

    >>> common_ks([{("math", "1"): Sampled([""] * 6, [True] * 6, [])}])
    [1, 2, 4, 6]
    """
    most = min((len(s.correct) for part in parts for s in part.values()), default=0)
    return sorted({*(2**i for i in range(most.bit_length())), most} - {0})


def values_at_k(judged: Judged, problems: Sequence[tuple[str, str]], measure: str, k: int) -> np.ndarray:
    """float64[problems]: pass@k or majority@k of each problem, NaN where it has fewer than k completions.

    >>> values_at_k({("math", "1"): Sampled(["4", "5"], [True, False], [])}, [("math", "1")], "pass", 2)
    array([1.])
    """
    return np.array(
        [value_at_k(measure, judged[p], k) if len(judged[p].correct) >= k else np.nan for p in problems], np.float64
    )


def same_accuracy(corpus: Corpus, sample: Sample) -> Sample | None:
    """The part of a comparison's traces in which both groups are right equally often; None where there is none.

    Paired: within each problem as many right and as many wrong traces of either group, the first of each. Unpaired:
    problems are exchanged only among those of one domain that are always, never or sometimes right. Traces without a
    verdict are left out. Under no difference the groups stay exchangeable, since the rule does not look at which is
    which.

    What it does not show: what the groups would write if they were equally able. Given the verdict, problems that a
    weak model solves are other problems than those that a strong one solves.
    """
    correct = np.array(corpus.traces["correct"].take(pa.array(sample.rows)).to_pylist(), float)
    known = ~np.isnan(correct)
    if sample.paired:
        block = (sample.item * 2 + (correct == 1)) * 2 + sample.group
        order = np.argsort(np.where(known, block, -1), kind="stable")
        place = np.empty(len(block), np.int64)
        place[order] = np.arange(len(block)) - np.searchsorted(np.where(known, block, -1)[order], block[order])
        size = np.bincount(block[known], minlength=4 * len(sample.item_domain)).reshape(-1, 2)
        keep = known & (place < size.min(1)[block // 2])
        return subsample(sample, keep)
    kept = subsample(sample, known)
    if kept is None:
        return None
    mean = problem_means(correct[known], kept.item, len(kept.item_domain))
    kind = np.where(mean == 1, "right", np.where(mean == 0, "wrong", "mixed"))
    stratum = np.array([f"{d}, {k}" for d, k in zip(kept.item_domain, kind, strict=True)], object)
    return replace(kept, item_stratum=stratum)


def sample_accuracy(corpus: Corpus, sample: Sample) -> dict[str, Any]:
    """accuracy_a, accuracy_b and accuracy_difference (A less B, low, high) of a comparison's traces; {} if too few.

    Paired samples: over the problems that are judged for both.
    """
    correct = np.array(corpus.traces["correct"].take(pa.array(sample.rows)).to_pylist(), float)
    n = len(sample.item_domain)
    mean = [problem_means(correct[sample.group == g], sample.item[sample.group == g], n) for g in (0, 1)]
    if sample.paired:
        both = ~np.isnan(mean[0] - mean[1])
        mean = [m[both] for m in mean]
    found = difference_interval(*mean, paired=sample.paired)
    if found.problems < 2:
        return {}
    values = {f"accuracy_{s}": mean_interval(m).value for s, m in zip("ab", mean, strict=True)}
    return values | {"accuracy_difference": found[:3]}


def _columns(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "ci_low": found.low, "ci_high": found.high, "problems": found.problems}
