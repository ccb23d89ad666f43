"""`keep_fp32` on TensorRT: what the inspector reports of the layers, and what it saves.

The networks are large enough that the builder does not choose FP32 by itself.
"""

from __future__ import annotations

import builders_networks as networks
import numpy as np
import pytest
from onnx import ModelProto, helper

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.facts import CONVERSION
from pytest_trt.engine.protocols import Backend, Plan

pytestmark = pytest.mark.gpu

WIDTH, ROWS = 1024, 256


def precisions(engine: Engine) -> dict[str, str | None]:
    """Return the precision of the layer that each node of the model is in."""
    return {
        name: one.precision
        for one in engine.facts.layers
        if one.precision != CONVERSION
        for name in one.origins
    }


def overflowing() -> ModelProto:
    """x -> 100 x -> 10,000 x -> x of [256, 1024], each a product of matrices: at most 65,504."""
    factors = {"first": 100.0, "large": 100.0, "small": 1e-4}
    names = ["x", *factors]
    return networks.model(
        [
            helper.make_node("MatMul", [names[at], f"w_{name}"], [name], name=name)
            for at, name in enumerate(factors)
        ],
        [networks.value("x", [ROWS, WIDTH])],
        [networks.value("small", [ROWS, WIDTH])],
        [networks.constant(f"w_{n}", f * np.eye(WIDTH)) for n, f in factors.items()],
    )


def test_the_layers_of_what_is_kept_are_fp32(engine_of) -> None:
    found = precisions(engine_of(networks.conv_chain(3), "fp16", "conv[1]"))
    assert [found[f"conv{index}"] for index in range(3)] == ["half", "float", "half"]


@pytest.mark.parametrize("keep", [(), ("large", "small")])
def test_an_overflow_is_gone_with_its_layers_in_fp32(
    engine_of, backend: Backend, keep: tuple[str, ...]
) -> None:
    engine = engine_of(overflowing(), "fp16", *keep)
    x = np.full((ROWS, WIDTH), 20.0, np.float32)
    session = backend.open(Plan(engine.plan), engine.model, engine.spec, engine.target)
    found = session.run({"x": x})["small"]
    session.close()
    if keep:
        np.testing.assert_allclose(found, x, rtol=1e-2)
        assert precisions(engine)["first"] == "half"
    else:
        assert not np.isfinite(found).all()


# The last one: the process that builds ends with an error.
def test_what_the_model_does_not_have_is_an_error(engine_of) -> None:
    with pytest.raises(ConfigurationError) as caught:
        engine_of(networks.conv_net(batch=8), "fp16", "conv9")
    assert caught.value.diagnostic.code == "TRT358"
