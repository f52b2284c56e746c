"""Accuracy against tokens spent: pass@k and majority@k of the run's models."""

import compared
import interval_charts
import labels
import pandas as pd
import streamlit as st
from compare_panels import WHOLE, missing, number

import data
from dsl_probe.store import Run

SLOPE = "_slope"
NAMES = {
    "pass": "pass@k",
    "majority": "majority@k",
    "tree_pass": "pass@k of a tree",
    "tree_majority": "majority@k of a tree",
}
NOTE = (
    "pass@k: at least one of k answers is right, which needs to know which; majority@k: the most frequent of k answers "
    "is right, which can be handed in. Tokens are those of whole chains, k times the mean of one; 95 % by problem."
)


def show(run: Run) -> None:
    """Curves of the models with their slopes a doubling of the tokens."""
    key = data.key(run, "traces")
    frame = compared.curve(key)
    if frame is None:
        frame = _worked_out(run, key)
    if frame is None:
        return
    if frame.empty:
        missing(
            "No answer of these traces was judged right or wrong: there is no accuracy to draw. Collected traces are:",
            f"dsl-probe collect --out {run.path}-collected --model MODEL --domains chain --samples 8",
        )
        return
    measured = [m for m in dict.fromkeys(frame["measure"]) if not m.endswith(SLOPE)]
    drawn = [m for m in measured if frame.loc[frame["measure"] == m, "k"].notna().all()]
    named = {NAMES.get(m, m): m for m in drawn}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        domains = sorted(set(frame["domain"]), key=lambda d: (d != "all", d))
        domain = labels.pick("Domain of the curve", domains, "curve_domain", width=220)
        measure = named[labels.pick("Measure of the curve", list(named), "curve", width=220)]
    own = frame[(frame["domain"] == domain) & (frame["measure"] == measure)]
    own = own.assign(series=[labels.one_line(m.rsplit("/", 1)[-1], 60) for m in own["model"]], n=own["n_problems"])
    own = own.sort_values(["series", "k"])
    spent = own["tokens"].notna().all()
    own["at"] = own["tokens"] if spent else own["k"].astype(float)
    x = "tokens a problem" if spent else "k, answers a problem (these traces tell no tokens)"
    if own["k"].max() > 1:
        chart = interval_charts.lines(own, x, f"accuracy, {NAMES.get(measure, measure)}", log=True, unit=True)
        st.altair_chart(chart, alt="Accuracy against tokens by model")
    else:
        st.caption("One answer a problem: accuracy at k = 1 only. Collect with `--samples 8` for a curve.")
    with st.container():
        st.caption(NOTE)
    slopes = frame[(frame["domain"] == domain) & (frame["measure"] == measure + SLOPE)].set_index("model")
    table = own[["model", "k", "tokens", "value", "ci_low", "ci_high", "n_problems", "n_samples"]]
    if len(slopes):
        three = slopes[["value", "ci_low", "ci_high"]].itertuples(index=False)
        gains = dict(zip(slopes.index, map(labels.interval, three), strict=True))
        st.text("Gain for each doubling of the tokens:")
        gained = pd.DataFrame({"model": list(gains), "gain": list(gains.values())})
        st.dataframe(gained, hide_index=True, alt="Slopes by model")
    st.dataframe(
        table,
        hide_index=True,
        height=labels.height(len(table), 300),
        alt="Accuracy against tokens",
        column_config={
            "tokens": number("tokens a problem", format="%.0f"),
            "value": number("accuracy", format="%.3f"),
            "ci_low": number("95 % from", format="%.3f"),
            "ci_high": number("to", format="%.3f"),
            "n_problems": number("problems", format="localized"),
            "n_samples": WHOLE,
        },
    )


def _worked_out(run: Run, key: tuple[str, str]) -> pd.DataFrame | None:
    judged = int(data.trace_facts(key)["correct"].notna().sum())
    if not judged:
        missing(
            "These traces were imported without verdicts: there is no accuracy. Traces that are collected are judged:",
            f"dsl-probe collect --out {run.path}-collected --model MODEL --domains chain --samples 8",
        )
        return None
    with st.container():
        st.caption(f"No curve was stored with these imported traces; {judged:,} of them carry a verdict.")
    asked = st.toggle(
        "Work it out from the traces", key="curve_of_traces", bind="query-params", help="reads all traces of the run"
    )
    return compared.curve_of_traces(key) if asked else None
