"""Detected objects, matched by the overlap of their boxes: their order and number are free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import Array, FloatArray
from pytest_trt.accuracy.metrics.arguments import unfit

#: What the four numbers of a box are: two corners, a corner and a size, or a centre and a size.
BoxFormat: TypeAlias = Literal["xyxy", "xywh", "cxcywh"]

#: Reference boxes whose overlap with all others is computed at a time.
_ROWS = 256


@dataclass(frozen=True, slots=True)
class Detections:
    """The F1 score of an engine's detections against the reference's: see `detections`.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the scores; empty if there is none.
        classes: Name of the output with the classes; empty if there is none.
        iou: Least overlap of two boxes of one object.
        min_score: Detections with at most this score are left out.
        box_format: What the numbers of a box are.
    """

    boxes: str
    scores: str = ""
    classes: str = ""
    iou: float = 0.5
    min_score: float = 0.0
    box_format: BoxFormat = "xyxy"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are judged."""
        return tuple(filter(None, (self.boxes, self.scores, self.classes)))

    def __call__(
        self, outputs: Mapping[str, npt.ArrayLike], reference: Mapping[str, npt.ArrayLike]
    ) -> float:
        """Return the F1 score, from 0 to 1.

        Raises:
            ConfigurationError: An output is missing, or its shape does not fit the others.
        """
        found, expected = self._images(outputs), self._images(reference)
        if len(found) != len(expected):
            raise unfit(
                "detections",
                f"{len(found)} images, reference {len(expected)}",
                "Give both sides the same batch.",
            )
        both = list(zip(found, expected, strict=True))
        total = sum(len(image.boxes) for pair in both for image in pair)
        if any(np.isnan(image.boxes).any() for pair in both for image in pair):
            return math.nan
        matched = sum(_matched(one, other, self.iou) for one, other in both)
        return 2.0 * matched / total if total else 1.0

    def _images(self, outputs: Mapping[str, npt.ArrayLike]) -> list[_Image]:
        for name in self.outputs:
            if name not in outputs:
                raise unfit(
                    "detections", f"there is no output {name!r}", "Name one of the outputs."
                )
        boxes = np.asarray(outputs[self.boxes])
        if boxes.ndim not in (2, 3) or boxes.shape[-1] != 4 or boxes.dtype.kind == "c":
            raise unfit(
                "detections",
                f"boxes {self.boxes!r} have the shape {list(boxes.shape)}",
                "Give boxes [batch, n, 4] or [n, 4].",
            )
        corners = _corners(boxes.astype(np.float64), self.box_format)
        scores, classes = (
            self._of_boxes(name, outputs, boxes.shape[:-1]) for name in (self.scores, self.classes)
        )
        if boxes.ndim == 2:
            return [self._image(corners, scores, classes)]
        return [
            self._image(
                corners[i],
                None if scores is None else scores[i],
                None if classes is None else classes[i],
            )
            for i in range(len(boxes))
        ]

    def _of_boxes(
        self, name: str, outputs: Mapping[str, npt.ArrayLike], shape: tuple[int, ...]
    ) -> Array | None:
        if not name:
            return None
        array = np.asarray(outputs[name])
        if array.shape == (*shape, 1):
            array = array[..., 0]
        if array.shape != shape:
            raise unfit(
                "detections",
                f"output {name!r} has the shape {list(array.shape)}, and the boxes {list(shape)}",
                "Give one score and one class for each box.",
            )
        return array

    def _image(self, boxes: FloatArray, scores: Array | None, classes: Array | None) -> _Image:
        if classes is None:
            classes = np.zeros(len(boxes), np.int64)
        if scores is not None:
            # A NaN is no score, and must not leave the box out.
            kept = ~(scores.astype(np.float64) <= self.min_score)
            boxes, classes, scores = boxes[kept], classes[kept], scores[kept]
            if np.isnan(scores.astype(np.float64)).any():
                boxes = np.full_like(boxes, np.nan)
        return _Image(boxes, classes)


