"""Other tools' own logs as raw rows: Inspect AI, lm-evaluation-harness, TRL, verl, OpenAI-compatible servers.

`rows("inspect", path)` yields (line or sample number from 1, a dict with our column names or a BadRow). Whatever a tool
writes and we have no column for stands in `meta`. What a log does not say is left out, not guessed: none of these tools
but Inspect and the servers says why a generation ended.

Thinking that a tool keeps in a field of its own (Inspect's reasoning parts, `reasoning_content`, `reasoning`) is put
where the model wrote it, before the answer: `<think>`, newline, thinking, newline, `</think>`, blank line, answer, with
a newline added only where the field does not bring it. A thinking that was cut off stays open. These tags are ours, not
the model's: `meta["thinking"]` says "field" on such a row. Where token ids are known they, not the text, are the truth.
"""

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsl_probe.collect.conversation import (
    FINISH,
    as_number,
    as_text,
    known_row,
    messages_of,
    plain_text,
    prompt_columns,
    said,
    sampling_of,
    text_of,
    verdict,
)
from dsl_probe.collect.records import BadRow, Json, Records, converted, json_file, json_records, wrong_file

Format = Callable[[Path], Records]


# Files that a tool puts beside its completions: they hold none, so a folder of logs may hold them.
_BESIDE = {
    "inspect": r"(logs|listing|eval-set)\.json",
    "lm-eval": r".+_\d{4}-\d\d-\d\dT[\d.-]+\.json",
    "trl": r"README\.md",
}
_ECHOED = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "reasoning_effort", "max_tokens")
_INSPECT = {
    *("id", "epoch", "input", "target", "messages", "output", "attachments", "events", "events_data", "store"),
    *("timelines", "error_retries", "sandbox", "files", "setup"),
}
_LM_EVAL = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
}


def rows(format: str, path: Path) -> Records:
    """Raw rows of another tool's log. Raises ValueError, while iterating, if the file is no such log."""
    if format not in FORMATS:
        raise ValueError(f"--format {format!r} is unknown; known are {', '.join(FORMATS)}.")
    if not re.fullmatch(_BESIDE.get(format, "$"), path.name):
        yield from FORMATS[format](path)


def inspect(path: Path) -> Records:
    """Inspect AI eval logs, `.eval` (deflate and, since 2026, zstd) and `.json`.

    A sample is one trace: all that the model wrote in it, in order, after the messages that came before its first turn.
    In a conversation (tools, follow-ups) what others said in between is in `meta["between"]`. `correct` and `score` are
    the first scorer's; C and 1 are correct, I, N and 0 are not, all else is only a score.
    """
    what = "an Inspect log (.eval: a zip with header.json and samples/*.json; .json: eval, samples)"
    fix = "Give the log itself; `inspect log dump` turns any of them into .json."
    if zipfile.is_zipfile(path):
        try:
            zipfile.ZipFile(path).close()
        except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
            raise wrong_file(path, what, [f"a damaged zip: {error}"], fix) from None
        with zipfile.ZipFile(path) as archive:
            names = list(dict.fromkeys(archive.namelist()))
            heads = [n for n in ("header.json", "_journal/start.json") if n in names]  # the second while it still runs
            log = _loaded(archive, heads[0]) if heads else {}
            if not (isinstance(log, dict) and isinstance(log.get("eval"), dict)):
                raise wrong_file(path, what, names, fix)
            samples = [n for n in names if re.fullmatch(r"samples/.+(_epoch_\d+|/sample)\.json", n)]
            entries = ((i, _loaded(archive, n)) for i, n in enumerate(samples, 1))
            yield from converted(entries, lambda s: [_inspect_sample(s, log)])
    else:
        log = json_file(path, what, fix)
        if not (isinstance(log, dict) and isinstance(log.get("eval"), dict) and isinstance(log.get("samples"), list)):
            raise wrong_file(path, what, log, fix)
        yield from converted(enumerate(log["samples"], 1), lambda s: [_inspect_sample(s, log)])


