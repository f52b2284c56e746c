"""Tables below two traces: the sequences and the motifs that both hold."""

import marks
import pandas as pd
import streamlit as st
import together

import data
from dsl_probe.store import Run

_MOST = 200


def tables(run: Run, mark: marks.Mark, row: int, other: int) -> None:
    """What two traces of one problem share."""
    mined = data.key(run, "traces", "mine")
    if mark.kind == marks.SEQUENCES:
        _sequences(mined, mark.least, row, other)
    elif mark.kind == marks.SHARED:
        _motifs(mined, row, other)


def _sequences(mined: tuple[str, str], least: int, row: int, other: int) -> None:
    units = [data.trace_units(mined, at) for at in (row, other)]
    ids = [together.told_apart(u) for u in units]
    longest = together.common_of(mined, row, other)
    shares = []
    for own, found in zip(ids, longest, strict=True):
        inside = {i for a, b in together.sequences(found, least) for i in range(a, b)}
        shares.append(f"{len(inside) / max(int((own >= 0).sum()), 1):.0%}")
    text = data.trace(data.key(Run(mined[0]), "traces"), row)["text"]
    table = together.sequence_table(ids[0], ids[1], longest[0], text, units[0], least)
    st.subheader("Longest common sequences")
    st.caption(
        f"{shares[0]} of the units of the first and {shares[1]} of the second stand in sequences of {least} units or "
        "more that the other has too, in any order; echoes of the prompt and format are left out. Two answers to one "
        "problem share its words and numbers: this does not show a common language."
    )
    _both(table, "sequence, as in the first", "times", "Common sequences of units", "common_sequences")


def _motifs(mined: tuple[str, str], row: int, other: int) -> None:
    left, right = (together.uses(mined, at) for at in (row, other))
    table = together.motif_table(left, right, marks.motif_names(mined))
    st.subheader("Motifs of the lexicon")
    st.caption(f"{int(table['in both'].sum())} of the {len(table)} that the two traces use are in both.")
    _both(table, "motif", "uses", "Motifs in both traces and in one alone", "common_motifs")


def _both(table: pd.DataFrame, what: str, counted: str, alt: str, key: str) -> None:
    """The first rows of a table with columns text, left and right."""
    st.dataframe(
        table.head(_MOST),
        hide_index=True,
        height="content" if len(table) < 8 else 300,
        alt=alt,
        key=key,
        column_config={
            "text": st.column_config.TextColumn(what, width="large"),
            "left": st.column_config.NumberColumn(f"{counted} in the first"),
            "right": st.column_config.NumberColumn(f"{counted} in the second"),
        },
    )