def detections(
    boxes: str,
    scores: str = "",
    classes: str = "",
    *,
    iou: float = 0.5,
    min_score: float = 0.0,
    box_format: BoxFormat = "xyxy",
) -> Detections:
    """Return a metric of detections, for `metrics={"objects": (detections(...), ">= 0.99")}`.

    Its value is the F1 score, from 0 to 1, larger is better: 2 m / (d + r), with m matches among d
    detections of the engine and r of the reference, over all images of a run. A detection matches
    one of the reference in the same image, of the same class, if their boxes overlap by at least
    `iou` (intersection over union, Jaccard index); each matches at most one, and as many as
    possible do (a largest bipartite matching), so no order plays a role. 1 where both sides have
    none. Scores only decide which detections count: those of padding have a score of 0.

    Judge detections after non-maximum suppression. Their number may differ between the two sides,
    so such outputs need `elementwise=False`.

    Args:
        boxes: Name of the output with the boxes, [batch, n, 4] or [n, 4].
        scores: Name of the output with the scores, [batch, n] or [n].
        classes: Name of the output with the classes, likewise. Without: one class.
        iou: Least overlap of a match, above 0, up to 1 (0.5 as in PASCAL VOC).
        min_score: Detections with at most this score are left out.
        box_format: What the four numbers are: "xyxy" (two corners), "xywh" (a corner and width and
            height) or "cxcywh" (the centre, width and height).

    Raises:
        ConfigurationError: An argument is not valid.
    """
    if not 0.0 < iou <= 1.0:
        raise unfit("detections", f"iou={iou!r} is no overlap", "Give one above 0, up to 1.")
    if box_format not in ("xyxy", "xywh", "cxcywh"):
        raise unfit(
            "detections", f"unknown box_format={box_format!r}", "Give xyxy, xywh or cxcywh."
        )
    if not math.isfinite(min_score):
        raise unfit("detections", f"min_score={min_score!r} is no score", "Give a finite number.")
    return Detections(boxes, scores, classes, iou, min_score, box_format)


@dataclass(frozen=True, slots=True)
class _Image:
    """Detections of one image: boxes [n, 4] as corners, and their classes [n]."""

    boxes: FloatArray
    classes: npt.NDArray[Any]


def _corners(boxes: FloatArray, box_format: BoxFormat) -> FloatArray:
    """Return boxes as their corner of least and their corner of largest coordinates."""
    one, other = boxes[..., :2], boxes[..., 2:]
    if box_format == "xywh":
        other = one + other
    elif box_format == "cxcywh":
        one, other = one - other / 2.0, one + other / 2.0
    return np.concatenate([np.minimum(one, other), np.maximum(one, other)], axis=-1)


def _matched(found: _Image, expected: _Image, iou: float) -> int:
    """Return how many detections of one image match."""
    partners = [
        np.flatnonzero(row)
        for start in range(0, len(expected.boxes), _ROWS)
        for row in _overlapping(found, expected, slice(start, start + _ROWS), iou)
    ]
    return _largest_matching(partners)


def _overlapping(found: _Image, expected: _Image, part: slice, iou: float) -> npt.NDArray[np.bool_]:
    """Return which detections overlap enough with which of a part of the expected ones."""
    one, other = expected.boxes[part, None], found.boxes[None]
    with np.errstate(all="ignore"):
        sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
        shared = np.clip(sides, 0.0, None).prod(axis=-1)
        areas = ((box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (one, other))
        union = sum(areas) - shared
        enough = shared >= iou * union
    # Boxes without an area overlap only if they are equal.
    equal = (one == other).all(axis=-1)
    same_class = expected.classes[part, None] == found.classes[None]
    return np.asarray(np.where(union > 0.0, enough, equal) & same_class)


def _largest_matching(partners: list[npt.NDArray[np.intp]]) -> int:
    """Return the size of a largest matching, by augmenting paths (Kuhn's algorithm).

    Args:
        partners: For each of one side, those of the other that it may match.
    """
    owner: dict[int, int] = {}
    return sum(_is_placed(place, partners, owner) for place in range(len(partners)))


def _is_placed(first: int, partners: list[npt.NDArray[np.intp]], owner: dict[int, int]) -> bool:
    """Match one more, and let others move to another partner for it where that helps."""
    came_from: dict[int, tuple[int, int]] = {}  # of a partner: who asks, and that one's partner
    queue = [(first, -1)]
    for asking, held in queue:  # breadth first: it grows as it is read
        for partner in map(int, partners[asking]):
            if partner in came_from:
                continue
            came_from[partner] = (asking, held)
            if partner in owner:
                queue.append((owner[partner], partner))
                continue
            while partner >= 0:
                asking, held = came_from[partner]
                owner[partner] = asking
                partner = held
            return True
    return False
