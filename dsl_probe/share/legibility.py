"""How far a text is written for people: scripts, changes of script, known words, repetition, surprise; by problem.

`legibility` measures texts and nothing else, fast enough for a training monitor: 1,000 texts of 2,000 characters took
.33 s on one core, after .3 to .6 s for the table of scripts at the first call. `legibility_table` sets it out by group.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dsl_probe.groups import group_columns, problem_codes, select_rows
from dsl_probe.mine.corpus import group_column
from dsl_probe.mine.segment import Segmented, segment
from dsl_probe.share.means import mean_interval, problem_means
from dsl_probe.share.scripts import SCRIPTS, script_counts
from dsl_probe.store import Run
from dsl_probe.types import LEGIBILITY

# Units of a block that counts as repeated, a power of 2: a phrase of eight units seldom returns by chance.
BLOCK = 8


@dataclass(frozen=True)
class Legibility:
    """Measures of n texts, one entry a text; NaN where a text has nothing to measure.

    units, words: int64[n]. scripts: float64[n, 8], share of letters by `scripts.SCRIPTS`. script_mix: entropy of these
    shares in bits over log2 8 = 3 bits, 0 (one script) to 1 (all eight alike). switches: changes of script per 1,000
    units (see `scripts.script_counts`). out_of_lexicon: share of words that stand in no reference text; NaN without a
    reference. repetition: share of units inside a block of eight that stood before in the same text.
    """

    units: np.ndarray
    words: np.ndarray
    scripts: np.ndarray
    script_mix: np.ndarray
    switches: np.ndarray
    out_of_lexicon: np.ndarray
    repetition: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """Measure -> float64[n], the measures of `legibility_table`; share_latin .. share_other for the scripts."""
        shares = {f"share_{name}": self.scripts[:, k] for k, name in enumerate(SCRIPTS)}
        names = ("script_mix", "switches", "out_of_lexicon", "repetition")
        return shares | {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Lexicon:
    """The words of some reference texts, each with the problem that alone holds it, or -1 where several do.

    A word is no evidence of a common vocabulary where only this very problem's reference texts have it, and without
    this rule the reference model itself would never leave its own lexicon.
    """

    only: dict[str, int]

    def __len__(self) -> int:
        return len(self.only)


def lexicon(texts: Sequence[str], problem: np.ndarray | None = None) -> Lexicon:
    """The words of reference texts: a base model's traces, or the prompts.

    problem: int[n], the problem of each text; without it no word is held back.

    >>> lexicon(["Add both", "add 7"], np.array([0, 1])).only
    {'add': -1, 'both': 0}
    """
    units = segment(texts)
    owner = np.full(len(texts), -1) if problem is None else np.asarray(problem)
    word = _words(units)
    at = np.repeat(owner, np.diff(units.bounds))[word[units.ids]]
    ids = units.ids[word[units.ids]]
    first, last = np.full(len(units.texts), np.iinfo(np.int64).max), np.full(len(units.texts), -1, np.int64)
    np.minimum.at(first, ids, at)
    np.maximum.at(last, ids, at)
    only = np.where(first == last, last, -1)
    return Lexicon({units.texts[i]: int(only[i]) for i in np.flatnonzero(first <= last)})


def legibility(
    texts: Sequence[str],
    reference: Collection[str] | Lexicon | None = None,
    problem: np.ndarray | None = None,
) -> Legibility:
    """Text measures of each text, as `Legibility` defines them.

    reference: known words in lower case, as units write them, or a `Lexicon`; then `problem`, int[n], in the codes of
    the lexicon's texts, holds back words that only this problem's reference texts have. Words are the units of kind
    word and single CJK characters; numbers, formulas' commands and marks are no words. Any string is taken: empty, lone
    surrogates, combining marks, emoji.

    >>> out = legibility(["Add the 因此", ""], {"add", "the"})
    >>> out.words.tolist(), out.out_of_lexicon.tolist(), out.scripts[0, :2].round(2).tolist()
    ([4, 0], [0.5, nan], [0.75, 0.25])

    What it does not show: whether people understand the text. Known words in a private sense are legible by every
    measure here; a rare word, a name or an identifier is out of a lexicon made of few texts; a proof that repeats its
    own lines repeats. Echoes of the prompt and forced prefixes are part of what is read, and are not left out.
    """
    texts = list(texts)
    letters, changes = script_counts(texts)
    units = segment(texts)
    lengths = np.diff(units.bounds)
    owner = np.repeat(np.arange(len(texts)), lengths)
    is_word = _words(units)[units.ids]
    words = np.bincount(owner[is_word], minlength=len(texts))
    unknown = np.full(len(texts), np.nan)
    if reference is not None:
        outside = is_word & _outside(units, owner, reference, problem)
        unknown = _share(np.bincount(owner[outside], minlength=len(texts)), words)
    shares = _share(letters, letters.sum(1)[:, None])
    return Legibility(
        units=lengths,
        words=words,
        scripts=shares,
        script_mix=-(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1) / np.log2(len(SCRIPTS)) + 0.0,
        switches=1_000 * _share(changes, lengths),
        out_of_lexicon=unknown,
        repetition=_share(np.bincount(owner[repeated(units)], minlength=len(texts)), lengths),
    )


def repeated(units: Segmented) -> np.ndarray:
    """bool[n_units]: the unit lies in a block of eight that began earlier in the same text too; overlaps count.

    Blocks are numbered exactly, by doubling: pairs, pairs of pairs, and pairs of those.

    >>> repeated(segment(["a b c d e f g h a b c d e f g h"])).sum()
    np.int64(8)
    """
    n = len(units.ids) - BLOCK + 1
    if n < 1:
        return np.zeros(len(units.ids), bool)
    code, step = units.ids.astype(np.int64), 1
    while step < BLOCK:
        code = np.unique(code[:-step] * (code.max() + 1) + code[step:], return_inverse=True)[1]
        step *= 2
    owner = np.repeat(np.arange(len(units.bounds) - 1), np.diff(units.bounds))
    place = np.flatnonzero(owner[:n] == owner[BLOCK - 1 :])
    _, first, which = np.unique(owner[place] * (code.max() + 1) + code[place], return_index=True, return_inverse=True)
    again = place[first[which] != np.arange(len(place))]
    depth = np.bincount(again, minlength=len(units.ids) + 1) - np.bincount(again + BLOCK, minlength=len(units.ids) + 1)
    return np.cumsum(depth[:-1]) > 0


def legibility_table(run: Run, reference: str | None = None) -> pa.Table:
    """Rows of `types.LEGIBILITY`: each measure by model, domain (and `all`) and regime, with its interval by problem.

    reference: the group whose words are the lexicon, `model=BASE`; a word that only its traces of the very same problem
    hold counts as unknown there. Without it the lexicon is the words of all prompts. The value is the mean over
    problems of the mean over a problem's traces. `logprob.NAME`: mean log-probability of a trace's tokens, in nats,
    under each model that `score` has run. A model with a training run goes by the name of the run.

    What it does not show: what `legibility` does not show; a difference between two models that answered different
    problems may be the problems'. Log-probabilities compare texts under one scoring model, never two scoring models.
    """
    traces = run.all_shards("traces", ["problem_id", "domain", "model", "run", "regime"])
    domain, model, regime = (c.to_pylist() for c in (traces["domain"], group_column(traces), traces["regime"]))
    problem = problems_of_domains(traces)
    known = select_rows(run.all_shards("traces", group_columns(reference)), reference) if reference else None
    values = trace_measures(run, reference_lexicon(run, known, problem), problem)

    groups: dict[tuple[str, str, str], list[int]] = {}
    for i, (m, d, r) in enumerate(zip(model, domain, regime, strict=True)):
        groups.setdefault((m, d, r), []).append(i)
        groups.setdefault((m, "all", r), []).append(i)
    rows = []
    for (m, d, r), members in sorted(groups.items()):
        if d == "all" and sum(k[0] == m and k[2] == r for k in groups) == 2:
            continue  # one domain: all says the same
        of = np.unique(problem[members], return_inverse=True)[1]
        for measure, value in values.items():
            here = value[members]
            found = mean_interval(problem_means(here, of))
            rows.append(
                {"model": m, "domain": d, "regime": r, "measure": measure, "reference": reference or "prompts"}
                | {"value": found.value, "ci_low": found.low, "ci_high": found.high, "problems": found.problems}
                | {"traces": int((~np.isnan(here)).sum())}
            )
    return pa.Table.from_pylist(rows, schema=LEGIBILITY)


def problems_of_domains(traces: pa.Table) -> np.ndarray:
    """int64[n]: code of each trace's problem in its domain, from the columns problem_id and domain."""
    domain = np.array(traces["domain"].to_pylist(), object).astype(str)
    keys = np.stack([problem_codes(traces), np.unique(domain, return_inverse=True)[1]])
    return np.unique(keys, axis=1, return_inverse=True)[1]


