"""The mine stage against a brute-force miner that knows nothing of suffix arrays."""

import itertools
import random
from collections import defaultdict

import numpy as np
import pytest
from altered import record_anew
from corpus import rows, write_jsonl

import dsl_probe
from dsl_probe.mine.corpus import read_steps
from dsl_probe.mine.stage import MineConfig, mine_motifs, motif_id
from dsl_probe.types import UserError


def make(tmp_path, content, **config):
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "in.jsonl", content)])
    return run, mine_motifs(run, MineConfig(**{"min_traces": 2, "min_problems": 2, **config}), executor="process:1")


def brute_force(texts: list[list[str]], max_length: int) -> dict[tuple, tuple]:
    """Closed sequences with (non-overlapping count, traces): every n-gram, then every one-unit extension of it."""
    positions = defaultdict(list)
    for d, text in enumerate(texts):
        for i in range(len(text)):
            for j in range(i + 1, min(i + max_length, len(text)) + 1):
                positions[tuple(text[i:j])].append((d, i))
    found = {}
    for gram, where in positions.items():
        n = len(gram)
        left = {texts[d][i - 1] if i else (d, i) for d, i in where}
        right = {texts[d][i + n] if i + n < len(texts[d]) else (d, -1) for d, i in where}
        if len(where) < 2 or len(left) == 1 or len(right) == 1:
            continue
        count, last = 0, (-1, 0)
        for d, i in sorted(where):
            if d != last[0] or i >= last[1]:
                count, last = count + 1, (d, i + n)
        found[gram] = (count, len({d for d, _ in where}))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_motifs_counts_and_occurrences_equal_brute_force(tmp_path, seed):
    rng = random.Random(seed)
    texts = [rng.choices("abcd"[: rng.randint(1, 4)], k=rng.randint(0, 25)) for _ in range(12)]
    content = [{"text": " ".join(t), "problem_id": f"p{i // 2}", "model": f"m{i % 2}"} for i, t in enumerate(texts)]
    run, result = make(tmp_path, content, min_problems=1, max_length=50)
    want = {g: v for g, v in brute_force(texts, 50).items() if v[1] >= 2}
    motifs = run.frame("motifs")
    got = {tuple(m.pattern): (m["count"], m.support) for _, m in motifs.iterrows()}
    assert got == want and result.motifs == len(want)
    assert (motifs.problems <= motifs.support).all() and motifs.motif_id.is_monotonic_increasing
    occurrences = run.frame("occurrences").merge(motifs, on="motif_id")
    for _, o in occurrences.iterrows():
        assert texts[o.trace_row][o.start : o.stop] == list(o.pattern)
    counts = run.frame("counts").groupby("motif_id")[["count", "support"]].sum()
    assert counts["count"].to_dict() == dict(zip(motifs.motif_id, motifs["count"], strict=True))
    assert counts.support.to_dict() == dict(zip(motifs.motif_id, motifs.support, strict=True))


def test_problems_are_counted_once_in_each_cell_and_overall(tmp_path):
    content = [
        {"text": "zorp alone", "problem_id": p, "model": m, "sample": s}
        for p in ("p1", "p2", "p3")
        for m in ("a", "b")
        for s in (0, 1)
    ]
    run, _ = make(tmp_path, content)
    motif = run.frame("motifs").iloc[0]
    assert (motif.text, motif["count"], motif.support, motif.problems) == ("zorp alone", 12, 12, 3)
    counts = run.frame("counts")
    assert counts.problems.tolist() == [3, 3] and counts.units.tolist() == [12, 12]


def test_echoes_prefixes_and_format_tags_are_apart(tmp_path):
    prompt = "how many red apples does the farmer still have today"
    content = [
        {
            "text": f"<think> how many red apples does the farmer still have today ? so zorp{' x' * i}",
            "prompt": prompt,
            "problem_id": f"p{i}",
            "prefix": "<think>",
        }
        for i in range(6)
    ]
    run, result = make(tmp_path, content)
    texts = set(run.frame("motifs").text)
    assert any("zorp" in t for t in texts) and not any(t in prompt for t in texts)
    assert result.echo_units == 6 * 10
    m = run.frame("motifs").set_index("text")
    whole = next(t for t in m.index if t.startswith("<think>"))
    assert m.loc[whole, "format"] and not m.loc["x", "format"]
    assert run.frame("occurrences").echo.sum() == 0
    # Without prompts nothing is known of echoes, and it is said.
    _run2, unknown = make(tmp_path / "b", [{k: v for k, v in r.items() if k != "prompt"} for r in content])
    assert unknown.echo_units == 0 and unknown.prompt_unknown == 6


def test_numbers_are_a_slot_unless_asked(tmp_path):
    content = [{"text": f"add {i} now", "problem_id": f"p{i}"} for i in range(5)]
    assert "add <NUM> now" in set(make(tmp_path, content)[0].frame("motifs").text)
    assert set(make(tmp_path / "b", content, slots=())[0].frame("motifs").text) == {"add", "now"}


def test_formulas_are_one_unit_where_that_is_asked_and_a_step_holds_them_whole_anyhow(tmp_path):
    content = [
        {"text": f"so $x = {i}. Y$ holds. Then `f({i})` <answer> $z$ </answer>", "problem_id": f"p{i}"}
        for i in range(5)
    ]
    run, _ = make(tmp_path, content)
    whole, _ = make(tmp_path / "b", content, slots=("NUM", "MATH", "CODE"))
    for of, slots in ((run, False), (whole, True)):
        units, vocabulary = of.table("units/00000"), of.frame("vocabulary")
        for text, row in zip(content, units.to_pylist(), strict=True):
            starts = [text["text"][row["starts"][s] :].split()[0] for s in row["steps"]]
            assert starts == ["so", "Then", "<answer>"] and len(row["flags"]) == len(row["ids"])
        assert ("math" in set(vocabulary.kind)) == ("code" in set(vocabulary.kind)) == slots
    motifs = set(whole.frame("motifs").text)
    assert "so <MATH> holds . then <CODE> <answer> <MATH> </answer>" in motifs
    assert "so $ x = <NUM> . y $ holds . then ` f ( <NUM> ) ` <answer> $ z $ </answer>" in set(run.frame("motifs").text)


