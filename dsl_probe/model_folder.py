"""Look at what a model brings before any of it is loaded: its folder, its adapter's folder, its chat template.

Weights are read from safetensors (or GGUF) alone: pickled weights (pytorch_model.bin, adapter_model.bin) can run code
when they are read, and there is no option that loads them. Code of a model's own needs `trust_remote_code`.

What this does not show: that a model is harmless; what it writes is untrusted whatever its files are. A chat template
is tried once, on a plain question, and may behave otherwise on another.
"""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsl_probe.types import UserError

MOST_LAYERS = 10_000
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
_SECONDS, _MEMORY = 10, 1 << 30
# A size in a config may exceed every dimension of the stored tensors (fused or 4-bit weights), but not by more.
_SLACK = 64
_SIZES = re.compile(
    r"n_embd|n_inner|n_heads?|d_\w+|(\w+_)?(vocab|hidden|intermediate|embedding)_(size|dim)|(\w+_)?head_dim|"
    r"num_\w*(heads|experts)"
)
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
# These run in a process of their own, with limits: a template is a program, and may loop without end or take all
# memory; a pattern may take exponential time. The libraries' own memory comes on top, and grows with the cores.
_LIMITS = """
import json, re, resource, sys
def limit():
    try:
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    except OSError:
        used = 1 << 30
    for what, most in ((resource.RLIMIT_CPU, int(sys.argv[1])), (resource.RLIMIT_AS, int(sys.argv[2]) + used)):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
"""
_MATCH = f"""{_LIMITS}
limit()
pattern, *names = json.load(sys.stdin)
for name in names:
    re.fullmatch(pattern, name)
"""
_RENDER = f"""{_LIMITS}
from transformers.utils.chat_template_utils import render_jinja_template
limit()
template, tokens = json.load(sys.stdin)
turn = [[dict(role="user", content="What is 1 + 1?")]]
try:
    text = render_jinja_template(turn, chat_template=template, add_generation_prompt=True, **tokens)[0][0]
except MemoryError:
    sys.exit("it takes more than a gigabyte of memory")
except BaseException as error:
    sys.exit((type(error).__name__ + ": " + str(error))[:300])
if len(text) > 1_000_000:
    sys.exit(str(len(text)) + " characters come of a short question")
"""


def check_model_folder(folder: Path, trust_remote_code: bool = False, weights: bool = True) -> None:
    """Refuse, with the reason, a folder that could run code, read other files, or claims sizes it does not have.

    weights: whether they are to be loaded, so that they must be there.
    """
    _no_links_out(folder)
    config = _json(folder / "config.json")
    check_config(str(folder), config, trust_remote_code)
    if not weights:
        return
    shapes = _shapes(folder, config.get("transformers_weights"))
    largest = max((n for shape in shapes for n in shape), default=0)
    for name, value in _numbers(config):
        if name in _LAYERS and value > len(shapes):
            raise UserError(
                f"{folder}/config.json: {name} is {value}, but the weights hold {len(shapes)} tensors, less than one a "
                "layer; give a folder whose weights are whole."
            )
        if _SIZES.fullmatch(name) and value > _SLACK * max(largest, 1):
            raise UserError(
                f"{folder}/config.json: {name} is {value}, but no dimension of the weights exceeds {largest}; give a "
                "folder whose config.json belongs to its weights."
            )


def check_config(name: str, config: dict[str, Any], trust_remote_code: bool = False) -> None:
    """Refuse a model's config that asks for code of the hub, for pickled weights, or for more layers than any has."""
    for key, value in _numbers(config):
        # They would be made, one by one, before anything else.
        if key in _LAYERS and value > MOST_LAYERS:
            raise UserError(f"{name}: {key} is {value} in its config; at most {MOST_LAYERS} layers are loaded.")
    weights = config.get("transformers_weights")
    if weights is not None and not (str(weights).endswith(".safetensors") and Path(str(weights)).name == weights):
        raise UserError(
            f"{name}: transformers_weights is {weights!r} in its config; only a .safetensors file beside it is read."
        )
    if trust_remote_code:
        return
    for part in _parts(config):
        for key, value in part.items():
            if key.strip("_").startswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
                raise UserError(
                    f"{name}: {key} is {value!r} in its config, code that would be fetched from the hub and run; if "
                    "you trust it, add --trust-remote-code."
                )


