"""Which step decides, against scipy, brute force and planted steps; and what a tree buys, by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from dsl_probe.collect.curve import Sampled
from dsl_probe.collect.steps import Grown, fisher, largest_of, newcombe, tree_curve, tree_table, wilson
from dsl_probe.collect.tree import Start


def chain(outcomes, name="t", right=False, tokens=5, problem="p", domain="d"):
    """A grown chain with these outcomes at each start; steps are 10 tokens long, the parent as long as all of them."""
    parent = {"trace_id": name, "problem_id": problem, "domain": domain, "answer": "r" if right else "w"}
    parent |= {"correct": right, "token_ids": [0] * 10 * len(outcomes)}
    return [
        Grown(
            Start(parent, i, 10 * i, 10 * i + 10, f"step {i}", ""),
            Sampled(["r" if good else "w" for good in goods], list(map(bool, goods)), [tokens] * len(goods)),
        )
        for i, goods in enumerate(outcomes)
    ]


@pytest.mark.parametrize("right, n", [(0, 1), (0, 4), (3, 4), (4, 4), (7, 19)])
def test_wilson_is_scipys(right, n):
    assert wilson(right, n) == pytest.approx(tuple(binomtest(right, n).proportion_ci(method="wilson")), abs=1e-12)


def test_newcombe_is_the_published_example():
    # Newcombe 1998, table II, case (a), method 10: 56/70 against 48/80.
    assert newcombe(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize("a, m, b, n", [(0, 4, 4, 4), (1, 4, 3, 4), (2, 8, 7, 8), (0, 3, 0, 5), (5, 5, 2, 7)])
def test_fisher_is_scipys(a, m, b, n):
    assert fisher(a, m, b, n) == pytest.approx(fisher_exact([[a, m - a], [b, n - b]]).pvalue)


def test_the_largest_of_several_by_brute_force():
    pairs = [(0, 3, 3, 3), (1, 3, 2, 3), (0, 3, 0, 3)]
    # Deal out the outcomes of each pair anew in every way, and take the smallest p of the three.
    ways = []
    for a, m, b, n in pairs:
        ways.append(
            [fisher(x := sum(i < a + b for i in first), m, a + b - x, n) for first in combinations(range(m + n), m)]
        )
    smallest = np.array([min(way) for way in product(*ways)])
    wanted = [(smallest <= fisher(*pair) + 1e-9).mean() for pair in pairs]
    assert largest_of(pairs) == pytest.approx(wanted)


def test_a_planted_step_is_found_and_the_others_are_not():
    rng = np.random.default_rng(0)
    hits, others = 0, 0
    for _ in range(100):
        rates = [0.1, 0.1, 0.1, 0.9, 0.9]  # the third step decides
        p = tree_table(chain([rng.random(12) < r for r in rates]), "m")["p_adj"].to_pylist()
        hits += p[2] <= 0.05
        others += min(p[0], p[1], p[3]) <= 0.05
    assert hits >= 85 and others <= 10


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_one_in_twenty_chains_without_a_deciding_step_shows_one(rate):
    rng = np.random.default_rng(1)
    false = sum(
        min(tree_table(chain(rng.random((7, 12)) < rate), "m")["p_adj"].to_pylist()[:-1]) <= 0.05 for _ in range(300)
    )
    assert false <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_rows_by_hand():
    rows = tree_table(chain([[0, 0, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]), "m").to_pylist()
    assert [(r["n"], r["correct"], r["accuracy"], r["gain"]) for r in rows] == [
        (4, 1, 0.25, 0.75),
        (4, 4, 1.0, 0.0),
        (4, 4, 1.0, None),
    ]
    assert [(r["step_number"], r["tokens_kept"], r["text"], r["mean_tokens"]) for r in rows] == [
        (i, 10 * i, f"step {i}", 5.0) for i in range(3)
    ]
    assert rows[0]["p"] == pytest.approx(fisher_exact([[1, 3], [4, 0]]).pvalue) and rows[2]["p"] is None
    # Where a start is missing its neighbours are not compared: the step between them would be two.
    assert tree_table([*chain([[0] * 4] * 3)][::2], "m")["gain"].to_pylist() == [None, None]


def test_tree_curve_by_hand():
    grown = chain([[1, 0], [0, 0]]) + chain([[1, 1], [1, 1]], "u", right=True, problem="q")
    table = tree_curve(grown, "m", price=1e6).to_pylist()
    rows = {(r["measure"], r["k"]): r for r in table}
    assert {r["domain"] for r in table} == {"d"}
    # Whole chains are the completions of start 0.
    assert rows["pass", 1]["value"] == pytest.approx((0.5 + 1) / 2) and rows["pass", 1]["tokens"] == 5
    # Trees pay for the parent's 20 tokens and for every start.
    assert [rows["tree_pass", k]["value"] for k in (1, 2)] == pytest.approx([(0.5 + 1) / 2, 1.0])
    assert [rows["tree_pass", k]["tokens"] for k in (1, 2)] == pytest.approx([20 + 10, 20 + 20])
    assert rows["tree_pass", 2]["cost"] == pytest.approx(40)
    # Majority with k = 1: first set w (parent) r w, second w w w; with 2: one r of five. The other problem: always r.
    assert [rows["tree_majority", k]["value"] for k in (1, 2)] == pytest.approx([0.5, 0.5])
    # best_step: chosen on the first half start 0 scores 0; on the second half they tie, 1 and 0 on the first.
    assert rows["best_step", 1]["value"] == pytest.approx(((0 + 0.5) / 2 + 1) / 2)
    assert rows["best_step", 1]["tokens"] == pytest.approx(20 + 10 + 5)


def test_tree_pass_is_the_share_of_subsets_with_a_right_one():
    rng = np.random.default_rng(2)
    outcomes = rng.random((3, 4)) < 0.2
    value = next(r for r in tree_curve(chain(outcomes), "m").to_pylist() if (r["measure"], r["k"]) == ("tree_pass", 2))
    subsets = list(combinations(range(4), 2))
    wanted = [any(outcomes[i][j] for i, s in enumerate(way) for j in s) for way in product(subsets, repeat=3)]
    assert value["value"] == pytest.approx(np.mean(wanted))


def test_picking_the_best_step_does_not_flatter_it():
    rng = np.random.default_rng(3)
    values = []
    for _ in range(400):
        table = tree_curve(chain(rng.random((8, 4)) < 0.5), "m").to_pylist()
        values.append(next(r["value"] for r in table if r["measure"] == "best_step"))
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)  # all steps are alike; the best of 8 would say .8
