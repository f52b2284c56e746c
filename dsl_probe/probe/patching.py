"""Patch the state before a value from another trace: does the model then write the other trace's value?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsl_probe.collect.backends import capture
from dsl_probe.collect.decode import draw
from dsl_probe.collect.seeded import Sampling
from dsl_probe.probe.intervene import patch
from dsl_probe.probe.sites import Pairs, Sites

if TYPE_CHECKING:
    import torch

    from dsl_probe.models import Model

_NEXT = Sampling(temperature=0, max_new_tokens=1, loop_tokens=0)


@dataclass(frozen=True)
class Patched:
    """What comes next at each place, bool[n] each; problem: object[n].

    plain: the trace's own value, unpatched. arm: its own, though the state is of another value; placebo: its own, with
    the state of another trace that writes the same. flipped: the other's, with the other's state; flipped_plain: the
    other's, unpatched.
    """

    problem: np.ndarray
    plain: np.ndarray
    arm: np.ndarray
    placebo: np.ndarray
    flipped: np.ndarray
    flipped_plain: np.ndarray


def patch_values(model: "Model", sites: Sites, pairs: Pairs, layer: int, *, size: int = 64) -> Patched:
    """The greedy next token at each place, as it is and with the state of a layer from another trace.

    The whole state of block `layer` at the last token read is replaced (activation patching; Vig et al. 2020, Meng et
    al. 2022); keys and values of this and earlier layers, and of all earlier tokens, stay the trace's own. Donors'
    states are computed here, from their own tokens. size: sequences in a pass.

    What it does not show: which part of the state carries the value. A whole state also carries the place and what is
    to come, which the placebo, itself of another trace, changes alike. In the last layer a state is its next token, so
    that all flip.

    >>> patch_values(model, sites, pair_sites(sites, model.tokenizer, 200, 0), 2).flipped.mean()     # doctest: +SKIP
    """
    following = sites.following
    own, other = following[pairs.place], following[pairs.other]
    prefixes = [sites.read(i) for i in pairs.place]

    def following_of(donors: np.ndarray | None) -> np.ndarray:
        if donors is None:
            return _greedy(model, prefixes, size)
        read = [sites.read(i) for i in donors]
        states = capture(model, read, [layer], [[len(ids) - 1] for ids in read])[f"resid_post.{layer}"]
        return _greedy(model, prefixes, size, layer, states)

    plain, arm, placebo = (following_of(donors) for donors in (None, pairs.other, pairs.same))
    problem = sites.labels.problem[pairs.place]
    return Patched(problem, plain == own, arm == own, placebo == own, arm == other, plain == other)


def _greedy(
    model: "Model", prefixes: list[list[int]], size: int, layer: int = 0, states: "torch.Tensor | None" = None
) -> np.ndarray:
    """int64[n], the likeliest next token, with states [n, d] in place of a layer's own at the last token if given."""

    def drawn() -> np.ndarray:
        # Not joined: two places of one trace, or of equal ones, are read each by itself.
        done = draw(model, prefixes, [0] * len(prefixes), _NEXT, size=size, join=False) if prefixes else []
        return np.array([d.token_ids[0] for d in done], np.int64)

    if states is None:
        return drawn()
    with patch(model, layer, [[len(ids) - 1] for ids in prefixes], states):
        return drawn()
