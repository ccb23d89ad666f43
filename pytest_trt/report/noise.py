"""What `--trt-calibrate` tells of a test: how much it differs by itself, and what it can detect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_trt import units
from pytest_trt.report.speed_text import NAMES, bound


@dataclass(frozen=True, slots=True)
class NoiseRow:
    """One metric.

    Attributes:
        metric: "p50", "throughput", "p95" or "p99".
        between_runs: Standard deviation between processes, as a share; None where rounds are too
            short for the metric.
        limit: The share by which it may be worse.
        turns: By look, the smallest change that taking turns with the baseline engine calls, a
            share of the metric, and the calls of both engines that this takes.
        processes: The same of fresh processes, where the baseline engine is gone.
    """

    metric: str
    between_runs: float | None
    limit: float
    turns: tuple[tuple[float, int], ...] = ()
    processes: tuple[float, int] | None = None


@dataclass(frozen=True, slots=True)
class NoiseRecord:
    """One test.

    Attributes:
        processes: How many processes were measured.
        placement: Standard deviation between two sessions of one process, as a share.
        checks: How many limits the tests of the run have in all.
        rows: Its metrics with a limit.
    """

    processes: int
    placement: float
    checks: int
    rows: tuple[NoiseRow, ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NoiseRecord:
        """Return the record that `dataclasses.asdict` made this data of, through JSON or not."""
        rows = []
        for row in data["rows"]:
            turns = tuple((change, calls) for change, calls in row["turns"])
            alone = row["processes"]
            rows.append(
                NoiseRow(
                    **{
                        **row,
                        "turns": turns,
                        "processes": None if alone is None else (alone[0], alone[1]),
                    }
                )
            )
        return cls(**{**data, "rows": tuple(rows)})


def noise_lines(subject: str, noise: NoiseRecord) -> Iterator[str]:
    """Yield the table of one test.

    Args:
        subject: The test.
        noise: What was found.
    """
    yield (
        f"noise  {subject}: {noise.processes} processes, placement {_deviation(noise.placement)}"
    )
    yield f"  smallest change that is called, in 9 cases of 10, in a run of {noise.checks} checks:"
    rows = [("", "run to run", "limit", "in turns", "calls", "fresh processes", "calls")]
    for row in noise.rows:
        rows.append(
            (
                NAMES[row.metric],
                "-" if row.between_runs is None else _deviation(row.between_runs),
                f"{'-' if row.metric == 'throughput' else '+'}{units.percent(row.limit)}",
                *_cells(row.turns[-1] if row.turns else None),
                *_cells(row.processes),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for cells in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()
    short = [NAMES[row.metric] for row in noise.rows if row.between_runs is None]
    if short:
        yield f"  not testable: {', '.join(short)}, rounds are too short for it"


def _cells(detected: tuple[float, int] | None) -> tuple[str, str]:
    return ("", "") if detected is None else (bound(detected[0]), f"{detected[1]:,}")


def _deviation(share: float) -> str:
    return f"{share * 100:.2g}%" if share < 0.1 else f"{share * 100:,.0f}%"
