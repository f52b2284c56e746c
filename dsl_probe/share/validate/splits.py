"""One model's traces in two halves that differ in nothing, or in length: what a comparison must not find."""

from dataclasses import replace

import numpy as np

from dsl_probe.share.corpus import Corpus

LEAST_SHARE = 0.25  # of its length that a cut trace keeps
Sides = tuple[np.ndarray, np.ndarray]


def split_within(rows: np.ndarray, problem: np.ndarray, rng: np.random.Generator) -> Sides:
    """Each problem's samples at random to both sides, as many to each; of an odd number one is left out.

    rows int64[k]: traces; problem int[n_traces]: code of each trace's problem. Returns the rows of A and of B,
    ascending. A problem with one sample is left out.

    >>> a, b = split_within(np.arange(5), np.array([0, 0, 1, 1, 2]), np.random.default_rng(0))
    >>> len(a), len(b), sorted({*a.tolist(), *b.tolist()})
    (2, 2, [0, 1, 2, 3])
    """
    order = rng.permutation(rows)
    order = order[np.argsort(problem[order], kind="stable")]
    place = np.arange(len(order)) - np.searchsorted(problem[order], problem[order])
    half = np.bincount(problem[order])[problem[order]] // 2
    return np.sort(order[place < half]), np.sort(order[(place >= half) & (place < 2 * half)])


def split_problems(rows: np.ndarray, problem: np.ndarray, rng: np.random.Generator) -> Sides:
    """Whole problems at random to either side, half of all problems to each. Arguments as in `split_within`.

    >>> a, b = split_problems(np.arange(4), np.array([0, 0, 1, 1]), np.random.default_rng(0))
    >>> sorted([a.tolist(), b.tolist()])
    [[0, 1], [2, 3]]
    """
    side = rng.permutation(problem.max() + 1) % 2 == 0
    return rows[side[problem[rows]]], rows[~side[problem[rows]]]


def split_leading(
    rows: np.ndarray, problem: np.ndarray, lead: np.ndarray, paired: bool, rng: np.random.Generator
) -> Sides:
    """A random split in which some traces, at most one a problem, go to A.

    lead int64[j]: traces. `paired`: samples within problems, as in `split_within`; else whole problems, half of all to
    each side where the leading ones are no more than that. All others fall as the lot has it.

    >>> a, b = split_leading(np.arange(4), np.array([0, 0, 1, 1]), np.array([1, 2]), True, np.random.default_rng(0))
    >>> a.tolist(), b.tolist()
    ([1, 2], [0, 3])
    """
    if not paired:
        side = np.zeros(int(problem.max()) + 1, bool)
        side[problem[lead]] = True
        others = rng.permutation(np.setdiff1d(problem[rows], problem[lead]))
        side[others[: max((len(others) - len(lead)) // 2, 0)]] = True
        return rows[side[problem[rows]]], rows[~side[problem[rows]]]
    follows = np.ones(len(problem), bool)
    follows[lead] = False
    order = rng.permutation(rows)
    order = order[np.lexsort((follows[order], problem[order]))]
    place = np.arange(len(order)) - np.searchsorted(problem[order], problem[order])
    half = np.bincount(problem[order])[problem[order]] // 2
    used = place < 2 * half
    return np.sort(order[used & (place < half)]), np.sort(order[used & (place >= half)])


def split_by_length(rows: np.ndarray, problem: np.ndarray, units: np.ndarray, rng: np.random.Generator) -> Sides:
    """Of two random samples of each problem the longer to A, the shorter to B; the lot decides where they are equal.

    units int[n_traces]: length of each trace. The sides differ in more than length: a long trace is another text.

    >>> a, b = split_by_length(np.arange(4), np.array([0, 0, 1, 1]), np.array([5, 9, 7, 3]), np.random.default_rng(0))
    >>> a.tolist(), b.tolist()
    ([1, 2], [0, 3])
    """
    order = rng.permutation(rows)
    order = order[np.argsort(problem[order], kind="stable")]
    place = np.arange(len(order)) - np.searchsorted(problem[order], problem[order])
    two = order[(place < 2) & (np.bincount(problem[order])[problem[order]] >= 2)].reshape(-1, 2)
    longer = np.argmax(units[two], axis=1)
    each = np.arange(len(two))
    return np.sort(two[each, longer]), np.sort(two[each, 1 - longer])


def only(corpus: Corpus, rows: np.ndarray) -> Corpus:
    """A corpus that knows the occurrences in these traces alone: the same tests, sooner."""
    mine = np.zeros(corpus.traces.num_rows, bool)
    mine[rows] = True
    return _keep_occurrences(corpus, mine[corpus.trace])


def shortened(corpus: Corpus, keep: np.ndarray) -> Corpus:
    """A corpus whose trace i ends after its first keep[i] counted units; int64[n_traces]. Motifs stay as mined."""
    lengths = np.diff(corpus.bounds)
    first = corpus.counted[corpus.bounds[:-1]]
    # Counted units of its trace up to and with each unit.
    read = corpus.counted[1:] - np.repeat(first, lengths)
    counted = np.zeros_like(corpus.counted)
    np.cumsum(np.diff(corpus.counted) * (read <= np.repeat(keep, lengths)), out=counted[1:])
    stop = corpus.bounds[corpus.trace] + corpus.stop
    inside = corpus.counted[stop] - first[corpus.trace] <= keep[corpus.trace]
    return replace(_keep_occurrences(corpus, inside), counted=counted)


def cut_side(corpus: Corpus, sides: Sides, rng: np.random.Generator) -> Corpus:
    """The corpus with B's traces cut at random, A's left whole.

    Where both sides hold a problem, B's traces of it keep so much that together they have a share, uniform in .25 .. 1,
    of the units of the shorter side. Then both sides, brought to equal units, are the beginnings of what was
    exchangeable, of one length, and the null is exact (up to the rounding of lengths where a side has several samples).
    Of its own length it would not be: where A's whole trace is the shorter one it would bring its ending, which B's
    never has. Where one side alone holds a problem each trace keeps such a share of its own length: no exact null.
    """
    problems = int(corpus.problem.max()) + 1
    total = np.stack([np.bincount(corpus.problem[side], corpus.units[side], problems) for side in sides])
    share = rng.uniform(LEAST_SHARE, 1, problems)
    both = total.min(0) > 0
    share[both] *= total.min(0)[both] / total[1][both]
    keep = corpus.units.astype(np.int64)
    keep[sides[1]] = np.floor(keep[sides[1]] * share[corpus.problem[sides[1]]])
    return shortened(corpus, keep)


def _keep_occurrences(corpus: Corpus, keep: np.ndarray) -> Corpus:
    columns = {name: getattr(corpus, name)[keep] for name in ("motif", "trace", "start", "stop")}
    return replace(corpus, **columns)
