"""Does the detector find the same boxes? How many there are is known only after the run."""

from __future__ import annotations

import pytest
from networks.detector import scene

SCENES = {"min": (128, 128, 2), "opt": (320, 320, 9), "max": (416, 416, 12)}  # height, width, spots

pytestmark = pytest.mark.trt_model(
    "detector.onnx",
    precision=("fp32", "tf32", "fp16"),
    profiles={"image": tuple((1, 3, height, width) for height, width, _ in SCENES.values())},
)


@pytest.fixture
def trt_inputs(trt_shape):
    return {"image": scene(*SCENES[trt_shape])}


@pytest.mark.trt_consistency
def test_profile(trt_session, trt_inputs):
    trt_session.run(trt_inputs)


@pytest.mark.trt_consistency
@pytest.mark.parametrize(
    ("height", "width", "spots"), [(128, 416, 3), (256, 384, 8), (320, 320, 1)]
)
def test_between(trt_session, height, width, spots):
    found = trt_session.run({"image": scene(height, width, spots)})["detections"]
    assert found.shape == (spots, 6)


# Nothing is left to compare, so there is no consistency to check.
def test_an_empty_scene_has_no_boxes(trt_session):
    found = trt_session.run({"image": scene(128, 128, 0)})["detections"]
    assert found.shape == (0, 6)


# The memory of an output is as large as the last run needed, or larger.
@pytest.mark.trt_consistency
def test_scenes_one_after_the_other(trt_session):
    for spots in (1, 12, 4):
        found = trt_session.run({"image": scene(416, 416, spots)})["detections"]
        assert len(found) == spots
