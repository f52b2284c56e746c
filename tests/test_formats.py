"""Other tools' logs. The files under fixtures/formats were written by the tools' own writers, with made-up content:

- inspect_sums.{eval,json}: Inspect AI 0.3.285 with a mock model (2 samples, 2 epochs; the .eval is zstd-compressed)
- lm_eval/: EvaluationTracker of lm-evaluation-harness 0.4.13, called with made-up samples
- verl/: RayPPOTrainer._write_generations of verl 0.9.1

TRL's table follows GRPOTrainer.log of TRL 1.16.0 (Parquet) and 0.24.0 (W&B table, where step is a string). OpenAI
records follow the API's reference (batch output line, chat.completion) and vLLM's protocol (reasoning, token_ids).
"""

import json
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from dsl_probe.collect.formats import FORMATS, rows
from dsl_probe.collect.importer import normalise
from dsl_probe.collect.records import BadRow

FIXTURES = Path(__file__).parent / "fixtures" / "formats"
LM_EVAL = FIXTURES / "lm_eval" / "toy__Reasoner-1B"
DATE = "2026-11-23T10-41-16.181344"


def read(name: str, path: Path) -> list[dict]:
    found = [row for _, row in rows(name, path)]
    assert not [r for r in found if isinstance(r, BadRow)]
    for row in found:
        normalise(row, {})  # every value has its column's type
        assert None not in row.values() and None not in row["meta"].values()
    return found


def lines(path: Path, *records: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


# Inspect


@pytest.mark.parametrize("ending", ["eval", "json"])
def test_inspect(ending):
    found = {r["trace_id"]: r for r in read("inspect", FIXTURES / f"inspect_sums.{ending}")}
    assert set(found) == {"q1_epoch_1", "q2_epoch_1", "q1_epoch_2", "q2_epoch_2"}
    first = found["q1_epoch_1"]
    assert first["text"] == "<think>\ntwo and two make four\n</think>\n\nThe answer is 4"
    assert first["prompt"] == "system: Be terse.\n\nuser: What is 2+2?"
    assert first["meta"]["prompt_messages"][0] == {"role": "system", "content": "Be terse."}
    # Of the model, the task and the solver; max_connections is how it travels.
    assert first["sampling"] == {"temperature": 0.7, "max_tokens": 64, "seed": 7}
    assert (first["model"], first["domain"], first["problem_id"]) == ("mockllm/toy", "sums", "sums/q1")
    assert (first["sample"], first["seed"], first["finish"]) == (0, 7, "stop")
    assert (first["correct"], first["score"], first["reference"]) == (True, 1.0, "4")
    assert first["meta"]["scorer"] == "includes" and first["meta"]["thinking"] == "field"
    assert found["q1_epoch_2"]["correct"] is False and found["q1_epoch_2"]["sample"] == 1
    cut = found["q2_epoch_1"]  # stopped while it was thinking: the tag stays open
    assert cut["finish"] == "length" and cut["text"].startswith("<think>\nhmm") and "</think>" not in cut["text"]
    assert cut["reference"] == '["9", "nine"]' and cut["meta"]["metadata"] == {"level": 1}
    # The field brings its own newlines: none is added.
    assert found["q2_epoch_2"]["text"] == "<think>\nthree threes\n</think>\n\nThe answer is 9"


def inspect_log(**sample: object) -> dict:
    log = json.loads((FIXTURES / "inspect_sums.json").read_text())
    log["samples"] = [{**next(s for s in log["samples"] if s["id"] == "q1"), **sample}]
    return log


def test_inspect_conversations_attachments_and_scores(tmp_path):
    messages = [
        {"role": "user", "content": "attachment://ab", "source": "input"},
        {"role": "assistant", "content": "an example", "source": "input"},
        {"role": "user", "content": "And 3+3?"},
        {"role": "assistant", "content": "I look it up.", "source": "generate", "tool_calls": [{"function": "sum"}]},
        {"role": "tool", "content": "6", "function": "sum"},
        {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "xyz==", "redacted": True, "summary": "s"},
                                          {"type": "text", "text": "It is 6."}], "source": "generate"},
    ]  # fmt: skip
    log = inspect_log(messages=messages, attachments={"ab": "A long question"}, scores={"judge": {"value": "P"}})
    (row,) = read("inspect", lines(tmp_path / "a.json", log))
    assert row["text"] == "I look it up.\n\nIt is 6."
    assert row["prompt"] == "user: A long question\n\nassistant: an example\n\nuser: And 3+3?"
    assert row["meta"]["between"] == [{"role": "tool", "content": "6"}] and row["meta"]["turns"] == 2
    assert row["meta"]["reasoning_summary"] == ["s"]
    assert "correct" not in row and row["score"] == 0.5
    for value, correct in [("C", True), ("I", False), ("N", False), (1, True), (0.0, False), (True, True), (0.7, None)]:
        (row,) = read("inspect", lines(tmp_path / "a.json", inspect_log(scores={"judge": {"value": value}})))
        assert row.get("correct") is correct
    nan = json.dumps(inspect_log(scores={"judge": {"value": float("nan")}}))  # Inspect writes NaN for unscored
    (row,) = [r for _, r in rows("inspect", lines(tmp_path / "a.json", nan))]
    assert isinstance(row, dict) and "score" not in row and "correct" not in row


