"""A finished comparison: what it was asked, what it counted, and its tables."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dsl_probe.share.claims import Claim
from dsl_probe.share.contrast import ALPHA, RAW
from dsl_probe.share.domains import Interval
from dsl_probe.store import Run
from dsl_probe.types import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from dsl_probe.share.figures import Figure

EQUAL, SAME_ACCURACY = "equal units", "equal accuracy"
MATCHED = (EQUAL, RAW, SAME_ACCURACY)


@dataclass(frozen=True)
class CompareConfig:
    """Two groups of traces, or three with a base, and how they are tested."""

    a: str
    """First group: column=value[,column=value], for example model=NAME,domain=math."""
    b: str
    """Second group."""
    base: str | None = None
    """Third group, the base model: A and B are compared with it too, and novelty is measured against it. Default: the
    start model that the traces of A name; without one, novelty is not tested."""
    permutations: int = 1_000
    """Permutations of each test; the least p is 1 / (permutations + 1)."""
    seed: int = 0
    """Seed of the permutations."""
    min_problems: int = 10
    """Least number of problems that hold a motif, both groups pooled, for it to be tested."""
    min_units: int = 20
    """Problems in which either group wrote fewer counted units than this are left out: a rate over a handful of units
    is mostly the opening word."""
    same_prompt: bool = False
    """Pair only where the prompts are the same word for word, beside the problem_id."""
    include_format: bool = False
    """Test motifs that hold format tags such as <think> too."""
    drop_truncated: bool = False
    """Leave out traces that ended at the length limit or in a loop."""
    content: tuple[str, ...] = ()
    """Words left out of the sharing measures, as numbers are: the things that each domain speaks of."""
    rl_domains: tuple[str, ...] = ()
    """Domains that the RL model was trained on; the others count as unseen. Default: unknown."""
    name: str | None = None
    """Name of the comparison. Default: made from the groups."""


@dataclass(frozen=True)
class Contrast:
    """Counts of one pair of groups. discoveries: motifs with p_adj <= .05 over all domains, at equal units; separate:
    those of them that no stronger one accounts for (`part_of`). left_out: traces of the group without a counterpart, or
    of problems with too little text. prompts_differ: paired problems of one id whose prompts are not the same in both
    groups. new_a: discoveries in A that the base never wrote.
    """

    a: str
    b: str
    design: str
    problems: int
    traces_a: int
    traces_b: int
    left_out_a: int
    left_out_b: int
    units_a: int
    units_b: int
    motifs_tested: int
    discoveries_a: int
    discoveries_b: int
    separate_a: int
    separate_b: int
    new_a: int
    discoveries_raw: int
    discoveries_same_accuracy: int | None
    domains: dict[str, str]
    prompts_differ: int = 0
    accuracy_a: float | None = None
    accuracy_b: float | None = None
    accuracy_difference: Interval | None = None


@dataclass(frozen=True)
class CompareResult(Contrast):
    """Counts of a comparison: of A against B; and, where there is a third group, of A and of B against the base."""

    id: str = ""
    base: str | None = None
    against_base: tuple[dict[str, Any], ...] = ()
    sharing_difference: Interval | None = None


class Comparison:
    """A finished comparison of a run: `.table`, `.sharing`, `.legibility`, `.shift`, `.claims`, `.summary()`,
    `.plot()`, `.to_html()`."""

    def __init__(self, run: Run, id: str):
        record = run.stage(f"compare.{id}")
        if record is None:
            raise UserError(f"no comparison {id!r} in {run.path}; there are: {', '.join(run.comparisons()) or 'none'}.")
        self.run, self.id = run, id
        self.config = CompareConfig(**record["config"])
        self.result = CompareResult(**record["counts"])

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row a (a, b, domain or `all`, matched, motif); see `types.COMPARISON`."""
        return self.run.frame(f"comparisons/{self.id}/comparison")

    @cached_property
    def sharing(self) -> "pd.DataFrame":
        """One row a (group, domain pair, measure); see `types.SHARING`."""
        return self.run.frame(f"comparisons/{self.id}/sharing")

    @cached_property
    def legibility(self) -> "pd.DataFrame":
        """One row a (group or difference of two, domain, measure); see `types.LEGIBILITY_CONTRAST`."""
        return self.run.frame(f"comparisons/{self.id}/legibility")

    @cached_property
    def claims(self) -> list[Claim]:
        """The design's claims with their verdicts."""
        return [Claim.from_json(stored) for stored in self.run.json(f"comparisons/{self.id}/claims.json")]

    @cached_property
    def shift(self) -> "pd.DataFrame":
        """One row a (group, domain, measure) where `score` has read the traces; see `types.SHIFT`."""
        return self.run.frame(f"comparisons/{self.id}/shift")

    def discoveries(
        self, domain: str = "all", matched: str = EQUAL, a: str | None = None, b: str | None = None
    ) -> "pd.DataFrame":
        """Motifs with p_adj <= .05, the most over-used by A first; a, b: another pair of the comparison's groups."""
        t = self.table
        pair = (t.a == (a or self.config.a)) & (t.b == (b or self.config.b))
        found = t[pair & (t.domain == domain) & (t.matched == matched) & (t.p_adj <= ALPHA)]
        return found.sort_values("z", ascending=False)

    def summary(self) -> str:
        """What was found, in sentences, as weak as the evidence."""
        from dsl_probe.share.findings import findings

        return "\n".join(f.text for f in findings(self))

    def plot(self, domain: str = "all", matched: str = EQUAL) -> "Figure":
        """Log-odds of every motif tested against the p of its difference, discoveries coloured and named."""
        from dsl_probe.groups import short
        from dsl_probe.share.figures import volcano

        t = self.table
        t = t[(t.a == self.config.a) & (t.b == self.config.b) & (t.domain == domain) & (t.matched == matched)]
        p = t.p_exact.fillna(t.p).to_numpy(float)
        title = f"{self.id}: {len(t):,} motifs, {domain}, {matched}"
        sides = (short(self.config.a), short(self.config.b))
        return volcano(t.log_odds.to_numpy(float), p, (t.p_adj <= ALPHA).to_numpy(), t.text.tolist(), title, sides)

    def to_html(self, path: "str | Path | None" = None) -> str:
        """One page that needs no network: claims, findings, motifs, sharing; also written to `path`, if given."""
        from dsl_probe.share.views import page

        return page(self, path)
