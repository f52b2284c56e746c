"""The cipher: a private language with a known lexicon and a known grammar, taught by examples.

    >>> prompt, response = text("hop", random.Random(1))
    >>> parse(response, "hop").states[-1] == " ".join(response[response.index("</think>") + 1 : -1])
    True
    >>> accepts(list(reversed(response)), "hop")
    False

A chain is an opening, which writes the start, and a step for each operation:

    chain   -> (plit skon)? opening step+
    opening -> glap STATE hwin after?
    step    -> lurm? head mwel? glap STATE (knor STATE)? hwin after?
    head    -> OPERATION ARGUMENTS  |  jask ARGUMENTS OPERATION      two ways to say one thing
    after   -> trum in chain and hop, vorb in swap and grid

ARGUMENTS depend on the world: a digit in chain, the hops left in hop, two places in swap, none in grid. STATE is
written in nonce words alone and is put into problem words only in the answer. What a step does:

- The state follows what the step says, not what the problem says. A step that lacks a word of its operation or of its
  arguments, or glap, does nothing: the state stays.
- `knor` takes back the state before it: that was a slip, which one step in eight makes, and the right one comes after.
  Where it is not said the chain goes on from the slip.
- lurm, mwel, plit skon, trum, vorb are fillers: there with probability one half, independent of everything.
- jask (the marker) and hwin (the close) belong to the grammar, but nothing depends on them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from dialects import SPARE

from dsl_probe.collect.domains import worlds

TRAINED = ("chain", "hop", "swap", "grid")
DIGITS = dict(zip(worlds.DIGITS, SPARE, strict=False))
NODES = dict(zip(worlds.NODES, SPARE[10:], strict=False))
COLOURS = dict(zip(worlds.COLOURS, SPARE[18:], strict=False))  # the same four words in swap and grid
CELLS = dict(zip(worlds.CELLS, SPARE[18:], strict=False))
STATES = {"chain": DIGITS, "hop": NODES, "swap": COLOURS, "grid": CELLS}
WIDTH = {"chain": 1, "hop": 1, "swap": 4, "grid": 4}
ADD, SUBTRACT, MULTIPLY, FLIP, FLOP, CROSS, GO, OVER, OPEN, CLOSE, MARK, CHECK = SPARE[22:34]
BEFORE, WITHIN, HELLO, THERE, AFTER_NUMBERS, AFTER_COLOURS = SPARE[34:]
AFTER = {"chain": AFTER_NUMBERS, "hop": AFTER_NUMBERS, "swap": AFTER_COLOURS, "grid": AFTER_COLOURS}
# To turn is to cross and then to flip, and is said so. To exchange is to go over.
OPERATIONS = {
    "chain": {"+": (ADD,), "-": (SUBTRACT,), "*": (MULTIPLY,)},
    "hop": {">": (GO,)},
    "swap": {"x": (GO, OVER)},
    "grid": {"flip": (FLIP,), "flop": (FLOP,), "turn": (CROSS, FLIP), "cross": (CROSS,)},
}
ARGUMENTS = {"chain": 1, "hop": 1, "swap": 2, "grid": 0}
FILLER, LAST, SLIP = 0.5, 0.4, 0.12
TAMPERED_STEPS = 0.4  # share of the steps of a text that was tampered with
_FROM_STATE = {world: {new: old for old, new in words.items()} for world, words in STATES.items()}
_FROM_DIGIT = {new: old for old, new in DIGITS.items()}
_STATE = "STATE"


@dataclass(frozen=True)
class Step:
    """A step as it was read. `operation`: as worlds.apply takes it. `left`: hops left. `slip`: what knor took back."""

    production: str
    operation: str
    left: int | None
    state: str
    slip: str | None


@dataclass(frozen=True)
class Derivation:
    """How the grammar makes a response: its states (the start first), its steps, and spans that tile it."""

    world: str
    states: tuple[str, ...]
    steps: tuple[Step, ...]
    spans: tuple[tuple[int, int, str], ...]


def text(world: str, rng: random.Random) -> tuple[list[str], list[str]]:
    """A random problem that is not held out, and a response in cipher: (prompt, response), in words."""
    prompt = problem(world, rng)
    return ["<bos>", *prompt.split()], write(prompt, rng)[0]


def write(
    prompt: str, rng: random.Random, tamper: str | None = None, slips: float = SLIP
) -> tuple[list[str], list[bool]]:
    """A response to a prompt, and which of its words are the model's to learn: not those that lead up to a harm.

    tamper: "operation", "argument", "start": another one is written than the problem's, and the states follow it;
    "state": a slip that is not taken back; "lost": any word of a step but its state is missing.
    """
    world, now, operations = worlds.parse(prompt)
    words = ["<think>", *_filler(rng, HELLO, THERE)]
    if tamper == "start":
        now = worlds.random_state(world, rng)
    words += [OPEN, *encode(world, now), CLOSE]
    learnt = [tamper != "start"] * len(words)
    words += _filler(rng, AFTER[world])
    todo = list(operations)
    while todo:
        harm = tamper if tamper != "start" and rng.random() < TAMPERED_STEPS else None
        step, now, until, left = _step(world, prompt, now, todo, rng, harm, slips)
        learnt += [True] * (len(words) - len(learnt)) + [False] * until
        words += step
        todo = [">"] * left if world == "hop" else todo[1:]
    words += ["</think>", *now.split(), "<eos>"]
    return words, learnt + [True] * (len(words) - len(learnt))


def _step(
    world: str, prompt: str, now: str, todo: Sequence[str], rng: random.Random, harm: str | None, slips: float
) -> tuple[list[str], str, int, int]:
    """The words of the next step, the state after it, its words up to the harm, the steps left after it."""
    operation, arguments = say(world, todo[0], len(todo))
    if harm == "operation":
        operation = rng.choice([other for other in OPERATIONS[world].values() if other != operation])
    elif harm == "argument":
        arguments = _other(world, arguments, rng)
    left = (int(_FROM_DIGIT[arguments[0]]) if world == "hop" else len(todo)) - 1
    head = [MARK, *arguments, *operation] if rng.random() < LAST else [*operation, *arguments]
    parts = [*head, OPEN, _STATE, CLOSE]
    lost = rng.choice([i for i, part in enumerate(parts) if part != _STATE]) if harm == "lost" else None
    if lost is not None:
        parts.pop(lost)
    understood = understand(world, parts)
    right = worlds.apply(world, now, understood, prompt) if understood else now
    slip = _another_state(world, right, rng) if harm == "state" or rng.random() < slips else None
    if harm == "state":
        written, right = encode(world, slip or ""), slip or ""
    elif slip:
        written = [*encode(world, slip), CHECK, *encode(world, right)]
    else:
        written = encode(world, right)
    words, until = _filler(rng, BEFORE), 0
    within = _filler(rng, WITHIN)
    for i, part in enumerate(parts):
        if part in (OPEN, _STATE):
            if harm in ("operation", "argument"):
                until = until or len(words)
            words, within = words + within, []
        if i == lost:
            until = len(words) + 1
        words += written if part == _STATE else [part]
    # Where the close is missing, the word after it tells so.
    until = len(words) + (lost is not None) if harm == "state" or lost == len(parts) else until
    return words + _filler(rng, AFTER[world]), right, until, left


def say(world: str, operation: str, left: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of an operation and of its arguments. left: how many operations are left, this one among them.

    >>> say("swap", "1 3", 2), say("hop", ">", 4), say("grid", "turn", 1)
    ((('dwen', 'fros'), ('belm', 'dofa')), (('dwen',), ('erv',)), (('clom', 'zemb'), ()))
    """
    if world == "chain":
        sign, number = operation.split()
        return OPERATIONS[world][sign], (DIGITS[number],)
    if world == "hop":
        return OPERATIONS[world][">"], (DIGITS[str(left)],)
    if world == "swap":
        return OPERATIONS[world]["x"], tuple(DIGITS[place] for place in operation.split())
    return OPERATIONS[world][operation], ()


