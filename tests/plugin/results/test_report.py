from __future__ import annotations

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from builders_cli import run_command
from builders_report import check_schema
from prometheus_client.openmetrics import parser

needs_xdist = pytest.mark.skipif(
    importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed"
)

PROCESSES = ["-n0", pytest.param("-n1", marks=[needs_xdist, pytest.mark.exhaustive])]

pytestmark = pytest.mark.usefixtures("engines_of_other_tests")

MODEL = (
    '@pytest.mark.trt_model("models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))})\n'
)
RUN = 'trt_session.run({"image": images})'

#: One test for every status.
SUITE = f"""
pytestmark = pytest.mark.trt_model(
    "models/linear.onnx", profiles={{"image": ((1, 8), (4, 8), (16, 8))}}
)

@pytest.mark.trt_consistency()
def test_passed(trt_session, images):
    {RUN}

@pytest.mark.trt_consistency(rtol=0, atol=1e-12)
@pytest.mark.trt_model(precision="fp16")
def test_failed(trt_session, images):
    {RUN}

@pytest.mark.xfail(reason="known")
@pytest.mark.trt_consistency(rtol=0, atol=1e-12)
@pytest.mark.trt_model(precision="fp16")
def test_xfailed(trt_session, images):
    {RUN}

@pytest.mark.trt_model(precision="tf32")
def test_error(trt_session):
    pass

@pytest.mark.trt_consistency()
def test_not_measured(trt_session):
    pass

@pytest.mark.trt_consistency()
def test_asks_for_nothing():
    pass

@pytest.mark.trt_benchmark(p50="10%")
def test_recorded(trt_benchmark, images):
    trt_benchmark({{"image": images}})

def test_skipped(trt_session):
    pytest.skip("not today")

@pytest.mark.trt_consistency()
def test_deselected(trt_session, images):
    {RUN}
"""


class Report:
    """A project whose runs write `report.json`."""

    def __init__(self, project: Any) -> None:
        self.project = project
        self.path = project.path / "report.json"

    def run(self, *args: str, **options: Any) -> pytest.RunResult:
        arguments = ("--trt-report=report.json", "--trt-benchmark-time=0.2", *args)
        return self.project.run(*arguments, **options)

    def read(self) -> dict[str, Any]:
        content = json.loads(self.path.read_text())
        check_schema(content)
        return content

    def statuses(self) -> dict[str, str]:
        return {
            test["id"].removeprefix("test_it.py::test_"): test["status"]
            for test in self.read()["tests"]
        }


@pytest.fixture
def report(project) -> Report:
    return Report(project)


@needs_xdist
@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n2", marks=pytest.mark.exhaustive)])
def test_report_has_every_status(report, processes) -> None:
    report.project.test_file(SUITE)
    report.run("-k", "not deselected", processes)
    assert report.statuses() == {
        "passed": "passed",
        "failed": "failed",
        "xfailed": "xfailed",
        "error": "error",
        "not_measured": "failed",
        "asks_for_nothing": "failed",
        "recorded": "not measured",
        "skipped": "skipped",
        "deselected": "deselected",
    }


def test_failures_that_are_expected_are_nothing_to_do(report) -> None:
    report.project.test_file(SUITE)
    report.run("-k", "xfailed or test_failed")
    content = report.read()
    failed = [test["id"] for test in content["tests"]].index("test_it.py::test_failed")
    assert [group["tests"] for group in content["groups"]] == [[failed]]


def test_run_says_with_what_on_what_and_how_it_ended(report) -> None:
    report.project.test_file(SUITE)
    result = report.run("-k", "passed")
    (run,) = report.read()["runs"]
    assert run["exit_status"] == result.ret
    assert run["versions"].keys() >= {"pytest-trt", "python", "pytest", "onnxruntime"}
    (target,) = run["targets"]
    assert (target["arch"], target["backend"]) == ("cpu", "onnxruntime")
    assert target["measured_on"].keys() == {"arch", "machine", "cpu", "cores"}
    assert run["options"]["trt_arch"] == "cpu"
    assert not run["interrupted"]
    result.stdout.fnmatch_lines(["wrote report.json"])


