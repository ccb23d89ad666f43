"""Repeat the run in this folder: `python repro.py`. It needs numpy, and ONNX Runtime or TensorRT.

    python repro.py [--engine FILE]

Exit status 1 while the outputs differ from expected.npz as they did, 0 if they no longer do, 2 if
the engine cannot be run here. `--engine` runs another file instead of the one of versions.json.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent

#: Of the relative error that an output had, where its elements were within their tolerance and
#: something else was not (cosine, top-1, a metric): from this share on it is the same mismatch.
SAME_SHARE = 0.5


def arrays(name: str, names: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a file by the names of their tensors."""
    with np.load(HERE / name, allow_pickle=False) as stored:
        return {tensor: stored[f"arr_{index}"] for index, tensor in enumerate(names)}


def run_onnxruntime(
    path: str, about: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Run an engine of ONNX Runtime, which is an ONNX file, as pytest-trt does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = getattr(onnxruntime.GraphOptimizationLevel, about["level"])
    options.graph_optimization_level = level
    options.intra_op_num_threads = about["threads"]
    for key, value in about["session"].items():
        options.add_session_config_entry(key, value)
    for library in about["libraries"]:
        options.register_custom_ops_library(library)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs))))  # noqa: B905


class Cuda:
    """The few functions of CUDA's driver that one run needs, on the first GPU."""

    def __init__(self) -> None:
        """Load the library, and create the context that TensorRT uses."""
        self._library = ctypes.CDLL("libcuda.so.1")
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function."""
        status = getattr(self._library, name)(*arguments)
        if status:
            raise OSError(f"{name} failed with status {status}")

    def memory(self, size_bytes: int) -> int:
        """Return the address of new device memory."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size_bytes, 1)))
        return address.value

    def upload(self, device: int, host: int, size_bytes: int) -> None:
        """Copy host memory to device memory."""
        sizes = ctypes.c_uint64(device), ctypes.c_void_p(host), ctypes.c_size_t(size_bytes)
        self.call("cuMemcpyHtoD_v2", *sizes)

    def download(self, host: int, device: int, size_bytes: int) -> None:
        """Copy device memory to host memory."""
        sizes = ctypes.c_void_p(host), ctypes.c_uint64(device), ctypes.c_size_t(size_bytes)
        self.call("cuMemcpyDtoH_v2", *sizes)

    def wait(self) -> None:
        """Wait for all work."""
        self.call("cuCtxSynchronize")


#: NumPy's types by member of TensorRT's DataType; its own `nptype` fails with some versions.
DTYPES: dict[str, Any] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


