"""Parts of a motif's page: its rates with intervals, its place and neighbours, its growth over training."""

import charts
import interval_charts
import labels
import lexicons
import streamlit as st
import uses

import data
from dsl_probe.store import Run

MOST = 16
number = st.column_config.NumberColumn


def rates(key: tuple[str, str], motif_id: str) -> None:
    """Rate by model and domain with its interval, and how evenly the uses are spread over problems."""
    frame = uses.rates(key, motif_id)
    top = frame.head(MOST)
    names = [
        f"{labels.one_line(m.rsplit('/', 1)[-1], 20)} · {labels.one_line(d, 14)}"
        for m, d in zip(top["model"], top["domain"], strict=True)
    ]
    if len(set(names)) < len(names):
        names = [f"{k + 1}. {name}" for k, name in enumerate(names)]
    drawn = top.rename(columns={"rate": "value", "units": "n"}).assign(label=names, series="rate")
    chart = interval_charts.dots(
        drawn[["label", "series", "value", "ci_low", "ci_high", "n"]], "per 1,000 units", room=200
    )
    st.altair_chart(chart, alt="Rate of the motif by model and domain with intervals")
    st.dataframe(
        frame,
        hide_index=True,
        height=labels.height(len(frame), 390),
        alt="Counts of the motif by model and domain",
        column_config={
            "rate": number("per 1,000", format="%.3f"),
            "ci_low": number("95 % from", format="%.3f"),
            "ci_high": number("to", format="%.3f"),
            "count": number(format="localized"),
            "support": number("traces", format="localized"),
            "problems": number(format="localized", help="problems with a trace that holds it"),
            "units": number(format="localized"),
            "of_problems": number("of problems", format="localized"),
            "dispersion": number(
                format="%.3f", help="Gries' DP over problems: 0 in proportion to the text, near 1 all in one problem"
            ),
            "by_chance": number("by chance", format="%.3f", help="DP of as many uses scattered at random"),
        },
    )
    with st.container():
        st.caption(
            (f"Drawn: the {MOST} highest rates. " if len(frame) > MOST else "")
            + "Descriptive: no test. Intervals are by problem; a rate of 0 has none. A dispersion well above that by "
            "chance means that few problems use it much. Models answered different problems; the tests are on the "
            "Compare page."
        )


def place(key: tuple[str, str], motif_id: str) -> None:
    """Where in the trace the motif stands, and what stands before and after it."""
    frame = uses.places(key, motif_id)
    if frame.empty:
        st.caption("No use outside prompt echoes.")
        return
    frame = frame.assign(series=[labels.one_line(m, 60) for m in frame["series"]])
    st.altair_chart(
        interval_charts.lines(frame, "place in the trace, % of its units", "share of the model's uses"),
        alt="Where in the trace the motif stands",
    )
    with st.container():
        st.caption(
            "Share of a model's uses in each tenth of the trace, 95 % by problem; .1 everywhere if it stood anywhere "
            "alike. The models that use it most, five at most. Long traces have long tenths."
        )
    before, after, n = uses.neighbours(key, motif_id)
    for column, title, found in zip(st.columns(2), ("Just before", "Just after"), (before, after), strict=True):
        with column:
            st.markdown(f"**{title}**")
            st.dataframe(
                found.assign(unit=[labels.one_line(u, 60) for u in found["unit"]], share=100 * found["share"]),
                hide_index=True,
                height=labels.height(len(found), 300),
                alt=title,
                column_config={
                    "unit": st.column_config.TextColumn(width="medium", pinned=True),
                    "count": number(format="localized"),
                    "share": number("% of uses", format="%.1f"),
                    "problems": number(format="localized"),
                },
            )
    with st.container():
        st.caption(f"One unit on either side, of {n:,} uses. Common words stand beside everything.")


def over_training(run: Run, motif_id: str) -> None:
    """Share of the traces that hold the motif, over the steps of each training run."""
    series, events = lexicons.growth(data.key(run, "mine", "growth"))
    own = series[(series["id"] == motif_id) & (series["kind"].isin(["motif", "unit"]))]
    if own.empty:
        st.caption("It was not followed over training: too few traces of a training run hold it.")
        return
    drawn = own.assign(text=[labels.one_line(r, 60) for r in own["run"]])
    st.altair_chart(charts.over_training(drawn), alt="Share of traces that hold the motif over training")
    names = ["run", "first", "highest", "last", "growth", "birth", "change", "death", "p_adj"]
    change = events[events["id"] == motif_id]
    st.dataframe(
        change[names],
        hide_index=True,
        placeholder="—",
        alt="Change of the motif over training",
        column_config={
            "run": st.column_config.TextColumn("training run", width=240),
            "first": number(format="%.3f", help="share of the traces of the first step that hold it"),
            "highest": number(format="%.3f"),
            "last": number(format="%.3f"),
            "growth": number("last less first", format="%+.3f"),
            "birth": number("born at step", format="%d"),
            "change": number("changes at step", format="%d"),
            "death": number("dies at step", format="%d"),
            "p_adj": number(format="%.3f"),
        },
    )
    with st.container():
        st.caption("That training made it is not shown: problems may change, too.")
