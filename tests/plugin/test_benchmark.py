"""Speed against a stored baseline, with real engines of the embedded backend.

Nothing here asserts a time: engines that are to be slower are slower by a multiple.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import save_linear
from click.testing import CliRunner
from plugin.conftest import CONFTEST, assert_shows, assert_usage_error
from quiet_host import BUSY, OVERLOADED

from pytest_trt.baseline.last_run import read_last_run
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.cli import commands
from pytest_trt.engine.cache import EngineCache

MODEL = '"models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))}'

#: Classes of a model that takes many times as long as the usual one of four.
SLOW = 20_000

#: Limits that other work on this machine does not reach, and that model exceeds many times.
WIDE = 'p50="500%", p95="500%", p99="500%", throughput="90%"'


def times(entry: dict[str, Any], factor: float) -> None:
    """Let a stored engine have been so many times as slow: no other work here does that."""
    for run in entry["runs"]:
        for metric, values in run["rounds"].items():
            by = 1 / factor if metric == "throughput" else factor
            run["rounds"][metric] = [value * by for value in values]


class Speed:
    """A project with one benchmark, `test_it.py::test_speed`."""

    def __init__(self, project) -> None:
        self.project = project
        self.write()

    def write(
        self, marker: str = "", body: str = "", *, model: str = MODEL, more: str = ""
    ) -> None:
        call = body or 'trt_benchmark({"image": images})'
        self.project.test_file(
            f"@pytest.mark.trt_model({model})\n"
            f"@pytest.mark.trt_benchmark({marker})\n"
            f"{more}"
            "def test_speed(trt_benchmark, trt_session, images):\n    "
            + call.replace("\n", "\n    ")
        )

    def run(self, *args: str, **options: Any) -> pytest.RunResult:
        # On one thread: other tests use the other cores.
        return self.project.run("--trt-arch=cpu", "--trt-threads=1", *args, **options)

    def slow_down(self) -> None:
        save_linear(self.project.path / "models" / "linear.onnx", classes=SLOW)

    @property
    def files(self) -> list[Path]:
        return sorted(self.project.path.glob("trt_baselines/*/*.json"))

    def stored(self) -> dict[str, Any]:
        (file,) = self.files
        return json.loads(file.read_text())

    def entry(self) -> dict[str, Any]:
        (entry,) = self.stored()["tests"].values()
        return entry

    def rewrite(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change what is stored of the one test."""
        (file,) = self.files
        content = json.loads(file.read_text())
        (entry,) = content["tests"].values()
        change(entry)
        file.write_text(json.dumps(content))


@pytest.fixture
def speed(project) -> Speed:
    return Speed(project)


@pytest.fixture
def recorded(speed) -> Speed:
    """A project whose benchmark has a baseline."""
    speed.run().assert_outcomes(passed=1)
    return speed


def test_an_engine_with_other_layers_in_fp32_is_not_compared(speed) -> None:
    half = f'{MODEL}, precision="fp16"'
    speed.write(model=half)
    speed.run().assert_outcomes(passed=1)
    speed.run().assert_outcomes(passed=1)
    assert "keep_fp32" not in speed.entry()["spec"]
    speed.write(model=f'{half}, keep_fp32=["Softmax"]')
    assert_shows(speed.run(), "*keep_fp32*TRT661*", failed=1)


def test_first_run_records_and_says_which_file_it_wrote(speed) -> None:
    assert_shows(
        speed.run(),
        "speed  linear.onnx fp32 cpu  p99 * ms * recorded",
        "wrote trt_baselines/cpu-*/test_it.json*",
        passed=1,
    )
    entry = speed.entry()
    assert entry["mode"] == "end_to_end"
    assert entry["spec"]["shapes"] == "image [4, 8]"
    assert entry["spec"]["batch"] == "4"
    (run,) = entry["runs"]
    assert {len(rounds) for rounds in run["rounds"].values()} == {20}


def test_unchanged_code_never_fails_and_its_baseline_stays_as_it_is(recorded) -> None:
    before = recorded.files[0].read_bytes()
    for _ in range(4):
        result = recorded.run()
        assert_shows(result, "speed  linear*%*(limit *%)  *", passed=1)
        result.stdout.no_fnmatch_line("wrote *")
    assert recorded.files[0].read_bytes() == before


