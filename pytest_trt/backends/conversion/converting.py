"""Shared by all conversions: result, options, errors, captured output, and a check of types."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import onnx
import onnx.version_converter

from pytest_trt.backends.conversion.custom_ops import register_custom_ops
from pytest_trt.backends.conversion.kept import kept_nodes
from pytest_trt.backends.conversion.ort_messages import (
    SEVERITY_DEFAULT,
    SEVERITY_FATAL,
    mixed_place,
    refusal,
    without_path,
)
from pytest_trt.backends.conversion.ort_module import onnxruntime_version
from pytest_trt.diagnostics import (
    ConfigurationError,
    EngineBuildError,
    InputError,
    ModelError,
    PytestTrtError,
    Remedy,
    in_context,
)
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import OnnxModel, read_interface, read_node_names
from pytest_trt.onnx.libraries import Library
from pytest_trt.tensors.spec import InputSamples, TensorSpec
from pytest_trt.version import __version__

#: Lines of a converter's message that are shown.
_SHOWN_LINES = 4

#: The type of an output that a file does not state, and a conversion may: ONNX Runtime infers it.
_NO_TYPE = "undefined"

_OTHER_MODEL = Remedy("use another precision, or a model that was converted with another tool.")


def raised(model: OnnxModel, proto: onnx.ModelProto, opset: int, precision: str) -> onnx.ModelProto:
    """Return a loaded model in an opset, or as it is where its own is as high.

    Raises:
        EngineBuildError: onnx cannot convert it.
    """
    own = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if own >= opset:
        return proto
    with explained(model, precision):
        return onnx.version_converter.convert_version(proto, opset)


def kept_in(
    model_name: str, proto: onnx.ModelProto, keep_fp32: Collection[str]
) -> list[onnx.NodeProto]:
    """Return the nodes of a loaded model that stay in FP32.

    Raises:
        ConfigurationError: An entry of `keep_fp32` names no node.
    """
    nodes = [node for scope in graph.walk_graphs(proto.graph) for node in scope.node]
    named = ((node.name, node.op_type) for node in nodes)
    return [nodes[index] for index in sorted(kept_nodes(model_name, keep_fp32, named))]


#: Operators of dynamically quantised models.
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
    """Refuse a dynamically quantised model: float16 cannot hold its INT32 sums.

    Raises:
        EngineBuildError: The model is quantised dynamically.
    """
    counts = {name.rpartition("::")[2]: count for name, count in model.op_types.items()}
    found = [f"{counts[name]} {name}" for name in DYNAMIC_QUANTIZERS if name in counts]
    if found:
        raise EngineBuildError(
            f"{model.path.name} is dynamically quantised ({', '.join(found)} nodes) and cannot be "
            f"converted to {precision}",
            fix="use the float32 model that it was quantised from, or test it unconverted: "
            'precision="fp32" on the onnxruntime backend.',
            code="TRT355",
            facts={"model": str(model.path), "precision": precision, "operators": found},
        )


@contextlib.contextmanager
def explained(model: OnnxModel, precision: str) -> Iterator[None]:
    """Turn any exception of a converter into an error of this package."""
    try:
        yield
    except ModelError as error:
        if "model" in error.diagnostic.facts:
            raise
        # What is wrong in a graph is found where its file is not known.
        named = in_context(error, model.path.name)
        facts = {**error.diagnostic.facts, "model": str(model.path)}
        named.diagnostic = replace(named.diagnostic, facts=facts)
        raise named from error
    except (EngineBuildError, ConfigurationError, InputError, MemoryError, OSError):
        raise
    except Exception as exc:
        # The converters raise bare ValueError, AssertionError, IndexError, onnx and ORT errors.
        reason = exc.message if isinstance(exc, PytestTrtError) else f"{type(exc).__name__}: {exc}"
        refused = refusal(
            reason,
            model.path,
            failed=f"{_converter(precision)} cannot convert {model.path.name} to {precision}",
            code="TRT354",
            remedy=_OTHER_MODEL,
            precision=precision,
        )
        raise refused.as_error(without_path(reason).splitlines()[:_SHOWN_LINES]) from exc


def _converter(precision: str) -> str:
    """Return the product that converts to a precision, with its version."""
    if precision == "int8":
        return f"the quantiser of ONNX Runtime {onnxruntime_version()}"
    return f"pytest-trt {__version__}"


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Collect what converters print, warn and log, so that it does not reach the test run.

    Their `logging.warning` would also install a permanent handler on a root logger without one.
    Their own sessions log at ONNX Runtime's default severity, straight to stderr: it is raised, and
    then reset to ONNX Runtime's initial value, as the current one cannot be queried.
    """
    runtime: Any = importlib.import_module("onnxruntime")
    logged: list[str] = []
    handler = _Collector(logged)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    runtime.set_default_logger_severity(SEVERITY_FATAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield logged
    finally:
        runtime.set_default_logger_severity(SEVERITY_DEFAULT)
        root.handlers[:] = handlers
        root.setLevel(level)


class _Collector(logging.Handler):
    """Collects warnings of converters, each once, without advice that was followed already."""

    def __init__(self, logged: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "pre-processing before quantization" not in message and message not in self._logged:
            self._logged.append(message)


def verify(
    model: OnnxModel,
    output: Path,
    precision: str,
    samples: InputSamples = (),
    *,
    loads: bool = True,
) -> None:
    """Require that a converted model has the model's interface, and that ONNX Runtime loads it.

    It is run on inputs that the model is known to run on, if there are any. Generated ones are no
    substitute: an integer division by one of their zeros ends the process.

    Args:
        model: The model.
        output: Its conversion.
        precision: What it was converted to.
        samples: Inputs that the model runs on, the first of which is used.
        loads: Whether ONNX Runtime can load what is valid; otherwise it does not try.

    Raises:
        EngineBuildError: Its inputs or outputs are not those of the model, or it is not valid.
    """
    different = different_tensors(model, output)
    if different:
        raise EngineBuildError(
            f"the conversion to {precision} changed inputs or outputs of {model.path.name}: "
            f"{', '.join(different)}",
            fix=_OTHER_MODEL,
            code="TRT354",
            facts={"model": str(model.path), "precision": precision, "tensors": different},
        )
    if not loads:
        return
    try:
        session = unoptimised(output, model.custom_ops)
    except Exception as exc:
        # Other errors concern one runtime only: a custom operator or a missing CPU kernel means
        # nothing to other backends, and the onnxruntime backend reports it by itself.
        if not is_type_error(exc):
            return
        raise invalid(model, precision, exc) from exc
    failure = run_failure(session, samples)
    if failure is not None:
        raise invalid(model, precision, failure) from failure


def unoptimised(path: Path, custom_ops: Sequence[Library] = ()) -> Any:
    """Return an `onnxruntime.InferenceSession` of a file, as it is.

    Raises:
        Exception: ONNX Runtime refuses it; its exceptions have no other common base class.
    """
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = SEVERITY_FATAL
    register_custom_ops(options, custom_ops)
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_failure(session: Any, samples: InputSamples) -> Exception | None:
    """Return why a session fails on the first of some inputs, or None if it does not."""
    try:
        for inputs in islice(samples, 1):
            session.run(None, dict(inputs))
    except Exception as exc:  # see `unoptimised`
        return exc
    return None


def is_type_error(error: Exception) -> bool:
    """Whether ONNX Runtime refuses a graph because types do not fit."""
    return "Type Error" in str(error) or "Type parameter" in str(error)


def invalid(model: OnnxModel, precision: str, cause: Exception) -> EngineBuildError:
    """Return the error for a converted model that ONNX Runtime refuses."""
    return refusal(
        str(cause),
        model.path,
        failed=f"{model.path.name} is invalid after conversion to {precision}",
        code="TRT354",
        remedy=_in_float32(model, str(cause)),
        precision=precision,
    ).as_error()


def different_tensors(model: OnnxModel, file: Path) -> list[str]:
    """Return the inputs and outputs in which a file differs from a model: name, dtype or rank."""
    found: list[str] = []
    for ours, theirs in zip((model.inputs, model.outputs), read_interface(file), strict=True):
        found += [
            f"{name} ({_described(there)} instead of {_described(here)})"
            for name, here, there in _pairs(ours, theirs)
            if not _agrees(here, there)
        ]
    return found


def _pairs(
    wanted: Iterable[TensorSpec], found: Iterable[TensorSpec]
) -> Iterator[tuple[str, TensorSpec | None, TensorSpec | None]]:
    here = {spec.name: spec for spec in wanted}
    there = {spec.name: spec for spec in found}
    for name in {**here, **there}:
        yield name, here.get(name), there.get(name)


def _agrees(here: TensorSpec | None, there: TensorSpec | None) -> bool:
    if here is None or there is None or here.dtype not in (there.dtype, _NO_TYPE):
        return False
    # A rank that one of the two files does not state may be any.
    return None in (here.shape, there.shape) or len(here.shape or ()) == len(there.shape or ())


def _described(spec: TensorSpec | None) -> str:
    if spec is None:
        return "none"
    return spec.dtype if spec.shape is None else f"{spec.dtype}, rank {len(spec.shape)}"


def _in_float32(model: OnnxModel, text: str) -> Remedy:
    """Return the remedy for an invalid model: an option, where the model has what it names."""
    operator, node = mixed_place(text)
    if node in read_node_names(model.path):
        what, name = "node", node
    else:  # nodes without a name get one that begins with their operator
        what, name = "operator", operator or node.rpartition("_")[0]
        if name not in {one.rpartition("::")[2] for one in model.op_types}:
            return _OTHER_MODEL
    return Remedy(f'keeping {what} {name} in FP32 may help: keep_fp32=["{name}"]')
