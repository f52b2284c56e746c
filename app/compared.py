"""Cached readers of comparisons and validations, and what the page works out of them."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import streamlit as st

import data
from dsl_probe.store import Run

MATCHED = ("equal units", "raw", "equal accuracy")
NOT_TESTED, SAME = "not tested", "not told apart"
# A difference, as legibility.parquet names it, by the sides of the pair.
DIFFERENCES = ("A - B", "A - base", "B - base")

# What the table of Compare shows of a test, in its order; and with that all that the page needs of a family of tests.
# The other columns are read where they are downloaded.
TESTED = [
    "rate_a",
    "rate_b",
    "log_odds",
    "ci_low",
    "ci_high",
    "z",
    "p",
    "p_adj",
    "p_adj_presence",
    "part_of",
    "problems_a",
    "problems_b",
    "novelty",
    "stable",
    "verdict",
]
SHOWN = ["motif_id", "text", "count_a", "count_b", *TESTED]
# Columns with few values: a code a row is a tenth of the memory.
_FEW = ["a", "b", "base", "domain", "design", "matched", "novelty", "verdict"]


def comparison_record(run: Run, id: str) -> dict[str, Any]:
    """Config and counts of a finished comparison."""
    record = run.stage(f"compare.{id}") or {}
    return {"config": record.get("config", {}), "counts": record.get("counts", {})}


def validation_counts(run: Run, id: str) -> dict[str, Any]:
    """What a finished validation counted."""
    return (run.stage(f"validate.{id}") or {}).get("counts", {})


@st.cache_data(max_entries=8, show_spinner=False)
def planted(key: tuple[str, str], id: str) -> pd.DataFrame:
    """One row a planted motif and split of a validation."""
    return Run(key[0]).table(f"validations/{id}/validation", filters=[("what", "=", "spike")]).to_pandas()


def pairs(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The pairs of groups that were tested: A and B, and each with the base where that is a third."""
    third = record["counts"].get("against_base") or []
    return [(record["config"]["a"], record["config"]["b"]), *((part["a"], part["b"]) for part in third)]


@st.cache_resource(max_entries=8, show_spinner="Reading the comparison …")
def comparison(key: tuple[str, str], id: str, domain: str, matched: str, pair: tuple[str, str]) -> pd.DataFrame:
    """Rows of one family of tests, the largest |z| first; `side` is where a discovery is over-represented.

    pair: two of the comparison's groups. Columns: SHOWN, abs_z and side.
    """
    return _comparison(key, id, domain, matched, pair, SHOWN)


def every_column(
    key: tuple[str, str], id: str, domain: str, matched: str, pair: tuple[str, str], motifs: set[str]
) -> pd.DataFrame:
    """The rows of these motifs in the same order, with all that the comparison measured."""
    frame = _comparison(key, id, domain, matched, pair, None).drop(columns="abs_z")
    return frame[frame["motif_id"].isin(motifs)]


def _comparison(key, id, domain, matched, pair, columns) -> pd.DataFrame:
    chosen = [("a", "=", pair[0]), ("b", "=", pair[1]), ("domain", "=", domain), ("matched", "=", matched)]
    table = Run(key[0]).table(f"comparisons/{id}/comparison", columns, chosen)
    for name in (name for name in _FEW if name in table.column_names):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].dictionary_encode())
    table = table.append_column("abs_z", pc.abs(table["z"]))
    frame = table.sort_by([("abs_z", "descending"), ("motif_id", "ascending")]).to_pandas()
    found = (frame["p_adj"] <= data.ALPHA).to_numpy()
    frame["side"] = np.where(~found, "not told apart", np.where(frame["z"] > 0, "A", "B"))
    return frame


@st.cache_data(max_entries=8, show_spinner=False)
def discovery_patterns(key: tuple[str, str], mined: tuple[str, str], id: str) -> dict[tuple[str, ...], str]:
    """Pattern -> A or B, for the discoveries over all domains at equal units."""
    frame = comparison(key, id, "all", "equal units", pairs(comparison_record(Run(key[0]), id))[0])
    found = frame[frame["side"] != "not told apart"]
    side = dict(zip(found["motif_id"], found["side"], strict=True))
    wanted = list(side)
    if not wanted:
        return {}
    table = Run(mined[0]).table("motifs", ["motif_id", "pattern"], filters=[("motif_id", "in", wanted)])
    return {tuple(p): side[m] for m, p in zip(*(table[c].to_pylist() for c in ("motif_id", "pattern")), strict=True)}


@st.cache_data(max_entries=8, show_spinner=False)
def sharing(key: tuple[str, str], id: str) -> pd.DataFrame:
    """Sharing between domains, by group and measure; without doubled rows where a group is compared with itself."""
    return Run(key[0]).table(f"comparisons/{id}/sharing").to_pandas().drop_duplicates(ignore_index=True)


