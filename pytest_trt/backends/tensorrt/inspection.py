"""The layers of a TensorRT plan, from its engine inspector.

Only a loaded engine can be inspected, so the process that built a plan inspects it, on a GPU that
can load it, and stores the result next to it. The inspector writes JSON for people: fields differ
between versions, and a layer may be a bare name. Whatever is missing or unexpected is unknown;
nothing in here fails a build.

Sources: output of TensorRT 8.6.0 on a GPU; NVIDIA's TensorRT Engine Explorer, which comes with
inspector output of 8.x and a table of its formats; NVIDIA's "Migrating from TensorRT 10.x to 11.x:
IEngineInspector".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.backends.tensorrt.log import process_logger
from pytest_trt.backends.tensorrt.product import register_plugins
from pytest_trt.engine.facts import CONVERSION, INTEGER, Layer, precision_of
from pytest_trt.onnx.file import OnnxModel

#: The file next to a plan: `{"device_memory_bytes": int, "engine": ...}`, the latter as written by
#: the inspector, with null for NaN and infinity.
INSPECTOR_NAME = "inspector.json"

#: Strings, which stay unchanged, and what C++ prints for numbers that JSON lacks.
_STRING_OR_NO_NUMBER = re.compile(
    r'"(?:[^"\\]|\\.)*"|-?\b(?:nan|inf|infinity)\b(?:\(\w*\))?', re.IGNORECASE | re.DOTALL
)


#: What inspecting an engine may raise.
UNKNOWN = (MemoryError, RuntimeError, TypeError, ValueError)


def write_inspection(trt: Any, plan: Path, *, host_code: bool) -> str | None:
    """Load a plan on the current device, and write the inspector's output next to it.

    Args:
        trt: The vendor module.
        plan: The plan's file.
        host_code: Whether the plan may contain its own runtime, as version-compatible ones do.

    Returns:
        Why nothing was written, or None.
    """
    try:
        register_plugins(trt)
        runtime = trt.Runtime(process_logger(trt))
        if host_code:
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(plan.read_bytes())
        if engine is None:
            return "the layers of the engine are unknown: it could not be loaded after its build"
        found = inspected(trt, engine)
    except UNKNOWN as error:
        return f"the layers of the engine are unknown: {type(error).__name__}: {error}"
    if "engine" not in found:
        return "the layers of the engine are unknown: it has no inspector"
    plan.with_name(INSPECTOR_NAME).write_text(json.dumps(found) + "\n", encoding="utf-8")
    return None


def inspected(trt: Any, engine: Any) -> dict[str, Any]:
    """Return what the inspector of a loaded engine writes, see `INSPECTOR_NAME`.

    Raises:
        MemoryError, RuntimeError, TypeError, ValueError: It cannot be inspected.
    """
    found = {"device_memory_bytes": _device_memory_bytes(engine)}
    inspector = engine.create_engine_inspector()
    if inspector is not None:
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        found["engine"] = parse_tolerant(text)
    return found


def _device_memory_bytes(engine: Any) -> int:
    """Return the activation memory that a context of this engine needs."""
    size: Any = getattr(engine, "device_memory_size_v2", None)  # from 10.1 on
    if size is None:
        size = getattr(engine, "device_memory_size", None)  # up to 10
    return int(size)


def parse_tolerant(text: str) -> Any:
    """Return a JSON value, with None for each NaN or infinity.

    Raises:
        ValueError: The rest is not JSON either.
    """

    def keep_strings(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else "null"

    # Not strict: names of layers may contain control characters.
    return json.loads(_STRING_OR_NO_NUMBER.sub(keep_strings, text), strict=False)


#: The one word in the name of a tensor's format or a weight's type that is an element type:
#: "Channel major FP16 format where channel % 8 == 0", "Half".
_ELEMENT_WORD = re.compile(
    r"\b(?:(?P<half>half|fp16|float16)|(?P<float>float|fp32|float32|double|fp64)|(?P<int8>int8)"
    r"|(?P<bfloat16>bfloat16|bf16)|(?P<fp8>fp8)|(?P<int4>int4)|(?P<fp4>fp4)"
    r"|(?P<integer>uint8|int16|int32|int64|bool))\b",
    re.IGNORECASE,
)

#: Element types of operands in names of kernels: "..._f16f32_..." and
#: "ampere_h16816gemm_..." half, "..._i8i8_i8i32_..." and "ampere_int8x4_icudnn_..." INT8,
#: "..._f32f32_tf32f32_..." and "ampere_scudnn_..." float. Other names contain none.
_OPERANDS = re.compile(
    r"_(?:(?P<half>f16(?:f16|f32)_|fp16_|h(?:884|1688|16816)[a-z])"
    r"|(?P<int8>i8(?:i8|f16|f32)_|int8)"
    r"|(?P<float>f32f32_|s(?:gemm|cudnn)_))"
)

#: Kinds of layers that compute nothing, in small letters.
_CONVERSIONS = frozenset({"constant", "noop", "reformat", "shape_call", "signal", "wait"})

#: Names of layers that compute nothing: kernels that only cast, and meetings of streams.
_CONVERSION_NAME = re.compile(r"^__myl_(?:Cast)+_|^\[trainStation")

#: What stands between the names of nodes that were fused, or put side by side, into a layer.
_BETWEEN_NODES = re.compile(r" \+ | \|\| |, ")

#: Parts of names that are not of the model: TensorRT's own layers, copies and kernels.
_NOT_OF_THE_MODEL = re.compile(
    r"^\(Unnamed Layer\*|^ONNXTRT_|^Reformatting CopyNode |^\[trainStation|^__my|_myl\d+_\d+$"
)

_ONNX_LAYER = "[ONNX Layer: "

#: What stands between the nodes of a fused layer in its metadata. Source: TensorRT 8.6.0 writes the
#: record separator, Engine Explorer's samples have the unit separator.
_SEPARATORS = "\x1e\x1f"


@dataclass(frozen=True, slots=True)
class Inspection:
    """The inspector's facts of a plan.

    Attributes:
        layers: The layers, or None if it reported none.
        hidden_weights: About how many of the model's weights the layers do not account for.
        device_memory_bytes: Scratch memory of one execution context.
    """

    layers: tuple[Layer, ...] | None = None
    hidden_weights: int = 0
    device_memory_bytes: int | None = None


def take_inspection(folder: Path, model: OnnxModel) -> Inspection:
    """Return the facts of the plan in a folder, and remove their file."""
    file = folder / INSPECTOR_NAME
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Inspection()
    file.unlink()
    return inspection_of(found, model)


def inspection_of(found: Mapping[str, Any], model: OnnxModel) -> Inspection:
    """Return the facts in what `inspected` returned."""
    memory_bytes, layers = found.get("device_memory_bytes"), inspected_layers(found.get("engine"))
    reported = sum(
        count
        for layer in layers or ()
        for precision, count in layer.weights.items()
        if precision != INTEGER
    )
    weights = sum(
        count
        for element, count in model.elements.items()
        if precision_of(element) not in (INTEGER, None)
    )
    return Inspection(layers, max(0, weights - reported), memory_bytes)


def inspected_layers(information: object) -> tuple[Layer, ...] | None:
    """Return the layers in the inspector's output, or None if it has none.

    Args:
        information: The parsed JSON of TensorRT 8.6 to 11.
    """
    entries = information.get("Layers") if isinstance(information, dict) else None
    if not isinstance(entries, list) or not entries:
        return None
    return tuple(_layer(entry if isinstance(entry, dict) else {"Name": entry}) for entry in entries)


def _layer(entry: Mapping[str, Any]) -> Layer:
    name, kind = str(entry.get("Name", "")), str(entry.get("LayerType", ""))
    weights: Counter[str] = Counter()
    for value in entry.values():
        # Weights, bias, and the shift, scale and power of a Scale layer.
        if isinstance(value, dict) and isinstance(value.get("Count"), int):
            weights[_element(value.get("Type")) or INTEGER] += value["Count"]
    weights = +weights
    return Layer(
        name=name,
        kind=kind,
        precision=_precision(entry, name, kind, weights),
        origins=_origins(name, str(entry.get("Metadata", ""))),
        weights=dict(weights),
    )


def _precision(entry: Mapping[str, Any], name: str, kind: str, weights: Counter[str]) -> str | None:
    """Return the precision that a layer computes in: of its operands, or else of its outputs."""
    if kind.lower() in _CONVERSIONS or _CONVERSION_NAME.search(name):
        return CONVERSION
    floating = [precision for precision, _ in weights.most_common() if precision != INTEGER]
    if floating:
        return floating[0]
    operands = _OPERANDS.search(str(entry.get("TacticName", "")))
    if operands is not None:
        return operands.lastgroup
    outputs, inputs = _elements(entry.get("Outputs")), _elements(entry.get("Inputs"))
    if kind == "Myelin":
        return _seen_through([*outputs, *inputs])
    return _first_that_computes(outputs) or _first_that_computes(inputs)


def _seen_through(elements: Sequence[str | None]) -> str | None:
    """Return the precision of a layer that is opaque but for what goes in and out of it.

    A model's FP32 inputs and outputs stay that in FP16 engines, so float at the border says
    nothing, while anything narrower was made inside.
    """
    narrow = [element for element in elements if element not in ("float", INTEGER, None)]
    if narrow:
        return narrow[0]
    return INTEGER if elements and set(elements) == {INTEGER} else None


def _first_that_computes(elements: Sequence[str | None]) -> str | None:
    floating = [element for element in elements if element not in (INTEGER, None)]
    if floating:
        return floating[0]
    return INTEGER if elements and None not in elements else None


def _elements(tensors: object) -> list[str | None]:
    """Return the precisions of a layer's tensors; None for each of unknown type."""
    found = []
    for tensor in tensors if isinstance(tensors, list) else ():
        fields = tensor if isinstance(tensor, dict) else {}
        # One field up to TensorRT 10; from 11 on the format has a field of its own.
        keys = ("Format/Datatype", "DataType", "Datatype")
        found.append(_element(next((fields[key] for key in keys if key in fields), None)))
    return found


