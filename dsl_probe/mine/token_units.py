"""The unit system `tokens`: a unit is a token of the model, for traces that carry their token ids."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dsl_probe.collect.tokens import Tokens, token_texts
from dsl_probe.mine.segment import Segmented, kind_of, segment
from dsl_probe.mine.steps import find_steps
from dsl_probe.store import Run
from dsl_probe.types import FORMAT, UserError


def check_tokens(run: Run, tokenizer: str | None) -> str:
    """The name that the tokenizer of all traces loads under. Refuses traces that do not share one, or hold no ids."""
    from dsl_probe.models import hash_tokenizer

    found: Counter[str | None] = Counter()
    without, models = 0, set()
    for shard in run.each_shard("traces", ["tokenizer", "token_ids", "model"]):
        found.update(shard["tokenizer"].to_pylist())
        without += shard["token_ids"].null_count
        models.update(shard["model"].to_pylist())
    shown = ", ".join(f"{name or 'none named'}: {n:,} traces" for name, n in sorted(found.items(), key=str))
    fix = "Mine them with --units words, or import the traces of one tokenizer into a run of their own."
    if without:
        raise UserError(f"--units tokens needs token ids; {without:,} traces have none. Mine them with --units words.")
    if len(found) != 1 or None in found:
        raise UserError(f"--units tokens needs one tokenizer for all traces; here are {shown}. {fix}")
    name = tokenizer or min(models)
    give = "Give the model or folder that holds the tokenizer: --tokenizer NAME."
    try:
        loaded = _tokenizer(name)
    except UserError as error:
        raise UserError(f"--units tokens reads the tokenizer of {name!r}: {error} {give}") from error
    if hash_tokenizer(loaded) not in found:
        raise UserError(f"the tokenizer of {name!r} is {hash_tokenizer(loaded)}; the traces have {shown}. {give}")
    return name


def segment_tokens(rows: Iterable[dict[str, Any]], name: str) -> tuple[Segmented, Segmented, np.ndarray]:
    """Units of traces and of their prompts, in one vocabulary, and which prompt each trace answers, int32[n_traces].

    rows: trace_id, text, prefix, prompt, token_ids, prompt_ids (arrays or None). Offsets are characters of the stored
    text; tokens that make up one character share it, and a token that the text leaves out has none. A vocabulary entry
    is the token's text with its space; bytes that are no character stand as `<0xE2>`. Case is never folded.

    Raises UserError for a trace whose ids do not spell its text.
    """
    tokenizer = _tokenizer(name)
    lists, starts, stops, asked = [], [], [], []
    prompts: dict[bytes, int] = {}
    for row in rows:
        ids = np.asarray(row["token_ids"], np.int32)
        spans = Tokens(0, row["trace_id"], ids, 0, "trace", row["text"], row["prefix"] or "").spans(tokenizer)
        if spans is None:
            raise UserError(
                f"trace {row['trace_id']}: its token ids do not spell its text under the tokenizer of {name!r}. "
                f"Mine with --units words."
            )
        lists.append(ids)
        starts.append(spans[0])
        stops.append(spans[1])
        prompt = row["prompt_ids"]
        if prompt is None:
            prompt = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"] if row["prompt"] else []
        asked.append(prompts.setdefault(np.asarray(prompt, np.int32).tobytes(), len(prompts)))
    questions = [np.frombuffer(p, np.int32) for p in prompts]
    tokens, codes = np.unique(_flat([*lists, *questions]), return_inverse=True)
    texts = token_texts(tokenizer, tokens)
    special = set(tokenizer.all_special_ids)
    # Equal texts are one unit.
    entries = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    kinds = dict.fromkeys(entries, "")
    for token, text in zip(tokens.tolist(), texts, strict=True):
        kinds[text] = "format" if token in special else kind_of(text.strip() or text)
    codes = np.array([entries[t] for t in texts], np.int32)[codes.astype(np.int64)]
    cut = sum(map(len, lists))

    def made(ids: np.ndarray, parts: Sequence[np.ndarray], first: np.ndarray, last: np.ndarray) -> Segmented:
        bounds = np.cumsum([0, *map(len, parts)]).astype(np.int64)
        nothing = np.zeros(len(ids), np.uint8)
        return Segmented(list(entries), list(kinds.values()), ids, first, last, bounds, nothing, nothing)

    nowhere = np.zeros(len(codes) - cut, np.int32)
    units = made(codes[:cut], lists, _flat(starts), _flat(stops))
    return units, made(codes[cut:], questions, nowhere, nowhere), np.array(asked, np.int32)


def on_tokens(texts: Sequence[str], tokens: Segmented) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the words of the texts tell of the tokens: first token of each step, bounds of steps, flags uint8[n_tokens].

    A step starts with the token that holds the first character of its first word; a token that overlaps a format tag
    has the flag FORMAT, however many tokens the tag is made of.
    """
    words = segment(texts)
    steps, ends = find_steps(words)
    tagged = np.array([k == "format" for k in words.kinds], bool)[words.ids]
    flags = np.where(np.array([k == "format" for k in tokens.kinds], bool)[tokens.ids], FORMAT, 0).astype(np.uint8)
    found, counts = [], []
    for i in range(len(texts)):
        low, high = tokens.bounds[i], tokens.bounds[i + 1]
        first, last = tokens.starts[low:high], tokens.stops[low:high]
        begins = words.starts[words.bounds[i] + steps[ends[i] : ends[i + 1]]]
        at = np.unique(np.append(np.searchsorted(last, begins[1:], side="right"), 0)) if high > low else begins[:0]
        at = at[at < high - low].astype(np.int32)
        found.append(at)
        counts.append(len(at))
        for unit in np.flatnonzero(tagged[words.bounds[i] : words.bounds[i + 1]]) + words.bounds[i]:
            begin = np.searchsorted(last, words.starts[unit], side="right")
            flags[low + begin : low + np.searchsorted(first, words.stops[unit])] |= FORMAT
    return _flat(found), np.cumsum([0, *counts]).astype(np.int64), flags


def _flat(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int32)


@lru_cache(maxsize=2)
def _tokenizer(name: str) -> Any:
    from dsl_probe.models import load_tokenizer

    return load_tokenizer(name)
