"""Parts of the page Language: lexicon, held-out bits, productions and automaton of one language."""

from typing import Any

import charts
import downloads
import labels
import lexicons
import numpy as np
import pandas as pd
import streamlit as st

import data
from dsl_probe.store import Run

GRAPH_STATES = 60
_LONG = 900
number = st.column_config.NumberColumn


def key_of(run: Run, id: str) -> tuple[str, str]:
    """What the readers of a language are keyed by."""
    return data.key(run, "mine", f"language.{id}")


def head(run: Run, id: str) -> None:
    """Whose language it is, and against whom."""
    config, counts = run.languages()[id], run.counts(f"language.{id}")
    against = f" against {labels.one_line(config['reference'], 100)} on the same problems" * bool(config["reference"])
    st.text(f"{counts['traces']:,} traces of {labels.one_line(config['group'], 100)}{against}")


def lexicon(run: Run, id: str, other: str | None = None) -> None:
    """Words and phrases beyond the reference, and the variants of the selected one; which of them another language
    has."""
    key, counts = key_of(run, id), run.counts(f"language.{id}")
    table = lexicons.private_lexicon(key, id)
    if table is None:
        st.caption("There was no reference, so what is this group's own cannot be told.")
        return
    if table.empty:
        st.caption("None: nothing is used three times as often as by the reference, and beyond chance.")
        return
    st.caption(
        f"{counts['words']:,} words and {counts['phrases']:,} phrases used at least three times as often as by the "
        f"reference; {counts['exchanged']:,} when each problem's traces are dealt to the two at random. "
        "Over-represented against this reference: not shown to be new, to mean "
        "anything or to matter. Select one to see its variants."
    )
    shown = table.assign(text=[labels.one_line(t, 300) for t in table["text"]], domains=table["domains"].map(list))
    columns = ["text", "kind", "count", "reference_count", "g2", "support", "problems", "domains"]
    columns += ["exact_share", "variants"]
    if other is not None:
        theirs = lexicons.private_lexicon(key_of(run, other), other)
        shown["shared"] = table["text"].isin([] if theirs is None else theirs["text"])
        columns.insert(1, "shared")
    picked = st.dataframe(
        shown[columns],
        hide_index=True,
        height=labels.height(len(shown)),
        key=f"private_{id}",
        on_select="rerun",
        selection_mode="single-row",
        alt="Words and phrases of the language",
        column_config={
            "text": st.column_config.TextColumn(
                "word or phrase", width=360 if other is None else 150, pinned=other is None
            ),
            "shared": st.column_config.CheckboxColumn("the other's too", help="beyond the other language's reference"),
            "count": number("uses", format="localized"),
            "reference_count": number("by reference", format="localized"),
            "g2": number("G2", format="%.0f", help="log-likelihood ratio; uses in one trace depend on each other"),
            "support": number("traces", format="localized"),
            "problems": number(format="localized"),
            "domains": st.column_config.ListColumn("domains", help="used there at a twentieth of its highest rate"),
            "exact_share": number("exact", format="%.2f", help="share of its uses that have every element"),
            "variants": number(format="localized"),
        },
    )
    rows = picked.selection.rows
    chosen = table.iloc[rows[0] if rows and rows[0] < len(table) else 0]
    if chosen["kind"] == "phrase":
        st.markdown(f"**Variants of** {labels.code(chosen['text'], 200)}")
        variants: pd.DataFrame = lexicons.variants(key, chosen["motif_id"], f"languages/{id}/")
        st.dataframe(
            variants.assign(text=[labels.one_line(t, 300) for t in variants["text"]])[["text", "count"]],
            hide_index=True,
            height=labels.height(len(variants), 220),
            key=f"variants_{id}",
            alt="Variants of the phrase",
            column_config={"text": st.column_config.TextColumn("as it is written", width=420)},
        )


@st.cache_data(max_entries=16, show_spinner=False)
def lexicon_of_two(key: tuple[str, str], groups: tuple[str, str]) -> pd.DataFrame | None:
    """The run's lexicon with its uses by two groups, and uses a 100 traces; the most unequal first."""
    entries = lexicons.lexicon(key)
    if entries is None:
        return None
    uses = Run(key[0]).table("parse", ["motif_id", "trace_row", "echo"]).to_pandas()
    uses = uses[~uses["echo"]]
    rank = pd.Index(entries["motif_id"]).get_indexer(uses["motif_id"])
    made = entries[["text", "count"]].copy()
    for name, group in zip(("first", "second"), groups, strict=True):
        rows = lexicons.rows_of(key, group)
        inside = np.isin(uses["trace_row"].to_numpy(), rows) & (rank >= 0)
        made[name] = np.bincount(rank[inside], minlength=len(entries))
        made[f"rate_{name}"] = 100 * made[name] / max(len(rows), 1)
    order = (made["rate_first"] - made["rate_second"]).abs().sort_values(ascending=False, kind="stable").index
    return made.loc[order].drop(columns="count").reset_index(drop=True)


