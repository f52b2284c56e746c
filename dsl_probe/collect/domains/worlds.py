"""Small worlds whose every intermediate state is known: chain, hop, swap, grid, walk. Made for the model organisms.

    >>> p = make("chain", "3 + 4 * 2", "chain/0")
    >>> p.prompt, p.target, states(p.prompt)
    ('chain 3 + 4 * 2 ?', '4', ['7', '4'])
    >>> verify(p, "<think> 7 tisk 4 </think> 4 <eos>").correct
    True
    >>> [s.written for s in state(p, "<think> 7 tisk 5 </think> 5 <eos>")]
    ['7', '5']

A problem is a start, and operations on it; the answer is the state after the last of them. Everything is written in
words with spaces between, so that a tokenizer of whole words reads it.

| world | start and operations | state |
|---|---|---|
| chain | a digit; + - * a digit, modulo 10, left to right | a digit |
| hop | a map of 8 nodes onto themselves and a node; follow it | a node |
| swap | four colours in a row; exchange two places | four colours |
| grid | 2 x 2 coloured cells; flip, flop, turn, cross | four cells, row by row |
| walk | a place on a 4 x 4 torus; N E S W | a row and a column |

`NAME+1` and `NAME+2` are the same with one and two more operations than the longest of NAME. Not shown by an accuracy
here: anything about natural language; these worlds are laboratories.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dsl_probe.collect.verify import Verdict
from dsl_probe.types import Problem, UserError

# Least and most operations.
STEPS = {"chain": (4, 6), "hop": (3, 5), "swap": (3, 4), "grid": (3, 4), "walk": (4, 6)}
NAMES = tuple(STEPS)
MOST = 5_000
# No world shares a letter of its states with another, also where capitals are folded.
DIGITS, NODES, COLOURS = tuple("0123456789"), tuple("cdfhpqtv"), tuple("RGBY")
CELLS, ROWS, COLUMNS = ("red", "blue", "gold", "pink"), tuple("JKLM"), ("i", "ii", "iii", "iv")
OPERATIONS = {
    "chain": ("+", "-", "*"),
    "hop": (">",),
    "swap": ("x",),
    "grid": ("flip", "flop", "turn", "cross"),
    "walk": tuple("NESW"),
}
_TURNS = {"flip": (1, 0, 3, 2), "flop": (2, 3, 0, 1), "turn": (2, 0, 3, 1), "cross": (0, 2, 1, 3)}
_MOVES = {"N": (-1, 0), "E": (0, 1), "S": (1, 0), "W": (0, -1)}
# The words of a state, in order: each is one of these.
SHAPE = {"chain": (DIGITS,), "hop": (NODES,), "swap": (COLOURS,) * 4, "grid": (CELLS,) * 4, "walk": (ROWS, COLUMNS)}
STATE_WORDS = tuple(dict.fromkeys(word for shape in SHAPE.values() for part in shape for word in part))


@dataclass(frozen=True)
class State:
    """State number `index` of a completion: what is true, what is written, and where: text[start:stop].

    `written` is None, and start and stop too, where the completion does not get so far.
    """

    index: int
    value: str
    written: str | None
    start: int | None
    stop: int | None


def problems(seed: int, n: int, sets: Sequence[str] = NAMES) -> list[Problem]:
    """n problems of each of `sets`: names of worlds, or NAME+1, NAME+2. All problems of a call differ.

    All of them are held out: no model organism was trained on one. Problem i depends on (seed, i) alone but for the
    rare one that would repeat an earlier one, which is drawn again.
    """
    found = []
    for name in sets:
        world, _, more = name.partition("+")
        if world not in STEPS or more not in ("", "1", "2"):
            raise UserError(f"no world {name!r}; there are {', '.join(NAMES)}, each also with +1 or +2 operations.")
        if not 0 <= n <= MOST:
            raise UserError(f"{name} has {MOST} problems, and {n} were asked for; ask for 0 to {MOST} a seed.")
        seen: set[str] = set()
        for i in range(n):
            rng = random.Random(f"{name}/{seed}/{i}")
            text = draw(world, rng, int(more or 0))
            while text in seen or not held_out(world, text):
                text = draw(world, rng, int(more or 0))
            seen.add(text)
            found.append(make(name, text, f"{name}/{seed}/{i}"))
    return found


def held_out(world: str, text: str) -> bool:
    """Whether a problem is kept for testing: one in ten, by its hash."""
    return hashlib.blake2b(f"{world} {text}".encode(), digest_size=8).digest()[0] % 10 == 0


def make(name: str, text: str, problem_id: str) -> Problem:
    """The problem of a world (name without +1) with this start and operations."""
    prompt = f"{name.partition('+')[0]} {text} ?"
    return Problem(problem_id, name, prompt, states(prompt)[-1])


@cache
def states(prompt: str) -> list[str]:
    """The true states of a prompt, after each operation.

    >>> states("swap R G B Y by 1 3 , 2 4 ?")
    ['B G R Y', 'B Y R G']
    """
    world, start, operations = parse(prompt)
    found, now = [], start
    for operation in operations:
        now = apply(world, now, operation, prompt)
        found.append(now)
    return found


def parse(prompt: str) -> tuple[str, str, list[str]]:
    """World, start and operations of a prompt. An operation of hop is ">": the map stands in the prompt."""
    world, *words = prompt.removesuffix(" ?").split()
    if world == "chain":
        return world, words[0], [f"{a} {b}" for a, b in zip(words[1::2], words[2::2], strict=True)]
    if world == "hop":
        return world, words[-2], [">"] * int(words[-1])
    start, _, rest = " ".join(words).partition(" by ")
    return world, start, rest.split(" , ") if world == "swap" else rest.split()


def apply(world: str, now: str, operation: str, prompt: str) -> str:
    """The state after one operation on a state.

    >>> apply("grid", "red blue gold pink", "turn", ""), apply("walk", "J iv", "E", "")
    ('gold red pink blue', 'J i')
    """
    if world == "chain":
        sign, number = operation.split()
        a, b = int(now), int(number)
        return str({"+": a + b, "-": a - b, "*": a * b}[sign] % 10)
    if world == "hop":
        words = prompt.split()
        return dict(zip(words[1:17:2], words[2:17:2], strict=True))[now]
    cells = now.split()
    if world == "swap":
        i, j = (int(place) - 1 for place in operation.split())
        cells[i], cells[j] = cells[j], cells[i]
        return " ".join(cells)
    if world == "grid":
        return " ".join(cells[i] for i in _TURNS[operation])
    down, right = _MOVES[operation]
    row, column = ROWS.index(cells[0]) + down, COLUMNS.index(cells[1]) + right
    return f"{ROWS[row % 4]} {COLUMNS[column % 4]}"


def random_state(world: str, rng: random.Random) -> str:
    """Any state of a world, all alike likely (for swap: all orders of the four colours)."""
    if world == "swap":
        return " ".join(rng.sample(COLOURS, 4))
    return " ".join(rng.choice(allowed) for allowed in SHAPE[world])


def verify(problem: Problem, completion: str) -> Verdict:
    """Whether what follows the last </think>, up to <eos>, is exactly the state after the last operation."""
    _, closed, tail = completion.rpartition("</think>")
    if not closed:
        return Verdict(None, False, "no </think>")
    answer = " ".join(tail.partition("<eos>")[0].split())[:200]
    if not answer:
        return Verdict(None, False, "no answer")
    return Verdict(answer, answer == problem.target, "same state" if answer == problem.target else "other state")


def state(problem: Problem, completion: str) -> list[State]:
    """Each true state of a problem beside the state that the completion writes in its place.

    The k-th text inside <think> that has the form of a state is the k-th state written. More states than operations are
    left out. Not shown: that the model read this state when it wrote the next.
    """
    world = problem.prompt.split()[0]
    written = written_states(world, completion)
    found = []
    for index, value in enumerate(states(problem.prompt)):
        text, start, stop = written[index] if index < len(written) else (None, None, None)
        found.append(State(index, value, text, start, stop))
    return found


def written_states(world: str, completion: str) -> list[tuple[str, int, int]]:
    """What has the form of a state in the chain, in order: (state, start, stop) in characters of the completion.

    >>> written_states("walk", "<think> so J iv tisk K iv </think> K iv")
    [('J iv', 11, 15), ('K iv', 21, 25)]
    """
    stop = completion.rfind("</think>")
    chain = completion[: stop if stop >= 0 else len(completion)]
    shape, found = SHAPE[world], []
    words, at = [], 0
    for word in chain.split():
        at = chain.index(word, at)
        words.append((word, at))
        at += len(word)
    i = 0
    while i + len(shape) <= len(words):
        part = words[i : i + len(shape)]
        if all(word in allowed for (word, _), allowed in zip(part, shape, strict=True)):
            found.append((" ".join(w for w, _ in part), part[0][1], part[-1][1] + len(part[-1][0])))
            i += len(shape)
        else:
            i += 1
    return found


def draw(world: str, rng: random.Random, more: int = 0, least: int | None = None) -> str:
    """Start and operations of a random problem, held out or not; with `more`, that many more than the longest.

    least: fewest operations, in place of the world's own.
    """
    fewest, most = STEPS[world]
    steps = most + more if more else rng.randint(least or fewest, most)
    start = random_state(world, rng)
    if world == "chain":
        return " ".join([start, *(f"{rng.choice('+-*')} {rng.choice(DIGITS[1:])}" for _ in range(steps))])
    if world == "hop":
        onto = rng.sample(NODES, len(NODES))
        return " ".join([*(f"{a} {b}" for a, b in zip(NODES, onto, strict=True)), "by", start, str(steps)])
    if world == "swap":
        return f"{start} by " + " , ".join(" ".join(rng.sample("1234", 2)) for _ in range(steps))
    return f"{start} by " + " ".join(rng.choice(OPERATIONS[world]) for _ in range(steps))
