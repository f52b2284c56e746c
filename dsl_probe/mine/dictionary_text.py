"""A dictionary as Markdown, HTML or JSON. What models write is hostile: all of it is escaped."""

import html
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dsl_probe.mine.carried import Decodable
from dsl_probe.mine.dictionary import Entry

_VARIANTS = _NAMES = 5
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$!])")
_STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto}dt{font-weight:bold}td,th{padding:0 .8em;text-align:left}"
)


def plain(text: str) -> str:
    """One line of text: white space is one space, control and direction characters become U+FFFD (joiners stay).

    >>> plain("a\\n b\\u202e")
    'a b\\ufffd'
    """
    spaced = re.sub(r"\s+", " ", text)
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\u200c\u200d" else c for c in spaced
    )


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in a table too.

    >>> escape_markdown("<script>*a|b*")
    '&lt;script&gt;\\\\*a\\\\|b\\\\*'
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(plain(text), quote=False))


def as_markdown(entries: Sequence[Entry], title: str = "Dictionary") -> str:
    """A heading an entry, with its facts as a list."""
    md = escape_markdown
    lines = [f"# {md(title)}", "", f"{len(entries):,} entries, by falling count. Glosses say where an entry stands."]
    for entry in entries:
        lines += ["", f"## {md(entry.text)}", "", f"{md(entry.gloss)}", ""]
        lines += [f"- {md(name)}: {md(value)}" for name, value in facts(entry)]
        lines += [
            f"- {md(e.domain)}: {md(e.before).strip()} **{md(e.use).strip()}** {md(e.after).strip()}"
            for e in entry.examples
        ]
    return "\n".join(lines) + "\n"


def as_html(entries: Sequence[Entry], title: str = "Dictionary") -> str:
    """One page without scripts or outside resources."""
    parts = [f"<p>{len(entries):,} entries, by falling count. Glosses say where an entry stands.</p>"]
    for entry in entries:
        parts.append(f"<h2>{_html(entry.text)}</h2><p>{_html(entry.gloss)}</p><dl>")
        parts += [f"<dt>{_html(name)}</dt><dd>{_html(value)}</dd>" for name, value in facts(entry)]
        parts.append("</dl><ul>")
        parts += [
            f"<li>{_html(e.domain)}: {_html(e.before)}<mark>{_html(e.use)}</mark>{_html(e.after)}</li>"
            for e in entry.examples
        ]
        parts.append("</ul>")
    return html_page(title, parts)


def html_page(title: str, parts: Sequence[str]) -> str:
    """A page of parts that are escaped already; the title is escaped here."""
    head = f'<meta charset="utf-8"><title>{_html(title)}</title><style>{_STYLE}</style>'
    return (
        f"<!doctype html><html><head>{head}</head><body><h1>{_html(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def as_json(entries: Sequence[Entry]) -> str:
    """A list of objects with the fields of Entry."""
    return json.dumps([asdict(e) for e in entries], indent=1, ensure_ascii=False) + "\n"


def facts(entry: Entry) -> list[tuple[str, str]]:
    """Names and values of what is known of an entry, as people read them."""
    found = f"{entry.count:,} uses in {entry.support:,} traces of {entry.problems:,} problems"
    if entry.found != entry.count:
        found += f" ({entry.found:,} found again, on which the rest is based)"
    told: list[tuple[str, str]] = [(entry.kind, found)]
    if entry.reference_count is not None:
        told.append(("reference", f"{entry.reference_count:,} uses, G2 {entry.g2:.0f}"))
    told += [("bits a use", f"{bits:.1f} under {name}") for name, bits in entry.bits]
    if entry.bits_saved:
        told.append(("bits saved", f"{entry.bits_saved:,.0f}"))
    if entry.slots:
        told.append(("slots", " ".join(entry.slots)))
    told.append(
        ("stands", "; ".join(f"{name} {share:.0%} (all units {usual:.0%})" for name, share, usual in entry.where))
    )
    told += [("before it", _shares(entry.before)), ("after it", _shares(entry.after))]
    told += [(f"category in {domain}", " ".join(others)) for domain, others in entry.categories]
    told += [
        (f"grammar of {domain}", f"after {before} {share:.0%}, before {after} {also:.0%}")
        for domain, before, share, after, also in entry.contexts
    ]
    if entry.variants:
        shown = "; ".join(f"{text} ({n:,})" for text, n in entry.variants[:_VARIANTS])
        more = len(entry.variants) - _VARIANTS
        told.append(("variants", shown + (f"; and {more} more" if more > 0 else "")))
    told += [(name, _counts(getattr(entry, name))) for name in ("domains", "models", "regimes")]
    told += [_decodable(d) for d in entry.decodable]
    if entry.needed:
        bearing = sorted({f"{n.domain} ({n.model})" for n in entry.needed if n.bearing and n.domain != "all"})
        everywhere = any(n.bearing for n in entry.needed if n.domain == "all")
        said = f"yes{', in ' + '; '.join(bearing) if bearing else ''}" if everywhere else "not shown"
        told.append(("load-bearing", said if everywhere or not bearing else f"in {'; '.join(bearing)}"))
        told += [
            (f"effect of {n.intervention}", f"{n.effect:+.3f}{_interval(n.low, n.high)} beyond its placebo ({n.model})")
            for n in entry.needed
            if n.domain == "all"
        ]
    return told


def _decodable(d: Decodable) -> tuple[str, str]:
    by_layer = ", ".join(f"{layer}: {auroc:.2f}" for layer, auroc in d.layers)
    beside = "" if d.control_auroc is None else f"; {d.control} {d.control_auroc:.2f}"
    said = f"AUROC {d.auroc:.2f}{_interval(d.low, d.high)} at layer {d.layer}{beside}; by layer {by_layer}"
    return f"{d.target} in {d.domain}, {d.acts}", said


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


def _shares(pairs: Sequence[tuple[str, float]]) -> str:
    return "; ".join(f"{unit} {share:.0%}" for unit, share in pairs) or "nothing"


def _counts(pairs: Sequence[tuple[str, int]]) -> str:
    more = len(pairs) - _NAMES
    return "; ".join(f"{name} {n:,}" for name, n in pairs[:_NAMES]) + (f"; and {more} more" if more > 0 else "")


def _html(text: Any) -> str:
    return html.escape(plain(str(text)))
