"""Which writing system each letter of a text belongs to, and where a text changes from one to another."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import regex

SCRIPTS = ("latin", "han", "cyrillic", "greek", "arabic", "hangul", "kana", "other")
_CLASSES = (
    *(rf"\p{{Script={name.capitalize()}}}" for name in SCRIPTS[:6]),
    r"[\p{Script=Hiragana}\p{Script=Katakana}]",
    r"[^\p{Script=Common}\p{Script=Inherited}]",
)
_CODES = 0x110000
# Codes in the table: 0 is no letter, script k of SCRIPTS is k + 1.
_HAN, _GREEK, _HANGUL, _KANA = (SCRIPTS.index(name) + 1 for name in ("han", "greek", "hangul", "kana"))


@cache
def script_table() -> np.ndarray:
    """uint8[0x110000]: 0 for what is no letter of a script, else 1 + its index in `SCRIPTS`.

    A letter has general category L; its script is the Unicode property Script, in the version of the `regex` package.
    Letters that several scripts use (Script Common or Inherited: µ, ʰ, mathematical 𝑥, the mark ー) are of no script,
    as digits, marks, symbols, emoji and lone surrogates are. kana: Hiragana and Katakana; other: any further script.

    >>> [SCRIPTS[code - 1] for code in script_table()[[ord(letter) for letter in "aжπ汉かي한ก"]]]
    ['latin', 'cyrillic', 'greek', 'han', 'kana', 'arabic', 'hangul', 'other']
    """
    every = "".join(map(chr, range(_CODES)))
    table = np.zeros(_CODES, np.uint8)
    for code, letters in reversed(list(enumerate(_CLASSES, 1))):
        for run in regex.finditer(rf"[{letters}&&\p{{L}}]+", every, regex.V1):
            table[run.start() : run.end()] = code
    return table


def script_counts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Letters of each script, int64[n, 8], and changes of script, int64[n], of each text.

    A change is a letter whose script is not that of the letter before it; what is no letter is passed over. Two habits
    of ordinary text are no change: Han beside kana, as Japanese has it; and a letter that stands alone (x, π), or a
    Greek one with no Greek neighbour (Δx), as formulas in any language have them. The shares count all of them.

    >>> letters, changes = script_counts(["so π is 因此 done"])
    >>> dict(zip(SCRIPTS, letters[0].tolist()))["han"], changes.tolist()
    (2, [2])

    What it does not show: languages. English and French are one script; Chinese and the Han of Japanese are one.
    """
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    script = script_table()[codes]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    owner = np.repeat(np.arange(len(texts)), lengths)
    width = len(SCRIPTS) + 1
    letters = np.bincount(owner * width + script, minlength=len(texts) * width).reshape(-1, width)[:, 1:]

    spelt = (script > 0) & (script != _HAN) & (script != _HANGUL) & (script != _KANA)
    alone = _single(spelt, owner) | _single(script == _GREEK, owner)
    read = np.flatnonzero((script > 0) & ~alone)
    kind, of = np.where(script[read] == _KANA, _HAN, script[read]), owner[read]
    changed = (kind[1:] != kind[:-1]) & (of[1:] == of[:-1])
    return letters.astype(np.int64), np.bincount(of[1:][changed], minlength=len(texts)).astype(np.int64)


def _single(mark: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """bool[n]: marked, with no marked neighbour in the same text."""
    single = mark.copy()
    beside = mark[1:] & mark[:-1] & (owner[1:] == owner[:-1])
    single[1:] &= ~beside
    single[:-1] &= ~beside
    return single
