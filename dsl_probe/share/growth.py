"""Growth: what is born, grows and dies in the language of a training run, and when.

Per training run, over the steps that its traces carry: in what share of the traces each unit and each lexicon motif
stands; where that share changes most (the split of the steps with the largest binomial likelihood ratio, G2); and
whether chance would give such a change anywhere: the steps are dealt to the traces at random, within domains, and the
largest G2 over all items is kept (max-T, Westfall and Young 1993).

Not shown: that training made the change. Problems, prompts and sampling may change with the step, too; a later word may
be a later problem's. Steps are compared within domains' own mixture only as far as the dealing keeps it.
"""

import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse
from scipy.special import stdtrit

from dsl_probe.mine.corpus import group_column, problem_codes, read_symbols
from dsl_probe.share.vocab import morisita_horn
from dsl_probe.store import Run
from dsl_probe.types import GROWTH, GROWTH_EVENTS, UserError

OPENER = 3  # units
LISTED = 200  # items of a training run that get a series
BIN, BINS = 20, 40  # least traces of a step, most steps; neighbours are joined for that
RARE = 0.05  # share of traces below which an item counts as absent


@dataclass(frozen=True)
class GrowthConfig:
    """What is followed over training."""

    min_traces: int = 20
    """Least number of traces of a training run that hold a unit or motif."""
    permutations: int = 199
    """Dealings of the steps, for p."""
    seed: int = 0
    """Seed of the dealings."""


@dataclass(frozen=True)
class GrowthResult:
    """Counts of a growth job: training runs with two steps or more, items followed, and changes at p_adj <= .05."""

    runs: int
    items: int
    births: int
    rises: int
    falls: int
    deaths: int


def growth(run: Run, config: GrowthConfig = GrowthConfig(), *, force: bool = False) -> GrowthResult:
    """Follow units and lexicon motifs over training steps; writes growth.parquet and growth_events.parquet.

    Steps with few traces are joined (`binned`). growth: long form, by training run and step: the share of traces that
    hold an item, with a 95 % interval by problem; beside these the kinds opener (the first three units that are most
    common at the last step), vocabulary (units in use), lexicon (motifs in use) and sharing (mean Morisita-Horn between
    domains). growth_events: where each item changes, from what share to what, G2, p and p_adj; change is birth or death
    where the lower share is below `RARE`, else rise or fall.
    """
    if config.permutations < 99:
        raise UserError(f"--permutations is {config.permutations}; below 99 no p can reach .01.")
    if not run.begin("growth", asdict(config), run.trace_files() | run.outputs("mine"), force):
        return GrowthResult(**run.counts("growth"))
    traces = run.all_shards("traces", ["problem_id", "model", "run", "step", "domain", "meta"])
    step = _steps(traces)
    name = np.array(group_column(traces).to_pylist(), object)
    runs = [n for n in sorted(set(name[step >= 0])) if len(np.unique(step[(name == n) & (step >= 0)])) >= 2]
    for n in runs:
        own = (name == n) & (step >= 0)
        step[own] = binned(step[own])
    runs = [n for n in runs if len(np.unique(step[(name == n) & (step >= 0)])) >= 2]
    if not runs:
        run.abandon("growth")
        raise UserError(
            f"{run.path} has no training run with {BIN} traces at each of two steps or more; import traces that carry "
            "`step` (or meta with train_position), or collect with --checkpoints."
        )
    holds, items, openers = _presence(run)
    problem = problem_codes(traces)
    domain = np.unique(np.array(traces["domain"].to_pylist(), object), return_inverse=True)[1]
    series: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for training in runs:
        rows = np.flatnonzero((name == training) & (step >= 0))
        print(f"growth: {training}: {len(rows):,} traces of {len(np.unique(step[rows]))} steps", file=sys.stderr)
        found = _run(holds[:, rows], items, step[rows], problem[rows], domain[rows], config)
        shown = sorted((e for e in found if e["p_adj"] <= 0.05), key=lambda e: (-e["g2"], e["text"]))[:LISTED]
        events += [{"run": training} | {k: v for k, v in e.items() if k != "row"} for e in found]
        one = _Traces(training, rows, step[rows], problem[rows], domain[rows])
        series += [r for e in shown for r in _series(one, e["kind"], e["text"], _row(holds, e["row"])[rows])]
        series += _opener(one, openers) + _sizes(one, holds, items)
    outputs = [
        run.write_table("growth.parquet", pa.Table.from_pylist(series, schema=GROWTH)),
        run.write_table("growth_events.parquet", pa.Table.from_pylist(events, schema=GROWTH_EVENTS)),
    ]
    kinds = Counter(e["change"] for e in events if e["p_adj"] <= 0.05)
    counts = {f"{kind}s": kinds[kind] for kind in ("birth", "rise", "fall", "death")}
    result = GrowthResult(len(runs), len(events), **counts)
    run.finish("growth", outputs, asdict(result), seed=config.seed)
    return result


