"""A stage killed at any moment: the same command goes on, and the files are those of an undisturbed run."""

import random
import shutil
import signal
import subprocess
import sys
import time

from corpus import rows, write_jsonl

from dsl_probe.store import Run


def kill_and_resume(command: list[str], moments: list[float]) -> int:
    """Start the command and kill it at each moment, then let it finish. Returns how often it was really cut off."""
    killed = 0
    for wait in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return killed


def test_every_stage_survives_sigkill(tmp_path):
    source = write_jsonl(tmp_path / "traces.jsonl", rows(problems=60))
    tool = [sys.executable, "-m", "dsl_probe"]

    def stages(run: str) -> list[list[str]]:
        return [
            [*tool, "import", str(source), "--out", run],
            [*tool, "mine", run, "--min-traces", "5", "--min-problems", "5", "--executor", "process:1"],
            [*tool, "compare", run, "--a", "model=model-b", "--b", "model=model-a", "--name", "x"],
        ]

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    rng = random.Random(4)
    killed = 0
    for quiet, disturbed in zip(stages(str(whole)), stages(str(cut)), strict=True):
        start = time.monotonic()
        subprocess.run(quiet, check=True, capture_output=True)
        took = time.monotonic() - start
        killed += kill_and_resume(disturbed, [rng.uniform(0.4, 1) * took for _ in range(2)])
    assert killed >= 2
    for name in ("import", "mine", "compare.x"):
        assert Run(whole).outputs(name) == Run(cut).outputs(name)
    assert all(s.state == "done" for s in Run(cut).status(verify=True))
    assert not list(cut.rglob("*.tmp")) and not list(cut.rglob("*.started.json"))


def test_full_disk_is_told_and_nothing_earlier_is_lost(tmp_path, monkeypatch):
    """A write that fails half-way leaves no file under its final name, and the stage can be done again."""
    import dsl_probe.files

    source = write_jsonl(tmp_path / "traces.jsonl", rows(problems=10))
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [source])
    real, calls = dsl_probe.files.os.replace, []

    def full(a, b):
        calls.append(b)
        if str(b).endswith("counts.parquet"):
            raise OSError(28, "No space left on device")
        return real(a, b)

    monkeypatch.setattr(dsl_probe.files.os, "replace", full)
    config = dsl_probe.MineConfig(min_traces=5, min_problems=5)
    try:
        dsl_probe.mine_motifs(run, config, executor="process:1")
        raise AssertionError("the full disk was not noticed")
    except dsl_probe.UserError as error:
        assert "No space left" in str(error) and "counts.parquet" in str(error)
    assert not run.has("counts.parquet") and run.stage("mine") is None
    monkeypatch.undo()
    assert dsl_probe.mine_motifs(run, config, executor="process:1").motifs > 0
    assert all(s.state == "done" for s in run.status(verify=True))
    shutil.rmtree(run.path)
