"""The grammars of a language as Markdown or HTML: productions, categories, and held-out figures with verdicts."""

from collections.abc import Callable
from typing import Any

from dsl_probe.mine.dictionary_text import escape_markdown, html_page

_ROWS = (
    ("Markov model of order {order}", "markov"),
    ("grammar", "grammar"),
    ("both", "both"),
)


def as_markdown(grammars: dict[str, Any], title: str = "Grammar") -> str:
    """A chapter a domain."""
    md = escape_markdown
    lines = [f"# {md(title)}"]
    for domain, g in grammars.items():
        lines += ["", f"## {md(domain)}", "", md(g["verdict"]) + ".", "", md(_size(g))]
        if "bits" not in g:
            continue
        lines += ["", "| code of held-out traces | bits a unit | on shuffled units |", "|---|---|---|"]
        lines += [f"| {md(name)} | {real} | {null} |" for name, real, null in _bits(g["bits"])]
        lines += ["", "Productions:", ""]
        lines += [f"- {md(name)} → {md(rule)}" for name, rule in g["productions"].items()]
        lines += ["", "Categories:", ""]
        lines += [f"- {md(name)}: {md(members)}" for name, members in _members(g)]
    return "\n".join(lines) + "\n"


def as_html(grammars: dict[str, Any], title: str = "Grammar") -> str:
    """The same as one page."""
    import html

    of: Callable[[str], str] = html.escape
    parts = []
    for domain, g in grammars.items():
        parts.append(f"<h2>{of(domain)}</h2><p>{of(g['verdict'])}.</p><p>{of(_size(g))}</p>")
        if "bits" not in g:
            continue
        parts.append("<table><tr><th>code of held-out traces</th><th>bits a unit</th><th>on shuffled units</th></tr>")
        parts += [
            f"<tr><td>{of(name)}</td><td>{real}</td><td>{null}</td></tr>" for name, real, null in _bits(g["bits"])
        ]
        parts.append("</table><h3>Productions</h3><dl>")
        parts += [f"<dt>{of(name)}</dt><dd>{of(rule)}</dd>" for name, rule in g["productions"].items()]
        parts.append("</dl><h3>Categories</h3><dl>")
        parts += [f"<dt>{of(name)}</dt><dd>{of(members)}</dd>" for name, members in _members(g)]
        parts.append("</dl>")
    return html_page(title, parts)


def _size(g: dict[str, Any]) -> str:
    text = f"{g['units']:,} units of {g['traces']:,} traces, {g['problems']:,} problems"
    if "bits" in g:
        text += f"; {g['states']:,} states; {g['held_out_accepted']:.0%} of held-out traces accepted whole"
    return text


def _bits(bits: dict[str, Any]) -> list[tuple[str, str, str]]:
    null = bits["shuffled"]
    rows = [(name.format(order=bits["markov_order"]), f"{bits[k]:.4f}", f"{null[k]:.4f}") for name, k in _ROWS]
    for name, k in (("grammar - Markov", "difference"), ("both - Markov", "difference_both")):
        rows.append((name, *("{:+.4f} ({:+.4f} to {:+.4f})".format(*b[k]) for b in (bits, null))))
    return rows


def _members(g: dict[str, Any]) -> list[tuple[str, str]]:
    """Categories of more than one unit."""
    named = zip(g["names"], g["categories"], strict=True)
    return [(name, " ".join(members)) for name, members in named if len(members) > 1]
