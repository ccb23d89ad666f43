"""Tensors of an execution context: their numpy types, and memory for one set of shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.cuda.launch import CudaGraph
from pytest_trt.backends.cuda.runtime import Cuda, DeviceBuffer
from pytest_trt.diagnostics import EngineLoadError, InputError
from pytest_trt.tensors import elements
from pytest_trt.tensors.spec import Tensors

#: Name of an element type by member of `DataType`. TensorRT's own `nptype` fails with some
#: numpy versions, and for types that numpy lacks.
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
    "BF16": "bfloat16",
    "FP8": "float8e4m3fn",
    "E8M0": "float8e8m0",
}


def numpy_dtype(member: str, *, tensor: str, model: str) -> np.dtype[Any]:
    """Return numpy's type for a member of TensorRT's `DataType`.

    Args:
        member: "FLOAT", "HALF", "BF16", ...
        tensor: The tensor's name, for the message.
        model: The model's file name, for the message.

    Raises:
        EngineLoadError: Elements of the type are smaller than a byte.
    """
    dtype = elements.numpy_dtype(_DTYPES.get(member, ""))
    if dtype is not None:
        return dtype
    raise EngineLoadError(
        f"tensor {tensor!r} of {model} is {member}, whose elements are smaller than a byte: "
        "pytest-trt cannot read or write it on a GPU",
        fix="export the model with float32 or float16 inputs and outputs.",
        code="TRT209",
        facts={"model": model, "tensor": tensor, "dtype": member},
    )


def fits(name: str, array: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Check that an engine's integer type holds the values of an input.

    Raises:
        InputError: TensorRT 8.6 computes INT64 in INT32, and a value is outside that.
    """
    if array.dtype == dtype or dtype.kind not in "iu" or not array.size:
        return
    limits = np.iinfo(dtype)
    low, high = array.min(), array.max()
    if low < limits.min or high > limits.max:
        raise InputError(
            f"input {name!r} has values from {low} to {high}; the engine computes it in {dtype}, "
            f"which ends at {limits.max}",
            fix="feed smaller values, or use TensorRT 10.0 or newer, which has 64-bit integers.",
            code="TRT228",
            facts={"tensor": name, "dtype": str(dtype), "low": int(low), "high": int(high)},
        )


def converted(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return an array in an engine's type, or the model's; what overflows is infinite."""
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype)


#: The key of a binding: shape by input, and the values of inputs that hold a shape.
BindingKey = tuple[tuple[str, tuple[int, ...], bytes], ...]

#: Bytes of one step when a large input is uploaded. While one step crosses the bus, the host copies
#: the next into page-locked memory; smaller steps cost more calls than they save.
STEP_BYTES = 1 << 20


@dataclass(slots=True)
class Staged:
    """A tensor on the device, and the page-locked array for its copies.

    Attributes:
        host: The page-locked array.
        host_address: The address of that array.
        device_address: The address on the device.
    """

    host: npt.NDArray[np.generic]
    host_address: int
    device_address: int


@dataclass(slots=True)
class Binding:
    """Memory for every tensor at one set of shapes.

    Attributes:
        key: The shapes, and the values of shape inputs.
        inputs: Inputs on the device, by name.
        outputs: Outputs on the device whose shapes are known, by name.
        host_outputs: Outputs that TensorRT writes to host memory (shapes), by name.
        open_outputs: Names of outputs whose shape depends on the data.
        held: Host arrays that TensorRT reads; they must outlive the binding.
        runs: The number of runs.
        graph: The captured work, or None.
        graph_refusal: Why it cannot be captured, or None.
    """

    key: BindingKey
    inputs: dict[str, Staged] = field(default_factory=dict)
    outputs: dict[str, Staged] = field(default_factory=dict)
    host_outputs: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    open_outputs: tuple[str, ...] = ()
    held: list[npt.NDArray[np.generic]] = field(default_factory=list)
    runs: int = 0
    graph: CudaGraph | None = None
    graph_refusal: str | None = None

    def upload(self, cuda: Cuda, inputs: Tensors, stream: Any) -> None:
        """Copy the inputs to the device, in stream order.

        Raises:
            InputError: A value is outside the integer type that the engine computes in.
        """
        for name, staged in self.inputs.items():
            array, host = inputs[name], staged.host
            fits(name, array, host.dtype)
            if array.nbytes > STEP_BYTES and array.dtype == host.dtype and array.flags.c_contiguous:
                _upload_in_steps(cuda, array, staged, stream)
            else:
                np.copyto(host, converted(array, host.dtype))
                cuda.upload(staged.device_address, staged.host_address, host.nbytes, stream)

    def download(self, cuda: Cuda, stream: Any) -> None:
        """Copy the outputs to their page-locked arrays, in stream order."""
        for staged in self.outputs.values():
            cuda.download(staged.host_address, staged.device_address, staged.host.nbytes, stream)

    def spoil_outputs(self, cuda: Cuda, stream: Any) -> None:
        """Overwrite the outputs, so that what is not computed again cannot pass as computed.

        But not those that are inputs, updated in place.
        """
        fed = {staged.device_address for staged in self.inputs.values()}
        for staged in self.outputs.values():
            if staged.device_address not in fed:
                cuda.spoil(staged.device_address, staged.host.nbytes, stream)

    def drop_graph(self) -> None:
        """Release the graph."""
        if self.graph is not None:
            self.graph.close()
            self.graph = None


def _upload_in_steps(
    cuda: Cuda, array: npt.NDArray[np.generic], staged: Staged, stream: Any
) -> None:
    source, target = array.reshape(-1).view(np.uint8), staged.host.reshape(-1).view(np.uint8)
    for start in range(0, source.size, STEP_BYTES):
        step = slice(start, min(start + STEP_BYTES, source.size))
        target[step] = source[step]
        size_bytes = step.stop - start
        cuda.upload(staged.device_address + start, staged.host_address + start, size_bytes, stream)


def output_allocator(trt: Any, buffer: DeviceBuffer) -> Any:
    """Return an allocator for an output whose shape is known only after the run.

    Its attributes are `shape`, set by the run, and `raised`, an exception of the callback or None.
    """

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shape: tuple[int, ...] | None = None
            self.raised: BaseException | None = None

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            # TensorRT prints and swallows exceptions raised here, and uses a null pointer.
            try:
                return buffer.at_least(size)
            except BaseException as exc:
                self.raised = exc
                return 0

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shape = tuple(shape)

    return Allocator()
