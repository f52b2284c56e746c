"""How far do two domains share one vocabulary: overlap indices of species ecology, with intervals by problem.

A domain is a sparse matrix of counts, one row a problem and one column a type (word, motif). The measures read the
column sums; the rows are there because the problem, not the token, is what was sampled: intervals come from deleting
one problem at a time.

>>> a, b = np.array([1, 0, 4, 3, 5, 0, 0, 7]), np.array([2, 1, 3, 0, 0, 1, 0, 6])
>>> round(chao_jaccard(a, b), 5), round(chao_sorensen(a, b), 5), round(morisita_horn(a, b), 5)
(0.56995, 0.72608, 0.7807)

Which measure to read. `morisita_horn` and `jensen_shannon_corrected` estimate a property of the two vocabularies, and
their rows hold the jackknife-corrected value. `INDEX_ONLY` measures are biased by sample size in a way that no
jackknife mends: their rows hold the plain index, and the interval says how it would vary between samples of this size,
not where the truth is.

How often the 95 % interval of `sharing` held the truth: lowest / mean / highest of the settings of one line, 200
simulated pairs of domains a setting (standard error .015), 8,400 in all. Zipf vocabularies of 1,000 or 3,000 types;
identical, jittered or half private; 15 to 200 problems of 150 tokens (15 of 600); tokens independent, or bursty within
a problem. C is `good_coverage`, P `problem_coverage`, of the poorer domain.

    settings                        Morisita-Horn       JS corrected        JS plug-in  Chao-Jaccard
    27  P >= .96                    .920 / .958 / 1     .935 / .957 / .995  0 to .175   .090 / .911 / 1
     6  P .90 to .93, not bursty    .945 / .973 / 1     .895 / .919 / .935  0           .585 / .842 / 1
     9  P .87 to .94, bursty        .930 / .963 / .995  .590 / .797 / .920  0           .005 / .304 / .860

So trust corrected Jensen-Shannon where P >= .96 in both domains; C alone is fooled by bursts: in the
bursty line it is .92 to .98. Where the interval fails there, it reports too much divergence.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import exp1, psi, rel_entr, stdtrit

Floats = NDArray[np.float64]
Counts = ArrayLike | sp.sparray | sp.spmatrix
Row = dict[str, str | int | float]

MEASURES = ("chao_jaccard", "chao_sorensen", "morisita_horn", "jensen_shannon", "jensen_shannon_corrected")
INDEX_ONLY = frozenset({"chao_jaccard", "chao_sorensen", "jensen_shannon"})

_LN2 = float(np.log(2.0))
_BLOCK = 1 << 19  # cells evaluated at once: bounds memory to some tens of MB


# ---------------------------------------------------------------- one domain


def good_coverage(counts: Counts) -> float:
    """Share of the domain's tokens that belong to types this sample has seen (Good-Turing, improved).

        C = 1 - (f1 / n) A,   A = (n - 1) f1 / ((n - 1) f1 + 2 f2)                    if f2 > 0
                              A = (n - 1) (f1 - 1) / ((n - 1) (f1 - 1) + 2)           if f2 = 0

    n tokens, f1 types seen once, f2 types seen twice. Good's own 1 - f1/n has A = 1; the second count makes it almost
    unbiased. Range 0 to 1; NaN below two tokens. Source: Chao and Jost 2012, Ecology 93:2533, equation 4a.

    >>> round(good_coverage([3, 2, 1, 1]), 4)
    0.7551

    What it does not show: how many types are missing, only how much they are used. It takes tokens as independent:
    where words come in bursts within a problem, the singletons are too few and the coverage is overstated.
    """
    x = _totals(counts)
    n, f1, f2 = x.sum(), (x == 1).sum(), (x == 2).sum()
    if n < 2:
        return float("nan")
    a = (n - 1) * f1 / ((n - 1) * f1 + 2 * f2) if f2 else (n - 1) * max(f1 - 1, 0) / ((n - 1) * max(f1 - 1, 0) + 2)
    return float(1 - f1 / n * a)


def problem_coverage(counts: Counts) -> float:
    """Share of tokens whose type stands in more than one problem: Good's coverage with the problem as the draw.

        1 - (1/n) sum over types in exactly one problem of x_i

    It is the chance that a token of a problem not yet seen belongs to a known type, estimated by leaving each problem
    out in turn. Range 0 to 1; NaN below two problems with tokens. Source: Good 1953, Biometrika 40:237, for clusters.

    >>> problem_coverage([[2, 1, 0], [1, 0, 4]])
    0.375

    What it does not show: what `good_coverage` does not show, except that bursts within a problem do not fool it.
    """
    csr = _csr(counts)
    x, problems = _column_sums(csr), np.bincount(csr.indices, minlength=csr.shape[1])
    if (np.diff(csr.indptr) > 0).sum() < 2:
        return float("nan")
    return float(1 - x[problems == 1].sum() / x.sum())


def chao1(counts: Counts) -> float:
    """Lower bound of the number of types of the domain, seen and unseen.

        S_obs + (n - 1)/n * f1^2 / (2 f2)          if f2 > 0
        S_obs + (n - 1)/n * f1 (f1 - 1) / 2        if f2 = 0

    From S_obs upward, no upper end; NaN for an empty domain. Source: Chao 1984; values in Chao et al. 2014, Ecological
    Monographs 84:45.

    >>> chao1([5, 3, 2, 2, 1, 1, 1])
    9.1

    What it does not show: the number of types. It is a lower bound, far below the truth where the tail is long, and
    an open vocabulary (numbers, names) has no such number at all.
    """
    x = _totals(counts)
    n, seen, f1, f2 = x.sum(), (x > 0).sum(), (x == 1).sum(), (x == 2).sum()
    if n == 0:
        return float("nan")
    return float(seen + (n - 1) / n * (f1**2 / (2 * f2) if f2 else f1 * (f1 - 1) / 2))


# ---------------------------------------------------------------- two domains


def chao_jaccard(a: Counts, b: Counts) -> float:
    """Chance-corrected overlap: of the tokens drawn from either domain, the share that belongs to common types.

        U V / (U + V - U V)
        U = sum over common types of x_i/n + (m - 1)/m * f+1 / (2 f+2) * sum over common types with y_i = 1 of x_i/n

    U is the share of A's tokens whose type exists in B, the second term being the common types that B's sample missed;
    V is the same with the domains exchanged; both are cut at 1. f+1, f+2: common types seen once, twice in B (f+2 = 0
    counts as 1). Range 0 to 1; NaN if a domain is empty. Source: Chao, Chazdon, Colwell and Shen 2005, Ecology
    Letters 8:148.

    >>> chao_jaccard([3, 2, 0], [3, 2, 0]), chao_jaccard([3, 0], [0, 3])
    (1.0, 0.0)

    What it does not show: agreement in frequency (two domains that use the same types at opposite rates score 1), and
    the types that both samples missed: it is an index of this sample, usually below the truth (taking off its
    jackknife bias does not mend that: the intervals then held the truth in 50 to 94 % of the same simulations).
    """
    return _measure(a, b)["chao_jaccard"]


def chao_sorensen(a: Counts, b: Counts) -> float:
    """Chance-corrected overlap, the harmonic mean of the two shares: 2 U V / (U + V), with U, V of `chao_jaccard`.

    Range 0 to 1; NaN if a domain is empty. Source: Chao et al. 2005.

    >>> chao_sorensen([3, 2, 0], [3, 2, 0]), chao_sorensen([3, 0], [0, 3])
    (1.0, 0.0)

    What it does not show: as `chao_jaccard`, of which it is a monotone function when U = V.
    """
    return _measure(a, b)["chao_sorensen"]


def morisita_horn(a: Counts, b: Counts) -> float:
    """Overlap weighted by frequency: 2 sum p_i q_i / (sum p_i^2 + sum q_i^2), with p = x/n and q = y/m.

    The q = 2 overlap: the chance that a token of A and one of B agree, over the mean chance that two of one domain do.
    Range 0 to 1; NaN if a domain is empty. This is the plain index, biased low near 1; `sharing` reports the value
    with the jackknife bias taken off, which may pass 1 by a little. Source: Horn 1966, American Naturalist 100:419.

    >>> morisita_horn([2, 1], [4, 2]), round(morisita_horn([2, 1], [1, 2]), 3)
    (1.0, 0.8)

    What it does not show: rare types. A few frequent types decide it, so function words can carry it to .99: leave
    out what any two texts share, or read it beside a null.
    """
    return _measure(a, b)["morisita_horn"]


def jensen_shannon(a: Counts, b: Counts) -> float:
    """Plug-in Jensen-Shannon divergence in bits: H((p + q)/2) - (H(p) + H(q))/2, domains weighted equally.

    What one token tells about its domain. Range 0 (same frequencies) to 1 (no common type); NaN if a domain is empty.
    Source: Lin 1991, IEEE Transactions on Information Theory 37:145.

    >>> jensen_shannon([2, 1], [4, 2]), jensen_shannon([1, 0], [0, 1])
    (0.0, 1.0)

    What it does not show: the divergence of the two vocabularies. Two samples of one vocabulary come out well above 0,
    the more so the smaller they are: compare it only at equal size, and never with 0.
    """
    return _measure(a, b)["jensen_shannon"]


def jensen_shannon_corrected(a: Counts, b: Counts) -> float:
    """Jensen-Shannon divergence in bits from entropies corrected for unseen types; may be negative, is not clipped.

    Each of the three entropies (natural logarithm here) is

        H = sum p_i (log n - psi(x_i)) + U e^r E1(r),   r = S / U

    psi the digamma function, U and S the mass of types seen once and twice (r = 2 f2 / f1; with S = 0, r = 2/(f1 - 1)),
    E1 the exponential integral: the first term is exact for types that are not rare, the second extrapolates to the
    unseen. It is the large-n form of Chao, Wang and Jost 2013 (Methods in Ecology and Evolution 4:1091). The mixture
    (p + q)/2 is no multinomial sample when n and m differ; its types get the effective count
    (x/n + y/m)^2 / (x/n^2 + y/m^2), which is x + y when n = m.

    At most about 1, and usually below 0 for a sample with itself; NaN if a domain is empty. Tokens count as
    independent; `sharing` also takes off the jackknife bias by problem, which is where burstiness enters.

    >>> round(jensen_shannon_corrected([40, 20, 10, 2, 1], [40, 20, 10, 2, 1]), 3)
    -0.034

    What it does not show: anything at low coverage. Rare types carry much of the divergence, and what is said of them
    there is extrapolation: below a `problem_coverage` of .96 read it as an index of this sample, mostly too high.
    """
    return _measure(a, b)["jensen_shannon_corrected"]


# ---------------------------------------------------------------- intervals by problem


class Jackknife(NamedTuple):
    """A measure, its value with each problem left out, and what follows from them.

    `deleted` holds one array a sample: one entry a problem of A and one a problem of B, or a single array where the
    problems are paired. To compare sharing between two models that answered the same problems, subtract value from
    value and array from array and call `jackknife` on the result: shared luck of the problems cancels.
    """

    value: float
    deleted: tuple[Floats, ...]
    bias: float
    se: float
    df: float

    def interval(self, corrected: bool, level: float = 0.95) -> tuple[float, float, float]:
        """(value, low, high) by Student's t; NaN limits where the deletions leave nothing to measure the spread by."""
        value = self.value - self.bias if corrected and np.isfinite(self.bias) else self.value
        if not self.se > 1e-12:
            return value, float("nan"), float("nan")
        half = float(stdtrit(self.df, 0.5 + level / 2)) * self.se
        return value, value - half, value + half


