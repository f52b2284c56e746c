"""Resampling from the steps of a finished run: what is kept, what is drawn, and the same bytes after a kill."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from killing import a_while, killed, same_as_undisturbed
from tiny import tiny_model

from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.models import load_model
from dsl_probe.store import Run
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """A collect of five problems with two samples, whose references a random model meets now and then."""
    path = tmp_path_factory.mktemp("source") / "sums.jsonl"
    rows = [
        {"problem_id": f"p{i}", "prompt": f"what is {i} ?", "reference": str(i), "domain": "sums"} for i in range(5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = CollectConfig(
        model=str(folder), domains=(str(path),), n=5, samples=2, max_new_tokens=40, batch_size=4, device="cpu"
    )
    run = Run.create(path.parent / "run")
    collect(run, replace(config, prefix="<think>"))
    return run, config


@pytest.fixture
def config(whole):
    run, config = whole
    return replace(config, resample=str(run.path), n=3, samples=4, shard=7)


def test_what_is_kept_and_what_is_drawn(tmp_path, whole, config, folder):
    run = Run.create(tmp_path / "tree")
    result = collect(run, config)
    parents = {row["trace_id"]: row for row in whole[0].all_shards("traces").to_pylist()}
    model = load_model(str(folder), device="cpu")
    rows = run.all_shards("traces").to_pylist()
    assert result.traces == len(rows) == len({row["trace_id"] for row in rows}) and result.parents == 3
    assert result.tokens == sum(len(row["token_ids"]) for row in rows)
    starts = {}
    for row in rows:
        meta = json.loads(row["meta"])
        parent = parents[meta["parent"]]
        kept = parent["token_ids"][: meta["step"]]
        starts.setdefault(parent["trace_id"], {}).setdefault(meta["step"], []).append(row)
        assert row["prompt_ids"] == parent["prompt_ids"] + kept
        assert row["prefix"] == "<think>" + model.tokenizer.decode(kept) and row["text"].startswith(row["prefix"])
        assert len(row["logprobs"]) == len(row["token_ids"]) <= 40 - len(kept)
        assert (row["problem_id"], row["reference"]) == (parent["problem_id"], parent["reference"])
    assert sorted(parents[name]["sample"] for name in starts) == [0, 0, 0]  # a problem each before second samples
    for name, by_step in starts.items():  # the tiny model ends its sentences with a full stop or a question mark
        words = parents[name]["text"].removeprefix("<think>").strip().split(" ")
        assert sorted(by_step) == [0, *(k + 1 for k, w in enumerate(words[:-1]) if w in (".", "?"))]
    for row in run.frame("tree").to_dict("records"):
        drawn = starts[row["parent"]][row["tokens_kept"]]
        assert (row["n"], row["correct"]) == (len(drawn), sum(r["correct"] for r in drawn)) and row["n"] == 4
        assert row["mean_tokens"] == pytest.approx(np.mean([len(r["token_ids"]) for r in drawn]))
    texts = run.frame("tree").groupby("parent", sort=False)["text"].sum()
    assert all(parents[name]["text"].removeprefix("<think>").split() == text.split() for name, text in texts.items())
    assert set(run.frame("curve")["measure"]) >= {"pass", "majority", "tree_pass", "tree_majority", "best_step"}
    assert [s.state for s in run.status(verify=True)] == ["done"]


def test_nothing_else_decides_what_is_drawn(tmp_path, config):
    def tokens(name, **change):
        run = Run.create(tmp_path / name)
        collect(run, replace(config, **change))
        keys = [(m["parent"], m["step"]) for m in map(json.loads, run.traces(["meta"])["meta"])]
        return dict(zip(keys, run.all_shards("traces", ["token_ids"])["token_ids"].to_pylist(), strict=True))

    many = tokens("many", samples=1)
    few = tokens("few", samples=1, n=1, every=2, batch_size=1, shard=100)
    assert few and all(many[key] == ids for key, ids in few.items())
    numbers = Run(tmp_path / "few").frame("tree")["step_number"]
    assert list(numbers) == list(range(0, 2 * len(numbers), 2))


def test_a_killed_tree_ends_with_the_same_bytes(tmp_path, config):
    assert killed(tmp_path / "killed", replace(config, samples=40), a_while(np.random.default_rng(0), 0.5, 1))
    assert same_as_undisturbed(tmp_path, replace(config, samples=40))


def test_a_changed_problem_is_left_out_and_told(tmp_path, whole, config, capsys):
    from dsl_probe.cli import main
    from dsl_probe.collect import domains

    path = Path(whole[1].domains[0])
    text = path.read_text()
    try:
        path.write_text(text.replace("what is 0", "what is 9"))
        domains._read_problems.cache_clear()
        argv = ["collect", "--out", str(tmp_path / "tree"), "--model", config.model, "--resample", config.resample]
        assert main([*argv, "--n", "5", "--samples", "1", "--max-new-tokens", "40", "--device", "cpu", "--json"]) == 1
        result = json.loads(capsys.readouterr().out)
        assert (result["parents"], result["left_out"]) == (4, {"its problem is not in the domain as it was": 1})
    finally:
        path.write_text(text)
        domains._read_problems.cache_clear()


def test_what_cannot_be_resampled_is_said(tmp_path, whole, config, tiny_run):
    tree = Run.create(tmp_path / "tree")
    collect(tree, replace(config, n=1, samples=1))
    for change, hint in (
        ({"resample": str(tiny_run)}, "no finished collect"),
        ({"resample": str(tree.path)}, "is a tree itself"),
        ({"resample": "/nowhere"}, "is not a run"),
        ({"every": 0}, "--every"),
        ({"server": "http://localhost:1/v1"}, "local model"),
        ({"max_new_tokens": 5_000}, "512 positions"),
    ):
        with pytest.raises(UserError, match=hint):
            collect(Run.create(tmp_path / "other"), replace(config, **change), force=True)
    collect(Run.create(tmp_path / "other"), config)  # what was refused does not stand in the way
