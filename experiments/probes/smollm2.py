"""Does SmolLM2-135M hold the result of an equation before it is written, from which layer on, and at which words?

    python experiments/probes/smollm2.py --work runs/probes-smollm2 --out experiments/probes/SMOLLM2.md

SmolLM2 reads texts that others wrote: the solutions of GSM8K test problems (people's), and running sums that are made
here. Asked is the first digit of the true result, out of the state before its first token. Goes on where it stopped.
"""

import argparse
import json
import random
from pathlib import Path

import pandas as pd
from organisms import interval, low, strongest

from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.domains import load_domain
from dsl_probe.collect.importer import import_traces
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.probe.stage import ProbeConfig, probe
from dsl_probe.store import Run

LAYERS = (0, 4, 8, 12, 16, 20, 24, 29)
MOTIFS = ("=", "+", "-", "*", "/", "$", "so", "is", "are", "of", "the", "a total of", "*<NUM>=", "<NUM>=")
READERS = ("smollm2", "smollm2-random")


def make(work: Path, solutions: int, sums: int) -> Run:
    """The run with its captures."""
    run = Run.create(work)
    file = work / "texts.jsonl"
    rows = [
        {
            "trace_id": p.id,
            "problem_id": p.id,
            "domain": "gsm8k",
            "model": "people",
            "prompt": p.prompt,
            "text": solution(p),
        }
        for p in load_domain("gsm8k").problems(0, solutions)
    ]
    rng = random.Random(0)
    for i in range(sums):
        row = {"trace_id": f"sum-{i}", "problem_id": f"sum-{i}", "domain": "countdown", "model": "made"}
        rows.append(row | {"prompt": "Work it out.", "text": running_sum(rng)})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_traces(run, [file])
    mine_motifs(run, MineConfig())
    known = {row["text"] for row in run.table("motifs", ["text"]).to_pylist()}
    motifs = work / "motifs.txt"
    motifs.write_text("".join(f"{text}\n" for text in MOTIFS if text in known))
    for name in READERS:
        config = CaptureConfig(
            model="smollm2", name=name, random=0 if name.endswith("random") else None, layers=LAYERS,
            at=("states", f"motifs:{motifs}"), per_motif=800, device="cpu", compute="float32",
        )  # fmt: skip
        capture_states(run, config)
    return run


def solution(problem) -> str:
    """The written solution without its annotations, the final answer left out."""
    import re

    text = re.sub(r"<<[^>]*>>", "", problem.meta["solution"]).split("####")[0].strip()
    return re.sub(r"(?<=\d)([-+*/=])(?=\$?\d)", r" \1 ", text)


def running_sum(rng: random.Random) -> str:
    """Five steps of addition, subtraction and multiplication, each with its result."""
    now, lines = rng.randint(10, 99), []
    for _ in range(5):
        sign, b = rng.choice("+-*"), rng.randint(2, 49)
        b = rng.randint(2, 9) if sign == "*" else b
        if sign == "-" and b > now:
            sign = "+"
        new = {"+": now + b, "-": now - b, "*": now * b}[sign]
        lines.append(f"{now} {sign} {b} = {new}")
        now = new % 97 + 2
        lines.append(f"take {now}")
    return "\n".join(lines)


def fit(run: Run) -> pd.DataFrame:
    """The table of the probes."""
    ids = {row["text"]: row["motif_id"] for row in run.table("motifs", ["text", "motif_id"]).to_pylist()}
    texts = (run.path / "motifs.txt").read_text().splitlines()
    targets = ("digit", *(f"digit@motifs:{ids[text]}/at" for text in texts))
    config = ProbeConfig(
        targets=targets, acts=("smollm2",), random="smollm2-random", readout_traces=0, name="digit",
        strengths=(1e-4, 1e-3, 1e-2, 1e-1),
    )  # fmt: skip
    probe(run, config)
    return run.table("probes/digit/probes").to_pandas()


def report(run: Run, table: pd.DataFrame) -> str:
    """The result in Markdown."""
    texts = {row["motif_id"]: row["text"] for row in run.table("motifs", ["motif_id", "text"]).to_pylist()}
    count = run.counts("import")["traces"]
    lines = [
        "# SmolLM2-135M: the result before it is written",
        "",
        f"Made by `python experiments/probes/smollm2.py`: {count:,} texts that the model reads (people's solutions of",
        "GSM8K test problems; running sums made here, in the column countdown), states at every fourth layer. AUROC of",
        "the first digit of the next true result, mean over digits, on unseen texts, intervals by text. Seed 0. One",
        "model, one size, texts of others.",
        "",
        "| read at | domain | states | "
        + " | ".join(map(str, LAYERS))
        + " | chosen | strongest control | selectivity |",
        "|---|---|---|" + "---|" * len(LAYERS) + "---|---|---|",
    ]
    for (target, domain), rows in table[table.train == table.test].groupby(["target", "test"]):
        auroc = rows[rows.metric == "auroc"]
        own = auroc[auroc.control == ""]
        if own[own.chosen].empty:
            continue
        by_layer = own[~own.chosen].set_index("layer").value
        chosen, best = own[own.chosen].iloc[0], strongest(auroc)
        more = rows[rows.chosen & (rows.control == "")].set_index("metric").value
        at = "before the result" if target == "digit" else f"“{texts[target.split(':')[1].split('/')[0]]}”"
        mark = (
            "**"
            if low(chosen) > (best.value if best.ci_high is None or best.ci_high != best.ci_high else best.ci_high)
            else ""
        )
        lines.append(
            f"| {at} | {domain} | {chosen.rows} | {' | '.join(f'{by_layer[k]:.2f}' for k in LAYERS)} | "
            f"{mark}{interval(chosen)}{mark} at {chosen.layer:.0f} | {best.control} {interval(best)} | "
            f"{more['selectivity']:.2f} |"
        )
    lines += ["", "Bold: the interval lies above that of the strongest control.", "", "## Transfer", ""]
    lines += ["| layer | gsm8k to sums | sums to gsm8k | mean within | mean across |", "|---|---|---|---|---|"]
    digits = table[(table.target == "digit") & (table.control == "")]
    for layer in LAYERS:
        rows = digits[(digits.layer == layer) & ~digits.chosen]
        cells = []
        for train, test in (("gsm8k", "countdown"), ("countdown", "gsm8k")):
            found = rows[(rows.metric == "auroc") & (rows.train == train) & (rows.test == test)]
            cells.append(interval(found.iloc[0]) if len(found) else "")
        for metric in ("mean within domains", "mean across domains"):
            found = rows[rows.metric == metric]
            cells.append(interval(found.iloc[0]) if len(found) else "")
        lines.append(f"| {layer} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/probes-smollm2"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "SMOLLM2.md")
    parser.add_argument("--solutions", type=int, default=250)
    parser.add_argument("--sums", type=int, default=200)
    given = parser.parse_args()
    run = make(given.work, given.solutions, given.sums)
    text = report(run, fit(run))
    given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
