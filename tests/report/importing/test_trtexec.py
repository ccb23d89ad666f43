"""Files of trtexec: what is read from each version, and which figures are made of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from builders_trtexec import profile, times

from pytest_trt.backends.tensorrt.inspection import parse_tolerant
from pytest_trt.records import RecordError
from pytest_trt.report.importing.trtexec import (
    Queries,
    is_profile,
    is_times,
    profile_of,
    queries_of,
    rounds_of,
)
from pytest_trt.statistics.rounds import as_figure


def read(path: Path, **of: float) -> Queries:
    data = json.loads(path.read_text())
    assert is_times(data)
    assert not is_profile(data)
    return queries_of(data, **of)


@pytest.mark.parametrize("version", ["7", "8.0", "10"])
def test_times_of_every_version_are_read(version: str, tmp_path: Path) -> None:
    queries = read(times(tmp_path / "t.json", version))
    assert len(queries.compute_ms) == 1400
    assert min(queries.compute_ms) >= 1.5
    assert max(queries.compute_ms) <= 1.53


def test_queries_of_the_warm_up_are_left_out(tmp_path: Path) -> None:
    path = times(tmp_path / "t.json", "8.0", queries=200, start_ms=0.0)
    assert len(read(path, warm_up_ms=0).compute_ms) == 200
    left = read(path)
    assert 90 < len(left.compute_ms) < 105
    assert min(left.start_ms) >= 200
    with pytest.raises(RecordError, match="all of its queries started in the warm-up of 1000 ms"):
        read(path, warm_up_ms=1000)


def test_figures_are_those_of_rounds_and_throughput_counts_gaps(tmp_path: Path) -> None:
    rounds = rounds_of(read(times(tmp_path / "t.json", gap_ms=0.5)), 4)
    assert (rounds.calls, len(rounds)) == (70, 20)
    assert set(rounds.logs) == {"p50", "p95", "p99", "throughput"}
    assert rounds.median("p50") == pytest.approx(1.515, rel=0.01)
    # Four items in about 2 ms; the gap after the last query of a round is in none.
    throughput = as_figure("throughput", float(rounds.logs["throughput"][0]))
    assert throughput == pytest.approx(4 / 2.0155e-3, rel=0.02)


def test_throughput_is_not_made_of_digits_that_the_file_lacks(tmp_path: Path) -> None:
    # After 100 s the last digit is 0.1 ms; seventy calls take 7 ms.
    short = times(tmp_path / "t.json", compute_ms=0.05, gap_ms=0.05, start_ms=1e5)
    assert "throughput" not in rounds_of(read(short), 1).logs
    assert "p99" in rounds_of(read(short), 1).logs
    early = times(tmp_path / "t.json", compute_ms=0.05, gap_ms=0.05)
    assert "throughput" in rounds_of(read(early), 1).logs


def test_few_queries_make_short_rounds_or_none(tmp_path: Path) -> None:
    assert rounds_of(read(times(tmp_path / "t.json", queries=60)), 1).calls == 5
    assert rounds_of(read(times(tmp_path / "t.json", queries=4)), 1) is None


def test_profile_is_read_with_names_and_numbers_that_are_no_json(tmp_path: Path) -> None:
    layers = [("/conv/Conv\t+ relu", "30"), ("__myl_Cast_0", "10"), ("unused", "0")]
    data = parse_tolerant(profile(tmp_path / "p.json", layers).read_text())
    assert is_profile(data)
    iterations, found = profile_of(data)
    assert iterations == 100
    assert [(one.name, one.average_ms, one.median_ms, one.share) for one in found] == [
        ("/conv/Conv\t+ relu", 0.3, 0.02, 0.75),
        ("__myl_Cast_0", 0.1, 0.02, 0.25),
        ("unused", 0.0, None, 0.0),
    ]


def test_profile_of_tensorrt_8_has_no_medians() -> None:
    """As one that its user published: `[{ "count" : 625 }, ...]` without medianMs."""
    entry = {"name": "Conv_0 + PWN(Clip_3)", "timeMs": 41.4, "averageMs": 0.066, "percentage": 1.3}
    _, (layer,) = profile_of([{"count": 625}, entry])
    assert (layer.median_ms, layer.share) == (None, 1.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"count": 0}], r"\[0\]\.count: expected a number of iterations, found 0"),
        ([{"count": 10**400}], r"\[0\]\.count: expected a number"),
        ([{"count": 1}, {"timeMs": 1}], r"\[1\]\.name: expected the name"),
        ([{"count": 1}, {"name": "a", "timeMs": None}], r"\[1\]\.timeMs: expected a number"),
        ([{"count": 1}, {"name": "a", "timeMs": -1}], "expected a time, found -1"),
        ([{"count": 1}, {"name": "a", "timeMs": math.inf}], r"\[1\]\.timeMs: expected a number"),
        (
            [{"count": 1}, {"name": "a", "timeMs": 1, "medianMs": -1}],
            r"\[1\]\.medianMs: expected a time, found -1",
        ),
        ([{"count": 1}, 3], r"\[1\]\.name"),
    ],
)
def test_damaged_profile_is_refused_with_the_place(data, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        profile_of(data)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"computeMs": 0}, "expected a number|expected a positive time"),
        ({"computeMs": 1.0}, r"\[0\]\.startComputeMs: expected a number"),
        ({"computeMs": True}, r"\[0\]\.computeMs: expected a number"),
        ({"computeMs": -1, "startComputeMs": 300, "endComputeMs": 300}, "positive time, found -1"),
    ],
)
def test_damaged_times_are_refused_with_the_place(entry, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        queries_of([entry])
