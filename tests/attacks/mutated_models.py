"""Mutated models, through load, build, run and reference: each is one answer, and nothing is left.

    python tests/attacks/mutated_models.py [--models 10000] [--seed 0]

A runner stands for pytest's process: it reads a model, builds it, loads the engine and the
reference, and runs both on seeded inputs, under short time limits. The mutations are of bytes
(bits, cuts, copies) and of graphs (operators, connections, types, dimensions, attributes).

Counted is how each model ended: "passed" (built and run), "refused" with a code, "traceback" (an
exception that is no `PytestTrtError`), "hung" (the runner did not answer in time), and "crashed"
(the runner itself ended: a crash of ONNX Runtime in a run, which happens in pytest's own process).
What ended the child process is a refusal with one of the codes TRT301 to TRT304. It exits with 1
if there are tracebacks, hangs, or leftovers: files in the folder of the plans, or processes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS.parent)]

import builders_networks as networks  # noqa: E402
from builders_harmful import endless_loop, function_bomb  # noqa: E402

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend  # noqa: E402
from pytest_trt.diagnostics import PytestTrtError  # noqa: E402
from pytest_trt.engine.protocols import BuildRequest, Plan  # noqa: E402
from pytest_trt.engine.spec import EngineSpec, Target  # noqa: E402
from pytest_trt.onnx.file import load_model  # noqa: E402
from pytest_trt.tensors.elements import element_count  # noqa: E402
from pytest_trt.tensors.profile_choice import shapes_at  # noqa: E402
from pytest_trt.tensors.seeded import seeded_inputs  # noqa: E402
from pytest_trt.workers.process import Worker  # noqa: E402

#: Limits of one build and one run, and of all that is done with one model.
_BUILD_S, _RUN_S, _MODEL_S = 5.0, 2.0, 60.0

#: Elements of inputs that are drawn.
_MOST_ELEMENTS = 10_000_000

#: Models that one runner is given.
_BATCH = 50

_CPU = Target("cpu")

#: Numbers that code forgets.
_ODD = (0, 1, -1, 2, 7, 255, 2**31 - 1, -(2**31), 2**31, 2**62, -(2**63), 2**63 - 1)

_OPERATORS = sorted({one.name for one in onnx.defs.get_all_schemas() if not one.domain})

Mutation = Callable[[random.Random, ModelProto], None]


def _sources(folder: Path) -> list[bytes]:
    """Return the models that are mutated: convolutions, attention, loops, functions, shapes."""
    import builders_types as types

    protos = [
        networks.conv_net(batch=2, channels=4),
        networks.encoder(batch=2, length=3),
        _sized(),
        types.block_quantised(),
        types.complement("int8", [2, 3]),
    ]
    files = [
        endless_loop(folder / "loop.onnx", trips=3),
        function_bomb(folder / "functions.onnx", levels=3, calls=3),
    ]
    return [
        *(proto.SerializeToString() for proto in protos),
        *(path.read_bytes() for path in files),
    ]


def _sized() -> ModelProto:
    """Return x [2, 4] -> y: values that are sizes, positions and axes, all of them constants."""
    node, constant = helper.make_node, networks.constant
    nodes = [
        node("Reshape", ["x", "sizes"], ["a"]),
        node("Slice", ["a", "start", "end", "axis"], ["b"]),
        node("Tile", ["b", "times"], ["c"]),
        node("Gather", ["c", "index"], ["d"], axis=0),
        node("Div", ["index", "divisor"], ["e"]),
        node("Cast", ["e"], ["f"], to=TensorProto.FLOAT),
        node("Add", ["d", "f"], ["y"]),
    ]
    numbers = {"sizes": [4, 2], "start": [0], "end": [2], "axis": [0], "times": [2, 1]}
    numbers |= {"index": [1, 3], "divisor": [2]}
    constants = [constant(name, np.array(values), "int64") for name, values in numbers.items()]
    inputs, outputs = [networks.value("x", [2, 4])], [networks.value("y", [2, 2])]
    return networks.model(nodes, inputs, outputs, constants)


def mutated(source: bytes, rng: random.Random) -> bytes:
    """Return a model with one or two mutations, of its bytes or of its graph."""
    if rng.random() < 0.2:
        return _mutated_bytes(bytearray(source), rng)
    model = onnx.load_from_string(source)
    for _ in range(rng.randint(1, 2)):
        try:
            rng.choice(_MUTATIONS)(rng, model)
        except (ValueError, IndexError, TypeError):  # nothing of that kind, or no such value
            continue
    return bytes(model.SerializeToString())


def _mutated_bytes(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                end = at + rng.randrange(1, 32)
                data[at:at] = data[at:end]
            case 3 if len(data) > 40:
                del data[at : at + rng.randrange(1, 16)]
    return bytes(data)


def _graphs(model: ModelProto) -> Iterator[Any]:
    def within(graph: Any) -> Iterator[Any]:
        yield graph
        for one in graph.node:
            for attribute in one.attribute:
                if attribute.HasField("g"):
                    yield from within(attribute.g)

    yield from within(model.graph)
    yield from model.functions


def _node(rng: random.Random, model: ModelProto) -> NodeProto:
    return rng.choice(list(rng.choice(list(_graphs(model))).node))


def _operator(rng: random.Random, model: ModelProto) -> None:
    _node(rng, model).op_type = rng.choice(
        sorted({one.name for one in onnx.defs.get_all_schemas()})
    )


def _connection(rng: random.Random, model: ModelProto) -> None:
    graph = rng.choice(list(_graphs(model)))
    names = [name for one in graph.node for name in (*one.input, *one.output)]
    node = rng.choice(list(graph.node))
    side = rng.choice((node.input, node.output))
    side[rng.randrange(len(side))] = rng.choice([*names, "", "nothing"])


def _dropped(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    side = rng.choice((node.input, node.output, node.attribute))
    del side[rng.randrange(len(side))]


def _copied(rng: random.Random, model: ModelProto) -> None:
    graph = rng.choice(list(_graphs(model)))
    graph.node.add().CopyFrom(rng.choice(list(graph.node)))


def _attribute(rng: random.Random, model: ModelProto) -> None:
    attribute = rng.choice(list(_node(rng, model).attribute))
    attribute.i = rng.choice(_ODD)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_ODD)
    attribute.f = rng.choice((0.0, float("nan"), float("inf"), -1e38))


def _weight(rng: random.Random, model: ModelProto) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    match rng.randrange(4):
        case 0:
            tensor.data_type = rng.randrange(30)
        case 1:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_ODD)
        case 2:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]
        case _ if tensor.data_type == TensorProto.INT64:
            odd = np.full(list(tensor.dims), rng.choice(_ODD), np.int64)
            tensor.CopyFrom(numpy_helper.from_array(odd, tensor.name))


def _interface(rng: random.Random, model: ModelProto) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output])
    kind = value.type.tensor_type
    if rng.random() < 0.3:
        kind.elem_type = rng.randrange(30)
    elif rng.random() < 0.5:
        kind.shape.dim.add().dim_value = rng.choice(_ODD)
    else:
        rng.choice(list(kind.shape.dim)).dim_value = rng.choice(_ODD)


def _version(rng: random.Random, model: ModelProto) -> None:
    if rng.random() < 0.5:
        model.ir_version = rng.choice((0, 1, 3, 4, 99, 2**62))
    else:
        rng.choice(list(model.opset_import)).version = rng.choice((0, 1, 6, 13, 30, 10**9, -1))


def _constant(rng: random.Random, model: ModelProto) -> None:
    """Feed a node an odd number, as a size, an axis, or a divisor."""
    node = _node(rng, model)
    name = f"odd{rng.randrange(10**6)}"
    dtype = rng.choice((TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT))
    odd = rng.choice(_ODD) if dtype == TensorProto.INT64 else rng.choice((0, 1, -1, 2))
    shape = rng.choice(([], [1], [2]))
    model.graph.initializer.append(
        helper.make_tensor(name, dtype, shape, [odd] * max(sum(shape), 1))
    )
    node.input[rng.randrange(len(node.input))] = name


_MUTATIONS: tuple[Mutation, ...] = (
    _operator,
    _connection,
    _dropped,
    _copied,
    _attribute,
    _weight,
    _interface,
    _version,
    _constant,
)


def attack(progress: Callable[[str], None], folder: str, seed: int, models: int) -> dict[str, Any]:
    """Treat models as pytest's process does; called in the runner.

    Returns:
        How they ended, and the tracebacks.
    """
    ended: Counter[str] = Counter()
    tracebacks: list[str] = []
    sources = _sources(Path(folder))
    backend = OnnxRuntimeBackend(1, build_timeout_s=_BUILD_S, run_timeout_s=_RUN_S)
    for number in range(seed, seed + models):
        rng = random.Random(number)
        path = Path(folder) / f"model{number}.onnx"
        path.write_bytes(mutated(rng.choice(sources), rng))
        progress(f"{number} {json.dumps(ended)}")
        try:
            _treat(backend, path, rng.choice(("fp32", "fp32", "fp16")))
            ended["passed"] += 1
        except PytestTrtError as error:
            ended[f"refused {error.diagnostic.code}"] += 1
        except Exception:
            ended["traceback"] += 1
            tracebacks.append(f"{number}: {traceback.format_exc()}")
        path.unlink()
    return {"ended": ended, "tracebacks": tracebacks}


def _treat(backend: OnnxRuntimeBackend, path: Path, precision: str) -> None:
    model, spec = load_model(path), EngineSpec(precision)
    backend.route(model, spec)
    with tempfile.TemporaryDirectory(dir=path.parent / "plans") as folder:
        plan = Path(folder)
        built = backend.build(BuildRequest(model, spec, _CPU, plan))
        engine = backend.open(Plan(plan / built.plan_name), model, spec, _CPU)
        reference = backend.reference(model)
        shapes = shapes_at(model.inputs, None, "opt")
        if sum(map(element_count, shapes.values())) > _MOST_ELEMENTS:
            return  # numbers for them would take minutes
        inputs = seeded_inputs(model, shapes)
        engine.run(inputs)
        reference.run(inputs)


def _attack_all(models: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    ended: Counter[str] = Counter()
    tracebacks: list[str] = []
    next_seed, end = seed, seed + models
    while next_seed < end:
        count = min(_BATCH, end - next_seed)
        arguments = {"folder": str(folder), "seed": next_seed, "models": count}
        job = {"function": f"{Path(__file__).stem}:attack", "arguments": arguments}
        with Worker("pytest_trt.workers.calls", task="treats models") as runner:
            reply = runner.run(job, timeout_s=count * _MODEL_S)
        if reply.is_done:
            ended.update(reply.result["ended"])
            tracebacks += reply.result["tracebacks"]
            next_seed += count
            print(next_seed, json.dumps(ended), file=sys.stderr, flush=True)
            continue
        # What it had done before, and the model that ended it.
        number, _, done = reply.step.partition(" ")
        if not number.isdigit():
            raise SystemExit("\n".join(reply.stderr))
        ended.update(json.loads(done))
        what = "hung" if reply.timed_out else f"crashed {reply.signal_name or reply.status}"
        ended[what] += 1
        print(f"model {number}: {what}", *list(reply.stderr)[-3:], sep="\n  ", flush=True)
        next_seed = int(number) + 1
    return ended, tracebacks


def _children() -> list[str]:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return listed.read_text().split() if listed.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    # The runner finds this script as a module.
    sys.path.append(str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "plans").mkdir()
        ended, tracebacks = _attack_all(arguments.models, arguments.seed, folder)
        leftovers = len(list((folder / "plans").iterdir())) + len(_children())
    for text in tracebacks:
        print(text)
    print(json.dumps({**dict(sorted(ended.items())), "leftovers": leftovers}))
    raise SystemExit(bool(tracebacks or ended["hung"] or leftovers))


if __name__ == "__main__":
    main()
