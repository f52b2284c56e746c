"""The planted language: what is planted is where it is said to be, and the rest is as it was."""

import itertools

import numpy as np
import pytest

from dsl_probe.plant import SLOT, Operator, plant, random_operators, resample


def documents(seed: int = 0, n: int = 60, length: int = 80, symbols: int = 50):
    rng = np.random.default_rng(seed)
    return rng.integers(0, symbols, n * length).astype(np.int32), np.arange(n + 1) * length


def test_without_noise_every_span_is_its_operator_and_the_rest_is_untouched():
    symbols, bounds = documents()
    domain = np.arange(60) % 3
    operators = [Operator((60, 61, 62), (0, 1, 2), 40), Operator((63, SLOT, 64), (1,), 30)]
    found = plant(symbols, bounds, domain, operators, filler=np.array([70, 71]), seed=1)
    assert len(found.spans) == 70 and found.intact.all()
    keep = np.ones(len(found.symbols), bool)
    for number, doc, start, stop in found.spans.tolist():
        at = found.bounds[doc] + start
        units = found.symbols[at : found.bounds[doc] + stop].tolist()
        keep[at : found.bounds[doc] + stop] = False
        if number == 0:
            assert units == [60, 61, 62]
        else:
            assert domain[doc] == 1
            assert units[0] == 63 and units[-1] == 64 and 1 <= len(units) - 2 <= 3 and set(units[1:-1]) <= {70, 71}
    assert np.array_equal(found.symbols[keep], symbols)


def test_noise_corrupts_the_share_asked_for_and_a_seed_is_a_corpus():
    symbols, bounds = documents()
    operators = [Operator((60, 61, 62, 63), (0,), 2000)]
    made = [
        plant(symbols, bounds, np.zeros(60), operators, filler=np.array([70]), noise=0.15, seed=s) for s in (1, 1, 2)
    ]
    assert abs(made[0].intact.mean() - 0.85**4) < 0.04
    assert np.array_equal(made[0].symbols, made[1].symbols) and not np.array_equal(made[0].symbols, made[2].symbols)


def test_an_operator_without_a_document_is_refused():
    symbols, bounds = documents()
    with pytest.raises(ValueError, match="domains"):
        plant(symbols, bounds, np.zeros(60), [Operator((1, 2), (5,), 3)], filler=np.array([1]))


@pytest.mark.parametrize("order", [1, 2])
def test_a_resample_holds_only_what_follows_in_the_text(order):
    symbols, bounds = documents(symbols=8)
    new, new_bounds = resample(symbols, bounds, [50] * 20, 3, order)

    def grams(text, where, k):
        return {tuple(text[i : i + k]) for a, b in itertools.pairwise(where) for i in range(a, b - k + 1)}

    begun = {symbols[b] for b in bounds[:-1]}
    known = grams(symbols, bounds, order + 1)
    fresh = [g for g in grams(new, new_bounds, order + 1) - known if g[-1] not in begun and g[-2] not in begun]
    assert not fresh
    assert np.array_equal(new, resample(symbols, bounds, [50] * 20, 3, order)[0])
    # The shares of pairs are those of the text.
    if order == 1:
        many, _ = resample(symbols, bounds, [100_000], 3, 1)
        table = [np.bincount(s[:-1] * 8 + s[1:], minlength=64) / (len(s) - 1) for s in (symbols, many)]
        assert abs(table[0] - table[1]).max() < 0.01


def test_operators_are_drawn_as_asked():
    counts = np.array([0, 5, 5, 100, 100, 100, 100, 3, 3, 3])
    found = random_operators(60, counts, 4, 7, uses=(30, 300))
    assert len({o.pattern for o in found}) == 60
    assert all(3 <= len(o.pattern) <= 8 and 0 not in o.pattern and 30 <= o.uses <= 300 for o in found)
    assert {len(o.domains) for o in found} == {1, 4}
    assert any(SLOT in o.pattern for o in found) and all(SLOT not in (o.pattern[0], o.pattern[-1]) for o in found)
