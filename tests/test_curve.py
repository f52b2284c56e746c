"""pass@k, majority@k and the curve against brute force."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from dsl_probe.collect.curve import Sampled, curve, curve_table, majority_at_k, pass_at_k
from dsl_probe.types import TRACES


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n):
    for c in range(n + 1):
        right = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(right, k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_is_unbiased_for_fresh_samples():
    rng = np.random.default_rng(0)
    p, n, k = 0.2, 6, 3
    estimates = [pass_at_k(n, int(c), k) for c in rng.binomial(n, p, 20_000)]
    assert np.mean(estimates) == pytest.approx(1 - (1 - p) ** k, abs=0.01)


@pytest.mark.parametrize("k", [0, 5])
def test_k_must_fit(k):
    with pytest.raises(ValueError, match="1 <= k <= n"):
        pass_at_k(4, 1, k)
    with pytest.raises(ValueError, match="1 <= k <= n"):
        majority_at_k(["a"] * 4, [True] * 4, k)


def test_majority_by_hand():
    answers, correct = ["4", "5", "4", None], [True, False, True, False]
    assert majority_at_k(answers, correct, 1) == pytest.approx(2 / 4)
    # Pairs: 45 tie, 44 right, 4- right, 54 tie, 5- wrong, 4- right.
    assert majority_at_k(answers, correct, 2) == pytest.approx((0.5 + 1 + 1 + 0.5 + 0 + 1) / 6)
    assert majority_at_k(answers, correct, 4) == 1.0
    assert majority_at_k([None, None], [False, False], 2) == 0.0
    # More completions do not help where the wrong answer is the more frequent one.
    assert majority_at_k(["5", "5", "4"], [False, False, True], 3) == 0.0


def test_majority_of_many_is_close_to_all_subsets():
    rng = np.random.default_rng(0)
    answers = [str(a) for a in rng.choice(["1", "2", "3"], 30, p=[0.5, 0.3, 0.2])]
    correct = [a == "1" for a in answers]
    drawn = majority_at_k(answers, correct, 5)
    fresh = [majority_at_k([answers[i] for i in s], [correct[i] for i in s], 5) for s in _subsets(rng, 30, 5)]
    assert drawn == pytest.approx(np.mean(fresh), abs=0.03)


def _subsets(rng, n, k):
    return [rng.choice(n, k, replace=False) for _ in range(3_000)]


def test_slope_recovers_a_planted_gain_for_each_doubling():
    # pass@k of these problems is 1/4, 1/2, 1 at k = 1, 2, 4: slope of the least-squares line on log2 is 3/8.
    problems = [Sampled(["x"] * 4, [True, False, False, False], [10, 20, 30, 40])] * 3
    rows = {(r["measure"], r["k"]): r for r in curve(problems, price=2.0)}
    assert [rows["pass", k]["value"] for k in (1, 2, 4)] == pytest.approx([0.25, 0.5, 1.0])
    assert [rows["pass", k]["tokens"] for k in (1, 2, 4)] == pytest.approx([25, 50, 100])
    assert rows["pass", 4]["cost"] == pytest.approx(100 * 2.0 / 1e6)
    assert rows["pass_slope", 4]["value"] == pytest.approx(3 / 8)
    # Equal problems: the bootstrap over problems has no spread.
    assert rows["pass_slope", 4]["ci_low"] == pytest.approx(rows["pass_slope", 4]["ci_high"])


def test_interval_covers_the_truth_of_the_population():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        skills = rng.random(40)  # mean pass@1 of the population: 1/2
        problems = [Sampled(["x"] * 4, list(rng.random(4) < s), [1] * 4) for s in skills]
        first = curve(problems, seed=int(rng.integers(1e6)))[0]
        covered += first["ci_low"] <= 0.5 <= first["ci_high"]
    assert covered >= 51


def test_table_groups_by_model_and_domain_and_leaves_out_the_unjudged():
    rows = [
        {"model": m, "domain": d, "problem_id": f"{d}{p}", "answer": "1", "correct": good, "token_ids": [1] * 5}
        for m in ("a", "b")
        for d in ("x", "y")
        for p in range(3)
        for good in (True, False, None)
    ]
    for row in rows:
        row["meta"] = "{}"
    rows[-1] |= {"token_ids": None, "meta": '{"completion_tokens": 7}'}
    table = curve_table([pa.Table.from_pylist(rows, schema=TRACES)]).to_pylist()
    assert {(r["model"], r["domain"]) for r in table} == {(m, d) for m in "ab" for d in ("x", "y", "all")}
    one = [r for r in table if (r["model"], r["domain"], r["measure"]) == ("a", "all", "pass")]
    assert [(r["k"], r["value"], r["n_problems"], r["n_samples"]) for r in one] == [(1, 0.5, 6, 12), (2, 1.0, 6, 12)]
    assert curve_table([pa.Table.from_pylist([], schema=TRACES)]).num_rows == 0
