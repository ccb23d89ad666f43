"""What `--trt-calibrate` reports of a test: how much it varies, and what it can detect."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt import units
from pytest_trt.benchmark.result import CalibrationResult


def noise_lines(subject: str, noise: CalibrationResult) -> Iterator[str]:
    """Yield the table of one test."""
    yield (
        f"noise  {subject}: {noise.processes} processes, placement {_deviation(noise.placement)}"
    )
    yield f"  smallest change that is detected in 9 of 10 cases, in a run of {noise.checks} checks:"
    rows = [("", "run to run", "limit", "interleaved", "calls", "fresh runs", "calls")]
    for row in noise.rows:
        rows.append(
            (
                units.METRIC_NAMES[row.metric],
                "-" if row.between_runs is None else _deviation(row.between_runs),
                f"{'-' if row.metric == 'throughput' else '+'}{units.percent(row.limit)}",
                *_cells(row.interleaved[-1] if row.interleaved else None),
                *_cells(row.processes),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for cells in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()
    short = [units.METRIC_NAMES[row.metric] for row in noise.rows if row.between_runs is None]
    if short:
        yield f"  not measured: {', '.join(short)}, rounds are too short for it"


def _cells(detected: tuple[float, int] | None) -> tuple[str, str]:
    return ("", "") if detected is None else (units.bound(detected[0]), f"{detected[1]:,}")


def _deviation(share: float) -> str:
    return f"{share * 100:.2g}%" if share < 0.1 else f"{share * 100:,.0f}%"
