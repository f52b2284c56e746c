"""PEFT adapters and device maps against peft's own model and the plain load; remote code stays off."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import tiny_model

from dsl_probe.collect import backends
from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.decode import draw
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.collect.score import ScoreConfig, score_traces
from dsl_probe.collect.seeded import Sampling
from dsl_probe.models import load_model, model_identity
from dsl_probe.store import Run
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
IDS = [[1, 20, 30, 41, 5, 9, 17], [1, 22, 3, 8, 40, 7]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny")


def save_lora(base: Path, folder: Path, seed: int = 0) -> Path:
    """A LoRA adapter with random weights on attention and MLP, saved by peft."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    hf = AutoModelForCausalLM.from_pretrained(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # init_lora_weights=True would make the adapter do nothing.
        options = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        get_peft_model(hf, options).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lora(folder, tmp_path_factory):
    return save_lora(folder, tmp_path_factory.mktemp("adapter") / "lora")


def merged(base: Path, lora: Path):
    """The independent truth: peft's own load, folded into plain weights."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), lora).merge_and_unload().eval()


def test_logits_are_those_of_peft_and_not_of_the_base(folder, lora):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = load_model(str(folder), device="cpu", adapter=str(lora))
    assert (model.n_layers, model.d_model, model.device) == (2, 32, "cpu")
    assert not model.hf.training and not any(p.requires_grad for p in model.hf.parameters())
    tokens = torch.tensor(IDS[:1])
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), lora).eval()
    with torch.inference_mode():
        ours = model.hf(tokens).logits
        assert torch.equal(ours, theirs(tokens).logits)
        assert torch.allclose(ours, merged(folder, lora)(tokens).logits, atol=1e-4)
        assert not torch.allclose(ours, load_model(str(folder), device="cpu").hf(tokens).logits, atol=0.1)


@pytest.mark.parametrize("site", backends.SITES)
def test_states_through_an_adapter_are_those_of_the_merged_model(folder, lora, site):
    model = load_model(str(folder), device="cpu", adapter=str(lora))
    plain = replace(model, hf=merged(folder, lora))
    places = [range(len(x)) for x in IDS]
    ours, theirs = (backends.capture(m, IDS, [0, 1], places, site) for m in (model, plain))
    base = backends.capture(load_model(str(folder), device="cpu"), IDS, [0, 1], places, site)
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], atol=1e-4)
        assert not torch.allclose(ours[name], base[name], atol=1e-2)


def test_transformer_lens_agrees_through_an_adapter(folder, lora):
    model = load_model(str(folder), device="cpu", adapter=str(lora))
    ours = backends.capture(model, IDS, [0, 1], [[0, 6], [3]])
    theirs = backends.capture_transformer_lens(model, IDS, [0, 1], [[0, 6], [3]])
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], atol=1e-4)
    # The adapter itself is still there.
    assert torch.equal(backends.capture(model, IDS, [0, 1], [[0, 6], [3]])["resid_post.1"], ours["resid_post.1"])


def test_collect_capture_and_score_go_through_the_adapter_and_record_it(tmp_path, folder):
    rows = [{"problem_id": f"p{i}", "prompt": f"what is {i} + 1 ?", "reference": str(i + 1)} for i in range(3)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mine = save_lora(folder, tmp_path / "mine")
    config = CollectConfig(
        model=str(folder),
        adapter=str(mine),
        domains=(str(tmp_path / "sums.jsonl"),),
        n=3,
        samples=2,
        template="raw",
        max_new_tokens=20,
        device="cpu",
    )
    run = Run.create(tmp_path / "run")
    collect(run, config)
    assert set(run.all_shards("traces")["model"].to_pylist()) == {"tiny+mine"}
    # Scored by the model that sampled them the log-probabilities are its own; by the base alone they are not.
    scoring = ScoreConfig(model=str(folder), adapter=str(mine), device="cpu")
    assert score_traces(run, scoring).audit_beyond == 0.0
    base = score_traces(run, ScoreConfig(model=str(folder), device="cpu", audit="tiny+mine"))
    assert base.audit_beyond is not None and base.audit_beyond > 0.9
    asked = CaptureConfig(
        model=str(folder), adapter=str(mine), layers=(0, 1), at=("every:2",), device="cpu", self_check=1.0
    )
    assert capture_states(run, asked).checked == 6
    # Other weights in the same adapter folder: each stage that used them says so.
    identity = model_identity(str(folder), adapter=str(mine))
    assert identity != model_identity(str(folder))
    save_lora(folder, mine, seed=1)
    assert model_identity(str(folder), adapter=str(mine)) != identity
    for again in (lambda: collect(run, config), lambda: score_traces(run, scoring), lambda: capture_states(run, asked)):
        with pytest.raises(UserError, match="source:"):
            again()


def test_an_adapter_that_cannot_be_used_says_what_is_needed(tmp_path, folder, lora, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for adapter in ("/nowhere/lora", str(folder), "some/adapter"):
        with pytest.raises(UserError, match=r"adapter_config\.json"):
            load_model(str(folder), device="cpu", adapter=adapter)
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        model_identity(str(folder), adapter="some/adapter")
    config = json.loads((lora / "adapter_config.json").read_text())
    for change in ({"target_modules": ["no_such_part"]}, {"r": 9}):
        other = tmp_path / "other"
        other.mkdir(exist_ok=True)
        (other / "adapter_config.json").write_text(json.dumps(config | change))
        (other / "adapter_model.safetensors").write_bytes((lora / "adapter_model.safetensors").read_bytes())
        with pytest.raises(UserError, match="made for the model"):
            load_model(str(folder), device="cpu", adapter=str(other))


SPLIT = {
    "model.embed_tokens": "cpu",
    "model.rotary_emb": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.norm": "cpu",
    "lm_head": "cpu",
}


@pytest.mark.parametrize("where", [{"": "cpu"}, "auto", SPLIT], ids=["one device", "auto", "part on disk"])
def test_a_device_map_changes_no_result(folder, where):
    plain, placed = load_model(str(folder), device="cpu"), load_model(str(folder), dtype="float32", device_map=where)
    if where is SPLIT:
        assert placed.hf.get_decoder().layers[1].mlp.up_proj.weight.device.type == "meta", "nothing was offloaded"
    if placed.device != "cpu":
        pytest.skip("auto took an accelerator")
    places = [range(len(x)) for x in IDS]
    ours, theirs = (backends.capture(m, IDS, [0, 1], places) for m in (placed, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    sampling = Sampling(max_new_tokens=12)
    assert draw(placed, IDS, [5, 6], sampling) == draw(plain, IDS, [5, 6], sampling)


def test_a_models_own_code_runs_only_where_it_is_trusted(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    own = tiny_model(tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    config |= {
        "model_type": "homemade",
        "auto_map": {"AutoConfig": "homemade.HomemadeConfig", "AutoModelForCausalLM": "homemade.HomemadeModel"},
    }
    (own / "config.json").write_text(json.dumps(config))
    trace = tmp_path / "was-run"
    (own / "homemade.py").write_text(
        f"open({str(trace)!r}, 'w').close()\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class HomemadeConfig(LlamaConfig):\n    model_type = 'homemade'\n"
        "class HomemadeModel(LlamaForCausalLM):\n    config_class = HomemadeConfig\n"
    )
    assert CollectConfig().trust_remote_code is False
    with pytest.raises(UserError, match="--trust-remote-code"):
        load_model(str(own), device="cpu")
    assert not trace.exists()
    model = load_model(str(own), device="cpu", trust_remote_code=True)
    assert trace.exists() and type(model.hf).__name__ == "HomemadeModel"
    tokens = torch.tensor(IDS[:1])
    with torch.inference_mode():
        assert torch.equal(model.hf(tokens).logits, load_model(str(folder), device="cpu").hf(tokens).logits)
