"""Where the shards of a stage are done: `process`, `ray` or `slurm`, named as on the command line.

    process        one process a core of this machine          process:4     four; process:1 is this process
    ray            a cluster that is found, or one made here   ray:ADDRESS   the one at this address
    slurm          a job a shard, by submitit                  slurm:gpu     in this partition

Options follow after commas: `ray:auto,num_gpus=1`, `slurm:gpu,gpus_per_node=1,timeout_min=240`. `workers=N`: how
many of Ray's workers are used (default: all that fit); how many of Slurm's jobs should run at a time (default: 50), as
many again wait in its queue.
"""

import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsl_probe.engine import Executor, local_executor
from dsl_probe.types import UserError

KINDS = ("process", "ray", "slurm")


def parse_executor(spec: str) -> tuple[str, str, dict[str, Any]]:
    """Kind, target and options of a name. Raises UserError.

    >>> parse_executor("slurm:gpu,timeout_min=60")
    ('slurm', 'gpu', {'timeout_min': 60})
    """
    head, *pairs = spec.split(",")
    kind, _, target = head.partition(":")
    if kind not in KINDS:
        raise UserError(f"--executor {spec!r} is unknown; known are process[:N], ray[:ADDRESS], slurm[:PARTITION].")
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--executor {spec!r}: {pair!r} is no option; write NAME=VALUE after a comma.")
        options[key] = _number(value)
    if kind == "process" and (options or (target and not (target.isdecimal() and int(target) > 0))):
        raise UserError(f"--executor {spec!r}: process takes the number of processes alone, as in process:4.")
    return kind, target, options


@contextmanager
def executor_of(
    asked: str | Executor | None, *, folder: Path, model: bool = False, default: int | None = None
) -> Generator[Executor | None]:
    """The executor of a name, or the object that was given; None means this process.

    folder: where Slurm's jobs leave their pickles and logs; every machine must see it. model: the work keeps a model
    loaded, so that on Ray it goes to actors, which stay, and not to tasks. default: processes where `process` has no
    number (None: one a core).
    """
    if asked is None or not isinstance(asked, str):
        yield asked
        return
    kind, target, options = parse_executor(asked)
    if kind == "process":
        with local_executor(int(target) if target else default) as pool:
            yield pool
    elif kind == "ray":
        with _ray(target, options, model) as pool:
            yield pool
    else:
        yield _slurm(target, options, folder)


def how_many(executor: Executor | None) -> int:
    """Shards that are worth having under way: twice the workers, where their number is known."""
    return 2 * (getattr(executor, "workers", None) or 2)


def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, UserError | None]:
    """A UserError comes back as a value: engines wrap what is raised, and its words would be lost in a traceback."""
    try:
        return fn(*args), None
    except UserError as error:
        return None, error


class _Told:
    """A future of `_call`."""

    def __init__(self, wait: Callable[[], tuple[Any, UserError | None]]):
        self.wait = wait

    def result(self) -> Any:
        value, error = self.wait()
        if error is not None:
            raise error
        return value


# ---- Ray


@contextmanager
def _ray(address: str, options: dict[str, Any], model: bool) -> Generator[Executor]:
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray needs Ray: pip install 'dsl-probe[ray]'") from error
    # Else every task that wants no GPU would be told that there is none, and Ray would warn of it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    workers = int(options.pop("workers", 0))
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address or None, include_dashboard=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"--executor ray:{address}: {error}") from error
    try:
        options = {"num_cpus": 1} | options
        workers = workers or _fitting(ray.cluster_resources(), options)
        yield _Actors(ray, options, workers) if model else _Tasks(ray, options, workers)
    finally:
        if started:
            ray.shutdown()


def _fitting(resources: dict[str, float], options: dict[str, Any]) -> int:
    """How many workers with these options the cluster holds."""
    asked = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0)}
    counts = [int(resources.get(name, 0) // need) for name, need in asked.items() if need]
    if counts and min(counts) < 1:
        raise UserError(
            f"--executor ray: a worker asks for {options}, and the cluster has "
            f"{ {name: resources.get(name, 0) for name in asked} }."
        )
    return min(counts, default=1)


class _Tasks:
    """A Ray task a shard. Ray does a task again when its worker dies."""

    def __init__(self, ray: Any, options: dict[str, Any], workers: int):
        # max_calls=0: with a GPU Ray would end a worker after each task, and its caches with it.
        self.ray, self.workers = ray, workers
        self.call = ray.remote(max_calls=0, max_retries=3, **options)(_call)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> _Told:
        made = self.call.remote(fn, args)
        return _Told(lambda: self.ray.get(made))


class _Actors:
    """Ray actors, each of which keeps what it loaded; a shard goes to the one with the least to do."""

    def __init__(self, ray: Any, options: dict[str, Any], workers: int):
        class Worker:
            def call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, UserError | None]:
                return _call(fn, args)

        self.ray, self.workers = ray, workers
        remote = ray.remote(max_restarts=-1, max_task_retries=3, **options)(Worker)
        self.actors = [remote.remote() for _ in range(workers)]
        self.left = [0] * workers

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> _Told:
        k = self.left.index(min(self.left))
        self.left[k] += 1
        made = self.actors[k].call.remote(fn, args)

        def wait() -> tuple[Any, UserError | None]:
            try:
                return self.ray.get(made)
            finally:
                self.left[k] -= 1

        return _Told(wait)


# ---- Slurm


def _slurm(partition: str, options: dict[str, Any], folder: Path) -> Executor:
    try:
        import submitit
    except ImportError as error:
        raise UserError("--executor slurm needs submitit: pip install 'dsl-probe[slurm]'") from error
    cluster = options.pop("cluster", "slurm")
    # Another cluster than Slurm (local, debug) has no queue: what is submitted runs at once.
    workers = int(options.pop("workers", 50 if cluster == "slurm" else len(os.sched_getaffinity(0))))
    try:
        executor = submitit.AutoExecutor(folder=folder.resolve(), cluster=cluster)
        if partition:
            options["slurm_partition"] = partition
        executor.update_parameters(name="dsl-probe", **{"timeout_min": 60} | options)
    except (RuntimeError, ValueError, NameError) as error:
        raise UserError(f"--executor slurm: {error}") from error
    return _Submitit(executor, workers)


class _Submitit:
    """A job a shard."""

    def __init__(self, executor: Any, workers: int):
        self.executor, self.workers = executor, workers

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> _Told:
        job = self.executor.submit(_call, fn, args)
        return _Told(job.result)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
