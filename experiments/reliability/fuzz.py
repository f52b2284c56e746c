# ruff: noqa: E501 (lines of a table)
"""Inputs at random for every door of the command line, and addresses for the app: does any of them get a traceback?

python experiments/reliability/fuzz.py        written to experiments/reliability/FUZZ.md
"""

import argparse
import dataclasses
import datetime
import functools
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import hypothesis  # noqa: E402
import made_inputs as made  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402

from dsl_probe import stages  # noqa: E402

SHARES = {"app": 0.01, "import": 0.45, "config": 0.08, "arguments": 0.06, "problems": 0.2, "groups": 0.2}
HANG = 5.0


@dataclasses.dataclass
class Tally:
    """What became of the inputs of one door."""

    inputs: int = 0
    codes: Counter[str] = dataclasses.field(default_factory=Counter)
    slowest: float = 0.0
    slow: list[str] = dataclasses.field(default_factory=list)
    broken: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, what: Any, run: Callable[[], tuple[str | None, str]]) -> None:
        """Run one input; `run` gives what is broken, or None, and the kind of end."""
        start = time.process_time()
        why, end = run()
        took = time.process_time() - start
        self.inputs += 1
        self.codes[end] += 1
        self.slowest = max(self.slowest, took)
        if took > HANG:
            self.slow.append(repr(what)[:300])
        if why:
            key = " ".join(re.findall(r"line \d+, in \w+", why)[-2:]) + why.strip().splitlines()[-1][:60]
            if key not in self.broken or len(repr(what)) < len(self.broken[key]):
                self.broken[key] = f"{why[-600:]}\n{what!r}"


def ended(argv: list[str]) -> tuple[str | None, str]:
    """What is broken, and the exit code as text."""
    codes: list[Any] = []
    real = made.main

    def main(argv: list[str]) -> int:
        try:
            codes.append(real(argv))
        except SystemExit as stop:
            codes.append(stop.code or 0)
            raise
        return codes[-1]

    made.main = main
    try:
        return made.broken(argv), str(codes[0] if codes else "none")
    finally:
        made.main = real


def doors(folder: Path, run: Path) -> dict[str, tuple[Any, Callable[[Any], tuple[str | None, str]]]]:
    """Door -> its strategy, and what is done with an input of it."""

    def fresh() -> Path:
        shutil.rmtree(folder / "w", ignore_errors=True)
        (folder / "w").mkdir()
        return folder / "w"

    def import_(given: tuple[str, bytes, list[str]]) -> tuple[str | None, str]:
        name, data, options = given
        (fresh() / name).write_bytes(data)
        return ended(["import", str(folder / "w" / name), "--out", str(folder / "w" / "run"), *options, "--json"])

    def problems(given: tuple[str, bytes]) -> tuple[str | None, str]:
        name, data = given
        path = fresh() / name
        path.write_bytes(data)
        return made.problems_broken(path)

    def config(given: tuple[str, tuple[str, bytes]]) -> tuple[str | None, str]:
        stage, (name, data) = given
        (fresh() / name).write_bytes(data)
        return ended(made.with_config(stage, folder / "w" / name, made.copied(run, folder / "w"), folder / "w" / "new"))

    def arguments(argv: list[str]) -> tuple[str | None, str]:
        copy = made.copied(run, fresh())
        return ended([a.replace("RUN", str(copy)).replace("NEW", str(folder / "w" / "new")) for a in argv])

    def groups(group: str) -> tuple[str | None, str]:
        out = ["--out", str(fresh() / "out.jsonl")]
        return ended(["export", str(run), "--what", "verified", f"--group={group}", *out, "--json"])

    return {
        "import": (made.files(), import_), "problems": (made.PROBLEMS, problems), "config": (made.stage_configs(), config),
        "arguments": (made.ARGUMENTS, arguments), "groups": (made.GROUPS, groups), "app": (made.addresses(), app_door(run)),
    }  # fmt: skip


def app_door(run: Path) -> Callable[[tuple[str, dict[str, str]]], tuple[str | None, str]]:
    """Open a page of the app at an address."""

    def shown(given: tuple[str, dict[str, str]]) -> tuple[str | None, str]:
        from streamlit.testing.v1 import AppTest

        page, query = given
        sys.argv = ["app/main.py", "--run", str(run)]
        try:
            at = AppTest.from_file(str(ROOT / "app" / "browse.py"), default_timeout=60).run()
            at.switch_page(f"app_pages/{page}.py")
            for key, value in query.items():
                at.query_params[key] = value
            at.run()
        except BaseException:
            return traceback.format_exc(limit=-4), "raised"
        return (
            (str(at.exception[0].value) + str(at.exception[0].stack_trace), "exception")
            if at.exception
            else (None, "shown")
        )

    return shown


def tried(door: str, n: int, seed: int, folder: Path, run: Path) -> Tally:
    """n inputs of a door."""
    tally, (strategy, do) = Tally(), doors(folder, run)[door]

    @hypothesis.seed(seed)
    @settings(
        max_examples=n, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def every(given_: Any) -> None:
        tally.add(given_, lambda: do(given_))

    every()
    return tally


def one_door(door: str, n: int, seed: int, run: Path) -> Tally:
    """n inputs of a door, in a process of its own."""
    # What costs time and is not looked at here: waiting for the disk, asking git and the versions of packages.
    os.fsync = lambda descriptor: None
    for name in ("_git_sha", "_packages"):
        setattr(stages, name, functools.cache(getattr(stages, name)))
    # A bug that takes all memory should be seen here, not by the machine.
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        tally = tried(door, n, seed, Path(temporary), run)
        os.chdir(ROOT)
    return tally


def main() -> None:
    """Try them all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("FUZZ.md"))
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--doors", nargs="*", default=list(SHARES))
    options = parser.parse_args()
    out, tallies = options.out.resolve(), {}
    with (
        tempfile.TemporaryDirectory() as temporary,
        ProcessPoolExecutor(2, get_context("spawn"), max_tasks_per_child=1) as pool,
    ):  # the test of the app puts its page in the place of __main__
        run = made.small_run(Path(temporary) / "given")
        jobs = {
            d: pool.submit(one_door, d, max(1, int(options.n * SHARES[d])), options.seed, run) for d in options.doors
        }
        for door, job in jobs.items():
            tallies[door] = tally = job.result()
            print(f"{door}: {tally.inputs}, {dict(tally.codes)}, slowest {tally.slowest:.1f}", flush=True)
            for key, what in tally.broken.items():
                print(f"===== {key}\n{what[:1500]}\n", flush=True)
            for what in tally.slow:
                print(f"slow: {what}", flush=True)
    lines = [
        "# Inputs at random: results",
        "",
        f"{datetime.date.today()}, Python {platform.python_version()}, seed {options.seed}; written by `fuzz.py`. *slowest*: CPU "
        "seconds of the slowest input.",
        "",
        "| door | inputs | how they ended | broken | slowest, s | over 5 s |",
        "|---|--:|---|--:|--:|--:|",
        *(
            f"| {door} | {t.inputs:,} | {', '.join(f'{k}: {n:,}' for k, n in sorted(t.codes.items()))} | {len(t.broken)} "
            f"| {t.slowest:.1f} | {len(t.slow)} |"
            for door, t in tallies.items()
        ),
        "",
        f"{sum(t.inputs for t in tallies.values()):,} inputs, {sum(len(t.broken) for t in tallies.values())} kinds of failure.",
    ]  # fmt: skip
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(lines[-1])


if __name__ == "__main__":
    main()
