# ruff: noqa: E501 (tables)
"""Finding an answer in hostile text, and comparing it."""

from fractions import Fraction

import pytest

from dsl_probe.collect.verify import (
    answer_part,
    as_number,
    boxed,
    choice,
    find_answer,
    last_number,
    plain,
    same_number,
    same_text,
    tagged,
    verify_exact,
)

FINDS = [
    # completion, the answer, how it was found
    ("<think>x</think><answer>4</answer>", "4", "answer tag"),
    ("<think>\\boxed{3}</think> It is \\boxed{4}.", "4", "box"),
    ("<think>a</think>b<think>\\boxed{3}</think>\\boxed{4}", "4", "box"),
    ("<think><answer>4</answer></think>", "4", "answer tag"),
    ("<think> never closes <answer>4</answer>", "4", "answer tag"),
    ("<answer>3</answer> no: <answer>4</answer>", "4", "answer tag"),
    ("<answer>4</answer> <answer></answer>", "4", "answer tag"),
    ("<answer>4", "4", "answer tag"),
    ("<answer>3 <answer>4</answer>", "4", "answer tag"),
    ("<ANSWER> 4 </ANSWER>", "4", "answer tag"),
    ("4</answer>", "4", "answer tag"),
    ("<answer>so \\boxed{3} or \\boxed{4}</answer>", "4", "box in answer tag"),
    ("<answer>4</answer> \\boxed{5}", "4", "answer tag"),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}", "box"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}", "box"),
    ("\\boxed{3} then \\boxed{4", "3", "box"),
    ("\\boxed{4} and \\boxed{}", "4", "box"),
    ("\\boxed 4", "4", "box"),
    ("\\boxed {4}", "4", "box"),
    ("\\fbox{4}", "4", "box"),
    ("\\boxed{\\boxed{4}}", "\\boxed{4}", "box"),
    ("boxed{4}", "4", "box"),
    ("so #### 4", "4", "####"),
    ("#### 3\nno\n#### 4\nbye", "4", "####"),
    ("The answer is 4.", "4", "stated"),
    ("The final answer is: **4**", "4", "stated"),
    ("**Answer:** 4", "4", "stated"),
    ("The answer is $\\frac{1}{2}$, as shown.", "\\frac{1}{2}", "stated"),
    ("The answer is \\(x+1\\).", "x+1", "stated"),
    ("the answer is 3. Wait. the answer is 4.", "4", "stated"),
    ("The answer is:\n\n4", "4", "stated"),
    ("The answer is 3.5.", "3.5", "stated"),
    ("答案是 4。", "4", "stated"),
    ("\\boxed{4}<|im_end|>\\boxed{5}", "4", "box"),
    ("\\boxed{4}</s> Question 2 ... \\boxed{5}", "4", "box"),
    ("\\boxed{4}<｜end▁of▁sentence｜>", "4", "box"),
]
FINDS_NOT = [
    "", " \n ", "I do not know.", "\\boxed{4", "\\boxed{\\frac{1}{2}", "<answer></answer>", "<answer>  ", "\\boxed{}",
    "<think>the answer is 4", "maybe the answer is 4. Let me", "If the answer is 4, then", "The answer is not 4.",
    "The answer is 4. But wait, maybe the problem", "####", "answer", "boxed 4", "</answer>", "<|im_end|>",
]  # fmt: skip


@pytest.mark.parametrize(("text", "answer", "how"), FINDS)
def test_finds(text, answer, how):
    found = find_answer(text)
    assert found is not None and (found.text, found.how) == (answer, how)


@pytest.mark.parametrize("text", FINDS_NOT)
def test_finds_nothing(text):
    assert find_answer(text) is None


