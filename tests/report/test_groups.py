from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders_report import check, document, engine, speed, told
from pytest_trt.report.causes import Cause, cause_lines, causes_of

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.benchmark.result import BenchmarkResult, ChangeRecord
from pytest_trt.report.document import Document
from pytest_trt.report.merging import merge_documents


def wrong(used: float, off: float = 0.1, fix: str = "look") -> Any:
    reference = np.ones((4, 10))
    tolerance = {"logits": Tolerance(rtol=0.01, atol=0.01)}
    one = compare_outputs({"logits": reference + off}, {"logits": reference}, tolerance).to_dict()
    text = f"logits at {used:g}x its tolerance\n  figures\nFix: {fix}"
    checks = (check(verdict="regressed", used=used, comparisons=(one,)),)
    return told("failed", text, checks=checks)


def slow(p99: float, name: str, **of: Any) -> Any:
    changes = (
        ChangeRecord("p99", "regressed", 0.1, p99, p99 - 0.1, p99 + 0.1, 0.05, "taking turns", 20),
        ChangeRecord("p50", "passed", 0.05, 0.01, 0.0, 0.02, 0.05, "taking turns", 20),
    )
    record: BenchmarkResult = speed(verdict="regressed", changes=changes, **of)
    update = f'pytest "test_it.py::{name}" --trt-update --trt-update-reason "..."'
    fix = f"look; if it is to be this slow, accept it and commit f.json: {update}"
    return told("failed", f"P99 {p99:+.0%}, limit +10%\nFix: {fix}", speeds=(record,))


def unbuilt(text: str) -> Any:
    return told("failed", text, engines=())


def causes(made: Document) -> list[Cause]:
    return causes_of(made["tests"])


def test_what_passed_or_says_nothing_of_what_to_do_has_no_cause() -> None:
    made = document({"test_a": told(), "test_b": told("failed", "assert 1 == 2"), "test_c": None})
    assert causes(made) == []
    assert made["causes"] == []


def test_one_wrong_model_is_one_cause_as_the_test_says_it_that_is_furthest_off() -> None:
    made = document({"test_a": wrong(3.0), "test_b": wrong(518.0, fix="compare\nthe inputs")})
    (cause,) = causes(made)
    fact = "digits.onnx is beyond its tolerances: fp16 logits 518x"
    assert cause == Cause(fact, "compare the inputs", (1, 0), "furthest off")
    assert made["causes"] == [cause.to_dict()]


def test_tolerance_that_is_offered_is_one_by_which_all_pass() -> None:
    tests = {
        "test_a": wrong(3.0, off=0.0437, fix="allow it: outputs={}."),
        "test_b": wrong(2.0, 0.1),
    }
    (cause,) = causes(document(tests))
    assert cause.fix.startswith("allow it: outputs={}. All 2 tests pass with atol=0.0")
    (atol,) = [float(word[5:]) for word in cause.fix.split() if word.startswith("atol=")]
    assert 0.09 <= atol <= 0.1  # what the second needs beyond its rtol of 0.01
    assert "for 'logits' in fp16" in cause.fix


def test_engines_of_one_model_that_are_slower_are_one_cause_that_names_what_was_added() -> None:
    changed = {
        "differences": ("the engine is another one: its model changed (aa -> bb)",),
        "layer_changes": ("kind: a -> b", "added: /refine0/Conv (half)", "and 11 more"),
    }
    tests = {name: slow(p99, name, **changed) for name, p99 in [("test_a", 0.3), ("test_b", 2.9)]}
    made = document(tests)
    (cause,) = causes(made)
    assert cause.tests == (1, 0)
    assert cause.fact == "digits.onnx is beyond its limits of speed: fp16 P99 +30%, fp16 P99 +290%"
    assert cause.fix == (
        "look; if it is to be this slow, accept it on the baseline's machine and commit f.json: "
        'pytest "test_it.py::test_a" "test_it.py::test_b" --trt-update --trt-update-reason "..."'
    )


def figure_of(name: str, fact: str, fix: str) -> Any:
    own = f'pytest "test_it.py::{name}" --trt-update --trt-update-reason "..."'
    record: BenchmarkResult = speed(verdict="regressed", changes=())
    return told("failed", f"{fact}\nFix: {fix.replace('OWN', own)}", speeds=(record,))


def test_limits_that_are_figures_are_one_cause_where_the_same_mends_them() -> None:
    quicker, smaller = "make the engine quicker.", "make it smaller."
    tests = {
        "test_a": figure_of("test_a", "P50 of all calls is above (m in fp16 on cpu)", quicker),
        "test_b": figure_of("test_b", "plan size is above (m in fp16 on cpu)", smaller),
        "test_c": figure_of("test_c", "throughput is below (m in fp16 on cpu)", quicker),
    }
    first, second = causes(document(tests))
    assert first.tests == (0, 2)
    assert first.fact == "P50 of all calls is above; throughput is below"
    assert first.fix == quicker
    assert second.fix == smaller


def test_engines_that_grew_are_accepted_together() -> None:
    grown = "go back; if the engine is to be so, accept it: OWN"
    tests = {name: figure_of(name, "plan size +10%", grown) for name in ("test_a", "test_b")}
    (cause,) = causes(document(tests))
    assert 'pytest "test_it.py::test_a" "test_it.py::test_b" --trt-update' in cause.fix


