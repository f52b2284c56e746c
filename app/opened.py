"""Tabs whose open one stands in the address, and alone is worked out."""

from collections.abc import Callable, Mapping

import labels
import streamlit as st


def tabs(panels: Mapping[str, Callable[[], None]], key: str) -> None:
    """A tab for each name; only the open one's panel is called. The names are fixed words, shown as Markdown.

    key: of the address, as in ?compare_tab=Legibility; one for each page, since an address may keep that of the page
    before. A name that is none of these is said to be none, and the first is open.
    """
    labels.asked(key, panels, "tab")
    for tab, show in zip(st.tabs(list(panels), key=key, bind="query-params"), panels.values(), strict=True):
        if tab.open:
            with tab:
                show()
