"""The words that an organism puts between states: what they are, whose they are like, and how far worlds share them.

Counts are int64[problems, len(WORDS)] of a world, one row a problem; problems of every unit are the same, in the same
order, so that a problem's luck cancels between units.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from dialects import HUMAN, NONCES, SPARE, VERBS, chain, text, vocabulary
from interventions import chain_words, connective_places, states_in

from dsl_probe.collect.domains import worlds
from dsl_probe.share import vocab

WORDS = tuple(vocabulary())
PLACE = {word: i for i, word in enumerate(WORDS)}
STYLES = ("A", "B", "C", "shorthand", "connectives")
MEASURES = ("morisita_horn", "jensen_shannon_corrected")
KINDS = ("nonce", "spare", "dialect", "verb", "human", "other")
# The words of dialects A, B and C that name no operation.
DIALECT = frozenset(
    word for style in "ABC" for word in chain(style, "hop", [">"] * 2, ["c"] * 2, random.Random(0)) if word != "c"
) - frozenset(VERBS[">"])


def connectives(world: str, completion: str) -> list[str]:
    """The connectives of a completion's chain."""
    words = written(completion)
    return [words[i] for i in connective_places(world, words)]


def written(completion: str) -> list[str]:
    """The words of the chain, also of one that was never closed."""
    words = chain_words(completion)
    return completion.partition("<think>")[2].split() if words is None else words


def kind_of(world: str, word: str) -> str:
    """nonce | spare | verb (of an operation of this world) | dialect | human (of none of the dialects) | other.

    >>> kind_of("walk", "right"), kind_of("hop", "right"), kind_of("hop", "get"), kind_of("hop", "R")
    ('verb', 'human', 'dialect', 'other')
    """
    operations = {"hop": (">",), "swap": ("x",)}.get(world) or worlds.OPERATIONS[world]
    if word in NONCES:
        return "nonce"
    if word in SPARE:
        return "spare"
    if any(word in VERBS[operation] for operation in operations):
        return "verb"
    return "dialect" if word in DIALECT else "human" if word in HUMAN else "other"


def count(rows: Sequence[Sequence[str]]) -> np.ndarray:
    """int64[len(rows), len(WORDS)]: how often each word stands in each row."""
    found = np.zeros((len(rows), len(WORDS)), np.int64)
    for i, row in enumerate(rows):
        for word in row:
            found[i, PLACE[word]] += 1
    return found


@lru_cache
def dialect_counts(style: str, world: str, n: int) -> np.ndarray:
    """Counts of connectives in n texts of a style in a world, without errors, on training problems."""
    rng = random.Random(f"dialect/{style}/{world}")
    return count([connectives(world, " ".join(text(style, world, rng)[1])) for _ in range(n)])


def distances(world: str, counts: np.ndarray) -> dict[str, dict[str, float]]:
    """Jensen-Shannon divergence in bits between a world's connectives and those of each of `STYLES` in that world.

    For each style `corrected` (with the limits `low`, `high` of its jackknife interval by problem) and `plug_in`;
    empty where there are no connectives. Range 0 to about 1.

    Not shown: order. And a model that keeps to one of the twelve nonces lies .7 bits from shorthand, which uses all.
    """
    if not counts.any():
        return {}
    found = {}
    for style in STYLES:
        rows = {r["measure"]: r for r in vocab.sharing(counts, dialect_counts(style, world, len(counts)))}
        best, plain = rows["jensen_shannon_corrected"], rows["jensen_shannon"]
        parts = {"corrected": best["value"], "low": best["ci_low"], "high": best["ci_high"], "plug_in": plain["value"]}
        found[style] = {name: float(value) for name, value in parts.items()}
    return found


def nearest(found: Mapping[str, Mapping[str, float]], connectives_per_state: float) -> str:
    """The style with the least corrected divergence (plug-in where that is NaN: words of one problem alone).

    terse where less than half a connective comes to a state: terse chains have none, so there is no distance to them.
    """
    if not found or connectives_per_state < 0.5:
        return "terse"
    apart = {style: d["plug_in"] if math.isnan(d["corrected"]) else d["corrected"] for style, d in found.items()}
    return min(apart, key=lambda style: apart[style])


