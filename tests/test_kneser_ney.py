"""Interpolated Kneser-Ney against sums, and against the formulas of Chen and Goodman written out by hand."""

from collections import Counter

import numpy as np
import pytest

from dsl_probe.mine.kneser_ney import before, fit


def every(model, contexts):
    """Probability of each symbol, and share of its category, in each context: float64[contexts, n] each."""
    k = len(contexts)
    asked = np.tile(np.arange(model.n), k), np.repeat(contexts, model.n, 0)
    return tuple(a.reshape(k, model.n) for a in model(*asked))


def text(seed=0, n=9, length=3000):
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, n + 1)
    symbols = rng.choice(n, length, p=weight / weight.sum())
    symbols[2::3] = (symbols[1::3] + symbols[::3]) % n  # order 2 tells something
    return symbols


@pytest.mark.parametrize("columns", [0, 1, 2, 4])
def test_distributions_sum_to_1_in_every_context_seen_or_not(columns):
    symbols = text()
    contexts = before(symbols, np.array([0, 1200, 3000]), columns, 9)
    model = fit(symbols, contexts, 10, np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 0]))
    rng = np.random.default_rng(1)
    asked = np.concatenate([contexts[:200], rng.integers(0, 14, (200, columns))])
    p, share = every(model, asked)
    assert np.allclose(p.sum(1), 1) and (p > 0).all()
    for kind in range(4):
        members = model.category == kind
        assert np.allclose(share[:, members], p[:, members].sum(1, keepdims=True))


def chen_goodman(symbols, contexts, n):
    """p(symbol, context) by the recursion of section 3 of the paper, with dictionaries."""
    columns = contexts.shape[1]
    grams = [Counter() for _ in range(columns + 1)]
    for w, c in zip(symbols.tolist(), map(tuple, contexts.tolist()), strict=True):
        grams[columns][c, w] += 1
    for j in reversed(range(columns)):
        for c, w in grams[j + 1]:
            grams[j][c[:j], w] += 1  # N1+: contexts one longer that the symbol follows

    def discounts(counts):
        n1, n2, n3, n4 = (sum(v == k for v in counts.values()) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        found = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        assert all(0.05 < d < k - 0.05 for k, d in enumerate(found) if k)  # none is one that has to be cut
        return found

    cuts = [discounts(g) for g in grams]

    def p(w, c, j):
        if j < 0:
            return 1 / n
        here = {s: v for (k, s), v in grams[j].items() if k == c[:j]}
        total = sum(here.values())
        if not total:
            return p(w, c, j - 1)
        cut = [cuts[j][min(v, 3)] for v in here.values()]
        less = cuts[j][min(here.get(w, 0), 3)]
        return (here.get(w, 0) - less) / total + sum(cut) / total * p(w, c, j - 1)

    return lambda w, c: p(w, tuple(c), columns)


def test_equal_to_the_formulas_of_chen_and_goodman():
    symbols = np.random.default_rng(8).zipf(1.5, 700).clip(max=299)
    contexts = before(symbols, np.array([0, 700]), 2, 300)
    model, want = fit(symbols, contexts, 301), chen_goodman(symbols, contexts, 301)
    asked = np.concatenate([contexts[:40], [[3, 299], [299, 3], [298, 8]]])
    got = every(model, asked)[0]
    assert np.allclose(got, [[want(w, c) for w in range(301)] for c in asked.tolist()])


def test_a_value_by_hand():
    """Text 0 1 0 1 0 2 with contexts of one unit, 3 at the beginning, vocabulary of 4.

    Pairs: 3 0 once, 0 1 twice, 1 0 twice, 0 2 once. n1 = n2 = 2, n3 = 0: Y = 2 / 6, D1 = 1 - 2 Y = 1/3, D2 = 2. D2 is
    cut to 1.95. Below: contexts before 0, 1, 2 are 2, 1, 1: n1 = 2, n2 = 1, Y = 1/2, D1 = 1/2, D2 = 2, cut to 1.95.
    """
    symbols = np.array([0, 1, 0, 1, 0, 2])
    model = fit(symbols, before(symbols, np.array([0, 6]), 1, 3), 4)
    spread = (1.95 + 0.5 + 0.5) / 4
    below = {0: 0.05 / 4, 1: 0.5 / 4, 2: 0.5 / 4, 3: 0}
    below = {w: v + spread / 4 for w, v in below.items()}
    after_0 = {1: (2 - 1.95) / 3, 2: (1 - 1 / 3) / 3}
    back = (1.95 + 1 / 3) / 3
    want = [after_0.get(w, 0) + back * below[w] for w in range(4)]
    got = every(model, np.array([[0]]))[0][0]
    assert np.allclose(got, want) and np.isclose(sum(want), 1)
    assert model.parameters == 4 + 3


def test_unseen_contexts_back_off_and_columns_out_of_range_too():
    symbols = text(length=600)
    contexts = before(symbols, np.array([0, 600]), 3, 9)
    longer = fit(symbols, contexts, 10)
    # the first column alone is known: what the second level says
    first = every(longer, np.array([[2, 77, 3], [2, 77, 0], [2, 12, 3]]))[0]
    assert np.allclose(first[0], first[1]) and np.allclose(first[0], first[2])
    none = every(longer, np.array([[50, 1, 1], [99, 2, 3]]))[0]
    assert np.allclose(none[0], none[1]) and not np.allclose(none[0], first[0])
    # a pair that occurs, but never after that column
    seen = {tuple(c) for c in contexts[:, :2].tolist()}
    pair = next((a, b) for a in range(9) for b in range(9) if (a, b) not in seen)
    assert np.allclose(*every(longer, np.array([[*pair, 1], [pair[0], 44, 1]]))[0])


def test_contexts_are_those_of_the_document():
    got = before(np.array([1, 2, 3, 4, 5]), np.array([0, 3, 3, 5]), 2, 9)
    assert got.tolist() == [[9, 9], [1, 9], [2, 1], [9, 9], [4, 9]]
    assert before(np.zeros(0, int), np.zeros(1, int), 2, 9).shape == (0, 2)
