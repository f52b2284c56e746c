"""Does the q of a unit hold? Claimed q against the share of false claims, where the truth is known; no reference.

    python experiments/planted/claimed_q.py      -> CLAIMED_Q.md

Text in which nothing is a unit beyond pairs (an order-1 resample), or nothing at all (documents shuffled), and the same
with operators planted in it. q is that of `decoys.unit_q`, for the closed repeats, as `mine` asks for it by default.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from benchmark import PROBLEMS, SUPPORT, Documents, Found, language, overlap, real, resampled
from run import interval

from dsl_probe.mine import lexicon
from dsl_probe.mine.decoys import unit_q
from dsl_probe.mine.repeats import Repeats, find_repeats, occurrences
from dsl_probe.mine.suffixes import Index, build_index
from dsl_probe.mine.variants import monotonous
from dsl_probe.plant import SLOT, Planted, plant

HERE = Path(__file__).resolve().parent
SEEDS, PLANTED = range(1000, 1010), 5  # the first five seeds where something is planted
DOCS, OPERATORS, LONGEST, Q = 3_000, 300, 48, 0.05
SETTINGS = {
    "words of the text, 25 to 600 uses": ((25, 600), False),
    "words of the text, 25 to 100 uses": ((25, 100), False),
    "words of their own, 25 to 600 uses": ((25, 600), True),
}
THRESHOLDS = (0.01, 0.05, 0.1, 0.2)
FRAGMENT = 0.5


def closed_with_q(
    symbols: np.ndarray, bounds: np.ndarray, problem: np.ndarray
) -> tuple[Index, Repeats, np.ndarray, np.ndarray]:
    """The closed repeats of two units or more, and their q: (index, repeats, rows, q)."""
    index = build_index(symbols, bounds)
    least = {"min_count": SUPPORT, "min_problems": PROBLEMS}
    found = find_repeats(index, doc_problem=problem, min_support=SUPPORT, **least, max_length=LONGEST)
    rows = np.flatnonzero(found.closed & (found.length >= 2))
    return index, found, rows, unit_q(index, found, rows, problem, **least, longest=LONGEST)


def shuffled(seed: int) -> Documents:
    """Shipped traces drawn without replacement, the units of each in random order."""
    shipped, _ = real()
    rng = np.random.default_rng([seed, 6])
    some = shipped.some(np.sort(rng.choice(len(shipped.domain), DOCS, replace=False)))
    doc = np.repeat(np.arange(DOCS), np.diff(some.bounds))
    symbols = some.symbols[np.lexsort((rng.random(len(doc)), doc))]
    return Documents(symbols, some.bounds, some.domain, some.problem)


def nothing(docs: Documents) -> dict[str, float]:
    """Closed repeats of text without units, how many of them are claimed at each threshold, and the least q; pairs of
    neighbours apart, which an order-1 resample does have."""
    _, found, rows, q = closed_with_q(docs.symbols, docs.bounds, docs.problem)
    result = {}
    for name, part in (("pairs", found.length[rows] == 2), ("longer", found.length[rows] > 2)):
        result[name] = int(part.sum())
        result |= {f"{name} {t}": int((q[part] <= t).sum()) for t in THRESHOLDS}
    return result


def planted(seed: int, uses: tuple[int, int], own_words: bool) -> dict[str, float]:
    """Of sequences of three units or more claimed at each threshold: how many, and which share is false; and the same
    of the lexicon's motifs that grew from such sequences of q of `Q` or less.

    false: their uses overlap those of the operator that most of them touch by less than half (intersection over union)
    on average. apart: fewer than half of their uses touch a use of any operator; the others are fragments of one.
    Runs of the same few units are left out, as the lexicon leaves them out. own_words: the operators are of words that
    the background does not have.
    """
    docs = resampled(DOCS, seed, order=1)
    operators = language(OPERATORS, seed, uses)
    if own_words:
        new = int(docs.symbols.max()) + 1
        operators = [replace(o, pattern=tuple(s if s == SLOT else new + s for s in o.pattern)) for o in operators]
    made = plant(docs.symbols, docs.bounds, docs.domain, operators, filler=docs.symbols, seed=seed)
    index, found, rows, q = closed_with_q(made.symbols, made.bounds, docs.problem)
    first, length = index.sa[found.first[rows]], found.length[rows]
    longer = [n > 2 and not monotonous(index.symbols[p : p + n]) for p, n in zip(first, length, strict=True)]
    claimed = np.array(longer) & (q <= max(THRESHOLDS))
    row, *where = occurrences(index, found, rows[claimed])
    doc, start = (part.astype(np.int64) for part in where)
    spans = np.stack([doc, start, start + found.length[row]], 1)
    iou, touched = overlaps(made, np.split(spans, np.searchsorted(row, rows[claimed][1:])))
    result = {"planted": 1 - len(docs.symbols) / len(made.symbols), "repeats": sum(longer)}
    for t in THRESHOLDS:
        result |= shares(t, iou, touched, q[claimed] <= t)
    seeds = np.flatnonzero(q <= Q)
    nothing_barred = np.zeros(len(index.symbols), bool)
    _, entries = lexicon.without_reference(index, found, rows[seeds], nothing_barred, docs.problem, SUPPORT, PROBLEMS)
    spans = []
    for entry in entries:
        if length[seeds[entry.seed]] > 2:
            start, stop = entry.uses.start[entry.uses.free], entry.uses.stop[entry.uses.free]
            doc = index.doc_of[start]
            spans.append(np.stack([doc, start - index.doc_starts[doc], stop - index.doc_starts[doc]], 1))
    return result | shares("lexicon", *overlaps(made, spans), np.ones(len(spans), bool))


def overlaps(made: Planted, spans: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of each motif's spans int[k, 3]: mean overlap with the operator that most touch; share that touch any."""
    edge = np.zeros(len(made.symbols) + 1, np.int64)
    np.add.at(edge, made.bounds[made.spans[:, 1]] + made.spans[:, 2], 1)
    np.add.at(edge, made.bounds[made.spans[:, 1]] + made.spans[:, 3], -1)
    before = np.concatenate([[0], np.cumsum(np.cumsum(edge)[:-1])])  # planted units before each position
    places = [made.bounds[part[:, 0]][:, None] + part[:, 1:] for part in spans]
    touched = [(before[at[:, 1]] > before[at[:, 0]]).mean() for at in places]
    return np.array([overlap(made.spans, Found((), part))[1] for part in spans]), np.array(touched)


