# ruff: noqa: E501 (attacks)
"""Hostile answers of a code domain: none is judged right, none leaves anything, and the next honest one is right."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import made_escapes as made
import pytest
from made_escapes import ESCAPES, HONEST, PROBLEM

from dsl_probe.collect import sandbox
from dsl_probe.collect.domains import apart, code

pytestmark = pytest.mark.bwrap


@pytest.fixture(scope="module", autouse=True)
def orphans():
    made.adopt()
    yield
    made.adopt(False)


@pytest.fixture(scope="module")
def aims(tmp_path_factory):
    with made.aimed(tmp_path_factory.mktemp("aims")) as aims:
        yield aims


def judged(program: str) -> bool | None:
    return code.verify(PROBLEM, f"```python\n{program}\n```").correct


@pytest.mark.parametrize("name", ESCAPES)
def test_it_is_contained_and_the_next_honest_program_is_right(name, aims, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = made.left_over(tmp_path)
    with monkeypatch.context() as quick:
        quick.setattr(code, "SECONDS", 1.0)
        assert not judged(ESCAPES[name].program(aims))
    assert made.left_over(tmp_path) == before
    assert judged(HONEST)


def test_there_are_more_than_25_of_them():
    assert len(ESCAPES) >= 25


def test_it_dies_with_the_process_that_judged_it(tmp_path):
    """That process is killed, so that it cannot clean up; what it had started becomes a child of this one."""
    program = "import signal\nfor s in range(1, 32):\n try: signal.signal(s, signal.SIG_IGN)\n except OSError: pass\nwhile 1: pass"
    judge = f"from dsl_probe.collect import sandbox\nprint(1, flush=True)\nsandbox.run_python({program!r}, seconds=300)"
    env = os.environ | {"TMPDIR": str(tmp_path)}
    before = made.left_over(tmp_path)["processes"]
    started = subprocess.Popen([sys.executable, "-c", judge], stdout=subprocess.PIPE, env=env)
    assert started.stdout and started.stdout.readline()

    def inside() -> bool:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        return any(b"/program.py" in Path("/proc", child, "cmdline").read_bytes() for child in children)

    wait_for(inside)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    started.stdout.close()
    wait_for(lambda: made.left_over(tmp_path)["processes"] == before)
    assert not list(tmp_path.iterdir())


def wait_for(what) -> None:
    """Until it holds; a test that never gets there fails."""
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    pytest.fail("it never came to hold")


@pytest.mark.parametrize(
    "program, test",
    [
        ("def f(x): return x", "v = [None, True, 1, -2**70, 1.5, float('inf'), 'a\\u00e9\\ud800', b'\\x00', 1j]\nassert f(v) == v"),
        ("def f(x): return x", "v = ([1], {2}, frozenset({3}), {(4, 5): {'a': None}})\nassert f(v) == v and type(f(v)) is tuple"),
        ("def f(x): return x", "assert f(1) is not True and type(f(True)) is bool and f(-0.0).hex() == '-0x0.0p+0'"),
        ("def f(n): return (i for i in range(n))", "assert list(f(3)) == [0, 1, 2] and f(3) != [0, 1, 2]"),
        ("def f(n): return map(str, range(n))", "assert list(f(2)) == ['0', '1']"),
        ("def f(n): return range(n)", "assert f(3) == range(3)"),
        ("from collections import *\ndef f(x): return Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("from collections import *\ndef f(x): return deque(x)", "from collections import deque\nassert f([1]) == deque([1])"),
        ("def f(x): return {1: 2}.keys()", "assert f(0) == {1}"),
        ("from fractions import *\ndef f(x): return Fraction(x, 3)", "from fractions import Fraction\nassert f(1) == Fraction(1, 3)"),
        ("import re\ndef f(x): return re.match('a', x)", "assert f('ab') and f('b') is None"),
        ("class A: pass\nbox = A()\ndef f(): return box\ndef g(a): return a is box", "assert g(f())"),
        ("def f(x): raise KeyError(x)", "try:\n    f(1)\nexcept KeyError: pass\nelse: assert 0"),
        ("class Own(Exception): pass\ndef f(x): raise Own(x)", "try:\n    f(1)\nexcept Exception: pass\nelse: assert 0"),
        ("def f(x, *, y=1): return x + y", "assert f(1, y=2) == 3"),
        ("def g(x): return x + 1\ndef f(x): return x", "assert g(f(1)) == 2"),
        ("def sum(a, b): return a + b\nf = sum", "assert f(1, 2) == 3 and sum([1, 2]) == 3"),
    ],
)  # fmt: skip
def test_plain_values_cross_as_they_are(program, test):
    assert apart.run_tests(program, test, "f", 20.0) == (True, "all tests passed")


@pytest.mark.parametrize(
    "program, test, why",
    [
        ("class A:\n    def __eq__(self, o): return True\ndef f(x): return A()", "assert f(1) == 1", "AssertionError"),
        ("class A(list):\n    def __eq__(self, o): return True\ndef f(x): return A([2])", "assert f(1) == [1]", "AssertionError"),
        ("class A(dict):\n    def __getitem__(self, k): return 1\ndef f(x): return A(a=2)", "assert f(1)['a'] == 1", "AssertionError"),
        ("class A(str):\n    def __eq__(self, o): return True\ndef f(x): return [A('b')]", "assert f(1) == ['a']", "AssertionError"),
        ("class A(float):\n    def __sub__(self, o): return 0\ndef f(x): return A(9)", "assert abs(f(1) - 1) < .1", "AssertionError"),
        ("def f(x): return f(x)", "f(1)", "RecursionError: maximum recursion depth exceeded"),
        ("def f(x):\n    a = []\n    a.append(a)\n    return a", "assert f(1)", "RecursionError"),
        ("def f(x): return 'x' * 20_000_000", "assert f(1)", "too much output"),
        ("def f(x): 1 / 0", "f(1)", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "f(1)", "SystemExit: 0"),
        ("import os\nos.write(1, b'x' * 9)\nos.close(4)\ndef f(x): return 1", "assert f(1) == 1", "it ended before the tests were through"),
        ("def g(x): return 1", "assert f(1) == 1", "NameError: name 'f' is not defined"),
        ("def all(x): return True\ndef f(x): return 0", "assert all([f(1) == 1])", "AssertionError"),
    ],
)  # fmt: skip
def test_what_is_not_plain_has_no_say(program, test, why):
    passed, reason = apart.run_tests(program, test, "f", 20.0)
    assert not passed and reason.startswith(why)


FORGED = """
import os, json
for fd in range(3, 10):
    for line in {lines!r}:
        try: os.write(fd, line.encode() + b"\\n")
        except OSError: pass
