"""Verify the shipped real traces again, and compare with the `correct` that their sources stored.

python experiments/verify/agreement.py                writes RESULTS.md beside this file (about four minutes, two cores)
python experiments/verify/agreement.py --limit 100    a quick look: the first 100 traces of each set, printed only
"""

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dsl_probe.collect.domains import countdown, gym, math
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.collect.verify import Verdict, boxed, plain, verify_exact
from dsl_probe.types import Problem

Row = dict[str, Any]
FILES = {
    "reasoning_gym_qwen3b": "reasoning-gym tasks",
    "reasoning_gym_math_evals": "ten math benchmarks",
    "orz_fork_training_logs": "ORZ math 57k",
    "orz_fork_training_logs, by its source's rule": "the same rows",
    "olmo_rl_zero_math500": "MATH-500, hard tail",
    "grpo_training_logs_mit": "countdown (570 + 1 of 2,221 rows have a label)",
    "tom_rl": "Hi-ToM",
}
HERE = Path(__file__).parent


def judge_gym(row: Row) -> Verdict | None:
    """By the dataset's own scorer where this reasoning-gym makes the same item again; None where it does not."""
    name, seed, index = re.fullmatch(r"(\w+)/seed(\d+)/(\d+)", row["problem_id"]).groups()
    meta = {"dataset": name, "seed": int(seed), "size": 1000, "index": int(index)}
    problem = Problem(row["problem_id"], f"gym:{name}", row["prompt"], row["reference"], meta)
    verdict = gym.verify(problem, row["response"])
    return None if "makes another item" in verdict.reason or "no such dataset" in verdict.reason else verdict


def judge_math(row: Row) -> Verdict | None:
    if not row["reference"].strip():
        return None
    # The ORZ logs write their references with every backslash doubled.
    target = row["reference"].replace("\\\\", "\\")
    return math.verify(Problem(row["trace_id"], "math", row["prompt"], target), row["response"])


def judge_countdown(row: Row) -> Verdict | None:
    found = re.fullmatch(r"target=(-?\d+); numbers=(\[[\d, ]+\])", row["reference"])
    if not found:
        return None
    meta = {"target": int(found[1]), "numbers": json.loads(found[2]), "use_all": True}
    return countdown.verify(Problem(row["trace_id"], "countdown", "", found[1], meta), row["response"])


def judge_text(row: Row) -> Verdict:
    return verify_exact(row["reference"], row["response"])


def judge_orz_rule(row: Row) -> Verdict:
    """What the ORZ logs' own labels turn out to be: near-equal text in an <answer> tag that closes.

    "135 degrees" is wrong there where 135^\\circ is wanted, and so are a box without the tag and 18.75 for 75/4.
    """

    def canonical(text: str) -> str:
        text = re.sub(r"^([A-Za-z]{1,2})=", "", plain(text.replace("°", "deg")))
        return re.sub(r"^(-?\d+)/(\d+)$", r"\\frac{\1}{\2}", text)

    contents = re.findall(r"<answer>(.*?)</answer>", row["response"], re.DOTALL)
    answer = contents[-1].strip() if contents else ""
    answer = (boxed(answer) or [answer])[-1]
    same = bool(answer) and canonical(answer) == canonical(row["reference"].replace("\\\\", "\\"))
    return Verdict(answer or None, same, "text in a closed tag")


JUDGES: dict[str, Callable[[Row], Verdict | None]] = {
    "reasoning_gym_qwen3b": judge_gym,
    "grpo_training_logs_mit": judge_countdown,
    "tom_rl": judge_text,
    "orz_fork_training_logs, by its source's rule": judge_orz_rule,
}


def judged(file: str, rows: list[Row]) -> list[tuple[Row, Verdict | None]]:
    """The rows with a stored label, and our verdict on each (None: our verifier does not apply)."""
    judge = JUDGES.get(file, judge_math)
    return [(row, judge(row)) for row in rows]


def read(file: str, limit: int | None) -> list[Row]:
    rows = pq.read_table(shipped_folder("traces") / f"{file.partition(',')[0]}.parquet").to_pylist()
    return [row for row in rows if row["correct"] is not None][:limit]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--limit", type=int)
    arguments.add_argument("--only", choices=list(FILES))
    options = arguments.parse_args()
    results: dict[str, list[tuple[Row, Verdict | None]]] = {}
    with ProcessPoolExecutor(2) as pool:
        for file in [options.only] if options.only else FILES:
            rows = read(file, options.limit)
            rows.sort(key=lambda row: row["problem_id"] or "")
            parts = [rows[i : i + 100] for i in range(0, len(rows), 100)]
            results[file] = [pair for part in pool.map(partial(judged, file), parts) for pair in part]
            print(file, len(rows), file=sys.stderr)
    text = report(results)
    if options.limit or options.only:
        print(text)
    else:
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")


def kind(row: Row, verdict: Verdict) -> str:
    """A disagreement's reason, without what differs from trace to trace."""
    side = "stored right, ours wrong" if row["correct"] else "stored wrong, ours right"
    if verdict.correct is None:
        side = f"stored {'right' if row['correct'] else 'wrong'}, ours undecided"
    return f"{side}: {re.sub(r'[0-9.]+', 'N', verdict.reason)[:120]}"


def report(results: dict[str, list[tuple[Row, Verdict | None]]]) -> str:
    """The agreement table and every disagreement, counted by reason, with examples."""
    lines = ["# Agreement of the verifiers with the labels of the shipped traces", ""]
    lines += ["| set | task | labelled | applies | agree | agreement |", "|---|---|---:|---:|---:|---:|"]
    details = []
    for file, pairs in results.items():
        kept = [(row, verdict) for row, verdict in pairs if verdict is not None]
        agree = sum(verdict.correct == row["correct"] for row, verdict in kept)
        share = f"{100 * agree / len(kept):.2f} %" if kept else "-"
        lines.append(f"| {file} | {FILES[file]} | {len(pairs):,} | {len(kept):,} | {agree:,} | {share} |")
        by_kind = defaultdict(list)
        for row, verdict in kept:
            if verdict.correct != row["correct"]:
                by_kind[kind(row, verdict)].append((row, verdict))
        details += ["", f"## {file}", ""]
        if left := Counter(row["task"] for row, verdict in pairs if verdict is None):
            details += [f"Does not apply: {', '.join(f'{task} {n}' for task, n in left.most_common())}.", ""]
        wrong = Counter(row["task"] for row, verdict in kept if verdict.correct != row["correct"])
        details += [f"Disagreements by task: {', '.join(f'{t} {n}' for t, n in wrong.most_common()) or 'none'}.", ""]
        for reason, cases in sorted(by_kind.items(), key=lambda item: -len(item[1])):
            details.append(f"- **{len(cases)}** {reason}")
            for row, verdict in cases[:3]:
                shown = [_short(x) for x in (row["reference"], row["answer"], verdict.answer)]
                details.append(
                    f"  - `{row['trace_id']}` reference `{shown[0]}`, stored `{shown[1]}`, ours `{shown[2]}`"
                )
    return "\n".join(lines + details) + "\n"


def _short(text: str | None) -> str:
    text = " ".join(str(text).split()).replace("`", "'")
    return text if len(text) <= 80 else f"{text[:50]} .. {text[-25:]}"


if __name__ == "__main__":
    main()
