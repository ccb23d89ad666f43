"""INT8 ranges from TensorRT's own calibrators, 8.6 to 10, instead of from Q/DQ nodes.

The builder runs the network on the samples, one at a time in device memory, and chooses a range for
each tensor. Its table of ranges is an input of later builds: it is stored sealed, under the digest
of all that it depends on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.isolated import stored_samples
from pytest_trt.backends.cuda.runtime import Cuda, DeviceBuffer
from pytest_trt.backends.tensorrt.binding import converted, fits, numpy_dtype
from pytest_trt.backends.tensorrt.build_job import BuildPlan, Calibrator
from pytest_trt.backends.tensorrt.log import LogTail
from pytest_trt.diagnostics import ConfigurationError, EngineRunError
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.hashing import LabelledHash
from pytest_trt.sealed import SealError, read_sealed, write_sealed
from pytest_trt.tensors.calibration import CalibrationStatistics
from pytest_trt.tensors.calibration_data import CalibrationData
from pytest_trt.tensors.stored import StoredSamples

#: The vendor's classes, by what the builder option `calibrator` selects.
_CLASSES = {"entropy": "IInt8EntropyCalibrator2", "minmax": "IInt8MinMaxCalibrator"}

_KIND = "calibration"


@contextlib.contextmanager
def prepared_calibrator(
    request: BuildRequest, algorithm: str, product: str, device: int, tables: Path | None
) -> Iterator[Calibrator]:
    """Provide a calibrator for the process that builds, with the samples in a file.

    Args:
        request: The engine to build.
        algorithm: "entropy" or "minmax".
        product: Product and version.
        device: CUDA's number of the GPU.
        tables: The folder of stored tables; None stores none.

    Raises:
        ConfigurationError: The samples have several shapes.
    """
    model, data = request.model, CalibrationData.of(request.calibration, request.model.inputs)
    _require_one_shape(data.statistics, algorithm)
    digest = LabelledHash("calibration table 1")
    fields = (product, algorithm, model.digest, data.digest)
    for field in (*fields, *(library.digest for library in model.plugin_libraries)):
        digest.add("field", field)
    table = tables and tables / f"{digest.hexdigest()}.calibration"
    with stored_samples(data, request.directory) as samples:
        assert samples is not None
        yield Calibrator(algorithm, samples, table, device)


def _require_one_shape(statistics: CalibrationStatistics, algorithm: str) -> None:
    """Refuse samples of several shapes: TensorRT calibrates at one point of a profile.

    Raises:
        ConfigurationError: They have several.
    """
    for name, one in statistics.inputs.items():
        if len(one.shapes) > 1:
            shown = " and ".join(str(list(shape)) for shape, _ in one.shapes[:2])
            raise ConfigurationError(
                f"calibrator={algorithm!r} needs calibration samples of one shape; input {name!r} "
                f"has {shown}",
                fix="return samples of one shape, or leave the option out: Q/DQ nodes are "
                "calibrated on any.",
                code="TRT357",
                facts={"option": "calibrator", "value": algorithm, "tensor": name},
            )


@contextlib.contextmanager
def calibrating(
    trt: Any, builder: Any, network: Any, config: Any, plan: BuildPlan, tail: LogTail
) -> Iterator[None]:
    """Let a build inside the block calibrate, if its plan has a calibrator.

    Args:
        trt: The vendor module.
        builder: The vendor's builder.
        network: The parsed network.
        config: The builder's configuration.
        plan: The plan to build, with how to calibrate.
        tail: Gets the exception of a callback, which TensorRT swallows.

    Raises:
        ConfigurationError: An input holds a shape.
    """
    calibrator = plan.calibrator
    if calibrator is None:
        yield
        return
    samples = StoredSamples(calibrator.samples)
    shapes = {name: tuple(np.shape(value)) for name, value in next(iter(samples)).items()}
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    holders = [tensor.name for tensor in inputs if tensor.is_shape_tensor]
    if holders:
        raise ConfigurationError(
            f"calibrator={calibrator.algorithm!r} cannot calibrate {plan.model_name}: its input "
            f"{holders[0]!r} holds a shape",
            fix="leave the option out: int8 is converted to Q/DQ nodes then.",
            code="TRT357",
            facts={"option": "calibrator", "value": calibrator.algorithm, "tensor": holders[0]},
        )
    dynamic = [tensor.name for tensor in inputs if -1 in tuple(tensor.shape)]
    if dynamic:
        profile = builder.create_optimization_profile()
        for name in dynamic:
            profile.set_shape(name, *[shapes[name]] * 3)
        config.set_calibration_profile(profile)
    dtypes = {
        tensor.name: numpy_dtype(tensor.dtype.name, tensor=tensor.name, model=plan.model_name)
        for tensor in inputs
    }
    feed = _Feed(Cuda(calibrator.device), samples, dtypes, calibrator.table)
    # The configuration does not own it.
    made = _made(trt, calibrator.algorithm, feed, tail)
    config.int8_calibrator = made
    try:
        yield
    finally:
        with contextlib.suppress(EngineRunError):  # of a GPU that the build has lost
            feed.close()


class _Feed:
    """Samples in device memory, one at a time, and the stored table."""

    def __init__(
        self,
        cuda: Cuda,
        samples: StoredSamples,
        dtypes: dict[str, np.dtype[Any]],
        table: Path | None,
    ) -> None:
        self._cuda, self._table, self._dtypes = cuda, table, dtypes
        self._samples, self._stream = iter(samples), cuda.stream()
        self._buffers = {name: DeviceBuffer(cuda) for name in dtypes}

    def next(self, names: list[str]) -> list[int] | None:
        """Return the addresses of the next sample's inputs; None after the last."""
        sample = next(self._samples, None)
        return None if sample is None else [self._upload(name, sample[name]) for name in names]

    def read_table(self) -> bytes | None:
        """Return the stored table, if there is one; a damaged one is made again."""
        if self._table is None:
            return None
        with contextlib.suppress(OSError, SealError):
            return bytes(read_sealed(self._table, _KIND, self._table.stem).content)
        return None

    def write_table(self, table: bytes) -> None:
        """Store the table. It saves time only: what cannot be written is made again."""
        if self._table is not None:
            with contextlib.suppress(OSError):
                self._table.parent.mkdir(parents=True, exist_ok=True)
                write_sealed(self._table, _KIND, self._table.stem, table)

    def close(self) -> None:
        """Free the device memory."""
        for buffer in self._buffers.values():
            buffer.free()
        self._cuda.call("cudaStreamDestroy", self._stream)

    def _upload(self, name: str, value: npt.NDArray[Any]) -> int:
        # TensorRT 8.6 takes INT64 inputs as INT32.
        fits(name, value, self._dtypes[name])
        array = np.ascontiguousarray(converted(value, self._dtypes[name]))
        address = self._buffers[name].at_least(array.nbytes)
        self._cuda.upload(address, array.ctypes.data, array.nbytes, self._stream)
        # The array is freed after the call, and the builder uses streams of its own.
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return address


def _made(trt: Any, algorithm: str, feed: _Feed, tail: LogTail) -> Any:
    """Return an object of the vendor's class. Its callbacks must not raise."""
    base: Any = getattr(trt, _CLASSES[algorithm])

    class Made(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def get_batch_size(self) -> int:
            return 1  # networks with an explicit batch do not use it

        def get_batch(self, names: list[str], *_: object) -> list[int] | None:
            try:
                return feed.next(names)
            except BaseException as exc:
                tail.raised = exc
                return None

        def read_calibration_cache(self, *_: object) -> bytes | None:
            return feed.read_table()

        def write_calibration_cache(self, table: bytes, *_: object) -> None:
            if tail.raised is not None:
                return  # the ranges are of the samples before it
            try:
                feed.write_table(bytes(table))
            except BaseException as exc:
                tail.raised = exc

    return Made()
