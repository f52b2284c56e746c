"""Does a nonce word mean anything? Mutual information with the state before it, the operations and the step."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from dialects import NONCES, operation_word
from interventions import chain_words, states_in

from dsl_probe.collect.domains import worlds
from dsl_probe.types import Problem

LABELS = ("state", "operation", "next operation", "step")
LEAST = 50
Chain = Sequence[tuple[str, dict[str, str | None]]]


def events(
    problem: Problem, completion: str, words_of_interest: Container[str] = NONCES
) -> list[tuple[str, dict[str, str | None]]]:
    """(nonce, what it could mean) for each written state that has a nonce before the next; the first nonce counts.

    words_of_interest: other words that are looked at in place of nonces.

    The label "state" is the state as written; the operations are the true ones of that step and of the next (None after
    the last). States beyond the last operation are left out.
    """
    words = chain_words(completion)
    if words is None:
        return []
    world, _, operations = worlds.parse(problem.prompt)
    # For swap the two places are the operation: it has but one word.
    named = [operation if world == "swap" else operation_word(world, operation) for operation in operations]
    found = states_in(world, words)
    stops = [start for _, start, _ in found[1:]] + [len(words)]
    rows = []
    for step, ((state, _, start), stop) in enumerate(zip(found[: len(named)], stops, strict=False)):
        nonce = next((word for word in words[start:stop] if word in words_of_interest), None)
        if nonce:
            later = named[step + 1] if step + 1 < len(named) else None
            labels = {"state": state, "operation": named[step], "next operation": later, "step": str(step)}
            rows.append((nonce, labels))
    return rows


def mutual_information(x: np.ndarray, y: np.ndarray) -> float:
    """Plug-in mutual information in bits of two int arrays[n] with entries from 0.

    >>> mutual_information(np.array([0, 1, 0, 1]), np.array([0, 1, 0, 1]))
    1.0
    """
    table = np.bincount(x * (y.max() + 1) + y, minlength=(x.max() + 1) * (y.max() + 1)).reshape(x.max() + 1, -1)
    p = table / len(x)
    expected = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    full = p > 0
    return float((p[full] * np.log2(p[full] / expected[full])).sum())


def meanings(worlds_chains: Mapping[str, Sequence[Chain]], permutations: int = 499) -> dict[str, dict[str, Any]]:
    """Mutual information of the nonce with each of `LABELS` in each world, against permutation nulls.

    worlds_chains: world -> the events of each completion. Null for state and operations: the nonces of a completion, as
    a whole, are given to another of that world with nonces at the same steps, so that neither the step nor that a chain
    keeps to one nonce counts as meaning. Null for the step: the nonces are permuted within their completion.

    For each label `bits` (plug-in, biased upwards), `null` mean, `null_low`, `null_high` (its central 95 %), `excess`
    = bits - null mean, p = (1 + null >= bits) / (1 + permutations), and p_adj: the same of the largest of all labels
    and worlds, each studentised by its null (Westfall and Young's max-T, in a single step). `entropy` of the nonce in
    bits bounds them all. A world with less than `LEAST` nonces is empty; a label that never varies is left out.

    Not shown: meaning carried by two words together, or by a nonce's absence; nor that a reader makes use of it.
    """
    found: dict[str, dict[str, Any]] = {}
    studentised: dict[tuple[str, str], np.ndarray] = {}
    for seed, (world, chains) in enumerate(worlds_chains.items()):
        found[world] = {}
        rows = [row for chain in chains for row in chain]
        if len(rows) < LEAST:
            continue
        types = sorted({word for word, _ in rows})
        nonce = np.array([types.index(word) for word, _ in rows])
        shares = np.bincount(nonce)[np.bincount(nonce) > 0] / len(nonce)
        entropy = float((shares * np.log2(1 / shares)).sum())
        found[world] = {"n": len(rows), "types": len(shares), "entropy": entropy}
        exchanged, moved = _permuted(nonce, chains, permutations, seed)
        for label in LABELS:
            values = [labels[label] for _, labels in rows]
            told = np.array([value is not None for value in values])
            known = sorted({value for value in values if value is not None})
            if len(known) < 2:
                continue
            y = np.array([known.index(value) for value in values if value is not None])
            bits = mutual_information(nonce[told], y)
            null = np.array([mutual_information(x[told], y) for x in (moved if label == "step" else exchanged)])
            low, high = np.quantile(null, [0.025, 0.975])
            # Where nothing can move (one nonce for all) the null has no width but that of rounding.
            spread = max(float(null.std()), 1e-9)
            studentised[world, label] = (np.array([bits, *null]) - null.mean()) / spread
            found[world][label] = {
                "bits": bits,
                "null": float(null.mean()),
                "null_low": float(low),
                "null_high": float(high),
                "excess": bits - float(null.mean()),
                "p": (1 + int((null >= bits - 1e-12).sum())) / (1 + permutations),
            }
    largest = np.max([z[1:] for z in studentised.values()], 0) if studentised else np.empty(0)
    for (world, label), z in studentised.items():
        found[world][label]["p_adj"] = (1 + int((largest >= z[0] - 1e-9).sum())) / (1 + permutations)
    return found


def _permuted(
    nonce: np.ndarray, chains: Sequence[Chain], permutations: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The nonces exchanged between completions with nonces at the same steps; and permuted within completions."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *map(len, chains)])
    by_steps: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    for i, chain in enumerate(chains):
        by_steps[tuple(labels["step"] for _, labels in chain)].append(i)
    blocks = [np.stack([np.arange(starts[i], starts[i + 1]) for i in group]) for group in by_steps.values()]
    exchanged, moved = [], []
    for _ in range(permutations):
        whole, inside = nonce.copy(), nonce.copy()
        for block in blocks:
            whole[block] = nonce[block[rng.permutation(len(block))]]
            inside[block] = nonce[rng.permuted(block, axis=1)]
        exchanged.append(whole)
        moved.append(inside)
    return exchanged, moved
