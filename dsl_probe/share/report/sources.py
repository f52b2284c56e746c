"""Where the figures of a report come from: files with their hashes, stages with config, seed and versions; citation."""

import json
import re
from collections.abc import Iterator
from typing import Any

from dsl_probe import __version__
from dsl_probe.share.blocks import Block, Heading, Items, Paragraph, Table
from dsl_probe.store import Run

TITLE = "dsl-probe: does a reasoning model have a private language?"
AUTHORS, LICENCE = "dsl-probe contributors", "Apache-2.0"
_PATH = re.compile(r"(?<![\w.:/])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\s,;=]+[/\\])+(?=[^/\\\s,;=])")


def origin(run: Run, name: str) -> str:
    """A file of the run with the hash under which its stage recorded it.

    The hash is that of the record: `dsl-probe status RUN --verify` compares it with the file.
    """
    for stage in run.stages():
        digest = run.outputs(stage).get(name)
        if digest is not None:
            return f"from {name} (BLAKE2b {digest}, stage {stage})"
    return f"from {name} (no stage recorded it)"


def pathless(content: Any) -> Any:
    """The same with absolute paths cut down to their last name, in all texts of a config.

    >>> pathless({"a": "model=/home/x/models/base", "b": ["org/model", 3]})
    {'a': 'model=…/base', 'b': ['org/model', 3]}
    """
    if isinstance(content, dict):
        return {key: pathless(value) for key, value in content.items()}
    if isinstance(content, list):
        return [pathless(value) for value in content]
    return _PATH.sub("…/", content) if isinstance(content, str) else content


def citation() -> Iterator[Block]:
    """How to cite the tool; the words of CITATION.cff."""
    yield Heading("How to cite")
    yield Paragraph(f"{AUTHORS}. {TITLE} Version {__version__}. {LICENCE}.")
    yield Paragraph(
        "The methods have sources of their own: log-odds with an informative Dirichlet prior, Monroe, Colaresi and "
        "Quinn 2008; step-down max-T, Westfall and Young 1993; similarity and coverage of samples, Chao et al. 2005 "
        "and Chao and Jost 2012; pass@k, Chen et al. 2021."
    )


def appendix(run: Run) -> Iterator[Block]:
    """Every finished stage: what it was run with, and the hash of every file that it wrote."""
    yield Heading("Appendix: stages, versions, files")
    stages = run.stages()
    if not stages:
        yield Paragraph("No stage has run.")
        return
    yield Paragraph(
        "A stage's record (stages/NAME.json) holds its config, its seed, the versions it ran under and the BLAKE2b-128 "
        "hashes of what it read and wrote. dsl-probe STAGE RUN --config RUN/stages/NAME.json repeats it. Absolute "
        "paths are cut down to their last name here."
    )
    records = {stage: run.stage(stage) or {} for stage in stages}
    told = {
        stage: json.dumps(pathless(r["config"]), sort_keys=True, ensure_ascii=False)[1:-1]
        for stage, r in records.items()
    }
    seeds = {stage: "no seed" if r["seed"] is None else f"seed {r['seed']}" for stage, r in records.items()}
    yield Items([f"{stage}: {seeds[stage]}; {config or 'no option'}" for stage, config in told.items()])
    versions: dict[tuple[str, str], list[str]] = {}
    for stage, r in records.items():
        packages = ", ".join(f"{name} {version}" for name, version in sorted(r["packages"].items()))
        versions.setdefault((r["git"] or "no checkout", packages), []).append(stage)
    yield Table(
        ("stages", "git commit", "packages"),
        [(", ".join(names), git, packages) for (git, packages), names in versions.items()],
        "Versions",
        "from stages/*.json",
    )
    files = [(name, digest, stage) for stage, r in records.items() for name, digest in sorted(r["outputs"].items())]
    yield Table(("file", "BLAKE2b-128", "stage"), files, "Files")
    read = records[run.trace_stage()]["inputs"] if run.trace_stage() in records else {}
    sources = [
        (name.removeprefix("source:"), digest) for name, digest in sorted(read.items()) if name.startswith("source:")
    ]
    if sources:
        yield Table(("source", "hash"), sources, "Sources that were imported")
