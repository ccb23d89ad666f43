"""Float32 to float16 or bfloat16: which nodes stay float32, and all around the narrowing itself."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from onnx import ModelProto, TensorProto

from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.converting import (
    explained,
    kept_in,
    raised,
    refuse_dynamically_quantised,
    verify,
)
from pytest_trt.backends.conversion.counting import count_in_integers
from pytest_trt.backends.conversion.integers import integer_arithmetic
from pytest_trt.backends.conversion.narrow_report import NarrowReport, already_narrow
from pytest_trt.backends.conversion.narrow_types import BFLOAT16, FLOAT16, NarrowType
from pytest_trt.backends.conversion.narrowing import narrow
from pytest_trt.backends.conversion.tensor_types import TensorTypes, tensor_types
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.spec import keeps_nothing
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.loading import load
from pytest_trt.tensors.elements import element_name

#: Operators that could compute in 16 bits, but lose too much: sums over a whole axis, coordinates
#: in pixels; and the bits of float32 themselves.
_FLOAT32_OPERATORS = frozenset({"BitCast", "CumSum", "RoiAlign"})

#: The first opset with casts to bfloat16.
_BFLOAT16_OPSET = 13

#: ONNX Runtime and TensorRT compute it by a function whose constants are float32.
_FLOAT32_FUNCTIONS = frozenset({"MeanVarianceNormalization"})


def to_narrow(
    model: OnnxModel,
    output: Path,
    to: NarrowType,
    *,
    keep_fp32: Collection[str] = (),
    verified: bool = True,
) -> Conversion:
    """Convert a float32 model to a narrow type inside; its inputs and outputs keep their types.

    What is declared to compute in float16 computes in bfloat16 too, whether the model's opset
    declares it (opset 22 does, for most operators) or not: TensorRT-RTX 1.7 builds Conv and MaxPool
    in bfloat16 from opset 13 on. ONNX Runtime does not load such a model.

    Args:
        model: What to convert.
        output: The file to write; large weights become external data next to it.
        to: The type.
        keep_fp32: What stays float32, see `kept_nodes`.
        verified: Whether ONNX Runtime has to load a float16 result.

    Raises:
        ConfigurationError: `keep_fp32` names nothing in the model, or has no effect on it.
        ModelError: The model cannot be read.
        EngineBuildError: It has no float32 to convert, is quantised dynamically, or is invalid
            after conversion.
    """
    refuse_dynamically_quantised(model, to.precision)
    proto = load(model.path)
    if to is BFLOAT16:
        proto = raised(model, proto, _BFLOAT16_OPSET, to.precision)
    kept = kept_in(model.path.name, proto, keep_fp32)
    done = narrowed(model, proto, to, lambda: {node.name for node in kept})
    graph.save(proto, output)
    del proto
    if verified:
        verify(model, output, to.precision, loads=to is FLOAT16)
    return done


def narrowed(
    model: OnnxModel, proto: ModelProto, to: NarrowType, kept: Callable[[], Collection[str]]
) -> Conversion:
    """Narrow a loaded model in place, see `to_narrow`.

    Args:
        model: What was loaded.
        proto: The model with its weights in memory.
        to: The type.
        kept: Returns the names of the nodes to keep, once all nodes have names.
    """
    with explained(model, to.precision):
        graph.modernise(proto)
        graph.name_nodes(proto)
        names = frozenset(kept())
        count_in_integers(proto)
        graph.tidy(proto)
        types = tensor_types(proto)
    already = already_narrow(proto, types.known.values(), to)
    if already is not None:
        if names:
            raise keeps_nothing(
                f"keep_fp32 has no effect on {model.path.name}: {already}",
                "remove it, or test the float32 model that it was made from.",
                model=str(model.path),
                precision=to.precision,
            )
        return Conversion((already,))
    if TensorProto.FLOAT not in types.known.values():
        raise _refused(model, f"has no float32 values to convert to {to.precision}", types, to)
    report, by_rule = NarrowReport(to), _float32_nodes(proto, types) - names
    with explained(model, to.precision):
        outputs = _made_by(proto, by_rule)
        computing = narrow(proto, types, by_rule | names, report)
    undeclared = _undeclared(proto, types)
    if not computing and not names and not undeclared:
        raise _refused(model, f"has no operator that can compute in {to.name}", types, to)
    return Conversion((*report.notes(), *undeclared), outputs)


def _made_by(proto: ModelProto, names: Collection[str]) -> tuple[str, ...]:
    """Return the model's float32 outputs that some nodes of its main graph make."""
    made = {name for node in proto.graph.node if node.name in names for name in node.output}
    return tuple(
        one.name
        for one in proto.graph.output
        if one.name in made and one.type.tensor_type.elem_type == TensorProto.FLOAT
    )


def _float32_nodes(proto: ModelProto, types: TensorTypes) -> frozenset[str]:
    """Return the names of the nodes that stay float32 in every conversion."""
    operators = _FLOAT32_OPERATORS | _FLOAT32_FUNCTIONS
    by_operator = (
        node.name
        for scope in graph.walk_graphs(proto.graph)
        for node in scope.node
        if node.op_type in operators
    )
    return frozenset(by_operator) | integer_arithmetic(proto, types)


def _undeclared(proto: ModelProto, types: TensorTypes) -> list[str]:
    """Return a note for each operator whose types nobody declares."""
    operators = {
        node.op_type
        for scope in graph.walk_graphs(proto.graph)
        for node in scope.node
        if types.signature(node) is None
    }
    return [
        f"operator {operator} stays float32: ONNX and ONNX Runtime do not declare its types"
        for operator in sorted(operators)
    ]


def _refused(
    model: OnnxModel, problem: str, types: TensorTypes, to: NarrowType
) -> EngineBuildError:
    known = {element_name(number) for number in types.known.values() if number}
    dtypes = ", ".join(sorted(known)) or "unknown"
    return EngineBuildError(
        f"{model.path.name} {problem} (its types: {dtypes})",
        fix='use precision="fp32", which runs the model as it is.',
        code="TRT355",
        facts={"model": str(model.path), "precision": to.precision, "dtypes": dtypes},
    )
