"""Files of a finished run cut short, with a bit flipped, or exchanged: is each case told, or without effect?

    python experiments/reliability/damage.py                      1,000 cases; writes DAMAGE.md
    python experiments/reliability/damage.py --cases 60 --json    what tests/test_damage.py runs

After each case everything that the API reads is read and compared with what it was. `footers`: the same cases with
Parquet files checked by their footers and the checksums of their pages alone, as those above store.WHOLE bytes are.
"""

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import road
from children import child

REPORT = Path(__file__).with_name("DAMAGE.md")
KINDS = ("cut", "bit", "swap")
BATCH = 20


def readers(path: Path, listed: Path | None = None) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What the API reads of a run: name -> a call that gives values. listed: a copy that has all of its files."""
    from safetensors.numpy import load_file

    from dsl_probe.files import file_hash
    from dsl_probe.probe.stage import read_weights
    from dsl_probe.probe.states import StoredStates, captured_layers, read_index
    from dsl_probe.store import Run

    run = Run(path)
    listed = listed or path
    names = sorted(p.relative_to(listed).as_posix() for p in listed.rglob("*") if p.is_file())
    yield "identity", lambda: run.identity
    yield "stages", run.stages
    for name in names:
        if name.startswith("stages/"):
            yield f"stage {name}", lambda n=name: run.stage(n.removeprefix("stages/").removesuffix(".json"))
        elif name.endswith(".parquet"):
            yield f"table {name}", lambda n=name: run.table(n.removesuffix(".parquet"))
        elif name.endswith(".json") and name != "run.json":
            yield f"json {name}", lambda n=name: run.json(n)
        elif name.endswith(".safetensors"):
            yield f"tensors {name}", lambda n=name: load_file(run.file(n)) if "probes" in n else file_hash(run.file(n))
    for kind in ("traces", "units"):
        if (listed / kind).is_dir():
            yield f"all {kind}", lambda k=kind: run.all_shards(k)
            yield f"rows of {kind}", lambda k=kind: run.shard_rows(k, [3, 0, 20 if path.name == "collected" else 81])
    for stage in ("capture.m", "probe.default"):
        if (listed / f"stages/{stage}.json").is_file() and stage.startswith("capture"):
            yield "layers", lambda: captured_layers(run, "m")
            yield "index", lambda: read_index(run, "m")
            yield "states", lambda: StoredStates(run, "m", "resid_post.1").take([0, 5, 150]).numpy()
            yield "all states", lambda: [b.numpy() for _, b in StoredStates(run, "m", "resid_post.2").blocks()]
        elif (listed / f"stages/{stage}.json").is_file():
            yield "weights", lambda: read_weights(run, "default", "m", "last")


def digest(value: Any) -> str:
    """A hash of what a reader gave; NaN is equal to itself."""
    import numpy as np
    import pyarrow as pa

    if isinstance(value, pa.Table):
        out = pa.BufferOutputStream()
        with pa.ipc.new_stream(out, value.schema) as stream:
            stream.write_table(value.combine_chunks())
        value = out.getvalue().to_pybytes()
    elif isinstance(value, np.ndarray):
        value = [str(value.dtype), value.shape, value.tobytes()]
    elif isinstance(value, dict):
        value = [(k, digest(v)) for k, v in sorted(value.items())]
    elif isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        value = [digest(v) for v in value]
    return hashlib.blake2b(repr(value).encode(), digest_size=16).hexdigest()


@dataclass
class Case:
    """A run folder, one or two of its files, and what was done to them."""

    run: str
    kind: str
    files: list[str]
    detail: str
    told: int = 0
    verify: bool = False
    wrong: list[str] = field(default_factory=list)


def damage(folder: Path, kind: str, rng: random.Random, first: str | None = None) -> Case:
    """Break a file of a run, or exchange it for another; one drawn at random, where none is named."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    first = first or rng.choice(names)
    path = folder / first
    content = path.read_bytes()
    if kind == "gone":
        path.unlink()
        return Case(folder.name, kind, [first], "removed")
    if kind == "cut":
        size = rng.randrange(len(content))
        path.write_bytes(content[:size])
        return Case(folder.name, kind, [first], f"{size} of {len(content)} bytes left")
    if kind == "bit":
        bit = rng.randrange(8 * len(content))
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        return Case(folder.name, kind, [first], f"bit {bit} of {8 * len(content)}")
    second = rng.choice([n for n in names if n != first and Path(n).suffix == path.suffix] or names)
    other = (folder / second).read_bytes()
    (folder / second).write_bytes(content)
    path.write_bytes(other)
    return Case(folder.name, kind, [first, second], "exchanged" if other != content else "exchanged, equal")


