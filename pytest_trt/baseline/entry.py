"""What is stored for one test: how it was measured, and the last processes that were accepted.

People edit and merge these files, so everything is checked when it is read: a metric that is
missing would take its limit with it, and no test would fail for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from statistics import median

from pytest_trt.records import RecordError
from pytest_trt.terms import METRICS, Mode
from pytest_trt.wording import count

#: How many accepted processes are stored: enough to show how much they differ, few enough to
#: review.
MAX_RUNS = 5

#: The fewest calls per round by which a percentile is a metric of the round; those of
#: `statistics.rounds.GROUP_CALLS`, without numpy.
CALLS_NEEDED: Mapping[str, int] = {"p95": 14, "p99": 70}

#: The fewest calls of a round; that of `statistics.rounds`, without numpy.
FEWEST_CALLS = 5

#: How far rounding may set figures apart that were measured together.
_UNLIKE = 1.01

#: Facts of an engine that are counts.
_COUNTS = ("size_bytes", "device_memory_bytes", "layers")


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One accepted process.

    Attributes:
        recorded: When, ISO 8601 in UTC.
        toolchain: What ran the engine: "TensorRT 8.6.0".
        calls: Calls in each round.
        rounds: By metric one number per round, to five significant digits: milliseconds, for
            throughput items per second.
        reason: Why it was accepted, as given with `--trt-update-reason`; empty for none.
        environment: What may change from run to run and explain a difference: driver, clocks.
    """

    recorded: str
    toolchain: str
    calls: int
    rounds: Mapping[str, tuple[float, ...]]
    reason: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_time(self.recorded)
        if self.calls < FEWEST_CALLS:
            raise RecordError(f"expected {FEWEST_CALLS} or more, found {self.calls}", "calls")
        check_rounds(self.rounds, "rounds")
        _check_order(self.rounds)
        rounds = {metric: tuple(map(rounded, values)) for metric, values in self.rounds.items()}
        object.__setattr__(self, "rounds", rounds)
        object.__setattr__(self, "environment", dict(sorted(self.environment.items())))


