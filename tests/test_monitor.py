"""The monitor of a training step: a planted word is named, nothing against itself, and the figures by hand."""

import json

import numpy as np
import pytest

import dsl_probe
from dsl_probe.share.monitor import monitor
from dsl_probe.types import UserError

WORDS = "so the next part is to add both and then see what holds here".split()  # noqa: SIM905


def texts(n: int, seed: int, word: str = "", share: float = 0.0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join([*rng.choice(WORDS, 30), *([word] * (rng.random() < share))]) for _ in range(n)]


def test_a_planted_word_is_named_and_counted():
    held = texts(100, 0, "zorp", 0.5)
    found = monitor(held, texts(100, 1), step=7)
    (word,) = found.words
    assert (word.text, word.base_uses, found.chance, found.step) == ("zorp", 0, 0, 7)
    assert word.uses == word.traces == sum("zorp" in t for t in held)
    assert found.novelty.value == pytest.approx(np.mean([t.split().count("zorp") / len(t.split()) for t in held]))
    assert found.novelty.low < found.novelty.value < found.novelty.high
    assert json.loads(json.dumps(found.as_dict()))["novelty"]["value"] == found.novelty.value


@pytest.mark.parametrize("seed", range(4))
def test_a_model_beside_itself_has_no_words(seed: int):
    found = monitor(texts(200, seed), texts(200, 100 + seed))
    assert found.words == () and found.novelty.value == 0 and found.turnover is None


def test_opener_turnover_and_scripts():
    base = texts(60, 0)
    first = monitor(["zorp quil is here"] * 40, base)
    second = monitor(["zorp blee is here"] * 30 + ["и так далее"] * 10, base, previous=first)
    assert (first.opener, first.top_opener.value) == ("zorp quil is", 1.0)
    assert (second.opener, second.top_opener.value) == ("zorp blee is", 0.75)
    now, then = ({w.text for w in m.words} for m in (second, first))
    assert second.turnover == pytest.approx(1 - len(now & then) / len(now | then))
    assert first.script_mix.value == 0 and second.repetition.value == 0


def test_problems_are_the_clusters():
    held, base = texts(100, 0, "zorp", 0.5), texts(100, 1)
    many = monitor(held, base, problems=[str(i // 10) for i in range(100)], min_problems=10)
    assert [w.text for w in many.words] == ["zorp"] and many.problems == 10
    assert monitor(held, base, problems=[str(i // 20) for i in range(100)], min_problems=10).words == ()


def test_nothing_to_watch_is_refused():
    with pytest.raises(UserError, match="it was given 0 and 1"):
        monitor([], ["a"])
    with pytest.raises(UserError, match="problems has 1"):
        monitor(["a", "b"], ["a"], problems=["p"])
    with pytest.raises(UserError, match="none of the traces' problems"):
        monitor(["a"], ["a"], problems=["p"], base_problems=["q"])
    assert dsl_probe.monitor is monitor
