"""Units: what is one, where it stands, and which are copied from the prompt."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dsl_probe.mine.echoes import flag_units
from dsl_probe.mine.segment import segment, split
from dsl_probe.mine.slots import slot_forms
from dsl_probe.types import ECHO, FORMAT, PREFIX


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


def test_long_inputs_take_linear_time():
    assert len(segment(["a " * 500_000]).ids) == 500_000
    assert len(segment(["-" * 1_000_000]).ids) == 1
    assert len(segment(["1" * 1_000_000 + "x"]).ids) == 2
    assert len(segment(["1, " * 300_000]).ids) == 2
    assert len(segment(["<" * 200_000 + "|"]).ids) == 2
