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
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class BadRow:
    """A record that is no trace: why, and what it was."""

    reason: str
    raw: str


Json = dict[str, Any]
Records = Iterator[tuple[int, "Json | BadRow"]]
Format = Callable[[Path], Records]

_RAW_LIMIT, _PEEK = 64_000, 100
_FINISH = {"stop": "stop", "length": "length", "max_tokens": "length", "model_length": "length", "repetition": "loop"}
# Files that a tool puts beside its completions: they hold none, so a folder of logs may hold them.
_BESIDE = {
    "inspect": r"(logs|listing|eval-set)\.json",
    "lm-eval": r".+_\d{4}-\d\d-\d\dT[\d.-]+\.json",
    "trl": r"README\.md",
}
# How a request travels, not how tokens are drawn.
_NOT_SAMPLING = {
    *("messages", "prompt", "model", "tools", "user", "metadata", "store", "stream", "stream_options", "service_tier"),
    *("request_id", "session_id", "priority", "safety_identifier", "prompt_cache_key", "cache_salt", "chat_template"),
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections"),
    *("extra_headers", "cache", "cache_prompt", "batch"),
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
            raise _wrong(path, what, [f"a damaged zip: {error}"], fix) from None
        with zipfile.ZipFile(path) as archive:
            names = list(dict.fromkeys(archive.namelist()))
            heads = [n for n in ("header.json", "_journal/start.json") if n in names]  # the second while it still runs
            log = _loaded(archive, heads[0]) if heads else {}
            if not (isinstance(log, dict) and isinstance(log.get("eval"), dict)):
                raise _wrong(path, what, names, fix)
            samples = [n for n in names if re.fullmatch(r"samples/.+(_epoch_\d+|/sample)\.json", n)]
            entries = ((i, _loaded(archive, n)) for i, n in enumerate(samples, 1))
            yield from _mapped(entries, lambda s: [_inspect_sample(s, log)])
    else:
        log = _json_file(path, what, fix)
        if not (isinstance(log, dict) and isinstance(log.get("eval"), dict) and isinstance(log.get("samples"), list)):
            raise _wrong(path, what, log, fix)
        yield from _mapped(enumerate(log["samples"], 1), lambda s: [_inspect_sample(s, log)])


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
        config = _json_file(beside, "lm-eval results", "Give the folder as lm-eval wrote it.")
    seen: dict[Any, dict[str, Json]] = {}

    def read() -> Records:
        return _json_records(
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

    yield from _mapped(read(), convert)


def trl(path: Path) -> Records:
    """TRL's `completions/completions_<step>.parquet` (log_completions), and the W&B table of earlier versions.

    The log names no model; the run is the name of the trainer's output folder. `score` is the reward where there is
    only one reward function; `correct` comes from TRL's own accuracy rewards. All rewards are in `meta`.
    """
    what = "TRL completions (columns step, prompt, completion, a column a reward, advantage)"
    fix = "Give completions/completions_<step>.parquet, as log_completions=True writes it."
    if path.name.endswith(".json"):  # W&B's form of the same table
        table = _json_file(path, what, fix)
        if not (isinstance(table, dict) and {"columns", "data"} <= table.keys()):
            raise _wrong(path, what, table, fix)
        columns, run = table["columns"], None
        data = [dict(zip(columns, r, strict=False)) for r in table["data"]]
    else:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                columns, data = file.schema_arrow.names, file.read().to_pylist()
        except (ValueError, OSError) as error:
            raise _wrong(path, what, [f"no readable Parquet: {error}"], fix) from None
        folder = path.resolve().parent
        run = folder.parent.name if folder.name == "completions" else None
    if not {"prompt", "completion"} <= set(columns):
        raise _wrong(path, what, columns, fix)
    known = {"step", "prompt", "completion", "advantage", "image", "images"}
    rewards = [c for c in columns if c not in known and any(isinstance(r.get(c), float) for r in data)]

    def convert(row: Json) -> list[Json]:
        text, notes = _said(_messages(row["completion"], "completion"))
        score = _number(row.get(rewards[0])) if len(rewards) == 1 else None
        correct = _verdict(row.get("accuracy_reward", row.get("reasoning_accuracy_reward")))[0]
        rest = {k: v for k, v in row.items() if k not in known and v == v}  # no NaN
        return [
            _row(
                run=run, step=int(row["step"]), text=text, score=score, correct=correct,
                **_prompt(row["prompt"]), meta={**rest, "advantage": _number(row.get("advantage")), **notes},
            )
        ]  # fmt: skip

    yield from _mapped(((i, r) for i, r in enumerate(data, 1)), convert)


def verl(path: Path) -> Records:
    """verl's `<step>.jsonl`, written to trainer.rollout_data_dir or trainer.validation_data_dir.

    The dump names no model; the run is the name of its folder. `correct` is the reward function's `acc`, or else the
    score where that is exactly 1 or 0; the score itself may hold penalties.
    """
    run = path.resolve().parent.name

    def convert(row: Json) -> list[Json]:
        step = row.get("step", path.stem)
        prompt, text = _text(row.get("input", ""), "input"), _text(row["output"], "output")
        known = ("input", "output", "gts", "score", "step")
        return [
            _row(
                run=run, step=int(step), prompt=prompt, text=text, reference=_written(row.get("gts")),
                correct=_verdict(row.get("acc", row.get("score")))[0], score=_number(row.get("score")),
                answer=_written(row.get("pred")), meta={k: v for k, v in row.items() if k not in known},
            )
        ]  # fmt: skip

    what = "a verl generation dump (input, output, score, step)"
    fix = "Give <step>.jsonl from trainer.rollout_data_dir or trainer.validation_data_dir."
    yield from _mapped(_json_records(path, what, {"input", "score"}, {"output", "gts", "step"}, fix), convert)


def openai(path: Path) -> Records:
    """Chat (or text) completions of an OpenAI-compatible server: JSONL, a JSON list or one object.

    A record is a completion, a line of a Batch API output, or {"request": {...}, "response": {...}}. A batch output
    does not hold the prompt: there `problem_id` is the custom_id. Choices are samples. Log-probabilities cover what the
    server generated, thinking included; without token ids the tokens they belong to are in `meta["tokens"]`.
    """
    what = 'completions ("choices"), batch output lines (custom_id, response) or pairs (request, response)'
    fix = "Give the output of the server or of the batch, not its input."
    yield from _mapped(_json_records(path, what, set(), {"choices", "response"}, fix), _openai_record)


FORMATS: dict[str, Format] = {"inspect": inspect, "lm-eval": lm_eval, "trl": trl, "verl": verl, "openai": openai}


def _inspect_sample(sample: Json, log: Json) -> Json:
    kept = {k: sample.get(k) for k in ("input", "messages", "output")}
    kept = _attached(kept, sample.get("attachments") or {})
    error, limit = sample.get("error") or {}, sample.get("limit") or {}
    choices = (kept["output"] or {}).get("choices")
    if not choices:
        raise ValueError(f"no output: {error.get('message') or limit.get('type') or 'the sample has no choices'}")
    messages, last = kept["messages"] or _messages(kept["input"], "input", "user"), choices[0]["message"]
    turns = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    turns = [i for i in turns if messages[i].get("source") == "generate"] or turns[-1:]
    first = turns[0] if turns else len(messages)
    stop = choices[0].get("stop_reason") or "unknown"
    text, notes = _said(messages[first:] if turns else [last], stop)
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
    correct, score = _verdict(judged.get("value"))
    between = [{"role": m["role"], "content": _plain(m)} for m in messages[first:] if m["role"] != "assistant"]
    return _row(
        trace_id=f"{sample['id']}_epoch_{sample['epoch']}", problem_id=f"{task}/{sample['id']}", domain=task,
        model=spec["model"], sample=sample["epoch"] - 1, seed=config.get("seed"), text=text, finish=_FINISH.get(stop),
        **_prompt(messages[:first]), **(_logprobs(choices[0], notes) if len(turns) < 2 else {}),
        answer=_written(judged.get("answer")), reference=_written(sample.get("target")), correct=correct, score=score,
        sampling=_sampling(config),
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
    first = next(iter(arguments.values())) if isinstance(arguments, dict) else arguments[0]
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
    correct, score = _verdict(next(iter(metrics.values()), None)) if alone else (None, None)
    seeds = {k: v for k, v in (config.get("config") or {}).items() if k.endswith("_seed")}
    return [
        _row(
            trace_id=f"{row['doc_id']}/{i}", problem_id=f"{task}/{row['doc_id']}", domain=task,
            model=config.get("model_name") or folder, sample=i, text=_text(text, "resps"), **_prompt(prompt),
            answer=answer, reference=_written(row.get("target")), correct=correct, score=score,
            sampling=_sampling({**settings, **seeds}), template=config.get("chat_template") or None,
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
            text, notes = _text(choice["text"], "text"), {}
        else:
            text, notes = _said([{"role": "assistant", **choice["message"]}], stop)
        if not text and stop not in ("stop", "length"):
            raise ValueError(f"no text: finish_reason is {stop!r}")
        ids = {"prompt_ids": choice.get("prompt_token_ids") or response.get("prompt_token_ids")}
        rest = {k: v for k, v in response.items() if k not in ("choices", "prompt_token_ids", "model", "object")}
        found.append(
            _row(
                trace_id=f"{name or response['id']}/{index}" if name or response.get("id") else None,
                problem_id=name if asked is None else None, model=response.get("model") or request.get("model"),
                sample=index if len(response["choices"]) > 1 else None, seed=params.get("seed"), text=text,
                finish=_FINISH.get(stop), **{**ids, **_prompt(asked)}, **_logprobs(choice, notes),
                template=request.get("chat_template"), sampling=_sampling(params),
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


def _said(messages: list[Json], stop: str = "") -> tuple[str, Json]:
    """What the assistant wrote in these messages, thinking in its place, and notes for meta."""
    texts: list[str] = []
    notes: Json = {}
    thinking = False
    for message in (m for m in messages if m["role"] == "assistant"):
        text = ""
        for kind, part in _parts(message):
            if not part:
                continue
            if kind == "summary":  # another model's words
                notes.setdefault("reasoning_summary", []).append(part)
                continue
            gap = "\n\n" if text and thinking != (kind == "thinking") and part[0] != "\n" else ""
            thinking = kind == "thinking"
            if thinking:
                notes["thinking"] = "field"
                head, tail = "\n" if part[0] != "\n" else "", "\n" if part[-1] != "\n" else ""
                part = f"<think>{head}{part}{tail}</think>"
            text += gap + part
        if message.get("tool_calls"):
            notes.setdefault("tool_calls", []).extend(message["tool_calls"])
        if text:
            texts.append(text)
    if thinking and _FINISH.get(stop) == "length":  # cut off while it was thinking
        texts[-1] = texts[-1].removesuffix("</think>").removesuffix("\n")
    return "\n\n".join(texts), notes


def _parts(message: Json) -> Iterator[tuple[str, str]]:
    """Kind (thinking, summary, text) and text of the parts of a message, in order."""
    for field in ("reasoning_content", "reasoning"):
        if message.get(field):
            yield "thinking", _text(message[field], field)
            break
    content = message.get("content")
    for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
        kind = part.get("type")
        if kind == "reasoning" and part.get("redacted"):
            yield "summary", part.get("summary") or ""
        elif kind == "reasoning":
            yield "thinking", _text(part.get("reasoning") or "", "reasoning")
        elif kind == "thinking":  # Mistral
            inner = part["thinking"]
            yield "thinking", inner if isinstance(inner, str) else "".join(p.get("text", "") for p in inner)
        elif kind == "text":
            yield "text", _text(part.get("text") or "", "content")
    yield "text", message.get("refusal") or ""


def _plain(message: Json) -> str:
    return "".join(text for _, text in _parts(message))


def _prompt(asked: Any) -> Json:
    """A prompt as text. Of a chat the text is for people, so the messages are kept too."""
    if asked is None or isinstance(asked, str):
        return {"prompt": asked}
    if asked and all(isinstance(i, int) for i in asked):
        return {"prompt_ids": asked}
    asked = _messages(asked, "prompt")
    if len(asked) == 1 and asked[0]["role"] == "user":
        return {"prompt": _plain(asked[0])}
    said = [{"role": m["role"], "content": _plain(m)} for m in asked]
    return {"prompt": "\n\n".join(f"{m['role']}: {m['content']}" for m in said), "prompt_messages": said}


def _messages(value: Any, name: str, role: str = "assistant") -> list[Json]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not all(isinstance(m, dict) and "role" in m for m in value):
        raise ValueError(f"wrong type: {name} must be a text or a list of messages, not {value!r:.80}")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"wrong type: {name} must be a text, not {type(value).__name__}")
    return value


def _written(value: Any) -> str | None:
    """A reference or answer as text: several allowed ones as JSON."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _verdict(value: Any) -> tuple[bool | None, float | None]:
    """(correct, score) of a metric's value. Only 1 and 0, and Inspect's C, I and N, say whether it is correct."""
    if isinstance(value, str):
        value = {"C": 1, "I": 0, "N": 0, "P": 0.5}.get(value)
    score = _number(value)
    return {1.0: True, 0.0: False}.get(-1.0 if score is None else score), score


def _sampling(config: Json) -> Json:
    return {k: v for k, v in config.items() if v is not None and k not in _NOT_SAMPLING}


def _row(meta: Json, prompt_messages: Any = None, **columns: Any) -> Json:
    """Only what is known: no nulls, no empty lists or objects."""
    meta["prompt_messages"] = prompt_messages
    meta = {k: v for k, v in meta.items() if v is not None and v != {} and v != []}
    return {k: v for k, v in {**columns, "meta": meta}.items() if v is not None and v != {}}


def _mapped(records: Iterable[tuple[int, "Json | BadRow"]], convert: Callable[[Json], list[Json]]) -> Records:
    """Convert record by record; what cannot be converted becomes a BadRow and loses no other."""
    for number, record in records:
        if isinstance(record, BadRow):
            yield number, record
            continue
        try:
            found: list[Any] = convert(record)
        except KeyError as error:
            found = [_bad(f"missing: {error.args[0]}", record)]
        except ValueError as error:
            found = [_bad(str(error), record)]
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            found = [_bad(f"not built as the tool writes it: {error}", record)]
        yield from ((number, row) for row in found)


def _json_records(path: Path, expected: str, every: set[str], some: set[str], fix: str) -> Records:
    """Objects of a JSONL file, a JSON list or one object, if any of the first 100 has the format's keys."""
    head, records = [], _objects(path)
    for number, record in records:
        head.append((number, record))
        if isinstance(record, dict) and every <= record.keys() and some & record.keys():
            break
        if len(head) == _PEEK:
            raise _wrong(path, expected, _keys(head), fix)
    else:
        if head:
            raise _wrong(path, expected, _keys(head), fix)
    yield from chain(head, records)


def _objects(path: Path) -> Records:
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
        file.seek(0)
        if start[:1] == b"[" or path.suffix == ".json":
            try:
                whole = json.loads(file.read())
            except (ValueError, RecursionError):  # JSON lines under another name
                file.seek(0)
            else:
                for number, item in enumerate(whole if isinstance(whole, list) else [whole], 1):
                    yield number, item if isinstance(item, dict) else _bad("not a JSON object", item)
                return
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                yield number, _bad(f"not JSON: {error}", line.decode("utf-8", "backslashreplace").rstrip("\r\n"))
            else:
                yield number, item if isinstance(item, dict) else _bad("not a JSON object", item)


def _json_file(path: Path, expected: str, fix: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _wrong(path, expected, [f"no JSON: {error}"], fix) from None


def _keys(head: list[tuple[int, Any]]) -> list[str]:
    return next((list(r) for _, r in head if isinstance(r, dict)), ["no JSON object"])


def _bad(reason: str, record: Any) -> BadRow:
    raw = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False, default=str)
    return BadRow(reason, raw[:_RAW_LIMIT])


def _wrong(path: Path, expected: str, found: Any, fix: str) -> ValueError:
    if not isinstance(found, dict | list):
        found = [f"a {type(found).__name__}"]
    keys = ", ".join(str(k) for k in list(found)[:12]) or "nothing"
    return ValueError(f"{path}: not {expected}; found: {keys}. {fix}")
