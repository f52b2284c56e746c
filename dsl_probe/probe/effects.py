"""The effects stage: does the model need what it writes? It goes on from its own traces with a motif taken away.

A unit of work is one motif with all its interventions. Its samples have a file of their own, written when they are all
drawn, so a job that was stopped goes on with the motifs that are left. What is drawn is fixed before anything is.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dsl_probe.collect.loading import Loading, identity, load
from dsl_probe.collect.seeded import Sampling, key_of
from dsl_probe.groups import checked_name, group_columns, select_rows
from dsl_probe.mine.segment import segment
from dsl_probe.mine.uses import read_rows
from dsl_probe.probe.arms import OF_CHAINS, OF_MOTIFS, WHOLE, Arms, Draw
from dsl_probe.probe.effect_table import ALL, effect_rows
from dsl_probe.probe.spans import Motif, Spans, named_motifs
from dsl_probe.store import Run
from dsl_probe.types import EFFECT_SAMPLES, UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model

KNOWN = OF_MOTIFS + OF_CHAINS
TRACE_COLUMNS = ["trace_id", "problem_id", "domain", "prompt", "text", "prefix", "prompt_ids", "token_ids", "tokenizer"]
TRACE_COLUMNS += ["answer", "correct", "reference", "meta", "sampling", "model", "template"]


@dataclass(frozen=True, kw_only=True)
class EffectsConfig(Loading):
    """Which motifs are taken away, how, and how many tokens may be spent on it."""

    model: str = ""
    """Folder, hub id or GGUF file of the model that wrote the traces."""
    only: str | None = None
    """Its traces, where the run holds those of several: column=value[,column=value]."""
    motifs: tuple[str, ...] = ("top:50",)
    """Ids, texts, a file of them, or top:N: the N entries of the lexicon that save most bits, with --comparison the N
    motifs most over-represented in it."""
    comparison: str | None = None
    """A comparison, for top:N."""
    interventions: tuple[str, ...] = ("ban", "delete")
    """Of a motif: ban, delete, replace. Of the whole chain: shuffle, blank."""
    budget: int = 20_000
    """New tokens to be drawn for a motif: all interventions, their arms and placebos together, by the lengths of the
    traces. What is drawn is fixed by it before the job begins."""
    after: int = 1
    """Units that stay behind a span that is cut out or replaced, before the model goes on."""
    temperature: float | None = None
    """Of the sampling; default: as the traces were drawn, else 1."""
    max_new_tokens: int | None = None
    """Longest completion, what is given of it included; default: as the traces were drawn, else 1,024."""
    batch_size: int = 64
    """Completions sampled together."""
    permutations: int = 10_000
    """Permutations of the test; the least p is one over their number."""
    seed: int = 0
    """Seed of choices and sampling."""
    name: str = "default"
    """Name of the result, under effects/."""


@dataclass(frozen=True)
class EffectsResult:
    """Counts of an effects job. left_out: why traces could not be used, motif by motif, with counts."""

    motifs: int
    draws: int
    tokens: int
    load_bearing: int
    left_out: dict[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def effects(run: Run, config: EffectsConfig, *, force: bool = False) -> EffectsResult:
    """Take motifs away and let the model go on; writes effects/NAME/effects.parquet and the samples of each motif.

    - ban: from the motif's first use in a trace on the model may not write it. Its tokens up to there stay.
    - delete, replace: one use, drawn at random, is cut out of the finished trace, or replaced by a span of the same
      length and frequency; `after` units behind it stay, and the model goes on.
    - shuffle, blank: the units of the whole chain in random order, or no chain; the model answers.

    Each has its placebo in the same trace: the same done to a random span of the same length, held by about as many
    traces (a factor of 2), that does not overlap the motif; for shuffle and blank the answer drawn again from the chain
    as it was. So a motif is load-bearing if the model needs it more than it needs what else it writes as often; in a
    language of which most words are needed few are, and `cost` tells more.

    Memory: the model, the traces of one model with their units, the samples of one motif. Progress goes to stderr.

    >>> effects(run, EffectsConfig(model="runs/organisms/sft", motifs=("wait",)))     # doctest: +SKIP
    """
    _check(config)
    numbers = _rows_of_model(run, config)
    motifs = named_motifs(run, config.motifs, config.comparison) if set(config.interventions) & set(OF_MOTIFS) else []
    asked = {k: v for k, v in asdict(config).items() if k != "device"}
    inputs = run.trace_files() | run.outputs("mine") | {f"source:{config.model}": identity(config.model, config)}
    stage = f"effects.{config.name}"
    if not run.begin(stage, asked, inputs, force):
        counts = run.counts(stage)
        counts["unused"] = tuple(counts["unused"])
        return EffectsResult(**counts)
    rows = run.shard_rows("traces", numbers, TRACE_COLUMNS).to_pylist()
    sampling = trace_sampling(rows, config)
    model = load(config.model, config)
    spans = Spans(run, read_rows(run, numbers))
    arms = Arms(spans, rows, model, config.seed, config.after)
    units: list[Motif] = [*motifs, *([WHOLE] if set(config.interventions) & set(OF_CHAINS) else [])]
    plan = [_planned(arms, motif, config, sampling) for motif in units]
    left_out = dict(arms.left_out)
    unused = tuple(motif.text for motif, (draws, _) in zip(units, plan, strict=True) if not draws)
    _tell(units, plan, config)
    folder = f"effects/{config.name}"
    planned = [[m.motif_id, m.text, *counts] for m, counts in zip(units, plan, strict=True)]
    run.write_json(f"{folder}/plan.json", {"units": planned})
    outputs = [f"{folder}/plan.json"]
    for k, (motif, (draws, _)) in enumerate(zip(units, plan, strict=True)):
        part = f"{folder}/{k:05d}.samples"
        if not run.has(f"{part}.parquet"):
            chosen = list(_chosen(arms, motif, config, sampling))
            run.write_table(f"{part}.parquet", sample_draws(model, arms, motif, chosen, sampling, config))
        print(f"effects: {k + 1} of {len(units)}: {motif.text!r}, {draws:,} draws", file=sys.stderr, flush=True)
        outputs.append(f"{part}.parquet")
    samples = pa.concat_tables([run.table(f"{folder}/{k:05d}.samples") for k in range(len(units))]).to_pandas()
    table = effect_rows(
        samples,
        {motif.motif_id: motif.text for motif in units},
        _uses(arms, units),
        model=rows[0]["model"],
        permutations=config.permutations,
        seed=config.seed,
    )
    outputs.append(run.write_table(f"{folder}/effects.parquet", table))
    bearing = {r["motif_id"] for r in table.to_pylist() if r["domain"] == ALL and r["load_bearing"]}
    tokens = int(samples["tokens"].sum()) if len(samples) else 0
    result = EffectsResult(len(units), len(samples), tokens, len(bearing), left_out, unused)
    run.finish(stage, outputs, asdict(result), config.seed)
    return result


def told(run: Run, name: str, most: int = 12) -> list[str]:
    """Lines: the effects over all domains that are largest beyond their placebo."""
    table = run.table(f"effects/{name}/effects", filters=[("domain", "=", ALL)]).to_pylist()
    lines = []
    for row in sorted(table, key=lambda row: (-row["effect"], row["text"]))[:most]:
        interval = "" if row["ci_low"] is None else f" [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
        lines.append(
            f"{row['text']}, {row['intervention']}: accuracy {row['plain']:.3f} -> {row['arm']:.3f}, placebo "
            f"{row['placebo']:.3f}; effect {row['effect']:+.3f}{interval}, p adjusted {row['p_adj']:.4f}"
            + (", load-bearing" if row["load_bearing"] else "")
        )
    return lines


def _rows_of_model(run: Run, config: EffectsConfig) -> np.ndarray:
    traces = run.all_shards(
        "traces", list(dict.fromkeys(["model", *(group_columns(config.only) if config.only else [])]))
    )
    chosen = select_rows(traces, config.only) if config.only else np.arange(traces.num_rows)
    names = sorted(set(traces["model"].take(pa.array(chosen)).to_pylist()))
    if len(names) != 1:
        raise UserError(
            f"the traces are of {len(names)} models ({', '.join(names)}); name those of {config.model} alone: "
            f"--only model=NAME."
        )
    return np.sort(chosen)


def trace_sampling(rows: Sequence[dict[str, Any]], config: EffectsConfig) -> Sampling:
    """How to sample: as the traces were drawn. Raises UserError where they were drawn in several ways."""
    told = {row["sampling"] for row in rows}
    records = [json.loads(text or "{}") for text in sorted(told, key=str)]
    names = ("temperature", "top_p", "top_k", "max_new_tokens", "stop_ids", "stop_texts", "loop_tokens")
    ways = {json.dumps({n: r[n] for n in names if r.get(n) is not None}, sort_keys=True) for r in records}
    if len(ways) > 1:
        raise UserError(
            f"the traces were sampled in {len(ways)} ways: {' and '.join(sorted(ways)[:2])}. Name those of one: --only."
        )
    known: dict[str, Any] = json.loads(next(iter(ways), "{}"))
    for name in ("temperature", "max_new_tokens"):
        if getattr(config, name) is not None:
            known[name] = getattr(config, name)
    for name in ("stop_ids", "stop_texts"):
        known[name] = tuple(known.get(name, ()))
    return Sampling(**known)


def _of(arms: Arms, motif: Motif, config: EffectsConfig):
    if motif is WHOLE:
        return arms.of_chain([i for i in config.interventions if i in OF_CHAINS])
    return arms.of_motif(motif, [i for i in config.interventions if i in OF_MOTIFS])


def _chosen(arms: Arms, motif: Motif, config: EffectsConfig, sampling: Sampling):
    """The draws of a motif, trace after trace, while their expected tokens are within the budget."""
    left = config.budget
    for t, draws in _of(arms, motif, config):
        if any(len(draw.kept) >= sampling.max_new_tokens for draw in draws):
            continue
        left -= sum(_expected(arms, t, draw) for draw in draws)
        if left < 0:
            return
        yield from draws


def _expected(arms: Arms, t: int, draw: Draw) -> int:
    return max(len(arms.chains[t].ids) - len(draw.kept), 1)


def _planned(arms: Arms, motif: Motif, config: EffectsConfig, sampling: Sampling) -> tuple[int, int]:
    """Number of draws of a motif, and the tokens that they are expected to take."""
    draws = list(_chosen(arms, motif, config, sampling))
    return len(draws), sum(_expected(arms, draw.trace, draw) for draw in draws)


def _tell(units: Sequence[Motif], plan: Sequence[tuple[int, int]], config: EffectsConfig) -> None:
    draws, tokens = (sum(column) for column in zip(*plan, strict=True)) if plan else (0, 0)
    print(
        f"effects: {len(units)} motifs by {', '.join(config.interventions)}, each with its placebo: {draws:,} draws, "
        f"about {tokens:,} new tokens (at most {config.budget:,} a motif)",
        file=sys.stderr,
        flush=True,
    )


def sample_draws(
    model: "Model", arms: Arms, motif: Motif, draws: Sequence[Draw], sampling: Sampling, config: EffectsConfig
) -> pa.Table:
    """Draw the completions, verify them: EFFECT_SAMPLES of one motif."""
    from dsl_probe.collect.decode import draw as draw_completions
    from dsl_probe.collect.domains import load_domain, problem_of
    from dsl_probe.collect.local import check_fit, shown
    from dsl_probe.models import stop_ids

    sampling = replace(sampling, stop_ids=sampling.stop_ids or stop_ids(model))
    prompts = [[*arms.prompt(d.trace), *d.kept] for d in draws]
    limits = [sampling.max_new_tokens - len(d.kept) for d in draws]
    if prompts:
        check_fit(model, prompts, 1)
    names = [f"{motif.motif_id}/{arms.rows[d.trace]['trace_id']}/{d.intervention}/{d.arm}" for d in draws]
    keys = [key_of(config.seed, name, 0) for name in names]
    bans = [list(d.bans) for d in draws]
    done = draw_completions(model, prompts, keys, sampling, size=config.batch_size, limits=limits, bans=bans)
    found = []
    for d, completion in zip(draws, done, strict=True):
        row = arms.rows[d.trace]
        start = row["prefix"] if row["prefix"] and arms.tokens[d.trace].source == "trace" else ""
        text = start + shown(model, [*d.kept, *completion.token_ids], sampling)
        verdict = load_domain(row["domain"]).verify(problem_of(row), text)
        written = shown(model, completion.token_ids, sampling)
        # A character may begin in what was given and end in what was drawn.
        before = start + shown(model, d.kept, sampling)
        given = next((i for i, (a, b) in enumerate(zip(before, text, strict=False)) if a != b), len(before))
        found.append(
            {
                "motif_id": motif.motif_id,
                "intervention": d.intervention,
                "arm": d.arm,
                "trace_id": row["trace_id"],
                "problem_id": row["problem_id"] or f"trace {row['trace_id']}",
                "domain": row["domain"],
                "removed": d.removed,
                "kept": len(d.kept),
                "tokens": len(completion.token_ids),
                "given": given,
                "text": text,
                "finish": completion.finish,
                "correct": verdict.correct,
                "plain": row["correct"],
                "leak": _holds(written, motif) if d.bans and d.arm == "arm" else None,
            }
        )
    return pa.Table.from_pylist(found, EFFECT_SAMPLES)


def _holds(text: str, motif: Motif) -> bool:
    """Whether a text says a motif, its slots as they stand."""
    units = segment([text])
    said = [units.texts[i] for i in units.ids]
    return any(
        list(pattern) == said[i : i + len(pattern)]
        for pattern in motif.patterns
        for i in range(len(said) - len(pattern) + 1)
    )


def _uses(arms: Arms, motifs: Sequence[Motif]) -> dict[tuple[str, str], float]:
    domains = [row["domain"] for row in arms.rows]
    traces, found = Counter(domains) + Counter({ALL: len(domains)}), {}
    for motif in motifs:
        if motif is WHOLE:
            continue
        uses: Counter[str] = Counter()
        for t, spans in arms.spans.uses(motif).items():
            uses[domains[t]] += len(spans)
            uses[ALL] += len(spans)
        found |= {(motif.motif_id, d): uses[d] / n for d, n in traces.items()}
    return found


def _check(config: EffectsConfig) -> None:
    checked_name(config.name)
    if not config.model:
        raise UserError("--model is missing: the folder or hub id of the model that wrote the traces.")
    unknown = [i for i in config.interventions if i not in KNOWN]
    if unknown or not config.interventions:
        raise UserError(f"--interventions {' '.join(unknown) or '(none)'}: known are {', '.join(KNOWN)}.")
    if config.budget < 1 or config.after < 0 or config.batch_size < 1 or config.permutations < 19:
        raise UserError("--budget and --batch-size must be 1 or more, --after 0 or more, --permutations 19 or more.")