def jackknife(value: float, deleted: Sequence[Floats]) -> Jackknife:
    """Delete-one jackknife of one sample, or of several independent ones: biases and variances add.

    bias = sum (K - 1)(mean of deleted - value); variance = sum (K - 1)/K * sum (deleted - mean)^2; degrees of freedom
    by Welch and Satterthwaite. Source: Quenouille 1956; Tukey 1958; Arvesen 1969 for two samples.

    >>> mean = jackknife(2.0, [np.array([2.5, 2.0, 1.5])])  # of the sample 1, 2, 3
    >>> mean.bias, round(mean.se, 4)
    (0.0, 0.5774)

    What it does not show: the error of a measure that is not smooth in the counts, or whose bias is not of order 1/K.
    """
    deleted = tuple(deleted)
    if min(len(d) for d in deleted) < 2 or not all(np.isfinite(d).all() for d in deleted):
        return Jackknife(value, deleted, float("nan"), float("nan"), float("nan"))
    k = np.array([len(d) for d in deleted])
    bias = sum((len(d) - 1) * (d.mean() - value) for d in deleted)
    variances = np.array([(len(d) - 1) * d.var() for d in deleted])
    total = variances.sum()
    df = total**2 / (variances**2 / (k - 1)).sum() if total**2 > 0 else float("nan")
    return Jackknife(value, deleted, float(bias), float(np.sqrt(total)), float(df))


