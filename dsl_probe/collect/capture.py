"""The capture stage: a teacher-forced pass over finished traces that keeps states at chosen layers and positions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from dsl_probe.collect.backends import Backend, check_layers, resolve_backend
from dsl_probe.collect.estimate import Estimate, check_room, peak_memory
from dsl_probe.collect.loading import Loading, identity, load
from dsl_probe.collect.matched import read_motifs
from dsl_probe.collect.plan import Job, Jobs, estimate_of, passes_of
from dsl_probe.collect.positions import Place, parse_rules
from dsl_probe.collect.selfcheck import check_states, sample_of
from dsl_probe.collect.states import StateFile
from dsl_probe.collect.tokens import model_slug
from dsl_probe.files import file_hash, replacing
from dsl_probe.models import with_random_weights
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import ACTS_INDEX, UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model

_CHECK_ERROR = "check_error"


@dataclass(frozen=True)
class CaptureConfig(Loading):
    """Which states of which model."""

    model: str
    """Hub id, local folder or GGUF file."""
    layers: tuple[int, ...]
    """Decoder blocks, counted from 0."""
    at: tuple[str, ...] = ("every:8",)
    """Where: every:N, steps, answer, states (before and at each state that the domain tells), motifs:FILE (one motif id
    or text a line; needs mine). Several may be given."""
    site: Literal["resid_post", "attn_out", "mlp_out"] = "resid_post"
    """What the block puts out, or its attention or MLP."""
    dtype: Literal["bf16", "fp32"] = "bf16"
    """How states are stored. Not fp16: residuals leave its range."""
    backend: str = "transformers"
    """transformers, transformer-lens, vllm, or package.module:object."""
    batch: int = 8
    """Most traces in a pass."""
    batch_tokens: int = 8_192
    """Most tokens in a pass, padding counted; a longer trace goes alone."""
    self_check: float = 0.01
    """Share of the traces of each shard (at least one) that plain transformers must reproduce; 0: none."""
    per_motif: int = 1_000
    """Most occurrences of one motif in a shard of traces, evenly spaced; 0: all."""
    template: str = "raw"
    """Template of the prompt for traces that have no token ids of this model's tokenizer."""
    only: str | None = None
    """Only the traces of a group: column=value[,column=value], for example model=NAME. Default: all."""
    random: int | None = None
    """Seed of random weights in place of the model's, for the control of probes; the name then ends in -random."""
    name: str | None = None
    """Name under acts/; default: the model's."""
    dry_run: bool = False
    """Print what it would take, and stop."""


@dataclass(frozen=True)
class CaptureResult:
    """Counts of a capture.

    rows: states of one layer. labels: lines of the index. tokenised: traces read from their text, for want of token ids
    of this tokenizer. too_long: traces beyond the model's context, left out. unaligned: traces whose ids do not spell
    their text, left out where a rule needs characters. checked: traces that the self-check ran; check_error: its
    largest relative difference.
    """

    traces: int
    rows: int
    labels: int
    bytes: int
    tokenised: int
    too_long: int
    unaligned: int
    checked: int
    check_error: float


@stage_of_run
def capture_states(run: Run, config: CaptureConfig, *, force: bool = False) -> "CaptureResult | Estimate":
    """Run a model over the traces of a run and keep its states; with `dry_run` only say what that takes.

    Writes, for each shard of traces, acts/NAME/00000.safetensors, {"resid_post.12": [rows, d_model]}, and
    00000.index.parquet: for each row its trace, `position` (index into prompt and completion), `predicts` (index into
    the completion of the token that this state predicts; null at the last token), `read` (characters of the text behind
    it; null where the tokens do not spell the text), rule, motif or number of the state, and before or at. Rows follow
    traces and positions, each state once.

    Memory: the model, one pass, and the token ids of a shard; states go to the file as they come. What it will take is
    said before anything is written, and refused where the disk or the memory does not have it. A shard is done when its
    index is there; a stage that was cut off goes on after the last.

    What it does not show: the states while sampling (those differ by about 1 % in bf16; here the record says that the
    pass was teacher-forced), nor that a probe on them finds anything.

    >>> capture_states(run, CaptureConfig(model="smollm2", layers=(8, 16), at=("steps",)))   # doctest: +SKIP
    """
    rules = parse_rules(config.at)
    _check(config)
    name = config.name or model_slug(config.model, config.revision, config.adapter)
    name += "-random" if config.random is not None and not config.name else ""
    stage = f"capture.{name}"
    asked, inputs = _record(run, config, rules)
    if run.stage(stage) and not force and not config.dry_run and not run.begin(stage, asked, inputs):
        return CaptureResult(**run.counts(stage))
    motifs = [i for rule, file in rules if rule == "motifs" for i in read_motifs(run, file)]
    backend = resolve_backend(config.backend)
    model = load(config.model, config)
    if config.random is not None:
        model = with_random_weights(model, config.random)
    layers = check_layers(config.layers, model.n_layers)
    jobs = Jobs(run, config, model, rules, list(dict.fromkeys(motifs)))
    estimate = estimate_of(run, config, model, len(layers), jobs, name, force)
    _say(estimate.text())
    loaded = peak_memory(model)
    if config.dry_run:
        return estimate
    check_room(estimate)
    run.begin(stage, asked, inputs, force)
    counts: Counter[str] = Counter()
    outputs = []
    progress = _progress(estimate.tokens)
    for index in range(len(jobs)):
        job = jobs[index]
        files = [f"acts/{name}/{index:05d}.safetensors", f"acts/{name}/{index:05d}.index.parquet"]
        if not run.has(files[1]):
            _capture_shard(run, config, model, layers, backend, job, files, progress)
        outputs += files
        counts += job.counts(config.self_check)
        counts["bytes"] += (run.path / files[0]).stat().st_size
    progress.close()
    result = CaptureResult(
        **{k: counts[k] for k in CaptureResult.__annotations__ if k != "check_error"},
        check_error=max((_check_error(run, file) for file in outputs[1::2]), default=0.0),
    )
    run.finish(stage, outputs, asdict(result))
    _say(_peak_said(peak_memory(model), loaded, estimate.memory))
    return result


