"""A monitor of a training run: is the model drifting into words of its own, or one opening, while it trains?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from dsl_probe.mine.private import Word, find_words, scope
from dsl_probe.mine.segment import Segmented, segment
from dsl_probe.mine.select import log_likelihood
from dsl_probe.share.corpus import CONTENT_KINDS
from dsl_probe.share.legibility import legibility
from dsl_probe.share.means import Estimate, mean_interval, problem_means, share_intervals
from dsl_probe.share.openers import find_openers
from dsl_probe.share.rarefy import count_matrix
from dsl_probe.types import UserError

DEALINGS, ALPHA = 99, 0.05


@dataclass(frozen=True)
class NewWord:
    """A word in excess of the base. uses, base_uses, g2: counts and their likelihood ratio; p_adj: of the number of
    traces that hold it, over all units; traces, problems: that hold it; share: of the traces, mean over problems;
    domains: where it is used, but for strays."""

    text: str
    uses: int
    base_uses: int
    g2: float
    p_adj: float
    traces: int
    problems: int
    share: Estimate
    domains: tuple[str, ...]


@dataclass(frozen=True)
class Monitor:
    """Figures of one step. An estimate is a mean over problems with its 95 % interval and the number of problems.

    script_mix (0 to 1), switches (per 1,000 units), repetition (share of units): see `legibility.Legibility`. novelty:
    share of a trace's units in new words. top_opener: share of traces that open with `opener`, the most common first
    three units. turnover: Jaccard distance of the new words to those of `previous`, 0 (the same) to 1; None without
    previous or where both have none. words: the new words, strongest first.
    """

    step: int | None
    traces: int
    problems: int
    script_mix: Estimate
    switches: Estimate
    repetition: Estimate
    novelty: Estimate
    top_opener: Estimate
    opener: str
    turnover: float | None
    words: tuple[NewWord, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, texts and lists, for JSON; an estimate is {value, low, high, problems}, NaN is None."""
        return {name: _plain(value) for name, value in vars(self).items()}


def monitor(
    traces: Sequence[str],
    base: Sequence[str],
    step: int | None = None,
    previous: Monitor | None = None,
    *,
    problems: Sequence[str] | None = None,
    base_problems: Sequence[str] | None = None,
    domains: Sequence[str] | None = None,
    min_traces: int = 5,
    min_problems: int = 3,
) -> Monitor:
    """Figures of a batch of traces beside texts of the model that the training began with.

    problems, domains: of each trace; without problems each trace is its own. base_problems: of each base text; where
    both are given, words are sought in the texts on problems of both. min_traces, min_problems: that hold a new word.
    New words by `mine.private.find_words`: used three times as often as the base leads to expect, with a G2 of 24. That
    alone takes bursts for words (about ten in two samples of 1,000 real traces of one model), so the traces that hold
    a word must also be more than chance leads to expect: family-wise p of .05 a look over all units, by 99 random
    dealings of the texts to the two sides, within problems where both sides' are known, else of whole problems of the
    traces. Numbers, data and format tags are no words. 1,000 traces and 1,000 base texts of 2,000 characters: about
    two seconds on one core.

    >>> base = ["so we add both", "then we add one"] * 20
    >>> new = monitor(["zorp we add both", "zorp we add one"] * 20, base)
    >>> [word.text for word in new.words], round(new.novelty.value, 2), new.turnover
    (['zorp'], 0.25, None)
    >>> monitor(base, base, previous=new).turnover
    1.0

    What it does not show: that a new word is a private one. Other problems bring other words: give problems, and base
    texts on the same ones. Echoes of the prompt count. The top opener is the largest of many shares, so biased upward
    in a small batch. A look at each step is many looks; the growth stage tests a whole run at once.
    """
    if not len(traces) or not len(base):
        raise UserError(f"monitor needs traces and base texts; it was given {len(traces)} and {len(base)}.")
    for name, given, texts in (
        ("problems", problems, traces),
        ("domains", domains, traces),
        ("base_problems", base_problems, base),
    ):
        if given is not None and len(given) != len(texts):
            raise UserError(f"{name} has {len(given)} entries for {len(texts)} texts; give one for each.")
    compared, against = np.ones(len(traces), bool), np.ones(len(base), bool)
    own_ids = list(range(len(traces))) if problems is None else list(problems)
    base_ids = [f"base text {i}" for i in range(len(base))] if base_problems is None else list(base_problems)
    paired = problems is not None and base_problems is not None
    if paired:
        shared = set(own_ids) & set(base_ids)
        if not shared:
            raise UserError("the base texts answer none of the traces' problems; give base texts on the same ones.")
        compared, against = (np.array([p in shared for p in ids]) for ids in (own_ids, base_ids))
    codes = {id: code for code, id in enumerate(dict.fromkeys([*own_ids, *base_ids]))}
    every = np.array([codes[id] for id in [*own_ids, *base_ids]])
    problem = every[: len(traces)]
    units = segment([*traces, *base])
    text = legibility(traces)
    doc = np.repeat(np.arange(len(every)), np.diff(units.bounds))
    own = np.arange(len(every)) < len(traces)
    barrier = np.isin(units.kinds, CONTENT_KINDS)[units.ids]
    asked = np.append(compared, against)
    sought = (barrier | ~asked[doc], every, min_traces, min_problems)
    free = ~sought[0]
    holds = count_matrix(doc[free], units.ids[free], (len(every), len(units.texts)))
    p_adj = _presence_p(holds, own, asked, every, paired)
    found = [word for word in find_words(units.ids, doc, own, *sought) if p_adj[word.pattern[0]] <= ALPHA]
    names, domain = np.unique(np.array(domains or ["all"] * len(traces)), return_inverse=True)
    sizes = np.bincount(domain[doc[~barrier & own[doc]]], minlength=len(names))
    words = tuple(
        _word(word, float(p_adj[word.pattern[0]]), units, doc, problem, domain, sizes, names) for word in found
    )
    counted = np.bincount(doc[~barrier & own[doc]], minlength=len(traces))
    new = sum((np.bincount(doc[w.at], minlength=len(traces)) * len(w.pattern) for w in found), np.zeros(len(traces)))
    novelty = np.divide(new, counted, out=np.full(len(traces), np.nan), where=counted > 0)
    opener, opens = _opener(units, doc, len(traces))
    now = {word.text for word in words}
    before = now | {word.text for word in previous.words} if previous else set()
    return Monitor(
        step=step,
        traces=len(traces),
        problems=int(problem.max()) + 1,
        **{
            name: mean_interval(problem_means(value, problem))
            for name, value in (
                ("script_mix", text.script_mix),
                ("switches", text.switches),
                ("repetition", text.repetition),
                ("novelty", novelty),
            )
        },
        top_opener=_share(opens, problem),
        opener=opener,
        turnover=1 - len(now & {word.text for word in previous.words}) / len(before) if previous and before else None,
        words=words,
    )


