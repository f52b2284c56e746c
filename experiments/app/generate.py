"""A run of the largest size that the app must bear, written as tables, without a model and without mining.

    python experiments/app/generate.py OUT [--traces 100000] [--motifs 200000] [--seed 0]

Each trace is a row of phrases drawn from the motifs by Zipf's law, so a motif's occurrences are where it was written;
those that arise by chance between two phrases are not listed. The numbers of the comparison are made up around the
drawn rates. Same arguments, same bytes. It is for looking and timing only: nothing in it was found.
"""

import argparse
import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from dsl_probe.mine.entries import motif_id
from dsl_probe.share.comparison import CompareConfig, CompareResult
from dsl_probe.store import Run
from dsl_probe.types import (
    COMPARISON,
    COUNTS,
    LEXICON,
    MOTIFS,
    OCCURRENCES,
    SHARING,
    TRACES,
    UNITS,
    VARIANTS,
    VOCABULARY,
)

MODELS, DOMAINS, SAMPLES = ("base-7b", "sft-7b", "rl-7b", "sft-rl-7b"), ("algebra", "code", "games", "logic", "sums"), 5
SHARD, WORDS, PHRASES, ENTRIES = 5_000, 6_000, 70, 4_000
EQUAL = "equal units"


def generate(path: Path, traces: int = 100_000, motifs: int = 200_000, seed: int = 0) -> Run:
    """Write the run; the folder must be new."""
    rng, run = np.random.default_rng(seed), Run.create(path)
    words, size = _words(rng, min(WORDS, motifs // 10)), np.full(traces, PHRASES)
    flat, bounds, ids = _motifs(rng, words, motifs)
    row = np.arange(traces)
    facts = {
        "problem": row // (len(MODELS) * SAMPLES),
        "model": row // SAMPLES % len(MODELS),
        "domain": row // (len(MODELS) * SAMPLES) % len(DOMAINS),
        "correct": rng.random(traces) < 0.4,
    }
    # Two tastes: what RL writes, it draws in another order of the ranks of every 50th motif.
    weight = 1 / np.arange(1, motifs + 1)
    other = weight * np.where(np.arange(motifs) % 50 == 7, rng.choice([0.3, 3.0], motifs), 1)
    taste = [np.cumsum(w) / w.sum() for w in (weight, other)]
    draws = rng.random((traces, PHRASES))
    picked = np.where(
        (facts["model"] >= 2)[:, None], np.searchsorted(taste[1], draws), np.searchsorted(taste[0], draws)
    ).clip(max=motifs - 1)
    outputs = _write_traces(run, facts, words, picked, flat, bounds)
    where = _occurrences(picked, size, bounds)
    mined = _write_mined(run, words, flat, bounds, ids, where, facts, outputs)
    _write_comparison(run, rng, ids, where, facts, mined)
    return run


def _words(rng: np.random.Generator, n: int) -> np.ndarray:
    parts = np.array([a + b for a in "bdfgklmnprstvz" for b in "aeiou"])
    made = dict.fromkeys("".join(rng.choice(parts, 2 + k % 3)) for k in range(3 * n))
    return np.array([*made][:n], object)


def _motifs(rng: np.random.Generator, words: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Distinct patterns, single words among them, as word codes one after another; and their ids."""
    longest, pool = 6, 2 * n
    grown = np.full((pool, longest), -1)
    length = rng.choice(np.arange(2, longest + 1), pool, p=[0.35, 0.3, 0.2, 0.1, 0.05])
    for k in range(longest):
        grown[:, k] = np.where(k < length, rng.integers(0, len(words), pool), -1)
    single = np.full((len(words), longest), -1)
    single[:, 0] = np.arange(len(words))
    grown = np.unique(grown, axis=0)
    grown = np.concatenate([single, rng.permutation(grown)])[:n]
    # The most frequent are words; below, words and phrases mix.
    head = min(len(words), 300)
    grown[head:] = rng.permutation(grown[head:])
    if len(grown) < n:
        raise SystemExit(f"{n} motifs are more than {len(words)} words give; take fewer.")
    length = (grown >= 0).sum(1)
    flat, bounds = grown[grown >= 0], np.concatenate([[0], np.cumsum(length)])
    return (
        flat,
        bounds,
        [motif_id("words", words[flat[a:b]].tolist()) for a, b in itertools.pairwise(bounds)],
    )


def _spread(first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """first[0], first[0] + 1, ..., length[0] of them; then those of first[1]; ..."""
    ends = np.cumsum(length)
    return np.arange(ends[-1]) + np.repeat(first - (ends - length), length)


def _write_traces(run: Run, facts, words, picked, flat, bounds) -> list[str]:
    """Traces and units, a shard at a time; returns the files of the units."""
    traces, made, units = len(picked), [], []
    width = np.array([len(w) for w in words])
    run.begin("import", {"sources": ["made"]}, {})
    for low in range(0, traces, SHARD):
        rows = np.arange(low, min(low + SHARD, traces))
        motif = picked[rows].ravel()
        length = bounds[motif + 1] - bounds[motif]
        codes = flat[_spread(bounds[motif], length)]
        per = length.reshape(len(rows), -1).sum(1)
        edge = np.concatenate([[0], np.cumsum(per)])
        ends = np.cumsum(width[codes] + 1)
        ends -= np.repeat(np.concatenate([[0], ends])[edge[:-1]], per) + 1
        said = words[codes].tolist()
        texts = [" ".join(said[a:b]) for a, b in itertools.pairwise(edge)]
        names = [f"trace-{r:06d}" for r in rows]
        made.append(run.write_shard("traces", low // SHARD, _traces(rows, names, texts, facts)))
        lists = [codes, ends - width[codes], ends, np.zeros(len(codes), np.uint8)]
        columns = [pa.ListArray.from_arrays(pa.array(edge.astype(np.int32)), pa.array(c)) for c in lists]
        steps = pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1, dtype=np.int32)), pa.array([0] * len(rows)))
        table = pa.table([names, *columns, steps], names=UNITS.names).cast(UNITS)
        units.append(run.write_shard("units", low // SHARD, table))
    made.append(run.write_table("rejected.parquet", pa.table({"source": pa.array([], pa.string())})))
    run.finish("import", made, {"traces": traces, "rejected": 0})
    return units


def _traces(rows: np.ndarray, names: list[str], texts: list[str], facts: dict[str, np.ndarray]) -> pa.Table:
    none = {name: pa.nulls(len(rows), TRACES.field(name).type) for name in TRACES.names}
    problems, models, domains = (facts[name][rows] for name in ("problem", "model", "domain"))
    given: dict[str, Any] = {
        "trace_id": names,
        "problem_id": [f"problem-{p}" for p in problems],
        "domain": [DOMAINS[d] for d in domains],
        "model": [MODELS[m] for m in models],
        "regime": [("base", "sft", "rl_only", "sft_rl")[m] for m in models],
        "start_ckpt": ["base"] * len(rows),
        "sample": rows % SAMPLES,
        "prompt": [f"Problem {p} of {DOMAINS[d]}: say what follows." for p, d in zip(problems, domains, strict=True)],
        "text": texts,
        "prefix": [""] * len(rows),
        "finish": ["stop"] * len(rows),
        "correct": facts["correct"][rows],
        "meta": ["{}"] * len(rows),
    }
    return pa.table([given.get(name, none[name]) for name in TRACES.names], names=TRACES.names).cast(TRACES)


def _occurrences(picked: np.ndarray, size: np.ndarray, bounds: np.ndarray) -> dict[str, np.ndarray]:
    """Every phrase that was written, by motif and place: motif, row, start, stop."""
    length = bounds[picked + 1] - bounds[picked]
    stop = np.cumsum(length, 1)
    motif, row = picked.ravel(), np.repeat(np.arange(len(picked)), size)
    order = np.argsort(motif, kind="stable")
    return {
        "motif": motif[order],
        "row": row[order],
        "start": (stop - length).ravel()[order],
        "stop": stop.ravel()[order],
    }


def _pairs(motif: np.ndarray, other: np.ndarray, motifs: int) -> np.ndarray:
    """How many different values of `other` each motif has."""
    seen = np.unique(motif.astype(np.int64) * (int(other.max()) + 1) + other)
    return np.bincount(seen // (int(other.max()) + 1), minlength=motifs)


def _write_mined(run: Run, words, flat, bounds, ids, where, facts, outputs: list[str]) -> dict[str, np.ndarray]:
    """Vocabulary, motifs, counts, occurrences and the lexicon; returns the numbers of the motifs."""
    n, motif, row = len(ids), where["motif"], where["row"]
    run.begin("mine", {"units": "words"}, run.trace_files())
    order = np.argsort(np.array(ids))
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    lists = pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(words.tolist()).take(pa.array(flat)))
    texts = [" ".join(words[flat[a:b]]) for a, b in itertools.pairwise(bounds)]
    found = {
        "count": np.bincount(motif, minlength=n),
        "support": _pairs(motif, row, n),
        "problems": _pairs(motif, facts["problem"][row], n),
        "length": np.diff(bounds),
    }
    columns = [ids, texts, lists, *(found[c] for c in ("length", "count", "support", "problems")), np.zeros(n)]
    table = pa.table([*columns, np.arange(n) % 997 == 5], names=MOTIFS.names).cast(MOTIFS).take(pa.array(order))
    outputs.append(run.write_table("motifs.parquet", table))
    said = np.bincount(flat[_spread(bounds[motif], found["length"][motif])], minlength=len(words))
    kinds = ["word"] * len(words)
    columns = [np.arange(len(words)), words.tolist(), kinds, words.tolist(), said]
    outputs.append(run.write_table("vocabulary.parquet", pa.table(columns, names=VOCABULARY.names).cast(VOCABULARY)))

    cell = facts["model"] * len(DOMAINS) + facts["domain"]
    units = np.bincount(cell[row], found["length"][motif], len(MODELS) * len(DOMAINS)).astype(np.int64)
    outputs.append(run.write_table("counts.parquet", _counts(ids, rank, where, cell, facts["problem"], units)))
    by = np.argsort(rank[motif], kind="stable")
    columns = [pa.array(ids).take(pa.array(motif[by])), pa.nulls(len(by), pa.string())]
    table = pa.table(
        [*columns, *(where[c][by] for c in ("row", "start", "stop")), np.zeros(len(by), bool)], names=OCCURRENCES.names
    )
    outputs.append(run.write_table("occurrences.parquet", table.cast(OCCURRENCES)))

    entry = np.sort(rank[np.argsort(-found["count"] * (found["length"] > 1), kind="stable")[:ENTRIES]])
    chosen = order[entry]
    keep = np.flatnonzero(np.isin(motif, chosen))
    keep = keep[np.lexsort((where["start"][keep], row[keep]))]
    name = pa.array(ids).take(pa.array(motif[keep]))
    columns = [name, name, *(where[c][keep] for c in ("row", "start", "stop")), np.zeros(len(keep), bool)]
    outputs.append(run.write_table("parse.parquet", pa.table(columns, names=OCCURRENCES.names).cast(OCCURRENCES)))
    half, ones = np.full(len(chosen), 0.01), np.ones(len(chosen))
    main = [pa.array(column).take(pa.array(chosen)) for column in (ids, texts, lists)]
    main += [found[c][chosen] for c in ("length", "count", "support", "problems")]
    columns = [*main, ones, 8.0 * found["count"][chosen], half, ones]
    outputs.append(run.write_table("lexicon.parquet", pa.table(columns, names=LEXICON.names).cast(LEXICON)))
    columns = [main[0], main[0], main[2], found["count"][chosen]]
    outputs.append(run.write_table("variants.parquet", pa.table(columns, names=VARIANTS.names).cast(VARIANTS)))
    counts = {"traces": len(cell), "units": int(units.sum()), "vocabulary": len(words), "motifs": n}
    counts |= {"occurrences": len(row), "echo_units": 0, "prompt_unknown": 0, "lexicon": len(chosen), "coverage": 0.5}
    run.finish("mine", outputs, counts)
    return found | {"texts": pa.array(texts), "units": units, "order": order}


def _counts(
    ids: list[str], rank: np.ndarray, where, cell: np.ndarray, problem: np.ndarray, units: np.ndarray
) -> pa.Table:
    cells, motif, row = len(units), rank[where["motif"]], where["row"]
    code = motif * cells + cell[row]
    kept, back, count = np.unique(code, return_inverse=True, return_counts=True)
    holds = [_pairs(back, other, len(kept)) for other in (row, problem[row])]
    names = pa.array(np.array(ids, object)[np.argsort(rank)].tolist())
    at = kept % cells
    columns = [names.take(pa.array(kept // cells)), [MODELS[c // len(DOMAINS)] for c in at]]
    columns += [[DOMAINS[c % len(DOMAINS)] for c in at], count, *holds, units[at]]
    return pa.table(columns, names=COUNTS.names).cast(COUNTS)


def _write_comparison(run: Run, rng: np.random.Generator, ids: list[str], where, facts, mined) -> None:
    """RL against base in all domains and in each, in three matchings."""
    a, b = f"model={MODELS[2]}", f"model={MODELS[0]}"
    side = {g: facts["model"][where["row"]] == m for g, m in (("a", 2), ("b", 0))}
    domain = facts["domain"][where["row"]]
    run.begin("compare.rl-vs-base", asdict(CompareConfig(a, b, name="rl-vs-base")), run.outputs("mine"))
    tables, named = [], pa.array(ids)
    for name in ("all", *DOMAINS):
        here = np.ones(len(domain), bool) if name == "all" else domain == DOMAINS.index(name)
        held = {g: np.bincount(where["motif"][side[g] & here], minlength=len(ids)) for g in "ab"}
        used = np.flatnonzero(held["a"] + held["b"] >= (1 if name == "all" else 20))
        for how in (EQUAL, "raw", "equal accuracy"):
            tables.append(_family(rng, (a, b, name, how), used, held, named, mined))
    first = tables[0].to_pandas()
    found = [int(((first["p_adj"] <= 0.05) & (s * first["z"] > 0)).sum()) for s in (1, -1)]
    traces = [int((facts["model"] == m).sum()) for m in (2, 0)]
    per = [int(mined["units"].reshape(len(MODELS), -1)[m].sum()) for m in (2, 0)]
    result = CompareResult(
        a, b, "paired", int(facts["problem"].max()) + 1, *traces, 0, 0, *per, len(first), *found, *found, 0, sum(found),
        sum(found), dict.fromkeys(("all", *DOMAINS), "paired"), accuracy_difference=(0.01, -0.01, 0.03),
        id="rl-vs-base", sharing_difference=(0.02, -0.01, 0.05),
    )  # fmt: skip
    folder = "comparisons/rl-vs-base"
    shared = [
        dict.fromkeys(SHARING.names, 1.0)
        | {"group": g, "domain_a": x, "domain_b": y, "measure": m, "n_a": 9_000, "n_b": 9_000}
        | {"value": v, "ci_low": v - 0.05, "ci_high": v + 0.05}
        for m in ("morisita_horn", "jensen_shannon", "chao_jaccard")
        for g in (a, b)
        for i, x in enumerate(DOMAINS)
        for y in DOMAINS[i + 1 :]
        for v in [float(rng.uniform(0.6, 0.9))]
    ]
    outputs = [
        run.write_table(f"{folder}/comparison.parquet", pa.concat_tables(tables)),
        run.write_table(f"{folder}/sharing.parquet", pa.Table.from_pylist(shared, SHARING)),
        run.write_json(f"{folder}/claims.json", []),
    ]
    run.finish("compare.rl-vs-base", outputs, result.__dict__)


def _family(rng: np.random.Generator, named: tuple[str, ...], used: np.ndarray, held, ids: pa.Array, mined) -> pa.Table:
    """One family of tests over the motifs `used`."""
    n, count = len(used), {g: held[g][used] for g in "ab"}
    z = (count["a"] - count["b"]) / np.sqrt(count["a"] + count["b"] + 1) + rng.normal(0, 0.5, n)
    odds, p = np.log((count["a"] + 0.5) / (count["b"] + 0.5)), 2 * norm.sf(np.abs(z))
    adjusted, text = np.minimum(1, p * n), mined["texts"].take(pa.array(used))
    made: dict[str, Any] = dict(zip(("a", "b", "domain", "matched"), ([v] * n for v in named), strict=True))
    made |= {"base": [named[1]] * n, "design": ["paired"] * n, "motif_id": ids.take(pa.array(used)), "text": text}
    made |= {"length": mined["length"][used], "log_odds": odds, "ci_low": odds - 0.5, "ci_high": odds + 0.5, "z": z}
    made |= dict.fromkeys(("p", "p_exact", "p_presence"), p) | dict.fromkeys(("p_adj", "q", "p_adj_presence"), adjusted)
    for k, g in enumerate("ab"):
        units = mined["units"].reshape(len(MODELS), -1)[(2, 0)[k]].sum()
        made |= {f"count_{g}": count[g], f"support_{g}": count[g], f"problems_{g}": count[g]}
        made |= {f"rate_{g}": count[g] / units, f"dispersion_{g}": np.ones(n), f"chance_dispersion_{g}": np.ones(n)}
    made |= {"novelty": ["seen in base"] * n, "stable": adjusted <= 0.01, "verdict": ["not tested"] * n}
    columns = [made.get(f.name, pa.nulls(n, f.type)) for f in COMPARISON]
    return pa.table(columns, names=COMPARISON.names).cast(COMPARISON)


def main() -> None:
    """Write the run that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--traces", type=int, default=100_000)
    parser.add_argument("--motifs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run = generate(options.out, options.traces, options.motifs, options.seed)
    print("\n".join(f"{s.stage}: {s.state} {s.counts}" for s in run.status()))


if __name__ == "__main__":
    main()
