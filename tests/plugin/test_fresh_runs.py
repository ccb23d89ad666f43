"""Fresh processes for a real test: in the baseline engine's place, and for more runs at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

# Loaded by now, so that what the tests put in its place is found by other processes alone.
import onnxruntime  # noqa: F401
import pytest
from builders import save_linear
from plugin.conftest import assert_shows, assert_usage_error
from plugin.test_benchmark import Speed

pytestmark = pytest.mark.exhaustive

CRASHES = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


@pytest.fixture
def speed(project) -> Speed:
    return Speed(project)


@pytest.fixture
def recorded(speed) -> Speed:
    """A project whose benchmark has a baseline, of an engine that is gone."""
    speed.run().assert_outcomes(passed=1)
    shutil.rmtree(speed.project.cache)
    return speed


@pytest.fixture
def no_fresh_process(tmp_path: Path, monkeypatch) -> None:
    """Have every fresh process crash when it loads ONNX Runtime."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text(CRASHES)
    monkeypatch.syspath_prepend(str(folder))


def test_slower_engine_fails_without_the_baseline_engine_too(recorded) -> None:
    recorded.slow_down()
    result = recorded.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*0 rounds of 70 calls in fresh processes, against stored rounds;*", "*regressed*"]
    )


def test_engine_as_quick_as_the_missing_one_does_not_fail(recorded) -> None:
    save_linear(recorded.project.path / "models" / "linear.onnx", classes=5)
    recorded.run().assert_outcomes(passed=1)


def test_crashed_process_is_inconclusive_and_the_way_to_the_baseline_engine_is_shown(
    recorded, no_fresh_process
) -> None:
    recorded.slow_down()
    result = recorded.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*is inconclusive*",
            "*: the fresh process that measures linear.onnx fp32 for cpu crashed (SIGSEGV), its "
            "last step: loading*; the baseline engine is not in the engine cache*check out the "
            "commit of the baseline and run `pytest --trt-build-only`*",
        ]
    )
    recorded.run("--trt-inconclusive=fail").assert_outcomes(failed=1)


def test_rebuilt_baseline_engine_is_interleaved(recorded) -> None:
    recorded.run("--trt-build-only").assert_outcomes(skipped=1)
    recorded.slow_down()
    assert_shows(recorded.run(), "*interleaved with the baseline engine;*", failed=1)


def test_as_many_runs_are_recorded_as_requested(speed) -> None:
    speed.run("--trt-baseline-runs=3").assert_outcomes(passed=1)
    (entry,) = speed.stored()["tests"].values()
    assert len(entry["runs"]) == 3
    assert len({json.dumps(run["rounds"]) for run in entry["runs"]}) == 3
    assert {len(run["rounds"]["p50"]) for run in entry["runs"]} == {20}
    # They are runs of a baseline that exists; nothing is added to it unasked.
    speed.run("--trt-baseline-runs=3").assert_outcomes(passed=1)
    assert speed.stored()["tests"]["test_speed"] == entry


def test_update_records_as_many(recorded) -> None:
    recorded.slow_down()
    args = ("--trt-update", "--trt-baseline-runs=2", "--trt-update-reason=more classes")
    recorded.run(*args).assert_outcomes(passed=1)
    (entry,) = recorded.stored()["tests"].values()
    assert [run["reason"] for run in entry["runs"]] == ["more classes"] * 2


def test_missing_fresh_runs_are_reported(speed, request) -> None:
    speed.run("--trt-missing-baseline=skip").assert_outcomes(skipped=1)  # starts what builds
    request.getfixturevalue("no_fresh_process")
    result = speed.run("--trt-baseline-runs=2")
    assert_shows(result, "*recorded 1 of 2 runs: the fresh process *SIGSEGV*", passed=1)
    (entry,) = speed.stored()["tests"].values()
    assert len(entry["runs"]) == 1


@pytest.mark.parametrize("count", ["0", "6", "two"])
def test_more_runs_than_a_baseline_stores_are_refused(speed, count: str) -> None:
    result = speed.run(f"--trt-baseline-runs={count}")
    assert_usage_error(result, "*--trt-baseline-runs: expected a whole number from 1 to 5*")
