"""`pytest-trt tune`: what has to stay in FP32, searched in the test."""

from __future__ import annotations

import shutil

import pytest
from builders import save_linear
from builders_sensitive import save_large_constant, save_outlier_channel

from pytest_trt.diagnostics import EngineRunError
from pytest_trt.plugin import tuning
from pytest_trt.plugin.tuning import TuneGatherer, TuneSettings
from pytest_trt.precision.tune import Tuned
from pytest_trt.report.precision.tuned import verdict

TEST = """
@pytest.fixture
def trt_calibration(images):
    return [{{"image": images}}]

@pytest.mark.trt_model("models/bad.onnx", precision={precision!r}{more})
@pytest.mark.trt_consistency(rtol={rtol}, atol={rtol})
def test_it(trt_session, images):
    for batch in np.split(images, 2):
        trt_session.run({{"image": batch}})
"""


def tuned(project, *, precision="fp16", rtol=0.02, more="", times=False, **given) -> Tuned:
    gatherer = TuneGatherer(TuneSettings(precision, times=times, **given))
    project.test_file(TEST.format(precision=precision, rtol=rtol, more=more))
    args = (f"--trt-cache-dir={project.cache}", "--trt-arch=cpu", "-p", "no:cacheprovider")
    run = project.pytester.runpytest_inprocess(*args, plugins=[gatherer.recorder])
    run.assert_outcomes(passed=1)
    (found,) = gatherer.found
    return found


def test_an_engine_of_a_test_that_failed_before_is_tuned_in_the_next(project, save) -> None:
    """A test that fails by itself leaves runs of the engine that both share."""
    save(save_large_constant, "bad.onnx")
    test = TEST.format(precision="fp16", rtol=0.02, more="")
    _, _, own = test.partition("\n\n")
    gatherer = TuneGatherer(TuneSettings("fp16", times=False))
    project.test_file(f"{test}    assert 0\n{own.replace('test_it', 'test_next')}")
    run = project.pytester.runpytest_inprocess(
        f"--trt-cache-dir={project.cache}", "--trt-arch=cpu", plugins=[gatherer.recorder]
    )
    run.assert_outcomes(passed=1, failed=1)
    (found,) = gatherer.found
    assert (found.test, found.kept, found.runs) == ("test_it.py::test_next", ("scale",), 2)


def test_an_engine_of_which_no_nodes_can_be_switched_is_named(project, save) -> None:
    save(save_linear, "bad.onnx")
    tuned(project, precision="int8", rtol=1.0)
    (plan,) = project.plans()
    shutil.copy(plan, project.path / "bad.plan")
    found = tuned(project, precision="int8", rtol=1.0, more=", plan='bad.plan'")
    assert verdict(found) == "not searched: a finished plan cannot be built again"
    shutil.copy(plan, project.path / "models" / "bad.onnx")
    found = tuned(project, precision="int8", rtol=1.0)
    assert verdict(found).startswith("not searched: the model is quantised already")


def test_the_node_with_the_large_constant_is_kept_and_nothing_else(project, save) -> None:
    save(save_large_constant, "bad.onnx")
    found = tuned(project)
    assert found.search.outcome == "found"
    assert found.kept == ("scale",)
    assert found.search.builds == 1
    assert found.runs == 2
    assert not found.several
    assert project.run("-q").ret == 1
    kept = TEST.format(precision="fp16", rtol=0.02, more=f", keep_fp32={[*found.kept]}")
    project.test_file(kept)
    assert project.run().ret == 0


def test_the_node_with_the_outlier_channel_is_kept_and_the_trade_off_timed(project, save) -> None:
    save(save_outlier_channel, "bad.onnx")
    found = tuned(project, precision="int8", rtol=0.1, times=True)
    assert found.kept == ("outlier",)
    assert found.search.ranking[0].operator == "MatMul"
    none, one, full = found.trade_off
    assert (none.score.passed, one.score.passed, full.label) == (False, True, "fp32")
    assert none.score.error > 3 * one.score.error
    assert all(row.p50_ms and row.size_bytes for row in found.trade_off)


def test_what_the_marker_keeps_already_stays(project, save) -> None:
    save(save_large_constant, "bad.onnx")
    found = tuned(project, more=', keep_fp32=["squash"]')
    assert found.kept == ("squash", "scale")


def test_time_limit_ends_the_search(project, save) -> None:
    save(save_large_constant, "bad.onnx")
    found = tuned(project, timeout_s=0.0)
    # Nothing was ranked, so all is kept: no engine of which nothing is reduced can be built.
    assert (found.search.outcome, found.search.trials, found.search.builds) == ("timeout", 0, 1)
    assert len(found.search.ranking) == 6
    # What was not measured has no error, neither 0 nor infinite.
    assert {one.error for one in found.search.ranking} == {None}
    assert [one.label for one in found.trade_off] == ["none", "fp32"]


def test_trial_that_takes_too_long_ends_the_search(project, save, monkeypatch) -> None:
    def run(*args: object) -> None:
        raise EngineRunError("it took longer than 1 s", fix="Wait.", code="TRT345")

    save(save_large_constant, "bad.onnx")
    monkeypatch.setattr(tuning.SwitchedModel, "run", run)
    found = tuned(project, times=True)
    assert (found.problem, found.search.trials) == ("", 0)
    assert {one.error for one in found.search.ranking} == {None}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_TIMED_S", 0.02)
