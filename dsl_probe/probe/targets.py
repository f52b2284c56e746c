"""What a probe is asked to read, from ground truth.

A target is `NAME` or `NAME@SITES`. Its class is told by what the state cannot have seen: what is written after it.

| name | class of a state |
|---|---|
| value, value:J | first (J-th) word of the true value of the next state that the trace writes |
| digit | first character of that value |
| last | whether that is the last state that the trace writes: yes, no |
| next | the unit that is written next |
| correct | whether the trace's answer is right: yes, no |
| domain, regime | the trace's |
| near | whether the answer is given within the next 16 characters: yes, no |
| motif:ID | whether the motif is used next: yes; and no at its matched places (collect/matched.py) |

SITES is a rule of the capture: every, steps, answer, states, motifs, or motifs:ID for one motif; also with /before or
/at. Several may be joined by +.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dsl_probe.collect.domains import load_domain, problem_of
from dsl_probe.collect.positions import answer_span
from dsl_probe.mine.segment import segment
from dsl_probe.types import UserError

NAMES = ("value", "digit", "last", "next", "correct", "domain", "regime", "near", "motif")
RULES = ("every", "steps", "answer", "states", "motifs")
# Whose classes are the domains, or are told apart within them by nothing: these are probed over all domains at once.
POOLED = ("domain", "regime")
NEAR = 16
_USUAL: dict[str, tuple[str, ...]] = dict.fromkeys(("value", "digit", "last"), ("states/before",))
_USUAL |= {"next": ("states/at", "steps/at"), "motif": ("motifs/before",)}
_ANY = ("steps/at", "states/before", "every/at")
Trace: TypeAlias = Mapping[str, Any]
# Characters read, and whether the place is a matched one without the motif -> class, or None.
Teller: TypeAlias = Callable[[int, bool], str | None]


@dataclass(frozen=True)
class Site:
    """Places of a rule: those of one motif or state where `label` is given, before or at it where `where` is."""

    rule: str
    label: str | None = None
    where: str | None = None


@dataclass(frozen=True)
class Target:
    """A target as parsed. argument: the J of value:J, the id of motif:ID, or ""."""

    text: str
    name: str
    argument: str
    sites: tuple[Site, ...]


def parse_target(text: str, captured: "set[str] | frozenset[str]") -> Target:
    """A target, its sites those of the rules that were captured.

    >>> parse_target("value:2", {"states"}).sites
    (Site(rule='states', label=None, where='before'),)
    """
    whole, _, asked = text.partition("@")
    name, _, argument = whole.partition(":")
    if name not in NAMES or (argument and name not in ("value", "motif")) or (name == "motif" and not argument):
        raise UserError(
            f"target {text!r} is unknown; known are {', '.join(NAMES[:-1])}, value:J, motif:ID, each also with @SITES."
        )
    if name == "value" and argument and not (argument.isdecimal() and int(argument) > 0):
        raise UserError(f"target {text!r}: the J of value:J is a whole number from 1.")
    if not asked:
        usual = _USUAL.get(name, _ANY)
        asked = next((s for s in usual if s.partition("/")[0] in captured), usual[0])
    sites = []
    for part in asked.split("+"):
        rule, _, where = part.partition("/")
        rule, _, label = rule.partition(":")
        if rule not in RULES or where not in ("", "before", "at"):
            raise UserError(
                f"target {text!r}: {part!r} are no sites; known are {', '.join(RULES)}, motifs:ID, with /before or /at."
            )
        if rule not in captured:
            form = {"motifs": "motifs:FILE", "every": "every:8"}.get(rule, rule)
            raise UserError(
                f"target {text!r} needs states at {rule!r}, and the capture has {', '.join(sorted(captured))}. "
                f"Capture them: dsl-probe capture RUN --model MODEL --layers ... --at {form}"
            )
        sites.append(Site(rule, (argument if name == "motif" else label) or None, where or None))
    return Target(text, name, argument, tuple(sites))


def teller(target: Target, trace: Trace) -> Teller:
    """The class of each place of one trace; None where nobody knows it.

    trace: problem_id, domain, text, correct, regime, answer, prompt, reference, meta.
    """
    if target.name == "motif":
        return lambda read, negative: "no" if negative else "yes"
    if target.name == "correct":
        return _constant(None if trace["correct"] is None else _yes(trace["correct"]))
    if target.name in POOLED:
        return _constant(None if trace[target.name] == "unknown" else trace[target.name])
    if target.name == "near":
        span = answer_span(trace["text"], trace["answer"])
        return lambda read, negative: None if span is None or read > span[0] else _yes(span[0] - read <= NEAR)
    if target.name == "next":
        return _next_unit(trace["text"])
    return _next_state(target, trace)


def _constant(value: str | None) -> Teller:
    return lambda read, negative: value


def _next_unit(text: str) -> Teller:
    units = segment([text])
    stops = units.stops.tolist()

    def tell(read: int, negative: bool) -> str | None:
        # The first unit that ends after what was read: a token may begin with the space before it.
        following = bisect_left(stops, read + 1)
        return units.texts[units.ids[following]] if following < len(stops) else None

    return tell


def _next_state(target: Target, trace: Trace) -> Teller:
    tells = load_domain(trace["domain"]).state
    if tells is None:
        raise UserError(
            f"target {target.text!r} needs the true states of a trace, and the domain {trace['domain']!r} tells none: "
            f"give it a function state(problem, completion), or leave the target out."
        )
    states = [s for s in tells(problem_of(trace), trace["text"]) if s.start is not None]
    stops = [s.stop for s in states]
    place = int(target.argument or 1) - 1

    def tell(read: int, negative: bool) -> str | None:
        following = bisect_left(stops, read + 1)
        if following == len(states):
            return None
        if target.name == "last":
            return _yes(following == len(states) - 1)
        value = str(states[following].value)
        words = [value[:1]] if target.name == "digit" else value.split()
        return words[place] if place < len(words) else None

    return tell


def _yes(value: bool) -> str:
    return "yes" if value else "no"
