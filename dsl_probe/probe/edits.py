"""Edits of finished chains: what a model is given to go on from, and what it may not write from there.

A trace is token ids with the characters that each stands for; an edit names a span of units. The tokens around it stay
as the model wrote them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dsl_probe.collect.positions import answer_span

MOST_SEQUENCES = 200
CERTAIN = 0.9
_CLOSE = ("</think>", "</reasoning>", "</scratchpad>")


@dataclass(frozen=True)
class Chain:
    """A completion: token ids, and the characters [starts, stops) of its text that each spells."""

    ids: list[int]
    starts: np.ndarray
    stops: np.ndarray
    text: str

    def tokens(self, start: int, stop: int) -> tuple[int, int] | None:
        """Tokens [i, j) that spell the characters [start, stop), white space before them included.

        None where a token at an edge holds other characters too, so that the span cannot be taken out by itself.
        """
        i = int(np.searchsorted(self.stops, start, "right"))
        j = int(np.searchsorted(self.starts, stop, "left"))
        if i >= j:
            return None
        around = self.text[self.starts[i] : start] + self.text[stop : self.stops[j - 1]]
        return (i, j) if not around.strip() else None

    def upto(self, stop: int) -> int:
        """Number of tokens that hold the characters before `stop`, a token across it included."""
        return int(np.searchsorted(self.starts, stop, "left"))


def ban(chain: Chain, first: tuple[int, int]) -> list[int] | None:
    """The tokens before a span (characters): where a ban of it first makes a difference."""
    found = chain.tokens(*first)
    return None if found is None else chain.ids[: found[0]]


def replace(chain: Chain, span: tuple[int, int], upto: int, other: Sequence[int]) -> list[int] | None:
    """The tokens before a span, those of another span (none: the span is cut out), and those after it, as far as the
    character `upto`."""
    found = chain.tokens(*span)
    return None if found is None else [*chain.ids[: found[0]], *other, *chain.ids[found[1] : chain.upto(upto)]]


def answered(chain: Chain, answer: str | None, begin: int) -> tuple[int, int, int] | None:
    """Tokens (i, j, k): the chain is [i, j), what leads from it to the answer [j, k). None where no answer is found.

    begin: characters of a forced opening, which stay. The chain ends at its closing tag; without one, with the last
    line or sentence end before the answer.
    """
    span = answer_span(chain.text, answer)
    if span is None:
        return None
    head = chain.text[: span[0]]
    closes = max(head.rfind(tag) for tag in _CLOSE)
    end = closes if closes >= 0 else max(head.rfind("\n") + 1, head.rfind(". ") + 2 if ". " in head else 0, begin)
    i, j, k = (int(np.searchsorted(chain.stops, at, "right")) for at in (begin, end, span[0]))
    # A token across an edge stands on the side of the chain, but for the answer's own.
    return (i, j, k) if i <= j <= k else None


def blank(chain: Chain, place: tuple[int, int, int]) -> list[int]:
    """The chain taken out; what leads to the answer stays."""
    i, j, k = place
    return [*chain.ids[:i], *chain.ids[j:k]]


def shuffle(chain: Chain, place: tuple[int, int, int], bounds: np.ndarray, rng: np.random.Generator) -> list[int]:
    """The units of the chain in random order. bounds: the characters where its units begin; a token goes with the unit
    that it ends in."""
    i, j, k = place
    of = np.searchsorted(bounds, chain.stops[i:j] - 1, "right")
    pieces = [chain.ids[i + a : i + b] for a, b in _runs(of)]
    mixed = [token for n in rng.permutation(len(pieces)) for token in pieces[n]]
    return [*chain.ids[:i], *mixed, *chain.ids[j:k]]


def _runs(of: np.ndarray) -> list[tuple[int, int]]:
    cuts = [0, *(np.flatnonzero(np.diff(of)) + 1).tolist(), len(of)]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def spellings(uses: Iterable[tuple[Chain, tuple[int, int]]]) -> list[tuple[int, ...]]:
    """The sequences of tokens that spell spans (characters), at most 200, the most frequent first."""
    found: Counter[tuple[int, ...]] = Counter()
    for chain, span in uses:
        at = chain.tokens(*span)
        if at is not None:
            found[tuple(chain.ids[at[0] : at[1]])] += 1
    return [s for s, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_SEQUENCES]]


def bans(sequences: Sequence[tuple[int, ...]], begun: Callable[[tuple[int, ...]], int]) -> list[tuple[int, ...]]:
    """What to rule out so that none of the sequences is written: each cut off at the first token after which, in
    `CERTAIN` of all cases, one of them is written. So a model is not led half-way into a word that it cannot end.

    begun: how often a sequence of tokens stands in the traces.
    """
    found = []
    for sequence in sequences:
        for k in range(1, len(sequence) + 1):
            start = sequence[:k]
            whole = sum(begun(other) for other in sequences if other[:k] == start)
            if k == len(sequence) or whole >= CERTAIN * begun(start):
                found.append(start)
                break
    return list(dict.fromkeys(found))


def counter(chains: Mapping[int, Chain]) -> Callable[[tuple[int, ...]], int]:
    """A function that counts a sequence of tokens in chains, occurrences that overlap included."""
    ids = np.concatenate([np.array([*chain.ids, -1], np.int64) for chain in chains.values()])
    order = np.argsort(ids, kind="stable")
    ranked = ids[order]

    def count(sequence: tuple[int, ...]) -> int:
        at = order[np.searchsorted(ranked, sequence[0]) : np.searchsorted(ranked, sequence[0], "right")]
        for k, token in enumerate(sequence[1:], 1):
            at = at[at + k < len(ids)]
            at = at[ids[at + k] == token]
        return len(at)

    return count