def check_adapter_folder(folder: Path, modules: Sequence[str]) -> None:
    """Refuse an adapter that is pickled, that names a module to import, or whose files lie elsewhere.

    modules: names of the parts of the model that it goes on, which its patterns are to match in bounded time.
    """
    _no_links_out(folder)
    config = _json(folder / "adapter_config.json")
    for key in ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern"):
        given = config.get(key)
        for pattern in given if isinstance(given, list) else [given]:
            if isinstance(pattern, str) and (why := _no_pattern(pattern, modules)):
                raise UserError(f"{folder}/adapter_config.json: {key} {pattern!r:.200} {why}.")
    if config.get("megatron_config") is not None:
        raise UserError(
            f"{folder}/adapter_config.json names a module to import (megatron_core: {config.get('megatron_core')!r}); "
            "such adapters are not loaded. Remove megatron_config, if the adapter needs none."
        )
    if not (folder / "adapter_model.safetensors").is_file():
        raise _only_pickled(folder, "adapter_model.safetensors")
    shapes = _header(folder / "adapter_model.safetensors")
    largest = max((n for shape in shapes for n in shape), default=0)
    if isinstance(config.get("r"), int) and config["r"] > max(largest, 1):
        raise UserError(
            f"{folder}/adapter_config.json: r is {config['r']}, but no dimension of the weights exceeds {largest}; "
            "give a folder whose adapter_config.json belongs to its weights."
        )


def check_chat_template(name: str, template: str, tokens: dict[str, Any]) -> None:
    """Refuse a template that fails, does not end in 10 s or takes more than 1 GB on a short question. Tried once each.

    tokens: what the tokenizer hands to it beside the messages (bos_token and such).
    """
    reason = _why_not(template, json.dumps({k: v for k, v in tokens.items() if isinstance(v, str)}))
    if reason:
        raise UserError(
            f"the chat template of {name} cannot be used: {reason}. Use --template raw, r1-zero or a text that holds "
            "{prompt}, or mend the template."
        )


@functools.cache
def _why_not(template: str, tokens: str) -> str | None:
    return _tried(_RENDER, [template, json.loads(tokens)])


def _tried(program: str, given: list[Any]) -> str | None:
    """Why a program (which reads `given`) fails in a process of its own with limits; None where it does not."""
    command = [sys.executable, "-c", program, str(_SECONDS), str(_MEMORY)]
    try:
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=6 * _SECONDS)
    except subprocess.TimeoutExpired:
        return "it does not end"
    if done.returncode == 0:
        return None
    if done.returncode < 0:  # the limit on time, or a kernel that is short of memory
        return f"it does not end within {_SECONDS} s"
    return " ".join(done.stderr.split())[-300:].rstrip(".") or "it fails"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}. Give a folder that save_pretrained wrote.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}, not an object; give what save_pretrained wrote.")
    return found


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve() raises on a link that leads to itself


def _no_links_out(folder: Path) -> None:
    # The cache of the hub keeps files as blobs/<hash> beside snapshots/<commit>/, which links to them.
    root = folder.resolve()
    allowed = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    for path in sorted(folder.iterdir()):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is no file but a pipe, socket or device; remove it.")
        if path.is_symlink() and not any(_real(path).is_relative_to(place) for place in allowed):
            raise UserError(
                f"{path} is a link out of its folder, to {_real(path)}; it is not followed. Copy the file there if "
                "you mean it."
            )


def _no_pattern(pattern: str, names: Sequence[str]) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is no regular expression: {error}"
    if re.fullmatch(r"[\w.|^$]*", pattern):  # nothing in it repeats
        return None
    return "takes too long to match" if _tried(_MATCH, [pattern, *names]) else None


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The config, and the configs of parts (text_config and such) in it."""
    return [{str(k): v for k, v in part.items()} for part in (config, *config.values()) if isinstance(part, dict)]


def _numbers(config: dict[str, Any]) -> list[tuple[str, int]]:
    return [(k, v) for part in _parts(config) for k, v in part.items() if isinstance(v, int)]


def _shapes(folder: Path, named: str | None) -> list[tuple[int, ...]]:
    index = folder / "model.safetensors.index.json"
    if named:
        names = [named]
    elif (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    elif index.is_file():
        given = _json(index).get("weight_map")
        if not isinstance(given, dict) or not given or not all(isinstance(v, str) for v in given.values()):
            raise UserError(f"{index} has no weight_map from tensors to files; give what save_pretrained wrote.")
        names = sorted(set(given.values()))
        wrong = next((n for n in names if Path(n).name != n or not n.endswith(".safetensors")), None)
        if wrong:
            raise UserError(f"{index} names {wrong!r}; only .safetensors files of the folder itself are read.")
    else:
        raise _only_pickled(folder, "model.safetensors")
    return [shape for name in names for shape in _header(folder / name)]


def _header(path: Path) -> list[tuple[int, ...]]:
    """Shapes of the tensors of a file. The library checks offsets, overlaps and sizes against the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, OverflowError) as error:
        raise UserError(f"{path} is no sound safetensors file: {error}. Download or save it again.") from error


def _only_pickled(folder: Path, wanted: str) -> UserError:
    pickled = next((p.name for p in sorted(folder.iterdir()) if p.suffix in _PICKLED), None)
    if pickled is None:
        return UserError(f"{folder} holds no {wanted}; give a folder that save_pretrained wrote.")
    return UserError(
        f"{folder} holds no {wanted}, only {pickled}: pickled weights can run code when they are read, and are not "
        "loaded. If you trust them, load them elsewhere and write them with save_pretrained(safe_serialization=True)."
    )
