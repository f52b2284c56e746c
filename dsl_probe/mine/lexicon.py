"""The lexicon: motifs chosen so that naming them makes the text shorter, each with its variants; every trace parsed.

First motifs are taken greedily, the one that saves most bits next, grown to a consensus (variants.py); what it explains
is taken. Then, with all of them known, every document is parsed by the set of uses that saves most, a motif that does
not pay for itself is dropped, and so on until nothing changes.

Source of the criterion: two-part codes, Rissanen, Modeling by shortest data description (1978). Not shown: that a motif
means something, or that the author wrote it as one.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np

from dsl_probe.mine.align import WILD, Text, Uses, text_of
from dsl_probe.mine.repeats import Repeats
from dsl_probe.mine.select import MAYBE, SURE, in_excess
from dsl_probe.mine.suffixes import Index
from dsl_probe.mine.variants import generalised, grow, monotonous

_NAME = 12.0  # bits that a name is taken to cost before the uses of a motif are known
_STALE = 0.9


@dataclass(frozen=True)
class Entry:
    """A motif of the lexicon: pattern int32[m] (WILD: one to three units of any kind), its uses, bits that it saves,
    and the place of the seed that it grew from.
    """

    pattern: np.ndarray
    uses: Uses
    saved: float
    seed: int


def build(
    text: Text,
    found: Repeats,
    seeds: Sequence[int] | np.ndarray,
    accept: Callable[[Uses], bool],
    min_count: int,
    excess: np.ndarray | None = None,
) -> list[Entry]:
    """Entries in the order in which they were found, before the parse.

    seeds: rows of `found`, of two units or more. accept(uses): whether a motif is one; asked before and after it is
    generalised. min_count: fewest free uses of a seed in own documents. excess float[len(seeds)]: uses that are
    to be explained, where not all are (a reference has some, too); by default all.
    """
    index = text.index
    seeds = np.asarray(seeds, np.int64)
    first, length = index.sa[found.first[seeds]], found.length[seeds]
    ahead = np.concatenate([[0.0], np.cumsum(text.bits[index.symbols])])
    worth = np.maximum(ahead[first + length] - ahead[first] - _NAME, 0.1)
    share = np.ones(len(seeds)) if excess is None else excess / np.maximum(found.count[seeds], 1)
    queue = [(-float(g), i) for i, g in enumerate(worth * share * found.count[seeds])]
    heapq.heapify(queue)
    tried: set[bytes] = set()
    met: set[bytes] = set()
    entries: list[Entry] = []
    while queue:
        value, i = heapq.heappop(queue)
        row, width = seeds[i], int(length[i])
        at = _free(index.sa[found.first[row] : found.first[row] + found.count[row]], width, text.taken)
        at = at[text.own[index.doc_of[at]]]
        now = -float(len(at) * share[i] * worth[i])
        if len(at) < min_count:
            continue
        if now > _STALE * value:
            heapq.heappush(queue, (now, i))
            continue
        seed = index.symbols[at[0] : at[0] + width]
        if monotonous(seed):
            continue
        pattern, uses = grow(text, seed, np.sort(at), met)
        if pattern.tobytes() in tried or np.count_nonzero(pattern != WILD) < 2 or monotonous(pattern):
            continue
        tried.add(pattern.tobytes())
        if not accept(uses):
            continue
        pattern, uses = generalised(text, pattern, uses)
        saved = text.saved(pattern, uses)
        if saved > 0 and accept(uses):
            tried.add(pattern.tobytes())
            entries.append(Entry(pattern, uses, saved, i))
            _take(text.taken, uses.start[uses.free], uses.stop[uses.free])
    return entries


@numba.njit(cache=True, nogil=True)
def _free(at, width, taken):
    """The positions from which `width` units are not taken."""
    keep = np.ones(len(at), np.bool_)
    for i in range(len(at)):
        keep[i] = not taken[at[i] : at[i] + width].any()
    return at[keep]


@numba.njit(cache=True, nogil=True)
def _take(taken, start, stop):
    for i in range(len(start)):
        taken[start[i] : stop[i]] = True


def parse(text: Text, entries: Sequence[Entry], min_count: int, rounds: int = 20) -> list[Entry]:
    """The entries that pay for themselves when every document is parsed by the uses that save most; to a fixed point.

    The `free` uses of an entry are then those of the parse; no two of any entries overlap. Naming a motif costs
    log2(units / uses in the parse). Weighted interval scheduling, exact (Kleinberg and Tardos, Algorithm Design, 6.1).
    """
    if not entries:
        return []
    sizes = np.array([len(e.uses.start) for e in entries])
    owner = np.repeat(np.arange(len(entries)), sizes)
    start, stop, saved = (np.concatenate([getattr(e.uses, n) for e in entries]) for n in ("start", "stop", "saved"))
    order = np.lexsort((owner, start, stop))
    owner, start, stop, saved = owner[order], start[order], stop[order], saved[order].astype(np.float64)
    before = np.searchsorted(stop, start, side="right")
    own = text.own[text.index.doc_of[start]]
    count = np.array([np.count_nonzero(text.own_uses(e.uses)) for e in entries])
    alive = np.ones(len(entries), bool)
    cost = [text.bits[e.pattern[e.pattern != WILD]].sum() + np.log2(len(text.bits)) for e in entries]
    for _ in range(rounds):
        name = np.log2(len(text.index.symbols) / np.maximum(count, 1))
        gain = np.where(alive[owner], saved - name[owner], -1.0)
        chosen = _schedule(before, gain)
        now = np.bincount(owner[chosen & own], minlength=len(entries))
        total = np.bincount(owner[chosen & own], gain[chosen & own], minlength=len(entries)) - cost
        still = alive & (now >= min_count) & (total > 0)
        if np.array_equal(still, alive) and np.array_equal(now, count):
            break
        alive, count = still, now
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    parts = np.split(chosen[back], np.cumsum(sizes)[:-1])
    return [
        replace(e, uses=replace(e.uses, free=part), saved=float(bits))
        for e, part, bits, keep in zip(entries, parts, total, alive, strict=True)
        if keep
    ]


@numba.njit(cache=True, nogil=True)
def _schedule(before, gain):
    """Which intervals, sorted by end, are in the heaviest set without overlap. before: how many end before each."""
    n = len(gain)
    best = np.zeros(n + 1)
    for i in range(n):
        best[i + 1] = max(best[i], best[before[i]] + gain[i])
    chosen = np.zeros(n, np.bool_)
    i = n
    while i > 0:
        if best[i] == best[i - 1]:
            i -= 1
        else:
            chosen[i - 1] = True
            i = before[i - 1]
    return chosen


def supported(text: Text, problem: np.ndarray, min_traces: int, min_problems: int) -> Callable[[Uses], bool]:
    """Accept what stands in enough own documents and problems. problem int[n_docs]."""

    def accept(uses: Uses) -> bool:
        docs = np.unique(text.index.doc_of[uses.start[text.own_uses(uses)]])
        return len(docs) >= min_traces and len(np.unique(problem[docs])) >= min_problems

    return accept


def against_reference(
    index: Index,
    found: Repeats,
    own: np.ndarray,
    problem: np.ndarray,
    min_traces: int,
    min_problems: int,
    min_seed: int,
    barrier: np.ndarray | None = None,
) -> tuple[Text, list[Entry]]:
    """The lexicon of own documents that a reference lacks: motifs in excess of it, grown and parsed.

    found: repeats of own and reference documents together, with doc_label 0 for own, 1 for reference, and closed rows
    in `min_seed` own documents or more. own bool[n_docs]. barrier bool[n]: units that no motif may hold; default none.
    Not shown: that the excess is the model's doing and not the topic's; the reference should answer the same problems.
    """
    barrier = np.zeros(len(index.symbols), bool) if barrier is None else barrier
    free = np.repeat(own, np.diff(index.doc_starts))[~barrier]
    sizes = [float(np.count_nonzero(side)) for side in (free, ~free)]
    text = text_of(index, found, barrier, own)
    rows = np.flatnonzero(found.closed & (found.length >= 2))
    here, there = found.counts[rows].T
    spread = found.support[rows, 0] >= min_seed  # a loop repeats in one document
    maybe = spread & in_excess(here, there, *sizes, least=MAYBE)
    enough = supported(text, problem, min_traces, min_problems)

    def accept(uses: Uses) -> bool:
        mine = np.count_nonzero(text.own_uses(uses))
        there = np.count_nonzero(uses.free) - mine
        return bool(in_excess(np.array(mine), np.array(there), *sizes, least=SURE)) and enough(uses)

    expected = there[maybe] * sizes[0] / sizes[1]
    entries = build(text, found, rows[maybe], accept, min_seed, here[maybe] - expected)
    return text, parse(text, entries, min_traces)


def without_reference(
    index: Index,
    found: Repeats,
    seeds: np.ndarray,
    barrier: np.ndarray,
    problem: np.ndarray,
    min_traces: int,
    min_problems: int,
) -> tuple[Text, list[Entry]]:
    """The lexicon of all documents, grown from the repeats `seeds` and parsed; barrier bool[n]: units left out of it.

    Not shown: that a motif is a unit of a language. Seeds with a q (decoys.py) are beyond what pairs explain.
    """
    text = text_of(index, found, barrier, np.ones(index.n_docs, bool))
    accept = supported(text, problem, min_traces, min_problems)
    entries = build(text, found, seeds, accept, min_traces) if len(seeds) else []
    return text, parse(text, entries, min_traces)
