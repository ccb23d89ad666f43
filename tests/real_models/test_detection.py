"""Detectors: nudenet's YOLOv8 decodes its boxes in the graph, ddddocr's YOLOX leaves that to us."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

PICTURE = """
def picture(height, width, batch=1):
    '''Soft blobs of colour with grain, as float32 [batch, 3, height, width] in [0, 1].'''
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j]
    page = np.full((batch, 3, height, width), 0.8)
    for _ in range(6):
        cy, cx, size = random.uniform(0.1, 0.9, 3)
        spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (0.02 + 0.1 * size) ** 2)
        page += random.uniform(-0.8, 0.2, (batch, 3, 1, 1)) * spot
    page += random.normal(0, 0.03, page.shape)
    return page.clip(0, 1).astype(np.float32)
"""

NUDENET = (
    PICTURE
    + """
SHAPES = {"min": (160, 160, 1), "opt": (320, 320, 1), "max": (320, 416, 2)}

@pytest.fixture
def trt_inputs(trt_shape):
    return {"images": picture(*SHAPES[trt_shape])}

@pytest.fixture
def trt_calibration():
    return ({"images": picture(320, width, 4)} for width in (288, 320, 352, 384, 416))

@pytest.mark.trt_model(MODEL, precision=PRECISION, reference=REFERENCE,
    profiles={"images": tuple((n, 3, h, w) for h, w, n in SHAPES.values())})
@pytest.mark.trt_consistency(rtol=RTOL, atol=ATOL, outputs=OUTPUTS)
def test_boxes_and_scores(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""
)

# Boxes are in pixels of up to 416, scores in [0, 1]. Measured: fp32 differs by up to 2e-4, fp16 by
# up to 0.66 (a quarter of what is allowed there), int8 by up to 38 pixels in boxes that score
# nothing (80% of what is allowed there).
FP32 = {"PRECISION": "fp32", "RTOL": 1e-4, "ATOL": 1e-3, "OUTPUTS": {}}
FP16 = {"PRECISION": "fp16", "RTOL": 1e-2, "ATOL": 1.0, "OUTPUTS": {}}
INT8 = {"PRECISION": "int8", "RTOL": 0.1, "ATOL": 20.0, "OUTPUTS": {"output0": {"cosine": 0.99}}}


@pytest.mark.parametrize("tolerances", [FP32, FP16, INT8], ids=["fp32", "fp16", "int8"])
def test_same_boxes_and_scores(project, package_file, tolerances) -> None:
    model = package_file("nudenet", "320n.onnx")
    project.run(NUDENET, MODEL=model, REFERENCE=None, **tolerances).assert_outcomes(passed=3)


def test_weights_that_are_off_by_a_tenth_are_caught(project, package_file, perturbed) -> None:
    model = package_file("nudenet", "320n.onnx")
    result = project.run(NUDENET, MODEL=perturbed(model, 1.1), REFERENCE=model, **FP16)
    result.assert_outcomes(failed=3)


def test_scores_of_dead_classes_fail_or_leave_a_note(project, package_file, tmp_path) -> None:
    source = package_file("nudenet", "320n.onnx")
    model, dead = onnx.load(source), tmp_path / "dead.onnx"
    (place,) = (i for i, one in enumerate(model.graph.node) if one.name == "/model.22/Sigmoid")
    (scores,) = model.graph.node[place].output
    model.graph.node[place].output[0] = "alive"
    model.graph.node.insert(place + 1, helper.make_node("Mul", ["alive", "zero"], [scores]))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    onnx.save(model, dead)
    project.run(NUDENET, MODEL=dead, REFERENCE=source, **FP32).assert_outcomes(failed=3)
    result = project.run(NUDENET, MODEL=dead, REFERENCE=source, **FP32 | {"ATOL": 1.0})
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*'output0' pass an engine that returns 0 at 4 to 21 of axis 1*"])


