"""The score stage: what a model makes of stored traces, token by token, without ever holding all logits."""

import json
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dsl_probe.collect.backends import batches
from dsl_probe.collect.distributions import last_hidden, pair_scores, token_scores
from dsl_probe.collect.loading import Loading, identity, load
from dsl_probe.collect.tokens import Tokens, context_length, model_slug, read_tokens, table_rows
from dsl_probe.stages import stage_of_run
from dsl_probe.store import Run
from dsl_probe.types import SCORES, UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model

# By how much the same model's log-probability of a token may differ between two passes, in nats. bfloat16: 0.14 was
# seen between decoding and a teacher-forced pass.
TOLERANCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.15}
_COLUMNS = [
    "trace_id",
    "model",
    "prompt",
    "text",
    "prefix",
    "prompt_ids",
    "token_ids",
    "tokenizer",
    "logprobs",
    "sampling",
]


@dataclass(frozen=True)
class ScoreConfig(Loading):
    """Which model scores the traces."""

    model: str
    """Hub id, local folder or GGUF file."""
    against: str | None = None
    """Another model with the same tokenizer: also the Jensen-Shannon divergence of the two, token by token."""
    batch: int = 8
    """Most traces in a pass."""
    batch_tokens: int = 8_192
    """Most tokens in a pass, padding counted; a longer trace goes alone."""
    audit: str | None = None
    """Name that the traces give this model, if neither --model nor its last part (with +ADAPTER): these are audited."""
    tolerance: float | None = None
    """Difference in nats beyond which a token's stored log-probability counts as another's; default: by the dtypes."""
    template: str = "raw"
    """Template of the prompt for traces that have no token ids of this model's tokenizer."""
    against_revision: str | None = None
    """Branch, tag or commit of the other model."""
    against_adapter: str | None = None
    """Folder or hub id of a PEFT adapter on the other model."""


@dataclass(frozen=True)
class ScoreResult:
    """Counts of a scoring, and means over all scored tokens.

    logprob, entropy: in nats. bits_per_token: -logprob in bits. tokenised: traces read from their text. too_long:
    traces beyond the model's context, left out. The audit: of audited tokens (traces of this very model that store
    log-probabilities) the share whose stored and re-scored log-probability differ beyond the tolerance, the mean and
    the largest difference; None where there was nothing to audit. js: mean divergence in bits, None without `against`.
    """

    traces: int
    tokens: int
    logprob: float | None
    entropy: float | None
    bits_per_token: float | None
    tokenised: int
    too_long: int
    audited: int
    audit_beyond: float | None
    audit_mean: float | None
    audit_max: float | None
    js: float | None


@stage_of_run
def score_traces(run: Run, config: ScoreConfig, *, force: bool = False) -> ScoreResult:
    """Teacher-forced log-probability and entropy of each token of the traces of a run, under a named model.

    Writes scores/NAME/00000.parquet for each shard of traces: `source` ("trace": the trace's own token ids; "text": its
    text, tokenised, and then `ids` says how), `starts` and `stops` (characters of the text; null where the ids do not
    spell it), `logprobs` and `entropies` in nats, of the raw model (temperature 1). The first token of a trace without
    prompt and BOS has no score: null. With `against` also `logprobs_against` and `js`, the Jensen-Shannon divergence of
    the two models' full next-token distributions in bits (0 to 1; a model with itself: exactly 0).

    With the model that sampled the traces this is an audit of how they were served: a token whose stored
    log-probability is not the model's own was computed by something else. Tolerance: that of the coarser dtype of the
    two passes.

    What it does not show: what the trace's author would say of the text (teacher forcing reads, it does not sample);
    per-token scores of models with different tokenizers cannot be compared. A clean audit does not show that the text
    was sampled at the stated temperature, only that the log-probabilities are this model's.

    >>> score_traces(run, ScoreConfig(model="smollm2")).audit_beyond      # doctest: +SKIP
    0.0
    """
    if config.batch < 1 or config.batch_tokens < 1:
        raise UserError(f"--batch is {config.batch}, --batch-tokens {config.batch_tokens}; the least is 1.")
    name = model_slug(config.model, config.revision, config.adapter)
    if config.against:
        name += "-against-" + model_slug(config.against, config.against_revision, config.against_adapter)
    stage = f"score.{name}"
    inputs = _inputs(run, config)
    if run.stage(stage) and not force and not run.begin(stage, asdict(config), inputs):
        return ScoreResult(**run.counts(stage))
    model = load(config.model, config)
    other = None
    if config.against:
        other = load(config.against, _against(config))
        if other.tokenizer_hash != model.tokenizer_hash:
            raise UserError(
                f"{config.model} and {config.against} have different tokenizers ({model.tokenizer_hash} and "
                f"{other.tokenizer_hash}): their next-token distributions are over different things. --against needs a "
                f"model with the same vocabulary; score the two apart instead."
            )
    run.begin(stage, asdict(config), inputs, force)
    sums: defaultdict[str, float] = defaultdict(float)
    outputs, worst, first = [], 0.0, 0
    for index, shard_name in enumerate(run.shards("traces")):
        shard = run.table(shard_name, _COLUMNS)
        if not run.has_shard(f"scores/{name}", index):
            run.write_shard(f"scores/{name}", index, _score_shard(shard, first, model, other, config))
        # Totals are read back, so that a stage that was cut off and resumed counts as one that was not.
        outputs.append(f"scores/{name}/{index:05d}.parquet")
        scores = run.table(f"scores/{name}/{index:05d}")
        worst = max(worst, _add_up(sums, shard, first, scores, model, config))
        sums["too_long"] += shard.num_rows - scores.num_rows
        first += shard.num_rows
    result = _result(sums, worst, other is not None)
    run.finish(stage, outputs, asdict(result))
    return result


