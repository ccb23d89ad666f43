from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import builders_planted as planted
import onnx
import pytest
from builders_model import model_proto, save, value
from plugin.conftest import Project, assert_shows

from pytest_trt.accuracy.evidence import AnyRun
from pytest_trt.plugin import terminal
from pytest_trt.plugin.models import searching

TESTS = """
import numpy as np
import pytest

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
PROFILES = {"x": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}

@pytest.mark.trt_model("overflow.onnx", precision="fp16", profiles=PROFILES)
@pytest.mark.trt_consistency(rtol=1e-2, atol=1e-2)
def test_overflow(trt_session):
    trt_session.run({"x": X / 1e6})
    trt_session.run({"x": X})

@pytest.mark.trt_model("channel.onnx", precision="fp16", profiles=PROFILES, reference="right.onnx")
@pytest.mark.trt_consistency(rtol=1e-2, atol=1e-2)
def test_other(trt_session):
    trt_session.run({"x": X})

@pytest.mark.trt_model("right.onnx", precision="fp16", profiles=PROFILES)
@pytest.mark.trt_consistency(rtol=1e-2, atol=1e-2)
def test_right(trt_session):
    trt_session.run({"x": X})
"""


@pytest.fixture
def networks(project: Project) -> Project:
    right = planted.network()
    onnx.save(right, project.path / "right.onnx")
    for kind in ("channel", "overflow"):
        onnx.save(planted.plant(right, kind)[0], project.path / f"{kind}.onnx")
    project.test_file(TESTS)
    return project


