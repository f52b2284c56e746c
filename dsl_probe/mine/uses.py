"""Where the entries of a lexicon are used: in all traces of a run, or in the traces of a group with a language.

The run's own lexicon was parsed when it was chosen (parse.parquet). Of a language's private lexicon no uses are stored:
they are found again, by the patterns of its words and the variants of its phrases.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dsl_probe.mine.corpus import unit_forms
from dsl_probe.mine.language import LanguageConfig, language_rows
from dsl_probe.store import Run
from dsl_probe.types import UserError


@dataclass(frozen=True)
class Lexicon:
    """entries: rows of the table. variants: motif_id -> (pattern, count), falling. rows: its traces, ascending.
    private: whether it holds what a reference lacks, and no parse is stored."""

    entries: list[dict[str, Any]]
    variants: dict[str, list[tuple[list[str], int]]]
    rows: np.ndarray
    private: bool


@dataclass(frozen=True)
class Units:
    """Units of the traces `rows`, one after another. symbols int32[n]: codes into forms. starts, stops int32[n]:
    characters of the trace. steps: first units of steps, counted through all units. bounds int64[n_rows + 1]."""

    rows: np.ndarray
    symbols: np.ndarray
    flags: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    steps: np.ndarray
    bounds: np.ndarray
    forms: list[str]


@dataclass(frozen=True)
class Uses:
    """Uses by entry, then place. entry int64[k]: row of the lexicon. start, stop int64[k]: units, counted through all.
    at int64[k]: number of the trace among the rows read."""

    entry: np.ndarray
    at: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def language_config(run: Run, language: str) -> LanguageConfig:
    """What a language was learnt with. Raises UserError, with those that there are, if it was not."""
    made = run.languages()
    if language not in made:
        known = ", ".join(made) or f"none; dsl-probe mine {run.path} --language.group model=NAME makes one"
        raise UserError(f"{run.path} has no language {language!r}; there are: {known}")
    return LanguageConfig(**made[language])


def read_lexicon(run: Run, language: str | None = None) -> Lexicon:
    """The lexicon of a run; of a language with a reference its private words and phrases. A language without one has
    the run's lexicon, in the traces of its group."""
    if language is None:
        rows = np.arange(sum(shard.num_rows for shard in run.each_shard("units", ["trace_id"])))
        return _tables(run, "", rows)
    config = language_config(run, language)
    rows = language_rows(run, config)[0]
    return _tables(run, f"languages/{language}/" if config.reference else "", rows)


def _tables(run: Run, folder: str, rows: np.ndarray) -> Lexicon:
    variants: dict[str, list[tuple[list[str], int]]] = {}
    for v in run.table(f"{folder}variants").to_pylist():
        variants.setdefault(v["motif_id"], []).append((v["pattern"], v["count"]))
    return Lexicon(run.table(f"{folder}lexicon").to_pylist(), variants, rows, bool(folder))


def read_rows(run: Run, rows: np.ndarray) -> Units:
    """The units of some traces, as they were mined. Memory: about 20 bytes a unit."""
    to_form, forms = unit_forms(run)
    table = run.shard_rows("units", rows)
    if "steps" not in table.column_names:
        raise UserError(f"{run.path} was mined before steps were kept; run: dsl-probe mine {run.path} --force")
    ids, bounds = _flat(table["ids"])
    steps, step_bounds = _flat(table["steps"])
    flags, starts, stops = (_flat(table[c])[0] for c in ("flags", "starts", "stops"))
    first = np.repeat(bounds[:-1], np.diff(step_bounds))
    return Units(np.asarray(rows), to_form[ids], flags, starts, stops, steps + first, bounds, forms)


def _flat(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    lists = column.combine_chunks()
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return lists.flatten().to_numpy(), offsets - offsets[0]


def find_uses(run: Run, lexicon: Lexicon, units: Units) -> Uses:
    """Uses of each entry in the traces of `units`, outside echoes, prefixes and format; of one entry without overlap.

    What it does not show: uses of a private phrase in a variant beyond the 100 that are listed.
    """
    if not lexicon.private:
        return _parsed(run, lexicon, units)
    code = {form: i for i, form in enumerate(units.forms)}
    order = np.argsort(units.symbols, kind="stable")
    where = np.searchsorted(units.symbols[order], np.arange(len(code) + 1))
    barred = np.concatenate([[0], np.cumsum(units.flags > 0)])
    doc = np.repeat(np.arange(len(units.rows)), np.diff(units.bounds))
    found = []
    for i, entry in enumerate(lexicon.entries):
        patterns = [entry["pattern"], *(p for p, _ in lexicon.variants.get(entry["motif_id"], ()))]
        hits = []
        for pattern in {tuple(p) for p in patterns if all(unit in code for unit in p)}:
            codes = [code[unit] for unit in pattern]
            rarest = min(range(len(codes)), key=lambda j: where[codes[j] + 1] - where[codes[j]])
            start = order[where[codes[rarest]] : where[codes[rarest] + 1]] - rarest
            start = start[(start >= 0) & (start + len(codes) <= len(doc))]
            for j, symbol in enumerate(codes):
                start = start[units.symbols[start + j] == symbol]
            last = start + len(codes) - 1
            start = start[(doc[start] == doc[last]) & (barred[last + 1] == barred[start])]
            hits.append(np.column_stack([start, start + len(codes)]))
        if hits:
            start, stop = leftmost(*np.concatenate(hits).T)
            found.append((np.full(len(start), i), doc[start], start, stop))
    if not found:
        return Uses(*(np.zeros(0, np.int64) for _ in range(4)))
    return Uses(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _parsed(run: Run, lexicon: Lexicon, units: Units) -> Uses:
    few = len(units.rows) <= 100
    columns = ["motif_id", "trace_row", "start", "stop"]
    table = run.table("parse", columns, [("trace_row", "in", units.rows.tolist())] if few else None, ["motif_id"])
    codes = table["motif_id"].combine_chunks()
    codes = codes if isinstance(codes, pa.DictionaryArray) else codes.dictionary_encode()
    number = {entry["motif_id"]: i for i, entry in enumerate(lexicon.entries)}
    entry = np.array([number[m] for m in codes.dictionary.to_pylist()], np.int64)[codes.indices.to_numpy()]
    row, start, stop = (table[c].to_numpy().astype(np.int64) for c in columns[1:])
    at = np.searchsorted(units.rows, row)
    here = units.rows[np.minimum(at, len(units.rows) - 1)] == row
    entry, at, start, stop = (a[here] for a in (entry, at, start, stop))
    order = np.lexsort((start, at, entry))
    first = units.bounds[at[order]]
    return Uses(entry[order], at[order], start[order] + first, stop[order] + first)


def leftmost(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of spans that overlap the leftmost, of those that begin together the longest.

    >>> [a.tolist() for a in leftmost(np.array([4, 0, 0, 1]), np.array([6, 2, 3, 5]))]
    [[0, 4], [3, 6]]
    """
    chosen = np.array(_leftmost(start, stop), np.int64)
    return start[chosen], stop[chosen]


def _leftmost(start: np.ndarray, stop: np.ndarray) -> list[int]:
    kept, end = [], -1
    for i in np.lexsort((-stop, start)).tolist():
        if start[i] >= end:
            kept.append(i)
            end = stop[i]
    return kept


def cover(uses: Uses) -> Uses:
    """Uses of all entries in their order in the text, without overlap: the leftmost, then the longest."""
    kept = _leftmost(uses.start, uses.stop)
    return Uses(uses.entry[kept], uses.at[kept], uses.start[kept], uses.stop[kept])
