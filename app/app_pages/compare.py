"""Compare: which motifs one group over-uses, each with its test."""

import charts
import compare_curve
import compare_panels
import compared
import downloads
import labels
import opened
import pandas as pd
import states
import streamlit as st

import data


def scope(counts: dict) -> str:
    """What the comparison rests on."""
    if counts["design"] == "paired":
        said = f"{counts['problems']:,} problems that both answered, {counts['traces_a']:,} traces each"
    else:
        said = (
            f"Different problems, {counts['traces_a']:,} and {counts['traces_b']:,} traces: a difference between the "
            "problems cannot be told from one between the models"
        )
    if counts["left_out_a"] + counts["left_out_b"]:
        said += f"; {counts['left_out_a']:,} and {counts['left_out_b']:,} traces without a counterpart are left out"
    if counts.get("prompts_differ"):
        said += f"; in {counts['prompts_differ']:,} problems the prompts of A and B differ"
    longer = counts["units_a"] / max(counts["units_b"], 1) * counts["traces_b"] / max(counts["traces_a"], 1)
    return f"{said}. A writes {longer:.2f} times as many units a trace."


run = data.current()
st.title("Compare")
done = states.need_comparisons(run)
with st.container(horizontal=True, vertical_alignment="bottom"):
    id = states.choose_comparison(done)
    record = compared.comparison_record(run, id)
    tested = compared.pairs(record)
    of_pair = dict(zip(tested, [record["counts"], *record["counts"].get("against_base", [])], strict=True))
    if len(tested) > 1:
        names = {f"{labels.short(a)} against {labels.short(b)}": (a, b) for a, b in tested}
        pair = names[labels.pick("Groups", list(names), "pair", width=300)]
    else:
        pair = tested[0]
    counts = of_pair[pair]
    families = [d for d, design in counts["domains"].items() if not design.startswith("not")]
    families = ["all", *sorted(set(families) - {"all"})]
    domain = labels.pick("Domain", families, "domain", width=180)
    matched = st.segmented_control(
        "Text compared",
        ["equal units", "raw", "equal accuracy"],
        default="equal units",
        required=True,
        key="matched",
        bind="query-params",
        help="equal units: both groups cut to the same number of units within each problem. raw: all they wrote. "
        "equal accuracy: at equal units, on traces of which as many are right in either group.",
    )
states.warn_if_stale(run, f"compare.{id}")
st.text(f"A: {labels.visible(pair[0])}\nB: {labels.visible(pair[1])}")
st.caption(scope(counts))
key = data.key(run, f"compare.{id}")
frame = compared.comparison(key, id, domain, matched, pair)
if frame.empty:
    st.info("No motif was tested for this choice: too few problems hold one.")
    st.stop()
found = frame["side"].value_counts()
a, b, c, d, e = st.columns(5)
a.metric("Discoveries, A", f"{found.get('A', 0):,}")
b.metric("Discoveries, B", f"{found.get('B', 0):,}")
c.metric("Motifs tested", f"{len(frame):,}")
d.metric("Problems", f"{counts['problems']:,}", help=f"{counts['design']}; of the whole comparison")
difference = counts.get("accuracy_difference")
e.metric(
    "Accuracy, A − B",
    "—" if difference is None else f"{difference[0]:+.3f}",
    delta=None if difference is None else f"{difference[1]:+.3f} to {difference[2]:+.3f}",
    delta_color="off",
    delta_arrow="off",
)

shown = charts.thin(frame)
st.vega_lite_chart(
    *charts.volcano(shown, *map(labels.short, pair)),
    alt="Log-odds against |z| of every motif shown",
)
left_out = len(frame) - len(shown)
wall = bool(((shown["count_a"] == 0) | (shown["count_b"] == 0)).any())
st.caption(
    (
        f"{len(shown):,} of {len(frame):,} motifs: all discoveries and a random sample of the others (seed 0). "
        if left_out
        else ""
    )
    + "A discovery is p_adj ≤ .05, family-wise over the motifs tested here; many overlap one another. Log-odds is the "
    "size, z the test: they weigh problems differently and may disagree for a motif that few problems hold. Rates are "
    "compositional: one rising motif lowers the rest."
    + (
        " The points in a wall at either end: motifs that one group never uses, where the prior sets the size."
        if wall
        else ""
    )
)

with st.container(horizontal=True, vertical_alignment="bottom"):
    which = st.segmented_control(
        "Show",
        ["discoveries", "over-represented in A", "over-represented in B", "all tested"],
        default="discoveries",
        required=True,
        key="which",
    )
    text = st.text_input("Search", key="compare_q", placeholder="words of a motif", width=280)
