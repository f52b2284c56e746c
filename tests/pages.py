"""What a page of the app says, as streamlit.testing tells it."""

import pandas as pd
from streamlit.testing.v1 import AppTest


def words(at: AppTest) -> str:
    """All that a page says outside tables and charts."""
    kinds = (at.text, at.markdown, at.caption, at.info, at.warning, at.error, at.code, at.title, at.subheader)
    return "\n".join(str(e.value) for kind in kinds for e in kind)


def fine(at: AppTest) -> bool:
    """Whether a page has nothing to complain of."""
    return not at.exception and not at.error and not at.warning and not at.info


def table(at: AppTest, column: str) -> pd.DataFrame:
    """The first table that has a column."""
    return next(frame.value for frame in at.dataframe if column in frame.value.columns)
