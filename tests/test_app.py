"""The app, page by page and state by state, without a browser."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus import rows, write_jsonl
from pages import words
from streamlit.testing.v1 import AppTest

import dsl_probe
from dsl_probe import MineConfig, mine_motifs
from dsl_probe.share.validate import validate

APP = Path(__file__).resolve().parents[1] / "app"
PAGES = (
    "overview",
    "claims",
    "motifs",
    "lexicon",
    "language",
    "growth",
    "traces",
    "sharing",
    "compare",
    "probes",
    "effects",
    "validate",
)
SCRIPT = "<script>alert(1)</script> [click](javascript:alert(1)) :red[x] $y$ `tick` <img src=x onerror=alert(1)>"


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch):
    """show(page, *arguments, **query): the page as the app with these arguments shows it."""

    def run(page: str, *arguments: object, **query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app/main.py", *map(str, arguments)])
        at = AppTest.from_file(str(APP / "browse.py"), default_timeout=30)
        if page == "overview":
            return at.run()
        at.run()
        at.switch_page(f"app_pages/{page}.py")
        for key, value in query.items():
            at.query_params[key] = value
        return at.run()

    return run


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that stop early: empty, imported, mined; and one whose every word is hostile."""
    root = tmp_path_factory.mktemp("partial")
    few = write_jsonl(root / "few.jsonl", rows(problems=8))
    evil = [
        r
        | {name: f"{r[name]}{SCRIPT}" for name in ("model", "domain")}
        | {name: f"{SCRIPT}\x00\u202e {r[name]}" for name in ("text", "prompt")}
        | {"answer": SCRIPT, "start_model": None}
        for r in rows(problems=12)
    ]
    made = {name: root / "runs" / name for name in ("empty", "imported", "mined", "evil")}
    config = MineConfig(min_traces=5, min_problems=5, q=1.0)
    for name, path in made.items():
        run = dsl_probe.Run.create(path)
        if name != "empty":
            dsl_probe.import_traces(run, [write_jsonl(root / "evil.jsonl", evil) if name == "evil" else few])
        if name in ("mined", "evil"):
            mine_motifs(run, config, executor="process:1")
        if name == "evil":
            a, b = (f"model=model-{x}{SCRIPT}" for x in "ba")
            dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group=a, reference=b, name="evil"))
            dsl_probe.compare(run, a=a, b=b, permutations=99, min_problems=5, name="evil")
    return made


def test_no_run(show, tmp_path: Path):
    at = show("overview", "--runs", tmp_path)
    assert not at.exception
    assert "make demo" in words(at)


def test_run_that_is_none(show, tmp_path: Path):
    at = show("overview", "--run", tmp_path / "nothing")
    assert not at.exception
    assert "cannot be opened" in words(at)
    assert "dsl-probe import" in words(at)


@pytest.mark.parametrize("asked", ["nope", "../tiny", "/etc", ".."])
def test_address_cannot_leave_the_root(show, partial: dict[str, Path], asked: str):
    at = show("traces", "--runs", partial["mined"].parent, run=asked)
    assert not at.exception
    assert at.selectbox(key="run").value in partial
    first = AppTest.from_file(str(APP / "browse.py"), default_timeout=30)
    first.query_params["run"] = asked
    first.run()
    assert "asks for a run that is not here" in words(first)
    assert Path(first.session_state["run_path"]).parent == partial["mined"].parent


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("state", "command"),
    [("empty", "dsl-probe import SOURCE"), ("imported", "dsl-probe mine "), ("mined", "dsl-probe compare ")],
)
def test_what_is_missing(show, partial: dict[str, Path], page: str, state: str, command: str):
    at = show(page, "--run", partial[state])
    assert not at.exception
    own = {"language": "--language.group", "growth": "--growth", "validate": "dsl-probe validate "}
    own["effects"] = "dsl-probe effects "
    command = own.get(page, command) if state == "mined" else command
    if page == "probes" and state != "empty":
        command = "dsl-probe capture "
    if (page, state) in {("motifs", "mined"), ("lexicon", "mined"), ("traces", "mined")}:
        assert not at.info and not at.warning and not at.error
        # The filters of motifs name what would give them more to filter by.
        assert (command in words(at)) == (page == "motifs")
    else:
        assert command in words(at)


