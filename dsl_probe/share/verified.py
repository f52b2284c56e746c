"""Which traces of a run are training data: verified, whole, each text once; with where each comes from."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dsl_probe import __version__
from dsl_probe.groups import group_columns, select_rows
from dsl_probe.store import Run
from dsl_probe.types import TRACES, UserError

UNKNOWN = "unknown"
# Where a row comes from. verdict: how it was checked, in the words of its source.
PROVENANCE = pa.schema(
    [
        *(TRACES.field(n) for n in ("trace_id", "model", "run", "step", "start_model", "regime", "domain")),
        *(TRACES.field(n) for n in ("problem_id", "sample", "reference", "answer", "template", "finish")),
        *((n, pa.string()) for n in ("verdict", "licence", "source", "source_path", "source_commit", "exported_by")),
    ]
)
_STORED = [name for name in PROVENANCE.names if name in TRACES.names]
# Key of ours -> keys of a trace's meta that may state it, the first that does.
_STATED = {
    "licence": ("licence", "license"),
    "source": ("source", "source_repo"),
    "source_path": ("source_path",),
    "source_commit": ("source_commit", "source_revision"),
    "verdict": ("verdict", "label_kind"),
}


@dataclass
class Tally:
    """What became of each trace of the group: `read` is the sum of `written` and of all that were left out.

    unverified: nobody checked. wrong: the answer is. truncated: ended at the length limit or in a loop. no_prompt: the
    format needs one. repeated: the problem has this text already. beyond: more than were asked for of a problem.
    finish_unknown: of those written, how they ended is not stored, so that some may be cut off.
    """

    read: int = 0
    unverified: int = 0
    wrong: int = 0
    truncated: int = 0
    no_prompt: int = 0
    repeated: int = 0
    beyond: int = 0
    written: int = 0
    problems: int = 0
    finish_unknown: int = 0
    licences: dict[str, int] = field(default_factory=dict)

    def left_out(self) -> list[str]:
        """What was left out and why, in words; reasons without a trace are not named."""
        told = (
            (self.unverified, "unverified"),
            (self.wrong, "wrong"),
            (self.truncated, "truncated or looping"),
            (self.no_prompt, "without a prompt"),
            (self.repeated, "repeated word for word within a problem"),
            (self.beyond, "beyond the number asked for of a problem"),
        )
        return [f"{n:,} {why}" for n, why in told if n]


def verified(
    run: Run, tally: Tally, group: str | None = None, per_problem: int | None = None, need_prompt: bool = False
) -> Iterator[dict[str, Any]]:
    """Rows with `prompt`, `text` and the columns of PROVENANCE, in the order of the run; counts go to `tally`.

    A trace is written if it is right (`correct`), did not end at the length limit or in a loop, and its problem has not
    had the same text before, white space apart. per_problem: the first so many of each problem, over all models.

    Memory: one shard (5,000 rows or 64 MB), and about 150 bytes a trace written.

    What it does not show: that the reasoning is right. A right answer may follow from wrong steps, and a problem with
    few possible answers is guessed; `wrong` beside `written` says how often.
    """
    if per_problem is not None and per_problem < 1:
        raise UserError(f"--per-problem is {per_problem}; the least is 1.")
    if not run.shards("traces"):
        raise UserError(f"{run.path} has no traces; import or collect some first.")
    chosen = select_rows(run.all_shards("traces", group_columns(group)), group) if group else None
    seen: set[bytes] = set()
    of_problem: Counter[bytes] = Counter()
    first = 0
    for shard in run.each_shard("traces", [*_STORED, "prompt", "text", "correct", "meta"]):
        rows = None if chosen is None else chosen[(chosen >= first) & (chosen < first + shard.num_rows)] - first
        first += shard.num_rows
        for row in (shard if rows is None else shard.take(pa.array(rows.astype(np.int64)))).to_pylist():
            tally.read += 1
            if _passes(row, tally, need_prompt) and _new(row, tally, seen, of_problem, per_problem):
                made = provenance(row) | {"prompt": row["prompt"], "text": row["text"]}
                tally.written += 1
                tally.finish_unknown += row["finish"] is None
                tally.licences[made["licence"]] = tally.licences.get(made["licence"], 0) + 1
                yield made
    tally.problems = len(of_problem)


def provenance(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of PROVENANCE of a trace. What its meta does not state is null; a licence is then "unknown".

    >>> made = provenance(dict.fromkeys(_STORED) | {"meta": '{"license": "MIT"}'})
    >>> made["licence"], made["source"]
    ('MIT', None)
    """
    meta = _meta(row["meta"])
    stated = {ours: _first(meta, theirs) for ours, theirs in _STATED.items()}
    stated["licence"] = stated["licence"] or UNKNOWN
    return {name: row[name] for name in _STORED} | stated | {"exported_by": f"dsl-probe {__version__}"}


def stated_licence(meta: str | None) -> str:
    """The licence that a trace's meta states, else "unknown".

    >>> stated_licence('{"licence": "Apache-2.0"}'), stated_licence("{}")
    ('Apache-2.0', 'unknown')
    """
    return _first(_meta(meta), _STATED["licence"]) or UNKNOWN


def _passes(row: dict[str, Any], tally: Tally, need_prompt: bool) -> bool:
    if row["correct"] is None:
        tally.unverified += 1
    elif not row["correct"]:
        tally.wrong += 1
    elif row["finish"] in ("length", "loop"):
        tally.truncated += 1
    elif need_prompt and not row["prompt"].strip():
        tally.no_prompt += 1
    else:
        return True
    return False


def _new(
    row: dict[str, Any], tally: Tally, seen: set[bytes], of_problem: Counter[bytes], per_problem: int | None
) -> bool:
    # Where nothing tells the problem, the prompt does; traces with neither are one problem: a text is said once.
    name = [row["domain"], row["problem_id"] if row["problem_id"] is not None else {"prompt": row["prompt"]}]
    problem = _digest(json.dumps(name))
    key = _digest(problem.hex() + " ".join(row["text"].split()))
    if key in seen:
        tally.repeated += 1
        return False
    seen.add(key)
    if per_problem is not None and of_problem[problem] >= per_problem:
        tally.beyond += 1
        return False
    of_problem[problem] += 1
    return True


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _meta(meta: str | None) -> dict[str, Any]:
    try:
        found = json.loads(meta or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _first(meta: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these entries that says something."""
    said = (meta.get(name) for name in names)
    value = next((v for v in said if v not in (None, "", [], {})), None)
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
