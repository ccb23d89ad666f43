"""What is stored for one test: how it was measured, and the last processes that were accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

#: How many accepted processes are kept: enough to tell how much they differ, few enough to read.
RUNS_KEPT = 5

#: Significant digits of a stored time. Replayed graphs repeat themselves within 0.05%.
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One accepted process.

    Attributes:
        recorded: When, ISO 8601 in UTC.
        reason: Why it was accepted, as `--trt-update-reason` gave it; empty for none.
        toolchain: What ran the engine: "TensorRT 8.6.0".
        environment: What may change from run to run and explain a difference: driver, clocks.
        calls: Calls in each round.
        rounds: By metric one number per round: milliseconds, for throughput units of work per
            second.
    """

    recorded: str
    toolchain: str
    calls: int
    rounds: Mapping[str, tuple[float, ...]]
    reason: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the run as it is written, its numbers rounded."""
        return {
            "recorded": self.recorded,
            "reason": self.reason,
            "toolchain": self.toolchain,
            "environment": dict(sorted(self.environment.items())),
            "calls": self.calls,
            "rounds": {
                metric: [rounded(value) for value in values]
                for metric, values in self.rounds.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StoredRun:
        """Return the run that `to_dict` made this data of."""
        return cls(
            recorded=str(data["recorded"]),
            reason=str(data["reason"]),
            toolchain=str(data["toolchain"]),
            environment={str(k): str(v) for k, v in data["environment"].items()},
            calls=int(data["calls"]),
            rounds={
                str(metric): tuple(float(value) for value in values)
                for metric, values in data["rounds"].items()
            },
        )


@dataclass(frozen=True, slots=True)
class StoredNoise:
    """How much runs of the engine differ, as `--trt-calibrate` measured it.

    All are standard deviations of natural logarithms: 0.01 is about 1%.

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

    def to_dict(self) -> dict[str, Any]:
        """Return the noise as it is written, its numbers rounded."""
        return {
            "recorded": self.recorded,
            "processes": self.processes,
            "placement": _rounded_noise(self.placement),
            "between_runs": {
                metric: _rounded_noise(value) for metric, value in self.between_runs.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StoredNoise:
        """Return the noise that `to_dict` made this data of."""
        return cls(
            recorded=str(data["recorded"]),
            processes=int(data["processes"]),
            placement=float(data["placement"]),
            between_runs={str(k): float(v) for k, v in data["between_runs"].items()},
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored for one test on one target.

    Attributes:
        mode: How it is measured: "graph", "enqueue" or "end_to_end".
        spec: What is measured, by label: model, precision, shapes, options. A baseline is compared
            with nothing else.
        engine: Exact facts of the engine: size_bytes, device_memory_bytes, layers; and its key.
        runs: Accepted processes, oldest first.
        noise: How much they differ, where that was calibrated; otherwise it is assumed by mode.
        layers: A row for each layer of the engine: kind, precision, and the model's nodes in it;
            empty where they are not known, or too many to be reviewed.
        accepted: Figures by metric from before the engines that took its place without a reason:
            what several of them come to together is held against these. Empty where there was
            none.
    """

    mode: str
    spec: Mapping[str, str]
    engine: Mapping[str, int | str]
    runs: tuple[StoredRun, ...]
    noise: StoredNoise | None = None
    layers: tuple[tuple[str, ...], ...] = ()
    accepted: Mapping[str, float] = field(default_factory=dict)

    def with_runs(
        self,
        runs: Sequence[StoredRun],
        engine: Mapping[str, int | str],
        layers: tuple[tuple[str, ...], ...] = (),
    ) -> Entry:
        """Return the entry with more accepted processes of the same engine; the oldest ones go."""
        kept = (*self.runs, *runs)[-RUNS_KEPT:]
        return replace(self, runs=kept, engine=engine, layers=layers or self.layers)

    def figure(self, metric: str) -> float | None:
        """Return the median of a metric over all rounds of all runs; None where it is not told."""
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
            return f"it was measured in mode {self.mode}, this is {mode}"
        for label in dict.fromkeys([*self.spec, *spec]):
            stored, given = self.spec.get(label, "none"), spec.get(label, "none")
            if stored != given:
                return f"it has {label} {stored}, this run has {given}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as it is written."""
        noise = {} if self.noise is None else {"noise": self.noise.to_dict()}
        accepted = {metric: rounded(value) for metric, value in self.accepted.items()}
        return {
            "mode": self.mode,
            "spec": dict(self.spec),
            "engine": dict(self.engine),
            **noise,
            **({"accepted": accepted} if accepted else {}),
            "layers": [list(row) for row in self.layers],
            "runs": [run.to_dict() for run in self.runs],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Entry:
        """Return the entry that `to_dict` made this data of."""
        return cls(
            mode=str(data["mode"]),
            spec={str(k): str(v) for k, v in data["spec"].items()},
            engine=dict(data["engine"]),
            runs=tuple(StoredRun.from_dict(run) for run in data["runs"]),
            noise=StoredNoise.from_dict(data["noise"]) if "noise" in data else None,
            layers=tuple(tuple(map(str, row)) for row in data.get("layers", ())),
            accepted={str(k): float(v) for k, v in data.get("accepted", {}).items()},
        )


def _rounded_noise(value: float) -> float:
    """Return a standard deviation as it is stored: a few processes tell no more than two digits."""
    return float(f"{value:.2g}")


def rounded(value: float) -> float:
    """Return a time as it is stored: five significant digits."""
    return float(f"{value:.{_DIGITS}g}")
