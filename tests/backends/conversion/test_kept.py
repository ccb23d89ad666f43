"""What `keep_fp32` names: nodes, operators, patterns, and what is refused."""

from __future__ import annotations

import pytest
from builders_model import remedy

from pytest_trt.backends.conversion.kept import kept_nodes
from pytest_trt.diagnostics import ConfigurationError

NODES = (
    ("/head/fc", "MatMul"),
    ("/head/norm", "LayerNormalization"),
    ("/body/fc", "MatMul"),
    ("", "Add"),
    ("Softmax", "Mul"),
    ("odd[1]", "Softmax"),
    ("/body/fc", "Relu"),
    ("odd1", "Relu"),
)


@pytest.mark.parametrize(
    ("entries", "indices"),
    [
        ((), ()),
        (("/head/fc",), (0,)),
        (("MatMul",), (0, 2)),
        (("/head/*",), (0, 1)),
        (("*/fc",), (0, 2, 6)),
        (("Add",), (3,)),
        (("*",), (0, 1, 2, 4, 5, 6, 7)),  # a node without a name has none that could match
        (("Softmax",), (4, 5)),  # an operator, and the name of a node
        (("odd[1]",), (5,)),  # a name, so no pattern
        (("odd[12]",), (7,)),
        (("/body/fc",), (2, 6)),
        (("LayerNormalization", "/head/*"), (0, 1)),
    ],
)
def test_an_entry_is_a_name_an_operator_or_a_pattern_of_names(entries, indices) -> None:
    assert kept_nodes("m.onnx", entries, NODES) == frozenset(indices)


@pytest.mark.parametrize(
    ("entries", "unknown", "fix"),
    [
        (("MatMul", "Matmull"), "'Matmull'", "Did you mean 'MatMul'?"),
        (("/head/fcc",), "'/head/fcc'", "Did you mean '/head/fc'?"),
        (("/tail/*", "mat*"), "'/tail/*', 'mat*'", "The operator or nodes are "),
        (("MatMul, Add",), "'MatMul, Add'", "Write a list: keep_fp32=['MatMul', 'Add']"),
    ],
)
def test_an_entry_that_names_nothing_is_an_error(entries, unknown: str, fix: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kept_nodes("m.onnx", entries, NODES)
    assert f"keep_fp32 names {unknown}, but m.onnx has no such" in caught.value.message
    assert remedy(caught.value).startswith(fix)
    assert caught.value.diagnostic.code == "TRT358"


def test_a_model_without_node_names_says_which_operators_it_has() -> None:
    with pytest.raises(ConfigurationError) as caught:
        kept_nodes("m.onnx", ["a"], [("", "Add"), ("", "Add"), ("", "Mul")])
    assert remedy(caught.value).endswith("have no names: name operators, Add, Mul.")
