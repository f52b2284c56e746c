"""Run tests on a program that is kept apart from them: two sandboxed processes, between which only plain data goes.

The program is loaded in one process, the tests in the other. A test that calls the program's function sends the
arguments and gets back the value, rebuilt from its parts: numbers, texts, lists and such, and iterators as what they
give. So nothing that the program does to its own process counts: it cannot end the tests, patch what they use, read
what they expect, or return an object that says it equals everything.

What this does not show: that a program is right beyond its tests. A value of another kind (an object of a class of the
program's own) is to the tests an object that equals nothing but itself; a program that changes its arguments changes
copies.
"""

import contextlib
import os
import subprocess
import time
from pathlib import Path

from dsl_probe.collect import sandbox

_PROGRAM = Path(__file__).with_name("_apart_program.py")
_MEMORY_MB = 1024


def run_tests(program: str, tests: str, name: str, seconds: float, *, unsafe_exec: bool = False) -> tuple[bool, str]:
    """Whether a program passes tests (Python that calls its function `name`, and maybe others), and what happened.

    >>> run_tests("def f(x): return x + 1", "assert f(1) == 2", "f", 10.0) if sandbox.available() else (True, "")
    (True, 'all tests passed')
    """
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        asked, ask = os.pipe()
        answered, answer = os.pipe()
        ends = contextlib.ExitStack()
        for end in (asked, ask, answered, answer):
            ends.callback(os.close, end)
        with ends:  # our own copies: else no side would see the other end
            _start(stack, program, "", asked, answer, seconds, unsafe_exec)
            judge = _start(stack, tests, name, answered, ask, seconds, unsafe_exec)
        result = sandbox.collected(judge, deadline)
    if result.timed_out:
        return False, f"ran longer than {seconds:g} s"
    if result.exit == 0 and result.stderr == "passed":
        return True, "all tests passed"
    last = result.stderr.strip().rpartition("\n")[2][:200]
    return False, last or f"ended with {result.exit} before the tests were through"


def _start(
    stack: contextlib.ExitStack, source: str, name: str, stdin: int, stdout: int, seconds: float, unsafe_exec: bool
) -> subprocess.Popen[bytes]:
    code = f"SOURCE = {source!r}\nNAME = {name!r}\n" + _PROGRAM.read_text(encoding="utf-8")
    process = sandbox.start_python(
        code,
        memory_mb=_MEMORY_MB,
        cpu_seconds=int(seconds) + 1,
        unsafe_exec=unsafe_exec,
        stdin=stdin,
        stdout=stdout,
    )
    return stack.enter_context(process)
