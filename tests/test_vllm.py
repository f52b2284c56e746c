"""The vLLM adapter against a stand-in that takes vLLM's documented arguments and answers in its documented formats.

The stand-in computes with transformers, so what should come out is known. vLLM itself was never run here.
"""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tiny import WORDS, tiny_model

from dsl_probe.collect import backends
from dsl_probe.collect.backends import capture, resolve_backend
from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.collect.score import ScoreConfig, score_traces
from dsl_probe.collect.seeded import key_of
from dsl_probe.collect.vllm import capture_vllm, loop_end, read_states
from dsl_probe.models import load_model
from dsl_probe.store import Run
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
IDS = [[1, 20, 30, 41, 5, 9, 17], [1, 22, 3], [2, 33, 8, 40, 7]]
PLACES = [[0, 6, 3], [], [4, 0]]


@dataclass
class SamplingParams:
    """The documented fields that the adapter may use, with their documented defaults."""

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True


@dataclass
class LLM:
    """Documented engine arguments. Samples token by token, or writes the states of a prompt, by transformers."""

    model: str
    tokenizer_revision: str | None = None
    revision: str | None = None
    dtype: str = "auto"
    seed: int = 0
    trust_remote_code: bool = False
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    generation_config: str = "auto"
    logprobs_mode: str = "raw_logprobs"
    speculative_config: dict[str, Any] | None = None
    kv_transfer_config: dict[str, Any] | None = None

    def __post_init__(self):
        self.hf = load_model(self.model, device="cpu", dtype=self.dtype)
        ENGINES.append(self)
        self.asked: list[SamplingParams] = []

    def generate(self, prompts, sampling_params, use_tqdm=True):
        params = sampling_params if isinstance(sampling_params, list) else [sampling_params] * len(prompts)
        self.asked += params
        with torch.inference_mode():
            return [
                self._one(n, list(p["prompt_token_ids"]), s)
                for n, (p, s) in enumerate(zip(prompts, params, strict=True))
            ]

    def _one(self, n, prompt, params):
        transfer = None
        if self.kv_transfer_config:
            assert self.enable_chunked_prefill is False and self.enable_prefix_caching is False
            assert self.speculative_config["method"] == "extract_hidden_states"
            assert self.speculative_config["num_speculative_tokens"] == 1
            assert self.kv_transfer_config["kv_connector"] == "ExampleHiddenStatesConnector"
            folder = Path(self.kv_transfer_config["kv_connector_extra_config"]["shared_storage_path"])
            layer_ids = self.speculative_config["draft_model_config"]["hf_config"]["eagle_aux_hidden_state_layer_ids"]
            path = folder / f"{n}.safetensors"
            write_states(path, self.hf.hf, prompt, layer_ids)
            Path(f"{path}.lock").touch()
            transfer = {"hidden_states_path": str(path)}
        ids, logprobs, finish = [], [], "length"
        generator = torch.Generator().manual_seed(params.seed or 0)
        while len(ids) < params.max_tokens:
            raw = self.hf.hf(torch.tensor([prompt + ids])).logits[0, -1].float().log_softmax(-1)
            token = int(raw.argmax())
            if params.temperature > 0:
                token = int(torch.multinomial((raw / params.temperature).softmax(-1), 1, generator=generator))
            ids.append(token)
            logprobs.append({token: SimpleNamespace(logprob=float(raw[token]), rank=1, decoded_token=None)})
            text = self.hf.tokenizer.decode(ids) if params.detokenize else ""
            if token in (params.stop_token_ids or []) or any(t in text for t in params.stop or []):
                finish = "stop"
                break
        made = SimpleNamespace(
            index=0, text="", token_ids=tuple(ids), finish_reason=finish, stop_reason=None, cumulative_logprob=None
        )
        made.logprobs = None if params.logprobs is None else logprobs
        return SimpleNamespace(prompt_token_ids=prompt, outputs=[made], finished=True, kv_transfer_params=transfer)


ENGINES: list[LLM] = []


