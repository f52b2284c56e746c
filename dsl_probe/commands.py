"""Each command: its options (a stage's config, flattened), the call, and its result as lines or as one JSON object.

A command imports what it needs inside, so that `status` answers at once.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import tyro

from dsl_probe.types import UserError

T = TypeVar("T")
_Flat = tyro.conf.arg(name="")


@dataclass(frozen=True)
class OfRun:
    """Options of every command that reads a run."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    json: bool = False
    """One JSON object on stdout."""


@dataclass(frozen=True)
class OfStage(OfRun):
    """Options of every stage."""

    force: bool = False
    """Replace what an earlier job left."""


def parse(options: Callable[..., T], name: str, argv: list[str], config: Any = None) -> T:
    """Options from the command line; `--config FILE` takes a recorded config, or a TOML file, as the default."""
    if "--config" in argv:
        at = argv.index("--config")
        if config is None or at + 1 >= len(argv):
            raise UserError("--config needs a stage's record, such as runs/x/stages/mine.json, or a .toml file")
        argv, config = argv[:at] + argv[at + 2 :], _saved(type(config), Path(argv[at + 1]))
    run: Any = tyro.cli
    extra = {}
    if config is not None:
        needed = [f.name for f in fields(cast(Any, options)) if f.default is MISSING and f.default_factory is MISSING]
        extra["default"] = options(**dict.fromkeys(needed, tyro.MISSING_NONPROP), config=config)
    return run(options, prog=f"dsl-probe {name}", args=argv, **extra)


def _saved(config: type, path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            saved = {k.replace("-", "_"): v for k, v in tomllib.loads(text).items()}
        else:
            saved = json.loads(text)["config"]
        return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"--config {path}: not the record of this stage, nor a .toml file with its options ({error})."
        ) from error


def show(as_json: bool, content: Any, lines: list[str]) -> None:
    """The result on stdout."""
    print(json.dumps(content, ensure_ascii=False) if as_json else "\n".join(lines))


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
        config: Annotated[ImportConfig, _Flat] = field(default_factory=ImportConfig)
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
        config: Annotated[CollectConfig, _Flat] = field(default_factory=CollectConfig)
        force: bool = False
        """Replace what an earlier collect left."""
        json: bool = False
        """One JSON object on stdout."""

    o = parse(Options, "collect", argv, CollectConfig())
    result = collect_traces(Run.create(o.out), o.config, force=o.force)
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

        config: Annotated[CaptureConfig, _Flat] = field(default_factory=lambda: config)

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

        config: Annotated[ScoreConfig, _Flat] = field(default_factory=lambda: config)

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


def mine(argv: list[str]) -> int:
    """Find the motifs of all traces, pooled, and count them by model and domain; the language of one group."""
    from dsl_probe.mine.language import LanguageConfig, learn_language
    from dsl_probe.mine.stage import MineConfig, MineResult, mine_motifs
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options(OfStage):
        """Find the closed motifs of a run's traces, pooled over models and domains.

        With --language.group model=NAME also the language of these traces: its grammar by domain, and with
        --language.reference model=BASE the words and phrases that it uses far more than that. --force then replaces the
        language; motifs that are there are kept, whatever setting they were mined with, where none is given.
        """

        config: Annotated[MineConfig, _Flat] = field(default_factory=MineConfig)
        language: LanguageConfig = field(default_factory=LanguageConfig)
        growth: bool = False
        """Also follow every unit and motif over the training steps that the traces carry."""
        workers: int | None = None
        """Processes (default: one a core)."""

    o = parse(Options, "mine", argv, MineConfig())
    run, of_group = Run(o.run), bool(o.language.group)
    mined = run.stage("mine") if (of_group or o.growth) and o.config == MineConfig() else None
    if mined:  # whatever it was mined with
        result = MineResult(**mined["counts"])
    else:
        result = mine_motifs(run, o.config, workers=o.workers, force=o.force and not of_group and not o.growth)
    lines = [
        f"{result.motifs:,} motifs with {result.occurrences:,} occurrences in {result.units:,} units of "
        f"{result.traces:,} traces ({result.echo_units:,} units echo their prompt)",
        f"a lexicon of {result.lexicon:,} of them, and of their variants, covers {result.coverage:.0%} of the units",
    ]
    if result.prompt_unknown:
        lines.append(f"{result.prompt_unknown:,} traces have no prompt: whether they echo it is unknown")
    content = asdict(result)
    if of_group:
        found = learn_language(run, o.language, force=o.force)
        content |= {"language": asdict(found)}
        lines.append(f"the language of {o.language.group}: {found.traces:,} traces -> {o.run}/languages/{found.id}")
        if o.language.reference:
            lines.append(
                f"{found.words:,} words and {found.phrases:,} phrases used at least three times as often as by "
                f"{o.language.reference} ({found.exchanged:,} if traces are exchanged at random)"
            )
        lines += [f"grammar of {domain}: {text}" for domain, text in found.verdicts.items()]
    if o.growth:
        from dsl_probe.share.growth import growth

        grown = growth(run, force=o.force)
        content |= {"growth": asdict(grown)}
        lines.append(
            f"over training, in {grown.runs:,} training runs: of {grown.items:,} units, motifs and openers "
            f"{grown.changed:,} change, {grown.born:,} are born, {grown.died:,} die (p_adj <= .05)"
        )
    show(o.json, content, lines)
    return 0


