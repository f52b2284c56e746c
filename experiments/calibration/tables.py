"""NULLS.md and nulls.svg: what 200 splits of each kind say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from dsl_probe.share.contrast import ALPHA

QUANTILES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
COLOURS = {"within problems": "#0072b2", "whole problems": "#d55e00", "cut": "#009e73", "by length": "#999999"}
SIZE, EDGE = 360, 50


def write_report(rows: Sequence[dict[str, Any]], grid: np.ndarray, folder: Path) -> None:
    """Write both files. rows: lines of the log; grid: the points at which the distributions of p were kept."""
    kinds = [kind for kind in COLOURS if any(row["kind"] == kind for row in rows)]
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}
    itself = next(row for row in rows if row["kind"] == "with itself")
    lines = [
        "# Splits with nothing to find: result",
        "",
        "`experiments/calibration/nulls.py` writes this file.",
        "",
        f"The same traces twice: {itself['discoveries']} discoveries of {itself['tested']:,} motifs; plug-in "
        f"Jensen-Shannon divergence {itself['jensen_shannon']:.3g} bits.",
        "",
        *discoveries(by_kind),
        "",
        "## p of all motifs tested",
        "",
        "Share of the p of all motifs and splits that are no larger than a value: it must be no larger than the value.",
        "",
        *curves(by_kind, grid, "p", "tested"),
        "",
        "## Randomised p of motifs in 20 problems or more",
        "",
        "Ties with the permutations are broken by lot, so that p is uniform. One random motif a split: Kolmogorov and",
        "Smirnov's test over the splits. Pooled: 200 random motifs a split; those of one split depend on one another.",
        "",
        *uniformity(by_kind),
        "",
        *curves({k: v for k, v in by_kind.items() if k != "by length"}, grid, "pooled", "drawn"),
        "",
        "![Distribution of p against the uniform](nulls.svg)",
    ]
    (folder / "NULLS.md").write_text("\n".join(lines) + "\n")
    (folder / "nulls.svg").write_text(plot(by_kind, grid))


def discoveries(by_kind: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Splits with any discovery, beside what the usual log-odds call different."""
    lines = [
        "| split | splits | problems | motifs tested | with any discovery | bound | discoveries a split "
        "| raw: with any | raw: a split | log-odds: abs(z) > 1.96 | log-odds: Benjamini-Hochberg, mean, most |",
        "|---" * 11 + "|",
    ]
    for kind, rows in by_kind.items():
        found = np.array([row["discoveries"] for row in rows])
        raw = np.array([row.get("raw", np.nan) for row in rows], float)
        bound = str(int(stats.binom.ppf(0.975, len(rows), ALPHA))) if kind != "by length" else "no null"
        raw_cells = ["", ""] if np.isnan(raw).all() else [f"{(raw > 0).sum()}", f"{raw.mean():.1f}"]
        bh = [row["naive_bh"] for row in rows]
        cells = [
            kind,
            len(rows),
            f"{np.mean([row['problems'] for row in rows]):.0f}",
            f"{np.mean([row['tested'] for row in rows]):,.0f}",
            (found > 0).sum(),
            bound,
            f"{found.mean():.2f}",
            *raw_cells,
            f"{np.mean([row['naive_share'] for row in rows]):.1%}",
            f"{np.mean(bh):.0f}, {max(bh)}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def pooled(rows: Sequence[dict[str, Any]], name: str, total: str) -> np.ndarray:
    """Share of all p that are no larger than each point of the grid."""
    return np.sum([row[name] for row in rows], 0) / sum(row[total] for row in rows)


def curves(by_kind: dict[str, list[dict[str, Any]]], grid: np.ndarray, name: str, total: str) -> list[str]:
    lines = ["| p <= | " + " | ".join(f"{q:g}" for q in QUANTILES) + " |", "|---" * (len(QUANTILES) + 1) + "|"]
    for kind, rows in by_kind.items():
        share = pooled(rows, name, total)
        cells = [f"{share[np.argmin(np.abs(grid - q))]:.4f}" for q in QUANTILES]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def uniformity(by_kind: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["| split | values | largest distance | p of the test |", "|---|---|---|---|"]
    for kind, rows in by_kind.items():
        values = [row["one_p"] for row in rows if "one_p" in row]
        if values:
            test = stats.kstest(values, "uniform")
            lines.append(f"| {kind} | {len(values)} | {test.statistic:.3f} | {test.pvalue:.2f} |")
    return lines


def plot(by_kind: dict[str, list[dict[str, Any]]], grid: np.ndarray) -> str:
    """Share of p no larger than a value, against the value: left all p from 0 to 1, right the small ones up to .05."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * SIZE + 3 * EDGE}" height="{SIZE + 2 * EDGE}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for number, most in enumerate((1.0, 0.05)):
        left, top = EDGE + number * (SIZE + EDGE), EDGE // 2
        inside = grid <= most + 1e-12
        parts.append(
            f'<rect x="{left}" y="{top}" width="{SIZE}" height="{SIZE}" fill="none" stroke="#444"/>'
            f'<path d="M{left} {top + SIZE}L{left + SIZE} {top}" stroke="#444" stroke-dasharray="4 3"/>'
            f'<text x="{left}" y="{top + SIZE + 16}">0</text>'
            f'<text x="{left + SIZE}" y="{top + SIZE + 16}" text-anchor="end">p = {most:g}</text>'
            f'<text x="{left - 4}" y="{top + 10}" text-anchor="end">{most:g}</text>'
        )
        for kind, rows in by_kind.items():
            share = np.minimum(np.concatenate([[0], pooled(rows, "p", "tested")[inside]]), most)
            x = left + SIZE * np.concatenate([[0], grid[inside]]) / most
            y = top + SIZE * (1 - share / most)
            line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
            parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[kind]}" stroke-width="2"/>')
    for i, kind in enumerate(by_kind):
        x = EDGE + 150 * i
        parts.append(
            f'<rect x="{x}" y="{SIZE + EDGE + 14}" width="18" height="4" fill="{COLOURS[kind]}"/>'
            f'<text x="{x + 24}" y="{SIZE + EDGE + 21}">{kind}</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
