"""The part of a report on one comparison: claims, findings, figures of motifs, sharing and legibility."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.groups import short
from dsl_probe.share.blocks import Block, Heading, Items, Paragraph, Plot, Table, figure_text, interval_text
from dsl_probe.share.comparison import Comparison
from dsl_probe.share.contrast import ALPHA
from dsl_probe.share.figures import Dot, heatmap, intervals, volcano
from dsl_probe.share.findings import findings, representatives, strongest
from dsl_probe.share.report.sources import origin
from dsl_probe.share.report.traces import MOST_ROWS, more
from dsl_probe.store import Run

if TYPE_CHECKING:
    import pandas as pd

_TOP = 12  # motifs of a side in a table and a figure
_SHARES = ("out_of_lexicon", "repetition", "script_mix")  # measures of legibility from 0 to 1


def comparison_section(run: Run, id: str) -> Iterator[Block]:
    """Claims first where there are any, then what was found and its figures."""
    c = Comparison(run, id)
    yield Heading(f"{_name(c.config.a)} (A) against {_name(c.config.b)} (B)")
    yield Paragraph(
        f"Comparison {id}: A is {c.config.a}, B is {c.config.b}"
        + (f", the base is {c.config.base}." if c.config.base else "; no base was named.")
    )
    yield from _claims(run, id)
    yield Heading("Findings", 3)
    yield Items([f.text for f in findings(c)])
    table = c.table
    pairs = list(dict.fromkeys(zip(table["a"].tolist(), table["b"].tolist(), strict=True)))
    own = (c.config.a, c.config.b)
    for a, b in [own, *(pair for pair in pairs if pair != own)]:
        contrast = table[(table["a"] == a) & (table["b"] == b)]
        sides = ("A", "B") if (a, b) == own else (_name(a), _name(b))
        heading = "Motifs" if (a, b) == own else f"Motifs: {sides[0]} against {sides[1]}"
        yield from _motifs(run, id, contrast, sides, heading)
    yield from _sharing(run, c)
    yield from _legibility(run, id)


def _claims(run: Run, id: str) -> Iterator[Block]:
    name = f"comparisons/{id}/claims.json"
    if not run.has(name):
        return
    claims: list[dict[str, Any]] = run.json(name)
    yield Heading("Claims", 3)
    yield Table(
        ("claim", "verdict", "effect", "value and interval", "problems"),
        [
            (
                _said(c, "claim"),
                _said(c, "verdict"),
                _said(c, "effect"),
                interval_text(c.get("value"), c.get("ci_low"), c.get("ci_high")),
                _count(c.get("n")),
            )
            for c in claims
        ],
        "Tests were stated before the data were looked at",
        origin(run, name),
    )
    for c in claims:
        yield Heading(f"{_said(c, 'verdict')}: {_said(c, 'claim')}", 4)
        yield Paragraph(f"{_said(c, 'reading')} Test: {_said(c, 'test')}")
        evidence = c.get("evidence") or []
        if evidence:
            yield Table(
                ("evidence", "value and interval", "n"),
                [
                    (
                        _said(e, "measure"),
                        interval_text(e.get("value"), e.get("ci_low"), e.get("ci_high")),
                        _count(e.get("n")),
                    )
                    for e in evidence
                ],
            )
        threats = [str(t) for t in c.get("threats") or []]
        if threats:
            yield Items([f"It may be wrong: {threat}" for threat in threats])


def claims_command(run: Run) -> Iterator[Block]:
    """Which command writes the claims of the comparisons that have none."""
    without = [id for id in run.comparisons() if not run.has(f"comparisons/{id}/claims.json")]
    if without:
        yield Paragraph(
            f"{len(without):,} of {len(run.comparisons()):,} comparisons hold no claims.json "
            f"({', '.join(without)}), so that no verdict is given on them. "
            f"dsl-probe compare RUN --config RUN/stages/compare.NAME.json --force "
            f"writes it, in a version that tests claims."
        )


def _motifs(run: Run, id: str, table: "pd.DataFrame", sides: tuple[str, str], heading: str) -> Iterator[Block]:
    equal = table[table["matched"] == "equal units"]
    whole = equal[equal["domain"] == "all"]
    source = origin(run, f"comparisons/{id}/comparison.parquet")
    yield Heading(heading, 3)
    if not len(whole):
        yield Paragraph("No motif was tested over all domains together.")
        return
    yield Table(
        ("domain", "design", "tested", f"more in {sides[0]}", f"more in {sides[1]}", "raw counts"),
        [_family(domain, table[table["domain"] == domain]) for domain in dict.fromkeys(table["domain"])],
        "Discoveries at equal units (family-wise p <= .05), and at raw counts beside them; many overlap one another",
        source,
    )
    found = whole[whole["p_adj"] <= ALPHA]
    picked = []
    for side, part in zip(sides, strongest(found).values(), strict=True):
        named = representatives(part["text"].tolist(), _TOP)
        picked += [(side, part[part["text"] == text].iloc[0]) for text in named]
    behind = Table(
        (
            *("motif", "more in", *(f"rate of {side}" for side in sides), "log-odds"),
            *(*(f"problems of {side}" for side in sides), "p_adj", "stable", "novelty"),
        ),
        [
            (
                row["text"],
                side,
                figure_text(1000 * row["rate_a"], 2),
                figure_text(1000 * row["rate_b"], 2),
                interval_text(row["log_odds"], row["ci_low"], row["ci_high"], 2, signed=True),
                f"{row['problems_a']:,}",
                f"{row['problems_b']:,}",
                figure_text(row["p_adj"], 4),
                {True: "yes", False: "no"}.get(row["stable"], "–"),
                row["novelty"],
            )
            for side, row in picked
        ],
        "The strongest motifs that do not hold one another. Rates are uses per 1,000 units, means over problems, which "
        "the test compares; the log-odds pool all uses, with 95 % intervals by problem, so that one may hold zero "
        "where the test finds a difference",
        source,
    )
    if not picked:
        yield Paragraph(
            f"No motif of {len(whole):,} is told apart. A motif that s problems of one side hold and none of the other "
            f"has |z| of the root of s: below about 20 such problems nothing can be found."
        )
    height, told = _evidence(whole)
    shown = volcano(
        whole["log_odds"].to_numpy(float),
        height,
        (whole["p_adj"] <= ALPHA).to_numpy(),
        whole["text"].tolist(),
        f"{sides[0]} against {sides[1]}: log-odds of {len(whole):,} motifs against {told}; coloured: discoveries",
        sides,
        f"log-odds, right: more in {sides[0]}",
        told,
    )
    yield Plot(shown, behind)
    if picked:
        dots = [Dot(row["text"], row["log_odds"], row["ci_low"], row["ci_high"], f"more in {s}") for s, row in picked]
        rates = Table(behind.columns[:5], [r[:5] for r in behind.rows], source=source)
        yield Plot(intervals(dots, "The strongest motifs: log-odds with 95 % intervals by problem", "log-odds"), rates)


def _family(domain: str, table: "pd.DataFrame") -> tuple[str, ...]:
    """A domain's row of the table of discoveries."""
    equal, raw = (table[table["matched"] == matched] for matched in ("equal units", "raw"))
    found = equal[equal["p_adj"] <= ALPHA]
    numbers = len(equal), int((found["z"] > 0).sum()), int((found["z"] < 0).sum()), int((raw["p_adj"] <= ALPHA).sum())
    return (str(domain), str(table["design"].iloc[0]), *(f"{n:,}" for n in numbers))


