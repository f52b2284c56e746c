"""The stage `probe` on a run with states, over several shards: tables, weights, labels, resuming, errors."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from probing import ORGANISM, make_run, trace
from sklearn.metrics import roc_auc_score

from dsl_probe.cli import main
from dsl_probe.collect import importer
from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.domains import worlds
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.probe import stage
from dsl_probe.probe.controls import same_places
from dsl_probe.probe.labels import captured_motifs, captured_rules, read_labels
from dsl_probe.probe.solvers import PROBE_NAMES
from dsl_probe.probe.stage import ProbeConfig, planned, probe, read_weights, readings
from dsl_probe.probe.states import StoredStates, captured_layers, read_index
from dsl_probe.probe.sweep import deal_folds
from dsl_probe.store import Run
from dsl_probe.types import PROBES, READOUTS, UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ProbeConfig(folds=3, strengths=(1e-2, 1.0), least=5, readout_traces=0)
METRICS = {"auroc", "accuracy", "average precision", "ece", "brier"}
CONTROLS = {"layer 0", "random weights", "bag of units", "place and length", "control task", "shuffled labels"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Chain and hop in two regimes: true states, of which the last is wrong in two traces of five; three shards."""
    folder, rng = tmp_path_factory.mktemp("probe"), random.Random(0)
    rows = []
    for problem in worlds.problems(0, 24, ["chain", "hop"]):
        for sample, regime in enumerate(("base", "sft")):
            said = list(worlds.states(problem.prompt))
            said[-1] = rng.choice(worlds.SHAPE[problem.domain][0]) if rng.random() < 0.5 else said[-1]
            rows.append(trace(problem, sample, said, rng, regime))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importer, "_SHARD_ROWS", 40)
        run = make_run(folder, rows)
    mine_motifs(run, MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    motifs = run.frame("motifs", ["motif_id", "text"])
    (folder / "motifs.txt").write_text("\n".join(motifs.text[motifs.text.isin(["so tisk", "tisk <NUM>"])]))
    at = ("states", "every:3", f"motifs:{folder}/motifs.txt")
    config = CaptureConfig(ORGANISM, (0, 2), at, dtype="fp32", name="sft")
    capture_states(run, config)
    capture_states(run, replace(config, name=None, random=3))
    assert len(run.shards("traces")) == 3
    return run


@pytest.fixture(scope="module")
def targets(run) -> tuple[str, ...]:
    motif = captured_motifs(run, "sft")[0]
    return ("value", "correct", "next", "domain", "regime", "near@every", f"motif:{motif}")


@pytest.fixture(scope="module")
def done(run, targets):
    """One job over all kinds of targets, two of which cannot be asked; and its tables."""
    config = replace(QUICK, targets=("value:9", *targets, "nonsense"), random="organisms-sft-random", readout_traces=12)
    result = probe(run, config)
    return config, result, run.frame("probes/default/probes"), run.frame("probes/default/readouts")


def files(run: Run, name: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((run.path / "probes" / name).iterdir())}


# ---- what is found


def test_every_kind_of_target_has_its_rows_and_one_that_fails_ends_nothing(run, targets, done):
    _, result, probes, readouts = done
    assert set(result.failed) == {"value:9 on sft", "nonsense on sft"}
    assert "known are value, digit, last, next" in result.failed["nonsense on sft"]
    assert (result.units, result.estimates, result.rows) == (7, len(probes), len(readouts))
    assert run.table("probes/default/probes").schema.equals(PROBES)
    assert run.table("probes/default/readouts").schema.equals(READOUTS)
    assert probes.target.unique().tolist() == list(targets) and set(probes.probe) == {"logistic"}
    for target in targets:
        mine = probes[probes.target == target]
        domains = {"all"} if target in ("domain", "regime") else set(mine.train) - {"all"}
        assert domains and (target.startswith("motif") or len(domains) == (1 if "all" in domains else 2))
        for domain in domains:
            own = mine[(mine.train == domain) & (mine.test == domain)]
            assert set(own[(own.metric == "auroc") & ~own.chosen & (own.control == "")].layer) == {0, 2}
            chosen = own[own.chosen & (own.control == "")]
            assert set(chosen.metric) == METRICS | {"selectivity", "mdl", "compression"}
            assert chosen.layer.nunique() == 1
            wanted = CONTROLS - ({"layer 0"} if chosen.layer.iloc[0] == 0 else set())
            assert set(own.control) - {""} == wanted
            assert (own[own.metric == "majority rate"].value > 1 / own.classes.iloc[0] - 1e-9).all()
        # Chain and hop have no value in common.
        if target in ("correct", "near@every"):
            assert {"whitened cosine", "p of transfer", "mean within domains", "mean across domains"} <= set(
                mine.metric
            )
    bounded = probes[probes.metric.isin(METRICS - {"ece", "brier"})]
    assert bounded.value.between(0, 1).all()
    known = probes.dropna(subset="ci_low")
    assert ((known.ci_low <= known.value) & (known.value <= known.ci_high)).all()
    lines = readings(run, "default")
    own = probes[probes.chosen & (probes.metric == "auroc") & (probes.control == "") & (probes.train == probes.test)]
    assert len(lines) == len(own)
    assert any(line.startswith("value on sft, chain: AUROC 0.") for line in lines)


def test_counts_are_those_of_the_traces(run, done):
    _, _, probes, _ = done
    traces, index = run.traces(), read_index(run, "sft").to_pandas()
    states = index[(index.rule == "states") & (index["where"] == "before")].drop_duplicates("row")
    for domain in ("chain", "hop"):
        told = traces.loc[states.trace_row][["domain", "correct", "problem_id"]]
        told = told[told.domain == domain]
        row = probes[(probes.target == "correct") & (probes.train == domain) & (probes.test == domain)].iloc[0]
        assert (row.rows, row.positives, row.problems, row.classes) == (
            len(told), told.correct.sum(), told.problem_id.nunique(), 2,
        )  # fmt: skip
    domains = (
        probes[(probes.target == "domain") & probes.chosen & (probes.metric == "auroc")].set_index("control").value
    )
    # A word tells the world; labels in random order tell nothing.
    assert domains[""] > 0.99 and abs(domains["shuffled labels"] - 0.5) < 0.2


def test_weights_give_the_read_outs_each_by_the_fit_that_did_not_see_its_problem(run, targets, done):
    from safetensors.torch import load_file

    config, _, probes, readouts = done
    index = read_index(run, "sft").to_pandas().drop_duplicates("row")
    place = {(t, p): row for row, t, p in zip(index.row, index.trace_row, index.position, strict=True)}
    known = index.dropna(subset="predicts")
    n_prompt = dict(zip(known.trace_row, known.position + 1 - known.predicts.astype(int), strict=True))
    problem = run.traces().problem_id
    shards = [load_file(run.path / f"acts/sft/{k:05d}.safetensors") for k in range(3)]
    for target in targets:
        mine = readouts[readouts.target == target]
        weights = read_weights(run, "default", "sft", target)
        labels = read_labels(run, "sft", target, least=config.least)
        for domain, part in mine.groupby("domain"):
            layer = part.layer.iloc[0]
            assert layer == probes[(probes.target == target) & (probes.train == domain) & probes.chosen].layer.iloc[0]
            x = torch.cat([shard[f"resid_post.{layer}"] for shard in shards]).numpy()
            asked = labels if domain == "all" else labels.part(labels.domain == domain)
            folds = dict(zip(asked.problem, deal_folds(asked.problem, 3, 0), strict=True))
            fold = np.array([folds[problem[t]] for t in part.trace_row])
            coef, intercept = (weights[f"{domain}/{layer}/{kind}"] for kind in ("coef", "intercept"))
            assert coef.shape[0] == 4 and coef.shape[1] == part.question.nunique()
            # Every state of a trace that was captured is read, the one that predicts nothing too.
            of_trace = index[index.trace_row.isin(part.trace_row)]
            assert len(part) == len(of_trace) * coef.shape[1] and part.trace_row.nunique() <= 12
            question = {name: q for q, name in enumerate(dict.fromkeys(part.question))}
            q = part.question.map(question).to_numpy()
            known = part.predicts.notna().to_numpy()
            seen = zip(part.trace_row[known], part.predicts[known].astype(int), strict=True)
            rows = [place[t, n_prompt[t] + p - 1] for t, p in seen]
            value = (x[rows] * coef[1 + fold, q][known]).sum(1) + intercept[1 + fold, q][known]
            np.testing.assert_allclose(part.probability[known], 1 / (1 + np.exp(-value)), atol=1e-4)
            told = dict(zip(asked.rows, asked.of, strict=True))
            for row, label, name in zip(rows, part.label[known], part.question[known], strict=True):
                want = told.get(row)
                assert np.isnan(label) if want is None else label == (labels.classes[want] == name)


def test_the_auroc_of_a_layer_is_that_of_its_read_outs(run, done):
    """Read out at all traces, the labelled states give the table's figure: the mean over folds of their AUROC."""
    probe(run, replace(QUICK, targets=("correct",), readout_traces=500, controls=False, transfer=False, name="all"))
    probes, readouts = run.frame("probes/all/probes"), run.frame("probes/all/readouts").dropna(subset="label")
    problem = run.traces().problem_id
    for domain, part in readouts.groupby("domain"):
        fold = deal_folds(problem[part.trace_row].to_numpy(), 3, 0)
        each = [roc_auc_score(part.label[fold == o], part.probability[fold == o]) for o in range(3)]
        rows = probes[(probes.train == domain) & (probes.metric == "auroc") & ~probes.chosen]
        row = rows[rows.layer == part.layer.iloc[0]]
        assert row.value.item() == pytest.approx(np.mean(each), abs=1e-6)
        assert row.rows.item() == len(part)


def test_controls_and_transfer_may_be_left_out_and_other_probes_taken(run):
    for name in ("ridge", "mass-mean", "sklearn.naive_bayes:GaussianNB"):
        config = replace(QUICK, targets=("value",), probe=name, controls=False, transfer=False, name="other")
        result = probe(run, replace(config, layers=(2,), readout_traces=3), force=True)
        probes = run.frame("probes/other/probes")
        assert not result.failed and set(probes.probe) == {name} and set(probes.layer.dropna()) == {2}
        assert set(probes.control) == {""} and (probes.train == probes.test).all()
        assert probes[probes.strength.notna()].strength.isin(QUICK.strengths if name == "ridge" else [1.0]).all()
        weights = read_weights(run, "other", "sft", "value")
        assert bool(result.rows) == bool(weights) == (name in PROBE_NAMES)


def test_motifs_are_told_from_their_matched_places(run):
    index = read_index(run, "sft").to_pandas()
    for motif in captured_motifs(run, "sft"):
        labels = read_labels(run, "sft", f"motif:{motif}", least=1)
        mine = index[(index.rule == "motifs") & (index.label == motif) & (index["where"] == "before")]
        want = mine.drop_duplicates("row").set_index("row").negative
        assert labels.classes == ("no", "yes") and set(labels.rows) == set(want.index)
        assert (labels.of == ~want[labels.rows].to_numpy().astype(bool)).all()
    every = planned(run, replace(QUICK, targets=("motifs",)))
    assert every == [("sft", f"motif:{motif}") for motif in captured_motifs(run, "sft")]


def test_states_lie_over_the_shards_one_after_another(run):
    from safetensors.torch import load_file

    assert captured_layers(run, "sft") == ("resid_post", (0, 2))
    assert captured_rules(run, "sft") == {"states", "every", "motifs"}
    whole = torch.cat([load_file(run.path / f"acts/sft/{k:05d}.safetensors")["resid_post.2"] for k in range(3)])
    states = StoredStates(run, "sft", "resid_post.2")
    assert states.shape == tuple(whole.shape)
    rows = np.random.default_rng(0).integers(0, len(whole), 300)
    assert torch.equal(states.take(rows), whole[rows]) and states.take(rows[:0]).shape == (0, 128)
    for size in (7, 10_000):
        blocks = list(states.blocks(size))
        assert [first for first, _ in blocks] == np.cumsum([0, *(len(b) for _, b in blocks[:-1])]).tolist()
        assert torch.equal(torch.cat([block for _, block in blocks]), whole)
    with pytest.raises(IndexError, match="rows run from 0 to"):
        states.take(np.array([len(whole)]))
    labels = read_labels(run, "sft", "value", least=5)
    assert (same_places(run, "sft", "organisms-sft-random", labels) == labels.rows).all()


# ---- the job


def test_run_again_it_does_nothing(run, done, monkeypatch):
    config, result, _, _ = done
    monkeypatch.setattr(stage, "probe_target", None)
    assert probe(run, config) == result
    assert probe(run, replace(config, device="cuda"), executor="process:2") == result
    with pytest.raises(UserError, match="was done with another setting: config folds was 3, now 4"):
        probe(run, replace(config, folds=4))


def test_a_job_that_was_cut_off_goes_on_and_two_workers_do_what_one_does(run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = replace(QUICK, targets=("correct", "domain", "nonsense"), readout_traces=4)
    whole = probe(run, replace(config, name="whole"))
    real, calls = stage.probe_target, []

    def dies(*arguments):
        calls.append(arguments[-1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(stage, "probe_target", dies)
    with pytest.raises(KeyboardInterrupt):
        probe(run, replace(config, name="cut"))
    assert next(s.state for s in run.status() if s.stage == "probe.cut") == "cut off"
    (run.path / "probes/cut/00001.readouts.parquet").write_bytes(b"half")
    assert probe(run, replace(config, name="cut")) == whole
    assert calls == ["correct", "domain", "domain", "nonsense"]
    assert files(run, "cut") == files(run, "whole")
    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert probe(run, replace(config, name="two"), executor="process:2") == whole
    assert files(run, "two") == files(run, "whole")
    assert all(s.state == "done" for s in run.status(verify=True) if s.stage.startswith("probe."))


def test_command_line(run, tmp_path, capsys):
    toml = tmp_path / "probes.toml"
    lines = ['targets = ["last"]', "folds = 3", "strengths = [0.01, 1.0]", "least = 5", 'name = "toml"']
    toml.write_text("\n".join([*lines, "readout-traces = 0", "transfer = false"]))
    assert main(["probe", str(run.path), "--config", str(toml)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 targets, ") and "last on sft, chain: AUROC" in out
    record = run.stage("probe.toml")
    assert record["config"]["strengths"] == [0.01, 1.0] and record["config"]["transfer"] is False
    command = ["probe", str(run.path), "--targets", "last", "nonsense", "--folds", "3", "--least", "5", "--no-controls"]
    command += ["--no-transfer", "--strengths", "1", "--readout-traces", "0", "--name", "cli"]
    for _ in range(2):
        assert main(command) == 1
        assert "failed: nonsense on sft: target 'nonsense' is unknown" in capsys.readouterr().out
    assert main([*command, "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out)["failed"]) == {"nonsense on sft"}
    toml.write_text('goals = ["last"]\n')
    assert main(["probe", str(run.path), "--config", str(toml)]) == 2
    assert "not the record of this stage, nor a .toml file with its options" in capsys.readouterr().err


# ---- errors


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"acts": ("nope",)}, r"has no finished capture 'nope'; it has organisms-sft-random, sft"),
        ({"random": "nope"}, r"has no finished capture 'nope'"),
        ({"base": "nope"}, r"has no finished capture 'nope'"),
        ({"targets": ()}, "--targets is empty"),
        ({"folds": 2}, r"--folds is 2; 3 \(train, choose, test\) to 20"),
        ({"strengths": (0.0, 1.0)}, "each must be above 0"),
        ({"least": 1}, "--least and --most-classes must be 2 or more"),
        ({"probe": "forest"}, "--probe 'forest' is unknown; known are logistic, ridge, mass-mean"),
        ({"name": "a/b"}, "a/b"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(run, setting, wanted):
    before = set(run.path.rglob("*"))
    with pytest.raises(UserError, match=wanted):
        probe(run, replace(QUICK, **{"name": "bad"} | setting))
    assert set(run.path.rglob("*")) == before


@pytest.mark.parametrize(
    ("setting", "target", "wanted"),
    [
        ({}, "valu", "target 'valu' is unknown; known are value, digit"),
        ({}, "correct:2", "target 'correct:2' is unknown"),
        ({}, "motif", "target 'motif' is unknown"),
        ({}, "value:0", "the J of value:J is a whole number from 1"),
        ({}, "value@state", "'state' are no sites; known are every, steps, answer, states, motifs"),
        ({}, "value@states/after", "'states/after' are no sites"),
        ({}, "correct@answer", "needs states at 'answer', and the capture has every, motifs, states"),
        ({}, "motif:nothing", "has 0 classes of 5 states or more"),
        ({"layers": (2, 7)}, "correct", r"--layers \[7\]: sft holds layers 0, 2 alone"),
        ({"probe": "sklearn:Nothing"}, "correct", "'sklearn:Nothing' is unknown"),
        ({"folds": 15}, "correct", "no domain has two classes of 5 states and 30 problems"),
    ],
)
def test_a_target_that_cannot_be_asked_says_why(run, setting, target, wanted):
    result = probe(run, replace(QUICK, targets=(target,), name="cannot", **setting), force=True)
    assert result.units == 0
    assert re.search(wanted, result.failed[f"{target} on sft"])


def test_runs_without_states_or_weights_say_what_to_do(run, tmp_path):
    bare = make_run(tmp_path, [{"trace_id": "a", "text": "so it is", "model": "m"}])
    with pytest.raises(UserError, match=r"has no captured states. Make some: dsl-probe capture"):
        probe(bare, QUICK)
    probe(run, replace(QUICK, targets=("last",), controls=False, transfer=False, name="few"))
    with pytest.raises(UserError, match="probes/few holds no weights of 'value' on 'sft'; it has last on sft"):
        read_weights(run, "few", "sft", "value")
