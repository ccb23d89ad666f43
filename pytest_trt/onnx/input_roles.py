"""What a model uses the values of its inputs for: rows of a table, or a shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, zip_longest
from math import prod

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.onnx.proto import Function, Graph, Node
from pytest_trt.tensors.elements import element_name, is_integer
from pytest_trt.tensors.profiles import Profile, example_ranges, pasted
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange, example_values, may_hold_shape

#: Which inputs of an operator hold the values of its outputs.
_KEEPS_VALUES = {
    **dict.fromkeys(("Cast", "Clip", "Expand", "Flatten", "Gather", "Identity"), slice(1)),
    **dict.fromkeys(("Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose"), slice(1)),
    "Unsqueeze": slice(1),
    **dict.fromkeys(("Concat", "Max", "Min"), slice(None)),
    "Where": slice(1, None),
}

#: Operators that compute indices of others; Mul does it of masks, too, whose values are 0 and 1.
_COMPUTES_INDICES = frozenset({"Abs", "Add", "Ceil", "Div", "Floor", "Mod", "Neg", "Round", "Sub"})

#: Elements of a tensor, at most, of which a comparison with one is no comparison with several.
_FEW = 2

#: Rows of a table at most: the shape of one that no memory holds is written to a cache, too.
_MOST_ROWS = 2**63 - 1

#: Operators whose first output has the shape of their first input, behind a stored table.
_KEEPS_SHAPE = frozenset({"Cast", "DequantizeLinear", "Identity"})

#: Operators that give a single number that is stored in another form.
_KEEPS_NUMBER = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})

#: A factor that turns numbers of 0 to 1 into all angles.
_FULL_TURN = 6.0

#: Calls, nodes and names of functions that are followed, about, and calls in each other: they
#: multiply.
_MOST_FOLLOWED = 200_000
_MOST_NESTED = 50

#: Places of indices and of the table whose rows they are, and the axis of rows if it is fixed.
_LOOKUPS: Mapping[str, tuple[tuple[int, int, int | None], ...]] = {
    **dict.fromkeys(("Gather", "GatherElements", "GatherND"), ((1, 0, None),)),
    "RotaryEmbedding": ((3, 1, 0),),
    "com.microsoft::EmbedLayerNormalization": ((0, 2, 0), (1, 4, 0)),
}


@dataclass(frozen=True, slots=True)
class IndexRoles:
    """Rows of the smallest table that an input indexes, by input name.

    Attributes:
        limits: Of inputs that hold the indices.
        computed: Of other inputs, of which indices are computed: which values are valid is unknown.
            And of inputs whose columns index tables of different sizes: rows of the largest.
    """

    limits: Mapping[str, int]
    computed: Mapping[str, int]


def index_roles(graph: Graph, inputs: Iterable[TensorSpec]) -> IndexRoles:
    """Return which inputs index tables.

    A table is indexed by Gather or GatherElements, or multiplied with one-hot rows that OneHot or
    Equal make. Only tables that the model stores, or makes of stored ones, count. Of an input that
    indexes none, the rows are the columns that OneHot makes, or Equal of a stored range. An input
    holds indices if they come from it directly or through operators that select or rearrange them;
    one of floats only if all that reads it casts it to integers. Branches, loop bodies and
    functions count, as far as `graph.all_nodes` has them.
    """
    specs = {spec.name: frozenset({spec.name}) for spec in inputs if _is_number(spec.dtype)}
    integers = {spec.name for spec in inputs if is_integer(spec.dtype)}
    read = {name for node in graph.all_nodes if not _is_cast(node) for name in node.inputs}
    indices = {name: own for name, own in specs.items() if name in integers or name not in read}
    computed = dict(specs)
    one_hot: dict[str, frozenset[str]] = {}
    numbers, categories = _known_numbers(graph), dict[str, int]()
    tables = dict(graph.all_initializers)
    limits: dict[str, int] = {}
    others: dict[str, int] = {}
    columns = dict(indices)
    for node in graph.all_nodes:  # what a node reads was made by those before it
        dims = _stored_by(node, tables)
        if dims is not None:
            tables.update(dict.fromkeys(node.outputs, dims))
        for found, of in ((limits, indices), (others, computed)):
            if node.operator == "GatherND" and found is limits:
                continue  # each of its rows may be of another axis
            for sources, table, axis in _lookups(node, of, one_hot):
                _add_rows(found, sources, tables.get(table, ()), axis)
        _follow(node, indices)
        _follow(node, one_hot)
        _follow(node, computed)
        if node.operator in _COMPUTES_INDICES:
            computed.update(dict.fromkeys(node.outputs, _sources(node.inputs, computed)))
        if node.operator in ("OneHot", "Equal"):
            compared = node.inputs[: 1 if node.operator == "OneHot" else 2]
            one_hot.update(dict.fromkeys(node.outputs, _sources(compared, indices)))
            for source, rows in _encoded(node, indices, numbers, tables):
                _add_rows(categories, source, (rows,), 0)
    limits = {**categories, **limits}
    others = {name: rows for name, rows in others.items() if name not in limits}
    return IndexRoles(limits, others | _of_columns(graph.all_nodes, columns, tables, limits))


def _encoded(
    node: Node,
    indices: Mapping[str, frozenset[str]],
    numbers: Mapping[str, float],
    tables: Mapping[str, tuple[int, ...]],
) -> Iterator[tuple[frozenset[str], int]]:
    """Yield which inputs a node encodes as one-hot rows, and how many columns these have."""
    one, other = (*node.inputs, "", "")[:2]
    pairs = [(one, other)] if node.operator == "OneHot" else [(one, other), (other, one)]
    for source, columns in pairs:
        is_range = prod(tables.get(columns, ())) > 1
        if columns in numbers and is_range is (node.operator == "Equal"):
            yield indices.get(source, frozenset()), min(int(numbers[columns]), _MOST_ROWS)


def _known_numbers(graph: Graph) -> dict[str, float]:
    """Return the numbers of stored tensors, also where they are cast or reshaped."""
    numbers = dict(graph.all_numbers)
    for node in graph.all_nodes:
        of = node.inputs[0] if node.operator in _KEEPS_NUMBER and node.inputs else ""
        number = numbers.get(of) if of else node.number
        if number is not None:
            numbers.update(dict.fromkeys(node.outputs, number))
    return numbers


def _add_rows(
    found: dict[str, int], sources: Iterable[str], dims: Sequence[int], axis: int
) -> None:
    rows = dims[axis] if -len(dims) <= axis < len(dims) else 0
    if rows > 0:
        found.update({one: min(rows, found.get(one, rows)) for one in sources})


def _of_columns(
    nodes: Iterable[Node],
    indices: Mapping[str, frozenset[str]],
    tables: Mapping[str, tuple[int, ...]],
    limits: Mapping[str, int],
) -> dict[str, int]:
    """Return the rows of the largest table that a column indexes, of inputs with larger ones.

    Such as of a recommender that has all of its categories in one input, each with a table.
    """
    columns, inputs, rows = dict(indices), dict(indices), dict[str, int]()
    for node in nodes:
        for found, table, axis in _lookups(node, columns, {}):
            if node.operator != "GatherND":
                _add_rows(rows, found, tables.get(table, ()), axis)
        _follow(node, columns)
        if node.operator in ("Gather", "Slice", "Split"):
            for name in columns.keys() & node.outputs:
                inputs[name] = _sources(columns[name], inputs)
                columns[name] = frozenset({name})
    largest: dict[str, int] = {}
    for column, number in rows.items():
        for name in inputs[column]:
            number = min(number, rows.get(name, number))  # the whole input may index one, too
            # A branch may compute what its sibling stores by the same name: no limit is known then.
            if number > max(largest.get(name, 0), limits.get(name, number)):
                largest[name] = number
    return largest


#: Places of inputs of operators that are an angle, a length or a position.
_NUMBERS: Mapping[str, int] = {
    **dict.fromkeys(("Cos", "Sin"), 0),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), 4),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND"), 1),
    **dict.fromkeys(("ReverseSequence", "ScatterElements", "ScatterND"), 1),
    "TensorScatter": 2,
    "com.microsoft::GroupQueryAttention": 5,
    "com.microsoft::RotaryEmbedding": 1,  # or an offset, so that not all rows are valid
}

_COMPARES = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_COMPUTES_NUMBERS = _COMPUTES_INDICES | {"Einsum", "MatMul", "Mul"}


def number_inputs(graph: Graph, inputs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """Return the names of inputs that are lengths, positions or time steps.

    A sine, an index or a length is computed of such an input alone, or it is compared with many
    numbers. A mask is compared with one, also with as many as it has elements, or changes what
    other inputs give; and a flag selects one of two values that the model makes. They are wide
    integers; floats only if they are one for each sample, and sines of many multiples of it are
    computed, without a factor by which numbers of 0 to 1 become all angles. Branches, loop bodies
    and functions count, as far as `graph.all_nodes` has them.
    """
    wide_integers = ("int32", "int64", "uint32", "uint64")
    times = {one.name for one in inputs if _is_float(one.dtype) and _is_row(one)}
    specs = {one.name: one.dtype in wide_integers or one.name in times for one in inputs}
    # What values depend on: the numbers of inputs, and "" for all else.
    sources = {name: frozenset({name if wide else ""}) for name, wide in specs.items()}
    several = {name for name, dims in graph.all_initializers.items() if prod(dims) > _FEW}
    shapes, pairs = _known_shapes(graph, inputs), _pairs(graph.all_nodes)
    stored, factors = _known_numbers(graph), defaultdict[str, float](lambda: 1.0)
    found: set[frozenset[str]] = set()
    for node in graph.all_nodes:
        read = [sources.get(name, frozenset()) for name in node.inputs]
        of_two = node.operator.startswith("Gather") and not pairs.isdisjoint(node.inputs[:1])
        if _NUMBERS.get(node.operator, len(read)) < len(read) and not of_two:
            number = read[_NUMBERS[node.operator]]
            angle = node.inputs[0] if node.operator in ("Cos", "Sin") else ""
            if times.isdisjoint(number) or (angle in several and factors[angle] < _FULL_TURN):
                found.add(number)
        if node.operator in _COMPARES and len(read) == 2:
            by_one = shapes.get(node.inputs[0], 0) == shapes.get(node.inputs[1], 1)
            sides = zip(read, node.inputs[::-1], read[::-1], strict=True)
            found.update(
                one
                for one, name, other in sides
                if name in several and not other and not by_one and times.isdisjoint(one)
            )
        if node.operator in ("Range", "NonZero") or prod(node.dims) > _FEW:
            several.update(node.outputs)
        if node.operator in ("Shape", "Size"):
            continue
        numbers = _KEEPS_VALUES.get(node.operator, slice(None))
        computes = node.operator in _KEEPS_VALUES or node.operator in _COMPUTES_NUMBERS
        given = frozenset().union(*read[numbers] if computes else ())
        if frozenset().union(*read) - given:
            given |= {""}
        sources.update(dict.fromkeys(node.outputs, given))
        factor = prod(abs(stored.get(name, factors[name])) for name in node.inputs[numbers])
        if computes and (node.operator == "Mul" or len(node.inputs[numbers]) == 1):
            factors.update(dict.fromkeys(node.outputs, factor))
        if computes and not several.isdisjoint(node.inputs[numbers]):
            several.update(node.outputs)
    return tuple(name for name in specs if name and frozenset({name}) in found)


def _is_float(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat"))


def _is_row(spec: TensorSpec) -> bool:
    """Whether an input has one number, or one for each sample."""
    return spec.shape is not None and len(spec.shape) <= 1


def _known_shapes(graph: Graph, inputs: Iterable[TensorSpec]) -> dict[str, object]:
    """Return shapes of inputs, also where they are cast, and of stored tensors."""
    shapes: dict[str, object] = {one.name: one.shape for one in inputs}
    shapes |= graph.all_initializers
    for node in graph.all_nodes:
        if node.operator == "Constant":
            shapes.update(dict.fromkeys(node.outputs, node.dims))
        elif node.operator in ("Cast", "Identity"):
            for name in shapes.keys() & node.inputs[:1]:
                shapes.update(dict.fromkeys(node.outputs, shapes[name]))
    return shapes


def _pairs(nodes: Iterable[Node]) -> set[str]:
    """Return stacks of one or two values, from which 0 and 1 select all."""
    rows, found = set[str](), set[str]()
    for node in nodes:
        if node.operator == "Unsqueeze":
            rows.update(node.outputs)
        elif node.operator == "Concat" and len(node.inputs) <= _FEW and rows >= {*node.inputs}:
            found.update(node.outputs)
    return found


def _is_number(dtype: str) -> bool:
    return is_integer(dtype) or _is_float(dtype)


def _is_cast(node: Node) -> bool:
    """Whether a node makes integers of what it reads."""
    return node.operator == "Cast" and is_integer(element_name(node.to))


def _stored_by(node: Node, tables: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the shape of the table that a node gives, if it is stored or made of stored ones."""
    if node.operator == "Constant":
        return node.dims
    if not node.inputs or node.inputs[0] not in tables:
        return None
    first = tables[node.inputs[0]]
    if node.operator in _KEEPS_SHAPE:
        return first
    if node.operator == "Transpose" and len(first) == 2:
        return first[::-1]
    others = [tables[name] for name in node.inputs[1:] if name in tables]
    if len(others) < len(node.inputs) - 1:
        return None
    if node.operator in ("Add", "Div", "Mul", "Sub") and len(others) == 1:
        pairs = zip_longest(first[::-1], others[0][::-1], fillvalue=1)
        return tuple(max(pair) for pair in pairs)[::-1]
    if node.operator == "Concat" and -len(first) <= node.axis < len(first):
        axis = node.axis % len(first)
        total = sum(dims[axis] for dims in (first, *others) if len(dims) > axis)
        return (*first[:axis], min(total, _MOST_ROWS), *first[axis + 1 :])
    return None