def test_slower_engine_fails_when_interleaved_with_the_cached_baseline_engine(recorded) -> None:
    recorded.slow_down()
    assert_shows(
        recorded.run(),
        "* the baseline, limit *% (linear.onnx, fp32, cpu) [[]TRT501]",
        "*rounds of 70 calls interleaved with the baseline engine; end_to_end, batch 4, ONNX*",
        "*baseline *now *change (bounds) *limit*",
        "*P50 *regressed",
        "*since the baseline of 20*: the model changed (sha256 *)*plan size * -> *",
        "*baseline |*|",
        "*now *|*|",
        "Fix: Restore the model that the baseline*",
        "    git checkout COMMIT -- models/linear.onnx",
        "    pytest test_it.py::test_speed --trt-update --trt-update-reason * --trt-arch=cpu *",
        "speed *regressed",
        failed=1,
    )


@pytest.fixture
def busy_host(speed) -> Callable[[HostLoad], None]:
    """Make the host of runs in this process, and of those they start, busy or not."""
    return lambda load: setattr(speed.project.host, "load", load)


@pytest.mark.exhaustive
def test_slower_engine_fails_on_an_overloaded_host_only_when_interleaved(
    recorded, busy_host
) -> None:
    recorded.slow_down()
    busy_host(OVERLOADED)
    recorded.run().assert_outcomes(failed=1)
    shutil.rmtree(recorded.project.cache)
    assert_shows(recorded.run(), f"*the host was overloaded*: {BUSY}*", passed=1)


def test_baseline_of_an_overloaded_host_is_marked_and_only_interleaved(speed, busy_host) -> None:
    busy_host(OVERLOADED)
    result = speed.run()
    assert_shows(
        result,
        "*the host was overloaded while the baseline was measured *TRT664*",
        f"*{BUSY}",
        passed=1,
    )
    entry = speed.entry()
    assert entry["runs"][0]["environment"] == {"host_busy": BUSY}
    busy_host(HostLoad())
    result = speed.run()
    result.assert_outcomes(passed=1)
    reported = f"*the host was overloaded when the baseline was recorded ({BUSY})*"
    result.stdout.fnmatch_lines(["*inconclusive*", reported])
    speed.slow_down()
    speed.run().assert_outcomes(failed=1)
    shutil.rmtree(speed.project.cache)
    assert_shows(speed.run(), "*inconclusive*", reported, passed=1)


def test_warning_that_fails_the_test_is_not_repeated_as_a_note(speed, busy_host) -> None:
    busy_host(OVERLOADED)
    result = speed.run("-W", "error::pytest_trt.PytestTrtWarning")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the host was overloaded while *TRT664*", f"*{BUSY}"])
    result.stdout.no_fnmatch_line("note: the host was overloaded*")


def test_update_on_a_free_host_replaces_the_baseline_of_a_busy_one(speed, busy_host) -> None:
    speed.write(WIDE)
    busy_host(OVERLOADED)
    speed.run()
    busy_host(HostLoad())
    speed.run("--trt-update").assert_outcomes(passed=1)
    entry = speed.entry()
    assert [run["environment"] for run in entry["runs"]] == [{}]


#: What the user gave is repeated, and nothing has to be filled in.
GIVEN = ("--trt-baseline-runs=2", "--trt-benchmark-time=0.5", "--trt-update-reason=two words")
ANYWAY = (
    "--trt-update --trt-arch=cpu * --trt-benchmark-time=0.5 --trt-baseline-runs=2 "
    "'--trt-update-reason=two words' --trt-update-anyway"
)


def test_update_on_an_overloaded_host_fails_and_names_the_way_to_insist(
    recorded, busy_host
) -> None:
    before = recorded.stored()
    busy_host(OVERLOADED)
    result = recorded.run("--trt-update", *GIVEN)
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"baseline not updated: the host was overloaded ({BUSY}) *TRT663]", f"*{ANYWAY}"]
    )
    result.stdout.no_fnmatch_line("*add --trt-update*")
    assert '"..."' not in result.stdout.str()
    assert recorded.stored() == before
    result = recorded.run("--trt-update")  # without a reason it asks for one
    result.stdout.fnmatch_lines(['*--trt-update --trt-update-reason "..." * --trt-update-anyway'])
    recorded.run("--trt-update", "--trt-update-reason=x", "--trt-update-anyway")
    entry = recorded.entry()
    assert entry["runs"][-1]["environment"] == {"host_busy": BUSY}


