"""What fp16 on the CPU predicts of fp16 on the GPU: ten models, as they are and with faults.

    PYTHONPATH=.:tests python tests/gpu/gpu_fp16.py [--json FILE] [--markdown FILE] [--within 300]

Each model is built in fp16 by TensorRT and by ONNX Runtime on the same machine, and both are
compared with the FP32 reference on the same seeded inputs, within the default tolerances of fp16.
Then the weights of one layer, a third and two thirds into the model, are scaled so that its output
reaches 200,000 (overflow: FP16 ends at 65,504) or 3e-8 (underflow: the smallest FP16 is 6e-8), and
its output is scaled back, so that the FP32 outputs remain. The table counts how often a failure on
one is a failure on the other. `--arch cpu` compares the CPU with itself, to try the script.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import builders_networks
import numpy as np
import onnx
from networks import NETWORKS, control_flow, spot_detector
from onnx import ModelProto, helper, numpy_helper

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

#: How far into the model the scaled layers are.
PLACES = (1 / 3, 2 / 3)

#: Operators whose output is proportional to their weights.
LINEAR = ("Conv", "MatMul", "Gemm")


def _file(name: str) -> Callable[[], ModelProto]:
    return lambda: onnx.load(EXAMPLES / name)


#: Models by name, each with the size of dimensions that it leaves open.
MODELS: Mapping[str, tuple[Callable[[], ModelProto], int]] = {
    "digits": (_file("digits.onnx"), 8),
    "encoder": (_file("encoder.onnx"), 8),
    "small CNN": (builders_networks.conv_net, 8),
    "small transformer": (builders_networks.encoder, 8),
    "ResNet, reduced": (NETWORKS["resnet50"].reduced["resnet50.onnx"], 4),
    "BERT, reduced": (NETWORKS["bert"].reduced["bert.onnx"], 8),
    "detector": (spot_detector, 2),
    "LSTM": (control_flow.lstm, 4),
    "wide CNN": (partial(builders_networks.conv_net, channels=64), 8),
    "ResNet, wider": (
        partial(NETWORKS["resnet50"].models["resnet50.onnx"], blocks=(1, 1, 1, 1), width=32),
        2,
    ),
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
    largest = _largest(proto, node.output[0], inputs)
    if not largest or not np.isfinite(largest):
        return None
    factor = reach / largest
    for name in filter(None, node.input[1:]):
        values = numpy_helper.to_array(weights[name]) * np.float32(factor)
        scaled = numpy_helper.from_array(values.astype(np.float32), f"{name}_scaled")
        graph.initializer.append(scaled)
        node.input[list(node.input).index(name)] = scaled.name
    result, inner = node.output[0], f"{node.output[0]}_scaled"
    node.output[0] = inner
    back = numpy_helper.from_array(np.array(1 / factor, np.float32), f"{result}_factor")
    graph.initializer.append(back)
    index = list(graph.node).index(node)
    graph.node.insert(
        index + 1, helper.make_node("Mul", [inner, back.name], [result], f"{result}_back")
    )
    return changed


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
    parser.add_argument("--within", type=float, default=300.0, metavar="SECONDS")
    options = parser.parse_args()
    probe, began = probe_devices(), time.monotonic()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = EngineCache(folder / "cache", max_bytes=20 * 10**9)
        host = make_backend("onnxruntime", probe=probe, threads=0)
        device: Backend = (
            host
            if options.arch == "cpu"
            else make_backend("tensorrt", probe=probe, threads=0, timing_folder=cache.timing)
        )
        arch = options.arch or probe.gpus[0].arch
        sides = {"cpu": (host, "cpu"), "gpu": (device, arch)}
        for model_name, (make, size) in MODELS.items():
            for fault, proto in variants(make(), size, folder):
                if time.monotonic() - began > options.within:
                    print("stopped by --within")
                    break
                row = measured(folder, proto, size, sides, cache)
                rows.append({"model": model_name, "fault": fault, **row})
                print(json.dumps(rows[-1]), flush=True)
                if options.json:
                    options.json.write_text(json.dumps(rows, indent=1))
    text = "\n".join(table(rows))
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")


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
                spec=EngineSpec("fp16", profiles),
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
