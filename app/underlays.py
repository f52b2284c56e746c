"""The underlay of the reader: the text shaded by a number of each token, or by what a probe reads out along it."""

from dataclasses import dataclass

import labels
import pandas as pd
import probed
import streamlit as st
import token_spans

import data
from dsl_probe.store import Run

Shades = list[tuple[int, int, float, str]]
# Measure of the underlay -> (column, what the deepest shade stands for, unit).
MEASURES = {
    "entropy": ("entropies", 4.0, "nats"),
    "surprise": ("logprobs", 8.0, "nats"),
    "shift": ("js", 0.5, "bits"),
}
ITSELF = "its own model, as it sampled"


@dataclass(frozen=True)
class Underlay:
    """What to shade by. kind: one of MEASURES | probe. by: name of a scoring, or ITSELF. probe: (result, acts,
    target)."""

    kind: str
    by: str = ""
    probe: tuple[str, str, str] | None = None
    question: str = ""


def choose(run: Run, row: int) -> Underlay | None:
    """The boxes that choose; none where there is nothing to shade by. The questions of a probe are those of `row`."""
    scored, probes = data.score_names(run), probed.choices(run)
    itself = token_spans.any_own(data.key(run, "traces"))
    measures = list(MEASURES) if scored else list(MEASURES)[:2] if itself else []
    kinds = [*measures, *(["probe"] if probes else [])]
    if not kinds:
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Underlay",
            ["nothing", *kinds],
            default="nothing",
            required=True,
            key="underlay",
            bind="query-params",
        )
        if kind in MEASURES:
            by = [*([ITSELF] if itself and kind != "shift" else []), *scored]
            return Underlay(kind, labels.pick("Scored by", by, "scored_by", width=300))
        if kind == "probe":
            probe = probes[labels.pick("Read out", list(probes), "readout", width=340)]
            found = _read_out(run, probe, row)
            questions = probed.unique({q: q for q in sorted(set(found["question"]))})
            question = labels.pick("Question", list(questions), "question", width=180) if questions else None
            return Underlay("probe", probe=probe, question=questions[question] if question else "")
    return None


def shades(run: Run, asked: Underlay | None, row: int, length: int) -> Shades:
    """The shades of one trace, and a line that says what they stand for."""
    if asked is None:
        return []
    if asked.probe:
        return _probe(run, asked.probe, asked.question, row, length)
    return _itself(run, asked.kind, row) if asked.by == ITSELF else _scored(run, asked.kind, asked.by, row)


def _read_out(run: Run, probe: tuple[str, str, str], row: int) -> pd.DataFrame:
    name, acts, target = probe
    return probed.readouts(data.key(run, f"probe.{name}"), name, acts, target, row)


def _probe(run: Run, probe: tuple[str, str, str], question: str, row: int, length: int) -> Shades:
    found = _read_out(run, probe, row)
    own = found[found["question"] == question]
    if own.empty:
        rows = probed.traces_read(data.key(run, f"probe.{probe[0]}"), *probe)
        st.caption(
            f"This probe was not read out on this trace, but on {len(rows):,} others, the first of them {rows[0]}."
        )
        return []
    st.caption(
        f"{len(own):,} states, layer {int(own['layer'].iloc[0])}, by the fit that did not see this problem. The "
        "deepest shade stands for 1; each stretch has the read-out of the state at its beginning."
    )
    return probed.stretches(own, length, labels.one_line(question, 40))


def _scored(run: Run, kind: str, name: str, row: int) -> Shades:
    scores = data.token_scores(run, name, row)
    values = scores.get(MEASURES[kind][0])
    if not values:
        st.caption("This scoring has no such values for this trace." + " It needs --against." * (kind == "shift"))
        return []
    return _shaded(kind, scores["starts"], scores["stops"], values)


def _itself(run: Run, kind: str, row: int) -> Shades:
    key, mined = data.key(run, "traces"), data.key(run, "traces", "mine")
    values = token_spans.own(key, row)[MEASURES[kind][0]]
    if not values:
        st.caption("This trace carries no such values of its own.")
        return []
    found = token_spans.spans(key, mined, row)
    if found is None or len(found[0]) != len(values):
        st.caption(
            "This trace has such values, but where its tokens lie in the text is not stored. "
            "`dsl-probe score RUN --model MODEL` finds out."
        )
        return []
    return _shaded(kind, found[0], found[1], values, found[2])


def _shaded(kind: str, starts, stops, values, how: str = "") -> Shades:
    column, deepest, unit = MEASURES[kind]
    st.caption(
        f"The deepest shade stands for {deepest:g} {unit} and more; rest on a token for its value. {how}".strip()
    )
    made = []
    for start, stop, value in zip(starts, stops, values, strict=True):
        if value is not None and value == value and stop > start:
            value = max(-value, 0.0) if column == "logprobs" else value
            made.append((start, stop, 0.75 * min(max(value / deepest, 0), 1), f"{kind} {value:.2f} {unit}"))
    return made