keep = {
    "discoveries": frame["side"].isin(["A", "B"]),
    "over-represented in A": frame["side"] == "A",
    "over-represented in B": frame["side"] == "B",
    "all tested": pd.Series(True, frame.index),
}[which]
if text:
    keep &= frame["text"].str.contains(text, case=False, regex=False)
rows = frame[keep].assign(rank=range(1, int(keep.sum()) + 1))
left, right = st.columns([3, 2], vertical_alignment="center")
left.caption(
    f"{len(rows):,} motifs by |z|, the strongest first; {compare_panels.PAGE} a page. Select one for its contexts."
)
with right:
    table = compare_panels.paged(rows, f"rank_{id}_{domain}_{matched}_{which}")
heads = frame.loc[frame["motif_id"].isin(table["part_of"].dropna()), ["motif_id", "text"]]  # not an index of all
head_of = dict(zip(heads["motif_id"], heads["text"], strict=True))
table = table.assign(head=[head_of.get(one, "") for one in table["part_of"]])
number = st.column_config.NumberColumn
p, per = number(format="%.4f"), "occurrences per 1,000 units, mean over problems"
event = st.dataframe(
    table[["text", "rank", "side", *compared.TESTED]].assign(
        rate_a=1000 * table["rate_a"],
        rate_b=1000 * table["rate_b"],
        part_of=[labels.one_line(t, 60) for t in table["head"]],
        text=[labels.one_line(t, 300) for t in table["text"]],
    ),
    hide_index=True,
    height=360,
    key=f"rows_{id}_{pair}_{domain}_{matched}_{which}_{text}_{table['rank'].min() if len(table) else 0}",
    on_select="rerun",
    selection_mode="single-row",
    alt="Motifs with their tests",
    column_config={
        "text": st.column_config.TextColumn("motif", width="medium", pinned=True),
        "rank": number(width="small", help="by |z| among what is shown"),
        "side": st.column_config.TextColumn("more in", width="small"),
        "rate_a": number("A per 1,000", format="%.3f", help=per),
        "rate_b": number("B per 1,000", format="%.3f", help=per),
        "log_odds": number("log-odds", format="%+.2f"),
        "ci_low": number("from", format="%+.2f"),
        "ci_high": number("to", format="%+.2f"),
        "z": number(format="%+.2f"),
        "p": p,
        "p_adj": p,
        "p_adj_presence": number(
            "presence p_adj", format="%.4f", help="the test on whether a trace holds the motif at all"
        ),
        "part_of": st.column_config.TextColumn(
            "part of", help="the stronger discovery that accounts for this one: same side, most of its occurrences"
        ),
        "problems_a": "problems A",
        "problems_b": "problems B",
        "stable": st.column_config.CheckboxColumn(
            help="p ≤ .05 unadjusted in at least 90 of 100 bootstraps of the problems"
        ),
    },
)
picked = event.selection.rows
with st.container(horizontal=True, vertical_alignment="center"):
    if picked and picked[0] < len(table):
        one = table.iloc[picked[0]]
        mined = data.key(run, "traces", "mine")
        name = f"Motif {labels.code(one['text'], 40)}"
        if one["motif_id"] in data.motif_ids(data.key(run, "mine")):
            labels.link(name, "motifs", icon=":material/format_quote:", motif=one["motif_id"])
            states.link_to_holders("Traces that hold it", mined, one["motif_id"])
        else:
            labels.link(name, "lexicon", icon=":material/dictionary:", motif=one["motif_id"])
        if one["head"]:
            st.text(f"part of: {labels.one_line(one['head'], 60)}")
    downloads.button(
        lambda: compared.every_column(key, id, domain, matched, pair, set(rows["motif_id"])),
        f"{id}.{matched}",
    )

difference = compared.difference_names(tested, record)[pair]
safely = compare_panels.safely
opened.tabs(
    {
        "Pairs of groups": lambda: safely(compare_panels.pairs, key, id, domain, matched, of_pair),
        "Matched and unmatched": lambda: safely(compare_panels.matchings, key, id, domain, pair),
        "Legibility": lambda: safely(compare_panels.legibility, run, key, id, pair, difference),
        "Shift a token": lambda: safely(compare_panels.shift, run, key, id),
        "Accuracy against tokens": lambda: safely(compare_curve.show, run),
    },
    "compare_tab",
)
