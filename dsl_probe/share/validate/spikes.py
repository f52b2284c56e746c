"""Motifs of known form that a model could have invented, made so that the traces at hand do not hold them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

NUMBER, GAP = "<NUM>", "*"
REPURPOSED = "re-purposed"
# Letters of scripts from which words are made; the first that the traces do not use is taken.
_SCRIPTS = ((0x10D0, 0x10F0), (0x0561, 0x0586), (0x0E01, 0x0E2E), (0x16A0, 0x16EA), (0x2D30, 0x2D66))
# Signs: technical and geometric ones, and those of astronomy and alchemy.
_SIGNS = ((0x2300, 0x23CE), (0x25A0, 0x25FF), (0x2609, 0x267E), (0x1F700, 0x1F773))
_BACKGROUNDS = (0.003, 0.01, 0.03, 0.1, 0.3)
_NEAREST = 5


@dataclass(frozen=True)
class Spike:
    """A motif to be planted. kind: one of `KINDS`; words: as they are written, NUMBER where a number stands, GAP where
    one to three units of the trace stand. background: share of the traces that held it before."""

    kind: str
    words: tuple[str, ...]
    background: float = 0.0

    @property
    def text(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Known:
    """What the traces hold: characters, word forms in small letters, and the share of traces that hold each word."""

    characters: Collection[str]
    words: Collection[str]
    shares: Mapping[str, float]


def draw_spikes(kinds: Collection[str], each: int, known: Known, rng: np.random.Generator) -> list[Spike]:
    """`each` spikes of every kind asked for, of words that are not known; no two of them share a word.

    nonce: one to three made-up words. symbol: two or three rare signs in a row. other script: two or three words in a
    script that the traces do not use. slotted: nonce, number, nonce. gapped: nonce, one to three units of the trace,
    nonce. re-purposed: a word that is there already, one for each of five shares of traces that hold it (the nearest
    there is to .3, 1, 3, 10 and 30 %), however many are asked for of the other kinds.

    >>> known = Known("abc", {"the"}, {"the": 0.5})
    >>> [s.kind for s in draw_spikes(("nonce", "gapped"), 1, known, np.random.default_rng(0))]
    ['nonce', 'gapped']
    """
    used = set(known.words)
    drawn = []
    for kind in kinds:
        if kind == REPURPOSED:
            drawn += _repurposed(known, rng)
        else:
            drawn += [Spike(kind, _FORMS[kind](i, known, used, rng)) for i in range(each)]
    return drawn


def _new(make: Callable[[], str], used: set[str]) -> str:
    while (word := make()) in used:
        pass
    used.add(word)
    return word


def _nonce_word(rng: np.random.Generator) -> str:
    syllables = rng.integers(2, 4)
    return "".join(
        "".join(rng.choice(list(letters)) for letters in ("bdfgklmprstvz", "aeiou")) for _ in range(syllables)
    )


def _nonces(n: int, used: set[str], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(_new(lambda: _nonce_word(rng), used) for _ in range(n))


def _nonce(i: int, known: Known, used: set[str], rng: np.random.Generator) -> tuple[str, ...]:
    return _nonces(i % 3 + 1, used, rng)


def _slotted(i: int, known: Known, used: set[str], rng: np.random.Generator) -> tuple[str, ...]:
    first, last = _nonces(2, used, rng)
    return first, NUMBER, last


def _gapped(i: int, known: Known, used: set[str], rng: np.random.Generator) -> tuple[str, ...]:
    first, last = _nonces(2, used, rng)
    return first, GAP, last


def _symbol(i: int, known: Known, used: set[str], rng: np.random.Generator) -> tuple[str, ...]:
    signs = [chr(c) for low, high in _SIGNS for c in range(low, high + 1) if chr(c) not in known.characters]
    return ("".join(_new(lambda: str(rng.choice(signs)), used) for _ in range(i % 2 + 2)),)


def _other_script(i: int, known: Known, used: set[str], rng: np.random.Generator) -> tuple[str, ...]:
    alphabets = [[chr(c) for c in range(low, high + 1)] for low, high in _SCRIPTS]
    letters = next((a for a in alphabets if not set(a) & set(known.characters)), alphabets[0])
    return tuple(_new(lambda: "".join(rng.choice(letters, rng.integers(3, 7))), used) for _ in range(i % 2 + 2))


def _repurposed(known: Known, rng: np.random.Generator) -> list[Spike]:
    words = sorted(known.shares)
    drawn: list[Spike] = []
    for share in _BACKGROUNDS:
        left = [word for word in words if word not in {spike.text for spike in drawn}]
        nearest = sorted(left, key=lambda word: abs(np.log(known.shares[word] / share)))[:_NEAREST]
        if nearest:
            word = str(rng.choice(nearest))
            drawn.append(Spike(REPURPOSED, (word,), known.shares[word]))
    return drawn


_FORMS: dict[str, Callable[[int, Known, set[str], np.random.Generator], tuple[str, ...]]] = {
    "nonce": _nonce,
    "symbol": _symbol,
    "other script": _other_script,
    "slotted": _slotted,
    "gapped": _gapped,
}
KINDS = (*_FORMS, REPURPOSED)
