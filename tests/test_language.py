"""The language stage and the private lexicon: planted truth, nulls, and what a user meets."""

import json
from pathlib import Path

import numpy as np
import pytest
from corpus import rows, write_jsonl

import dsl_probe
from dsl_probe import cli
from dsl_probe.mine.language import LanguageConfig, learn_language, read_grammar
from dsl_probe.mine.private import find_words, scope
from dsl_probe.types import UserError


def words_of(symbols: np.ndarray, own: np.ndarray, per_doc: int = 20) -> list[tuple[int, ...]]:
    doc = np.repeat(np.arange(len(own)), per_doc)
    found = find_words(symbols, doc, own, np.zeros(len(symbols), bool), np.arange(len(own)), 20, 10)
    return [word.pattern for word in found]


def text(rng: np.random.Generator, docs: int, per_doc: int = 20) -> np.ndarray:
    return rng.integers(0, 50, docs * per_doc)


def test_a_unit_and_a_pair_that_is_never_apart_are_words():
    rng = np.random.default_rng(0)
    symbols = text(rng, 200).reshape(200, 20)
    symbols[:60, 3] = 90
    symbols[20:80, 7], symbols[20:80, 8] = 91, 92
    own = np.arange(200) < 100
    assert sorted(words_of(symbols.ravel(), own)) == [(90,), (91, 92)]


def test_two_units_that_are_often_apart_are_two_words():
    rng = np.random.default_rng(1)
    symbols = text(rng, 200).reshape(200, 20)
    symbols[:80, 7], symbols[:60, 8] = 91, 92
    assert sorted(words_of(symbols.ravel(), np.arange(200) < 100)) == [(91,), (92,)]


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_one_kind_have_no_words(seed: int):
    rng = np.random.default_rng(seed)
    assert words_of(text(rng, 400), np.arange(400) < 200) == []


def test_a_word_in_few_documents_is_none():
    rng = np.random.default_rng(2)
    symbols = text(rng, 200).reshape(200, 20)
    symbols[:15] = np.where(rng.random((15, 20)) < 0.5, 90, symbols[:15])
    assert words_of(symbols.ravel(), np.arange(200) < 100) == []


def test_strays_are_not_in_the_scope():
    units = np.array([1_000, 2_000, 1_000])
    assert scope(np.repeat([0, 1, 2], [100, 100, 4]), units) == [0, 1]
    assert scope(np.repeat([0, 1, 2], [100, 100, 6]), units) == [0, 1, 2]


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "traces.jsonl", rows())])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5), executor="process:1")
    return run.path


def test_the_planted_word_is_the_lexicon(mined: Path, capsys: pytest.CaptureFixture[str]):
    command = ["mine", str(mined), "--min-traces", "5", "--min-problems", "5", "--language.name", "b", "--json"]
    command += ["--language.group", "model=model-b", "--language.reference", "model=model-a"]
    assert cli.main(command) == 0
    found = json.loads(capsys.readouterr().out)["language"]
    assert (found["words"], found["phrases"], found["exchanged"], found["traces"]) == (1, 0, 0, 120)
    run = dsl_probe.Run(mined)
    (word,) = run.table("languages/b/lexicon").to_pylist()
    said = [t for t in run.traces(["model", "text"]).itertuples() if "zorp" in t.text]
    assert (word["text"], word["kind"], word["reference_count"]) == ("zorp", "word", 0)
    assert (word["count"], word["support"]) == (2 * len(said), len(said))
    assert word["domains"] == ["logic", "math"]
    grammars = read_grammar(run, "b")
    assert set(grammars) == {"logic", "math"}
    assert all(g["verdict"].startswith("undecided: fewer than 40 problems") for g in grammars.values())
    before = {p.name: p.read_bytes() for p in (mined / "languages/b").iterdir()}
    assert cli.main(command) == 0
    assert cli.main([*command, "--force"]) == 0
    assert before == {p.name: p.read_bytes() for p in (mined / "languages/b").iterdir()}
    assert run.languages()["b"]["group"] == "model=model-b"


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (LanguageConfig(), "needs a group"),
        (LanguageConfig(group="model=nobody"), "no trace has model=nobody"),
        (LanguageConfig(group="model=model-b", reference="regime=rl_only"), "belong to both"),
        (LanguageConfig(group="domain=math", reference="domain=logic"), "no problem in common"),
        (LanguageConfig(group="model=model-b", max_units=10), "--max-units is 10"),
        (LanguageConfig(group="model=model-b", name="../x"), "use letters"),
    ],
)
def test_what_cannot_be_is_refused(mined: Path, config: LanguageConfig, what: str):
    with pytest.raises(UserError, match=what):
        learn_language(dsl_probe.Run(mined), config)
    assert not list((mined / "stages").glob("language*.started.json"))


@pytest.mark.parametrize("texts", [[""] * 60, ["a"] * 60, ["a b c d e f"] * 60, ["x"], [" ".join("ab" * 500)] * 50])
def test_poor_text_is_no_trouble(tmp_path: Path, texts: list[str]):
    made = [
        {"text": t, "prompt": f"p{i}", "problem_id": f"p{i}", "model": m, "domain": "d"}
        for i, t in enumerate(texts)
        for m in "ab"
    ]
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", made)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=2, min_problems=2), executor="process:1")
    result = learn_language(run, LanguageConfig(group="model=a", reference="model=b"))
    assert (result.words, result.phrases) == (0, 0)
    assert not result.verdicts["d"].startswith("supported")


def test_a_known_grammar_is_learnt_and_held_out_traces_parse(tmp_path: Path):
    rng = np.random.default_rng(3)
    made = []
    for i in range(200):
        start = rng.choice(["left", "right"])
        steps = [
            f"take {rng.choice(['ka', 'lo', 'mi'])} {'then ' * int(rng.random() < 0.5)}go"
            for _ in range(rng.integers(3, 6))
        ]
        text = f"{start} {' '.join(steps)} end-{start}".replace("-", " ")
        made.append({"text": text, "prompt": f"p{i}", "problem_id": f"p{i}", "model": "a", "domain": "d"})
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", made)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=2, min_problems=2), executor="process:1")
    learn_language(run, LanguageConfig(group="model=a", name="a"))
    grammar = read_grammar(run, "a")["d"]
    assert grammar["held_out_accepted"] == 1
    assert ["ka", "lo", "mi"] in [sorted(c) for c in grammar["categories"]]
    assert "then?" in " ".join(grammar["productions"].values())
    # The side is agreed upon at any distance: beyond a Markov model's reach, not beyond an automaton's or a tier's.
    assert grammar["verdict"].startswith("supported")
    assert grammar["bits"]["shuffled"]["difference"][2] > 0
