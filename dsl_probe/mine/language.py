"""The language stage: what a group of traces writes as a language of its own: lexicon, grammar, and whether it is one.

For each domain of the group: categories of units, an automaton and its productions, and bits a unit on held-out
problems against a Markov model, on the text and on the same text with its units shuffled. With a reference (the base or
start model on the same problems): the words and phrases far beyond it.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dsl_probe.groups import checked_name, group_columns, parse_group, select_rows, slug
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import PRIVATE, VARIANTS, UserError


@dataclass(frozen=True)
class LanguageConfig:
    """Whose language, against whom."""

    group: str = ""
    """The traces: column=value[,column=value], such as model=NAME."""
    reference: str | None = None
    """Traces of the model that it was trained from, on the same problems: --reference model=NAME. Without it there is
    no private lexicon."""
    grammar: bool = True
    """Learn a grammar of each domain, and code held-out problems with it."""
    max_units: int = 200_000
    """Units of a domain that the grammar is learnt and tested on, in whole traces drawn at random."""
    name: str | None = None
    """Name of the language, for its folder (default: made from the group)."""
    seed: int = 0
    """Seed of the split into halves, and of the draw."""


@dataclass(frozen=True)
class LanguageResult:
    """Counts of a language job. `exchanged`: words and phrases found when each problem's traces are dealt to group and
    reference at random, which is what chance finds."""

    id: str
    traces: int
    domains: int
    words: int
    phrases: int
    exchanged: int
    verdicts: dict[str, str]


def language_id(config: LanguageConfig) -> str:
    """Name of a language's folder."""
    if config.name:
        return checked_name(config.name)
    key = hashlib.blake2b(f"{config.group}\0{config.reference}".encode(), digest_size=3).hexdigest()
    return f"{slug('-'.join(parse_group(config.group).values()), 48)}-{key}"


@stage_of_run
def learn_language(run: Run, config: LanguageConfig, *, force: bool = False) -> LanguageResult:
    """Recover the language of a group of traces; writes languages/ID/{grammar.json,lexicon,variants}.

    Support asked for is that of the mine stage. Memory: about 80 bytes a unit of the two groups; for a grammar 12 bytes
    a unit (of `max_units`) and category.

    What it does not show: that people would call it a language. Read the verdicts with their intervals: a grammar that
    does not beat a Markov model on unseen problems explains nothing that order alone does not.
    """
    if not config.group:
        raise UserError("a language needs a group of traces: --language.group model=NAME")
    if config.max_units < 1_000:
        raise UserError(f"--max-units is {config.max_units}; the least is 1000.")
    id = language_id(config)
    stage = f"language.{id}"
    if not run.begin(stage, asdict(config), run.trace_files() | run.outputs("mine"), force):
        return LanguageResult(**run.counts(stage))
    try:
        own, reference, traces = language_rows(run, config)
    except UserError:
        run.abandon(stage)
        raise
    from dsl_probe.groups import problem_codes
    from dsl_probe.mine.corpus import read_symbols

    symbols, flags, bounds, forms = read_symbols(run)
    problem = problem_codes(traces)
    domains, domain = np.unique(np.array(traces["domain"].to_pylist(), object), return_inverse=True)
    outputs, verdicts = [], {}
    words = phrases = exchanged = 0
    if reference is not None:
        _say("words and phrases that the reference lacks")
        least = (run.stage("mine") or {})["config"]
        text = _Text(symbols, flags, bounds, forms, problem, domain, [str(d) for d in domains], least)
        rows, variants = _private(text, own, reference)
        words, phrases = (sum(r["kind"] == kind for r in rows) for kind in ("word", "phrase"))
        exchanged = len(_private(text, *_exchanged(own, reference, problem, config.seed))[0])
        outputs.append(run.write_table(f"languages/{id}/lexicon.parquet", pa.Table.from_pylist(rows, schema=PRIVATE)))
        outputs.append(
            run.write_table(f"languages/{id}/variants.parquet", pa.Table.from_pylist(variants, schema=VARIANTS))
        )
    if config.grammar:
        from dsl_probe.mine.grammar import domain_grammar

        grammars = {}
        for d in range(len(domains)):
            rows = own[domain[own] == d]
            if len(rows):
                _say(f"grammar of {domains[d]}: {len(rows):,} traces")
                grammars[str(domains[d])] = domain_grammar(symbols, bounds, problem, forms, rows, config)
        verdicts = {name: g["verdict"] for name, g in grammars.items()}
        outputs.append(run.write_json(f"languages/{id}/grammar.json", grammars))
    result = LanguageResult(id, len(own), len(np.unique(domain[own])), words, phrases, exchanged, verdicts)
    run.finish(stage, outputs, asdict(result), seed=config.seed)
    return result


def read_grammar(run: Run, id: str) -> dict[str, Any]:
    """The grammars of a language by domain, as domain_grammar made them."""
    return run.json(f"languages/{id}/grammar.json")


