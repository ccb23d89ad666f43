"""What crosses the border between pytest's process and the one that measures.

Down goes one job: a line of JSON that names an engine of the cache and a file of inputs. Up come
events, an object a line::

    {"event": "started"}                      the child listens; vendor libraries come next
    {"event": "progress", "text": ...}        what it does now
    {"event": "done", "rounds": ..., "turns": ..., "load": ...}
    {"event": "disturbed", "why": ...}        the device was, see `measure.Disturbed`
    {"event": "error", "error": NAME, ...}    one of this package's errors
    {"event": "os error", "errno": N, ...}    the operating system's
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pytest_trt.benchmark.host_load import HostLoad
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.profiles import profile_from_json, profile_to_json
from pytest_trt.tensors.spec import Tensors, TensorSpec, numpy_dtype
from pytest_trt.terms import Metric, Mode


@dataclass(frozen=True, slots=True)
class FreshJob:
    """One measurement in a process of its own.

    Attributes:
        backend: Name of the backend that opens the engine.
        device: UUID or CUDA's number of the GPU that it runs on; empty for the CPU.
        threads: Threads of one inference on the CPU; 0 leaves them to ONNX Runtime.
        entry: The engine's folder in the cache; its files are verified before they are loaded.
        key: Digest of the engine's key.
        model: What it was built from.
        spec: What was asked of it.
        target: What it was built for.
        inputs: The file of inputs that `hand_over` wrote.
        mode: How calls are timed.
        items_per_call: Batch items of one call.
        calls: Calls in each round.
        rounds: How many rounds.
        beside: Whether the engine then also takes as many turns with a second session of itself.
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
    beside: bool = False

    @property
    def title(self) -> str:
        """What is measured: "digits.onnx fp16 for sm90"."""
        return f"{self.model.path.name} {self.spec.precision} for {self.target.arch}"

    def to_json(self) -> str:
        """Return the job as one line."""
        data = asdict(replace(self, spec=replace(self.spec, profiles=())))
        data["spec"]["profiles"] = [profile_to_json(profile) for profile in self.spec.profiles]
        return json.dumps(data, default=str)  # paths are all that JSON does not take

    @classmethod
    def from_json(cls, text: str | bytes) -> FreshJob:
        """Return the job that `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        model, spec = data["model"], data["spec"]
        for side in ("inputs", "outputs"):
            model[side] = tuple(map(_tensor, model[side]))
        model["shape_inputs"] = tuple(model["shape_inputs"])
        model["path"] = Path(model["path"])
        model["external_files"] = tuple(map(Path, model["external_files"]))
        spec["profiles"] = tuple(map(profile_from_json, spec["profiles"]))
        data["model"], data["spec"] = OnnxModel(**model), EngineSpec(**spec)
        data["target"] = Target(**data["target"])
        data["entry"], data["inputs"] = Path(data["entry"]), Path(data["inputs"])
        return cls(**data)


def _tensor(data: dict[str, Any]) -> TensorSpec:
    shape = data["shape"]
    return TensorSpec(data["name"], data["dtype"], None if shape is None else tuple(shape))


def hand_over(inputs: Tensors, folder: Path) -> Path:
    """Write inputs for a child process into a private folder, and return the file.

    Raises:
        ValueError: An input holds Python objects, such as strings.
        OSError: The file cannot be written.
    """
    path = folder / "inputs.npz"
    names = np.array(list(inputs))
    # Not by their names: those may be anything, and members of the file may not.
    arrays = {f"input_{place}": array for place, array in enumerate(inputs.values())}
    if any(array.dtype.hasobject for array in arrays.values()):
        raise ValueError("inputs of Python objects cannot be handed to another process")
    np.savez(path, names=names, **cast("dict[str, Any]", arrays))
    return path


def take_over(path: Path, specs: tuple[TensorSpec, ...]) -> Tensors:
    """Return the inputs that `hand_over` wrote, in the model's dtypes."""
    dtypes = {spec.name: numpy_dtype(spec.dtype) for spec in specs}
    taken = {}
    with np.load(path, allow_pickle=False) as file:
        for place, name in enumerate(map(str, file["names"])):
            array = file[f"input_{place}"]
            dtype = dtypes.get(name)
            # numpy's files know no bfloat16: it comes back as two bytes of nothing.
            taken[name] = array.view(dtype) if dtype and array.dtype.kind == "V" else array
    return taken


@dataclass(frozen=True, slots=True)
class FreshRun:
    """What a fresh process measured.

    Attributes:
        rounds: Rounds of the engine alone.
        turns: Rounds of the engine and of a second session of itself, in turns; None where these
            were not asked for.
        load: What the host did for others while the engine alone was timed.
    """

    rounds: Rounds
    turns: tuple[Rounds, Rounds] | None = None
    load: HostLoad = field(default_factory=HostLoad)

    def to_event(self) -> dict[str, Any]:
        """Return the run as JSON-simple data; floats survive that exactly."""
        turns = None if self.turns is None else list(map(_to_json, self.turns))
        done = {"event": "done", "rounds": _to_json(self.rounds)}
        return {**done, "turns": turns, "load": asdict(self.load)}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> FreshRun:
        """Return the run that `to_event` made this event of."""
        turns = event["turns"]
        return cls(
            _from_json(event["rounds"]),
            None if turns is None else (_from_json(turns[0]), _from_json(turns[1])),
            HostLoad(**event["load"]),
        )


def _to_json(rounds: Rounds) -> dict[str, Any]:
    logs = {metric: logs.tolist() for metric, logs in rounds.logs.items()}
    return {"calls": rounds.calls, "logs": logs}


def _from_json(data: Mapping[str, Any]) -> Rounds:
    logs = {cast(Metric, metric): np.array(values) for metric, values in data["logs"].items()}
    return Rounds(logs, data["calls"])
