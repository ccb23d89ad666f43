"""When the checks of a test are judged: once per attempt, with every run that counts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from builders import save_linear
from plugin.conftest import assert_shows

MARKS = """
pytestmark = [
    pytest.mark.trt_model("models/linear.onnx"),
    pytest.mark.trt_consistency(),
]
"""

#: Outputs of the first attempt are those of another model.
FLAKY = """
import pathlib
COUNT = pathlib.Path("count")
COUNT.write_text("0")

@pytest.mark.trt_consistency
@pytest.mark.trt_model("models/linear.onnx", reference="models/reference.onnx")
def test_it(trt_session, images):
    attempt = int(COUNT.read_text()) + 1
    COUNT.write_text(str(attempt))
    trt_session.run({"image": images * (attempt < PASSING)})
"""


def flaky(project, passing: int) -> None:
    # Inputs of zeros agree whatever the weights are.
    save_linear(project.path / "models" / "reference.onnx", nudge=0.5)
    project.test_file(FLAKY.replace("PASSING", str(passing)))


def outcomes(result) -> dict[str, int]:
    counted = result.parseoutcomes()
    return {name: counted[name] for name in counted if not name.startswith("warning")}


def test_rerun_judges_its_own_runs_alone(project) -> None:
    flaky(project, passing=2)
    result = project.run("--reruns=2", "--junitxml=junit.xml")
    assert outcomes(result) == {"passed": 1, "rerun": 1}
    assert result.ret == pytest.ExitCode.OK
    for case in ET.parse(project.path / "junit.xml").iter("testcase"):
        properties = [one.get("name") for one in case.iter("property")]
        properties = [name for name in properties if name != "trt_note"]
        assert len(properties) == len(set(properties)) > 0


def test_rerun_that_passes_leaves_a_note_of_the_attempts_that_failed(project) -> None:
    flaky(project, passing=3)
    result = project.run("--reruns=2")
    assert outcomes(result) == {"passed": 1, "rerun": 2}
    assert sum(line.startswith("note  attempt") for line in result.outlines) == 1
    result.stdout.fnmatch_lines(
        ["note  attempt 1 of *::test_it failed before attempt 3: *[[]TRT4*"]
    )


def test_rerun_that_fails_each_time_fails_with_its_last_runs(project) -> None:
    flaky(project, passing=9)
    result = project.run("--reruns=1")
    assert outcomes(result) == {"failed": 1, "rerun": 1}
    result.stdout.no_fnmatch_line("*of 2 runs*")


@pytest.mark.parametrize("factor", [0, 1])
def test_run_in_the_setup_of_a_fixture_is_judged(project, factor: int) -> None:
    save_linear(project.path / "models" / "reference.onnx", nudge=0.5)
    project.test_file(
        "@pytest.fixture\n"
        "def used(trt_session, images):\n"
        f"    trt_session.run({{'image': images * {factor}}})\n"
        "@pytest.mark.trt_consistency\n"
        "@pytest.mark.trt_model('models/linear.onnx', reference='models/reference.onnx')\n"
        "def test_it(used):\n    pass\n"
    )
    outcome = {"failed": 1} if factor else {"passed": 1}
    project.run().assert_outcomes(**outcome)


SKIPS = {
    "test": "def test_it(trt_session, images):\n    RUN\n    pytest.skip('later')\n",
    "setup": "@pytest.fixture\ndef used(trt_session, images):\n    RUN\n    pytest.skip('later')\n"
    "def test_it(used):\n    pass\n",
    "SkipTest in the test": "import unittest\ndef test_it(trt_session, images):\n"
    "    RUN\n    raise unittest.SkipTest('later')\n",
    "SkipTest in a setup": "import unittest\n@pytest.fixture\ndef used(trt_session, images):\n"
    "    RUN\n    raise unittest.SkipTest('later')\ndef test_it(used):\n    pass\n",
    "unittest": "import unittest\n"
    "class TestIt(unittest.TestCase):\n"
    "    @pytest.fixture(autouse=True)\n"
    "    def fixtures(self, trt_session, images):\n"
    "        self.run_it = lambda: trt_session.run({'image': images})\n"
    "    def test_it(self):\n        self.run_it()\n        self.skipTest('later')\n",
}


@pytest.mark.parametrize("nudge", [0.0, 0.5])
def test_skip_does_not_undo_a_failure(project, nudge: float) -> None:
    save_linear(project.path / "models" / "reference.onnx", nudge=nudge)
    marks = MARKS.replace("linear.onnx", 'linear.onnx", reference="models/reference.onnx')
    run = "trt_session.run({'image': images})"
    sources = [marks + source.replace("RUN", run) for source in SKIPS.values()]
    cases = dict.fromkeys(sources, "*over tolerance against reference.onnx*TRT4*" if nudge else "")
    result = project.ends(cases, where=r"(?:ERROR at setup of |TestIt\.)?")
    result.assert_outcomes(**({"failed": 3, "errors": 2} if nudge else {"skipped": 5}))


def test_run_in_the_teardown_of_a_fixture_is_refused(project) -> None:
    project.test_file(
        MARKS + "@pytest.fixture\n"
        "def used(trt_session, images):\n"
        "    trt_session.run({'image': images})\n"
        "    yield\n"
        "    trt_session.run({'image': images})\n"
        "def test_it(used):\n    pass\n"
    )
    result = project.run()
    assert_shows(result, "*trt_session.run was called after the test*TRT161*", passed=1, errors=1)


def test_run_without_a_check_is_allowed_in_a_teardown(project) -> None:
    project.test_file(
        "@pytest.fixture\n"
        "def used(trt_session, images):\n"
        "    yield\n"
        "    trt_session.run({'image': images})\n"
        "@pytest.mark.trt_model('models/linear.onnx')\n"
        "def test_it(used):\n    pass\n"
    )
    project.run().assert_outcomes(passed=1)


def test_run_in_a_thread_that_outlives_the_test_is_refused(project) -> None:
    project.test_file(
        "import threading\n" + MARKS + "\n"
        "@pytest.fixture\n"
        "def late():\n"
        "    over, threads = threading.Event(), []\n"
        "    yield over, threads\n"
        "    over.set()\n"
        "    threads[0].join()\n"
        "def test_it(late, trt_session, images):\n"
        "    trt_session.run({'image': images})\n"
        "    over, threads = late\n"
        "    def run():\n"
        "        over.wait()\n"
        "        try:\n"
        "            trt_session.run({'image': images})\n"
        "        except Exception:\n"
        "            pass\n"
        "    threads.append(threading.Thread(target=run))\n"
        "    threads[0].start()\n"
    )
    result = project.run()
    assert_shows(result, "*trt_session.run was called after the test*TRT161*", passed=1, errors=1)


def test_comparison_that_outlives_the_test_is_refused(project) -> None:
    project.test_file(
        "import threading\n" + MARKS + "\n"
        "@pytest.fixture\n"
        "def late():\n"
        "    begun, over, threads = threading.Event(), threading.Event(), []\n"
        "    yield begun, over, threads\n"
        "    over.set()\n"
        "    threads[0].join()\n"
        "@pytest.fixture\n"
        "def trt_reference(trt_reference, late):\n"
        "    class Reference:\n"
        "        def run(self, inputs):\n"
        "            if threading.current_thread() is not threading.main_thread():\n"
        "                late[0].set()\n"
        "                late[1].wait()\n"
        "            return trt_reference.run(inputs)\n"
        "    return Reference()\n"
        "def test_it(late, trt_session, images):\n"
        "    trt_session.run({'image': images})\n"
        "    begun, over, threads = late\n"
        "    def run():\n"
        "        try:\n"
        "            trt_session.run({'image': images})\n"
        "        except Exception:\n"
        "            pass\n"
        "    threads.append(threading.Thread(target=run))\n"
        "    threads[0].start()\n"
        "    assert begun.wait(60)\n"
    )
    result = project.run()
    assert_shows(result, "*trt_session.run was called after the test*TRT161*", failed=1, errors=1)


def test_benchmark_in_a_teardown_is_refused(project) -> None:
    project.test_file(
        "@pytest.fixture\n"
        "def used(trt_benchmark, images):\n"
        "    yield\n"
        "    trt_benchmark({'image': images})\n"
        "@pytest.mark.trt_model('models/linear.onnx')\n"
        "@pytest.mark.trt_benchmark(p50_ms=1e6)\n"
        "def test_it(used):\n    pass\n"
    )
    result = project.run()
    assert_shows(result, "*trt_benchmark was called after the test*TRT161*", failed=1, errors=1)


CALIBRATED = 'precision="int8", profiles={"image": ((1, 8), (4, 8), (16, 8))}'


def test_warning_fails_the_test_where_a_filter_makes_it_an_error(project) -> None:
    error = "-Werror::pytest_trt.diagnostics.PytestTrtWarning"
    tolerance = "rtol=1, atol=1"
    model = f'"models/linear.onnx", {CALIBRATED}'
    result = project.check(model=model, consistency=tolerance, args=(error,))
    assert_shows(result, "*an engine was calibrated on random inputs*TRT170*", failed=1)


def test_warning_is_hidden_by_a_filter(project) -> None:
    ignore = "-Wignore::pytest_trt.diagnostics.PytestTrtWarning"
    model = f'"models/linear.onnx", {CALIBRATED}'
    result = project.check(model=model, consistency="rtol=1, atol=1", args=(ignore,))
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*random inputs*")
