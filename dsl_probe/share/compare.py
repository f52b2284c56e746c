"""The compare stage: which motifs one group of traces over-uses, and how far its domains share a vocabulary."""

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.groups import checked_name, group_columns, select_rows, slug
from dsl_probe.probe.effect_table import read_bearing
from dsl_probe.share.accuracy import same_accuracy, sample_accuracy
from dsl_probe.share.claims import claims
from dsl_probe.share.claims.facts import read_facts
from dsl_probe.share.comparison import (
    EQUAL,
    MATCHED,
    SAME_ACCURACY,
    CompareConfig,
    CompareResult,
    Comparison,
    Contrast,
)
from dsl_probe.share.contrast import ALPHA, NO_BASE, RAW, Novelty, TestSettings, contrast
from dsl_probe.share.corpus import Corpus, Sample, choose_sample, restrict
from dsl_probe.share.differences import Sides
from dsl_probe.share.domains import domain_sharing
from dsl_probe.share.legibility_contrast import checked_domains, legibility_contrast
from dsl_probe.share.shift import ratios, shift_rows
from dsl_probe.share.union import Runs, one_run
from dsl_probe.shown import say
from dsl_probe.stages import stage_of_run
from dsl_probe.types import COMPARISON, SHARING, SHIFT, UserError


def comparison_id(config: CompareConfig) -> str:
    """Name of a comparison's folder: the one asked for, or a readable one with a hash of the groups."""
    if config.name:
        return checked_name(config.name)
    slugs = [slug(group.partition("=")[2], 32) for group in (config.a, config.b)]
    key = hashlib.blake2b("\0".join([config.a, config.b, config.base or ""]).encode(), digest_size=3).hexdigest()
    return f"{slugs[0]}-vs-{slugs[1]}-{key}"


@stage_of_run
def compare(
    runs: Runs,
    config: CompareConfig | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    **options: Any,
) -> Comparison:
    """Compare two or three groups of traces; writes comparisons/ID/*.parquet and claims.json.

    compare(run, a="model=X", b="model=Y") is compare(run, CompareConfig(a=..., b=...)). runs: a Run, its folder, or a
    list of them, whose union is then made in `out` and mined (`union.one_run`).

    Paired (problems that both groups answered): the groups are swapped at random within each problem; where one group
    has more samples of a problem, only as many as the other has are used. Unpaired: whole problems are exchanged within
    a domain. The headline is `equal units`: within a problem every trace is cut so that both groups have the same
    number of counted units (unpaired: cut to the domain's median length); `raw` stands beside it, and `equal accuracy`,
    at equal units on traces of which as many are right in either group (`accuracy.same_accuracy`). p is the permutation
    p of the studentised difference in rate, p_adj its step-down max-T over all motifs of one pair of groups, domain and
    matching, p_presence and p_adj_presence the same for how often a trace holds the motif at all. p_exact: p of the
    same test over all sign patterns, exact or by saddle point (`signflip`), and q its false discovery rate by Benjamini
    and Yekutieli; both paired only. rate_a and rate_b are means over problems, per unit. Tested are the closed motifs
    and the lexicon's motifs with a wildcard.

    With a base group that is neither A nor B there are three pairs, A with B, A with base, B with base, each with its
    own problems and family of tests. Novelty: whether the base wrote the motif on the same problems; and, where `score`
    has read the traces with A's model and the base's, the bits by which A's prefers it (`shift.motif_bits`).

    Written: comparison, sharing, legibility and shift. Claims are judged last, with what else the run holds by then
    (languages, trees, scores, effects): where one is made later, compare again with `force`.

    What it does not show: a cause. The groups may differ in template, sampling, accuracy or truncation; problems made
    from one template are less independent than they count; rates are compositional.
    """
    run = one_run(runs, out)
    config = config or CompareConfig(**options)
    if config.permutations < 99:
        raise UserError(f"--permutations is {config.permutations}; below 99 no p can reach .01.")
    id = comparison_id(config)
    stage = f"compare.{id}"
    inputs = run.trace_files() | run.outputs("mine")
    for name in run.stages():
        if name.startswith(("score.", "effects.")):
            inputs |= run.outputs(name)
    if run.begin(stage, asdict(config), inputs, force):
        try:
            corpus = Corpus.load(run, group_columns(config.a, config.b, config.base))
            checked_domains(corpus.traces, config.rl_domains)
            groups = _groups(corpus, config)
            found = [_pair(corpus, config, groups, (config.a, config.b))]
        except UserError:
            run.abandon(stage)
            raise
        for pair in _pairs(config, groups)[1:]:
            try:
                found.append(_pair(corpus, config, groups, pair))
            except UserError as error:  # the base may know few of the problems: A and B are compared all the same
                _say(f"left out: {error}")
        tables, results, samples = zip(*found, strict=True)
        shared, difference = domain_sharing(corpus, (config.a, config.b), samples[0], config.content)
        table = pa.concat_tables(list(tables))
        done = CompareResult(
            **asdict(results[0]),
            id=id,
            base=groups.base,
            against_base=tuple(asdict(result) for result in results[1:]),
            sharing_difference=difference,
        )
        base = None if groups.base is None else groups.rows[groups.base]
        sides = Sides.of(config.a, config.b, groups.base, (groups.rows[config.a], groups.rows[config.b], base))
        _say("legibility")
        legible = legibility_contrast(run, sides, base, config.rl_domains)
        _say("claims")
        judged = claims(read_facts(run, corpus, sides, config, done, table, legible))
        outputs = [
            run.write_table(f"comparisons/{id}/comparison.parquet", table),
            run.write_table(f"comparisons/{id}/sharing.parquet", pa.Table.from_pylist(shared, schema=SHARING)),
            run.write_table(f"comparisons/{id}/legibility.parquet", legible),
            run.write_table(f"comparisons/{id}/shift.parquet", _shift(corpus, groups)),
            run.write_json(f"comparisons/{id}/claims.json", [claim.as_json() for claim in judged]),
        ]
        run.finish(stage, outputs, asdict(done), seed=config.seed)
    return Comparison(run, id)


