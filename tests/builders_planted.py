"""Models with a planted fault: what an exporter, a conversion or a range may do to one layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from builders_networks import model as network_of
from builders_networks import value
from builders_networks import weights as seeded
from onnx import ModelProto, NodeProto, helper, numpy_helper

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Backend, BuildRequest, Plan
from pytest_trt.engine.spec import EngineSpec, OptionValue
from pytest_trt.onnx.file import load_model
from pytest_trt.precision.localize import LIMITS, Case
from pytest_trt.precision.observe import EngineAgain, ModelAgain, run_plan
from pytest_trt.tensors.profiles import parse_profiles

#: Faults that make another model, which the engine computes.
OTHER_MODEL = ("weights", "scale", "axes", "channel")

#: Faults of a model that FP32 computes as if there were none, and FP16 does not.
OF_FLOAT16 = ("overflow", "underflow")

KINDS = OTHER_MODEL + OF_FLOAT16

#: Inputs of weights, by operator; their first axis has the outputs, except for a MatMul.
_WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "LSTM": 1}


def network(channels: int = 6, side: int = 8) -> ModelProto:
    """Three convolutions with activations, a sum that skips one, and a classifier.

    Args:
        channels: Channels of the convolutions.
        side: Height and width of the images: x [n, 3, side, side] -> scores [n, 4].
    """
    weights = partial(seeded, scale=0.3 * math.sqrt(6 / channels))
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="conv1", pads=[1] * 4),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1] * 4),
        node("Relu", ["c2"], ["r2"], name="relu2"),
        node("Add", ["r1", "r2"], ["sum"], name="skip"),
        node("Conv", ["sum", "w3"], ["c3"], name="conv3", pads=[1] * 4),
        node("GlobalAveragePool", ["c3"], ["pooled"], name="pool"),
        node("Flatten", ["pooled"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "w4"], ["scores"], name="head"),
    ]
    stored = [
        weights("w1", channels, 3, 3, 3),
        weights("w2", channels, channels, 3, 3),
        weights("w3", channels, channels, 3, 3),
        weights("w4", channels, 4),
    ]
    inputs, outputs = [value("x", ["n", 3, side, side])], [value("scores", ["n", 4])]
    return network_of(nodes, inputs, outputs, stored)


def plant(
    model: ModelProto, kind: str, *, seed: int = 0, stored: bool = False
) -> tuple[ModelProto, str]:
    """Return a model with a fault in one layer, and the name of its node.

    Args:
        model: A model with its weights in initialisers.
        kind: One of `KINDS`.
        seed: Chooses the layer.
        stored: Whether values beyond float16 are to be in memory: builders may compute a chain of
            products as one, and round once, so a product with the identity, of matrices or by a 3x3
            convolution, stands in its middle; a builder has little reason to leave it in FP32.
    """
    faulty = ModelProto()
    faulty.CopyFrom(model)
    rng = np.random.default_rng([seed, *kind.encode()])
    if kind in OF_FLOAT16:
        return faulty, _beyond_float16(faulty, kind, rng, stored=stored)
    change = {"weights": _noise, "scale": _scaled, "axes": _swapped, "channel": _one_channel}[kind]
    return faulty, _change_weights(faulty, change, rng)


def _noise(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return weights + rng.standard_normal(weights.shape) * 0.3 * weights.std()


def _scaled(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return weights * 1.5


def _swapped(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    for one, other in ((-1, -2), (0, 1)):
        if weights.shape[one] == weights.shape[other] > 1:
            return np.ascontiguousarray(weights.swapaxes(one, other))
    return None


def _one_channel(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    weights = weights.copy()
    axis = 1 if weights.ndim in (2, 3) else 0
    channel = int(rng.integers(weights.shape[axis]))
    index = [slice(None)] * weights.ndim
    index[axis] = channel
    weights[tuple(index)] *= 4.0
    return weights


def _change_weights(
    model: ModelProto,
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray | None],
    rng: np.random.Generator,
) -> str:
    stored = {one.name: one for one in model.graph.initializer}
    nodes = [
        node
        for node in model.graph.node
        if node.op_type in _WEIGHTED and node.input[_WEIGHTED[node.op_type]] in stored
    ]
    for node in _shuffled(nodes, rng):
        tensor = stored[node.input[_WEIGHTED[node.op_type]]]
        changed = change(numpy_helper.to_array(tensor), rng)
        if changed is not None:
            # Other nodes may read the same weights.
            name = f"{tensor.name}__planted"
            model.graph.initializer.append(
                numpy_helper.from_array(changed.astype(np.float32), name)
            )
            node.input[_WEIGHTED[node.op_type]] = name
            return node.name or node.output[0]
    raise ValueError("no layer has such weights")


#: Factors of a chain of products that end where they began, and the one whose result float16 does
#: not hold. Each factor is a float16 itself; activations of a trained network are about 1.
_CHAINS = {
    "overflow": ((2.0**8, 2.0**15, 2.0**-14, 2.0**-9), 1),
    "underflow": ((2.0**-13, 2.0**-14, 2.0**14, 2.0**13), 1),
}


def _beyond_float16(model: ModelProto, kind: str, rng: np.random.Generator, *, stored: bool) -> str:
    """Scale a tensor beyond what float16 holds, and back; return the node that does."""
    nodes = [node for node in model.graph.node if _follows_weights(model, node)]
    node = next(_shuffled(nodes, rng))
    name, (factors, beyond) = node.output[0], _CHAINS[kind]
    place = next(index for index, one in enumerate(model.graph.node) if one is node) + 1
    tensor = node.output[0] = f"{name}__before"
    for number, factor in enumerate(factors):
        constant = numpy_helper.from_array(np.float32(factor), f"{name}__factor_{number}")
        model.graph.initializer.append(constant)
        output = name if number == len(factors) - 1 else f"{name}__planted_{number}"
        made = helper.make_node(
            "Mul", [tensor, constant.name], [output], name=f"{name}/planted_{number}"
        )
        model.graph.node.insert(place, made)
        place, tensor = place + 1, output
        if stored and number == beyond:
            model.graph.node.insert(place, _identity(model, name, tensor))
            place, tensor = place + 1, f"{name}__stored"
    return f"{name}/planted_{beyond}"


def _identity(model: ModelProto, name: str, tensor: str) -> NodeProto:
    """Return a product with the identity, whose operands builders store."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {one.name: one.type.tensor_type.shape.dim for one in inferred.value_info}
    sizes = shapes[f"{name}__before"]
    is_image = len(sizes) == 4
    size = sizes[1 if is_image else -1].dim_value
    values = np.eye(size, dtype=np.float32)
    if is_image:
        values = np.pad(values[..., None, None], [(0, 0), (0, 0), (1, 1), (1, 1)])
    model.graph.initializer.append(numpy_helper.from_array(values, f"{name}__identity"))
    return helper.make_node(
        "Conv" if is_image else "MatMul",
        [tensor, f"{name}__identity"],
        [f"{name}__stored"],
        name=f"{name}/stored",
        **({"pads": [1] * 4} if is_image else {}),
    )


