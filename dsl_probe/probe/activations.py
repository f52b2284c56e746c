"""Does the model use what a probe reads? Erase it, push along it, or patch it from another trace, each with a placebo.

erase    LEACE of the label, out of a layer's states        placebo: as large and of the same rank, elsewhere
steer    along the probe's weights for some class           placebo: a random direction at right angles, as long
patch    the state before a value, from another value       placebo: from the same value of another trace
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from dsl_probe.collect.local import LocalBackend
from dsl_probe.collect.seeded import Sampling, key_of
from dsl_probe.probe.asked import ALL
from dsl_probe.probe.effect_table import estimates, tested
from dsl_probe.probe.erase import LeaceFitter, one_hot, placebo_eraser
from dsl_probe.probe.intervene import after, erase, everywhere, random_direction, steer, typical_norm
from dsl_probe.probe.labels import read_labels
from dsl_probe.probe.patching import patch_values
from dsl_probe.probe.sites import Sites, pair_sites, read_sites
from dsl_probe.probe.stage import read_weights
from dsl_probe.probe.states import StoredStates, captured_layers
from dsl_probe.probe.targets import POOLED
from dsl_probe.store import Run
from dsl_probe.types import EFFECTS, Problem, UserError

if TYPE_CHECKING:
    import torch

    from dsl_probe.collect.domains import Domain
    from dsl_probe.models import Model

    Asked: TypeAlias = "tuple[Domain, Problem]"

INTERVENTIONS = ("erase", "steer", "patch")
# Targets whose class the trace writes next, so that one can see whether it writes another.
WRITTEN = ("value", "digit", "next")


@dataclass(frozen=True)
class ActivationConfig:
    """What is erased, pushed and patched, where and how far."""

    acts: str
    """Capture of the model's states on its own traces, by its name under acts/."""
    target: str = "value"
    """As `probe` takes it."""
    layers: tuple[int, ...] = ()
    """Decoder blocks; default: all that were captured."""
    interventions: tuple[str, ...] = INTERVENTIONS
    """erase, steer, patch; patch only for what the trace writes next: value, digit, next."""
    probes: str = "default"
    """Result of `probe` with the weights that are pushed along, under probes/."""
    along: Literal["weights", "pattern"] = "weights"
    """weights: the probe's own. pattern: the states' covariance times them, which is how the states move where the
    probe's score does (Haufe et al. 2014)."""
    scale: float = 0.5
    """Length of the push, in typical norms of the layer's states."""
    shrinkage: float | None = None
    """Of the eraser's covariances (LeaceFitter.eraser); default d / (d + n) for n states of width d. With none and few
    states a dimension the placebo changes far more than the eraser where neither was fitted."""
    where: Literal["sites", "everywhere"] = "sites"
    """sites: wherever the token is one at which the probe was fitted. everywhere: at every token."""
    samples: int = 1
    """Completions of a problem in an arm."""
    pairs: int = 200
    """Most places of a domain that are patched."""
    template: str = "raw"
    """Template of the prompts."""
    batch: int = 64
    """Completions of the longest prompt sampled together."""
    least: int = 20
    """Fewest states of a class."""
    most_classes: int = 10
    """Most classes: the most frequent."""
    permutations: int = 9_999
    """Sign flips of the test."""
    seed: int = 0
    """Seed of the noise, the pairs and the placebos."""


@dataclass(frozen=True)
class Outcome:
    """An intervention at a layer, by draw: problem object[n], and plain, arm, placebo float[n], 1 where right."""

    domain: str
    intervention: str
    layer: int
    uses: float | None
    problem: np.ndarray
    plain: np.ndarray
    arm: np.ndarray
    placebo: np.ndarray
    tokens: int


