"""Steps of a text: where one starts, and that none starts inside a formula, a code block or a number."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl_probe.mine.segment import LINE_BREAK, segment
from dsl_probe.mine.spans import CODE, MATH, find_spans, join_spans
from dsl_probe.mine.steps import find_steps


def steps(text: str) -> list[str]:
    """The steps as pieces of the text, without the space around them."""
    units = segment([text])
    first, bounds = find_steps(units)
    assert bounds.tolist() == [0, len(first)]
    cuts = [*units.starts[first].tolist(), len(text)]
    return [text[a:b].strip() for a, b in pairwise(cuts)]


def spans(text: str) -> list[str]:
    units = segment([text])
    return [text[units.starts[a] : units.stops[b - 1]] for a, b, _ in find_spans(units)]


@pytest.mark.parametrize(
    "marked",
    [
        "x is 3.14 here.| Then y.| Done",
        "take x.| Then y",
        "Wait!| Is it 5?!| Yes.",
        "Hmm... let me see... |Wait… |So",
        "one\n|two\n\n|three",
        "We know, e.g. this, i.e. That.| Dr. Smith vs. Mr. X.| See No. 5 and Fig. 2.| No.| Yes",
        "cats, dogs, etc. and so on, etc.| Then",
        "in the U.S. we say 5 p.m. sharp.| Fine",
        "1. Add them.| Then go.\n|2. Stop.\n|  3) End.\n|- a. item one.| And\n|**Step 1.** Next",
        'He said "go."| Then "why?" he asked.| (So.)| It',
        "The answer is 5.| The",
        "So 5! = 120 and n! + 1.| Stop!| Now",
        "let f.g be, a.b.c and file.py or 1.2.3 here",
        "so .| then .| done",
        "你好。|他说：“走吧！”|然后走。|3.5是数。",
        "はい。|「いいえ！」|そう",
        "مرحبا بك.| كيف حالك؟| جيد",
        "यह है।| वह",
        "Then $x = 1. So y$ holds.| Thus \\(a. B\\) or \\[\na.\n\nB! C\n\\] ok.| End",
        "It is $x = 5.$| Then",
        "It costs $5. |Then $10 more. |Fine",
        "run:\n|```python\nx = 1. Y\n\nprint(x)\n```\n|Then `a. B` is it.| So",
        "cut off:\n|```\n|x = 1. |Y\n|Z",
        "<think> okay.| So </think> |<answer> 5 </answer>|",
        "<think>\nSo.\n</think>\n|<answer>\n5\n</answer>\n|Done",
        "numbers: 38, 44, 5, 97\n|2. Then 1, 2, 3, 4.\n|  10) End",
        "<think>so</think>|<answer>5</answer>|Done",
        "grid:\n|1 2 3\n4 5 6\n|end",
        "a.\n\n\n|b",
        "",
        " \n ",
        "...",
        "$",
    ],
)
def test_where_steps_start(marked):
    want = [piece.strip() for piece in marked.split("|") if piece.strip()]
    assert steps(marked.replace("|", "")) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a $x+1$ b \\(y\\) c \\[ z \\] d $$ w $$", ["$x+1$", "\\(y\\)", "\\[ z \\]", "$$ w $$"]),
        ("`a b` and ``c ` d``", ["`a b`", "``c ` d``"]),
        ("costs $5 and $10, from $5-$10 or $ 3", []),
        ("\\$5 and \\$6 $x$", ["$x$"]),
        ("stray $x\n\nand $y$", ["$y$"]),
        ("stray \\(x and \\(y\\)", ["\\(y\\)"]),
        ("stray $x and \\(y\\)", ["\\(y\\)"]),
        ("stray `x\nand `y`", ["`y`"]),
        ("\\\\[2pt] x \\] \\( \\) $$", []),
        ("```\na $x$ `b`\n```\n$y$", ["```\na $x$ `b`\n```", "$y$"]),
        ("```python\ncut off\n\ntext\n```python\nb\n```", ["```python\nb\n```"]),
        ("in a line ``` no ``` fence", []),
        ("\\[ x \\text{ costs $5} \\]", ["\\[ x \\text{ costs $5} \\]"]),
        ("`$x$` and `y$", ["`$x$`"]),
    ],
)
def test_formulas_and_code(text, want):
    assert spans(text) == want


@given(st.lists(st.text(alphabet="$\\()[]` \na1.A", max_size=60), max_size=4))
def test_spans_are_apart_and_steps_keep_them_whole(texts):
    units = segment(texts)
    found = find_spans(units)
    first, bounds = find_steps(units, found)
    assert all(a < b for a, b, _ in found) and all(x[1] <= y[0] for x, y in pairwise(found.tolist()))
    inside = np.zeros(len(units.ids), bool)
    for a, b, kind in found:
        inside[a + 1 : b] = True
        text = np.searchsorted(units.bounds, a, side="right") - 1
        assert b <= units.bounds[text + 1]
        piece = texts[text][units.starts[a] : units.stops[b - 1]]
        closing = {"\\(": "\\)", "\\[": "\\]"}.get(piece[:2], piece[0])
        assert piece.endswith(closing)
        assert (kind == CODE) == (piece[0] == "`") and kind in (MATH, CODE)
    for t in range(len(texts)):
        low, high = units.bounds[t], units.bounds[t + 1]
        own = first[bounds[t] : bounds[t + 1]]
        assert own[:1].tolist() == [0] * int(high > low) and (np.diff(own) > 0).all()
        assert not inside[low + own].any()
        lines = np.flatnonzero((units.space[low:high] >= LINE_BREAK) & ~inside[low:high])
        assert set(lines.tolist()) <= set(own.tolist())
        # A text is read alike alone and among others.
        alone = segment([texts[t]])
        np.testing.assert_array_equal(find_steps(alone)[0], own)
        np.testing.assert_array_equal(
            find_spans(alone)[:, :2] + low, found[(found[:, 0] >= low) & (found[:, 0] < high), :2]
        )


@given(st.lists(st.text(alphabet="$\\()` \na1x{}", max_size=40), max_size=3))
def test_joined_spans_cover_the_same_characters(texts):
    units = segment(texts)
    found = find_spans(units)
    for whole in ([MATH], [CODE], [MATH, CODE]):
        joined, place = join_spans(units, found, texts, whole)
        assert len(joined.ids) == place[-1] and joined.bounds.tolist() == place[units.bounds].tolist()
        n = sum(kind in whole for _, _, kind in found)
        kinds = [joined.kinds[i] for i in joined.ids]
        assert kinds.count("math") + kinds.count("code") == n
        for a, b, kind in found:
            if kind in whole:
                at = place[a]
                assert (joined.starts[at], joined.stops[at]) == (units.starts[a], units.stops[b - 1])
        # All else is where it was.
        same = np.setdiff1d(np.arange(len(units.ids)), [i for a, b, k in found if k in whole for i in range(a, b)])
        np.testing.assert_array_equal(joined.starts[place[same]], units.starts[same])


def test_equal_formulas_are_one_entry_whatever_their_delimiters_and_space():
    texts = ["$x + 1$ \\( x+1 \\) \\[x +1\\] $\\frac a b$ $X+1$", "```py\na\n```", "```py\na\n```", "$\\boxed{5}$"]
    units = segment(texts)
    joined, _ = join_spans(units, find_spans(units), texts, [MATH, CODE])
    got = [joined.texts[i] for i in joined.ids]
    assert got[:5] == ["<MATH:x+1>"] * 3 + ["<MATH:\\frac a b>", "<MATH:X+1>"]
    assert got[5] == got[6] and got[5].startswith("<CODE:")
    assert got[7:] == ["$", "\\boxed", "{", "5", "}", "$"]  # the format tag is seen
    long = "$" + "x+" * 60 + "y$"
    joined, _ = join_spans(s := segment([long]), find_spans(s), [long], [MATH])
    assert len(joined.ids) == 1 and len(joined.texts[joined.ids[0]]) == len("<MATH:>") + 12


@pytest.mark.parametrize(
    "text",
    [
        "$x " * 300_000,
        "\\(" * 300_000,
        "\\[ x" * 200_000,
        "`" + "a " * 300_000,
        "```\n" * 150_000 + "```x\n" * 50_000,
        "$$ x\n" * 200_000,
        "e.g." * 200_000,
        "." * 500_000 + " . " * 100_000,
        "<think>" * 100_000,
        "1. " * 200_000,
        "\"')" * 200_000,
    ],
    ids=range(11),
)
def test_unbalanced_marks_end(text):
    units = segment([text])
    first, _ = find_steps(units, found := find_spans(units))
    join_spans(units, found, [text], [MATH, CODE])
    assert len(first) >= 1


def test_nothing_left_open_swallows_the_rest():
    tail = " Then this. And that.\nNew line"
    for stray in ("$x", "\\(x", "\\[x", "`x", "$$x", "```\nx\n", "```python\nx\n"):
        assert [s.strip() for s in steps(f"So {stray}.{tail}")][-3:] == ["Then this.", "And that.", "New line"]


def test_odd_texts():
    assert steps("a\ud800b. \udfff Then") == ["a\ud800b.", "\udfff Then"]
    assert steps("e\u0301\u0301. \u0301\u0301 x") == ["e\u0301\u0301.", "\u0301\u0301 x"]
    # A carriage return, a line separator and a next line break a line as well.
    assert steps("a\r\nb\u2028c\x85d") == ["a", "b", "c", "d"]
    assert steps("\u202bשלום עולם. מה שלומך?\u202c טוב") == ["\u202bשלום עולם.", "מה שלומך?\u202c טוב"]
    first, bounds = find_steps(segment([]))
    assert first.tolist() == [] and bounds.tolist() == [0]
    assert find_steps(segment(["", "so. B", ""]))[1].tolist() == [0, 0, 2, 2]
