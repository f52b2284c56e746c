"""Hostile model folders, one a process: what each tries, what becomes of it, and what it takes.

python experiments/reliability/models.py        written to experiments/reliability/MODELS.md
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import made_models as made  # noqa: E402
import tiny  # noqa: E402

SECONDS = 120
# One folder, in a process of its own that tells its own peak.
ONE = """
import json, re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import made_models as made
from dsl_probe.types import UserError
case = made.CASES[sys.argv[2]]
try:
    made.load(case, Path(sys.argv[3]), Path(sys.argv[4]))
    end = "loaded"
except UserError as error:
    end = "refused: " + str(error)
except BaseException as error:
    end = f"TRACEBACK: {type(error).__name__}: {error}"
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
print(json.dumps([end, peak]))
"""


def tried(name: str, folder: Path, model: Path) -> tuple[str, int]:
    """How it ended, and the peak of the process in MB."""
    argv = [sys.executable, "-c", ONE, str(ROOT / "tests"), name, str(folder), str(model)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, env=env)
    except subprocess.TimeoutExpired:
        return f"HANG: longer than {SECONDS} s", 0
    if done.returncode != 0:
        return f"ended with {done.returncode}: {done.stderr.strip()[-200:]}", 0
    end, peak = json.loads(done.stdout.splitlines()[-1])
    return end, peak


def main() -> None:
    """Try them all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("MODELS.md"))
    options = parser.parse_args()
    rows, as_expected, ran = [], 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        model = tiny.tiny_model(root / "tiny")
        adapter = made.tiny_adapter(model, root / "adapter")
        for i, (name, case) in enumerate(made.CASES.items()):
            mark, place = root / f"mark{i}", root / str(i) / "snapshots"
            place.mkdir(parents=True)
            folder = made.prepared(case, place / "model", mark, model, adapter)
            start = time.monotonic()
            end, peak = tried(name, folder, model)
            took = time.monotonic() - start
            as_expected += end == "loaded" if case.says is None else end.startswith("refused") and case.says in end
            ran += mark.exists()
            end = end.replace(str(folder), "FOLDER").replace(temporary, "TMP").replace("|", "/").replace("`", "'")
            rows.append(
                f"| {name} | {case.tries} | {end[:160]} | {took:.1f} | {peak} | {'yes' if mark.exists() else 'no'} |"
            )
            print(rows[-1], file=sys.stderr, flush=True)
    from importlib.metadata import version

    versions = ", ".join(f"{p} {version(p)}" for p in ("transformers", "safetensors", "peft", "gguf", "jinja2"))
    lines = [
        "# Hostile model folders: results",
        "",
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}; written by `models.py`. Seconds and "
        "peak memory are those of a process that does this alone, of which about 4 s and 400 MB are the libraries.",
        "",
        "| folder | tries to | outcome | s | peak, MB | its code ran |",
        "|---|---|---|--:|--:|---|",
        *rows,
        "",
        f"{as_expected} of {len(rows)} as intended (refused with the reason, or loaded where the attack is not "
        f"looked at); in {ran} did code of the folder run.",
    ]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(lines[-1])


if __name__ == "__main__":
    main()
