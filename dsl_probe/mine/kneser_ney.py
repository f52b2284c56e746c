"""What comes next, given what came before: interpolated Kneser-Ney with three discounts, over contexts of any kind.

A context is a row of columns, the most telling first; each level of the model knows one column more, and backs off to
the level that knows one less. With the units before, the nearest first, that is the usual n-gram model.

Source: Chen and Goodman, An empirical study of smoothing techniques for language modeling (1998), section 3; Kneser and
Ney (1995). Not shown: anything that reaches further back than the columns.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Level:
    """One level: contexts by key, what follows them by key, what is left of each count, and the share backed off."""

    contexts: np.ndarray  # sorted keys (context of the level above * radix + column)
    pairs: np.ndarray  # sorted keys (context * n + symbol)
    kept: np.ndarray  # discounted count / total of the context
    masses: np.ndarray  # sorted keys (context * n_categories + category)
    mass: np.ndarray
    back: np.ndarray  # of each context


@dataclass(frozen=True)
class NextUnit:
    """A fitted model of `n` symbols; category int[n] of each, whose shares it also knows."""

    n: int
    category: np.ndarray
    radix: tuple[int, ...]
    levels: tuple[_Level, ...]

    @property
    def parameters(self) -> int:
        """Numbers that were counted: one a context and symbol that follows it, on every level."""
        return sum(len(level.pairs) for level in self.levels)

    def __call__(self, symbols: np.ndarray, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each symbol in its context, and of its category: float64[k] each.

        symbols int[k]; contexts int[k, columns].
        """
        kinds = self.category[symbols]
        groups = int(self.category.max()) + 1
        p = np.full(len(symbols), 1 / self.n)
        share = (np.bincount(self.category, minlength=groups) / self.n)[kinds]
        known = np.zeros(len(symbols), np.int64)
        for j, level in enumerate(self.levels):
            if j:
                column, radix = contexts[:, j - 1], self.radix[j - 1]
                known = np.where((known < 0) | (column >= radix), -1, known * radix + column)
                known = _find(level.contexts, known)
            seen = known >= 0
            back = np.where(seen, level.back[np.maximum(known, 0)], 1.0)
            p = back * p + _values(level.pairs, level.kept, np.where(seen, known * self.n + symbols, -1))
            share = back * share + _values(level.masses, level.mass, np.where(seen, known * groups + kinds, -1))
        return p, share


def fit(symbols: np.ndarray, contexts: np.ndarray, n: int, category: np.ndarray | None = None) -> NextUnit:
    """Fit to symbols int[k] (0 to n - 1) in contexts int[k, columns], columns from 0.

    >>> text = np.array([0, 1] * 50)
    >>> model = fit(text[1:], text[:-1, None], 2)
    >>> [round(float(p), 3) for p in model(np.array([0, 1]), np.array([[0], [0]]))[0]]
    [0.005, 0.995]
    """
    category = np.zeros(n, np.int64) if category is None else np.asarray(category, np.int64)
    radix = tuple(int(c) + 1 for c in contexts.max(0, initial=0))
    ids = [np.zeros(len(symbols), np.int64)]
    keys = [np.zeros(1, np.int64)]
    for j, size in enumerate(radix):
        level, code = np.unique(ids[-1] * size + contexts[:, j], return_inverse=True)
        keys.append(level)
        ids.append(code)
    levels = []
    for j in range(len(ids)):
        pair, first, count = np.unique(ids[j] * n + symbols, return_index=True, return_counts=True)
        if j + 1 < len(ids):
            # How many contexts of the next level a symbol follows, not how often it does.
            _, one = np.unique(ids[j + 1] * n + symbols, return_index=True)
            count = np.bincount(np.searchsorted(pair, ids[j][one] * n + symbols[one]), minlength=len(pair))
        levels.append(_level(keys[j], pair, ids[j][first], symbols[first], count, n, category))
    return NextUnit(n, category, radix, tuple(levels))


def _level(contexts, pair, context, symbol, count, n, category) -> _Level:
    # count of counts; each discount is what a count of 1, 2, 3 or more overstates on average
    of = np.bincount(np.minimum(count, 5), minlength=6)[:5].astype(float)
    y = of[1] / (of[1] + 2 * of[2]) if of[1] else 0.5
    discount = np.array([0.0, *((k - (k + 1) * y * of[k + 1] / of[k]) if of[k] else y for k in (1, 2, 3))])
    discount = np.clip(discount, 0.05, [0.05, 0.95, 1.95, 2.95])
    less = discount[np.minimum(count, 3)]
    total = np.bincount(context, count, len(contexts))
    back = np.bincount(context, less, len(contexts)) / total
    kept = (count - less) / total[context]
    groups = int(category.max()) + 1
    masses, code = np.unique(context * groups + category[symbol], return_inverse=True)
    return _Level(contexts, pair, kept, masses, np.bincount(code, kept), back)


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Place of each wanted key, -1 where there is none."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def _values(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    at = _find(keys, wanted)
    return np.where(at >= 0, values[np.maximum(at, 0)], 0.0)


def before(symbols: np.ndarray, bounds: np.ndarray, columns: int, edge: int) -> np.ndarray:
    """int64[k, columns]: the symbols before each in its document, the nearest first; `edge` where there is none."""
    place = np.arange(len(symbols)) - np.repeat(bounds[:-1], np.diff(bounds))
    out = np.full((len(symbols), columns), edge, np.int64)
    for j in range(1, columns + 1):
        inside = place >= j
        out[inside, j - 1] = symbols[np.flatnonzero(inside) - j]
    return out
