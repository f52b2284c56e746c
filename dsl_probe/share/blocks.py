"""A document as blocks (headings, paragraphs, lists, tables, figures), and its two writers: HTML and Markdown.

Blocks hold plain text. The writers escape all of it, so that nothing a model wrote can become markup in either.
"""

import base64
import hashlib
import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dsl_probe.mine.dictionary_text import escape_markdown
from dsl_probe.share.figures import Figure
from dsl_probe.share.svg import fitted

_CELL, _LINE = 240, 4_000  # columns of a cell, of a paragraph
_NUMBER = re.compile(r"[-+]?[\d,.]+%?(e-?\d+)?( \[.*\])?|–|")
# A bare address becomes a link in many Markdown readers, and a mark at the start of a line a list or a heading.
_ADDRESS = re.compile(r":(?=//)|(?<=www)\.|@", re.IGNORECASE)
_START = re.compile(r"^(\d+)([.)])|^([-+=])")
_STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 sans-serif;color:#1b1b1b;background:#fff;max-width:52rem;margin:0 auto;padding:1rem}
body{overflow-wrap:anywhere}a{color:#0b5394}
h1{font-size:1.7rem;line-height:1.2}h3{font-size:1.1rem;margin-top:1.8rem}h4{font-size:1rem}nav ol{padding-left:1.2rem}
h2{font-size:1.35rem;margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.86rem;margin:.5rem 0}
figcaption,summary,.from{color:#555;font-size:.86rem}.from{margin:.3rem 0}
th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top;min-width:3rem}
th{border-bottom:1px solid #777;overflow-wrap:normal}td{unicode-bidi:isolate;max-width:26rem}
td:not(.n){min-width:6rem}.n{text-align:right;white-space:nowrap}
figure{margin:1rem 0}svg{display:block;max-width:100%;min-width:30rem;height:auto}li{margin:.3rem 0}
@media print{.wide{overflow:visible}svg{min-width:0}figure,tr{break-inside:avoid}}
"""


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the document's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Text in sentences."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of cells. source: the file of the run that it was read from."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    source: str = ""


@dataclass(frozen=True)
class Plot:
    """A figure, and the table of what it shows: for readers who cannot see it, and for Markdown."""

    figure: Figure
    behind: Table


Block = Heading | Paragraph | Items | Table | Plot


def figure_text(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """A number for a cell; a dash where there is none.

    >>> figure_text(0.12345), figure_text(1.5, 1, signed=True), figure_text(float("nan"))
    ('0.123', '+1.5', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if signed else ''},.{digits}f}"


def interval_text(
    value: float | None, low: float | None, high: float | None, digits: int = 3, signed: bool = False
) -> str:
    """A number with the ends of its interval, where it has one.

    >>> interval_text(0.5, 0.4, 0.6, 1), interval_text(0.5, None, None, 1)
    ('0.5 [0.4, 0.6]', '0.5')
    """
    told, *ends = (figure_text(v, digits, signed) for v in (value, low, high))
    return told if "–" in (told, *ends) else f"{told} [{ends[0]}, {ends[1]}]"


def as_html(blocks: Iterable[Block]) -> str:
    """One page that asks for nothing outside itself and runs nothing; its policy forbids both."""
    blocks = list(blocks)
    title = next((b.text for b in blocks if isinstance(b, Heading) and b.level == 1), "Report")
    # The policy allows this one style by its hash, and nothing else.
    allowed = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_html(title, _CELL)}</title><style>{_STYLE}</style></head><body>",
    ]
    chapters = [(k, b) for k, b in enumerate(blocks) if isinstance(b, Heading) and b.level == 2]
    for k, block in enumerate(blocks):
        if isinstance(block, Heading):
            parts.append(f'<h{block.level} id="part-{k}">{_html(block.text, _CELL)}</h{block.level}>')
            if block.level == 1 and chapters:
                listed = "".join(f'<li><a href="#part-{i}">{_html(b.text, _CELL)}</a></li>' for i, b in chapters)
                parts.append(f'<nav aria-label="Contents"><ol>{listed}</ol></nav>')
        elif isinstance(block, Paragraph):
            parts.append(f"<p>{_html(block.text, _LINE)}</p>")
        elif isinstance(block, Items):
            parts.append("<ul>" + "".join(f"<li>{_html(t, _LINE)}</li>" for t in block.lines) + "</ul>")
        elif isinstance(block, Table):
            parts.append(_html_table(block))
        else:
            parts += [
                f'<figure><div class="wide" role="region" aria-label="Figure" tabindex="0">{block.figure.svg}</div>',
                f"<figcaption>{_html(block.figure.title, _LINE)}</figcaption></figure>",
                f"<details><summary>The numbers</summary>{_html_table(block.behind)}</details>",
            ]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def as_markdown(blocks: Iterable[Block]) -> str:
    """The same as Markdown: of a figure its title and its table."""
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Heading):
            lines += [f"{'#' * block.level} {_markdown(block.text, _CELL)}", ""]
        elif isinstance(block, Paragraph):
            lines += [_markdown(block.text, _LINE), ""]
        elif isinstance(block, Items):
            lines += [*(f"- {_markdown(t, _LINE)}" for t in block.lines), ""]
        elif isinstance(block, Table):
            lines += _markdown_table(block)
        else:
            lines += [f"Figure (drawn in the HTML report): {_markdown(block.figure.title, _LINE)}", ""]
            lines += _markdown_table(block.behind)
    return "\n".join(lines).rstrip("\n") + "\n"


def _html_table(table: Table) -> str:
    classes = [' class="n"' if numeric else "" for numeric in _numeric(table)]
    head = "".join(f"<th{c}>{_html(name, _CELL)}</th>" for c, name in zip(classes, table.columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{_html(v, _CELL)}</td>" for c, v in zip(classes, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    # Outside the table, which may be wider than the screen and scrolls by itself.
    caption, source = (f'<p class="from">{_html(t, _LINE)}</p>' if t else "" for t in (table.caption, table.source))
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    label = _html(table.caption or "Table", _CELL)
    return f'{caption}<div class="wide" role="region" aria-label="{label}" tabindex="0">{inner}</div>{source}'


def _markdown_table(table: Table) -> list[str]:
    lines = [_markdown(table.caption, _LINE), ""] if table.caption else []
    lines += [_markdown_row(table.columns), "|" + "|".join("---:" if n else "---" for n in _numeric(table)) + "|"]
    lines += [_markdown_row(row) for row in table.rows]
    return [*lines, "", *([_markdown(table.source, _LINE), ""] if table.source else [])]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell, _CELL) for cell in cells) + " |"


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers alone."""
    return [
        bool(table.rows) and all(_NUMBER.fullmatch(row[k]) for row in table.rows) for k in range(len(table.columns))
    ]


def _html(text: str, most: int) -> str:
    return html.escape(fitted(text, most))


def _escaped(text: str, most: int) -> str:
    return _ADDRESS.sub(r"\\\g<0>", escape_markdown(fitted(text, most))).strip()


def _markdown(text: str, most: int) -> str:
    """Text that is shown as it stands: no markup, no link, no list."""
    return _START.sub(lambda m: f"{m[1] or ''}\\{m[2] or m[3]}", _escaped(text, most))
