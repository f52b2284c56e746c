"""Growth: what is born, grows and dies over the steps of a training run."""

import charts
import labels
import lexicons
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
series, events = lexicons.growth(data.key(run, "mine", "growth"))
training = labels.pick("Training run", sorted(events["run"].unique()), "growth_run", width=420)
events = events[events["run"] == training]
series = series[series["run"] == training]
sure = int((events["p_adj"] <= 0.05).sum())
born, died = events["birth"].notna().sum(), events["death"].notna().sum()
st.caption(
    f"{sure:,} of {len(events):,} units, motifs and openers change over training, {born:,} are born and {died:,} die, "
    "at an adjusted p of .05 or less. That training made it is not shown: problems may change, too."
)
number = st.column_config.NumberColumn
names = ["text", "kind", "first", "highest", "last", "growth", "birth", "change", "death", "p_adj"]
picked = st.dataframe(
    events.head(MOST)[names].assign(text=[labels.one_line(t, 200) for t in events["text"].head(MOST)]),
    hide_index=True,
    height=320,
    key=f"growth_{training}",
    on_select="rerun",
    selection_mode="multi-row",
    placeholder="—",
    alt="Changes of units and motifs over training",
    column_config={
        "text": st.column_config.TextColumn("unit, motif or opener", width=260, pinned=True),
        "first": number("first", format="%.3f", help="share of the traces of the first step that hold it"),
        "highest": number(format="%.3f"),
        "last": number(format="%.3f"),
        "growth": number("last less first", format="%+.3f"),
        "birth": number("born at step", format="%d"),
        "change": number("changes at step", format="%d"),
        "death": number("dies at step", format="%d"),
        "p_adj": number(format="%.3f"),
    },
)
up = events["growth"] > 0
first = pd.concat([events[up].head(LINES // 2), events[~up].head(LINES // 2)])
asked = events.head(MOST).iloc[picked.selection.rows] if picked.selection.rows else first
shown = series[series["id"].isin(asked["id"]) & series["kind"].isin(["unit", "motif", "opener"])]
st.altair_chart(
    charts.over_training(shown.assign(text=[labels.one_line(t, 40) for t in shown["text"]])),
    alt="Share of the traces that hold each, over training",
)
left, right = st.columns(2)
with left:
    st.markdown("**The most common opener of each step**")
    top = series[series["id"] == "top"]
    st.altair_chart(
        charts.over_training(top.assign(text="most common opener")), alt="Share of the most common opener over training"
    )
    st.caption("At the last step: " + labels.code(top.sort_values("step")["text"].iloc[-1], 60))
with right:
    st.markdown("**Lexicon and vocabulary in use**, in equal amounts of text, and **sharing** between domains")
    sizes = series[series["kind"].isin(["lexicon", "sharing"])]
    st.dataframe(
        sizes.pivot_table(index="step", columns="id", values="value").round(3),
        height=labels.height(sizes["step"].nunique(), 340),
        alt="Sizes over training steps",
    )