def leave_one_out(domain_a: Counts, domain_b: Counts, *, paired: bool = False) -> dict[str, Jackknife]:
    """Every measure of `MEASURES`, with its values when one problem is deleted.

    Rows are problems, columns types, the columns of both domains the same. Every row counts as a problem, also an
    empty one, so that arrays of several models stay aligned.

    >>> out = leave_one_out([[1, 2], [3, 1], [2, 2]], [[1, 0], [4, 1]])["morisita_horn"]
    >>> [d.size for d in out.deleted]
    [3, 2]

    What it does not show: what `sharing` says of each measure.
    """
    a, b = _csr(domain_a), _csr(domain_b)
    _same_columns(a, b, rows=paired)
    x, y = _column_sums(a), _column_sums(b)
    value = _whole(x, y)
    if paired:
        parts = [_delete(x, y, *_union(a, b))]
    else:
        parts = [_delete(x, y, a, None), _delete(x, y, None, b)]
    return {name: jackknife(float(value[name]), [p[name] for p in parts]) for name in MEASURES}


def sharing(domain_a: Counts, domain_b: Counts, *, paired: bool = False, level: float = 0.95) -> list[Row]:
    """How far two domains share a vocabulary: one row a measure, with an interval by problem.

    domain_a, domain_b: counts [problems, types], sparse or dense, over the same types. Rows without any token are left
    out. Each row of the answer: measure, value, ci_low, ci_high, coverage_a, coverage_b (`good_coverage`), n_a, n_b
    (tokens).

    The problems of the two domains are taken as independent samples: one problem is deleted at a time from either, and
    the variances add. With `paired`, row k of both is the same problem and is deleted from both at once; without it,
    problems that stand in both domains are still treated as if independent, which misstates the interval (too wide
    where a problem's luck is common to both, as it mostly is).

    Value: `morisita_horn` and `jensen_shannon_corrected` have the jackknife bias taken off and are not clipped (so
    slightly above 1, or below 0, is possible); the `INDEX_ONLY` measures are plain. Limits are NaN where a domain has
    fewer than two problems or no deletion changes the value (no common type; a set with itself, paired); values are NaN
    where a domain is empty.

    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.poisson(1.0, (30, 20)), rng.poisson(1.0, (40, 20))
    >>> row = next(r for r in sharing(a, b) if r["measure"] == "morisita_horn")
    >>> bool(row["ci_low"] < 1 < row["ci_high"]), row["n_a"], int(a.sum())
    (True, 637, 637)

    What it does not show: why a type is shared. Function words, numbers and prompt echo are shared by any two domains:
    read the value against the same value for a model without the training in question. Nothing here says that a shared
    type means the same in both domains, nor that it matters to the answer.
    """
    a, b = _csr(domain_a), _csr(domain_b)
    _same_columns(a, b, rows=paired)
    full_a, full_b = np.diff(a.indptr) > 0, np.diff(b.indptr) > 0
    if paired:
        full_a = full_b = full_a | full_b
    a, b = a[full_a], b[full_b]
    about = {"coverage_a": good_coverage(a), "coverage_b": good_coverage(b), "n_a": int(a.sum()), "n_b": int(b.sum())}
    rows: list[Row] = []
    for name, result in leave_one_out(a, b, paired=paired).items():
        value, low, high = result.interval(corrected=name not in INDEX_ONLY, level=level)
        rows.append({"measure": name, "value": value, "ci_low": low, "ci_high": high, **about})
    return rows


