"""A plan that runs: the same for TensorRT 8.6 to 11 and TensorRT-RTX.

Only what all of them share is used: named tensors and `execute_async_v3`. Deserialising without a
working GPU kills the interpreter in some versions, so CUDA is started first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.cuda import Cuda, DeviceBuffer
from pytest_trt.backends.trt_logging import LogTail, log_tail, process_logger
from pytest_trt.errors import EngineLoadError, EngineRunError, InputError
from pytest_trt.model import OnnxModel, Profile, Tensors, check_inputs, select_profile

#: numpy's name of an element type by member of `DataType`. TensorRT's own `nptype` fails with
#: some numpy versions.
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}


class TrtSession:
    """An engine loaded on a GPU.

    Args:
        trt: The vendor module.
        plan: A verified plan file.
        model: What it was built from.
        profiles: The profiles that it was built with, in order.
        device: CUDA's number of the GPU.
        host_code: Whether the plan may bring its own runtime, as version-compatible ones do.

    Raises:
        BackendUnavailableError: CUDA cannot be used.
        EngineLoadError: The plan cannot be loaded on this GPU.
    """

    def __init__(
        self,
        trt: Any,
        plan: Path,
        model: OnnxModel,
        profiles: Sequence[Profile],
        *,
        device: int,
        host_code: bool = False,
    ) -> None:
        self._trt, self._model, self._profiles = trt, model, profiles
        self._cuda = Cuda(device)
        with log_tail(trt) as tail:
            runtime = trt.Runtime(process_logger(trt))
            if host_code:
                runtime.engine_host_code_allowed = True
            engine = runtime.deserialize_cuda_engine(plan.read_bytes())
            context = engine.create_execution_context() if engine is not None else None
        if context is None:
            raise _refused(plan, tail)
        # The engine refers to its runtime, and the context to its engine.
        self._runtime, self._engine, self._context = runtime, engine, context
        self._stream = self._cuda.stream()
        self._profile = 0
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._dtypes = {name: self._dtype(name) for name in names}
        self._outputs = [
            name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT
        ]
        self._buffers = {name: DeviceBuffer(self._cuda) for name in names}
        self._allocators = {
            name: _output_allocator(trt, self._buffers[name]) for name in self._outputs
        }

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for these inputs, in the model's dtypes.

        Raises:
            InputError: The inputs do not fit the model or the engine's profiles.
            EngineRunError: TensorRT or CUDA failed.
        """
        check_inputs(self._model.inputs, inputs)
        self._cuda.use()
        with log_tail(self._trt) as tail:
            self._choose_profile(inputs)
            # Host arrays must live until the copies from them are done.
            held = [
                self._feed(name, array, tail)
                for name, array in inputs.items()
                if name in self._dtypes  # a builder may drop an input that nothing reads
            ]
            targets = [self._prepare(name) for name in self._outputs]
            if not self._context.execute_async_v3(int(self._stream)):
                self._raise_allocation_error()
                raise EngineRunError(
                    f"the engine of {self._model.path.name} did not run: "
                    f"{' '.join(tail.lines) or 'TensorRT gives no reason'}",
                    fix="check that the shapes fit the profile and that device memory is free.",
                )
            outputs = {
                name: self._fetch(name, target)
                for name, target in zip(self._outputs, targets, strict=True)
            }
            self._cuda.call("cudaStreamSynchronize", self._stream)
        del held
        return {name: self._as_model(name, array) for name, array in outputs.items()}

    def close(self) -> None:
        """Free the engine and its device memory."""
        if self._context is None:
            return
        self._cuda.use()
        self._cuda.call("cudaStreamSynchronize", self._stream)
        self._context = self._engine = self._runtime = None
        self._allocators.clear()
        for buffer in self._buffers.values():
            buffer.free()
        self._cuda.call("cudaStreamDestroy", self._stream)

    def _dtype(self, name: str) -> npt.DTypeLike:
        member = self._engine.get_tensor_dtype(name).name
        if member not in _DTYPES:
            raise EngineLoadError(
                f"tensor {name!r} of {self._model.path.name} is {member}, which numpy cannot hold.",
                fix="export the model with float32 or float16 inputs and outputs.",
            )
        return np.dtype(_DTYPES[member])

    def _choose_profile(self, inputs: Tensors) -> None:
        shapes = {name: array.shape for name, array in inputs.items()}
        wanted = select_profile(self._profiles, self._model.inputs, shapes)
        if wanted == self._profile:
            return
        if not self._context.set_optimization_profile_async(wanted, int(self._stream)):
            raise EngineRunError(
                f"the engine of {self._model.path.name} refuses to switch from profile "
                f"{self._profile} to {wanted}.",
                fix="rebuild the engine: `pytest-trt cache clear`.",
            )
        self._cuda.call("cudaStreamSynchronize", self._stream)
        self._profile = wanted

    def _feed(self, name: str, array: npt.NDArray[Any], tail: LogTail) -> npt.NDArray[Any]:
        host = np.ascontiguousarray(_cast(name, array, np.dtype(self._dtypes[name])))
        # ascontiguousarray makes scalars one-dimensional.
        host = host.reshape(array.shape)
        if not self._context.set_input_shape(name, host.shape):
            raise InputError(
                f"the engine of {self._model.path.name} does not take shape {host.shape} for "
                f"input {name!r}: {' '.join(tail.lines) or 'TensorRT gives no reason'}",
                fix="feed shapes inside the profile that the engine was built with.",
            )
        if self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST:
            address = host.ctypes.data
        else:
            address = self._buffers[name].at_least(host.nbytes)
            self._cuda.upload(address, host, self._stream)
        self._context.set_tensor_address(name, address)
        return host

    def _prepare(self, name: str) -> npt.NDArray[Any] | None:
        """Give an output its memory; return its host array, or None if its shape is open yet."""
        shape = tuple(self._context.get_tensor_shape(name))
        if any(dim < 0 for dim in shape):
            self._allocators[name].shape = None
            self._context.set_output_allocator(name, self._allocators[name])
            return None
        host = np.empty(shape, self._dtypes[name])
        if self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST:
            self._context.set_tensor_address(name, host.ctypes.data)
        else:
            self._context.set_tensor_address(name, self._buffers[name].at_least(host.nbytes))
        return host

    def _fetch(self, name: str, host: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        self._raise_allocation_error()
        if host is None:
            host = np.empty(self._allocators[name].shape, self._dtypes[name])
        if self._engine.get_tensor_location(name) != self._trt.TensorLocation.HOST:
            self._cuda.download(host, self._buffers[name].at_least(host.nbytes), self._stream)
        return host

    def _raise_allocation_error(self) -> None:
        for allocator in self._allocators.values():
            if allocator.raised is not None:
                raised, allocator.raised = allocator.raised, None
                raise raised

    def _as_model(self, name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Undo what the parser did to types: TensorRT 8.6 computes INT64 in INT32."""
        spec = next((spec for spec in self._model.outputs if spec.name == name), None)
        return array if spec is None else array.astype(spec.dtype, copy=False)


def _cast(name: str, array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if array.dtype == dtype:
        return array
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        low, high = array.min(), array.max()
        if low < limits.min or high > limits.max:
            raise InputError(
                f"input {name!r} has values from {low} to {high}; the engine computes it in "
                f"{dtype}, which ends at {limits.max}.",
                fix="feed smaller values, or use a TensorRT version with 64-bit integers (10.0).",
            )
    return array.astype(dtype)


def _refused(plan: Path, tail: LogTail) -> EngineLoadError:
    lines = "".join(f"\n  | {line}" for line in tail.lines)
    return EngineLoadError(
        f"plan {plan} cannot be loaded on this GPU.{lines or ' TensorRT gives no reason.'}",
        fix="it was made by another version or for another GPU: `pytest-trt cache clear`, then "
        "run again to build it here.",
    )


def _output_allocator(trt: Any, buffer: DeviceBuffer) -> Any:
    """Return an allocator for an output whose shape is known only after the run."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shape: tuple[int, ...] | None = None
            self.raised: BaseException | None = None

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            # What is raised here would be printed, lost, and taken for a null pointer.
            try:
                return buffer.at_least(size)
            except BaseException as exc:
                self.raised = exc
                return 0

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shape = tuple(shape)

    return Allocator()
