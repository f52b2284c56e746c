"""Effects of activations on an organism whose values are known, against passes one by one and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.domains import load_domain
from dsl_probe.collect.sample import collect
from dsl_probe.collect.seeded import Sampling
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling
from dsl_probe.models import Model, load_model
from dsl_probe.probe.activations import ActivationConfig, Outcome, activation_effects, activation_rows
from dsl_probe.probe.labels import read_labels
from dsl_probe.probe.patching import patch_values
from dsl_probe.probe.sites import Pairs, Sites, pair_sites, read_sites
from dsl_probe.probe.stage import ProbeConfig, probe
from dsl_probe.store import Run
from dsl_probe.types import EFFECTS, UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = str(shipped_folder("organisms") / "sft")
CONFIG = ActivationConfig(acts="own", layers=(2,), pairs=40, permutations=999, least=10, most_classes=30)
SAMPLING = Sampling(max_new_tokens=80)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(FOLDER, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    run = Run.create(tmp_path_factory.mktemp("activations") / "run")
    collect(run, organism_sampling(model=FOLDER, name="sft", domains=("chain", "hop"), n=50, samples=1, shard=30))
    states = CaptureConfig(FOLDER, layers=(0, 2, 3), at=("states",), dtype="fp32", name="own", device="cpu")
    capture_states(run, states)
    probe(run, ProbeConfig(targets=("value",), layers=(2,), folds=3, controls=False, transfer=False))
    return run


@pytest.fixture(scope="module")
def sites(run, model) -> Sites:
    found = read_sites(run, "own", read_labels(run, "own", "value", least=10, most_classes=30), model)
    return found.part(found.labels.domain == "chain")


@pytest.fixture(scope="module")
def pairs(sites, model) -> Pairs:
    return pair_sites(sites, model.tokenizer, 60, 0)


@pytest.fixture(scope="module")
def asked():
    domain = load_domain("chain")
    return [(domain, problem) for problem in domain.problems(1, 24)]


def test_sites_lie_before_the_values_that_the_traces_write(run, model, sites):
    texts = {row.Index: row.text for row in run.traces().itertuples()}
    words = model.tokenizer.convert_ids_to_tokens
    assert set(words(np.unique(sites.token).tolist())) == {"get"}
    for i in range(len(sites)):
        row, read = int(sites.labels.trace_row[i]), int(sites.labels.read[i])
        assert words([int(sites.following[i])]) == texts[row][read:].split()[:1]
        assert sites.read(i)[-1] == sites.token[i]
        spoken = " ".join(words(sites.read(i)))
        assert spoken.endswith(" ".join(texts[row][:read].split()))


def test_pairs_differ_where_they_should_and_agree_where_they_should(sites, model, pairs):
    labels = sites.labels
    assert len(pairs.place) == len(set(pairs.place.tolist())) == 60
    for donors, same in ((pairs.other, False), (pairs.same, True)):
        assert ((labels.of[donors] == labels.of[pairs.place]) == same).all()
        assert ((sites.following[donors] == sites.following[pairs.place]) == same).all()
        assert (labels.problem[donors] != labels.problem[pairs.place]).all()
    again = pair_sites(sites, model.tokenizer, 60, 0)
    assert all(np.array_equal(getattr(again, n), getattr(pairs, n)) for n in ("place", "other", "same"))
    other_seed = pair_sites(sites, model.tokenizer, 60, 1)
    assert not np.array_equal(other_seed.place, pairs.place)
    # Where no other problem has the value there is no placebo, so no pair.
    single = sites.part(labels.problem == labels.problem[0])
    assert len(pair_sites(single, model.tokenizer, 60, 0).place) == 0


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_patched_next_words_are_those_of_one_pass_a_place(model, sites, pairs, layer):
    few = Pairs(pairs.place[:12], pairs.other[:12], pairs.same[:12])
    got = patch_values(model, sites, few, layer, size=5)
    block = model.hf.get_decoder().layers[layer]

    def next_word(i: int, donor: int | None) -> int:
        handles = []
        with torch.inference_mode():
            if donor is not None:
                kept = []
                handle = block.register_forward_hook(lambda _m, _a, out: kept.append(out[0, -1].clone()))
                model.hf(torch.tensor([sites.read(donor)]))
                handle.remove()

                def put(_m, _a, out):
                    out[0, -1] = kept[0]

                handles.append(block.register_forward_hook(put))
            logits = model.hf(torch.tensor([sites.read(i)])).logits[0, -1]
        for handle in handles:
            handle.remove()
        return int(logits.argmax())

    for n, (i, other, same) in enumerate(zip(few.place, few.other, few.same, strict=True)):
        own, theirs = sites.following[i], sites.following[other]
        assert got.plain[n] == (next_word(i, None) == own)
        assert got.arm[n] == (next_word(i, other) == own) and got.flipped[n] == (next_word(i, other) == theirs)
        assert got.placebo[n] == (next_word(i, same) == own)
        assert got.problem[n] == sites.labels.problem[i]


def test_a_state_patched_by_itself_is_no_patch_and_the_last_layer_is_the_next_word(model, sites, pairs):
    itself = patch_values(model, sites, Pairs(pairs.place, pairs.place, pairs.place), 2)
    assert np.array_equal(itself.plain, itself.arm) and np.array_equal(itself.plain, itself.placebo)
    assert itself.plain.all(), "the model is sure of its values"
    last = patch_values(model, sites, pairs, 3)
    assert last.flipped.all() and not last.arm.any() and last.placebo.all()
    assert not last.flipped_plain.any()


def test_the_value_is_load_bearing_in_a_late_layer_and_its_placebo_is_not(run, model, asked):
    table = activation_effects(run, model, asked, SAMPLING, CONFIG)
    assert table.schema == EFFECTS
    rows = {row["intervention"]: row for row in table.to_pylist()}
    assert list(rows) == ["erase", "steer", "patch"]
    for row in rows.values():
        assert (row["model"], row["domain"], row["target"], row["layer"]) == (FOLDER, "chain", "value", 2)
        assert row["cost"] == pytest.approx(row["plain"] - row["arm"])
        assert row["effect"] == pytest.approx(row["placebo"] - row["arm"])
    assert rows["erase"]["plain"] > 0.95 and rows["erase"]["arm"] < 0.5 and rows["erase"]["placebo"] > 0.6
    assert rows["erase"]["load_bearing"] and rows["erase"]["ci_low"] > 0
    assert rows["patch"]["plain"] == rows["patch"]["placebo"] == 1.0 and rows["patch"]["arm"] < 0.1
    assert rows["patch"]["load_bearing"]
    # Four to six operations, so as many values are about to be written, and once more "get" stands in no prompt.
    assert 4 <= rows["erase"]["uses"] <= 6 and rows["erase"]["samples"] == 48 and rows["erase"]["problems"] == 24
    assert activation_effects(run, model, asked, SAMPLING, CONFIG).equals(table)


def test_a_push_by_nothing_and_an_eraser_of_nothing_cost_nothing(run, model, asked):
    config = replace(CONFIG, interventions=("steer",), scale=0.0, samples=2, along="pattern", where="everywhere")
    (row,) = activation_effects(run, model, asked[:8], Sampling(max_new_tokens=80, temperature=3), config).to_pylist()
    assert row["plain"] == row["arm"] == row["placebo"] < 1
    assert (row["cost"], row["effect"], row["z"], row["p"]) == (0, 0, 0, 1) and row["samples"] == 32
    assert not row["load_bearing"] and row["ci_low"] is None


def test_each_domain_has_rows_of_its_own_labels(run, model, asked):
    hop = load_domain("hop")
    both = [*asked[:6], *((hop, problem) for problem in hop.problems(1, 6))]
    config = replace(CONFIG, interventions=("erase", "patch"), layers=(0, 3), pairs=20)
    rows = activation_effects(run, model, both, SAMPLING, config).to_pylist()
    assert [(r["domain"], r["intervention"], r["layer"]) for r in rows] == [
        (domain, kind, layer) for domain in ("chain", "hop") for kind in ("erase", "patch") for layer in (0, 3)
    ]
    assert all(r["problems"] == 6 for r in rows if r["intervention"] == "erase")


def test_effects_are_means_by_problem_with_student_intervals_and_one_correction():
    rng = np.random.default_rng(0)
    problem = np.array([f"p{i % 30}" for i in range(90)], object)
    plain, placebo = np.ones(90), (rng.random(90) < 0.9).astype(float)
    strong, none = (rng.random(90) < 0.2).astype(float), (rng.random(90) < 0.9).astype(float)
    shared = {"uses": None, "problem": problem, "plain": plain, "placebo": placebo, "tokens": 7}
    outcomes = [
        Outcome("chain", "erase", layer, arm=arm, **shared) for layer, arm in enumerate((strong, none, placebo))
    ]
    first, second, third = activation_rows(outcomes, "m", "value", 1_999, 0).to_pylist()
    difference = np.array([(placebo - strong)[problem == p].mean() for p in sorted(set(problem))])
    expected = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    assert (first["effect"], first["ci_low"], first["ci_high"]) == pytest.approx((difference.mean(), *expected))
    assert first["z"] == pytest.approx(difference.sum() / np.sqrt((difference**2).sum()))
    assert first["problems"] == 30 and first["samples"] == 180 and first["load_bearing"] and first["p_adj"] == 1 / 2_000
    assert second["p_adj"] >= second["p"] > 0.05 and not second["load_bearing"]
    assert third["effect"] == 0 and third["p"] == 1 and third["ci_low"] is None
    assert first["cost"] == pytest.approx(1 - strong.mean())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"interventions": ("ban",)}, "known are erase, steer, patch"),
        ({"interventions": ()}, "at least one"),
        ({"layers": (1,)}, "holds resid_post of 0, 2, 3"),
        ({"target": "correct"}, "two are the least|leave it out of interventions"),
        ({"target": "last"}, "leave it out of interventions"),
        ({"layers": (0,), "interventions": ("steer",)}, "no weights of 'value' for chain/0; it has chain/2"),
        ({"probes": "other"}, "other"),
        ({"acts": "nothing"}, "no finished capture 'nothing'"),
    ],
)
def test_what_cannot_be_asked_is_named(change, told, run, model, asked):
    with pytest.raises((UserError, FileNotFoundError), match=told):
        activation_effects(run, model, asked[:2], SAMPLING, replace(CONFIG, **change))


def test_problems_and_states_must_be_there(run, model):
    with pytest.raises(UserError, match="no problem is asked"):
        activation_effects(run, model, [], SAMPLING, CONFIG)
    swap = load_domain("swap")
    with pytest.raises(UserError, match="no labelled state of the domain 'swap'"):
        activation_effects(run, model, [(swap, swap.problems(1, 1)[0])], SAMPLING, CONFIG)
