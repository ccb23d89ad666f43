"""With pytest-benchmark: its rounds are judged, our results are in its table, its options apply.

Nothing here asserts a time: what is to be slower is slower by a multiple.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import save_linear
from plugin.conftest import assert_shows
from plugin.test_benchmark import times
from quiet_host import BUSY, OVERLOADED

pytest.importorskip("pytest_benchmark")

MODEL = 'pytest.mark.trt_model("models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))})'

OURS = f"""
@{MODEL}
@pytest.mark.trt_benchmark
def test_ours(trt_benchmark, images):
    trt_benchmark({{"image": images}})
"""

ENGINE = f"""
@{MODEL}
@pytest.mark.trt_benchmark(p50="5%")
def test_engine(benchmark, trt_session, images):
    benchmark.pedantic(trt_session.run, ({{"image": images}},), rounds=1000, warmup_rounds=20)
"""

#: A function that needs no model.
SUM = """
@pytest.mark.trt_benchmark({marker})
def test_sum(benchmark):
    benchmark.pedantic(sum, (range({size}),), rounds=1500)
"""

#: Calls that pytest-benchmark averages over.
AVERAGED = """
@pytest.mark.trt_benchmark({marker})
def test_sum(benchmark):
    benchmark.pedantic(sum, (range(100),), rounds=200, iterations=20)
"""

#: A clock for pytest-benchmark by which every call takes as long as any other, whatever else runs.
STEADY = """
import itertools
ticks = itertools.count()
def clock():
    return next(ticks) * {call_s!r}
