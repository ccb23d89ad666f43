"""A sketch: what is stored of an output that is too large to be stored whole.

It has three parts, which detect different changes:

- A stratified random sample: one element of each of n equal strata of consecutive elements (C
  order), drawn with a fixed seed, and compared like a whole output. A change that affects a share p
  of the elements is missed with a probability of at most (1 - p)^n: 0.6% for p = 1% and the
  smallest sample, 512.
- Exact statistics of up to 64 blocks of consecutive elements: sum, sum of magnitudes, minimum,
  maximum, and counts of NaN and infinities. If every element of a block is within its tolerance,
  the sum is within the sum of the tolerances, and the extremes are within theirs. Otherwise some
  element is outside. All NaN and infinities are detected.
- Index and value of the ten largest elements of up to 64 rows along the last axis, for top-1 and
  top-k.

A change of few elements may be missed if it moves neither sums nor extremes and is not sampled; see
`smallest_share`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import CHUNK, Array, FlatReader, FloatArray, is_number
from pytest_trt.tensors.elements import as_bits, from_bits

Integers: TypeAlias = npt.NDArray[np.int64]

#: Sums, magnitudes, least, largest and nonfinite, as in `Sketch`.
Statistics: TypeAlias = tuple[FloatArray, FloatArray, FloatArray, FloatArray, Integers]

#: The smallest sample: a change of 1% of the elements is missed with a probability of 0.6%.
LEAST_SAMPLE = 512

_BLOCKS = 64
_ROWS = 64
_LARGEST = 10

#: The largest elements of rows take at most one part in so many of a sketch.
_TOP_SHARE = 4


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is stored of a large output.

    Attributes:
        shape: The output's shape.
        places: Flat indices of the sample in C order, ascending, int64 [n].
        values: The sampled elements, in the output's dtype [n].
        sums: Sum of the finite elements of each block, float64 [blocks]; empty for elements without
            an order, such as complex numbers and strings.
        magnitudes: Sum of their absolute values, float64 [blocks].
        least: Minimum of each block, float64 [blocks]; infinity if no element is finite.
        largest: Maximum of each block, float64 [blocks].
        nonfinite: Counts of NaN, +Inf and -Inf, int64 [blocks, 3].
        rows: Numbers of the rows whose largest elements are stored, int64 [rows].
        tops: Indices in the row of its ten largest elements, the largest first, int64 [rows, 10].
        top_values: These elements, float64 [rows, 10].
    """

    shape: tuple[int, ...]
    places: Integers
    values: Array
    sums: FloatArray
    magnitudes: FloatArray
    least: FloatArray
    largest: FloatArray
    nonfinite: Integers
    rows: Integers
    tops: Integers
    top_values: FloatArray

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The output's dtype."""
        return self.values.dtype

    @property
    def size(self) -> int:
        """How many elements the output has."""
        return math.prod(self.shape)

    @property
    def whole_bytes(self) -> int:
        """Size of the whole output in bytes."""
        return self.size * self.dtype.itemsize

    @property
    def smallest_share(self) -> float:
        """The share of changed elements that the sample detects with 99% probability."""
        return smallest_share(self.places.size)


def smallest_share(sampled: int) -> float:
    """Return the share p of changed elements that a sample detects with 99% probability.

    None of n sampled elements is changed with a probability of at most (1 - p)^n.
    """
    return float(1.0 - 0.01 ** (1.0 / max(1, sampled)))


