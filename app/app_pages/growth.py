"""Growth: what is born, grows and dies over the steps of a training run."""

import charts
import labels
import pandas as pd
import states
import streamlit as st

import data

MOST = 2_000
LINES = 8

run = data.current()
st.title("Growth")
key = states.need_motifs(run)
if not run.has("growth.parquet"):
    labels.trouble(
        "Nothing has been followed over training yet.",
        "The traces must carry the training step that they were sampled at.",
        command=f"dsl-probe mine {run.path} --growth",
        kind="info",
    )
    st.stop()
states.warn_if_stale(run, "growth")
series, events = data.growth(data.key(run, "mine", "growth"))
training = labels.pick("Training run", sorted(events["run"].unique()), "growth_run", width=420)
events = events[events["run"] == training]
series = series[series["run"] == training]
sure = int((events["p_adj"] <= 0.05).sum())
st.caption(
    f"{sure:,} of {len(events):,} units and motifs change beyond chance (p_adj <= .05 of the largest change when "
    "steps are dealt to the traces at random). That training made it is not shown: problems may change, too."
)
number = st.column_config.NumberColumn
picked = st.dataframe(
    events.head(MOST).assign(text=[labels.one_line(t, 200) for t in events["text"].head(MOST)])[
        ["text", "kind", "change", "step", "share_before", "share_after", "g2", "p_adj"]
    ],
    hide_index=True,
    height=320,
    key=f"growth_{training}",
    on_select="rerun",
    selection_mode="multi-row",
    alt="Changes of units and motifs over training",
    column_config={
        "text": st.column_config.TextColumn("unit or motif", width=300, pinned=True),
        "step": number("from step", format="%d"),
        "share_before": number("share before", format="%.3f", help="of the traces that hold it"),
        "share_after": number("share after", format="%.3f"),
        "g2": number("G2", format="%.0f"),
        "p_adj": number(format="%.3f"),
    },
)
up = events["change"].isin(["birth", "rise"])
first = pd.concat([events[up].head(LINES // 2), events[~up].head(LINES // 2)])
asked = events.head(MOST).iloc[picked.selection.rows] if picked.selection.rows else first
shown = series[series["kind"].isin(["unit", "motif"]) & series["text"].isin(asked["text"])]
if shown.empty:
    st.caption("None of these changes beyond chance, so none has a line.")
else:
    st.altair_chart(charts.over_training(shown.assign(text=[labels.one_line(t, 40) for t in shown["text"]])))
left, right = st.columns(2)
with left:
    opener = series[series["kind"] == "opener"]
    st.markdown("**Traces that begin like most at the end**")
    st.altair_chart(charts.over_training(opener.assign(text=[labels.one_line(t, 40) for t in opener["text"]])))
with right:
    st.markdown("**Units and lexicon motifs in use**, in equally many traces a step; **sharing** between domains")
    sizes = series[series["kind"].isin(["vocabulary", "lexicon", "sharing"])]
    st.dataframe(
        sizes.pivot_table(index="step", columns="kind", values="value"), height=340, alt="Sizes over training steps"
    )
