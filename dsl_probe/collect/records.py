"""Records of another tool's log, one by one: read from JSON of any layout, converted, set aside where they are none."""

import json
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
RAW_LIMIT = 64_000  # characters of a bad row that are kept
_PEEK = 100


def converted(records: Iterable[tuple[int, "Json | BadRow"]], convert: Callable[[Json], list[Json]]) -> Records:
    """Convert record by record; what cannot be converted becomes a BadRow and loses no other."""
    for number, record in records:
        if isinstance(record, BadRow):
            yield number, record
            continue
        try:
            found: list[Any] = convert(record)
        except KeyError as error:
            found = [bad_row(f"missing: {error.args[0]}", record)]
        except ValueError as error:
            found = [bad_row(str(error), record)]
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            found = [bad_row(f"not built as the tool writes it: {error}", record)]
        yield from ((number, row) for row in found)


def json_records(path: Path, expected: str, every: set[str], some: set[str], fix: str) -> Records:
    """Objects of a JSONL file, a JSON list or one object, if any of the first 100 has the format's keys."""
    head, records = [], _objects(path)
    for number, record in records:
        head.append((number, record))
        if isinstance(record, dict) and every <= record.keys() and some & record.keys():
            break
        if len(head) == _PEEK:
            raise wrong_file(path, expected, _keys(head), fix)
    else:
        if head:
            raise wrong_file(path, expected, _keys(head), fix)
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
                    yield number, item if isinstance(item, dict) else bad_row("not a JSON object", item)
                return
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                yield number, bad_row(f"not JSON: {error}", line.decode("utf-8", "backslashreplace").rstrip("\r\n"))
            else:
                yield number, item if isinstance(item, dict) else bad_row("not a JSON object", item)


def json_file(path: Path, expected: str, fix: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise wrong_file(path, expected, [f"no JSON: {error}"], fix) from None


def _keys(head: list[tuple[int, Any]]) -> list[str]:
    return next((list(r) for _, r in head if isinstance(r, dict)), ["no JSON object"])


def bad_row(reason: str, record: Any) -> BadRow:
    raw = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False, default=str)
    return BadRow(reason, raw[:RAW_LIMIT])


def wrong_file(path: Path, expected: str, found: Any, fix: str) -> ValueError:
    if not isinstance(found, dict | list):
        found = [f"a {type(found).__name__}"]
    keys = ", ".join(str(k) for k in list(found)[:12]) or "nothing"
    return ValueError(f"{path}: not {expected}; found: {keys}. {fix}")
