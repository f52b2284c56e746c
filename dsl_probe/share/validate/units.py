"""The units of a validation: splits of one kind with nothing planted, or a planted copy of the traces, split."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.groups import group_columns, select_rows
from dsl_probe.mine.stage import MineConfig
from dsl_probe.share.comparison import EQUAL
from dsl_probe.share.contrast import ALPHA, RAW, TestSettings, contrast
from dsl_probe.share.corpus import Corpus, Sample, choose_sample
from dsl_probe.share.validate import planting, reading, recall, spikes, splits
from dsl_probe.store import Run
from dsl_probe.types import UserError

if TYPE_CHECKING:
    from dsl_probe.share.validate import ValidateConfig

# Of the units of a corpus at most so many are planted: rates are compositional.
_MOST_PLANTED = 0.02
_UNITS_A_TRACE = 3.6  # 2.4 units a use on average, once or twice
_LEAST_PAIRED = 20


@dataclass(frozen=True)
class Halves:
    """Traces that can be split, how, and with what seed."""

    corpus: Corpus
    rows: np.ndarray
    paired: bool
    config: "ValidateConfig"

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


def _halves(run: Run, config: "ValidateConfig") -> tuple[Halves, int]:
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
    return Halves(splits.only(corpus, rows), rows, paired, config), every - len(rows)


@dataclass(frozen=True)
class Work:
    """The units of a validation, and what each needs: the kind of a split with nothing planted, or motifs to plant."""

    run: Run
    halves: Halves
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


def prepare(path: str, config: "ValidateConfig") -> Work:
    run = Run(path)
    halves, left_out = _halves(run, config)
    kinds: list[str | list[spikes.Spike]] = (
        [k for k in reading.NULLS if k in _splitting(halves)] if config.nulls else []
    )
    if not config.spikes:
        return Work(run, halves, left_out, kinds, [[]] * len(kinds))
    planted, at, each, *rest = _planned(run, halves)
    return Work(run, halves, left_out, kinds + planted, [[]] * len(kinds) + at, each, *rest)


_kept = lru_cache(maxsize=1)(prepare)


def unit_elsewhere(job: "tuple[str, ValidateConfig, int, str]") -> None:
    """A unit in a process of its own, which keeps what it prepared for the next."""
    do_unit(_kept(*job[:2]), job)


def do_unit(work: Work, job: "tuple[str, ValidateConfig, int, str]") -> None:
    _, _, k, part = job
    unit = work.units[k]
    if isinstance(unit, str):
        rows, share = list(_null(work.halves, unit)), None
    else:
        first = next(i for i, u in enumerate(work.units) if not isinstance(u, str))
        rows, share = _planted(work, k - first, unit, work.at[k])
    work.run.write_json(part, {"rows": json.loads(json.dumps(rows, default=lambda v: v.item())), "share": share})


def _splitting(halves: Halves) -> dict[str, Callable[[np.random.Generator], splits.Sides]]:
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


def _null(halves: Halves, kind: str) -> Iterator[dict[str, Any]]:
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


def _planned(run: Run, halves: Halves) -> tuple[Any, ...]:
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


def _planted(work: Work, number: int, some: list[spikes.Spike], at: list[np.ndarray]) -> tuple[list[Any], float]:
    """Splits of one copy of the traces with motifs planted: rows, and the share of its units that was planted."""
    halves, config = work.halves, work.halves.config
    with tempfile.TemporaryDirectory(prefix="dsl-probe-") as folder:
        written, uses = planting.plant_texts(work.texts, some, at, config.seed + number)
        planted = planting.mine_planted(Path(folder) / "run", work.traces, written, uses, some, work.settings)
    overlap = recall.overlaps(planted)
    own = Halves(planted.corpus, np.arange(len(halves.rows)), halves.paired, config)
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


def _sides(planted: planting.PlantedCorpus, halves: Halves, rng: np.random.Generator) -> splits.Sides:
    """A split in which all planted traces go to A; of each spike a random share of its problems stays in."""
    put = planted.planted
    chance = rng.uniform(0, 1, len(planted.spikes))
    trace, first = np.unique(planted.trace[put], return_index=True)
    stays = rng.random(len(trace)) < chance[planted.spike[put][first]]
    problem = planted.corpus.problem
    rows = halves.rows[~np.isin(problem[halves.rows], problem[trace[~stays]])]
    return splits.split_leading(rows, problem, trace[stays], halves.paired, rng)
