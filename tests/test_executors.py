"""The same bytes wherever the shards are done: this process, a local Ray cluster, submitit's local executor."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import dsl_probe
from dsl_probe.cli import main
from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.sample import CollectConfig, collect
from dsl_probe.engine import map_shards
from dsl_probe.executors import executor_of, how_many, parse_executor
from dsl_probe.probe.effects import EffectsConfig, effects
from dsl_probe.probe.stage import ProbeConfig, probe
from dsl_probe.share.validate import ValidateConfig, validate
from dsl_probe.types import UserError

MODEL = str(Path(__file__).parents[1] / "data" / "organisms" / "sft")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("process", ("process", "", {})),
        ("process:3", ("process", "3", {})),
        ("ray:ray://10.0.0.1:10001,num_gpus=0.5", ("ray", "ray://10.0.0.1:10001", {"num_gpus": 0.5})),
        ("slurm,cluster=local", ("slurm", "", {"cluster": "local"})),
    ],
)
def test_names_of_executors_are_read(spec, expected):
    assert parse_executor(spec) == expected


@pytest.mark.parametrize("spec", ["", "dask", "process:0", "process:-1", "process:two", "process:2,x=1", "ray:a,gpu"])
def test_other_names_are_refused_with_what_is_possible(spec):
    with pytest.raises(UserError, match=r"process|NAME=VALUE"):
        parse_executor(spec)


def test_an_unknown_executor_is_told_before_anything_is_done(tmp_path, capsys):
    assert main(["collect", "--out", str(tmp_path / "r"), "--model", MODEL, "--executor", "cloud"]) == 2
    assert "process[:N], ray[:ADDRESS], slurm[:PARTITION]" in capsys.readouterr().err


def job(run: dsl_probe.Run, executor: str, meanwhile=lambda run: None) -> dict[str, bytes]:
    """Collect, mine, compare, capture, probe and validate; gives the files with their content."""
    options = {"model": MODEL, "domains": ("chain",), "n": 12, "samples": 4, "template": "raw", "max_new_tokens": 40}
    collect(run, CollectConfig(**options, device="cpu", shard=8, batch_size=8), executor=executor)
    meanwhile(run)
    config = dsl_probe.MineConfig(min_traces=3, min_problems=3, q=1.0)
    dsl_probe.mine_motifs(run, config, executor=executor)
    dsl_probe.compare(run, a="sample=0", b="sample=1", permutations=99, min_problems=3, name="c")
    capture = CaptureConfig(model=MODEL, layers=(1, 2), at=("steps",), device="cpu", name="m")
    capture_states(run, capture)
    probing = ProbeConfig(targets=("last", "next"), least=5, readout_traces=2, controls=False, transfer=False)
    probe(run, probing, executor=executor)
    asked = ValidateConfig(
        "model=sft", splits=2, permutations=99, min_problems=3, min_units=5, name="v", spikes=("nonce",)
    )
    validate(run, asked, executor=executor)
    named = tuple(run.frame("motifs").sort_values("count", ascending=False)["motif_id"].head(2))
    taken = {"motifs": named, "interventions": ("ban",), "budget": 1_000, "permutations": 99, "batch_size": 8}
    effects(run, EffectsConfig(model=MODEL, device="cpu", **taken), executor=executor)
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and "jobs" not in path.parts
    }


@pytest.fixture(scope="module")
def alone(one_thread, tmp_path_factory) -> dict[str, bytes]:
    """What one process leaves, with one thread, as workers have: sums of floats depend on how many share them."""
    return job(dsl_probe.Run.create(tmp_path_factory.mktemp("alone") / "run"), "process:1")


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two workers on this machine."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    yield ray
    ray.shutdown()


def same(made: dict[str, bytes], alone: dict[str, bytes]) -> None:
    assert made.keys() == alone.keys()
    assert [name for name in made if made[name] != alone[name]] == []


@pytest.mark.slow
def test_a_pool_of_processes_leaves_the_same_bytes(tmp_path, alone, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    same(job(dsl_probe.Run.create(tmp_path / "run"), "process:2"), alone)


@pytest.mark.slow
def test_a_local_ray_cluster_leaves_the_same_bytes_though_a_worker_is_killed(tmp_path, alone, cluster):
    run = dsl_probe.Run.create(tmp_path / "run")
    killed = []

    def kill() -> None:
        end = time.monotonic() + 300
        while not killed and time.monotonic() < end:
            if run.has_shard("traces", 0):
                said = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
                for line in said.splitlines():
                    pid, _, name = line.strip().partition(" ")
                    if name.startswith("ray::Worker.call"):
                        os.kill(int(pid), signal.SIGKILL)
                        killed.append(int(pid))
                        return
            time.sleep(0.005)

    watcher = threading.Thread(target=kill)
    watcher.start()
    made = job(run, "ray", lambda run: watcher.join())
    assert killed, "no worker was at work when the first shard was there"
    same(made, alone)


@pytest.mark.slow
def test_a_ray_task_whose_worker_is_killed_is_done_again(tmp_path, cluster):
    def do(k, folder=str(tmp_path)):
        import os
        import signal
        from pathlib import Path

        if k == 3 and not (Path(folder) / "died").exists():
            (Path(folder) / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return k * k

    for model in (False, True):
        with executor_of("ray", folder=tmp_path, model=model) as pool:
            assert pool is not None and pool.workers == 2
            assert list(map_shards(do, list(range(9)), pool)) == [k * k for k in range(9)]
        assert (tmp_path / "died").exists()
        (tmp_path / "died").unlink()


@pytest.mark.slow
def test_submitit_leaves_the_same_bytes(tmp_path, alone):
    pytest.importorskip("submitit")
    same(job(dsl_probe.Run.create(tmp_path / "run"), "slurm,cluster=local"), alone)


def test_words_of_an_error_come_back_from_any_engine(tmp_path):
    pytest.importorskip("submitit")

    def refuse(k):
        from dsl_probe.types import UserError

        raise UserError(f"number {k} is not possible; take another.")

    for spec in ("process:2", "slurm,cluster=local"):
        with executor_of(spec, folder=tmp_path / "jobs") as pool, pytest.raises(UserError, match="number 4 is not"):
            list(map_shards(refuse, [4], pool, retries=0))


def test_as_many_jobs_are_under_way_as_the_name_says(tmp_path):
    pytest.importorskip("submitit")
    for spec, expected in (("slurm,cluster=local,workers=7", 14), ("process:3", 6)):
        with executor_of(spec, folder=tmp_path / "jobs") as pool:
            assert how_many(pool) == expected


def test_slurm_where_there_is_none_is_told(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="--executor slurm"), executor_of("slurm:gpu", folder=tmp_path):
        pass
