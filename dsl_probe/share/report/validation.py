"""The part of a report on what the comparison found of motifs planted in the traces, and of nothing planted."""

from collections.abc import Iterator
from typing import Any

from dsl_probe.share.blocks import Block, Heading, Items, Plot, Table, figure_text, interval_text
from dsl_probe.share.figures import Figure, Line, curve
from dsl_probe.share.report.sources import origin
from dsl_probe.store import Run


def validation_section(run: Run) -> Iterator[Block]:
    """What the tool finds of motifs that were planted in these traces, and what it invents where nothing was."""
    done = run.validations()
    if not done:
        return
    yield Heading("Validation on these traces")
    for id in done:
        counts = run.counts(f"validate.{id}")
        source = origin(run, f"validations/{id}/validation.parquet")
        yield Heading(f"Validation {id}", 3)
        yield Items(counts["reading"])
        yield Table(
            ("split, nothing planted", "text", "splits", "with any discovery", "up to, by chance", "mean"),
            [_null(n) for n in counts["nulls"]],
            "Discoveries where two halves of one group differ by chance alone, but for what is marked as no null",
            source,
        )
        if counts["recall"]:
            behind = Table(
                ("kind", "net discordant problems", "planted", "found", "share found"),
                [_bin(kind, b) for kind, bins in counts["recall"].items() for b in bins],
                source=source,
            )
            yield Plot(recall_figure(counts["recall"], id), behind)


def _null(n: dict[str, Any]) -> tuple[str, ...]:
    bound = f"{n['bound']:,}" if n["exact"] else "no null"
    return n["kind"], n["matched"], f"{n['splits']:,}", f"{n['with_any']:,}", bound, figure_text(n["mean"], 2)


def _bin(kind: str, b: dict[str, Any]) -> tuple[str, ...]:
    share = interval_text(b["share"], b["ci_low"], b["ci_high"])
    return kind, f"{b['low']:,} to {b['high'] - 1:,}", f"{b['n']:,}", f"{b['found']:,}", share


def recall_figure(recall: dict[str, list[dict[str, Any]]], id: str) -> Figure:
    """Share of planted motifs that were found, by net discordant problems; a line a kind."""
    lines = []
    for kind, bins in recall.items():
        middle = [(b["low"] + b["high"] - 1) / 2 for b in bins]
        share, low, high = ([b[name] for b in bins] for name in ("share", "ci_low", "ci_high"))
        lines.append(Line(kind, middle, share, low, high))
    title = f"Planted motifs that were found, by net discordant problems, 95 % intervals: {id}"
    return curve(lines, title, "net discordant problems", "share found")
