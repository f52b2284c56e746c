"""What the page Compare shows below its table: pairs, matchings, legibility, shift and accuracy against tokens."""

from collections.abc import Callable
from typing import Any

import compared
import interval_charts
import labels
import pandas as pd
import streamlit as st

from dsl_probe.store import Run
from dsl_probe.types import UserError

PAGE = 100
number = st.column_config.NumberColumn
WHOLE = number(format="localized")
INSIDE, OUTSIDE, BETWEEN = "inside", "outside", "outside - inside"
MEASURES = {
    "script_mix": "how evenly several scripts are mixed in a text",
    "switches": "changes of script per 1,000 units",
    "out_of_lexicon": "share of words that the reference texts do not have",
    "repetition": "share of blocks of eight units that return",
}
SHIFTS = {
    "bits": "mean log2 of the trained model's probability over the base's, bits a token",
    "js": "mean Jensen-Shannon divergence of the next-token distributions, bits",
    "changed": "share of tokens that one of the two finds at least twice as likely",
    "top_tenth": "share of all change that lies on the tenth of the tokens that moved most; .1 if all moved alike",
}


def safely(show: Callable[..., None], *arguments: Any) -> None:
    """A panel; a file of its own that cannot be read takes nothing else off the page."""
    try:
        show(*arguments)
    except UserError as error:
        labels.trouble("Something of this run cannot be read.", str(error))


def missing(said: str, command: str) -> None:
    """What was not measured, and how to have it measured."""
    with st.container():
        st.caption(said)
    st.code(labels.visible(command), language="bash", wrap_lines=True)


def again(run: Run, id: str) -> str:
    """The command that makes a comparison again as it was made."""
    return f"dsl-probe compare {run.path} --config {run.path / 'stages' / f'compare.{id}.json'} --force"


