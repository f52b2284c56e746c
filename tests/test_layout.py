"""Maps of motifs' states: planted clusters, chance, neighbours of other problems, the stage that writes them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from corpus import rows, write_jsonl

from dsl_probe.cli import main
from dsl_probe.collect.importer import import_traces
from dsl_probe.collect.states import StateFile
from dsl_probe.probe import layout, stage
from dsl_probe.probe.layout import lay_out, told
from dsl_probe.probe.stage import ProbeConfig, probe, read_weights
from dsl_probe.probe.unit import probe_target
from dsl_probe.store import Run
from dsl_probe.types import ACTS_INDEX, LAYOUT, UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
MOTIFS, WIDTH, SITES = 4, 16, 40
LAYERS = (2, 5, 7)


def capture_of(run: Run, name: str, states: dict[int, np.ndarray], index: pa.Table) -> None:
    """A finished capture with these states [n, d] by layer, in one shard."""
    run.begin(f"capture.{name}", {}, run.trace_files())
    shapes = {f"resid_post.{layer}": x.shape for layer, x in states.items()}
    (run.path / f"acts/{name}").mkdir(parents=True)
    with StateFile(run.path / f"acts/{name}/00000.safetensors", shapes, "fp32") as file:
        for layer, x in states.items():
            file.put(f"resid_post.{layer}", 0, torch.tensor(x))
    run.write_table(f"acts/{name}/00000.index.parquet", index)
    run.finish(f"capture.{name}", [f"acts/{name}/00000.{end}" for end in ("safetensors", "index.parquet")], {})


def index_of(run: Run, motif: np.ndarray, rule: str = "motifs") -> pa.Table:
    """ACTS_INDEX of a site in each trace, one after another, before and at a motif."""
    names = run.all_shards("traces", ["trace_id"])["trace_id"].to_pylist()
    found = []
    for i, of in enumerate(motif):
        at = {"trace_row": i, "trace_id": names[i], "position": 3, "predicts": 4, "read": 20, "unit": 2, "pair": None}
        at |= {"rule": rule, "label": f"m{of}" if rule == "motifs" else "", "negative": False}
        found += [at | {"row": 2 * i, "where": "before"}, at | {"row": 2 * i + 1, "where": "at"}]
    return pa.Table.from_pylist(found, ACTS_INDEX)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Run:
    """A run of 160 traces, two a problem, with captures: `clusters` around a centre for each motif at layer 5 and noise
    elsewhere, `noise` of the same sites, and `steps` without motifs."""
    folder = tmp_path_factory.mktemp("layout")
    run = Run.create(folder / "run")
    made = [row for row in rows(problems=MOTIFS * SITES // 4) if row["model"] == "model-a"]
    import_traces(run, [write_jsonl(folder / "traces.jsonl", made)])
    rng = np.random.default_rng(0)
    n = MOTIFS * SITES
    motif = rng.permutation(np.arange(n) % MOTIFS)
    noise = {layer: rng.normal(size=(2 * n, WIDTH)).astype(np.float32) for layer in LAYERS}
    clusters = {layer: x.copy() for layer, x in noise.items()}
    clusters[5][1::2] += 6 * rng.normal(size=(MOTIFS, WIDTH)).astype(np.float32)[motif]
    capture_of(run, "clusters", clusters, index_of(run, motif))
    capture_of(run, "noise", noise, index_of(run, motif))
    capture_of(run, "steps", noise, index_of(run, motif, "steps"))
    return run


@pytest.fixture(scope="module")
def mapped(planted):
    return lay_out(planted, "clusters", 10_000, seed=0)


def test_planted_clusters_are_found_in_the_states_of_the_middle_layer(planted, mapped):
    table, figures = mapped
    assert table.schema == LAYOUT and table.num_rows == figures["sites"] == MOTIFS * SITES
    assert figures["layer"] == 5 and figures["motifs"] == MOTIFS
    assert figures["neighbours"] > 0.99 and figures["ari"] > 0.99
    assert figures["neighbours_in_map"] > 0.99
    assert figures["chance"] == pytest.approx(1 / MOTIFS, abs=0.01)
    index = planted.table("acts/clusters/00000.index", filters=[("where", "=", "at")])
    assert table["motif_id"].to_pylist() == index["label"].to_pylist()
    assert table["trace_row"].to_pylist() == index["trace_row"].to_pylist()


@pytest.mark.parametrize(("acts", "layer"), [("noise", 5), ("clusters", 7)])
def test_states_that_do_not_know_the_motif_give_chance(planted, acts, layer, monkeypatch):
    monkeypatch.setattr(layout, "_umap", lambda x, seed: x[:, :2])
    _, figures = lay_out(planted, acts, 10_000, 0, layer)
    assert figures["neighbours"] == pytest.approx(figures["chance"], abs=0.05)
    assert abs(figures["ari"]) < 0.05


def test_shuffled_motifs_give_chance_on_clustered_states():
    rng = np.random.default_rng(1)
    motif = rng.permutation(np.arange(400) % 5)
    x = rng.normal(size=(400, 8)) + 12 * np.eye(5, 8)[motif]
    problem = np.arange(400) // 2
    assert layout._same_neighbours(x, motif, problem) > 0.99 and layout._k_means_ari(x, motif, 0) > 0.99
    found = [(layout._same_neighbours(x, m, problem), layout._k_means_ari(x, m, 0)) for m in shuffles(motif, rng)]
    near, ari = np.mean(found, 0)
    assert near == pytest.approx(layout._chance(motif, problem), abs=0.02) and abs(ari) < 0.02


def shuffles(motif, rng):
    return [rng.permutation(motif) for _ in range(10)]


def test_sites_of_one_problem_are_no_neighbours_of_each_other():
    """Every problem has a motif and a place of its own: whoever counts its sites as neighbours finds perfect groups."""
    rng = np.random.default_rng(2)
    problem = np.repeat(np.arange(40), 12)
    motif = rng.permutation(np.arange(40) % 4)[problem]
    x = 50 * rng.normal(size=(40, 6))[problem] + rng.normal(size=(480, 6))
    assert layout._same_neighbours(x, motif, np.arange(480)) > 0.99
    assert layout._same_neighbours(x, motif, problem) == pytest.approx(layout._chance(motif, problem), abs=0.15)


def test_shares_of_neighbours_and_chance_are_those_of_a_plain_search():
    rng = np.random.default_rng(3)
    x, motif, problem = rng.normal(size=(60, 3)), rng.integers(0, 3, 60), rng.integers(0, 9, 60)
    near, chance = [], []
    for i in range(60):
        others = [j for j in range(60) if problem[j] != problem[i]]
        closest = sorted(others, key=lambda j: ((x[i] - x[j]) ** 2).sum())[: layout.NEIGHBOURS]
        near.append(np.mean([motif[j] == motif[i] for j in closest]))
        chance.append(np.mean([motif[j] == motif[i] for j in others]))
    assert layout._same_neighbours(x, motif, problem) == pytest.approx(np.mean(near))
    assert layout._chance(motif, problem) == pytest.approx(np.mean(chance))
    assert layout._same_neighbours(x, motif, np.zeros(60)) is layout._chance(motif, np.zeros(60)) is None


def test_motifs_have_equal_numbers_of_sites_while_there_are():
    motif = np.repeat(["often", "seldom", "once"], [900, 30, 1]).astype(object)
    chosen = layout._balanced(motif, 101, np.random.default_rng(0))
    names, counts = np.unique(motif[chosen].astype(str), return_counts=True)
    assert dict(zip(names, counts.tolist(), strict=True)) == {"often": 70, "once": 1, "seldom": 30}
    assert (np.diff(chosen) > 0).all() and len(layout._balanced(motif, 10_000, np.random.default_rng(0))) == 931


def test_too_few_sites_and_captures_without_motifs_have_no_map(planted):
    for acts, most in (("clusters", 29), ("steps", 10_000)):
        table, figures = lay_out(planted, acts, most, 0)
        assert table.schema == LAYOUT and table.num_rows == 0 and figures == {}


OFF = ("--no-controls", "--no-transfer", "--readout-traces", "0")
CONFIG = ProbeConfig(targets=("domain@motifs", "value"), controls=False, transfer=False, readout_traces=0, layers=(5,))


def test_the_stage_writes_maps_of_captures_that_have_motifs_and_the_same_bytes_again(planted, mapped, capsys):
    result = probe(planted, CONFIG)
    assert result.sites == 2 * MOTIFS * SITES and not [what for what in result.failed if "map" in what]
    table, figures = planted.table("probes/default/layout"), planted.json("probes/default/layout.json")
    assert table.schema == LAYOUT and list(figures) == ["clusters", "noise"]
    assert table.slice(0, mapped[0].num_rows) == mapped[0] and figures["clusters"] == mapped[1]
    assert main(["probe", str(planted.path), "--targets", "domain@motifs", "value", "--layers", "5", *OFF]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("map of ")]
    assert lines == told(planted, "default") and len(lines) == 2
    assert "100% are of the same motif, by chance 25%" in lines[0]
    before = planted.outputs("probe.default")
    probe(planted, CONFIG, force=True)
    assert planted.outputs("probe.default") == before
    with pytest.raises(UserError, match="no weights of 'correct' on 'clusters'; it has domain@motifs on clusters, v"):
        read_weights(planted, "default", "clusters", "correct")


def test_a_stage_that_was_cut_off_goes_on_with_the_maps_that_are_left(planted, monkeypatch):
    before = planted.outputs("probe.default")
    planted.begin("probe.default", {}, {}, force=True)
    planted.abandon("probe.default")
    calls = []

    def counted(run, acts, *rest):
        calls.append(acts)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return lay_out(run, acts, *rest)

    monkeypatch.setattr(stage, "lay_out", counted)
    with pytest.raises(KeyboardInterrupt):
        probe(planted, CONFIG)
    assert [s.detail[:25] for s in planted.status() if s.stage == "probe.default"] == ["5 of 8 units are left; ru"]
    targets = []

    def watched(run, config, acts, target):
        targets.append((target, acts))
        return probe_target(run, config, acts, target)

    monkeypatch.setattr(stage, "probe_target", watched)
    failed = probe(planted, CONFIG).failed
    assert calls == ["clusters", "noise", "noise"]
    # Those that could not be asked are tried again, and no others.
    assert [f"{target} on {acts}" for target, acts in targets] == list(failed)
    assert planted.outputs("probe.default") == before


def test_no_map_is_made_where_none_is_asked_for_or_possible(planted):
    off = ProbeConfig(**{**vars(CONFIG), "layout": 0, "name": "off"})
    without = ProbeConfig(**{**vars(CONFIG), "acts": ("steps",), "targets": ("domain@steps",), "name": "without"})
    for config in (off, without):
        result = probe(planted, config)
        assert result.sites == 0 and not planted.has(f"probes/{config.name}/layout.parquet")
        assert told(planted, config.name) == []
    assert result.failed == {}
    with pytest.raises(UserError, match="--layout 0 or more"):
        probe(planted, ProbeConfig(layout=-1))


def test_figures_are_plain_json(mapped):
    assert json.loads(json.dumps(mapped[1], allow_nan=False)) == mapped[1]
