"""Write the pages that follow from the code: docs/reference/{cli,contracts,api}.md.

    python docs/generate.py            write them
    python docs/generate.py --check    exit code 1, and the names of those that are not what it would write

A test asserts that they are up to date. What the columns of the tables mean is in contracts.toml, and a column without
a word there is an error.
"""

import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
import tomllib
import types
import typing
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
MADE = "<!-- Made by docs/generate.py: change the code, not this page. -->"
# The part of the API that this page shows beyond the names of the package itself: module -> names.
SHOWN = tomllib.loads((HERE / "api.toml").read_text("utf-8"))
CONTRACTS = tomllib.loads((HERE / "contracts.toml").read_text("utf-8"))


def pages() -> dict[str, str]:
    """Name of each generated page under docs/reference -> its text."""
    return {"cli.md": cli_page(), "contracts.md": contracts_page(), "api.md": api_page()}


# ---- the command line


class Caught(Exception):
    """Raised in place of running a command: its options, and the stage's config that they are flattened from."""


def options_of(command: Callable[[list[str]], int], argv: list[str] | None = None) -> tuple[type, Any, Any]:
    """The options' dataclass of a command, the default of its stage's config, and what it made of `argv`.

    The command is called with its parser replaced, so that nothing runs. Without `argv` nothing is parsed either.
    """
    module: Any = sys.modules[command.__module__]
    parse = module.parse

    def caught(options: type, name: str, argv: list[str], config: Any = None) -> Any:
        raise Caught(options, config, parse(options, name, argv, config) if wanted else None)

    wanted = argv is not None
    module.parse = caught
    try:
        command(argv or [])
    except Caught as stop:
        return stop.args[0], stop.args[1], stop.args[2]
    finally:
        module.parse = parse
    raise RuntimeError(f"{command.__name__} reads no options")


