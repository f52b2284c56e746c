"""Edits of chains: the tokens that a model goes on from, by hand and against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl_probe.probe import edits
from dsl_probe.probe.edits import Chain

TEXT = "<think> add two ; wait ( five ) </think> <answer> 5 </answer>"


def chain(pieces, ids=None):
    """A chain of tokens with these texts."""
    ends = np.cumsum([len(p) for p in pieces])
    starts = np.concatenate([[0], ends[:-1]]) if len(pieces) else ends
    return Chain(list(ids or range(len(pieces))), starts.astype(int), ends.astype(int), "".join(pieces))


def words(text):
    """One token a word, the space before it in it."""
    return chain([w if i == 0 else f" {w}" for i, w in enumerate(text.split())])


def at(text, word):
    start = text.index(word)
    return start, start + len(word)


def test_a_span_is_the_tokens_that_spell_it_with_the_space_before_them():
    c = words(TEXT)
    assert c.tokens(*at(TEXT, "wait")) == (4, 5)
    assert c.tokens(*at(TEXT, "( five )")) == (5, 8)
    assert c.tokens(*at(TEXT, "<think>")) == (0, 1)


def test_a_token_that_holds_more_than_the_span_cannot_be_taken_out():
    c = chain(["so", " wait,", " no"])
    assert c.tokens(3, 7) is None and edits.replace(c, (3, 7), 11, []) is None and edits.ban(c, (3, 7)) is None
    assert c.tokens(3, 8) == (1, 2)
    split = chain(["so", " wa", "it", ",", " no"])
    assert split.tokens(3, 7) == (1, 3)


def test_what_is_kept():
    c = words(TEXT)
    span = at(TEXT, "wait")
    assert edits.ban(c, span) == [0, 1, 2, 3]
    assert edits.replace(c, span, at(TEXT, "(")[1], []) == [0, 1, 2, 3, 5]
    assert edits.replace(c, span, span[1], []) == [0, 1, 2, 3]
    assert edits.replace(c, span, at(TEXT, "( five")[1], [90, 91]) == [0, 1, 2, 3, 90, 91, 5, 6]


def test_the_chain_ends_at_its_tag_and_the_answer_is_cut_off():
    c = words(TEXT)
    assert edits.answered(c, "5", 0) == (0, 8, 10)
    assert edits.blank(c, (0, 8, 10)) == [8, 9]
    opened = edits.answered(c, "5", len("<think>"))
    assert opened == (1, 8, 10) and edits.blank(c, opened) == [0, 8, 9]
    text = "We add. It is 4. So the answer is 5 ."
    assert edits.blank(words(text), edits.answered(words(text), "5", 0)) == [5, 6, 7, 8]
    assert edits.answered(words("nothing is said"), None, 0) is None


def test_shuffled_units_are_the_same_tokens_in_whole_units():
    c = chain(["<think>", " ab", "c", " de", "f", " gh", " </think>", " <answer>", " 7", " </answer>"])
    place = edits.answered(c, "7", len("<think>"))
    bounds = np.array([0, 8, 12, 16, 19, 28, 37, 39])
    seen = set()
    for seed in range(20):
        kept = edits.shuffle(c, place, bounds, np.random.default_rng(seed))
        assert kept[0] == 0 and kept[-2:] == [6, 7] and sorted(kept[1:-2]) == [1, 2, 3, 4, 5]
        assert kept.index(2) == kept.index(1) + 1 and kept.index(4) == kept.index(3) + 1
        seen.add(tuple(kept))
    assert len(seen) == 6


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
def test_counts_are_those_of_brute_force(rows, sequence):
    made = {i: chain(["x"] * len(row), row) for i, row in enumerate(rows)}
    want = sum(row[i : i + len(sequence)] == sequence for row in rows for i in range(len(row)))
    assert edits.counter(made)(tuple(sequence)) == want


def test_a_ban_bites_where_the_sequence_is_certain():
    rows = {0: chain(["x"] * 9, [7, 8, 9, 7, 8, 9, 5, 6, 5]), 1: chain(["x"] * 4, [5, 6, 5, 4])}
    begun = edits.counter(rows)
    assert edits.bans([(7, 8, 9)], begun) == [(7,)]
    assert edits.bans([(5, 6)], begun) == [(5, 6)]  # 5 stands four times, and goes on to 6 in two of them
    assert edits.bans([(4,)], begun) == [(4,)]
    # Both ways of going on are taken away, so the beginning is.
    assert edits.bans([(5, 6), (5, 4)], edits.counter({0: chain(["x"] * 4, [5, 6, 5, 4])})) == [(5,)]


def test_spellings_are_counted_over_all_uses():
    a, b = words("oh wait so wait"), chain(["wait", " no"], [50, 51])
    spans = [(a, (3, 7)), (a, (11, 15)), (b, (0, 4))]
    found = edits.spellings(spans)
    assert found == [(1,), (3,), (50,)] and len(edits.spellings(spans[:1])) == 1


@pytest.mark.parametrize("span", [(0, 0), (400, 500)])
def test_spans_outside_the_text_are_none(span):
    assert words(TEXT).tokens(*span) is None