def sketch_of(array: Array, most_bytes: int) -> Sketch:
    """Return the sketch of an output.

    Args:
        array: The output: any shape, layout and dtype, and at least one element.
        most_bytes: Largest size of the sketch in bytes; its sample has at least `LEAST_SAMPLE`
            elements all the same.
    """
    ordered = is_ordered(array.dtype)
    blocks = block_statistics(array, min(_BLOCKS, array.size) if ordered else 0)
    rows, tops, top_values = _largest_of_rows(array, most_bytes // _TOP_SHARE if ordered else 0)
    parts = (*blocks, rows, tops, top_values)
    left = most_bytes - sum(part.nbytes for part in parts)
    count = max(LEAST_SAMPLE, left // (8 + array.dtype.itemsize))
    places = _places(array.size, min(count, array.size))
    return Sketch(array.shape, places, elements_at(array, places), *parts)


def is_ordered(dtype: np.dtype[np.generic]) -> bool:
    """Whether elements have sums and extremes: real numbers do."""
    return is_number(dtype) and dtype.kind != "c"


def bounds_of(size: int, blocks: int) -> Integers:
    """Return where each block begins, and where the last one ends."""
    return np.linspace(0, size, blocks + 1).astype(np.int64)


def elements_at(array: Array, places: Integers) -> Array:
    """Return the elements at flat indices (C order), as a vector."""
    if array.flags.c_contiguous:
        return array.reshape(-1)[places]
    return array[np.unravel_index(places, array.shape)]


def block_statistics(array: Array, blocks: int) -> Statistics:
    """Return sums, magnitudes, least, largest and nonfinite of equal blocks of an array.

    Args:
        array: Real numbers, any layout.
        blocks: The number of blocks.
    """
    sums, magnitudes = np.zeros(blocks), np.zeros(blocks)
    least, largest = np.full(blocks, math.inf), np.full(blocks, -math.inf)
    nonfinite = np.zeros((blocks, 3), np.int64)
    reader, bounds = FlatReader(array, CHUNK), bounds_of(array.size, blocks).tolist()
    scratch = np.empty(min(CHUNK, array.size))
    with np.errstate(all="ignore"):
        for block in range(blocks):
            for start in range(bounds[block], bounds[block + 1], CHUNK):
                stop = min(start + CHUNK, bounds[block + 1])
                part = scratch[: stop - start]
                np.copyto(part, reader.read(start, stop), casting="unsafe")
                total = float(part.sum())
                if not math.isfinite(total):
                    part = _finite(part, nonfinite[block])
                    total = float(part.sum())
                    if not part.size:
                        continue
                sums[block] += total
                least[block] = min(least[block], float(part.min()))
                largest[block] = max(largest[block], float(part.max()))
                magnitudes[block] += float(np.abs(part, out=part).sum())
    return sums, magnitudes, least, largest, nonfinite


def _finite(part: FloatArray, counts: Integers) -> FloatArray:
    """Count NaN and infinities, and return the other elements."""
    counts += (
        np.count_nonzero(np.isnan(part)),
        np.count_nonzero(part == math.inf),
        np.count_nonzero(part == -math.inf),
    )
    return part[np.isfinite(part)]


def _places(size: int, count: int) -> Integers:
    """Return one flat index in each of `count` equal strata, the same in every version of numpy."""
    bounds = bounds_of(size, count)
    # NEP 19: the raw stream of a bit generator does not change, those of distributions may.
    raw = np.random.PCG64(0).random_raw(count)
    return bounds[:-1] + (raw % np.diff(bounds).astype(np.uint64)).astype(np.int64)


def _largest_of_rows(array: Array, most_bytes: int) -> tuple[Integers, Integers, FloatArray]:
    """Return evenly spaced rows along the last axis, and their largest elements.

    Ties are in the order of their indices, and NaN count as the smallest.
    """
    length = array.shape[-1] if array.ndim else 0
    count = min(_LARGEST, length)
    rows = min(_ROWS, array.size // max(1, length), most_bytes // (16 * _LARGEST))
    if length < 2 or not rows:
        none = np.zeros((0, 0))
        return np.zeros(0, np.int64), none.astype(np.int64), none
    numbers = bounds_of(array.size // length, rows)[:-1]
    tops, values = np.empty((rows, count), np.int64), np.empty((rows, count))
    for index, number in enumerate(numbers.tolist()):
        row = row_of(array, number)
        tops[index] = largest_places(row, count)
        values[index] = row[tops[index]]
    return numbers, tops, values


def row_of(array: Array, number: int) -> FloatArray:
    """Return a row along the last axis, NaN as -infinity."""
    row = array[np.unravel_index(number, array.shape[:-1])].astype(np.float64)
    return np.where(np.isnan(row), -math.inf, row)


def largest_places(row: FloatArray, count: int) -> Integers:
    """Return the places of the largest elements of a row, the largest first, ties by place."""
    threshold = np.partition(row, row.size - count)[row.size - count]
    candidates = np.flatnonzero(row >= threshold)
    order = np.argsort(-row[candidates], kind="stable")
    return candidates[order][:count].astype(np.int64)


def sketch_parts(sketch: Sketch) -> dict[str, Array]:
    """Return the arrays of a sketch by name, as numpy's files can hold them."""
    parts = {one.name: getattr(sketch, one.name) for one in fields(sketch) if one.name != "shape"}
    return {**parts, "values": as_bits(sketch.values)}


def sketch_from(shape: tuple[int, ...], dtype: str, parts: Mapping[str, Array]) -> Sketch:
    """Return the sketch that these arrays are the parts of.

    Raises:
        ValueError: They are not the parts of a sketch of such an output.
    """
    names = [one.name for one in fields(Sketch) if one.name != "shape"]
    if parts.keys() != set(names):
        raise ValueError("its arrays are not those of a sketch")
    found = Sketch(shape, **{**parts, "values": from_bits(parts["values"], dtype)})
    blocks, size = found.sums.size, found.size
    rows = (found.rows.size, found.tops.shape[1] if found.tops.ndim == 2 else 0)
    expected = {
        "places": (np.int64, (found.places.size,)),
        "values": (found.values.dtype, (found.places.size,)),
        **dict.fromkeys(("sums", "magnitudes", "least", "largest"), (np.float64, (blocks,))),
        "nonfinite": (np.int64, (blocks, 3)),
        "rows": (np.int64, rows[:1]),
        "tops": (np.int64, rows),
        "top_values": (np.float64, rows),
    }
    for name, (kind, lengths) in expected.items():
        part = getattr(found, name)
        if part.dtype != kind or part.shape != lengths:
            raise ValueError(f"the part {name} has a wrong dtype or shape")
    length = shape[-1] if shape else 1
    inside = [(found.places, size), (found.rows, size // max(1, length)), (found.tops, length)]
    if not found.places.size or any(
        part.size and not (part.min() >= 0 and part.max() < most) for part, most in inside
    ):
        raise ValueError("indices outside of the output")
    return found
