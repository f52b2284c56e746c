"""How texts open: their first units."""

import numpy as np

OPENER = 3  # units


def find_openers(
    ids: np.ndarray, usable: np.ndarray, doc: np.ndarray, texts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first `OPENER` usable units of each text: (texts that have so many, openers [k, 3], opener of each of those).

    ids, doc: of each unit, texts one after another; usable bool[n].

    >>> ids, doc = np.array([5, 6, 7, 5, 6, 7, 8, 9]), np.array([0, 0, 0, 1, 1, 1, 1, 2])
    >>> [a.tolist() for a in find_openers(ids, ids > 0, doc, 3)]
    [[0, 1], [[5, 6, 7]], [0, 0]]
    """
    at = np.flatnonzero(usable)
    first = np.searchsorted(doc[at], np.arange(texts))
    having = np.flatnonzero(np.bincount(doc[at], minlength=texts)[:texts] >= OPENER)
    starts = ids[at[first[having][:, None] + np.arange(OPENER)]].reshape(-1, OPENER)
    openers, which = np.unique(starts, axis=0, return_inverse=True)
    return having, openers, which.ravel()
