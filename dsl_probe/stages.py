"""What stands done in a run's folder: each stage's record, how one is opened and ended, and what became stale since.

A stage writes its record last, so a stage without one was cut off: the same command does it again and gives the same
bytes. While a process does a stage it holds a lock beside the record (`locks.py`).
"""

import json
import subprocess
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from dsl_probe import locks
from dsl_probe.files import file_hash, footer_hash, read_json, seal_holds, sealed, told, write_json
from dsl_probe.remote import Remote
from dsl_probe.types import SCHEMA_VERSION, FileError, UserError

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
# Of stages that several processes may do together, each its own units: the rest is done by one.
SHARED = ("collect", "probe", "effects", "validate")
NEWER = "Install a newer one: pip install -U dsl-probe"
_RECORDED_PACKAGES = ("dsl-probe", "numpy", "scipy", "numba", "pyarrow", "pydivsufsort", "torch", "transformers")
_mine = threading.local()
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class StageStatus:
    """State of one stage: done | stale (an input changed since) | cut off | damaged (verify found another hash)."""

    stage: str
    state: str
    detail: str
    counts: dict[str, Any]


def stage_of_run(fn: Callable[P, R]) -> Callable[P, R]:
    """For the function of a stage, whose first argument is the run, or its folder: whatever ends it, it lets go of the
    stages that it held, and what the disk says of the run's files is a UserError."""

    @wraps(fn)
    def guarded(*args: P.args, **options: P.kwargs) -> R:
        before = len(_held())
        given: Any = options.get("out") or (args[0] if args else next(iter(options.values())))
        folder = given.path if isinstance(given, Stages) else given
        with told(Path(folder) if isinstance(folder, str | Path) else Path()):
            try:
                return fn(*args, **options)
            finally:
                while len(_held()) > before:
                    locks.drop(_held().pop())

    return guarded


def _held() -> list[Path]:
    """Lock files of stages that this thread holds."""
    if not hasattr(_mine, "locks"):
        _mine.locks = []
    return _mine.locks


