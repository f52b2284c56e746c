"""Verified traces: counts by hand, licences never guessed, files read by datasets and by TRL's SFTTrainer."""

import json
from pathlib import Path

import hostile
import pyarrow.parquet as pq
import pytest
from corpus import write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

import dsl_probe
from dsl_probe.cli import main
from dsl_probe.share.verified import PROVENANCE, Tally, stated_licence, verified
from dsl_probe.share.verified_files import export_verified
from dsl_probe.types import UserError

TRACES = [
    {"trace_id": "a", "problem_id": "1", "text": "so  2", "correct": True, "finish": "stop", "licence": "MIT"},
    {"trace_id": "b", "problem_id": "1", "text": "so 2\n", "correct": True, "finish": "stop"},  # as a, but for spaces
    {"trace_id": "c", "problem_id": "1", "text": "it is 2", "correct": True, "finish": None, "license": "CC-BY-4.0"},
    {"trace_id": "d", "problem_id": "1", "text": "thus 2", "correct": True, "finish": "stop", "model": "n"},
    {"trace_id": "e", "problem_id": "1", "text": "3", "correct": False, "finish": "stop"},
    {"trace_id": "f", "problem_id": "2", "text": "so 2", "correct": True, "finish": "stop", "source_repo": "o/r"},
    {"trace_id": "g", "problem_id": "2", "text": "2 2 2 2", "correct": True, "finish": "loop"},
    {"trace_id": "h", "problem_id": "2", "text": "and 2 but", "correct": True, "finish": "length"},
    {"trace_id": "i", "problem_id": "2", "text": "2?", "correct": None, "finish": "stop"},
    {"trace_id": "j", "problem_id": "3", "text": "yes", "correct": True, "finish": "stop", "prompt": ""},
]


def make_run(folder: Path, given: list[dict], **more) -> dsl_probe.Run:
    usual = {"prompt": "1 + 1 ?", "domain": "math", "model": "m", "reference": "2"}
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "t.jsonl", [usual | r | more for r in given])])
    return run


@pytest.fixture
def run(tmp_path) -> dsl_probe.Run:
    return make_run(tmp_path, TRACES)


def ids(rows) -> list[str]:
    return [row["trace_id"].split(":")[1] for row in rows]


def test_right_whole_traces_are_written_once_with_counts(run):
    tally = Tally()
    written = list(verified(run, tally))
    assert ids(written) == ["a", "c", "d", "f", "j"]
    assert (tally.read, tally.unverified, tally.wrong, tally.truncated, tally.repeated) == (10, 1, 1, 2, 1)
    assert (tally.written, tally.problems, tally.finish_unknown, tally.no_prompt, tally.beyond) == (5, 3, 1, 0, 0)
    assert tally.licences == {"MIT": 1, "CC-BY-4.0": 1, "unknown": 3}
    assert written[0]["text"] == "so  2" and written[0]["reference"] == "2"
    assert written[3] | {"licence": "unknown", "source": "o/r", "source_path": None} == written[3]
    assert all(row["exported_by"] == f"dsl-probe {dsl_probe.__version__}" for row in written)


def test_a_group_the_first_of_each_problem_and_prompts_alone(run):
    tally = Tally()
    assert ids(verified(run, tally, "model=n")) == ["d"] and tally.read == 1
    tally = Tally()
    assert ids(verified(run, tally, per_problem=1)) == ["a", "f", "j"] and (tally.beyond, tally.repeated) == (2, 1)
    tally = Tally()
    assert ids(verified(run, tally, need_prompt=True)) == ["a", "c", "d", "f"] and tally.no_prompt == 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p", "q", None]),
            st.sampled_from(["x", "x ", "y", "z"]),
            st.sampled_from([True, False, None]),
            st.sampled_from(["stop", "length", "loop", None]),
            st.sampled_from(["", "1?", "2?"]),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
)
def test_every_trace_is_in_one_count_and_what_is_written_is_what_a_plain_loop_writes(
    tmp_path_factory, made, per_problem, need_prompt
):
    names = ("problem_id", "text", "correct", "finish", "prompt")
    given_rows = [{"trace_id": str(k), **dict(zip(names, row, strict=True))} for k, row in enumerate(made)]
    run = make_run(tmp_path_factory.mktemp("v"), given_rows)
    tally = Tally()
    written = ids(verified(run, tally, per_problem=per_problem, need_prompt=need_prompt))
    out = (tally.unverified, tally.wrong, tally.truncated, tally.no_prompt, tally.repeated, tally.beyond)
    assert tally.read == len(made) == tally.written + sum(out) and tally.written == len(written)
    kept: list[tuple] = []
    expected = []
    for k, (problem, text, correct, finish, prompt) in enumerate(made):
        which = problem or ("prompt", prompt)
        new = (which, text.strip()) not in kept
        ok = correct and finish in ("stop", None) and (prompt or not need_prompt)
        if ok and new:
            room = per_problem is None or sum(made_of == which for made_of in expected_of(expected, made)) < per_problem
            kept.append((which, text.strip()))
            if room:
                expected.append(k)
    assert written == [str(k) for k in expected]


