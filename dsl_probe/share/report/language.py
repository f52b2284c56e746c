"""The part of a report on languages: the run's lexicon, what a group says beyond its reference, held-out bits."""

from collections.abc import Iterator
from typing import Any

from dsl_probe.groups import short
from dsl_probe.mine.dictionary import Entry, dictionary
from dsl_probe.mine.language import read_grammar
from dsl_probe.mine.uses import language_config
from dsl_probe.share.blocks import Block, Heading, Paragraph, Table, figure_text, interval_text
from dsl_probe.share.report.sources import origin
from dsl_probe.store import Run

_ENTRIES = 12


def language_section(run: Run) -> Iterator[Block]:
    """The lexicon of the run, then every language that was learnt; of what is stale the uses cannot be found again."""
    if not run.has("lexicon.parquet"):
        return
    yield Heading("Lexicon and languages")
    stale = {s.stage for s in run.status() if s.state != "done"}
    if "mine" in stale:
        yield Paragraph("The lexicon is of other traces than those that now lie in the run, and is left out.")
        return
    entries = dictionary(run)
    counts = run.counts("mine")
    yield Paragraph(
        f"The lexicon that makes all traces of the run shorter to write down has {len(entries):,} entries, which cover "
        f"{counts['coverage']:.0%} of {counts['units']:,} units. Glosses say where an entry stands, not what it means."
    )
    if entries:
        yield _excerpt(entries, origin(run, "lexicon.parquet"))
    for id in run.languages():
        if f"language.{id}" not in stale:
            yield from _language(run, id)


def _language(run: Run, id: str) -> Iterator[Block]:
    config = language_config(run, id)
    counts = run.counts(f"language.{id}")
    yield Heading(f"The language of {short(config.group)}", 3)
    told = f"Language {id}: {counts['traces']:,} traces of {config.group}."
    if config.reference:
        told += (
            f" {counts['words']:,} words and {counts['phrases']:,} phrases are used at least three times as often "
            f"as by {config.reference} on the same problems; {counts['exchanged']:,} come out when traces are dealt "
            f"to the two at random."
        )
    yield Paragraph(told)
    if config.reference and run.has(f"languages/{id}/lexicon.parquet"):
        entries = dictionary(run, id)
        if entries:
            yield _excerpt(entries, origin(run, f"languages/{id}/lexicon.parquet"))
    if run.has(f"languages/{id}/grammar.json"):
        yield _held_out(read_grammar(run, id), origin(run, f"languages/{id}/grammar.json"))


def _excerpt(entries: list[Entry], source: str) -> Table:
    shown = entries[:_ENTRIES]
    against = any(e.reference_count is not None for e in shown)
    columns = ("entry", "gloss", "uses", "traces", "problems", *(("reference", "G2") if against else ()))
    rows: list[tuple[str, ...]] = []
    for e in shown:
        row = (e.text, e.gloss, f"{e.count:,}", f"{e.support:,}", f"{e.problems:,}")
        beyond = (f"{e.reference_count:,}" if e.reference_count is not None else "–", figure_text(e.g2, 0))
        rows.append((*row, *(beyond if against else ())))
    caption = (
        f"{len(shown):,} of {len(entries):,} entries, by falling count; dsl-probe export --what dictionary has all"
    )
    return Table(columns, rows, caption, source)


def _held_out(grammars: dict[str, Any], source: str) -> Table:
    rows = []
    for domain, g in grammars.items():
        bits = g.get("bits")
        if bits is None:
            rows.append((domain, f"{g['problems']:,}", "–", "–", "–", "–", g["verdict"]))
            continue
        figures = (figure_text(bits[k]) for k in ("markov", "grammar", "both"))
        difference = interval_text(*bits["difference"], signed=True)
        rows.append((domain, f"{g['problems']:,}", *figures, difference, g["verdict"]))
    return Table(
        ("domain", "problems", "Markov", "grammar", "both", "grammar less Markov", "verdict"),
        rows,
        "Bits a unit on held-out problems, intervals by problem",
        source,
    )
