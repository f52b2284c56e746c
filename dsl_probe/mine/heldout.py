"""Does a grammar explain text that it has not seen better than a Markov model does: bits a unit on held-out problems.

Three codes of the same units, learnt on the same documents:

- markov: interpolated Kneser-Ney of the order that is best on a part of these documents, mixed with a cache: units that
  came before in the document come again (Kuhn and De Mori 1990). Without it a code that looks back further would win by
  knowing the topic, with no order in the text at all.
- grammar: the category by the automaton's state, then the unit by its category, the state, and the units of that
  category that came before it in the document, however far back (a tier: Goldsmith 1976; Heinz et al. 2011).
- both: the category by the automaton, backing off to the Markov model; the unit by a mixture of the two.

Every code is a distribution over the same units and the end of the document, so bits can be compared. Not shown: that
people would find the grammar natural; nor, where Markov wins, that there is none.
"""

from dataclasses import dataclass

import numpy as np

from dsl_probe.mine import kneser_ney as kn
from dsl_probe.mine.automaton import Automaton, follow, learn, pruned
from dsl_probe.mine.categories import REST, categories

ORDERS = (1, 2, 3, 4, 5, 6, 8)
_TIER = 3  # units of the same category that are looked back at
_CACHES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_STRENGTHS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0, 2048.0, np.inf)
RARE = 0  # the unit that stands for all that occur in one document alone


@dataclass(frozen=True)
class Texts:
    """Documents of units: symbols int[n], bounds int64[n_docs + 1], problem int[n_docs]."""

    symbols: np.ndarray
    bounds: np.ndarray
    problem: np.ndarray

    def of(self, keep: np.ndarray) -> "Texts":
        """The documents for which keep bool[n_docs] holds."""
        sizes = np.diff(self.bounds)
        return Texts(
            self.symbols[np.repeat(keep, sizes)], np.concatenate([[0], np.cumsum(sizes[keep])]), self.problem[keep]
        )

    def shuffled(self, seed: int) -> "Texts":
        """The same documents, the units of each in random order."""
        doc = np.repeat(np.arange(len(self.problem)), np.diff(self.bounds))
        draw = np.random.default_rng([seed, 11]).random(len(doc))
        return Texts(self.symbols[np.lexsort((draw, doc))], self.bounds, self.problem)


@dataclass(frozen=True)
class Grammar:
    """What was learnt: category int[n] of each unit, and the automaton over categories."""

    category: np.ndarray
    automaton: Automaton

    @property
    def parameters(self) -> int:
        """Edges of the automaton and units that were given a category."""
        return int(np.count_nonzero(self.automaton.count)) + int(np.count_nonzero(self.category > REST))


def learn_grammar(texts: Texts, n: int) -> Grammar:
    """Categories, then the automaton of their sequences, without rare edges. n: units known."""
    category = np.full(n, REST, np.int64)
    found = categories(texts.symbols, texts.bounds)
    category[: len(found)] = found
    automaton = learn(category[texts.symbols], texts.bounds, int(category.max()) + 1)
    return Grammar(category, pruned(automaton))


def split(problem: np.ndarray, seed: int, share: float) -> np.ndarray:
    """bool[n_docs]: documents of a random `share` of the problems."""
    names = np.unique(problem)
    chosen = np.random.default_rng([seed, 12]).permutation(names)[: round(share * len(names))]
    return np.isin(problem, chosen)


@dataclass(frozen=True)
class Code:
    """Bits of each document by each code, float64[n_docs]; units int64[n_docs], ends included; the order of the Markov
    model, and the numbers that each code holds."""

    markov: np.ndarray
    grammar: np.ndarray
    both: np.ndarray
    units: np.ndarray
    order: int
    parameters: dict[str, int]


