"""How much results differ between runs of one and the same engine: assumed, or measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from pytest_trt.statistics.bounds import paired
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import METRICS, Metric, Mode

#: Standard deviation of ln P50 between processes that is assumed where none was measured.
#: Source: eight processes of one plan on an H200 (TensorRT 8.6, driver 580): 0.05 to 0.13% with
#: graph replay (0.5 to 0.9% for an engine of 27 us), 1.1 to 1.4% with enqueued calls.
_ASSUMED: Mapping[Mode, float] = {"graph": 0.003, "enqueue": 0.01, "end_to_end": 0.01}

#: Tails vary more between runs, by this share of their distance from the median.
#: Source: read off simulated processes of a typical and of a noisy shared machine.
_TAIL_SHARE = 0.4

#: The assumption is weighted like so many runs.
_ASSUMED_RUNS = 4

#: Standard deviation of the effect of where one engine lies in memory, which interleaving does not
#: cancel, where it was not measured. Source: `--trt-calibrate` with 7 processes on an H200
#: (TensorRT 8.6), 0.18% for an engine of 335 us with graph replay.
ASSUMED_PLACEMENT = 0.003

#: What the resolution of a device's clock adds to that, in milliseconds: the same for fast engines
#: and slow ones. Source: the same calibration, 0.89% at 44 us (graph replay) and 0.52% at 60 us
#: (enqueued); CUDA Runtime API, cudaEventElapsedTime: "a resolution of around 0.5 microseconds".
CLOCK_RESOLUTION_MS = 0.0004

#: A few processes can be similar by chance. The true spread exceeds the one that is calculated
#: with in so large a share of all calibrations.
_CALIBRATION_ERROR = 0.10


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of natural logarithms, where they were measured on this machine.

    Attributes:
        between_runs: Between processes, by metric; assumed by mode where it is missing.
        placement: Of the effect of one engine's place in memory within a process; None where it
            was not measured.
    """

    between_runs: Mapping[Metric, float] = field(default_factory=dict)
    placement: float | None = None

    def placement_of(self, rounds: Rounds, mode: Mode) -> float:
        """Return the placement effect: measured, else assumed for an engine of this speed.

        Args:
            rounds: Rounds of the engine.
            mode: How they were measured.
        """
        if self.placement is not None:
            return self.placement
        clock = 0.0 if mode == "end_to_end" else CLOCK_RESOLUTION_MS / rounds.median("p50")
        return math.hypot(ASSUMED_PLACEMENT, clock)


def between_runs(
    runs: Sequence[Rounds],
    metric: Metric,
    mode: Mode,
    noise: Noise,
    candidates: Sequence[Rounds] = (),
) -> float:
    """Return the standard deviation of a metric's logarithm between processes of one engine.

    A few processes do not determine it: their variance is averaged with an assumption that is
    weighted like four runs, and the result is at least half of the assumption.

    Args:
        runs: The stored processes.
        metric: Which metric.
        mode: How they were measured.
        noise: What was measured before; it replaces the assumption.
        candidates: Processes of the candidate, which differ by as much among themselves.
    """
    measured = noise.between_runs.get(metric)
    assumed = _ASSUMED[mode] if measured is None else measured
    if measured is None and metric in ("p95", "p99"):
        tail = np.median([np.median(run.logs[metric] - run.logs["p50"]) for run in runs])
        assumed = math.hypot(assumed, _TAIL_SHARE * max(0.0, float(tail)))
    degrees, squares = 0, 0.0
    for group in filter(None, (runs, candidates)):
        medians = [float(np.median(run.logs[metric])) for run in group]
        degrees += len(group) - 1
        squares += float(np.var(medians)) * len(group)
    if not degrees:
        return assumed
    pooled = (_ASSUMED_RUNS * assumed**2 + squares) / (_ASSUMED_RUNS + degrees)
    return math.sqrt(max(pooled, assumed**2 / 4))


@dataclass(frozen=True, slots=True)
class MeasuredNoise:
    """What a calibration measured, as standard deviations of natural logarithms.

    Attributes:
        between_runs: Between processes, by metric.
        placement: Of the effect of one session's place in memory within a process.
        processes: How many processes were measured.
    """

    between_runs: Mapping[Metric, float]
    placement: float
    processes: int

    @property
    def upper_placement(self) -> float:
        """The placement effect to calculate with: an upper bound, as the processes were few."""
        return self.placement * _upper_factor(self.processes - 1)

    def noise(self) -> Noise:
        """Return the noise to calculate with: upper bounds, as the processes were few."""
        factor = _upper_factor(self.processes - 1)
        return Noise(
            {metric: spread * factor for metric, spread in self.between_runs.items()},
            self.upper_placement,
        )


def measured_noise(runs: Sequence[Rounds], pairs: Sequence[tuple[Rounds, Rounds]]) -> MeasuredNoise:
    """Return how much processes of one engine differ.

    Args:
        runs: Rounds of at least two processes.
        pairs: Rounds of two sessions of the engine that were measured interleaved, from each
            process that measured some.

    Raises:
        ValueError: There are fewer than two processes, or no pairs.
    """
    if len(runs) < 2 or not pairs:
        raise ValueError("calibration needs two processes, and interleaved rounds")
    spread = {
        metric: float(np.std([np.median(run.logs[metric]) for run in runs], ddof=1))
        for metric in METRICS
        if all(metric in run.logs for run in runs)
    }
    # Each session has a placement of its own: the difference of two has twice the variance.
    squares = [_difference(pair, "p50") ** 2 for pair in pairs]
    return MeasuredNoise(spread, math.sqrt(float(np.mean(squares)) / 2), len(runs))


def _difference(pair: tuple[Rounds, Rounds], metric: Metric) -> float:
    first, second = pair
    difference = second.logs[metric] - first.logs[metric]
    return paired(difference, error_low=0.5, error_high=0.5, floor=0.0).estimate


def _upper_factor(degrees: int) -> float:
    """Return the factor from a sample standard deviation to its upper confidence bound.

    The chi-squared distribution, by the approximation of Wilson and Hilferty (1931): within 2% from
    two degrees of freedom on.
    """
    part = 2 / (9 * degrees)
    z = NormalDist().inv_cdf(_CALIBRATION_ERROR)
    quantile = degrees * (1 - part + z * math.sqrt(part)) ** 3
    return math.sqrt(degrees / quantile)
