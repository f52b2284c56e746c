"""Options that commands share, how they are read, and how a result is shown."""

import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import tyro

from dsl_probe.shown import escaped, visible
from dsl_probe.types import UserError

T = TypeVar("T")
Flat = tyro.conf.arg(name="")


@dataclass(frozen=True)
class OfRun:
    """Options of every command that reads a run."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="PATH")]]  # a Path would take a slash off a URL
    """The run folder; where a command only reads also a URL that fsspec can open, such as s3://bucket/run."""
    json: bool = False
    """One JSON object on stdout."""


@dataclass(frozen=True)
class OfStage(OfRun):
    """Options of every stage."""

    force: bool = False
    """Replace what an earlier job left."""


@dataclass(frozen=True)
class OfShards(OfStage):
    """Options of every stage that goes on shard by shard."""

    executor: str = "process:1"
    """Where its shards are done: process[:N], ray[:ADDRESS] or slurm[:PARTITION], with options after commas, such as
    ray:auto,num_gpus=1 or slurm:gpu,gpus_per_node=1,timeout_min=240."""


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
    found = run(options, prog=f"dsl-probe {name}", args=argv, **extra)
    _check(found)
    return found


def _saved(config: type, path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            saved = {k.replace("-", "_"): v for k, v in tomllib.loads(text).items()}
        else:
            saved = json.loads(text)["config"]
        hints = get_type_hints(config)
        return config(**{k: _typed(k, v, hints[k]) if k in hints else v for k, v in dict(saved).items()})
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"--config {path}: not the record of this stage, nor a .toml file with its options ({error})."
        ) from error


def _typed(name: str, value: Any, hint: Any) -> Any:
    """A value of a config file as its field's type: a list as a tuple, a whole number as a float. Else ValueError."""
    kinds = get_args(hint)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_typed(name, v, kinds[0]) for v in value)
    if get_origin(hint) is Literal and value in kinds:
        return value
    if get_origin(hint) in (Union, UnionType) and value is not None:
        return _typed(name, value, next(k for k in kinds if k is not NoneType))
    if hint is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is hint or (value is None and NoneType in kinds):
        return value
    wanted = ", ".join(map(repr, kinds)) if get_origin(hint) is Literal else getattr(hint, "__name__", str(hint))
    raise ValueError(f"{name} is {value!r:.80}; it must be {wanted}")


def _check(value: Any, name: str = "") -> None:
    """Refuse numbers that are none, and text that no file can hold, in any option."""
    if is_dataclass(value):
        for field in fields(value):
            _check(getattr(value, field.name), field.name)
    elif isinstance(value, tuple):
        for one in value:
            _check(one, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"--{name.replace('_', '-')} {value}: a finite number is needed.")
    elif isinstance(value, str | Path) and re.search("[\0\ud800-\udfff]", str(value)):
        raise UserError(f"--{name.replace('_', '-')} {str(value)!r} is not valid Unicode text; write it in UTF-8.")


def show(as_json: bool, content: Any, lines: list[str]) -> None:
    """The result on stdout, where nothing in it can act on a terminal."""
    if as_json:
        print(escaped(json.dumps(content, ensure_ascii=False)))
    else:
        print(visible("\n".join(lines)))
