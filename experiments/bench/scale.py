"""What does counting in shards cost at a size one would not put into one process?

    python experiments/bench/scale.py             1e8 units in shards of 1e7, written to experiments/bench/SCALE.md

The driver and one worker are processes of their own and take turns, so that the work keeps one core busy; their peaks
are added. At 1e7 units the result is compared with that of a single process, number by number.
"""

import argparse
import datetime
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {"math": 0, "science": 1, "theory_of_mind": 1}  # every other domain (games, graphs, grids, ...): 2
HI, LABELS = 12, 3
PARTS = ("symbols", "doc_starts", "label")


def write_shards(traces, folder, n_units, per_shard):
    """The traces' units in shards of whole documents, again and again with other numbers; says what they are."""
    import pyarrow.parquet as pq

    from dsl_probe.mine.segment import segment

    tables = [pq.read_table(path, columns=["response", "domain"]) for path in sorted(traces.glob("*.parquet"))]
    if not tables:
        raise SystemExit(f"no *.parquet with response and domain in {traces}")
    units = segment([text or "" for table in tables for text in table["response"].to_pylist()])
    label = np.array([GROUPS.get(domain, 2) for table in tables for domain in table["domain"].to_pylist()], np.int32)
    docs = np.split(units.ids, units.bounds[1:-1])
    kinds = np.array(units.kinds)
    drawn = {kind: units.ids[(kinds == kind)[units.ids]] for kind in ("number", "data")}
    rng = np.random.default_rng(0)
    total, shard, here, copies = 0, 0, [], 0
    while total < n_units:
        for d in rng.permutation(len(docs)):
            doc = docs[d][: n_units - total]
            if copies:
                doc = doc.copy()
                for kind, pool in drawn.items():
                    mine = kinds[doc] == kind
                    doc[mine] = rng.choice(pool, int(mine.sum()))
            here.append((doc, label[d]))
            total += len(doc)
            if total >= min((shard + 1) * per_shard, n_units):
                values = (
                    np.concatenate([doc for doc, _ in here]),
                    np.cumsum([0, *(len(doc) for doc, _ in here)]),
                    np.array([label for _, label in here], np.int32),
                )
                for part, value in zip(PARTS, values, strict=True):
                    np.save(folder / f"{shard:03d}.{part}.npy", value)
                shard, here = shard + 1, []
            if total == n_units:
                break
        copies += 1
    share = sum(map(len, drawn.values())) / len(units.ids)
    return (
        f"{len(units.ids):,} units (words, as `dsl_probe/mine/segment.py` cuts them) of {len(docs):,} traces under "
        f"`data/traces`, {len(kinds):,} distinct, {share:.0%} numbers or blocks of data"
    )


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mib():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no VmHWM in /proc/self/status: this needs Linux")


def timed(fn, job):
    """In the worker: what it used for one job, and the most memory it has held so far."""
    before = cpu_seconds()
    fn(job)
    return fn.__name__, cpu_seconds() - before, peak_mib()


class Measured:
    """An executor of one process that notes what each job used."""

    def __init__(self, pool):
        self.pool, self.jobs = pool, []

    def submit(self, fn, job):
        future = self.pool.submit(timed, fn, job)
        self.jobs.append(future)
        return future


def shards_in(folder):
    from dsl_probe.mine.shards import NpyShard

    names = sorted(path.name.split(".")[0] for path in folder.glob("*.symbols.npy"))
    return [NpyShard(*(str(folder / f"{name}.{part}.npy") for part in PARTS)) for name in names]


def sharded(folder, min_count):
    """count_shards in this process and one worker -> (found, one row of the report)."""
    from loky import ProcessPoolExecutor

    from dsl_probe.mine.shards import count_shards

    pool = ProcessPoolExecutor(1)
    shards = shards_in(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        executor, before = Measured(pool), cpu_seconds()
        found = count_shards(shards, work, HI, LABELS, min_count, executor)
        driver = cpu_seconds() - before
        pool.shutdown(wait=True)
        lists = sum(path.stat().st_size for path in Path(work).glob("found-*/*"))
        merged = [np.load(path, mmap_mode="r").shape[0] for path in Path(work).glob("merged-*/pairs.npy")]
        again = [(bits := np.load(path, mmap_mode="r")).any(1).sum() for path in Path(work).glob("merged-*/absent.npy")]
        del bits
    jobs = [future.result() for future in executor.jobs]
    n_units = sum(len(shard().symbols) for shard in shards)
    return found, {
        "units": n_units,
        "shards": len(shards),
        "min_count": min_count,
        "count": sum(cpu for name, cpu, _ in jobs if name == "_count_shard"),
        "recount": sum(cpu for name, cpu, _ in jobs if name == "_recount_shard"),
        "driver": driver,
        "driver_mib": peak_mib(),
        "worker_mib": max(mib for *_, mib in jobs),
        "bytes": lists / n_units,
        "listed": sum(merged),
        "again": int(sum(again)),
        "ngrams": len(found),
    }


def single(folder, min_count):
    """count_ngrams over all shards at once."""
    from dsl_probe.mine.levels import count_ngrams

    parts = [shard() for shard in shards_in(folder)]
    offsets = np.cumsum([0, *(len(part.symbols) for part in parts)])
    symbols = np.concatenate([part.symbols for part in parts])
    starts = [part.doc_starts[:-1] + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    label = np.concatenate([part.doc_label for part in parts])
    before = cpu_seconds()
    found = count_ngrams(symbols, np.concatenate([*starts, offsets[-1:]]), HI, label, LABELS, min_count=min_count)
    return found, cpu_seconds() - before


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a) if name != "position")


