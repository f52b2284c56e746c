"""Programs: HumanEval (164) and MBPP+ (378) run their tests, CRUXEval (800) asks what a function returns.

A completion's code runs in the sandbox only (sandbox.py); without bubblewrap it is refused unless `unsafe_exec`.
The last code block that defines the wanted function counts, or else the last block; text without a block is read as
code, and for HumanEval an indented text as the body of the prompt's function.

The tests run in a process of their own, out of the program's reach (apart.py).

What this does not show: that a program is right beyond its tests: one that knows their answers by heart passes.
MBPP+ here is the shipped file's three tests a problem, not EvalPlus's hundreds.
"""

import ast
import re
import textwrap
from collections.abc import Sequence

from dsl_probe.collect.domains import shipped_problems
from dsl_probe.collect.domains.apart import run_tests
from dsl_probe.collect.verify import Verdict, answer_part, boxed, find_in, tagged
from dsl_probe.types import Problem

SETS = {"humaneval": "humaneval", "mbpp": "mbpp_plus", "cruxeval": "cruxeval_output"}
SECONDS = 10.0
LONGEST_CODE = 100_000


def problems(seed: int, n: int, sets: Sequence[str] = ()) -> list[Problem]:
    """n of the shipped problems, the three sets pooled and shuffled by `seed`."""
    return shipped_problems(SETS, sets, "code", seed, n)


def verify(problem: Problem, completion: str, *, unsafe_exec: bool = False) -> Verdict:
    """Whether the program passes its tests, or (a problem without tests) the stated value is the reference."""
    if "test" not in problem.meta:
        return _verify_value(problem, completion, unsafe_exec)
    name = problem.meta["entry_point"]
    program = extract_code(completion, name)
    if program is None:
        return Verdict(None, False, "no code")
    if len(program) > LONGEST_CODE:
        return Verdict(program[:500], False, f"code of {len(program)} characters")
    if re.match(r"\s*(?:from|import|def|async def|class|@)", problem.prompt):  # a function to go on with
        body = not re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(name)}\b", program, re.MULTILINE)
        program = problem.prompt + (_as_body(program) if body else "    pass\n\n" + textwrap.dedent(program))
    tests = problem.meta["test"] + (f"\ncheck({name})\n" if "def check(" in problem.meta["test"] else "")
    passed, why = run_tests(program, tests, name, SECONDS, unsafe_exec=unsafe_exec)
    return Verdict(program, passed, why)


def extract_code(completion: str, name: str) -> str | None:
    """The program in a completion, by the module's rules; a fence that never closes runs to the end.

    >>> extract_code("First:\\n```python\\ndef f(): return 1\\n```\\nUse it:\\n```python\\nf()\\n```", "f")
    'def f(): return 1'
    """
    part = answer_part(completion)
    part = next((t for t in reversed(tagged(part)) if t), part) if "<answer>" in part.lower() else part
    defines = re.compile(rf"^[ \t]*(?:async\s+)?def\s+{re.escape(name)}\b", re.MULTILINE)
    blocks = []
    for i, piece in enumerate(re.split(r"^[ \t]*```", part, flags=re.MULTILINE)):
        if i % 2:
            first, _, rest = piece.partition("\n")
            blocks.append(rest.rstrip() if re.fullmatch(r"[\w+. -]{0,20}", first.strip()) else piece.rstrip())
    blocks = [b for b in blocks if b.strip()]
    if blocks:
        return next((b for b in reversed(blocks) if defines.search(b)), blocks[-1])
    if match := defines.search(part):  # no fence: from the imports before the function, as far as it is Python
        start = re.search(r"^(?:from|import|def|class|@)", part, re.MULTILINE)
        return _longest_program(part[min(start.start() if start else match.start(), match.start()) :])
    return part.strip("\n") if part.strip() else None


def _longest_program(text: str) -> str:
    """`text` without the prose after its code: up to the first unindented line that opens nothing Python knows."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if re.match(r"[A-Z][a-z]+[ ,]|[-*#]{2,} |\d+\. |</", line):
            return "\n".join(lines[:i]).rstrip()
    return text.rstrip()


def _as_body(text: str) -> str:
    """A function's body, indented by four where it is not (some samplers strip the first line's indentation)."""
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines[first][:1] in (" ", "\t"):
        return text + "\n"
    rest = [line for line in lines[first + 1 :] if line.strip()]
    if rest and all(line[:1] in (" ", "\t") for line in rest):  # only the first line lost its indentation
        stripped = "    " + lines[first] + "\n" + "\n".join(lines[first + 1 :]) + "\n"
        try:
            ast.parse("def f():\n" + stripped)
            return stripped
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    return textwrap.indent(text, "    ") + "\n"


def _verify_value(problem: Problem, completion: str, unsafe_exec: bool) -> Verdict:
    """CRUXEval: a literal equal to the reference by Python's ==; another expression is evaluated in the sandbox."""
    part = answer_part(completion)
    found = next((t for t in reversed(tagged(part, "answer")) if t), None) or _bracketed(part)
    if found is None:
        marked = find_in(part)
        found = marked.text if marked else ""
    if not found:
        fenced = re.findall(r"^[ \t]*```[\w]{0,20}\n(.{0,5000}?)\n[ \t]*```", part, re.MULTILINE | re.DOTALL)
        found = fenced[-1] if fenced else part.strip().rpartition("\n")[2]
    value = _cleaned(found)
    if not value:
        return Verdict(None, False, "no answer")
    if problem.target is None:
        return Verdict(value, None, "the problem has no reference")
    if len(value) > 5000:
        return Verdict(value[:500], False, f"answer of {len(value)} characters")
    try:
        same = ast.literal_eval(value) == ast.literal_eval(problem.target)
        return Verdict(value, bool(same), "same value" if same else "other value")
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    try:
        ast.parse(value, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Verdict(value, False, "not a Python value")
    program, test = f"value = ({value})\ndef answer(): return value", f"assert answer() == ({problem.target})"
    passed, why = run_tests(program, test, "answer", SECONDS, unsafe_exec=unsafe_exec)
    return Verdict(value, passed, "same value, evaluated" if passed else f"evaluated: {why}")


def _bracketed(text: str) -> str | None:
    start = text.rfind("[ANSWER]")
    return text[start + 8 :].partition("[/ANSWER]")[0].strip() or None if start >= 0 else None


def _cleaned(text: str) -> str:
    text = text.strip()
    if box := boxed(text):
        text = box[-1]
    text = re.sub(r"^```\w{0,20}\n|\n?```$", "", text).strip()
    if len(text) > 1 and text[0] == text[-1] == "`":
        text = text.strip("`").strip()
    text = re.sub(r"^assert\s{1,3}", "", text)
    # f(...) == value: what stands after the last == that is followed by something Python can read.
    if re.match(r"f\(", text) and "==" in text:
        parts = text.split("==")
        for i in range(1, min(len(parts), 20)):
            right = "==".join(parts[i:]).strip()
            try:
                ast.literal_eval(right)
                return right
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
    return text
