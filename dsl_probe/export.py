"""What a run knows, as a file that other programs or people read: dictionary, grammar, graph, report, training data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dsl_probe.store import Run
from dsl_probe.types import UserError

if TYPE_CHECKING:
    from dsl_probe.share.verified_files import Export

What = Literal["dictionary", "grammar", "report", "verified"]
Format = Literal["md", "json", "html", "graphml", "trl-sft", "jsonl", "hf"]
# What can be written how; the first is what is written where no format is asked for.
FORMATS: dict[What, tuple[Format, ...]] = {
    "dictionary": ("md", "json", "html", "graphml"),
    "grammar": ("md", "json", "html", "graphml"),
    "report": ("html", "md"),
    "verified": ("jsonl", "trl-sft", "hf"),
}


def checked_format(what: What, format: Format | None) -> Format:
    """The format asked for, or the first of those that there are. Raises UserError where the two do not go together.

    >>> checked_format("report", None)
    'html'
    """
    allowed = FORMATS[what]
    if format is not None and format not in allowed:
        raise UserError(f"--what {what} cannot be written as {format!r}; its formats are {', '.join(allowed)}.")
    return format or allowed[0]


def export(run: Run, what: What = "dictionary", format: Format | None = None, language: str | None = None) -> str:
    """The text of the file.

    dictionary: the entries of a language's lexicon, or of the run's; as graphml the graph of moves, which entry follows
    which. grammar: productions, categories and held-out figures with verdicts; as json what grammar.json holds; as
    graphml the automata of all domains, side by side. report: the whole run as one document. The same run gives the
    same bytes. Verified traces are no text: see `write_verified`.
    """
    format = checked_format(what, format)
    if what == "verified":
        raise UserError("--what verified is written to a file or folder; give it with --out PATH.")
    if what == "report":
        return _report(run, format, language)
    if what == "grammar":
        return _grammar(run, format, language)
    if format == "graphml":
        from dsl_probe.mine.graph import moves, transition_graph

        found = moves(run, language=language)
        return _graphml(transition_graph(found.sequences, found.labels))
    from dsl_probe.mine import dictionary_text as text
    from dsl_probe.mine.dictionary import dictionary

    entries = dictionary(run, language)
    title = f"Dictionary of {language or run.identity['name']}"
    if format == "json":
        return text.as_json(entries)
    return text.as_html(entries, title) if format == "html" else text.as_markdown(entries, title)


def write_verified(
    run: Run, out: Path | None, format: Format | None = None, group: str | None = None, per_problem: int | None = None
) -> "Export":
    """Verified traces as training data, in a file (jsonl, trl-sft) or a folder (hf); returns the counts."""
    format = checked_format("verified", format)
    if out is None:
        raise UserError("--what verified is written to a file or folder; give it with --out PATH.")
    from dsl_probe.share.verified_files import export_verified

    return export_verified(run, format, out, group, per_problem)


def _report(run: Run, format: Format, language: str | None) -> str:
    if language is not None:
        raise UserError(f"--what report holds every language of the run; leave --language {language} out.")
    from dsl_probe.share.blocks import as_html, as_markdown
    from dsl_probe.share.report import report

    return as_html(report(run)) if format == "html" else as_markdown(report(run))


def _grammar(run: Run, format: Format, language: str | None) -> str:
    from dsl_probe.mine import grammar_text as text
    from dsl_probe.mine.language import read_grammar
    from dsl_probe.mine.uses import language_config

    known = [id for id in run.languages() if run.has(f"languages/{id}/grammar.json")]
    if language is None and len(known) == 1:
        language = known[0]
    if language is None:
        there = ", ".join(known) or f"none; dsl-probe mine {run.path} --language.group model=NAME makes one"
        raise UserError(f"--what grammar needs --language; with a grammar there are: {there}")
    if not language_config(run, language).grammar:
        there = ", ".join(known) or "none"
        raise UserError(f"language {language!r} was learnt without a grammar; with one there are: {there}")
    grammars = read_grammar(run, language)
    if format == "json":
        return json.dumps(grammars, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if format == "graphml":
        import networkx as nx

        from dsl_probe.mine.graph import automaton_graph, for_xml

        automata = {f"{for_xml(domain)}:": automaton_graph(g) for domain, g in grammars.items() if "edges" in g}
        return _graphml(nx.union_all(automata.values(), rename=automata) if automata else nx.DiGraph())
    title = f"Grammar of {language}"
    return text.as_html(grammars, title) if format == "html" else text.as_markdown(grammars, title)


def _graphml(graph) -> str:
    import networkx as nx

    return "\n".join(nx.generate_graphml(graph)) + "\n"
