"""Words on the screen: data as text that cannot become markup, groups and numbers in short, links to pages.

What a model wrote is hostile: it may hold HTML, Markdown or control characters. It goes to the screen through
`st.text`, `st.dataframe`, a chart or the reader in `tokens.py`; where a label must be Markdown, through `code`.
"""

import math
import re
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from dsl_probe import groups, shown
from dsl_probe.types import UserError

_NAMES = ("overview", "claims", "motifs", "lexicon", "traces", "sharing", "compare", "probes", "effects")
PAGES = {name: f"app_pages/{name}.py" for name in _NAMES}


def visible(text: str | None) -> str:
    """Text in which nothing acts or hides (see `dsl_probe.shown`); one character for each.

    >>> visible("a\\x00b"), visible(None)
    ('a␀b', '')
    """
    return shown.visible(text or "")


def one_line(text: str | None, most: int = 80) -> str:
    """Text on one line, cut in the middle of what is too long.

    >>> one_line("a\\n b", 80), one_line("abcdefghij", 5)
    ('a b', 'ab…ij')
    """
    flat = visible(re.sub(r"\s+", " ", text or "")).strip()
    if len(flat) <= most:
        return flat
    head = most // 2
    return flat[:head] + "…" + flat[len(flat) - (most - head - 1) :]


def code(text: str | None, most: int = 80) -> str:
    """Markdown that shows data as it is: inline code with a fence longer than any run of backticks inside.

    >>> code("a`b")
    '`` a`b ``'
    """
    flat = one_line(text, most) or " "
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {flat} {fence}" if longest else f"{fence}{flat}{fence}"


def short(group: str | None) -> str:
    """A group's values, for a label: model=Qwen/Qwen2.5-3B,domain=math -> Qwen2.5-3B, math."""
    try:
        return one_line(groups.short(group or ""))
    except UserError:
        return one_line(group)


def interval(three: list[float] | tuple[float, float, float] | None, digits: int = 3) -> str:
    """Estimate with its interval: +0.294 [+0.255, +0.333]; an em dash where there is none."""
    if three is None or any(v is None or not math.isfinite(v) for v in three):
        return "—"
    return "{:+.{d}f} [{:+.{d}f}, {:+.{d}f}]".format(*three, d=digits)


def number(value: float | None, digits: int = 3) -> str:
    """A number, or an em dash where there is none."""
    return "—" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def height(rows: int, most: int = 360) -> int:
    """Pixels of a table: its rows with their head, `most` at most; an empty one shows its head."""
    return min(35 * (rows + 1) + 3, most)


def params(**more: Any) -> dict[str, str]:
    """Query parameters of a link: the run that is open, and what is not None."""
    own = {"run": st.session_state.get("run_name")} if st.session_state.get("run_in_url") else {}
    return {k: str(v) for k, v in (own | more).items() if v is not None}


def query(**more: Any) -> str:
    """The parameters of a link as a query string."""
    return urlencode(params(**more))


def link(label: str, page: str, icon: str | None = None, help: str | None = None, **more: Any) -> None:
    """A link to a page of the app with its parameters. `label` is Markdown: pass data through `code`."""
    st.page_link(PAGES[page], label=label, icon=icon, help=help, query_params=params(**more))


def pick(label: str, options: list[str], key: str, default: str | None = None, **more: Any) -> str:
    """A box whose choice stands in the address. The options are data, shown as plain text.

    A choice that another run or page left behind, and that is no option here, gives way to the default.
    """
    default = options[0] if default is None else default
    asked(key, options, label.lower())
    if st.session_state.get(key, default) not in options:
        st.session_state[key] = default
    return st.selectbox(label, options, index=options.index(default), key=key, bind="query-params", **more)


def asked(key: str, allowed: Any, what: str) -> None:
    """Say so, plainly, when the address asks for something that is not there (the widget then drops it)."""
    value = st.query_params.get(key)
    if value is not None and value not in allowed:
        trouble(f"The address asks for a {what} that is not here.", f"{key} = {one_line(value)}", kind="warning")


def trouble(title: str, detail: str = "", command: str = "", kind: str = "error") -> None:
    """What is wrong (fixed words), the detail (data, as text) and the command that mends it."""
    {"error": st.error, "warning": st.warning, "info": st.info}[kind](title)
    if detail:
        st.text(visible(detail))
    if command:
        st.code(visible(command), language="bash", wrap_lines=True)