@st.cache_data(max_entries=32, show_spinner=False)
def claims(key: tuple[str, str], id: str) -> list[dict[str, Any]]:
    """The claims of a comparison with their verdicts; empty where it was made before there were any."""
    run, name = Run(key[0]), f"comparisons/{id}/claims.json"
    return run.json(name) if run.has(name) else []


@st.cache_data(max_entries=16, show_spinner=False)
def table(key: tuple[str, str], id: str, name: str) -> pd.DataFrame | None:
    """`legibility` or `shift` of a comparison; None where it was made before there was such a table."""
    run = Run(key[0])
    return run.frame(f"comparisons/{id}/{name}") if run.has(f"comparisons/{id}/{name}.parquet") else None


def difference_names(pairs: list[tuple[str, str]], record: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Pair of groups -> the name of their difference; B alone may have been comparable with the base."""
    a = record["config"]["a"]
    named = {}
    for k, pair in enumerate(pairs):
        named[pair] = DIFFERENCES[0] if k == 0 else DIFFERENCES[1] if pair[0] == a else DIFFERENCES[2]
    return named


@st.cache_data(max_entries=32, show_spinner=False)
def matchings(key: tuple[str, str], id: str, domain: str, pair: tuple[str, str]) -> pd.DataFrame:
    """How many motifs are found over-represented on each side, by how the text was matched.

    Columns: matched, tested, a, b (discoveries on that side), both (also discovered on that side at equal units) and
    lost (discoveries at equal units that are none here). A matching that was not tested has no row.
    """
    chosen = [("a", "=", pair[0]), ("b", "=", pair[1]), ("domain", "=", domain)]
    frame = Run(key[0]).frame(f"comparisons/{id}/comparison", ["motif_id", "matched", "z", "p_adj"], chosen)
    side = np.where(frame["p_adj"] <= data.ALPHA, np.sign(frame["z"]), 0).astype(int)
    found = {how: dict(zip(part["motif_id"], side[part.index], strict=True)) for how, part in frame.groupby("matched")}
    headline = {m: s for m, s in found.get(MATCHED[0], {}).items() if s}
    made = []
    for how in MATCHED:
        if how in found:
            own = {m: s for m, s in found[how].items() if s}
            both = sum(headline.get(m) == s for m, s in own.items())
            sides = list(own.values())
            counted = {"tested": len(found[how]), "a": sides.count(1), "b": sides.count(-1)}
            made.append({"matched": how} | counted | {"both": both, "lost": len(headline) - both})
    return pd.DataFrame(made, columns=["matched", "tested", "a", "b", "both", "lost"])


@st.cache_data(max_entries=16, show_spinner="Setting the pairs side by side …")
def marks(key: tuple[str, str], id: str, domain: str, matched: str, pairs: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    """Motifs discovered in any pair: text, and for each pair k its mark_k and z_k, the most and strongest first.

    mark_k: first | second, the group of the pair that over-uses the motif; else `not told apart` or `not tested`.
    """
    columns = ["a", "b", "motif_id", "text", "z", "p_adj"]
    chosen = [("domain", "=", domain), ("matched", "=", matched)]
    frame = Run(key[0]).frame(f"comparisons/{id}/comparison", columns, chosen)
    frame["mark"] = np.select([frame["p_adj"] > data.ALPHA, frame["z"] > 0], [SAME, "first"], default="second")
    frame = frame[frame["motif_id"].isin(frame.loc[frame["mark"] != SAME, "motif_id"])]
    wide = frame.drop_duplicates("motif_id")[["motif_id", "text"]].set_index("motif_id")
    for k, (a, b) in enumerate(pairs):
        own = frame[(frame["a"] == a) & (frame["b"] == b)].set_index("motif_id")
        wide[f"mark_{k}"] = own["mark"].reindex(wide.index).fillna(NOT_TESTED)
        wide[f"z_{k}"] = own["z"].reindex(wide.index)
    z = wide[[f"z_{k}" for k in range(len(pairs))]].abs()
    told = wide[[f"mark_{k}" for k in range(len(pairs))]].isin(["first", "second"]).sum(axis=1)
    order = np.lexsort((wide.index.to_numpy().astype(str), -z.max(axis=1).to_numpy(), -told.to_numpy()))
    return wide.iloc[order].reset_index()


@st.cache_data(max_entries=8, show_spinner=False)
def curve(key: tuple[str, str]) -> pd.DataFrame | None:
    """Accuracy against tokens, as `collect` wrote it; None where the traces were imported."""
    run = Run(key[0])
    return run.frame("curve") if run.has("curve.parquet") else None


@st.cache_data(max_entries=8, show_spinner="Working out accuracy against tokens …")
def curve_of_traces(key: tuple[str, str]) -> pd.DataFrame:
    """The same table, worked out of the traces of the run; tokens are null where the traces tell of none."""
    from dsl_probe.collect.curve import CURVE_COLUMNS, curve_table

    frame = curve_table(Run(key[0]).each_shard("traces", CURVE_COLUMNS)).to_pandas()
    frame.loc[frame["tokens"] == 0, "tokens"] = np.nan
    return frame
