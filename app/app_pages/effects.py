"""Effects: does the model need what it writes? Accuracy with a motif taken away, beside a placebo."""

import labels
import pandas as pd
import probe_charts
import probed
import states
import streamlit as st
import tokens

import data

MOST_LINES = 40
EVERY = "all interventions"
WHAT = {
    "ban": "from the motif's first use on the model may not write it",
    "delete": "one use is cut out of the finished trace, and the model goes on",
    "replace": "one use is replaced by a span as long and as frequent, and the model goes on",
    "shuffle": "the units of the chain are put in random order, and the model answers",
    "blank": "the chain is left out, and the model answers",
    "erase": "what tells the target is erased from the states of a layer",
    "steer": "the states of a layer are pushed along the probe's direction",
    "patch": "a state is put in the place of another trace's",
}
LIMITS = (
    "The placebo is the same done in the same trace to a random span that is as long and about as frequent (of "
    "shuffle and blank: the answer drawn again from the chain as it was; of states: a change as large elsewhere). The "
    "effect is the accuracy of the placebo less that of the arm, so load-bearing (effect above 0, p_adj ≤ .05 over all "
    "that was tested) says that the model needs the motif more than what else it writes as often. It does not say what "
    "the motif means; and where most words are needed few are load-bearing, and the cost tells more."
)
number = st.column_config.NumberColumn


def chosen_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The filters, and the rows that match."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        domains = sorted(set(frame["domain"]) - {probed.ALL})
        first = [probed.ALL] if (frame["domain"] == probed.ALL).any() else []
        domain = labels.pick("Domain", [*first, *domains], "domain", width=200)
        kinds = [kind for kind in dict.fromkeys(frame["intervention"]) if kind]
        options = [EVERY, *sorted(kinds)] if len(kinds) > 1 else kinds
        kind = labels.pick("Intervention", options, "intervention", width=220)
    # Effects of states have no row over all domains.
    own = frame[(frame["domain"] == domain) | (frame["layer"].notna() & (domain == probed.ALL))]
    said = [f"{labels.code(one)}: {WHAT.get(one, 'not one of this package')}" for one in kinds if kind in (EVERY, one)]
    with st.container():
        st.caption("; ".join(said) + ".")
    return own if kind == EVERY else own[own["intervention"] == kind]


def forest(rows: pd.DataFrame) -> None:
    """Effect with its interval by motif, the largest first."""
    shown = rows.head(MOST_LINES)
    several = rows["intervention"].nunique() > 1
    label = shown["name"] + (" · " + shown["intervention"] if several else "")
    kind = shown["load_bearing"].map({True: "load-bearing"}).fillna("not shown to be")
    st.altair_chart(
        probe_charts.forest(
            shown.assign(label=label, kind=kind)[["label", "effect", "ci_low", "ci_high", "p_adj", "kind"]]
        ),
        alt="Effect of each motif beyond its placebo",
    )
    if len(rows) > len(shown):
        st.caption(f"The {MOST_LINES} largest of {len(rows):,}.")


def table(rows: pd.DataFrame) -> None:
    """Every row with its accuracies, cost, effect and test."""
    names = ["name", "intervention", "load_bearing", "effect", "ci_low", "ci_high", "p_adj", "plain", "arm", "placebo"]
    names += ["cost", "cost_low", "cost_high", "uses", "leak", "problems", "samples", "tokens"]
    accuracy = "share of answers that are right, mean over problems"
    key = f"effects_{len(rows)}_{rows['domain'].iloc[0]}_{rows['intervention'].nunique()}"
    st.dataframe(
        rows[names].astype({"leak": float, "uses": float}),
        hide_index=True,
        height=labels.height(len(rows)),
        key=key,
        on_select=lambda: _pick(key, rows),
        selection_mode="single-row",
        alt="Effects with their tests",
        column_config={
            "name": st.column_config.TextColumn("motif", width=170, pinned=True),
            "load_bearing": st.column_config.CheckboxColumn("load-bearing"),
            "effect": number(format="%+.3f", help="accuracy of the placebo less that of the arm"),
            "ci_low": number("95 % from", format="%+.3f"),
            "ci_high": number("to", format="%+.3f"),
            "p_adj": number(format="%.4f"),
            "plain": number(format="%.3f", help=f"{accuracy}: the traces as they were"),
            "arm": number(format="%.3f", help=f"{accuracy}: the motif taken away"),
            "placebo": number(format="%.3f", help=f"{accuracy}: a random span taken away"),
            "cost": number(format="%+.3f", help="plain less arm"),
            "cost_low": number("cost from", format="%+.3f"),
            "cost_high": number("cost to", format="%+.3f"),
            "uses": number("uses a trace", format="%.2f"),
            "leak": number(format="%.3f", help="share of banned completions that say the motif all the same"),
            "problems": number(format="localized"),
            "samples": number(format="localized"),
            "tokens": number(format="localized", help="drawn in arm and placebo"),
        },
    )


