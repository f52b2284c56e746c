"""Run: a folder with everything that is known of some traces. The only code that knows its file names.

A file under its final name is complete: it is written under a temporary name, flushed to the disk and renamed. A stage
writes its record last, so a stage without one was cut off: the same command does it again and gives the same bytes.
Hashed files hold no times and no paths.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl_probe.types import SCHEMA_VERSION, UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# What each stage owns. `{id}` stands for what follows the dot in the stage's name: a model, a comparison.
STAGE_FILES = {
    "import": ("traces/*.parquet", "rejected.parquet"),
    "collect": ("traces/*.parquet", "curve.parquet", "tree.parquet"),
    "score": ("scores/{id}/*",),
    "capture": ("acts/{id}/*",),
    "mine": (
        "units/*.parquet",
        *(f"{n}.parquet" for n in ("vocabulary", "motifs", "counts", "occurrences", "lexicon", "variants", "parse")),
    ),
    "language": ("languages/{id}/*",),
    "probe": ("probes/{id}/*",),
    "effects": ("effects/{id}/*",),
    "compare": ("comparisons/{id}/*",),
    "validate": ("validations/{id}/*",),
    "growth": ("growth.parquet", "growth_events.parquet"),
}
# Of stages that go on unit by unit: the file that lists the units, and the files each of which finishes one.
UNIT_FILES = {
    "probe": ("probes/{id}/plan.json", "probes/{id}/[0-9]*.probes.parquet", "probes/{id}/[0-9]*.layout.parquet"),
    "effects": ("effects/{id}/plan.json", "effects/{id}/[0-9]*.samples.parquet"),
}
_RECORDED_PACKAGES = ("dsl-probe", "numpy", "scipy", "numba", "pyarrow", "pydivsufsort", "torch", "transformers")
_ROW_GROUP = 1_000


@dataclass(frozen=True)
class StageStatus:
    """State of one stage: done | stale (an input changed since) | cut off | damaged (verify found another hash)."""

    stage: str
    state: str
    detail: str
    counts: dict[str, Any]


class Run:
    """An existing run folder.

    >>> run = Run("runs/demo")                       # doctest: +SKIP
    >>> run.traces(["trace_id", "model"]).head()     # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        identity = self.path / "run.json"
        if not identity.is_file():
            raise UserError(
                f"{self.path} is not a run: it has no run.json. "
                f"Make one with: dsl-probe import SOURCE --out {self.path}   (or: dsl-probe demo)"
            )
        self.identity = _read_json(identity)
        if self.identity.get("schema_version") != SCHEMA_VERSION:
            raise UserError(
                f"{self.path} has schema version {self.identity.get('schema_version')!r}; this dsl-probe reads "
                f"version {SCHEMA_VERSION}. Import the sources again into a new folder."
            )

    @classmethod
    def create(cls, path: str | os.PathLike[str], name: str | None = None) -> "Run":
        """Open the run at `path`, or make an empty one. Refuses a folder that holds something else."""
        path = Path(path)
        if not (path / "run.json").exists():
            if path.is_file():
                raise UserError(f"{path} is a file; --out needs a folder (a new one, or an existing run).")
            if path.is_dir() and any(not p.name.startswith((".", "run.json.")) for p in path.iterdir()):
                raise UserError(f"{path} is not empty and is not a run; give --out a new folder.")
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "run.json", {"schema_version": SCHEMA_VERSION, "name": name or path.resolve().name})
        return cls(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # ---- stages

    def stage(self, stage: str) -> dict[str, Any] | None:
        """The record of a finished stage, or None."""
        path = self.path / "stages" / f"{stage}.json"
        return _read_json(path) if path.is_file() else None

    def counts(self, stage: str) -> dict[str, Any]:
        """What a finished stage counted: the fields of its result."""
        return (self.stage(stage) or {})["counts"]

    def stages(self) -> list[str]:
        """Names of the finished stages, in the order of the data flow."""
        names = [p.name.removesuffix(".json") for p in (self.path / "stages").glob("*.json")]
        order = list(STAGE_FILES)
        return sorted((n for n in names if not n.endswith(".started")), key=lambda n: (order.index(_kind(n)), n))

    def outputs(self, stage: str) -> dict[str, str]:
        """File name -> hash of what a finished stage wrote. Raises UserError if it has not run."""
        record = self.stage(stage)
        if record is None:
            fix = {"import": "dsl-probe import SOURCE --out", "mine": "dsl-probe mine"}.get(stage, "dsl-probe " + stage)
            raise UserError(f"{self.path} has no finished {stage} stage. Run: {fix} {self.path}")
        return record["outputs"]

    def trace_stage(self) -> str:
        """The stage that made the traces: import or collect."""
        return "collect" if self.stage("collect") else "import"

    def trace_files(self) -> dict[str, str]:
        """File name -> hash of what the stage that made the traces wrote."""
        return self.outputs(self.trace_stage())

    def begin(self, stage: str, config: Mapping[str, Any], inputs: Mapping[str, str], force: bool = False) -> bool:
        """Open a stage. False if it is done already with this config and these inputs; True if there is work to do.

        A stage done, or cut off, with another config or other inputs is refused unless `force`, which removes it.
        """
        for other in STAGE_FILES:
            if other != stage and set(STAGE_FILES[other]) & set(STAGE_FILES[_kind(stage)]) and self._touched(other):
                raise UserError(
                    f"{self.path} holds {'imported' if other == 'import' else 'collected'} traces. Take a new folder, "
                    f"then bring both together: dsl-probe import NEW {self.path} --out BOTH"
                )
        asked = {"config": dict(config), "inputs": dict(inputs)}
        started = self.path / "stages" / f"{stage}.started.json"
        record = self.stage(stage)
        earlier = record or (_read_json(started) if started.is_file() else None)
        if earlier is not None and not force:
            difference = _difference(earlier, _plain(asked))
            if difference:
                state = "was done" if record else "was begun and cut off"
                raise UserError(
                    f"stage {stage!r} of {self.path} {state} with another setting: {difference}. "
                    f"Repeat that setting, choose another run folder, or add --force to replace it."
                )
            if record is not None:
                return False
        if earlier is not None and force:
            self._remove(stage)
        self._sweep(stage)
        write_json(started, asked)
        return True

    def abandon(self, stage: str) -> None:
        """Forget a stage that was begun and had nothing to do, so that another setting may be tried."""
        (self.path / "stages" / f"{stage}.started.json").unlink(missing_ok=True)

    def finish(self, stage: str, outputs: Iterable[str], counts: Mapping[str, Any], seed: int | None = None) -> None:
        """Write the record of a stage, which makes it done. `outputs` are file names relative to the run."""
        started = self.path / "stages" / f"{stage}.started.json"
        record = _read_json(started)
        record |= {
            "stage": stage,
            "seed": seed,
            "packages": _packages(),
            "git": _git_sha(),
            "counts": dict(counts),
            "outputs": {name: file_hash(self.path / name) for name in sorted(outputs)},
        }
        write_json(self.path / "stages" / f"{stage}.json", record)
        started.unlink()

    def _touched(self, stage: str) -> bool:
        """Whether a stage was done, or begun and cut off."""
        return any((self.path / "stages" / f"{stage}{end}.json").is_file() for end in ("", ".started"))

    def _remove(self, stage: str) -> None:
        (self.path / "stages" / f"{stage}.json").unlink(missing_ok=True)
        for pattern in STAGE_FILES[_kind(stage)]:
            for path in self.path.glob(pattern.format(id=stage.partition(".")[2])):
                path.unlink()

    def _sweep(self, stage: str) -> None:
        """Remove what a killed writer left under a temporary name."""
        for pattern in STAGE_FILES[_kind(stage)]:
            for path in self.path.glob(pattern.format(id=stage.partition(".")[2]) + ".*.tmp"):
                path.unlink()

    def status(self, verify: bool = False) -> list[StageStatus]:
        """State of every stage. `verify` reads every file and compares its hash with the record."""
        now = {name: h for stage in self.stages() for name, h in self.outputs(stage).items()}
        rows = []
        for stage in self.stages():
            record = self.stage(stage) or {}
            state, detail = "done", ""
            changed = [n for n, h in record["inputs"].items() if not n.startswith("source:") and now.get(n) != h]
            if changed:
                state, detail = "stale", f"{changed[0]} changed since; run the stage again with --force"
            missing = [n for n in record["outputs"] if not (self.path / n).is_file()]
            if missing:
                state, detail = "damaged", f"{missing[0]} is missing; run the stage again with --force"
            elif verify:
                bad = [n for n, h in record["outputs"].items() if file_hash(self.path / n) != h]
                if bad:
                    state, detail = "damaged", f"{bad[0]} has changed on disk; run the stage again with --force"
            rows.append(StageStatus(stage, state, detail, record["counts"]))
        for path in sorted((self.path / "stages").glob("*.started.json")):
            name = path.name.removesuffix(".started.json")
            if self.stage(name) is None:
                detail = f"{self._units_left(name)}run the same command again to finish it"
                rows.append(StageStatus(name, "cut off", detail, {}))
        return rows

    def _units_left(self, stage: str) -> str:
        """How many units of a stage are left, if it goes on unit by unit and has a plan; else ""."""
        plan, *finishing = (name.format(id=stage.partition(".")[2]) for name in UNIT_FILES.get(_kind(stage), ("",)))
        if not plan or not self.has(plan):
            return ""
        units, done = len(self.json(plan)["units"]), sum(len(list(self.path.glob(name))) for name in finishing)
        return f"{units - done:,} of {units:,} units are left; "

    # ---- writing

    def write_table(self, name: str, table: "pa.Table", row_group: int = 1 << 16) -> str:
        """Write a Parquet file atomically; returns its name."""
        import pyarrow.parquet as pq

        with replacing(self.path / name) as temporary:
            pq.write_table(table, temporary, compression="zstd", row_group_size=row_group, write_page_checksum=True)
        return name

    def write_json(self, name: str, content: Any) -> str:
        """Write a JSON file atomically; returns its name."""
        write_json(self.path / name, content)
        return name

    def write_shard(self, kind: str, index: int, table: "pa.Table") -> str:
        """Write one shard of `traces` or `units`; returns its name."""
        return self.write_table(f"{kind}/{index:05d}.parquet", table, row_group=_ROW_GROUP)

    def has_shard(self, kind: str, index: int) -> bool:
        """Whether a shard is complete on disk."""
        return (self.path / kind / f"{index:05d}.parquet").is_file()

    @contextmanager
    def table_writer(self, name: str, schema: "pa.Schema") -> Generator[Any]:
        """A Parquet writer for a table that does not fit in memory; the file appears when the block ends."""
        import pyarrow.parquet as pq

        with (
            replacing(self.path / name) as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            yield writer

    # ---- reading

    def has(self, name: str) -> bool:
        """Whether a table is there, by file name: run.has("motifs.parquet")."""
        return (self.path / name).is_file()

    def table(
        self, name: str, columns: list[str] | None = None, filters: Any = None, dictionary: list[str] | None = None
    ) -> "pa.Table":
        """A table by name: `motifs`, `counts`, `occurrences`, `comparisons/ID/comparison`, ...

        `dictionary`: string columns to read as codes, for tables of many rows.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path / f"{name}.parquet"
        if not path.is_file():
            raise UserError(
                f"{self.path} has no table {name!r}; see which stages have run: dsl-probe status {self.path}"
            )
        try:
            return pq.read_table(
                path, columns=columns, filters=filters, read_dictionary=dictionary, page_checksum_verification=True
            )
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{path} cannot be read: {error}. Find out what else is damaged: dsl-probe status {self.path} --verify"
            ) from error

    def json(self, name: str) -> Any:
        """A JSON file of the run by its name."""
        if not self.has(name):
            raise UserError(f"{self.path} has no {name}; see which stages have run: dsl-probe status {self.path}")
        return _read_json(self.path / name)

    def shards(self, kind: str) -> list[str]:
        """Table names of all shards of `traces` or `units`, in order."""
        return [f"{kind}/{p.stem}" for p in sorted((self.path / kind).glob("[0-9]*.parquet"))]

    def each_shard(self, kind: str, columns: list[str] | None = None) -> Iterator["pa.Table"]:
        """The shards one after another, so that memory stays bounded."""
        for name in self.shards(kind):
            yield self.table(name, columns)

    def all_shards(self, kind: str, columns: list[str] | None = None) -> "pa.Table":
        """All shards as one table; row i is trace_row i everywhere else."""
        import pyarrow as pa

        shards = list(self.each_shard(kind, columns))
        if not shards:
            raise UserError(f"{self.path} has no {kind}; see which stages have run: dsl-probe status {self.path}")
        return pa.concat_tables(shards)

    def shard_rows(self, kind: str, rows: Iterable[int], columns: list[str] | None = None) -> "pa.Table":
        """The rows with these trace_row numbers, in this order, reading only the row groups that hold them."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = np.asarray(list(rows), dtype=np.int64)
        parts, got, base = [], [], 0
        for name in self.shards(kind):
            file = pq.ParquetFile(self.path / f"{name}.parquet")
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                here = np.unique(rows[(rows >= base) & (rows < base + size)])
                if len(here):
                    parts.append(file.read_row_group(group, columns=columns).take(pa.array(here - base)))
                    got.append(here)
                base += size
        if len(rows) and (rows.min() < 0 or rows.max() >= base):
            raise UserError(f"trace rows run from 0 to {base - 1}; got {rows.min()} to {rows.max()}")
        if not parts:
            return self.table(self.shards(kind)[0], columns).slice(0, 0)
        order = np.searchsorted(np.concatenate(got), rows)
        return pa.concat_tables(parts).take(pa.array(order))

    def traces(self, columns: list[str] | None = None) -> "pd.DataFrame":
        """All traces as a pandas frame; the row number is `trace_row`."""
        return self.all_shards("traces", columns).to_pandas()

    def frame(self, name: str, columns: list[str] | None = None, filters: Any = None) -> "pd.DataFrame":
        """A table as a pandas frame: run.frame("motifs")."""
        return self.table(name, columns, filters).to_pandas()

    def comparisons(self) -> dict[str, dict[str, Any]]:
        """Finished comparisons: id -> the config it was made with."""
        return self._configs("compare")

    def languages(self) -> dict[str, dict[str, Any]]:
        """Languages that were learnt: id -> the config it was made with."""
        return self._configs("language")

    def validations(self) -> dict[str, dict[str, Any]]:
        """Finished validations: id -> the config it was made with."""
        return self._configs("validate")

    def _configs(self, kind: str) -> dict[str, dict[str, Any]]:
        names = [name for name in self.stages() if _kind(name) == kind]
        return {name.partition(".")[2]: (self.stage(name) or {})["config"] for name in names}


def find_runs(root: str | os.PathLike[str]) -> list[Path]:
    """Run folders directly under `root`, sorted by name; none if there is no such folder."""
    root = Path(root)
    return sorted(p.parent for p in root.glob("*/run.json")) if root.is_dir() else []


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary name that becomes `path` only when the block ends well and the bytes are on the disk."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted, so that the same content gives the same bytes."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def file_hash(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def free_bytes(path: Path) -> int:
    """Free space on the disk that holds `path`."""
    return shutil.disk_usage(path).free


def _kind(stage: str) -> str:
    return stage.partition(".")[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it and run its stage again.") from error


def _plain(content: Any) -> Any:
    return json.loads(json.dumps(content))


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    for part in ("config", "inputs"):
        for key in sorted(old[part].keys() | new[part].keys()):
            was, now = old[part].get(key, "(absent)"), new[part].get(key, "(absent)")
            if was != now:
                return f"{part.removesuffix('s')} {key} was {was!r}, now {now!r}"
    return ""


def _packages() -> dict[str, str]:
    found = {}
    for name in _RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git_sha() -> str | None:
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
