"""How rich the vocabulary of each domain is, and into how many distinct vocabularies the domains fall.

Gamma is the diversity of all domains pooled, alpha that of one, beta = gamma / alpha the effective number of distinct
domains: 1 where all share one vocabulary, N where no two of N have a type in common. All at equal coverage.

How often the 95 % interval of `diversity` held the truth (the same at this coverage, of the true frequencies), lowest
and highest over identical, jittered and half private Zipf vocabularies, 40 pairs of domains each (standard error .035);
problems of 150 tokens, independent or, bursty, with Dirichlet(300 p) frequencies of their own:

    types, problems, coverage   hill 0, 1, 2, alpha, gamma   beta 0        beta 1        beta 2
    400, 40, .95                .93 to 1                     .97 to 1      .90 to .97    .95 to 1
    2,000, 60, .90              .93 to 1                     1             .95 to 1      .97 to 1
    400, 40, .95, bursty        .82 to 1                     .93 to 1      .97 to 1      .95 to 1
    2,000, 60, .90, bursty      .50 to .97                   .85 to .90    .88 to .90    .62 to 1

In the last line hill 0 and alpha 0 come out 3 to 4 % too low (held in .50 to .70), beta 0, 1 and 2 up to 1.7, .6 and
.4 % too high: words in bursts leave too few singletons. Where text is bursty, a beta above 1 by less than 2 % is not
evidence of two vocabularies, and order 0 is an index of the sample.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from dsl_probe.share.hill import ORDERS, Sample, abundance, agreement, all_at_coverage, common_coverage, sample
from dsl_probe.share.sums import Counts, as_csr, column_sums, same_columns
from dsl_probe.share.vocab import Row, jackknife

_GROUPS = 25
# A sample with some problems deleted reaches the coverage of twice the whole with a little more than twice itself.
_REACH = 4


class Partition(NamedTuple):
    """Diversity of one domain on average, effective number of distinct domains, diversity of all; the coverage."""

    alpha: float
    beta: float
    gamma: float
    coverage: float


def partition(domains: Sequence[Counts], q: int, coverage: float | None = None) -> Partition:
    """Alpha, beta and gamma of order q at one coverage, from counts by type (or [problems, types]) of each domain.

    gamma: the Hill number of the pooled counts. alpha: that of all (domain, type) cells, over the number of domains.
    Both are brought to `coverage`, by default the highest that both reach with twice their tokens. Source: Chao et al.
    2023, Ecological Monographs 93:e1588. Give domains of equal size (see `thinned`): the formula weighs them by their
    tokens, and unequal domains of one vocabulary would come out above 1. At q = 2 the chance that two tokens of one
    domain agree is that of different problems (`hill.agreement`), so that bursts do not make domains distinct.

    >>> [round(x, 3) for x in partition([[40, 30, 0, 0], [0, 0, 50, 20]], 2)[:3]]
    [1.793, 2.0, 3.586]
    >>> round(partition([[40, 30, 20], [40, 30, 20]], 2).beta, 2)
    1.0

    What it does not show: that a type means the same in two domains. At q = 0 beta rests on the types that hardly
    occur, and on extrapolation.
    """
    matrices = [as_csr(d) for d in domains]
    for m in matrices:
        same_columns(matrices[0], m, rows=False)
    samples = [sample(d) for d in domains]
    return _partitions(samples, _common(samples) if coverage is None else coverage)[q]


def thinned(domains: Sequence[Counts], seed: int = 0) -> list[sp.csr_array]:
    """Every domain with as many tokens as the smallest has, drawn without replacement; [problems, types] each.

    >>> [int(d.sum()) for d in thinned([[[3, 1], [2, 2]], [[5, 0]]])]
    [5, 5]
    """
    matrices = [as_csr(d) for d in domains]
    least = int(min(m.sum() for m in matrices))
    rng = np.random.default_rng(seed)
    for m in matrices:
        if m.sum() > least:
            m.data = rng.multivariate_hypergeometric(m.data.astype(np.int64), least, method="marginals").astype(float)
    return matrices


def diversity(
    domains: Mapping[str, Counts], *, coverage: float | None = None, level: float = 0.95, seed: int = 0
) -> list[Row]:
    """Rows (domain, measure, value, ci_low, ci_high, coverage, n) of each domain and of all, q = 0, 1, 2.

    domains: counts [problems, types] by name, the columns of all the same. hill_q: each domain at the common coverage
    (`hill.common_coverage`), on all of its tokens. alpha_q, beta_q, gamma_q, domain `all`: on domains thinned to equal
    size with this seed, at the coverage given or the highest common one. n: tokens; coverage: the one brought to.

    Intervals: jackknife over 25 groups of problems (or as many as there are problems), the coverage the same in every
    deletion. Of orders 0 and 1 the jackknife bias is taken off, which bursts of words within a problem need; of order 2
    not, where it would add more than it takes. So beta need not be gamma / alpha, and may lie a little outside 1 to N.

    >>> rng = np.random.default_rng(0)
    >>> rows = diversity({d: rng.poisson(1.0, (30, 20)) for d in ("math", "logic")})
    >>> next((r["domain"], round(r["value"], 2)) for r in rows if r["measure"] == "beta_2")
    ('all', 1.01)

    What it does not show: what `partition` and `hill.hill_at_coverage` do not. Topic words make domains distinct
    whatever the model: compare beta between models on the same problems.
    """
    matrices = {name: as_csr(d) for name, d in domains.items()}
    for m in matrices.values():
        same_columns(next(iter(matrices.values())), m, rows=False)
    rows: list[Row] = []
    common = common_coverage(list(matrices.values())) if coverage is None else coverage

    def single(samples: Sequence[Sample]) -> dict[str, float]:
        found = all_at_coverage(abundance(samples[0]), common, _REACH)
        return {f"hill_{q}": float(v) for q, v in zip(ORDERS, found, strict=True)}

    for name, m in matrices.items():
        measured = _jackknifed([m], single, level)
        rows += [{"domain": name, **row, "coverage": common, "n": int(m.sum())} for row in measured]
    if len(matrices) > 1:
        equal = thinned(list(matrices.values()), seed)
        joint = _common([sample(m) for m in equal]) if coverage is None else coverage

        def parts(samples: Sequence[Sample]) -> dict[str, float]:
            found = _partitions(samples, joint)
            return {f"{name}_{q}": getattr(p, name) for q, p in found.items() for name in ("alpha", "beta", "gamma")}

        n = int(sum(m.sum() for m in equal))
        rows += [{"domain": "all", **row, "coverage": joint, "n": n} for row in _jackknifed(equal, parts, level)]
    return rows


def _jackknifed(
    matrices: Sequence[sp.csr_array], measure: Callable[[Sequence[Sample]], dict[str, float]], level: float
) -> list[dict[str, Any]]:
    """Each measure of the domains, with its interval by groups of problems."""
    whole = [sample(m) for m in matrices]
    full = [np.flatnonzero(np.diff(m.indptr)) for m in matrices]
    groups = min([_GROUPS, *(len(f) for f in full)])
    deleted = []
    for g in range(groups):
        # From all domains at once: they stay equal in size, where a lone deletion would pass for a difference.
        left = [_without(s, m[f[g::groups]]) for s, m, f in zip(whole, matrices, full, strict=True)]
        deleted.append(measure(left))
    rows = []
    for name, value in measure(whole).items():
        found = jackknife(value, [np.array([d[name] for d in deleted])])
        estimate, low, high = found.interval(corrected=not name.endswith("2"), level=level)
        rows.append({"measure": name, "value": estimate, "ci_low": low, "ci_high": high})
    return rows


def _without(s: Sample, rows: sp.csr_array) -> Sample:
    lengths = np.asarray(rows.sum(1)).ravel()
    within, squares = float(rows.data @ rows.data), float(np.sum(lengths**2))
    return Sample(s.totals - column_sums(rows), s.within - within, s.lengths - squares)


def _common(samples: Sequence[Sample]) -> float:
    totals = [s.totals for s in samples]
    return common_coverage([np.sum(totals, axis=0), np.concatenate(totals)])


def _partitions(samples: Sequence[Sample], coverage: float) -> dict[int, Partition]:
    totals = [s.totals for s in samples]
    cells, pool = abundance(np.concatenate(totals)), abundance(np.sum(totals, axis=0))
    # Tokens of two domains agree in the pool alone; of one domain, in both. All domains weigh the same: weighed by
    # their tokens, the lengths that a deletion happens to take would move the value, which they cannot in the sample.
    n = len(samples)
    share = np.stack([t / max(t.sum(), 1) for t in totals]) / n
    own = sum(map(agreement, samples)) / n**2
    across = share.sum(0) @ share.sum(0) - (share * share).sum()
    alpha = all_at_coverage(cells._replace(agreement=float(own)), coverage, _REACH) / len(totals)
    gamma = all_at_coverage(pool._replace(agreement=float(own + across)), coverage, _REACH)
    parts = np.stack([alpha, gamma / alpha, gamma], axis=1).tolist()
    return {q: Partition(*part, coverage) for q, part in zip(ORDERS, parts, strict=True)}