def shares(name: object, iou: np.ndarray, touched: np.ndarray, which: np.ndarray) -> dict[str, float]:
    """How many motifs there are among `which`, and the shares that are false and apart."""
    parts = {"false": iou[which] < FRAGMENT, "apart": touched[which] < FRAGMENT}
    means = {f"{kind} {name}": float(part.mean()) if which.any() else float("nan") for kind, part in parts.items()}
    return {f"claimed {name}": int(which.sum())} | means


def main() -> None:
    plain = {
        "order-1 resample": [nothing(resampled(DOCS, seed, order=1)) for seed in SEEDS],
        "documents shuffled": [nothing(shuffled(seed)) for seed in SEEDS],
    }
    made = {name: [planted(seed, *how) for seed in SEEDS[:PLANTED]] for name, how in SETTINGS.items()}
    lines = [
        "# Claimed q against the share of false claims",
        "",
        f"Made by `python experiments/planted/claimed_q.py`; {len(SEEDS)} seeds from {SEEDS[0]}, {DOCS:,} documents, "
        f"closed repeats in {SUPPORT} documents and {PROBLEMS} problems or more. No reference.",
        "",
        "## Nothing planted",
        "",
        "Claimed of all closed repeats, summed over seeds; in brackets the seeds with any claim. The pairs of an "
        "order-1 resample are those of the real text, and pairs are held against shuffled documents alone: that they "
        "are claimed is right.",
        "",
        f"| text | repeats | of them | {' | '.join(f'q <= {t}' for t in THRESHOLDS)} |",
        "|---" * (3 + len(THRESHOLDS)) + "|",
    ]
    for text, rows in plain.items():
        for name in ("pairs", "longer"):
            cells = [
                f"{sum(r[f'{name} {t}'] for r in rows):,} ({sum(r[f'{name} {t}'] > 0 for r in rows)})"
                for t in THRESHOLDS
            ]
            kind = "pairs" if name == "pairs" else "three units or more"
            lines.append(f"| {text} | {kind} | {sum(r[name] for r in rows):,} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Operators planted in an order-1 resample",
        "",
        f"{OPERATORS} operators, a quarter with a slot, no noise; {PLANTED} seeds, mean and Student's 95 % interval. "
        "Sequences of three units or more, without runs of the same few units. False: mean overlap with an operator's "
        f"uses (intersection over union) below {FRAGMENT}. Apart: fewer than half of the uses touch an operator's at "
        f"all; what is false and not apart is a fragment. The last row of each: motifs of the lexicon at q <= {Q}.",
        "",
        "| operators of | share of units planted | closed repeats | claimed q | motifs | share false | share apart |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in made.items():
        for t in (*THRESHOLDS, "lexicon"):
            cells = [interval([r[f"{column} {t}"] for r in rows]) for column in ("false", "apart")]
            sizes = [f"{np.mean([r[c] for r in rows]):{form}}" for c, form in (("planted", ".0%"), ("repeats", ",.0f"))]
            many = f"{np.mean([r[f'claimed {t}'] for r in rows]):,.0f}"
            lines.append("| " + " | ".join([name, *sizes, str(t), many, *cells]) + " |")
    (HERE / "CLAIMED_Q.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
