"""The digit classifier: same answers and accuracy in every precision that we ship."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.trt_model(
    "../models/digits.onnx",
    precision=("fp32", "fp16", "int8"),
    profiles={"image": ((1, 1, 16, 16), (8, 1, 16, 16), (64, 1, 16, 16))},
)

# A test's own marker overrides these keywords of the module's.
floating_point = pytest.mark.trt_model(precision=("fp32", "fp16"))
int8 = pytest.mark.trt_model(precision="int8")


@pytest.fixture
def images(digits):
    return digits["images"][:64]


@pytest.fixture
def trt_calibration(digits):
    return [{"image": batch} for batch in np.split(digits["calibration"], 16)]


# Without rtol and atol the defaults of the precision hold. Measured with ONNX Runtime on all 256
# images: fp32 differs by 1.5e-6, fp16 by 8e-3 in logits of up to 5.8 and by 2.3e-3 in probs.
# They are compared with the model's own answers, and with those that are committed under
# trt_baselines: a model that was trained or exported again, or damaged, fails too.
@floating_point
@pytest.mark.trt_consistency(outputs={"probs": {"top1": 0.99}}, against="both", drift="3x")
def test_same_answers(trt_session, images):
    trt_session.run({"image": images})


# INT8 rounds every activation to 1/127 of its range. Measured: logits differ by up to 0.15 with a
# minimum cosine of 0.9994, probs by up to 0.026, no answer changes. About twice that is allowed.
@int8
@pytest.mark.trt_consistency(
    outputs={
        "logits": {"rtol": 0.0, "atol": 0.3, "cosine": 0.995},
        "probs": {"rtol": 0.0, "atol": 0.05, "top1": 0.98},
    }
)
def test_same_answers_in_int8(trt_session, images):
    trt_session.run({"image": images})


# Seeded noise at the profile's min, opt and max: not digits, but every shape that is served.
@floating_point
@pytest.mark.trt_consistency
def test_same_answers_at_every_shape(trt_session, trt_inputs):
    trt_session.run(trt_inputs)


# The trained model is right on 450 of 450 held-out images.
def test_accuracy(trt_session, digits):
    batches = np.split(digits["images"], 4)
    probs = np.concatenate([trt_session.run({"image": batch})["probs"] for batch in batches])
    assert np.mean(probs.argmax(axis=-1) == digits["labels"]) >= 0.98


def test_an_image_gets_the_same_answer_alone_as_in_a_batch(trt_session, images):
    together = trt_session.run({"image": images[:8]})["probs"]
    alone = [trt_session.run({"image": images[i : i + 1]})["probs"][0] for i in range(8)]
    np.testing.assert_allclose(np.stack(alone), together, rtol=0, atol=0.02)