import time; time.sleep(2)
"""


@pytest.mark.parametrize(
    "lines",
    [
        ['{"names": ["f"]}', '{"value": ["thing", 0]}'],
        ['{"names": ["f"]}', '{"value": ["kept", 0]}'],
        ['{"names": ["f"]}', '{"value": ["os", ["system"]]}'],
        ['{"names": ["f"]}', '{"error": ["SystemExit", "0"]}'],
        ['{"names": ["f"]}', '{"error": [1, 2, 3]}'],
        ['{"names": ["f", "AssertionError", "__builtins__", 1, null, []]}', '{"value": 3}'],
        ['{"names": 7}'],
        ["[[[[" * 5000],
        ["passed"],
        ["\x00\xff"],
    ],
)
def test_a_forged_answer_passes_no_test_that_its_value_does_not(lines):
    assert not apart.run_tests(FORGED.format(lines=lines), "assert f(1) == 1", "f", 20.0)[0]


def test_memory_that_belongs_to_no_process_is_refused_in_the_worker_too():
    program = (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nprint(libc.shmget(0, 4096, 0o1600), libc.syscall({}, b'x', 0))"
    )
    number = {"x86_64": 319, "aarch64": 279}[os.uname().machine]
    with sandbox.start_python(program.format(number), allow_fork=True) as process:
        assert process.communicate(timeout=60)[0] == b"-1 -1\n"
