"""Two ways to spend tokens: whole chains (accuracy against tokens spent), and resampling a chain from its steps."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dsl_probe.types import TRACES, Problem, UserError

if TYPE_CHECKING:
    from dsl_probe.collect.domains import Domain
    from dsl_probe.collect.seeded import Sampling
    from dsl_probe.models import Model

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
    draws = np.random.default_rng(seed).integers(0, len(problems), (_BOOTSTRAPS, len(problems)))
    shared = {"n_problems": len(problems), "n_samples": sum(len(problem.correct) for problem in problems)}
    rows: list[dict[str, Any]] = []
    for measure in MEASURES:
        values = np.array([[_value(measure, problem, k) for k in ks] for problem in problems])
        booted = values[draws].mean(1)
        for j, k in enumerate(ks):
            low, high = np.quantile(booted[:, j], (0.025, 0.975))
            tokens = k * spent
            cost = None if price is None else tokens * price / 1e6
            row = {"measure": measure, "k": k, "tokens": tokens, "cost": cost, "value": float(values[:, j].mean())}
            rows.append(row | {"ci_low": float(low), "ci_high": float(high)} | shared)
        if len(ks) > 1:
            slopes = booted @ doublings / (doublings**2).sum()
            slope = float(values.mean(0) @ doublings / (doublings**2).sum())
            low, high = np.quantile(slopes, (0.025, 0.975))
            row = {"measure": f"{measure}_slope", "k": most, "tokens": None, "cost": None, "value": slope}
            rows.append(row | {"ci_low": float(low), "ci_high": float(high)} | shared)
    return rows


def resample(
    traces: pa.Table,
    model: "Model",
    domain: "Domain",
    sampling: "Sampling",
    *,
    steps: Sequence[int] | None = None,
    samples: int = 4,
    seed: int = 0,
    batch_size: int = 32,
) -> pa.Table:
    """Completions that share a trace's start up to a step and are drawn afresh from there: rows of `TRACES`, a tree.

    steps: numbers of tokens to keep; default: those before each step of the text (`positions.step_spans`), 0 included.
    Each new trace has the kept tokens at the end of `prompt_ids` and their text as `prefix`, so that every token id in
    it was drawn; meta says {"parent": trace_id, "step": tokens kept, "step_number": i}. Where accuracy given the start
    up to step i + 1 differs from that up to step i, step i decided something. Not shown: that what the step says is
    why. Samples of one parent share a problem, so they are no independent problems.

    >>> tree = resample(run.table("traces/00000"), model, domain, Sampling(stop_ids=(2,)))     # doctest: +SKIP
    """
    from dsl_probe.collect.decode import draw
    from dsl_probe.collect.local import sampling_record, shown
    from dsl_probe.collect.seeded import key_of

    starts = []  # (row, tokens kept, number of the step, sample)
    for row in traces.to_pylist():
        if row["token_ids"] is None or row["prompt_ids"] is None or row["tokenizer"] != model.tokenizer_hash:
            raise UserError(
                f"trace {row['trace_id']} has no token ids of {model.name}'s tokenizer; resampling needs traces that "
                f"dsl-probe collect drew from a model with the same tokenizer."
            )
        kept = _step_starts(model.tokenizer, row) if steps is None else [k for k in steps if k <= len(row["token_ids"])]
        starts += [(row, k, number, sample) for number, k in enumerate(kept) for sample in range(samples)]
    prompts = [[*row["prompt_ids"], *row["token_ids"][:k]] for row, k, _, _ in starts]
    keys = [key_of(seed, f"{row['trace_id']}/{k}", sample) for row, k, _, sample in starts]
    record = json.dumps(sampling_record(model, sampling, seed, batch_size), sort_keys=True)
    rows: list[dict[str, Any]] = []
    done = draw(model, prompts, keys, sampling, size=batch_size)
    for (row, k, number, sample), prompt, completion in zip(starts, prompts, done, strict=True):
        prefix = row["prefix"] + shown(model, row["token_ids"][:k], sampling)
        text = prefix + shown(model, completion.token_ids, sampling)
        problem = Problem(row["problem_id"], row["domain"], row["prompt"], row["reference"])
        verdict = domain.verify(problem, text)
        meta = {"parent": row["trace_id"], "step": k, "step_number": number, "verdict": verdict.reason}
        rows.append(
            row
            | {
                "trace_id": f"{row['trace_id']}/{k}/{seed}.{sample}",
                "sample": sample,
                "seed": seed,
                "sampling": record,
                "text": text,
                "prefix": prefix,
                "prompt_ids": prompt,
                "token_ids": completion.token_ids,
                "logprobs": completion.logprobs,
                "entropies": completion.entropies,
                "finish": completion.finish,
                "answer": verdict.answer,
                "correct": verdict.correct,
                "meta": json.dumps(meta, sort_keys=True),
            }
        )
    return pa.Table.from_pylist(rows, schema=TRACES)


def _step_starts(tokenizer: Any, row: dict[str, Any]) -> list[int]:
    """Numbers of tokens before each step of a trace; 0 is the first."""
    import numpy as np

    from dsl_probe.collect.positions import step_spans
    from dsl_probe.collect.tokens import char_spans

    text = row["text"].removeprefix(row["prefix"])
    spans = char_spans(tokenizer, row["token_ids"], text)
    if spans is None:
        raise UserError(f"the tokens of trace {row['trace_id']} do not spell its text; give `steps` yourself.")
    firsts = {int(np.searchsorted(spans[0], start, "right")) - 1 for start, _ in step_spans(text)}
    return sorted({0, *(first for first in firsts if first > 0)})


def tokens_spent(table: pa.Table) -> list[int]:
    """Completion tokens of each trace: its ids, or what a server said it billed (`completion_tokens` in meta), or 0."""
    counts = []
    for ids, meta in zip(table["token_ids"], table["meta"].to_pylist(), strict=True):
        counts.append(len(ids) if ids.is_valid else int(json.loads(meta or "{}").get("completion_tokens") or 0))
    return counts


def _value(measure: str, problem: Sampled, k: int) -> float:
    if measure == "pass":
        return pass_at_k(len(problem.correct), sum(problem.correct), k)
    return majority_at_k(problem.answers, problem.correct, k)


@cache
def _subsets(n: int, k: int) -> list[tuple[int, ...]]:
    if comb(n, k) <= _SUBSETS:
        return list(combinations(range(n), k))
    import random

    rng = random.Random(n * 1_000 + k)
    return [tuple(rng.sample(range(n), k)) for _ in range(_SUBSETS)]
