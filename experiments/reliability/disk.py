"""The disk is full, read-only, denied or takes a file away, at write calls of each stage; then the command again.

    python experiments/reliability/disk.py                            at up to 20 calls of a kind; writes DISK.md
    python experiments/reliability/disk.py --most 4 --gone 0 --json   what tests/test_disk.py runs

Errors are injected, and real: a tmpfs too small for the stage (Linux, root), a limit to the size of a file, a folder
that may not be written to.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import road
from children import Ended
from faulty import ERRORS, KINDS, Calls, fail
from kill import Trials, counted

REPORT = Path(__file__).with_name("DISK.md")
NOBODY = 65534

NOTHING = "nothing earlier"


def checked(trials: Trials, stage: str, ended: Ended, path: str) -> list[str]:
    """What is wrong with how a stage ended that met an error at `path`; "" stands for any file of the folder."""
    wrong = []
    last = ended.told.strip().splitlines()[-1] if ended.told.strip() else ""
    if ended.code in (0, 1):  # it needed not what failed, or tried again
        return []
    if ended.code != 2 or "Traceback" in ended.told:
        return [f"ended with {ended.code}: {ended.told[-600:]}"]
    # Of a call without a path any path will do, also that of a folder for what is temporary.
    if (path or "/") not in last and str(Path(path).parent) not in last and "the disk has" not in last:
        wrong.append(f"does not name {path}: {last}")
    return wrong + intact(trials, stage)


def intact(trials: Trials, stage: str) -> list[str]:
    """What earlier stages left and is not as it was, by its bytes and by status --verify."""
    wrong = []
    found = road.files_of(trials.place)
    for name, content in road.files_of(trials.before[stage]).items():
        if found.get(name) != content:
            wrong.append(f"{name} of an earlier stage differs")
    for run in ("run", "collected"):
        if (trials.place / run / "run.json").is_file():
            code, told = road.command(["status", str(trials.place / run), "--verify"])
            if code:
                wrong.append(f"status --verify ended with {code}: {told}")
    return wrong


def injected(trials: Trials, stage: str, kind: str, at: int, error: str) -> tuple[str, list[str]]:
    """One error at one call: how the stage ended, and what is wrong."""
    trials.start(stage)
    note = trials.place.with_name("path")

    def action(path: str) -> None:
        os.write(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), path.encode())
        if error == "vanished" and kind in ("fsync", "replace"):
            for temporary in trials.place.rglob("*.tmp"):
                temporary.unlink()
            return
        fail(error)(path)

    ended = trials.run(stage, first=Calls(trials.place, kind, at, action).install)
    wrong = checked(trials, stage, ended, note.read_text() if note.is_file() else "")
    return "told" if ended.code == 2 else "went on", wrong + trials.rerun(stage)


def gone(trials: Trials, stage: str, rng: random.Random) -> tuple[str, list[str]]:
    """A file that an earlier stage wrote vanishes at a random write call; it is brought back before the rerun."""
    trials.start(stage)
    earlier = [name for name in road.files_of(trials.before[stage]) if "/" in name and not name.endswith("run.json")]
    if not earlier:
        return NOTHING, []
    name, counts = rng.choice(earlier), counted(trials, stage)
    trials.start(stage)
    kind = rng.choice(list(counts))
    at = rng.randrange(counts[kind])
    calls = Calls(trials.place, kind, at, lambda _: (trials.place / name).unlink(missing_ok=True))
    ended = trials.run(stage, first=calls.install)
    wrong = []
    if ended.code not in (0, 1, 2) or "Traceback" in ended.told:
        wrong.append(f"{name} vanished, and it ended with {ended.code}: {ended.told[-600:]}")
    shutil.copy(trials.before[stage] / name, trials.place / name)
    return "told" if ended.code == 2 else "went on", wrong + trials.rerun(stage)


def limited(size: int) -> Callable[[], None]:
    """No file may grow beyond `size` bytes: real errors from every library that writes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def unprivileged() -> None:
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def real(trials: Trials, rng: random.Random, times: int) -> list[tuple[str, str, list[str]]]:
    """Errors of the system itself: (stage, what, what is wrong) of each trial."""
    found = []
    for stage in trials.before:
        sizes = [len(content) for content in trials.wanted[stage].values()]
        for _ in range(times):
            trials.start(stage)
            size = rng.randrange(max(sizes))
            ended = trials.run(stage, first=limited(size))
            wrong = checked(trials, stage, ended, "")
            found.append((stage, "size limit", wrong + trials.rerun(stage)))
        if os.getuid() == 0:
            trials.start(stage)
            ended = trials.run(stage, first=unprivileged)
            wrong = checked(trials, stage, ended, "")
            if ended.code != 2:
                wrong.append(f"ended with {ended.code} where it may not write: {ended.told[-600:]}")
            found.append((stage, "not permitted", wrong + trials.rerun(stage)))
            for _ in range(times):
                found.append((stage, "small disk", small_disk(trials, stage, rng)))
    return found