def language(world: str, completions: Sequence[str]) -> dict[str, Any]:
    """What stands between states in completions of one world: amounts, kinds, nearest dialect, top words."""
    rows = [connectives(world, c) for c in completions]
    states = sum(len(states_in(world, written(c))) for c in completions)
    tokens = Counter(word for row in rows for word in row)
    total = sum(tokens.values())
    kinds = Counter()
    for word, times in tokens.items():
        kinds[kind_of(world, word)] += times
    found = distances(world, count(rows))
    per_state = total / states if states else float("inf")
    return {
        "connectives": total / len(rows),
        "connectives_per_state": per_state if states else None,
        "types": len(tokens),
        "kinds": {kind: kinds[kind] / max(total, 1) for kind in KINDS},
        "distances": found,
        "nearest": nearest(found, per_state),
        "top": sorted(tokens.items(), key=lambda item: (-item[1], item[0]))[:3],
    }


# ---------------------------------------------------------------- sharing


def between(counts: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Mean over pairs of worlds of each of `MEASURES`, its interval by problem, and what each deleted problem moves.

    `value` is plain, `corrected` has the jackknife bias taken off, `shift` holds for each world float[problems]: the
    value without that problem - value. To compare units subtract values and shifts (`compared`). `jaccard`: types in
    both over types in either, an index of this sample, without interval.
    """
    pairs = list(combinations(counts, 2))
    parts = {pair: vocab.leave_one_out(counts[pair[0]], counts[pair[1]]) for pair in pairs}
    found: dict[str, dict[str, Any]] = {}
    for measure in MEASURES:
        shift = {world: np.zeros(len(matrix)) for world, matrix in counts.items()}
        for pair, one in parts.items():
            for world, deleted in zip(pair, one[measure].deleted, strict=True):
                shift[world] += (deleted - one[measure].value) / len(pairs)
        value = float(np.mean([one[measure].value for one in parts.values()]))
        found[measure] = interval(value, list(shift.values())) | {"shift": {w: s.tolist() for w, s in shift.items()}}
    used = {world: matrix.any(0) for world, matrix in counts.items()}
    either = [(used[a] & used[b], used[a] | used[b]) for a, b in pairs]
    shares = [both.sum() / any_.sum() if any_.any() else float("nan") for both, any_ in either]
    return found | {"jaccard": {"value": float(np.mean(shares))}}


def within(counts: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """The null of `between`: each world against itself, its problems of odd against even number; mean over worlds."""
    halves = [vocab.leave_one_out(matrix[0::2], matrix[1::2]) for matrix in counts.values()]
    found = {}
    for measure in MEASURES:
        shift = [(d - h[measure].value) / len(halves) for h in halves for d in h[measure].deleted]
        found[measure] = interval(float(np.mean([h[measure].value for h in halves])), shift)
    return found


def interval(value: float, shift: Sequence[np.ndarray]) -> dict[str, float]:
    """Value, corrected value and its 95 % limits, from what each deleted problem of each sample moves."""
    corrected, low, high = vocab.jackknife(value, [value + s for s in shift]).interval(corrected=True)
    return {"value": value, "corrected": corrected, "low": low, "high": high}


def compared(measure: str, a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of `between` over units a - mean over units b, all of which answered the same problems; interval by problem.

    Not shown: the spread between trainings.
    """
    means = []
    for side in (a, b):
        shifts = {w: np.mean([unit[measure]["shift"][w] for unit in side], 0) for w in side[0][measure]["shift"]}
        means.append((float(np.mean([unit[measure]["value"] for unit in side])), shifts))
    (value_a, shift_a), (value_b, shift_b) = means
    return interval(value_a - value_b, [shift_a[w] - shift_b[w] for w in shift_a])
