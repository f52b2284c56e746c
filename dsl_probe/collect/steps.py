"""Which step of a chain decides: accuracy before and after each step of a tree, and what a tree buys for its tokens."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb, prod, sqrt
from typing import TYPE_CHECKING

import pyarrow as pa

from dsl_probe.collect.curve import CURVE, Sampled, curve, majority_at_k, rows_of_measure, tokens_spent
from dsl_probe.types import TREE

if TYPE_CHECKING:
    from dsl_probe.collect.tree import Start

TREE_COLUMNS = ["token_ids", "answer", "correct", "meta"]
_Z = 1.959963984540054


@dataclass(frozen=True)
class Grown:
    """A start and its judged completions."""

    start: "Start"
    drawn: Sampled

    @property
    def n(self) -> int:
        return len(self.drawn.correct)


def grown(starts: "Sequence[Start]", tables: Iterable[pa.Table]) -> list[Grown]:
    """The starts with their completions out of trace tables; completions without a verdict are left out."""
    found: dict[str, Sampled] = defaultdict(lambda: Sampled([], [], []))
    for table in tables:
        columns = [table[name].to_pylist() for name in ("answer", "correct", "meta")]
        for answer, correct, meta, tokens in zip(*columns, tokens_spent(table), strict=True):
            if correct is not None:
                meta = json.loads(meta)
                sampled = found[f"{meta['parent']}/{meta['step']}"]
                sampled.answers.append(answer)
                sampled.correct.append(correct)
                sampled.tokens.append(tokens)
    return [Grown(start, found[start.id]) for start in starts if found[start.id].correct]


def tree_table(grown: Sequence[Grown], model: str) -> pa.Table:
    """Rows of `TREE`, one a start: accuracy of its completions, and the gain of the step that follows it.

    accuracy = correct / n, with a 95 % Wilson interval. gain: accuracy from the next start of the parent minus
    accuracy from this one, in [-1, 1], with Newcombe's 95 % interval of a difference (1998, method 10); null at the
    last start, since after the end there is nothing to draw. p: Fisher's exact test, two-sided: the outcomes of the
    two starts dealt out anew. p_adj: the same for the largest of all gains of the parent: the chance that any of its
    steps shows a p as small where none decides anything. Exact for each pair; the pairs are taken as independent, which
    is Sidak's bound for two-sided tests. mean_tokens: drawn a completion.

    Not shown: that what the step says is why; what other step could have stood there; more than n allows (with n
    completions a start no p is below 2 / C(2n, n): .029 with 4, .00016 with 8). The gain of a step picked for being
    large is too large, and its interval knows nothing of the picking; p_adj allows for the steps of one parent, not
    for many parents. Completions of one parent share a problem, so they are no independent problems.
    """
    by_parent: dict[str, list[Grown]] = defaultdict(list)
    for one in grown:
        by_parent[one.start.parent["trace_id"]].append(one)
    rows = []
    for chain in by_parent.values():
        pairs = {
            i: (sum(a.drawn.correct), a.n, sum(b.drawn.correct), b.n)
            for i, (a, b) in enumerate(pairwise(chain))
            if a.start.stop == b.start.kept
        }
        adjusted = dict(zip(pairs, largest_of(list(pairs.values())), strict=True))
        for i, one in enumerate(chain):
            start, right = one.start, sum(one.drawn.correct)
            low, high = wilson(right, one.n)
            row = {
                "model": model,
                "parent": start.parent["trace_id"],
                "problem_id": start.parent["problem_id"],
                "domain": start.parent["domain"],
                "step_number": start.number,
                "tokens_kept": start.kept,
                "text": start.text,
                "n": one.n,
                "correct": right,
                "accuracy": right / one.n,
                "ci_low": low,
                "ci_high": high,
                "mean_tokens": sum(one.drawn.tokens) / one.n,
            }
            if i in pairs:
                a, m, b, n = pairs[i]
                low, high = newcombe(a, m, b, n)
                row |= {"gain": b / n - a / m, "gain_low": low, "gain_high": high}
                row |= {"p": fisher(a, m, b, n), "p_adj": adjusted[i]}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=TREE)


def tree_curve(grown: Sequence[Grown], model: str, *, price: float | None = None, seed: int = 0) -> pa.Table:
    """Rows of `CURVE` that set two ways to spend tokens beside each other, by domain and for `all`.

    Whole chains: pass and majority as in `curve.curve`, of the completions from start 0, which keep nothing. Trees, k
    completions from every start: tree_pass, at least one of them or the parent is right (exact over subsets, as
    pass@k); tree_majority, the most frequent answer among them and the parent's (mean over disjoint sets of k);
    best_step, one completion from the start that looked best, chosen on half of the completions and scored on the other
    half (k = that half; both halves in turn; ties shared), so that the picking does not flatter it.

    tokens: all that were drawn: the parent once, k completions of every start also where they led nowhere, for
    best_step one more. Compare at equal tokens, not at equal k. Not in it: what was kept is read again for each start
    (input, not output); `price` is one of output tokens. Several parents of one problem are averaged; ci: bootstrap
    over problems. A parent that has no completions at some start is left out.

    Not shown: what can be handed in. pass and tree_pass are oracles that need to know which completion is right, and
    best_step needs to know it for its choice; only the majorities do not. Nor that a tree would be grown so: all
    starts get the same k here, where a search would drop bad ones early.
    """
    chains: dict[str, list[Grown]] = defaultdict(list)
    for one in grown:
        chains[one.start.parent["trace_id"]].append(one)
    most = min((one.n for one in grown), default=0)
    groups: dict[str, dict[str, list[list[Grown]]]] = defaultdict(lambda: defaultdict(list))
    for chain in chains.values():
        parent = chain[0].start.parent
        if chain[0].start.kept == 0 and parent["correct"] is not None:
            for domain in (parent["domain"], "all"):
                groups[domain][parent["problem_id"]].append(chain)
    rows = []
    for domain, problems in sorted(groups.items()):
        if domain == "all" and len(groups) == 2:
            continue  # one domain: all says the same
        trees = [found for _, found in sorted(problems.items())]
        shared = {"model": model, "domain": domain}
        whole = [_merged([chain[0].drawn for chain in found]) for found in trees]
        rows += [shared | row for row in curve(whole, price=price, seed=seed)]
        ks = sorted({*(2**i for i in range(most.bit_length()) if 2**i <= most), most})
        for measure, k in [(m, k) for m in ("tree_pass", "tree_majority") for k in ks] + [("best_step", most // 2)]:
            if k:
                both = [[_TREE_MEASURES[measure](chain, k) for chain in found] for found in trees]
                value, tokens = ([sum(pair[j] for pair in found) / len(found) for found in both] for j in (0, 1))
                count = sum(one.n for found in trees for chain in found for one in chain)
                row = rows_of_measure(value, sum(tokens) / len(tokens), count, price, seed)
                rows.append(shared | {"measure": measure, "k": k} | row)
    return pa.Table.from_pylist(rows, schema=CURVE)


def _tree_pass(chain: list[Grown], k: int) -> tuple[float, float]:
    missed = prod(comb(one.n - sum(one.drawn.correct), k) / comb(one.n, k) for one in chain)
    return 1 - missed * (not chain[0].start.parent["correct"]), _paid(chain, k)


def _tree_majority(chain: list[Grown], k: int) -> tuple[float, float]:
    parent, values = chain[0].start.parent, []
    for first in range(0, min(one.n for one in chain) - k + 1, k):
        answers = [parent["answer"], *(a for one in chain for a in one.drawn.answers[first : first + k])]
        correct = [parent["correct"], *(c for one in chain for c in one.drawn.correct[first : first + k])]
        values.append(majority_at_k(answers, correct, len(answers)))
    return sum(values) / len(values), _paid(chain, k)


def _best_step(chain: list[Grown], half: int) -> tuple[float, float]:
    values, tokens = [], []
    for here, there in ((slice(half), slice(half, 2 * half)), (slice(half, 2 * half), slice(half))):
        seen = [sum(one.drawn.correct[here]) for one in chain]
        best = [one for one, right in zip(chain, seen, strict=True) if right == max(seen)]
        values += [sum(one.drawn.correct[there]) / half / len(best) for one in best]
        tokens += [sum(one.drawn.tokens) / one.n / len(best) for one in best]
    return sum(values) / 2, _paid(chain, half) + sum(tokens) / 2


_TREE_MEASURES = {"tree_pass": _tree_pass, "tree_majority": _tree_majority, "best_step": _best_step}


def _paid(chain: list[Grown], k: int) -> float:
    return len(chain[0].start.parent["token_ids"]) + k * sum(sum(one.drawn.tokens) / one.n for one in chain)


def _merged(parts: list[Sampled]) -> Sampled:
    return Sampled(*([x for part in parts for x in getattr(part, name)] for name in ("answers", "correct", "tokens")))


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927).

    >>> [round(x, 3) for x in wilson(0, 4)]
    [0.0, 0.49]
    """
    share, z = right / n, _Z**2 / n
    middle, half = (share + z / 2) / (1 + z), sqrt(z * (share * (1 - share) + z / 4)) / (1 + z)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(a: int, m: int, b: int, n: int) -> tuple[float, float]:
    """95 % interval of b / n - a / m out of the two Wilson intervals (Newcombe 1998, method 10)."""
    before, after = a / m, b / n
    (low_a, high_a), (low_b, high_b) = wilson(a, m), wilson(b, n)
    gain = after - before
    return gain - sqrt((after - low_b) ** 2 + (high_a - before) ** 2), gain + sqrt(
        (high_b - after) ** 2 + (before - low_a) ** 2
    )


