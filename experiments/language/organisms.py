"""What do the RL-only organisms say that their base does not, by seed, and what the fine-tuned ones?

python experiments/language/organisms.py         two minutes on a CPU -> ORGANISMS.md; browse runs/organisms-language
"""

from itertools import combinations
from pathlib import Path

from dsl_probe.collect.domains.worlds import NAMES as WORLDS
from dsl_probe.collect.importer import import_traces
from dsl_probe.collect.sample import collect
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling
from dsl_probe.mine.language import LanguageConfig, learn_language, read_grammar
from dsl_probe.mine.stage import mine_motifs
from dsl_probe.store import Run

HERE = Path(__file__).resolve().parent
RUNS = HERE.parents[1] / "runs"
TRAINED = ("rl-only", "rl-only-seed1", "rl-only-lp0", "sft", "sft-mixed", "sft-rl")


def main() -> None:
    parts = []
    for name in ("base", *TRAINED):
        part = Run.create(RUNS / f"organisms-language-{name}")
        config = organism_sampling(
            model=str(shipped_folder("organisms") / name),
            name=name,
            domains=WORLDS,
            n=200,
            samples=2,
        )
        collect(part, config)
        parts.append(part.path)
    run = Run.create(RUNS / "organisms-language")
    import_traces(run, parts)
    mine_motifs(run)
    lines = [
        "# The organisms' languages, against their base",
        "",
        "Made by `python experiments/language/organisms.py`: 200 problems of each of five worlds, two samples each at "
        "temperature 1. Words and phrases used at least three times as often as by the base on the same problems; "
        "`exchanged`: how many there are when each problem's traces are dealt to the two at random. Verdicts: whether "
        "the grammar explains held-out traces better than a Markov model, over the five worlds.",
        "",
        "| model | words | phrases | exchanged | strongest words | strongest phrases | supported | undecided | "
        "contradicted |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    words, grammars = {}, {}
    for name in TRAINED:
        found = learn_language(run, LanguageConfig(group=f"model={name}", reference="model=base", name=name))
        table = sorted(run.table(f"languages/{name}/lexicon").to_pylist(), key=lambda r: -r["g2"])
        words[name] = {r["text"] for r in table if r["kind"] == "word"}
        grammars[name] = read_grammar(run, name)
        verdicts = [v.partition(":")[0] for v in found.verdicts.values()]
        strongest = (
            ", ".join(
                f"`{r['text']}` ({r['count']:,}, base {r['reference_count']:,})" for r in table if r["kind"] == kind
            )
            for kind in ("word", "phrase")
        )
        shown = [", ".join(part.split(", `")[:1] + ["`" + p for p in part.split(", `")[1:6]]) for part in strongest]
        lines.append(
            f"| {name} | {found.words} | {found.phrases} | {found.exchanged} | {shown[0]} | {shown[1]} | "
            + " | ".join(str(verdicts.count(v)) for v in ("supported", "undecided", "contradicted"))
            + " |"
        )
    lines += [
        "",
        "How far two of them share their words (words of both / words of either):",
        "",
        "| a | b | shared | of |",
        "|---|---|---|---|",
        *(
            f"| {a} | {b} | {len(words[a] & words[b])} | {len(words[a] | words[b])} |"
            for a, b in combinations(TRAINED, 2)
            if words[a] | words[b]
        ),
        "",
        "## The grammar of chain",
        "",
    ]
    for name in TRAINED:
        rules = sorted(grammars[name]["chain"].get("productions", {}).items(), key=lambda r: (r[0][0] != "S", r[0]))
        text = [f"{rule} -> {right}" for rule, right in rules]
        lines += [f"{name}:", "", "```", *[t[:400] for t in text[:12]], *(["..."] if len(text) > 12 else []), "```", ""]
    (HERE / "ORGANISMS.md").write_text("\n".join(lines).rstrip() + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
