"""The calibration experiment: its truths against brute force and closed forms, its tally against hand-made lines."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments" / "calibration"))

import communities
import intervals
import models
import published
import simulations


def test_published_values_are_met_to_the_printed_digits():
    for check in published.checks():
        assert check.rounded == check.printed, check.what


def test_expected_hill_numbers_are_sums_over_binomials():
    p, m = communities.zipf(40), 900  # rare and frequent types, on both sides of the series
    k = np.arange(1, m + 1)
    chance = stats.binom.pmf(k, m, p[:, None])
    want = [chance.sum(), math.exp(-(chance * k / m * np.log(k / m)).sum()), 1 / (1 / m + (m - 1) / m * (p * p).sum())]
    assert communities.expected_hill(p, m) == pytest.approx(want, rel=1e-6)


def test_truth_at_coverage_is_that_of_samples_of_this_coverage():
    rng, p = np.random.default_rng(0), communities.zipf(300)
    samples = rng.multinomial(400, p, size=4_000)
    coverage = (p * (samples > 0)).sum(1).mean()
    types, _, simpson = communities.hill_truth(p, coverage)
    assert types == pytest.approx((samples > 0).sum(1).mean(), rel=0.01)
    assert simpson == pytest.approx(1 / ((samples / 400) ** 2).sum(1).mean(), rel=0.01)


def test_partition_of_identical_and_of_disjoint_domains():
    p = communities.zipf(50)
    nothing = np.zeros(50)
    same = communities.partition_truth(p, p, 0.95)
    apart = communities.partition_truth(np.r_[p, nothing], np.r_[nothing, p], 0.95)
    for order in range(3):
        assert same[f"beta_{order}"] == pytest.approx(1, abs=0.02)
        assert apart[f"beta_{order}"] == pytest.approx(2, abs=0.04)


@pytest.mark.parametrize("kind", communities.KINDS)
def test_truth_of_sharing(kind):
    p, q = communities.frequencies(kind, 200, np.random.default_rng(1))
    assert p.sum() == pytest.approx(1) and q.sum() == pytest.approx(1)
    truth = communities.sharing_truth(p, q)
    assert truth["jensen_shannon"] == pytest.approx(distance.jensenshannon(p, q, base=2) ** 2, abs=1e-12)
    assert (truth["morisita_horn"] == pytest.approx(1)) == (kind == "identical")
    assert (truth["chao_jaccard"] == pytest.approx(1)) == (kind != "half private")


@pytest.mark.parametrize("burst", [1.0, communities.BURST])
def test_draws_have_the_frequencies_and_lengths_asked_for(burst):
    p = communities.zipf(1_000)
    counts = communities.draw(p, 4_000, 60, burst, np.random.default_rng(2)).toarray()
    assert counts.sum(0) / counts.sum() == pytest.approx(p, abs=0.004)
    assert counts.sum(1).mean() == pytest.approx(60, rel=0.03)
    # A rare word is drawn once in a problem, and then written as often as its burst is long.
    assert counts[:, 100:][counts[:, 100:] > 0].mean() == pytest.approx(burst, rel=0.05)


@pytest.mark.parametrize("truth", models.CASES)
def test_models_share_as_much_as_the_closed_form_says(truth):
    private = models.CASES[truth]
    assert models.morisita_horn(private[0]) - models.morisita_horn(private[1]) == pytest.approx(truth)
    rng = np.random.default_rng(3)
    totals: list[list[np.ndarray]] = [[], []]
    for number in (0, 2):
        for model in range(2):
            drawn = [models.answers(number, private, rng)[model].sum(0) for _ in range(60)]
            totals[model].append(np.asarray(sum(drawn), float))
    for u, (x, y) in zip(private, totals, strict=True):
        x, y = x / x.sum(), y / y.sum()
        assert 2 * (x @ y) / (x @ x + y @ y) == pytest.approx(models.morisita_horn(u), abs=0.015)


def test_models_have_their_luck_in_common():
    a, b = models.answers(0, (0.25, 0.25), np.random.default_rng(4))
    a, b = a.toarray()[:, 20:1_000] > 0, b.toarray()[:, 20:1_000] > 0
    both = (a & b).sum() / a.sum()
    assert both > 2 * (a & np.roll(b, 1, axis=0)).sum() / a.sum()


def line(number: int, ends: tuple[float, float], problem_coverage: float = 0.95, **changes):
    setting = {"kind": "identical", "types": 1_000, "problems": 40, "tokens": 150, "burst": 1.0}
    measures = {"morisita_horn": (0.5, *ends, 0.6)}
    about = {"number": number, "problem_coverage": problem_coverage, "measures": measures}
    return about | setting | changes


def test_shares_are_counted_by_group():
    lines = [
        line(0, (0.4, 0.6)),
        line(1, (0.4, 0.59)),
        line(2, (0.55, 0.7), kind="jittered", burst=2.0),
        line(3, (float("nan"), float("nan")), types=3_000),
        line(4, (0.1, 0.9), problem_coverage=0.89),
    ]
    groups = intervals.by_group(lines)
    assert [len(members) for members in groups.values()] == [4, 3, 1, 0, 2, 1, 1, 0, 1]
    assert list(groups) == [
        *("all", "identical", "jittered", "half private", "1,000 types, independent", "1,000 types, bursty"),
        *("3,000 types, independent", "3,000 types, bursty", "below 0.9"),
    ]
    assert intervals.held(groups["all"], "morisita_horn") == 0.5
    assert intervals.held(groups["below 0.9"], "morisita_horn") == 1
    assert math.isnan(intervals.held([], "morisita_horn"))
    assert intervals.error(lines, "morisita_horn") == pytest.approx([-0.1] * 5)


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(simulations, "KEPT", tmp_path / "runs" / "lines.jsonl")
    done = []

    def simulation(number):
        done.append(number)
        return {"part": "some", "number": number}

    simulations.all_lines("some", [0, 2], simulation)
    lines = simulations.all_lines("some", range(4), simulation)
    assert done == [0, 2, 1, 3] and [x["number"] for x in lines] == [0, 1, 2, 3]
    assert simulations.all_lines("other", [0], lambda n: {"part": "other", "number": n})[0]["part"] == "other"


def test_a_simulation_is_the_same_again_and_has_every_measure():
    first, again = simulations.simulate(0), simulations.simulate(0)
    assert first == again
    assert set(first["measures"]) >= {*intervals.PROMISED, *intervals.OTHERS, *intervals.BOOTSTRAP}
    for name in intervals.PROMISED | intervals.OTHERS:
        value, low, high, truth = first["measures"][name]
        assert (low <= value <= high or math.isnan(low)) and math.isfinite(truth)