def _presence_p(
    holds: sparse.csr_matrix, own: np.ndarray, asked: np.ndarray, problem: np.ndarray, paired: bool
) -> np.ndarray:
    """float64[units]: p of the excess of own texts that hold a unit, by the maximum over all units."""
    holds.data[:] = 1
    sides = [own, *_dealt(own, asked, problem, paired)]
    total = np.asarray(holds.sum(0)).ravel()

    def excess(side: np.ndarray) -> np.ndarray:
        here = holds.T @ side.astype(np.float64)
        sizes = int((side & asked).sum()), int((~side & asked).sum())
        return log_likelihood(here, total - here, *sizes) if min(sizes) else np.zeros(len(total))

    observed, *dealt = map(excess, sides)
    best = np.array([values.max(initial=0) for values in dealt])
    return (1 + (best[:, None] >= observed - 1e-9).sum(0)) / (1 + len(best))


def _dealt(own: np.ndarray, asked: np.ndarray, problem: np.ndarray, paired: bool) -> Iterator[np.ndarray]:
    """Sides of the texts, dealt anew: of the texts of each problem, or where the base has no problems of whole ones."""
    rng = np.random.default_rng(0)
    # Codes of problems rise with their first text, so that the first text of each stands at its code.
    rows = np.flatnonzero(asked) if paired else np.unique(problem, return_index=True)[1]
    stratum = problem[rows] if paired else np.zeros(len(rows))
    ordered = own[rows[np.argsort(stratum, kind="stable")]]
    for _ in range(DEALINGS):
        side = np.empty(len(rows), bool)
        side[np.lexsort((rng.random(len(rows)), stratum))] = ordered
        dealt = own.copy()
        dealt[rows] = side
        yield dealt if paired else side[problem]


def _word(
    word: Word,
    p_adj: float,
    units: Segmented,
    doc: np.ndarray,
    problem: np.ndarray,
    domain: np.ndarray,
    sizes: np.ndarray,
    names: np.ndarray,
) -> NewWord:
    docs = np.unique(doc[word.at])
    held = np.zeros(len(problem))
    held[docs] = 1
    return NewWord(
        text=" ".join(units.texts[i] for i in word.pattern),
        uses=len(word.at),
        base_uses=word.there,
        g2=word.g2,
        p_adj=p_adj,
        traces=len(docs),
        problems=len(np.unique(problem[docs])),
        share=_share(held, problem),
        domains=tuple(str(names[d]) for d in scope(domain[doc[word.at]], sizes)),
    )


def _share(held: np.ndarray, problem: np.ndarray) -> Estimate:
    """Share of traces, mean over problems, with a Wilson interval."""
    means = problem_means(held, problem)
    share, low, high = share_intervals(means.sum(keepdims=True), (means**2).sum(keepdims=True), len(means))
    return Estimate(float(share[0]), float(low[0]), float(high[0]), len(means))


def _opener(units: Segmented, doc: np.ndarray, traces: int) -> tuple[str, np.ndarray]:
    """The most common first three units that are no format tags; and float64[traces], 1 where a trace opens so."""
    opens = np.zeros(traces)
    having, openers, which = find_openers(units.ids, (np.array(units.kinds) != "format")[units.ids], doc, traces)
    if len(having) == 0:
        return "", opens
    top = np.bincount(which).argmax()
    opens[having[which == top]] = 1
    return " ".join(units.texts[i] for i in openers[top]), opens


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, NewWord):
        return {name: _plain(part) for name, part in vars(value).items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value
