from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders_report import check, engine

from pytest_trt.accuracy.compare import compare_outputs, compare_values
from pytest_trt.accuracy.result import MetricOutcome, merge_runs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.engine.record import EngineRecord
from pytest_trt.report.notes import note_lines
from pytest_trt.report.record import TestRecord, TestResult
from pytest_trt.report.summary import Style, noted_lines, short_names, summary_lines


def result(outcome: str = "passed", **record: Any) -> TestResult:
    record = {"engines": (engine(),), **record}
    return TestResult("test_it.py::test_it", outcome, TestRecord(**record))


def lines(
    *results: TestResult,
    width: int = 80,
    color: bool = False,
    ascii: bool = False,
    wrap: bool = False,
    **options: bool,
) -> list[str]:
    return list(summary_lines(results, Style(width, color, ascii, wrap), **options))


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
        result("failed", checks=(check(verdict="failed", used=2.5, worst_output="probs"),)),
    )
    assert "██████████ 2.50x probs" in shown
    assert "1 failed, 1 passed" in shown


def test_infinite_use_fits_into_its_column() -> None:
    assert ">999x" in row(result(checks=(check(used=float("inf"), verdict="regressed"),)))


def test_engine_that_was_built_says_how_long_and_why() -> None:
    shown = lines(result(engines=(engine(cached=False, reason="TensorRT 10.9 -> 10.16"),)))
    assert any("built 12.3 s" in line for line in shown)
    assert (
        "built digits.onnx fp16 sm86: not cached, unlike a similar engine: TensorRT 10.9 -> 10.16"
        in shown
    )


def test_engine_that_cannot_run_here_does_not_pass() -> None:
    shown = lines(
        result("skipped", engines=(engine(runs_here=False),), skipped="built, no sm86 GPU here")
    )
    assert any("not run here" in line and "1 skipped" in line for line in shown)
    assert "skipped 1 test: built, no sm86 GPU here" in shown


def test_test_without_a_check_is_shown_as_not_compared() -> None:
    assert "not compared" in row(result())


def test_first_engine_is_not_mentioned() -> None:
    first = engine(cached=False, reason="")
    shown = lines(result(engines=(first,)))
    assert any("built 12.3 s" in line for line in shown)
    assert not any(line.startswith("built") for line in shown)


def test_reason_of_two_tests_is_reported_once() -> None:
    built = result(engines=(engine(cached=False, reason="seed 1 -> 2"),))
    assert (
        lines(built, built).count(
            "built digits.onnx fp16 sm86: not cached, unlike a similar engine: seed 1 -> 2"
        )
        == 1
    )


def test_damaged_engine_is_reported_once() -> None:
    warning = Diagnostic("TRT300", "the cached engine was damaged; it was rebuilt")
    rebuilt = engine(cached=False, reason="the cached engine was damaged", warnings=(warning,))
    shown = lines(result(engines=(rebuilt,)))
    assert [line for line in shown if "damaged" in line] == [
        "note  digits.onnx fp16 sm86: the cached engine was damaged; it was rebuilt [TRT300]"
    ]


def test_notes_of_a_build_are_reported_once_where_it_was_built_and_not_from_the_cache() -> None:
    note = "note  digits.onnx fp16 sm86: 1e-12 became 6e-08"
    built, cached = (engine(notes=("1e-12 became 6e-08",), cached=how) for how in (False, True))
    assert lines(result(engines=(built,)), result(engines=(cached,))).count(note) == 1
    assert note not in lines(result(engines=(cached,)))


def test_warnings_are_reported_once_from_the_cache_too() -> None:
    warned = result(engines=(engine(warnings=(Diagnostic("TRT300", "the cache is full"),)),))
    text = "note  digits.onnx fp16 sm86: the cache is full [TRT300]"
    assert lines(warned, warned).count(text) == 1


def noted(nodeid: str, *notes: Diagnostic) -> TestResult:
    return TestResult(nodeid, "passed", TestRecord(engines=(engine(),), notes=notes))


def note(message: str, code: str = "TRT170", **facts: str) -> Diagnostic:
    return Diagnostic(code, message, facts, severity="note")


def test_notes_that_agree_in_code_and_facts_are_one_line_that_counts_tests() -> None:
    tests = [noted(f"test_{n}", note("it is seeded", model="a.onnx")) for n in range(50)]
    other = noted("test_other", note("no profile", "TRT171", model="a.onnx"))
    shown = [line for line in lines(*tests, other) if line.startswith("note")]
    assert shown == ["note  50 tests: it is seeded [TRT170]", "note  no profile [TRT171]"]


