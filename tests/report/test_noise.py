from __future__ import annotations

from pytest_trt.benchmark.result import CalibratedMetric, CalibrationResult
from pytest_trt.report.noise import noise_lines

NOISE = CalibrationResult(
    6,
    0.00041,
    24,
    (
        CalibratedMetric("p50", 0.0012, 0.05, ((0.0641, 2800), (0.0601, 11200)), (0.0721, 7000)),
        CalibratedMetric("throughput", 0.00098, 0.05, ((-0.0601, 11200),), (-0.071, 7000)),
        CalibratedMetric("p99", None, 0.1),
    ),
)


def test_table() -> None:
    assert list(noise_lines("test_it.py::test_speed[fp16]", NOISE)) == [
        "noise  test_it.py::test_speed[fp16]: 6 processes, placement 0.041%",
        "  smallest change that is detected in 9 of 10 cases, in a run of 24 checks:",
        "              run to run  limit  interleaved  calls   fresh runs  calls",
        "  P50         0.12%       +5%    +6.0%        11,200  +7.2%       7,000",
        "  throughput  0.098%      -5%    -6.0%        11,200  -7.1%       7,000",
        "  P99         -           +10%",
        "  not measured: P99, rounds are too short for it",
    ]


def test_table_of_an_engine_that_differs_wildly_fits_a_terminal() -> None:
    row = CalibratedMetric(
        "throughput", 1.3, 0.025, ((128_341.4, 1_120_000),), (128_341.4, 1_120_000)
    )
    lines = list(noise_lines("test_it.py::test_speed", CalibrationResult(6, 0.4, 24, (row,))))
    assert lines[0].endswith(" placement 40%")
    cells = ["throughput", "130%", "-2.5%", ">+999%", "1,120,000", ">+999%", "1,120,000"]
    assert lines[-1].split() == cells
    assert max(map(len, lines)) <= 80
