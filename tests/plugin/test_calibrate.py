"""`--trt-calibrate` with real engines in real processes, two of them for each test."""

from __future__ import annotations

import shutil

import pytest
from plugin.conftest import assert_shows
from plugin.test_benchmark import Speed
from plugin.test_fresh_runs import no_fresh_process

pytestmark = pytest.mark.exhaustive

__all__ = ["no_fresh_process"]


class Calibrating(Speed):
    def calibrate(self, *args: str) -> pytest.RunResult:
        return self.run("--trt-calibrate", "--trt-calibrate-runs=2", *args)


@pytest.fixture
def speed(project) -> Calibrating:
    return Calibrating(project)


NOISE = {
    "recorded": "2026-11-01T10:00:00+00:00",
    "processes": 6,
    "placement": 0.001,
    "between_runs": dict.fromkeys(("p50", "throughput", "p95", "p99"), 0.001),
}


def test_without_a_baseline_one_is_recorded_in_ci_too(speed, monkeypatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert_shows(
        speed.calibrate(),
        "speed  linear.onnx fp32 cpu * calibrated",
        "noise  test_it.py::test_speed: 3 processes, placement *%",
        "  smallest change that is detected in 9 of 10 cases, in a run of 4 checks:",
        "* run to run *limit *interleaved *calls *fresh runs *calls",
        "  P50 *% * +5% *+*% *11,200 *+*% *11,200",
        "  throughput *% * -5% *-*% *11,200 *-*% *11,200",
        "  P99 *% * +10% *+*% *11,200 *+*% *11,200",
        "wrote trt_baselines/*",
        passed=1,
    )
    entry = speed.entry()
    assert len(entry["runs"]) == 3
    assert entry["noise"]["processes"] == 3
    assert set(entry["noise"]["between_runs"]) == {"p50", "throughput", "p95", "p99"}
    assert entry["noise"]["placement"] > 0


def test_existing_baseline_gets_its_noise_and_retains_its_runs(speed) -> None:
    speed.run().assert_outcomes(passed=1)
    runs = speed.entry()["runs"]
    speed.calibrate().assert_outcomes(passed=1)
    assert speed.entry()["runs"] == runs
    assert speed.entry()["noise"]["processes"] == 3


def test_table_is_shown_with_q_on_request(speed) -> None:
    speed.calibrate("-q").stdout.fnmatch_lines(["noise  test_it.py::test_speed: *", "  P99 *"])


def test_no_speed_is_judged_during_calibration(speed) -> None:
    speed.run().assert_outcomes(passed=1)
    speed.slow_down()
    speed.calibrate().assert_outcomes(passed=1)


def test_processes_that_die_fail_the_test_and_nothing_is_written(speed, request) -> None:
    speed.run("--trt-missing-baseline=skip").assert_outcomes(skipped=1)  # starts what builds
    request.getfixturevalue("no_fresh_process")
    result = speed.calibrate()
    assert_shows(
        result, "not calibrated: the fresh process *SIGSEGV*", "Fix: Fix what stopped *", failed=1
    )
    assert speed.files == []


def test_verdicts_rest_on_the_noise_that_is_stored(speed) -> None:
    """The same slower engine, with the baseline's gone: processes of this one are all over."""
    speed.run().assert_outcomes(passed=1)
    shutil.rmtree(speed.project.cache)
    speed.slow_down()
    speed.run().assert_outcomes(failed=1)
    wild = {**NOISE, "between_runs": dict.fromkeys(NOISE["between_runs"], 5.0)}
    speed.rewrite(lambda entry: entry.update(noise=wild))
    assert_shows(speed.run(), "speed * inconclusive", passed=1)


def test_noise_stays_with_its_engine(speed) -> None:
    speed.run().assert_outcomes(passed=1)
    speed.rewrite(lambda entry: entry.update(noise=NOISE))
    speed.run("--trt-update", "--trt-update-reason=x").assert_outcomes(passed=1)
    assert speed.entry()["noise"] == NOISE
    speed.slow_down()
    result = speed.run("--trt-update", "--trt-update-reason=x")
    assert_shows(result, "note *the calibration of the previous engine was dropped *", passed=1)
    assert "noise" not in speed.entry()


def test_update_and_calibration_at_once_replace_both(speed) -> None:
    speed.run().assert_outcomes(passed=1)
    speed.slow_down()
    speed.calibrate("--trt-update", "--trt-update-reason=slower").assert_outcomes(passed=1)
    assert [run["reason"] for run in speed.entry()["runs"]] == ["slower"] * 3
    assert speed.entry()["noise"]["processes"] == 3


def test_other_shapes_are_refused(speed) -> None:
    speed.run().assert_outcomes(passed=1)
    speed.write(body='trt_benchmark({"image": images[:2]})')
    speed.calibrate().assert_outcomes(failed=1)


def test_test_without_relative_limits_is_judged_as_usual(speed) -> None:
    speed.write('p50="off", p95="off", p99="off", throughput="off", p50_ms=1e-6')
    speed.calibrate().assert_outcomes(failed=1)
    assert speed.files == []
