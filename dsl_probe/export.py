"""What a run knows of a language, as a file that other programs or people read."""

import json
from typing import Literal

from dsl_probe.store import Run
from dsl_probe.types import UserError

What = Literal["dictionary", "grammar"]
Format = Literal["md", "json", "html", "graphml"]


def export(run: Run, what: What = "dictionary", format: Format = "md", language: str | None = None) -> str:
    """The text of the file.

    dictionary: the entries of a language's lexicon, or of the run's; as graphml the graph of moves, which entry follows
    which. grammar: productions, categories and held-out figures with verdicts; as json what grammar.json holds; as
    graphml the automata of all domains, side by side. The same run gives the same bytes.
    """
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
