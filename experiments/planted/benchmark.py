"""A planted language in a resampled background, what is found of it, and the score.

The background is an order-2 resample of the shipped traces, in words and slots; the reference is another of it, with
nothing planted. 300 operators of three to eight units, a quarter with a slot, a quarter universal, the others bound to
one of eight domains, each used 25 to 2,000 times.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.mine import segment as seg
from dsl_probe.mine.corpus import problem_codes
from dsl_probe.mine.slots import slot_forms
from dsl_probe.plant import SLOT, Operator, Planted, plant, random_operators, resample

DOCS, LENGTH, DOMAINS, OPERATORS, SAMPLES = 10_000, 300, 8, 300, 2
SUPPORT, PROBLEMS = 20, 10
SOFT = 0.6


@dataclass(frozen=True)
class Documents:
    """symbols int32[n]; bounds int64[n_docs + 1]; domain, problem int[n_docs]: codes from 0."""

    symbols: np.ndarray
    bounds: np.ndarray
    domain: np.ndarray
    problem: np.ndarray

    def some(self, rows: np.ndarray) -> "Documents":
        """The documents `rows`, in that order."""
        parts = [self.symbols[self.bounds[d] : self.bounds[d + 1]] for d in rows]
        bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        return Documents(np.concatenate(parts), bounds, self.domain[rows], self.problem[rows])

    def beginnings(self, units: int) -> "Documents":
        """The first `units` of every document."""
        lengths = np.diff(self.bounds)
        keep = np.arange(len(self.symbols)) - np.repeat(self.bounds[:-1], lengths) < units
        bounds = np.concatenate([[0], np.cumsum(np.minimum(lengths, units))])
        return Documents(self.symbols[keep], bounds, self.domain, self.problem)


@dataclass(frozen=True)
class Case:
    """Planted documents, then reference documents: symbols, bounds; label (0 own, 1 reference), domain and problem of
    each document; forms: the text of each unit."""

    planted: Planted
    symbols: np.ndarray
    bounds: np.ndarray
    label: np.ndarray
    domain: np.ndarray
    problem: np.ndarray
    forms: list[str]


@dataclass(frozen=True)
class Found:
    """A motif that a miner claims: pattern (SLOT for a wildcard), spans int[k, 3] (document, start, stop) of its uses
    in own documents."""

    pattern: tuple[int, ...]
    spans: np.ndarray


@lru_cache(1)
def real() -> tuple[Documents, list[str]]:
    """The shipped traces as units, and the forms of these; a trace without a problem_id is a problem of its own."""
    files = sorted(shipped_folder("traces").glob("*.parquet"))
    columns = pa.schema([(name, pa.string()) for name in ("response", "domain", "problem_id")])
    traces = pa.concat_tables(pq.read_table(file, columns=columns.names).cast(columns) for file in files)
    units = seg.segment([text or "" for text in traces["response"].to_pylist()])
    forms = slot_forms(units.texts, units.kinds, ("NUM", "DATA"))
    code = {form: i for i, form in enumerate(dict.fromkeys(forms))}
    symbols = np.array([code[form] for form in forms], np.int32)[units.ids]
    domain = np.unique(traces["domain"].to_pylist(), return_inverse=True)[1]
    return Documents(symbols, units.bounds, domain, problem_codes(traces)), list(code)


def resampled(docs: int, seed: int, order: int = 2) -> Documents:
    """Documents of `LENGTH` units drawn from the shipped traces, two to a problem, of `DOMAINS` domains in turn."""
    shipped, _ = real()
    symbols, bounds = resample(shipped.symbols, shipped.bounds, [LENGTH] * docs, seed, order)
    number = np.arange(docs)
    return Documents(symbols, bounds, number % DOMAINS, number // SAMPLES)


def language(n: int, seed: int, uses: tuple[int, int] = (25, 2000)) -> list[Operator]:
    """n operators of words that the shipped traces use 20 times or more."""
    shipped, forms = real()
    counts = np.bincount(shipped.symbols, minlength=len(forms))
    drawn = np.array([c if c >= 20 and f.isalpha() else 0 for c, f in zip(counts, forms, strict=True)])
    return random_operators(n, drawn, DOMAINS, seed, uses=uses)


def case(seed: int, noise: float, docs: int = DOCS) -> Case:
    """The benchmark of a seed; the same operators and background at every noise."""
    own, reference = resampled(docs, 2 * seed + 1), resampled(docs, 2 * seed + 2)
    return with_reference(own, reference, language(OPERATORS, seed), reference.symbols[:100_000], noise, seed)


def with_reference(
    own: Documents, reference: Documents, operators: list[Operator], filler: np.ndarray, noise: float, seed: int
) -> Case:
    """A case: the operators in own documents, beside a reference without them."""
    planted = plant(own.symbols, own.bounds, own.domain, operators, filler=filler, noise=noise, seed=seed)
    return Case(
        planted,
        np.concatenate([planted.symbols, reference.symbols]),
        np.concatenate([planted.bounds, planted.bounds[-1] + reference.bounds[1:]]),
        np.repeat([0, 1], [len(own.domain), len(reference.domain)]),
        np.concatenate([own.domain, reference.domain]),
        np.concatenate([own.problem, reference.problem]),
        real()[1],
    )


def score(planted: Planted, found: list[Found], domain: np.ndarray) -> dict[str, float]:
    """Exact and soft precision, recall, F1; slot F1; scope accuracy; boundary error; recall by use.

    An operator is to be found if its uses, corrupted ones among them, are in `SUPPORT` documents or more. exact: the
    pattern is the operator's, slots at the same places. soft: the token overlap (intersection over union) of the
    motif's uses with the operator's that they touch is `SOFT` or more on average. scope: of the operators found
    exactly, how many are rightly said to be bound to their domain, or universal. boundary error: units by
    which a soft match's ends are off, mean over uses.
    """
    spans = planted.spans
    support = np.array([len(np.unique(spans[spans[:, 0] == i, 1])) for i in range(len(planted.operators))])
    wanted = {o.pattern: i for i, o in enumerate(planted.operators) if support[i] >= SUPPORT}
    every = {o.pattern: i for i, o in enumerate(planted.operators)}
    matches = [overlap(spans, motif) for motif in found]
    exact = {motif.pattern for motif in found}
    soft = {owner for owner, iou, _ in matches if iou >= SOFT}
    result = _f1(
        "exact", sum(m.pattern in every for m in found), len(found), sum(w in exact for w in wanted), len(wanted)
    )
    hits = sum(i in soft for i in wanted.values())
    result |= _f1("soft", sum(iou >= SOFT for _, iou, _ in matches), len(found), hits, len(wanted))
    with_slot = {w for w in wanted if SLOT in w}
    claimed = [m.pattern for m in found if SLOT in m.pattern]
    right = sum(m in every for m in claimed)
    result |= _f1("slot", right, len(claimed), len(with_slot & exact), len(with_slot))
    scopes = [
        _scope(m, domain) == set(planted.operators[every[m.pattern]].domains) for m in found if m.pattern in every
    ]
    result["scope"] = float(np.mean(scopes)) if scopes else float("nan")
    off = [error for _, iou, error in matches if iou >= SOFT]
    result["boundary"] = float(np.mean(off)) if off else float("nan")
    for low, high in ((25, 50), (50, 200), (200, 2001)):
        part = [w for w, i in wanted.items() if low <= planted.operators[i].uses < high]
        result[f"recall {low} to {high - 1} uses"] = sum(w in exact for w in part) / max(len(part), 1)
    return result


def _f1(name: str, right: int, claimed: int, hit: int, wanted: int) -> dict[str, float]:
    precision, recall = right / claimed if claimed else 0.0, hit / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {f"{name} P": precision, f"{name} R": recall, f"{name} F1": f1}


def overlap(spans: np.ndarray, motif: Found) -> tuple[int, float, float]:
    """The operator that most of a motif's uses touch; mean overlap with its spans, 0 where none; mean error of ends."""
    if len(motif.spans) == 0:
        return -1, 0.0, 0.0
    key = spans[:, 1].astype(np.int64) << 32
    place = np.searchsorted(key + spans[:, 2], (motif.spans[:, 0].astype(np.int64) << 32) + motif.spans[:, 1], "right")
    touched = []
    for (doc, start, stop), at in zip(motif.spans.tolist(), place.tolist(), strict=True):
        best = (0.0, -1, 0.0)
        for i in (at - 1, at):
            if 0 <= i < len(spans) and spans[i, 1] == doc:
                a, b = int(spans[i, 2]), int(spans[i, 3])
                shared = min(b, stop) - max(a, start)
                if shared > 0:
                    iou = shared / (max(b, stop) - min(a, start))
                    best = max(best, (iou, int(spans[i, 0]), (abs(a - start) + abs(b - stop)) / 2))
        touched.append(best)
    owners = Counter(owner for _, owner, _ in touched if owner >= 0)
    if not owners:
        return -1, 0.0, 0.0
    owner = owners.most_common(1)[0][0]
    of_owner = [error for _, o, error in touched if o == owner]
    return owner, sum(iou for iou, o, _ in touched if o == owner) / len(touched), float(np.mean(of_owner))


def _scope(motif: Found, domain: np.ndarray) -> set[int]:
    """One domain where nine in ten uses are in it, else all: the two kinds of scope that are planted."""
    counts = Counter(domain[motif.spans[:, 0]].tolist())
    name, many = counts.most_common(1)[0]
    return {name} if many >= 0.9 * len(motif.spans) else set(np.unique(domain).tolist())
