from __future__ import annotations

import pytest

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import EngineSpec


@pytest.mark.parametrize("value", ["ReduceSum,Mul", 1, 0.5, True])
def test_scalar_options_pass(value):
    assert EngineSpec(builder_options={"x": value}).builder_options == {"x": value}


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (["ReduceSum", "Mul"], 'Write "ReduceSum,Mul".'),
        (("Mul",), 'Write "Mul".'),
        ({"b", "a"}, 'Write "a,b".'),
        ([1, 2], "Use text, a number or a boolean."),
        ([], "Use text, a number or a boolean."),
        ({"Mul": "fp32"}, "Use text, a number or a boolean."),
    ],
)
def test_other_options_are_refused_and_names_spelt_as_text(value, fix):
    with pytest.raises(ConfigurationError, match="can only hold text, numbers") as caught:
        EngineSpec(precision="fp16", builder_options={"op_block_list": value})

    assert caught.value.fix == fix
