"""Options that commands share, how they are read, and how a result is shown."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import tyro

from dsl_probe.shown import visible
from dsl_probe.types import UserError

T = TypeVar("T")
Flat = tyro.conf.arg(name="")


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
    """The result on stdout, where nothing in it can act on a terminal."""
    if as_json:
        # JSON itself escapes the other control characters; these a terminal may obey, too.
        print(re.sub("[\x7f-\x9f]", lambda c: f"\\u{ord(c[0]):04x}", json.dumps(content, ensure_ascii=False)))
    else:
        print(visible("\n".join(lines)))
