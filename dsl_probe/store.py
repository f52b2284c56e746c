"""Run: a folder with everything that is known of some traces. The only code that knows its file names.

A file under its final name is complete: it is written under a temporary name, flushed to the disk and renamed. A stage
writes its record last, so a stage without one was cut off: the same command does it again and gives the same bytes.
Hashed files hold no times and no paths.
"""

import fnmatch
import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl_probe.files import file_hash, footer_hash, read_json, replacing, seal_holds, sealed, stamp, told, write_json
from dsl_probe.remote import Remote
from dsl_probe.stages import NEWER, STAGE_FILES, Stages, kind_of
from dsl_probe.types import SCHEMA_VERSION, FileError, UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_ROW_GROUP = 1_000
_VERSION = b"dsl_probe.schema"
# Parquet files up to so many bytes are hashed whole when they are first read, which takes 0.16 s for 100 MB; of larger
# ones the footer is, and the pages have checksums. The headers of pages have none, but no bit in them went unnoticed.
WHOLE = 1 << 24
# Files of finished stages that were found as they were written, with inode, size and time, and what was hashed of them.
_checked: dict[tuple[Path, bool], tuple[int, int, int]] = {}
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")  # Path has taken one of the two slashes


class Run(Stages):
    """An existing run: a folder, or the URL of one elsewhere that fsspec can open, which can be read only.

    Every file that a finished stage left is checked by its hash when a process first reads it; of a Parquet file above
    16 MB the footer alone, and its pages by their checksums. What was changed is refused by name.

    >>> run = Run("runs/demo")                       # doctest: +SKIP
    >>> run.traces(["trace_id", "model"]).head()     # doctest: +SKIP
    >>> Run("s3://bucket/runs/demo").stages()        # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.remote = Remote(str(path)) if "://" in str(path) else None
        self.path = self.remote.folder if self.remote else Path(path)
        self.name = str(path)
        self._written: tuple[int, dict[str, tuple[str, str, str]]] = (0, {})
        self._unreadable: dict[str, str] = {}  # stage -> why its record cannot be read
        with told(self.path):
            there = self.has("run.json")
        if not there:
            make = f"Make one with: dsl-probe import SOURCE --out {self.name}   (or: dsl-probe demo)"
            raise UserError(
                f"{self.name} is not a run: it has no run.json. "
                + ("See whether the URL is right, down to the run's own folder." if self.remote else make)
            )
        self.identity = read_json(self.place("run.json"))
        version = self.identity.get("schema_version") if isinstance(self.identity, dict) else None
        if not isinstance(version, int) or version < 1:
            raise UserError(f"{self.name}/run.json holds no schema version; it is damaged, or not of dsl-probe.")
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{self.name} was written by a newer dsl-probe: its run.json has schema version {version}, and this "
                f"one reads up to {SCHEMA_VERSION}. {NEWER}"
            )
        # A stage's record is sealed, too; and one bit may turn the seal's own name into another's.
        unsealed = "digest" not in self.identity and self.identity.keys() - {"schema_version", "name"}
        if not seal_holds(self.identity) or "stage" in self.identity or unsealed:
            raise UserError(f"{self.name}/run.json is not as it was written: it is damaged, or was put there by hand.")

    @classmethod
    def create(cls, path: str | os.PathLike[str], name: str | None = None) -> "Run":
        """Open the run at `path`, or make an empty one. Refuses a folder that holds something else."""
        if _URL.match(str(path)):
            raise UserError(f"{path} is a URL, and a run is written to a folder of this machine; give --out a folder.")
        path = Path(path)
        with told(path):
            there = (path / "run.json").exists()
        if not there:
            if path.is_file():
                raise UserError(f"{path} is a file; --out needs a folder (a new one, or an existing run).")
            if path.is_dir() and any(not p.name.startswith((".", "run.json.")) for p in path.iterdir()):
                raise UserError(f"{path} is not empty and is not a run; give --out a new folder.")
            with told(path):
                path.mkdir(parents=True, exist_ok=True)
            identity = {"schema_version": SCHEMA_VERSION, "name": name or path.resolve().name}
            try:
                write_json(path / "run.json", sealed(identity))
            except UserError:  # another process made it, and swept ours away?
                if not (path / "run.json").exists():
                    raise
        return cls(path)

    def __repr__(self) -> str:
        return f"Run({self.name!r})"

    # ---- writing

    def write_table(self, name: str, table: "pa.Table", row_group: int = 1 << 16) -> str:
        """Write a Parquet file atomically; returns its name."""
        import pyarrow.parquet as pq

        with replacing(self._to_write(name)) as temporary:
            table = table.cast(_versioned(table.schema))
            pq.write_table(table, temporary, compression="zstd", row_group_size=row_group, write_page_checksum=True)
        return name

    def write_json(self, name: str, content: Any) -> str:
        """Write a JSON file atomically; returns its name."""
        write_json(self._to_write(name), content)
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
            replacing(self._to_write(name)) as temporary,
            pq.ParquetWriter(temporary, _versioned(schema), compression="zstd", write_page_checksum=True) as writer,
        ):
            yield writer

    def _to_write(self, name: str) -> Path:
        if self.remote:
            raise UserError(f"{self.name} can be read only; copy it to a folder of this machine to work on it.")
        return self.path / name

    # ---- reading

    def file(self, name: str, whole: bool = True) -> Path:
        """The place of a file on this machine, checked against the record of the stage that wrote it. Raises UserError
        where it is missing or is not what the stage wrote.

        whole: False checks of a Parquet file the footer alone, for those who read the footer alone.
        """
        path = self.place(name)
        if not path.is_file():
            raise FileError(f"{self.name} has no {name}; see which stages have run: dsl-probe status {self.name}")
        try:
            now = stamp(path)
            whole = whole and now[1] <= WHOLE
            if now not in (_checked.get((path, True)), _checked.get((path, whole))):
                stage, digest, footer = self._record_of(name)
                expected, found = (footer, footer_hash) if footer and not whole else (digest, file_hash)
                if expected and found(path) != expected:
                    raise FileError(
                        f"{path} is not the file that {stage} wrote: it is damaged, or was exchanged. Find out what "
                        f"else is: dsl-probe status {self.name} --verify; then run that stage again with --force"
                    )
                if expected:
                    _checked[path, whole or not footer] = now
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
        return path

    def _record_of(self, name: str) -> tuple[str, str, str]:
        """The stage that wrote a file, its hash, the hash of its footer; "" where no finished stage did."""
        found = self._records()
        if name not in found:
            for stage, reason in self._unreadable.items():
                patterns = (p.format(id=stage.partition(".")[2]) for p in STAGE_FILES[kind_of(stage)])
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                    raise FileError(f"{self.name}/{name} cannot be checked. {reason}")
        return found.get(name, ("", "", ""))

    def _records(self) -> dict[str, tuple[str, str, str]]:
        """File name -> the stage that wrote it, its hash, the hash of its footer; of finished stages."""
        folder = self.path / "stages"
        now = folder.stat().st_mtime_ns if folder.is_dir() and not self.remote else 1
        if self._written[0] != now:
            found, self._unreadable = {}, {}
            for stage in self.stages():
                try:
                    record = self.stage(stage) or {}
                except FileError as error:
                    self._unreadable[stage] = str(error)
                    continue
                footers = record.get("footers", {})
                found |= {name: (stage, h, footers.get(name, "")) for name, h in record["outputs"].items()}
            self._written = now, found
        return self._written[1]

    def table(
        self, name: str, columns: list[str] | None = None, filters: Any = None, dictionary: list[str] | None = None
    ) -> "pa.Table":
        """A table by name: `motifs`, `counts`, `occurrences`, `comparisons/ID/comparison`, ...

        `dictionary`: string columns to read as codes, for tables of many rows.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.has(f"{name}.parquet"):
            raise FileError(
                f"{self.name} has no table {name!r}; see which stages have run: dsl-probe status {self.name}"
            )
        path = self.file(f"{name}.parquet")
        try:
            table = pq.read_table(
                path, columns=columns, filters=filters, read_dictionary=dictionary, page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            raise FileError(
                f"{path} cannot be read: {error}. Find out what else is damaged: dsl-probe status {self.name} --verify"
            ) from error
        _refuse_newer(path, table.schema.metadata)
        return table

    def json(self, name: str) -> Any:
        """A JSON file of the run by its name."""
        return read_json(self.file(name))

    def shards(self, kind: str) -> list[str]:
        """Table names of all shards of `traces` or `units`, in order. Raises UserError where one is missing."""
        pattern = f"{kind}/[0-9]*.parquet"
        names = self.matching(pattern)
        written = {name: by for name, (by, _, _) in self._records().items() if fnmatch.fnmatchcase(name, pattern)}
        if lost := sorted(written.keys() - set(names)):
            raise FileError(
                f"{self.name} has lost {lost[0]}, which {written[lost[0]]} wrote: rows behind it would be taken for "
                f"others. Run that stage again with --force."
            )
        return [name.removesuffix(".parquet") for name in names]

    def each_shard(self, kind: str, columns: list[str] | None = None) -> Iterator["pa.Table"]:
        """The shards one after another, so that memory stays bounded."""
        for name in self.shards(kind):
            yield self.table(name, columns)

    def all_shards(self, kind: str, columns: list[str] | None = None) -> "pa.Table":
        """All shards as one table; row i is trace_row i everywhere else."""
        import pyarrow as pa

        shards = list(self.each_shard(kind, columns))
        if not shards:
            raise UserError(f"{self.name} has no {kind}; see which stages have run: dsl-probe status {self.name}")
        return pa.concat_tables(shards)

    def shard_rows(self, kind: str, rows: Iterable[int], columns: list[str] | None = None) -> "pa.Table":
        """The rows with these trace_row numbers, in this order, reading only the row groups that hold them."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = np.asarray(list(rows), dtype=np.int64)
        wanted, parts, got, base = np.unique(rows), [], [], 0
        for name in self.shards(kind):
            path = self.file(f"{name}.parquet", whole=False)
            try:
                file = pq.ParquetFile(path, page_checksum_verification=True)
                _refuse_newer(path, file.schema_arrow.metadata)
                for group in range(file.num_row_groups):
                    size = file.metadata.row_group(group).num_rows
                    here = wanted[slice(*np.searchsorted(wanted, [base, base + size]))]
                    if len(here):
                        self.file(f"{name}.parquet")
                        parts.append(file.read_row_group(group, columns=columns).take(pa.array(here - base)))
                        got.append(here)
                    base += size
            except (pa.ArrowException, OSError) as error:
                raise FileError(
                    f"{path} cannot be read: {error}. See what else is: dsl-probe status {self.name} --verify"
                ) from error
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
        names = [name for name in self.stages() if kind_of(name) == kind]
        return {name.partition(".")[2]: (self.stage(name) or {})["config"] for name in names}


def _versioned(schema: "pa.Schema") -> "pa.Schema":
    return schema.with_metadata((schema.metadata or {}) | {_VERSION: str(SCHEMA_VERSION).encode()})


def _refuse_newer(path: Path, metadata: dict[bytes, bytes] | None) -> None:
    """A table from before tables had a version is of the first."""
    said = (metadata or {}).get(_VERSION, b"1").decode("ascii", "replace")
    if not said.isdecimal() or int(said) > SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {said}; this dsl-probe reads up to {SCHEMA_VERSION}. {NEWER}")


def find_runs(root: str | os.PathLike[str]) -> list[Path]:
    """Run folders directly under `root`, sorted by name; none if there is no such folder."""
    root = Path(root)
    return sorted(p.parent for p in root.glob("*/run.json")) if root.is_dir() else []