@pytest.mark.parametrize("page", PAGES)
def test_full_run(show, tiny_run: Path, page: str):
    at = show(page, "--run", tiny_run)
    assert not at.exception
    assert not at.error
    assert not at.warning
    # Its traces carry no step; it was not validated, and no states were captured.
    assert not at.info or page in ("growth", "validate", "probes", "effects")


def test_overview_counts(show, tiny_run: Path):
    at = show("overview", "--run", tiny_run)
    assert at.metric[0].value == "240"
    table = at.dataframe[0].value
    assert set(table["regime"].astype(str)) == {"base", "rl_only"}
    assert table["traces"].tolist() == [120, 120]
    assert "paired" in words(at)
    assert "load-bearing" in words(at)


def test_claims_are_listed_with_their_verdicts(show, tiny_run: Path):
    at = show("claims", "--run", tiny_run, comparison="b-vs-a")
    judged = dsl_probe.Comparison(dsl_probe.Run(tiny_run), "b-vs-a").claims
    said = [t.value for t in at.text]
    for claim in judged:
        assert {claim.claim, claim.reading, claim.test} <= set(said)
        assert all(any(f"- {threat}" in t.split("\n") for t in said) for threat in claim.threats)
    counts = {m.label.split()[-1]: int(m.value) for m in at.metric}
    assert counts == {v: sum(c.verdict == v for c in judged) for v in ("supported", "contradicted", "undecided")}
    # The verdict is a word beside its icon.
    assert sum(m.value.endswith("**undecided**") for m in at.markdown) == counts["undecided"]
    assert [len(d.value) for d in at.dataframe] == [len(c.evidence) for c in judged if c.evidence]
    assert f"{counts['undecided']} of 8 claims are undecided" in words(show("overview", "--run", tiny_run))


def test_a_comparison_without_claims_says_how_to_get_them(show, tiny_run: Path, tmp_path: Path):
    import shutil

    path = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (path / "comparisons" / "b-vs-a" / "claims.json").unlink()
    at = show("claims", "--run", path)
    assert not at.exception and "--config" in words(at) and "compare.b-vs-a.json --force" in words(at)


def test_motif_by_text_and_id(show, tiny_run: Path):
    zorp = dsl_probe.Run(tiny_run).frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]
    for asked in ("zorp", zorp):
        at = show("motifs", "--run", tiny_run, motif=asked, motif_tab="Rate by model and domain")
        assert not at.exception
        assert at.subheader[0].value == "`zorp`"
        by_cell = next(d.value for d in at.dataframe if "units" in d.value and "rate" in d.value)
        used = by_cell[by_cell["count"] > 0]["model"].astype(str)
        assert set(used) == {"model-b"}


def test_motif_filters(show, tiny_run: Path):
    at = show("motifs", "--run", tiny_run, q="zorp")
    found = at.dataframe[0].value["text"].tolist()
    assert found
    assert all("zorp" in t for t in found)
    at.multiselect(key="models").set_value(["model-a"]).run()
    assert "No motif matches" in words(at)
    at.toggle(key="regex").set_value(True).run()
    at.text_input(key="q").set_value("(").run()
    assert not at.exception
    assert "no regular expression" in words(at)
    at.text_input(key="q").set_value("^zo.p$").run()
    assert "No motif matches" in words(at)
    at.multiselect(key="models").set_value([]).run()
    assert at.dataframe[0].value["text"].tolist() == ["zorp"]


