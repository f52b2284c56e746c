"""ARC-AGI-1: write the output grid. Exact match of every cell; shipped: 416 training and 419 evaluation test grids.

    >>> verify(Problem("p", "arc", "", "1 0\\n0 1"), "The grid is\\n[[1, 0],\\n [0, 1]]").correct
    True

Read as grids: rows of digits 0-9 set apart by spaces, commas, brackets or bars, one row a line; JSON on one line; and
rows of digits written together. The last grid of the answer counts. Half-written last rows make it another grid.
"""

import json
import re
from collections.abc import Sequence

from dsl_probe.collect.domains import shipped_problems
from dsl_probe.collect.verify import Verdict, answer_part, find_in, tagged
from dsl_probe.types import Problem

SETS = {"arc_training": "arc_agi_1_training", "arc_evaluation": "arc_agi_1_evaluation"}
Grid = tuple[tuple[int, ...], ...]
_APART = str.maketrans("[](),|;&", "        ")


def problems(seed: int, n: int, sets: Sequence[str] = ()) -> list[Problem]:
    """n of the 835 shipped problems, shuffled by `seed`."""
    return shipped_problems(SETS, sets, "arc", seed, n)


def verify(problem: Problem, completion: str) -> Verdict:
    """Whether the last grid of the answer is the target grid."""
    if problem.target is None:
        return Verdict(None, None, "the problem has no reference")
    target = grids(problem.target)[-1]
    part = answer_part(completion)
    marked = next((t for t in reversed(tagged(part)) if t), None)
    if marked is None and "```" in part:
        blocks = part.split("```")  # odd pieces lie inside fences
        marked = next((b for b in reversed(blocks[1::2]) if grids(b)), None)
    if marked is None and not grids(part) and (found := find_in(part)):
        marked = found.text
    found_grids = grids(part if marked is None else marked)
    if not found_grids:
        return Verdict(None if marked is None else marked[:2000], False, "no grid")
    grid = found_grids[-1]
    written = "\n".join(" ".join(map(str, row)) for row in grid)
    if grid == target:
        return Verdict(written, True, "same grid")
    if len({len(row) for row in grid}) > 1:
        return Verdict(written, False, "rows of different lengths")
    if (len(grid), len(grid[0])) != (len(target), len(target[0])):
        size = f"{len(grid)}x{len(grid[0])}, not {len(target)}x{len(target[0])}"
        return Verdict(written, False, f"grid of another size: {size}")
    wrong = sum(a != b for row, aim in zip(grid, target, strict=True) for a, b in zip(row, aim, strict=True))
    return Verdict(written, False, f"{wrong} of {len(target) * len(target[0])} cells differ")


def grids(text: str) -> list[Grid]:
    """Every grid in a text, in order: maximal runs of lines that hold cells alone, and grids in JSON on one line."""
    found: list[Grid] = []
    rows: list[tuple[int, ...]] = []
    for line in text.splitlines():
        if one_line := _json_grid(line):
            found += [tuple(rows)] if rows else []
            rows = []
            found.append(one_line)
            continue
        row = _cells(line)
        if row:
            rows.append(row)
        # A line of brackets alone does not end a grid; anything else does.
        elif (rows and line.strip(" \t[](),") != "") or (rows and not line.strip()):
            found.append(tuple(rows))
            rows = []
    return [*found, tuple(rows)] if rows else found


def _cells(line: str) -> tuple[int, ...] | None:
    line = re.sub(r"^\s{0,20}(?:output|answer|grid|test output)\s{0,3}:", "", line[:2000], flags=re.IGNORECASE)
    line = line.translate(_APART).replace(r"\\", " ").replace('"', " ").replace("'", " ")
    tokens = line.split()
    if not tokens or any(not t.isascii() or not t.isdigit() for t in tokens):
        return None
    if len(tokens) == 1:  # 00770: cells written together
        return tuple(map(int, tokens[0]))
    return tuple(map(int, tokens)) if all(len(t) == 1 for t in tokens) else None


def _json_grid(line: str) -> Grid | None:
    start, stop = line.find("[["), line.rfind("]]")
    if start < 0 or stop <= start or stop - start > 20_000:
        return None
    try:
        rows = json.loads(line[start : stop + 2])
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(r, list) and r and all(type(c) is int and 0 <= c <= 9 for c in r) for r in rows):
        return None
    return tuple(tuple(r) for r in rows)
