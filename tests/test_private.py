"""The private lexicon: planted words and phrases are found, with their scope; alike groups have none."""

import numpy as np

from dsl_probe.mine.align import WILD
from dsl_probe.mine.private import SCOPE, find_phrases, find_words, scope

SINGLE, FIRST, SECOND, APART = 300, 301, 302, 303


def halves(seed=0, docs=300, length=40):
    """Symbols and own bool[docs * 2]: two halves of the same text."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, 201)
    symbols = rng.choice(200, 2 * docs * length, p=weight / weight.sum()).astype(np.int32)
    return symbols.reshape(2 * docs, length), np.arange(2 * docs) < docs


def planted():
    """A word in own documents 0 to 79; a pair that is never apart in 40 to 119; a unit of the filler as before."""
    text, own = halves()
    text[:80, 5] = SINGLE
    text[40:120, [10, 20]], text[40:120, [11, 21]] = FIRST, SECOND
    return text, own


def words(text, own, barrier=None, least=(20, 10)):
    n, length = text.shape
    symbols, doc = text.ravel(), np.repeat(np.arange(n), length)
    barrier = np.zeros(len(symbols), bool) if barrier is None else barrier.ravel()
    return find_words(symbols, doc, own, barrier, np.arange(n) % 200, *least)


def test_a_single_word_and_a_fused_pair_are_found_and_nothing_else():
    text, own = planted()
    found = words(text, own)
    assert [w.pattern for w in found] == [(FIRST, SECOND), (SINGLE,)] and [w.there for w in found] == [0, 0]
    for word, unit in zip(found, (FIRST, SINGLE), strict=True):
        assert word.at.tolist() == np.flatnonzero(text.ravel() == unit).tolist()
    # Dunning's G2 where the reference has none: twice the count, times the log of what share of the text is own
    free = text.size
    assert np.isclose(found[1].g2, 2 * 80 * np.log(free / (free / 2)))


def test_units_that_are_often_apart_are_two_words():
    text, own = planted()
    text[60:120, 30] = SECOND
    assert {w.pattern for w in words(text, own)} == {(SINGLE,), (FIRST,), (SECOND,)}


def test_a_pair_said_again_and_again_is_one_word():
    """Each of the two follows the other nearly always."""
    text, own = halves()
    text[:60, 4:24:2], text[:60, 5:25:2] = FIRST, SECOND
    assert [w.pattern for w in words(text, own)] == [(FIRST, SECOND)]


def test_identical_groups_have_no_words_and_no_phrases():
    text, _ = planted()
    both, own = np.concatenate([text, text]), np.arange(2 * len(text)) < len(text)
    assert words(both, own) == [] == words(*halves(3))
    assert phrases(both, own) == []


def test_support_is_asked_for_and_barriers_are_not_counted():
    text, own = planted()
    assert [w.pattern for w in words(text, own, least=(81, 10))] == []
    # 80 documents of single uses, but of at most 10 problems
    n, length = text.shape
    few = find_words(
        text.ravel(), np.repeat(np.arange(n), length), own, np.zeros(text.size, bool), np.arange(n) % 10, 20, 11
    )
    assert few == []
    assert {w.pattern for w in words(text, own, barrier=text == SINGLE)} == {(FIRST, SECOND)}


def test_a_reference_without_units_and_no_text_give_no_words():
    text, own = planted()
    barrier = np.zeros(text.shape, bool)
    barrier[~own] = True
    assert words(text, own, barrier) == [] == words(text, own, np.ones(text.shape, bool))
    empty = np.zeros(0, np.int64)
    assert find_words(empty, empty, np.array([True, False]), empty > 0, np.arange(2), 1, 1) == []


def phrases(text, own):
    n, length = text.shape
    args = np.zeros(text.size, bool), np.arange(n) % 200
    return find_phrases(text.ravel(), np.arange(n + 1) * length, own, *args, 20, 10, 48)[1]


def test_a_phrase_of_common_units_with_its_variants_is_found():
    text, own = halves()
    rng = np.random.default_rng(4)
    text[:90, 8:13] = [150, 20, 170, 30, 160]
    wrong = rng.choice(90, 15, replace=False)
    text[wrong, 10] = rng.integers(100, 140, 15)
    found = phrases(text, own)
    assert len(found) == 1 and [s for s in found[0].pattern.tolist() if s != WILD] in (
        [150, 20, 170, 30, 160],
        [150, 20, 30, 160],
    )
    uses = found[0].uses
    assert set(range(90)) >= set((uses.start[uses.free] // 40).tolist()) and uses.free.sum() >= 85


def test_scope_is_the_domains_that_use_a_word_but_for_strays():
    uses = np.repeat([0, 1, 2], [100, 6, 3])
    assert scope(uses, np.array([10_000, 10_000, 10_000, 10_000])) == [0, 1]
    # by rate: as many uses in a domain of ten times the text
    assert scope(np.repeat([0, 1], [100, 49]), np.array([1_000, 10_000])) == [0]
    assert scope(np.repeat([0, 1], [100, 51]), np.array([1_000, 10_000])) == [0, 1] and SCOPE == 0.05
    assert scope(np.array([1]), np.array([0, 50])) == [1]
