"""The collector from end to end on a real language model, and what it says to input that it cannot use.

    python experiments/collector/run.py [--out runs/smollm2] [--results experiments/collector/RESULTS.md]

Runs the commands that RESULTS.md shows, as a user would type them, and writes down what they print.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from dsl_probe.store import Run

DOMAINS = "gsm8k gym:chain_sum gym:letter_counting"


def told(command: str, note: str = "") -> str:
    """A command and what it prints, as a block: the result, and of stderr the error."""
    words = shlex.split(command)
    print(f"$ {command}", file=sys.stderr, flush=True)
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-m", "dsl_probe", *words[1:]], capture_output=True, env=env)
    said = [line for line in done.stderr.decode().splitlines() if line.startswith("dsl-probe:")]
    lines = [line for line in [*done.stdout.decode().splitlines(), *said] if line.strip()]
    return "\n".join(
        [f"{note}\n" if note else "", "```", f"$ {command}", *lines, f"(exit {done.returncode})", "```", ""]
    )


def curve(run: Run) -> list[str]:
    """curve.parquet as a table."""
    table = run.frame("curve")
    lines = ["| domain | measure | k | tokens | value | 95 % interval | problems |", "|---|---|---|---|---|---|---|"]
    for r in table.itertuples():
        tokens = "" if r.tokens != r.tokens else f"{r.tokens:,.0f}"
        lines.append(
            f"| {r.domain} | {r.measure} | {r.k} | {tokens} | {r.value:.3f} | {r.ci_low:.3f} to {r.ci_high:.3f} | "
            f"{r.n_problems} |"
        )
    return lines


def steps(run: Run, top: int = 8) -> list[str]:
    """The steps of tree.parquet that change the accuracy most."""
    table = run.frame("tree").dropna(subset=["gain"])
    table = table.reindex(table.gain.abs().sort_values(ascending=False, kind="stable").index).head(top)
    lines = ["| domain | step | its text | before | gain | 95 % interval | p_adj |", "|---|---|---|---|---|---|---|"]
    for r in table.itertuples():
        text = " ".join(r.text.split()).replace("|", "\\|").replace("`", "'")
        lines.append(
            f"| {r.domain} | {r.step_number} | `{text[:60]}` | {r.accuracy:.2f} | {r.gain:+.2f} | "
            f"{r.gain_low:+.2f} to {r.gain_high:+.2f} | {r.p_adj:.1g} |"
        )
    return lines


ESCAPE = """
from dsl_probe.collect.sandbox import run_python
for code in ("print(open('/etc/passwd').read())", "import socket; socket.create_connection(('127.0.0.1', 22), 2)",
             "import os; os.fork()", "open('/program.py', 'a').write('x')"):
    done = run_python(code, seconds=5)
    print(f"{code:75s} exit {done.exit}  {done.stderr.strip().splitlines()[-1][:90]}")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/smollm2"))
    parser.add_argument("--results", type=Path)
    parser.add_argument("--n", type=int, default=6)
    options = parser.parse_args()
    out, tree = options.out, options.out.with_name(options.out.name + "-tree")
    base, opened = (options.out.with_name(name) for name in ("organism-base", "organism-base-opened"))
    text = [
        "# The collector on SmolLM2-135M-Instruct\n",
        "Written by `experiments/collector/run.py`; what it asks is in [README.md](README.md).\n",
        told(
            f"dsl-probe collect --out {out} --model smollm2 --domains {DOMAINS} --n {options.n} --samples 4 "
            f"--max-new-tokens 160 --device cpu --price 0.6"
        ),
        told(
            f"dsl-probe capture {out} --model smollm2 --layers 10 20 --at steps answer --device cpu --dry-run",
            "Dry run:",
        ),
        told(f"dsl-probe capture {out} --model smollm2 --layers 10 20 --at steps answer --device cpu"),
        told(
            f"dsl-probe score {out} --model smollm2 --device cpu",
            "The audit: do the stored log-probabilities belong to this model?",
        ),
        told(
            f"dsl-probe collect --out {tree} --model smollm2 --resample {out} --n 1 --every 2 --samples 8 "
            f"--max-new-tokens 160 --device cpu",
            "Resampling from every second step of one chain a domain:",
        ),
        told(f"dsl-probe status {out} --verify"),
        "SmolLM2 gets nothing right here at temperature 1, so its curve is flat at 0. The tables below are of a model",
        "that is sometimes right: the organism `base`, for the steps opened in a dialect that it knows.\n",
        told(
            f"dsl-probe collect --out {base} --model data/organisms/base --template raw --domains chain hop swap "
            f"--n 40 --samples 8 --max-new-tokens 110 --device cpu",
        ),
        "## Accuracy against tokens spent (`curve.parquet`)\n",
        *curve(Run(base)),
        "\n## Which step decides (`tree.parquet`, largest changes)\n",
        told(
            f"dsl-probe collect --out {opened} --model data/organisms/base --template raw --domains chain hop swap "
            f"--n 40 --samples 1 --max-new-tokens 110 --device cpu --prefix '<think> first we get'",
        ),
        told(
            f"dsl-probe collect --out {base}-tree --model data/organisms/base --resample {opened} --n 40 --samples 16 "
            f"--max-new-tokens 110 --device cpu",
        ),
        *steps(Run(f"{base}-tree")),
        "\n## Input that cannot be used\n",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            f"dsl-probe collect --out {folder}/a --model no/such-model --domains gsm8k --n 1",
            f"dsl-probe collect --out {folder}/b --model smollm2 --domains maths --n 1",
            f"dsl-probe capture {out} --model smollm2 --layers 30 --at steps --device cpu --name other",
            f"dsl-probe capture {out} --model smollm2 --layers 1 --at often --device cpu --name other",
            f"dsl-probe collect --out {folder}/c --model smollm2 --domains gsm8k --n 99999",
        ):
            text.append(told(command).replace(folder, "FOLDER"))
    done = subprocess.run([sys.executable, "-c", ESCAPE], capture_output=True, text=True)
    text += ["Programs that try to leave the sandbox (a file outside, a socket, a process, its own source):\n"]
    text += ["```", done.stdout.strip() or done.stderr.strip(), "```", ""]
    text += ["A full disk, a killed run: `tests/test_bad_input.py`, `tests/test_sample.py`."]
    content = "\n".join(text) + "\n"
    print(content)
    if options.results:
        options.results.write_text(content, "utf-8")
    records = {s: Run(out).counts(s) for s in Run(out).stages()}
    print(json.dumps(records, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
