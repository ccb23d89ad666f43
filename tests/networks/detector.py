"""A detector of bright spots whose graph ends with non-maximum suppression, as YOLO exports do.

It detects indeed: three channels of the backbone carry red, green and blue to the head, where each
is a class, and the other channels carry noise that shifts the boxes a little. So scores are far
from the threshold and from each other, and what is selected does not hang on rounding.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from networks.graph import FLOAT, RELU_GAIN, Graph, value

#: Pixels between the cells that boxes are predicted for.
STRIDE = 8

#: Height and width stay below it.
LARGEST = 512

#: Classes: red, green, blue.
CLASSES = 3

#: Standard deviation of a spot's light, in pixels: a cell beside its centre gets 0.4 of it.
RADIUS = 5.0


def spot_detector(*, width: int = 32, depth: int = 2, seed: int = 0) -> ModelProto:
    """Return image [1, 3, height, width] -> detections [found, 6]: x1, y1, x2, y2, score, class.

    Height and width are multiples of `STRIDE` below `LARGEST`. An image without spots gives [0, 6].

    Args:
        width: Channels of the backbone.
        depth: Residual blocks of the backbone.
        seed: Seed of the weights.
    """
    net = _Detector("detector", seed=seed)
    x = net.conv("image", 3, width, stride=2)
    for _ in range(2):
        x = net.conv(x, width, width, stride=2)
    for _ in range(depth):
        x = net.add("Add", [x, net.conv(x, width, width)])
    boxes, scores, classes = net.decoded(*net.head(x, width))
    net.selected(boxes, scores, classes, "detections")
    return net.model(
        [value("image", [1, 3, "height", "width"])],
        [value("detections", ["found", 6])],
    )


def scene(height: int, width: int, spots: int, *, seed: int = 0) -> np.ndarray:
    """Draw red, green and blue spots on a dim picture: float32 [1, 3, height, width] in [0, 1].

    No two are of the same strength, and none lie closer than six cells.
    """
    random = np.random.default_rng(seed)
    picture = random.uniform(0.0, 0.02, (3, height, width))
    places = [
        (y, x)
        for y in range(2 * STRIDE, height - STRIDE, 6 * STRIDE)
        for x in range(2 * STRIDE, width - STRIDE, 6 * STRIDE)
    ]
    if spots > len(places):
        raise ValueError(f"{spots} spots do not fit into {height} x {width} pixels")
    rows, columns = np.mgrid[:height, :width]
    for number, place in enumerate(random.permutation(places)[:spots]):
        y, x = place + STRIDE / 2 - 0.5
        bump = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * RADIUS**2))
        picture[number % CLASSES] += (0.95 - 0.4 * number / max(spots, 4)) * bump
    return picture[None].clip(0, 1).astype(np.float32)


class _Detector(Graph):
    def conv(self, x: str, channels: int, outputs: int, *, stride: int = 1) -> str:
        """3x3 convolution and ReLU, which blurs the colours and mixes the other channels.

        At stride 1 it is the branch of a residual block, and leaves the colours to the shortcut.
        """
        values = self.random.standard_normal((outputs, channels, 3, 3)) / np.sqrt(9 * channels)
        values *= RELU_GAIN
        values[:CLASSES] = 0.0
        if stride > 1:
            for colour in range(CLASSES):
                values[colour, colour] = np.outer([1, 2, 1], [1, 2, 1]) / 16
        y = self.add(
            "Conv",
            [x, self.constant(values), self.constant(np.zeros(outputs))],
            kernel_shape=[3, 3],
            strides=[stride] * 2,
            pads=[1] * 4,
        )
        return self.add("Relu", [y])

    def head(self, x: str, channels: int) -> tuple[str, str]:
        """Predict distances to the four sides [1, 4, h, w] and class scores [1, 3, h, w]."""
        distances = 0.1 * self.random.standard_normal((4, channels, 1, 1)) / np.sqrt(channels)
        classes = np.zeros((CLASSES, channels, 1, 1))
        for colour in range(CLASSES):
            classes[colour, colour] = 6.0
        weight = self.constant(np.concatenate([distances, classes]))
        bias = self.constant([0.0] * 4 + [-1.2] * CLASSES)
        both = self.add("Conv", [x, weight, bias], kernel_shape=[1, 1])
        parts = self.constant([4, CLASSES], "int64")
        sides, logits = self.split("Split", [both, parts], ["sides", "logits"], axis=1)
        return sides, logits

    def decoded(self, sides: str, logits: str) -> tuple[str, str, str]:
        """Return boxes [cells, 4] in pixels, and each cell's best score and class [cells]."""
        # Boxes of about 5 cells: those of neighbouring cells overlap by half and more.
        distances = self.add("Mul", [self.add("Exp", [sides]), self.constant(2.5)])
        columns, rows = self.axis(sides, 3), self.axis(sides, 2)
        x = self.add("Unsqueeze", [columns, self.constant([0], "int64")])
        y = self.add("Unsqueeze", [rows, self.constant([1], "int64")])
        # One row of centres for all columns, and one column for all rows.
        ends = [self.constant([end], "int64") for end in (2, 4)]
        plane = self.add("Slice", [self.add("Shape", [sides]), *ends])
        planes = [self.add("Expand", [centre, plane]) for centre in (x, y)]
        first = self.constant([0], "int64")
        centres = self.add("Concat", [self.add("Unsqueeze", [p, first]) for p in planes], axis=0)
        near, far = self.split(
            "Split", [distances, self.constant([2, 2], "int64")], ["near", "far"], axis=1
        )
        box = self.add(
            "Concat",
            [self.add("Sub", [centres, near]), self.add("Add", [centres, far])],
            axis=1,
        )
        scores = self.rows(self.add("Sigmoid", [logits]), CLASSES)
        pixels = self.add("Mul", [self.rows(box, 4), self.constant(float(STRIDE))])
        best = self.add("ReduceMax", [scores], axes=[1], keepdims=0)
        return pixels, best, self.add("ArgMax", [scores], axis=1, keepdims=0)

    def axis(self, x: str, axis: int) -> str:
        """Centres of the cells along an axis, in cells: float [length]."""
        length = self.add("Gather", [self.add("Shape", [x]), self.constant(axis, "int64")])
        zero, one = self.constant(0, "int64"), self.constant(1, "int64")
        cells = self.add("Cast", [self.add("Range", [zero, length, one])], to=FLOAT)
        return self.add("Add", [cells, self.constant(0.5)])

    def rows(self, x: str, columns: int) -> str:
        """Lay [1, columns, h, w] out as [h * w, columns]."""
        flat = self.add("Reshape", [x, self.constant([columns, -1], "int64")])
        return self.add("Transpose", [flat], perm=[1, 0])

    def selected(self, boxes: str, scores: str, classes: str, output: str) -> None:
        """Suppress overlapping boxes of one class and gather what is left, best first."""
        second = self.constant([1], "int64")
        kind = self.add("Unsqueeze", [self.add("Cast", [classes], to=FLOAT), second])
        # Boxes of another class are moved away, so that one class is enough for the operator: it
        # says nothing of the order between classes. By no more than needed: float16 knows pixels
        # up to 2048.
        away = self.add("Mul", [kind, self.constant(float(LARGEST))])
        apart = self.add("Add", [boxes, away])
        column = self.add("Unsqueeze", [scores, second])
        found = self.add(
            "NonMaxSuppression",
            [
                self.add("Unsqueeze", [apart, self.constant([0], "int64")]),
                self.add("Unsqueeze", [scores, self.constant([0, 1], "int64")]),
                self.constant([100], "int64"),
                self.constant([0.3]),
                self.constant([0.5]),
            ],
        )
        index = self.add("Gather", [found, self.constant(2, "int64")], axis=1)
        every = self.add("Concat", [boxes, column, kind], axis=1)
        self.add("Gather", [every, index], output, axis=0)