def cli_page() -> str:
    from dsl_probe.cli import COMMANDS

    parts = [
        "# Commands",
        MADE,
        "`dsl-probe COMMAND --help` says the same. Results go to stdout, progress to stderr; `--json` prints one "
        "object. Exit codes: 0 done; 1 finished, with rejected, left out or damaged parts; 2 usage or bad input, with "
        "a line on stderr that says what to do; 130 interrupted, and the same command goes on from there.",
        "Where a stage has a config, `--config FILE` takes it from the record of an earlier job "
        "(`RUN/stages/STAGE.json`) or from a TOML file with a line for each option; options beside it win.",
        "| command | what it does |\n|---|---|\n"
        + "\n".join(f"| [{name}](#dsl-probe-{name}) | {_first(fn.__doc__)} |" for name, fn in COMMANDS.items()),
    ]
    for name, fn in COMMANDS.items():
        options, config, _ = options_of(fn)
        parts += [f"## dsl-probe {name}", prose(inspect.getdoc(options) or "")]
        rows = [f"| {flag} | {default} | {text} |" for flag, default, text in _flags(options, config)]
        parts.append("| option | default | |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _flags(options: type, config: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(option, default, what it means) of each field, those of a stage's config in the order of the class."""
    told = field_docs(options)
    for field in dataclasses.fields(options):
        kind, marks = _plain_type(field.type)
        default = getattr(config, field.name) if isinstance(config, options) else _default(field)
        if dataclasses.is_dataclass(kind):
            inner = config if isinstance(config, kind) else default
            yield from _flags(kind, inner, prefix if marks else f"{prefix}{field.name}.")
            continue
        name, positional = field.name.replace("_", "-"), "Positional" in str(field.type)
        flag = field.name.upper() if positional else f"--{prefix}{name}"
        if kind is bool:
            flag = f"{flag}, --{prefix}no-{name}"
            shown = "no" if default in (False, dataclasses.MISSING) else "yes"
        else:
            flag += "" if positional else f" {_values(kind)}"
            shown = _shown(default)
        yield f"`{flag}`".replace("|", "\\|"), shown, " ".join(prose(told[field.name]).split())


def _plain_type(kind: Any) -> tuple[Any, bool]:
    """A field's type without its annotations, and whether it is flattened (its options have no prefix)."""
    if typing.get_origin(kind) is typing.Annotated:
        return typing.get_args(kind)[0], any(getattr(mark, "name", None) == "" for mark in typing.get_args(kind)[1:])
    return kind, False


def _values(kind: Any) -> str:
    """What an option takes: INT, TEXT ..., or the choices.

    >>> _values(tuple[str, ...]), _values(int | None), _values(Literal["a", "b"])
    ('TEXT ...', 'INT', 'a|b')
    """
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "|".join(inside)
    if origin is tuple:
        return f"{_values(inside[0])} ..."
    if origin in (typing.Union, types.UnionType):
        return _values(next(a for a in inside if a is not type(None)))
    return {bool: "True|False", int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}[kind]


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _shown(value: Any) -> str:
    if value is dataclasses.MISSING or "MISSING" in repr(value):
        return "needed"
    if value is None or value in ("", ()):
        return ""
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def field_docs(cls: type) -> dict[str, str]:
    """Field -> its docstring (the string that follows it in the source), base classes included."""
    told: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(part):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(field.target, ast.Name):
                told[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    return told


# ---- what stands on disk


def contracts_page() -> str:
    from dsl_probe import stages
    from dsl_probe import types as nouns
    from dsl_probe.collect import curve

    comments = schema_comments(inspect.getsource(nouns))
    parts = [
        "# What stands on disk",
        MADE,
        CONTRACTS["intro"].strip(),
        "## Files by stage",
        "| stage | files, under the run's folder |\n|---|---|\n"
        + "\n".join(f"| {s} | {', '.join(f'`{f}`' for f in files)} |" for s, files in stages.STAGE_FILES.items()),
        "`{id}` is the name of a model, a capture, a language, a comparison or a result: what follows the dot in the "
        "stage's name.",
        "## Tables",
        f"Schema version {nouns.SCHEMA_VERSION}. Types are Arrow's.",
    ]
    for name, table in CONTRACTS["tables"].items():
        schema = curve.CURVE if name == "CURVE" else getattr(nouns, name)
        parts += [f"### {table['file']}", f"`{name}`. {table['row']}"]
        parts += [prose(comments[name])] if name in comments else []
        own = CONTRACTS.get(name, {})
        told = {f.name: own.get(f.name) or CONTRACTS["columns"].get(f.name) for f in schema}
        silent = [column for column, words in told.items() if not words]
        if silent or own.keys() - told.keys():
            sys.exit(f"docs/contracts.toml, {name}: no word for {silent}, or words for {own.keys() - told.keys()}")
        rows = [f"| {f.name} | {f.type} | {told[f.name]} |" for f in schema]
        parts.append("| column | type | |\n|---|---|---|\n" + "\n".join(rows).replace("list<element: ", "list<"))
    return "\n\n".join(parts) + "\n"


def schema_comments(source: str) -> dict[str, str]:
    """Name of a schema -> the comment right above it."""
    found = re.findall(r"((?:^# .*\n)+)^([A-Z_]+) = pa\.schema", source, re.MULTILINE)
    return {name: " ".join(line.removeprefix("# ") for line in text.splitlines()) for text, name in found}


# ---- the Python API


def api_page() -> str:
    import dsl_probe

    parts = [
        "# Python",
        MADE,
        "`import dsl_probe` costs milliseconds and loads nothing heavy. The names of the package itself come first; "
        "the measures, probes and interventions below them are imported from their modules.",
        "## dsl_probe",
        *(_entry("dsl_probe", name) for name in dsl_probe.__all__),
    ]
    for module, names in SHOWN.items():
        parts += [f"## {module}", prose(inspect.getdoc(importlib.import_module(module)) or "")]
        parts += [_entry(module, name) for name in names]
    return "\n\n".join(parts) + "\n"


def _entry(module: str, name: str) -> str:
    of = getattr(importlib.import_module(module), name)
    parts = [f"### {name}"]
    if not inspect.isclass(of) or not issubclass(of, Exception):
        parts.append(f"```text\n{_signature(name, of)}\n```")
    parts.append(prose(inspect.getdoc(of) or ""))
    if dataclasses.is_dataclass(of) and isinstance(of, type) and (told := field_docs(of)):
        parts.append("\n".join(f"- `{field}`: {' '.join(prose(text).split())}" for field, text in told.items()))
    if inspect.isclass(of):
        members = [(n, getattr(m, "__func__", m)) for n, m in vars(of).items() if not n.startswith("_") and m.__doc__]
        methods = [f"- `{_signature(n, m)}`: {_first(m.__doc__)}" for n, m in members if inspect.isfunction(m)]
        read = [f"- `{n}`: {_first(m.__doc__)}" for n, m in members if isinstance(m, (property, cached_property))]
        parts += ["\n".join(read + methods)] if read or methods else []
    return "\n\n".join(parts)


def _signature(name: str, of: Any) -> str:
    """Name and arguments with their defaults; what they are is said in words below."""
    signature = inspect.signature(of)
    arguments = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    for i, argument in enumerate(arguments):
        if dataclasses.is_dataclass(argument.default) and not isinstance(argument.default, type):
            arguments[i] = argument.replace(default=Caught(f"{type(argument.default).__name__}()"))
    if arguments and arguments[0].name in ("self", "cls"):
        arguments = arguments[1:]
    text = name + str(inspect.Signature(arguments))
    text = re.sub(r"<function (\w+)[^>]*>|<class '([\w.]+)'>|Caught\('([^']*)'\)", r"\1\2\3", text)
    return "\n    ".join(textwrap.wrap(text, 90, break_on_hyphens=False))


def prose(text: str) -> str:
    r"""A docstring as Markdown: examples fenced, and < escaped outside of code.

    >>> print(prose("Of <NUM>, `a_b` and a_b."))
    Of \<NUM>, `a_b` and a\_b.
    """
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if block.lstrip().startswith(">>>"):
            code = re.sub(r"\s+# doctest: .*", "", textwrap.dedent(block))
            if blocks and blocks[-1].startswith("```pycon"):
                blocks[-1] = blocks[-1].removesuffix("\n```") + f"\n\n{code}\n```"
            else:
                blocks.append(f"```pycon\n{code}\n```")
        elif block.startswith("    "):
            blocks.append(f"```text\n{textwrap.dedent(block)}\n```")
        else:
            blocks.append("".join(p if p.startswith("`") else _escaped(p) for p in re.split(r"(`[^`]*`)", block)))
    return "\n\n".join(blocks)


def _escaped(text: str) -> str:
    return re.sub(r"([<*_])", r"\\\1", text).replace("](", "]\\(")


def _first(text: str | None) -> str:
    return prose(inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " "))


def main(argv: list[str]) -> int:
    """Write the pages, or with --check only tell which are not up to date."""
    stale = []
    for name, text in pages().items():
        path = HERE / "reference" / name
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in argv:
                path.write_text(text, "utf-8")
    print(f"{'not up to date' if '--check' in argv else 'written'}: {', '.join(stale) or 'nothing'}")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