def test_notes_that_differ_in_their_model_alone_are_one_line() -> None:
    tests = [
        noted(f"test_{n}", note(f"{n}.onnx has no profile", "TRT171", model=f"{n}.onnx"))
        for n in range(50)
    ]
    shown = [line for line in lines(*tests) if line.startswith("note")]
    assert shown == ["note  50 tests: 0.onnx has no profile [TRT171] (and 49 more models)"]


def test_notes_that_differ_in_another_fact_are_lines_of_their_own() -> None:
    tests = [
        noted(now, note(f"10.9 -> {now}", "TRT515", then="10.9", now=now, model="a.onnx"))
        for now in ("10.16", "11.4")
    ]
    assert sum(line.startswith("note") for line in lines(*tests)) == 2


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (1, "0.onnx fp16 sm86"),
        (2, "0.onnx fp16 sm86, 1.onnx fp16 sm86"),
        (50, "0.onnx fp16 sm86, 1.onnx fp16 sm86 and 48 more"),
    ],
)
def test_what_is_reported_alike_of_several_engines_is_one_line(number: int, named: str) -> None:
    full = Diagnostic("TRT300", "the cache is full")
    results = [
        result(engines=(engine(path=f"{n}.onnx", cached=False, **more),))
        for n in range(number)
        for more in (
            {"reason": "TensorRT 10.9 -> 10.16"},
            {"warnings": (full,), "notes": ("1e-12 became 6e-08",)},
        )
    ]
    other = result(engines=(engine(path="other.onnx", cached=False, notes=("2e-12 became 0",)),))
    shown = [line for line in lines(*results, other) if line.startswith(("built", "note"))]
    assert shown == [
        f"built {named}: not cached, unlike a similar engine: TensorRT 10.9 -> 10.16",
        f"note  {named}: the cache is full [TRT300]",
        f"note  {named}: 1e-12 became 6e-08",
        "note  other.onnx fp16 sm86: 2e-12 became 0",
    ]
    quiet = list(noted_lines([*results, other], Style(80)))
    assert quiet == [f"note  {named}: the cache is full [TRT300]"]


def test_notes_of_a_code_without_facts_are_distinguished_by_their_message() -> None:
    shown = list(note_lines([("a", [note("x", "TRT172")]), ("b", [note("y", "TRT172")])]))
    assert shown == ["note  x [TRT172]", "note  y [TRT172]"]


def test_warnings_are_left_to_pytest() -> None:
    warning = Diagnostic("TRT170", "it is seeded", severity="warning")
    assert not any("seeded" in line for line in lines(noted("test_a", warning)))


def test_notes_are_wrapped_on_a_terminal() -> None:
    shown = lines(noted("test_a", note("word " * 30)), wrap=True, width=60)
    assert all(len(line) <= 60 for line in shown)


@pytest.mark.parametrize(("sizes", "reported"), [((0, 0), True), ((0, 4), False), ((4, 4), False)])
def test_output_that_was_empty_in_every_run_is_reported(
    sizes: tuple[int, ...], reported: bool
) -> None:
    runs = [
        compare_outputs(*[{"boxes": np.zeros((size, 4)), "n": np.ones(1)}] * 2) for size in sizes
    ]
    shown = lines(result(checks=(check(outputs=merge_runs(runs).outputs),)))
    assert any("output 'boxes' was not compared" in line for line in shown) is reported


def test_output_whose_tolerance_passes_one_value_is_reported() -> None:
    def shown(*values: float) -> list[str]:
        sides = [{"probs": np.array(values, np.float32)}] * 2
        outputs = compare_outputs(*sides, Tolerance(0.1, 0.1)).outputs
        return lines(result(checks=(check(outputs=outputs),)))

    flat = "*always returns 0: the output was 0.01 to 0.05"
    assert fnmatch.filter(shown(0.01, 0.05), flat)
    assert fnmatch.filter(shown(0.5, 0.5), "*output 'probs' was 0.5 in every element*")
    assert not fnmatch.filter(shown(0.01, 0.5), "*output 'probs'*")


