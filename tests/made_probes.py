"""Tables of probes and effects written by hand, with numbers that tests know, on a run that holds the motif `zorp`."""

import numpy as np
import pyarrow as pa

from dsl_probe.store import Run
from dsl_probe.types import EFFECT_SAMPLES, EFFECTS, LAYOUT, PROBES, READOUTS

DOMAINS = ("logic", "math")
LAYERS = (0, 1, 2)
# AUROC of `correct` by domain and layer, and the layer that is chosen there.
CORRECT = {"logic": (0.55, 0.7, 0.9), "math": (0.65, 0.8, 0.75)}
CHOSEN = {"logic": 2, "math": 1}
NESTED = {"logic": 0.88, "math": 0.79}
CONTROLS = {"bag of units": 0.6, "place and length": 0.72, "random weights": 0.66, "control task": 0.97}
ACROSS = {("logic", "math"): 0.64, ("math", "logic"): 0.41}
NONE = dict.fromkeys(PROBES.names) | {"acts": "m", "site": "resid_post", "probe": "logistic", "control": ""}
NONE |= {"metric": "auroc", "chosen": False, "rows": 40, "positives": 10, "problems": 20, "classes": 2}
MEASURES = {"accuracy": 0.8, "average precision": 0.7, "ece": 0.05, "brier": 0.12, "selectivity": 0.25}
MEASURES |= {"mdl": 30.0, "compression": 1.3}


def _row(target: str, domain: str, value: float, wide: float | None = 0.05, **more) -> dict:
    limits = {} if wide is None else {"ci_low": value - wide, "ci_high": min(value + wide, 1.0)}
    return NONE | {"target": target, "train": domain, "test": domain, "value": value} | limits | more


def probe_rows(target: str, lift: float = 0.0) -> list[dict]:
    """All rows of one target in two domains."""
    made = []
    for domain in DOMAINS:
        made += [_row(target, domain, a + lift, layer=k) for k, a in zip(LAYERS, CORRECT[domain], strict=True)]
        at = {"layer": CHOSEN[domain], "chosen": True}
        made.append(_row(target, domain, NESTED[domain] + lift, **at))
        made += [_row(target, domain, v, None, metric=m, **at) for m, v in MEASURES.items()]
        made.append(_row(target, domain, 0.75, None, metric="majority rate"))
        for control, value in CONTROLS.items():
            layered = at if control in ("random weights", "control task") else {}
            made.append(_row(target, domain, value, control=control, **layered))
        made.append(_row(target, domain, 0.5, control="layer 0", layer=0))
    for (train, test), value in ACROSS.items():
        for k in LAYERS:
            made.append(_row(target, test, value + 0.01 * (k - CHOSEN[train]), train=train, layer=k))
            made.append(_row(target, test, 0.1 * k, None, train=train, layer=k, metric="whitened cosine"))
        more = {"train": train, "layer": CHOSEN[train], "chosen": True}
        made.append(_row(target, test, 0.02, None, metric="p of transfer", **more))
        made.append(_row(target, test, 0.6, None, control="95 % of shuffled labels", **more))
    for k in LAYERS:
        for metric, value in (("mean within domains", 0.7), ("mean across domains", 0.55)):
            made.append(_row(target, "all", value + 0.01 * k, metric=metric, layer=k))
    return made


def readout_rows(run: Run, target: str, question: str = "yes", traces: int = 24, states: int = 10) -> list[dict]:
    """Read-outs of the first traces of each domain: every second state has a label; some are far off."""
    rng = np.random.default_rng(0)
    facts, made = run.traces(["domain", "text"]), []
    for domain in DOMAINS:
        for row in facts.index[facts["domain"].astype(str).str.startswith(domain)][:traces]:
            at = np.linspace(0, len(facts["text"][row]) - 1, states).astype(int)
            for k, read in enumerate(at.tolist()):
                p = float(rng.random())
                label = int(rng.random() < p) if k % 2 == 0 else None
                place = {"trace_row": row, "predicts": k, "read": read, "probability": p, "label": label}
                name = str(facts["domain"][row])
                made.append({"acts": "m", "target": target, "question": question, "domain": name, "layer": 1} | place)
    return made


def write_probes(
    run: Run, name: str, probes: list[dict], readouts: list[dict], sites: list[dict] | None = None
) -> None:
    """A finished job of `probe`; sites: of motifs on the map."""
    run.begin(f"probe.{name}", {"name": name}, {}, force=True)
    folder = f"probes/{name}"
    files = [run.write_table(f"{folder}/probes.parquet", pa.Table.from_pylist(probes, PROBES))]
    files.append(run.write_table(f"{folder}/readouts.parquet", pa.Table.from_pylist(readouts, READOUTS)))
    if sites:
        files.append(run.write_table(f"{folder}/layout.parquet", pa.Table.from_pylist(sites, LAYOUT)))
        of = {"layer": 1, "sites": len(sites), "motifs": 2, "neighbours": 0.62, "neighbours_in_map": 0.7}
        files.append(run.write_json(f"{folder}/layout.json", {"m": of | {"chance": 0.33, "ari": 0.41}}))
    failed = {"value on m": "nobody knows the label"}
    run.finish(f"probe.{name}", files, {"units": 1, "estimates": len(probes), "rows": 0, "failed": failed})


