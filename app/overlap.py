"""How far the domains of a comparison's groups share words, worked out again from the traces where no table says it."""

from dataclasses import dataclass
from typing import Any

import compared
import lexicons
import numpy as np
import pandas as pd
import streamlit as st

import data
from dsl_probe.store import Run

# Beyond this many units of text a page asks before it reads them all.
MOST_UNITS = 4_000_000
SIZES = 14


@dataclass(frozen=True)
class Vocabularies:
    """Counts [problems, word types] by domain, of A and of B; pairs of domains; whether problems are paired."""

    by_domain: tuple[dict[str, Any], ...]
    pairs: tuple[tuple[str, str], ...]
    paired: bool


@st.cache_resource(max_entries=2, show_spinner="Counting the words of each domain …")
def vocabularies(key: tuple[str, str], mined: tuple[str, str], id: str) -> Vocabularies:
    """The words that the comparison's sharing was measured on: the same traces, in the same order.

    key: of the comparison, mined: of traces and motifs; both are only there to read again what was made again.
    """
    from dsl_probe.groups import group_columns, select_rows
    from dsl_probe.share.corpus import Corpus, choose_sample
    from dsl_probe.share.domains import counts_by_domain

    run = Run(key[0])
    config = compared.comparison_record(run, id)["config"]
    corpus = Corpus.load(run, group_columns(config["a"], config["b"]))
    rows = [select_rows(corpus.traces, config[side]) for side in "ab"]
    if config.get("drop_truncated"):
        bad = np.isin(np.array(corpus.traces["finish"].to_pylist(), object), ["length", "loop"])
        rows = [own[~bad[own]] for own in rows]
    limits = (config["min_problems"], config.get("min_units", 0), config.get("same_prompt", False))
    sample = choose_sample(corpus, rows[0], rows[1], *limits)
    by_domain, pairs = counts_by_domain(corpus, sample, config.get("content", ()))
    return Vocabularies(tuple(by_domain), tuple(pairs), sample.paired)


@st.cache_data(max_entries=8, show_spinner="Comparing the pairs of domains …")
def differences(key: tuple[str, str], mined: tuple[str, str], id: str) -> pd.DataFrame:
    """Morisita-Horn similarity of each pair of domains, A - B, with its interval by problem, the largest first.

    Columns: domain_a, domain_b, value, ci_low, ci_high, n (problems of both domains).
    """
    from dsl_probe.share.domains import sharing_difference

    words = vocabularies(key, mined, id)
    made = []
    for pair in words.pairs:
        value, low, high = sharing_difference(words.by_domain, [pair], words.paired)
        n = sum(words.by_domain[0][domain].shape[0] for domain in pair)
        about = dict(zip(("domain_a", "domain_b"), pair, strict=True))
        made.append(about | {"value": value, "ci_low": low, "ci_high": high, "n": n})
    frame = pd.DataFrame(made, columns=["domain_a", "domain_b", "value", "ci_low", "ci_high", "n"])
    return frame.sort_values("value", key=lambda v: -v.abs(), ignore_index=True)


@st.cache_data(max_entries=8, show_spinner="Rarefying …")
def rarefaction(key: tuple[str, str], mined: tuple[str, str], id: str) -> pd.DataFrame:
    """Expected number of different words among `at` words of a domain, up to all that the smallest domain has.

    Columns: side (0 = A, 1 = B), domain, at, value, ci_low, ci_high, n (words the domain has). Words are drawn one by
    one without replacement; the interval is by groups of problems.
    """
    from dsl_probe.share.rarefy import rarefied

    words = vocabularies(key, mined, id)
    parts = [(side, d, m) for side, part in enumerate(words.by_domain) for d, m in part.items() if m.shape[0] >= 2]
    sizes = np.array([int(m.sum()) for _, _, m in parts])
    made = []
    if len(sizes) and sizes.min() >= 2:
        steps = np.unique(np.geomspace(min(20, sizes.min()), sizes.min(), SIZES).astype(int)).tolist()
        for side, domain, m in parts:
            weight, problem, whole = np.asarray(m.sum(1)).ravel(), np.arange(m.shape[0]), int(m.sum())
            for at in steps:
                value, low, high = rarefied(m, weight, problem, at)
                about = {"side": side, "domain": domain, "at": at}
                made.append(about | {"value": value, "ci_low": low, "ci_high": high, "n": whole})
    return pd.DataFrame(made, columns=["side", "domain", "at", "value", "ci_low", "ci_high", "n"])


@st.cache_data(max_entries=8, show_spinner="Measuring diversity at equal coverage …")
def diversities(key: tuple[str, str], mined: tuple[str, str], id: str) -> pd.DataFrame:
    """Hill numbers of each domain, and alpha, beta and gamma of all, at equal coverage; side: 0 = A, 1 = B."""
    from dsl_probe.share.diversity import diversity

    words = vocabularies(key, mined, id)
    made = []
    for side, part in enumerate(words.by_domain):
        enough = {d: m for d, m in part.items() if m.shape[0] >= 2 and m.sum() >= 2}
        if enough:
            made.append(pd.DataFrame(diversity(enough)).assign(side=side))
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


@st.cache_data(max_entries=16, show_spinner=False)
def models_of(traces: tuple[str, str], group: str) -> tuple[list[str], bool]:
    """Models or training runs that a group's traces are of, and whether it holds all traces of these."""
    facts = data.trace_facts(traces)
    rows = lexicons.rows_of(traces, group)
    names = sorted(facts["group"].iloc[rows].astype(str).unique())
    return names, int(facts["group"].isin(names).sum()) == len(rows)


@st.cache_data(max_entries=32, show_spinner=False)
def shared_motifs(
    mined: tuple[str, str], models: tuple[str, ...], domains: tuple[str, str], words: bool
) -> pd.DataFrame:
    """Motifs of two domains in some models' traces, those that make most of the overlap first.

    Columns: motif_id, text, length, count_a, count_b, rate_a, rate_b (per 1,000 units) and part: the motif's share of
    the sum of products of the two frequencies, the numerator of Morisita-Horn; 0 where one domain lacks it.
    words: single units only, so that no motif lies within another. Format motifs are left out.
    """
    table = data.motifs(mined)
    counts, cells = data.counts(mined), data.cells(mined)
    wide = np.zeros((2, table.num_rows), np.int64)
    units = []
    for k, domain in enumerate(domains):
        own = counts[counts["model"].isin(models) & (counts["domain"] == domain) & (counts["motif"] >= 0)]
        wide[k] = np.bincount(own["motif"], own["count"], table.num_rows).astype(np.int64)
        units.append(max(int(cells.loc[cells["model"].isin(models) & (cells["domain"] == domain), "units"].sum()), 1))
    keep = (wide.sum(0) > 0) & ~table["format"].to_numpy(zero_copy_only=False)
    if words:
        keep &= table["length"].to_numpy() == 1
    rows = np.flatnonzero(keep)
    names = table.select(["motif_id", "text", "length"]).take(rows).to_pandas()
    product = wide[0, rows].astype(float) * wide[1, rows]
    frame = names.assign(
        count_a=wide[0, rows],
        count_b=wide[1, rows],
        rate_a=1000 * wide[0, rows] / units[0],
        rate_b=1000 * wide[1, rows] / units[1],
        part=product / max(product.sum(), 1.0),
    )
    total = frame["rate_a"] + frame["rate_b"]
    order = np.lexsort((frame["motif_id"].to_numpy().astype(str), -total.to_numpy(), -frame["part"].to_numpy()))
    return frame.iloc[order].reset_index(drop=True)
