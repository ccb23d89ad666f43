from __future__ import annotations

import pytest

from pytest_trt.benchmark.differences import HOST_BUSY, Circumstances, Difference, differences

THEN = {"key": "aa", "plan": "11", "model": "0123456789abcdef", "layers": 14}


def found(**engine):
    then, now = (Circumstances("TensorRT 10", {}, facts) for facts in (THEN, {**THEN, **engine}))
    return differences(then, now)


def test_nothing_differs_where_all_is_the_same() -> None:
    assert found() == ()


@pytest.mark.parametrize(
    ("model", "difference", "text"),
    [
        (
            "fedcba9876543210",
            Difference("model", "01234567", "fedcba98"),
            "the model changed (sha256 01234567 -> fedcba98)",
        ),
        (
            THEN["model"],
            Difference("options"),
            "the builder or its options changed (same model)",
        ),
    ],
)
def test_the_reason_for_another_engine_is_named(model, difference, text) -> None:
    assert found(key="bb", model=model) == (difference,)
    assert str(difference) == text


def test_another_toolchain_alone_changes_no_option() -> None:
    then, now = (
        Circumstances(toolchain, {}, {**THEN, "key": key})
        for toolchain, key in (("TensorRT 10.13", "aa"), ("TensorRT 10.16", "bb"))
    )
    assert list(map(str, differences(then, now))) == ["TensorRT 10.13 -> TensorRT 10.16"]


def test_baselines_without_the_model_leave_open_what_changed() -> None:
    then = Circumstances("TensorRT 10", {}, {"key": "cc"})
    (one,) = differences(then, Circumstances("TensorRT 10", {}, {"key": "aa", "model": "0"}))
    assert one == Difference("engine")


def test_machine_and_figures_differ_as_data() -> None:
    then = Circumstances("A 1", {"driver": "570"}, {"key": "a", "plan": "1", "layers": 90})
    now = Circumstances(
        "A 2", {"driver": "580", HOST_BUSY: "much"}, {"key": "a", "plan": "2", "layers": 95}
    )
    assert list(map(str, differences(then, now))) == [
        "A 1 -> A 2",
        "driver 570 -> 580",
        "the host was overloaded now: much",
        "the engine was rebuilt from the same key, and its plan differs",
        "layers 90 -> 95",
    ]
