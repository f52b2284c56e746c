"""The unit system `tokens`: what a unit is, where it stands, what is refused."""

import json

import numpy as np
import pytest
from corpus import write_jsonl

import dsl_probe
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.models import hash_tokenizer
from dsl_probe.types import ECHO, FORMAT, PREFIX, UserError

TEXTS = ["<think> Wait, x is 12. So zörp 😀 zörp.\nDone </think>", "Then wait. Wait, zörp 😀 said it.", "So it is 7."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A byte-level tokenizer of few merges, so that most characters beyond ASCII are made of several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    path = tmp_path_factory.mktemp("bytes")
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>").save_pretrained(path)
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def rows(tokenizer, model, **extra):
    made = []
    for i, text in enumerate(TEXTS * 2):
        ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        made.append({"text": text, "token_ids": ids, "tokenizer": hash_tokenizer(tokenizer), "model": str(model)})
        made[-1] |= {"problem_id": f"p{i}", "sample": i, **extra}
    return made


def make(tmp_path, content, **config):
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "in.jsonl", content)])
    return run, mine_motifs(
        run, MineConfig("tokens", **{"min_traces": 2, "min_problems": 2, **config}), executor="process:1"
    )


def test_units_are_the_tokens_and_lie_where_they_stand(tmp_path, folder, tokenizer):
    content = rows(tokenizer, folder)
    run, result = make(tmp_path, content)
    units, texts = run.table("units/00000").to_pylist(), run.frame("vocabulary").text.tolist()
    assert result.units == sum(len(r["token_ids"]) for r in content) and result.prompt_unknown == len(content)
    steps = [["<think>", "So", "Done"], ["Then", "Wait,"], ["So"]] * 2
    for row, unit, want in zip(content, units, steps, strict=True):
        assert len(unit["ids"]) == len(row["token_ids"])
        assert (np.diff(unit["starts"]) >= 0).all() and unit["stops"][-1] == len(row["text"])
        for code, a, b in zip(unit["ids"], unit["starts"], unit["stops"], strict=True):
            assert texts[code] in (row["text"][a:b], "<|end|>") or texts[code].startswith("<0x")
        assert [row["text"][unit["starts"][s] :].split()[0] for s in unit["steps"]] == want
    # The tag is made of several tokens, and all of them are flagged.
    first = units[0]
    where = list(zip(first["starts"], first["stops"], first["flags"], strict=True))
    assert "".join(TEXTS[0][a:b] for a, b, f in where if f & FORMAT).replace(" ", "") == "<think></think>"
    # The bytes of a character share its place.
    at = TEXTS[0].index("😀")
    parts = [texts[c] for c, (a, b, _) in zip(first["ids"], where, strict=True) if a <= at < b]
    assert len(parts) == 1 or all(p.startswith("<0x") for p in parts[1:])
    assert any("zörp" in t for t in run.frame("motifs").text)


def test_echoes_and_prefixes_of_tokens(tmp_path, folder, tokenizer):
    prompt = "Then wait. Wait, zörp"
    content = rows(tokenizer, folder, prompt=prompt, prefix="Then")
    content[0]["prompt_ids"] = tokenizer("nothing alike")["input_ids"]
    run, result = make(tmp_path, content, echo_min=3)
    flags = run.table("units/00000", ["flags"])["flags"].to_pylist()
    assert (
        flags[1][0] & ECHO and flags[1][0] & PREFIX and not flags[1][-1] & ECHO and not any(f & ECHO for f in flags[0])
    )
    assert result.prompt_unknown == 0


def test_numbers_are_a_slot_and_case_is_kept(tmp_path, folder, tokenizer):
    run, _ = make(tmp_path, rows(tokenizer, folder))
    vocabulary = run.frame("vocabulary")
    slots = dict(zip(vocabulary.text, vocabulary.slot, strict=True))
    assert any(slot == "<NUM>" for text, slot in slots.items() if text.strip().isdigit())
    assert any(t != t.lower() for t in vocabulary.text)


def test_what_is_refused_names_the_hashes_and_the_fix_and_leaves_no_trace(tmp_path, folder, tokenizer):
    content = rows(tokenizer, folder)
    own = hash_tokenizer(tokenizer)

    def refused(name, change, match, **config):
        with pytest.raises(UserError, match=match):
            make(tmp_path / name, [{**row, **change(i)} for i, row in enumerate(content)], **config)
        # Another setting may be tried at once.
        run = dsl_probe.Run(tmp_path / name / "run")
        assert mine_motifs(run, MineConfig(min_traces=2, min_problems=2), executor="process:1").traces == len(content)

    refused("a", lambda i: {"tokenizer": "other"} if i < 2 else {}, f"{own}: 4 traces, other: 2 traces.*--units words")
    refused("b", lambda i: {"token_ids": None} if i == 3 else {}, "1 traces have none.*--units words")
    refused("c", lambda i: {"tokenizer": "other"}, f"is {own}; the traces have other: 6 traces.*--tokenizer NAME")
    refused("d", lambda i: {"model": str(tmp_path / "gone")}, "there is no folder.*--tokenizer NAME")
    refused("e", lambda i: {"text": "else"} if i == 4 else {}, "do not spell its text")
    refused("f", lambda i: {}, "MATH needs --units words", slots=("MATH",))
    run, result = make(tmp_path / "g", [{**r, "model": "gone"} for r in content], tokenizer=str(folder))
    assert result.motifs and run.has("motifs.parquet")