def _pick(key: str, rows: pd.DataFrame) -> None:
    picked = st.session_state[key].selection.rows
    if picked and picked[0] < len(rows):
        st.session_state["taken"] = rows["name"].iloc[picked[0]]
        st.session_state["taken_by"] = rows["intervention"].iloc[picked[0]]


def samples(frame: pd.DataFrame) -> None:
    """The completions of one motif, arm and placebo of one trace beside each other."""
    st.subheader("What was drawn")
    names = dict(zip(frame["name"], frame["motif_id"], strict=True))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = labels.pick("Taken away", list(names), "taken", width=320)
        drawn = probed.samples(key, result, names[name])
        kinds = sorted({one["intervention"] for one in drawn})
        kind = labels.pick("By", kinds, "taken_by", width=160) if kinds else None
    if kind is None:
        st.caption("This result keeps no completions of it.")
        return
    which = st.segmented_control(
        "Show",
        list(VERDICTS),
        default="all pairs",
        required=True,
        key="pairs_shown",
        bind="query-params",
    )
    matching = [two for two in probed.pairs(drawn, kind) if VERDICTS[which](*(one["correct"] for one in two))]
    if not matching:
        st.caption("No pair is so.")
        return
    at = 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(matching) > 1:
            at = st.number_input(
                f"Pair, 1 to {len(matching):,}", 1, len(matching), key=f"pair_{len(matching)}", width=150
            )
        arm, placebo = matching[at - 1]
        _link(arm, names[name])
    for column, one in zip(st.columns(2), (arm, placebo), strict=True):
        with column:
            _completion(one)


VERDICTS = {
    "all pairs": lambda arm, placebo: True,
    "arm wrong, placebo right": lambda arm, placebo: arm is False and placebo is True,
    "arm right, placebo wrong": lambda arm, placebo: arm is True and placebo is False,
}


def _link(arm: dict, motif_id: str) -> None:
    facts = data.trace_facts(data.key(run, "traces"))
    row = facts.index[facts["trace_id"] == arm["trace_id"]]
    if len(row):
        known = bool(motif_id) and data.key(run, "mine")[1] and motif_id in data.motif_ids(data.key(run, "mine"))
        motif = motif_id if known else None
        labels.link("The trace as it was", "traces", icon=":material/article:", trace=int(row[0]), motif=motif)
    verdict = {True: "right", False: "wrong"}.get(arm["plain"], "not judged")
    st.caption(f"trace {labels.code(arm['trace_id'], 60)}, {verdict} as it was")


def _completion(one: dict) -> None:
    verdict, color, icon = {
        True: ("correct", "green", ":material/check:"),
        False: ("wrong", "red", ":material/close:"),
        None: ("not judged", "gray", ":material/question_mark:"),
    }[one["correct"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Arm**" if one["arm"] == "arm" else "**Placebo**")
        st.badge(verdict, color=color, icon=icon)
        if one["leak"]:
            st.badge("says it all the same", color="orange")
    st.caption(
        f"taken away: {labels.code(one['removed'], 60) if one['removed'] else 'nothing'}; {one['kept']:,} tokens "
        f"given, {one['tokens']:,} drawn; {labels.code(one['finish'] or 'no reason recorded', 20)}"
    )
    given = one.get("given") or 0
    parts = [(one["text"][:given], "echo", ""), ("▸", "motif", "drawn from here on"), (one["text"][given:], "", "")]
    if "given" not in one:
        parts = [(one["text"], "", "")]
    pieces = [[labels.visible(text), kind, note, 0, ""] for text, kind, note in parts if text]
    tokens.reader(pieces, [("echo", "given"), ("motif", "▸ drawn")], key=f"drawn_{one['arm']}")


run = data.current()
st.title("Effects")
results = states.need_results(run, "effects")
result = labels.pick("Result", results, "effects", width=240)
key = data.key(run, f"effects.{result}")
states.warn_if_stale(run, f"effects.{result}")
every = probed.effects(key, result)
counts = (run.stage(f"effects.{result}") or {})["counts"]
if every.empty:
    labels.trouble(
        "Nothing could be measured: no trace uses the motifs and can be edited.",
        "\n".join(f"{why}: {n:,} traces" for why, n in counts.get("left_out", {}).items()),
        kind="info",
    )
    st.stop()
models = ", ".join(labels.code(model, 80) for model in sorted(set(every["model"].dropna())))
st.caption(f"Model: {models or 'not recorded'}. " + LIMITS)
rows = chosen_rows(every)
if rows.empty:
    st.info("Nothing was tested for this choice.")
else:
    forest(rows)
    table(rows)
    st.caption(
        "Select one to see what was drawn. p_adj is over all that was tested over all domains, over all in single "
        "domains, and over all of states, each apart."
    )
if counts.get("unused"):
    unused = ", ".join(labels.one_line(text, 40) for text in counts["unused"])
    with st.expander(f"Not tested, since no trace uses it and leaves room for a placebo: {len(counts['unused']):,}"):
        st.text(unused)
samples(every)