def activation_effects(
    run: Run, model: "Model", asked: "Sequence[Asked]", sampling: Sampling, config: ActivationConfig
) -> pa.Table:
    """What the model loses without a target, a row (EFFECTS) a domain, intervention and layer.

    erase, steer: accuracy on the problems `asked`, paired by problem and noise, plain, in the arm, and in the placebo.
    Erasers and sizes come from the captured states that have a label. Each problem is pushed towards one class, drawn
    by its id. uses: places a completion where something was changed (by the tokens of the plain ones).
    patch: over places of the run's own traces; plain, arm and placebo are shares of greedy next words that are the
    trace's own value (patching.py); `asked` is not used.

    cost = plain - arm, effect = placebo - arm, with Student's 95 % intervals over problems (none where all problems
    agree). p: of the effect, by exchanging arm and placebo within problems; p_adj: step-down max-T over all rows of the
    call. samples and tokens: drawn in arm and placebo together. Completions without a verdict are left out of all arms.

    What it does not show: that the model computes with what was erased. A cost beyond the placebo's says that these
    states may not be touched there, and one placebo is one draw. No cost says nothing of other layers and places, where
    the same may be read; nor does a probe's direction that does nothing mean that the value is not used: the probe may
    read a shadow of it.

    >>> activation_effects(run, model, [(d, p) for p in d.problems(1, 100)], Sampling(), config)    # doctest: +SKIP
    """
    layers, sites = _checked(run, model, asked, config)
    outcomes: list[Outcome] = []
    pooled = sites.labels.target.name in POOLED
    for name in [ALL] if pooled else sorted({domain.name for domain, _ in asked}):
        mine = [(d, p) for d, p in asked if name in (ALL, d.name)]
        part = sites if pooled else sites.part(sites.labels.domain == name)
        if not len(part):
            raise UserError(
                f"{config.acts} has no labelled state of the domain {name!r}; capture some, or leave it out."
            )
        if {"erase", "steer"} & set(config.interventions):
            outcomes += _sampled(run, model, mine, sampling, config, name, part, layers)
        if "patch" in config.interventions:
            pairs = pair_sites(part, model.tokenizer, config.pairs, config.seed)
            if not len(pairs.place):
                raise UserError(f"no two places of {config.target!r} in {name!r} can be paired; capture more traces.")
            for layer in layers:
                found = patch_values(model, part, pairs, layer, size=config.batch)
                three = (a.astype(float) for a in (found.plain, found.arm, found.placebo))
                outcomes.append(Outcome(name, "patch", layer, 1.0, found.problem, *three, 2 * len(pairs.place)))
    return activation_rows(outcomes, model.name, config.target, config.permutations, config.seed)


def activation_rows(outcomes: Sequence[Outcome], model: str, target: str, permutations: int, seed: int) -> pa.Table:
    """EFFECTS of outcomes; see `activation_effects` for the columns."""
    rows = []
    for outcome in outcomes:
        names, plain, arm, placebo = _by_problem(outcome)
        row: dict[str, Any] = {"model": model, "domain": outcome.domain, "text": target, "target": target}
        row |= {"intervention": outcome.intervention, "layer": outcome.layer, "uses": outcome.uses}
        row |= {"samples": 2 * len(outcome.plain), "tokens": outcome.tokens} | estimates(plain, arm, placebo)
        differences = zip(names, (placebo - arm).tolist(), strict=True)
        rows.append(row | {"of": {(outcome.domain, name): d for name, d in differences}})
    rows = tested(rows, permutations, seed)
    return pa.Table.from_pylist(rows, EFFECTS)


def _sampled(
    run: Run,
    model: "Model",
    asked: "Sequence[Asked]",
    sampling: Sampling,
    config: ActivationConfig,
    name: str,
    sites: Sites,
    layers: Sequence[int],
) -> list[Outcome]:
    """Erase and steer, in one domain."""
    draws = [(domain, problem, sample) for domain, problem in asked for sample in range(config.samples)]
    backend = LocalBackend(model, sampling, config.template, "", config.seed, config.batch)
    tokens = np.unique(sites.token)
    where = after(tokens.tolist()) if config.where == "sites" else everywhere
    found = []

    def accuracy(way: AbstractContextManager[None]) -> tuple[np.ndarray, int, float]:
        with way:
            done = backend([(problem, sample) for _, problem, sample in draws], _Silent())
        verdicts = [domain.verify(p, o.text).correct for (domain, p, _), o in zip(draws, done, strict=True)]
        right = np.array([np.nan if verdict is None else float(verdict) for verdict in verdicts])
        ids = [[*(o.prompt_ids or ()), *(o.token_ids or ())] for o in done]
        uses = [np.isin(i, tokens).sum() if config.where == "sites" else len(i) for i in ids]
        return right, sum(len(o.token_ids or ()) for o in done), float(np.mean(uses))

    plain, _, uses = accuracy(nullcontext())
    problem = np.array([problem.id for _, problem, _ in draws], object)
    for layer in layers:
        for intervention, pair in _ways(run, model, draws, config, name, sites, layer, where).items():
            (arm, spent, _), (placebo, more, _) = (accuracy(way) for way in pair)
            known = ~np.isnan(plain + arm + placebo)
            three = (column[known] for column in (plain, arm, placebo))
            found.append(Outcome(name, intervention, layer, uses, problem[known], *three, spent + more))
    return found


