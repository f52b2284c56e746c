"""Equations written out in a text, with the value that their left side has: ground truth for what a probe reads."""

import re
from dataclasses import dataclass
from fractions import Fraction

from dsl_probe.types import Problem

_NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,18})(?:\.\d{1,9})?"
_SIGNS = {"+": "+", "-": "-", "\u2212": "-", "*": "*", "x": "*", "\u00d7": "*", "\\times": "*", "\\cdot": "*"}
_SIGNS |= {"/": "/", "\u00f7": "/", "\\div": "/"}
_SIGN = "|".join(re.escape(sign) for sign in _SIGNS)
# No digit, letter or sign may stand before: "3x2 + 4 = 10" and "y - 2 + 4 = 6" are not whole.
_BEFORE = r"(?<![\w.)+*/\u2212\u00d7\u00f7=-])(?<![+*/=-] )"
_MORE = rf"\s{{0,2}}(?:{_SIGN})\s{{0,2}}\$?{_NUMBER}"
_EQUATION = re.compile(rf"{_BEFORE}({_NUMBER}(?:{_MORE}){{1,12}})\s{{0,2}}=\s{{0,2}}\$?(-?{_NUMBER})(?!\d)")


@dataclass(frozen=True)
class Equation:
    """Equation number `index` of a text: the value of its left side, what is written, and where: text[start:stop]."""

    index: int
    value: str
    written: str
    start: int
    stop: int


def state(problem: Problem, completion: str) -> list[Equation]:
    """The equations of numbers that a completion writes, with true values: + - * / in the usual order.

    >>> [(e.value, e.written) for e in state(Problem("p", "math", ""), "so 3 + 4 * 2 = 11 and 5 - 2 = 4.")]
    [('11', '11'), ('3', '4')]

    An equation whose value has no finite decimal form of six places (1 / 3), brackets and letters are left out. What it
    does not show: that the equation is of use for the problem.
    """
    found = []
    for match in _EQUATION.finditer(completion):
        value = _value(match.group(1))
        if value is not None:
            found.append(Equation(len(found), value, match.group(2).replace(",", ""), *match.span(2)))
    return found


def _value(side: str) -> str | None:
    parts = re.split(rf"\s*({_SIGN})\s*\$?", side)
    numbers = [Fraction(n.replace(",", "")) for n in parts[::2]]
    terms, term = [], numbers[0]
    for sign, number in zip((_SIGNS[s] for s in parts[1::2]), numbers[1:], strict=True):
        if sign in "+-":
            terms.append(term)
            term = number if sign == "+" else -number
        elif sign == "*":
            term *= number
        elif number == 0:
            return None
        else:
            term /= number
    total = sum(terms, term)
    if total.denominator == 1:
        return str(total.numerator)
    scaled = total * 10**6
    return f"{float(total):.6f}".rstrip("0") if scaled.denominator == 1 else None
