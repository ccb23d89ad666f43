"""Messages of ONNX Runtime and onnx: the facts in them, and remedies.

ONNX Runtime's exceptions carry a code and a text, and all failures at run time share a few codes,
so the texts decide. The patterns match ONNX Runtime 1.32; other texts get neutral advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.ort_module import load_onnxruntime, onnxruntime_version
from pytest_trt.diagnostics import EngineBuildError, Fact, Remedy, git_restore_hint
from pytest_trt.extras import upgrade_onnxruntime
from pytest_trt.tensors.elements import TENSORRT_TYPES, element_name
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.tensors.value_ranges import example_values, may_hold_shape
from pytest_trt.workers.memory import available_bytes

if TYPE_CHECKING:
    import onnx

#: ONNX Runtime's log level "fatal". Whatever it logs as an error it also raises, and its log goes
#: straight to stderr, in colour.
SEVERITY_FATAL = 4

#: ONNX Runtime's default log level, warnings.
#: Source: ONNX Runtime API documentation, `set_default_logger_severity`.
SEVERITY_DEFAULT = 2

#: The loaded file is usually a conversion in a temporary folder rather than the user's model.
_LOADED_FILE = re.compile(r"Load model from .*? failed:\s*", re.DOTALL)

#: A place in ONNX Runtime's source, with the signature of a function.
_SOURCE_PLACE = re.compile(r"/onnxruntime_src/\S+:\d+ .*?\) (?:const )?(?=\w)")

#: An opset that is newer than this ONNX Runtime.
_NEW_OPSET = re.compile(r"Opset (\d+) is under development")

#: A name that two values have.
_TWICE = re.compile(r"Duplicate definition of name \((.+?)\)")

_CHECK = Remedy("check the file with `check-model`, which comes with onnx, and export it again.")

#: An operator that is unknown, and its name.
_UNKNOWN_OPERATOR = re.compile(
    r"No Op registered for (\S+)|(?:Fatal error: )?(\S+?)\(-?\d+\) is not a registered"
)

#: An operator without a kernel: its name and the version of the operator.
_NO_KERNEL = re.compile(
    r"Could not find an implementation for (\S+?)\((\d+)\)"
    r"|Failed to find kernel for (\S+?)\((\d+)\)"
)
_NODE_NAME = re.compile(
    r"In Node, \(\"([^\"]+)\"|node with name '([^']+)'|\(node:'([^']+)'|Name: (\S+) OpType:"
)

#: Where types do not fit: the operator, or the node.
_MIXED_OPERATOR = re.compile(r"(?:Optype|operator) \((\w+)\)")
_MIXED_NODE = re.compile(r"(?:of|in) node \(([^)\s]+)\)")

#: An element type for which ONNX Runtime makes no tensors.
_NO_TYPE = re.compile(r"MLDataType for: (?:tensor\()?(\w+)\)? is not currently registered")

#: The size of an allocation that failed.
_ASKED_BYTES = re.compile(r"requested buffer of size (\d+)")

#: The newest opset that a message names.
_NEWEST_OPSET = re.compile(r"support for domain ai\.onnx is till opset (\d+)")

#: The newest version of the file format.
_NEWEST_IR = re.compile(r"max supported IR version: (\d+)")

#: The node that was running.
_RUNNING = re.compile(r"while running (\S+) node\. Name:'([^']*)'")

#: The domain of the operators of onnxruntime-extensions.
_EXTENSIONS = "ai.onnx.contrib"

#: Newer opsets that are tried where an old operator has no kernel.
_TRIED_OPSETS = (13, 17, 21)

#: Larger models are not converted for a line of advice.
_TRIED_BYTES = 200_000_000

_INDICES = (
    "is out of range [",
    "out of data bounds",
    "out of range value in index",
    "invalid index found",
    "invalid indices",
    "index out of bounds",
)

#: An input with more values than this holds no shape that TensorRT takes (`Dims.MAX_DIMS`).
_MOST_DIMENSIONS = 8

_SHAPES = ("dimension", "shape", "rank for input", "broadcast")


class Refusal(NamedTuple):
    """Why ONNX Runtime or onnx refused a model, as the parts of a diagnostic.

    Attributes:
        message: The headline, with product and version.
        code: The code of the diagnostic.
        remedy: The remedy.
        facts: The model and the version, and where known operator, opset, node and dtypes.
        log: The first line of the vendor's message.
    """

    message: str
    code: str
    remedy: Remedy
    facts: dict[str, Fact]
    log: str

    def as_error(self, log: Sequence[str] = ()) -> EngineBuildError:
        """Return it as the error of a build, with more of the vendor's message if there is."""
        return EngineBuildError(
            self.message,
            fix=self.remedy,
            code=self.code,
            facts=self.facts,
            log_tail=log or [self.log],
        )


