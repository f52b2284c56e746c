"""Overview: what was collected, what has run, every comparison with its headline."""

import compared
import labels
import opened
import pandas as pd
import states
import streamlit as st

import data

LIMITS = (
    "A difference is in usage: that a motif is over-represented does not show that it is meaningful, new or "
    "load-bearing. The groups may differ in template, sampling, accuracy or length; problems made from one template "
    "are less independent than they count; rates are compositional, so one rising motif lowers the rest. "
    "Over-represented: at equal units over all domains, family-wise p ≤ .05. Sharing: mean Morisita-Horn "
    "similarity between domains."
)

run = data.current()
st.title("Overview")
key = states.need_traces(run)
statuses = run.status()
mined = data.key(run, "traces", "mine")


def collected() -> None:
    """Models or training runs with regime, domains, traces, problems, units, accuracy."""
    facts = data.trace_facts(key)
    totals = st.columns(5)
    totals[0].metric("Traces", f"{len(facts):,}")
    totals[1].metric("Problems", f"{facts['problem_id'].nunique():,}")
    totals[2].metric("Models or training runs", f"{facts['group'].nunique():,}")
    totals[3].metric("Domains", f"{facts['domain'].nunique():,}")
    if mined[1]:
        totals[4].metric("Motifs", f"{run.counts('mine')['motifs']:,}")
    by_model, by_cell = ("group", "regime"), ("group", "domain", "regime")
    opened.tabs(
        {
            "By model or training run": lambda: _table(data.accuracy(key, by_model), ["group"], "models"),
            "By model and domain": lambda: _table(data.accuracy(key, by_cell), ["group", "domain"], "cells"),
        },
        "collected_tab",
    )
    st.caption(
        "Accuracy over the traces that were judged. The interval is Wilson's at the effective number of traces: "
        "divided by the design effect of problems with several answers. Models that answered different problems cannot "
        "be ranked by it. Units: words, numbers and marks outside prompt echoes and format tags."
    )


def _table(frame: pd.DataFrame, by: list[str], name: str) -> None:
    frame = frame.astype(dict.fromkeys(by, str))
    if mined[1]:
        units = data.cells(mined).rename(columns={"model": "group"}).astype({"group": str, "domain": str})
        frame = frame.merge(units.groupby(by, as_index=False)["units"].sum(), on=by, how="left")
        # Units are counted by model and domain: for a training run with two regimes they are of both.
        frame.loc[frame.duplicated(by, keep=False), "units"] = None
    frame = frame.assign(
        interval=[
            "—" if pd.isna(v) else f"{lo:.3f} – {hi:.3f}"
            for v, lo, hi in zip(frame["accuracy"], frame["low"], frame["high"], strict=True)
        ]
    )
    extra = ["units"] if "units" in frame else []
    size = [] if "domain" in by else ["domains"]
    shown = [*by, "regime", "traces", "problems", "accuracy", "interval", "judged", *extra, *size, "finish"]
    number = st.column_config.NumberColumn
    st.dataframe(
        frame.sort_values("traces", ascending=False)[shown],
        hide_index=True,
        key=name,
        placeholder="—",
        alt="What was collected",
        column_config={
            "group": st.column_config.TextColumn("model or training run", width=330, pinned=True),
            "traces": number(format="localized"),
            "problems": number(format="localized"),
            "units": number(format="localized"),
            "judged": number(format="localized", help="traces whose answer was checked"),
            "accuracy": number(format="%.3f"),
            "interval": "95 % interval",
            "finish": "finish reasons",
        },
    )


def stages() -> None:
    """State of every stage, and the command for what is missing."""
    rows = pd.DataFrame([{"stage": s.stage, "state": s.state, "detail": s.detail} for s in statuses])
    st.dataframe(
        rows,
        hide_index=True,
        alt="Stages of this run",
        column_config={
            "stage": st.column_config.TextColumn(width="large"),
            "state": st.column_config.TextColumn(width="small"),
            "detail": st.column_config.TextColumn(width="medium"),
        },
    )


def comparisons() -> None:
    """Each comparison with its headline and a link."""
    done = run.comparisons()
    if not mined[1]:
        labels.trouble("The motifs have not been mined yet.", command=f"dsl-probe mine {run.path}", kind="info")
        return
    if not done:
        states.no_comparison(run)
        return
    stale = {s.stage for s in statuses if s.state != "done"}
    for id in done:
        record = compared.comparison_record(run, id)
        config, counts = record["config"], record["counts"]
        with st.container(border=True):
            head, go = st.columns([8, 1], vertical_alignment="center")
            name = f"{config['name']}:   " if config.get("name") else ""
            head.text(f"{name}{labels.short(config['a'])}  (A)   against   {labels.short(config['b'])}  (B)")
            with go:
                labels.link("Open", "compare", icon=":material/arrow_forward:", comparison=id)
                labels.link("Claims", "claims", icon=":material/gavel:", comparison=id)
            if f"compare.{id}" in stale:
                st.warning("Made from an earlier state of this run; run it again with --force.")
            a, b, c, d = st.columns([1.1, 1, 1.2, 1.2])
            a.text(f"{counts['problems']:,} problems, {counts['design']}\n{counts['motifs_tested']:,} motifs tested")
            found = f"{counts['discoveries_a']:,} in A, {counts['discoveries_b']:,} in B"
            b.text(f"over-represented\n{found}")
            c.text(f"accuracy, A − B\n{labels.interval(counts.get('accuracy_difference'))}")
            d.text(f"sharing, A − B\n{labels.interval(counts.get('sharing_difference'))}")
            judged = compared.claims(data.key(run, f"compare.{id}"), id)
            decided = [f"{c['verdict']}: {c['claim']}" for c in judged if c["verdict"] != "undecided"]
            if decided:
                st.text("\n".join(labels.one_line(line, 200) for line in decided))
            if judged:
                st.caption(f"{len(judged) - len(decided)} of {len(judged)} claims are undecided.")


collected()
st.subheader("Comparisons")
comparisons()
st.subheader("Stages")
stages()
st.subheader("Limits")
st.markdown(LIMITS)
