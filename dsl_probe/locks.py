"""Lock files: who is at work on something, so that two processes, or two machines, do not do it twice.

A lock file names its owner and is touched every few seconds while the owner lives. It is stale, and is taken over, when
its owner is a process of this machine that is gone, or when it has not been touched for STALE seconds. Nothing that is
written depends on it: should two workers hold one lock after all, both write the same bytes under the same name.
"""

import fcntl
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STALE = 120.0
_BEAT = 10.0
_held: set[Path] = set()
_lock = threading.Lock()
_beating: int | None = None  # the process whose thread touches the files: a forked child has none


def me() -> dict[str, Any]:
    """This owner: host with process namespace, process and when it started, thread."""
    return {"host": _host(), "pid": os.getpid(), "started": _started(os.getpid()), "thread": threading.get_ident()}


def short() -> str:
    """A name of this owner that no other living one has, for a file of its own."""
    key = json.dumps(me(), sort_keys=True).encode()
    return f"{os.getpid()}-{hashlib.blake2b(key, digest_size=4).hexdigest()}"


def take(path: Path) -> bool:
    """Take a lock; False if a living owner has it. It is this thread's until `drop`, and again if it was already."""
    own = json.dumps(me() | {"since": time.strftime("%Y-%m-%d %H:%M:%S %Z")})
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _made(path, own)
    except FileNotFoundError:  # swept away by one who holds the folder: ask again
        return False
    except FileExistsError:
        found = _read(path)
        if found is not None and _is_me(found):
            return True
        if _alive(path, found) or not _taken_over(path, found, own):
            return False
    _keep(path)
    return True


def _made(path: Path, own: str) -> None:
    """A lock file that has its content from the first: one killed while it writes would leave half a lock, which is
    someone's until it is old. Raises FileExistsError."""
    temporary = _beside(path)
    temporary.write_text(own, "utf-8")
    try:
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a disk without links
        with open(path, "x", encoding="utf-8") as file:
            file.write(own)
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}")


def drop(path: Path) -> None:
    """Let go of a lock that this process holds."""
    with _lock:
        _held.discard(path)
    found = _read(path)
    if found is not None and _is_me(found):  # else it was thought dead, and taken over
        path.unlink(missing_ok=True)


@contextmanager
def held(path: Path) -> Generator[bool]:
    """`take` for the length of a block; the block is told whether it has the lock."""
    mine = take(path)
    try:
        yield mine
    finally:
        if mine:
            drop(path)


@contextmanager
def turn(path: Path, wait: float = 60.0) -> Generator[None]:
    """Wait until the lock is free, at most `wait` seconds, and hold it. Raises TimeoutError."""
    end = time.monotonic() + wait
    while not take(path):
        if time.monotonic() > end:
            raise TimeoutError(f"{path} is held by {owner(path) or 'another'}")
        time.sleep(0.05)
    try:
        yield
    finally:
        drop(path)


def owner(path: Path) -> str | None:
    """Who holds a lock, in words, if it is alive and not this thread; else None."""
    found = _read(path)
    if found is None or _is_me(found) or not _alive(path, found):
        return None
    return f"process {found.get('pid')} on {str(found.get('host', '')).partition(' ')[0]}, since {found.get('since')}"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None  # gone, or its owner was cut off while it wrote
    return found if isinstance(found, dict) else None


def _is_me(found: dict[str, Any]) -> bool:
    return all(found.get(name) == value for name, value in me().items())


def _alive(path: Path, found: dict[str, Any] | None) -> bool:
    if found is not None and found.get("host") == _host():
        return found.get("started") == _started(found.get("pid", 0)) and found.get("started") is not None
    try:
        touched = path.stat().st_mtime
    except OSError:
        return False
    return _now(path.parent) - touched < STALE


def _now(folder: Path) -> float:
    """The time by the clock of the disk, which for a shared one is not this machine's."""
    probe = folder / f".now.{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)


def _taken_over(path: Path, found: dict[str, Any] | None, own: str) -> bool:
    """Put our lock in the place of a stale one. Of several who try, one may: it holds the old file while it does."""
    temporary = _beside(path)
    try:
        with open(path, "rb") as old:
            with suppress(OSError):  # a disk without such locks: at worst two do the same
                try:
                    fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
            if os.fstat(old.fileno()).st_ino != path.stat().st_ino or _read(path) != found:
                return False
            temporary.write_text(own, "utf-8")
            os.replace(temporary, path)
    except FileNotFoundError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _keep(path: Path) -> None:
    global _beating
    with _lock:
        if _beating != os.getpid():
            _held.clear()
            _beating = os.getpid()
            threading.Thread(target=_beat, name="locks", daemon=True).start()
        _held.add(path)


def _beat() -> None:
    while True:
        time.sleep(_BEAT)
        with _lock:
            paths = list(_held)
        for path in paths:
            try:
                os.utime(path)
            except OSError:
                continue


def _host() -> str:
    """This machine and, in a container, its own processes: the same process number may mean another one outside."""
    try:
        space = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        space = boot = ""
    return f"{socket.gethostname()} {boot} {space}".strip()


def _started(pid: int) -> str | None:
    """When a process of this machine started: another one of the same number did at another time. None: it is gone."""
    try:
        state, *_, started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:20]
        return None if state in "ZX" else started
    except (OSError, ValueError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # no /proc: macOS
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
