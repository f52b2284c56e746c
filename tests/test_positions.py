"""Token spans and places against brute force, on tokenizers of the three kinds."""

import json
import random

import numpy as np
import pytest
from test_capture import make_run
from tiny import tiny_model, tiny_tokenizer

from dsl_probe.collect.matched import read_motifs, wanted_spans
from dsl_probe.collect.positions import Wanted, answer_span, parse_rules, places, step_spans
from dsl_probe.collect.tokens import Tokens, char_spans, model_slug, read_tokens
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.models import Model, load_model
from dsl_probe.store import Run
from dsl_probe.types import UserError

pytest.importorskip("torch")
NASTY = "Wait, naïve 汉字 👩‍🚀  two  spaces\n\ttab — done."


def byte_level(*texts: str):
    """A byte-level BPE tokenizer that has seen little, so that most characters fall apart into bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts or ["wait wait done"],
        trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>", "<think>"], initial_alphabet=alphabet),
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")


def sentence_piece():
    """Pieces with ▁ for the space, and bytes for what is not in the vocabulary: the kind of Llama 2 and Mistral."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{b:02X}>" for b in range(256)),
        "▁",
        *"abcdefghijklmnopqrstuvwxyzW,.",
        "▁d",
    ]
    raw = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, [("▁", "d")], unk_token="<unk>", byte_fallback=True)
    )
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
def test_spans_cover_the_text_and_split_characters_share_theirs(make):
    tokenizer = make()
    ids = tokenizer(NASTY, add_special_tokens=False)["input_ids"]
    spans = char_spans(tokenizer, ids, NASTY)
    assert spans is not None
    starts, stops = (s.tolist() for s in spans)
    assert starts[0] == 0 and stops[-1] == len(NASTY)
    shared = 0
    for i in range(1, len(ids)):
        if (starts[i], stops[i]) == (starts[i - 1], stops[i - 1]):
            shared += 1
        else:
            assert starts[i] == stops[i - 1]
    assert shared >= len("汉字👩‍🚀".encode()) - 5
    # Each span's text is what its tokens decode to.
    for a, b in sorted(set(zip(starts, stops, strict=True))):
        own = [t for t, x, y in zip(ids, starts, stops, strict=True) if (x, y) == (a, b)]
        assert tokenizer.decode(own).strip() == NASTY[a:b].strip()


@pytest.mark.parametrize("make", [byte_level, sentence_piece, tiny_tokenizer])
def test_special_tokens_that_the_text_leaves_out_are_empty(make):
    tokenizer = make()
    text = "wait done" if make is tiny_tokenizer else "wait, done."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    for dressed in ([*ids, end], [tokenizer.bos_token_id, *ids, end]):
        spans = char_spans(tokenizer, dressed, text)
        assert spans is not None
        assert spans[0][-1] == spans[1][-1] == len(text)
        inside = [i for i, t in enumerate(dressed) if t in ids]
        plain = char_spans(tokenizer, ids, text)
        assert plain is not None
        assert spans[0][inside].tolist() == plain[0].tolist() and spans[1][inside].tolist() == plain[1].tolist()


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
def test_ids_that_do_not_spell_the_text_have_no_spans(make):
    tokenizer = make()
    ids = tokenizer("wait", add_special_tokens=False)["input_ids"]
    assert char_spans(tokenizer, ids, "done") is None
    assert char_spans(tokenizer, ids, "wait and more") is None
    assert char_spans(tokenizer, [], "") is not None


def test_a_text_cut_within_a_character_still_has_spans():
    tokenizer = byte_level()
    ids = tokenizer("ok 汉", add_special_tokens=False)["input_ids"][:-1]
    text = tokenizer.decode(ids)
    assert text.endswith("�")
    spans = char_spans(tokenizer, ids, text)
    assert spans is not None and spans[1][-1] == len(text)


# ---- which ids


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    return load_model(str(tiny_model(tmp_path_factory.mktemp("tiny") / "model")), device="cpu")


def row(**given) -> dict:
    empty = dict.fromkeys(["trace_id", "prompt_ids", "token_ids", "tokenizer", "prefix"])
    return empty | {"trace_id": "a", "prompt": "the answer", "text": "wait so"} | given


