"""What runs/demo shows, as the README's paragraph and table.

    python experiments/first_look/readme.py runs/demo [README.md]

Prints the text; with a file, also puts it between the file's markers `<!-- findings -->` and `<!-- /findings -->`.
Everything follows from the tables of the run, by rule: no motif is chosen by hand.
"""

import sys
from pathlib import Path

from dsl_probe.demo import LIMITS, START, TRAINED
from dsl_probe.groups import short
from dsl_probe.share.compare import Comparison
from dsl_probe.share.findings import representatives
from dsl_probe.store import Run


def examples(found, column: str, ascending: bool, top: int = 3) -> str:
    """The motifs whose interval of the log-odds lies farthest from zero, in code spans."""
    names = representatives(found.sort_values(column, ascending=ascending).text.tolist(), top)
    shown = (n.replace("`", "'").replace("|", "\\|") for n in names)
    return ", ".join(f"`{n}`" for n in shown) or "none"


def interval(three) -> str:
    """Estimate and 95 % interval."""
    return f"{three[0]:+.3f} [{three[1]:+.3f}, {three[2]:+.3f}]" if three else "unknown"


def rows(c: Comparison):
    """One table row a domain of a comparison."""
    domains = [d for d, design in c.result.domains.items() if d != "all" and not design.startswith("not")]
    for domain in domains:
        found = c.discoveries(domain if len(domains) > 1 else "all")
        family = domain if len(domains) > 1 else "all"
        tested = c.table[(c.table.domain == family) & (c.table.matched == "equal units")]
        up, down = found[found.z > 0], found[found.z < 0]
        yield (
            f"| {short(c.config.a).removeprefix('Qwen2.5-3B-Instruct+')} | {domain} | {len(up)} / {len(down)} of "
            f"{len(tested):,} | {examples(up, 'ci_low', False)} | {examples(down, 'ci_high', True)} |"
        )


def text(run: Run) -> str:
    """The whole section, in Markdown."""
    imported, mined = (run.counts(s) for s in ("import", "mine"))
    comparisons = [Comparison(run, name) for name in TRAINED.values()]
    lengths = [c.result.units_a / c.result.units_b for c in comparisons]
    told = [c for c in comparisons if c.result.accuracy_difference[1] > 0]
    either, other = ([c for c in comparisons if getattr(c.result, f"discoveries_{s}")] for s in "ab")
    shared = [c for c in comparisons if c.result.sharing_difference]
    lines = [
        f"{imported['traces']:,} traces hold {mined['units']:,} units and {mined['motifs']:,} closed motifs (in at "
        f"least 20 traces and 10 problems). Each of {len(comparisons)} GRPO fine-tunes of {short(f'model={START}')} "
        f"was compared with that start model **on the same prompts, at equal units of text**, leaving out problems "
        f"in which either wrote fewer than 20 units. They write {min(lengths):.2f} to {max(lengths):.2f} times as "
        f"much as it does. Motifs are over-represented (family-wise p <= .05, permutation by problem) in "
        f"{len(either)} of the {len(comparisons)} fine-tunes, and in their start model against {len(other)} of them. "
        f"The interval of the difference in accuracy lies above zero for {len(told)}: "
        + "; ".join(f"{c.id} {interval(c.result.accuracy_difference)}" for c in told)
        + ".",
        "",
        "| fine-tune | domain | motifs over-represented in it / in its start model, of those tested | strongest in it "
        "| strongest in its start model |",
        "|---|---|---|---|---|",
        *(row for c in comparisons for row in rows(c)),
        "",
    ]
    for c in shared:
        means = [
            c.sharing[(c.sharing.measure == "morisita_horn") & (c.sharing.group == g)].value.mean()
            for g in (c.config.a, c.config.b)
        ]
        lines += [
            f"Sharing can be compared where a fine-tune answered several domains ({c.id}): the mean Morisita-Horn "
            f"similarity of word counts between domains is {means[0]:.3f} for it and {means[1]:.3f} for the start "
            f"model, difference {interval(c.result.sharing_difference)}. The most frequent words rule that index.",
            "",
        ]
    return "\n".join([*lines, f"**Limits.** {LIMITS}"])


def main() -> None:
    content = text(Run(sys.argv[1]))
    print(content)
    if len(sys.argv) > 2:
        path = Path(sys.argv[2])
        before, _, rest = path.read_text("utf-8").partition("<!-- findings -->\n")
        _, marker, after = rest.partition("<!-- /findings -->")
        if not marker:
            raise SystemExit(f"{path} has no markers <!-- findings --> and <!-- /findings -->")
        path.write_text(f"{before}<!-- findings -->\n{content}\n{marker}{after}", "utf-8")


if __name__ == "__main__":
    main()
