# ruff: noqa: E501 RUF005 (tables)
"""The domains: what they draw, and labelled tables of nasty completions: (completion, right or wrong)."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from dsl_probe.collect import sandbox
from dsl_probe.collect.domains import BUILT_IN, arc, code, countdown, gym, load_domain, logic, math, worker
from dsl_probe.types import Problem, UserError

BUILT_INS = sorted(BUILT_IN)
# How a right or a wrong answer may be written: each is applied to both.
FRAMES = [
    "<think>hm</think><answer>{}</answer>", "<think>hm <answer>{}</answer>", "<answer>\n{}\n</answer>", "<answer>{}",
    "hm</think> <answer>{}</answer>", "<answer>no idea</answer> wait <answer>{}</answer>", "<ANSWER>{}</ANSWER>",
    "<think>a</think><answer>{}</answer><|im_end|><answer>zzz</answer>", "<answer>{}</answer></answer>",
    "<think><answer>zzz</answer></think><answer>{}</answer>", "<answer> {} </answer><answer></answer>",
]  # fmt: skip
NO_ANSWER = [
    "",
    "   ",
    "I do not know.",
    "<answer></answer>",
    "<think>",
    "<|im_end|>",
    "</think>",
    "\0\0",
    "🙂",
    "the the " * 999,
]


def framed(right: list[str], wrong: list[str]) -> list[tuple[str, bool]]:
    rows = [(frame.replace("{}", text), True) for frame in FRAMES for text in right[:1]]
    rows += [(frame.replace("{}", text), False) for frame in FRAMES for text in wrong[:1]]
    rows += [(FRAMES[0].replace("{}", text), True) for text in right[1:]]
    return rows + [(FRAMES[0].replace("{}", text), False) for text in wrong[1:]] + [(t, False) for t in NO_ANSWER]


def judged(verify, problem, table):
    """The rows of a table on which the verifier differs from the label."""
    assert len(table) >= 60
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda row: verify(problem, row[0]), table))
    return [(row, v.reason) for row, v in zip(table, verdicts, strict=True) if v.correct is not row[1]]


@pytest.mark.parametrize("name", BUILT_INS)
def test_drawing(name):
    domain = load_domain(name)
    ten, twenty = domain.problems(5, 10), domain.problems(5, 20)
    assert twenty[:10] == ten == domain.problems(5, 10)
    assert [p.id for p in domain.problems(6, 10)] != [p.id for p in ten]
    assert len({p.id for p in twenty}) == 20 and all(p.prompt and p.target for p in twenty)
    assert domain.problems(0, 0) == []
    json.dumps([p.meta for p in twenty])
    with pytest.raises(UserError, match=r"has \d+ problems, and 99999"):
        domain.problems(0, 99_999)


def test_names():
    with pytest.raises(UserError, match=r"'maths'. Allowed: .*countdown.*gym:NAME"):
        load_domain("maths")
    for name in ("no_such_module:x", "json:no_such", "json:dumps", ":x", "json:"):
        with pytest.raises(UserError, match="domain"):
            load_domain(name)
    found = load_domain("dsl_probe.collect.domains.arc:")
    assert found.problems(0, 1)[0].domain == "arc"
    assert load_domain("code", unsafe_exec=True).verify.keywords == {"unsafe_exec": True}


def test_a_file_of_problems(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"problem_id": i, "prompt": f"q{i}", "reference": i * 2, "level": i} for i in range(9)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    domain = load_domain(str(path))
    problem = domain.problems(0, 9)[0]
    assert problem.domain == "mine" and problem.meta == {"level": int(problem.id)}
    assert domain.verify(problem, f"\\boxed{{{problem.target}}}").correct and not domain.verify(problem, "x").correct
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    assert load_domain(str(tmp_path / "mine.parquet")).problems(0, 9) == domain.problems(0, 9)
    for name, content, message in [
        ("a", '{"problem_id": 1, "prompt": "q"}', "row 1 lacks reference"),
        ("b", "no json", "line 1 is not JSON"),
        ("c", "[1]", "row 1 lacks"),
        ("d", (json.dumps(rows[0]) + "\n") * 2, "twice"),
    ]:
        bad = tmp_path / f"{name}.jsonl"
        bad.write_text(content)
        with pytest.raises(UserError, match=message):
            load_domain(str(bad)).problems(0, 1)
    with pytest.raises(UserError, match="no file"):
        load_domain("missing.parquet").problems(0, 1)


MATH = framed(
    ["\\frac{1}{2}", "1/2", "0.5", "\\dfrac{1}{2}", "\\dfrac12", "$\\frac{1}{2}$", "x = 1/2", "\\boxed{1/2}", "50\\%",
     "\\frac{2}{4}", "2^{-1}", "1-\\frac12", "\\(\\frac{1}{2}\\)", "0.50", ".5", "\\frac{1}{2}.", "**1/2**", "\\frac{1}{2} \\text{ cm}",
     "1/2 hour", "\\cos(\\pi/3)", "\\boxed{3} \\boxed{1/2}", "The value that we want is 1/2", "\\frac{\\sqrt{4}}{4}"],
    ["\\frac{1}{3}", "2", "0.49", "1/2 or 1/3", "\\boxed{1/2} \\boxed{2}", "5", "-1/2", "0.5x", "{1/2", "half a", "1/0",
     "9^{9^{9^{9}}}", "10^{10^{10}}", "99999999!", "__import__('os').system('id')", "\\frac{1}{2", "\\emptyset", "nan", "\\infty",
     "x" * 30_000, "(" * 5000, "\\frac" * 4000, "\\sqrt{" * 3000, "1/2, 1/3", "[0, 1/2]", "one of 1/2 or 1/3 is right"],
) + [("It is \\boxed{0.5}", True), ("#### 0.5", True), ("So the answer is 1/2.", True), ("we get 0.5", True), ("= 0.5", True),
     ("It is \\boxed{0.5", False), ("0.5 is what I thought; " + "but no. " * 40, False), ("<think> so 0.5", False)]  # fmt: skip
# reference, answer, equal
EQUAL = [
    ("18", "$18$ dollars", True), ("18", "18 or 19", False), ("18", "18, 19", False), ("18", "eighteen", False), ("1:1", "The point divides it in the ratio 2:1.", False), ("2:1", "The point divides it in the ratio 2:1.", True), ("10,\\!080", "10080", True),
    ("\\text{Evelyn}", "Evelyn", True), ("\\text{even}", "neve", False), ("\\text{(C)}", "C", True), ("\\text{(C)}", "(B)", False),
    ("90^\\circ", "90 degrees", True), ("(1,2)", "(2,1)", False), ("(1,2)", "\\left( 1, 2 \\right)", True), ("3, 5, 7", "7, 5, 3", True),
    ("(3,4]", "(3,4)", False), ("(3,4]", "\\left(3,4\\right]", True), ("p - q", "-q + p", True), ("p - q", "q - p", False),
    ("x^2+1", "1+x^2", True), ("x^2+1", "x^2-1", False), ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}", True),
    ("y = 2x", "2x", True), ("2x", "y = 2x", True), ("y = 2x", "y = 3x", False), ("\\sqrt{51}", "51^{1/2}", True), ("0", "-0", True),
    ("x \\in [-2,7]", "[-2,7]", True), ("\\frac{\\pi}{2}", "90", False), ("1", "\\prod_{i=1}^{99999} i", False), ("15", "15.\\overline{3}", False),
    ("1e11", "1 \\times 10^{11}", True), ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}", True),
]  # fmt: skip


def test_math_table():
    assert judged(math.verify, Problem("p", "math", "", "\\frac{1}{2}"), MATH) == []


@pytest.mark.parametrize(("target", "answer", "equal"), EQUAL)
def test_math_equality(target, answer, equal):
    assert math.same(target, answer)[0] is equal


def test_a_judging_process_outlives_the_thread_that_started_it():
    worker.stop()
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(math.same, "x+1", "1+x").result() == (True, "symbolically equal")
    assert math.same("x+2", "2+x")[0] is True


def test_math_takes_every_shipped_reference():
    domain = load_domain("math")
    wrong = [p.target for p in domain.problems(0, 1819) if not domain.verify(p, f"\\boxed{{{p.target}}}").correct]
    assert wrong == []
    solved = load_domain("gsm8k").problems(0, 1319)
    assert all(domain.verify(p, p.meta["solution"]).correct for p in solved)
    assert domain.verify(Problem("p", "math", "", None), "\\boxed{1}").correct is None


@pytest.mark.slow
def test_math_survives_what_never_ends():
    verdict = math.verify(Problem("p", "math", "", "1"), "\\boxed{(((((x+y)^{99})^{99})^{99})^{99})^{99}-z}")
    # sympy may also give up by itself, out of memory, which math-verify calls unequal.
    assert not verdict.correct
    assert math.same("x+1", "1+x")[0] is True


COUNTDOWN = framed(
    ["24 + ((79 + 5) - 85)", "24 + 79 + 5 - 85 = 23", "23 = 24+79+5-85", "(24 + 79) - (85 - 5)", "24+79+5−85", "[24+79]+5-85",
     "\\boxed{24 + 79 + 5 - 85}", "$24 + 79 + 5 - 85$", "`24+79+5-85`", "\\(24+79+5-85\\)", "-85 + 24 + 79 + 5", "24 + 79 + 5 - 85 = 23.",
     "24 +\n79 + 5 - 85", "((((24))))+79+5-85", "24.0+79+5-85", "24 + 79 - (85 - 5)", "\\left(24+79\\right)+5-85"],
    ["24 + 79 + 5", "23", "24 - 1", "24 + 79 + 5 - 85 + 0", "24 + 24 - 5*5", "24 + 79 + 5 - 85 = 22", "= 23", "24 + 79 + 5 - 85 =",
     "24+79 = 103, 103+5 = 108, 108-85 = 23", "85 // 5", "5 ** 2", "24 % 5", "24 / (5 - 5)", "__import__('os').system('id')", "(24 + 79 + 5 - 85",
     "24 79", "24(5)", "abs(24)", "2_4 + 79 + 5 - 85", "0x18 + 79 + 5 - 85", "24 + 79 + 5 - 85 # yes", "lambda: 23", "'23'", "True", "1e1",
     "(" * 300 + "23" + ")" * 300, "-" * 390 + "5", "9" * 390, "24+79+5-85 or 1", "24 + 79 + 5 - 85 = 23 = 22", "24 + 79 = 85 + 5", "24, 79, 5, 85",
     "2 4 + 79 + 5 - 85", "024 + 79 + 5 - 85"],
) + [("We find\n24 + 79 + 5 - 85 = 23\nas wanted", True), ("24 + 79 + 5 - 85 is my guess", False)]  # fmt: skip
NUMBERS = {"numbers": [24, 5, 79, 85], "target": 23}


def test_countdown_table():
    assert judged(countdown.verify, Problem("p", "countdown", "", "23", NUMBERS), COUNTDOWN) == []


def test_countdown_uses():
    part = Problem("p", "countdown", "", "29", {"numbers": [24, 5, 7], "target": 29})
    assert countdown.verify(part, "<answer>24 + 5</answer>").correct
    every = Problem("p", "countdown", "", "29", part.meta | {"use_all": True})
    assert countdown.verify(every, "<answer>24 + 5</answer>").reason == "leaves out 7"
    twice = Problem("p", "countdown", "", "10", {"numbers": [5, 5], "target": 10})
    assert countdown.verify(twice, "<answer>5 + 5</answer>").correct
    assert not countdown.verify(part, "<answer>24 + 5 + 7 - 7</answer>").correct
    third = Problem("p", "countdown", "", "1", {"numbers": [1, 3, 3], "target": 1})
    assert countdown.verify(third, "<answer>(1 / 3) × 3</answer>").correct
    assert countdown.verify(third, "<answer>\\frac{3}{3} \\times 1</answer>").correct
    problems = countdown.problems(0, 500)
    assert all(countdown.verify(p, f"<answer>{p.meta['example_solution']}</answer>").correct for p in problems)


ANN = "Ann is a knight, Bob is a knave, and Cid is a knight."
KNIGHTS = framed(
    ["Ann is a knight, Bob is a knave, Cid is a knight", "(1) Ann is a knight (2) Bob is a knave (3) Cid is a knight", "Ann: knight; Bob: knave; Cid: knight",
     "Ann and Cid are knights, and Bob is a knave.", "Bob is a knave; Ann and Cid are knights", "Knights: Ann, Cid\nKnaves: Bob", "**Ann**: Knight\n**Bob**: Knave\n**Cid**: Knight",
     "- Ann = knight\n- Bob = knave\n- Cid = knight", '{"Ann": "knight", "Bob": "knave", "Cid": "knight"}', "| Ann | knight |\n| Bob | knave |\n| Cid | knight |",
     "Ann is not a knave. Bob isn't a knight. Cid is a KNIGHT.", "ANN IS A KNIGHT, BOB IS A KNAVE, CID IS A KNIGHT", "Ann is a knave. No: Ann is a knight, Bob is a knave, Cid is a knight",
     "Ann: knight\n\nBob: knave\n\nCid: knight", "\\text{Ann is a knight, Bob is a knave, Cid is a knight}", "Dan is a knave, Ann is a knight, Bob is a knave, Cid is a knight"],
    ["Ann is a knave, Bob is a knave, Cid is a knight", "Ann is a knight, Bob is a knave", "Ann is a knight", "all are knights", "All are knaves.", "Ann, Bob and Cid are knights",
     "Ann is a knight or a knave, Bob is a knave, Cid is a knight", "Knights: Ann, Bob, Cid", "Knights: Bob\nKnaves: Ann, Cid", "Bob is a knight, Ann and Cid are knaves", "knight, knave, knight",
     "Ann is a knight, Bob is a knave, Cid is not a knight", "Ann said Bob is a knave, and Cid is a knight", '{"Ann": "knight", "Bob": "knave", "Cid": "knave"}', "Ann Bob Cid",
     "Ann is a knight, Bob is a knave, Cid is a knight. Cid is a knave.", "none of them is a knight", "Anna is a knight, Bobby is a knave, Cidney is a knight", "kn" * 9000],
) + [(f"So {ANN}", True), (f"<think>Ann is a knave</think>{ANN}", True), ("\\boxed{Ann: knight, Bob: knave, Cid: knight}", True), (f"The answer is: {ANN}", True)]  # fmt: skip
ZEBRA = {"Job": ["cook", "pilot"], "Pet": ["cat", "sea-horse"]}
WRONG_ZEBRA = {"Job": ["pilot", "cook"], "Pet": ["cat", "sea-horse"]}
ZEBRAS = framed(
    [json.dumps(ZEBRA), json.dumps(ZEBRA, indent=2), str(ZEBRA), "```json\n" + json.dumps(ZEBRA) + "\n```", json.dumps({"solution": ZEBRA}), json.dumps(ZEBRA).upper(),
     json.dumps(ZEBRA).replace("sea-horse", "sea horse"), json.dumps(WRONG_ZEBRA) + " no " + json.dumps(ZEBRA), "So: " + json.dumps(ZEBRA) + " I'm sure {as one can be}."],
    [json.dumps(WRONG_ZEBRA), json.dumps({"Job": ["cook", "pilot"]}), "{}", "[]", "Job: cook, pilot; Pet: cat, sea-horse", json.dumps(ZEBRA)[:-1], json.dumps(ZEBRA) + json.dumps(WRONG_ZEBRA),
     json.dumps({**ZEBRA, "Car": ["a", "b"]}), json.dumps({"Job": "cook, pilot", "Pet": "cat"}), json.dumps({"Job": ["cook"], "Pet": ["cat"]}), '{"Job": open("/etc/passwd")}', "{" * 15_000,
     "{'a': " * 3000, json.dumps({k: [v] for k, v in ZEBRA.items()}), "null", '{"Job": null, "Pet": null}', "{1: 2}", "{{}}", '"{"', "{'Job': ['cook', 'pilot'], 'Pet': ['cat', 'dog']}"],
) + [(json.dumps(ZEBRA), True), (f"Here: {json.dumps(ZEBRA)}", True), (f"<think>{WRONG_ZEBRA}</think>{ZEBRA}", True)]  # fmt: skip


def test_logic_tables():
    assert judged(logic.verify, Problem("p", "logic", "", ANN), KNIGHTS) == []
    assert judged(logic.verify, Problem("p", "logic", "", json.dumps(ZEBRA)), ZEBRAS) == []
    assert all(logic.verify(p, f"<answer>{p.target}</answer>").correct for p in logic.problems(0, 600))


GRID = "1 0 2\n0 1 2"
ARC = framed(
    [GRID, "[[1, 0, 2], [0, 1, 2]]", "[[1,0,2],\n [0,1,2]]", "1, 0, 2\n0, 1, 2", "102\n012", "| 1 | 0 | 2 |\n| 0 | 1 | 2 |", "```\n1 0 2\n0 1 2\n```", "Output:\n1 0 2\n0 1 2",
     "9 9\n9 9\n\n1 0 2\n0 1 2", "  1 0 2  \n  0 1 2  ", "1 0 2\r\n0 1 2", "[\n[1, 0, 2],\n[0, 1, 2]\n]", "1\t0\t2\n0\t1\t2", "Here it is:\n1 0 2\n0 1 2\nI hope so.", "[1 0 2]\n[0 1 2]"],
    ["1 0 2\n0 1 1", "1 0 2", "1 0\n2 0\n1 2", "0 1 2\n1 0 2", "1 0 2\n0 1", "1 0 2\n0 1 2\n0 0 0", "1 0 2 0 1 2", "a b c\nd e f", "1 0 2\n\n0 1 2", "[[1, 0, 2], [0, 1, 2]", "[[1.0, 0, 2], [0, 1, 2]]",
     "[[true, 0, 2], [0, true, 2]]", "10 2\n01 2", "1 0 2\n0 1 22", "1 0 2\n0 1 -2", "[[[1, 0, 2], [0, 1, 2]]]", "1 0 2\n0 1 2\n\n3 3", "[[" * 3000, "1 " * 9000, "١ ٠ ٢\n٠ ١ ٢", "1 0 2\n0 1 x", "[[]]", "²"],
) + [(GRID, True), (f"The output is\n{GRID}", True), (f"```\n3 3\n```\nor\n```\n{GRID}\n```", True), (f"<think>3 3\n3 3</think>{GRID}", True), (f"{GRID}\nso 12 cells", True)]  # fmt: skip


def test_arc_table():
    assert judged(arc.verify, Problem("p", "arc", "", GRID), ARC) == []
    assert all(arc.verify(p, f"So\n\n{p.target}").correct for p in arc.problems(0, 835))
    assert all(arc.verify(p, f"<answer>{p.meta['test_output']}</answer>").correct for p in arc.problems(0, 835))
    one = Problem("p", "arc", "", GRID)
    assert (
        arc.verify(one, "1 0 2\n0 1 1").reason == "1 of 6 cells differ"
        and "another size" in arc.verify(one, "1 0").reason
    )


ADD = 'def add(a, b):\n    """Add two numbers."""\n'
ADDS = {"test": "def check(f):\n    assert f(1, 2) == 3\n    assert f(-1, 1) == 0\n", "entry_point": "add"}
RIGHT = "def add(a, b):\n    return a + b"
FENCES = ["```python\n{}\n```", "```\n{}\n```", "```py\n{}\n```", "So:\n```python\n{}", "<think>```python\ndef add(): 1\n```</think>\n```python\n{}\n```", "```python\n{}\n```\nUse:\n```python\nadd(1, 2)\n```",
          "<answer>\n{}\n</answer>", "<answer>```python\n{}\n```</answer>", "{}", "Here is it.\n\n{}\n\nThis adds them.", "```python\ndef add(a, b): return 0\n```\nno:\n```python\n{}\n```", "  ```python\n{}\n  ```"]  # fmt: skip
PROGRAMS = [
    ("add = lambda a, b: a + b", False), ("import operator\ndef add(a, b):\n    return operator.add(a, b)", True), ("def help(x): return x\ndef add(a, b):\n    return help(a) + b", True),
    ("class A: pass\ndef add(a, b):\n    return a + b\nif __name__ == '__main__':\n    raise SystemExit", True), ("def add(a, b):\n    print('noise')\n    return a + b", True),
    ("import sys\ndef add(a, b):\n    sys.exit(0)", False), ("import os\ndef add(a, b):\n    os._exit(0)", False), ("def add(a, b):\n    while True: pass", False), ("def add(a, b): return", False),
    ("def add(a, b):\n    return add(a, b)", False), ("def add(a, b):\n    raise SystemExit(0)", False), ("print('passed')\ndef add(a, b): return 0", False), ("def add(a, b)\n    return a + b", False),
    ("def add(a, b):\n    return a - b", False), ("def sum2(a, b):\n    return a + b", False), ("import sys\ntests = sys.stdin.read()\ndef add(a, b): return len(tests)", False), ("def add(a, b):\n    import os; os.fork(); return a + b", False),
    ("def add(a, b):\n    import socket; socket.create_connection(('192.0.2.1', 80)); return a + b", False), ("def add(a, b):\n    return [0] * 10**11", False), ("def add(a, b):\n    open('/etc/passwd'); return a + b", False),
    ("def add(a, b):\n    return 3 if a == 1 else 0", True), ("import sys\nsys.exit(0)\ndef add(a, b): return a + b", False), ("import numpy_not_here\ndef add(a, b): return a + b", False), ("async def add(a, b):\n    return a + b", False),
    ("x = '" + "a" * 120_000 + "'\ndef add(a, b): return a + b", False), ("def add(a, b):\n    return a + b\n" + "(" * 9000, False),
]  # fmt: skip
CODE = [(f.replace("{}", RIGHT), True) for f in FENCES] + [
    (f.replace("{}", RIGHT.replace("+", "*")), False) for f in FENCES
]
CODE += [(f"```python\n{p}\n```", right) for p, right in PROGRAMS] + [(t, False) for t in NO_ANSWER]
CODE += [
    ("    return a + b", True),
    ("return a + b", True),
    ("    c = a\n    return c + b\n", True),
    ("c = a\n    return c + b\n", True),
    ("    return a - b", False),
]


@pytest.mark.bwrap
def test_code_table(monkeypatch):
    monkeypatch.setattr(code, "SECONDS", 2.0)
    assert judged(code.verify, Problem("p", "code", ADD, None, ADDS), CODE) == []


CRUX = framed(
    ["[1, 'a']", '[1, "a"]', "[1,'a']", "[ 1 , 'a' ]", "f(2) == [1, 'a']", "assert f(2) == [1, 'a']", "`[1, 'a']`", "```python\n[1, 'a']\n```", "[True, 'a']", "[1.0, 'a']", "[1] + ['a']", "list((1, 'a'))"],
    ["[1, 'b']", "[1]", "['a', 1]", "(1, 'a')", "[1, a]", "f(2)", "1, 'a'", "[1, 'a'", "None", "x" * 9000, "[" * 4000, "9**9**9**9", "__import__('os')", "exit()", "[1, 'a'] or 2 == ", "lambda: 0", "[1, 'a']]", "object()", "'[1, a]'", "{1: 'a'}"],
) + [("[ANSWER][1, 'a'][/ANSWER]", True), ("[ANSWER]f(2) == [1, 'a'][/ANSWER]", True), ("It returns\n[1, 'a']", True), ("```\n[1, 'a']\n```", True), ("\\boxed{[1, 'a']}", True)]  # fmt: skip


@pytest.mark.bwrap
def test_cruxeval_table(monkeypatch):
    monkeypatch.setattr(code, "SECONDS", 2.0)
    problem = Problem("p", "code", "what does f return?", "[1, 'a']", {"input": "2"})
    assert judged(code.verify, problem, CRUX) == []


@pytest.mark.bwrap
def test_code_takes_the_shipped_references():
    references(code.problems(0, 60))


@pytest.mark.bwrap
@pytest.mark.slow
def test_code_takes_every_shipped_reference():
    references(code.problems(0, 1342))


def references(problems):
    def solved(p):
        if "test" not in p.meta:
            return code.verify(p, f"[ANSWER]{p.target}[/ANSWER]").correct
        return code.verify(p, f"```python\n{p.prompt if p.meta['set'] == 'humaneval' else ''}{p.target}\n```").correct

    with ThreadPoolExecutor(2) as pool:
        assert [p.id for p, right in zip(problems, pool.map(solved, problems), strict=True) if not right] == []


def test_code_is_refused_without_a_sandbox(monkeypatch):
    monkeypatch.setattr(sandbox, "why_not", lambda: "bubblewrap (bwrap) is not installed")
    problem = Problem("p", "code", ADD, None, ADDS)
    with pytest.raises(UserError, match="--unsafe-exec"):
        code.verify(problem, f"```python\n{RIGHT}\n```")
    assert code.verify(problem, f"```python\n{RIGHT}\n```", unsafe_exec=True).correct


def test_gym_answers_are_refused_without_a_sandbox(monkeypatch):
    monkeypatch.setattr(sandbox, "why_not", lambda: "bubblewrap (bwrap) is not installed")
    domain, unsafe = load_domain("gym:n_queens"), load_domain("gym:n_queens", unsafe_exec=True)
    assert domain.runs_code and load_domain("code").runs_code and not load_domain("math").runs_code
    problem = domain.problems(0, 1)[0]  # drawing runs no answer
    text = f"<answer>{problem.target}</answer>"
    with pytest.raises(UserError, match=r"bwrap.*apt install bubblewrap.*--unsafe-exec.*not a boundary"):
        domain.verify(problem, text)
    assert unsafe.verify(problem, text).correct and unsafe.verify(problem, "<answer>1</answer>").correct is False
    with pytest.raises(UserError, match="--unsafe-exec"):  # a worker that runs unsafely serves those who asked for it
        domain.verify(problem, text)


def test_math_parses_answers_and_needs_no_sandbox(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "why_not", lambda: "bubblewrap (bwrap) is not installed")
    assert math.same("x+1", "1+x") == (True, "symbolically equal")
    mark = tmp_path / "escaped"
    for attack in (f"__import__('pathlib').Path('{mark}').touch()", f"x+\\text{{open('{mark}', 'w')}}"):
        assert math.same("x+1", attack)[0] is False
    assert not mark.exists()


@pytest.mark.bwrap
@pytest.mark.parametrize("name", ["countdown", "simple_integration", "acre"])
def test_gym(name):
    domain = load_domain(f"gym:{name}")
    problems = domain.problems(1, 4)
    assert domain.problems(1, 2) == problems[:2]
    assert not {p.id for p in domain.problems(2, 4)} & {p.id for p in problems}
    assert not {p.prompt for p in domain.problems(2, 4)} & {p.prompt for p in problems}
    for p in problems:
        assert domain.verify(p, f"<think>so</think><answer>{p.target}</answer>").correct
        for text in (
            *NO_ANSWER[:4],
            "<answer>zzz</answer>",
            "<answer>__import__('os')._exit(0)</answer>",
            "9" * 30_000,
        ):
            assert domain.verify(p, text).correct is False, text[:50]
    changed = Problem("p", problems[0].domain, "another question", None, problems[0].meta)
    assert domain.verify(changed, "<answer>1</answer>").correct is None


@pytest.mark.bwrap
def test_gym_answers_are_code_and_stay_inside(tmp_path):
    mark = tmp_path / "escaped"
    domain = load_domain("gym:n_queens")
    problem = domain.problems(0, 1)[0]
    attack = f"__import__('pathlib').Path({str(mark)!r}).write_text('x')"
    assert domain.verify(problem, f"<answer>{attack}</answer>").correct is False and not mark.exists()
    forged = "__import__('os').write(1, b'{\"score\": 1.0}\\n')"
    assert domain.verify(problem, f"<answer>{forged}</answer>").correct is False
    assert domain.verify(problem, f"<answer>{problem.target}</answer>").correct


@pytest.mark.bwrap
def test_gym_partial_credit_is_wrong_and_a_missing_answer_is_scored():
    domain = load_domain("gym:rush_hour")
    problem = domain.problems(0, 1)[0]
    assert problem.target is None and domain.verify(problem, "<answer>A+1</answer>").correct is False
    partly = load_domain("gym:countdown").problems(0, 1)[0]
    score, _ = gym.score_answer(partly, "1 + 1")
    assert score is not None and 0 < score < 1


def test_gym_names():
    with pytest.raises(UserError, match=r"no dataset 'countdwn'.*countdown"):
        load_domain("gym:countdwn")
    with pytest.raises(UserError, match="composite"):
        load_domain("gym:composite")


HOSTILE = [
    "(" * 500_000,
    "1 " * 500_000,
    "{" * 1_000_000,
    "<answer>" + "[[" * 400_000,
    "```\n" * 250_000,
    "Ann is " * 140_000,
    "=" * 1_000_000,
    "'" * 1_000_000,
    "\\frac{" * 150_000,
]


@pytest.mark.bwrap
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_megabyte_ends(number):
    text = HOSTILE[number]
    for verify, target, meta in [
        (math.verify, "-77.5", {}), (countdown.verify, "23", NUMBERS), (logic.verify, ANN, {}), (logic.verify, json.dumps(ZEBRA), {}),
        (arc.verify, GRID, {}), (code.verify, None, ADDS), (code.verify, "1", {}),
    ]:  # fmt: skip
        assert verify(Problem("p", "x", ADD, target, meta), text).correct is False
