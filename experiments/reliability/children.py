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


class Child:
    """Does `work` in a fork, which is its exit code, after `first`. An exception: 70."""

    def __init__(self, work: Callable[[], int], first: Callable[[], object] | None = None):
        self.told, self.start = tempfile.TemporaryFile(), time.monotonic()  # noqa: SIM115
        self.pid = os.fork()
        if self.pid == 0:
            code = CRASHED
            try:
                os.dup2(self.told.fileno(), 2)
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

    def runs(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait(self, kill_after: float | None = None) -> Ended:
        """Until its end, or SIGKILL so many seconds after its start."""
        if kill_after is not None:
            while (left := kill_after - (time.monotonic() - self.start)) > 0 and self.runs():
                time.sleep(min(0.005, left))
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        with self.told as file:
            file.seek(0)
            text = file.read().decode("utf-8", "replace")
        return Ended(os.waitstatus_to_exitcode(status), text, time.monotonic() - self.start)


def child(work: Callable[[], int], kill_after: float | None = None, first: Callable[[], object] | None = None) -> Ended:
    """`work` in a fork, until its end, or SIGKILL after so many seconds."""
    return Child(work, first).wait(kill_after)