def write_states(path, hf, ids, layer_ids) -> None:
    """A file in the documented layout: `hidden_states` [tokens, layers, d_model] and `token_ids` [tokens].

    Layer id 0 is the embeddings and the last is what the last block puts out, before the final norm.
    """
    from safetensors.torch import save_file

    last = []
    handle = hf.model.layers[-1].register_forward_hook(lambda _m, _a, out: last.append(out))
    with torch.inference_mode():
        states = list(hf(torch.tensor([ids]), output_hidden_states=True).hidden_states)
    handle.remove()
    states[-1] = last[0]
    chosen = torch.stack([states[k][0] for k in layer_ids], 1)
    save_file({"hidden_states": chosen.contiguous(), "token_ids": torch.tensor(ids)}, path)


@pytest.fixture
def engine(monkeypatch):
    """vLLM as `import vllm` finds it."""
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams, module.__version__ = LLM, SamplingParams, "0.22.0"
    monkeypatch.setitem(sys.modules, "vllm", module)
    ENGINES.clear()
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # What is in a model's generation_config must not leak into the sampling.
    return tiny_model(tmp_path_factory.mktemp("vllm") / "tiny", repetition_penalty=3.0)


@pytest.fixture
def config(tmp_path, folder):
    rows = [{"problem_id": f"p{i}", "prompt": f"what is {i} + 1 ?", "reference": str(i + 1)} for i in range(4)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CollectConfig(
        model=str(folder),
        domains=(str(tmp_path / "sums.jsonl"),),
        n=4,
        samples=2,
        template="raw",
        max_new_tokens=24,
        compute="float32",
        loop_tokens=0,
        engine="vllm",
    )


def traces(tmp_path, config, name):
    run = Run.create(tmp_path / name)
    collect(run, config)
    return run, run.all_shards("traces").to_pylist()


@pytest.mark.parametrize("change", [{}, {"stop": ("so", "wait")}, {"prefix": "<think> so"}, {"template": "chat"}])
def test_at_temperature_zero_the_traces_are_those_of_transformers(tmp_path, config, engine, change):
    config = replace(config, temperature=0.0, **change)
    _, fast = traces(tmp_path, config, "vllm")
    _, plain = traces(tmp_path, replace(config, engine="transformers"), "transformers")
    for a, b in zip(fast, plain, strict=True):
        same = ("text", "prompt_ids", "token_ids", "finish", "answer", "correct", "prefix", "tokenizer", "seed")
        assert {k: a[k] for k in same} == {k: b[k] for k in same}
        assert a["logprobs"] == pytest.approx(b["logprobs"], abs=1e-4)
        assert a["entropies"] is None and len(b["entropies"]) == len(b["token_ids"])
    assert {row["finish"] for row in fast} <= {"stop", "length"}


def test_every_request_has_its_own_recorded_seed_and_all_parameters_are_written_out(tmp_path, config, engine):
    config = replace(config, temperature=0.7, top_p=0.9, top_k=5, seed=3, shard=5)
    run, rows = traces(tmp_path, config, "run")
    assert len(ENGINES) == 1 and len(rows) == 8
    asked = ENGINES[0].asked
    assert [p.seed for p in asked] == [key_of(3, r["problem_id"], r["sample"]) % 2**63 for r in rows]
    for p in asked:
        assert (p.temperature, p.top_p, p.top_k, p.max_tokens, p.repetition_penalty) == (0.7, 0.9, 5, 24, 1.0)
        assert p.ignore_eos and p.stop_token_ids == [WORDS.index("</s>")] and p.logprobs == 0
    llm = ENGINES[0]
    assert (llm.enable_prefix_caching, llm.generation_config, llm.logprobs_mode) == (False, "vllm", "raw_logprobs")
    record = json.loads(rows[0]["sampling"])
    assert record["engine"] == "vllm" and record["vllm"] == "0.22.0" and record["noise"].startswith("vllm")
    assert (record["temperature"], record["top_p"], record["top_k"], record["seed"]) == (0.7, 0.9, 5, 3)
    assert record["dtype"] == "float32" and record["stop_ids"] == [WORDS.index("</s>")]
    # Again: the same bytes.
    again = Run.create(tmp_path / "again")
    collect(again, config)
    assert run.outputs("collect") == again.outputs("collect")


def test_entropies_come_from_score_and_the_stored_logprobs_pass_its_audit(tmp_path, config, engine, folder):
    run, rows = traces(tmp_path, config, "run")
    result = score_traces(run, ScoreConfig(model=str(folder), device="cpu"))
    assert result.audited == sum(len(r["token_ids"]) for r in rows) and result.audit_beyond == 0.0
    assert result.entropy is not None and result.entropy > 0


def test_a_loop_is_cut_where_transformers_would_have_ended_it(tmp_path, folder, config, engine):
    # A model whose head always says the same word loops at once.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hf = AutoModelForCausalLM.from_pretrained(folder)
    hf.lm_head.weight.data[:] = 0
    hf.save_pretrained(tmp_path / "stuck")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "stuck")
    config = replace(
        config, model=str(tmp_path / "stuck"), temperature=0.0, max_new_tokens=200, loop_tokens=64, samples=1
    )
    _, fast = traces(tmp_path, config, "vllm")
    _, plain = traces(tmp_path, replace(config, engine="transformers"), "transformers")
    assert [(r["finish"], r["token_ids"]) for r in fast] == [(r["finish"], r["token_ids"]) for r in plain]
    assert {r["finish"] for r in fast} == {"loop"} and {len(r["token_ids"]) for r in fast} == {64}
    assert all(json.loads(r["meta"])["sampled_tokens"] == 200 and len(r["logprobs"]) == 64 for r in fast)
    assert loop_end([7] * 63, 64) is None


