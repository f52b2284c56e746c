# ruff: noqa: E501 (attacks)
"""Programs that try to get out of the sandbox, to outgrow it, to outlive it, or to be judged right without being right.

Each is an answer to "write add(a, b)" and is right only if its attack worked, so a right verdict is an escape. What an
attack aims at is named in braces: {secret} a file of the host, {folder} its folder, {tcp}, {udp} ports on which the
host listens, {unix} a socket of the host, {pid} a process of the host. An attack sets `got`.
"""

import contextlib
import ctypes
import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dsl_probe.types import Problem

SECRET = "swordfish"
PROBLEM = Problem("p", "code", "Write add(a, b).", None, {"test": "assert add(1, 2) == 3", "entry_point": "add"})
HONEST = "def add(a, b):\n    return a + b"
_END = "\ndef add(a, b):\n    return a + b if got else None\n"
_TRY = "import os, sys, time, ctypes\ngot = []\nlibc = ctypes.CDLL(None, use_errno=True)\n"


@dataclasses.dataclass(frozen=True)
class Escape:
    """What a program tries, and the program. `whole`: it is judged as it stands, without `got`."""

    tries: str
    code: str
    whole: bool = False

    def program(self, aims: dict[str, object]) -> str:
        """The program, aimed."""
        code = self.code
        for name, value in aims.items():
            code = code.replace("{" + name + "}", str(value))
        return code if self.whole else _TRY + code + _END


def _each(*attempts: str) -> str:
    """Code that makes each attempt (an expression that is true where it worked), whatever became of the others."""
    return "".join(f"try:\n    if {a}: got.append(1)\nexcept BaseException: pass\n" for a in attempts)


def _reads(*paths: str) -> str:
    return _each(*(f"open({path!r}, 'rb').read(1)" for path in paths))


def _writes(*paths: str) -> str:
    return _each(*(f"open({path!r}, 'w').write('x')" for path in paths))


_CONNECT = (
    "import socket\ndef send(family, kind, to):\n"
    "    s = socket.socket(family, kind); s.settimeout(.3); s.connect(to); s.send(b'x'); s.settimeout(.3)\n"
    "    return s.recv(1)\n"
)
_FIND_WORD = """
import gc, re, sys, os
def words():
    seen = [sys.modules["__main__"].__dict__, *(f for f in gc.get_objects() if isinstance(f, (dict, list, tuple, str)))]
    frame = sys._getframe()
    while frame:
        seen += [frame.f_locals, frame.f_globals]
        frame = frame.f_back
    for it in seen:
        for v in (list(it.values()) if isinstance(it, dict) else list(it) if isinstance(it, (list, tuple)) else [it]):
            if isinstance(v, str) and re.fullmatch("[0-9a-f]{32}", v): yield v
"""

