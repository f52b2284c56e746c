"""The compare stage: which motifs one group of traces over-uses, and how far its domains share a vocabulary."""

import hashlib
import re
import sys
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from dsl_probe.mine.stage import problem_codes
from dsl_probe.share import vocab
from dsl_probe.share.groups import group_columns, select_rows
from dsl_probe.share.logodds import log_odds
from dsl_probe.share.permute import TestResult, clustered_test, paired_test, stable_share
from dsl_probe.store import Run
from dsl_probe.types import COMPARISON, SHARING, UserError

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
# Estimate, low and high end of the 95 % interval.
Interval = tuple[float, float, float]
_CONTENT_KINDS = ("number", "data", "format")


@dataclass(frozen=True)
class CompareConfig:
    """Two groups of traces and how they are tested."""

    a: str
    """First group: column=value[,column=value], for example model=NAME,domain=math."""
    b: str
    """Second group."""
    base: str | None = None
    """Reference group for novelty. Default: the start model that the traces of A name; without one, not tested."""
    permutations: int = 1_000
    """Permutations of each test; the least p is 1 / (permutations + 1)."""
    seed: int = 0
    """Seed of the permutations."""
    min_problems: int = 10
    """Least number of problems that hold a motif, both groups pooled, for it to be tested."""
    min_units: int = 20
    """Problems in which either group wrote fewer counted units than this are left out: a rate over a handful of units
    is mostly the opening word."""
    include_format: bool = False
    """Test motifs that hold format tags such as <think> too."""
    drop_truncated: bool = False
    """Leave out traces that ended at the length limit or in a loop."""
    name: str | None = None
    """Name of the comparison. Default: made from the groups."""


@dataclass(frozen=True)
class CompareResult:
    """Counts of a comparison. discoveries: motifs with p_adj <= .05 over all domains, at equal units."""

    id: str
    design: str
    problems: int
    traces_a: int
    traces_b: int
    left_out_a: int
    left_out_b: int
    units_a: int
    units_b: int
    motifs_tested: int
    discoveries_a: int
    discoveries_b: int
    discoveries_raw: int
    domains: dict[str, str]
    accuracy_a: float | None = None
    accuracy_b: float | None = None
    accuracy_difference: Interval | None = None
    sharing_difference: Interval | None = None


class Comparison:
    """A finished comparison of a run: `.table`, `.sharing`, `.summary()`."""

    def __init__(self, run: Run, id: str):
        record = run.stage(f"compare.{id}")
        if record is None:
            raise UserError(f"no comparison {id!r} in {run.path}; there are: {', '.join(run.comparisons()) or 'none'}.")
        self.run, self.id = run, id
        self.config = CompareConfig(**record["config"])
        self.result = CompareResult(**record["counts"])

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row a (domain or `all`, matched, motif); see `types.COMPARISON`."""
        return self.run.frame(f"comparisons/{self.id}/comparison")

    @cached_property
    def sharing(self) -> "pd.DataFrame":
        """One row a (group, domain pair, measure); see `types.SHARING`."""
        return self.run.frame(f"comparisons/{self.id}/sharing")

    def discoveries(self, domain: str = "all", matched: str = "equal units") -> "pd.DataFrame":
        """Motifs with p_adj <= .05, the most over-used by A first."""
        t = self.table
        found = t[(t.domain == domain) & (t.matched == matched) & (t.p_adj <= ALPHA)]
        return found.sort_values("z", ascending=False)

    def summary(self) -> str:
        """What was found, in sentences, as weak as the evidence."""
        from dsl_probe.share.findings import findings

        return "\n".join(f.text for f in findings(self))


def comparison_id(config: CompareConfig) -> str:
    """Name of a comparison's folder: the one asked for, or a readable one with a hash of the groups."""
    if config.name:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", config.name):
            raise UserError(f"--name {config.name!r}: use letters, digits, - and _ only, 80 at most.")
        return config.name
    slugs = [re.sub(r"[^a-z0-9]+", "-", g.partition("=")[2].lower()).strip("-")[:32].strip("-") for g in (config.a, config.b)]
    key = hashlib.blake2b("\0".join([config.a, config.b, config.base or ""]).encode(), digest_size=3).hexdigest()
    return f"{slugs[0]}-vs-{slugs[1]}-{key}"


