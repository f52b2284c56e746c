"""All contiguous motifs of length 2..12 with count >= 20, with count and document support per label: what does it cost?

    python experiments/bench/mining.py            1 M, 10 M and 50 M tokens, written to experiments/bench/RESULTS.md

Each peer runs in a process of its own on one core, several rounds in turn. All must find the same motifs.
"""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
LO, HI, COUNT, LABELS = 2, 12, 20, 3
WORD = re.compile(r"\w+|[^\w\s]+")
GROUPS = {"math": 0, "science": 1, "theory_of_mind": 1}  # every other domain (games, graphs, grids, ...): 2
ODD = 0x9E3779B97F4A7C15  # multiplier of the rolling 64-bit key


def corpus(traces, n_tokens, seed=0):
    """symbols int32[n], doc_starts int64[n_docs + 1], label int32[n_docs].

    The documents in random order; when they run out they come again in another order, and from then on every number
    is re-drawn from all numbers of the corpus, so that copies differ.
    """
    import pyarrow.parquet as pq

    words, docs, labels = {}, [], []
    for path in sorted(traces.glob("*.parquet")):
        table = pq.read_table(path, columns=["response", "domain"])
        for text, domain in zip(table["response"].to_pylist(), table["domain"].to_pylist(), strict=True):
            units = [words.setdefault(word, len(words)) for word in WORD.findall((text or "").lower())]
            docs.append(np.array(units, np.int32))
            labels.append(GROUPS.get(domain, 2))
    if not docs:
        raise SystemExit(f"no *.parquet with response and domain in {traces}")
    number = np.array([word.isdigit() for word in words])
    numbers = (every := np.concatenate(docs))[number[every]]
    rng = np.random.default_rng(seed)
    kept, kept_labels, total, first_pass = [], [], 0, True
    while total < n_tokens:
        for d in rng.permutation(len(docs)):
            doc = docs[d][: n_tokens - total]
            if not first_pass:
                doc = doc.copy()
                doc[number[doc]] = rng.choice(numbers, int(number[doc].sum()))
            kept.append(doc)
            kept_labels.append(labels[d])
            total += len(doc)
            if total == n_tokens:
                break
        first_pass = False
    share = len(numbers) / len(every)
    note = f"{len(every):,} tokens of {len(docs):,} traces, {len(words):,} distinct, {share:.0%} numbers"
    return np.concatenate(kept), np.cumsum([0, *map(len, kept)]), np.array(kept_labels, np.int32), note


# A peer: (symbols, doc_starts, label) -> prepare() outside the clock -> job() inside it, which returns int64[m, 6]:
# count per label, then support per label, one row a motif in any order.


def engine(symbols, doc_starts, label):
    from dsl_probe.mine.repeats import find_repeats, ngram_table
    from dsl_probe.mine.suffixes import build_index

    def job():
        found = find_repeats(build_index(symbols, doc_starts), label, LABELS, min_count=COUNT, max_length=HI)
        row, _ = ngram_table(found, LO, HI)
        return np.hstack([found.counts[row], found.support[row]])

    return job


def levels(symbols, doc_starts, label):
    from dsl_probe.mine.levels import count_ngrams

    def job():
        found = count_ngrams(symbols, doc_starts, HI, label, LABELS, min_count=COUNT)
        rows = found.rows(LO, HI)
        return np.hstack([found.counts[rows], found.support[rows]])

    return job


def polars_frame(symbols, doc_starts, label):
    import polars as pl

    doc = np.repeat(np.arange(len(label), dtype=np.int32), np.diff(doc_starts))
    return pl, pl.DataFrame({"s": symbols.astype(np.uint64), "d": doc, "l": label[doc].astype(np.int8)})


def polars_totals(pl, rows):
    """Count and support per label by key: one group_by of (key, document), one of the key."""
    n, same = pl.col("n"), [pl.col("l") == c for c in range(LABELS)]
    by_doc = rows.group_by("h", "d").agg(pl.len().alias("n"), pl.col("l").first())
    columns = [n.filter(same[c]).sum().alias(f"c{c}") for c in range(LABELS)]
    columns += [same[c].sum().alias(f"s{c}") for c in range(LABELS)]
    return by_doc.group_by("h").agg(columns).drop("h").collect(engine="streaming").to_numpy()


def polars_frequent(pl, rows):
    return (
        rows.group_by("h").agg(pl.len().alias("n")).filter(pl.col("n") >= COUNT).select("h").collect(engine="streaming")
    )


