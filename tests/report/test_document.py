from __future__ import annotations

import json
import math

import numpy as np
import pytest
from builders_report import (
    check,
    check_schema,
    document,
    engine,
    planned,
    reported,
    run,
    skipped,
    speed,
)
from jsonschema import ValidationError

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.result import Comparison, InvariantOutcome, merge_runs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import Diagnostic, ReportError
from pytest_trt.records import to_data
from pytest_trt.report.document import make_document
from pytest_trt.report.files import (
    WRITERS,
    check_suffix,
    json_text,
    read_document,
    write_report,
)
from pytest_trt.terms import Verdict

FULL = {
    "test_a": reported(checks=(check(),), speeds=(speed(),)),
    "test_b": reported("failed", "it is off\nby much", checks=(check(verdict="failed"),)),
    "test_c": skipped("no sm86 GPU"),
    "test_d": None,
}


def test_document_fits_its_schema_and_one_that_lacks_something_does_not() -> None:
    made = document(FULL, required=("sm86", "sm120"))
    check_schema(made)
    del made["tests"][0]["status"]
    with pytest.raises(ValidationError, match="status"):
        check_schema(made)


def compared(scale: float = 1.0) -> Comparison:
    """Two outputs that are off everywhere."""
    reference = np.random.default_rng(0).normal(size=(8, 10))
    actual = {"logits": reference * 1.5 * scale, "probs": reference + 0.1 * scale}
    tolerance = Tolerance(rtol=0.01, atol=0.01)
    return compare_outputs(
        actual,
        {"logits": reference, "probs": reference},
        {"logits": tolerance, "probs": tolerance},
        histogram=True,
    )


def test_invariants_are_in_the_result_whatever_it_was_compared_with() -> None:
    outcome = InvariantOutcome("rebuilds", Verdict.FAILED, 3, 1, math.inf, "rebuild 2 of 3")
    checks = (
        check(invariants=(outcome,)),
        check(against="stored", verdict="failed", failed_runs=1),
    )
    made = document({"test_a": reported("failed", "it is off", checks=checks)})
    check_schema(made)
    accuracy = made["tests"][0]["results"][0]["accuracy"]
    assert accuracy["against"] == "stored"
    (found,) = accuracy["invariants"]
    assert (found["name"], found["verdict"], found["used"]) == ("rebuilds", "failed", "inf")


def test_runs_of_a_test_are_summed_up_by_output_with_the_furthest_off_in_full() -> None:
    runs = [compared(scale) for scale in (1.0, 2.0, 1.5)]
    made = document({"test_a": reported(checks=(check(runs=3, outputs=merge_runs(runs).outputs),))})
    check_schema(made)
    logits, _ = made["tests"][0]["results"][0]["accuracy"]["outputs"]
    furthest = runs[1].outputs[0].worst_used
    assert logits["worst_used"]["index"] == list(furthest.index)
    assert logits["worst_used"]["value"] == pytest.approx(furthest.value)
    assert logits["used"] == logits["worst_used"]["value"]
    assert (logits["compared"], sum(logits["histogram"])) == (240, 240)


def test_output_without_measures_is_reported_too() -> None:
    tolerance = {"x": Tolerance(rtol=0.0, atol=0.0)}
    wrong = compare_outputs({"x": np.zeros(3)}, {"x": np.full(4, np.inf)}, tolerance)
    made = document({"test_a": reported(checks=(check(outputs=wrong.outputs),))})
    check_schema(made)
    (output,) = made["tests"][0]["results"][0]["accuracy"]["outputs"]
    assert (output["histogram"], output["worst_used"]) == (None, None)
    assert output["findings"][0]["kind"] == "shape"


def test_every_state_is_distinguished() -> None:
    made = document(FULL)
    assert [test["status"] for test in made["tests"]] == ["passed", "failed", "skipped", "not run"]
    assert made["runs"][0]["counts"] == {"passed": 1, "failed": 1, "skipped": 1, "not run": 1}


def test_reason_failure_and_command_are_shown_with_the_status() -> None:
    failed, left_out = document(FULL)["tests"][1:3]
    assert failed["failure"] == "it is off\nby much"
    assert failed["repeat"] == "pytest test_it.py::test_b"
    assert left_out["reason"] == "no sm86 GPU"


def test_rounds_are_stored_and_rounded() -> None:
    (result,) = document(FULL)["tests"][0]["results"]
    assert result["speed"]["candidate_rounds"]["p99"] == [1.2346, 1.2]
    assert result["speed"]["changes"][0]["least"] == 0.04


def test_engine_is_reported_once_however_many_tests_use_it() -> None:
    made = document({"test_a": reported(), "test_b": reported()})
    assert len(made["engines"]) == 1
    assert {test["results"][0]["engine"] for test in made["tests"]} == set(made["engines"])


def test_unchecked_engine_is_not_measured_although_another_one_is() -> None:
    other = engine(key="o" * 64, precision="int8")
    found = reported(checks=(check(),))
    found.record = type(found.record)(engines=(engine(), other), checks=(check(),))
    plan = planned()
    made = make_document(run(), {plan.nodeid: plan}, {plan.nodeid: found}, {})
    assert [one["status"] for one in made["tests"][0]["results"]] == ["passed", "not measured"]


