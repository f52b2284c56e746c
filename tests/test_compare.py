"""The compare stage: silent where there is nothing, right where something was planted."""

import random

import numpy as np
import pytest
from corpus import TOPIC, WORDS, rows, write_jsonl
from scipy import stats

import dsl_probe
from dsl_probe.share.compare import compare, compare_rows, comparison_id
from dsl_probe.share.comparison import CompareConfig
from dsl_probe.share.corpus import Corpus, choose_sample, cuts
from dsl_probe.store import Run
from dsl_probe.types import UserError


def make(tmp_path, content, **config):
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "in.jsonl", content)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5), executor="process:1")
    return run


def test_the_planted_word_is_found_and_nothing_else(tiny_run):
    c = dsl_probe.Comparison(Run(tiny_run), "b-vs-a")
    for domain in ("all", "math", "logic"):
        found = c.discoveries(domain)
        assert len(found) and all("zorp" in t.split() for t in found.text) and (found.z > 0).all()
    word = c.discoveries().set_index("text").loc["zorp"]
    assert word.problems_b == 0 and word.count_b == 0 and word.rate_b == 0 and word.ci_low > 0
    assert (
        word.novelty.startswith("absent from")
        and word.stable
        and word.verdict == "over-represented in A; emergent: undecided, effects not run"
    )
    assert word.p_adj_presence <= 0.05 and word.load_bearing is None
    headline = c.table[(c.table.domain == "all") & (c.table.matched == "equal units")]
    assert c.result.motifs_tested == len(headline)
    assert c.result.design == "paired" and c.result.problems == 60 and c.result.traces_a == 120
    assert "zorp" in c.summary() and "emergent is undecided" in c.summary()


def test_exact_p_and_q_stand_beside_the_permutations(tiny_run):
    t = dsl_probe.Comparison(Run(tiny_run), "b-vs-a").table
    for _, family in t.groupby(["domain", "matched"]):
        # 199 permutations, of which the least p is 1/200.
        error = np.sqrt(family.p_exact * (1 - family.p_exact) / 199)
        assert (np.abs(family.p - family.p_exact) < 5 * error + 0.02).all()
        want = stats.false_discovery_control(family.p_exact, method="by")
        np.testing.assert_allclose(family.q, want)
    word = t[(t.domain == "all") & (t.matched == "equal units") & (t.text == "zorp")].iloc[0]
    assert word.p_exact < 1e-6 and word.q < 0.001 and word.p == 1 / 200


def test_counts_are_those_of_the_text(tiny_run):
    run = Run(tiny_run)
    c = dsl_probe.Comparison(run, "b-vs-a")
    raw = c.table[(c.table.matched == "raw") & (c.table.domain == "math")].set_index("text").loc["zorp"]
    t = run.traces(["text", "model", "domain"])
    t = t[(t.model == "model-b") & (t.domain == "math")]
    assert raw.count_a == t.text.str.count("zorp").sum()
    assert raw.support_a == t.text.str.contains("zorp").sum()


def test_a_model_against_itself_finds_nothing(tiny_run):
    done = compare(Run(tiny_run), a="model=model-b", b="model=model-b", name="itself")
    itself = done.table[done.table.b == "model=model-b"]
    assert (itself.p_adj == 1).all() and (itself.z == 0).all()
    assert done.result.discoveries_a == done.result.discoveries_b == 0
    assert done.result.accuracy_difference == [0, 0, 0]
    plug_in = done.sharing[done.sharing.measure == "morisita_horn"]
    assert plug_in.value.nunique() == 1


