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

How often the 95 % interval of `sharing` held the truth: lowest / mean / highest of the settings of one line. Simulated
Zipf vocabularies, identical, jittered or half private; 15 to 300 problems of 150 to 600 tokens, tokens independent or
bursty within a problem; 200 pairs of domains a setting (standard error .015; the last line 40), 6,720 in all. P is
`problem_coverage` of the poorer domain; its `good_coverage` is .90 to .99 and does not tell the lines apart.

    settings                                 Morisita-Horn       JS corrected        JS plug-in  Chao-Jaccard
    15  1,000 types, P .97 to .98            .920 / .956 / 1     .940 / .961 / .980  0 to .005   .690 / .947 / 1
     6  3,000 types, P .90 to .92            .945 / .973 / 1     .880 / .918 / .940  0           .585 / .842 / 1
    12  1,000 to 3,000, bursty, P .88 to .96 .925 / .961 / .995  .880 / .921 / .960  0           0 / .270 / .860
     3  20,000 types, bursty, P .93          .925 / .967 / 1     .500 / .742 / .900  0           0

The bias of corrected Jensen-Shannon stayed within .008 bits everywhere (the plug-in's was .015 to .157): its interval
fails where it is narrower than that, so large samples of a long-tailed vocabulary need a P above .96, and a difference
from 0 of less than .01 bits is not evidence of divergence.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from dsl_probe.share.sums import (
    Counts,
    Floats,
    all_measures,
    as_csr,
    column_sums,
    common_cells,
    each_deleted,
    of_totals,
    same_columns,
    type_sums,
    type_totals,
)

Row = dict[str, str | int | float]

MEASURES = ("chao_jaccard", "chao_sorensen", "morisita_horn", "jensen_shannon", "jensen_shannon_corrected")
INDEX_ONLY = frozenset({"chao_jaccard", "chao_sorensen", "jensen_shannon"})


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
    x = type_totals(counts)
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
    csr = as_csr(counts)
    x, problems = column_sums(csr), np.bincount(csr.indices, minlength=csr.shape[1])
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
    x = type_totals(counts)
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
    jackknife bias does not mend that: in the simulations above the intervals then held the truth in 5 to 94 %).
    """
    return all_measures(a, b)["chao_jaccard"]


def chao_sorensen(a: Counts, b: Counts) -> float:
    """Chance-corrected overlap, the harmonic mean of the two shares: 2 U V / (U + V), with U, V of `chao_jaccard`.

    Range 0 to 1; NaN if a domain is empty. Source: Chao et al. 2005.

    >>> chao_sorensen([3, 2, 0], [3, 2, 0]), chao_sorensen([3, 0], [0, 3])
    (1.0, 0.0)

    What it does not show: as `chao_jaccard`, of which it is a monotone function when U = V.
    """
    return all_measures(a, b)["chao_sorensen"]


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
    return all_measures(a, b)["morisita_horn"]


def jensen_shannon(a: Counts, b: Counts) -> float:
    """Plug-in Jensen-Shannon divergence in bits: H((p + q)/2) - (H(p) + H(q))/2, domains weighted equally.

    What one token tells about its domain. Range 0 (same frequencies) to 1 (no common type); NaN if a domain is empty.
    Source: Lin 1991, IEEE Transactions on Information Theory 37:145.

    >>> jensen_shannon([2, 1], [4, 2]), jensen_shannon([1, 0], [0, 1])
    (0.0, 1.0)

    What it does not show: the divergence of the two vocabularies. Two samples of one vocabulary come out well above 0,
    the more so the smaller they are: compare it only at equal size, and never with 0.
    """
    return all_measures(a, b)["jensen_shannon"]


def jensen_shannon_corrected(a: Counts, b: Counts) -> float:
    """Jensen-Shannon divergence in bits from entropies corrected for unseen types; may be negative, is not clipped.

    Each of the three entropies (natural logarithm here) is

        H = sum p_i (-log p~_i + log k_i - psi(k_i)) + U e^r E1(r),   r = S / U

    k_i is the number of independent draws that type i stands for: x_i^2 / sum over problems of x_ic^2, and for the
    mixture (p + q)/2 of the domains (p_i + q_i)^2 / sum over problems of p_ic^2 + q_ic^2. So a burst in one problem
    counts as one. p~_i is p_i, but for a type that stands in one problem the mean over all such types of that domain:
    how long the one burst was says nothing of the type's frequency. psi is the digamma function, U the mass of the
    types that stand in one problem, S of those in two (with S = 0, r = 2/(f1 - 1), f1 the number of such types), E1 the
    exponential integral. The second term extrapolates to the unseen. A vector holds no problems: each of its tokens
    counts as one, so that k_i = x_i, p~_i = p_i and r = 2 f2 / f1, which is the large-n form of Chao, Wang and Jost
    2013 (Methods in Ecology and Evolution 4:1091); the form for problems is its extension. `sharing` also takes off the
    jackknife bias, which is needed for text with bursts.

    At most about 1, and usually below 0 for a sample with itself; NaN if a domain is empty.

    >>> round(jensen_shannon_corrected([40, 20, 10, 2, 1], [40, 20, 10, 2, 1]), 3)
    -0.034

    What it does not show: anything at low coverage. Rare types carry much of the divergence, and what is said of them
    there is extrapolation, right to about .008 bits in the simulations of this module.
    """
    return all_measures(a, b)["jensen_shannon_corrected"]


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
        """(value, low, high) by Student's t; NaN where the deletions leave nothing to estimate it from."""
        value = self.value - self.bias if corrected else self.value
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
    a, b = as_csr(domain_a), as_csr(domain_b)
    same_columns(a, b, rows=paired)
    x, y = type_sums(a), type_sums(b)
    value = of_totals(x, y)
    if paired:
        parts = [each_deleted(x, y, *common_cells(a, b))]
    else:
        parts = [each_deleted(x, y, a, None), each_deleted(x, y, None, b)]
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
    slightly above 1, or below 0, is possible); the `INDEX_ONLY` measures are plain. Limits are NaN where no deletion
    changes the value (no common type; a set with itself, paired) or a domain has fewer than two problems; there the
    corrected values are NaN too. All values are NaN where a domain is empty.

    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.poisson(1.0, (30, 20)), rng.poisson(1.0, (40, 20))
    >>> row = next(r for r in sharing(a, b) if r["measure"] == "morisita_horn")
    >>> bool(row["ci_low"] < 1 < row["ci_high"]), row["n_a"], int(a.sum())
    (True, 637, 637)

    What it does not show: why a type is shared. Function words, numbers and prompt echo are shared by any two domains:
    read the value against the same value for a model without the training in question. Nothing here says that a shared
    type means the same in both domains, nor that it matters to the answer.
    """
    a, b = as_csr(domain_a), as_csr(domain_b)
    same_columns(a, b, rows=paired)
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
