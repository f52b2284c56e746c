"""Run untrusted Python in bubblewrap: no network, no files of the host, bounded memory, time and output.

    >>> from dsl_probe.collect import sandbox
    >>> sandbox.run_python("print(6 * 7)").stdout if sandbox.available() else "42\\n"
    '42\\n'

The program sees a read-only root that holds the Python installation and the system libraries, a private /tmp that is
gone afterwards, an empty network, its own process ids and an empty environment. A seccomp filter refuses new processes
and threads (an rlimit on processes does not bind root, and many containers run as root), so the memory limit of one
process is the limit of the whole. What this does not show: the kernel is shared, so a kernel exploit gets out; the
time limit is wall-clock, so a verdict near it depends on the machine's load; and a program that imports what it is
tested with can fool a test that runs in its own process (see `domains/code.py`).
"""

import contextlib
import functools
import json
import os
import platform
import select
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsl_probe.types import UserError

# AUDIT_ARCH, then the numbers of what is always refused: kernel surface that no answer needs, and memory that belongs
# to no process, which the memory limit would not count. Then those that make a process or a thread. From the kernel's
# own tables (unistd.h).
_SYSCALLS = {
    "x86_64": (
        0xC000003E,
        # ptrace, unshare, setns, process_vm_readv/writev, perf_event_open, bpf, userfaultfd, keyctl, add_key,
        # request_key, io_uring; memfd_create, memfd_secret, shmget, semget, msgget, mq_open
        (101, 272, 308, 310, 311, 298, 321, 323, 250, 248, 249, 425, 426, 427, 319, 447, 29, 64, 68, 240),
        (56, 57, 58, 435),  # clone, fork, vfork, clone3
    ),
    "aarch64": (
        0xC00000B7,
        (117, 97, 268, 270, 271, 241, 280, 282, 219, 217, 218, 425, 426, 427, 279, 447, 194, 190, 186, 180),
        (220, 435),
    ),
}
# Runs before the program: limits that it cannot raise again. Soft and hard are set alike.
_LIMITS = """
import resource as r
for what, most in ((r.RLIMIT_AS, {memory}), (r.RLIMIT_CPU, {cpu}), (r.RLIMIT_FSIZE, {disk}), (r.RLIMIT_NOFILE, 64),
                   (r.RLIMIT_CORE, 0), *{processes}):
    hard = r.getrlimit(what)[1]
    most = most if hard == r.RLIM_INFINITY else min(most, hard)
    r.setrlimit(what, (most, most))
del r, what, most, hard
"""
_DISK = 64 << 20
_GONE = 10  # seconds to wait for what was killed: its memory may be large
# No site packages, none of the user's, no folder of the script. Not -I: it would ignore PYTHONHASHSEED, and then what
# iterates over a set (several reasoning-gym generators) differs from run to run.
_FLAGS = ("-S", "-s", "-P", "-B")


@dataclass(frozen=True)
class Result:
    """How a program ended. `exit` is None where it was stopped: by the clock (`timed_out`) or the output limit."""

    exit: int | None
    stdout: str
    stderr: str
    timed_out: bool
    too_much_output: bool = False


def seccomp_filter(allow_fork: bool = False) -> bytes | None:
    """The compiled filter: refuse with EPERM what is listed, kill foreign architectures. None on an unknown machine."""
    if platform.machine() not in _SYSCALLS:
        return None
    arch, never, fork = _SYSCALLS[platform.machine()]
    refused = [*never, *([] if allow_fork else fork)]
    program = [
        (0x20, 0, 0, 4),  # load the architecture
        (0x15, 1, 0, arch),  # another one (32-bit calls have other numbers): kill
        (0x06, 0, 0, 0x80000000),
        (0x20, 0, 0, 0),  # load the call's number
        (0x35, len(refused) + 1, 0, 0x40000000),  # the x32 variants: refuse
    ]
    program += [(0x15, len(refused) - i, 0, n) for i, n in enumerate(refused)]
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)]  # allow; refuse with EPERM
    return b"".join(struct.pack("=HBBI", *row) for row in program)


