"""The collect stage: problems in, verified reasoning out, as `traces/*.parquet` and `curve.parquet`.

A shard is a fixed list of (model, problem, sample), sampled in a fixed order, so that stopping, resuming or losing the
machine at any moment leads to the same bytes (on the same kind of device with the same library versions).
"""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dsl_probe.collect.counts import CollectResult, count_traces
from dsl_probe.collect.curve import CURVE_COLUMNS, curve_table
from dsl_probe.collect.loading import Loading, identity, load
from dsl_probe.collect.local import LocalBackend
from dsl_probe.collect.progress import Told
from dsl_probe.collect.seeded import Outcome, Sampling
from dsl_probe.collect.steps import TREE_COLUMNS, grown, tree_curve, tree_table
from dsl_probe.collect.tree import Planned, draw_from, plan, source_problems
from dsl_probe.engine import Executor, Unit, each_unit
from dsl_probe.executors import executor_of, how_many
from dsl_probe.model_source import checkpoints
from dsl_probe.models import forget_models, template_text
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import REGIMES, START_CKPTS, TRACES, Problem, UserError

if TYPE_CHECKING:
    from dsl_probe.collect.domains import Domain
    from dsl_probe.collect.tree import Start

Asked: TypeAlias = "tuple[Domain, Problem]"
# A completion to draw: its domain and problem, where it starts (None: at its beginning), and its sample number.
Shard: TypeAlias = "list[tuple[Domain, Problem, Start | None, int]]"


@dataclass(frozen=True)
class CollectConfig(Loading):
    """What is sampled, from which model, and how."""

    model: str = "smollm2"
    """Hub id, local folder, GGUF file, "smollm2", or with --server the name that the server knows."""
    domains: tuple[str, ...] = ("math",)
    """Names of domains: a built-in one, gym:NAME, package.module:object, or a .jsonl / .parquet file of problems."""
    n: int = 200
    """Problems of each domain."""
    samples: int = 4
    """Independent completions of each problem."""
    seed: int = 0
    """Seed of the sampling."""
    problem_seed: int = 0
    """Seed that picks the problems; the same for runs that are to be compared."""
    template: str = "chat"
    """raw, r1-zero, chat (the model's own), or a text that holds {prompt}."""
    prefix: str = ""
    """Forced opening of every completion, for example "<think>"."""
    temperature: float = 1.0
    """1 is the model's own distribution, 0 takes the likeliest token."""
    top_p: float = 1.0
    """Keep the likeliest tokens that hold this much probability; 1 keeps all."""
    top_k: int = 0
    """Keep this many of the likeliest tokens; 0 keeps all."""
    max_new_tokens: int = 1024
    """A completion that is cut off here has finish = length."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion, for example "</answer>" with r1-zero on a base model; they stay in it."""
    loop_tokens: int = 256
    """A completion whose last so many tokens repeat one block of at most a quarter of that ends as a loop; 0: never."""
    batch_size: int = 32
    """Completions of the longest prompt sampled together; of shorter ones as many more, up to four times, as take the
    same memory. It decides speed and memory, and in bfloat16 also which tokens are drawn."""
    shard: int = 256
    """Completions in a file: what is lost at most when the machine stops."""
    checkpoints: str | None = None
    """Glob over checkpoints of one training run, in place of --model; the step is read from each path."""
    resample: str | None = None
    """A run that collect made: draw from the steps of its traces, which gives tree.parquet. Domains, problems, template
    and prefix are then that run's; --n counts parents a domain, --samples completions a step."""
    every: int = 1
    """With --resample: draw before every so-manieth step, the first one included."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What samples. vllm is faster on a GPU; its draws are others, and it gives no entropies (`score` does)."""
    server: str | None = None
    """Base URL of an OpenAI-compatible server, for example http://localhost:8000/v1: collects text only."""
    concurrency: int = 8
    """Requests to the server at a time."""
    price: float | None = None
    """Price of a million completion tokens; adds cost to the curve."""
    name: str | None = None
    """Name of the model in the traces. Default: the model as given, without its folder."""
    regime: str = "unknown"
    """How the model was trained: base, sft, rl_only, sft_rl or unknown."""
    start_model: str | None = None
    """Name of the model that training started from."""
    start_ckpt: str = "unknown"
    """What that was: base, instruct, distill or unknown."""
    reasoning_sft: bool | None = None
    """Whether it was fine-tuned on reasoning before the reinforcement learning."""
    unsafe_exec: bool = False
    """Run model-written code even without a sandbox."""


@dataclass(frozen=True)
class _Source:
    """A model to sample: what load_model is given, its name in the traces, and its training run and step."""

    spec: str
    name: str
    run: str | None = None
    step: int | None = None


