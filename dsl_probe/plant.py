"""A planted language: operators of known form, scope, rate and burstiness, put into documents of units, with noise.

What is planted is the truth against which miners are scored, and with which a user can ask what would have been found
in text like theirs.

    >>> operator = Operator((7, SLOT, 8), domains=(0,), uses=2)
    >>> units, bounds, domain = np.array([1, 2, 3, 1]), np.array([0, 2, 4]), np.array([0, 1])
    >>> found = plant(units, bounds, domain, [operator], filler=np.array([5, 6]))
    >>> found.spans[:, :2].tolist()
    [[0, 0], [0, 0]]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

SLOT = -1
_SUBSTITUTED, _INSERTED = 0.7, 0.85  # of the corrupted units; the rest are left out
_LONGEST_FILLER = 3


@dataclass(frozen=True)
class Operator:
    """A motif of the planted language. pattern: unit ids, SLOT where one to three units of any kind stand."""

    pattern: tuple[int, ...]
    domains: tuple[int, ...]
    uses: int


@dataclass(frozen=True)
class Planted:
    """Documents with the planted uses in them, and where these are.

    symbols int32[n]; bounds int64[n_docs + 1]; spans int32[k, 4]: operator, document, start, stop (in units of the
    document), by document and start; intact bool[k]: no unit of the use was corrupted.
    """

    symbols: np.ndarray
    bounds: np.ndarray
    operators: tuple[Operator, ...]
    spans: np.ndarray
    intact: np.ndarray


def resample(
    symbols: np.ndarray, bounds: np.ndarray, lengths: Sequence[int] | np.ndarray, seed: int, order: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Documents of given lengths in which each unit follows the one or two before it as in the documents given.

    A Markov resample of order 1 or 2: (symbols int32[sum(lengths)], bounds). Where nothing follows, one begins anew.
    """
    symbols = np.ascontiguousarray(symbols, np.int32)
    doc = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    pair = symbols[1:].astype(np.int64)
    if order == 2:
        pair += symbols[:-1].astype(np.int64) * (int(symbols.max()) + 1)
    pair[doc[:-1] != doc[1:]] = -1
    _, code = np.unique(pair, return_inverse=True)
    # code[p - 1] is the state that ends at p: a pair, or its second unit alone. It goes on where p + 1 lies in the same
    # document.
    ends = np.flatnonzero((pair[:-1] >= 0) & (doc[1:-1] == doc[2:])) + 1
    ends = ends[np.argsort(code[ends - 1], kind="stable")]
    first = np.searchsorted(code[ends - 1], np.arange(code.max() + 2))
    begins = bounds[:-1][np.diff(bounds) >= 2]
    if len(begins) == 0:
        raise ValueError("no document of two units or more to resample")
    new_bounds = np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])
    draws = np.random.default_rng([seed, 2]).random(int(new_bounds[-1]))
    return _walk(symbols, code, ends, first, begins, new_bounds, draws), new_bounds


@numba.njit(cache=True)
def _walk(symbols, code, ends, first, begins, bounds, draws):
    out = np.empty(bounds[-1], np.int32)
    for d in range(len(bounds) - 1):
        at = begun = -1  # the pair of units written last ends at `at`; of a document begun anew one unit is written
        for i in range(bounds[d], bounds[d + 1]):
            if begun >= 0:
                at, begun = begun + 1, -1
            else:
                low, high = (first[code[at - 1]], first[code[at - 1] + 1]) if at >= 0 else (0, 0)
                if high == low:
                    at, begun = -1, begins[np.int64(draws[i] * len(begins))]
                    out[i] = symbols[begun]
                    continue
                at = ends[low + np.int64(draws[i] * (high - low))] + 1
            out[i] = symbols[at]
    return out


