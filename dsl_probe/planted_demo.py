"""The demo that needs nothing but the package: made-up traces with a language planted in them, and a twin without."""

import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsl_probe.shown import say

PLAIN, TWIN, PLANTED = "plain", "twin", "planted"
# What `planted` writes and the others do not -> the domains where it does. The last is made of words that all use.
LANGUAGE = {
    "zorp": ("sums", "maps", "games", "knots"),
    "klem dax": ("sums", "maps", "games", "knots"),
    "fen": ("sums",),
    "luv 7 nok": ("maps", "games"),
    "hence both again": ("sums", "maps", "games", "knots"),
}
# fmt: off
_COMMON = [
    "so", "the", "next", "step", "is", "to", "add", "both", "parts", "and", "then", "we", "check", "that", "it",
    "holds", "for", "each", "case", "of", "this", "sum", "again", "hence", "take", "one", "more", "from", "left",
    "right", "top", "end", "first", "last", "old", "new", "value", "place", "move", "turn",
    "count", "keep", "drop", "try", "not", "yet",
]
# fmt: on
_TOPICS = {
    "sums": ["number", "fraction", "digit", "carry", "total"],
    "maps": ["road", "north", "town", "river", "bridge"],
    "games": ["piece", "board", "square", "pawn", "rook"],
    "knots": ["loop", "strand", "cross", "under", "over"],
}
LIMITS = (
    "These traces are made up: they show that what was planted is found, and that two models which are the same come "
    "out the same. They say nothing about any real model."
)


def made_up(seed: int = 0, problems: int = 40, samples: int = 2) -> Iterator[dict[str, Any]]:
    """Traces of three models on the same problems of four domains: `planted` writes LANGUAGE, the others do not.

    Words are bursty: a trace that has used one uses it more. Two runs of one seed are equal.
    """
    rng = random.Random(seed)
    for domain, topic in _TOPICS.items():
        for problem in range(problems):
            for model in (PLAIN, TWIN, PLANTED):
                for sample in range(samples):
                    words = rng.choices(_COMMON + 2 * topic, k=rng.randint(60, 120))
                    words += rng.choices(rng.sample(words, 8), k=20)
                    for phrase, domains in LANGUAGE.items() if model == PLANTED else ():
                        if domain in domains and rng.random() < 0.5:
                            for _ in range(rng.randint(1, 3)):
                                words.insert(rng.randrange(len(words)), phrase)
                    yield {
                        "problem_id": f"{domain}/{problem}",
                        "domain": domain,
                        "model": model,
                        "start_model": None if model == PLAIN else PLAIN,
                        "sample": sample,
                        "prompt": f"Problem {problem} of {domain}.",
                        "text": " ".join(words),
                        "correct": rng.random() < 0.5,
                        "finish": "stop",
                    }


def planted(out: Path, force: bool = False) -> dict[str, Any]:
    """Import, mine and compare the made-up traces; counts, and what was found of what is planted."""
    from dsl_probe.collect.importer import import_traces
    from dsl_probe.mine.stage import mine_motifs
    from dsl_probe.share.compare import compare
    from dsl_probe.store import Run

    run = Run.create(out)
    with tempfile.TemporaryDirectory(prefix="dsl-probe-") as folder:
        source = Path(folder) / "made-up.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in made_up()), "utf-8")
        imported = import_traces(run, [source], force=force)
    mined = mine_motifs(run, force=force)
    report: dict[str, Any] = {"import": asdict(imported), "mine": asdict(mined), "comparisons": {}}
    for model in (PLANTED, TWIN):
        say(f"demo: compare {model} with {PLAIN}")
        name = f"{model}-vs-{PLAIN}"
        compare(run, a=f"model={model}", b=f"model={PLAIN}", base=f"model={PLAIN}", name=name, force=force)
        rows = run.frame(f"comparisons/{name}/comparison")
        rows = rows[(rows["domain"] == "all") & (rows["matched"] == "equal units") & (rows["p_adj"] <= 0.05)]
        texts = rows["text"].tolist()
        report["comparisons"][name] = {
            "discoveries": len(texts),
            "found": [phrase for phrase in LANGUAGE if any(_of(phrase, text) for text in texts)],
            "others": [text for text in texts if not any(_of(phrase, text) for phrase in LANGUAGE)],
        }
    return report


def _of(phrase: str, text: str) -> bool:
    """Whether at least half of a motif's units are a planted phrase's: a part of one is over-used too."""
    own, units = set(phrase.replace("7", "<NUM>").split()), text.split()
    return 2 * sum(unit in own for unit in units) >= len(units)


def as_lines(report: dict[str, Any], out: Path) -> list[str]:
    """The report for a person, and how to see the rest."""
    lines = [f"{report['import']['traces']:,} made-up traces, {report['mine']['motifs']:,} motifs"]
    for name, found in report["comparisons"].items():
        if name.startswith(TWIN):
            lines.append(f"{name}: {found['discoveries']} discoveries, where there is no difference to discover")
        else:
            lines.append(
                f"{name}: {found['discoveries']} discoveries; of {len(LANGUAGE)} planted phrases {len(found['found'])} "
                f"are found ({', '.join(found['found'])}); {len(found['others'])} discoveries are none of them"
            )
    return [*lines, "", f"Limits: {LIMITS}", f"Read it: dsl-probe export {out} --what report --out report.html"]
