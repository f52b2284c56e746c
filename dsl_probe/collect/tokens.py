"""A trace as a model reads it: token ids, and where each token lies in the text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from dsl_probe.types import TRACES

if TYPE_CHECKING:
    import pyarrow as pa

    from dsl_probe.models import Model

_byte_tables: "WeakKeyDictionary[Any, dict[int, bytes] | None]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Tokens:
    """A trace as the model reads it.

    ids: int32[n_prompt + n_completion]. source: "trace" where the completion's ids were stored with the trace, "text"
    where its text was tokenised for this. prefix: the forced opening of the text, whose tokens may be in the prompt.
    """

    trace_row: int
    trace_id: str
    ids: np.ndarray
    n_prompt: int
    source: str
    text: str
    prefix: str = ""

    @property
    def completion(self) -> np.ndarray:
        """Token ids of the completion: int32[n_completion]."""
        return self.ids[self.n_prompt :]

    def spans(self, tokenizer: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Where each token of the completion lies in the text, as `char_spans` tells it."""
        skip = len(self.prefix) if self.source == "trace" and self.text.startswith(self.prefix) else 0
        found = char_spans(tokenizer, self.completion, self.text[skip:]) if skip else None
        if found is not None:
            return found[0] + np.int32(skip), found[1] + np.int32(skip)
        return char_spans(tokenizer, self.completion, self.text)


def read_tokens(row: dict[str, Any], trace_row: int, model: "Model", template: str | None = None) -> Tokens:
    """The token ids of a trace for a model: its own where it has them for this tokenizer, else its text, tokenised.

    row: trace_id, prompt, text, prompt_ids, token_ids (arrays or None), tokenizer, prefix. The ids count as the model's
    if the trace names its tokenizer, or, where it names none, if they spell the text. Prompt and text are tokenised
    apart, the prompt under `template` (default: raw), since a model that samples sees the prompt alone first. A BOS is
    added only as the tokenizer adds it to the prompt.
    """
    from dsl_probe.models import render

    text, prompt_ids, own, prefix = row["text"], row["prompt_ids"], row["token_ids"], row["prefix"] or ""
    if own is not None and row["tokenizer"] != model.tokenizer_hash:
        known = row["tokenizer"] is None and _in_vocabulary(own, model) and _in_vocabulary(prompt_ids, model)
        guess = Tokens(trace_row, row["trace_id"], np.asarray(own, np.int32), 0, "trace", text, prefix)
        if not known or guess.spans(model.tokenizer) is None:
            own = None
    if own is None:
        prompt_ids = None
    completion = own if own is not None else model.tokenizer(text, add_special_tokens=False)["input_ids"]
    if prompt_ids is None:
        if row["prompt"]:
            prompt_ids = render(model, template or "raw", row["prompt"])
        else:
            prompt_ids = model.tokenizer("", add_special_tokens=True)["input_ids"]
    ids = np.concatenate([np.asarray(prompt_ids, np.int32), np.asarray(completion, np.int32)])
    return Tokens(trace_row, row["trace_id"], ids, len(prompt_ids), "text" if own is None else "trace", text, prefix)