def inlined(nodes: Iterable[Node], functions: Mapping[str, Function]) -> tuple[Node, ...]:
    """Return nodes with those that functions run in place of their calls, as far as they matter.

    Args:
        nodes: The nodes.
        functions: The functions by name.
    """
    return tuple(_expanded(nodes, functions, (), count()))


def _expanded(
    nodes: Iterable[Node],
    functions: Mapping[str, Function],
    calls: tuple[str, ...],
    numbers: Iterator[int],
) -> Iterator[Node]:
    for node in nodes:
        body = functions.get(node.operator)
        # One that calls itself, or is nested that deeply, no exporter makes.
        followed = body is not None and node.operator not in calls and len(calls) < _MOST_NESTED
        if body is None or not followed or next(numbers) > _MOST_FOLLOWED:
            yield node
            continue
        # A new name is short, however long that in the function is.
        names = defaultdict[str, str](lambda: f"call {next(numbers)}")
        names |= zip(body.inputs, node.inputs, strict=False)
        names[""] = ""
        names |= zip(body.outputs, node.outputs, strict=False)
        renamed = (
            replace(
                one,
                inputs=tuple(names[name] for name in one.inputs),
                outputs=tuple(names[name] for name in one.outputs),
            )
            for one, _ in zip(body.nodes, numbers, strict=False)
        )
        yield from _expanded(renamed, functions, (*calls, node.operator), numbers)


