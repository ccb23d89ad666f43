"""Precision conversion: an ONNX model in, an ONNX model of lower precision out.

The converters are ONNX Runtime's. This module prepares graphs that they trip over, repairs what
they leave behind, and reports what they changed silently. Conversion is deterministic: its result
is keyed by the model, the options and `converter_versions()`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.backends.float16_report import Float16Watch
from pytest_trt.engine.spec import OptionValue
from pytest_trt.errors import ConfigurationError, EngineBuildError, ModelError
from pytest_trt.model import OnnxModel, Tensors, graph

#: Raise this by one whenever the code here or in `model.graph` can give another model for the same
#: input: it is part of the engine key, and engines of older conversions must not be reused.
_CONVERTER_VERSION = "1"

#: Options of the conversion, by what they mean. They may stand among a spec's builder options.
FP16_OPTIONS: Mapping[str, str] = {
    "op_block_list": "operators that stay float32, comma-separated",
    "node_block_list": "names of nodes that stay float32, comma-separated",
}
INT8_OPTIONS: Mapping[str, str] = {
    "op_types": "operators to quantise, comma-separated (default Conv, ConvTranspose, Gemm, MatMul)",
    "op_block_list": "operators that are not quantised, comma-separated",
    "node_block_list": "names of nodes that are not quantised, comma-separated",
    "per_channel": "one scale per output channel of a weight (default true)",
    "calibration_method": "minmax (default), entropy or percentile",
}

_NEVER = 2**31

#: Operators whose float inputs are float32 by specification, and the opset that lifted that.
_FLOAT32_BELOW_OPSET = {
    "DynamicQuantizeLinear": _NEVER,
    "DynamicQuantizeLSTM": _NEVER,
    "DynamicQuantizeMatMul": _NEVER,
    "MatMulIntegerToFloat": _NEVER,
    "QuantizeLinear": 19,
    "DequantizeLinear": 19,
}

#: Operators that gain from INT8 arithmetic; quantising others costs accuracy and buys nothing.
_INT8_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

#: Per-channel scales need the `axis` attribute of QuantizeLinear.
_INT8_OPSET = 13


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did.

    Attributes:
        notes: What a reader of the report should know, such as constants that had to be clamped.
    """

    notes: tuple[str, ...]


def converter_versions() -> dict[str, str]:
    """Return the versions of everything that decides a converted model's bytes."""
    return {
        "onnxruntime": importlib.metadata.version("onnxruntime"),
        "onnx": importlib.metadata.version("onnx"),
        "converter": _CONVERTER_VERSION,
    }


def to_fp16(
    model: OnnxModel, output: Path, *, options: Mapping[str, OptionValue] | None = None
) -> Conversion:
    """Convert a float32 model to float16 inside; its inputs and outputs keep their types.

    Args:
        model: What to convert.
        output: Where to write; external data beside it if one file cannot hold the weights.
        options: Any of `FP16_OPTIONS`.

    Raises:
        ConfigurationError: An option is unknown.
        ModelError: The model cannot be read.
        EngineBuildError: It has no float32 to convert, or mixes types after conversion.
    """
    options = _checked(options or {}, FP16_OPTIONS)
    proto = graph.load(model.path)
    graph.modernise(proto)
    watch = Float16Watch(proto)
    if watch.is_already_float16:
        graph.save(proto, output)
        return Conversion((watch.already_note(),))
    if not watch.has_float32:
        raise EngineBuildError(
            f"{model.path.name} has no float32 values, so there is nothing to convert to fp16 "
            f"(its types: {watch.types()}).",
            fix='ask for precision="fp32", which runs the model as it is.',
        )
    float16: Any = importlib.import_module("onnxruntime.transformers.float16")
    blocked = {*float16.DEFAULT_OP_BLOCK_LIST, *_names(options.get("op_block_list"))}
    blocked |= {op for op, opset in _FLOAT32_BELOW_OPSET.items() if model.opset < opset}
    with _captured() as said, _explained(model, "fp16"):
        proto = float16.convert_float_to_float16(
            proto,
            max_finite_val=65504.0,
            keep_io_types=True,
            disable_shape_infer=True,
            op_block_list=sorted(blocked),
            node_block_list=_names(options.get("node_block_list")),
        )
        graph.tidy(proto)
    notes = watch.notes()
    graph.save(proto, output)
    del proto
    _verify(model, output, "fp16")
    return Conversion((*notes, *said))


