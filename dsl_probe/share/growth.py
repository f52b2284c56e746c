"""The growth stage: how a language comes up over a training, from a mined run whose traces carry their training step.

For each training run: the share of traces that hold each lexicon motif, each single unit and each opener, by step;
and of each step how much of the lexicon is in use, how large the vocabulary is, how far one opener rules, and how far
domains share their words. Births, change points and deaths are tested in births.py.
"""

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy import sparse
from scipy.special import stdtrit

from dsl_probe.groups import group_columns, problem_codes, select_rows
from dsl_probe.mine.corpus import group_column, read_symbols
from dsl_probe.mine.entries import motif_id
from dsl_probe.share.births import find_events, is_paired
from dsl_probe.share.corpus import CONTENT_KINDS
from dsl_probe.share.domains import deleted_sharing
from dsl_probe.share.means import share_intervals
from dsl_probe.share.openers import find_openers
from dsl_probe.share.rarefy import count_matrix, rarefied, summed
from dsl_probe.share.vocab import jackknife
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import FORMAT, GROWTH, GROWTH_EVENTS, PREFIX, UserError


@dataclass(frozen=True)
class GrowthConfig:
    """Whose growth, in how many steps."""

    group: str | None = None
    """The traces: column=value[,column=value], such as run=NAME (default: all that carry a step)."""
    step_traces: int = 20
    """Least traces of a step: consecutive steps with fewer are taken together, under the name of the first."""
    max_steps: int = 30
    """Most steps of a training run; more are taken together."""
    permutations: int = 499
    """Times the steps are dealt anew to the traces."""
    seed: int = 0
    """Seed of the permutations."""


@dataclass(frozen=True)
class GrowthResult:
    """Counts of a growth job. `born`, `died`, `changed`: items at an adjusted p of .05 or less, over all training runs.
    `left_out`: training runs whose traces fill no two steps."""

    runs: int
    traces: int
    items: int
    born: int
    died: int
    changed: int
    left_out: int


