from __future__ import annotations

import numpy as np

from pytest_trt.diagnostics import EngineRunError
from pytest_trt.engine.protocols import Samples
from pytest_trt.precision.timing import Timing, common_mode
from pytest_trt.statistics.rounds import summarise


def rounds(latency_ms: float, *, seed: int):
    noise = np.random.default_rng(seed).normal(1.0, 0.02, size=(20, 70)).clip(0.9)
    calls = latency_ms * noise
    return summarise(list(calls), list(calls.sum(axis=1) / 1e3), items_per_call=4)


def timing(**latencies_ms: float) -> Timing:
    found = {name: rounds(one, seed=n) for n, (name, one) in enumerate(latencies_ms.items())}
    return Timing("end_to_end", 70, 4, found)


def test_speeds_are_those_of_the_rounds() -> None:
    found = timing(fp32=2.0).speeds["fp32"]
    assert abs(found.p50_ms - 2.0) < 0.05
    assert abs(found.throughput - 2000) < 50
    assert found.p99_ms is not None
    assert found.p99_ms > found.p50_ms


def test_difference_that_noise_explains_makes_no_engine_slower() -> None:
    found = timing(fp32=2.0, fp16=2.004, int8=1.5)
    assert not found.is_slower("fp16", "fp32")
    assert found.is_slower("fp32", "int8")
    assert not found.is_slower("int8", "fp32")


class Session:
    """A session of a device that times itself, in some modes."""

    graph_refusal = None

    def __init__(self, *modes: str) -> None:
        self._modes = modes

    def sample(self, inputs, *, mode: str, calls: int) -> Samples:
        if mode not in self._modes:
            raise EngineRunError("it cannot be captured", fix="Use enqueue.")
        return Samples(np.ones(calls), 1e-3 * calls)


def test_engines_are_timed_in_a_mode_that_all_of_them_have() -> None:
    both, enqueued = Session("graph", "enqueue"), Session("enqueue")
    assert common_mode([both, both], {}) == "graph"
    assert common_mode([both, enqueued], {}) == "enqueue"
