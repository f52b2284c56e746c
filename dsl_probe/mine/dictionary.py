"""The dictionary of a lexicon: each entry with its variants, where it stands, examples, and whose it is.

A join of what the run holds, made when it is read. Glosses are made by rule from where an entry stands in the traces;
no model is asked.
"""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from dsl_probe.mine.carried import Decodable, Needed, read_carried
from dsl_probe.mine.corpus import group_column
from dsl_probe.mine.use_bits import use_bits
from dsl_probe.mine.uses import Units, Uses, find_uses, read_lexicon, read_rows
from dsl_probe.store import Run
from dsl_probe.types import FORMAT

MOST, OFTEN = 0.5, 0.25  # share of an entry's uses in one place from which on the place is its gloss; is "often" said
START, END = "(start)", "(end)"
_NEIGHBOURS, _EXAMPLES, _SHOWN_MEMBERS = 3, 3, 4
_CONTEXT = 60  # characters of an example before and after the use
_SLOT = re.compile(r"<[A-Z][A-Z0-9_]*>|\*")
_COLUMNS = ("problem_id", "trace_id", "domain", "model", "run", "regime")


@dataclass(frozen=True)
class Example:
    """A use in its context: characters of the trace before, of the use, and after."""

    trace_id: str
    domain: str
    before: str
    use: str
    after: str


@dataclass(frozen=True)
class Entry:
    """One entry. Shares are of its uses, 0 to 1; counts are of uses.

    kind: word | phrase (of a language), motif (of a run). slots: units of the pattern that are typed slots, `*` for
    any unit. variants: (text, count), falling. gloss: the short one, in brackets. where: (place, share, share of all
    counted units that stand so). before, after: (unit, share). categories: (domain, the other units of its category).
    contexts: (domain, category before most often, share, category after, share) by the grammars. domains, models,
    regimes: (name, count). reference_count, g2: of the reference; None without one. bits: (name of a score, mean bits
    a use under its model). decodable, needed: what probes and effects have shown (carried.py).
    """

    motif_id: str
    text: str
    kind: str
    pattern: tuple[str, ...]
    slots: tuple[str, ...]
    count: int
    support: int
    problems: int
    found: int
    variants: tuple[tuple[str, int], ...]
    gloss: str
    where: tuple[tuple[str, float, float], ...]
    before: tuple[tuple[str, float], ...]
    after: tuple[tuple[str, float], ...]
    categories: tuple[tuple[str, tuple[str, ...]], ...]
    contexts: tuple[tuple[str, str, float, str, float], ...]
    examples: tuple[Example, ...]
    domains: tuple[tuple[str, int], ...]
    models: tuple[tuple[str, int], ...]
    regimes: tuple[tuple[str, int], ...]
    reference_count: int | None
    g2: float | None
    bits: tuple[tuple[str, float], ...]
    bits_saved: float
    decodable: tuple[Decodable, ...] = ()
    needed: tuple[Needed, ...] = ()