# ---------------------------------------------------------------- the measures as sums over types
#
# Deleting a problem changes the counts of its own types only. So each measure is written as a function of sums over
# types, and a deletion subtracts the old and adds the new terms of the types in that row. The one part that is not
# such a sum, the mixture (p + q)/2, also moves with n; there the types are grouped by their pair of counts (x, y), of
# which a Zipf vocabulary has few.


def _sums(x: Floats, y: Floats) -> Floats:
    """Terms of the sums over types, [21, types]; the order is that of the unpacking in `_finish`."""
    seen_x, seen_y, x1, y1, x2, y2 = x > 0, y > 0, x == 1, y == 1, x == 2, y == 2
    both, two = seen_x & seen_y, x + y == 2
    return np.array(
        [
            *(x, y),
            *(x1, y1, x2, y2),
            *(both * x, both * y, (y1 & seen_x) * x, (x1 & seen_y) * y),
            *(y1 & seen_x, y2 & seen_x, x1 & seen_y, x2 & seen_y),
            *(x * x, y * y, x * y),
            *(x * _deficit(x), y * _deficit(y)),
            *(two * x, two * y),
        ],
        dtype=np.float64,
    )


def _deficit(k: Floats) -> Floats:
    """log k - psi(k): what the plug-in -log p lacks at count k, in nats."""
    k = np.where(k > 0, k, 1.0)
    return np.log(k) - psi(k)


