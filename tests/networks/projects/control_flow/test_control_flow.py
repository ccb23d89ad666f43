"""Do recurrent models and branches agree, for every length and on either side of a condition?"""

from __future__ import annotations

import pytest
from networks.control_flow import frames

#: Time and batch of the three points, and of two in between.
SIZES = {"min": (1, 1), "opt": (50, 4), "max": (100, 8)}
BETWEEN = [(7, 8), (99, 1)]
PRECISIONS = ("fp32", "tf32", "fp16")

pytestmark = pytest.mark.trt_consistency


def over_time(model: str) -> pytest.MarkDecorator:
    """A model of frames [time, batch, 128]."""
    points = tuple((*size, 128) for size in SIZES.values())
    return pytest.mark.trt_model(model, precision=PRECISIONS, profiles={"frames": points})


@pytest.fixture
def trt_inputs(trt_shape):
    return {"frames": frames(*SIZES[trt_shape])}


@over_time("scan.onnx")
def test_scan(trt_session, trt_inputs):
    trt_session.run(trt_inputs)


@over_time("scan.onnx")
def test_scan_between(trt_session):
    for size in BETWEEN:
        trt_session.run({"frames": frames(*size)})


@over_time("loop.onnx")
def test_loop(trt_session, trt_inputs):
    trt_session.run(trt_inputs)


@over_time("loop.onnx")
def test_loop_between(trt_session):
    for size in BETWEEN:
        trt_session.run({"frames": frames(*size)})


# The batch comes first here.
@pytest.mark.trt_model(
    "lstm.onnx",
    precision=PRECISIONS,
    profiles={"frames": ((1, 1, 128), (4, 50, 128), (8, 100, 128))},
)
def test_lstm(trt_session):
    for batch, time in ((1, 1), (4, 50), (8, 100), (3, 77)):
        trt_session.run({"frames": frames(batch, time)})


@pytest.mark.trt_model(
    "branch.onnx", precision=PRECISIONS, profiles={"signal": ((1, 128), (4, 128), (8, 128))}
)
@pytest.mark.parametrize("loudness", [0.1, 10.0], ids=["quiet", "loud"])
def test_branch(trt_session, loudness):
    for batch in (1, 3, 8):
        trt_session.run({"signal": loudness * frames(batch)})
