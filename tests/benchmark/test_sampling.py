"""How engines are timed, with a session on a clock of its own in a GPU's place."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest

from pytest_trt.benchmark.rounds import arrays_of
from pytest_trt.benchmark.sampling import Sampling, batch_of, mode_for
from pytest_trt.benchmark.warmup import WarmUp
from pytest_trt.diagnostics import InputError
from pytest_trt.engine.protocols import Samples
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.spec import TensorSpec

#: When what keeps a time of its own is warm.
AT_ONCE = WarmUp(least_s=0, least_calls=1, window_s=0.001, most_s=0)

INPUTS = {"image": np.zeros((4, 8), np.float32)}


class HostSession:
    """Runs, and keeps no time."""

    def run(self, inputs):
        return {}

    def close(self) -> None: ...


class DeviceSession(HostSession):
    """Says that every call took so long; refuses inputs where it is told to."""

    def __init__(self, latency_ms: float = 1.0, *, refuses: bool = False) -> None:
        self.latency_ms = latency_ms
        self.refuses = refuses
        self.modes: set[str] = set()
        self.sampled = 0

    def sample(self, inputs, *, mode: str, calls: int):
        if self.refuses:
            raise InputError("no such input.", fix="none.")
        self.modes.add(mode)
        self.sampled += calls
        return Samples(np.full(calls, self.latency_ms), calls * self.latency_ms / 1e3)


@pytest.mark.parametrize(
    ("session", "asked", "mode"),
    [
        (DeviceSession(), None, "graph"),
        (DeviceSession(), "enqueue", "enqueue"),
        (DeviceSession(), "end_to_end", "end_to_end"),
        (HostSession(), None, "end_to_end"),
        (HostSession(), "graph", "end_to_end"),
    ],
)
def test_device_keeps_the_time_where_it_can(session, asked, mode: str) -> None:
    assert mode_for(session, asked) == mode


@pytest.mark.parametrize("mode", ["graph", "enqueue"])
def test_rounds_are_of_the_device_in_the_mode_that_was_chosen(mode) -> None:
    session = DeviceSession(2.0)
    sampling = Sampling(session, INPUTS, mode, 4)
    sampling.calls = 70
    found = sampling.screen(5)
    assert session.modes == {mode}
    assert found.median("p99") == pytest.approx(2.0)
    assert len(sampling.rounds()) == 5
    assert arrays_of(sampling.taken)[0].shape == (5, 70)


def test_interleaved_rounds_are_of_both_engines() -> None:
    sampling = Sampling(DeviceSession(2.0), INPUTS, "graph", 1, how=AT_ONCE)
    sampling.calls = 14
    with sampling.against(DeviceSession(1.0), Random(0)) as turns:
        assert turns is not None
        baseline, candidate = turns(5)
    assert baseline.median("p50") == pytest.approx(1.0)
    assert candidate.median("p50") == pytest.approx(2.0)
    assert sampling.interleaved == [(baseline, candidate)]


def test_baseline_is_made_of_rounds_that_are_spread_over_time() -> None:
    session = DeviceSession(1.0)
    sampling = Sampling(session, INPUTS, "graph", 1)
    sampling.calls, sampling.round_s = 14, 0.014
    sampling.screen(4)
    session.latency_ms = 2.0
    before = session.sampled
    sampling.spread(4)
    assert sampling.stored(4).median("p50") == pytest.approx(2.0)
    assert len(sampling.stored(4)) == 4
    # A second in all, of which rounds are taken evenly.
    assert (session.sampled - before) * 1e-3 == pytest.approx(1.0, abs=0.1)


def test_baseline_of_a_slow_engine_needs_no_extra_rounds() -> None:
    session = DeviceSession(100.0)
    sampling = Sampling(session, INPUTS, "graph", 1)
    sampling.calls, sampling.round_s = 14, 1.4
    sampling.screen(4)
    before = session.sampled
    sampling.spread(4)
    assert session.sampled == before
    assert len(sampling.stored(4)) == 4


def test_interleaved_figures_are_those_that_may_become_the_baseline() -> None:
    candidate = DeviceSession(3.0)
    sampling = Sampling(candidate, INPUTS, "graph", 1, how=AT_ONCE)
    sampling.calls, sampling.round_s = 14, 0.014
    sampling.screen(5)
    candidate.latency_ms = 2.0
    with sampling.against(DeviceSession(1.0), Random(0)) as turns:
        assert turns is not None
        turns(5)
        turns(5)
    sampling.spread(5)
    assert len(sampling.stored(5)) == 5
    assert sampling.stored(5).median("p50") == pytest.approx(2.0)


@pytest.mark.parametrize("baseline", [None, DeviceSession(refuses=True)])
def test_missing_engine_or_one_that_refuses_the_inputs_is_not_interleaved(baseline) -> None:
    sampling = Sampling(DeviceSession(), INPUTS, "graph", 1)
    with sampling.against(baseline, Random(0)) as turns:
        assert turns is None


class SlowHostSession(HostSession):
    """Runs for longer than a call may take for rounds of 70 calls to fit the time."""

    def run(self, inputs):
        until = time.perf_counter() + 1e-3
        while time.perf_counter() < until:
            pass
        return {}


def test_opponent_on_another_device_is_timed_by_the_clock_of_both() -> None:
    candidate = DeviceSession(2.0)
    sampling = Sampling(candidate, INPUTS, "graph", 1, how=AT_ONCE)
    pairs: list[tuple[Rounds, Rounds]] = []
    measure = sampling.with_opponent(
        "onnxruntime", SlowHostSession(), "end_to_end", pairs, budget_s=1e-3, random=Random(0)
    )
    base, timed = measure(4)
    assert candidate.modes == set()  # its own clock has not been read
    assert (base.calls, timed.calls) == (5, 5)  # as many of both, as few as the slower one needs
    assert pairs == [(base, timed)]
    assert sampling.interleaved == []  # what a baseline is made of
    assert base.median("p50") >= 1.0


def test_opponent_of_the_same_device_is_timed_as_the_engine_is() -> None:
    opponent = DeviceSession(3.0)
    sampling = Sampling(DeviceSession(2.0), INPUTS, "graph", 1, how=AT_ONCE)
    pairs: list[tuple[Rounds, Rounds]] = []
    measure = sampling.with_opponent(
        "fp32", opponent, "graph", pairs, budget_s=10.0, random=Random(0)
    )
    base, timed = measure(4)
    assert opponent.modes == {"graph"}
    assert (base.median("p50"), timed.median("p50")) == pytest.approx((3.0, 2.0))
    assert base.calls == 70


def spec(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name, "float32", shape)


@pytest.mark.parametrize(
    ("specs", "shapes", "batch"),
    [
        ([spec("a", "batch", 8)], {"a": (4, 8)}, 4),
        ([spec("a", 2, 8)], {"a": (2, 8)}, 2),
        ([spec("table", 100, 8), spec("ids", "n", 3)], {"table": (100, 8), "ids": (5, 3)}, 5),
        ([spec("scale"), spec("a", 3)], {"scale": (), "a": (3,)}, 3),
        ([spec("scale")], {"scale": ()}, 1),
        ([spec("a", "n")], {"a": (0,)}, 1),
    ],
)
def test_batch_is_the_first_dimension_of_the_first_input(specs, shapes, batch: int) -> None:
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    assert batch_of(specs, inputs) == batch


def test_items_of_a_sequence_are_no_batch() -> None:
    specs = [TensorSpec("s", "sequence(float32)", None), spec("a", "n", 8)]
    assert batch_of(specs, {"s": [np.zeros(3)] * 7, "a": np.zeros((2, 8))}) == 2
    assert batch_of(specs[:1], {"s": [np.zeros(3)] * 7}) == 1
