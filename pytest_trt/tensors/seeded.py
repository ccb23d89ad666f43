"""Seeded inputs for a model, and the digest of any inputs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import ConfigurationError, Fact
from pytest_trt.hashing import LabelledHash
from pytest_trt.tensors.profiles import Shape
from pytest_trt.tensors.spec import Tensors, TensorSpec, numpy_dtype
from pytest_trt.tensors.value_ranges import Values
from pytest_trt.wording import known_names

#: Raise the number when a seed shall produce different numbers.
_SEED_SCHEMA = "pytest-trt seeded input 1"

#: Raise the number when the fields of `inputs_digest` or their form change.
_INPUTS_SCHEMA = "pytest-trt inputs 1"

#: Bits of a float64's significand: the finest uniform numbers that it can hold.
_FLOAT64_BITS = 53

_GIVE_DATA = "override the `trt_inputs` fixture to return real data."


class ModelInputs(Protocol):
    """The facts of a model that seeded inputs depend on."""

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
    """Return one tensor for every input of a model; a seed gives the same ones on every machine.

    Each input has its own generator, keyed by seed and name, and so depends on no other input.
    Floats are uniform in [0, 1) and integers are 0 or 1, as in Polygraphy's DataLoader; an integer
    input that indexes a table (`index_limits`) gets 0 to rows - 1; bools are random.

    Args:
        model: The model.
        shapes: Their shapes by name, as `shapes_at` returns them.
        seed: Any int.
        ranges: Bounds (low, high) by input name; inclusive for integers.
        values: Values of inputs that hold a shape, as `values_at` returns them.

    Raises:
        ConfigurationError: An element type without sensible random data, a missing shape, or a
            range that `check_ranges` refuses.
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
    """Check the `ranges` of `seeded_inputs`.

    Args:
        specs: The model's inputs.
        ranges: Bounds (low, high) by input name.
        given: Inputs whose values the profile gives.

    Raises:
        ConfigurationError: A range is for an unknown input or one without numbers, is not two
            finite numbers in order, does not fit the input's type, or would have no effect.
    """
    by_name = {spec.name: spec for spec in specs}
    for name, bounds in ranges.items():
        if name not in by_name:
            raise _invalid_range(
                f"input_ranges names {name!r}, which is not an input of the model",
                known_names("input", name, by_name),
                tensor=name,
                inputs=list(by_name),
            )
        if name in given:
            raise _invalid_range(
                f"input_ranges has {bounds} for input {name!r}, whose values come from the profile",
                "leave it out of input_ranges.",
                tensor=name,
            )
        _check_range(by_name[name], bounds)


def inputs_digest(inputs: Tensors) -> str:
    """Return a hex SHA-256 over names, dtypes, shapes and values; memory layout does not matter.

    Values are hashed as bytes: 0.0 and -0.0 differ, as an engine may distinguish them.

    Raises:
        ConfigurationError: An array holds objects other than text.
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


def _invalid_range(message: str, fix: str, **facts: Fact) -> ConfigurationError:
    return ConfigurationError(message, fix=fix, code="TRT227", facts=facts)


def _cannot_seed(message: str, spec: TensorSpec) -> ConfigurationError:
    return ConfigurationError(message, fix=_GIVE_DATA, code="TRT226", facts=spec.facts)


def _text(name: str, value: object) -> str | bytes:
    if not isinstance(value, str | bytes):
        raise ConfigurationError(
            f"input {name!r} holds a {type(value).__name__}, not numbers, bools or text",
            fix="convert the array to a numeric dtype, or to str for a string input.",
            code="TRT222",
            facts={"tensor": name, "type": type(value).__name__},
        )
    return value


def _shape(spec: TensorSpec, shapes: Mapping[str, Shape]) -> Shape:
    if spec.name in shapes:
        return tuple(shapes[spec.name])
    if spec.shape is None or spec.is_dynamic:
        raise _cannot_seed(f"no shape is known for input {spec}", spec)
    return tuple(dim for dim in spec.shape if isinstance(dim, int))


def _check_range(spec: TensorSpec, bounds: object) -> None:
    """Check that low <= high, and that both fit the input's type."""
    low, high = _two_numbers(spec, bounds)
    if not math.isfinite(low) or not math.isfinite(high) or low > high:
        raise _invalid_range(
            f"input_ranges has ({low}, {high}) for input {spec.name!r}",
            "give two finite numbers, the smaller one first.",
            **spec.facts,
        )
    dtype = numpy_dtype(spec.dtype)
    if dtype is None or dtype.kind == "c":
        raise _invalid_range(
            f"input_ranges names input {spec}, whose type cannot be filled with random data",
            f"leave it out, and {_GIVE_DATA}",
            **spec.facts,
        )
    limits = _limits(dtype)
    if not limits[0] <= low <= high <= limits[1]:
        raise _invalid_range(
            f"input_ranges has ({low}, {high}) for input {spec.name!r}, but {spec.dtype} holds "
            f"{limits[0]} to {limits[1]}",
            "give bounds inside the type.",
            **spec.facts,
        )
    if dtype.kind in "iub" and not (low == int(low) and high == int(high)):
        raise _invalid_range(
            f"input_ranges has ({low}, {high}) for input {spec.name!r} of {spec.dtype}",
            "give whole numbers.",
            **spec.facts,
        )


