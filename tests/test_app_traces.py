"""The app's page of traces: two side by side, what they share, highlights, underlays, and what can be taken away."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from corpus import rows, write_jsonl
from hostile import MARKDOWN, MARKS, SCRIPT
from pages import fine, table, words

import dsl_probe
from dsl_probe.store import Run

APP = Path(__file__).resolve().parents[1] / "app"


@pytest.fixture(scope="module")
def words_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces with token ids and numbers of their own: one id a word and one that ends the text; hostile words too."""
    folder = tmp_path_factory.mktemp("words")
    known: dict[str, int] = {}
    given = []
    for i, r in enumerate(rows(problems=8)):
        text = " ".join([*r["text"].split()[:12], "<script>alert(1)</script>"])
        ids = [known.setdefault(w, len(known) + 2) for w in text.split()] + [1]
        numbers = {"logprobs": [-0.5 * (k % 4) for k in range(len(ids))], "entropies": [0.25] * len(ids)}
        odd = {"tokenizer": "odd", "token_ids": [*ids[:-3], 1]} if i == 5 else {"tokenizer": "word", "token_ids": ids}
        given.append(r | {"text": text} | numbers | odd)
    run = Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "t.jsonl", given)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    return run.path


def pair_of(run: Run) -> tuple[int, int]:
    """Rows of two traces of one problem, by the two models, both of sample 0."""
    facts = run.traces(["problem_id", "model", "sample"])
    first = facts.index[(facts["model"] == "model-a") & (facts["sample"] == 0)][0]
    same = (facts["problem_id"] == facts["problem_id"][first]) & (facts["model"] == "model-b") & (facts["sample"] == 0)
    return int(first), int(facts.index[same][0])


def units_of(run: Run, row: int) -> dict[str, np.ndarray]:
    """Units of one trace."""
    found = run.shard_rows("units", [row]).to_pylist()[0]
    return {c: np.array(found[c]) for c in ("ids", "starts", "stops", "flags")}


def longest_common(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> int:
    """Units of the longest sequence in both traces without echoes and format, by trying all lengths."""
    best = 0
    for size in range(1, min(len(a["ids"]), len(b["ids"])) + 1):
        grams = [
            {
                tuple(u["ids"][i : i + size])
                for i in range(len(u["ids"]) - size + 1)
                if not u["flags"][i : i + size].any()
            }
            for u in (a, b)
        ]
        if not grams[0] & grams[1]:
            break
        best = size
    return best


# ---- what two traces share


def test_common_sequences_are_those_of_brute_force(module):
    together = module("together")
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.integers(-1, 4, size=rng.integers(1, 30)) for _ in "ab")
        of_a, of_b = together.common(a, b)
        for own, other, found in ((a, b, of_a), (b, a, of_b)):
            held = {
                tuple(other[i:j])
                for i, j in itertools.combinations(range(len(other) + 1), 2)
                if (other[i:j] >= 0).all()
            }
            truth = [
                max((k for k in range(e + 1) if tuple(own[e - k : e]) in held), default=0)
                for e in range(1, len(own) + 1)
            ]
            assert found.tolist() == truth
        spans = together.sequences(of_a, 2)
        inside = {i for i, j in spans for i in range(i, j)}
        assert inside == {i for e, n in enumerate(of_a, 1) if n >= 2 for i in range(e - n, e)}
        kept = together.apart(spans, 2)
        assert all(x[1] <= y[0] for x, y in itertools.pairwise(kept)) and all(j - i >= 2 for i, j in kept)
        assert {i for s in kept for i in range(*s)} <= inside


def test_two_traces_of_a_problem_stand_side_by_side(show, tiny_run: Path):
    run = Run(tiny_run)
    facts = run.traces(["problem_id", "model", "sample", "text"])
    wanted = facts[facts["sample"] == 0].pivot_table(
        index="problem_id", columns="model", values="sample", aggfunc="size"
    )
    longest, first, second = 0, 0, 0
    for problem in wanted.index:
        pair = [facts.index[(facts["problem_id"] == problem) & (facts["model"] == f"model-{m}")][0] for m in "ab"]
        held = longest_common(*(units_of(run, r) for r in pair))
        if held > longest:
            longest, first, second = held, *pair
    assert longest >= 3
    at = show("traces", tiny_run, trace=first, beside="model-b")
    assert fine(at)
    assert f"trace {first} " in words(at) and f"trace {second} " in words(at)
    found = table(at, "units")
    assert found["units"].max() == longest and found["units"].is_monotonic_decreasing and found["units"].min() >= 3
    for line in found.itertuples():
        assert line.text in facts["text"][first] and line.left >= 1 and line.right >= 1


