"""Jobs for the child process of the embedded backend: tensors inside a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.isolated import Task, call_isolated
from pytest_trt.backends.observing.tensor_error import TensorError
from pytest_trt.engine.protocols import Progress
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.libraries import Library
from pytest_trt.records import from_data, to_data

_DOES = "pytest_trt.backends.observing.child"


@dataclass(frozen=True, slots=True)
class Source:
    """The FP32 model and its inputs.

    Attributes:
        model: The model's file.
        inputs: The file of its inputs, see `tensors.stored`.
        folder: A private folder for what lasts from one job to the next.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        custom_ops: Libraries of custom operators.
    """

    model: Path
    inputs: Path
    folder: Path
    threads: int = 0
    custom_ops: tuple[Library, ...] = ()


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor inside a model that can be compared.

    Attributes:
        name: Its name.
        size_bytes: Its size in FP32.
        is_fused: Whether builders are likely to compute it together with what follows.
        reads: The tensors that it is computed from, where all tensors are compared.
    """

    name: str
    size_bytes: int
    is_fused: bool = False
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompareJob:
    """Tensors of an engine to compare.

    Attributes:
        source: The FP32 model.
        tensors: Which tensors are judged.
        values: The file of the engine's tensors: these, and those that they are computed from.
        cut: All tensors that the engine gives: what lies between two of them is one layer.
        tested: The model that the engine computes, where it is another one: what differs in it is
            a cause.
        most: How many of them may be candidates.
        limit: The largest finite value of the engine's type; 0 for none to look for.
        smallest: Its smallest normal value.
        quantised: Whether the engine computes in quantised values.
    """

    source: Source
    tensors: tuple[str, ...]
    values: Path
    cut: tuple[str, ...]
    tested: Path | None = None
    most: int = 16
    limit: float = 0.0
    smallest: float = 0.0
    quantised: bool = False


@dataclass(frozen=True, slots=True)
class CarryJob:
    """Layers whose own error is tried alone.

    Attributes:
        source: The FP32 model.
        tensors: Their tensors; a `CompareJob` before left their values in the folder.
        suspicions: Their own errors, the largest first.
        total: The error of the outputs.
        limit_s: Seconds after which no further one is tried.
    """

    source: Source
    tensors: tuple[str, ...]
    suspicions: tuple[float, ...]
    total: float
    limit_s: float


class Questions:
    """Asks the child process about one FP32 model and its inputs.

    Every method raises the errors of `call_isolated`.

    Args:
        source: The FP32 model.
        model: The same as facts, for messages.
        progress: Called with each step.
    """

    def __init__(
        self, source: Source, model: OnnxModel, progress: Progress = lambda message: None
    ) -> None:
        self.source, self._model, self._progress = source, model, progress

    def resolved(self, model: Path, output: Path, *, timeout_s: float) -> Path:
        """Return a model without branches: a new file, or itself where it has none.

        Args:
            model: The model, which takes the inputs of the FP32 model.
            output: The file to write.
            timeout_s: Seconds after which that is ended.
        """
        source = to_data(self.source)
        arguments = {"source": source, "model": str(model), "output": str(output)}
        return output if self._ask("do_resolve", "reading", timeout_s, **arguments) else model

    def tensors(self, tested: Path, *, timeout_s: float) -> list[Tensor]:
        """Return the floating-point tensors of the model that another one has too."""
        found = self._ask(
            "do_list", "reading", timeout_s, source=to_data(self.source), tested=str(tested)
        )
        return [from_data(Tensor, one) for one in found]

    def compared(self, job: CompareJob, *, timeout_s: float) -> list[TensorError]:
        """Return the figures of the tensors of a job that have the shape that they have in FP32."""
        found = self._ask("do_compare", "comparing the layers of", timeout_s, job=to_data(job))
        return [from_data(TensorError, one) for one in found]

    def carried(self, job: CarryJob, *, timeout_s: float) -> dict[str, float]:
        """Return the error of the outputs that each layer's own error makes alone."""
        found = self._ask("do_carry", "trying the layers of", timeout_s, job=to_data(job))
        return {name: float(error) for name, error in found.items()}

    def _ask(self, function: str, doing: str, timeout_s: float, **arguments: object) -> Any:
        task = Task(
            f"{doing} {self._model.path.name}",
            self._model,
            timeout_s=timeout_s,
            progress=self._progress,
        )
        return call_isolated(f"{_DOES}:{function}", task, **arguments)


def instrument(
    model: OnnxModel, source: Path, tensors: Sequence[str], output: Path, *, timeout_s: float
) -> None:
    """Write a model with further outputs.

    Args:
        model: The model, for messages.
        source: Its file, or the same model without branches.
        tensors: The outputs to add.
        output: The file to write; large weights become external data next to it.
        timeout_s: Seconds after which that is ended; 0 for no limit.

    Raises:
        PytestTrtError: As `call_isolated`.
    """
    call_isolated(
        f"{_DOES}:do_instrument",
        Task(f"writing {model.path.name}", model, timeout_s=timeout_s),
        model=str(source),
        tensors=list(tensors),
        output=str(output),
    )
