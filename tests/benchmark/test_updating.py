"""What new rounds make of a stored baseline."""

from __future__ import annotations

import pytest
from builders_baseline import stored, stored_run

from pytest_trt.baseline.entry import StoredNoise
from pytest_trt.benchmark.updating import update_of
from pytest_trt.terms import Metric

LIMITS: dict[Metric, float] = {"p50": 0.05, "p99": 0.1, "throughput": 0.05}


def test_run_of_the_same_engine_joins() -> None:
    update = update_of(stored(stored_run(1)), stored(stored_run(2)), LIMITS)
    assert (update.add, update.why, update.beyond) == (True, "", None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"toolchain": "TensorRT 10.0"}, "TensorRT 8.6.0 -> TensorRT 10.0"),
        ({"environment": {"driver": "590"}}, "driver 580.159.04 -> 590"),
        ({"calls": 140}, "rounds have 140 calls, they had 70"),
    ],
)
def test_run_under_other_conditions_replaces(change, why) -> None:
    update = update_of(stored(stored_run(1)), stored(stored_run(2, **change)), LIMITS)
    assert (update.add, update.why) == (False, why)


def test_run_at_another_clock_replaces() -> None:
    then, now = (
        stored_run(day, environment={"sm_clock_mhz": clock})
        for day, clock in ((1, "1980"), (2, "1500"))
    )
    update = update_of(stored(then), stored(now), LIMITS)
    assert not update.add
    assert "the GPU's clock is 1500 MHz, it was 1980 MHz" in update.why


def test_run_of_another_engine_replaces() -> None:
    update = update_of(stored(), stored(stored_run(2), engine={"key": "cd"}), LIMITS)
    assert (update.add, update.why, update.beyond) == (False, "the engine differs", None)


@pytest.mark.parametrize(("p50", "sign"), [(0.6, "+"), (0.4, "-")])
def test_run_of_the_same_engine_at_another_speed_replaces(p50, sign) -> None:
    update = update_of(stored(stored_run(1)), stored(stored_run(2, p50)), LIMITS)
    assert not update.add
    assert f"same engine, but P50 {sign}20% is more than its runs vary" == update.why


def test_calibrated_noise_lets_runs_join_that_differ_as_much() -> None:
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.1, dict.fromkeys(LIMITS, 0.3))
    assert update_of(stored(noise=noise), stored(stored_run(2, 0.6)), LIMITS).add


def test_by_the_hosts_clock_a_busier_host_is_the_same_engine() -> None:
    old = stored(mode="end_to_end")
    assert update_of(old, stored(stored_run(2, 0.6), mode="end_to_end"), LIMITS).add
    assert not update_of(old, stored(stored_run(2, 1.5), mode="end_to_end"), LIMITS).add


@pytest.mark.parametrize(
    ("p50", "beyond"),
    [
        (0.6, "P50 0.500 -> 0.600 ms (+20%), limit 5%"),
        (0.52, ""),  # +4%
        (0.4, ""),  # quicker
    ],
)
def test_slower_engine_is_beyond_a_limit(p50, beyond) -> None:
    new = stored(stored_run(2, p50), engine={"key": "cd"})
    assert str(update_of(stored(), new, LIMITS).beyond or "") == beyond


@pytest.mark.parametrize(
    ("accepted", "key", "drifted"),
    [
        (0.49, "cd", "P50 0.490 -> 0.520 ms (+6.1%) since a reason was last given, limit 5%"),
        (0.5, "cd", ""),  # +4%
        (0.49, "ab12", ""),  # the same engine, on a machine that became slower
        (None, "cd", ""),
    ],
)
def test_small_steps_are_held_against_the_limit_together(accepted, key, drifted) -> None:
    entry = stored(stored_run(1, 0.505), accepted={} if accepted is None else {"p50": accepted})
    update = update_of(entry, stored(stored_run(2, 0.52), engine={"key": key}), LIMITS)
    assert (update.beyond, str(update.drifted or "")) == (None, drifted)


def test_limit_that_is_exceeded_most_is_reported() -> None:
    lost = stored(stored_run(2, 0.6), engine={"key": "cd"})
    found = update_of(stored(), lost, {"p50": 0.5, "throughput": 0.05}).beyond
    assert str(found) == "throughput 2,000 -> 1,667/s (-17%), limit 5%"
