"""One target on one capture: the sweep over layers and domains, measures and controls of the chosen layer, transfer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dsl_probe.probe.asked import Asked, Rows, Sweep, ask_domains
from dsl_probe.probe.grouped import within_folds
from dsl_probe.probe.labels import read_labels
from dsl_probe.probe.measures import add_measures
from dsl_probe.probe.readouts import read_out
from dsl_probe.probe.solvers import solver_of
from dsl_probe.probe.states import captured_layers
from dsl_probe.probe.sweep import LayerFit, choose_layer, fit_layer
from dsl_probe.probe.transfer import Part, add_shuffled, add_transfer, part_of
from dsl_probe.store import Run
from dsl_probe.types import UserError

if TYPE_CHECKING:
    from dsl_probe.probe.stage import ProbeConfig


@dataclass(frozen=True)
class Found:
    """What one target on one capture gives. weights: see `stage.read_weights`."""

    probes: pa.Table
    readouts: pa.Table
    weights: dict[str, np.ndarray]


def probe_target(run: Run, config: "ProbeConfig", acts: str, target: str) -> Found:
    """Everything that is asked of a target on a capture. Raises UserError where it cannot be asked."""
    labels = read_labels(run, acts, target, least=config.least, most_classes=config.most_classes)
    site, captured = captured_layers(run, acts)
    layers = config.layers or captured
    if missing := sorted(set(layers) - set(captured)):
        raise UserError(f"--layers {missing}: {acts} holds layers {', '.join(map(str, captured))} alone.")
    sweep = Sweep(run, config, acts, site, layers, *solver_of(config))
    parts = ask_domains(labels, config)
    rows = Rows(acts=acts, target=target, site=site, probe=config.probe)
    fits, weights = _fit_layers(rows, sweep, parts)
    choices = [choose_layer(mine, part.fold) for part, mine in zip(parts, fits, strict=True)]
    readouts = []
    for i, (part, mine, choice) in enumerate(zip(parts, fits, choices, strict=True)):
        add_measures(rows, sweep, part, mine, choice)
        readouts.append(read_out(sweep, part, mine[choice.layer], layers[choice.layer]))
        if config.transfer and len(parts) > 1:
            layer = layers[choice.layer]
            held = _held(sweep, parts, [each[choice.layer] for each in fits], layer)
            add_shuffled(rows, sweep, parts, held, i, layer)
    return Found(rows.table(), pa.concat_tables(readouts), weights)


def _fit_layers(rows: Rows, sweep: Sweep, parts: Sequence[Asked]) -> tuple[list[list[LayerFit]], dict[str, np.ndarray]]:
    """All fits, by domain and layer, with their rows; and the weights by name."""
    fits: list[list[LayerFit]] = [[] for _ in parts]
    weights: dict[str, np.ndarray] = {}
    for layer in sweep.layers:
        for part, mine in zip(parts, fits, strict=True):
            x = sweep.states(layer, part.labels.rows)
            fit = fit_layer(x, part.columns, part.fold, sweep.solver, sweep.strengths)
            mine.append(fit)
            if found := within_folds(fit.scores, part.columns, part.fold, part.problem):
                strength = sweep.strengths[fit.final]
                rows.add(part, "auroc", found.value, found.interval(), layer=layer, strength=strength)
            if fit.coef is not None and fit.intercept is not None:
                weights |= {f"{part.domain}/{layer}/coef": fit.coef, f"{part.domain}/{layer}/intercept": fit.intercept}
        if sweep.config.transfer and len(parts) > 1:
            add_transfer(rows, parts, _held(sweep, parts, [each[-1] for each in fits], layer), layer)
    return fits, weights


def _held(sweep: Sweep, parts: Sequence[Asked], fits: Sequence[LayerFit], layer: int) -> list[Part]:
    problems = np.unique(np.concatenate([part.labels.problem for part in parts]).astype(str))
    questions = len(parts[0].labels.questions())
    return [
        part_of(part, sweep.states(layer, part.labels.rows), fit, questions, problems)
        for part, fit in zip(parts, fits, strict=True)
    ]
