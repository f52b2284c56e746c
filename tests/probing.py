"""For the tests of probes: runs of worlds whose every state is known, and labels and fits without a run."""

import json
import random
from pathlib import Path

import numpy as np

from dsl_probe.collect.domains import worlds
from dsl_probe.collect.importer import import_traces
from dsl_probe.probe.asked import Asked, ask_domains
from dsl_probe.probe.grouped import within_folds
from dsl_probe.probe.labels import Labels
from dsl_probe.probe.solvers import solver_of
from dsl_probe.probe.stage import ProbeConfig
from dsl_probe.probe.sweep import LayerFit, fit_layer
from dsl_probe.probe.targets import Target
from dsl_probe.store import Run

CONFIG = ProbeConfig(strengths=(1e-2, 1.0))
ORGANISM = str(Path(__file__).parents[1] / "data/organisms/sft")


def trace(problem, sample: int, said: list[str], rng: random.Random, regime: str = "sft") -> dict:
    """A trace that writes these states, with words between, and answers the last."""
    words = [word for state in said for word in (*state.split(), *rng.choice((["tisk"], ["so", "tisk"], ["hence"])))]
    text = " ".join(["<think>", *words, "</think>", *said[-1].split(), "<eos>"])
    verdict = worlds.verify(problem, text)
    row = {"trace_id": f"{problem.id}/{sample}", "problem_id": problem.id, "domain": problem.domain, "regime": regime}
    row |= {"prompt": problem.prompt, "text": text, "model": "m", "answer": verdict.answer, "correct": verdict.correct}
    return row | {"reference": problem.target}


def make_run(folder: Path, rows: list[dict]) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = Run.create(folder / "run")
    import_traces(run, [folder / "t.jsonl"])
    return run


def labelled(of, problem, domain="x", classes=("no", "yes"), **more) -> Labels:
    """Labels as read_labels gives them, of traces of one problem each."""
    n = len(of)
    row = np.unique(problem, return_inverse=True)[1].astype(np.int32)
    made = {"trace_row": row, "read": np.ones(n, np.int32), "length": np.full(n, 9, np.int32)} | more
    names = np.array([f"p{p}" for p in problem], object)
    target = Target("value", "value", "", ())
    domains = np.full(n, domain, object)
    return Labels(target, np.arange(n), classes, np.asarray(of, np.int32), names, domains, left_out={}, **made)


def fitted(x, of, problem, config=CONFIG) -> tuple[Asked, LayerFit]:
    """What is asked, and the fit to states [n, d]."""
    import torch

    part = ask_domains(labelled(of, problem), config)[0]
    return part, fit_layer(torch.as_tensor(x, dtype=torch.float32), part.columns, part.fold, *solver_of(config))


def judged(part: Asked, fit: LayerFit):
    return within_folds(fit.scores, part.columns, part.fold, part.problem)


def unit(rng, d):
    w = rng.normal(size=d)
    return w / np.linalg.norm(w)


def holds_half(shares) -> bool:
    low, high = shares.interval()
    return low <= 0.5 <= high
