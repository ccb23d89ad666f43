"""Arguments of trt_model that a remedy may name, to be tried before they are advised."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pytest_trt.engine.spec import EngineSpec

#: Operators that multiply matrices: most of the work of most models.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})

#: Operators that compute nothing: they lose precision only where they hold what others computed.
_MOVING = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Shape"}
    | {"Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)

_LEVEL = "graph_optimization_level"


def specs_to_try(
    operators: Iterable[str], spec: EngineSpec, *, several: bool = False
) -> Iterator[tuple[str, EngineSpec]]:
    """Yield what may bring lost precision back, what changes least first.

    An fp32 engine is tried with fewer graph optimisations, one in fp16 or bf16 with all arithmetic
    but matrix products in FP32, and then with nothing but those narrow. What the spec has already
    is left as it is.

    Args:
        operators: The model's operators.
        spec: What the engine was built as.
        several: Whether the marker names other precisions that `keep_fp32=` would change too.

    Yields:
        An argument of trt_model as it is typed, and the spec that has it.
    """
    if spec.precision == "fp32" and _LEVEL not in spec.builder_options:
        for level in ("basic", "disabled"):
            options = {**spec.builder_options, _LEVEL: level}
            given = json.dumps({_LEVEL: level})
            yield f"builder_options={given}", replace(spec, builder_options=options)
    if spec.precision in ("fp16", "bf16") and not spec.keep_fp32:
        names = {operator.rpartition("::")[2] for operator in operators}
        others = names - _PRODUCTS - {"Constant"}
        if names & _PRODUCTS:
            lists = (tuple(sorted(some)) for some in (others - _MOVING, others))
            for kept in filter(None, dict.fromkeys(lists)):
                argument = f"keep_fp32={json.dumps(kept)}"
                if several:
                    own = json.dumps({spec.precision: {"keep_fp32": kept}})
                    argument = f"by_precision={own}"
                yield argument, replace(spec, keep_fp32=kept)