@pytest.mark.exhaustive
@pytest.mark.parametrize("same_engine", [True, False])
def test_accepted_speed_keeps_the_calibration_of_the_same_engine(recorded, same_engine) -> None:
    noise = {
        "recorded": "2026-11-01T10:00:00+00:00",
        "processes": 6,
        "placement": 0.001,
        "between_runs": {"p50": 0.001},
    }

    def faster(entry: dict[str, Any]) -> None:
        entry["noise"] = noise
        if not same_engine:
            entry["engine"]["key"] = "0" * 64
        times(entry, 0.25)

    recorded.rewrite(faster)
    recorded.run("--trt-inconclusive=warn")
    args = ("baseline", f"--cache-dir={recorded.project.cache}", "accept", "--all", "--reason=x")
    done = CliRunner().invoke(commands, args)
    assert done.exit_code == 0, done.output
    entry = recorded.entry()
    assert entry["runs"][-1]["reason"] == "x"
    assert entry.get("noise") == (noise if same_engine else None)
    assert ("its calibration was dropped" in done.output) != same_engine


def may_be_accepted(project) -> tuple[bool, str]:
    """Return whether the last run's figures may become a baseline, and why not."""
    last_run = read_last_run(EngineCache(project.cache).last_runs, project.path)
    assert last_run is not None
    (candidate,) = last_run.candidates
    return not candidate.refused, candidate.refused


def test_figures_of_a_busy_host_replace_no_baseline(recorded, busy_host) -> None:
    recorded.slow_down()
    recorded.run().assert_outcomes(failed=1)
    assert may_be_accepted(recorded.project) == (True, "")
    busy_host(OVERLOADED)
    recorded.run().assert_outcomes(failed=1)
    assert may_be_accepted(recorded.project) == (False, f"the host was overloaded ({BUSY})")


def test_absolute_limit_fails_on_a_free_host_alone(speed, busy_host) -> None:
    speed.write("p50_ms=1e-6, p50='off', p95='off', p99='off', throughput='off'")
    speed.run().assert_outcomes(failed=1)
    busy_host(OVERLOADED)
    result = speed.run()
    assert_shows(result, "*p50_ms is inconclusive: *TRT506*", f"*overloaded*: {BUSY}*", passed=1)
    speed.run("--trt-inconclusive=fail").assert_outcomes(failed=1)
    speed.write("p50_ms=1e6, p50='off', p95='off', p99='off', throughput='off'")
    result = speed.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*inconclusive*")


@pytest.mark.parametrize("option", ["--trt-update-reason=x", "--trt-update-anyway"])
def test_an_option_of_an_update_is_refused_without_one(recorded, option: str) -> None:
    result = recorded.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = option.partition("=")[0]
    result.stderr.fnmatch_lines([f"*{name} has no effect without --trt-update: add it*"])
    recorded.run("--trt-update", option).assert_outcomes(passed=1)


def test_engine_of_the_baseline_that_was_rebuilt_is_noted(recorded) -> None:
    recorded.slow_down()
    for plan, noted in ((None, False), ("0123456789abcdef", True)):
        if plan:  # another one than the recorded one
            recorded.rewrite(lambda entry, plan=plan: entry["engine"].update(plan=plan))
        result = recorded.run()
        result.assert_outcomes(failed=1)
        assert ("compared with a rebuilt engine" in result.stdout.str()) is noted


def test_slow_baseline_machine_does_not_hide_a_slower_engine(recorded) -> None:
    recorded.rewrite(lambda entry: times(entry, 100))
    recorded.slow_down()
    result = recorded.run()
    assert_shows(result, "*rounds of 70 calls interleaved with the baseline engine;*", failed=1)


def test_engines_that_the_cap_of_the_cache_removes_are_noted(project) -> None:
    models = [save_linear(project.path / "models" / f"{one}.onnx", nudge=one) for one in range(3)]
    project.test_file(
        f"@pytest.mark.trt_model({[str(one) for one in models]})\n"
        "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"
    )
    result = project.run("--trt-cache-size=1kB")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["note  *engines were removed from the cache to keep its size below 1.0 kB*TRT814*"]
    )