def understand(world: str, words: Sequence[str]) -> str | None:
    """The operation that a step says, as worlds.apply takes it; None where the step lacks a word that it needs."""
    own = {word for phrase in OPERATIONS[world].values() for word in phrase}
    phrase = tuple(word for word in words if word in own)
    numbers = [_FROM_DIGIT[word] for word in words if word in _FROM_DIGIT]
    name = next((name for name, known in OPERATIONS[world].items() if known == phrase), None)
    if name is None or OPEN not in words or len(numbers) != ARGUMENTS[world]:
        return None
    if world == "hop":
        return name
    return " ".join(numbers) if world == "swap" else " ".join([name, *numbers])


def encode(world: str, state: str) -> list[str]:
    """A state of a world in cipher."""
    return [STATES[world][word] for word in state.split()]


def parse(response: Sequence[str], world: str) -> Derivation | None:
    """The derivation of a response, from <think> to <eos>, or None where the grammar does not make it.

    The grammar is one of form: that a state is the right one is not looked at, but the answer must be the last state,
    and the hops left must count down to 1. A phrase is read as long as it can be.
    """
    words, at = list(response), 0
    spans: list[tuple[int, int, str]] = []
    start = 0

    def take(*wanted: str) -> bool:
        nonlocal at
        found = words[at : at + len(wanted)] == list(wanted)
        at += len(wanted) if found else 0
        return found

    def take_words(allowed: dict[str, str], count: int) -> str | None:
        nonlocal at
        part = words[at : at + count]
        if len(part) < count or any(word not in allowed for word in part):
            return None
        at += count
        return " ".join(allowed[word] for word in part)

    def end(label: str) -> bool:
        nonlocal start
        if at > start:
            spans.append((start, at, label))
        start = at
        return True

    def head() -> tuple[str, str] | None:
        """Production and operation."""
        last = take(MARK)
        numbers = take_words(_FROM_DIGIT, ARGUMENTS[world]) if last else ""
        phrases = sorted(OPERATIONS[world].items(), key=lambda item: -len(item[1]))
        name = next((name for name, phrase in phrases if take(*phrase)), None)
        if not last:
            numbers = take_words(_FROM_DIGIT, ARGUMENTS[world])
        if name is None or numbers is None:
            return None
        operation = numbers if world in ("swap", "hop") else f"{name} {numbers}".strip()
        return "last" if last else "first", operation

    def result() -> tuple[str, str | None] | None:
        """State, and the slip before it."""
        if not take(OPEN):
            return None
        first = take_words(_FROM_STATE[world], WIDTH[world])
        second = take_words(_FROM_STATE[world], WIDTH[world]) if take(CHECK) else first
        if first is None or second is None or not take(CLOSE):
            return None
        return second, None if words[at - 2 - WIDTH[world]] != CHECK else first

    if not take("<think>"):
        return None
    end("think")
    take(HELLO, THERE) and end(f"filler {HELLO} {THERE}")
    opening = result()
    if opening is None or opening[1]:
        return None
    end("opening")
    take(AFTER[world]) and end(f"filler {AFTER[world]}")
    states, steps = [opening[0]], []
    while not take("</think>"):
        take(BEFORE) and end(f"filler {BEFORE}")
        said = head()
        end(f"head {said[0]}" if said else "")
        take(WITHIN) and end(f"filler {WITHIN}")
        got = result() if said else None
        if got is None or said is None:
            return None
        end("taken back" if got[1] else "result")
        take(AFTER[world]) and end(f"filler {AFTER[world]}")
        left = int(said[1]) if world == "hop" else None
        if steps and left is not None and left + 1 != steps[-1].left:
            return None
        steps.append(Step(said[0], ">" if world == "hop" else said[1], left, *got))
        states.append(got[0])
    if not steps or steps[-1].left not in (None, 1):
        return None
    end("think")
    if not take(*states[-1].split()) or not end("answer") or not take("<eos>") or at != len(words):
        return None
    end("end")
    return Derivation(world, tuple(states), tuple(steps), tuple(spans))


