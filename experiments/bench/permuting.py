"""The paired permutation test and the bootstrap at full size: seconds, memory, and a plain loop beside the test.

    python experiments/bench/permuting.py [--motifs 200000] [--out experiments/bench/PERMUTING.md]

The table of the test is sparse and made up, with a seed: the motif of rank r is used in problems x (r / 50)^-.55 of the
problems, so that 50 are used in all of them and two thirds in 20 to 40; differences are exponential, either sign.
"""

import argparse
import os
import platform
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from dsl_probe.permute import paired_test
from dsl_probe.share.bootstrap import bootstrap

SEED, PROBLEMS, PERMUTATIONS = 0, 2_000, 1_000
# So many permutations the loop does for its time; so many motifs and permutations for the comparison of results.
LOOPED = 20
COMPARED = (2_000, 200)
DOMAINS, TYPES, DOMAIN_PROBLEMS, TOKENS, RESAMPLES = 10, 100_000, 200, 1_000, 1_000


def differences(motifs: int) -> sparse.csc_matrix:
    """Rates of A less rates of B, [problems, motifs]."""
    rng = np.random.default_rng(SEED)
    held = np.clip(PROBLEMS * (np.arange(1, motifs + 1) / 50) ** -0.55, 10, PROBLEMS).astype(int)
    rows = [np.sort(rng.choice(PROBLEMS, n, replace=False)) for n in held]
    data = rng.exponential(0.01, held.sum()) * rng.choice([-1, 1], held.sum())
    return sparse.csc_matrix((data, np.concatenate(rows), np.r_[0, np.cumsum(held)]), (PROBLEMS, motifs))


def loop(d: sparse.csc_matrix, permutations: int, done: int) -> tuple[np.ndarray, np.ndarray]:
    """p and step-down max-T p of `paired_test` as its definition says, one permutation at a time; `done` of them."""
    signs = 2.0 * np.random.default_rng(SEED).integers(0, 2, (d.shape[0], permutations), dtype=np.int8) - 1
    scale = np.sqrt(np.asarray(d.multiply(d).sum(0)).ravel())
    rows = d.T.tocsr()
    bar = np.abs(rows @ np.ones(d.shape[0])) / scale * (1 - 1e-9)
    order = np.argsort(bar, kind="stable")
    larger, larger_max = np.zeros(len(bar)), np.zeros(len(bar))
    for q in range(done):
        z = np.abs(rows @ signs[:, q]) / scale
        larger += z >= bar
        larger_max[order] += np.maximum.accumulate(z[order]) >= bar[order]
    adjusted = np.empty(len(bar))
    adjusted[order[::-1]] = np.maximum.accumulate((larger_max[order[::-1]] + 1) / (done + 1))
    return (larger + 1) / (done + 1), adjusted


def domains() -> list[sparse.csr_array]:
    """Counts [problems, types] of each domain, all of one Zipf vocabulary."""
    rng = np.random.default_rng(SEED)
    p = 1 / (np.arange(TYPES) + 2.0)
    owner = np.repeat(np.arange(DOMAIN_PROBLEMS), TOKENS)
    cells = [(owner, rng.choice(TYPES, len(owner), p=p / p.sum())) for _ in range(DOMAINS)]
    return [sparse.coo_array((np.ones(len(owner)), c), shape=(DOMAIN_PROBLEMS, TYPES)).tocsr() for c in cells]


def mean_sharing(totals: Sequence[np.ndarray]) -> float:
    """Mean Morisita-Horn similarity over all pairs of domains."""
    p = np.stack([t / t.sum() for t in totals])
    agree = p @ p.T
    own = np.diag(agree)
    pairs = np.triu_indices(len(p), 1)
    return float((2 * agree / (own[:, None] + own))[pairs].mean())


def peak() -> float:
    """GB of memory, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motifs", type=int, default=200_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    cores = sorted(os.sched_getaffinity(0))

    few = differences(COMPARED[0])
    got = paired_test(few, COMPARED[1], SEED)  # and numba compiles
    for ours, plain in zip((got.p, got.p_adj), loop(few, COMPARED[1], COMPARED[1]), strict=True):
        np.testing.assert_allclose(ours, plain)

    d = differences(options.motifs)
    start, cpu = time.perf_counter(), time.process_time()
    paired_test(d, PERMUTATIONS, SEED)
    seconds, cpu, gigabytes = time.perf_counter() - start, time.process_time() - cpu, peak()
    start = time.perf_counter()
    loop(d, PERMUTATIONS, LOOPED)
    plain = (time.perf_counter() - start) * PERMUTATIONS / LOOPED

    os.sched_setaffinity(0, cores[:1])
    tables = domains()
    bootstrap(tables, mean_sharing, resamples=16)  # numba compiles
    start, own = time.perf_counter(), time.process_time()
    bootstrap(tables, mean_sharing, resamples=RESAMPLES)
    resampled, own = time.perf_counter() - start, time.process_time() - own

    rows = [
        (
            f"paired test, step-down max-T: {d.shape[1]:,} motifs x {PROBLEMS:,} problems x {PERMUTATIONS:,} "
            f"permutations, {d.nnz / 1e6:.1f} M differences",
            *(len(cores), f"{seconds:.1f}", f"{cpu:.1f}", 120),
        ),
        (
            f"the same, a loop over permutations in numpy and scipy: {LOOPED} of them, times {PERMUTATIONS // LOOPED}",
            *(1, f"{plain:.0f}", "", ""),
        ),
        (
            f"{RESAMPLES:,} resamples of {DOMAINS} domains of {DOMAIN_PROBLEMS} problems over {TYPES:,} types, "
            f"{sum(t.nnz for t in tables) / 1e6:.2f} M cells; mean Morisita-Horn over the pairs",
            *(1, f"{resampled:.1f}", f"{own:.1f}", 30),
        ),
    ]
    names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    text = (
        "# Permutations and resamples\n\n`make bench` writes this file. All seeds are 0; the p of both ways of the "
        f"test are equal for {COMPARED[0]:,} motifs and {COMPARED[1]} permutations, or the script stops.\n\n"
        "| job | cores | wall s | CPU s | wanted |\n|---|---|---|---|---|\n"
        + "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)
        + f"\nThe test is {plain / seconds:.0f} times as fast as the loop (wall). Memory of the process at the end of "
        f"the test, its table included: {gigabytes:.2f} GB (wanted: 4).\n\n"
        f"Machine: {names[0].split(':')[1].strip() if names else '?'}, {len(cores)} cores, Python "
        f"{platform.python_version()}; load by other processes at the start {load:.1f}.\n"
    )
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