def test_slow_baseline_machine_does_not_fail_an_engine_that_is_as_fast(recorded) -> None:
    recorded.rewrite(lambda entry: times(entry, 100))
    save_linear(recorded.project.path / "models" / "linear.onnx", classes=5)
    recorded.run().assert_outcomes(passed=1)


def test_metrics_without_a_limit_show_how_they_changed_when_interleaved(speed) -> None:
    speed.write(marker='p50="off", p95="off"')
    speed.run().assert_outcomes(passed=1)
    speed.slow_down()
    result = speed.run()
    result.assert_outcomes(failed=1)
    row = next(line for line in result.outlines if line.startswith("  P50 "))
    assert "+" in row
    assert row.endswith(")")


def test_slower_machine_is_not_a_slower_engine(recorded) -> None:
    recorded.rewrite(lambda entry: times(entry, 0.01))
    result = recorded.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(["speed * inconclusive", "*the machine was slower*"])
    result = recorded.run("--trt-inconclusive=fail")
    assert_shows(result, "* is inconclusive: *limit *%*TRT505]", "Fix: *", failed=1)


def test_missing_baseline_fails_in_ci(speed, monkeypatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert_shows(
        speed.run(),
        "no baseline for this machine (*) *TRT660]",
        "  trt_baselines/* does not exist",
        "  not recorded automatically, because CI is set",
        "Fix: Record it on this kind of machine and commit *",
        "    pytest test_it.py --trt-update-new",
        failed=1,
    )
    assert speed.files == []


def test_missing_baseline_names_the_devices_that_have_one(recorded) -> None:
    (path,) = recorded.files
    there = path.parent.parent / "cpu-of-another-kind" / path.name
    there.parent.mkdir()
    path.rename(there)
    result = recorded.run("--trt-missing-baseline=fail")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["no baseline for this machine (*", "*", "  there are baselines for cpu-of-another-kind"]
    )


def test_missing_baseline_is_recorded_in_a_file_that_has_others(recorded) -> None:
    (path,) = recorded.files
    path.write_text(path.read_text().replace("test_speed", "test_other"))
    module = recorded.project.path / "test_it.py"
    module.write_text(f"def test_other():\n    pass\n\n{module.read_text()}")
    result = recorded.run("--trt-missing-baseline=fail")
    assert_shows(
        result,
        "no baseline for this test in *",
        "*::test_speed* --trt-update-new",
        failed=1,
        passed=1,
    )


@pytest.mark.parametrize("text", ["...", "\N{HORIZONTAL ELLIPSIS}", " . "])
def test_ellipsis_is_not_accepted_as_a_reason(recorded, text: str) -> None:
    result = recorded.run("--trt-update", f"--trt-update-reason={text}")
    assert_usage_error(result, f"*--trt-update-reason*a reason in words*'{text}'*")


@pytest.mark.parametrize(
    ("args", "outcome"),
    [
        (["--trt-missing-baseline=record"], "passed"),
        (["--trt-missing-baseline=skip"], "skipped"),
        (["--trt-update-new"], "passed"),
        (["--trt-update"], "passed"),
    ],
)
def test_missing_baseline_in_ci_follows_the_option(
    speed, monkeypatch, args: list[str], outcome: str
) -> None:
    monkeypatch.setenv("CI", "true")
    speed.run(*args).assert_outcomes(**{outcome: 1})
    assert len(speed.files) == (outcome == "passed")


def test_other_shapes_are_not_compared(recorded) -> None:
    recorded.write(body='trt_benchmark({"image": images[:2]})')
    before = recorded.files[0].read_bytes()
    assert_shows(
        recorded.run(),
        "not comparable with the baseline: it has shapes image [[]4, 8], this run*",
        "*--trt-update --trt-update-reason*",
        "speed *not comparable",
        failed=1,
    )
    assert recorded.files[0].read_bytes() == before
    recorded.run("--trt-update").assert_outcomes(passed=1)
    recorded.run().assert_outcomes(passed=1)


def test_newer_toolchain_is_compared_with_a_note(recorded) -> None:
    def older(entry: dict[str, Any]) -> None:
        entry["runs"][0]["toolchain"] = "ONNX Runtime 1.0"
        times(entry, 4)  # for screening to pass

    recorded.rewrite(older)
    recorded.write('p50="5%"')
    result = recorded.run()
    assert_shows(result, "note *speed was compared across ONNX Runtime 1.0 -> ONNX*", passed=1)


