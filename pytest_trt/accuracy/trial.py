"""Builder options of ONNX Runtime that a remedy may name, to be tried before they are advised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pytest_trt.engine.spec import EngineSpec, OptionValue

#: Operators that multiply matrices: most of the work of most models.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})

#: Operators that compute nothing: they lose precision only where they hold what others computed.
_MOVING = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Shape"}
    | {"Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)

_LEVEL, _BLOCKED = "graph_optimization_level", "op_block_list"


def options_to_try(
    operators: Iterable[str], spec: EngineSpec
) -> Iterator[Mapping[str, OptionValue]]:
    """Yield options that may bring lost precision back, those that change least first.

    An fp32 engine is tried with fewer graph optimisations, an fp16 engine with all arithmetic but
    matrix products in FP32, and then with nothing but those in FP16. Options that the spec has
    already are left as they are.

    Args:
        operators: The model's operators.
        spec: What the engine was built as.
    """
    if spec.precision == "fp32" and _LEVEL not in spec.builder_options:
        yield from ({_LEVEL: level} for level in ("basic", "disabled"))
    if spec.precision == "fp16" and _BLOCKED not in spec.builder_options:
        names = {operator.rpartition("::")[2] for operator in operators}
        others = names - _PRODUCTS - {"Constant"}
        if names & _PRODUCTS:
            lists = (",".join(sorted(some)) for some in (others - _MOVING, others))
            yield from ({_BLOCKED: blocked} for blocked in dict.fromkeys(lists) if blocked)
