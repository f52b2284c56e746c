"""When do words come up over RL? The growth stage on logs of two organisms and of real training runs, and on nulls.

    python experiments/language/growth.py          about three minutes on a CPU -> GROWTH.md

Organisms: data/organisms/growth-0 and -1, 15 checkpoints of two reinforced models, the same 250 problems at each. The
words that come up are set beside the vocabulary that made the organisms, which the tool does not see. Real logs: the
rollouts of data/traces that carry a step or a place in training. Null: the same traces, the steps dealt anew to the
traces of each problem (organisms) or to all traces of a training run (real logs).
"""

import random
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsl_probe.collect.importer import import_traces, normalise
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.share.growth import GrowthConfig, growth
from dsl_probe.store import Run
from dsl_probe.types import TRACES

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "organisms"))
from dialects import HUMAN, NONCES  # noqa: E402
from tables import number, table, triple  # noqa: E402
from units import TRAINED  # noqa: E402
from vocabulary import DIALECT, connectives, kind_of  # noqa: E402

RUNS = HERE.parents[1] / "runs"
NULLS, SHOWN = 5, 14


def organisms() -> list[dict[str, Any]]:
    """The traces of both lineages."""
    folder = shipped_folder("organisms")
    return [row for k in (0, 1) for row in pq.read_table(folder / f"growth-{k}.parquet").to_pylist()]


def logs(name: str) -> list[dict[str, Any]]:
    """A file of real training logs, with the step of each row; rows that hold the prompt in their text left out."""
    found = []
    for raw in pq.read_table(shipped_folder("traces") / f"{name}.parquet").to_pylist():
        row = normalise(raw, {})
        if row["step"] is None:
            row |= {"run": row["model"], "step": round(100 * raw["train_position"])}
        if not row["text"].startswith("Prompt:"):
            found.append(row)
    return found


def exchanged(rows: list[dict[str, Any]], seed: int, within_problem: bool) -> list[dict[str, Any]]:
    """The same rows, their steps dealt anew."""
    rng = random.Random(seed)
    groups: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[(row["run"], row["problem_id"] if within_problem else None)].append(i)
    steps = [row["step"] for row in rows]
    for members in groups.values():
        dealt = [steps[i] for i in members]
        rng.shuffle(dealt)
        for i, step in zip(members, dealt, strict=True):
            steps[i] = step
    return [row | {"step": step} for row, step in zip(rows, steps, strict=True)]


def grown(name: str, rows: list[dict[str, Any]], config: MineConfig) -> tuple[Run, Any, float]:
    """The rows imported, mined and followed over their steps; and the seconds of the growth stage."""
    folder = RUNS / f"growth-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    source = RUNS / f"growth-{name}.parquet"
    source.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=TRACES), source)
    run = Run.create(folder)
    import_traces(run, [source])
    mine_motifs(run, config, executor="process:1")
    start = time.perf_counter()
    result = growth(run)
    return run, result, time.perf_counter() - start


def kind(word: str) -> str:
    """What the makers of the organisms know of a word."""
    if word in NONCES:
        return "nonce"
    return "human dialect" if word in DIALECT or word in HUMAN else "other"


def nonce_share(rows: list[dict[str, Any]], run: str, step: int) -> float:
    """Share of nonces among the connectives of a checkpoint over the four worlds of training, as their makers count."""
    part = [r for r in rows if r["run"] == run and r["step"] == step and r["domain"] in TRAINED]
    kinds = [kind_of(r["domain"], word) for r in part for word in connectives(r["domain"], r["text"])]
    return kinds.count("nonce") / len(kinds)


def deaths(run: Run, name: str) -> str:
    """The items of a training run that died."""
    events = run.table("growth_events").to_pylist()
    dead = sorted(
        (e for e in events if e["run"] == name and e["death"] is not None), key=lambda e: (e["death"], e["text"])
    )
    if not dead:
        return "Dead: none."
    told = [f"`{e['text'][:40]}` ({number(e['highest'])} to {number(e['last'])}) at {e['death']}" for e in dead[:SHOWN]]
    return f"Dead: {', '.join(told)}{f' and {len(dead) - SHOWN} more' if len(dead) > SHOWN else ''}."


def births(run: Run, name: str, limit: int, kinds: tuple[str, ...], at: tuple[int, ...] = ()) -> str:
    """The items of a training run that were born, those that grew most first; with their shares at some steps."""
    events = [e for e in run.table("growth_events").to_pylist() if e["run"] == name and e["kind"] in kinds]
    born = sorted((e for e in events if e["birth"] is not None), key=lambda e: -e["growth"])[:limit]
    shares = {(r["id"], r["step"]): r for r in run.table("growth").to_pylist() if r["run"] == name}
    heads = ["item", "kind", "first", *(f"step {s}" for s in at), "last", "last less first", "birth", "change", "p_adj"]
    rows = []
    for e in born:
        path = [number(shares[e["id"], s]["value"]) for s in at]
        grew = triple((e["growth"], e["ci_low"], e["ci_high"]), sign=True)
        rows.append(
            [
                f"`{e['text'][:40]}`",
                e["kind"],
                number(e["first"]),
                *path,
                number(e["last"]),
                grew,
                str(e["birth"]),
                str(e["change"]),
                number(e["p_adj"], 3),
            ]
        )
    return table(heads, rows) if rows else "None."