def test_parts():
    assert answer_part("<think>a</think> b") == " b"
    assert answer_part("<think>a</think> ") == "<think>a</think> "
    assert answer_part("<|im_end|>") == "<|im_end|>"
    assert tagged("<a>1</a> <a>2", "a") == ["1", "2"]
    assert boxed("{\\boxed{1}} \\boxed{\\text{a}{b}} }}}") == ["1", "\\text{a}{b}"]
    assert last_number("from 1,200 to −3.50 kg") == "−3.50" and last_number("none") is None
    assert last_number("7" + " word" * 40) is None and last_number("<think> 7") is None


NUMBERS = [
    ("18", 18), ("18.", 18), ("-3.50", Fraction(-7, 2)), ("−4", -4), ("1,234", 1234), ("1,234,567.5", Fraction(2469135, 2)),
    ("\\frac{3}{4}", Fraction(3, 4)), ("\\dfrac34", Fraction(3, 4)), ("-\\frac{3}{4}", Fraction(-3, 4)), ("3/4", Fraction(3, 4)),
    ("$18", 18), ("\\$18", 18), ("$\\$32,\\!348$", 32348), ("50%", 50), ("50\\%", 50), ("90^\\circ", 90), ("90°", 90),
    ("1e3", 1000), ("2.5\\times10^{3}", 2500), ("10^{-2}", Fraction(1, 100)), ("10^3", 1000), (".5", Fraction(1, 2)),
    ("\\text{18}", 18), ("**18**", 18), ("1{,}000", 1000), ("0.\\overline{3}", Fraction(1, 3)), ("1.2\\overline{34}", Fraction(611, 495)),
    ("007", 7), ("+5", 5), ("12,34", None), ("1/0", None), ("\\frac{1}{0}", None), ("x", None), ("", None), ("1 or 2", None),
    ("nan", None), ("inf", None), ("1e9999", None), ("٣", None), ("²", None), ("1_000", None), ("0x10", None), ("9**9", None), ("1.2.3", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers(text, value):
    assert as_number(text) == value


def test_comparisons():
    assert same_number("0.5", "1/2") and not same_number("0.33", "1/3") and not same_number("x", "x")
    assert same_text("\\text{Evelyn}", "evelyn") and not same_text("x", "X") and same_text("\\dfrac12", "\\frac12")
    assert plain("\\left( 3 , \\right)") == "(3,)" and plain("\\leftarrow") == "\\leftarrow"
    for text in ("C", "(C)", "C)", "C) 12 apples", "\\text{C}", "\\text{(C)}", "Option C", "C.", "**C**"):
        assert choice(text) == "C", text
    for text in ("", "c", "CD", "Because", "12"):
        assert choice(text) is None, text


def test_exact():
    assert verify_exact("blue_box", "<answer> blue_box </answer>").correct
    assert verify_exact("a b", "a  b\n").correct
    assert verify_exact("a", "<answer>b</answer>").correct is False
    assert verify_exact("a", "").reason == "no answer" and verify_exact(None, "x").correct is None


HOSTILE = {
    "open boxes": "\\boxed{" * 150_000,
    "nested boxes": "\\boxed{" * 60_000 + "1" + "}" * 60_000,
    "open tags": "<answer>" * 130_000,
    "closing thinks": "</think>" * 130_000,
    "answer is": "the answer is " * 70_000,
    "spaces": "answer" + " " * 1_000_000,
    "digits": "1" * 1_000_000,
    "commas": "1,111" * 200_000,
    "backslashes": "\\" * 1_000_000,
    "dollars": "The answer is " + "$" * 1_000_000,
    "hashes": "#" * 1_000_000,
    "braces": "{}" * 500_000,
    "newlines": "answer:\n" * 120_000,
    "nul": "\0" * 1_000_000,
    "surrogates": "\ud800" * 500_000,
    "dotted i": "İ<answer>" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_ends(name):
    text = HOSTILE[name]
    found = find_answer(text)
    for use in (as_number, last_number, choice, plain):
        use(text)
        if found:
            use(found.text)
    verify_exact("x", text)