@pytest.mark.parametrize(
    "given",
    [
        (
            "--trt-threads=1",
            "--trt-run-timeout=60",
            "--trt-against=both",
            "--trt-missing-baseline=fail",
            "--trt-inconclusive=fail",
            "--trt-benchmark-time=2",
        ),
        ("--trt-selftest",),
        ("--trt-plugin-library=a.so", "--trt-plugin-library=b.so"),
    ],
)
def test_what_repeats_a_test_has_the_options_that_decide_its_verdict(report, given) -> None:
    report.project.test_file(SUITE)
    for name in "ab":
        (report.project.path / f"{name}.so").touch()
    report.run("-k", "test_failed", *given)
    (test,) = [one for one in report.read()["tests"] if one["status"] == "failed"]
    _, nodeid, *options = shlex.split(test["repeat"])
    assert [one for one in options if one in given] == [*given]
    report.run(nodeid, *options)
    (again,) = [one for one in report.read()["tests"] if one["status"] == "failed"]
    assert (again["repeat"], again["reason"]) == (test["repeat"], test["reason"])


@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n1", marks=pytest.mark.exhaustive)])
def test_files_that_were_skipped_as_a_whole_are_named_with_the_reason(report, processes) -> None:
    report.project.test_file(SUITE, test_other=SUITE)
    other = report.project.path / "test_other.py"
    other.write_text(f"import pytest\nimport numpy as np\n{SUITE}")
    report.run("-k", "test_passed", "--trt-report=before.json")
    other.write_text("import pytest\npytest.skip('no torch', allow_module_level=True)\n")
    report.run("-k", "test_passed", processes)
    (run,) = report.read()["runs"]
    assert run["skipped_files"] == {"test_other.py": "no torch"}
    done = run_command("report", "compare", "before.json", "report.json")
    assert "the file was skipped: no torch" in " ".join(done.stdout.split())


def test_failure_shows_its_text_its_worst_element_and_what_repeats_it(report) -> None:
    report.project.test_file(SUITE)
    report.run("-k", "test_failed")
    (test,) = [one for one in report.read()["tests"] if one["status"] == "failed"]
    assert "over tolerance" in test["failure"]
    assert "\x1b" not in test["failure"]
    (diagnostic,) = test["diagnostics"]
    assert (diagnostic["code"], diagnostic["message"]) == ("TRT401", test["reason"])
    assert test["failure"].splitlines()[0] == f"{test['reason']} [TRT401]"
    assert test["repeat"].startswith("pytest test_it.py::test_failed --trt-arch=cpu ")
    output, _ = test["results"][0]["accuracy"]["outputs"]
    assert output["used"] > 1
    assert sum(output["histogram"]) == output["compared"] == 16
    assert output["worst_abs"]["actual"] != output["worst_abs"]["reference"]


def test_second_run_reports_speed_by_rounds_against_its_baseline(report) -> None:
    report.project.test_file(SUITE)
    report.run("-k", "recorded")
    report.run("-k", "recorded")
    (test,) = [one for one in report.read()["tests"] if one["id"].endswith("recorded")]
    speed = test["results"][0]["speed"]
    assert test["results"][0]["cached"]
    assert speed["baseline_recorded"]
    assert len(speed["candidate_rounds"]["p50"]) >= 20
    assert len(speed["baseline_rounds"]["p50"]) >= 20
    assert {"model", "precision", "shapes", "batch"} <= speed["spec"].keys()
    assert speed["changes"][0]["limit"] == pytest.approx(0.1)


def test_several_reports_are_written_in_one_run(report) -> None:
    report.project.test_file(SUITE)
    report.run("--trt-report=out/report.prom", "-k", "test_passed")
    text = (report.project.path / "out" / "report.prom").read_text()
    names = {family.name for family in parser.text_string_to_metric_families(text)}
    assert "pytest_trt_tolerance_used_ratio" in names
    assert report.statuses()["passed"] == "passed"


def test_ini_file_names_reports_too_relative_to_itself(report) -> None:
    report.project.test_file(SUITE)
    report.project.pytester.makeini("[pytest]\ntrt_report =\n  a.json\n  b.prom\n")
    report.project.run("-k", "test_passed")
    assert (report.project.path / "a.json").exists()
    assert (report.project.path / "b.prom").exists()


def test_unknown_ending_is_a_usage_error(report) -> None:
    report.project.test_file(SUITE)
    result = report.run("--trt-report=report.xml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    endings = ".json, .html, .prom"
    # Of several files only the wrong one is named.
    expected = f"*--trt-report: expected a file name that ends in {endings}, got 'report.xml'*"
    result.stderr.fnmatch_lines([expected])


def test_report_that_cannot_be_written_fails_the_run(report) -> None:
    report.project.test_file(SUITE)
    (report.project.path / "file").write_text("")
    result = report.run("--trt-report=file/report.json", "--trt-report=b.prom", "-k", "test_passed")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*file/report.json cannot be written*", "Fix: *", "wrote report.json", "wrote b.prom"]
    )


