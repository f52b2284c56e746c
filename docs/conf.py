"""Sphinx settings: `make docs` builds the pages into build/docs, with warnings as errors.

Pages are plain Markdown, so that they can be read where they lie. What Sphinx needs beyond that is added here: the tree
of pages follows from the links of index.md, under its headings, and links out of docs lead to the files.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from dsl_probe import __version__ as release  # noqa: E402

project, author, copyright = "dsl-probe", "dsl-probe contributors", "dsl-probe contributors, Apache-2.0"
extensions = ["myst_parser"]
exclude_patterns = ["img/*.md"]
myst_heading_anchors = 4
html_theme, html_title, html_show_sphinx = "furo", f"dsl-probe {release}", False
# Examples of output and of text are no program; a lexer would only complain.
highlight_language, smartquotes = "none", False
LINK = re.compile(r"\]\(([\w/-]+)\.md\)")


def tree_of(index: str) -> str:
    """A hidden toctree for each heading of the index, of the pages that are linked under it last.

    >>> print(tree_of("## Measures\\n- [Counts](measures/counts.md), how often"))
    ```{toctree}
    :hidden:
    :caption: Measures
    <BLANKLINE>
    measures/counts
    ```
    """
    sections = re.split(r"^## ", index, flags=re.MULTILINE)[1:]
    last = {page: section for section in sections for page in LINK.findall(section)}
    parts = []
    for section in sections:
        pages = [page for page in dict.fromkeys(LINK.findall(section)) if last[page] is section]
        if pages:
            head = f"```{{toctree}}\n:hidden:\n:caption: {section.splitlines()[0]}\n\n"
            parts.append(head + "\n".join(pages) + "\n```")
    return "\n\n".join(parts)


def outside(text: str, folder: Path) -> str:
    """Links of a page in `folder` to files of the repository outside of docs, as links to the files themselves.

    >>> outside("[r](../README.md#words), [m](measures/motifs.md)", HERE)
    '[r](path:../README.md), [m](measures/motifs.md)'
    """

    def told(link: re.Match) -> str:
        leaves = not (folder / link[1]).resolve().is_relative_to(HERE.resolve())
        return f"](path:{link[1]})" if leaves else link[0]

    return re.sub(r"\]\((\.\./[\w./-]+)(?:#[\w-]+)?\)", told, text)


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _changed)


def _changed(app, page: str, source: list[str]) -> None:
    source[0] = outside(source[0], (HERE / page).parent)
    if page == "index":
        source[0] += "\n\n" + tree_of(source[0]) + "\n"