def test_output_whose_samples_are_the_same_is_reported() -> None:
    def shown(*samples: list[float]) -> list[str]:
        sides = [{"probs": np.array(samples, np.float32)}] * 2
        outputs = compare_outputs(*sides, Tolerance(0.1, 0.1)).outputs
        return lines(result(checks=(check(outputs=outputs),)))

    same = "*output 'probs' pass an engine that returns the first sample's values for all*"
    assert fnmatch.filter(shown([0.1, 0.9], [0.12, 0.88]), same)
    assert not fnmatch.filter(shown([0.1, 0.9], [0.9, 0.1]), "*output 'probs'*")


def test_small_parts_that_pass_as_zeros_are_reported() -> None:
    def shown(scores: slice, atol: float = 1.0) -> list[str]:
        boxes = np.full((1, 12, 50), 300.0)
        boxes[:, scores] = 0.5
        outputs = compare_outputs(*[{"y": boxes}] * 2, Tolerance(0.0, atol)).outputs
        return lines(result(checks=(check(outputs=outputs),)))

    note = "*output 'y' pass an engine that returns 0 at {} of axis 1: it was at most 0.5 there*"
    assert fnmatch.filter(shown(np.s_[4:]), note.format("4 to 11"))
    assert fnmatch.filter(shown(np.s_[1::2]), note.format("1, 3, 5 and 3 more"))
    assert not fnmatch.filter(shown(np.s_[4:], 0.1), note.format("*"))


def test_inputs_with_the_same_constant_value_are_one_note() -> None:
    states = {f"past.{number}": "0" for number in range(48)}
    shown = lines(result(checks=(replace(check(), constants={**states, "mask": "1"}),)))
    found = [line for line in shown if "element of every run" in line]
    assert len(found) == 2
    assert fnmatch.filter(found, "*inputs 'past.0', * and 43 more were 0 in every element*")
    assert fnmatch.filter(found, "*input 'mask' was 1 in every element*uses it wrongly*")


@pytest.mark.parametrize(
    ("wrong", "reported"), [(np.s_[7], True), (np.s_[:, 0], False), (np.s_[:, :4], False)]
)
def test_samples_that_differ_as_a_whole_are_reported(wrong: Any, reported: bool) -> None:
    expected = np.arange(320.0).reshape(8, 40)
    actual = expected.copy()
    actual[wrong] += 5.0
    tolerance = Tolerance(0.0, 0.1, max_mismatch_pct=15.0)
    runs = [compare_outputs({"y": one}, {"y": expected}, tolerance) for one in (expected, actual)]
    shown = lines(result(checks=(check(outputs=merge_runs(runs).outputs),)))
    found = "*max_mismatch_pct=15 of output 'y' passed 1 sample of a run most of whose elements*"
    assert bool(fnmatch.filter(shown, found)) is reported


@pytest.mark.parametrize(
    ("dead", "dtype", "atol", "reported"),
    [
        (20, "int64", 0.0, True),
        (20, "uint8", 0.0, True),
        (19, "int64", 0.0, False),  # one element still has the class
        (20, "int64", 1.0, False),
        (20, "float32", 0.0, False),
        (0, "int64", 0.0, False),
    ],
)
def test_classes_that_a_share_of_all_elements_hides_are_reported(
    dead: int, dtype: str, atol: float, reported: bool
) -> None:
    """Such as the pixels of a rare class of a segmentation, which are 2% of an image."""
    expected = np.zeros((1, 1000), dtype)
    expected[0, :20], expected[0, 500:] = 3, 1
    actual = expected.copy()
    actual[0, :dead] = 2
    tolerance = Tolerance(0.0, atol, max_mismatch_pct=5.0)
    outputs = compare_outputs({"y": actual}, {"y": expected}, {"y": tolerance}).outputs
    shown = lines(result(checks=(check(outputs=outputs),)))
    found = "*max_mismatch_pct=5 of output 'y' passed 1 value, such as a class, whose elements all*"
    assert bool(fnmatch.filter(shown, found)) is reported


@pytest.mark.parametrize(("largest", "wrong", "lost"), [(200, 4, 0), (200, 90, 1), (60, 4, 1)])
def test_pixels_of_one_value_that_differ_by_little_are_no_class(
    largest: int, wrong: int, lost: int
) -> None:
    expected = np.full((1, 1000), largest, np.uint8)
    expected[0, :20], expected[0, 500:] = 3, 1
    actual = expected.copy()
    actual[0, :20] = wrong
    tolerances = {"y": Tolerance(0.0, 0.0, max_mismatch_pct=5.0)}
    assert (
        compare_outputs({"y": actual}, {"y": expected}, tolerances).outputs[0].lost_values == lost
    )


