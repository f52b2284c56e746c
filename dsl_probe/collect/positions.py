"""Which states of a trace are wanted: rules in words of the text, resolved to token positions.

A position is an index into prompt and completion together. The state that predicted completion token t lies at position
n_prompt + t - 1, and the state of the last token has predicted nothing.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsl_probe.collect.tokens import Tokens
from dsl_probe.types import UserError

RULES = "every:N, steps, answer, states, motifs:FILE"
# A sentence ends at its mark before space or at a CJK one, a line at its break.
_STEP_END = re.compile(r"[.!?…]+[\"'’”)\]]*(?=\s|$)|[。！？]+|\n+|$")
_BOXED = re.compile(r"\\boxed\s*\{")
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)


class Place(NamedTuple):
    """A wanted state: where it is and why.

    label: the motif's id, the number of the state (rule states), or "". where: "at" (the state of the last token of
    what is meant) or "before" (the state that predicts its first token). negative: a matched place without the motif.
    pair: number shared by an occurrence and its negative, within a shard. unit: first unit of the span, where known.
    """

    position: int
    rule: str
    label: str = ""
    where: str = "at"
    negative: bool = False
    unit: int | None = None
    pair: int | None = None


class Wanted(NamedTuple):
    """A span of characters of the text around which states are wanted."""

    start: int
    stop: int
    label: str
    negative: bool
    unit: int
    pair: int


def parse_rules(at: Sequence[str]) -> list[tuple[str, str]]:
    """Rules as (name, argument). Refuses what is no rule.

    >>> parse_rules(["every:8", "steps"])
    [('every', '8'), ('steps', '')]
    """
    rules = []
    for text in at:
        name, _, argument = text.partition(":")
        if name == "every" and argument.isdecimal() and int(argument) > 0:
            rules.append((name, argument))
        elif name == "motifs" and argument:
            if not Path(argument).is_file():
                raise UserError(f"--at {text!r}: there is no file {argument}; it holds one motif (id or text) a line.")
            rules.append((name, argument))
        elif text in ("steps", "answer", "states"):
            rules.append((text, ""))
        else:
            raise UserError(f"--at {text!r} is unknown; known are {RULES} (N a whole number from 1).")
    if not rules:
        raise UserError(f"--at needs one of {RULES}.")
    return rules


def places(
    tokens: Tokens,
    spans: tuple[np.ndarray, np.ndarray],
    rules: Sequence[tuple[str, str]],
    answer: str | None = None,
    wanted: Sequence[Wanted] = (),
    states: Sequence[tuple[int, int, int]] = (),
) -> list[Place]:
    """The places of one trace under all rules, by position.

    every:N: completion tokens 0, N, 2N, ... steps: the last token of each sentence and line. answer: before and at the
    answer. states: before and at each of `states`, given as (number, start, stop) in characters. motifs: before and at
    each of `wanted`. Before the first token of a sequence there is no state, so a place
    there is left out.
    """
    found: list[Place] = []
    for rule, argument in rules:
        if rule == "every":
            found += [Place(p, rule) for p in range(tokens.n_prompt, len(tokens.ids), int(argument))]
        elif rule == "steps":
            ends = [_last_token(spans, stop) for _, stop in step_spans(tokens.text)]
            found += [Place(tokens.n_prompt + t, rule) for t in dict.fromkeys(ends) if t >= 0]
        elif rule == "answer":
            span = answer_span(tokens.text, answer)
            found += _around(tokens, spans, *span, rule) if span else []
        elif rule == "states":
            for number, start, stop in states:
                found += _around(tokens, spans, start, stop, rule, label=str(number))
        else:
            for w in wanted:
                extra = {"label": w.label, "negative": w.negative, "unit": w.unit, "pair": w.pair}
                found += _around(tokens, spans, w.start, w.stop, rule, **extra)
    return sorted(found, key=lambda p: p.position)


def step_spans(text: str) -> list[tuple[int, int]]:
    """Sentences and lines of a text as [start, stop) in characters, without the space around them.

    >>> [("x = 1.5. So\\nwait")[a:b] for a, b in step_spans("x = 1.5. So\\nwait")]
    ['x = 1.5.', 'So', 'wait']

    What it does not show: steps of an argument. An abbreviation before a space ("e.g. this") ends a sentence here.
    """
    found, start = [], 0
    for match in _STEP_END.finditer(text):
        piece = text[start : match.end()]
        inner = piece.strip()
        if inner:
            first = start + piece.index(inner)
            found.append((first, first + len(inner)))
        start = match.end()
    return found


def answer_span(text: str, answer: str | None = None) -> tuple[int, int] | None:
    """Where a text gives its answer: inside the last `\\boxed{}`, else the last `<answer>`, else the last mention.

    >>> answer_span("so \\\\boxed{42}", None)
    (10, 12)
    """
    boxed = list(_BOXED.finditer(text))
    if boxed:
        start, depth = boxed[-1].end(), 1
        for i in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                return _trim(text, start, i)
    tagged = list(_ANSWER.finditer(text))
    if tagged:
        return _trim(text, *tagged[-1].span(1))
    if answer and answer.strip():
        edges = rf"(?<!\w){re.escape(answer.strip())}(?!\w)"
        mentions = list(re.finditer(edges, text))
        if mentions:
            return mentions[-1].span()
    return None


def _trim(text: str, start: int, stop: int) -> tuple[int, int] | None:
    inner = text[start:stop].strip()
    if not inner:
        return None
    start += text[start:stop].index(inner)
    return start, start + len(inner)


def _around(tokens: Tokens, spans: tuple[np.ndarray, np.ndarray], start: int, stop: int, rule: str, **extra: Any):
    """Places before the first and at the last token of a span of characters."""
    first, last = _first_token(spans, start), _last_token(spans, stop)
    if last < first:
        return []
    made = [Place(tokens.n_prompt + last, rule, where="at", **extra)]
    if tokens.n_prompt + first > 0:
        made.insert(0, Place(tokens.n_prompt + first - 1, rule, where="before", **extra))
    return made


def _first_token(spans: tuple[np.ndarray, np.ndarray], char: int) -> int:
    """The first token that reaches past this character's start."""
    return int(np.searchsorted(spans[1], char, side="right"))


def _last_token(spans: tuple[np.ndarray, np.ndarray], stop: int) -> int:
    """The last token that starts before this character; -1 if none does."""
    return int(np.searchsorted(spans[0], stop, side="left")) - 1
