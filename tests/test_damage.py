"""A file of a run that is cut short, has a bit flipped or was exchanged is told by name; the rest reads as before."""

import random
import shutil
import sys
from pathlib import Path

import pytest

from dsl_probe.store import Run

RELIABILITY = Path(__file__).resolve().parents[1] / "experiments" / "reliability"
sys.path.insert(0, str(RELIABILITY))

import damage  # noqa: E402


def cases(folder: Path, spare: Path, kind: str):
    """Each file damaged in turn, and what reading everything says."""
    wanted = {name: damage.digest(call()) for name, call in damage.readers(spare)}
    rng = random.Random(3)
    names = sorted(p.relative_to(spare).as_posix() for p in spare.rglob("*") if p.is_file())
    # A stage whose record is gone is one that has not run.
    for name in names if kind != "gone" else [n for n in names if not n.startswith("stages/")]:
        case = damage.damage(folder, kind, rng, name)
        damage.judge(folder, case, wanted, spare)
        yield case
        for file in case.files:
            (folder / file).write_bytes((spare / file).read_bytes())


@pytest.mark.parametrize("kind", [*damage.KINDS, "gone"])
def test_damage_to_any_file_is_told_by_name_and_the_rest_reads_as_before(kind, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    found = list(cases(tmp_path / "run", tiny_run, kind))
    assert [f"{c.files} {c.detail}: {c.wrong}" for c in found if c.wrong] == []
    assert len(found) > 15 and all(case.told for case in found if "equal" not in case.detail)


def test_a_value_that_was_changed_unnoticed_would_be_seen(tiny_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    wanted = {name: damage.digest(call()) for name, call in damage.readers(folder)}
    table = Run(folder).table("lexicon")
    Run(folder).write_table("lexicon.parquet", table.slice(1))
    for record in folder.glob("stages/mine.json"):
        record.unlink()  # so that nothing tells of it
    case = damage.Case("run", "bit", ["lexicon.parquet"], "")
    damage.judge(folder, case, wanted)
    assert "table lexicon.parquet: another value" in case.wrong


def test_a_damaged_record_is_told_by_status_and_other_stages_are_read(tiny_run, tmp_path, capsys):
    from dsl_probe.cli import main

    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    record = folder / "stages" / "mine.json"
    record.write_bytes(record.read_bytes().replace(b'"support"', b'"suppont"').replace(b'"traces"', b'"tracez"'))
    assert main(["status", str(folder)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert next(line for line in told if "mine.json is not as it was written" in line).startswith("mine: damaged")
    assert any(line.startswith("import: done") for line in told)
    run = Run(folder)
    assert run.table("traces/00000").num_rows and run.table("comparisons/b-vs-a/comparison").num_rows
    with pytest.raises(Exception, match=r"motifs\.parquet cannot be checked.*mine\.json"):
        run.table("motifs")


def test_a_large_table_is_checked_by_its_footer_and_its_pages(tiny_run, tmp_path, monkeypatch):
    from dsl_probe import store
    from dsl_probe.types import FileError

    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    monkeypatch.setattr(store, "WHOLE", 0)
    path = folder / "motifs.parquet"
    content = path.read_bytes()
    assert Run(folder).table("motifs").equals(Run(tiny_run).table("motifs"))
    for at in (len(content) // 3, len(content) - 40):
        changed = bytearray(content)
        changed[at] ^= 16
        path.write_bytes(changed)
        with pytest.raises(FileError, match=r"motifs\.parquet"):
            Run(folder).table("motifs")
