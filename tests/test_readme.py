"""What the README tells to type works, and its findings are those of the code."""

import re
import shlex
from pathlib import Path

from corpus import rows, write_jsonl

from dsl_probe.cli import main

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def own_traces(folder: Path) -> None:
    names = {"model-a": "OLD", "model-b": "NEW"}
    write_jsonl(folder / "traces.jsonl", [r | {"model": names[r["model"]], "start_model": None} for r in rows()])


def test_the_python_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own_traces(tmp_path)
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {})
    assert "“zorp”" in capsys.readouterr().out


def test_the_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own_traces(tmp_path)
    lines = [line.partition("#")[0].split() for block in blocks("bash") for line in block.splitlines()]
    ours = [shlex.split(" ".join(line))[1:] for line in lines if line[:1] == ["dsl-probe"]]
    assert [line[0] for line in ours][:3] == ["import", "mine", "compare"]
    for line in ours[:3]:
        assert main(line) == 0, capsys.readouterr().err
    assert "“zorp”" in capsys.readouterr().out


def test_pictures_are_there_and_small():
    root = Path(__file__).resolve().parents[1]
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert shown and all((root / path).is_file() for path in shown)
    sizes = [path.stat().st_size for path in (root / "docs" / "img").glob("*.png")]
    assert max(sizes) < 250_000 and sum(sizes) < 2_500_000
