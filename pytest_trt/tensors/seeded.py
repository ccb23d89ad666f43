"""Inputs for a model that nobody gave data for, and the digest of any inputs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.hashing import LabelledHash
from pytest_trt.tensors.profiles import Shape
from pytest_trt.tensors.spec import Tensors, TensorSpec, numpy_dtype
from pytest_trt.tensors.value_ranges import Values
from pytest_trt.wording import known_names

#: Raise the number when a seed should give other numbers than before.
_SEED_SCHEMA = "pytest-trt seeded input 1"

#: Raise the number when the fields of `inputs_digest` or their form change.
_INPUTS_SCHEMA = "pytest-trt inputs 1"

#: Bits of a float64's significand: the finest uniform numbers that it can hold.
_FLOAT64_BITS = 53

_GIVE_DATA = "give real data: override the `trt_inputs` fixture with one that returns it."


class ModelInputs(Protocol):
    """What seeded inputs need to know of a model."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """The model's inputs."""

    @property
    def index_limits(self) -> Mapping[str, int]:
        """Rows of the table that an integer input indexes, by input name."""


def seeded_inputs(
    model: ModelInputs,
    shapes: Mapping[str, Shape],
    *,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    values: Mapping[str, Values] = MappingProxyType({}),
) -> dict[str, npt.NDArray[np.generic]]:
    """Return one tensor for every input of a model, the same ones for the same seed anywhere.

    Each comes from its own generator, keyed by seed and name, so that it depends on no other input.
    Floats are uniform in [0, 1), integers are 0 or 1, as Polygraphy's DataLoader has it; where an
    integer input indexes a table (`index_limits`), 0 to rows - 1; bools are random.

    Args:
        model: Whose inputs to make.
        shapes: Their shapes by name, as `shapes_at` returns them.
        seed: Any int.
        ranges: Other bounds (low, high) by input name; inclusive for integers.
        values: The values themselves, for inputs that hold a shape, as `values_at` returns them.

    Raises:
        ConfigurationError: An element type that random data makes no sense for, a missing shape, or
            a range for an unknown input, out of order, or outside its type.
    """
    check_ranges(model.inputs, ranges, given=values)
    limits = model.index_limits
    made: dict[str, npt.NDArray[np.generic]] = {}
    for spec in model.inputs:
        shape = _shape(spec, shapes)
        if spec.name in values:
            made[spec.name] = np.array(values[spec.name], spec.dtype).reshape(shape)
        else:
            bounds = ranges.get(spec.name) or (0, limits.get(spec.name, 2) - 1)
            made[spec.name] = _seeded(spec, shape, seed, bounds)
    return made


def check_ranges(
    specs: Sequence[TensorSpec],
    ranges: Mapping[str, tuple[float, float]],
    *,
    given: Collection[str] = (),
) -> None:
    """Check ranges of values for inputs, as `seeded_inputs` takes them.

    Args:
        specs: The model's inputs.
        ranges: Bounds (low, high) by input name.
        given: Inputs whose values a profile gives, which leaves nothing to draw.

    Raises:
        ConfigurationError: A range is for an unknown input or one that holds no numbers, is not two
            finite numbers in order, does not fit the input's type, is not whole where that is, or
            would have no effect.
    """
    by_name = {spec.name: spec for spec in specs}
    for name, bounds in ranges.items():
        if name not in by_name:
            raise ConfigurationError(
                f"there is a range of values for {name!r}, which is no input of the model.",
                fix=known_names("input", name, by_name),
            )
        if name in given:
            raise ConfigurationError(
                f"input {name!r} has a range of values in input_ranges, {bounds}, and its values "
                "from the profile.",
                fix="leave it out of input_ranges.",
            )
        _check_range(by_name[name], bounds)


def inputs_digest(inputs: Tensors) -> str:
    """Return a hex SHA-256 over names, dtypes, shapes and values; memory layout does not matter.

    Values count as their bytes: 0.0 and -0.0 differ, because an engine may tell them apart.

    Raises:
        ConfigurationError: An array of objects other than text.
    """
    digest = LabelledHash(_INPUTS_SCHEMA)
    for name in sorted(inputs):
        array = inputs[name]
        digest.add("name", name)
        digest.add("dtype", "string" if array.dtype.kind in "OSUT" else array.dtype.name)
        digest.add("shape", ",".join(map(str, array.shape)))
        if array.dtype.kind in "OSUT":
            for value in array.ravel():
                digest.add("text", _text(name, value))
        else:
            if not array.dtype.isnative:
                array = array.astype(array.dtype.newbyteorder("="))
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            digest.add("values", flat.data)
    return digest.hexdigest()


def _text(name: str, value: object) -> str | bytes:
    if not isinstance(value, str | bytes):
        raise ConfigurationError(
            f"input {name!r} holds a {type(value).__name__}; only numbers, bools and text have a "
            "digest.",
            fix="convert the array to a numeric dtype, or to str for a string input.",
        )
    return value


