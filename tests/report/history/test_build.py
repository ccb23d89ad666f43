"""Trends over many reports: what is marked, what is not, and what is not joined."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from builders_history import commit, history_of, on_day, stepped
from builders_report import planned, reported, run, skipped, speed, target
from report.comparison.test_compare import off_by, timed

from pytest_trt.report.comparison.findings import Direction, Kind
from pytest_trt.report.document import make_document
from pytest_trt.report.history.build import HistoryBuilder
from pytest_trt.report.history.page import page
from pytest_trt.report.history.trends import Trend
from pytest_trt.report.history.words import summary, uncollected_texts
from pytest_trt.report.merging import merge_documents


def only(history) -> Trend:
    (trend,) = history.trends
    return trend


@pytest.mark.parametrize(("factor", "direction"), [(1.2, "worse"), (0.8, "better")])
def test_planted_change_is_marked_at_its_run_and_nowhere_else(factor: float, direction) -> None:
    trend = only(history_of(*stepped(12, 7, factor)))
    assert trend.direction.value == direction
    marked = {one.finding.name: one for one in trend.changes}
    assert {one.run for one in trend.changes} == {7}
    p50 = marked["p50"]
    assert (p50.since, p50.finding.direction.value) == (6, direction)
    assert p50.finding.change == pytest.approx(factor - 1, abs=0.01)
    assert p50.finding.least < p50.finding.change < p50.finding.most
    assert p50.differences == (f"commit {commit(6)[:12]} -> {commit(7)[:12]}",)


@pytest.mark.parametrize(
    ("tool", "differences"),
    [("", ("torch not installed -> 2.9.0",)), ("trtexec", ())],
    ids=["runs", "imported"],
)
def test_package_that_only_one_run_had_is_named_unless_it_could_not_be_known(
    tool: str, differences: tuple[str, ...]
) -> None:
    reports = stepped(2, 1, commit=None)
    reports[1]["runs"][0]["versions"]["torch"] = "2.9.0"
    reports[0]["tests"][0]["imported_from"] = tool
    assert {one.differences for one in only(history_of(*reports)).changes} == {differences}


def test_change_that_was_taken_back_is_marked_twice_and_is_no_difference_now() -> None:
    reports = [
        on_day(day, {"test_it": timed(1.2 if 3 <= day < 6 else 1.0, seed=day)}) for day in range(9)
    ]
    trend = only(history_of(*reports))
    assert sorted({one.run for one in trend.changes}) == [3, 6]
    assert trend.direction is Direction.CHANGED


@pytest.mark.exhaustive
def test_unchanged_engines_have_no_mark_in_a_long_history() -> None:
    # Processes differ by a third of a percent besides what their rounds do.
    luck = np.random.default_rng(0).normal(scale=0.003, size=(60, 10))
    reports = [
        on_day(
            day,
            {f"test_{n}": timed(float(np.exp(luck[day, n])), seed=10 * day + n) for n in range(10)},
        )
        for day in range(60)
    ]
    history = history_of(*reports)
    assert len(history.trends) == 10
    assert [one for trend in history.trends for one in trend.changes] == []
    assert {trend.direction for trend in history.trends} == {Direction.SAME}


def test_slow_drift_is_a_difference_of_the_newest_run_without_a_mark() -> None:
    drifting = [on_day(day, {"test_it": timed(1.004**day, seed=day)}) for day in range(30)]
    trend = only(history_of(*drifting))
    assert (trend.changes, trend.direction) == ((), Direction.WORSE)


def test_machines_are_never_joined() -> None:
    slow, fast = target("NVIDIA A40"), target("NVIDIA A10")
    reports = [
        on_day(
            day, {"test_it": timed(2.0 if day % 2 else 1.0)}, targets=[slow if day % 2 else fast]
        )
        for day in range(8)
    ]
    history = history_of(*reports)
    assert {trend.place for trend in history.trends} == {"sm86 (NVIDIA A10)", "sm86 (NVIDIA A40)"}
    for trend in history.trends:
        assert (len(trend.points), trend.changes, trend.breaks) == (4, (), ())


def test_hosts_without_a_gpu_are_told_apart_by_their_cpu() -> None:
    def host(cpu: str):
        return {
            **target(),
            "target": "cpu (x86_64)",
            "gpu": None,
            "measured_on": {"arch": "cpu", "machine": "x86_64", "cpu": cpu},
        }

    tests = {"test_it": timed(1.0)}
    hosts = [host("EPYC"), host("Xeon")]
    history = history_of(*(on_day(day, tests, targets=[hosts[day]]) for day in range(2)))
    assert {trend.place for trend in history.trends} == {"cpu, x86_64, EPYC", "cpu, x86_64, Xeon"}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"mode": "enqueue"}, "mode graph -> enqueue"),
        ({"batch": 16}, "batch 8 -> 16"),
        ({"spec": {"shapes": "x [2]"}}, "shapes x [1] -> x [2]"),
    ],
)
def test_another_mode_or_spec_is_a_break_with_its_reason(other, why: str) -> None:
    spec = {"spec": {"shapes": "x [1]"}}
    reports = [
        on_day(
            day, {"test_it": timed(2.0 if day > 2 else 1.0, **(spec | other if day > 2 else spec))}
        )
        for day in range(6)
    ]
    trend = only(history_of(*reports))
    (found,) = trend.breaks
    assert (found.run, found.since, found.kind, found.why) == (3, 2, Kind.SPEED, (why,))
    assert trend.changes == ()
    assert {one.change for one in trend.overall} == {0.0}  # only runs after the break


def test_engine_that_is_so_slow_that_its_rounds_are_shorter_is_a_change() -> None:
    slow = [{"ms": 1.0}] * 3 + [{"ms": 2.0, "calls": 14}] * 3
    trend = only(history_of(*(on_day(d, {"test_it": timed(**of)}) for d, of in enumerate(slow))))
    assert trend.breaks == ()
    assert {(one.run, one.finding.direction) for one in trend.changes} == {(3, Direction.WORSE)}


def test_error_is_marked_and_breaks_where_its_tolerance_changed() -> None:
    grown = [on_day(day, {"test_it": off_by(0.002 if day < 2 else 0.004)}) for day in range(4)]
    trend = only(history_of(*grown))
    (change,) = trend.changes
    assert (change.run, change.finding.kind) == (2, Kind.ERROR)
    assert trend.points[2].error == pytest.approx(0.4)
    other = [on_day(day, {"test_it": off_by(0.002, atol=0.01 / (day + 1))}) for day in range(2)]
    trend = only(history_of(*other))
    assert trend.changes == ()
    assert [(one.kind, one.why) for one in trend.breaks] == [
        (Kind.ERROR, ("logits: its tolerance changed",))
    ]


def test_runs_are_ordered_by_time_whatever_their_files_are_called() -> None:
    history = history_of(*reversed(stepped(6, 3)))
    assert [one.commit for one in history.runs] == [commit(day) for day in range(6)]
    assert [one.file for one in history.runs] == [f"{5 - day}.json" for day in range(6)]
    assert {one.run for one in only(history).changes} == {3}


def test_run_in_two_reports_counts_once_and_the_second_is_named() -> None:
    one, two = (on_day(0, {"test_it": timed(1.0)}, id=name, arch=name) for name in ("sm86", "sm89"))
    merged = merge_documents({"a": one, "b": two}, ())
    history = history_of(one, two, merged, on_day(1, {"test_it": timed(1.0)}))
    assert len(history.runs) == 3
    (left_out,) = history.left_out
    assert (left_out.code, left_out.facts["file"]) == ("TRT910", "2.json")


def test_test_that_came_to_no_engine_is_a_failed_run_of_its_trends() -> None:
    stopped = make_document(
        run(id="last", started_s=2e9, targets=[target()]),
        {"t": planned()},
        {"t": reported("failed", "no memory", engines=())},
        {},
    )
    trend = only(history_of(*stepped(3, 9), stopped))
    assert [point.status for point in trend.points] == ["passed"] * 3 + ["failed"]
    assert trend.points[-1].figures == {}


def failed(day: int, **of):
    return make_document(
        run(id=f"failed {day}", started_s=2e9 + day, targets=[target()]),
        {"t": planned(**of)},
        {"t": reported("failed", "no memory", engines=())},
        {},
    )


def test_test_that_fails_in_the_newest_run_is_worse_and_shows_since_when() -> None:
    trend = only(history_of(*stepped(3, 9), failed(1), failed(2)))
    assert (trend.direction, trend.failing_since) == (Direction.WORSE, 3)
    calm = only(history_of(failed(-(10**9)), *stepped(3, 9)))
    assert (calm.direction, calm.failing_since) == (Direction.SAME, None)


def test_test_that_never_came_to_an_engine_has_a_trend() -> None:
    history = history_of(failed(1), failed(2))
    trend = only(history)
    assert (trend.engine, trend.failing_since, len(trend.points)) == ("", 0, 2)
    assert history.to_dict()["trends"][0]["failing_since"] == 0


def both(model: float, stored: float):
    checks = [
        replace(off_by(error).record.checks[0], against=against)
        for against, error in (("model", model), ("stored", stored))
    ]
    return reported(checks=tuple(checks))


def test_errors_are_joined_by_the_comparison_that_both_runs_made() -> None:
    # Which of two equal errors is the worse one flips between runs.
    equal = [on_day(0, {"test_it": both(0.004, 0.003)}), on_day(1, {"test_it": both(0.003, 0.004)})]
    trend = only(history_of(*equal))
    assert (trend.breaks, trend.changes, trend.direction) == ((), (), Direction.SAME)
    trend = only(history_of(equal[0], on_day(1, {"test_it": off_by(0.008)})))
    assert (trend.breaks, [one.run for one in trend.changes]) == ((), [1])


@pytest.mark.parametrize(
    ("now", "untested"),
    [
        ({"test_b": reported(), "test_it": skipped("no GPU")}, "skipped"),
        ({"test_b": reported(), "test_it": None}, "not run"),
        ({"test_b": reported()}, "missing"),
    ],
)
def test_test_without_a_verdict_in_the_newest_run_is_shown(now, untested: str) -> None:
    both = {"test_b": reported(), "test_it": reported()}
    days = [on_day(0, both), on_day(1, both), on_day(2, now)]
    history = history_of(*days)
    found = {trend.test: (trend.untested, trend.direction) for trend in history.trends}
    assert found == {
        "test_it.py::test_it": (untested, Direction.NO_VERDICT),
        "test_it.py::test_b": ("", Direction.SAME),
    }
    assert summary(history).endswith("1 without a verdict in the newest run, 1 unchanged")
    # A run on another machine does not replace one on this.
    elsewhere = on_day(3, {"test_b": reported()}, targets=[target("NVIDIA A40")])
    found = {trend.untested for trend in history_of(days[0], days[1], elsewhere).trends}
    assert found == {""}


def test_test_that_was_removed_is_shown_once() -> None:
    days = [on_day(0, {"test_b": reported(), "test_it": reported()})]
    days += [on_day(day, {"test_b": reported()}) for day in (1, 2)]
    assert [{one.untested for one in history_of(*days[:n]).trends} for n in (2, 3)] == [
        {"", "missing"},
        {""},
    ]


@pytest.mark.parametrize("targets", [[], [target()]])
def test_newest_run_that_could_not_be_collected_is_shown_with_its_error(targets) -> None:
    errors = {
        "collection_errors": {"test_it.py": "a\nb"},
        "collection_reasons": {"test_it.py": "a"},
    }
    broken = on_day(4, {}, targets=targets, **errors)
    history = history_of(*stepped(4, 9), broken)
    assert only(history).untested == "not collected"
    assert list(uncollected_texts(history)) == [
        f"test_it.py could not be collected at {commit(4)[:8]}, 2026-10-05 03:00: a"
    ]
    assert "could not be collected" in page(history)
    assert "no verdict in the newest run: not collected" in page(history)


def test_newest_run_that_was_killed_is_shown() -> None:
    killed = on_day(4, {}, targets=[], interrupted=True)
    assert only(history_of(*stepped(4, 9), killed)).untested == "the run tested nothing"


def test_history_can_be_asked_for_twice() -> None:
    builder = HistoryBuilder()
    for number, report in enumerate([*stepped(3, 9), failed(1)]):
        builder.add(f"{number}.json", report)
    assert builder.history() == builder.history()


def test_engines_of_one_model_in_one_test_have_a_trend_each() -> None:
    both = [
        on_day(day, {"test_it": reported(speeds=(speed(),), engines=reported().record.engines * 2)})
        for day in range(2)
    ]
    engines = sorted(trend.engine for trend in history_of(*both).trends)
    assert engines == ["digits.onnx fp16", "digits.onnx fp16 (engine 2)"]


def test_history_is_json() -> None:
    found = history_of(*stepped(4, 2)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["counts"]["worse"] == 1
    assert found["trends"][0]["direction"] == "worse"
