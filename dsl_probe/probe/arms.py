"""The arms of an effect: for a trace that uses a motif what the model is given, and the same for its placebo."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from dsl_probe.collect.seeded import key_of
from dsl_probe.collect.tokens import Tokens, read_tokens
from dsl_probe.models import Model
from dsl_probe.probe import edits
from dsl_probe.probe.edits import Chain
from dsl_probe.probe.spans import Motif, Spans

OF_MOTIFS, OF_CHAINS = ("ban", "delete", "replace"), ("shuffle", "blank")
WHOLE = Motif("", "(chain)", ())
# Uses that are looked at for how a span is spelled in tokens, evenly spaced.
_SPELLED = 2_000
ARM, PLACEBO = "arm", "placebo"


@dataclass(frozen=True)
class Draw:
    """One completion to be drawn: after the prompt of a trace (number among the rows) and the tokens `kept` of its
    completion, without the sequences of tokens `bans`. removed: the text that is taken away."""

    trace: int
    intervention: str
    arm: str
    removed: str
    kept: list[int]
    bans: tuple[tuple[int, ...], ...] = ()


class Arms:
    """What is drawn for each motif and trace of a model.

    rows: the traces (TRACES), those of the numbers in `tokens` have a verdict and tokens that spell their text.
    """

    def __init__(self, spans: Spans, rows: Sequence[Mapping[str, Any]], model: Model, seed: int, after: int):
        self.spans, self.rows, self.model, self.seed, self.after = spans, rows, model, seed, after
        self.tokens: dict[int, Tokens] = {}
        self.chains: dict[int, Chain] = {}
        self.left_out: dict[str, int] = {}
        for t, row in enumerate(rows):
            if row["correct"] is None:
                self._leave("no verdict")
                continue
            tokens = read_tokens(dict(row), t, model)
            found = tokens.spans(model.tokenizer)
            if found is None:
                self._leave("tokens do not spell the text")
                continue
            ids = tokens.completion.tolist()
            self.tokens[t], self.chains[t] = tokens, Chain(ids, *found, row["text"])
        self.begun = edits.counter(self.chains) if self.chains else lambda sequence: 0
        self._bans = lru_cache(maxsize=4096)(self._bans_of)

    def _leave(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def prompt(self, trace: int) -> list[int]:
        tokens = self.tokens[trace]
        return tokens.ids[: tokens.n_prompt].tolist()

    def order(self, traces: Sequence[int], name: str) -> list[int]:
        """Traces in the order in which they are taken: domains in turn, in each problem after problem, then their
        further samples; within that at random, by seed and name."""
        rank = {t: key_of(self.seed, f"{name}/{self.rows[t]['trace_id']}", 0) for t in traces}
        seen: dict[tuple[str, str], int] = {}
        turn = {}
        for t in sorted(traces, key=rank.__getitem__):
            problem = (self.rows[t]["domain"], self.rows[t]["problem_id"] or self.rows[t]["trace_id"])
            turn[t] = seen[problem] = seen.get(problem, -1) + 1
        place: dict[str, int] = {}
        key = {}
        for t in sorted(traces, key=lambda t: (turn[t], rank[t])):
            domain = self.rows[t]["domain"]
            key[t] = place[domain] = place.get(domain, -1) + 1
        return sorted(traces, key=lambda t: (key[t], self.rows[t]["domain"]))

    def of_motif(self, motif: Motif, wanted: Sequence[str]) -> Iterator[tuple[int, list[Draw]]]:
        """For each trace in order the draws of all interventions, arms and placebos; traces in which one of them is
        not possible are left out with a count."""
        uses = {t: spans for t, spans in self.spans.uses(motif).items() if t in self.chains}
        told = self._sequences(uses)
        for t in self.order(list(uses), motif.motif_id):
            rng = np.random.default_rng(key_of(self.seed, f"{motif.motif_id}/{self.rows[t]['trace_id']}", 1))
            placebo = self.spans.others(t, uses[t], len(uses), rng)
            if placebo is None:
                self._leave("no span for a placebo")
                continue
            draws = self.edited(t, ARM, motif.text, uses[t], told, wanted, rng, len(uses))
            said, banned = self.spans.text(placebo[0]), self.bans_of(placebo[0])
            draws += self.edited(t, PLACEBO, said, placebo, banned, wanted, rng, len(uses))
            if len(draws) == 2 * len(wanted):
                yield t, draws
            else:
                self._leave("a token holds more than the span")

    def of_chain(self, wanted: Sequence[str]) -> Iterator[tuple[int, list[Draw]]]:
        """For each trace in order the draws of `shuffle` and `blank`; their placebo is the chain as it was, from which
        the answer alone is drawn again."""
        for t in self.order(list(self.chains), WHOLE.text):
            chain, row = self.chains[t], self.rows[t]
            rng = np.random.default_rng(key_of(self.seed, row["trace_id"], 2))
            begin = len(row["prefix"] or "") if row["text"].startswith(row["prefix"] or "") else 0
            place = edits.answered(chain, row["answer"], begin)
            if place is None:
                self._leave("no answer is found in the text")
                continue
            units = self.spans.units
            bounds = units.starts[units.bounds[t] : units.bounds[t + 1]]
            draws = []
            for intervention in wanted:
                kept = (
                    edits.blank(chain, place) if intervention == "blank" else edits.shuffle(chain, place, bounds, rng)
                )
                draws.append(Draw(t, intervention, ARM, WHOLE.text, kept))
                draws.append(Draw(t, intervention, PLACEBO, "", chain.ids[: place[2]]))
            yield t, draws

    def edited(
        self,
        t: int,
        arm: str,
        removed: str,
        found: np.ndarray,
        sequences: tuple[tuple[int, ...], ...],
        wanted: Sequence[str],
        rng: np.random.Generator,
        support: int,
    ) -> list[Draw]:
        """The draws of one arm in one trace. found: int[k, 2], uses in it of what is removed; sequences: what spells
        it, for a ban. An intervention that is not possible is left out."""
        chain, units, draws = self.chains[t], self.spans.units, []
        chosen = found[int(rng.integers(len(found)))]
        for intervention in wanted:
            if intervention == "ban":
                kept = edits.ban(chain, self._characters(found[0])) if sequences else None
            else:
                last = min(int(chosen[1]) - 1 + self.after, int(units.bounds[t + 1]) - 1)
                other = self._other(chosen, support, rng) if intervention == "replace" else []
                kept = edits.replace(chain, self._characters(chosen), int(units.stops[last]), other)
            if kept is not None:
                draws.append(Draw(t, intervention, arm, removed, kept, sequences if intervention == "ban" else ()))
        return draws

    def bans_of(self, span: np.ndarray) -> tuple[tuple[int, ...], ...]:
        """What to rule out so that the text of a span is not written."""
        length = int(span[1] - span[0])
        return self._bans(length, int(self.spans.of_length(length)[0][span[0]]))

    def _other(self, chosen: np.ndarray, support: int, rng: np.random.Generator) -> list[int]:
        """Tokens of a span from anywhere, of the same length and frequency."""
        for _ in range(20):
            span = np.array(self.spans.elsewhere(chosen, support, rng))
            place = int(self.spans.doc[span[0]])
            at = self.chains[place].tokens(*self._characters(span)) if place in self.chains else None
            if at is not None:
                return self.chains[place].ids[at[0] : at[1]]
        return []

    def _characters(self, span: np.ndarray) -> tuple[int, int]:
        return int(self.spans.units.starts[span[0]]), int(self.spans.units.stops[span[1] - 1])

    def _sequences(self, uses: Mapping[int, np.ndarray]) -> tuple[tuple[int, ...], ...]:
        spans = np.concatenate(list(uses.values())) if uses else np.zeros((0, 2), np.int64)
        if len(spans) > _SPELLED:
            spans = spans[np.linspace(0, len(spans) - 1, _SPELLED).astype(int)]
        found = ((self.chains[int(self.spans.doc[span[0]])], self._characters(span)) for span in spans)
        return tuple(edits.bans(edits.spellings(found), self.begun))

    def _bans_of(self, length: int, number: int) -> tuple[tuple[int, ...], ...]:
        starts = np.flatnonzero(self.spans.of_length(length)[0] == number)
        starts = starts[np.isin(self.spans.doc[starts], list(self.chains))]
        return self._sequences({0: np.stack([starts, starts + length], 1)})
