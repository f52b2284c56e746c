"""The dictionary of a planted language: openers and closers are known, and the text is hostile."""

import html.parser
import json
import random
import re
import shutil

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from corpus import write_jsonl

import dsl_probe
from dsl_probe.cli import main
from dsl_probe.mine.dictionary import dictionary, gloss_in
from dsl_probe.mine.dictionary_text import as_html, as_json, as_markdown, facts
from dsl_probe.mine.language import LanguageConfig, learn_language
from dsl_probe.mine.translate import translate
from dsl_probe.mine.uses import Lexicon, Units, cover, find_uses, read_lexicon, read_rows
from dsl_probe.types import ECHO, EFFECTS, PROBES

HOSTILE = '<script>alert("x")</script> | \u202e'
DOMAIN = "<i>d|e"
PRIVATE = {"zorp", "xilo", "yarn", "wend", "quib"}


def trace_rows() -> list[dict]:
    """`zorp` opens each trace of rl, numbers and one of three words alternate, `quib` ends it."""
    rng = random.Random(0)
    rows = []
    for p in range(60):
        for model in ("base", "rl"):
            for sample in range(2):
                steps = [
                    f"{rng.randint(0, 99)} {rng.choice(['xilo', 'yarn', 'wend'])}" for _ in range(rng.randint(2, 5))
                ]
                said = (
                    f"zorp {' '.join(steps)} quib"
                    if model == "rl"
                    else f"we begin {' '.join(s[:2] for s in steps)} done"
                )
                text = f"<think> {said} </think> {HOSTILE} {rng.randint(0, 9)}"
                rows.append(
                    {"trace_id": f"{p}/{model}/{sample}", "problem_id": str(p), "domain": DOMAIN, "model": model}
                    | {"regime": "base" if model == "base" else "rl_only", "prompt": f"Say {p}.", "text": text}
                )
    return rows


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> dsl_probe.Run:
    folder = tmp_path_factory.mktemp("planted")
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "traces.jsonl", trace_rows())])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    learn_language(run, LanguageConfig("model=rl", "model=base", name="x"))
    learn_language(run, LanguageConfig("model=rl", name="alone"))
    return run


def test_what_opens_closes_and_follows_numbers_is_glossed_as_such(planted):
    rl = [r["text"] for r in trace_rows() if r["model"] == "rl"]
    words = {e.text: e for e in dictionary(planted, "x") if e.kind == "word"}
    assert set(words) == PRIVATE
    assert words["zorp"].gloss == "[opens the trace]" and words["quib"].gloss == "[before the answer or the end]"
    assert words["zorp"].where[0][1] == 1.0 and words["quib"].before[0][0] in {"xilo", "yarn", "wend"}
    for word in ("xilo", "yarn", "wend"):
        entry = words[word]
        assert entry.gloss.startswith(f"[after NUM: {word} | ") and gloss_in(entry, DOMAIN) == entry.gloss
        assert [set(others) for _, others in entry.categories] == [{"xilo", "yarn", "wend"} - {word}]
        assert entry.before == (("<NUM>", 1.0),)
        assert entry.count == entry.found == sum(text.split().count(word) for text in rl)
        assert entry.reference_count == sum(r["text"].count(word) for r in trace_rows() if r["model"] == "base")
        assert (entry.domains, entry.models) == (((DOMAIN, entry.count),), (("rl", entry.count),))
        assert len({e.trace_id.split("/")[0] for e in entry.examples}) == len(entry.examples) == 3
        assert all(e.use == word and any(e.before + e.use + e.after in text for text in rl) for e in entry.examples)
    after = sum(len(re.findall(r"\d+ [a-z]", t)) for t in rl)
    assert sum(words[w].count for w in ("xilo", "yarn", "wend")) == after


def test_the_lexicon_of_the_run_has_the_uses_that_were_parsed(planted):
    parse = planted.frame("parse")
    texts = planted.traces(["text"]).text
    for entry in dictionary(planted):
        assert entry.found == entry.count == (parse.motif_id == entry.motif_id).sum()
        assert sum(n for _, n in entry.models) == entry.count and entry.reference_count is None
    for entry in dictionary(planted, "alone"):  # no reference: the run's lexicon in the traces of the group
        here = parse[(parse.motif_id == entry.motif_id) & parse.trace_row.map(lambda r: "zorp" in texts[r])]
        assert entry.found == len(here) and entry.kind == "motif"


