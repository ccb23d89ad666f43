from __future__ import annotations

import json

import pytest
from builders_report import check, engine, speed

from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.records import from_data, to_data
from pytest_trt.report.record import PlannedTest, TestRecord, without_parameters


@pytest.mark.parametrize(
    ("parameters", "test"),
    [
        ("", "a.py::test_a"),
        ("sm86", "a.py::test_a"),
        ("sm86-fp16", "a.py::test_a[fp16]"),
        ("fp16-sm86", "a.py::test_a[fp16]"),
        ("x-sm86-fp16", "a.py::test_a[x-fp16]"),
        ("sm860-fp16", "a.py::test_a[sm860-fp16]"),
        ("sm86 a-sm86-b.onnx fp16", "a.py::test_a[a-sm86-b.onnx-fp16]"),
    ],
)
def test_the_architecture_is_not_part_of_a_tests_identity(parameters, test) -> None:
    ids = parameters.split(" ") if " " in parameters else parameters.split("-")
    nodeid = f"a.py::test_a[{'-'.join(ids)}]" if parameters else "a.py::test_a"
    assert without_parameters(nodeid, ids if parameters else (), "sm86") == test


def test_planned_test_survives_json() -> None:
    plan = PlannedTest("n", "n", "f.py", 1, "m.onnx", "fp16", "sm86", ("consistency",))
    assert from_data(PlannedTest, json.loads(json.dumps(to_data(plan)))) == plan


def test_record_survives_json() -> None:
    facts = {"layers": 120, "layers_pct": {"half": 92.0, "float": 8.0}, "load_s": 0.25}
    remedy = Remedy("a", ("b",), ("c",))
    failure = Diagnostic("TRT401", "it is off", {"used": 2.5, "at": {"x": None}}, ("row",), remedy)
    record = TestRecord(
        engines=(engine(notes=("a",), threads=3, layer_rows=(("Conv", "half"),), **facts),),
        checks=(check(used=float("inf")), check(used=None)),
        speeds=(speed(),),
        skipped="why",
        diagnostics=(failure,),
        notes=(Diagnostic("TRT170", "it is seeded", severity="note"),),
        unbuilt=(("m.onnx", "cpu", "fp16"),),
    )
    data = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert TestRecord.from_dict(data) == record