@dataclass(frozen=True)
class _Groups:
    """Trace rows by group, and what the base group is called; None where there is none."""

    rows: dict[str, np.ndarray]
    base: str | None


def _groups(corpus: Corpus, config: CompareConfig) -> _Groups:
    rows = {group: select_rows(corpus.traces, group) for group in (config.a, config.b)}
    if config.drop_truncated:
        bad = np.isin(np.array(corpus.traces["finish"].to_pylist(), object), ["length", "loop"])
        rows = {group: own[~bad[own]] for group, own in rows.items()}
        if not all(len(own) for own in rows.values()):
            raise UserError("--drop-truncated leaves one group without traces.")
    base = config.base
    if base:
        rows.setdefault(base, select_rows(corpus.traces, base))
    else:
        named = {n for n in corpus.traces["start_model"].take(pa.array(rows[config.a])).to_pylist() if n}
        found = np.flatnonzero(np.isin(np.array(corpus.traces["model"].to_pylist(), object), list(named)))
        if len(named) == 1 and len(found):
            base = f"model={named.pop()}"
            rows.setdefault(base, found)
    return _Groups(rows, base)


def _pairs(config: CompareConfig, groups: _Groups) -> list[tuple[str, str]]:
    """A with B; and each with the base where that is a third group with other traces."""
    pairs = [(config.a, config.b)]
    if groups.base and not any(np.array_equal(groups.rows[groups.base], groups.rows[g]) for g in pairs[0]):
        pairs += [(config.a, groups.base), (config.b, groups.base)]
    return list(dict.fromkeys(pairs))


def _pair(corpus: Corpus, config: CompareConfig, groups: _Groups, pair: tuple[str, str]):
    a, b = pair
    novelty = NO_BASE
    if groups.base is not None:
        rows = groups.rows[groups.base]
        novelty = Novelty(rows, np.array_equal(groups.rows[b], rows), ratios(corpus.run, a, groups.base))
    config = replace(config, a=a, b=b, base=groups.base)
    try:
        return compare_rows(corpus, config, groups.rows[a], groups.rows[b], novelty)
    except UserError as error:
        raise UserError(f"{a} against {b}: {error}") from error


def _shift(corpus: Corpus, groups: _Groups) -> pa.Table:
    rows = []
    for group in groups.rows:
        found = None if groups.base is None else ratios(corpus.run, group, groups.base)
        if found is not None and group != groups.base:
            rows += shift_rows(found, group, groups.rows[group], corpus.problem, corpus.domains)
    return pa.Table.from_pylist(rows, schema=SHIFT)