def probe(argv: list[str]) -> int:
    """Read out of the states what motifs and steps carry, with controls, layer by layer and across domains."""
    from dsl_probe.probe.layout import told
    from dsl_probe.probe.stage import ProbeConfig, readings
    from dsl_probe.probe.stage import probe as probe_states
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options(OfStage):
        """Probes on captured states: dsl-probe probe RUN --targets value correct motifs.

        --config FILE takes them from probes.toml: one line an option, such as targets = ["value", "motifs"].
        """

        config: Annotated[ProbeConfig, _Flat] = field(default_factory=ProbeConfig)

    o = parse(Options, "probe", argv, ProbeConfig())
    run = Run(o.run)
    result = probe_states(run, o.config, force=o.force)
    lines = [f"{result.units:,} targets, {result.estimates:,} estimates -> {o.run}/probes/{o.config.name}"]
    lines += [*readings(run, o.config.name), *told(run, o.config.name)]
    lines += [f"failed: {what}: {reason}" for what, reason in result.failed.items()]
    show(o.json, asdict(result), lines)
    return 1 if result.failed else 0


def effects(argv: list[str]) -> int:
    """Take motifs away and let the model go on: which does it need more than its other words?"""
    from dsl_probe.probe.effects import EffectsConfig, told
    from dsl_probe.probe.effects import effects as measure
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options(OfStage):
        """What motifs are worth, each beside its placebo: dsl-probe effects RUN --model MODEL --motifs top:50."""

        config: Annotated[EffectsConfig, _Flat] = field(default_factory=EffectsConfig)

    o = parse(Options, "effects", argv, EffectsConfig())
    run = Run(o.run)
    result = measure(run, o.config, force=o.force)
    lines = [
        f"{result.motifs:,} motifs, {result.draws:,} draws, {result.tokens:,} new tokens; "
        f"{result.load_bearing:,} load-bearing -> {o.run}/effects/{o.config.name}"
    ]
    lines += told(run, o.config.name)
    lines += [f"left out: {n:,} x {reason}" for reason, n in result.left_out.items()]
    lines += [f"not used in any trace that could be taken: {', '.join(result.unused)}"] if result.unused else []
    show(o.json, asdict(result), lines)
    return 0


def compare(argv: list[str]) -> int:
    """Test which motifs one group of traces over-uses, and how far its domains share a vocabulary."""
    from dsl_probe.share.compare import compare as compare_groups
    from dsl_probe.share.comparison import CompareConfig
    from dsl_probe.share.findings import findings
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options(OfStage):
        """Compare two groups of a run's traces: --a model=NAME --b model=NAME[,domain=NAME]."""

        config: Annotated[CompareConfig, _Flat] = field(default_factory=lambda: CompareConfig("", ""))

    o = parse(Options, "compare", argv, CompareConfig("", ""))
    if not o.config.a or not o.config.b:
        raise UserError("two groups are needed: dsl-probe compare RUN --a model=NAME --b model=NAME")
    done = compare_groups(Run(o.run), o.config, force=o.force)
    found = findings(done)
    content = {"id": done.id, **asdict(done.result), "findings": [asdict(f) for f in found]}
    content["claims"] = [claim.as_json() for claim in done.claims]
    judged = [f"{claim.verdict}: {claim.claim} {claim.reading}" for claim in done.claims]
    show(o.json, content, [f.text for f in found] + judged)
    return 0


def validate(argv: list[str]) -> int:
    """Ask what the comparison would miss or invent in your own traces: nothing planted, and motifs of known form."""
    from dsl_probe.share.validate import ValidateConfig
    from dsl_probe.share.validate import validate as validate_group
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options(OfStage):
        """Split one group's traces in two, with nothing and with something planted: --group model=NAME."""

        config: Annotated[ValidateConfig, _Flat] = field(default_factory=lambda: ValidateConfig(""))

    o = parse(Options, "validate", argv, ValidateConfig(""))
    if not o.config.group:
        raise UserError("a group is needed: dsl-probe validate RUN --group model=NAME")
    result = validate_group(Run(o.run), o.config, force=o.force)
    show(o.json, asdict(result), list(result.reading))
    return 0


