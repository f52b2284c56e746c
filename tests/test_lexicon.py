"""The lexicon: variants, cover and decoys, against planted truth and brute force."""

import itertools

import numpy as np

from dsl_probe.mine import lexicon, repeats
from dsl_probe.mine.align import WILD, Text, Uses, anchors, match
from dsl_probe.mine.decoys import strength, unit_q
from dsl_probe.mine.select import in_excess, log_likelihood
from dsl_probe.mine.suffixes import build_index
from dsl_probe.plant import SLOT, Operator, plant


def corpus(noise: float, seed: int = 0, docs: int = 400, length: int = 60):
    """Own documents with three operators in them, then as many of the reference."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, 1001)
    text = rng.choice(1000, 2 * docs * length, p=weight / weight.sum()).astype(np.int32)
    bounds = np.arange(docs + 1) * length
    operators = [
        Operator((900, 7, 901, 902), (0,), 120),
        Operator((910, SLOT, 3, 911), (0,), 120),
        Operator((920, 921, 5, 922, 923, 924), (0,), 60),
    ]
    filler = text[docs * length :]
    made = plant(text[: docs * length], bounds, np.zeros(docs), operators, filler=filler, noise=noise, seed=seed)
    symbols = np.concatenate([made.symbols, filler])
    return made, symbols, np.concatenate([made.bounds, made.bounds[-1] + bounds[1:]])


def found_in(noise: float):
    made, symbols, bounds = corpus(noise)
    n = len(bounds) - 1
    own = np.arange(n) < n // 2
    index = build_index(symbols, bounds)
    label = (~own).astype(np.int64)
    found = repeats.find_repeats(index, doc_label=label, n_labels=2, min_count=5)
    text, entries = lexicon.against_reference(index, found, own, np.arange(n), 20, 10, 5)
    return made, index, text, entries


def test_planted_operators_are_found_as_they_are_with_and_without_noise():
    for noise in (0.0, 0.05, 0.15):
        made, _, _, entries = found_in(noise)
        patterns = {tuple(SLOT if s == WILD else int(s) for s in e.pattern) for e in entries}
        assert patterns == {o.pattern for o in made.operators}, noise


def test_uses_are_where_they_were_planted():
    made, index, text, entries = found_in(0.05)
    for entry in entries:
        number = next(i for i, o in enumerate(made.operators) if o.pattern[0] == entry.pattern[0])
        spans = {(d, a, b) for i, d, a, b in made.spans.tolist() if i == number}
        mine = text.own_uses(entry.uses)
        doc = index.doc_of[entry.uses.start[mine]]
        got = {
            (int(d), int(a - index.doc_starts[d]), int(b - index.doc_starts[d]))
            for d, a, b in zip(doc, entry.uses.start[mine], entry.uses.stop[mine], strict=True)
        }
        assert len(spans & got) > 0.85 * len(spans) and len(got - spans) < 0.15 * len(got)


def test_nothing_is_claimed_where_both_halves_are_alike():
    rng = np.random.default_rng(5)
    symbols = rng.choice(200, 40_000, p=(w := 1 / np.arange(1, 201)) / w.sum()).astype(np.int32)
    bounds = np.arange(0, 40_001, 50)
    n = len(bounds) - 1
    own = np.arange(n) % 2 == 0
    index = build_index(symbols, bounds)
    found = repeats.find_repeats(index, doc_label=(~own).astype(int), n_labels=2, min_count=5)
    assert lexicon.against_reference(index, found, own, np.arange(n), 20, 10, 5)[1] == []


def plain_text(symbols, bounds):
    index = build_index(np.asarray(symbols, np.int32), bounds)
    found = repeats.find_repeats(index, min_count=2)
    bits = np.full(int(index.symbols.max()) + 1, 10.0)
    no = np.zeros(len(index.symbols), bool)
    return Text(index, anchors(index, found), bits, no, no.copy(), np.ones(index.n_docs, bool))


def test_a_use_is_aligned_through_each_kind_of_edit():
    whole, edits = [1, 2, 3, 4, 5], [[1, 2, 9, 4, 5], [1, 2, 4, 5], [1, 2, 8, 3, 4, 5]]
    docs = [[7, *whole, 6]] * 3 + [[7, *edit, 6] for edit in edits]
    text = plain_text(np.concatenate(docs), np.cumsum([0, *map(len, docs)]))
    uses = match(text, np.array(whole, np.int32), 4.0)
    spans = [
        (d, s - text.index.doc_starts[d], e - text.index.doc_starts[d])
        for d, s, e in zip(text.index.doc_of[uses.start], uses.start, uses.stop, strict=True)
    ]
    assert spans == [(0, 1, 6), (1, 1, 6), (2, 1, 6), (3, 1, 6), (4, 1, 5), (5, 1, 7)]
    assert uses.saved.tolist() == [50, 50, 50, 34, 34, 44]
    assert uses.have.sum(1).tolist() == [5, 5, 5, 4, 4, 5]


def test_the_parse_is_the_best_of_all_parses():
    """Against every subset of uses without overlap."""
    rng = np.random.default_rng(0)
    plain_text(rng.integers(0, 4, 40), np.array([0, 20, 40]))
    for _ in range(50):
        entries = []
        for i in range(3):
            start = np.sort(rng.choice(34, 3, replace=False)).astype(np.int32)
            stop = start + rng.integers(2, 6, 3).astype(np.int32)
            saved = rng.integers(8, 60, 3).astype(np.float32)
            uses = Uses(start, stop, saved, np.ones(3, bool), np.ones((3, 2), bool))
            entries.append(lexicon.Entry(np.array([0, 1], np.int32), uses, 0.0, i))
        rows = [
            (s, t, v - np.log2(40 / 3))
            for e in entries
            for s, t, v in zip(e.uses.start, e.uses.stop, e.uses.saved, strict=True)
        ]
        best = max(
            sum(r[2] for r in part)
            for k in range(len(rows) + 1)
            for part in itertools.combinations(rows, k)
            if all(a[1] <= b[0] or b[1] <= a[0] for a, b in itertools.combinations(part, 2))
        )
        order = np.lexsort(([r[0] for r in rows], [r[1] for r in rows]))
        stop = np.array([rows[i][1] for i in order])
        before = np.searchsorted(stop, [rows[i][0] for i in order], side="right")
        gain = np.array([rows[i][2] for i in order])
        chosen = lexicon._schedule(before, gain)
        assert np.isclose(gain[chosen].sum(), best)


def test_random_text_has_no_units_and_planted_ones_are_units():
    _, symbols, bounds = corpus(0.0)
    operators = [Operator((1000 + 3 * i, 5, 1001 + 3 * i, 1002 + 3 * i), (0,), 40) for i in range(30)]
    domain = np.zeros(len(bounds) - 1)
    made = plant(symbols[: bounds[-1]], bounds, domain, operators, filler=np.array([0]), seed=3)
    problem = np.arange(len(bounds) - 1)
    for text, where, some in ((made.symbols, made.bounds, True), (symbols % 50, bounds, False)):
        index = build_index(text, where)
        found = repeats.find_repeats(index, doc_problem=problem, min_count=10, min_support=10, min_problems=5)
        rows = np.flatnonzero(found.closed)
        q = unit_q(index, found, rows, problem, min_count=10, min_problems=5, longest=48)
        patterns = [tuple(index.symbols[index.sa[found.first[r]] :][: found.length[r]].tolist()) for r in rows]
        good = {p for p, value in zip(patterns, q, strict=True) if value <= 0.05}
        if some:
            assert {o.pattern for o in operators} <= good
            assert sum(max(p) < 900 for p in good) <= 0.1 * len(good)
        else:
            assert len(good) < 5
        assert np.isnan(q[found.length[rows] == 1]).all() and not np.isnan(q[found.length[rows] > 1]).any()


def test_strength_is_the_deviance_of_an_order_1_model():
    symbols = np.array([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 4, 2, 3], np.int32)
    index = build_index(symbols, np.array([0, 13]))
    found = repeats.find_repeats(index, min_count=2)
    row = next(
        r
        for r in range(len(found))
        if index.symbols[index.sa[found.first[r]] :][:3].tolist() == [1, 2, 3] and found.length[r] == 3
    )
    # Three pairs 1 2, three pairs 2 3, four units 2: expected 3 * 3 / 4.
    expected, real = 3 * 3 / 4, found.count[row]
    value = strength(index, found, np.array([row]))[0]
    assert np.isclose(abs(value), 2 * abs(real * np.log(real / expected) - real + expected))


def test_log_likelihood_by_hand_and_signed():
    assert np.isclose(log_likelihood(12, 4, 100, 100), 2 * (12 * np.log(12 / 8) + 4 * np.log(4 / 8)))
    assert log_likelihood(4, 12, 100, 100) < 0 == log_likelihood(5, 5, 10, 10)
    assert in_excess(np.array([30, 30]), np.array([10, 11]), 1, 1, 1).tolist() == [True, False]