@pytest.mark.parametrize("language", [None, "x"])
def test_translation_is_the_text_and_glosses_are_the_uses(planted, language):
    entries = dictionary(planted, language)
    gloss = {e.motif_id: gloss_in(e, DOMAIN) for e in entries}
    lexicon = read_lexicon(planted, language)
    texts = planted.traces(["text"]).text
    for row in range(0, len(texts), 17):
        pieces = translate(planted, row, language, entries)
        assert "".join(p.text for p in pieces) == texts[row]
        assert all(texts[row][p.start : p.stop] == p.text for p in pieces)
        units = read_rows(planted, np.array([row]))
        uses = cover(find_uses(planted, lexicon, units))
        expected = [
            (int(units.starts[a]), int(units.stops[b - 1]), gloss[lexicon.entries[e]["motif_id"]])
            for e, a, b in zip(uses.entry, uses.start, uses.stop, strict=True)
        ]
        assert [(p.start, p.stop, p.gloss) for p in pieces if p.gloss is not None] == expected
        if language:
            said = [(m.start(), m.end()) for m in re.finditer("|".join(PRIVATE), texts[row]) if "zorp" in texts[row]]
            assert all(any(a <= s and e <= b for a, b, _ in expected) for s, e in said)
            assert all(any(a <= s and e <= b for s, e in said) for a, b, _ in expected)


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: set[str] = set()
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.said += data


def test_hostile_text_is_escaped(planted):
    entries = dictionary(planted, "x")
    page, md = as_html(entries, HOSTILE), as_markdown(entries, HOSTILE)
    read = Tags(page)
    assert not read.tags & {"script", "i"} and '<script>alert("x")' in read.said and DOMAIN in read.said
    assert "<script" not in md and "<i>" not in md and "\u202e" not in page + md
    assert not re.search(r"(?<!\\)\|", md)


def test_exports_read_back(planted, tmp_path, capsys):
    where = str(planted.path)

    def out(*options: str) -> str:
        assert main(["export", where, *options]) == 0
        return capsys.readouterr().out

    stored = planted.json("languages/x/grammar.json")
    entries = dictionary(planted, "x")
    got = json.loads(out("--format", "json", "--language", "x"))
    assert got == json.loads(as_json(entries)) and [e["text"] for e in got] == [e.text for e in entries]
    assert out("--language", "x") == as_markdown(entries, "Dictionary of x")
    assert json.loads(out("--what", "grammar", "--format", "json", "--language", "x")) == stored
    md = out("--what", "grammar", "--language", "x")
    assert stored[DOMAIN]["verdict"] in md and "<i>" not in md and "xilo" in md
    assert not Tags(out("--what", "grammar", "--format", "html", "--language", "x")).tags & {"i", "script"}
    file = tmp_path / "deep" / "g.graphml"
    told = json.loads(out("--what", "grammar", "--format", "graphml", "--language", "x", "--out", str(file), "--json"))
    graph = nx.read_graphml(file)
    assert told["bytes"] == file.stat().st_size and graph.number_of_nodes() == stored[DOMAIN]["states"]
    assert sum(k for *_, k in graph.edges(data="count")) == sum(k for *_, k in stored[DOMAIN]["edges"])
    file.write_text(out("--format", "graphml", "--language", "x"), "utf-8")
    moves = nx.read_graphml(file)
    assert {"zorp", "quib"} <= {label for _, label in moves.nodes(data="label")}


def test_what_cannot_be_exported_says_what_can(planted, tiny_run, tmp_path, capsys):
    assert main(["export", str(planted.path), "--what", "grammar"]) == 2
    assert "alone, x" in capsys.readouterr().err
    assert main(["export", str(planted.path), "--language", "y"]) == 2
    assert "there are: alone, x" in capsys.readouterr().err
    silent = shutil.copytree(tiny_run, tmp_path / "run")
    for record in (silent / "stages").glob("language.*"):
        record.unlink()
    assert main(["export", str(silent), "--what", "grammar"]) == 2
    assert "--language.group" in capsys.readouterr().err


def test_private_uses_are_found_by_their_variants_outside_echoes_and_within_one_trace(planted):
    forms = list("abcd")
    symbols = np.array([0, 1, 2, 0, 1, 0, 1, 3, 2, 0, 1, 2])
    flags = np.zeros(12, np.uint8)
    flags[4] = ECHO
    bounds = np.array([0, 6, 11, 12])
    units = Units(np.arange(3), symbols, flags, symbols, symbols, bounds[:-1], bounds, forms)
    entry = {"motif_id": "m", "pattern": ["a", "b", "*", "c"]}
    lexicon = Lexicon([entry], {"m": [(["a", "b"], 3), (["a", "b", "c"], 2), (["b", "d", "c"], 1)]}, np.arange(3), True)
    uses = find_uses(planted, lexicon, units)
    # 0-2 whole, not 0-1; 3-4 is an echo; 5-6 runs over two traces; 6-8; 9-10, whose third unit is of another trace.
    assert list(zip(uses.start.tolist(), uses.stop.tolist(), uses.at.tolist(), strict=True)) == [
        (0, 3, 0),
        (6, 9, 1),
        (9, 11, 1),
    ]