def planted_group(model: ModelProto, faulty: ModelProto, layer: str) -> frozenset[str]:
    """Return the nodes that are one fault: the one that `plant` returned, and those it added."""
    own = {node.name for node in model.graph.node}
    return frozenset((layer, *(n.name for n in faulty.graph.node if n.name not in own)))


def _follows_weights(model: ModelProto, node: NodeProto) -> bool:
    """Whether it computes activations: in some models, others compute shapes."""
    weighted = {n.output[0] for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Gemm")}
    return node.op_type == "Conv" or any(name in weighted for name in node.input)


def _shuffled(nodes: Sequence[NodeProto], rng: np.random.Generator) -> Iterator[NodeProto]:
    # From the middle half: a fault in the last layer would be too easy to find.
    quarter = math.floor(len(nodes) / 4)
    middle = list(nodes[quarter : len(nodes) - quarter]) or list(nodes)
    rng.shuffle(middle)
    yield from middle
    yield from nodes


def case_of_models(
    right: ModelProto, faulty: ModelProto, inputs: Mapping[str, np.ndarray], folder: Path
) -> Case:
    """Return the comparison of a faulty model, as the engine, with the right one."""
    onnx.save(right, folder / "right.onnx")
    onnx.save(faulty, folder / "faulty.onnx")
    reference, tested = load_model(folder / "right.onnx"), load_model(folder / "faulty.onnx")
    backend = OnnxRuntimeBackend()
    return Case(
        reference,
        tested.path,
        inputs,
        backend.reference(tested).run(inputs),
        backend.reference(reference).run(inputs),
        ModelAgain(tested, inputs),
    )


def case_of_engine(
    model: ModelProto,
    inputs: Mapping[str, np.ndarray],
    folder: Path,
    precision: str = "fp16",
    *,
    backend: Backend | None = None,
    arch: str = "cpu",
    right: ModelProto | None = None,
    options: Mapping[str, OptionValue] = MappingProxyType({}),
) -> Case:
    """Return the comparison of an engine with a model in FP32.

    Args:
        model: What the engine is built from.
        inputs: Its inputs.
        folder: An empty folder.
        precision: Its precision.
        backend: What builds it; ONNX Runtime by default.
        arch: What it is built for.
        right: The model to compare with; by default its own.
        options: Builder options.
    """
    embedded = OnnxRuntimeBackend()
    backend, samples = backend or embedded, (inputs,)
    onnx.save(model, folder / "model.onnx")
    loaded = reference = load_model(folder / "model.onnx")
    if right is not None:
        onnx.save(right, folder / "right.onnx")
        reference = load_model(folder / "right.onnx")
    # One shape, so that no dimension is dynamic in the engine.
    ranges = {one.name: (inputs[one.name].shape,) * 3 for one in loaded.inputs if one.is_dynamic}
    spec = EngineSpec(precision, parse_profiles(ranges, loaded.inputs, where="test"), options)
    engine = build_or_load(
        model=loaded,
        spec=spec,
        target=backend.target(arch),
        backend=backend,
        cache=EngineCache(folder / "cache"),
        calibration=lambda: samples,
    )
    request = BuildRequest(loaded, spec, engine.target, engine.plan.parent)
    return Case(
        reference,
        loaded.path,
        inputs,
        run_plan(backend, request, Plan(engine.plan), inputs),
        embedded.reference(reference).run(inputs),
        EngineAgain(engine, backend, inputs, lambda: samples),
        LIMITS.get(precision, LIMITS["fp32"]),
        fuses=precision == "int8" or arch != "cpu",
    )
