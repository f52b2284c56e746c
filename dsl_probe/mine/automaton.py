"""A probabilistic automaton of sequences: states that go on alike are one.

The sequences make a tree, whose states are merged as long as the description of states and sequences becomes shorter.
Those near the root, which are used most, come first; a state that is like no other stays one of its own (the red and
blue states of Lang, Pearlmutter and Price 1998; the criterion is a two-part code, Rissanen 1978, in place of the test
of Carrasco and Oncina 1994). What comes out is a deterministic automaton: a regular grammar.

Not shown: that the author has such states; a language that is not regular is approximated.
"""

import sys
from dataclasses import dataclass

import numba
import numpy as np

_TARGETS = 5.0  # bits that naming the state that an edge leads to is taken to cost
# Bits that a merger may cost at one pair of states, in naming what follows, and more for each edge: by chance it costs
# so many once in a million pairs (half of a chi-squared quantile, in bits).
_CHANCE, _CHANCE_EDGE = 16.0, 2.0
_LOOK = 200  # edges that are looked at where too few sequences come to a state for a test
_MOST = 128  # states; beyond, all that is left is merged into the one that it is most like
LEAST = 20  # sequences that must come to a state for it to stay one of its own


@dataclass(frozen=True)
class Automaton:
    """target int32[n_states, n_symbols]: where each symbol leads, -1 nowhere. It begins in state 0.

    count int64[n_states, n_symbols + 1]: uses of each edge by the sequences it was learnt from; in the last column, how
    often a sequence ended.
    """

    target: np.ndarray
    count: np.ndarray

    @property
    def n_symbols(self) -> int:
        """Symbols of the sequences."""
        return self.target.shape[1]

    def walk(self, documents: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """int32[len(documents) + n_docs]: the state before each symbol and at the end of each sequence; -1 after a
        symbol that leads nowhere."""
        nowhere = np.full((self.n_symbols, self.n_symbols), -1, np.int32)
        return follow(self.target, documents.astype(np.int32), bounds, nowhere)

    def accepts(self, documents: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """bool[n_docs]: whether a sequence is one that can be."""
        last = self.walk(documents, bounds)[bounds[1:] + np.arange(1, len(bounds)) - 1]
        return (last >= 0) & (self.count[last, -1] > 0)


def learn(documents: np.ndarray, bounds: np.ndarray, n_symbols: int) -> Automaton:
    """The automaton of sequences. documents int[k]; bounds int64[n_docs + 1].

    >>> ab = np.array([0, 1, 1, 1, 0, 1, 1, 0, 1] * 50)
    >>> found = learn(ab, np.arange(0, 451, 9), 2)
    >>> bool(found.accepts(ab[:9], np.array([0, 9]))[0])
    True
    """
    target, count = _tree(documents.astype(np.int32), bounds, n_symbols)
    return _only(target, count, _merge(target, count))


def _only(target: np.ndarray, count: np.ndarray, states: np.ndarray) -> Automaton:
    place = np.full(len(target) + 1, -1, np.int32)
    place[states] = np.arange(len(states))
    return Automaton(place[target[states]], count[states])


def pruned(automaton: Automaton, least: int = 3, share: float = 0.005) -> Automaton:
    """The same without edges that are used fewer than `least` times, or by less than `share` of those in its state.

    Rare edges are slips of the author as often as rules. States that nothing leads to any more are left out.
    """
    total = automaton.count.sum(1, keepdims=True)
    keep = automaton.count >= np.maximum(least, share * total)
    count = np.where(keep, automaton.count, 0)
    target = np.where(keep[:, :-1], automaton.target, -1)
    reached, todo = {0}, [0]
    while todo:
        for state in target[todo.pop()].tolist():
            if state >= 0 and state not in reached:
                reached.add(state)
                todo.append(state)
    found = _only(target, count, np.array(sorted(reached)))
    return _only(*_joined(found.target, found.count))


def sample(
    automaton: Automaton, n: int, seed: int, shortest: int = 0, longest: int = 2_000, tries: int = 1_000
) -> list[list[int]]:
    """n sequences drawn from an automaton, of `shortest` to `longest` symbols; fewer than n after `tries` for each.

    Merging states forgets how often a loop was gone through; the lengths that were seen bound it.
    """
    rng = np.random.default_rng([seed, 7])
    ahead = np.cumsum(automaton.count, 1)
    drawn: list[list[int]] = []
    for _ in range(n * tries):
        if len(drawn) == n:
            break
        state, symbols = 0, []
        while len(symbols) <= longest and ahead[state, -1] > 0:
            symbol = int(np.searchsorted(ahead[state], rng.random() * ahead[state, -1], "right"))
            if symbol == automaton.n_symbols:
                break
            symbols.append(symbol)
            state = int(automaton.target[state, symbol])
        if shortest <= len(symbols) <= longest:
            drawn.append(symbols)
    return drawn


@numba.njit(cache=True)
def follow(target, documents, bounds, resume):
    """int32[len(documents) + n_docs]: as Automaton.walk, but text that has left the automaton goes on from
    resume[symbol before, symbol], where that is not -1."""
    out = np.empty(len(documents) + len(bounds) - 1, np.int32)
    k = 0
    for d in range(len(bounds) - 1):
        state, previous = 0, 0
        for i in range(bounds[d], bounds[d + 1]):
            out[k] = state
            k += 1
            symbol = documents[i]
            state = target[state, symbol] if state >= 0 else -1
            if state < 0:
                state = resume[previous, symbol]
            previous = symbol
        out[k] = state
        k += 1
    return out


@numba.njit(cache=True)
def _tree(documents, bounds, n_symbols):
    """The tree of all beginnings."""
    target = np.full((len(documents) + 1, n_symbols), -1, np.int32)
    count = np.zeros((len(documents) + 1, n_symbols + 1), np.int64)
    n = 1
    for d in range(len(bounds) - 1):
        state = 0
        for i in range(bounds[d], bounds[d + 1]):
            symbol = documents[i]
            count[state, symbol] += 1
            if target[state, symbol] < 0:
                target[state, symbol] = n
                n += 1
            state = target[state, symbol]
        count[state, n_symbols] += 1
    return target[:n], count[:n]


@numba.njit(inline="always")
def _bits(counts, cell):
    """Bits of what follows a state, and of writing the state down."""
    n, bits, edges = 0, 0.0, 0
    for c in counts:
        if c > 0:
            n += c
            edges += 1
            bits -= c * np.log2(c)
    return bits + (n * np.log2(n) if n else 0.0) + edges * (0.5 * np.log2(n + 1) + cell)


@numba.njit(inline="always")
def _loss(one, other):
    """Bits by which two states are told apart beyond what chance would give."""
    n, m, loss, edges = 0, 0, 0.0, 0
    for a in range(len(one)):
        x, y = one[a], other[a]
        n, m, edges = n + x, m + y, edges + (x + y > 0)
        loss -= (x + y) * np.log2(x + y) if x + y else 0.0
        loss += (x * np.log2(x) if x else 0.0) + (y * np.log2(y) if y else 0.0)
    if n == 0 or m == 0:
        return -1.0
    return loss + (n + m) * np.log2(n + m) - n * np.log2(n) - m * np.log2(m) - _CHANCE - _CHANCE_EDGE * edges


@numba.njit(cache=True)
def _merge(target, count):
    """Merges states in place; which are left."""
    n, n_symbols = target.shape
    cell = np.log2(n_symbols + 1) + _TARGETS
    red = np.empty(n, np.int32)
    red[0] = 0
    n_red = 1
    is_red = np.zeros(n, np.bool_)
    is_red[0] = True
    log = np.empty((1024, 4), np.int64)
    stack = np.empty((1024, 2), np.int32)
    while True:
        # the blue state that most sequences come to
        parent, symbol, most = -1, -1, 0
        for i in range(n_red):
            for a in range(n_symbols):
                t = target[red[i], a]
                if t >= 0 and not is_red[t] and count[red[i], a] > most:
                    parent, symbol, most = red[i], a, count[red[i], a]
        if parent < 0:
            return red[:n_red].copy()
        blue = target[parent, symbol]
        best, chosen = np.inf, -1
        for i in range(n_red):
            where = parent, symbol, red[i], blue
            tested = most >= LEAST and n_red < _MOST
            entries = sys.maxsize if tested else _LOOK
            log, stack, used, change = _fold(target, count, where, cell, tested, entries, log, stack)
            _undo(target, count, log, used)
            if change < best:
                best, chosen = change, red[i]
        if chosen >= 0:
            log, stack, _, _ = _fold(
                target, count, (parent, symbol, chosen, blue), cell, False, sys.maxsize, log, stack
            )
        else:
            red[n_red] = blue
            is_red[blue] = True
            n_red += 1


@numba.njit(cache=True)
def _fold(target, count, where, cell, tested, most, log, stack):
    """Merge a blue state and all below it, as far as no pair of states is told apart, where that is tested.

    where: (parent, symbol, state to merge into, blue state). most: edges after which it is enough. Returns log, stack,
    entries of the log, and the change of the description in bits (infinite where states are told apart).
    """
    parent, symbol, into, blue = where
    change = 0.0
    last = target.shape[1]
    _note(log, 0, target, count, parent, symbol)
    used = 1
    target[parent, symbol] = into
    stack[0, 0], stack[0, 1] = into, blue
    depth = 1
    while depth and used < most:
        depth -= 1
        r, b = stack[depth, 0], stack[depth, 1]
        if tested and _loss(count[r], count[b]) > 0:
            return log, stack, used, np.inf
        change -= _bits(count[r], cell) + _bits(count[b], cell)
        for a in range(last + 1):
            c = count[b, a]
            if c == 0:
                continue
            if used == len(log):
                log = np.concatenate((log, np.empty_like(log)))
            _note(log, used, target, count, r, a)
            used += 1
            count[r, a] += c
            if a == last:
                continue
            if target[r, a] < 0:
                target[r, a] = target[b, a]
            else:
                if depth == len(stack):
                    stack = np.concatenate((stack, np.empty_like(stack)))
                stack[depth, 0], stack[depth, 1] = target[r, a], target[b, a]
                depth += 1
        change += _bits(count[r], cell)
    return log, stack, used, change


@numba.njit(inline="always")
def _note(log, at, target, count, state, symbol):
    log[at, 0], log[at, 1], log[at, 3] = state, symbol, count[state, symbol]
    log[at, 2] = target[state, symbol] if symbol < target.shape[1] else -1


@numba.njit(cache=True)
def _undo(target, count, log, used):
    last = target.shape[1]
    for i in range(used - 1, -1, -1):
        state, symbol, old, uses = log[i, 0], log[i, 1], log[i, 2], log[i, 3]
        count[state, symbol] = uses
        if symbol < last:
            target[state, symbol] = old


@numba.njit(cache=True)
def _joined(target, count):
    """Join any two states where that makes the whole description shorter: (target, count, states left)."""
    n, n_symbols = target.shape
    target, count = target.copy(), count.copy()
    cell = np.log2(n_symbols + 1) + _TARGETS
    alive = np.ones(n, np.bool_)
    owner = np.arange(n)
    log = np.empty((1024, 4), np.int64)
    again = True
    while again:
        again = False
        order = np.argsort(-count.sum(1))
        for i in range(n):
            for j in range(i + 1, n):
                x, y = order[i], order[j]
                if not (alive[x] and alive[y]):
                    continue
                log, used, gone, change = _join(target, count, owner, x, y, cell, log)
                if change < 0:
                    again = True
                    for b in gone:
                        alive[b] = False
                    _lead_to_owners(target, owner)
                else:
                    _undo(target, count, log, used)
                for b in gone:
                    owner[b] = b
    return target, count, np.flatnonzero(alive)


@numba.njit(cache=True)
def _join(target, count, owner, x, y, cell, log):
    """Make two states one, and those that they then both lead to, in place. owner: of each state the one that it is now
    part of. Returns log, entries of the log, states that are part of others, and the change of the description in bits.
    """
    last = target.shape[1]
    stack, gone = [(x, y)], [x for _ in range(0)]
    change, used = 0.0, 0
    while len(stack):
        a, b = stack.pop()
        while owner[a] != a:
            a = owner[a]
        while owner[b] != b:
            b = owner[b]
        if a == b:
            continue
        if b == 0:
            a, b = b, a
        owner[b] = a
        gone.append(b)
        change -= _bits(count[a], cell) + _bits(count[b], cell)
        for s in range(last + 1):
            if count[b, s] == 0:
                continue
            if used == len(log):
                log = np.concatenate((log, np.empty_like(log)))
            _note(log, used, target, count, a, s)
            used += 1
            count[a, s] += count[b, s]
            if s == last:
                continue
            if target[a, s] < 0:
                target[a, s] = target[b, s]
            else:
                stack.append((target[a, s], target[b, s]))
        change += _bits(count[a], cell)
    return log, used, gone, change


@numba.njit(cache=True)
def _lead_to_owners(target, owner):
    for a in range(target.shape[0]):
        for s in range(target.shape[1]):
            t = target[a, s]
            while t >= 0 and owner[t] != t:
                t = owner[t]
            target[a, s] = t