def lm_eval(path: Path) -> Records:
    """lm-evaluation-harness `samples_<task>_<date>.jsonl`, written with --log_samples.

    The harness writes one line a document and filter, with the same generations in each: they become one trace a
    generation, judged by the filter that comes first; the others are in `meta["filters"]`. With repeats a metric
    judges the group, so `correct` stays unknown. Multiple-choice tasks generate nothing: their lines are bad rows. The
    model is the one in the results file of the same date, else the folder's name as the harness spells it
    ("Qwen__Qwen3-8B").
    """
    found = re.fullmatch(r"samples_(.+)_([^_]+)\.jsonl?", path.name)
    task, date = found.groups() if found else (path.stem, "")
    config: Json = {}
    for beside in sorted(path.parent.glob(f"*_{date}.json")) if date else []:
        config = json_file(beside, "lm-eval results", "Give the folder as lm-eval wrote it.")
    seen: dict[Any, dict[str, Json]] = {}

    def read() -> Records:
        return json_records(
            path, "lm-eval samples (doc_id, arguments, resps)", {"doc_id"}, {"arguments", "resps"},
            "Give samples_<task>_<date>.jsonl, as --log_samples writes it.",
        )  # fmt: skip

    for _, row in read():
        if isinstance(row, dict) and isinstance(row.get("doc_id"), int | str) and "resps" in row:
            verdicts = {"filtered_resps": row.get("filtered_resps"), **_lm_eval_metrics(row)}
            seen.setdefault(row["doc_id"], {}).setdefault(str(row.get("filter", "none")), verdicts)

    def convert(row: Json) -> list[Json]:
        filters, name = seen.get(row["doc_id"], {}), str(row.get("filter", "none"))
        if filters and name != next(iter(filters)):
            return []
        others = {k: v for k, v in filters.items() if k != name}
        return _lm_eval_doc(row, others, task, path.parent.name, config)

    yield from converted(read(), convert)


def trl(path: Path) -> Records:
    """TRL's `completions/completions_<step>.parquet` (log_completions), and the W&B table of earlier versions.

    The log names no model; the run is the name of the trainer's output folder. `score` is the reward where there is
    only one reward function; `correct` comes from TRL's own accuracy rewards. All rewards are in `meta`.
    """
    what = "TRL completions (columns step, prompt, completion, a column a reward, advantage)"
    fix = "Give completions/completions_<step>.parquet, as log_completions=True writes it."
    if path.name.endswith(".json"):  # W&B's form of the same table
        table = json_file(path, what, fix)
        if not (isinstance(table, dict) and {"columns", "data"} <= table.keys()):
            raise wrong_file(path, what, table, fix)
        columns, run = table["columns"], None
        data = [dict(zip(columns, r, strict=False)) for r in table["data"]]
    else:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                columns, data = file.schema_arrow.names, file.read().to_pylist()
        except (ValueError, OSError) as error:
            raise wrong_file(path, what, [f"no readable Parquet: {error}"], fix) from None
        folder = path.resolve().parent
        run = folder.parent.name if folder.name == "completions" else None
    if not {"prompt", "completion"} <= set(columns):
        raise wrong_file(path, what, columns, fix)
    known = {"step", "prompt", "completion", "advantage", "image", "images"}
    rewards = [c for c in columns if c not in known and any(isinstance(r.get(c), float) for r in data)]

    def convert(row: Json) -> list[Json]:
        text, notes = said(messages_of(row["completion"], "completion"))
        score = as_number(row.get(rewards[0])) if len(rewards) == 1 else None
        correct = verdict(row.get("accuracy_reward", row.get("reasoning_accuracy_reward")))[0]
        rest = {k: v for k, v in row.items() if k not in known and v == v}  # no NaN
        return [
            known_row(
                run=run, step=int(row["step"]), text=text, score=score, correct=correct,
                **prompt_columns(row["prompt"]), meta={**rest, "advantage": as_number(row.get("advantage")), **notes},
            )
        ]  # fmt: skip

    yield from converted(((i, r) for i, r in enumerate(data, 1)), convert)


def verl(path: Path) -> Records:
    """verl's `<step>.jsonl`, written to trainer.rollout_data_dir or trainer.validation_data_dir.

    The dump names no model; the run is the name of its folder. `correct` is the reward function's `acc`, or else the
    score where that is exactly 1 or 0; the score itself may hold penalties.
    """
    run = path.resolve().parent.name

    def convert(row: Json) -> list[Json]:
        step = row.get("step", path.stem)
        prompt, text = text_of(row.get("input", ""), "input"), text_of(row["output"], "output")
        known = ("input", "output", "gts", "score", "step")
        return [
            known_row(
                run=run, step=int(step), prompt=prompt, text=text, reference=as_text(row.get("gts")),
                correct=verdict(row.get("acc", row.get("score")))[0], score=as_number(row.get("score")),
                answer=as_text(row.get("pred")), meta={k: v for k, v in row.items() if k not in known},
            )
        ]  # fmt: skip

    what = "a verl generation dump (input, output, score, step)"
    fix = "Give <step>.jsonl from trainer.rollout_data_dir or trainer.validation_data_dir."
    yield from converted(json_records(path, what, {"input", "score"}, {"output", "gts", "step"}, fix), convert)


def openai(path: Path) -> Records:
    """Chat (or text) completions of an OpenAI-compatible server: JSONL, a JSON list or one object.

    A record is a completion, a line of a Batch API output, or {"request": {...}, "response": {...}}. A batch output
    does not hold the prompt: there `problem_id` is the custom_id. Choices are samples. Log-probabilities cover what the
    server generated, thinking included; without token ids the tokens they belong to are in `meta["tokens"]`.
    """
    what = 'completions ("choices"), batch output lines (custom_id, response) or pairs (request, response)'
    fix = "Give the output of the server or of the batch, not its input."
    yield from converted(json_records(path, what, set(), {"choices", "response"}, fix), _openai_record)