def _score_shard(shard: pa.Table, first: int, model: "Model", other: "Model | None", config: ScoreConfig) -> pa.Table:
    limit = min((n for m in (model, other) if m is not None and (n := context_length(m))), default=None)
    traces = [read_tokens(row, first + i, model, config.template) for i, row in enumerate(table_rows(shard))]
    traces = [t for t in traces if limit is None or len(t.ids) <= limit]
    scores: list[dict[str, np.ndarray]] = [{} for _ in traces]
    lengths = [len(t.ids) for t in traces]
    progress = _progress(sum(lengths))
    for members in batches(lengths, config.batch, config.batch_tokens):
        part = _score_pass([traces[i] for i in members], model, other)
        for i, found in zip(members, part, strict=True):
            scores[i] = found
        progress.update(sum(lengths[i] for i in members))
    progress.close()
    columns: dict[str, list[Any]] = {name: [] for name in SCORES.names}
    for trace, found in zip(traces, scores, strict=True):
        spans = trace.spans(model.tokenizer) or (None, None)
        columns["trace_row"].append(trace.trace_row)
        columns["trace_id"].append(trace.trace_id)
        columns["source"].append(trace.source)
        columns["n_prompt"].append(trace.n_prompt)
        columns["ids"].append(trace.completion if trace.source == "text" else None)
        columns["starts"].append(spans[0])
        columns["stops"].append(spans[1])
        for key in ("logprobs", "entropies", "logprobs_against", "js"):
            columns[key].append(_nullable(found.get(key)))
    return pa.table(columns, schema=SCORES)


def _score_pass(traces: list[Tokens], model: "Model", other: "Model | None") -> list[dict[str, np.ndarray]]:
    """Scores of the completions' tokens: float32[n_completion] by column, NaN where a token has no state before it."""
    import torch

    places = [range(max(t.n_prompt - 1, 0), len(t.ids) - 1) for t in traces]
    targets = [torch.as_tensor(t.ids[p.start + 1 :], dtype=torch.long) for t, p in zip(traces, places, strict=True)]
    target = torch.cat(targets)
    ids = [t.ids for t in traces]
    states = last_hidden(model, ids, places)
    parts = (
        token_scores(states, target) if other is None else pair_scores(states, last_hidden(other, ids, places), target)
    )
    found: list[dict[str, np.ndarray]] = []
    at = 0
    for trace, wanted in zip(traces, targets, strict=True):
        missing = len(trace.completion) - len(wanted)
        pad = np.full(missing, np.nan, np.float32)
        found.append({k: np.concatenate([pad, v[at : at + len(wanted)].numpy()]) for k, v in parts.items()})
        at += len(wanted)
    return found


