"""Validate: what the comparison would miss, and what it would invent, in the traces of one group."""

import charts
import compared
import labels
import pandas as pd
import states
import streamlit as st

import data

run = data.current()
st.title("Validate")
states.need_motifs(run)
done = run.validations()
if not done:
    models = sorted(data.trace_facts(data.key(run, "traces"))["model"].dropna().unique()) or ["NAME"]
    labels.trouble(
        "Nothing has been planted in these traces, or split, yet.",
        "A validation takes one model's traces apart in two, with nothing and with known motifs planted, and counts "
        "what the comparison finds.",
        command=f"dsl-probe validate {run.path} --group 'model={labels.one_line(models[0], 80)}'",
        kind="info",
    )
    st.stop()
id = labels.pick("Validation", list(done), "validation", width=420)
states.warn_if_stale(run, f"validate.{id}")
counts = compared.validation_counts(run, id)
st.text(labels.one_line(done[id]["group"], 200))
st.markdown("\n".join(f"- {sentence}" for sentence in counts["reading"]))

number = st.column_config.NumberColumn
if counts["corpora"]:
    st.subheader("Planted motifs that were found")
    bins = pd.DataFrame([{"kind": kind, **one} for kind, some in counts["recall"].items() for one in some])
    bins["d"] = (bins["low"] + bins["high"] - 1) / 2
    st.altair_chart(charts.recall(bins), alt="Share of planted motifs found, by the problems that hold one")
    st.caption(
        f"{counts['problems_each']:,} problems hold each motif, {counts['planted']:.1%} of the units at most are "
        "planted. Where both sides hold a motif, as many problems are given as one side alone would have to hold for "
        "the same evidence."
    )
st.subheader("Nothing planted")
st.dataframe(
    pd.DataFrame(counts["nulls"])[["kind", "matched", "exact", "splits", "with_any", "bound", "mean"]],
    hide_index=True,
    alt="Discoveries in splits with nothing planted",
    column_config={
        "kind": st.column_config.TextColumn("split", width=160),
        "matched": st.column_config.TextColumn("text", width=120),
        "exact": st.column_config.CheckboxColumn("no difference", help="the two halves differ by chance alone"),
        "splits": number(format="%d"),
        "with_any": number("with any discovery", format="%d"),
        "bound": number("up to, by chance", format="%d", help="97.5 % point of a binomial with .05"),
        "mean": number("discoveries a split", format="%.2f"),
    },
)
if counts["corpora"]:
    st.subheader("Each planted motif")
    rows = compared.planted(data.key(run, f"validate.{id}"), id)
    each = rows.groupby(["kind", "motif", "background"], sort=False, as_index=False).agg(
        splits=("found", "size"), d=("one_sided", "mean"), found=("found", "mean"), presence=("found_presence", "mean")
    )
    st.dataframe(
        each.assign(motif=[labels.one_line(text, 80) for text in each["motif"]]),
        hide_index=True,
        alt="Planted motifs",
        column_config={
            "kind": st.column_config.TextColumn(width=120),
            "motif": st.column_config.TextColumn(width=220),
            "background": number("held before by", format="percent", help="share of the traces"),
            "d": number("problems of one side alone, mean", format="%.1f"),
            "found": number("found by its rate", format="%.2f", help="share of the splits"),
            "presence": number("found by the traces that hold it", format="%.2f", help="share of the splits"),
        },
    )
