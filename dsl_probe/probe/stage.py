"""The probe stage: for every capture and target a sweep over layers and domains, its controls, and transfer.

A unit of work is one target on one capture, or the map of the motifs' sites of one. It has files of its own, written
when it is done, so a job that was stopped goes on with the units that are left, and units may run in several processes.
"""

import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from dsl_probe.engine import Executor, Unit, each_unit
from dsl_probe.executors import executor_of, how_many
from dsl_probe.files import write_tensors
from dsl_probe.groups import checked_name
from dsl_probe.probe.labels import captured_motifs, captured_rules
from dsl_probe.probe.layout import lay_out
from dsl_probe.probe.solvers import PROBE_NAMES
from dsl_probe.probe.states import checked_capture
from dsl_probe.probe.sweep import STRENGTHS
from dsl_probe.probe.unit import Found, probe_target
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import PROBES, READOUTS, FileError, UserError


@dataclass(frozen=True)
class ProbeConfig:
    """What is read, out of which states, and how."""

    targets: tuple[str, ...] = ("correct",)
    """value, value:J, digit, last, next, correct, domain, regime, near, motif:ID, each also with @SITES (every, steps,
    answer, states, motifs); motifs: every motif that was captured."""
    acts: tuple[str, ...] = ()
    """Captures, by their names under acts/; default: all but those that are controls."""
    layers: tuple[int, ...] = ()
    """Decoder blocks; default: all that were captured."""
    probe: str = "logistic"
    """logistic, ridge, mass-mean, mass-mean-corrected, or package.module:Class of a scikit-learn estimator."""
    folds: int = 5
    """Groups of problems: one is tested, one chooses layer and strength, the others train."""
    strengths: tuple[float, ...] = STRENGTHS
    """Inverse strengths of the regularisation, as scikit-learn's C on standardised states."""
    random: str | None = None
    """Capture of a model with random weights at the same places (capture --random), a control."""
    base: str | None = None
    """Capture of the base model on the same text, a control."""
    controls: bool = True
    """Fit the controls at the chosen layer and at layer 0."""
    transfer: bool = True
    """Train in one domain, test in another, for every pair."""
    least: int = 20
    """Fewest states of a class in a domain."""
    most_classes: int = 10
    """Most classes of a target in a domain: the most frequent."""
    most_rows: int = 20_000
    """Most states of a target in a domain, whole problems, drawn by seed; 0: all."""
    readout_traces: int = 200
    """Traces of each domain whose captured states are all read out for the reader; 0: none."""
    layout: int = 2_000
    """Sites of motifs on the map of each capture that has such; 0: no map."""
    seed: int = 0
    """Seed of folds, draws and shuffles."""
    device: str = "cpu"
    """Where the fits are computed."""
    name: str = "default"
    """Name of the result, under probes/."""


@dataclass(frozen=True)
class ProbeResult:
    """Counts of a probe job. units: targets by captures. rows: read-outs. sites: of motifs on maps. failed: target and
    capture -> why it has no result."""

    units: int
    estimates: int
    rows: int
    sites: int = 0
    failed: dict[str, str] = field(default_factory=dict)