def first_line(error: BaseException) -> str:
    """Return the first line of a message, without the path of the file that was being loaded."""
    return _first_line(str(error)) or type(error).__name__


def _first_line(text: str) -> str:
    return without_path(text).strip().partition("\n")[0]


def mixed_place(text: str) -> tuple[str, str]:
    """Return the operator and the node whose types ONNX Runtime refuses, each empty if unnamed."""
    operator, node = _MIXED_OPERATOR.search(text), _MIXED_NODE.search(text)
    return operator[1] if operator else "", node[1] if node else ""


def without_path(text: str) -> str:
    """Return a text of ONNX Runtime without the path of the loaded file, and without its own."""
    return _SOURCE_PLACE.sub("", _LOADED_FILE.sub("", text))


def refusal(
    text: str,
    model: Path,
    *,
    failed: str,
    code: str = "TRT300",
    remedy: Remedy = _CHECK,
    precision: str = "fp32",
) -> Refusal:
    """Return why a model was refused.

    Args:
        text: The message of ONNX Runtime or onnx.
        model: The model's file.
        failed: The headline of a message that is not recognised.
        code: Its code.
        remedy: Its remedy.
        precision: The precision of the engine.
    """
    version = onnxruntime_version()
    node = _first_group(_NODE_NAME.search(text))
    facts: dict[str, Fact] = {
        "model": str(model),
        "precision": precision,
        "backend": "onnxruntime",
        "version": version,
    }
    where = f"{model.name}, node {node!r}" if node else model.name
    if found := _UNKNOWN_OPERATOR.search(text):
        operator = _first_group(found)
        node = node or _node_with(model, operator)
        where = f"{model.name}, node {node!r}" if node else model.name
        return Refusal(
            # The operator first: short summaries are truncated.
            f"operator {operator} is unknown to ONNX Runtime {version} ({where})",
            "TRT350",
            _unknown_remedy(operator, model, precision),
            {**facts, "operator": operator, "node": node},
            _first_line(text),
        )
    if found := _NO_KERNEL.search(text):
        operator, opset = (group for group in found.groups() if group)
        tensors = _node_tensors(model, operator, node)
        dtypes = list(dict.fromkeys(tensors.values()))
        typed = f" for {', '.join(dtypes)}" if dtypes else ""
        if tensors and not node:
            where = f"{model.name}, the node of {list(tensors)[-1]!r}"
        return Refusal(
            f"operator {operator} (opset {opset}) has no CPU kernel{typed} in ONNX Runtime "
            f"{version} ({where})",
            "TRT351",
            _kernel_remedy(model, operator, dtypes, precision),
            {
                **facts,
                "operator": operator,
                "opset": int(opset),
                "node": node,
                "dtypes": dtypes,
                "tensors": tensors,
            },
            _first_line(text),
        )
    if found := _NO_TYPE.search(text):
        typed_so = [name for name, dtype in _typed_tensors(model).items() if dtype == found[1]]
        of = f"{model.name}, tensor {typed_so[0]!r}" if typed_so else model.name
        return Refusal(
            f"ONNX Runtime {version} does not support the element type {found[1]} ({of})",
            "TRT351",
            Remedy("export the model with another type, such as float32, for these tensors."),
            {**facts, "dtypes": [found[1]], "tensors": dict.fromkeys(typed_so, found[1])},
            _first_line(text),
        )
    if found := _NEW_OPSET.search(text):
        return Refusal(
            f"{model.name} has opset {found[1]}, which ONNX Runtime {version} does not support",
            "TRT352",
            _older_opset(text),
            {**facts, "opset": int(found[1])},
            _first_line(text),
        )
    if found := _TWICE.search(text):
        from pytest_trt.onnx.graph import OTHER_NAME

        return Refusal(
            f"{model.name} has two values named {found[1]!r}",
            "TRT208",
            Remedy(OTHER_NAME),
            {**facts, "tensor": found[1]},
            _first_line(text),
        )
    if "allocate memory" in text or "bad_alloc" in text or "bad allocation" in text:
        return Refusal(
            f"ONNX Runtime {version} needs more memory for {model.name} than this machine has",
            "TRT359",
            Remedy(
                f"{_memory_figures(text)}free memory, or build in fewer processes at once "
                "(pytest -n)."
            ),
            facts,
            _first_line(text),
        )
    return Refusal(failed, code, _load_remedy(text) or remedy, facts, _first_line(text))


def _first_group(found: re.Match[str] | None) -> str:
    return next(filter(None, found.groups()), "") if found else ""


def _node_with(path: Path, operator: str) -> str:
    """Return the first node with an operator ("domain:name"), or its output if it has no name."""
    from pytest_trt.onnx.graph import walk_graphs

    model = _loaded(path)
    domain, _, name = operator.rpartition(":")
    found = (
        node.name or next(iter(node.output), "")
        for graph in (walk_graphs(model.graph) if model is not None else ())
        for node in graph.node
        if (node.domain, node.op_type) == (domain, name)
    )
    return next(found, "")


