"""One family of tests: every motif, two groups, in one domain or in all, at equal units or raw."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from dsl_probe.share.corpus import Corpus, Sample, cuts, trace_counts
from dsl_probe.share.logodds import log_odds
from dsl_probe.share.permute import TestResult, clustered_test, paired_test, stable_share
from dsl_probe.share.signflip import by_q, signflip_p

ALPHA = 0.05


@dataclass(frozen=True)
class TestSettings:
    """What the tests of a family share: permutations, seed, least number of problems, format motifs or not."""

    permutations: int
    seed: int
    min_problems: int
    include_format: bool
    tests: tuple[str, ...] = ("rate", "presence")


def contrast(
    corpus: Corpus, sample: Sample, matched: str, base: np.ndarray | None, settings: TestSettings
) -> dict[str, Any]:
    """All columns of `types.COMPARISON` that depend on the data, for one family of tests.

    sample: the traces of one domain, or of all. matched: `equal units` or `raw`. base: trace rows of the reference for
    novelty. A motif is tested if at least `min_problems` problems of both groups together hold it.
    """
    units = corpus.units[sample.rows].astype(np.int64)
    keep_units = cuts(sample, corpus.units) if matched == "equal units" else units
    entry, motif, count = trace_counts(corpus, sample.rows, keep_units)
    n_items, n_motifs = len(sample.item_domain), corpus.motifs.num_rows
    # Filter on the pooled traces of both groups: no motif is chosen by looking at who uses it.
    held = sparse.csr_matrix((np.ones(len(motif)), (sample.item[entry], motif)), (n_items, n_motifs))
    held.data[:] = 1
    wanted = np.asarray(held.sum(0)).ravel() >= settings.min_problems
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
    presence = [by_group(1 / n_samples, g) for g in (0, 1)]
    totals = [by_group(count.astype(float), g) for g in (0, 1)]
    texts = [by_group(np.ones(len(entry)), g) for g in (0, 1)]
    amount = np.zeros((2, n_items))
    np.add.at(amount, (sample.group, sample.item), keep_units)

    none = TestResult(*(np.full(len(chosen), np.nan) for _ in range(3)))
    rate_test, differences = _test(rates, sample, settings) if "rate" in settings.tests else (none, None)
    presence_test = _test(presence, sample, settings)[0] if "presence" in settings.tests else none
    estimate, low, high = log_odds(totals[0], amount[0], totals[1], amount[1], sample.paired)
    # Only the paired test is a sign flip; exchanging whole problems has no such form.
    exact = q = none.p
    if sample.paired and differences is not None:
        exact = signflip_p(differences)
        q = by_q(exact)
    found = rate_test.p_adj <= ALPHA
    stable: list[bool | None] = [None] * len(chosen)
    if sample.paired and differences is not None:
        for m, share in zip(
            np.flatnonzero(found), stable_share(differences[:, found], 100, settings.seed), strict=True
        ):
            stable[m] = bool(share >= 0.9)
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
        "novelty": _novelty(corpus, sample, base, chosen),
        "stable": pa.array(stable, pa.bool_()),
        "load_bearing": pa.nulls(len(chosen), pa.bool_()),
        "verdict": np.where(found, "undecided: effects not run", "no difference found"),
    }


def _test(
    values: list[sparse.csr_matrix], sample: Sample, settings: TestSettings
) -> tuple[TestResult, sparse.csc_matrix]:
    if sample.paired:
        difference = sparse.csc_matrix(values[0] - values[1])
        # Equal rates that were summed in another order must be equal.
        difference.data[np.abs(difference.data) < 1e-12] = 0
        difference.eliminate_zeros()
        return paired_test(difference, settings.permutations, settings.seed), difference
    in_a = np.zeros(len(sample.item_domain), bool)
    in_a[sample.item[sample.group == 0]] = True
    stratum = np.unique(sample.item_domain, return_inverse=True)[1]
    pooled = sparse.csc_matrix(values[0] + values[1])
    return clustered_test(pooled, in_a, stratum, settings.permutations, settings.seed), pooled


def _novelty(corpus: Corpus, sample: Sample, base: np.ndarray | None, chosen: np.ndarray) -> list[str]:
    """Whether the base model uses the motif on the same problems."""
    if base is None:
        return ["not tested"] * len(chosen)
    base = base[np.isin(corpus.problem[base], corpus.problem[sample.rows])]
    if not len(base):
        return ["not tested: the base has none of these problems"] * len(chosen)
    _, motif, count = trace_counts(corpus, base, corpus.units[base].astype(np.int64))
    total = np.bincount(motif, count, corpus.motifs.num_rows).astype(int)[chosen]
    return [f"absent from {len(base)} base traces" if n == 0 else f"in base: {n}" for n in total]
