# ruff: noqa: E501 (tables of strategies)
"""Inputs at random, for every door of the command line: files to import, problems, configs, arguments, groups.

Strategies of hypothesis, and `broken(argv)`, which runs the command line in process and says what it should not do.
"""

import contextlib
import dataclasses
import gzip
import io
import json
import shutil
import traceback
from pathlib import Path
from typing import Any

from corpus import rows, write_jsonl
from hypothesis import strategies as st

from dsl_probe.cli import COMMANDS, main
from dsl_probe.types import TRACES

FORMATS = Path(__file__).parent / "fixtures" / "formats"
CODES = (0, 1, 2, 130)
_HUGE = [10**400, -(10**400), 2**63, -(2**63) - 1, 1e308, 2**31, -1, 0, 1, 0.5, 1e-320]
_TEXTS = ["", " ", "\x00", "\ud800", "\udfff\ud800", "NaN", "null", "true", "1", "-1", "a,b=c", "model=model-a", "=", "../../x",
          "\u202e", "e\u0301" * 3, "{", "[", "\\", "'", '"', "--", "é" * 40, "step 12", "m step " + "9" * 30, "m step " + "9" * 5000, "<think>", "٣"]  # fmt: skip
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_HUGE),
    st.floats(),
    st.integers(),
    st.sampled_from(_TEXTS),
    st.text(max_size=8),
)
ODDER = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*_TEXTS, "role", "content", "type"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def _dumped(value: Any) -> bytes:
    """JSON with all that Python's reader takes: NaN, lone surrogates (escaped)."""
    return json.dumps(value).encode()


DEEP = st.builds(
    lambda n, c: c * n, st.sampled_from([50, 1_000, 20_000]), st.sampled_from([b"[", b'{"a":', b'[{"text":'])
)


def _mutated(data: bytes, places: list[tuple[float, bytes, int]]) -> bytes:
    """Bytes with parts replaced: (where, with what, how many bytes go)."""
    found = bytearray(data)
    for where, new, gone in places:
        at = int(where * len(found))
        found[at : at + gone] = new
    return bytes(found)


PLACES = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.one_of(
            st.binary(max_size=4),
            st.sampled_from([b"\xff\xfe", b"{", b"}", b'"', b"null", b"\n", b"1e999", b"[", b"\x00"]),
        ),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=4,
)
_BASE = rows(problems=1)
_COLUMNS = [*TRACES.names, "response", "completion", "training", "x", ""]
ROW = st.builds(
    lambda i, changes, drop: {k: v for k, v in (_BASE[i % len(_BASE)] | changes).items() if k not in drop},
    st.integers(0, 99),
    st.dictionaries(st.sampled_from(_COLUMNS), ODDER, max_size=4),
    st.sets(st.sampled_from(["text", "trace_id", "problem_id", "prompt", "sample", "model"]), max_size=3),
)
LINE = st.one_of(ROW.map(_dumped), ROW.map(_dumped), ODDER.map(_dumped), st.binary(max_size=40), DEEP)
LINES = st.lists(LINE, max_size=5).map(b"\n".join)
LIST = st.lists(ROW, max_size=4).map(_dumped)
REAL = sorted(p for p in FORMATS.rglob("*") if p.is_file())
_FORMAT = {"inspect": "inspect", "lm_eval": "lm-eval", "verl": "verl"}


