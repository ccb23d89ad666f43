"""Networks with a shape among their inputs, in operators and an opset that TensorRT 8.6 parses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from builders_networks import FLOAT, INT64, constant, model, value, weights
from onnx import ModelProto, helper


def resizer(length: int | str = 2) -> ModelProto:
    """Convolve an image and resize it: image [1, 3, height, width], size [2] -> resized."""
    return model(
        [
            helper.make_node("Conv", ["image", "w"], ["features"], name="conv", pads=[1] * 4),
            helper.make_node("Concat", ["head", "size"], ["sizes"], name="sizes", axis=0),
            helper.make_node(
                "Resize",
                ["features", "", "", "sizes"],
                ["resized"],
                name="resize",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
        ],
        [value("image", [1, 3, "height", "width"]), value("size", [length], INT64)],
        [value("resized", [1, 3, "rows", "columns"])],
        [weights("w", 3, 3, 3, 3), constant("head", [1, 3], "int64")],
    )


def reshaper(length: int | str = 2) -> ModelProto:
    """Scale and reshape a table: table [batch, 8], size [2] -> reshaped."""
    return model(
        [
            helper.make_node("Mul", ["table", "w"], ["scaled"], name="scale"),
            helper.make_node("Reshape", ["scaled", "size"], ["reshaped"], name="reshape"),
        ],
        [value("table", ["batch", 8]), value("size", [length], INT64)],
        [value("reshaped", ["rows", "columns"])],
        [weights("w", 8)],
    )


def expander(length: int | str = 2) -> ModelProto:
    """Repeat a row, whose shape is fixed: row [1, 8], size [2] -> expanded [rows, 8]."""
    return model(
        [
            helper.make_node("Mul", ["row", "w"], ["scaled"], name="scale"),
            helper.make_node("Expand", ["scaled", "size"], ["expanded"], name="expand"),
        ],
        [value("row", [1, 8]), value("size", [length], INT64)],
        [value("expanded", ["rows", "columns"])],
        [weights("w", 8)],
    )


def slicer() -> ModelProto:
    """Cut a series, at a place given by one value: series [64], end [1] -> cut [places]."""
    return model(
        [
            helper.make_node("Mul", ["series", "w"], ["scaled"], name="scale"),
            helper.make_node("Slice", ["scaled", "start", "end"], ["cut"], name="slice"),
        ],
        [value("series", [64]), value("end", [1], INT64)],
        [value("cut", ["places"])],
        [weights("w", 64), constant("start", [0], "int64")],
    )


def counter() -> ModelProto:
    """Count in steps of a rate, to a scalar: rate [1], count [] -> ticks [count]."""
    return model(
        [
            helper.make_node("Range", ["zero", "count", "one"], ["numbers"], name="range"),
            helper.make_node("Cast", ["numbers"], ["floats"], name="cast", to=FLOAT),
            helper.make_node("Mul", ["floats", "rate"], ["ticks"], name="scale"),
        ],
        [value("rate", [1]), value("count", [], INT64)],
        [value("ticks", ["places"])],
        [constant("zero", 0, "int64"), constant("one", 1, "int64")],
    )


_ROWS = ((1, 8), (4, 8), (16, 8))

#: Every network, with a profile as the marker takes it. Whatever the values are inside it, they fit
#: the shapes of the same point.
WITH_PROFILES: Mapping[str, tuple[Callable[[], ModelProto], Mapping[str, Any]]] = MappingProxyType(
    {
        "Resize": (
            resizer,
            {
                "image": ((1, 3, 8, 8), (1, 3, 16, 16), (1, 3, 32, 32)),
                "size": {"values": ((8, 8), (16, 16), (32, 32))},
            },
        ),
        "Reshape": (reshaper, {"table": _ROWS, "size": {"values": _ROWS}}),
        "Expand": (expander, {"size": {"values": _ROWS}}),
        "Slice": (slicer, {"end": {"values": (1, 16, 64)}}),
        "Range": (counter, {"count": {"values": (1, 4, 8)}}),
    }
)
