# ruff: noqa: E501 (attacks)
"""What a program in the sandbox can not do. Each test is an escape that was tried."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from dsl_probe.collect import sandbox
from dsl_probe.types import UserError

bwrap = pytest.mark.bwrap


@bwrap
def test_runs_and_reports():
    result = sandbox.run_python("import sys; print(sys.stdin.read() + '!'); sys.exit(3)", stdin="hé")
    assert (result.exit, result.stdout, result.stderr, result.timed_out) == (3, "hé!\n", "", False)
    failed = sandbox.run_python("x = 1\nraise ValueError('no')")
    assert failed.exit == 1 and "line 2" in failed.stderr and "ValueError: no" in failed.stderr
    assert sandbox.run_python("this is no Python").exit == 1
    assert sandbox.run_python("print(1)\0").exit == 1
    assert sandbox.run_python("print('\ud800'.encode('utf-8', 'replace'))").exit in (0, 1)


@bwrap
def test_reads_no_file_outside(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("swordfish")
    places = [
        str(secret),
        "/etc/passwd",
        "/etc/hostname",
        "/proc/1/environ",
        "/root",
        "/home",
        "/var",
        "/sys",
        __file__,
    ]
    code = f"import os\nfor p in {places!r}:\n print(os.path.exists(p))\nprint(sorted(os.listdir('/')), os.listdir('/tmp'))"
    lines = sandbox.run_python(code).stdout.splitlines()
    assert lines[:-1] == ["False"] * len(places)
    assert "swordfish" not in sandbox.run_python(f"print(open({str(secret)!r}).read())").stdout


@bwrap
@pytest.mark.parametrize("path", ["/x", "/usr/x", "/python/x", "/dev/shm/x", "/dev/x", "/program.py", "/var/x"])
def test_writes_nothing_outside(path):
    result = sandbox.run_python(f"open({path!r}, 'w').write('x')")
    assert result.exit == 1 and ("Read-only" in result.stderr or "No such file" in result.stderr)


@bwrap
def test_tmp_is_private_and_bounded():
    assert sandbox.run_python("open('/tmp/a', 'w').write('x')").exit == 0
    assert sandbox.run_python("import os; print(os.listdir('/tmp'))").stdout == "[]\n"
    flood = "for i in range(9):\n with open(f'/tmp/{i}', 'wb') as f:\n  for _ in range(32): f.write(bytes(1 << 20))"
    assert "OSError" in sandbox.run_python(flood).stderr


@bwrap
def test_opens_no_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)"
        assert "refused" in sandbox.run_python(code).stderr
    assert "unreachable" in sandbox.run_python("import socket\nsocket.create_connection(('192.0.2.1', 80), 2)").stderr
    assert sandbox.run_python("import socket\nsocket.gethostbyname('example.org')").exit == 1


@bwrap
def test_sees_no_environment(monkeypatch):
    monkeypatch.setenv("API_TOKEN", "swordfish")
    shown = json.loads(sandbox.run_python("import os, json; print(json.dumps(dict(os.environ)))").stdout)
    assert set(shown) <= {"HOME", "LANG", "LC_CTYPE", "PYTHONHASHSEED", "PWD", "LD_LIBRARY_PATH"}
    assert "swordfish" not in json.dumps(shown)


@bwrap
@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True: os.fork()",
        "import threading\nwhile True: threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', ':'])",
        "import multiprocessing as m\nm.Process(target=print).start()",
        "import ctypes, os\nc = ctypes.CDLL(None)\nassert c.syscall(56, 17, 0, 0, 0, 0) < 0 and c.fork() < 0\nraise OSError",
    ],
)
def test_makes_no_process(code):
    start = time.monotonic()
    result = sandbox.run_python(code, seconds=5)
    assert result.exit == 1 and time.monotonic() - start < 5


@bwrap
def test_memory_is_bounded():
    assert "MemoryError" in sandbox.run_python("x = bytearray(10**10)").stderr
    grown = sandbox.run_python("x = []\nwhile True: x.append(bytearray(1 << 20))", memory_mb=200)
    assert grown.exit != 0 and not grown.timed_out
    assert sandbox.run_python("import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1))").exit == 1
    assert sandbox.run_python("(" * 100_000, seconds=5).exit != 0


@bwrap
@pytest.mark.parametrize(
    "code", ["while True: pass", "import time; time.sleep(60)", "import sys; sys.stdin.read(); 9**9**9"]
)
def test_time_is_bounded(code):
    start = time.monotonic()
    result = sandbox.run_python(code, seconds=1)
    assert (result.exit, result.timed_out) == (None, True) or result.exit not in (0, None)
    assert time.monotonic() - start < 4


@bwrap
def test_ignores_signals_and_is_still_killed():
    code = "import signal\nfor s in range(1, 65):\n try: signal.signal(s, signal.SIG_IGN)\n except (OSError, ValueError): pass\n"
    assert sandbox.run_python(code + "while True: pass", seconds=1).timed_out


@bwrap
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_is_bounded(stream):
    result = sandbox.run_python(f"import sys\nwhile True: sys.{stream}.write('x' * 10000)", output_bytes=50_000)
    assert result.too_much_output and result.exit is None and not result.timed_out
    assert len(result.stdout) + len(result.stderr) <= 50_000
    assert sandbox.run_python("import sys\nsys.stdin.close(); print(1)", stdin="x" * 5_000_000).stdout == "1\n"


@bwrap
def test_leaves_no_process_and_no_descriptor():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        sandbox.run_python("while True: pass", seconds=0.3)
    assert len(os.listdir("/proc/self/fd")) == before
    found = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True).stdout
    assert not [line for line in found.splitlines() if "/program.py" in line and line.split()[0] == str(os.getpid())]


@bwrap
def test_inherits_no_open_file(tmp_path):
    with open(tmp_path / "open.txt", "w+") as file:
        file.write("swordfish")
        file.flush()
        os.set_inheritable(file.fileno(), True)
        code = "import os\nfor fd in range(3, 64):\n try: print(os.pread(fd, 99, 0))\n except OSError: pass"
        assert "swordfish" not in sandbox.run_python(code).stdout


@bwrap
def test_dangerous_calls_are_refused():
    code = "import ctypes; c = ctypes.CDLL(None); print(c.unshare(0x10000000), c.ptrace(0, 0, 0, 0), c.mount(0, 0, 0, 0, 0))"
    assert sandbox.run_python(code).stdout == "-1 -1 -1\n"


@bwrap
def test_works_off_the_main_thread():
    found = []
    threads = [threading.Thread(target=lambda: found.append(sandbox.run_python("print(1)").stdout)) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert found == ["1\n"] * 3


def test_without_bwrap_it_refuses_unless_asked(monkeypatch):
    monkeypatch.setattr(sandbox, "why_not", lambda: "bubblewrap (bwrap) is not installed")
    assert not sandbox.available()
    with pytest.raises(UserError, match=r"bwrap.*--unsafe-exec.*not a boundary"):
        sandbox.run_python("print(1)")
    result = sandbox.run_python("import os; print(os.environ.get('PATH'), 6 * 7)", unsafe_exec=True)
    assert result.stdout == "None 42\n"
    assert sandbox.run_python("while True: pass", seconds=0.5, unsafe_exec=True).timed_out
    assert "MemoryError" in sandbox.run_python("bytearray(10**10)", unsafe_exec=True).stderr


def test_a_machine_without_a_filter_says_so(monkeypatch):
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "mips")
    assert sandbox.seccomp_filter() is None
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "aarch64")
    arm = sandbox.seccomp_filter()
    assert arm and len(arm) % 8 == 0 and len(arm) > len(sandbox.seccomp_filter(allow_fork=True) or b"")


def test_missing_bwrap_is_told(monkeypatch):
    sandbox.why_not.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    assert "not installed" in (sandbox.why_not() or "")
    sandbox.why_not.cache_clear()
    assert sys.version_info >= (3, 11)
