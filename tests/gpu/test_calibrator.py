"""INT8 by TensorRT's own calibrators, 8.6 to 10: ranges from samples in device memory."""

from __future__ import annotations

from collections.abc import Callable
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
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec, OptionValue
from pytest_trt.tensors.profiles import parse_profiles

pytestmark = pytest.mark.gpu

IMAGES = {"image": ((1, 3, 16, 16), (8, 3, 16, 16), (32, 3, 16, 16))}
#: Enough that INT8 is faster, or builders keep FP32.
CHANNELS = 128


def _images(seed: int, rows: int = 8) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(seed).random((rows, 3, 16, 16), np.float32)}


@pytest.fixture
def calibrators(gpu: Gpu) -> None:
    """Skip where the installed TensorRT has no calibrators, 11 and later."""
    import tensorrt

    if not hasattr(tensorrt, "IInt8EntropyCalibrator2"):
        pytest.skip(f"TensorRT {tensorrt.__version__} has no calibrators")


@pytest.fixture
def build(gpu: Gpu, tmp_path: Path) -> Callable[..., Engine]:
    """Build the network in int8 with builder options."""
    backend = make_backend(
        "tensorrt", probe=probe_devices(), threads=0, timing_folder=tmp_path / "timing"
    )
    model = networks.saved(networks.conv_net(channels=CHANNELS), tmp_path / "conv.onnx")

    def run(samples: list[dict[str, np.ndarray]], **options: OptionValue) -> Engine:
        profiles = parse_profiles(IMAGES, model.inputs, where="test")
        keep = tuple(str(options.pop("keep_fp32", "")).split())
        return build_or_load(
            model=model,
            spec=EngineSpec("int8", profiles, options, keep),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(tmp_path / "cache"),
            calibration=lambda: samples,
        )

    return run


def _error(engine: Engine) -> float:
    """Return the relative error of an engine's outputs, of the first by name."""
    inputs = _images(99)
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)
    session = backend.open(Plan(engine.plan), engine.model, engine.spec, engine.target)
    expected = OnnxRuntimeBackend().reference(engine.model).run(inputs)
    found = session.run(inputs)
    name = min(expected)
    difference = np.linalg.norm(found[name] - expected[name])
    return float(difference / np.linalg.norm(expected[name]))


@pytest.mark.parametrize("algorithm", ["entropy", "minmax"])
def test_a_calibrated_engine_computes_in_int8_and_is_right(
    calibrators, build, algorithm: str, record_property: Callable[[str, object], None]
) -> None:
    engine = build([_images(seed) for seed in range(8)], calibrator=algorithm)
    assert engine.route.name == "builder flags, calibrator"
    assert engine.facts.calibration is not None
    assert engine.facts.calibration.samples == 8
    record_property("layers_pct", engine.facts.layers_pct)
    error = _error(engine)
    record_property("relative_error", error)
    assert 0 < error < 0.1  # exactly 0 would be FP32


def test_data_that_is_not_representative_gives_wrong_answers(calibrators, build) -> None:
    samples = [{"image": one["image"] / 50} for one in map(_images, range(8))]
    assert _error(build(samples, calibrator="minmax")) > 0.3


def test_the_table_is_stored_and_read_by_the_next_build(calibrators, build, tmp_path) -> None:
    samples = [_images(seed) for seed in range(4)]
    first = build(samples, calibrator="entropy")
    (table,) = (tmp_path / "timing").glob("*.calibration")
    written = table.stat()
    second = build(samples, calibrator="entropy", builder_optimization_level=2)
    assert second.key != first.key
    assert table.stat().st_ino == written.st_ino  # replaced files have another
    assert _error(second) < 0.1
    # A damaged one is made again, and never used.
    content = table.read_bytes()
    table.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert _error(build(samples, calibrator="entropy", builder_optimization_level=1)) < 0.1
    assert table.read_bytes() == content
    build(samples[:3], calibrator="entropy")
    build(samples, calibrator="minmax")
    assert len(list((tmp_path / "timing").glob("*.calibration"))) == 3


def test_samples_have_one_shape(calibrators, build) -> None:
    with pytest.raises(ConfigurationError, match=r"one shape; input 'image' has \[8, .*\[4, "):
        build([_images(0), _images(1, rows=4)], calibrator="entropy")


def test_nodes_stay_in_fp32(calibrators, build) -> None:
    samples = [_images(seed) for seed in range(4)]
    engine = build(samples, calibrator="minmax", keep_fp32="conv2")
    assert engine.facts.layers is not None
    kept = [layer for layer in engine.facts.layers if "conv2" in layer.origins]
    assert kept
    assert {layer.precision for layer in kept} <= {"float", "conversion"}


def test_later_versions_refuse_the_option(gpu: Gpu, build) -> None:
    import tensorrt

    if hasattr(tensorrt, "IInt8EntropyCalibrator2"):
        pytest.skip(f"TensorRT {tensorrt.__version__} has calibrators")
    with pytest.raises(UnsupportedError, match=r"needs TensorRT 8\.6 to 10"):
        build([_images(0)], calibrator="entropy")
