"""A collect that is killed at some moment, and whether it ends as if it had not been."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.store import Run


def trace_bytes(run):
    """File name -> bytes of what a collect wrote."""
    return {p.name: p.read_bytes() for p in sorted(run.path.glob("traces/*")) + sorted(run.path.glob("*.parquet"))}


CHILD = """
import json, sys, torch
torch.set_num_threads(1)
from dsl_probe.collect import decode
from dsl_probe.collect.decode import draw
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.store import Run
out, config = sys.argv[1], json.loads(sys.argv[2])
print("begun", flush=True)
collect(Run.create(out), CollectConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}))
"""


def killed(out: Path, config: CollectConfig, wait) -> bool:
    """Begin a collect in a process of its own and kill it after `wait(child)`; whether that was before its end."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(out), json.dumps(asdict(config))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    child.stdout.readline()
    wait(child)
    hit = child.poll() is None
    if hit:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert hit or child.returncode == 0
    return hit


def same_as_undisturbed(folder: Path, config: CollectConfig) -> bool:
    """Whether the run folder/"killed", brought to its end, holds the same bytes as one that nobody disturbed."""
    collect(Run.create(folder / "whole"), config)
    collect(Run.create(folder / "killed"), config)
    return trace_bytes(Run(folder / "whole")) == trace_bytes(Run(folder / "killed"))


def a_while(rng: np.random.Generator, low: float, high: float):
    """Wait for a random time, or until the child is done."""

    def wait(child):
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(float(rng.uniform(low, high)))

    return wait
