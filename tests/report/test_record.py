from __future__ import annotations

import pytest
from pytest_trt.report.planned import PlannedTest, without_arch


@pytest.mark.parametrize(
    ("nodeid", "test"),
    [
        ("a.py::test_a", "a.py::test_a"),
        ("a.py::test_a[sm86]", "a.py::test_a"),
        ("a.py::test_a[sm86-fp16]", "a.py::test_a[fp16]"),
        ("a.py::test_a[fp16-sm86]", "a.py::test_a[fp16]"),
        ("a.py::test_a[x-sm86-fp16]", "a.py::test_a[x-fp16]"),
        ("a.py::test_a[sm860-fp16]", "a.py::test_a[sm860-fp16]"),
        ("sm86/a.py::test_sm86[fp16]", "sm86/a.py::test_sm86[fp16]"),
    ],
)
def test_architecture_is_no_part_of_what_a_test_is(nodeid, test) -> None:
    assert without_arch(nodeid, "sm86") == test


def test_planned_test_survives_as_data() -> None:
    plan = PlannedTest("n", "n", "f.py", 1, "m.onnx", "fp16", "sm86", ("consistency",))
    assert PlannedTest.from_dict(plan.to_dict()) == plan