@stage_of_run
def collect(
    run: Run, config: CollectConfig, *, executor: str | Executor = "process:1", force: bool = False
) -> CollectResult:
    """Sample, verify and store completions; what is on disk already is kept, unless `force`.

    executor: where the shards are drawn (`executors.py`); each worker loads the model once. Several processes may do
    so on one run at a time. Memory, a worker: the model, the cache of one batch, one shard of rows. Progress goes to
    stderr. A verifier that raises costs
    its verdict (`correct` null, the reason in `meta`), not the trace.

    >>> collect(Run.create("runs/new"), CollectConfig(domains=("math", "logic"), n=50))     # doctest: +SKIP
    """
    _check(config)
    parents = None if config.resample is None else Run(config.resample)
    given = {} if parents is None else source_problems(parents)
    sources, asked = _sources(config), _problems(replace(config, **given))
    inputs = {"source:problems": _hash([asdict(problem) for _, problem in asked])}
    if config.server is None:
        inputs |= {f"source:{source.name}": identity(source.spec, config) for source in sources}
    if parents is not None:
        inputs["source:parents"] = _hash(parents.trace_files())
    if not run.begin("collect", asdict(config), inputs, force):
        return CollectResult(**run.counts("collect"))

    kept, left_out = _Kept(), {}
    planned: list[Planned] = [(domain, problem, None) for domain, problem in asked]
    if parents is not None:
        try:
            backend = kept.of(sources[0], config)
            planned, left_out = plan(parents, backend, asked, sources[0].name, n=config.n, every=config.every)
        except UserError:
            run.abandon("collect")
            raise
    shards = [(source, shard) for source in sources for shard in _shards(planned, config)]
    outputs = [f"traces/{index:05d}.parquet" for index in range(len(shards))]
    units = [
        Unit((str(run.path), config, index, source, shard), run.path / outputs[index])
        for index, (source, shard) in enumerate(shards)
    ]
    progress = Told(sum(len(shard) for _, shard in shards))
    with executor_of(executor, folder=run.path / "jobs", model=True, default=1) as pool:
        do = partial(_draw_shard, kept, progress) if pool is None else _draw_elsewhere
        for index, tokens in each_unit(do, units, pool, ahead=how_many(pool)):
            size = len(shards[index][1])
            if tokens is None:
                progress.skip(size)
            elif pool is not None:
                progress.tokens(tokens)
                progress.traces(size)
    progress.close()
    result = count_traces(run)
    if parents is None:
        curve = curve_table(run.each_shard("traces", CURVE_COLUMNS), price=config.price, seed=config.seed)
    else:
        tree = grown([start for _, _, start in planned if start], run.each_shard("traces", TREE_COLUMNS))
        table = tree_table(tree, sources[0].name)
        outputs.append(run.write_table("tree.parquet", table))
        deciding = sum(p is not None and p <= 0.05 for p in table["p_adj"].to_pylist())
        count = len(set(table["parent"].to_pylist()))
        result = replace(result, parents=count, deciding=deciding, left_out=left_out)
        curve = tree_curve(tree, sources[0].name, price=config.price, seed=config.seed)
    if curve.num_rows:
        outputs.append(run.write_table("curve.parquet", curve))
    run.finish("collect", outputs, asdict(result), seed=config.seed)
    return result


class _Kept:
    """The backend of one source at a time, kept from shard to shard."""

    def __init__(self) -> None:
        self.source, self.backend = None, None

    def of(self, source: _Source, config: CollectConfig) -> Any:
        if self.source != source:
            self.backend = None  # or two models would be held at a time
            self.source, self.backend = source, _backend(source, config)
        return self.backend


class _Silent:
    """Progress of a worker: the process that asked it tells."""

    def tokens(self, count: int) -> None: ...
    def traces(self, count: int) -> None: ...


Job: TypeAlias = "tuple[str, CollectConfig, int, _Source, Shard]"
_elsewhere = _Kept()


def _draw_elsewhere(job: Job) -> int:
    return _draw_shard(_elsewhere, _Silent(), job)


def _draw_shard(kept: _Kept, progress: Any, job: Job) -> int:
    """Draw a shard and write it; gives the tokens that were drawn."""
    path, config, index, source, shard = job
    backend = kept.of(source, config)
    outcomes = (
        backend([(problem, sample) for _, problem, _, sample in shard], progress)
        if config.resample is None
        else draw_from(backend, [(start, sample) for _, _, start, sample in shard if start], progress)
    )
    Run(path).write_shard("traces", index, _table(source, shard, outcomes, backend, config))
    return sum(len(outcome.token_ids or ()) for outcome in outcomes)


def _backend(source: _Source, config: CollectConfig) -> Any:
    if config.server is not None:
        from dsl_probe.collect.server import ServerBackend

        return ServerBackend(config.server, config)
    sampling = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_new_tokens=config.max_new_tokens,
        stop_texts=config.stop,
        loop_tokens=config.loop_tokens,
    )
    if config.engine == "vllm":
        from dsl_probe.collect.vllm import VllmBackend

        return VllmBackend(source.spec, config, sampling)
    if config.checkpoints is not None:
        forget_models()
    model = load(source.spec, config)
    return LocalBackend(model, sampling, config.template, config.prefix, config.seed, config.batch_size)


