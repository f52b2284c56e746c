"""The app's page Sharing, on a small run whose numbers are known."""

from pathlib import Path

import numpy as np
import pytest
from pages import table

from dsl_probe.store import Run


def keys(module, run: Run, id: str = "b-vs-a") -> tuple:
    data = module("data")
    return data.key(run, f"compare.{id}"), data.key(run, "traces", "mine"), id


def test_the_difference_of_the_only_pair_is_that_of_the_comparison(show, tiny_run: Path):
    at = show("sharing", tiny_run)
    run = Run(tiny_run)
    shown = table(at, "n").iloc[0]
    assert shown[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(
        run.counts("compare.b-vs-a")["sharing_difference"]
    )
    assert shown["n"] == 60


def test_rarefaction_is_the_mean_of_random_draws(tiny_run: Path, module):
    overlap = module("overlap")
    arguments = keys(module, Run(tiny_run))
    frame = overlap.rarefaction(*arguments)
    words = overlap.vocabularies(*arguments).by_domain[0]["math"]
    tokens = np.repeat(np.arange(words.shape[1]), np.asarray(words.sum(0)).ravel().astype(int))
    rng = np.random.default_rng(0)
    own = frame[(frame["side"] == 0) & (frame["domain"] == "math")]
    for at in own["at"].iloc[[0, 4]]:
        drawn = [len(set(rng.choice(tokens, at, replace=False))) for _ in range(600)]
        assert own.loc[own["at"] == at, "value"].iloc[0] == pytest.approx(np.mean(drawn), abs=0.3)
    assert (own["n"] == len(tokens)).all()
    assert frame.groupby(["side", "domain"])["at"].max().nunique() == 1


def test_the_motifs_of_the_overlap_are_those_of_the_traces(show, tiny_run: Path):
    overlap = {"sharing_tab": "What makes the overlap"}
    at = show("sharing", tiny_run, overlap_group="A: model-b", **overlap)
    run = Run(tiny_run)
    zorp = run.frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]
    where = run.frame("occurrences", ["trace_row", "echo"], [("motif_id", "=", zorp)])
    domain = np.array(run.traces(["domain"])["domain"])[where.loc[~where["echo"], "trace_row"]]
    row = table(at, "part").set_index("text").loc["zorp"]
    assert row["count_a"] + row["count_b"] == len(domain)
    assert {row["count_a"], row["count_b"]} == {(domain == "math").sum(), (domain == "logic").sum()}
    assert table(at, "part")["length"].eq(1).all()
    # The other group never says it; the topic's words stand in one domain alone.
    other = show("sharing", tiny_run, overlap_group="B: model-a", **overlap)
    assert "zorp" not in set(table(other, "part")["text"])
    at.selectbox(key="overlap_which").select("in math alone").run()
    assert {"number", "equation", "fraction", "divide"} <= set(table(at, "part")["text"])
