"""The planted benchmark: its score, halves and baselines, against what is counted by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments" / "planted"))

import claimed_q
import miners
from benchmark import SUPPORT, Case, Documents, Found, overlap, score
from real import halves

from dsl_probe.plant import SLOT, Operator, Planted, plant


def documents(rows: list[list[int]]) -> Documents:
    number = np.arange(len(rows))
    bounds = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Documents(np.array([unit for row in rows for unit in row], np.int32), bounds, number * 0, number)


def case_of(rows: list[list[int]]) -> Case:
    docs = documents(rows)
    made = plant(docs.symbols, docs.bounds, docs.domain, [], filler=docs.symbols)
    label = np.zeros(len(rows), int)
    return Case(made, docs.symbols, docs.bounds, label, docs.domain, docs.problem, [])


def test_half_of_each_problem_falls_to_each_side_and_the_odd_one_by_lot():
    problem = np.random.default_rng(0).integers(0, 40, 300)
    problem = np.concatenate([problem, 40 + np.arange(200)])  # 200 problems of one trace
    own, reference = halves(problem, 3)
    assert sorted([*own, *reference]) == list(range(500))
    counts = [np.bincount(problem[side], minlength=240) for side in (own, reference)]
    assert np.array_equal(abs(counts[0] - counts[1]), np.bincount(problem) % 2)
    assert 70 < counts[0][40:].sum() < 130
    assert np.array_equal(own, halves(problem, 3)[0]) and not np.array_equal(own, halves(problem, 4)[0])


def test_some_documents_in_the_order_asked_for():
    docs = documents([[1, 2], [], [3], [4, 5, 6]])
    some = docs.some(np.array([3, 1, 0]))
    assert some.symbols.tolist() == [4, 5, 6, 1, 2] and some.bounds.tolist() == [0, 3, 3, 5]
    assert some.problem.tolist() == [3, 1, 0]
    short = docs.beginnings(2)
    assert short.symbols.tolist() == [1, 2, 3, 4, 5] and short.bounds.tolist() == [0, 2, 2, 3, 5]


def test_phrases_double_in_each_pass_and_are_joined_above_the_threshold_alone():
    rng = np.random.default_rng(0)
    rows = [[*rng.integers(100, 1100, 6).tolist(), 1, 2, 3, 4, 5, 6, 7, 8] for _ in range(200)]
    patterns = [{motif.pattern for motif in miners.phrases(case_of(rows), passes=n, threshold=2.0)} for n in (1, 2, 3)]
    assert patterns == [
        {(1, 2), (3, 4), (5, 6), (7, 8)},
        {(1, 2, 3, 4), (5, 6, 7, 8)},
        {(1, 2, 3, 4, 5, 6, 7, 8)},
    ]
    # 30 times 1 2, 10 times 1 3, 10 times 4 2: (30 - 20) * V / (40 * 40), where V is four units and three pairs.
    rows = [[1, 2]] * 30 + [[1, 3]] * 10 + [[4, 2]] * 10
    exact = (30 - SUPPORT) * (4 + 3) / (40 * 40)
    for threshold, found in ((exact * 0.999, [(1, 2)]), (exact * 1.001, [])):
        got = miners.phrases(case_of(rows), passes=1, threshold=threshold)
        assert [motif.pattern for motif in got] == found
    assert got == [] and len(miners.phrases(case_of(rows), 1, exact * 0.999)[0].spans) == 30


def planted() -> Planted:
    docs = documents(np.random.default_rng(1).integers(10, 60, (50, 30)).tolist())
    operators = [Operator((1, 2, 3, 4), (0,), 60), Operator((5, SLOT, 6), (0,), 40)]
    return plant(docs.symbols, docs.bounds, docs.domain, operators, filler=docs.symbols, seed=2)


def test_a_miner_that_knows_the_truth_has_full_score_and_a_half_has_half():
    made = planted()
    domain = np.zeros(50, int)
    truth = [Found(o.pattern, made.spans[made.spans[:, 0] == i, 1:]) for i, o in enumerate(made.operators)]
    whole = score(made, truth, domain)
    assert all(whole[f"{kind} {what}"] == 1 for kind in ("exact", "soft", "slot") for what in ("P", "R", "F1"))
    assert whole["boundary"] == 0 and whole["scope"] == 1
    part = truth[0].spans.copy()
    part[:, 2] -= 2
    owner, iou, error = overlap(made.spans, Found((1, 2), part))
    assert (owner, iou, error) == (0, 0.5, 1.0)
    assert score(made, [truth[0], Found((1, 2), part)], domain)["soft P"] == 0.5


def test_overlaps_are_those_that_brute_force_counts():
    made = planted()
    rng = np.random.default_rng(4)
    doc = rng.integers(0, 50, 80)
    start = rng.integers(0, 25, 80)
    spans = np.stack([doc, start, start + 3], 1)
    _, touched = claimed_q.overlaps(made, [spans[:30], spans[30:]])
    real = [any(d == e and a < y and x < b for _, e, x, y in made.spans.tolist()) for d, a, b in spans.tolist()]
    assert touched.tolist() == [pytest.approx(np.mean(real[:30])), pytest.approx(np.mean(real[30:]))]
