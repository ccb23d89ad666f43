"""The job of a process that measures one engine, and its result: JSON-simple data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pytest_trt.benchmark.host import HostLoad
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.records import from_data, to_data
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.profiles import profile_from_json, profile_to_json
from pytest_trt.tensors.spec import Tensors
from pytest_trt.tensors.stored import read_samples, write_samples
from pytest_trt.terms import Metric, Mode


@dataclass(frozen=True, slots=True)
class FreshJob:
    """One measurement in a process of its own.

    Attributes:
        backend: Name of the backend that opens the engine.
        device: UUID or CUDA's number of the GPU that it runs on; empty for the CPU.
        threads: Threads of one inference on the CPU; 0 leaves them to ONNX Runtime.
        entry: The engine's folder in the cache, or the file of a finished plan; files are verified
            before they are loaded.
        key: Digest of the engine's key.
        model: What it was built from.
        spec: What it was built as.
        target: What it was built for.
        inputs: The file of inputs that `write_inputs` wrote.
        mode: How calls are timed.
        items_per_call: Batch items of one call.
        calls: Calls in each round.
        rounds: How many rounds.
        proc: Where Linux reports the host's load.
        interleave: Whether the engine is then also interleaved with a second session of itself.
        plan_digest: Digest of a finished plan; empty for an engine of the cache.
    """

    backend: str
    device: str
    threads: int
    entry: Path
    key: str
    model: OnnxModel
    spec: EngineSpec
    target: Target
    inputs: Path
    mode: Mode
    items_per_call: int
    calls: int
    rounds: int
    proc: Path = Path("/proc")
    interleave: bool = False
    plan_digest: str = ""

    @property
    def title(self) -> str:
        """What is measured: "digits.onnx fp16 for sm90"."""
        return f"{self.model.path.name} {self.spec.precision} for {self.target.arch}"

    def to_data(self) -> dict[str, Any]:
        """Return the job as JSON-simple data."""
        # Ranges of shapes and of values have the same fields, so profiles have their own form.
        data: dict[str, Any] = to_data(replace(self, spec=replace(self.spec, profiles=())))
        data["spec"]["profiles"] = [profile_to_json(profile) for profile in self.spec.profiles]
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> FreshJob:
        """Return the job that `to_data` encoded."""
        job = from_data(cls, {**data, "spec": {**data["spec"], "profiles": []}})
        profiles = tuple(map(profile_from_json, data["spec"]["profiles"]))
        return replace(job, spec=replace(job.spec, profiles=profiles))


def write_inputs(inputs: Tensors, folder: Path) -> Path:
    """Write inputs for a child process into a private folder, and return the file.

    Raises:
        ValueError: An input holds Python objects, such as strings.
        OSError: The file cannot be written.
    """
    path = folder / "inputs.npz"
    arrays = inputs.values()
    if not all(isinstance(one, np.ndarray) and not one.dtype.hasobject for one in arrays):
        raise ValueError("inputs of Python objects cannot be sent to another process")
    write_samples(path, [inputs])
    return path


def read_inputs(path: Path) -> Tensors:
    """Return the inputs that `write_inputs` wrote."""
    (inputs,) = read_samples(path)
    return inputs


@dataclass(frozen=True, slots=True)
class FreshRun:
    """What a fresh process measured.

    Attributes:
        rounds: Rounds of the engine alone.
        interleaved: Interleaved rounds of the engine and a second session of itself, if requested.
        load: What the host did for others while the engine alone was timed.
    """

    rounds: Rounds
    interleaved: tuple[Rounds, Rounds] | None = None
    load: HostLoad = field(default_factory=HostLoad)

    def to_data(self) -> dict[str, Any]:
        """Return the run as JSON-simple data; floats survive that exactly."""
        interleaved = None if self.interleaved is None else list(map(_to_json, self.interleaved))
        return {
            "rounds": _to_json(self.rounds),
            "interleaved": interleaved,
            "load": to_data(self.load),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> FreshRun:
        """Return the run that `to_data` encoded."""
        interleaved = data["interleaved"]
        return cls(
            _from_json(data["rounds"]),
            None
            if interleaved is None
            else (_from_json(interleaved[0]), _from_json(interleaved[1])),
            from_data(HostLoad, data["load"]),
        )


def _to_json(rounds: Rounds) -> dict[str, Any]:
    logs = {metric: logs.tolist() for metric, logs in rounds.logs.items()}
    return {"calls": rounds.calls, "logs": logs}


def _from_json(data: Mapping[str, Any]) -> Rounds:
    logs = {cast(Metric, metric): np.array(values) for metric, values in data["logs"].items()}
    return Rounds(logs, data["calls"])