def test_inspect_bad_samples(tmp_path):
    log = inspect_log()
    good = log["samples"][0]
    failed = {**good, "output": {"choices": [], "completion": ""}, "error": {"message": "ran out", "traceback": "..."}}
    wrong = {**good, "messages": 3}
    log["samples"] = [failed, good, {"id": 1}, "text", wrong]
    found = dict(rows("inspect", lines(tmp_path / "a.json", log)))
    assert isinstance(found[2], dict)
    assert found[1].reason == "no output: ran out"
    assert all(isinstance(found[i], BadRow) and found[i].raw for i in (1, 3, 4, 5))


def test_inspect_zip_that_runs_still_and_is_damaged(tmp_path):
    log = inspect_log()
    sample = log.pop("samples")[0]
    path = tmp_path / "running.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # as versions before zstd did
        archive.writestr("_journal/start.json", json.dumps({k: log[k] for k in ("version", "eval", "plan")}))
        archive.writestr("samples/q1_epoch_1.json", json.dumps(sample))
        archive.writestr("samples/q2_epoch_1.json", json.dumps(sample)[:200])
        archive.writestr("samples/q3_epoch_1/sample.json", "{}")
        archive.writestr("_journal/summaries/1.json", "[]")
    found = dict(rows("inspect", path))
    assert found[1]["correct"] is True
    assert "cannot be read" in found[2].reason and "chunks" in found[3].reason
    data = bytearray((FIXTURES / "inspect_sums.eval").read_bytes())
    with zipfile.ZipFile(FIXTURES / "inspect_sums.eval") as archive:
        start = archive.getinfo("samples/q1_epoch_1.json").header_offset + 30 + len("samples/q1_epoch_1.json")
    data[start + 60 : start + 160] = bytes(100)
    (tmp_path / "damaged.eval").write_bytes(data)
    kinds = [type(r) for _, r in rows("inspect", tmp_path / "damaged.eval")]
    assert kinds == [BadRow, dict, dict, dict]


# lm-evaluation-harness


def test_lm_eval_one_trace_for_all_filters():
    found = read("lm-eval", LM_EVAL / f"samples_toy_math_{DATE}.jsonl")
    assert [r["trace_id"] for r in found] == ["0/0", "1/0"]
    right, wrong = found
    assert right["text"] == "Two and two.\n#### 4" and right["prompt"] == "Question: What is 2+2?\nAnswer:"
    assert (right["model"], right["domain"], right["problem_id"]) == ("toy/Reasoner-1B", "toy_math", "toy_math/0")
    assert (right["correct"], right["answer"], right["reference"]) == (True, "4", "4")
    assert right["sampling"]["temperature"] == 0.0 and right["sampling"]["until"] == ["Question:", "</s>"]
    assert right["sampling"]["torch_seed"] == 1234 and right["template"] == "{{ messages }}"
    assert wrong["correct"] is False and wrong["answer"] == "[invalid]"
    assert wrong["meta"]["filters"] == {"flexible-extract": {"filtered_resps": ["8"], "exact_match": 0.0}}
    assert len(wrong["meta"]["prompt_hash"]) == 64 and wrong["meta"]["doc"]["question"] == "What is 3*3?"


