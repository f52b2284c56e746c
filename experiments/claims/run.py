"""What the runs of the demo say to the claims that the design sets out to test, from their files -> CLAIMS.md

python experiments/claims/run.py [RUN ...]        RUN: runs/demo and runs/real, made by `make demo`; seconds
"""

import sys
from pathlib import Path

from dsl_probe.groups import short
from dsl_probe.share.claims.verdicts import SUPPORTED, UNDECIDED, Claim
from dsl_probe.share.comparison import Comparison
from dsl_probe.store import Run

HERE = Path(__file__).resolve().parent
MARKS = {SUPPORTED: "**supported**", UNDECIDED: "undecided"}


def main() -> None:
    paths = sys.argv[1:] or [HERE.parents[1] / "runs" / name for name in ("demo", "real")]
    lines = ["# The claims, judged", "", "Made by `python experiments/claims/run.py`. How to read it: README.md.", ""]
    for path in paths:
        run = Run(path)
        done = [Comparison(run, id) for id in run.comparisons()]
        lines += [f"## {run.identity['name']}", "", *table(done), "", *readings(done), ""]
    (HERE / "CLAIMS.md").write_text("\n".join(lines).rstrip() + "\n", "utf-8")


def table(done: list[Comparison]) -> list[str]:
    """Verdict by claim and comparison."""
    columns = [f"{c.id}: {short(c.config.a)} against {short(c.config.b)}" for c in done]
    made = ["| claim | " + " | ".join(columns) + " |", "|---" * (len(done) + 1) + "|"]
    for row in zip(*(c.claims for c in done), strict=True):
        made.append(f"| {row[0].claim} | " + " | ".join(cell(claim) for claim in row) + " |")
    return made


def cell(claim: Claim) -> str:
    """Verdict, and the main measure where there is one."""
    verdict = MARKS.get(claim.verdict, f"**{claim.verdict}**")
    if claim.value is None:
        return verdict
    found = f"{claim.value:g}"
    if claim.ci_low is not None:
        found = f"{claim.value:+.3f} [{claim.ci_low:+.3f}, {claim.ci_high:+.3f}]"
    return f"{verdict}; {claim.effect}: {found}, n {claim.n:,}"


def readings(done: list[Comparison]) -> list[str]:
    """What each verdict rests on, and what threatens it; claims that lack a group of some regime, in one line."""
    made = []
    for c in done:
        made += [f"### {c.id}", ""]
        lacking = [claim for claim in c.claims if claim.reading.startswith("No group of this comparison")]
        for claim in c.claims:
            if claim not in lacking:
                made.append(f"- *{claim.verdict}*: {claim.claim} {claim.reading}")
                made += [f"  - {threat}" for threat in claim.threats if claim.value is not None]
        if lacking:
            ids = ", ".join(claim.id for claim in lacking)
            made.append(f"- *undecided*, for want of a group: {ids}. {lacking[0].reading}")
        made.append("")
    return made


if __name__ == "__main__":
    main()