def polars(symbols, doc_starts, label):
    pl, frame = polars_frame(symbols, doc_starts, label)

    def job():
        keys, out = frame.with_columns(h=pl.col("s")), []
        for k in range(LO, HI + 1):
            keys = keys.with_columns(h=pl.col("h") * ODD + pl.col("s").shift(1 - k), e=pl.col("d").shift(1 - k))
            rows = keys.lazy().filter(pl.col("d") == pl.col("e"))
            out.append(polars_totals(pl, rows.join(polars_frequent(pl, rows).lazy(), on="h", how="semi")))
        return np.concatenate(out)

    return job


def polars_pruned(symbols, doc_starts, label):
    pl, frame = polars_frame(symbols, doc_starts, label)

    def job():
        unit, doc, out = frame["s"], frame["d"], []
        rows = frame.select(i=pl.int_range(len(frame), dtype=pl.UInt32), h="s", d="d", l="l")
        for k in range(LO, HI + 1):
            rows = rows.filter(pl.col("i") < len(frame) - k + 1)
            at = rows["i"] + (k - 1)
            rows = rows.with_columns(
                h=rows["h"] * pl.Series([ODD], dtype=pl.UInt64) + unit.gather(at), e=doc.gather(at)
            )
            rows = rows.filter(pl.col("d") == pl.col("e")).drop("e")
            frequent = polars_frequent(pl, rows.lazy())
            rows = rows.lazy().join(frequent.lazy(), on="h", how="semi").collect(engine="streaming")
            out.append(polars_totals(pl, rows.lazy()))
        return np.concatenate(out)

    return job


def duckdb(symbols, doc_starts, label):
    import duckdb
    import pyarrow as pa

    doc = np.repeat(np.arange(len(label), dtype=np.int32), np.diff(doc_starts))
    columns = {"i": np.arange(len(symbols), dtype=np.int32), "s": symbols, "d": doc, "l": label[doc].astype(np.int8)}
    tokens = pa.table(columns)  # noqa: F841 (duckdb finds it by its name)
    con = duckdb.connect()
    con.execute("set threads = 1; set preserve_insertion_order = false")
    con.execute("create table t as select * from tokens")
    later = ", ".join(f"lead(s, {j}) over w as a{j}" for j in range(1, HI))
    per_label = [f"coalesce(sum(n) filter (l = {c}), 0)::bigint c{c}" for c in range(LABELS)]
    per_label += [f"count(*) filter (l = {c}) s{c}" for c in range(LABELS)]

    def job():
        window, out = "window w as (partition by d order by i)", []
        con.execute(f"create temp table g as select s as a0, d, l, {later} from t {window}")
        for k in range(LO, HI + 1):
            key = f"hash({', '.join(f'a{j}' for j in range(k))})"
            con.execute(f"create or replace temp table h as select {key} h, d, l from g where a{k - 1} is not null")
            frequent = f"select h from h group by h having count(*) >= {COUNT}"
            by_doc = f"select h, d, any_value(l) l, count(*) n from h where h in ({frequent}) group by h, d"
            columns = con.execute(f"select {', '.join(per_label)} from ({by_doc}) group by h").fetchnumpy()
            out.append(np.column_stack(list(columns.values())))
        return np.concatenate(out)

    return job


def counter(symbols, doc_starts, label):
    docs = [part.tolist() for part in np.split(symbols, doc_starts[1:-1])]

    def job():
        out = []
        for k in range(LO, HI + 1):
            counts = Counter()
            for doc in docs:
                counts.update(zip(*(doc[j:] for j in range(k)), strict=False))
            kept = defaultdict(lambda: [0] * (2 * LABELS), {gram: [0] * 6 for gram, n in counts.items() if n >= COUNT})
            for doc, c in zip(docs, label.tolist(), strict=True):
                here = Counter(gram for gram in zip(*(doc[j:] for j in range(k)), strict=False) if gram in kept)
                for gram, n in here.items():
                    kept[gram][c] += n
                    kept[gram][LABELS + c] += 1
            out += kept.values()
        return np.array(out, np.int64)

    return job


PEERS = {
    "engine": (engine, "dsl_probe.mine.repeats"),
    "levels": (levels, "dsl_probe.mine.levels"),
    "polars": (polars, "polars, streaming group_by, every length by itself"),
    "polars_pruned": (polars_pruned, "polars, streaming group_by, only rows whose prefix is frequent go on"),
    "duckdb": (duckdb, "duckdb, every length by itself"),
    "counter": (counter, "collections.Counter"),
}
# Most tokens for a peer that takes minutes or gigabytes beyond; and of a size that runs more than once.
LARGEST = {"counter": 1_000_000, "polars": 10_000_000}
ONCE_ABOVE = 10_000_000


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mib():
    # Not ru_maxrss: that remembers the process which started this one.
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def load(folder, n_tokens):
    paths = (Path(folder) / f"{part}.npy" for part in ("symbols", "doc_starts", "label"))
    symbols, doc_starts, label = (np.load(path, mmap_mode="r") for path in paths)
    n_docs = int(np.searchsorted(doc_starts, n_tokens))
    return np.array(symbols[:n_tokens]), np.minimum(doc_starts[: n_docs + 1], n_tokens), np.array(label[:n_docs])


