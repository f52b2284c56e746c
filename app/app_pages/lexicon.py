"""Lexicon: the motifs that describe the traces best, who uses them, and in which variants each is written."""

import carried
import labels
import lexicons
import pandas as pd
import states
import streamlit as st

import data

MOST = 5_000

run = data.current()
st.title("Lexicon")
key = states.need_motifs(run)
lexicon = lexicons.lexicon(key)
if lexicon is None or lexicon.empty:
    labels.trouble(
        "No lexicon: the motifs of this run were mined without one, or none pays for itself.",
        command=f"dsl-probe mine {run.path} --force",
        kind="info",
    )
    st.stop()
record = run.stage("mine")
coverage = record["counts"]["coverage"] if record else float("nan")
st.caption(
    f"{len(lexicon):,} motifs, chosen so that naming them makes the text shortest, cover {coverage:.0%} of the units "
    "outside echoes and format. `*` stands for one to three units of any kind. Uses with a unit more, less or "
    "another are counted, too. That a motif saves bits does not show that it means anything."
)
uses = lexicons.lexicon_uses(key)
with st.container(horizontal=True, vertical_alignment="bottom"):
    models = [str(m) for m in uses.columns]
    a = st.selectbox("Used by", ["all", *models], key="used", bind="query-params", width=390)
    b = st.selectbox("more than by", ["nobody", *models], key="against", bind="query-params", width=390)
shown = lexicon.assign(here=uses[a] if a != "all" else lexicon["count"])
if b != "nobody":
    # One is added to both sides, so that a motif that one side lacks has a rate.
    shown["there"] = uses[b]
    units = lexicons.lexicon_units(key)
    total = units[a] if a != "all" else units.sum()
    shown["ratio"] = ((shown["here"] + 1) / total) / ((shown["there"] + 1) / units[b])
    shown = shown[shown["here"] > 0].sort_values(["ratio", "here"], ascending=False)
else:
    shown = shown[shown["here"] > 0].sort_values("bits_saved", ascending=False)
st.caption(
    f"{len(shown):,} motifs"
    + (f"; the first {MOST:,}. " if len(shown) > MOST else ". ")
    + ("Ratios are descriptive: no test. " if b != "nobody" else "")
    + "Select one to see its variants."
)
shown = shown.head(MOST)
number = st.column_config.NumberColumn
order = ["text", "here", "there", "ratio", "bits_saved", "support", "problems", "exact_share", "variants", "q_unit"]
picked = st.dataframe(
    shown[[name for name in order if name in shown]].assign(
        text=[labels.one_line(t, 300) for t in shown["text"]], bits_saved=shown["bits_saved"].round()
    ),
    hide_index=True,
    height=labels.height(len(shown), 420),
    key=f"lexicon_{a}_{b}",
    on_select="rerun",
    selection_mode="single-row",
    alt="Motifs of the lexicon",
    column_config={
        "text": st.column_config.TextColumn("motif", width=420, pinned=True),
        "here": number("uses", format="localized"),
        "there": number(f"uses by {labels.one_line(b, 30)}", format="localized"),
        "ratio": number("rate ratio", format="%.2f", help="uses per unit of text, one use added to both sides"),
        "bits_saved": number("bits saved", format="localized", help="in all traces, over coding unit by unit"),
        "support": number("traces", format="localized"),
        "problems": number(format="localized"),
        "exact_share": number("exact", format="%.2f", help="share of its uses that have every element and no other"),
        "variants": number(format="localized"),
        "q_unit": number("q", format="%.3f", help="of the sequence it grew from, against resampled and shuffled text"),
    },
)
rows = picked.selection.rows
asked = lexicon["motif_id"] == st.query_params.get("motif")
if rows and rows[0] < len(shown):
    chosen = shown.iloc[rows[0]]
else:
    chosen = lexicon[asked].iloc[0] if asked.any() else shown.iloc[0]
st.subheader(labels.code(chosen["text"], 200))
variants: pd.DataFrame = lexicons.variants(key, chosen["motif_id"])
left, right = st.columns([3, 2])
with left:
    st.markdown("**Variants**")
    st.dataframe(
        variants.assign(text=[labels.one_line(t, 300) for t in variants["text"]])[["text", "count"]],
        hide_index=True,
        height=labels.height(len(variants), 300),
        alt="Variants of the motif",
        column_config={"text": st.column_config.TextColumn("as it is written", width=420)},
    )
with right:
    st.markdown("**Uses by model**")
    by_model = uses.loc[chosen.name].rename_axis("model").rename("uses").sort_values(ascending=False).reset_index()
    by_model = by_model[by_model["uses"] > 0]
    height = labels.height(len(by_model), 300)
    columns = {"model": st.column_config.TextColumn(width=240), "uses": number(format="localized")}
    st.dataframe(by_model, hide_index=True, height=height, alt="Uses of the motif by model", column_config=columns)
st.subheader("What it carries")
carried.show(run, chosen["motif_id"], chosen["text"])
