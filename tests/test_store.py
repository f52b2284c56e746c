"""A Run: atomic writes, stage records, refusal, staleness, damage."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsl_probe.cli import main
from dsl_probe.files import file_hash, replacing
from dsl_probe.store import Run, find_runs
from dsl_probe.types import UserError


def test_opening_what_is_no_run_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="dsl-probe import"):
        Run(tmp_path)
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        Run.create(tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "mine"


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "a" / "table.parquet"
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with replacing(target) as temporary:
        temporary.write_text("whole")
    assert [p.name for p in target.parent.iterdir()] == ["table.parquet"]


def test_stage_is_skipped_refused_or_forced(tmp_path):
    run = Run.create(tmp_path / "r")
    assert run.begin("mine", {"min": 1}, {"x": "h"})
    run.write_table("motifs.parquet", pa.table({"a": [1]}))
    run.finish("mine", ["motifs.parquet"], {"n": 1})
    assert not run.begin("mine", {"min": 1}, {"x": "h"})
    with pytest.raises(UserError, match=r"config min was 1, now 2.*--force"):
        run.begin("mine", {"min": 2}, {"x": "h"})
    with pytest.raises(UserError, match="input x was 'h', now 'other'"):
        run.begin("mine", {"min": 1}, {"x": "other"})
    assert run.begin("mine", {"min": 2}, {"x": "h"}, force=True)
    assert not run.has("motifs.parquet") and run.stage("mine") is None


def test_cut_off_stage_is_reported_and_resumed_and_leaves_no_temporary_file(tmp_path):
    run = Run.create(tmp_path / "r")
    run.begin("mine", {}, {})
    (run.path / "motifs.parquet.123.tmp").write_text("half")
    assert [(s.stage, s.state) for s in run.status()] == [("mine", "cut off")]
    assert run.begin("mine", {}, {})
    assert not list(run.path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("stage", "finishing", "more"),
    [
        (
            "probe.x",
            ("probes/x/00000.probes.parquet", "probes/x/00002.layout.parquet"),
            "probes/x/00001.readouts.parquet",
        ),
        (
            "effects.x",
            ("effects/x/00000.samples.parquet", "effects/x/00001.samples.parquet"),
            "effects/x/effects.parquet",
        ),
    ],
)
def test_status_tells_how_many_units_of_a_stage_that_was_cut_off_are_left(tmp_path, capsys, stage, finishing, more):
    run = Run.create(tmp_path / "r")
    run.begin(stage, {}, {})
    details = [run.status()[0].detail]
    folder = finishing[0].rpartition("/")[0]
    run.write_json(f"{folder}/plan.json", {"units": [["a", "b"], ["a", "c"], ["a", None]]})
    for name in (None, *finishing, more):
        if name:
            run.write_table(name, pa.table({"n": [1]}))
        details.append(run.status()[0].detail)
    (run.path / f"{folder}/00001.{'probes' if stage[0] == 'p' else 'samples'}.parquet.123.tmp").write_text("half")
    again = "run the same command again to finish it"
    assert details == [again, *(f"{left} of 3 units are left; {again}" for left in (3, 2, 1, 1))]
    assert main(["status", str(run.path)]) == 0
    assert f"{stage}: cut off (1 of 3 units are left; {again})" in capsys.readouterr().out
    run.finish(stage, finishing, {})
    assert [(s.state, s.detail) for s in run.status()] == [("done", "")]


def test_status_knows_stale_missing_and_changed_files(tmp_path):
    run = Run.create(tmp_path / "r")
    run.begin("import", {}, {"source:x": "1"})
    run.write_table("rejected.parquet", pa.table({"a": [1]}))
    run.finish("import", ["rejected.parquet"], {})
    run.begin("mine", {}, run.outputs("import"))
    run.write_table("motifs.parquet", pa.table({"a": [1]}))
    run.finish("mine", ["motifs.parquet"], {})
    assert [s.state for s in run.status(verify=True)] == ["done", "done"]
    run.begin("import", {}, {"source:x": "2"}, force=True)
    run.write_table("rejected.parquet", pa.table({"a": [2]}))
    run.finish("import", ["rejected.parquet"], {})
    assert [s.state for s in run.status()] == ["done", "stale"]
    (run.path / "motifs.parquet").write_bytes(b"PAR1 nonsense PAR1")
    assert run.status(verify=True)[1].state == "damaged"
    with pytest.raises(UserError, match="is not the file that mine wrote"):
        run.table("motifs")
    (run.path / "motifs.parquet").unlink()
    assert run.status()[1].state == "damaged"


def test_broken_record_and_other_schema_are_named(tmp_path):
    run = Run.create(tmp_path / "r")
    (run.path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run.json cannot be read"):
        Run(run.path)
    (run.path / "run.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99"):
        Run(run.path)


def test_shard_rows_come_in_the_order_asked_for(tmp_path):
    run = Run.create(tmp_path / "r")
    for i in range(3):
        run.write_shard("traces", i, pa.table({"n": list(range(i * 1500, (i + 1) * 1500))}))
    assert run.shard_rows("traces", [4000, 2, 1499, 1500, 2])["n"].to_pylist() == [4000, 2, 1499, 1500, 2]
    with pytest.raises(UserError, match="0 to 4499"):
        run.shard_rows("traces", [4500])
    assert find_runs(tmp_path) == [run.path] and find_runs(tmp_path / "none") == []


def test_read_only_folder_gives_the_path_not_a_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), replacing(tmp_path / "file" / "x") as temporary:
        temporary.write_text("")


@pytest.mark.parametrize("first, second, word", [("import", "collect", "imported"), ("collect", "import", "collected")])
def test_imported_and_collected_traces_never_share_a_run(tmp_path, first, second, word):
    run = Run.create(tmp_path / "r")
    run.begin(first, {}, {})
    for _ in range(2):  # cut off, then done
        with pytest.raises(UserError, match=f"holds {word} traces.*--out BOTH"):
            run.begin(second, {}, {}, force=True)
        if run.stage(first) is None:
            run.finish(first, [run.write_shard("traces", 0, pa.table({"n": [1]}))], {})
    assert run.has_shard("traces", 0) and run.counts(first) == {}


def test_what_a_newer_version_wrote_is_refused_with_the_version(tmp_path, monkeypatch):
    monkeypatch.setattr("dsl_probe.store.SCHEMA_VERSION", 3)
    run = Run.create(tmp_path / "r")
    name = run.write_table("motifs.parquet", pa.table({"a": [1]}))
    with run.table_writer("counts.parquet", pa.schema([("a", pa.int64())])) as writer:
        writer.write_table(pa.table({"a": [1]}))
    assert run.table("motifs").equals(run.table("counts"))
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"version 3, and this one reads up to 1. Install a newer"):
        Run(tmp_path / "r")
    (run.path / "run.json").write_text('{"schema_version": 1, "name": "r"}')
    for table in ("motifs", "counts"):
        with pytest.raises(UserError, match=rf"{table}.parquet has schema version 3; this dsl-probe reads up to 1"):
            Run(run.path).table(table)
    monkeypatch.setattr("dsl_probe.stages.SCHEMA_VERSION", 2)
    run.begin("mine", {}, {})
    run.finish("mine", [name], {})
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"mine.json has schema version 2; this dsl-probe reads up to 1"):
        Run(run.path).stage("mine")


def test_tables_and_records_of_before_there_were_digests_are_read(tmp_path):
    run = Run.create(tmp_path / "r")
    run.begin("mine", {}, {})
    run.finish("mine", [run.write_table("motifs.parquet", pa.table({"a": [1]}))], {"motifs": 1})
    path = run.path / "stages/mine.json"
    record = json.loads(path.read_text())
    pq.write_table(pa.table({"a": [1]}), run.path / "motifs.parquet")
    record["outputs"]["motifs.parquet"] = file_hash(run.path / "motifs.parquet")
    kept = ("config", "counts", "git", "inputs", "outputs", "packages", "seed", "stage")
    path.write_text(json.dumps({name: record[name] for name in kept}))
    old = Run(run.path)
    assert old.counts("mine") == {"motifs": 1} and old.table("motifs")["a"].to_pylist() == [1]
    assert [s.state for s in old.status(verify=True)] == ["done"]


def test_a_record_that_was_changed_is_refused(tmp_path):
    run = Run.create(tmp_path / "r")
    run.begin("mine", {}, {})
    run.finish("mine", [run.write_table("motifs.parquet", pa.table({"a": [1]}))], {"motifs": 167})
    path = run.path / "stages/mine.json"
    path.write_text(path.read_text().replace("167", "767"))
    with pytest.raises(UserError, match=r"stages/mine.json is not as it was written"):
        run.stage("mine")
