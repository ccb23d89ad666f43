"""What may be exported of the last run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_trt.engine.spec import Target, Toolchain
from pytest_trt.engine.tested import TestedEngine, TestedRun, TestOfEngines, merged

ENGINE = TestedEngine(
    key="k" * 64,
    plan_digest="a" * 64,
    model="/m.onnx",
    model_digest="b" * 64,
    backend="tensorrt",
    precision="fp16",
    profiles=(),
    options={},
    toolchain=Toolchain("TensorRT", {"tensorrt": "10.3.0"}),
    target=Target("sm90"),
)


@pytest.mark.parametrize(
    ("digests", "why"),
    [
        ("a", ""),
        ("aaa", ""),
        ("ab", "tests of the run used different plans of it"),
        ("aba", "tests of the run used different plans of it"),
    ],
)
def test_an_engine_is_exported_only_where_all_tests_used_one_plan(digests: str, why: str) -> None:
    """A cached plan that is damaged during a run is built again, and may become another one."""
    engines = merged(replace(ENGINE, plan_digest=one * 64) for one in digests)
    test = TestOfEngines(
        "test_it.py::test_a", "passed", (ENGINE.key,), {ENGINE.key: {"p50": "passed"}}
    )
    run = TestedRun(Path("/"), "2026-01-01T00:00:00+00:00", None, "", engines, (test,))
    assert run.refusal(ENGINE.key) == why