def _steps(traces: pa.Table) -> np.ndarray:
    """int64[n]: training step of each trace; where there is none, train_position (0 to 1) in thousandths; else -1."""
    step = np.array([-1 if s is None else s for s in traces["step"].to_pylist()], np.int64)
    for i, meta in enumerate(traces["meta"].to_pylist()):
        if step[i] < 0 and meta and "train_position" in meta:
            position = json.loads(meta).get("train_position")
            step[i] = -1 if position is None else round(1_000 * float(position))
    return step


def binned(step: np.ndarray) -> np.ndarray:
    """Steps joined with the next ones until each has `BIN` traces, under the first of them; at most `BINS` in all.

    >>> binned(np.repeat([1, 2, 3, 4], [15, 15, 15, 15])).tolist() == [1] * 30 + [3] * 30
    True
    """
    steps, count = np.unique(step, return_counts=True)
    least = max(BIN, -(-len(step) // BINS)) if len(steps) > BINS else BIN
    names, start, held = np.empty(len(steps), np.int64), 0, 0
    for i, many in enumerate(count):
        held += many
        names[i] = steps[start]
        if held >= least:
            start, held = i + 1, 0
    if held and start > 0:  # what is left over is too little for one of its own
        names[start:] = names[start - 1]
    return names[np.searchsorted(steps, step)]


@dataclass(frozen=True)
class _Traces:
    run: str
    rows: np.ndarray
    step: np.ndarray
    problem: np.ndarray
    domain: np.ndarray


def _presence(run: Run) -> tuple[sparse.csr_matrix, list[tuple[str, str]], list[str]]:
    """bool[items, traces]: which unit or lexicon motif stands in which trace, with (kind, text) of each; and the first
    units of each trace. Echoes, prefixes and format tags are left out."""
    symbols, flags, bounds, forms = read_symbols(run)
    n = len(bounds) - 1
    doc = np.repeat(np.arange(n), np.diff(bounds))
    own = flags == 0
    pairs = np.unique(symbols[own].astype(np.int64) * n + doc[own])
    row, trace = pairs // n, pairs % n
    items = [("unit", form) for form in forms]
    if run.has("parse.parquet"):
        lexicon = run.table("lexicon", ["motif_id", "text"]).to_pylist()
        rank = {r["motif_id"]: i for i, r in enumerate(lexicon)}
        parse = run.table("parse", ["motif_id", "trace_row"])
        motif = np.array([rank[m] for m in parse["motif_id"].to_pylist()], np.int64)
        pairs = np.unique(motif * n + parse["trace_row"].to_numpy())
        row = np.concatenate([row, pairs // n + len(items)])
        trace = np.concatenate([trace, pairs % n])
        items += [("motif", r["text"]) for r in lexicon]
    holds = sparse.csr_matrix((np.ones(len(row), np.int32), (row, trace)), shape=(len(items), n))
    openers = [" ".join(forms[s] for s in symbols[a:b][own[a:b]][:OPENER]) for a, b in pairwise(bounds)]
    return holds, items, openers


def _row(holds: sparse.csr_matrix, row: int) -> np.ndarray:
    return holds[row].toarray()[0]


def split_g2(held: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best split of steps for each item: (G2, number of steps before it).

    held int[items, steps]: traces that hold it; total int[steps]. G2 is twice the binomial log-likelihood ratio of one
    share before and another after, against one share throughout.

    >>> g2, at = split_g2(np.array([[0, 0, 9, 10]]), np.array([10, 10, 10, 10]))
    >>> int(at[0]), round(float(g2[0]), 1)
    (2, 47.4)
    """
    before, n = np.cumsum(held, 1)[:, :-1], np.cumsum(total)[:-1]
    all_held, all_n = held.sum(1, keepdims=True), total.sum()

    def log(k, m):
        with np.errstate(divide="ignore", invalid="ignore"):
            p = k / m
            return np.where(k > 0, k * np.log(p), 0.0) + np.where(m - k > 0, (m - k) * np.log1p(-p), 0.0)

    g2 = 2 * (log(before, n) + log(all_held - before, all_n - n) - log(all_held, all_n))
    best = g2.argmax(1)
    return g2[np.arange(len(g2)), best], best + 1


def _run(holds, items, step, problem, domain, config: GrowthConfig) -> list[dict[str, Any]]:
    """The change of each item of one training run that enough traces hold."""
    many = np.asarray(holds.sum(1)).ravel()
    rows = np.flatnonzero((many >= config.min_traces) & (many <= holds.shape[1] - 1))
    steps, code = np.unique(step, return_inverse=True)
    total = np.bincount(code, minlength=len(steps))
    chosen = holds[rows].astype(np.float64)

    def by_step(dealt: np.ndarray) -> np.ndarray:
        at = sparse.csr_matrix((np.ones(len(dealt)), (np.arange(len(dealt)), dealt)), shape=(len(dealt), len(steps)))
        return np.rint((chosen @ at).toarray()).astype(np.int64)

    held = by_step(code)
    g2, at = split_g2(held, total)
    rng = np.random.default_rng([config.seed, 21])
    larger, above = np.zeros(len(rows)), np.zeros(len(rows))
    place = np.lexsort((np.arange(len(domain)), domain))
    for _ in range(config.permutations):
        mixed = np.lexsort((rng.random(len(domain)), domain))
        dealt = np.empty_like(code)
        dealt[place] = code[mixed]
        null = split_g2(by_step(dealt), total)[0]
        larger += null >= g2 - 1e-9
        above += null.max(initial=0.0) >= g2 - 1e-9
    found = []
    for i, row in enumerate(rows):
        cut = at[i]
        low, high = held[i, :cut].sum() / total[:cut].sum(), held[i, cut:].sum() / total[cut:].sum()
        found.append(
            {
                "row": int(row),
                "kind": items[row][0],
                "text": items[row][1],
                "change": ("birth" if low < RARE else "rise") if high > low else ("death" if high < RARE else "fall"),
                "step": int(steps[cut]),
                "share_before": float(low),
                "share_after": float(high),
                "g2": float(g2[i]),
                "p": float((larger[i] + 1) / (config.permutations + 1)),
                "p_adj": float((above[i] + 1) / (config.permutations + 1)),
            }
        )
    return found


def _series(one: _Traces, kind: str, text: str, held: np.ndarray) -> list[dict[str, Any]]:
    """The share of traces at each step, with an interval by problem."""
    rows = []
    for s in np.unique(one.step):
        here = one.step == s
        value, low, high = _share(held[here].astype(float), one.problem[here])
        rows.append(_value(one.run, int(s), kind, text, value, low, high, int(here.sum())))
    return rows


def _value(run: str, step: int, kind: str, text: str, value: float, low: float, high: float, n: int) -> dict[str, Any]:
    return {
        "run": run,
        "step": step,
        "kind": kind,
        "text": text,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": n,
    }


def _share(held: np.ndarray, problem: np.ndarray) -> tuple[float, float, float]:
    """A share with its 95 % interval, problems as clusters; no interval from one problem."""
    _, code = np.unique(problem, return_inverse=True)
    k, mean = int(code.max()) + 1, float(held.mean())
    if k < 2:
        return mean, float("nan"), float("nan")
    off = np.bincount(code, held - mean)
    half = float(stdtrit(k - 1, 0.975)) * np.sqrt(k / (k - 1) * (off**2).sum()) / len(held)
    return mean, max(mean - half, 0.0), min(mean + half, 1.0)


def _opener(one: _Traces, openers: list[str]) -> list[dict[str, Any]]:
    """The share of traces that begin with the most common opener of the last step."""
    own = np.array([openers[r] for r in one.rows], object)
    last = Counter(own[one.step == one.step.max()].tolist())
    text = min(last, key=lambda t: (-last[t], t))
    return _series(one, "opener", text, own == text)


def _sizes(one: _Traces, holds: sparse.csr_matrix, items: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """At each step: units and lexicon motifs in use, in as many traces as the poorest step has; mean Morisita-Horn
    between the domains, over the number of traces that hold each unit."""
    units = np.array([kind == "unit" for kind, _ in items])
    steps = np.unique(one.step)
    fewest = min(int((one.step == s).sum()) for s in steps)
    rows, nan = [], float("nan")
    rng = np.random.default_rng([0, 22])
    for s in steps.tolist():
        here = np.flatnonzero(one.step == s)
        drawn = one.rows[rng.permutation(here)[:fewest]]
        used = np.asarray(holds[:, drawn].sum(1)).ravel() > 0
        for kind, mask in (("vocabulary", units), ("lexicon", ~units)):
            rows.append(_value(one.run, s, kind, "", float(used[mask].sum()), nan, nan, fewest))
        domains = np.unique(one.domain[here])
        counts = [np.asarray(holds[:, one.rows[here][one.domain[here] == d]].sum(1)).ravel()[units] for d in domains]
        pairs = [morisita_horn(a, b) for i, a in enumerate(counts) for b in counts[:i]]
        if pairs:
            rows.append(_value(one.run, s, "sharing", "", float(np.mean(pairs)), nan, nan, len(here)))
    return rows
