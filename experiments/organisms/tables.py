"""The tables of the README, from what evaluate.py wrote.

    python experiments/organisms/tables.py              prints them
    python experiments/organisms/tables.py --write      also puts each between its markers in README.md

    <!-- table NAME -->
    <!-- /table -->

A cell is the mean over the units of a kind and [low, high]: Student's 95 % interval over units where there are three or
more, the range of two units, and for one unit its own 95 % interval by problem.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dialects import OPENINGS
from rates import over_units
from units import OUT, TRAINED
from vocabulary import compared

HERE = Path(__file__).resolve().parent
ORDER = ("base", "sft", "sft-mixed", "rl-only", "rl-only-lp0", "sft-rl", "rl-single")
DIFFERENCES = (("rl-only", "sft"), ("rl-only", "sft-mixed"), ("rl-only-lp0", "sft"), ("rl-only", "base"))
SHARING = {"morisita_horn": "Morisita-Horn", "jensen_shannon_corrected": "Jensen-Shannon, bits"}
MEANINGS = ("state", "operation", "next operation", "step")
WHOLE = ("same", "blanked", "shuffled", "last state", "lent chain")
HALVES = ("same", "nonces", "human", "deleted")
Kinds = dict[str, list[dict[str, Any]]]


def read(folder: Path) -> Kinds:
    """Evaluations by kind, the kinds in the order of `ORDER`, others after them."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    names = sorted({e["unit"]["kind"] for e in found}, key=lambda k: (ORDER.index(k) if k in ORDER else len(ORDER), k))
    return {name: [e for e in found if e["unit"]["kind"] == name] for name in names}


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number without the 0 before its point; a dash for None and NaN.

    >>> number(0.953), number(-0.2, sign=True), number(41.26, 1), number(1.0)
    ('.95', '-.20', '41.3', '1.00')
    """
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    head, point, tail = text.partition(".")
    return head.removesuffix("0") + point + tail if head.lstrip("+-") == "0" and point else text


def triple(parts: Sequence[float | None], digits: int = 2, sign: bool = False) -> str:
    """Value [low, high]; without limits where they are unknown."""
    value, low, high = (number(part, digits, sign) for part in parts)
    return value if "–" in (low, high) else f"{value} [{low}, {high}]"


def cell(
    units: Sequence[Any], at: Callable[[Any], Any], digits: int = 2, key: str = "value", sign: bool = False
) -> str:
    """Mean and interval over units of what `at` finds in an evaluation: {key, low, high}."""
    found = [part for part in map(at, units) if part and part.get(key) is not None]
    if not found:
        return "–"
    if len(found) == 1:
        return triple((found[0][key], found[0].get("low"), found[0].get("high")), digits, sign)
    return triple(over_units([part[key] for part in found]), digits, sign)


def how_many(units: Sequence[Any]) -> str:
    """Units and lineages of a kind."""
    return f"{len(units)} of {len({e['unit']['lineage'] for e in units})}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def name_of(evaluation: Any) -> str:
    """kind-lineage-seed."""
    return "{kind}-{lineage}-{seed}".format(**evaluation["unit"])


# ---------------------------------------------------------------- the tables


def organisms(kinds: Kinds) -> str:
    """The four worlds of training: accuracy, with the chain blanked, length, and how far worlds share connectives."""
    heads = ("model", "units of lineages", "greedy", "T=1", "T=1, chain closed", "chain blanked", "tokens at T=1")
    rows = [
        (
            kind,
            how_many(units),
            cell(units, lambda e: e["accuracy"]["all"]["greedy"]),
            cell(units, lambda e: e["accuracy"]["all"]["sampled"]),
            cell(units, lambda e: {"value": e["accuracy"]["all"]["sampled"]["closed"]}),
            cell(units, _edit("edits", "all", "blanked")),
            cell(units, lambda e: e["accuracy"]["all"]["sampled"]["length"], 1),
            cell(units, lambda e: e["sharing"]["between"]["jensen_shannon_corrected"], key="corrected"),
            cell(units, lambda e: e["sharing"]["between"]["jaccard"]),
        )
        for kind, units in kinds.items()
    ]
    return table((*heads, "between worlds: JS, bits", "Jaccard (index of this sample)"), rows)


def unseen(kinds: Kinds) -> str:
    """The world that was left out, and longer problems."""
    sets = {"walk": "walk", "all": "as trained", "all+1": "one operation more", "all+2": "two more"}
    heads = ("model", *(f"{label}, {how}" for label in sets.values() for how in ("greedy", "T=1")))
    return table(
        heads,
        [
            (kind, *(cell(units, _accuracy(name, how)) for name in sets for how in ("greedy", "sampled")))
            for kind, units in kinds.items()
        ],
    )


def _accuracy(name: str, how: str) -> Callable[[Any], Any]:
    return lambda e: e["accuracy"][name][how]


def openings(kinds: Kinds) -> str:
    """Greedy accuracy when the model may open its chain as it will, and when the opening of a dialect is forced."""
    heads = ("model", "free", *(f'"{" ".join(words[1:])} ..."' for words in OPENINGS.values()))
    free = _accuracy("all", "greedy")
    return table(
        heads,
        [
            (kind, cell(units, free), *(cell(units, _opening(style)) for style in OPENINGS))
            for kind, units in kinds.items()
        ],
    )


def _opening(style: str) -> Callable[[Any], Any]:
    return lambda e: e["openings"][style]


def edits(kinds: Kinds) -> str:
    """Accuracy after edits of finished chains, and of half a chain that is then gone on with."""
    labels = ("as it was", "blanked", "shuffled", "last state corrupted", "another's chain")
    heads = ("finished chain", *labels, "corrupted state given", "another's answer given")
    whole = table(
        heads,
        [
            (
                kind,
                *(cell(units, _edit("edits", "all", edit)) for edit in WHOLE),
                *(cell(units, _edit("edits", "all", edit, "followed")) for edit in WHOLE[3:]),
            )
            for kind, units in kinds.items()
        ],
    )
    heads = ("half a chain", "as it was", "random nonces", "random human words", "connectives deleted")
    half = table(
        (*heads, "nonces - as it was"),
        [
            (
                f"{kind}{'' if world == 'all' else ', ' + world}",
                *(cell(units, _edit("halves", world, edit)) for edit in HALVES),
                cell(units, _edit("halves", world, "nonces", "difference"), sign=True),
            )
            for kind, units in kinds.items()
            for world in ("all", *TRAINED)
        ],
    )
    return f"{whole}\n\n{half}"


def _edit(part: str, world: str, edit: str, what: str = "accuracy") -> Callable[[Any], Any]:
    return lambda e: e[part][world].get(edit, {}).get(what)


def words(kinds: Kinds) -> str:
    """Unit by unit and world by world: nearest dialect, distance to it, share of nonces, and the three top words."""

    def told(row: Any) -> str:
        near = row["distances"].get(row["nearest"])
        apart = f" {number(near['corrected'])} ({number(near['plug_in'])})" if near else ""
        top = ", ".join(f"`{word}` {count}" for word, count in row["top"])
        return f"{row['nearest']}{apart}; nonces {number(row['kinds']['nonce'])}; {top or 'none'}"

    heads = ("unit", "connectives a completion", *(*TRAINED, "walk (unseen)"))
    rows = []
    for evaluation in (e for units in kinds.values() for e in units):
        language = evaluation["language"]
        amount = sum(language[world]["connectives"] for world in TRAINED) / len(TRAINED)
        rows.append((name_of(evaluation), number(amount, 1), *(told(language[w]) for w in (*TRAINED, "walk"))))
    return table(heads, rows)


def sharing(kinds: Kinds) -> str:
    """Sharing between worlds by unit beside the null within worlds; then differences between kinds by lineage."""
    heads = ["unit"]
    for label in SHARING.values():
        heads += [f"{label} between worlds", "within (null)"]
    rows = []
    for evaluation in (e for units in kinds.values() for e in units):
        row = [name_of(evaluation)]
        for measure in SHARING:
            for part in ("between", "within"):
                found = evaluation["sharing"][part][measure]
                row.append(triple((found["corrected"], found["low"], found["high"])))
        rows.append([*row, number(evaluation["sharing"]["between"]["jaccard"]["value"])])
    first = table([*heads, "Jaccard (index of this sample)"], rows)
    rows = [row for a, b in DIFFERENCES for row in _differences(kinds, a, b)]
    return f"{first}\n\n{table(('difference', 'lineage', 'units', *SHARING.values()), rows)}"


def _differences(kinds: Kinds, a: str, b: str) -> Iterable[Sequence[str]]:
    """Rows of kind a - kind b: each lineage that has both, with an interval by problem; then over lineages."""
    found: dict[str, list[float]] = {measure: [] for measure in SHARING}
    for lineage in sorted({e["unit"]["lineage"] for e in (*kinds.get(a, ()), *kinds.get(b, ()))}):
        sides = [[e for e in kinds.get(kind, ()) if e["unit"]["lineage"] == lineage] for kind in (a, b)]
        if not all(sides):
            continue
        cells = []
        for measure in SHARING:
            parts = [[e["sharing"]["between"] for e in side if _whole(e, measure)] for side in sides]
            if not all(parts):
                cells.append("–")
                continue
            one = compared(measure, *parts)
            found[measure].append(one["corrected"])
            cells.append(triple((one["corrected"], one["low"], one["high"]), sign=True))
        yield (f"{a} - {b}", str(lineage), " and ".join(str(len(side)) for side in sides), *cells)
    if max(map(len, found.values())) > 1:
        means = [triple(over_units(values), sign=True) if values else "–" for values in found.values()]
        yield (f"{a} - {b}", "mean of lineages", "", *means)


def _whole(evaluation: Any, measure: str) -> bool:
    """Whether a unit has connectives in every world, so that its sharing is a number."""
    return evaluation["sharing"]["between"][measure]["corrected"] is not None


def meaning(kinds: Kinds) -> str:
    """Bits that a nonce tells of the state, operations and step, above the null; and what one nonce for all costs."""
    labels = [f"{label}: excess bits (p_adj)" for label in MEANINGS]
    heads = ("unit, world", "nonces", "kinds of nonce", "entropy", *labels, "one other nonce for all: accuracy change")
    rows = []
    for evaluation in (e for units in kinds.values() for e in units):
        for world, found in evaluation["nonces"].items():
            if not found:
                continue
            told = [found.get(label) for label in MEANINGS]
            change = evaluation["halves"][world].get("one nonce", {}).get("difference")
            rows.append(
                (
                    f"{name_of(evaluation)}, {world}",
                    f"{found['n']:,}",
                    str(found["types"]),
                    number(found["entropy"]),
                    *(f"{number(t['excess'], 3, sign=True)} ({number(t['p_adj'], 3)})" if t else "–" for t in told),
                    triple((change["value"], change["low"], change["high"]), sign=True) if change else "–",
                )
            )
    return table(heads, rows)


TABLES: dict[str, Callable[[Kinds], str]] = {
    "organisms": organisms,
    "unseen": unseen,
    "openings": openings,
    "edits": edits,
    "words": words,
    "sharing": sharing,
    "meanings": meaning,
}


def put(text: str, name: str, content: str) -> str:
    """The text with the content between the markers of a table.

    >>> put("a <!-- table x -->old<!-- /table --> b", "x", "new")
    'a <!-- table x -->\\nnew\\n<!-- /table --> b'
    """
    before, marker, rest = text.partition(f"<!-- table {name} -->")
    _, end, after = rest.partition("<!-- /table -->")
    if not end:
        raise SystemExit(f"there are no markers <!-- table {name} --> and <!-- /table -->")
    return f"{before}{marker}\n{content}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true", help="read evaluation-quick")
    options = parser.parse_args()
    kinds = read(OUT / ("evaluation-quick" if options.quick else "evaluation"))
    if not kinds:
        raise SystemExit(f"nothing is evaluated in {OUT}; run experiments/organisms/evaluate.py first.")
    path = HERE / "README.md"
    text = path.read_text("utf-8")
    for name, make in TABLES.items():
        content = make(kinds)
        print(f"{name}\n\n{content}\n")
        text = put(text, name, content)
    if options.write:
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
