"""How far the domains of each group share one vocabulary of words, and how the groups differ in that."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsl_probe.share import vocab
from dsl_probe.share.corpus import Corpus, Sample, unit_counts
from dsl_probe.shown import say

# Estimate, low and high end of the 95 % interval.
Interval = tuple[float, float, float]


def domain_sharing(
    corpus: Corpus, groups: tuple[str, str], sample: Sample, content: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], Interval | None]:
    """Sharing between domains for each group, and the difference A - B of its mean over the pairs of domains.

    On the same problems for both groups where the comparison is paired: then a problem is deleted from both at once,
    so that what is particular to it cancels. Words in `content` are left out, as numbers are: where each domain speaks
    of its own things, they would tell terse text from wordy text and not one vocabulary from another.
    """
    by_domain, pairs = counts_by_domain(corpus, sample, content)
    rows = []
    for group, part in zip(groups, by_domain, strict=True):
        for first, second in pairs:
            say(f"compare: sharing {first} / {second}")
            about = {
                "group": group,
                "domain_a": first,
                "domain_b": second,
                "problem_coverage_a": vocab.problem_coverage(part[first]),
                "problem_coverage_b": vocab.problem_coverage(part[second]),
            }
            rows += [about | row for row in vocab.sharing(part[first], part[second])]
    return rows, sharing_difference(by_domain, pairs, sample.paired) if pairs else None


def counts_by_domain(
    corpus: Corpus, sample: Sample, content: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Counts [problems, word types] by domain, of A and of B; and the pairs of domains that both groups can be told of.

    In a paired sample row i of a domain is the same problem in both groups. A pair needs two problems in each domain.
    """
    names = list(np.unique(sample.item_domain))
    by_domain = [{d: matrix[sample.item_domain == d] for d in names} for matrix in unit_counts(corpus, sample, content)]
    if not sample.paired:
        by_domain = [{d: m[np.flatnonzero(m.sum(1))] for d, m in part.items()} for part in by_domain]
    pairs = [
        (first, second)
        for i, first in enumerate(names)
        for second in names[i + 1 :]
        if all(min(part[first].shape[0], part[second].shape[0]) >= 2 for part in by_domain)
    ]
    return by_domain, pairs


def sharing_difference(
    by_domain: Sequence[Mapping[str, Any]], pairs: Sequence[tuple[str, str]], paired: bool
) -> Interval:
    """Mean Morisita-Horn similarity over the pairs of domains, A - B, with its jackknife interval by problem.

    by_domain: counts of A and of B, as of `counts_by_domain`.

    What it does not show: whether the shared words mean the same; see `vocab.morisita_horn`.
    """
    value = 0.0
    shift: dict[tuple[Any, ...], np.ndarray] = {}
    for g, (sign, part) in enumerate(zip((1, -1), by_domain, strict=True)):
        own, moved = deleted_sharing(part, pairs)
        value += sign * own
        for domain, deleted in moved.items():
            key = (domain,) if paired else (g, domain)
            shift[key] = shift[key] + sign * deleted if key in shift else sign * deleted
    estimate, low, high = vocab.jackknife(value, [value + d for d in shift.values()]).interval(corrected=True)
    return estimate, low, high


def deleted_sharing(part: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> tuple[float, dict[str, np.ndarray]]:
    """Mean Morisita-Horn similarity over pairs of domains; and by how much deleting each problem of a domain moves it.

    part: counts [problems, types] by domain.
    """
    value, shift = 0.0, {}
    for pair in pairs:
        one = vocab.leave_one_out(part[pair[0]], part[pair[1]])["morisita_horn"]
        value += one.value / len(pairs)
        for domain, deleted in zip(pair, one.deleted, strict=True):
            # A problem belongs to one domain, and moves every pair that this domain is in.
            moved = (deleted - one.value) / len(pairs)
            shift[domain] = shift[domain] + moved if domain in shift else moved
    return value, shift
