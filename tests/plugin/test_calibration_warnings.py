"""Calibration data of a project is checked, and so is what its tests feed beyond it."""

from __future__ import annotations

import json

import numpy as np
from plugin.conftest import PROFILES, assert_shows

_TESTS = f"""
pytestmark = [
    pytest.mark.trt_model("models/linear.onnx", precision="int8", {PROFILES}),
    pytest.mark.trt_consistency(rtol=0.05, atol=5),
]

def drawn(rows, seed=5):
    return np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)

class TestRepresentative:
    @pytest.fixture
    def trt_calibration(self, images):
        return ({{"image": one}} for one in (images, drawn(30)))

    def test_it(self, trt_session, images):
        trt_session.run({{"image": images}})

class TestFew:
    @pytest.fixture
    def trt_calibration(self, images):
        return [{{"image": images}}]

    def test_it(self, trt_session, images):
        trt_session.run({{"image": images}})

    def test_again(self, trt_session, images):
        trt_session.run({{"image": images[:2]}})

class TestNarrow:
    @pytest.fixture
    def trt_calibration(self, images):
        return [{{"image": drawn(30) / 100}}]

    def test_it(self, trt_session, images):
        trt_session.run({{"image": images}})

    @pytest.mark.trt_consistency(rtol=0.05, atol=0.2)
    def test_strict(self, trt_session, images):
        trt_session.run({{"image": images}})

@pytest.mark.trt_model(precision="fp32")
def test_of_another_precision(trt_session, images):
    trt_session.run({{"image": images * 100}})
"""


def test_problems_are_warned_of_by_test_and_explain_its_failure(project) -> None:
    project.test_file(_TESTS)
    for _ in range(2):  # from the cache as well
        result = project.run("--trt-report", "report.json")
        result.assert_outcomes(passed=5, failed=1)
        tests = json.loads((project.path / "report.json").read_text())["tests"]
        found = {
            test["id"].partition("::")[2]: [note["code"] for note in test["notes"]]
            for test in tests
        }
        assert found == {
            "TestRepresentative::test_it": [],
            "TestFew::test_it": ["TRT241"],
            "TestFew::test_again": ["TRT241"],
            "TestNarrow::test_it": ["TRT242"],
            "TestNarrow::test_strict": ["TRT242"],
            "test_of_another_precision": [],
        }
        result.stdout.fnmatch_lines(
            [
                "*possible cause: input 'image' has 96.9% of its elements outside*1 of 1 run*",
                "Fix: *Calibrating on inputs whose 'image' is like that of the failing runs*",
                "test_it.py::TestFew::test_it",
                "test_it.py::TestFew::test_again",
                "*test_it.py:23: *linear.onnx int8: calibrated on 4 different inputs*1 in 5*",
                "*    return *",
            ]
        )


def test_shared_engines_are_checked_and_random_calibration_is_not(project) -> None:
    project.test_file(
        "@pytest.fixture(scope='module', params=['few', 'random'])\n"
        "def shared(request, trt_engines):\n"
        "    few = {'calibration': [{'image': np.ones((1, 8), 'f4')}]}\n"
        "    given = few if request.param == 'few' else {}\n"
        f"    return trt_engines('models/linear.onnx', precision='int8', {PROFILES}, **given)\n"
        "@pytest.mark.trt_consistency(rtol=10, atol=100)\n"
        "def test_it(shared, images):\n"
        "    shared.run({'image': images})\n"
    )
    project.run("--trt-report", "report.json").assert_outcomes(passed=2)
    tests = json.loads((project.path / "report.json").read_text())["tests"]
    found = [sorted(note["code"] for note in test["notes"]) for test in tests]
    assert found == [["TRT240", "TRT241", "TRT242"], ["TRT170"]]


def test_warnings_can_be_errors(project) -> None:
    project.test_file(_TESTS)
    result = project.run("-W", "error::pytest_trt.PytestTrtWarning", "-k", "TestFew")
    assert_shows(result, "*calibrated on 4 different inputs*TRT241*", failed=2)


def test_a_marker_names_a_folder_that_takes_precedence_over_the_fixture(project) -> None:
    project.test_file(
        "@pytest.fixture\ndef trt_calibration():\n    raise AssertionError\n"
        "@pytest.mark.trt_model('models/linear.onnx', precision='int8', calibration='samples')\n"
        "def test_it(trt_engine):\n"
        "    assert trt_engine.facts.calibration.samples == 20\n"
        "def test_shared(trt_engines):\n"
        "    given = {'precision': 'int8', 'calibration': 'samples'}\n"
        "    engine = trt_engines('models/linear.onnx', **given).engine\n"
        "    assert engine.facts.calibration.samples == 20\n"
    )
    assert_shows(project.run(), "*samples of calibration= does not exist*TRT225*", errors=1)
    (project.path / "samples").mkdir()
    for number in range(20):
        image = np.random.default_rng(number).normal(size=(1, 8)).astype(np.float32)
        np.save(project.path / "samples" / f"{number:02}.npy", image)
    project.run("-Werror::pytest_trt.PytestTrtWarning").assert_outcomes(passed=2)
    assert len(project.plans()) == 1
