"""The app's page Compare, on small runs whose numbers are known; open tabs of every page."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hostile import MARKDOWN, MARKS, SCRIPT
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
    assert shown["rank"].tolist() == list(range(1, len(shown) + 1)) and len(shown) == 100
    z = Run(tiny_run).frame("comparisons/b-vs-a/comparison", ["z", "domain", "matched"])
    z = z[(z["domain"] == "all") & (z["matched"] == "equal units")]["z"].abs()
    assert shown["z"].abs().to_numpy() == pytest.approx(np.sort(z)[::-1][:100])
