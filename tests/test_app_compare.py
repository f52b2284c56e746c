"""The app's pages Compare, Sharing and Motifs, on small runs whose numbers are known."""

import json
import shutil
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hostile import MARKDOWN, MARKS, SCRIPT
from made_growth import write_growth
from pages import fine, table, words

from dsl_probe.store import Run
from dsl_probe.types import LEGIBILITY_CONTRAST, SHIFT

EVIL = f"{SCRIPT} {MARKDOWN} {MARKS}"
A, B, BASE = "model=model-b", "model=model-a", "model=third"
APP = Path(__file__).resolve().parents[1] / "app"


def legible(group: str, domain: str, value: float) -> dict:
    about = {"group": group, "domain": domain, "design": "paired", "measure": "out_of_lexicon", "reference": "base"}
    return about | {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "problems": 9, "traces": 18}


@pytest.fixture
def three(tiny_run: Path, tmp_path: Path) -> Run:
    """A copy of the tiny run with a comparison of three groups, written by hand from the one that it has.

    Against the third group A over-uses all that it over-uses against B, and B and the third cannot be told apart. The
    strongest motif's text is hostile, and three motifs are over-used by B at equal units.
    """
    run = Run(shutil.copytree(tiny_run, tmp_path / "run"))
    record, old = run.stage("compare.b-vs-a"), run.table("comparisons/b-vs-a/comparison")
    frame = old.to_pandas()
    strongest = frame.sort_values("z")["motif_id"].iloc[-1]
    frame.loc[frame["motif_id"] == strongest, "text"] = EVIL
    headline = frame[(frame["domain"] == "all") & (frame["matched"] == "equal units")].sort_values("z")
    frame.loc[headline.index[:3], "p_adj"] = 0.01
    same = frame.assign(a=B, b=BASE, p_adj=1.0)
    full = pd.concat([frame, frame.assign(b=BASE), same])
    counts = record["counts"] | {
        "against_base": [record["counts"] | {"a": A, "b": BASE}, record["counts"] | {"a": B, "b": BASE}]
    }
    config = record["config"] | {"name": "three", "base": BASE}
    run.begin("compare.three", config, {}, False)
    rows = [legible(g, d, v) for g, v in ((A, 0.3), (B, 0.2), ("A - B", 0.1)) for d in ("all", "inside", "outside")]
    rows += [legible("A - B", "outside - inside", 0.05), legible("A - base", "all", 0.25)]
    shifts = [
        {"group": A, "domain": d, "measure": "bits", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "problems": 9}
        for d in ("all", "math")
    ]
    tables = {
        "comparison": pa.Table.from_pandas(full, old.schema, preserve_index=False),
        "sharing": run.table("comparisons/b-vs-a/sharing"),
        "legibility": pa.Table.from_pylist(rows, LEGIBILITY_CONTRAST),
        "shift": pa.Table.from_pylist(shifts, SHIFT),
    }
    written = [run.write_table(f"comparisons/three/{name}.parquet", table) for name, table in tables.items()]
    run.finish("compare.three", written, counts, seed=0)
    return run


@pytest.fixture(scope="module")
def zorp(tiny_run: Path) -> str:
    return Run(tiny_run).frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]


# ---- Compare


@pytest.mark.parametrize("page", ["compare", "sharing"])
def test_a_full_run_shows_without_complaint(show, tiny_run: Path, page: str):
    assert fine(show(page, tiny_run))


