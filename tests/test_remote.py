"""A run behind a URL reads as the folder does, and is read only."""

import json
from pathlib import Path

import fsspec
import numpy as np
import pytest

import dsl_probe
from dsl_probe.cli import main
from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.probe.stage import ProbeConfig, probe, read_weights
from dsl_probe.probe.states import StoredStates, captured_layers, read_index
from dsl_probe.store import Run
from dsl_probe.types import UserError

pytestmark = pytest.mark.usefixtures("one_thread")
MODEL = str(Path(__file__).parents[1] / "data" / "organisms" / "sft")
URL = "memory://bucket/runs/tiny"
COMPARED = {"a": "sample=0", "b": "sample=1", "permutations": 99, "min_problems": 3, "min_units": 2, "name": "c"}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Run:
    """A run with traces, states, probes, motifs and a comparison; its copy stands at URL."""
    run = Run.create(tmp_path_factory.mktemp("remote") / "tiny")
    drawn = {"model": MODEL, "domains": ("chain",), "n": 12, "samples": 2, "template": "raw", "max_new_tokens": 40}
    collect(run, CollectConfig(**drawn, device="cpu", shard=8))
    capture_states(run, CaptureConfig(model=MODEL, layers=(1, 2), at=("states",), device="cpu", name="m"))
    few = {"least": 5, "readout_traces": 2, "controls": False, "transfer": False}
    probe(run, ProbeConfig(targets=("last",), strengths=(1.0,), **few))
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=3, min_problems=3, q=1.0), executor="process:1")
    dsl_probe.compare(run, **COMPARED)
    fsspec.filesystem("memory").put(str(run.path), "/bucket/runs/tiny", recursive=True)
    return run


@pytest.fixture
def there(here) -> Run:
    return Run(URL)


def test_every_table_and_json_is_that_of_the_folder(here, there):
    names = here.matching("**/*.parquet")
    assert len(names) > 15 and there.stages() == here.stages()
    for name in names:
        ours, theirs = (run.table(name.removesuffix(".parquet")) for run in (here, there))
        assert theirs.schema.equals(ours.schema, check_metadata=True)
        assert repr(theirs.to_pylist()) == repr(ours.to_pylist()), name  # in words NaN is NaN
    for name in here.matching("*/*/*.json"):
        assert there.json(name) == here.json(name)
    assert [there.stage(s) for s in there.stages()] == [here.stage(s) for s in here.stages()]
    assert there.identity == here.identity and there.comparisons() == here.comparisons()


def test_shards_rows_and_frames_are_those_of_the_folder(here, there):
    assert there.shards("traces") == here.shards("traces") and len(there.shards("traces")) == 3
    assert there.traces().equals(here.traces())
    assert there.shard_rows("units", [20, 1, 9]).equals(here.shard_rows("units", [20, 1, 9]))


def test_states_and_weights_are_those_of_the_folder(here, there):
    assert captured_layers(there, "m") == ("resid_post", (1, 2))
    index = read_index(here, "m")
    assert read_index(there, "m").equals(index)
    rows = np.arange(index.num_rows)[::-3]
    of = [StoredStates(run, "m", "resid_post.2").take(rows).numpy() for run in (here, there)]
    np.testing.assert_array_equal(*of)
    ours, theirs = (read_weights(run, "default", "m", "last") for run in (here, there))
    assert ours.keys() == theirs.keys() and all((ours[k] == theirs[k]).all() for k in ours)


def test_status_and_verify_are_those_of_the_folder(here, there):
    assert there.status(verify=True) == here.status(verify=True)
    assert {s.state for s in there.status(verify=True)} == {"done"}


def test_a_file_damaged_there_is_refused_by_name(here):
    fs = fsspec.filesystem("memory")
    content = fs.cat_file("/bucket/runs/tiny/motifs.parquet")
    fs.pipe_file("/bucket/runs/tiny/motifs.parquet", content[:-9] + b"x" + content[-8:])
    try:
        with pytest.raises(UserError, match=r"motifs\.parquet"):
            Run(URL).table("motifs")
        assert [s.stage for s in Run(URL).status(verify=True) if s.state == "damaged"] == ["mine"]
    finally:
        fs.pipe_file("/bucket/runs/tiny/motifs.parquet", content)


@pytest.mark.parametrize(
    "write",
    [
        lambda run: dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=4), force=True),
        lambda run: dsl_probe.compare(run, a="sample=0", b="sample=1", name="new"),
        lambda run: run.write_json("x.json", {}),
        lambda run: run.write_table("x.parquet", run.table("motifs")),
        lambda run: run.table_writer("x.parquet", run.table("motifs").schema).__enter__(),
    ],
)
def test_writing_there_is_refused(there, write):
    with pytest.raises(UserError, match="can be read only; copy it to a folder"):
        write(there)
    assert not there.has("x.json") and Run(URL).stages() == there.stages()


def test_a_run_is_not_made_at_a_url(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["import", "t.jsonl", "--out", "s3://bucket/run"]) == 2
    assert "is a URL, and a run is written to a folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_url_where_nothing_is_and_one_of_no_kind_are_told():
    with pytest.raises(UserError, match=r"memory://nowhere is not a run: .* whether the URL is right"):
        Run("memory://nowhere")
    with pytest.raises(UserError, match="nosuch://bucket cannot be opened: ValueError: Protocol not known"):
        Run("nosuch://bucket")


def test_commands_that_read_take_a_url(here, capsys):
    def told(*argv: str) -> str:
        assert main(list(argv)) == 0
        return capsys.readouterr().out

    assert json.loads(told("status", URL, "--verify", "--json"))["run"] == URL
    for what in ("dictionary", "report"):
        assert told("export", URL, "--what", what) == told("export", str(here.path), "--what", what)
    asked = ["--a", "sample=0", "--b", "sample=1", "--permutations", "99", "--min-problems", "3", "--min-units", "2"]
    assert told("compare", URL, *asked, "--name", "c") == told("compare", str(here.path), *asked, "--name", "c")
