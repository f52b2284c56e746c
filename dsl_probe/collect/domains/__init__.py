"""Domains by name: where problems come from and how a completion is judged.

    load_domain("math").problems(seed=0, n=100)        shipped: math, gsm8k, math500, countdown, logic, arc, code ...
    load_domain("gym:spell_backward")                  any reasoning-gym dataset (extra `gym`)
    load_domain("package.module:object")               your own: a module or object with `problems` and `verify`
    load_domain("problems.jsonl")                      problem_id, prompt, reference; exact-match verifier

`problems(seed, n)` depends on (seed, n) alone, and problems(s, 10) is the start of problems(s, 20). A finite set is
shuffled by the seed, so two seeds pick in another order from the same problems: they are not disjoint.
"""

import importlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from dsl_probe.collect.domains.worlds import NAMES as WORLDS
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.collect.verify import Verdict, verify_exact
from dsl_probe.types import Problem, UserError

# Built-in name -> module, and the shipped sets it draws from (none: all of the module's).
BUILT_IN: dict[str, tuple[str, tuple[str, ...]]] = {
    "math": ("math", ()),
    "gsm8k": ("math", ("gsm8k",)),
    "math500": ("math", ("math500",)),
    "countdown": ("countdown", ()),
    "logic": ("logic", ()),
    "knights": ("logic", ("knights",)),
    "zebra": ("logic", ("zebra",)),
    "arc": ("arc", ()),
    "code": ("code", ()),
    "humaneval": ("code", ("humaneval",)),
    "mbpp": ("code", ("mbpp",)),
    "cruxeval": ("code", ("cruxeval",)),
} | {f"{name}{more}": ("worlds", (f"{name}{more}",)) for name in WORLDS for more in ("", "+1", "+2")}


@dataclass(frozen=True)
class Domain:
    """A named source of problems with its verifier. `state` (optional) tells a ground-truth state of a completion.

    runs_code: to judge an answer is to run it, which needs the sandbox or `unsafe_exec`.
    """

    name: str
    problems: Callable[[int, int], list[Problem]]
    verify: Callable[[Problem, str], Verdict]
    state: Callable[[Problem, str], Any] | None = None
    runs_code: bool = False


def load_domain(name: str, *, unsafe_exec: bool = False) -> Domain:
    """The domain called `name`. `unsafe_exec` is handed to the domains that run code (code, gym:*)."""
    if name in BUILT_IN:
        module_name, sets = BUILT_IN[name]
        module = importlib.import_module(f"dsl_probe.collect.domains.{module_name}")
        verify = partial(module.verify, unsafe_exec=unsafe_exec) if module_name == "code" else module.verify
        draw = partial(module.problems, sets=sets) if sets else module.problems
        return Domain(name, draw, verify, getattr(module, "state", None), runs_code=module_name == "code")
    if name.startswith("gym:"):
        from dsl_probe.collect.domains import gym

        return gym.domain(name.removeprefix("gym:"), unsafe_exec=unsafe_exec)
    if name.endswith((".jsonl", ".parquet")):
        return Domain(name, partial(_from_file, name), lambda problem, text: verify_exact(problem.target, text))
    if ":" in name:
        return _imported(name)
    raise UserError(
        f"no domain {name!r}. Allowed: {', '.join(sorted(BUILT_IN))}, gym:NAME (a reasoning-gym dataset), "
        "package.module:object, or a .jsonl / .parquet file of problems."
    )


def problem_of(trace: Mapping[str, Any]) -> Problem:
    """The problem of a stored trace: from problem_id, domain, prompt, reference and meta (JSON).

    Not shown: what the domain knows of the problem beyond these.
    """
    meta = json.loads(trace["meta"] or "{}")
    return Problem(trace["problem_id"] or "", trace["domain"], trace["prompt"], trace["reference"], meta)