def test_three_groups_have_a_mark_for_each_pair(show, three: Run):
    at = show("compare", three.path, comparison="three")
    assert fine(at)
    pairs = table(at, "in_first")
    assert pairs[["first", "second"]].to_numpy().tolist() == [
        ["model-b", "model-a"],
        ["model-b", "third"],
        ["model-a", "third"],
    ]
    frame = three.frame("comparisons/three/comparison", None, [("domain", "=", "all"), ("matched", "=", "equal units")])
    found = frame[(frame["p_adj"] <= 0.05) & (frame["b"] == B)]
    marks = table(at, "mark_0")
    assert len(marks) == found["motif_id"].nunique() > 0
    assert set(marks["mark_1"]) <= {"more in model-b", "more in third"}
    assert set(marks["mark_2"]) == {"not told apart"}
    side = {text: "more in model-b" if z > 0 else "more in model-a" for text, z in found[["text", "z"]].to_numpy()}
    plain = marks[~marks["text"].str.contains("script")]
    assert plain["mark_0"].tolist() == [side[text] for text in plain["text"]]
    # The choice of a pattern keeps the motifs that have it.
    pattern = next(o for o in at.selectbox(key="pattern").options if "more in model-a · more in third" in o)
    at.selectbox(key="pattern").select(pattern).run()
    assert len(table(at, "mark_0")) == (found["z"] < 0).sum() == int(pattern.split(" ")[0])


@pytest.mark.parametrize(
    ("page", "query", "held", "apart"),
    [
        ("compare", {"compare_tab": "Legibility"}, "outside - inside", "mark_0"),
        ("compare", {}, "mark_0", "outside - inside"),
        ("sharing", {"sharing_tab": "What makes the overlap"}, "part", "ci_low"),
        ("motifs", {"motif": "zorp", "motif_tab": "Traces that hold it"}, "occurrences", "by_chance"),
        ("overview", {"collected_tab": "By model and domain"}, "domain", "domains"),
    ],
)
def test_the_tab_of_the_address_is_open_and_alone_worked_out(
    show, three: Run, page: str, query: dict[str, str], held: str, apart: str
):
    columns = [set(frame.value.columns) for frame in show(page, three.path, comparison="three", **query).dataframe]
    below = columns[1:] if page == "sharing" else columns
    assert any(held in one for one in below) and not any(apart in one for one in below)


def test_what_a_model_wrote_stays_text(show, three: Run):
    at = show("compare", three.path, comparison="three")
    assert table(at, "mark_0")["text"].str.contains("<script>", regex=False).any()
    for kind in (at.markdown, at.caption, at.info, at.warning, at.error, at.title, at.subheader):
        assert not any("<script>" in element.value for element in kind)


def test_matchings_are_counted_as_the_table_says(show, three: Run):
    at = show("compare", three.path, comparison="three", compare_tab="Matched and unmatched")
    frame = three.frame("comparisons/three/comparison", None, [("domain", "=", "all"), ("b", "=", B)])
    shown = table(at, "lost").set_index("matched")
    found = {
        how: {(m, z > 0) for m, z, p in part[["motif_id", "z", "p_adj"]].to_numpy().tolist() if p <= 0.05}
        for how, part in frame.groupby("matched")
    }
    assert set(shown.index) == set(found)
    for how, own in found.items():
        row = shown.loc[how]
        assert (row["a"], row["b"]) == (sum(up for _, up in own), sum(not up for _, up in own))
        assert row["both"] == len(own & found["equal units"])
        assert row["lost"] == len(found["equal units"]) - row["both"]


def test_legibility_is_shown_inside_and_outside_the_rl_domains(show, three: Run):
    legible = {"comparison": "three", "compare_tab": "Legibility"}
    at = show("compare", three.path, **legible)
    row = table(at, "outside - inside").set_index("measure").loc["out_of_lexicon"]
    assert row["all"] == row["inside"] == row["outside"] == "+0.1000 [+0.0000, +0.2000]"
    assert row["outside - inside"] == "+0.0500 [-0.0500, +0.1500]"
    assert row["problems"] == 9
    # Of another pair its own difference, and no parts that were not measured.
    other = show("compare", three.path, **legible, pair="model-b against third")
    shown = next(f.value for f in other.dataframe if {"measure", "all"} <= set(f.value))
    assert shown["all"].tolist() == ["+0.2500 [+0.1500, +0.3500]"]
    assert "inside" not in shown


