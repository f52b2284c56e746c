"""10^6 short traces through import, mine and compare: resident memory by stage, traces a second in each tenth, times.

    python experiments/reliability/soak.py --traces 100000 1000000 [--work DIR] [--out experiments/reliability/SOAK.md]

The traces are made up (seeded; the same bytes each time) and written as JSONL shards: two models, five domains, five
samples a problem and model. Each command is a process of its own; this one reads /proc while it runs: the resident
memory of the process and of its workers, their processor time, and when each shard appeared on the disk.
"""

import argparse
import datetime
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dsl_probe.store import Run

ROOT = Path(__file__).resolve().parents[2]
MODELS, DOMAINS, SAMPLES = ("plain", "private"), ("algebra", "code", "games", "logic", "sums"), 5
WORDS, PHRASES, PRIVATE, A_FILE = 20_000, 20_000, 5, 50_000
RESERVE = 2_000_000_000
TICK, PAGE, HERTZ = 0.5, os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
# What a command says when a part of it begins -> what the part is called here.
PARTS = {
    "mine": (("indexing", "index and repeats"), ("finding", "occurrences"), ("choosing", "lexicon")),
    "compare": (("against", "tests"), ("legibility", "legibility"), ("claims", "claims")),
}
SHARDS = {"import": "traces", "mine": "units"}  # of which the times of the files are looked at
FIRST = {"import": "read, check, write", "mine": "segment", "compare": "read the run"}


# ---- the traces


def write_traces(folder: Path, traces: int, seed: int = 0) -> None:
    """JSONL files of A_FILE traces: phrases by Zipf's law, in an order that differs by domain; a sum; rare names.

    The model `private` writes every 50th phrase three times as often, and PRIVATE words that `plain` never writes.
    """
    rng = np.random.default_rng(seed)
    pick = random.Random(seed)
    words = [a + b for a in _syllables() for b in _syllables()][:WORDS]
    pick.shuffle(words)
    zipf = 1 / (np.arange(WORDS) + 2.7)
    drawn = iter(rng.choice(WORDS, 4 * PHRASES, p=zipf / zipf.sum()).tolist())
    phrases = [" ".join(words[next(drawn)] for _ in range(1 + k % 4)) for k in range(PHRASES)]
    phrases += [f"zq{k}x" for k in range(PRIVATE)]
    weight = np.append(1 / (np.arange(PHRASES) + 5.0), np.full(PRIVATE, 0.002))
    tastes = {}
    for m, model in enumerate(MODELS):
        for d, domain in enumerate(DOMAINS):
            own = weight.copy()
            moved = np.arange(d, PHRASES, 10)
            own[moved] = own[np.roll(moved, 7 * d)]
            own[7:PHRASES:50] *= 3 if m else 1
            own[PHRASES:] *= m
            tastes[model, domain] = np.cumsum(own) / own.sum()
    for k, first in enumerate(range(0, traces, A_FILE)):
        with open(folder / f"{k:03d}.jsonl", "w") as file:
            for i in range(first, min(first + A_FILE, traces)):
                file.write(json.dumps(_trace(i, pick, rng, phrases, tastes)) + "\n")


