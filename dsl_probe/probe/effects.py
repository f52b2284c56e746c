"""The effects stage: does the model need what it writes? It goes on from its own traces with a motif taken away.

A unit of work is one motif with all its interventions. Its samples have a file of their own, written when they are all
drawn, so a job that was stopped goes on with the motifs that are left. What is drawn is fixed before anything is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from dsl_probe.collect.loading import Loading, identity, load
from dsl_probe.collect.seeded import Sampling, key_of
from dsl_probe.engine import Executor, Unit, each_unit
from dsl_probe.executors import executor_of, how_many
from dsl_probe.groups import checked_name, group_columns, select_rows
from dsl_probe.mine.uses import read_rows
from dsl_probe.probe.activations import INTERVENTIONS as OF_STATES
from dsl_probe.probe.activations import ActivationConfig, activation_effects
from dsl_probe.probe.arms import OF_CHAINS, OF_MOTIFS, WHOLE, Arms, Draw
from dsl_probe.probe.draws import sample_draws, trace_sampling
from dsl_probe.probe.effect_table import ALL, effect_rows
from dsl_probe.probe.spans import Motif, Spans, named_motifs
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import EFFECT_SAMPLES, UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model

KNOWN = OF_MOTIFS + OF_CHAINS + OF_STATES
TRACE_COLUMNS = ["trace_id", "problem_id", "domain", "prompt", "text", "prefix", "prompt_ids", "token_ids", "tokenizer"]
TRACE_COLUMNS += ["answer", "correct", "reference", "meta", "sampling", "model", "template"]


@dataclass(frozen=True, kw_only=True)
class EffectsConfig(Loading):
    """Which motifs are taken away, how, and how many tokens may be spent on it."""

    model: str = ""
    """Folder, hub id or GGUF file of the model that wrote the traces."""
    only: str | None = None
    """Its traces, where the run holds those of several: column=value[,column=value]."""
    motifs: tuple[str, ...] = ("top:50",)
    """Ids, texts, a file of them, or top:N: the N entries of the lexicon that save most bits, with --comparison the N
    motifs most over-represented in it."""
    comparison: str | None = None
    """A comparison, for top:N."""
    interventions: tuple[str, ...] = ("ban", "delete")
    """Of a motif: ban, delete, replace. Of the whole chain: shuffle, blank. Of states: erase, steer, patch."""
    budget: int = 20_000
    """New tokens to be drawn for a motif: all interventions, their arms and placebos together, by the lengths of the
    traces. What is drawn is fixed by it before the job begins."""
    after: int = 1
    """Units that stay behind a span that is cut out or replaced, before the model goes on."""
    acts: str | None = None
    """Of erase, steer and patch: capture of the model's states on these traces, by its name under acts/."""
    target: str = "value"
    """Of these: what is erased, pushed along or patched, as probe takes it; patch takes value, digit or next."""
    layers: tuple[int, ...] = ()
    """Of these: decoder blocks; default: all that were captured."""
    probes: str = "default"
    """Of steer: result of probe with the weights, under probes/."""
    along: Literal["weights", "pattern"] = "weights"
    """Of steer: the probe's weights, or the states' covariance times them (Haufe et al. 2014)."""
    scale: float = 0.5
    """Of steer: length of the push, in typical norms of the layer's states."""
    problems: int = 100
    """Of erase and steer: problems of the traces, at most, that are answered anew in each arm."""
    temperature: float | None = None
    """Of the sampling; default: as the traces were drawn, else 1."""
    max_new_tokens: int | None = None
    """Longest completion, what is given of it included; default: as the traces were drawn, else 1,024."""
    batch_size: int = 64
    """Completions sampled together."""
    permutations: int = 10_000
    """Permutations of the test; the least p is one over their number."""
    seed: int = 0
    """Seed of choices and sampling."""
    name: str = "default"
    """Name of the result, under effects/."""


