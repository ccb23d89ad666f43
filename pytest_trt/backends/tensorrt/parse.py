"""An ONNX file into a network, and what to do when TensorRT's parser refuses it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.log import LogTail, process_logger
from pytest_trt.diagnostics import EngineBuildError

#: A model made of one unknown operator has as many errors as nodes.
_SHOWN_ERRORS = 4

#: The newest opset of the oldest TensorRT that is supported, 8.6. It reads later operators as the
#: ones that it knows, so what it complains about is not the cause.
#: Source: NVIDIA's table of ONNX operators, "TensorRT 8.6 supports operators up to Opset 17".
_OLDEST_KNOWS_OPSET = 17

#: What the parser says of an operator that it does not know: it takes each of them for a plugin.
#: Source: seen with TensorRT-RTX 1.7; the same words are in reports from TensorRT 8.0 to 10.
_NO_PLUGIN = "Plugin not found"

#: In a branch or a loop, TensorRT 8.6 names only the node around it; its log names the operator.
#: Source: the log in github.com/NVIDIA/TensorRT/issues/1775.
_NO_PLUGIN_LOGGED = re.compile(r"could not find plugin: (\w+)")


class _Refusal(NamedTuple):
    """One node that the parser refused; `operator` is empty where it names no node."""

    where: str
    operator: str
    reason: str

    @property
    def unknown(self) -> bool:
        """Whether the operator is neither built in nor a plugin."""
        return _NO_PLUGIN in self.reason

    def __str__(self) -> str:
        # The whole description of some refusals is the condition that failed.
        reason = "not supported" if self.reason == "false" else self.reason
        reason = "no such operator, and no such plugin" if self.unknown else reason
        return f"{self.where}: {reason}" if self.where else reason


def parsed(trt: Any, network: Any, plan: BuildPlan, tail: LogTail) -> Any:
    """Parse the plan's source into a network; return the parser, which owns its weights.

    Raises:
        EngineBuildError: The parser refused the model, or found nothing in it.
    """
    parser = trt.OnnxParser(network, process_logger(trt))
    done = parser.parse_from_file(str(plan.source))
    tail.raise_pending()
    if not done:
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise _refused([_refusal(error, plan.source) for error in errors], plan, tail)
    if network.num_outputs == 0:
        raise EngineBuildError(
            f"{plan.version} parsed {plan.model_name} without an error, but the network is empty: "
            f"{network.num_layers} layers, 0 outputs.",
            fix="export a model with at least one graph output; `pytest-trt inspect` shows what "
            "this one has.",
            log_tail=tail.lines,
        )
    return parser


def _refused(refusals: Sequence[_Refusal], plan: BuildPlan, tail: LogTail) -> EngineBuildError:
    shown = [str(refusal) for refusal in refusals[:_SHOWN_ERRORS]]
    if len(refusals) > len(shown):
        shown.append(f"and {len(refusals) - len(shown)} more nodes")
    unknown = {refusal.operator for refusal in refusals if refusal.unknown}
    inner = {name for line in tail.lines for name in _NO_PLUGIN_LOGGED.findall(line)}
    if inner:
        unknown = inner
        shown.append(f"unknown: {', '.join(sorted(inner))}")
    return EngineBuildError(
        f"{plan.version} cannot parse {plan.model_name}: "
        f"{'; '.join(shown) or 'the parser gives no reason'}",
        fix=_fix({refusal.operator for refusal in refusals}, unknown, plan),
        # What the parser logs are the same errors again, at six lines each.
        log_tail=() if shown else tail.lines,
    )


def _fix(refused: set[str], unknown: set[str], plan: BuildPlan) -> str:
    # Here, because both bring much along, which every build would wait for.
    import onnx.defs

    from pytest_trt.backends.conversion.converting import DYNAMIC_QUANTIZERS

    if refused & set(DYNAMIC_QUANTIZERS):
        return (
            "the model is quantised dynamically, which the parser does not take: give the float32 "
            'model that it was made from, with precision="int8" or "fp16".'
        )
    foreign = sorted(operator for operator in unknown if operator and not onnx.defs.has(operator))
    if foreign:
        return (
            f"{', '.join(foreign)} is no operator of ONNX, so it takes a plugin: preload its "
            "library, LD_PRELOAD=/path/to/plugins.so pytest ..., or export the model without it."
        )
    fix = "export the model without what it names, or as other operators."
    if plan.opset > _OLDEST_KNOWS_OPSET:
        return (
            f"this model has opset {plan.opset}; TensorRT 8.6 knows up to {_OLDEST_KNOWS_OPSET}: "
            f"export it with opset_version={_OLDEST_KNOWS_OPSET}. Where that does not help, {fix}"
        )
    return fix


def _refusal(error: Any, source: Path) -> _Refusal:
    """Return a parser's error; later versions than 8.6 name the node that they refuse."""
    node_name = getattr(error, "node_name", None)
    node_operator = getattr(error, "node_operator", None)
    if node_name is not None and node_operator is not None:
        name, operator = node_name(), node_operator()
    else:
        name, operator = _node(source, error.node())
    if not operator:  # it is about an input or the whole graph
        return _Refusal("", "", error.desc())
    return _Refusal(f"node {name!r} ({operator})", operator, error.desc())


def _node(source: Path, index: int) -> tuple[str, str]:
    """Return name and operator of a node by its place in the graph; empty for no place."""
    import onnx

    nodes = onnx.load(source, load_external_data=False).graph.node
    if not 0 <= index < len(nodes):
        return "", ""
    return nodes[index].name or f"#{index}", nodes[index].op_type
