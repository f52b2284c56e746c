"""What else could tell the label: the same fits on something that is not the model's state, or on other labels.

The controls of measures.md: bag of units so far, place and length, layer 0, a model with random weights, the base model
on the same text (these three are captures), a control task with a random label for each type of token (Hewitt and Liang
2019), and shuffled labels.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from dsl_probe.mine.segment import segment
from dsl_probe.probe.labels import Labels
from dsl_probe.probe.states import read_index
from dsl_probe.store import Run
from dsl_probe.types import UserError

MOST_UNITS = 512


def place_features(labels: Labels) -> np.ndarray:
    """float32[n, 5]: logs of characters read and of the text's length, share read, its square, whether none is read."""
    read, length = labels.read.astype(float), np.maximum(labels.length, 1).astype(float)
    share = read / length
    columns = [np.log1p(read), np.log1p(length), share, share**2, read == 0]
    return np.stack(columns, 1).astype(np.float32)


def bag_features(labels: Labels, texts: Mapping[int, str], most: int = MOST_UNITS) -> np.ndarray:
    """float32[n, m]: log(1 + count) of each unit in the text so far, for the m <= `most` units of most traces.

    texts: trace row -> text. A unit that the state has read in part is not counted.
    """
    rows = sorted(set(labels.trace_row.tolist()))
    units = segment([texts[row] for row in rows])
    held = Counter(u for t in range(len(rows)) for u in set(units.ids[units.bounds[t] : units.bounds[t + 1]].tolist()))
    chosen = [u for u, _ in sorted(held.items(), key=lambda item: (-item[1], units.texts[item[0]]))[:most]]
    code = np.full(len(units.texts), -1, np.int64)
    code[chosen] = np.arange(len(chosen))
    counts = np.zeros((len(labels), len(chosen)), np.float32)
    order = np.lexsort((labels.read, labels.trace_row))
    place = {row: t for t, row in enumerate(rows)}
    so_far, trace, at = np.zeros(len(chosen), np.float32), -1, 0
    for i in order:
        if labels.trace_row[i] != trace:
            trace = int(labels.trace_row[i])
            so_far = np.zeros(len(chosen), np.float32)
            at = int(units.bounds[place[trace]])
        end = int(units.bounds[place[trace]])
        end += int(np.searchsorted(units.stops[end : units.bounds[place[trace] + 1]], labels.read[i], "right"))
        seen = code[units.ids[at:end]]
        np.add.at(so_far, seen[seen >= 0], 1)
        at = max(at, end)
        counts[i] = so_far
    return np.log1p(counts)


def same_places(run: Run, acts: str, other: str, labels: Labels) -> np.ndarray:
    """int64[n], the rows of another capture of the same tokens at the places of these labels.

    Raises UserError where the other capture lacks a place.
    """
    keys = []
    for name in (acts, other):
        index = read_index(run, name)
        place = index["trace_row"].to_numpy().astype(np.int64) << 32 | index["position"].to_numpy()
        rows, first = np.unique(index["row"].to_numpy(), return_index=True)
        keys.append((rows, place[first]))
    (rows, mine), (others, theirs) = keys
    wanted = mine[np.searchsorted(rows, labels.rows)]
    order = np.argsort(theirs)
    at = np.minimum(np.searchsorted(theirs[order], wanted), len(theirs) - 1)
    missing = int((theirs[order][at] != wanted).sum())
    if missing:
        raise UserError(
            f"capture {other!r} lacks {missing:,} of the {len(labels):,} places of {acts!r} that a target asks about. "
            f"Make it with the same --at and --only, on the same traces."
        )
    return others[order][at]


def token_types(labels: Labels, texts: Mapping[int, str]) -> np.ndarray:
    """object[n]: the last unit that the state has read; "" at the beginning."""
    rows = sorted(set(labels.trace_row.tolist()))
    units = segment([texts[row] for row in rows])
    place = {row: t for t, row in enumerate(rows)}
    found = []
    for row, read in zip(labels.trace_row.tolist(), labels.read.tolist(), strict=True):
        start, stop = units.bounds[place[row]], units.bounds[place[row] + 1]
        last = int(np.searchsorted(units.stops[start:stop], read, "right")) - 1
        found.append(units.texts[units.ids[start + last]] if last >= 0 else "")
    return np.array(found, object)


def control_task(labels: Labels, types: np.ndarray, seed: int) -> np.ndarray:
    """int32[n], classes: each type of token gets one at random, drawn from how often the classes are.

    A probe that does as well on it has learnt what tokens are there, not what the model makes of them: selectivity is
    the accuracy of the probe less that on this task.
    """
    share = np.bincount(labels.of, minlength=len(labels.classes)) / len(labels)
    names, of = np.unique(types.astype(str), return_inverse=True)
    return np.random.default_rng(seed).choice(len(share), len(names), p=share)[of].astype(np.int32)


def shuffled(labels: Labels, seed: int) -> np.ndarray:
    """int32[n], the classes in random order."""
    return np.random.default_rng(seed).permutation(labels.of)