def small_disk(trials: Trials, stage: str, rng: random.Random) -> list[str]:
    """On a tmpfs that has room for what is there and a random part of what the stage writes."""
    there = sum(-(-len(c) // 4096) + 1 for c in road.files_of(trials.before[stage]).values())
    after = sum(-(-len(c) // 4096) + 1 for c in trials.wanted[stage].values())
    pages = there + 6 + rng.randrange(max(after - there, 1))
    shutil.rmtree(trials.place, ignore_errors=True)
    trials.place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={pages * 4096}", "tmpfs", str(trials.place)]
    subprocess.run(mount, check=True)
    try:
        shutil.copytree(trials.before[stage], trials.place, dirs_exist_ok=True)
        ended = trials.run(stage)
        wrong = checked(trials, stage, ended, "")
        subprocess.run(["mount", "-o", "remount,size=64m", str(trials.place)], check=True)
        return wrong + trials.rerun(stage)
    finally:
        subprocess.run(["umount", "-l", str(trials.place)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--real", type=int, default=1)
    parser.add_argument("--gone", type=int, default=1)
    o = parser.parse_args()
    began, rng = time.monotonic(), random.Random(o.seed)
    with road.fast_folder() as folder:
        os.chmod(folder, 0o755)  # or one without rights could not even look
        trials = Trials(Path(folder))
        calls = {stage: counted(trials, stage) for stage in trials.before}
        print(f"write calls: {json.dumps(calls)}", file=sys.stderr)
        cases: Counter = Counter()
        ends: Counter = Counter()
        wrong = []
        for kind in KINDS:
            every = [(stage, at) for stage, counts in calls.items() for at in range(counts.get(kind, 0))]
            for n, (stage, at) in enumerate(sorted(rng.sample(every, min(o.most, len(every))))):
                error = list(ERRORS)[n % len(ERRORS)]
                end, found = injected(trials, stage, kind, at, error)
                cases[kind, error] += 1
                ends[kind, end] += 1
                wrong += [f"{stage}, {error} at {kind} {at}: {what}" for what in found]
        for stage in trials.before:
            for _ in range(o.gone):
                end, found = gone(trials, stage, rng)
                if end == NOTHING:
                    continue
                ends["earlier file", end] += 1
                cases["earlier file", "vanished"] += 1
                wrong += [f"{stage}, an earlier file vanished: {what}" for what in found]
        of_system = real(trials, rng, o.real)
        wrong += [f"{stage}, {what}: {w}" for stage, what, found in of_system for w in found]
    if o.json:
        print(json.dumps({"cases": sum(cases.values()), "real": len(of_system), "wrong": wrong}))
        return 0
    lines = [
        "# The disk fails",
        "",
        f"`python experiments/reliability/disk.py`, seed {o.seed}; {sum(cases.values())} injected errors and "
        f"{len(of_system)} of the system itself, {time.monotonic() - began:.0f} s. told: exit code 2 and one line that "
        "names the path, earlier stages whole. went on: the stage ended all the same. After each the same command left "
        "the bytes of an undisturbed run, but for those under wrong.",
        "",
        "| call | calls in all stages | " + " | ".join(ERRORS) + " | told | went on | wrong |",
        "|---|---|" + "---|" * (len(ERRORS) + 3),
    ]
    for kind in (*KINDS, "earlier file"):
        bad = sum(f" at {kind} " in w or f"an {kind} " in w for w in wrong)
        total = sum(counts.get(kind, 0) for counts in calls.values())
        row = [cases[kind, error] for error in ERRORS] + [ends[kind, "told"], ends[kind, "went on"], bad]
        lines.append(f"| {kind} | {total or ''} | " + " | ".join(map(str, row)) + " |")
    lines += ["", "| error of the system | trials | wrong |", "|---|---|---|"]
    for what in dict.fromkeys(w for _, w, _ in of_system):
        mine = [found for _, w, found in of_system if w == what]
        lines.append(f"| {what} | {len(mine)} | {sum(map(bool, mine))} |")
    lines += ["", *(f"- {w}" for w in wrong)]
    text = "\n".join(lines).rstrip() + "\n"
    REPORT.write_text(text)
    print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