def test_random_splits_of_one_model_find_nothing(tiny_run):
    corpus = Corpus.load(Run(tiny_run), ["model"])
    mine = np.flatnonzero(np.array(corpus.traces["model"].to_pylist()) == "model-b")
    found = 0
    for seed in range(10):
        side = np.random.default_rng(seed).random(len(mine) // 2) < 0.5
        first = np.where(side, mine[::2], mine[1::2])
        second = np.where(side, mine[1::2], mine[::2])
        _, paired, _ = compare_rows(corpus, CompareConfig("a", "b", permutations=199), first, second, tests=("rate",))
        assert paired.design == "paired"
        problem = np.random.default_rng(seed).permutation(corpus.problem.max() + 1) % 2 == 0
        half = problem[corpus.problem[mine]]
        _, apart, _ = compare_rows(
            corpus, CompareConfig("a", "b", permutations=199), mine[half], mine[~half], tests=("rate",)
        )
        assert apart.design == "unpaired"
        found += bool(paired.discoveries_a + paired.discoveries_b)
        found += bool(apart.discoveries_a + apart.discoveries_b)
    assert found <= 4  # 97.5 % binomial bound of 20 tests at .05


def test_swapping_the_groups_swaps_the_signs(tiny_run):
    run = Run(tiny_run)
    there = dsl_probe.Comparison(run, "b-vs-a").table
    back = compare(run, a="model=model-a", b="model=model-b", permutations=199, name="a-vs-b").table
    both = there.merge(back, on=["domain", "matched", "motif_id"], suffixes=("", "_back"))
    assert len(both) == len(there) == len(back)
    np.testing.assert_allclose(both.z, -both.z_back)
    np.testing.assert_allclose(both.log_odds, -both.log_odds_back, atol=1e-9)
    np.testing.assert_allclose(both.p_adj, both.p_adj_back)


def test_unshared_problems_make_it_unpaired_and_say_so(tmp_path):
    content = [r | {"problem_id": r["model"] + r["problem_id"]} for r in rows()]
    done = compare(make(tmp_path, content), a="model=model-b", b="model=model-a", permutations=199)
    assert done.result.design == "unpaired" and "different problems" in done.summary()
    assert done.table.q.isna().all() and done.table.p_exact.isna().all()
    found = done.discoveries()
    assert len(found) and all("zorp" in t.split() for t in found.text)


def test_without_problem_ids_the_test_is_unpaired(tmp_path):
    content = [{k: v for k, v in r.items() if k not in ("problem_id", "prompt")} for r in rows()]
    assert (
        compare(make(tmp_path, content), a="model=model-b", b="model=model-a", permutations=99).result.design
        == "unpaired"
    )


def test_length_alone_is_no_discovery_at_equal_units(tmp_path):
    rng = random.Random(1)
    words = WORDS[:15]
    content = [
        {
            "text": " ".join(rng.choices(words, k=40 if model == "short" else 160)),
            "model": model,
            "problem_id": f"p{i}",
            "prompt": f"question {i}",
        }
        for i in range(60)
        for model in ("short", "long")
    ]
    done = compare(make(tmp_path, content), a="model=long", b="model=short", permutations=199)
    assert done.result.discoveries_a == done.result.discoveries_b == 0


def test_equal_units_are_equal_and_do_not_look_at_the_group(tiny_run):
    corpus = Corpus.load(Run(tiny_run), ["model"])
    model = np.array(corpus.traces["model"].to_pylist())
    a, b = np.flatnonzero(model == "model-a"), np.flatnonzero(model == "model-b")
    there, back = choose_sample(corpus, a, b, 5), choose_sample(corpus, b, a, 5)
    kept = cuts(there, corpus.units)
    total = np.zeros((2, len(there.item_domain)))
    np.add.at(total, (there.group, there.item), kept)
    # Each trace's share is rounded down to whole units.
    assert np.abs(total[0] - total[1]).max() <= 2 and (kept <= corpus.units[there.rows]).all()
    of = dict(zip(there.rows, kept, strict=True))
    assert all(of[r] == k for r, k in zip(back.rows, cuts(back, corpus.units), strict=True))


def test_what_domains_speak_of_can_be_left_out_of_sharing(tmp_path):
    run = make(tmp_path, rows())
    found = {}
    for name, content in (("all", ()), ("words", ("NUMBER", *TOPIC["math"][1:], *TOPIC["logic"]))):
        done = compare(run, a="model=model-b", b="model=model-a", permutations=99, content=content, name=name)
        t = done.sharing[(done.sharing.measure == "morisita_horn") & (done.sharing.group == "model=model-a")]
        found[name] = float(t.value.iloc[0])
        motifs = done.table.drop(columns=["a", "b"])
        assert motifs.equals(dsl_probe.Comparison(run, "all").table.drop(columns=["a", "b"]))
    assert found["all"] < 0.75 and found["words"] > 0.97


def test_samples_beyond_the_other_groups_are_left_out(tmp_path):
    content = [r for r in rows(samples=3) if r["model"] == "model-a" or r["sample"] == 0]
    done = compare(make(tmp_path, content), a="model=model-b", b="model=model-a", permutations=99)
    assert (done.result.traces_a, done.result.traces_b) == (60, 60)
    assert (done.result.left_out_a, done.result.left_out_b) == (0, 120)


def test_one_problem_id_with_two_prompts_is_told_and_can_be_left_out(tmp_path):
    content = [
        r | {"prompt": r["prompt"] + (" now" if r["model"] == "model-a" and "/1" in r["problem_id"] else "")}
        for r in rows()
    ]
    run = make(tmp_path, content)
    groups = {"a": "model=model-b", "b": "model=model-a", "permutations": 99}
    done = compare(run, **groups, name="told")
    assert done.result.prompts_differ == 22 and "22 of them with other prompts" in done.summary()
    strict = compare(run, **groups, same_prompt=True, name="strict")
    assert (strict.result.prompts_differ, strict.result.problems) == (0, 38)
    assert strict.result.left_out_a == strict.result.left_out_b == 44


def test_answers_without_reasoning_are_left_out(tmp_path):
    content = [r | {"text": "7"} if r["model"] == "model-a" and r["domain"] == "math" else r for r in rows()]
    done = compare(make(tmp_path, content), a="model=model-b", b="model=model-a", permutations=99)
    assert done.result.problems == 30 and done.result.domains == {"all": "paired", "logic": "paired"}


def test_novelty_without_a_base_is_not_tested_never_zero(tmp_path):
    content = [r | {"start_model": None} for r in rows()]
    done = compare(make(tmp_path, content), a="model=model-b", b="model=model-a", permutations=99)
    assert (done.table.novelty == "not tested").all()


def test_same_command_same_bytes_and_other_setting_is_refused(tiny_run):
    run = Run(tiny_run)
    config = CompareConfig("model=model-b", "model=model-a", permutations=99, name="again")
    compare(run, config)
    first = run.outputs("compare.again")
    compare(run, config, force=True)
    assert run.outputs("compare.again") == first
    with pytest.raises(UserError, match="permutations was 99, now 199"):
        compare(run, CompareConfig("model=model-b", "model=model-a", permutations=199, name="again"))


@pytest.mark.parametrize(
    "options, word",
    [
        ({"a": "model=model-c", "b": "model=model-a"}, "no trace has model=model-c"),
        ({"a": "model=model-a", "b": "model=model-b", "permutations": 9}, "permutations is 9"),
        ({"a": "model=model-a", "b": "model=model-b", "min_problems": 500}, "too few problems"),
        ({"a": "model=model-a", "b": "model=model-b", "name": "../x"}, "letters, digits"),
    ],
)
def test_errors_name_the_fix_and_leave_nothing_behind(tiny_run, options, word):
    run = Run(tiny_run)
    before = sorted(p.name for p in (run.path / "stages").iterdir())
    with pytest.raises(UserError, match=word):
        compare(run, **options)
    assert sorted(p.name for p in (run.path / "stages").iterdir()) == before


def test_names_of_comparisons_are_readable_and_differ():
    first = comparison_id(CompareConfig("model=Org/Model A", "model=b"))
    assert first.startswith("org-model-a-vs-b-") and first != comparison_id(
        CompareConfig("model=Org/Model.A", "model=b")
    )


def test_a_base_with_too_few_problems_leaves_out_its_pairs_alone(tmp_path, capsys):
    content = [r | {"model": "base", "trace_id": "x" + r["trace_id"]} for r in rows()[:4] if r["model"] == "model-a"]
    run = make(tmp_path, rows() + content)
    done = compare(run, a="model=model-b", b="model=model-a", base="model=base", permutations=99)
    assert not done.result.against_base and done.result.base == "model=base" and done.result.problems == 60
    assert (
        set(done.table.b) == {"model=model-a"}
        and "left out: model=model-b against model=base" in capsys.readouterr().err
    )


def test_three_groups_are_three_families(tmp_path):
    content = rows() + [
        r | {"model": "base", "trace_id": "x" + r["trace_id"], "regime": "base"}
        for r in rows(seed=1) if r["model"] == "model-a"
    ]  # fmt: skip
    run = make(tmp_path, content)
    done = compare(run, a="model=model-b", b="model=model-a", base="model=base", permutations=199)
    pairs = [("model=model-b", "model=model-a"), ("model=model-b", "model=base"), ("model=model-a", "model=base")]
    assert list(dict.fromkeys(zip(done.table.a, done.table.b, strict=True))) == pairs
    assert "zorp" in set(done.discoveries(b="model=base").text)
    assert not len(done.discoveries(a="model=model-a", b="model=base"))
    alone = compare(run, a="model=model-b", b="model=base", permutations=199)
    mine, own = (
        t[t.b == "model=base"].set_index(["a", "domain", "matched", "motif_id"]) for t in (done.table, alone.table)
    )
    np.testing.assert_allclose(mine.loc[own.index].p_adj, own.p_adj)
    zorp = done.discoveries(b="model=base").set_index("text").loc["zorp"]
    assert zorp.verdict.endswith("undecided, effects not run") and zorp.novelty.startswith("absent")
    head = done.discoveries()
    assert head[head.text == "zorp"].part_of.isna().all() and head[head.text != "zorp"].part_of.notna().all()


def test_equal_accuracy_stands_beside(tiny_run):
    done = dsl_probe.Comparison(Run(tiny_run), "b-vs-a")
    same = done.discoveries(matched="equal accuracy")
    assert "zorp" in set(same.text) and done.result.discoveries_same_accuracy == len(same)
