"""What all conversions of models share: result, options, errors, silence, and a check of types."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from pytest_trt.backends.conversion.named import require_nodes, require_operators
from pytest_trt.backends.conversion.ort_messages import (
    SEVERITY_DEFAULT,
    SEVERITY_FATAL,
    build_fix,
    first_line,
    names_unknown_operator,
    refusal,
    without_path,
)
from pytest_trt.diagnostics import ConfigurationError, EngineBuildError, ModelError
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import OnnxModel


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did.

    Attributes:
        notes: What a reader of the report should know, such as constants that had to be clamped.
    """

    notes: tuple[str, ...]


def known_options(
    options: Mapping[str, OptionValue], known: Mapping[str, str]
) -> Mapping[str, OptionValue]:
    """Return the options if all of them are known.

    Raises:
        ConfigurationError: One is not.
    """
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        listed = "; ".join(f"{name}: {meaning}" for name, meaning in known.items())
        raise ConfigurationError(
            f"unknown conversion option {', '.join(unknown)}.", fix=f"known options: {listed}."
        )
    return options


def require_named(
    model: OnnxModel, proto: onnx.ModelProto, options: Mapping[str, OptionValue]
) -> None:
    """Refuse options that name operators or nodes which the model, once loaded, does not have.

    Raises:
        ConfigurationError: Gives the closest names that there are.
    """
    nodes = [node for scope in graph.walk_graphs(proto.graph) for node in scope.node]
    require_operators(model.path.name, (node.op_type for node in nodes), options)
    require_nodes(model.path.name, (node.name for node in nodes), options)


#: Operators of models that are quantised while they run.
#: Source: ONNX operator reference; ONNX Runtime, ContribOperators.md.
DYNAMIC_QUANTIZERS = (
    "ConvInteger",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
)


def refuse_dynamically_quantised(model: OnnxModel, precision: str) -> None:
    """Refuse a model whose INT32 sums float16 cannot hold, and whose INT8 scales are its own.

    Raises:
        EngineBuildError: The model is quantised dynamically.
    """
    counts = {name.rpartition("::")[2]: count for name, count in model.op_types.items()}
    found = [f"{counts[name]} {name}" for name in DYNAMIC_QUANTIZERS if name in counts]
    if found:
        raise EngineBuildError(
            f"{model.path.name} is quantised dynamically already ({', '.join(found)} nodes), so it "
            f"cannot be converted to {precision}.",
            fix="give the float32 model that it was made from, or test this one as it is with "
            'precision="fp32" on the onnxruntime backend.',
        )


@contextlib.contextmanager
def explained(model: OnnxModel, precision: str) -> Iterator[None]:
    """Turn whatever a converter trips over into an error that says what was being done."""
    try:
        yield
    except (EngineBuildError, ConfigurationError, MemoryError, OSError):
        raise
    except Exception as exc:
        # The converters raise bare ValueError, AssertionError, IndexError, onnx and ORT errors.
        reason = exc.message if isinstance(exc, ModelError) else f"{type(exc).__name__}: {exc}"
        fix = (
            "keep the operator or node that it names out of the conversion (builder option "
            "op_block_list or node_block_list), or give a model converted by other means."
        )
        failed = f"{model.path.name} could not be converted to {precision}: {without_path(reason)}"
        raise EngineBuildError(
            refusal(model.path.name, reason, failed),
            fix=build_fix(reason, model.path, precision) if names_unknown_operator(reason) else fix,
        ) from exc


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Collect what converters print, warn and log, instead of letting it reach the test run.

    Their `logging.warning` would also install a handler on the root logger for good if none
    were there. The sessions that they make themselves log at ONNX Runtime's default severity,
    straight to stderr: it is raised, and set back to what ONNX Runtime starts with, as the
    severity at hand cannot be asked for.
    """
    runtime: Any = importlib.import_module("onnxruntime")
    said: list[str] = []
    handler = _Collector(said)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    runtime.set_default_logger_severity(SEVERITY_FATAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield said
    finally:
        runtime.set_default_logger_severity(SEVERITY_DEFAULT)
        root.handlers[:] = handlers
        root.setLevel(level)


class _Collector(logging.Handler):
    """Keeps warnings of converters, each once, without advice that was followed already."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "pre-processing before quantization" not in message and message not in self._said:
            self._said.append(message)


def verify_types(model: OnnxModel, output: Path, precision: str) -> None:
    """Have the written model checked: by onnx for structure, by ONNX Runtime for types."""
    with explained(model, precision):
        onnx.checker.check_model(str(output))
    runtime: Any = importlib.import_module("onnxruntime")
    session_options = runtime.SessionOptions()
    session_options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session_options.log_severity_level = SEVERITY_FATAL
    try:
        runtime.InferenceSession(str(output), session_options, providers=["CPUExecutionProvider"])
    except Exception as exc:
        # Anything but a type error is between the model and one runtime: a custom operator or a
        # missing CPU kernel says nothing about other backends, and this one says so itself.
        if "Type Error" not in str(exc) and "Type parameter" not in str(exc):
            return
        raise EngineBuildError(
            f"{model.path.name} mixes float32 and float16 after its conversion to {precision}: "
            f"{first_line(exc)}",
            fix="keep what it names in float32: builder option op_block_list='<operator>' or "
            "node_block_list='<node name>', comma-separated.",
        ) from exc
