"""Which inputs hold a shape: their values, and not their own shape alone, decide sizes of tensors.

TensorRT demands a range of values for these (`value_ranges`). Which they are, its parser says; here
the same is asked of the model, for backends that have no such parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.onnx.proto import Graph
from pytest_trt.tensors.profiles import Profile, example_ranges, pasted
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange, example_values, may_hold_shape

#: Inputs of an operator, by their place, whose values are sizes, places or axes.
#: Source for this table and the next: what the parser of TensorRT-RTX 1.7 makes a shape tensor.
_SIZES = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
}

#: Operators through which an input's values reach such a place, from any of their inputs. `Shape`
#: is none of them: it reads no values.
_COMPUTES_SIZES = frozenset(
    {"Abs", "Add", "Ceil", "Clip", "Div", "Exp", "Floor", "Max", "Min", "Mod", "Mul", "Neg", "Pow"}
    | {"Relu", "Round", "Sign", "Sqrt", "Sub", "Equal", "Greater", "Less", "Where", "Cast"}
    | {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"}
    | {"Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split"}
    | {"Squeeze", "Unsqueeze"}
)


def shape_inputs(graph: Graph, inputs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """Return the names of the inputs that hold a shape, in the model's order.

    Only what the main graph does with them is known; subgraphs are not looked at.
    """
    producers = {name: node for node in graph.nodes for name in node.outputs}
    open_names = [
        node.inputs[place]
        for node in graph.nodes
        for place in _SIZES.get(node.operator, ())
        if place < len(node.inputs)
    ]
    sizes: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name in sizes:
            continue
        sizes.add(name)
        node = producers.get(name)
        if node is not None and node.operator in _COMPUTES_SIZES:
            open_names += node.inputs
    return tuple(spec.name for spec in inputs if spec.name in sizes and may_hold_shape(spec))


def require_values(
    holders: Sequence[TensorSpec],
    profiles: Sequence[Profile],
    model_name: str,
    *,
    inputs: Sequence[TensorSpec] = (),
) -> None:
    """Refuse profiles without a range of values for an input that holds a shape.

    Args:
        holders: The inputs that hold a shape.
        profiles: What the user gave.
        model_name: The model's name, for the message.
        inputs: All inputs, for what is to be pasted where nothing was given.

    Raises:
        ConfigurationError: With a `profiles=` to paste.
    """
    for number, ranges in enumerate(profiles or ({},)):
        missing = {
            spec.name: example_values(spec)
            for spec in holders
            if not isinstance(ranges.get(spec.name), ValueRange)
        }
        if missing:
            where = f"profile {number} has" if profiles else "there is"
            given: Mapping[str, object] = ranges or example_ranges(inputs)
            raise ConfigurationError(
                f"{where} no range of values for {', '.join(map(repr, missing))}, whose values "
                f"{model_name} uses as a shape, and TensorRT builds for a range of values only.",
                fix=f"write in the trt_model marker: profiles={pasted({**given, **missing})} "
                "(min, opt, max).",
            )
