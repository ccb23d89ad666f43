"""What fp16 on the CPU predicts of fp16 on the GPU: ten models, as they are and with faults.

    PYTHONPATH=.:tests python tests/gpu/gpu_fp16.py [--json FILE] [--markdown FILE] [--jobs 5]

Each model is built in fp16 by TensorRT and by ONNX Runtime on the same machine, and both are
compared with the FP32 reference on the same seeded inputs, within the default tolerances of fp16.
Then the weights of one layer, a third and two thirds into the model, are scaled so that its output
reaches 200,000 (overflow: FP16 ends at 65,504) or 3e-8 (underflow: the smallest FP16 is 6e-8), and
scaled back, where the layer has a ReLU or pooling behind that, so that the FP32 outputs remain. The
table counts how often a failure on one is a failure on the other. The builder's optimisation level
is 1. `--arch cpu` compares the CPU with itself, to try the script; `--only NAME` takes one model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import builders_networks
import numpy as np
import onnx
from networks import bert_base, control_flow, resnet50, spot_detector
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from pytest_trt import compare_outputs
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.onnxruntime.reference import load_reference
from pytest_trt.backends.selection import make_backend
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Backend, Plan
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.precision.error import output_errors
from pytest_trt.tensors.profile_choice import shapes_at
from pytest_trt.tensors.profiles import Profile, parse_profiles
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors

EXAMPLES = Path(__file__).resolve().parents[2] / "example_project" / "models"

#: What the output of a scaled layer reaches at most.
PLANTED = {"overflow": 2e5, "underflow": 3e-8}

#: Options of TensorRT's builder.
LEVEL = {"builder_optimization_level": 1}

#: How far into the model the scaled layers are.
PLACES = (1 / 3, 2 / 3)

#: Operators whose output is proportional to their weights.
LINEAR = ("Conv", "MatMul", "Gemm")


def _file(name: str) -> Callable[[], ModelProto]:
    return lambda: onnx.load(EXAMPLES / name)


#: Operators with f(k x) = k f(x) for k > 0, which a builder does not fold into weights.
HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool")


def chain() -> ModelProto:
    """Return six convolutions of 128 channels, each with its ReLU."""
    nodes, initialisers = [], []
    for i in range(6):
        initialisers.append(builders_networks.weights(f"w{i}", 128, 128, 3, 3, scale=0.04, seed=i))
        nodes += [
            helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4),
            helper.make_node("Relu", [f"c{i}"], [f"x{i + 1}"], f"relu{i}"),
        ]
    shape = (8, 128, 28, 28)
    ends = [builders_networks.value(name, shape) for name in ("x0", "x6")]
    return builders_networks.model(nodes, ends[:1], ends[1:], initialisers)


def perceptron() -> ModelProto:
    """Return four linear layers of 1,024, each but the last with its ReLU."""
    nodes, initialisers = [], []
    for i in range(4):
        initialisers.append(builders_networks.weights(f"w{i}", 1024, 1024, scale=0.04, seed=i))
        last = i == 3
        result = "logits" if last else f"g{i}"
        nodes.append(helper.make_node("Gemm", [f"x{i}", f"w{i}"], [result], f"linear{i}"))
        if not last:
            nodes.append(helper.make_node("Relu", [result], [f"x{i + 1}"], f"relu{i}"))
    ends = [builders_networks.value(name, (64, 1024)) for name in ("x0", "logits")]
    return builders_networks.model(nodes, ends[:1], ends[1:], initialisers)


def bert(hidden: int, layers: int) -> Callable[[], ModelProto]:
    return partial(
        bert_base,
        vocab_size=1000,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )


#: Models by name, each with the size of dimensions that it leaves open.
MODELS: Mapping[str, tuple[Callable[[], ModelProto], int]] = {
    "digits": (_file("digits.onnx"), 8),
    "encoder": (_file("encoder.onnx"), 8),
    "convolutions": (chain, 8),
    "CNN": (partial(builders_networks.conv_net, channels=128), 8),
    "ResNet": (partial(resnet50, blocks=(1, 1, 1, 1), width=64, classes=100), 2),
    "BERT, 2 layers of 256": (bert(256, 2), 8),
    "BERT, 1 layer of 512": (bert(512, 1), 8),
    "detector": (spot_detector, 2),
    "LSTM": (control_flow.lstm, 4),
    "perceptron": (perceptron, 8),
}


def fixed_inputs(model: OnnxModel, size: int) -> tuple[tuple[Profile, ...], Tensors]:
    """Return a profile of one shape, and seeded inputs of it."""
    shapes = {
        spec.name: tuple(
            (32 if index > 1 else size) if isinstance(dim, str) or dim is None else dim
            for index, dim in enumerate(spec.shape or ())
        )
        for spec in model.inputs
    }
    dynamic = {
        spec.name: (shapes[spec.name],) * 3
        for spec in model.inputs
        if any(not isinstance(dim, int) for dim in spec.shape or ())
    }
    profiles = parse_profiles(dynamic, model.inputs, where="script") if dynamic else ()
    chosen = shapes_at(model.inputs, profiles[0] if profiles else None, "opt")
    return profiles, seeded_inputs(model, chosen)


def planted(proto: ModelProto, place: float, reach: float, inputs: Tensors) -> ModelProto | None:
    """Scale the weights of a layer so that its output reaches a value, and scale that back."""
    changed = ModelProto()
    changed.CopyFrom(proto)
    graph = changed.graph
    weights = {one.name: one for one in graph.initializer}
    layers = [
        node
        for node in graph.node
        if node.op_type in LINEAR and all(name in weights for name in node.input[1:] if name)
    ]
    if not layers:
        return None
    node = layers[int(place * len(layers))]
    # Behind as many of them as can be, or a builder could fold both factors into the weights.
    last = node
    while (behind := _only_reader(graph, last)) is not None and behind.op_type in HOMOGENEOUS:
        last = behind
    largest = _largest(proto, node.output[0], inputs)
    if not largest or not np.isfinite(largest):
        return None
    factor = reach / largest
    for name in filter(None, node.input[1:]):
        values = numpy_helper.to_array(weights[name]) * np.float32(factor)
        scaled = numpy_helper.from_array(values.astype(np.float32), f"{name}_scaled")
        graph.initializer.append(scaled)
        node.input[list(node.input).index(name)] = scaled.name
    result, inner = last.output[0], f"{last.output[0]}_scaled"
    last.output[0] = inner
    back = numpy_helper.from_array(np.array(1 / factor, np.float32), f"{result}_factor")
    graph.initializer.append(back)
    index = list(graph.node).index(last)
    graph.node.insert(
        index + 1, helper.make_node("Mul", [inner, back.name], [result], f"{result}_back")
    )
    return changed


def _only_reader(graph: GraphProto, node: NodeProto) -> NodeProto | None:
    if node.output[0] in {one.name for one in graph.output}:
        return None
    readers = [one for one in graph.node if node.output[0] in one.input]
    return readers[0] if len(readers) == 1 else None


def _largest(proto: ModelProto, tensor: str, inputs: Tensors) -> float:
    observed = ModelProto()
    observed.CopyFrom(proto)
    observed.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(observed, path)
        (value,) = load_reference(path, threads=0).run([tensor], dict(inputs))
    return float(np.abs(value).max())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--arch", default="")
    parser.add_argument("--only", default="", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for found in (
        ([row] for row in rows_of(options.only, options.arch))
        if options.only
        else _side_by_side(options.arch, options.jobs)
    ):
        rows += found
        if options.json:  # written each time: a script that is cut off has left what it had
            options.json.write_text(json.dumps(rows, indent=1))
    if options.only:
        return
    text = "\n".join(table(rows))
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")


def _side_by_side(arch: str, jobs: int) -> Iterator[list[dict[str, object]]]:
    with ThreadPoolExecutor(jobs) as pool:
        started = [pool.submit(_apart, name, arch) for name in MODELS]
        for one in as_completed(started):
            yield one.result()


def _apart(name: str, arch: str) -> list[dict[str, object]]:
    """Return the rows of one model, which a process of its own measures and prints."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        command = [sys.executable, __file__, "--only", name, "--json", str(rows)]
        subprocess.run([*command, f"--arch={arch}"], check=False)
        found: list[dict[str, object]] = json.loads(rows.read_text()) if rows.exists() else []
        return found


