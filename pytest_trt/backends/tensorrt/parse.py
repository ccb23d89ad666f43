"""Parsing an ONNX file into a network, and the error if TensorRT's parser refuses it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.dimension_names import without_ambiguous_names
from pytest_trt.backends.tensorrt.log import LogTail, process_logger
from pytest_trt.diagnostics import EngineBuildError, Fact, Remedy

#: A model made of one unknown operator has as many errors as nodes.
_SHOWN_ERRORS = 4

#: The newest opset of TensorRT 8.6. It reads operators of later opsets as those that it knows, so
#: its messages do not name the cause.
#: Source: NVIDIA's table of ONNX operators, "TensorRT 8.6 supports operators up to Opset 17".
_OPSET_OF_8 = 17

#: In the parser's message for an unknown operator, which it takes for a plugin.
#: Source: seen with TensorRT-RTX 1.7; the same words are in reports from TensorRT 8.0 to 10. For
#: RoiAlign, which it builds as a plugin of its own, TensorRT-RTX 1.7 has other words.
_NO_PLUGIN = re.compile("Plugin not found|plugin was not found in the plugin registry")

#: In a branch or a loop, TensorRT 8.6 names only the node around it; its log names the operator.
#: Source: the log in github.com/NVIDIA/TensorRT/issues/1775.
_NO_PLUGIN_LOGGED = re.compile(r"could not find plugin: (\w+)")

#: A failed assertion: its condition is code of the parser, the text behind it is for users.
_ASSERTION = re.compile(r'^(?:Assertion failed: )?.*?&& "([^"]+)"', re.DOTALL)

#: Logged where a plugin of TensorRT itself cannot be made on a machine without a GPU.
#: Source: seen with TensorRT-RTX 1.7 and RoiAlign.
_NO_DRIVER = "CUDA driver version is insufficient"

#: In the parser's message for an element type that it does not support.
#: Source: seen with TensorRT-RTX 1.7, misspelling included.
_NO_TYPE = re.compile("Failed to convert ONNX dat[ea] type|Unsupported data type")

#: Where the first line of a message only says that a node is invalid: the reason behind it.
#: Source: seen with TensorRT-RTX 1.7.
_INNER = re.compile(r"Error Code \d+: [\w ]+\((.+?)(?: In \w+ at |\))")


class _Refusal(NamedTuple):
    """One node that the parser refused; `operator` is empty if it names no node."""

    where: str
    operator: str
    reason: str

    @property
    def is_unknown(self) -> bool:
        """Whether the operator is neither built in nor a plugin."""
        return bool(_NO_PLUGIN.search(self.reason))

    def __str__(self) -> str:
        reason = self.reason.partition("\n")[0]
        if found := _ASSERTION.search(self.reason) or _INNER.search(self.reason):
            reason = found[1]
        reason = reason.rstrip(".")
        # The whole message of some refusals is the condition that failed.
        reason = "not supported" if reason == "false" else reason
        reason = "no such operator, and no such plugin" if self.is_unknown else reason
        return f"{self.where}: {reason}" if self.where else reason


def parsed(trt: Any, network: Any, plan: BuildPlan, tail: LogTail) -> Any:
    """Parse the plan's source into a network; return the parser, which owns its weights.

    Raises:
        EngineBuildError: The parser refused the model, or the network is empty.
    """
    parser = trt.OnnxParser(network, process_logger(trt))
    renamed = without_ambiguous_names(plan.source, plan.profiles)
    if renamed is None:
        done = parser.parse_from_file(str(plan.source))
    else:  # external data are found by the path
        done = parser.parse(renamed, str(plan.source))
    tail.raise_pending()
    if not done:
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        # The same node may be refused several times for one reason.
        refusals = list(dict.fromkeys(_refusal(error, plan.source) for error in errors))
        is_8 = str(getattr(trt, "__version__", "")).startswith("8.")
        raise _refused(refusals, plan, tail, is_8=is_8)
    if network.num_outputs == 0:
        raise EngineBuildError(
            f"{plan.version} parsed {plan.model_name} without an error, but the network is empty: "
            f"{network.num_layers} layers, 0 outputs",
            fix=Remedy(
                "export a model with at least one graph output. To see what this one has:",
                commands=(f"pytest-trt inspect {shlex.quote(str(plan.source))}",),
            ),
            code="TRT353",
            facts=_facts(plan),
            log_tail=tail.lines,
        )
    return parser


def _facts(plan: BuildPlan) -> dict[str, Fact]:
    return {"model": plan.model_name, "version": plan.version, "opset": plan.opset}


def _refused(
    refusals: Sequence[_Refusal], plan: BuildPlan, tail: LogTail, *, is_8: bool
) -> EngineBuildError:
    shown = [str(refusal) for refusal in refusals[:_SHOWN_ERRORS]]
    if len(refusals) > len(shown):
        shown.append(f"and {len(refusals) - len(shown)} more nodes")
    unknown = {refusal.operator for refusal in refusals if refusal.is_unknown}
    inner = {name for line in tail.lines for name in _NO_PLUGIN_LOGGED.findall(line)}
    if inner:
        unknown = inner
        shown.append(f"unknown: {', '.join(sorted(inner))}")
    dtypes: list[str] = []
    if any(_NO_TYPE.search(refusal.reason) for refusal in refusals):
        dtypes = _unsupported_tensors(plan.source)
        shown += [f"unsupported: {', '.join(dtypes)}"] if dtypes else []
    operators = sorted({refusal.operator for refusal in refusals if refusal.operator} | inner)
    return EngineBuildError(
        f"{plan.version} cannot parse {plan.model_name}: "
        f"{'; '.join(shown) or 'the parser gives no reason'}",
        fix=_without_driver(unknown, tail)
        or _remedy(set(operators), unknown, plan, dtypes, is_8=is_8),
        code="TRT350" if unknown else "TRT352",
        facts={
            **_facts(plan),
            "operator": ", ".join(operators),
            "nodes": [refusal.where for refusal in refusals[:_SHOWN_ERRORS] if refusal.where],
            "tensors": dtypes,
        },
        # The parser logs the same errors, at six lines each.
        log_tail=() if shown else tail.lines,
    )


def _without_driver(unknown: Iterable[str], tail: LogTail) -> Remedy:
    """Return the remedy where a plugin of TensorRT itself could not be made; else an empty one."""
    if not any(_NO_DRIVER in line for line in tail.lines):
        return Remedy()
    named = ", ".join(sorted(unknown))
    return Remedy(
        f"build on a machine with a GPU: {named} needs a plugin that TensorRT makes only with a "
        "CUDA driver."
        if named
        else ""
    )


def _remedy(
    refused: Iterable[str],
    unknown: Iterable[str],
    plan: BuildPlan,
    tensors: Sequence[str],
    *,
    is_8: bool,
) -> Remedy:
    # Here, because both bring much along, which every build would wait for.
    import onnx.defs

    from pytest_trt.backends.conversion.converting import DYNAMIC_QUANTIZERS

    if set(refused) & set(DYNAMIC_QUANTIZERS):
        return Remedy(
            "the model is dynamically quantised, which the parser does not support: name the "
            'float32 model that it was made from, with precision="int8" or "fp16".'
        )
    if tensors:
        return Remedy("export the model with float32 or int32 for the tensors that it names.")
    standard = {schema.name for schema in onnx.defs.get_all_schemas()}
    foreign = sorted(operator for operator in unknown if operator and operator not in standard)
    if foreign:
        named = ", ".join(_with_domains(plan.source, foreign))
        return Remedy(
            f"{named} is not an operator of ONNX, so it needs a plugin: name the library that has "
            'it with trt_model(plugin_libraries=["path/to/library.so"]).',
            alternatives=("export the model without it",),
        )
    change = "export the model without what it names, or with other operators."
    if is_8 and plan.opset > _OPSET_OF_8:
        return Remedy(
            f"export the model with opset_version={_OPSET_OF_8}: it has opset {plan.opset}, and "
            f"TensorRT 8.6 supports up to {_OPSET_OF_8}.",
            alternatives=(change,),
        )
    return Remedy(change)


def _with_domains(source: Path, operators: Iterable[str]) -> list[str]:
    """Return operators with their domains, where they have one: "Swirl (domain mine)"."""
    import onnx

    from pytest_trt.onnx.graph import walk_graphs

    graph = onnx.load(source, load_external_data=False).graph
    nodes = [node for scope in walk_graphs(graph) for node in scope.node]
    domains = {node.op_type: node.domain for node in nodes if node.domain}
    return [f"{name} (domain {domains[name]})" if name in domains else name for name in operators]


def _refusal(error: Any, source: Path) -> _Refusal:
    """Return an error of the parser; versions after 8.6 name the refused node."""
    node_name = getattr(error, "node_name", None)
    node_operator = getattr(error, "node_operator", None)
    if node_name is not None and node_operator is not None:
        name, operator = node_name(), node_operator()
    else:
        name, operator = "", ""
    if not name:
        name, operator = _node(source, error.node(), operator)
    if not operator:  # it is about an input or the whole graph
        return _Refusal("", "", error.desc())
    return _Refusal(f"node {name!r} ({operator})" if name else operator, operator, error.desc())


def _node(source: Path, index: int, operator: str) -> tuple[str, str]:
    """Return name and operator of a node by its index in the graph, if that is the operator."""
    import onnx

    nodes = onnx.load(source, load_external_data=False).graph.node
    if not 0 <= index < len(nodes) or operator not in ("", nodes[index].op_type):
        return "", operator
    outputs = next(filter(None, nodes[index].output), "")
    return nodes[index].name or outputs or f"#{index}", nodes[index].op_type


def _unsupported_tensors(source: Path) -> list[str]:
    """Return the inputs, outputs and weights whose element type no TensorRT supports."""
    import onnx

    from pytest_trt.onnx.graph import constants
    from pytest_trt.tensors.elements import TENSORRT_TYPES, element_name

    model = onnx.load(source, load_external_data=False)
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*model.graph.input, *model.graph.output)
    }
    types |= {name: weights.data_type for name, weights in constants(model.graph)}
    named = {name: element_name(number) for name, number in types.items() if number}
    return [f"{name} ({dtype})" for name, dtype in named.items() if dtype not in TENSORRT_TYPES]
