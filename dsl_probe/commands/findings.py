"""Commands that find: motifs and languages, what states carry, what is needed, how groups differ."""

from dataclasses import asdict, dataclass, field
from typing import Annotated

from dsl_probe.commands.options import Flat, OfShards, OfStage, parse, show
from dsl_probe.types import UserError


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

        config: Annotated[MineConfig, Flat] = field(default_factory=MineConfig)
        language: LanguageConfig = field(default_factory=LanguageConfig)
        growth: bool = False
        """Also follow every unit and motif over the training steps that the traces carry."""
        executor: str = "process"
        """Where the traces are segmented: process[:N] (default: one a core), ray[:ADDRESS] or slurm[:PARTITION]."""

    o = parse(Options, "mine", argv, MineConfig())
    run, of_group = Run(o.run), bool(o.language.group)
    mined = run.stage("mine") if (of_group or o.growth) and o.config == MineConfig() else None
    if mined:  # whatever it was mined with
        result = MineResult(**mined["counts"])
    else:
        result = mine_motifs(run, o.config, executor=o.executor, force=o.force and not of_group and not o.growth)
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
    class Options(OfShards):
        """Probes on captured states: dsl-probe probe RUN --targets value correct motifs.

        --config FILE takes them from probes.toml: one line an option, such as targets = ["value", "motifs"].
        """

        config: Annotated[ProbeConfig, Flat] = field(default_factory=ProbeConfig)

    o = parse(Options, "probe", argv, ProbeConfig())
    run = Run(o.run)
    result = probe_states(run, o.config, executor=o.executor, force=o.force)
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
    class Options(OfShards):
        """What motifs are worth, each beside its placebo: dsl-probe effects RUN --model MODEL --motifs top:50."""

        config: Annotated[EffectsConfig, Flat] = field(default_factory=EffectsConfig)

    o = parse(Options, "effects", argv, EffectsConfig())
    run = Run(o.run)
    result = measure(run, o.config, executor=o.executor, force=o.force)
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

        config: Annotated[CompareConfig, Flat] = field(default_factory=lambda: CompareConfig("", ""))

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
    class Options(OfShards):
        """Split one group's traces in two, with nothing and with something planted: --group model=NAME."""

        config: Annotated[ValidateConfig, Flat] = field(default_factory=lambda: ValidateConfig(""))

    o = parse(Options, "validate", argv, ValidateConfig(""))
    if not o.config.group:
        raise UserError("a group is needed: dsl-probe validate RUN --group model=NAME")
    result = validate_group(Run(o.run), o.config, executor=o.executor, force=o.force)
    show(o.json, asdict(result), list(result.reading))
    return 0
