"""Cached readers of probes and effects, and what the pages work out from their tables. Fits nothing, loads no model."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import labels
import numpy as np
import pandas as pd
import streamlit as st

import data
from dsl_probe.mine.carried import NOT_BESIDE, Carried, read_carried
from dsl_probe.store import Run

# Every domain at once: the mean over domains, or the one fit of what domains tell.
ALL = "all"
_MOTIF = re.compile(r"(?<=\bmotif:)[^@]+|(?<=\bmotifs:)[^/+]+")
_KINDS = ["acts", "target", "control", "metric", "train", "test", "probe", "site"]


def results(run: Run, kind: str) -> list[str]:
    """Names of the finished jobs of `probe` or `effects`."""
    return [stage.partition(".")[2] for stage in run.stages() if stage.partition(".")[0] == kind]


def carried_key(run: Run) -> tuple[str, str]:
    """What all that is known of single motifs is keyed by."""
    return data.key(run, *(f"{kind}.{name}" for kind in ("probe", "effects") for name in results(run, kind)))


@st.cache_resource(max_entries=4, show_spinner=False)
def carried(key: tuple[str, str]) -> Carried:
    """What probes and effects say of single motifs."""
    return read_carried(Run(key[0]))


# ---- names


def texts(run: Run, ids: Iterable[str]) -> dict[str, str]:
    """Motif id -> text, of those that the run knows."""
    ids, found = sorted(set(ids)), {}
    for table in ("motifs", "lexicon"):
        if ids and run.has(f"{table}.parquet"):
            rows = run.table(table, ["motif_id", "text"], filters=[("motif_id", "in", ids)]).to_pylist()
            found |= {row["motif_id"]: row["text"] for row in rows}
    return found


def unique(said: dict[str, str], most: int = 80) -> dict[str, str]:
    """Words on the screen -> what they stand for; where two would be alike, what they stand for is added.

    >>> unique({"a1": "wait", "b2": "wait", "c3": "so"})
    {'wait (a1)': 'a1', 'wait (b2)': 'b2', 'so': 'c3'}
    """
    short = {value: labels.one_line(words, most) or "(empty)" for value, words in said.items()}
    times = Counter(short.values())
    return {
        words if times[words] == 1 else f"{words} ({labels.one_line(value, most)})": value
        for value, words in short.items()
    }


def titles(run: Run, targets: Iterable[str]) -> dict[str, str]:
    """Title -> target: the target with each motif's id replaced by its text, where the run knows it."""
    targets = list(targets)
    known = texts(run, (motif for target in targets for motif in _MOTIF.findall(target)))
    return unique({target: _MOTIF.sub(lambda match: known.get(match[0], match[0]), target) for target in targets})


# ---- probes


@st.cache_resource(max_entries=8, show_spinner="Reading the probes …")
def probes(key: tuple[str, str], name: str) -> pd.DataFrame:
    """All estimates of one result that have a value."""
    table = Run(key[0]).table(f"probes/{name}/probes", dictionary=_KINDS).to_pandas()
    return table[table["value"].notna()].astype(dict.fromkeys(_KINDS, str))


def tiles(frame: pd.DataFrame, domain: str) -> pd.DataFrame:
    """AUROC by target and layer, in one domain or as the mean over domains; `chosen` marks the layer that the inner
    folds chose, in most domains where there are several. Targets by falling AUROC of the chosen layer."""
    own = frame[(frame["metric"] == "auroc") & (frame["control"] == "") & (frame["train"] == frame["test"])]
    own = own if domain == ALL else own[own["test"] == domain]
    chosen, rest = own[own["chosen"]], own[~own["chosen"]]
    by = rest.groupby(["target", "layer"], as_index=False, observed=True)
    made = by.agg(auroc=("value", "mean"), domains=("test", "nunique"))
    mode = chosen.groupby("target")["layer"].agg(lambda layers: layers.mode().min())
    made["chosen"] = made["target"].map(mode) == made["layer"]
    rank = chosen.groupby("target")["value"].mean()
    made["rank"] = made["target"].map(rank).fillna(-1)
    made = made.sort_values(["rank", "target", "layer"], ascending=[False, True, True], ignore_index=True)
    return made.astype({"layer": int}).drop(columns="rank")


