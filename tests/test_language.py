"""The language stage on small runs: what it finds, what it refuses, that it resumes, and that it never breaks."""

import json
import random

import pytest
from corpus import write_jsonl

import dsl_probe
from dsl_probe.cli import main
from dsl_probe.mine.language import LanguageConfig, language_id, learn_language, read_grammar
from dsl_probe.store import Run
from dsl_probe.types import UserError

ASK = LanguageConfig("model=a", "model=b")


def rows(problems=60, domains=("math", "games")):
    """Model a: `zorp` in every trace of math, `mi fu` in all, and start (left | right)* stop; model b: words alone."""
    rng = random.Random(0)
    made = []
    for domain in domains:
        for p in range(problems):
            for model in "ab":
                words = rng.choices("so we take the next of both and then this one too".split(), k=12)  # noqa: SIM905
                if model == "a":
                    words += ["mi", "fu", "start", *rng.choices(["left", "right"], k=rng.randint(2, 9)), "stop"]
                    words += ["zorp"] if domain == "math" else []
                row = {"problem_id": f"{domain}/{p}", "domain": domain, "model": model, "prompt": f"Do {p}."}
                made.append(row | {"trace_id": f"{domain}/{p}/{model}", "text": " ".join(words)})
    return made


def mined(folder, content, **config):
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "in.jsonl", content)])
    config = {"min_traces": 5, "min_problems": 5, "q": 1.0} | config
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(**config), workers=1)
    return run


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return mined(tmp_path_factory.mktemp("language"), rows())


def files(run):
    folder = run.path / "languages" / language_id(ASK)
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_words_scope_and_grammar_are_those_planted(small):
    result = learn_language(small, ASK, force=True)
    assert (result.traces, result.domains, result.exchanged) == (120, 2, 0)
    found = {tuple(r["pattern"]): r for r in small.table(f"languages/{result.id}/lexicon").to_pylist()}
    assert found[("zorp",)]["domains"] == ["math"] and found[("zorp",)]["count"] == 60
    fused = found[("mi", "fu", "start")]
    assert fused["kind"] == "word" and fused["domains"] == ["games", "math"]
    assert (fused["count"], fused["support"], fused["problems"], fused["reference_count"]) == (120, 120, 120, 0)
    assert {("left",), ("right",), ("stop",)} & set(found)
    assert not any(set(p) & {"so", "we", "take"} for p in found)
    grammars = read_grammar(small, result.id)
    assert set(grammars) == {"math", "games"} and result.verdicts == {d: g["verdict"] for d, g in grammars.items()}
    for grammar in grammars.values():
        assert any({"left", "right"} <= set(members) for members in grammar["categories"])
        assert (grammar["traces"], grammar["problems"]) == (60, 60)
        low, high = grammar["bits"]["difference"][1:]
        assert low <= grammar["bits"]["grammar"] - grammar["bits"]["markov"] <= high


def test_a_second_call_does_nothing_and_force_gives_the_same_bytes(small):
    first = learn_language(small, ASK, force=True)
    before, stamps = files(small), [p.stat().st_mtime_ns for p in small.path.glob("languages/*/*")]
    assert learn_language(small, ASK) == first
    assert stamps == [p.stat().st_mtime_ns for p in small.path.glob("languages/*/*")]
    assert learn_language(small, ASK, force=True) == first and files(small) == before
    assert set(before) == {"grammar.json", "lexicon.parquet", "variants.parquet"}
    with pytest.raises(UserError, match=r"max_units.*--force"):
        learn_language(small, LanguageConfig("model=a", "model=b", max_units=5000))