def measure(name, folder, n_tokens):
    """In the peer's own process: warm up on 2,000 tokens, then the job; one JSON line."""
    PEERS[name][0](*load(folder, 2_000))()
    job = PEERS[name][0](*load(folder, n_tokens))
    before = cpu_seconds()
    table = job()
    cpu, peak = cpu_seconds() - before, peak_mib()
    table = table.astype(np.uint64)
    mixed = (table * np.array([3, 5, 7, 11, 13, 17], np.uint64)).sum(1, dtype=np.uint64)
    checksum = int((mixed * mixed * np.uint64(ODD)).sum(dtype=np.uint64))
    print(json.dumps({"cpu": cpu, "mib": peak, "motifs": len(table), "checksum": f"{checksum:016x}"}))


def run(name, folder, n_tokens, core):
    threads = {f"{lib}_THREADS": "1" for lib in ("POLARS_MAX", "NUMBA_NUM", "OMP_NUM")}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, __file__, "--peer", name, "--folder", folder, "--tokens", str(n_tokens)],
        env=os.environ | threads | {"PYTHONPATH": paths},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{name} at {n_tokens} tokens failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def processor():
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def spread(values, digits):
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def report(results, note, rounds):
    lines = [
        "# Mining: results",
        "",
        "Written by `experiments/bench/mining.py`; what it asks and what it leaves out is in [README.md](README.md).",
        "",
        f"- date: {datetime.datetime.now(datetime.UTC).date()}",
        f"- machine: {processor()}, {os.cpu_count()} cores, one used by each process",
        f"- versions: Python {platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba", "pydivsufsort", "polars", "duckdb")),
        f"- corpus: {note}; repeated with re-drawn numbers beyond that",
        f"- job: motifs of {LO} to {HI} units, count >= {COUNT}, count and document support for {LABELS} labels",
        f"- cpu s (user and system), peak MiB: median (least to most) of {rounds} rounds in turn; one round beyond "
        f"{ONCE_ABOVE:,} tokens" + "; the Counter ran once" * any("counter" in peers for peers in results.values()),
        "",
    ]
    for n_tokens, peers in results.items():
        motifs, checksum = peers["engine"][0]["motifs"], peers["engine"][0]["checksum"]
        lines += [f"## {n_tokens:,} tokens", "", f"All agree: {motifs:,} motifs, checksum {checksum}.", ""]
        lines += ["| peer | cpu s | peak MiB | cpu / engine |", "|---|---|---|---|"]
        base = statistics.median(r["cpu"] for r in peers["engine"])
        for name, runs in peers.items():
            cpu, mib = [r["cpu"] for r in runs], [r["mib"] for r in runs]
            ratio = statistics.median(cpu) / base
            lines.append(f"| {PEERS[name][1]} | {spread(cpu, 2)} | {statistics.median(mib):,.0f} | {ratio:.1f} |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, action="append", help="a size (may be repeated); default 1, 10, 50 M")
    parser.add_argument("--traces", type=Path, default=ROOT / "data" / "traces")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    parser.add_argument("--rounds", type=int, default=3, help="of sizes up to 10 M; beyond it is one")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="which; engine always runs")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        measure(args.peer, args.folder, args.tokens[0])
        return
    sizes, core, results = sorted(args.tokens or [1_000_000, 10_000_000, 50_000_000]), max(os.sched_getaffinity(0)), {}
    with tempfile.TemporaryDirectory() as folder:
        *parts, note = corpus(args.traces, sizes[-1])
        for part, values in zip(("symbols", "doc_starts", "label"), parts, strict=True):
            np.save(Path(folder) / f"{part}.npy", values)
        for n_tokens in sizes:
            asked = [name for name in PEERS if name in ("engine", *args.peers)]
            results[n_tokens] = peers = {name: [] for name in asked if n_tokens <= LARGEST.get(name, n_tokens)}
            for turn in range(args.rounds if n_tokens <= ONCE_ABOVE else 1):
                for name, runs in peers.items():
                    if name == "counter" and turn:
                        continue
                    runs.append(run(name, folder, n_tokens, core))
                    print(n_tokens, name, runs[-1], file=sys.stderr, flush=True)
                    first = peers["engine"][0]
                    assert (runs[-1]["motifs"], runs[-1]["checksum"]) == (first["motifs"], first["checksum"]), name
    args.out.write_text(report(results, note, args.rounds))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
