"""What stays in FP32, and how many builds it takes to find out: `tune` against two other ways.

Five models, each with a tolerance that its engine fails. `bisection` is what Polygraphy's
`debug precision` does (mode bisect, both directions): the first k, or the last k, layers stay in
FP32, and k is halved between what passes and what fails; every attempt is a build. `kinds` keeps
every node of the operators of which `tune` keeps some. Only nodes that the precision would reduce
are counted.

Run: python tests/benchmarks/tune.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))

from builders_planted import network, plant
from builders_sensitive import save_large_constant, save_outlier_channel
from networks import bert_base, resnet50

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.backends.observing.switched import switched
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.protocols import BuildRequest, Plan
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import load_model
from pytest_trt.precision.error import output_errors
from pytest_trt.precision.tune import Score, Tuner

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
    backend: OnnxRuntimeBackend = field(default_factory=OnnxRuntimeBackend)

    def __post_init__(self) -> None:
        self.model = load_model(self.path)
        reference = self.backend.reference(self.model)
        self.fp32 = [reference.run(one) for one in self.inputs]

    def request(self, kept: Sequence[str], folder: Path) -> BuildRequest:
        samples = self.inputs if self.precision == "int8" else ()
        spec = EngineSpec(self.precision, keep_fp32=tuple(kept))
        return BuildRequest(self.model, spec, Target("cpu"), folder, samples)

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
                plan = Plan(Path(folder) / self.backend.build(request).plan_name)
            except EngineBuildError:  # nothing is left to reduce: it is FP32
                return self.score(self.fp32)
            session = self.backend.open(plan, self.model, request.spec, request.target)
            return self.score([session.run(one) for one in self.inputs])


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
    return row


def scenes(folder: Path) -> list[Scene]:
    """Return the models, written to a folder."""
    rng = np.random.default_rng(1)
    image = [{"image": rng.normal(size=(4, 8)).astype(np.float32)} for _ in range(4)]
    large = save_large_constant(folder / "constant.onnx")
    outlier = save_outlier_channel(folder / "outlier.onnx")
    convolutional = folder / "convolutional.onnx"
    onnx.save(plant(network(), "overflow")[0], convolutional)
    pixels = [{"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
    resnet = folder / "resnet.onnx"
    onnx.save(resnet50(blocks=(1, 1, 1, 1), width=8, classes=10), resnet)
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
        Scene("digits", classifier, "int8", digit, Tolerance(0.02, 0.05)),
        Scene("resnet", resnet, "int8", photos, Tolerance(0.02, 0.02)),
        Scene("bert", bert, "fp16", tokens, Tolerance(1e-3, 1e-3)),
    ]


def main() -> None:
    titles = ["model", "precision", "nodes", "without"]
    titles += ["tune", "builds", "trials", "s"]
    titles += ["bisection first", "builds", "s", "bisection last", "builds", "s"]
    titles += ["kinds", "check"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    with TemporaryDirectory() as folder:
        for scene in scenes(Path(folder)):
            row = compare(scene, Path(folder))
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
