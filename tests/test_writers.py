"""Two processes on one run: refused, joined or one after the other, and never mixed."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments" / "reliability"))

import road
from children import Child, child
from faulty import Calls

from dsl_probe.cli import main
from dsl_probe.stages import SHARED

pytestmark = pytest.mark.usefixtures("one_thread")
FROM_NOTHING = ("collect", "import")
# Stage -> options with which it is another job. Growth has none on the command line.
OTHERS = {
    "collect": ["--seed", "1"],
    "import": ["--domain", "x"],
    "score": ["--batch", "4"],
    "capture": ["--layers", "1"],
    "mine": ["--max-length", "5"],
    "language": ["--language.seed", "1"],
    "probe": ["--seed", "1"],
    "effects": ["--seed", "1"],
    "compare": ["--permutations", "199"],
    "validate": ["--seed", "1"],
    "growth": None,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("writers") / "source"
    road.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> dict[str, Path]:
    """The folder before each stage, when all stages have been done once."""
    return road.before_each(tmp_path_factory.mktemp("road"))


def until(what, process: Child) -> None:
    while not what():
        assert process.runs(), process.wait().told
        time.sleep(0.01)


def run_of(folder: Path, stage: str) -> Path:
    return folder / ("collected" if stage == "collect" else "run")


@pytest.mark.parametrize("stage", [s if s in FROM_NOTHING else pytest.param(s, marks=pytest.mark.slow) for s in OTHERS])
def test_a_second_process_is_refused_or_joins_and_the_files_are_those_of_one(stage, request, tmp_path):
    start = request.getfixturevalue("source") if stage in FROM_NOTHING else request.getfixturevalue("before")[stage]
    alone, place = tmp_path / "alone" / "f", tmp_path / "two" / "f"
    for folder in (alone, place):
        shutil.copytree(start, folder)
    assert child(lambda: main(road.commands(alone)[stage])).code == 0
    argv, go, here = road.commands(place)[stage], tmp_path / "go", tmp_path / "here"

    def pause(_: str) -> None:
        here.touch()
        while not go.exists():
            time.sleep(0.01)

    # Paused where the stage has begun, at the first of its files: run.json and what was begun stand before that.
    made_here = not run_of(place, stage).exists()
    first = Child(lambda: main(argv), Calls(place, "replace", 1 + made_here, pause).install)
    try:
        until(here.exists, first)
        if OTHERS[stage] is not None:
            other = child(lambda: main([*argv, *OTHERS[stage]]))
            assert other.code == 2 and "another setting" in other.told and f"process {first.pid}" in other.told
        forced = child(lambda: main([*argv, "--force"]))
        assert forced.code == 2 and "--force would remove what it reads or writes" in forced.told
        second = Child(lambda: main(argv))
        if stage in SHARED:
            until(lambda: len(list(run_of(place, stage).glob("stages/*.driver"))) == 2, second)
        else:
            refused = second.wait()
            assert refused.code == 2 and f"is being worked on by process {first.pid}" in refused.told
    finally:
        go.touch()
    assert first.wait().code == 0
    if stage in SHARED:
        joined = second.wait()
        assert joined.code == 0, joined.told
    assert road.files_of(place) == road.files_of(alone)


@pytest.mark.parametrize("stage", FROM_NOTHING)
def test_many_processes_that_begin_at_once_leave_the_files_of_one(stage, source, tmp_path):
    alone, place = tmp_path / "alone" / "f", tmp_path / "many" / "f"
    for folder in (alone, place):
        shutil.copytree(source, folder)
    assert child(lambda: main(road.commands(alone)[stage])).code == 0
    several = [Child(lambda: main(road.commands(place)[stage])) for _ in range(4)]
    ends = [one.wait() for one in several]
    assert {e.code for e in ends} <= {0, 2} and 0 in {e.code for e in ends}
    assert all("is being worked on by process" in e.told for e in ends if e.code == 2)
    assert road.files_of(place) == road.files_of(alone)


def test_after_one_is_done_the_same_is_skipped_another_refused_and_force_replaces(source, tmp_path):
    place = tmp_path / "f"
    shutil.copytree(source, place)
    argv = road.commands(place)["import"]
    assert child(lambda: main(argv)).code == 0
    made = road.files_of(place)
    assert child(lambda: main(argv)).code == 0 and road.files_of(place) == made
    other = child(lambda: main([*argv, *OTHERS["import"]]))
    assert other.code == 2 and "was done with another setting" in other.told and road.files_of(place) == made
    assert child(lambda: main([*argv, *OTHERS["import"], "--force"])).code == 0
    assert "stages/import.json" not in {n for n, b in road.files_of(place).items() if b == made.get(n)}
    assert child(lambda: main([*argv, "--force"])).code == 0 and road.files_of(place) == made
    assert os.listdir(place / "run" / "stages") == ["import.json"]
