from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_trt.benchmark.host import HostLoad, LoadMeter

LOOP = "print(flush=True)\nwhile True: pass"

#: Processes that leave no core to anybody else.
CROWD = 3 * (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("load", "busy"),
    [
        (HostLoad(), ""),
        (HostLoad(1.0, cores=2), ""),
        (HostLoad(1.0, waited_s=0.09, others_s=0.4, stolen_s=0.4, cores=2), ""),
        (
            HostLoad(2.0, waited_s=0.9, others_s=2.0, cores=2),
            "threads waited 0.45x their run time for a CPU core",
        ),
        (HostLoad(2.0, others_s=1.2, cores=2), "other processes used 0.6 of 2 cores"),
        (HostLoad(2.0, stolen_s=3.0, cores=4), "the hypervisor took 1.5 of 4 cores"),
        # Ticks of 10 ms tell nothing of so short a time, and what threads waited does.
        (HostLoad(0.1, others_s=0.2, stolen_s=0.2, cores=2), ""),
        (HostLoad(0.1, waited_s=0.05, cores=2), "threads waited 0.50x their run time *"),
    ],
)
def test_host_is_busy_with_what_takes_cores_from_this_process(load: HostLoad, busy: str) -> None:
    assert load.busy == busy or (busy.endswith("*") and load.busy.startswith(busy[:-1]))


def test_loads_add_up() -> None:
    quiet, busy = HostLoad(1.0, cores=2), HostLoad(1.0, waited_s=0.5, cores=2)
    assert (quiet + busy).busy == "threads waited 0.25x their run time for a CPU core"
    assert (HostLoad() + quiet).busy == ""


def proc(folder: Path, *, waited_ns: int, user: int, steal: int) -> None:
    """Write what Linux tells: two threads, and a core that this process may not use."""
    mine = min(os.sched_getaffinity(0))
    (folder / "stat").write_text(
        f"cpu  1 2 3 4 5 6 7 8 0 0\ncpu{mine} {user} 0 0 50 0 0 0 {steal} 0 0\n"
        f"cpu4000 {user * 9} 0 0 0 0 0 0 {steal * 9} 0 0\nintr 1 2\n"
    )
    for task in ("11", "12"):
        (folder / "self" / "task" / task).mkdir(parents=True, exist_ok=True)
        (folder / "self" / "task" / task / "schedstat").write_text(f"5 {waited_ns} 3\n")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux's own")
def test_load_is_counted_over_the_cores_of_this_process(tmp_path: Path) -> None:
    meter, ticks = LoadMeter(tmp_path), os.sysconf("SC_CLK_TCK")
    proc(tmp_path, waited_ns=10**9, user=1000 * ticks, steal=10 * ticks)
    with meter.running():
        proc(tmp_path, waited_ns=3 * 10**9, user=1500 * ticks, steal=20 * ticks)
    load = meter.load
    assert load.waited_s == pytest.approx(4.0)
    assert load.others_s == pytest.approx(500, abs=1)  # less what this process used itself
    assert load.stolen_s == pytest.approx(10)
    assert load.cores == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("content", [None, "cpu0 not numbers at all 1 2 3 4 5\n"])
def test_without_figures_of_load_nothing_is_busy(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "stat").write_text(content)
    meter = LoadMeter(tmp_path)
    with meter.running():
        pass
    assert meter.load == HostLoad()


@pytest.fixture
def crowd() -> Iterator[None]:
    """Keep every core busy with other processes."""
    with ExitStack() as stack:
        for _ in range(CROWD):
            one = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE)
            )
            stack.callback(one.kill)
            assert one.stdout is not None
            one.stdout.readline()
        yield


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="the kernel does not count what threads wait"
)
def test_process_that_shares_its_core_is_seen_to_wait(crowd) -> None:
    meter = LoadMeter()
    with meter.running():
        until_s = time.process_time() + 0.2
        while time.process_time() < until_s:
            pass
    assert meter.load.waited_s > 0.1 * meter.load.elapsed_s
