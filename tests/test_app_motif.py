"""The app's page of one motif, on small runs whose numbers are known."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from made_growth import write_growth
from pages import fine, table, words

from dsl_probe.store import Run


def test_rates_are_those_that_were_mined(show, tiny_run: Path, motif: str):
    at = show("motifs", tiny_run, motif=motif, motif_tab="Rate by model and domain")
    assert fine(at)
    names = ["model", "domain", "count", "support", "problems", "units"]
    shown = table(at, "of_problems").set_index(["model", "domain"])
    mined = Run(tiny_run).frame("counts", names, [("motif_id", "=", motif)]).set_index(["model", "domain"])
    assert len(mined) == 2 and len(shown) == 4
    assert (shown.loc[mined.index, names[2:]] == mined).all(axis=None)
    rest = shown.drop(index=mined.index)
    assert (rest["count"] == 0).all() and rest["ci_low"].isna().all()
    own = shown.loc[mined.index]
    assert (own["ci_low"] < own["rate"]).all() and (own["rate"] < own["ci_high"]).all()
    assert own["rate"].to_numpy() == pytest.approx(1000 * mined["count"] / mined["units"])


def test_with_equal_text_a_ratio_has_the_interval_of_a_mean(module):
    from scipy.stats import t

    ratio = module("uses").ratio
    x = np.random.default_rng(0).poisson(3, 20).astype(float)
    low, high = t.interval(0.95, 19, x.mean(), x.std(ddof=1) / np.sqrt(20))
    assert ratio(x, np.full(20, 50.0)) == pytest.approx((x.mean() / 50, low / 50, high / 50))
    assert np.isnan(ratio(np.zeros(20), np.full(20, 50.0))[1:]).all()
    assert np.isnan(ratio(np.zeros(2), np.zeros(2))[0])


def test_dispersion_is_half_the_distance_of_the_shares(show, tiny_run: Path, motif: str):
    shown = table(show("motifs", tiny_run, motif=motif, motif_tab="Rate by model and domain"), "by_chance").set_index(
        ["model", "domain"]
    )
    run = Run(tiny_run)
    facts = run.traces(["model", "domain", "problem_id"])
    where = run.frame("occurrences", ["trace_row", "echo"], [("motif_id", "=", motif)])
    facts["uses"] = np.bincount(where.loc[~where["echo"], "trace_row"], minlength=len(facts))
    facts["text"] = [sum(flag == 0 for flag in f) for f in run.all_shards("units", ["flags"])["flags"].to_pylist()]
    own = (
        facts[(facts["model"] == "model-b") & (facts["domain"] == "math")].groupby("problem_id")[["uses", "text"]].sum()
    )
    share = own / own.sum()
    row = shown.loc[("model-b", "math")]
    assert row["dispersion"] == pytest.approx((share["uses"] - share["text"]).abs().sum() / 2)
    assert 0 < row["by_chance"] < 1


def test_places_and_neighbours_are_those_of_the_texts(tiny_run: Path, motif: str, module):
    uses, data, run = module("uses"), module("data"), Run(tiny_run)
    key = data.key(run, "traces", "mine")
    before, after, n = uses.neighbours(key, motif)
    truth: tuple[Counter, Counter] = (Counter(), Counter())
    for text in run.traces(["text"])["text"]:
        said = text.split()
        for i in (i for i, word in enumerate(said) if word == "zorp"):
            truth[0][said[i - 1]] += 1
            truth[1][said[i + 1]] += 1
    for shown, counted in zip((before, after), truth, strict=True):
        assert dict(zip(shown["unit"], shown["count"], strict=True)) == counted
        assert shown["share"].sum() == pytest.approx(1) and n == counted.total()
        assert (shown["problems"] <= shown["count"]).all()
    places = uses.places(key, motif)
    where = run.frame("occurrences", ["trace_row", "start"], [("motif_id", "=", motif)])
    lengths = [len(ids) for ids in run.all_shards("units", ["ids"])["ids"].to_pylist()]
    tenths = Counter(10 * start // lengths[row] for row, start in where.to_numpy().tolist())
    assert places["series"].unique().tolist() == ["model-b"]
    assert places["value"].to_numpy() == pytest.approx([tenths[k] / n for k in range(10)])
    assert places["at"].tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]


def test_the_first_and_last_unit_have_the_ends_beside_them(tmp_path: Path, module):
    import dsl_probe

    run = dsl_probe.Run.create(tmp_path / "run")
    lines = [json.dumps({"text": "zorp middle zorp", "problem_id": str(k), "model": "m"}) for k in range(8)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), "utf-8")
    dsl_probe.import_traces(run, [tmp_path / "t.jsonl"])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=2, min_problems=2, q=1.0), executor="process:1")
    uses, data = module("uses"), module("data")
    found = run.frame("motifs", ["motif_id", "text"]).set_index("text")["motif_id"]
    assert "zorp" in found
    before, after, n = uses.neighbours(data.key(run, "traces", "mine"), found["zorp"])
    assert n == 16
    assert dict(zip(before["unit"], before["count"], strict=True)) == {uses.BEGINNING: 8, "middle": 8}
    assert dict(zip(after["unit"], after["count"], strict=True)) == {uses.END: 8, "middle": 8}


def test_growth_over_training_is_shown_where_it_was_followed(show, tiny_run: Path, motif: str, tmp_path: Path):
    run = Run(shutil.copytree(tiny_run, tmp_path / "run"))
    assert "Over training" not in [tab.label for tab in show("motifs", run.path, motif=motif).tabs]
    write_growth(run, motif, "zorp")
    at = show("motifs", run.path, motif=motif, motif_tab="Over training")
    assert fine(at) and "Over training" in [tab.label for tab in at.tabs]
    assert table(at, "birth")[["run", "last", "birth"]].to_numpy().tolist() == [["r", 0.5, 50]]
    other = show("motifs", run.path, motif="so", motif_tab="Over training")
    assert "not followed over training" in words(other)
