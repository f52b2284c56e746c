"""What the page Sharing shows below its maps: differences by pair, the motifs of the overlap, rarefaction."""

from collections.abc import Callable

import interval_charts
import labels
import opened
import overlap
import pandas as pd
import streamlit as st
from compare_panels import number, paged, safely

import data
from dsl_probe.store import Run

PAGE = 100
MOST_PAIRS = 40
IN_BOTH = "in both"


def may_read(run: Run) -> bool:
    """Whether the words may be counted: at once where they are few, else when asked to."""
    units = int(run.counts("mine").get("units", 0))
    if units <= overlap.MOST_UNITS:
        return True
    return st.toggle(
        f"Count the words of all {units:,} units",
        key="count_words",
        help="the text of the whole run is read into memory, once",
    )


def differences(run: Run, id: str, groups: list[str]) -> None:
    """Sharing of each pair of domains, A − B, with its interval."""
    if len(groups) < 2:
        st.caption("A and B are the same traces: there is no difference.")
        return
    frame = overlap.differences(data.key(run, f"compare.{id}"), data.key(run, "traces", "mine"), id)
    shown = frame.head(MOST_PAIRS)
    named = shown.assign(label=_pairs(shown), series="A − B")
    chart = interval_charts.dots(named, "Morisita-Horn, A − B (right: A shares more)", zero=True, format="+.4f")
    st.altair_chart(chart, alt="Difference in sharing of each pair of domains")
    with st.container():
        st.caption(
            (f"The {MOST_PAIRS} largest of {len(frame):,} pairs. " if len(frame) > MOST_PAIRS else "")
            + "Morisita-Horn of word frequencies, corrected for bias, with a 95 % jackknife interval by problem; where "
            "both groups answered the same problems, a problem is deleted from both at once. The intervals are not "
            "adjusted for the number of pairs."
        )
    st.dataframe(
        frame,
        hide_index=True,
        height=labels.height(len(frame), 300),
        alt="Differences in sharing",
        column_config={
            "domain_a": "domain",
            "domain_b": "and domain",
            "value": number("A − B", format="%+.4f"),
            "ci_low": number("95 % from", format="%+.4f"),
            "ci_high": number("to", format="%+.4f"),
            "n": number("problems", format="localized"),
        },
    )


def _pairs(frame: pd.DataFrame) -> list[str]:
    return [
        f"{labels.one_line(a, 24)} · {labels.one_line(b, 24)}"
        for a, b in zip(frame["domain_a"], frame["domain_b"], strict=True)
    ]


