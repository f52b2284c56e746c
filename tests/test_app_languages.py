"""The app's page of languages: one and two side by side, and the graph of moves."""

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
from corpus import write_jsonl
from pages import fine, table, words

import dsl_probe
from dsl_probe.store import Run

APP = Path(__file__).resolve().parents[1] / "app"


@pytest.fixture(scope="module")
def two(tiny_run: Path) -> Path:
    """The tiny run with a second language, of the other model."""
    run = Run(tiny_run)
    dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group="model=model-a", name="model-a", grammar=True))
    return tiny_run


def test_one_language_shows_as_before_with_the_graph_on_demand(show, two: Path):
    at = show("language", two, language="model-b")
    assert fine(at) and "Move" not in [s.label for s in at.selectbox]
    assert len(table(at, "g2")) and "shared" not in table(at, "g2").columns
    assert "translate" in [t.key for t in at.toggle]


def test_two_languages_stand_side_by_side(show, two: Path):
    at = show("language", two, language="model-b", beside_language="model-a")
    assert fine(at)
    said = words(at)
    assert "120 traces of model=model-b" in said and "120 traces of model=model-a" in said
    assert not table(at, "shared")["shared"].any() and "no reference, so what is this group's own" in said
    both = table(at, "rate_first").set_index("text")
    if "zorp" in both.index:
        assert both.loc["zorp", "second"] == 0 and both.loc["zorp", "first"] > 0
    at = show("language", two, language="model-b", beside_language="model-b")
    assert fine(at) and "shared" not in table(at, "g2").columns
    at = show("language", two, language="model-b", beside_language="nobody")
    assert "asks for a language beside it that is not here" in words(at) and not at.exception


def test_grammars_stand_side_by_side_with_their_bits_and_nulls(show, tmp_path: Path):
    given = [
        {"text": f"so {'then ' * (i % k)}take {'ab'[i % 2]} now", "model": m, "domain": "d", "problem_id": str(i)}
        for i in range(100)
        for m, k in (("m", 3), ("n", 4))
    ]
    run = Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", given)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5), executor="process:1")
    for name in "mn":
        dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group=f"model={name}", name=name))
    at = show("language", run.path, language="n", beside_language="m")
    assert fine(at)
    lines = table(at, "grammar less Markov")
    assert lines["language"].tolist() == ["n", "n", "m", "m"]
    for k, id in enumerate("nm"):
        grammar = run.json(f"languages/{id}/grammar.json")["d"]
        assert lines["grammar"][2 * k] == f"{grammar['bits']['grammar']:.3f}"
        assert lines["Markov"][2 * k + 1].startswith(f"{grammar['bits']['shuffled']['markov']:.3f}")
        assert all(f"{name} -> {rule}" in at.code[k].value for name, rule in grammar["productions"].items())


def test_uses_by_two_groups_are_those_of_the_parse(module, two: Path):
    tongue, data = module("tongue"), module("data")
    run = Run(two)
    found = tongue.lexicon_of_two(data.key(run, "traces", "mine"), ("model=model-b", "model=model-a"))
    parse = run.frame("parse", ["trace_row", "echo"])
    model = run.traces(["model"])["model"].to_numpy()[parse["trace_row"]][~parse["echo"].to_numpy()]
    assert found["first"].sum() == (model == "model-b").sum() and found["second"].sum() == (model == "model-a").sum()


def test_neighbours_of_a_move_are_counted_from_the_sequences(show, module, two: Path):
    from dsl_probe.mine.graph import moves as moves_of

    moves, data = module("moves"), module("data")
    run = Run(two)
    key = data.key(run, "traces", "mine", "language.model-b")
    nodes, edges = moves.graph(key, "model=model-b", "model-b")
    found = moves_of(run, "model=model-b", "model-b")
    zorp = found.labels.index("zorp")
    assert nodes["label"].loc[zorp] == "zorp" and nodes["gap"].tolist().count(True) == 1
    truth = {"before": {}, "after": {}}
    for sequence in found.sequences:
        for a, b in itertools.pairwise(sequence.tolist()):
            if b == zorp:
                truth["before"][found.labels[a]] = truth["before"].get(found.labels[a], 0) + 1
            if a == zorp:
                truth["after"][found.labels[b]] = truth["after"].get(found.labels[b], 0) + 1
    beside = moves.neighbours(nodes, edges, zorp)
    for side, counted in truth.items():
        part = beside[beside["side"] == side]
        assert dict(zip(part["move"], part["count"], strict=True)) == counted
        assert part["share"].sum() == pytest.approx(1)
    at = show("language", two, language="model-b", graph="true", moves_of="words and phrases beyond the reference")
    assert fine(at) and at.selectbox(key="move").value == "zorp"
    shown = [f.value for f in at.dataframe if "share" in f.value.columns]
    assert [dict(zip(f["move"], f["count"], strict=True)) for f in shown] == [truth["before"], truth["after"]]
    at = show("language", two, language="model-b", graph="true", move="nothing like it")
    assert "asks for a move that is not here" in words(at) and not at.exception


def test_the_drawing_holds_the_selected_node_and_no_markup_of_labels(module):
    moves = module("moves")
    codes = list(range(60))
    nodes = pd.DataFrame(
        {
            "label": [f"{{b|w{c}}}" for c in codes[:-1]] + ["other"],
            "count": [100 - c for c in codes[:-1]] + [999],
            "community": [c % 9 for c in codes],
            "gap": [False] * 59 + [True],
        },
        index=pd.Index(codes, name="code"),
    )
    edges = pd.DataFrame({"source": [0, 1, 58, 59], "target": [1, 0, 0, 58], "count": [5, 3, 2, 7]})
    spec, drawn = moves.drawn(nodes, edges, 58)
    assert drawn == [*range(40), 58]
    points = spec["series"][0]["data"]
    assert [p["name"] for p in points] == [str(c) for c in drawn] and points[-1]["symbol"] == "diamond"
    assert all(not set("{}|") & set(p["label"]["formatter"]) for p in points)
    assert {(line["source"], line["target"]) for line in spec["series"][0]["links"]} == {
        ("0", "1"),
        ("1", "0"),
        ("58", "0"),
    }
    json.dumps(spec)
    assert moves.drawn(nodes, edges, 59)[1] == [*range(40), 59]