def test_lm_eval_repeats_and_folder_name(tmp_path):
    folder = tmp_path / "toy__Reasoner-1B"
    folder.mkdir()
    shutil.copy(LM_EVAL / f"samples_toy_vote_{DATE}.jsonl", folder)
    found = read("lm-eval", folder / f"samples_toy_vote_{DATE}.jsonl")
    assert [(r["sample"], r["text"]) for r in found] == [(0, "so 4"), (1, "so 5"), (2, "so 4")]
    assert all("correct" not in r and r["meta"]["metrics"] == {"exact_match": 1.0} for r in found)
    assert {r["model"] for r in found} == {"toy__Reasoner-1B"}


def test_lm_eval_bad_rows(tmp_path):
    choice = [r for _, r in rows("lm-eval", LM_EVAL / f"samples_toy_choice_{DATE}.jsonl")]
    assert [r.reason.split(":")[0] for r in choice] == ["no generated text"]
    good = (LM_EVAL / f"samples_toy_math_{DATE}.jsonl").read_text().splitlines()[0]
    row = json.loads(good)
    chat = {**row, "doc_id": 7}  # a chat prompt for an API model
    chat["arguments"]["gen_args_0"]["arg_0"] = ['[{"role": "user", "content": "Two and two?"}]']
    no_output = {k: v for k, v in row.items() if k != "resps"}
    path = lines(
        tmp_path / "samples_t_x.jsonl",
        no_output,
        good[:300],
        {**row, "resps": ["no list"]},
        chat,
        "[1]",
        {**row, "doc_id": 9, "arguments": {}},
    )
    found = dict(rows("lm-eval", path))
    assert found[1].reason == "missing: resps" and found[2].reason.startswith("not JSON") and found[2].raw == good[:300]
    assert found[3].reason.startswith("wrong type: resps") and isinstance(found[5], BadRow)
    assert found[4]["prompt"] == "Two and two?" and found[6].reason.startswith("not built as the tool writes it")


# TRL


def trl_table() -> dict[str, list]:
    chat = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "What is 2+2?"}]
    return {
        "step": [20] * 3,
        "prompt": [chat, chat, chat[1:]],
        "completion": [[{"role": "assistant", "content": f"<think>\n{i}\n</think>\n{i}"}] for i in (4, 5, 6)],
        "accuracy_reward": [1.0, 0.0, None],
        "think_format_reward": [1.0, 1.0, 0.0],
        "solution": ["4", "4", "4"],
        "advantage": [0.7, -0.7, 0.0],
    }


def test_trl_parquet_of_chats(tmp_path):
    folder = tmp_path / "Toy-GRPO" / "completions"
    folder.mkdir(parents=True)
    path = folder / "completions_00020.parquet"
    pd.DataFrame(trl_table()).to_parquet(path)
    found = read("trl", path)
    assert [r["step"] for r in found] == [20, 20, 20] and {r["run"] for r in found} == {"Toy-GRPO"}
    assert [r.get("correct") for r in found] == [True, False, None] and "score" not in found[0]
    assert found[0]["text"] == "<think>\n4\n</think>\n4" and "thinking" not in found[0]["meta"]
    assert found[0]["prompt"] == "system: Be terse.\n\nuser: What is 2+2?" and found[2]["prompt"] == "What is 2+2?"
    assert found[1]["meta"]["think_format_reward"] == 1.0 and found[1]["meta"]["advantage"] == -0.7
    assert found[1]["meta"]["solution"] == "4"


