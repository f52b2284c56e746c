"""The import stage: raw rows of any source become traces; what cannot is set aside with its reason."""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from dsl_probe.collect import formats
from dsl_probe.collect.records import BadRow
from dsl_probe.collect.sources import files_of, read_rows, source_hash
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import REJECTED, TRACES, UserError

ALIASES = {"response": "text", "completion": "text", "training": "regime"}
_SHARD_ROWS, _SHARD_CHARS = 5_000, 64_000_000
_STEP = re.compile(r"[\s,;:@/_-]*\b(?:global[_ -]?)?(?:step|iter|iteration|ckpt)[\s_:=-]*(\d+)", re.IGNORECASE)
_STRINGS = [f.name for f in TRACES if str(f.type) == "string" and f.name not in ("meta", "sampling")]
_INTEGERS = [f.name for f in TRACES if str(f.type) == "int64"]
_BOOLEANS = [f.name for f in TRACES if str(f.type) == "bool"]
_LISTS = {f.name: float if "float" in str(f.type) else int for f in TRACES if str(f.type).startswith("list")}


@dataclass(frozen=True)
class ImportConfig:
    """How the rows of a source are read."""

    format: str | None = None
    """Another tool's own log format: inspect, lm-eval, trl, verl or openai. Default: JSONL, Parquet, dataset or run."""
    map: tuple[str, ...] = ()
    """Their column for ours: THEIRS=OURS, for example --map generation=text (may be given several times)."""
    domain: str = "all"
    """Domain of the rows that name none."""


@dataclass(frozen=True)
class ImportResult:
    """Counts of an import. Every row that was read is in exactly one of traces, duplicates, rejected."""

    traces: int
    duplicates: int
    rejected: int
    reasons: Annotated[dict[str, int], "reason -> rows"] = field(default_factory=dict)
    models: int = 0
    domains: int = 0


@stage_of_run
def import_traces(
    run: Run, sources: Sequence[str | Path], config: ImportConfig = ImportConfig(), *, force: bool = False
) -> ImportResult:
    """Bring traces into a run: `traces/*.parquet`, and `rejected.parquet` with line, reason and raw text.

    Only a text is needed (`text`, `response` or `completion`). Missing: prompt -> empty, so that echo is unknown;
    problem_id -> hash of (domain, prompt); neither -> the trace is its own cluster; domain -> `config.domain`;
    correct -> null; regime -> the column `training`, else "unknown"; sample -> order of arrival. Unknown columns are
    kept in `meta`. A training step in the model name is split off into `run` and `step`.

    Memory: one shard (5,000 rows or 64 MB of text), the rejected rows, and about 150 bytes a trace.
    """
    if config.format and config.format not in formats.FORMATS:
        raise UserError(f"--format {config.format!r} is unknown; known are {', '.join(formats.FORMATS)}.")
    names = _mapping(config.map)
    files = [f for source in sources for f in files_of(Path(source), config.format)]
    if not files:
        raise UserError("no source given: dsl-probe import SOURCE... --out RUN")
    spaces = _namespaces(files)
    inputs = {f"source:{space}": source_hash(path) for space, path in zip(spaces, files, strict=True)}
    if not run.begin("import", asdict(config), inputs, force):
        return ImportResult(**run.counts("import"))

    intake = _Intake(config, names)
    outputs, shard, chars = [], [], 0
    progress = _Progress()
    for space, path in zip(spaces, files, strict=True):
        for line, raw in read_rows(path, config.format):
            progress.update()
            row = intake.take(raw, space, line, path.is_dir())
            if row is None:
                continue
            shard.append(row)
            chars += len(row["text"]) + len(row["prompt"])
            if len(shard) >= _SHARD_ROWS or chars >= _SHARD_CHARS:
                outputs.append(_write(run, len(outputs), shard))
                shard, chars = [], 0
    if shard:
        outputs.append(_write(run, len(outputs), shard))
    progress.close()
    if not outputs and not intake.rejected:
        run.abandon("import")
        raise UserError(f"no rows in {', '.join(str(f) for f in files[:3])}: nothing was imported.")
    import pyarrow as pa

    rejected = pa.Table.from_pylist(intake.rejected, schema=REJECTED)
    outputs.append(run.write_table("rejected.parquet", rejected))
    result = intake.result()
    run.finish("import", outputs, asdict(result))
    return result


