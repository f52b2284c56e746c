"""A run in which every word that a model, a data set or a name could bring is hostile, with something on all pages."""

import json
from collections.abc import Callable
from pathlib import Path

import hostile
import made_probes as made
import numpy as np
import pyarrow as pa
from corpus import rows, write_jsonl

import dsl_probe
from dsl_probe.files import file_hash, footer_hash, sealed
from dsl_probe.share.validate import validate
from dsl_probe.store import Run

NAMES = {
    "model-a": f"{hostile.CLOSE} {hostile.MARKS}",
    "model-b": f"{hostile.SCRIPT} {hostile.MARKDOWN}",
    "math": hostile.FORMULAS[0],
    "logic": f"{hostile.ADDRESS} {hostile.CONTROLS[0]}",
}
SHORT = [word for word in hostile.EVERY if word != hostile.LONG]
# The trace whose text, prompt and answer hold all of them, one a line.
ALL_AT_ONCE = "\n".join(SHORT)


def _named(row: dict) -> dict:
    return row | {key: NAMES.get(row[key], row[key]) for key in ("model", "domain", "start_model")}


def traces() -> list[dict]:
    """The small corpus under hostile names, each hostile string in five traces of its own, and two traces of a kind."""
    made = rows(problems=15)
    given = [
        _named(row) | {"text": row["text"].replace("zorp", hostile.SCRIPT), "problem_id": f"{word}{row['problem_id']}"}
        for row, word in zip(made, np.resize(np.array(hostile.MORE, object), len(made)), strict=True)
    ]
    by_problem: dict[str, str] = {}
    for k, row in enumerate(given):  # one name for a problem, so that the groups answer the same
        plain = row["problem_id"][-8:]
        row["problem_id"] = by_problem.setdefault(plain, row["problem_id"])
        if row["model"] == NAMES["model-b"]:
            row |= {"run": hostile.LINKS[0], "step": k // 30}
    for word in hostile.EVERY:
        one = {name: word for name in ("text", "prompt", "answer", "reference", "regime", "finish")}
        one |= {"model": word or "(none)", "domain": word or "(none)"}
        given += [one | {"text": f"{word} {k} {word}", "problem_id": f"{word}{k}"} for k in range(3)]
    whole = {name: ALL_AT_ONCE for name in ("text", "prompt", "answer", "reference")}
    given.append(whole | {"model": hostile.SCRIPT, "domain": hostile.SCRIPT, "problem_id": "all"})
    given.append({"text": hostile.LINE, "model": "long", "domain": "long", "problem_id": "long", "prompt": "p"})
    return given


def fill(folder: Path) -> Run:
    """Import, mine, learn, compare, follow and validate; then put hostile words in place of texts of the tables."""
    run = Run.create(folder / "run", name=hostile.SCRIPT)
    source = write_jsonl(folder / "t.jsonl", traces())
    with source.open("a") as file:
        file.writelines(f'{{"text": "a \\u{code} b", "model": "m"}}\n' for code in ("d800", "dfff"))
    dsl_probe.import_traces(run, [source])
    config = dsl_probe.MineConfig(min_traces=3, min_problems=3, q=1.0, echo_min=99)
    dsl_probe.mine_motifs(run, config, executor="process:1")
    a, b = f"run={hostile.LINKS[0]}", f"model={NAMES['model-a']}"
    dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group=a, reference=b, name="x"))
    dsl_probe.growth(run)
    dsl_probe.compare(run, a=a, b=b, permutations=99, name="x")
    validate(run, group=b, splits=2, spikes=("nonce",), motifs=1, permutations=99, name="x")
    for table in ("motifs", "lexicon", "comparisons/x/comparison", "languages/x/lexicon", "growth_events"):
        _reword(run, table)
    _reword(run, "validations/x/validation", "motif")
    claims, name = [_claim(word) for word in (*SHORT[:8], hostile.LINKS[1])], "comparisons/x/claims.json"
    _exchange(run, name, lambda: run.write_json(name, claims))
    motif = run.table("motifs", ["motif_id"])["motif_id"].to_pylist()
    probes = [row for target in ("correct", f"motif:{hostile.SCRIPT}") for row in made.probe_rows(target)]
    domain = {"math": NAMES["math"], "logic": NAMES["logic"]}
    for row in probes:
        row |= {c: domain.get(row[c], row[c]) for c in ("train", "test")}
    readouts = [row for row in made.readout_rows(run, "correct", hostile.SCRIPT) or []]
    made.write_probes(run, "x", probes, readouts, made.site_rows(motif[:2]))
    effects = [made.effect_row(m, word, model=word) for m, word in zip(motif, SHORT[:20], strict=False)]
    samples = [row | {"finish": hostile.SCRIPT} for row in made.sample_rows(run, motif[0], SHORT[0])]
    made.write_effects(run, "x", effects, {(motif[0], SHORT[0]): samples})
    return run


def _reword(run: Run, name: str, column: str = "text") -> None:
    """Put hostile words, each made distinct by a number, in place of a column of texts."""
    table = run.table(name)
    words = [f"{SHORT[k % len(SHORT)]} {k}" if said else said for k, said in enumerate(table[column].to_pylist())]
    at = table.schema.get_field_index(column)
    changed = table.set_column(at, table.schema.field(at), pa.array(words, pa.string()))
    _exchange(run, f"{name}.parquet", lambda: run.write_table(f"{name}.parquet", changed))


def _exchange(run: Run, name: str, write: Callable[[], object]) -> None:
    """Write a file anew and have every record of it say so: else it would be refused as not what its stage wrote."""
    path = run.path / name
    kinds = [file_hash, *([footer_hash] if path.suffix == ".parquet" else [])]
    before = [kind(path) for kind in kinds]
    write()
    for record in (run.path / "stages").glob("*.json"):
        text = record.read_text("utf-8")
        for old, kind in zip(before, kinds, strict=True):
            text = text.replace(old, kind(path))
        record.write_text(json.dumps(sealed(json.loads(text))), "utf-8")
    (run.path / "stages").touch()  # by which a run that is open knows of new records


def _claim(word: str) -> dict:
    evidence = {"measure": word, "value": 0.125, "ci_low": None, "ci_high": None, "n": 60}
    made = {name: word for name in ("id", "claim", "test", "reading", "effect")}
    made |= {"verdict": "undecided", "value": 0.25, "ci_low": -0.5, "ci_high": 1.0, "n": 120}
    return made | {"evidence": [evidence], "threats": [word]}
