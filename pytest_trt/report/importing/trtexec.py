"""What `trtexec` exports: times of queries, layers, and times of layers.

`--exportTimes` is a list of queries. Each has when its phases started and ended, and how long they
took; TensorRT 7 names copies `in` and `out`, later versions `h2d` and `d2h`. Up to 8.4 it begins
with the queries of the warm-up. `--exportProfile` is a list that begins with `{"count": N}`.
`--exportLayerInfo` is what the engine inspector writes. Names of layers are not escaped, and what
C++ prints for NaN is no JSON.

Source: samples/common/sampleReporting.cpp of NVIDIA/TensorRT, tags 7.2.1 to v11.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pytest_trt.benchmark.rounds import LENGTHS, TimedCalls, subsample_evenly, summarised
from pytest_trt.engine.record import LayerTime
from pytest_trt.records import RecordError
from pytest_trt.statistics.decide import FIRST_ROUNDS
from pytest_trt.statistics.rounds import Rounds

#: How long trtexec warms up; its summary leaves out what started before.
WARM_UP_MS = 200.0

#: More rounds than these are not made.
_MOST_ROUNDS = 4 * FIRST_ROUNDS

#: Digits of the figures in its files: those of C++ streams.
_DIGITS = 6

#: A round's length shows its throughput where it is so many times as long as its last digit.
_FEWEST_STEPS = 100


class Queries(NamedTuple):
    """Queries in the order in which they ran.

    Attributes:
        compute_ms: GPU compute time of each.
        start_ms: When its computation started.
        end_ms: When it ended.
    """

    compute_ms: Sequence[float]
    start_ms: Sequence[float]
    end_ms: Sequence[float]


def is_times(data: object) -> bool:
    """Whether JSON is what `--exportTimes` writes."""
    return isinstance(data, list) and bool(data) and _has(data[0], "computeMs")


def is_profile(data: object) -> bool:
    """Whether JSON is what `--exportProfile` writes."""
    return isinstance(data, list) and bool(data) and _has(data[0], "count")


def queries_of(data: Sequence[object], warm_up_ms: float = WARM_UP_MS) -> Queries:
    """Return the queries of a file that `--exportTimes` wrote, without those of the warm-up.

    Raises:
        RecordError: It is damaged, or nothing is left.
    """
    found = Queries([], [], [])
    for index, one in enumerate(data):
        names = ("computeMs", "startComputeMs", "endComputeMs")
        compute_ms, start_ms, end_ms = (_figure(one, name, index) for name in names)
        if not compute_ms > 0:
            raise RecordError(f"expected a positive time, found {compute_ms:g}", index, "computeMs")
        if start_ms >= warm_up_ms:
            found.compute_ms.append(compute_ms)  # type: ignore[attr-defined]
            found.start_ms.append(start_ms)  # type: ignore[attr-defined]
            found.end_ms.append(end_ms)  # type: ignore[attr-defined]
    if not found.compute_ms:
        raise RecordError(f"all of its queries started in the warm-up of {warm_up_ms:g} ms")
    return found


def round_length(calls: int) -> int:
    """Return the longest round of which so many calls make enough to be compared."""
    enough = (length for length in LENGTHS if calls >= FIRST_ROUNDS * length)
    return next(enough, LENGTHS[-1])


def rounds_of(queries: Queries, items_per_query: int) -> Rounds | None:
    """Return queries as rounds of consecutive ones; None where there are too few for one.

    A round has a throughput only where the digits of the file show how long it took.
    """
    calls = round_length(len(queries.compute_ms))
    taken, steps = [], []
    for first in range(0, len(queries.compute_ms) - calls + 1, calls):
        part = slice(first, first + calls)
        start_ms, end_ms = min(queries.start_ms[part]), max(queries.end_ms[part])
        step_ms = 10.0 ** (math.floor(math.log10(max(abs(end_ms), 1e-6))) + 1 - _DIGITS)
        steps.append((end_ms - start_ms) / step_ms)
        latencies = np.asarray(queries.compute_ms[part], np.float64)
        # A length that is not known is replaced: its figure is dropped below.
        wall_ms = end_ms - start_ms if end_ms > start_ms else float(latencies.sum())
        taken.append(TimedCalls(latencies, wall_ms / 1e3))
    if not taken:
        return None
    rounds = summarised(subsample_evenly(taken, _MOST_ROUNDS), items_per_call=items_per_query)
    if min(steps) >= _FEWEST_STEPS:
        return rounds
    logs = dict(rounds.logs)
    del logs["throughput"]
    return Rounds(logs, rounds.calls)


def profile_of(data: Sequence[object]) -> tuple[int, tuple[LayerTime, ...]]:
    """Return the iterations and the layers of a file that `--exportProfile` wrote.

    Shares are computed from the times, as not all versions write them.

    Raises:
        RecordError: It is damaged.
    """
    count = _figure(data[0], "count", 0)
    if not 1 <= count <= 2**53:
        raise RecordError(f"expected a number of iterations, found {count:g}", 0, "count")
    layers = []
    for index, one in enumerate(data[1:], 1):
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(name, str):
            raise RecordError("expected the name of a layer", index, "name")
        has_median = isinstance(one, Mapping) and one.get("medianMs") is not None
        median_ms = _time(one, "medianMs", index) if has_median else None
        layers.append((name, _time(one, "timeMs", index), median_ms))
    whole_ms = sum(total_ms for _, total_ms, _ in layers)
    return int(count), tuple(
        LayerTime(
            name=name,
            average_ms=total_ms / int(count),
            median_ms=median_ms,
            share=total_ms / whole_ms if whole_ms else 0.0,
        )
        for name, total_ms, median_ms in layers
    )


def _has(entry: object, name: str) -> bool:
    return isinstance(entry, Mapping) and name in entry


def _time(entry: object, name: str, index: int) -> float:
    value = _figure(entry, name, index)
    if value < 0:
        raise RecordError(f"expected a time, found {value:g}", index, name)
    return value


def _figure(entry: object, name: str, index: int) -> float:
    value: Any = entry.get(name) if isinstance(entry, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise RecordError("expected a number", index, name)
    return float(value)