def test_the_shift_is_shown_or_how_to_get_it(show, three: Run):
    at = show("compare", three.path, comparison="three", compare_tab="Shift a token")
    shown = next(f.value for f in at.dataframe if "bits" in f.value.values)
    assert shown[["group", "domain", "value"]].to_numpy().tolist() == [
        ["model-b", "all", 0.5],
        ["model-b", "math", 0.5],
    ]
    at = show("compare", three.path, comparison="b-vs-a", compare_tab="Shift a token")
    assert fine(at)
    assert f"dsl-probe score {three.path} --model MODEL --against BASE" in words(at)


def test_a_table_that_cannot_be_read_takes_nothing_else_off_the_page(show, three: Run):
    (three.path / "comparisons" / "three" / "legibility.parquet").write_bytes(b"nothing")
    at = show("compare", three.path, comparison="three", compare_tab="Legibility")
    assert not at.exception
    assert "cannot be read" in words(at)
    assert len(at.dataframe[0].value) and len(table(show("compare", three.path, comparison="three"), "mark_0"))


def test_accuracy_against_answers_is_worked_out_of_the_traces(show, tiny_run: Path):
    at = show("compare", tiny_run, compare_tab="Accuracy against tokens")
    assert "No curve was stored" in words(at)
    at.toggle(key="curve_of_traces").set_value(True).run()
    assert fine(at)
    shown = table(at, "n_samples")
    traces = Run(tiny_run).traces(["model", "problem_id", "domain", "correct"])
    for model, part in traces.groupby("model"):
        by_problem = part.groupby("problem_id")["correct"].apply(list)
        for k in (1, 2):
            truth = np.mean([np.mean([any(two) for two in combinations(answers, k)]) for answers in by_problem])
            row = shown[(shown["model"] == model) & (shown["k"] == k)].iloc[0]
            assert row["value"] == pytest.approx(truth)
            assert row["n_problems"] == len(by_problem)
    # These traces hold no token ids: no tokens are made up.
    assert shown["tokens"].isna().all()


def test_ranks_run_on_over_the_pages(show, tiny_run: Path):
    at = show("compare", tiny_run)
    at.get_by_key("which").set_value("all tested").run()
    shown = at.dataframe[0].value
    assert shown["rank"].tolist() == list(range(1, len(shown) + 1)) and len(shown) == 200
    z = Run(tiny_run).frame("comparisons/b-vs-a/comparison", ["z", "domain", "matched"])
    z = z[(z["domain"] == "all") & (z["matched"] == "equal units")]["z"].abs()
    assert shown["z"].abs().to_numpy() == pytest.approx(np.sort(z)[::-1][:200])


# ---- Sharing


def keys(module, run: Run, id: str = "b-vs-a") -> tuple:
    data = module("data")
    return data.key(run, f"compare.{id}"), data.key(run, "traces", "mine"), id