def _table(source: _Source, shard: Shard, outcomes: list[Outcome], backend: Any, config: CollectConfig) -> Any:
    """The rows of a shard, verified."""
    import pyarrow as pa

    sampling = json.dumps(backend.sampling, sort_keys=True)
    batch = _hash([source.name, source.step, backend.sampling, config.template, config.prefix])[:6]
    rows = []
    for (domain, problem, start, sample), outcome in zip(shard, outcomes, strict=True):
        answer, correct, reason = _verdict(domain, problem, outcome.text)
        rows.append(
            {
                "trace_id": f"{source.name}:{batch}:{start.id if start else problem.id}:{sample}",
                "problem_id": problem.id,
                "domain": problem.domain,
                "model": source.name,
                "run": source.run,
                "step": source.step,
                "start_model": config.start_model,
                "regime": config.regime,
                "start_ckpt": config.start_ckpt,
                "reasoning_sft": config.reasoning_sft,
                "sample": sample,
                "seed": config.seed,
                "template": start.parent["template"] if start else config.template,
                "sampling": sampling,
                "prompt": problem.prompt,
                "text": outcome.text,
                "prefix": start.prefix if start else config.prefix,
                "prompt_ids": outcome.prompt_ids,
                "token_ids": outcome.token_ids,
                "tokenizer": backend.tokenizer_hash,
                "logprobs": outcome.logprobs,
                "entropies": outcome.entropies,
                "finish": outcome.finish,
                "answer": answer,
                "reference": problem.target,
                "correct": correct,
                "meta": json.dumps(outcome.meta | {"verdict": reason}, sort_keys=True, ensure_ascii=False),
            }
        )
    return pa.Table.from_pylist(rows, schema=TRACES)


def _verdict(domain: "Domain", problem: Problem, text: str) -> tuple[str | None, bool | None, str]:
    try:
        verdict = domain.verify(problem, text)
    except UserError:
        raise
    except Exception as error:  # a verifier is anybody's code, and model output is hostile input
        return None, None, f"verifier failed: {type(error).__name__}: {error}"
    return verdict.answer, verdict.correct, verdict.reason


def _problems(config: CollectConfig) -> list[Asked]:
    from dsl_probe.collect.domains import load_domain
    from dsl_probe.collect.sandbox import check_sandbox

    asked = []
    for name in config.domains:
        domain = load_domain(name, unsafe_exec=config.unsafe_exec)
        if domain.runs_code:  # told now, not when the first shard has been sampled
            check_sandbox(config.unsafe_exec)
        asked += [(domain, problem) for problem in domain.problems(config.problem_seed, config.n)]
    twice = [i for i, k in Counter(problem.id for _, problem in asked).items() if k > 1]
    if twice:
        raise UserError(f"problem {twice[0]!r} comes twice; name each domain once, and no domain inside another.")
    if not asked:
        raise UserError("no problems: --n must be 1 or more, and --domains name at least one domain.")
    return asked


def _sources(config: CollectConfig) -> list[_Source]:
    name = config.name or config.model.rstrip("/").removesuffix(".gguf")
    if config.name is None and (config.model.count("/") > 1 or Path(config.model).exists()):
        name = Path(name).name
    if config.adapter and config.name is None:
        name += "+" + Path(config.adapter).name
    if config.checkpoints is None:
        return [_Source(config.model, name)]
    found = checkpoints(config.checkpoints)
    return [_Source(path, f"{name}@{step}", name, step) for path, step in found]


def _shards(planned: list[Planned], config: CollectConfig) -> list[Shard]:
    pairs = [(*one, sample) for one in planned for sample in range(config.samples)]
    return [pairs[i : i + config.shard] for i in range(0, len(pairs), config.shard)]


def _check(config: CollectConfig) -> None:
    for option in ("samples", "batch_size", "shard", "concurrency", "every"):
        if getattr(config, option) < 1:
            raise UserError(f"--{option.replace('_', '-')} must be 1 or more, not {getattr(config, option)}.")
    if config.start_ckpt not in START_CKPTS:
        raise UserError(f"--start-ckpt {config.start_ckpt!r} is unknown; known are {', '.join(START_CKPTS)}.")
    if config.regime not in REGIMES:
        raise UserError(f"--regime {config.regime!r} is unknown; known are {', '.join(REGIMES)}.")
    if config.server and (config.checkpoints or config.adapter):
        raise UserError("--server samples the model that it serves: leave --checkpoints and --adapter out.")
    if config.resample and (config.server or config.checkpoints or config.engine != "transformers"):
        raise UserError("--resample draws from one local model: leave --server, --checkpoints and --engine out.")
    if config.server and config.engine != "transformers":
        raise UserError("--server samples by itself: leave --engine out.")
    if config.engine not in ("transformers", "vllm"):
        raise UserError(f"--engine {config.engine!r} is unknown; known are transformers, vllm.")
    if config.engine == "vllm":
        from dsl_probe.collect.vllm import check_options

        check_options(config)
    template_text(config.template)


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
