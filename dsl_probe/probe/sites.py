"""The tokens around labelled states: what was read last, what was written next; and pairs of places to patch."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.collect.tokens import read_tokens, table_rows
from dsl_probe.probe.labels import Labels
from dsl_probe.probe.states import read_index
from dsl_probe.store import Run
from dsl_probe.types import UserError

if TYPE_CHECKING:
    from dsl_probe.models import Model

_COLUMNS = ["trace_id", "prompt", "text", "prompt_ids", "token_ids", "tokenizer", "prefix"]


@dataclass(frozen=True)
class Sites:
    """Labelled states with their places in token ids.

    position: int64[n], into `ids[trace_row]`, prompt and completion of the state's trace.
    """

    labels: Labels
    position: np.ndarray
    ids: dict[int, np.ndarray]

    def __len__(self) -> int:
        return len(self.position)

    @cached_property
    def token(self) -> np.ndarray:
        """int64[n], the token whose state it is."""
        return np.array([self._at(i, 0) for i in range(len(self))], np.int64)

    @cached_property
    def following(self) -> np.ndarray:
        """int64[n], the token that the trace has next; -1 at its end."""
        return np.array([self._at(i, 1) for i in range(len(self))], np.int64)

    def part(self, chosen: np.ndarray) -> "Sites":
        """The places that are chosen, by number or by bools."""
        return Sites(self.labels.part(chosen), self.position[chosen], self.ids)

    def read(self, i: int) -> list[int]:
        """The tokens up to a place, its own the last."""
        return self.ids[int(self.labels.trace_row[i])][: self.position[i] + 1].tolist()

    def _at(self, i: int, further: int) -> int:
        ids, place = self.ids[int(self.labels.trace_row[i])], self.position[i] + further
        return int(ids[place]) if place < len(ids) else -1


@dataclass(frozen=True)
class Pairs:
    """Numbers of places, int64[n] each: where something is patched, one of another value, and one of the same."""

    place: np.ndarray
    other: np.ndarray
    same: np.ndarray


def read_sites(run: Run, acts: str, labels: Labels, model: "Model", template: str = "raw") -> Sites:
    """The places of labelled states of a capture, with the tokens of their traces.

    Raises UserError where the model's tokens are not those that were captured.
    """
    index = read_index(run, acts)
    rows = index["row"].to_numpy()
    position = np.zeros(int(rows.max()) + 1, np.int64)
    position[rows] = index["position"].to_numpy()
    wanted, ids, first = set(labels.trace_row.tolist()), {}, 0
    for shard in run.shards("traces"):
        table = run.table(shard, _COLUMNS)
        for number, row in enumerate(table_rows(table), first):
            if number in wanted:
                ids[number] = read_tokens(row, number, model, template).ids
        first += table.num_rows
    found = Sites(labels, position[labels.rows], ids)
    for row, place in zip(labels.trace_row.tolist(), found.position.tolist(), strict=True):
        if place >= len(ids[row]):
            raise UserError(
                f"capture {acts!r} has a state at position {place} of a trace of {len(ids[row])} tokens: it is of "
                f"another tokenizer or template than {model.name} with {template!r}."
            )
    return found


def pair_sites(sites: Sites, tokenizer: Any, most: int, seed: int) -> Pairs:
    """At most `most` places in random order, each with a place of another value and one of the same, at random.

    A place counts if its trace writes the value there: if the next token is how the class begins. Of another value
    means another class and another token next; of the same, both the same. Both come from other problems.
    """
    labels, following = sites.labels, sites.following
    texts = {t: tokenizer.decode([t]).strip() for t in np.unique(following[following >= 0]).tolist()}
    written = [
        t >= 0 and texts[t] != "" and labels.classes[c].startswith(texts[t])
        for t, c in zip(following.tolist(), labels.of.tolist(), strict=True)
    ]
    usable = np.flatnonzero(written)
    rng = np.random.default_rng(seed)
    found = []
    for i in rng.permutation(usable):
        away = usable[labels.problem[usable] != labels.problem[i]]
        same_class, same_token = labels.of[away] == labels.of[i], following[away] == following[i]
        others, sames = away[~same_class & ~same_token], away[same_class & same_token]
        if len(others) and len(sames) and len(found) < most:
            found.append((i, rng.choice(others), rng.choice(sames)))
    columns = np.array(found, np.int64).reshape(-1, 3).T
    return Pairs(*columns)
