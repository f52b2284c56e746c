"""Where motifs are used in the traces of a model, and spans of like length and frequency to set beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl_probe.mine.segment import segment
from dsl_probe.mine.uses import Lexicon, Units, find_uses
from dsl_probe.store import Run
from dsl_probe.types import UserError

LIKE = 2.0


@dataclass(frozen=True)
class Motif:
    """What is taken away. patterns: its forms, that of the table first, then its variants."""

    motif_id: str
    text: str
    patterns: tuple[tuple[str, ...], ...]


def named_motifs(run: Run, asked: Sequence[str], comparison: str | None = None) -> list[Motif]:
    """Motifs by what `asked` says of each: an id, a text, a file of them (one a line), or top:N.

    top:N takes the N entries of the run's lexicon that save most bits; with a comparison, the N motifs that are
    over-represented in its `a` with the largest z. A text that is no motif of the run stands for itself.
    """
    # Entries of the lexicon with a wildcard are no closed motifs and stand in its table alone.
    tables = ["motifs", *(["lexicon"] if run.has("lexicon.parquet") else [])]
    rows = {r["motif_id"]: r for t in tables for r in run.table(t, ["motif_id", "text", "pattern"]).to_pylist()}
    by_text = {row["text"]: row for row in rows.values()}
    variants: dict[str, list[tuple[str, ...]]] = {}
    if run.has("variants.parquet"):
        for row in run.table("variants", ["motif_id", "pattern"]).to_pylist():
            variants.setdefault(row["motif_id"], []).append(tuple(row["pattern"]))
    found: dict[str, Motif] = {}
    for name in _names(run, asked, comparison):
        row = rows.get(name) or by_text.get(name) or by_text.get(name.lower()) or _as_it_is(name)
        patterns = [tuple(row["pattern"]), *variants.get(row["motif_id"], ())]
        found[row["motif_id"]] = Motif(row["motif_id"], row["text"], tuple(dict.fromkeys(patterns)))
    return list(found.values())


def _names(run: Run, asked: Sequence[str], comparison: str | None) -> list[str]:
    from pathlib import Path

    names: list[str] = []
    for one in asked:
        if one.startswith("top:"):
            if not one[4:].isdecimal() or not int(one[4:]):
                raise UserError(f"--motifs {one!r}: the N of top:N is a whole number from 1.")
            names += _top(run, int(one[4:]), comparison)
        elif "/" in one and Path(one).is_file():
            lines = Path(one).read_text("utf-8", "replace").splitlines()
            names += [" ".join(line.split()) for line in lines if line.strip()]
        else:
            names.append(one)
    if not names:
        raise UserError("--motifs names none; give ids, texts, a file of them, or top:N.")
    return names


def _top(run: Run, n: int, comparison: str | None) -> list[str]:
    if comparison is None:
        table = run.table("lexicon", ["motif_id", "bits_saved"]).to_pylist()
        return [row["motif_id"] for row in sorted(table, key=lambda row: (-row["bits_saved"], row["motif_id"]))[:n]]
    if comparison not in run.comparisons():
        known = ", ".join(run.comparisons()) or "none"
        raise UserError(f"--comparison {comparison!r}: {run.path} has no such comparison; there are: {known}.")
    columns = ["motif_id", "z", "p_adj"]
    table = [row for row in run.table(f"comparisons/{comparison}", columns).to_pylist() if row["p_adj"] is not None]
    over = [row for row in table if row["z"] > 0 and row["p_adj"] <= 0.05]
    if not over:
        raise UserError(f"--comparison {comparison}: no motif is over-represented in it; name motifs by id or text.")
    return [row["motif_id"] for row in sorted(over, key=lambda row: (-row["z"], row["motif_id"]))[:n]]


def _as_it_is(text: str) -> dict[str, Any]:
    units = segment([text])
    if not len(units.ids):
        raise UserError(f"--motifs {text!r} holds no word; give ids, texts, a file of them, or top:N.")
    return {"motif_id": f"text:{text}", "text": text, "pattern": [units.texts[i] for i in units.ids]}


class Spans:
    """Uses of motifs, and all other spans, in the traces of `units`; spans are [first unit, last unit + 1)."""

    def __init__(self, run: Run, units: Units):
        self.run, self.units = run, units
        self.doc = np.repeat(np.arange(len(units.rows)), np.diff(units.bounds))
        self.barred = np.concatenate([[0], np.cumsum(units.flags > 0)])
        self.grams: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.found: dict[Motif, dict[int, np.ndarray]] = {}

    def uses(self, motif: Motif) -> dict[int, np.ndarray]:
        """Trace (number among the rows) -> int[k, 2], its uses of the motif outside echoes, in order."""
        if motif in self.found:
            return self.found[motif]
        entry = {"motif_id": motif.motif_id, "pattern": list(motif.patterns[0])}
        variants = {motif.motif_id: [(list(p), 0) for p in motif.patterns[1:]]}
        found = find_uses(self.run, Lexicon([entry], variants, self.units.rows, True), self.units)
        spans = np.stack([found.start, found.stop], 1)
        self.found[motif] = {int(t): spans[found.at == t] for t in np.unique(found.at)}
        return self.found[motif]

    def of_length(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """For each unit the number of the span of `length` units that begins there (-1: leaves its trace, or holds an
        echo, a forced opening or a tag of the format), and for each number how many traces hold it."""
        if length not in self.grams:
            n = len(self.doc)
            gram = self.units.symbols.astype(np.int64)
            for k in range(1, length):
                following = np.concatenate([self.units.symbols[k:], np.zeros(k, np.int64)])
                gram = np.unique(gram * (len(self.units.forms) + 1) + following, return_inverse=True)[1]
            end = np.minimum(np.arange(n) + length, n)
            clear = (self.doc[end - 1] == self.doc) & (np.arange(n) + length <= n)
            clear &= self.barred[end] == self.barred[:-1]
            gram = np.unique(gram, return_inverse=True)[1]
            held = np.unique(np.stack([gram[clear], self.doc[clear]], 1), axis=0)[:, 0]
            self.grams[length] = np.where(clear, gram, -1), np.bincount(held, minlength=gram.max(initial=-1) + 1)
        return self.grams[length]

    def others(self, trace: int, uses: np.ndarray, support: int, rng: np.random.Generator) -> np.ndarray | None:
        """int[k, 2], all uses in a trace of one random span that is no use of the motif and overlaps none, of the same
        length, and held by as many traces as the motif (`support`), within a factor of 2; if none is, the nearest."""
        length = int(uses[0, 1] - uses[0, 0])
        gram, held = self.of_length(length)
        first, last = int(self.units.bounds[trace]), int(self.units.bounds[trace + 1])
        at = np.arange(first, last)
        covered = np.zeros(last - first + 1, np.int64)
        np.add.at(covered, uses[:, 0] - first, 1)
        np.add.at(covered, uses[:, 1] - first, -1)
        touched = np.concatenate([[0], np.cumsum(np.cumsum(covered[:-1]) > 0)])
        end = np.minimum(at + length, last) - first
        at = at[(gram[at] >= 0) & (touched[end] == touched[at - first])]
        if not len(at):
            return None
        types = np.unique(gram[at])
        away = np.abs(np.log2(held[types] / support))
        chosen = int(rng.choice(types[away <= max(np.log2(LIKE), away.min())]))
        starts = at[gram[at] == chosen]
        kept, free = [], -1
        for start in starts.tolist():
            if start >= free:
                kept.append(start)
                free = start + length
        return np.array([[start, start + length] for start in kept])

    def elsewhere(self, taken: np.ndarray, support: int, rng: np.random.Generator) -> tuple[int, int]:
        """A random span of any trace, of the length of the span `taken`, held by about as many traces as `support`,
        other than what `taken` says."""
        length = int(taken[1] - taken[0])
        gram, held = self.of_length(length)
        types = np.flatnonzero((held > 0) & (np.arange(len(held)) != gram[taken[0]]))
        if not len(types):
            return int(taken[0]), int(taken[1])
        away = np.abs(np.log2(held[types] / support))
        chosen = rng.choice(types[away <= max(np.log2(LIKE), away.min())])
        start = int(rng.choice(np.flatnonzero(gram == chosen)))
        return start, start + length

    def text(self, span: Sequence[int]) -> str:
        """The forms of a span, with spaces between."""
        return " ".join(self.units.forms[s] for s in self.units.symbols[span[0] : span[1]])
