"""Seeded inputs for a model, and the digest of any inputs."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt import units
from pytest_trt.diagnostics import ConfigurationError, Fact
from pytest_trt.hashing import LabelledHash
from pytest_trt.tensors.containers import TEXT_KINDS, description, items_of
from pytest_trt.tensors.elements import is_extension, is_integer, numpy_dtype
from pytest_trt.tensors.profiles import Shape
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.tensors.value_ranges import Values
from pytest_trt.units import plain_number
from pytest_trt.wording import known_names

#: Raise the number when a seed shall produce different numbers.
_SEED_SCHEMA = "pytest-trt seeded input 1"

#: Raise the number when the fields of `inputs_digest` or their form change.
_INPUTS_SCHEMA = "pytest-trt inputs 1"

#: Bits of a float64's significand: the finest uniform numbers that it can hold.
_FLOAT64_BITS = 53

#: Elements made at a time: random bits and float64 take several times the memory of most types.
_CHUNK = 1 << 18

#: Types whose largest number is below this hold data; wider ones are masks, sizes and indices, too.
_SMALL_INTEGERS = 1 << 16

_GIVE_DATA = "override the `trt_inputs` fixture to return real data."


class ModelInputs(Protocol):
    """The facts of a model that seeded inputs depend on."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """The model's inputs."""

    @property
    def index_limits(self) -> Mapping[str, int]:
        """Rows of the table that an input indexes, or categories that it has, by input name."""


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
    Floats are uniform in [0, 1) and integers are 0 or 1, as in Polygraphy's DataLoader. An input
    that indexes a table or is a category (`index_limits`) gets 0 to rows - 1, one of floats too,
    and rows - 1 as its last element. Other integers of at most 16 bits get all values of their
    type: they are pixels, bytes or samples of audio, and 0 and 1 are a black image, or silence.
    Bools are random.

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
            rows = None if spec.name in ranges else limits.get(spec.name)
            bounds = ranges.get(spec.name) or _default_range(spec, rows)
            made[spec.name] = _seeded(spec, shape, seed, bounds, whole=rows is not None)
    return made


def check_ranges(
    specs: Sequence[TensorSpec],
    ranges: Mapping[str, tuple[float, float]],
    *,
    given: Collection[str] = (),
) -> None:
    """Check the `ranges` of `seeded_inputs`.

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
                f"input_ranges gives {bounds} for input {name!r}, whose values the profile gives",
                "leave it out of input_ranges.",
                tensor=name,
            )
        _check_range(by_name[name], bounds)


def inputs_digest(inputs: Tensors) -> str:
    """Return a hex SHA-256 over names, dtypes, shapes and values; memory layout does not matter.

    Values are hashed as bytes: 0.0 and -0.0 differ, as an engine may distinguish them.

    Sequences, maps and optionals are hashed item by item.

    Raises:
        ConfigurationError: An array holds objects other than text.
    """
    digest = LabelledHash(_INPUTS_SCHEMA)
    for name, value in sorted(inputs.items()):
        if not isinstance(value, np.ndarray):
            digest.add("container", f"{name} {description(value)}")
    tensors = items_of(inputs, ()).tensors
    for name in sorted(tensors):
        array = tensors[name]
        digest.add("name", name)
        digest.add("dtype", "string" if array.dtype.kind in TEXT_KINDS else array.dtype.name)
        digest.add("shape", ",".join(map(str, array.shape)))
        if array.dtype.kind in TEXT_KINDS:
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


def check_seedable(inputs: Sequence[TensorSpec], shapes: Mapping[str, Shape]) -> None:
    """Check that `seeded_inputs` can make inputs of these shapes, before anything is built.

    Raises:
        ConfigurationError: An element type without sensible random data, or a tensor that is
            larger than this machine's memory.
    """
    for spec in inputs:
        _require_seedable(spec)
        if spec.name in shapes:
            _require_memory(spec, shapes[spec.name])


def _is_seedable(name: str) -> bool:
    """Whether random data make sense: float8e8m0 has no 0, and holds scales."""
    return numpy_dtype(name) is not None and not name.startswith(("complex", "float8e8m0"))


def _require_seedable(spec: TensorSpec) -> np.dtype[Any]:
    dtype = numpy_dtype(spec.dtype)
    if dtype is None or not _is_seedable(spec.dtype):
        raise _cannot_seed(f"input {spec} has a type that cannot be filled with random data", spec)
    return dtype


def _require_memory(spec: TensorSpec, shape: Shape) -> None:
    dtype = _require_seedable(spec)
    if math.prod(shape) * dtype.itemsize > memory_bytes():
        raise _too_large(spec, shape)


def memory_bytes() -> int:
    """Return the size of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _too_large(spec: TensorSpec, shape: Shape) -> ConfigurationError:
    size_bytes = math.prod(shape) * _require_seedable(spec).itemsize
    # As data at most what 64 bits hold: models declare any size.
    known_bytes = min(size_bytes, 2**63 - 1)
    return ConfigurationError(
        f"input {spec} would take {units.size(size_bytes)} at shape {list(shape)}, and this "
        f"machine has {units.size(memory_bytes())} of memory",
        fix="give smaller sizes in profiles=, or export the model with sizes that it is used with.",
        code="TRT226",
        facts={**spec.facts, "given_shape": list(shape), "size_bytes": known_bytes},
    )


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
            f"input_ranges gives ({low}, {high}) for input {spec.name!r}",
            "give two finite numbers, the smaller one first.",
            **spec.facts,
        )
    dtype = numpy_dtype(spec.dtype)
    if dtype is None or not _is_seedable(spec.dtype):
        raise _invalid_range(
            f"input_ranges names input {spec}, whose type cannot be filled with random data",
            f"leave it out, and {_GIVE_DATA}",
            **spec.facts,
        )
    limits = _limits(spec.dtype, dtype)
    if not limits[0] <= low <= high <= limits[1]:
        raise _invalid_range(
            f"input_ranges gives ({low}, {high}) for input {spec.name!r}, but {spec.dtype} holds "
            f"{limits[0]} to {limits[1]}",
            "give bounds inside the type.",
            **spec.facts,
        )
    if (dtype.kind == "b" or is_integer(spec.dtype)) and not (
        low == int(low) and high == int(high)
    ):
        raise _invalid_range(
            f"input_ranges gives ({low}, {high}) for input {spec.name!r} of {spec.dtype}",
            "give whole numbers.",
            **spec.facts,
        )