class Stages:
    """The stages of a run; `Run` adds its tables."""

    path: Path
    name: str
    remote: Remote | None

    def stage(self, stage: str) -> dict[str, Any] | None:
        """The record of a finished stage, or None."""
        name = f"stages/{stage}.json"
        if not self.has(name):
            return None
        record = read_json(self.place(name))
        # What has a version has a digest, but for a bit in its name.
        if (
            not isinstance(record, dict)
            or not seal_holds(record)
            or record.get("stage") != stage
            or ("schema_version" in record and "digest" not in record)
        ):
            raise FileError(
                f"{self.name}/{name} is not as it was written: it is damaged, or was put there by hand. "
                f"Delete it and run its stage again."
            )
        if record.get("schema_version", 1) > SCHEMA_VERSION:
            raise UserError(
                f"{self.name}/{name} has schema version {record['schema_version']}; this dsl-probe reads up to "
                f"{SCHEMA_VERSION}. {NEWER}"
            )
        return record

    def counts(self, stage: str) -> dict[str, Any]:
        """What a finished stage counted: the fields of its result."""
        return (self.stage(stage) or {})["counts"]

    def stages(self) -> list[str]:
        """Names of the finished stages, in the order of the data flow."""
        names = [name.partition("/")[2].removesuffix(".json") for name in self.matching("stages/*.json")]
        order = list(STAGE_FILES)
        return sorted((n for n in names if not n.endswith(".started")), key=lambda n: (order.index(kind_of(n)), n))

    def outputs(self, stage: str) -> dict[str, str]:
        """File name -> hash of what a finished stage wrote. Raises UserError if it has not run."""
        record = self.stage(stage)
        if record is None:
            fix = {"import": "dsl-probe import SOURCE --out", "mine": "dsl-probe mine"}.get(stage, "dsl-probe " + stage)
            raise UserError(f"{self.name} has no finished {stage} stage. Run: {fix} {self.name}")
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
            if other != stage and set(STAGE_FILES[other]) & set(STAGE_FILES[kind_of(stage)]) and self._touched(other):
                raise UserError(
                    f"{self.path} holds {'imported' if other == 'import' else 'collected'} traces. Take a new folder, "
                    f"then bring both together: dsl-probe import NEW {self.path} --out BOTH"
                )
        asked = {"config": dict(config), "inputs": dict(inputs)}
        if not force and (record := self.stage(stage)) is not None:
            self._refuse_other(stage, record, asked)
            self._tidy(stage)
            return False
        if self.remote is not None:
            raise UserError(f"{self.name} can be read only; copy it to a folder of this machine to work on it.")
        with self._turn():
            return self._begin(stage, asked, force)

    def _begin(self, stage: str, asked: dict[str, Any], force: bool) -> bool:
        started = self.path / "stages" / f"{stage}.started.json"
        if not force:
            done = self.stage(stage)  # by another process, since we looked
            earlier = done or (read_json(started) if started.is_file() else None)
            if earlier is not None:
                self._refuse_other(stage, earlier, asked)
            if done is not None:
                return False
        self._sweep_records()
        others = self._at_work(stage)
        busy = self._at_work("*") if force else [] if kind_of(stage) in SHARED else others
        if busy:
            raise UserError(
                f"{self.path} is being worked on by {busy[0]}. Wait until it is done"
                + (": --force would remove what it reads or writes." if force else ", or end it.")
            )
        if force and self._touched(stage):
            self._remove(stage)
        if not others:
            self._sweep(stage)
        lock = self.path / "stages" / f"{stage}.{locks.short()}.driver"
        if locks.take(lock) and lock not in _held():
            _held().append(lock)
        write_json(started, asked)
        return True

    def _refuse_other(self, stage: str, earlier: dict[str, Any], asked: dict[str, Any]) -> None:
        difference = _difference(earlier, _plain(asked))
        if difference:
            state = "was done" if "stage" in earlier else "was begun and cut off"
            if others := self._at_work(stage):
                state = f"is being done by {others[0]}"
            raise UserError(
                f"stage {stage!r} of {self.name} {state} with another setting: {difference}. "
                f"Repeat that setting, choose another run folder, or add --force to replace it."
            )

    def _at_work(self, stage: str) -> list[str]:
        """Other living processes that do a stage, in words; what dead ones left is removed."""
        found = []
        for lock in self.path.glob(f"stages/{stage}.*.driver"):
            owner = locks.owner(lock)
            if owner:
                found.append(owner)
            elif lock not in _held():
                lock.unlink(missing_ok=True)
        return found

    @contextmanager
    def _turn(self) -> Generator[None]:
        """One process at a time opens or ends a stage."""
        try:
            with locks.turn(self.path / "stages" / ".turn"):
                yield
        except TimeoutError as error:
            raise UserError(f"{self.path}: {error}; wait, or end it.") from error
        except OSError as error:
            raise UserError(f"cannot write {error.filename or self.path}: {error.strerror or error}") from error

    def abandon(self, stage: str) -> None:
        """Forget a stage that was begun and had nothing to do, so that another setting may be tried."""
        if self._at_work(stage):
            return
        (self.path / "stages" / f"{stage}.started.json").unlink(missing_ok=True)

    def finish(self, stage: str, outputs: Iterable[str], counts: Mapping[str, Any], seed: int | None = None) -> None:
        """Write the record of a stage, which makes it done. `outputs` are file names relative to the run."""
        with self._turn():
            if self.stage(stage) is None:  # else another process that did it with this one was first
                self._finish(stage, outputs, counts, seed)

    def _finish(self, stage: str, outputs: Iterable[str], counts: Mapping[str, Any], seed: int | None) -> None:
        if not self._at_work(stage):
            self._sweep(stage)
        names = sorted(outputs)
        record = read_json(self.path / "stages" / f"{stage}.started.json") | {
            "stage": stage,
            "schema_version": SCHEMA_VERSION,
            "seed": seed,
            "packages": _packages(),
            "git": _git_sha(),
            "counts": dict(counts),
            "outputs": {name: file_hash(self.path / name) for name in names},
            "footers": {name: footer_hash(self.path / name) for name in names if name.endswith(".parquet")},
        }
        write_json(self.path / "stages" / f"{stage}.json", sealed(record))
        (self.path / "stages" / f"{stage}.started.json").unlink(missing_ok=True)

    def _touched(self, stage: str) -> bool:
        """Whether a stage was done, or begun and cut off."""
        return any((self.path / "stages" / f"{stage}{end}.json").is_file() for end in ("", ".started"))

    def _remove(self, stage: str) -> None:
        (self.path / "stages" / f"{stage}.json").unlink(missing_ok=True)
        for pattern in STAGE_FILES[kind_of(stage)]:
            for path in self.path.glob(pattern.format(id=stage.partition(".")[2])):
                path.unlink(missing_ok=True)

    def _sweep(self, stage: str) -> None:
        """Remove what a killed writer of a stage left: files under a temporary name, and locks."""
        for pattern in STAGE_FILES[kind_of(stage)]:
            pattern = pattern.format(id=stage.partition(".")[2])
            for left in (f"{pattern}.*.tmp", f"{pattern}.lock", f"{pattern}.lock.*", f"{Path(pattern).parent}/.now.*"):
                for path in self.path.glob(left):
                    path.unlink(missing_ok=True)

    def _tidy(self, stage: str) -> None:
        """Remove what one left who was killed between writing the record of a stage and letting go."""
        started = self.path / "stages" / f"{stage}.started.json"
        locked = [*self.path.glob("stages/*.driver"), *self.path.glob("stages/.turn")]
        if started.exists() or any(lock not in _held() and locks.owner(lock) is None for lock in locked):
            with suppress(UserError), self._turn():  # not where a finished run can be read only
                if self.has(f"stages/{stage}.json"):  # or another does it anew
                    started.unlink(missing_ok=True)
                self._at_work("*")
                self._sweep_records()

    def _sweep_records(self) -> None:
        """Remove what one left who was killed while it began or ended a stage; only for who has the turn."""
        for left in ("run.json.*.tmp", "stages/*.tmp", "stages/.turn.?*", "stages/*.driver.?*", "stages/.now.*"):
            for path in self.path.glob(left):
                path.unlink(missing_ok=True)

    def status(self, verify: bool = False) -> list[StageStatus]:
        """State of every stage. `verify` reads every file and compares its hash with the record."""
        records: dict[str, dict[str, Any]] = {}
        rows = []
        for stage in self.stages():
            try:
                records[stage] = self.stage(stage) or {}
            except FileError as error:
                rows.append(StageStatus(stage, "damaged", str(error), {}))
        now = {name: h for record in records.values() for name, h in record["outputs"].items()}
        for stage, record in records.items():
            state, detail = "done", ""
            changed = [n for n, h in record["inputs"].items() if not n.startswith("source:") and now.get(n) != h]
            if changed:
                state, detail = "stale", f"{changed[0]} changed since; run the stage again with --force"
            missing = [n for n in record["outputs"] if not self.has(n)]
            if missing:
                state, detail = "damaged", f"{missing[0]} is missing; run the stage again with --force"
            elif verify:
                bad = [n for n, h in record["outputs"].items() if _hash_or_none(self.place(n)) != h]
                if bad:
                    state, detail = "damaged", f"{bad[0]} has changed on disk; run the stage again with --force"
            rows.append(StageStatus(stage, state, detail, record["counts"]))
        for started in self.matching("stages/*.started.json"):
            name = started.removeprefix("stages/").removesuffix(".started.json")
            if not self.has(f"stages/{name}.json"):
                detail = f"{self._units_left(name)}run the same command again to finish it"
                rows.append(StageStatus(name, "cut off", detail, {}))
        return rows

    def _units_left(self, stage: str) -> str:
        """How many units of a stage are left, if it goes on unit by unit and has a plan; else ""."""
        plan, *finishing = (name.format(id=stage.partition(".")[2]) for name in UNIT_FILES.get(kind_of(stage), ("",)))
        if not plan or not self.has(plan):
            return ""
        units, done = (
            len(read_json(self.place(plan))["units"]),
            sum(len(self.matching(name)) for name in finishing),
        )
        return f"{units - done:,} of {units:,} units are left; "

    def has(self, name: str) -> bool:
        """Whether a file is there, by its name: run.has("motifs.parquet")."""
        return name in self.remote.names if self.remote else (self.path / name).is_file()

    def place(self, name: str) -> Path:
        """Where a file stands on this machine, unchecked."""
        return self.remote.fetch(name) if self.remote else self.path / name

    def matching(self, pattern: str) -> list[str]:
        """Names of files, sorted."""
        if self.remote:
            return self.remote.matching(pattern)
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.glob(pattern))


def _hash_or_none(path: Path) -> str | None:
    try:
        return file_hash(path)
    except OSError:
        return None


def kind_of(stage: str) -> str:
    """What a stage is, without its id: `compare` of `compare.x`."""
    return stage.partition(".")[0]


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