@st.cache_data(max_entries=8, show_spinner=False)
def summary(key: tuple[str, str], name: str) -> pd.DataFrame:
    """One row a capture, target and domain: the chosen layer, its AUROC, the strongest control and other measures.

    What has other labels, or bounds chance from above, is no control that AUROC is set beside.
    """
    frame = probes(key, name)
    made = []
    for (acts, target, domain), rows in frame[frame["train"] == frame["test"]].groupby(["acts", "target", "test"]):
        best = rows[(rows["metric"] == "auroc") & rows["chosen"] & (rows["control"] == "")]
        if best.empty:
            continue
        best = best.iloc[0]
        beside = rows[(rows["metric"] == "auroc") & (rows["control"] != "") & ~rows["control"].isin(NOT_BESIDE)]
        control = beside.sort_values("value", ascending=False).head(1).to_dict("records")
        of = {"acts": acts, "target": target, "domain": domain, "layer": int(best["layer"])}
        of |= {"auroc": best["value"], "ci_low": best["ci_low"], "ci_high": best["ci_high"]}
        one = control[0] if control else {}
        of |= {"strongest": one.get("control"), "strongest_auroc": one.get("value")}
        of |= {"strongest_low": one.get("ci_low"), "strongest_high": one.get("ci_high")}
        plain = rows[(rows["control"] == "") & (rows["chosen"] | rows["layer"].isna())]
        measures = dict(zip(plain["metric"], plain["value"], strict=True))
        for measure in ("selectivity", "accuracy", "majority rate", "average precision", "ece", "brier", "compression"):
            of[measure.replace(" ", "_")] = measures.get(measure)
        made.append(of | {name: best[name] for name in ("rows", "positives", "problems", "classes")})
    numbers = ("auroc", "ci_low", "ci_high", "strongest_auroc", "strongest_low", "strongest_high", "selectivity")
    found = pd.DataFrame(made)
    return found.astype(dict.fromkeys(numbers, float)) if len(found) else found


