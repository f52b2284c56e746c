"""The validate stage: halves that differ in nothing, motifs that are known, and what the comparison finds of them."""

import json
from collections import Counter

import numpy as np
import pytest
from corpus import rows, write_jsonl
from scipy import stats

import dsl_probe
from dsl_probe.cli import main
from dsl_probe.share.comparison import EQUAL
from dsl_probe.share.contrast import RAW
from dsl_probe.share.corpus import Corpus, choose_sample, cuts, trace_counts
from dsl_probe.share.validate import ValidateConfig, planting, recall, splits, validate
from dsl_probe.share.validate.spikes import KINDS, NUMBER, Known, Spike, draw_spikes
from dsl_probe.store import Run
from dsl_probe.types import UserError

GROUP = "model=model-a"
SPIKES = ("nonce", "slotted", "gapped", "re-purposed")
OF_A = {"group": GROUP, "spikes": SPIKES, "splits": 12, "motifs": 2, "permutations": 399, "name": "of-a"}


@pytest.fixture(scope="module")
def corpus(tiny_run) -> Corpus:
    return Corpus.load(Run(tiny_run), ["model"])


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """200 problems, two samples each of two models that say the same; one of them validated."""
    folder = tmp_path_factory.mktemp("validated")
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "in.jsonl", rows(problems=100, private="the"))])
    dsl_probe.mine_motifs(run, executor="process:1")
    return run, validate(run, ValidateConfig(**OF_A))


# ---- splits


