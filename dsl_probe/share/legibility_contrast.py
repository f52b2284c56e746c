"""How far each group of a comparison writes for people, and the differences between the groups, by problem."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dsl_probe.share.differences import Sides, measure_rows
from dsl_probe.share.legibility import problems_of_domains, reference_lexicon, trace_measures
from dsl_probe.store import Run
from dsl_probe.types import LEGIBILITY_CONTRAST, UserError


def legibility_contrast(run: Run, sides: Sides, base: np.ndarray | None, rl_domains: Sequence[str] = ()) -> pa.Table:
    """Rows of `types.LEGIBILITY_CONTRAST`: the measures of `legibility` and log-probabilities, by group and difference.

    base: int64[n] rows whose words are the lexicon; a word that only their traces of the very same problem hold counts
    as unknown there. None: the words of all prompts. All traces of the groups are read, also of problems that a paired
    test of motifs leaves out. Groups, domains and intervals are those of `differences.measure_rows`.

    What it does not show: what `legibility` does not show: known words in a private sense are legible by every measure.
    With the base's words as the lexicon, a nonce word that the base writes too is a known word.
    """
    traces = run.all_shards("traces", ["problem_id", "domain"])
    domain, problem = np.array(traces["domain"].to_pylist(), object), problems_of_domains(traces)
    values = trace_measures(run, reference_lexicon(run, base, problem), problem, sides.all_rows)
    rows = measure_rows(values, sides, problem, domain, rl_domains)
    reference = "base" if base is not None else "prompts"
    return pa.Table.from_pylist([row | {"reference": reference} for row in rows], schema=LEGIBILITY_CONTRAST)


def checked_domains(traces: pa.Table, rl_domains: Sequence[str]) -> None:
    """Raise UserError for a domain that no trace has: a mistyped one would count its traces as unseen."""
    known = sorted(set(traces["domain"].to_pylist()))
    for name in rl_domains:
        if name not in known:
            raise UserError(
                f"--rl-domains: no trace has domain {name!r}; there are: {', '.join(known[:20])}. Leave out domains "
                "without traces: what is not named counts as unseen."
            )