def expected_of(expected: list[int], made: list[tuple]) -> list:
    return [made[k][0] or ("prompt", made[k][4]) for k in expected]


@pytest.mark.parametrize(
    "meta, licence",
    [('{"licence": "MIT"}', "MIT"), ('{"license": ["a", "b"]}', '["a", "b"]'), ('{"licence": ""}', "unknown")]
    + [(m, "unknown") for m in ("{}", None, "[]", "not json", '{"licence": null}', '{"source_repo": "mit/x"}')],
)
def test_a_licence_is_what_the_meta_states_or_unknown(meta, licence):
    assert stated_licence(meta) == licence


def test_json_lines_have_every_column_and_the_same_bytes(run, tmp_path):
    done = export_verified(run, "jsonl", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert (
        [list(line) for line in lines]
        == [["prompt", "text", *PROVENANCE.names]] * 5
        == [[*lines[0]]] * done.tally.written
    )
    assert all(isinstance(v, str) for line in lines for k, v in line.items() if k != "sample")
    export_verified(run, "jsonl", tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize("format, name", [("jsonl", "a.jsonl"), ("trl-sft", "b.jsonl")])
def test_datasets_reads_the_lines(run, tmp_path, format, name):
    datasets = pytest.importorskip("datasets")
    done = export_verified(run, format, tmp_path / name)
    found = datasets.load_dataset("json", data_files=str(tmp_path / name), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(found) == done.tally.written and found.features["step"].dtype == "string"


def test_datasets_reads_the_folder_and_the_card_says_what_is_in_it(run, tmp_path):
    out = tmp_path / "folder"
    done = export_verified(run, "hf", out)
    card = (out / "README.md").read_text()
    assert "license:\n- cc-by-4.0\n- mit\n- unknown\n" in card and "5 completions of 3 problems" in card
    assert "| MIT | 1 |" in card and "Of 3 rows no licence is stated" in card
    assert "1 unverified; 1 wrong; 2 truncated or looping; 1 repeated word for word within a problem" in card
    table = pq.read_table(out / "data/train.parquet")
    assert ids(table.to_pylist()) == ["a", "c", "d", "f", "j"] and table["step"].null_count == 5
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    export_verified(run, "hf", out)
    assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"] and len(found["train"]) == done.tally.written


def test_a_hostile_card_stays_a_card(tmp_path):
    words = [w for w in (hostile.SCRIPT, "mit\n- x: y", "!!python/x", hostile.MARKDOWN, "Apache-2.0")]
    given_rows = [{"text": w, "correct": True, "licence": w, "model": w} for w in words]
    export_verified(make_run(tmp_path, given_rows), "hf", tmp_path / "out")
    yaml = pytest.importorskip("yaml")
    head, text = (tmp_path / "out/README.md").read_text().removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(head)["license"] == ["apache-2.0", "other"]
    assert "<script" not in text and "\n- x" not in text


def test_plain_where_every_trace_was_sampled_without_a_template(tmp_path):
    given_rows = [
        {"problem_id": "1", "text": "<think> 2", "correct": True, "template": "raw"},
        {"problem_id": "2", "text": " two", "correct": True, "template": "raw"},
        {"problem_id": "3", "text": "2", "correct": True, "template": "raw", "prompt": "1 + 1 =\n"},
    ]
    export_verified(make_run(tmp_path, given_rows), "trl-sft", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    joined = [line["prompt"] + line["completion"] for line in lines]
    assert joined == ["1 + 1 ? <think> 2", "1 + 1 ? two", "1 + 1 =\n2"]


@pytest.mark.parametrize("template", ["raw", None])
def test_trl_trains_on_the_completion_alone(tmp_path, template):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from tiny import tiny_model
    from transformers import AutoTokenizer

    words = ["so the number is 2", "wait check then the answer is 2", "plus 2 times 3 = 6"]
    given_rows = [
        {"problem_id": str(k), "text": w, "correct": True, "template": template, "prompt": f"what is {k} ?"}
        for k, w in enumerate(words)
    ]
    export_verified(make_run(tmp_path, given_rows), "trl-sft", tmp_path / "a.jsonl")
    lines = str(tmp_path / "a.jsonl")
    found = datasets.load_dataset("json", data_files=lines, cache_dir=str(tmp_path / "cache"))["train"]
    folder = tiny_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = trl.SFTConfig(output_dir=str(tmp_path / "out"), max_steps=1, report_to=[], use_cpu=True, bf16=False)
    trainer = trl.SFTTrainer(model=str(folder), args=options, train_dataset=found, processing_class=tokenizer)
    for k, (row, word) in enumerate(zip(trainer.train_dataset, words, strict=True)):
        labelled = list(zip(row["input_ids"], row["labels"], strict=True))
        learnt, asked = ([i for i, label in labelled if (label == -100) is not of] for of in (True, False))
        assert tokenizer.decode(learnt, skip_special_tokens=True).split() == word.split()
        assert f"what is {k}" in tokenizer.decode(asked)
    assert trainer.train().training_loss > 0


def test_the_command_tells_what_was_left_out(run, tmp_path, capsys):
    argv = ["export", str(run.path), "--what", "verified", "--out", str(tmp_path / "a.jsonl")]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "5 verified traces of 3 problems" in said and "left out: 2 truncated or looping" in said
    assert "how 1 of them ended is not stored" in said and "licences: CC-BY-4.0 1, MIT 1, unknown 3" in said
    assert main([*argv, "--format", "trl-sft", "--json"]) == 1  # one has no prompt
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["tally"]["written"], told["tally"]["no_prompt"]) == ("trl-sft", 4, 1)


def test_what_cannot_be_written_is_said_before_a_file_is_made(run, tmp_path):
    nothing = make_run(tmp_path / "x", [{"text": "3", "correct": False}, {"text": "4"}])
    for format in ("jsonl", "trl-sft", "hf"):
        with pytest.raises(UserError, match="of 2 traces none can be exported: 1 unverified; 1 wrong"):
            export_verified(nothing, format, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="--per-problem is 0; the least is 1"):
        export_verified(run, "jsonl", tmp_path / "out", per_problem=0)
    with pytest.raises(UserError, match="no trace has model=q"):
        export_verified(run, "jsonl", tmp_path / "out", "model=q")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="full holds something else"):
        export_verified(run, "hf", tmp_path / "full")
    with pytest.raises(UserError, match="full is a folder"):
        export_verified(run, "jsonl", tmp_path / "full")


def test_shards_are_read_one_after_another(tmp_path, monkeypatch):
    monkeypatch.setattr("dsl_probe.collect.importer._SHARD_ROWS", 7)
    given_rows = [
        {"trace_id": str(k), "problem_id": str(k % 11), "text": str(k % 5), "correct": True, "model": f"m{k % 2}"}
        for k in range(100)
    ]
    run = make_run(tmp_path, given_rows)
    assert len(run.shards("traces")) == 15
    tally = Tally()
    written = ids(verified(run, tally, "model=m1"))
    first: dict[tuple[str, str], str] = {}
    for r in given_rows[1::2]:
        first.setdefault((r["problem_id"], r["text"]), r["trace_id"])
    assert written == list(first.values()) and tally.read == 50