def _imported(name: str) -> Domain:
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"domain {name!r} cannot be imported: {error}. Write package.module:object.") from error
    missing = [part for part in ("problems", "verify") if not callable(getattr(found, part, None))]
    if missing:
        raise UserError(
            f"domain {name!r} has no callable {' and no '.join(missing)}; it needs problems(seed, n) -> list of "
            "Problem, and verify(problem, completion) -> Verdict."
        )
    return Domain(name, found.problems, found.verify, getattr(found, "state", None))


def pick(rows: Sequence[Any], seed: int, n: int, name: str) -> list[Any]:
    """The first n of `rows` shuffled by `seed`. Raises UserError for more than there are."""
    if not 0 <= n <= len(rows):
        raise UserError(f"{name} has {len(rows)} problems, and {n} were asked for; ask for 0 to {len(rows)}.")
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    return [rows[i] for i in order[:n]]


@cache
def shipped_rows(file: str) -> tuple[dict[str, Any], ...]:
    """The rows of data/problems/`file`.parquet."""
    import pyarrow.parquet as pq

    return tuple(pq.read_table(shipped_folder("problems") / f"{file}.parquet").to_pylist())


def shipped_problems(files: dict[str, str], sets: Sequence[str], domain: str, seed: int, n: int) -> list[Problem]:
    """n problems of the shipped `sets` (names in `files`; none: all) pooled. Other columns go to `meta`, with `set`."""
    rows = [(name, row) for name in sets or files for row in shipped_rows(files[name])]
    return [
        Problem(
            row["problem_id"],
            domain,
            row["prompt"],
            row["reference"],
            {"set": name} | {k: v for k, v in row.items() if k not in ("problem_id", "domain", "prompt", "reference")},
        )
        for name, row in pick(rows, seed, n, domain)
    ]


def _from_file(name: str, seed: int, n: int) -> list[Problem]:
    return pick(_read_problems(name, Path(name).stem), seed, n, name)


def _rows_of(path: Path) -> list[tuple[int, Any]]:
    """The rows of a file of problems, numbered from 1."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return list(enumerate(pq.read_table(path).to_pylist(), 1))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as Parquet: {error}. Write it again.") from error
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines() would cut texts that hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8: {error}. One JSON object a line.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is not JSON: {error}. One object a line.") from error
    return rows


def _checked(value: Any, where: str) -> None:
    if value is not None and not isinstance(value, str | int | float):
        raise UserError(f"{where} is a {type(value).__name__}; it must be a text or a number.")
    try:
        str(value).encode("utf-8")
    except (UnicodeEncodeError, ValueError) as error:  # ValueError: a number of more than 4,300 digits
        raise UserError(f"{where} cannot be written as text: {error}.") from error


@cache
def _read_problems(name: str, domain: str) -> tuple[Problem, ...]:
    path = Path(name)
    if not path.is_file():
        raise UserError(f"no file {name!r} of problems; give a .jsonl or .parquet with problem_id, prompt, reference.")
    rows = _rows_of(path)
    seen, problems = set(), []
    for number, row in rows:
        missing = [c for c in ("problem_id", "prompt", "reference") if not isinstance(row, dict) or row.get(c) is None]
        if missing:
            raise UserError(f"{name}, row {number} lacks {', '.join(missing)}; a problem needs all three.")
        for column in ("problem_id", "prompt", "reference", "domain"):
            _checked(row.get(column), f"{name}, row {number}: {column}")
        if row["problem_id"] in seen:
            raise UserError(
                f"{name}, row {number}: problem_id {row['problem_id']!r} stands there twice; make it unique."
            )
        seen.add(row["problem_id"])
        meta = {k: v for k, v in row.items() if k not in ("problem_id", "domain", "prompt", "reference")}
        target = str(row["reference"])
        problems.append(
            Problem(str(row["problem_id"]), str(row.get("domain") or domain), str(row["prompt"]), target, meta)
        )
    return tuple(problems)