@pytest.mark.parametrize("largest", [(1 << 16) - 1, 1 << 16, 1 << 40])
def test_integers_of_a_wide_range_are_compared(largest: int) -> None:
    expected = np.zeros((1, 1000), np.int64)
    expected[0, 0], expected[0, 500:] = largest, 1
    actual = expected.copy()
    actual[0, 999] = 7
    tolerances = {"y": Tolerance(0.0, 0.0, max_mismatch_pct=5.0)}
    assert compare_outputs({"y": actual}, {"y": expected}, tolerances).outputs[0].lost_values == 0


@pytest.mark.parametrize(
    ("value", "lost", "reported"), [(12.0, 2, True), (12.0, 0, False), (8.0, 2, False)]
)
def test_samples_that_a_ratio_of_the_batch_hides_are_reported(value, lost, reported) -> None:
    metric = MetricOutcome(
        "snr_db", "y", "dB", ">=", 10.0, value, failed_runs=int(value < 10.0), lost_samples=lost
    )
    shown = lines(result(checks=(check(metrics=(metric,)),)))
    found = "*metric 'snr_db' of output 'y' passed 2 samples of a run with wrong values: *cosine=*"
    assert bool(fnmatch.filter(shown, found)) is reported


def test_metric_that_passes_one_value_is_reported() -> None:
    outputs = compare_values(
        *[{"y": np.ones((2, 2))}] * 2, Tolerance(0, 0, elementwise=False)
    ).outputs
    metric = MetricOutcome("snr_db", "y", "dB", ">=", 40.0, 50.0, one_value=True)
    shown = lines(result(checks=(check(outputs=outputs, metrics=(metric,)),)))
    assert fnmatch.filter(shown, "*the limit of metric 'snr_db' of output 'y' passes an engine*")


@pytest.mark.parametrize(("actual", "reported"), [(np.nan, True), (1.0, False)])
def test_elements_that_are_finite_on_one_side_alone_are_reported(
    actual: float, reported: bool
) -> None:
    sides = [{"y": np.array([0.5, value], np.float32)} for value in (actual, 1.0)]
    outputs = compare_outputs(*sides, Tolerance(0.1, 0.1, nan="ignore")).outputs
    shown = lines(result(checks=(check(outputs=outputs),)))
    assert any("1 element of output 'y' not compared" in line for line in shown) is reported


def test_environment_is_reported_once_per_device_on_request() -> None:
    engines = (engine(), engine(precision="int8"), engine(arch="sm90", target="sm90 (NVIDIA H200)"))
    shown = lines(result(engines=engines), environment=True)
    assert shown[:2] == [
        "TensorRT 10.16.1 for sm86 (NVIDIA A10)",
        "TensorRT 10.16.1 for sm90 (NVIDIA H200)",
    ]
    assert not any("NVIDIA" in line for line in lines(result(engines=engines)))


def test_quiet_summary_has_notes_and_warnings_but_neither_builds_nor_their_notes() -> None:
    warning = Diagnostic("TRT300", "damaged")
    built = engine(cached=False, reason="seed 1 -> 2", notes=("clamped",), warnings=(warning,))
    found = result(engines=(built,), checks=(check(),), notes=(note("P99 is inconclusive"),))
    assert list(noted_lines([found], Style(80))) == [
        "note  digits.onnx fp16 sm86: damaged [TRT300]",
        "note  P99 is inconclusive [TRT170]",
    ]
    assert list(noted_lines([result(checks=(check(),))], Style(80))) == []


def test_models_of_one_name_have_a_row_each() -> None:
    paths = ("a/models/digits.onnx", "b/models/digits.onnx")
    shown = lines(*(result(engines=(engine(path=path, key=path),)) for path in paths))
    assert [line.split()[0] for line in shown[1:3]] == list(paths)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["models/a.onnx"], ["a.onnx"]),
        (["models/a.onnx", "models/b.onnx"], ["a.onnx", "b.onnx"]),
        (["x/a.onnx", "y/a.onnx", "y/b.onnx"], ["x/a.onnx", "y/a.onnx", "b.onnx"]),
        (["a.onnx", "y/a.onnx"], ["a.onnx", "y/a.onnx"]),
    ],
)
def test_models_are_named_by_the_shortest_end_of_their_path(paths, names) -> None:
    assert short_names(paths) == dict(zip(paths, names, strict=True))


