"""The private lexicon of a group of traces: the words and phrases that a reference on the same problems lacks.

A word is a unit, or units that are never apart, used far beyond what the reference leads to expect; single units have
no other test than this one. A phrase is a motif of several units that is in excess (lexicon.py), with its variants.

Not shown: that the excess is the model's doing and not the topic's or the template's (the reference should answer the
same problems); nor that a word is new: it is new against this reference.
"""

from dataclasses import dataclass

import numpy as np

from dsl_probe.mine import lexicon
from dsl_probe.mine.align import Text
from dsl_probe.mine.lexicon import Entry
from dsl_probe.mine.repeats import find_repeats
from dsl_probe.mine.select import SURE, in_excess, log_likelihood
from dsl_probe.mine.suffixes import build_index

MIN_SEED = 6
TOGETHER = 0.9  # share of the uses of two units in which they must stand together to be one word
SCOPE = 0.05  # of the rate in the domain where it is used most: less is a stray


@dataclass(frozen=True)
class Word:
    """pattern: unit ids. at int64[k]: positions of its uses in own documents. there: uses in the reference."""

    pattern: tuple[int, ...]
    at: np.ndarray
    there: int
    g2: float


def find_words(
    symbols: np.ndarray,
    doc: np.ndarray,
    own: np.ndarray,
    barrier: np.ndarray,
    problem: np.ndarray,
    min_traces: int,
    min_problems: int,
) -> list[Word]:
    """Words in excess of the reference, by falling G2. doc int[n]; own bool[n_docs]; barrier bool[n]: not counted.

    >>> symbols = np.array([7, 8, 1, 7, 8, 2] * 40 + [1, 2, 3, 1, 2, 3] * 40)
    >>> doc = np.repeat(np.arange(160), 3)
    >>> found = find_words(symbols, doc, doc[::3] < 80, symbols < 0, np.arange(160), 20, 10)
    >>> [word.pattern for word in found]
    [(7, 8)]
    """
    n = int(symbols.max(initial=0)) + 1
    free = ~barrier
    mine = free & own[doc]
    sizes = int(mine.sum()), int((free & ~own[doc]).sum())
    if not min(sizes):
        return []  # where a side has no text, nothing can be told from it
    here, there = (np.bincount(symbols[m], minlength=n) for m in (mine, free & ~own[doc]))
    good = in_excess(here, there, *sizes, least=SURE)
    follows = np.full(n, -1)
    led = np.zeros(n, bool)
    pair = np.flatnonzero(mine[:-1] & mine[1:] & (doc[:-1] == doc[1:]) & good[symbols[:-1]] & good[symbols[1:]])
    codes, times = np.unique(symbols[pair].astype(np.int64) * n + symbols[pair + 1], return_counts=True)
    for i in np.argsort(-times, kind="stable").tolist():
        a, b = divmod(int(codes[i]), n)
        last = b
        while follows[last] >= 0:
            last = follows[last]
        # A word said again and again leads back to where it begins.
        if a != last and times[i] >= TOGETHER * max(here[a], here[b]):
            follows[a], led[b] = b, True
    found = []
    for first in np.flatnonzero(good & ~led):
        pattern = [int(first)]
        while follows[pattern[-1]] >= 0:
            pattern.append(int(follows[pattern[-1]]))
        at = np.flatnonzero(mine & (symbols == first))
        docs = np.unique(doc[at])
        if len(docs) >= min_traces and len(np.unique(problem[docs])) >= min_problems:
            g2 = float(log_likelihood(here[first], there[first], *sizes))
            found.append(Word(tuple(pattern), at, int(there[first]), g2))
    return sorted(found, key=lambda word: (-word.g2, word.pattern))


def find_phrases(
    symbols: np.ndarray,
    bounds: np.ndarray,
    own: np.ndarray,
    barrier: np.ndarray,
    problem: np.ndarray,
    min_traces: int,
    min_problems: int,
    max_length: int,
) -> tuple[Text, list[Entry]]:
    """Motifs of two units or more in excess of the reference, grown to their variants and parsed."""
    index = build_index(symbols, bounds)
    label = np.where(own, 0, 1)
    found = find_repeats(index, doc_label=label, n_labels=2, min_count=MIN_SEED, max_length=max_length)
    return lexicon.against_reference(index, found, own, problem, min_traces, min_problems, MIN_SEED, barrier)


def scope(domain: np.ndarray, units: np.ndarray) -> list[int]:
    """Domains in which a word is used, but for strays: `SCOPE` of the rate of the domain that uses it most, or more.

    domain int[k]: of each use. units int[n_domains]: counted units of each.

    >>> scope(np.array([0] * 50 + [1]), np.array([1000, 1000, 1000]))
    [0]
    """
    rate = np.bincount(domain, minlength=len(units)) / np.maximum(units, 1)
    return np.flatnonzero(rate >= SCOPE * rate.max()).tolist()
