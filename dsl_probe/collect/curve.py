"""Accuracy against tokens spent on whole chains. Trees, the other way to spend them, are in steps.py."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb
from typing import Any

import pyarrow as pa

CURVE = pa.schema(
    [
        ("model", pa.string()),
        ("domain", pa.string()),
        ("measure", pa.string()),
        ("k", pa.int32()),
        ("tokens", pa.float64()),
        ("cost", pa.float64()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n_problems", pa.int32()),
        ("n_samples", pa.int32()),
    ]
)
CURVE_COLUMNS = ["model", "domain", "problem_id", "sample", "token_ids", "answer", "correct", "meta"]
MEASURES = ("pass", "majority")
_SUBSETS = 2_000
_BOOTSTRAPS = 1_000


@dataclass(frozen=True)
class Sampled:
    """The judged completions of one problem: answers[n] (None: no answer found), correct[n], tokens[n]."""

    answers: list[str | None]
    correct: list[bool]
    tokens: list[int]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k completions drawn without replacement from n, c of them right, is right.

    Unbiased for the chance with k fresh completions (Chen et al. 2021, arXiv 2107.03374). It needs someone who knows
    which is right: it shows what the model can reach, not what it would hand in.

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not 1 <= k <= n or not 0 <= c <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n and 0 <= c <= n, got n={n}, c={c}, k={k}")
    return 1.0 - comb(n - c, k) / comb(n, k)


def majority_at_k(answers: Sequence[str | None], correct: Sequence[bool], k: int) -> float:
    """Chance that the most frequent answer among k of these completions is right (Wang et al. 2022, self-consistency).

    The mean over subsets of size k (all, or 2,000 drawn with a fixed seed); ties are broken by lot. A completion
    without an answer has no vote. Answers are compared as texts, so 1/2 and 0.5 split a vote unless the verifier
    writes them alike; a right answer counts as the share of its completions that were judged right.

    >>> majority_at_k(["4", "4", "5"], [True, True, False], 3)
    1.0
    """
    n = len(answers)
    if not 1 <= k <= n:
        raise ValueError(f"majority@k needs 1 <= k <= n, got n={n}, k={k}")
    right: dict[str, list[bool]] = defaultdict(list)
    for answer, good in zip(answers, correct, strict=True):
        if answer is not None:
            right[answer].append(good)
    share = {answer: sum(goods) / len(goods) for answer, goods in right.items()}
    total, subsets = 0.0, _subsets(n, k)
    for subset in subsets:
        votes: dict[str, int] = defaultdict(int)
        for i in subset:
            if (answer := answers[i]) is not None:
                votes[answer] += 1
        if votes:
            top = max(votes.values())
            winners = [answer for answer, count in votes.items() if count == top]
            total += sum(share[answer] for answer in winners) / len(winners)
    return total / len(subsets)


def value_at_k(measure: str, problem: Sampled, k: int) -> float:
    """`pass_at_k` or `majority_at_k` (measure `pass`, `majority`) of the completions of one problem.

    >>> value_at_k("pass", Sampled(["4", "5"], [True, False], [9, 9]), 1)
    0.5
    """
    if measure == "pass":
        return pass_at_k(len(problem.correct), sum(problem.correct), k)
    return majority_at_k(problem.answers, problem.correct, k)


def curve_table(tables: Iterable[pa.Table], *, price: float | None = None, seed: int = 0) -> pa.Table:
    """Rows of `CURVE` from trace tables (columns model, domain, problem_id, token_ids, answer, correct, meta).

    For each model, and each of its domains and `all`: measure pass and majority at k = 1, 2, 4 ... and the largest k
    that every problem has; tokens = k times the mean tokens of a completion; cost = tokens times `price` a million,
    null without a price; ci: 95 % percentile interval of 1,000 bootstraps over problems. Then `pass_slope` and
    `majority_slope`: the least-squares slope of value on log2(tokens), the gain for each doubling of the tokens, fitted
    again in each bootstrap (k = the largest k fitted, tokens null); the line runs through the mean of its points.
    Completions without a verdict are left out.

    Not shown: what longer single chains would bring (tokens grow here by more chains alone), nor anything beyond the
    largest k: both measures bend at 1, and the log fit knows no ceiling.
    """
    problems: dict[tuple[str, str], dict[str, list[tuple[str | None, bool, int]]]] = {}
    for table in tables:
        columns = [table[name].to_pylist() for name in ("model", "domain", "problem_id", "answer", "correct")]
        for model, domain, problem, answer, correct, tokens in zip(*columns, tokens_spent(table), strict=True):
            if correct is not None and problem is not None:
                group = problems.setdefault((model, domain), {})
                group.setdefault(problem, []).append((answer, correct, tokens))
    groups: dict[tuple[str, str], list[Sampled]] = defaultdict(list)
    for (model, domain), by_problem in sorted(problems.items()):
        for _, rows in sorted(by_problem.items()):
            answers, correct, tokens = (list(part) for part in zip(*rows, strict=True))
            sampled = Sampled(answers, correct, tokens)
            groups[model, domain].append(sampled)
            groups[model, "all"].append(sampled)
    rows = []
    for (model, domain), sampled in sorted(groups.items()):
        if domain == "all" and sum(key[0] == model for key in groups) == 2:
            continue  # one domain: all says the same
        rows += [{"model": model, "domain": domain, **row} for row in curve(sampled, price=price, seed=seed)]
    return pa.Table.from_pylist(rows, schema=CURVE)


def curve(problems: Sequence[Sampled], *, price: float | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The rows of one group, as `curve_table` describes them."""
    import numpy as np

    most = min(len(problem.correct) for problem in problems)
    ks = sorted({*(2**i for i in range(most.bit_length()) if 2**i <= most), most})
    spent = float(np.mean([np.mean(problem.tokens) for problem in problems]))
    # tokens = k * spent, so the slope on log2(tokens) is the slope on log2(k).
    doublings = np.log2(ks) - np.log2(ks).mean()
    draws = _draws(len(problems), seed)
    n_samples = sum(len(problem.correct) for problem in problems)
    shared = {"n_problems": len(problems), "n_samples": n_samples}
    rows: list[dict[str, Any]] = []
    for measure in MEASURES:
        values = np.array([[value_at_k(measure, problem, k) for k in ks] for problem in problems])
        booted = values[draws].mean(1)
        for j, k in enumerate(ks):
            row = rows_of_measure(values[:, j].tolist(), k * spent, n_samples, price, seed)
            rows.append({"measure": measure, "k": k} | row)
        if len(ks) > 1:
            slopes = booted @ doublings / (doublings**2).sum()
            slope = float(values.mean(0) @ doublings / (doublings**2).sum())
            low, high = np.quantile(slopes, (0.025, 0.975))
            row = {"measure": f"{measure}_slope", "k": most, "tokens": None, "cost": None, "value": slope}
            rows.append(row | {"ci_low": float(low), "ci_high": float(high)} | shared)
    return rows


