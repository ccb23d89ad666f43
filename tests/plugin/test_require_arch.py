from __future__ import annotations

import importlib.util

import pytest
from builders_cli import run_command
from plugin.conftest import assert_usage_error

pytestmark = pytest.mark.usefixtures("engines_of_other_tests")

needs_xdist = pytest.mark.skipif(
    importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed"
)

MODEL = (
    '@pytest.mark.trt_model("models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))})\n'
)
CHECKED = (
    (
        f"{MODEL}@pytest.mark.trt_consistency()\n"
        'def test_{}(trt_session, images):\n    trt_session.run({{"image": images}})\n'
    )
    .replace('{"image": ((1', '{{"image": ((1')
    .replace("(16, 8))})", "(16, 8))}})")
)


@needs_xdist
@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n2", marks=pytest.mark.exhaustive)])
def test_every_verdict_that_is_required_is_there(project, processes) -> None:
    project.test_file(CHECKED.format("a") + CHECKED.format("b"))
    result = project.run("--trt-require-arch=cpu", processes)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*required verdicts*")


@needs_xdist
@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n1", marks=pytest.mark.exhaustive)])
def test_architecture_that_was_not_tested_fails_the_run_by_name(project, processes) -> None:
    project.test_file(CHECKED.format("a"))
    result = project.run("--trt-require-arch=cpu,sm120", processes)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*= trt: required verdicts are missing =*",
            "1 of 2 required verdicts are missing (--trt-require-arch=cpu,sm120) [[]TRT930]",
            "  sm120: no verdict for 1 of 1 tests",
            "    test_it.py::test_a: not tested",
            "  tested here: cpu, *--trt-arch",
            "Fix: Run the tests on a machine for each architecture, without --trt-require-arch, *",
            "    pytest --trt-arch=ARCH --trt-report=ARCH.json",
            "    pytest-trt report merge cpu.json sm120.json --require-arch=cpu,sm120",
            "*= 1 passed in *",
            "trt: the run failed: required verdicts on cpu, sm120 are missing, see above",
        ]
    )
    result.stdout.no_fnmatch_line("*cpu: no verdict*")


@pytest.mark.parametrize(
    ("source", "args", "message"),
    [
        (CHECKED.format("b"), ("-k", "test_a"), "deselected: *"),
        (
            f"{MODEL}@pytest.mark.xfail(reason='later')\n@pytest.mark.trt_consistency\n"
            "def test_b(trt_session):\n    misspelt(trt_session)\n",
            (),
            "not measured: xfail before a verdict: later",
        ),
        (
            f"{MODEL}@pytest.mark.trt_benchmark(p50='10%')\n"
            "def test_b(trt_benchmark):\n    pytest.xfail('later')\n",
            (),
            "not measured: xfail before a verdict: later",
        ),
    ],
    ids=["deselected", "xfailed early", "xfail before the benchmark"],
)
def test_a_status_that_is_not_a_verdict_does_not_pass(project, source, args, message) -> None:
    project.test_file(CHECKED.format("a") + source)
    arguments = ("--trt-require-arch=cpu", "--trt-benchmark-time=0.2", *args)
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["  cpu: no verdict for 1 of 2 tests", f"    test_it.py::test_b: {message}"]
    )


SKIPPED_FILE = "import pytest\npytest.importorskip('no_tensorrt')\n"


@needs_xdist
@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n1", marks=pytest.mark.exhaustive)])
def test_file_of_models_that_was_skipped_as_a_whole_has_no_verdict(project, processes) -> None:
    project.test_file(CHECKED.format("a"), test_gpu=SKIPPED_FILE + CHECKED.format("b"))
    result = project.run("--trt-require-arch=cpu", processes, "--trt-report=report.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "1 of 2 required verdicts are missing (--trt-require-arch=cpu) [[]TRT930]",
            "    test_gpu.py: skipped: the whole file: could not import 'no_tensorrt'*",
            "Fix: Tests were skipped: remove what skips them.*",
            "  - If a skipped file is not meant for these machines, leave it out with --ignore.",
        ]
    )
    merged = run_command("report", "merge", "report.json", "--require-arch=cpu")
    assert "test_gpu.py was skipped as a whole: could not import 'no_tensorrt'" in merged.stdout
    assert "1 of 2 required verdicts are missing" in merged.stdout


def test_skipped_file_without_models_needs_no_verdict(project) -> None:
    project.test_file(CHECKED.format("a"), test_gpu=SKIPPED_FILE + "def test_b():\n    pass\n")
    assert project.run("--trt-require-arch=cpu", "--trt-report=report.json").ret == 0
    assert "as a whole" not in run_command("report", "show", "report.json").stdout


def test_tests_that_need_no_engine_need_no_verdict(project) -> None:
    project.test_file(CHECKED.format("a") + f"{MODEL}def test_plain():\n    pytest.skip('no')\n")
    assert project.run("--trt-require-arch=cpu").ret == 0


def test_suite_without_models_covers_nothing(project) -> None:
    project.test_file("def test_a():\n    pass\n")
    result = project.run("--trt-require-arch=cpu")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["no test of a model was collected*"])


def test_collecting_alone_requires_nothing(project) -> None:
    project.test_file(CHECKED.format("a"))
    assert project.run("--trt-require-arch=sm120", "--collect-only").ret == 0


def test_word_that_is_not_an_architecture_is_a_usage_error(project) -> None:
    project.test_file(CHECKED.format("a"))
    result = project.run("--trt-require-arch=banana")
    assert_usage_error(result, "*--trt-require-arch: 'banana' is not a GPU architecture*")


@pytest.mark.exhaustive
@needs_xdist
def test_a_crashed_worker_is_the_reason(project) -> None:
    project.test_file(
        f"import os\n{MODEL}@pytest.mark.trt_consistency\n"
        "def test_a(trt_session):\n    os._exit(3)\n"
    )
    result = project.run("--trt-require-arch=cpu", "-n1")
    result.stdout.fnmatch_lines(["*error: worker 'gw0' crashed while running *test_a*"])