def with_nms(path: Path, output: Path, threshold: float) -> Path:
    """Append non-maximum suppression: output0 [n, 22, boxes] -> selected int64 [found, 3]."""
    model = onnx.load(path)
    nodes = [
        helper.make_node("Split", ["output0", "parts"], ["rows", "scores"], axis=1),
        helper.make_node("Transpose", ["rows"], ["boxes"], perm=[0, 2, 1]),
        helper.make_node(
            "NonMaxSuppression",
            ["boxes", "scores", "most", "overlap", "least"],
            ["selected"],
            name="nms",
            center_point_box=1,
        ),
    ]
    model.graph.node.extend(nodes)
    for name, value in (
        ("parts", np.array([4, 18])),
        ("most", np.array([5])),
        ("overlap", np.array([0.45], np.float32)),
        ("least", np.array([threshold], np.float32)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    selected = helper.make_tensor_value_info("selected", TensorProto.INT64, ["found", 3])
    model.graph.output.append(selected)
    onnx.checker.check_model(model)
    onnx.save(model, output)
    return output


def test_detections_selected_in_the_graph(project, package_file, tmp_path: Path) -> None:
    model = with_nms(package_file("nudenet", "320n.onnx"), tmp_path / "nms.onnx", 1e-4)
    # Two boxes score all but the same, and ONNX Runtime before 1.23 takes the other.
    outputs = {"selected": {"max_mismatch_pct": 0.2}}
    result = project.run(NUDENET, MODEL=model, REFERENCE=None, **FP32 | {"OUTPUTS": outputs})
    result.assert_outcomes(passed=3)


def test_another_threshold_selects_others(project, package_file, tmp_path: Path) -> None:
    source = package_file("nudenet", "320n.onnx")
    right = with_nms(source, tmp_path / "right.onnx", 1e-4)
    wrong = with_nms(source, tmp_path / "wrong.onnx", 3e-4)
    result = project.run(NUDENET, MODEL=wrong, REFERENCE=right, **FP32)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["selected: wrong shape against right.onnx *"])


YOLOX = (
    PICTURE
    + """
def detections(raw, least=0.3):
    '''Decode a YOLOX head: output [1, 3549, 6] -> boxes [found, 4] in pixels, best first.'''
    strides, centres = [], []
    for stride in (8, 16, 32):
        side = 416 // stride
        ys, xs = np.mgrid[:side, :side]
        centres.append(np.stack([xs.ravel(), ys.ravel()], axis=1))
        strides.append(np.full((side * side, 1), stride))
    centres, strides = np.concatenate(centres), np.concatenate(strides)
    middle, size = (raw[0, :, :2] + centres) * strides, np.exp(raw[0, :, 2:4]) * strides
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
    scores = raw[0, :, 4] * raw[0, :, 5]
    kept = []
    for index in np.argsort(-scores):
        if scores[index] < least:
            break
        if all(overlap(boxes[index], boxes[other]) < 0.45 for other in kept):
            kept.append(index)
    return boxes[kept]

def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = np.prod(np.maximum(high - low, 0))
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)

@pytest.fixture
def trt_inputs():
    page = 255 * picture(416, 416)
    for left, top in ((60, 80), (200, 60), (300, 250), (90, 290)):  # an F each
        page[..., top : top + 40, left : left + 6] = 10
        page[..., top : top + 6, left : left + 28] = 10
        page[..., top + 20 : top + 25, left : left + 21] = 10
    return {"images": page}

@pytest.mark.trt_model(MODEL, precision=PRECISION)
@pytest.mark.trt_consistency(rtol=RTOL, atol=ATOL)
def test_same_detections(trt_session, trt_reference, trt_inputs):
    found = detections(trt_session.run(trt_inputs)["output"])
    expected = detections(trt_reference.run(trt_inputs)["output"])
    assert len(expected) == 4
    np.testing.assert_allclose(found, expected, atol=2.0)
"""
)


# Measured: fp32 differs by up to 6e-6 and fp16 by up to 0.01; all four letters are found.
@pytest.mark.parametrize(
    ("precision", "rtol", "atol"), [("fp32", 1e-4, 1e-4), ("fp16", 1e-2, 0.02)]
)
def test_same_detections_after_decoding(
    project, package_file, precision: str, rtol: float, atol: float
) -> None:
    model = package_file("ddddocr", "common_det.onnx")
    result = project.run(YOLOX, MODEL=model, PRECISION=precision, RTOL=rtol, ATOL=atol)
    result.assert_outcomes(passed=1)
