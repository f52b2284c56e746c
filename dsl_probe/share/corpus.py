"""What comparisons read: traces, counted units, occurrences; and which traces of two groups are set side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from scipy import sparse

from dsl_probe.groups import problem_codes
from dsl_probe.mine.segment import is_format
from dsl_probe.store import Run

CONTENT_KINDS = ("number", "data", "math", "code", "format")
WILDCARD = "*"
_BLOCK = 1 << 22  # occurrences that are counted at once
_MOTIF_COLUMNS = ["motif_id", "text", "length", "format"]


@dataclass(frozen=True)
class Corpus:
    """What every comparison of a run reads: traces, counted units, occurrences outside echoes.

    counted: int32[units + 1], cumulative number of counted units (no echo, prefix or format). motifs: closed motifs,
    then the lexicon's motifs with a wildcard, whose occurrences are their uses in the parse, variants among them.
    Occurrences are sorted by motif; motif m is row m of `motifs`.
    """

    run: Run
    traces: pa.Table
    problem: np.ndarray
    prompt: np.ndarray
    bounds: np.ndarray
    counted: np.ndarray
    motif: np.ndarray
    trace: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    motifs: pa.Table

    @classmethod
    def load(cls, run: Run, columns: list[str]) -> "Corpus":
        names = sorted({"problem_id", "domain", "sample", "finish", "correct", "start_model", "model", *columns})
        traces = run.all_shards("traces", names)
        flags, lengths = [], []
        for shard in run.each_shard("units", ["flags"]):
            lists = shard["flags"].combine_chunks()
            flags.append(lists.flatten().to_numpy())
            lengths.append(np.diff(lists.offsets.to_numpy()))
        flat = np.concatenate(flags)
        counted = np.zeros(len(flat) + 1, np.int32)
        np.cumsum(flat == 0, out=counted[1:])
        motifs = run.table("motifs", _MOTIF_COLUMNS)
        wild = _with_wildcard(run, motifs)
        found = [_occurrences(run, "occurrences", motifs, 0), _occurrences(run, "parse", wild, motifs.num_rows)]
        motif, trace, start, stop = (np.concatenate(column) for column in zip(*found, strict=True))
        prompts = run.all_shards("traces", ["prompt"])["prompt"].combine_chunks().dictionary_encode()
        return cls(
            run,
            traces,
            problem_codes(traces),
            prompts.indices.to_numpy(),
            np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
            counted,
            motif,
            trace,
            start,
            stop,
            pa.concat_tables([motifs, wild]),
        )

    @cached_property
    def domains(self) -> np.ndarray:
        return np.array(self.traces["domain"].to_pylist(), object)

    @cached_property
    def units(self) -> np.ndarray:
        """Counted units of each trace, int32[n_traces]."""
        return self.counted[self.bounds[1:]] - self.counted[self.bounds[:-1]]

    def characters(self, trace: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and last (exclusive) character in the trace's text of spans of units."""
        first, last = self._characters
        return first[self.bounds[trace] + start], last[self.bounds[trace] + stop - 1]

    @cached_property
    def _characters(self) -> tuple[np.ndarray, np.ndarray]:
        shards = list(self.run.each_shard("units", ["starts", "stops"]))
        flat = [[s[n].combine_chunks().flatten().to_numpy() for s in shards] for n in ("starts", "stops")]
        return np.concatenate(flat[0]), np.concatenate(flat[1])


def _with_wildcard(run: Run, motifs: pa.Table) -> pa.Table:
    """Motifs of the lexicon with a wildcard; the others are closed motifs, or cannot be told from one by their form."""
    if not run.has("lexicon.parquet"):
        return motifs.slice(0, 0)
    table = run.table("lexicon", ["motif_id", "text", "length", "pattern"])
    wild = [WILDCARD in pattern for pattern in table["pattern"].to_pylist()]
    known = set(motifs["motif_id"].to_pylist())
    keep = np.array(wild, bool) & np.array([m not in known for m in table["motif_id"].to_pylist()], bool)
    tags = [any(is_format(unit) for unit in pattern) for pattern in table["pattern"].to_pylist()]
    return table.drop(["pattern"]).append_column("format", pa.array(tags, pa.bool_())).filter(pa.array(keep))


