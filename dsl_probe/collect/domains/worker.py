"""A long-lived sandboxed process that judges answers with math-verify and reasoning-gym.

Why another process: reasoning-gym's scorers call eval() and sympy.parse_expr() on the answer (n_queens, binary_matrix,
countdown, simple_integration and others), so a model's answer is code; and sympy may never return on 9^{9^{9^9}}. So
the libraries are imported once inside the sandbox, and every answer is judged in a fork of that process with a CPU and
memory limit, which cannot reach the pipes. What this does not show: an answer that takes more than the limit
is judged "timeout", not wrong, so such a verdict can depend on the machine.
"""

import atexit
import contextlib
import importlib.util
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dsl_probe.collect import sandbox
from dsl_probe.types import UserError

SECONDS = 10
UNDECIDED = ("timeout", "out of memory", "the judging process ended")
_NEEDS = {"math": ("math_verify", "math-verify"), "gym": ("reasoning_gym", "reasoning-gym")}
_SOURCE = Path(__file__).with_name("_worker_program.py")
_lock = threading.Lock()
_running: dict[tuple[int, str, bool], tuple[contextlib.ExitStack, Any]] = {}
_starters: dict[int, ThreadPoolExecutor] = {}


class WorkerError(Exception):
    """The library refused the answer (the message is its own), or the limits ended the judging (`undecided`)."""

    @property
    def undecided(self) -> bool:
        return str(self) in UNDECIDED


def ask(library: str, request: dict[str, Any], *, unsafe_exec: bool = False) -> dict[str, Any]:
    """Send one request to the worker of `library` (math or gym), started on first use. Safe to call from any thread."""
    key = (os.getpid(), library, unsafe_exec and not sandbox.available())
    with _lock:
        if key not in _running:
            module, package = _NEEDS[library]
            if importlib.util.find_spec(module) is None:
                raise UserError(f"judging these answers needs {package}; pip install 'dsl-probe[gym]'.")
            # The sandbox dies with the thread that started it (PR_SET_PDEATHSIG), so a thread that stays starts it.
            starter = _starters.setdefault(os.getpid(), ThreadPoolExecutor(1, "dsl-probe-worker"))
            _running[key] = starter.submit(_start, library, unsafe_exec).result()
        stack, process = _running[key]
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (BrokenPipeError, ValueError):
            line = b""
        if not line:
            del _running[key]
            stack.close()
            raise WorkerError("the judging process ended")
    answer = json.loads(line)
    if "error" in answer:
        raise WorkerError(answer["error"])
    return answer


def _start(library: str, unsafe_exec: bool) -> tuple[contextlib.ExitStack, Any]:
    stack = contextlib.ExitStack()
    given = {"LIBRARY": library, "SECONDS": SECONDS, "NO_FORK": sandbox.seccomp_filter()}
    program = "".join(f"{k} = {v!r}\n" for k, v in given.items()) + _SOURCE.read_text(encoding="utf-8")
    # Nobody reads the worker's stderr; a full pipe would block it, so it writes none (see the program).
    return stack, stack.enter_context(
        sandbox.start_python(program, memory_mb=4096, allow_fork=True, packages=True, unsafe_exec=unsafe_exec)
    )


@atexit.register
def stop() -> None:
    """End this process's workers; they start again when needed."""
    for key in [k for k in _running if k[0] == os.getpid()]:
        _running.pop(key)[0].close()


def _after_fork() -> None:
    """A forked process starts workers of its own, and must not wait for a lock that another thread held."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
