from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_trt.report.record import ConsistencyRecord, EngineRecord, TestRecord
from pytest_trt.report.summary import TestResult, summary_lines


def engine(**overrides: Any) -> EngineRecord:
    values: dict[str, Any] = {
        "model": "digits.onnx",
        "precision": "fp16",
        "arch": "sm86",
        "target": "sm86 (NVIDIA A10)",
        "toolchain": "TensorRT 10.16.1",
        "route": "builder flags",
        "key": "k" * 64,
        "cached": True,
        "build_s": 12.3,
        "size_bytes": 34_000,
        "reason": "first build",
        "runs_here": True,
    }
    return EngineRecord(**{**values, **overrides})


def check(**overrides: Any) -> ConsistencyRecord:
    values: dict[str, Any] = {
        "model": "digits.onnx",
        "precision": "fp16",
        "arch": "sm86",
        "verdict": "passed",
        "runs": 1,
        "worst_output": "logits",
        "used": 0.38,
        "tolerance": "rtol=0.01",
    }
    return ConsistencyRecord(**{**values, **overrides})


def result(outcome: str = "passed", **record: Any) -> TestResult:
    record = {"engines": (engine(),), **record}
    return TestResult("test_it.py::test_it", outcome, TestRecord(**record))


def lines(*results: TestResult, width: int = 80, color: bool = False) -> list[str]:
    return list(summary_lines(results, width=width, color=color))


def row(*results: TestResult, **options: Any) -> str:
    (found,) = [line for line in lines(*results, **options) if line.startswith("digits.onnx")]
    return found


def test_passed_check_shows_the_share_of_its_tolerance() -> None:
    assert row(result(checks=(check(),))).split() == [
        "digits.onnx", "sm86", "fp16", "cached", "████░░░░░░", "38%", "logits", "1", "passed",
    ]  # fmt: skip


def test_worst_check_of_all_tests_is_shown() -> None:
    shown = row(
        result(checks=(check(),)),
        result("failed", checks=(check(verdict="regressed", used=2.5, worst_output="probs"),)),
    )
    assert "██████████  250% probs" in shown
    assert "1 failed, 1 passed" in shown


def test_infinite_use_fits_into_its_column() -> None:
    assert ">999%" in row(result(checks=(check(used=float("inf"), verdict="regressed"),)))


def test_engine_that_was_built_says_how_long_and_why() -> None:
    shown = lines(result(engines=(engine(cached=False, reason="TensorRT 10.9 -> 10.16"),)))
    assert any("built 12.3 s" in line for line in shown)
    assert "built digits.onnx fp16 sm86: TensorRT 10.9 -> 10.16" in shown


def test_engine_that_cannot_run_here_is_no_pass() -> None:
    shown = lines(
        result("skipped", engines=(engine(runs_here=False),), skipped="built, no sm86 GPU here")
    )
    assert any("not run here" in line and "1 skipped" in line for line in shown)
    assert "skipped 1 test: built, no sm86 GPU here" in shown


def test_test_without_a_check_is_shown_as_not_compared() -> None:
    assert "not compared" in row(result())


def test_warnings_and_notes_are_told_once() -> None:
    noted = engine(notes=("1e-12 became 6e-08",), warnings=("the cached engine was damaged",))
    shown = lines(result(engines=(noted,)), result(engines=(noted,)))
    assert shown.count("note  digits.onnx fp16 sm86: 1e-12 became 6e-08") == 1
    assert shown.count("note  digits.onnx fp16 sm86: the cached engine was damaged") == 1


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int) -> None:
    long = engine(model="a-model-with-a-very-long-name-that-somebody-gave-it.onnx")
    shown = lines(
        result(engines=(long,), checks=(check(model=long.model, worst_output="o" * 50),)),
        width=width,
    )
    assert all(len(line) <= width for line in shown)


def test_size_is_shown_where_there_is_room() -> None:
    assert "34 kB" not in row(result())
    assert "34 kB" in row(result(), width=120)


def test_escape_sequences_only_in_color() -> None:
    assert "\x1b[" not in "".join(lines(result(checks=(check(),))))
    assert "\x1b[" in "".join(lines(result(checks=(check(),)), color=True))


def test_name_with_brackets_is_shown_as_it_is() -> None:
    odd = engine(model="m[bold].onnx")
    shown = lines(
        result(engines=(odd,), checks=(check(model="m[bold].onnx", worst_output="o[0]"),))
    )
    assert any("m[bold].onnx" in line and "o[0]" in line for line in shown)


def test_record_survives_json() -> None:
    record = TestRecord(
        engines=(engine(notes=("a",)),),
        checks=(check(used=float("inf"), comparisons=({"outputs": []},)), check(used=None)),
        skipped="why",
    )
    data = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert TestRecord.from_dict(data) == record
