"""A monitor of a training run: is the model drifting into words of its own, or one opening, while it trains?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl_probe.mine.private import Word, find_words, scope
from dsl_probe.mine.segment import Segmented, segment
from dsl_probe.share.corpus import CONTENT_KINDS
from dsl_probe.share.legibility import legibility
from dsl_probe.share.means import Estimate, mean_interval, problem_means, share_intervals
from dsl_probe.types import UserError

OPENER = 3  # units


@dataclass(frozen=True)
class NewWord:
    """A word in excess of the base. uses, base_uses: counts; traces, problems: that hold it; share: of the traces, mean
    over problems; domains: where it is used, but for strays."""

    text: str
    uses: int
    base_uses: int
    g2: float
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
    previous or where both have none. words: the new words, strongest first. chance: how many are found where traces and
    base texts are dealt to the two sides at random, within problems where those of both are known.
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
    chance: int

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
    New words by `mine.private.find_words`: used three times as often as the base leads to expect, with G2 of 24 or
    more. Numbers, data and format tags are no words. 1,000 traces and 1,000 base texts of 2,000 characters: about two
    seconds on one core.

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
    found = find_words(units.ids, doc, own, *sought)
    dealt = _dealt(own, asked, every if paired else np.zeros(len(every)))
    chance = len(find_words(units.ids, doc, dealt, *sought))
    names, domain = np.unique(np.array(domains or ["all"] * len(traces)), return_inverse=True)
    sizes = np.bincount(domain[doc[~barrier & own[doc]]], minlength=len(names))
    words = tuple(_word(word, units, doc, problem, domain, sizes, names) for word in found)
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
        chance=chance,
    )


def _dealt(own: np.ndarray, asked: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Sides of the texts that are compared, dealt anew within each stratum."""
    rows = np.flatnonzero(asked)
    draw = np.random.default_rng(0).random(len(rows))
    dealt = own.copy()
    dealt[rows[np.lexsort((draw, stratum[rows]))]] = own[rows[np.argsort(stratum[rows], kind="stable")]]
    return dealt


def _word(
    word: Word,
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
    at = np.flatnonzero((np.array(units.kinds) != "format")[units.ids])
    first = np.searchsorted(doc[at], np.arange(traces))
    rows = np.flatnonzero(np.bincount(doc[at], minlength=traces)[:traces] >= OPENER)
    opens = np.zeros(traces)
    if len(rows) == 0:
        return "", opens
    patterns, code = np.unique(units.ids[at[first[rows][:, None] + np.arange(OPENER)]], axis=0, return_inverse=True)
    top = np.bincount(code.ravel()).argmax()
    opens[rows[code.ravel() == top]] = 1
    return " ".join(units.texts[i] for i in patterns[top]), opens


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, NewWord):
        return {name: _plain(part) for name, part in vars(value).items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value
