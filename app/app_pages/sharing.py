"""Sharing: how far the domains of each group share a vocabulary."""

import charts
import compared
import labels
import sharing_panels
import states
import streamlit as st

import data

# What a measure shows, and what it does not. Looked up by the longest key that the measure's name begins with.
NOTES = {
    "morisita_horn": "Morisita-Horn: how alike the frequencies of the common words are, 1 if equal; rare words hardly "
    "move it. It estimates a property of the two vocabularies; corrected for bias it may pass 1 a little.",
    "jensen_shannon": "Jensen-Shannon divergence in bits, plug-in: 0 if word frequencies are equal, 1 if no word is "
    "shared; smaller is more sharing. It grows as samples shrink: an index of this sample.",
    "jensen_shannon_corrected": "Jensen-Shannon divergence in bits, corrected for unseen words: 0 if word "
    "frequencies are equal, 1 if no word is shared; smaller is more sharing. It may fall below 0.",
    "chao_jaccard": "Chao-Jaccard: overlap of types with a correction for unseen ones. An index of this sample.",
    "chao_sorensen": "Chao-Sørensen: like Chao-Jaccard with shared types counted twice. An index of this sample.",
}
GENERAL = (
    "A domain's topic moves every such measure: two domains may share all their reasoning words and differ in subject. "
    "It says nothing of meaning or function. Where the coverage by problem is below .9 the sample is too small to "
    "rely on."
)

run = data.current()
st.title("Sharing between domains")
done = states.need_comparisons(run)
with st.container(horizontal=True, vertical_alignment="bottom"):
    id = states.choose_comparison(done)
    record = compared.comparison_record(run, id)
    frame = compared.sharing(data.key(run, f"compare.{id}"), id)
    measures = list(dict.fromkeys(frame["measure"]))
    if measures:
        first = "morisita_horn" if "morisita_horn" in measures else None
        measure = labels.pick("Measure", measures, "measure", first, width=260)
if frame.empty:
    domains = [d for d in record["counts"].get("domains", {}) if d != "all"]
    message = (
        "These groups have one domain in common, and sharing needs two. Compare groups over more domains."
        if len(domains) < 2
        else "No sharing values: no two domains have two problems each with counted words in both groups."
    )
    labels.trouble(message, "domains: " + ", ".join(labels.one_line(d, 40) for d in domains), kind="info")
    st.stop()

part = frame[frame["measure"] == measure]
span = (float(part["value"].min()), float(part["value"].max()))
span = (span[0], span[1] + 1e-9) if span[0] == span[1] else span
groups = list(dict.fromkeys([record["config"]["a"], record["config"]["b"]]))
for column, side, group in zip(st.columns(len(groups)), "AB", groups, strict=False):
    with column:
        st.text(f"{side}: {labels.short(group)}")
        own = part[part["group"] == group]
        if own.empty:
            st.info("No pair of domains had enough problems in this group.")
        else:
            st.altair_chart(charts.sharing(own, measure, span), alt=f"Sharing between domains in group {side}")
st.caption("Both maps have one colour scale; bright is more sharing. Rest on a cell for its interval and n.")
difference = record["counts"].get("sharing_difference")
if difference is not None and measure == "morisita_horn":
    st.metric(
        "Mean over pairs of domains, A − B",
        labels.interval(difference),
        width="content",
        help="Mean Morisita-Horn similarity, with its interval by problem",
    )
note = max((k for k in NOTES if measure.startswith(k)), key=len, default=None)
st.markdown((NOTES[note] + " " if note else "") + GENERAL)
number = st.column_config.NumberColumn
st.dataframe(
    part.assign(group=["A" if g == groups[0] else "B" for g in part["group"]]).drop(columns="measure"),
    hide_index=True,
    column_config={
        "domain_a": "domain",
        "domain_b": "and domain",
        "value": number(format="%.3f"),
        "ci_low": number("95 % from", format="%.3f"),
        "ci_high": number("to", format="%.3f"),
        "coverage_a": number("coverage", format="%.3f", help="Good's coverage of the first domain"),
        "coverage_b": number("coverage (and)", format="%.3f", help="Good's coverage of the second domain"),
        "problem_coverage_a": number(
            "by problem", format="%.3f", help="Share of the first domain's words that stand in more than one problem"
        ),
        "problem_coverage_b": number(
            "by problem (and)", format="%.3f", help="Share of the second domain's words that stand in more than one"
        ),
        "n_a": number("words", format="localized"),
        "n_b": number("words (and)", format="localized"),
    },
    alt="Sharing values with their intervals",
)
sharing_panels.show(run, id, groups, part)
