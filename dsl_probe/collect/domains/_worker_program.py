"""The program of the worker: runs inside the sandbox and imports nothing of this package. See worker.py.

LIBRARY, SECONDS and NO_FORK (a compiled seccomp filter, or None) are put before it. One JSON object a line in, one a
line out.
"""

import ctypes
import json
import logging
import os
import resource
import select
import signal
import sys
import warnings
from typing import Any, cast

LIBRARY: str = globals().get("LIBRARY", "math")
SECONDS: int = globals().get("SECONDS", 10)
NO_FORK: bytes | None = globals().get("NO_FORK")
_datasets: dict[tuple, Any] = {}
_entries: dict[tuple, Any] = {}


def math_same(request: dict) -> dict:
    """Whether math-verify calls the two the same; gold first.

    Its own timeouts are off: they need the main thread. Its fallbacks are off: with them, text that it cannot read is
    searched for any number, so \\prod_{i=1}^{9} i is 1.
    """
    from math_verify import LatexExtractionConfig, parse, verify

    config = cast(Any, [LatexExtractionConfig()])

    def parsed(text: str) -> list:
        text = "$" + text.replace("$", " ").replace("\\(", " ").replace("\\)", " ") + "$"
        found = parse(text, config, fallback_mode="no_fallback", parsing_timeout=cast(Any, None))
        return [f for f in found if not isinstance(f, str)]

    gold, pred = parsed(request["gold"]), parsed(request["pred"])
    return {"same": bool(gold and pred and verify(gold, pred, timeout_seconds=None)), "parsed": bool(pred)}


def item(request: dict) -> tuple[Any, Any]:
    """The dataset of a request and its item; both are kept, so that the forks share them."""
    import reasoning_gym

    key = (request["dataset"], request["seed"], request["size"], json.dumps(request["config"], sort_keys=True))
    if key not in _datasets:
        if len(_datasets) >= 200:
            _datasets.clear()
        name, seed, size, _ = key
        _datasets[key] = reasoning_gym.create_dataset(name, seed=seed, size=size, **request["config"])
    place = (*key, request["index"])
    if place not in _entries:
        if len(_entries) >= 2000:
            _entries.clear()
        _entries[place] = _datasets[key][request["index"]]
    return _datasets[key], _entries[place]


def gym_score(request: dict) -> dict:
    """The dataset's own score of an answer to its item `index`, if that item still asks the same question."""
    data, entry = item(request)
    if entry["question"].strip() not in request["prompt"]:
        return {"other": True}
    return {"score": float(data.score_answer(request["answer"], entry))}


class _Filter(ctypes.Structure):
    """struct sock_fprog of the kernel."""

    _fields_ = [("length", ctypes.c_ushort), ("rules", ctypes.c_char_p)]


def no_more_processes() -> None:
    """Refuse fork, clone and threads from here on, in this process: a kill then ends all that it started."""
    if NO_FORK:
        libc = ctypes.CDLL(None)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        libc.prctl(22, 2, ctypes.byref(_Filter(len(NO_FORK) // 8, NO_FORK)))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def forked(judge: Any, request: dict) -> dict:
    """Judge in a child that holds no pipe but its own, with limits; kill it when the clock runs out."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(0)
            os.dup2(2, 1)
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 1, SECONDS + 1))
            memory = min(2 << 30, resource.getrlimit(resource.RLIMIT_AS)[1])
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            no_more_processes()
            try:
                answer = judge(request)
            except MemoryError:
                answer = {"error": "out of memory"}
            except BaseException as error:
                answer = {"error": f"{type(error).__name__}: {error}"[:500]}
            os.write(writing, json.dumps(answer).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], SECONDS)
    data = os.read(reading, 65536) if ready else b""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    if not ready:
        return {"error": "timeout"}
    try:
        answer = json.loads(data)
        return answer if isinstance(answer, dict) else {"error": "garbled"}
    except ValueError:
        return {"error": "the judging process died"}


def serve() -> None:
    """Import once, then judge line after line until stdin ends."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    judge = {"math": math_same, "gym": gym_score}[LIBRARY]
    __import__({"math": "math_verify", "gym": "reasoning_gym"}[LIBRARY])
    if LIBRARY == "math":  # builds the parser's tables, which every fork then has
        for gold, pred in ((r"\frac{1}{2}", "0.5"), ("x^2+1", "1+x^2"), ("(1,2)", r"\left(1,2\right)")):
            math_same({"gold": gold, "pred": pred})
    for line in sys.stdin:
        request = json.loads(line)
        if LIBRARY == "gym":
            try:
                _, entry = item(request)
            except Exception as error:
                print(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}), flush=True)
                continue
            if "answer" not in request:
                answer = None if entry["answer"] is None else str(entry["answer"])
                print(json.dumps({"question": entry["question"], "answer": answer}), flush=True)
                continue
        print(json.dumps(forked(judge, request)), flush=True)


if __name__ == "__main__":
    serve()
