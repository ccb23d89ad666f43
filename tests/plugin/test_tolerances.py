"""`pytest-trt suggest tolerance`: what tests run is gathered."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import images, save_linear

from pytest_trt.plugin.recording import Recorder, run_recorded
from pytest_trt.plugin.tolerances import ToleranceGatherer
from pytest_trt.precision.tolerance import edit
from pytest_trt.report.precision.words import tolerance_notes

TEST = """
@pytest.mark.trt_model("models/linear.onnx", precision="fp16")
class TestIt:
    @pytest.mark.trt_consistency(rtol={rtol}, atol={rtol}, metrics={{"snr_db": ">= 1"}})
    def test_it(self, trt_session, images):
        for batch in np.split(images, 2):
            trt_session.run({{"image": batch}})
"""


def run(project, recorder: Recorder, source: str):
    project.test_file(source)
    args = (f"--trt-cache-dir={project.cache}", "--trt-arch=cpu", "-p", "no:cacheprovider")
    return project.pytester.runpytest_inprocess(*args, plugins=[recorder])


def test_errors_of_all_runs_are_gathered_also_of_a_test_that_fails(project) -> None:
    gatherer = ToleranceGatherer(None)
    run(project, gatherer.recorder, TEST.format(rtol=0.0)).assert_outcomes(passed=1)
    (found,) = gatherer.proposals(2.0)
    assert found.names == ("TestIt", "test_it")
    logits, probs = found.outputs
    assert (logits.output, logits.precision, logits.runs) == ("logits", "fp16", 2)
    assert 1e-5 < logits.fields["rtol"] < 1e-2
    assert probs.fields
    source = (project.path / "test_it.py").read_text()
    (project.path / "test_it.py").write_text(found.edited(source))
    assert project.run().ret == 0
    assert '"logits": {"rtol": ' in found.edited(source)


def test_data_is_run_as_well(project) -> None:
    np.savez(project.path / "data.npz", image=images(5))
    gatherer = ToleranceGatherer(project.path / "data.npz")
    run(project, gatherer.recorder, TEST.format(rtol=0.1))
    (found,) = gatherer.proposals(2.0)
    assert {one.runs for one in found.outputs} == {3}
    assert {one.elements for one in found.outputs} == {4 * (4 + 5)}


@pytest.mark.parametrize(("scale", "noted"), [(1.0, False), (100.0, True)])
def test_a_proposal_that_other_data_decide_is_noted(project, scale, noted) -> None:
    """The test would pass with engines whose errors on its own inputs are many times as large."""
    np.savez(project.path / "data.npz", image=images(5) * np.float32(scale))
    gatherer = ToleranceGatherer(project.path / "data.npz")
    run(project, gatherer.recorder, TEST.format(rtol=0.1))
    (found,) = gatherer.proposals(2.0)
    lines = [line for line in tolerance_notes(found) if "on those of the test" in line]
    assert [line.partition(":")[0] for line in lines] == ["logits, fp16"] * noted


def test_test_that_fails_by_itself_still_fails(project) -> None:
    gatherer = ToleranceGatherer(None)
    source = TEST.format(rtol=0.0) + "        assert False, 'no'\n"
    run(project, gatherer.recorder, source).assert_outcomes(failed=1)
    assert gatherer.recorder.tests == []
    assert gatherer.recorder.errors == {"test_it.py::TestIt::test_it": "AssertionError: no"}


def test_nothing_is_recorded_of_such_a_run(project) -> None:
    gatherer = ToleranceGatherer(None)
    source = """
    @pytest.mark.trt_model("models/linear.onnx", precision="fp32")
    @pytest.mark.trt_benchmark(p50="50%")
    @pytest.mark.trt_consistency(rtol=0.0, atol=0.0)
    def test_it(trt_session, trt_benchmark, images):
        trt_session.run({"image": images})
        trt_benchmark({"image": images})
    """
    run(project, gatherer.recorder, source).assert_outcomes(passed=1)
    last_runs = (project.cache / "v1" / "last_runs").iterdir()
    assert not [*project.path.rglob("trt_baselines"), *last_runs]


ELSEWHERE = """
pytestmark = [
    pytest.mark.trt_model("models/linear.onnx", precision="fp16"),
    pytest.mark.trt_consistency(rtol=0.3, atol=0.3),
]
LOOSE = pytest.mark.trt_consistency(rtol=0.2, atol=0.2)