def code(train: Texts, test: Texts, n: int, grammar: Grammar, seed: int = 0) -> Code:
    """Bits of the test documents, with the grammar of train. Order, back-off and mixture are chosen on a quarter of the
    problems of train."""
    part = split(train.problem, seed, 0.25)
    fit, held = train.of(~part), train.of(part)
    smaller = learn_grammar(fit, n)
    models = {k: _markov_shares(fit, held, n, k, smaller) for k in ORDERS}
    order = max(models, key=lambda k: float(np.log2(models[k].unit).sum()))
    again = _again(held, n)
    cache = max(_CACHES, key=lambda w: float(np.log2(_cached(models[order].unit, again, w)).sum()))
    inner = _inner(fit, held, n, smaller)
    tuned = {}
    for name, k in (("grammar", 1), ("both", order)):
        parts = _Parts(inner, models[k])
        strength = max(_STRENGTHS, key=lambda s, parts=parts: float(np.log2(_mixed(parts, s, None)[0]).sum()))
        tuned[name] = (k, strength, 0.0 if name == "grammar" else _mixed(parts, strength, None)[1])
    models = {k: _markov_shares(train, test, n, k, grammar) for k in {1, order}}
    inner = _inner(train, test, n, grammar)
    bits = {
        name: -np.log2(_mixed(_Parts(inner, models[k]), strength, weight)[0])
        for name, (k, strength, weight) in tuned.items()
    }
    bits["markov"] = -np.log2(_cached(models[order].unit, _again(test, n), cache))
    counted = models[order].parameters
    parameters = {
        "grammar": inner.parameters + n,
        "both": inner.parameters + (counted if order > 1 else n),
        "markov": counted,
    }
    doc = np.repeat(np.arange(len(test.problem)), np.diff(test.bounds) + 1)
    total = {name: np.bincount(doc, b, len(test.problem)) for name, b in bits.items()}
    return Code(**total, units=np.diff(test.bounds) + 1, order=order, parameters=parameters)


