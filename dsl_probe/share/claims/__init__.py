"""The claims that the design sets out to test, each by a rule that was set before looking at a run.

From the ARC Prize analysis of R1-Zero and R1 (January 2025). Contradicted needs evidence, an interval that excludes
what the claim says; where the data allow either, or a group is missing, the claim is undecided.
"""

from collections.abc import Callable
from dataclasses import replace

from dsl_probe.share.claims.facts import Facts
from dsl_probe.share.claims.of_one import log_compute, predictable_errors, verified_data
from dsl_probe.share.claims.of_two import (
    alike,
    incoherent_outside,
    legible_without_sft,
    own_language,
    shared_vocabulary,
)
from dsl_probe.share.claims.threats import threats
from dsl_probe.share.claims.verdicts import Claim

RULES: tuple[Callable[[Facts], Claim], ...] = (
    legible_without_sft,
    own_language,
    shared_vocabulary,
    alike,
    incoherent_outside,
    predictable_errors,
    log_compute,
    verified_data,
)


def claims(facts: Facts) -> list[Claim]:
    """The eight claims with their verdicts and the threats that apply to each.

    What it does not show: what no single comparison of two models can: whether it was the training that made the
    difference. Read the threats with each verdict.
    """
    return [replace(made, threats=tuple(threats(facts, made.id))) for made in (rule(facts) for rule in RULES)]
