"""How much numbers differ between runs of one and the same engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import Metric, Mode

#: Standard deviation of ln P50 between processes that is assumed where none was measured.
#: Source: eight processes of one plan on an H200 (TensorRT 8.6, driver 580): 0.05 to 0.13% where
#: graphs were replayed (0.5 to 0.9% for an engine of 27 us), 1.1 to 1.4% where calls were enqueued.
_ASSUMED: Mapping[Mode, float] = {"graph": 0.003, "enqueue": 0.01, "end_to_end": 0.01}

#: Tails vary more between runs, by this share of their distance from the median.
#: Source: read off simulated processes of a usual and of a noisy shared machine.
_TAIL_SHARE = 0.4

#: How many runs the assumption weighs as much as.
_ASSUMED_RUNS = 4

#: Standard deviation of one engine's luck with memory that taking turns does not cancel, where it
#: was not measured. Source: `--trt-calibrate` over 7 processes on an H200 (TensorRT 8.6), 0.18% for
#: an engine of 335 us where graphs were replayed.
ASSUMED_PLACEMENT = 0.003

#: What a device's clock adds to that, in milliseconds: what is quick is measured as coarsely as
#: what is slow. Source: the same calibration, 0.89% at 44 us (replayed) and 0.52% at 60 us
#: (enqueued); CUDA Runtime API, cudaEventElapsedTime: "a resolution of around 0.5 microseconds".
CLOCK_RESOLUTION_MS = 0.0004


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of natural logarithms, where they were measured on this machine.

    Attributes:
        between_runs: Between processes, by metric; an assumption by mode where it is missing.
        placement: Of one engine's luck with memory within a process; None where it was not.
    """

    between_runs: Mapping[Metric, float] = field(default_factory=dict)
    placement: float | None = None

    def placement_of(self, rounds: Rounds, mode: Mode) -> float:
        """Return what taking turns does not cancel: as measured, else assumed for such an engine.

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

    Few processes cannot tell it: an assumption that weighs as much as four runs is mixed with
    what they show, and half of it is the least that is believed.

    Args:
        runs: The stored processes.
        metric: Which metric.
        mode: How they were measured.
        noise: What was measured before; it takes the assumption's place.
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
    mixed = (_ASSUMED_RUNS * assumed**2 + squares) / (_ASSUMED_RUNS + degrees)
    return math.sqrt(max(mixed, assumed**2 / 4))
