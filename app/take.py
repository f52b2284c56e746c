"""A trace to take away: its text, or all that is stored of it as JSON."""

import json
import math
import re
from typing import Any

import streamlit as st

from dsl_probe.store import Run
from dsl_probe.types import TRACES


@st.cache_data(max_entries=16, show_spinner=False)
def record(key: tuple[str, str], row: int) -> dict[str, Any]:
    """All columns of a trace; a number that JSON cannot hold becomes None."""
    return _plain(Run(key[0]).shard_rows("traces", [row], TRACES.names).to_pylist()[0])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def file_name(trace_id: str | None, row: int, end: str) -> str:
    """A name for the file, of letters, digits and dashes alone.

    >>> file_name("m/../x:0", 7, "txt")
    'trace-7-m-x-0.txt'
    """
    said = re.sub(r"[^A-Za-z0-9]+", "-", trace_id or "").strip("-")[:60].strip("-")
    return f"trace-{row}{'-' if said else ''}{said}.{end}"


def buttons(key: tuple[str, str], row: int) -> None:
    """Download as text and as JSON."""
    trace = record(key, row)
    kinds = {
        "Text": ("txt", "text/plain", trace["text"] or ""),
        "JSON": ("json", "application/json", json.dumps(trace, ensure_ascii=False, indent=1)),
    }
    for label, (end, mime, content) in kinds.items():
        st.download_button(
            label,
            # A lone half of a surrogate pair is no UTF-8.
            content.encode("utf-8", "replace"),
            file_name(trace["trace_id"], row, end),
            mime,
            key=f"take_{end}_{row}",
            on_click="ignore",
            icon=":material/download:",
            type="tertiary",
            help="The prompt and all that is stored of the trace." if end == "json" else "The text of the trace.",
        )
