"""A GPU and a TensorRT made of host memory, for what a session decides by itself.

Device memory is host memory, kernels are numpy functions, and a graph is a list of what was
enqueued: enough to see when a session binds, captures, replays and falls back. That real TensorRT
agrees is for tests/gpu to show.
"""

from __future__ import annotations

import ctypes
import enum
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


class Error(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorInvalidDevice = 101
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900


class FakeRuntime(ModuleType):
    """What sessions use of `cuda.bindings.runtime`."""

    cudaError_t = Error
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.allocations: dict[int, Any] = {}
        self.capturing: list[Callable[[], None]] | None = None
        self.refuses_capture = False
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.replays = 0
        self.copies: list[int] = []
        self.lost: Error | None = None

    def _allocate(self, size: int) -> tuple[Error, int]:
        memory = (ctypes.c_ubyte * size)()
        address = ctypes.addressof(memory)
        self.allocations[address] = memory
        return Error.cudaSuccess, address

    def _free(self, address: int) -> tuple[Error]:
        del self.allocations[address]
        return (Error.cudaSuccess,)

    def cudaGetDeviceCount(self) -> tuple[Error, int]:
        return Error.cudaSuccess, 1

    def cudaDriverGetVersion(self) -> tuple[Error, int]:
        return Error.cudaSuccess, 13000

    def cudaRuntimeGetVersion(self) -> tuple[Error, int]:
        return Error.cudaSuccess, 12090

    def cudaSetDevice(self, device: int) -> tuple[Error]:
        return (Error.cudaSuccess,)

    def cudaGetLastError(self) -> tuple[Error]:
        return (Error.cudaSuccess,)

    def cudaDeviceSynchronize(self) -> tuple[Error]:
        return (self.lost or Error.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Error, int]:
        return self._allocate(size)

    def cudaFree(self, address: int) -> tuple[Error]:
        return self._free(address)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Error, int]:
        return self._allocate(size)

    def cudaFreeHost(self, address: int) -> tuple[Error]:
        return self._free(address)

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[Error]:
        ctypes.memmove(target, source, size)
        self.copies.append(size)
        return (Error.cudaSuccess,)

    def cudaMemsetAsync(self, target: int, value: int, size: int, stream: int) -> tuple[Error]:
        ctypes.memset(target, value, size)
        return (Error.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Error, int]:
        return Error.cudaSuccess, 7

    def cudaStreamDestroy(self, stream: int) -> tuple[Error]:
        return (Error.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Error]:
        return (self.lost or Error.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Error]:
        self.capturing = []
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Error, int | None]:
        captured, self.capturing = self.capturing, None
        if self.refuses_capture:
            return Error.cudaErrorStreamCaptureUnsupported, None
        self.graphs[id(captured)] = captured or []
        return Error.cudaSuccess, id(captured)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Error, int]:
        self.graphs[graph + 1] = self.graphs[graph]
        return Error.cudaSuccess, graph + 1

    def cudaGraphDestroy(self, graph: int) -> tuple[Error]:
        del self.graphs[graph]
        return (Error.cudaSuccess,)

    def cudaGraphExecDestroy(self, executable: int) -> tuple[Error]:
        del self.graphs[executable]
        return (Error.cudaSuccess,)

    def cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Error]:
        self.replays += 1
        for work in self.graphs[executable]:
            work()
        return (Error.cudaSuccess,)

    def cudaEventCreate(self) -> tuple[Error, int]:
        return Error.cudaSuccess, 1

    def cudaEventDestroy(self, event: int) -> tuple[Error]:
        return (Error.cudaSuccess,)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Error]:
        return (Error.cudaSuccess,)

    def cudaEventSynchronize(self, event: int) -> tuple[Error]:
        return (Error.cudaSuccess,)

    def cudaEventElapsedTime(self, before: int, after: int) -> tuple[Error, float]:
        return Error.cudaSuccess, 0.25


