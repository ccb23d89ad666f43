"""Inputs and outputs that Polygraphy saved as JSON. Nothing is unpickled.

`polygraphy run --save-inputs` writes a list of {input: array}, `--save-outputs` (or
`--save-results`) the outputs of each runner in each iteration. A path without a suffix becomes a
folder with a file for each iteration. An object of the JSON names its class in `polygraphy_class`;
an array is what `numpy.save` writes, in Base64.

Source: polygraphy/json/serde.py and polygraphy/comparator/struct.py of Polygraphy 0.53.6.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from pytest_trt.records import RecordError, at, parse_json
from pytest_trt.tensors.npz import npy_array, require_size

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

SUFFIX = ".json"

_CLASS = "polygraphy_class"

#: The time of the run, at the end of a runner's name.
_MOMENT = re.compile(r"-\d\d/\d\d/\d\d-\d\d:\d\d:\d\d$")

#: No inference takes so many seconds; a runtime beyond that, or below its inverse, is damage.
_MOST_S = 1e12

#: Of files that old versions wrote: {"__polygraphy_encoded_ndarray": "constant", ...}.
_OLD_CLASS = "__polygraphy_encoded_"


@dataclass(frozen=True, slots=True)
class Iteration:
    """Outputs of one inference.

    Attributes:
        outputs: The outputs by name.
        runtime_s: Seconds that it took; None where they are not recorded.
    """

    outputs: Arrays
    runtime_s: float | None


@dataclass(frozen=True, slots=True)
class Runner:
    """What one of Polygraphy's runners returned.

    Attributes:
        name: Its name, such as "onnxrt-runner-N0-01/31/26-12:00:00".
        iterations: Its iterations in order.
    """

    name: str
    iterations: tuple[Iteration, ...]

    @property
    def label(self) -> str:
        """The name without the time of the run: "onnxrt-runner-N0"."""
        return _MOMENT.sub("", self.name)


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file, or a folder of them, holds: inputs or results, never both.

    Attributes:
        inputs: The inputs of each iteration.
        runners: The results of each runner.
    """

    inputs: tuple[Arrays, ...] = ()
    runners: tuple[Runner, ...] = ()

    def samples(self) -> tuple[Arrays, ...]:
        """Return the arrays of each iteration: the inputs, or the outputs of the only runner.

        Raises:
            ValueError: It has the outputs of several runners.
        """
        if len(self.runners) > 1:
            names = ", ".join(runner.name for runner in self.runners)
            raise ValueError(f"it has the outputs of {len(self.runners)} runners, not one: {names}")
        return self.inputs or tuple(one.outputs for one in self.runners[0].iterations)


def read_saved(path: Path, most_bytes: int) -> Saved:
    """Return what Polygraphy saved in a file, or in a folder of files.

    Args:
        path: The file, or the folder with a file for each iteration.
        most_bytes: The most bytes that are read.

    Raises:
        ValueError: It is damaged, something else, or too large; the message says why.
        OSError: It cannot be read.
    """
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"the folder has no {SUFFIX} files")
    require_size(sum(file.stat().st_size for file in files), most_bytes)
    parts = [saved_of(parse_json(file.read_bytes())) for file in files]
    if len({bool(part.runners) for part in parts}) > 1:
        raise ValueError("some of its files have inputs, others results")
    iterations: dict[str, list[Iteration]] = {}
    for part in parts:
        for runner in part.runners:
            iterations.setdefault(runner.name, []).extend(runner.iterations)
    return Saved(
        tuple(one for part in parts for one in part.inputs),
        tuple(Runner(name, tuple(found)) for name, found in iterations.items()),
    )


def is_saved(data: object) -> bool:
    """Whether JSON looks like what Polygraphy saves: inputs or results."""
    if isinstance(data, Mapping) and _class_of(data):
        return _class_of(data) == "RunResults"
    first = data[0] if isinstance(data, list) and data else data
    values = list(first.values()) if isinstance(first, Mapping) else []
    return bool(values) and all(isinstance(one, Mapping) and _class_of(one) for one in values)


def saved_of(data: object) -> Saved:
    """Return what a file of Polygraphy holds.

    Args:
        data: Its JSON.

    Raises:
        ValueError: It is something else; a `RecordError` names the place.
    """
    if isinstance(data, Mapping) and data and not _class_of(data):
        saved = Saved(inputs=(_arrays(data),))  # one iteration, in a folder of them
    elif isinstance(data, list):
        inputs = tuple(at(index, _arrays, one) for index, one in enumerate(data))
        saved = Saved(inputs=inputs)
    else:
        runners = _field(_object(data, "RunResults"), "lst", list)
        saved = Saved(runners=tuple(at(index, _runner, one) for index, one in enumerate(runners)))
    if not saved.inputs and not any(runner.iterations for runner in saved.runners):
        raise RecordError("it has no iterations")
    return saved


def _runner(data: object) -> Runner:
    if not isinstance(data, list) or len(data) != 2 or not isinstance(data[0], str):
        raise RecordError("expected the name of a runner and its iterations")
    if not isinstance(data[1], list):
        raise RecordError("expected a list of iterations", 1)
    return Runner(data[0], tuple(_iterations(data[1])))


def _iterations(data: Sequence[object]) -> Iterator[Iteration]:
    for index, one in enumerate(data):
        try:
            found = _object(one, "IterationResult")
            outputs = _arrays(_field(found, "outputs", dict))
        except RecordError as error:
            raise error.within(index) from None
        runtime = found.get("runtime")
        known = isinstance(runtime, float) and 1 / _MOST_S < runtime < _MOST_S
        yield Iteration(outputs, runtime if known else None)


def _arrays(data: object) -> Arrays:
    if not isinstance(data, Mapping) or _class_of(data):
        raise RecordError("expected arrays by name")
    return {name: at(name, _array, one) for name, one in data.items()}


def _array(data: object) -> npt.NDArray[Any]:
    if isinstance(data, Mapping) and _class_of(data) in ("LazyArray", "LazyNumpyArray"):
        data = data.get("values")
    if isinstance(data, Mapping) and _class_of(data) == "Tensor":
        raise RecordError("it is a tensor of PyTorch, which is stored as a pickle: never unpickled")
    text = _field(_object(data, "ndarray"), "array", str)
    try:
        return npy_array(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise RecordError(f"not Base64: {error}") from error
    except ValueError as error:
        raise RecordError(str(error)) from error


def _class_of(data: Mapping[str, Any]) -> str:
    old = next((key.removeprefix(_OLD_CLASS) for key in data if key.startswith(_OLD_CLASS)), "")
    return str(data.get(_CLASS, old))


def _object(data: object, kind: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or _class_of(data) != kind:
        found = _class_of(data) if isinstance(data, Mapping) else ""
        raise RecordError(f"expected Polygraphy's {kind}, found {found or 'something else'}")
    return data


def _field(data: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(data.get(name), kind):
        raise RecordError(f"expected {kind.__name__}", name)
    return data[name]
