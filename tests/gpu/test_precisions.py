"""Precisions of TensorRT beyond fp16 and int8: built, or refused by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import builders_networks as networks
import numpy as np
import pytest

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.selection import make_backend
from pytest_trt.backends.tensorrt.product import precision_flags
from pytest_trt.diagnostics import UnsupportedError
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel

pytestmark = pytest.mark.gpu

IMAGES = {"image": np.random.default_rng(0).random((8, 3, 16, 16), np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return networks.saved(networks.conv_net(batch=8, channels=256), tmp_path / "conv.onnx")


@pytest.fixture
def engine_of(gpu: Gpu, tmp_path: Path, model: OnnxModel) -> Callable[..., Engine]:
    """Build the model in a precision, with something in FP32."""
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)

    def build(precision: str, *keep_fp32: str) -> Engine:
        options = {"block_size": 64} if precision == "int4" else {}
        return build_or_load(
            model=model,
            spec=EngineSpec(precision, builder_options=options, keep_fp32=keep_fp32),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(tmp_path / "cache"),
            calibration=lambda: [IMAGES],
        )

    return build


@pytest.mark.parametrize(
    ("precision", "flag", "kind", "tolerance"),
    [
        ("bf16", "BF16", "bfloat16", 0.05),
        ("fp8", "BF16", "fp8", 0.2),
        ("int4", "INT4", "int4", 0.1),
        ("mixed", "INT8", "int8", 0.05),
    ],
)
def test_a_precision_is_built_and_right_or_refused_by_name(
    engine_of, model: OnnxModel, precision: str, flag: str, kind: str, tolerance: float
) -> None:
    flags = precision_flags(importlib.import_module("tensorrt"))
    if flags and flag not in flags:
        with pytest.raises(UnsupportedError, match=f"has no {precision}") as caught:
            engine_of(precision)
        assert caught.value.diagnostic.facts["precision"] == precision
        return
    engine = engine_of(precision)
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)
    session = backend.open(Plan(engine.plan), engine.model, engine.spec, engine.target)
    found = session.run(IMAGES)["logits"]
    session.close()
    expected = OnnxRuntimeBackend(threads=0).reference(model).run(IMAGES)["logits"]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    assert kind in {one.precision for one in engine.facts.layers}


def test_what_is_kept_in_mixed_is_neither_int8_nor_half(engine_of) -> None:
    plain, mixed = (
        {name: one.precision for one in engine.facts.layers for name in one.origins}
        for engine in (engine_of("mixed"), engine_of("mixed", "conv2"))
    )
    assert plain["conv2"] == "int8"
    assert (mixed["conv1"], mixed["conv2"]) == ("int8", "float")