class TestOwn:
    pytestmark = pytest.mark.trt_consistency(rtol=0.1, atol=0.1)

    def test_it(self, trt_session, images):
        trt_session.run({"image": images})


@LOOSE
def test_variable(trt_session, images):
    trt_session.run({"image": images})


@pytest.mark.parametrize("_", [pytest.param(0, marks=LOOSE)])
def test_parameter(trt_session, images, _):
    trt_session.run({"image": images})


def test_one(trt_session, images):
    trt_session.run({"image": images})


def test_other(trt_session, images):
    trt_session.run({"image": images / 100})
"""


def test_only_the_marker_of_one_test_is_edited(project) -> None:
    gatherer = ToleranceGatherer(None)
    run(project, gatherer.recorder, ELSEWHERE).assert_outcomes(passed=5)
    source = (project.path / "test_it.py").read_text()
    after, unchanged = edit(source, gatherer.proposals(2.0))
    changed = [line for line in after.splitlines() if line not in source.splitlines()]
    marker, *arguments = (line.split("(")[0].strip() for line in changed)
    assert marker == "pytestmark = pytest.mark.trt_consistency"
    assert arguments[:3] == ["rtol=0.1,", "atol=0.1,", "outputs={"]
    assert {test.partition("::")[2]: why for test, why in unchanged.items()} == {
        "test_variable": "the trt_consistency of the test is not written at it as a decorator",
        "test_parameter": "the trt_consistency of the test is not written at it as a decorator",
        "test_one": "it is that of 2 tests; give each its own",
        "test_other": "it is that of 2 tests; give each its own",
    }


@pytest.mark.exhaustive
def test_nothing_is_concluded_from_an_interrupted_run(project) -> None:
    recorder = ToleranceGatherer(None).recorder
    body = "def test_one(): pass\n\ndef test_two(): raise KeyboardInterrupt\n"
    path = project.path / "test_interrupted.py"
    path.write_text(body)
    with pytest.raises(KeyboardInterrupt):
        run_recorded(recorder, [str(path)])
    assert len(recorder.tests) == 1


PRECISIONS = """
@pytest.mark.trt_model(
    "models/tested.onnx",
    precision=["fp32", "int8"],
    reference="models/linear.onnx",
    profiles={"image": (4, 8)},
)
@pytest.mark.trt_consistency(MARKER)
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "marker", ["", 'by_precision={"int8": {"atol": 0.05, "rtol": 0.05}}', "rtol=1e-3, atol=1e-3"]
)
def test_proposals_of_one_precision_leave_the_others_as_strict_as_they_were(
    project, save, marker
) -> None:
    save(save_linear, "tested.onnx")
    gatherer = ToleranceGatherer(None)
    project.test_file(PRECISIONS.replace("MARKER", marker))
    args = (f"--trt-cache-dir={project.cache}", "--trt-arch=cpu", "-p", "no:cacheprovider")
    project.pytester.runpytest_inprocess(*args, "-k", "int8", plugins=[gatherer.recorder])
    (found,) = gatherer.proposals(1.5)
    path = project.path / "test_it.py"
    before = path.read_text()
    after, unchanged = edit(before, [found])
    assert unchanged == {}
    everywhere, by_precision = after.split("trt_consistency")[1].split("by_precision=", 1)
    assert "outputs" not in everywhere
    assert '"int8": {' in by_precision

    def outcomes(source: str) -> dict[str, int]:
        path.write_text(source)
        return project.run("-k", "fp32").parseoutcomes()

    assert outcomes(after)["passed"] == 1
    save(save_linear, "tested.onnx", nudge=0.02)
    assert outcomes(before)["failed"] == 1
    assert outcomes(after)["failed"] == 1