def test_newer_toolchain_that_is_not_compared_has_no_note(recorded, busy_host) -> None:
    def older(entry: dict[str, Any]) -> None:
        entry["runs"][0]["toolchain"] = "ONNX Runtime 1.0"
        entry["engine"]["key"] = "0" * 64
        entry["runs"][0]["environment"]["host_busy"] = BUSY

    recorded.rewrite(older)
    recorded.write('p50="5%"')
    busy_host(OVERLOADED)
    result = recorded.run("--trt-report=report.json")
    (test,) = json.loads((recorded.project.path / "report.json").read_text())["tests"]
    assert test["status"] == "inconclusive"
    assert test["reason"].startswith("P50 is inconclusive")
    assert "TRT515" not in result.stdout.str()
    assert "no change of any size could have been detected" in result.stdout.str()
    assert "Raise the limit" not in result.stdout.str()


def test_update_and_update_new_exclude_each_other(speed) -> None:
    result = speed.run("--trt-update", "--trt-update-new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("skipped", [True, False])
def test_update_without_a_benchmark_is_not_a_success(speed, skipped: bool) -> None:
    mark = "@pytest.mark.skip\n" if skipped else ""
    speed.write(more=mark)
    if not skipped:
        speed.project.test_file("def test_it():\n    pass\n")
    result = speed.run("--trt-update")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["--trt-update: no test with a baseline ran, so *"])
    assert speed.run("--trt-update", "--collect-only").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("untimed", ["--trt-build-only", "--benchmark-disable"])
@pytest.mark.parametrize("option", ["--trt-update", "--trt-calibrate"])
def test_recording_what_is_not_measured_is_a_usage_error(speed, option, untimed) -> None:
    result = speed.run(option, untimed)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = f"ERROR: {option} records what is measured, but {untimed} disables measuring*"
    result.stderr.fnmatch_lines([message])


TIGHT = "@pytest.mark.trt_consistency(rtol=0, atol=1e-12)\n"

FAILING = {
    "a failing assertion": 'trt_benchmark({"image": images})\nassert 1 == 2',
    "a failing consistency check": 'trt_session.run({"image": images})\n'
    'trt_benchmark({"image": images})',
}


#: The first attempt times a much slower model.
FIRST_IS_SLOW = """
import shutil

@pytest.fixture(autouse=True)
def model(request):
    request.config.attempt = getattr(request.config, "attempt", 0) + 1
    name = "slow" if request.config.attempt == 1 else "quick"
    shutil.copy(f"models/{name}.onnx", "models/linear.onnx")
"""


@pytest.mark.exhaustive
def test_rerun_leaves_a_trace_of_the_regression_that_it_clears(recorded) -> None:
    models = recorded.project.path / "models"
    # So slow that it shows beside a baseline that other work made several times too high.
    save_linear(models / "slow.onnx", classes=5 * SLOW)
    shutil.copy(models / "linear.onnx", models / "quick.onnx")
    recorded.write(WIDE)
    path = recorded.project.path / "test_it.py"
    path.write_text(path.read_text() + FIRST_IS_SLOW)
    written = ("--trt-report=r.json", "--benchmark-json=b.json")
    result = recorded.run("--reruns=1", *written)
    assert "1 passed, 1 rerun" in result.outlines[-1]
    result.stdout.fnmatch_lines(
        ["note  attempt 1 of * failed before attempt 2: P* the baseline*TRT501*"]
    )
    (test,) = json.loads((recorded.project.path / "r.json").read_text())["tests"]
    (trace,) = [note for note in test["notes"] if note["code"] == "TRT172"]
    assert [one["code"] for one in trace["facts"]["failed"]] == ["TRT501"]
    (row,) = json.loads((recorded.project.path / "b.json").read_text())["benchmarks"]
    assert row["extra_info"]["verdict"] == "passed"


