"""The grammar of one domain's traces, as it is kept: categories, automaton, productions, and its held-out figures."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.mine import productions
from dsl_probe.mine.automaton import Automaton
from dsl_probe.mine.corpus import units_of
from dsl_probe.mine.heldout import RARE, Code, Grammar, Texts, code, learn_grammar, split

if TYPE_CHECKING:
    from dsl_probe.mine.language import LanguageConfig

LEAST_PROBLEMS = 20  # in each half; below, no interval is worth giving
_LISTED = 400  # productions and members that are kept as text


def domain_grammar(
    symbols: np.ndarray,
    bounds: np.ndarray,
    problem: np.ndarray,
    forms: list[str],
    rows: np.ndarray,
    config: "LanguageConfig",
) -> dict[str, Any]:
    """The grammar of the traces `rows`, and what it is worth on problems that it was not learnt on.

    Units that stand in one trace alone are one unit. Categories hold units by text. bits: bits a unit of each code on
    the held-out half, and how much less than the Markov model the grammar takes (difference below 0: it explains more),
    with a 95 % interval by problem; the same with units shuffled within traces, where nothing is left to explain.
    """
    texts, known = _texts(symbols, bounds, problem, rows, config)
    n = len(known) + 1
    half = split(texts.problem, config.seed, 0.5)
    train, test = texts.of(half), texts.of(~half)
    report: dict[str, Any] = {
        "traces": len(texts.problem),
        "problems": len(np.unique(texts.problem)),
        "units": len(texts.symbols),
        "vocabulary": n,
        "lengths": np.quantile(np.diff(texts.bounds), [0.005, 0.995]).astype(int).tolist(),
    }
    if len(texts.symbols) == 0:
        return report | {"verdict": "undecided: there is no text"}
    if min(len(np.unique(t.problem)) for t in (train, test)) < LEAST_PROBLEMS:
        return report | {"verdict": f"undecided: fewer than {2 * LEAST_PROBLEMS} problems"}
    learnt = learn_grammar(train, n)
    accepted = learnt.automaton.accepts(learnt.category[test.symbols], test.bounds)
    real = code(train, test, n, learnt, config.seed)
    mixed = texts.shuffled(config.seed)
    shuffled = code(mixed.of(half), mixed.of(~half), n, learn_grammar(mixed.of(half), n), config.seed)
    names = ["<RARE>", *(forms[s] for s in known.tolist())]
    bits = _bits(real, test.problem) | {"shuffled": _bits(shuffled, test.problem)}
    return (
        report
        | as_json(learn_grammar(texts, n), names)
        | {"held_out_accepted": float(accepted.mean()), "bits": bits, "verdict": verdict(bits)}
    )


def _texts(symbols, bounds, problem, rows, config) -> tuple[Texts, np.ndarray]:
    """The traces, no more than `max_units`; unit 0 is whatever stands in one trace alone. Which symbol each unit is."""
    order = np.random.default_rng([config.seed, 14]).permutation(rows)
    kept = np.sort(order[: max(int(np.searchsorted(np.cumsum(np.diff(bounds)[order]), config.max_units, "right")), 1)])
    at, ends = units_of(kept, bounds)
    flat, doc = symbols[at], np.repeat(np.arange(len(kept)), np.diff(ends))
    pairs = np.unique(flat.astype(np.int64) * len(kept) + doc) // len(kept)
    known = np.flatnonzero(np.bincount(pairs, minlength=int(flat.max(initial=0)) + 1) >= 2)
    unit = np.full(int(flat.max(initial=0)) + 1, RARE, np.int64)
    unit[known] = np.arange(len(known)) + 1
    return Texts(unit[flat], ends, problem[kept]), known


def _bits(found: Code, problem: np.ndarray) -> dict[str, Any]:
    total = found.units.sum()
    return {
        "units": int(total),
        "markov": float(found.markov.sum() / total),
        "markov_order": found.order,
        "grammar": float(found.grammar.sum() / total),
        "both": float(found.both.sum() / total),
        "difference": per_unit(found.grammar - found.markov, found.units, problem),
        "difference_both": per_unit(found.both - found.markov, found.units, problem),
        "parameters": found.parameters,
    }


def per_unit(bits: np.ndarray, units: np.ndarray, problem: np.ndarray) -> list[float]:
    """[bits a unit, lower, upper]: a ratio of sums with a 95 % interval, problems as clusters (linearised)."""
    from scipy.special import stdtrit

    _, code = np.unique(problem, return_inverse=True)
    b, u = np.bincount(code, bits), np.bincount(code, units)
    k, ratio = len(b), b.sum() / u.sum()
    error = np.sqrt(k / (k - 1) * ((b - ratio * u) ** 2).sum()) / u.sum()
    half = float(stdtrit(k - 1, 0.975)) * error
    return [float(ratio), float(ratio - half), float(ratio + half)]


def verdict(bits: dict[str, Any]) -> str:
    """What the held-out figures say: the grammar alone, or together with the Markov model, against the latter.

    What either gains on shuffled text, where units come again but in no order, does not count.
    """
    null = bits["shuffled"]
    if bits["difference"][2] < min(0.0, null["difference"][1]):
        return "supported: the grammar explains unseen traces better than the Markov model"
    if bits["difference_both"][2] < min(0.0, null["difference_both"][1]):
        return "undecided: the grammar adds to the Markov model, more than on shuffled text, but does not replace it"
    return "contradicted: the Markov model explains unseen traces as well as the grammar, or better"


def as_json(learnt: Grammar, names: list[str]) -> dict[str, Any]:
    """categories: lists of units, by number; edges: [state, category, next state, uses]; ends: [state, uses];
    productions: text."""
    automaton, category = learnt.automaton, learnt.category
    members = [[names[i] for i in np.flatnonzero(category == c)] for c in range(automaton.n_symbols)]
    members[0] = []
    labels = category_names(members)
    rules = productions.named(productions.grammar(automaton))
    state, symbol = np.nonzero(automaton.count[:, :-1])
    return {
        "categories": members,
        "names": labels,
        "states": len(automaton.target),
        "edges": [
            [int(s), int(c), int(automaton.target[s, c]), int(automaton.count[s, c])]
            for s, c in zip(state, symbol, strict=True)
        ],
        "ends": [[int(s), int(automaton.count[s, -1])] for s in np.flatnonzero(automaton.count[:, -1])],
        "productions": {k: productions.written(e, labels) for k, e in list(rules.items())[:_LISTED]},
    }


def category_names(members: list[list[str]]) -> list[str]:
    """What a category is called: its unit, or [its first units] in brackets.

    >>> category_names([["a"], ["b", "c", "d", "e", "f"]])
    ['a', '[b c d ...]']
    """
    return [m[0] if len(m) == 1 else f"[{' '.join(m[:3])}{' ...' if len(m) > 3 else ''}]" for m in members]


def from_json(stored: dict[str, Any]) -> tuple[Automaton, list[list[str]]]:
    """The automaton of a stored grammar, and the categories."""
    states, n = stored["states"], len(stored["categories"])
    target, count = np.full((states, n), -1, np.int32), np.zeros((states, n + 1), np.int64)
    for s, c, to, uses in stored["edges"]:
        target[s, c], count[s, c] = to, uses
    for s, uses in stored["ends"]:
        count[s, n] = uses
    return Automaton(target, count), stored["categories"]
