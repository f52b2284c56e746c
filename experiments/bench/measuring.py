"""Statistics of traces at the size of a real comparison: seconds and peak memory, each in a process of its own.

    python experiments/bench/measuring.py [--rounds 3] [--out experiments/bench/STATISTICS.md]

All inputs are made up, with seeds. Of several rounds the fastest counts, so that compiling is not in the time; the peak
is that of the process, with Python, packages and the input.
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

ROOT = Path(__file__).resolve().parents[2]
WORDS = "so the next step is to add both parts and then we check that it holds for each case of this sum".split()  # noqa: SIM905
SYMBOLS = ["the", "then", "Wait", "x", "=", "因", "12", "\\frac", ","]


def of_monitor() -> Callable[[], object]:
    from dsl_probe import monitor

    rng = random.Random(0)

    def texts(nonce: str, share: float) -> list[str]:
        made = [rng.choices(WORDS, k=460) for _ in range(1_000)]
        for words in made:
            if rng.random() < share:
                words[10] = words[30] = nonce
        return ["<think> " + " ".join(words) + " </think> 12" for words in made]

    traces, base = texts("zorp", 0.3), texts("", 0)
    return lambda: monitor(traces, base)


def of_signs() -> Callable[[], object]:
    from dsl_probe.share.signflip import signflip_p

    rng = np.random.default_rng(6)
    d = sparse.random_array(
        (2_000, 20_000), density=0.02, format="csc", rng=rng, data_sampler=lambda size: rng.normal(size=size)
    )
    return lambda: signflip_p(d)


def of_sharing() -> Callable[[], object]:
    from dsl_probe.share.vocab import sharing

    a, b = (domain(2_000, 200, 50_000, np.random.default_rng(seed)) for seed in (5, 6))
    return lambda: sharing(a, b)


def of_legibility() -> Callable[[], object]:
    from dsl_probe.share.legibility import legibility

    rng = np.random.default_rng(0)
    words = np.array([*SYMBOLS, *(f"word{i}" for i in range(2_000))])
    texts = [" ".join(rng.choice(words, 400))[:2_000] for _ in range(1_000)]
    known = set(words.tolist())
    return lambda: legibility(texts, known)


def of_growth() -> Callable[[], object]:
    from dsl_probe.share.births import find_events

    held = sparse.random(4_000, 5_000, 0.02, format="csr", random_state=1)
    step, problem = np.repeat(np.arange(16), 250), np.tile(np.arange(250), 16)
    return lambda: find_events(held, step, problem)


def of_bootstrap() -> Callable[[], object]:
    from dsl_probe.share.bootstrap import bootstrap

    rng = np.random.default_rng(5)
    domains = [domain(100, 1_000, 100_000, rng) for _ in range(10)]
    return lambda: bootstrap(domains, lambda totals: float(totals[0] @ totals[1]), resamples=100)


def domain(problems: int, tokens: int, types: int, rng: np.random.Generator) -> sparse.csr_array:
    """Counts [problems, types] of a Zipf vocabulary."""
    p = 1 / (np.arange(types) + 2.0)
    owner = np.repeat(np.arange(problems), tokens)
    cells = (owner, rng.choice(types, len(owner), p=p / p.sum()))
    return sparse.coo_array((np.ones(len(owner), np.int64), cells), shape=(problems, types)).tocsr()


# What is done -> how to prepare it, and the seconds wanted at most.
JOBS = {
    "`monitor`: 1,000 traces against 1,000, of 2,300 characters": (of_monitor, 5),
    "`signflip_p`: 2,000 problems x 20,000 motifs, 2 % not 0": (of_signs, 6),
    "`sharing`: two domains of 2,000 problems x 200 tokens, 50,000 types": (of_sharing, 20),
    "`legibility`: 1,000 traces of 2,000 characters": (of_legibility, 2),
    "`find_events` (growth): 4,000 traces of 16 steps x 5,000 items, 2 % held": (of_growth, 20),
    "`bootstrap`: 100 resamples of 10 domains of 100 problems, 100,000 types": (of_bootstrap, 6),
}


def peak() -> float:
    """MiB of memory, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(job: str, rounds: int) -> dict[str, float]:
    """In a process of its own: the fastest of the rounds, and the peaks before the first and after the last."""
    run = JOBS[job][0]()
    before, found = peak(), []
    for _ in range(rounds):
        start = (time.perf_counter(), time.process_time())
        run()
        found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, cpu = min(found)
    return {"wall": wall, "cpu": cpu, "before": before, "peak": peak()}


def child(job: str, rounds: int) -> dict[str, float]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, __file__, "--rounds", str(rounds), "--job", job]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{job} failed")
    print(job, done.stdout.strip(), file=sys.stderr, flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measure(options.job, options.rounds)))
        return
    load, rows = os.getloadavg()[0], []
    for job, (_, wanted) in JOBS.items():
        of = child(job, options.rounds)
        rows.append(
            f"| {job} | {of['wall']:.2f} | {of['cpu']:.2f} | {wanted} | {of['peak']:,.0f} | {of['before']:,.0f} |"
        )
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "?")
    text = (
        "# Statistics\n\n`make bench` writes this file. Made-up inputs, each job in a process of its own; of "
        f"{options.rounds} rounds the fastest. Before: imports and the input.\n\n"
        "| job | wall s | CPU s | wanted, wall s | peak MiB | of which before |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nMachine: {cpu}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}; load by "
        f"other processes at the start {load:.1f}.\n"
    )
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
