"""The app's pages of probes and effects, on tables that are written by hand and whose numbers are known."""

import random
from pathlib import Path

import made_probes as made
import pytest
from corpus import rows, write_jsonl
from hostile import MARKDOWN, MARKS, SCRIPT
from pages import fine, table, words

import dsl_probe
from dsl_probe.store import Run

APP = Path(__file__).resolve().parents[1] / "app"
EVIL = f"{SCRIPT} {MARKDOWN} {MARKS}"


@pytest.fixture(scope="module")
def full(tiny_run: Path) -> Run:
    return made.fill(Run(tiny_run))


# ---- pages


@pytest.mark.parametrize("page", ["probes", "effects", "motifs", "lexicon", "traces"])
def test_a_full_run_shows_without_complaint(show, full: Run, page: str, motif: str):
    at = show(page, full.path, **({"motif": motif} if page == "motifs" else {}))
    assert fine(at)


def test_the_page_of_probes_says_what_the_tables_say(show, full: Run, motif: str):
    at = show("probes", full.path, target="correct", **{"in": "math"})
    assert fine(at)
    first = table(at, "strongest")
    assert len(first) == 6 and first["auroc"].is_monotonic_decreasing
    assert set(first["title"]) == {"correct", "motif:zorp", "value@motifs:zorp/before"}
    assert {m.label: m.value for m in at.metric} | {"Brier of the share": ""} == {
        "ECE": "0.050", "Brier": "0.120", "Brier of the share": ""
    }  # fmt: skip
    assert "layer 1: AUROC 0.790, 0.740 – 0.840" in words(at)
    moved = table(at, "cosine").set_index(["train", "test"])
    assert moved.loc[("math", "logic"), "value"] == pytest.approx(0.41) and moved.loc[("math", "logic"), "p"] == 0.02
    assert "62% are of the same motif, by chance 33%; on the map 70%" in words(at)
    assert "For browsing only" in words(at) and "nobody knows the label" in words(at)


def test_the_address_brings_a_page_of_probes_back(show, full: Run):
    query = {"probes": "first", "acts": "m", "domain": "math", "target": "value@motifs:zorp/before"}
    query |= {"in": "logic", "question": "8"}
    at = show("probes", full.path, **query)
    assert fine(at)
    for key, value in query.items():
        assert at.selectbox(key=key).value == value
    assert len(table(at, "strongest")) == 3
    at = show("probes", full.path, target="nothing")
    assert "asks for a target that is not here" in words(at) and not at.exception


def test_the_page_of_effects_says_what_the_tables_say(show, full: Run):
    at = show("effects", full.path)
    assert fine(at)
    first = table(at, "load_bearing")
    assert first["name"].tolist() == ["(chain)", "zorp", "an entry", "value in math, layer 2", "value in math, layer 1"]
    zorp = first.set_index("name").loc["zorp"]
    assert (zorp["effect"], zorp["cost"], zorp["p_adj"], bool(zorp["load_bearing"])) == (0.5, 0.7, 0.002, True)
    assert "The placebo is the same done" in words(at) and "It does not say what" in words(at)
    assert "glap" in words(at)
    at = show("effects", full.path, domain="math", intervention="ban", taken="zorp")
    assert fine(at) and table(at, "load_bearing")["effect"].tolist() == [0.1]
    at = show("effects", full.path, domain="math", intervention="erase")
    assert fine(at) and table(at, "load_bearing")["name"].tolist() == [
        "value in math, layer 2",
        "value in math, layer 1",
    ]
    assert "keeps no completions" in words(show("effects", full.path, taken="(chain)"))


def test_arm_and_placebo_of_one_trace_stand_beside_each_other(show, full: Run, probed, motif: str):
    drawn = probed.samples((str(full.path), "s"), "first", motif)
    two = probed.pairs(drawn, "ban")
    assert len(two) == 4 and all(a["trace_id"] == p["trace_id"] and a["arm"] != p["arm"] for a, p in two)
    assert probed.pairs(drawn, "delete") == [] and probed.pairs(drawn[:1], "ban") == []
    assert probed.samples((str(full.path), "s"), "first", "") == []
    at = show("effects", full.path, taken="zorp", pairs_shown="arm wrong, placebo right")
    assert fine(at) and "Pair, 1 to 2" in [n.label for n in at.number_input]
    assert "`so`" in words(at) and "5 tokens given, 7 drawn" in words(at)
    assert "No pair is so." in words(show("effects", full.path, taken="zorp", pairs_shown="arm right, placebo wrong"))


