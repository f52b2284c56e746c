"""The runs that pictures of Growth, Probes, Effects and Validate are taken of, from what ships with the repository.

    python experiments/app/pictured.py runs/pictures

Writes the runs `growth` and `states` there, by the commands below. A stage that is done is left as it is.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "data" / "organisms" / "rl-only"
GROWTH = [
    ["import", str(ROOT / "data" / "organisms" / "growth-0.parquet"), "--out", "RUN"],
    ["mine", "RUN", "--growth"],
]
_AT = ["--model", str(MODEL), "--layers", "0", "1", "2", "3", "--at", "states", "--device", "cpu"]
STATES = [
    [
        *("collect", "--out", "RUN", "--model", str(MODEL), "--name", "rl-only", "--regime", "rl_only"),
        *("--template", "raw", "--domains", "chain", "swap", "--n", "80", "--samples", "2"),
        *("--max-new-tokens", "110", "--device", "cpu"),
    ],
    ["mine", "RUN", "--min-traces", "10"],
    ["capture", "RUN", *_AT, "--name", "rl"],
    ["capture", "RUN", *_AT, "--random", "0", "--name", "rl-random"],
    ["probe", "RUN", "--targets", "value", "last", "--acts", "rl", "--random", "rl-random"],
    ["effects", "RUN", "--model", str(MODEL), "--motifs", "top:8", "--budget", "4000", "--device", "cpu"],
    [
        *("validate", "RUN", "--group", "model=rl-only", "--splits", "20", "--problems", "40", "--min-units", "10"),
        *("--spikes", "nonce", "slotted", "re-purposed"),
    ],
]


def make(run: Path, commands: list[list[str]]) -> None:
    """Each command in turn; the first that fails ends all."""
    for command in commands:
        argv = [str(run) if part == "RUN" else part for part in command]
        print("dsl-probe", *argv, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "dsl_probe", *argv], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def main() -> None:
    """Both runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out.resolve()
    for name, commands in (("growth", GROWTH), ("states", STATES)):
        make(out / name, commands)


if __name__ == "__main__":
    main()
