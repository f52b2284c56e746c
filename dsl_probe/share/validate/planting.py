"""Spikes put into the text of traces, and the traces mined anew: a run in which it is known what a model invented."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from dsl_probe.mine.corpus import units_of
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.share.corpus import Corpus
from dsl_probe.share.validate.spikes import GAP, NUMBER, REPURPOSED, Known, Spike
from dsl_probe.store import Run

_WIDEST_GAP = 3
_TRIES = 20


@dataclass(frozen=True)
class Texts:
    """Traces with the units that they were split into: texts; starts, stops (characters), counted (bool) of each."""

    texts: list[str]
    starts: list[np.ndarray]
    stops: list[np.ndarray]
    counted: list[np.ndarray]


@dataclass(frozen=True)
class Uses:
    """Planted uses. spike, trace: int32[k]. spans: of each use its pieces as (start, stop) in the characters of the new
    text; a use has two pieces where it has a gap."""

    spike: np.ndarray
    trace: np.ndarray
    spans: list[list[tuple[int, int]]]


@dataclass(frozen=True)
class PlantedCorpus:
    """A mined corpus and what was planted in it.

    use int32[n_units]: number of the planted use that a unit belongs to, -1 for none; a re-purposed word's own uses are
    uses, too. gap bool[n_units]: unit of the trace inside a gap. spike int32[k]: spike of each use; trace int32[k]: its
    trace; last int64[k]: its last unit; planted bool[k]: put there, not the trace's own. share: of all units planted.
    """

    corpus: Corpus
    spikes: tuple[Spike, ...]
    use: np.ndarray
    gap: np.ndarray
    spike: np.ndarray
    trace: np.ndarray
    last: np.ndarray
    planted: np.ndarray
    share: float


def read_texts(run: Run, rows: np.ndarray) -> tuple[pa.Table, Texts]:
    """Traces of a mined run, and their texts with units."""
    traces = run.shard_rows("traces", rows)
    units = run.shard_rows("units", rows, ["starts", "stops", "flags"])
    starts, stops, flags = (
        [np.asarray(one, np.int64) for one in units[name].to_pylist()] for name in ("starts", "stops", "flags")
    )
    return traces, Texts(traces["text"].to_pylist(), starts, stops, [flag == 0 for flag in flags])


def known_words(run: Run, corpus: Corpus, rows: np.ndarray, texts: Sequence[str]) -> Known:
    """What a spike must differ from, and the words that one may re-purpose: those of three small letters or more that
    are no slot, with the share of the traces that hold them among what is counted."""
    vocabulary = run.table("vocabulary", ["text", "kind", "slot"])
    forms = vocabulary["text"].to_pylist()
    ids = np.concatenate([s["ids"].combine_chunks().flatten().to_numpy() for s in run.each_shard("units", ["ids"])])
    at, bounds = units_of(rows, corpus.bounds)
    own = np.diff(corpus.counted)[at] > 0
    trace = np.repeat(np.arange(len(rows)), np.diff(bounds))[own]
    pair = np.unique(ids[at][own].astype(np.int64) * len(rows) + trace)
    share = np.bincount(pair // len(rows), minlength=len(forms)) / len(rows)
    kinds, slots = vocabulary["kind"].to_pylist(), vocabulary["slot"].to_pylist()
    usable = {
        form: float(share[i])
        for i, form in enumerate(forms)
        if share[i] > 0
        and kinds[i] == "word"
        and slots[i] == form
        and form.isalpha()
        and form.islower()
        and len(form) > 2
    }
    return Known(set("".join(texts)), {form.lower() for form in forms}, usable)


def plant_texts(
    texts: Texts, spikes: Sequence[Spike], traces: Sequence[np.ndarray], seed: int
) -> tuple[list[str], Uses]:
    """Put one or two uses of spike s into each trace of traces[s], between counted units. Nothing is taken away.

    A use stands apart from its neighbours by a space. Uses do not overlap. A trace without room stays as it is.

    >>> at = [np.array([0, 3]), np.array([2, 5]), np.ones(2, bool)]
    >>> texts = Texts(["so 12"], *([x] for x in at))
    >>> plant_texts(texts, [Spike("nonce", ("zorp",))], [np.array([0])], 0)[0]
    ['so zorp 12']
    """
    rng = np.random.default_rng([seed, 1])
    taken: dict[int, set[int]] = {}
    pieces: dict[int, list[tuple[int, int, int, str]]] = {}
    spike_of, trace_of = [], []
    for number, (spike, chosen) in enumerate(zip(spikes, traces, strict=True)):
        for trace in chosen.tolist():
            for _ in range(int(rng.integers(1, 3))):
                gap = int(rng.integers(1, _WIDEST_GAP + 1)) if GAP in spike.words else 0
                after = _place(texts.counted[trace], taken.setdefault(trace, set()), gap, rng)
                if after is None:
                    continue
                parts = " ".join(spike.words).split(f" {GAP} ")
                for k, part in enumerate(parts):
                    written = part.replace(NUMBER, str(rng.integers(2, 1_000)))
                    pieces.setdefault(trace, []).append((after + k * gap, len(spike_of), k, written))
                spike_of.append(number)
                trace_of.append(trace)
    spans: list[list[tuple[int, int]]] = [[] for _ in spike_of]
    written_texts = list(texts.texts)
    for trace, some in pieces.items():
        text, at, parts = texts.texts[trace], 0, []
        length = 0
        for after, use, _, written in sorted(some):
            stop = int(texts.stops[trace][after])
            parts += [text[at:stop], " ", written]
            length += stop - at + 1
            spans[use].append((length, length + len(written)))
            length += len(written)
            if not text[stop : stop + 1].isspace():
                parts.append(" ")
                length += 1
            at = stop
        written_texts[trace] = "".join([*parts, text[at:]])
    return written_texts, Uses(np.array(spike_of, np.int32), np.array(trace_of, np.int32), spans)


def _place(counted: np.ndarray, taken: set[int], gap: int, rng: np.random.Generator) -> int | None:
    """A unit after which a use fits: it, those in the gap and the next are counted, and no other use is there."""
    for _ in range(_TRIES):
        if len(counted) < gap + 2:
            break
        at = int(rng.integers(0, len(counted) - gap - 1))
        wanted = range(at, at + gap + 1)
        if counted[at : at + gap + 2].all() and taken.isdisjoint(wanted):
            taken.update(wanted)
            return at
    return None


def mine_planted(
    folder: Path, traces: pa.Table, texts: list[str], uses: Uses, spikes: Sequence[Spike], config: MineConfig
) -> PlantedCorpus:
    """Write the traces with their new texts to a run in `folder`, mine it as `config` has it, find the uses again."""
    run = Run.create(folder)
    run.begin("import", {}, {})
    at = traces.schema.get_field_index("text")
    table = traces.set_column(at, "text", pa.array(texts, pa.string()))
    run.finish("import", [run.write_shard("traces", 0, table)], {})
    mine_motifs(run, config, executor="process:1")
    corpus = Corpus.load(run, ["model"])
    return _locate(corpus, run, uses, tuple(spikes))


def _locate(corpus: Corpus, run: Run, uses: Uses, spikes: tuple[Spike, ...]) -> PlantedCorpus:
    units = run.all_shards("units", ["ids", "starts", "stops"])
    ids, starts, stops = (units[name].combine_chunks().flatten().to_numpy() for name in ("ids", "starts", "stops"))
    use = np.full(len(ids), -1, np.int32)
    gap = np.zeros(len(ids), bool)
    last = np.full(len(uses.spike), -1, np.int64)
    for number, (trace, spans) in enumerate(zip(uses.trace.tolist(), uses.spans, strict=True)):
        low, high = corpus.bounds[trace], corpus.bounds[trace + 1]
        for first, end in spans:
            begin = low + np.searchsorted(starts[low:high], first)
            close = low + np.searchsorted(stops[low:high], end, "right")
            if close > begin:
                if last[number] >= 0:
                    gap[last[number] + 1 : begin] = True
                use[begin:close] = number
                last[number] = close - 1
    # A use that the units of its neighbours swallowed is not seen, and no use.
    seen = last >= 0
    use = np.where(use >= 0, (np.cumsum(seen) - 1)[use], -1).astype(np.int32)
    spike, trace, last = uses.spike[seen], uses.trace[seen], last[seen]
    put = len(spike)
    share = float((use >= 0).mean())
    texts = run.table("vocabulary", ["text"])["text"].to_pylist()
    trace_of = np.repeat(np.arange(len(corpus.bounds) - 1), np.diff(corpus.bounds))
    for number, one in enumerate(spikes):
        if one.kind == REPURPOSED:
            own = np.flatnonzero((ids == texts.index(one.text)) & (use < 0)) if one.text in texts else np.zeros(0, int)
            use[own] = len(spike) + np.arange(len(own))
            spike = np.concatenate([spike, np.full(len(own), number, np.int32)])
            trace, last = np.concatenate([trace, trace_of[own]]), np.concatenate([last, own])
    return PlantedCorpus(corpus, spikes, use, gap, spike, trace, last, np.arange(len(spike)) < put, share)
