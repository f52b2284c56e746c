"""A tiny run through all stages: what the scripts beside this one break, at every place, and compare.

The traces are those of two checkpoints of a model organism (data/organisms/growth-0.parquet) on the same problems of
two worlds, 80 to a shard, so that every stage has several files. About 1 MB and, once all is imported, 15 s.
"""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "data/organisms/sft")
SHARD_ROWS = 80
STEPS, WORLDS, PROBLEMS = (0, 160), ("chain", "hop"), 40


def commands(folder: Path) -> dict[str, list[str]]:
    """Stage -> the command that does it, in the order of the data flow; `collect` makes a run of its own."""
    run, new = str(folder / "run"), str(folder / "collected")
    little = ["--device", "cpu", "--model", MODEL]
    sides = [
        "--a",
        f"step={STEPS[1]}",
        "--b",
        f"step={STEPS[0]}",
        "--permutations",
        "99",
        "--min-problems",
        "3",
        "--min-units",
        "2",
    ]
    worlds = ["--domains", *WORLDS, "--template", "raw", "--max-new-tokens", "30"]
    planted = ["--group", f"step={STEPS[1]}", "--splits", "2", "--spikes", "nonce", "--permutations", "99"]
    at = ["--layers", "1", "2", "--at", "states"]
    probes = [
        "--targets",
        "last",
        "next",
        "--least",
        "5",
        "--readout-traces",
        "2",
        "--no-controls",
        "--no-transfer",
        "--strengths",
        "1.0",
        "--folds",
        "3",
    ]
    return {
        "import": ["import", str(folder / "source.parquet"), "--out", run],
        "collect": ["collect", "--out", new, *little, *worlds, "--n", "6", "--samples", "2", "--shard", "8"],
        "score": ["score", run, *little],
        "capture": ["capture", run, *little, *at, "--name", "m"],
        "mine": ["mine", run, "--min-traces", "4", "--min-problems", "4", "--q", "1.0", "--executor", "process:1"],
        "language": ["mine", run, "--language.group", f"step={STEPS[1]}", "--language.name", "late"],
        "probe": ["probe", run, *probes],
        "effects": [
            "effects",
            run,
            *little,
            "--motifs",
            "drap",
            "zorn",
            "--budget",
            "300",
            "--only",
            f"step={STEPS[1]}",
        ],
        "compare": ["compare", run, *sides, "--name", "c"],
        "validate": ["validate", run, *planted, "--min-problems", "3", "--min-units", "2", "--name", "v"],
        "growth": ["mine", run, "--growth"],
    }


def prepare(folder: Path) -> None:
    """The source of the import, and what makes runs small: one thread, few rows a shard."""
    import pyarrow.parquet as pq
    import torch

    from dsl_probe.collect import importer

    torch.set_num_threads(1)
    importer._SHARD_ROWS = SHARD_ROWS
    folder.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(ROOT / "data/organisms/growth-0.parquet", filters=[("step", "in", STEPS)])
    of = [
        k
        for k, (domain, problem) in enumerate(
            zip(*(table[c].to_pylist() for c in ("domain", "problem_id")), strict=True)
        )
        if domain in WORLDS and int(problem.rpartition("/")[2]) < PROBLEMS
    ]
    pq.write_table(table.take(of), folder / "source.parquet")


def fast_folder() -> tempfile.TemporaryDirectory:
    """A folder for one job, in memory where the system has such a place."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def command(argv: list[str]) -> tuple[int, str]:
    """Exit code and stderr of a command, done in this process."""
    from dsl_probe.cli import main

    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        code = main(argv)
    return code, told.getvalue()


def before_each(folder: Path, last: str = "growth") -> dict[str, Path]:
    """Stage -> a copy of the folder as it is before that stage; the whole road, up to `last`, is in folder/"end"."""
    prepare(folder / "end")
    kept = {}
    for stage, argv in commands(folder / "end").items():
        kept[stage] = folder / stage
        shutil.copytree(folder / "end", kept[stage])
        code, told = command(argv)
        if code > 1:
            raise RuntimeError(f"{stage}: {told}")
        if stage == last:
            break
    return kept


def files_of(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of every file under a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