@needs_xdist
@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n1", marks=pytest.mark.exhaustive)])
def test_run_that_stops_writes_what_it_has_and_names_what_it_did_not_reach(
    report, processes
) -> None:
    """The first test fails. The others end only once the run knows, however fast they are."""
    report.project.pytester.makeconftest(
        """
        import os, time
        from pathlib import Path
        import pytest

        FAILED = Path(__file__).with_name("failed")

        @pytest.fixture
        def after_failure():
            while not FAILED.exists():
                time.sleep(0.01)

        def pytest_runtest_logreport(report):
            if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
                FAILED.touch()
        """
    )
    others = "".join(f"def test_{n}(after_failure, trt_engine):\n    pass\n" for n in range(1, 30))
    report.project.test_file(
        f"pytestmark = {MODEL.strip()[1:]}\ndef test_0():\n    assert False\n{others}"
    )
    report.run("-x", processes)
    (run,) = report.read()["runs"]
    assert run["interrupted"]
    assert run["counts"]["failed"] == 1
    assert run["counts"]["not run"] > 0
    assert sum(run["counts"].values()) == 30


def test_interruption_from_the_keyboard_is_reported(report) -> None:
    report.project.test_file(
        f"{MODEL}def test_a(trt_engine):\n    pass\n"
        f"{MODEL}def test_b(trt_engine):\n    raise KeyboardInterrupt\n"
    )
    report.run(interrupted=True)
    assert report.read()["runs"][0]["interrupted"]
    assert report.statuses() == {"a": "passed", "b": "not run"}


def test_file_that_cannot_be_collected_is_reported(report) -> None:
    report.project.test_file(SUITE, test_broken="import no_such_module")
    report.run()
    (run,) = report.read()["runs"]
    assert "no_such_module" in run["collection_errors"]["test_broken.py"]
    assert run["collection_reasons"]["test_broken.py"].startswith("E   ModuleNotFoundError")


def test_model_that_is_missing_is_the_reason_of_its_file_not_its_last_suggestion(report) -> None:
    report.project.test_file(
        '@pytest.mark.trt_model("models/gone.onnx")\ndef test_a(trt_engine):\n    pass\n'
    )
    report.run()
    (run,) = report.read()["runs"]
    assert run["collection_reasons"] == {
        "test_it.py": "the model models/gone.onnx is missing [TRT156]"
    }


@pytest.mark.parametrize(
    ("consistency", "compared_with"),
    [
        ("", ["model"]),
        ('against="stored"', ["stored"]),
        ('against="both", drift="2x"', ["model", "stored", "drift"]),
    ],
)
def test_what_outputs_are_compared_with_is_reported(report, consistency, compared_with) -> None:
    test = f"{MODEL}@pytest.mark.trt_consistency({consistency})\n"
    report.project.test_file(f"{test}def test_a(trt_session, images):\n    {RUN}\n")
    report.run("--trt-update")
    report.run()
    (test,) = report.read()["tests"]
    assert (test["status"], test["compared_with"]) == ("passed", compared_with)
    assert test["drift"] == (2 if "drift" in compared_with else None)
    (result,) = test["results"]
    assert len([result["accuracy"], *result["also"]]) == len(set(compared_with) - {"drift"})


