"""Hill numbers of one sample: as if it were smaller, larger, or of a stated coverage.

The Hill number of order q is the number of equally frequent types that would be as diverse: q = 0 counts types, q = 1
is the exponential of Shannon's entropy, q = 2 the inverse of Simpson's concentration. All three grow with the sample,
so they are compared at equal size or, which is fairer, at equal coverage. Everything here needs the abundance of the
types alone: how many types have which count.

>>> girdled = [46, 22, 17, 15, 15, 9, 8, 6, 6, 4, 2, 2, 2, 2] + [1] * 12
>>> [round(hill(girdled, q), 2) for q in (0, 1, 2)], [round(hill_asymptotic(girdled, q), 2) for q in (0, 1, 2)]
([26.0, 12.06, 7.84], [43.89, 13.83, 8.17])
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.integrate import quad
from scipy.special import digamma, gammaln

from dsl_probe.share.sums import Counts, Floats, as_csr, column_sums, type_totals
from dsl_probe.share.vocab import chao1, good_coverage

ORDERS = (0, 1, 2)


class Sample(NamedTuple):
    """Counts by type, and the sums of squares within problems: of counts by problem and type, of tokens by problem."""

    totals: Floats
    within: float
    lengths: float


class Abundance(NamedTuple):
    """The distinct counts of a sample and how many types have each; tokens; singletons; what is unseen.

    f0: Chao1's number of unseen types. ratio: A of `vocab.good_coverage`, the share of its uncovered tokens that still
    is uncovered with one token more. agreement: chance that two tokens are of one type, see the function.
    """

    counts: Floats
    types: Floats
    n: int
    f1: int
    f0: float
    ratio: float
    agreement: float


def sample(counts: Counts) -> Sample:
    """Counts by type, or [problems, types], as `abundance` takes them; in a vector each token is its own problem.

    >>> sample([[2, 1], [1, 0]]).within, sample([3, 1]).within
    (6.0, 4.0)
    """
    if not sp.issparse(counts) and np.ndim(counts) < 2:
        totals = type_totals(counts)
        return Sample(totals, float(totals.sum()), float(totals.sum()))
    csr = as_csr(counts)
    lengths, totals = np.asarray(csr.sum(1), np.float64).ravel(), column_sums(csr)
    if (lengths > 0).sum() < 2:
        return sample(totals)
    return Sample(totals, float(csr.data @ csr.data), float(lengths @ lengths))


def agreement(s: Sample) -> float:
    """Chance that two tokens of different problems are of one type, sum p_i^2 of the whole; NaN below two tokens.

        (sum x_i^2 - sum x_ic^2) / (n^2 - sum L_c^2)

    x_ic: tokens of type i in problem c, L_c its length. Unbiased for problems of equal length, bursts or not; where
    each token is a problem it is sum x_i (x_i - 1) / (n (n - 1)), Simpson's.

    >>> agreement(sample([3, 1]))
    0.5
    """
    n = s.totals.sum()
    pairs = n * n - s.lengths
    return float((s.totals @ s.totals - s.within) / pairs) if pairs > 0 else float("nan")


def abundance(counts: Counts | Sample) -> Abundance:
    """Distinct counts and their numbers of types, from counts by type or [problems, types].

    >>> abundance([5, 2, 2, 0])
    Abundance(counts=array([2., 5.]), types=array([2., 1.]), n=9, f1=0, f0=0.0, ratio=0.0, agreement=0.3333333333333333)
    """
    known = counts if isinstance(counts, Sample) else sample(counts)
    x = known.totals
    distinct, types = np.unique(x[x > 0], return_counts=True)
    n, f1 = int(x.sum()), int((x == 1).sum())
    f0 = float(chao1(x) - types.sum()) if n else 0.0
    ratio = (1 - good_coverage(x)) * n / f1 if n > 1 and f1 else 0.0
    return Abundance(distinct, types.astype(np.float64), n, f1, f0, ratio, agreement(known))


def hill(counts: Counts, q: int) -> float:
    """Hill number of order q = 0, 1 or 2 of the sample itself (plug-in). From 1 up; NaN if the sample is empty.

    Source: Hill 1973, Ecology 54:427.

    >>> hill([5, 5, 0], 1)
    2.0

    What it does not show: the diversity of what was sampled, which is larger, the more so the lower q is.
    """
    a = abundance(counts)
    return _plug_in(a, q) if a.n else float("nan")


def hill_asymptotic(counts: Counts, q: int) -> float:
    """Hill number of order q of the whole that was sampled, seen and unseen; NaN for an empty sample.

    q = 0: Chao1, a lower bound. q = 1: the entropy estimator of Chao, Wang and Jost 2013 (Methods in Ecology and
    Evolution 4:1091). q = 2: 1 / `agreement`, n (n - 1) / sum x_i (x_i - 1) for counts by type; infinite where no two
    agree. Values of all three in Chao et al. 2014, Ecological Monographs 84:45.

    What it does not show: at q = 0 the number of types. At q = 0 and 1 tokens are taken as independent; words come in
    bursts within a problem, so that there are too few singletons and both come out too low.
    """
    if q == 0:
        return chao1(counts)
    a = abundance(counts)
    if a.n == 0:
        return float("nan")
    if q == 1:
        return float(np.exp(_entropy(a)))
    return 1 / a.agreement if a.agreement else float("inf")


def coverage_at(counts: Counts, m: int) -> float:
    """Expected coverage of a sample of m tokens: share of the whole's tokens that belong to types it has.

        m < n:   1 - sum x_i/n * C(n - x_i, m) / C(n - 1, m)
        m >= n:  1 - f1/n * A^(m - n + 1),  A as in `vocab.good_coverage`

    Range 0 to 1; m = n gives `good_coverage`. Source: Chao and Jost 2012, Ecology 93:2533, equations 4 and 12.

    >>> round(coverage_at([3, 2, 1, 1], 7), 4), coverage_at([3, 2, 1, 1], 0)
    (0.7551, 0.0)

    What it does not show: far beyond 2 n it is a guess. Bursts make it too high, as they do `good_coverage`.
    """
    return _coverage(abundance(counts), m)


def hill_at_size(counts: Counts, q: int, m: int) -> float:
    """Expected Hill number of order q of a sample of m tokens, m >= 1.

    m < n, rarefaction: from the expected number of types that have k of the m tokens; unbiased for q = 0. m > n,
    extrapolation: q = 0 and 1 approach the asymptotic value, each further token adding the same part of what is
    missing; q = 2 is one formula for all m, 1 / (1/m + (m - 1)/m `agreement`). Source: Chao et al. 2014, table 1; q = 1
    beyond n as in iNEXT 3 (2022).

    >>> round(hill_at_size([46, 22, 17, 15, 15, 9, 8, 6, 6, 4, 2, 2, 2, 2] + [1] * 12, 0, 300), 4)
    33.3177

    What it does not show: at q = 0 anything beyond about 2 n.
    """
    a = abundance(counts)
    if a.n == 0 or m < 1:
        return float("nan")
    return _at_size(a, q, m)


def hill_at_coverage(counts: Counts, q: int, coverage: float) -> float:
    """Expected Hill number of order q of a sample with this coverage, linear between whole numbers of tokens.

    coverage: up to that of twice the sample; beyond it ValueError, since nothing there rests on data. At equal coverage
    the ratio of two diversities is that of the wholes, where equal sizes draw them together (Chao and Jost 2012).

    >>> round(hill_at_coverage([46, 22, 17, 15, 15, 9, 8, 6, 6, 4, 2, 2, 2, 2] + [1] * 12, 0, 0.9579518), 3)
    33.318

    What it does not show: what `hill_at_size` does not show.
    """
    a = abundance(counts)
    limit = _coverage(a, 2 * a.n)
    if a.n and not 0 < coverage <= limit + 1e-9:
        raise ValueError(f"coverage {coverage:g} is out of reach: above 0, and up to {limit:g}, that of 2 n tokens")
    return float(all_at_coverage(a, coverage)[ORDERS.index(q)])


def common_coverage(samples: Sequence[Counts]) -> float:
    """The highest coverage that each sample reaches with twice its tokens: where they are best compared.

    >>> common_coverage([[3, 2, 1, 1], [9, 9]]) == coverage_at([3, 2, 1, 1], 14)
    True
    """
    return min(_coverage(a, 2 * a.n) for a in map(abundance, samples))


def all_at_coverage(a: Abundance, coverage: float, reach: int = 2) -> Floats:
    """`hill_at_coverage` of all three orders, float64[3]; beyond `reach` times the tokens it stays as it is there."""
    if a.n == 0:
        return np.full(3, np.nan)
    low, high = 0, reach * a.n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _coverage(a, middle) >= coverage else (middle, high)
    sizes = (max(low, 1), high)
    reached = [_coverage(a, m) for m in sizes]
    part = np.clip((coverage - reached[0]) / (reached[1] - reached[0]), 0, 1) if reached[1] > reached[0] else 1.0
    ends = np.array([[_at_size(a, q, m) for q in ORDERS] for m in sizes])
    return (1 - part) * ends[0] + part * ends[1]


def _plug_in(a: Abundance, q: int) -> float:
    if q not in ORDERS:
        raise ValueError(f"order q is {q}; known are 0, 1 and 2")
    p = a.counts / a.n
    if q == 0:
        return float(a.types.sum())
    return float(np.exp(-(a.types * p * np.log(p)).sum()) if q == 1 else 1 / (a.types * p * p).sum())


def _coverage(a: Abundance, m: int) -> float:
    n = a.n
    if n < 2 or m == 0:
        return 0.0
    if m < n:
        missed = np.zeros(len(a.counts))
        can = a.counts <= n - m
        x = a.counts[can]
        missed[can] = np.exp(gammaln(n - x + 1) - gammaln(n - x - m + 1) - gammaln(n) + gammaln(n - m))
        return float(1 - (a.types * a.counts * missed).sum() / n)
    return float(1 - a.f1 / n * a.ratio ** (m - n + 1))


def _at_size(a: Abundance, q: int, m: int) -> float:
    n = a.n
    if q == 2 and n > 1:
        return float(1 / (1 / m + (m - 1) / m * a.agreement))
    if m == n or q not in ORDERS:
        return _plug_in(a, q)
    if q == 2:
        return 1.0
    if m < n:
        return _rarefied(a, q, m)
    if q == 0:
        return float(a.types.sum() + a.f0 * (1 - a.ratio ** (m - n)))
    now, end = _plug_in(a, 1), float(np.exp(_entropy(a)))
    # The last token's part of what was still missing is the part that each further one adds.
    last = (now - _one_fewer(a)) / (end - _one_fewer(a)) if end > now else 1.0
    return now + (end - now) * (1 - (1 - last) ** (m - n))


def _one_fewer(a: Abundance) -> float:
    """Rarefied to n - 1 tokens, q = 1, without the logarithms of factorials that would swamp the small difference."""
    m = a.n - 1
    kept, lost = (-k / m * np.log(np.maximum(k, 1) / m) for k in (a.counts, a.counts - 1))
    return float(np.exp((a.types * ((1 - a.counts / a.n) * kept + a.counts / a.n * lost)).sum()))


def _rarefied(a: Abundance, q: int, m: int) -> float:
    """q = 0: types less those that m of n tokens miss. q = 1: sum over k of -k/m log k/m times the types expected at k.

    Of a type's hypergeometric k only ten standard deviations and a margin are summed: the rest is below 1e-15.
    """
    n = a.n
    if q == 0:
        x = a.counts[a.counts <= n - m]
        missed = np.exp(gammaln(n - x + 1) - gammaln(n - x - m + 1) - gammaln(n + 1) + gammaln(n - m + 1))
        return float(a.types.sum() - (a.types[a.counts <= n - m] * missed).sum())
    mean = m * a.counts / n
    reach = 10 * np.sqrt(mean * (1 - a.counts / n) * (n - m) / (n - 1)) + 40
    low = np.maximum(np.maximum(1, m - (n - a.counts)), np.floor(mean - reach))
    high = np.minimum(np.minimum(m, a.counts), np.ceil(mean + reach))
    size = np.maximum(high - low + 1, 0).astype(np.int64)
    which = np.repeat(np.arange(len(size)), size)
    k = np.arange(len(which)) - np.repeat(np.cumsum(size) - size, size) + low[which]
    x = a.counts[which]

    def choose(top: Floats | int, part: Floats | int) -> Floats:
        return gammaln(np.add(top, 1)) - gammaln(np.add(part, 1)) - gammaln(np.subtract(top, part) + 1)

    chance = np.exp(choose(x, k) + choose(n - x, m - k) - choose(n, m))
    return float(np.exp(-(a.types[which] * chance * k / m * np.log(k / m)).sum()))


def _entropy(a: Abundance) -> float:
    """Entropy in nats of the whole, Chao, Wang and Jost 2013.

    Seen: sum x/n (psi(n) - psi(x)). Unseen: f1/n (1 - B)^(1 - n) (-log B - sum over r < n of (1 - B)^r / r) with
    B = 2 f2 / ((n - 1) f1 + 2 f2), which is f1/n times the integral over u from 0 of

        (1 - B)/n * e^-u / (1 - (1 - B) e^(-u/n)),

    a form that neither overflows nor cancels.
    """
    n = a.n
    seen = (a.types * a.counts / n * (digamma(n) - digamma(a.counts))).sum()
    if a.ratio <= 0:
        return float(seen)
    rate = -np.log(a.ratio)

    def part(u: float) -> float:
        return a.ratio / n * np.exp(-u) / -np.expm1(-rate - u / n)

    # The integrand bends where u passes n times the rate.
    bend = min(max(n * rate, 1e-12), 0.5)
    total = sum(quad(part, *ends, limit=200)[0] for ends in ((0, bend), (bend, 1), (1, 60)))
    return float(seen + a.f1 / n * total)