def _ways(
    run: Run,
    model: "Model",
    draws: "Sequence[tuple[Domain, Problem, int]]",
    config: ActivationConfig,
    name: str,
    sites: Sites,
    layer: int,
    where: Any,
) -> "dict[str, tuple[AbstractContextManager[None], AbstractContextManager[None]]]":
    """Intervention -> what is done to the model in its arm, and in its placebo."""
    labels = sites.labels
    states = StoredStates(run, config.acts, f"resid_post.{layer}").take(labels.rows)
    k = len(labels.classes)
    fitter = LeaceFitter(states.shape[1], k).update(states, one_hot(labels.of, k))
    found: dict[str, Any] = {}
    if "erase" in config.interventions:
        shrinkage = states.shape[1] / sum(states.shape) if config.shrinkage is None else config.shrinkage
        erasers = fitter.eraser(shrinkage=shrinkage), placebo_eraser(fitter, config.seed, shrinkage=shrinkage)
        found["erase"] = tuple(erase(model, layer, eraser, where=where) for eraser in erasers)
    if "steer" in config.interventions:
        true = _directions(run, config, name, layer, fitter)
        drawn = [random_direction(true[q], config.seed + q, fitter.covariance) for q in range(len(true))]
        towards = [key_of(config.seed, problem.id, 0) % len(true) for _, problem, _ in draws]
        options: dict[str, Any] = {"norm": typical_norm(states), "where": where}
        found["steer"] = tuple(
            steer(model, layer, _rows(directions, towards), config.scale, **options) for directions in (true, drawn)
        )
    return found


def _directions(run: Run, config: ActivationConfig, name: str, layer: int, fitter: LeaceFitter) -> "torch.Tensor":
    """float64[questions, d], what a class is pushed along."""
    import torch

    weights = read_weights(run, config.probes, config.acts, config.target)
    key = f"{name}/{layer}/coef"
    if key not in weights:
        has = ", ".join(k.removesuffix("/coef") for k in weights if k.endswith("/coef")) or "none"
        raise UserError(f"probes/{config.probes} has no weights of {config.target!r} for {name}/{layer}; it has {has}.")
    coef = torch.from_numpy(weights[key][0]).double()
    return coef @ fitter.covariance if config.along == "pattern" else coef


def _rows(directions: "Sequence[torch.Tensor] | torch.Tensor", which: Sequence[int]) -> "torch.Tensor":
    import torch

    return torch.stack([directions[q] for q in which])


def _checked(
    run: Run, model: "Model", asked: "Sequence[Asked]", config: ActivationConfig
) -> tuple[tuple[int, ...], Sites]:
    unknown = sorted(set(config.interventions) - set(INTERVENTIONS))
    if unknown or not config.interventions:
        raise UserError(
            f"interventions {', '.join(unknown) or '(none)'}: known are {', '.join(INTERVENTIONS)}; name at least one."
        )
    if not asked:
        raise UserError(
            "no problem is asked; give (domain, problem) pairs, such as those of load_domain(...).problems."
        )
    site, captured = captured_layers(run, config.acts)
    layers = config.layers or captured
    if site != "resid_post" or set(layers) - set(captured):
        raise UserError(
            f"layers {', '.join(map(str, layers))} of resid_post are needed; {config.acts} holds {site} of "
            f"{', '.join(map(str, captured))}."
        )
    labels = read_labels(run, config.acts, config.target, least=config.least, most_classes=config.most_classes)
    if "patch" in config.interventions and labels.target.name not in WRITTEN:
        raise UserError(
            f"patch needs a target that the trace writes next ({', '.join(WRITTEN)}), and {config.target!r} is none; "
            f"leave it out of interventions."
        )
    return tuple(sorted(set(layers))), read_sites(run, config.acts, labels, model, config.template)


def _by_problem(outcome: Outcome) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Problems, and their means of plain, arm and placebo."""
    names, of = np.unique(outcome.problem.astype(str), return_inverse=True)
    n = np.bincount(of, minlength=len(names))
    plain, arm, placebo = (np.bincount(of, v, len(names)) / n for v in (outcome.plain, outcome.arm, outcome.placebo))
    return names.tolist(), plain, arm, placebo


class _Silent:
    """Nobody is told how far it is."""

    def tokens(self, count: int) -> None:
        """Tokens drawn."""

    def traces(self, count: int) -> None:
        """Traces finished."""
