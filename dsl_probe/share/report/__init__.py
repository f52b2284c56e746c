"""A run as one document that can be handed on: HTML without scripts or outside resources, or Markdown.

Everything in it comes from the run's tables, and every figure names the file it was read from and its hash. It holds no
time and no absolute path: the same run gives the same bytes.
"""

from collections.abc import Iterator

from dsl_probe import __version__
from dsl_probe.share.blocks import Block, Heading, Items, Paragraph
from dsl_probe.share.report.comparison import claims_command, comparison_section
from dsl_probe.share.report.growth import growth_section
from dsl_probe.share.report.language import language_section
from dsl_probe.share.report.sources import appendix, citation
from dsl_probe.share.report.traces import traces_section
from dsl_probe.share.report.validation import validation_section
from dsl_probe.store import Run

_LIMITS = (
    "A difference between two models is one of usage. That a motif is over-represented does not show that it is "
    "meaningful, new or load-bearing; emergent is said of none without its effect on accuracy.",
    "Models may differ in length, accuracy, truncation, template, tokenizer and sampling beside their training. Equal "
    "units take out length alone.",
    "Rates are compositional: where one motif rises, others fall.",
    "Problems made from few templates are less independent than they count; intervals by problem are then too narrow.",
    "Glosses and categories say where words stand. Nothing here says what they mean to a model.",
    "No difference found is no proof of none: a motif that fewer than about 20 problems tell apart cannot be found "
    "among thousands.",
)


def report(run: Run) -> Iterator[Block]:
    """The blocks of the whole report; `blocks.as_html` and `blocks.as_markdown` write them.

    What it does not show: what the tables do not; each part says so of its measures. A stage that is stale is named
    first, since its figures are of other traces than those that now lie in the run.
    """
    yield Heading(f"Report of {run.identity['name']}", 1)
    yield Paragraph(
        f"Written by dsl-probe {__version__} from the tables of the run alone. Whether these models have a private "
        f"language is asked in steps: what was collected, what one model writes more often than another, whether it is "
        f"shared across domains, whether it has a grammar that explains unseen text."
    )
    bad = [f"{s.stage} is {s.state}: {s.detail}" for s in run.status() if s.state != "done"]
    if bad:
        yield Paragraph("Not all stages are up to date, so that parts of this report are of other traces:")
        yield Items(bad)
    yield from traces_section(run)
    for id in run.comparisons():
        yield from comparison_section(run, id)
    yield from claims_command(run)
    yield from language_section(run)
    yield from growth_section(run)
    yield from validation_section(run)
    yield Heading("Limits")
    yield Items(_LIMITS)
    yield from citation()
    yield from appendix(run)