"""


def write_clock(project, call_s: float) -> None:
    """Write steady.py, by whose clock each call takes `call_s`."""
    (project.path / "steady.py").write_text(STEADY.format(call_s=call_s))


PLAIN = "\ndef test_plain():\n    pass\n"


@pytest.fixture
def run(project):
    """Run tests in the project."""
    project.light = ()

    def run(source: str, *args: str, **options: Any) -> pytest.RunResult:
        project.test_file(source)
        return project.run(*args, **options)

    return run


@pytest.fixture
def steady(project, monkeypatch) -> str:
    """Return the option that times by a steady clock."""
    write_clock(project, 50e-6)
    monkeypatch.syspath_prepend(str(project.path))
    return "--benchmark-timer=steady.clock"


def sum_test(size: int = 3000, marker: str = "") -> str:
    return SUM.format(size=size, marker=marker)


def stored(project) -> dict[str, Any]:
    """Return the tests of the one baseline file by name."""
    (file,) = project.path.glob("trt_baselines/*/*.json")
    return json.loads(file.read_text())["tests"]


def rewrite(project, factor: float) -> None:
    """Multiply the stored times of all tests."""
    (file,) = project.path.glob("trt_baselines/*/*.json")
    content = json.loads(file.read_text())
    for entry in content["tests"].values():
        times(entry, factor)
    file.write_text(json.dumps(content))


def written(project) -> list[dict[str, Any]]:
    return json.loads((project.path / "out.json").read_text())["benchmarks"]


# --- its fixture under our marker


def test_any_function_is_recorded_in_rounds_of_consecutive_calls(project, run) -> None:
    result = run(sum_test())
    assert_shows(result, "speed  test_sum cpu  p99 * recorded", "wrote trt_baselines/*", passed=1)
    entry = stored(project)["test_sum"]
    assert entry["mode"] == "end_to_end"
    assert entry["spec"]["timer"] == "pytest-benchmark, time.perf_counter"
    (stored_run,) = entry["runs"]
    assert stored_run["calls"] == 70
    assert set(stored_run["rounds"]) == {"p50", "p95", "p99", "throughput"}
    assert {len(values) for values in stored_run["rounds"].values()} == {20}


def test_rounds_may_be_as_many_as_it_likes(project, run) -> None:
    plain = "@pytest.mark.trt_benchmark\ndef test_it(benchmark):\n    benchmark(sum, range(3000))\n"
    run(plain, "--benchmark-max-time=0.05").assert_outcomes(passed=1)
    (stored_run,) = stored(project)["test_it"]["runs"]
    assert len(stored_run["rounds"]["throughput"]) <= 20


def test_function_that_seems_slower_is_inconclusive_and_says_why(project, run, steady) -> None:
    run(sum_test(marker='p50="5%"'), steady)
    rewrite(project, 0.8)
    result = run(sum_test(marker='p50="5%"'), steady)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(
        ["speed * inconclusive", "*by the host's clock, two processes * can differ by as much*"]
    )
    result = run(sum_test(marker='p50="5%"'), steady, "--trt-inconclusive=fail")
    assert_shows(result, "* is inconclusive: *(test_sum, cpu) *", failed=1)


def test_function_several_times_slower_fails_except_on_a_busy_host(project, run, steady) -> None:
    run(sum_test(marker='p50="5%"'), steady)
    rewrite(project, 0.05)
    run(sum_test(marker='p50="5%"'), steady).assert_outcomes(failed=1)
    project.host.load = OVERLOADED
    result = run(sum_test(marker='p50="5%"'), steady)
    assert_shows(result, f"*the host was overloaded*: {BUSY}*", passed=1)


def test_engine_of_the_baseline_does_not_excuse_the_function(project, run) -> None:
    run(ENGINE)
    rewrite(project, 0.05)
    run(ENGINE).assert_outcomes(failed=1)


def test_engine_is_judged_by_its_rounds(project, run, steady) -> None:
    run(ENGINE, steady)
    assert stored(project)["test_engine"]["spec"]["model"] == "models/linear.onnx"
    assert_shows(run(ENGINE, steady), "speed  linear.onnx fp32 cpu *", passed=1)


def test_a_different_engine_that_is_several_times_slower_fails(project, run, steady) -> None:
    run(ENGINE, steady)
    save_linear(project.path / "models" / "linear.onnx", classes=20_000)
    write_clock(project, 150e-6)
    assert_shows(
        run(ENGINE, steady),
        "P* +*% over the baseline, limit *% (linear.onnx, fp32, cpu) *",
        "*in one process, against stored rounds*",
        failed=1,
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("marker", "outcome"),
    [("max_layers=50", "passed"), ("max_layers=1", "failed"), ("plan_size_bytes=10", "failed")],
)
def test_limit_of_the_engine_itself_is_exact(run, marker: str, outcome: str) -> None:
    limited = ENGINE.replace('trt_benchmark(p50="5%")', f"trt_benchmark({marker})")
    run(limited).assert_outcomes(**{outcome: 1})
    result = run(limited.replace("rounds=1000", "rounds=1"))
    assert_shows(result, "*speed is inconclusive: pytest-benchmark made 1 round*", **{outcome: 1})


def test_cold_start_on_a_busy_host_is_inconclusive(project, run) -> None:
    limited = ENGINE.replace('trt_benchmark(p50="5%")', "trt_benchmark(cold_start_s=1e-9)")
    run(limited).assert_outcomes(failed=1)
    project.host.load = OVERLOADED
    assert_shows(run(limited), "*cold_start_s is inconclusive: *", f"*{BUSY}*", passed=1)


def test_limit_of_an_engine_needs_one(run) -> None:
    assert_shows(run(sum_test(marker="max_layers=50")), "*max_layers is not measured: *", passed=1)
    run(sum_test(marker="max_layers=50"), "--trt-inconclusive=fail").assert_outcomes(failed=1)


@pytest.mark.parametrize(("limit_ms", "outcome"), [(1e-6, "failed"), (1e6, "skipped")])
def test_skip_after_the_rounds_does_not_undo_a_failure(run, limit_ms: float, outcome: str) -> None:
    source = sum_test(marker=f"p99_ms={limit_ms}") + "    pytest.skip('later')\n"
    run(source).assert_outcomes(**{outcome: 1})


def test_averages_report_throughput_and_no_percentile(project, run) -> None:
    run(AVERAGED.format(marker='throughput="5%"'))
    assert set(stored(project)["test_sum"]["runs"][0]["rounds"]) == {"throughput"}
    rewrite(project, 1000.0)
    run(AVERAGED.format(marker='throughput="5%"')).stdout.fnmatch_lines(["speed * passed"])
    result = run(AVERAGED.format(marker=""))
    result.assert_outcomes(passed=1)
    reported = "note *P50, P95 and P99 are not tested: *averaged over 20*"
    result.stdout.fnmatch_lines(["speed * passed", reported])
    result = run(AVERAGED.format(marker='p99="10%"'))
    result.assert_outcomes(failed=1)
    reported = "P99 cannot be tested: pytest-benchmark averaged over 20 calls at a time*"
    result.stdout.fnmatch_lines(
        [reported, "Fix: Time single calls: benchmark.pedantic(*iterations=1*"]
    )


def test_averages_keep_no_absolute_percentile(run) -> None:
    result = run(AVERAGED.format(marker="p99_ms=1000"))
    assert_shows(result, "p99_ms cannot be tested: *averaged over 20 calls*", "Fix: *", failed=1)


def test_fixture_that_is_never_called_fails(run) -> None:
    result = run(
        "@pytest.mark.trt_benchmark\n"
        "@pytest.mark.filterwarnings('ignore:Benchmark fixture was not used')\n"
        "def test_it(benchmark):\n    pass\n"
    )
    assert_shows(result, "trt_benchmark measured nothing*", failed=1)


def test_fixture_without_our_marker_is_left_alone(project, run) -> None:
    plain = "def test_it(benchmark):\n    benchmark(sum, range(100))\n"
    result = run(plain, "--benchmark-max-time=0.01")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("speed *")
    assert not (project.path / "trt_baselines").exists()


def test_two_benchmarks_in_one_test_are_refused(run) -> None:
    result = run(OURS.replace("(trt_benchmark,", "(trt_benchmark, benchmark,"))
    assert_shows(
        result, "*a test has one baseline *", "Fix: Write one test for each fixture.", errors=1
    )


def test_mode_that_it_cannot_time_is_refused(run) -> None:
    result = run(sum_test(marker='mode="graph"'))
    assert_shows(
        result, "*only reads the host's clock*mode='graph' *", 'Fix: *mode="end_to_end".', errors=1
    )


def test_failing_test_records_nothing(project, run) -> None:
    run(sum_test() + "    assert 1 == 2\n").assert_outcomes(failed=1)
    assert not (project.path / "trt_baselines").exists()


def test_what_only_fresh_processes_find_is_reported_as_left_out(project, run) -> None:
    result = run(sum_test(), "--trt-baseline-runs=5")
    result.stdout.fnmatch_lines(["note *one run is recorded, and nothing is calibrated *"])
    assert len(stored(project)["test_sum"]["runs"]) == 1


def test_function_without_a_model_is_in_the_report(project, run) -> None:
    run(sum_test(), "--trt-report=report.json", "--junitxml=junit.xml").assert_outcomes(passed=1)
    report = (project.path / "report.json").read_text()
    assert '"test_it.py::test_sum"' in report
    assert json.loads(report)["schema"]


# --- our results in its table


def test_results_appear_in_the_table_and_file_of_pytest_benchmark(project, run) -> None:
    result = run(OURS + ENGINE, "--benchmark-json=out.json")
    assert_shows(result, "*benchmark: 2 tests*", "test_*", "test_*", passed=2)
    by_name = {benchmark["name"]: benchmark for benchmark in written(project)}
    assert by_name["test_ours"]["fullname"] == "test_it.py::test_ours"
    assert by_name["test_ours"]["stats"]["rounds"] == 20
    assert by_name["test_ours"]["stats"]["iterations"] == 70
    for benchmark in by_name.values():
        reported = benchmark["extra_info"]
        assert reported["p50_ms"] <= reported["p95_ms"]
        assert reported["p99_ms"] > 0
    ours = by_name["test_ours"]
    # Four images a call: its operations are calls, our throughput is images.
    assert ours["extra_info"]["throughput_qps"] == pytest.approx(4 / ours["stats"]["median"], 0.01)


def test_our_results_are_compared_by_its_rules(run) -> None:
    options = ("--benchmark-autosave", "--benchmark-compare")
    run(OURS, "--benchmark-autosave").assert_outcomes(passed=1)
    result = run(OURS, *options, "--benchmark-compare-fail=mean:0.000000000001")
    result.stdout.fnmatch_lines(["*test_ours (NOW)*"])


def test_our_results_group_by_precision(run) -> None:
    both = OURS.replace('.onnx"', '.onnx", precision=("fp32", "fp16")')
    result = run(both, "--benchmark-group-by=param:trt_precision")
    assert_shows(result, "*benchmark 'trt_precision=fp16': 1 tests*", passed=2)


@pytest.mark.exhaustive
def test_our_tests_keep_measuring_under_xdist_where_its_own_do_not(project, run) -> None:
    pytest.importorskip("xdist")
    result = run(OURS + ENGINE, "-n1", "--benchmark-json=out.json")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(
        ["speed * recorded", "speed * not measured", "*does not time tests under pytest-xdist *"]
    )
    assert [benchmark["name"] for benchmark in written(project)] == ["test_ours"]
    assert list(stored(project)) == ["test_ours"]
    for required in ("--trt-inconclusive=fail", "--trt-missing-baseline=fail"):
        run(ENGINE, "-n1", required).assert_outcomes(failed=1)
        run(ENGINE, "-n1", required, "--benchmark-disable").assert_outcomes(passed=1)


# --- its options


def test_disabled_benchmarks_run_once_and_say_that_nothing_was_measured(project, run) -> None:
    result = run(OURS + ENGINE + sum_test(), "--benchmark-disable")
    assert_shows(result, *(["speed * not measured"] * 3), passed=3)
    result.stdout.fnmatch_lines(["note *speed was not measured: --benchmark-disable*"])
    assert not (project.path / "trt_baselines").exists()


def test_disabled_benchmark_is_not_judged(project, run) -> None:
    assert_impossible = OURS.replace("trt_benchmark\n", "trt_benchmark(p50_ms=1e-6)\n")
    run(assert_impossible).assert_outcomes(failed=1)
    run(assert_impossible, "--benchmark-disable").assert_outcomes(passed=1)
    run(assert_impossible, "--benchmark-disable", "--benchmark-enable").assert_outcomes(failed=1)


def test_disabled_benchmark_still_runs_once(run) -> None:
    wrong = OURS.replace('"image": images', '"image": images[:0]')
    run(wrong, "--benchmark-disable").assert_outcomes(failed=1)


def test_benchmark_skip_also_skips_our_benchmarks(run) -> None:
    run(OURS + ENGINE + PLAIN, "--benchmark-skip", "-rs").assert_outcomes(passed=1, skipped=2)


def test_benchmark_only_also_runs_our_benchmarks(run) -> None:
    run(OURS + ENGINE + PLAIN, "--benchmark-only").assert_outcomes(passed=2, skipped=1)


def test_benchmark_only_does_not_run_tests_skipped_otherwise(run) -> None:
    result = run("@pytest.mark.skip(reason='not today')" + OURS, "--benchmark-only")
    result.assert_outcomes(skipped=1)


def test_timer_that_does_not_resolve_a_call_is_an_error(project, run, monkeypatch) -> None:
    write_clock(project, 0.0)
    monkeypatch.syspath_prepend(str(project.path))
    result = run(sum_test(), "--benchmark-timer=steady.clock")
    assert_shows(
        result, "*timer reported that a call took 0 s *TRT511*", "Fix: Use a timer*", failed=1
    )


# --- what it has to time


NAMED = f"""
@{MODEL[:-1]}, precision="fp16")
@pytest.mark.trt_benchmark(p50="50%")
def test_engine(benchmark, trt_session, images):
    benchmark.pedantic(TIMED, rounds=100)