def test_a_page_of_motifs_at_most(show, tiny_run: Path):
    at = show("motifs", "--run", tiny_run)
    assert len(at.dataframe[0].value) == 200
    assert dsl_probe.Run(tiny_run).table("motifs", ["length"]).num_rows > 200


def test_picking_a_row_opens_the_motif(show, tiny_run: Path):
    at = show("motifs", "--run", tiny_run, motif="so")
    assert at.subheader[0].value == "`so`"
    at.text_input(key="motif").set_value("zorp").run()
    assert at.subheader[0].value == "`zorp`"


def test_trace_reader_and_neighbours(show, tiny_run: Path):
    at = show("traces", "--run", tiny_run, motif="zorp")
    assert not at.exception
    assert f"trace {at.number_input(key='trace').value} " in words(at)
    first = at.number_input(key="trace").value
    next(b for b in at.button if b.label == "Next").click().run()
    second = at.number_input(key="trace").value
    assert second > first
    next(b for b in at.button if b.label == "Previous").click().run()
    assert at.number_input(key="trace").value == first
    at.selectbox(key="group").select("model-a").run()
    assert "No trace matches" in words(at)


def test_choices_of_another_run_or_page_give_way(show, tiny_run: Path, partial: dict[str, Path], tmp_path: Path):
    for name, path in (("a", tiny_run), ("b", partial["evil"])):
        shutil.copytree(path, tmp_path / name)
    at = show("compare", "--runs", tmp_path, run="a", domain="math", comparison="b-vs-a")
    assert at.selectbox(key="domain").value == "math"
    at.switch_page("app_pages/traces.py").run()
    assert at.selectbox(key="domain").value == "math"
    at.selectbox(key="run").select("b").run()
    assert not at.exception
    assert at.selectbox(key="domain").value == "all"
    at.switch_page("app_pages/compare.py").run()
    assert not at.exception
    assert at.selectbox(key="comparison").value == "evil"


@pytest.mark.parametrize(
    ("page", "query", "said"),
    [
        ("motifs", {"motif": "no such motif"}, "no such motif in this run"),
        ("traces", {"motif": "ffff"}, "no such motif in this run"),
        ("traces", {"trace": "9999999"}, "no such trace"),
        ("traces", {"trace": "../x"}, "not here"),
        ("traces", {"domain": "chess"}, "domain that is not here"),
        ("compare", {"comparison": "../other"}, "comparison that is not here"),
        ("sharing", {"comparison": "none"}, "comparison that is not here"),
        ("sharing", {"measure": "none"}, "measure that is not here"),
        ("compare", {"domain": "chess"}, "domain that is not here"),
        ("compare", {"compare_tab": "Nothing"}, "tab that is not here"),
    ],
)
def test_wrong_address(show, tiny_run: Path, page: str, query: dict[str, str], said: str):
    at = show(page, "--run", tiny_run, **query)
    assert not at.exception
    assert said in words(at)


def test_compare_shows_the_difference(show, tiny_run: Path):
    at = show("compare", "--run", tiny_run, comparison="b-vs-a", domain="math", matched="raw")
    assert not at.exception
    assert (at.selectbox(key="domain").value, at.get_by_key("matched").value) == ("math", "raw")
    table = at.dataframe[0].value
    zorp = table[table["text"] == "zorp"].iloc[0]
    assert zorp["side"] == "A"
    assert zorp["p_adj"] <= 0.05
    assert zorp["rate_b"] == 0


def test_hostile_words_stay_words(show, partial: dict[str, Path], module):
    code = module("labels").code
    for page in PAGES:
        at = show(page, "--run", partial["evil"], **({"motif": "script"} if page == "motifs" else {}))
        assert not at.exception, page
        for kind in (at.markdown, at.caption, at.info, at.warning, at.error, at.title, at.subheader):
            for element in kind:
                assert "<script>" not in element.value, page
                assert "](javascript" not in element.value, page
        for element in (*at.metric, *at.page_link, *at.button):
            assert "<script>" not in str(element.label if hasattr(element, "label") else element.value)
    at = show("traces", "--run", partial["evil"])
    assert SCRIPT[:25] in "\n".join(t.value for t in at.text)
    assert code("a`](x)``<b>") == "``` a`](x)``<b> ```"


