from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders_planted as planted
import numpy as np
import onnx
import pytest

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.tensorrt.backend import TensorRtBackend, TensorRtRtxBackend
from pytest_trt.backends.tensorrt.build import build_plan
from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.debug_tensors import DebugTensors, can_mark
from pytest_trt.engine.protocols import BuildRequest, ObservesTensors
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model
from pytest_trt.precision.observe import with_outputs
from pytest_trt.tensors.profiles import parse_profiles

PROFILES = {"x": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}


class Memory:
    """Stands in for CUDA: its device memory is the host's."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def download(self, host: int, device: int, size_bytes: int, stream: int) -> None:
        ctypes.memmove(host, device, size_bytes)

    def call(self, name: str, *arguments: object) -> None:
        self.calls.append(name)


class Context:
    listener: Any = None
    unfused_tensors_debug_state = False

    def set_debug_listener(self, listener: Any) -> None:
        self.listener = listener


VENDOR = SimpleNamespace(
    IDebugListener=type("IDebugListener", (), {}),
    TensorLocation=SimpleNamespace(HOST="host", DEVICE="device"),
)


def capsule(address: int) -> Any:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = (
        ctypes.py_object,
        (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
    )
    return make(address, None, None)


def emit(context: Context, name: str, array: np.ndarray, location: str, dtype: str) -> bool:
    return bool(
        context.listener.process_debug_tensor(
            capsule(array.ctypes.data), location, SimpleNamespace(name=dtype), array.shape, name, 7
        )
    )


def test_copies_the_wanted_tensors_that_a_context_emits() -> None:
    cuda, context = Memory(), Context()
    debug = DebugTensors(VENDOR, cuda, ["a", "b"], "m.onnx")  # type: ignore[arg-type]
    debug.listen(context)
    assert context.unfused_tensors_debug_state
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert emit(context, "a", given, "device", "FLOAT")
    assert emit(context, "b", given.astype(np.float16), "host", "HALF")
    assert emit(context, "unwanted", given, "device", "FLOAT")
    debug.raise_pending()
    assert debug.values.keys() == {"a", "b"}
    np.testing.assert_array_equal(debug.values["a"], given)
    assert debug.values["b"].dtype == np.float16
    assert cuda.calls == ["cudaStreamSynchronize"]


def test_raises_after_the_run_what_failed_while_tensors_were_copied() -> None:
    context = Context()
    debug = DebugTensors(VENDOR, Memory(), ["a"], "m.onnx")  # type: ignore[arg-type]
    debug.listen(context)
    assert not emit(context, "a", np.zeros(2, np.float32), "device", "INT4")
    with pytest.raises(Exception, match="smaller than a byte"):
        debug.raise_pending()


def test_backends_say_whether_they_read_tensors() -> None:
    assert isinstance(TensorRtBackend(DeviceProbe((), "none")), ObservesTensors)
    assert not isinstance(TensorRtRtxBackend(DeviceProbe((), "none")), ObservesTensors)
    assert not can_mark(SimpleNamespace(INetworkDefinition=type("INetworkDefinition", (), {})))


@pytest.fixture
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


def test_a_network_with_marked_tensors_builds(rtx: Any, tmp_path: Path) -> None:
    assert can_mark(rtx)
    onnx.save(planted.network(), tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx")
    plan = BuildPlan(
        version="TensorRT-RTX",
        model_name="m.onnx",
        title="m.onnx",
        source=model.path,
        output=tmp_path / "plan",
        profiles=parse_profiles(PROFILES, model.inputs, where="test"),
        compute_capabilities=("SM86",),
        observed=True,
    )
    build_plan(rtx, plan, lambda text: None)
    assert plan.output.stat().st_size > 1000


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_network_with_further_outputs_builds(rtx: Any, tmp_path: Path, precision: str) -> None:
    onnx.save(planted.network(), tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx")
    made, folder = with_outputs(model, model.path, ["c1", "r1", "sum", "flat"], tmp_path, 60)
    assert [one.name for one in made.outputs] == ["scores", "c1", "r1", "sum", "flat"]
    backend = TensorRtRtxBackend(DeviceProbe((), "none"))
    profiles = parse_profiles(PROFILES, model.inputs, where="test")
    request = BuildRequest(made, EngineSpec(precision, profiles), backend.target("sm86"), folder)
    assert (folder / backend.build(request).plan_name).stat().st_size > 1000