"""


#: Runs the engine next to what is timed, and times something else.
BESIDES = NAMED.replace("    bench", '    trt_session.run({"image": images})\n    bench', 1)

#: Does so in what pytest-benchmark calls between the rounds.
BETWEEN = NAMED.replace(
    "TIMED", 'sum, ([1],), teardown=lambda *_: trt_session.run({"image": images})'
)


@pytest.mark.parametrize(
    ("named", "which"),
    [('precision="fp16"', "fp16 "), ('precision="fp32"', "fp32 "), ("seed=1", "")],
    ids=["fp16", "fp32", "no precision"],
)
def test_engine_that_markers_name_has_to_be_timed(run, named: str, which: str) -> None:
    timed = ['trt_session.run, ({"image": images},)', "sum, ([1],)"]
    tests = [NAMED.replace("TIMED", one) for one in timed]
    tests += [BESIDES.replace("TIMED", timed[1]), BETWEEN]
    source = "".join(test.replace("test_engine", f"test_{n}") for n, test in enumerate(tests))
    result = run(source.replace('precision="fp16"', named))
    assert_shows(result, *([f"*measured no {which}engine of linear.onnx*"] * 3), passed=1, failed=3)


def test_engine_that_only_a_fixture_ran_is_not_timed(run) -> None:
    fixture = (
        '@pytest.fixture\ndef warm(trt_session, images):\n    trt_session.run({"image": images})\n'
    )
    test = NAMED.replace("TIMED", "sum, ([1],)").replace("trt_session, ", "warm, trt_session, ")
    assert_shows(run(fixture + test), "*measured no fp16 engine of linear.onnx*", failed=1)


#: Has two engines, and times the call in the place of TIMED.
TWO = f"""
@{MODEL[:-1]}, precision="fp32")
@pytest.mark.trt_benchmark(p50="500%")
def test_engine(benchmark, trt_session, trt_engines, images):
    other = trt_engines("models/linear.onnx", precision="fp16", {MODEL.partition(", ")[2]}
    other.run({{"image": images}})
    def both(inputs):
        trt_session.run(inputs)
        other.run(inputs)
    benchmark.pedantic(TIMED, ({{"image": images}},), rounds=100)
"""


@pytest.mark.parametrize(("timed", "label"), [("trt_session.run", "shapes"), ("both", "engines")])
def test_what_is_timed_is_known_where_a_test_has_several_engines(
    project, run, timed: str, label: str
) -> None:
    source = TWO.replace("TIMED", timed)
    run(source).assert_outcomes(passed=1)
    assert "image [4, 8]" in stored(project)["test_engine"]["spec"][label]
    result = run(source.replace("images}", "images[:1]}"))
    assert_shows(result, f"*it has {label} *TRT661*", failed=1)
    result = run(source, "-o", "trt_limits=fp32: p50_ms=1e-6")
    assert_shows(result, "*exceeds the limit of 1.00e-06 ms*", failed=1)


def test_function_of_a_test_with_a_model_may_be_timed_without_its_engine(run) -> None:
    other = NAMED.replace(', precision="fp16"', "").replace("trt_session, ", "")
    run(other.replace("TIMED", "sum, ([1],)")).assert_outcomes(passed=1)


def test_other_shapes_are_not_comparable_with_the_baseline(project, run) -> None:
    run(ENGINE).assert_outcomes(passed=1)
    assert stored(project)["test_engine"]["spec"]["shapes"].startswith("image [")
    run(ENGINE).assert_outcomes(passed=1)
    result = run(ENGINE.replace('"image": images', '"image": images[:1]'))
    assert_shows(result, "*shapes*", failed=1)


def test_comparison_is_not_timed_with_the_engine(run) -> None:
    result = run("@pytest.mark.trt_consistency" + ENGINE)
    assert_shows(
        result, "*would also time the comparison*", "*Write one test for accuracy*", errors=1
    )


# --- without it


@pytest.mark.exhaustive
def test_our_benchmarks_need_no_pytest_benchmark(project, run) -> None:
    project.test_file(
        "import sys\n" + OURS + "\ndef test_nothing_of_it_is_loaded():\n"
        "    assert 'pytest_benchmark' not in sys.modules\n"
    )
    result = project.run("-p", "no:benchmark", subprocess=True)
    assert_shows(result, "speed  linear.onnx fp32 cpu * recorded", passed=2)


def test_benchmark_fixture_does_not_exist_without_pytest_benchmark(project) -> None:
    project.test_file(sum_test())
    assert_shows(project.run("-p", "no:benchmark"), "*fixture 'benchmark' not found", errors=1)
