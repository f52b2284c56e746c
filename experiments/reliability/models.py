"""Hostile model folders, one a process: what each tries, what becomes of it, and what it takes.

python experiments/reliability/models.py        written to experiments/reliability/MODELS.md
"""

import argparse
import datetime
import os
import platform
import re
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
import made_models as made  # noqa: E402
import tiny  # noqa: E402

from dsl_probe.types import UserError  # noqa: E402

SECONDS = 120


def one(name: str, folder: Path, model: Path, tell: Connection) -> None:
    """Load one folder, and tell how it ended and the peak of this process in MB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    try:
        made.load(made.CASES[name], folder, model)
        end = "loaded"
    except UserError as error:
        end = f"refused: {error}"
    except BaseException as error:
        end = f"TRACEBACK: {type(error).__name__}: {error}"
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    tell.send((end, int(found[1]) // 1024 if found else 0))


def tried(name: str, folder: Path, model: Path) -> tuple[str, int]:
    """How it ended in a process of its own (a fork, so that the libraries are loaded once), and its peak in MB."""
    fork = get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=one, args=(name, folder, model, there))
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(SECONDS) else (f"HANG: longer than {SECONDS} s", 0)
    except EOFError:
        process.join()
        return f"ended with {process.exitcode}", 0
    finally:
        process.kill()
        process.join()


def main() -> None:
    """Try them all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("MODELS.md"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
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
    versions = ", ".join(f"{p} {version(p)}" for p in ("transformers", "safetensors", "peft", "gguf", "jinja2"))
    lines = [
        "# Hostile model folders: results",
        "",
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}; written by `models.py`. The peak "
        "is that of a process that has loaded nothing before but the libraries (about 400 MB).",
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
