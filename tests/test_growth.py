"""Growth: statistics against scipy and brute force, planted births and deaths, stationary text, and the stage."""

import random
from itertools import combinations

import numpy as np
import pytest
from corpus import WORDS, write_jsonl
from scipy import sparse, stats

import dsl_probe
from dsl_probe.share import births
from dsl_probe.share.births import dealt_steps, find_events, is_paired
from dsl_probe.share.growth import GrowthConfig, growth, merged
from dsl_probe.share.hill import hill_at_size
from dsl_probe.share.means import share_intervals
from dsl_probe.share.rarefy import seen_in


def g2(k1: int, n1: int, k2: int, n2: int) -> float:
    if k1 + k2 in (0, n1 + n2):
        return 0.0
    return stats.chi2_contingency([[k1, n1 - k1], [k2, n2 - k2]], correction=False, lambda_="log-likelihood")[0]


def draw(rates: np.ndarray, problems: int, rng: np.random.Generator, spread: float = 0.0):
    """held, step, problem: every problem once at each step; rates [steps, items]; logits shifted by problem."""
    steps, items = rates.shape
    problem, step = np.tile(np.arange(problems), steps), np.repeat(np.arange(steps), problems)
    logit = np.log(rates / (1 - rates))[step] + spread * rng.standard_normal((problems, items))[problem]
    return sparse.csr_matrix((rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(float)), step, problem


# ---------------------------------------------------------------- the test


def test_statistics_agree_with_scipy():
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 30, 6)
    counts = np.array([rng.integers(0, n + 1, 40) for n in sizes])
    counts[:, 0], counts[:, 1] = 0, sizes
    change, split, rise, fall = births._statistics(counts, sizes, births._xlogx(int(sizes.sum())))
    for m in range(40):
        k = counts[:, m]
        parts = [g2(k[:s].sum(), sizes[:s].sum(), k[s:].sum(), sizes[s:].sum()) for s in range(1, 6)]
        assert split[m] == pytest.approx(max(parts), abs=1e-6)
        assert max(parts) < 1e-6 or change[m] == 1 + int(np.argmax(parts))
        share = k / sizes
        for s in range(1, 6):
            top = int(share[:s].argmax())
            up, down = share[s] > share[0], share[s] < share[top]
            assert rise[s, m] == pytest.approx(g2(k[0], sizes[0], k[s], sizes[s]) if up else 0, abs=1e-6)
            assert fall[s, m] == pytest.approx(g2(k[top], sizes[top], k[s], sizes[s]) if down else 0, abs=1e-6)


def test_adjusted_p_is_the_step_down_maximum():
    rates = np.tile([0.1, 0.2, 0.3, 0.5, 0.3], (4, 1))
    rates[2:, 3] = 0.8
    held, step, problem = draw(rates, 20, np.random.default_rng(1))
    found = find_events(held, step, problem, permutations=99, seed=3)
    table, dense = births._xlogx(len(step)), held.toarray().astype(int)

    def splits(steps: np.ndarray) -> np.ndarray:
        counts = np.array([dense[steps == s].sum(0) for s in range(4)])
        return births._statistics(counts, np.bincount(steps), table)[1]

    observed, dealt = splits(step), np.array([splits(d) for d in dealt_steps(step, problem, 99, 3)])
    assert np.allclose(found.p, ((dealt >= observed - 1e-9).sum(0) + 1) / 100)
    least = 0.0
    for m in np.argsort(-observed):
        below = dealt[:, observed <= observed[m]].max(1)
        least = max(least, ((below >= observed[m] - 1e-9).sum() + 1) / 100)
        assert found.p_adj[m] == pytest.approx(max(least, found.p[m]))
    assert found.p_adj[3] <= 0.05 and found.change[3] == 2


