"""Is a sequence a unit? q by the worse of two decoys: an order-1 resample of the text, and its documents shuffled.

Both hold no unit beyond pairs, or none at all, yet many of their sequences repeat. How many of a decoy's repeats are as
strong, for each of the real text's, is the q (Käll et al. 2008, from target and decoy searches). A pair has no order-1
test (a resample keeps every pair), so it is held against the shuffled documents alone.

Not shown: that a share q at most of the claims is no unit. q holds for text of one order-1 process, where nothing is
claimed. Where a word is used in two ways, each of one order, their mixture is of neither, and ordinary sequences exceed
what its pairs predict: with 300 operators planted on words of the text, .82 of the sequences of q <= .05 were false
(experiments/planted/CLAIMED_Q.md). For a claim about a model the contrast with a reference takes its place.
"""

import numpy as np

from dsl_probe.mine.repeats import Repeats, find_repeats
from dsl_probe.mine.suffixes import Index, build_index
from dsl_probe.plant import resample

_SEED = 0


def strength(index: Index, found: Repeats, rows: np.ndarray) -> np.ndarray:
    """float64[len(rows)]: how far the count of a repeat's longest sequence exceeds an order-1 Markov model's.

    2 (n log(n / e) - n + e) with the sign of n - e, where e is expected of the pairs inside it (of the units, where it
    is a pair). Not shown: that its uses are independent; decoys calibrate it.
    """
    symbols, n = index.symbols, len(index.symbols)
    count = np.bincount(symbols).astype(float)
    pair = symbols[:-1].astype(np.int64) * len(count) + symbols[1:]
    _, code, times = np.unique(pair, return_inverse=True, return_counts=True)
    step = np.log(times[code] / count[symbols[:-1]])
    ahead = np.concatenate([[0.0], np.cumsum(step)])
    at, length = index.sa[found.first[rows]].astype(np.int64), found.length[rows]
    expected = count[symbols[at]] * np.exp(ahead[at + length - 1] - ahead[at])
    two = length == 2
    expected[two] = count[symbols[at[two]]] * count[symbols[at[two] + 1]] / n
    real = found.count[rows].astype(float)
    return 2 * (real * np.log(real / expected) - real + expected) * np.sign(real - expected)


def unit_q(
    index: Index,
    found: Repeats,
    rows: np.ndarray,
    problem: np.ndarray,
    *,
    min_count: int,
    min_problems: int,
    longest: int,
) -> np.ndarray:
    """float64[len(rows)]: q of each repeat for being a unit; NaN for single units, which have no such test.

    The decoys go through the same selection: support, problems, closed, at most `longest` units.
    """
    lengths = np.diff(index.doc_starts)
    rng = np.random.default_rng(_SEED)
    doc = np.repeat(np.arange(index.n_docs), lengths)
    shuffled = index.symbols[np.argsort(doc + rng.random(len(index.symbols)))]
    decoys = {"shuffled": shuffled}
    if (lengths >= 2).any():
        decoys["order 1"] = resample(index.symbols, index.doc_starts, lengths, _SEED, order=1)[0]
    real, pair = strength(index, found, rows), found.length[rows] == 2
    worst = np.zeros(len(rows))
    for name, symbols in decoys.items():
        other = build_index(symbols, index.doc_starts)
        least = {"min_count": min_count, "min_support": min_count, "min_problems": min_problems}
        repeats = find_repeats(other, doc_problem=problem, **least, max_length=longest)
        there = np.flatnonzero(repeats.closed & (repeats.length >= 2))
        decoy, decoy_pair = strength(other, repeats, there), repeats.length[there] == 2
        if name == "shuffled":
            worst[pair] = _q(real[pair], decoy[decoy_pair])
        worst[~pair] = np.maximum(worst[~pair], _q(real[~pair], decoy[~decoy_pair]))
    worst[found.length[rows] == 1] = np.nan
    return worst


def _q(real: np.ndarray, decoy: np.ndarray) -> np.ndarray:
    """Of those as strong as each or stronger, or as some weaker one: decoys, and one more, to each real one; at most 1.

    The one more makes it hold for the few strongest, too (Barber and Candès 2015, knockoff+).
    """
    order = np.argsort(-real, kind="stable")
    above = len(decoy) - np.searchsorted(np.sort(decoy), real[order])
    share = np.minimum((above + 1) / np.arange(1, len(real) + 1), 1.0)
    q = np.empty(len(real))
    q[order] = np.minimum.accumulate(share[::-1])[::-1]
    return q