def test_many_slow_tests_are_accepted_by_their_files_and_one_as_it_says_itself() -> None:
    tests = {f"test_{n}": slow(0.3, f"test_{n}") for n in range(5)}
    (cause,) = causes(document(tests))
    assert cause.fix.endswith(
        'and commit f.json: pytest "test_it.py" --trt-update --trt-update-reason "..."'
    )
    (cause,) = causes(document({"test_a": slow(0.3, "test_a")}))
    assert cause.fix.startswith("look; if it is to be this slow, accept it and commit f.json: ")


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("Swirl is no operator (m.onnx)\nFix: export", "Swirl is no operator (m.onnx)\nFix: it", 1),
        (
            "no baseline (a in int8 on cpu).\nFix: record",
            "no baseline (a in fp8 on cpu)\nFix: x",
            1,
        ),
        ("Swirl is no operator (m.onnx)\nFix: export", "no baseline\nFix: record", 2),
    ],
)
def test_the_same_fact_is_one_cause(first: str, second: str, count: int) -> None:
    found = causes(document({"test_a": unbuilt(first), "test_b": unbuilt(second)}))
    assert len(found) == count
    assert found[0].fix in ("export", "record")


def test_what_is_true_of_one_test_alone_is_left_out_where_there_are_several() -> None:
    fix = "\nFix: record"
    one = unbuilt(f"no baseline: f (a.onnx in fp32 on cpu).{fix}")
    other = unbuilt(f"no baseline: f (a.onnx in fp16 on cpu).{fix}")
    assert causes(document({"test_a": one}))[0].fact == "no baseline: f (a.onnx in fp32 on cpu)."
    (cause,) = causes(document({"test_a": one, "test_b": other}))
    assert cause.fact == "no baseline: f"
    text = "logits at 9x its tolerance (a.onnx in fp32 on cpu): 2 of 2 outputs failed.\nFix: look"
    tests = {name: wrong(9.0) for name in ("test_a", "test_b")}
    for told_ in tests.values():
        told_.phases["call"] = replace(told_.phases["call"], text=text)
    (cause,) = causes(document(tests))
    assert cause.fact == "digits.onnx is beyond its tolerances: fp16 logits 9.00x"


def test_wrong_outputs_without_a_multiple_are_told_as_the_test_says_it() -> None:
    text = "probs has nan (a.onnx in fp32 on cpu): 1 of 2 outputs failed.\nFix: look"
    tests = {name: wrong(float("inf")) for name in ("test_a", "test_b")}
    for told_ in tests.values():
        told_.phases["call"] = replace(told_.phases["call"], text=text)
    (cause,) = causes(document(tests))
    assert cause.fact == "probs has nan (a.onnx in fp32 on cpu)"


def test_precisions_of_a_model_and_its_reference_are_named() -> None:
    text = "logits at 9x its tolerance (a.onnx in fp32 on cpu, against v1.onnx)\nFix: look"
    tests = {name: wrong(9.0) for name in ("test_a", "test_b")}
    for told_ in tests.values():
        told_.phases["call"] = replace(told_.phases["call"], text=text)
    made = document(tests)
    made["tests"][1]["results"][0].update(precision="fp32")
    made["tests"][1]["results"][0]["accuracy"].update(used=518.2)
    (cause,) = causes(made)
    assert cause.fact == (
        "digits.onnx is beyond its tolerances: fp16 logits 9.00x, fp32 logits 518x "
        "(against v1.onnx)"
    )


def test_line_of_a_worker_is_no_fact() -> None:
    text = "[gw0] linux -- Python 3.11 /usr/bin/python\nit is gone\nFix: bring it"
    (cause,) = causes(document({"test_a": unbuilt(text)}))
    assert cause.fact == "it is gone"


def test_what_must_be_mended_first_stands_first() -> None:
    tests = {"test_a": slow(0.3, "a"), "test_b": wrong(3.0), "test_c": unbuilt("gone\nFix: bring")}
    assert [cause.tests for cause in causes(document(tests))] == [(2,), (1,), (0,)]


def test_lines_name_few_tests_and_count_the_rest() -> None:
    tests = {f"test_{n}": unbuilt("gone\nFix: bring") for n in range(4)}
    made = document({**tests, "test_w": wrong(3.0), "test_x": wrong(4.0)})
    assert list(cause_lines(causes(made), made["tests"])) == [
        "4 tests, one reason: gone",
        "  test_it.py::test_0, test_it.py::test_1 and 2 more",
        "  Fix: bring",
        "2 tests, one reason: digits.onnx is beyond its tolerances: fp16 logits 4.00x",
        "  furthest off: test_it.py::test_x and 1 more",
        "  Fix: look",
    ]


def test_runs_that_are_merged_have_their_causes_together() -> None:
    one = document({"test_a": wrong(3.0), "test_b": told()}, arch="sm86")
    other = document({"test_a": wrong(9.0), "test_b": told()}, arch="sm120")
    merged = merge_documents({"a.json": one, "b.json": other}, ("sm86",))
    (cause,) = merged["causes"]
    assert [merged["tests"][place]["arch"] for place in cause["tests"]] == ["sm120", "sm86"]


def test_engines_of_other_models_have_causes_of_their_own() -> None:
    made = document({"test_a": wrong(3.0), "test_b": wrong(4.0)})
    made["tests"][1]["results"][0]["model"] = "other.onnx"
    assert len(causes(made)) == 2
    assert engine().model == "digits.onnx"


def test_what_accepts_one_test_is_told_for_all_of_them() -> None:
    def other_spec(name: str) -> Any:
        fix = f'measure it as then: pytest "test_it.py::{name}" --trt-update --trt-update-reason'
        return unbuilt(f'it has batch 1, this run has 4\nFix: {fix} "..."')

    (cause,) = causes(document({name: other_spec(name) for name in ("test_a", "test_b")}))
    assert cause.fix == (
        'measure it as then: pytest "test_it.py::test_a" "test_it.py::test_b" --trt-update '
        '--trt-update-reason "..."'
    )