def _parquet(table: list[dict[str, Any]]) -> bytes:
    """The rows as Parquet, with whatever types their columns have; columns that Arrow cannot type are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name in dict.fromkeys(k for row in table for k in row):
        with contextlib.suppress(pa.ArrowException, OverflowError, UnicodeError, ValueError, TypeError):
            columns[name] = pa.array([row.get(name) for row in table])
    columns = columns or {"x": pa.array([1])}
    out = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), out)
    except pa.ArrowException:  # a struct without fields
        return b"PAR1"
    return out.getvalue()


PARQUET = st.builds(
    lambda t, places: _mutated(_parquet(t), places),
    st.lists(ROW, min_size=1, max_size=3),
    st.one_of(st.just([]), PLACES),
)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes, list[str]]:
    """Name, bytes and options of a file to import."""
    kind = draw(st.sampled_from(["lines", "lines", "list", "parquet", "gz", "real", "real", "typed", "other"]))
    options = draw(
        st.sampled_from([[], [], ["--domain", "x"], ["--map", "x=text"], ["--map", "text=prompt", "prompt=text"]])
    )
    if kind == "real":
        path = draw(st.sampled_from(REAL))
        data = _mutated(path.read_bytes(), draw(PLACES))
        format = _FORMAT[
            next(p for p in path.relative_to(FORMATS).parts[0:1]).removesuffix(path.suffix).split("_sums")[0]
        ]
        return path.name, data, [*options, "--format", format]
    if kind == "typed":
        name = draw(
            st.sampled_from(["x.json", "x.jsonl", "samples_x_1.jsonl", "completions_1.parquet", "7.jsonl", "x.eval"])
        )
        format = draw(st.sampled_from(["inspect", "lm-eval", "trl", "verl", "openai"]))
        return (
            name,
            draw(LOG[format] if draw(st.booleans()) else st.one_of(LINES, LIST, PARQUET)),
            [*options, "--format", format],
        )
    name, data = {
        "lines": ("x.jsonl", LINES),
        "list": ("x.json", st.one_of(LIST, LINES, ODDER.map(_dumped))),
        "parquet": ("x.parquet", PARQUET),
        "gz": ("x.jsonl.gz", st.builds(lambda d, p: _mutated(gzip.compress(d), p), LINES, st.one_of(st.just([]), PLACES))),
        "other": (draw(st.sampled_from(["x.csv", "x.txt", "x", "x.arrow", "x.parquet", "x.json.gz"])), st.one_of(LINES, st.binary(max_size=99))),
    }[kind]  # fmt: skip
    return name, draw(data), options


def _log(record: dict[str, st.SearchStrategy], wrap: Any = None) -> st.SearchStrategy:
    """Records of a tool's log, any field of which may be anything."""
    fields = {k: st.one_of(v, v, v, ODDER) for k, v in record.items()}
    one = st.fixed_dictionaries({}, optional=fields)
    return st.lists(one, min_size=1, max_size=3).map(wrap or (lambda found: b"\n".join(map(_dumped, found))))