class _Intake:
    """What must be remembered from row to row: ids already seen, samples already numbered, rows set aside."""

    def __init__(self, config: ImportConfig, names: dict[str, str]):
        self.config, self.names = config, names
        self.seen: dict[str, bytes] = {}
        self.samples: Counter[tuple[str, str]] = Counter()
        self.rejected: list[dict[str, Any]] = []
        self.duplicates = 0
        self.models: set[str] = set()
        self.domains: set[str] = set()

    def take(self, raw: "dict[str, Any] | BadRow", space: str, line: int, is_run: bool) -> dict[str, Any] | None:
        if isinstance(raw, BadRow):
            return self._reject(space, line, raw.reason, raw.raw)
        try:
            row = normalise(raw, self.names, self.config.domain)
        except ValueError as error:
            return self._reject(space, line, str(error), json.dumps(raw, default=str))
        if row["trace_id"] is None:
            row["trace_id"] = f"{space}:{line}"
        elif not is_run:
            row["trace_id"] = f"{space}:{row['trace_id']}"
        content = hashlib.blake2b(repr(sorted(row.items())).encode(), digest_size=16).digest()
        earlier = self.seen.get(row["trace_id"])
        if earlier == content:
            self.duplicates += 1
            return None
        if earlier is not None:
            return self._reject(
                space,
                line,
                f"trace_id {row['trace_id']!r} came before with other content",
                json.dumps(raw, default=str),
            )
        self.seen[row["trace_id"]] = content
        if row["sample"] is None:
            key = (row["model"], row["problem_id"] or row["trace_id"])
            row["sample"] = self.samples[key]
            self.samples[key] += 1
        self.models.add(row["run"] or row["model"])
        self.domains.add(row["domain"])
        return row

    def _reject(self, space: str, line: int, reason: str, raw: str) -> None:
        raw = raw.encode("utf-8", "backslashreplace").decode()
        self.rejected.append({"source": space, "line": line, "reason": reason, "raw": raw})

    def result(self) -> ImportResult:
        # Values differ from row to row; the kind of fault is what stands before them.
        reasons = Counter(re.split(r"[:'\"]|\d", r["reason"])[0].strip() for r in self.rejected)
        return ImportResult(
            len(self.seen),
            self.duplicates,
            len(self.rejected),
            dict(reasons.most_common()),
            len(self.models),
            len(self.domains),
        )


def normalise(raw: dict[str, Any], names: dict[str, str], domain: str = "all") -> dict[str, Any]:
    """A raw row as a row of the trace table. Raises ValueError with the reason why it is none.

    `trace_id` and `sample` stay None where the row does not give them; `problem_id` where neither it nor a prompt is
    known.

    >>> row = normalise({"response": "2", "prompt": "1+1?", "colour": "red"}, {})
    >>> row["text"], row["meta"], row["correct"]
    ('2', '{"colour": "red"}', None)
    """
    row: dict[str, Any] = dict.fromkeys(TRACES.names)
    rest: dict[str, Any] = {}
    for key, value in raw.items():
        ours = names.get(key) or (key if key in row else ALIASES.get(key))
        if ours is None or (ours in row and row[ours] is not None and key not in names):
            rest[key] = value
        else:
            row[ours] = value
    if row["text"] is None:
        raise ValueError(f"no text: none of text, {', '.join(a for a, o in ALIASES.items() if o == 'text')} in the row")
    _convert(row)
    meta = row["meta"] if row["meta"] is not None else {}
    if isinstance(meta, str):
        try:
            meta = json.loads(meta)
        except json.JSONDecodeError:
            meta = {"meta": meta}
    rest = {**(meta if isinstance(meta, dict) else {"meta": meta}), **{k: v for k, v in rest.items() if v is not None}}
    row["meta"] = _json(rest)
    row["sampling"] = row["sampling"] if isinstance(row["sampling"], str | None) else _json(row["sampling"])
    row["domain"] = row["domain"] or domain
    row["model"] = row["model"] or "unknown"
    row["regime"] = row["regime"] or "unknown"
    row["start_ckpt"] = row["start_ckpt"] or "unknown"
    row["prompt"], row["prefix"] = row["prompt"] or "", row["prefix"] or ""
    if row["run"] is None:
        row["run"], step = split_step(row["model"])
        row["step"] = step if row["step"] is None else row["step"]
    if row["problem_id"] is None and row["prompt"]:
        key = json.dumps([row["domain"], row["prompt"]]).encode()
        row["problem_id"] = hashlib.blake2b(key, digest_size=8).hexdigest()
    return row


