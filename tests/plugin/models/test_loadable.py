from __future__ import annotations

import pytest

from pytest_trt.backends.onnxruntime import build_job, building
from pytest_trt.backends.onnxruntime import plan as plans
from pytest_trt.diagnostics import EngineBuildError


def test_a_lowered_level_of_optimisation_is_noted_in_every_run(
    project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = plans._write

    def breaks(source, plan, request, level, threads) -> None:
        if level == "extended":
            raise EngineBuildError("broken", fix="none")
        write(source, plan, request, level, threads)

    monkeypatch.setattr(plans, "_write", breaks)
    monkeypatch.setattr(
        build_job, "build_isolated", lambda request, **limits: building.build(request)
    )
    for _ in range(2):  # the second one finds the engine in the cache
        result = project.check()
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(
            ["*the fp32 engine of linear.onnx has graph_optimization_level='basic'*TRT307*"]
        )
    (plan,) = project.plans()
    assert plan.name == "engine.basic.onnx"


def test_no_level_is_noted_where_the_requested_one_works(project) -> None:
    result = project.check()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*TRT307*")
