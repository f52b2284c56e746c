"""Lock files: one owner at a time, and none that outlives its owner."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dsl_probe import locks
from dsl_probe.engine import Unit, each_unit, local_executor


def elsewhere(take):
    """What another thread of this process gets."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(take).result()


def test_a_lock_is_its_thread_s_alone_and_names_its_owner(tmp_path):
    lock = tmp_path / "a.lock"
    assert locks.take(lock) and locks.take(lock) and locks.owner(lock) is None
    assert not elsewhere(lambda: locks.take(lock))
    assert f"process {os.getpid()} on " in elsewhere(lambda: locks.owner(lock))
    locks.drop(lock)
    assert elsewhere(lambda: locks.take(lock)) and list(tmp_path.iterdir()) == [lock]


def test_the_lock_of_a_dead_process_is_taken_over_at_once(tmp_path):
    lock = tmp_path / "a.lock"
    program = (
        "import sys, pathlib\nfrom dsl_probe import locks\nprint(locks.take(pathlib.Path(sys.argv[1])), flush=True)"
    )
    wait = "; sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", program + wait, lock], stdin=-1, stdout=-1, text=True)
    assert child.stdout.readline() == "True\n"
    assert not locks.take(lock) and f"process {child.pid} on " in (locks.owner(lock) or "")
    child.kill()
    child.wait()
    assert locks.owner(lock) is None and locks.take(lock)


@pytest.mark.parametrize(("age", "free"), [(0, False), (locks.STALE - 60, False), (locks.STALE + 60, True)])
def test_the_lock_of_another_machine_is_stale_when_it_was_not_touched_for_long(tmp_path, age, free):
    lock = tmp_path / "a.lock"
    lock.write_text(json.dumps(locks.me() | {"host": "another machine"}))
    now = lock.stat().st_mtime
    os.utime(lock, (now - age, now - age))
    assert locks.take(lock) is free


def test_half_a_lock_is_someone_s_until_it_is_old(tmp_path):
    lock = tmp_path / "a.lock"
    lock.write_text('{"pid": 1')
    assert not locks.take(lock)
    os.utime(lock, (0, 0))
    assert locks.take(lock)


def test_of_many_who_take_over_one_stale_lock_one_gets_it(tmp_path):
    for n in range(30):
        lock = tmp_path / f"{n}.lock"
        lock.write_text(json.dumps(locks.me() | {"pid": 2**22 + 1}))
        barrier, release = threading.Barrier(8), threading.Event()

        def go(lock=lock, barrier=barrier, release=release):
            barrier.wait()
            got = locks.take(lock)
            release.wait()
            return got

        with ThreadPoolExecutor(8) as pool:
            made = [pool.submit(go) for _ in range(8)]
            threading.Timer(0.05, release.set).start()
            assert sum(one.result() for one in made) == 1


def test_several_drivers_do_each_unit_once_and_all_see_the_end(tmp_path):
    program = """
import os, sys, time
from pathlib import Path
from dsl_probe.engine import Unit, each_unit
folder = Path(sys.argv[1])
def do(k):
    time.sleep(0.02)
    with open(folder / "log", "a") as log:
        log.write(f"{k}\\n")
    (folder / f"{k}.part").write_text("x")
    os.replace(folder / f"{k}.part", folder / f"{k}.done")
    return k
seen = list(each_unit(do, [Unit(k, folder / f"{k}.done") for k in range(40)], wait=0.02))
assert sorted(k for k, _ in seen) == list(range(40)), seen
print(sum(value is not None for _, value in seen))
"""
    drivers = [subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=-1, text=True) for _ in range(3)]
    said = [driver.communicate()[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0]
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(40))
    assert sum(map(int, said)) == 40 and not list(tmp_path.glob("*.lock"))


def test_a_worker_that_is_killed_costs_no_unit(tmp_path):
    def do(k, folder=tmp_path):
        import os
        import signal

        if k == 3 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with open(folder / "log", "a") as log:
            log.write(f"{k}\n")
        (folder / f"{k}.done").touch()
        return k

    with local_executor(2) as pool:
        made = dict(each_unit(do, [Unit(k, tmp_path / f"{k}.done") for k in range(9)], pool, wait=0.02))
    assert sorted(made) == list(range(9)) and (tmp_path / "died").exists()
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(9))
