"""The Python API of a comparison: objects that show themselves, and several runs as one."""

import html.parser
import runpy

import pytest
from conftest import REPOSITORY
from corpus import rows, write_jsonl

import dsl_probe
from dsl_probe.share.union import one_run
from dsl_probe.store import Run
from dsl_probe.types import UserError

GROUPS = {"a": "model=model-b", "b": "model=model-a", "permutations": 199, "name": "b-vs-a"}


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def tags(text):
    parser = Tags()
    parser.feed(text)
    return parser.seen


def test_a_comparison_draws_itself_and_makes_a_page(tiny_run, tmp_path):
    done = dsl_probe.Comparison(Run(tiny_run), "b-vs-a")
    assert "zorp" in done.plot().svg and done.plot().save(tmp_path / "v.svg").read_text().startswith("<svg")
    page = done.to_html(tmp_path / "x.html")
    assert page == (tmp_path / "x.html").read_text("utf-8") and "zorp" in page
    assert not [t for t, a in tags(page) if t == "script" or a.get("src") or (a.get("href") or "#")[0] != "#"]


def test_sharing_and_claims_are_views_of_the_same_stage(tiny_run):
    shared = dsl_probe.sharing(tiny_run, **GROUPS)
    assert set(shared.table.measure) >= {"morisita_horn"} and "Morisita-Horn" in shared.summary()
    assert "logic / math" in shared.plot().svg and "<table>" in shared.to_html()
    claimed = dsl_probe.claims(tiny_run, **GROUPS)
    assert set(claimed.table.verdict) <= {"supported", "contradicted", "undecided"} and len(claimed.table) == 8
    assert claimed.plot().svg.count("<path") >= 8 and claimed.table.claim[0] in claimed.summary()


def test_several_runs_are_compared_in_their_union(tmp_path):
    content = rows()
    parts = []
    for model in ("model-a", "model-b"):
        run = Run.create(tmp_path / model)
        own = [r for r in content if r["model"] == model]
        dsl_probe.import_traces(run, [write_jsonl(tmp_path / f"{model}.jsonl", own)])
        parts.append(run.path)
    mine = dsl_probe.MineConfig(min_traces=5, min_problems=5)
    union = one_run(parts, tmp_path / "both", mine)
    done = dsl_probe.compare([Run(p) for p in parts], out=tmp_path / "both", **GROUPS)
    assert done.run.path == union.path and done.result.design == "paired" and done.result.problems == 60
    assert "zorp" in set(done.discoveries().text)
    with pytest.raises(UserError, match="2 runs need a folder"):
        one_run(parts)
    with pytest.raises(UserError, match="is one of the runs"):
        one_run(parts, parts[0])
    with pytest.raises(UserError, match="no run was given"):
        one_run([])
    assert one_run(str(parts[0])).path == one_run([parts[0]]).path == parts[0]


def test_the_tutorial_runs_from_end_to_end(tmp_path, monkeypatch):
    tutorial = REPOSITORY / "docs" / "tutorial.py"
    assert len(tutorial.read_text().splitlines()) < 40
    monkeypatch.chdir(tmp_path)
    told = runpy.run_path(str(tutorial))
    assert told["found"].result.design == "paired" and "quil" in set(told["found"].discoveries().text)
    assert (tmp_path / "runs" / "tutorial.html").stat().st_size > 10_000
