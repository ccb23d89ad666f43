"""The layer of an engine whose own error does most to its outputs.

Each layer's error is measured apart from what it is fed: against what FP32 makes of the engine's
own inputs of that layer. Of the layers with the largest own errors, each is then tried alone: FP32
computes the rest of the model with that error and no other. The first layer, in the order of the
model, whose error alone does as much to the outputs as any other's is the one that is named.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from pytest_trt.backends.observing.jobs import CarryJob, CompareJob, Questions, Source, Tensor
from pytest_trt.backends.observing.tensor_error import TensorError, relative_error
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.protocols import Progress
from pytest_trt.files import memory_file
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.precision.observe import not_arrays
from pytest_trt.tensors.spec import Tensors
from pytest_trt.tensors.stored import write_samples

#: Bytes of an engine's tensors that are looked at at once. The child process holds them three
#: times: the engine's, FP32's, and what FP32 makes of the engine's inputs.
_BUDGET_BYTES = 400_000_000

#: Tensors that are not divided further where an engine cannot be built with them as outputs.
_FEW = 8

#: Layers that are tried alone.
_MOST_TRIED = 16

#: Of the largest error that one layer does alone: what an earlier one must do to be named instead.
_AS_MUCH = 0.5

#: The share of the error of the outputs that makes one layer the one to blame.
ALONE = 0.5

#: Operators that hold branches.
_HAS_BRANCHES = frozenset({"If", "ai.onnx::If"})

#: Own errors below this are rounding of float32.
_ROUNDING = 1e-6


class Observe(Protocol):
    """Runs what is tested, and returns its outputs and some of its tensors."""

    def __call__(
        self, source: Path, tensors: Sequence[str], folder: Path, *, all_of_them: bool
    ) -> Tensors:
        """Return the values by name.

        Args:
            source: The file of the tested model, or the same without branches.
            tensors: Tensors inside the model.
            folder: A private folder that exists as long as the search.
            all_of_them: Whether to return them all, even if that changes what is fused.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine's type cannot hold.

    Attributes:
        largest: Its largest finite value; 0 for none that matters.
        smallest: Its smallest normal value.
        quantised: Whether values are quantised to a range that calibration, or the model, sets.
    """

    largest: float = 0.0
    smallest: float = 0.0
    quantised: bool = False


#: Source: IEEE 754-2008 (binary16); bfloat16 has the range of binary32.
LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(),
    "fp16": Limits(65504.0, 2.0**-14),
    "bf16": Limits(3.3895313892515355e38, 2.0**-126),
    **{name: Limits(quantised=True) for name in ("int8", "fp8", "int4", "mixed")},
}


@dataclass(frozen=True, slots=True)
class Case:
    """What is compared.

    Attributes:
        reference: The FP32 model.
        tested: The file of the model that is tested: the same, unless another model gives the
            reference.
        inputs: Inputs of the FP32 model.
        outputs: What the run under test returned.
        expected: What FP32 returned.
        observe: Runs what is tested.
        limits: The range of the engine's type.
        fuses: Whether to leave tensors alone, at first, that builders would compute together with
            what follows.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        progress: Called with each step.
    """

    reference: OnnxModel
    tested: Path
    inputs: Tensors
    outputs: Tensors
    expected: Tensors
    observe: Observe
    limits: Limits = Limits()
    fuses: bool = False
    threads: int = 0
    progress: Progress = lambda message: None


@dataclass(frozen=True, slots=True)
class Localization:
    """What was found.

    Attributes:
        layers: The layers that were compared, those with the largest own error first.
        first: The layer to blame; None where no layer has an error of its own.
        total: The relative error of the outputs of the run under test.
        changed: The relative difference that looking made to those outputs.
        tensors: Tensors that both models have.
        seconds: How long it took.
        is_complete: Whether all tensors were compared within the time limit.
    """

    layers: tuple[TensorError, ...] = ()
    first: TensorError | None = None
    total: float = 0.0
    changed: float = 0.0
    tensors: int = 0
    seconds: float = 0.0
    is_complete: bool = True

    @property
    def share(self) -> float:
        """The error that the layer does alone, of the whole error: 1.0 for all of it."""
        carried = self.first.carried if self.first else None
        if carried is None:
            return 0.0
        if math.isinf(carried) or not self.total:
            return 1.0
        return 0.0 if math.isinf(self.total) else carried / self.total


def localize(case: Case, *, timeout_s: float) -> Localization:
    """Return the layer to blame for the error of a run.

    Raises:
        PytestTrtError: A model cannot be built, loaded or run, or a step took too long.
        OSError: A file cannot be read or written.
    """
    with TemporaryDirectory(prefix="pytest-trt-") as folder, memory_file() as inputs:
        try:
            write_samples(inputs, [case.inputs])
        except ValueError as error:
            raise not_arrays() from error
        source = Source(
            case.reference.path, inputs, Path(folder), case.threads, case.reference.custom_ops
        )
        return _Search(case, source, timeout_s).result()


class _Search:
    """One search."""

    def __init__(self, case: Case, source: Source, timeout_s: float) -> None:
        self._case, self._source, self._tested = case, source, case.tested
        self._ask = Questions(source, case.reference, case.progress)
        self._started_s = time.monotonic()
        self._end_s = self._started_s + timeout_s
        self._changed = 0.0
        self._tensors: dict[str, Tensor] = {}
        self._carried: dict[str, float] = {}
        self._missing: set[str] = set()

    def result(self) -> Localization:
        """Compare the layers, try the worst, and look into the one to blame."""
        self._resolve_branches()
        listed = self._ask.tensors(self._tested, timeout_s=self._left_s)
        self._tensors = {one.name: one for one in listed}
        fused = frozenset(one.name for one in listed if one.is_fused and self._case.fuses)
        names = [one.name for one in listed if one.name not in fused]
        found: dict[str, TensorError] = {}
        chunks = list(self._chunks(names, fused))
        for number, chunk in enumerate(chunks):
            if number and not self._has_time:
                break
            found |= self._compared(chunk, frozenset(names))
        first = self._first(found)
        fused |= self._missing
        if first is not None and self._has_time and (inner := self._inside(first.tensor, fused)):
            closer = {*inner, first.tensor, *self._reads(first.tensor, fused)}
            nearer = self._compared([*inner, first.tensor], frozenset(closer), all_of_them=True)
            found |= nearer
            first = self._first(nearer) or first
        layers = [self._complete(one, found, fused) for one in found.values()]
        layers.sort(key=lambda one: -one.suspicion)
        return Localization(
            layers=tuple(layers),
            first=next((one for one in layers if first and one.tensor == first.tensor), None),
            total=self._total,
            changed=self._changed,
            tensors=len(listed),
            seconds=time.monotonic() - self._started_s,
            is_complete=number + 1 == len(chunks) if chunks else True,
        )

    def _resolve_branches(self) -> None:
        """Look at models without the branches that the run does not take."""
        if not _HAS_BRANCHES & {*self._case.reference.op_types}:
            return
        same = self._tested == self._source.model
        folder = self._source.folder
        right = self._ask.resolved(
            self._source.model, folder / "right.onnx", timeout_s=self._left_s
        )
        self._tested = (
            right
            if same
            else self._ask.resolved(self._tested, folder / "tested.onnx", timeout_s=self._left_s)
        )
        self._source = replace(self._source, model=right)
        self._ask = Questions(self._source, self._case.reference, self._case.progress)

    @property
    def _total(self) -> float:
        return outputs_error(self._case.outputs, self._case.expected)

    @property
    def _has_time(self) -> bool:
        return time.monotonic() < self._end_s

    @property
    def _left_s(self) -> float:
        # A step that has begun may end: a late answer is better than none.
        return max(self._end_s - time.monotonic(), 1.0) * 2

    def _compared(
        self, chunk: Sequence[str], cut: frozenset[str], *, all_of_them: bool = False
    ) -> dict[str, TensorError]:
        """Return the figures of some tensors, where `cut` are all that the engine gives."""
        fused = frozenset(self._tensors) - cut
        wanted = dict.fromkeys([*chunk, *(r for name in chunk for r in self._reads(name, fused))])
        try:
            values = self._case.observe(
                self._tested, list(wanted), self._source.folder, all_of_them=all_of_them
            )
        except EngineBuildError:
            # Builders refuse some tensors as outputs, and do not say which.
            if len(chunk) <= _FEW or not self._has_time:
                raise
            return self._in_halves(chunk, cut, all_of_them=all_of_them)
        self._missing |= wanted.keys() - values.keys()
        outputs = {name: values[name] for name in self._case.outputs if name in values}
        self._changed = max(self._changed, outputs_error(outputs, self._case.outputs))
        given = {name: values[name] for name in wanted if name in values}
        with memory_file() as file:
            write_samples(file, [given])
            tested = self._tested
            job = CompareJob(
                self._source,
                tuple(chunk),
                file,
                tuple(given),
                None if tested == self._source.model else tested,
                _MOST_TRIED,
                self._case.limits.largest,
                self._case.limits.smallest,
                self._case.limits.quantised,
            )
            found = self._ask.compared(job, timeout_s=self._left_s)
        return {one.tensor: one for one in found}

    def _in_halves(
        self, chunk: Sequence[str], cut: frozenset[str], *, all_of_them: bool
    ) -> dict[str, TensorError]:
        """Return the figures of what can be looked at, without a part that cannot."""
        half = len(chunk) // 2
        found: dict[str, TensorError] = {}
        failed: list[EngineBuildError] = []
        for part in (chunk[:half], chunk[half:]):
            try:
                found |= self._compared(part, cut, all_of_them=all_of_them)
            except EngineBuildError as error:
                failed.append(error)
        if len(failed) > 1:
            raise failed[0]
        return found

    def _first(self, found: Mapping[str, TensorError]) -> TensorError | None:
        """Return the first layer whose own error alone does as much as that of any other."""
        worst = [one for one in found.values() if one.suspicion > _ROUNDING]
        worst = sorted(worst, key=lambda one: -one.suspicion)[:_MOST_TRIED]
        if not worst:
            return None
        names = tuple(one.tensor for one in worst)
        if self._has_time:
            suspicions = tuple(one.suspicion for one in worst)
            left_s = self._end_s - time.monotonic()
            job = CarryJob(self._source, names, suspicions, self._total, left_s)
            self._carried |= self._ask.carried(job, timeout_s=self._left_s)
        most = max((self._carried.get(name, 0.0) for name in names), default=0.0)
        if not most:  # none was tried, or none reaches an output
            return worst[0]
        # Where none is to blame, the worst is named; and none that is not, where another one is.
        blamed = ALONE * self._total
        least = max(most * _AS_MUCH, blamed) if most >= blamed else most
        enough = {name for name in names if self._carried.get(name, 0.0) >= least}
        return next(found[name] for name in self._tensors if name in enough)

    def _complete(
        self, one: TensorError, found: Mapping[str, TensorError], fused: frozenset[str]
    ) -> TensorError:
        read = [found[name].error for name in self._reads(one.tensor, fused) if name in found]
        return replace(one, before=max(read, default=0.0), carried=self._carried.get(one.tensor))

    def _reads(self, name: str, fused: frozenset[str]) -> dict[str, None]:
        """Return the tensors that one is computed from, those left out being passed through."""
        read: dict[str, None] = {}
        for each in self._tensors[name].reads:
            read |= self._reads(each, fused) if each in fused else {each: None}
        return read

    def _inside(self, name: str, fused: frozenset[str]) -> list[str]:
        """Return the tensors that were left out on the way to one."""
        found: list[str] = []
        for each in self._tensors[name].reads:
            if each in fused:
                found += [*self._inside(each, fused), each]
        return list(dict.fromkeys(found))

    def _chunks(self, names: Sequence[str], fused: frozenset[str]) -> Iterator[list[str]]:
        """Yield tensors to look at together: as many as the budget holds, at least one."""
        chunk: list[str] = []
        held: dict[str, None] = {}
        for name in names:
            more = {name: None} | self._reads(name, fused)
            size_bytes = sum(self._tensors[one].size_bytes for one in held | more)
            if chunk and size_bytes > _BUDGET_BYTES:
                yield chunk
                chunk, held = [], {}
            chunk.append(name)
            held |= more
        if chunk:
            yield chunk


def outputs_error(actual: Tensors, reference: Tensors) -> float:
    """Return the largest relative error of outputs; those that are no numbers are left out."""
    return max(
        (
            relative_error(actual[name], reference[name])
            for name in actual.keys() & reference.keys()
            if _are_numbers(actual[name], reference[name])
        ),
        default=0.0,
    )


def _are_numbers(actual: object, reference: object) -> bool:
    return (
        isinstance(actual, np.ndarray)
        and isinstance(reference, np.ndarray)
        and actual.shape == reference.shape
        and not actual.dtype.hasobject
    )
