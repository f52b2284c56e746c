"""Claims: each rule on both sides of each margin, roles in any place, and a run from end to end."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from corpus import rows, write_jsonl

import dsl_probe
from dsl_probe.share.claims import claims
from dsl_probe.share.claims import of_one as one
from dsl_probe.share.claims import of_two as two
from dsl_probe.share.claims.facts import Curve, Facts, Group, Motifs, Verified, motifs_against_base, oriented, turned
from dsl_probe.share.claims.foresee import Foresight
from dsl_probe.share.claims.threats import threats
from dsl_probe.share.claims.verdicts import Claim, above, below, together, widened
from dsl_probe.share.compare import compare
from dsl_probe.share.means import Estimate, difference_interval
from dsl_probe.types import COMPARISON, UserError

N = 10_000


def near(value: float, half: float = 0.001, n: int = N) -> Estimate:
    return Estimate(value, value - half, value + half, n)


GROUPS = {
    "a": Group("model=r", ("rl_only",), ("base",), problems=200, samples=2, units=50.0, accuracy=0.7),
    "b": Group("model=s", ("sft",), ("base",), problems=200, samples=2, units=50.0, accuracy=0.7),
    "base": Group("model=b", ("base",), ("unknown",), problems=200, samples=2, units=50.0, accuracy=0.7),
}
ROLES = {"rl_only": "a", "sft": "b", "base": "base"}


def facts(differences: dict | None = None, **more) -> Facts:
    """Facts in which RL-only is as good as the others by every measure, but for what is given."""
    found = {}
    for other in ("sft", "base"):
        for domain in ("all", "inside", "outside", "outside - inside"):
            for measure in ("accuracy", *two.INCOHERENCE):
                found["rl_only", other, measure, domain] = near(0.0)
    found["rl_only", "base", "accuracy", "all"] = near(0.2)
    return Facts(**{"groups": GROUPS, "roles": ROLES, "differences": found | (differences or {})} | more)


@pytest.mark.parametrize(
    ("other", "measure", "value", "half", "verdict"),
    [
        ("sft", "accuracy", -0.048, 0.001, "supported"),
        ("sft", "accuracy", -0.05, 0.001, "undecided"),
        ("sft", "accuracy", -0.052, 0.001, "contradicted"),
        ("base", "accuracy", 0.002, 0.001, "supported"),
        ("base", "accuracy", 0.0, 0.001, "undecided"),
        ("base", "accuracy", -0.002, 0.001, "contradicted"),
        ("sft", "repetition", 0.018, 0.001, "supported"),
        ("sft", "repetition", 0.02, 0.001, "undecided"),
        ("sft", "repetition", 0.022, 0.001, "contradicted"),
        ("sft", "out_of_lexicon", 0.018, 0.001, "supported"),
        ("sft", "out_of_lexicon", 0.022, 0.001, "contradicted"),
        ("sft", "switches", 0.9, 0.05, "supported"),
        ("sft", "switches", 1.0, 0.05, "undecided"),
        ("sft", "switches", 1.1, 0.05, "contradicted"),
        # A 95 % interval clear of the margin, one at 1 - .05 / 5 not: half a width of .001 becomes .0013.
        ("sft", "accuracy", -0.0488, 0.001, "undecided"),
    ],
)
def test_legible_without_sft(other, measure, value, half, verdict):
    made = two.legible_without_sft(facts({("rl_only", other, measure, "all"): near(value, half)}))
    assert made.verdict == verdict
    assert made.effect == "accuracy, RL-only - fine-tuned" and made.n == N


MOTIFS = Motifs(tested=500, problems=200, over=9, novel=3, stable=2, load_bearing=1)
GRAMMAR = {"math": ("supported: the grammar explains unseen traces better than the Markov model", near(-0.1))}


@pytest.mark.parametrize(
    ("change", "grammars", "verdict", "word"),
    [
        ({}, GRAMMAR, "supported", "1 load-bearing"),
        ({}, {}, "undecided", "0 of 0 domains"),
        ({"load_bearing": 0}, GRAMMAR, "undecided", "0 load-bearing"),
        ({"load_bearing": None}, GRAMMAR, "undecided", "Effects not run"),
        ({"novel": None}, GRAMMAR, "undecided", "not tested"),
        ({"novel": 0, "stable": 0}, {}, "contradicted", "20 of 200 problems (10%)"),
        ({"novel": 0, "stable": 0, "problems": 100}, {}, "contradicted", "(20%)"),
        ({"novel": 0, "stable": 0, "problems": 99}, {}, "undecided", "too few to tell"),
        ({"novel": 0, "stable": 0, "paired": False}, {}, "undecided", "not paired"),
    ],
)
def test_own_language(change, grammars, verdict, word):
    made = two.own_language(facts(motifs=replace(MOTIFS, **change), grammars=grammars))
    assert made.verdict == verdict and word in made.reading


def test_without_the_contrast_to_base_the_language_is_undecided_and_the_command_is_named():
    made = two.own_language(facts())
    assert made.verdict == "undecided" and "--a model=r --b model=b" in made.reading


@pytest.mark.parametrize(
    ("sharing", "unseen", "verdict"),
    [
        (-0.052, -0.052, "supported"),
        (-0.052, -0.05, "undecided"),
        (-0.05, -0.052, "undecided"),
        (-0.052, -0.048, "contradicted"),
        (-0.048, -0.052, "contradicted"),
        (-0.052, None, "undecided"),
        (0.1, None, "contradicted"),
        (None, -0.052, "undecided"),
        (None, 0.0, "contradicted"),
    ],
)
def test_shared_vocabulary(sharing, unseen, verdict):
    key = ("rl_only", "sft", "accuracy", "outside")
    made = two.shared_vocabulary(
        facts(
            {key: None if unseen is None else near(unseen)},
            sharing=None if sharing is None else near(sharing),
            rl_domains=() if unseen is None else ("math",),
        )
    )
    assert made.verdict == verdict
    assert ("--rl-domains" in made.reading) == (unseen is None) and ("--a model=r" in made.reading) == (sharing is None)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.048, "supported"),
        (-0.048, "supported"),
        (0.05, "undecided"),
        (0.052, "contradicted"),
        (-0.06, "contradicted"),
    ],
)
def test_alike(value, verdict):
    made = two.alike(facts({("rl_only", "sft", "accuracy", "all"): near(value)}))
    assert made.verdict == verdict
    published = [e for e in made.evidence if e["source"] == "published"]
    assert [round(e["value"], 3) for e in published] == [-0.018, -0.05] and "Published" in made.reading


@pytest.mark.parametrize(
    ("outside", "inside", "verdict"),
    [
        (0.03, 0.0, "supported"),
        (0.03, 0.018, "undecided"),  # outside - inside holds the margin
        (0.02, 0.0, "undecided"),
        (0.01, 0.0, "contradicted"),
        (0.05, 0.03, "contradicted"),
        (0.05, 0.02, "undecided"),
    ],
)
def test_incoherent_outside(outside, inside, verdict):
    keys = [("rl_only", "base", "repetition", place) for place in ("outside", "inside", "outside - inside")]
    values = [near(outside), near(inside), near(outside - inside)]
    made = two.incoherent_outside(facts(dict(zip(keys, values, strict=True)), rl_domains=("math",)))
    assert made.verdict == verdict
    unknown = two.incoherent_outside(facts(dict(zip(keys, values, strict=True))))
    assert unknown.verdict == "undecided" and "--rl-domains" in unknown.reading


FORESIGHT = Foresight(near(0.7), near(0.6), near(0.1), near(0.05), near(0.06), null=0.5, p=0.05, traces=400, motifs=50)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "supported"),
        ({"auroc": near(0.552)}, "supported"),
        ({"auroc": near(0.55)}, "undecided"),
        ({"auroc": near(0.548)}, "contradicted"),
        ({"gain": near(0.0)}, "undecided"),
        ({"gain": near(-0.1)}, "undecided"),
        ({"p": 0.06}, "undecided"),
    ],
)
def test_predictable_errors(change, verdict):
    assert one.predictable_errors(facts(foresight=replace(FORESIGHT, **change))).verdict == verdict


def test_errors_without_a_fit_are_undecided():
    made = one.predictable_errors(facts())
    assert made.verdict == "undecided" and made.value is None and made.effect is None


@pytest.mark.parametrize(
    ("passed", "slope", "verdict"),
    [
        (0.5, 0.002, "supported"),
        (0.5, 0.02, "supported"),
        (0.5, 0.0, "contradicted"),
        (0.5, -0.02, "contradicted"),
        (0.05, 0.02, "supported"),
        (0.95, 0.02, "supported"),
        (0.96, 0.02, "undecided"),
        (0.04, 0.02, "undecided"),
    ],
)
def test_log_compute(passed, slope, verdict):
    curve = Curve("r", passed, {"majority_slope": near(slope), "pass_slope": near(0.1)}, 4)
    made = one.log_compute(facts(curves=(curve,), tree=(40, 3)))
    assert made.verdict == verdict and ("saturated" in made.reading) == (passed in (0.96, 0.04))
    assert {e["value"] for e in made.evidence} >= {40, 3}


def test_a_wide_slope_and_too_few_chains_are_undecided():
    curve = Curve("r", 0.5, {"majority_slope": near(0.01, 0.02), "pass_slope": near(0.1)}, 4)
    assert one.log_compute(facts(curves=(curve,))).verdict == "undecided"
    made = one.log_compute(facts())
    assert made.verdict == "undecided" and "2 chains" in made.reading and "--samples 4" in made.reading


@pytest.mark.parametrize(
    ("distinct", "share", "verdict"),
    [(100, 0.052, "supported"), (99, 0.5, "undecided"), (500, 0.05, "undecided"), (500, 0.048, "contradicted")],
)
def test_verified_data(distinct, share, verdict):
    assert one.verified_data(facts(verified=Verified(distinct, 50, near(share), 7))).verdict == verdict
    assert one.verified_data(facts()).verdict == "undecided"


def test_missing_roles_leave_open_and_name_what_brings_them():
    lone = facts(roles={"sft": "a"}, elsewhere={"rl_only": "model=x y,regime=rl_only", "base": "model=b,regime=base"})
    for made in claims(lone)[:5]:
        assert made.verdict == "undecided" and "RL-only" in made.reading
        assert "dsl-probe compare RUN --a 'model=x y,regime=rl_only' --b model=r" in made.reading
    nowhere = two.alike(facts(roles={"sft": "a"}))
    assert "no traces of regime rl_only on these problems" in nowhere.reading


def test_intervals_are_read_as_they_should():
    from scipy import stats

    found = widened(Estimate(1.0, 0.0, 2.0, 10), 5)
    ratio = stats.t.ppf(1 - 0.05 / 10, 9) / stats.t.ppf(0.975, 9)
    assert found.low == pytest.approx(1 - ratio) and found.high == pytest.approx(1 + ratio)
    # Nothing seen in 100 problems: up to 3 % may differ, which the binomial says exactly at 1 - .05^(1/100).
    assert widened(Estimate(0.0, 0.0, 0.0, 100), 1).high == pytest.approx(1 - 0.05 ** (1 / 100), rel=0.02)
    assert above(Estimate(0.0, 0.0, 0.0, 100), -0.02) is None and above(Estimate(0.0, 0.0, 0.0, 200), -0.02) is True
    assert above(Estimate(0.5, np.nan, np.nan, 1), 0.0) is None and below(near(0.0), 0.5) is True
    assert together([]) == "undecided"


def test_a_claim_survives_the_file():
    for made in claims(facts(motifs=MOTIFS, foresight=FORESIGHT)):
        stored = json.loads(json.dumps(made.as_json(), allow_nan=False))
        assert Claim.from_json(stored) == made


# ---- threats


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"units": 75.1}, "Lengths are unmatched: 1.5"),
        ({"accuracy": 0.76}, "Accuracy is unmatched: 0.70 to 0.76"),
        ({"starts": ("instruct",)}, "base, instruct"),
        ({"temperatures": (0.6,)}, "One temperature (0.6)"),
        ({"temperatures": (0.6, 1.0)}, "Temperatures differ or mix: 0.6, 1"),
        ({"templates": ("chat",)}, "templates differ"),
        ({"prefixed": 0.25}, "25% of the traces of A open with a forced prefix"),
        ({"problems": 99}, "A answered 99 problems"),
        ({"samples": 1}, "A has problems with one sample"),
        ({"truncated": 0.11}, "11% of the traces of A were truncated"),
        ({"regimes": ("unknown",)}, "The regime of A is unknown"),
        ({"regimes": ("sft", "sft_rl")}, "A mixes regimes"),
    ],
)
def test_each_threat_is_told_when_it_is_there_and_only_then(change, words):
    there = facts(groups=GROUPS | {"a": replace(GROUPS["a"], **change)})
    told = "\n".join(threats(there, "own-language"))
    assert words in told and words not in "\n".join(threats(facts(), "own-language"))


def test_threats_on_the_margin_and_of_the_whole():
    groups = GROUPS | {"a": replace(GROUPS["a"], units=75.0, accuracy=0.75, truncated=0.1, problems=100)}
    told = "\n".join(threats(facts(groups=groups), "own-language"))
    assert not any(word in told for word in ("unmatched: 1", "truncated", "fewer than"))
    assert "One model of each regime" in told and "Effects not run" in told and "No grammar" in told
    more = facts(groups=GROUPS | {"a": replace(GROUPS["a"], models=2)}, prompts_differ=3, design="unpaired")
    told = "\n".join(threats(more, "r1-zero-and-r1-alike"))
    assert "One model of each" not in told and "3 paired problems" in told and "different problems" in told
    assert "Sampling was not recorded" in told and "Effects" not in told


# ---- reading the facts


def test_roles_decide_the_sign():
    row = {
        "group": "A - B",
        "measure": "m",
        "domain": "all",
        "value": 0.1,
        "ci_low": 0.0,
        "ci_high": 0.3,
        "problems": 9,
    }
    there = oriented([row], {"rl_only": "a", "sft": "b"})
    back = oriented([row], {"rl_only": "b", "sft": "a"})
    key = ("rl_only", "sft", "m", "all")
    assert there[key] == Estimate(0.1, 0.0, 0.3, 9) and back[key] == turned(there[key])
    assert oriented([row | {"group": "A - base"}], {"rl_only": "a", "sft": "b"}) == {}


def contrast_table(pairs: list[tuple[str, str]]) -> pa.Table:
    """One over-represented new motif in the first of each pair, and one that its second has."""
    made = []
    for a, b in pairs:
        for text, z, novelty in (("zorp", 6.0, "absent from 9 base traces"), ("so", -6.0, "in base: 4")):
            shared = {"domain": "all", "matched": "equal units", "design": "paired", "text": text}
            made.append(shared | {"a": a, "b": b, "z": z, "p_adj": 0.001, "novelty": novelty, "stable": True})
    return pa.Table.from_pylist(made, schema=COMPARISON)


def test_motifs_are_those_of_rl_only_against_base():
    all_three = contrast_table([("model=r", "model=s"), ("model=r", "model=b"), ("model=s", "model=b")])
    found = motifs_against_base(all_three, GROUPS, ROLES, 200)
    assert found == Motifs(tested=2, problems=200, over=1, novel=1, stable=1, load_bearing=None, texts=("zorp",))
    swapped = motifs_against_base(contrast_table([("model=b", "model=r")]), GROUPS, ROLES, 200)
    assert (swapped.over, swapped.novel) == (1, 0)  # what the second of a pair over-uses: so, which the base has
    assert motifs_against_base(contrast_table([("model=r", "model=s")]), GROUPS, ROLES, 200) is None


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """RL-only, fine-tuned and base on the same problems, in both orders: RL-only is right more often and says zorp."""
    folder = tmp_path_factory.mktemp("three")
    content = rows(problems=40)
    content += [
        r | {"model": "model-c", "regime": "sft", "trace_id": r["trace_id"] + "/c", "correct": i % 3 == 0}
        for i, r in enumerate(r for r in rows(problems=40, seed=1) if r["model"] == "model-a")
    ]
    for i, r in enumerate(content):
        if r["model"] == "model-b":
            r |= {"correct": i % 8 != 0, "text": r["text"].replace("zorp", "zorp zorp zorp zorp")}
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "in.jsonl", content)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group="model=model-b", name="model-b"))
    options = {"base": "model=model-a", "permutations": 99, "rl_domains": ("math",)}
    there = compare(run, a="model=model-b", b="model=model-c", name="there", **options)
    back = compare(run, a="model=model-c", b="model=model-b", name="back", **options)
    return run, there, back


def test_swapped_groups_give_the_same_claims(three):
    _, there, back = three
    assert [c.id for c in there.claims] == [c.id for c in back.claims] and len(there.claims) == 8
    for first, second in zip(there.claims, back.claims, strict=True):
        assert first.verdict == second.verdict
        assert (first.value, first.n) == (pytest.approx(second.value, nan_ok=True), second.n)


def test_accuracy_is_that_of_the_traces(three):
    run, there, _ = three
    t = run.traces(["problem_id", "model", "correct", "domain"])
    mean = t.groupby(["model", "problem_id"]).correct.mean().unstack(0)
    want = difference_interval(mean["model-b"].to_numpy(), mean["model-c"].to_numpy(), paired=True)
    made = {c.id: c for c in there.claims}
    alike = made["r1-zero-and-r1-alike"]
    assert (alike.value, alike.ci_low, alike.ci_high, alike.n) == pytest.approx(want)
    assert alike.verdict == "contradicted" and made["legible-without-sft"].verdict == "contradicted"
    assert "Against it: out_of_lexicon" in made["legible-without-sft"].reading  # zorp is no word of the base
    outside = t[t.domain == "logic"].groupby(["model", "problem_id"]).correct.mean().unstack(0)
    listed = {e["measure"]: e for e in made["shared-vocabulary"].evidence}
    found = listed["accuracy outside the RL domains, RL-only - fine-tuned"]
    assert found["value"] == pytest.approx((outside["model-b"] - outside["model-c"]).mean())


def test_legibility_of_a_comparison(three):
    run, there, _ = three
    t = there.legibility
    assert set(t.group) == {"model=model-a", "model=model-b", "model=model-c", "A - B", "A - base", "B - base"}
    assert set(t.domain) == {"all", "math", "logic", "inside", "outside", "outside - inside"}
    assert set(t.reference) == {"base"}
    of = t.set_index(["group", "domain", "measure"]).value
    for measure in ("repetition", "out_of_lexicon"):
        for place in ("all", "inside"):
            pair = of["model=model-b", place, measure] - of["model=model-a", place, measure]
            assert of["A - base", place, measure] == pytest.approx(pair)
        gap = of["A - B", "outside", measure] - of["A - B", "inside", measure]
        assert of["A - B", "outside - inside", measure] == pytest.approx(gap)
    from dsl_probe.share.legibility import legibility_table

    plain = legibility_table(run, "model=model-a").to_pandas().set_index(["model", "domain", "measure"])
    own = t.set_index(["group", "domain", "measure"]).loc[("model=model-b", "math", "out_of_lexicon")]
    want = plain.loc[("model-b", "math", "out_of_lexicon")]
    assert (own.value, own.ci_low, own.problems) == (pytest.approx(want.value), pytest.approx(want.ci_low), 40)


def test_bits_of_the_language_are_those_of_its_grammar(three):
    from dsl_probe.share.claims.facts import _grammars

    run, _, _ = three
    bits = run.json("languages/model-b/grammar.json")
    assert {d: (v, list(e[:3])) for d, (v, e) in _grammars(run, "model=model-b").items()} == {
        d: (g["verdict"], g["bits"]["difference"]) for d, g in bits.items()
    }
    assert set(bits) == {"math", "logic"} and _grammars(run, "model=model-c") == {}


def test_verified_traces_are_counted_without_doubles(three):
    run, there, _ = three
    t = run.traces(["problem_id", "model", "correct", "text", "domain"])
    right = t[(t.model == "model-b") & t.correct].drop_duplicates(["domain", "problem_id", "text"])
    made = {c.id: c for c in there.claims}["verified-data"]
    assert {e["measure"]: e["value"] for e in made.evidence}["verified traces"] == len(right)
    assert made.verdict == "supported"


def test_a_model_and_its_base_alone(tiny_run):
    made = {c.id: c for c in dsl_probe.Comparison(dsl_probe.Run(tiny_run), "b-vs-a").claims}
    language = made["own-language"]
    assert language.verdict == "undecided" and language.reading.startswith("Effects not run")
    assert language.value >= 1 and language.n == 60
    assert any("No grammar" in threat for threat in language.threats)  # 30 problems a domain are too few for one
    assert made["legible-without-sft"].verdict == "undecided" and "regime sft" in made["legible-without-sft"].reading
    assert made["log-compute"].verdict == "undecided" and made["verified-data"].verdict == "undecided"


def test_a_domain_that_no_trace_has_is_refused(three):
    run, _, _ = three
    with pytest.raises(UserError, match="no trace has domain 'maths'; there are: logic, math"):
        compare(run, a="model=model-b", b="model=model-c", rl_domains=("maths",), name="wrong")
    assert "wrong" not in run.comparisons()


def test_the_command_says_a_line_a_claim(tiny_run, capsys):
    from dsl_probe.cli import main

    asked = ["compare", str(tiny_run), "--a", "model=model-b", "--b", "model=model-a", "--permutations", "199"]
    assert main([*asked, "--name", "b-vs-a"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("supported: ", "contradicted: ", "undecided: ")) for line in said) == 8
    assert main([*asked, "--name", "b-vs-a", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["claims"]) == 8
