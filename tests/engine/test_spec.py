from __future__ import annotations

import pytest

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import EngineSpec


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"keep_fp32": ("b", "a", "b")}, ("a", "b")),
        ({"builder_options": {"op_block_list": "Mul, Add", "refit": True}}, ("Add", "Mul")),
        ({"keep_fp32": ("x",), "builder_options": {"node_block_list": "y"}}, ("x", "y")),
    ],
)
def test_what_stays_in_fp32_has_one_form(given, kept):
    spec = EngineSpec("fp16", **given)
    assert spec.keep_fp32 == kept
    assert spec.builder_options.keys() <= {"refit"}


@pytest.mark.parametrize(
    "given", [{"keep_fp32": ("a",)}, {"builder_options": {"op_block_list": "a"}}]
)
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_there_is_nothing_to_keep_in_an_fp32_engine(precision, given):
    with pytest.raises(ConfigurationError, match=f"no effect on a {precision} engine") as caught:
        EngineSpec(precision, **given)
    assert caught.value.diagnostic.code == "TRT361"


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