def judge(folder: Path, case: Case, wanted: dict[str, str], listed: Path | None = None) -> None:
    """Read everything, and verify: what is told, and what is wrong."""
    from dsl_probe.types import UserError

    try:
        calls = dict(readers(folder, listed))
    except UserError as error:
        if "run.json" not in str(error):
            case.wrong.append(f"the run cannot be opened: {error}")
        case.told += 1
        return
    for name, call in calls.items():
        try:
            found = digest(call())
        except UserError as error:
            case.told += 1
            if not any(file.removesuffix(".parquet") in str(error) for file in case.files):
                case.wrong.append(f"{name}: refused, without the file's name: {error}")
        except Exception as error:
            case.wrong.append(f"{name}: {type(error).__name__}: {error}"[:300])
        else:
            if found != wanted.get(name):
                case.wrong.append(f"{name}: another value")
    if gone := wanted.keys() - calls.keys():
        case.wrong.append(f"not offered any more: {sorted(gone)}")
    case.verify = verified(folder, case)
    same = {f for f in case.files if "equal" not in case.detail}
    if same and not case.told and not case.verify:
        case.wrong.append("neither told nor found by status --verify")


def verified(folder: Path, case: Case) -> bool:
    """Whether status --verify names a file of the case."""
    code, told = road.command(["status", str(folder), "--verify"])
    if code not in (0, 1, 2) or "Traceback" in told:
        case.wrong.append(f"status --verify ended with {code}: {told}")
    return code > 0


def judged(folder: Path, spare: Path, kinds: list[tuple[int, str]], wanted: dict[str, dict[str, str]]) -> list[Case]:
    """Cases of these seeds and kinds, in a child: a crash is a case, too, and its neighbours are then done alone."""
    broken: list[Case] = []
    with tempfile.NamedTemporaryFile("r") as told:

        def work() -> int:
            for seed, kind in kinds:
                broken.append(case := drawn(folder, kind, seed))
                judge(folder / case.run, case, wanted[case.run])
                restore(folder, spare, case)
            Path(told.name).write_text(json.dumps([case.__dict__ for case in broken]))
            return 0

        ended = child(work)
        if ended.code == 0:
            return [Case(**case) for case in json.loads(told.read())]
    shutil.rmtree(folder)
    shutil.copytree(spare, folder)
    if len(kinds) > 1:
        return [case for one in kinds for case in judged(folder, spare, [one], wanted)]
    case = drawn(folder, kinds[0][1], kinds[0][0])
    restore(folder, spare, case)
    case.wrong.append(f"reading ended with {ended.code}: {ended.told[-300:]}")
    return [case]


def drawn(folder: Path, kind: str, seed: int) -> Case:
    rng = random.Random(seed)
    return damage(folder / ("run" if rng.random() < 0.9 else "collected"), kind, rng)


def restore(folder: Path, spare: Path, case: Case) -> None:
    for name in case.files:
        shutil.copyfile(spare / case.run / name, folder / case.run / name)


def trials(folder: Path, cases: int, seed: int) -> Iterator[list[Case]]:
    """All cases as they are read; then the same with Parquet files checked by their footers alone."""
    from dsl_probe import store

    spare, work = folder / "end", folder / "work"
    shutil.copytree(spare, work)
    wanted = {run: {name: digest(call()) for name, call in readers(spare / run)} for run in ("run", "collected")}
    asked = [(seed + k, KINDS[k % 3]) for k in range(cases)]
    whole = store.WHOLE
    for store.WHOLE in (whole, 0):
        parts = (asked[k : k + BATCH] for k in range(0, cases, BATCH))
        yield [case for part in parts for case in judged(work, spare, part, wanted)]
    store.WHOLE = whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    began = time.monotonic()
    with road.fast_folder() as folder:
        road.before_each(Path(folder))
        found = trials(Path(folder), o.cases, o.seed)
        whole = next(found)
        if o.json:
            bad = [f"{c.run}: {c.files} {c.detail}: {w}" for c in whole for w in c.wrong]
            print(json.dumps({"cases": len(whole), "told": sum(c.told > 0 for c in whole), "wrong": bad}))
            return 0
        footers = next(found)
    lines = [
        "# Damaged files",
        "",
        f"`python experiments/reliability/damage.py`, seed {o.seed}; {o.cases:,} cases, twice, "
        f"in {time.monotonic() - began:.0f} s. Whole: files hashed whole when first read. Footers: Parquet "
        "files checked by footer and page checksums alone. Wrong: another value, a name that is not told, or an "
        "untyped error.",
        "",
        "| damage | cases | told on reading | told by verify alone | no effect | wrong, whole | wrong, footers |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        mine = [c for c in whole if c.kind == kind]
        counts = Counter("told" if c.told else "verify" if c.verify else "none" for c in mine)
        bad = [sum(bool(c.wrong) for c in part if c.kind == kind) for part in (whole, footers)]
        row = [len(mine), counts["told"], counts["verify"], counts["none"], *bad]
        lines.append(f"| {kind} | " + " | ".join(map(str, row)) + " |")
    for title, part in (("Whole", whole), ("Footers", footers)):
        lines += ["", f"## {title}: wrong", ""]
        lines += [
            f"- {c.run}, {', '.join(c.files)}, {c.detail}: {'; '.join(c.wrong[:3])}" for c in part if c.wrong
        ] or ["None."]
    text = "\n".join(lines) + "\n"
    REPORT.write_text(text)
    print(text)
    return 1 if any(c.wrong for c in whole) else 0


if __name__ == "__main__":
    sys.exit(main())