@pytest.mark.parametrize("seed", range(5))
def test_split_within_gives_each_problem_to_both_sides(seed):
    rng = np.random.default_rng(seed)
    problem = rng.integers(0, 12, 60)
    chosen = np.sort(rng.choice(60, 45, replace=False))
    a, b = splits.split_within(chosen, problem, rng)
    assert not set(a) & set(b) and {*a, *b} <= set(chosen)
    want = {p: n // 2 for p, n in Counter(problem[chosen].tolist()).items() if n >= 2}
    assert Counter(problem[a].tolist()) == Counter(problem[b].tolist()) == Counter(want)


def test_every_trace_falls_to_a_as_often_as_to_b():
    problem = np.repeat(np.arange(4), 3)
    sides = [splits.split_within(np.arange(12), problem, np.random.default_rng(seed)) for seed in range(1_500)]
    in_a, in_b = (np.bincount(np.concatenate(side), minlength=12) for side in zip(*sides, strict=True))
    # Each of three samples stands on a side in a third of the splits; 5 standard deviations.
    assert (np.abs(np.stack([in_a, in_b]) - 500) < 5 * np.sqrt(1_500 * 2 / 9)).all()


@pytest.mark.parametrize("paired", [True, False])
def test_leading_traces_go_where_they_are_sent(paired):
    rng = np.random.default_rng(3)
    problem = np.repeat(np.arange(20), [2, 3, 4, 5] * 5)
    lead = np.array([np.flatnonzero(problem == p)[-1] for p in range(0, 20, 2)])
    a, b = splits.split_leading(np.arange(len(problem)), problem, lead, paired, rng)
    assert np.isin(lead, a).all() and not set(a) & set(b)
    if paired:
        assert (np.bincount(problem[a], minlength=20) == np.bincount(problem) // 2).all()
        assert (np.bincount(problem[b], minlength=20) == np.bincount(problem) // 2).all()
    else:
        assert not set(problem[a]) & set(problem[b]) and len(a) + len(b) == len(problem)
        assert len(set(problem[a])) == len(set(problem[b])) == 10


def test_by_length_puts_the_longer_sample_first():
    rng = np.random.default_rng(0)
    problem, units = np.repeat(np.arange(30), 3), rng.integers(1, 99, 90)
    a, b = splits.split_by_length(np.arange(90), problem, units, rng)
    assert len(a) == len(b) == 30 and not set(a) & set(b)
    by_problem = [{int(problem[i]): int(units[i]) for i in side} for side in (a, b)]
    assert all(by_problem[0][p] >= by_problem[1][p] for p in range(30))


def test_a_shortened_corpus_counts_what_the_beginnings_hold(corpus):
    keep = np.random.default_rng(1).integers(0, 70, corpus.traces.num_rows)
    short = splits.shortened(corpus, keep)
    assert (short.units == np.minimum(corpus.units, keep)).all()
    want: Counter = Counter()
    for motif, trace, stop in zip(corpus.motif.tolist(), corpus.trace.tolist(), corpus.stop.tolist(), strict=True):
        first = int(corpus.bounds[trace])
        if corpus.counted[first + stop] - corpus.counted[first] <= keep[trace]:
            want[trace, motif] += 1
    every = np.arange(corpus.traces.num_rows)
    trace, motif, count = trace_counts(short, every, short.units.astype(np.int64))
    assert Counter(dict(zip(zip(trace.tolist(), motif.tolist(), strict=True), count.tolist(), strict=True))) == want


def test_a_cut_leaves_equal_beginnings(corpus):
    mine = np.flatnonzero(np.array(corpus.traces["model"].to_pylist()) == "model-a")
    rng = np.random.default_rng(2)
    a, b = sides = splits.split_within(mine, corpus.problem, rng)
    cut = splits.cut_side(corpus, sides, rng)
    by_problem = {int(corpus.problem[i]): (int(corpus.units[i]), int(cut.units[i])) for i in b}
    for i in a:
        assert cut.units[i] == corpus.units[i]
        was, now = by_problem[int(corpus.problem[i])]
        shorter = min(was, int(corpus.units[i]))
        assert int(splits.LEAST_SHARE * shorter) <= now <= shorter
    sample = choose_sample(cut, a, b, 5)
    kept = cuts(sample, cut.units)
    assert (kept[sample.group == 0] == kept[sample.group == 1]).all()


# ---- planting


def test_spikes_are_new_and_of_their_kind():
    known = Known(set("abcდж⌀"), {"the", "badu"}, {"the": 0.9, "so": 0.02, "then": 0.1})
    drawn = draw_spikes(KINDS, 6, known, np.random.default_rng(0))
    assert Counter(s.kind for s in drawn) == dict.fromkeys(KINDS[:-1], 6) | {"re-purposed": 3}
    words = [w for s in drawn if s.kind != "re-purposed" for w in s.words if w.isalpha()]
    assert len(words) == len(set(words)) and not set(words) & known.words
    assert {len(s.words) for s in drawn if s.kind == "nonce"} == {1, 2, 3}
    for s in drawn:
        if s.kind in ("symbol", "other script"):
            assert not set(s.text) & known.characters and len(set(s.text)) > 1
    assert all(known.shares[s.text] == s.background for s in drawn if s.kind == "re-purposed")


@pytest.fixture(scope="module")
def planted(tiny_run, tmp_path_factory):
    """One spike of each form in 20 traces of model-a."""
    run = Run(tiny_run)
    corpus = Corpus.load(run, ["model"])
    mine = np.flatnonzero(np.array(corpus.traces["model"].to_pylist()) == "model-a")
    traces, texts = planting.read_texts(run, mine)
    forms = [("nonce", ("kibu", "dofa")), ("slotted", ("lepa", NUMBER, "gimo")), ("gapped", ("rutu", "*", "vosi"))]
    spikes = [Spike(*form) for form in [*forms, ("symbol", ("⌀⌂",)), ("re-purposed", ("check",))]]
    at = [np.arange(20) * 3 + k for k in range(len(spikes))]
    written, uses = planting.plant_texts(texts, spikes, at, 0)
    config = dsl_probe.MineConfig(min_traces=5, min_problems=5)
    made = planting.mine_planted(tmp_path_factory.mktemp("planted") / "run", traces, written, uses, spikes, config)
    return texts, spikes, at, written, uses, made


def test_planting_takes_nothing_away(planted):
    texts, spikes, at, written, uses, _ = planted
    per_trace: dict[int, list[tuple[int, int]]] = {}
    for spike, trace, spans in zip(uses.spike.tolist(), uses.trace.tolist(), uses.spans, strict=True):
        said = " ".join(written[trace][slice(*span)] for span in spans)
        want = spikes[spike].text.replace(" * ", " ")
        assert said == want or (spikes[spike].kind == "slotted" and said.split()[1].isdigit())
        per_trace.setdefault(trace, []).extend(spans)
    for trace, text in enumerate(written):
        for first, stop in sorted(per_trace.get(trace, ()), reverse=True):
            text = text[:first] + text[stop:]
        assert text.split() == texts.texts[trace].split()
    held = [set(uses.trace[uses.spike == s].tolist()) for s in range(len(spikes))]
    assert held == [set(traces.tolist()) for traces in at]
    assert set(Counter(zip(uses.spike.tolist(), uses.trace.tolist(), strict=True)).values()) == {1, 2}


def test_overlap_is_whole_for_the_motif_and_half_for_half_of_it(planted):
    *_, made = planted
    shares = recall.overlaps(made)
    text = made.corpus.motifs["text"].to_pylist()
    for spike, motif in enumerate(("kibu dofa", "lepa <NUM> gimo")):
        assert shares[text.index(motif), spike] == pytest.approx(1) and shares[text.index(motif)].sum() == 1
    assert shares[text.index("rutu"), 2] == shares[text.index("vosi"), 2] == pytest.approx(0.5)
    assert shares[text.index("⌀ ⌂"), 3] == pytest.approx(1)
    # All uses of a re-purposed word are that word, its own and the planted ones.
    assert shares[text.index("check"), 4] == pytest.approx(1)
    assert shares[text.index("the")].max() < 0.1


def test_net_problems_are_counted_after_the_split(planted):
    *_, at, _, _, made = planted
    a, b = splits.split_within(np.arange(made.corpus.traces.num_rows), made.corpus.problem, np.random.default_rng(4))
    d, held, kept = recall.net_problems(made, choose_sample(made.corpus, a, b, 5))
    # Two samples a problem, one of them planted: each planted trace is a problem.
    assert d.tolist() == [int(np.isin(t, a).sum()) - int(np.isin(t, b).sum()) for t in at]
    assert (held == 20).all() and (np.abs(kept) <= 20).all() and (kept != d).any()


def test_the_curve_is_that_of_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    d = rng.integers(0, 60, 400)
    found = rng.random(400) < 1 / (1 + np.exp(-(d - 30) / 5))
    curve = recall.fit(d, found)
    peer = LogisticRegression(C=1e6).fit(d[:, None], found)
    for at in (5, 30, 50):
        assert curve.chance(at) == pytest.approx(peer.predict_proba([[at]])[0, 1], abs=2e-3)
    assert curve.needed(0.8) == pytest.approx(30 + 5 * np.log(4), abs=3)
    assert recall.fit(d, np.zeros(400, bool)).needed(0.8) is None


def test_bins_hold_every_motif_once():
    d = np.array([-5, 0, 9, 10, 29, 30, 200])
    made = recall.bins(d, d >= 29)
    assert [(b.low, b.high, b.n, b.found) for b in made] == [
        (-5, 10, 3, 0),
        (10, 20, 1, 0),
        (20, 30, 1, 1),
        (30, 40, 1, 1),
        (120, 201, 1, 1),
    ]
    assert all(b.ci_low <= b.share <= b.ci_high for b in made)


# ---- the stage


def test_what_was_planted_is_found_and_nothing_else(validated):
    run, result = validated
    frame = run.frame("validations/of-a/validation")
    spiked = frame[frame.what == "spike"]
    new = spiked[spiked.kind != "re-purposed"]
    assert spiked[spiked.d >= 15].tested.all() and result.planted < 0.02 and result.problems_each == 60
    assert new[new.one_sided >= 40].found.mean() >= 0.8 and not new[new.one_sided < 10].found.any()
    assert new[new.one_sided >= 40].found_presence.mean() >= 0.9
    assert not new[new.one_sided < 10].found_presence.any()
    # Each comparison may have a false discovery with probability .05.
    assert result.separate > 20 and result.false <= stats.binom.ppf(0.975, result.comparisons, 0.05)
    assert result.needed["nonce"] is not None and 10 < result.needed["nonce"] < 50
    # A word that nearly all traces hold needs more than one that few hold.
    common = spiked[spiked.background > 0.2]
    assert common[common.d < 30].found.mean() <= 0.2


def test_nothing_planted_is_silence(validated):
    _, result = validated
    by = {(null["kind"], null["matched"]): null for null in result.nulls}
    exact = [null for null in result.nulls if null["exact"]]
    assert {(null["kind"], null["matched"]) for null in exact} == {
        ("within problems", EQUAL),
        ("within problems", RAW),
        ("whole problems", EQUAL),
        ("whole problems", RAW),
        ("cut", EQUAL),
    }
    assert all(null["with_any"] <= null["bound"] for null in exact)
    # Texts without their ending lack what every ending holds.
    assert by["cut", RAW]["with_any"] > by["cut", RAW]["bound"]


def test_the_reading_names_the_figures(validated):
    _, result = validated
    said = "\n".join(result.reading)
    assert "400 traces of 200 problems" in said and "samples within problems" in said
    assert "With your 200 problems a motif that one model uses in" in said
    assert f"Of {result.separate} discoveries" in said


def test_a_validation_is_kept_and_repeats_its_bytes(validated):
    run, result = validated
    assert validate(run, ValidateConfig(**OF_A)).reading == result.reading
    with pytest.raises(UserError, match="splits was 12, now 13"):
        validate(run, ValidateConfig(**OF_A | {"splits": 13}))
    small = ValidateConfig(GROUP, splits=1, spikes=("nonce",), motifs=1, permutations=99, name="again")
    validate(run, small)
    before = (run.path / "validations/again/validation.parquet").read_bytes()
    validate(run, small, force=True)
    assert (run.path / "validations/again/validation.parquet").read_bytes() == before
    assert set(run.validations()) >= {"of-a", "again"}
    assert all(s.state == "done" for s in run.status(verify=True))


def test_one_sample_a_problem_is_split_by_whole_problems(tmp_path):
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "in.jsonl", rows(problems=60, samples=1))])
    dsl_probe.mine_motifs(run, executor="process:1")
    result = validate(run, group=GROUP, splits=2, spikes=("symbol",), motifs=1, permutations=99)
    assert result.design == "unpaired" and result.problems == 120 and result.problems_each == 60
    assert {null["kind"] for null in result.nulls} == {"whole problems", "cut"}
    assert not any(null["exact"] for null in result.nulls if null["kind"] == "cut")
    assert any("whole problems (unpaired)" in sentence for sentence in result.reading)
    bounded = validate(run, group=GROUP, splits=1, spikes=(), most_traces=50, permutations=99, name="few")
    assert (bounded.traces, bounded.left_out, bounded.corpora) == (50, 70, 0)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"spikes": ("rune",)}, ["'rune'", "other script"]),
        ({"splits": 0}, ["--splits is 0", "least is 1"]),
        ({"domain": ("law",)}, ["'law'", "logic, math"]),
        ({"min_problems": 50}, ["60 problems", "100 are needed"]),
        ({"group": "model=model-c"}, ["model-c", "model-a"]),
    ],
)
def test_errors_name_the_value_and_the_fix(tiny_run, options, words):
    with pytest.raises(UserError) as error:
        validate(Run(tiny_run), ValidateConfig(**{"group": GROUP, "name": "bad"} | options))
    assert all(word in str(error.value) for word in words)
    assert not (Run(tiny_run).path / "stages/validate.bad.started.json").exists()


def test_the_command(validated, capsys):
    run, result = validated
    record = str(run.path / "stages/validate.of-a.json")
    assert main(["validate", str(run.path), "--config", record, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["separate"] == result.separate
    assert main(["validate", str(run.path)]) == 2
    assert "--group model=NAME" in capsys.readouterr().err