def compare(run: Run, config: CompareConfig | None = None, *, force: bool = False, **options: Any) -> Comparison:
    """Compare two groups of traces; writes comparisons/ID/{comparison,sharing}.parquet.

    compare(run, a="model=X", b="model=Y") is compare(run, CompareConfig(a=..., b=...)).

    Paired (problems that both groups answered): the groups are swapped at random within each problem; where one group
    has more samples of a problem, only as many as the other has are used. Unpaired: whole problems are exchanged within
    a domain. The headline is `equal units`: within a problem every trace is cut so that both groups have the same
    number of counted units (unpaired: cut to the domain's median length); `raw` stands beside it. p is the permutation
    p of the studentised difference in rate, p_adj its step-down max-T over all motifs of the same domain and matching,
    p_presence and p_adj_presence the same for how often a trace holds the motif at all. rate_a and rate_b are means
    over problems, per unit.

    What it does not show: a cause. The groups may differ in template, sampling, accuracy or truncation; problems made
    from one template are less independent than they count; rates are compositional.
    """
    config = config or CompareConfig(**options)
    if config.permutations < 99:
        raise UserError(f"--permutations is {config.permutations}; below 99 no p can reach .01.")
    id = comparison_id(config)
    stage = f"compare.{id}"
    inputs = run.outputs("import") | run.outputs("mine")
    if run.begin(stage, asdict(config), inputs, force):
        try:
            corpus = Corpus.load(run, group_columns(config.a, config.b, config.base))
            table, result = compare_rows(corpus, config, *_groups(corpus, config), id=id)
        except UserError:
            run.abandon(stage)
            raise
        shared, difference = _sharing(corpus, config, result.sample)
        outputs = [
            run.write_table(f"comparisons/{id}/comparison.parquet", table),
            run.write_table(f"comparisons/{id}/sharing.parquet", pa.Table.from_pylist(shared, schema=SHARING)),
        ]
        counts = replace(result.counts, sharing_difference=difference)
        run.finish(stage, outputs, asdict(counts), seed=config.seed)
    return Comparison(run, id)


@dataclass(frozen=True)
class Corpus:
    """What every comparison of a run reads: traces, counted units, occurrences outside echoes.

    counted: int32[units + 1], cumulative number of counted units (no echo, prefix or format). Occurrences are sorted by
    motif; motif m is row m of the motifs table.
    """

    run: Run
    traces: pa.Table
    problem: np.ndarray
    bounds: np.ndarray
    counted: np.ndarray
    motif: np.ndarray
    trace: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    motifs: pa.Table

    @classmethod
    def load(cls, run: Run, columns: list[str]) -> "Corpus":
        names = sorted({"problem_id", "domain", "sample", "finish", "correct", "start_model", "model", *columns})
        traces = run.all_shards("traces", names)
        flags, lengths = [], []
        for shard in run.each_shard("units", ["flags"]):
            lists = shard["flags"].combine_chunks()
            flags.append(lists.flatten().to_numpy())
            lengths.append(np.diff(lists.offsets.to_numpy()))
        flat = np.concatenate(flags)
        counted = np.zeros(len(flat) + 1, np.int32)
        np.cumsum(flat == 0, out=counted[1:])
        motifs = run.table("motifs", ["motif_id", "text", "length", "format"])
        found = run.table("occurrences", ["motif_id", "trace_row", "start", "stop", "echo"], dictionary=["motif_id"])
        codes = found["motif_id"].unify_dictionaries().combine_chunks()
        ids = motifs["motif_id"].to_pylist()
        rank = {name: i for i, name in enumerate(ids)}
        to_row = np.array([rank[name] for name in codes.dictionary.to_pylist()], np.int32)
        own = ~found["echo"].to_numpy()
        motif = to_row[codes.indices.to_numpy()][own] if len(to_row) else np.zeros(0, np.int32)
        return cls(
            run, traces, problem_codes(traces), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
            counted, motif, *(found[n].to_numpy()[own] for n in ("trace_row", "start", "stop")), motifs,
        )

    @cached_property
    def domains(self) -> np.ndarray:
        return np.array(self.traces["domain"].to_pylist(), object)

    @cached_property
    def units(self) -> np.ndarray:
        """Counted units of each trace, int32[n_traces]."""
        return self.counted[self.bounds[1:]] - self.counted[self.bounds[:-1]]