def _occurrences(run: Run, name: str, motifs: pa.Table, first: int) -> tuple[np.ndarray, ...]:
    """Motif (numbered from `first`), trace, start and stop of the occurrences outside echoes, sorted by motif."""
    if not motifs.num_rows:
        return tuple(np.zeros(0, np.int32) for _ in range(4))
    found = run.table(name, ["motif_id", "trace_row", "start", "stop", "echo"], dictionary=["motif_id"])
    codes = found["motif_id"].unify_dictionaries().combine_chunks()
    rank = {name: first + i for i, name in enumerate(motifs["motif_id"].to_pylist())}
    to_row = np.array([rank.get(name, -1) for name in codes.dictionary.to_pylist()], np.int32)
    motif = to_row[codes.indices.to_numpy()] if len(to_row) else np.zeros(0, np.int32)
    own = np.flatnonzero(~found["echo"].to_numpy() & (motif >= 0))
    own = own[np.argsort(motif[own], kind="stable")]
    return motif[own], *(found[n].to_numpy()[own] for n in ("trace_row", "start", "stop"))


@dataclass(frozen=True)
class Sample:
    """The traces that are tested: rows, group (0 = A, 1 = B), item (problem) of each, and per item its domain.

    prompts_differ: paired problems that carry one id and not the same prompts in both groups. item_stratum: unpaired
    problems are exchanged within it (default: within their domain).
    """

    rows: np.ndarray
    group: np.ndarray
    item: np.ndarray
    item_domain: np.ndarray
    paired: bool
    prompts_differ: int = 0
    item_stratum: np.ndarray | None = None


def choose_sample(
    corpus: Corpus,
    rows_a: np.ndarray,
    rows_b: np.ndarray,
    min_problems: int,
    min_units: int = 0,
    same_prompt: bool = False,
) -> Sample:
    """Pair the groups by problem where at least `min_problems` are shared, else keep whole problems apart.

    Paired: the first min(n_a, n_b) samples of each shared problem. Unpaired: problems that both groups hold are left
    out, since they can belong to neither. Problems in which a group wrote fewer than `min_units` are left out; the rule
    does not look at which group it is. With `same_prompt` a problem is its id and its prompt.
    """
    rows = np.concatenate([rows_a, rows_b])
    group = np.repeat([0, 1], [len(rows_a), len(rows_b)])
    domain_names, domain = np.unique(corpus.domains[rows], return_inverse=True)
    prompt = corpus.prompt[rows]
    key = np.stack([corpus.problem[rows], domain, prompt if same_prompt else np.zeros_like(prompt)])
    keys, item = np.unique(key, axis=1, return_inverse=True)
    order = np.lexsort((rows, np.array(corpus.traces["sample"].take(pa.array(rows)).to_pylist()), group, item))
    rows, group, item = rows[order], group[order], item[order]
    n = np.zeros((2, keys.shape[1]), np.int64)
    np.add.at(n, (group, item), 1)
    both = n.min(0)
    paired = int((both > 0).sum()) >= min_problems
    if paired:
        block = item * 2 + group
        first = np.searchsorted(block, block)
        keep = np.arange(len(rows)) - first < both[item]
    else:
        keep = both[item] == 0
    rows, group, item = rows[keep], group[keep], item[keep]
    wrote = np.zeros((2, keys.shape[1]), np.int64)
    np.add.at(wrote, (group, item), corpus.units[rows])
    enough = (wrote.min(0) if paired else wrote.max(0))[item] >= min_units
    rows, group, item = rows[enough], group[enough], item[enough]
    used, item = np.unique(item, return_inverse=True)
    differ = _prompts_differ(item, group, corpus.prompt[rows]) if paired else 0
    return Sample(rows, group, item, domain_names[keys[1, used]], paired, differ)


def _prompts_differ(item: np.ndarray, group: np.ndarray, prompt: np.ndarray) -> int:
    """Problems with a prompt that only one of the groups was given."""
    seen = np.unique(np.stack([item, prompt, group]), axis=1)
    pair, times = np.unique(seen[:2], axis=1, return_counts=True)
    return len(np.unique(pair[0, times == 1]))


def restrict(sample: Sample, domain: str) -> Sample:
    """The part of a sample that lies in one domain."""
    inside = subsample(sample, (sample.item_domain == domain)[sample.item])
    assert inside is not None, domain
    return inside


def subsample(sample: Sample, keep: np.ndarray) -> Sample | None:
    """Some traces of a sample, bool[traces], with the problems that they leave; None if they are none."""
    if not keep.any():
        return None
    used, item = np.unique(sample.item[keep], return_inverse=True)
    stratum = None if sample.item_stratum is None else sample.item_stratum[used]
    return Sample(
        sample.rows[keep], sample.group[keep], item, sample.item_domain[used], sample.paired, item_stratum=stratum
    )


