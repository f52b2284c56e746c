"""What the claims are judged by: the figures of a comparison, set out by how the groups were trained."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dsl_probe.collect.curve import CURVE_COLUMNS, curve_table
from dsl_probe.mine.corpus import group_column
from dsl_probe.mine.language import read_grammar
from dsl_probe.share.claims.foresee import Foresight, foresee, motif_counts, some_problems
from dsl_probe.share.contrast import ALPHA
from dsl_probe.share.corpus import Corpus
from dsl_probe.share.differences import PAIRS, Sides, measure_rows
from dsl_probe.share.legibility import problems_of_domains
from dsl_probe.share.means import Estimate, mean_interval, problem_means
from dsl_probe.store import Run

# Regime -> the part that a group plays in the claims. R1 is fine-tuned and then reinforced: it counts as fine-tuned.
ROLES = {"rl_only": "rl_only", "sft": "sft", "sft_rl": "sft", "base": "base"}
LEAST_SAMPLES = 4
_COLUMNS = ("model", "run", "regime", "start_ckpt", "template", "sampling", "prefix", "finish", "correct", "sample")


@dataclass(frozen=True)
class Group:
    """How one group was made and sampled: what could explain a difference otherwise.

    units: counted units a trace. samples: least number of traces a problem. prefixed, truncated: shares of its traces.
    models: models or training runs.
    """

    name: str
    regimes: tuple[str, ...]
    starts: tuple[str, ...] = ("unknown",)
    models: int = 1
    traces: int = 0
    problems: int = 0
    samples: int = 1
    units: float = 0.0
    accuracy: float | None = None
    temperatures: tuple[float, ...] = ()
    templates: tuple[str, ...] = ()
    prefixed: float = 0.0
    truncated: float = 0.0


@dataclass(frozen=True)
class Motifs:
    """Motifs of the RL-only group against its base, at equal units over all domains; each number is part of the former.

    over: over-represented (p_adj <= .05). novel: and absent from the base's traces; None if that was not tested.
    stable: and stable. load_bearing: and load-bearing; None until effects have run on them. problems: of both groups.
    paired: the two were swapped within problems.
    """

    tested: int
    problems: int
    over: int
    novel: int | None
    stable: int
    load_bearing: int | None
    paired: bool = True
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """Gain in accuracy for each doubling of the tokens spent on whole chains; passed: pass@1; k: the most chains."""

    model: str
    passed: float
    slopes: Mapping[str, Estimate]
    k: int


@dataclass(frozen=True)
class Verified:
    """Right and complete traces, no two of a problem with the same text. share: of the traces, by problem. new: those
    whose text the base did not write for that problem; None without a base."""

    distinct: int
    problems: int
    share: Estimate
    new: int | None = None


@dataclass(frozen=True)
class Facts:
    """All that the rules of `claims` look at. roles: rl_only, sft, base -> side; groups: side -> group.

    differences: (role, role, measure, domain) -> first less second, both ways round. subject: the side that claims on
    one model speak of, the RL-only group where there is one. elsewhere: role -> a group of the run that could play it
    on these problems. sharing: RL-only less SFT, mean Morisita-Horn similarity over pairs of domains.
    """

    groups: Mapping[str, Group]
    roles: Mapping[str, str]
    subject: str = "a"
    design: str = "paired"
    prompts_differ: int = 0
    rl_domains: tuple[str, ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    differences: Mapping[tuple[str, str, str, str], Estimate] = field(default_factory=dict)
    sharing: Estimate | None = None
    motifs: Motifs | None = None
    grammars: Mapping[str, tuple[str, Estimate]] = field(default_factory=dict)
    foresight: Foresight | None = None
    curves: tuple[Curve, ...] = ()
    tree: tuple[int, int] | None = None
    verified: Verified | None = None

    def name(self, role: str) -> str:
        """The group that plays a role."""
        return self.groups[self.roles[role]].name


def read_facts(
    run: Run, corpus: Corpus, sides: Sides, config: Any, counts: Any, table: pa.Table, legibility: pa.Table
) -> Facts:
    """The facts of a comparison, from its tables (`table`: types.COMPARISON) and from the traces of its groups.

    config, counts: the comparison's CompareConfig and CompareResult. Languages and trees of the run are read as they
    are now: one that is made later needs the comparison to be made again.
    """
    traces = run.all_shards("traces", ["problem_id", "domain", *_COLUMNS])
    problem = problems_of_domains(traces)
    correct = np.array(traces["correct"].to_pylist(), np.float64)
    groups = {side: _group(sides.names[side], traces, rows, problem, corpus) for side, rows in sides.rows.items()}
    roles: dict[str, str] = {}
    for side, group in groups.items():
        if len(group.regimes) == 1 and group.regimes[0] in ROLES:
            roles.setdefault(ROLES[group.regimes[0]], side)
    accuracy = measure_rows({"accuracy": correct}, sides, problem, corpus.domains, config.rl_domains)
    differences = oriented([*legibility.to_pylist(), *accuracy], roles)
    subject = roles.get("rl_only", "a")
    own = sides.rows[subject]
    base = sides.rows.get(roles["base"]) if "base" in roles else None
    both = differences.get(("rl_only", "base", "repetition", "all"))
    direct = {roles.get("rl_only"), roles.get("base")} == {"a", "b"}
    problems = counts.problems if direct else both.problems if both else 0
    return Facts(
        groups=groups,
        roles=roles,
        subject=subject,
        design=counts.design,
        prompts_differ=counts.prompts_differ,
        rl_domains=tuple(config.rl_domains),
        elsewhere=_elsewhere(traces, problem, sides.all_rows),
        differences=differences,
        sharing=_sharing(counts, roles),
        motifs=motifs_against_base(table, groups, roles, problems) if both else None,
        grammars=_grammars(run, groups[roles["rl_only"]].name) if "rl_only" in roles else {},
        foresight=_foresight(corpus, own, correct, config.seed),
        curves=_curves(run, own, groups[subject].samples, config.seed),
        tree=_tree(run, set(traces["model"].take(pa.array(own)).to_pylist())),
        verified=_verified(run, traces, own, base, problem, correct),
    )


def oriented(rows: Sequence[Mapping[str, Any]], roles: Mapping[str, str]) -> dict[tuple[str, str, str, str], Estimate]:
    """Differences by role: (first, second, measure, domain) -> estimate, and with its sign turned (second, first, ..).

    >>> row = {"group": "A - B", "measure": "m", "domain": "all", "value": 1.0, "ci_low": 0.5, "ci_high": 2.0}
    >>> oriented([row | {"problems": 9}], {"sft": "a", "rl_only": "b"})["rl_only", "sft", "m", "all"]
    Estimate(value=-1.0, low=-2.0, high=-0.5, problems=9)
    """
    of_side = {side: role for role, side in roles.items()}
    found = {}
    for row in rows:
        first, second = (of_side.get(side) for side in PAIRS.get(row["group"], ("", "")))
        if first and second:
            one = Estimate(row["value"], row["ci_low"], row["ci_high"], row["problems"])
            found[first, second, row["measure"], row["domain"]] = one
            found[second, first, row["measure"], row["domain"]] = turned(one)
    return found


def turned(found: Estimate) -> Estimate:
    """The same difference, the other way round."""
    return Estimate(-found.value, -found.high, -found.low, found.problems)


def motifs_against_base(
    table: pa.Table, groups: Mapping[str, Group], roles: Mapping[str, str], problems: int
) -> Motifs | None:
    """Motifs of the RL-only group against the base, from the rows of types.COMPARISON that set these two side by side.

    None where the table has no such rows: the comparison was of two other groups.
    """
    own = groups[roles["rl_only"]].name
    others = {group.name for side, group in groups.items() if side not in (roles["rl_only"], roles["base"])}
    columns = ["a", "b", "domain", "matched", "design", "text", "z", "p_adj", "novelty", "stable", "load_bearing"]
    t = table.select(columns).to_pandas().fillna({"a": "", "b": ""})
    t = t[(t.domain == "all") & (t.matched == "equal units") & ((t.a == own) | (t.b == own))]
    t = t[~t.a.isin(others) & ~t.b.isin(others)]
    if t.empty:
        return None
    sign = np.where(t.a == own, 1, -1)
    over = t[(t.p_adj <= ALPHA) & (t.z * sign > 0)]
    tested = bool((~t.novelty.str.startswith("not tested")).any())
    novel = over[over.novelty.str.startswith("absent from")]
    stable = novel[novel.stable.fillna(False).astype(bool)]
    judged = stable.load_bearing.notna()
    return Motifs(
        tested=len(t),
        problems=problems,
        over=len(over),
        novel=len(novel) if tested else None,
        stable=len(stable),
        load_bearing=int(stable.load_bearing[judged].astype(bool).sum()) if judged.any() else None,
        paired=bool((t.design == "paired").all()),
        texts=tuple(stable.sort_values("z", key=np.abs, ascending=False).text[:6]),
    )


def _group(name: str, traces: pa.Table, rows: np.ndarray, problem: np.ndarray, corpus: Corpus) -> Group:
    t = traces.take(pa.array(rows))
    column = {n: t[n].to_pylist() for n in _COLUMNS}
    judged = np.array(column["correct"], np.float64)
    _, n = np.unique(problem[rows], return_counts=True)
    samplings = [json.loads(s or "{}") for s in set(column["sampling"])]
    return Group(
        name=name,
        regimes=tuple(sorted(set(column["regime"]))),
        starts=tuple(sorted(set(column["start_ckpt"]))),
        models=len(set(group_column(t).to_pylist())),
        traces=len(rows),
        problems=len(n),
        samples=int(n.min()),
        units=float(corpus.units[rows].mean()),
        accuracy=mean_interval(problem_means(judged, np.unique(problem[rows], return_inverse=True)[1])).value
        if not np.isnan(judged).all()
        else None,
        temperatures=tuple(sorted({float(s["temperature"]) for s in samplings if s.get("temperature") is not None})),
        templates=tuple(sorted({x for x in column["template"] if x is not None})),
        prefixed=float(np.mean([bool(x) for x in column["prefix"]])),
        truncated=float(np.mean([x in ("length", "loop") for x in column["finish"]])),
    )


def _elsewhere(traces: pa.Table, problem: np.ndarray, used: np.ndarray) -> dict[str, str]:
    """A group of the run for each role: the model or training run with the most traces of that regime on the problems
    of the traces in `used`."""
    here = traces.filter(pa.array(np.isin(problem, problem[used])))
    names = group_column(here).to_pylist()
    counts: dict[str, Counter[str]] = {}
    for name, run, regime in zip(names, here["run"].to_pylist(), here["regime"].to_pylist(), strict=True):
        if regime in ROLES:
            group = f"{'model' if run is None else 'run'}={name},regime={regime}"
            counts.setdefault(ROLES[regime], Counter())[group] += 1
    return {role: min(of, key=lambda group, of=of: (-of[group], group)) for role, of in counts.items()}


def _sharing(counts: Any, roles: Mapping[str, str]) -> Estimate | None:
    """Sharing is compared between A and B; who is RL-only decides the sign."""
    if counts.sharing_difference is None or {roles.get("rl_only"), roles.get("sft")} != {"a", "b"}:
        return None
    found = Estimate(*counts.sharing_difference, counts.problems)
    return found if roles["rl_only"] == "a" else turned(found)


def _grammars(run: Run, group: str) -> dict[str, tuple[str, Estimate]]:
    """Domain -> verdict, and bits a unit of the grammar less those of the Markov model, of the group's languages."""
    found = {}
    for id, config in run.languages().items():
        if config["group"] == group and run.has(f"languages/{id}/grammar.json"):
            for domain, grammar in read_grammar(run, id).items():
                if "bits" in grammar:
                    found[domain] = grammar["verdict"], Estimate(*grammar["bits"]["difference"], grammar["problems"])
    return found


