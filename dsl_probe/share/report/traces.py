"""The part of a report that says what was collected: models, domains, amounts, how traces ended, accuracy."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.mine.corpus import group_column
from dsl_probe.share.accuracy import accuracy_rows
from dsl_probe.share.blocks import Block, Heading, Paragraph, Plot, Table, interval_text
from dsl_probe.share.figures import Dot, intervals
from dsl_probe.share.verified import stated_licence
from dsl_probe.store import Run

_COLUMNS = ("model", "run", "regime", "domain", "problem_id", "step", "finish", "token_ids", "meta")
MOST_ROWS, _MOST_DOTS = 60, 30


@dataclass
class _Amount:
    traces: int = 0
    units: int = 0
    tokens: int = 0
    with_tokens: int = 0
    problems: set[tuple[str, str]] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    steps: set[int] = field(default_factory=set)
    finish: Counter[str] = field(default_factory=Counter)


def traces_section(run: Run) -> Iterator[Block]:
    """What was collected, from the traces themselves; a model with a training run goes by the name of the run."""
    yield Heading("What was collected")
    if not run.shards("traces"):
        yield Paragraph("The run holds no traces.")
        return
    amounts, licences = _amounts(run)
    total = sum(a.traces for a in amounts.values())
    domains = sorted(set().union(*(a.domains for a in amounts.values())))
    problems = len(set().union(*(a.problems for a in amounts.values())))
    models = len({model for model, _ in amounts})
    named = ", ".join(domains[:12]) + ", ..." * (len(domains) > 12)
    yield Paragraph(
        f"{total:,} traces of {models:,} model{'s' * (models != 1)}, {problems:,} problems in {len(domains):,} domain"
        f"{'s' * (len(domains) != 1)} ({named}). Units are words, numbers and marks as mine counts them; tokens are "
        f"the model's own, where the traces carry them."
    )
    files = len(run.shards("traces"))
    yield Table(
        ("model", "regime", "domains", "problems", "traces", "steps", "units", "tokens", "ended"),
        [
            (
                model,
                regime,
                f"{len(a.domains):,}",
                f"{len(a.problems):,}" if a.problems else "–",
                f"{a.traces:,}",
                f"{min(a.steps)} to {max(a.steps)}" if a.steps else "–",
                f"{a.units:,}" if a.units else "–",
                f"{a.tokens:,}" + ("" if a.with_tokens == a.traces else f" in {a.with_tokens:,} traces")
                if a.with_tokens
                else "–",
                ", ".join(f"{n:,} {how}" for how, n in sorted(a.finish.items())),
            )
            for (model, regime), a in sorted(amounts.items())
        ],
        "Models and amounts",
        f"from traces/ ({files} file{'s' * (files != 1)}; hashes in the appendix)",
    )
    yield Paragraph(
        "Licences that the traces state: " + ", ".join(f"{name} {n:,}" for name, n in sorted(licences.items())) + "."
    )
    yield from _accuracy(run)


def _amounts(run: Run) -> tuple[dict[tuple[str, str], _Amount], Counter[str]]:
    """(model, regime) -> what there is of it; and licence -> traces. One shard in memory at a time."""
    amounts: dict[tuple[str, str], _Amount] = {}
    licences: Counter[str] = Counter()
    # Shards of units stand for the shards of traces, one for one; unless the traces changed since.
    mined = (run.stage("mine") or {}).get("inputs") == run.trace_files()
    units = run.shards("units") if mined else []
    for k, shard in enumerate(run.each_shard("traces", list(_COLUMNS))):
        n = shard.num_rows
        tokens = pc.list_value_length(shard["token_ids"]).to_pylist()
        counted = pc.list_value_length(run.table(units[k], ["ids"])["ids"]).to_pylist() if units else [0] * n
        licences.update(stated_licence(meta) for meta in shard["meta"].to_pylist())
        shown = pa.table({"model": group_column(shard), **{c: shard[c] for c in _COLUMNS[2:7]}})
        for row, of_tokens, of_units in zip(shown.to_pylist(), tokens, counted, strict=True):
            a = amounts.setdefault((row["model"], row["regime"]), _Amount())
            a.traces += 1
            a.units += of_units
            a.tokens += of_tokens or 0
            a.with_tokens += of_tokens is not None
            a.domains.add(row["domain"])
            a.finish[row["finish"] or "unknown"] += 1
            if row["problem_id"] is not None:
                a.problems.add((row["domain"], row["problem_id"]))
            if row["step"] is not None:
                a.steps.add(row["step"])
    return amounts, licences


def _accuracy(run: Run) -> Iterator[Block]:
    yield Heading("Accuracy", 3)
    rows = [r for r in accuracy_rows(run, [1]) if r["measure"] == "pass" and r["problems"]]
    if not rows:
        yield Paragraph("No trace has a verdict together with a problem: accuracy is unknown.")
        return
    yield Paragraph(
        "Mean over problems of the share of right completions, with Student's t interval by problem (95 %)."
    )
    several = {(r["model"], r["regime"]) for r in rows if r["domain"] == "all"}
    whole = [r for r in rows if r["domain"] == "all" or (r["model"], r["regime"]) not in several]
    table = Table(
        ("model", "regime", "domain", "accuracy", "problems", "completions"),
        [
            (
                r["model"],
                r["regime"],
                r["domain"],
                interval_text(r["value"], r["ci_low"], r["ci_high"]),
                f"{r['problems']:,}",
                f"{r['samples']:,}",
            )
            for r in rows[:MOST_ROWS]
        ],
        more(len(rows), MOST_ROWS),
        "from traces/ (hashes in the appendix)",
    )
    dots = [Dot(r["model"], r["value"], r["ci_low"], r["ci_high"], r["regime"]) for r in whole[:_MOST_DOTS]]
    title = "Accuracy by model, all domains together, with 95 % intervals, which are cut here at 0 and 1"
    if dots:
        yield Plot(intervals(dots, title, "accuracy", within=(0, 1)), table)
    else:
        yield table


def more(rows: int, most: int) -> str:
    """What a table's caption says where rows were left out.

    >>> more(70, 60), more(5, 60)
    ('The first 60 of 70 rows', '')
    """
    return f"The first {most:,} of {rows:,} rows" if rows > most else ""
