"""Tables as files to keep. A spreadsheet that opens one must show what a model wrote, not compute it."""

import re
from collections.abc import Callable

import pandas as pd
import streamlit as st

# What a spreadsheet takes for a formula. A plain number, such as -2 or +1.5e3, is none.
_FORMULA = re.compile(r"^[\t\r\n ]*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


def csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8; text that a spreadsheet would take for a formula begins with an apostrophe.

    The apostrophe is a spreadsheet's own mark of text. Readers of CSV other than spreadsheets keep it.

    >>> csv(pd.DataFrame({"text": ["=1+1", "so", "-2"], "n": [-1, 2, 3]}))
    b"text,n\\r\\n'=1+1,-1\\r\\nso,2\\r\\n-2,3\\r\\n"
    """
    made = frame.rename(columns=inert)
    for column in made.columns:
        if not pd.api.types.is_numeric_dtype(made[column]) and not pd.api.types.is_bool_dtype(made[column]):
            made[column] = [inert(value) for value in made[column]]
    # With both in the line's end both are quoted inside a cell.
    return made.to_csv(index=False, lineterminator="\r\n").encode()


def button(frame: Callable[[], pd.DataFrame], name: str, label: str = "Download CSV", help: str | None = None) -> None:
    """A button that hands out a table; it is made when it is asked for. name: of the file, without ending."""
    st.download_button(
        label,
        lambda: csv(frame()),
        on_click="ignore",
        file_name=f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.csv",
        mime="text/csv",
        icon=":material/download:",
        help=help,
        key=f"csv_{name}",
    )


def inert(value: object) -> object:
    """Text that cannot be a formula; anything else as it is."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.match(value):
        return value
    return f"'{value}"
