"""Whether the host is idle enough for a benchmark: measured as benchmarks measure it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pytest_trt.benchmark.host import HostLoad, HostMonitor
from pytest_trt.diagnostics import Remedy
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.records import to_data

#: Seconds of the measurement: several times the shortest over which core time means something.
_WINDOW_S = 1.5

#: A benchmark needs one core, and the system and pytest's main process another.
_LEAST_CORES = 2


def host_load(
    monitor: HostMonitor | None = None, clock: Callable[[], float] = time.perf_counter
) -> HostLoad:
    """Compute for a short time, and return what the host did for others meanwhile."""
    meter = (monitor or HostMonitor()).meter()
    with meter.running():
        end_s = clock() + _WINDOW_S
        while clock() < end_s:
            pass
    return meter.load


def host_load_data() -> dict[str, Any]:
    """Return `host_load` as JSON-simple data."""
    data: dict[str, Any] = to_data(host_load())
    return data


def load_problem(load: HostLoad) -> Finding | None:
    """Return the finding if times on this host would be inconclusive, or None."""
    if load.busy:
        return _error(
            "TRT740",
            "the host is overloaded",
            f"{load.busy}; every benchmark would be inconclusive",
            Remedy("stop other work on this machine, or reserve cores for the tests (taskset)."),
            load,
        )
    if load.elapsed_s and load.cores < _LEAST_CORES:
        return _error(
            "TRT742",
            "too few CPU cores",
            f"this process may use {load.cores}, and a benchmark needs {_LEAST_CORES}",
            Remedy("allow more cores: taskset, or the limits of the container."),
            load,
        )
    return None


def _error(code: str, what: str, why: str, remedy: Remedy, load: HostLoad) -> Finding:
    return Finding("machine", "host", Level.ERROR, what, why, remedy, code, to_data(load))
