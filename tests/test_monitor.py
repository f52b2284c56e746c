"""The monitor of a training step: a planted word is named, nothing against itself, and the figures by hand."""

import numpy as np
import pytest

import dsl_probe
from dsl_probe.share.monitor import monitor

WORDS = "so the next part is to add both and then see what holds here".split()  # noqa: SIM905


def texts(n: int, seed: int, word: str = "", share: float = 0.0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join([*rng.choice(WORDS, 30), *([word] * (rng.random() < share))]) for _ in range(n)]


def test_a_planted_word_is_named_and_counted():
    found = monitor(texts(100, 0, "zorp", 0.5), texts(100, 1))
    assert found.words == ("zorp",)
    held = [t.split().count("zorp") / len(t.split()) for t in texts(100, 0, "zorp", 0.5)]
    assert found.novelty[0] == pytest.approx(np.mean(held))
    assert found.novelty[1] < found.novelty[0] < found.novelty[2]
    assert found.as_dict()["words"] == 1 and found.as_dict()["novelty_low"] == found.novelty[1]


@pytest.mark.parametrize("seed", range(4))
def test_a_model_beside_itself_has_no_words(seed: int):
    found = monitor(texts(200, seed), texts(200, 100 + seed))
    assert found.words == () and found.novelty == (0.0, 0.0, 0.0) and np.isnan(found.turnover)


def test_opener_turnover_and_scripts():
    base = texts(60, 0)
    first = monitor(["zorp quil is here"] * 40, base)
    second = monitor(["zorp blee is here"] * 30 + ["и так далее"] * 10, base, previous=first, min_traces=10)
    assert (first.opener, first.opener_share) == ("zorp quil is", 1.0)
    assert (second.opener, second.opener_share) == ("zorp blee is", 0.75)
    now, then = set(second.words), set(first.words)
    assert second.turnover == pytest.approx(1 - len(now & then) / len(now | then))
    assert first.script_mix[0] == 0 and second.repetition[0] == 0


def test_problems_are_the_clusters():
    held = texts(100, 0, "zorp", 0.5)
    few = monitor(held, texts(100, 1), problems=[i // 10 for i in range(100)] + list(range(100, 200)))
    assert few.words == ("zorp",)
    assert monitor(held, texts(100, 1), problems=[i // 20 for i in range(100)] + list(range(100, 200))).words == ()


def test_nothing_to_watch_is_refused():
    with pytest.raises(ValueError, match="both sides"):
        monitor([], ["a"])
    with pytest.raises(ValueError, match="problems has 1"):
        monitor(["a"], ["a"], problems=["p"])
    assert dsl_probe.monitor is monitor
