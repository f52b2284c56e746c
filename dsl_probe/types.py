"""The nouns, and the Arrow schema of every table that lies in a Run.

Where token ids exist they are the truth and text is for people: re-tokenising decoded text is not the identity.
"""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
REGIMES = ("base", "sft", "rl_only", "sft_rl", "unknown")
START_CKPTS = ("base", "instruct", "distill", "unknown")


class UserError(Exception):
    """Something the user can mend: the message names the value, the allowed values and the fix."""


class FileError(UserError):
    """A file of a run that is missing, damaged or cannot be read: what reads it stops, and leaves nothing out."""


@dataclass(frozen=True)
class Problem:
    """A task with a target that can be checked."""

    id: str
    domain: str
    prompt: str
    target: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """One completion of one problem by one model.

    `regime` is how the model was trained: one of `REGIMES`, or the source's own word. `correct` is None where nobody
    checked. `problem_id` is None where nothing tells which problem it was: then the trace is its own cluster, and
    paired tests refuse. `prompt` is "" where it is unknown; then whether a span echoes the prompt is unknown, not
    false.
    """

    trace_id: str
    problem_id: str | None
    domain: str
    model: str
    text: str
    regime: str = "unknown"
    run: str | None = None
    step: int | None = None
    start_model: str | None = None
    start_ckpt: str = "unknown"
    reasoning_sft: bool | None = None
    sample: int = 0
    seed: int | None = None
    template: str | None = None
    sampling: str | None = None
    prompt: str = ""
    prefix: str = ""
    prompt_ids: list[int] | None = None
    token_ids: list[int] | None = None
    tokenizer: str | None = None
    logprobs: list[float] | None = None
    entropies: list[float] | None = None
    finish: str | None = None
    answer: str | None = None
    reference: str | None = None
    correct: bool | None = None
    score: float | None = None
    meta: str = "{}"


@dataclass(frozen=True)
class Span:
    """Half-open offsets [start, stop) into the units of a trace."""

    trace_id: str
    start: int
    stop: int
    label: str


@dataclass(frozen=True)
class Motif:
    """A sequence of units that returns.

    `count`: non-overlapping occurrences outside prompt echoes. `support`: traces that hold one. `problems`: problems
    that do.
    """

    id: str
    pattern: tuple[str, ...]
    count: int
    support: int
    problems: int