@dataclass(frozen=True)
class _Text:
    symbols: np.ndarray
    flags: np.ndarray
    bounds: np.ndarray
    forms: list[str]
    problem: np.ndarray
    domain: np.ndarray
    domains: list[str]
    least: dict[str, Any]


def language_rows(run: Run, config: LanguageConfig) -> tuple[np.ndarray, np.ndarray | None, pa.Table]:
    """Rows of the group and of its reference, on the problems that both answered; and the columns of all traces that
    they were chosen by."""
    columns = {"problem_id", "domain", *group_columns(config.group, config.reference)}
    traces = run.all_shards("traces", sorted(columns))
    own = select_rows(traces, config.group)
    if config.reference is None:
        return own, None, traces
    reference = select_rows(traces, config.reference)
    both = np.intersect1d(own, reference)
    if len(both):
        raise UserError(f"{len(both):,} traces belong to both {config.group!r} and {config.reference!r}; take others.")
    from dsl_probe.groups import problem_codes

    problem = problem_codes(traces)
    shared = np.intersect1d(problem[own], problem[reference])
    if len(shared) == 0:
        raise UserError(
            f"{config.group!r} and {config.reference!r} answered no problem in common; a reference on other problems "
            "tells nothing about the model."
        )
    return own[np.isin(problem[own], shared)], reference[np.isin(problem[reference], shared)], traces


def _exchanged(own: np.ndarray, reference: np.ndarray, problem: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As many traces of each problem on either side, dealt at random."""
    rows = np.concatenate([own, reference])
    side = np.repeat([0, 1], [len(own), len(reference)])
    draw = np.random.default_rng([seed, 13]).random(len(rows))
    dealt, ordered = np.lexsort((draw, problem[rows])), np.lexsort((side, problem[rows]))
    return np.sort(rows[dealt[side[ordered] == 0]]), np.sort(rows[dealt[side[ordered] == 1]])


def _private(text: _Text, own: np.ndarray, reference: np.ndarray) -> tuple[list[dict], list[dict]]:
    """Rows of the private lexicon and of its variants."""
    from dsl_probe.mine.corpus import units_of
    from dsl_probe.mine.entries import MOST_VARIANTS, exact_share, motif_id, variants_of
    from dsl_probe.mine.private import find_phrases, find_words, scope
    from dsl_probe.mine.select import log_likelihood

    rows = np.concatenate([own, reference])
    at, bounds = units_of(rows, text.bounds)
    symbols, barrier = text.symbols[at], text.flags[at] > 0
    doc = np.repeat(np.arange(len(rows)), np.diff(bounds))
    mine, problem, domain = np.arange(len(rows)) < len(own), text.problem[rows], text.domain[rows]
    least = text.least["min_traces"], text.least["min_problems"]
    free = ~barrier & mine[doc]
    units = np.bincount(domain[doc[free]], minlength=len(text.domains))
    sizes = int(free.sum()), int((~barrier & ~mine[doc]).sum())
    forms = np.array([*text.forms, "*"], object)

    def row(kind, pattern, docs, there, g2, exact, saved, variants) -> dict:
        written = forms[np.asarray(pattern)].tolist()
        own_docs = np.unique(docs)
        return {
            "motif_id": motif_id(text.least["units"], written),
            "kind": kind,
            "text": (" " if text.least["units"] == "words" else "").join(written),
            "pattern": written,
            "length": len(written),
            "count": len(docs),
            "reference_count": there,
            "g2": g2,
            "support": len(own_docs),
            "problems": len(np.unique(problem[own_docs])),
            "domains": [text.domains[d] for d in scope(domain[docs], units)],
            "exact_share": exact,
            "bits_saved": saved,
            "variants": variants,
        }

    found, variants = [], []
    for word in find_words(symbols, doc, mine, barrier, problem, *least):
        found.append(row("word", word.pattern, doc[word.at], word.there, word.g2, 1.0, 0.0, 1))
    index, entries = find_phrases(symbols, bounds, mine, barrier, problem, *least, text.least["max_length"])
    known = {r["motif_id"] for r in found}
    for entry in entries:
        uses, chosen = entry.uses, index.own_uses(entry.uses)
        start, stop = uses.start[chosen], uses.stop[chosen]
        listed = variants_of(symbols, start, stop, forms, text.least["units"])[1]
        there = int(np.count_nonzero(uses.free)) - len(start)
        g2 = float(log_likelihood(np.array(len(start)), np.array(there), *sizes))
        exact = exact_share(entry, chosen)
        new = row("phrase", entry.pattern, doc[start], there, g2, exact, entry.saved, len(listed))
        if new["motif_id"] in known:
            continue
        found.append(new)
        variants += [{"motif_id": new["motif_id"], **variant} for variant in listed[:MOST_VARIANTS]]
    return found, variants


def _say(message: str) -> None:
    say(f"language: {message}")
