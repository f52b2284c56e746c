"""Two domains of which everything is known: their frequencies, samples of them, and what each measure should say.

A vocabulary is Zipf's: the type of rank r has a frequency in proportion to 1 / (r + 1). The second domain has the same
frequencies (identical), each times a factor exp(normal) of its own (jittered), or for a random half of its types
private ones in their stead (half private). A problem's text is drawn word by word; in bursty text each word drawn is
written so often, one to many times (geometric, two on average), before the next.
"""

import itertools
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.optimize import brentq
from scipy.special import rel_entr, xlogy

KINDS = ("identical", "jittered", "half private")
TYPES = (1_000, 3_000)
# Problems of each domain, mean tokens of a problem.
SIZES = ((40, 150), (40, 600), (100, 300), (300, 150))
BURST = 2.0


class Setting(NamedTuple):
    """What a simulation draws from; burst: mean times that a drawn word is written, 1 for independent tokens."""

    kind: str
    types: int
    problems: int
    tokens: int
    burst: float


SETTINGS = tuple(
    Setting(kind, types, *size, burst)
    for kind, types, size, burst in itertools.product(KINDS, TYPES, SIZES, (1.0, BURST))
)


def zipf(types: int) -> np.ndarray:
    p = 1 / (np.arange(types) + 2.0)
    return p / p.sum()


def frequencies(kind: str, types: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies of the two domains over the same columns, float64[types] each (twice as many where half private)."""
    p = zipf(types)
    if kind == "identical":
        return p, p
    if kind == "jittered":
        q = p * np.exp(rng.normal(size=types))
        return p, q / q.sum()
    private = rng.random(types) < 0.5
    return np.concatenate([p, 0 * p]), np.concatenate([p * ~private, p * private])


def lengths(problems: int, tokens: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens of each problem, int[problems]: gamma with a standard deviation of half the mean."""
    return rng.gamma(4, tokens / 4, problems).astype(int) + 1


def draw(p: np.ndarray, problems: int, tokens: int, burst: float, rng: np.random.Generator) -> sp.csr_array:
    """Counts [problems, types] of a domain's text."""
    words = np.maximum(np.round(lengths(problems, tokens, rng) / burst), 1).astype(int)
    owner = np.repeat(np.arange(problems), words)
    return counted(owner, rng.choice(len(p), len(owner), p=p), burst, (problems, len(p)), rng)


def counted(
    owner: np.ndarray, types: np.ndarray, burst: float, shape: tuple[int, int], rng: np.random.Generator
) -> sp.csr_array:
    """Counts [problems, types] of drawn words: each is written a geometric number of times, `burst` on average."""
    return sp.coo_array((rng.geometric(1 / burst, len(owner)), (owner, types)), shape=shape).tocsr()


# ---------------------------------------------------------------- what the measures should say


def sharing_truth(p: np.ndarray, q: np.ndarray) -> dict[str, float]:
    """Every measure of `vocab.sharing`, of the frequencies."""
    u, v = p[q > 0].sum(), q[p > 0].sum()
    middle = (p + q) / 2
    divergence = float((rel_entr(p, middle) + rel_entr(q, middle)).sum() / 2 / np.log(2))
    return {
        "chao_jaccard": float(u * v / (u + v - u * v)),
        "chao_sorensen": float(2 * u * v / (u + v)),
        "morisita_horn": float(2 * (p @ q) / (p @ p + q @ q)),
        "jensen_shannon": divergence,
        "jensen_shannon_corrected": divergence,
    }


def hill_truth(p: np.ndarray, coverage: float) -> np.ndarray:
    """Hill numbers q = 0, 1, 2 that independent tokens show at this coverage, by the frequencies: float64[3]."""
    p = p[p > 0]

    def lacking(log_size: float) -> float:
        return float((p * (1 - p) ** np.exp(log_size)).sum() - (1 - coverage))

    return expected_hill(p, round(np.exp(brentq(lacking, 0.0, 40.0))))


def expected_hill(p: np.ndarray, m: int) -> np.ndarray:
    """Expected Hill numbers of m independent tokens, float64[3]; order 1 is exp(-sum E[k/m log k/m]), as in `hill`."""
    mean = m * p
    rare = mean < 30
    # E[k log k] of a binomial k. Frequent types: Taylor series about the mean, off by less than 1e-4.
    frequent = mean[~rare]
    moments = (xlogy(frequent, frequent) + (1 - p[~rare]) / 2 + 1 / (12 * frequent)).sum()
    chance = (1 - p[rare]) ** m
    for k in range(1, min(m, 150) + 1):
        chance = chance * (m - k + 1) / k * p[rare] / (1 - p[rare])
        moments += xlogy(k, k) * chance.sum()
    return np.array([(1 - (1 - p) ** m).sum(), m * np.exp(-moments / m), 1 / (1 / m + (m - 1) / m * (p @ p))])


def partition_truth(p: np.ndarray, q: np.ndarray, coverage: float) -> dict[str, float]:
    """alpha, beta and gamma of `diversity` at this coverage, by the frequencies."""
    alpha = hill_truth(np.concatenate([p, q]) / 2, coverage) / 2
    gamma = hill_truth((p + q) / 2, coverage)
    parts = {"alpha": alpha, "beta": gamma / alpha, "gamma": gamma}
    return {f"{name}_{order}": float(part[order]) for name, part in parts.items() for order in range(3)}