def export(argv: list[str]) -> int:
    """Write a report, a dictionary, a grammar, or verified traces as training data."""
    from dsl_probe.export import Format, What, checked_format, write_verified
    from dsl_probe.export import export as export_text
    from dsl_probe.store import Run, replacing

    @dataclass(frozen=True)
    class Options(OfRun):
        """Write what a run knows: dsl-probe export RUN --what report --out FILE.

        dictionary and grammar: md, json, html, graphml. report: html, md. verified: jsonl, trl-sft, hf (a folder that
        datasets.load_dataset reads).
        """

        what: What = "dictionary"
        """The dictionary of a lexicon, the grammar of a language, a report of all that the run holds, or its verified
        traces as training data."""
        format: Format | None = None
        """Default: md; of a report html, of verified traces jsonl. graphml: the graph of which entry follows which, or
        the automata of the grammar."""
        language: str | None = None
        """A language that mine has learnt, by its folder's name (default: the run's own lexicon)."""
        group: str | None = None
        """Of verified traces only these: column=value[,column=value], such as model=NAME."""
        per_problem: int | None = None
        """Of verified traces at most so many of each problem, the first in the order of the run."""
        out: Path | None = None
        """The file to write (default: stdout); for verified traces it must be given, for hf a new folder."""

    o = parse(Options, "export", argv)
    format = checked_format(o.what, o.format)
    only = {"--group": o.group, "--per-problem": o.per_problem} if o.what != "verified" else {"--language": o.language}
    given = next((name for name, value in only.items() if value is not None), None)
    if given:
        raise UserError(f"--what {o.what} takes no {given}; leave it out.")
    content: dict[str, Any] = {"what": o.what, "format": format, "language": o.language}
    if o.what == "verified":
        done = write_verified(Run(o.run), o.out, format, o.group, o.per_problem)
        tally = done.tally
        lines = [f"{tally.written:,} verified traces of {tally.problems:,} problems -> {done.out}"]
        lines += [f"left out: {reason}" for reason in tally.left_out()]
        if tally.finish_unknown:
            lines.append(f"how {tally.finish_unknown:,} of them ended is not stored: some may be cut off")
        lines.append("licences: " + ", ".join(f"{name} {n:,}" for name, n in sorted(tally.licences.items())))
        show(o.json, content | asdict(done), lines)
        return 1 if tally.no_prompt else 0
    text = export_text(Run(o.run), o.what, format, o.language)
    if o.out is None:
        show(o.json, content | {"text": text}, [text.removesuffix("\n")])
        return 0
    with replacing(o.out) as temporary:
        temporary.write_text(text, "utf-8")
    size = o.out.stat().st_size
    show(o.json, content | {"out": str(o.out), "bytes": size}, [f"{size:,} B of {format} -> {o.out}"])
    return 0


def status(argv: list[str]) -> int:
    """Which stages of a run are done, stale, cut off or damaged."""
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options(OfRun):
        """State of every stage of a run."""

        verify: bool = False
        """Read every file and compare its hash with the record."""

    o = parse(Options, "status", argv)
    rows = Run(o.run).status(o.verify)
    lines = [
        f"{r.stage}: {r.state}"
        + (f" ({r.detail})" if r.detail else "")
        + "".join(f"  {k}={v}" for k, v in r.counts.items() if isinstance(v, int | str) and k != "id")
        for r in rows
    ]
    show(o.json, {"run": str(o.run), "stages": [asdict(r) for r in rows]}, lines or ["no stage has run"])
    return 1 if any(r.state == "damaged" for r in rows) else 0


def demo(argv: list[str]) -> int:
    """The whole road: model organisms into runs/demo, the shipped traces of real models into runs/real."""
    from dsl_probe.demo import as_lines, run_demo

    @dataclass(frozen=True)
    class Options:
        """Collect from the model organisms with states, mine and compare; import, mine and compare real traces."""

        out: Path = Path("runs/demo")
        """The run folder of the organisms; each is collected into OUT-NAME first."""
        real: Path = Path("runs/real")
        """The run folder of the real traces."""
        force: bool = False
        """Replace what an earlier demo left."""
        json: bool = False
        """One JSON object on stdout."""

    o = parse(Options, "demo", argv)
    report = run_demo(o.out, o.real, o.force)
    show(o.json, report, as_lines(report, o.out, o.real))
    return 0
