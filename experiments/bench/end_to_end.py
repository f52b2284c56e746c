"""Import and mine of real traces of about 2,000 characters, stage by stage: how many traces a second on one core?

    python experiments/bench/end_to_end.py        written to experiments/bench/END_TO_END.md

Import and each mine job run in a process of their own on one core, cold (an empty cache of compiled code), then warm.
"""

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CUT = 2_000
# A function of dsl_probe.mine and the stage that its time counts for; of nested ones the inner has its own.
STAGES = {
    ("corpus", "read_units"): "segment",
    ("suffixes", "build_index"): "index",
    ("repeats", "find_repeats"): "repeats",
    ("repeats", "occurrences"): "occurrences",
    ("select", "cell_counts"): "occurrences",
    ("decoys", "unit_q"): "decoys",
    ("align", "text_of"): "lexicon",
    ("lexicon", "build"): "lexicon",
    ("lexicon", "parse"): "lexicon",
}
REST = "writing"
ORDER = ("segment", "index", "repeats", "occurrences", "decoys", "lexicon", REST)


def write_traces(folder: Path, n: int) -> tuple[Path, float, int]:
    """The n longest shipped traces (in the order of their files), cut: file, mean characters, how many are full."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for path in sorted((ROOT / "data" / "traces").glob("*.parquet")):
        table = pq.read_table(path, columns=["problem_id", "model", "domain", "prompt", "response"])
        rows += [row | {"source": path.stem} for row in table.to_pylist() if row["response"]]
    chosen = np.sort(np.argsort([-len(row["response"]) for row in rows], kind="stable")[:n])
    kept = [rows[i] | {"trace_id": str(i), "response": rows[i]["response"][:CUT]} for i in chosen]
    lengths = np.array([len(row["response"]) for row in kept])
    out = folder / "traces.parquet"
    pq.write_table(pa.Table.from_pylist(kept), out)
    return out, float(lengths.mean()), int((lengths == CUT).sum())


def mine(run: str) -> None:
    """In a process of its own: mine with one worker; one JSON line of CPU seconds by stage, wall seconds, counts."""
    begun = time.process_time(), time.perf_counter()
    from dsl_probe.mine.stage import MineConfig, mine_motifs
    from dsl_probe.store import Run

    spent: dict[str, float] = defaultdict(float)
    open_stages: list[str] = []
    last = time.process_time()

    def charge() -> None:
        nonlocal last
        now = time.process_time()
        spent[open_stages[-1] if open_stages else REST] += now - last
        last = now

    def timed(function, stage):
        def call(*args, **kwargs):
            charge()
            open_stages.append(stage)
            try:
                return function(*args, **kwargs)
            finally:
                charge()
                open_stages.pop()

        return call

    modules = {name: importlib.import_module(f"dsl_probe.mine.{name}") for name, _ in STAGES}
    for (name, function), stage in STAGES.items():
        original, wrapped = getattr(modules[name], function), timed(getattr(modules[name], function), stage)
        for module in [*sys.modules.values()]:  # under every name that it was imported by
            if getattr(module, function, None) is original:
                setattr(module, function, wrapped)
    imports = time.process_time() - begun[0]
    last = time.process_time()
    result = mine_motifs(Run(run), MineConfig(), executor="process:1")
    charge()
    counts = {"units": result.units, "motifs": result.motifs, "lexicon": result.lexicon}
    print(json.dumps({"start": imports, **spent, "wall": time.perf_counter() - begun[1], "counts": counts}))


def child(arguments: list[str], cache: str) -> tuple[str, float, float]:
    """Standard output, CPU and wall seconds of a Python process on one core."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    threads = {f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "NUMBA", "OPENBLAS")} | {"ARROW_NUM_THREADS": "1"}
    core, before, begun = max(os.sched_getaffinity(0)), os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | threads | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": cache},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, cpu, time.perf_counter() - begun


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine())


def report(n: int, mean: float, full: int, imported: tuple[float, float], runs: dict[str, list[dict]]) -> str:
    warm = min(runs["warm"], key=lambda r: sum(r[s] for s in ORDER) + r["start"])
    cold = runs["cold"][0]
    counts = warm["counts"]
    lines = [
        "# From traces to a lexicon: results",
        "",
        "Written by `experiments/bench/end_to_end.py`.",
        "",
        f"- date: {datetime.datetime.now(datetime.UTC).date()}",
        f"- machine: {processor()}, one core of {os.cpu_count()}",
        f"- versions: Python {platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba", "pyarrow", "pydivsufsort")),
        f"- traces: the {n:,} longest of those shipped in `data/traces`, each **cut to its first {CUT:,} characters**; "
        f"{full:,} are that long, the mean is {mean:,.0f}; {counts['units']:,} units",
        f"- found: {counts['motifs']:,} closed motifs, {counts['lexicon']:,} in the lexicon",
        f"- CPU seconds (user and system); cold once, of {len(runs['warm'])} warm runs the fastest. Cold: the cache of "
        "compiled code is empty, which happens once after an install.",
        "",
        "| stage | cold: CPU s | warm: CPU s | warm: traces / CPU s |",
        "|---|---|---|---|",
    ]

    def row(name: str, cold_s: float, warm_s: float) -> str:
        return f"| {name} | {cold_s:.2f} | {warm_s:.2f} | {n / warm_s:,.0f} |"

    lines.append(row("import (a process of its own)", imported[0], imported[0]))
    lines.append(row("mine: start of Python, imports", cold["start"], warm["start"]))
    lines += [row(f"mine: {stage}", cold[stage], warm[stage]) for stage in ORDER]
    totals = [imported[0] + r["start"] + sum(r[s] for s in ORDER) for r in (cold, warm)]
    lines.append(row("**import and mine**", *totals))
    lines += [
        "",
        f"Wall seconds: import {imported[1]:.1f}, mine {cold['wall']:.1f} cold and {warm['wall']:.1f} warm. "
        "Decoys are two more indexes and repeats of as much text. Writing holds all of the stage that is in no other "
        "row.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3, help="warm runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("END_TO_END.md"))
    parser.add_argument("--keep", type=Path, help="a folder for the run, to look at")
    parser.add_argument("--mine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mine:
        mine(options.mine)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        source, mean, full = write_traces(Path(temporary), options.traces)
        runs: dict[str, list[dict]] = {"cold": [], "warm": []}
        for turn in range(options.rounds + 1):
            run = str(folder / f"run{turn}")
            command = ["-m", "dsl_probe", "import", str(source), "--out", run]
            imported = child(command, f"{temporary}/cache")[1:]
            line = child([__file__, "--mine", run], f"{temporary}/cache")[0].splitlines()[-1]
            runs["warm" if turn else "cold"].append(json.loads(line))
            print(turn, imported, line, file=sys.stderr, flush=True)
    options.out.write_text(report(options.traces, mean, full, imported, runs))
    print(options.out.read_text())


if __name__ == "__main__":
    main()
