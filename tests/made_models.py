# ruff: noqa: E501 (attacks)
"""Model folders that try to run code, to read what is not theirs, or to take all time and memory.

A case is made from a sound tiny model: `make(folder, mark)` changes the copy in `folder`; a payload that is run makes
the file `mark`. `says`: what the refusal must name; None where the folder is loaded, harmlessly. `adapter`: the folder
is a tiny adapter instead; `ask`: the chat template is used.
"""

import dataclasses
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Make = Callable[[Path, Path], None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A hostile folder; see the module."""

    tries: str
    make: Make
    says: str | None
    adapter: bool = False
    ask: bool = False
    gguf: bool = False


class Payload:
    """Unpickled, it makes the file."""

    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def _pickle(path: Path, mark: Path) -> None:
    import torch

    torch.save({"x": Payload(mark)}, path)


def _edit(name: str, **changes: Any) -> Make:
    """Change entries of a JSON file of the folder."""

    def make(folder: Path, mark: Path) -> None:
        path = folder / name
        found = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(found | changes))

    return make


def _write(name: str, content: str | bytes) -> Make:
    def make(folder: Path, mark: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data.replace(b"MARK", str(mark).encode()))

    return make


def _all(*makes: Make) -> Make:
    def make(folder: Path, mark: Path) -> None:
        for one in makes:
            one(folder, mark)

    return make


def _remove(*names: str) -> Make:
    def make(folder: Path, mark: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return make


def _pickled(name: str) -> Make:
    return lambda folder, mark: _pickle(folder / name, mark)


def _linked(name: str) -> Make:
    """The file lies beside the folder; a link leads to it."""

    def make(folder: Path, mark: Path) -> None:
        outside = folder.parent / f"outside-{folder.name}-{name}"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)

    return make


def _hub_cache(folder: Path, mark: Path) -> None:
    """As the hub's cache keeps it: snapshots/<commit>/NAME -> ../../blobs/<hash>."""
    blobs = folder.parent.parent / "blobs"
    blobs.mkdir(exist_ok=True)
    for i, path in enumerate(sorted(folder.iterdir())):
        shutil.move(path, blobs / f"{folder.name}-{i}")
        path.symlink_to(f"../../blobs/{folder.name}-{i}")


def _pipe(name: str) -> Make:
    def make(folder: Path, mark: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return make


def _tensors(change: Callable[[dict[str, Any]], None], name: str = "model.safetensors") -> Make:
    """Rewrite the header of the weights; their bytes stay."""

    def make(folder: Path, mark: Path) -> None:
        data = (folder / name).read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        change(header)
        text = json.dumps(header).encode()
        (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])

    return make


def _overlap(header: dict[str, Any]) -> None:
    names = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
    header[names[1]]["shape"] = header[names[0]]["shape"]


def _huge(header: dict[str, Any]) -> None:
    name = next(n for n in header if n != "__metadata__")
    header[name]["shape"] = [2**20, 2**25]


def _beyond(header: dict[str, Any]) -> None:
    last = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    start, _ = header[last]["data_offsets"]
    header[last] |= {"shape": [10**12], "data_offsets": [start, start + 4 * 10**12]}


def _overflow(header: dict[str, Any]) -> None:
    name = next(n for n in header if n != "__metadata__")
    header[name]["shape"] = [2**40, 2**40]


def _cut(name: str, keep: float) -> Make:
    def make(folder: Path, mark: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return make


def _index(*names: str) -> Make:
    """Weights in parts, by an index that names these files."""

    def make(folder: Path, mark: Path) -> None:
        shutil.copy(folder / "model.safetensors", folder.parent / "stray.safetensors")
        (folder / "model.safetensors").unlink()
        _pickle(folder / "weights.bin", mark)
        weights = {f"tensor.{i}": name for i, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))

    return make


_CODE = (
    "import os\nos.mkdir('MARK')\nfrom transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast\n"
    "class C(LlamaConfig):\n    model_type = 'evil'\nclass M(LlamaForCausalLM):\n    config_class = C\nclass T(PreTrainedTokenizerFast): pass\n"
)
_AUTO = {"AutoConfig": "modeling_x.C", "AutoModelForCausalLM": "modeling_x.M"}


def _chat(template: str) -> Make:
    return _write("chat_template.jinja", template)


def gguf_file(path: Path, alter: Callable[[bytes], bytes]) -> None:
    """A small GGUF file, altered."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(8)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab"])
    writer.add_token_merges(["a b"])
    for name, shape in (("token_embd.weight", (3, 8)), ("output_norm.weight", (8,))):
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.write_bytes(alter(path.read_bytes()))


def _gguf(alter: Callable[[bytes], bytes]) -> Make:
    return lambda folder, mark: gguf_file(folder / "x.gguf", alter)


_NO_HEADER = "no sound safetensors"
CASES: dict[str, Case] = {
    # Pickles.
    "pickled weights": Case("run code while weights are read", _all(_remove("model.safetensors"), _pickled("pytorch_model.bin")), "pytorch_model.bin: pickled weights can run code"),
    "pickle beside": Case("the same, beside sound weights", _pickled("pytorch_model.bin"), None),
    "pickle by config": Case("name the pickle in config.json", _all(_pickled("evil.bin"), _edit("config.json", transformers_weights="evil.bin")), "only a .safetensors file"),
    "pickle named safetensors": Case("call the pickle model.safetensors", _pickled("model.safetensors"), _NO_HEADER),
    "pickle by index": Case("name the pickle in the index", _index("weights.bin"), "only .safetensors files"),
    "pickled tokenizer": Case("a tokenizer.json that is a pickle", _pickled("tokenizer.json"), "transformers can load"),
    "pickled arguments": Case("training_args.bin, as trainers write it", _pickled("training_args.bin"), None),
    # Code.
    "custom code": Case("run the modeling file of an unknown kind of model", _all(_write("modeling_x.py", _CODE), _edit("config.json", model_type="evil", auto_map=_AUTO)), "--trust-remote-code"),
    "custom code of a known kind": Case("the same under the name of a known kind", _all(_write("modeling_x.py", _CODE), _edit("config.json", auto_map=_AUTO)), None),
    "custom tokenizer": Case("run the tokenizer's file", _all(_write("modeling_x.py", _CODE), _edit("tokenizer_config.json", tokenizer_class="T", auto_map={"AutoTokenizer": ["modeling_x.T", "modeling_x.T"]})), "--trust-remote-code"),
    "kernel of the hub": Case("fetch and run a kernel", _edit("config.json", attn_implementation="evil/kernel"), "fetched from the hub and run"),
    "kernel in a part": Case("the same in a part of the config", _edit("config.json", text_config={"_attn_implementation": "evil/kernel@main:f"}), "fetched from the hub and run"),
    # Links.
    "linked weights": Case("weights that lie elsewhere", _linked("model.safetensors"), "is a link out of its folder"),
    "linked config": Case("a config that lies elsewhere", _linked("config.json"), "is a link out of its folder"),
    "linked tokenizer": Case("a tokenizer that lies elsewhere", _linked("tokenizer.json"), "is a link out of its folder"),
    "linked device": Case("a file that never ends", lambda folder, mark: (folder / "x.json").symlink_to("/dev/zero"), "no file but a pipe"),
    "linked to itself": Case("a link that leads round", lambda folder, mark: (folder / "x.json").symlink_to("x.json"), None),
    "index to elsewhere": Case("parts of the weights outside of the folder", _index("../stray.safetensors"), "only .safetensors files"),
    "index to nowhere": Case("parts of the weights that are not there", _index("model-1.safetensors"), "No such file"),
    "index of numbers": Case("an index that is none", _write("model.safetensors.index.json", '{"weight_map": [1]}'), None),
    "index alone": Case("an index that is none, and no other weights", _all(_remove("model.safetensors"), _write("model.safetensors.index.json", '{"weight_map": [1]}')), "no weight_map"),
    "pipe": Case("a config that nobody writes", _pipe("config.json"), "config.json"),
    "pipe of weights": Case("weights that nobody writes", _pipe("model.safetensors"), "no file but a pipe"),
    "hub's cache": Case("(sound) links as the hub's cache has them", _hub_cache, None),
    # Weights.
    "header beyond the file": Case("a tensor of 4 TB that is not there", _tensors(_beyond), _NO_HEADER),
    "shape of 128 TB": Case("a shape that its bytes do not fill", _tensors(_huge), _NO_HEADER),
    "shape that overflows": Case("a shape whose size is no 64-bit number", _tensors(_overflow), _NO_HEADER),
    "overlap": Case("two tensors in the same bytes", _tensors(_overlap), _NO_HEADER),
    "header of 2^63 bytes": Case("a header longer than the file", _write("model.safetensors", struct.pack("<Q", 2**63) + b"{}"), _NO_HEADER),
    "header of brackets": Case("a header nested 1,000,000 deep", _write("model.safetensors", struct.pack("<Q", 10**6) + b"[" * 10**6), _NO_HEADER),
    "empty weights": Case("no bytes at all", _write("model.safetensors", b""), _NO_HEADER),
    "half of the weights": Case("a file that was cut off", _cut("model.safetensors", 0.5), _NO_HEADER),
    # Sizes.
    "10^9 layers": Case("a model of 10^9 layers", _edit("config.json", num_hidden_layers=10**9), "num_hidden_layers is 1000000000"),
    "9,000 layers": Case("more layers than tensors", _edit("config.json", num_hidden_layers=9000), "less than one a layer"),
    "width of 10^12": Case("vectors of 10^12 numbers", _edit("config.json", hidden_size=10**12), "hidden_size is 1000000000000"),
    "inner width of 10^12": Case("the same inside", _edit("config.json", intermediate_size=10**12), "intermediate_size is"),
    "vocabulary of 10^12": Case("10^12 tokens", _edit("config.json", vocab_size=10**12), "vocab_size is 1000000000000"),
    "10^9 heads": Case("10^9 heads", _edit("config.json", num_attention_heads=10**9), "num_attention_heads is"),
    "no heads": Case("divide by zero", _edit("config.json", num_attention_heads=0), "transformers can load"),
    "negative width": Case("a negative size", _edit("config.json", hidden_size=-1), "transformers can load"),
    "width as text": Case("a size that is no number", _edit("config.json", hidden_size="x" * 100), "transformers can load"),
    "other width": Case("sizes of another model", _edit("config.json", hidden_size=64), "transformers can load"),
    "config is a list": Case("a config that is no object", _write("config.json", "[]"), "holds a list"),
    "config is no JSON": Case("a config that is no JSON", _write("config.json", b"\x80\x04\xff"), "cannot be read as JSON"),
    "config of brackets": Case("a config nested 100,000 deep", _write("config.json", "[" * 10**5), "cannot be read as JSON"),
    "tokenizer of brackets": Case("a tokenizer nested 100,000 deep", _write("tokenizer.json", "[" * 10**5), "transformers can load"),
    "no end": Case("a generation_config.json whose end of text is no token", _edit("generation_config.json", eos_token_id="</s>"), "eos_token_id"),
    # Chat templates.
    "endless template": Case("loop without end", _chat("{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"), "does not end within", ask=True),
    "template that grows": Case("double a text 99 times", _chat("{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"), "cannot be used", ask=True),  # memory, or time where the machine is busy
    "template of one text": Case("a text of 10^12 characters", _chat("{{ 'x' * 10**12 }}"), "memory", ask=True),
    "template of one number": Case("9 to the 9 to the 9", _chat("{{ 9 ** (9 ** 9) }}"), "does not end within", ask=True),
    "template that reaches Python": Case("reach os through attributes", _chat("{{ cycler.__init__.__globals__.os.mkdir('MARK') }}"), "SecurityError", ask=True),
    "template by subclasses": Case("the same through subclasses", _chat("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "SecurityError", ask=True),
    "template by format": Case("the same through str.format", _chat("{{ '{0.__class__.__init__.__globals__}'.format(namespace) }}"), "SecurityError", ask=True),
    "template that includes": Case("read a file", _chat("{% include '/etc/passwd' %}"), "TypeError", ask=True),
    "template that is none": Case("not Jinja", _chat("{% if %}"), "TemplateSyntaxError", ask=True),
    "template that refuses": Case("raise an exception", _chat("{{ raise_exception('no') }}"), "TemplateError: no", ask=True),
    "template of 10^7 characters": Case("a prompt of 10^7 characters", _chat("{% for i in range(99999) %}{{ 'x' * 110 }}{% endfor %}"), "characters come of a short question", ask=True),
    # Adapters.
    "pickled adapter": Case("run code while an adapter is read", _all(_remove("adapter_model.safetensors"), _pickled("adapter_model.bin")), "adapter_model.bin: pickled weights", adapter=True),
    "adapter that imports": Case("import a module of its choice", _edit("adapter_config.json", megatron_config={"x": 1}, megatron_core="antigravity"), "names a module to import", adapter=True),
    "linked adapter": Case("an adapter that lies elsewhere", _linked("adapter_model.safetensors"), "is a link out of its folder", adapter=True),
    "rank of 10^12": Case("matrices of 10^12 rows", _edit("adapter_config.json", r=10**12), "r is 1000000000000", adapter=True),
    "endless pattern": Case("a pattern that takes exponential time", _edit("adapter_config.json", target_modules="([a-z0-9_.]+)+!"), "takes too long to match", adapter=True),
    "no pattern": Case("a pattern that is none", _edit("adapter_config.json", target_modules="("), "no regular expression", adapter=True),
    "unknown adapter": Case("a kind of adapter that does not exist", _edit("adapter_config.json", peft_type="EVIL"), "cannot load the adapter", adapter=True),
    "adapter of other shapes": Case("a header that its bytes do not fill", _tensors(_huge, "adapter_model.safetensors"), _NO_HEADER, adapter=True),
    # GGUF.
    "half a gguf": Case("a file that was cut off", _gguf(lambda d: d[: len(d) // 2]), "transformers can load", gguf=True),
    "head of a gguf": Case("a file that ends after 10 bytes", _gguf(lambda d: d[:10]), "transformers can load", gguf=True),
    "no gguf": Case("another file under this name", _gguf(lambda d: b"\x80\x04" + d[2:]), "transformers can load", gguf=True),
    "gguf of 2^60 tensors": Case("a count that the file does not hold", _gguf(lambda d: d[:8] + struct.pack("<Q", 2**60) + d[16:]), "transformers can load", gguf=True),
    "gguf of 2^60 keys": Case("the same of keys", _gguf(lambda d: d[:16] + struct.pack("<Q", 2**60) + d[24:]), "transformers can load", gguf=True),
    "gguf of a long key": Case("a key of 2^62 characters", _gguf(lambda d: d[:24] + struct.pack("<Q", 2**62) + d[32:]), "transformers can load", gguf=True),
}  # fmt: skip


def tiny_adapter(base: Path, folder: Path) -> Path:
    """A LoRA adapter for the tiny model, on disk as PEFT saves it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)
    return folder


def load(case: Case, folder: Path, model: Path) -> None:
    """What a user would do with the folder: load it, hash it, or ask it with its chat template."""
    from dsl_probe.models import load_model, model_identity, render, stop_ids

    if case.adapter:
        load_model(str(model), adapter=str(folder), device="cpu")
        return
    name = str(folder / "x.gguf") if case.gguf else str(folder)
    loaded = load_model(name, device="cpu")
    stop_ids(loaded)
    model_identity(name)
    if case.ask:
        render(loaded, "chat", "two plus two ?")


def prepared(case: Case, folder: Path, mark: Path, model: Path, adapter: Path) -> Path:
    """The hostile folder, made from a copy of the tiny model (or adapter)."""
    shutil.copytree(adapter if case.adapter else model, folder)
    case.make(folder, mark)
    return folder