def dictionary(run: Run, language: str | None = None) -> list[Entry]:
    """The entries of a run's lexicon, or of a language's, by falling count.

    `found`: uses that stand in the traces read, on which gloss, neighbours and examples rest. It is `count`, but for
    private phrases that overlap with others or have more than 100 variants, and for the run's lexicon in the traces of
    one group. Memory: about 40
    bytes a unit.

    >>> dictionary(Run("runs/demo"), "rl-only")[0].gloss     # doctest: +SKIP
    '[after [ii i iv ...] in walk: quil | blef | nabe | tisk | wuse ...]'

    What it does not show: a meaning. A gloss says where an entry stands, and two entries of one gloss may differ in all
    else. Shares of all units stand beside it: where most units follow a number, that one does tells little.
    """
    lexicon = read_lexicon(run, language)
    units = read_rows(run, lexicon.rows)
    uses = find_uses(run, lexicon, units)
    traces = run.shard_rows("traces", lexicon.rows, [*_COLUMNS])
    facts = {c: traces[c].to_pylist() for c in ("problem_id", "trace_id", "domain", "regime")}
    facts["model"] = group_column(traces).to_pylist()
    places, usual = _places(units, uses)
    grammars = _grammars(run, language)
    domain = np.array(facts["domain"], object)
    joiner = "" if (run.stage("mine") or {})["config"]["units"] == "tokens" else " "
    bounds = np.searchsorted(uses.entry, np.arange(len(lexicon.entries) + 1))
    picked = [_pick(uses.at[a:b], facts) + a for a, b in pairwise(bounds)]
    examples = _examples(run, units, uses, np.concatenate([*picked, np.zeros(0, np.int64)]), facts)
    bits = use_bits(run, units, uses)
    carried = read_carried(run)
    made = []
    for i, row in enumerate(lexicon.entries):
        own = slice(int(bounds[i]), int(bounds[i + 1]))
        n = max(own.stop - own.start, 1)
        where = tuple((name, float(at[own].sum() / n), usual[name]) for name, at in places.items())
        before, after = _neighbours(units, uses, own)
        pattern = tuple(row["pattern"])
        categories = tuple(
            (d, tuple(u for u in of[pattern[0]][1] if u != pattern[0]))
            for d, of in grammars.items()
            if len(pattern) == 1 and len(of.get(pattern[0], ("", ()))[1]) > 1
        )
        contexts = _contexts(units, uses, own, domain, grammars)
        told = {k: Counter(facts[k][t] for t in uses.at[own].tolist()) for k in ("domain", "model", "regime")}
        context, category = (_of_most(said, told["domain"]) for said in (contexts, categories))
        note = f" in {context[0]}" if context else ""
        made.append(
            Entry(
                motif_id=row["motif_id"],
                text=row["text"],
                kind=row.get("kind", "motif"),
                pattern=pattern,
                slots=tuple(u for u in pattern if _SLOT.fullmatch(u)),
                count=row["count"],
                support=row["support"],
                problems=row["problems"],
                found=own.stop - own.start,
                variants=tuple((joiner.join(p), many) for p, many in lexicon.variants.get(row["motif_id"], ())),
                gloss=_gloss(row["text"], where, before, after, context, category, note),
                where=where,
                before=before,
                after=after,
                categories=categories,
                contexts=contexts,
                examples=tuple(examples[int(k)] for k in picked[i]),
                domains=_ranked(told["domain"]),
                models=_ranked(told["model"]),
                regimes=_ranked(told["regime"]),
                reference_count=row.get("reference_count"),
                g2=row.get("g2"),
                bits=tuple(
                    (name, float(b[own][known].mean()))
                    for name, b in bits.items()
                    if (known := ~np.isnan(b[own])).any()
                ),
                bits_saved=row["bits_saved"],
                decodable=carried.decodable.get(row["motif_id"], ()),
                needed=carried.needed.get(row["motif_id"]) or carried.needed.get(row["text"], ()),
            )
        )
    return sorted(made, key=lambda e: (-e.count, e.motif_id))


def gloss_in(entry: Entry, domain: str) -> str:
    """The short gloss of an entry in a trace of this domain: by the domain's own grammar, where there is one."""
    context, category = (next((x for x in of if x[0] == domain), None) for of in (entry.contexts, entry.categories))
    return _gloss(entry.text, entry.where, entry.before, entry.after, context, category, "")


def _ranked(counts: Counter) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(((str(k), n) for k, n in counts.items()), key=lambda item: (-item[1], item[0])))


