"""`keep_fp32` on TensorRT: what the inspector reports of the layers, and what it saves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import builders_networks as networks
import numpy as np
import pytest
from onnx import helper

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model

pytestmark = pytest.mark.gpu

WIDTH, ROWS = 1024, 256


@pytest.fixture
def engine_of(gpu: Gpu, tmp_path: Path) -> Callable[..., Engine]:
    """Build a model in FP16 with something in FP32."""
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)

    def build(model: OnnxModel, *keep_fp32: str) -> Engine:
        return build_or_load(
            model=model,
            spec=EngineSpec("fp16", keep_fp32=keep_fp32),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(tmp_path / "cache"),
        )

    return build


def precisions(engine: Engine) -> dict[str, str | None]:
    """Return the precision of the layer that each node of the model is in."""
    return {name: one.precision for one in engine.facts.layers for name in one.origins}


def test_the_layers_of_what_is_kept_are_fp32(engine_of, tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(batch=8, channels=256), tmp_path / "conv.onnx")
    plain = precisions(engine_of(model))
    assert plain["conv1"] == plain["conv2"] == "half"
    for keep, names in (("conv2", ["conv2"]), ("conv[2]", ["conv2"]), ("Gemm", ["linear"])):
        mixed = precisions(engine_of(model, keep))
        assert mixed["conv1"] == "half"
        assert [mixed[name] for name in names] == ["float"]


@pytest.fixture
def overflowing(tmp_path: Path) -> OnnxModel:
    """x -> 100 x -> 10,000 x -> x of [256, 1024], each a product of matrices: at most 65,504."""
    factors = {"first": 100.0, "large": 100.0, "small": 1e-4}
    names = ["x", *factors]
    proto = networks.model(
        [
            helper.make_node("MatMul", [names[at], f"w_{name}"], [name], name=name)
            for at, name in enumerate(factors)
        ],
        [networks.value("x", [ROWS, WIDTH])],
        [networks.value("small", [ROWS, WIDTH])],
        [networks.constant(f"w_{n}", f * np.eye(WIDTH)) for n, f in factors.items()],
    )
    return networks.saved(proto, tmp_path / "overflowing.onnx")


@pytest.mark.parametrize("keep", [(), ("large", "small")])
def test_an_overflow_is_gone_with_its_layers_in_fp32(
    engine_of, gpu: Gpu, overflowing: OnnxModel, keep: tuple[str, ...]
) -> None:
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)
    engine = engine_of(overflowing, *keep)
    x = np.full((ROWS, WIDTH), 20.0, np.float32)
    session = backend.open(Plan(engine.plan), engine.model, engine.spec, engine.target)
    found = session.run({"x": x})["small"]
    session.close()
    if keep:
        np.testing.assert_allclose(found, x, rtol=1e-2)
        assert precisions(engine)["first"] == "half"
    else:
        assert not np.isfinite(found).all()


def test_what_the_model_does_not_have_is_an_error(engine_of, tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(batch=8), tmp_path / "conv.onnx")
    with pytest.raises(ConfigurationError) as caught:
        engine_of(load_model(model.path), "conv9")
    assert caught.value.diagnostic.code == "TRT358"