_MESSAGE = st.fixed_dictionaries(
    {"role": st.one_of(st.just("assistant"), st.just("user"), ODD), "content": st.one_of(st.just("hi"), ODDER)}
)
_MESSAGES = st.one_of(st.lists(st.one_of(_MESSAGE, ODDER), max_size=3))
_CHOICE = st.fixed_dictionaries(
    {}, optional={"message": st.one_of(_MESSAGE, ODDER), "text": ODDER, "stop_reason": ODDER, "finish_reason": ODDER, "logprobs": st.one_of(ODDER, st.fixed_dictionaries({"content": ODDER, "tokens": ODDER, "token_logprobs": ODDER})), "token_ids": ODDER, "index": ODDER}
)  # fmt: skip
_CHOICES = st.one_of(st.lists(st.one_of(_CHOICE, ODDER), max_size=2), ODDER)
_SAMPLE = {
    "id": st.integers(0, 9), "epoch": st.integers(1, 3), "input": st.one_of(st.just("q"), _MESSAGES), "messages": _MESSAGES,
    "output": st.fixed_dictionaries({"choices": _CHOICES}), "scores": st.dictionaries(st.just("s"), st.one_of(ODDER, st.fixed_dictionaries({"value": ODDER, "answer": ODDER})), max_size=1),
    "target": ODDER, "events": st.lists(st.one_of(ODDER, st.just({"event": "model", "config": {"a": 1}})), max_size=2), "attachments": ODDER, "error": ODDER, "limit": ODDER, "metadata": ODDER,
}  # fmt: skip
_SPEC = st.fixed_dictionaries(
    {"task": st.one_of(st.just("t"), ODDER), "model": st.one_of(st.just("m"), ODDER)},
    optional={"model_generate_config": ODDER},
)
LOG = {
    "inspect": st.builds(
        lambda samples, spec, plan: _dumped({"eval": spec, "plan": plan, "samples": samples}),
        st.lists(st.one_of(st.fixed_dictionaries({}, optional=_SAMPLE), ODDER), max_size=2), _SPEC, ODDER,
    ),
    "lm-eval": _log({
        "doc_id": st.integers(0, 3), "arguments": st.one_of(st.just([["q", {"until": []}]]), st.just({"gen_args_0": {"arg_0": "q", "arg_1": {}}})),
        "resps": st.one_of(st.just([["a"]]), st.just([["a", "b"]])), "filtered_resps": st.just(["a"]), "filter": st.sampled_from(["none", "strict"]),
        "metrics": st.just(["acc"]), "acc": st.just(1.0), "target": st.just("a"), "doc": ODDER,
    }),
    "trl": st.lists(st.fixed_dictionaries({"step": st.one_of(st.integers(0, 9), ODD), "prompt": st.one_of(st.just("q"), _MESSAGES), "completion": st.one_of(st.just("a"), _MESSAGES), "r": ODD, "advantage": ODD}), min_size=1, max_size=3).map(_parquet),
    "verl": _log({"input": st.just("q"), "output": st.just("a"), "score": st.just(1.0), "step": st.integers(0, 9), "gts": ODDER, "acc": ODDER, "pred": ODDER}),
    "openai": _log({"choices": _CHOICES, "request": st.one_of(ODDER, st.fixed_dictionaries({"messages": _MESSAGES})), "response": st.one_of(ODDER, st.fixed_dictionaries({"choices": _CHOICES, "body": ODDER, "model": ODDER})), "custom_id": ODDER, "model": ODDER, "id": ODDER}),
}  # fmt: skip

_PROBLEM = st.builds(
    lambda changes, drop: {k: v for k, v in ({"problem_id": "p", "prompt": "1+1?", "reference": "2"} | changes).items() if k not in drop},
    st.dictionaries(st.sampled_from(["problem_id", "prompt", "reference", "domain", "x"]), ODDER, max_size=3),
    st.sets(st.sampled_from(["problem_id", "prompt", "reference"]), max_size=1),
)  # fmt: skip
PROBLEMS = st.one_of(
    st.tuples(st.just("p.jsonl"), st.lists(st.one_of(_PROBLEM.map(_dumped), _PROBLEM.map(_dumped), LINE), max_size=3).map(b"\n".join)),
    st.tuples(st.just("p.parquet"), st.builds(lambda t, p: _mutated(_parquet(t), p), st.lists(_PROBLEM, min_size=1, max_size=3), st.one_of(st.just([]), st.just([]), PLACES))),
)  # fmt: skip

# A config: the options of a stage, some of them odd. Sizes that would only take long are left out.
_WRONG = st.one_of(st.none(), st.booleans(), st.sampled_from([-1, 0, -(10**400), float("nan"), -1e308, 0.5]), st.sampled_from(_TEXTS), st.text(max_size=5), st.lists(ODD, max_size=2), st.dictionaries(st.just("a"), ODD, max_size=1))  # fmt: skip


def configs(fields: list[str]) -> st.SearchStrategy[tuple[str, bytes]]:
    """Name and bytes of a file for --config, of a stage with these options."""
    options = st.dictionaries(st.sampled_from([*fields, "x", "", "json"]), _WRONG, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.just("c.json"), options.map(lambda o: _dumped({"config": o}))),
        st.tuples(st.just("c.json"), st.builds(_mutated, options.map(lambda o: _dumped({"config": o})), PLACES)),
        st.tuples(st.just("c.json"), st.one_of(ODDER.map(_dumped), ODDER.map(lambda v: _dumped({"config": v})), DEEP, st.binary(max_size=30))),
        st.tuples(st.just("c.toml"), options.map(_toml)),
        st.tuples(st.just("c.toml"), st.one_of(st.binary(max_size=30), st.just(b"a = " + b"[" * 5000), st.just(b"a = " + b"9" * 5000))),
    )  # fmt: skip


