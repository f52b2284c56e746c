"""Groups of traces, written as conjunctions: `model=NAME,domain=math`."""

import difflib
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.types import TRACES, UserError

_SPLIT = re.compile(r",\s*(?=(?:" + "|".join(TRACES.names) + r")=)")
_COLUMNS = [n for n in TRACES.names if not str(TRACES.field(n).type).startswith("list") and n not in ("text", "prompt")]


def parse_group(group: str) -> dict[str, str]:
    """Column -> value of a conjunction. A comma ends a value only where another `column=` follows.

    >>> parse_group("model=Qwen+GRPO(RG-algebra,intra),domain=math")
    {'model': 'Qwen+GRPO(RG-algebra,intra)', 'domain': 'math'}
    """
    if not group.isprintable() and any("\ud800" <= c <= "\udfff" for c in group):
        raise UserError(f"group {group!r} is not valid Unicode text; write it in UTF-8.")
    conditions = {}
    for part in _SPLIT.split(group):
        column, sign, value = part.partition("=")
        if not sign or column.strip() not in _COLUMNS:
            raise UserError(f"group {group!r}: write column=value[,column=value]; columns are {', '.join(_COLUMNS)}.")
        conditions[column.strip()] = value.strip()
    return conditions


def short(group: str) -> str:
    """A group's values, for a heading.

    >>> short("model=Qwen/Qwen2.5-3B-Instruct")
    'Qwen2.5-3B-Instruct'
    """
    return ", ".join(v.rsplit("/", 1)[-1] if k in ("model", "run") else v for k, v in parse_group(group).items())


def checked_name(name: str) -> str:
    """A name that may be a folder's; raises UserError for another."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", name):
        raise UserError(f"--name {name!r}: use letters, digits, - and _ only, 80 at most.")
    return name


def slug(text: str, most: int) -> str:
    """Text as part of a folder's name: small letters and digits, - between, `most` at the most.

    >>> slug("Qwen/Qwen2.5-3B", 8)
    'qwen-qwe'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:most].strip("-")


def group_columns(*groups: str | None) -> list[str]:
    """Columns that the groups look at."""
    return sorted({column for group in groups if group for column in parse_group(group)})


def select_rows(traces: pa.Table, group: str) -> np.ndarray:
    """Rows of the traces that belong to a group, ascending. Raises UserError, with the nearest values, if none do."""
    mask = np.ones(traces.num_rows, bool)
    for column, value in parse_group(group).items():
        text = pc.fill_null(traces[column].cast(pa.string()), "null")
        here = pc.equal(text, value).to_numpy()
        if not here.any():
            known = pc.unique(text).to_pylist()
            near = difflib.get_close_matches(value, known, n=5, cutoff=0.3) or sorted(known)[:8]
            raise UserError(
                f"no trace has {column}={value}; among the {len(known)} values there are: {'; '.join(near)}"
            )
        mask &= here
    if not mask.any():
        raise UserError(f"group {group!r} is empty: every condition holds for some trace, but never all at once.")
    return np.flatnonzero(mask)


def problem_codes(traces: pa.Table) -> np.ndarray:
    """int32[n] code of each trace's problem; a trace without a problem_id is a cluster of its own."""
    own = pa.array([f"\0{i}" for i in range(traces.num_rows)])
    filled = pc.if_else(pc.is_valid(traces["problem_id"]), traces["problem_id"], own)
    return filled.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)
