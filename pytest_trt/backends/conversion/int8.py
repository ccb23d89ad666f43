"""Float32 to INT8 with Q/DQ nodes by ONNX Runtime's static quantisation."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.converting import (
    captured,
    explained,
    kept_in,
    refuse_dynamically_quantised,
    verify,
)
from pytest_trt.backends.conversion.custom_ops import known_to_all_sessions
from pytest_trt.backends.conversion.int8_preparation import (
    Choice,
    PassedOutputs,
    import_quantization,
    prepare,
    state_kernel_shapes,
    unshare_weights,
)
from pytest_trt.backends.conversion.named import require_operators
from pytest_trt.backends.conversion.ort_messages import first_line
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.spec import OptionValue, listed
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.loading import load
from pytest_trt.tensors.calibration_data import checked
from pytest_trt.tensors.elements import is_extension
from pytest_trt.tensors.spec import InputSamples

#: Operators that gain from INT8 arithmetic; quantising others costs accuracy for nothing.
INT8_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

#: Operators whose results stay float32: a reader quantises a result again only if it computes in
#: INT8. One range for all columns of a transformer's results costs most of its accuracy (measured
#: on all-MiniLM-L6-v2: lowest cosine of an embedding 0.72 with it, 0.93 without). The result of a
#: convolution is quantised, as ONNX Runtime has INT8 convolutions with INT8 results only.
FLOAT_RESULTS = ("Gemm", "MatMul")

_CALIBRATION_FIX = "override the trt_calibration fixture with representative inputs."


def to_int8(
    model: OnnxModel,
    calibration: InputSamples,
    output: Path,
    *,
    options: Mapping[str, OptionValue] | None = None,
    keep_fp32: Collection[str] = (),
    qdq_weights: bool = True,
    verified: bool = True,
) -> Conversion:
    """Quantise a float32 model to INT8 with Q/DQ nodes, symmetric, biases left in float32.

    Args:
        model: The model. Existing Q/DQ nodes of a quantised model are used.
        calibration: Representative inputs; the ranges of activations come from them.
        output: Where to write.
        options: Builder options of the conversion to int8.
        keep_fp32: What stays float32, see `kept_nodes`.
        qdq_weights: Store weights as float32 behind a Q/DQ pair, which every TensorRT accepts;
            otherwise as INT8 behind a DequantizeLinear, at a quarter of the size.
        verified: Whether ONNX Runtime has to load and run the result.

    Raises:
        ConfigurationError: An option is unknown or has an invalid value; or it, or `keep_fp32`,
            names an operator or node that the model does not have.
        InputError: There is no calibration data, or it does not fit the model.
        EngineBuildError: The model is quantised dynamically, or nothing in it could be quantised.
    """
    if model.is_quantized:
        proto = load(model.path)
        state_kernel_shapes(proto.graph)
        graph.save(proto, output)
        return Conversion((f"{OWN_NODES}; they are used",))
    done = quantised(
        model, calibration, output.parent, options, keep_fp32=keep_fp32, qdq_weights=qdq_weights
    )
    graph.save(done.proto, output)
    if verified:
        verify(model, output, "int8", calibration)
    return Conversion(done.notes, kept=tuple(sorted(done.kept)))


#: The note on a model that is quantised already.
OWN_NODES = "the model brings its own Q/DQ nodes"


@dataclass(frozen=True, slots=True)
class Quantised:
    """A model with Q/DQ nodes in memory.

    Attributes:
        proto: The model.
        notes: Notes for the report.
        kept: Names of the nodes that stay float32 because they were to.
    """

    proto: onnx.ModelProto
    notes: tuple[str, ...]
    kept: frozenset[str]


def quantised(
    model: OnnxModel,
    calibration: InputSamples,
    folder: Path,
    options: Mapping[str, OptionValue] | None = None,
    *,
    keep_fp32: Collection[str] = (),
    qdq_weights: bool = True,
    precision: str = "int8",
) -> Quantised:
    """Return a float32 model with INT8 Q/DQ nodes, see `to_int8`."""
    options = options or {}
    refuse_dynamically_quantised(model, precision)
    if not model.inputs:
        raise EngineBuildError(
            f"{model.path.name} has no inputs, so there is nothing to calibrate for {precision}",
            fix=f"remove {precision} from precision=.",
            code="TRT355",
            facts={"model": str(model.path), "precision": precision},
        )
    chosen = frozenset(listed(options.get("op_types")) or INT8_OPS)
    proto = load(model.path)
    nodes = (node for scope in graph.walk_graphs(proto.graph) for node in scope.node)
    require_operators(model.path.name, (node.op_type for node in nodes), options)
    kept = kept_in(model.path.name, proto, keep_fp32)
    with (
        tempfile.TemporaryDirectory(prefix="int8-", dir=folder) as temporary,
        captured() as logged,
        explained(model, precision),
    ):
        graph.modernise(proto)
        # Quantisation excludes nodes by name, and would take all without one for the same.
        graph.name_nodes(proto)
        choice = Choice(
            operators={node.name: node.op_type for node in proto.graph.node},
            chosen=chosen,
            kept=frozenset(node.name for node in kept),
        )
        unshare_weights(proto.graph)
        passed = PassedOutputs.taken_from(proto.graph)
        prepared = prepare(proto, model.opset, Path(temporary), model.custom_ops)
        del proto
        operators, excluded = choice.of(prepared)
        if not operators:
            raise _nothing_quantised(model, chosen, precision)
        _require_numpy_types(model, precision)
        next(checked(calibration, model.inputs))  # others are checked as they are read
        with (
            _calibrating(model, precision),
            known_to_all_sessions(model.custom_ops),
            _temporaries_in(temporary),
        ):
            _quantise(
                prepared,
                _reader(model, calibration),
                Path(temporary) / "int8.onnx",
                options,
                (operators, excluded),
                qdq_weights,
            )
        found = load(Path(temporary) / "int8.onnx")
    if not _is_quantised(found):
        raise _nothing_quantised(model, chosen, precision)
    with explained(model, precision):
        passed.put_back(found.graph)
        graph.tidy(found)
        state_kernel_shapes(found.graph)
    return Quantised(found, tuple(logged), choice.kept_in(found))


@contextlib.contextmanager
def _temporaries_in(folder: str) -> Iterator[None]:
    """Have the quantiser store its copies of the model where a killed build is swept up."""
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def _quantise(
    source: Path,
    reader: Any,
    output: Path,
    options: Mapping[str, OptionValue],
    chosen: tuple[list[str], list[str]],
    qdq_weights: bool,
) -> None:
    quantization = import_quantization()
    op_types, excluded = chosen
    quantization.quantize_static(
        str(source),
        str(output),
        reader,
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=bool(options.get("per_channel", True)),
        op_types_to_quantize=op_types,
        nodes_to_exclude=excluded,
        calibrate_method=_method(quantization, options),
        use_external_data_format=(source.parent / f"{source.name}.data").exists(),
        # TensorRT supports symmetric INT8 only, and no INT32 bias behind a DequantizeLinear.
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            # Widening weight scales until an INT32 bias fits is for quantised biases only; it also
            # fails on the row biases [1, n] that MatMul and Add are fused into.
            "QDQDisableWeightAdjustForInt32Bias": True,
            "DedicatedQDQPair": True,
            "OpTypesToExcludeOutputQuantization": list(FLOAT_RESULTS),
            "AddQDQPairToWeight": qdq_weights,
            # One sample at a time: the histogram methods cannot stack samples of unequal shapes.
            "CalibStridedMinMax": 1,
        },
    )


def _require_numpy_types(model: OnnxModel, precision: str) -> None:
    """Refuse a model that ONNX Runtime's calibration cannot run: it uses numpy's types only.

    Raises:
        EngineBuildError: An input or output has another type.
    """
    others = [str(spec) for spec in (*model.inputs, *model.outputs) if is_extension(spec.dtype)]
    if others:
        raise EngineBuildError(
            f"{model.path.name} cannot be calibrated for {precision}: ONNX Runtime's calibration "
            f"does not support the types of {', '.join(others)}",
            fix=f"cast them to float32 in the model, or remove {precision} from precision=.",
            code="TRT355",
            facts={"model": str(model.path), "precision": precision, "tensors": others},
        )


@contextlib.contextmanager
def _calibrating(model: OnnxModel, precision: str) -> Iterator[None]:
    """Distinguish calibration inputs that do not fit the model from operators that fail."""
    try:
        yield
    except Exception as exc:  # ONNX Runtime's exceptions have no other common base class
        if "while running" not in str(exc):
            raise
        raise EngineBuildError(
            f"{model.path.name} fails on its calibration inputs",
            fix=_CALIBRATION_FIX,
            code="TRT225",
            facts={"model": str(model.path), "precision": precision},
            log_tail=[first_line(exc)],
        ) from exc


def _method(quantization: Any, options: Mapping[str, OptionValue]) -> Any:
    methods = {
        "minmax": quantization.CalibrationMethod.MinMax,
        "entropy": quantization.CalibrationMethod.Entropy,
        "percentile": quantization.CalibrationMethod.Percentile,
    }
    return methods[str(options.get("calibration_method", "minmax"))]


def _reader(model: OnnxModel, calibration: InputSamples) -> Any:
    """Return a CalibrationDataReader that reads samples one by one, in ranges one after another."""
    base: Any = import_quantization().CalibrationDataReader

    class SampleReader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples = checked(calibration, model.inputs)
            self._remaining = len(calibration)

        def __len__(self) -> int:
            return len(calibration)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._remaining = end_index - start_index

        def get_next(self) -> dict[str, Any] | None:
            self._remaining -= 1
            sample = next(self._samples, None) if self._remaining >= 0 else None
            return None if sample is None else dict(sample)

    return SampleReader()


def _is_quantised(model: Any) -> bool:
    return any(
        node.op_type == "QuantizeLinear"
        for scope in graph.walk_graphs(model.graph)
        for node in scope.node
    )


def _nothing_quantised(
    model: OnnxModel, chosen: Collection[str], precision: str
) -> EngineBuildError:
    operators = sorted(chosen)
    return EngineBuildError(
        f"nothing in {model.path.name} could be quantised: outside control flow and keep_fp32, "
        f"no {', '.join(operators)} has float32 inputs of known type",
        fix='set the operators to quantise, builder_options={"op_types": "..."}, or remove '
        f"{precision} from precision=.",
        code="TRT355",
        facts={"model": str(model.path), "precision": precision, "operators": operators},
    )
