"""Text-only collection from a real local server that speaks the OpenAI protocol."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest
from tiny import SPECIAL, WORDS, tiny_model

from dsl_probe.collect import server
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.store import Run
from dsl_probe.types import UserError


class Fake(ThreadingHTTPServer):
    """Answers `<answer>N</answer>`, N the number of plus signs in the prompt; the seed decides how it is dressed."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked, self.fail_first, self.status, self.offers_logprobs, self.thinks = [], 0, 503, True, False
        self.lock = threading.Lock()
        self.keys = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake = self.server
        with fake.lock:
            fake.asked.append((self.path, body))
            fake.keys.append(self.headers.get("Authorization"))
            failing = fake.fail_first > 0
            fake.fail_first -= failing
        if failing:
            return self._reply(fake.status, {"error": "busy"})
        if body.get("logprobs") and not fake.offers_logprobs:
            return self._reply(400, {"error": "logprobs are not supported"})
        if body["model"] != "tiny":
            return self._reply(404, {"error": f"no model {body['model']}"})
        chat = self.path.endswith("/chat/completions")
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        tokens = ["so ", f"seed {body['seed']} ", f"<answer>{prompt.count('+')}</answer>"]
        logprobs = None
        if body.get("logprobs"):
            logprobs = {"content": [{"token": t, "logprob": -0.5, "bytes": None} for t in tokens]}
            if not chat:
                logprobs = {"tokens": tokens, "token_logprobs": [-0.5] * 3}
        message = {"role": "assistant", "content": "".join(tokens)}
        if fake.thinks:
            message["reasoning_content"] = "hmm"
        choice = {"index": 0, "finish_reason": "stop", "logprobs": logprobs}
        choice |= {"message": message} if chat else {"text": "".join(tokens)}
        return self._reply(200, {"choices": [choice], "usage": {"completion_tokens": 3}})

    def _reply(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def fake():
    fake = Fake()
    yield fake
    fake.shutdown()
    fake.server_close()


@pytest.fixture
def config(tmp_path, fake, monkeypatch):
    monkeypatch.setattr(server, "FIRST_WAIT", 0.001)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    rows = [{"problem_id": f"p{i}", "prompt": f"what is {'1 + ' * i}1", "reference": str(i)} for i in range(5)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CollectConfig(
        model="tiny", domains=(str(tmp_path / "sums.jsonl"),), n=5, samples=2, shard=4, concurrency=3, server=fake.url
    )


def test_text_and_logprobs_arrive_and_every_request_has_its_own_seed(tmp_path, config, fake, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    run = Run.create(tmp_path / "run")
    result = collect(run, config)
    assert (result.traces, result.correct, result.tokens, result.finishes) == (10, 10, 30, {"stop": 10})
    rows = run.all_shards("traces").to_pylist()
    seeds = [body["seed"] for _, body in fake.asked]
    assert len(set(seeds)) == 10 and {path for path, _ in fake.asked} == {"/v1/chat/completions"}
    for row in rows:
        meta = json.loads(row["meta"])
        assert row["token_ids"] is None and row["entropies"] is None and row["tokenizer"] is None
        assert "".join(meta["tokens"]) == row["text"] and row["logprobs"] == [-0.5] * 3
        assert fake.url not in json.dumps(row) and "secret-key" not in json.dumps(row)
    assert set(fake.keys) == {"Bearer secret-key"}
    sent = fake.asked[0][1]
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["n"]) == (1.0, 1.0, 1024, 1)
    assert run.has("curve.parquet")


def test_a_busy_server_is_asked_again_and_the_result_is_the_same(tmp_path, config, fake):
    collect(Run.create(tmp_path / "calm"), config)
    fake.fail_first = 4
    collect(Run.create(tmp_path / "busy"), config)
    assert _bytes(tmp_path / "calm") == _bytes(tmp_path / "busy")


def test_a_server_that_stays_away_is_named_and_the_run_goes_on_later(tmp_path, config, fake):
    whole = Run.create(tmp_path / "whole")
    collect(whole, config)
    fake.asked.clear()
    run = Run.create(tmp_path / "run")
    fake.fail_first = 1_000
    with pytest.raises(UserError, match="6 attempts"):
        collect(run, config)
    fake.fail_first = 0
    collect(run, config)
    assert _bytes(tmp_path / "whole") == _bytes(tmp_path / "run")


def test_a_server_without_logprobs(tmp_path, config, fake):
    fake.offers_logprobs = False
    run = Run.create(tmp_path / "run")
    collect(run, config)
    assert run.all_shards("traces")["logprobs"].null_count == 10
    assert sum("logprobs" in body for _, body in fake.asked) <= config.concurrency


def test_other_templates_go_to_completions_with_the_prefix(tmp_path, config, fake):
    run = Run.create(tmp_path / "run")
    collect(run, replace(config, template="r1-zero", prefix="<think>", stop=("</answer>",)))
    path, body = fake.asked[0]
    assert path == "/v1/completions" and body["prompt"].endswith("Assistant:<think>") and body["stop"] == ["</answer>"]
    assert all(text.startswith("<think>so ") for text in run.all_shards("traces")["text"].to_pylist())
    with pytest.raises(UserError, match="takes no --prefix"):
        collect(Run.create(tmp_path / "chat"), replace(config, prefix="<think>"))


def test_thinking_in_a_field_of_its_own_is_put_before_the_answer(tmp_path, config, fake):
    fake.thinks = True
    run = Run.create(tmp_path / "run")
    assert collect(run, config).correct == 10
    assert all(text.startswith("<think>hmm</think>so ") for text in run.all_shards("traces")["text"].to_pylist())


def test_what_the_user_can_mend_is_said(tmp_path, config, monkeypatch):
    monkeypatch.setattr(server, "ATTEMPTS", 1)
    for change, hint in (
        ({"model": "other"}, "no model other"),
        ({"server": "localhost"}, "http://localhost:8000/v1"),
        ({"server": "http://127.0.0.1:9/v1"}, "Is the server running"),
        ({"adapter": "some/adapter"}, "leave --checkpoints and --adapter out"),
    ):
        with pytest.raises(UserError, match=hint):
            collect(Run.create(tmp_path / "run"), replace(config, **change), force=True)


def _bytes(folder):
    return [p.read_bytes() for p in sorted(folder.glob("traces/*.parquet"))]


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(find_spec, ("fastapi", "uvicorn", "openai"))), reason="transformers[serving] is not installed"
)
def test_against_transformers_serve(tmp_path, config):
    """A real server with a real (tiny, random) model: both endpoints; at temperature 0 the text is the model's own."""
    folder = tiny_model(tmp_path / "tiny")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--device", "cpu"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as reply:
                if reply.status == 200:
                    break
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.5)
        served = replace(config, model=str(folder), server=f"http://127.0.0.1:{port}/v1", max_new_tokens=12)
        for template in ("chat", "raw"):
            run = Run.create(tmp_path / template)
            result = collect(run, replace(served, template=template))
            rows = run.all_shards("traces").to_pylist()
            assert result.traces == 10 and {row["finish"] for row in rows} <= {"stop", "length"}
            assert all(word in WORDS for row in rows for word in row["text"].split())
            assert all(row["model"] == "tiny" for row in rows)
            greedy = replace(served, template=template, temperature=0.0)
            collect(Run.create(tmp_path / f"{template}-served"), greedy)
            collect(Run.create(tmp_path / f"{template}-here"), replace(greedy, server=None, device="cpu"))
            words = [
                [
                    [w for w in text.split() if w not in SPECIAL]
                    for text in Run(path).all_shards("traces")["text"].to_pylist()
                ]
                for path in (tmp_path / f"{template}-served", tmp_path / f"{template}-here")
            ]
            # The server leaves special tokens out of its text.
            assert words[0] == words[1] and all(words[0])
    finally:
        process.terminate()
        process.wait(30)
