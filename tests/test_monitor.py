"""The monitor: planted words, silence against itself, intervals by problem, and its TRL callback."""

import json
import random

import numpy as np
import pytest
from corpus import WORDS

import dsl_probe
from dsl_probe.share.legibility import legibility
from dsl_probe.share.means import mean_interval


def texts(n: int, seed: int, nonce: str = "", share: float = 0.3, length: int = 60) -> list[str]:
    """Random words; a share of the texts says the nonce twice."""
    rng, made = random.Random(seed), []
    for _ in range(n):
        words = rng.choices(WORDS, k=length)
        if nonce and rng.random() < share:
            words[10] = words[30] = nonce
        made.append("<think> " + " ".join(words) + " </think> 12")
    return made


def test_a_planted_word_is_seen_with_its_share():
    traces = texts(200, 0, "zorp")
    found = dsl_probe.monitor(traces, texts(200, 1), step=7, problems=[f"p{i % 50}" for i in range(200)])
    assert [w.text for w in found.words] == ["zorp"] and found.step == 7
    assert found.words[0].p_adj == 0.01
    word, held = found.words[0], ["zorp" in t for t in traces]
    assert word.traces == sum(held) and word.uses == 2 * sum(held) and word.base_uses == 0
    assert word.share.value == pytest.approx(np.mean(held)) and word.share.low < 0.3 < word.share.high
    assert found.novelty.value == pytest.approx(2 * sum(held) / (200 * 60)) and found.novelty.problems == 50
    assert word.problems == len({i % 50 for i in range(200) if held[i]})


def test_nothing_is_new_against_itself_or_the_same_process():
    same = texts(200, 0)
    found = dsl_probe.monitor(same, same)
    assert found.words == () and found.novelty.value == 0 and found.turnover is None
    assert sum(len(dsl_probe.monitor(texts(100, s), texts(100, s + 99)).words) for s in range(10)) == 0


def test_bursts_of_the_same_process_are_no_new_words():
    """Each text repeats two topic words of its own, as real texts do; G2 alone takes them for words of one side."""
    topics, alarms = [f"topic{i}" for i in range(60)], 0

    def bursty(rng: random.Random) -> str:
        return " ".join(rng.choices(WORDS, k=40) + rng.sample(topics, 2) * 12)

    for seed in range(20):
        rng = random.Random(seed)
        alarms += bool(dsl_probe.monitor([bursty(rng) for _ in range(100)], [bursty(rng) for _ in range(100)]).words)
    # The 99.9 % point of Binomial(20, .05).
    assert alarms <= 5


def test_turnover_is_the_jaccard_distance_of_the_new_words():
    base = texts(200, 9)
    first = dsl_probe.monitor(texts(200, 0, "zorp"), base)
    both = [a + " blef blef" if i % 2 else a for i, a in enumerate(texts(200, 1, "zorp"))]
    second = dsl_probe.monitor(both, base, previous=first)
    assert {w.text for w in second.words} == {"zorp", "blef"} or {w.text for w in second.words} == {"zorp", "blef blef"}
    assert second.turnover == 0.5
    assert dsl_probe.monitor(texts(200, 2, "zorp"), base, previous=first).turnover == 0
    assert dsl_probe.monitor(texts(200, 2, "glap"), base, previous=first).turnover == 1


def test_figures_are_those_of_legibility_by_problem():
    traces = ["add the 因此 done", "so we add and add " * 20, "one two three"] * 4
    found = dsl_probe.monitor(traces, ["so we add"])
    own = legibility(traces)
    for name in ("script_mix", "switches", "repetition"):
        assert getattr(found, name) == mean_interval(getattr(own, name))


def test_the_opener_is_counted_over_all_traces():
    found = dsl_probe.monitor(["<think> now we begin a"] * 6 + ["so it is b"] * 3 + ["<think>"], ["x"])
    assert found.opener == "now we begin" and found.top_opener.value == 0.6
    assert found.top_opener.low < 0.6 < found.top_opener.high
    assert dsl_probe.monitor(["a"], ["b"]).opener == ""


def test_words_are_sought_on_problems_of_both():
    # The topic of problem q stands in the base's texts on q only.
    traces = texts(60, 0) + texts(60, 1, "knight", share=1)
    ids = ["p"] * 60 + [f"q{i % 6}" for i in range(60)]
    base, base_ids = texts(60, 2) + texts(60, 3, "knight", share=1), ["p"] * 60 + [f"q{i % 6}" for i in range(60)]
    assert dsl_probe.monitor(traces, base[:60], problems=ids).words[0].text == "knight"
    assert dsl_probe.monitor(traces, base, problems=ids, base_problems=base_ids).words == ()
    # Without base texts on q, its traces cannot be compared.
    assert dsl_probe.monitor(traces, base[:60], problems=ids, base_problems=base_ids[:60]).words == ()


def test_domains_tell_where_a_word_is_used():
    traces, domains = texts(80, 0) + texts(80, 1, "zorp", share=1), ["math"] * 80 + ["logic"] * 80
    assert dsl_probe.monitor(traces, texts(160, 2), domains=domains).words[0].domains == ("logic",)


def test_as_dict_is_json():
    content = dsl_probe.monitor(texts(60, 0, "zorp", share=1), texts(60, 1)).as_dict()
    again = json.loads(json.dumps(content, allow_nan=False))
    assert again["words"][0]["text"] == "zorp" and again["novelty"]["problems"] == 60 and again["step"] is None
    json.dumps(dsl_probe.monitor([""], ["", "\ud800"]).as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"traces": []}, "given 0 and 1"),
        ({"base": []}, "given 1 and 0"),
        ({"problems": ["p", "q"]}, "problems has 2 entries for 1"),
        ({"problems": ["p"], "base_problems": ["q"]}, "none of the traces' problems"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, message):
    with pytest.raises(dsl_probe.UserError, match=message):
        dsl_probe.monitor(**({"traces": ["a"], "base": ["b"]} | given))


def test_the_callback_logs_what_the_reward_saw(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(__import__("conftest").REPOSITORY / "experiments" / "monitor"))
    from types import SimpleNamespace

    from callback import Monitoring

    def length(prompts, completions, **_):
        return [float(len(c)) for c in completions]

    monitoring, metrics = Monitoring(texts(60, 1), tmp_path / "log.jsonl", every=2), {}
    watched = monitoring.watch(length)
    assert watched.__name__ == "length"
    for step in (1, 2, 3):
        said = [[{"role": "assistant", "content": t}] for t in texts(60, step, "zorp", share=1)]
        prompts = [[{"role": "user", "content": f"p{i % 20}"}] for i in range(60)]
        assert len(watched(prompts=prompts, completions=said, log_metric=metrics.__setitem__)) == 60
        monitoring.on_step_end(None, SimpleNamespace(global_step=step, is_world_process_zero=True), None)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2] and lines[0]["traces"] == 120 and lines[0]["problems"] == 20
    assert metrics["monitor/new_words"] == 1 and metrics["monitor/novelty"] == pytest.approx(2 / 60)
