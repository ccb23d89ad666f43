"""Tensors inside models, as the child process compares them: see `jobs`."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from pytest_trt.backends.conversion.ort_module import load_onnxruntime
from pytest_trt.backends.observing.branches import resolve
from pytest_trt.backends.observing.causes import cancelled, cause_of
from pytest_trt.backends.observing.graphs import LoadedModel, drop, label, loaded
from pytest_trt.backends.observing.jobs import CarryJob, CompareJob, Source, Tensor
from pytest_trt.backends.observing.tensor_error import TensorError, measured, relative_error
from pytest_trt.backends.onnxruntime import retained
from pytest_trt.backends.onnxruntime.options import session_options
from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.engine.protocols import Progress
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.loading import load
from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.spec import Tensors
from pytest_trt.tensors.stored import read_samples, write_samples

#: Models up to this size are loaded from memory; a message of protobuf ends at 2 GiB.
_IN_MEMORY_BYTES = 1 << 30

#: The share of the error of the outputs with which a layer explains it, and the share of its own
#: error below which others are no longer tried.
_ALL_OF_IT, _COMPARABLE = 0.9, 0.1

#: Floating-point inputs by ONNX Runtime's names of their types.
_TYPES = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
}


def do_list(progress: Progress, source: Mapping[str, Any], tested: str) -> list[Any]:
    """Return the tensors that two models have, as data of `Tensor`."""
    given = from_data(Source, source)
    retained.drop(large=True)
    model = loaded(given.model)
    inner = list(model.inner())
    if Path(tested) != given.model:
        others = {one.tensor for one in loaded(Path(tested)).inner()}
        inner = [one for one in inner if one.tensor in others]
    names = [one.tensor for one in inner]
    progress("finding the sizes of its tensors")
    (inputs,) = read_samples(given.inputs)
    shapes = _run(model.with_shapes(names), inputs, given) if names else {}
    sizes = [4 * math.prod(map(int, shape)) for shape in shapes.values()]
    # A tensor without elements has no values: its readers read what it is computed from.
    cut = frozenset(one.tensor for one, size in zip(inner, sizes, strict=True) if size)
    return [
        to_data(Tensor(one.tensor, size, one.is_fused, tuple(model.segment(one.tensor, cut)[1])))
        for one, size in zip(inner, sizes, strict=True)
        if size
    ]


def do_resolve(progress: Progress, source: Mapping[str, Any], model: str, output: str) -> bool:
    """Write a model with the branches that a run takes in place of what chooses them.

    Returns:
        Whether it has any; nothing is written otherwise.
    """
    given = from_data(Source, source)
    (inputs,) = read_samples(given.inputs)

    def values_of(proto: ModelProto, tensors: Sequence[str]) -> Tensors:
        copy = ModelProto()
        copy.CopyFrom(proto)
        return _run(LoadedModel(copy).part(tensors), inputs, given)

    proto = LoadedModel(load(Path(model))).proto
    found = resolve(proto, values_of)
    if found:
        surgery.save(proto, Path(output))
    return found


def do_instrument(progress: Progress, model: str, tensors: Sequence[str], output: str) -> None:
    """Write a model with further outputs."""
    surgery.save(loaded(Path(model)).with_outputs(tensors), Path(output))


def do_compare(progress: Progress, job: Mapping[str, Any]) -> list[Any]:
    """Do a `CompareJob`, JSON-simple data; return the data of a `TensorError` for each tensor."""
    given = from_data(CompareJob, job)
    source = given.source
    model = loaded(source.model)
    (inputs,) = read_samples(source.inputs)
    (values,) = read_samples(given.values)
    cut = frozenset(given.cut) & values.keys()
    names = [name for name in given.tensors if name in cut]
    progress("running the FP32 model")
    clean = _run(model.part(names), inputs, source)
    fitting = [name for name in names if values[name].shape == clean[name].shape]
    progress("running each layer on the engine's inputs")
    fed = {**inputs, **{name: values[name] for name in cut}}
    own = dict(zip(fitting, _run(model.part(fitting, cut), fed, source).values(), strict=True))
    found = []
    for name in fitting:
        nodes, _ = model.segment(name, cut)
        made = nodes[-1]
        known = TensorError(
            name,
            label(made),
            made.op_type,
            tuple(map(label, nodes)),
            tuple(one.name for one in model.readers.get(name, ()) if one.name),
        )
        one = measured(known, values[name], own[name], clean[name])
        found.append(replace(one, cancelled=cancelled(made, {**clean, **fed}, clean[name])))
    _retain_candidates(given, found, values, own, clean)
    other = loaded(given.tested) if given.tested else None
    return [to_data(replace(one, cause=cause_of(one, model, other, given))) for one in found]


def do_carry(progress: Progress, job: Mapping[str, Any]) -> dict[str, float | str]:
    """Do a `CarryJob`, JSON-simple data; return the error of the outputs by tensor."""
    given = from_data(CarryJob, job)
    source = given.source
    model = loaded(source.model)
    (inputs,) = read_samples(source.inputs)
    outputs = [name for name in model.outputs if name in model.producers]
    reference = _run(model.part(outputs), inputs, source)
    found: dict[str, float | str] = {}
    end_s = time.monotonic() + given.limit_s
    enough = 0.0
    for tensor, suspicion in zip(given.tensors, given.suspicions, strict=True):
        if found and (time.monotonic() > end_s or suspicion < _COMPARABLE * enough):
            break
        progress(f"trying {tensor}")
        (value,) = read_samples(_candidate_file(source, tensor))
        reached = [name for name in outputs if name == tensor or tensor in _upstream(model, name)]
        changed = dict(value) if tensor in outputs else {}
        behind = [name for name in reached if name != tensor]
        if behind:
            changed |= _run(model.part(behind, {tensor}), {**inputs, **value}, source)
        error = max((output_error(changed[name], reference[name]) for name in reached), default=0.0)
        found[tensor] = error if math.isfinite(error) else str(error)
        if error >= _ALL_OF_IT * given.total:
            enough = max(enough, suspicion)
    drop()
    return found


def output_error(actual: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """Return the relative error of an output; infinite for another shape, 0 for no number."""
    if not isinstance(reference, np.ndarray) or reference.dtype.kind not in "fiubV":
        return 0.0
    if actual.shape != reference.shape:
        return math.inf
    return relative_error(actual, reference)


def _upstream(model: LoadedModel, tensor: str) -> frozenset[str]:
    nodes, _ = model.segment(tensor, ())
    return frozenset(name for node in nodes for name in node.output)


def _retain_candidates(
    job: CompareJob, found: Sequence[TensorError], values: Tensors, own: Tensors, clean: Tensors
) -> None:
    """Leave, for `do_carry`, what FP32 computes with the own error of the worst layers alone."""
    for one in sorted(found, key=lambda each: -each.suspicion)[: job.most]:
        name = one.tensor
        with np.errstate(invalid="ignore", over="ignore"):
            made, right = values[name].astype(np.float32), own[name].astype(np.float32)
            # What is not finite in FP32 either is no error of the layer.
            error = np.where(np.isfinite(right), made - right, np.float32(0))
            changed = (clean[name].astype(np.float32) + error).astype(clean[name].dtype)
        write_samples(_candidate_file(job.source, name), [{name: np.asarray(changed)}])


def _candidate_file(source: Source, tensor: str) -> Path:
    # Names of tensors are no names of files.
    return source.folder / f"{hashlib.sha256(tensor.encode()).hexdigest()}.candidate"


def _run(model: ModelProto, inputs: Tensors, source: Source) -> dict[str, npt.NDArray[Any]]:
    """Run a model without optimisations on those of the inputs that it has, in its own types."""
    options = session_options(
        "disabled", threads=source.threads, spins=False, custom_ops=source.custom_ops
    )
    ort = load_onnxruntime()
    with _loadable(model, source.folder) as loadable:
        session = ort.InferenceSession(loadable, options, providers=["CPUExecutionProvider"])
    wanted = {one.name: one.type for one in session.get_inputs()}
    given = {name: _as_type(inputs[name], wanted[name]) for name in wanted}
    return OnnxRuntimeSession(session, subject="the FP32 model").run(given)


def _as_type(value: Any, ort_type: str) -> Any:
    dtype = _TYPES.get(ort_type)
    with np.errstate(over="ignore"):
        return value if dtype is None or value.dtype == dtype else value.astype(dtype)


@contextmanager
def _loadable(model: ModelProto, folder: Path) -> Iterator[bytes | str]:
    """Provide what ONNX Runtime loads a model from: its bytes, or a file."""
    if sum(len(one.raw_data) for one in model.graph.initializer) < _IN_MEMORY_BYTES:
        yield model.SerializeToString()
        return
    path = folder / "part.onnx"
    surgery.save(model, path)
    yield str(path)
    for part in folder.glob(f"{path.name}*"):
        part.unlink()
