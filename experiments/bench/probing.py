"""Probes at full size: a sweep over layers beside scikit-learn, and a million states that are read from files.

    python experiments/bench/probing.py [--layers 3] [--rows 1000000] [--out experiments/bench/PROBING.md]

The states are made up, with seeds: a covariance whose eigenvalues fall with their rank in a random basis, two massive
dimensions, a fifth of the variance shared by the states of a problem, rounded to bf16 as a capture stores them. Each
target is told by a direction of its own, with noise. Both sides of the comparison run in one process, one layer after
another, with as many threads.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
WIDTH, TARGETS, FOLDS, LAYERS, ROWS, CELLS = 576, 20, 5, 30, 20_000, 60
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
# Of a million states fewer strengths, in shards of so many rows.
FEW, SHARD, OF_PROBLEM = (1e-3, 1e-1, 10.0), 125_000, 20


class Planted:
    """States of a layer and labels of its targets, made in pieces."""

    def __init__(self, layer: int):
        import torch

        rng = np.random.default_rng(layer)
        self.basis = torch.tensor(np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] * np.arange(1, WIDTH + 1) ** -0.5)
        # Targets from hardly told to nearly told, rare and common; best told in the middle layers.
        strong = np.linspace(0.5, 8, TARGETS) * (0.3 + np.sin(np.pi * (layer + 1) / (LAYERS + 1)))
        self.directions = torch.tensor(rng.normal(size=(WIDTH, TARGETS)) / WIDTH**0.5 * strong).float()
        self.offsets = rng.uniform(-2, 0.5, TARGETS)
        self.basis, self.layer = self.basis.float(), layer

    def piece(self, number: int, rows: int) -> tuple[Any, np.ndarray, np.ndarray]:
        """States bf16 [rows, WIDTH], labels int8 [rows, TARGETS], and the log-odds that the labels were drawn from."""
        import torch

        draw = torch.Generator().manual_seed(1_000 * self.layer + number)
        shared = torch.randn(-(-rows // OF_PROBLEM), WIDTH, generator=draw).repeat_interleave(OF_PROBLEM, 0)[:rows]
        z = 0.8**0.5 * torch.randn(rows, WIDTH, generator=draw) + 0.2**0.5 * shared
        x = z @ self.basis.T
        x[:, 7] = 3_000 + 50 * x[:, 7]
        x[:, 100] = 200 * x[:, 100] - 800
        odds = (z @ self.directions).numpy() + self.offsets
        labels = np.random.default_rng((self.layer, number)).random(odds.shape) < 1 / (1 + np.exp(-odds))
        return x.bfloat16(), labels.astype(np.int8), odds


def folds_of(rows: int) -> np.ndarray:
    from dsl_probe.probe.sweep import deal_folds

    return deal_folds((np.arange(rows) // OF_PROBLEM).astype(str), FOLDS, 0)


def timed(run: Any) -> tuple[Any, float, float]:
    """What a call gives, its wall and its CPU seconds."""
    start = time.perf_counter(), time.process_time()
    found = run()
    return found, time.perf_counter() - start[0], time.process_time() - start[1]


def layers(n: int) -> dict[str, Any]:
    """In a process of its own: the sweep of n layers spread over all, the stage's nested fits of the middle one, and
    scikit-learn in cells drawn of the same layers."""
    import torch

    from dsl_probe.probe.linear import logistic_sweep, scores
    from dsl_probe.probe.metrics import auroc
    from dsl_probe.probe.solvers import solver_of
    from dsl_probe.probe.stage import ProbeConfig
    from dsl_probe.probe.sweep import fit_layer

    fold, chosen = folds_of(ROWS), np.linspace(0, LAYERS - 1, n).astype(int)
    every = list(product(range(n), range(TARGETS), range(FOLDS), range(len(STRENGTHS))))
    picked = np.random.default_rng(0).choice(len(every), CELLS, replace=False)
    ours, peer, of_stage, gaps, values, iterations, stopped = [], [], (0.0, 0.0), [], [], [], 0
    solver, _ = solver_of(ProbeConfig(device="cpu"))
    for i, layer in enumerate(chosen):
        states, labels, _ = Planted(int(layer)).piece(0, ROWS)
        x = states.float()
        sets = [(o,) for o in range(FOLDS)]
        weights, *seconds = timed(lambda: logistic_sweep(x, labels, fold, sets, STRENGTHS))  # noqa: B023
        ours.append(seconds)
        iterations.append(weights.iterations)
        if i == n // 2:
            one = [labels[:, t : t + 1] for t in range(TARGETS)]
            of_stage = timed(lambda: [fit_layer(x, each, fold, solver, STRENGTHS) for each in one])[1:]  # noqa: B023
        for _, t, o, s in (every[c] for c in sorted(picked) if every[c][0] == i):
            test = fold == o
            found = scores(x[test], weights.coef[o, t, s], weights.intercept[o, t, s]).numpy()
            fit, theirs, *seconds = alone(x.numpy(), labels[:, t], test, STRENGTHS[s])
            peer.append(seconds)
            stopped += int(fit.n_iter_[0] >= fit.max_iter)
            values.append(float(auroc(found[:, None], labels[test, t])[0]))
            gaps.append(abs(values[-1] - float(auroc(theirs[:, None], labels[test, t])[0])))
        print(f"layer {layer}: {ours[-1][0]:.1f} s, {len(peer)} of {CELLS} cells", file=sys.stderr, flush=True)
    return {
        "ours": np.mean(ours, 0).tolist(),
        "stage": list(of_stage),
        "peer": np.mean(peer, 0).tolist(),
        "error": float(np.std([wall for wall, _ in peer], ddof=1) / len(peer) ** 0.5),
        "gap": max(gaps),
        "values": [min(values), max(values)],
        "iterations": max(iterations),
        "stopped": stopped,
        "threads": torch.get_num_threads(),
    }


def alone(x: np.ndarray, labels: np.ndarray, test: np.ndarray, strength: float) -> tuple[Any, np.ndarray, float, float]:
    """scikit-learn's fit, its scores of the left-out fold, and the seconds of the fit, without standardising."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(x[~test].astype(np.float64))
    # In float32, which its solver keeps, and which halves its time.
    train = scale.transform(x[~test].astype(np.float64)).astype(np.float32)
    fit, *seconds = timed(lambda: LogisticRegression(C=strength).fit(train, labels[~test]))
    return fit, fit.decision_function(scale.transform(x[test].astype(np.float64)).astype(np.float32)), *seconds


