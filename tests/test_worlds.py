"""The worlds: their states against another way of computing them, and what a completion writes of them."""

import random

import numpy as np
import pytest

from dsl_probe.collect.domains import load_domain, worlds
from dsl_probe.types import UserError

SETS = [f"{name}{more}" for name in worlds.NAMES for more in ("", "+1", "+2")]


def by_other_means(prompt: str) -> str:
    """The last state: one Python expression, a power of a permutation matrix, numpy's own array operations."""
    world, *words = prompt.removesuffix(" ?").split()
    if world == "chain":
        value = int(words[0])
        for sign, number in zip(words[1::2], words[2::2], strict=True):
            value = eval(f"({value} {sign} {number}) % 10")
        return str(value)
    if world == "hop":
        onto = np.zeros((8, 8), int)
        for a, b in zip(words[0:16:2], words[1:16:2], strict=True):
            onto[worlds.NODES.index(a), worlds.NODES.index(b)] = 1
        reached = np.linalg.matrix_power(onto, int(words[-1]))[worlds.NODES.index(words[-2])]
        return worlds.NODES[int(reached.argmax())]
    at = words.index("by")
    start, rest = words[:at], [w for w in words[at + 1 :] if w != ","]
    if world == "swap":
        row = np.array(start)
        for i, j in zip(rest[0::2], rest[1::2], strict=True):
            row[[int(i) - 1, int(j) - 1]] = row[[int(j) - 1, int(i) - 1]]
        return " ".join(row)
    if world == "grid":
        cells = np.array(start).reshape(2, 2)
        for word in rest:
            cells = {"flip": np.fliplr, "flop": np.flipud, "turn": lambda m: np.rot90(m, -1), "cross": np.transpose}[
                word
            ](cells)
        return " ".join(cells.flatten())
    row = worlds.ROWS.index(start[0]) + rest.count("S") - rest.count("N")
    column = worlds.COLUMNS.index(start[1]) + rest.count("E") - rest.count("W")
    return f"{worlds.ROWS[row % 4]} {worlds.COLUMNS[column % 4]}"


@pytest.mark.parametrize("name", SETS)
def test_targets_and_lengths(name):
    world, _, more = name.partition("+")
    least, most = worlds.STEPS[world]
    found = load_domain(name).problems(3, 150)
    for problem in found:
        assert problem.target == by_other_means(problem.prompt)
        steps = len(worlds.states(problem.prompt))
        assert steps == most + int(more) if more else least <= steps <= most
        assert problem.domain == name and worlds.held_out(world, problem.prompt.partition(" ")[2].removesuffix(" ?"))
    assert len({p.prompt for p in found}) == len(found)


def test_states_share_no_letter_between_worlds():
    alphabets = [{w.casefold() for part in shape for w in part} for shape in worlds.SHAPE.values()]
    assert sum(map(len, alphabets)) == len(set.union(*alphabets))


def test_a_tenth_is_held_out():
    rng = random.Random(0)
    share = np.mean([worlds.held_out("chain", worlds.draw("chain", rng)) for _ in range(4_000)])
    assert 0.08 < share < 0.13


@pytest.mark.parametrize("world", worlds.NAMES)
def test_written_states_are_found_whatever_stands_between(world):
    rng = random.Random(1)
    for problem in worlds.problems(0, 20, (world,)):
        true = worlds.states(problem.prompt)
        between = [" ".join(rng.choices(["tisk", "so", ".", "then", "we"], k=rng.randint(1, 3))) for _ in true]
        chain = " ".join(f"{word} {value}" for word, value in zip(between, true, strict=True))
        text = f"<think> {chain} </think> {true[-1]} <eos>"
        found = worlds.state(problem, text)
        assert [s.written for s in found] == [s.value for s in found] == true
        assert all(text[s.start : s.stop] == s.written for s in found)
        assert worlds.verify(problem, text).correct
        cut = worlds.state(problem, f"<think> {true[0]}")
        assert cut[0].written == true[0] and all(s.written is s.start is s.stop is None for s in cut[1:])


def test_a_corrupted_state_is_told():
    problem = worlds.make("hop", "c h d q f p h v p t q f t d v c by h 4", "p")
    assert worlds.states(problem.prompt) == ["v", "c", "h", "v"]
    found = worlds.state(problem, "<think> v tisk d tisk q tisk f </think> f")
    assert [(s.value, s.written) for s in found] == [("v", "v"), ("c", "d"), ("h", "q"), ("v", "f")]


@pytest.mark.parametrize(
    ("completion", "correct", "reason"),
    [
        ("<think> 7 4 </think> 4 <eos>", True, "same state"),
        ("<think> </think> 4", True, "same state"),
        ("<think> </think> 3 </think> 4 <eos> 5", True, "same state"),
        ("<think> </think> 4 4 <eos>", False, "other state"),
        ("<think> </think> 04", False, "other state"),
        ("<think> </think> <eos> 4", False, "no answer"),
        ("<think> 7 4", False, "no </think>"),
        ("", False, "no </think>"),
    ],
)
def test_verdicts(completion, correct, reason):
    verdict = worlds.verify(worlds.make("chain", "3 + 4 * 2", "p"), completion)
    assert (verdict.correct, verdict.reason) == (correct, reason)


def test_unknown_world():
    with pytest.raises(UserError, match=r"no world 'chain\+3'; there are chain, hop"):
        worlds.problems(0, 1, ("chain+3",))
