"""The line encoder: same embeddings and labels at every length that we serve."""

from __future__ import annotations

import numpy as np
import pytest

SHAPES = {"min": (1, 4), "opt": (8, 32), "max": (16, 64)}  # batch, sequence

pytestmark = pytest.mark.trt_model(
    "../models/encoder.onnx",
    precision=("fp32", "fp16", "int8"),
    profiles={name: tuple(SHAPES.values()) for name in ("input_ids", "attention_mask")},
)

# A test's own marker overrides these keywords of the module's.
floating_point = pytest.mark.trt_model(precision=("fp32", "fp16"))
int8 = pytest.mark.trt_model(precision="int8")


def feed(ids, mask):
    """Return the model's inputs, without the padding that no line of the batch needs."""
    longest = int(mask.sum(axis=1).max())
    return {"input_ids": ids[:, :longest], "attention_mask": mask[:, :longest]}


@pytest.fixture
def batches(lines):
    """All 384 lines, 16 of similar length at a time, each batch as (inputs, labels)."""
    by_length = np.argsort(lines["attention_mask"].sum(axis=1), kind="stable")
    return [
        (feed(lines["input_ids"][rows], lines["attention_mask"][rows]), lines["labels"][rows])
        for rows in np.split(by_length, 24)
    ]


@pytest.fixture
def trt_inputs(lines, trt_shape):
    """Real lines at the profile's min, opt and max, instead of seeded token ids."""
    batch, sequence = SHAPES[trt_shape]
    names = ("input_ids", "attention_mask")
    return {name: lines[name][:batch, :sequence] for name in names}


@pytest.fixture
def trt_calibration(lines):
    ids, mask = np.split(lines["calibration_ids"], 16), np.split(lines["calibration_mask"], 16)
    return [{"input_ids": i, "attention_mask": m} for i, m in zip(ids, mask, strict=True)]


# Measured with ONNX Runtime on all 384 lines: fp32 differs by 7e-7 at most; fp16 by 1.4e-3 in an
# embedding (unit length, elements up to 0.44) and by 3.5e-3 in logits of up to 3.
@floating_point
@pytest.mark.trt_consistency(
    outputs={
        "embedding": {"rtol": 0.0, "atol": 2e-3, "cosine": 0.9999},
        "label_logits": {"top1": 1.0},
    }
)
def test_same_embeddings(trt_session, trt_inputs):
    trt_session.run(trt_inputs)


# Measured: embeddings differ by up to 0.030 with a least cosine of 0.9959, logits by up to 0.16,
# and no label changes.
@int8
@pytest.mark.trt_consistency(
    outputs={
        "embedding": {"rtol": 0.0, "atol": 0.05, "cosine": 0.99},
        "label_logits": {"rtol": 0.0, "atol": 0.25, "top1": 0.95},
    }
)
def test_same_embeddings_in_int8(trt_session, batches):
    for inputs, _ in batches:
        trt_session.run(inputs)


# The trained model is right on 96.7% of 1200 held-out lines, and on 97.7% of these 384.
def test_accuracy(trt_session, batches):
    right = [trt_session.run(x)["label_logits"].argmax(axis=-1) == y for x, y in batches]
    assert np.mean(right) >= 0.96


def test_padding_changes_nothing(trt_session, lines):
    ids, mask = lines["input_ids"][:1], lines["attention_mask"][:1]
    padded = trt_session.run({"input_ids": ids, "attention_mask": mask})["embedding"]
    alone = trt_session.run(feed(ids, mask))["embedding"]
    assert float((padded * alone).sum()) >= 0.999  # cosine: both have unit length