def random_operators(
    n: int, counts: np.ndarray, n_domains: int, seed: int, *, uses: tuple[int, int] = (25, 2000), slots: float = 0.25
) -> list[Operator]:
    """n operators of 3 to 8 units, a quarter of them used in every domain, the others in one.

    counts int[n_symbols]: how often each unit may be drawn (in proportion to the root of its count; 0: never).
    uses: least and most, drawn evenly in the logarithm. slots: share of the operators with a slot inside.
    """
    rng = np.random.default_rng([seed, 1])
    weight = np.sqrt(counts) / np.sqrt(counts).sum()
    found: dict[tuple[int, ...], Operator] = {}
    while len(found) < n:
        pattern = rng.choice(len(counts), rng.integers(3, 9), p=weight).tolist()
        if rng.random() < slots:
            pattern[rng.integers(1, len(pattern) - 1)] = SLOT
        scope = range(n_domains) if rng.random() < 0.25 else [rng.integers(n_domains)]
        many = int(np.exp(rng.uniform(*np.log(uses))))
        found[tuple(pattern)] = Operator(tuple(pattern), tuple(int(d) for d in scope), many)
    return list(found.values())


def plant(
    symbols: np.ndarray,
    bounds: np.ndarray,
    domain: np.ndarray,
    operators: Sequence[Operator],
    *,
    filler: np.ndarray,
    noise: float = 0.0,
    burst: float = 1.5,
    seed: int = 0,
) -> Planted:
    """Put the uses of operators between the units of documents.

    domain int[n_docs]. filler: units of which a slot's one to three are drawn, and the wrong units of noise. noise:
    share of an operator's units that are corrupted: seven in ten substituted, the others left out, or with another put
    before them. burst: mean number of uses of an operator in a document that has it, geometric.

    Documents become longer by what is planted; nothing of theirs is lost. Uses do not overlap.
    """
    rng = np.random.default_rng([seed, 3])
    docs_of = {d: np.flatnonzero(domain == d) for d in np.unique(domain).tolist()}
    where: list[tuple[int, int, int, list[int], bool]] = []
    for number, operator in enumerate(operators):
        docs = np.concatenate([docs_of.get(d, np.empty(0, np.int64)) for d in operator.domains])
        if len(docs) == 0:
            raise ValueError(f"operator {number} is used in domains {operator.domains}, of which there is no document")
        left = operator.uses
        while left > 0:
            doc = int(rng.choice(docs))
            for _ in range(min(left, int(rng.geometric(1 / burst)))):
                gap = int(rng.integers(bounds[doc], bounds[doc + 1] + 1))
                where.append((doc, gap, number, *_use(operator.pattern, filler, noise, rng)))
                left -= 1
    where.sort(key=lambda use: use[:2])
    parts, lengths, spans, at, doc_start = [], np.diff(bounds).copy(), [], 0, 0
    added = 0
    doc_now = -1
    for doc, gap, number, units, _ in where:
        if doc != doc_now:
            doc_now, doc_start = doc, added + int(bounds[doc])
        parts += [symbols[at:gap], np.array(units, np.int32)]
        start = gap + added - doc_start
        spans.append((number, doc, start, start + len(units)))
        added, at = added + len(units), gap
        lengths[doc] += len(units)
    parts.append(symbols[at:])
    return Planted(
        np.concatenate(parts).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
        tuple(operators),
        np.array(spans, np.int32).reshape(-1, 4),
        np.array([use[4] for use in where], bool),
    )


def _use(
    pattern: tuple[int, ...], filler: np.ndarray, noise: float, rng: np.random.Generator
) -> tuple[list[int], bool]:
    """The units of one use, and whether it is intact."""
    units: list[int] = []
    intact = True
    for symbol in pattern:
        if symbol == SLOT:
            units += rng.choice(filler, rng.integers(1, _LONGEST_FILLER + 1)).tolist()
        elif noise and rng.random() < noise:
            how, other = rng.random(), int(rng.choice(filler))
            units += [other] if how < _SUBSTITUTED else [other, symbol] if how < _INSERTED else []
            intact = False
        else:
            units.append(symbol)
    return units, intact
