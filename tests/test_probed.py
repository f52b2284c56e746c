"""What the app works out from the tables of probes: tiles, controls, transfer, calibration, the worst errors, names."""

from pathlib import Path

import made_probes as made
import numpy as np
import pandas as pd
import pytest

from dsl_probe.mine.carried import read_carried
from dsl_probe.probe import metrics
from dsl_probe.store import Run

APP = Path(__file__).resolve().parents[1] / "app"


@pytest.fixture(scope="module")
def full(tiny_run: Path) -> Run:
    return made.fill(Run(tiny_run))


def test_a_tile_is_the_auroc_of_a_domain_or_the_mean_over_domains(full: Run, probed):
    frame = pd.DataFrame(made.probe_rows("correct"))
    mean = probed.tiles(frame, "all").set_index("layer")
    for k in made.LAYERS:
        assert mean.loc[k, "auroc"] == pytest.approx(np.mean([made.CORRECT[d][k] for d in made.DOMAINS]))
    assert mean["chosen"].tolist() == [False, True, False]  # layers 1 and 2 are chosen once each: the lowest of them
    for domain in made.DOMAINS:
        own = probed.tiles(frame, domain)
        assert own["auroc"].tolist() == list(made.CORRECT[domain])
        assert own.loc[own["chosen"], "layer"].tolist() == [made.CHOSEN[domain]]


def test_the_strongest_control_is_the_one_that_the_dictionary_names(full: Run, probed, motif: str):
    key = (str(full.path), "stamp")
    summary = probed.summary(key, "first").set_index(["target", "domain"])
    assert len(summary) == 6
    row = summary.loc[("correct", "logic")]
    assert (row["auroc"], row["layer"], row["selectivity"]) == (0.88, 2, 0.25)
    assert (row["strongest"], row["strongest_auroc"]) == ("place and length", 0.72)  # the control task has other labels
    assert (row["majority_rate"], row["ece"], row["brier"]) == (0.75, 0.05, 0.12)
    for d in read_carried(full).decodable[motif]:
        target = f"motif:{motif}" if d.target == "used next" else f"value@motifs:{motif}/before"
        mine = summary.loc[(target, d.domain)]
        assert (mine["auroc"], mine["layer"]) == (d.auroc, d.layer)
        assert (mine["strongest"], mine["strongest_auroc"]) == (d.control, d.control_auroc)


def test_transfer_is_at_the_layer_chosen_in_the_domain_of_training(probed):
    found = probed.transfer(pd.DataFrame(made.probe_rows("correct")), "correct").set_index(["train", "test"])
    assert len(found) == 4
    for domain in made.DOMAINS:
        assert found.loc[(domain, domain), "value"] == made.NESTED[domain]
    for pair, value in made.ACROSS.items():
        row = found.loc[pair]
        assert row["value"] == pytest.approx(value) and row["layer"] == made.CHOSEN[pair[0]]
        assert (row["p"], row["null"]) == (0.02, 0.6) and row["cosine"] == pytest.approx(0.1 * made.CHOSEN[pair[0]])


def test_bins_of_the_reliability_plot_hold_equal_numbers_and_give_the_calibration_error(probed):
    rng = np.random.default_rng(3)
    p = rng.random(203)
    found = pd.DataFrame({"trace_row": np.arange(203), "read": 0, "probability": p, "label": rng.random(203) < p**2})
    bins = probed.reliability(found.astype({"label": int}))
    assert bins["states"].sum() == 203 and set(bins["states"]) == {20, 21}
    error = (bins["states"] * (bins["probability"] - bins["share"]).abs()).sum() / 203
    assert error == pytest.approx(float(metrics.ece(p, found["label"].to_numpy().astype(int), bins=10)))
    from sklearn.calibration import calibration_curve

    even = found.head(200).astype({"label": int})
    share, mean = calibration_curve(even["label"], even["probability"], n_bins=10, strategy="quantile")
    mine = probed.reliability(even)
    assert np.allclose(mine["share"], share) and np.allclose(mine["probability"], mean)


def test_the_most_wrong_are_on_the_wrong_side_and_one_of_a_trace(probed):
    found = pd.DataFrame(
        [(0, 5, 0.9, 0), (0, 9, 0.95, 0), (1, 3, 0.1, 1), (2, 4, 0.6, 1), (3, 7, 0.51, 0), (4, None, 0.99, 0)],
        columns=["trace_row", "read", "probability", "label"],
    )
    wrong = probed.most_wrong(found)
    assert wrong[["trace_row", "read"]].to_numpy().tolist() == [[0, 9], [1, 3], [3, 7]]
    assert probed.most_wrong(found, most=1)["trace_row"].tolist() == [0]
    assert probed.most_wrong(found.iloc[3:4]).empty


def test_stretches_run_from_state_to_state_and_cover_the_rest(probed):
    found = pd.DataFrame(
        {"read": [2, 2, 5, 9], "probability": [0.1, 0.4, 1.0, 0.5], "label": [None, 1, 0, None]}, dtype=object
    )
    made_of = probed.stretches(found, 9, "yes")
    assert [(a, b) for a, b, _, _ in made_of] == [(2, 5), (5, 9)]  # two states at one place: the last; none at the end
    assert [round(level, 3) for _, _, level, _ in made_of] == [0.3, 0.75]
    assert [tip for *_, tip in made_of] == ["yes: 0.40; it is", "yes: 1.00; it is not"]


def test_names_differ_and_motifs_are_called_by_their_text(full: Run, probed, motif: str):
    said = probed.titles(full, ["correct", f"motif:{motif}", f"value@motifs:{motif}/before", "motif:unknown"])
    assert said["motif:zorp"] == f"motif:{motif}" and said["value@motifs:zorp/before"].endswith("/before")
    assert said["motif:unknown"] == "motif:unknown"
    assert set(probed.unique({"a": "x", "b": "x", "c": ""})) == {"x (a)", "x (b)", "(empty)"}
