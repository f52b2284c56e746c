"""Hostile answers of a code domain, one after another: what each tries, how it is judged, what it takes and leaves.

python experiments/reliability/sandbox.py        written to experiments/reliability/SANDBOX.md
"""

import argparse
import datetime
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import made_escapes as made  # noqa: E402

from dsl_probe.collect import sandbox  # noqa: E402
from dsl_probe.collect.domains import code  # noqa: E402


def judged(program: str, seconds: float) -> tuple[bool | None, str, float]:
    """Verdict, its reason and the seconds it took."""
    code.SECONDS = seconds
    start = time.monotonic()
    verdict = code.verify(made.PROBLEM, f"```python\n{program}\n```")
    return verdict.correct, verdict.reason, time.monotonic() - start


class Watch:
    """The most memory, in MB, that the machine had less of than at the start, looked at every 10 ms."""

    def __enter__(self) -> "Watch":
        self.start, self.most, self.done = available(), 0.0, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self) -> None:
        while not self.done.wait(0.01):
            self.most = max(self.most, self.start - available())

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()


def available() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Run them all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("SANDBOX.md"))
    parser.add_argument("--seconds", type=float, default=10.0, help="what a hostile program may take (the default's)")
    options = parser.parse_args()
    made.adopt()
    rows, right, quick = [], 0, []
    with tempfile.TemporaryDirectory() as aims_folder, tempfile.TemporaryDirectory() as temporary:
        tempfile.tempdir = temporary
        with made.aimed(Path(aims_folder)) as aims:
            for name, escape in made.ESCAPES.items():
                before = made.left_over(Path(temporary))
                with Watch() as watch:
                    verdict, reason, took = judged(escape.program(aims), options.seconds)
                after = made.left_over(Path(temporary))
                left = ", ".join(k for k in after if after[k] != before[k]) or "nothing"
                honest, _, seconds = judged(made.HONEST, 10.0)
                right += honest is True
                quick.append(seconds)
                rows.append((name, escape.tries, str(verdict).lower(), reason, took, watch.most, left))
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
        tempfile.tempdir = None
    bubblewrap = subprocess.run(["bwrap", "--version"], capture_output=True, text=True).stdout.strip()
    lines = [
        "# Hostile answers of a code domain: results",
        "",
        f"{datetime.date.today()}, Python {platform.python_version()}, Linux {platform.release()}, {bubblewrap}; "
        f"written by `sandbox.py`. Each program may take {options.seconds:g} s and 1,024 MB. *memory*: by how much the "
        "memory that the machine has available fell, at most.",
        "",
        "| program | tries to | verdict | reason | s | memory, MB | left behind |",
        "|---|---|---|---|--:|--:|---|",
        *(
            f"| {name} | {tries} | {verdict} | {reason.replace('|', '/')} | {took:.1f} | {mb:.0f} | {left} |"
            for name, tries, verdict, reason, took, mb, left in rows
        ),
        "",
        f"{sum(row[2] == 'true' for row in rows)} of {len(rows)} were judged right; "
        f"{sum(row[6] != 'nothing' for row in rows)} left something behind. The honest program after each was judged "
        f"right {right} times of {len(rows)}, in {statistics.median(quick):.2f} s (median).",
    ]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines[-1:]))


if __name__ == "__main__":
    if why := sandbox.why_not():
        sys.exit(why)
    main()
