"""pass@k and majority@k by problem: brute force over subsets, closed forms, clustering, paired differences."""

import itertools

import numpy as np
import pytest
from corpus import rows, write_jsonl
from scipy import stats

import dsl_probe
from dsl_probe.collect.curve import Sampled, value_at_k
from dsl_probe.share.accuracy import (
    accuracy_rows,
    common_ks,
    difference_rows,
    judged_problems,
    same_accuracy,
    values_at_k,
)
from dsl_probe.share.corpus import Corpus, choose_sample
from dsl_probe.store import Run
from dsl_probe.types import UserError


def made(tmp_path, content):
    run = Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "in.jsonl", content)])
    return run


def trace(model, problem, sample, correct, answer="7", domain="math"):
    return {
        "trace_id": f"{model}/{domain}/{problem}/{sample}",
        "model": model,
        "problem_id": problem,
        "domain": domain,
        "sample": sample,
        "text": f"so {answer}",
        "answer": answer,
        "correct": correct,
    }


@pytest.mark.parametrize("n, right", [(5, 0), (5, 2), (6, 5), (4, 4)])
def test_pass_at_k_is_the_mean_over_all_subsets(n, right):
    one = Sampled([None] * n, [True] * right + [False] * (n - right), [])
    for k in range(1, n + 1):
        subsets = list(itertools.combinations(one.correct, k))
        assert value_at_k("pass", one, k) == pytest.approx(np.mean([any(s) for s in subsets]))


def test_majority_at_k_is_the_mean_over_all_subsets():
    answers, truth = ["7", "7", "3", "5", "3", None], "7"
    one = Sampled(answers, [a == truth for a in answers], [])
    for k in range(1, 7):
        values = []
        for subset in itertools.combinations(answers, k):
            votes = [a for a in subset if a]
            top = [a for a in set(votes) if votes.count(a) == max(map(votes.count, votes))] if votes else []
            values.append((truth in top) / max(len(top), 1))
        assert value_at_k("majority", one, k) == pytest.approx(np.mean(values))


def test_pass_at_k_is_unbiased_for_fresh_completions():
    rng, chance, k = np.random.default_rng(0), 0.3, 3
    drawn = rng.random((20_000, 6)) < chance
    values = [value_at_k("pass", Sampled([None] * 6, row, []), k) for row in drawn.tolist()]
    assert np.mean(values) == pytest.approx(1 - (1 - chance) ** k, abs=4 * np.std(values) / 20_000**0.5)


def test_rows_are_by_problem_and_their_interval_is_students(tmp_path):
    right = {"p1": [1, 1, 1, 1], "p2": [0, 1], "p3": [0, 0, 0], "p4": [1, 0]}
    content = [trace("m", p, s, bool(c)) for p, cs in right.items() for s, c in enumerate(cs)]
    content += [trace("m", "p5", 0, None), trace("m", None, 0, True)]
    found = {(r["domain"], r["measure"], r["k"]): r for r in accuracy_rows(made(tmp_path, content))}
    assert set(found) == {("math", m, k) for m in ("pass", "majority") for k in (1, 2)}
    row, means = found["math", "pass", 1], [1, 0.5, 0, 0.5]
    low, high = stats.t.interval(0.95, 3, np.mean(means), stats.sem(means))
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((0.5, low, high))
    assert (row["problems"], row["samples"], row["regime"]) == (4, 11, "unknown")
    assert found["math", "pass", 2]["value"] == pytest.approx(np.mean([1, 1, 0, 1]))
    many = accuracy_rows(Run(tmp_path / "run"), ks=[4])
    assert [(r["measure"], r["value"], r["problems"]) for r in many] == [("pass", 1, 1), ("majority", 1, 1)]


def test_all_stands_beside_the_domains(tmp_path):
    run = made(tmp_path, rows(problems=6))
    found = accuracy_rows(run)
    assert {r["domain"] for r in found} == {"all", "math", "logic"}
    t = run.traces(["model", "domain", "problem_id", "correct"])
    want = t[t.model == "model-a"].groupby(["domain", "problem_id"]).correct.mean().mean()
    assert next(r for r in found if (r["model"], r["domain"]) == ("model-a", "all"))["value"] == pytest.approx(want)