def paged(frame: pd.DataFrame, key: str, size: int = PAGE) -> pd.DataFrame:
    """The rows of the page that was asked for; the others never leave the server."""
    pages = -(-len(frame) // size)
    at = st.pagination(pages, max_visible_pages=7, key=f"{key}_{pages}_{len(frame)}") if pages > 1 else 1
    return frame.iloc[(at - 1) * size : at * size]


# ---- pairs of groups


def pairs(key: tuple[str, str], id: str, domain: str, matched: str, counts: dict[tuple[str, str], dict]) -> None:
    """The pairs of groups that were tested; of several, the motifs over-represented in any, with a mark for each."""
    tested = list(counts)
    if len(tested) < 2:
        of = counts[tested[0]]
        with st.container():
            st.caption(
                f"One pair, {of['design']}: of {of['motifs_tested']:,} motifs at equal units over all domains "
                f"{of['discoveries_a']:,} are over-represented in A and {of['discoveries_b']:,} in B. The base is one "
                "of the two, or none was named, or it shares too few problems with either. With a base of its own "
                "(`--base`) each group is also compared with it, and a motif may be told to be new in one, in both or "
                "in neither."
            )
        return
    rows = [
        {
            "first": labels.short(a),
            "second": labels.short(b),
            "problems": of["problems"],
            "design": of["design"],
            "tested": of["motifs_tested"],
            "in_first": of["discoveries_a"],
            "in_second": of["discoveries_b"],
            "accuracy": labels.interval(of.get("accuracy_difference")),
        }
        for (a, b), of in counts.items()
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=labels.height(len(rows)),
        alt="Pairs of groups",
        column_config={
            "problems": WHOLE,
            "tested": number("motifs tested", format="localized"),
            "in_first": number("more in first", format="localized", help="discoveries at equal units, all domains"),
            "in_second": number("more in second", format="localized", help="discoveries at equal units, all domains"),
            "accuracy": st.column_config.TextColumn("accuracy, first − second", width="medium"),
        },
    )
    frame = compared.marks(key, id, domain, matched, tuple(tested))
    if frame.empty:
        st.caption("No motif is over-represented in any pair for this domain and matching.")
        return
    marks = [f"mark_{k}" for k in range(len(tested))]
    said = {}
    for mark, pair in zip(marks, tested, strict=True):
        said[mark] = " against ".join(map(labels.short, pair))
        names = {"first": labels.short(pair[0]), "second": labels.short(pair[1])}
        frame[mark] = [f"more in {names[m]}" if m in names else m for m in frame[mark]]
    pattern = frame[marks].agg(" · ".join, axis=1)
    every = "any pair"
    counted = pattern.value_counts()
    options = {every: None} | {f"{n:,} motifs: {p}": p for p, n in counted.items()}
    wanted = options[labels.pick("Over-represented in", list(options), "pattern", width="stretch")]
    frame = frame if wanted is None else frame[pattern == wanted]
    left, right = st.columns([3, 2], vertical_alignment="center")
    left.caption(f"{len(frame):,} motifs; {PAGE} a page, those told apart in most pairs first. {domain}, {matched}.")
    with right:
        shown = paged(frame, f"marks_{id}_{domain}_{matched}")
    zs = [f"z_{k}" for k in range(len(tested))]
    order = ["text", *(name for two in zip(marks, zs, strict=True) for name in two)]
    st.dataframe(
        shown[order].assign(text=[labels.one_line(t, 300) for t in shown["text"]]),
        hide_index=True,
        height=labels.height(len(shown)),
        alt="Motifs with a mark for each pair of groups",
        column_config={
            "text": st.column_config.TextColumn("motif", width=200, pinned=True),
            **{mark: st.column_config.TextColumn(said[mark], width=190) for mark in marks},
            **{z: number("z", format="%+.1f", width=60) for z in zs},
        },
    )
    with st.container():
        st.caption(
            "Each pair has its own problems and its own family of tests: no mark is no evidence of no difference, and "
            "a motif over-represented against the base in one group alone need not differ between the two."
        )


# ---- matched and unmatched


def matchings(key: tuple[str, str], id: str, domain: str, pair: tuple[str, str]) -> None:
    """Discoveries at equal units, raw and at equal accuracy, side by side."""
    frame = compared.matchings(key, id, domain, pair)
    sides = {
        side: f"{side.upper()}: {labels.one_line(labels.short(g), 36)}" for side, g in zip("ab", pair, strict=True)
    }
    if len(frame):
        long = frame.rename(columns={"matched": "label"}).melt("label", ["a", "b"], "series", "value")
        st.altair_chart(
            interval_charts.bars(long.assign(series=long["series"].map(sides)), "motifs over-represented"),
            alt="Discoveries by how the text was matched",
        )
    st.dataframe(
        frame,
        hide_index=True,
        height=labels.height(len(frame)),
        alt="Discoveries by how the text was matched",
        column_config={
            "matched": "text compared",
            "tested": number("motifs tested", format="localized"),
            "a": number("more in A", format="localized"),
            "b": number("more in B", format="localized"),
            "both": number("also at equal units", format="localized", help="on the same side"),
            "lost": number("of equal units not here", format="localized"),
        },
    )
    absent = [how for how in compared.MATCHED if how not in set(frame["matched"])]
    with st.container():
        st.caption(
            (f"Not tested, for want of problems or of verdicts: {', '.join(absent)}. " if absent else "")
            + "Equal units is the headline: both groups cut to the same number of units in each problem. What is found "
            "raw alone may be no more than a difference in length; what is lost at equal accuracy may be no more than "
            "right answers, or be lost because fewer traces are left."
        )


# ---- legibility


def legibility(run: Run, key: tuple[str, str], id: str, pair: tuple[str, str], name: str) -> None:
    """Measures of legibility: groups and their difference, by domain, inside and outside the RL domains."""
    frame = compared.table(key, id, "legibility")
    if frame is None or frame.empty:
        missing("Legibility was not measured in this comparison. Make it again:", again(run, id))
        return
    measures = list(dict.fromkeys(frame["measure"]))
    first = "out_of_lexicon" if "out_of_lexicon" in measures else None
    measure = labels.pick("Measure of legibility", measures, "legible", first, width=320)
    groups = {pair[0]: f"A: {labels.short(pair[0])}", pair[1]: f"B: {labels.short(pair[1])}"}
    own = frame[frame["measure"] == measure].rename(columns={"domain": "label", "problems": "n"})
    value = own[own["group"].isin(groups)]
    value = value.assign(series=value["group"].map(groups))
    difference = own[own["group"] == name].assign(series="A − B")
    left, right = st.columns(2)
    drawn = ["label", "series", "value", "ci_low", "ci_high", "n"]
    with left:
        st.altair_chart(interval_charts.dots(value[drawn], measure, sides=True), alt="Measure by group and domain")
    with right:
        if len(difference):
            chart = interval_charts.dots(difference[drawn], f"{measure}, A − B", zero=True, format="+.4f")
            st.altair_chart(chart, alt="Difference of the measure by domain")
        else:
            st.caption("These two groups have no difference of this measure.")
    split = frame["domain"].isin([INSIDE, OUTSIDE]).any()
    with st.container():
        st.caption(
            (f"{MEASURES[measure]}. " if measure in MEASURES else "")
            + ("" if split else "No domain was named as one of the reinforcement (`--rl-domains`). ")
            + "Mean over problems, 95 % by problem; the reference is "
            + ("the base's words" if (frame["reference"] == "base").any() else "the words of all prompts")
            + ". Known words in a private sense are legible by every measure."
        )
    every = frame[frame["group"] == name]
    parts = [p for p in ("all", INSIDE, OUTSIDE, BETWEEN) if (every["domain"] == p).any()]
    # Most runs write one script: a row for each of the others would say nothing.
    written = frame.groupby("measure")["value"].agg(lambda v: bool((v != 0).any()))
    measures = [m for m in measures if written[m] or not m.startswith("share_")]
    wide = pd.DataFrame({"measure": measures})
    for part in parts:
        found = every[every["domain"] == part].set_index("measure").reindex(measures)
        wide[part] = [
            labels.interval(three, 4) for three in found[["value", "ci_low", "ci_high"]].itertuples(index=False)
        ]
    wide["problems"] = every[every["domain"] == "all"].set_index("measure")["problems"].reindex(measures).to_numpy()
    text = {part: st.column_config.TextColumn(f"A − B, {part.replace('-', '−')}", width=210) for part in parts}
    st.dataframe(
        wide,
        hide_index=True,
        height=labels.height(len(wide), 330),
        alt="Differences of all measures",
        column_config={"measure": st.column_config.TextColumn(pinned=True), "problems": WHOLE, **text},
    )


# ---- shift


def shift(run: Run, key: tuple[str, str], id: str) -> None:
    """By how much training moved each model on its own text, a token."""
    frame = compared.table(key, id, "shift")
    if frame is None or frame.empty:
        missing(
            "The traces have not been scored with a model and its base, so that no shift a token is known. Score them, "
            "then compare again:",
            f"dsl-probe score {run.path} --model MODEL --against BASE\n{again(run, id)}",
        )
        return
    measures = list(dict.fromkeys(frame["measure"]))
    measure = labels.pick("Measure of the shift", measures, "shift", width=320)
    own = frame[frame["measure"] == measure].rename(columns={"domain": "label", "problems": "n"})
    own = own.assign(series=[labels.short(g) for g in own["group"]])
    chart = interval_charts.dots(own[["label", "series", "value", "ci_low", "ci_high", "n"]], measure)
    st.altair_chart(chart, alt="Shift of each model by domain")
    with st.container():
        st.caption(
            f"{SHIFTS.get(measure, measure)}. Each model on its own text, against the base; mean over problems, 95 % "
            "by problem. That the tokens that moved matter is not shown; on a model's own samples bits are above 0 "
            "wherever the two differ at all."
        )
    st.dataframe(
        frame.assign(group=[labels.short(g) for g in frame["group"]]),
        hide_index=True,
        height=labels.height(len(frame), 300),
        alt="Shift by group, domain and measure",
        column_config={
            "value": number(format="%.4f"),
            "ci_low": number("95 % from", format="%.4f"),
            "ci_high": number("to", format="%.4f"),
            "problems": WHOLE,
        },
    )