def _shape(spec: TensorSpec, shapes: Mapping[str, Shape]) -> Shape:
    if spec.name in shapes:
        return tuple(shapes[spec.name])
    if spec.shape is None or spec.is_dynamic:
        raise ConfigurationError(f"no shape is known for input {spec}.", fix=_GIVE_DATA)
    return tuple(dim for dim in spec.shape if isinstance(dim, int))


def _check_range(spec: TensorSpec, bounds: object) -> None:
    """Check low and high against each other and the input's type."""
    low, high = _two_numbers(spec, bounds)
    if not math.isfinite(low) or not math.isfinite(high) or low > high:
        raise ConfigurationError(
            f"the range of input {spec.name!r} is ({low}, {high}).",
            fix="give two finite numbers, the smaller one first.",
        )
    dtype = numpy_dtype(spec.dtype)
    if dtype is None or dtype.kind == "c":
        raise ConfigurationError(
            f"there is a range of values for input {spec}, which random data cannot be made for.",
            fix=f"leave it out, and {_GIVE_DATA}",
        )
    limits = _limits(dtype)
    if not limits[0] <= low <= high <= limits[1]:
        raise ConfigurationError(
            f"the range ({low}, {high}) of input {spec.name!r} does not fit its type {spec.dtype}, "
            f"which holds {limits[0]} to {limits[1]}.",
            fix="give bounds inside the type.",
        )
    if dtype.kind in "iub" and not (low == int(low) and high == int(high)):
        raise ConfigurationError(
            f"the range ({low}, {high}) of input {spec.name!r} is not whole, but its type is "
            f"{spec.dtype}.",
            fix="give whole numbers.",
        )


def _two_numbers(spec: TensorSpec, bounds: object) -> tuple[float, float]:
    pair = tuple(bounds) if isinstance(bounds, Sequence) and not isinstance(bounds, str) else ()
    if len(pair) != 2 or not all(isinstance(bound, Real) for bound in pair):
        raise ConfigurationError(
            f"the range of input {spec.name!r} is {bounds!r}, not two numbers.",
            fix=f'write it as {{"{spec.name}": (low, high)}}.',
        )
    return pair


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    largest = float(_finfo(dtype).max)
    return -largest, largest


def _finfo(dtype: np.dtype[Any]) -> Any:
    if dtype.name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return np.finfo(dtype)


def _seeded(
    spec: TensorSpec, shape: Shape, seed: int, bounds: tuple[float, float]
) -> npt.NDArray[np.generic]:
    dtype = numpy_dtype(spec.dtype)
    if dtype is None or dtype.kind == "c":
        raise ConfigurationError(
            f"input {spec} has a type that random data cannot be made for.", fix=_GIVE_DATA
        )
    bits = _random_bits(spec.name, seed, math.prod(shape))
    make = _integers if dtype.kind in "iub" else _floats
    return make(bits, dtype, *bounds).reshape(shape)


def _integers(
    bits: npt.NDArray[np.uint64], dtype: np.dtype[Any], low: float, high: float
) -> npt.NDArray[np.generic]:
    span = int(high) - int(low) + 1
    # The remainder's bias is below span / 2**64; of a full 64-bit span there is nothing to cut.
    offsets = bits if span > 0xFFFFFFFFFFFFFFFF else bits % np.uint64(span)
    # Two's complement wraps around to the right value for negative bounds.
    whole = offsets + np.uint64(int(low) & 0xFFFFFFFFFFFFFFFF)
    numbers: npt.NDArray[np.generic] = whole.view(np.int64) if dtype.kind == "i" else whole
    return numbers.astype(dtype)


def _floats(
    bits: npt.NDArray[np.uint64], dtype: np.dtype[Any], low: float, high: float
) -> npt.NDArray[np.generic]:
    # As many bits as the type's significand holds: no number is rounded up to 1.
    precision = min(int(_finfo(dtype).nmant) + 1, _FLOAT64_BITS)
    unit = (bits >> np.uint64(64 - precision)).astype(np.float64) * 2.0**-precision
    if (low, high) != (0, 1):
        # The weighted form cannot overflow where high - low would.
        unit = np.clip(low * (1 - unit) + high * unit, low, high)
    numbers: npt.NDArray[np.generic] = unit.astype(dtype)
    return numbers


def _random_bits(name: str, seed: int, count: int) -> npt.NDArray[np.uint64]:
    """Return 64 random bits for each element.

    From the bit generator itself: numpy keeps its stream for all time, but may change how the
    methods of `Generator` turn it into numbers (NEP 19).
    """
    key = LabelledHash(_SEED_SCHEMA)
    key.add("seed", int(seed))
    key.add("name", name)
    bits: npt.NDArray[np.uint64] = np.random.PCG64(int(key.hexdigest(), 16)).random_raw(count)
    return bits
