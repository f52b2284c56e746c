"""Does a grammar explain what real GRPO models write better than a Markov model does?

    python experiments/language/real.py [RUN]        about ten minutes -> REAL.md; RUN: runs/real, made by `make demo`

Each domain of a model with 300 traces or more; what held-out bits are is said in dsl_probe/mine/heldout.py.
"""

import sys
from collections import Counter
from pathlib import Path

from dsl_probe.mine.language import LanguageConfig, learn_language, read_grammar
from dsl_probe.store import Run

HERE = Path(__file__).resolve().parent
MODELS = (
    "Qwen/Qwen2.5-3B-Instruct",
    "Qwen2.5-3B-Instruct+GRPO(RG-games)",
    "Qwen2.5-3B-Instruct+GRPO(RG-logic)",
    "starzmustdie/Qwen-2.5-3B-rlft",
    "SmolLM2 (see repo) + GRPO (R1-Zero recipe)",
    "Qwen/Qwen2.5-3B-Instruct + GRPO (R1-Zero recipe)",
)
LEAST = 300


def main() -> None:
    run = Run(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / "runs" / "real")
    traces = run.traces(["model", "domain"])
    lines = [
        "# Real models: is it a language beyond what a Markov model explains?",
        "",
        "Made by `python experiments/language/real.py` from the shipped traces. Bits a unit on held-out problems; "
        "differences with 95 % intervals by problem, below 0: explains more. Domains with "
        f"{LEAST} traces or more, at most 60,000 units of each. `shuffled`: the same with the units of each trace in "
        "random order, where there is no order to explain: what `both` gains there is that units come again within a "
        "trace.",
        "",
        "| model | domain | traces | Markov (order) | grammar | grammar less Markov | both less Markov | shuffled: the "
        "same | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    verdicts: Counter[str] = Counter()
    for number, model in enumerate(MODELS):
        sizes = traces.loc[traces["model"] == model, "domain"].value_counts()
        for domain in sorted(sizes[sizes >= LEAST].index):
            group = f"model={model},domain={domain}"
            config = LanguageConfig(group=group, max_units=60_000, name=f"held-out-{number}-{domain.replace('_', '-')}")
            learn_language(run, config)
            grammar = read_grammar(run, config.name or "")[domain]
            bits, verdict = grammar.get("bits"), grammar["verdict"].partition(":")[0]
            verdicts[verdict] += 1
            if bits is None:
                lines.append(f"| {model} | {domain} | {grammar['traces']:,} | | | | | | {verdict} |")
                continue
            lines.append(
                f"| {model} | {domain} | {grammar['traces']:,} | {bits['markov']:.3f} ({bits['markov_order']}) | "
                f"{bits['grammar']:.3f} | {_interval(bits['difference'])} | {_interval(bits['difference_both'])} | "
                f"{_interval(bits['shuffled']['difference_both'])} | {verdict} |"
            )
    lines += ["", "Verdicts: " + ", ".join(f"{n} {v}" for v, n in sorted(verdicts.items())) + "."]
    (HERE / "REAL.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _interval(three: list[float]) -> str:
    return f"{three[0]:+.3f} [{three[1]:+.3f}, {three[2]:+.3f}]"


if __name__ == "__main__":
    main()