def test_a_motif_shows_what_it_carries(show, full: Run, motif: str):
    at = show("motifs", full.path, motif="zorp", motif_tab="What it carries")
    assert fine(at)
    by_domain = [f.value for f in at.dataframe if "strongest control" in f.value.columns]
    assert [frame["AUROC"].round(2).tolist() for frame in by_domain] == [[0.91, 0.82], [0.94, 0.85]]
    needed = table(at, "load-bearing")
    assert needed[["domain", "load-bearing"]].to_numpy().tolist() == [["all", True], ["math", False]]
    entry = full.table("lexicon", ["motif_id", "text"]).to_pylist()[-1]
    at = show("lexicon", full.path, motif=entry["motif_id"])
    assert fine(at) and "What it carries" in words(at)
    assert table(at, "load-bearing")[["effect", "p_adj"]].to_numpy().tolist() == [[0.4, 0.03]]


def test_a_motif_without_probes_says_so(show, full: Run):
    at = show("motifs", full.path, motif="the", motif_tab="What it carries")
    assert fine(at) and "No probe was fitted at this motif" in words(at)


def test_a_trace_opens_at_a_place_and_the_next_one_does_not(show, full: Run):
    at = show("traces", full.path, trace="3", place="40")
    assert fine(at) and at.get_by_key("highlight_4_place").value == "place"
    next(b for b in at.button if b.label == "Next").click().run()
    assert at.number_input(key="trace").value == 4 and "place" not in at.query_params
    for place in ("x", "-1", "999999"):
        at = show("traces", full.path, trace="3", place=place)
        assert not at.exception and "asks for a place that is not here" in words(at)


def test_read_outs_lie_under_a_trace(show, full: Run):
    at = show("traces", full.path, trace="3", underlay="probe", readout="correct · m")
    assert fine(at) and "10 states, layer 1" in words(at)
    at = show("traces", full.path, trace="3", underlay="probe", readout="value@motifs:zorp/before · m", question="8")
    assert fine(at) and at.selectbox(key="question").value == "8"
    at = show("traces", full.path, trace="239", underlay="probe", readout="correct · m")
    assert fine(at) and "was not read out on this trace, but on 48 others, the first of them 0" in words(at)


# ---- what is missing


@pytest.fixture
def bare(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "bare")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", rows(problems=8))])
    return run