def reference_lexicon(run: Run, rows: np.ndarray | None, problem: np.ndarray) -> Lexicon:
    """The words of the traces in these rows, in which `problem` tells who holds a word alone; None: of all prompts."""
    if rows is None:
        return lexicon(run.all_shards("traces", ["prompt"])["prompt"].unique().to_pylist())
    return lexicon(run.shard_rows("traces", rows, ["text"])["text"].to_pylist(), problem[rows])


def trace_measures(
    run: Run, words: Lexicon, problem: np.ndarray, rows: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Measure -> float64[traces] of a run: those of `Legibility.columns` and `logprob.NAME`; NaN outside `rows`."""
    wanted = np.ones(len(problem), bool)
    if rows is not None:
        wanted[:] = False
        wanted[rows] = True
    parts, first = [], 0
    for shard in run.each_shard("traces", ["text"]):
        here = slice(first, first + shard.num_rows)
        texts = shard["text"].filter(pa.array(wanted[here])).to_pylist()
        parts.append(legibility(texts, words, problem[here][wanted[here]]).columns())
        first = here.stop
    values = {name: np.full(len(problem), np.nan) for name in parts[0]}
    for name, value in values.items():
        value[wanted] = np.concatenate([part[name] for part in parts])
    scored = mean_logprobs(run, len(problem))
    return values | {name: np.where(wanted, value, np.nan) for name, value in scored.items()}


def mean_logprobs(run: Run, traces: int) -> dict[str, np.ndarray]:
    """`logprob.NAME` -> float64[traces], nats per token, for each scoring of the run; NaN where there is no score."""
    found = {}
    for stage in run.stages():
        kind, _, name = stage.partition(".")
        if kind != "score":
            continue
        values = np.full(traces, np.nan)
        for shard in run.each_shard(f"scores/{name}", ["trace_row", "logprobs"]):
            lists = shard["logprobs"].combine_chunks()
            owner = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
            # The first token of a trace without a prompt has none.
            tokens = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
            values[shard["trace_row"].to_numpy()] = problem_means(tokens, owner, len(lists))
        found[f"logprob.{name}"] = values
    return found


def _words(units: Segmented) -> np.ndarray:
    return np.array([kind in ("word", "cjk") for kind in units.kinds], bool)


def _outside(
    units: Segmented, owner: np.ndarray, reference: Collection[str] | Lexicon, problem: np.ndarray | None
) -> np.ndarray:
    """bool[n_units]: the unit stands in no reference text, or only in those of its own problem."""
    if not isinstance(reference, Lexicon):
        known = frozenset(reference)
        return np.array([text not in known for text in units.texts], bool)[units.ids]
    missing = -2
    only = np.array([reference.only.get(text, missing) for text in units.texts], np.int64)[units.ids]
    outside = only == missing
    if problem is not None:
        outside |= (only >= 0) & (only == np.asarray(problem)[owner])
    return outside


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
