"""Where the tokens of a trace lie in its text, for the numbers that were stored with it when it was sampled.

Traces keep token ids, not places, and the app loads no tokenizer. So the places are taken from a scoring that read the
same ids, from units that are tokens, or, where each word is one token, from the text itself; else they are unknown.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

import data
from dsl_probe.store import Run

OWN = ["token_ids", "tokenizer", "text", "logprobs", "entropies"]
# Traces that must agree before words are taken for tokens.
_CHECKED = 200
BY_SCORE = "The tokens' places are those that `score` found for the same token ids."
BY_UNITS = "The tokens' places are those of the units, which are tokens here."
BY_WORDS = "The tokens' places are not stored: words are taken for tokens, since in {n:,} traces each id is one word."

Spans = tuple[Sequence[int], Sequence[int], str]


@st.cache_resource(max_entries=4, show_spinner=False)
def any_own(key: tuple[str, str]) -> bool:
    """Whether any trace of a run carries numbers of its own tokens."""
    shards = Run(key[0]).each_shard("traces", ["logprobs", "entropies"])
    return any(shard[c].null_count < shard.num_rows for shard in shards for c in ("logprobs", "entropies"))


@st.cache_data(max_entries=16, show_spinner=False)
def own(key: tuple[str, str], row: int) -> dict[str, Any]:
    """Token ids, text and numbers of one trace."""
    return Run(key[0]).shard_rows("traces", [row], OWN).to_pylist()[0]


def spans(key: tuple[str, str], mined: tuple[str, str], row: int) -> Spans | None:
    """Starts and stops of a trace's tokens in characters, and how they are known; None if they are not."""
    run, trace = Run(key[0]), own(key, row)
    ids = trace["token_ids"]
    if not ids:
        return None
    for name in data.score_names(run):
        scores = data.token_scores(run, name, row)
        if scores and scores.get("ids") == ids:
            return scores["starts"], scores["stops"], BY_SCORE
    record = run.stage("mine") if mined[1] else None
    if record and record["config"].get("units") == "tokens":
        units = data.trace_units(mined, row)
        if len(units["starts"]) == len(ids):
            return units["starts"].tolist(), units["stops"].tolist(), BY_UNITS
    found = by_words(trace["text"], ids)
    agreeing = word_traces(key, trace["tokenizer"]) if found else 0
    return (*found, BY_WORDS.format(n=agreeing)) if found and agreeing else None


def by_words(text: str, ids: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """Places of the words of a text, if they are as many as its tokens; one token more, the last, may end the text.

    >>> by_words("so 7 .", [5, 9, 6, 1])
    ([0, 3, 5, 6], [2, 4, 6, 6])
    >>> by_words("so 7 .", [5, 9]) is None
    True
    """
    places = [m.span() for m in re.finditer(r"\S+", text)]
    if len(places) + 1 == len(ids):
        places.append((len(text), len(text)))
    if len(places) != len(ids):
        return None
    return [a for a, _ in places], [b for _, b in places]


@st.cache_data(max_entries=16, show_spinner=False)
def word_traces(key: tuple[str, str], tokenizer: str | None) -> int:
    """How many traces of a tokenizer were looked at, if in all of them id and word go with each other one to one; else
    0."""
    if tokenizer is None:
        return 0
    named = Run(key[0]).all_shards("traces", ["tokenizer"])["tokenizer"].to_pylist()
    rows = [i for i, name in enumerate(named) if name == tokenizer]
    rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, _CHECKED).astype(int))]
    word_of: dict[int, str] = {}
    id_of: dict[str, int] = {}
    for trace in Run(key[0]).shard_rows("traces", rows, ["text", "token_ids"]).to_pylist():
        ids, text = trace["token_ids"] or [], trace["text"]
        found = by_words(text, ids)
        if found is None:
            return 0
        for i, start, stop in zip(ids, *found, strict=True):
            word = text[start:stop]
            if word_of.setdefault(i, word) != word or id_of.setdefault(word, i) != i:
                return 0
    return len(rows)
