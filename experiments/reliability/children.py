"""Work done in a fork of this warm process, which may be killed or break without harm to it."""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

CRASHED = 70


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal), what it told on stderr, and its seconds."""

    code: int
    told: str
    seconds: float


def child(work: Callable[[], int], kill_after: float | None = None, first: Callable[[], object] | None = None) -> Ended:
    """Do `work` in a fork, which is its exit code, after `first`; SIGKILL after so many seconds. An exception: 70."""
    with tempfile.TemporaryFile() as told:
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            code = CRASHED
            try:
                os.dup2(told.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                if first is not None:
                    first()
                code = work()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        if kill_after is not None:
            while time.monotonic() - start < kill_after:
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    break
                time.sleep(min(0.005, kill_after))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        told.seek(0)
        text = told.read().decode("utf-8", "replace")
        return Ended(os.waitstatus_to_exitcode(status), text, time.monotonic() - start)