@needs_xdist
@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n1", marks=pytest.mark.exhaustive)])
def test_a_killed_run_leaves_no_report_of_an_earlier_one(report, processes) -> None:
    """A merge would take it for one of this run: the commit is the same."""
    report.project.test_file(SUITE)
    page = report.project.path / "old.html"
    report.run("-k", "passed", "--trt-report=old.html")
    assert report.statuses()["passed"] == "passed"
    before = page.read_bytes()
    kill = "def pytest_runtest_setup():\n    os.kill(CONTROLLER, 9)\n"
    controller = "int(os.environ.setdefault('CONTROLLER', str(os.getpid())))"
    report.project.pytester.makeconftest(f"import os\nCONTROLLER = {controller}\n{kill}")
    result = report.run("--trt-report=old.html", processes, subprocess=True)
    assert result.ret == -signal.SIGKILL
    assert report.read()["tests"] == []
    assert page.read_bytes() != before
    for command in ("show", "merge"):
        done = run_command("report", command, str(report.path))
        assert "has not ended" in done.stdout
        assert "[TRT904]" in done.stdout
        assert done.returncode == (command == "merge")


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize(
    ("option", "codes"),
    [
        ("--trt-require-arch=cpu,sm120", ["TRT930"]),
        ("--trt-require-models=lost/*.onnx", ["TRT686"]),
        ("--trt-update", ["TRT663"]),
        ("--trt-report=no_folder.json/report.html", ["TRT901"]),
        ("--trt-threads=1", []),
    ],
)
def test_junit_has_why_a_run_failed_whose_tests_passed(report, processes, option, codes) -> None:
    report.project.path.joinpath("no_folder.json").touch()
    report.project.test_file(SUITE)
    result = report.run("-k", "passed", "--junitxml=junit.xml", processes, option)
    assert bool(codes) == (result.ret == pytest.ExitCode.TESTS_FAILED)
    suite = ET.parse(report.project.path / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("errors")) == (str(1 + len(codes)), str(len(codes)))
    found = [one for one in suite if one.get("classname") == "pytest-trt"]
    assert [one.get("name") for one in found] == [f"the run as a whole [{code}]" for code in codes]
    for one in found:
        assert codes[0] in (one[0].get("message") or "")
        assert "\nFix: " in (one[0].text or "") or codes == ["TRT663"]


def test_report_has_why_an_update_failed_whose_tests_passed(report) -> None:
    report.project.test_file(SUITE)
    assert report.run("-k", "passed", "--trt-update").ret == pytest.ExitCode.TESTS_FAILED
    (run,) = report.read()["runs"]
    assert [one["code"] for one in run["diagnostics"]] == ["TRT663"]


@pytest.mark.parametrize("wrong", ["--no-such-option", "--trt-threads=x", "conftest", "ini"])
def test_a_run_that_does_not_start_leaves_no_report_of_an_earlier_one(report, wrong) -> None:
    report.project.test_file(SUITE)
    report.run("-k", "passed")
    figures = report.path.with_name("figures.prom")
    figures.touch()
    if wrong == "conftest":
        report.project.pytester.makeconftest("import no_such_module")
    elif wrong == "ini":
        report.project.pytester.makeini("[pytest]\ntrt_report = report.json\n  figures.prom\n")
        report.project.run("--trt-threads=x")
    if wrong != "ini":
        report.run(*[wrong] * (wrong != "conftest"), "--trt-report=figures.prom")
    assert not report.path.exists()
    assert figures.exists()


@pytest.mark.parametrize(
    "option",
    [
        *("--collect-only", "--help", "--version", "--markers", "--setup-plan"),
        *("--fixtures", "--fixtures-per-test"),
    ],
)
def test_an_earlier_report_stays_where_a_run_writes_none(report, option) -> None:
    report.project.test_file(SUITE)
    assert report.run("--collect-only").ret == 0
    assert not report.path.exists()
    report.run("-k", "passed")
    before = report.path.read_bytes()
    assert report.run(option, "--trt-require-arch=sm120", "--trt-update").ret == 0
    assert report.path.read_bytes() == before


@needs_xdist
@pytest.mark.exhaustive
def test_tests_that_are_all_left_out_are_named_by_workers_too(report) -> None:
    report.project.test_file(SUITE)
    report.run("-k", "no_such_test", "-n1")
    assert set(report.statuses().values()) == {"deselected"}


def test_run_without_models_writes_an_empty_report(report) -> None:
    report.project.test_file("def test_a():\n    pass\n")
    report.run()
    assert report.read()["tests"] == []


def test_engines_cross_built_for_several_architectures_are_skipped_and_reported(report) -> None:
    pytest.importorskip("tensorrt_rtx")
    report.project.test_file(
        f"{MODEL}@pytest.mark.trt_consistency()\n"
        f"def test_a(trt_session, images):\n    {RUN}\n"
        f"{MODEL}def test_b(trt_engine):\n    pass\n"
    )
    report.run("--trt-arch=sm86,sm120", "--trt-backend=tensorrt_rtx")
    by_arch = {(one["test"], one["arch"]): one for one in report.read()["tests"]}
    for arch in ("sm86", "sm120"):
        assert by_arch["test_it.py::test_b", arch]["status"] == "passed"
        test = by_arch["test_it.py::test_a", arch]
        if test["status"] == "skipped":  # unless this machine has the GPU
            assert f"built for {arch}, not run" in test["reason"]
        assert test["results"][0]["arch"] == arch
    assert len(report.read()["engines"]) == 2