def test_motifs_in_both_are_counted_from_the_parse(show, tiny_run: Path):
    run = Run(tiny_run)
    first, second = pair_of(run)
    at = show("traces", tiny_run, trace=first, beside="model-b")
    control = next(w for w in at.get("button_group") if w.label == "Highlight")
    assert "shared motifs" in control.options
    control.set_value("shared motifs").run()
    assert fine(at)
    found = table(at, "in both")
    parse = run.frame("parse", ["motif_id", "trace_row", "echo"])
    parse = parse[~parse["echo"]]
    counts = [parse[parse["trace_row"] == r]["motif_id"].value_counts() for r in (first, second)]
    assert found["left"].sum() == counts[0].sum() and found["right"].sum() == counts[1].sum()
    assert found["in both"].sum() == len(set(counts[0].index) & set(counts[1].index))


def test_the_trace_beside_follows_the_next_one_and_its_sample_is_chosen(show, tiny_run: Path):
    run = Run(tiny_run)
    first, second = pair_of(run)
    at = show("traces", tiny_run, trace=first, beside="model-b")
    box = at.selectbox(key="beside_sample")
    assert [o.partition(",")[0] for o in box.options] == ["sample 0", "sample 1"]
    box.select(box.options[1]).run()
    assert f"trace {second} " not in words(at) and f"trace {second + 1} " in words(at)
    next(b for b in at.button if b.label == "Next").click().run()
    assert fine(at) and at.number_input(key="trace").value == first + 1
    assert at.selectbox(key="beside").value == "model-b" and f"trace {second + 1} " in words(at)
    at = show("traces", tiny_run, trace=first, beside="nobody")
    assert "asks for a trace beside it that is not here" in words(at) and not at.exception


def test_a_trace_of_no_known_problem_has_none_beside_it(show, tmp_path: Path):
    run = Run.create(tmp_path / "run")
    given = [{"text": f"so {i} then", "model": "ab"[i % 2]} for i in range(6)]
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", given)])
    at = show("traces", run.path, trace=0, beside="b")
    assert not at.exception and "no known problem" in words(at)
    assert "have not been mined yet" in words(at)


def test_next_and_previous_have_keys(show, tiny_run: Path):
    at = show("traces", tiny_run, trace=3)
    keys = {b.label: b.proto.shortcut for b in at.button if b.label in ("Next", "Previous")}
    assert {k: v.lower() for k, v in keys.items()} == {"Next": "n", "Previous": "p"}


# ---- highlights and steps


def test_own_words_stand_before_the_lexicon_and_never_overlap(module, tiny_run: Path):
    together, run = module("together"), Run(tiny_run)
    key = (str(tiny_run), "x")
    patterns = together.private_patterns(key, "model-b")
    assert patterns[("zorp",)] == "word"
    forms = run.table("vocabulary", ["slot"])["slot"].to_pylist()
    texts = run.traces(["text"])["text"]
    row = int(next(i for i, t in enumerate(texts) if "zorp" in t))
    units = units_of(run, row)
    own = together.private_spans([forms[i] for i in units["ids"]], units["flags"], patterns)
    assert sum(texts[row][units["starts"][a] : units["stops"][b - 1]] == "zorp" for a, b, *_ in own) == 2
    lexicon = [(a, b, "shared", m) for a, b, m in together.uses(key, row)]
    both = together.beside_others(own, lexicon)
    assert set(own) <= set(both) and all(x[1] <= y[0] for x, y in itertools.pairwise(both))


def test_step_numbers_stand_where_steps_begin_and_leave_the_text_alone(module):
    pieces = module("tokens").pieces
    units = {"starts": np.array([0, 3, 6]), "stops": np.array([2, 5, 8]), "flags": np.zeros(3, np.uint8)}
    cut = pieces("ab cd ef", units, [(0, 2, "motif", "note")], steps=[0, 3, 6])
    assert "".join(p[0] for p in cut) == "ab cd ef"
    assert [(p[0], p[5]) for p in cut if len(p) > 5] == [("ab ", 1), ("cd", 2), ("ef", 3)]
    # A highlight that a step cuts is one highlight to go to.
    assert [p[2] for p in cut] == ["note", "", "", ""]


def test_lexicon_is_a_choice_of_highlight(show, tiny_run: Path):
    at = show("traces", tiny_run, trace=0)
    next(w for w in at.get("button_group") if w.label == "Highlight").set_value("lexicon").run()
    assert fine(at) and at.selectbox(key="language_of").value == "model-b"


# ---- the traces' own numbers