def site_rows(motifs: list[str], n: int = 40) -> list[dict]:
    """Sites of two motifs, in two places of the plane."""
    rng = np.random.default_rng(1)
    return [
        {"acts": "m", "layer": 1, "motif_id": motifs[i % 2], "trace_row": i, "unit": 3, "predicts": 4, "read": 9}
        | {"x": float(rng.normal() + 5 * (i % 2)), "y": float(rng.normal())}
        for i in range(n)
    ]


def effect_row(motif_id: str | None, text: str, **more) -> dict:
    """One row of EFFECTS, load-bearing by `ban` over all domains unless said otherwise."""
    made = dict.fromkeys(EFFECTS.names) | {"model": "model-b", "domain": "all", "motif_id": motif_id, "text": text}
    made |= {"intervention": "ban", "uses": 2.0, "problems": 12, "samples": 24, "tokens": 900, "leak": 0.0}
    made |= {"plain": 0.9, "arm": 0.2, "placebo": 0.7, "cost": 0.7, "cost_low": 0.5, "cost_high": 0.9}
    made |= {"effect": 0.5, "ci_low": 0.3, "ci_high": 0.7, "z": 3.0, "p": 0.001, "p_adj": 0.002, "load_bearing": True}
    return made | more


def sample_rows(run: Run, motif_id: str, text: str, n: int = 4) -> list[dict]:
    """Arm and placebo of the first traces by `ban`: the arm is wrong in every second, the placebo right."""
    facts, made = run.traces(["trace_id", "problem_id", "domain", "text"]), []
    for row in range(n):
        shared = {c: facts[c][row] for c in ("trace_id", "problem_id", "domain")} | {"motif_id": motif_id}
        shared |= {"intervention": "ban", "tokens": 7, "kept": 5, "finish": "stop", "plain": True}
        for arm in ("arm", "placebo"):
            mine = {"arm": arm, "removed": text if arm == "arm" else "so", "correct": arm == "placebo" or row % 2 == 1}
            mine |= {"text": f"{facts['text'][row][:20]} {arm} went on {row}", "given": 20}
            made.append(shared | mine | {"leak": False if arm == "arm" else None})
    return made


def write_effects(run: Run, name: str, effects: list[dict], samples: dict[tuple[str, str], list[dict]]) -> None:
    """A finished job of `effects`; samples: (motif_id, text) -> rows."""
    run.begin(f"effects.{name}", {"name": name}, {}, force=True)
    folder = f"effects/{name}"
    units = [[motif, text, len(rows), 90] for (motif, text), rows in samples.items()]
    files = [run.write_json(f"{folder}/plan.json", {"units": units})]
    files.append(run.write_table(f"{folder}/effects.parquet", pa.Table.from_pylist(effects, EFFECTS)))
    for k, rows in enumerate(samples.values()):
        files.append(run.write_table(f"{folder}/{k:05d}.samples.parquet", pa.Table.from_pylist(rows, EFFECT_SAMPLES)))
    counts = {"motifs": len(units), "draws": 8, "tokens": 56, "load_bearing": 1, "left_out": {"no verdict": 3}}
    run.finish(f"effects.{name}", files, counts | {"unused": ["glap"]})


def fill(run: Run) -> Run:
    """A probe result of three targets with a map, and an effects result of motifs, a chain and states."""
    motif = run.frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]
    other = next(m for m in run.table("motifs")["motif_id"].to_pylist() if m != motif)
    of_motif, at_motif = f"motif:{motif}", f"value@motifs:{motif}/before"
    probes = [row for k, t in enumerate(("correct", of_motif, at_motif)) for row in probe_rows(t, 0.03 * k)]
    readouts = readout_rows(run, "correct")
    readouts += [row for question in "78" for row in readout_rows(run, at_motif, question)]
    write_probes(run, "first", probes, readouts, site_rows([motif, other]))
    entry = run.table("lexicon", ["motif_id", "text"]).to_pylist()[-1]
    effects = [
        effect_row(motif, "zorp"),
        effect_row(entry["motif_id"], "an entry", effect=0.4, p_adj=0.03),
        effect_row(motif, "zorp", domain="math", effect=0.1, load_bearing=False, ci_low=None, ci_high=None),
        effect_row("", "(chain)", intervention="blank", effect=0.6, leak=None, uses=None),
        *(effect_row(None, "value", domain="math", intervention="erase", layer=k, effect=0.01 * k) for k in (1, 2)),
    ]
    write_effects(run, "first", effects, {(motif, "zorp"): sample_rows(run, motif, "zorp")})
    return run
