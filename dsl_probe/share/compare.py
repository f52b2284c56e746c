"""The compare stage: which motifs one group of traces over-uses, and how far its domains share a vocabulary."""

import hashlib
import sys
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dsl_probe.groups import checked_name, group_columns, select_rows, slug
from dsl_probe.share.accuracy import sample_accuracy
from dsl_probe.share.claim_facts import read_facts
from dsl_probe.share.claims import Claim, claims
from dsl_probe.share.contrast import ALPHA, TestSettings, contrast
from dsl_probe.share.corpus import Corpus, Sample, choose_sample, restrict
from dsl_probe.share.differences import Sides
from dsl_probe.share.domains import Interval, domain_sharing
from dsl_probe.share.legibility_contrast import checked_domains, legibility_contrast
from dsl_probe.store import Run
from dsl_probe.types import COMPARISON, SHARING, UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CompareConfig:
    """Two groups of traces and how they are tested."""

    a: str
    """First group: column=value[,column=value], for example model=NAME,domain=math."""
    b: str
    """Second group."""
    base: str | None = None
    """Reference group for novelty. Default: the start model that the traces of A name; without one, not tested."""
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
class CompareResult:
    """Counts of a comparison. discoveries: motifs with p_adj <= .05 over all domains, at equal units.

    left_out: traces of the group without a counterpart, or of problems with too little text. prompts_differ: paired
    problems of one id whose prompts are not the same in both groups.
    """

    id: str
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
    discoveries_raw: int
    domains: dict[str, str]
    prompts_differ: int = 0
    accuracy_a: float | None = None
    accuracy_b: float | None = None
    accuracy_difference: Interval | None = None
    sharing_difference: Interval | None = None


class Comparison:
    """A finished comparison of a run: `.table`, `.sharing`, `.legibility`, `.claims`, `.summary()`."""

    def __init__(self, run: Run, id: str):
        record = run.stage(f"compare.{id}")
        if record is None:
            raise UserError(f"no comparison {id!r} in {run.path}; there are: {', '.join(run.comparisons()) or 'none'}.")
        self.run, self.id = run, id
        self.config = CompareConfig(**record["config"])
        self.result = CompareResult(**record["counts"])

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row a (domain or `all`, matched, motif); see `types.COMPARISON`."""
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

    def discoveries(self, domain: str = "all", matched: str = "equal units") -> "pd.DataFrame":
        """Motifs with p_adj <= .05, the most over-used by A first."""
        t = self.table
        found = t[(t.domain == domain) & (t.matched == matched) & (t.p_adj <= ALPHA)]
        return found.sort_values("z", ascending=False)

    def summary(self) -> str:
        """What was found, in sentences, as weak as the evidence."""
        from dsl_probe.share.findings import findings

        return "\n".join(f.text for f in findings(self))


def comparison_id(config: CompareConfig) -> str:
    """Name of a comparison's folder: the one asked for, or a readable one with a hash of the groups."""
    if config.name:
        return checked_name(config.name)
    slugs = [slug(group.partition("=")[2], 32) for group in (config.a, config.b)]
    key = hashlib.blake2b("\0".join([config.a, config.b, config.base or ""]).encode(), digest_size=3).hexdigest()
    return f"{slugs[0]}-vs-{slugs[1]}-{key}"


def compare(run: Run, config: CompareConfig | None = None, *, force: bool = False, **options: Any) -> Comparison:
    """Compare two groups of traces; writes comparisons/ID/{comparison,sharing,legibility}.parquet and claims.json.

    compare(run, a="model=X", b="model=Y") is compare(run, CompareConfig(a=..., b=...)).

    Paired (problems that both groups answered): the groups are swapped at random within each problem; where one group
    has more samples of a problem, only as many as the other has are used. Unpaired: whole problems are exchanged within
    a domain. The headline is `equal units`: within a problem every trace is cut so that both groups have the same
    number of counted units (unpaired: cut to the domain's median length); `raw` stands beside it. p is the permutation
    p of the studentised difference in rate, p_adj its step-down max-T over all motifs of the same domain and matching,
    p_presence and p_adj_presence the same for how often a trace holds the motif at all. p_exact: p of the same test
    over all sign patterns, exact or by saddle point (`signflip`), and q its false discovery rate by Benjamini and
    Yekutieli; both paired only. rate_a and rate_b are means over problems, per unit.

    Claims are judged last, with what else the run holds by then (languages, trees, scores): where one is made later,
    compare again with `force`.

    What it does not show: a cause. The groups may differ in template, sampling, accuracy or truncation; problems made
    from one template are less independent than they count; rates are compositional.
    """
    config = config or CompareConfig(**options)
    if config.permutations < 99:
        raise UserError(f"--permutations is {config.permutations}; below 99 no p can reach .01.")
    id = comparison_id(config)
    stage = f"compare.{id}"
    inputs = run.trace_files() | run.outputs("mine")
    if run.begin(stage, asdict(config), inputs, force):
        try:
            corpus = Corpus.load(run, group_columns(config.a, config.b, config.base))
            checked_domains(corpus.traces, config.rl_domains)
            groups = _groups(corpus, config)
            table, result = compare_rows(corpus, config, *groups, id=id)
        except UserError:
            run.abandon(stage)
            raise
        shared, difference = domain_sharing(corpus, (config.a, config.b), result.sample, config.content)
        counts = replace(result.counts, sharing_difference=difference)
        sides = Sides.of(config.a, config.b, _base_name(corpus, config, groups[2]), groups)
        _say("legibility")
        legible = legibility_contrast(run, sides, groups[2], config.rl_domains)
        _say("claims")
        judged = claims(read_facts(run, corpus, sides, config, counts, table, legible))
        outputs = [
            run.write_table(f"comparisons/{id}/comparison.parquet", table),
            run.write_table(f"comparisons/{id}/sharing.parquet", pa.Table.from_pylist(shared, schema=SHARING)),
            run.write_table(f"comparisons/{id}/legibility.parquet", legible),
            run.write_json(f"comparisons/{id}/claims.json", [claim.as_json() for claim in judged]),
        ]
        run.finish(stage, outputs, asdict(counts), seed=config.seed)
    return Comparison(run, id)


