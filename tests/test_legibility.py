"""Legibility: scripts against the character database, measures against their definitions, hostile text."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from corpus import rows, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

import dsl_probe
from dsl_probe.mine.segment import segment
from dsl_probe.share.legibility import Lexicon, legibility, legibility_table, lexicon, mean_logprobs, repeated
from dsl_probe.share.means import difference_interval, mean_interval, problem_means
from dsl_probe.share.scripts import SCRIPTS, script_counts, script_table
from dsl_probe.share.vocab import jackknife
from dsl_probe.store import Run

# How names in the Unicode Character Database begin, for letters of each script.
NAMES = {
    "LATIN ": "latin",
    "FULLWIDTH LATIN ": "latin",
    "CJK UNIFIED IDEOGRAPH": "han",
    "CJK COMPATIBILITY IDEOGRAPH": "han",
    "CYRILLIC ": "cyrillic",
    "GREEK ": "greek",
    "ARABIC LETTER ": "arabic",
    "ARABIC LIGATURE ": "arabic",
    "HANGUL ": "hangul",
    "HIRAGANA LETTER": "kana",
    "KATAKANA LETTER": "kana",
    "HEBREW LETTER": "other",
    "THAI CHARACTER": "other",
    "DEVANAGARI LETTER": "other",
    "CHEROKEE LETTER": "other",
    "ETHIOPIC SYLLABLE": "other",
}


def test_scripts_agree_with_the_names_of_the_letters():
    table, seen, wrong = script_table(), dict.fromkeys(NAMES, 0), []
    for code in range(0x30000):
        letter = chr(code)
        name = unicodedata.name(letter, "")
        start = next((s for s in NAMES if name.startswith(s)), None)
        # One name says Greek where the property Script says Common.
        if start and unicodedata.category(letter)[0] == "L" and name != "GREEK NUMERAL SIGN":
            seen[start] += 1
            if table[code] != SCRIPTS.index(NAMES[start]) + 1:
                wrong.append(name)
    assert not wrong
    assert min(seen.values()) > 30 and sum(seen.values()) > 80_000


def test_what_is_no_letter_has_no_script():
    table = script_table()
    no_letters = [c for c in range(0x110000) if unicodedata.category(chr(c))[0] in "NMPSZC" and chr(c).isprintable()]
    assert not table[no_letters].any()
    assert not table[[ord(c) for c in "7٣́😀\u200d\ufe0fµ𝑥ー\ud800\udfff"]].any()


def test_shares_and_mix_by_hand():
    out = legibility(["ab 汉汉", "abcd", "12 +", ""])
    assert out.scripts[0].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(out.script_mix, [1 / 3, 0, np.nan, np.nan])
    all_eight = legibility(["a汉жπعيかก"]).script_mix
    assert legibility(["a汉жπع한かก"]).script_mix == pytest.approx(1) and all_eight < 1
    assert out.units.tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize(
    "text, changes",
    [
        ("plain words only", 0),
        ("so 因此 then", 2),
        ("area is πr and θ and Δx", 0),
        ("area λόγος is", 2),
        ("let x = π, then θ", 0),
        ("設 x = 3 則 y", 0),
        ("かなと漢字", 0),  # one language
        ("漢字 и слова", 1),
        ("wоrd", 2),  # a Cyrillic о
        ("한국 漢字", 1),
        ("e\u0301t слова", 0),  # marks part letters: none has a neighbour, so `слова` has nothing to differ from
        ("été слова", 1),
    ],
)
def test_changes_of_script_by_hand(text, changes):
    assert script_counts([text])[1].tolist() == [changes]
    # Neighbouring texts are no neighbours.
    assert script_counts(["абв", text, "абв"])[1].tolist() == [0, changes, 0]


def test_switches_are_per_thousand_units():
    assert legibility(["so 因此 then"]).switches == pytest.approx(1_000 * 2 / 4)


@given(st.lists(st.lists(st.sampled_from("abcxyz"), max_size=60), max_size=4))
@settings(max_examples=80, deadline=None)
def test_repetition_equals_its_definition(texts):
    def brute(units):
        blocks = [tuple(units[i : i + 8]) for i in range(len(units) - 7)]
        again = [i for i, block in enumerate(blocks) if block in blocks[:i]]
        return [any(i <= k < i + 8 for i in again) for k in range(len(units))]

    got = repeated(segment([" ".join(t) for t in texts]))
    assert got.tolist() == [flag for t in texts for flag in brute(t)]


def test_repetition_of_a_loop_and_of_one_line_said_twice():
    loop, twice, once = " ".join(["wait"] * 100), "a b c d e f g h . a b c d e f g h", "a b c d e f g h"
    np.testing.assert_allclose(legibility([loop, twice, once, ""]).repetition, [0.99, 8 / 17, 0, np.nan])


def test_out_of_lexicon_counts_words_and_not_numbers():
    out = legibility(["The zorp adds 7 + x", "7", "Zorp 因"], {"the", "adds"})
    assert out.words.tolist() == [4, 0, 2]
    np.testing.assert_allclose(out.out_of_lexicon, [0.5, np.nan, 1])
    assert np.isnan(legibility(["the"]).out_of_lexicon).all()


def test_a_word_of_one_problem_alone_is_held_back_there():
    reference = ["both use add", "both use zorp", "zorp again"]
    words = lexicon(reference, np.array([0, 1, 1]))
    assert words.only == {"both": -1, "use": -1, "add": 0, "zorp": 1, "again": 1} and len(words) == 5
    out = legibility(["add zorp both"] * 3, words, np.array([0, 1, 2]))
    np.testing.assert_allclose(out.out_of_lexicon, [1 / 3, 1 / 3, 0])
    assert lexicon(reference).only == dict.fromkeys(words.only, -1)
    assert legibility(["the"], Lexicon({})).out_of_lexicon == 1


HOSTILE = [
    "",
    " ",
    "\ud800",
    "\udfff\ud800x",
    "e\u0301" * 50,
    "\u0301",
    "👩‍👩‍👧‍👦🏽",
    "\u200b\u200d\u2060",
    "\x00",
    "𒀀𐍈",
]


def test_hostile_text_gives_numbers_in_range():
    out = legibility([*HOSTILE, "".join(HOSTILE)], {"x"})
    for name, value in out.columns().items():
        known = value[~np.isnan(value)]
        assert len(value) == len(HOSTILE) + 1 and (known >= 0).all()
        assert name == "switches" or (known <= 1).all()
    assert np.isnan(out.scripts[0]).all() and out.units[0] == 0


@given(st.lists(st.text(alphabet=st.characters(), max_size=30), max_size=5))
@settings(max_examples=100, deadline=None)
def test_each_text_is_measured_as_if_alone(texts):
    together = legibility(texts, {"a"}).columns()
    for i, text in enumerate(texts):
        for name, value in legibility([text], {"a"}).columns().items():
            np.testing.assert_array_equal(value[0], together[name][i], err_msg=name)


def test_no_texts_at_all():
    assert all(value.shape == (0,) for value in legibility([], {"a"}).columns().values())


def test_the_interval_of_a_mean_is_the_jackknife_by_problem():
    x = np.array([0.1, 0.5, np.nan, 0.2, 0.9])
    known = x[~np.isnan(x)]
    low_high = jackknife(known.mean(), [(known.sum() - known) / 3]).interval(corrected=True)
    assert mean_interval(x)[:3] == pytest.approx(low_high) and mean_interval(x).problems == 4
    a, b = known, known[:3] ** 2
    both = jackknife(a.mean() - b.mean(), [(a.sum() - a) / 3 - b.mean(), a.mean() - (b.sum() - b) / 2])
    assert difference_interval(a, b, paired=False)[:3] == pytest.approx(both.interval(corrected=True))


def test_paired_differences_leave_out_what_either_lacks():
    a, b = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.0, 1.0, np.nan, 3.0])
    assert difference_interval(a, b, paired=True)[:1] == (1.5,)
    assert difference_interval(a, b, paired=True).problems == 2
    with pytest.raises(ValueError, match="as many values"):
        difference_interval(a, b[:2], paired=True)
    assert np.isnan(mean_interval(np.array([np.nan]))).tolist() == [True, True, True, False]
    assert np.isnan(mean_interval(np.array([2.0]))).tolist() == [False, True, True, False]


def test_a_traces_problem_counts_once():
    means = problem_means(np.array([1, 0, 0, 1.0, np.nan]), np.array([0, 0, 0, 1, 2]), 4)
    np.testing.assert_allclose(means, [1 / 3, 1, np.nan, np.nan])


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """model-b writes `zorp`, which no prompt and no trace of model-a holds; a scoring without the last trace."""
    run = Run.create(tmp_path_factory.mktemp("legible") / "run")
    folder = tmp_path_factory.mktemp("in")
    dsl_probe.import_traces(run, [write_jsonl(folder / "in.jsonl", rows(problems=12))])
    n = run.all_shards("traces", ["model"]).num_rows
    columns = {
        "trace_row": pa.array(range(n - 1), pa.int32()),
        "logprobs": pa.array([[None, -float(i % 3), -1.0] for i in range(n - 1)], pa.list_(pa.float32())),
    }
    run.begin("score.m", {}, {})
    run.finish("score.m", [run.write_shard("scores/m", 0, pa.table(columns))], {})
    return run


def test_rows_by_model_domain_and_regime(scored):
    table = legibility_table(scored, "model=model-a").to_pandas()
    assert len(table) == 2 * 3 * (8 + 4 + 1) and set(table.domain) == {"all", "math", "logic"}
    assert dict(zip(table.model, table.regime, strict=True)) == {"model-a": "base", "model-b": "rl_only"}
    of = table.set_index(["model", "domain", "measure"])
    assert (of.loc[("model-a", "all", "share_latin"), "value"], of.loc[("model-a", "all", "switches"), "value"]) == (
        1,
        0,
    )
    assert of.loc[("model-a", "all", "out_of_lexicon"), "value"] == 0
    found, t = of.loc[("model-b", "math", "out_of_lexicon")], scored.traces(["text", "model", "domain", "problem_id"])
    t = t[(t.model == "model-b") & (t.domain == "math")]
    # Of the 8 tags and marks of each trace none is a word; all other tokens but the answer are.
    share = t.text.str.count("zorp") / (t.text.str.split().str.len() - 6)
    assert found.value == pytest.approx(share.groupby(t.problem_id).mean().mean())
    assert found.ci_low > 0 and (found.problems, found.traces) == (12, 24) and found.reference == "model=model-a"


def test_without_a_reference_the_lexicon_is_that_of_the_prompts(scored):
    of = legibility_table(scored).to_pandas().set_index(["model", "domain", "measure"])
    assert of.loc[("model-b", "all", "out_of_lexicon"), "value"] > of.loc[("model-a", "all", "out_of_lexicon"), "value"]
    assert set(of.reference) == {"prompts"}


def test_mean_log_probabilities_are_those_of_the_scores(scored):
    (values,) = mean_logprobs(scored, 96).values()
    np.testing.assert_allclose(values, [*(-(i % 3 + 1) / 2 for i in range(95)), np.nan])
    table = legibility_table(scored).to_pandas()
    row = table[(table.measure == "logprob.m") & (table.domain == "all")]
    assert row.traces.sum() == 95 and (row.ci_low < row.value).all()
