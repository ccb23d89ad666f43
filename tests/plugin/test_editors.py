"""What editors read: lists of tests, and the lines at which tests fail."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from quiet_host import FixedHost

TESTS = """
from pathlib import Path

MODEL = pytest.mark.trt_model("models/linear.onnx", profiles={"image": (2, 8)})
WRONG = {"logits": np.zeros((2, 4), np.float32), "probs": np.zeros((2, 4), np.float32)}


@pytest.fixture
def trt_reference():
    return lambda inputs: WRONG


@MODEL
@pytest.mark.trt_consistency
@pytest.mark.parametrize("n", [0])
def test_accuracy(trt_session, trt_inputs, n, trt_reference):
    assert n == 0
    trt_session.run(trt_inputs)  # accuracy
    assert n == 0


class TestClass:
    @MODEL
    @pytest.mark.trt_benchmark(p50_ms=1e-9)
    def test_speed(self, trt_benchmark, trt_inputs):
        trt_benchmark(trt_inputs)  # speed


@MODEL
@pytest.mark.trt_consistency
def test_input(trt_session):
    trt_session.run({"image": np.zeros(3)})  # input


@MODEL  # unjudged
@pytest.mark.trt_consistency
def test_unjudged(trt_session):
    pass


@pytest.fixture
def before(trt_session):
    trt_session.run({"image": np.zeros(3)})  # setup


@MODEL
def test_setup(before):
    pass


@pytest.fixture
def after(trt_session):
    yield
    trt_session.run({"image": np.zeros(3)})  # teardown


@MODEL
def test_teardown(after):
    pass
"""

#: The tests that fail, and the comment at the line of each.
FAILING = {
    "test_accuracy[0]": "accuracy",
    "test_speed": "speed",
    "test_input": "input",
    "test_unjudged": "unjudged",
    "test_setup": "setup",
    "test_teardown": "teardown",
}


@pytest.fixture
def lines(project, pytestconfig) -> dict[str, int]:
    """Write the tests; return the line of each comment."""
    project.test_file(TESTS)
    source = (project.path / "test_it.py").read_text().splitlines()
    found = ((re.search(r"# (\w+)$", line), number) for number, line in enumerate(source, 1))
    return {match[1]: number for match, number in found if match}


def test_quiet_collection_prints_node_ids_and_nothing_else(project, lines) -> None:
    result = project.pytester.runpytest("--co", "-q", "-p", "no:cacheprovider", "--trt-arch=cpu")
    assert result.ret == 0
    listed = [line for line in result.outlines if line]
    assert listed[:-1] == [
        "test_it.py::test_accuracy[0]",
        "test_it.py::TestClass::test_speed",
        *(f"test_it.py::test_{name}" for name in ("input", "unjudged", "setup", "teardown")),
    ]
    assert re.fullmatch(r"6 tests collected in [\d.]+s", listed[-1])


def test_quiet_collection_of_another_folder_is_the_same(project, lines, monkeypatch) -> None:
    """VS Code names rootdir and collects from the folder of the workspace."""
    root = project.path
    (root / "elsewhere").mkdir()
    monkeypatch.chdir(root / "elsewhere")
    result = project.pytester.runpytest(
        "--collect-only", "-q", f"--rootdir={root}", str(root / "test_it.py"), "--trt-arch=cpu"
    )
    assert result.outlines[0] == "test_it.py::test_accuracy[0]"
    assert len([line for line in result.outlines if "::" in line]) == 6


class Reports:
    """A plugin that looks at items and reports as those of editors do."""

    def __init__(self) -> None:
        self.at: dict[str, int] = {}
        self.crashes: dict[str, tuple[str, int]] = {}
        self.texts: dict[str, str] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self.at[item.name] = (item.location[1] or 0) + 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            name = report.nodeid.rpartition("::")[2]
            crash = report.longrepr.reprcrash
            self.crashes[name] = (str(crash.path), crash.lineno)
            self.texts[name] = report.longreprtext


@pytest.mark.parametrize("style", ["short", "long"])
def test_every_failure_names_the_line_in_the_users_file(project, lines, style: str) -> None:
    reports = Reports()
    args = ("--trt-arch=cpu", "--trt-localize=never", f"--tb={style}", "-p", "no:cacheprovider")
    project.pytester.runpytest_inprocess(*args, plugins=[reports, FixedHost()])
    assert reports.texts.keys() == FAILING.keys()
    for name, comment in FAILING.items():
        path, line = reports.crashes[name]
        assert (path, line) in {
            (str(project.path / "test_it.py"), lines[comment]),
            ("test_it.py", lines[comment]),
        }, name
        assert re.search(rf"^test_it\.py:{lines[comment]}: ", reports.texts[name], re.MULTILINE)


def test_failure_of_a_helper_is_placed_at_the_test(project) -> None:
    """The line in another file is none of the test's: its first line stands for it."""
    (project.path / "helper.py").write_text(
        "def check(session, inputs):\n    session.run(inputs)\n"
    )
    project.test_file(
        TESTS.replace(
            "    trt_session.run(trt_inputs)  # accuracy", "    check(trt_session, trt_inputs)"
        ).replace("from pathlib import Path", "from helper import check")
    )
    reports = Reports()
    project.pytester.syspathinsert()
    project.pytester.runpytest_inprocess(
        "--trt-arch=cpu", "--trt-localize=never", "-k", "accuracy", plugins=[reports]
    )
    assert reports.crashes["test_accuracy[0]"][1] == reports.at["test_accuracy[0]"]
    assert "at helper.py:2" in reports.texts["test_accuracy[0]"]


def test_junit_has_file_and_line_of_each_test(project, lines) -> None:
    project.run("--junitxml=junit.xml", "-o", "junit_family=xunit1", "--trt-localize=never")
    cases = {one.get("name"): one for one in ET.parse(project.path / "junit.xml").iter("testcase")}
    source = (project.path / "test_it.py").read_text().splitlines()
    for name, comment in FAILING.items():
        case = cases[name]
        assert case.get("file") == "test_it.py"
        assert source[int(case.get("line"))].lstrip().startswith(("@", "def "))
        (failed,) = [one for one in case if one.tag in ("failure", "error")]
        assert f"test_it.py:{lines[comment]}: " in failed.text


@pytest.mark.exhaustive
def test_pycharm_is_told_of_failed_tests_with_their_lines(project, lines) -> None:
    result = project.run("--teamcity", "--trt-localize=never", subprocess=True)
    message = re.compile(r"##teamcity\[testFailed .*? details='((?:[^'|]|\|.)*)'.* name='([^']*)'")
    failed = {name: details for details, name in message.findall(result.stdout.str())}
    ids = ("accuracy(0)", "TestClass.test_speed", "input", "unjudged", "setup")
    names = [one if "." in one else f"test_{one}" for one in (*ids, "teardown_teardown")]
    assert failed.keys() == {f"test_it.{name}" for name in names}
    for name, comment in zip(names, FAILING.values(), strict=True):
        assert f"|ntest_it.py:{lines[comment]}: " in f"|n{failed[f'test_it.{name}']}", name
