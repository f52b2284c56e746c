"""Units: what is one, where it stands, and which are copied from the prompt."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl_probe.mine.echoes import echoes, flag_units
from dsl_probe.mine.segment import segment, split
from dsl_probe.mine.slots import DEFAULT_SLOTS, SLOTS, find_names, name_evidence, parse_slots, slot_forms
from dsl_probe.types import ECHO, FORMAT, PREFIX, UserError


def units(text: str, **options) -> list[str]:
    s = segment([text], **options)
    return [s.texts[i] for i in s.ids]


def test_kinds():
    s = segment(["Wait... can't \\frac{3.5}{1,200} 中文 x² <think>\\boxed{7} <|im_end|> a_1 naïve caf\u0065\u0301"])
    got = [(s.texts[i], s.kinds[i]) for i in s.ids]
    assert got == [
        ("wait", "word"),
        ("...", "punct"),
        ("can't", "word"),
        ("\\frac", "latex"),
        ("{", "punct"),
        ("3.5", "number"),
        ("}", "punct"),
        ("{", "punct"),
        ("1,200", "number"),
        ("}", "punct"),
        ("中", "cjk"),
        ("文", "cjk"),
        ("x²", "word"),
        ("<think>", "format"),
        ("\\boxed", "format"),
        ("{", "punct"),
        ("7", "number"),
        ("}", "punct"),
        ("<|im_end|>", "format"),
        ("a", "word"),
        ("_", "punct"),
        ("1", "number"),
        ("naïve", "word"),
        ("caf\u0065\u0301", "word"),
    ]


def test_a_block_of_numbers_is_one_unit_and_equal_blocks_are_equal():
    s = segment(["grid 1 2\n3 4 end", "1, 2, 3, 4", "1 2 3 5", "1 2 3"])
    blocks = [s.texts[i] for i in s.ids if s.kinds[i] == "data"]
    assert len(blocks) == 3 and blocks[0] == blocks[1] != blocks[2]
    assert [s.kinds[i] for i in s.ids[s.bounds[3] :]] == ["number"] * 3
    # The marker of the next list item is none of the numbers.
    assert units("1, 2, 3, 4\n 5. So") == [*units("1, 2, 3, 4"), "5", ".", "so"]
    assert slot_forms(blocks[:1], ["data"]) == ["<DATA>"] and slot_forms(blocks[:1], ["data"], ()) == blocks[:1]


def test_case_is_folded_unless_kept():
    assert units("Wait wait") == ["wait", "wait"]
    assert units("Wait wait", keep_case=True) == ["Wait", "wait"]


@given(st.lists(st.text(max_size=60), max_size=4))
def test_units_cover_all_but_white_space_and_offsets_are_true(texts):
    s = segment(texts)
    assert s.bounds[0] == 0 and s.bounds[-1] == len(s.ids) and len(s.bounds) == len(texts) + 1
    for i, text in enumerate(texts):
        pieces = [text[a:b] for a, b in zip(s.starts, s.stops, strict=True)][s.bounds[i] : s.bounds[i + 1]]
        spans = list(zip(s.starts, s.stops, strict=True))[s.bounds[i] : s.bounds[i + 1]]
        assert all(a < b for a, b in spans) and all(x[1] <= y[0] for x, y in itertools.pairwise(spans))
        # White space between numbers is part of a data block.
        assert "".join("".join(pieces).split()) == "".join(text.split())


@given(st.text(alphabet="ab1.- \\<>", max_size=40))
def test_units_of_a_text_do_not_depend_on_its_neighbours(text):
    alone = segment([text])
    among = segment(["a 1", text, "-- b"])
    a, b = among.bounds[1], among.bounds[2]
    assert [alone.texts[i] for i in alone.ids] == [among.texts[i] for i in among.ids[a:b]]
    np.testing.assert_array_equal(alone.starts, among.starts[a:b])


def flags(text: str, prompt: str, forced: int = 0, echo_min: int = 3) -> list[int]:
    mine, asked = split(segment([text, prompt]), 1)
    return flag_units(mine, asked, np.array([0]), [forced], echo_min).tolist()


def test_echo_is_a_long_enough_span_of_the_own_prompt():
    assert flags("so a b c d then b c", "a b c d") == [0, ECHO, ECHO, ECHO, ECHO, 0, 0, 0]
    assert flags("a b c", "") == [0, 0, 0]
    assert flags("", "a b c") == []
    # The third number makes it a block of data: copied, it is an echo by itself.
    assert flags("x 1 2 3 4 y", "1 2 3 4") == [0, ECHO, 0]


def test_forced_prefix_and_format_tags_are_flagged():
    assert flags("<think> okay so", "", forced=len("<think> okay")) == [FORMAT | PREFIX, PREFIX, 0]


def test_long_inputs_end():
    assert len(segment(["a " * 500_000]).ids) == 500_000
    assert len(segment(["-" * 1_000_000]).ids) == 1
    assert len(segment(["1" * 1_000_000 + "x"]).ids) == 2
    assert len(segment(["1, " * 300_000]).ids) == 2
    assert len(segment(["<" * 200_000 + "|"]).ids) == 2


def test_boards_are_blocks_of_data_and_arithmetic_is_none():
    s = segment(
        [
            "O X X O X\n* X O O X\n\nnow",
            "O X X O X * X O O X",
            ". _ 5 | 3 .",
            "2 * 3 * 4 * 5 * 6",
            "a b c d e f",
            "so. . .",
        ]
    )
    kinds = [[s.kinds[i] for i in s.ids[a:b]] for a, b in itertools.pairwise(s.bounds)]
    assert kinds[0] == ["data", "word"] and kinds[1] == ["data"] and s.ids[0] == s.ids[2] and kinds[2] == ["data"]
    assert "data" not in [*kinds[3], *kinds[4], *kinds[5]]


def test_white_space_and_case_are_kept_beside_the_unit():
    s = segment(["Wait a\nB2 \n\n NASA x", " \n", "é Éa"])
    assert [s.texts[i] for i in s.ids] == ["wait", "a", "b", "2", "nasa", "x", "é", "éa"]
    assert s.space.tolist() == [0, 1, 2, 0, 3, 1, 0, 1]
    assert s.case.tolist() == [2, 1, 2, 0, 3, 1, 1, 2]


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=14), max_size=5),
    st.lists(st.lists(st.integers(0, 3), max_size=14), min_size=1, max_size=3),
    st.integers(1, 5),
    st.data(),
)
def test_echoes_equal_brute_force(texts, prompts, least, data):
    asked = [data.draw(st.integers(0, len(prompts) - 1)) for _ in texts]
    alone = np.array([data.draw(st.booleans()) for _ in range(4)])
    want = []
    for text, p in zip(texts, asked, strict=True):
        grams = {tuple(prompts[p][i : i + least]) for i in range(len(prompts[p]) - least + 1)}
        echo = [bool(alone[u]) and u in prompts[p] for u in text]
        for i in range(len(text) - least + 1):
            if tuple(text[i : i + least]) in grams:
                echo[i : i + least] = [True] * least
        want += echo

    def flat(lists):
        return np.array([u for one in lists for u in one], np.int32), np.cumsum([0, *map(len, lists)])

    assert echoes(*flat(texts), *flat(prompts), asked, least, alone).tolist() == want


def test_echoes_of_long_and_periodic_texts_end():
    n = 1_000_000
    same = np.zeros(n, np.int32)
    for least in (2, 6, 1000):
        assert echoes(same, [0, n], same, [0, n], [0], least, np.zeros(1, bool)).all()
    many = np.arange(n, dtype=np.int32)
    assert echoes(many, [0, n], many, [0, n], [0], 6, np.zeros(n, bool)).all()
    assert not echoes(many[::-1].copy(), [0, n], many, [0, n], [0], 6, np.zeros(n, bool)).any()


def test_slots_are_applied_in_order_and_can_be_added():
    texts = ["12", "<DATA:1>", "x", "a", "θ", "π", "\\theta", "b2", "+", "\\leq", "hours", "<think>", "<MATH:x>", "z"]
    kinds = [
        "number",
        "data",
        "word",
        "word",
        "word",
        "word",
        "latex",
        "word",
        "punct",
        "latex",
        "word",
        "format",
        "math",
    ]
    kinds.append("word")
    changed = {t: f for t, f in zip(texts, slot_forms(texts, kinds, SLOTS), strict=True) if t != f}
    assert changed == {
        "12": "<NUM>",
        "<DATA:1>": "<DATA>",
        "x": "<VAR>",
        "z": "<VAR>",
        "θ": "<VAR>",
        "\\theta": "<VAR>",
        "+": "<OP>",
        "\\leq": "<OP>",
        "<MATH:x>": "<MATH>",
    }
    assert slot_forms(texts, kinds, ()) == texts
    assert set(DEFAULT_SLOTS) < set(SLOTS)
    own = slot_forms(
        ["12", "hour", "hours", "<think>"], ["number", "word", "word", "format"], ["T=hours?|.*1.*", "NUM"]
    )
    assert own == ["<T>", "<T>", "<T>", "<think>"]
    assert slot_forms(["12", "13"], ["number"] * 2, ["NUM", "T=12"]) == ["<NUM>"] * 2
    for bad in ("num", "FOO", "x=y", "A=("):
        with pytest.raises(UserError, match="--slots"):
            parse_slots([bad])
    with pytest.raises(UserError, match="it is a list of names now"):
        parse_slots(True)  # ty: ignore[invalid-argument-type]


def test_names_are_written_with_a_capital_in_mid_sentence():
    texts = ["So Alice met Bob. Then Alice said I'm here", "So we met Alice and Bob. Hence Will will see Bob"]
    texts += ["Hence The Final step. We will see the final Bob of the NASA"] * 3
    s = segment(texts)
    names = find_names(s.texts, s.kinds, name_evidence(s))
    assert [t for t, name in zip(s.texts, names, strict=True) if name] == ["alice", "bob"]
    kept = segment(texts, keep_case=True)
    names = find_names(kept.texts, kept.kinds, name_evidence(kept))
    assert {t for t, name in zip(kept.texts, names, strict=True) if name} == {"Alice", "Bob"}


@pytest.mark.parametrize(
    "text",
    [
        "word 12.5, $x$ \\frac " * 250_000,  # 5 MB in a line
        "x" * 5_000_000,
        "1 2 3 4 a " * 100_000,
        "X O " * 500_000 + "q",
        "1 " * 500_000 + "!",
        ". " * 500_000,
        "1,111" * 200_000,
        "it's'" * 200_000,
        "\u0301a\u0301" * 200_000,
        "\ud800" * 200_000,
        "سلام שלום " * 50_000,
    ],
    ids=range(11),
)
def test_large_texts_end(text):
    s = segment([text])
    assert s.stops[-1] == len(text.rstrip()) and (s.starts[1:] >= s.stops[:-1]).all()


def test_odd_texts():
    assert units("a\ud800b") == ["a", "\ud800", "b"]
    assert units("e\u0301te\u0301") == ["e\u0301te\u0301"] and units("\u0301") == ["\u0301"]
    assert units("שלום, مرحبا! हिन्दी") == ["שלום", ",", "مرحبا", "!", "हिन्दी"]
    none = segment([])
    assert none.bounds.tolist() == [0] and len(none.ids) == 0 and none.texts == []
    assert segment(["", ""]).bounds.tolist() == [0, 0, 0]
