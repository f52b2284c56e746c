"""Measures of a probe on unseen problems, and the same of each of its controls."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.probe import controls, metrics
from dsl_probe.probe.asked import Asked, Rows, Sweep
from dsl_probe.probe.grouped import within_folds
from dsl_probe.probe.mdl import online_code
from dsl_probe.probe.sweep import Choice, LayerFit, fit_layer

if TYPE_CHECKING:
    import torch


def add_measures(rows: Rows, sweep: Sweep, part: Asked, fits: Sequence[LayerFit], choice: Choice) -> None:
    """Rows of the chosen layer, of layer 0, and of every control.

    The chosen layer's scores are those of the nested choice: each fold by the layer that its own inner folds chose.
    """
    chosen = sweep.layers[choice.layer]
    right = answers(choice.scores, part.columns)[1]
    rows.add(part, "majority rate", float(np.bincount(right).max() / len(right)))
    add_judged(rows, part, choice.scores, layer=chosen, chosen=True)
    if not sweep.config.controls:
        return
    seed, layers = sweep.config.seed, sweep.layers
    wanted = sorted(set(part.labels.trace_row.tolist()))
    texts = dict(zip(wanted, sweep.run.shard_rows("traces", wanted, ["text"])["text"].to_pylist(), strict=True))
    types = controls.token_types(part.labels, texts)
    others = {
        "control task": part.ask(controls.control_task(part.labels, types, seed)),
        "shuffled labels": part.ask(controls.shuffled(part.labels, seed)),
    }
    for k in dict.fromkeys([choice.layer, *([layers.index(0)] if 0 in layers else [])]):
        more: dict[str, Any] = {"layer": layers[k], "chosen": k == choice.layer}
        x = sweep.states(layers[k], part.labels.rows)
        scores = choice.scores if k == choice.layer else fits[k].scores
        if k != choice.layer:
            add_judged(rows, part, scores, control="layer 0", **more)
        accuracy = {"": metrics.accuracy(*answers(scores, part.columns))}
        for name, columns in others.items():
            fit = fit_layer(x, columns, part.fold, sweep.solver, sweep.strengths)
            add_judged(rows, part, fit.scores, columns, control=name, **more)
            accuracy[name] = metrics.accuracy(*answers(fit.scores, columns))
        rows.add(part, "selectivity", accuracy[""] - accuracy["control task"], **more)
        code = online_code(x, part.columns, part.labels.problem, seed, sweep.strengths[fits[k].final])
        rows.add(part, "mdl", code.bits, **more)
        rows.add(part, "compression", code.compression, **more)
    for name, layer, features in _features(sweep, part, texts, chosen):
        fit = fit_layer(features, part.columns, part.fold, sweep.solver, sweep.strengths)
        add_judged(rows, part, fit.scores, layer=layer, control=name)


def _features(
    sweep: Sweep, part: Asked, texts: dict[int, str], layer: int
) -> "Iterator[tuple[str, int | None, torch.Tensor]]":
    """What stands in the place of the states: control, layer, features [n, ...]."""
    import torch

    yield "bag of units", None, torch.from_numpy(controls.bag_features(part.labels, texts))
    yield "place and length", None, torch.from_numpy(controls.place_features(part.labels))
    for name, other in (("random weights", sweep.config.random), ("base model", sweep.config.base)):
        if other is not None and other != sweep.acts:
            at = controls.same_places(sweep.run, sweep.acts, other, part.labels)
            yield name, layer, sweep.states(layer, at, other)


def add_judged(rows: Rows, part: Asked, scores: np.ndarray, columns: np.ndarray | None = None, **more: Any) -> None:
    """All measures of scores [n, questions] of unseen problems; columns: what is right, if not the part's own."""
    columns = part.columns if columns is None else columns
    if found := within_folds(scores, columns, part.fold, part.problem):
        rows.add(part, "auroc", found.value, found.interval(), **more)
    rows.add(part, "accuracy", metrics.accuracy(*answers(scores, columns)), **more)
    p = 1 / (1 + np.exp(-np.clip(scores.astype(float), -50, 50)))
    asked = (columns == 1).any(0) & (columns == 0).any(0)
    for name, measure, given in (
        ("average precision", metrics.average_precision, scores), ("ece", metrics.ece, p), ("brier", metrics.brier, p),
    ):  # fmt: skip
        if asked.any():
            rows.add(part, name, float(np.mean(measure(given[:, asked], columns[:, asked]))), **more)


def answers(scores: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answer given and right answer of each row, int[n]: of one question yes or no, of several the highest.

    Rows whose class is none of those asked about are left out.
    """
    if columns.shape[1] == 1:
        return (scores[:, 0] > 0).astype(int), columns[:, 0].astype(int)
    told = columns.any(1)
    return scores[told].argmax(1), columns[told].argmax(1)
