"""Inputs that hold no language, or hardly any text: what do import and mine make of them, in what time and memory?

python experiments/reliability/mining_inputs.py        written to experiments/reliability/MINING_INPUTS.md
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120  # seconds for each of import and mine
MILLION = 1_000_000
Row = dict[str, str]
# The command in a process of its own that tells its own peak at the end: ru_maxrss would remember who started it.
MEASURED = """
import re, sys
from pathlib import Path
from dsl_probe.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
status = Path("/proc/self/status").read_text()
print("PEAK", int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) // 1024, file=sys.stderr)
sys.exit(code)
"""


def rows_of(texts: list[str]) -> Iterator[Row]:
    """Every text is the answer to a problem of its own."""
    for i, text in enumerate(texts):
        yield {"trace_id": f"t{i}", "problem_id": f"p{i}", "text": text}


def words(rng: np.random.Generator, n: int) -> str:
    """n words drawn evenly from 5,000 made-up ones."""
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    made = [a + b + c for a in syllables[:17] for b in syllables[:17] for c in syllables[:18]][:5_000]
    return " ".join(made[k] for k in rng.integers(0, 5_000, n))


def shuffled(rng: np.random.Generator, n: int = 2_000) -> list[str]:
    """Shipped traces, drawn at random, with the units of each in random order."""
    import pyarrow.parquet as pq

    from dsl_probe.mine.segment import segment

    texts = []
    for path in sorted((ROOT / "data" / "traces").glob("*.parquet")):
        texts += [text for text in pq.read_table(path, columns=["response"])["response"].to_pylist() if text]
    texts = [texts[i] for i in np.sort(rng.choice(len(texts), n, replace=False))]
    units, out = segment(texts), []
    for i, text in enumerate(texts):
        order = rng.permutation(np.arange(units.bounds[i], units.bounds[i + 1]))
        out.append(" ".join(text[units.starts[u] : units.stops[u]] for u in order.tolist()))
    return out


CASES: dict[str, Callable[[np.random.Generator], list[str]]] = {
    "one trace of 300 random words": lambda rng: [words(rng, 300)],
    "200 empty traces": lambda rng: [""] * 200,
    "one trace: one unit a million times": lambda rng: ["go " * MILLION],
    "one trace: two units in turn, a million": lambda rng: ["go stop " * (MILLION // 2)],
    "40 traces: one unit 25,000 times each": lambda rng: ["go " * (MILLION // 40)] * 40,
    "40 traces: two units in turn, 25,000 each": lambda rng: ["go stop " * (MILLION // 80)] * 40,
    "one trace of one line of 50 MB": lambda rng: [words(rng, 8_400_000)[: 50 * MILLION]],
    "2,000 shipped traces, units of each shuffled": shuffled,
    "2,000 traces of 300 random words": lambda rng: [words(rng, 300) for _ in range(2_000)],
}


def command(*arguments: str) -> dict:
    """One command: exit code (None: cut off), JSON of its standard output, wall seconds, peak MiB, last line said."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments, "--json"],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return {"code": None, "said": f"cut off after {LIMIT} s", "seconds": float(LIMIT), "mib": 0, "out": {}}
    seconds = time.perf_counter() - begun
    peak = re.findall(r"^PEAK (\d+)$", done.stderr, re.M)
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("PEAK")]
    traceback = "Traceback" in done.stderr
    return {
        "code": done.returncode,
        "said": ("TRACEBACK: " if traceback else "") + (said[-1].strip() if said else ""),
        "seconds": seconds,
        "mib": int(peak[-1]) if peak else 0,
        "out": json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else {},
    }


def try_case(name: str, folder: Path) -> str:
    """Import and mine one case: a row of the table."""
    source, run = folder / "traces.jsonl", folder / "run"
    with source.open("w") as file:
        for row in rows_of(CASES[name](np.random.default_rng(0))):
            file.write(json.dumps(row) + "\n")
    imported = command("import", str(source), "--out", str(run))
    mined = command("mine", str(run))
    out = mined["out"]
    found = [f"{out[key]:,}" if key in out else "–" for key in ("units", "motifs", "lexicon")]
    print(name, imported, mined, file=sys.stderr, flush=True)
    said = "" if mined["code"] == 0 else mined["said"].replace(str(folder), "…").replace("|", "/")
    cells = [name, *found, imported["code"], mined["code"], f"{imported['seconds']:.1f}", f"{mined['seconds']:.1f}"]
    return "| " + " | ".join(map(str, [*cells, imported["mib"], mined["mib"], said])) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("MINING_INPUTS.md"))
    options = parser.parse_args()
    rows = []
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(try_case(name, Path(folder)))
    lines = [
        "# Inputs without a language: results",
        "",
        "Written by `experiments/reliability/mining_inputs.py`.",
        "",
        f"- date: {datetime.datetime.now(datetime.UTC).date()}",
        f"- machine: {os.cpu_count()} cores, Python {platform.python_version()}",
        f"- each command in a process of its own, with all defaults, cut off after {LIMIT} s; wall seconds; peak MiB "
        "of that process, Python and its libraries among them",
        "- motifs: closed repeats, single units among them; **lexicon: what is claimed to be a motif of a language**, "
        "which must be none here",
        "- exit code 0: done; 1: finished, with rejected rows; 2: refused, with what was said",
        "",
        "| input | units | motifs | lexicon | import: exit | mine: exit | import: s | mine: s | import: MiB | mine: "
        "MiB | said |",
        "|---" * 11 + "|",
        *rows,
        "",
    ]
    options.out.write_text("\n".join(lines))
    print(options.out.read_text())


if __name__ == "__main__":
    main()
