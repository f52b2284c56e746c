"""Text-only collection from an OpenAI-compatible server (vLLM, llama.cpp, SGLang, a vendor).

What such a server computed cannot be checked from here: token ids and entropies are missing, special tokens may be left
out of the text, log-probabilities come where the server offers them, and whether the seed is honoured is the server's
word. `OPENAI_API_KEY` is sent if it is set, and stored nowhere.
"""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from dsl_probe.collect.seeded import Outcome, Progress, is_loop, key_of
from dsl_probe.models import CHAT, template_text
from dsl_probe.types import Problem, UserError

if TYPE_CHECKING:
    from dsl_probe.collect.sample import CollectConfig

ATTEMPTS = 6
FIRST_WAIT = 1.0
TIMEOUT = 600
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)


class ServerBackend:
    """Samples (problem, sample) pairs, a request each with its own seed, `concurrency` at a time, in order.

    Template chat goes to /chat/completions, any other to /completions with the template filled in here.
    """

    def __init__(self, url: str, config: "CollectConfig"):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"--server {url!r} is no URL; write for example http://localhost:8000/v1")
        self.url, self.config = url.rstrip("/"), config
        self.chat = template_text(config.template) == CHAT
        if self.chat and config.prefix:
            raise UserError("a chat server takes no --prefix; use --template raw, r1-zero or a text with {prompt}.")
        self.logprobs = True
        self.tokenizer_hash = None
        self.options: dict[str, Any] = {
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_tokens": config.max_new_tokens,
            **({"top_k": config.top_k} if config.top_k else {}),
            **({"stop": list(config.stop)} if config.stop else {}),
        }
        self.sampling = self.options | {"seed": config.seed, "engine": "OpenAI-compatible server", "chat": self.chat}

    def __call__(self, pairs: Sequence[tuple[Problem, int]], progress: Progress) -> list[Outcome]:
        outcomes = []
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            waiting = [pool.submit(self._one, problem, sample) for problem, sample in pairs]
            try:
                for future in waiting:
                    outcomes.append(future.result())
                    progress.tokens(outcomes[-1].meta.get("completion_tokens") or 0)
                    progress.traces(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return outcomes

    def _one(self, problem: Problem, sample: int) -> Outcome:
        config = self.config
        body = {"model": config.model, "n": 1, "stream": False, **self.options}
        body["seed"] = key_of(config.seed, problem.id, sample) % 2**31
        if self.chat:
            body["messages"] = [{"role": "user", "content": problem.prompt}]
        else:
            body["prompt"] = template_text(config.template).replace("{prompt}", problem.prompt) + config.prefix
        path = "/chat/completions" if self.chat else "/completions"
        asked_logprobs = self.logprobs
        if asked_logprobs:
            body["logprobs"] = True if self.chat else 1
        try:
            reply = _post(self.url + path, body)
        except _Refused as refused:
            if not asked_logprobs or "logprob" not in refused.text:
                raise UserError(
                    f"{self.url}{path} refused the request (status {refused.status}): {refused.text[:300]} "
                    f"Check --model {config.model!r} and the options; the server lists its models at {self.url}/models"
                ) from None
            self.logprobs = False
            return self._one(problem, sample)
        try:
            return self._outcome(reply)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UserError(f"{self.url}{path} does not answer like an OpenAI server: {str(reply)[:300]}") from error

    def _outcome(self, reply: dict[str, Any]) -> Outcome:
        choice = reply["choices"][0]
        meta: dict[str, Any] = {"completion_tokens": (reply.get("usage") or {}).get("completion_tokens")}
        if self.chat:
            message = choice["message"]
            text = message.get("content") or ""
            thoughts = message.get("reasoning_content") or message.get("reasoning")
            if thoughts:
                # Servers that part the thinking from the answer drop the tags that stood between them.
                text = f"<think>{thoughts}</think>{text}"
                meta["reasoning_field"] = True
        else:
            text = choice["text"]
        tokens, logprobs = _logprobs(choice.get("logprobs"))
        if tokens:
            meta["tokens"] = tokens
        finish = choice.get("finish_reason")
        words, ids = text.split(), {}
        if finish == "length" and is_loop(
            [ids.setdefault(word, len(ids)) for word in words], min(self.config.loop_tokens, len(words))
        ):
            finish = "loop"
        if finish not in ("stop", "length", "loop"):
            finish, meta["finish_reason"] = None, finish
        return Outcome(text=self.config.prefix + text, finish=finish, logprobs=logprobs, meta=meta)


class _Refused(Exception):
    """The server says that the request itself is wrong."""

    def __init__(self, status: int, text: str):
        super().__init__(status, text)
        self.status, self.text = status, text


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The JSON reply. Waits and asks again, longer each time, while the server is busy or away."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    reason = ""
    for attempt in range(ATTEMPTS):
        wait = FIRST_WAIT * 2**attempt
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            text = error.read(10_000).decode("utf-8", "replace")
            if error.code not in _AGAIN:
                raise _Refused(error.code, text) from error
            reason = f"status {error.code}: {text[:200]}"
            asked = error.headers.get("Retry-After", "")
            wait = max(wait, min(float(asked), 60.0)) if asked.isdigit() else wait
        except (OSError, json.JSONDecodeError) as error:  # URLError, timeouts, a reply cut off
            reason = str(error)
        if attempt + 1 < ATTEMPTS:
            time.sleep(wait)
    raise UserError(
        f"{url} did not answer in {ATTEMPTS} attempts ({reason}). Is the server running? The same command goes on "
        f"where this one stopped."
    )


def _logprobs(content: Any) -> tuple[list[str] | None, list[float] | None]:
    """Tokens and log-probabilities, of either endpoint's shape; None where the server gave none."""
    if not content:
        return None, None
    if content.get("content") is not None:
        entries = content["content"]
        return [entry["token"] for entry in entries], [float(entry["logprob"]) for entry in entries]
    if content.get("token_logprobs") is not None:
        values = [float("nan") if value is None else float(value) for value in content["token_logprobs"]]
        return list(content.get("tokens") or []), values
    return None, None