def bits(grammars: list[tuple[str, dict[str, Any]]]) -> None:
    """Bits a unit on held-out problems of each language, and on the same text with its units shuffled."""
    rows = []
    for name, grammar in grammars:
        for text, part in (("as written", grammar["bits"]), ("units shuffled", grammar["bits"]["shuffled"])):
            rows.append(
                ({"language": labels.one_line(name, 60)} if len(grammars) > 1 else {})
                | {
                    "text": text,
                    "Markov": f"{part['markov']:.3f} (order {part['markov_order']})",
                    "grammar": f"{part['grammar']:.3f}",
                    "grammar less Markov": labels.interval(part["difference"]),
                    "both": f"{part['both']:.3f}",
                    "both less Markov": labels.interval(part["difference_both"]),
                }
            )
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="bits", alt="Bits a unit on held-out problems")


def verdict(grammar: dict[str, Any]) -> None:
    """What the held-out problems say of the grammar, and what it was learnt on."""
    word, _, detail = grammar["verdict"].partition(": ")
    color = {"supported": "green", "contradicted": "red"}.get(word, "gray")
    st.markdown(f":{color}-badge[{word}] {detail}")
    if "bits" in grammar:
        st.caption(
            f"Learnt on {grammar['traces']:,} traces, {grammar['units']:,} units; {grammar['held_out_accepted']:.0%} "
            f"of the held-out traces parse. Bits a unit on {grammar['bits']['units']:,} held-out units: lower explains "
            "more."
        )


def productions(grammar: dict[str, Any]) -> None:
    """The productions as text."""
    st.markdown("**Productions** — `?` may be left out, `*` any number of times, `|` one of them")
    rules = sorted(grammar["productions"].items(), key=lambda rule: (rule[0][0] != "S", len(rule[0]), rule[0]))
    text = "\n".join(f"{name} -> {labels.visible(rule)}" for name, rule in rules)
    st.code(text, language=None, wrap_lines=True, height=420 if len(text) > _LONG else "content")


def categories(grammar: dict[str, Any], key: str) -> None:
    """The categories that hold more than one unit."""
    st.markdown("**Categories** of more than one unit")
    several = [(n, m) for n, m in zip(grammar["names"], grammar["categories"], strict=True) if len(m) > 1]
    st.dataframe(
        pd.DataFrame(
            {"category": [labels.one_line(n, 60) for n, _ in several], "units": [list(m[:200]) for _, m in several]}
        ),
        hide_index=True,
        height=labels.height(len(several), 300),
        key=f"categories_{key}",
        alt="Categories of units",
    )


def automaton(grammar: dict[str, Any], key: str) -> None:
    """The automaton, drawn, and the edges of the selected state."""
    if grammar["states"] > GRAPH_STATES:
        st.caption(f"The automaton has {grammar['states']:,} states: too many to draw.")
        return
    st.markdown(f"**The automaton**, {grammar['states']} states: 0 begins, squares may end. Select one for its edges.")
    picked = st.echarts_chart(
        charts.automaton(grammar, labels.visible),
        height=520,
        renderer="svg",
        key=f"automaton_{key}",
        on_select="rerun",
        alt="The states of the automaton and what leads from one to another",
    )
    names = [labels.one_line(name, 60) for name in grammar["names"]]
    every = [{"from": a, "writes": names[c], "to": b, "uses": n} for a, c, b, n in grammar["edges"]]
    downloads.button(lambda: pd.DataFrame(every), f"automaton.{key}", help="every edge of the automaton")
    parts = [part for part in picked["selection"]["selected"] if part["data_type"] == "node"]
    chosen = {at for part in parts for at in part["data_indices"]} or {0}
    edges = [edge for edge in every if chosen & {edge["from"], edge["to"]}]
    st.dataframe(pd.DataFrame(edges), hide_index=True, key=f"edges_{key}", alt="Edges of the selected state")