@stage_of_run
def growth(run: Run, config: GrowthConfig = GrowthConfig(), *, force: bool = False) -> GrowthResult:
    """Follow motifs, units and openers over the steps of each training run; writes growth, growth_events.

    A training run is the column `run`, else `model`. Its steps are the column `step`, else, in percent of the training,
    `train_position` of the meta (0 to 1). Items are held by at least as many of its traces and problems as the mine
    stage asks for, its steps pooled. kind `motif`, `unit`, `opener` (first three units after forced prefix and format
    tags): share of the step's traces that hold the item, mean over problems, with a Wilson 95 % interval whose n is
    what the variance between problems comes to (Franco, Little, Louis and Slud 2019); n: traces. kind `opener`, id
    `top`: the step's most common opener. kind `lexicon`: `motifs` in use in equally many traces, and `vocabulary`, word
    types in equally many units, both half of what the poorest step has (`seen_in`); `sharing`: mean
    Morisita-Horn similarity of the pairs of domains; intervals by jackknife over problems.

    Memory: about 60 bytes a unit, 16 bytes a step and item.

    What it does not show: a cause. Traces that grow longer hold more of everything, and steps whose problems differ
    differ in topic. `top` is the largest of many shares, so biased upward, the more so in small steps. Training steps
    follow each other: neighbours are almost one model, and a birth is a fact of this training run, not of its recipe.
    """
    for name, least in (("step_traces", 1), ("max_steps", 2), ("permutations", 19)):
        if getattr(config, name) < least:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(config, name)}; the least is {least}.")
    if not run.begin("growth", asdict(config), run.trace_files() | run.outputs("mine"), force):
        return GrowthResult(**run.counts("growth"))
    try:
        traces, rows, steps = _select(run, config.group)
    except UserError:
        run.abandon("growth")
        raise
    corpus = _Corpus.load(run, traces)
    names = np.array(group_column(traces).to_pylist(), object)
    long, events, left_out, used = [], [], 0, 0
    for name in sorted(set(names[rows])):
        own = rows[names[rows] == name]
        step, first = merged(steps[own], max(config.step_traces, -(-len(own) // config.max_steps)))
        if len(first) < 2:
            left_out += 1
            continue
        say(f"growth: {name}: {len(own):,} traces at {len(first)} steps")
        used += len(own)
        one = _Training(corpus, name, own, step, first)
        long += one.rows()
        events += one.events(config)
    if not used:
        run.abandon("growth")
        raise UserError(
            f"no training run of {run.path} fills two steps of {config.step_traces} traces; lower --step-traces."
        )
    outputs = [
        run.write_table("growth.parquet", pa.Table.from_pylist(long, schema=GROWTH)),
        run.write_table("growth_events.parquet", pa.Table.from_pylist(events, schema=GROWTH_EVENTS)),
    ]
    result = GrowthResult(
        runs=len({e["run"] for e in long}),
        traces=used,
        items=len(events),
        born=sum(e["birth"] is not None for e in events),
        died=sum(e["death"] is not None for e in events),
        changed=sum(bool(e["p_adj"] <= 0.05) for e in events),
        left_out=left_out,
    )
    run.finish("growth", outputs, asdict(result), seed=config.seed)
    return result


def merged(steps: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes int[n] of the steps, consecutive ones taken together to `least` traces each; and the first step of each.

    >>> merged(np.array([0, 0, 1, 2, 2, 3]), 2)
    (array([0, 0, 1, 1, 1, 1]), array([0, 1]))
    """
    values, code, counts = np.unique(steps, return_inverse=True, return_counts=True)
    starts, have = [], least
    for i, many in enumerate(counts.tolist()):
        if have >= least:
            starts, have = [*starts, i], 0
        have += many
    if have < least and len(starts) > 1:
        starts.pop()
    return np.searchsorted(starts, code, side="right") - 1, values[starts]


def _select(run: Run, group: str | None) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """The traces, the rows that are of the group and carry a step, and the step of every row."""
    columns = {"problem_id", "domain", "model", "run", "step", "meta", *group_columns(group)}
    traces = run.all_shards("traces", sorted(columns))
    steps = traces["step"].to_numpy(zero_copy_only=False).astype(float)
    for i in np.flatnonzero(np.isnan(steps)):
        position = json.loads(traces["meta"][int(i)].as_py() or "{}").get("train_position")
        if isinstance(position, int | float):
            steps[i] = round(100 * position)
    rows = select_rows(traces, group) if group else np.arange(traces.num_rows)
    known = rows[~np.isnan(steps[rows])]
    if len(known) == 0:
        raise UserError(
            f"none of the {len(rows):,} traces carries a training step: import them with a column step, a model name "
            "that ends in `step N`, or train_position (0 to 1)."
        )
    return traces, known, np.nan_to_num(steps).astype(np.int64)


class _Item(NamedTuple):
    kind: str
    id: str
    text: str


@dataclass(frozen=True)
class _Corpus:
    """What all training runs read. held: [traces, items]; words: [traces, forms], counts of units that are words."""

    held: sparse.csr_matrix
    items: list[_Item]
    words: sparse.csr_matrix
    problem: np.ndarray
    domain: np.ndarray
    least: tuple[int, int]

    @classmethod
    def load(cls, run: Run, traces: pa.Table) -> "_Corpus":
        config = (run.stage("mine") or {})["config"]
        joiner = "" if config["units"] == "tokens" else " "
        symbols, flags, bounds, forms = read_symbols(run)
        doc = np.repeat(np.arange(traces.num_rows), np.diff(bounds))
        free = flags == 0
        counts = count_matrix(doc[free], symbols[free], (traces.num_rows, len(forms)))
        lexicon = run.table("lexicon", ["motif_id", "text"]).to_pylist()
        row = {entry["motif_id"]: i for i, entry in enumerate(lexicon)}
        parse = run.table("parse", ["motif_id", "trace_row"])
        used = np.array([row[name] for name in parse["motif_id"].to_pylist()], np.int64)
        motifs = count_matrix(parse["trace_row"].to_numpy(), used, (traces.num_rows, len(lexicon)))
        items = [_Item("motif", entry["motif_id"], entry["text"]) for entry in lexicon]
        units = [_Item("unit", motif_id(config["units"], [form]), form) for form in forms]
        fresh = np.array([i for i, unit in enumerate(units) if unit.id not in row], np.int64)
        opened, openers, which = find_openers(symbols, (flags & (PREFIX | FORMAT)) == 0, doc, traces.num_rows)
        opens = count_matrix(opened, which, (traces.num_rows, len(openers)))
        written = [[forms[s] for s in pattern] for pattern in openers.tolist()]
        items += [units[i] for i in fresh]
        items += [_Item("opener", motif_id(config["units"], w), joiner.join(w)) for w in written]
        vocabulary = run.table("vocabulary", ["slot", "kind"]).to_pylist()
        no_word = {v["slot"] for v in vocabulary if v["kind"] in CONTENT_KINDS}
        return cls(
            sparse.csr_matrix(sparse.hstack([motifs > 0, counts[:, fresh] > 0, opens]), dtype=np.float64),
            items,
            counts.multiply(np.array([form not in no_word for form in forms])).tocsr(),
            problem_codes(traces),
            np.array(traces["domain"].to_pylist(), object),
            (config["min_traces"], config["min_problems"]),
        )


class _Training:
    """One training run: its traces, their steps, and its items, used often enough with the steps pooled."""

    def __init__(self, corpus: _Corpus, name: str, rows: np.ndarray, step: np.ndarray, first: np.ndarray):
        self.name, self.step, self.first = name, step, first
        self.problem = np.unique(corpus.problem[rows], return_inverse=True)[1]
        self.domain, self.words, held = corpus.domain[rows], corpus.words[rows], corpus.held[rows]
        kinds = np.array([item.kind for item in corpus.items], object)
        self.lexicon, self.opens = held[:, kinds == "motif"], held[:, kinds == "opener"]
        self.openers = [item for item in corpus.items if item.kind == "opener"]
        by_problem = count_matrix(self.problem, np.arange(len(rows)), (self.problem.max() + 1, len(rows))) @ held
        problems = np.bincount(by_problem.tocsr().indices, minlength=held.shape[1])
        enough = (np.asarray(held.sum(0)).ravel() >= corpus.least[0]) & (problems >= corpus.least[1])
        self.items = [corpus.items[i] for i in np.flatnonzero(enough)]
        self.held = held[:, enough]

    def _row(self, s: int, item: tuple[str, str, str], values: tuple[float, float, float]) -> dict[str, Any]:
        kind, id, text = item
        value, low, high = (None if np.isnan(v) else float(v) for v in values)
        about = {"run": self.name, "step": int(self.first[s]), "kind": kind, "id": id, "text": text}
        return about | {"value": value, "ci_low": low, "ci_high": high, "n": int((self.step == s).sum())}

    def rows(self) -> list[dict[str, Any]]:
        """Rows of growth.parquet."""
        found = []
        units = np.asarray(self.words.sum(1)).ravel()
        half = int(np.bincount(self.step, weights=units).min()) // 2
        traces = int(np.bincount(self.step).min()) // 2
        for s in range(len(self.first)):
            here = self.step == s
            parts = share_intervals(*self._sums(self.held, here))
            found += [self._row(s, item, v) for item, v in zip(self.items, zip(*parts, strict=True), strict=True)]
            top = int(np.asarray(self.opens[here].sum(0)).ravel().argmax())
            share, low, high = share_intervals(*self._sums(self.opens[:, [top]], here))
            found.append(self._row(s, ("opener", "top", self.openers[top].text), (share[0], low[0], high[0])))
            vocabulary = rarefied(self.words[here], units[here], self.problem[here], half)
            found.append(self._row(s, ("lexicon", "vocabulary", f"word types in {half} units"), vocabulary))
            if self.lexicon.shape[1]:
                motifs = rarefied(self.lexicon[here], np.ones(here.sum()), self.problem[here], traces)
                found.append(self._row(s, ("lexicon", "motifs", f"lexicon motifs in {traces} traces"), motifs))
            sharing = self._sharing(here)
            if sharing:
                found.append(self._row(s, ("sharing", "morisita_horn", "mean over pairs of domains"), sharing))
        return found

    def _sums(self, held: sparse.csr_matrix, here: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        means = self._means(held, here)
        squares = np.asarray(means.multiply(means).sum(0)).ravel()
        return np.asarray(means.sum(0)).ravel(), squares, len(np.unique(self.problem[here]))

    def _means(self, held: sparse.csr_matrix, here: np.ndarray) -> sparse.csr_matrix:
        """[problems, items]: share of a problem's traces among `here` that hold an item."""
        rows = np.flatnonzero(here)
        many = np.bincount(self.problem[rows], minlength=self.problem.max() + 1)
        weight = 1 / many[self.problem[rows]]
        return sparse.csr_matrix((weight, (self.problem[rows], rows)), (len(many), len(here))) @ held

    def _sharing(self, here: np.ndarray) -> tuple[float, float, float] | None:
        by_domain = {}
        for domain in np.unique(self.domain[here]):
            rows = here & (self.domain == domain)
            part = summed(self.words[rows], self.problem[rows])
            by_domain[str(domain)] = part[np.flatnonzero(part.sum(1))]
        pairs = [p for p in combinations(by_domain, 2) if min(by_domain[d].shape[0] for d in p) >= 2]
        if not pairs:
            return None
        value, deleted = deleted_sharing(by_domain, pairs)
        return jackknife(value, [value + d for d in deleted.values()]).interval(corrected=True)

    def events(self, config: GrowthConfig) -> list[dict[str, Any]]:
        """Rows of growth_events.parquet."""
        found = find_events(self.held, self.step, self.problem, config.permutations, config.seed)
        last = len(self.first) - 1
        change = self._change(self._means(self.held, self.step == 0), self._means(self.held, self.step == last), last)
        shares = [share_intervals(*self._sums(self.held, self.step == s))[0] for s in range(last + 1)]

        def at(step: int) -> int | None:
            return None if step < 0 else int(self.first[step])

        rows = []
        for i, item in enumerate(self.items):
            own = [float(share[i]) for share in shares]
            rows.append(
                {"run": self.name, **item._asdict(), "first": own[0], "highest": max(own), "last": own[-1]}
                | {"growth": change[0][i], "ci_low": change[1][i], "ci_high": change[2][i]}
                | {"birth": at(found.birth[i]), "birth_p_adj": found.birth_p[i]}
                | {"change": at(found.change[i]), "p": found.p[i], "p_adj": found.p_adj[i]}
                | {"death": at(found.death[i]), "death_p_adj": found.death_p[i], "n": len(self.step)}
            )
        return rows

    def _change(self, a: sparse.csr_matrix, b: sparse.csr_matrix, last: int) -> list[np.ndarray]:
        """Last less first share, over the problems of both where they are paired, with t limits by problem."""
        seen = [np.isin(np.arange(a.shape[0]), self.problem[self.step == s]) for s in (0, last)]
        both = seen[0] & seen[1]
        parts = [b - a] if is_paired(self.step, self.problem) and both.sum() > 1 else [b, -a]
        within = [both] if len(parts) == 1 else [seen[1], seen[0]]
        value, variance, squared = np.zeros(a.shape[1]), np.zeros(a.shape[1]), np.zeros(a.shape[1])
        for part, rows in zip(parts, within, strict=True):
            part, n = part[np.flatnonzero(rows)], int(rows.sum())
            mean = np.asarray(part.mean(0)).ravel()
            value += mean
            spread = np.asarray(part.multiply(part).mean(0)).ravel() - mean**2
            own = np.maximum(spread, 0) / max(n - 1, 1)
            variance, squared = variance + own, squared + own**2 / max(n - 1, 1)
        df = np.divide(variance**2, squared, out=np.ones(len(value)), where=squared > 0)
        half = stdtrit(df, 0.975) * np.sqrt(variance)
        return [value, value - half, value + half]