def fisher(a: int, m: int, b: int, n: int) -> float:
    """Two-sided p of Fisher's exact test: a of m against b of n.

    >>> round(fisher(0, 4, 4, 4), 4)
    0.0286
    """
    return _by_total(a + b, m, n)[a]


def largest_of(pairs: Sequence[tuple[int, int, int, int]]) -> list[float]:
    """p of each pair (a of m, b of n), allowing for all pairs: 1 - prod over pairs of P(its p is larger).

    Each pair's P is over its own possible outcomes with a + b fixed (the discrete minimum-p method): a pair in which
    all or none are right can show nothing and costs nothing.

    >>> [round(p, 4) for p in largest_of([(0, 4, 4, 4), (4, 4, 4, 4)])]
    [0.0286, 1.0]
    """
    found = []
    for pair in pairs:
        p = fisher(*pair)
        larger = 1.0
        for a, m, b, n in pairs:
            weights = _weights(a + b, m, n)
            small = sum(w for x, w in weights.items() if _by_total(a + b, m, n)[x] <= p * (1 + 1e-9))
            larger *= max(0.0, 1 - small)
        found.append(1 - larger)
    return found


def _weights(right: int, m: int, n: int) -> Mapping[int, float]:
    """Hypergeometric chance of each number of right ones among the first m, of `right` in m + n."""
    total = comb(m + n, right)
    return {x: comb(m, x) * comb(n, right - x) / total for x in range(max(0, right - n), min(m, right) + 1)}


def _by_total(right: int, m: int, n: int) -> Mapping[int, float]:
    """Two-sided p of each outcome: the chance of all outcomes that are as unlikely or more so."""
    weights = _weights(right, m, n)
    return {x: min(1.0, sum(v for v in weights.values() if v <= w * (1 + 1e-9))) for x, w in weights.items()}