def _foresight(corpus: Corpus, rows: np.ndarray, correct: np.ndarray, seed: int) -> Foresight | None:
    rows = rows[~np.isnan(correct[rows])]
    rows = rows[some_problems(corpus.problem[rows], seed)]
    if len(rows) == 0:
        return None
    domain = np.unique(corpus.domains[rows], return_inverse=True)[1]
    counts = motif_counts(corpus, rows, min_problems=10)
    return foresee(counts, correct[rows] == 1, corpus.problem[rows], domain, corpus.units[rows], seed)


def _curves(run: Run, rows: np.ndarray, samples: int, seed: int) -> tuple[Curve, ...]:
    """One a model, over all its domains; none where a problem has fewer than LEAST_SAMPLES chains."""
    if samples < LEAST_SAMPLES:
        return ()
    t = curve_table([run.shard_rows("traces", rows, CURVE_COLUMNS)], seed=seed).to_pandas()
    made = []
    for model, found in t.groupby("model"):
        found = found[found.domain == ("all" if (found.domain == "all").any() else found.domain.iloc[0])]
        passed = found[(found.measure == "pass") & (found.k == 1)].value.iloc[0]
        slopes = {
            row.measure: Estimate(row.value, row.ci_low, row.ci_high, row.n_problems)
            for row in found[found.measure.str.endswith("_slope")].itertuples()
        }
        made.append(Curve(str(model), float(passed), slopes, int(found.k.max())))
    # Completions without a verdict are left out, so there may be fewer than the group has.
    return tuple(c for c in made if c.k >= LEAST_SAMPLES)