@dataclass(frozen=True)
class Sample:
    """The traces that are tested: rows, group (0 = A, 1 = B), item (problem) of each, and per item its domain."""

    rows: np.ndarray
    group: np.ndarray
    item: np.ndarray
    item_domain: np.ndarray
    paired: bool


@dataclass(frozen=True)
class Compared:
    """What `compare_rows` found beside the table: the counts, and the samples that were used."""

    counts: CompareResult
    sample: Sample


def _groups(corpus: Corpus, config: CompareConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rows_a, rows_b = (select_rows(corpus.traces, g) for g in (config.a, config.b))
    if config.drop_truncated:
        bad = np.isin(np.array(corpus.traces["finish"].to_pylist(), object), ["length", "loop"])
        rows_a, rows_b = rows_a[~bad[rows_a]], rows_b[~bad[rows_b]]
        if not len(rows_a) or not len(rows_b):
            raise UserError("--drop-truncated leaves one group without traces.")
    base = None
    if config.base:
        base = select_rows(corpus.traces, config.base)
    else:
        named = {n for n in corpus.traces["start_model"].take(pa.array(rows_a)).to_pylist() if n}
        found = np.isin(np.array(corpus.traces["model"].to_pylist(), object), list(named))
        base = np.flatnonzero(found) if len(named) == 1 and found.any() else None
    return rows_a, rows_b, base


def compare_rows(
    corpus: Corpus, config: CompareConfig, rows_a: np.ndarray, rows_b: np.ndarray, base: np.ndarray | None = None,
    *, id: str = "", tests: tuple[str, ...] = ("rate", "presence"),
) -> tuple[pa.Table, Compared]:
    """Compare two sets of trace rows; what `compare` does once the groups are chosen. For null splits and simulations."""
    sample = choose_sample(corpus, rows_a, rows_b, config.min_problems, config.min_units)
    names = [d for d in np.unique(sample.item_domain)]
    families = [("all", sample)] + [(d, _restrict(sample, d)) for d in names]
    tables, designs = [], {}
    tested = 0
    for domain, part in families:
        ok = _enough(part, config.min_problems)
        designs[domain] = ("paired" if part.paired else "unpaired") if ok else "not tested: too few problems"
        if not ok or (domain != "all" and len(names) == 1):
            continue
        for matched in ("equal units", "raw"):
            _say(f"{domain}, {matched}")
            columns = _family(corpus, config, part, matched, base, tests)
            if domain == "all":
                tested = len(columns["z"])
            columns |= {"a": config.a, "b": config.b, "base": config.base, "domain": domain, "matched": matched,
                        "design": "paired" if part.paired else "unpaired"}
            tables.append(_as_table(columns))
    if not tables:
        raise UserError(
            f"too few problems to test anything: {len(np.unique(sample.item))} where at least {config.min_problems} "
            f"are needed in each group; give more traces or lower --min-problems."
        )
    table = pa.concat_tables(tables)
    whole = table.filter(np.array([d == "all" for d in table["domain"].to_pylist()]))
    found = (whole["p_adj"].to_numpy() <= ALPHA), np.array(whole["matched"].to_pylist()) == "raw", whole["z"].to_numpy()
    return table, Compared(CompareResult(
        id=id, design="paired" if sample.paired else "unpaired",
        problems=len(sample.item_domain),
        traces_a=int((sample.group == 0).sum()), traces_b=int((sample.group == 1).sum()),
        left_out_a=len(rows_a) - int((sample.group == 0).sum()), left_out_b=len(rows_b) - int((sample.group == 1).sum()),
        units_a=int(corpus.units[sample.rows[sample.group == 0]].sum()),
        units_b=int(corpus.units[sample.rows[sample.group == 1]].sum()),
        motifs_tested=tested,
        discoveries_a=int((found[0] & ~found[1] & (found[2] > 0)).sum()),
        discoveries_b=int((found[0] & ~found[1] & (found[2] < 0)).sum()),
        discoveries_raw=int((found[0] & found[1]).sum()), domains=designs, **_accuracy(corpus, sample),
    ), sample)


def _accuracy(corpus: Corpus, sample: Sample) -> dict[str, Any]:
    """Accuracy of both groups, mean over problems, and their difference with its 95 % interval by problem."""
    correct = np.array(corpus.traces["correct"].take(pa.array(sample.rows)).to_pylist(), float)
    known = ~np.isnan(correct)
    total, n = np.zeros((2, len(sample.item_domain))), np.zeros((2, len(sample.item_domain)))
    np.add.at(total, (sample.group[known], sample.item[known]), correct[known])
    np.add.at(n, (sample.group[known], sample.item[known]), 1)
    mean = np.divide(total, n, out=np.full_like(total, np.nan), where=n > 0)
    if sample.paired:
        mean = mean[:, ~np.isnan(mean).any(0)]
        parts = [mean[0] - mean[1]]
    else:
        parts = [m[~np.isnan(m)] for m in mean]
    if min(len(p) for p in parts) < 2:
        return {}
    a, b = (float(np.nanmean(m)) for m in mean)
    half = 1.959964 * float(np.sqrt(sum(p.var(ddof=1) / len(p) for p in parts)))
    return {"accuracy_a": a, "accuracy_b": b, "accuracy_difference": (a - b, a - b - half, a - b + half)}


def choose_sample(
    corpus: Corpus, rows_a: np.ndarray, rows_b: np.ndarray, min_problems: int, min_units: int = 0
) -> Sample:
    """Pair the groups by problem where at least `min_problems` are shared, else keep whole problems apart.

    Paired: the first min(n_a, n_b) samples of each shared problem. Unpaired: problems that both groups hold are left
    out, since they can belong to neither. Problems in which a group wrote fewer than `min_units` are left out; the rule
    does not look at which group it is.
    """
    rows = np.concatenate([rows_a, rows_b])
    group = np.repeat([0, 1], [len(rows_a), len(rows_b)])
    names = corpus.domains[rows]
    domain_names, domain = np.unique(names, return_inverse=True)
    key = corpus.problem[rows].astype(np.int64) * len(domain_names) + domain
    keys, item = np.unique(key, return_inverse=True)
    order = np.lexsort((rows, np.array(corpus.traces["sample"].take(pa.array(rows)).to_pylist()), group, item))
    rows, group, item = rows[order], group[order], item[order]
    n = np.zeros((2, len(keys)), np.int64)
    np.add.at(n, (group, item), 1)
    both = n.min(0)
    paired = int((both > 0).sum()) >= min_problems
    if paired:
        block = item * 2 + group
        first = np.searchsorted(block, block)
        keep = np.arange(len(rows)) - first < both[item]
    else:
        keep = both[item] == 0
    rows, group, item = rows[keep], group[keep], item[keep]
    wrote = np.zeros((2, len(keys)), np.int64)
    np.add.at(wrote, (group, item), corpus.units[rows])
    enough = (wrote.min(0) if paired else wrote.max(0))[item] >= min_units
    rows, group, item = rows[enough], group[enough], item[enough]
    used, item = np.unique(item, return_inverse=True)
    return Sample(rows, group, item, domain_names[keys[used] % max(len(domain_names), 1)], paired)


def _restrict(sample: Sample, domain: str) -> Sample:
    inside = sample.item_domain == domain
    keep = inside[sample.item]
    code = np.cumsum(inside) - 1
    return Sample(sample.rows[keep], sample.group[keep], code[sample.item[keep]], sample.item_domain[inside], sample.paired)


def _enough(sample: Sample, least: int) -> bool:
    per_group = [len(np.unique(sample.item[sample.group == g])) for g in (0, 1)]
    return min(per_group) >= least


def cuts(sample: Sample, units: np.ndarray) -> np.ndarray:
    """Counted units to keep of each trace of the sample so that the groups have equal amounts of text. int64[traces].

    Paired: within a problem the group with more units is cut, each of its traces by the same share, to the total of the
    other. Unpaired: to the median length of the domain's traces, both groups pooled. Neither rule looks at which group
    is which, so that the permutations stay exact.
    """
    own = units[sample.rows].astype(np.int64)
    if sample.paired:
        total = np.zeros((2, len(sample.item_domain)), np.int64)
        np.add.at(total, (sample.group, sample.item), own)
        share = total.min(0)[sample.item] / np.maximum(total[sample.group, sample.item], 1)
        return np.floor(own * share + 1e-9).astype(np.int64)
    limit = np.empty(len(own), np.int64)
    for domain in np.unique(sample.item_domain):
        here = sample.item_domain[sample.item] == domain
        limit[here] = int(np.median(own[here]))
    return np.minimum(own, limit)


def _family(
    corpus: Corpus, config: CompareConfig, sample: Sample, matched: str, base: np.ndarray | None, tests: tuple[str, ...]
) -> dict[str, Any]:
    """All columns for one family of tests: one domain (or all of them), one matching."""
    units = corpus.units[sample.rows].astype(np.int64)
    keep_units = cuts(sample, corpus.units) if matched == "equal units" else units
    entry, motif, count = _trace_counts(corpus, sample.rows, keep_units)
    n_items, n_motifs = len(sample.item_domain), corpus.motifs.num_rows
    # Filter on the pooled traces of both groups: no motif is chosen by looking at who uses it.
    held = sparse.csr_matrix((np.ones(len(motif)), (sample.item[entry], motif)), (n_items, n_motifs))
    held.data[:] = 1
    wanted = np.asarray(held.sum(0)).ravel() >= config.min_problems
    if not config.include_format:
        wanted &= ~corpus.motifs["format"].to_numpy()
    chosen = np.flatnonzero(wanted)
    code = np.cumsum(wanted) - 1
    keep = wanted[motif]
    entry, motif, count = entry[keep], code[motif[keep]], count[keep]

    item, group = sample.item[entry], sample.group[entry]
    shape = (n_items, len(chosen))
    per_item = np.zeros((2, n_items))
    np.add.at(per_item, (sample.group, sample.item), 1)

    def by_group(values: np.ndarray, g: int) -> sparse.csr_matrix:
        here = group == g
        return sparse.csr_matrix((values[here], (item[here], motif[here])), shape)

    n_samples = per_item[group, item]
    rates = [by_group(count / np.maximum(keep_units[entry], 1) / n_samples, g) for g in (0, 1)]
    presence = [by_group(1 / n_samples, g) for g in (0, 1)]
    totals = [by_group(count.astype(float), g) for g in (0, 1)]
    texts = [by_group(np.ones(len(entry)), g) for g in (0, 1)]
    amount = np.zeros((2, n_items))
    np.add.at(amount, (sample.group, sample.item), keep_units)

    none = TestResult(*(np.full(len(chosen), np.nan) for _ in range(3)))
    rate_test, differences = _test(rates, sample, config) if "rate" in tests else (none, None)
    presence_test = _test(presence, sample, config)[0] if "presence" in tests else none
    estimate, low, high = log_odds(totals[0], amount[0], totals[1], amount[1], sample.paired)
    found = rate_test.p_adj <= ALPHA
    stable: list[bool | None] = [None] * len(chosen)
    if sample.paired and differences is not None:
        for m, share in zip(np.flatnonzero(found), stable_share(differences[:, found], 100, config.seed), strict=True):
            stable[m] = bool(share >= 0.9)
    items_of = [np.maximum((per_item[g] > 0).sum(), 1) for g in (0, 1)]
    pick = pa.array(chosen)
    return {
        "motif_id": corpus.motifs["motif_id"].take(pick), "text": corpus.motifs["text"].take(pick),
        "length": corpus.motifs["length"].take(pick),
        **{f"count_{s}": np.asarray(totals[g].sum(0)).ravel().astype(np.int64) for g, s in enumerate("ab")},
        **{f"rate_{s}": np.asarray(rates[g].sum(0)).ravel() / items_of[g] for g, s in enumerate("ab")},
        **{f"support_{s}": np.asarray(texts[g].sum(0)).ravel().astype(np.int64) for g, s in enumerate("ab")},
        **{f"problems_{s}": np.asarray((texts[g] > 0).sum(0)).ravel().astype(np.int64) for g, s in enumerate("ab")},
        "log_odds": estimate, "ci_low": low, "ci_high": high,
        "z": rate_test.z, "p": rate_test.p, "p_adj": rate_test.p_adj,
        "p_presence": presence_test.p, "p_adj_presence": presence_test.p_adj,
        "novelty": _novelty(corpus, sample, base, chosen),
        "stable": pa.array(stable, pa.bool_()), "load_bearing": pa.nulls(len(chosen), pa.bool_()),
        "verdict": np.where(found, "undecided: effects not run", "no difference found"),
    }


def _test(values: list[sparse.csr_matrix], sample: Sample, config: CompareConfig) -> tuple[TestResult, sparse.csc_matrix]:
    if sample.paired:
        difference = sparse.csc_matrix(values[0] - values[1])
        # Equal rates that were summed in another order must be equal.
        difference.data[np.abs(difference.data) < 1e-12] = 0
        difference.eliminate_zeros()
        return paired_test(difference, config.permutations, config.seed), difference
    in_a = np.zeros(len(sample.item_domain), bool)
    in_a[sample.item[sample.group == 0]] = True
    stratum = np.unique(sample.item_domain, return_inverse=True)[1]
    pooled = sparse.csc_matrix(values[0] + values[1])
    return clustered_test(pooled, in_a, stratum, config.permutations, config.seed), pooled


def _trace_counts(corpus: Corpus, rows: np.ndarray, keep_units: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Occurrences within the kept units: (position in `rows`, motif, count), one row each that is not zero.

    A trace that stands in both groups gives two positions.
    """
    entries, motifs, counts = [], [], []
    # The first and any second position of a trace; a third cannot be, there are two groups.
    order = np.argsort(rows, kind="stable")
    second = np.zeros(len(rows), bool)
    second[order[1:]] = rows[order[1:]] == rows[order[:-1]]
    for which in (~second, second):
        if not which.any():
            continue
        place = np.full(corpus.traces.num_rows, -1, np.int64)
        place[rows[which]] = np.flatnonzero(which)
        here = np.flatnonzero(place[corpus.trace] >= 0)
        at = place[corpus.trace[here]]
        base = corpus.bounds[corpus.trace[here]]
        read = corpus.counted[base + corpus.stop[here]] - corpus.counted[base]
        kept = read <= keep_units[at]
        pair, n = np.unique(corpus.motif[here][kept].astype(np.int64) * len(rows) + at[kept], return_counts=True)
        entries.append(pair % len(rows))
        motifs.append(pair // len(rows))
        counts.append(n)
    return np.concatenate(entries), np.concatenate(motifs), np.concatenate(counts)


def _novelty(corpus: Corpus, sample: Sample, base: np.ndarray | None, chosen: np.ndarray) -> list[str]:
    """Whether the base model uses the motif on the same problems."""
    if base is None:
        return ["not tested"] * len(chosen)
    base = base[np.isin(corpus.problem[base], corpus.problem[sample.rows])]
    if not len(base):
        return ["not tested: the base has none of these problems"] * len(chosen)
    _, motif, count = _trace_counts(corpus, base, corpus.units[base].astype(np.int64))
    total = np.bincount(motif, count, corpus.motifs.num_rows).astype(int)[chosen]
    return [f"absent from {len(base)} base traces" if n == 0 else f"in base: {n}" for n in total]


def _sharing(corpus: Corpus, config: CompareConfig, sample: Sample) -> tuple[list[dict[str, Any]], Interval | None]:
    """Sharing between domains for each group, and the difference A - B of its mean over the pairs of domains.

    On the same problems for both groups where the comparison is paired: then a problem is deleted from both at once,
    so that what is particular to it cancels.
    """
    names = list(np.unique(sample.item_domain))
    by_domain = [
        {d: matrix[sample.item_domain == d] for d in names} for matrix in unit_counts(corpus, sample)
    ]
    if not sample.paired:
        by_domain = [{d: m[np.flatnonzero(m.sum(1))] for d, m in part.items()} for part in by_domain]
    pairs = [
        (first, second) for i, first in enumerate(names) for second in names[i + 1 :]
        if all(min(part[first].shape[0], part[second].shape[0]) >= 2 for part in by_domain)
    ]
    rows = []
    for group, part in zip((config.a, config.b), by_domain, strict=True):
        for first, second in pairs:
            _say(f"sharing {first} / {second}")
            for row in vocab.sharing(part[first], part[second]):
                rows.append({"group": group, "domain_a": first, "domain_b": second, **row})
    return rows, _sharing_difference(by_domain, pairs, sample.paired) if pairs else None


def _sharing_difference(by_domain: list[dict[str, Any]], pairs: list[tuple[str, str]], paired: bool) -> Interval:
    """Mean Morisita-Horn similarity over the pairs of domains, A - B, with its jackknife interval by problem."""
    value = 0.0
    shift: dict[tuple[Any, ...], np.ndarray] = {}
    for g, (sign, part) in enumerate(zip((1, -1), by_domain, strict=True)):
        for pair in pairs:
            one = vocab.leave_one_out(part[pair[0]], part[pair[1]])["morisita_horn"]
            value += sign * one.value / len(pairs)
            for domain, deleted in zip(pair, one.deleted, strict=True):
                # A problem belongs to one domain, and moves every pair that this domain is in.
                key = (domain,) if paired else (g, domain)
                moved = sign * (deleted - one.value) / len(pairs)
                shift[key] = shift[key] + moved if key in shift else moved
    estimate, low, high = vocab.jackknife(value, [value + d for d in shift.values()]).interval(corrected=True)
    return estimate, low, high


def unit_counts(corpus: Corpus, sample: Sample) -> list[sparse.csr_matrix]:
    """Counts [problems, word types] of each group's counted units; numbers, data and format tags are no vocabulary."""
    vocabulary = corpus.run.table("vocabulary", ["kind"])
    usable = ~np.isin(np.array(vocabulary["kind"].to_pylist(), object), _CONTENT_KINDS)
    ids = np.concatenate([s["ids"].combine_chunks().flatten().to_numpy() for s in corpus.run.each_shard("units", ["ids"])])
    own = (np.diff(corpus.counted) > 0) & usable[ids]
    matrices = []
    for g in (0, 1):
        rows, items = sample.rows[sample.group == g], sample.item[sample.group == g]
        lengths = corpus.bounds[rows + 1] - corpus.bounds[rows]
        offsets = np.repeat(corpus.bounds[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        position = np.arange(lengths.sum()) + offsets
        item = np.repeat(items, lengths)
        keep = own[position]
        matrices.append(sparse.csr_matrix(
            (np.ones(int(keep.sum())), (item[keep], ids[position[keep]])), (len(sample.item_domain), len(usable))
        ))
    return matrices


def _as_table(columns: dict[str, Any]) -> pa.Table:
    n = len(columns["motif_id"])
    full = {k: [v] * n if v is None or isinstance(v, str) else v for k, v in columns.items()}
    return pa.table([pa.array(full[f.name], f.type) if not isinstance(full[f.name], pa.ChunkedArray)
                     else full[f.name].cast(f.type) for f in COMPARISON], schema=COMPARISON)


def _say(message: str) -> None:
    print(f"compare: {message}", file=sys.stderr, flush=True)



