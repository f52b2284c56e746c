"""The part of a report on growth over training."""

from collections.abc import Iterator

import numpy as np

from dsl_probe.share.blocks import Block, Heading, Paragraph, Plot, Table, figure_text, interval_text
from dsl_probe.share.contrast import ALPHA
from dsl_probe.share.figures import Line, curve
from dsl_probe.share.report.sources import origin
from dsl_probe.store import Run

_TOP, _LINES = 12, 4


def growth_section(run: Run) -> Iterator[Block]:
    """What is born, changes and dies over training: of each training run a table and the curves of what moved most."""
    if not run.has("growth.parquet"):
        return
    counts = run.counts("growth")
    yield Heading("Growth over training")
    many = counts["runs"] != 1
    yield Paragraph(
        f"{counts['traces']:,} traces of {counts['runs']:,} training run{'s' * many}. Of {counts['items']:,} units, "
        f"motifs and openers {counts['changed']:,} change, {counts['born']:,} are born and {counts['died']:,} die "
        f"(p_adj <= .05, against steps dealt at random)."
    )
    table, events = run.frame("growth"), run.frame("growth_events")
    for name in dict.fromkeys(events["run"]):
        own = events[(events["run"] == name) & (events["p_adj"] <= ALPHA)]
        own = own.reindex(own["growth"].abs().sort_values(ascending=False, kind="stable").index)
        if not len(own):
            yield Paragraph(f"{name}: nothing is told apart from steps dealt at random.")
            continue
        behind = Table(
            ("kind", "item", "first", "last", "growth", "change at", "p_adj"),
            [
                (
                    r.kind,
                    r.text,
                    figure_text(r.first),
                    figure_text(r.last),
                    interval_text(r.growth, r.ci_low, r.ci_high, signed=True),
                    "–" if r.change is None or np.isnan(r.change) else f"step {r.change:.0f}",
                    figure_text(r.p_adj),
                )
                for r in own.head(_TOP).itertuples()
            ],
            f"{name}: shares of a step's traces; the {min(len(own), _TOP)} of {len(own):,} changes that move most",
            origin(run, "growth_events.parquet"),
        )
        lines = []
        for r in own.head(_LINES).itertuples():
            steps = table[(table["run"] == name) & (table["kind"] == r.kind) & (table["id"] == r.id)].sort_values(
                "step"
            )
            lines.append(
                Line(f"{r.kind} {r.text}", *(steps[c].tolist() for c in ("step", "value", "ci_low", "ci_high")))
            )
        yield Plot(
            curve(lines, f"{name}: share of traces that hold it, by step, with 95 % bands", "step", "share"), behind
        )
