"""What runs/demo and runs/real show, as the paragraphs and tables of docs/findings.md.

    python experiments/first_look/findings.py runs/demo runs/real [docs/findings.md]

Prints the text; with a file, also puts it between the file's markers `<!-- findings -->` and `<!-- /findings -->`.
Everything follows from the tables of the runs, by rule: no motif is chosen by hand.
"""

import sys
from pathlib import Path

from dsl_probe.demo import LIMITS, ORGANISM_LIMITS, PAIRS, START, TRAINED
from dsl_probe.groups import short
from dsl_probe.share.comparison import Comparison
from dsl_probe.share.findings import by_themselves
from dsl_probe.store import Run


def examples(found, column: str, ascending: bool, top: int = 3) -> str:
    """The motifs whose interval of the log-odds lies farthest from zero, in code spans."""
    names = by_themselves(found).sort_values(column, ascending=ascending).text.head(top)
    shown = (n.replace("`", "'").replace("|", "\\|") for n in names)
    return ", ".join(f"`{n}`" for n in shown) or "none"


def interval(three) -> str:
    """Estimate and 95 % interval."""
    return f"{three[0]:+.3f} [{three[1]:+.3f}, {three[2]:+.3f}]" if three else "unknown"


def by_problem(values, problem) -> str:
    """Mean, and its normal interval from the means of the problems."""
    means = values.groupby(problem).mean()
    half = 1.96 * means.std() / len(means) ** 0.5
    return f"{means.mean():.3f} [{max(0, means.mean() - half):.3f}, {min(1, means.mean() + half):.3f}]"


def rows(c: Comparison, name: str):
    """One table row a domain of a comparison."""
    domains = [d for d, design in c.result.domains.items() if d != "all" and not design.startswith("not")]
    for domain in domains:
        found = c.discoveries(domain if len(domains) > 1 else "all")
        family = domain if len(domains) > 1 else "all"
        pair = (c.table.a == c.config.a) & (c.table.b == c.config.b)
        tested = c.table[pair & (c.table.domain == family) & (c.table.matched == "equal units")]
        up, down = found[found.z > 0], found[found.z < 0]
        alone = f"{len(by_themselves(up))} / {len(by_themselves(down))}"
        strongest = f"{examples(up, 'ci_low', False)} | {examples(down, 'ci_high', True)}"
        yield f"| {name} | {domain} | {len(up)} / {len(down)} of {len(tested):,} | {alone} | {strongest} |"


def organisms(run: Run) -> str:
    """The half on model organisms, in Markdown: models, then their comparisons by domain."""
    facts = run.traces(["model", "problem_id", "correct", "token_ids"])
    facts["tokens"] = facts.token_ids.map(len)
    comparisons = [Comparison(run, name) for name in PAIRS]
    states = sum(run.counts(s)["rows"] for s in run.stages() if s.startswith("capture."))
    lines = [
        f"**Model organisms** (RL-only against SFT, grown from one base; {len(facts):,} traces, {states:,} captured "
        f"states a layer, {run.counts('mine')['motifs']:,} motifs):",
        "",
        "| model | accuracy at temperature 1, 95 % interval by problem | tokens a trace |",
        "|---|---|---|",
        *(
            f"| {model} | {by_problem(part.correct.astype(float), part.problem_id)} | {part.tokens.mean():.1f} |"
            for model, part in facts.groupby("model", sort=False)
        ),
        "",
        "| A against B | domain | motifs over-represented in A / in B, of those tested | of them by themselves "
        "| strongest in A | strongest in B |",
        "|---|---|---|---|---|---|",
        *(row for c in comparisons for row in rows(c, c.id.replace("-vs-", " against "))),
        "",
    ]
    for c in comparisons[:1]:
        where = "of all words but the names of states, over five domains, one of which (walk) no fine-tuning saw"
        lines += [shared(c, where), ""]
    return "\n".join([*lines, f"**What this can and cannot show.** {ORGANISM_LIMITS}"])


def shared(c: Comparison, where: str) -> str:
    """The sentence on sharing between domains."""
    a, b = (
        c.sharing[(c.sharing.measure == "morisita_horn") & (c.sharing.group == g)].value.mean()
        for g in (c.config.a, c.config.b)
    )
    return (
        f"Sharing {where}: the mean Morisita-Horn similarity of word counts between domains is {a:.3f} for "
        f"{short(c.config.a)} and {b:.3f} for {short(c.config.b)}, difference {interval(c.result.sharing_difference)}. "
        f"The most frequent words rule that index."
    )


def real(run: Run) -> str:
    """The half on real models, in Markdown."""
    imported, mined = (run.counts(s) for s in ("import", "mine"))
    comparisons = [Comparison(run, name) for name in TRAINED.values()]
    lengths = [c.result.units_a / c.result.units_b for c in comparisons]
    told = [c for c in comparisons if c.result.accuracy_difference[1] > 0]
    either, other = ([c for c in comparisons if getattr(c.result, f"discoveries_{s}")] for s in "ab")
    lines = [
        f"**Real models** (GRPO against its start model): {imported['traces']:,} traces hold {mined['units']:,} units "
        f"and {mined['motifs']:,} closed motifs (in at least 20 traces and 10 problems). Each of {len(comparisons)} "
        f"GRPO fine-tunes of {short(f'model={START}')} "
        f"was compared with that start model **on the same prompts, at equal units of text**, leaving out problems "
        f"in which either wrote fewer than 20 units. They write {min(lengths):.2f} to {max(lengths):.2f} times as "
        f"much as it does. Motifs are over-represented (family-wise p <= .05, permutation by problem) in "
        f"{len(either)} of the {len(comparisons)} fine-tunes, and in their start model against {len(other)} of them. "
        f"The interval of the difference in accuracy lies above zero for {len(told)}: "
        + "; ".join(f"{c.id} {interval(c.result.accuracy_difference)}" for c in told)
        + ".",
        "",
        "| fine-tune | domain | motifs over-represented in it / in its start model, of those tested "
        "| of them by themselves | strongest in it | strongest in its start model |",
        "|---|---|---|---|---|---|",
        *(row for c in comparisons for row in rows(c, short(c.config.a).removeprefix("Qwen2.5-3B-Instruct+"))),
        "",
    ]
    for c in comparisons:
        if c.result.sharing_difference:
            lines += [shared(c, f"can be compared where a fine-tune answered several domains ({c.id})"), ""]
    return "\n".join([*lines, f"**What this can and cannot show.** {LIMITS}"])


def main() -> None:
    demo, of_real = (Run(path) for path in sys.argv[1:3])
    content = f"{organisms(demo)}\n\n{real(of_real)}"
    print(content)
    if len(sys.argv) > 3:
        path = Path(sys.argv[3])
        before, _, rest = path.read_text("utf-8").partition("<!-- findings -->\n")
        _, marker, after = rest.partition("<!-- /findings -->")
        if not marker:
            raise SystemExit(f"{path} has no markers <!-- findings --> and <!-- /findings -->")
        path.write_text(f"{before}<!-- findings -->\n{content}\n{marker}{after}", "utf-8")


if __name__ == "__main__":
    main()