def test_no_markup_from_data_in_the_source():
    for path in APP.rglob("*.py"):
        source = path.read_text("utf-8")
        for word in ("unsafe_allow_html", "innerHTML", "insertAdjacentHTML", "st.html(", "components.v1"):
            assert word not in source, f"{word} in {path.name}"


def test_mined_again_is_read_again(show, tmp_path: Path):
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", rows(problems=8))])
    counts = []
    for least in (5, 12):
        mine_motifs(run, MineConfig(min_traces=least, min_problems=5), executor="process:1", force=True)
        counts.append(int(show("overview", "--run", run.path).metric[4].value.replace(",", "")))
        assert counts[-1] == run.table("motifs", ["length"]).num_rows
    assert counts[0] > counts[1]


def test_pages_load_no_model_library(tiny_run: Path):
    program = f"""
import json, sys
from streamlit.testing.v1 import AppTest
sys.argv = ["app/main.py", "--run", {str(tiny_run)!r}]
at = AppTest.from_file({str(APP / "browse.py")!r}, default_timeout=30).run()
for page in {PAGES[1:]!r}:
    at.switch_page(f"app_pages/{{page}}.py").run()
    assert not at.exception
heavy = ("torch", "umap", "numba", "sklearn", "transformers", "transformer_lens")
print(json.dumps([m for m in heavy if m in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []


def test_match_is_leftmost_longest(module):
    match = module("tokens").match
    patterns = {("a",): "A", ("a", "b"): "B", ("a", "b", "c"): "A", ("b", "c", "d"): "B"}
    assert match(["a", "b", "c", "d", "a", "b"], patterns) == [(0, 3, "A"), (4, 6, "B")]
    assert match(["x"], patterns) == []


def test_pieces_rebuild_the_text(module):
    pieces = module("tokens").pieces
    text = "ab\x00 cd  ef gh"
    starts, stops = np.array([0, 4, 8, 11]), np.array([2, 6, 10, 13])
    units = {"starts": starts, "stops": stops, "flags": np.array([1, 1, 0, 0], np.uint8)}
    cut = pieces(text, units, [(1, 3, "a", "over-represented in A")])
    assert "".join(p[0] for p in cut) == text.replace("\x00", "\u2400")
    marked = [(p[0], p[1]) for p in cut if "a" in p[1].split()]
    assert marked == [("cd", "a echo"), ("  ef", "a")]
    assert [p[0] for p in cut if "echo" in p[1].split()] == ["ab\u2400 ", "cd"]
    assert pieces("", {k: v[:0] for k, v in units.items()}, []) == []


def test_accuracy_interval_widens_with_repeated_problems(module):
    wilson = module("data")._clustered_wilson
    correct = np.repeat([1.0, 0.0], 50)
    alone = wilson(correct, np.arange(100))
    together = wilson(correct, np.repeat(np.arange(20), 5))
    assert alone[0] == together[0] == 0.5
    assert alone[1] == pytest.approx(0.4038, abs=2e-3)
    assert together[2] - together[1] > 1.8 * (alone[2] - alone[1])
    assert wilson(np.ones(10), np.arange(10))[1:] == pytest.approx((0.7225, 1.0), abs=1e-3)


def test_underlay_of_scores(show, module, tmp_path: Path):
    import pyarrow as pa

    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", rows(problems=8))])
    mine_motifs(run, MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    text = run.traces(["text"]).text[0]
    run.begin("score.m", {}, {})
    scores = {
        "trace_row": [0], "starts": [[0, 7]], "stops": [[7, 10]], "entropies": [[1.0, 9.0]], "logprobs": [[-2.0, None]]
    }  # fmt: skip
    run.finish("score.m", [run.write_shard("scores/m", 0, pa.table(scores))], {})
    at = show("traces", "--run", run.path, trace="0")
    at.session_state["underlay"] = "surprise"
    at.run()
    assert not at.exception and "deepest shade stands for 8 nats" in words(at)
    units = {"starts": np.array([0]), "stops": np.array([7]), "flags": np.zeros(1, np.uint8)}
    shades = [(0, 7, 0.25, "entropy 1.00 nats"), (7, 10, 0.75, "entropy 9.00 nats")]
    made = module("tokens").pieces(text, units, [(0, 1, "motif", "note")], shades)
    assert [p[1:] for p in made[:2]] == [["motif", "note", 0.25, shades[0][3]], ["", "", 0.75, shades[1][3]]]
    assert "".join(p[0] for p in made) == text


def test_collected_traces_are_read_like_imported_ones(show, tiny_run: Path, tmp_path: Path):
    import shutil

    path = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    record = (path / "stages" / "import.json").rename(path / "stages" / "collect.json")
    record.write_text(record.read_text().replace('"stage": "import"', '"stage": "collect"'))
    for page in PAGES:
        at = show(page, "--run", path)
        assert not at.exception and "No traces have been" not in words(at)


def test_runs_without_scores_offer_no_underlay(show, tiny_run: Path):
    at = show("traces", "--run", tiny_run)
    assert "Underlay" not in [w.label for w in at.get("button_group")]


def test_growth_shows_what_is_born(show, tmp_path: Path):
    run = dsl_probe.Run.create(tmp_path / "run")
    made = [r | {"step": i // 20, "run": "r"} for i, r in enumerate(rows(problems=20))]
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", made)])
    mine_motifs(run, MineConfig(min_traces=5, min_problems=5), executor="process:1")
    dsl_probe.growth(run)
    at = show("growth", "--run", run.path)
    assert not at.exception and not at.error and not at.info
    assert {"change", "birth", "p_adj"} <= set(at.dataframe[0].value.columns)


def test_a_trace_is_translated(show, tiny_run: Path):
    at = show("language", "--run", tiny_run)
    at.toggle(key="translate").set_value(True).run()
    assert not at.exception and not at.error
    written, glossed = (t.value for t in at.main.text[-2:])
    for row in range(2, 20):
        if "zorp" in written:
            break
        at.number_input(key="translated").set_value(row).run()
        written, glossed = (t.value for t in at.main.text[-2:])
    assert "zorp" in written and "zorp" not in glossed and "[" in glossed


def test_a_grammar_is_drawn(show, tmp_path: Path):
    made = [
        {"text": f"so {'then ' * (i % 3)}take {'ab'[i % 2]} now", "prompt": f"p{i}", "model": "m", "domain": "d"}
        for i in range(120)
    ]
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", made)])
    mine_motifs(run, MineConfig(min_traces=5, min_problems=5), executor="process:1")
    dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group="model=m", name="m"))
    at = show("language", "--run", run.path)
    assert not at.exception and not at.error
    assert "-> " in at.code[0].value
    edges = at.dataframe[-1].value
    assert set(edges["from"]) == {0} and edges["uses"].sum() == 120


def test_validate_shows_what_was_found(show, tiny_run: Path, tmp_path: Path):
    run = dsl_probe.Run(shutil.copytree(tiny_run, tmp_path / "run"))
    validate(run, group="model=model-a", splits=2, spikes=("nonce",), motifs=1, permutations=99, name="of-a")
    at = show("validate", "--run", run.path)
    assert not at.exception and not at.error and not at.info
    assert "120 traces of 60 problems" in words(at) and "by its rate" in words(at)
    nulls, planted = (frame.value for frame in at.dataframe)
    assert set(nulls["kind"]) == {"within problems", "whole problems", "cut", "by length"}
    assert set(planted["kind"]) == {"nonce"}
