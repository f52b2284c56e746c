"""When are the words of a training run born: RL-only organisms, whose checkpoints are known, and real training logs.

python experiments/language/growth.py          a minute -> GROWTH.md; browse runs/growth
"""

from pathlib import Path

import numpy as np

from dsl_probe.collect.importer import import_traces
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.mine.stage import mine_motifs
from dsl_probe.share.growth import growth
from dsl_probe.store import Run

HERE = Path(__file__).resolve().parent
LOGS = ("orz_fork_training_logs.parquet", "grpo_training_logs_mit.parquet")


def main() -> None:
    run = Run.create(HERE.parents[1] / "runs" / "growth")
    organisms = [shipped_folder("organisms") / f"growth-{n}.parquet" for n in (0, 1)]
    import_traces(run, [*organisms, *(shipped_folder("traces") / name for name in LOGS)])
    mine_motifs(run)
    growth(run)
    series, events = run.frame("growth"), run.frame("growth_events")
    lines = [
        "# Growth over training",
        "",
        "Made by `python experiments/language/growth.py`. Shares of traces that hold a unit or motif, before and after "
        "the step where they change most; p_adj: the largest change of any item when steps are dealt to the traces "
        "at random (199 dealings). Births and deaths: the lower share is below .05.",
        "",
        "| training run | traces at | units and motifs | births | rises | falls | deaths | strongest rises (from step) "
        "| strongest falls and deaths |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for training in sorted(events["run"].unique()):
        own = events[events["run"] == training]
        sure = own[own["p_adj"] <= 0.05].sort_values("g2", ascending=False)
        kinds = sure["change"].value_counts()
        up, down = sure[sure["change"].isin(["birth", "rise"])], sure[sure["change"].isin(["fall", "death"])]
        steps = series[series["run"] == training]["step"].nunique()
        lines.append(
            f"| {training} | {steps} steps | {len(own):,} | "
            + " | ".join(str(kinds.get(k, 0)) for k in ("birth", "rise", "fall", "death"))
            + f" | {_listed(up)} | {_listed(down)} |"
        )
    lines += ["", "## Openers", ""]
    lines += [
        "| training run | opener that is most common at the end | share of traces, first step to last |",
        "|---|---|---|",
    ]
    openers = series[series["kind"] == "opener"]
    for training in sorted(openers["run"].unique()):
        own = openers[openers["run"] == training].sort_values("step")
        chosen = own.iloc[np.unique(np.linspace(0, len(own) - 1, 6).round().astype(int))]
        shares = ", ".join(f"{r.step}: {r.value:.2f} [{r.ci_low:.2f}, {r.ci_high:.2f}]" for r in chosen.itertuples())
        lines.append(f"| {training} | `{_safe(own['text'].iloc[0])}` | {shares} |")
    (HERE / "GROWTH.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _listed(events) -> str:
    return ", ".join(
        f"`{_safe(e.text)}` {e.share_before:.2f} to {e.share_after:.2f} ({e.step})" for e in events.head(6).itertuples()
    )


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")[:60]


if __name__ == "__main__":
    main()
