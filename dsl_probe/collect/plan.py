"""The plan of a capture: for each shard of traces what is wanted where, and what all of it will take."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.collect.backends import batches
from dsl_probe.collect.domains import load_domain, problem_of
from dsl_probe.collect.estimate import Estimate, available_memory, pass_bytes, weight_bytes
from dsl_probe.collect.matched import wanted_spans
from dsl_probe.collect.positions import Place, places
from dsl_probe.collect.selfcheck import sample_of
from dsl_probe.collect.tokens import Tokens, context_length, read_tokens, table_rows
from dsl_probe.files import free_bytes
from dsl_probe.groups import group_columns, select_rows
from dsl_probe.store import Run
from dsl_probe.types import UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model

_COLUMNS = ["trace_id", "prompt", "text", "prefix", "prompt_ids", "token_ids", "tokenizer", "answer"]
_OF_PROBLEM = ["problem_id", "domain", "reference", "meta"]
_INDEX_BYTES = 68


@dataclass(frozen=True)
class Job:
    """One shard: its traces, and for each its places, the characters of the text that each has behind it (None where
    the tokens do not spell the text), and the positions they share."""

    tokens: list[Tokens]
    places: list[list[Place]]
    read: list[list[int | None]]
    positions: list[np.ndarray]
    left: Counter[str]

    def counts(self, share: float) -> Counter[str]:
        return self.left + Counter(
            traces=len(self.tokens),
            rows=sum(map(len, self.positions)),
            labels=sum(map(len, self.places)),
            tokenised=sum(t.source == "text" for t in self.tokens),
            checked=len(sample_of([t.trace_id for t in self.tokens], share, [len(p) for p in self.positions])),
        )


class Jobs:
    """The shards of a run as jobs, made when asked for, since their token ids need not fit in memory together."""

    def __init__(self, run: Run, config: Any, model: "Model", rules: list, motifs: list[str]):
        self.run, self.config, self.model, self.rules, self.motifs = run, config, model, rules, motifs
        self.names = run.shards("traces")
        sizes = [run.table(name, ["trace_id"]).num_rows for name in self.names]
        self.first = [0, *np.cumsum(sizes).tolist()]
        self.of_states = any(rule == "states" for rule, _ in rules)
        self.chosen: set[int] | None = None
        if config.only:
            traces = run.all_shards("traces", group_columns(config.only))
            self.chosen = set(select_rows(traces, config.only).tolist())
        self.last: tuple[int, Job] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Job:
        if self.last is None or self.last[0] != index:
            self.last = None
            self.last = index, self._make(index)
        return self.last[1]

    def _make(self, index: int) -> Job:
        first = self.first[index]
        wanted = {}
        if self.motifs:
            size = self.first[index + 1] - first
            wanted = wanted_spans(self.run, index, first, size, self.motifs, self.config.per_motif)
        limit = context_length(self.model)
        job = Job([], [], [], [], Counter())
        columns = [*_COLUMNS, *(_OF_PROBLEM if self.of_states else [])]
        empty = np.zeros(0, np.int32)
        for row, trace in enumerate(table_rows(self.run.table(self.names[index], columns)), first):
            if self.chosen is not None and row not in self.chosen:
                continue
            tokens = read_tokens(trace, row, self.model, self.config.template)
            if limit is not None and len(tokens.ids) > limit:
                job.left["too_long"] += 1
                continue
            spans = tokens.spans(self.model.tokenizer)
            if spans is None and any(rule != "every" for rule, _ in self.rules):
                job.left["unaligned"] += 1
                continue
            states = self._states(trace) if self.of_states else []
            near = spans or (empty, empty)
            found = places(tokens, near, self.rules, trace["answer"], wanted.get(row, ()), states)
            job.tokens.append(tokens)
            job.places.append(found)
            job.read.append([_read(tokens, spans, p.position) for p in found])
            job.positions.append(np.unique(np.array([p.position for p in found], np.int32)))
        return job

    def _states(self, trace: Mapping[str, Any]) -> list[tuple[int, int, int]]:
        domain = load_domain(trace["domain"])
        if domain.state is None:
            raise UserError(
                f"--at states: the domain {trace['domain']!r} tells no state of a completion; leave its "
                f"traces out with --only domain=NAME, or give it a function state(problem, completion)."
            )
        found = domain.state(problem_of(trace), trace["text"])
        return [(s.index, s.start, s.stop) for s in found if s.start is not None]


def _read(tokens: Tokens, spans: tuple[np.ndarray, np.ndarray] | None, position: int) -> int | None:
    if spans is None:
        return None
    following = position - tokens.n_prompt + 1
    return int(spans[0][following]) if following < len(spans[0]) else len(tokens.text)


def passes_of(job: Job, config: Any) -> Iterator[list[int]]:
    """Which traces share a pass."""
    used = [i for i, p in enumerate(job.positions) if len(p)]
    for members in batches([len(job.tokens[i].ids) for i in used], config.batch, config.batch_tokens):
        yield [used[m] for m in members]


def estimate_of(run: Run, config: Any, model: "Model", n_layers: int, jobs: Jobs, name: str, force: bool) -> Estimate:
    totals: Counter[str] = Counter()
    passes, checks, ids = 0, 0, 0
    done = 0
    for index in range(len(jobs)):
        job = jobs[index]
        totals += job.counts(config.self_check)
        size = sum(map(len, job.positions)) * model.d_model * n_layers * (2 if config.dtype == "bf16" else 4)
        size += sum(map(len, job.places)) * _INDEX_BYTES + 4_096 * (1 + n_layers)
        totals["disk"] += size
        if not force and run.has(f"acts/{name}/{index:05d}.index.parquet"):
            done += size
        lengths = [len(t.ids) for t in job.tokens]
        totals["tokens"] += sum(n for n, p in zip(lengths, job.positions, strict=True) if len(p))
        ids = max(ids, sum(lengths) * 4 + sum(map(len, job.places)) * 200 + sum(len(t.text) for t in job.tokens))
        for members in passes_of(job, config):
            longest = max(lengths[i] for i in members)
            rows = sum(len(job.positions[i]) for i in members)
            passes = max(passes, pass_bytes(model, len(members), longest, rows * n_layers))
        if config.self_check:
            checks = max(checks, pass_bytes(model, 1, max(lengths, default=0), 0, every_layer=True))
    return Estimate(
        traces=totals["traces"],
        tokens=totals["tokens"],
        rows=totals["rows"],
        layers=n_layers,
        disk=totals["disk"],
        disk_to_write=totals["disk"] - done,
        disk_free=free_bytes(run.path),
        weights=weight_bytes(model),
        work=max(passes, checks) + ids,
        available=available_memory(model),
    )