# fmt: off
ESCAPES: dict[str, Escape] = {
    # Processes.
    "fork bomb": Escape("fork without end", "while True:\n    os.fork()"),
    "fork by number": Escape(
        "clone, fork, vfork and clone3 by their numbers",
        _each(*(f"libc.syscall({n}, 17, 0, 0, 0, 0) > 0" for n in (56, 57, 58)), "libc.syscall(435, 0, 0) > 0"),
    ),
    "threads": Escape(
        "threads without end",
        "import threading\nwhile True:\n    threading.Thread(target=time.sleep, args=(9,)).start(); got.append(1)",
    ),
    "daemon": Escape(
        "double fork, setsid, nohup, to outlive the judge",
        _each("os.fork() >= 0", "os.posix_spawn('/bin/sh', ['sh', '-c', 'nohup sleep 99 &'], {}) > 0")
        + "os.setsid() if os.getpid() != os.getsid(0) else None\n"
        + _each("__import__('subprocess').Popen(['sleep', '99'], start_new_session=True)", "os.fork() >= 0"),
    ),
    "ignores signals": Escape(
        "run on through every signal",
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass",
    ),
    "kills": Escape(
        "kill the parent, pid 1, every process, a process of the host",
        _each("os.kill({pid}, 9) is None")
        + "for p, s in ((1, 9), (os.getppid(), 9), (1, 19), (-1, 19), (0, 19)):\n"
        "    try: os.kill(p, s)\n    except OSError: pass\n",
    ),
    "ptrace": Escape(
        "trace or read another process",
        _each(
            "libc.ptrace(16, {pid}, 0, 0) == 0",
            "libc.ptrace(0, 0, 0, 0) == 0",
            "libc.syscall(310, {pid}, 0, 0, 0, 0, 0) >= 0",
        ),
    ),
    # Files.
    "system files": Escape(
        "read /etc/shadow, the home folders, the kernel's files",
        _reads("/etc/shadow", "/etc/passwd", "/root/.bashrc", "/var/log/syslog", "/sys/kernel/notes")
        + _each("os.listdir('/root')", "os.listdir('/home')", "os.listdir(os.path.expanduser('~'))"),
    ),
    "parent's proc": Escape(
        "read the parent's memory, environment and descriptors in /proc",
        _reads("/proc/1/environ", "/proc/{pid}/environ", "/proc/self/mem", "/proc/self/root/etc/passwd")
        + _each("os.listdir('/proc')"),
    ),
    "secret file": Escape("read a file of the judge", _reads("{secret}")),
    "symlinks": Escape(
        "reach a file of the judge through symbolic and hard links",
        _each("os.symlink('{secret}', 'a') or open('a').read()", "os.symlink('/../{folder}', 'b') or os.listdir('b')")
        + _each("os.link('/program.py', 'c') is None", "os.symlink('/proc/1/root', 'd') or os.listdir('d')"),
    ),
    "environment": Escape("read a secret from the environment", "got = [v for v in os.environ.values() if 'fish' in v]"),
    "open files": Escape(
        "read a file that the judge has open",
        "for fd in range(3, 64):\n    try: got += [1] if b'fish' in os.pread(fd, 99, 0) else []\n"
        "    except OSError: pass\n",
    ),
    "writes outside": Escape(
        "write beside itself, into Python, into the judge's folder",
        _writes("/x", "/program.py", "/usr/x", "/python/x", "/dev/x", "/etc/x", "{folder}/x", os.__file__),
    ),
    # What it may take.
    "memory": Escape("take memory without end", "while True: got.append(bytearray(1 << 20))"),
    "nested list": Escape("a list that grows tenfold each time", "x = [0]\nwhile True: x = x * 10"),
    "unpacked": Escape(
        "unpack a bomb of zlib",
        "import zlib\nd = zlib.decompressobj()\nz = zlib.compress(bytes(1 << 24), 9)\n"
        "got = [zlib.decompress(z) for _ in range(999)]",
    ),
    "shared memory": Escape(
        "System V shared memory, which is in no process once it is detached",
        "libc.shmat.restype = ctypes.c_void_p\nfor i in range(6):\n"
        "    k = libc.shmget(0, 256 << 20, 0o1600)\n    at = libc.shmat(k, 0, 0) if k >= 0 else 0\n"
        "    if k < 0 or at in (None, 2**64 - 1): break\n"
        "    ctypes.memset(at, 1, 256 << 20); libc.shmdt(ctypes.c_void_p(at)); got.append(1)\n"
        "got = got[5:]",
    ),
    "memory files": Escape(
        "files in memory that no disk limit counts",
        "kept = []\ntry:\n    for i in range(24):\n        f = os.memfd_create('x'); kept.append(f)\n"
        "        for _ in range(60): os.write(f, bytes(1 << 20))\n        got.append(1)\n"
        "except OSError: pass\ngot = got[20:]",
    ),
    "queues": Escape(
        "message queues and semaphores of the kernel",
        _each("libc.msgget(0, 0o1600) >= 0", "libc.semget(0, 250, 0o1600) >= 0", "libc.syscall(240, b'q', 66, 384, 0) > 0"),
    ),
    "disk": Escape(
        "fill the work folder, /tmp, /dev/shm and /var/tmp",
        "for folder in ('.', '/tmp', '/dev/shm', '/var/tmp'):\n    n = 0\n    try:\n"
        "        for i in range(99):\n            with open(f'{folder}/dsl-escape-{i}', 'wb') as f:\n"
        "                for _ in range(16): n += f.write(bytes(1 << 20)); f.flush()\n"
        "    except OSError: pass\n    if n > 70 << 20: got.append(n)\n",
    ),
    "many files": Escape(
        "make 100,000 files, and find those of an earlier program",
        "got = os.listdir('.')\nfor i in range(100_000): os.close(os.open(f'/tmp/dsl-escape-{i}', os.O_CREAT))\n",
    ),
    "many descriptors": Escape(
        "open 100,000 descriptors",
        "import resource\n" + _each("resource.setrlimit(resource.RLIMIT_NOFILE, (10**5, 10**5)) is None")
        + "try:\n    for i in range(100_000): os.dup(0)\n    got = [1]\nexcept OSError: pass\n",
    ),
    "own limits": Escape(
        "raise its own limits",
        "import resource as r\n" + _each(*(f"r.setrlimit(r.{n}, (-1, -1)) is None" for n in
        ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE"))),
    ),
    "endless loop": Escape("never end", "while True: pass"),
    "sleeps": Escape("sleep", "time.sleep(10**6)"),
    "sleeps in the test": Escape("sleep when it is called", "import time\ndef add(a, b):\n    time.sleep(99)\n", True),
    "one huge power": Escape("stay in one instruction that no signal ends", "got = [9**9**9]"),
    "deep recursion": Escape(
        "exhaust the stack", "sys.setrecursionlimit(10**9)\ndef f(): return f()\nclass A:\n"
        "    def __repr__(self): return repr(self)\n" + _each("f()", "repr(A())")
    ),
    "segfault": Escape("crash in C", "ctypes.string_at(0)"),
    "endless output": Escape("print without end", "while True: print('x' * 100)"),
    "huge line": Escape("print one line of 500 MB", "os.write(1, b'x')\nprint('x' * (500 << 20))\nos.write(2, b'x' * (9 << 20))"),
    # Network.
    "tcp": Escape("connect to a listener of the host",
        _CONNECT + _each("send(2, 1, ('127.0.0.1', {tcp}))", "send(2, 1, ('192.0.2.1', 80))")),
    "udp": Escape("send to a socket of the host", _CONNECT + _each("send(2, 2, ('127.0.0.1', {udp}))")),
    "unix socket": Escape(
        "connect to a unix socket of the host, by its path and by an abstract name",
        _CONNECT + _each("send(1, 1, '{unix}')", "send(1, 1, '\\0dsl-probe-{pid}')"),
    ),
    "listener": Escape(
        "listen where the host could connect",
        "import socket\ns = socket.create_server(('0.0.0.0', {free})); s.settimeout(.5)\n" + _each("s.accept()"),
    ),
    # Privilege.
    "mounts": Escape(
        "mount, unshare, chroot, pivot_root",
        _each("libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0", "libc.unshare(0x10000000) == 0", "libc.chroot(b'/tmp') == 0")
        + _each("libc.syscall(155, b'/tmp', b'/tmp') == 0", "libc.syscall(428, -100, b'/', 1) >= 0", "libc.umount2(b'/tmp', 2) == 0"),
    ),
    "setuid": Escape(
        "become root, and make a file that is run as root",
        _each("os.setuid(0) is None", "os.setgid(0) is None", "libc.setresuid(0, 0, 0) == 0", "libc.prctl(23, 21, 0, 0, 0) == 1")
        + _each("open('s', 'w').close() or os.chown('s', 0, 0) is None", "os.mknod('n', 0o60666, os.makedev(254, 0)) is None"),
    ),
    "kernel surface": Escape(
        "bpf, perf, userfaultfd, io_uring, keys, namespaces of others",
        _each(*(f"libc.syscall({n}, 0, 0, 0, 0, 0) >= 0" for n in (321, 298, 323, 425, 248, 249, 250, 272, 308, 447))),
    ),
    # Verdicts.
    "exits": Escape("end with 0 before the tests run", "import sys\nsys.exit(0)", True),
    "exits at once": Escape("end with 0 without Python's own end", "import os\nos._exit(0)", True),
    "exits in the test": Escape("end with 0 while it is tested", "import os\ndef add(a, b):\n    os._exit(0)", True),
    "prints passed": Escape("print what a judge may look for", "print('passed\\nOK\\n1.0\\ntrue')\n" + "def add(a, b):\n    print('passed')", True),
    "forges the word": Escape(
        "find the word that says that the tests passed, and write it",
        _FIND_WORD + "def add(a, b):\n    for w in set(words()):\n        for fd in range(1, 20):\n"
        "            try: os.write(fd, w.encode())\n            except OSError: pass\n        os._exit(0)\n",
        True,
    ),
    "reads the tests": Escape(
        "read the tests and the word before they are run",
        "import os, sys, json\ntry: text = sys.modules['__main__']._in.read()\nexcept Exception: text = ''\n"
        "for fd in range(20):\n    try: os.set_blocking(fd, False); text += os.read(fd, 9999).decode()\n    except Exception: pass\n"
        "for line in text.splitlines():\n    try:\n        word = json.loads(line)[1]\n        for fd in range(1, 20):\n"
        "            try: os.write(fd, word.encode())\n            except OSError: pass\n        os._exit(0)\n    except ValueError: pass\n",
        True,
    ),
    "equals everything": Escape(
        "return what is equal to everything",
        "class A(int):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    __hash__ = int.__hash__\ndef add(a, b):\n    return A(7)",
        True,
    ),
    "patches the checker": Escape(
        "replace what tests use: all, abs, len, isinstance, AssertionError, exec, compile",
        "import builtins, ast, json\nclass No(BaseException): pass\nreal = builtins.compile\n"
        "def fake(source, *a, **k): return real('pass' if 'assert' in str(source) else source, *a, **k)\n"
        "builtins.compile = fake\nbuiltins.exec = lambda *a, **k: None\nbuiltins.AssertionError = No\n"
        "json.loads = lambda s: ['pass', 'x']\nbuiltins.all = builtins.any = lambda *a: True\n"
        "ast.literal_eval = lambda s: 3\nbuiltins.isinstance = lambda *a: True\ndef add(a, b): return 7",
        True,
    ),
    "patches the test": Escape(
        "change the frame that tests it",
        "import sys, ctypes\ndef add(a, b):\n    f = sys._getframe(1)\n    f.f_globals['add'] = lambda *a: 3\n"
        "    sys.excepthook = lambda *a: None\n    f.f_builtins['AssertionError'] = SystemExit\n    return 7",
        True,
    ),
}
# fmt: on


@contextmanager
def aimed(folder: Path) -> Iterator[dict[str, object]]:
    """Things of the host to aim at, while they are there: files, sockets that answer nobody, a process, a variable."""
    with ExitStack() as stack:
        secret = folder / "secret.txt"
        secret.write_text(SECRET)
        stack.enter_context(open(secret))
        victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        local, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        path = str(folder / "socket")
        for one, name in ((local, path), (abstract, f"\0dsl-probe-{victim.pid}")):
            one.bind(name)
            one.listen()
        with socket.create_server(("127.0.0.1", 0)) as once:
            free = once.getsockname()[1]
        os.environ["API_TOKEN"] = SECRET
        stack.callback(os.environ.pop, "API_TOKEN")
        yield {
            "secret": secret,
            "folder": folder,
            "unix": path,
            "pid": victim.pid,
            "free": free,
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
        }
        for one in (tcp, udp, local, abstract):
            one.setblocking(False)
            reached = False
            try:
                one.recv(1) if one is udp else one.accept()
                reached = True
            except BlockingIOError:
                pass
            assert not reached, "a program in the sandbox reached a socket of the host"
        assert victim.poll() is None, "a program in the sandbox ended a process of the host"
        assert secret.read_text() == SECRET and sorted(p.name for p in folder.iterdir()) == ["secret.txt", "socket"]


def adopt(orphans: bool = True) -> None:
    """Let what a child leaves behind become a child of this process, so that it is seen (PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None).prctl(36, int(orphans), 0, 0, 0)


def left_over(folder: Path) -> dict[str, object]:
    """What a program may leave on the host: running children, files where an attack writes them, descriptors.

    folder: where temporary files are made.
    """
    running = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread or a process that ended meanwhile
            for pid in (task / "children").read_text().split():
                if Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    running.append(pid)
    return {
        "processes": sorted(running),
        "files": sorted(str(p) for place in ("/dev/shm", "/tmp", "/var/tmp") for p in Path(place).glob("dsl-escape-*")),
        "temporary": sorted(p.name for p in folder.iterdir()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