def test_the_difference_of_the_only_pair_is_that_of_the_comparison(show, tiny_run: Path):
    at = show("sharing", tiny_run)
    run = Run(tiny_run)
    shown = table(at, "n").iloc[0]
    assert shown[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(
        run.counts("compare.b-vs-a")["sharing_difference"]
    )
    assert shown["n"] == 60


def test_rarefaction_is_the_mean_of_random_draws(tiny_run: Path, module):
    overlap = module("overlap")
    arguments = keys(module, Run(tiny_run))
    frame = overlap.rarefaction(*arguments)
    words = overlap.vocabularies(*arguments).by_domain[0]["math"]
    tokens = np.repeat(np.arange(words.shape[1]), np.asarray(words.sum(0)).ravel().astype(int))
    rng = np.random.default_rng(0)
    own = frame[(frame["side"] == 0) & (frame["domain"] == "math")]
    for at in own["at"].iloc[[0, 4]]:
        drawn = [len(set(rng.choice(tokens, at, replace=False))) for _ in range(600)]
        assert own.loc[own["at"] == at, "value"].iloc[0] == pytest.approx(np.mean(drawn), abs=0.3)
    assert (own["n"] == len(tokens)).all()
    assert frame.groupby(["side", "domain"])["at"].max().nunique() == 1


def test_the_motifs_of_the_overlap_are_those_of_the_traces(show, tiny_run: Path):
    overlap = {"sharing_tab": "What makes the overlap"}
    at = show("sharing", tiny_run, overlap_group="A: model-b", **overlap)
    run = Run(tiny_run)
    zorp = run.frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]
    where = run.frame("occurrences", ["trace_row", "echo"], [("motif_id", "=", zorp)])
    domain = np.array(run.traces(["domain"])["domain"])[where.loc[~where["echo"], "trace_row"]]
    row = table(at, "part").set_index("text").loc["zorp"]
    assert row["count_a"] + row["count_b"] == len(domain)
    assert {row["count_a"], row["count_b"]} == {(domain == "math").sum(), (domain == "logic").sum()}
    assert table(at, "part")["length"].eq(1).all()
    # The other group never says it; the topic's words stand in one domain alone.
    other = show("sharing", tiny_run, overlap_group="B: model-a", **overlap)
    assert "zorp" not in set(table(other, "part")["text"])
    at.selectbox(key="overlap_which").select("in math alone").run()
    assert {"number", "equation", "fraction", "divide"} <= set(table(at, "part")["text"])


# ---- a motif


def test_rates_are_those_that_were_mined(show, tiny_run: Path, zorp: str):
    at = show("motifs", tiny_run, motif=zorp, motif_tab="Rate by model and domain")
    assert fine(at)
    names = ["model", "domain", "count", "support", "problems", "units"]
    shown = table(at, "of_problems").set_index(["model", "domain"])
    mined = Run(tiny_run).frame("counts", names, [("motif_id", "=", zorp)]).set_index(["model", "domain"])
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


def test_dispersion_is_half_the_distance_of_the_shares(show, tiny_run: Path, zorp: str):
    shown = table(show("motifs", tiny_run, motif=zorp, motif_tab="Rate by model and domain"), "by_chance").set_index(
        ["model", "domain"]
    )
    run = Run(tiny_run)
    facts = run.traces(["model", "domain", "problem_id"])
    where = run.frame("occurrences", ["trace_row", "echo"], [("motif_id", "=", zorp)])
    facts["uses"] = np.bincount(where.loc[~where["echo"], "trace_row"], minlength=len(facts))
    facts["text"] = [sum(flag == 0 for flag in f) for f in run.all_shards("units", ["flags"])["flags"].to_pylist()]
    own = (
        facts[(facts["model"] == "model-b") & (facts["domain"] == "math")].groupby("problem_id")[["uses", "text"]].sum()
    )
    share = own / own.sum()
    row = shown.loc[("model-b", "math")]
    assert row["dispersion"] == pytest.approx((share["uses"] - share["text"]).abs().sum() / 2)
    assert 0 < row["by_chance"] < 1


def test_places_and_neighbours_are_those_of_the_texts(tiny_run: Path, zorp: str, module):
    uses, data, run = module("uses"), module("data"), Run(tiny_run)
    key = data.key(run, "traces", "mine")
    before, after, n = uses.neighbours(key, zorp)
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
    places = uses.places(key, zorp)
    where = run.frame("occurrences", ["trace_row", "start"], [("motif_id", "=", zorp)])
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


def test_growth_over_training_is_shown_where_it_was_followed(show, three: Run, zorp: str):
    assert "Over training" not in [tab.label for tab in show("motifs", three.path, motif=zorp).tabs]
    run = three
    write_growth(run, zorp, "zorp")
    at = show("motifs", run.path, motif=zorp, motif_tab="Over training")
    assert fine(at) and "Over training" in [tab.label for tab in at.tabs]
    assert table(at, "birth")[["run", "last", "birth"]].to_numpy().tolist() == [["r", 0.5, 50]]
    other = show("motifs", run.path, motif="so", motif_tab="Over training")
    assert "not followed over training" in words(other)
