"""The automaton: known regular languages come back, string for string."""

import itertools
import re

import numpy as np
import pytest

from dsl_probe.mine.automaton import Automaton, follow, learn, pruned, sample

LETTERS = "sabcdeft"


def some(r, of):
    """None or more of some strings."""
    return "".join(r.choice(of, r.geometric(0.4) - 1))


def framed(r):
    end = str(r.choice(["a", "b"]))
    return "s" + end + some(r, ["d", "e"]) + end + "t"


# a language -> how its strings are drawn
LANGUAGES = {
    r"s(ab)?c(d|ef)*t": lambda r: "s" + "ab" * r.integers(2) + "c" + some(r, ["d", "ef"]) + "t",
    r"(a|b)*": lambda r: some(r, ["a", "b"]),
    r"a(bb)*c": lambda r: "a" + some(r, ["bb"]) + "c",
    r"s(a[de]*a|b[de]*b)t": framed,
}


def flat(documents):
    return np.array([s for d in documents for s in d], np.int64), np.cumsum([0, *map(len, documents)])


def coded(strings):
    return flat([[LETTERS.index(c) for c in s] for s in strings])


def learnt(pattern, n=800, seed=0):
    rng = np.random.default_rng(seed)
    strings = [LANGUAGES[pattern](rng) for _ in range(n)]
    assert all(re.fullmatch(pattern, s) for s in strings)
    return learn(*coded(strings), len(LETTERS)), strings


@pytest.mark.parametrize("pattern", LANGUAGES)
def test_accepts_every_string_of_a_regular_language_and_none_other(pattern):
    """By brute force over all strings of its letters up to length 7."""
    found, strings = learnt(pattern)
    letters = sorted(set("".join(strings)))
    for automaton in (found, pruned(found)):
        for length in range(8 if len(letters) < 8 else 7):
            every = ["".join(p) for p in itertools.product(letters, repeat=length)]
            symbols = np.array([[LETTERS.index(c) for c in s] for s in every], np.int64).ravel()
            got = automaton.accepts(symbols, np.arange(len(every) + 1) * length)
            want = [re.fullmatch(pattern, s) is not None for s in every]
            assert got.tolist() == want


def test_as_many_states_as_the_least_automaton_has():
    assert {p: len(pruned(learnt(p)[0]).target) for p in LANGUAGES} == dict(zip(LANGUAGES, (7, 1, 4, 6), strict=True))


def test_every_use_is_counted_and_where_a_sequence_stands_is_told():
    automaton, strings = learnt(r"s(ab)?c(d|ef)*t")
    symbols, bounds = coded(strings)
    states = automaton.walk(symbols, bounds)
    assert automaton.count.sum() == len(symbols) + len(strings) and (states >= 0).all()
    use = np.zeros_like(automaton.count)
    k = 0
    for s in strings:
        for c in [*(LETTERS.index(c) for c in s), len(LETTERS)]:
            use[states[k], c] += 1
            k += 1
    assert (use == automaton.count).all()
    assert automaton.accepts(*coded(strings)).all()


def test_samples_are_of_the_language_and_as_often():
    automaton, _ = learnt(r"s(ab)?c(d|ef)*t")
    drawn = sample(automaton, 2000, 3)
    assert automaton.accepts(*flat(drawn)).all() and drawn == sample(automaton, 2000, 3)
    share = np.mean([LETTERS.index("a") in d for d in drawn])
    root = automaton.target[0, 0]
    want = automaton.count[root, LETTERS.index("a")] / automaton.count[root].sum()
    assert abs(share - want) < 4 * np.sqrt(want * (1 - want) / 2000)


def test_slips_are_pruned():
    rng = np.random.default_rng(5)
    strings = [LANGUAGES["a(bb)*c"](rng) for _ in range(1000)] + ["cd"]
    whole = learn(*coded(strings), len(LETTERS))
    assert whole.accepts(*coded(["cd", "abbc"])).tolist() == [True, True]
    assert pruned(whole).accepts(*coded(["cd", "abbc"])).tolist() == [False, True]


def test_text_that_left_the_automaton_is_taken_up_again():
    automaton = Automaton(np.array([[1, -1], [-1, 0]], np.int32), np.array([[5, 0, 5], [0, 5, 0]]))
    resume = np.full((2, 2), -1, np.int32)
    resume[1, 1] = 0
    got = follow(automaton.target, np.array([0, 1, 1, 1, 0], np.int32), np.array([0, 5]), resume)
    # 0 -a-> 1 -b-> 0 -b-> nowhere, but after two b the state is 0
    assert got.tolist() == [0, 1, 0, 0, 0, 1]
    got = follow(automaton.target, np.array([1, 0], np.int32), np.array([0, 2]), np.full((2, 2), -1, np.int32))
    assert got.tolist() == automaton.walk(np.array([1, 0]), np.array([0, 2])).tolist() == [0, -1, -1]


def test_no_text_one_text_and_texts_all_alike():
    empty = learn(*flat([[], []]), 3)
    assert empty.accepts(*flat([[], [1]])).tolist() == [True, False]
    none = learn(np.zeros(0, np.int64), np.zeros(1, np.int64), 3)
    assert none.accepts(*flat([[]])).tolist() == [False] and sample(none, 2, 0) == [[], []]
    for documents in ([[0, 1, 2]], [[0, 1, 2]] * 100):
        automaton = learn(*flat(documents), 3)
        assert automaton.accepts(*flat(documents)).all()
        pruned(automaton).accepts(*flat(documents))


def test_states_that_are_alike_are_joined_and_a_trial_that_does_not_pay_leaves_nothing():
    """Two states that go on alike, written apart; and two that do not."""
    target = np.array([[1, 2], [3, -1], [3, -1], [-1, -1]], np.int32)
    count = np.array([[50, 50, 0], [50, 0, 0], [50, 0, 0], [0, 0, 100]])
    joined = pruned(Automaton(target, count))
    assert joined.target.tolist() == [[1, 1], [2, -1], [-1, -1]]
    assert joined.count.tolist() == [[50, 50, 0], [100, 0, 0], [0, 0, 100]]
    target, count = np.array([[1, 2], [3, -1], [-1, 3], [-1, -1]], np.int32), count.copy()
    count[2] = [0, 50, 0]
    apart = pruned(Automaton(target, count))
    assert apart.target.tolist() == target.tolist() and apart.count.tolist() == count.tolist()