def test_what_is_missing_is_said_with_the_command(show, bare: Run, tiny_run: Path, tmp_path: Path):
    at = show("probes", bare.path)
    assert not at.exception and "dsl-probe capture " in words(at) and "dsl-probe probe " in words(at)
    bare.begin("capture.m", {}, {})
    bare.finish("capture.m", [], {})
    at = show("probes", bare.path)
    assert "dsl-probe capture " not in words(at) and "dsl-probe probe " in words(at)
    at = show("effects", bare.path)
    assert not at.exception and "dsl-probe mine " in words(at)
    dsl_probe.mine_motifs(bare, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    at = show("effects", bare.path)
    assert not at.exception and "dsl-probe effects " in words(at)
    at = show("probes", Run.create(tmp_path / "empty").path)
    assert not at.exception and "dsl-probe import SOURCE" in words(at)


def test_a_job_that_was_cut_off_is_named(show, bare: Run):
    for kind, page in (("probe", "probes"), ("effects", "effects")):
        bare.begin(f"{kind}.half", {}, {})
        at = show(page, bare.path)
        assert not at.exception and f"A job of {kind} was cut off." in words(at) and f"{kind}.half" in words(at)


def test_results_without_rows_and_without_a_map(show, bare: Run):
    made.write_probes(bare, "none", [], [])
    at = show("probes", bare.path)
    assert not at.exception and "No target of this result could be asked" in words(at)
    made.write_probes(bare, "none", made.probe_rows("correct"), [])
    at = show("probes", bare.path)
    assert fine(at) and "No map" in words(at) and "This probe was not read out" in words(at)
    made.write_effects(bare, "none", [], {})
    at = show("effects", bare.path)
    assert not at.exception and "Nothing could be measured" in words(at) and "no verdict: 3 traces" in words(at)


def test_a_place_and_read_outs_are_shown_before_anything_is_mined(show, bare: Run):
    made.write_probes(bare, "a", made.probe_rows("correct"), made.readout_rows(bare, "correct"))
    at = show("traces", bare.path, trace="3", place="40", underlay="probe")
    assert not at.exception and not at.warning and "10 states, layer 1" in words(at)


def test_results_that_were_made_again_are_read_again(show, bare: Run):
    for lift in (0.0, 0.05):
        made.write_probes(bare, "a", made.probe_rows("correct", lift), [])
        assert table(show("probes", bare.path), "strongest")["auroc"].max() == pytest.approx(0.88 + lift)


# ---- hostile words


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every word that a model, a name or a motif could bring is markup."""
    folder = tmp_path_factory.mktemp("evil")
    run = Run.create(folder / "run")
    given = [r | {"text": f"{EVIL} {r['text']}", "domain": f"{r['domain']} {EVIL}"} for r in rows(problems=8)]
    dsl_probe.import_traces(run, [write_jsonl(folder / "t.jsonl", given)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    domain = {d.split()[0]: d for d in set(run.traces(["domain"])["domain"])}
    probes = [row for target in ("correct", f"motif:{EVIL}") for row in made.probe_rows(target)]
    for row in probes:
        row |= {c: domain.get(row[c], row[c]) for c in ("train", "test")}
        row["control"] = row["control"] and row["control"] + EVIL
    readouts = [row for target in ("correct", f"motif:{EVIL}") for row in made.readout_rows(run, target, EVIL)]
    sites = made.site_rows([EVIL, "b"])
    made.write_probes(run, "a", probes, readouts, sites)
    effects = [made.effect_row(EVIL, EVIL, model=EVIL, intervention=i) for i in ("ban", EVIL)]
    samples = [row | {"finish": EVIL} for row in made.sample_rows(run, EVIL, EVIL)]
    made.write_effects(run, "a", effects, {(EVIL, EVIL): samples})
    return run


@pytest.mark.parametrize("page", ["probes", "effects", "traces", "lexicon"])
def test_hostile_words_stay_words(show, evil: Run, page: str):
    at = show(page, evil.path, **({"underlay": "probe", "place": "30", "trace": "1"} if page == "traces" else {}))
    assert not at.exception
    for kind in (at.markdown, at.caption, at.info, at.warning, at.error, at.title, at.subheader):
        for element in kind:
            outside = "".join(element.value.split("`")[::2])  # what stands in backticks is inline code
            assert "<script>" not in outside and "](" not in outside and "\u202e" not in element.value
    for element in (*at.metric, *at.page_link, *at.button):
        assert "<script>" not in str(getattr(element, "label", element.value))
    if page in ("probes", "effects"):
        assert any(SCRIPT[:20] in option for box in at.selectbox for option in box.options)


# ---- a run made by the stages


def test_what_the_stages_write_is_shown(show, one_thread, tmp_path: Path):
    from tiny import TEXT, tiny_model

    from dsl_probe.collect.capture import CaptureConfig, capture_states
    from dsl_probe.probe.stage import ProbeConfig, probe

    run = Run.create(tmp_path / "run")
    rng = random.Random(0)
    texts = [" ".join(rng.choices(TEXT.split(), k=40)) for _ in range(60)]
    given = [
        {"text": text, "model": "m", "domain": "d", "problem_id": str(i % 20), "correct": i % 3 == 0}
        for i, text in enumerate(texts)
    ]
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", given)])
    model = tiny_model(tmp_path / "model")
    capture_states(
        run, CaptureConfig(model=str(model), layers=(0, 1), at=("every:16",), device="cpu", name="tiny", self_check=0.0)
    )
    result = probe(run, ProbeConfig(targets=("correct", "value"), strengths=(0.01,), folds=3))
    assert result.units == 1 and list(result.failed) == ["value on tiny"]
    at = show("probes", run.path)
    assert fine(at) and "value on tiny" in words(at)
    shown = table(at, "strongest")
    frame = run.frame("probes/default/probes")
    best = frame[(frame["metric"] == "auroc") & frame["chosen"] & (frame["control"] == "")]
    best = best[best["train"] == best["test"]]
    assert shown["auroc"].tolist() == sorted(best["value"], reverse=True)
    row = int(run.frame("probes/default/readouts")["trace_row"][0])
    at = show("traces", run.path, trace=str(row), underlay="probe")
    assert not at.exception and "by the fit that did not see this problem" in words(at)
