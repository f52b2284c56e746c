"""Language: the words and phrases of one group that its reference lacks, and the grammar of each of its domains."""

import charts
import labels
import pandas as pd
import states
import streamlit as st

import data

GRAPH_STATES = 60

run = data.current()
st.title("Language")
key = states.need_motifs(run)
languages = run.languages()
if not languages:
    labels.trouble(
        "No language has been learnt yet.",
        "Name a group of traces, and the traces of the model that it was trained from.",
        command=f"dsl-probe mine {run.path} --language.group model=NAME --language.reference model=BASE",
        kind="info",
    )
    st.stop()
id = labels.pick("Language", list(languages), "language", width=420)
config, counts = languages[id], run.counts(f"language.{id}")
key = data.key(run, "mine", f"language.{id}")
states.warn_if_stale(run, f"language.{id}")
against = f" against {labels.one_line(config['reference'], 100)} on the same problems" if config["reference"] else ""
st.text(f"{counts['traces']:,} traces of {labels.one_line(config['group'], 100)}{against}")

lexicon = data.private_lexicon(key, id)
st.subheader("Words and phrases beyond the reference")
if lexicon is None:
    st.caption("There was no reference, so what is this group's own cannot be told.")
elif lexicon.empty:
    st.caption("None: nothing is used three times as often as by the reference, and beyond chance.")
else:
    st.caption(
        f"{counts['words']:,} words and {counts['phrases']:,} phrases used at least three times as often as by the "
        f"reference; {counts['exchanged']:,} when each problem's traces are dealt to the two at random. "
        "Over-represented against this reference: not shown to be new, to mean "
        "anything or to matter. Select one to see its variants."
    )
    number = st.column_config.NumberColumn
    picked = st.dataframe(
        lexicon.assign(text=[labels.one_line(t, 300) for t in lexicon["text"]], domains=lexicon["domains"].map(list))[
            [
                "text",
                "kind",
                "count",
                "reference_count",
                "g2",
                "support",
                "problems",
                "domains",
                "exact_share",
                "variants",
            ]
        ],
        hide_index=True,
        height=360,
        key=f"private_{id}",
        on_select="rerun",
        selection_mode="single-row",
        alt="Words and phrases of the language",
        column_config={
            "text": st.column_config.TextColumn("word or phrase", width=360, pinned=True),
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
    chosen = lexicon.iloc[rows[0] if rows and rows[0] < len(lexicon) else 0]
    if chosen["kind"] == "phrase":
        st.markdown(f"**Variants of** {labels.code(chosen['text'], 200)}")
        variants: pd.DataFrame = data.variants(key, chosen["motif_id"], f"languages/{id}/")
        st.dataframe(
            variants.assign(text=[labels.one_line(t, 300) for t in variants["text"]])[["text", "count"]],
            hide_index=True,
            height=220,
            alt="Variants of the phrase",
            column_config={"text": st.column_config.TextColumn("as it is written", width=420)},
        )

# The dictionary takes some seconds, so it is not made before it is asked for.
if lexicon is not None and not lexicon.empty and st.toggle("Translate a trace", key="translate"):
    own = data.rows_of(key, config["group"])
    at = st.number_input(f"Trace, 1 to {len(own):,}", 1, len(own), 1, key="translated", width=220)
    row = int(own[at - 1])
    left, right = st.columns(2)
    left.markdown("**As it was written**")
    left.text(labels.visible(data.trace(key, row)["text"]))
    right.markdown("**With each word and phrase replaced by where it stands**")
    right.text(labels.visible(data.translation(key, row, id)))
    st.caption("A gloss says where an entry stands, by rule; it is no meaning.")

grammars = data.grammars(key, id)
st.subheader("Grammar")
if not grammars:
    st.caption("None was learnt (--language.no-grammar).")
    st.stop()
domain = labels.pick("Domain", list(grammars), "grammar_domain", width=420)
grammar = grammars[domain]
verdict, _, detail = grammar["verdict"].partition(": ")
color = {"supported": "green", "contradicted": "red"}.get(verdict, "gray")
st.markdown(f":{color}-badge[{verdict}] {detail}")
if "bits" not in grammar:
    st.stop()
bits = grammar["bits"]
st.caption(
    f"Learnt on {grammar['traces']:,} traces, {grammar['units']:,} units; {grammar['held_out_accepted']:.0%} of the "
    f"held-out traces parse. Bits a unit on {bits['units']:,} held-out units: lower explains more."
)


def _row(name: str, part: dict) -> dict:
    return {
        "text": name,
        "Markov": f"{part['markov']:.3f} (order {part['markov_order']})",
        "grammar": f"{part['grammar']:.3f}",
        "grammar less Markov": labels.interval(part["difference"]),
        "both": f"{part['both']:.3f}",
        "both less Markov": labels.interval(part["difference_both"]),
    }


st.dataframe(
    pd.DataFrame([_row("as written", bits), _row("units shuffled within traces", bits["shuffled"])]),
    hide_index=True,
    alt="Bits a unit on held-out problems",
)
left, right = st.columns([3, 2])
with left:
    st.markdown("**Productions** — `?` may be left out, `*` any number of times, `|` one of them")
    rules = sorted(grammar["productions"].items(), key=lambda rule: (rule[0][0] != "S", len(rule[0]), rule[0]))
    st.code("\n".join(f"{name} -> {labels.visible(text)}" for name, text in rules), language=None, wrap_lines=True)
with right:
    st.markdown("**Categories** of more than one unit")
    several = [(n, m) for n, m in zip(grammar["names"], grammar["categories"], strict=True) if len(m) > 1]
    st.dataframe(
        pd.DataFrame(
            {"category": [labels.one_line(n, 60) for n, _ in several], "units": [list(m[:200]) for _, m in several]}
        ),
        hide_index=True,
        height=300,
        alt="Categories of units",
    )
if grammar["states"] > GRAPH_STATES:
    st.caption(f"The automaton has {grammar['states']:,} states: too many to draw.")
    st.stop()
st.markdown(f"**The automaton**, {grammar['states']} states: 0 begins, squares may end. Select one for its edges.")
picked = st.echarts_chart(
    charts.automaton(grammar, labels.visible),
    height=520,
    renderer="svg",
    key=f"automaton_{id}_{domain}",
    on_select="rerun",
    alt="The states of the automaton and what leads from one to another",
)
parts = [part for part in picked["selection"]["selected"] if part["data_type"] == "node"]
chosen = {at for part in parts for at in part["data_indices"]} or {0}
edges = [
    {"from": a, "writes": labels.one_line(grammar["names"][c], 60), "to": b, "uses": n}
    for a, c, b, n in grammar["edges"]
    if a in chosen or b in chosen
]
st.dataframe(pd.DataFrame(edges), hide_index=True, alt="Edges of the selected state")
