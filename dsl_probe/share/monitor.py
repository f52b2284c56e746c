"""Monitor: what one step of training wrote, beside its base, in a few figures that can be logged while it runs.

    >>> found = monitor(["so zorp it is"] * 40, ["so it is then"] * 40)
    >>> found.words, found.opener, found.opener_share
    (('zorp',), 'so zorp it', 1.0)

Not shown: that a word is new to the model, or means anything; it is beyond what the base's texts lead to expect.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dsl_probe.mine import segment as seg
from dsl_probe.mine.private import find_words
from dsl_probe.mine.slots import slot_forms
from dsl_probe.share.legibility import legibility
from dsl_probe.share.means import mean_interval, problem_means

OPENER = 3  # units
_LISTED = 20


@dataclass(frozen=True)
class Monitored:
    """Figures of one step. Those that are means over traces have a 95 % interval by problem: (value, low, high).

    traces: how many; words: over-used words, the strongest first; novelty: share of a trace's units that are these;
    opener: the most common first three units, opener_share: of the traces; turnover: 1 - shared / all of the words now
    and before, NaN without any before; script_mix in bits, switches of script per 1,000 units, repetition: share of
    units in blocks that stood before.
    """

    traces: int
    words: tuple[str, ...]
    novelty: tuple[float, float, float]
    opener: str
    opener_share: float
    turnover: float
    script_mix: tuple[float, float, float]
    switches: tuple[float, float, float]
    repetition: tuple[float, float, float]

    def as_dict(self) -> dict[str, Any]:
        """One number a name, as loggers want it: intervals as name_low and name_high, the words as a count."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "words":
                flat["words"] = len(value)
            elif isinstance(value, tuple):
                flat |= dict(zip((name, f"{name}_low", f"{name}_high"), value, strict=True))
            else:
                flat[name] = value
        return flat


def monitor(
    traces: Sequence[str],
    base: Sequence[str],
    *,
    problems: Sequence[Any] | None = None,
    previous: Monitored | None = None,
    min_traces: int = 20,
    min_problems: int = 10,
) -> Monitored:
    """What the texts of one step show, beside texts of the base model on like problems.

    problems: the problem of each trace, of the traces and then of the base; by default each text is one of its own.
    previous: the figures of the step before, for the turnover. min_traces, min_problems: least traces and problems that
    hold a word; a step of few prompts needs a lower one. 1,000 traces of 2,000 characters beside as many of the base
    take about a second on one core.
    """
    if not traces or not base:
        raise ValueError(f"monitor needs texts on both sides; got {len(traces)} traces and {len(base)} of the base")
    texts = [*traces, *base]
    if problems is not None and len(problems) != len(texts):
        raise ValueError(f"problems has {len(problems)} entries for {len(traces)} traces and {len(base)} of the base")
    names = {name: i for i, name in enumerate(dict.fromkeys(problems or ()))}
    problem = np.array([names[p] for p in problems]) if problems is not None else np.arange(len(texts))
    units = seg.segment(texts)
    forms = slot_forms(units.texts, units.kinds, ("NUM", "DATA"))
    code = {form: i for i, form in enumerate(dict.fromkeys(forms))}
    symbols = np.array([code[form] for form in forms], np.int32)[units.ids]
    doc = np.repeat(np.arange(len(texts)), np.diff(units.bounds))
    own = np.arange(len(texts)) < len(traces)
    known = list(code)
    barrier = np.array([seg.is_format(form) for form in known], bool)[symbols]
    found = find_words(symbols, doc, own, barrier, problem, min_traces, min_problems)
    used = np.zeros(len(texts))
    for word in found:
        used += np.bincount(doc[word.at], minlength=len(texts)) * len(word.pattern)
    lengths = np.maximum(np.diff(units.bounds), 1)
    openers = Counter(
        " ".join(known[s] for s in symbols[a:b][~barrier[a:b]][:OPENER])
        for a, b in zip(units.bounds[: len(traces)], units.bounds[1:], strict=False)
    )
    opener = min(openers, key=lambda text: (-openers[text], text))
    words = tuple(" ".join(known[s] for s in word.pattern) for word in found)
    read = legibility(list(traces))
    mine = np.unique(problem[: len(traces)], return_inverse=True)[1]

    def mean(values: np.ndarray) -> tuple[float, float, float]:
        estimate = mean_interval(problem_means(values, mine))
        return float(estimate.value), float(estimate.low), float(estimate.high)

    now, then = set(words), set(previous.words if previous else ())
    return Monitored(
        traces=len(traces),
        words=words,
        novelty=mean((used / lengths)[: len(traces)]),
        opener=opener,
        opener_share=openers[opener] / len(traces),
        turnover=1 - len(now & then) / len(now | then) if previous and now | then else float("nan"),
        script_mix=mean(read.script_mix),
        switches=mean(read.switches),
        repetition=mean(read.repetition),
    )
