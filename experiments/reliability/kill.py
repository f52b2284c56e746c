"""SIGKILL at random moments, and before write calls, of every stage; then the same command again.

    python experiments/reliability/kill.py                               100 moments, 60 calls; writes KILL.md
    python experiments/reliability/kill.py --kills 30 --calls 11 --json  what tests/test_kill.py runs

A trial is right where the files are byte for byte those of an undisturbed run, and no other file is left.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import road
from children import Ended, child
from faulty import KINDS, Calls

REPORT = Path(__file__).with_name("KILL.md")


class Trials:
    """The folder before each stage, what an undisturbed stage makes of it, and how long that takes."""

    def __init__(self, folder: Path, last: str = "growth"):
        self.place = folder / "trial"  # one place for all, so that messages and names are the same
        self.before = road.before_each(folder, last)
        self.wanted, self.seconds = {}, {}
        for stage in self.before:
            self.start(stage)
            done = self.run(stage)
            if done.code > 1:
                raise RuntimeError(f"{stage}: {done.told}")
            self.wanted[stage], self.seconds[stage] = road.files_of(self.place), done.seconds

    def start(self, stage: str) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.before[stage], self.place)

    def run(self, stage: str, **options: object) -> Ended:
        """The stage's command in a child."""
        from dsl_probe.cli import main

        argv = road.commands(self.place)[stage]
        return child(lambda: main(argv), **options)

    def rerun(self, stage: str) -> list[str]:
        """Run it again, undisturbed: what is not as it should be."""
        done = self.run(stage)
        if done.code > 1:
            return [f"{stage} ended with {done.code}: {done.told[-500:]}"]
        return differences(road.files_of(self.place), self.wanted[stage])


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """In words: files that are missing, that should not be there, or that hold other bytes."""
    names = sorted(found.keys() | wanted.keys())
    return [
        f"{name} {'is missing' if name not in found else 'is left' if name not in wanted else 'differs'}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def at_random(trials: Trials, kills: int, seed: int) -> tuple[Counter, Counter, list[str]]:
    """Kill each stage in turn after a random part of its time, and in one of three cases its rerun, too."""
    rng, hit, asked, wrong = random.Random(seed), Counter(), Counter(), []
    stages = list(trials.before)
    for k in range(kills):
        stage = stages[k % len(stages)]
        trials.start(stage)
        moments = [rng.random() for _ in range(1 + (k % 3 == 0))]
        for moment in moments:
            asked[stage] += 1
            ended = trials.run(stage, kill_after=moment * trials.seconds[stage])
            hit[stage] += ended.code == -signal.SIGKILL
        wrong += [f"{stage}, killed after {moments} of its time: {what}" for what in trials.rerun(stage)]
    return asked, hit, wrong


def at_calls(trials: Trials, most: int, seed: int) -> tuple[Counter, list[str]]:
    """Kill each stage in turn before one of its write calls, drawn without repetition."""
    rng, cases, wrong = random.Random(seed), Counter(), []
    left = {}
    for stage in trials.before:
        every = [(kind, at) for kind, count in counted(trials, stage).items() for at in range(count)]
        left[stage] = rng.sample(every, len(every))
    stages = list(trials.before)
    for k in range(most):
        if not left[stage := stages[k % len(stages)]]:
            continue
        kind, at = left[stage].pop()
        trials.start(stage)
        calls = Calls(trials.place, kind, at, lambda _: os.kill(os.getpid(), signal.SIGKILL))
        ended = trials.run(stage, first=calls.install)
        if ended.code != -signal.SIGKILL:
            wrong.append(f"{stage}, {kind} {at}: was not killed but ended with {ended.code}")
        cases[stage] += 1
        wrong += [f"{stage}, killed before {kind} {at}: {what}" for what in trials.rerun(stage)]
    return cases, wrong


def counted(trials: Trials, stage: str) -> dict[str, int]:
    """How many write calls of each kind a stage makes."""
    from dsl_probe.cli import main

    trials.start(stage)
    calls = Calls(trials.place)
    with tempfile.NamedTemporaryFile("r") as told:

        def work() -> int:
            code = main(road.commands(trials.place)[stage])
            Path(told.name).write_text(json.dumps(calls.counts))
            return code

        child(work, first=calls.install)
        found = json.loads(told.read())
    return {kind: found[kind] for kind in KINDS if found[kind]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    began = time.monotonic()
    with road.fast_folder() as folder:
        trials = Trials(Path(folder))
        ready = time.monotonic()
        asked, hit, wrong = at_random(trials, o.kills, o.seed)
        random_seconds = time.monotonic() - ready
        cases, more = at_calls(trials, o.calls, o.seed) if o.calls else (Counter(), [])
    if o.json:
        print(json.dumps({"killed": hit, "asked": asked, "wrong": wrong + more}))
        return 0
    lines = [
        "# Killed, and run again",
        "",
        f"`python experiments/reliability/kill.py`, seed {o.seed}: {o.kills} trials with {sum(asked.values())} "
        f"SIGKILLs at random moments, {sum(hit.values())} of them before the stage had ended, in "
        f"{random_seconds:.0f} s; {sum(cases.values())} more before a write call drawn at random; "
        f"{time.monotonic() - began:.0f} s together.",
        "",
        "| stage | seconds | sent | cut off | before a write call | not as an undisturbed run |",
        "|---|---|---|---|---|---|",
    ]
    for stage, seconds in trials.seconds.items():
        bad = sum(w.startswith(f"{stage},") for w in wrong + more)
        lines.append(f"| {stage} | {seconds:.2f} | {asked[stage]} | {hit[stage]} | {cases[stage]} | {bad} |")
    lines += ["", *(f"- {w}" for w in wrong + more)]
    text = "\n".join(lines).rstrip() + "\n"
    REPORT.write_text(text)
    print(text)
    return 1 if wrong + more else 0


if __name__ == "__main__":
    sys.exit(main())
