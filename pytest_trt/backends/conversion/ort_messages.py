"""What ONNX Runtime says when it fails, in a line that a user can read, and what to do about it.

Its exceptions carry a code and a text, and all failures while running share few codes, so the
texts decide. Those matched here are those of ONNX Runtime 1.32; others get neutral advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import git_restore_hint
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.tensors.value_ranges import example_values, may_hold_shape

#: ONNX Runtime's log level "fatal". What it logs as errors it raises as well, and its log goes
#: past Python to stderr, in colour.
SEVERITY_FATAL = 4

#: What ONNX Runtime logs unless told otherwise: warnings.
#: Source: ONNX Runtime API documentation, `set_default_logger_severity`.
SEVERITY_DEFAULT = 2

#: The file that it loads is a conversion in a temporary folder more often than the user's own.
_LOADED_FILE = re.compile(r"Load model from .*? failed:\s*", re.DOTALL)

_UNKNOWN_OPERATOR = ("not a registered", "no op registered", "not_implemented")

#: Where those texts have the operator's name, and the node's.
_OPERATOR_NAME = re.compile(
    r"No Op registered for (\S+)|(\S+?)\(-?\d+\) is not a registered|implementation for (\S+?)\("
)
_NODE_NAME = re.compile(r"In Node, \(\"([^\"]+)\"|node with name '([^']+)'|Name: (\S+) OpType:")

_INDICES = (
    "out of data bounds",
    "out of range value in index",
    "invalid index found",
    "invalid indices",
    "index out of bounds",
)

#: An input with more values than this holds no shape that TensorRT takes (`Dims.MAX_DIMS`).
_MOST_DIMENSIONS = 8

_SHAPES = ("dimension", "shape", "rank for input", "broadcast")


def first_line(error: BaseException) -> str:
    """Return what went wrong without the path of the file that was being loaded."""
    lines = without_path(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def without_path(text: str) -> str:
    """Return a text of ONNX Runtime without the path of the file that was being loaded."""
    return _LOADED_FILE.sub("", text)


def names_unknown_operator(text: str) -> bool:
    """Whether ONNX Runtime, or onnx, refused a model because of an operator."""
    lowered = text.lower()
    return any(words in lowered for words in _UNKNOWN_OPERATOR)


def refusal(name: str, text: str, otherwise: str) -> str:
    """Return why a model is refused, the fact first; an operator that is not known goes by name.

    Args:
        name: The model's file name.
        text: What ONNX Runtime, or onnx, said.
        otherwise: What to say where the cause is another one.
    """
    if not names_unknown_operator(text):
        return otherwise
    operator, node = (_first_group(form.search(text)) for form in (_OPERATOR_NAME, _NODE_NAME))
    said = without_path(text).strip().partition("\n")[0]
    if not operator:
        return f"{name} has an operator that ONNX Runtime does not know\n  {said}"
    # Its name first: short summaries are cut.
    where = f"{name}, node {node!r}" if node else name
    return f"{operator} is no operator that ONNX Runtime knows ({where})\n  {said}"


def _first_group(found: re.Match[str] | None) -> str:
    return next(filter(None, found.groups()), "") if found else ""


def build_fix(text: str, model: Path, precision: str = "fp32") -> str:
    """Return what to do about a model that ONNX Runtime refused.

    Args:
        text: What it said.
        model: The model's file.
        precision: What the model was to be built for.
    """
    lowered = text.lower()
    if names_unknown_operator(text):
        return _operator_fix(_first_group(_OPERATOR_NAME.search(text)), model, precision)
    if "no space left" in lowered:
        return "free space on the cache's disk, or put the cache elsewhere with --trt-cache-dir."
    if "opset" in lowered or "ir version" in lowered or "ir_version" in lowered:
        return "pip install --upgrade onnxruntime, or export the model with an older opset."
    return "check the file with `check-model`, which comes with onnx, and export it anew."


def _operator_fix(operator: str, model: Path, precision: str) -> str:
    since = _first_opset(operator)
    if since is not None:
        return (
            f"ONNX has {operator} since opset {since}: export the model with that opset or another "
            "one that has it, or pip install --upgrade onnxruntime, which computes it for more "
            "opsets and types."
        )
    what = operator or "that operator"
    quantised = ""
    if precision == "int8":
        quantised = (
            "; there int8 needs a model that is quantised already (Q/DQ nodes), as ONNX Runtime "
            "would have to run this one to calibrate it"
        )
    return (
        f"no opset of ONNX has {what}: bring back the model that did without it "
        f"({git_restore_hint(model)}), or export it with operators of the standard. "
        "If it is a TensorRT plugin of yours, test "
        f"on a GPU{quantised}: pytest --trt-backend tensorrt"
    )


def _first_opset(operator: str) -> int | None:
    """Return the first opset that has an operator; None where the installed onnx knows none."""
    import onnx.defs

    versions = [
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == operator and schema.domain == ""
    ]
    return min(versions, default=None)


def run_fix(text: str, inputs: Tensors, names: Iterable[str]) -> str:
    """Return what to do about a run that failed.

    Args:
        text: What ONNX Runtime said.
        inputs: What it was fed.
        names: The inputs that it has.
    """
    lowered = text.lower()
    if any(words in lowered for words in _INDICES):
        return _by_value("an index lies outside the table that it looks up", inputs)
    if "required inputs" in lowered or "input name" in lowered:
        return f"feed exactly the inputs {', '.join(map(repr, names))}."
    if "input data type" in lowered:
        return "feed arrays of the types that the model takes: array.astype(...)."
    if "allocate memory" in lowered or "bad_alloc" in lowered:
        return "feed a smaller batch, or free memory on this machine."
    if "running if node" in lowered:
        return _by_value("the inputs led into a branch of the model that does not fit them", inputs)
    if any(words in lowered for words in _SHAPES):
        return (
            "check the shapes of the inputs against each other and against what the model was "
            "exported for: the operator named cannot combine what it gets from them."
            f"{_by_profile(inputs)}"
        )
    return (
        "run the model on the same inputs as trt_reference: if that fails too, the model does not "
        "take them; else the engine's precision or optimisation is the cause."
    )


def _by_value(cause: str, inputs: Tensors) -> str:
    """Return what to do about values, of which integers are the ones that choose something."""
    held = [
        f"{name!r} ({_extent(array)})"
        for name, array in inputs.items()
        if isinstance(array, np.ndarray) and array.dtype.kind in "iu" and array.size
    ]
    if not held:
        return f"{cause}: feed real data, whose values the model was made for."
    return (
        f"{cause}. Look at the values of {', '.join(held)}: for seeded inputs give the valid ones "
        'with trt_model(input_ranges={"<input>": (low, high)}), or feed real data.'
    )


def _by_profile(inputs: Tensors) -> str:
    """Return what to do if values are a shape: without a range of them, seeded ones are 0 and 1."""
    specs = [
        TensorSpec(name, array.dtype.name, array.shape)
        for name, array in inputs.items()
        if isinstance(array, np.ndarray) and array.size <= _MOST_DIMENSIONS
    ]
    ranges = [f'"{spec.name}": {example_values(spec)}' for spec in specs if may_hold_shape(spec)]
    if not ranges:
        return ""
    return f" Where values are a shape, give their range: profiles={{..., {', '.join(ranges)}}}."


def _extent(array: npt.NDArray[np.generic]) -> str:
    low, high = array.min(), array.max()
    return f"{low}" if low == high else f"{low} to {high}"
