from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pytest_trt.workers import limited
from pytest_trt.workers.limited import LimitedCall


def test_result_and_exception_come_back() -> None:
    assert LimitedCall(lambda: 1, pytest.fail).result(60) == 1
    with pytest.raises(ZeroDivisionError):
        LimitedCall(lambda: 1 // 0, pytest.fail).result(60)


def test_calls_in_a_row_are_made_by_one_thread() -> None:
    first = LimitedCall(threading.get_ident, pytest.fail).result(0)
    assert first != threading.get_ident()
    assert LimitedCall(threading.get_ident, pytest.fail).result(0) == first


def test_a_call_beyond_its_limit_is_asked_to_stop() -> None:
    asked = threading.Event()
    call = LimitedCall(asked.wait, asked.set)
    assert call.result(0.01) is True
    assert (call.timed_out, call.is_stuck) == (True, False)


def test_a_call_that_does_not_stop_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "GRACE_S", 0.01)
    let_go = threading.Event()
    call = LimitedCall(let_go.wait, lambda: None)
    with pytest.raises(TimeoutError):
        call.result(0.01)
    assert (call.timed_out, call.is_stuck) == (True, True)
    assert LimitedCall(lambda: 2, pytest.fail).result(60) == 2
    let_go.set()


@pytest.fixture
def heard() -> Iterator[None]:
    """Let Ctrl-C interrupt this process, also in a background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_stops_the_call_and_comes_through(heard: None) -> None:
    asked = threading.Event()

    def interrupt_and_wait() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        asked.wait()

    call = LimitedCall(interrupt_and_wait, asked.set)
    with pytest.raises(KeyboardInterrupt):
        call.result(0)
    assert not call.is_stuck
