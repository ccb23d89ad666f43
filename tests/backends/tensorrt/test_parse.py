"""What TensorRT 8.6 leaves out when it refuses a model: no names of nodes, no operators.

Its parser is a fake that answers as its bindings do; the newer one runs in test_tensorrt_rtx.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders_networks as networks
import pytest
from builders_model import remedy
from onnx import helper

from pytest_trt.backends.tensorrt.build import _failed
from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.log import LogTail
from pytest_trt.backends.tensorrt.parse import parsed
from pytest_trt.diagnostics import EngineBuildError

NO_PLUGIN = (
    'Assertion failed: creator && "Plugin not found, are the plugin name, version, and namespace '
    'correct?"'
)


class ParserError:
    def __init__(self, node: int, reason: str) -> None:
        self._node, self._reason = node, reason

    def node(self) -> int:
        return self._node

    def desc(self) -> str:
        return self._reason


def vendor(*errors: ParserError, version: str = "8.6.0") -> Any:
    parser = SimpleNamespace(
        parse_from_file=lambda path: False,
        num_errors=len(errors),
        get_error=errors.__getitem__,
    )

    class Vendor:  # loggers are kept by module, which has to be hashable
        __version__ = version

        class ILogger: ...

        @staticmethod
        def OnnxParser(network: object, logger: object) -> SimpleNamespace:
            return parser

    return Vendor


@pytest.fixture
def plan(tmp_path: Path) -> BuildPlan:
    proto = networks.model(
        [
            helper.make_node("Relu", ["x"], ["y"], name="first"),
            helper.make_node("If", ["y"], ["z"]),
        ],
        [networks.value("x", [2])],
        [networks.value("z", [2])],
    )
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    return BuildPlan(
        version="TensorRT 8.6.0",
        model_name="m.onnx",
        title="m.onnx fp32 for sm90",
        source=tmp_path / "m.onnx",
        output=tmp_path / "engine.plan",
    )


def refused(plan: BuildPlan, *errors: ParserError, log: tuple[str, ...] = ()) -> EngineBuildError:
    tail = LogTail()
    for line in log:
        tail.add(line)
    with pytest.raises(EngineBuildError) as caught:
        parsed(vendor(*errors), SimpleNamespace(), plan, tail)
    return caught.value


def test_a_node_is_found_by_its_place(plan: BuildPlan) -> None:
    error = refused(plan, ParserError(0, "Unsupported datatype"), ParserError(1, "false"))
    assert error.message == (
        "TensorRT 8.6.0 cannot parse m.onnx: node 'first' (Relu): Unsupported datatype; "
        "node 'z' (If): not supported"
    )


def test_an_error_without_a_node_is_reported_alone(plan: BuildPlan) -> None:
    assert refused(plan, ParserError(-1, "bad input x")).message.endswith("m.onnx: bad input x")


@pytest.mark.parametrize(
    ("operator", "advice"),
    [
        ("Round", "Export the model without what it names"),
        ("Frob", "Frob is not an operator of ONNX"),
    ],
)
def test_an_operator_in_a_branch_is_known_from_the_log(
    plan: BuildPlan, operator: str, advice: str
) -> None:
    log = f"[ERROR] 3: getPluginCreator could not find plugin: {operator} version: 1"
    error = refused(plan, ParserError(1, NO_PLUGIN), log=(log,))
    assert error.message == (
        "TensorRT 8.6.0 cannot parse m.onnx: node 'z' (If): no such operator, and no such plugin; "
        f"unknown: {operator}"
    )
    assert remedy(error).startswith(advice)


def test_a_plugin_that_needs_a_driver_is_no_missing_operator(plan: BuildPlan) -> None:
    log = "[ERROR] Cuda Error in ROIAlignV3: 35 (CUDA driver version is insufficient for CUDA ..."
    error = refused(plan, ParserError(0, NO_PLUGIN), log=(log,))
    assert remedy(error).startswith("Build on a machine with a GPU: Relu needs a plugin")


def test_an_operator_of_another_domain_of_onnx_is_not_said_to_be_foreign(plan: BuildPlan) -> None:
    log = "[ERROR] 3: getPluginCreator could not find plugin: Adam version: 1"
    error = refused(plan, ParserError(1, NO_PLUGIN), log=(log,))
    assert remedy(error).startswith("Export the model without what it names")


def test_an_invalid_node_is_explained_by_what_follows(plan: BuildPlan) -> None:
    reason = (
        "Invalid Node - first\nITensor::getDimensions: Error Code 4: Shape Error (squeeze axis is "
        "not a constant In makeAxesMask at /_src/shapeContext.cpp:3553)"
    )
    assert refused(plan, ParserError(0, reason)).message.endswith(
        "node 'first' (Relu): squeeze axis is not a constant"
    )


def test_a_refusal_without_reasons_shows_the_log(plan: BuildPlan) -> None:
    tail = LogTail()
    tail.add("[ERROR] cannot open the file")
    with pytest.raises(EngineBuildError, match="the parser gives no reason") as caught:
        parsed(vendor(), SimpleNamespace(), plan, tail)
    assert caught.value.log_tail == ("[ERROR] cannot open the file",)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("Error Code 2: OutOfMemory (no further information)", "Free memory of the GPU"),
        ("Skipping tactic 0 due to insuficient memory on requested size", "Free memory of the GPU"),
        ("Error Code 4: (mask is missing dimensions in profile 0.", "Give every dynamic input"),
        ("Assertion engine != nullptr failed", "Act on the last error in the log"),
    ],
)
def test_a_failed_build_gets_the_advice_for_its_log(
    plan: BuildPlan, line: str, advice: str
) -> None:
    tail = LogTail()
    tail.add(f"[ERROR] {line}")
    assert remedy(_failed(plan, tail)).startswith(advice)


@pytest.mark.parametrize(
    ("version", "opset", "advice"),
    [
        ("8.6.0", 18, "Export the model with opset_version=17: it has opset 18"),
        ("8.6.0", 17, "Export the model without what it names"),
        ("10.9.0", 18, "Export the model without what it names"),
        ("1.7.1", 18, "Export the model without what it names"),
    ],
)
def test_an_older_opset_is_advised_to_tensorrt_8_alone(
    plan: BuildPlan, version: str, opset: int, advice: str
) -> None:
    refusing = vendor(ParserError(0, "not supported"), version=version)
    with pytest.raises(EngineBuildError) as caught:
        parsed(refusing, SimpleNamespace(), replace(plan, opset=opset), LogTail())
    assert remedy(caught.value).startswith(advice)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ('Assertion failed: convert(x, &y) && "No such type."', "No such type"),
        ('(dilations[i] == 1) && "No dilations other than 1."', "No dilations other than 1"),
        ("Invalid node\nError Code 4: details", "Invalid node"),
    ],
)
def test_a_refusal_shows_the_text_for_users_once(plan: BuildPlan, reason: str, shown: str) -> None:
    error = refused(plan, ParserError(0, reason), ParserError(0, reason))
    assert error.message.endswith(f": {shown}")
    assert error.message.count(shown) == 1
