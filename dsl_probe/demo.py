"""The demo: every GRPO model among the shipped traces against its own start model, on the same prompts."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsl_probe.collect.shipped import shipped_folder

START = "Qwen/Qwen2.5-3B-Instruct"
# Model -> name of its comparison. All were trained from START and answered the same prompts.
TRAINED = {
    "Qwen2.5-3B-Instruct+GRPO(RG-games)": "games",
    "Qwen2.5-3B-Instruct+GRPO(RG-algebra)": "algebra",
    "Qwen2.5-3B-Instruct+GRPO(RG-algorithmic)": "algorithmic",
    "Qwen2.5-3B-Instruct+GRPO(RG-logic)": "logic",
    "starzmustdie/Qwen-2.5-3B-rlft": "rlft",
    "Qwen2.5-3B-Instruct+GRPO(RG-cognition,intra)": "cognition-intra",
    "Qwen2.5-3B-Instruct+GRPO(RG-algebra,intra)": "algebra-intra",
    "Qwen2.5-3B-Instruct+GRPO(RG-arithmetic,intra)": "arithmetic-intra",
}
LIMITS = (
    "All of these models start from one instruction-tuned checkpoint, so nothing here tells RL-only from SFT. "
    "A difference is in usage: that a motif is over-represented does not show that it is meaningful, new or "
    "load-bearing. Problems come from few templates, so they are less independent than they count."
)


def run_demo(out: Path, force: bool = False) -> dict[str, Any]:
    """Import, mine and compare; what is done already is kept, unless `force`. Returns counts and findings."""
    from dsl_probe.collect.importer import import_traces
    from dsl_probe.mine.stage import mine_motifs
    from dsl_probe.share.compare import CompareConfig, compare
    from dsl_probe.share.findings import findings
    from dsl_probe.store import Run

    run = Run.create(out)
    imported = import_traces(run, sorted(shipped_folder("traces").glob("*.parquet")), force=force)
    mined = mine_motifs(run, force=force)
    report: dict[str, Any] = {"import": asdict(imported), "mine": asdict(mined), "comparisons": {}}
    for model, name in TRAINED.items():
        print(f"demo: {name}", file=sys.stderr, flush=True)
        start = f"model={START}"
        done = compare(
            run, CompareConfig(a=f"model={model}", b=start, base=start, same_prompt=True, name=name), force=force
        )
        report["comparisons"][name] = {**asdict(done.result), "findings": [f.text for f in findings(done, top=4)]}
    return report


def as_lines(report: dict[str, Any], out: Path) -> list[str]:
    """The report for a person, and how to open the rest."""
    lines = [
        f"{report['import']['traces']:,} traces, {report['mine']['units']:,} units, {report['mine']['motifs']:,} motifs"
    ]
    for name, part in report["comparisons"].items():
        lines += ["", f"{name}", *(f"  {text}" for text in part["findings"])]
    return [
        *lines,
        "",
        f"Limits: {LIMITS}",
        "",
        f"Browse it: make app   (or: streamlit run app/main.py -- --run {out})",
    ]