def test_marker_of_tests_and_models_that_did_not_run_is_not_edited(project, save) -> None:
    save(save_linear, "tested.onnx")
    source = """
    @pytest.mark.trt_consistency()
    class TestAll:
        @pytest.mark.trt_model("models/linear.onnx")
        def test_one(self, trt_session, images):
            trt_session.run({"image": images})

        @pytest.mark.trt_model("models/linear.onnx")
        def test_two(self, trt_session, images):
            trt_session.run({"image": images})

    @pytest.mark.trt_model(["models/linear.onnx", "models/tested.onnx"])
    @pytest.mark.trt_consistency()
    def test_models(trt_session, images):
        trt_session.run({"image": images})
    """
    gatherer = ToleranceGatherer(None)
    project.test_file(source)
    args = (f"--trt-cache-dir={project.cache}", "--trt-arch=cpu", "-p", "no:cacheprovider")
    chosen = ("-k", "test_one or (test_models and linear)")
    project.pytester.runpytest_inprocess(*args, *chosen, plugins=[gatherer.recorder])
    text = (project.path / "test_it.py").read_text()
    after, unchanged = edit(text, gatherer.proposals(2.0))
    assert after == text
    one, models = unchanged.values()
    assert one.startswith("it is also that of TestAll.test_two, which did not run")
    assert models == "it is also that of 1 model that did not run"


WRONG = """
@pytest.fixture
def trt_reference(trt_reference):
    def outputs(inputs):
        return {{name: value + {off} for name, value in trt_reference.run(inputs).items()}}
    return outputs


@pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"),
    profiles={{"image": ((1, 8), (4, 8), (16, 8))}})
@pytest.mark.trt_consistency(metrics={{"snr_db": ">= 9"}})
def test_it(trt_session, images):
    trt_session.run({{"image": images}})
"""


@pytest.mark.parametrize("off", [0.0, 0.05])
def test_nothing_is_proposed_where_the_model_differs_from_its_reference(project, off) -> None:
    gatherer = ToleranceGatherer(None)
    run(project, gatherer.recorder, WRONG.format(off=off)).assert_outcomes(passed=2)
    (found,) = gatherer.proposals(2.0)
    assert {one.precision for one in found.outputs} == {"fp32", "fp16"}
    assert {bool(one.fields) for one in found.outputs} == {not off}
    assert {bool(one.limit) for one in found.limits if one.precision == "fp16"} == {not off}
    for one in found.outputs if off else ():
        assert one.reason.startswith(
            "the model's own FP32 outputs differ from those of trt_reference by up to 0.05, "
        )


@pytest.mark.parametrize("stored", [1.0, 0.3])
def test_stored_errors_limit_their_growth(project, stored) -> None:
    source = """
    @pytest.mark.trt_model("models/linear.onnx", precision="fp16")
    @pytest.mark.trt_consistency(against="both")
    def test_it(trt_session, images):
        trt_session.run({"image": images})
    """
    project.test_file(source)
    assert project.run("--trt-missing-baseline=record").ret == 0
    file = project.path / "trt_baselines" / "answers" / "test_it.json"
    content = json.loads(file.read_text())
    errors = content["tests"]["test_it"]["errors"]["cpu fp16"]
    errors["logits"] *= stored
    file.write_text(json.dumps(content))
    gatherer = ToleranceGatherer(None)
    run(project, gatherer.recorder, source).assert_outcomes(passed=1)
    (found,) = gatherer.proposals(2.0)
    after = found.edited((project.path / "test_it.py").read_text())
    assert ('drift="2x"' in after) is (stored == 1.0)
    (logits,) = (one for one in found.outputs if one.output == "logits")
    assert ("more than doubled" in logits.reason) is (stored != 1.0)
    assert bool(logits.fields) is (stored == 1.0)
