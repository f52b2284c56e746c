"""Where traces come from: files and folders, as raw rows with line numbers. A bad row never loses the others."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsl_probe.collect import formats
from dsl_probe.collect.records import RAW_LIMIT, BadRow, Records
from dsl_probe.files import file_hash
from dsl_probe.store import Run
from dsl_probe.types import UserError

_JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".json.gz")
_FILES = (*_JSON_LINES, ".json", ".parquet")


def files_of(source: Path, format: str | None = None) -> list[Path]:
    """The files (or run folder) that a source names, in a fixed order.

    A folder may be a run, a Hugging Face dataset written by `save_to_disk`, or any folder of JSONL and Parquet files.
    """
    if source.is_file() or (source / "run.json").is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder.")
    if format:
        found = sorted(p for p in source.rglob("*") if p.is_file() and not p.name.startswith("."))
    else:
        found = sorted(p for p in source.rglob("*") if p.name.endswith((*_FILES, ".arrow")))
        arrow = [p for p in found if p.suffix == ".arrow" and not p.name.startswith("cache-")]
        found = arrow or [p for p in found if p.name not in ("dataset_info.json", "dataset_dict.json", "state.json")]
    if not found:
        raise UserError(f"{source}: no traces here; a folder needs files that end in {', '.join(_FILES)} or .arrow.")
    return found


def read_rows(path: Path, format: str | None = None) -> Records:
    """Raw rows of one file: (line or row number from 1, dict or BadRow). UserError if nothing can be read."""
    if format:
        try:
            yield from formats.rows(format, path)
        except (ValueError, OSError) as error:
            raise UserError(str(error)) from error
    else:
        yield from _reader(path)(path)


def source_hash(path: Path) -> str:
    """Hash of a file, or of a run's trace shards."""
    if path.is_dir():
        return hashlib.blake2b(json.dumps(Run(path).trace_files()).encode(), digest_size=16).hexdigest()
    return file_hash(path)


def _reader(path: Path) -> Callable[[Path], Records]:
    if path.is_dir():
        return _run_rows
    name = path.name.lower()
    if name.endswith(".parquet"):
        return _parquet_rows
    if name.endswith(".arrow"):
        return _arrow_rows
    if name.endswith(_JSON_LINES):
        return _json_lines
    if name.endswith(".json"):
        return _json_rows
    raise UserError(
        f"{path}: unknown kind of file; known are {', '.join(_FILES)}, a folder of these, a dataset folder and a run. "
        f"For another tool's own log add --format {' | '.join(formats.FORMATS)}."
    )


def _json_lines(path: Path) -> Records:
    number = 0
    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
        try:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield number, parse_line(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield number + 1, BadRow(f"the compressed file is damaged from here on: {error}", "")


def parse_line(raw: bytes) -> "dict[str, Any] | BadRow":
    """One JSON object, or the reason why it is none.

    >>> parse_line(b'[1]').reason
    'not a JSON object but a list'
    """
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRow(f"invalid UTF-8 at byte {error.start} of the line", _shown(raw))
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        return BadRow(f"not JSON: {error}", _shown(raw))
    if not isinstance(row, dict):
        return BadRow(f"not a JSON object but a {type(row).__name__}", _shown(raw))
    return row


def _shown(raw: bytes) -> str:
    return raw[:RAW_LIMIT].decode("utf-8", "backslashreplace").rstrip("\r\n")


def _json_rows(path: Path) -> Records:
    data = path.read_bytes()
    if data.lstrip()[:1] != b"[":
        yield from _json_lines(path)
        return
    try:
        rows = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON list ({error}). One object a line (.jsonl) would lose less.") from error
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else BadRow(f"not an object but a {type(row).__name__}", str(row))


def _parquet_rows(path: Path) -> Records:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1_000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from error


def _arrow_rows(path: Path) -> Records:
    import pyarrow as pa

    try:
        number = 0
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as a dataset's Arrow file: {error}") from error


def _run_rows(path: Path) -> Records:
    number = 0
    for shard in Run(path).each_shard("traces"):
        for row in shard.to_pylist():
            number += 1
            yield number, row