def test_of_a_test_that_is_run_again_for_its_teardown_the_last_attempt_counts(speed) -> None:
    speed.write(body='request.getfixturevalue("shaky")\ntrt_benchmark({"image": images})')
    path = speed.project.path / "test_it.py"
    path.write_text(
        path.read_text().replace("trt_session, images", "trt_session, images, request")
        + "\nATTEMPTS = []\n"
        "@pytest.fixture\ndef shaky():\n    yield\n    ATTEMPTS.append(1)\n"
        "    assert len(ATTEMPTS) > 1\n"
    )
    result = speed.run("--reruns=1", "--benchmark-json=b.json")
    result.stdout.fnmatch_lines(["linear.onnx * 1 passed"])
    assert len([line for line in result.outlines if line.startswith("speed ")]) == 1
    assert len(json.loads((speed.project.path / "b.json").read_text())["benchmarks"]) == 1


def test_rerun_that_passes_records_once(speed) -> None:
    speed.write(
        body='trt_benchmark({"image": images})\n'
        'request.config.attempt = getattr(request.config, "attempt", 0) + 1\n'
        "assert request.config.attempt > 1",
    )
    path = speed.project.path / "test_it.py"
    path.write_text(path.read_text().replace("trt_session, images", "trt_session, images, request"))
    result = speed.run("--reruns=1")
    assert "1 passed, 1 rerun" in result.outlines[-1]
    written = [line for line in result.outlines if "first run" in line]
    assert len(written) == 1
    result.stdout.no_fnmatch_line("*not recorded*")
    entry = speed.entry()
    assert len(entry["runs"]) == 1


def test_consistency_and_speed_fail_in_one_failure(speed) -> None:
    half = MODEL + ', precision="fp16"'
    speed.write(model=half)
    speed.run().assert_outcomes(passed=1)
    speed.slow_down()
    speed.write("", FAILING["a failing consistency check"], model=half, more=TIGHT)
    result = speed.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*over tolerance (linear.onnx, fp16, cpu)*", "* the baseline, limit *", "*now *|*|"]
    )


def test_benchmark_that_is_never_called_fails(speed) -> None:
    speed.write(body="pass")
    result = speed.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["trt_benchmark measured nothing*", "Fix: Call the trt_benchmark*"])


def test_marker_on_a_test_without_the_fixture_fails(speed) -> None:
    speed.project.test_file(
        f"@pytest.mark.trt_model({MODEL})\n@pytest.mark.trt_benchmark\ndef test_it():\n    pass\n"
    )
    assert_shows(speed.run(), "trt_benchmark measured nothing*", failed=1)


def test_second_call_is_an_error(speed) -> None:
    speed.write(body='trt_benchmark({"image": images})\ntrt_benchmark({"image": images})')
    result = speed.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*trt_benchmark was called twice*", "*Fix: Split the test into one test per call*"]
    )
    assert speed.files == []


def test_second_call_whose_error_the_test_catches_fails_it_all_the_same(speed) -> None:
    call = 'trt_benchmark({"image": images})'
    speed.write(body=f"{call}\nwith pytest.raises(Exception):\n    {call}")
    assert_shows(speed.run(), "*trt_benchmark was called twice*TRT163*", failed=1)
    assert speed.files == []


def test_refused_call_does_not_count_as_the_one_call(speed) -> None:
    speed.write(
        body="with pytest.raises(Exception, match='image'):\n"
        '    trt_benchmark({"image": np.ones((99, 8), np.float32)})\n'
        'trt_benchmark({"image": images})'
    )
    speed.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(("precision", "outcome"), [("fp16", "passed"), ("fp32", "failed")])
def test_precision_that_is_named_has_to_be_measured(speed, precision, outcome) -> None:
    speed.project.test_file(f'''
@pytest.mark.trt_model({MODEL}, precision="fp16")
@pytest.mark.trt_benchmark
class TestIt:
    @pytest.fixture
    def trt_precision(self):
        return "{precision}"

    def test_it(self, trt_benchmark, images):
        trt_benchmark({{"image": images}})
''')
    result = speed.run()
    result.assert_outcomes(**{outcome: 1})
    if outcome == "failed":
        result.stdout.fnmatch_lines(["*measured no fp16 engine*"])


def test_inputs_outside_the_profile_are_refused(speed) -> None:
    speed.write(body='trt_benchmark({"image": np.ones((99, 8), np.float32)})')
    assert_shows(speed.run(), "*InputError*", failed=1)


