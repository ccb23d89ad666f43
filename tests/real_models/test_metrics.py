"""Metrics of pretrained models: what they pass that elements cannot, and what they fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

DETECTOR = """
from pytest_trt.metrics import detections

@pytest.fixture
def picture():
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:1:320j, 0:1:320j]
    page = np.full((1, 3, 320, 320), 0.8)
    for _ in range(6):
        cy, cx, size = random.uniform(0.1, 0.9, 3)
        spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (0.02 + 0.1 * size) ** 2)
        page += random.uniform(-0.8, 0.2, (1, 3, 1, 1)) * spot
    return page.clip(0, 1).astype(np.float32)

@pytest.mark.trt_model(MODEL, precision=PRECISION, reference=REFERENCE,
    profiles={"images": ((1, 3, 320, 320), (1, 3, 320, 320), (1, 3, 320, 320))})
@pytest.mark.trt_consistency(**GIVEN, metrics={
    "objects": (detections("boxes", "found_scores", "classes", box_format="cxcywh"), LIMIT)})
def test_objects(trt_session, picture):
    outputs = trt_session.run({"images": picture})
    assert len(outputs["boxes"]) > 10
"""


def with_objects(path: Path, output: Path) -> Path:
    """End a detector in non-maximum suppression: boxes [n, 4], found_scores [n], classes [n]."""
    model = onnx.load(path)
    nodes = [
        helper.make_node("Split", ["output0", "parts"], ["rows", "scores"], axis=1),
        helper.make_node("Transpose", ["rows"], ["all_boxes"], perm=[0, 2, 1]),
        helper.make_node(
            "NonMaxSuppression",
            ["all_boxes", "scores", "most", "overlap", "least"],
            ["selected"],
            center_point_box=1,
        ),
        helper.make_node("Gather", ["selected", "image_and_box"], ["places"], axis=1),
        helper.make_node("GatherND", ["all_boxes", "places"], ["boxes"]),
        helper.make_node("GatherND", ["scores", "selected"], ["found_scores"]),
        helper.make_node("Gather", ["selected", "class"], ["classes"], axis=1),
    ]
    model.graph.node.extend(nodes)
    for name, value in (
        ("parts", np.array([4, 18])),
        ("most", np.array([5])),
        ("overlap", np.array([0.45], np.float32)),
        ("least", np.array([1e-4], np.float32)),
        ("image_and_box", np.array([0, 2])),
        ("class", np.array(1)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    del model.graph.output[:]
    for name, dtype, shape in (
        ("boxes", TensorProto.FLOAT, ["n", 4]),
        ("found_scores", TensorProto.FLOAT, ["n"]),
        ("classes", TensorProto.INT64, ["n"]),
    ):
        model.graph.output.append(helper.make_tensor_value_info(name, dtype, shape))
    onnx.checker.check_model(model)
    onnx.save(model, output)
    return output


@pytest.fixture
def detector(package_file, tmp_path) -> Path:
    return with_objects(package_file("nudenet", "320n.onnx"), tmp_path / "objects.onnx")


METRICS_ALONE = {"elementwise": False}


# Measured: an F1 of 1; some boxes come in another order, and so are 57 times too far off.
@pytest.mark.exhaustive
def test_fp16_detections_pass_by_overlap_though_their_order_and_number_differ(
    project, detector
) -> None:
    values = {"MODEL": detector, "REFERENCE": None, "PRECISION": "fp16", "LIMIT": ">= 0.95"}
    project.run(DETECTOR, **values, GIVEN=METRICS_ALONE).assert_outcomes(passed=1)
    project.run(DETECTOR, **values, GIVEN={"rtol": 1e-2, "atol": 1.0}).assert_outcomes(failed=1)


def test_detections_of_weights_that_are_off_by_a_tenth_fail(project, detector, perturbed) -> None:
    result = project.run(
        DETECTOR,
        MODEL=perturbed(detector, 1.1),
        REFERENCE=detector,
        PRECISION="fp32",
        LIMIT=">= 0.95",
        GIVEN=METRICS_ALONE,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["objects 0.*, required >= 0.95 against objects.onnx *"])


CLASSIFIER = """
@pytest.fixture
def contents():
    files = [b"import os\\n" * 40, b"SELECT name FROM orders;\\n" * 40, b"<p>b</p>\\n" * 200]
    rows = np.full((len(files), 2048), 256, np.int32)
    for row, content in zip(rows, files):
        row[: len(content[:1024])] = list(content[:1024])
        row[-len(content[-1024:]):] = list(content[-1024:])
    return rows

@pytest.mark.trt_model(MODEL, precision=PRECISION,
    profiles={"bytes": ((1, 2048), (3, 2048), (8, 2048))}, keep_fp32=KEEP)
@pytest.mark.trt_consistency(elementwise=False, outputs={"target_label": {"metrics": {
    "kl_divergence": "<= 0.001", "top1": ">= 1", "p99_abs": "<= 0.01", "snr_db": ">= 30"}}})
def test_labels(trt_session, contents):
    trt_session.run({"bytes": contents})
"""

#: What keeps the sum of squares of the second normalisation out of float16: it reaches 191,000.
SUM_OF_SQUARES = ("LayerNorm_1/Sum_1", "LayerNorm_1/truediv_1")


@pytest.mark.parametrize("overflows", [False, True])
def test_classifier_is_judged_by_metrics_alone(project, package_file, overflows) -> None:
    model = package_file("magika", "standard_v3_3/model.onnx")
    nodes = [node.name for node in onnx.load(model).graph.node]
    kept = [] if overflows else [name for name in nodes if name.endswith(SUM_OF_SQUARES)]
    result = project.run(CLASSIFIER, MODEL=model, PRECISION="fp16", KEEP=kept)
    result.assert_outcomes(**{"failed" if overflows else "passed": 1})


TASK = (
    CLASSIFIER.partition("@pytest.mark.trt_consistency")[0]
    + """
def test_labels(trt_session, trt_metrics, contents):
    found = trt_session.run({"bytes": contents})["target_label"]
    expected = [LABELS.index(label) for label in ("python", "sql", "html")]
    right = found[range(len(expected)), expected]
    trt_metrics.record("probability", float(right.mean()), limit="5%")
"""
)


def test_task_metric_of_an_overflowing_engine_is_worse_than_its_baseline(
    project, package_file
) -> None:
    model = package_file("magika", "standard_v3_3/model.onnx")
    labels = json.loads(model.with_name("config.min.json").read_text())["target_labels_space"]
    nodes = [node.name for node in onnx.load(model).graph.node]
    overflowing = [name for name in nodes if name.endswith(SUM_OF_SQUARES)]
    values = {"MODEL": model, "PRECISION": "fp16", "LABELS": labels}
    for kept, outcome in ((overflowing, "passed"), ([], "failed")):
        result = project.run(TASK, "--trt-missing-baseline=record", **values, KEEP=kept)
        result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["probability * is worse than its baseline *TRT430*"])
