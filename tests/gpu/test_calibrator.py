"""INT8 by TensorRT's own calibrators, 8.6 to 10: ranges from samples in device memory.

All tests share engines and tables of ranges, and the convolutions are large enough that the builder
does not choose FP32 by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import builders_networks as networks
import numpy as np
import pytest

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.selection import make_backend
from pytest_trt.diagnostics import ConfigurationError, UnsupportedError
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import CONVERSION
from pytest_trt.engine.protocols import Backend, Plan
from pytest_trt.engine.spec import EngineSpec, OptionValue
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.profiles import parse_profiles
from pytest_trt.tensors.spec import Tensors

pytestmark = pytest.mark.gpu

SHAPE = (256, 28, 28)
PROFILES = {"x0": ((4, *SHAPE), (8, *SHAPE), (8, *SHAPE))}

#: Few tactics are timed.
LEVEL = {"builder_optimization_level": 1}

Build = Callable[..., Engine]


def _images(seed: int, rows: int = 8) -> dict[str, np.ndarray]:
    return {"x0": np.random.default_rng(seed).random((rows, *SHAPE), np.float32)}


@pytest.fixture(scope="module")
def samples() -> list[dict[str, np.ndarray]]:
    return [_images(seed) for seed in range(4)]


@pytest.fixture
def calibrators(gpu: Gpu) -> None:
    """Skip where the installed TensorRT has no calibrators, 11 and later."""
    import tensorrt

    if not hasattr(tensorrt, "IInt8EntropyCalibrator2"):
        pytest.skip(f"TensorRT {tensorrt.__version__} has no calibrators")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibrators")


@pytest.fixture(scope="module")
def model(folder: Path) -> OnnxModel:
    return networks.saved(networks.conv_chain(3, batch="batch"), folder / "chain.onnx")


@pytest.fixture(scope="module")
def backend(folder: Path) -> Backend:
    probe = probe_devices()
    return make_backend("tensorrt", probe=probe, threads=0, timing_folder=folder / "timing")


@pytest.fixture(scope="module")
def build(gpu: Gpu, folder: Path, model: OnnxModel, backend: Backend) -> Build:
    """Build the network in int8 with builder options, if it was not built before."""

    def run(
        samples: Sequence[Tensors], keep_fp32: tuple[str, ...] = (), **options: OptionValue
    ) -> Engine:
        profiles = parse_profiles(PROFILES, model.inputs, where="test")
        return build_or_load(
            model=model,
            spec=EngineSpec("int8", profiles, {**LEVEL, **options}, keep_fp32),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(folder / "cache"),
            calibration=lambda: samples,
        )

    return run


@pytest.fixture(scope="module")
def error_of(model: OnnxModel, backend: Backend) -> Callable[[Engine], float]:
    """Return the relative error of an engine's output."""
    inputs = _images(99)
    (expected,) = OnnxRuntimeBackend().reference(model).run(inputs).values()

    def error(engine: Engine) -> float:
        session = backend.open(Plan(engine.plan), engine.model, engine.spec, engine.target)
        (found,) = session.run(inputs).values()
        session.close()
        return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))

    return error


@pytest.mark.parametrize("algorithm", ["entropy", "minmax"])
def test_a_calibrated_engine_computes_in_int8_and_is_right(
    calibrators,
    build: Build,
    samples,
    error_of,
    algorithm: str,
    record_property: Callable[[str, object], None],
) -> None:
    engine = build(samples, calibrator=algorithm)
    assert engine.route.name == "builder flags, calibrator"
    assert engine.facts.calibration is not None
    assert engine.facts.calibration.samples == 4
    record_property("layers_pct", engine.facts.layers_pct)
    error = error_of(engine)
    record_property("relative_error", error)
    assert 0 < error < 0.1  # exactly 0 would be FP32


def test_data_that_is_not_representative_gives_wrong_answers(
    calibrators, build: Build, samples, error_of
) -> None:
    small = [{"x0": one["x0"] / 50} for one in samples[:2]]
    assert error_of(build(small, calibrator="minmax")) > 0.3


def test_the_table_is_stored_and_read_by_the_next_build(
    calibrators, build: Build, samples, error_of, folder: Path
) -> None:
    tables = folder / "timing"
    before = {*tables.glob("*.calibration")}
    first = build(samples[:1], calibrator="entropy")
    (table,) = {*tables.glob("*.calibration")} - before
    written = table.stat()
    second = build(samples[:1], calibrator="entropy", builder_optimization_level=2)
    assert second.key != first.key
    assert table.stat().st_ino == written.st_ino  # replaced files have another
    assert error_of(second) < 0.1
    # A damaged one is made again, and never used.
    content = table.read_bytes()
    table.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    third = build(samples[:1], calibrator="entropy", workspace_bytes=1 << 30)
    assert error_of(third) < 0.1
    assert table.read_bytes() == content


def test_samples_have_one_shape(calibrators, build: Build) -> None:
    with pytest.raises(ConfigurationError, match=r"one shape; input 'x0' has \[8, .*\[4, "):
        build([_images(0), _images(1, rows=4)], calibrator="entropy")


def test_nodes_stay_in_fp32(calibrators, build: Build, samples) -> None:
    engine = build(samples, calibrator="minmax", keep_fp32=("conv1",))
    assert engine.facts.layers is not None
    found = {
        name: layer.precision
        for layer in engine.facts.layers
        if layer.precision != CONVERSION
        for name in layer.origins
    }
    assert [found[f"conv{index}"] for index in range(3)] == ["int8", "float", "int8"]


def test_later_versions_refuse_the_option(gpu: Gpu, build: Build) -> None:
    import tensorrt

    if hasattr(tensorrt, "IInt8EntropyCalibrator2"):
        pytest.skip(f"TensorRT {tensorrt.__version__} has calibrators")
    with pytest.raises(UnsupportedError, match=r"needs TensorRT 8\.6 to 10"):
        build([_images(0)], calibrator="entropy")
