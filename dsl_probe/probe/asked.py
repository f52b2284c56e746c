"""The questions that a target asks in each domain, with what they are asked by, and rows of the table of probes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dsl_probe.probe.labels import Labels
from dsl_probe.probe.states import StoredStates
from dsl_probe.probe.sweep import Solver, deal_folds
from dsl_probe.probe.targets import POOLED
from dsl_probe.store import Run
from dsl_probe.types import PROBES, UserError

if TYPE_CHECKING:
    import torch

    from dsl_probe.probe.stage import ProbeConfig

ALL = "all"


@dataclass(frozen=True)
class Asked:
    """A domain's share of a target: its labels, the questions that can be asked in it (columns), and its folds."""

    domain: str
    labels: Labels
    columns: np.ndarray
    questions: tuple[int, ...]
    fold: np.ndarray

    @property
    def problem(self) -> np.ndarray:
        """int[n], the problems of this domain by number."""
        return np.unique(self.labels.problem.astype(str), return_inverse=True)[1]

    def ask(self, of: np.ndarray) -> np.ndarray:
        """int8[n, questions], the same questions on other classes int[n] of the same rows."""
        if len(self.labels.classes) == 2:
            return (of == 1).astype(np.int8)[:, None]
        return (of[:, None] == np.array(self.questions)).astype(np.int8)

    def names(self) -> tuple[str, ...]:
        """The positive answer of each question."""
        return tuple(self.labels.questions()[q] for q in self.questions)


@dataclass(frozen=True)
class Sweep:
    """What all fits of one target on one capture share. strengths: those that the solver is given."""

    run: Run
    config: "ProbeConfig"
    acts: str
    site: str
    layers: tuple[int, ...]
    solver: Solver
    strengths: tuple[float, ...]

    def states(self, layer: int, rows: np.ndarray, acts: str | None = None) -> "torch.Tensor":
        """float32[n, d], states of a layer at these rows, of this capture or another."""
        return StoredStates(self.run, acts or self.acts, f"{self.site}.{layer}").take(rows)


class Rows:
    """Rows of PROBES in the making."""

    def __init__(self, **shared: Any):
        self.shared, self.found = shared, []

    def add(self, asked: Asked, metric: str, value: float, interval: Any = (None, None), **more: Any) -> None:
        labels = asked.labels
        row: dict[str, Any] = {"train": asked.domain, "test": asked.domain, "control": "", "chosen": False}
        row |= {"strength": None, "layer": None}
        row |= {"rows": len(labels), "problems": len(np.unique(labels.problem)), "classes": len(np.unique(labels.of))}
        row |= {"positives": int(asked.columns.sum()) if asked.columns.shape[1] == 1 else None}
        row |= self.shared | {"metric": metric, "value": value, "ci_low": interval[0], "ci_high": interval[1]} | more
        self.found.append({name: _plain(row[name]) for name in PROBES.names})

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(self.found, PROBES)


def ask_domains(labels: Labels, config: "ProbeConfig") -> list[Asked]:
    """Each domain that has two classes of `least` states and two problems a fold; all in one for what domains tell."""
    pooled = labels.target.name in POOLED
    found = []
    for domain in [ALL] if pooled else sorted(set(labels.domain.tolist())):
        mine = labels if pooled else labels.part(labels.domain == domain)
        mine = _at_most(mine, config.most_rows, config.seed)
        columns = mine.columns()
        enough = [
            q for q in range(columns.shape[1]) if min(columns[:, q].sum(), (1 - columns[:, q]).sum()) >= config.least
        ]
        if enough and len(np.unique(mine.problem)) >= 2 * config.folds:
            fold = deal_folds(mine.problem, config.folds, config.seed)
            found.append(Asked(domain, mine, np.ascontiguousarray(columns[:, enough]), tuple(enough), fold))
    if not found:
        raise UserError(
            f"target {labels.target.text!r}: no domain has two classes of {config.least} states and {2 * config.folds} "
            f"problems. Take more traces, other sites, --least or --folds."
        )
    return found


def _at_most(labels: Labels, most: int, seed: int) -> Labels:
    """Whole problems in random order until the next would pass `most` rows."""
    if not most or len(labels) <= most:
        return labels
    _, of = np.unique(labels.problem.astype(str), return_inverse=True)
    order = np.random.default_rng(seed).permutation(of.max() + 1)
    size = np.bincount(of)[order]
    return labels.part(np.isin(of, order[np.cumsum(size) <= most]))


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
