"""Dictionaries of two RL-trained models against the models that they were trained from.

    dsl-probe demo                                   first: runs/demo and runs/real
    python experiments/language/dictionaries.py      a minute -> DICTIONARY-rl-only.md, DICTIONARY-rlft.md

Each holds the graph of moves beside its nulls, some traces translated, and every entry.
"""

from pathlib import Path

import numpy as np

from dsl_probe.mine.dictionary import Entry, dictionary
from dsl_probe.mine.dictionary_text import as_markdown, escape_markdown
from dsl_probe.mine.graph import against_nulls, communities, moves, transition_graph
from dsl_probe.mine.language import LanguageConfig, language_rows, learn_language
from dsl_probe.mine.translate import translate
from dsl_probe.store import Run

HERE = Path(__file__).resolve().parent
RUNS = HERE.parents[1] / "runs"
LANGUAGES = {
    "rl-only": ("demo", LanguageConfig("model=rl-only", "model=base", name="rl-only")),
    "rlft": (
        "real",
        LanguageConfig(
            "model=starzmustdie/Qwen-2.5-3B-rlft", "model=Qwen/Qwen2.5-3B-Instruct", grammar=False, name="rlft"
        ),
    ),
}
SHOWN, LONGEST = 4, 900


def graph_table(run: Run, config: LanguageConfig, language: str | None) -> list[str]:
    """Figures of the graph of moves without gaps, beside both nulls."""
    found = moves(run, config.group, language, gaps=False)
    graph = transition_graph(found.sequences, found.labels)
    figures = against_nulls(found)
    half = len(figures) // 2
    lines = [
        f"{sum(map(len, found.sequences)):,} moves in {len(found.sequences):,} traces; gaps are left out.",
        "",
        "| figure | value | shuffled within traces: mean (95 % range) | drawn by frequency: mean (95 % range) |",
        "|---|---|---|---|",
    ]
    for a, b in zip(figures[:half], figures[half:], strict=True):
        value = f"{a.value:.3g}" if a.name != "small_world" else f"{a.value:.3g}; {b.value:.3g}"
        nulls = " | ".join(f"{f.mean:.3g} ({f.low:.3g} to {f.high:.3g})" for f in (a, b))
        lines.append(f"| {a.name} | {value} | {nulls} |")
    groups = [[found.labels[n] for n in c] for c in communities(graph)]
    lines += ["", "Communities:", ""]
    return lines + [f"- {escape_markdown('; '.join(g[:12]))}{' ...' if len(g) > 12 else ''}" for g in groups]


def translations(run: Run, config: LanguageConfig, entries: list[Entry]) -> list[str]:
    """Traces with their translation, from the start; those with most uses among 200 drawn at random."""
    rows = np.random.default_rng(0).permutation(language_rows(run, config)[0])[:200]
    done = [translate(run, int(row), config.name, entries) for row in rows]
    done.sort(key=lambda pieces: -sum(p.gloss is not None for p in pieces if p.stop <= LONGEST))
    lines = []
    for pieces in done[:SHOWN]:
        shown = [p for p in pieces if p.start < LONGEST]
        text = "".join(p.text for p in shown)[:LONGEST]
        glossed = "".join(
            escape_markdown(p.text[: LONGEST - p.start]) if p.gloss is None else f"<b>{escape_markdown(p.gloss)}</b>"
            for p in shown
        )
        lines += [f"> {escape_markdown(text)}", "", f"> {glossed}", "", "---", ""]
    return lines


def main() -> None:
    for name, (folder, config) in LANGUAGES.items():
        run = Run(RUNS / folder)
        result = learn_language(run, config)
        entries = dictionary(run, config.name)
        lines = [
            as_markdown([], f"Dictionary of {name}").splitlines()[0],
            "",
            "`python experiments/language/dictionaries.py`. "
            f"Traces of `{config.group}` against `{config.reference}` on the same problems: {result.traces:,} traces, "
            f"{result.words} words and {result.phrases} phrases that the reference lacks; {result.exchanged} are found "
            "when traces are dealt to the two sides at random.",
            "",
            "A gloss says where an entry stands, by rule; it is no meaning. New means new against this reference.",
            "",
            "## Graph of moves: the words and phrases that the reference lacks",
            "",
            *graph_table(run, config, config.name),
            "",
            "## Graph of moves: the lexicon of the whole run, in these traces",
            "",
            *graph_table(run, config, None),
            "",
            "## Traces, and their translation",
            "",
            *translations(run, config, entries),
            as_markdown(entries, "Entries"),
        ]
        path = HERE / f"DICTIONARY-{name}.md"
        path.write_text("\n".join(lines), "utf-8")
        print(f"{path.name}: {path.stat().st_size:,} B")


if __name__ == "__main__":
    main()