def _lookups(
    node: Node, indices: Mapping[str, frozenset[str]], one_hot: Mapping[str, frozenset[str]]
) -> Iterator[tuple[frozenset[str], str, int]]:
    """Yield which inputs index which table of a node, and the axis of its rows."""
    if node.operator == "MatMul" and len(node.inputs) == 2:
        yield one_hot.get(node.inputs[0], frozenset()), node.inputs[1], -2
    for index, table, axis in _LOOKUPS.get(node.operator, ()):
        if max(index, table) < len(node.inputs):
            sources = indices.get(node.inputs[index], frozenset())
            yield sources, node.inputs[table], node.axis if axis is None else axis


def _follow(node: Node, found: dict[str, frozenset[str]]) -> None:
    """Add the outputs of a node that hold values of what was found."""
    sources = _sources(node.inputs[_KEEPS_VALUES.get(node.operator, slice(0))], found)
    if sources:
        found.update(dict.fromkeys(node.outputs, sources))


def _sources(names: Iterable[str], found: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*(found.get(name, ()) for name in names))


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
    sizes = _leading_to(graph.nodes, SIZES, COMPUTES_SIZES)
    return tuple(spec.name for spec in inputs if spec.name in sizes and may_hold_shape(spec))


#: Indices of an operator's inputs that decide which of its graphs run, and how often.
_CONDITIONS = {"If": (0,), "Loop": (0, 1)}

