"""Equations written in a text: values against Python's own arithmetic, and where they stand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl_probe.collect.domains import load_domain
from dsl_probe.collect.domains.equations import state
from dsl_probe.types import Problem

P = Problem("p", "math", "")


def found(text):
    return [(e.value, e.written) for e in state(P, text)]


@pytest.mark.parametrize(
    "text, want",
    [
        ("so 3 + 4 * 2 = 11 and 5 - 2 = 4.", [("11", "11"), ("3", "4")]),
        ("48/2 = 24 clips, 1,200 - 200 = $1000", [("24", "24"), ("1000", "1000")]),
        ("7 × 8 = 56; 3 \\times 4 = 12; 1/4 = 0.25", [("56", "56"), ("12", "12"), ("0.25", "0.25")]),
        ("2x + 3 = 5; (2+3) = 5; y - 2 + 4 = 6; 1 / 3 = .33; 5 / 0 = 1", []),
        ("9+9=18=20-2", [("18", "18")]),
        ("2 - 5 = -3", [("-3", "-3")]),
        ("", []),
    ],
)
def test_by_hand(text, want):
    assert found(text) == want


@given(st.lists(st.integers(0, 999), min_size=2, max_size=6), st.data())
def test_values_are_those_of_python(numbers, data):
    signs = [data.draw(st.sampled_from("+-*")) for _ in numbers[1:]]
    side = "".join(f"{n}{s}" for n, s in zip(numbers, [*signs, ""], strict=True))
    assert found(f"we have {side} = 5 .") == [(str(eval(re.sub(r"\b0+(?=\d)", "", side))), "5")]


def test_offsets_are_of_the_right_side_and_megabytes_end():
    text = "then 3 + 4 = 7, so 7 - 2 = 5"
    assert [text[e.start : e.stop] for e in state(P, text)] == ["7", "5"]
    for hostile in ("1+" * 500_000, "1 " * 500_000, "1=" * 500_000, "1 + 1 = " * 100_000, "," * 10**6, "1," * 500_000):
        state(P, hostile)


@pytest.mark.parametrize("name", ["math", "gsm8k", "countdown"])
def test_domains_tell_them(name):
    tells = load_domain(name).state
    assert tells is not None and [e.value for e in tells(P, "2 + 2 = 5")] == ["4"]