def test_trl_parquet_of_texts_and_wandb_table(tmp_path):
    table = {"step": ["5", "5"], "prompt": ["2+2=", "2+2="], "completion": ["4", "5"], "my_reward": [0.9, 0.1]}
    pd.DataFrame(table).to_parquet(tmp_path / "completions_00005.parquet")
    wandb = {"columns": list(table), "data": [list(r) for r in zip(*table.values(), strict=True)], "ncols": 4}
    lines(tmp_path / "completions_5_ab.table.json", wandb)
    for name in ("completions_00005.parquet", "completions_5_ab.table.json"):
        found = read("trl", tmp_path / name)
        assert [(r["step"], r["prompt"], r["text"], r["score"]) for r in found] == [
            (5, "2+2=", "4", 0.9), (5, "2+2=", "5", 0.1)
        ]  # fmt: skip


def test_trl_bad_rows(tmp_path):
    table = trl_table()
    table["completion"][1] = None
    table["step"][2] = None
    pd.DataFrame(table).to_parquet(tmp_path / "a.parquet")
    found = [r for _, r in rows("trl", tmp_path / "a.parquet")]
    assert [type(r) for r in found] == [dict, BadRow, BadRow] and found[1].reason.startswith("wrong type: completion")


# verl


def test_verl():
    path = FIXTURES / "verl" / "toy_rollouts" / "12.jsonl"
    found = read("verl", path)
    assert [(r["step"], r["run"], r["correct"], r["score"]) for r in found] == [
        (12, "toy_rollouts", True, 1.0), (12, "toy_rollouts", False, 0.0), (12, "toy_rollouts", True, 0.8)
    ]  # fmt: skip
    assert found[0]["prompt"] == "user\nWhat is 2+2?\nassistant\n" and found[0]["text"] == "It is 4."
    assert found[2]["reference"] == '["9", "nine"]' and found[2]["answer"] == "9"
    assert found[2]["meta"] == {"acc": True, "pred": "9", "request_id": "r-2"}


def test_verl_bad_rows_and_older_dumps(tmp_path):
    old = {"input": "2+2=", "output": "4", "score": 0.5}  # no acc, no gts; the step is the file's name
    path = lines(
        tmp_path / "3.jsonl", {**old, "output": ["4"]}, {"input": "2+2=", "score": 1.0, "step": 3}, old, '{"input": "2'
    )
    found = dict(rows("verl", path))
    assert found[1].reason == "wrong type: output must be a text, not list" and found[2].reason == "missing: output"
    assert found[3]["step"] == 3 and "correct" not in found[3] and found[4].reason.startswith("not JSON")


# OpenAI-compatible servers


def completion(*choices: dict, **more: object) -> dict:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1760000000, "model": "toy-1",
            "choices": list(choices), "usage": usage, **more}  # fmt: skip


def choice(index: int = 0, content: object = "It is 4.", stop: str = "stop", **more: object) -> dict:
    message = {"role": "assistant", "content": content, "refusal": None, **more.pop("message", {})}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": stop, **more}


def test_openai_batch_output(tmp_path):
    logprobs = {"content": [{"token": "It", "logprob": -0.5, "bytes": [73, 116], "top_logprobs": []}], "refusal": None}
    body = completion(choice(message={"reasoning_content": "add"}), choice(1, "5", "length", logprobs=logprobs))
    line = {"id": "batch_req_1", "custom_id": "p-1", "error": None,
            "response": {"status_code": 200, "request_id": "r", "body": body}}  # fmt: skip
    refused = {**line, "response": {"status_code": 400, "request_id": "r", "body": {"error": {"message": "too long"}}}}
    lost = {**line, "response": None, "error": {"code": "batch_expired", "message": "not executed in time"}}
    found = list(rows("openai", lines(tmp_path / "out.jsonl", refused, lost, line, json.dumps(line)[:-9])))
    assert [n for n, _ in found] == [1, 2, 3, 3, 4]
    assert "too long" in found[0][1].reason and "batch_expired" in found[1][1].reason
    first, second = found[2][1], found[3][1]
    assert first["text"] == "<think>\nadd\n</think>\n\nIt is 4." and first["meta"]["thinking"] == "field"
    assert (first["problem_id"], first["trace_id"], first["sample"]) == ("p-1", "p-1/0", 0)
    assert (second["sample"], second["finish"], second["text"]) == (1, "length", "5")
    assert second["logprobs"] == [-0.5] and second["meta"]["tokens"] == ["It"]
    assert isinstance(found[4][1], BadRow)