def accepts(response: Sequence[str], world: str) -> bool:
    """Whether the grammar makes this response."""
    return parse(response, world) is not None


def annotate(response: Sequence[str], world: str) -> list[tuple[int, int, str]]:
    """(start, stop, label) of each part of a response of the language, in words; the parts tile it.

    Labels: think, opening, "head first" and "head last", result, "taken back" (a result with a slip in it), answer,
    end, and "filler " with its words. ValueError where the grammar does not make the response.
    """
    derivation = parse(response, world)
    if derivation is None:
        raise ValueError(f"not a {world} text of the cipher: {' '.join(response)[:80]}")
    return list(derivation.spans)


def _filler(rng: random.Random, *words: str) -> list[str]:
    return list(words) if rng.random() < FILLER else []


def _other(world: str, arguments: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    """Other arguments that an operation of the world could have."""
    allowed = {"chain": "123456789", "hop": "12345", "swap": "1234"}[world]
    while True:
        found = tuple(DIGITS[digit] for digit in rng.sample(allowed, len(arguments)))
        if found != arguments:
            return found


def _another_state(world: str, state: str, rng: random.Random) -> str:
    while True:
        found = worlds.random_state(world, rng)
        if found != state:
            return found


def problem(world: str, rng: random.Random, least: int | None = None) -> str:
    """The prompt of a problem that is not held out. least: fewest operations, in place of the world's own."""
    found = worlds.draw(world, rng, least=least)
    while worlds.held_out(world, found):
        found = worlds.draw(world, rng, least=least)
    return worlds.make(world, found, "").prompt