def _has_operator(path: Path, operator: str) -> bool:
    from pytest_trt.onnx.graph import walk_graphs

    model = _loaded(path)
    if model is None:  # nothing shows that it has not
        return True
    parts = (*walk_graphs(model.graph), *model.functions)
    return any(node.op_type == operator for part in parts for node in part.node)


def _node_tensors(path: Path, operator: str, node_name: str) -> dict[str, str]:
    """Return the element types of a node's inputs and outputs by name, as far as they are known.

    None of several nodes without a name, unless all have the same types.
    """
    from pytest_trt.onnx.graph import walk_graphs

    model, types = _loaded(path), _typed_tensors(path)
    found = [
        {name: types[name] for name in (*node.input, *node.output) if name in types}
        for graph in (walk_graphs(model.graph) if model is not None else ())
        for node in graph.node
        if node.op_type == operator and node_name in ("", node.name)
    ]
    alike = len({tuple(one.values()) for one in found}) == 1
    return found[0] if alike else {}


def _loaded(path: Path) -> onnx.ModelProto | None:
    """Return a model without its external data, or None if it cannot be read."""
    import onnx

    with suppress(Exception):
        return onnx.load(path, load_external_data=False)
    return None


def _typed_tensors(path: Path) -> dict[str, str]:
    """Return the element types of a model's tensors by name, as far as they are known."""
    from pytest_trt.backends.conversion.tensor_types import tensor_types

    model = _loaded(path)
    known = {} if model is None else tensor_types(model).known
    return {name: element_name(number) for name, number in known.items() if number}


def _load_remedy(text: str) -> Remedy | None:
    lowered = text.lower()
    if "no space left" in lowered:
        return Remedy(
            "free space on the disk of the cache, or move the cache with --trt-cache-dir."
        )
    if "two nodes with same node name" in lowered:
        return Remedy("give every node a unique name, or none: ONNX Runtime refuses duplicates.")
    if newest := _NEWEST_IR.search(text):
        return Remedy(
            f"save the model with IR version {newest[1]}: model.ir_version = {newest[1]} before "
            "onnx.save.",
            alternatives=(f"a newer ONNX Runtime may support it: {upgrade_onnxruntime()}",),
        )
    if "opset" in lowered:
        return _older_opset(text)
    return None


def _kernel_remedy(path: Path, operator: str, dtypes: list[str], precision: str) -> Remedy:
    newer = f"a newer ONNX Runtime may have one: {upgrade_onnxruntime()}"
    if precision != "fp32" and not _has_operator(path, operator):
        return Remedy(
            f"export the model with an older opset: the conversion to {precision} added this "
            "operator.",
            alternatives=(newer,),
        )
    if {"float32"}.issuperset(dtypes) and dtypes:
        opset = _opset_that_loads(path)
        if opset is not None:
            return Remedy(f"export the model with opset {opset}: it loads if onnx converts it.")
        return Remedy("exporting the model with another opset may help.", alternatives=(newer,))
    gpu = ("TensorRT may have one: pytest --trt-backend tensorrt",)
    return Remedy(
        "export the model with float32 around this operator.",
        alternatives=(newer, *(gpu if TENSORRT_TYPES.issuperset(dtypes) else ())),
    )


def _opset_that_loads(path: Path) -> int | None:
    """Return a newer opset at which ONNX Runtime loads the model, or None if none was found."""
    import onnx.version_converter

    if path.stat().st_size > _TRIED_BYTES:
        return None
    runtime: Any = load_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = SEVERITY_FATAL
    for opset in _TRIED_OPSETS:
        # Any failure of onnx or ONNX Runtime means that this opset does not help.
        with suppress(Exception):
            converted = onnx.version_converter.convert_version(onnx.load(path), opset)
            content = converted.SerializeToString()
            runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            return opset
    return None


def _older_opset(text: str) -> Remedy:
    newest = _NEWEST_OPSET.search(text)
    opset = f"opset {newest[1]} or older" if newest else "an older opset"
    return Remedy(
        f"export the model with {opset}.",
        alternatives=(f"a newer ONNX Runtime may support it: {upgrade_onnxruntime()}",),
    )


