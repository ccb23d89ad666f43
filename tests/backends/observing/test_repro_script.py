"""How the script of a bundle talks to TensorRT: its engine is a fake, and CUDA's memory the host's.

On a GPU, `tests/gpu/test_localize.py` runs the script itself.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_trt.backends.observing import repro_script

ABOUT = {
    "module": "tensorrt_of_test",
    "libraries": [],
    "host_code": False,
    "toolchain": "TensorRT 8.6.0",
    "target": "sm90 (NVIDIA H200)",
}

#: Name, whether it is an input, type, and whether it lies on the host.
TENSORS = {"x": (True, "FLOAT", False), "sizes": (True, "INT32", True), "y": (False, "HALF", False)}


class Memory:
    def __init__(self) -> None:
        self.buffers: list[Any] = []

    def memory(self, size_bytes: int) -> int:
        self.buffers.append(ctypes.create_string_buffer(size_bytes))
        return ctypes.addressof(self.buffers[-1])

    def upload(self, device: int, host: int, size_bytes: int) -> None:
        ctypes.memmove(device, host, size_bytes)

    download = upload

    def wait(self) -> None: ...


class Context:
    """Computes y = 2x in float16, for at least two rows."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.profile = -1

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return name != "x" or shape[0] <= (1, 4)[self.profile]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes["x"]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        size = int(np.prod(self.shapes["x"]))
        x = np.ctypeslib.as_array((ctypes.c_float * size).from_address(self.addresses["x"]))
        doubled = (2 * x).astype(np.float16)
        ctypes.memmove(self.addresses["y"], doubled.ctypes.data, doubled.nbytes)
        return True


class Engine:
    num_io_tensors = len(TENSORS)
    num_optimization_profiles = 2

    def get_tensor_name(self, index: int) -> str:
        return [*TENSORS][index]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if TENSORS[name][0] else "output"

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=TENSORS[name][1])

    def get_tensor_location(self, name: str) -> str:
        return "host" if TENSORS[name][2] else "device"

    def create_execution_context(self) -> Context:
        return Context()


class Runtime:
    def __init__(self, logger: object) -> None: ...

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        return Engine() if plan == b"plan" else None


class Logger:
    WARNING = 2

    def __init__(self, severity: int) -> None: ...


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    vendor = SimpleNamespace(
        Logger=Logger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="input"),
        TensorLocation=SimpleNamespace(HOST="host"),
        __version__="8.6.0",
    )
    monkeypatch.setitem(sys.modules, "tensorrt_of_test", vendor)  # type: ignore[arg-type]
    monkeypatch.setattr(repro_script, "Cuda", Memory)
    (tmp_path / "engine.plan").write_bytes(b"plan")
    return tmp_path / "engine.plan"


def test_runs_a_plan_in_the_profile_that_takes_the_shapes(plan: Path) -> None:
    inputs = {"x": np.arange(6.0).reshape(2, 3), "sizes": np.array([2, 3])}
    found = repro_script.run_tensorrt(str(plan), ABOUT, inputs)
    assert found.keys() == {"y"}
    np.testing.assert_array_equal(found["y"], np.arange(0.0, 12.0, 2.0).reshape(2, 3))
    assert found["y"].dtype == np.float16


def test_says_what_cannot_be_run(plan: Path) -> None:
    inputs = {"x": np.zeros((9, 3)), "sizes": np.array([9, 3])}
    with pytest.raises(OSError, match="no profile of the engine takes these shapes"):
        repro_script.run_tensorrt(str(plan), ABOUT, inputs)
    plan.write_bytes(b"other")
    with pytest.raises(OSError, match=r"cannot load .* it was built by TensorRT 8\.6\.0 for sm90"):
        repro_script.run_tensorrt(str(plan), ABOUT, inputs)


LIMITS = {
    "rtol": 0.0,
    "atol": 0.1,
    "nan": "forbid",
    "max_mismatch_pct": 0.0,
    "elementwise": True,
    "relative": 0.5,
}


@pytest.mark.parametrize(
    ("actual", "changed", "expected"),
    [
        ([1.0, 2.0], {}, False),
        ([1.0, 2.5], {}, True),
        ([1.0, 2.5], {"max_mismatch_pct": 50.0}, False),
        ([1.0, np.nan], {}, True),
        ([1.0, np.nan], {"nan": "ignore"}, False),
        ([1.0, 2.5], {"elementwise": False}, False),  # 0.22 of relative error, below half of it
        ([1.0, 3.0], {"elementwise": False}, True),
        ([[1.0, 2.0]], {}, True),
    ],
)
def test_judges_outputs_by_the_tolerance(
    actual: list[float], changed: dict[str, Any], expected: bool
) -> None:
    given = np.array(actual, np.float32)
    limits = {**LIMITS, **changed}
    assert repro_script.differs("y", given, np.array([1.0, 2.0]), limits) is expected


def test_a_missing_output_differs() -> None:
    assert repro_script.differs("y", None, np.array([1.0, 2.0]), LIMITS)