FORMATS: dict[str, Format] = {"inspect": inspect, "lm-eval": lm_eval, "trl": trl, "verl": verl, "openai": openai}


def _inspect_sample(sample: Json, log: Json) -> Json:
    kept = {k: sample.get(k) for k in ("input", "messages", "output")}
    kept = _attached(kept, sample.get("attachments") or {})
    error, limit = sample.get("error") or {}, sample.get("limit") or {}
    choices = (kept["output"] or {}).get("choices")
    if not choices:
        raise ValueError(f"no output: {error.get('message') or limit.get('type') or 'the sample has no choices'}")
    messages, last = kept["messages"] or messages_of(kept["input"], "input", "user"), choices[0]["message"]
    turns = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    turns = [i for i in turns if messages[i].get("source") == "generate"] or turns[-1:]
    first = turns[0] if turns else len(messages)
    stop = choices[0].get("stop_reason") or "unknown"
    text, notes = said(messages[first:] if turns else [last], stop)
    if not text:
        raise ValueError(f"no text: the model stopped ({stop}) without any")
    task, spec = log["eval"]["task"], log["eval"]
    config = {**(spec.get("model_generate_config") or {}), **((log.get("plan") or {}).get("config") or {})}
    for event in sample.get("events") or []:
        if event.get("event") == "model":  # what the solver changed for this call
            config.update({k: v for k, v in (event.get("config") or {}).items() if v is not None})
            break
    scores = sample.get("scores") or {}
    scorer, judged = next(iter(scores.items()), (None, {}))
    correct, score = verdict(judged.get("value"))
    between = [{"role": m["role"], "content": plain_text(m)} for m in messages[first:] if m["role"] != "assistant"]
    return known_row(
        trace_id=f"{sample['id']}_epoch_{sample['epoch']}", problem_id=f"{task}/{sample['id']}", domain=task,
        model=spec["model"], sample=sample["epoch"] - 1, seed=config.get("seed"), text=text, finish=FINISH.get(stop),
        **prompt_columns(messages[:first]), **(_logprobs(choices[0], notes) if len(turns) < 2 else {}),
        answer=as_text(judged.get("answer")), reference=as_text(sample.get("target")), correct=correct, score=score,
        sampling=sampling_of(config),
        meta={
            **{k: v for k, v in sample.items() if k not in _INSPECT}, **notes, "scorer": scorer, "scores": scores,
            "between": between, "turns": len(turns), "stop_reason": stop, "error": error.get("message"),
            "eval_id": spec.get("eval_id"), "task_version": spec.get("task_version"), "created": spec.get("created"),
        },
    )  # fmt: skip


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """One entry of a zip. Inspect compresses with zstd (method 93), which zipfile reads only from Python 3.14 on."""
    info = archive.getinfo(name)
    if info.compress_type != 93:
        return archive.read(name)
    import pyarrow as pa

    with open(str(archive.filename), "rb") as file:
        file.seek(info.header_offset)
        skip = sum(struct.unpack("<26x2H", file.read(30)))  # lengths of the local name and extra fields
        file.seek(skip, 1)
        packed = file.read(info.compress_size)
    data = pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read()
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"bad checksum of {name}")
    return data


