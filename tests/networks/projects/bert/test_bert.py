"""Does the encoder give the same hidden states and embeddings for every batch and length?"""

from __future__ import annotations

import numpy as np
import pytest

SHAPES = {"min": (1, 16), "opt": (8, 128), "max": (32, 256)}  # batch, sequence

pytestmark = [
    pytest.mark.trt_model(
        "bert.onnx",
        precision=("fp32", "tf32", "fp16"),
        profiles={
            name: tuple(SHAPES.values())
            for name in ("input_ids", "attention_mask", "token_type_ids")
        },
    ),
    pytest.mark.trt_consistency(outputs={"sentence_embedding": {"cosine": 0.9999}}),
]


def tokens(batch: int, sequence: int) -> dict[str, np.ndarray]:
    """Pairs of sentences, the first as long as the batch, each further one shorter and padded."""
    ids = np.random.default_rng(sequence).integers(0, 1000, (batch, sequence))
    lengths = np.linspace(sequence, sequence // 2, batch).astype(int)[:, None]
    places = np.arange(sequence)[None]
    mask = (places < lengths).astype(np.int64)
    second = (places >= lengths // 2).astype(np.int64) * mask
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": second}


@pytest.fixture
def trt_inputs(trt_shape):
    return tokens(*SHAPES[trt_shape])


def test_profile(trt_session, trt_inputs):
    trt_session.run(trt_inputs)


@pytest.mark.parametrize(("batch", "sequence"), [(1, 256), (3, 40), (32, 16), (16, 200)])
def test_between(trt_session, batch, sequence):
    trt_session.run(tokens(batch, sequence))