def write(folder: Path, rows: int) -> None:
    """A run with a capture of so many states, in shards, and labels beside it."""
    import pyarrow as pa

    from dsl_probe.collect.states import StateFile
    from dsl_probe.store import Run

    run, planted, size = Run.create(folder / "run"), Planted(LAYERS // 2), min(rows, SHARD)
    (run.path / "acts/made").mkdir(parents=True)
    labels, odds = [], []
    for k in range(rows // size):
        run.write_shard("traces", k, pa.table({"trace_id": [f"{k}"]}))
        with StateFile(run.path / f"acts/made/{k:05d}.safetensors", {"resid_post.0": (size, WIDTH)}, "bf16") as file:
            states, *of = planted.piece(k, size)
            file.put("resid_post.0", 0, states)
        labels.append(of[0])
        odds.append(of[1].astype(np.float32))
    np.save(folder / "labels.npy", np.concatenate(labels))
    np.save(folder / "odds.npy", np.concatenate(odds))


def stored(folder: Path) -> dict[str, Any]:
    """In a process of its own: the sweep over states that stay in their files, and how well the middle strength tells
    the left-out folds."""
    from dsl_probe.probe.linear import logistic_sweep, scores
    from dsl_probe.probe.metrics import auroc
    from dsl_probe.probe.states import StoredStates
    from dsl_probe.store import Run

    states = StoredStates(Run(folder / "run"), "made", "resid_post.0")
    labels = np.load(folder / "labels.npy")
    fold, sets = folds_of(len(labels)), [(o,) for o in range(FOLDS)]
    weights, wall, cpu = timed(lambda: logistic_sweep(states, labels, fold, sets, FEW))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = np.empty(labels.shape, np.float32)
    for first, x in states.blocks():
        of = fold[first : first + len(x)]
        for o in range(FOLDS):
            rows = np.flatnonzero(of == o)
            found[first + rows] = scores(x[rows], weights.coef[o, :, 1], weights.intercept[o, :, 1]).numpy()
    odds = np.load(folder / "odds.npy", mmap_mode="r")

    def told(by: np.ndarray) -> float:
        columns = [np.array(by[:, t])[:, None] for t in range(TARGETS)]
        return float(np.mean([auroc(column, labels[:, t])[0] for t, column in enumerate(columns)]))

    return {
        "rows": len(labels),
        "wall": wall,
        "cpu": cpu,
        "peak": peak,
        "passes": weights.iterations,
        "converged": float(weights.converged.float().mean()),
        "auroc": told(found),
        "best": told(odds),
    }


def child(*args: Any) -> dict[str, Any]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(len(os.sched_getaffinity(0))))
    command = [sys.executable, __file__, *map(str, args)]
    done = subprocess.run(
        command, env=os.environ | threads | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, args))} failed")
    print(done.stdout, file=sys.stderr, flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(n: int, of: dict[str, Any], many: dict[str, Any], load: float) -> str:
    cells, nested = TARGETS * FOLDS * len(STRENGTHS), 1 + FOLDS + FOLDS * (FOLDS - 1) // 2
    fits = TARGETS * nested * len(STRENGTHS)
    stage = f"`fit_layer`, target by target, {nested} fits for {FOLDS} folds"
    rows = [
        ("`logistic_sweep`, all targets together", LAYERS * cells, *(LAYERS * s for s in of["ours"])),
        ("scikit-learn, fit by fit", LAYERS * cells, *(LAYERS * cells * s for s in of["peer"])),
        (stage, LAYERS * fits, *(LAYERS * s for s in of["stage"])),
        ("scikit-learn, as many fits", LAYERS * fits, *(LAYERS * fits * s for s in of["peer"])),
    ]
    lines = "".join(f"| {name} | {count:,} | {wall:,.0f} | {cpu:,.0f} |\n" for name, count, wall, cpu in rows)
    ratios = [f"{b[2] / a[2]:.0f} | {b[3] / a[3]:.0f}" for a, b in (rows[:2], rows[2:])]
    names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "scikit-learn"))
    return (
        "# Probes: results\n\n`python experiments/bench/probing.py --out experiments/bench/PROBING.md` writes this "
        f"file.\n\n## A sweep beside scikit-learn\n\n{LAYERS} layers x {TARGETS} targets x {FOLDS} folds x "
        f"{len(STRENGTHS)} strengths on {ROWS:,} states of {WIDTH} dimensions. Timed: {n} layers, and of those layers "
        f"{CELLS} cells (layer, target, fold, strength), drawn by seed, with scikit-learn's LogisticRegression (lbfgs, "
        "defaults, float32, standardised by the training rows before the clock starts). Both are extrapolated to all "
        "layers and cells. What the stage does for a layer (`fit_layer`: also the fits without two folds, by which "
        "strength and layer are chosen, the fit to all, and their AUROCs) is timed for one layer.\n\n"
        f"| | fits | wall s | CPU s |\n|---|---|---|---|\n{lines}\n"
        "| | wall | CPU | asked |\n|---|---|---|---|\n"
        f"| time, scikit-learn / `logistic_sweep` | {ratios[0]} | >= 20, aim 50 |\n"
        f"| time, scikit-learn / `fit_layer` | {ratios[1]} | >= 20, aim 50 |\n\n"
        f"Worst difference of the AUROC in the left-out fold over the {CELLS} cells: {of['gap']:.4f} (asked: <= .005); "
        f"their AUROCs run from {of['values'][0]:.2f} to {of['values'][1]:.2f}. A fit of scikit-learn took "
        f"{of['peer'][0]:.2f} s (standard error of the mean {of['error']:.2f}); {of['stopped']} of {CELLS} stopped at "
        f"its 100 iterations. The sweep passed over the states {of['iterations']} times at the most.\n\n"
        f"## States that stay in their files\n\n`logistic_sweep` on {many['rows']:,} states of {WIDTH} dimensions, "
        f"bf16 in safetensors ({many['rows'] * WIDTH * 2 / 1e9:.2f} GB), by block; {FOLDS} folds x {TARGETS} targets x "
        f"{len(FEW)} strengths, a process of its own.\n\n"
        "| wall s | CPU s | passes | converged | peak GiB | asked |\n|---|---|---|---|---|---|\n"
        f"| {many['wall']:.0f} | {many['cpu']:.0f} | {many['passes']} | {many['converged']:.0%} | {many['peak']:.2f} "
        f"| <= 2 |\n\nMean AUROC of the left-out folds, C = {FEW[1]}: {many['auroc']:.4f}; of the log-odds that the "
        f"labels were drawn from: {many['best']:.4f}.\n\n"
        f"Machine: {names[0].split(':')[1].strip() if names else '?'}, {of['threads']} cores and threads, Python "
        f"{platform.python_version()}, {packages}; load by other processes at the start {load:.1f}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3, help=f"layers that are timed, of {LAYERS}")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=1_000_000, help="of the second part")
    parser.add_argument("--work", type=Path, help="where the states are written for the time (default: the system's)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, of = options.step
        print(json.dumps(layers(int(of)) if name == "layers" else stored(Path(of))))
        return
    load = os.getloadavg()[0]
    swept = child("--step", "layers", options.layers)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        write(Path(folder), options.rows)
        many = child("--step", "stored", folder)
    text = report(options.layers, swept, many, load)
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
