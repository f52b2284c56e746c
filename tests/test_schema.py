"""Which versions of a run are read: newer ones are refused with the version needed, older records are taken."""

import json
import shutil

import pytest

from dsl_probe.cli import main
from dsl_probe.store import Run
from dsl_probe.types import SCHEMA_VERSION, UserError


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_a_newer_run_is_refused_with_the_version_that_it_needs(tiny_run, tmp_path, capsys):
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1, "digest": "of another kind"}))
    assert main(["status", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert f"schema version {SCHEMA_VERSION + 1}" in told and "pip install -U dsl-probe" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("content", ["[]", "3", "null", '"run"', '{"name": "x"}', '{"schema_version": "1"}'])
def test_what_holds_no_version_is_told(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json holds no schema version"):
        Run(tmp_path)


def test_a_run_whose_identity_was_changed_is_told(tmp_path):
    run = Run.create(tmp_path / "run")
    change(run.path / "run.json", lambda content: content.update(name="another"))
    with pytest.raises(UserError, match=r"run\.json is not as it was written"):
        Run(run.path)


@pytest.mark.parametrize("name", ["run.json", "stages/mine.json"])
def test_a_bit_in_the_name_of_the_digest_is_told(tiny_run, tmp_path, name):
    shutil.copytree(tiny_run, tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes().replace(b'"digest"', b'"digesv"'))
    with pytest.raises(UserError, match=f"{name} is not as it was written"):
        Run(tmp_path / "run").stage("mine")


def test_a_run_from_before_there_were_digests_and_footers_opens(tiny_run, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(tiny_run, old)
    change(old / "run.json", lambda content: content.pop("digest"))
    for path in old.glob("stages/*.json"):
        change(path, lambda content: [content.pop(k) for k in ("digest", "footers", "schema_version")])
    run, now = Run(old), Run(tiny_run)
    assert run.stages() == now.stages() and {s.state for s in run.status(verify=True)} == {"done"}
    for name in ("motifs", "traces/00000", "comparisons/b-vs-a/sharing"):
        assert run.table(name).equals(now.table(name))
    assert run.shard_rows("traces", [5]).equals(now.shard_rows("traces", [5]))
    raw = bytearray((old / "motifs.parquet").read_bytes())
    raw[len(raw) // 2] ^= 1
    (old / "motifs.parquet").write_bytes(raw)
    with pytest.raises(UserError, match=r"motifs\.parquet is not the file that mine wrote"):
        Run(old).table("motifs")
