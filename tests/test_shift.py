"""Bits by which a trained model prefers motifs and tokens, against sums over the tables of the scores."""

import numpy as np
import pytest

import dsl_probe
from dsl_probe.collect.sample import collect
from dsl_probe.collect.score import ScoreConfig, score_traces
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling
from dsl_probe.share.corpus import Corpus
from dsl_probe.share.shift import motif_bits, ratios, shift_rows

pytestmark = pytest.mark.usefixtures("one_thread")
A, BASE = "model=rl-only", "model=base"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder, models = tmp_path_factory.mktemp("shift"), shipped_folder("organisms")
    parts = []
    for name in ("rl-only", "base"):
        part = dsl_probe.Run.create(folder / name)
        config = organism_sampling(model=str(models / name), name=name, domains=("chain", "hop"), n=12, samples=2)
        collect(part, config)
        parts.append(part.path)
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, parts)
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5), executor="process:1")
    more = {"compute": "float32", "device": "cpu"}
    score_traces(run, ScoreConfig(model=str(models / "rl-only"), against=str(models / "base"), **more))
    return run


def by_trace(run):
    """trace_row -> (bits, starts, stops) of its tokens, from the table as it stands."""
    name = next(n for n in run.stages() if n.startswith("score."))
    rows = [r for s in run.each_shard("scores/" + name.partition(".")[2]) for r in s.to_pylist()]
    number = lambda values: np.array([np.nan if v is None else v for v in values], float)  # noqa: E731
    bits = lambda r: (number(r["logprobs"]) - number(r["logprobs_against"])) / np.log(2)  # noqa: E731
    return {r["trace_row"]: (bits(r), r["starts"], r["stops"]) for r in rows}


def test_bits_of_a_motif_are_summed_over_the_tokens_that_touch_it(scored):
    corpus = Corpus.load(scored, ["model"])
    rows = np.flatnonzero(np.array(corpus.traces["model"].to_pylist()) == "rl-only")
    item = np.unique(corpus.problem[rows], return_inverse=True)[1]
    motifs = np.arange(0, corpus.motifs.num_rows, 3)
    value, low, high = motif_bits(ratios(scored, A, BASE), corpus, rows, item, motifs)
    tokens, item_of = by_trace(scored), dict(zip(rows.tolist(), item.tolist(), strict=True))
    units = [r for s in scored.each_shard("units") for r in s.to_pylist()]
    seen = 0
    for k, m in enumerate(motifs.tolist()):
        found = {}
        for o in np.flatnonzero(corpus.motif == m):
            t = int(corpus.trace[o])
            if t in item_of:
                first, last = units[t]["starts"][corpus.start[o]], units[t]["stops"][corpus.stop[o] - 1]
                bits, starts, stops = tokens[t]
                touch = [i for i in range(len(starts)) if starts[i] < last and stops[i] > first]
                found.setdefault(item_of[t], []).append(np.nansum(bits[touch]))
        means = [np.mean(v) for v in found.values()]
        seen += len(means)
        assert value[k] == pytest.approx(np.mean(means), abs=1e-6) if means else np.isnan(value[k])
        if len(means) > 1:
            from scipy import stats

            ends = stats.t.interval(0.95, len(means) - 1, np.mean(means), stats.sem(means))
            assert (low[k], high[k]) == pytest.approx(ends, abs=1e-6)
    assert seen > 100


def test_shift_is_the_mean_over_problems_and_turns_its_sign(scored):
    corpus = Corpus.load(scored, ["model"])
    rows = np.flatnonzero(np.array(corpus.traces["model"].to_pylist()) == "rl-only")
    there = {
        (r["domain"], r["measure"]): r
        for r in shift_rows(ratios(scored, A, BASE), A, rows, corpus.problem, corpus.domains)
    }
    tokens = by_trace(scored)
    means = {}
    for t in rows.tolist():
        means.setdefault(corpus.problem[t], []).append(np.nanmean(tokens[t][0]))
    assert there["all", "bits"]["value"] == pytest.approx(np.mean([np.mean(v) for v in means.values()]), abs=1e-6)
    assert there["all", "bits"]["ci_low"] > 0 and 0 < there["all", "js"]["value"] < 1
    assert 0.1 <= there["all", "top_tenth"]["value"] <= 1 and {d for d, _ in there} == {"all", "chain", "hop"}
    back = shift_rows(ratios(scored, BASE, A), A, rows, corpus.problem, corpus.domains)
    back = {(r["domain"], r["measure"]): r["value"] for r in back}
    assert back["all", "bits"] == -there["all", "bits"]["value"] and back["all", "js"] == there["all", "js"]["value"]


def test_compare_writes_both_and_without_scores_there_is_nothing(scored):
    assert ratios(scored, A, "model=sft") is None and ratios(scored, "domain=hop", BASE) is None
    done = dsl_probe.compare(scored, a=A, b=BASE, base=BASE, permutations=99, min_problems=5, name="scored")
    found = done.table[done.table.novelty_bits.notna()]
    assert len(found) and (found.novelty_bits_low <= found.novelty_bits).all()
    # What A alone uses it prefers by more bits than what both use.
    rises = found[(found.domain == "all") & (found.matched == "equal units")]
    assert np.corrcoef(rises.log_odds, rises.novelty_bits)[0, 1] > 0.3
    assert set(done.shift.group) == {A}
