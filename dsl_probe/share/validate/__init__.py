"""The validate stage: what the comparison would miss or invent in the user's own traces."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dsl_probe.engine import Executor, Unit, each_unit
from dsl_probe.executors import executor_of, how_many
from dsl_probe.groups import checked_name, group_columns, select_rows, slug
from dsl_probe.mine.stage import MineConfig
from dsl_probe.share.comparison import EQUAL
from dsl_probe.share.contrast import ALPHA, RAW, TestSettings, contrast
from dsl_probe.share.corpus import Corpus, Sample, choose_sample
from dsl_probe.share.validate import planting, reading, recall, spikes, splits
from dsl_probe.share.validate.reading import ValidateResult
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import VALIDATION, UserError

# Of the units of a corpus at most so many are planted: rates are compositional.
_MOST_PLANTED = 0.02
_UNITS_A_TRACE = 3.6  # 2.4 units a use on average, once or twice
_LEAST_PAIRED = 20


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


@dataclass(frozen=True)
class _Halves:
    """Traces that can be split, how, and with what seed."""

    corpus: Corpus
    rows: np.ndarray
    paired: bool
    config: ValidateConfig

    @property
    def problems(self) -> np.ndarray:
        """Codes of the problems that can be split."""
        samples = np.bincount(self.corpus.problem[self.rows])
        return np.flatnonzero(samples >= (2 if self.paired else 1))

    def tested(
        self, corpus: Corpus, sides: splits.Sides, matched: str, seed: int, tests: tuple[str, ...] = ("rate",)
    ) -> tuple[Sample, dict[str, Any]]:
        """One family of tests, all domains."""
        c = self.config
        sample = choose_sample(corpus, *sides, c.min_problems, c.min_units)
        if not len(sample.rows):
            raise UserError(
                f"no problem of {c.group} has {c.min_units} units on either side of a split: lower --min-units."
            )
        settings = TestSettings(c.permutations, seed, c.min_problems, False, tests)
        return sample, contrast(corpus, sample, matched, settings)


@dataclass(frozen=True)
class _Planted:
    """In how many problems each motif was planted, and which share of the units of each corpus that is."""

    each: int = 0
    shares: tuple[float, ...] = ()


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
            work = _prepare(str(run.path), config)
        except UserError:
            run.abandon(stage)
            raise
        parts = [f"validations/{id}/{k:05d}.part.json" for k in range(len(work.units))]
        jobs = [Unit((str(run.path), config, k, part), run.path / part) for k, part in enumerate(parts)]
        with executor_of(executor, folder=run.path / "jobs", default=1) as pool:
            do = partial(_unit, work) if pool is None else _unit_elsewhere
            for k, _ in each_unit(do, jobs, pool, ahead=how_many(pool)):
                _say(f"{k + 1} of {len(jobs)}: {work.said(k)}")
        made = [run.json(part) for part in parts]
        rows = [row for part in made for row in part["rows"]]
        about = _Planted(work.each, tuple(part["share"] for part in made if part["share"] is not None))
        table = pa.Table.from_pylist(rows, schema=VALIDATION)
        output = run.write_table(f"validations/{id}/validation.parquet", table)
        result = _result(id, work.halves, work.left_out, rows, about)
        run.finish(stage, [output, *parts], asdict(result), seed=config.seed)
    return ValidateResult(**run.counts(stage))


def _check(config: ValidateConfig) -> None:
    for name, least in (("splits", 1), ("motifs", 1), ("problems", 1), ("permutations", 99), ("most_traces", 20)):
        if getattr(config, name) < least:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(config, name)}; the least is {least}.")
    unknown = [kind for kind in config.spikes if kind not in spikes.KINDS]
    if unknown:
        raise UserError(f"--spikes {unknown[0]!r} is unknown; known are {', '.join(spikes.KINDS)}.")


def _halves(run: Run, config: ValidateConfig) -> tuple[_Halves, int]:
    """The group's traces, and how many of them were left out to bound the work."""
    corpus = Corpus.load(run, group_columns(config.group))
    rows = select_rows(corpus.traces, config.group)
    if config.domain:
        known = sorted(set(corpus.domains[rows]))
        for domain in config.domain:
            if domain not in known:
                raise UserError(f"--domain {domain!r}: {config.group} has {', '.join(known)}.")
        rows = rows[np.isin(corpus.domains[rows], config.domain)]
    every = len(rows)
    if every > config.most_traces:
        order = np.random.default_rng([config.seed, 7]).permutation(int(corpus.problem.max()) + 1)
        rank = order[corpus.problem[rows]]
        first = rows[np.argsort(rank, kind="stable")][config.most_traces]
        rows = rows[rank < order[corpus.problem[first]]]
    samples = np.bincount(corpus.problem[rows])
    samples = samples[samples > 0]
    several = int((samples >= 2).sum())
    least = 2 * config.min_problems
    if len(samples) < least:
        raise UserError(
            f"{config.group} has {len(samples)} problems here; to split them in two, {least} are needed: give more "
            f"traces, or lower --min-problems."
        )
    if not (corpus.units[rows] >= config.min_units).any():
        raise UserError(f"no trace of {config.group} has {config.min_units} units: lower --min-units.")
    paired = several >= max(_LEAST_PAIRED, least) and 2 * several >= len(samples)
    return _Halves(splits.only(corpus, rows), rows, paired, config), every - len(rows)


