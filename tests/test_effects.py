"""Effects: bans while sampling, spans for placebos, the statistics against closed forms, and the stage on a planted
language whose needed words are known."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import REPOSITORY
from tiny import tiny_model

from dsl_probe.cli import main
from dsl_probe.collect.decode import draw
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.collect.seeded import Sampling, key_of
from dsl_probe.mine.stage import MineConfig, mine_motifs
from dsl_probe.mine.uses import read_rows
from dsl_probe.models import load_model
from dsl_probe.probe.effect_table import ALL, effect_rows, mean_interval, read_bearing
from dsl_probe.probe.effects import EffectsConfig, effects
from dsl_probe.probe.spans import Spans, named_motifs
from dsl_probe.store import Run
from dsl_probe.types import EFFECT_SAMPLES, EFFECTS, UserError

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
CIPHER = REPOSITORY / "data/organisms/cipher"


# ---------------------------------------------------------------- bans


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(str(tiny_model(tmp_path_factory.mktemp("models") / "tiny")), device="cpu")


def drawn(model, bans=None, temperature=1.0):
    prompts = [[1, 20 + i % 5, 21, 30] for i in range(12)]
    keys = [key_of(0, str(i), 0) for i in range(12)]
    sampling = Sampling(temperature=temperature, max_new_tokens=40, loop_tokens=0)
    return prompts, draw(model, prompts, keys, sampling, bans=bans)


def holds(tokens, sequence):
    return any(tokens[i : i + len(sequence)] == list(sequence) for i in range(len(tokens)))


@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_what_is_banned_is_not_written_and_who_would_not_write_it_is_left_alone(model, temperature):
    _, free = drawn(model, temperature=temperature)
    single = free[0].token_ids[3]
    pair = tuple(free[1].token_ids[5:7])
    for sequence in [(single,), pair]:
        _, done = drawn(model, [[sequence]] * 12, temperature)
        for before, after in zip(free, done, strict=True):
            assert not holds(after.token_ids, sequence)
            if not holds(before.token_ids, sequence):
                assert after == before
            else:
                first = next(i for i in range(99) if holds(before.token_ids[: i + 1], sequence))
                assert after.token_ids[:first] == before.token_ids[:first]


def test_each_completion_has_bans_of_its_own_and_numbers_are_those_of_the_model_without_them(model):
    _, free = drawn(model)
    token = free[0].token_ids[0]
    _, done = drawn(model, [[(token,)], *[()] * 11])
    assert done[1:] == free[1:]
    assert done[0].token_ids[0] != token and done[0].entropies[0] == free[0].entropies[0]


def test_a_ban_reaches_back_into_the_prompt(model):
    prompts, free = drawn(model)
    last, first = prompts[0][-1], free[0].token_ids[0]
    _, done = drawn(model, [[(prompts[0][-2], last, first)], [(5, last, free[1].token_ids[0])], *[()] * 10])
    assert done[0].token_ids[0] != first and done[1] == free[1]


# ---------------------------------------------------------------- spans


def test_uses_and_placebo_spans(tiny_run):
    run = Run(tiny_run)
    rows = np.arange(run.all_shards("traces", ["trace_id"]).num_rows)
    spans = Spans(run, read_rows(run, rows))
    units = spans.units
    [motif] = named_motifs(run, ["zorp"])
    uses = spans.uses(motif)
    for t in rows:
        first, last = units.bounds[t], units.bounds[t + 1]
        want = [s for s in range(first, last) if units.forms[units.symbols[s]] == "zorp" and not units.flags[s]]
        assert uses.get(t, np.zeros((0, 2)))[:, 0].tolist() == want
    gram, held = spans.of_length(1)
    for t, mine in uses.items():
        other = spans.others(t, mine, len(uses), np.random.default_rng(t))
        again = spans.others(t, mine, len(uses), np.random.default_rng(t))
        assert (other == again).all() and (other[:, 1] - other[:, 0] == 1).all()
        assert not set(other[:, 0]) & set(mine[:, 0]) and len(set(gram[other[:, 0]])) == 1
        assert not units.flags[other[:, 0]].any() and (spans.doc[other[:, 0]] == t).all()
        # All its uses, and as frequent as can be had in this trace.
        here = np.arange(units.bounds[t], units.bounds[t + 1])
        assert len(other) == (gram[here] == gram[other[0, 0]]).sum()
        away = np.abs(np.log2(held[gram[here][(gram[here] >= 0) & ~np.isin(here, mine[:, 0])]] / len(uses)))
        assert abs(np.log2(held[gram[other[0, 0]]] / len(uses))) <= max(1, away.min())


def test_longer_spans_stay_in_their_trace_and_count_traces(tiny_run):
    run = Run(tiny_run)
    spans = Spans(run, read_rows(run, np.arange(20)))
    units = spans.units
    gram, held = spans.of_length(3)
    texts = {}
    for s in range(len(units.symbols)):
        inside = s + 3 <= units.bounds[spans.doc[s] + 1] and not units.flags[s : s + 3].any()
        assert (gram[s] >= 0) == inside
        if inside:
            texts.setdefault(tuple(units.symbols[s : s + 3]), set()).add(gram[s])
    assert all(len(numbers) == 1 for numbers in texts.values()) and len(texts) == len(set(gram[gram >= 0]))
    for s in range(0, len(units.symbols), 7):
        if gram[s] >= 0:
            assert held[gram[s]] == len({int(spans.doc[i]) for i in np.flatnonzero(gram == gram[s])})


# ---------------------------------------------------------------- statistics


def samples(arm, placebo, plain=None, motif="m", domain="d"):
    """Verdicts of one trace a problem: arm, placebo, plain bool[n]."""
    n = len(arm)
    plain = np.ones(n, bool) if plain is None else plain
    rows = []
    for side, verdicts in (("arm", arm), ("placebo", placebo)):
        for i in range(n):
            rows.append(
                [
                    motif,
                    "ban",
                    side,
                    f"t{i}",
                    f"p{i}",
                    domain,
                    "x",
                    1,
                    10,
                    0,
                    "",
                    "stop",
                    bool(verdicts[i]),
                    bool(plain[i]),
                    None,
                ]
            )
    return pd.DataFrame(rows, columns=EFFECT_SAMPLES.names)


def rows_of(frame, permutations=2_000, seed=0):
    named = {m: m for m in frame.motif_id}
    return effect_rows(frame, named, {}, model="x", permutations=permutations, seed=seed).to_pylist()


def test_an_effect_by_hand():
    arm, placebo = np.array([0, 0, 0, 1, 0, 0]), np.array([1, 1, 0, 1, 1, 0])
    row = next(r for r in rows_of(samples(arm, placebo), 4_000) if r["domain"] == ALL)
    assert (row["plain"], row["arm"], row["placebo"]) == (1, 1 / 6, 4 / 6)
    assert row["effect"] == pytest.approx(0.5) and row["cost"] == pytest.approx(5 / 6)
    assert (row["problems"], row["samples"], row["tokens"]) == (6, 12, 120)
    # Three problems differ, all to one side: of the eight patterns of signs two are as far out.
    assert row["p"] == pytest.approx(0.25, abs=0.03) and row["p_adj"] == row["p"] and not row["load_bearing"]
    from scipy import stats

    low, high = stats.ttest_1samp(placebo - arm, 0).confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))


def test_a_problem_counts_once_and_a_missing_verdict_takes_its_partner_along():
    frame = samples([0, 1, 0, 1], [1, 1, 1, 1])
    frame["problem_id"] = ["p0", "p0", "p1", "p2"] * 2
    row = rows_of(frame)[0]
    assert row["problems"] == 3 and row["arm"] == pytest.approx((0.5 + 0 + 1) / 3)
    frame["correct"] = frame["correct"].astype(object)
    frame.loc[0, "correct"] = None
    row = rows_of(frame)[0]
    assert row["samples"] == 6 and row["arm"] == pytest.approx((1 + 0 + 1) / 3)


def test_intervals_of_too_few_or_equal_differences_are_none():
    assert mean_interval(np.array([1.0])) == (1.0, None, None) and mean_interval(np.ones(5)) == (1.0, None, None)


def test_placebo_against_placebo_is_rejected_as_often_as_stated():
    """200 pairs of arms without a difference, problems of unlike difficulty: p <= .05 in 5 % of them, at most."""
    rng = np.random.default_rng(3)
    frames = []
    for k in range(200):
        chance = rng.beta(0.7, 0.7, 40)
        frames.append(samples(rng.random(40) < chance, rng.random(40) < chance, motif=f"m{k}"))
    table = [r for r in rows_of(pd.concat(frames), 1_000) if r["domain"] == ALL]
    rejected = sum(r["p"] <= 0.05 for r in table)
    assert (
        rejected <= 17
    )  # binomial(200, .05): above 17 in 1 of 100; the test is conservative, since verdicts are discrete
    assert not any(r["load_bearing"] for r in table)
    found = [
        r
        for r in rows_of(pd.concat([*frames[:50], samples(np.zeros(40), rng.random(40) < 0.5, motif="real")]))
        if r["domain"] == ALL
    ]
    assert [r["motif_id"] for r in found if r["load_bearing"]] == ["real"]


# ---------------------------------------------------------------- the stage


@pytest.fixture(scope="module")
def cipher(tmp_path_factory):
    """Traces of the shipped cipher in two domains, mined."""
    run = Run.create(tmp_path_factory.mktemp("cipher") / "run")
    collect(
        run,
        CollectConfig(
            model=str(CIPHER), domains=("chain", "swap"), n=60, samples=1, template="raw", max_new_tokens=110,
            device="cpu", batch_size=60, shard=40,
        ),
    )  # fmt: skip
    mine_motifs(run, MineConfig())
    return run


CONFIG = EffectsConfig(
    model=str(CIPHER), motifs=("erv", "lurm", "glap"), budget=3_000, device="cpu", permutations=2_000, batch_size=128
)


@pytest.fixture(scope="module")
def done(cipher):
    result = effects(cipher, CONFIG)
    return result, cipher.table("effects/default/effects").to_pandas()


def test_needed_words_cost_and_fillers_do_not(cipher, done):
    result, table = done
    assert table.columns.tolist() == EFFECTS.names and result.motifs == 3 and not result.unused
    told = table[table.domain == ALL].set_index(["text", "intervention"])
    for word in ("erv", "glap"):  # a digit, and the word that opens a state
        assert told.loc[(word, "ban"), "cost"] > 0.4
    for intervention in ("ban", "delete"):
        filler = told.loc[("lurm", intervention)]
        assert abs(filler["cost"]) < 0.15 and not filler["load_bearing"]
        assert filler["effect"] < told.loc[("erv", intervention), "effect"]
    assert (told.xs("ban", level=1)["leak"] == 0).all() and told.xs("delete", level=1)["leak"].isna().all()
    assert set(table.domain) == {ALL, "chain", "swap"}


def test_arms_and_placebos_are_paired_and_within_the_budget(cipher, done):
    plan = cipher.json("effects/default/plan.json")["units"]
    assert all(0 < tokens <= 3_000 for _, _, _, tokens in plan)
    whole = dict(cipher.traces(["trace_id", "text"]).itertuples(index=False))
    for k, (_, text, n, _) in enumerate(plan):
        s = cipher.table(f"effects/default/{k:05d}.samples").to_pandas()
        assert len(s) == n
        pairs = s.groupby(["trace_id", "intervention"])["arm"].apply(lambda arms: tuple(sorted(arms)))
        assert set(pairs) == {("arm", "placebo")}
        assert (s[s.arm == "arm"].removed == text).all() and not (s[s.arm == "placebo"].removed == text).any()
        banned = s[(s.arm == "arm") & (s.intervention == "ban")]
        # What was given for a ban is the beginning of the trace itself, up to the motif.
        for one in banned.itertuples():
            assert whole[one.trace_id].startswith(one.text[: one.given])
            assert whole[one.trace_id][one.given :].split()[: len(text.split())] == text.split()
        assert not banned.text.str.split().map(lambda words, w=text: w in words).any()


def test_the_same_bytes_again_and_after_a_cut(cipher, done, tmp_path):
    files = {p.name: p.read_bytes() for p in (cipher.path / "effects/default").iterdir()}
    assert effects(cipher, CONFIG) == done[0]
    copy = Run(shutil.copytree(cipher.path, tmp_path / "copy"))
    record = json.loads((copy.path / "stages/effects.default.json").read_text())
    (copy.path / "stages/effects.default.json").unlink()
    (copy.path / "stages/effects.default.started.json").write_text(
        json.dumps({k: record[k] for k in ("config", "inputs")})
    )
    for name in ("00001.samples.parquet", "effects.parquet"):
        (copy.path / "effects/default" / name).unlink()
    assert effects(copy, CONFIG) == done[0]
    assert {p.name: p.read_bytes() for p in (copy.path / "effects/default").iterdir()} == files


def test_replaced_and_whole_chains(cipher):
    config = replace(CONFIG, motifs=("erv",), interventions=("replace", "blank", "shuffle"), budget=1_500, name="more")
    result = effects(cipher, config)
    table = cipher.table("effects/more/effects").to_pandas()
    whole = table[(table.domain == ALL) & (table.motif_id == "")].set_index("intervention")
    assert set(whole.index) == {"blank", "shuffle"} and set(whole.text) == {"(chain)"}
    # The chain is needed: without it, or out of order, the answer is guessed.
    assert (whole["placebo"] > 0.7).all() and (whole["arm"] < 0.5).all() and whole["load_bearing"].all()
    assert result.motifs == 2 and (table[table.text == "erv"].intervention == "replace").all()


def test_states_are_erased_pushed_and_patched(tmp_path, capsys):
    folder = str(REPOSITORY / "data/organisms/sft")
    run = tmp_path / "run"
    common = ["--device", "cpu", "--compute", "float32"]
    sampled = ["--domains", "chain", "--n", "60", "--samples", "1", "--template", "raw", "--max-new-tokens", "110"]
    assert main(["collect", "--out", str(run), "--model", folder, "--name", "sft", *sampled, *common]) == 0
    assert main(["mine", str(run)]) == 0
    assert (
        main(["capture", str(run), "--model", folder, "--layers", "0", "3", "--at", "states", "--name", "own", *common])
        == 0
    )
    assert main(["probe", str(run), "--targets", "value", "--least", "5", "--no-controls", "--no-transfer"]) == 0
    given = ["effects", str(run), "--model", folder, "--interventions", "erase", "steer", "patch", "--problems", "30"]
    assert main([*given, *common]) == 2 and "--acts is missing" in capsys.readouterr().err
    assert main([*given, "--acts", "own", "--permutations", "999", *common]) == 0
    assert "layer 3, patch: accuracy" in capsys.readouterr().out
    table = Run(run).table("effects/default/effects").to_pandas().set_index(["intervention", "layer"])
    assert set(table.model) == {"sft"} and table.motif_id.isna().all() and set(table.target) == {"value"}
    # The value is in the last layer, and not yet in the first.
    assert table.loc[("patch", 3), "load_bearing"] and not table.loc[("patch", 0), "load_bearing"]
    assert table.loc[("erase", 3), "effect"] > 0.3 > table.loc[("erase", 0), "effect"]
    assert read_bearing(Run(run), {"sft"}) == {}


def test_compare_takes_what_effects_have_shown(tiny_run, tmp_path):
    import dsl_probe

    run = Run(shutil.copytree(tiny_run, tmp_path / "run"))
    zorp = next(r["motif_id"] for r in run.table("motifs").to_pylist() if r["text"] == "zorp")
    for bearing, word in ((True, "emergent"), (False, "over-represented in A; not shown to be load-bearing")):
        row = dict.fromkeys(EFFECTS.names) | {
            "model": "model-b",
            "domain": ALL,
            "motif_id": zorp,
            "load_bearing": bearing,
        }
        other = row | {"model": "model-a", "load_bearing": not bearing}
        run.begin("effects.made", {"n": int(bearing)}, {}, force=True)
        run.write_table("effects/made/effects.parquet", pa.Table.from_pylist([row, other], EFFECTS))
        run.finish("effects.made", ["effects/made/effects.parquet"], {})
        assert read_bearing(run, {"model-b"}) == {(zorp, ALL): bearing}
        got = dsl_probe.compare(
            run,
            a="model=model-b",
            b="model=model-a",
            base="model=model-a",
            permutations=199,
            name="effects",
            force=True,
        )
        rows = got.table[(got.table.motif_id == zorp) & (got.table.domain == ALL)]
        assert (rows[rows.p_adj <= 0.05].verdict == word).all() and (rows.p_adj <= 0.05).any()
        assert "whose effect on accuracy was measured" in got.summary()


def test_what_cannot_be_done_is_said(cipher, tiny_run, tmp_path, capsys):
    for change, word in [
        ({"model": ""}, "--model is missing"),
        ({"interventions": ("burn",)}, "known are ban, delete, replace, shuffle, blank"),
        ({"motifs": ("top:x",)}, "whole number"),
        ({"motifs": ("top:3",), "comparison": "no"}, "no such comparison"),
        ({"budget": 0}, "--budget"),
        ({"only": "model=none"}, "none"),
    ]:
        with pytest.raises(UserError, match=word):
            effects(cipher, replace(CONFIG, name="wrong", **change))
    assert main(["effects", str(tiny_run), "--model", str(CIPHER)]) == 2
    assert "--only model=NAME" in capsys.readouterr().err


def test_a_motif_that_nobody_uses_is_listed(cipher):
    result = effects(
        cipher, replace(CONFIG, motifs=("xyzzy", "erv"), budget=300, interventions=("ban",), name="unused")
    )
    assert result.unused == ("xyzzy",) and result.motifs == 2