def in_process_of_its_own(*args):
    """This script again, so that one measurement does not show in the peak of another; returns its last line."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    threads = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, __file__, *map(str, args)], env=os.environ | threads, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"{args} failed")
    return done.stdout.splitlines()[-1]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def report(note, rows, check):
    lines = [
        "# Counting in shards: results",
        "",
        "Written by `experiments/bench/scale.py`.",
        "",
        f"- date: {datetime.datetime.now(datetime.UTC).date()}",
        f"- machine: {processor()}, {os.cpu_count()} cores, one used; other processes ran on it",
        f"- versions: Python {platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba")),
        f"- corpus: {note}; the documents come again and again, in another order, from the second time on with "
        "every number and every block of data re-drawn at random from those of the corpus, so this is **not** that "
        "much text: it repeats far more than new text would, and the numbers of n-grams say nothing about language",
        f"- job: n-grams of 1 to {HI} units with count and document support for {LABELS} labels; single runs",
        f"- check: {check}",
        "",
        "| units | shards | count >= | n-grams | cpu s: count | merge and sum | recount | units / cpu s "
        "| peak MiB: driver + worker | bytes of lists a unit | may be frequent | of these recounted |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cpu = r["count"] + r["driver"] + r["recount"]
        lines.append(
            f"| {r['units']:,} | {r['shards']} | {r['min_count']} | {r['ngrams']:,} | {r['count']:.1f} "
            f"| {r['driver']:.1f} | {r['recount']:.1f} | {r['units'] / cpu / 1e6:.2f} M "
            f"| {r['driver_mib']:,.0f} + {r['worker_mib']:,.0f} = {r['driver_mib'] + r['worker_mib']:,.0f} "
            f"| {r['bytes']:.1f} | {r['listed']:,} | {r['again']:,} |"
        )
    lines += [
        "",
        "Count and recount run in the worker, merge and sum in the driver; both peaks hold Python, numpy and numba "
        "(about 100 MiB each) and the mapped pages of the files. Bytes of lists: what the shards write for the merge. "
        "Recounted: n-grams that at least one shard did not list.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=lambda text: int(float(text)), default=100_000_000)
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 20], help="min_count at the full size")
    parser.add_argument("--traces", type=Path, default=ROOT / "data" / "traces")
    parser.add_argument("--work", type=Path, help="where the shards are written for the time (default: the system's)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("SCALE.md"))
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(args)
        return
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        small, large = Path(work) / "small", Path(work) / "large"
        for folder, size in ((small, args.units // 10), (large, args.units)):
            folder.mkdir()
            note = in_process_of_its_own("--traces", args.traces, "--step", "write", folder, size, size // 10)
        check = in_process_of_its_own("--step", "check", small, 20)
        rows = []
        for folder, min_count in ((small, 20), *((large, least) for least in args.counts)):
            row = in_process_of_its_own("--step", "measure", folder, min_count)
            rows.append(dict(zip(COLUMNS, map(float, row.split()), strict=True)))
            rows[-1] |= {name: int(rows[-1][name]) for name in WHOLE}
            print(rows[-1], file=sys.stderr, flush=True)
    args.out.write_text(report(note, rows, check))
    print(args.out.read_text())


WHOLE = ("units", "shards", "min_count", "listed", "again", "ngrams")
COLUMNS = (*WHOLE, "count", "recount", "driver", "driver_mib", "worker_mib", "bytes")


def step(args):
    name, folder, *numbers = args.step
    folder, numbers = Path(folder), [int(number) for number in numbers]
    if name == "write":
        print(write_shards(args.traces, folder, *numbers))
    elif name == "check":
        (one, cpu), (many, row) = single(folder, *numbers), sharded(folder, *numbers)
        if not equal(one, many):
            raise SystemExit("the shards' result is not that of the single process")
        print(
            f"at {row['units']:,} units in {row['shards']} shards, count >= {numbers[0]}, all numbers of all "
            f"{len(one):,} n-grams equal those of a single process, which took {cpu:.1f} cpu s (with compiling, if any)"
        )
    else:
        _, row = sharded(folder, *numbers)
        print(*(row[name] for name in COLUMNS))


if __name__ == "__main__":
    main()