def _default_range(spec: TensorSpec, rows: int | None) -> tuple[float, float]:
    dtype = _require_seedable(spec)
    if not is_integer(spec.dtype):
        if rows is None:
            return 0, 1
        # From there on, not all whole numbers are floats, and some are rounded up.
        return 0, min(rows - 1, 2 ** (int(_info(spec.dtype, "finfo")(dtype).nmant) + 1))
    low, high = _limits(spec.dtype, dtype)
    if rows is not None:
        return 0, min(rows - 1, high)
    return (low, high) if high < _SMALL_INTEGERS else (0, 1)


def _two_numbers(spec: TensorSpec, bounds: object) -> tuple[float, float]:
    pair = tuple(bounds) if isinstance(bounds, Sequence) and not isinstance(bounds, str) else ()
    if len(pair) != 2 or not all(isinstance(bound, Real) for bound in pair):
        raise _invalid_range(
            f"input_ranges gives {bounds!r} for input {spec.name!r}, not two numbers",
            f'write it as {{"{spec.name}": (low, high)}}.',
            **spec.facts,
        )
    return plain_number(pair[0]), plain_number(pair[1])


def _limits(name: str, dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "b":
        return 0, 1
    if is_integer(name):
        integers: Any = _info(name, "iinfo")(dtype)
        return int(integers.min), int(integers.max)
    largest = float(_info(name, "finfo")(dtype).max)
    return -largest, largest


def _info(name: str, kind: str) -> Any:
    """Return numpy's `finfo` or `iinfo`, or that of ml_dtypes for its types."""
    if is_extension(name):
        import ml_dtypes

        return getattr(ml_dtypes, kind)
    return getattr(np, kind)


def _seeded(
    spec: TensorSpec, shape: Shape, seed: int, bounds: tuple[float, float], *, whole: bool
) -> npt.NDArray[np.generic]:
    dtype = _require_seedable(spec)
    _require_memory(spec, shape)
    try:
        made = np.empty(math.prod(shape), dtype)
    except MemoryError as error:
        raise _too_large(spec, shape) from error
    bits = _random_bits(spec.name, seed)
    make = _integers if whole or dtype.kind == "b" or is_integer(spec.dtype) else _floats
    for start in range(0, made.size, _CHUNK):
        part = made[start : start + _CHUNK]
        part[:] = make(bits.random_raw(part.size), spec.dtype, dtype, *bounds)
    if whole and made.size > 1:
        made[-1] = bounds[1]  # tables that lack a row mostly lack the last one
    return made.reshape(shape)


def _integers(
    bits: npt.NDArray[np.uint64], name: str, dtype: np.dtype[Any], low: float, high: float
) -> npt.NDArray[np.generic]:
    span = int(high) - int(low) + 1
    # The remainder's bias is below span / 2**64; a full 64-bit span needs no remainder.
    offsets = bits if span > 0xFFFFFFFFFFFFFFFF else bits % np.uint64(span)
    # Two's complement wraps around to the right value for negative bounds.
    whole = offsets + np.uint64(int(low) & 0xFFFFFFFFFFFFFFFF)
    is_signed = name.startswith("int")
    numbers: npt.NDArray[np.generic] = whole.view(np.int64) if is_signed else whole
    return numbers.astype(dtype)


def _floats(
    bits: npt.NDArray[np.uint64], name: str, dtype: np.dtype[Any], low: float, high: float
) -> npt.NDArray[np.generic]:
    # As many bits as the significand holds, so that no number is rounded up to 1, and none below
    # the smallest number.
    info = _info(name, "finfo")(dtype)
    smallest = -int(np.log2(float(info.smallest_subnormal)))
    precision = min(int(info.nmant) + 1, smallest, _FLOAT64_BITS)
    unit = (bits >> np.uint64(64 - precision)).astype(np.float64) * 2.0**-precision
    if (low, high) != (0, 1):
        # The weighted form cannot overflow where high - low would.
        unit = np.clip(low * (1 - unit) + high * unit, low, high)
    numbers: npt.NDArray[np.generic] = unit.astype(dtype)
    return numbers


def _random_bits(name: str, seed: int) -> np.random.PCG64:
    """Return a generator of 64 random bits for each element.

    The bit generator is used directly: numpy guarantees its stream, but may change how the methods
    of `Generator` turn it into numbers (NEP 19).
    """
    key = LabelledHash(_SEED_SCHEMA)
    key.add("seed", int(seed))
    key.add("name", name)
    return np.random.PCG64(int(key.hexdigest(), 16))
