"""What the logs of several tools say in the same words: messages with thinking in them, prompts, verdicts, settings.

Thinking that stands in a field of its own is put where the model wrote it; see formats.py for how.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from dsl_probe.collect.records import Json

FINISH = {"stop": "stop", "length": "length", "max_tokens": "length", "model_length": "length", "repetition": "loop"}
# How a request travels, not how tokens are drawn.
_NOT_SAMPLING = {
    *("messages", "prompt", "model", "tools", "user", "metadata", "store", "stream", "stream_options", "service_tier"),
    *("request_id", "session_id", "priority", "safety_identifier", "prompt_cache_key", "cache_salt", "chat_template"),
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections"),
    *("extra_headers", "cache", "cache_prompt", "batch"),
}


def said(messages: list[Json], stop: str = "") -> tuple[str, Json]:
    """What the assistant wrote in these messages, thinking in its place, and notes for meta."""
    texts: list[str] = []
    notes: Json = {}
    thinking = False
    for message in (m for m in messages if m["role"] == "assistant"):
        text = ""
        for kind, part in parts_of(message):
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
    if thinking and FINISH.get(stop) == "length":  # cut off while it was thinking
        texts[-1] = texts[-1].removesuffix("</think>").removesuffix("\n")
    return "\n\n".join(texts), notes


def parts_of(message: Json) -> Iterator[tuple[str, str]]:
    """Kind (thinking, summary, text) and text of the parts of a message, in order."""
    for field in ("reasoning_content", "reasoning"):
        if message.get(field):
            yield "thinking", text_of(message[field], field)
            break
    content = message.get("content")
    for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
        kind = part.get("type")
        if kind == "reasoning" and part.get("redacted"):
            yield "summary", part.get("summary") or ""
        elif kind == "reasoning":
            yield "thinking", text_of(part.get("reasoning") or "", "reasoning")
        elif kind == "thinking":  # Mistral
            inner = part["thinking"]
            yield "thinking", inner if isinstance(inner, str) else "".join(p.get("text", "") for p in inner)
        elif kind == "text":
            yield "text", text_of(part.get("text") or "", "content")
    yield "text", message.get("refusal") or ""


def plain_text(message: Json) -> str:
    return "".join(text for _, text in parts_of(message))


def prompt_columns(asked: Any) -> Json:
    """A prompt as text. Of a chat the text is for people, so the messages are kept too."""
    if asked is None or isinstance(asked, str):
        return {"prompt": asked}
    if asked and all(isinstance(i, int) for i in asked):
        return {"prompt_ids": asked}
    asked = messages_of(asked, "prompt")
    if len(asked) == 1 and asked[0]["role"] == "user":
        return {"prompt": plain_text(asked[0])}
    chat = [{"role": m["role"], "content": plain_text(m)} for m in asked]
    return {"prompt": "\n\n".join(f"{m['role']}: {m['content']}" for m in chat), "prompt_messages": chat}


def messages_of(value: Any, name: str, role: str = "assistant") -> list[Json]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not all(isinstance(m, dict) and "role" in m for m in value):
        raise ValueError(f"wrong type: {name} must be a text or a list of messages, not {value!r:.80}")
    return value


def text_of(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"wrong type: {name} must be a text, not {type(value).__name__}")
    return value


def as_text(value: Any) -> str | None:
    """A reference or answer as text: several allowed ones as JSON."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def as_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def verdict(value: Any) -> tuple[bool | None, float | None]:
    """(correct, score) of a metric's value. Only 1 and 0, and Inspect's C, I and N, say whether it is correct."""
    if isinstance(value, str):
        value = {"C": 1, "I": 0, "N": 0, "P": 0.5}.get(value)
    score = as_number(value)
    return {1.0: True, 0.0: False}.get(-1.0 if score is None else score), score


def sampling_of(config: Json) -> Json:
    return {k: v for k, v in config.items() if v is not None and k not in _NOT_SAMPLING}


def known_row(meta: Json, prompt_messages: Any = None, **columns: Any) -> Json:
    """Only what is known: no nulls, no empty lists or objects."""
    meta["prompt_messages"] = prompt_messages
    meta = {k: v for k, v in meta.items() if v is not None and v != {} and v != []}
    return {k: v for k, v in {**columns, "meta": meta}.items() if v is not None and v != {}}
