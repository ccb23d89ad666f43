from __future__ import annotations

import pytest

from pytest_trt.benchmark.differences import Circumstances, differences

THEN = {"key": "aa", "plan": "11", "model": "0123456789abcdef", "layers": 14}


def found(**engine):
    then, now = (Circumstances("TensorRT 10", {}, facts) for facts in (THEN, {**THEN, **engine}))
    return differences(then, now)


def test_nothing_differs_where_all_is_the_same() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("fedcba9876543210", "its model changed (sha256 01234567 -> fedcba98)"),
        (THEN["model"], "of the same model, its options or its builder changed"),
    ],
)
def test_another_engine_is_one_of_another_model_or_of_the_same(model, said) -> None:
    assert found(key="bb", model=model) == [f"the engine is another one: {said}"]


def test_baselines_without_the_model_leave_open_what_changed() -> None:
    then = Circumstances("TensorRT 10", {}, {"key": "cc"})
    (line,) = differences(then, Circumstances("TensorRT 10", {}, {"key": "aa", "model": "0"}))
    assert line.endswith("its model, its options or its builder changed")