@stage_of_run
def probe(
    run: Run, config: ProbeConfig = ProbeConfig(), *, executor: str | Executor = "process:1", force: bool = False
) -> ProbeResult:
    """Fit, choose, control and transfer probes; writes probes/NAME/{probes,readouts}.parquet and the weights.

    Where motifs were captured also layout.parquet, a map of the states at their sites, at the middle one of the layers,
    and layout.json: for each capture how far the states themselves group by motif (see `layout.lay_out`).

    executor: where the targets are probed (`executors.py`); several processes may do so on one run at a time.

    A target that fails does not end the job: it is listed in `failed`. Memory: the states of one target at all layers,
    at most `most_rows` a domain (float32), and the fits of one layer; or the states of `layout` sites at one layer.

    What it does not show: that the model uses what is read out; for that run `effects`.

    >>> probe(run, ProbeConfig(targets=("value", "correct")))     # doctest: +SKIP
    """
    _check(config)
    units = [*planned(run, config), *_maps(run, config)]
    asked = {k: v for k, v in asdict(config).items() if k != "device"}
    captures = sorted({acts for acts, _ in units} | {a for a in (config.random, config.base) if a})
    inputs = run.trace_files() | {n: h for acts in captures for n, h in run.outputs(f"capture.{acts}").items()}
    stage = f"probe.{config.name}"
    if not run.begin(stage, asked, inputs, force):
        return ProbeResult(**run.counts(stage))
    folder = f"probes/{config.name}"
    run.write_json(f"{folder}/plan.json", {"units": units})
    failed: dict[str, str] = {}
    jobs = [
        Unit((str(run.path), config, k, acts, target), run.path / f"{folder}/{k:05d}.{_end(target)}.parquet")
        for k, (acts, target) in enumerate(units)
    ]
    with executor_of(executor, folder=run.path / "jobs", default=1) as pool:
        for done, (k, reason) in enumerate(each_unit(_unit, jobs, pool, ahead=how_many(pool)), 1):
            acts, target = units[k]
            if reason:
                failed[f"{target or 'map'} on {acts}"] = reason
            if reason is not None:
                said = f"probe: {done} of {len(units)}: {target or 'map'} on {acts}{': ' + reason if reason else ''}"
                say(said)
    parts = [f"{folder}/{k:05d}" for k in range(len(units)) if run.has(f"{folder}/{k:05d}.probes.parquet")]
    outputs = [f"{folder}/plan.json"]
    counts = {}
    for kind, schema in (("probes", PROBES), ("readouts", READOUTS)):
        tables = [run.table(f"{part}.{kind}") for part in parts]
        table = pa.concat_tables(tables) if tables else schema.empty_table()
        outputs.append(run.write_table(f"{folder}/{kind}.parquet", table))
        counts[kind] = table.num_rows
    outputs += [f"{part}.{end}" for part in parts for end in ("probes.parquet", "readouts.parquet", "safetensors")]
    maps = {acts: f"{folder}/{k:05d}.layout" for k, (acts, target) in enumerate(units) if target is None}
    written, sites = _write_maps(run, folder, {acts: part for acts, part in maps.items() if run.has(f"{part}.parquet")})
    outputs += written
    result = ProbeResult(len(parts), counts["probes"], counts["readouts"], sites, failed)
    run.finish(stage, outputs, asdict(result), config.seed)
    return result


def planned(run: Run, config: ProbeConfig) -> list[tuple[str, str]]:
    """What a job asks: (capture, target). Raises UserError where a capture is not there, or there is nothing to ask."""
    acts = _captures(run, config)
    units = []
    for name in acts:
        for target in config.targets:
            every = [f"motif:{motif}" for motif in captured_motifs(run, name)] if target == "motifs" else [target]
            units += [(name, one) for one in every]
    if not units:
        raise UserError(
            f"--targets {' '.join(config.targets)}: {', '.join(acts)} has no states at motifs. "
            f"Capture them: dsl-probe capture {run.path} --model MODEL --layers ... --at motifs:FILE"
        )
    return list(dict.fromkeys(units))


def read_weights(run: Run, name: str, acts: str, target: str) -> dict[str, Any]:
    """The weights of a target: {"DOMAIN/LAYER/coef": float32[1 + folds, questions, d], ".../intercept"}; first of the
    fit to all problems, then without each fold. Raises UserError where there are none."""
    from safetensors.numpy import load_file

    units = [tuple(unit) for unit in run.json(f"probes/{name}/plan.json")["units"]]
    at = units.index((acts, target)) if (acts, target) in units else None
    if at is None or not run.has(f"probes/{name}/{at:05d}.safetensors"):
        raise UserError(
            f"probes/{name} holds no weights of {target!r} on {acts!r}; it has "
            f"{', '.join(f'{t} on {a}' for a, t in units if t)}."
        )
    return load_file(run.file(f"probes/{name}/{at:05d}.safetensors"))


def readings(run: Run, name: str) -> list[str]:
    """A line for each target, capture and domain: the chosen layer with its AUROC beside the strongest control."""
    table = run.table(f"probes/{name}/probes", filters=[("metric", "=", "auroc")]).to_pylist()
    lines = []
    for row in table:
        if not row["chosen"] or row["control"] or row["train"] != row["test"]:
            continue
        same = [r for r in table if all(r[c] == row[c] for c in ("acts", "target", "train", "test"))]
        others = [r for r in same if r["control"] and r["control"] not in ("control task", "95 % of shuffled labels")]
        best = max(others, key=lambda r: r["value"], default=None)
        lines.append(
            f"{row['target']} on {row['acts']}, {row['train']}: AUROC {_with_interval(row)} at layer {row['layer']}"
            + (f"; {best['control']} {_with_interval(best)}" if best else "")
        )
    return lines