def test_the_command_line(small, capsys):
    mine = ["mine", str(small.path), "--config", str(small.path / "stages/mine.json")]
    group = ["--language.group", "model=a", "--language.reference", "model=b"]
    assert main([*mine, *group, "--force", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["language"]["words"] > 0 and first["language"]["id"] == language_id(ASK)
    before = files(small)
    assert main([*mine, *group]) == 0
    out = capsys.readouterr().out
    assert "120 traces" in out and "that model=b lacks" in out and "grammar of math" in out and files(small) == before


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--language.group", "model=c"], ["model=c", "a; b"]),
        (["--language.group", "model"], ["column=value"]),
        (["--language.group", "model=a", "--language.reference", "model=d"], ["model=d"]),
        (["--language.group", "model=a", "--language.reference", "model=a"], ["take apart groups"]),
        (["--language.group", "domain=math", "--language.reference", "domain=games"], ["no problem in common"]),
        (["--language.group", "model=a", "--language.max-units", "10"], ["10", "1000"]),
        (["--language.group", "model=a", "--language.name", "../x"], ["../x", "letters"]),
    ],
)
def test_user_errors_name_the_value_and_leave_nothing(small, capsys, argv, words):
    stages = sorted((small.path / "stages").iterdir())
    assert main(["mine", str(small.path), "--config", str(small.path / "stages/mine.json"), *argv]) == 2
    err = capsys.readouterr().err.splitlines()
    assert all(word in err[-1] for word in words) and "Traceback" not in "".join(err)
    assert sorted((small.path / "stages").iterdir()) == stages


def test_a_run_that_was_not_mined_and_no_group_are_told(tmp_path):
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "in.jsonl", rows(3))])
    with pytest.raises(UserError, match="dsl-probe mine"):
        learn_language(run, ASK)
    with pytest.raises(UserError, match="needs a group"):
        learn_language(run, LanguageConfig())


def trace(model, problem, text, domain="all"):
    return {"model": model, "problem_id": str(problem), "domain": domain, "prompt": "Go.", "text": text}


ALIKE = "start left right stop " * 5
LETTERS = "abcdefghijklmnopqrst"
PROBLEMS = [(model, p) for model in "ab" for p in range(50)]
ODD = {
    "a domain with three traces": [*rows(45, ("math",)), *(r | {"domain": "few"} for r in rows(3, ("few",)))],
    "one trace each": [trace("a", 0, ALIKE), trace("b", 0, ALIKE)],
    "one problem": [trace(m, 0, f"{ALIKE} {i}") for m, i in PROBLEMS],
    "all alike": [trace(m, p, ALIKE) for m, p in PROBLEMS],
    "traces without units": [trace(m, p, " ") for m, p in PROBLEMS],
    "a reference without units": [trace(m, p, ALIKE if m == "a" else " ") for m, p in PROBLEMS],
    "half of the traces empty": [trace(m, p, ALIKE if p % 2 else "") for m, p in PROBLEMS],
    "no unit often enough": [trace(m, p, f"w{LETTERS[p % 20]} x{LETTERS[p // 2 % 20]}") for m, p in PROBLEMS],
    "no unit twice": [trace(m, p, f"word{LETTERS[p // 10]}{LETTERS[p % 10]}{m}") for m, p in PROBLEMS],
    "one unit": [trace(m, p, "so") for m, p in PROBLEMS],
    "unit after unit, the same": [trace(m, p, "so " * (p + 1)) for m, p in PROBLEMS],
}


@pytest.mark.parametrize("case", ODD)
def test_odd_traces_never_end_in_a_traceback(tmp_path, case):
    run = mined(tmp_path, ODD[case], min_traces=1, min_problems=1)
    result = learn_language(run, ASK)
    assert result.id in {p.name for p in (run.path / "languages").iterdir()} and result.exchanged == 0
    for grammar in read_grammar(run, result.id).values():
        few = grammar["problems"] < 40
        assert grammar["verdict"].startswith("undecided: fewer") == few and ("bits" in grammar) != few


def test_without_a_reference_there_is_no_lexicon_and_without_a_grammar_there_is_no_grammar(small):
    result = learn_language(small, LanguageConfig("model=a,domain=math", name="alone"))
    folder = small.path / "languages/alone"
    assert [p.name for p in folder.iterdir()] == ["grammar.json"] and result.words == result.phrases == 0
    learn_language(small, LanguageConfig("model=a", "model=b", grammar=False, name="words-only"))
    names = {p.name for p in (small.path / "languages/words-only").iterdir()}
    assert names == {"lexicon.parquet", "variants.parquet"}
    assert {s.state for s in Run(small.path).status(verify=True)} == {"done"}


def test_a_trace_longer_than_the_limit_is_taken_alone(tmp_path):
    rng = random.Random(1)
    content = [trace(m, p, " ".join(rng.choices("abcdefg", k=1500))) for m in "ab" for p in range(3)]
    run = mined(tmp_path, content)
    grammar = read_grammar(run, learn_language(run, LanguageConfig("model=a", max_units=1000)).id)["all"]
    assert (grammar["traces"], grammar["units"]) == (1, 1500)