def test_steps_are_dealt_within_problems_where_problems_return():
    rng = np.random.default_rng(0)
    problem, step = np.repeat(np.arange(10), 6), np.tile([0, 0, 1, 2, 2, 3], 10)
    for dealt in dealt_steps(step, problem, 5, 0):
        # Traces of one problem at one step stay together.
        assert all(len(np.unique(dealt[(problem == p) & (step == 2)])) == 1 for p in range(10))
        assert all(set(dealt[problem == p]) == {0, 1, 2, 3} for p in range(10))
    alone, at = np.arange(40), rng.permutation(np.repeat(np.arange(4), 10))
    assert is_paired(step, problem) and not is_paired(at, alone)
    assert all((np.bincount(d) == 10).all() for d in dealt_steps(at, alone, 5, 0))


def test_a_word_born_at_a_known_step_is_found_there_and_one_that_dies():
    rates = np.full((8, 60), 0.1)
    rates[3:, 0] = 0.6
    rates[:, 1] = [0.02, 0.5, 0.5, 0.5, 0.5, 0.01, 0.01, 0.01]
    rates[:, 2] = [0.8, 0.8, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]
    found = find_events(*draw(rates, 120, np.random.default_rng(2), spread=1.0))
    assert found.birth[:3].tolist() == [3, 1, -1] and found.change[[0, 2]].tolist() == [3, 2]
    assert found.death[:3].tolist() == [-1, 5, 2]
    assert (found.p_adj[:3] <= 0.05).all()
    assert (found.birth[3:] == -1).all() and (found.death[3:] == -1).all()


@pytest.mark.parametrize("paired", [True, False])
def test_stationary_text_gives_no_birth_beyond_chance(paired):
    alarms = np.zeros(3)
    for seed in range(40):
        rng = np.random.default_rng([seed, 5])
        held, step, problem = draw(np.tile(rng.uniform(0.02, 0.7, 50), (6, 1)), 40, rng, spread=1.5)
        found = find_events(held, step, problem if paired else np.arange(len(step)), permutations=99, seed=seed)
        alarms += [(found.birth >= 0).any(), (found.death >= 0).any(), (found.p_adj <= 0.05).any()]
    # The 99.9 % point of Binomial(40, .05).
    assert alarms.max() <= stats.binom.ppf(0.999, 40, 0.05)


# ---------------------------------------------------------------- estimates


def test_share_intervals_are_wilsons_where_each_problem_has_one_trace():
    x = (np.arange(2_000) < 300).astype(float)
    share, low, high = (float(v[0]) for v in share_intervals(np.array([x.sum()]), np.array([(x**2).sum()]), len(x)))
    known = stats.binomtest(300, 2_000).proportion_ci(method="wilson")
    assert share == 0.15 and (low, high) == pytest.approx((known.low, known.high), abs=2e-4)


def test_share_intervals_hold_the_truth_where_problems_differ():
    rng, held = np.random.default_rng(0), []
    for truth in (0.05, 0.2, 0.5):
        a, b = 2 * truth, 2 * (1 - truth)
        means = rng.binomial(4, rng.beta(a, b, (2_000, 50))) / 4
        _, low, high = share_intervals(means.sum(1), (means**2).sum(1), 50)
        held.append(((low <= truth) & (truth <= high)).mean())
    assert min(held) > 0.93 and max(held) < 0.985


def test_rarefaction_is_the_mean_over_all_samples():
    draws = ["a", "a", "a", "b", "b", "c", "d"]
    every = [len(set(s)) for s in combinations(draws, 3)]
    assert seen_in(np.array([3, 2, 1, 1]), 7, 3) == pytest.approx(np.mean(every))
    assert seen_in(np.array([3, 2, 1, 1]), 7, 3) == pytest.approx(hill_at_size([3, 2, 1, 1], 0, 3))


def test_few_traces_are_taken_together_in_order():
    steps = np.array([5, 1, 1, 2, 3, 9, 9, 9, 7])
    code, first = merged(steps, 3)
    assert first.tolist() == [1, 3, 9] and code.tolist() == [1, 0, 0, 0, 1, 2, 2, 2, 1]
    assert merged(np.array([4, 4]), 9)[1].tolist() == [4]


# ---------------------------------------------------------------- the stage


