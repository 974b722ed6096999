"""Threads: as many as asked for, as the block around says, or as the process may use; results in order."""

import math
import time
from pathlib import Path

import pytest

from dust3r_sfm.system import parallel
from dust3r_sfm.system.parallel import map_ordered, num_cores, workers


def test_the_number_asked_for_goes_first_then_that_of_the_block():
    with workers(5):
        assert num_cores() == 5 and num_cores(3) == 3
        with workers(2):
            assert num_cores() == 2
        assert num_cores() == 5
    assert num_cores() >= 1


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ({"cpu.max": "rubbish"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, monkeypatch, files: dict[str, str], cores: float):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert parallel._quota(tmp_path) == cores
    monkeypatch.setattr(parallel, "_CGROUP", tmp_path)
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert num_cores() == min(64, math.ceil(min(cores, 64)))


def test_results_keep_the_order_of_the_items():
    def late_first(item: int) -> int:
        time.sleep(0.01 * (item == 0))
        return item * item

    assert list(map_ordered(late_first, range(20), 4)) == [item * item for item in range(20)]
