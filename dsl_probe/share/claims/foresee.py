"""Can errors be foreseen from the motifs of a chain of thought: correctness of held-out problems, by a linear model."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from dsl_probe.share.bootstrap import problem_weights
from dsl_probe.share.corpus import Corpus, trace_counts
from dsl_probe.share.means import Estimate

FOLDS = 5
BINS = 10
RESAMPLES = 1_000
SHUFFLES = 19
MOST_TRACES = 2_000
MOST_MOTIFS = 300
# Problems with a right, and with a wrong answer, below which nothing is fitted.
LEAST = 20
_STRENGTH = 0.01
# Length and domain are written ten times as large, so that the penalty weighs a hundredth: they are the baseline.
_FREE = 10.0


@dataclass(frozen=True)
class Foresight:
    """What `foresee` found; intervals by problem, n in problems.

    auroc: motifs, length and domain. baseline: length and domain alone. gain: auroc less baseline. ece, baseline_ece:
    expected calibration error of either. p: share of the shuffles, and of the data, with as high an auroc. null: mean
    auroc of the shuffles.
    """

    auroc: Estimate
    baseline: Estimate
    gain: Estimate
    ece: Estimate
    baseline_ece: Estimate
    null: float
    p: float
    traces: int
    motifs: int


def motif_counts(corpus: Corpus, rows: np.ndarray, min_problems: int) -> sparse.csr_matrix:
    """Counts [rows, motifs] of the motifs, format motifs apart, in at least `min_problems` problems of these traces.

    At most MOST_MOTIFS, those of most problems first: the choice does not look at who was right.
    """
    entry, motif, count = trace_counts(corpus, rows, corpus.units[rows].astype(np.int64))
    table = sparse.csr_matrix((count.astype(float), (entry, motif)), (len(rows), corpus.motifs.num_rows))
    _, problem = np.unique(corpus.problem[rows], return_inverse=True)
    held = sparse.csr_matrix((np.ones(len(entry)), (problem[entry], motif)), (problem.max() + 1, table.shape[1]))
    held.data[:] = 1
    problems = np.asarray(held.sum(0)).ravel() * ~corpus.motifs["format"].to_numpy()
    order = np.argsort(-problems, kind="stable")[:MOST_MOTIFS]
    return table[:, np.sort(order[problems[order] >= min_problems])]


def some_problems(problem: np.ndarray, seed: int) -> np.ndarray:
    """int64: positions of all traces of whole problems, drawn at random, MOST_TRACES at most.

    >>> some_problems(np.array([0, 1, 1]), 0).tolist()
    [0, 1, 2]
    """
    names, code, n = np.unique(problem, return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 21]).permutation(len(names))
    kept = np.zeros(len(names), bool)
    kept[order[np.cumsum(n[order]) <= MOST_TRACES]] = True
    return np.flatnonzero(kept[code])


def foresee(
    counts: sparse.csr_matrix,
    correct: np.ndarray,
    problem: np.ndarray,
    domain: np.ndarray,
    units: np.ndarray,
    seed: int = 0,
) -> Foresight | None:
    """How well a logistic regression tells right from wrong traces of problems that it was not fitted on.

    counts: [n, motifs]; correct: bool[n]; problem, domain: codes int[n]; units: int[n], length of each trace. Features:
    log(1 + count) of each motif, log(1 + units), and the domain. Folds are by problem. AUROC: share of pairs of a right
    and a wrong trace, both of one domain and one fold, that are ordered rightly (ties count half), so that an easy
    domain is no foresight; .5 is chance, 1 the most. ECE: mean distance of forecast and share right over ten equal bins
    of the forecasts, 0 to 1; its bootstrap interval lies too high, as noise in a bin is distance too. Intervals: 95 %
    percentile bootstrap over problems. p: the verdicts of whole problems are exchanged, within the domain and among
    problems of as many traces, and all is fitted again. None where fewer than LEAST problems were answered rightly, or
    wrongly, or no motif is left.

    What it does not show: that the motifs cause the errors, or that a person would foresee them; a motif may mark hard
    problems. The interval leaves out what another sample to fit on would change. Weak features are shrunk away: an
    AUROC of .5 is of this model and these motifs.
    """
    from threadpoolctl import threadpool_limits

    correct = np.asarray(correct, bool)
    problem, domain = (np.unique(x, return_inverse=True)[1] for x in (problem, domain))
    if counts.shape[1] == 0 or min(len(np.unique(problem[correct == side])) for side in (True, False)) < LEAST:
        return None
    plain = np.column_stack([np.log1p(units), np.eye(domain.max() + 1)[domain]])
    plain = _standard(plain) * _FREE
    full = np.column_stack([_standard(np.log1p(counts.toarray())), plain])
    fold = np.random.default_rng([seed, 22]).permutation(np.arange(problem.max() + 1) % FOLDS)[problem]
    stratum = domain * FOLDS + fold
    n = int(problem.max()) + 1
    weights = np.column_stack([np.ones(len(problem)), problem_weights(n, RESAMPLES, seed)[problem]])
    rng, null = np.random.default_rng([seed, 23]), []
    with threadpool_limits(1):  # many small fits: threads would wait for each other
        forecasts = [_forecasts(x, correct, fold) for x in (full, plain)]
        area = [aurocs(f, correct, stratum, weights) for f in forecasts]
        error = [calibration_errors(f, correct, weights) for f in forecasts]
        for _ in range(SHUFFLES):
            mixed = exchanged(correct, problem, domain, rng)
            null.append(aurocs(_forecasts(full, mixed, fold), mixed, stratum, weights[:, :1])[0])
    return Foresight(
        *(_estimate(x, n) for x in (area[0], area[1], area[0] - area[1], *error)),
        null=float(np.mean(null)),
        p=float((1 + np.sum(np.array(null) >= area[0][0])) / (1 + SHUFFLES)),
        traces=len(correct),
        motifs=counts.shape[1],
    )


def aurocs(forecast: np.ndarray, correct: np.ndarray, stratum: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64[k]: AUROC over pairs within a stratum, for each column of weights [n, k]; NaN where there is no pair.

    >>> aurocs(np.array([0.1, 0.9, 0.9]), np.array([False, True, False]), np.zeros(3), np.ones((3, 1))).tolist()
    [0.75]
    """
    won, pairs = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for s in np.unique(stratum):
        right, wrong = (np.flatnonzero((stratum == s) & (correct == side)) for side in (True, False))
        order = np.sign(forecast[right][:, None] - forecast[wrong][None, :]) / 2 + 0.5
        won += (weights[right] * (order @ weights[wrong])).sum(0)
        pairs += weights[right].sum(0) * weights[wrong].sum(0)
    return np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)