def _with_interval(row: dict[str, Any]) -> str:
    if row["ci_low"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def _captures(run: Run, config: ProbeConfig) -> tuple[str, ...]:
    controls = {config.random, config.base} if not config.acts else set()
    captured = [s.partition(".")[2] for s in run.stages() if s.startswith("capture.")]
    acts = config.acts or tuple(a for a in captured if a not in controls and not a.endswith("-random"))
    if not acts:
        raise UserError(
            f"{run.path} has no captured states. Make some: "
            f"dsl-probe capture {run.path} --model MODEL --layers 1 2 --at steps"
        )
    for name in (*acts, config.random, config.base):
        if name is not None:
            checked_capture(run, name)
    return acts


def _maps(run: Run, config: ProbeConfig) -> list[tuple[str, None]]:
    """Units that are a map: captures that have motifs."""
    if not config.layout:
        return []
    return [(name, None) for name in _captures(run, config) if "motifs" in captured_rules(run, name)]


def _end(target: str | None) -> str:
    """The last of a unit's files."""
    return "layout" if target is None else "probes"


def _unit(job: tuple[str, ProbeConfig, int, str, str | None]) -> str:
    """Probe one target on one capture, or map its motifs; gives why it failed, or ""."""
    path, config, number, acts, target = job
    run = Run(Path(path))
    try:
        found = _map(run, config, acts) if target is None else probe_target(run, config, acts, target)
    except FileError:
        raise
    except UserError as error:
        return str(error)
    except (ValueError, ArithmeticError, MemoryError, RuntimeError, LookupError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
    start = f"probes/{config.name}/{number:05d}"
    # The unit is done when the last of its files is there.
    if isinstance(found, Found):
        write_tensors(run.path / f"{start}.safetensors", found.weights)
        run.write_table(f"{start}.readouts.parquet", found.readouts)
        run.write_table(f"{start}.probes.parquet", found.probes)
    else:
        run.write_json(f"{start}.layout.json", found[1])
        run.write_table(f"{start}.layout.parquet", found[0])
    return ""


def _map(run: Run, config: ProbeConfig, acts: str) -> tuple[pa.Table, dict[str, float | None]]:
    layers = sorted(config.layers)
    return lay_out(run, acts, config.layout, config.seed, layers[len(layers) // 2] if layers else None)


def _write_maps(run: Run, folder: str, parts: dict[str, str]) -> tuple[list[str], int]:
    """The maps of captures as one table, and their figures; gives the names of all files of maps, and the sites."""
    if not parts:
        return [], 0
    table = pa.concat_tables([run.table(part) for part in parts.values()])
    outputs = [f"{part}.{end}" for part in parts.values() for end in ("parquet", "json")]
    outputs.append(run.write_table(f"{folder}/layout.parquet", table))
    figures = {acts: run.json(f"{part}.json") for acts, part in parts.items()}
    return [*outputs, run.write_json(f"{folder}/layout.json", figures)], table.num_rows


def _check(config: ProbeConfig) -> None:
    checked_name(config.name)
    if not config.targets:
        raise UserError("--targets is empty; name at least one, for example correct.")
    if not 3 <= config.folds <= 20:
        raise UserError(f"--folds is {config.folds}; 3 (train, choose, test) to 20 are possible.")
    if not config.strengths or min(config.strengths) <= 0:
        raise UserError(f"--strengths {config.strengths}: each must be above 0.")
    if config.least < 2 or config.most_classes < 2 or min(config.most_rows, config.layout) < 0:
        raise UserError("--least and --most-classes must be 2 or more, --most-rows and --layout 0 or more.")
    if config.probe not in PROBE_NAMES and ":" not in config.probe:
        raise UserError(
            f"--probe {config.probe!r} is unknown; known are {', '.join(PROBE_NAMES)}, package.module:Class."
        )