def char_spans(tokenizer: Any, ids: Sequence[int] | np.ndarray, text: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Where each token lies in the text: starts, stops, int32[n] in characters. None if the ids do not spell the text.

    Tokens that together make up one character share its span. A special token that the text leaves out has an empty
    span. Byte-level tokenizers are read byte by byte; others by decoding a growing window, as a server that streams
    does.

    What it does not show: which of the tokens that share a span carries which part of the character.
    """
    ids = np.asarray(ids, np.int64).tolist()
    special = set(tokenizer.all_special_ids)
    table = _byte_table(tokenizer)
    if table is not None:
        found = _spans_by_bytes(table, special, ids, text)
        if found is not None:
            return found
    ending = len(ids)
    while ending and ids[ending - 1] in special:
        ending -= 1
    kept = [list(range(len(ids))), list(range(ending)), [i for i, t in enumerate(ids) if t not in special]]
    for n, keep in enumerate(kept):
        if keep not in kept[:n]:
            found = _spans_by_window(tokenizer, ids, keep, text)
            if found is not None:
                return found
    return None


def token_texts(tokenizer: Any, ids: Sequence[int] | np.ndarray) -> list[str]:
    """The text of each token by itself, with the space it holds; bytes that make up no character as `<0xE2>`.

    It depends on the token alone, so that it names the same token in every run of this tokenizer.
    """
    table, texts = _byte_table(tokenizer), []
    for i in map(int, ids):
        if table is not None and i in table:
            try:
                texts.append(table[i].decode("utf-8"))
            except UnicodeDecodeError:
                texts.append(f"<0x{table[i].hex().upper()}>")
        else:
            token = tokenizer.convert_ids_to_tokens(i)
            # SentencePiece writes a space as U+2581.
            texts.append(f"<{i}>" if token is None else str(token).replace("\u2581", " "))
    return texts


def model_slug(name: str, revision: str | None = None, adapter: str | None = None) -> str:
    """A model's name as a folder: the last two parts of its path, what no file name should hold replaced.

    >>> model_slug("Qwen/Qwen2.5-7B"), model_slug("runs/a/checkpoint-50", adapter="out/lora")
    ('Qwen-Qwen2.5-7B', 'a-checkpoint-50-out-lora')
    """
    parts = [p for p in Path(name).parts if p not in ("/", ".", "..")][-2:]
    parts += [revision] if revision else []
    parts += Path(adapter).parts[-2:] if adapter else []
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-.") or "model"


def context_length(model: "Model") -> int | None:
    """Most tokens that the model can read, or None where its config does not say."""
    return getattr(model.hf.config.get_text_config(decoder=True), "max_position_embeddings", None)


def table_rows(shard: "pa.Table") -> Iterator[dict[str, Any]]:
    """Rows of a shard of traces; a list column gives an array, not a list of Python numbers."""
    columns = {}
    for name in shard.column_names:
        column = shard[name].combine_chunks()
        if str(TRACES.field(name).type).startswith("list"):
            values, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
            valid = column.is_valid().to_numpy(zero_copy_only=False)
            columns[name] = [
                values[a:b] if ok else None for a, b, ok in zip(offsets[:-1], offsets[1:], valid, strict=True)
            ]
        else:
            columns[name] = column.to_pylist()
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _in_vocabulary(ids: Any, model: "Model") -> bool:
    return ids is None or not len(ids) or int(max(ids)) < len(model.tokenizer)


def _byte_table(tokenizer: Any) -> dict[int, bytes] | None:
    """Id -> bytes for a byte-level tokenizer; None for another kind."""
    if tokenizer not in _byte_tables:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        is_byte_level = type(getattr(backend, "decoder", None)).__name__ == "ByteLevel"
        _byte_tables[tokenizer] = _make_table(tokenizer) if is_byte_level else None
    return _byte_tables[tokenizer]


def _make_table(tokenizer: Any) -> dict[int, bytes]:
    # The printable stand-ins of GPT-2's byte-level alphabet: bytes that are printable stand for themselves, the others,
    # in order, for the characters from U+0100 on.
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte_of = {chr(b): b for b in plain}
    byte_of |= {chr(256 + n): b for n, b in enumerate(b for b in range(256) if b not in set(plain))}
    added = tokenizer.added_tokens_decoder
    table = {i: str(t).encode() for i, t in added.items()}
    for token, i in tokenizer.get_vocab().items():
        if i not in table:
            known = all(c in byte_of for c in token)
            table[i] = bytes(byte_of[c] for c in token) if known else token.encode()
    return table


def _spans_by_bytes(table: dict[int, bytes], special: set[int], ids: list[int], text: str):
    raw = text.encode("utf-8")
    ending = len(ids)
    while ending and ids[ending - 1] in special:
        ending -= 1
    for n in dict.fromkeys((ending, len(ids))):
        # Nearly always the pieces are the text, with or without the tokens that end it: then no loop is needed.
        pieces = list(map(table.get, ids[:n]))
        if None not in pieces and b"".join(cast(list[bytes], pieces)) == raw:
            last = np.full(len(ids), len(raw), np.int64)
            last[:n] = np.cumsum(np.fromiter(map(len, cast(list[bytes], pieces)), np.int64, n))
            return _chars_of_bytes(raw, text, np.concatenate([[0], last[:-1]]) if len(ids) else last, last)
    starts, stops, at = [], [], 0
    for i in ids:
        piece = table.get(i)
        if piece is not None and raw.startswith(piece, at):
            starts.append(at)
            at += len(piece)
        elif i in special:
            starts.append(at)
        else:
            return None
        stops.append(at)
    if at != len(raw):
        return None
    return _chars_of_bytes(raw, text, np.array(starts, np.int64), np.array(stops, np.int64))


def _chars_of_bytes(raw: bytes, text: str, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    begins = (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80
    char_of = np.append(np.cumsum(begins) - 1, len(text))
    filled = last > first
    stop = np.where(filled, char_of[np.maximum(last - 1, 0)] + 1, char_of[first])
    return char_of[first].astype(np.int32), stop.astype(np.int32)


def _spans_by_window(tokenizer: Any, ids: list[int], keep: list[int], text: str):
    """Decode the kept tokens one more at a time within a window that moves on whenever a character is complete."""
    starts, stops = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.int32)
    at, window, read = 0, 0, 0
    kept = [ids[i] for i in keep]

    def decode(part: list[int]) -> str:
        return tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    for n in range(len(kept)):
        before, now = decode(kept[window:read]), decode(kept[window : n + 1])
        if now.endswith("�") and n + 1 < len(kept):
            continue
        piece = now[len(before) :]
        if not text.startswith(piece, at):
            # Texts are stored with the space at their ends cut off now and then.
            piece = piece.lstrip() if at == 0 else "" if at == len(text) and not piece.strip() else piece
            if not text.startswith(piece, at):
                return None
        for i in keep[read : n + 1]:
            starts[i], stops[i] = at, at + len(piece)
        at += len(piece)
        window, read = read, n + 1
    if text[at:].strip():
        return None
    # A token that was left out stands where the one before it ended.
    inside = set(keep)
    for i in range(len(ids)):
        if i not in inside:
            starts[i] = stops[i] = stops[i - 1] if i else 0
    return starts, stops