def _add_up(
    sums: dict[str, float], shard: pa.Table, first: int, scores: pa.Table, model: "Model", config: ScoreConfig
) -> float:
    """Add a shard's totals to `sums`; returns the largest difference that its audit found."""
    largest = 0.0
    names = _own_names(config)
    rows = list(table_rows(shard.select(["model", "logprobs", "sampling"])))
    for row, source, own, entropies, js in zip(
        *(scores[c].to_pylist() for c in ("trace_row", "source")),
        *(_arrays(scores[c]) for c in ("logprobs", "entropies", "js")),
        strict=True,
    ):
        sums["traces"] += 1
        sums["tokenised"] += source == "text"
        sums["tokens"] += int(np.count_nonzero(~np.isnan(own)))
        sums["logprob"] += float(np.nansum(own.astype(np.float64)))
        sums["entropy"] += float(np.nansum(entropies.astype(np.float64)))
        sums["js"] += 0.0 if js is None else float(np.nansum(js.astype(np.float64)))
        trace = rows[row - first]
        stored = trace["logprobs"]
        if source == "trace" and stored is not None and trace["model"] in names and len(stored) == len(own):
            difference = np.abs(stored.astype(np.float64) - own)
            difference = difference[~np.isnan(difference)]
            sums["audited"] += len(difference)
            sums["beyond"] += int(np.count_nonzero(difference > _tolerance(config, model, trace["sampling"])))
            sums["difference"] += float(difference.sum())
            largest = max(largest, float(difference.max(initial=0)))
    return largest


def _result(sums: dict[str, float], worst: float, compared: bool) -> ScoreResult:
    def mean(name: str, n: str = "tokens") -> float | None:
        return sums[name] / sums[n] if sums[n] else None

    logprob = mean("logprob")
    return ScoreResult(
        traces=int(sums["traces"]),
        tokens=int(sums["tokens"]),
        logprob=logprob,
        entropy=mean("entropy"),
        bits_per_token=None if logprob is None else -logprob / float(np.log(2)),
        tokenised=int(sums["tokenised"]),
        too_long=int(sums["too_long"]),
        audited=int(sums["audited"]),
        audit_beyond=mean("beyond", "audited"),
        audit_mean=mean("difference", "audited"),
        audit_max=worst if sums["audited"] else None,
        js=mean("js") if compared else None,
    )


def _own_names(config: ScoreConfig) -> set[str]:
    """What traces call this model: what `collect` writes for it, unless told otherwise."""
    if config.audit is not None:
        return {config.audit}
    names = {config.model, Path(config.model).name.removesuffix(".gguf")}
    return {f"{n}+{Path(config.adapter).name}" for n in names} if config.adapter else names


def _tolerance(config: ScoreConfig, model: "Model", sampling: str | None) -> float:
    """Of the coarser of the dtypes in which a trace was sampled, where that is known, and re-scored."""
    if config.tolerance is not None:
        return config.tolerance
    try:
        sampled = json.loads(sampling or "{}").get("dtype")
    except (json.JSONDecodeError, AttributeError):
        sampled = None
    return max(TOLERANCE[model.dtype], TOLERANCE.get(str(sampled), 0.0))


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """A list column as float arrays, nulls within them as NaN."""
    lists = column.combine_chunks()
    values = lists.values.to_numpy(zero_copy_only=False)
    offsets, valid = lists.offsets.to_numpy(), lists.is_valid().to_numpy(zero_copy_only=False)
    return [values[a:b] if ok else None for a, b, ok in zip(offsets[:-1], offsets[1:], valid, strict=True)]


def _nullable(values: np.ndarray | None) -> pa.Array | None:
    return None if values is None else pa.array(values, pa.float32(), from_pandas=True)


def _against(config: ScoreConfig) -> ScoreConfig:
    """How the other model is loaded."""
    return replace(config, revision=config.against_revision, adapter=config.against_adapter)


def _inputs(run: Run, config: ScoreConfig) -> dict[str, str]:
    inputs = run.trace_files() | {"source:model": identity(config.model, config)}
    if config.against:
        inputs["source:against"] = identity(config.against, _against(config))
    return inputs


def _progress(tokens: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=tokens, desc="score", unit=" tokens", unit_scale=True, delay=1, leave=False, file=sys.stderr)
