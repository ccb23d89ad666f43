"""What a model uses the values of its integer inputs for: rows of a table, or a shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.onnx.proto import Graph, Node
from pytest_trt.tensors.profiles import Profile, example_ranges, pasted
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange, example_values, may_hold_shape

#: Operators whose first output holds the same indices as their first input.
_KEEPS_INDICES = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})

#: Operators whose first output has the shape of their first input, behind a stored table.
_KEEPS_SHAPE = frozenset({"Cast", "DequantizeLinear", "Identity"})


def index_limits(graph: Graph, inputs: Iterable[TensorSpec]) -> dict[str, int]:
    """Return, for each integer input that indexes a table by Gather, the smallest table's rows.

    Only tables that are initialisers of the main graph count, and only indices that come from an
    input directly or through operators that rearrange them.
    """
    integers = {spec.name for spec in inputs if spec.dtype.lstrip("u").startswith("int")}
    producers = {
        node.outputs[0]: node
        for node in graph.nodes
        if node.outputs and node.operator in _KEEPS_INDICES | _KEEPS_SHAPE
    }
    limits: dict[str, int] = {}
    indices: dict[str, str] = {}
    tables: dict[str, str] = {}
    for node in graph.nodes:
        if node.operator != "Gather" or len(node.inputs) < 2:
            continue
        source = _origin(node.inputs[1], producers, _KEEPS_INDICES, indices)
        stored = _origin(node.inputs[0], producers, _KEEPS_SHAPE, tables)
        table = graph.initializers.get(stored, ())
        if source not in integers or not -len(table) <= node.axis < len(table):
            continue
        rows = table[node.axis]
        if rows > 0:
            limits[source] = min(rows, limits.get(source, rows))
    return limits


def _origin(
    name: str, producers: dict[str, Node], operators: frozenset[str], found: dict[str, str]
) -> str:
    """Follow first inputs through these operators; a damaged graph may contain a cycle.

    Args:
        name: Where to begin.
        producers: The node that makes a value, by the value's name.
        operators: The operators to follow.
        found: Origins found before, to which these are added: chains may be long.
    """
    seen = set()
    while name in producers and producers[name].operator in operators and name not in seen:
        if name in found:
            name = found[name]
            break
        seen.add(name)
        if not producers[name].inputs:
            break
        name = producers[name].inputs[0]
    found.update(dict.fromkeys(seen, name))
    return name


#: Indices of an operator's inputs whose values are sizes, positions or axes.
#: Source for this table and the next: the shape tensors of the parser of TensorRT-RTX 1.7.
SIZES = {
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

#: Operators that pass values of any input on to such an input. `Shape` does not: it reads no
#: values.
COMPUTES_SIZES = frozenset(
    {"Abs", "Add", "Ceil", "Clip", "Div", "Exp", "Floor", "Max", "Min", "Mod", "Mul", "Neg", "Pow"}
    | {"Relu", "Round", "Sign", "Sqrt", "Sub", "Equal", "Greater", "Less", "Where", "Cast"}
    | {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"}
    | {"Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split"}
    | {"Squeeze", "Unsqueeze"}
)


def shape_inputs(graph: Graph, inputs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """Return the names of the inputs that hold a shape, in the model's order.

    Only the main graph counts; subgraphs are ignored.
    """
    producers = {name: node for node in graph.nodes for name in node.outputs}
    open_names = [
        node.inputs[place]
        for node in graph.nodes
        for place in SIZES.get(node.operator, ())
        if place < len(node.inputs)
    ]
    sizes: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name in sizes:
            continue
        sizes.add(name)
        node = producers.get(name)
        if node is not None and node.operator in COMPUTES_SIZES:
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
        profiles: The profiles.
        model_name: The model's name, for the message.
        inputs: All inputs, for the example if there are no profiles.

    Raises:
        ConfigurationError: The remedy has a `profiles=` to paste.
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
                f"{model_name} uses as a shape; TensorRT builds only for a range of values",
                fix=Remedy(
                    "write on the trt_model marker (min, opt, max):",
                    commands=(f"profiles={pasted({**given, **missing})}",),
                ),
                code="TRT212",
                facts={"model": model_name, "tensors": list(missing), "profile": number},
            )
