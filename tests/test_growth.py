"""Growth over training: planted births and deaths, nothing in text that stays the same, the split by brute force."""

from pathlib import Path

import numpy as np
import pytest
from corpus import write_jsonl
from scipy.stats import binom

import dsl_probe
from dsl_probe.share.growth import BIN, GrowthConfig, binned, growth, split_g2
from dsl_probe.types import UserError

WORDS = "so the next part is to add both and then see what holds here".split()  # noqa: SIM905


def grown(tmp_path: Path, say, steps=10, each=40, seed=0):
    """A mined run of `each` traces at each step; say(step, rng) -> words put at the end."""
    rng = np.random.default_rng(seed)
    made = [
        {
            "text": " ".join([*rng.choice(WORDS, 15), *say(step, rng)]),
            "prompt": f"p{i}",
            "problem_id": f"p{i}",
            "model": "m",
            "run": "r",
            "step": 10 * step,
            "domain": "ab"[i % 2],
        }
        for step in range(steps)
        for i in range(each)
    ]
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", made)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5), workers=1)
    return run


def test_a_word_is_born_and_another_dies_when_they_do(tmp_path: Path):
    run = grown(tmp_path, lambda step, rng: ["zorp"] * (step >= 6 and rng.random() < 0.5) + ["quil"] * (step < 4))
    result = growth(run)
    events = run.frame("growth_events").set_index("text")
    assert (events.loc["zorp", "change"], events.loc["zorp", "step"]) == ("birth", 60)
    assert (events.loc["quil", "change"], events.loc["quil", "step"]) == ("death", 40)
    assert set(events.index[events["p_adj"] <= 0.05]) == {"zorp", "quil"}
    assert (result.births, result.deaths, result.rises, result.falls, result.runs) == (1, 1, 0, 0, 1)
    series = run.frame("growth")
    quil = series[series["text"] == "quil"].set_index("step")["value"]
    assert quil.to_dict() == {10 * s: float(s < 4) for s in range(10)}
    zorp = series[(series["text"] == "zorp") & (series["step"] == 90)].iloc[0]
    assert zorp["ci_low"] < zorp["value"] < zorp["ci_high"] and zorp["n"] == 40
    # every trace is a problem's only one at its step, so the interval is that of a mean of 40
    p = zorp["value"]
    assert zorp["ci_high"] - p == pytest.approx(2.0227 * np.sqrt(p * (1 - p) / 39), rel=1e-3)
    assert growth(run) == result


@pytest.mark.parametrize("seed", range(3))
def test_nothing_happens_in_text_that_stays_the_same(tmp_path: Path, seed: int):
    run = grown(tmp_path, lambda step, rng: ["zorp"] * (rng.random() < 0.3), seed=seed)
    result = growth(run)
    assert result.births + result.rises + result.falls + result.deaths <= 1


def test_the_split_is_the_best_of_all_by_likelihood():
    rng = np.random.default_rng(0)
    total = rng.integers(20, 40, 8)
    held = rng.binomial(total, np.linspace(0.1, 0.6, 8))[None]
    whole = held.sum() / total.sum()
    null = binom.logpmf(held[0], total, whole).sum()
    best = max(
        (
            2 * (binom.logpmf(held[0, :k], total[:k], held[0, :k].sum() / total[:k].sum()).sum()
            + binom.logpmf(held[0, k:], total[k:], held[0, k:].sum() / total[k:].sum()).sum() - null),
            k,
        )
        for k in range(1, 8)
    )  # fmt: skip
    g2, at = split_g2(held, total)
    assert (g2[0], at[0]) == (pytest.approx(best[0]), best[1])


def test_steps_of_few_traces_are_joined():
    rng = np.random.default_rng(0)
    step = rng.integers(0, 300, 1_000)
    joined = binned(step)
    _, sizes = np.unique(joined, return_counts=True)
    assert sizes.min() >= BIN and len(sizes) <= 41
    order = np.argsort(step, kind="stable")
    assert (np.diff(joined[order]) >= 0).all() and set(joined) <= set(step)
    assert (binned(np.arange(5)) == 0).all()


def test_traces_without_steps_are_refused(tiny_run: Path):
    with pytest.raises(UserError, match="no training run"):
        growth(dsl_probe.Run(tiny_run))
    with pytest.raises(UserError, match="permutations is 9"):
        growth(dsl_probe.Run(tiny_run), GrowthConfig(permutations=9))