def test_steps_are_read_and_a_run_without_them_says_what_to_do(tmp_path):
    run, _ = make(tmp_path, [{"text": t} for t in ("So x. Then\ny", "", "one")])
    steps, bounds = read_steps(run)
    assert steps.tolist() == [0, 3, 4, 0] and bounds.tolist() == [0, 3, 3, 4]
    run.write_shard("units", 0, run.table("units/00000").drop_columns(["steps"]))
    record_anew(run, "mine")
    with pytest.raises(UserError, match="mined before steps were kept; run: dsl-probe mine"):
        read_steps(run)


def test_training_runs_are_one_cell(tmp_path):
    content = [{"text": "zorp", "problem_id": f"p{i}", "model": f"ppo step {i}"} for i in range(4)]
    assert set(make(tmp_path, content)[0].frame("counts").model) == {"ppo"}


def test_a_trace_without_a_problem_is_its_own_cluster(tmp_path):
    run, _ = make(tmp_path, [{"text": "zorp"} for _ in range(7)] + [{"text": "", "model": "m"}])
    assert run.frame("motifs").problems.tolist() == [7]


@pytest.mark.parametrize(
    "content",
    [
        [{"text": "alone"}],
        [{"text": ""}, {"text": ""}],
        [{"text": "a b"}, {"text": "c d"}],
    ],
)
def test_little_or_nothing_gives_no_motif_and_no_error(tmp_path, content):
    run, result = make(tmp_path, content)
    assert result.motifs == 0 and len(run.frame("motifs")) == 0 and len(run.frame("occurrences")) == 0


def test_same_bytes_with_one_or_two_workers_and_a_second_call_does_nothing(tmp_path, monkeypatch):
    from dsl_probe.collect import importer

    monkeypatch.setattr(importer, "_SHARD_ROWS", 50)
    content = rows()
    hashes = []
    for workers in (1, 2):
        run = dsl_probe.Run.create(tmp_path / f"w{workers}")
        dsl_probe.import_traces(run, [write_jsonl(tmp_path / "in.jsonl", content)])
        mine_motifs(run, MineConfig(min_traces=5, min_problems=5), executor=f"process:{workers}")
        hashes.append(run.outputs("mine"))
    assert hashes[0] == hashes[1] and len(run.shards("units")) == 5
    assert mine_motifs(run, MineConfig(min_traces=5, min_problems=5)).traces == 240
    with pytest.raises(UserError, match="min_traces was 5, now 6"):
        mine_motifs(run, MineConfig(min_traces=6, min_problems=5))


def test_bad_options_are_named(tmp_path):
    with pytest.raises(UserError, match="--slots 'FOO' is unknown; known are NUM, DATA"):
        make(tmp_path / "s", [{"text": "a"}], slots=("FOO",))
    with pytest.raises(UserError, match="--min-traces is 0; the least is 1"):
        make(tmp_path, [{"text": "a"}], min_traces=0)


def test_motif_id_is_stable():
    assert motif_id("words", ["wait", ","]) == "063a6369ccfb385f" != motif_id("words", ["wait,"])


@pytest.mark.parametrize(
    "texts",
    [
        ["go " * 20_000],
        ["go on " * 10_000],
        ["red blue green " * 500] * 30,
        [""] * 30,
        ["so we have 3 and then 4 ."],
        [" ".join(random.Random(i).choices("abcdefghij", k=100)) for i in range(200)],
    ],
    ids=["one token", "two in turn", "three in turn", "empty", "one trace", "random"],
)
def test_no_lexicon_where_there_is_no_language(tmp_path, texts):
    content = [{"response": text, "prompt": "?", "problem_id": str(i)} for i, text in enumerate(texts)]
    run, result = make(tmp_path, content, min_traces=20, min_problems=10)
    assert result.lexicon == 0 == result.coverage
    assert run.table("lexicon").num_rows == run.table("variants").num_rows == run.table("parse").num_rows == 0


def test_the_parse_covers_what_it_says_and_overlaps_nowhere(tmp_path):
    rng = random.Random(0)
    words = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]
    texts = []
    for _ in range(60):
        parts = [rng.choice(words) if rng.random() < 0.7 else f"we go {rng.choice(words)} back" for _ in range(40)]
        texts.append(" ".join(parts))
    content = [{"response": text, "prompt": "?", "problem_id": str(i)} for i, text in enumerate(texts)]
    run, result = make(tmp_path, content, min_traces=20, min_problems=10)
    lexicon = {row["motif_id"]: row for row in run.table("lexicon").to_pylist()}
    assert [row["pattern"] for row in lexicon.values()] == [["we", "go", "*", "back"]]
    (entry,) = lexicon.values()
    true = sum(text.count("we go ") for text in texts)
    uses = run.table("parse").to_pylist()
    assert entry["count"] == len(uses) == true
    assert np.isclose(result.coverage, 4 * true / result.units)
    assert sum(row["count"] for row in run.table("variants").to_pylist()) == true
    for one, other in itertools.pairwise(uses):
        assert one["trace_row"] < other["trace_row"] or one["stop"] <= other["start"]