class Kind(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class Format(enum.Enum):
    LINEAR = 0
    HWC8 = 2


class Location(enum.Enum):
    DEVICE = 0
    HOST = 1


_MEMBERS = {"float32": "FLOAT", "float16": "HALF", "int32": "INT32", "bool": "BOOL"}


@dataclass
class FakeEngine:
    """An engine whose kernel is a numpy function.

    Attributes:
        inputs: dtype by input.
        outputs: dtype by output.
        compute: Arrays of the inputs to arrays of the outputs.
        shapes: Input shapes to output shapes, as the context infers them; -1 for open dimensions.
        on_host: Tensors that lie in host memory.
        formats: Formats of tensors that are not LINEAR.
        in_place: The input that an output updates, by output.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    compute: Callable[..., Mapping[str, Any]]
    shapes: Callable[..., Mapping[str, tuple[int, ...]]]
    on_host: frozenset[str] = frozenset()
    formats: Mapping[str, Format] = field(default_factory=dict)
    in_place: Mapping[str, str] = field(default_factory=dict)
    runtime: FakeRuntime | None = None
    contexts: list[Any] = field(default_factory=list)

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> Kind:
        return Kind.INPUT if name in self.inputs else Kind.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=_MEMBERS[{**self.inputs, **self.outputs}[name]])

    def get_tensor_location(self, name: str) -> Location:
        return Location.HOST if name in self.on_host else Location.DEVICE

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return self.in_place.get(name)

    def get_tensor_format(self, name: str) -> Format:
        return self.formats.get(name, Format.LINEAR)

    def create_execution_context(self) -> Any:
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.allocators: dict[str, Any] = {}
        self.profiles: list[int] = []
        self.enqueued = 0

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profiles.append(index)
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address
        self.addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self.allocators[name] = allocator
        return True

    def infer_shapes(self) -> list[str]:
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        # As TensorRT 8.6: an open shape is closed by a run.
        if name in self.allocators and self.allocators[name].shape is not None:
            return self.allocators[name].shape
        return self.engine.shapes(
            **self._read(self.engine.on_host & set(self.engine.inputs)),
            **{f"{n}_shape": s for n, s in self.shapes.items()},
        )[name]

    def execute_async_v3(self, stream: int) -> bool:
        self.enqueued += 1
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def work() -> None:
            found = self.engine.compute(**self._read(self.engine.inputs, shapes, addresses))
            for name, value in found.items():
                array = np.ascontiguousarray(value)
                if name in self.allocators:
                    allocator = self.allocators[name]
                    address = allocator.reallocate_output(name, 0, max(array.nbytes, 1), 256)
                    allocator.notify_shape(name, array.shape)
                    if not address:
                        return
                else:
                    address = addresses[name]
                ctypes.memmove(address, array.ctypes.data, array.nbytes)

        runtime = self.engine.runtime
        assert runtime is not None
        if runtime.capturing is None:
            work()
        else:
            runtime.capturing.append(work)
        return True

    def _read(self, names: Any, shapes: Any = None, addresses: Any = None) -> dict[str, Any]:
        shapes, addresses = shapes or self.shapes, addresses or self.addresses
        found = {}
        for name in names:
            dtype = np.dtype(self.engine.inputs[name])
            count = int(np.prod(shapes[name], dtype=int))
            memory = (ctypes.c_ubyte * (count * dtype.itemsize)).from_address(addresses[name])
            found[name] = np.frombuffer(memory, dtype, count).reshape(shapes[name]).copy()
        return found


class FakeTensorRt(ModuleType):
    """What sessions use of the `tensorrt` module; it deserialises every plan to one engine."""

    TensorIOMode = Kind
    TensorLocation = Location
    TensorFormat = Format

    class ILogger:
        Severity = enum.IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)

    class IOutputAllocator:
        pass

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__("tensorrt")
        self.engine = engine

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self.engine)


@pytest.fixture
def fake_runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    runtime = FakeRuntime()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    return runtime