def test_nan_and_infinities_are_valid_json() -> None:
    found = to_data({"a": [float("nan"), float("inf"), -float("inf"), 1.5]})
    assert json.loads(json_text(found)) == {"a": ["nan", "inf", "-inf", 1.5]}


def test_long_failure_keeps_its_beginning_and_its_end() -> None:
    (test,) = document({"test_a": reported("failed", "begin" + "x" * 9000 + "end")})["tests"]
    assert test["failure"].startswith("beginx")
    assert test["failure"].endswith("xend")
    assert len(test["failure"]) < 5100


@pytest.mark.exhaustive
def test_thousand_tests_stay_below_ten_megabytes() -> None:
    figures = tuple(1.23456789 + 0.001 * number for number in range(100))
    metrics = ("p50", "p95", "p99", "throughput")
    stored, taken = dict.fromkeys(metrics, figures), dict.fromkeys(metrics, figures[:20])
    one = speed(candidate_rounds=taken, baseline_rounds=stored)
    found = {"checks": (check(outputs=compared().outputs),)}

    def size(fail_every: int, **found) -> int:
        tests = {
            f"test_{n}": reported(*(("failed", "x" * 5000) if n % fail_every == 0 else ()), **found)
            for n in range(1000)
        }
        return len(json_text(document(tests)).encode())

    assert size(10, **found, speeds=(one,)) < 10_000_000
    assert size(1, **found) < 10_000_000


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_report_is_written_whole_and_nothing_else(tmp_path, suffix) -> None:
    path = tmp_path / "new" / f"report{suffix}"
    write_report(path, document(FULL))
    write_report(path, document({}))
    assert path.read_text() == WRITERS[suffix](document({}))
    assert list(path.parent.iterdir()) == [path]


def test_text_that_is_not_unicode_is_written_all_the_same(tmp_path) -> None:
    made = document({"test_a": reported("failed", "half \udc80 of it")})
    write_report(tmp_path / "r.json", made)
    assert json.loads((tmp_path / "r.json").read_text()) == made


def test_ending_without_a_writer_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"\.json"):
        check_suffix(tmp_path / "report.xml")


def test_spec_of_speed_is_bounded_and_long_ones_are_told_apart() -> None:
    def spec(shapes: str) -> dict[str, str]:
        made = document({"test_a": reported(speeds=(speed(spec={"shapes": shapes}),))})
        check_schema(made)
        return made["tests"][0]["results"][0]["speed"]["spec"]

    assert spec("x [1]") == {"shapes": "x [1]"}
    long, other = (spec("x [1]; " * 500 + end)["shapes"] for end in "ab")
    assert long != other
    assert len(long) < 200


def test_no_engine_of_a_failed_test_stands_as_passed() -> None:
    found = reported("failed", checks=(check(),), failed_by_checks=True)
    (test,) = document({"test_a": found})["tests"]
    assert (test["status"], test["judged"]) == ("failed", False)
    assert [one["status"] for one in test["results"]] == ["failed"]


@pytest.mark.parametrize("was", ["not measured", "inconclusive"])
def test_older_report_that_hid_a_failed_test_is_corrected_when_it_is_read(tmp_path, was) -> None:
    made = document({"test_a": reported("failed", failed_by_checks=True), "test_b": reported()})
    del made["tests"][0]["judged"]
    made["tests"][0]["status"] = was
    made["runs"][0]["counts"] = {"passed": 1, was: 1}
    write_report(tmp_path / "old.json", made)
    read = read_document(tmp_path / "old.json")
    assert [one["status"] for one in read["tests"]] == ["failed", "passed"]
    assert (read["tests"][0]["judged"], read["tests"][1]["judged"]) == (False, True)
    assert {name: n for name, n in read["runs"][0]["counts"].items() if n} == {
        "passed": 1,
        "failed": 1,
    }


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda one: None, ""),
        (
            lambda one: one["runs"][0]["versions"].clear(),
            r'runs\[0\]\.versions\["pytest-trt"\]: missing',
        ),
        (
            lambda one: one["tests"][0].update(run=1),
            r"tests\[0\]\.run: expected a position below 1",
        ),
        (
            lambda one: one["groups"][0].update(tests=[-1]),
            r"groups\[0\]\.tests\[0\]: expected a pos",
        ),
        (
            lambda one: one["tests"][0]["results"][0].update(engine="x"),
            r"tests\[0\]\.results\[0\]\.engine: expected the key of an engine of the report",
        ),
        (
            lambda one: one["tests"][0]["results"][0]["speed"].update(calls=0),
            r"speed\.calls: expected 1 or more, found 0",
        ),
    ],
)
def test_report_that_was_edited_is_refused_by_the_field(tmp_path, edit, problem: str) -> None:
    why = Diagnostic("TRT401", "it is off", {})
    failed = reported("failed", "it is off", speeds=(speed(),), diagnostics=(why,))
    made = json.loads(json_text(document({"test_a": failed})))
    edit(made)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(made))
    if not problem:
        assert read_document(path)["tests"][0]["status"] == "failed"
        return
    with pytest.raises(ReportError, match=problem):
        read_document(path)