def test_paired_difference_is_over_the_shared_problems(tmp_path):
    a, b = {"p1": 1, "p2": 1, "p3": 0, "p4": 1}, {"p1": 0, "p2": 1, "p3": 0, "p9": 0}
    content = [trace(m, p, 0, bool(c)) for m, side in (("a", a), ("b", b)) for p, c in side.items()]
    row = difference_rows(made(tmp_path, content), "model=a", "model=b")[0]
    low, high = stats.t.interval(0.95, 2, 1 / 3, stats.sem([1, 0, 0]))
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((1 / 3, low, high))
    assert (row["design"], row["problems"], row["value_a"], row["value_b"]) == ("paired", 3, 2 / 3, 1 / 3)


def test_other_problems_are_unpaired_and_no_verdicts_are_an_error(tmp_path):
    content = [trace("a", f"p{i}", 0, i < 6) for i in range(8)] + [trace("b", f"q{i}", 0, i < 3) for i in range(9)]
    content += [trace("c", f"p{i}", 0, None) for i in range(3)]
    run = made(tmp_path, content)
    row = difference_rows(run, "model=a", "model=b")[0]
    x, y = np.arange(8) < 6, np.arange(9) < 3
    low, high = stats.ttest_ind(x.astype(float), y.astype(float), equal_var=False).confidence_interval()
    assert row["design"] == "unpaired" and (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    with pytest.raises(UserError, match="no judged completions"):
        difference_rows(run, "model=a", "model=c")


def test_ks_end_at_what_every_problem_has():
    part = {("d", str(n)): Sampled([""] * n, [True] * n, []) for n in (5, 9)}
    assert common_ks([part]) == [1, 2, 4, 5] and common_ks([{}]) == []
    assert np.isnan(values_at_k(part, list(part), "pass", 6)).tolist() == [True, False]


def test_the_comparison_says_the_same(tiny_run):
    run = Run(tiny_run)
    result = dsl_probe.Comparison(run, "b-vs-a").result
    row = difference_rows(run, "model=model-b", "model=model-a", ks=[1])[0]
    assert row["domain"] == "all" and result.accuracy_a == pytest.approx(row["value_a"])
    assert result.accuracy_difference == pytest.approx([row["value"], row["ci_low"], row["ci_high"]])
    corpus = Corpus.load(run, ["model"])
    models = np.array(corpus.traces["model"].to_pylist())
    sample = choose_sample(corpus, *(np.flatnonzero(models == m) for m in ("model-a", "model-b")), 5)
    assert len(judged_problems(run.all_shards("traces"), sample.rows)) == 60


def test_as_many_right_and_wrong_traces_of_either_group_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    content = [trace("a", f"p{i}", s, bool(rng.random() < 0.8)) for i in range(12) for s in range(3)]
    content += [trace("b", f"p{i}", s, bool(rng.random() < 0.4)) for i in range(12) for s in range(3)]
    content += [trace("b", "p0", 3, None)]
    for row in content:
        row["text"] = "so we add both and then it is right"
    run = made(tmp_path, content)
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5), executor="process:1")
    corpus = Corpus.load(run, ["model"])
    models = np.array(corpus.traces["model"].to_pylist())
    sample = choose_sample(corpus, *(np.flatnonzero(models == m) for m in "ab"), 5)
    kept = same_accuracy(corpus, sample)
    correct = np.array(corpus.traces["correct"].to_pylist(), object)
    for i in range(len(kept.item_domain)):
        sides = [correct[kept.rows[(kept.item == i) & (kept.group == g)]] for g in (0, 1)]
        assert sorted(sides[0]) == sorted(sides[1]) and len(sides[0])
    both = 0
    for p in range(12):
        a, b = (
            sum(r["correct"] is True for r in content if r["model"] == m and r["problem_id"] == f"p{p}") for m in "ab"
        )
        both += min(a, b) + min(3 - a, 3 - b)
    assert (kept.group == 0).sum() == both


def test_unpaired_problems_are_exchanged_among_those_that_are_right_as_often(tmp_path):
    content = [trace("a", f"p{i}", 0, i % 3 == 0) for i in range(12)] + [
        trace("b", f"q{i}", 0, i % 2 == 0) for i in range(12)
    ]
    for row in content:
        row["text"] = "so we add both and then it is right"
    run = made(tmp_path, content)
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5), executor="process:1")
    corpus = Corpus.load(run, ["model"])
    models = np.array(corpus.traces["model"].to_pylist())
    kept = same_accuracy(corpus, choose_sample(corpus, *(np.flatnonzero(models == m) for m in "ab"), 5))
    assert sorted(set(kept.item_stratum)) == ["math, right", "math, wrong"]