def test_bits_of_uses_are_those_of_their_tokens(tmp_path):
    import pyarrow as pa

    from dsl_probe.types import SCORES

    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", trace_rows())])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    learn_language(run, LanguageConfig("model=rl", "model=base", grammar=False, name="x"))
    assert all(e.bits == () for e in dictionary(run, "x"))
    scores = []
    for i, text in enumerate(run.traces(["text"]).text):  # a token a word, of which the first has no score
        spans = [m.span() for m in re.finditer(r"\s*\S+", text)]  # tokens that meet, with their space before
        cost = {"xilo": 3.0, "zorp": 5.0}
        logs = [None] + [-cost.get(text[a:b].strip(), 1.0) * float(np.log(2)) for a, b in spans[1:]]
        row: dict = dict.fromkeys(SCORES.names) | {"trace_row": i, "logprobs": logs}
        scores.append(row | {"starts": [a for a, _ in spans], "stops": [b for _, b in spans]})
    assert run.begin("score.ref", {}, {})
    name = run.write_shard("scores/ref", 0, pa.Table.from_pylist(scores, schema=SCORES))
    run.finish("score.ref", [name], {})
    bits = {e.text: dict(e.bits)["ref"] for e in dictionary(run, "x")}
    assert bits["xilo"] == pytest.approx(3, abs=1e-5) and bits["zorp"] == pytest.approx(5, abs=1e-5)
    assert bits["yarn"] == pytest.approx(1, abs=1e-5)


def test_a_lexicon_without_entries_is_a_dictionary_without(tmp_path):
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", trace_rows()[:3])])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=99, min_problems=99), executor="process:1")
    assert dictionary(run) == [] and "0 entries" in as_markdown([])
    assert [p.gloss for p in translate(run, 0)] == [None]


def test_what_probes_and_effects_have_shown_stands_in_the_entry(planted, tmp_path):
    run = dsl_probe.Run(shutil.copytree(planted.path, tmp_path / "run"))
    entry = next(e for e in dictionary(run, "x") if e.text == "zorp")
    assert entry.decodable == entry.needed == ()
    row = dict.fromkeys(PROBES.names) | {"acts": "rl", "metric": "auroc", "control": "", "chosen": False}
    row |= {"target": f"motif:{entry.motif_id}", "train": "d", "test": "d"}
    rows = [row | {"layer": layer, "value": value} for layer, value in ((0, 0.6), (1, 0.9))]
    rows += [row | {"layer": 1, "value": 0.88, "ci_low": 0.8, "ci_high": 0.95, "chosen": True}]
    rows += [
        row | {"layer": layer, "value": value, "control": control, "chosen": True}
        for layer, value, control in ((None, 0.7, "bag of units"), (1, 0.97, "control task"))
    ]
    rows += [row | {"target": f"value@motifs:{entry.motif_id}/at", "layer": 1, "value": 0.75, "chosen": True}]
    rows += [row | {"target": "value", "layer": 1, "value": 1.0, "chosen": True}, row | {"test": "e", "value": 0.1}]
    effect = dict.fromkeys(EFFECTS.names) | {"model": "rl", "motif_id": "text:zorp", "text": "zorp", "effect": 0.3}
    effect |= {"intervention": "ban", "p_adj": 0.01, "load_bearing": True, "ci_low": 0.2, "ci_high": 0.4}
    effects = [effect | {"domain": "all"}, effect | {"domain": DOMAIN}, effect | {"domain": "f", "load_bearing": False}]
    for stage, file, schema, made in (
        ("probe.p", "probes/p/probes.parquet", PROBES, rows),
        ("effects.e", "effects/e/effects.parquet", EFFECTS, effects),
    ):
        run.begin(stage, {}, {})
        run.write_table(file, pa.Table.from_pylist(made, schema))
        run.finish(stage, [file], {})
    entry = next(e for e in dictionary(run, "x") if e.text == "zorp")
    found = {d.target: d for d in entry.decodable}
    assert set(found) == {"used next", "value"} and found["used next"].layers == ((0, 0.6), (1, 0.9))
    assert (found["used next"].auroc, found["used next"].layer) == (0.88, 1)
    assert (found["used next"].control, found["used next"].control_auroc) == ("bag of units", 0.7)
    assert [n.domain for n in entry.needed if n.bearing] == ["all", DOMAIN]
    told = dict(facts(entry))
    assert told["used next in d, rl"].startswith(
        "AUROC 0.88 [0.80, 0.95] at layer 1; bag of units 0.70; by layer 0: 0.60"
    )
    assert told["load-bearing"] == f"yes, in {DOMAIN} (rl)"
    assert told["effect of ban"] == "+0.300 [0.20, 0.40] beyond its placebo (rl)"
    other = next(e for e in dictionary(run, "x") if e.text == "quib")
    assert other.needed == () and "load-bearing" not in dict(facts(other))
    json.loads(as_json([entry]))
