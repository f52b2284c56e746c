"""Runs for the tests of probes: traces of the worlds whose every state is known, and the organism that reads them."""

import json
import random
from pathlib import Path

from dsl_probe.collect.domains import worlds
from dsl_probe.collect.importer import import_traces
from dsl_probe.store import Run

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
