"""The command line as a user meets it: output, exit codes, errors without tracebacks, speed of import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import rows, write_jsonl

from dsl_probe.cli import COMMANDS, main


def test_the_whole_road(tmp_path, capsys):
    source, run = write_jsonl(tmp_path / "t.jsonl", rows()), str(tmp_path / "run")
    assert main(["import", str(source), "--out", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["traces"] == 240
    assert main(["mine", run, "--min-traces", "5", "--min-problems", "5"]) == 0
    assert "motifs with" in capsys.readouterr().out
    groups = ["--a", "model=model-b", "--b", "model=model-a"]
    assert main(["compare", run, *groups, "--permutations", "99", "--name", "x", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["id"] == "x" and report["discoveries_a"] > 0 and report["findings"]
    assert main(["mine", run, "--config", f"{run}/stages/mine.json", "--json"]) == 0
    capsys.readouterr()
    assert main(["status", run, "--verify", "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [(s["stage"], s["state"]) for s in stages] == [("import", "done"), ("mine", "done"), ("compare.x", "done")]


def test_import_takes_the_options_of_an_earlier_one(tmp_path, capsys):
    (tmp_path / "t.jsonl").write_text('{"generation": "one"}\n{"generation": "two"}\n')
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert main(["import", str(tmp_path / "t.jsonl"), "--out", first, "--map", "generation=text"]) == 0
    again = ["import", str(tmp_path / "t.jsonl"), "--out", second, "--config", f"{first}/stages/import.json"]
    assert main([*again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["traces"] == 2
    assert (tmp_path / "second/traces/00000.parquet").read_bytes() == (
        tmp_path / "first/traces/00000.parquet"
    ).read_bytes()
    # An option beside the file wins over what the file says.
    assert main([*again, "--domain", "other", "--force"]) == 0
    record = json.loads((tmp_path / "second/stages/import.json").read_text())["config"]
    assert (record["domain"], record["map"]) == ("other", ["generation=text"])


def test_rejected_rows_give_exit_code_1_and_the_reason(tmp_path, capsys):
    (tmp_path / "t.jsonl").write_text('{"answer": "ok"}\nnot json\n{"answer": "two"}\n')
    arguments = ["import", str(tmp_path / "t.jsonl"), "--out", str(tmp_path / "run"), "--map", "answer=text"]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "2 traces" in out and "1 rows set aside" in out and "not JSON" in out


@pytest.mark.parametrize(
    "argv, word",
    [
        (["dance"], "no command"),
        (["mine", "/nowhere"], "is not a run"),
        (["status", "/nowhere"], "is not a run"),
        (["mine", "9" * 300], "File name too long"),
        (["import", "9" * 300, "--out", "OUT"], "no file or folder"),
        (["collect", "--out", "OUT", "--model", "9" * 300, "--device", "cpu"], "no file or folder"),
        (["import", "/nowhere.jsonl", "--out", "OUT"], "no such file"),
        (["import", "x.jsonl"], "--out is missing"),
        (["import", "--out", "OUT"], "no source given"),
        (["compare", "RUN"], "two groups"),
        (["compare", "RUN", "--a", "x", "--b", "model=model-a"], "column=value"),
        (["mine", "RUN", "--config", "/nowhere"], "not the record of this stage"),
        (["import", "x.jsonl", "--out", "OUT", "--config", "RUN/stages/mine.json"], "not the record of this stage"),
        (["collect", "--out", "OUT", "--config", "RUN/stages/mine.json"], "not the record of this stage"),
    ],
)
def test_bad_input_gives_exit_code_2_and_one_line(tiny_run, tmp_path, capsys, argv, word):
    argv = [str(tmp_path / "new") if a == "OUT" else a.replace("RUN", str(tiny_run)) for a in argv]
    assert main(argv) == 2
    got = capsys.readouterr()
    assert word in got.err and "Traceback" not in got.err and got.err.count("\n") == 1 and got.out == ""


def test_damaged_run_is_told(tiny_run, tmp_path, capsys):
    import shutil

    run = Path(shutil.copytree(tiny_run, tmp_path / "copy"))
    (run / "counts.parquet").write_bytes(b"x")
    assert main(["status", str(run)]) == 0
    assert main(["status", str(run), "--verify"]) == 1
    assert "counts.parquet has changed on disk" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS) and len(COMMANDS) <= 12
    assert main([]) == 2
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0


def modules_after(code: str) -> set[str]:
    code += "; import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_is_light(tiny_run):
    heavy = {"torch", "pandas", "numba", "umap", "transformers", "streamlit", "sklearn"}
    assert not modules_after("import dsl_probe") & (heavy | {"numpy", "pyarrow"})
    assert not modules_after(f"from dsl_probe.cli import main; main(['status', {str(tiny_run)!r}])") & heavy
    assert "torch" not in modules_after("import dsl_probe.share.compare, dsl_probe.mine.stage, dsl_probe.demo")


def test_public_names_resolve():
    import dsl_probe

    assert all(getattr(dsl_probe, name) is not None for name in dsl_probe.__all__) and len(dsl_probe.__all__) <= 20
    with pytest.raises(AttributeError, match="it has"):
        dsl_probe.nothing  # noqa: B018
