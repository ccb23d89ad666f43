from __future__ import annotations

from random import Random

import numpy as np
import pytest

from pytest_trt.benchmark.rounds import (
    Disturbed,
    TimedCalls,
    end_to_end,
    measure_interleaved,
    round_calls,
    summarised,
    take_rounds,
)
from pytest_trt.benchmark.warmup import ON_CPU, ON_GPU, WarmUp, warm_up


class Engine:
    """An engine on a clock of its own: every call takes the next of its latencies."""

    def __init__(self, latency_ms=1.0) -> None:
        self.latency_ms = latency_ms if callable(latency_ms) else lambda call: latency_ms
        self.calls = 0
        self.stretches: list[int] = []
        self.now_s = 0.0

    def __call__(self, calls: int) -> TimedCalls:
        self.stretches.append(calls)
        latencies = np.array([self.latency_ms(self.calls + call) for call in range(calls)], float)
        self.calls += calls
        self.now_s += latencies.sum() / 1e3
        return TimedCalls(latencies, float(latencies.sum()) / 1e3)

    def clock(self) -> float:
        return self.now_s


def test_every_call_is_timed_by_the_hosts_clock() -> None:
    made = []
    one = end_to_end(lambda: made.append(1))(25)
    assert len(made) == 25
    assert one.latencies_ms.shape == (25,)
    assert (one.latencies_ms >= 0).all()
    assert one.wall_s == pytest.approx(one.latencies_ms.sum() / 1e3)


def test_rounds_are_consecutive_calls() -> None:
    engine = Engine(lambda call: 1.0 + call // 70)
    found = summarised(take_rounds(engine, 4, 70), items_per_call=2)
    np.testing.assert_allclose(np.exp(found.logs["p50"]), [1, 2, 3, 4])
    np.testing.assert_allclose(np.exp(found.logs["throughput"]), [0.5, 1, 1.5, 2])
    assert engine.stretches == [70] * 4


def test_disturbed_rounds_are_taken_again() -> None:
    # The guard's first answer is about what was before.
    answers = iter(["clocks", None, "thermal slowdown", None, None, None, None])
    engine = Engine(lambda call: 9.0 if call // 70 == 1 else 1.0)
    found = summarised(take_rounds(engine, 5, 70, guard=lambda: next(answers)), items_per_call=1)
    assert len(found) == 5
    assert found.median("p99") == pytest.approx(1.0)
    assert len(engine.stretches) == 6


def test_too_many_disturbed_rounds_mean_nothing() -> None:
    with pytest.raises(Disturbed, match="2 rounds of 5 were disturbed: thermal slowdown"):
        take_rounds(Engine(), 5, 70, guard=lambda: "thermal slowdown")


@pytest.mark.parametrize(
    ("call_s", "calls"), [(1e-4, 70), (2e-2, 70), (3e-2, 14), (0.2, 5), (60.0, 5)]
)
def test_slow_engines_get_shorter_rounds(call_s: float, calls: int) -> None:
    assert round_calls(call_s, rounds=20, budget_s=30) == calls


@pytest.mark.parametrize(
    ("explicit", "call_s", "calls"),
    [
        ((), 0.1, 14),
        (("p50", "throughput"), 0.1, 14),  # nothing is shortened
        (("p99",), 0.1, 70),
        (("p95", "p99"), 0.128, 70),
        (("p99",), 0.13, 5),  # 20 rounds of 70 calls take more than six times the time
        (("p95",), 0.13, 14),
        (("p95",), 0.7, 5),
        (("p99",), 1e-6, 70),
    ],
)
def test_explicit_limits_get_a_multiple_of_the_time(explicit, call_s: float, calls: int) -> None:
    assert round_calls(call_s, rounds=20, budget_s=30, explicit=explicit) == calls


def test_interleaved_rounds_have_random_order_and_are_stored_separately() -> None:
    order = []

    def engine(name, latency_ms):
        inner = Engine(latency_ms)

        def stretch(calls):
            order.append((name, calls))
            return inner(calls)

        return stretch

    first, second = measure_interleaved(
        (engine("a", 1.0), engine("b", 1.5)), 40, 70, random=Random(1)
    )
    np.testing.assert_allclose(second.logs["p50"] - first.logs["p50"], np.log(1.5))
    assert len(first) == len(second) == 40
    rounds = [name for name, calls in order if calls == 70]
    pairs = list(zip(rounds[::2], rounds[1::2], strict=True))
    assert all(sorted(pair) == ["a", "b"] for pair in pairs)
    assert 10 <= sum(pair[0] == "a" for pair in pairs) <= 30
    # After every switch some calls are made that do not count.
    assert [calls for _, calls in order[::2]] == [5] * 80


def test_both_halves_of_a_disturbed_pair_are_taken_again() -> None:
    answers = iter([None, None, "another process", None, None, None, None])
    first, second = measure_interleaved(
        (Engine(), Engine()), 5, 70, random=Random(0), guard=lambda: next(answers)
    )
    assert len(first) == len(second) == 5
    with pytest.raises(Disturbed, match="another process"):
        measure_interleaved(
            (Engine(), Engine()), 5, 70, random=Random(0), guard=lambda: "another process"
        )


def test_warm_when_two_windows_agree() -> None:
    # 3 ms a call at first, falling to 1 ms over 400 calls.
    engine = Engine(lambda call: max(1.0, 3.0 - call / 200))
    call_s = warm_up(engine, WarmUp(least_s=0.2, window_s=0.1), clock=engine.clock)
    assert engine.calls >= 400
    assert call_s == pytest.approx(1e-3, rel=0.01)
    assert engine.now_s < 2


def test_warm_at_once_when_nothing_changes_but_not_before_its_time() -> None:
    engine = Engine(1.0)
    warm_up(engine, WarmUp(least_s=0.5, window_s=0.1), clock=engine.clock)
    assert 0.5 <= engine.now_s < 0.75


def test_an_engine_that_never_settles_is_as_warm_as_it_gets() -> None:
    engine = Engine(lambda call: 1.0 + call / 100)
    warm_up(engine, WarmUp(most_s=3.0), clock=engine.clock)
    assert 3.0 <= engine.now_s < 4


def test_slow_engines_warm_up_by_calls() -> None:
    engine = Engine(400.0)
    call_s = warm_up(engine, WarmUp(least_calls=3, most_s=60), clock=engine.clock)
    assert engine.calls == 3
    assert call_s == pytest.approx(0.4)


@pytest.mark.parametrize(("idle_s", "least_s"), [(0.0, 0.2), (0.4, 0.2), (2.0, 1.0), (np.inf, 1.0)])
def test_a_device_that_just_worked_is_warm_sooner(idle_s: float, least_s: float) -> None:
    engine = Engine(1.0)
    warm_up(engine, ON_GPU.soon_after(idle_s), clock=engine.clock)
    # Two windows of 0.2 s have to agree in any case.
    assert max(least_s, 0.4) <= engine.now_s < max(least_s, 0.4) + 0.25
    assert ON_CPU.soon_after(idle_s) == ON_CPU
