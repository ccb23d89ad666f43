from __future__ import annotations

import ctypes
import threading

import pytest
from backends.fake_nvml import FakeDriver

from pytest_trt.backends.cuda.background import Background, begin_context


def test_call_runs_concurrently_with_its_caller() -> None:
    both = threading.Barrier(2)
    begun = Background(lambda: both.wait(timeout=60))
    # It would wait for ever if the call had to end before Background returned.
    both.wait(timeout=60)
    assert begun.result() in (0, 1)
    assert begun.result() == begun.result()


def test_what_the_call_raises_is_raised_where_its_result_is_requested() -> None:
    def fail() -> None:
        raise ValueError("out of luck")

    begun = Background(fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="out of luck"):
            begun.result()


def test_context_is_created_on_the_device_that_is_requested(monkeypatch) -> None:
    driver = FakeDriver(uuids=[bytes(16), bytes(16)])
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    begin_context(1).result()
    assert driver.contexts == [1]


@pytest.mark.parametrize(("status", "device"), [(100, 0), (0, 7)])
def test_driver_that_refuses_is_left_alone(monkeypatch, status: int, device: int) -> None:
    driver = FakeDriver(status)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    begin_context(device).result()
    assert driver.contexts == []


def test_without_a_driver_nothing_happens(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    begin_context(0).result()