@pytest.mark.parametrize(
    ("marker", "outcome"),
    [
        ("p99_ms=1000, min_throughput=0.1", "passed"),
        ("p50_ms=1e-6", "failed"),
        ("min_throughput=1e12", "failed"),
    ],
)
def test_absolute_limit_needs_no_baseline(speed, monkeypatch, marker: str, outcome: str) -> None:
    monkeypatch.setenv("CI", "true")
    speed.write(marker)
    result = speed.run()
    result.assert_outcomes(**{outcome: 1})
    assert speed.files == []
    if outcome == "failed":
        result.stdout.fnmatch_lines(["* the limit of *", "*failed*", "Fix: Make the engine*"])


def test_limits_of_several_markers_add_up(speed) -> None:
    speed.write('p99="10%"', more="@pytest.mark.trt_benchmark(p50_ms=1e-6)\n")
    assert_shows(speed.run(), "P50 * exceeds the limit of *", failed=1)
    assert speed.files == []


def test_ini_line_of_the_precision_gives_way_to_the_marker(speed) -> None:
    speed.project.pytester.makeini("[pytest]\ntrt_limits =\n    fp32: p50_ms=1e-6\n")
    speed.run().assert_outcomes(failed=1)
    speed.write("p50_ms=1000")
    speed.run().assert_outcomes(passed=1)


def test_baselines_are_written_to_the_given_folder(speed) -> None:
    speed.run("--trt-baseline-dir=elsewhere").assert_outcomes(passed=1)
    assert list(speed.project.path.glob("elsewhere/*/test_it.json"))


def test_baselines_are_next_to_the_ini_file_whatever_root_folder_is_named(speed) -> None:
    speed.project.pytester.makeini("[pytest]")
    speed.run().assert_outcomes(passed=1)
    speed.slow_down()
    speed.run(f"--rootdir={speed.project.path.parent}").assert_outcomes(failed=1)
    assert not (speed.project.path.parent / "trt_baselines").exists()


def test_baselines_are_in_the_named_root_folder_where_the_ini_file_is_named_too(speed) -> None:
    """As with ini files in a folder of settings: baselines there would be of tests beside it."""
    path = speed.project.path / "settings/pytest.ini"
    path.parent.mkdir()
    path.write_text("[pytest]\n")
    root = speed.project.path
    named = ("-c", str(path), f"--rootdir={root}", f"--confcutdir={root}")
    speed.run(*named).assert_outcomes(passed=1)
    assert list(speed.project.path.glob("trt_baselines/*/test_it.json"))
    speed.slow_down()
    speed.run(*named).assert_outcomes(failed=1)


NO_TIME = "--trt-benchmark-time=1e-9"


def test_mode_that_needs_a_gpu_is_reported_as_unavailable_here(speed) -> None:
    speed.write('mode="graph"')
    assert_shows(speed.run(), "note  mode='graph' needs a GPU: end_to_end was measured *", passed=1)
    speed.write('mode="end_to_end"')
    speed.run().stdout.no_fnmatch_line("*needs a GPU*")


@pytest.mark.exhaustive
def test_default_limits_that_do_not_fit_the_time_are_left_out_with_a_note(speed) -> None:
    for _ in range(2):
        # Each in a process of its own: a second one in this process was seen to take twice as long.
        result = speed.run(NO_TIME, "--trt-inconclusive=fail", subprocess=True)
        assert_shows(
            result, "note  P95 and P99 are not tested: rounds of 5 calls are too short *", passed=1
        )
    result.stdout.fnmatch_lines(["speed * passed"])


@pytest.mark.parametrize("marker", ['p99="500%"', "p99_ms=1000"])
def test_explicit_limit_that_can_never_fail_is_an_error_that_names_the_time_needed(
    speed, marker: str
) -> None:
    speed.write(marker)
    result = speed.run(NO_TIME)
    result.assert_outcomes(failed=1)
    name = "p99_ms" if "ms" in marker else "P99"
    result.stdout.fnmatch_lines(
        [f"{name} cannot be tested: it needs *", "*--trt-benchmark-time=* --trt-checks=*"]
    )
    fix = re.search(r"--trt-benchmark-time=\d+", result.stdout.str().partition("Fix:")[2])
    assert fix is not None
    speed.run(fix[0]).assert_outcomes(passed=1)