def _evidence(table: "pd.DataFrame") -> tuple[np.ndarray, str]:
    """How sure each difference is, and what that is called. The permutation p is none: all discoveries share its least
    value, so that |z| stands for it where the p over all sign patterns is not in the table."""
    if "p_exact" in table:
        exact = table["p_exact"].to_numpy(float)
        if np.isfinite(exact).any():
            return -np.log10(np.clip(exact, 1e-300, 1)), "-log10 of the p over all sign patterns"
    return np.abs(table["z"].to_numpy(float)), "|z| of the difference in rate"


def _sharing(run: Run, c: Comparison) -> Iterator[Block]:
    table = c.sharing[c.sharing["measure"] == "morisita_horn"]
    if not len(table):
        return
    yield Heading("Sharing between domains", 3)
    source = origin(run, f"comparisons/{c.id}/sharing.parquet")
    for side, group in (("A", c.config.a), ("B", c.config.b)):
        own = table[table["group"] == group]
        names = list(dict.fromkeys([*own["domain_a"], *own["domain_b"]]))
        behind = Table(
            ("domains", "similarity", "coverage", "units counted"),
            [
                (
                    f"{r.domain_a} / {r.domain_b}",
                    interval_text(r.value, r.ci_low, r.ci_high),
                    f"{r.coverage_a:.3f} / {r.coverage_b:.3f}",
                    f"{r.n_a:,} / {r.n_b:,}",
                )
                for r in own.head(MOST_ROWS).itertuples()
            ],
            f"Morisita-Horn similarity of the word counts of {side}, intervals by problem; {side} is {_name(group)}"
            + (f". {more(len(own), MOST_ROWS)}" if len(own) > MOST_ROWS else ""),
            source,
        )
        if len(names) < 3:
            yield behind
            continue
        values = np.full((len(names), len(names)), np.nan)
        for r in own.itertuples():
            i, j = names.index(r.domain_a), names.index(r.domain_b)
            values[i, j] = values[j, i] = r.value
        yield Plot(heatmap(values, names, names, f"Similarity of vocabulary between domains, {side}"), behind)


def _legibility(run: Run, id: str) -> Iterator[Block]:
    name = f"comparisons/{id}/legibility"
    if not run.has(f"{name}.parquet"):
        return
    yield Heading("Legibility", 3)
    rows = run.table(name).to_pylist()
    whole = [r for r in rows if r["domain"] == "all"] or rows
    ends = ("value", "ci_low", "ci_high")
    behind = Table(
        ("group", "domain", "measure", "value", "problems"),
        [
            (_name(r["group"]), r["domain"], r["measure"], interval_text(*(r[c] for c in ends)), _count(r["problems"]))
            for r in whole[:MOST_ROWS]
        ],
        more(len(whole), MOST_ROWS),
        origin(run, f"{name}.parquet"),
    )
    dots = [
        Dot(f"{r['measure']}, {r['domain']}", *(r[c] for c in ends), _name(r["group"]))
        for r in whole
        if r["measure"] in _SHARES and "=" in r["group"]
    ]
    title = "Legibility: shares from 0 to 1 with 95 % intervals by problem; none of them shows what people understand"
    yield Plot(intervals(dots, title, "share"), behind) if dots else behind


def _name(group: str) -> str:
    """A group in short; what is no group, such as A - B, as it stands."""
    return short(group) if "=" in group else group


def _said(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return "–" if value is None else str(value)


def _count(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float | np.number) and np.isfinite(value) else "–"
