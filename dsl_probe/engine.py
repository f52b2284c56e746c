"""map_shards and each_unit: the same function over many shards, here or elsewhere.

An executor is anything with `submit(fn, *args)` that returns something with `.result()`: a process pool, Dask, Ray or
submitit (`executors.py`).
"""

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dsl_probe import locks

T = TypeVar("T")
R = TypeVar("R")
_ELSEWHERE = "another process is at it"


class Executor(Protocol):
    """The contract: submit a picklable function, get something with `.result()`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any: ...


@contextmanager
def local_executor(workers: int | None = None) -> Generator[Executor | None]:
    """A pool of `workers` fresh processes (default: one a core); None, meaning this process, where one is enough.

    Processes are started afresh, not forked: a forked child of a process with running threads can hang. Unlike the
    standard library's they do not import the caller's main module, so that a script needs no `__main__` guard. When a
    worker is killed, what was under way fails, and the next submit starts new workers.
    """
    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1:
        yield None
        return
    pool = _Pool(workers)
    try:
        yield pool
    finally:
        pool.close()


class _Pool:
    """A process pool that outlives the death of a worker."""

    def __init__(self, workers: int):
        self.workers, self.pool = workers, None

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        from loky import ProcessPoolExecutor
        from loky.process_executor import BrokenProcessPool

        for _ in range(2):
            if self.pool is None:
                self.pool = ProcessPoolExecutor(self.workers)
            try:
                return self.pool.submit(fn, *args)
            except BrokenProcessPool:
                self.close()
        raise RuntimeError("the pool of processes cannot be started")

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, kill_workers=True)
            self.pool = None


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


@dataclass(frozen=True)
class Unit:
    """A piece of a stage with a file of its own: done when `file` is there, locked by a file beside it."""

    job: Any
    file: Path


def each_unit(
    fn: Callable[[Any], R],
    units: Sequence[Unit],
    executor: Executor | None = None,
    *,
    ahead: int = 4,
    retries: int = 1,
    wait: float = 0.5,
) -> Iterator[tuple[int, R | None]]:
    """Do what is left of `units` and yield (number, fn(job)) for each, in order; None where its file is there already.

    Several processes may do this over the same units, on one machine or on many that share the folder: each unit is
    done by one of them, and all end when all units are done. What one of them is at is asked for again every `wait`
    seconds, after the rest.
    """
    left = list(range(len(units)))
    while left:
        busy = []
        # Asked here first: with an executor what is done already need not travel.
        open_ones = [i for i in left if not units[i].file.exists()]
        closed = set(left).difference(open_ones)
        yield from ((i, None) for i in left if i in closed)
        made = map_shards(partial(_alone, fn), [units[i] for i in open_ones], executor, ahead=ahead, retries=retries)
        for i, (state, value) in zip(open_ones, made, strict=True):
            if state == _ELSEWHERE:
                busy.append(i)
            else:
                yield i, value
        left = busy
        if left:
            time.sleep(wait)


def _alone(fn: Callable[[Any], R], unit: Unit) -> tuple[str, R | None]:
    with locks.held(unit.file.with_name(unit.file.name + ".lock")) as mine:
        if not mine:
            return _ELSEWHERE, None
        return "", None if unit.file.exists() else fn(unit.job)
