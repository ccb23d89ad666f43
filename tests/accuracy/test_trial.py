from __future__ import annotations

import pytest

from pytest_trt.accuracy.trial import options_to_try
from pytest_trt.engine.spec import EngineSpec

OPERATORS = ("MatMul", "com.microsoft::Gelu", "Add", "Reshape", "Constant")
FP16 = [{"op_block_list": "Add,Gelu"}, {"op_block_list": "Add,Gelu,Reshape"}]


@pytest.mark.parametrize(
    ("precision", "given", "tried"),
    [
        (
            "fp32",
            {},
            [{"graph_optimization_level": "basic"}, {"graph_optimization_level": "disabled"}],
        ),
        ("fp32", {"graph_optimization_level": "all"}, []),
        ("fp16", {"graph_optimization_level": "all"}, FP16),
        ("fp16", {"op_block_list": "Add"}, []),
        ("int8", {}, []),
    ],
)
def test_only_options_that_the_engine_lacks_are_tried(precision, given, tried) -> None:
    spec = EngineSpec(precision, builder_options=given)
    assert list(options_to_try(OPERATORS, spec)) == tried


@pytest.mark.parametrize("operators", [("MatMul",), ("Add", "Mul")])
def test_an_engine_without_anything_in_fp16_is_not_tried(operators) -> None:
    assert list(options_to_try(operators, EngineSpec("fp16"))) == []