@dataclass(frozen=True)
class _Work:
    """The units of a validation, and what each needs: the kind of a split with nothing planted, or motifs to plant."""

    run: Run
    halves: _Halves
    left_out: int
    units: list[str | list[spikes.Spike]]
    at: list[list[np.ndarray]]
    each: int = 0
    settings: Any = None
    traces: Any = None
    texts: Any = None

    def said(self, k: int) -> str:
        """A unit in words."""
        unit, splits = self.units[k], self.halves.config.splits
        if isinstance(unit, str):
            return f"{splits} splits, {unit}"
        return f"{len(unit)} motifs planted in {self.each} problems each, {splits} splits"


def _prepare(path: str, config: ValidateConfig) -> _Work:
    run = Run(path)
    halves, left_out = _halves(run, config)
    kinds: list[str | list[spikes.Spike]] = (
        [k for k in reading.NULLS if k in _splitting(halves)] if config.nulls else []
    )
    if not config.spikes:
        return _Work(run, halves, left_out, kinds, [[]] * len(kinds))
    planted, at, each, *rest = _planned(run, halves)
    return _Work(run, halves, left_out, kinds + planted, [[]] * len(kinds) + at, each, *rest)


_kept = lru_cache(maxsize=1)(_prepare)


def _unit_elsewhere(job: tuple[str, ValidateConfig, int, str]) -> None:
    """A unit in a process of its own, which keeps what it prepared for the next."""
    _unit(_kept(*job[:2]), job)


def _unit(work: _Work, job: tuple[str, ValidateConfig, int, str]) -> None:
    _, _, k, part = job
    unit = work.units[k]
    if isinstance(unit, str):
        rows, share = list(_null(work.halves, unit)), None
    else:
        first = next(i for i, u in enumerate(work.units) if not isinstance(u, str))
        rows, share = _planted(work, k - first, unit, work.at[k])
    work.run.write_json(part, {"rows": json.loads(json.dumps(rows, default=lambda v: v.item())), "share": share})


def _splitting(halves: _Halves) -> dict[str, Callable[[np.random.Generator], splits.Sides]]:
    """How traces are split with nothing planted, by kind."""
    corpus, rows, config = halves.corpus, halves.rows, halves.config
    own = splits.split_within if halves.paired else splits.split_problems
    kinds: dict[str, Callable[[np.random.Generator], splits.Sides]] = {
        reading.WHOLE: lambda rng: splits.split_problems(rows, corpus.problem, rng),
        reading.CUT: lambda rng: own(rows, corpus.problem, rng),
    }
    if (np.bincount(corpus.problem[rows]) >= 2).sum() >= max(_LEAST_PAIRED, config.min_problems):
        kinds[reading.WITHIN] = lambda rng: splits.split_within(rows, corpus.problem, rng)
        kinds[reading.LENGTH] = lambda rng: splits.split_by_length(
            _half(corpus, rows, rng), corpus.problem, corpus.units, rng
        )
    return kinds


def _null(halves: _Halves, kind: str) -> Iterator[dict[str, Any]]:
    """Discoveries in the splits of one kind, nothing planted."""
    kinds = _splitting(halves)
    number = [k for k in reading.NULLS if k in kinds].index(kind)
    for split in range(halves.config.splits):
        rng = np.random.default_rng([halves.config.seed, number, split])
        sides = kinds[kind](rng)
        used = splits.cut_side(halves.corpus, sides, rng) if kind == reading.CUT else halves.corpus
        for matched in (EQUAL, RAW):
            sample, found = halves.tested(used, sides, matched, split)
            yield {
                "what": "null",
                "kind": kind,
                "matched": matched,
                "split": split,
                "problems": len(sample.item_domain),
                "discoveries": int((found["p_adj"] <= ALPHA).sum()),
            }