def to_int8(
    model: OnnxModel,
    calibration: Sequence[Tensors],
    output: Path,
    *,
    options: Mapping[str, OptionValue] | None = None,
    qdq_weights: bool = True,
) -> Conversion:
    """Quantise a float32 model to INT8 with Q/DQ nodes, symmetric, biases left in float32.

    Args:
        model: What to quantise. A model that holds Q/DQ nodes already is copied as it is.
        calibration: Representative inputs; the ranges of activations come from them.
        output: Where to write.
        options: Any of `INT8_OPTIONS`.
        qdq_weights: Keep weights as float32 behind a Q/DQ pair, which every TensorRT accepts; else
            store them as INT8 behind a DequantizeLinear, which is a quarter of the size.

    Raises:
        ConfigurationError: An option is unknown or has a value that it cannot have.
        EngineBuildError: There is no calibration data, it does not fit the model, or nothing in
            the model could be quantised.
    """
    options = _checked(options or {}, INT8_OPTIONS)
    proto = graph.load(model.path)
    if model.is_quantized:
        graph.save(proto, output)
        return Conversion(("the model is already quantised; its own Q/DQ nodes are kept",))
    if not calibration:
        raise EngineBuildError(
            f"precision int8 of {model.path.name} needs calibration data, and there is none.",
            fix="give representative inputs: override the `trt_inputs` fixture with real data.",
        )
    graph.modernise(proto)
    with tempfile.TemporaryDirectory(prefix="int8-", dir=output.parent) as folder:
        with _captured() as said, _explained(model, "int8"):
            prepared = _prepare(model, proto, Path(folder))
            del proto
            _quantise(prepared, calibration, Path(folder) / "int8.onnx", options, qdq_weights)
            quantised = graph.load(Path(folder) / "int8.onnx")
    _require_quantised(model, quantised, options)
    with _explained(model, "int8"):
        graph.tidy(quantised)
    graph.save(quantised, output)
    del quantised
    _verify(model, output, "int8")
    return Conversion(tuple(said))


def _prepare(model: OnnxModel, proto: Any, folder: Path) -> Path:
    """Fold constants and batch normalisations, which quantisation would else freeze in float32."""
    import onnx.version_converter

    if model.opset < _INT8_OPSET:
        proto = onnx.version_converter.convert_version(proto, _INT8_OPSET)
    shape_inference: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    source, prepared = folder / "source.onnx", folder / "prepared.onnx"
    graph.save(proto, source)
    shape_inference.quant_pre_process(
        str(source),
        str(prepared),
        skip_symbolic_shape=True,
        save_as_external_data=model.size_bytes > graph.INLINE_LIMIT_BYTES,
        all_tensors_to_one_file=True,
    )
    return prepared


def _quantise(
    source: Path,
    calibration: Sequence[Tensors],
    output: Path,
    options: Mapping[str, OptionValue],
    qdq_weights: bool,
) -> None:
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    blocked = set(_names(options.get("op_block_list")))
    op_types = [op for op in _names(options.get("op_types")) or _INT8_OPS if op not in blocked]
    quantization.quantize_static(
        str(source),
        str(output),
        _reader(calibration),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=bool(options.get("per_channel", True)),
        op_types_to_quantize=op_types,
        nodes_to_exclude=_names(options.get("node_block_list")),
        calibrate_method=_method(quantization, options),
        use_external_data_format=source.stat().st_size > graph.INLINE_LIMIT_BYTES
        or any(source.parent.glob("prepared*.data")),
        # TensorRT takes symmetric INT8 only, and no INT32 bias behind a DequantizeLinear.
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "DedicatedQDQPair": True,
            "AddQDQPairToWeight": qdq_weights,
            # One sample at a time: the histogram methods cannot stack samples of unequal shapes.
            "CalibStridedMinMax": 1,
        },
    )