def run_tensorrt(path: str, about: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run a plan of TensorRT on the first GPU."""
    import importlib

    trt = importlib.import_module(about["module"])
    cuda = Cuda()
    logger = trt.Logger(trt.Logger.WARNING)
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(logger, "")
    for library in about["libraries"]:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    runtime = trt.Runtime(logger)
    if about["host_code"]:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(Path(path).read_bytes())
    if engine is None:
        raise OSError(
            f"TensorRT {trt.__version__} cannot load {path}; it was built by "
            f"{about['toolchain']} for {about['target']}"
        )
    context = engine.create_execution_context()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    given = {
        name: np.asarray(inputs[name], DTYPES[engine.get_tensor_dtype(name).name], order="C")
        for name in names
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    }
    choose_profile(engine, context, given)
    bound = {name: bind(trt, cuda, engine, context, name, given.get(name)) for name in names}
    if not context.execute_async_v3(0):
        raise OSError("TensorRT did not run the engine; its log says why")
    cuda.wait()
    outputs = {name: one for name, one in bound.items() if name not in given}
    for array, address in outputs.values():
        if address != array.ctypes.data:
            cuda.download(array.ctypes.data, address, array.nbytes)
    return {name: array for name, (array, _) in outputs.items()}


def bind(trt: Any, cuda: Cuda, engine: Any, context: Any, name: str, given: Any) -> tuple[Any, int]:
    """Give a tensor memory, with its values if it is an input; return its array and address."""
    dtype = DTYPES[engine.get_tensor_dtype(name).name]
    array = given if given is not None else np.empty(tuple(context.get_tensor_shape(name)), dtype)
    address: int = array.ctypes.data
    if engine.get_tensor_location(name) != trt.TensorLocation.HOST:
        address = cuda.memory(array.nbytes)
        if given is not None:
            cuda.upload(address, array.ctypes.data, array.nbytes)
    context.set_tensor_address(name, address)
    return array, address


def choose_profile(engine: Any, context: Any, given: Mapping[str, Any]) -> None:
    """Choose the first profile that takes the shapes of the inputs."""
    for index in range(engine.num_optimization_profiles):
        context.set_optimization_profile_async(index, 0)
        if all(context.set_input_shape(name, array.shape) for name, array in given.items()):
            return
    raise OSError("no profile of the engine takes these shapes")


def differs(name: str, actual: Any, expected: Any, limits: Mapping[str, Any]) -> bool:
    """Print how an output compares, and return whether it differs as it did."""
    if actual is None:
        print(f"{name}: missing")
        return True
    if actual.shape != expected.shape:
        print(f"{name}: shape {list(actual.shape)}, expected {list(expected.shape)}")
        return True
    a, r = actual.astype(np.float64).reshape(-1), expected.astype(np.float64).reshape(-1)
    same = (a == r) | (np.isnan(a) & np.isnan(r))
    finite = np.isfinite(a) & np.isfinite(r)
    with np.errstate(invalid="ignore"):
        error = np.abs(a - r)
        used = error - (limits["atol"] + limits["rtol"] * np.abs(r))
    beyond = finite & (used > 0)
    unlike = ~finite & ~same
    if limits["nan"] == "forbid":
        unlike |= ~np.isfinite(a)
    if limits["nan"] == "ignore":
        unlike[:] = False
    size = np.sqrt(np.square(r[finite]).sum())
    relative = np.sqrt(np.square(error[finite]).sum()) / size if size else 0.0
    shown = f"{relative:.3g}" if (finite | same).all() else "not finite"
    was = "not finite" if limits["relative"] is None else f"{limits['relative']:.3g}"
    print(
        f"{name}: {beyond.sum():,} of {a.size:,} elements differ by more than "
        f"{limits['atol']:g} + {limits['rtol']:g} * |expected|, {unlike.sum():,} are not finite or "
        f"no match; relative error {shown}, it was {was}"
    )
    if beyond.any():
        worst = int(np.argmax(np.where(beyond, used, -np.inf)))
        index = [int(one) for one in np.unravel_index(worst, actual.shape)]
        print(f"  worst at {index}: {a[worst]:.6g}, expected {r[worst]:.6g}")
    if unlike.any():
        return True
    if limits["elementwise"]:
        return bool(100.0 * beyond.sum() > limits["max_mismatch_pct"] * max(finite.sum(), 1))
    return bool(relative > SAME_SHARE * (limits["relative"] or 0.0))


def main() -> int:
    """Run the engine, compare, and return the exit status."""
    parser = argparse.ArgumentParser(description="Repeat the run in this folder.")
    parser.add_argument("--engine", help="another file to run")
    given = parser.parse_args()
    about = json.loads((HERE / "versions.json").read_text("utf-8"))
    inputs = arrays("inputs.npz", about["inputs"])
    expected = arrays("expected.npz", list(about["outputs"]))
    run = run_onnxruntime if about["backend"] == "onnxruntime" else run_tensorrt
    engine = given.engine or str(HERE / about["engine"])
    try:
        outputs = run(engine, about, inputs)
    except Exception as error:  # whatever the library raises
        print(f"{engine} cannot be run: {error}", file=sys.stderr)
        print(f"it was run by {about['toolchain']} on {about['target']}", file=sys.stderr)
        return 2
    found = [
        differs(name, outputs.get(name), expected[name], limits)
        for name, limits in about["outputs"].items()
    ]
    print("it reproduces" if any(found) else "it does not reproduce")
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())
