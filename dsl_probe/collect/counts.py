"""What a collect gave, counted from its traces."""

from collections import Counter
from dataclasses import dataclass, field

from dsl_probe.collect.curve import CURVE_COLUMNS, tokens_spent
from dsl_probe.store import Run


@dataclass(frozen=True)
class CollectResult:
    """Counts of a finished collect. `unverified`: no verdict, because the verifier failed. finishes: stop, ...

    Of a tree also: its parents, how many steps change the accuracy (p_adj <= .05 within their parent), and why parents
    were left out; its accuracy is the mean over all starts.
    """

    traces: int
    problems: int
    tokens: int
    correct: int
    unverified: int
    finishes: dict[str, int] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    parents: int = 0
    deciding: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


def count_traces(run: Run) -> CollectResult:
    """What the traces of a run add up to."""
    finishes: Counter[str] = Counter()
    verdicts: Counter[tuple[str, bool | None]] = Counter()
    traces, tokens, problems = 0, 0, set()
    for table in run.each_shard("traces", [*CURVE_COLUMNS, "finish"]):
        traces += table.num_rows
        problems.update(table["problem_id"].to_pylist())
        finishes.update(finish or "unknown" for finish in table["finish"].to_pylist())
        verdicts.update(zip(table["domain"].to_pylist(), table["correct"].to_pylist(), strict=True))
        tokens += sum(tokens_spent(table))
    by_domain: dict[str, list[int]] = {}
    for (domain, correct), count in sorted(verdicts.items(), key=str):
        if correct is not None:
            right, judged = by_domain.get(domain, [0, 0])
            by_domain[domain] = [right + correct * count, judged + count]
    return CollectResult(
        traces=traces,
        problems=len(problems),
        tokens=tokens,
        correct=sum(right for right, _ in by_domain.values()),
        unverified=traces - sum(judged for _, judged in by_domain.values()),
        finishes=dict(sorted(finishes.items())),
        accuracy={domain: right / judged for domain, (right, judged) in by_domain.items()},
    )
