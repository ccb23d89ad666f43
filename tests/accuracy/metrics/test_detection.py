"""Detections by hand, and against a matching that tries every assignment."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from pytest_trt import metrics
from pytest_trt.diagnostics import ConfigurationError

METRIC = metrics.detections("boxes", "scores", "classes")


def image(*objects):
    """Outputs of one image: (x1, y1, x2, y2, score, class) of each object."""
    rows = np.array(objects, np.float32).reshape(-1, 6)
    return {
        "boxes": rows[None, :, :4],
        "scores": rows[None, :, 4],
        "classes": rows[None, :, 5].astype(np.int64),
    }


CAT, DOG = (0, 0, 10, 10, 0.9, 1), (20, 20, 30, 40, 0.8, 2)


@pytest.mark.parametrize(
    ("found", "expected", "score"),
    [
        ([CAT, DOG], [CAT, DOG], 1.0),
        ([DOG, CAT], [CAT, DOG], 1.0),  # the order is free
        ([CAT], [CAT, DOG], 2 / 3),
        ([CAT, DOG, DOG], [CAT, DOG], 4 / 5),  # each is matched once
        ([CAT, (0, 0, 0, 0, 0.0, 0)], [CAT], 1.0),  # padding has no score
        ([], [CAT], 0.0),
        ([CAT], [], 0.0),
        ([], [], 1.0),
        ([(0, 0, 10, 10, 0.9, 2)], [CAT], 0.0),  # another class
        ([(0, 0, 10, 5, 0.9, 1)], [CAT], 1.0),  # an overlap of exactly a half
        ([(0, 0, 10, 4.9, 0.9, 1)], [CAT], 0.0),
        ([(10, 0, 20, 10, 0.9, 1)], [CAT], 0.0),  # they touch
    ],
)
def test_f1_by_hand(found, expected, score):
    assert METRIC(image(*found), image(*expected)) == pytest.approx(score)


def naive_iou(one, other):
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def naive_f1(found, expected, iou):
    """The best of all assignments."""
    small, large = sorted((found, expected), key=len)
    most = max(
        sum(naive_iou(one, large[j]) >= iou for one, j in zip(small, order, strict=True))
        for order in itertools.permutations(range(len(large)), len(small))
    )
    return 2 * most / (len(found) + len(expected))


@pytest.mark.parametrize("seed", range(25))
def test_matching_is_as_large_as_any(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 4, size=(11, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(3, 8, size=(11, 2))], axis=1)
    found, expected = boxes[:6], boxes[6:]
    metric = metrics.detections("boxes", iou=0.3)
    score = metric({"boxes": found}, {"boxes": expected})
    assert score == pytest.approx(naive_f1(found.tolist(), expected.tolist(), 0.3))
    again = metric({"boxes": found[::-1]}, {"boxes": rng.permutation(expected)})
    assert again == score


def test_images_of_a_batch_are_not_mixed():
    boxes = np.array([[[0, 0, 1, 1]], [[5, 5, 6, 6]]], np.float32)
    metric = metrics.detections("boxes")
    assert metric({"boxes": boxes}, {"boxes": boxes}) == 1.0
    assert metric({"boxes": boxes}, {"boxes": boxes[::-1]}) == 0.0


@pytest.mark.parametrize(
    ("box_format", "box"),
    [("xyxy", [2, 3, 6, 9]), ("xywh", [2, 3, 4, 6]), ("cxcywh", [4, 6, 4, 6])],
)
def test_formats(box_format, box):
    metric = metrics.detections("boxes", iou=0.99, box_format=box_format)
    shifted = np.array([box], np.float64)
    assert metric({"boxes": shifted}, {"boxes": np.array([box])}) == 1.0
    shifted[0, 0] += 2.0
    assert metric({"boxes": shifted}, {"boxes": np.array([box])}) == 0.0
    overlap = 12 / (24 if box_format == "xyxy" else 36)  # one corner moved, or all of it
    just = metrics.detections("boxes", iou=overlap, box_format=box_format)
    assert just({"boxes": shifted}, {"boxes": np.array([box])}) == 1.0


def test_values_that_are_no_boxes():
    broken = image(CAT)
    broken["scores"][0, 0] = math.nan
    assert math.isnan(METRIC(broken, image(CAT)))
    broken = image(CAT)
    broken["boxes"][0, 0, 0] = math.nan
    assert math.isnan(METRIC(broken, image(CAT)))
    point = image((3, 3, 3, 3, 0.9, 1))
    assert METRIC(point, point) == 1.0
    assert METRIC(point, image((4, 4, 4, 4, 0.9, 1))) == 0.0


def test_thousands_of_boxes_take_little_memory_and_time():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1000, size=(3000, 2))
    boxes = np.concatenate([corners, corners + 20], axis=1).astype(np.float16)
    metric = metrics.detections("boxes")
    assert metric({"boxes": boxes}, {"boxes": rng.permutation(boxes)}) == 1.0


def test_scores_may_have_an_axis_of_one_at_the_end():
    outputs = image(CAT, (5, 5, 9, 9, 0.8, 2))
    with_axis = {**outputs, "scores": outputs["scores"][..., None]}
    assert METRIC(with_axis, outputs) == 1.0
    assert METRIC({**with_axis, "scores": with_axis["scores"] * 0}, outputs) < 1.0


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ({"boxes": np.ones((1, 3)), "scores": np.ones(1)}, "shape"),
        ({"boxes": np.ones((1, 2, 4)), "scores": np.ones((1, 3))}, "scores"),
        ({"boxes": np.ones((1, 2, 4))}, "no output 'scores'"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs, why):
    with pytest.raises(ConfigurationError, match=why):
        metrics.detections("boxes", "scores")(outputs, outputs)
    with pytest.raises(ConfigurationError, match="2 images, reference 1"):
        metrics.detections("boxes")({"boxes": np.ones((2, 1, 4))}, {"boxes": np.ones((1, 4))})


@pytest.mark.parametrize("wrong", [{"iou": 0.0}, {"iou": 1.1}, {"box_format": "yxyx"}])
def test_arguments_are_checked(wrong):
    with pytest.raises(ConfigurationError):
        metrics.detections("boxes", **wrong)
    with pytest.raises(ConfigurationError, match="min_score"):
        metrics.detections("boxes", "scores", min_score=math.nan)