def found(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the diagnostics and notes of codes 44x in a report, by test."""
    return {
        test["id"].partition("::")[2]: [
            one for one in (*test["diagnostics"], *test["notes"]) if one["code"][:5] == "TRT44"
        ]
        for test in json.loads(path.read_text())["tests"]
    }


def test_a_failure_names_the_first_bad_layer_and_what_was_tried(networks: Project) -> None:
    result = networks.run("--trt-localize=always", "--trt-report=report.json")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "Fix: The check passes with this argument of trt_model:",
            '    keep_fp32=[[]"*/planted_1", "*/planted_2"]',
            "first bad layer: */planted_1 (Mul): relative error * -> infinite *TRT440*",
            "  overflow: values reach *, the type ends at 65,504",
        ]
    )
    by_test = found(networks.path / "report.json")
    (overflow,), (other,), (right,) = (
        next(ones for name, ones in by_test.items() if name.startswith(test))
        for test in ("test_overflow", "test_other", "test_right")
    )
    assert overflow["facts"]["passes"]
    assert overflow["facts"]["tried_runs"] == 2
    assert overflow["facts"]["layers"][0]["layer"] == overflow["facts"]["layer"]
    assert (other["facts"]["layer"], other["facts"]["reference"]) == ("conv2", "right.onnx")
    assert "constant w2 differs in 54 of 324 elements" in other["details"]
    assert right["severity"] == "note"
    assert right["facts"]["total_error"] < 1e-2


def test_only_the_first_engines_that_fail_are_searched(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MOST_SEARCHED", 1)
    networks.run("--trt-localize=auto", "--trt-report=report.json").assert_outcomes(
        failed=2, passed=1
    )
    assert sorted(len(ones) for ones in found(networks.path / "report.json").values()) == [0, 0, 1]


def test_engines_that_take_long_to_build_are_not_built_again_unasked(networks: Project) -> None:
    result = networks.run("--trt-localize=auto", "--trt-localize-timeout=1e-6", "-k", "overflow")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        [
            "the bad layer of overflow.onnx fp16 was not searched for: *: building the engine *",
            "    pytest-trt localize test_it.py::test_overflow --timeout 600",
        ]
    )


def test_a_search_whose_time_is_over_names_its_own_limit(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_trt.precision.localize._Search._left_s", 1e-4)
    result = networks.run("--trt-localize=always", "--trt-localize-timeout=7", "-k", "overflow")
    result.assert_outcomes(failed=1, deselected=2)
    (at,) = [n for n, line in enumerate(result.outlines) if "was not searched for" in line]
    text = " ".join(result.outlines[at : at + 4])
    assert "was not searched for: it takes longer than --trt-localize-timeout=7" in text
    assert "    pytest-trt localize test_it.py::test_overflow" in text


def test_a_search_that_breaks_leaves_the_verdict_as_it_is(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("pytest_trt.precision.localize.localize", broken)
    result = networks.run("--trt-localize=always", "-k", "overflow or right")
    result.assert_outcomes(failed=1, passed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "scores: NaN in the output (overflow.onnx, fp16, cpu) *TRT402*",
            "the bad layer of overflow.onnx fp16 was not searched for: RuntimeError: broken *",
        ]
    )


def test_advice_is_tried_on_other_runs_until_its_time_is_over() -> None:
    runs = [AnyRun(number, {}, lambda outputs: outputs) for number in (1, 2, 3)]
    assert [*searching.runs_until(math.inf, runs)] == runs
    assert [*searching.runs_until(-math.inf, runs)] == []


def test_a_reference_that_is_not_finite_has_no_bad_layer(networks: Project) -> None:
    networks.test_file(
        TESTS.split("@pytest")[0] + "X[:] = np.nan\n"
        "@pytest.mark.trt_model('right.onnx', precision='fp16', profiles=PROFILES)\n"
        "@pytest.mark.trt_consistency\ndef test_it(trt_session):\n    trt_session.run({'x': X})\n"
    )
    result = networks.run("--trt-localize=always")
    assert_shows(result, "Fix: The FP32 reference itself is not finite*", failed=1)
    result.stdout.no_fnmatch_line("*TRT44*")


def test_an_engine_whose_inner_tensors_show_nothing_is_not_searched(networks: Project) -> None:
    nodes = [
        onnx.helper.make_node("RandomUniformLike", ["x"], ["noise"]),
        onnx.helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    for name, used in (("random", nodes), ("same", [onnx.helper.make_node("Neg", ["x"], ["y"])])):
        proto = model_proto(used, inputs=[value("x", (2, 3))], outputs=[value("y", (2, 3))])
        save(proto, networks.path / f"{name}.onnx")
    source = """
import numpy as np
import pytest

@pytest.mark.trt_model("random.onnx", reference="same.onnx")
@pytest.mark.trt_consistency
def test_random(trt_session):
    trt_session.run({"x": np.eye(2, 3, dtype=np.float32)})
"""
    networks.test_file(TESTS + source)
    networks.run("-k", "overflow").assert_outcomes(failed=1, deselected=3)
    (plan,) = networks.plans()
    plan.rename(networks.path / "overflow.plan")
    finished = TESTS.replace('precision="fp16", profiles=PROFILES)', 'plan="overflow.plan")', 1)
    networks.test_file(finished + source)
    result = networks.run("--trt-localize=always", "-k", "overflow or random")
    result.assert_outcomes(failed=2, deselected=2)
    not_searched = "the bad layer of * was not searched for: {} [[]TRT442]".format
    result.stdout.fnmatch_lines_random(
        [
            not_searched("a finished plan has no inner tensors that could be read"),
            not_searched("the model draws random numbers (RandomUniformLike)"),
        ]
    )


def test_a_measure_that_cannot_be_checked_has_no_bad_layer(networks: Project) -> None:
    source = """
import numpy as np
import pytest

@pytest.mark.trt_model("sum.onnx", precision="fp16")
@pytest.mark.trt_consistency(cosine=0.9)
def test_it(trt_session):
    trt_session.run({"x": np.ones(3, np.float32)})
"""
    node = onnx.helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    save(
        model_proto([node], inputs=[value("x", [3])], outputs=[value("y", [])], initializers=[]),
        networks.path / "sum.onnx",
    )
    networks.test_file(source)
    report = networks.path / "r.json"
    networks.run(f"--trt-report={report}").assert_outcomes(failed=1)
    assert found(report) == {"test_it": []}


def test_a_line_of_progress_names_the_search(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(self: terminal.ProgressLine, message: str) -> None:
        shown.append(message)

    shown: list[str] = []
    monkeypatch.setattr(
        terminal.ProgressLine, "message", property(lambda self: "", slow), raising=False
    )
    networks.run("--trt-localize=always", "-k", "overflow")
    steps = [one for one in shown if "trying" in one or "running each layer" in one]
    assert steps
    assert all(one.startswith("searching for the first bad layer: ") for one in steps)