_COMPUTES_CONDITIONS = COMPUTES_SIZES | {"And", "GreaterOrEqual", "LessOrEqual", "Not", "Or", "Xor"}


def condition_inputs(graph: Graph, inputs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """Return the names of single inputs that decide which branch runs, or how often a loop does.

    Branches and loop bodies count too.
    """
    conditions = _leading_to(graph.all_nodes, _CONDITIONS, _COMPUTES_CONDITIONS)
    return tuple(spec.name for spec in inputs if spec.name in conditions and _is_single(spec))


def _is_single(spec: TensorSpec) -> bool:
    """Whether an input is one integer or boolean."""
    return spec.dtype in ("bool", "int32", "int64") and spec.shape in ((), (1,))


def _leading_to(
    nodes: Sequence[Node], places: Mapping[str, tuple[int, ...]], operators: Collection[str]
) -> set[str]:
    """Return the values of which those at some places of operators are computed."""
    producers = {name: node for node in nodes for name in node.outputs}
    open_names = [
        node.inputs[place]
        for node in nodes
        for place in places.get(node.operator, ())
        if place < len(node.inputs)
    ]
    found: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        found.add(name)
        node = producers.get(name)
        if node is not None and node.operator in operators:
            open_names += node.inputs
    return found


def require_values(
    holders: Sequence[TensorSpec],
    profiles: Sequence[Profile],
    model_name: str,
    *,
    inputs: Sequence[TensorSpec] = (),
) -> None:
    """Refuse profiles without a range of values for an input that holds a shape.

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
