"""Countdown: reach the target with the given numbers, each at most once, with + - * / and parentheses.

    >>> p = Problem("p", "countdown", "", "23", {"numbers": [24, 5, 79, 85], "target": 23})
    >>> verify(p, "<answer>24 + 79 + 5 - 85 = 23</answer>")
    Verdict(answer='24 + 79 + 5 - 85 = 23', correct=True, reason='reaches 23 with 4 of 4 numbers')

Arithmetic is exact (fractions), read with `ast` and never evaluated as code. The shipped prompt says "can only be
used once", so leaving numbers out is allowed, unless `meta["use_all"]` is true (TinyZero's own reward wants all).
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from dsl_probe.collect.domains import shipped_problems
from dsl_probe.collect.domains.equations import state as state
from dsl_probe.collect.verify import Verdict, answer_part, find_in
from dsl_probe.types import Problem

SETS = {"countdown": "countdown_generated"}
LONGEST = 400
_SIGNS = {"×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "−": "-", "–": "-", "∕": "/", "[": "(", "]": ")"}
_LATEX = ((r"\times", "*"), (r"\cdot", "*"), (r"\div", "/"), (r"\left", ""), (r"\right", ""), (r"\(", ""), (r"\)", ""))
_LINE = re.compile(r"[\d+\-*/()\[\]×÷·⋅−–.x= \t]{3,400}")


class NotAnExpression(ValueError):
    """Why a text is no countdown expression."""


def problems(seed: int, n: int, sets: Sequence[str] = ()) -> list[Problem]:
    """n of the 500 shipped problems, shuffled by `seed`."""
    found = shipped_problems(SETS, sets, "countdown", seed, n)
    for problem in found:
        problem.meta["numbers"] = json.loads(problem.meta["numbers"])
    return found


def verify(problem: Problem, completion: str) -> Verdict:
    """Whether the answer is one expression in the given numbers whose exact value is the target."""
    part = answer_part(completion)
    found = find_in(part)
    if found:
        answer = found.text
    else:  # the last line that is nothing but arithmetic
        answer = next((m.group().strip() for m in reversed(list(_LINE.finditer(part[-4000:]))) if "=" in m.group()), "")
    if not answer:
        return Verdict(None, False, "no answer")
    target = Fraction(problem.meta.get("target", problem.target))
    try:
        value, used = evaluate(_one_side(answer, target))
    except NotAnExpression as error:
        return Verdict(answer[:LONGEST], False, str(error))
    given = Counter(Fraction(n) for n in problem.meta["numbers"])
    if more := used - given:
        return Verdict(answer, False, f"uses {_listed(more)} more often than given")
    if problem.meta.get("use_all") and (left := given - used):
        return Verdict(answer, False, f"leaves out {_listed(left)}")
    if value != target:
        return Verdict(answer, False, f"reaches {value}, not {target}")
    return Verdict(answer, True, f"reaches {target} with {used.total()} of {given.total()} numbers")


def _listed(numbers: Counter[Fraction]) -> str:
    return ", ".join(str(n) for n in sorted(numbers))


def _one_side(text: str, target: Fraction) -> str:
    """The expression of "expression = target", "target = expression" or a bare expression, in plain signs."""
    if len(text) > LONGEST:
        raise NotAnExpression(f"longer than {LONGEST} characters")
    text = re.sub(r"\\[dt]?frac\{([^{}]{1,80})\}\{([^{}]{1,80})\}", r"((\1)/(\2))", text)
    for written, sign in (*_LATEX, *_SIGNS.items()):
        text = text.replace(written, sign)
    text = re.sub(r"(?<=[\d)])\s{0,4}[xX]\s{0,4}(?=[\d(])", "*", text).strip(" \t\r\n$`.*;")
    sides = [side.strip() for side in text.split("=")]
    if "" in sides:
        raise NotAnExpression("an equation with an empty side")
    expressions = [side for side in sides if not re.fullmatch(r"-?\d{1,20}(?:\.\d{1,20})?", side)]
    values = [side for side in sides if side not in expressions]
    if len(expressions) > 1 or (not expressions and len(values) > 2):
        raise NotAnExpression("more than one expression")
    if not expressions:  # a number alone, or 23 = 23
        if len(set(values)) > 1:
            raise NotAnExpression("says that two numbers are equal")
        return values[0]
    if wrong := next((v for v in values if Fraction(v) != target), None):
        raise NotAnExpression(f"says it equals {wrong}")
    return expressions[0]


def evaluate(text: str) -> tuple[Fraction, Counter[Fraction]]:
    """Exact value of an arithmetic expression and the numbers in it. Raises NotAnExpression."""
    if len(text) > LONGEST or not re.fullmatch(r"[\d+\-*/(). \t\n]{1,400}", text):
        raise NotAnExpression("not an arithmetic expression")
    try:
        tree = ast.parse(text.replace("\n", " ").strip(), mode="eval")
        used: Counter[Fraction] = Counter()
        return _value(tree.body, used), used
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, NotAnExpression):
            raise
        raise NotAnExpression("not an arithmetic expression") from error
    except ZeroDivisionError as error:
        raise NotAnExpression("divides by zero") from error


def _value(node: ast.AST, used: Counter[Fraction]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number = Fraction(str(node.value))
        used[number] += 1
        return number
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, used)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, used), _value(node.right, used)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise NotAnExpression("an operation other than + - * /")