def rows(seed: int = 0, problems: int = 30, steps: int = 6, planted: bool = True, position: bool = False) -> list[dict]:
    """One run: `zorp` in 60 % of the traces from step 30 on, `glim` in 70 % before step 20; step = 10 x k."""
    rng, made = random.Random(seed), []
    for k in range(steps):
        for p in range(problems):
            for domain in ("math", "logic"):
                words = rng.choices(WORDS, k=40)
                if planted and k >= 3 and rng.random() < 0.6:
                    words[5] = "zorp"
                if planted and k < 2 and rng.random() < 0.7:
                    words[9] = "glim"
                if k >= 4:
                    words[:3] = ["now", "we", "begin"]
                row = {"problem_id": f"{domain}/{p}", "domain": domain, "prompt": f"Problem {p}", "model": "rl"}
                at = {"train_position": k / 10} if position else {"step": 10 * k, "run": "rl"}
                made.append(row | at | {"text": "<think> " + " ".join(words)})
    return made


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("growth")
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "rows.jsonl", rows())])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(q=1.0), executor="process:1")
    return run, growth(run, GrowthConfig(permutations=199))


def test_the_stage_finds_what_was_planted(grown):
    run, result = grown
    events = {(e["kind"], e["text"]): e for e in run.table("growth_events").to_pylist()}
    assert events["unit", "zorp"]["birth"] == events["unit", "zorp"]["change"] == 30
    assert events["unit", "glim"]["death"] == 20 and events["unit", "glim"]["birth"] is None
    opener = events["opener", "now we begin"]
    assert opener["birth"] == opener["change"] == 40 and opener["last"] == 1
    others = [e for (kind, text), e in events.items() if kind == "unit" and text in WORDS]
    assert len(others) > 10 and result.born < 10 and sum(e["birth"] is not None for e in others) <= 3
    table = run.table("growth").to_pylist()
    zorp = {r["step"]: r for r in table if r["text"] == "zorp"}
    truth = [np.mean(["zorp" in r["text"] for r in rows() if r["step"] == s]) for s in sorted(zorp)]
    assert [zorp[s]["value"] for s in sorted(zorp)] == pytest.approx(truth)
    assert all(r["ci_low"] <= r["value"] <= r["ci_high"] and r["n"] == 60 for r in zorp.values())
    assert events["unit", "zorp"]["growth"] == pytest.approx(truth[-1] - truth[0])
    tops = {r["step"]: r for r in table if r["id"] == "top"}
    assert tops[50]["text"] == "now we begin" and tops[50]["value"] == 1 and tops[0]["value"] < 0.2
    sharing = [r["value"] for r in table if r["kind"] == "sharing"]
    assert len(sharing) == 6 and min(sharing) > 0.9
    assert {r["id"] for r in table if r["kind"] == "lexicon"} >= {"vocabulary"}


def test_the_stage_is_a_stage(grown):
    run, result = grown
    assert growth(run, GrowthConfig(permutations=199)) == result
    assert [s.state for s in run.status(verify=True) if s.stage == "growth"] == ["done"]
    with pytest.raises(dsl_probe.UserError, match="step_traces"):
        growth(run, GrowthConfig(permutations=199, step_traces=7))
    with pytest.raises(dsl_probe.UserError, match="max-steps"):
        growth(run, GrowthConfig(max_steps=1))


def test_a_place_in_training_serves_as_step_and_traces_without_either_are_refused(tmp_path):
    for name, content in (("place", rows(position=True)), ("none", [r | {"step": None} for r in rows(steps=2)])):
        run = dsl_probe.Run.create(tmp_path / name)
        dsl_probe.import_traces(run, [write_jsonl(tmp_path / f"{name}.jsonl", content)])
        dsl_probe.mine_motifs(run, executor="process:1")
        if name == "place":
            growth(run, GrowthConfig(permutations=99))
            events = {e["text"]: e for e in run.table("growth_events").to_pylist() if e["kind"] == "unit"}
            assert events["zorp"]["birth"] == 30 and events["zorp"]["run"] == "rl"
        else:
            with pytest.raises(dsl_probe.UserError, match="train_position"):
                growth(run)
            assert run.stage("growth") is None