LONG = "a-model-with-a-very-long-name-that-somebody-gave-it-v2.onnx"


def long_results(output: str = "StatefulPartitionedCall/dense:1") -> list[TestResult]:
    slow = engine(model=LONG, cached=False, build_s=723.0)
    failed = check(model=LONG, worst_output=output, used=8.6, verdict="regressed")
    return [
        *[result("failed", engines=(slow,), checks=(failed,))] * 12,
        *[result("passed", engines=(slow,))] * 3,
    ]


@pytest.mark.parametrize("width", [72, 80, 100, 200])
@pytest.mark.parametrize("ascii", [False, True])
def test_table_has_a_line_per_row_and_none_is_wider_than_the_terminal(
    width: int, ascii: bool
) -> None:
    shown = lines(*long_results(), result(), width=width, ascii=ascii)
    assert len(shown) == 3
    assert all(len(line) <= width for line in shown)
    assert shown[0].endswith("  tests")
    assert shown[1].endswith("12 failed, 3 passed")


def test_names_are_shown_in_full_where_there_is_room() -> None:
    (long,) = [line for line in lines(*long_results(), width=200) if line.startswith("a-model")]
    assert LONG in long
    assert "StatefulPartitionedCall/dense:1" in long


def test_output_gives_way_before_the_bar_and_the_model_keeps_both_its_ends() -> None:
    (_, at_80) = lines(*long_results())
    assert at_80.startswith("a-mode")
    assert ".onnx  sm86 fp16" in at_80
    assert "█" in at_80
    assert "Stateful" not in at_80
    (head, narrow) = lines(*long_results(), width=64)
    assert "█" not in narrow
    assert "  used " in head


def test_terminal_too_narrow_for_anything_gets_long_lines_and_no_folded_ones() -> None:
    shown = lines(*long_results(), width=20)
    assert len(shown) == 2
    assert shown[1].endswith("12 failed, 3 passed")


def test_everything_is_ascii_on_request() -> None:
    assert "####......   38% logits" in row(result(checks=(check(),)), ascii=True)
    assert all(line.isascii() for line in lines(*long_results(), ascii=True))
    assert not all(line.isascii() for line in lines(*long_results()))


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


FACTS = {
    "layers": 120,
    "layers_pct": {"half": 92.0, "float": 8.0},
    "weights_pct": {"half": 98.4, "float": 1.6},
    "device_memory_bytes": 12_000_000,
}


def facts(*engines: EngineRecord) -> list[str]:
    shown = lines(result(engines=engines), facts=True)
    return [line for line in shown if line.startswith("facts ")]


def test_facts_are_shown_with_verbose_output() -> None:
    assert facts(engine(**FACTS)) == [
        "facts digits.onnx fp16 sm86: weights 98% half, 1.6% float; 120 layers, 92% half, "
        "8.0% float; 34 kB; 12 MB on the device"
    ]
    assert not any("facts" in line for line in lines(result(engines=(engine(**FACTS),))))


def test_facts_of_one_engine_are_reported_once_with_what_was_measured() -> None:
    (line,) = facts(
        engine(**FACTS),
        engine(**FACTS, load_s=0.25),
        engine(**FACTS, load_s=0.25, first_inference_s=2),
    )
    assert line.endswith("; loaded in 250 ms; first inference 2.0 s")


def test_engine_that_reports_nothing_is_described_by_its_size() -> None:
    assert facts(engine()) == ["facts digits.onnx fp16 sm86: 34 kB"]


def test_hidden_precision_is_reported_as_unknown() -> None:
    (line,) = facts(engine(layers=3))
    assert "weights of unknown precision; 3 layers, of unknown precision" in line


def test_model_that_was_not_built_has_a_row_too() -> None:
    key = ("encoder.onnx", "cpu", "fp16")
    shown = lines(
        TestResult("test_a", "error", TestRecord(unbuilt=(key,))),
        TestResult("test_b", "error", TestRecord(unbuilt=(key,))),
    )
    (row,) = [line for line in shown if line.startswith("encoder.onnx")]
    assert row.split() == ["encoder.onnx", "cpu", "fp16", "not", "built", "2", "error"]
