"""Mathematics with a closed answer: GSM8K test (1,319 problems) and MATH-500, both shipped.

    >>> from dsl_probe.types import Problem
    >>> verify(Problem("p", "math", "What is a half?", r"\\frac{1}{2}"), r"It is \\boxed{0.5}").correct
    True

The marked answer (see verify.py), or else the last number of the answer part where the reference is a number, is
compared in this order: same text, same choice letter, same exact number, the same number beside a unit ("18 dollars"),
then math-verify's symbolic equality (gold first) in a separate process. What this does not show: that an answer
in another correct form than sympy can see is right ("18 or 19" is wrong where the reference is 18).
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from dsl_probe.collect.domains import shipped_problems, worker
from dsl_probe.collect.domains.equations import state as state
from dsl_probe.collect.verify import (
    LONGEST_ANSWER,
    Found,
    Verdict,
    answer_part,
    as_number,
    choice,
    find_in,
    last_number,
    plain,
    same_number,
    same_text,
)
from dsl_probe.types import Problem

SETS = {"gsm8k": "gsm8k_test", "math500": "math500"}
# Longer ones are not given to sympy: no reference of the shipped sets has more than 100 characters.
LONGEST_SYMBOLIC = 400
_NAMED = re.compile(
    r"(?:\\?[A-Za-z]{1,12}(?:_\{?\w{1,3}\}?)?(?:\([A-Za-z, ]{1,12}\))?)\s{0,3}(?:=|\\in(?![a-z]))\s{0,3}(.{1,400})",
    re.S,
)
_ONE_NUMBER = re.compile(r"[^\d.+*/^\\=(){}-]{0,60}([-−]?\\?\$?[\d,]{1,60}(?:\.\d{1,60})?)[^\d+*/^\\=(){}-]{0,60}")
# Towers of numbers and huge powers or factorials, which sympy would write out; the rest is left to the worker's limit.
_EXPLOSIVE = re.compile(r"\d(?:\^|\*\*)[{(]{0,3}\d{1,40}(?:\^|\*\*)|!\s?[)}]?!|\d(?:\^|\*\*)[{(]{0,3}-?\d{5}|\d{5}\)?!")


def problems(seed: int, n: int, sets: Sequence[str] = ()) -> list[Problem]:
    """n problems of GSM8K and MATH-500 pooled and shuffled by `seed`, or of one of them."""
    return shipped_problems(SETS, sets, "math", seed, n)


def verify(problem: Problem, completion: str) -> Verdict:
    """Whether the completion's answer equals `problem.target`."""
    part = answer_part(completion)
    found = find_in(part)
    if found is None:
        number = last_number(part) if problem.target and as_number(problem.target) is not None else None
        if number is None:
            return Verdict(None, False, "no answer")
        found = Found(number, "last number, unmarked")
    if not (problem.target or "").strip():
        return Verdict(found.text, None, "the problem has no reference")
    if len(found.text) > LONGEST_ANSWER:
        return Verdict(found.text[:200], False, f"answer of {len(found.text)} characters ({found.how})")
    correct, rule = same(problem.target or "", found.text)
    return Verdict(found.text, correct, f"{rule} ({found.how})")


def same(target: str, answer: str) -> tuple[bool | None, str]:
    """Whether an answer equals the reference, and the rule that decided. None where the judge ran out of its limit."""
    if same_text(target, answer):
        return True, "same text"
    letter = choice(target)
    if letter is not None:
        return choice(answer) == letter, "choice"
    bare = _NAMED.fullmatch(answer.strip().strip("$"))
    # x = 3 answers "3"; but where the reference is itself an equation, both sides count.
    if bare and "=" not in target and r"\in" not in target:
        answer = bare.group(1).rpartition("=")[2] if "," not in bare.group(1) else bare.group(1)
    elif (bare := _NAMED.fullmatch(target)) and "=" not in answer and r"\in" not in answer:
        target = bare.group(1)
    if same_text(target, answer):
        return True, "same text"
    if re.fullmatch(r"[A-Za-z]{4,40}", plain(target)):  # sympy reads a word as a product: even = neve
        return False, "other word"
    if as_number(target) is not None:
        if as_number(answer) is not None:
            if same_number(target, answer):
                return True, "same number"
            if same_to_its_digits(target, answer):
                return True, "same number to the reference's digits"
            return _rescaled(target, answer)
        unit = _ONE_NUMBER.fullmatch(re.sub(r"\\(?:text|mathrm)\{([^{}]{0,100})\}|\\[,;! ]", r" \1", answer.strip()))
        # 5 m is 5, but 5x is not: a single letter that is no unit is a variable.
        if unit and not re.search(r"\d\s?[a-fi-ln-rt-zA-Z]$", answer.strip()) and same_number(target, unit.group(1)):
            return True, "same number beside a unit"
    if (last := _of_sentence(answer)) is not None:
        return (
            (True, "end of a sentence")
            if same_text(target, last) or same_number(target, last)
            else _symbolic(target, last)
        )
    if "=" in answer and "=" not in target and "," not in answer:
        answer = answer.rpartition("=")[2]
        if same_text(target, answer) or same_number(target, answer):
            return True, "right side of an equation"
    return _symbolic(target, answer)


def same_to_its_digits(target: str, answer: str) -> bool:
    """Whether a reference rounded to 6 or more decimals (0.377622) is the answer (54/143) rounded so."""
    decimals = len(plain(target).partition(".")[2])
    a, b = as_number(target), as_number(answer)
    return 6 <= decimals <= 40 and a is not None and b is not None and abs(a - b) <= Fraction(1, 10**decimals)


def _of_sentence(answer: str) -> str | None:
    """What an answer in prose ends on: its last formula, or the last number; None where it is no prose or says "or"."""
    words = re.findall(r"[A-Za-z]{2,20}", re.sub(r"\\[A-Za-z]{1,20}|\$[^$]{0,200}\$", " ", answer[:2000]))
    if len(words) < 4 or "or" in words:
        return None
    formulas = re.findall(r"\\\((.{1,200}?)\\\)|\$([^$]{1,200})\$", answer[-400:])
    if formulas:
        return (formulas[-1][0] or formulas[-1][1]).rpartition("=")[2].strip()
    numbers = re.findall(r"-?\d[\d,]{0,30}(?:\.\d{1,30})?(?:[/:]\d{1,20})?", answer[-400:])
    return numbers[-1].rstrip(",") if numbers else None


def _rescaled(target: str, answer: str) -> tuple[bool, str]:
    """A percentage against its fraction: 50% and 0.5. Only where exactly one of them says percent."""
    if ("%" in target) != ("%" in answer):
        percent, other = (target, answer) if "%" in target else (answer, target)
        if as_number(percent) == 100 * (as_number(other) or 0):
            return True, "percentage of the same value"
    return False, "other number"


def _symbolic(target: str, answer: str) -> tuple[bool | None, str]:
    if len(answer) > LONGEST_SYMBOLIC or len(target) > LONGEST_SYMBOLIC:
        return False, "too long to be compared symbolically"
    if _EXPLOSIVE.search(re.sub(r"\s", "", answer)):
        return False, "a tower of powers is not evaluated"
    try:
        # This library parses, it does not run the answer: without bubblewrap it may run with limits alone.
        reply = worker.ask("math", {"gold": target, "pred": answer}, unsafe_exec=True)
    except worker.WorkerError as error:
        return (None, f"not decided: {error}") if error.undecided else (False, f"math-verify: {error}")
    if reply["same"]:
        return True, "symbolically equal"
    return False, "not equal" if reply["parsed"] else "not parsed"
