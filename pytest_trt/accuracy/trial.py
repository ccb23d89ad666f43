"""Builder options of ONNX Runtime that a remedy may name, to be tried before they are advised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pytest_trt.engine.spec import EngineSpec, OptionValue

#: Operators that multiply matrices: most of the work of most models.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})

_LEVEL, _BLOCKED = "graph_optimization_level", "op_block_list"


def options_to_try(
    operators: Iterable[str], spec: EngineSpec
) -> Iterator[Mapping[str, OptionValue]]:
    """Yield options that may bring lost precision back, those that change least first.

    An fp32 engine is tried with fewer graph optimisations, an fp16 engine with nothing but matrix
    products in FP16. Options that the spec has already are left as they are.

    Args:
        operators: The model's operators.
        spec: What the engine was built as.
    """
    if spec.precision == "fp32" and _LEVEL not in spec.builder_options:
        yield from ({_LEVEL: level} for level in ("basic", "disabled"))
    if spec.precision == "fp16" and _BLOCKED not in spec.builder_options:
        names = {operator.rpartition("::")[2] for operator in operators}
        others = sorted(names - _PRODUCTS - {"Constant"})
        if others and names & _PRODUCTS:
            yield {_BLOCKED: ",".join(others)}
