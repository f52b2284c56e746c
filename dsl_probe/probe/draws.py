"""Completions of the arms of an effect: how they are sampled, drawn and verified."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dsl_probe.collect.decode import draw as draw_completions
from dsl_probe.collect.domains import load_domain, problem_of
from dsl_probe.collect.local import check_fit, shown
from dsl_probe.collect.seeded import Sampling, key_of
from dsl_probe.mine.segment import segment
from dsl_probe.models import stop_ids
from dsl_probe.probe.arms import Arms, Draw
from dsl_probe.probe.spans import Motif
from dsl_probe.types import EFFECT_SAMPLES, UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model
    from dsl_probe.probe.effects import EffectsConfig


def trace_sampling(rows: Sequence[dict[str, Any]], config: "EffectsConfig") -> Sampling:
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


def sample_draws(
    model: "Model", arms: Arms, motif: Motif, draws: Sequence[Draw], sampling: Sampling, config: "EffectsConfig"
) -> pa.Table:
    """Draw the completions, verify them: EFFECT_SAMPLES of one motif."""
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
        before = start + shown(model, d.kept, sampling)
        text = start + shown(model, [*d.kept, *completion.token_ids], sampling)
        # A character may begin in what was given and end in what was drawn.
        given = next((i for i, (a, b) in enumerate(zip(before, text, strict=False)) if a != b), len(before))
        verdict = load_domain(row["domain"]).verify(problem_of(row), text)
        written = shown(model, completion.token_ids, sampling)
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
