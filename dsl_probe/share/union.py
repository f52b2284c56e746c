"""Several runs as one: two people's traces are compared in their union."""

import os
from collections.abc import Sequence
from pathlib import Path

from dsl_probe.collect.importer import import_traces
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.store import Run
from dsl_probe.types import UserError

Runs = Run | str | os.PathLike[str] | Sequence[Run | str | os.PathLike[str]]


def one_run(runs: Runs, out: str | os.PathLike[str] | None = None, mine: MineConfig | None = None) -> Run:
    """The run itself; of several their union, in the folder `out`, mined.

    Trace ids are kept apart by the runs' names. A union that is there already, of the same runs and mined with the same
    setting, is taken as it stands; one of other runs is refused. mine: default settings, or those it was mined with.
    What was captured, scored or probed in the single runs is not carried over.
    """
    if isinstance(runs, Run):
        return runs
    if isinstance(runs, str | os.PathLike):
        return Run(runs)
    several = [r if isinstance(r, Run) else Run(r) for r in runs]
    if len(several) == 1:
        return several[0]
    if not several:
        raise UserError("no run was given: pass a Run, its folder, or a list of them.")
    if out is None:
        raise UserError(f'{len(several)} runs need a folder for their union: out="runs/NAME".')
    if Path(out).resolve() in {r.path.resolve() for r in several}:
        raise UserError(f"out={str(out)!r} is one of the runs; give another folder.")
    run = Run.create(out)
    import_traces(run, [r.path for r in several])
    if mine is not None or run.stage("mine") is None:
        mine_motifs(run, mine or MineConfig())
    return run
