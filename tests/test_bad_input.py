"""Collecting and capturing as a user may get it wrong, from the command line: the message, the exit code, no traceback.

Also a disk that fills up, and programs that a model wrote to get out of the sandbox.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tiny import tiny_model

from dsl_probe.cli import main
from dsl_probe.store import Run

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def collecting(folder, tmp_path_factory):
    """The command that samples 24 traces of the tiny model."""
    path = tmp_path_factory.mktemp("problems") / "sums.jsonl"
    rows = [{"problem_id": f"p{i}", "prompt": f"what is {i} + 1 ?", "reference": str(i + 1)} for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--n", "6", "--samples", "4", "--max-new-tokens", "40", "--device", "cpu", "--template", "raw"]
    return ["collect", "--model", str(folder), "--domains", str(path), *options]


@pytest.fixture(scope="module")
def traces(collecting, tmp_path_factory):
    """A run with traces of the tiny model."""
    run = tmp_path_factory.mktemp("runs") / "run"
    assert limited([*collecting, "--out", str(run)], None).returncode == 0
    return run


@pytest.mark.parametrize(
    "argv, words",
    [
        (["collect", "--out", "NEW", "--model", "/nowhere/model"], ["/nowhere/model", "hub id", "folder"]),
        (["collect", "--out", "NEW", "--model", "someone/no-such-model"], ["hf download someone/no-such-model"]),
        (["collect", "--out", "NEW", "--model", "TINY", "--domains", "maths"], ["'maths'", "countdown", "gym:NAME"]),
        (["collect", "--out", "NEW", "--model", "TINY", "--domains", "gym:countdwn"], ["countdwn", "countdown"]),
        (["collect", "--out", "NEW", "--model", "TINY", "--compute", "float8"], ["float8", "bfloat16"]),
        (["collect", "--out", "NEW", "--model", "TINY", "--adapter", "/nowhere/lora"], ["adapter_config.json"]),
        (["capture", "RUN", "--model", "/nowhere/model", "--layers", "0"], ["/nowhere/model", "hub id"]),
        (["capture", "RUN", "--model", "TINY", "--layers", "0", "2"], ["layer 2 does not exist", "0..1"]),
        (["capture", "RUN", "--model", "TINY", "--layers", "-1"], ["layer -1 does not exist", "0..1"]),
        (["capture", "RUN", "--model", "TINY", "--layers", "0", "--at", "sometimes"], ["sometimes", "every:N"]),
        (["capture", "RUN", "--model", "TINY", "--layers", "0", "--backend", "magic"], ["magic", "vllm"]),
        (["score", "RUN", "--model", "/nowhere/model"], ["/nowhere/model", "hub id"]),
    ],
)
def test_bad_input_names_the_value_and_the_allowed_ones(traces, folder, tmp_path, capsys, monkeypatch, argv, words):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    named = {"RUN": str(traces), "TINY": str(folder), "NEW": str(tmp_path / "new")}
    before = sorted(p.name for p in traces.rglob("*"))
    assert main([named.get(a, a) for a in argv]) == 2
    got = capsys.readouterr()
    assert all(word in got.err for word in words), got.err
    assert "Traceback" not in got.err and got.out == ""
    assert sorted(p.name for p in traces.rglob("*")) == before
    assert not list(tmp_path.rglob("*.parquet"))


def limited(argv: list[str], most: int | None) -> subprocess.CompletedProcess[str]:
    """Run the tool where no file may grow beyond `most` bytes, as on a disk that is full."""

    def limit() -> None:
        if most:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    command = [sys.executable, "-m", "dsl_probe", *argv]
    # The last bits of a sum depend on the number of threads.
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, env=one)


def test_a_full_disk_stops_collect_and_the_same_command_goes_on(collecting, traces, tmp_path):
    argv = [*collecting, "--out", str(tmp_path / "run")]
    cut = limited(argv, 6_000)
    assert cut.returncode == 2 and "cannot write" in cut.stderr and "00000.parquet" in cut.stderr
    assert "too large" in cut.stderr and "Traceback" not in cut.stderr
    assert not list((tmp_path / "run").rglob("*.parquet")) and not list((tmp_path / "run").rglob("*.tmp"))
    assert limited(argv, None).returncode == 0
    assert Run(tmp_path / "run").outputs("collect") == Run(traces).outputs("collect")


def test_a_full_disk_stops_capture_and_the_same_command_goes_on(folder, traces, tmp_path):
    import shutil

    argv = ["--model", str(folder), "--layers", "0", "1", "--at", "every:1", "--device", "cpu"]
    runs = [shutil.copytree(traces, tmp_path / name) for name in ("whole", "cut")]
    assert main(["capture", str(runs[0]), *argv]) == 0
    cut = limited(["capture", str(runs[1]), *argv], 20_000)
    assert cut.returncode == 2 and "cannot write" in cut.stderr and "00000.safetensors" in cut.stderr
    assert "too large" in cut.stderr and "Traceback" not in cut.stderr
    assert not list(runs[1].glob("acts/**/*.safetensors")) and not list(runs[1].rglob("*.tmp"))
    assert limited(["capture", str(runs[1]), *argv], None).returncode == 0
    stages = [Run(r).outputs("capture.tiny") if Run(r).stage("capture.tiny") else None for r in runs]
    records = [{p.name: p.read_bytes() for p in sorted(r.glob("acts/**/*")) if p.is_file()} for r in runs]
    assert records[0] == records[1] and records[0] and stages[0] == stages[1]


class _Author(BaseHTTPRequestHandler):
    """A server whose model answers every problem with `program`."""

    program = ""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        text = f"```python\n{self.program}\n```"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        data = json.dumps({"choices": [choice], "usage": {"completion_tokens": 9}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


ESCAPE = """
def add(a, b):
    got = []
    try:
        got.append(open({secret!r}).read())
    except OSError:
        pass
    try:
        import socket
        socket.create_connection(("127.0.0.1", {port}), 2)
        got.append("connected")
    except OSError:
        pass
    return a + b if {right} else None
"""


@pytest.mark.bwrap
def test_a_program_that_a_model_wrote_reads_no_file_and_opens_no_socket(tmp_path, capsys):
    """It is right only if it could do neither; its twin only if it could do one. The first passes, the twin fails."""
    (tmp_path / "secret.txt").write_text("swordfish")
    (tmp_path / "mine.py").write_text(
        "from functools import partial\n"
        "from dsl_probe.collect.domains import code\n"
        "from dsl_probe.types import Problem\n"
        "def problems(seed, n):\n"
        "    meta = {'set': 'mbpp', 'test': 'assert add(1, 2) == 3', 'entry_point': 'add'}\n"
        "    return [Problem(f'p{i}', 'mine', 'Write add(a, b).', None, meta) for i in range(n)]\n"
        "verify = code.verify\n"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Author)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.path.insert(0, str(tmp_path))
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(0.2)
            for name, right, correct in (("held", "not got", 2), ("leaked", "got", 0)):
                port = listening.getsockname()[1]
                _Author.program = ESCAPE.format(secret=str(tmp_path / "secret.txt"), port=port, right=right)
                url = f"http://127.0.0.1:{server.server_port}/v1"
                argv = ["collect", "--out", str(tmp_path / name), "--domains", "mine:", "--n", "2", "--samples", "1"]
                assert main([*argv, "--server", url, "--model", "author", "--json"]) == 0
                assert json.loads(capsys.readouterr().out)["correct"] == correct
            with pytest.raises(TimeoutError):
                listening.accept()
    finally:
        sys.path.remove(str(tmp_path))
        server.shutdown()
        server.server_close()
