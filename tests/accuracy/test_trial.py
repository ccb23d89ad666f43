from __future__ import annotations

import pytest

from pytest_trt.accuracy.trial import specs_to_try
from pytest_trt.engine.spec import EngineSpec

OPERATORS = ("MatMul", "com.microsoft::Gelu", "Add", "Reshape", "Constant")
FP16 = ['keep_fp32=["Add", "Gelu"]', 'keep_fp32=["Add", "Gelu", "Reshape"]']
LEVEL = "graph_optimization_level"


@pytest.mark.parametrize(
    ("spec", "tried"),
    [
        (
            EngineSpec(),
            [f'builder_options={{"{LEVEL}": "{level}"}}' for level in ("basic", "disabled")],
        ),
        (EngineSpec(builder_options={LEVEL: "all"}), []),
        (EngineSpec("fp16", builder_options={LEVEL: "all"}), FP16),
        (EngineSpec("fp16", keep_fp32=("Add",)), []),
        (EngineSpec("int8"), []),
    ],
)
def test_only_what_the_engine_lacks_is_tried(spec: EngineSpec, tried: list[str]) -> None:
    found = dict(specs_to_try(OPERATORS, spec))
    assert list(found) == tried
    for argument, other in found.items():
        # The argument is what makes the other spec.
        given = eval(f"dict({argument})")
        assert dict(other.builder_options) == {
            **spec.builder_options,
            **given.get("builder_options", {}),
        }
        assert list(other.keep_fp32) == given.get("keep_fp32", [])


def test_other_precisions_of_the_marker_keep_theirs() -> None:
    (argument, _), *_ = specs_to_try(OPERATORS, EngineSpec("fp16"), several=True)
    assert argument == 'by_precision={"fp16": {"keep_fp32": ["Add", "Gelu"]}}'


@pytest.mark.parametrize("operators", [("MatMul",), ("Add", "Mul")])
def test_an_engine_without_anything_in_fp16_is_not_tried(operators) -> None:
    assert list(specs_to_try(operators, EngineSpec("fp16"))) == []
