"""Commands on a whole run: what state it is in, what it says as a file, and the demo."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dsl_probe.commands.options import OfRun, parse, show
from dsl_probe.shown import escaped
from dsl_probe.types import UserError


def export(argv: list[str]) -> int:
    """Write a report, a dictionary, a grammar, or verified traces as training data."""
    from dsl_probe.export import Format, What, checked_format, write_verified
    from dsl_probe.export import export as export_text
    from dsl_probe.files import replacing
    from dsl_probe.store import Run

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
        if format == "json" and not o.json:
            print(escaped(text.removesuffix("\n")))
        else:
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
    show(o.json, {"run": o.run, "stages": [asdict(r) for r in rows]}, lines or ["no stage has run"])
    return 1 if any(r.state == "damaged" for r in rows) else 0


def demo(argv: list[str]) -> int:
    """The whole road: model organisms into runs/demo, the shipped traces of real models into runs/real."""
    from dsl_probe import demo, planted_demo

    @dataclass(frozen=True)
    class Options:
        """Collect from the model organisms with states, mine and compare; import, mine and compare real traces.

        These come with the repository. --planted needs the package alone.
        """

        out: Path = Path("runs/demo")
        """The run folder of the organisms; each is collected into OUT-NAME first."""
        real: Path = Path("runs/real")
        """The run folder of the real traces."""
        force: bool = False
        """Replace what an earlier demo left."""
        planted: bool = False
        """In their place, half a minute: a language planted in made-up traces, and a twin in which there is none."""
        json: bool = False
        """One JSON object on stdout."""

    o = parse(Options, "demo", argv)
    if o.planted:
        report = planted_demo.planted(o.out, o.force)
        show(o.json, report, planted_demo.as_lines(report, o.out))
        return 0
    report = demo.run_demo(o.out, o.real, o.force)
    show(o.json, report, demo.as_lines(report, o.out, o.real))
    return 0