def test_openai_pairs_and_vllm(tmp_path):
    request = {"model": "toy-1", "messages": [{"role": "user", "content": [{"type": "text", "text": "What is 2+2?"}]}],
               "temperature": 0.6, "top_p": 0.95, "max_tokens": 8, "seed": 3, "logprobs": True}  # fmt: skip
    logprobs = {"content": [{"token": "token_id:17", "logprob": -1.0}, {"token": "token_id:4", "logprob": -0.25}]}
    vllm = completion(
        choice(0, None, "length", message={"reasoning": "so it"}, logprobs=logprobs, token_ids=None),
        prompt_token_ids=[5],
    )
    loop = completion(choice(0, "a a a", "repetition", token_ids=[1, 1, 1], stop_reason="repetition_detected"))
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "It"}}]}
    path = lines(tmp_path / "log.jsonl", {"request": request, "response": vllm}, loop, chunk, completion())
    (cut, looped, *bad) = [r for _, r in rows("openai", path)]
    assert cut["text"] == "<think>\nso it" and cut["finish"] == "length"
    assert cut["token_ids"] == [17, 4] and cut["logprobs"] == [-1.0, -0.25] and cut["prompt_ids"] == [5]
    assert cut["prompt"] == "What is 2+2?" and cut["seed"] == 3 and "problem_id" not in cut
    assert cut["sampling"] == {"temperature": 0.6, "top_p": 0.95, "max_tokens": 8, "seed": 3, "logprobs": True}
    assert looped["finish"] == "loop" and looped["token_ids"] == [1, 1, 1]
    assert all(isinstance(r, BadRow) for r in bad) and len(bad) == 2


def test_openai_one_object_list_and_text_completion(tmp_path):
    text = {"id": "cmpl-1", "object": "text_completion", "model": "toy-base", "choices": [
        {"index": 0, "text": " 4", "finish_reason": "stop",
         "logprobs": {"tokens": [" ", "4"], "token_logprobs": [-0.1, -0.2], "text_offset": [0, 1]}}]}  # fmt: skip
    (tmp_path / "one.json").write_text(json.dumps(completion(choice()), indent=2))
    (tmp_path / "list.json").write_text(json.dumps([completion(choice()), text, 3]))
    assert read("openai", tmp_path / "one.json")[0]["text"] == "It is 4."
    found = [r for _, r in rows("openai", tmp_path / "list.json")]
    assert found[1]["text"] == " 4" and found[1]["logprobs"] == [-0.1, -0.2] and isinstance(found[2], BadRow)


# Files of another kind


@pytest.mark.parametrize("name", list(FORMATS))
def test_other_files_are_refused_with_the_fix(name, tmp_path):
    others = {"jsonl": lines(tmp_path / "other.jsonl", {"colour": "red", "size": 1}), "json": tmp_path / "other.json"}
    others["json"].write_text('{"colour": "red"}')
    (tmp_path / "other.bin").write_bytes(b"\x00\xff\x01 no text")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("colour.txt", "red")
    pd.DataFrame({"colour": ["red"]}).to_parquet(tmp_path / "other.parquet")
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError) as error:
            list(rows(name, file))
        assert str(file) in str(error.value) and "found: " in str(error.value) and "Give" in str(error.value)
    if name in ("verl", "lm-eval", "openai"):
        with pytest.raises(ValueError, match="colour, size"):
            list(rows(name, others["jsonl"]))


def test_unknown_format_and_files_beside_the_logs(tmp_path):
    with pytest.raises(ValueError, match="inspect, lm-eval, trl, verl, openai"):
        list(rows("csv", tmp_path))
    assert list(rows("lm-eval", LM_EVAL / f"results_{DATE}.json")) == []
    assert list(rows("inspect", lines(tmp_path / "logs.json", "{}"))) == []