def _tree(run: Run, models: set[str]) -> tuple[int, int] | None:
    """Steps of a tree of these models, and how many of them change the accuracy."""
    if not run.has("tree.parquet"):
        return None
    t = run.frame("tree", ["model", "p_adj"])
    t = t[t.model.isin(models) & t.p_adj.notna()]
    return (len(t), int((t.p_adj <= ALPHA).sum())) if len(t) else None


def _verified(
    run: Run, traces: pa.Table, rows: np.ndarray, base: np.ndarray | None, problem: np.ndarray, correct: np.ndarray
) -> Verified | None:
    if np.isnan(correct[rows]).all():
        return None
    finish = traces["finish"].take(pa.array(rows)).to_pylist()
    texts = list(zip(problem[rows].tolist(), run.shard_rows("traces", rows, ["text"])["text"].to_pylist(), strict=True))
    seen: set[tuple[int, str]] = set()
    good = np.full(len(rows), np.nan)
    for i, (row, key, how) in enumerate(zip(rows, texts, finish, strict=True)):
        if not np.isnan(correct[row]):
            good[i] = correct[row] == 1 and key not in seen and how not in ("length", "loop")
            if good[i]:
                seen.add(key)
    written = None
    if base is not None and not np.array_equal(base, rows):
        text = run.shard_rows("traces", base, ["text"])["text"].to_pylist()
        written = len(seen - set(zip(problem[base].tolist(), text, strict=True)))
    code = np.unique(problem[rows], return_inverse=True)[1]
    return Verified(len(seen), len({p for p, _ in seen}), mean_interval(problem_means(good, code)), written)
