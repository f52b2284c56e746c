"""The validate stage: what the comparison would miss or invent in the user's own traces."""

import hashlib
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from dsl_probe.engine import Executor, Unit, each_unit
from dsl_probe.executors import executor_of, how_many
from dsl_probe.groups import checked_name, slug
from dsl_probe.share.validate import reading, spikes
from dsl_probe.share.validate.reading import ValidateResult
from dsl_probe.share.validate.units import Work, do_unit, prepare, unit_elsewhere
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import VALIDATION, UserError


@dataclass(frozen=True)
class ValidateConfig:
    """Whose traces are split, what is planted in them, and how it is tested."""

    group: str
    """The traces of one model: column=value[,column=value], for example model=NAME."""
    domain: tuple[str, ...] = ()
    """Only these domains."""
    splits: int = 20
    """Random splits of each kind with nothing planted, and of each planted corpus."""
    spikes: tuple[str, ...] = spikes.KINDS
    """Kinds of motifs to plant: nonce, symbol, 'other script', slotted, gapped, re-purposed. None: --spikes alone."""
    nulls: bool = True
    """Split with nothing planted, too."""
    motifs: int = 3
    """Motifs of each kind; re-purposed words are five."""
    problems: int = 60
    """Problems that each is planted in, half of all at most: so large can the difference be that is tried."""
    permutations: int = 999
    """Permutations of each test."""
    seed: int = 0
    """Seed of the splits, of what is planted, and of the permutations."""
    min_problems: int = 10
    """Least number of problems that hold a motif for it to be tested, as in compare."""
    min_units: int = 20
    """Problems in which a side wrote fewer counted units are left out, as in compare."""
    most_traces: int = 2_000
    """Of more traces than this, whole problems at random are left out, to bound time and memory."""
    name: str | None = None
    """Name of the validation. Default: made from the group."""


def validation_id(config: ValidateConfig) -> str:
    """Name of a validation's folder: the one asked for, or a readable one with a hash of the group."""
    if config.name:
        return checked_name(config.name)
    key = hashlib.blake2b("\0".join([config.group, *config.domain]).encode(), digest_size=3).hexdigest()
    return f"{slug(config.group.partition('=')[2], 48)}-{key}"


@stage_of_run
def validate(
    run: Run,
    config: ValidateConfig | None = None,
    *,
    executor: str | Executor = "process:1",
    force: bool = False,
    **options: Any,
) -> ValidateResult:
    """Split one group's traces in two, and count what the comparison finds with nothing planted, and with something.

    validate(run, group="model=X") is validate(run, ValidateConfig(group="model=X")). Writes
    validations/ID/validation.parquet; the figures and their reading stand in the stage's record.

    Nothing planted: random splits within problems (paired, where 20 problems have two samples) and of whole problems
    (unpaired); `cut`, where B's traces lose a random part (`splits.cut_side`); `by length`, the longer of two samples
    against the shorter, which is no null. Each at equal units and raw.

    Planted: motifs of known form (`spikes.draw_spikes`), each in one trace of each of K problems, once or twice, in
    several copies of the traces so that at most 2 % of the units of any are planted (more in very short texts). Each
    copy is mined as the run was. In each split every planted trace goes to A; of each motif's K problems a share of its
    own, uniform in 0 .. 1, stays in, and the others are left out of both sides, so that d, the problems in which only
    A's side holds the motif less those in which only B's does, runs from 0 to K. Recall is by s = d |d| / n, n the
    problems that one side alone holds it in (`recall.one_sided`); s is d but for words that were there before. Found:
    by a discovery (p_adj <= .05, equal units, all domains) on A's side with half or more of its units in common; beside
    it by the second test, of how many traces hold it (p_adj_presence).

    executor: where splits and planted copies are done (`executors.py`). A unit is the splits of one kind, or a planted
    copy of the traces with its splits; each has a file of its own, so that a job that was stopped goes on.

    What it does not show: that a model's own inventions look like these. They may be rarer, bound to one domain, or
    longer; they may stand where planted ones do not, which are put at random places of the text.
    """
    config = config or ValidateConfig(**options)
    _check(config)
    id = validation_id(config)
    stage = f"validate.{id}"
    mined = run.outputs("mine")
    if run.begin(stage, asdict(config), run.trace_files() | mined, force):
        try:
            work = prepare(str(run.path), config)
        except UserError:
            run.abandon(stage)
            raise
        parts = [f"validations/{id}/{k:05d}.part.json" for k in range(len(work.units))]
        jobs = [Unit((str(run.path), config, k, part), run.path / part) for k, part in enumerate(parts)]
        with executor_of(executor, folder=run.path / "jobs", default=1) as pool:
            do = partial(do_unit, work) if pool is None else unit_elsewhere
            for k, _ in each_unit(do, jobs, pool, ahead=how_many(pool)):
                _say(f"{k + 1} of {len(jobs)}: {work.said(k)}")
        made = [run.json(part) for part in parts]
        rows = [row for part in made for row in part["rows"]]
        shares = tuple(part["share"] for part in made if part["share"] is not None)
        table = pa.Table.from_pylist(rows, schema=VALIDATION)
        output = run.write_table(f"validations/{id}/validation.parquet", table)
        result = _result(id, work, rows, shares)
        run.finish(stage, [output, *parts], asdict(result), seed=config.seed)
    return ValidateResult(**run.counts(stage))


def _check(config: ValidateConfig) -> None:
    for name, least in (("splits", 1), ("motifs", 1), ("problems", 1), ("permutations", 99), ("most_traces", 20)):
        if getattr(config, name) < least:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(config, name)}; the least is {least}.")
    unknown = [kind for kind in config.spikes if kind not in spikes.KINDS]
    if unknown:
        raise UserError(f"--spikes {unknown[0]!r} is unknown; known are {', '.join(spikes.KINDS)}.")


def _result(id: str, work: Work, rows: list[dict[str, Any]], planted: tuple[float, ...]) -> ValidateResult:
    halves = work.halves
    spiked = [row for row in rows if row["what"] == "spike"]
    totals = [row for row in rows if row["what"] == "spikes"]
    kinds = {kind: [r for r in spiked if r["kind"] == kind] for kind in halves.config.spikes}
    levels = sorted({row["background"] for row in kinds.get(spikes.REPURPOSED, ())})
    shares = {f"{level:.3g}": [r for r in kinds[spikes.REPURPOSED] if r["background"] == level] for level in levels}
    curves = {kind: reading.fitted(some) for kind, some in kinds.items()}
    result = ValidateResult(
        id=id,
        design="paired" if halves.paired else "unpaired",
        problems=len(halves.problems),
        traces=len(halves.rows),
        left_out=work.left_out,
        problems_each=work.each,
        corpora=len(planted),
        planted=max(planted, default=0.0),
        nulls=tuple(reading.nulls(rows, halves.paired)),
        recall={kind: reading.binned(some) for kind, some in kinds.items()},
        needed={kind: curve.needed(reading.CHANCE) for kind, curve in curves.items() if curve},
        background={level: reading.binned(some) for level, some in shares.items()},
        comparisons=len(totals),
        separate=sum(row["separate"] for row in totals),
        false=sum(row["false"] for row in totals),
        reading=(),
    )
    said = reading.sentences(result, reading.fitted(spiked), reading.fitted(spiked, "found_presence"))
    return replace(result, reading=said)


def _say(message: str) -> None:
    say(f"validate: {message}")
