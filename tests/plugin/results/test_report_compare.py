"""The reports of real runs, held against each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from builders import save_linear

from pytest_trt.report.comparison.compare import compare
from pytest_trt.report.comparison.findings import Comparison, Direction, Kind
from pytest_trt.report.files import read_document

SUITE = """
pytestmark = pytest.mark.trt_model(
    "models/linear.onnx",
    precision="fp16",
    profiles={"image": ((1, 8), (4, 8), (16, 8))},
)

@pytest.mark.trt_consistency(rtol=0, atol=0.02)
def test_answers(trt_session, images):
    trt_session.run({"image": images})

@pytest.mark.trt_benchmark(p50="900%", p99="900%")
def test_speed(trt_benchmark, images):
    trt_benchmark({"image": images})
"""


@pytest.fixture
def upgrade(project) -> Callable[..., Comparison]:
    """Run the suite, then once more with what else `save_linear` is told, and compare."""
    project.test_file(SUITE)

    def run(**model: float) -> Comparison:
        options = ("--trt-missing-baseline=record", "--trt-benchmark-time=0.2")
        project.run(*options, "--trt-report=old.json")
        save_linear(project.path / "models" / "linear.onnx", **model)
        project.run(*options, "--trt-update", "--trt-report=new.json")
        old, new = (read_document(project.path / name) for name in ("old.json", "new.json"))
        return compare(old, new)

    return run


def test_same_model_answers_the_same(upgrade) -> None:
    found = upgrade()
    assert not found.differences
    answers, speed = sorted(found.tests, key=lambda one: one.test)
    assert answers.direction is Direction.SAME
    assert {one.name for one in speed.findings} >= {"p50", "p99"}
    assert all(one.direction is Direction.SAME for one in found.engines)


def test_weight_that_fp16_cannot_hold_is_worse_and_the_model_is_named(upgrade) -> None:
    found = upgrade(nudge=1000.0)
    (worse,) = [one for one in found.of(Direction.WORSE) if one.test == "test_it.py::test_answers"]
    assert (worse.was, worse.status) == ("passed", "failed")
    errors = {one.name: one for one in worse.findings if one.kind is Kind.ERROR}
    assert errors["logits"].direction is Direction.WORSE
    (line,) = found.differences
    assert line.startswith("model models/linear.onnx ")