def motifs(run: Run, groups: list[str], part: pd.DataFrame) -> None:
    """Which motifs make the overlap of two domains in a group, and which stand in one domain alone."""
    mined, traces = data.key(run, "traces", "mine"), data.key(run, "traces")
    pairs = list(dict.fromkeys(zip(part["domain_a"], part["domain_b"], strict=True)))
    named = dict(zip((f"{a} and {b}" for a, b in pairs), pairs, strict=True))
    sides = {f"{side}: {labels.short(g)}": g for side, g in zip("AB", groups, strict=False)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        group = sides[labels.pick("Group", list(sides), "overlap_group", width=300)]
        domains = named[labels.pick("Pair of domains", list(named), "overlap_pair", width=300)]
        words = st.toggle("single units only", value=True, key="overlap_words", bind="query-params")
    models, whole = overlap.models_of(traces, group)
    frame = overlap.shared_motifs(mined, tuple(models), domains, words)
    first, second = (f"in {labels.one_line(d, 40)} alone" for d in domains)
    keep = {
        IN_BOTH: (frame["count_a"] > 0) & (frame["count_b"] > 0),
        first: frame["count_b"] == 0,
        second: frame["count_a"] == 0,
    }
    options = list(keep)
    which = labels.pick("Motifs that stand", options, "overlap_which", width=300)
    own = frame[keep[which]]
    left, right = st.columns([3, 2], vertical_alignment="center")
    both = frame[keep[IN_BOTH]]
    left.caption(
        f"{len(both):,} of {len(frame):,} motifs stand in both domains; the ten largest make "
        f"{both['part'].head(10).sum():.0%} of the overlap."
    )
    with right:
        shown = paged(own, f"overlap_{which}", PAGE)
    st.dataframe(
        shown[["text", "part", "rate_a", "rate_b", "count_a", "count_b", "length"]].assign(
            text=[labels.one_line(t, 200) for t in shown["text"]], part=100 * shown["part"]
        ),
        hide_index=True,
        height=labels.height(len(shown)),
        alt="Motifs of the overlap",
        column_config={
            "text": st.column_config.TextColumn("motif", width=220, pinned=True),
            "part": number("% of the overlap", format="%.2f", help="of the sum of products of the two frequencies"),
            "rate_a": number("per 1,000", format="%.3f", help=f"in {labels.one_line(domains[0], 60)}"),
            "rate_b": number("per 1,000 (and)", format="%.3f", help=f"in {labels.one_line(domains[1], 60)}"),
            "count_a": number("count", format="localized"),
            "count_b": number("count (and)", format="localized"),
        },
    )
    with st.container():
        st.caption(
            "Counts of the mined motifs, format motifs and prompt echoes left out. A motif of low counts may be "
            "missing in a domain by chance; which meaning it has there is not shown."
            + ("" if whole else " The group is a part of its models' traces: these are counts of all of them.")
            + ("" if words else " Longer motifs hold shorter ones, so that the shares count text more than once.")
        )


def rarefaction(run: Run, id: str, groups: list[str]) -> None:
    """Different words of each domain and group in equal amounts of text; diversity at equal coverage."""
    keys = (data.key(run, f"compare.{id}"), data.key(run, "traces", "mine"), id)
    frame = overlap.rarefaction(*keys)
    if frame.empty:
        st.caption("Too few words for a curve: a domain needs two problems with words.")
        return
    sides = [f"{side}: {labels.short(g)}" for side, g in zip("AB", groups, strict=False)]
    frame = frame[frame["side"] < len(groups)]
    domains = sorted(set(frame["domain"]))
    domain = labels.pick("Domain of the curves", domains, "rarefied", width=260)
    own = frame[frame["domain"] == domain].assign(series=lambda t: [sides[k] for k in t["side"]])
    chart = interval_charts.lines(own, "words drawn", "different words expected", sides=True, format=",.1f")
    st.altair_chart(chart, alt="Rarefaction curves of each group")
    with st.container():
        st.caption(
            "The unit is one word of the trace (numbers, formulas, code, format tags and prompt echoes left out), "
            "drawn one by one without replacement, up to what the smallest domain of either group has; 95 % by groups "
            "of problems. Words come in bursts, so that as much running text shows fewer. A longer vocabulary is no "
            "better one."
        )
    last = frame[frame["at"] == frame["at"].max()]
    st.dataframe(
        last.assign(group=[sides[k] for k in last["side"]])[
            ["group", "domain", "at", "value", "ci_low", "ci_high", "n"]
        ],
        hide_index=True,
        height=labels.height(len(last), 250),
        alt="Different words in equal amounts of text",
        column_config={
            "at": number("words drawn", format="localized"),
            "value": number("different words", format="%.1f"),
            "ci_low": number("95 % from", format="%.1f"),
            "ci_high": number("to", format="%.1f"),
            "n": number("words in all", format="localized"),
        },
    )
    if st.toggle("Hill numbers and beta at equal coverage", key="diversity", bind="query-params"):
        found = overlap.diversities(*keys)
        found = found[found["side"] < len(groups)]
        st.dataframe(
            found.assign(group=[sides[k] for k in found["side"]])[
                ["group", "domain", "measure", "value", "ci_low", "ci_high", "coverage", "n"]
            ],
            hide_index=True,
            height=360,
            alt="Diversity at equal coverage",
            column_config={
                "value": number(format="%.3f"),
                "ci_low": number("95 % from", format="%.3f"),
                "ci_high": number("to", format="%.3f"),
                "coverage": number(format="%.3f", help="share of the domain's words that belong to types it has"),
                "n": number("words", format="localized"),
            },
        )
        with st.container():
            st.caption(
                "hill_q: number of equally frequent words that would be as diverse; q = 0 counts words, 1 weighs them "
                "by frequency, 2 counts the common ones. beta_q: effective number of distinct vocabularies, 1 where "
                "all domains share one. Coverage is common within a group, not between the groups."
            )


def show(run: Run, id: str, groups: list[str], part: pd.DataFrame) -> None:
    """The panels."""

    def counted(panel: Callable[..., None]) -> None:
        if may_read(run):
            safely(panel, run, id, groups)

    opened.tabs(
        {
            "A − B by pair of domains": lambda: counted(differences),
            "What makes the overlap": lambda: safely(motifs, run, groups, part),
            "Rarefaction": lambda: counted(rarefaction),
        },
        "sharing_tab",
    )
