"""What stays in FP32, and how many builds it takes to find out: `tune` against two other ways.

Five models, each with a tolerance that its engine fails. `bisection` is what Polygraphy's
`debug precision` does (mode bisect, both directions): the first k, or the last k, layers stay in
FP32, and k is halved between what passes and what fails; every attempt is a build. `kinds` keeps
every node of the operators of which `tune` keeps some. Only nodes that the precision would reduce
are counted.

With `--arch sm90` and the like, engines are those of TensorRT on that GPU, and Polygraphy itself
searches the fp16 models, where it is installed: it counts layers of TensorRT's network.

Run: python tests/benchmarks/tune.py [--arch cpu] [--level 1]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "gpu"))

import gpu_fp16
from builders_planted import network, plant
from builders_sensitive import save_large_constant, save_outlier_channel
from networks import bert_base, resnet50

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.observing.switched import switched
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.tensorrt.backend import TensorRtBackend
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.protocols import Backend, BuildRequest, Plan
from pytest_trt.engine.spec import EngineSpec, OptionValue
from pytest_trt.onnx.file import load_model
from pytest_trt.precision.error import output_errors
from pytest_trt.precision.samples import Sample, profile_of
from pytest_trt.precision.tune import Score, Tuner

#: Where engines run, what builds them, and how.
ARCH = "cpu"
BACKEND: Backend = OnnxRuntimeBackend()
OPTIONS: dict[str, OptionValue] = {}

TITLES = (
    *("model", "precision", "nodes", "without", "tune", "builds", "trials", "s"),
    *("bisection first", "builds", "s", "bisection last", "builds", "s", "kinds", "check"),
    *("Polygraphy", "builds", "s"),
)

#: Models of `gpu_fp16`, and faults that it plants in them.
OVERFLOWING = (
    ("perceptron", "overflow at 33%"),
    ("perceptron", "underflow at 67%"),
    ("BERT, 1 layer of 512", "overflow at 67%"),
)

EXAMPLE = Path(__file__).parents[2] / "example_project"


@dataclass
class Scene:
    """A model, its inputs, and a tolerance.

    Attributes:
        name: Its name.
        path: Its file.
        precision: The precision of its engine.
        inputs: What has to pass.
        tolerance: By how much outputs may differ.
    """

    name: str
    path: Path
    precision: str
    inputs: list[dict[str, Any]]
    tolerance: Tolerance
    builds: int = 0

    def __post_init__(self) -> None:
        self.model = load_model(self.path)
        reference = OnnxRuntimeBackend().reference(self.model)
        self.fp32 = [reference.run(one) for one in self.inputs]
        samples = [Sample(one) for one in self.inputs]
        self.profiles = profile_of(self.model.inputs, samples)

    def request(self, kept: Sequence[str], folder: Path) -> BuildRequest:
        samples = self.inputs if self.precision == "int8" else ()
        spec = EngineSpec(self.precision, self.profiles, OPTIONS, tuple(kept))
        return BuildRequest(self.model, spec, BACKEND.target(ARCH), folder, samples)

    def score(self, outputs: Sequence[Any]) -> Score:
        pairs = list(zip(outputs, self.fp32, strict=True))
        found = [compare_outputs(a, r, dict.fromkeys(r, self.tolerance)) for a, r in pairs]
        error = max(self.error(a, r) for a, r in pairs)
        return Score(all(one.passed for one in found), error, max(one.used for one in found))

    def error(self, actual: Any, reference: Any) -> float:
        found = output_errors(actual, reference, self.model.outputs)
        return max(one.relative_l2 for one in found)

    def built(self, kept: Sequence[str]) -> Score:
        """Build an engine that keeps some nodes, and judge it."""
        self.builds += 1
        with TemporaryDirectory() as folder:
            request = self.request(sorted(kept), Path(folder))
            try:
                plan = Plan(Path(folder) / BACKEND.build(request).plan_name)
            except EngineBuildError:  # nothing is left to reduce: it is FP32
                return self.score(self.fp32)
            session = BACKEND.open(plan, self.model, request.spec, request.target)
            try:
                return self.score([session.run(one) for one in self.inputs])
            finally:
                session.close()


def polygraphy(scene: Scene, folder: Path) -> list[object]:
    """Return what Polygraphy keeps, the engines that it builds, and the seconds that it takes."""
    inputs = scene.inputs[0]
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "expected.npz", **scene.fp32[0])
    allowed = {"rtol": scene.tolerance.rtol, "atol": scene.tolerance.atol}
    (folder / "tolerance.json").write_text(json.dumps(allowed))
    shapes = [f"{name}:{list(one.shape)}".replace(" ", "") for name, one in inputs.items()]
    tool = [sys.executable, "-c", "from polygraphy.tools import main; main()", "debug", "precision"]
    ranges = [
        word for point in ("min", "opt", "max") for word in (f"--trt-{point}-shapes", *shapes)
    ]
    check = ["--check", sys.executable, str(Path(__file__).resolve()), "--judge", str(folder)]
    started_s = time.perf_counter()
    done = subprocess.run(
        [*tool, str(scene.path), "--fp16", *ranges, *check],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+) layer\(s\) in higher precision$", done.stdout.strip())
    builds = (folder / "judged").read_text().count("\n") if (folder / "judged").exists() else 0
    kept: object = int(found[1]) if found else "none"
    if found is None:
        print((done.stdout + done.stderr)[-2000:], file=sys.stderr)
    return [kept, builds, f"{time.perf_counter() - started_s:.1f}"]


def judge(folder: Path) -> int:
    """Return 0 if the engine that Polygraphy has built passes; called by it."""
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    with (folder / "judged").open("a") as file:
        file.write("judged\n")
    tolerance = Tolerance(**json.loads((folder / "tolerance.json").read_text()))
    with np.load(folder / "inputs.npz") as inputs, np.load(folder / "expected.npz") as expected:
        with TrtRunner(EngineFromBytes(BytesFromPath("polygraphy_debug.engine"))) as runner:
            found = {name: np.array(one) for name, one in runner.infer(dict(inputs)).items()}
        return int(not compare_outputs(found, dict(expected), dict.fromkeys(expected, tolerance)))


def bisection(layers: Sequence[str], passes: Callable[[Sequence[str]], bool]) -> Sequence[str]:
    """Return the first layers that have to stay, as Polygraphy searches them."""
    good, bad, marked = len(layers) + 1, 0, len(layers)
    while True:
        if passes(layers[:marked]):
            good, marked = marked, (marked + bad) // 2
        else:
            bad, marked = marked, -(-(good + marked) // 2)
        if good - bad <= 1 or marked > len(layers):
            return layers[:good]


def compare(scene: Scene, folder: Path) -> list[object]:
    """Return a row of the table."""
    none = scene.built(())
    if none.passed:
        return [scene.name, scene.precision, "-", "passes", *["-"] * (len(TITLES) - 4)]
    place = folder / f"{scene.name} {scene.precision}"
    place.mkdir()
    trial = switched(scene.request((), place), place)
    units = [(one.entry, one.operator) for one in trial.units]
    every = {entry for entry, _ in units}
    started_s = time.perf_counter()
    tuner = Tuner(
        units,
        lambda kept: scene.score([trial.run(kept, one) for one in scene.inputs]),
        lambda kept: scene.built(tuple(kept)),
        lambda entries: max(
            scene.error(trial.run(every.difference(entries), one), exact)
            for one, exact in zip(scene.inputs, scene.fp32, strict=True)
        ),
        Score(True, 0.0),
    )
    found = tuner.search(none)
    took_s = time.perf_counter() - started_s
    row: list[object] = [scene.name, scene.precision, len(units), f"{none.used:.3g}x"]
    row += [len(found.kept), found.builds, found.trials + len(units), f"{took_s:.1f}"]
    layers = [node.name for node in onnx.load(scene.path, load_external_data=False).graph.node]
    for order in (layers, layers[::-1]):
        scene.builds = 0
        started_s = time.perf_counter()
        kept = bisection(order, lambda kept: scene.built(kept).passed)
        row += [len(every.intersection(kept)), scene.builds]
        row.append(f"{time.perf_counter() - started_s:.1f}")
    kinds = {operator for entry, operator in units if entry in found.kept}
    of_kinds = [entry for entry, operator in units if operator in kinds]
    row += [len(of_kinds), "passes" if scene.built(of_kinds).passed else "fails"]
    searched = ARCH != "cpu" and scene.precision == "fp16"
    has_polygraphy = importlib.util.find_spec("polygraphy") is not None
    return row + (polygraphy(scene, place) if searched and has_polygraphy else ["-"] * 3)


def scenes(folder: Path) -> list[Scene]:
    """Return the models, written to a folder."""
    rng = np.random.default_rng(1)
    image = [{"image": rng.normal(size=(4, 8)).astype(np.float32)} for _ in range(4)]
    large = save_large_constant(folder / "constant.onnx")
    outlier = save_outlier_channel(folder / "outlier.onnx")
    convolutional = folder / "convolutional.onnx"
    onnx.save(plant(network(), "overflow")[0], convolutional)
    pixels = [{"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
    vanishing = folder / "vanishing.onnx"
    onnx.save(plant(network(), "underflow")[0], vanishing)
    resnet, large_resnet = folder / "resnet.onnx", folder / "large_resnet.onnx"
    onnx.save(resnet50(blocks=(1, 1, 1, 1), width=8, classes=10), resnet)
    onnx.save(plant(onnx.load(resnet), "overflow")[0], large_resnet)
    photos = [{"image": rng.normal(size=(2, 3, 224, 224)).astype(np.float32)} for _ in range(2)]
    bert = folder / "bert.onnx"
    sizes = {"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2}
    onnx.save(bert_base(**sizes, num_attention_heads=4, intermediate_size=128), bert)
    tokens = [
        {
            "input_ids": rng.integers(0, 1000, (2, 16)),
            "attention_mask": np.ones((2, 16), np.int64),
            "token_type_ids": np.zeros((2, 16), np.int64),
        }
        for _ in range(2)
    ]
    with np.load(EXAMPLE / "data" / "digits.npz") as digits:
        digit = [{"image": part} for part in np.split(digits["images"], 8)]
    classifier = EXAMPLE / "models" / "digits.onnx"
    return [
        Scene("large constant", large, "fp16", image, Tolerance(0.02, 0.02)),
        Scene("outlier channel", outlier, "int8", image, Tolerance(0.1, 0.1)),
        Scene("overflow", convolutional, "fp16", pixels, Tolerance(0.02, 0.02)),
        Scene("underflow", vanishing, "fp16", pixels, Tolerance(0.02, 0.02)),
        Scene("resnet overflow", large_resnet, "fp16", photos, Tolerance(0.02, 0.02)),
        Scene("digits", classifier, "int8", digit, Tolerance(0.02, 0.05)),
        Scene("resnet", resnet, "int8", photos, Tolerance(0.02, 0.02)),
        Scene("bert", bert, "fp16", tokens, Tolerance(1e-3, 1e-3)),
    ]


def scenes_of_gpu(folder: Path) -> Iterator[Scene]:
    """Yield models that TensorRT fails in fp16, where it does not fail those of `scenes`."""
    for name, fault in OVERFLOWING:
        make, size = gpu_fp16.MODELS[name]
        path = folder / "faulty.onnx"
        onnx.save(dict(gpu_fp16.variants(make(), size, folder))[fault], path)
        _, inputs = gpu_fp16.fixed_inputs(load_model(path), size)
        yield Scene(f"{name} {fault}", path, "fp16", [inputs], Tolerance(0.02, 0.02))


def main() -> int:
    """Print the table; or judge an engine, where Polygraphy asks."""
    global ARCH, BACKEND, OPTIONS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="cpu")
    parser.add_argument("--level", type=int, help="optimisation level of TensorRT's builder")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge is not None:
        return judge(given.judge)
    if given.arch != "cpu":
        ARCH, BACKEND = given.arch, TensorRtBackend(probe_devices())
    if given.level is not None:
        OPTIONS = {"builder_optimization_level": given.level}
    print(f"| {' | '.join(TITLES)} |\n|{'---|' * len(TITLES)}")
    with TemporaryDirectory() as folder:
        more = scenes_of_gpu(Path(folder)) if ARCH != "cpu" else ()
        for scene in chain(scenes(Path(folder)), more):
            row = compare(scene, Path(folder))
            print(f"| {' | '.join(map(str, row))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
