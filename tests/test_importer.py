"""Import: what a row needs, what is set aside, what is never lost."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import rows, write_jsonl

from dsl_probe.collect.importer import ImportConfig, import_traces, normalise, split_step
from dsl_probe.files import file_hash
from dsl_probe.store import Run
from dsl_probe.types import UserError


def take(tmp_path, content: bytes | list, name="in.jsonl", **config):
    path = tmp_path / name
    if isinstance(content, list):
        write_jsonl(path, content)
    else:
        path.write_bytes(content)
    run = Run.create(tmp_path / "run")
    return run, import_traces(run, [path], ImportConfig(**config))


def test_a_text_is_enough(tmp_path):
    run, result = take(tmp_path, [{"response": "so 2"}, {"completion": "so 3"}, {"text": ""}])
    assert (result.traces, result.rejected) == (3, 0)
    first = run.traces().iloc[0]
    assert first.trace_id == "in:1" and first.text == "so 2" and first.prompt == "" and first.domain == "all"
    assert first.problem_id is None or first.problem_id != first.problem_id
    assert first.correct is None and first.regime == "unknown" and first.model == "unknown"


def test_missing_problem_is_the_hash_of_domain_and_prompt(tmp_path):
    run, _ = take(
        tmp_path,
        [{"text": "a", "prompt": "p"}, {"text": "b", "prompt": "p"}, {"text": "c", "prompt": "p", "domain": "x"}],
    )
    t = run.traces()
    assert t.problem_id[0] == t.problem_id[1] != t.problem_id[2]
    assert t["sample"].tolist() == [0, 1, 0]


def test_columns_are_renamed_converted_and_kept():
    row = normalise(
        {"generation": "hi", "training": "rl_only", "correct": 1, "step": 3.0, "k": [1], "x": None},
        {"generation": "text"},
    )
    assert (row["text"], row["regime"], row["correct"], row["step"]) == ("hi", "rl_only", True, 3)
    assert json.loads(row["meta"]) == {"k": [1]}
    both = normalise({"text": "ours", "response": "theirs"}, {})
    assert both["text"] == "ours" and json.loads(both["meta"]) == {"response": "theirs"}


@pytest.mark.parametrize(
    "raw, reason",
    [
        ({}, "no text"),
        ({"text": None}, "no text"),
        ({"text": 3}, "wrong type: text"),
        ({"text": ["a"]}, "wrong type"),
        ({"text": "a", "correct": "maybe"}, "correct must be"),
        ({"text": "a", "correct": [1]}, "correct must be"),
        ({"text": "a", "step": "late"}, "step must be"),
        ({"text": "a", "step": float("inf")}, "step must be"),
        ({"text": "a", "step": float("nan")}, "step must be"),
        ({"text": "a", "seed": 2**70}, "out of range"),
        ({"text": "a", "token_ids": [1, -2]}, "out of range"),
        ({"text": "a", "token_ids": "1 2"}, "list of integers"),
        ({"text": "a", "logprobs": ["x"]}, "list of numbers"),
        ({"text": "a", "score": "high"}, "score must be"),
        ({"text": "a\ud800"}, "surrogate"),
        ({"text": "a", "model": {"name": "x"}}, "model must be text"),
    ],
)
def test_what_is_refused_and_why(raw, reason):
    with pytest.raises(ValueError, match=reason):
        normalise(raw, {})


@pytest.mark.parametrize(
    "model, want",
    [
        ("Qwen/Qwen2.5-7B + PPO (fork, step 12)", ("Qwen/Qwen2.5-7B + PPO (fork)", 12)),
        ("allenai/Olmo-RL-Zero@step_1300", ("allenai/Olmo-RL-Zero", 1300)),
        ("x checkpoint global_step_700 (note)", ("x checkpoint (note)", 700)),
        ("Qwen2.5-7B", (None, None)),
        ("Stepfun-2", (None, None)),
        ("twostep2", (None, None)),
    ],
)
def test_step_in_a_model_name(model, want):
    assert split_step(model) == want


def test_bad_rows_are_set_aside_with_line_and_reason(tmp_path):
    good = [json.dumps({"trace_id": f"t{i}", "text": f"word {i}"}).encode() for i in range(6)]
    content = b"\n".join(
        [
            good[0],
            b"{not json",
            b"[1, 2]",
            good[1],
            b"",
            b'{"text": "\xff\xfe"}',
            b'{"prompt": "p"}',
            good[0],
            b'{"trace_id": "t0", "text": "other"}',
            good[2],
            b"\x00\x01\x02",
            b"9" * 5000,
            b"[" * 100_000,
            good[3],
            b'{"text": "\\ud800"}',
            good[4] + b"\r",
            good[5],
        ]
    )
    run, result = take(tmp_path, content)
    assert (result.traces, result.duplicates, result.rejected) == (6, 1, 9)
    rejected = run.frame("rejected")
    assert rejected.line.tolist() == [2, 3, 6, 7, 9, 11, 12, 13, 15]
    for line, word in {2: "not JSON", 3: "list", 6: "UTF-8", 7: "no text", 9: "came before", 15: "surrogate"}.items():
        assert word in rejected.reason[rejected.line == line].item()
    assert "\\xff" in rejected.raw[rejected.line == 6].item()


def test_fuzzed_file_loses_no_row(tmp_path):
    rng = random.Random(0)
    lines = [json.dumps(r).encode() for r in rows(problems=20)]
    for i in rng.sample(range(len(lines)), 60):
        broken = bytearray(lines[i])
        for _ in range(rng.randint(1, 8)):
            broken[rng.randrange(len(broken))] = rng.choice([0, 10, 34, 92, 123, 200, 255, rng.randrange(256)])
        lines[i] = bytes(broken[: rng.randint(1, len(broken))])
    content = b"\n".join(lines)
    run, result = take(tmp_path, content)
    kept = sum(bool(line.strip()) for line in content.split(b"\n"))
    assert result.traces + result.duplicates + result.rejected == kept and result.rejected > 0
    assert run.status(verify=True)[0].state == "done"


def test_empty_file_and_one_trace(tmp_path):
    with pytest.raises(UserError, match=r"no rows in .*in\.jsonl"):
        take(tmp_path, b"\n\n")
    run, result = take(tmp_path, [{"text": "alone"}])
    assert result.traces == 1 and len(run.traces()) == 1


def test_all_rows_bad_is_still_recorded(tmp_path):
    run, result = take(tmp_path, b"x\ny\n")
    assert (result.traces, result.rejected) == (0, 2) and len(run.frame("rejected")) == 2


def test_every_kind_of_source_gives_the_same_traces(tmp_path):
    content = rows(problems=3)
    write_jsonl(tmp_path / "a.jsonl", content)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    (tmp_path / "c.json").write_text(json.dumps(content))
    pq.write_table(pa.Table.from_pylist(content), tmp_path / "d.parquet")
    dataset = tmp_path / "e"
    dataset.mkdir()
    with pa.OSFile(str(dataset / "data-00000-of-00001.arrow"), "wb") as file:
        table = pa.Table.from_pylist(content)
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    (dataset / "dataset_info.json").write_text("{}")
    (dataset / "state.json").write_text("{}")
    frames = []
    for name in ("a.jsonl", "b.jsonl.gz", "c.json", "d.parquet", "e"):
        run = Run.create(tmp_path / f"run-{name}")
        import_traces(run, [tmp_path / name])
        frames.append(run.traces().drop(columns=["trace_id"]))
    for frame in frames[1:]:
        assert frame.equals(frames[0])


def test_runs_are_united_without_doubling(tmp_path):
    for name, seed in (("x", 1), ("y", 2)):
        write_jsonl(tmp_path / f"{name}.jsonl", rows(problems=2, seed=seed))
        import_traces(Run.create(tmp_path / name), [tmp_path / f"{name}.jsonl"])
    both = Run.create(tmp_path / "both")
    result = import_traces(both, [tmp_path / "x", tmp_path / "y"])
    assert result.traces == 32 and result.rejected == 0
    again = import_traces(Run.create(tmp_path / "again"), [tmp_path / "both", tmp_path / "x"])
    assert (again.traces, again.duplicates) == (32, 16)


def test_damaged_gzip_keeps_what_came_before(tmp_path):
    whole = gzip.compress(b"".join(json.dumps({"text": f"{random.random()}"}).encode() + b"\n" for _ in range(5000)))
    _, result = take(tmp_path, whole[: len(whole) // 2], name="cut.jsonl.gz")
    assert result.traces > 1000 and result.rejected >= 1


@pytest.mark.parametrize(
    "name, content, word",
    [
        ("x.txt", b"a", "unknown kind of file"),
        ("x.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("x.json", b"[{", "not a JSON list"),
    ],
)
def test_unreadable_files_name_the_file(tmp_path, name, content, word):
    with pytest.raises(UserError, match=word) as error:
        take(tmp_path, content, name=name)
    assert name in str(error.value)


def test_wrong_options_name_the_allowed_values(tmp_path):
    with pytest.raises(UserError, match="THEIRS=OURS"):
        take(tmp_path, [{"text": "a"}], map=("a=nonsense",))
    with pytest.raises(UserError, match="inspect, lm-eval, trl, verl, openai"):
        take(tmp_path, [{"text": "a"}], format="wandb")
    with pytest.raises(UserError, match="no such file"):
        import_traces(Run.create(tmp_path / "run"), [tmp_path / "nowhere"])


def test_same_command_same_bytes_and_second_call_does_nothing(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", rows())
    hashes = []
    for name in ("r1", "r2"):
        run = Run.create(tmp_path / name)
        import_traces(run, [path])
        hashes.append(run.outputs("import"))
        before = (run.path / "traces/00000.parquet").stat().st_mtime_ns
        import_traces(run, [path])
        assert (run.path / "traces/00000.parquet").stat().st_mtime_ns == before
    assert hashes[0] == hashes[1]


def test_killed_import_goes_on_to_the_same_bytes(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": f"word {i} " * 20, "prompt": f"p{i}"} for i in range(60_000)])
    whole = Run.create(tmp_path / "whole")
    import_traces(whole, [path])
    command = [sys.executable, "-m", "dsl_probe", "import", str(path), "--out", str(tmp_path / "cut")]
    killed = 0
    for wait in (0.6, 0.9, 1.2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and killed > 0, done.stderr
    cut = Run(tmp_path / "cut")
    assert cut.outputs("import") == whole.outputs("import")
    assert not [p for p in cut.path.rglob("*.tmp")]
    assert all(file_hash(cut.path / n) == h for n, h in cut.outputs("import").items())
    assert os.listdir(cut.path / "stages") == ["import.json"]
