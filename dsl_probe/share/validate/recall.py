"""What a comparison found of the motifs that were planted, and how many problems a motif must differ in to be found."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np

from dsl_probe.collect.steps import wilson
from dsl_probe.share.contrast import ALPHA
from dsl_probe.share.corpus import Sample, cuts
from dsl_probe.share.validate.planting import PlantedCorpus

LEAST_OVERLAP = 0.5
_WHOLE = 0.9
BINS = (-1_000_000, 10, 20, 30, 40, 60, 80, 120, 1_000_000)


@dataclass(frozen=True)
class Bin:
    """Share of planted motifs found where d (here `one_sided`) is in low .. high - 1, with 95 % limits (Wilson)."""

    low: int
    high: int
    n: int
    found: int
    share: float
    ci_low: float
    ci_high: float


def overlaps(planted: PlantedCorpus) -> np.ndarray:
    """Mean overlap of each mined motif's occurrences with each spike's uses: float64[motifs, spikes] in 0..1.

    Of an occurrence and a use it is the share of their common units in those of either (intersection over union); the
    units of the trace inside a gap count for neither, so that half of a gapped motif has .5. An occurrence counts with
    the use that it overlaps most, and with 0 for all other spikes.
    """
    corpus = planted.corpus
    first = corpus.bounds[corpus.trace]
    size = np.bincount(planted.use[planted.use >= 0], minlength=len(planted.spike))
    use, share = _best(first + corpus.start, first + corpus.stop, planted.use, planted.gap, size)
    some = np.flatnonzero(use >= 0)
    n, spikes = corpus.motifs.num_rows, len(planted.spikes)
    pair = corpus.motif[some].astype(np.int64) * spikes + planted.spike[use[some]]
    total = np.bincount(pair, share[some], n * spikes).reshape(n, spikes)
    return total / np.maximum(np.bincount(corpus.motif, minlength=n), 1)[:, None]


@numba.njit(cache=True)
def _best(start, stop, use, gap, size):
    best = np.full(len(start), -1)
    share = np.zeros(len(start))
    for i in range(len(start)):
        own = 0
        for p in range(start[i], stop[i]):
            # A re-purposed word may stand in the gap of another motif.
            own += use[p] >= 0 or not gap[p]
        p = start[i]
        while p < stop[i]:
            # Uses do not overlap; one with a gap has its two parts apart, with nothing of another use between.
            u = use[p]
            common = 0
            while p < stop[i] and (use[p] == u or (gap[p] and u >= 0)):
                common += use[p] == u
                p += 1
            if u >= 0 and common / (own + size[u] - common) > share[i]:
                best[i], share[i] = u, common / (own + size[u] - common)
    return best, share


def net_problems(planted: PlantedCorpus, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64[spikes] each: d in whole texts; problems held by one side alone; and d in what is left at equal units.

    d: problems in which only A's side holds a planted use, less those in which only B's does.
    """
    corpus = planted.corpus
    place = np.full(corpus.traces.num_rows, -1, np.int64)
    place[sample.rows] = np.arange(len(sample.rows))
    here = planted.planted & (place[planted.trace] >= 0)
    at, spike = place[planted.trace[here]], planted.spike[here]
    read = corpus.counted[planted.last[here] + 1] - corpus.counted[corpus.bounds[planted.trace[here]]]
    kept = read <= cuts(sample, corpus.units)[at]
    d, held = _net(spike, at, sample, len(planted.spikes))
    return d, held, _net(spike[kept], at[kept], sample, len(planted.spikes))[0]


def _net(spike: np.ndarray, at: np.ndarray, sample: Sample, spikes: int) -> tuple[np.ndarray, np.ndarray]:
    holds = np.zeros((2, spikes, len(sample.item_domain)), np.int64)
    holds[sample.group[at], spike, sample.item[at]] = 1
    net = holds[0] - holds[1]
    return net.sum(1), np.abs(net).sum(1)


