"""Claims: what the design sets out to test, each with its verdict, its evidence and what threatens it."""

import compared
import labels
import pandas as pd
import states
import streamlit as st

import data

# Verdict -> icon; the word always stands beside it.
ICONS = {"supported": ":material/check_circle:", "contradicted": ":material/cancel:", "undecided": ":material/help:"}
HOW = (
    "Each test was set before looking at a run. Contradicted needs evidence: an interval that excludes what the claim "
    "says. Where the data allow either, or a group is missing, a claim is undecided. One comparison of models is not "
    "the claim about training: read the threats with each verdict."
)


def claim(one: dict) -> None:
    """One claim: verdict, reading, test, effect, evidence, threats."""
    verdict = one["verdict"] if one["verdict"] in ICONS else "undecided"
    with st.container(border=True):
        st.markdown(f"{ICONS[verdict]} **{verdict}**")
        st.text(labels.visible(one["claim"]))
        st.caption("What the data say")
        st.text(labels.visible(one["reading"]))
        if one["value"] is not None:
            low, high, n = one["ci_low"], one["ci_high"], one["n"]
            three = (one["value"], low, high)
            size = labels.interval(three) if low is not None else f"{one['value']:g}"
            problems = f", {n:,} problems" if n is not None else ""
            st.text(f"{labels.one_line(one['effect'], 120)}: {size}{problems}")
        st.caption("Test")
        st.text(labels.visible(one["test"]))
        if one["threats"]:
            st.caption("Why it may be wrong")
            st.text("\n".join(f"- {labels.one_line(threat, 300)}" for threat in one["threats"]))
        if one["evidence"]:
            with st.expander(f"Evidence, {len(one['evidence'])} lines"):
                evidence(one)


def evidence(one: dict) -> None:
    """The figures behind a verdict."""
    frame = pd.DataFrame(one["evidence"]).astype({"value": float, "ci_low": float, "ci_high": float})
    frame["measure"] = [labels.one_line(m, 200) for m in frame["measure"]]
    number = st.column_config.NumberColumn
    st.dataframe(
        frame,
        hide_index=True,
        key=f"evidence_{one['id']}",
        alt="Evidence of a claim",
        column_config={
            "measure": st.column_config.TextColumn(width="large"),
            "value": number(format="%.4g"),
            "ci_low": number("95 % from", format="%.4g"),
            "ci_high": number("to", format="%.4g"),
            "n": number("problems", format="localized"),
        },
    )


run = data.current()
st.title("Claims")
done = states.need_comparisons(run)
id = states.choose_comparison(done)
states.warn_if_stale(run, f"compare.{id}")
config = compared.comparison_record(run, id)["config"]
groups = [f"A: {config['a']}", f"B: {config['b']}", *([f"base: {config['base']}"] if config["base"] else [])]
st.text(labels.visible("\n".join(groups)))
listed = compared.claims(data.key(run, f"compare.{id}"), id)
if not listed:
    command = f"dsl-probe compare {run.path} --config {run.path}/stages/compare.{id}.json --force"
    labels.trouble("This comparison was made before claims were judged.", command=command, kind="info")
    st.stop()
counts = {verdict: sum(one["verdict"] == verdict for one in listed) for verdict in ICONS}
for column, (verdict, n) in zip(st.columns(len(ICONS)), counts.items(), strict=True):
    column.metric(f"{ICONS[verdict]} {verdict}", n)
st.caption(HOW)
labels.link("The motifs of this comparison, each with its test", "compare", ":material/compare_arrows:", comparison=id)
for one in listed:
    claim(one)