@dataclass(frozen=True)
class Compared:
    """What `compare_rows` found beside the table: the counts, and the samples that were used."""

    counts: CompareResult
    sample: Sample


def _groups(corpus: Corpus, config: CompareConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rows_a, rows_b = (select_rows(corpus.traces, g) for g in (config.a, config.b))
    if config.drop_truncated:
        bad = np.isin(np.array(corpus.traces["finish"].to_pylist(), object), ["length", "loop"])
        rows_a, rows_b = rows_a[~bad[rows_a]], rows_b[~bad[rows_b]]
        if not len(rows_a) or not len(rows_b):
            raise UserError("--drop-truncated leaves one group without traces.")
    base = None
    if config.base:
        base = select_rows(corpus.traces, config.base)
    else:
        named = {n for n in corpus.traces["start_model"].take(pa.array(rows_a)).to_pylist() if n}
        found = np.isin(np.array(corpus.traces["model"].to_pylist(), object), list(named))
        base = np.flatnonzero(found) if len(named) == 1 and found.any() else None
    return rows_a, rows_b, base


def _base_name(corpus: Corpus, config: CompareConfig, rows: np.ndarray | None) -> str | None:
    """The base group as written, or the start model that stands in for it."""
    return config.base or (None if rows is None else f"model={corpus.traces['model'][int(rows[0])].as_py()}")


def compare_rows(
    corpus: Corpus,
    config: CompareConfig,
    rows_a: np.ndarray,
    rows_b: np.ndarray,
    base: np.ndarray | None = None,
    *,
    id: str = "",
    tests: tuple[str, ...] = ("rate", "presence"),
) -> tuple[pa.Table, Compared]:
    """Compare two sets of trace rows: `compare` once the groups are chosen; for null splits and simulations."""
    sample = choose_sample(corpus, rows_a, rows_b, config.min_problems, config.min_units, config.same_prompt)
    settings = TestSettings(config.permutations, config.seed, config.min_problems, config.include_format, tests)
    names = list(np.unique(sample.item_domain))
    families = [("all", sample)] + [(d, restrict(sample, d)) for d in names]
    tables, designs = [], {}
    tested = 0
    for domain, part in families:
        ok = _enough(part, config.min_problems)
        designs[domain] = ("paired" if part.paired else "unpaired") if ok else "not tested: too few problems"
        if not ok or (domain != "all" and len(names) == 1):
            continue
        for matched in ("equal units", "raw"):
            _say(f"{domain}, {matched}")
            columns = contrast(corpus, part, matched, base, settings)
            if (domain, matched) == ("all", "equal units"):
                tested = len(columns["z"])
            columns |= {
                "a": config.a,
                "b": config.b,
                "base": config.base,
                "domain": domain,
                "matched": matched,
                "design": "paired" if part.paired else "unpaired",
            }
            tables.append(_as_table(columns))
    if not tables:
        raise UserError(
            f"too few problems to test anything: {len(np.unique(sample.item))} where at least {config.min_problems} "
            f"are needed in each group; give more traces or lower --min-problems."
        )
    table = pa.concat_tables(tables)
    whole = table.filter(np.array([d == "all" for d in table["domain"].to_pylist()]))
    found = (whole["p_adj"].to_numpy() <= ALPHA), np.array(whole["matched"].to_pylist()) == "raw", whole["z"].to_numpy()
    return table, Compared(
        CompareResult(
            id=id,
            design="paired" if sample.paired else "unpaired",
            problems=len(sample.item_domain),
            traces_a=int((sample.group == 0).sum()),
            traces_b=int((sample.group == 1).sum()),
            left_out_a=len(rows_a) - int((sample.group == 0).sum()),
            left_out_b=len(rows_b) - int((sample.group == 1).sum()),
            units_a=int(corpus.units[sample.rows[sample.group == 0]].sum()),
            units_b=int(corpus.units[sample.rows[sample.group == 1]].sum()),
            motifs_tested=tested,
            discoveries_a=int((found[0] & ~found[1] & (found[2] > 0)).sum()),
            discoveries_b=int((found[0] & ~found[1] & (found[2] < 0)).sum()),
            discoveries_raw=int((found[0] & found[1]).sum()),
            domains=designs,
            prompts_differ=sample.prompts_differ,
            **sample_accuracy(corpus, sample),
        ),
        sample,
    )


def _enough(sample: Sample, least: int) -> bool:
    per_group = [len(np.unique(sample.item[sample.group == g])) for g in (0, 1)]
    return min(per_group) >= least


def _as_table(columns: dict[str, Any]) -> pa.Table:
    n = len(columns["motif_id"])
    full = {k: [v] * n if v is None or isinstance(v, str) else v for k, v in columns.items()}
    return pa.table({f.name: full[f.name] for f in COMPARISON}).cast(COMPARISON)


def _say(message: str) -> None:
    print(f"compare: {message}", file=sys.stderr, flush=True)
