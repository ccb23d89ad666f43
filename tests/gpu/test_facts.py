"""What real engines tell of themselves. The figures go into the junit report, to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import pytest

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.tensors.profiles import parse_profiles

pytestmark = pytest.mark.gpu

IMAGES = {"image": ((1, 3, 16, 16), (8, 3, 16, 16), (32, 3, 16, 16))}
#: Enough that FP16 and INT8 are faster, or builders keep FP32.
CHANNELS = 128

TOKENS = dict.fromkeys(("ids", "mask"), ((1, 4), (4, 16), (8, 64)))


@pytest.fixture
def facts_of(
    gpu: Gpu, tmp_path: Path, record_property: Callable[[str, object], None]
) -> Callable[..., EngineFacts]:
    """Build a network with TensorRT and return its facts."""
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)

    def build(proto: onnx.ModelProto, precision: str, profiles: object = None) -> EngineFacts:
        model = networks.saved(proto, tmp_path / "network.onnx")
        engine = build_or_load(
            model=model,
            spec=EngineSpec(precision, parse_profiles(profiles, model.inputs, where="test")),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(tmp_path / "cache"),
            calibration=lambda: [
                {"image": np.random.default_rng(0).random((8, 3, 16, 16), np.float32)}
            ],
        )
        facts = engine.facts
        record_property("layers_pct", facts.layers_pct)
        record_property("weights_pct", facts.weights_pct)
        record_property("unknown_pct", (facts.unknown_layers_pct, facts.unknown_weights_pct))
        record_property("facts", facts.to_json())
        return facts

    return build


@pytest.mark.parametrize(
    ("precision", "share"),
    [("fp32", "float"), ("tf32", "float"), ("fp16", "half"), ("int8", "int8")],
)
@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
def test_precision_of_a_convolutional_network_is_reported(
    facts_of, precision, share, dynamic
) -> None:
    network = networks.conv_net("batch" if dynamic else 8, channels=CHANNELS)
    facts = facts_of(network, precision, IMAGES if dynamic else None)
    assert facts.weights_pct[share] > 80.0
    assert facts.device_memory_bytes >= 0


def test_layers_name_what_was_fused_into_them(facts_of) -> None:
    facts = facts_of(networks.conv_net(batch=8, channels=CHANNELS), "fp16")
    fused = [layer.origins for layer in facts.layers if "conv1" in layer.origins]
    assert fused
    assert any("relu1" in origins for origins in fused)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_nothing_wrong_is_claimed_of_a_transformer(facts_of, precision) -> None:
    facts = facts_of(networks.encoder(), precision, TOKENS)
    other = "half" if precision == "fp32" else "float"
    assert facts.weights_pct is None or facts.weights_pct.get(other, 0.0) < 50.0
    assert facts.size_vs_fp32_pct > 0.0