TRACES = pa.schema(
    [
        ("trace_id", pa.string()),
        ("problem_id", pa.string()),
        ("domain", pa.string()),
        ("model", pa.string()),
        ("run", pa.string()),
        ("step", pa.int64()),
        ("start_model", pa.string()),
        ("regime", pa.string()),
        ("start_ckpt", pa.string()),
        ("reasoning_sft", pa.bool_()),
        ("sample", pa.int64()),
        ("seed", pa.int64()),
        ("template", pa.string()),
        ("sampling", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("prefix", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("token_ids", pa.list_(pa.int32())),
        ("tokenizer", pa.string()),
        ("logprobs", pa.list_(pa.float32())),
        ("entropies", pa.list_(pa.float32())),
        ("finish", pa.string()),
        ("answer", pa.string()),
        ("reference", pa.string()),
        ("correct", pa.bool_()),
        ("score", pa.float64()),
        ("meta", pa.string()),
    ]
)
# One row a place that completions of a tree were drawn from (collect --resample); gain: of the step that follows it.
TREE = pa.schema(
    [
        ("model", pa.string()),
        ("parent", pa.string()),
        ("problem_id", pa.string()),
        ("domain", pa.string()),
        ("step_number", pa.int32()),
        ("tokens_kept", pa.int32()),
        ("text", pa.string()),
        ("n", pa.int32()),
        ("correct", pa.int32()),
        ("accuracy", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("gain", pa.float64()),
        ("gain_low", pa.float64()),
        ("gain_high", pa.float64()),
        ("p", pa.float64()),
        ("p_adj", pa.float64()),
        ("mean_tokens", pa.float64()),
    ]
)
REJECTED = pa.schema([("source", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())])
# One row a trace that was scored. Lists run over the completion's tokens; starts and stops are characters of the text.
SCORES = pa.schema(
    [
        ("trace_row", pa.int32()),
        ("trace_id", pa.string()),
        ("source", pa.string()),
        ("n_prompt", pa.int32()),
        ("ids", pa.list_(pa.int32())),
        ("starts", pa.list_(pa.int32())),
        ("stops", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("entropies", pa.list_(pa.float32())),
        ("logprobs_against", pa.list_(pa.float32())),
        ("js", pa.list_(pa.float32())),
    ]
)
# One line a place that was asked for. Several lines may share a row, where rules meet on one state.
ACTS_INDEX = pa.schema(
    [
        ("row", pa.int32()),
        ("trace_row", pa.int32()),
        ("trace_id", pa.string()),
        ("position", pa.int32()),
        ("predicts", pa.int32()),
        ("read", pa.int32()),
        ("rule", pa.string()),
        ("label", pa.string()),
        ("where", pa.string()),
        ("negative", pa.bool_()),
        ("unit", pa.int32()),
        ("pair", pa.int32()),
    ]
)
# Flags of a unit: why it is not counted as vocabulary of the model. 0 means that it is.
ECHO, PREFIX, FORMAT = 1, 2, 4
# Lists run over the units of a trace, except steps: the first unit of each of its steps, rising from 0.
UNITS = pa.schema(
    [
        ("trace_id", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("starts", pa.list_(pa.int32())),
        ("stops", pa.list_(pa.int32())),
        ("flags", pa.list_(pa.uint8())),
        ("steps", pa.list_(pa.int32())),
    ]
)
VOCABULARY = pa.schema(
    [("id", pa.int32()), ("text", pa.string()), ("kind", pa.string()), ("slot", pa.string()), ("count", pa.int64())]
)
MOTIFS = pa.schema(
    [
        ("motif_id", pa.string()),
        ("text", pa.string()),
        ("pattern", pa.list_(pa.string())),
        ("length", pa.int32()),
        ("count", pa.int64()),
        ("support", pa.int64()),
        ("problems", pa.int64()),
        ("echo_share", pa.float64()),
        ("format", pa.bool_()),
    ]
)
COUNTS = pa.schema(
    [
        ("motif_id", pa.string()),
        ("model", pa.string()),
        ("domain", pa.string()),
        ("count", pa.int64()),
        ("support", pa.int64()),
        ("problems", pa.int64()),
        ("units", pa.int64()),
    ]
)
LEXICON = pa.schema(
    [
        ("motif_id", pa.string()),
        ("text", pa.string()),
        ("pattern", pa.list_(pa.string())),
        ("length", pa.int32()),
        ("count", pa.int64()),
        ("support", pa.int64()),
        ("problems", pa.int64()),
        ("exact_share", pa.float64()),
        ("bits_saved", pa.float64()),
        ("q_unit", pa.float64()),
        ("variants", pa.int32()),
    ]
)
PRIVATE = pa.schema(
    [
        ("motif_id", pa.string()),
        ("kind", pa.string()),
        ("text", pa.string()),
        ("pattern", pa.list_(pa.string())),
        ("length", pa.int32()),
        ("count", pa.int64()),
        ("reference_count", pa.int64()),
        ("g2", pa.float64()),
        ("support", pa.int64()),
        ("problems", pa.int64()),
        ("domains", pa.list_(pa.string())),
        ("exact_share", pa.float64()),
        ("bits_saved", pa.float64()),
        ("variants", pa.int32()),
    ]
)
VARIANTS = pa.schema(
    [
        ("motif_id", pa.string()),
        ("variant_id", pa.string()),
        ("pattern", pa.list_(pa.string())),
        ("count", pa.int64()),
    ]
)
OCCURRENCES = pa.schema(
    [
        ("motif_id", pa.string()),
        ("variant_id", pa.string()),
        ("trace_row", pa.int32()),
        ("start", pa.int32()),
        ("stop", pa.int32()),
        ("echo", pa.bool_()),
    ]
)
COMPARISON = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("base", pa.string()),
        ("domain", pa.string()),
        ("design", pa.string()),
        ("matched", pa.string()),
        ("motif_id", pa.string()),
        ("text", pa.string()),
        ("length", pa.int32()),
        ("count_a", pa.int64()),
        ("count_b", pa.int64()),
        ("rate_a", pa.float64()),
        ("rate_b", pa.float64()),
        ("log_odds", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("support_a", pa.int64()),
        ("support_b", pa.int64()),
        ("problems_a", pa.int64()),
        ("problems_b", pa.int64()),
        ("dispersion_a", pa.float64()),
        ("dispersion_b", pa.float64()),
        ("chance_dispersion_a", pa.float64()),
        ("chance_dispersion_b", pa.float64()),
        ("z", pa.float64()),
        ("p", pa.float64()),
        ("p_adj", pa.float64()),
        ("p_exact", pa.float64()),
        ("q", pa.float64()),
        ("p_presence", pa.float64()),
        ("p_adj_presence", pa.float64()),
        ("part_of", pa.string()),
        ("novelty", pa.string()),
        ("novelty_bits", pa.float64()),
        ("novelty_bits_low", pa.float64()),
        ("novelty_bits_high", pa.float64()),
        ("stable", pa.bool_()),
        ("load_bearing", pa.bool_()),
        ("verdict", pa.string()),
    ]
)
# How far the models of a group and of the base are apart on the group's text, where `score` has read it.
SHIFT = pa.schema(
    [
        ("group", pa.string()),
        ("domain", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("problems", pa.int64()),
    ]
)
# One row a comparison of halves, and one a planted motif in each comparison (what: null | spikes | spike).
VALIDATION = pa.schema(
    [
        ("what", pa.string()),
        ("kind", pa.string()),
        ("matched", pa.string()),
        ("corpus", pa.int32()),
        ("split", pa.int32()),
        ("problems", pa.int64()),
        ("motif", pa.string()),
        ("background", pa.float64()),
        ("d", pa.int64()),
        ("held", pa.int64()),
        ("d_kept", pa.int64()),
        ("one_sided", pa.float64()),
        ("tested", pa.bool_()),
        ("iou", pa.float64()),
        ("found", pa.bool_()),
        ("whole", pa.bool_()),
        ("found_presence", pa.bool_()),
        ("discoveries", pa.int64()),
        ("separate", pa.int64()),
        ("false", pa.int64()),
    ]
)
SHARING = pa.schema(
    [
        ("group", pa.string()),
        ("domain_a", pa.string()),
        ("domain_b", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("coverage_a", pa.float64()),
        ("coverage_b", pa.float64()),
        ("problem_coverage_a", pa.float64()),
        ("problem_coverage_b", pa.float64()),
        ("n_a", pa.int64()),
        ("n_b", pa.int64()),
    ]
)
_MEASURED = [
    ("measure", pa.string()),
    ("reference", pa.string()),
    ("value", pa.float64()),
    ("ci_low", pa.float64()),
    ("ci_high", pa.float64()),
    ("problems", pa.int64()),
    ("traces", pa.int64()),
]
LEGIBILITY = pa.schema([("model", pa.string()), ("domain", pa.string()), ("regime", pa.string()), *_MEASURED])
# group: one of the groups, or a difference, as in `A - B`. domain: also `inside` and `outside` the domains of the
# reinforcement, and `outside - inside`. design: paired | unpaired, of differences.
LEGIBILITY_CONTRAST = pa.schema([("group", pa.string()), ("domain", pa.string()), ("design", pa.string()), *_MEASURED])
# One row a training run, step and item; step: the first of those taken together. kind: motif | unit | opener | lexicon
# | sharing. value: a share of traces, but for the last two kinds. n: traces of the step.
GROWTH = pa.schema(
    [
        ("run", pa.string()),
        ("step", pa.int64()),
        ("kind", pa.string()),
        ("id", pa.string()),
        ("text", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n", pa.int64()),
    ]
)
# One row a training run and item. first, highest, last: shares of a step's traces; growth: last less first.
GROWTH_EVENTS = pa.schema(
    [
        ("run", pa.string()),
        ("kind", pa.string()),
        ("id", pa.string()),
        ("text", pa.string()),
        ("first", pa.float64()),
        ("highest", pa.float64()),
        ("last", pa.float64()),
        ("growth", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("birth", pa.int64()),
        ("birth_p_adj", pa.float64()),
        ("change", pa.int64()),
        ("p", pa.float64()),
        ("p_adj", pa.float64()),
        ("death", pa.int64()),
        ("death_p_adj", pa.float64()),
        ("n", pa.int64()),
    ]
)
# One row an estimate of a probe. train, test: domains. control: "" for the probe itself, else what stands in its place.
# strength: inverse of the regularisation, as scikit-learn's C. chosen: the layer that the inner folds chose.
PROBES = pa.schema(
    [
        ("acts", pa.string()),
        ("target", pa.string()),
        ("site", pa.string()),
        ("layer", pa.int32()),
        ("train", pa.string()),
        ("test", pa.string()),
        ("probe", pa.string()),
        ("control", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("strength", pa.float64()),
        ("rows", pa.int64()),
        ("positives", pa.int64()),
        ("problems", pa.int64()),
        ("classes", pa.int32()),
        ("chosen", pa.bool_()),
    ]
)
# One row a motif, domain (or `all`) and intervention. plain, arm, placebo: accuracies over the same problems and noise.
# cost = plain - arm; effect = placebo - arm: what the motif costs beyond its placebo.
EFFECTS = pa.schema(
    [
        ("model", pa.string()),
        ("domain", pa.string()),
        ("motif_id", pa.string()),
        ("text", pa.string()),
        ("intervention", pa.string()),
        ("target", pa.string()),
        ("layer", pa.int32()),
        ("uses", pa.float64()),
        ("problems", pa.int64()),
        ("samples", pa.int64()),
        ("plain", pa.float64()),
        ("arm", pa.float64()),
        ("placebo", pa.float64()),
        ("cost", pa.float64()),
        ("cost_low", pa.float64()),
        ("cost_high", pa.float64()),
        ("effect", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("z", pa.float64()),
        ("p", pa.float64()),
        ("p_adj", pa.float64()),
        ("load_bearing", pa.bool_()),
        ("leak", pa.float64()),
        ("tokens", pa.int64()),
    ]
)
# One row a completion drawn for an effect. arm: arm or placebo; removed: what was banned, cut out or replaced; kept,
# tokens: tokens of the trace that were given, and tokens drawn. given: characters of the text that the former spell.
# plain: whether the trace as it was is right.
EFFECT_SAMPLES = pa.schema(
    [
        ("motif_id", pa.string()),
        ("intervention", pa.string()),
        ("arm", pa.string()),
        ("trace_id", pa.string()),
        ("problem_id", pa.string()),
        ("domain", pa.string()),
        ("removed", pa.string()),
        ("kept", pa.int32()),
        ("tokens", pa.int32()),
        ("given", pa.int32()),
        ("text", pa.string()),
        ("finish", pa.string()),
        ("correct", pa.bool_()),
        ("plain", pa.bool_()),
        ("leak", pa.bool_()),
    ]
)
# One row a state and question: what the probe that did not see the problem says there. label: 1, 0, or null.
READOUTS = pa.schema(
    [
        ("acts", pa.string()),
        ("target", pa.string()),
        ("question", pa.string()),
        ("domain", pa.string()),
        ("layer", pa.int32()),
        ("trace_row", pa.int32()),
        ("predicts", pa.int32()),
        ("read", pa.int32()),
        ("probability", pa.float32()),
        ("label", pa.int8()),
    ]
)
# One row a site of a motif on the map of one capture; x and y have no unit and no meaning but nearness.
LAYOUT = pa.schema(
    [
        ("acts", pa.string()),
        ("layer", pa.int32()),
        ("motif_id", pa.string()),
        ("trace_row", pa.int32()),
        ("unit", pa.int32()),
        ("predicts", pa.int32()),
        ("read", pa.int32()),
        ("x", pa.float32()),
        ("y", pa.float32()),
    ]
)
