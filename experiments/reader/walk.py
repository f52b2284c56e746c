"""How long a reader with traces of their own takes from `git clone` to the page Compare, step by step.

    python experiments/reader/walk.py [--traces 500] [--out experiments/reader/WALK.md]

Clones this repository's HEAD into a new folder and does there what README and docs/own-traces.md tell a reader to do,
with a JSONL file of 500 traces that know nothing of this tool: those of two real models on the same problems.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
A, B = "Qwen2.5-3B-Instruct+GRPO(RG-games)", "Qwen/Qwen2.5-3B-Instruct"
_OPEN = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("app_shots", Path("app/shots.py").resolve())
shots = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shots)
with shots.serving("--run", "runs/mine") as address, shots.chromium() as browser:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address + "/compare")
    page.wait_for_selector("[data-testid=stMetricValue]", timeout=60_000)
    shots.settle(page, 0.5)
    words = page.locator("[data-testid=stMetric]").all_inner_texts()
    print("the page Compare says: " + "; ".join(" ".join(one.split()) for one in words))
"""


def own_traces(path: Path, n: int) -> int:
    """JSON lines of text, model, problem, domain and verdict of as many traces of two models, on the same problems."""
    columns = ["response", "model", "problem_id", "domain", "prompt", "correct"]
    source = ROOT / "data" / "traces" / "reasoning_gym_qwen3b.parquet"
    rows = pq.read_table(source, columns=columns).to_pylist()
    of = {m: {row["problem_id"]: row for row in rows if row["model"] == m} for m in (A, B)}
    both = sorted(of[A].keys() & of[B].keys())[: n // 2]
    kept = [of[m][problem] for problem in both for m in (A, B)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), "utf-8")
    return len(kept)


def main() -> None:
    """Do each step, and write what it took and said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=500)
    parser.add_argument("--out", type=Path, default=ROOT / "experiments" / "reader" / "WALK.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reader-") as folder:
        clone = Path(folder) / "dsl-probe"
        n = own_traces(Path(folder) / "traces.jsonl", options.traces)
        tool = ".venv/bin/dsl-probe"
        steps = [
            ("git clone", ["git", "clone", "-q", str(ROOT), str(clone)], folder, "git clone REPOSITORY dsl-probe"),
            ("installation", ["make", "-s", ".venv/.installed"], clone, "make .venv/.installed"),
            ("import", [tool, "import", "../traces.jsonl", "--out", "runs/mine"], clone, None),
            ("mine", [tool, "mine", "runs/mine"], clone, None),
            ("compare", [tool, "compare", "runs/mine", "--a", f"model={A}", "--b", f"model={B}"], clone, None),
            ("the app, to the page Compare", [".venv/bin/python", "-c", _OPEN], clone, "make app, then Compare"),
        ]
        lines, total = [], 0.0
        for name, command, place, shown in steps:
            began = time.perf_counter()
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            took = time.perf_counter() - began
            total += took
            if done.returncode:
                raise SystemExit(f"{name}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
            said = done.stdout.strip().splitlines()
            print(f"{name}: {took:.1f} s", flush=True)
            lines += [
                f"## {name}: {took:.1f} s",
                "",
                "```text",
                f"$ {shown or ' '.join(command)}",
                *said[:40],
                "```",
                "",
            ]
    head = [
        "# From `git clone` to the page Compare",
        "",
        f"{n} traces of two real models on {n // 2} problems, as JSON lines; written by `walk.py` on "
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end. The clone is of a "
        "folder on the same disk, and packages came from a near mirror. Together "
        f"**{total:.0f} s**, of which the reader types six commands.",
        "",
    ]
    options.out.write_text("\n".join(head + lines).rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    main()
