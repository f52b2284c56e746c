"""The run that the app's speed is measured on: its tables agree with its texts, and every page opens it."""

import importlib.util
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dsl_probe.store import Run

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    *("overview", "claims", "motifs", "lexicon", "language", "growth", "traces", "sharing", "compare", "probes"),
    *("effects", "validate"),
)


def generate(path: Path, seed: int = 0) -> Run:
    spec = importlib.util.spec_from_file_location("generate_app_run", ROOT / "experiments" / "app" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate(path, traces=400, motifs=3_000, seed=seed)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return generate(tmp_path_factory.mktemp("large") / "run")


def test_every_stage_is_done_and_whole(large: Run):
    assert {s.stage: s.state for s in large.status(verify=True)} == dict.fromkeys(
        ("import", "mine", "compare.rl-vs-base"), "done"
    )


def test_the_same_arguments_give_the_same_bytes(large: Run, tmp_path: Path):
    again = generate(tmp_path / "run")
    assert [again.outputs(s) for s in again.stages()] == [large.outputs(s) for s in large.stages()]
    assert generate(tmp_path / "other", seed=1).outputs("mine") != large.outputs("mine")


def test_occurrences_stand_in_the_texts(large: Run):
    texts, units = large.traces(["text"])["text"], large.all_shards("units")
    said = dict(zip(*large.table("motifs", ["motif_id", "text"]).to_pydict().values(), strict=True))
    words = large.table("vocabulary", ["text"])["text"].to_pylist()
    rows = large.frame("occurrences")
    for one in rows.sample(300, random_state=0).itertuples():
        starts, stops = (units[c][one.trace_row].as_py() for c in ("starts", "stops"))
        assert texts[one.trace_row][starts[one.start] : stops[one.stop - 1]] == said[one.motif_id]
    for row in (0, 57, 399):
        assert [words[i] for i in units["ids"][row].as_py()] == texts[row].split(" ")


def test_counts_are_those_of_the_occurrences(large: Run):
    rows, facts = large.frame("occurrences"), large.traces(["model", "domain", "problem_id"])
    held = rows.join(facts, on="trace_row").groupby(["motif_id", "model", "domain"])
    counts = large.frame("counts").set_index(["motif_id", "model", "domain"])
    for column, found in (
        ("count", held.size()),
        ("support", held["trace_row"].nunique()),
        ("problems", held["problem_id"].nunique()),
    ):
        assert counts[column].to_dict() == found.to_dict()
    motifs = large.frame("motifs").set_index("motif_id")
    assert motifs["count"].sum() == len(rows) and motifs.index.is_monotonic_increasing
    of_unit = large.frame("counts").drop_duplicates(["model", "domain"])["units"].sum()
    assert of_unit == large.counts("mine")["units"] == large.frame("vocabulary")["count"].sum()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_it(monkeypatch: pytest.MonkeyPatch, large: Run, page: str):
    monkeypatch.setattr(sys, "argv", ["app/main.py", "--run", str(large.path)])
    at = AppTest.from_file(str(ROOT / "app" / "browse.py"), default_timeout=60).run()
    if page != "overview":
        at.switch_page(f"app_pages/{page}.py")
        if page in ("motifs", "traces"):
            at.query_params["motif"] = large.frame("occurrences")["motif_id"][0]
        at.run()
    assert not at.exception and not at.error and not at.warning
