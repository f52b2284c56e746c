"""Discoveries under the stronger one: overlaps by brute force, and the cases that the rule was made for."""

import numpy as np

from dsl_probe.mine.uses import leftmost
from dsl_probe.share.clumps import _overlaps, clumps


def spans(rng, motifs, traces):
    found = []
    for m in range(motifs):
        for t in range(traces):
            start = rng.integers(0, 60, 5)
            for a, b in zip(*leftmost(start, start + rng.integers(1, 6)), strict=True):
                found.append((m, t, a, b))
    found = np.array(found, np.int64)
    return found[np.lexsort((found[:, 2], found[:, 1]))]


def test_overlaps_are_those_of_brute_force():
    found = spans(np.random.default_rng(0), 15, 20)
    rank, ends = np.arange(15), np.ones(15)  # all of one side and one size: the later under the earlier
    pair, times = _overlaps(*found.T, rank, ends > 0, ends, ends)
    want = {}
    for x in range(15):
        for y in range(x):
            others = found[found[:, 0] == y]
            own = found[found[:, 0] == x]
            n = sum(any(o[1] == u[1] and u[2] < o[3] and o[2] < u[3] for u in others) for o in own)
            if n:
                want[x * 15 + y] = n
    assert dict(zip(pair.tolist(), times.tolist(), strict=True)) == want


def put(*motifs):
    """Each motif as a list of (trace, start, stop)."""
    rows = [(m, *span) for m, where in enumerate(motifs) for span in where]
    return [np.array(column) for column in zip(*rows, strict=True)]


def test_a_part_and_an_extension_go_under_the_phrase_and_an_own_effect_does_not():
    phrase = [(t, 5, 8) for t in range(40)]
    part = [(t, 5, 6) for t in range(40)]
    longer = [(t, 4, 8) for t in range(15)]
    comma = [(t, s, s + 1) for t in range(40) for s in (1, 3, 9, 20)]
    wait = [(t, 8, 10) for t in range(40)]  # "wait ," holds a comma, and rose far more than commas did
    away = [(t, 30, 32) for t in range(40)]
    z = np.array([6.3, 6.3, 3.9, 9.0, 6.0, -8.0])
    near = np.array([2.0, 2.0, 1.5, 0.1, 2.0, -1.0])
    far = np.array([4.0, 4.0, 5.0, 0.3, 4.0, -2.0])
    head = clumps(*put(phrase, part, longer, comma, wait, away), z, np.array([3, 1, 4, 1, 2, 2]), near, far)
    assert head.tolist() == [-1, 0, 0, -1, -1, -1]


def test_the_other_side_never_accounts_for_a_motif():
    where = put([(0, 0, 2), (1, 0, 2)], [(0, 0, 1), (1, 0, 1)])
    ends = np.array([1.0, -1.0]), np.array([2.0, -2.0])
    assert clumps(*where, np.array([5.0, -4.0]), np.array([2, 1]), *ends).tolist() == [-1, -1]


def test_none_is_none():
    empty = np.zeros(0, np.int64)
    assert clumps(*[empty] * 4, np.zeros(0), empty, np.zeros(0), np.zeros(0)).tolist() == []