def _places(units: Units, uses: Uses) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Place -> whether each use stands there; and the share of all counted units that do. In the order of the gloss."""
    n = len(units.symbols)
    tag = (units.flags & FORMAT) > 0
    inner = np.append(np.where(tag, n, np.arange(n)), n)
    inner = np.minimum.accumulate(inner[::-1])[::-1]  # the next unit that is no tag; n if there is none
    opens, step, closes = (np.zeros(n + 1, bool) for _ in range(3))
    opens[inner[units.bounds[:-1]]] = True
    step[inner[units.steps]] = True
    closes[:-1], closes[units.bounds[1:]] = tag, True  # by the unit after the last
    number = np.zeros(n + 1, bool)
    number[1:] = np.isin(
        units.symbols, [i for i, form in enumerate(units.forms) if form == "<NUM>" or form.isdecimal()]
    )
    number[units.bounds[:-1]] = False
    free = np.flatnonzero(units.flags == 0)
    first = {"opens the trace": opens, "opens a step": step, "after NUM": number}
    found, usual = {}, {}
    for name in ("opens the trace", "before the answer or the end", "opens a step", "after NUM"):
        of = first.get(name, closes)
        found[name] = of[uses.start if name in first else uses.stop]
        usual[name] = float(of[free + (name not in first)].mean()) if len(free) else 0.0
    return found, usual


def _neighbours(units: Units, uses: Uses, own: slice) -> tuple[tuple[tuple[str, float], ...], ...]:
    """The most common units before and after, with their shares."""
    low, high = units.bounds[uses.at[own]], units.bounds[uses.at[own] + 1]
    symbols = np.append(units.symbols, 0)
    sides = []
    for inside, at, edge in (
        (uses.start[own] > low, uses.start[own] - 1, START),
        (uses.stop[own] < high, uses.stop[own], END),
    ):
        codes, counts = np.unique(np.where(inside, symbols[at], -1), return_counts=True)
        named = [(units.forms[c] if c >= 0 else edge, int(k)) for c, k in zip(codes.tolist(), counts, strict=True)]
        named.sort(key=lambda item: (-item[1], item[0]))
        sides.append(tuple((form, k / len(at)) for form, k in named[:_NEIGHBOURS]))
    return tuple(sides)


def _grammars(run: Run, language: str | None) -> dict[str, dict[str, tuple[str, list[str]]]]:
    """Domain -> unit -> name and units of its category; categories of rare units are none."""
    if language is None or not run.has(f"languages/{language}/grammar.json"):
        return {}
    return {
        domain: {
            unit: (name, members)
            for name, members in zip(g["names"][2:], g["categories"][2:], strict=True)
            for unit in members
        }
        for domain, g in run.json(f"languages/{language}/grammar.json").items()
        if "categories" in g  # too few problems: none was learnt
    }


def _contexts(units: Units, uses: Uses, own: slice, domain: np.ndarray, grammars) -> tuple:
    """Of each domain with a grammar: the category most often before and after, with shares of the uses there."""
    low, high = units.bounds[uses.at[own]], units.bounds[uses.at[own] + 1]
    start, stop = uses.start[own], uses.stop[own]
    found = []
    for name, of in grammars.items():
        here = np.flatnonzero(domain[uses.at[own]] == name)
        if len(here) == 0:
            continue
        sides = []
        for inside, at, edge in ((start > low, start - 1, START), (stop < high, stop, END)):
            forms = (units.forms[units.symbols[at[k]]] if inside[k] else None for k in here.tolist())
            counts = Counter(edge if form is None else of.get(form, ("rare",))[0] for form in forms)
            side, many = min(counts.items(), key=lambda item: (-item[1], item[0]))
            sides += [side, many / len(here)]
        found.append((name, *sides))
    return tuple(found)


def _of_most(by_domain, uses: dict[str, int]):
    """What is said of the domain with most uses; None if nothing is."""
    return max(by_domain, key=lambda said: uses.get(said[0], 0), default=None)


def _gloss(text: str, where, before, after, context, category, note: str) -> str:
    """The first place with MOST of the uses; else the one with the most, if they are OFTEN, and for a rule also twice
    what is usual."""
    places = [(name, share, share >= 2 * usual) for name, share, usual in where]
    sides = [(f"after {unit}", share) for unit, share in before[:1]]
    sides += [(f"before {unit}", share) for unit, share in after[:1]]
    if context:
        sides += [(f"after {context[1]}{note}", context[2]), (f"before {context[3]}{note}", context[4])]
    places += [(name, share, True) for name, share in sides]
    place = next((name for name, share, _ in places if share >= MOST), None)
    if place is None:
        name, share, _ = max((p for p in places if p[2]), key=lambda p: p[1], default=("", 0.0, True))
        place = f"often {name}" if share >= OFTEN else "anywhere"
    if category is None:
        return f"[{place}]"
    others = category[1]
    shown = " | ".join((text, *others[:_SHOWN_MEMBERS])) + (" ..." if len(others) > _SHOWN_MEMBERS else "")
    return f"[{place}: {shown}]"


def _pick(at: np.ndarray, facts: dict[str, list[Any]]) -> np.ndarray:
    """Which uses to show: the first of each problem, of other domains before of the same."""
    seen: dict[Any, int] = {}
    for k, trace in enumerate(at.tolist()):
        problem = facts["problem_id"][trace]
        seen.setdefault(problem if problem is not None else (trace,), k)
    turn: Counter = Counter()
    ranked = []
    for k in seen.values():
        domain = facts["domain"][at[k]]
        ranked.append((turn[domain], k))
        turn[domain] += 1
    return np.array([k for _, k in sorted(ranked)[:_EXAMPLES]], np.int64)


def _examples(
    run: Run, units: Units, uses: Uses, chosen: np.ndarray, facts: dict[str, list[Any]]
) -> dict[int, Example]:
    at = np.unique(uses.at[chosen])
    texts = dict(zip(at.tolist(), run.shard_rows("traces", units.rows[at], ["text"])["text"].to_pylist(), strict=True))
    made = {}
    for k in chosen.tolist():
        trace = int(uses.at[k])
        text, a, b = texts[trace], int(units.starts[uses.start[k]]), int(units.stops[uses.stop[k] - 1])
        around = text[max(a - _CONTEXT, 0) : a], text[a:b], text[b : b + _CONTEXT]
        made[k] = Example(facts["trace_id"][trace], facts["domain"][trace], *around)
    return made