def _loaded(archive: zipfile.ZipFile, name: str) -> "Json | BadRow":
    # Only Inspect's hidden command convert-chunked writes this shape.
    if name.endswith("/sample.json") and not re.search(r"_epoch_\d+\.json$", name):
        return BadRow("a sample in chunks, which is not read: give the log before its conversion", name)
    try:
        return json.loads(_entry(archive, name))
    except (ValueError, OSError, RuntimeError, EOFError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        return BadRow(f"the sample cannot be read: {error}", name)


def _attached(value: Any, attachments: Json) -> Any:
    """Inspect replaces long strings with attachment://<hash>; put them back."""
    if isinstance(value, str) and value.startswith("attachment://"):
        return attachments.get(value.removeprefix("attachment://"), value)
    if isinstance(value, dict):
        return {k: _attached(v, attachments) for k, v in value.items()}
    return [_attached(v, attachments) for v in value] if isinstance(value, list) else value


def _lm_eval_metrics(row: Json) -> Json:
    names = row.get("metrics") if isinstance(row.get("metrics"), list) else [k for k in row if k not in _LM_EVAL]
    return {k: row.get(k) for k in names or []}


def _lm_eval_doc(row: Json, others: Json, task: str, folder: str, config: Json) -> list[Json]:
    arguments, resps = row["arguments"], row["resps"]
    first = (list(arguments.values()) if isinstance(arguments, dict) else arguments)[0]
    prompt, *rest = first.values() if isinstance(first, dict) else first
    settings = rest[0] if rest else None
    if not isinstance(settings, dict):
        raise ValueError("no generated text: the task compares likelihoods of given answers")
    if isinstance(prompt, list):  # a chat prompt for an API model: a tuple of one string, which is JSON
        prompt = json.loads(prompt[0])
    samples = resps[0]
    if not isinstance(samples, list) or not samples:
        raise ValueError(f"wrong type: resps must be a list of lists of texts, not {resps!r:.80}")
    metrics = _lm_eval_metrics(row)
    alone = len(samples) == 1
    filtered = row.get("filtered_resps")
    answer = filtered[0] if alone and filtered and isinstance(filtered[0], str) else None
    correct, score = verdict(next(iter(metrics.values()), None)) if alone else (None, None)
    seeds = {k: v for k, v in (config.get("config") or {}).items() if k.endswith("_seed")}
    return [
        known_row(
            trace_id=f"{row['doc_id']}/{i}", problem_id=f"{task}/{row['doc_id']}", domain=task,
            model=config.get("model_name") or folder, sample=i, text=text_of(text, "resps"), **prompt_columns(prompt),
            answer=answer, reference=as_text(row.get("target")), correct=correct, score=score,
            sampling=sampling_of({**settings, **seeds}), template=config.get("chat_template") or None,
            meta={
                **{k: row.get(k) for k in ("filter", "doc", "doc_hash", "prompt_hash", "target_hash")},
                "metrics": metrics, "filters": others, "filtered_resps": None if alone else filtered,
            },
        )
        for i, text in enumerate(samples)
    ]  # fmt: skip


def _openai_record(record: Json) -> list[Json]:
    response, request = record.get("response", record), record.get("request") or {}
    if response is None or "body" in response:
        body = (response or {}).get("body") or {}
        failed = record.get("error") or body.get("error")
        if failed or (response or {}).get("status_code", 200) != 200:
            raise ValueError(f"the request failed: {json.dumps(failed or response)}")
        response = body
    request = request.get("body", request)
    if str(response.get("object", "")).endswith(".chunk"):
        raise ValueError("a chunk of a stream: store the whole completion")
    if not response.get("choices"):
        raise ValueError(f"no output: no choices; the response has {', '.join(response) or 'nothing'}")
    name = record.get("custom_id")
    asked = request.get("messages", request.get("prompt", response.get("prompt_text")))
    params = {**{k: response[k] for k in _ECHOED if k in response}, **request}
    found = []
    for place, choice in enumerate(response["choices"]):
        stop, index = choice.get("finish_reason") or "", choice.get("index", place)
        if "text" in choice:
            text, notes = text_of(choice["text"], "text"), {}
        else:
            text, notes = said([{"role": "assistant", **choice["message"]}], stop)
        if not text and stop not in ("stop", "length"):
            raise ValueError(f"no text: finish_reason is {stop!r}")
        ids = {"prompt_ids": choice.get("prompt_token_ids") or response.get("prompt_token_ids")}
        rest = {k: v for k, v in response.items() if k not in ("choices", "prompt_token_ids", "model", "object")}
        found.append(
            known_row(
                trace_id=f"{name or response['id']}/{index}" if name or response.get("id") else None,
                problem_id=name if asked is None else None, model=response.get("model") or request.get("model"),
                sample=index if len(response["choices"]) > 1 else None, seed=params.get("seed"), text=text,
                finish=FINISH.get(stop), **{**ids, **prompt_columns(asked)}, **_logprobs(choice, notes),
                template=request.get("chat_template"), sampling=sampling_of(params),
                meta={**rest, "custom_id": name, "finish_reason": stop, "stop": choice.get("stop_reason"), **notes},
            )
        )  # fmt: skip
    return found


def _logprobs(choice: Json, notes: Json) -> Json:
    """Log-probabilities and token ids of a choice. Token strings go to the notes where there are no ids."""
    given, ids = choice.get("logprobs") or {}, choice.get("token_ids")
    pairs = given.get("content")
    if pairs:
        tokens, values = [p["token"] for p in pairs], [p["logprob"] for p in pairs]
    else:  # the older text completions
        tokens, values = given.get("tokens"), given.get("token_logprobs")
    if tokens and ids is None and all(re.fullmatch(r"token_id:\d+", t) for t in tokens):
        ids = [int(t.removeprefix("token_id:")) for t in tokens]  # vLLM's return_tokens_as_token_ids
    if tokens and ids is None:
        notes["tokens"] = tokens
    if values and ids is not None and len(values) != len(ids):
        notes["logprobs"], values = values, None
    return {"token_ids": ids, "logprobs": values}
