"""A tree: completions that share a finished trace up to one of its steps and are drawn afresh from there."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dsl_probe.collect.seeded import Outcome, Progress, key_of
from dsl_probe.types import Problem, UserError

if TYPE_CHECKING:
    from dsl_probe.collect.domains import Domain
    from dsl_probe.collect.local import LocalBackend
    from dsl_probe.store import Run

_COLUMNS = ["trace_id", "problem_id", "domain", "template", "prompt", "text", "prefix", "prompt_ids", "token_ids"]
_COLUMNS += ["tokenizer", "answer", "correct"]


@dataclass(frozen=True)
class Start:
    """A place in a parent that completions are drawn from: after `kept` of its tokens, before step `number`.

    parent: row of the source run. text: what it wrote from here to its next start, at token `stop`, or to its end.
    prefix: all that stands before, without the prompt.
    """

    parent: dict[str, Any]
    number: int
    kept: int
    stop: int
    text: str
    prefix: str

    @property
    def id(self) -> str:
        """Names the start in keys and trace ids."""
        return f"{self.parent['trace_id']}/{self.kept}"


# What completions are drawn for; without a start from the beginning.
Planned: TypeAlias = "tuple[Domain, Problem, Start | None]"


def source_problems(source: "Run") -> dict[str, Any]:
    """domains, problem_seed and n of the collect that made a run, so that its problems can be made again.

    Raises UserError where there is no such record: how a text is verified may hang on what the domain knows of the
    problem and no trace holds.
    """
    record = source.stage("collect")
    if record is None:
        raise UserError(
            f"--resample {source.path}: no finished collect there. Problems cannot be made again from traces alone; "
            f"name the run that dsl-probe collect made."
        )
    was = record["config"]
    if was.get("resample"):
        raise UserError(f"--resample {source.path} is a tree itself; resample its source, {was['resample']}.")
    if was.get("server"):
        raise UserError(f"--resample {source.path}: a server drew its traces, which therefore have no token ids.")
    return {"domains": tuple(was["domains"]), "problem_seed": was["problem_seed"], "n": was["n"]}


def plan(
    source: "Run",
    backend: "LocalBackend",
    asked: "Sequence[tuple[Domain, Problem]]",
    name: str,
    *,
    n: int,
    every: int = 1,
) -> tuple[list[Planned], dict[str, int]]:
    """The starts of n parents a domain, in the order of the source; and why other parents were left out.

    Parents: sample 0 of each problem in the source's order, then sample 1 and so on, the first n of each domain. In a
    run of several models only those of the model called `name`. Starts: before every `every`-th step of the text
    (`positions.step_spans`: sentences and lines), the first one included, as far as --max-new-tokens reaches.

    A parent is left out whose problem the domain does not give any more as it was (a changed file of problems, another
    version of a generator), or whose tokens do not spell its text, so that no step can be told.
    """
    from dsl_probe.collect.local import check_fit

    light = source.all_shards("traces", ["model", "domain", "sample"]).to_pylist()
    models = sorted({row["model"] for row in light})
    if len(models) > 1 and name not in models:
        raise UserError(f"--resample holds traces of {', '.join(models)}; --name one of them, not {name!r}.")
    by_domain: dict[str, list[int]] = defaultdict(list)
    for i in sorted(range(len(light)), key=lambda i: (light[i]["sample"], i)):
        if len(models) == 1 or light[i]["model"] == name:
            by_domain[light[i]["domain"]].append(i)
    chosen = sorted(i for rows in by_domain.values() for i in rows[:n])
    problems = {problem.id: (domain, problem) for domain, problem in asked}
    planned: list[Planned] = []
    left_out: Counter[str] = Counter()
    for row in source.shard_rows("traces", chosen, _COLUMNS).to_pylist():
        if row["token_ids"] is None or row["tokenizer"] != backend.tokenizer_hash:
            raise UserError(
                f"trace {row['trace_id']} has no token ids of {backend.model.name}'s tokenizer; resampling needs "
                f"traces that dsl-probe collect drew from a model with the same tokenizer."
            )
        domain, problem = problems.get(row["problem_id"], (None, None))
        kept = step_starts(backend.model.tokenizer, row)
        if domain is None or problem is None or problem.prompt != row["prompt"]:
            left_out["its problem is not in the domain as it was"] += 1
        elif kept is None:
            left_out["its tokens do not spell its text"] += 1
        else:
            planned += [(domain, problem, start) for start in _starts(backend, row, kept, every)]
    if not planned:
        raise UserError(f"--resample {source.path}: nothing to resample: {dict(left_out) or 'no traces'}.")
    prompts = [start.parent["prompt_ids"] for _, _, start in planned if start]
    check_fit(backend.model, prompts, backend.options.max_new_tokens)
    return planned, dict(sorted(left_out.items()))


def _starts(backend: "LocalBackend", row: dict[str, Any], kept: list[int], every: int) -> list[Start]:
    from dsl_probe.collect.local import shown

    ids, options = row["token_ids"], backend.options
    numbered = [(number, k) for number, k in enumerate(kept) if number % every == 0 and k < options.max_new_tokens]
    ends = [*(k for _, k in numbered[1:]), len(ids)]
    return [
        Start(
            parent=row,
            number=number,
            kept=k,
            stop=end,
            text=shown(backend.model, ids[k:end], options),
            prefix=row["prefix"] + shown(backend.model, ids[:k], options),
        )
        for (number, k), end in zip(numbered, ends, strict=True)
    ]


def step_starts(tokenizer: Any, row: Mapping[str, Any]) -> list[int] | None:
    """Numbers of tokens before each step of a trace; 0 is the first. None if the tokens do not spell the text."""
    import numpy as np

    from dsl_probe.collect.positions import step_spans
    from dsl_probe.collect.tokens import char_spans

    text = row["text"].removeprefix(row["prefix"])
    spans = char_spans(tokenizer, row["token_ids"], text)
    if spans is None:
        return None
    firsts = {int(np.searchsorted(spans[0], start, "right")) - 1 for start, _ in step_spans(text)}
    return sorted({0, *(first for first in firsts if first > 0)})


def draw_from(backend: "LocalBackend", wanted: Sequence[tuple[Start, int]], progress: Progress) -> list[Outcome]:
    """A completion for each (start, sample).

    What was kept stands at the end of `prompt_ids`, so that every token id of a completion was drawn, and its text in
    `text`, so that the whole is verified. Kept and drawn tokens together are at most --max-new-tokens: a late start
    gets no more room than its parent had.
    """
    from dsl_probe.collect.decode import draw
    from dsl_probe.collect.local import shown

    prompts = [[*start.parent["prompt_ids"], *start.parent["token_ids"][: start.kept]] for start, _ in wanted]
    done = draw(
        backend.model,
        prompts,
        [key_of(backend.seed, start.id, sample) for start, sample in wanted],
        backend.options,
        size=backend.size,
        limits=[backend.options.max_new_tokens - start.kept for start, _ in wanted],
        progress=progress,
    )
    return [
        Outcome(
            text=start.prefix + shown(backend.model, completion.token_ids, backend.options),
            prompt_ids=prompt,
            meta={"parent": start.parent["trace_id"], "step": start.kept, "step_number": start.number},
            **asdict(completion),
        )
        for (start, _), prompt, completion in zip(wanted, prompts, done, strict=True)
    ]