def test_places_of_word_tokens_spell_the_words(module, words_run: Path):
    spans = module("token_spans")
    data = module("data")
    run = Run(words_run)
    key, mined = data.key(run, "traces"), data.key(run, "traces", "mine")
    assert spans.any_own(key)
    starts, stops, how = spans.spans(key, mined, 0)
    text = run.traces(["text"])["text"][0]
    assert [text[a:b] for a, b in zip(starts, stops, strict=True)] == [*text.split(), ""]
    assert "words are taken for tokens" in how
    # Its ids are fewer than its words, so where they lie is unknown.
    assert spans.spans(key, mined, 5) is None


def test_ids_that_stand_for_two_words_are_no_words(module, tmp_path: Path):
    spans, data = module("token_spans"), module("data")
    run = Run.create(tmp_path / "run")
    given = [
        {"text": f"a {w}", "model": "m", "prompt": "p", "tokenizer": "t", "token_ids": [2, 3], "logprobs": [0.0, -1.0]}
        for w in "bc"
    ]
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", given)])
    key = data.key(run, "traces")
    assert spans.by_words("a b", [2, 3]) is not None and spans.word_traces(key, "t") == 0
    assert spans.spans(key, ("", ""), 0) is None


def test_places_are_those_of_a_scoring_of_the_same_ids(module, words_run: Path, tmp_path: Path):
    import shutil

    import pyarrow as pa

    spans, data = module("token_spans"), module("data")
    run = Run(shutil.copytree(words_run, tmp_path / "run"))
    ids = run.table(run.shards("traces")[0], ["token_ids"])["token_ids"].to_pylist()
    places = list(range(len(ids[5])))
    run.begin("score.m", {}, {})
    scores = {
        "trace_row": [0, 5], "ids": [[9], ids[5]], "starts": [[0], places], "stops": [[1], [p + 1 for p in places]]
    }  # fmt: skip
    run.finish("score.m", [run.write_shard("scores/m", 0, pa.table(scores))], {})
    key, mined = data.key(run, "traces"), data.key(run, "traces", "mine")
    assert spans.spans(key, mined, 5) == (places, [p + 1 for p in places], spans.BY_SCORE)
    # A scoring of other ids says nothing of these.
    assert spans.spans(key, mined, 0)[2] != spans.BY_SCORE


def test_the_underlay_of_own_numbers_says_how_places_are_known(show, words_run: Path):
    at = show("traces", words_run, trace=0, underlay="surprise")
    assert not at.exception
    assert "deepest shade stands for 8 nats" in words(at) and "words are taken for tokens" in words(at)
    at = show("traces", words_run, trace=5, underlay="entropy")
    assert not at.exception and "is not stored" in words(at)
    kinds = next(w for w in at.get("button_group") if w.label == "Underlay").options
    assert "shift" not in kinds


# ---- to take away


def test_a_trace_is_taken_away_whole(module, words_run: Path):
    take, data = module("take"), module("data")
    run = Run(words_run)
    kept = take.record(data.key(run, "traces"), 0)
    again = json.loads(json.dumps(kept, allow_nan=False))
    assert again["text"] == run.traces(["text"])["text"][0] and again["token_ids"][-1] == 1
    assert take._plain({"a": [float("nan"), 1.0]}) == {"a": [None, 1.0]}
    name = take.file_name(f"../../{SCRIPT}{MARKDOWN}{MARKS}", 3, "txt")
    assert name.startswith("trace-3-") and not set(name.removesuffix(".txt")) & set("/.<> \u202e")


# ---- hostile words


def test_hostile_words_stay_words_side_by_side(show, tmp_path: Path):
    evil = f"{SCRIPT} {MARKDOWN} {MARKS}"
    given = [
        r | {"model": f"{r['model']} {evil}", "domain": f"{r['domain']} {evil}", "text": f"{evil} {r['text']}"}
        for r in rows(problems=12)
    ]
    run = Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", given)])
    dsl_probe.mine_motifs(
        run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0, echo_min=99), executor="process:1"
    )
    models = sorted(set(run.traces(["model"])["model"]))
    for name, model in zip("ab", models, strict=True):
        dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group=f"model={model}", name=name))
    for page, query in (
        ("traces", {"trace": 0, "beside": models[1]}),
        ("language", {"language": "a", "beside_language": "b", "graph": "true"}),
    ):
        at = show(page, run.path, **query)
        assert not at.exception and not at.error
        for kind in (at.markdown, at.caption, at.info, at.warning, at.title, at.subheader):
            for element in kind:
                outside = element.value.replace("`", "")
                assert "<script>" not in outside and "](javascript" not in outside, page
    assert len([f for f in at.dataframe if "share" in f.value.columns]) == 4
