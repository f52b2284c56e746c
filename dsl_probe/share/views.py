"""What a comparison says of sharing and of the claims, as objects with a table, sentences, a figure and a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl_probe.files import replacing
from dsl_probe.share.blocks import Block, Heading, Items, Plot, Table, as_html
from dsl_probe.share.compare import compare
from dsl_probe.share.comparison import Comparison
from dsl_probe.share.figures import Dot, Figure, board, intervals
from dsl_probe.share.findings import findings
from dsl_probe.share.report.comparison import comparison_section
from dsl_probe.share.report.validation import recall_figure
from dsl_probe.share.union import Runs, one_run
from dsl_probe.share.validate import validate as of_traces

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = ("supported", "undecided", "contradicted")


@dataclass(frozen=True)
class View:
    """Part of a result: `.table` (a pandas frame), `.summary()`, `.plot()` (shown by a notebook), `.to_html()`."""

    title: str
    table: "pd.DataFrame"
    sentences: Sequence[str]
    figure: Figure

    def summary(self) -> str:
        """What the table shows, in sentences."""
        return "\n".join(self.sentences)

    def plot(self) -> Figure:
        """The figure; `.save("x.svg")` writes it."""
        return self.figure

    def to_html(self, path: str | Path | None = None) -> str:
        """One page that needs no network: sentences, figure, table. Also written to `path`, where one is given."""
        columns = list(self.table.columns)
        cells = [[_cell(v) for v in row] for row in self.table.itertuples(index=False)]
        blocks: list[Block] = [Heading(self.title, 1), Items(self.sentences), Plot(self.figure, Table(columns, cells))]
        return written(as_html(blocks), path)


def sharing(runs: Runs, out: str | Path | None = None, **options: Any) -> View:
    """How far the domains of each group share a vocabulary, A beside B: one row a (group, pair of domains, measure).

    sharing(run, a="model=X", b="model=Y"); options: those of `compare`, whose stage this runs or reads.
    """
    done = compare(runs, out=out, **options)
    table = done.sharing
    similar = table[table["measure"] == "morisita_horn"]
    dots = [Dot(f"{r.domain_a} / {r.domain_b}", r.value, r.ci_low, r.ci_high, r.group) for r in similar.itertuples()]
    title = "Morisita-Horn similarity of word counts between domains, 95 % intervals by problem"
    said = [f.text for f in findings(done) if f.kind == "sharing"] or ["No two domains can be compared."]
    return View(f"Sharing: {done.id}", table, said, intervals(dots, title, "similarity", zero=False))


def claims(runs: Runs, out: str | Path | None = None, **options: Any) -> View:
    """The design's claims with their verdicts: one row a claim, with effect, interval, n and threats.

    claims(run, a="model=RL", b="model=SFT", base="model=BASE"); options: those of `compare`, whose stage this runs or
    reads.
    """
    import pandas as pd

    done = compare(runs, out=out, **options)
    rows = [
        {"id": c.id, "claim": c.claim, "verdict": c.verdict, "reading": c.reading, "effect": c.effect, "value": c.value}
        | {"ci_low": c.ci_low, "ci_high": c.ci_high, "n": c.n, "threats": "; ".join(c.threats)}
        for c in done.claims
    ]
    said = [f"{c.verdict}: {c.claim}. {c.reading}" for c in done.claims]
    chosen = [VERDICTS.index(c.verdict) for c in done.claims]
    figure = board([c.claim for c in done.claims], VERDICTS, chosen, f"Verdicts on the claims: {done.id}")
    return View(f"Claims: {done.id}", pd.DataFrame(rows), said, figure)


def validate(runs: Runs, out: str | Path | None = None, **options: Any) -> View:
    """What the comparison would miss or invent in one group's traces: one row a split and planted motif.

    validate(run, group="model=X"); options: those of `validate.validate`, whose stage this runs or reads. The figure is
    the share of planted motifs that were found, by the problems that tell the two sides apart.
    """
    run = one_run(runs, out)
    done = of_traces(run, **options)
    figure = recall_figure(done.recall, done.id)
    table = run.frame(f"validations/{done.id}/validation")
    return View(f"Validation: {done.id}", table, done.reading, figure)


def page(done: Comparison, path: str | Path | None = None) -> str:
    """A comparison as one HTML page: claims, findings, motifs, sharing, legibility."""
    blocks = [Heading(f"Comparison {done.id}", 1), *comparison_section(done.run, done.id)]
    return written(as_html(blocks), path)


def written(html: str, path: str | Path | None) -> str:
    """The same text; also in a file, where one is given."""
    if path is not None:
        with replacing(Path(path)) as temporary:
            temporary.write_text(html, "utf-8")
    return html


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
