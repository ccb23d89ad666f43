"""What is wrong with calibration data: statistics of samples, gathered one by one, and of runs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.elements import is_extension
from pytest_trt.tensors.profiles import Profile, Shape, ShapeRange
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.units import percent_of
from pytest_trt.wording import count

#: Fewer different inputs are too few. Of n + 1 inputs drawn alike, each is as likely as any other
#: to have the largest magnitude in a tensor: with 20, a new input exceeds the calibrated range of
#: a tensor with a chance of 1 in 21, under 5%.
FEWEST_INPUTS = 20

#: Share of repeated inputs from which it is reported. A few copies in a data set are usual, and
#: weigh little in histograms.
_REPEATED = 0.1

#: Share of a run's elements that may be beyond the range: calibration at the 99.99th percentile
#: clips as many on purpose (Wu et al. 2020, arXiv:2004.09602).
_CLIPPED = 1e-4

#: A calibrated range below this share of what is fed is too narrow: half of the INT8 levels, and
#: more, would have been needed elsewhere.
_NARROW = 0.5

#: Levels of symmetric INT8 on each side of zero.
_LEVELS = 127


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """One input in all samples.

    Attributes:
        dtype: Its element type.
        elements: How many elements.
        min: The smallest; 0 where there are no real numbers.
        max: The largest.
        zeros: How many are 0.
        negatives: How many are below 0.
        shapes: Each shape, and how many samples have it.
    """

    dtype: str
    elements: int
    min: float
    max: float
    zeros: int
    negatives: int
    shapes: tuple[tuple[tuple[int, ...], int], ...] = ()

    @property
    def is_quantised(self) -> bool:
        """Whether its values have a range that INT8 covers: indices and texts have none."""
        return self.dtype.startswith(("float", "bfloat")) and self.elements > 0


@dataclass(frozen=True, slots=True)
class CalibrationStatistics:
    """What an engine was calibrated on.

    Attributes:
        samples: How many samples.
        rows: How many inputs: the rows of all samples along a dynamic axis 0.
        distinct: How many of them differ.
        inputs: Each input of the model, by name.
    """

    samples: int
    rows: int
    distinct: int
    inputs: Mapping[str, InputStatistics]


class CalibrationGatherer:
    """Gathers statistics of samples.

    Args:
        inputs: The model's inputs.
    """

    def __init__(self, inputs: Sequence[TensorSpec]) -> None:
        self._specs, self._samples, self._rows = inputs, 0, 0
        self._batched = [one.name for one in inputs if one.shape and isinstance(one.shape[0], str)]
        self._seen: set[bytes | int] = set()
        self._inputs: dict[str, _Input] = {}

    def add(self, sample: Tensors, digest: bytes) -> None:
        """Add a sample that fits the model, and its digest."""
        self._samples += 1
        tensors = items_of(sample, self._specs).tensors
        for name, array in tensors.items():
            self._inputs.setdefault(name, _Input(array.dtype.name)).add(array)
        rows = self._rows_of(tensors)
        self._rows += rows
        self._seen.update(self._each_row(tensors, rows) if rows > 1 else (digest,))

    def statistics(self) -> CalibrationStatistics:
        """Return the statistics of all samples so far."""
        inputs = {name: one.statistics() for name, one in self._inputs.items()}
        return CalibrationStatistics(self._samples, self._rows, len(self._seen), inputs)

    def _rows_of(self, tensors: Tensors) -> int:
        """Return the number of rows of a sample, which is one if its inputs share no batch."""
        sizes = {np.shape(tensors[name])[:1] for name in self._batched if name in tensors}
        return int(sizes.pop()[0]) if len(sizes) == 1 else 1

    def _each_row(self, tensors: Tensors, rows: int) -> Iterator[int]:
        """Yield a hash of each row, the same in this process for the same values."""
        whole = [np.ascontiguousarray(one) for one in tensors.values()]
        batched = [name in self._batched for name in tensors]
        for row in range(rows):
            parts = (
                array[row] if is_batched else array
                for array, is_batched in zip(whole, batched, strict=True)
            )
            yield hash(
                tuple(
                    repr(one.tolist()) if one.dtype.hasobject else hash(one.tobytes())
                    for one in parts
                )
            )


class _Input:
    def __init__(self, dtype: str) -> None:
        self._dtype, self._elements, self._zeros, self._negatives = dtype, 0, 0, 0
        self._min, self._max = np.inf, -np.inf
        self._shapes: Counter[Shape] = Counter()

    def add(self, array: npt.NDArray[Any]) -> None:
        self._shapes[array.shape] += 1
        if is_extension(array.dtype.name):
            array = array.astype(np.float32)
        if array.dtype.kind not in "biuf" or not array.size:
            return
        self._elements += array.size
        self._min = min(self._min, float(array.min()))
        self._max = max(self._max, float(array.max()))
        self._zeros += array.size - int(np.count_nonzero(array))
        if array.dtype.kind in "if":
            self._negatives += int(np.count_nonzero(array < 0))

    def statistics(self) -> InputStatistics:
        low, high = (self._min, self._max) if self._elements else (0.0, 0.0)
        counted = (self._elements, low, high, self._zeros, self._negatives)
        return InputStatistics(self._dtype, *counted, tuple(self._shapes.items()))


def calibration_problems(
    statistics: CalibrationStatistics, profiles: Sequence[Profile], engine: str
) -> Iterator[Diagnostic]:
    """Yield what is wrong with calibration data by itself."""
    few, rows = statistics.distinct, statistics.rows
    for name, one in statistics.inputs.items():
        if one.is_quantised and one.min == one.max:
            yield _warning(
                "TRT240",
                f"{engine}: calibration input {name!r} is {one.min:g} in every element of "
                f"{count(statistics.samples, 'sample')}",
                "calibrate on values that the input has in use.",
                engine=engine,
                tensor=name,
                value=one.min,
                samples=statistics.samples,
            )
        yield from _excluded(name, one, statistics.samples, profiles, engine)
    if few < FEWEST_INPUTS:
        yield _warning(
            "TRT241",
            f"{engine}: calibrated on {count(few, 'different input')}, which is too few: the "
            f"chance that a new one exceeds the range of a tensor is 1 in {few + 1}",
            f"calibrate on {FEWEST_INPUTS} different inputs or more; hundreds are usual.",
            engine=engine,
            inputs=few,
            needed=FEWEST_INPUTS,
        )
    if rows - few > _REPEATED * rows:
        yield _warning(
            "TRT243",
            f"{engine}: {rows - few:,} of {count(rows, 'calibration input')} repeat others",
            "calibrate on different inputs: copies add nothing to a range.",
            engine=engine,
            repeated=rows - few,
            inputs=rows,
        )


def _excluded(
    name: str, one: InputStatistics, samples: int, profiles: Sequence[Profile], engine: str
) -> Iterator[Diagnostic]:
    ranges = [bounds for each in profiles if isinstance(bounds := each.get(name), ShapeRange)]
    outside = {
        shape: times
        for shape, times in one.shapes
        if ranges and not any(_covers(bounds, shape) for bounds in ranges)
    }
    if not outside:
        return
    allowed = " or ".join(f"{list(bounds.min)} to {list(bounds.max)}" for bounds in ranges)
    shape = max(outside, key=lambda one: outside[one])
    yield _warning(
        "TRT245",
        f"{engine}: {sum(outside.values()):,} of "
        f"{count(samples, 'calibration sample')} have shapes of input {name!r} that no profile "
        f"allows, such as {list(shape)}: {allowed}",
        "calibrate on inputs of the sizes that are served, or widen profiles=.",
        engine=engine,
        tensor=name,
        excluded=sum(outside.values()),
        samples=samples,
        shape=list(shape),
    )


def _covers(bounds: ShapeRange, shape: Shape) -> bool:
    """Whether a range covers a shape but for axis 0, the batch, on which no INT8 range depends."""
    triples = zip(bounds.min[1:], shape[1:], bounds.max[1:], strict=False)
    return len(shape) == len(bounds.min) and all(low <= size <= high for low, size, high in triples)


@dataclass(frozen=True, slots=True)
class OutsideRange:
    """An input that runs feed beyond what an engine was calibrated on.

    Attributes:
        input: Its name.
        calibrated: The smallest and the largest value of the calibration data.
        fed: The same of the runs.
        runs: How many runs.
        runs_outside: How many of them have values beyond.
        elements: How many elements all runs have.
        outside: How many of them are beyond.
    """

    input: str
    calibrated: tuple[float, float]
    fed: tuple[float, float]
    runs: int
    runs_outside: int
    elements: int
    outside: int

    @property
    def covered(self) -> float:
        """The calibrated share of the range that is fed."""
        low, high = max(self.calibrated[0], self.fed[0]), min(self.calibrated[1], self.fed[1])
        return max(0.0, high - low) / (self.fed[1] - self.fed[0]) if high > low else 0.0

    @property
    def figures(self) -> str:
        """What is beyond, and how far."""
        runs = f"{self.runs_outside:,} of {count(self.runs, 'run')}"
        return (
            f"input {self.input!r} has {percent_of(100 * self.outside / self.elements)} of its "
            f"elements outside the calibrated range, in {runs}: {_span(self.fed)}, calibrated "
            f"{_span(self.calibrated)}"
        )

    def diagnostic(self, engine: str) -> Diagnostic:
        """Return it as a warning: the range is too narrow, or some elements are beyond."""
        narrow = self.covered < _NARROW
        text = (
            f"only {percent_of(100 * self.covered)} of the range of input {self.input!r} was "
            f"calibrated: it is fed {_span(self.fed)}, calibrated {_span(self.calibrated)}"
        )
        return _warning(
            "TRT242" if narrow else "TRT244",
            f"{engine}: {text if narrow else self.figures}",
            "add inputs like those of this test to the calibration data.",
            engine=engine,
            tensor=self.input,
            calibrated=list(self.calibrated),
            fed=list(self.fed),
            runs=self.runs,
            runs_outside=self.runs_outside,
            elements=self.elements,
            outside=self.outside,
            covered_pct=100 * self.covered,
        )


class RangeWatch:
    """Counts what runs feed beyond the ranges that an engine was calibrated on.

    A value counts where it is beyond by more than one step of symmetric INT8: clipping it costs
    more than rounding. A run counts where so many do that the calibration did not clip them on
    purpose.

    Args:
        statistics: Of the calibration data.
    """

    def __init__(self, statistics: CalibrationStatistics) -> None:
        self._ranges = {
            name: (one.min, one.max) for name, one in statistics.inputs.items() if one.is_quantised
        }
        self._found: dict[str, OutsideRange] = {}

    def add(self, inputs: Tensors) -> None:
        """Count a run."""
        for name, array in inputs.items():
            if name in self._ranges and isinstance(array, np.ndarray) and array.size:
                self._count(name, array)

    def outside(self) -> tuple[OutsideRange, ...]:
        """Return the inputs that are beyond in any run."""
        return tuple(one for one in self._found.values() if one.runs_outside)

    def _count(self, name: str, array: npt.NDArray[Any]) -> None:
        low, high = self._ranges[name]
        step = max(abs(low), abs(high)) / _LEVELS
        values = array.astype(np.float32, copy=False)
        beyond = int(np.count_nonzero((values < low - step) | (values > high + step)))
        fed = float(values.min()), float(values.max())
        if not np.isfinite(fed).all():
            finite = values[np.isfinite(values)]
            fed = (float(finite.min()), float(finite.max())) if finite.size else (low, high)
        known = self._found.get(name, OutsideRange(name, (low, high), fed, 0, 0, 0, 0))
        self._found[name] = OutsideRange(
            name,
            (low, high),
            (min(known.fed[0], fed[0]), max(known.fed[1], fed[1])),
            known.runs + 1,
            known.runs_outside + (beyond > _CLIPPED * array.size),
            known.elements + array.size,
            known.outside + beyond,
        )


def _span(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"


def _warning(code: str, message: str, remedy: str, **facts: Any) -> Diagnostic:
    return Diagnostic(code, message, facts, remedy=Remedy(remedy), severity="warning")