def test_step_summary_is_added_to_what_is_there(report, monkeypatch) -> None:
    path = report.project.path / "summary.md"
    path.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    report.project.test_file(SUITE)
    report.project.run("-k", "test_failed or test_passed")
    text = path.read_text()
    assert text.startswith("# before\n")
    assert "1 passed, 1 failed, 7 deselected" in text
    assert "<summary><code>test_it.py::test_failed on cpu</code></summary>" in text


def test_step_summary_that_cannot_be_written_fails_the_run(report, monkeypatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(report.project.path))  # a folder
    result = report.project.check()
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the step summary * cannot be written: Is a directory [[]TRT901]"])


@pytest.mark.parametrize(
    "args", [(), pytest.param(("-n1",), marks=[needs_xdist, pytest.mark.exhaustive])]
)
def test_step_summary_names_markers_that_stopped_the_collection(report, monkeypatch, args) -> None:
    path = report.project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    report.project.test_file(
        "@pytest.mark.trt_model('models/lost.onnx')\ndef test_it(trt_engine):\n    pass\n"
    )
    report.project.run(*args)
    shown = path.read_text()
    assert shown.startswith("### pytest-trt: 1 file could not be collected\n")
    assert "models/lost.onnx is missing" in shown
    assert "[TRT156]" in shown


@pytest.mark.parametrize("processes", PROCESSES)
def test_step_summary_names_files_of_models_that_were_skipped(
    report, monkeypatch, processes
) -> None:
    path = report.project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    skip = "import pytest\npytest.skip('no torch', allow_module_level=True)\n"
    report.project.test_file("def test_a():\n    pass\n", test_gpu=f"{skip}{SUITE}")
    report.project.run(processes, arch=None)
    assert "`test_gpu.py` was skipped as a whole: `no torch`" in path.read_text()


def test_step_summary_has_nothing_of_files_without_models(report, monkeypatch) -> None:
    path = report.project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    skip = "import pytest\npytest.skip('no torch', allow_module_level=True)\n"
    for source in ("import no_such_module", "def test_a():\n    pass\n", skip):
        report.project.test_file(source)
        report.project.run(arch=None)
        assert not path.exists()


@needs_xdist
@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n1", marks=pytest.mark.exhaustive)])
def test_junit_gets_properties(report, processes) -> None:
    report.project.test_file(SUITE)
    report.project.run("-k", "test_failed", "--junitxml=j.xml", processes)
    properties = {
        one.get("name"): one.get("value")
        for one in ET.parse(report.project.path / "j.xml").iter("property")
    }
    assert properties["trt_engine"] == "linear.onnx fp16 cpu"
    assert properties["trt_consistency"] == "failed"
    assert float(properties["trt_tolerance_used_pct"]) > 100


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_repository_of_another_user_is_named_and_fails_nothing(project, monkeypatch) -> None:
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "-q"], check=True)
    os.chown(project.path, 12345, 12345)
    os.chown(project.path / ".git", 12345, 12345)
    result = project.check(args=("--trt-report=report.json",))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["wrote report.json", "the git repository * another user*TRT622*"])
    (run,) = json.loads((project.path / "report.json").read_text())["runs"]
    assert run["commit"] is None
    monkeypatch.setenv("CI_COMMIT_SHA", "0" * 40)  # named by the CI system, which had to read it
    result = project.run("--trt-report=report.json")
    assert "TRT622" not in result.stdout.str()
    (run,) = json.loads((project.path / "report.json").read_text())["runs"]
    assert run["commit"] == "0" * 40


@pytest.mark.parametrize(("atol", "noted"), [(9.0, True), (1e-4, False)])
def test_outputs_of_which_little_was_compared_are_in_the_report_of_the_run(
    project, atol: float, noted: bool
) -> None:
    project.test_file(
        f"{MODEL}@pytest.mark.trt_consistency(rtol=0, atol={atol})\n"
        f"def test_it(trt_session, images):\n    {RUN}\n"
    )
    project.run("--trt-report=report.json").assert_outcomes(passed=1)
    (run,) = json.loads((project.path / "report.json").read_text())["runs"]
    found = [one for one in run["diagnostics"] if one["code"] == "TRT422"]
    assert bool(found) is noted
    assert all("output 'probs' passes an engine" in str(one["details"]) for one in found)