def by_step(run: Run, name: str, every: int = 1) -> str:
    """Figures of each step."""
    cells: dict[int, dict[str, Any]] = defaultdict(dict)
    for r in run.table("growth").to_pylist():
        if r["run"] == name and (r["kind"] in ("lexicon", "sharing") or r["id"] == "top"):
            cells[r["step"]][r["id"]] = r
    rows = []
    for step in sorted(cells)[::every]:
        parts = [cells[step].get(key) for key in ("top", "vocabulary", "morisita_horn")]
        shown = [
            "–" if p is None else triple((p["value"], p["ci_low"], p["ci_high"]), digits)
            for p, digits in zip(parts, (2, 0, 2), strict=True)
        ]
        rows.append([str(step), str(parts[0]["n"]), f"`{parts[0]['text']}` {shown[0]}", *shown[1:]])
    words = next(c["vocabulary"]["text"] for c in cells.values())
    return table(("step", "traces", "most common opener", words, "sharing between domains"), rows)


def null_counts(name: str, rows: list[dict[str, Any]], config: MineConfig, within: bool) -> str:
    """How often the dealt steps give any birth, death or change."""
    found = [grown(f"{name}-null", exchanged(rows, seed, within), config)[1] for seed in range(NULLS)]
    born, died, changed = (sum(getattr(r, what) for r in found) for what in ("born", "died", "changed"))
    families = NULLS * found[0].runs
    return (
        f"Steps dealt anew {NULLS} times, {families} families of items ({found[0].items:,} items a time): in all "
        f"{born} born, {died} dead, {changed} changed. At a level of .05, {0.05 * families:.1f} families are expected "
        "to hold any, of each of the three."
    )


def organism_part() -> list[str]:
    rows, config = organisms(), MineConfig()
    run, result, seconds = grown("organisms", rows, config)
    parts = [
        "## Reinforced organisms",
        "",
        f"{result.traces:,} traces, {result.items} items, {seconds:.1f} s. Share of the traces that hold a word.",
    ]
    for lineage in (0, 1):
        name = f"rl-only-lineage{lineage}"
        events = [e for e in run.table("growth_events").to_pylist() if e["run"] == name and e["kind"] == "unit"]
        born, died = ([e for e in events if e[what] is not None] for what in ("birth", "death"))
        told = [
            f"{what}: {len(found)} words, of which {sum(kind(e['text']) == right for e in found)} are {label}"
            for what, found, right, label in (
                ("born", born, "nonce", f"nonces ({len(NONCES)} exist)"),
                ("dead", died, "human dialect", "words of the human dialects"),
            )
        ]
        early = sum(e["birth"] <= 5 for e in born)
        late = sorted(e["change"] for e in born)
        parts += [
            "",
            f"### Lineage {lineage}",
            "",
            f"{'; '.join(told)}. Births at step 5 or before: {early} of {len(born)}; change points of the words born: "
            f"steps {late[0]} to {late[-1]}, median {late[len(late) // 2]}. As the makers count, nonces are "
            f"{number(nonce_share(rows, name, 0))} of the connectives at step 0, "
            f"{number(nonce_share(rows, name, 5))} at 5.",
            "",
            births(run, name, SHOWN, ("unit",), (2, 5, 10, 20)),
            "",
            deaths(run, name),
            "",
            by_step(run, name),
        ]
    return [*parts, "", null_counts("organisms", rows, config, True)]


def log_part(title: str, name: str, config: MineConfig) -> list[str]:
    rows = logs(name)
    run, result, seconds = grown(name, rows, config)
    parts = [
        f"## {title}",
        "",
        f"{result.traces:,} traces of {result.runs} training runs, {result.items:,} items, {seconds:.1f} s; "
        f"{result.born} births, {result.died} deaths, {result.changed} changes; {result.left_out} runs too short.",
    ]
    for of in sorted({r["run"] for r in run.table("growth", ["run"]).to_pylist()}):
        parts += ["", f"### {of}", "", births(run, of, SHOWN, ("opener", "unit", "motif")), "", deaths(run, of)]
        parts += ["", by_step(run, of, 1 if name.startswith("orz") else 4)]
    return [*parts, "", null_counts(name, rows, config, False)]


def main() -> None:
    text = [
        "# How a language comes up over RL",
        "",
        "Made by `python experiments/language/growth.py`. Births, changes and deaths at an adjusted p of .05 over all "
        f"items of a training run ({GrowthConfig().permutations} permutations; the least p is .002).",
        "",
        "Limits: a birth is a fact of one training run. In the real logs problems differ between steps, so a word can "
        "come up with its topic, and a step of 20 traces shows a share to about .2 either way: silence there is no "
        "evidence of no growth. The name of an ORZ run stands for several runs of one recipe, whose steps are pooled; "
        "the rewards and prompts of all real runs are as their sources tell. Rows of the GRPO logs whose text begins "
        "with the prompt are left out; the rest name no problem, so that each trace is its own cluster and a question "
        "that was asked often at one time looks like growth (the molecules among the dead).",
        "",
        *organism_part(),
        "",
        *log_part("Real logs: PPO from base models (orz_fork_training_logs)", "orz_fork_training_logs", MineConfig()),
        "",
        *log_part("Real logs: GRPO (grpo_training_logs_mit)", "grpo_training_logs_mit", MineConfig()),
    ]
    (HERE / "GROWTH.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