def _toml(options: dict[str, Any]) -> bytes:
    lines = []
    for key, value in options.items():
        text = json.dumps(value if value is not None else "null")
        text = "nan" if text == "NaN" else text
        lines.append(f"{json.dumps(key)} = {text}" if not isinstance(value, dict) else f"[{json.dumps(key)}]\na = 1")
    return "\n".join(lines).encode("utf-8", "replace")


WORDS = st.one_of(
    st.sampled_from(["--json", "--force", "--help", "--config", "--out", "--n", "--name", "--a", "--b", "--group", "--what", "--format",
        "--language", "--language.group", "--permutations", "--min-traces", "--q", "--layers", "--at", "--model", "--targets", "--motifs", "--executor", "--workers",
        "--verify", "--map", "--domain", "--per-problem", "--", "-", "--=", "--no-json", "RUN", "RUN", "RUN/stages/mine.json", "RUN/run.json", "NEW", "0", "-1", "nan",
        "1e999", "9" * 5000, "model=model-a", "model=model-b,domain=math", "model=nobody", "x=y", "verified", "report", "grammar", "html", "graphml", "a b", "../x", "\x00", "é", "\ud800", "@file", "10:20", "top:5", "growth"]),
    st.text(max_size=6),
)  # fmt: skip
# demo makes models and traces, and collect, capture, score, effects load models: their words are tried without one.
_QUICK = [
    "import",
    "mine",
    "probe",
    "compare",
    "validate",
    "export",
    "status",
    "collect",
    "capture",
    "score",
    "effects",
]
ARGUMENTS = st.tuples(
    st.sampled_from([*_QUICK, *_QUICK, "demo --x", "", "x", "--version", "-h"]), st.lists(WORDS, max_size=6)
).map(lambda pair: [*pair[0].split(), *pair[1]])
assert set(_QUICK) < set(COMMANDS)

_COLUMN = st.one_of(st.sampled_from(["model", "domain", "regime", "correct", "sample", "step", "meta", "token_ids", "text", "x", "", " model "]), st.text(max_size=4))  # fmt: skip
_VALUE = st.one_of(st.sampled_from(["model-a", "model-b", "math", "true", "null", "0", "", "a,domain=b", "=", "a,b"]), st.sampled_from(_TEXTS), st.text(max_size=6))  # fmt: skip
GROUPS = st.one_of(
    st.lists(
        st.builds(lambda c, s, v: c + s + v, _COLUMN, st.sampled_from(["=", "=", "=", "", "=="]), _VALUE), max_size=3
    ).map(",".join),
    st.text(max_size=20),
)