def test_baseline_without_rounds_for_a_named_limit_is_recorded_again(speed) -> None:
    speed.run(NO_TIME).assert_outcomes(passed=1)
    speed.write('p99="500%"')
    assert_shows(
        speed.run(),
        "not comparable *: its rounds have 5 calls, and p99 needs 70 *",
        "*--trt-update*",
        failed=1,
    )
    speed.run("--trt-update", "--trt-update-reason=x").assert_outcomes(passed=1)
    assert_shows(speed.run(), "speed * p99 *%* passed", passed=1)


def test_update_with_more_time_adds_metrics_that_the_baseline_lacked(speed) -> None:
    speed.run(NO_TIME).assert_outcomes(passed=1)
    # Time alone changes nothing: what is compared is as long as what is stored.
    speed.run().stdout.fnmatch_lines(["note *not tested: rounds of 5 calls *"])
    speed.run("--trt-update", "--trt-update-reason=x").assert_outcomes(passed=1)
    entry = speed.entry()
    assert [run["calls"] for run in entry["runs"]] == [70]
    speed.run().stdout.no_fnmatch_line("note *not tested*")


def test_baseline_of_another_machine_in_this_ones_folder_is_an_error(recorded) -> None:
    path = recorded.files[0]
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "target": {"arch": "sm90", "gpu": "NVIDIA H200"}}))
    assert_shows(
        recorded.run(),
        "*test_it.json was recorded on sm90, NVIDIA H200, but this is cpu, *: it was renamed *",
        "*mv *test_it.json *test_it.json.broken",
        failed=1,
    )


@pytest.mark.parametrize("update", [False, True])
def test_run_that_was_overtaken_by_another_replaces_nothing(speed, update: bool) -> None:
    """Another run records the baseline while this one measures a slower engine.

    An update that was requested and not done fails the run.
    """
    speed.run().assert_outcomes(passed=1)
    other, path = speed.files[0].read_text(), speed.files[0]
    path.unlink()
    speed.slow_down()
    speed.write(
        body=f"""
        trt_benchmark({{"image": images}})
        from pathlib import Path
        Path({str(path)!r}).write_text({other!r})
        """
    )
    result = speed.run(*["--trt-update"] * update)
    result.assert_outcomes(passed=1)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if update else pytest.ExitCode.OK)
    reason = "not recorded: *::test_speed: another run changed its baseline in *"
    error = "*another run has changed the baseline of test_speed meanwhile*TRT606]"
    result.stdout.fnmatch_lines([reason, *[error] * update])
    assert path.read_text() == other


def test_building_the_candidate_does_not_evict_the_baseline_engine(recorded) -> None:
    recorded.slow_down()
    result = recorded.run("--trt-cache-size=1kB")
    assert_shows(result, "*rounds of 70 calls interleaved with the baseline engine;*", failed=1)


def test_test_that_is_repeated_alone_shares_the_error_budget_of_its_run(speed) -> None:
    speed.project.pytester.makeconftest(
        CONFTEST + "\ndef pytest_trt_result(result):\n    print('checks', result.checks)\n"
    )
    both = "".join(
        f"@pytest.mark.trt_model({MODEL})\n"
        "@pytest.mark.trt_benchmark\n"
        f'def test_{name}(trt_benchmark, images):\n    trt_benchmark({{"image": images}})\n'
        for name in ("one", "two")
    )
    speed.project.test_file(both)
    report = speed.project.path / "report.json"
    speed.run("-s", f"--trt-report={report}").stdout.fnmatch_lines(["*checks 8"])
    repeat = [test["repeat"] for test in json.loads(report.read_text())["tests"]]
    assert all(command.endswith("--trt-checks=8") for command in repeat)
    speed.run("-s", "-k", "one").stdout.fnmatch_lines(["*checks 4"])
    speed.run("-s", "-k", "one", "--trt-checks=8").stdout.fnmatch_lines(["*checks 8"])


def test_result_is_returned_with_its_figures(speed) -> None:
    speed.write(
        body='result = trt_benchmark({"image": images})\n'
        "assert 0 < result.p50_ms <= result.p99_ms\n"
        "assert result.throughput > 0\n"
        'assert result.kind == "recorded" and not result.failed\n'
        "assert result.baseline == {}"
    )
    speed.run().assert_outcomes(passed=1)
