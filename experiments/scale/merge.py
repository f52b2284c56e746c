"""Does the arithmetic of counting in shards hold at 10^9 tokens? Sampled shards, a fit, a prediction, one check.

    python experiments/scale/merge.py [--work DIR] [--no-check] [--out experiments/scale/MERGE.md]

A corpus of any size whose every shard can be made alone: shard s is drawn from (seed, s), its tokens by Zipf's law,
with stock phrases that all shards know and spans that a document repeats from itself. So a few shards of a corpus of
10^9 tokens are measured as they would be in it. Each measurement is a process of its own that counts, merges and
recounts (`dsl_probe/mine/shards.py`) in itself; making the tokens is not in the times.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numba import njit

from dsl_probe.mine import shards as counting

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY, PHRASES, LONGEST, DOCUMENT, TABLE = 100_000, 100_000, 12, 1_000, 1 << 22
FROM_PHRASE, FROM_DOCUMENT = 0.05, 0.02
# Tokens a shard, least count in a shard, numbers of shards that are measured. 20 in 10^7 is a least rate of 2e-6.
GRID = (
    (1_000_000, 20, (4, 16, 64)),
    (1_000_000, 2, (4, 16, 32)),
    (3_000_000, 6, (4, 8, 16)),
    (10_000_000, 20, (2, 4, 8)),
)
CHECKS = ((10_000_000, 20, 100), (1_000_000, 20, 300))
ASKED = (10**9, 10**10, 10**12)


@dataclass(frozen=True)
class ZipfShard:
    """A shard that is made when it is loaded: int32[tokens] in documents of DOCUMENT tokens."""

    seed: int
    shard: int
    tokens: int

    def __call__(self) -> counting.Documents:
        """The shard's documents; the seconds that it took are added to `making`."""
        begun = time.process_time()
        symbols = draw(self.seed, self.shard, self.tokens)
        ends = np.append(np.arange(0, self.tokens, DOCUMENT), self.tokens).astype(np.int64)
        making.append(time.process_time() - begun)
        return counting.Documents(symbols, ends)


making: list[float] = []


def draw(seed: int, shard: int, tokens: int) -> np.ndarray:
    """The tokens of one shard. A place starts a phrase or a repeated span with the given chance, else one token."""
    start = np.random.SeedSequence([seed, 1, shard]).generate_state(1, np.uint64)[0]
    return _draw(start, tokens, *_stock(seed))


@njit(cache=True)
def _draw(state, tokens, words, stock, bounds, phrases):
    out = np.empty(tokens, np.int32)
    i = 0
    while i < tokens:
        # splitmix64: the high bits say what is written, the low ones which.
        state += np.uint64(0x9E3779B97F4A7C15)
        z = state
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        kind, which = float(z >> np.uint64(40)) / 2.0**24, np.int64(z & np.uint64(TABLE - 1))
        begin = i // DOCUMENT * DOCUMENT
        end = min(begin + DOCUMENT, tokens)
        if kind < FROM_PHRASE:
            at, size, source = bounds[phrases[which]], bounds[phrases[which] + 1] - bounds[phrases[which]], stock
        elif kind < FROM_PHRASE + FROM_DOCUMENT and i - begin > LONGEST:
            at, size, source = begin + which % (i - begin - LONGEST), 2 + which // 4096 % (LONGEST - 1), out
        else:
            at, size, source = which, 1, words
        for j in range(at, min(at + size, at + end - i)):
            out[i] = source[j]
            i += 1
    return out


@cache
def _stock(seed: int) -> tuple[np.ndarray, ...]:
    """A table of tokens, each as often as Zipf's law has it; the phrases' tokens, one after another, and their bounds;
    a table of phrases.
    """
    rng = np.random.default_rng([seed, 0])
    words = rng.permutation(VOCABULARY).astype(np.int32)[_zipf(VOCABULARY)]
    bounds = np.concatenate([[0], np.cumsum(rng.integers(2, LONGEST + 1, PHRASES))])
    return words, rng.choice(words, int(bounds[-1])), bounds, _zipf(PHRASES)


def _zipf(n: int) -> np.ndarray:
    """int32[TABLE]: ranks 0..n - 1 by Zipf's law; what is rarer than one of TABLE may be missing."""
    share = 1 / (np.arange(n) + 2.7)
    return np.searchsorted(np.cumsum(share) / share.sum(), (np.arange(TABLE) + 0.5) / TABLE).astype(np.int32)


# ---- one measurement


