"""Two reports held against each other: what is called worse, and what is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders_benchmark import speedup
from builders_report import KEY, check, document, engine, reported, run, skipped, speed

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.result import MetricOutcome
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import Diagnostic, ReportError
from pytest_trt.engine.record import EngineRecord
from pytest_trt.records import to_data
from pytest_trt.report.comparison.compare import compare
from pytest_trt.report.comparison.findings import Comparison, Direction, Finding, Kind, TestChange
from pytest_trt.report.comparison.words import cells, findings_of, summary, title
from pytest_trt.report.document import Document, make_document
from pytest_trt.report.merging import merge_documents
from pytest_trt.report.record import TestRecord
from pytest_trt.report.status import Phase, PhaseOutcomes
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.decline import TaskMetricResult
from pytest_trt.terms import Verdict


def rounds(ms: float, *, seed: int, spread: float = 0.001, count: int = 20) -> dict[str, Any]:
    """Figures of the rounds of an engine that takes so long."""
    jitter = np.exp(np.random.default_rng(seed).normal(scale=spread, size=count))
    of = {"p50": ms * jitter, "p99": 1.1 * ms * jitter, "throughput": 8000 / (ms * jitter)}
    return {name: tuple(map(float, values)) for name, values in of.items()}


def timed(ms: float, *, seed: int = 0, mode: str = "graph", **of: Any):
    figures = {"p50_ms": ms, "p99_ms": 1.1 * ms, "throughput_qps": 8000 / ms}
    taken = rounds(ms, seed=seed)
    return reported(speeds=(speed(mode=mode, candidate=figures, candidate_rounds=taken, **of),))


def off_by(error: float, *, atol: float = 0.01, names: Sequence[str] = ("logits",), **more: Any):
    """A check that found outputs off by so much everywhere."""
    reference = np.linspace(-1, 1, 80).reshape(8, 10)
    tolerances = dict.fromkeys(names, Tolerance(0.0, atol, **more))
    found = compare_outputs(
        dict.fromkeys(names, reference + error), dict.fromkeys(names, reference), tolerances
    )
    return reported(checks=(check(used=error / atol, outputs=found.outputs),))


def pair(old: Any, new: Any, **of: Any) -> Comparison:
    return compare(document({"test_it": old}), document({"test_it": new}, id="2", **of))


def only(found: Comparison, kind: Kind, name: str = "") -> Finding:
    findings = [one for test in (*found.tests, *found.engines) for one in test.findings]
    (finding,) = [one for one in findings if one.kind is kind and one.name == name]
    return finding


@pytest.mark.parametrize(
    ("before", "direction"),
    [({}, Direction.WORSE), ({"test_b.py": "E   SyntaxError"}, Direction.NO_VERDICT)],
    ids=["collected", "neither"],
)
def test_file_that_cannot_be_collected_any_more_is_worse(before, direction: Direction) -> None:
    error = {"test_b.py": "def f(:\nE   SyntaxError: invalid syntax\n"}
    old = document({"test_it": reported(), "test_b": reported()}, collection_errors=before)
    found = compare(old, document({"test_it": reported()}, id="2", collection_errors=error))
    (file,) = [one for one in found.tests if one.test == "test_b.py"]
    assert file.direction is direction
    assert file.why == "E   SyntaxError: invalid syntax"
    assert file in found.of(direction)
    fixed = compare(document({"test_it": reported()}, id="2", collection_errors=error), old)
    assert not list(fixed.of(Direction.WORSE))


@pytest.mark.parametrize(
    ("ms", "direction"),
    [
        (1.1, Direction.WORSE),
        (0.9, Direction.BETTER),
        (1.0, Direction.SAME),
        (1.004, Direction.SAME),
    ],
)
def test_speed_status_follows_its_bounds(ms: float, direction: Direction) -> None:
    found = pair(timed(1.0), timed(ms, seed=1))
    p50 = only(found, Kind.SPEED, "p50")
    assert p50.direction is direction
    assert only(found, Kind.SPEED, "throughput").direction is direction
    assert p50.change == pytest.approx(ms - 1, abs=0.002)
    assert p50.least < p50.change < p50.most
    assert found.tests[0].direction is direction


def test_throughput_has_its_bounds_in_order() -> None:
    found = only(pair(timed(1.0), timed(1.5, seed=1)), Kind.SPEED, "throughput")
    assert found.least < found.change < found.most < 0


def test_by_the_hosts_clock_a_tenth_is_not_a_change_and_twice_the_time_is() -> None:
    def direction(ms: float) -> Direction:
        old, new = (timed(m, seed=s, mode="end_to_end") for m, s in ((1.0, 0), (ms, 1)))
        return only(pair(old, new), Kind.SPEED, "p50").direction

    assert direction(1.1) is Direction.SAME
    assert direction(2.0) is Direction.WORSE


def test_unchanged_engines_are_never_reported_as_changed_in_a_large_report() -> None:
    def made(seed: int, **of: Any) -> Document:
        # Processes differ by a third of a percent besides what their rounds do.
        luck = np.random.default_rng(seed).normal(scale=0.003, size=200)
        return document(
            {f"test_{n}": timed(float(np.exp(luck[n])), seed=seed + n) for n in range(200)}, **of
        )

    found = compare(made(0), made(1000, id="2"))
    assert [one.direction for one in found.tests] == [Direction.SAME] * 200


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("mode", {"mode": "enqueue"}),
        ("batch", {"batch": 1}),
        ("shapes", {"spec": {"shapes": "ids [8, 128]"}}),
    ],
)
def test_what_was_measured_differently_is_not_compared_with_a_reason(name: str, other: Any) -> None:
    was = {"spec": {"shapes": "ids [8, 512]"}}
    found = pair(timed(1.0, **was), timed(2.0, **{**was, **other}))
    assert only(found, Kind.NOTE).lines[0].startswith(f"speed is not compared: {name} ")
    assert not [one for one in found.tests[0].findings if one.kind is Kind.SPEED]


@pytest.mark.parametrize(
    ("ms", "direction"),
    [(1.6, Direction.WORSE), (1.01, Direction.SAME), (0.6, Direction.BETTER)],
)
def test_engine_that_is_so_slow_that_its_rounds_are_shorter_is_worse(
    ms: float, direction: Direction
) -> None:
    found = pair(timed(1.0), timed(ms, seed=1, calls=14))
    assert only(found, Kind.SPEED, "p50").direction is direction
    assert found.tests[0].direction is direction
    assert not [one for one in found.tests[0].findings if one.name == "p99"]


def test_shapes_that_only_one_report_has_prevent_no_comparison() -> None:
    found = pair(timed(1.0), timed(2.0, spec={"shapes": "ids [8, 128]"}))
    assert only(found, Kind.SPEED, "p50").direction is Direction.WORSE


@pytest.mark.parametrize(
    ("was", "now", "direction"),
    [
        (0.002, 0.004, Direction.WORSE),
        (0.004, 0.002, Direction.BETTER),
        (0.004, 0.005, Direction.SAME),
        # Far inside of the tolerance other kernels round otherwise.
        (0.0001, 0.0005, Direction.SAME),
    ],
)
def test_errors_are_worse_that_use_half_as_much_again(
    was: float, now: float, direction: Direction
) -> None:
    found = only(pair(off_by(was), off_by(now)), Kind.ERROR, "logits")
    assert found.direction is direction
    assert (found.before, found.now) == pytest.approx((was / 0.01, now / 0.01))
    assert found.lines[0].startswith("largest absolute error ")


def test_another_tolerance_makes_shares_incomparable() -> None:
    found = only(pair(off_by(0.002), off_by(0.002, atol=0.004)), Kind.ERROR, "logits")
    assert (found.direction, found.change) == (Direction.CHANGED, None)
    assert found.lines == ("its tolerance changed",)


@pytest.mark.parametrize(
    ("was", "now", "direction"),
    [
        ("passed", "failed", Direction.WORSE),
        ("failed", "passed", Direction.BETTER),
        ("failed", "failed", Direction.SAME),
    ],
)
def test_status_counts_before_all_else(was: str, now: str, direction: Direction) -> None:
    found = pair(reported(was, "it is off"), reported(now, "it is off"))
    assert found.tests[0].direction is direction
    assert found.tests[0].why == ("it is off" if now == "failed" else "")


@pytest.mark.parametrize(
    ("was", "now", "direction"),
    [
        ("not measured", "failed", Direction.WORSE),
        ("passed", "error", Direction.WORSE),
        ("error", "passed", Direction.BETTER),
        ("failed", "xfailed", Direction.CHANGED),
        ("failed", "missing", Direction.CHANGED),
        ("not measured", "passed", Direction.CHANGED),
        ("passed", "inconclusive", Direction.CHANGED),
        ("failed", "inconclusive", Direction.CHANGED),
    ],
)
def test_what_leaves_the_question_open_is_neither_worse_nor_better(
    was: str, now: str, direction: Direction
) -> None:
    assert TestChange("test_it", "cpu", was, now, ()).direction is direction


XFAILED = PhaseOutcomes(
    {"setup": Phase("passed"), "call": Phase("skipped", xfail="later")},
    TestRecord(checks=(check(verdict="failed"),)),
)


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (skipped("no GPU"), "skipped"),
        (None, "not run"),
        (XFAILED, "xfailed"),
        (reported(speeds=(speed(verdict="not measured"),)), "not measured"),
    ],
)
def test_test_that_passed_and_has_no_verdict_now_is_worse_unless_that_is_ignored(
    now: Any, status: str
) -> None:
    old, new = document({"test_it": reported()}), document({"test_it": now}, id="2")
    for lost_is_worse, direction in ((True, Direction.WORSE), (False, Direction.CHANGED)):
        (found,) = compare(old, new, lost_is_worse=lost_is_worse).tests
        assert (found.direction, found.was, found.status) == (direction, "passed", status)
    assert summary(compare(old, new)) == "1 test: 1 worse (1 without a verdict now)"


def test_test_that_is_missing_now_is_worse_if_it_passed() -> None:
    failed = reported("failed", "it is off")
    old = document({"test_a": reported(), "test_b[x]": reported(), "test_c[x]": failed})
    new = document({"test_a": reported()}, id="2")
    found = compare(old, new)
    (lost,) = found.of(Direction.WORSE)
    assert (lost.test, lost.was, lost.status) == ("test_it.py::test_b[x]", "passed", "missing")
    assert found.removed == ("test_it.py::test_c[x] on sm86",)
    ignored = compare(old, new, lost_is_worse=False)
    assert not list(ignored.of(Direction.WORSE))
    assert ignored.removed == ("test_it.py::test_b[x] on sm86", *found.removed)


def test_reason_of_a_missing_test_is_why_its_file_was_skipped() -> None:
    new = document({"test_other": reported()}, id="2", skipped_files={"test_it.py": "no torch"})
    old = document({"test_other": reported(), "test_it": reported()})
    (lost,) = compare(old, new).of(Direction.WORSE)
    assert (lost.status, lost.why) == ("missing", "the file was skipped: no torch")


def test_missing_architecture_is_worse() -> None:
    both = [document({"test_it": reported()}, arch=arch) for arch in ("sm86", "sm89")]
    old = merge_documents({"a": both[0], "b": both[1]})
    new = document({"test_it": reported()}, id="2")
    (lost,) = compare(old, new).of(Direction.WORSE)
    assert (lost.where, lost.status) == ("digits.onnx fp16 sm89", "missing")
    assert lost.why == "the newer report has no test on sm89"


def test_engine_that_a_test_runs_no_longer_is_worse() -> None:
    other = engine(key="o" * 64, precision="int8")
    old = document({"test_it": reported()})
    before = to_data(other)
    old["engines"][other.key] = before
    result = {**old["tests"][0]["results"][0], "engine": other.key, "precision": "int8"}
    old["tests"][0]["results"].append(result)
    found = compare(old, document({"test_it": reported()}, id="2"))
    (lost,) = found.of(Direction.WORSE)
    assert (lost.where, lost.status) == ("digits.onnx int8 sm86", "missing")


def test_test_that_was_renamed_is_compared_and_named() -> None:
    old = document({"test_a": off_by(0.002), "test_b": reported()})
    new = document({"test_c": off_by(0.008), "test_b": reported()}, id="2")
    found = compare(old, new)
    assert (found.removed, found.added) == ((), ())
    assert "test test_it.py::test_a -> test_it.py::test_c" in found.differences
    assert only(found, Kind.ERROR, "logits").direction is Direction.WORSE


def test_a_few_of_many_renamed_tests_are_named() -> None:
    def of(one: str, id: str = "1") -> Document:
        checks = (check(),)
        return document({f"test_{one}[{n}]": reported(checks=checks) for n in range(4)}, id=id)

    *named, rest = compare(of("a"), of("b", "2")).differences
    assert len(named) == 3
    assert rest == "and 1 more renamed test"


def test_run_that_collected_nothing_is_worse_and_shows_why() -> None:
    empty = make_document(
        run(
            id="3",
            collection_errors={"test_it.py": "the model is missing [TRT156]\nFix: Name one:\n  a"},
            collection_reasons={"test_it.py": "the model is missing [TRT156]"},
        ),
        {},
        {},
        {},
        (),
    )
    found = compare(merged("test_a"), empty)
    assert [(one.test, one.status, one.why) for one in found.of(Direction.WORSE)] == [
        ("test_it.py", "error", "the model is missing [TRT156]"),
        ("test_it.py::test_a", "missing", "the newer report has no such test"),
    ]


@pytest.mark.parametrize("outcomes", [None, skipped("no GPU")])
def test_tests_that_neither_run_tested_are_counted_apart(outcomes: Any) -> None:
    tests = {"test_it": outcomes, "test_b": reported()}
    found = compare(document(tests), document(tests, id="2"))
    assert summary(found) == "2 tests: 1 the same, 1 not tested in either run"


def test_newer_run_that_failed_although_its_tests_passed_is_named() -> None:
    lost = [Diagnostic("TRT686", "1 model of 2 lacks a test"), Diagnostic("TRT684", "gone")]
    lost[1] = replace(lost[1], severity="warning")
    new = document({"test_it": reported()}, id="2", diagnostics=to_data(lost), exit_status=1)
    found = compare(document({"test_it": reported()}), new)
    assert [one for one in found.differences if "fail" in one] == [
        "the newer run failed: 1 model of 2 lacks a test [TRT686]"
    ]


def test_newer_run_that_was_interrupted_is_named() -> None:
    tests = {"test_it": reported(), "test_b": None}
    new = document(tests, id="2", interrupted=True, stopped="stopping after 1 failures")
    (line,) = compare(document({"test_it": reported(), "test_b": reported()}), new).differences
    assert line.endswith("did not run all tests: stopping after 1 failures")


def test_reports_in_the_wrong_order_are_named() -> None:
    old = document({"test_it": reported()}, started="2026-11-04T10:00:00+00:00", started_s=1.0)
    new = document({"test_it": reported()}, id="2")
    assert not any("newer one" in line for line in compare(old, new).differences)
    assert "the first report is the newer one" in compare(new, old).differences[0]


def compared_with(*names: str, **of: Any) -> Document:
    made = document({"test_it": reported(checks=(check(),))}, **of)
    made["tests"][0]["compared_with"] = list(names)
    return made


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (("model", "stored", "drift"), ()),
        (
            ("model",),
            (
                "compared with less: stored answers and the model's reference before, "
                "the model's reference only now",
                "no longer checked: growth of the error (drift=)",
            ),
        ),
        (("model", "stored"), ("no longer checked: growth of the error (drift=)",)),
    ],
)
def test_weaker_comparison_is_worse(names: tuple[str, ...], lines: tuple[str, ...]) -> None:
    old = compared_with("model", "stored", "drift")
    (found,) = compare(old, compared_with(*names, id="2")).tests
    assert [one.lines for one in found.findings] == ([lines] if lines else [])
    assert found.direction is (Direction.WORSE if lines else Direction.SAME)


def test_check_or_metric_that_is_no_longer_made_is_worse() -> None:
    metric = MetricOutcome("iou", "boxes", "", ">=", 0.9, 0.95)
    old = document({"test_it": reported(checks=(check(metrics=(metric,)),))})
    old["tests"][0]["checks"] = ["consistency", "benchmark"]
    new = document({"test_it": reported(checks=(check(),))}, id="2")
    (found,) = compare(old, new).of(Direction.WORSE)
    assert found.findings[-1].lines == ("no longer checked: trt_benchmark, iou of boxes",)


def test_test_that_passes_by_a_looser_tolerance_is_not_better() -> None:
    off = replace(off_by(0.02).record.checks[0], verdict=Verdict.FAILED)
    for atol, direction in ((0.1, Direction.CHANGED), (0.01, Direction.BETTER)):
        now = off_by(0.02 if atol > 0.01 else 0.002, atol=atol)
        (found,) = pair(reported("failed", "it is off", checks=(off,)), now).tests
        assert found.direction is direction
        assert ("by a looser tolerance" in title(found)) == (direction is Direction.CHANGED)
    assert only(pair(off_by(0.002), off_by(0.002, atol=0.1)), Kind.ERROR, "logits").lines[0] == (
        "its tolerance is looser: atol 0.01 -> 0.1"
    )


def test_looser_tolerance_of_a_test_that_passes_is_worse_and_a_tighter_one_is_shown() -> None:
    loose, tight = off_by(0.002, atol=0.1), off_by(0.002)
    assert pair(tight, loose).tests[0].direction is Direction.WORSE
    assert pair(loose, tight).tests[0].direction is Direction.CHANGED


@pytest.mark.parametrize(
    ("then", "now", "looser"),
    [
        ({"topk": (5, 0.9)}, {"topk": (5, 0.8)}, "topk (5, 0.9) -> (5, 0.8)"),
        ({"topk": (1, 0.9)}, {"topk": (5, 0.9)}, "topk (1, 0.9) -> (5, 0.9)"),
        ({"topk": (5, 0.9)}, {}, "topk (5, 0.9) -> None"),
        ({"topk": (5, 0.9)}, {"topk": (1, 0.9)}, ""),
        ({}, {"topk": (5, 0.9)}, ""),
        ({"top1": 0.9}, {"top1": 0.9, "elementwise": False}, "elementwise True -> False"),
    ],
)
def test_each_argument_that_allows_more_is_looser(then: Any, now: Any, looser: str) -> None:
    found = only(pair(off_by(0.002, **then), off_by(0.002, **now)), Kind.ERROR, "logits")
    assert found.direction is (Direction.WORSE if looser else Direction.CHANGED)
    how = f"its tolerance is looser: {looser}" if looser else "its tolerance changed"
    assert found.lines[0] == how


def test_output_that_is_no_longer_compared_is_worse_and_a_new_one_is_shown() -> None:
    both, one = off_by(0.002, names=("logits", "probs")), off_by(0.002)
    lost, added = pair(both, one), pair(one, both)
    assert lost.tests[0].direction is Direction.WORSE
    assert only(lost, Kind.ERROR, "probs").lines == ("no longer compared",)
    assert added.tests[0].direction is Direction.CHANGED
    assert only(added, Kind.ERROR, "probs").lines == ("new output",)
    failed = replace(both.record.checks[0], verdict=Verdict.FAILED)
    (found,) = pair(reported("failed", "it is off", checks=(failed,)), one).tests
    assert found.direction is Direction.CHANGED


def test_output_that_only_has_another_name_is_still_compared() -> None:
    """As those that an exporter numbers, each time by other numbers."""
    old, new = off_by(0.002, names=("12", "probs")), off_by(0.002, names=("14", "probs"))
    assert pair(old, new).tests[0].direction is Direction.CHANGED
    assert only(pair(old, new), Kind.ERROR, "14").lines == ("before named 12",)
    looser = off_by(0.002, atol=0.02, names=("14", "probs"))
    assert pair(old, looser).tests[0].direction is Direction.WORSE
    worse = off_by(0.009, names=("14", "probs"))
    assert pair(old, worse).tests[0].direction is Direction.WORSE
    assert pair(old, off_by(0.002, names=("14",))).tests[0].direction is Direction.WORSE


def test_looser_tolerance_is_not_accepted_with_a_larger_error() -> None:
    new = off_by(0.02, atol=0.1)
    accepted = {"sm86 fp16": {"logits": 0.02}}
    record = replace(new.record, accepted=accepted, accepted_reason="TensorRT 10.16")
    (found,) = pair(off_by(0.002), PhaseOutcomes(new.phases, record)).tests
    assert found.direction is Direction.WORSE


@pytest.mark.parametrize(
    ("name", "direction"), [("p99_ms", "worse"), ("min_throughput", "changed")]
)
def test_looser_limit_of_a_figure_is_worse(name: Any, direction: str) -> None:
    old, new = (
        reported(speeds=(speed(limits=(AbsoluteLimitResult(name, one, 5, "passed", 0, 9),)),))
        for one in (1.0, 2.0)
    )
    assert pair(old, new).tests[0].direction.value == direction


@pytest.mark.parametrize(("factor", "direction"), [(1.1, "worse"), (1.5, "same")])
def test_looser_faster_than_is_worse(factor: float, direction: str) -> None:
    old, new = (
        reported(speeds=(speed(speedups=(replace(speedup(), factor=one),)),))
        for one in (1.5, factor)
    )
    assert pair(old, new).tests[0].direction.value == direction


def test_limit_of_a_metric_that_is_looser_is_worse_and_a_tighter_one_is_shown() -> None:
    old, new = (
        reported(checks=(check(metrics=(MetricOutcome("iou", "", "", ">=", bound, 0.95),)),))
        for bound in (0.9, 0.8)
    )
    (found,) = pair(old, new).tests
    assert found.findings[-1].lines == ("the limit of iou is looser: 0.9 -> 0.8",)
    assert found.direction is Direction.WORSE
    (found,) = pair(new, old).tests
    assert found.findings[-1].lines == ("the limit of iou is tighter: 0.8 -> 0.9",)
    assert found.direction is Direction.CHANGED


@pytest.mark.parametrize(
    ("drift", "lines", "direction"),
    [
        (300.0, ("the limit of growth of the error (drift=) is looser: 3 -> 300",), "worse"),
        (2.0, ("the limit of growth of the error (drift=) is tighter: 3 -> 2",), "changed"),
        (None, (), "same"),
    ],
)
def test_looser_drift_is_worse(drift: float | None, lines: tuple[str, ...], direction: str) -> None:
    old, new = compared_with("stored", "drift"), compared_with("stored", "drift", id="2")
    old["tests"][0]["drift"], new["tests"][0]["drift"] = 3.0, drift
    (found,) = compare(old, new).tests
    assert sum((one.lines for one in found.findings), ()) == lines
    assert found.direction.value == direction


def test_errors_are_compared_by_what_both_runs_compared_with() -> None:
    def both(model: float, stored: float) -> PhaseOutcomes:
        of = {"model": model, "stored": stored}
        checks = [
            replace(off_by(error).record.checks[0], against=against)
            for against, error in of.items()
        ]
        return reported(checks=tuple(checks))

    # The worse of the two is another one now.
    (found,) = pair(both(0.004, 0.003), both(0.003, 0.004)).tests
    assert found.direction is Direction.SAME
    (found,) = pair(both(0.008, 0.002), both(0.008, 0.006)).tests
    (worse,) = (one for one in found.findings if one.direction is Direction.WORSE)
    assert cells(worse)[0] == "error of logits against stored answers"
    (found,) = pair(both(0.004, 0.004), off_by(0.004)).tests
    assert found.direction is Direction.SAME


def with_engine(one: EngineRecord, **of: Any) -> Document:
    made = document({"test_it": reported()}, **of)
    facts = {name: value for name, value in to_data(one).items() if name in made["engines"][KEY]}
    return {**made, "engines": {KEY: facts}}


def engines(**now: Any) -> Comparison:
    old = engine(
        layers=2,
        device_memory_bytes=1000,
        layer_rows=(("Conv", "half", "conv1", "relu1"), ("Gemm", "half", "linear")),
    )
    return compare(with_engine(old), with_engine(replace(old, **now), id="2"))


def test_engines_are_held_against_each_other_once() -> None:
    rows = (("Conv", "half", "conv1"), ("Relu", "half", "relu1"), ("Gemm", "float", "linear"))
    found = engines(size_bytes=68_000, device_memory_bytes=1000, layers=3, layer_rows=rows)
    (one,) = found.engines
    assert (one.engine, one.direction) == ("digits.onnx fp16 sm86", Direction.CHANGED)
    assert only(found, Kind.SIZE).change == pytest.approx(1.0)
    assert only(found, Kind.MEMORY).direction is Direction.SAME
    layers = only(found, Kind.LAYERS)
    assert (layers.before, layers.now) == (2, 3)
    assert [line.partition(":")[0] for line in layers.lines] == ["split", "precision"]
    assert found.tests[0].direction is Direction.SAME


def test_layers_that_are_not_stored_are_compared_by_kind_with_a_note() -> None:
    old = engine(layers=1204, layer_kinds={"Conv (half)": 1000, "Relu": 204})
    new = replace(old, layers=1201, layer_kinds={"Conv (half)": 999, "Relu": 202})
    layers = only(compare(with_engine(old), with_engine(new, id="2")), Kind.LAYERS)
    assert layers.lines[:2] == ("Relu: 204 -> 202", "Conv (half): 1000 -> 999")
    assert "do not hold all layers: `pytest-trt inspect --layers`" in layers.lines[2]
    # Older reports have no kinds.
    unknown = [replace(one, layer_kinds={}) for one in (old, new)]
    found = compare(with_engine(unknown[0]), with_engine(unknown[1], id="2"))
    assert only(found, Kind.LAYERS).lines == layers.lines[2:]
    same = only(compare(with_engine(old), with_engine(old, id="2")), Kind.LAYERS)
    assert (same.direction, same.lines) == (Direction.SAME, ())


def test_engine_that_is_the_same_is_the_same() -> None:
    (one,) = engines().engines
    assert {finding.direction for finding in one.findings} == {Direction.SAME}


def test_what_runs_were_made_with_is_reported_where_it_differs() -> None:
    def target(toolchain: str, driver: str) -> dict[str, Any]:
        gpu = {"name": "A10", "driver": driver}
        return {"target": "sm86 (A10)", "toolchain": toolchain, "gpu": gpu}

    old = document({"test_it": reported()}, targets=[target("TensorRT 10.16.1", "570.1")])
    new = document(
        {"test_it": reported()},
        id="2",
        commit="d" * 40,
        targets=[target("TensorRT 11.4.0", "580.2")],
    )
    assert compare(old, new).differences == (
        "toolchain TensorRT 10.16.1 -> TensorRT 11.4.0",
        "driver 570.1 -> 580.2",
        f"commit {'c' * 12} -> {'d' * 12}",
    )


def test_what_only_one_run_reports_is_no_difference_but_for_packages() -> None:
    versions = {"pytest-trt": "1.0", "python": "3.11.7"}
    old = document({"test_it": reported()}, commit=None)
    new = document({"test_it": reported()}, id="2", versions={**versions, "tensorrt": "11.4.0"})
    assert compare(old, new).differences == ("tensorrt not installed -> 11.4.0",)
    assert compare(new, old).differences == ("tensorrt 11.4.0 -> not installed",)


def test_tests_that_one_run_alone_has_are_named() -> None:
    old = document({"test_a": reported(), "test_b[x]": skipped("later")})
    new = document({"test_a": reported(), "test_b[y]": reported()}, id="2")
    found = compare(old, new)
    assert found.removed == ("test_it.py::test_b[x] on sm86",)
    assert found.added == ("test_it.py::test_b[y] on sm86",)
    assert len(found.tests) == 1


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (reported("failed", "it is off"), "failed"),
        (PhaseOutcomes({"setup": Phase("failed", 0.1, "it is off", "it is off")}, None), "error"),
    ],
    ids=["failed", "error"],
)
def test_new_test_that_failed_is_worse(now: PhaseOutcomes, status: str) -> None:
    new = document({"test_a": reported(), "test_b": now}, id="2")
    found = compare(document({"test_a": reported()}), new)
    (worse,) = found.of(Direction.WORSE)
    assert title(worse).endswith(f"missing -> {status}")
    assert (worse.why, found.added) == ("it is off", ())


def test_runs_of_one_device_each_are_compared_with_a_note() -> None:
    old, new = document({"test_it": timed(1.0)}), document({"test_it": timed(2.0)}, arch="sm120")
    found = compare(old, new)
    assert found.tests[0].where == "digits.onnx fp16 sm86 -> sm120"
    assert any("the devices differ" in line for line in found.differences)
    assert only(found, Kind.SPEED, "p50").direction is Direction.WORSE


def test_test_that_came_to_no_engine_is_compared() -> None:
    refused = document({"test_it": None}, id="2")
    (found,) = compare(document({"test_it": reported()}), refused).tests
    assert (found.was, found.status, found.where) == ("passed", "not run", "digits.onnx fp16 sm86")


def merged(*names: str, ids: Sequence[str] = ("1",)) -> Document:
    return document({name: reported() for name in names}, id=ids[0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (merged("test_a"), merged("test_a"), "are reports of the same run"),
        (merged("test_a[x]"), merged("test_b[y]", ids=("2",)), "have no test in common"),
        (merged(), merged("test_b", ids=("2",)), "none and test_it.py::test_b on sm86"),
    ],
)
def test_what_cannot_be_compared_is_an_error(old: Document, new: Document, message: str) -> None:
    with pytest.raises(ReportError, match=message) as found:
        compare(old, new)
    assert found.value.fix


def test_empty_run_has_no_test_in_common() -> None:
    empty = make_document(run(id="3"), {}, {}, {}, ())
    with pytest.raises(ReportError, match="no test in common"):
        compare(empty, merged("test_a"))


def test_comparison_is_json() -> None:
    found = pair(timed(1.0), timed(1.5, seed=1)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["counts"]["worse"] == 1


def test_metrics_of_both_runs_are_shown_where_the_status_changed() -> None:
    def measured(value: float | None, outcome: str) -> Any:
        metric = MetricOutcome("iou", "boxes", "", ">=", 0.9, value, failed_runs=int(value != 0.95))
        task = TaskMetricResult("accuracy", 0.98, "1%", Verdict.PASSED, engine().key)
        return reported(outcome, checks=(check(metrics=(metric,)),), task_metrics=(task,))

    for value in (0.8, None):
        found = pair(measured(0.95, "passed"), measured(value, "failed"))
        metric = only(found, Kind.METRIC, "iou of boxes")
        assert (metric.before, metric.now) == (0.95, value)
        assert only(found, Kind.METRIC, "accuracy").before == 0.98
        assert metric in findings_of(found.tests[0], everything=False)
        assert cells(metric)[:3] == ("iou of boxes", "0.95", "" if value is None else "0.8")


@pytest.mark.parametrize(
    ("ratio", "mode", "direction"),
    [
        (1.9, "graph", Direction.SAME),
        (1.75, "graph", Direction.SAME),  # within both intervals
        (1.5, "graph", Direction.WORSE),
        (2.4, "graph", Direction.BETTER),
        (1.5, "end_to_end", Direction.SAME),
        (1.1, "end_to_end", Direction.WORSE),
    ],
)
def test_speedups_follow_their_bounds(ratio: float, mode: str, direction: Direction) -> None:
    old, new = (
        reported(speeds=(speed(mode=mode, speedups=(speedup(ratio=one, mode=mode),)),))
        for one in (1.9, ratio)
    )
    found = only(pair(old, new), Kind.SPEEDUP, "fp32")
    assert found.direction is direction
    assert (found.before, found.now) == (1.9, ratio)
    assert found.least < found.change < found.most
    label, before, now, *_ = cells(found)
    assert (label, before, now) == ("speed relative to fp32", "1.9x", f"{ratio:g}x")


def test_speedups_of_another_mode_or_engine_are_not_compared_in_silence() -> None:
    old = reported(speeds=(speed(speedups=(speedup(), speedup(opponent="gone"))),))
    for other, line in (
        ({"mode": "enqueue"}, "not compared: mode"),
        ({"ran": "x"}, "fp32: digits"),
    ):
        new = reported(speeds=(speed(speedups=(speedup(**other),)),))
        found = only(pair(old, new), Kind.SPEEDUP, "fp32")
        assert any(one.startswith(line) for one in found.lines)


def accepting(ms: float, recorded: str, reason: str, **of: Any) -> PhaseOutcomes:
    return timed(ms, recorded=recorded, accepted_reason=reason, **of)


OLD, NEW = "2026-11-01T00:00:00+00:00", "2026-11-06T00:00:00+00:00"


@pytest.mark.parametrize(
    ("now", "direction"),
    [
        ((NEW, "TensorRT 10.16", "passed"), Direction.CHANGED),
        ((NEW, "", "passed"), Direction.WORSE),
        ((NEW, "TensorRT 10.16", "inconclusive"), Direction.WORSE),
        # It was accepted before the older run, which was faster nevertheless.
        ((OLD, "TensorRT 10.13", "passed"), Direction.WORSE),
    ],
)
def test_speed_that_was_accepted_with_a_reason_is_not_worse(now, direction: Direction) -> None:
    recorded, reason, verdict = now
    old = accepting(1.0, OLD, "TensorRT 10.13")
    found = pair(old, accepting(1.5, recorded, reason, verdict=verdict, seed=1))
    p50 = only(found, Kind.SPEED, "p50")
    assert p50.direction is direction
    assert (p50.lines == (f"accepted: {reason}",)) == (direction is Direction.CHANGED)


@pytest.mark.parametrize(
    ("reason", "error", "direction"),
    [
        ("TensorRT 10.16", 0.006, Direction.CHANGED),
        ("TensorRT 10.16", 0.003, Direction.WORSE),  # less was accepted
        ("", 0.006, Direction.WORSE),
    ],
)
def test_error_up_to_the_accepted_one_is_not_worse(
    reason: str, error: float, direction: Direction
) -> None:
    def stored(now: float, most: float, why: str) -> PhaseOutcomes:
        found = off_by(now)
        record = replace(
            found.record, accepted={"sm86 fp16": {"logits": most}}, accepted_reason=why
        )
        return PhaseOutcomes(found.phases, record)

    old, new = stored(0.002, 0.002, "first"), stored(0.006, error, reason)
    found = only(pair(old, new), Kind.ERROR, "logits")
    assert found.direction is direction
    assert (found.lines[-1] == f"accepted: {reason}") == (direction is Direction.CHANGED)
    # The same was stored before the older run: it was not accepted since.
    old = stored(0.002, error, reason)
    assert only(pair(old, new), Kind.ERROR, "logits").direction is Direction.WORSE