def test_what_vllm_cannot_do_is_said(tmp_path, config, engine, monkeypatch):
    for change, hint in (
        ({"adapter": "some/lora"}, "merge it"),
        ({"device": "cuda:1"}, "leave --device"),
        ({"device_map": "balanced"}, "auto spreads"),
        ({"server": "http://127.0.0.1:9/v1"}, "leave --engine out"),
        ({"engine": "tgi"}, "known are transformers, vllm"),
        ({"max_new_tokens": 600}, "512 positions"),
    ):
        with pytest.raises(UserError, match=hint):
            collect(Run.create(tmp_path / "run"), replace(config, **change), force=True)
    (tmp_path / "x.gguf").touch()
    with pytest.raises(UserError, match="not the GGUF file"):
        collect(Run.create(tmp_path / "run"), replace(config, model=str(tmp_path / "x.gguf")), force=True)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"dsl-probe\[vllm\]"):
        collect(Run.create(tmp_path / "run"), config, force=True)


def test_states_of_a_file_in_vllms_layout_are_those_of_transformers_bit_for_bit(tmp_path, folder):
    model = load_model(str(folder), device="cpu")
    write_states(tmp_path / "a.safetensors", model.hf, IDS[0], [1, 2])
    states = read_states(tmp_path / "a.safetensors", IDS[0], 2, 32)
    ours = capture(model, IDS[:1], [0, 1], [range(7)])
    assert torch.equal(states[:, 0], ours["resid_post.0"]) and torch.equal(states[:, 1], ours["resid_post.1"])
    with torch.inference_mode():
        hidden = model.hf(torch.tensor(IDS[:1]), output_hidden_states=True).hidden_states
        assert torch.equal(states[:, 0], hidden[1][0])
        # The last of transformers is normalised, and vLLM's is not.
        assert not torch.equal(states[:, 1], hidden[2][0]) and torch.equal(
            model.hf.model.norm(states[:, 1]), hidden[2][0]
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("newer", [True, False], ids=["with its own reader", "without"])
def test_capture_by_vllm_agrees_with_transformers(folder, engine, monkeypatch, newer):
    if newer:
        from safetensors.torch import load_file

        def load_hidden_states(path):
            assert Path(f"{path}.lock").is_file()
            return load_file(path)

        name = "vllm.distributed.kv_transfer.kv_connector.v1"
        for n in range(1, 5):
            monkeypatch.setitem(sys.modules, name.rsplit(".", 4 - n)[0], ModuleType(name.rsplit(".", 4 - n)[0]))
        module = ModuleType(name)
        module.example_hidden_states_connector = SimpleNamespace(load_hidden_states=load_hidden_states)
        monkeypatch.setitem(sys.modules, name, module)
    model = load_model(str(folder), device="cpu")
    assert resolve_backend("vllm") is capture_vllm
    backends_of = capture(model, IDS, [0, 1], PLACES, batch=1)
    found = capture_vllm(model, IDS, [1, 0], PLACES)
    assert list(found) == ["resid_post.0", "resid_post.1"]
    for key, rows in found.items():
        assert rows.shape == (5, 32) and torch.equal(rows, backends_of[key])
    capture_vllm(model, IDS, [0, 1], PLACES)
    assert len(ENGINES) == 1, "the engine is kept for the next pass"
    assert capture_vllm(model, IDS, [1], PLACES)["resid_post.1"].equal(found["resid_post.1"])
    assert len(ENGINES) == 2
    storage = Path(ENGINES[-1].kv_transfer_config["kv_connector_extra_config"]["shared_storage_path"])
    assert not list(storage.iterdir())
    assert all(p.max_tokens == 1 for p in ENGINES[0].asked)
    assert capture_vllm(model, IDS, [0], [[], [], []])["resid_post.0"].shape == (0, 32)


def test_the_stage_captures_by_vllm_and_checks_it(tmp_path, config, folder, engine, monkeypatch):
    run, _ = traces(tmp_path, replace(config, engine="transformers"), "run")
    asked = CaptureConfig(model=str(folder), layers=(0, 1), at=("every:4",), device="cpu", self_check=1.0, dtype="fp32")
    plain = capture_states(run, asked)
    fast = capture_states(run, replace(asked, backend="vllm", name="fast"))
    assert (fast.rows, fast.labels, fast.checked) == (plain.rows, plain.labels, 8) and fast.check_error < 1e-3
    # Wrong states do not get past the stage: here layer ids that are one off.
    real = write_states
    monkeypatch.setattr(
        sys.modules[__name__], "write_states", lambda path, hf, ids, at: real(path, hf, ids, [k - 1 for k in at])
    )
    with pytest.raises(UserError, match="self-check failed"):
        capture_states(run, replace(asked, backend="vllm", name="wrong"))


def test_files_and_sites_that_do_not_fit_are_refused(tmp_path, folder, engine, monkeypatch):
    from safetensors.torch import save_file

    model = load_model(str(folder), device="cpu")
    path = tmp_path / "a.safetensors"
    states = torch.randn(3, 2, 32)
    for change, hint in (
        ({"token_ids": torch.tensor([1, 2])}, "of 2 tokens, not of the 3"),
        ({"hidden_states": states[:, :1].contiguous()}, "cannot give all of these layers"),
        ({"hidden_states": states * torch.tensor([1.0, 0, 1])[:, None, None]}, "states of zeros"),
    ):
        save_file({"hidden_states": states, "token_ids": torch.tensor([1, 2, 3])} | change, path)
        with pytest.raises(UserError, match=hint):
            read_states(path, [1, 2, 3], 2, 32)
    for site in backends.SITES[1:]:
        with pytest.raises(UserError, match="resid_post only"):
            capture_vllm(model, IDS, [0], PLACES, site)
    with pytest.raises(UserError, match="layer 2 does not exist"):
        capture_vllm(model, IDS, [2], PLACES)
    with pytest.raises(UserError, match="needs one for a new token"):
        capture_vllm(model, [[1] * 512], [0], [[0]])
    monkeypatch.setattr(LLM, "_one", lambda *a: SimpleNamespace(kv_transfer_params=None))
    with pytest.raises(UserError, match="no extract_hidden_states"):
        capture_vllm(model, IDS, [0], PLACES)


def test_the_stand_in_knows_only_what_vllm_documents(engine):
    assert asdict(SamplingParams())["seed"] is None
    with pytest.raises(TypeError):
        SamplingParams(loop_tokens=3)