def broken(argv: list[str]) -> str | None:
    """What a command does that none may: a traceback, another exit code, no single JSON object where --json asks."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(argv)
    except SystemExit as stop:
        code = 0 if stop.code is None else stop.code
    except BaseException:
        return traceback.format_exc(limit=-4)
    if code not in CODES:
        return f"exit code {code!r}; {err.getvalue()[-300:]}"
    if "Traceback" in err.getvalue():
        return f"a traceback: {err.getvalue()[-800:]}"
    if code in (0, 1) and "--json" in argv and "--help" not in argv and "-h" not in argv and argv[:1] != ["--version"]:
        try:
            found = json.loads(out.getvalue())
        except ValueError as error:
            return f"stdout is no JSON ({error}): {out.getvalue()[:300]!r}"
        if not isinstance(found, dict):
            return f"stdout holds a {type(found).__name__}"
    return None


def small_run(folder: Path) -> Path:
    """A run with traces, motifs and a comparison."""
    import dsl_probe

    folder.mkdir(parents=True)
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "traces.jsonl", rows(problems=10))])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    dsl_probe.compare(run, a="model=model-b", b="model=model-a", permutations=99, name="b-vs-a")
    return run.path


def copied(run: Path, folder: Path) -> Path:
    """A copy that a command may spoil."""
    return Path(shutil.copytree(run, folder / "copy"))


def problems_broken(path: Path) -> tuple[str | None, str]:
    """What reading problems and judging an answer does that it may not, and how it ended."""
    from dsl_probe.collect.domains import load_domain
    from dsl_probe.types import UserError

    try:
        domain = load_domain(str(path))
        for problem in domain.problems(0, 1):
            domain.verify(problem, "<answer>2</answer>")
            domain.verify(problem, str(problem.target))
    except UserError:
        return None, "refused"
    except BaseException:
        return traceback.format_exc(limit=-4), "raised"
    return None, "read"


def stages() -> dict[str, list[str]]:
    """Stage -> the options that its config holds."""
    from dsl_probe.collect.capture import CaptureConfig
    from dsl_probe.collect.importer import ImportConfig
    from dsl_probe.collect.sample import CollectConfig
    from dsl_probe.collect.score import ScoreConfig
    from dsl_probe.mine.stage import MineConfig
    from dsl_probe.probe.effects import EffectsConfig
    from dsl_probe.probe.stage import ProbeConfig
    from dsl_probe.share.comparison import CompareConfig
    from dsl_probe.share.validate import ValidateConfig

    found = {"import": ImportConfig, "mine": MineConfig, "compare": CompareConfig, "validate": ValidateConfig, "probe": ProbeConfig,
             "collect": CollectConfig, "capture": CaptureConfig, "score": ScoreConfig, "effects": EffectsConfig}  # fmt: skip
    return {name: [f.name for f in dataclasses.fields(config)] for name, config in found.items()}


@st.composite
def stage_configs(draw: st.DrawFn) -> tuple[str, tuple[str, bytes]]:
    """A stage, and the name and bytes of a config for it."""
    known = stages()
    stage = draw(st.sampled_from(list(known)))
    return stage, draw(configs(known[stage]))


def with_config(stage: str, path: Path, run: Path, new: Path) -> list[str]:
    """The command line of a stage with this config, small where it would work."""
    traces = str(run.parent / "traces.jsonl")
    write_jsonl(Path(traces), _BASE)
    more = {
        "import": [traces, "--out", str(new)],
        "collect": ["--out", str(new), "--model", "/nowhere"],
        "compare": [str(run), "--a", "model=model-b", "--b", "model=model-a"],
        "validate": [str(run), "--group", "model=nobody"],  # where it works it takes 10 s
        "mine": [str(run), "--executor", "process:1"],
    }
    return [stage, *more.get(stage, [str(run)]), "--config", str(path), "--json"]


PAGES = (
    "overview",
    "motifs",
    "traces",
    "language",
    "lexicon",
    "probes",
    "effects",
    "sharing",
    "compare",
    "claims",
    "growth",
    "validate",
)


def addresses() -> st.SearchStrategy[tuple[str, dict[str, str]]]:
    """A page of the app, and the parameters of its address."""
    key = st.one_of(st.sampled_from(["run", "trace", "place", "motif", "comparison", "language", "domain", "model", "group", "layer",
        "probe", "name", "sort", "page", "x", "worst", "which", "used", "underlay", "translate", "regex", "q", "models", "matched", "lengths", "least", "kwic_order", "kwic_lines", "graph", "formats",
        "domains", "diversity", "descending", "count_words", "compare_q", "bits", "beside_sample", "answer", "against"]), st.text(max_size=4))  # fmt: skip
    text = [t for t in _TEXTS if t.isprintable() or t in ("\x00", "\u202e")]
    value = st.one_of(
        st.sampled_from(["0", "-1", "9" * 400, "1e999", "b-vs-a", "model-a", "math", *text]), st.text(max_size=8)
    )
    return st.tuples(st.sampled_from(PAGES), st.dictionaries(key, value, max_size=3))