def _capture_shard(
    run: Run,
    config: CaptureConfig,
    model: "Model",
    layers: list[int],
    backend: Backend,
    job: Job,
    files: Sequence[str],
    progress: Any,
) -> None:
    """Write the states and the index of one shard, with the largest error of the self-check in the index's metadata."""
    first = np.concatenate([[0], np.cumsum([len(p) for p in job.positions])]).astype(np.int64)
    names = [f"{config.site}.{k}" for k in layers]
    shape = (int(first[-1]), model.d_model)
    with (
        replacing(run.path / files[0]) as temporary,
        StateFile(temporary, dict.fromkeys(names, shape), config.dtype) as out,
    ):
        for members in passes_of(job, config):
            ids = [job.tokens[i].ids for i in members]
            states = backend(model, ids, layers, [job.positions[i] for i in members], config.site)
            _check_states(states, names, (sum(len(job.positions[i]) for i in members), model.d_model), job, members)
            for key in names:
                at = 0
                for i in members:
                    n = len(job.positions[i])
                    out.put(key, int(first[i]), states[key][at : at + n])
                    at += n
            progress.update(sum(map(len, ids)))
        worst = 0.0
        sizes = [len(p) for p in job.positions]
        for i in sample_of([t.trace_id for t in job.tokens], config.self_check, sizes):
            stored = {key: out.get(key, int(first[i]), sizes[i]) for key in names}
            worst = max(
                worst, check_states(model, job.tokens[i], job.positions[i], layers, config.site, stored, config.dtype)
            )
    run.write_table(files[1], _index(job, first).replace_schema_metadata({_CHECK_ERROR: repr(worst)}))


def _check_error(run: Run, index: str) -> float:
    import pyarrow.parquet as pq

    return float((pq.read_schema(run.file(index)).metadata or {}).get(_CHECK_ERROR.encode(), b"0"))


def _index(job: Job, first: np.ndarray) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in ACTS_INDEX.names}
    for i, (tokens, found, positions) in enumerate(zip(job.tokens, job.places, job.positions, strict=True)):
        rows = first[i] + np.searchsorted(positions, [p.position for p in found])
        columns["row"] += rows.tolist()
        columns["trace_row"] += [tokens.trace_row] * len(found)
        columns["trace_id"] += [tokens.trace_id] * len(found)
        last = len(tokens.ids) - 1
        columns["predicts"] += [p.position - tokens.n_prompt + 1 if p.position < last else None for p in found]
        columns["read"] += job.read[i]
        for field in Place._fields:
            columns[field] += [getattr(p, field) for p in found]
    return pa.table(columns, schema=ACTS_INDEX)


def _check(config: CaptureConfig) -> None:
    if config.dtype not in ("bf16", "fp32"):
        raise UserError(f"--dtype {config.dtype!r} is unknown; known are bf16, fp32 (fp16 overflows).")
    if config.batch < 1 or config.batch_tokens < 1:
        raise UserError(f"--batch is {config.batch}, --batch-tokens {config.batch_tokens}; the least is 1.")
    if not 0 <= config.self_check <= 1:
        raise UserError(f"--self-check is {config.self_check}; it is a share from 0 to 1.")
    if config.random is not None and config.adapter is not None:
        raise UserError("--random draws the weights of a whole model; leave --adapter out.")
    if config.per_motif < 0:
        raise UserError(f"--per-motif is {config.per_motif}; the least is 0, which means all.")


def _record(run: Run, config: CaptureConfig, rules: list[tuple[str, str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Config and inputs, as the stage's record keeps them."""
    asked = {k: v for k, v in asdict(config).items() if k != "dry_run"}
    inputs = run.trace_files() | {"source:model": identity(config.model, config)}
    for rule, file in rules:
        if rule == "motifs":
            inputs |= run.outputs("mine") | {f"source:{Path(file).name}": file_hash(Path(file))}
    return asked, inputs


def _check_states(
    states: dict[str, Any], names: list[str], shape: tuple[int, int], job: Job, members: list[int]
) -> None:
    for key in names:
        if key not in states or tuple(states[key].shape) != shape:
            got = tuple(states[key].shape) if key in states else f"only {', '.join(states)}"
            raise UserError(f"the backend owed {key} of shape {list(shape)} and gave {got}.")
        if not states[key].isfinite().all():
            which = job.tokens[members[0]].trace_id
            raise UserError(
                f"{key} holds values that are not finite in the pass with trace {which!r}: use --compute float32."
            )


def _progress(tokens: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=tokens, desc="capture", unit=" tokens", unit_scale=True, delay=1, leave=False)


def _peak_said(peak: int, loaded: int, estimated: int) -> str:
    if peak <= loaded:
        return f"peak memory stayed below that of loading the model, {loaded / 2**20:,.0f} MiB"
    return f"peak memory {peak / 2**20:,.0f} MiB, estimated {estimated / 2**20:,.0f} MiB"


def _say(message: str) -> None:
    say(f"capture: {message}")