def split_step(model: str) -> tuple[str | None, int | None]:
    """Training run and step of a model whose name carries the step, else (None, None).

    >>> split_step("Qwen2.5-7B + PPO (fork, step 12)")
    ('Qwen2.5-7B + PPO (fork)', 12)
    >>> split_step("Qwen2.5-7B")
    (None, None)
    """
    match = _STEP.search(model)
    if match is None:
        return None, None
    return (model[: match.start()] + model[match.end() :]).strip() or model, int(match.group(1))


def _convert(row: dict[str, Any]) -> None:
    """Bring every value to its column's type, in place. Identifiers may be numbers; a text may not."""
    for name in _STRINGS:
        value = row[name]
        if value is None:
            continue
        if isinstance(value, int | float) and name not in ("text", "prompt", "prefix"):
            row[name] = value = str(value)
        if not isinstance(value, str):
            raise ValueError(f"wrong type: {name} must be text, not {type(value).__name__}")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"unpaired surrogate in {name}: it is not valid Unicode text") from None
    for name in _INTEGERS:
        value = row[name]
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
                raise ValueError(f"wrong type: {name} must be a whole number, not {value!r}")
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"out of range: {name} is {value!r}")
            row[name] = int(value)
    for name in _BOOLEANS:
        value = row[name]
        if value is not None:
            if value not in (0, 1):
                raise ValueError(f"wrong type: {name} must be true, false or null, not {value!r}")
            row[name] = bool(value)
    if row["score"] is not None:
        if not isinstance(row["score"], int | float):
            raise ValueError(f"wrong type: score must be a number, not {row['score']!r}")
        row["score"] = float(row["score"])
    for name, kind in _LISTS.items():
        values = row[name]
        if values is not None:
            allowed = (int, float) if kind is float else (int,)
            if not isinstance(values, list) or any(type(v) not in (*allowed, type(None)) for v in values):
                raise ValueError(f"wrong type: {name} must be a list of {'numbers' if kind is float else 'integers'}")
            if kind is int and any(v is None or not 0 <= v < 2**31 for v in values):
                raise ValueError(f"out of range: {name} must hold token ids from 0 to 2^31 - 1")


def _json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, default=str)
    return text


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    names = {}
    for pair in pairs:
        theirs, _, ours = pair.partition("=")
        if not theirs or ours not in TRACES.names:
            raise UserError(f"--map {pair!r}: write THEIRS=OURS, with OURS one of {', '.join(TRACES.names)}.")
        names[theirs] = ours
    return names


def _namespaces(files: Sequence[Path]) -> list[str]:
    """A short name for each file, unique among them: the stem, with as many parent folders as it takes."""
    stems = [f.name.removesuffix(".gz").rsplit(".", 1)[0] if f.is_file() else f.resolve().name for f in files]
    names, depth = list(stems), 0
    while len(set(names)) < len(names) and depth < 8:
        depth += 1
        clash = {n for n, k in Counter(names).items() if k > 1}
        names = [
            "/".join([*f.resolve().parent.parts[-depth:], s]) if n in clash else n
            for n, s, f in zip(names, stems, files, strict=True)
        ]
    if len(set(names)) < len(names):
        twice = next(str(f) for f, n in zip(files, names, strict=True) if names.count(n) > 1)
        raise UserError(f"{twice} is given twice; name each source once.")
    return names


def _write(run: Run, index: int, rows: list[dict[str, Any]]) -> str:
    import pyarrow as pa

    # A shard that is there was completed by this very command before it was cut off: same inputs, same bytes.
    if run.has_shard("traces", index):
        return f"traces/{index:05d}.parquet"
    return run.write_shard("traces", index, pa.Table.from_pylist(rows, schema=TRACES))


class _Progress:
    """A tqdm bar on stderr that appears only when the import takes longer than a second."""

    def __init__(self) -> None:
        from tqdm import tqdm

        often = 0.1 if sys.stderr.isatty() else 10
        self.bar = tqdm(unit=" rows", desc="import", delay=1, leave=False, mininterval=often)
        self.update = self.bar.update
        self.close = self.bar.close
