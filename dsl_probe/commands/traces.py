"""Commands that bring traces in, make them, and read what a model computes on them."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from dsl_probe.commands.options import Flat, OfStage, parse, show
from dsl_probe.types import UserError


def import_(argv: list[str]) -> int:
    """Bring traces in: JSONL(.gz), Parquet, a datasets folder, another run, or another tool's log."""
    from dsl_probe.collect.importer import ImportConfig, import_traces
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options:
        """Bring traces into a run. Only a text is needed a row; bad rows go to rejected.parquet with their reason."""

        sources: tyro.conf.Positional[tuple[Path, ...]] = ()
        """Files, folders or runs."""
        out: Path | None = None
        """The run folder to make, or to go on with."""
        config: Annotated[ImportConfig, Flat] = field(default_factory=ImportConfig)
        force: bool = False
        """Replace what an earlier import left."""
        json: bool = False
        """One JSON object on stdout."""

    o = parse(Options, "import", _repeatable(argv, "--map"), ImportConfig())
    if o.out is None:
        raise UserError("--out is missing: dsl-probe import SOURCE... --out RUN")
    result = import_traces(Run.create(o.out), o.sources, o.config, force=o.force)
    lines = [f"{result.traces:,} traces of {result.models} models in {result.domains} domains -> {o.out}"]
    if result.duplicates:
        lines.append(f"{result.duplicates:,} rows were repeated word for word and are counted once")
    if result.rejected:
        lines.append(f"{result.rejected:,} rows set aside in {o.out}/rejected.parquet:")
        lines += [f"  {n:,} x {reason}" for reason, n in result.reasons.items()]
    show(o.json, asdict(result), lines)
    return 1 if result.rejected else 0


def _repeatable(argv: list[str], flag: str) -> list[str]:
    """Gather `--map a=b --map c=d` behind one flag, as the parser wants it."""
    values, rest, i = [], [], 0
    while i < len(argv):
        if argv[i] == flag:
            i += 1
            while i < len(argv) and not argv[i].startswith("-"):
                values.append(argv[i])
                i += 1
        else:
            rest.append(argv[i])
            i += 1
    return rest + ([flag, *values] if values else [])


def collect(argv: list[str]) -> int:
    """Sample chains of thought from a model on problems whose answers can be checked."""
    from dsl_probe.collect.sample import CollectConfig
    from dsl_probe.collect.sample import collect as collect_traces
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options:
        """Sample and verify completions: dsl-probe collect --out RUN --model ID --domains math logic."""

        out: Path
        """The run folder to make, or to go on with."""
        config: Annotated[CollectConfig, Flat] = field(default_factory=CollectConfig)
        force: bool = False
        """Replace what an earlier collect left."""
        executor: str = "process:1"
        """Where its shards are drawn: process[:N], ray[:ADDRESS] or slurm[:PARTITION], with options after commas, such
        as ray:auto,num_gpus=1; each worker loads the model."""
        json: bool = False
        """One JSON object on stdout."""

    o = parse(Options, "collect", argv, CollectConfig())
    result = collect_traces(Run.create(o.out), o.config, executor=o.executor, force=o.force)
    accuracy = "  ".join(f"{domain} {value:.3f}" for domain, value in result.accuracy.items())
    finishes = ", ".join(f"{n:,} {finish}" for finish, n in result.finishes.items())
    lines = [
        f"{result.traces:,} traces of {result.problems:,} problems, {result.tokens:,} tokens ({finishes}) -> {o.out}",
        f"accuracy: {accuracy or 'nothing could be verified'}",
    ]
    if o.config.resample:
        lines.append(
            f"tree of {result.parents:,} parents: {result.deciding:,} steps change the accuracy (p <= .05, allowing "
            f"for the other steps of their parent) -> {o.out}/tree.parquet"
        )
    lines += [f"{count:,} parents left out: {reason}" for reason, count in result.left_out.items()]
    if result.unverified:
        lines.append(f"{result.unverified:,} traces without a verdict; the reason stands in their meta")
    show(o.json, asdict(result), lines)
    return 1 if result.unverified or result.left_out else 0


def capture(argv: list[str]) -> int:
    """Keep a model's states at chosen layers and positions of finished traces."""
    from dsl_probe.collect.capture import CaptureConfig, CaptureResult, capture_states
    from dsl_probe.store import Run

    config = CaptureConfig(model=tyro.MISSING_NONPROP, layers=tyro.MISSING_NONPROP)

    @dataclass(frozen=True)
    class Options(OfStage):
        """States of finished traces: dsl-probe capture RUN --model ID --layers 8 16 --at steps."""

        config: Annotated[CaptureConfig, Flat] = field(default_factory=lambda: config)

    o = parse(Options, "capture", argv, config)
    result = capture_states(Run(o.run), o.config, force=o.force)
    if not isinstance(result, CaptureResult):
        show(o.json, asdict(result), [result.text()])
        return 0
    lines = [
        f"{result.rows:,} states a layer at {result.labels:,} places of {result.traces:,} traces, {result.bytes:,} B"
    ]
    if result.checked:
        lines.append(f"self-check of {result.checked} traces: largest relative difference {result.check_error:.2g}")
    if result.too_long or result.unaligned:
        lines.append(f"left out: {result.too_long} too long, {result.unaligned} whose ids do not spell their text")
    show(o.json, asdict(result), lines)
    return 1 if result.too_long or result.unaligned else 0


def score(argv: list[str]) -> int:
    """Log-probabilities of a model on stored traces: audit, novelty, shift between two models."""
    from dsl_probe.collect.score import ScoreConfig, score_traces
    from dsl_probe.store import Run

    config = ScoreConfig(model=tyro.MISSING_NONPROP)

    @dataclass(frozen=True)
    class Options(OfStage):
        """Teacher-forced scores: dsl-probe score RUN --model REF [--against OTHER]."""

        config: Annotated[ScoreConfig, Flat] = field(default_factory=lambda: config)

    o = parse(Options, "score", argv, config)
    result = score_traces(Run(o.run), o.config, force=o.force)
    lines = [
        f"{result.tokens:,} tokens of {result.traces:,} traces, mean {_number(result.bits_per_token)} bits a token"
    ]
    if result.audited:
        lines.append(
            f"audit: {_number(result.audit_beyond)} of {result.audited:,} tokens differ beyond the tolerance from what "
            f"was stored (mean {_number(result.audit_mean)}, largest {_number(result.audit_max)} nats)"
        )
    if result.js is not None:
        lines.append(f"Jensen-Shannon divergence of the two models: mean {_number(result.js)} bits a token")
    if result.too_long:
        lines.append(f"left out: {result.too_long} traces longer than the model's context")
    show(o.json, asdict(result), lines)
    return 1 if result.too_long else 0


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
