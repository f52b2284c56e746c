"""The disk fails while a stage writes: it is told with the path, nothing earlier is lost, and the stage can go on."""

import errno
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

import dsl_probe
from dsl_probe.files import told, write_tensors
from dsl_probe.types import FileError, UserError

RELIABILITY = Path(__file__).resolve().parents[1] / "experiments" / "reliability"
sys.path.insert(0, str(RELIABILITY))

import disk  # noqa: E402
import faulty  # noqa: E402
import kill  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> kill.Trials:
    return kill.Trials(tmp_path_factory.mktemp("disk"), last="import")


def test_an_error_at_any_write_call_of_an_import_is_told_and_the_import_goes_on(trials):
    counts = kill.counted(trials, "import")
    assert {"open", "fsync", "replace", "mkdir", "parquet"} <= counts.keys()
    errors, ends = list(faulty.ERRORS), []
    for kind, count in counts.items():
        for at in range(count):
            end, wrong = disk.injected(trials, "import", kind, at, errors[at % len(errors)])
            assert wrong == [], (kind, at)
            ends.append(end)
    assert ends.count("told") > 20


def test_a_limit_to_the_size_of_a_file_is_told_and_the_import_goes_on(trials):
    rng = random.Random(0)
    for _ in range(3):
        trials.start("import")
        ended = trials.run("import", first=disk.limited(rng.randrange(20_000)))
        assert ended.code == 2 and disk.checked(trials, "import", ended, "") == []
        assert trials.rerun("import") == []


@pytest.mark.slow
def test_an_error_at_drawn_write_calls_of_every_stage_is_told_and_the_stage_goes_on():
    command = [sys.executable, str(RELIABILITY / "disk.py"), "--most", "4", "--gone", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == [] and found["cases"] >= 20 and found["real"] >= 11


def test_a_file_of_tensors_that_does_not_fit_is_told(tmp_path, monkeypatch):
    import numpy as np
    import safetensors.numpy
    from safetensors import SafetensorError

    def full(tensors, path):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(UserError, match=r"cannot write .*w\.safetensors: .*No space left"):
        write_tensors(tmp_path / "w.safetensors", {"w": np.zeros(3)})
    assert not list(tmp_path.iterdir())


def test_only_what_the_disk_says_of_the_folder_becomes_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match=r"x\.lock: No space left on device\. Mend that, and run"), told(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x.lock"))
    with pytest.raises(ConnectionResetError), told(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    with pytest.raises(FileNotFoundError), told(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "No such file", "/elsewhere/program")


def test_a_target_is_not_left_out_because_a_file_of_its_states_cannot_be_read(tmp_path, monkeypatch):
    """Else the job would be done without it, and stay so when the file is there again."""
    from dsl_probe.probe import stage

    def unreadable(*_):
        raise FileError("acts/m/00000.safetensors cannot be read")

    run = dsl_probe.Run.create(tmp_path / "run")
    monkeypatch.setattr(stage, "probe_target", unreadable)
    with pytest.raises(FileError):
        stage._unit((str(run.path), stage.ProbeConfig(), 0, "m", "last"))
