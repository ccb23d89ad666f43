"""A loaded plan, for TensorRT 8.6 to 11 and TensorRT-RTX.

Only what all versions share is used: named tensors and `execute_async_v3`. Deserialising without a
working GPU crashes some versions, so CUDA is started first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.cuda.launch import CaptureError, CudaGraph, sample_events
from pytest_trt.backends.cuda.runtime import Cuda, DeviceBuffer, PinnedBuffer
from pytest_trt.backends.tensorrt.binding import (
    Binding,
    BindingKey,
    Staged,
    converted,
    fits,
    numpy_dtype,
    output_allocator,
)
from pytest_trt.backends.tensorrt.debug_tensors import DebugTensors
from pytest_trt.backends.tensorrt.log import OUT_OF_MEMORY, LogTail, log_tail, process_logger
from pytest_trt.backends.tensorrt.plan_header import metadata_bytes
from pytest_trt.diagnostics import (
    DeviceLostError,
    EngineLoadError,
    EngineRunError,
    Fact,
    InputError,
    Remedy,
)
from pytest_trt.engine.protocols import Plan, Samples
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors import elements
from pytest_trt.tensors.checks import check_inputs
from pytest_trt.tensors.profile_choice import select_profile
from pytest_trt.tensors.profiles import Profile
from pytest_trt.tensors.spec import Tensors

#: Runs with the same shapes before the work is captured: the first one sets up the context, and
#: tests that run each shape once need not pay for a graph.
_RUNS_BEFORE_CAPTURE = 2

#: What TensorRT 8.6 looks up in the libraries that a plan contains, as its error says; its own
#: libnvinfer_plugin has none.
_ENTRY_POINT = "getPluginCreators"

_NO_REASON = "TensorRT gives no reason"
_OTHER_VERSION = "try another version of TensorRT, and report the model to NVIDIA."


class TrtSession:
    """An engine loaded on a GPU.

    From the third run with the same shapes on, the work is replayed as a CUDA graph if it can be
    captured and its outputs are identical to those of enqueuing, bit for bit.

    Args:
        trt: The vendor module.
        plan: A verified plan.
        model: The model that it was built from.
        profiles: The profiles of the build, in order.
        device: CUDA's number of the GPU.
        host_code: Whether the plan may contain its own runtime, as version-compatible ones do.

    Raises:
        BackendUnavailableError: CUDA cannot be used.
        DeviceLostError: The GPU was lost to this process before.
        EngineLoadError: The plan cannot be loaded on this GPU.
    """

    def __init__(
        self,
        trt: Any,
        plan: Plan,
        model: OnnxModel,
        profiles: Sequence[Profile],
        *,
        device: int,
        host_code: bool = False,
    ) -> None:
        self._trt, self._model, self._profiles = trt, model, profiles
        self._cuda = Cuda(device)
        self._cuda.require_alive()
        with log_tail(trt) as tail:
            runtime, engine = loaded_engine(trt, plan, host_code=host_code)
            context = None if engine is None else _context(trt, engine)
        if context is None:
            raise refused_plan(plan.path, model, tail.lines, loaded=engine is not None)
        # The engine refers to its runtime, and the context to its engine.
        self._runtime, self._engine, self._context = runtime, engine, context
        self._profile = 0
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._dtypes = {
            name: numpy_dtype(
                engine.get_tensor_dtype(name).name, tensor=name, model=model.path.name
            )
            for name in names
        }
        on_host = trt.TensorLocation.HOST
        self._on_host = {name for name in names if engine.get_tensor_location(name) == on_host}
        # A builder may drop an input that nothing reads.
        self._inputs = [name for name in names if self._mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if self._mode(name) == trt.TensorIOMode.OUTPUT]
        # Such as a cache of keys and values (ONNX TensorScatter): updated in place, from 10.16 on.
        input_of = getattr(engine, "get_aliased_input_tensor", lambda name: None)
        self._in_place = {name: input_of(name) for name in self._outputs}
        self._device_memory = {name: DeviceBuffer(self._cuda) for name in names}
        self._pinned = {name: PinnedBuffer(self._cuda) for name in names}
        self._allocators = {
            name: output_allocator(trt, self._device_memory[name]) for name in self._outputs
        }
        # Last, as nothing gives it back where the rest fails.
        self._stream = self._cuda.stream()
        self._model_dtypes = {spec.name: elements.numpy_dtype(spec.dtype) for spec in model.outputs}
        self._open_outputs: set[str] = set()
        self._binding: Binding | None = None

    @property
    def graph_refusal(self) -> str | None:
        """Why the last shapes cannot be replayed as a CUDA graph, or None if they can.

        It is known only after the work was to be captured.
        """
        return self._binding.graph_refusal if self._binding else None

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for these inputs, in the model's dtypes.

        Raises:
            InputError: The inputs do not fit the model or the engine's profiles.
            EngineRunError: TensorRT or CUDA failed.
        """
        check_inputs(self._model.inputs, inputs)
        self._cuda.use()
        with log_tail(self._trt) as tail:
            binding = self._bound(inputs, tail)
            binding.upload(self._cuda, inputs, self._stream)
            if binding.graph is not None:
                binding.graph.launch()
            elif not self._enqueue():
                raise self._did_not_run(tail)
            outputs = self._fetched(binding)
            binding.runs += 1
            if binding.runs == _RUNS_BEFORE_CAPTURE:
                self._capture(binding, repeats=outputs)
        return {name: self._as_model(name, array) for name, array in outputs.items()}

    def observe(self, inputs: Tensors, tensors: Collection[str]) -> Tensors:
        """Run once; return every output, and those of some tensors that the engine emits."""
        debug = DebugTensors(self._trt, self._cuda, tensors, self._model.path.name)
        self._cuda.use()
        debug.listen(self._context)
        outputs = self.run(inputs)
        debug.raise_pending()
        return {**debug.values, **outputs}

    def sample(self, inputs: Tensors, *, mode: Literal["graph", "enqueue"], calls: int) -> Samples:
        """Time consecutive calls on the GPU.

        The inputs lie on the device before the first call, and outputs stay there.

        Raises:
            InputError: The inputs do not fit the model or the engine's profiles.
            EngineRunError: TensorRT or CUDA failed, or the work cannot be captured as a graph.
        """
        check_inputs(self._model.inputs, inputs)
        self._cuda.use()
        with log_tail(self._trt) as tail:
            binding = self._bound(inputs, tail)
            binding.upload(self._cuda, inputs, self._stream)
            if mode == "enqueue":
                return sample_events(self._cuda, self._stream, self._enqueue, calls)
            if binding.graph is None and binding.graph_refusal is None:
                if not self._enqueue():
                    raise self._did_not_run(tail)
                self._capture(binding, repeats=self._fetched(binding))
            if binding.graph is None:
                raise EngineRunError(
                    f"the engine of {self._model.path.name} cannot be timed as a CUDA graph: "
                    f"{binding.graph_refusal}",
                    fix='time it by enqueuing: mode="enqueue".',
                    code="TRT343",
                    facts={"model": str(self._model.path), "reason": binding.graph_refusal},
                )
            return sample_events(self._cuda, self._stream, binding.graph.bare_launch, calls)

    def close(self) -> None:
        """Free the engine and its device memory."""
        if self._context is None:
            return
        self._cuda.use()
        self._cuda.call("cudaStreamSynchronize", self._stream)
        if self._binding is not None:
            self._binding.drop_graph()
            self._binding = None
        self._context = self._engine = self._runtime = None
        self._allocators.clear()
        for memory in (self._device_memory, self._pinned):
            for buffer in memory.values():
                buffer.free()
        self._cuda.call("cudaStreamDestroy", self._stream)

    def _mode(self, name: str) -> Any:
        return self._engine.get_tensor_mode(name)

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(int(self._stream)))

    def _did_not_run(self, tail: LogTail) -> EngineRunError:
        self._raise_allocation_error()
        return self._cuda.error(
            f"the engine of {self._model.path.name} did not run: "
            f"{' '.join(tail.lines) or _NO_REASON}",
            fix="check that the shapes fit the profile and that device memory is free.",
            facts={"model": str(self._model.path)},
        )

    def _bound(self, inputs: Tensors, tail: LogTail) -> Binding:
        """Return the binding for these shapes; another binding is dropped first."""
        key: BindingKey = tuple(
            (
                name,
                inputs[name].shape,
                inputs[name].tobytes() if name in self._on_host else b"",
            )
            for name in self._inputs
        )
        if self._binding is not None and self._binding.key == key:
            return self._binding
        if self._binding is not None:
            # A graph holds the state of the context, which the next shapes change.
            self._binding.drop_graph()
            self._binding = None
        self._choose_profile(inputs)
        binding = Binding(key)
        for name in self._inputs:
            self._bind_input(binding, name, inputs[name], tail)
        if any(name in self._on_host for name in self._inputs):
            self._context.infer_shapes()
        for name in self._outputs:
            self._bind_output(binding, name, tail)
        if binding.open_outputs:
            names = ", ".join(binding.open_outputs)
            binding.graph_refusal = f"the shape of {names} depends on the data"
        binding.spoil_outputs(self._cuda, self._stream)
        self._binding = binding
        return binding

    def _choose_profile(self, inputs: Tensors) -> None:
        wanted = select_profile(self._profiles, self._model.inputs, inputs)
        if wanted == self._profile:
            return
        if not self._context.set_optimization_profile_async(wanted, int(self._stream)):
            raise EngineRunError(
                f"the engine of {self._model.path.name} refuses to switch from profile "
                f"{self._profile} to {wanted}",
                fix=Remedy("rebuild the engine:", commands=("pytest-trt cache clear",)),
                code="TRT344",
                facts={"model": str(self._model.path), "profile": wanted},
            )
        self._cuda.call("cudaStreamSynchronize", self._stream)
        self._profile = wanted

    def _bind_input(
        self, binding: Binding, name: str, array: npt.NDArray[np.generic], tail: LogTail
    ) -> None:
        if not self._context.set_input_shape(name, array.shape):
            raise refused_shape(self._model, name, array.shape, tail.lines)
        if name in self._on_host:
            fits(name, array, self._dtypes[name])
            # A copy in C order, never a view: TensorRT reads it at every run.
            values = np.array(array, self._dtypes[name], order="C")
            binding.held.append(values)
            self._set_address(name, values.ctypes.data, tail)
        else:
            binding.inputs[name] = self._staged(name, array.shape, tail)

    def _bind_output(self, binding: Binding, name: str, tail: LogTail) -> None:
        shape = tuple(self._context.get_tensor_shape(name))
        # After a run, TensorRT 8.6 returns that run's shape: once dynamic, always dynamic.
        if any(dim < 0 for dim in shape):
            self._open_outputs.add(name)
        if name in self._open_outputs:
            self._context.set_output_allocator(name, self._allocators[name])
            binding.open_outputs += (name,)
        elif name in self._on_host:
            values = np.empty(shape, self._dtypes[name])
            binding.host_outputs[name] = values
            self._set_address(name, values.ctypes.data, tail)
        else:
            source = binding.inputs.get(self._in_place[name] or "")
            binding.outputs[name] = self._staged(
                name, shape, tail, address=source.device_address if source else 0
            )

    def _set_address(self, name: str, address: int, tail: LogTail) -> None:
        # After a refusal the address would remain that of earlier shapes.
        if self._context.set_tensor_address(name, address) is False:
            raise refused_memory(self._model, name, tail.lines)

    def _staged(
        self, name: str, shape: tuple[int, ...], tail: LogTail, *, address: int = 0
    ) -> Staged:
        host = self._pinned[name].array(shape, self._dtypes[name])
        address = address or self._device_memory[name].at_least(host.nbytes)
        self._set_address(name, address, tail)
        return Staged(host, host.ctypes.data, address)

    def _fetched(self, binding: Binding) -> dict[str, npt.NDArray[np.generic]]:
        """Wait for the run, and return copies of its outputs."""
        binding.download(self._cuda, self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        self._raise_allocation_error()
        found = {name: staged.host.copy() for name, staged in binding.outputs.items()}
        found.update((name, values.copy()) for name, values in binding.host_outputs.items())
        for name in binding.open_outputs:
            # The shape is known only now.
            shape = self._allocators[name].shape
            # With -1 in it: github.com/NVIDIA/TensorRT/issues/4744.
            if shape is None or min(shape, default=0) < 0:
                raise EngineRunError(
                    f"the engine of {self._model.path.name} ran without reporting the shape of "
                    f"output {name!r}",
                    fix=_OTHER_VERSION,
                    code="TRT344",
                    facts={"model": str(self._model.path), "tensor": name},
                )
            host = np.empty(shape, self._dtypes[name])
            address = self._device_memory[name].address
            self._cuda.download(host.ctypes.data, address, host.nbytes, self._stream)
            found[name] = host
        if binding.open_outputs:
            self._cuda.call("cudaStreamSynchronize", self._stream)
        return {name: found[name] for name in self._outputs}

    def _capture(self, binding: Binding, *, repeats: dict[str, npt.NDArray[np.generic]]) -> None:
        """Capture the work of a binding that just ran; use the graph if it repeats the outputs."""
        if binding.graph_refusal is not None:
            return
        try:
            graph = CudaGraph(self._cuda, self._stream, self._enqueue)
        except CaptureError as error:
            binding.graph_refusal = str(error)
            return
        # Else a graph of nothing would repeat them.
        binding.spoil_outputs(self._cuda, self._stream)
        try:
            graph.launch()
            replayed = self._fetched(binding)
        except DeviceLostError:
            raise
        except EngineRunError as failure:
            # The first launch of a graph needs more device memory than enqueuing.
            graph.close()
            binding.graph_refusal = failure.message
            return
        if all(replayed[name].tobytes() == array.tobytes() for name, array in repeats.items()):
            binding.graph = graph
        else:
            graph.close()
            binding.graph_refusal = "its replay gave different outputs than enqueuing"

    def _raise_allocation_error(self) -> None:
        for allocator in self._allocators.values():
            if allocator.raised is not None:
                raised, allocator.raised = allocator.raised, None
                raise raised

    def _as_model(self, name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an output in the model's dtype: TensorRT 8.6 computes INT64 in INT32."""
        dtype = self._model_dtypes.get(name)
        return array if dtype is None else converted(array, dtype)


def _context(trt: Any, engine: Any) -> Any:
    """Return an execution context, or None if there is no memory for it.

    By default TensorRT-RTX compiles kernels for new shapes while others run, so that neither speed
    nor outputs would be those of the engine as it is deployed.
    """
    strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:
        return engine.create_execution_context()
    runtime_config = engine.create_runtime_config()
    runtime_config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
    return engine.create_execution_context(runtime_config)


def loaded_engine(trt: Any, plan: Plan, *, host_code: bool) -> tuple[Any, Any]:
    """Return a runtime, and the engine of a plan on the current device; None if it is refused."""
    runtime = trt.Runtime(process_logger(trt))
    if host_code:
        runtime.engine_host_code_allowed = True
    content = plan.read()
    offset = metadata_bytes(content)
    return runtime, runtime.deserialize_cuda_engine(content[offset:] if offset else content)


def refused_plan(
    plan: Path, model: OnnxModel, log: Sequence[str], *, loaded: bool
) -> EngineLoadError:
    """Return the error for a refused plan; `loaded` if only its context could not be created."""
    facts: dict[str, Fact] = {"model": str(model.path), "plan": str(plan)}
    details = tuple(f"| {line}" for line in log) or (_NO_REASON,)
    if loaded:
        return EngineLoadError(
            f"plan {plan} was loaded, but TensorRT cannot create an execution context for it",
            fix="free device memory (nvidia-smi shows who uses it), or lower the max of the "
            "profiles. An execution context needs memory for the largest shapes.",
            code="TRT324",
            facts=facts,
            details=details,
        )
    if any(OUT_OF_MEMORY.search(line) for line in log):
        return EngineLoadError(
            f"plan {plan} cannot be loaded: device memory ran out",
            fix="free device memory (nvidia-smi shows who uses it).",
            code="TRT324",
            facts=facts,
            details=details,
        )
    fix = Remedy(
        "it was built by another version or for another GPU; rebuild it here:",
        commands=("pytest-trt cache clear",),
    )
    if any(_ENTRY_POINT in line for line in log):
        fix = Remedy(
            f"a library that the plan contains has no function {_ENTRY_POINT}, which TensorRT "
            "calls; remove the option serialize_plugins."
        )
    return EngineLoadError(
        f"plan {plan} cannot be loaded on this GPU",
        fix=fix,
        code="TRT321",
        facts=facts,
        details=details,
    )


def refused_shape(
    model: OnnxModel, tensor: str, shape: tuple[int, ...], log: Sequence[str]
) -> InputError:
    """Return the error for an input shape that the engine refuses."""
    return InputError(
        f"the engine of {model.path.name} refuses shape {shape} for input {tensor!r}: "
        f"{' '.join(log) or _NO_REASON}",
        fix="feed shapes inside the profile that the engine was built with.",
        code="TRT224",
        facts={"model": str(model.path), "tensor": tensor, "given_shape": list(shape)},
    )


def refused_memory(model: OnnxModel, tensor: str, log: Sequence[str]) -> EngineRunError:
    """Return the error for a tensor whose memory the engine refuses."""
    return EngineRunError(
        f"the engine of {model.path.name} refuses memory for tensor {tensor!r}: "
        f"{' '.join(log) or _NO_REASON}",
        fix=_OTHER_VERSION,
        code="TRT344",
        facts={"model": str(model.path), "tensor": tensor},
    )
