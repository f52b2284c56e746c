"""Import of 100,000 traces of 4 kB: seconds and peak memory, in one fresh process.

python experiments/bench/importing.py [--traces 100000] [--out experiments/bench/IMPORT.md]
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [f"w{i}" for i in range(5_000)]


def write(path: Path, traces: int) -> float:
    """A JSONL file of made-up traces of about 4 kB each; returns its size in MB."""
    rng = random.Random(0)
    with open(path, "w") as file:
        for i in range(traces):
            text = " ".join(rng.choices(WORDS, k=700))[:4_000]
            row = {
                "trace_id": i,
                "problem_id": f"p{i // 8}",
                "model": f"m{i % 4}",
                "domain": f"d{i % 5}",
                "prompt": f"question {i // 8}",
                "text": text,
                "correct": i % 2 == 0,
            }
            file.write(json.dumps(row) + "\n")
    return path.stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "traces.jsonl"
        size = write(source, options.traces)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "dsl_probe", "import", str(source), "--out", f"{folder}/run"], check=True)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    cpu = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")),
        "?",
    )
    text = (
        "# Import\n\n`make bench` writes this file. Made-up traces of 4 kB in one JSONL file, one fresh process.\n\n"
        f"| traces | MB | wall s | peak MiB |\n|---|---|---|---|\n"
        f"| {options.traces:,} | {size:.0f} | {seconds:.1f} | {peak:.0f} |\n\n"
        f"Machine: {cpu}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}.\n"
    )
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