@functools.cache
def why_not() -> str | None:
    """Why the sandbox cannot be used here, or None where it works (tried once with an empty program)."""
    if not shutil.which("bwrap"):
        return "bubblewrap (bwrap) is not installed"
    try:
        with _started("", 512, False, (), False) as process:
            _, stderr = process.communicate(timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return f"bwrap does not start: {error}"
    return None if process.returncode == 0 else f"bwrap fails here: {stderr.decode(errors='replace')[:300].strip()}"


def available() -> bool:
    """Whether untrusted code can be run behind a boundary here."""
    return why_not() is None


def check_sandbox(unsafe_exec: bool = False) -> None:
    """Refuse where untrusted code would run without a boundary and nobody asked for that."""
    reason = why_not()
    if reason and not unsafe_exec:
        raise UserError(
            f"untrusted code is not run: {reason}. Install bubblewrap (apt install bubblewrap), or pass "
            "--unsafe-exec (unsafe_exec=True) to run it with resource limits alone, which is not a boundary."
        )


def run_python(
    code: str,
    *,
    stdin: str = "",
    seconds: float = 10.0,
    memory_mb: int = 512,
    output_bytes: int = 100_000,
    unsafe_exec: bool = False,
) -> Result:
    """Run `code` as a program of its own and wait for it, at most `seconds`.

    `unsafe_exec` is for machines without bubblewrap: a plain subprocess with resource limits in an empty folder. It is
    not a boundary: such code can read and write what you can. It is used only where the sandbox is not available.
    """
    with start_python(code, memory_mb=memory_mb, cpu_seconds=int(seconds) + 1, unsafe_exec=unsafe_exec) as process:
        return collected(process, time.monotonic() + seconds, output_bytes, stdin.encode())


@contextlib.contextmanager
def start_python(
    code: str,
    *,
    memory_mb: int = 512,
    cpu_seconds: int | None = None,
    allow_fork: bool = False,
    packages: bool = False,
    unsafe_exec: bool = False,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
) -> Generator[subprocess.Popen[bytes], None, None]:
    """A running program with pipes; on leaving, it and everything it started are killed, and gone.

    `packages` lets it import the installed packages (read-only); else it has the standard library alone. `stdin` and
    `stdout` may be descriptors instead, to join two programs.
    """
    check_sandbox(unsafe_exec)
    folders = [p for p in sys.path if p.endswith(("site-packages", "dist-packages")) and Path(p).is_dir()]
    folders = folders if packages else []
    with _started(code, memory_mb, allow_fork, folders, not available(), cpu_seconds, stdin, stdout) as process:
        yield process


def _bwrap(folders: Sequence[str], code_fd: int, info_fd: int, filter_fd: int | None) -> list[str]:
    # --unshare-all: user, network, pid, ipc, uts and cgroup. No /proc and no /etc: nothing there is needed.
    command = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--info-fd", str(info_fd)]
    command += ["--hostname", "sandbox", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    command += ["--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib64", "lib32", "bin"):
        if Path("/", name).is_symlink():
            command += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif Path("/", name).is_dir():
            command += ["--ro-bind", f"/{name}", f"/{name}"]
    if not Path(sys.base_prefix).resolve().is_relative_to("/usr"):
        command += ["--ro-bind", sys.base_prefix, "/python", "--setenv", "LD_LIBRARY_PATH", "/python/lib"]
    for i, folder in enumerate(folders):
        command += ["--ro-bind", folder, f"/packages/{i}"]
    command += ["--dev", "/dev", "--remount-ro", "/dev", "--size", str(_DISK), "--perms", "1777", "--tmpfs", "/tmp"]
    command += ["--ro-bind-data", str(code_fd), "/program.py", "--remount-ro", "/", "--chdir", "/tmp"]
    command += ["--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8", "--setenv", "PYTHONHASHSEED", "0"]
    return command if filter_fd is None else [*command, "--seccomp", str(filter_fd)]


@contextlib.contextmanager
def _started(
    code, memory_mb, allow_fork, folders, unsafe, cpu_seconds=None, stdin=subprocess.PIPE, stdout=subprocess.PIPE
) -> Generator[subprocess.Popen[bytes], None, None]:
    cpu = cpu_seconds or "r.RLIM_INFINITY"
    # Before Linux 5.14 this counts every process of the user, so it is set only where none is to be made.
    processes = "()" if allow_fork else "[(r.RLIMIT_NPROC, 256)]"
    limits = _LIMITS.format(memory=memory_mb << 20, cpu=cpu, disk=_DISK, processes=processes)
    paths = [f if unsafe else f"/packages/{i}" for i, f in enumerate(folders)]
    # exec() keeps the program's own line numbers; it is compiled after the limits hold, since compiling can explode.
    program = f"{limits}import sys; sys.path += {paths!r}\nexec(compile({code!r}, 'program.py', 'exec'))\n"
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    with contextlib.ExitStack() as stack:
        folder, inner, info = "/", None, None
        if unsafe:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dsl-probe-"))
            Path(folder, "program.py").write_bytes(program.encode("utf-8", "replace"))
            command, fds = [str(python), *_FLAGS, "program.py"], ()
        else:
            bpf = seccomp_filter(allow_fork)
            fds = [_memory_file(stack, data) for data in (program.encode("utf-8", "replace"), bpf) if data]
            inner, info = os.pipe()
            stack.callback(os.close, inner)
            base = Path(sys.base_prefix).resolve()
            inside = python if base.is_relative_to("/usr") else Path("/python", python.relative_to(base))
            command = _bwrap(folders, fds[0], info, fds[1] if bpf else None)
            command, fds = [*command, str(inside), *_FLAGS, "/program.py"], [*fds, info]
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={"LANG": "C.UTF-8", "HOME": folder, "PYTHONHASHSEED": "0"} if unsafe else {"PATH": os.defpath},
                pass_fds=fds,
                start_new_session=True,
            )
        finally:
            if info is not None:
                os.close(info)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    pipe and pipe.close()
            if inner is not None:
                _wait_until_gone(inner)


def _wait_until_gone(info: int) -> None:
    """Wait for the first process of the sandbox, which dies after all others in it, and after the bwrap outside."""
    try:
        descriptor = os.pidfd_open(json.loads(os.read(info, 4096))["child-pid"])
    except (OSError, ValueError, AttributeError):  # it never started, is gone already, or the kernel is before 5.3
        return
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    ended.poll(_GONE * 1000)
    os.close(descriptor)


def _memory_file(stack: contextlib.ExitStack, data: bytes) -> int:
    """A descriptor of an anonymous file that holds `data`, at its start."""
    descriptor = os.memfd_create("dsl-probe")
    stack.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def collected(process: subprocess.Popen[bytes], deadline: float, most: int = 100_000, stdin: bytes = b"") -> Result:
    """Feed and drain a program's pipes until it ends, the clock (`time.monotonic`) reaches `deadline` or one stream
    exceeds `most` bytes. A stream that is no pipe of ours is empty in the result.
    """
    streams = [pipe.fileno() if pipe else None for pipe in (process.stdout, process.stderr)]
    pipes, flooded = {stream: b"" for stream in streams if stream is not None}, False
    with selectors.DefaultSelector() as ready:
        for pipe in pipes:
            ready.register(pipe, selectors.EVENT_READ)
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            ready.register(process.stdin, selectors.EVENT_WRITE)
        while ready.get_map() and not flooded and (left := deadline - time.monotonic()) > 0:
            for key, _ in ready.select(left):
                if process.stdin and key.fileobj is process.stdin:
                    try:
                        stdin = stdin[os.write(key.fd, stdin[:65536]) :] if stdin else b""
                    except BrokenPipeError:
                        stdin = b""
                    if not stdin:
                        ready.unregister(process.stdin)
                        with contextlib.suppress(BrokenPipeError):
                            process.stdin.close()
                    continue
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    ready.unregister(key.fd)
                    continue
                pipes[key.fd] += chunk[: most - len(pipes[key.fd])]
                flooded = flooded or len(pipes[key.fd]) >= most
    code = None
    if not flooded:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(max(0.0, deadline - time.monotonic()) + 0.05)
    out, err = (pipes.get(stream, b"").decode(errors="replace") for stream in streams)
    return Result(code, out, err, timed_out=code is None and not flooded, too_much_output=flooded)