def _method(quantization: Any, options: Mapping[str, OptionValue]) -> Any:
    methods = {
        "minmax": quantization.CalibrationMethod.MinMax,
        "entropy": quantization.CalibrationMethod.Entropy,
        "percentile": quantization.CalibrationMethod.Percentile,
    }
    asked = str(options.get("calibration_method", "minmax"))
    if asked not in methods:
        raise ConfigurationError(
            f"calibration_method={asked!r} is unknown.", fix=f"use one of {', '.join(methods)}."
        )
    return methods[asked]


def _reader(calibration: Sequence[Tensors]) -> Any:
    """Return a CalibrationDataReader over samples in memory, readable in ranges."""
    base: Any = importlib.import_module("onnxruntime.quantization").CalibrationDataReader

    class MemoryReader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples = iter(calibration)

        def __len__(self) -> int:
            return len(calibration)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._samples = iter(calibration[start_index:end_index])

        def get_next(self) -> dict[str, Any] | None:
            sample = next(self._samples, None)
            return None if sample is None else dict(sample)

    return MemoryReader()


def _require_quantised(
    model: OnnxModel, quantised: Any, options: Mapping[str, OptionValue]
) -> None:
    if any(
        node.op_type == "QuantizeLinear"
        for scope in graph.walk_graphs(quantised.graph)
        for node in scope.node
    ):
        return
    asked = ", ".join(_names(options.get("op_types")) or _INT8_OPS)
    raise EngineBuildError(
        f"nothing in {model.path.name} could be quantised: none of {asked} outside control flow "
        "has float32 inputs of known type.",
        fix="name the operators to quantise with op_types=..., or leave int8 out for this model.",
    )


def _verify(model: OnnxModel, output: Path, precision: str) -> None:
    """Have the written model checked: by onnx for structure, by ONNX Runtime for types."""
    import onnx

    with _explained(model, precision):
        onnx.checker.check_model(str(output))
    runtime: Any = importlib.import_module("onnxruntime")
    session_options = runtime.SessionOptions()
    session_options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session_options.log_severity_level = 4
    try:
        runtime.InferenceSession(str(output), session_options, providers=["CPUExecutionProvider"])
    except Exception as exc:
        # Anything but a type error is between the model and one runtime: a custom operator or a
        # missing CPU kernel says nothing about other backends, and this one says so itself.
        if "Type Error" not in str(exc) and "Type parameter" not in str(exc):
            return
        raise EngineBuildError(
            f"{model.path.name} mixes float32 and float16 after its conversion to {precision}: "
            f"{str(exc).splitlines()[0]}",
            fix="keep what it names in float32: builder option op_block_list='<operator>' or "
            "node_block_list='<node name>', comma-separated.",
        ) from exc


def _checked(
    options: Mapping[str, OptionValue], known: Mapping[str, str]
) -> Mapping[str, OptionValue]:
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        listed = "; ".join(f"{name}: {meaning}" for name, meaning in known.items())
        raise ConfigurationError(
            f"unknown conversion option {', '.join(unknown)}.", fix=f"known options: {listed}."
        )
    return options


def _names(value: OptionValue | None) -> list[str]:
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


@contextlib.contextmanager
def _explained(model: OnnxModel, precision: str) -> Iterator[None]:
    """Turn whatever a converter trips over into an error that says what was being done."""
    try:
        yield
    except (EngineBuildError, ConfigurationError, MemoryError, OSError):
        raise
    except Exception as exc:
        # The converters raise bare ValueError, AssertionError, IndexError, onnx and ORT errors.
        reason = exc.message if isinstance(exc, ModelError) else f"{type(exc).__name__}: {exc}"
        raise EngineBuildError(
            f"{model.path.name} could not be converted to {precision}: {reason}",
            fix="keep the operator or node that it names out of the conversion (builder option "
            "op_block_list or node_block_list), or give a model converted by other means.",
        ) from exc


@contextlib.contextmanager
def _captured() -> Iterator[list[str]]:
    """Collect what converters print, warn and log, instead of letting it reach the test run.

    Their `logging.warning` would also install a handler on the root logger for good if none
    were there.
    """
    said: list[str] = []
    handler = _Collector(said)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield said
    finally:
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
