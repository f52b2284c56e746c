"""Language: the words and phrases of one group that its reference lacks, the grammar of each of its domains, and the
graph of its moves; of one language, or of two side by side."""

import labels
import lexicons
import moves
import states
import streamlit as st
import tongue

import data

NOTHING = "nothing"

run = data.current()
st.title("Language")
states.need_motifs(run)
languages = run.languages()
if not languages:
    labels.trouble(
        "No language has been learnt yet.",
        "Name a group of traces, and the traces of the model that it was trained from.",
        command=f"dsl-probe mine {run.path} --language.group model=NAME --language.reference model=BASE",
        kind="info",
    )
    st.stop()
with st.container(horizontal=True, vertical_alignment="bottom"):
    first = labels.pick("Language", list(languages), "language", width=340)
    second = NOTHING
    if len(languages) > 1:
        second = labels.pick("Language beside it", [NOTHING, *languages], "beside_language", width=340)
ids = [first] if second in (NOTHING, first) else [first, second]
if len(languages) == 1:
    st.caption("To set another language beside it, learn one: `dsl-probe mine RUN --language.group model=OTHER`.")
for id in ids:
    states.warn_if_stale(run, f"language.{id}")


def sides() -> list:
    """A column a language."""
    return st.columns(len(ids)) if len(ids) > 1 else [st.container()]


def words() -> None:
    """What each has beyond its reference, and for two the run's lexicon by their uses."""
    for column, id in zip(sides(), ids, strict=True):
        with column:
            tongue.head(run, id)
    st.subheader("Words and phrases beyond the reference")
    for column, id, other in zip(sides(), ids, [*ids[1:], ids[0] if len(ids) > 1 else None], strict=True):
        with column:
            tongue.lexicon(run, id, other)
    if len(ids) == 1:
        return
    groups = (languages[ids[0]]["group"], languages[ids[1]]["group"])
    table = tongue.lexicon_of_two(data.key(run, "traces", "mine"), groups)
    if table is None:
        return
    st.subheader("The run's lexicon in both")
    st.caption("Uses of each entry, in all and in 100 traces; the most unequal first. No test: that is Compare's.")
    number = st.column_config.NumberColumn
    st.dataframe(
        table.assign(text=[labels.one_line(t, 300) for t in table["text"]]).head(500),
        hide_index=True,
        height=300,
        key="lexicon_of_two",
        alt="Uses of the run's lexicon by the two",
        column_config={
            "text": st.column_config.TextColumn("motif", width=300, pinned=True),
            "first": number("uses, first", format="localized"),
            "second": number("uses, second", format="localized"),
            "rate_first": number("in 100 traces, first", format="%.1f"),
            "rate_second": number("in 100 traces, second", format="%.1f"),
        },
    )


def translated(id: str) -> None:
    """A trace beside its translation; the dictionary takes some seconds, so it is not made before it is asked for."""
    key = tongue.key_of(run, id)
    lexicon = lexicons.private_lexicon(key, id)
    if lexicon is None or lexicon.empty or not st.toggle("Translate a trace", key="translate", bind="query-params"):
        return
    own = lexicons.rows_of(key, languages[id]["group"])
    at = st.number_input(f"Trace, 1 to {len(own):,}", 1, len(own), 1, key="translated", width=220)
    row = int(own[at - 1])
    left, right = st.columns(2)
    left.markdown("**As it was written**")
    left.text(labels.visible(data.trace(key, row)["text"]))
    right.markdown("**With each word and phrase replaced by where it stands**")
    right.text(labels.visible(lexicons.translation(key, row, id)))
    st.caption("A gloss says where an entry stands, by rule; it is no meaning.")


def grammar() -> None:
    """Verdict, bits beside the nulls, productions, categories and automaton of a domain."""
    st.subheader("Grammar")
    learnt = {id: lexicons.grammars(tongue.key_of(run, id), id) for id in ids}
    domains = sorted(set().union(*learnt.values()))
    if not domains:
        st.caption("None was learnt (--language.no-grammar).")
        return
    domain = labels.pick("Domain", domains, "grammar_domain", width=420)
    found = {id: own[domain] for id, own in learnt.items() if domain in own}
    for column, id in zip(sides(), ids, strict=True):
        with column:
            if len(ids) > 1:
                st.text(labels.one_line(id, 60))
            if id in found:
                tongue.verdict(found[id])
            else:
                st.caption("It has no grammar of this domain.")
    whole = {id: made for id, made in found.items() if "bits" in made}
    if not whole:
        return
    tongue.bits(list(whole.items()))
    if len(ids) == 1:
        left, right = st.columns([3, 2])
        with left:
            tongue.productions(whole[ids[0]])
        with right:
            tongue.categories(whole[ids[0]], ids[0])
        tongue.automaton(whole[ids[0]], f"{ids[0]}_{domain}")
        return
    for column, id in zip(sides(), ids, strict=True):
        if id in whole:
            with column:
                tongue.productions(whole[id])
                tongue.categories(whole[id], id)


def graph() -> None:
    """The graph of moves; it takes some seconds, so it is not made before it is asked for."""
    st.subheader("Transition graph")
    st.caption("Which entry of the lexicon follows which in the traces of the group.")
    if not st.toggle("Draw the graph of moves", key="graph", bind="query-params"):
        return
    run_own = "the run's lexicon"
    beyond = "words and phrases beyond the reference"
    private = [lexicons.private_lexicon(tongue.key_of(run, id), id) for id in ids]
    choices = [run_own, beyond] if any(p is not None and len(p) for p in private) else [run_own]
    asked = labels.pick("Moves of", choices, "moves_of", width=340) if len(choices) > 1 else run_own
    for n, (column, id) in enumerate(zip(sides(), ids, strict=True)):
        with column:
            if len(ids) > 1:
                st.text(labels.one_line(id, 60))
            key = data.key(run, "traces", "mine", f"language.{id}")
            language = id if asked == beyond else None
            beyond_it = private[n]
            if language and (beyond_it is None or beyond_it.empty):
                st.caption("It has no words and phrases beyond a reference.")
            elif run.has("lexicon.parquet") or language:
                moves.show(key, languages[id]["group"], language, "_beside" * n)
            else:
                st.caption("This run was mined without a lexicon.")
                continue
            if st.toggle("Figures beside moves without order", key=f"figures{n}"):
                moves.nulls(key, languages[id]["group"], language)


words()
if len(ids) == 1:
    translated(ids[0])
grammar()
graph()