@dataclass(frozen=True)
class EffectsResult:
    """Counts of an effects job. left_out: why traces could not be used, motif by motif, with counts."""

    motifs: int
    draws: int
    tokens: int
    load_bearing: int
    left_out: dict[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


@stage_of_run
def effects(
    run: Run, config: EffectsConfig, *, executor: str | Executor = "process:1", force: bool = False
) -> EffectsResult:
    """Take motifs away and let the model go on; writes effects/NAME/effects.parquet and the samples of each motif.

    - ban: from the motif's first use in a trace on the model may not write it. Its tokens up to there stay.
    - delete, replace: one use, drawn at random, is cut out of the finished trace, or replaced by a span of the same
      length and frequency; `after` units behind it stay, and the model goes on.
    - shuffle, blank: the units of the whole chain in random order, or no chain; the model answers.

    - erase, steer, patch: of states, for a target of `probe` at the layers of a capture (`acts`); what each does, its
      placebo and its limits stand in `activations.activation_effects`.

    The others have their placebo in the same trace: the same done to a random span of the same length, held by about as
    many traces (a factor of 2), that does not overlap the motif; for shuffle and blank the answer drawn again from the
    chain as it was. So a motif is load-bearing if the model needs it more than it needs what else it writes as often;
    in a language of which most words are needed few are, and `cost` tells more.

    executor: where the motifs are taken away (`executors.py`); each worker loads the model once.

    Memory, a worker: the model, the traces of one model with their units, the samples of one motif. Progress goes to
    stderr.

    >>> effects(run, EffectsConfig(model="runs/organisms/sft", motifs=("wait",)))     # doctest: +SKIP
    """
    _check(config)
    _rows_of_model(run, config)
    motifs = named_motifs(run, config.motifs, config.comparison) if set(config.interventions) & set(OF_MOTIFS) else []
    asked = {k: v for k, v in asdict(config).items() if k != "device"}
    inputs = run.trace_files() | run.outputs("mine") | {f"source:{config.model}": identity(config.model, config)}
    of_states = bool(set(config.interventions) & set(OF_STATES))
    if of_states:
        inputs |= run.outputs(f"capture.{config.acts}")
        inputs |= run.outputs(f"probe.{config.probes}") if "steer" in config.interventions else {}
    stage = f"effects.{config.name}"
    if not run.begin(stage, asked, inputs, force):
        counts = run.counts(stage)
        counts["unused"] = tuple(counts["unused"])
        return EffectsResult(**counts)
    setting = _set_up(str(run.path), config)
    arms, sampling = setting.arms, setting.sampling
    units: list[Motif] = [*motifs, *([WHOLE] if set(config.interventions) & set(OF_CHAINS) else [])]
    plan = [_planned(arms, motif, config, sampling) for motif in units]
    left_out = dict(arms.left_out)
    unused = tuple(motif.text for motif, (draws, _) in zip(units, plan, strict=True) if not draws)
    _tell(units, plan, config)
    folder = f"effects/{config.name}"
    planned = [[m.motif_id, m.text, *counts] for m, counts in zip(units, plan, strict=True)]
    run.write_json(f"{folder}/plan.json", {"units": planned})
    outputs = [f"{folder}/plan.json"]
    named = [(f"{folder}/states.parquet", None)] if of_states else []
    named += [(f"{folder}/{k:05d}.samples.parquet", motif) for k, motif in enumerate(units)]
    outputs += [name for name, _ in named]
    jobs = [Unit((str(run.path), config, name, motif), run.path / name) for name, motif in named]
    with executor_of(executor, folder=run.path / "jobs", model=True, default=1) as pool:
        do = partial(_unit, setting) if pool is None else _unit_elsewhere
        for k, _ in each_unit(do, jobs, pool, ahead=how_many(pool)):
            motif = named[k][1]
            draws = f", {plan[units.index(motif)][0]:,} draws" if motif else ""
            about = f"{motif.text!r}{draws}" if motif else f"states of {config.acts}"
            say(f"effects: {k + 1} of {len(jobs)}: {about}")
    made = [EFFECT_SAMPLES.empty_table(), *(run.table(f"{folder}/{k:05d}.samples") for k in range(len(units)))]
    samples = pa.concat_tables(made).to_pandas()
    table = effect_rows(
        samples,
        {motif.motif_id: motif.text for motif in units},
        _uses(arms, units),
        model=setting.rows[0]["model"],
        permutations=config.permutations,
        seed=config.seed,
    )
    if of_states:
        table = pa.concat_tables([table, run.table(f"{folder}/states")])
    outputs.append(run.write_table(f"{folder}/effects.parquet", table))
    told_of = [r for r in table.to_pylist() if r["motif_id"] and r["domain"] == ALL]
    bearing = {r["motif_id"] for r in told_of if r["load_bearing"]}
    tokens = int(samples["tokens"].sum()) if len(samples) else 0
    result = EffectsResult(len(units), len(samples), tokens, len(bearing), left_out, unused)
    run.finish(stage, outputs, asdict(result), config.seed)
    return result


@dataclass(frozen=True)
class _Setting:
    """What every unit of a job needs."""

    run: Run
    rows: list[dict[str, Any]]
    sampling: Sampling
    model: "Model"
    arms: Arms
    config: EffectsConfig


def _set_up(path: str, config: EffectsConfig) -> _Setting:
    run = Run(path)
    numbers = _rows_of_model(run, config)
    rows = run.shard_rows("traces", numbers, TRACE_COLUMNS).to_pylist()
    model = load(config.model, config)
    arms = Arms(Spans(run, read_rows(run, numbers)), rows, model, config.seed, config.after)
    return _Setting(run, rows, trace_sampling(rows, config), model, arms, config)


_kept = lru_cache(maxsize=1)(_set_up)


def _unit_elsewhere(job: tuple[str, EffectsConfig, str, Motif | None]) -> None:
    """A unit in a process of its own, which keeps what it loaded for the next."""
    _unit(_kept(*job[:2]), job)


def _unit(setting: _Setting, job: tuple[str, EffectsConfig, str, Motif | None]) -> None:
    """Draw the samples of a motif, or find the effects of states where there is none; written under the unit's name."""
    _, config, name, motif = job
    if motif is None:
        table = _of_states(setting.run, setting.model, setting.rows, setting.sampling, config)
    else:
        chosen = list(_chosen(setting.arms, motif, config, setting.sampling))
        table = sample_draws(setting.model, setting.arms, motif, chosen, setting.sampling, config)
    setting.run.write_table(name, table)


def told(run: Run, name: str, most: int = 12) -> list[str]:
    """Lines: the effects over all domains that are largest beyond their placebo, and those of states."""
    table = run.table(f"effects/{name}/effects").to_pylist()
    motifs = [row for row in table if row["layer"] is None and row["domain"] == ALL]
    shown = sorted(motifs, key=lambda row: (-row["effect"], row["text"]))[:most]
    lines = []
    for row in [*shown, *(row for row in table if row["layer"] is not None)]:
        if row["layer"] is not None:
            row["text"] += f" in {row['domain']}, layer {row['layer']}"
        interval = "" if row["ci_low"] is None else f" [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
        lines.append(
            f"{row['text']}, {row['intervention']}: accuracy {row['plain']:.3f} -> {row['arm']:.3f}, placebo "
            f"{row['placebo']:.3f}; effect {row['effect']:+.3f}{interval}, p adjusted {row['p_adj']:.4f}"
            + (", load-bearing" if row["load_bearing"] else "")
        )
    return lines


def _rows_of_model(run: Run, config: EffectsConfig) -> np.ndarray:
    traces = run.all_shards(
        "traces", list(dict.fromkeys(["model", *(group_columns(config.only) if config.only else [])]))
    )
    chosen = select_rows(traces, config.only) if config.only else np.arange(traces.num_rows)
    names = sorted(set(traces["model"].take(pa.array(chosen)).to_pylist()))
    if len(names) != 1:
        raise UserError(
            f"the traces are of {len(names)} models ({', '.join(names)}); name those of {config.model} alone: "
            f"--only model=NAME."
        )
    return np.sort(chosen)


def _of(arms: Arms, motif: Motif, config: EffectsConfig):
    if motif == WHOLE:
        return arms.of_chain([i for i in config.interventions if i in OF_CHAINS])
    return arms.of_motif(motif, [i for i in config.interventions if i in OF_MOTIFS])


def _chosen(arms: Arms, motif: Motif, config: EffectsConfig, sampling: Sampling):
    """The draws of a motif, trace after trace, while their expected tokens are within the budget."""
    left = config.budget
    for t, draws in _of(arms, motif, config):
        if any(len(draw.kept) >= sampling.max_new_tokens for draw in draws):
            continue
        left -= sum(_expected(arms, t, draw) for draw in draws)
        if left < 0:
            return
        yield from draws


def _expected(arms: Arms, t: int, draw: Draw) -> int:
    return max(len(arms.chains[t].ids) - len(draw.kept), 1)


def _planned(arms: Arms, motif: Motif, config: EffectsConfig, sampling: Sampling) -> tuple[int, int]:
    """Number of draws of a motif, and the tokens that they are expected to take."""
    draws = list(_chosen(arms, motif, config, sampling))
    return len(draws), sum(_expected(arms, draw.trace, draw) for draw in draws)


def _tell(units: Sequence[Motif], plan: Sequence[tuple[int, int]], config: EffectsConfig) -> None:
    draws, tokens = (sum(column) for column in zip(*plan, strict=True)) if plan else (0, 0)
    say(
        f"effects: {len(units)} motifs by {', '.join(config.interventions)}, each with its placebo: {draws:,} draws, "
        f"about {tokens:,} new tokens (at most {config.budget:,} a motif)"
    )


def _of_states(
    run: Run, model: "Model", rows: Sequence[dict[str, Any]], sampling: Sampling, config: EffectsConfig
) -> pa.Table:
    """EFFECTS of erase, steer and patch, over problems of the traces, chosen by seed."""
    from dsl_probe.collect.domains import load_domain, problem_of

    problems = {row["problem_id"]: row for row in rows if row["problem_id"]}
    chosen = sorted(problems, key=lambda name: key_of(config.seed, name, 3))[: config.problems]
    given = ActivationConfig(
        acts=config.acts or "",
        target=config.target,
        layers=config.layers,
        interventions=tuple(i for i in config.interventions if i in OF_STATES),
        probes=config.probes,
        along=config.along,
        scale=config.scale,
        template=rows[0]["template"] or "raw",
        batch=config.batch_size,
        permutations=config.permutations,
        seed=config.seed,
    )
    asked = [(load_domain(problems[name]["domain"]), problem_of(problems[name])) for name in chosen]
    table = activation_effects(run, model, asked, sampling, given)
    at = table.schema.get_field_index("model")
    return table.set_column(at, table.schema.field(at), pa.array([rows[0]["model"]] * table.num_rows))


def _uses(arms: Arms, motifs: Sequence[Motif]) -> dict[tuple[str, str], float]:
    domains = [row["domain"] for row in arms.rows]
    traces, found = Counter(domains) + Counter({ALL: len(domains)}), {}
    for motif in motifs:
        if motif == WHOLE:
            continue
        uses: Counter[str] = Counter()
        for t, spans in arms.spans.uses(motif).items():
            uses[domains[t]] += len(spans)
            uses[ALL] += len(spans)
        found |= {(motif.motif_id, d): uses[d] / n for d, n in traces.items()}
    return found


def _check(config: EffectsConfig) -> None:
    checked_name(config.name)
    if not config.model:
        raise UserError("--model is missing: the folder or hub id of the model that wrote the traces.")
    unknown = [i for i in config.interventions if i not in KNOWN]
    if unknown or not config.interventions:
        raise UserError(f"--interventions {' '.join(unknown) or '(none)'}: known are {', '.join(KNOWN)}.")
    if set(config.interventions) & set(OF_STATES) and not config.acts:
        raise UserError("--acts is missing: erase, steer and patch need a capture of the model's states.")
    if config.problems < 1:
        raise UserError(f"--problems is {config.problems}; it must be 1 or more.")
    if config.budget < 1 or config.after < 0 or config.batch_size < 1 or config.permutations < 19:
        raise UserError("--budget and --batch-size must be 1 or more, --after 0 or more, --permutations 19 or more.")
