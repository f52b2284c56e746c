"""One family of tests: every motif, two groups, in one domain or in all, at equal units or raw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from dsl_probe.permute import TestResult, clustered_test, paired_test, stable_share, stable_share_clustered
from dsl_probe.share.clumps import clumps
from dsl_probe.share.corpus import Corpus, Sample, cuts, trace_counts
from dsl_probe.share.dispersion import chance_dispersion, dispersion
from dsl_probe.share.logodds import log_odds
from dsl_probe.share.shift import Ratios, motif_bits
from dsl_probe.share.signflip import by_q, signflip_p

ALPHA = 0.05
RAW = "raw"


@dataclass(frozen=True)
class TestSettings:
    """What the tests of a family share: permutations, seed, least number of problems, format motifs or not."""

    permutations: int
    seed: int
    min_problems: int
    include_format: bool
    tests: tuple[str, ...] = ("rate", "presence")


@dataclass(frozen=True)
class Novelty:
    """What novelty is measured against. rows: traces of the base group, None where there is none. against: whether B
    is that group. ratios: log-ratios of A's model over the base's, None where neither was scored."""

    rows: np.ndarray | None = None
    against: bool = False
    ratios: Ratios | None = None


NO_BASE = Novelty()


def contrast(
    corpus: Corpus,
    sample: Sample,
    matched: str,
    settings: TestSettings,
    novelty: Novelty = NO_BASE,
    bearing: tuple[Mapping[str, bool], Mapping[str, bool]] = ({}, {}),
) -> dict[str, Any]:
    """All columns of `types.COMPARISON` that depend on the data, for one family of tests.

    sample: the traces of one domain, or of all. matched: `raw`, or another word for equal units. A motif is tested if
    at least `min_problems` problems of both groups together hold it. bearing: of A and of B, motif_id -> whether it is
    load-bearing in its models; a motif has the word of the group that uses it more.
    """
    units = corpus.units[sample.rows].astype(np.int64)
    keep_units = units if matched == RAW else cuts(sample, corpus.units)
    entry, motif, count = trace_counts(corpus, sample.rows, keep_units)
    n_items, n_motifs = len(sample.item_domain), corpus.motifs.num_rows
    # Filter on the pooled traces of both groups: no motif is chosen by looking at who uses it.
    held = sparse.csr_matrix((np.ones(len(motif)), (sample.item[entry], motif)), (n_items, n_motifs))
    held.data[:] = 1
    wanted = np.asarray(held.sum(0)).ravel() >= settings.min_problems
    del held  # this and the matrices below are the larger part of the memory: each lives as long as it must
    if not settings.include_format:
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
    totals = [by_group(count.astype(float), g) for g in (0, 1)]
    amount = np.zeros((2, n_items))
    np.add.at(amount, (sample.group, sample.item), keep_units)

    none = TestResult(*(np.full(len(chosen), np.nan) for _ in range(3)))
    rate_test, tested = _test(rates, sample, settings) if "rate" in settings.tests else (none, None)
    presence_test = none
    if "presence" in settings.tests:
        presence_test = _test([by_group(1 / n_samples, g) for g in (0, 1)], sample, settings)[0]
    estimate, low, high = log_odds(totals[0], amount[0], totals[1], amount[1], sample.paired)
    # Only the paired test is a sign flip; exchanging whole problems has no such form.
    exact = q = none.p
    if sample.paired and tested is not None:
        exact = signflip_p(tested)
        q = by_q(exact)
    found = rate_test.p_adj <= ALPHA
    stable: list[bool | None] = [None] * len(chosen)
    if tested is not None:
        for m, share in zip(np.flatnonzero(found), _stable_share(tested[:, found], sample, settings.seed), strict=True):
            stable[m] = bool(share >= 0.9)
    ids = corpus.motifs["motif_id"].take(pa.array(chosen)).to_pylist()
    load_bearing = [bearing[0 if z > 0 else 1].get(m) for m, z in zip(ids, rate_test.z, strict=True)]
    head = np.full(len(chosen), -1)
    if found.any():
        near, far = (np.where((low + high > 0), *ends) for ends in ((low, high), (high, low)))
        place = np.flatnonzero(found)
        heads = _heads(corpus, sample, chosen[found], rate_test.z[found], near[found], far[found])
        head[found] = np.where(heads >= 0, place[heads], -1)
    own = sample.group == 0
    bits = (none.z,) * 3
    if novelty.ratios is not None:
        bits = motif_bits(novelty.ratios, corpus, sample.rows[own], sample.item[own], chosen)
    spread = {}
    for g, side in enumerate("ab"):
        spread[f"dispersion_{side}"] = dispersion(totals[g], amount[g])
        spread[f"chance_dispersion_{side}"] = chance_dispersion(np.asarray(totals[g].sum(0)).ravel(), amount[g])
    texts = [by_group(np.ones(len(entry)), g) for g in (0, 1)]
    items_of = [np.maximum((per_item[g] > 0).sum(), 1) for g in (0, 1)]
    pick = pa.array(chosen)
    return {
        "motif_id": corpus.motifs["motif_id"].take(pick),
        "text": corpus.motifs["text"].take(pick),
        "length": corpus.motifs["length"].take(pick),
        **{f"count_{s}": np.asarray(totals[g].sum(0)).ravel().astype(np.int64) for g, s in enumerate("ab")},
        **{f"rate_{s}": np.asarray(rates[g].sum(0)).ravel() / items_of[g] for g, s in enumerate("ab")},
        **{f"support_{s}": np.asarray(texts[g].sum(0)).ravel().astype(np.int64) for g, s in enumerate("ab")},
        **{f"problems_{s}": np.asarray((texts[g] > 0).sum(0)).ravel().astype(np.int64) for g, s in enumerate("ab")},
        **spread,
        "log_odds": estimate,
        "ci_low": low,
        "ci_high": high,
        "z": rate_test.z,
        "p": rate_test.p,
        "p_adj": rate_test.p_adj,
        "p_exact": exact,
        "q": q,
        "p_presence": presence_test.p,
        "p_adj_presence": presence_test.p_adj,
        "part_of": corpus.motifs["motif_id"].take(pa.array(chosen[head], mask=head < 0)),
        "novelty": _absence(corpus, sample, novelty.rows, chosen),
        "novelty_bits": bits[0],
        "novelty_bits_low": bits[1],
        "novelty_bits_high": bits[2],
        "stable": pa.array(stable, pa.bool_()),
        "load_bearing": pa.array(load_bearing, pa.bool_()),
        "verdict": [
            verdict(*row, novelty.against) for row in zip(found, rate_test.z > 0, stable, load_bearing, strict=True)
        ],
    }


def verdict(found: bool, more_in_a: bool, stable: bool | None, load_bearing: bool | None, against_base: bool) -> str:
    """What may be said of a motif; `emergent` only against a base model, and with every part of it shown.

    >>> verdict(True, True, True, None, True)
    'over-represented in A; emergent: undecided, effects not run'
    >>> verdict(True, True, False, None, True), verdict(True, False, True, None, False)
    ('over-represented in A; not stable', 'over-represented in B')
    """
    if not found:
        return "no difference found"
    said = f"over-represented in {'A' if more_in_a else 'B'}"
    if stable is False:
        return f"{said}; not stable"
    if not (against_base and more_in_a):
        return said
    if stable is None:
        return f"{said}; emergent: undecided, stability not tested"
    if load_bearing is None:
        return f"{said}; emergent: undecided, effects not run"
    return "emergent" if load_bearing else f"{said}; not shown to be load-bearing"


def _test(
    values: list[sparse.csr_matrix], sample: Sample, settings: TestSettings
) -> tuple[TestResult, sparse.csc_matrix]:
    if sample.paired:
        difference = sparse.csc_matrix(values[0] - values[1])
        # Equal rates that were summed in another order must be equal.
        difference.data[np.abs(difference.data) < 1e-12] = 0
        difference.eliminate_zeros()
        return paired_test(difference, settings.permutations, settings.seed), difference
    pooled = sparse.csc_matrix(values[0] + values[1])
    return clustered_test(pooled, *_sides(sample), settings.permutations, settings.seed), pooled


def _sides(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Of unpaired problems, whether they are A's, and the stratum within which they are exchanged."""
    in_a = np.zeros(len(sample.item_domain), bool)
    in_a[sample.item[sample.group == 0]] = True
    stratum = sample.item_domain if sample.item_stratum is None else sample.item_stratum
    return in_a, np.unique(stratum, return_inverse=True)[1]