def _half(corpus: Corpus, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All samples of half of the problems: two samples a problem have one split by length, halves have many."""
    return splits.split_problems(rows, corpus.problem, rng)[0]


def _planned(run: Run, halves: _Halves) -> tuple[Any, ...]:
    """What is planted in each copy of the traces; in which traces; in how many problems each motif; and for all copies
    how the run was mined, its traces and their texts."""
    corpus, rows, config = halves.corpus, halves.rows, halves.config
    settings = _mining(run)
    if settings.units != "words":
        raise UserError(
            f"{run.path} was mined in tokens; spikes are words put into text. Mine the traces in words into another "
            f"run, or give --spikes without a kind for the splits alone."
        )
    traces, texts = planting.read_texts(run, rows)
    rng = np.random.default_rng([config.seed, 11])
    drawn = spikes.draw_spikes(config.spikes, config.motifs, planting.known_words(run, corpus, rows, texts.texts), rng)
    problem, usable = corpus.problem[rows], halves.problems
    each = min(config.problems, len(usable) // 2)
    room = _MOST_PLANTED * sum(map(len, texts.starts)) / (_UNITS_A_TRACE * each)
    # Each has its own problems; where whole problems are split, as many again are left for the other half.
    per_corpus = max(1, min(len(usable) // (each if halves.paired else 2 * each), int(room)))
    order = rng.permutation(len(drawn))
    parts = [[drawn[i] for i in part] for part in np.array_split(order, -(-len(order) // per_corpus))]
    at = []
    for some in parts:
        chosen = [np.sort(own) for own in rng.permutation(usable)[: each * len(some)].reshape(len(some), each)]
        at.append([_one_trace(problem, problems, rng) for problems in chosen])
    return parts, at, each, settings, traces, texts


def _planted(work: _Work, number: int, some: list[spikes.Spike], at: list[np.ndarray]) -> tuple[list[Any], float]:
    """Splits of one copy of the traces with motifs planted: rows, and the share of its units that was planted."""
    halves, config = work.halves, work.halves.config
    with tempfile.TemporaryDirectory(prefix="dsl-probe-") as folder:
        written, uses = planting.plant_texts(work.texts, some, at, config.seed + number)
        planted = planting.mine_planted(Path(folder) / "run", work.traces, written, uses, some, work.settings)
    overlap = recall.overlaps(planted)
    own = _Halves(planted.corpus, np.arange(len(halves.rows)), halves.paired, config)
    made = []
    for split in range(config.splits):
        sides = _sides(planted, own, np.random.default_rng([config.seed, 13, number, split]))
        sample, found = own.tested(planted.corpus, sides, EQUAL, split, ("rate", "presence"))
        about = {"corpus": number, "split": split, "matched": EQUAL, "problems": len(sample.item_domain)}
        scored, counts = recall.score(planted, overlap, sample, found)
        made += [{"what": "spike", **about, **row} for row in scored]
        made.append({"what": "spikes", "kind": "all", **about, **counts})
    return made, float(planted.share)


def _mining(run: Run) -> MineConfig:
    """How the run was mined."""
    config: dict[str, Any] = (run.stage("mine") or {})["config"]
    return replace(MineConfig(**config), slots=tuple(config["slots"]))


def _one_trace(problem: np.ndarray, problems: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random trace of each of these problems."""
    order = rng.permutation(np.flatnonzero(np.isin(problem, problems)))
    return np.sort(order[np.unique(problem[order], return_index=True)[1]])


def _sides(planted: planting.PlantedCorpus, halves: _Halves, rng: np.random.Generator) -> splits.Sides:
    """A split in which all planted traces go to A; of each spike a random share of its problems stays in."""
    put = planted.planted
    chance = rng.uniform(0, 1, len(planted.spikes))
    trace, first = np.unique(planted.trace[put], return_index=True)
    stays = rng.random(len(trace)) < chance[planted.spike[put][first]]
    problem = planted.corpus.problem
    rows = halves.rows[~np.isin(problem[halves.rows], problem[trace[~stays]])]
    return splits.split_leading(rows, problem, trace[stays], halves.paired, rng)


def _result(id: str, halves: _Halves, left_out: int, rows: list[dict[str, Any]], about: _Planted) -> ValidateResult:
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
        left_out=left_out,
        problems_each=about.each,
        corpora=len(about.shares),
        planted=max(about.shares, default=0.0),
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