def compare_rows(
    corpus: Corpus,
    config: CompareConfig,
    rows_a: np.ndarray,
    rows_b: np.ndarray,
    novelty: Novelty = NO_BASE,
    *,
    tests: tuple[str, ...] = ("rate", "presence"),
    matched: tuple[str, ...] = MATCHED,
) -> tuple[pa.Table, Contrast, Sample]:
    """Compare two sets of trace rows: `compare` once the groups are chosen; for null splits and simulations."""
    sample = choose_sample(corpus, rows_a, rows_b, config.min_problems, config.min_units, config.same_prompt)
    settings = TestSettings(config.permutations, config.seed, config.min_problems, config.include_format, tests)
    names = list(np.unique(sample.item_domain))
    domains = ["all", *names] if len(names) > 1 else ["all"]
    tables, designs = [], {}
    models = corpus.traces["model"]
    bearing = [read_bearing(corpus.run, set(models.take(pa.array(r)).to_pylist())) for r in (rows_a, rows_b)]
    for domain in domains:
        whole = sample if domain == "all" else restrict(sample, domain)
        enough = _enough(whole, config.min_problems)
        designs[domain] = ("paired" if whole.paired else "unpaired") if enough else "not tested: too few problems"
        for how in matched:
            used = same_accuracy(corpus, whole) if how == SAME_ACCURACY else whole
            if used is None or not _enough(used, config.min_problems):
                continue
            _say(f"{config.a} against {config.b}: {domain}, {how}")
            about = {"a": config.a, "b": config.b, "base": config.base, "domain": domain, "matched": how}
            of_a, of_b = ({m: held for (m, d), held in side.items() if d == domain} for side in bearing)
            columns = contrast(corpus, used, how, settings, novelty, (of_a, of_b))
            tables.append(_as_table(columns | about | {"design": designs[domain]}))
    if len(names) == 1:
        designs[names[0]] = designs["all"]
    if not tables:
        raise UserError(
            f"too few problems to test anything: {len(np.unique(sample.item))} where at least {config.min_problems} "
            f"are needed in each group; give more traces or lower --min-problems."
        )
    table = pa.concat_tables(tables)
    return table, _counted(corpus, config, sample, table, (len(rows_a), len(rows_b)), designs), sample


def _counted(
    corpus: Corpus,
    config: CompareConfig,
    sample: Sample,
    table: pa.Table,
    given: tuple[int, int],
    designs: dict[str, str],
) -> Contrast:
    names = ["domain", "matched", "z", "p_adj", "part_of", "novelty"]
    rows = table.select(names).filter(pc.field("domain") == "all").to_pylist()
    found = {how: [row for row in rows if row["matched"] == how] for how in MATCHED}
    sides = {
        how: [[r for r in of if r["p_adj"] <= ALPHA and s * r["z"] > 0] for s in (1, -1)] for how, of in found.items()
    }
    traces = [int((sample.group == g).sum()) for g in (0, 1)]
    alone = [sum(row["part_of"] is None for row in side) for side in sides[EQUAL]]
    return Contrast(
        a=config.a,
        b=config.b,
        design="paired" if sample.paired else "unpaired",
        problems=len(sample.item_domain),
        traces_a=traces[0],
        traces_b=traces[1],
        left_out_a=given[0] - traces[0],
        left_out_b=given[1] - traces[1],
        units_a=int(corpus.units[sample.rows[sample.group == 0]].sum()),
        units_b=int(corpus.units[sample.rows[sample.group == 1]].sum()),
        motifs_tested=len(found[EQUAL]),
        discoveries_a=len(sides[EQUAL][0]),
        discoveries_b=len(sides[EQUAL][1]),
        separate_a=alone[0],
        separate_b=alone[1],
        new_a=sum(row["novelty"].startswith("absent") for row in sides[EQUAL][0]),
        discoveries_raw=sum(map(len, sides[RAW])),
        discoveries_same_accuracy=sum(map(len, sides[SAME_ACCURACY])) if found[SAME_ACCURACY] else None,
        domains=designs,
        prompts_differ=sample.prompts_differ,
        **sample_accuracy(corpus, sample),
    )


def _enough(sample: Sample, least: int) -> bool:
    per_group = [len(np.unique(sample.item[sample.group == g])) for g in (0, 1)]
    return min(per_group) >= least


def _as_table(columns: dict[str, Any]) -> pa.Table:
    n = len(columns["motif_id"])
    full = {k: [v] * n if v is None or isinstance(v, str) else v for k, v in columns.items()}
    return pa.table({f.name: full[f.name] for f in COMPARISON}).cast(COMPARISON)


def _say(message: str) -> None:
    say(f"compare: {message}")