def rows_of(model_name: str, given_arch: str) -> Iterator[dict[str, object]]:
    """Yield what was measured of one model, as it is and with each fault."""
    probe = probe_devices()
    make, size = MODELS[model_name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = EngineCache(folder / "cache", max_bytes=20 * 10**9)
        host = make_backend("onnxruntime", probe=probe, threads=2)
        device: Backend = (
            host
            if given_arch == "cpu"
            else make_backend("tensorrt", probe=probe, threads=2, timing_folder=cache.timing)
        )
        sides = {"cpu": (host, "cpu"), "gpu": (device, given_arch or probe.gpus[0].arch)}
        for fault, proto in variants(make(), size, folder):
            row = measured(folder, proto, size, sides, cache)
            row = {"model": model_name, "fault": fault, **row}
            print(json.dumps(row), flush=True)
            yield row


def variants(proto: ModelProto, size: int, folder: Path) -> Iterator[tuple[str, ModelProto]]:
    """Yield the model as it is, and with each fault."""
    yield "none", proto
    path = folder / "plain.onnx"
    onnx.save(proto, path)
    _, inputs = fixed_inputs(load_model(path), size)
    for fault, reach in PLANTED.items():
        for place in PLACES:
            changed = planted(proto, place, reach, inputs)
            if changed is not None:
                yield f"{fault} at {place:.0%}", changed


def measured(
    folder: Path,
    proto: ModelProto,
    size: int,
    sides: Mapping[str, tuple[Backend, str]],
    cache: EngineCache,
) -> dict[str, object]:
    """Return the verdict and error of each side."""
    path = folder / "model.onnx"
    onnx.save(proto, path)
    model = load_model(path)
    profiles, inputs = fixed_inputs(model, size)
    expected = dict(
        zip(
            [spec.name for spec in model.outputs],
            load_reference(path, threads=0).run(None, dict(inputs)),
            strict=True,
        )
    )
    row: dict[str, object] = {}
    for side, (backend, arch) in sides.items():
        try:
            engine = build_or_load(
                model=model,
                spec=EngineSpec("fp16", profiles, {} if arch == "cpu" else LEVEL),
                target=backend.target(arch),
                backend=backend,
                cache=cache,
            )
            session = backend.open(Plan(engine.plan), model, engine.spec, engine.target)
            outputs = session.run(inputs)
        except PytestTrtError as error:
            row[side] = f"refused {error.diagnostic.code}"
            continue
        passed = bool(compare_outputs(outputs, expected, precision="fp16"))
        errors = output_errors(outputs, expected, model.outputs)
        row[side] = "passed" if passed else "failed"
        row[f"{side}_error"] = max((one.relative_l2 for one in errors), default=0.0)
    return row


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    """Yield the rows and the counts as Markdown."""
    yield "| model | fault | CPU | error | GPU | error |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        errors = [f"{row.get(f'{side}_error', float('nan')):.2g}" for side in ("cpu", "gpu")]
        cells = (row["model"], row["fault"], row["cpu"], errors[0], row["gpu"], errors[1])
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    counts = Counter(
        (str(row["fault"]).partition(" ")[0], str(row["cpu"]), str(row["gpu"])) for row in rows
    )
    yield "| fault | CPU | GPU | cases |"
    yield "|---|---|---|---|"
    for (fault, cpu, gpu), count in sorted(counts.items()):
        yield f"| {fault} | {cpu} | {gpu} | {count} |"


if __name__ == "__main__":
    main()
