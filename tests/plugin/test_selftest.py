"""`--trt-selftest` finds the checks that cannot fail, and only those."""

from __future__ import annotations

import json

import pytest

MODEL = '"models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))}'
RUN = 'trt_session.run({"image": images})'


def check(
    project, marker: str = "", body: str = RUN, *, model: str = MODEL, more: str = ""
) -> None:
    project.test_file(
        f"""
        @pytest.mark.trt_model({model})
        @pytest.mark.trt_consistency({marker})
        {more}
        def test_it(trt_session, images):
            {body}
        """
    )


def selftest(project, *args: str, **how: bool) -> tuple[pytest.RunResult, str]:
    result = project.run("--trt-selftest", *args, **how)
    return result, result.stdout.str()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_checks_that_can_fail_pass(project, precision: str) -> None:
    check(project, model=f'{MODEL}, precision="{precision}"')
    result, text = selftest(project)
    result.assert_outcomes(passed=1)
    assert "1 effective, 0 ineffective" in text


def test_a_tolerance_that_allows_anything_is_ineffective(project) -> None:
    check(project, "atol=1e9, rtol=0")
    result, text = selftest(project)
    result.assert_outcomes(failed=1)
    assert "passed with errors as large as its range, but must fail: the tolerance is atol" in text
    assert "1 ineffective" in text
    project.run().assert_outcomes(passed=1)


def test_a_test_that_never_runs_its_session_fails(project) -> None:
    check(project, body="pass")
    result, text = selftest(project)
    result.assert_outcomes(failed=1)
    assert "trt_consistency compared nothing" in text
    assert "1 not tried" in text


def test_a_check_of_an_xfail_test_is_ineffective(project) -> None:
    check(project, more="@pytest.mark.xfail")
    result, text = selftest(project)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "the test is marked xfail, so a failed check cannot fail the run" in text


def test_skipped_checks_are_named(project) -> None:
    check(project, body=f'{RUN}; pytest.skip("not today")')
    result, text = selftest(project)
    result.assert_outcomes(skipped=1)
    assert "0 ineffective, 0 not tried" in text
    check(project)
    result, text = selftest(project, "--trt-build-only")
    result.assert_outcomes(skipped=1)
    assert "not tried: test_it.py::test_it" in text


def benchmark(project, marker: str) -> None:
    project.test_file(
        f"""
        @pytest.mark.trt_model({MODEL})
        @pytest.mark.trt_benchmark({marker})
        def test_speed(trt_benchmark, images):
            trt_benchmark({{"image": images}})
        """
    )


def test_limits_of_speed_that_can_fail_pass(project) -> None:
    # Whether a relative limit can fail depends on the host's noise: tests/selftest has rounds that
    # are data.
    benchmark(project, 'plan_size="0%", p99_ms=1000')
    project.run().assert_outcomes(passed=1)
    (file,) = project.path.glob("trt_baselines/*/*.json")
    before = file.read_bytes()
    result, text = selftest(project)
    result.assert_outcomes(passed=1)
    assert "1 effective, 0 ineffective, 0 not tried" in text
    assert file.read_bytes() == before


def test_a_limit_that_lets_anything_pass_is_ineffective(project) -> None:
    benchmark(project, 'p50="500%"')
    project.run().assert_outcomes(passed=1)
    result, text = selftest(project)
    result.assert_outcomes(failed=1)
    assert "P50 within 500% passed with twice the time, but must fail" in text


def test_a_limit_within_the_calibrated_noise_is_ineffective(project) -> None:
    benchmark(project, 'p50="40%"')
    project.run().assert_outcomes(passed=1)
    (file,) = project.path.glob("trt_baselines/*/*.json")
    stored = json.loads(file.read_text())
    entry = stored["tests"]["test_speed"]
    noise = {"processes": 9, "placement": 0.5, "between_runs": {"p50": 3.0}}
    entry["noise"] = {"recorded": "2026-11-01T10:00:00+00:00", **noise}
    file.write_text(json.dumps(stored))
    result, text = selftest(project)
    result.assert_outcomes(failed=1)
    assert "P50 within 40% passed with twice the time, but must fail" in text


def test_limits_without_a_baseline_fail_and_record_none(project) -> None:
    benchmark(project, 'p50="40%"')
    result, text = selftest(project)
    result.assert_outcomes(failed=1)
    assert "no baseline" in text
    assert not list(project.path.glob("trt_baselines/*/*.json"))


def test_a_baseline_of_another_mode_fails(project) -> None:
    benchmark(project, 'p50="40%"')
    project.run().assert_outcomes(passed=1)
    (file,) = project.path.glob("trt_baselines/*/*.json")
    stored = json.loads(file.read_text())
    stored["tests"]["test_speed"]["mode"] = "enqueue"
    file.write_text(json.dumps(stored))
    result, text = selftest(project)
    result.assert_outcomes(failed=1)
    assert "not comparable with the baseline" in text


@pytest.mark.parametrize("option", ["--trt-update", "--trt-update-new", "--trt-calibrate"])
def test_options_that_record_baselines_are_refused(project, option: str) -> None:
    check(project)
    result = project.run("--trt-selftest", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "writes no baselines" in result.stderr.str()


@pytest.mark.usefixtures("engines_of_other_tests")
@pytest.mark.exhaustive
def test_what_workers_proved_is_counted_once(project) -> None:
    check(project, "atol=1e9, rtol=0")
    result, text = selftest(project, "-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "1 ineffective" in text


def test_proofs_are_in_the_report(project) -> None:
    check(project, "atol=1e9, rtol=0")
    selftest(project, "--trt-report=report.json")
    (test,) = json.loads((project.path / "report.json").read_text())["tests"]
    wrong = [one for one in test["selftest"] if one["must_fail"] != one["failed"]]
    assert [one["injected"] for one in wrong] == ["errors as large as its range"] * 2


@pytest.mark.parametrize(
    ("limits", "dead"),
    [
        ('plan_size="5%", layers="0%", build_s=600', ""),
        ('plan_size="500%"', "plan_size within 500% passed with twice as much, but must fail"),
    ],
)
def test_limits_of_the_engine_itself_are_tried(project, limits: str, dead: str) -> None:
    project.test_file(
        f"""
        @pytest.mark.trt_model({MODEL})
        @pytest.mark.trt_benchmark(p50="off", p95="off", p99="off", throughput="off", {limits})
        def test_speed(trt_benchmark, images):
            trt_benchmark({{"image": images}})
        """
    )
    project.run().assert_outcomes(passed=1)  # records
    result, text = selftest(project)
    result.assert_outcomes(**{"failed" if dead else "passed": 1})
    assert dead in text
    assert ("1 injection;" if dead else "6 injections;") in text
