"""The command line: one subcommand a stage, made of that stage's config.

stdout is the result (--json: exactly one object), stderr is progress and log. Exit codes: 0 done, 1 finished with
rejected or damaged parts, 2 usage or bad input, 130 interrupted. Each command imports what it needs and no more, so
that `status` answers at once.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from dsl_probe.types import UserError

T = TypeVar("T")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "--version"):
        print(_version() if argv and argv[0] == "--version" else _usage())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(f"dsl-probe: {argv[0]!r} is no command; there are: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    try:
        return COMMANDS[argv[0]](argv[1:])
    except UserError as error:
        print(f"dsl-probe: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dsl-probe: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _usage() -> str:
    lines = [f"  {name:8s} {(fn.__doc__ or '').splitlines()[0]}" for name, fn in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dsl-probe COMMAND ...      (dsl-probe COMMAND --help tells its options)",
            "",
            "Does a reasoning model have a private language?",
            "",
            *lines,
        ]
    )


def _version() -> str:
    from dsl_probe import __version__

    return f"dsl-probe {__version__}"


def _parse(options: Callable[..., T], name: str, argv: list[str], config: type | None = None) -> T:
    import tyro

    default: Any = None
    if config is not None and "--config" in argv:
        at = argv.index("--config")
        if at + 1 >= len(argv):
            raise UserError("--config needs the file of a stage, such as runs/x/stages/mine.json")
        argv, default = argv[:at] + argv[at + 2 :], _saved(config, Path(argv[at + 1]))
    parse: Any = tyro.cli
    extra = {"default": options(config=default)} if default is not None else {}
    return parse(options, prog=f"dsl-probe {name}", args=argv, **extra)


def _saved(config: type, path: Path) -> Any:
    try:
        saved = json.loads(path.read_text("utf-8"))["config"]
        return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"--config {path}: not the record of a stage ({error}).") from error


def _print(as_json: bool, content: Any, lines: list[str]) -> None:
    print(json.dumps(content, ensure_ascii=False) if as_json else "\n".join(lines))


def _import(argv: list[str]) -> int:
    """Bring traces in: JSONL(.gz), Parquet, a datasets folder, another run, or another tool's log."""
    import tyro

    from dsl_probe.collect.importer import ImportConfig, import_traces
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options:
        """Bring traces into a run. Only a text is needed a row; bad rows go to rejected.parquet with their reason."""

        sources: tyro.conf.Positional[tuple[Path, ...]] = ()
        """Files, folders or runs."""
        out: Path | None = None
        """The run folder to make, or to go on with."""
        config: Annotated[ImportConfig, tyro.conf.arg(name=""), tyro.conf.ConsolidateSubcommandArgs] = field(
            default_factory=ImportConfig
        )
        force: bool = False
        """Replace what an earlier import left."""
        json: bool = False
        """One JSON object on stdout."""

    o = _parse(Options, "import", _repeatable(argv, "--map"), ImportConfig)
    if o.out is None:
        raise UserError("--out is missing: dsl-probe import SOURCE... --out RUN")
    result = import_traces(Run.create(o.out), o.sources, o.config, force=o.force)
    reasons = [f"  {n:,} x {reason}" for reason, n in result.reasons.items()]
    _print(
        o.json,
        asdict(result),
        [
            f"{result.traces:,} traces of {result.models} models in {result.domains} domains -> {o.out}",
            *(
                [f"{result.duplicates:,} rows were repeated word for word and are counted once"]
                if result.duplicates
                else []
            ),
            *(
                [f"{result.rejected:,} rows set aside in {o.out}/rejected.parquet:", *reasons]
                if result.rejected
                else []
            ),
        ],
    )
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


def _mine(argv: list[str]) -> int:
    """Find the motifs of all traces, pooled, and count them by model and domain."""
    import tyro

    from dsl_probe.mine.stage import MineConfig, mine_motifs
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options:
        """Find the closed motifs of a run's traces, pooled over models and domains."""

        run: tyro.conf.Positional[Path] = Path()
        """The run folder."""
        config: Annotated[MineConfig, tyro.conf.arg(name="")] = field(default_factory=MineConfig)
        workers: int | None = None
        """Processes (default: one a core)."""
        force: bool = False
        """Replace what an earlier job left."""
        json: bool = False
        """One JSON object on stdout."""

    o = _parse(Options, "mine", argv, MineConfig)
    result = mine_motifs(Run(o.run), o.config, workers=o.workers, force=o.force)
    _print(
        o.json,
        asdict(result),
        [
            f"{result.motifs:,} motifs with {result.occurrences:,} occurrences in {result.units:,} units of "
            f"{result.traces:,} traces ({result.echo_units:,} units echo their prompt)",
            *(
                [f"{result.prompt_unknown:,} traces have no prompt: whether they echo it is unknown"]
                if result.prompt_unknown
                else []
            ),
        ],
    )
    return 0


def _compare(argv: list[str]) -> int:
    """Test which motifs one group of traces over-uses, and how far its domains share a vocabulary."""
    import tyro

    from dsl_probe.share.compare import CompareConfig, compare
    from dsl_probe.share.findings import findings
    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options:
        """Compare two groups of a run's traces: --a model=NAME --b model=NAME[,domain=NAME]."""

        run: tyro.conf.Positional[Path] = Path()
        """The run folder."""
        config: Annotated[CompareConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: CompareConfig("", ""))
        force: bool = False
        """Replace an earlier comparison of this name."""
        json: bool = False
        """One JSON object on stdout."""

    o = _parse(Options, "compare", argv, CompareConfig)
    if not o.config.a or not o.config.b:
        raise UserError("two groups are needed: dsl-probe compare RUN --a model=NAME --b model=NAME")
    done = compare(Run(o.run), o.config, force=o.force)
    found = findings(done)
    _print(
        o.json, {"id": done.id, **asdict(done.result), "findings": [asdict(f) for f in found]}, [f.text for f in found]
    )
    return 0


def _status(argv: list[str]) -> int:
    """Which stages of a run are done, stale, cut off or damaged."""
    import tyro

    from dsl_probe.store import Run

    @dataclass(frozen=True)
    class Options:
        """State of every stage of a run."""

        run: tyro.conf.Positional[Path] = Path()
        """The run folder."""
        verify: bool = False
        """Read every file and compare its hash with the record."""
        json: bool = False
        """One JSON object on stdout."""

    o = _parse(Options, "status", argv)
    rows = Run(o.run).status(o.verify)
    lines = [
        f"{r.stage}: {r.state}"
        + (f" ({r.detail})" if r.detail else "")
        + "".join(f"  {k}={v}" for k, v in r.counts.items() if isinstance(v, int | str) and k != "id")
        for r in rows
    ]
    _print(o.json, {"run": str(o.run), "stages": [asdict(r) for r in rows]}, lines or ["no stage has run"])
    return 1 if any(r.state == "damaged" for r in rows) else 0


def _demo(argv: list[str]) -> int:
    """The whole road on the shipped traces of real models, into runs/demo."""
    from dsl_probe import demo

    @dataclass(frozen=True)
    class Options:
        """Import, mine and compare the shipped traces of real models."""

        out: Path = Path("runs/demo")
        """The run folder."""
        force: bool = False
        """Replace what an earlier demo left."""
        json: bool = False
        """One JSON object on stdout."""

    o = _parse(Options, "demo", argv)
    report = demo.run_demo(o.out, o.force)
    _print(o.json, report, demo.as_lines(report, o.out))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": _demo,
    "import": _import,
    "mine": _mine,
    "compare": _compare,
    "status": _status,
}
