"""Does ResNet-50 classify as the model does, from one image to a full batch?"""

from __future__ import annotations

import numpy as np
import pytest

BATCHES = {"min": 1, "opt": 8, "max": 32}

pytestmark = [
    pytest.mark.trt_model(
        "resnet50.onnx",
        precision=("fp32", "tf32", "fp16"),
        profiles={"image": tuple((batch, 3, 224, 224) for batch in BATCHES.values())},
    ),
    pytest.mark.trt_consistency(cosine=0.9999),
]


def images(batch: int) -> np.ndarray:
    """Coloured patches of 16 pixels: averaged over a picture, noise would all look the same."""
    patches = np.random.default_rng(batch).standard_normal((batch, 3, 14, 14))
    return np.kron(patches, np.ones((16, 16))).astype(np.float32)


@pytest.fixture
def trt_inputs(trt_shape):
    return {"image": images(BATCHES[trt_shape])}


def test_profile(trt_session, trt_inputs):
    trt_session.run(trt_inputs)


@pytest.mark.parametrize("batch", [2, 7, 20])
def test_between(trt_session, batch):
    trt_session.run({"image": images(batch)})