def calibration_errors(forecast: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64[k]: expected calibration error for each column of weights [n, k], over BINS bins of as many traces.

    >>> calibration_errors(np.full(4, 0.75), np.array([True, True, True, False]), np.ones((4, 1))).round(3).tolist()
    [0.375]
    """
    rank = np.argsort(np.argsort(forecast, kind="stable"), kind="stable")
    member = np.eye(BINS)[rank * BINS // len(forecast)]
    distance = np.abs(member.T @ (weights * (correct - forecast)[:, None])).sum(0)
    return distance / weights.sum(0)


def exchanged(correct: np.ndarray, problem: np.ndarray, domain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The verdicts with those of whole problems exchanged, among problems of one domain and of as many traces."""
    order = np.argsort(problem, kind="stable")
    n = np.bincount(problem)
    first = np.concatenate([[0], np.cumsum(n)[:-1]])
    kind = domain[order[first]] * (n.max() + 1) + n
    out = np.empty_like(correct)
    for k in np.unique(kind):
        here = np.flatnonzero(kind == k)
        places = order[first[here][:, None] + np.arange(n[here[0]])]
        out[places] = correct[places[rng.permutation(len(here))]]
    return out


def _standard(x: np.ndarray) -> np.ndarray:
    spread = x.std(0)
    return np.divide(x - x.mean(0), spread, out=np.zeros_like(x), where=spread > 0)


def _forecasts(x: np.ndarray, correct: np.ndarray, fold: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    out = np.empty(len(correct))
    for k in range(FOLDS):
        train = fold != k
        if len(np.unique(correct[train])) < 2:  # only where shuffled: twenty problems of either kind fill all folds
            out[~train] = correct[train].mean()
            continue
        model = LogisticRegression(C=_STRENGTH, max_iter=300, tol=1e-3).fit(x[train], correct[train])
        out[~train] = model.predict_proba(x[~train])[:, 1]
    return out


def _estimate(values: np.ndarray, n: int) -> Estimate:
    low, high = np.nanquantile(values[1:], (0.025, 0.975))
    return Estimate(float(values[0]), float(low), float(high), n)