def _trace(i: int, pick: random.Random, rng: np.random.Generator, phrases: list[str], tastes: dict) -> dict:
    problem, model = i // (len(MODELS) * SAMPLES), MODELS[i // SAMPLES % len(MODELS)]
    domain = DOMAINS[problem % len(DOMAINS)]
    taste, n = tastes[model, domain], 9 + int(15 * pick.random())
    said = [phrases[p] for p in np.searchsorted(taste, rng.random(n)).tolist()]
    x, y = pick.randrange(1_000), pick.randrange(100)
    said.append(f"so {x} + {y} = {x + y} .")
    if pick.random() < 0.1:
        said.insert(n // 2, f"name{i % 7}k{i}")
    asked = random.Random(problem)
    question = " ".join(phrases[asked.randrange(2_000)] for _ in range(4))
    return {
        "trace_id": i,
        "problem_id": f"p{problem}",
        "sample": i % SAMPLES,
        "model": model,
        "domain": domain,
        "prompt": f"find {question} of {problem}",
        "text": " ".join(said),
        "correct": pick.random() < 0.5,
    }


def _syllables() -> list[str]:
    return [a + b + c for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("", "n", "r")]


# ---- a command, watched


class Watch:
    """A command under way: by time its processor seconds, resident bytes of itself and of its workers; what it said."""

    def __init__(self, name: str, argv: list[str], most: float):
        self.name, self.seen, self.said, self.cut = name, [], [], ""
        self.begun = time.time()
        self.process = subprocess.Popen(argv, env=_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        listener = threading.Thread(target=self._listen)
        listener.start()
        while self.process.poll() is None:
            self._look()
            if _available() < RESERVE:
                self.cut = f"ended: less than {RESERVE / 1e9:.0f} GB of the machine's memory was left"
            elif time.time() - self.begun > most:
                self.cut = f"ended after {most / 60:.0f} minutes"
            if self.cut:
                self._end()
            time.sleep(TICK)
        listener.join()
        self.ended = time.time()
        if self.process.returncode and not self.cut:
            raise SystemExit(f"{' '.join(argv)}: exit code {self.process.returncode}\n" + self.said[-1][1])

    def _end(self) -> None:
        for pid in _below(self.process.pid):
            os.kill(pid, signal.SIGTERM)
        self.process.kill()
        self.process.wait()

    def _listen(self) -> None:
        for raw in self.process.stderr:
            line = raw.decode(errors="replace")
            self.said.append((time.time(), line))
            print(f"{time.time() - self.begun:8.1f}  {line}", end="", file=sys.stderr, flush=True)

    def _look(self) -> None:
        cpu, own, workers = 0.0, 0, 0
        for pid in (self.process.pid, *_below(self.process.pid)):
            try:
                after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            cpu += sum(map(int, after[11:15])) / HERTZ  # its own, and that of children which have ended
            if pid == self.process.pid:
                own = int(after[21]) * PAGE
            else:
                workers += int(after[21]) * PAGE
        self.seen.append((time.time(), cpu, own, workers))

    def parts(self) -> list[dict]:
        """Of each part of the command: seconds, processor seconds, highest resident MB of itself and in all."""
        marks = [(self.begun, FIRST[self.name])]
        for at, line in self.said:
            for word, part in PARTS.get(self.name, ()):
                if f"{self.name}: " in line and word in line and marks[-1][1] != part:
                    marks.append((at, part))
        found, ends = [], [at for at, _ in marks[1:]] + [self.ended]
        for (at, part), end in zip(marks, ends, strict=True):
            here = [row for row in self.seen if at <= row[0] < end] or [self.seen[-1]]
            found.append(
                {
                    "part": part,
                    "wall": end - at,
                    "cpu": self.cpu_at(end) - self.cpu_at(at),
                    "own": max(row[2] for row in here) / 1e6,
                    "all": max(row[2] + row[3] for row in here) / 1e6,
                }
            )
        return found

    def cpu_at(self, at: float) -> float:
        """Processor seconds up to a time."""
        # A worker that has ended and was not yet waited for is in no sum: what was used never falls.
        used = np.maximum.accumulate([row[1] for row in self.seen])
        return float(np.interp(at, [row[0] for row in self.seen], used, left=0))

    def tenths(self, files: list[Path], traces: int) -> dict[str, list[float]]:
        """Traces a second and a processor second in each tenth of the shards, by the times of their files."""
        times = sorted(path.stat().st_mtime for path in files)
        cuts = np.linspace(0, len(times), 11).round().astype(int)
        at = [self.begun, *(times[c - 1] for c in cuts[1:])]
        share = np.diff(cuts) * traces / len(times)
        cpu = np.array([self.cpu_at(t) for t in at])
        return {"wall": (share / np.diff(at)).tolist(), "cpu": (share / np.diff(cpu)).tolist()}


def _available() -> int:
    """Bytes of memory that the machine can still give."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _below(pid: int) -> Iterator[int]:
    """All processes that descend from one."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from _below(child)


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


# ---- one size


def soak(traces: int, work: Path, executor: str, commands: Sequence[str], most: float) -> dict:
    """The commands on `traces` traces; what was measured in this folder before is read.

    A command that takes more than `most` seconds, or nearly all memory, is ended, and no other is begun after it.
    """
    source, run, kept = work / "source", work / "run", work / "measured.json"
    if not kept.exists():
        source.mkdir(parents=True, exist_ok=True)
        write_traces(source, traces)
        kept.write_text(json.dumps({"traces": traces, "bytes": sum(path.stat().st_size for path in source.iterdir())}))
    found = json.loads(kept.read_text())
    groups = [f"model={model}" for model in MODELS]
    asked = {
        "import": [str(source), "--out", str(run)],
        "mine": [str(run), "--executor", executor],
        "compare": [str(run), "--a", groups[1], "--b", groups[0], "--base", groups[0]],
    }
    for command in commands:
        if command not in found:
            load = os.getloadavg()[0]
            watched = Watch(command, [sys.executable, "-m", "dsl_probe", command, *asked[command]], most)
            found[command] = watched.parts()
            found.setdefault("loads", []).extend([load, os.getloadavg()[0]])
            files = list((run / SHARDS[command]).glob("*.parquet")) if command in SHARDS else []
            if files and not (watched.cut and len(found[command]) == 1):  # else only a part of them is there
                found[f"{command} tenths"] = watched.tenths(files, traces)
            found["on_disk"] = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
            if watched.cut:
                found["cut"] = f"{command}: {watched.cut}"
            else:
                done = Run(run)
                name = f"compare.{next(iter(done.comparisons()))}" if command == "compare" else command
                found[f"{command} counts"] = done.counts(name)
            kept.write_text(json.dumps(found))
        if "cut" in found:
            break
    return found


# ---- the report


def report(found: list[dict], executor: str) -> str:
    """SOAK.md."""
    lines = [
        "# 10^6 traces on two cores: results",
        "",
        "Written by `experiments/reliability/soak.py`.",
        "",
        f"- date: {datetime.datetime.now(datetime.UTC).date()}",
        f"- machine: {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}; load by all processes "
        + "; ".join(f"{min(f['loads']):.0f} to {max(f['loads']):.0f} with {f['traces']:,} traces" for f in found)
        + ": where it is above the number of cores, wall seconds hold the wait for a core, and CPU seconds are fairer",
        f"- mine with `--executor {executor}`; all else by default",
        "- own: the command's process; all: with its workers, pages that they share counted twice",
        "",
        "| traces | JSONL MB | run MB | units | vocabulary | motifs | occurrences | lexicon | problems compared "
        "| motifs tested | discoveries in A |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f in found:
        c, k = (f.get(f"{name} counts") for name in ("mine", "compare"))
        mined = ("units", "vocabulary", "motifs", "occurrences", "lexicon")
        compared = ("problems", "motifs_tested", "discoveries_a")
        cells = [f"{c[name]:,}" if c else "" for name in mined] + [f"{k[name]:,}" if k else "" for name in compared]
        lines.append(
            f"| {f['traces']:,} | {f['bytes'] / 1e6:,.0f} | {f['on_disk'] / 1e6:,.0f} | " + " | ".join(cells) + " |"
        )
    lines += [
        "",
        "## Time and memory by part",
        "",
        "| traces | command | part | wall s | CPU s | traces / CPU s | peak MB: own | all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for f in found:
        for command in ("import", "mine", "compare"):
            parts = f.get(command, [])
            for p in parts:
                lines.append(_row(f["traces"], command, p))
            if len(parts) > 1:
                total = {name: sum(p[name] for p in parts) for name in ("wall", "cpu")}
                peak = {name: max(p[name] for p in parts) for name in ("own", "all")}
                lines.append(_row(f["traces"], f"**{command}**", {"part": "**all**"} | total | peak))
    lines += [
        "",
        "## Rate over time",
        "",
        "Traces a second in each tenth of the shards, by the time at which each shard's file was complete. The first "
        "tenth holds the start of Python, of the workers and the loading of compiled code. Last: the lowest and the "
        "highest of tenths 2 to 10 against their median.",
        "",
        "| traces | part | a second of | " + " | ".join(map(str, range(1, 11))) + " | lowest, highest |",
        "|---|---|---|" + "---:|" * 11,
    ]
    for f in found:
        for command in SHARDS:
            if f"{command} tenths" not in f:
                continue
            part = {"mine": "mine: segment"}.get(command, command)
            for clock, rates in f[f"{command} tenths"].items():
                later = np.array(rates[1:]) / np.median(rates[1:]) - 1
                lines.append(
                    f"| {f['traces']:,} | {part} | {'CPU' if clock == 'cpu' else 'wall'} | "
                    + " | ".join(f"{r:,.0f}" for r in rates)
                    + f" | {later.min():+.0%}, {later.max():+.0%} |"
                )
    cut = [f"{f['traces']:,} traces, {f['cut']}." for f in found if "cut" in f]
    return "\n".join([*lines, *(["", "Not done: " + " ".join(cut)] if cut else [])]) + "\n"


def _row(traces: int, command: str, p: dict) -> str:
    rate = traces / p["cpu"] if p["cpu"] > 0 else float("nan")
    return (
        f"| {traces:,} | {command} | {p['part']} | {p['wall']:,.0f} | {p['cpu']:,.0f} | {rate:,.0f} "
        f"| {p['own']:,.0f} | {p['all']:,.0f} |"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine())


def main() -> None:
    """Each size in turn, then the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=lambda text: int(float(text)), nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--executor", default="process:2")
    parser.add_argument("--commands", nargs="+", choices=list(FIRST), default=list(FIRST), help="only these")
    parser.add_argument("--work", type=Path, help="where sources and runs are written, and stay (default: nowhere)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("SOAK.md"))
    parser.add_argument("--minutes", type=float, default=40, help="a command that takes longer is ended")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as nowhere:
        found = []
        for traces in options.traces:
            folder = (options.work or Path(nowhere)) / str(traces)
            found.append(soak(traces, folder, options.executor, options.commands, 60 * options.minutes))
    options.out.write_text(report(found, options.executor), "utf-8")
    print(options.out.read_text("utf-8"))


if __name__ == "__main__":
    main()
