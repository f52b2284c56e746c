"""Which units of a trace are copied from its prompt, forced, or a matter of format: they are not counted."""

import numpy as np
from numba import njit

from dsl_probe.mine.segment import Segmented
from dsl_probe.types import ECHO, FORMAT, PREFIX


def flag_units(
    units: Segmented, prompts: Segmented, asked: np.ndarray, prefixes: list[int], echo_min: int
) -> np.ndarray:
    """Flags uint8[n_units] of each text's units: ECHO, PREFIX, FORMAT or 0.

    An echo is a span of `echo_min` or more units that stands in the trace's own prompt, or a block of data that does.
    `units` and `prompts` share one vocabulary; asked: int[n_texts], which prompt each text answers; prefixes: length
    in characters of the opening that was forced.
    What this does not show: an echo that is shorter, reworded or of another text.
    """
    kinds = np.array(units.kinds, object)
    flags = np.where((kinds == "format")[units.ids], FORMAT, 0).astype(np.uint8)
    echo = echoes(units.ids, units.bounds, prompts.ids, prompts.bounds, asked, echo_min, kinds == "data")
    flags |= np.where(echo, ECHO, 0).astype(np.uint8)
    forced = np.repeat(np.array(prefixes, np.int64), np.diff(units.bounds))
    flags |= np.where((forced > 0) & (units.stops <= forced), PREFIX, 0).astype(np.uint8)
    return flags


def echoes(
    ids: np.ndarray,
    bounds: np.ndarray,
    prompt_ids: np.ndarray,
    prompt_bounds: np.ndarray,
    asked: np.ndarray,
    least: int,
    alone: np.ndarray,
) -> np.ndarray:
    """bool[n_units]: the unit lies in a span of `least` or more units that its text's prompt holds too.

    Units in `alone`, bool[n_vocabulary], are echoes by themselves. Exact: the runs of `least` units of each prompt that
    is asked stand once in a table by their rolling hash, and are compared unit by unit where hashes meet. Expected time
    linear in texts and prompts.

    >>> e = echoes(np.array([9, 1, 2, 3, 1]), [0, 5], np.array([1, 2, 3]), [0, 3], [0], 2, np.zeros(10, bool))
    >>> e.tolist()
    [False, True, True, True, False]
    """
    asked = np.asarray(asked, np.int64)
    order = np.argsort(asked, kind="stable")
    sides = (np.asarray(a, t) for a, t in ((ids, np.int32), (bounds, np.int64), (prompt_ids, np.int32)))
    return _echoes(*sides, np.asarray(prompt_bounds, np.int64), asked, order, least, np.asarray(alone, bool))


_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _echoes(ids, bounds, prompts, prompt_bounds, asked, order, k, alone):  # pragma: no cover
    echo = np.zeros(len(ids), np.bool_)
    longest = np.int64(0)
    for p in range(len(prompt_bounds) - 1):
        longest = max(longest, prompt_bounds[p + 1] - prompt_bounds[p])
    bits = 4
    while (1 << bits) < 2 * longest:
        bits += 1
    # A slot holds the place of a run in the prompt; it is empty unless its owner is the present prompt.
    room = 1 << bits
    table, owner, hashes = np.empty(room, np.int64), np.full(room, -1, np.int64), np.empty(room, np.uint64)
    seen_in = np.full(len(alone), -1, np.int64)
    top = np.uint64(1)
    for _ in range(k - 1):
        top *= _FACTOR
    present, size = np.int64(-1), np.int64(4)
    for t in order:
        low, high, prompt = bounds[t], bounds[t + 1], asked[t]
        a, b = prompt_bounds[prompt], prompt_bounds[prompt + 1]
        if low == high or a == b:
            continue
        if prompt != present:
            present, size = prompt, np.int64(4)
            while (1 << size) < 2 * (b - a):
                size += 1
            _fill(prompts, a, b, k, top, prompt, table, owner, hashes, size, alone, seen_in)
        marked, at, value = low, np.int64(-1), np.uint64(0)
        for i in range(low, high):
            if alone[ids[i]] and seen_in[ids[i]] == prompt:
                echo[i] = True
            value = _roll(ids, low, i, k, top, value)
            if i - low + 1 < k:
                continue
            # The run that ends here most often goes on where the last one stood.
            if at >= 0 and at + k < b and ids[i] == prompts[at + k]:
                at += 1
            else:
                at = _look_up(ids, i - k + 1, prompts, k, value, prompt, table, owner, hashes, size)
            if at >= 0:
                for j in range(max(marked, i - k + 1), i + 1):
                    echo[j] = True
                marked = i + 1
    return echo


@njit(inline="always")
def _roll(ids, low, i, k, top, value):  # pragma: no cover
    if i - low >= k:
        value -= top * np.uint64(ids[i - k] + 1)
    return value * _FACTOR + np.uint64(ids[i] + 1)


@njit(inline="always")
def _slot(value, size):  # pragma: no cover
    value ^= value >> np.uint64(31)
    return np.int64((value * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(64 - size))


@njit(cache=True, nogil=True)
def _look_up(ids, start, prompts, k, value, prompt, table, owner, hashes, size):  # pragma: no cover
    slot, mask = _slot(value, size), (np.int64(1) << size) - 1
    while owner[slot] == prompt:
        if hashes[slot] == value:
            place, j = table[slot], 0
            while j < k and ids[start + j] == prompts[place + j]:
                j += 1
            if j == k:
                return place
        slot = (slot + 1) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _fill(prompts, a, b, k, top, prompt, table, owner, hashes, size, alone, seen_in):  # pragma: no cover
    mask, value = (np.int64(1) << size) - 1, np.uint64(0)
    for i in range(a, b):
        if alone[prompts[i]]:
            seen_in[prompts[i]] = prompt
        value = _roll(prompts, a, i, k, top, value)
        start = i - k + 1
        if start < a or _look_up(prompts, start, prompts, k, value, prompt, table, owner, hashes, size) >= 0:
            continue
        slot = _slot(value, size)
        while owner[slot] == prompt:
            slot = (slot + 1) & mask
        table[slot], owner[slot], hashes[slot] = start, prompt, value
