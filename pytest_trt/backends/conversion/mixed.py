"""Mixed precision: INT8 with Q/DQ nodes, and float16 for what they leave."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.converting import kept_in, raised, verify
from pytest_trt.backends.conversion.int8 import OWN_NODES, quantised
from pytest_trt.backends.conversion.narrow import narrowed
from pytest_trt.backends.conversion.narrow_types import FLOAT16
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.loading import load
from pytest_trt.tensors.spec import InputSamples

#: The first opset whose Q/DQ nodes take and give float16.
_OPSET = 19


def to_mixed(
    model: OnnxModel,
    calibration: InputSamples,
    output: Path,
    *,
    options: Mapping[str, OptionValue] | None = None,
    keep_fp32: Collection[str] = (),
    qdq_weights: bool = True,
    verified: bool = True,
) -> Conversion:
    """Quantise a float32 model to INT8, and convert the rest to float16.

    Arguments are those of `to_int8`; a model that is quantised needs no calibration.

    Raises:
        ConfigurationError, InputError, EngineBuildError: As `to_int8` and `to_narrow`.
    """
    notes: tuple[str, ...]
    if model.is_quantized:
        proto, notes = load(model.path), (f"{OWN_NODES}; they are used",)
        kept = kept_in(model.path.name, proto, keep_fp32)
        graph.name_nodes(proto)
        names = frozenset(node.name for node in kept)
    else:
        done = quantised(
            model,
            calibration,
            output.parent,
            options,
            keep_fp32=keep_fp32,
            qdq_weights=qdq_weights,
            precision="mixed",
        )
        proto, notes, names = done.proto, done.notes, done.kept
    proto = raised(model, proto, _OPSET, "mixed")
    found = narrowed(model, proto, FLOAT16, lambda: names)
    graph.save(proto, output)
    if verified:
        verify(model, output, "mixed", calibration)
    return Conversion((*notes, *found.notes), found.float32_outputs)
