"""A stage killed at any moment: the same command goes on, and the files are those of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RELIABILITY = Path(__file__).resolve().parents[1] / "experiments" / "reliability"
sys.path.insert(0, str(RELIABILITY))

import kill  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_an_import_killed_before_any_of_its_write_calls_goes_on(tmp_path):
    trials = kill.Trials(tmp_path, last="import")
    cases, wrong = kill.at_calls(trials, most=60, seed=0)
    assert wrong == [] and cases["import"] >= 20


def test_a_file_that_is_left_missing_or_other_would_be_seen():
    found = kill.differences({"a": b"1", "b": b"2", "x.tmp": b""}, {"a": b"1", "b": b"3", "c": b""})
    assert found == ["b differs", "c is missing", "x.tmp is left"]


@pytest.mark.slow
def test_every_stage_killed_at_random_moments_and_before_write_calls_goes_on():
    command = [sys.executable, str(RELIABILITY / "kill.py"), "--kills", "30", "--calls", "11", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert len(told["asked"]) == 11 and sum(told["killed"].values()) >= 10


def test_one_killed_between_its_record_and_its_end_leaves_no_lock_behind_once_the_stage_is_asked_for_again(tmp_path):
    trials = kill.Trials(tmp_path, last="import")
    trials.start("import")
    record = "stages/import.json"

    def after_record(_: str) -> None:
        if (trials.place / "run" / record).exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def watch() -> None:
        real = os.unlink
        os.unlink = lambda path, **options: (after_record(path), real(path, **options))[1]

    assert trials.run("import", first=watch).code == -signal.SIGKILL
    assert "run/stages/.turn" in kill.road.files_of(trials.place)
    assert trials.rerun("import") == []
