"""Edits of a chain: what is done to the words between <think> and </think> before the model goes on.

A chain is a list of words. Its states are those that `worlds.written_states` finds; every other word of it is a
connective. Nothing here runs a model.
"""

import random
from collections.abc import Callable, Sequence

from dialects import HUMAN, NONCES

from dsl_probe.collect.domains import worlds


def chain_words(completion: str) -> list[str] | None:
    """The words between the first <think> and the last </think>; None where the chain was not closed.

    >>> chain_words("<think> 3 tisk 4 </think> 4 <eos>"), chain_words("<think> 3 tisk")
    (['3', 'tisk', '4'], None)
    """
    before, closed, _ = completion.rpartition("</think>")
    return before.partition("<think>")[2].split() if closed else None


def states_in(world: str, words: Sequence[str]) -> list[tuple[str, int, int]]:
    """The states written in a chain, in order: (state, start, stop), half-open in words.

    >>> states_in("walk", "so J iv tisk K iv".split())
    [('J iv', 1, 3), ('K iv', 4, 6)]
    """
    text = " ".join(words)
    found = worlds.written_states(world, text)
    starts = [text.count(" ", 0, start) for _, start, _ in found]
    return [(state, at, at + len(state.split())) for (state, _, _), at in zip(found, starts, strict=True)]


def connective_places(world: str, words: Sequence[str]) -> list[int]:
    """Where the words stand that belong to no written state.

    >>> connective_places("walk", "so J iv tisk K iv".split())
    [0, 3]
    """
    states = {i for _, start, stop in states_in(world, words) for i in range(start, stop)}
    return [i for i in range(len(words)) if i not in states]


def shuffled(words: Sequence[str], rng: random.Random) -> list[str]:
    """The same words in a random order."""
    return rng.sample(list(words), len(words))


def last_state_corrupted(
    world: str, words: Sequence[str], target: str, rng: random.Random
) -> tuple[list[str], str] | None:
    """The chain with its last written state replaced, and the state put there; None where no state is written.

    The new state is a state of that world, neither the one that stood there nor the target: who gives it read it here.
    For swap it is an order of all four colours, as every true state is.

    >>> last_state_corrupted("chain", ["3", "tisk", "4"], "4", random.Random(0))
    (['3', 'tisk', '6'], '6')
    """
    found = states_in(world, words)
    if not found:
        return None
    old, start, stop = found[-1]
    new = old
    while new in (old, target):
        new = worlds.random_state(world, rng)
    return [*words[:start], *new.split(), *words[stop:]], new


def first_half(world: str, words: Sequence[str]) -> list[str] | None:
    """The chain up to where state k // 2 + 1 of its k states begins; None where it holds fewer than two.

    It ends with the connectives that lead to the next state, so that an edit of them is the last thing that is read.

    >>> first_half("chain", "we get 3 . we get 4 . we get 5 .".split())
    ['we', 'get', '3', '.', 'we', 'get']
    """
    found = states_in(world, words)
    return list(words[: found[len(found) // 2][1]]) if len(found) >= 2 else None


def connectives_edited(world: str, words: Sequence[str], put: Callable[[str], Sequence[str]]) -> list[str]:
    """The chain with each connective w replaced by the words put(w); the states stay.

    >>> connectives_edited("walk", "so J iv tisk K iv".split(), lambda w: [w.upper()])
    ['SO', 'J', 'iv', 'TISK', 'K', 'iv']
    """
    places = set(connective_places(world, words))
    return [new for i, word in enumerate(words) for new in (put(word) if i in places else [word])]


def half_edits(world: str, half: Sequence[str], rng: random.Random) -> dict[str, list[str]]:
    """Half a chain in all its versions, by the name of the edit.

    same: no edit, the placebo. nonces, human: each connective by a random one of `NONCES`, `HUMAN`, drawn for each
    alone. deleted: the states alone. one nonce: every nonce by one other that the half does not hold, only where there
    is a nonce; other connectives stay.
    """
    found = {
        "same": list(half),
        "nonces": connectives_edited(world, half, lambda _: [rng.choice(NONCES)]),
        "human": connectives_edited(world, half, lambda _: [rng.choice(HUMAN)]),
        "deleted": connectives_edited(world, half, lambda _: []),
    }
    others = [nonce for nonce in NONCES if nonce not in half]
    if others and len(others) < len(NONCES):
        other = rng.choice(others)
        found["one nonce"] = connectives_edited(world, half, lambda w: [other if w in NONCES else w])
    return found


def donors(worlds_steps: Sequence[int], answers: Sequence[str | None], targets: Sequence[str]) -> list[int | None]:
    """For each problem another whose chain it is lent: the next in the list, around its end, with as many operations
    that has an answer, one that is not the target of the first. None where there is no such.

    >>> donors([3, 3, 4, 3], ["a", "a", "b", "c"], ["a", "a", "b", "c"])
    [3, 3, None, 0]
    """
    n = len(targets)
    found: list[int | None] = []
    for i in range(n):
        after = ((i + k) % n for k in range(1, n))
        fits = (j for j in after if worlds_steps[j] == worlds_steps[i] and answers[j] not in (None, targets[i]))
        found.append(next(fits, None))
    return found
