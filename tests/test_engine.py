"""map_shards over nothing, over threads, over processes, and with failures."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dsl_probe.engine import local_executor, map_shards


def test_results_keep_the_order_of_the_shards():
    assert list(map_shards(str, range(20))) == [str(i) for i in range(20)]
    with ThreadPoolExecutor(3) as pool:
        assert list(map_shards(str, range(20), pool, ahead=2)) == [str(i) for i in range(20)]


def test_processes_give_the_same():
    with local_executor(2) as pool:
        assert list(map_shards(abs, [-1, 2, -3], pool)) == [1, 2, 3]


def test_a_shard_that_fails_once_is_tried_again_and_what_fails_for_good_is_raised():
    tried = []

    def once(x):
        tried.append(x)
        if tried.count(x) == 1:
            raise OSError("gone")
        return x

    with ThreadPoolExecutor(1) as pool:
        assert list(map_shards(once, [1, 2], pool)) == [1, 2]
        with pytest.raises(ZeroDivisionError):
            list(map_shards(lambda x: 1 / x, [1, 0], pool))


def test_processes_do_not_run_the_callers_main_module(tmp_path):
    script = tmp_path / "no_guard.py"
    script.write_text(
        "from dsl_probe.engine import local_executor, map_shards\n"
        "print('ran')\n"
        "with local_executor(2) as pool:\n"
        "    print(list(map_shards(abs, [-1, 2], pool)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.stdout == "ran\n[1, 2]\n", done.stderr