def one_sided(d: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Problems that one side alone would have to hold, and the other never, to be as easy to find: d |d| / held.

    The studentised sum of n differences of one size, of which d more are positive, is d / sqrt(n); it is sqrt(s) where
    all of s are positive. d int[n]; held int[n]: problems in which one side alone holds the motif.

    >>> one_sided(np.array([40, 40]), np.array([40, 80]))
    array([40., 20.])
    """
    return d * np.abs(d) / np.maximum(held, 1)


def score(
    planted: PlantedCorpus, overlap: np.ndarray, sample: Sample, found: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Of one comparison at equal units: a row a spike; and its discoveries, how many of them stand by themselves (no
    stronger one accounts for them), and how many of those are false.

    overlap: as `overlaps` has it. found: by a discovery on A's side whose occurrences overlap the spike's uses by .5 or
    more on average; whole: by .9. iou: the most that any such discovery has. found_presence: by the test of how many
    traces hold a motif (A's side is taken from the rate). tested: any motif with .5 was. d, held, d_kept, one_sided:
    `net_problems`, `one_sided`. False: less than .5 with every spike.
    """
    row = {name: i for i, name in enumerate(planted.corpus.motifs["motif_id"].to_pylist())}
    shares = overlap[[row[name] for name in found["motif_id"].to_pylist()]]
    in_a, sure = found["z"] > 0, found["p_adj"] <= ALPHA
    best = shares[sure & in_a].max(0, initial=0)
    present = shares[(found["p_adj_presence"] <= ALPHA) & in_a].max(0, initial=0)
    tested = shares.max(0, initial=0)
    d, held, kept = net_problems(planted, sample)
    alone = one_sided(d, held)
    rows = [
        {
            "kind": spike.kind,
            "motif": spike.text,
            "background": spike.background,
            "d": int(d[k]),
            "held": int(held[k]),
            "d_kept": int(kept[k]),
            "one_sided": float(alone[k]),
            "tested": bool(tested[k] >= LEAST_OVERLAP),
            "iou": float(best[k]),
            "found": bool(best[k] >= LEAST_OVERLAP),
            "whole": bool(best[k] >= _WHOLE),
            "found_presence": bool(present[k] >= LEAST_OVERLAP),
        }
        for k, spike in enumerate(planted.spikes)
    ]
    separate = sure & np.array([head is None for head in found["part_of"].to_pylist()], bool)
    false = separate & (shares.max(1, initial=0) < LEAST_OVERLAP)
    return rows, {"discoveries": int(sure.sum()), "separate": int(separate.sum()), "false": int(false.sum())}


def bins(d: np.ndarray, found: np.ndarray) -> list[Bin]:
    """Recall by d, in the bins that hold any: d float[n], found bool[n].

    >>> bins(np.array([5, 35, 36]), np.array([False, True, True]))[1].share
    1.0
    """
    made = []
    for low, high in pairwise(BINS):
        here = (d >= low) & (d < high)
        if here.any():
            n, right = int(here.sum()), int(found[here].sum())
            ends = max(low, int(np.floor(d.min()))), min(high, int(d.max()) + 1)
            made.append(Bin(*ends, n, right, right / n, *wilson(right, n)))
    return made


@dataclass(frozen=True)
class Curve:
    """Chance of being found as a logistic function of d (here `one_sided`), fitted up to d of `highest`."""

    intercept: float
    slope: float
    highest: int

    def chance(self, d: float) -> float:
        """Probability that a motif with this d is found."""
        return float(1 / (1 + np.exp(-np.clip(self.intercept + self.slope * d, -30, 30))))

    def needed(self, chance: float) -> float | None:
        """d from which on a motif is found with this probability; None where no d that was tried has it."""
        if self.slope <= 0:
            return None
        d = (np.log(chance / (1 - chance)) - self.intercept) / self.slope
        return float(d) if d <= self.highest else None


def fit(d: np.ndarray, found: np.ndarray) -> Curve:
    """Logistic regression of found, bool[n], on d, float[n], by Newton steps.

    A ridge of .001 on the slope over standardised d keeps the fit finite where d parts found from missed.

    >>> d = np.arange(40)
    >>> round(fit(d, d >= 20).needed(0.5), 1)
    19.5

    What it does not show: that chance grows with d as a logistic curve does; read the bins beside it.
    """
    middle, scale = float(d.mean()), max(float(d.std()), 1e-9)
    x = np.stack([np.ones(len(d)), (d - middle) / scale], 1)
    beta = np.zeros(2)
    # On the intercept only what keeps the system solvable where all or none are found.
    ridge = np.diag([1e-6, 1e-3])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        curvature = x.T @ (x * (p * (1 - p))[:, None]) + ridge
        step = np.clip(np.linalg.solve(curvature, x.T @ (found - p) - ridge @ beta), -2, 2)
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    return Curve(float(beta[0] - beta[1] * middle / scale), float(beta[1] / scale), int(d.max()))