def by_layer(frame: pd.DataFrame, target: str, domain: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """AUROC of one target in one domain at each layer (the nested choice among them, `chosen`), and that of its
    controls: at the chosen layer where a control has layers."""
    own = frame[(frame["target"] == target) & (frame["train"] == domain) & (frame["test"] == domain)]
    own = own[own["metric"] == "auroc"]
    names = ["control", "layer", "value", "ci_low", "ci_high", "chosen"]
    beside = own[own["control"] != ""].sort_values("chosen", ascending=False, kind="stable")
    return own.loc[own["control"] == "", names], beside.loc[~beside["control"].duplicated(), names]


def transfer(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """AUROC of one target by domain of training and of test, at the layer chosen in the domain of training; with p,
    what 95 % of fits to shuffled labels stay below, and the cosine of the two directions."""
    own = frame[frame["target"] == target]
    auroc = own[own["metric"] == "auroc"]
    best = auroc[(auroc["control"] == "") & auroc["chosen"] & (auroc["train"] == auroc["test"])]
    layer = dict(zip(best["train"], best["layer"], strict=True))
    across = auroc[(auroc["control"] == "") & (auroc["train"] != auroc["test"])]
    across = across[across["layer"] == across["train"].map(layer)]
    found = pd.concat([best, across])[["train", "test", "layer", "value", "ci_low", "ci_high"]]
    for name, rows in (
        ("p", own[own["metric"] == "p of transfer"]),
        ("null", auroc[auroc["control"] == NOT_BESIDE[1]]),
        ("cosine", own[own["metric"] == "whitened cosine"]),
    ):
        more = rows[["train", "test", "layer", "value"]].rename(columns={"value": name})
        found = found.merge(more, on=["train", "test", "layer"], how="left")
    return found.sort_values(["train", "test"], ignore_index=True)


def means_by_layer(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Mean AUROC within domains and across pairs of domains, at each layer."""
    kinds = {"mean within domains": "within a domain", "mean across domains": "from one to another"}
    own = frame[(frame["target"] == target) & frame["metric"].isin(list(kinds))]
    return own.assign(kind=own["metric"].map(kinds))[["kind", "layer", "value", "ci_low", "ci_high"]]


# ---- read-outs


@st.cache_resource(max_entries=8, show_spinner=False)
def asked(key: tuple[str, str], name: str) -> pd.DataFrame:
    """The distinct acts, target, domain and question of the read-outs of one result."""
    columns = ["acts", "target", "domain", "question"]
    table = Run(key[0]).table(f"probes/{name}/readouts", columns, dictionary=columns).to_pandas()
    return table.drop_duplicates(ignore_index=True).astype(str)


def choices(run: Run) -> dict[str, tuple[str, str, str]]:
    """Words -> (result, acts, target) of every probe that was read out."""
    found = [
        (name, acts, target)
        for name in results(run, "probe")
        for acts, target in asked(data.key(run, f"probe.{name}"), name)[["acts", "target"]]
        .drop_duplicates()
        .itertuples(index=False)
    ]
    title = {target: words for words, target in titles(run, {target for _, _, target in found}).items()}
    several = len({name for name, _, _ in found}) > 1
    return {
        f"{title[target]} · {acts}{f' · {name}' if several else ''}": (name, acts, target)
        for name, acts, target in found
    }


@st.cache_resource(max_entries=8, show_spinner="Reading the read-outs …")
def labelled(key: tuple[str, str], name: str, acts: str, target: str, domain: str, question: str) -> pd.DataFrame:
    """Read-outs whose right answer is known: trace_row, read, probability, label."""
    wanted = {"acts": acts, "target": target, "domain": domain, "question": question}
    columns = ["trace_row", "read", "probability", "label"]
    filters = [(column, "=", value) for column, value in wanted.items()]
    found = Run(key[0]).table(f"probes/{name}/readouts", columns, filters=filters).to_pandas()
    return found.dropna(subset=["label", "probability"]).astype({"label": int, "probability": float})


def reliability(found: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Bins of equal numbers of states by rising probability: mean probability, share of positives, number."""
    ranked = found.sort_values(["probability", "trace_row", "read"], ignore_index=True)
    parts = [part for part in np.array_split(np.arange(len(ranked)), min(bins, max(len(ranked), 1))) if len(part)]
    rows = [ranked.iloc[part] for part in parts]
    return pd.DataFrame(
        {
            "probability": [r["probability"].mean() for r in rows],
            "share": [r["label"].mean() for r in rows],
            "states": [len(r) for r in rows],
            "lowest": [r["probability"].min() for r in rows],
            "highest": [r["probability"].max() for r in rows],
        }
    )


def most_wrong(found: pd.DataFrame, most: int = 12) -> pd.DataFrame:
    """The states on the wrong side of .5, the farthest first, one of a trace; those without a place are left out."""
    error = (found["probability"] - found["label"]).abs()
    wrong = found.assign(error=error)[(error > 0.5) & found["read"].notna()]
    wrong = wrong.sort_values(["error", "trace_row", "read"], ascending=[False, True, True])
    return wrong[~wrong["trace_row"].duplicated()].head(most).astype({"read": int})


@st.cache_data(max_entries=64, show_spinner=False)
def readouts(key: tuple[str, str], name: str, acts: str, target: str, row: int) -> pd.DataFrame:
    """What a probe says along one trace: question, read, probability, label, by rising place."""
    wanted = [("trace_row", "=", row), ("acts", "=", acts), ("target", "=", target)]
    columns = ["question", "read", "probability", "label", "layer"]
    found = Run(key[0]).table(f"probes/{name}/readouts", columns, filters=wanted).to_pandas()
    return found.dropna(subset=["read", "probability"]).astype({"read": int}).sort_values("read", ignore_index=True)


@st.cache_data(max_entries=8, show_spinner=False)
def traces_read(key: tuple[str, str], name: str, acts: str, target: str) -> list[int]:
    """Rows of the traces that a probe was read out on."""
    wanted = [("acts", "=", acts), ("target", "=", target)]
    rows = Run(key[0]).table(f"probes/{name}/readouts", ["trace_row"], filters=wanted)["trace_row"]
    return sorted(set(rows.to_pylist()))


def stretches(found: pd.DataFrame, length: int, question: str) -> list[tuple[int, int, float, str]]:
    """Shades for the reader: from each state to the next the probability that was read out at the first of them."""
    found = found[~found["read"].duplicated(keep="last")]
    ends = [*found["read"].tolist()[1:], length]
    right = {1: "; it is", 0: "; it is not"}
    return [
        (start, stop, 0.75 * float(p), f"{question}: {p:.2f}{right.get(label, '')}")
        for start, stop, p, label in zip(found["read"], ends, found["probability"], found["label"], strict=True)
        if start < stop
    ]


@st.cache_resource(max_entries=4, show_spinner=False)
def layout(key: tuple[str, str], name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Maps of the sites of motifs, and their figures by capture; empty where there are none."""
    run, folder = Run(key[0]), f"probes/{name}"
    if not run.has(f"{folder}/layout.parquet"):
        return pd.DataFrame(), {}
    figures = run.json(f"{folder}/layout.json") if run.has(f"{folder}/layout.json") else {}
    return run.table(f"{folder}/layout").to_pandas(), figures


# ---- effects


@st.cache_data(max_entries=8, show_spinner=False)
def effects(key: tuple[str, str], name: str) -> pd.DataFrame:
    """The effects of one result; `name` says what was taken away, in words that differ between motifs; of states also
    where, since those are tested by domain and layer. Rows by falling effect."""
    frame = Run(key[0]).table(f"effects/{name}/effects").to_pandas()
    frame["motif_id"] = frame["motif_id"].fillna("")
    ids = [motif or text for motif, text in zip(frame["motif_id"], frame["text"], strict=True)]
    title = {value: words for words, value in unique(dict(zip(ids, frame["text"], strict=True)), 60).items()}
    where = zip(frame["domain"], frame["layer"].astype(float), strict=True)
    places = [f" in {labels.one_line(domain, 30)}, layer {int(at)}" if at == at else "" for domain, at in where]
    frame["name"] = [title[i] + place for i, place in zip(ids, places, strict=True)]
    return frame.sort_values(["effect", "name"], ascending=[False, True], ignore_index=True)


@st.cache_data(max_entries=16, show_spinner=False)
def samples(key: tuple[str, str], name: str, motif_id: str) -> list[dict[str, Any]]:
    """Completions that were drawn for one motif; none where the result keeps none."""
    run, folder = Run(key[0]), f"effects/{name}"
    units = run.json(f"{folder}/plan.json")["units"] if run.has(f"{folder}/plan.json") else []
    at = next((k for k, unit in enumerate(units) if unit[0] == motif_id), None)
    if at is None or not run.has(f"{folder}/{at:05d}.samples.parquet"):
        return []
    return run.table(f"{folder}/{at:05d}.samples").to_pylist()


def pairs(drawn: list[dict[str, Any]], intervention: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Arm and placebo of each trace, in the order in which they were drawn."""
    held: dict[str, dict[str, dict[str, Any]]] = {}
    for one in drawn:
        if one["intervention"] == intervention:
            held.setdefault(one["trace_id"], {})[one["arm"]] = one
    return [(two["arm"], two["placebo"]) for two in held.values() if {"arm", "placebo"} <= two.keys()]