def test_own_ids_are_used_and_others_are_not(tiny):
    vocabulary = tiny.tokenizer.get_vocab()
    own = [vocabulary["wait"], vocabulary["so"]]
    given = {"prompt_ids": [5, 6, 7], "token_ids": own, "tokenizer": tiny.tokenizer_hash}
    tokens = read_tokens(row(**given), 0, tiny)
    assert (tokens.source, tokens.n_prompt, tokens.ids.tolist()) == ("trace", 3, [5, 6, 7, *own])
    # Not named, but they spell the text.
    assert read_tokens(row(**given | {"tokenizer": None}), 0, tiny).source == "trace"
    prompt = [1, vocabulary["the"], vocabulary["answer"]]
    for change in ({"tokenizer": "other"}, {"tokenizer": None, "token_ids": own[::-1]}, {"token_ids": None}):
        tokens = read_tokens(row(**given | change), 0, tiny)
        assert (tokens.source, tokens.ids.tolist()) == ("text", [*prompt, *own])
    assert read_tokens(row(**given | {"prompt_ids": None}), 0, tiny).ids.tolist() == [*prompt, *own]
    assert read_tokens(row(prompt=""), 0, tiny).ids.tolist() == [1, *own]


def test_a_forced_opening_belongs_to_the_text_and_not_to_the_ids(tiny):
    own = [tiny.tokenizer.get_vocab()[w] for w in ("wait", "so")]
    given = {"prompt_ids": [5], "token_ids": own, "tokenizer": tiny.tokenizer_hash}
    tokens = read_tokens(row(**given, prefix="<think> ", text="<think> wait so"), 0, tiny)
    spans = tokens.spans(tiny.tokenizer)
    assert spans is not None and [tokens.text[a:b].strip() for a, b in zip(*spans, strict=True)] == ["wait", "so"]


def test_model_names_are_folder_names():
    for name in ("../../etc/passwd", "org/model:v1", "/", "a*b[c]", "C:\\x"):
        slug = model_slug(name)
        assert slug and not set(slug) & set("/\\*[]:") and not slug.startswith(".")


# ---- rules


def simple(text: str, n_prompt: int = 3) -> tuple[Tokens, tuple[np.ndarray, np.ndarray]]:
    """A token a character."""
    n = len(text)
    tokens = Tokens(0, "a", np.zeros(n_prompt + n, np.int32), n_prompt, "trace", text)
    return tokens, (np.arange(n, dtype=np.int32), np.arange(1, n + 1, dtype=np.int32))


def test_every_and_steps():
    tokens, spans = simple("One. Two is 2.5!\n\nlast")
    found = places(tokens, spans, [("every", "8")])
    assert [p.position for p in found] == [3, 11, 19]
    found = places(tokens, spans, [("steps", "")])
    assert "".join(tokens.text[p.position - 3] for p in found) == ".!t"


def test_before_is_the_state_that_predicts_the_first_token():
    tokens, spans = simple("so 42 it is")
    at = [p for p in places(tokens, spans, [("answer", "")], "42")]
    assert [(p.where, p.position) for p in at] == [("before", 3 + 3 - 1), ("at", 3 + 4)]
    # The very first token of a sequence without a prompt has no state before it.
    tokens, spans = simple("42", n_prompt=0)
    assert [p.where for p in places(tokens, spans, [("answer", "")], "42")] == ["at"]


def test_a_token_across_the_edge_of_a_span_is_its_first():
    tokens = Tokens(0, "a", np.arange(3, dtype=np.int32), 0, "trace", "a. wait")
    spans = np.array([0, 1, 4], np.int32), np.array([1, 4, 7], np.int32)  # "a" ". w" "ait"
    found = places(tokens, spans, [("motifs", "f")], None, [Wanted(3, 7, "m", False, 2, 0)])
    assert [(p.where, p.position) for p in found] == [("before", 0), ("at", 2)]


@pytest.mark.parametrize(
    ("text", "answer", "want"),
    [
        (r"so \boxed{1} no \boxed{\frac{1}{2}} ok", "1", r"\frac{1}{2}"),
        ("<answer> 7 </answer>", "9", "7"),
        ("<answer>x</answer><answer>cut off", None, "cut off"),
        ("4 and 42 and 14", "4", "4"),
        (r"\boxed{never closed", None, None),
        (r"\boxed{}", None, None),
        ("nothing", "7", None),
        ("nothing", None, None),
    ],
)
def test_where_the_answer_is(text, answer, want):
    span = answer_span(text, answer)
    assert (text[span[0] : span[1]] if span else None) == want


def test_steps_hold_all_but_space():
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choices("ab. \n!?。)", k=rng.randint(0, 30)))
        spans = step_spans(text)
        assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())
        assert all(a < b and text[a:b] == text[a:b].strip() for a, b in spans)


@pytest.mark.parametrize("bad", [["every"], ["every:x"], ["steps:2"], ["motifs:"], ["motifs:/no/such"], []])
def test_bad_rules(bad):
    with pytest.raises(UserError, match="--at"):
        parse_rules(bad)


# ---- motifs and their negatives