def _ended(texts: Texts, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols with the end of each document, n, behind it; and the bounds of that."""
    return np.insert(texts.symbols, texts.bounds[1:], n), texts.bounds + np.arange(len(texts.bounds))


def _asked(texts: Texts, n: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    symbols, bounds = _ended(texts, n)
    return symbols, kn.before(symbols, bounds, order - 1, n)


def _markov(texts: Texts, n: int, order: int, category: np.ndarray | None = None) -> kn.NextUnit:
    return kn.fit(*_asked(texts, n, order), n + 1, category)


@dataclass(frozen=True)
class _Shares:
    """Probability of each unit of a text, and of its category, by a Markov model; the numbers that it holds."""

    unit: np.ndarray
    category: np.ndarray
    parameters: int


def _markov_shares(train: Texts, test: Texts, n: int, order: int, grammar: Grammar) -> _Shares:
    markov = _markov(train, n, order, _ending(grammar))
    return _Shares(*markov(*_asked(test, n, order)), markov.parameters)


@dataclass(frozen=True)
class _Inner:
    """Of each unit of a text: its category's uses after the state, and the state's; the share of the unit in its
    category by the tier. parameters: numbers that grammar and tier hold."""

    uses: np.ndarray
    total: np.ndarray
    tier: np.ndarray
    parameters: int


@dataclass(frozen=True)
class _Parts:
    inner: _Inner
    markov: _Shares


def _ending(grammar: Grammar) -> np.ndarray:
    """Category of each unit and of the end of a document: the latter is one of its own, 0, which no unit has."""
    return np.append(grammar.category, 0)


def _inner(train: Texts, test: Texts, n: int, grammar: Grammar) -> _Inner:
    automaton, category = grammar.automaton, _ending(grammar)
    resume = _resume(automaton, category, train)
    states = [_states(automaton, category, t, resume) for t in (train, test)]
    tiers = [_tier(t, n, category, s) for t, s in zip((train, test), states, strict=True)]
    tier = kn.fit(_ended(train, n)[0], tiers[0], n + 1, category)
    symbols, _ = _ended(test, n)
    unit, share = tier(symbols, tiers[1])
    kind, state = category[symbols], states[1]
    column = np.where(kind == 0, automaton.n_symbols, kind)
    uses = np.where(state >= 0, automaton.count[np.maximum(state, 0), column], 0)
    total = np.where(state >= 0, automaton.count.sum(1)[np.maximum(state, 0)], 0)
    return _Inner(uses, total, unit / share, grammar.parameters + tier.parameters)


def _resume(automaton: Automaton, category: np.ndarray, train: Texts) -> np.ndarray:
    """int32[c, c]: the state that mostly stands after two categories, for text that left the grammar."""
    kinds = category[train.symbols]
    states = automaton.walk(kinds, train.bounds)
    n = automaton.n_symbols
    after = np.delete(states, train.bounds[:-1] + np.arange(len(train.bounds) - 1))  # the state after each unit
    previous = kn.before(kinds, train.bounds, 1, 0)[:, 0]
    good = after >= 0
    key = (previous[good] * n + kinds[good]) * len(automaton.target) + after[good]
    best = np.full(n * n, -1, np.int32)
    codes, times = np.unique(key, return_counts=True)
    order = np.argsort(times, kind="stable")
    best[codes[order] // len(automaton.target)] = codes[order] % len(automaton.target)
    return best.reshape(n, n)


def _states(automaton: Automaton, category: np.ndarray, texts: Texts, resume: np.ndarray) -> np.ndarray:
    """The state before each unit and each end; text that left the grammar is taken up again where two categories tell
    where it is."""
    return follow(automaton.target, category[texts.symbols].astype(np.int32), texts.bounds, resume)


def _tier(texts: Texts, n: int, category: np.ndarray, states: np.ndarray) -> np.ndarray:
    """int64[k, 2 + _TIER]: contexts of a unit within its category: that, the state, the units of it before, nearest
    first."""
    symbols, bounds = _ended(texts, n)
    doc = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    kind = category[symbols]
    order = np.lexsort((np.arange(len(symbols)), kind, doc))
    group = doc[order].astype(np.int64) * (int(category.max()) + 1) + kind[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [len(group)]])
    out = np.empty((len(symbols), 2 + _TIER), np.int64)
    out[:, 0], out[:, 1] = kind, states + 1
    out[order, 2:] = kn.before(symbols[order], edges, _TIER, n + 1)
    return out


def _mixed(parts: _Parts, strength: float, weight: float | None) -> tuple[np.ndarray, float]:
    """Probability of each unit, and how much of the unit in its category is the Markov model's: fitted if not given."""
    inner, markov = parts.inner, parts.markov
    ahead = markov.category
    if not np.isinf(strength):
        ahead = (inner.uses + strength * markov.category) / (inner.total + strength)
    near = markov.unit / markov.category
    if weight is None:
        weight = 0.5
        for _ in range(30):
            weight = float((weight * near / (weight * near + (1 - weight) * inner.tier)).mean())
    return ahead * (weight * near + (1 - weight) * inner.tier), weight


def _cached(p: np.ndarray, again: np.ndarray, weight: float) -> np.ndarray:
    """A model mixed with a cache: again float64[k], share of the document's units so far that were this one; NaN at its
    beginning."""
    return np.where(np.isnan(again), p, (1 - weight) * p + weight * again)


def _again(texts: Texts, n: int) -> np.ndarray:
    symbols, bounds = _ended(texts, n)
    doc = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    place = np.arange(len(symbols)) - bounds[doc]
    order = np.lexsort((place, symbols, doc))
    first = np.concatenate([[True], (np.diff(doc[order]) != 0) | (np.diff(symbols[order]) != 0)])
    run = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    earlier = np.empty(len(order))
    earlier[order] = run
    return np.where(place > 0, earlier / np.maximum(place, 1), np.nan)