def _unknown_remedy(operator: str, model: Path, precision: str) -> Remedy:
    domain, _, name = operator.rpartition(":")
    since = _first_opset(name, domain)
    if since is not None and domain:
        return Remedy(
            f"ONNX has {name} in the domain {domain}, but this build of ONNX Runtime does not: "
            "export the model without it."
        )
    if since is not None:
        return Remedy(
            f"ONNX has {operator} since opset {since}: export the model with that opset or newer.",
            alternatives=(f"a newer ONNX Runtime may be needed: {upgrade_onnxruntime()}",),
        )
    quantised = ""
    if precision == "int8":
        quantised = ", with a model that is quantised already (Q/DQ nodes)"
    others = (
        f"restore an earlier model without it: {git_restore_hint(model)}",
        "if it is a TensorRT plugin, test on a GPU: pytest --trt-backend tensorrt" + quantised,
    )
    if not domain:
        return Remedy(
            f"export the model with operators of the ONNX standard: no opset has {operator}.",
            alternatives=others,
        )
    library, install = "path/to/library.so", ""
    if domain == _EXTENSIONS:
        library, install = "onnxruntime_extensions", " (pip install onnxruntime-extensions)"
    return Remedy(
        f"name the library with the operators of the domain {domain}: "
        f'trt_model(custom_ops=["{library}"]){install}.',
        alternatives=others,
    )


def _first_opset(operator: str, domain: str) -> int | None:
    """Return the first opset with an operator, or None if the installed onnx has none."""
    import onnx.defs

    versions = [
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == operator and schema.domain == domain
    ]
    return min(versions, default=None)


def running_node(text: str) -> tuple[str, str]:
    """Return the operator and the name of the node that was running, each empty if unnamed."""
    found = _RUNNING.search(text)
    return (found[1], found[2]) if found else ("", "")


def run_refusal(text: str, inputs: Tensors, names: Iterable[str]) -> tuple[str, Remedy]:
    """Return the code and the remedy for a failed run."""
    lowered = text.lower()
    if any(words in lowered for words in _INDICES):
        return "TRT229", _value_remedy("an index is outside the table that it looks up", inputs)
    if "required inputs" in lowered or "input name" in lowered:
        return "TRT221", Remedy(f"feed exactly the inputs {', '.join(map(repr, names))}.")
    if "input data type" in lowered:
        return "TRT222", Remedy("feed arrays of the model's dtypes: array.astype(...).")
    if "allocate memory" in lowered or "bad_alloc" in lowered:
        return "TRT342", Remedy(
            f"{_memory_figures(text)}feed a smaller batch, or free memory on this machine."
        )
    if "running if node" in lowered:
        return "TRT229", _value_remedy(
            "the inputs selected an If branch that cannot process them", inputs
        )
    if any(words in lowered for words in _SHAPES):
        hint = _profile_hint(inputs)
        if len(inputs) == 1 and not hint:
            return "TRT229", Remedy(
                "the export may have fixed the size of an axis that the model declares dynamic. "
                "Feed the sizes of the export's example input, or export the model again."
            )
        return "TRT229", Remedy(
            "check the shapes of the inputs against each other: the named operator cannot combine "
            "its inputs.",
            alternatives=hint,
        )
    return "TRT340", Remedy(
        "run trt_reference on the same inputs. If it fails too, the inputs do not fit the model; "
        "if not, the engine's precision or optimisation is the cause."
    )


def _memory_figures(text: str) -> str:
    """Return what ONNX Runtime asked for and what there is, as far as known: "it asked for ..."."""
    asked, left = _ASKED_BYTES.search(text), available_bytes()
    if asked is None or left is None:
        return ""
    return f"it asked for {int(asked[1]):,} bytes, and this machine has {left:,} left: "


def _value_remedy(cause: str, inputs: Tensors) -> Remedy:
    """Return the remedy for invalid values; integers are listed, as they select something."""
    held = {
        name: f"{name!r} ({_extent(array)})"
        for name, array in inputs.items()
        if isinstance(array, np.ndarray) and array.dtype.kind in "iu" and array.size
    }
    if not held:
        return Remedy(f"{cause}: feed real data.")
    return Remedy(
        f"{cause}. Check the values of {', '.join(held.values())}.",
        alternatives=(
            "for random inputs give the valid range on the trt_model marker: "
            f'input_ranges={{"{next(iter(held))}": (low, high)}}',
            "feed real data",
        ),
    )


def _profile_hint(inputs: Tensors) -> tuple[str, ...]:
    """Return how to give values that are a shape: seeded ones are otherwise 0 and 1."""
    specs = [
        TensorSpec(name, array.dtype.name, array.shape)
        for name, array in inputs.items()
        if isinstance(array, np.ndarray) and array.size <= _MOST_DIMENSIONS
    ]
    ranges = [f'"{spec.name}": {example_values(spec)}' for spec in specs if may_hold_shape(spec)]
    if not ranges:
        return ()
    return (f"if values are a shape, give their range: profiles={{..., {', '.join(ranges)}}}",)


def _extent(array: npt.NDArray[np.generic]) -> str:
    low, high = array.min(), array.max()
    return f"{low}" if low == high else f"{low} to {high}"
