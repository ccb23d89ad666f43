"""The pipeline from recorded rounds to results: rounds, load and baselines are data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quiet_host import OVERLOADED

from pytest_trt.baseline.location import BaselineFolder, BaselineLocation
from pytest_trt.baseline.staged import write_staged
from pytest_trt.benchmark.evidence import BenchmarkSettings, Interleave, Subject
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.benchmark.pipeline import Pipeline
from pytest_trt.benchmark.recorded_source import RecordedSource
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.statistics.limits import resolve_limits
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import Verdict

SUBJECT = Subject(
    test="test_it.py::test_sum",
    name="test_sum",
    arch="cpu",
    toolchain="Python 3",
    mode="end_to_end",
    batch=1,
    spec={"timer": "clock", "batch": "1"},
)


class Bench:
    """One test that is measured again and again.

    Attributes:
        settings: Options of the next run.
        marker: Limits of the test, parsed.
        load: What the host does for others.
        call_s: Seconds of each call.
        calls: How many calls are made.
        subject: What is timed.
    """

    def __init__(self, folder: Path) -> None:
        self.settings = BenchmarkSettings()
        self.marker: dict[str, float | None] = {"p50": 0.05}
        self.load = HostLoad()
        self.call_s, self.calls, self.subject = 1e-3, 1500, SUBJECT
        self.disturbed_by: str | None = None
        self.opponents: list[Opponent] = []
        self._location = BaselineLocation.of(
            BaselineFolder(folder / "trt_baselines", folder),
            folder / "test_it.py",
            "test_sum",
            {"arch": "cpu"},
            rootdir=folder,
        )

    def run(self, **options: Any) -> BenchmarkResult:
        """Measure once, with some options changed, and store what is to be stored."""
        settings = replace(self.settings, **options)
        machine: Any = None  # without an engine there are no layers to look up
        source = RecordedSource(
            machine,
            self.subject,
            settings,
            seconds=[self.call_s] * self.calls,
            averaged=1,
            load=self.load,
            conditions={},
            environment={},
            disturbed_by=self.disturbed_by,
        )
        limits = resolve_limits(self.marker, {})
        result = Pipeline(source, limits, settings, self._location, self.opponents).run()
        if result.update and result.staged:
            write_staged([result.staged])
        return result


class Opponent:
    """An engine that takes a multiple of the time of the one under test, give or take a share."""

    name, ran, mode = "fp32", "digits.onnx, fp32, cpu, ONNX Runtime 1", "end_to_end"

    def __init__(self, multiple: float, spread: float = 0.01) -> None:
        self._multiple, self._spread = multiple, spread
        self.pairs: list[tuple[Rounds, Rounds]] = []

    @contextmanager
    def interleaving(self) -> Iterator[Interleave]:
        yield self._interleaved

    def _interleaved(self, rounds: int) -> tuple[Rounds, Rounds]:
        apart = self._spread * np.resize([1.0, -1.0], rounds)
        base, candidate = np.log(self._multiple) + apart, -apart
        self.pairs.append((Rounds({"p50": base}, 70), Rounds({"p50": candidate}, 70)))
        return self.pairs[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def recorded(bench: Bench) -> Bench:
    """A test with a baseline."""
    assert bench.run().update == "first"
    return bench


def codes(result: BenchmarkResult) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in result.diagnostics]


def test_first_run_records(bench) -> None:
    result = bench.run()
    assert (result.kind, result.update, result.failed) == ("recorded", "first", False)
    assert result.p50_ms == pytest.approx(1.0)
    assert result.throughput == pytest.approx(1000)
    assert codes(result) == []


def test_same_speed_passes(recorded) -> None:
    recorded.call_s *= 0.5  # by the host's clock, only what is clearly within a limit passes
    result = recorded.run()
    assert (result.kind, result.verdict, result.failed) == ("compared", Verdict.PASSED, False)
    assert result.baseline["p50_ms"] == pytest.approx(1.0)
    assert result.update == ""


def test_much_slower_is_a_regression(recorded) -> None:
    recorded.call_s *= 30
    result = recorded.run()
    assert (result.verdict, codes(result)) == (Verdict.REGRESSED, [("TRT501", "error")])
    (found,) = result.diagnostics
    assert found.message == "P50 +2,900% over the baseline, limit 5% (test_sum, cpu)"


@pytest.mark.parametrize(("strict", "severity"), [(False, "warning"), (True, "error")])
def test_much_slower_on_an_overloaded_host_is_inconclusive(recorded, strict, severity) -> None:
    recorded.call_s *= 30
    recorded.load = OVERLOADED
    result = recorded.run(strict=strict)
    assert (result.verdict, codes(result)) == (Verdict.INCONCLUSIVE, [("TRT505", severity)])
    assert result.failed == strict


@pytest.mark.parametrize(
    ("call_s", "noted"),
    [(1e-3, False), (0.8e-3, False), (0.4e-3, True), (1e-15, True)],
    ids=["equal", "what the host explains", "faster", "swapped units"],
)
@pytest.mark.parametrize(("metric", "limit"), [("p50", 0.05), ("throughput", 0.05)])
def test_baseline_that_allows_more_than_its_limit_is_noted(
    bench, metric, limit, call_s, noted
) -> None:
    bench.marker = {metric: limit}
    assert bench.run().update == "first"
    bench.call_s = call_s
    result = bench.run()
    assert result.verdict == Verdict.PASSED
    assert ("TRT520", "note") in codes(result) or not noted
    assert noted or codes(result) == []
    assert "TRT520" not in [one.code for one in bench.run(update=True).diagnostics]


@pytest.mark.parametrize(
    ("name", "limit", "code"),
    [("p50_ms", 1e3, None), ("p50_ms", 1e-3, "TRT502"), ("min_throughput", 1e12, "TRT502")],
)
def test_absolute_limit_needs_no_baseline(bench, name, limit, code) -> None:
    bench.marker = {name: limit}
    result = bench.run(missing_baseline="fail")
    assert result.verdict == (Verdict.FAILED if code else Verdict.PASSED)
    assert [one.code for one in result.diagnostics] == ([code] if code else [])


def test_missing_baseline_fails_or_skips_where_that_is_set(bench) -> None:
    result = bench.run(missing_baseline="fail", missing_reason="CI is set")
    assert (result.verdict, codes(result)) == (Verdict.NOT_MEASURED, [("TRT660", "error")])
    assert "CI is set" in result.diagnostics[0].details
    skipped = bench.run(missing_baseline="skip")
    assert "--trt-missing-baseline=skip" in skipped.skipped


@pytest.mark.parametrize(("limit_ms", "verdict"), [(1e3, Verdict.PASSED), (1e-3, Verdict.FAILED)])
def test_limit_without_its_baseline_is_not_passed_because_others_need_none(
    bench, limit_ms, verdict
) -> None:
    bench.marker = {"p50": 0.05, "p50_ms": limit_ms}
    result = bench.run(missing_baseline="skip")
    assert result.verdict == verdict
    assert ("no baseline in" in result.skipped) == (verdict == Verdict.PASSED)


def test_other_spec_is_not_comparable(recorded) -> None:
    recorded.subject = replace(SUBJECT, spec={**SUBJECT.spec, "batch": "2"})
    result = recorded.run()
    assert (result.verdict, codes(result)) == (Verdict.NOT_COMPARABLE, [("TRT661", "error")])
    assert recorded.run(update=True).update == "replaced"


def test_slower_speed_is_accepted_with_a_reason_alone(recorded) -> None:
    recorded.call_s *= 3
    result = recorded.run(update=True)
    assert (result.update, codes(result)) == ("", [("TRT662", "error")])
    result = recorded.run(update=True, update_reason="more work")
    assert (result.update, result.failed) == ("replaced", False)


@pytest.mark.parametrize(("times", "code"), [(3.0, "TRT662"), (0.5, None)])
def test_slower_than_on_an_overloaded_host_needs_a_reason_too(bench, times, code) -> None:
    bench.load = OVERLOADED
    assert codes(bench.run(update=True)) == [("TRT664", "warning")]
    bench.load = HostLoad()
    bench.call_s *= times
    result = bench.run(update=True)
    assert (result.update, codes(result)) == (("", [(code, "error")]) if code else ("replaced", []))
    assert bench.run(update=True, update_reason="twice the classes").update


def test_update_on_an_overloaded_host_takes_insistence(recorded) -> None:
    recorded.load = OVERLOADED
    result = recorded.run(update=True)
    assert (result.kind, result.update, codes(result)) == ("disturbed", "", [("TRT663", "error")])
    result = recorded.run(update=True, update_anyway=True)
    assert result.update == "added" or result.update == "replaced"
    assert codes(result) == [("TRT664", "warning")]


def test_too_few_calls_are_inconclusive(bench) -> None:
    bench.calls = 1
    result = bench.run()
    assert (result.verdict, codes(result)) == (Verdict.INCONCLUSIVE, [("TRT512", "warning")])
    assert "made 1 round, too few" in result.diagnostics[0].message
    assert bench.run(strict=True).failed


@pytest.mark.parametrize("requested", ["update", "calibrate"])
def test_rounds_that_show_nothing_fail_where_they_were_to_be_recorded(recorded, requested) -> None:
    options = {requested: True}
    recorded.disturbed_by = "the GPU is throttled"
    assert recorded.run(**options).failed
    recorded.calls, recorded.disturbed_by = 1, None
    result = recorded.run(**options)
    assert (result.failed, result.update) == (True, "")
    recorded.marker = {"p50_ms": 1.0, **dict.fromkeys(("p50", "p95", "p99", "throughput"))}
    assert not recorded.run(**options).failed


def test_disturbed_device_fails_only_where_that_is_strict(recorded) -> None:
    recorded.disturbed_by = "the GPU is throttled"
    recorded.call_s *= 30
    assert codes(recorded.run()) == [("TRT730", "warning")]
    assert recorded.run(strict=True).failed
    assert codes(recorded.run(update=True)) == [("TRT663", "error")]


def test_explicit_limit_that_rounds_cannot_show_is_an_error(bench) -> None:
    bench.calls, bench.marker = 100, {"p99": 0.1}
    assert codes(bench.run()) == [("TRT508", "error")]


def test_default_limits_that_rounds_cannot_show_are_noted(bench) -> None:
    bench.calls, bench.marker = 100, {}
    result = bench.run()
    assert (result.failed, codes(result)) == (False, [("TRT509", "note")])


#: What is required of an engine in the tests below, and of nothing else.
FASTER = {"faster_than.fp32": 1.5}


@pytest.mark.parametrize(
    ("multiple", "spread", "verdict", "found"),
    [
        (1.9, 0.01, Verdict.PASSED, []),
        (1.2, 0.01, Verdict.FAILED, [("TRT517", "error")]),
        (1.5, 0.05, Verdict.INCONCLUSIVE, [("TRT518", "warning")]),
    ],
)
def test_engine_is_compared_with_its_opponent(bench, multiple, spread, verdict, found) -> None:
    bench.marker, bench.opponents = FASTER, [Opponent(multiple, spread)]
    result = bench.run(missing_baseline="fail")
    assert (result.verdict, codes(result)) == (verdict, found)
    (one,) = result.speedups
    assert one.ratio == pytest.approx(multiple)
    assert one.ran == Opponent.ran
    assert result.staged is None  # no baseline is compared or recorded
    assert one.rounds == (80 if verdict is Verdict.INCONCLUSIVE else 20)


def test_ratio_that_is_too_close_fails_where_that_is_requested(bench) -> None:
    bench.marker, bench.opponents = FASTER, [Opponent(1.5, 0.05)]
    assert codes(bench.run(strict=True)) == [("TRT518", "error")]


def test_load_of_the_host_does_not_excuse_a_slow_engine(bench) -> None:
    bench.marker, bench.opponents = FASTER, [Opponent(1.2)]
    bench.load = OVERLOADED
    assert bench.run().verdict is Verdict.FAILED


def test_baseline_and_opponent_are_limits_of_one_test(bench) -> None:
    bench.marker, bench.opponents = {"p50": 0.05, **FASTER}, [Opponent(1.9)]
    assert bench.run().update == "first"
    bench.call_s *= 0.5
    assert bench.run().verdict is Verdict.PASSED
    bench.opponents = [Opponent(1.2)]
    result = bench.run()
    assert (result.verdict, codes(result)) == (Verdict.FAILED, [("TRT517", "error")])
    assert [one.outcome for one in result.changes] == ["passed"]
