"""Text of a trace with spans highlighted, and motifs in their contexts.

Both are inline components that put text on the page through textContent only: nothing a model wrote is ever parsed as
HTML. Colours are those of Okabe and Ito, which colour-blind readers tell apart; each kind of span has its own line too.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import labels
import numpy as np
import streamlit as st

from dsl_probe.types import ECHO, PREFIX

_CONTEXT = 60

_CSS = """
:host, .root { font-family: var(--st-code-font); font-size: .85rem; color: var(--st-text-color); }
.bar { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; min-height: 1.9rem; margin-bottom: .3rem;
  font-family: var(--st-font); }
.bar button { font: inherit; color: inherit; background: var(--st-secondary-background-color); cursor: pointer;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); padding: .05rem .6rem; }
.bar button:focus-visible, .line:focus-visible { outline: 2px solid var(--st-primary-color); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.75; max-height: 34rem; overflow: auto; margin: 0;
  padding: .8rem 1rem; border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); }
.echo { color: color-mix(in srgb, var(--st-text-color) 55%, var(--st-background-color)); }
.motif, .a, .b { border-radius: 2px; padding: 1px 0; color: var(--st-text-color); }
.motif { background: rgba(240, 200, 40, .45); box-shadow: 0 0 0 1px rgba(190, 150, 0, .9); }
.a { background: rgba(213, 94, 0, .26);
  border-bottom: 2px solid color-mix(in srgb, #d55e00 80%, var(--st-text-color)); }
.b { background: rgba(0, 114, 178, .3);
  border-bottom: 2px dashed color-mix(in srgb, #0072b2 70%, var(--st-text-color)); }
.both, .word { background: rgba(204, 121, 167, .32); color: var(--st-text-color);
  border-bottom: 2px solid color-mix(in srgb, #cc79a7 80%, var(--st-text-color)); }
.word { border-bottom-style: double; border-bottom-width: 4px; }
.phrase { background: rgba(86, 180, 233, .3); color: var(--st-text-color);
  border-bottom: 2px dashed color-mix(in srgb, #56b4e9 65%, var(--st-text-color)); }
.alone, .shared { background: rgba(230, 159, 0, .16); color: var(--st-text-color);
  border-bottom: 2px dotted color-mix(in srgb, #e69f00 75%, var(--st-text-color)); }
.step::before { content: attr(data-step); font: .65rem var(--st-font); vertical-align: super; margin: 0 .25em 0 .1em;
  padding: 0 .25em; border: 1px solid var(--st-border-color); border-radius: .5em; user-select: none;
  color: color-mix(in srgb, var(--st-text-color) 65%, var(--st-background-color)); }
.shade { background-image: linear-gradient(rgba(0, 158, 115, var(--level)), rgba(0, 158, 115, var(--level))); }
.now { outline: 2px solid var(--st-text-color); outline-offset: 1px; }
.lines { border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); max-height: 30rem;
  overflow: auto; }
.line { display: grid; grid-template-columns: minmax(0, 1fr) auto minmax(0, 1fr); gap: .7rem; padding: .12rem .6rem;
  white-space: pre; color: inherit; text-decoration: none; }
.line:hover { background: var(--st-secondary-background-color); }
.left { display: flex; justify-content: flex-end; overflow: hidden;
  mask-image: linear-gradient(to right, transparent, #000 1.6rem); }
.right { overflow: hidden; text-overflow: ellipsis; }
"""

_READER_JS = """
export default function (component) {
  const { data, parentElement } = component
  const root = parentElement.querySelector(".root")
  const fresh = document.createElement("div")
  const bar = document.createElement("div")
  bar.className = "bar"
  const text = document.createElement("div")
  text.className = "text"
  text.tabIndex = 0
  const marks = []
  for (const [words, kinds, note, level, tip, step] of data.pieces) {
    if (step) {
      const number = document.createElement("span")
      number.className = "step"
      number.dataset.step = step
      number.title = "step " + step
      text.appendChild(number)
    }
    const span = document.createElement("span")
    span.textContent = words
    if (kinds) span.className = kinds
    if (note || tip) span.title = [note, tip].filter(Boolean).join(" · ")
    if (level) {
      span.classList.add("shade")
      span.style.setProperty("--level", level)
    }
    if (note) marks.push(span)
    text.appendChild(span)
  }
  const count = document.createElement("span")
  let at = -1
  const show = () => {
    const n = marks.length
    const all = n + (n === 1 ? " highlight" : " highlights")
    count.textContent = n === 0 ? data.none : at < 0 ? all : at + 1 + " of " + all
  }
  const go = (step) => {
    if (!marks.length) return
    if (at >= 0) marks[at].classList.remove("now")
    at = (at + step + marks.length) % marks.length
    marks[at].classList.add("now")
    text.scrollTop = marks[at].offsetTop - text.offsetTop - text.clientHeight / 3
    show()
  }
  if (marks.length) {
    for (const [label, step] of [["‹ previous", -1], ["next ›", 1]]) {
      const button = document.createElement("button")
      button.type = "button"
      button.textContent = label
      button.onclick = () => go(at < 0 && step < 0 ? 0 : step)
      bar.appendChild(button)
    }
  }
  bar.appendChild(count)
  for (const [kind, label] of data.legend) {
    const key = document.createElement("span")
    key.className = kind
    key.textContent = " " + label + " "
    bar.appendChild(key)
  }
  // A browser offers the clipboard to pages of this machine and over https alone.
  if (data.copy && navigator.clipboard) {
    const copy = document.createElement("button")
    copy.type = "button"
    copy.textContent = "copy"
    copy.title = "Copy the text"
    copy.onclick = async () => {
      await navigator.clipboard.writeText(text.textContent)
      copy.textContent = "copied"
    }
    bar.appendChild(copy)
  }
  show()
  fresh.append(bar, text)
  root.replaceChildren(fresh)
  if (marks.length && data.jump) go(1)
}
"""

_KWIC_JS = """
export default function (component) {
  const { data, parentElement } = component
  const root = parentElement.querySelector(".root")
  const lines = document.createElement("div")
  lines.className = "lines"
  for (const [left, motif, right, echo, query] of data.lines) {
    const line = document.createElement("a")
    line.className = echo ? "line echo" : "line"
    line.href = "traces?" + query
    line.title = "Open this trace"
    for (const [kind, words] of [["left", left], ["motif", motif], ["right", right]]) {
      const cell = document.createElement("span")
      cell.className = kind
      if (kind === "left") {
        const inner = document.createElement("span")
        inner.textContent = words
        cell.appendChild(inner)
      } else cell.textContent = words
      line.appendChild(cell)
    }
    lines.appendChild(line)
  }
  root.replaceChildren(lines)
}
"""

_ROOT = '<div class="root"></div>'
_reader = st.components.v2.component("dsl_probe_reader", html=_ROOT, css=_CSS, js=_READER_JS)
_kwic = st.components.v2.component("dsl_probe_kwic", html=_ROOT, css=_CSS, js=_KWIC_JS)


def reader(
    pieces: list[list[Any]],
    legend: Sequence[tuple[str, str]] = (),
    none: str = "",
    jump: bool = True,
    key: str | None = None,
    copy: bool = False,
) -> None:
    """Show a text cut into `pieces`; `jump` scrolls to the first highlight; `copy` adds a button that copies it."""
    shown = {"pieces": pieces, "legend": [list(x) for x in legend], "none": none, "jump": jump, "copy": copy}
    _reader(data=shown, key=key)


def kwic(lines: list[list[Any]], key: str) -> None:
    """Show contexts aligned on the motif: [left, motif, right, is echo, query of the link to its trace]."""
    _kwic(data={"lines": lines}, key=key)


def pieces(
    text: str,
    units: Mapping[str, np.ndarray],
    spans: Sequence[tuple[int, int, str, str]],
    shades: Sequence[tuple[int, int, float, str]] = (),
    steps: Sequence[int] = (),
) -> list[list[Any]]:
    """Cut a text into [words, classes, note, level, tip] for the reader; where a step begins also its number, from 1.

    spans: (start, stop, kind, note) in units, not overlapping. Echoes of the prompt and forced prefixes are greyed.
    shades: (start, stop, level from 0 to 1, tip) in characters, one a token: the underlay.
    steps: first characters of steps, rising.
    """
    starts, stops = units["starts"], units["stops"]
    mark = np.zeros(len(text) + 1, np.int32)
    for i, (start, stop, _, _) in enumerate(spans, 1):
        mark[starts[start] : stops[stop - 1]] = i
    grey = np.zeros(len(text) + 1, np.int8)
    copied = (units["flags"] & (ECHO | PREFIX)) > 0
    for i in np.flatnonzero(copied):
        # The space between two copied units is copied too.
        grey[starts[i] : starts[i + 1] if i + 1 < len(starts) and copied[i + 1] else stops[i]] = 1
    token = np.zeros(len(text) + 1, np.int64)
    for i, (start, stop, _, _) in enumerate(shades, 1):
        token[start:stop] = i
    both = (token[:-1] * (len(spans) + 1) + mark[:-1]) * 2 + grey[:-1]
    number = {start: n for n, start in enumerate(steps, 1) if start < len(text)}
    cuts = sorted({0, *(np.flatnonzero(np.diff(both)) + 1).tolist(), *number, len(text)})
    # As a whole: a cut may stand inside of what is one character to a reader.
    words, made = labels.visible(text), []
    for low, high in itertools.pairwise(cuts):
        if low == high:
            continue
        kind, note = spans[mark[low] - 1][2:] if mark[low] else ("", "")
        if mark[low] and low and mark[low - 1] == mark[low]:
            note = ""  # a highlight that the underlay cuts is one to step to
        level, tip = shades[token[low] - 1][2:] if token[low] else (0, "")
        classes = " ".join(filter(None, [kind, "echo" * int(grey[low])]))
        step = [number[low]] if low in number else []
        made.append([words[low:high], classes, note, round(level, 3), tip, *step])
    return made


def match(forms: Sequence[str], patterns: Mapping[tuple[str, ...], str]) -> list[tuple[int, int, str]]:
    """Leftmost-longest, non-overlapping matches of the patterns: (start, stop, value of the pattern).

    >>> match(["so", "wait", ",", "no"], {("wait",): "A", ("wait", ","): "B"})
    [(1, 3, 'B')]
    """
    by_first: dict[str, set[int]] = {}
    for pattern in patterns:
        by_first.setdefault(pattern[0], set()).add(len(pattern))
    lengths = {first: sorted(sizes, reverse=True) for first, sizes in by_first.items()}
    found, at = [], 0
    while at < len(forms):
        for size in lengths.get(forms[at], ()):
            value = patterns.get(tuple(forms[at : at + size])) if at + size <= len(forms) else None
            if value is not None:
                found.append((at, at + size, value))
                at += size
                break
        else:
            at += 1
    return found


def context(text: str, units: Mapping[str, np.ndarray], start: int, stop: int) -> tuple[str, str, str]:
    """Left context, motif and right context of one occurrence, each on one line."""
    low, high = int(units["starts"][start]), int(units["stops"][stop - 1])
    left = labels.one_line(text[max(0, low - 4 * _CONTEXT) : low], 4 * _CONTEXT)[-_CONTEXT:]
    right = labels.one_line(text[high : high + 4 * _CONTEXT], 4 * _CONTEXT)[:_CONTEXT]
    return left, labels.one_line(text[low:high], _CONTEXT), right