def cuts(sample: Sample, units: np.ndarray) -> np.ndarray:
    """Counted units to keep of each trace of the sample so that the groups have equal amounts of text. int64[traces].

    Paired: within a problem the group with more units is cut, each of its traces by the same share, to the total of the
    other. Unpaired: to the median length of the domain's traces, both groups pooled. Neither rule looks at which group
    is which, so that the permutations stay exact.
    """
    own = units[sample.rows].astype(np.int64)
    if sample.paired:
        total = np.zeros((2, len(sample.item_domain)), np.int64)
        np.add.at(total, (sample.group, sample.item), own)
        share = total.min(0)[sample.item] / np.maximum(total[sample.group, sample.item], 1)
        return np.floor(own * share + 1e-9).astype(np.int64)
    limit = np.empty(len(own), np.int64)
    for domain in np.unique(sample.item_domain):
        here = sample.item_domain[sample.item] == domain
        limit[here] = int(np.median(own[here]))
    return np.minimum(own, limit)


def trace_counts(corpus: Corpus, rows: np.ndarray, keep_units: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Occurrences within the kept units: (position in `rows`, motif, count) int32, one row each that is not zero.

    A trace that stands in both groups gives two positions.
    """
    found = []
    # The first and any second position of a trace; a third cannot be, there are two groups.
    order = np.argsort(rows, kind="stable")
    second = np.zeros(len(rows), bool)
    second[order[1:]] = rows[order[1:]] == rows[order[:-1]]
    for which in (~second, second):
        if not which.any():
            continue
        place = np.full(corpus.traces.num_rows, -1, np.int32)
        place[rows[which]] = np.flatnonzero(which)
        for block in _blocks_of_motifs(corpus.motif):
            trace, stop, motif = corpus.trace[block], corpus.stop[block], corpus.motif[block]
            at = place[trace]
            here = np.flatnonzero(at >= 0)
            at, base = at[here], corpus.bounds[trace[here]]
            read = corpus.counted[base + stop[here]] - corpus.counted[base]
            kept = read <= keep_units[at]
            pair, n = np.unique(motif[here][kept].astype(np.int64) * len(rows) + at[kept], return_counts=True)
            found.append(tuple(a.astype(np.int32) for a in (pair % len(rows), pair // len(rows), n)))
    entries, motifs, counts = (np.concatenate([np.zeros(0, np.int32), *column]) for column in zip(*found, strict=True))
    return entries, motifs, counts


def _blocks_of_motifs(motif: np.ndarray) -> Iterator[slice]:
    """All occurrences of some motifs at a time, about _BLOCK, so that memory stays bounded."""
    low = 0
    while low < len(motif):
        high = int(np.searchsorted(motif, motif[min(low + _BLOCK, len(motif)) - 1], "right"))
        yield slice(low, high)
        low = high


def unit_counts(corpus: Corpus, sample: Sample, content: Sequence[str] = ()) -> list[sparse.csr_matrix]:
    """Counts [problems, word types] of each group's counted units.

    Numbers, data, formulas, code, format tags and the words in `content` (capitals aside) are no vocabulary.
    """
    vocabulary = corpus.run.table("vocabulary", ["kind", "text"])
    kinds, texts = (np.array(vocabulary[name].to_pylist(), object) for name in ("kind", "text"))
    left_out = {word.casefold() for word in content}
    usable = ~np.isin(kinds, CONTENT_KINDS) & np.array([text.casefold() not in left_out for text in texts], bool)
    ids = np.concatenate(
        [s["ids"].combine_chunks().flatten().to_numpy() for s in corpus.run.each_shard("units", ["ids"])]
    )
    own = (np.diff(corpus.counted) > 0) & usable[ids]
    matrices = []
    for g in (0, 1):
        rows, items = sample.rows[sample.group == g], sample.item[sample.group == g]
        lengths = corpus.bounds[rows + 1] - corpus.bounds[rows]
        offsets = np.repeat(corpus.bounds[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        position = np.arange(lengths.sum()) + offsets
        item = np.repeat(items, lengths)
        keep = own[position]
        matrices.append(
            sparse.csr_matrix(
                (np.ones(int(keep.sum())), (item[keep], ids[position[keep]])), (len(sample.item_domain), len(usable))
            )
        )
    return matrices