def _stable_share(tested: sparse.csc_matrix, sample: Sample, seed: int) -> np.ndarray:
    if sample.paired:
        return stable_share(tested, 100, seed)
    return stable_share_clustered(tested, *_sides(sample), 100, seed)


def _heads(corpus: Corpus, sample: Sample, motifs: np.ndarray, z, near, far) -> np.ndarray:
    """For each of these motifs the number, among them, of the one that accounts for it; -1 for none."""
    code = np.full(corpus.motifs.num_rows, -1, np.int64)
    code[motifs] = np.arange(len(motifs))
    sampled = np.zeros(corpus.traces.num_rows, bool)
    sampled[sample.rows] = True
    use = np.flatnonzero((code[corpus.motif] >= 0) & sampled[corpus.trace])
    length = corpus.motifs["length"].to_numpy()[motifs]
    spans = (corpus.trace[use], corpus.start[use], corpus.stop[use])
    return clumps(code[corpus.motif[use]], *spans, z, length, near, far)


def _absence(corpus: Corpus, sample: Sample, base: np.ndarray | None, chosen: np.ndarray) -> list[str]:
    """Whether the base model uses the motif on the same problems."""
    if base is None:
        return ["not tested"] * len(chosen)
    base = base[np.isin(corpus.problem[base], corpus.problem[sample.rows])]
    if not len(base):
        return ["not tested: the base has none of these problems"] * len(chosen)
    _, motif, count = trace_counts(corpus, base, corpus.units[base].astype(np.int64))
    total = np.bincount(motif, count, corpus.motifs.num_rows).astype(int)[chosen]
    return [f"absent from {len(base)} base traces" if n == 0 else f"in base: {n}" for n in total]