def _two_numbers(spec: TensorSpec, bounds: object) -> tuple[float, float]:
    pair = tuple(bounds) if isinstance(bounds, Sequence) and not isinstance(bounds, str) else ()
    if len(pair) != 2 or not all(isinstance(bound, Real) for bound in pair):
        raise _invalid_range(
            f"input_ranges has {bounds!r} for input {spec.name!r}, not two numbers",
            f'write it as {{"{spec.name}": (low, high)}}.',
            **spec.facts,
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
        raise _cannot_seed(f"input {spec} has a type that cannot be filled with random data", spec)
    bits = _random_bits(spec.name, seed, math.prod(shape))
    make = _integers if dtype.kind in "iub" else _floats
    return make(bits, dtype, *bounds).reshape(shape)


def _integers(
    bits: npt.NDArray[np.uint64], dtype: np.dtype[Any], low: float, high: float
) -> npt.NDArray[np.generic]:
    span = int(high) - int(low) + 1
    # The remainder's bias is below span / 2**64; a full 64-bit span needs no remainder.
    offsets = bits if span > 0xFFFFFFFFFFFFFFFF else bits % np.uint64(span)
    # Two's complement wraps around to the right value for negative bounds.
    whole = offsets + np.uint64(int(low) & 0xFFFFFFFFFFFFFFFF)
    numbers: npt.NDArray[np.generic] = whole.view(np.int64) if dtype.kind == "i" else whole
    return numbers.astype(dtype)


def _floats(
    bits: npt.NDArray[np.uint64], dtype: np.dtype[Any], low: float, high: float
) -> npt.NDArray[np.generic]:
    # As many bits as the significand holds, so that no number is rounded up to 1.
    precision = min(int(_finfo(dtype).nmant) + 1, _FLOAT64_BITS)
    unit = (bits >> np.uint64(64 - precision)).astype(np.float64) * 2.0**-precision
    if (low, high) != (0, 1):
        # The weighted form cannot overflow where high - low would.
        unit = np.clip(low * (1 - unit) + high * unit, low, high)
    numbers: npt.NDArray[np.generic] = unit.astype(dtype)
    return numbers


def _random_bits(name: str, seed: int, count: int) -> npt.NDArray[np.uint64]:
    """Return 64 random bits for each element.

    The bit generator is used directly: numpy guarantees its stream, but may change how the methods
    of `Generator` turn it into numbers (NEP 19).
    """
    key = LabelledHash(_SEED_SCHEMA)
    key.add("seed", int(seed))
    key.add("name", name)
    bits: npt.NDArray[np.uint64] = np.random.PCG64(int(key.hexdigest(), 16)).random_raw(count)
    return bits
