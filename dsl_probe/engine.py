"""map_shards: the same function over many shards, here or elsewhere.

An executor is anything with `submit(fn, *args)` that returns something with `.result()`: a process pool, Dask, Ray
behind a few lines, submitit.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """The contract: submit a picklable function, get something with `.result()`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any: ...


@contextmanager
def local_executor(workers: int | None = None) -> Generator[Executor | None]:
    """A pool of `workers` fresh processes (default: one a core); None, meaning this process, where one is enough.

    Processes are started afresh, not forked: a forked child of a process with running threads can hang. Unlike the
    standard library's they do not import the caller's main module, so that a script needs no `__main__` guard.
    """
    from loky import ProcessPoolExecutor

    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1:
        yield None
        return
    pool = ProcessPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def map_shards(
    fn: Callable[[T], R],
    shards: Sequence[T],
    executor: Executor | None = None,
    *,
    ahead: int = 4,
    retries: int = 1,
) -> Iterator[R]:
    """Yield fn(shard) in the order of the shards, at most `ahead` of them under way, so that memory is bounded.

    A shard that fails is tried `retries` more times; what still fails is raised. The results do not depend on the
    executor.

    >>> list(map_shards(str.upper, ["a", "b"]))
    ['A', 'B']
    """
    if executor is None:
        yield from map(fn, shards)
        return
    waiting = {i: executor.submit(fn, shard) for i, shard in enumerate(shards[:ahead])}
    for i in range(len(shards)):
        if i + ahead < len(shards):
            waiting[i + ahead] = executor.submit(fn, shards[i + ahead])
        yield _result(waiting.pop(i), lambda i=i: executor.submit(fn, shards[i]), retries)


def _result(future: Any, again: Callable[[], Any], retries: int) -> Any:
    for attempt in range(retries + 1):
        try:
            return future.result()
        except Exception:
            if attempt == retries:
                raise
            future = again()
    raise AssertionError("unreachable")
