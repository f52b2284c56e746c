"""Verified traces as files that trainers read: TRL's prompt and completion, flat JSON lines, a `datasets` folder."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from dsl_probe import __version__
from dsl_probe.files import replacing
from dsl_probe.mine.dictionary_text import escape_markdown
from dsl_probe.share.verified import PROVENANCE, Tally, verified
from dsl_probe.store import Run
from dsl_probe.types import UserError

FORMATS = ("trl-sft", "jsonl", "hf")
_FLAT = pa.schema([("prompt", pa.string()), ("text", pa.string()), *PROVENANCE])
_ROWS = 1_000  # of a group of rows of the Parquet file
_FOLDER = {"README.md", "data"}
# What the `license` of a dataset card may be, of the names that an identifier can have.
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}")


@dataclass(frozen=True)
class Export:
    """What was written, and the counts of what was left out."""

    out: str
    format: str
    tally: Tally


def export_verified(
    run: Run, format: str, out: Path, group: str | None = None, per_problem: int | None = None
) -> Export:
    """Write the verified traces of a run, or of a group, to a file (trl-sft, jsonl) or a folder (hf).

    trl-sft: `prompt` and `completion` as TRL's SFTTrainer takes them, conversational (a user's and an assistant's
    message), so that the trainer applies its own model's chat template; or plain texts, where every trace written was
    sampled without one (template raw). A plain completion begins with a space where nothing else parts it from the
    prompt, since TRL joins the two as they stand. jsonl: `prompt`, `text` and the columns of `verified.PROVENANCE`,
    which trl-sft has too; what is not known is "" there, and `step` a text, since readers take a column's type from its
    first rows. hf: a folder for `datasets.load_dataset(FOLDER)`, Parquet with nulls and a card. The same run gives the
    same bytes.

    What it does not show: what `verified` does not show; nor whether a licence allows training.
    """
    tally = Tally()
    if format == "hf":
        if out.is_file() or (out.is_dir() and not {p.name for p in out.iterdir()} <= _FOLDER):
            raise UserError(f"{out} holds something else; give --out a new folder.")
        rows = _some(verified(run, tally, group, per_problem), tally)
        _write_parquet(out / "data" / "train.parquet", rows)
        with replacing(out / "README.md") as temporary:
            temporary.write_text(card(run, tally, group), "utf-8")
        return Export(str(out), format, tally)
    if out.is_dir():
        raise UserError(f"{out} is a folder; --format {format} writes one file.")
    for_trl = format == "trl-sft"
    plain = for_trl and all(row["template"] == "raw" for row in verified(run, Tally(), group, per_problem, True))
    rows = _some(verified(run, tally, group, per_problem, for_trl), tally)
    with replacing(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row in rows:
            known = {name: "" if row[name] is None else row[name] for name in PROVENANCE.names}
            known["step"] = str(known["step"])
            asked = _example(row["prompt"], row["text"], plain) if for_trl else {k: row[k] for k in ("prompt", "text")}
            file.write(json.dumps(asked | known, ensure_ascii=False) + "\n")
    return Export(str(out), format, tally)


def card(run: Run, tally: Tally, group: str | None) -> str:
    """The README of a datasets folder: YAML with the licences, then counts and provenance in words."""
    names = {name.lower() for name in tally.licences}
    listed = sorted(name if _IDENTIFIER.fullmatch(name) else "other" for name in names)
    licences = "\n".join(f"- {name}" for name in dict.fromkeys(listed))
    md = escape_markdown
    stated = "\n".join(f"| {md(name)} | {n:,} |" for name, n in sorted(tally.licences.items()))
    unknown = tally.licences.get("unknown", 0)
    lines = [
        f"---\nlicense:\n{licences}\nconfigs:\n- config_name: default\n  data_files:\n  - split: train",
        "    path: data/train.parquet\n---\n",
        f"# Verified traces of {md(run.identity['name'])}\n",
        f"{tally.written:,} completions of {tally.problems:,} problems"
        + (f", of the group {md(group)}" if group else "")
        + f", whose answers were checked and are right. Written by dsl-probe {__version__}.\n",
        f"Of {tally.read:,} traces read, left out: {'; '.join(tally.left_out()) or 'none'}."
        + (f" How {tally.finish_unknown:,} of those written ended is not stored." if tally.finish_unknown else "")
        + "\n",
        f"| licence, as the traces state it | rows |\n|---|---:|\n{stated}\n",
        *(
            [f"Of {unknown:,} rows no licence is stated: it is unknown, which is not a permission.\n"]
            if unknown
            else []
        ),
        "Columns: `prompt`, `text`, and of each row where it comes from (model, training run and step, problem, "
        "reference, verdict, licence, source). A right answer does not show that the reasoning is right.",
    ]
    return "\n".join(lines) + "\n"


def _example(prompt: str, text: str, plain: bool) -> dict[str, Any]:
    """A row's prompt and completion as TRL has them.

    >>> _example("1 + 1 ?", "2", True)
    {'prompt': '1 + 1 ?', 'completion': ' 2'}
    """
    if plain:
        apart = prompt[-1:].isspace() or text[:1].isspace()
        return {"prompt": prompt, "completion": text if apart else " " + text}
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": text}],
    }


def _some(rows: Iterator[dict[str, Any]], tally: Tally) -> Iterator[dict[str, Any]]:
    """The rows; raises UserError where there is none, before a file is made."""
    first = list(islice(rows, 1))
    if not first:
        why = "; ".join(tally.left_out())
        raise UserError(
            f"of {tally.read:,} traces none can be exported: {why}. Give traces with `correct` (collect checks its "
            f"own; import takes the column), or another --group or --format."
        )

    def all_rows() -> Iterator[dict[str, Any]]:
        yield from first
        yield from rows

    return all_rows()


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    import pyarrow.parquet as pq

    rows = iter(rows)
    with replacing(path) as temporary, pq.ParquetWriter(temporary, _FLAT, compression="zstd") as writer:
        while some := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema=_FLAT))