def rows_of_measure(
    values: Sequence[float], tokens: float, n_samples: int, price: float | None, seed: int
) -> dict[str, Any]:
    """The columns of a measure out of its value at each problem: mean, bootstrap over problems, tokens and cost."""
    import numpy as np

    low, high = np.quantile(np.asarray(values)[_draws(len(values), seed)].mean(1), (0.025, 0.975))
    return {
        "tokens": tokens,
        "cost": None if price is None else tokens * price / 1e6,
        "value": float(np.mean(values)),
        "ci_low": float(low),
        "ci_high": float(high),
        "n_problems": len(values),
        "n_samples": n_samples,
    }


def tokens_spent(table: pa.Table) -> list[int]:
    """Completion tokens of each trace: its ids, or what a server said it billed (`completion_tokens` in meta), or 0."""
    counts = []
    for ids, meta in zip(table["token_ids"], table["meta"].to_pylist(), strict=True):
        counts.append(len(ids) if ids.is_valid else int(json.loads(meta or "{}").get("completion_tokens") or 0))
    return counts


def _draws(n: int, seed: int) -> Any:
    """Problems of each bootstrap, int[1000, n]."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, n, (_BOOTSTRAPS, n))


@cache
def _subsets(n: int, k: int) -> list[tuple[int, ...]]:
    if comb(n, k) <= _SUBSETS:
        return list(combinations(range(n), k))
    import random

    rng = random.Random(n * 1_000 + k)
    return [tuple(rng.sample(range(n), k)) for _ in range(_SUBSETS)]
