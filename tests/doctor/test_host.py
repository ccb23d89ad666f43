from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pytest_trt.benchmark.host import HostLoad
from pytest_trt.doctor.host import host_load, host_load_data, load_problem
from pytest_trt.records import from_data


class Meter:
    """A meter that has measured a given load."""

    def __init__(self, load: HostLoad) -> None:
        self.load = HostLoad()
        self._load = load

    @contextmanager
    def running(self) -> Iterator[None]:
        yield
        self.load = self._load


class Monitor:
    def __init__(self, load: HostLoad) -> None:
        self._load = load

    def meter(self) -> Meter:
        return Meter(self._load)


def test_the_load_of_the_host_is_measured_while_it_computes() -> None:
    load, times = HostLoad(elapsed_s=1.5, cores=4), iter([0.0, 1.0, 2.0])
    assert host_load(Monitor(load), times.__next__) == load  # type: ignore[arg-type]
    assert next(times, None) is None


@pytest.mark.exhaustive
def test_the_load_crosses_to_the_calling_process() -> None:
    found = from_data(HostLoad, host_load_data())
    assert found.cores >= 1


def test_a_host_that_reports_nothing_is_not_a_problem() -> None:
    assert load_problem(HostLoad()) is None