def _mixture(x: Floats, y: Floats, n: Any, m: Any) -> tuple[Floats, Floats]:
    """Per type: its share of the plug-in divergence, and what its mixture entropy lacks, in nats."""
    # Written by ratios of counts, so that two equal domains give exactly 0.
    plug_in = (rel_entr(x, (x + y * (n / m)) / 2) / n + rel_entr(y, (y + x * (m / n)) / 2) / m) / 2
    p, q = x / n, y / m
    spread = p / n + q / m
    return plug_in, (p + q) / 2 * _deficit((p + q) ** 2 / np.where(spread > 0, spread, 1.0))


class _Pairs(NamedTuple):
    """The distinct pairs of counts and how many types have each."""

    x: Floats
    y: Floats
    types: Floats

    def at(self, n: Any, m: Any) -> Floats:
        """Sums over types of both parts of `_mixture` for each total n, m: [2, len(n)] (or [2])."""
        n, m = np.broadcast_arrays(np.asarray(n, np.float64), np.asarray(m, np.float64))
        totals, back = np.unique(np.stack([n.ravel(), m.ravel()]), axis=1, return_inverse=True)
        out = np.full((2, totals.shape[1]), np.nan)
        step = max(1, _BLOCK // max(1, len(self.x)))
        for start in range(0, totals.shape[1], step):
            ok = start + np.flatnonzero(totals[:, start : start + step].min(0) > 0)
            for part, terms in enumerate(_mixture(self.x, self.y, totals[0, ok, None], totals[1, ok, None])):
                out[part, ok] = terms @ self.types
        return out[:, back.ravel()].reshape(2, *n.shape)


def _pairs(x: Floats, y: Floats) -> _Pairs:
    (x, y), types = np.unique(np.stack([x, y]), axis=1, return_counts=True)
    seen = x + y > 0
    return _Pairs(x[seen], y[seen], types[seen].astype(np.float64))


def _finish(sums: Floats, mixture: Floats) -> dict[str, Any]:
    """The measures from the sums over types (of `_sums`) and the two of `_mixture`; arrays in, arrays out."""
    n, m = sums[:2]
    known = (n > 0) & (m > 0)
    n, m = np.where(known, n, 1.0), np.where(known, m, 1.0)
    x1, y1, x2, y2 = sums[2:6]
    common_x, common_y, x_rare, y_rare, b1, b2, a1, a2 = sums[6:14]
    xx, yy, xy, x_lack, y_lack, x_two, y_two = sums[14:]

    u = np.minimum((common_x + (m - 1) / m * b1 / (2 * np.maximum(b2, 1)) * x_rare) / n, 1)
    v = np.minimum((common_y + (n - 1) / n * a1 / (2 * np.maximum(a2, 1)) * y_rare) / m, 1)
    either = np.where(u + v > 0, u + v, 1.0)  # no common type: 0, not 0/0
    horn = xx / n**2 + yy / m**2

    plug_in, mixture_lack = mixture
    only_x, only_y = x1 - a1, y1 - b1
    lack = mixture_lack + _unseen((only_x / n + only_y / m) / 2, (x_two / n + y_two / m) / 2, only_x + only_y)
    lack = lack - (x_lack / n + _unseen(x1 / n, 2 * x2 / n, x1) + y_lack / m + _unseen(y1 / m, 2 * y2 / m, y1)) / 2
    measures = {
        "chao_jaccard": u * v / (either - u * v),
        "chao_sorensen": 2 * u * v / either,
        "morisita_horn": 2 * xy / (n * m) / np.where(horn > 0, horn, 1.0),
        "jensen_shannon": plug_in / _LN2,
        "jensen_shannon_corrected": (plug_in + lack) / _LN2,
    }
    return {name: np.where(known, value, np.nan) for name, value in measures.items()}


def _unseen(once: Floats, twice: Floats, singles: Floats) -> Floats:
    """U e^r E1(r), the entropy in nats beyond the first term: mass of types seen once, twice, number seen once."""
    fallback = np.where(singles > 1, 2 / np.maximum(singles - 1, 1), np.inf)
    r = np.where(twice > 0, twice / np.where(once > 0, once, 1.0), fallback)
    near = np.minimum(r, 100.0)
    far = np.maximum(r, 100.0)  # e^r overflows; four terms of the asymptotic series are exact to 1e-8 here
    scaled = np.where(r < 100, np.exp(near) * exp1(near), (1 - (1 - (2 - 6 / far) / far) / far) / far)
    return np.where((once > 0) & np.isfinite(r), once * scaled, 0.0)


def _measure(a: Counts, b: Counts) -> dict[str, float]:
    x, y = _totals(a), _totals(b)
    if len(x) != len(y):
        raise ValueError(f"both domains need the same types as columns; they have {len(x)} and {len(y)}")
    return {name: float(v) for name, v in _whole(x, y).items()}


def _whole(x: Floats, y: Floats) -> dict[str, Any]:
    return _finish(_sums(x, y).sum(1), _pairs(x, y).at(x.sum(), y.sum()))


def _delete(x: Floats, y: Floats, a: sp.csr_array | None, b: sp.csr_array | None) -> dict[str, Floats]:
    """Every measure with row k of `a` taken from the totals x and row k of `b` from the totals y, for each k.

    Where both are given they store the same cells.
    """
    pattern = a if a is not None else b
    assert pattern is not None
    rows = pattern.shape[0]
    sums = np.repeat(_sums(x, y).sum(1)[:, None], rows, axis=1)
    changes = np.zeros((2, rows))
    for block in _row_blocks(pattern.indptr):
        cells = slice(pattern.indptr[block.start], pattern.indptr[block.stop])
        types = pattern.indices[cells]
        owner = np.repeat(np.arange(block.stop - block.start), np.diff(pattern.indptr[block.start : block.stop + 1]))
        old_x, old_y = x[types], y[types]
        new_x = old_x - a.data[cells] if a is not None else old_x
        new_y = old_y - b.data[cells] if b is not None else old_y

        for total, term in zip(sums, _sums(new_x, new_y) - _sums(old_x, old_y), strict=True):
            total[block] += _by_row(owner, term, block)
        # The mixture's terms at the totals after the deletion, for the types of the row; emptied domains are NaN later.
        n, m = np.maximum(sums[:2, block], 1)[:, owner]
        after, before = _mixture(new_x, new_y, n, m), _mixture(old_x, old_y, n, m)
        for part in range(2):
            changes[part, block] = _by_row(owner, after[part] - before[part], block)
    return _finish(sums, _pairs(x, y).at(*sums[:2]) + changes)


def _by_row(owner: NDArray[np.integer], terms: Floats, block: slice) -> Floats:
    return np.bincount(owner, weights=terms, minlength=block.stop - block.start).astype(np.float64)


def _row_blocks(indptr: NDArray[np.integer]) -> Iterator[slice]:
    """Runs of rows that hold about 2^17 stored cells together, one row at least."""
    start, last = 0, len(indptr) - 1
    while start < last:
        stop = int(np.searchsorted(indptr, indptr[start] + (_BLOCK >> 2), side="right")) - 1
        stop = min(max(stop, start + 1), last)
        yield slice(start, stop)
        start = stop


# ---------------------------------------------------------------- input


def _csr(counts: Counts) -> sp.csr_array:
    """[problems, types] as float64 CSR without stored zeros; the caller's matrix is not changed."""
    matrix = counts if sp.issparse(counts) else np.atleast_2d(np.asarray(counts))
    csr = sp.csr_array(matrix, dtype=np.float64, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    bad = ~((csr.data >= 0) & (csr.data < np.inf) & (csr.data == np.floor(csr.data)))
    if bad.any():
        raise ValueError(f"counts must be whole numbers from 0 up, not rates; got {csr.data[bad][0]:g}")
    return csr


def _totals(counts: Counts) -> Floats:
    """Counts by type, from a vector or a matrix [problems, types]."""
    return _column_sums(_csr(counts))


def _column_sums(csr: sp.csr_array) -> Floats:
    return np.bincount(csr.indices, weights=csr.data, minlength=csr.shape[1]).astype(np.float64)


def _same_columns(a: sp.csr_array, b: sp.csr_array, *, rows: bool) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both domains need the same types as columns; they have {a.shape[1]} and {b.shape[1]}")
    if rows and a.shape[0] != b.shape[0]:
        raise ValueError(f"paired problems need as many rows in both; they have {a.shape[0]} and {b.shape[0]}")


def _union(a: sp.csr_array, b: sp.csr_array) -> tuple[sp.csr_array, sp.csr_array]:
    """Both matrices with the stored cells of either, zeros included."""
    ones = [sp.csr_array((np.ones(len(c.data)), c.indices, c.indptr), shape=c.shape) for c in (a, b)]
    cells = (ones[0] + ones[1]).tocsr()
    cells.sort_indices()
    rows = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))
    key = rows * cells.shape[1] + cells.indices
    out = []
    for c in (a, b):
        own = np.repeat(np.arange(c.shape[0]), np.diff(c.indptr)) * c.shape[1] + c.indices
        data = np.zeros(len(key))
        data[np.searchsorted(key, own)] = c.data
        out.append(sp.csr_array((data, cells.indices, cells.indptr), shape=cells.shape))
    return out[0], out[1]