@dataclass(frozen=True, slots=True)
class StoredNoise:
    """How much runs of the engine differ, as measured by `--trt-calibrate`.

    All are standard deviations of natural logarithms, to two significant digits, as a few
    processes give no more: 0.01 is about 1%.

    Attributes:
        recorded: When, ISO 8601 in UTC.
        processes: How many processes were measured.
        placement: Between two sessions of one process.
        between_runs: Between processes, by metric.
    """

    recorded: str
    processes: int
    placement: float
    between_runs: Mapping[str, float]

    def __post_init__(self) -> None:
        check_time(self.recorded)
        _check_number(self.placement, "placement", or_zero=True)
        for metric, value in self.between_runs.items():
            _check_number(value, "between_runs", metric, or_zero=True)
        between = {metric: rounded(value, 2) for metric, value in self.between_runs.items()}
        object.__setattr__(self, "between_runs", between)
        object.__setattr__(self, "placement", rounded(self.placement, 2))


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored for one test on one target.

    Attributes:
        mode: How it is measured.
        spec: What is measured, by label: model, precision, shapes, options. A baseline is only
            compared with measurements of the same spec.
        engine: Exact facts of the engine: size_bytes, device_memory_bytes, layers; and its key.
        runs: Accepted processes, oldest first.
        noise: How much they differ, where that was calibrated; otherwise it is assumed by mode.
        layers: A row for each layer of the engine: kind, precision, and the model's nodes in it;
            empty where they are unknown, or too many to review.
        accepted: Figures by metric of the last baseline that was accepted with a reason, where
            engines have replaced it without one since: what several small changes add up to is
            compared with these.
    """

    mode: Mode
    spec: Mapping[str, str]
    engine: Mapping[str, int | str]
    runs: tuple[StoredRun, ...]
    noise: StoredNoise | None = None
    layers: tuple[tuple[str, ...], ...] = ()
    accepted: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, fact in self.engine.items():
            if name in _COUNTS and (not isinstance(fact, int) or fact < 0):
                raise RecordError(f"expected a count, found {fact!r}", "engine", name)
        if not self.runs:
            raise RecordError("empty", "runs")
        for index, run in enumerate(self.runs):
            for metric in self._needed(run):
                if metric not in run.rounds:
                    raise RecordError("missing", "runs", index, "rounds", metric)
            self._check_unit(run, "runs", index, "rounds", "p50")
        for index, row in enumerate(self.layers):
            if len(row) < 2:
                raise RecordError("expected a kind and a precision", "layers", index)
        for metric, value in self.accepted.items():
            _check_number(value, "accepted", metric)
        accepted = {metric: rounded(value) for metric, value in self.accepted.items()}
        object.__setattr__(self, "accepted", accepted)

    def _needed(self, run: StoredRun) -> Iterable[str]:
        """Return the metrics that a run must have: all that rounds of its length can give."""
        if "timer" in self.spec and run.rounds.keys() == {"throughput"}:
            return ()  # averages over several calls, timed by pytest-benchmark
        return (metric for metric in METRICS if run.calls >= CALLS_NEEDED.get(metric, 1))

    def _check_unit(self, run: StoredRun, *path: str | int) -> None:
        """Check that times and throughput fit: half of the calls take P50 or longer."""
        batch = self.spec.get("batch", "")
        times, throughputs = run.rounds.get("p50", ()), run.rounds.get("throughput", ())
        if not batch.isdecimal() or not times:
            return
        for p50_ms, throughput in zip(times, throughputs, strict=True):
            if throughput * p50_ms / 1e3 > _UNLIKE * 2 * int(batch):
                raise RecordError(
                    f"expected at most {2e3 * int(batch) / throughput:g} ms, which fits "
                    f"{throughput:g} items per second with {count(int(batch), 'item')} per call, "
                    f"found {p50_ms:g} ms",
                    *path,
                )

    def with_runs(
        self,
        runs: Sequence[StoredRun],
        engine: Mapping[str, int | str],
        layers: tuple[tuple[str, ...], ...] = (),
    ) -> Entry:
        """Return the entry with more accepted processes of the same engine, without the oldest."""
        newest = (*self.runs, *runs)[-MAX_RUNS:]
        return replace(self, runs=newest, engine=engine, layers=layers or self.layers)

    def figure(self, metric: str) -> float | None:
        """Return the median of a metric over all rounds of all runs; None where it has none."""
        values = [value for run in self.runs for value in run.rounds.get(metric, ())]
        return median(values) if values else None

    def figures(self) -> dict[str, float]:
        """Return the median of every metric over all rounds of all runs."""
        metrics = dict.fromkeys(metric for run in self.runs for metric in run.rounds)
        found = {metric: self.figure(metric) for metric in metrics}
        return {metric: value for metric, value in found.items() if value is not None}

    def differs(self, *, mode: str, spec: Mapping[str, str]) -> str | None:
        """Return why figures of this mode and spec cannot be compared with it, or None."""
        if mode != self.mode:
            return f"its mode is {self.mode}, this run has {mode}"
        for label in dict.fromkeys([*self.spec, *spec]):
            stored, given = self.spec.get(label, "none"), spec.get(label, "none")
            if stored != given:
                return f"it has {label} {stored}, this run has {given}"
        return None


def _check_order(rounds: Mapping[str, Sequence[float]]) -> None:
    """Check that a percentile is no less than a smaller one, as where lines of two runs are merged.

    Raises:
        RecordError: One is less.
    """
    names = [metric for metric in ("p50", *CALLS_NEEDED) if metric in rounds]
    for smaller, larger in pairwise(names):
        for index, (least, value) in enumerate(zip(rounds[smaller], rounds[larger], strict=True)):
            if value * _UNLIKE < least:
                raise RecordError(
                    f"expected {least:g} or more, which is {smaller} of the same round, found "
                    f"{value:g}",
                    *("rounds", larger, index),
                )


def check_rounds(rounds: Mapping[str, Sequence[float]], field: str) -> None:
    """Check figures of rounds that anyone may have edited.

    Args:
        rounds: By metric one number per round.
        field: The name of the field, for errors.

    Raises:
        RecordError: A metric is unknown, empty or longer than another one, or a figure is not
            positive; or a tail has no median to which it belongs.
    """
    for metric, values in rounds.items():
        if metric not in METRICS:
            raise RecordError(f"expected one of {', '.join(METRICS)}", field, metric)
        if not values:
            raise RecordError("empty", field, metric)
        for index, value in enumerate(values):
            _check_number(value, field, metric, index)
    counts = {metric: len(values) for metric, values in rounds.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {metric}" for metric, count in counts.items())
        raise RecordError(f"expected as many rounds of every metric, found {listed}", field)
    if counts.keys() & CALLS_NEEDED.keys() and "p50" not in counts:
        raise RecordError("missing", field, "p50")


def rounded(value: float, digits: int = 5) -> float:
    """Return a number with so many significant digits.

    Five are enough for times: replayed CUDA graphs repeat within 0.05%.
    """
    return float(f"{value:.{digits}g}")


def check_time(text: str) -> None:
    """Check when something was recorded.

    Raises:
        RecordError: It is no date and time with its zone.
    """
    try:
        aware = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise RecordError(f"expected a date and time with its zone, found {text!r}", "recorded")


def _check_number(value: float, *path: str | int, or_zero: bool = False) -> None:
    if not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        raise RecordError(f"expected a positive number, found {value}", *path)