@pytest.fixture(scope="module")
def mined(tmp_path_factory) -> Run:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(["wait", "so", "let", "x", "y", "."], k=rng.randint(5, 60))) for _ in range(40)]
    content = [{"trace_id": str(i), "text": t, "prompt": f"question {i}"} for i, t in enumerate(texts)]
    run = make_run(tmp_path_factory.mktemp("mined"), content)
    mine_motifs(run, MineConfig(min_traces=2, min_problems=2), executor="process:1")
    return run


def test_motif_files_name_ids_or_texts(mined, tmp_path):
    ids = dict(zip(*mined.table("motifs", ["text", "motif_id"]).to_pydict().values(), strict=True))
    file = tmp_path / "m.txt"
    file.write_text(f"let so\n\n{ids['wait']}\nLET so\n")
    assert read_motifs(mined, str(file)) == [ids["let so"], ids["wait"]]
    file.write_text("let so\nzorp\n")
    with pytest.raises(UserError, match=r"line 2 of .*'zorp' is no motif"):
        read_motifs(mined, str(file))
    file.write_text("\n")
    with pytest.raises(UserError, match="names no motif"):
        read_motifs(mined, str(file))


def test_negatives_are_matched_and_clear_of_the_motif(mined):
    ids = dict(zip(*mined.table("motifs", ["text", "motif_id"]).to_pydict().values(), strict=True))
    chosen = [ids["wait"], ids["let so"]]
    traces = mined.traces(["text"])["text"].tolist()
    found = wanted_spans(mined, 0, 0, len(traces), chosen)
    assert found == wanted_spans(mined, 0, 0, len(traces), chosen)
    units = [t.split() for t in traces]
    pairs: dict[int, dict[bool, tuple[int, Wanted]]] = {}
    for trace, spans in found.items():
        for w in spans:
            pairs.setdefault(w.pair, {})[w.negative] = trace, w
            text = traces[trace][w.start : w.stop]
            length = 1 if w.label == ids["wait"] else 2
            assert text.split() == units[trace][w.unit : w.unit + length]
            assert (text == ("wait" if length == 1 else "let so")) is not w.negative
    both = [p for p in pairs.values() if len(p) == 2]
    assert len(both) > 0.5 * len(pairs)
    used = set()
    for p in both:
        (t, w), (u, v) = p[False], p[True]
        assert ([None, *units[t]][w.unit]) == ([None, *units[u]][v.unit])
        assert 0.5 <= (w.unit + 1) / (v.unit + 1) <= 2 and 0.5 <= len(units[t]) / len(units[u]) <= 2
        assert (v.label, u, v.unit) not in used
        used.add((v.label, u, v.unit))
    # Every occurrence is there: leftmost and without overlap, one unit or two.
    count = sum(t.count("wait") for t in units)
    assert sum(False in p and p[False][1].label == ids["wait"] for p in pairs.values()) == count
    few = wanted_spans(mined, 0, 0, len(traces), [ids["wait"]], most=5)
    assert sum(not w.negative for spans in few.values() for w in spans) == 5


def test_motif_places_reach_the_index(mined, tiny, tmp_path):
    from dsl_probe.collect.capture import CaptureConfig, capture_states

    file = tmp_path / "m.txt"
    file.write_text("wait\n")
    result = capture_states(mined, CaptureConfig(tiny.name, layers=(0,), at=(f"motifs:{file}",), name="m"))
    index = mined.frame("acts/m/00000.index")
    assert len(index) == result.labels > 0  # type: ignore[union-attr]
    assert set(index["where"]) == {"before", "at"} and set(index["negative"]) == {True, False}
    texts = mined.traces(["text"])["text"]
    for line in index[~index["negative"]].itertuples():
        words = texts[line.trace_row].split()
        n_prompt = 3  # <s> question N
        token = line.position - n_prompt + (line.where == "before")
        assert words[token] == "wait" and token == line.unit
        assert np.isnan(line.predicts) or line.predicts == line.position - n_prompt + 1
    record = json.loads((mined.path / "stages/capture.m.json").read_text())
    assert "source:m.txt" in record["inputs"] and "occurrences.parquet" in record["inputs"]


def test_a_step_that_ends_in_a_split_character_ends_at_its_last_token():
    tokenizer = byte_level()
    ids = tokenizer("好。坏", add_special_tokens=False)["input_ids"]
    tokens = Tokens(0, "a", np.asarray(ids, np.int32), 0, "text", "好。坏")
    spans = tokens.spans(tokenizer)
    assert spans is not None and len(ids) == 9
    assert [p.position for p in places(tokens, spans, [("steps", "")])] == [5, 8]
