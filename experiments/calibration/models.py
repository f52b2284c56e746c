"""Two models that answer the same problems in three domains, and by how much more the first shares its vocabulary.

A model writes a share 1 - u of its words from a vocabulary common to all domains and a share u from one that the domain
has to itself, both Zipf's with 1,000 types. Then Morisita-Horn between any two domains is (1-u)^2 / ((1-u)^2 + u^2):
.9 at u = 1/4 and .8 at u = 1/3. Half of the words of a problem are the problem's own: both models write them, so that
they share its luck, as models that answer one question do. Text is bursty.
"""

import numpy as np
import scipy.sparse as sp
from communities import BURST, counted, lengths, zipf

from dsl_probe.share.domains import Interval, sharing_difference

DOMAINS = ("a", "b", "c")
PROBLEMS, TOKENS, TYPES = 40, 300, 1_000
# Share of private words of the two models, and the difference in mean Morisita-Horn that follows.
CASES = {0.0: (1 / 4, 1 / 4), 0.1: (1 / 4, 1 / 3)}


def morisita_horn(u: float) -> float:
    return (1 - u) ** 2 / ((1 - u) ** 2 + u**2)


def difference(truth: float, seed: int) -> Interval:
    """Mean sharing of the first model less that of the second, with its interval, from one draw of 40 problems each."""
    rng = np.random.default_rng([seed, round(1_000 * truth)])
    models: list[dict[str, sp.csr_array]] = [{}, {}]
    for number, domain in enumerate(DOMAINS):
        for model, counts in zip(models, answers(number, CASES[truth], rng), strict=True):
            model[domain] = counts
    pairs = [(a, b) for i, a in enumerate(DOMAINS) for b in DOMAINS[i + 1 :]]
    return sharing_difference(models, pairs, paired=True)


def answers(number: int, private: tuple[float, float], rng: np.random.Generator) -> list[sp.csr_array]:
    """Counts [problems, types] of both models in domain `number`; columns: the common types, then each domain's."""
    words = np.maximum(np.round(lengths(PROBLEMS, TOKENS, rng) / BURST), 1).astype(int)
    owner = np.repeat(np.arange(PROBLEMS), words)
    own = rng.random(len(owner)) < 0.5
    rank, lot = rng.choice(TYPES, len(owner), p=zipf(TYPES)), rng.random(len(owner))
    out = []
    for u in private:
        other_rank, other_lot = rng.choice(TYPES, len(owner), p=zipf(TYPES)), rng.random(len(owner))
        # A problem's own word is private or not by the same lot for both models, by each one's share.
        types = np.where(own, rank, other_rank) + TYPES * (1 + number) * (np.where(own, lot, other_lot) < u)
        out.append(counted(owner, types, BURST, (PROBLEMS, TYPES * (1 + len(DOMAINS))), rng))
    return out