def _element(text: object) -> str | None:
    word = _ELEMENT_WORD.search(str(text))
    return word.lastgroup if word else None


def _origins(name: str, metadata: str) -> tuple[str, ...]:
    """Return the model's nodes in a layer: from its metadata, else out of its name."""
    if nodes := onnx_nodes(metadata):
        return nodes
    if _NOT_OF_THE_MODEL.search(name) or name.endswith(" copy"):
        return ()
    if name.startswith("{ForeignNode["):
        # Only the first and the last node are named: "first...last".
        return (name.removeprefix("{ForeignNode[").removesuffix("]}"),)
    parts = _BETWEEN_NODES.split(name.replace("PWN(", ""))
    return _distinct(
        bare for bare in map(_unwrapped, parts) if bare and not _NOT_OF_THE_MODEL.search(bare)
    )


def onnx_nodes(metadata: str) -> tuple[str, ...]:
    """Return the model's nodes that the metadata of a layer name."""
    parts = metadata.split(_ONNX_LAYER)[1:]
    return _distinct(part.rstrip(_SEPARATORS).removesuffix("]") for part in parts)


def _unwrapped(part: str) -> str:
    """Remove the brackets that closed a PWN(...) around a name."""
    while part.endswith(")") and part.count(")") > part.count("("):
        part = part[:-1]
    return part


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