def measure(tokens: int, least: int, n_shards: int, work: Path) -> dict:
    """Count `n_shards` shards with a least count of `least` in each; processor seconds and sizes of each step."""
    jobs: dict[str, list[float]] = {"_count_shard": [], "_recount_shard": []}

    class Here:
        """An executor that does it at once and notes what it took."""

        def submit(self, fn, job):
            before, made = time.process_time(), len(making)
            fn(job)
            jobs[fn.__name__].append(time.process_time() - before - sum(making[made:]))
            return self

        def result(self):
            return None

    shards = [ZipfShard(0, s, tokens) for s in range(n_shards)]
    with tempfile.TemporaryDirectory(dir=work) as warm:  # loads what is compiled
        counting.count_shards([ZipfShard(1, s, 20_000) for s in range(2)], warm, LONGEST, 1, 2, Here())
    for seconds in jobs.values():
        seconds.clear()
    with tempfile.TemporaryDirectory(dir=work) as folder:
        before, made, wall = time.process_time(), sum(making), time.perf_counter()
        found = counting.count_shards(shards, folder, LONGEST, 1, least * n_shards, Here())
        wall = time.perf_counter() - wall
        whole = time.process_time() - before - (sum(making) - made)
        lists = [path for path in Path(folder).glob("found-*/*")]
        size = sum(path.stat().st_size for path in lists)
        merged = sorted(Path(folder).glob("merged-*"))
        rows = sum(np.load(path, mmap_mode="r").shape[0] for path in lists if path.name.endswith("pairs.npy"))
        able = sum(np.load(path / "pairs.npy", mmap_mode="r").shape[0] for path in merged)
        again = sum(np.load(path / "absent.npy").any(1).sum() for path in merged)
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    counted, recounted = sum(jobs["_count_shard"]), sum(jobs["_recount_shard"])
    return {
        "tokens": tokens,
        "least": least,
        "shards": n_shards,
        "count": counted,
        "recount": recounted,
        "merge": whole - counted - recounted,
        "wall": wall,
        "rows": int(rows),
        "lists": size,
        "disk": disk,
        "able": int(able),
        "again": int(again),
        "ngrams": len(found),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measured(tokens: int, least: int, n_shards: int, work: Path) -> dict:
    """`measure` in a process of its own; what was measured before is read."""
    kept = work / f"{tokens}-{least}-{n_shards}.json"
    if not kept.exists():
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        threads = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        asked = [sys.executable, __file__, "--one", *map(str, (tokens, least, n_shards)), "--work", str(work)]
        done = subprocess.run(asked, env=os.environ | threads, stdout=subprocess.PIPE, text=True, check=True)
        kept.write_text(done.stdout.splitlines()[-1])
        print(done.stdout.splitlines()[-1], file=sys.stderr, flush=True)
    return json.loads(kept.read_text())


# ---- fit and prediction

SUMS = ("count", "recount", "lists")  # go with the number of shards


def fit(rows: list[dict]) -> dict[str, np.ndarray]:
    """Of each quantity its [constant, increase a shard] from measurements with one size of shard.

    Processor seconds of counting, bytes of lists: the sum over the sum of shards. Merging and all that is on disk: a
    line, weighted so that relative errors count. Candidates: the largest series' number, since they level off.
    """
    shards = np.array([row["shards"] for row in rows], float)
    found = {name: np.array([0, sum(row[name] for row in rows) / shards.sum()]) for name in SUMS}
    for name in ("merge", "disk"):
        of = np.array([row[name] for row in rows])
        line = np.linalg.lstsq(np.stack([1 / of, shards / of], 1), np.ones(len(rows)), rcond=None)[0]
        found[name] = line if line[0] >= 0 else np.array([0, np.mean(of / shards)])
    for name in ("able", "ngrams"):
        found[name] = np.array([rows[-1][name], 0])
    return found


def predicted(line: dict[str, np.ndarray], n_shards: float) -> dict[str, float]:
    """Every quantity at a number of shards."""
    return {name: float(a + b * n_shards) for name, (a, b) in line.items()}


def report(series: dict[tuple[int, int], list[dict]], checks: list[dict]) -> str:
    """MERGE.md."""
    lines = [
        "# Counting in shards at 10^9 tokens: results",
        "",
        "Written by `experiments/scale/merge.py`.",
        "",
        f"- date: {datetime.datetime.now(datetime.UTC).date()}",
        f"- machine: {_processor()}, {os.cpu_count()} cores, one used; other processes ran on it (load at the end "
        f"{os.getloadavg()[0]:.1f}), so all seconds are of processor time",
        f"- versions: Python {platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba")),
        f"- tokens: {VOCABULARY:,} kinds by Zipf's law, documents of {DOCUMENT:,}; a place starts one of {PHRASES:,} "
        f"stock phrases of 2 to {LONGEST} tokens with chance {FROM_PHRASE}, a span repeated from its document with "
        f"{FROM_DOCUMENT}; made when a shard is loaded, which is in no time here",
        f"- job: n-grams of 1 to {LONGEST} tokens with count and support, one label. Least count in all = the least "
        "count in a shard x shards, so that a row of the tables keeps its least rate",
        "",
        "## Measured",
        "",
        "| tokens a shard | least in a shard | shards | tokens | CPU s a shard: count | merge | recount "
        "| rows listed a shard | bytes of lists a token | bytes on disk a token | may be frequent | n-grams "
        "| peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rows in series.values():
        lines += [_measured_row(row) for row in rows]
    lines += [
        "",
        "## Predicted and measured",
        "",
        "Fitted to the rows above, then measured at a number of shards that the fit has not seen. Counting, recounting "
        "and bytes of lists: the mean of a shard; merging and disk: a line in the number of shards; candidates: those "
        "of the longest series, since they level off.",
        "",
        "| tokens | shards | what | predicted | measured | error |",
        "|---|---|---|---|---|---|",
    ]
    units = {"lists": "MB", "disk": "MB", "able": "", "ngrams": ""}
    words = {"able": "may be frequent", "ngrams": "n-grams", "disk": "all on disk"}
    for row in checks:
        said = predicted(fit(series[row["tokens"], row["least"]]), row["shards"])
        said["all three"] = said["count"] + said["merge"] + said["recount"]
        seen = row | {"all three": row["count"] + row["merge"] + row["recount"]}
        for name in ("count", "merge", "recount", "all three", "lists", "disk", "able", "ngrams"):
            unit, by = units.get(name, "CPU s"), 1e6 if name in ("lists", "disk") else 1
            lines.append(
                f"| {row['tokens'] * row['shards']:.0e} | {row['shards']} of {row['tokens']:.0e} "
                f"| {words.get(name, name)} | {said[name] / by:,.0f} {unit} | {seen[name] / by:,.0f} {unit} "
                f"| {said[name] / seen[name] - 1:+.0%} |"
            )
    lines += [
        "",
        "## Extrapolated",
        "",
        "By the same fit. Hours: of one core for count and recount, which go to as many workers as there are shards; "
        "of the driver for the merge, which does not. Disk is what the work folder holds. Driver: the bits that say "
        "which shard does not list a candidate, shards / 8 bytes each, and 40 bytes of numbers.",
        "",
        "| tokens | shards | least count in all | core hours: count | recount | driver hours: merge | lists GB "
        "| disk GB | driver GB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (tokens, least), rows in series.items():
        line = fit(rows)
        for asked in ASKED:
            shards = asked // tokens
            said = predicted(line, shards)
            driver = said["able"] * (shards / 8 + 40)
            lines.append(
                f"| {asked:.0e} | {shards:,} of {tokens:.0e} | {least * shards:,} | {said['count'] / 3600:,.2f} "
                f"| {said['recount'] / 3600:,.2f} | {said['merge'] / 3600:,.2f} | {said['lists'] / 1e9:,.1f} "
                f"| {said['disk'] / 1e9:,.1f} | {driver / 1e9:,.2f} |"
            )
    return "\n".join(lines) + "\n"


def _measured_row(row: dict) -> str:
    n, s = row["tokens"], row["shards"]
    return (
        f"| {n:.0e} | {row['least']} | {s} | {n * s:.1e} | {row['count'] / s:.3f} | {row['merge'] / s:.3f} "
        f"| {row['recount'] / s:.3f} | {row['rows'] / s:,.0f} | {row['lists'] / n / s:.2f} | {row['disk'] / n / s:.2f} "
        f"| {row['able']:,} | {row['ngrams']:,} | {row['mib']:,.0f} |"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine())


def main() -> None:
    """The series, the checks, the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where it works, and keeps what it measured (default: nowhere)")
    parser.add_argument("--no-check", action="store_true", help="the series alone")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("MERGE.md"))
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.work)))
        return
    with tempfile.TemporaryDirectory() as nowhere:
        work = options.work or Path(nowhere)
        work.mkdir(parents=True, exist_ok=True)
        series = {(n, t): [measured(n, t, s, work) for s in counts] for n, t, counts in GRID}
        checks = [] if options.no_check else [measured(*check, work) for check in CHECKS]
    options.out.write_text(report(series, checks), "utf-8")
    print(options.out.read_text("utf-8"))


if __name__ == "__main__":
    main()
