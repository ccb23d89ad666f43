"""What a cached engine costs until its first output, beside opening the same file bare.

Prints for models of several sizes: milliseconds from a fresh process, its modules imported, to
the first output through `TrtRun` (model facts and digest, key, lookup, verification of the plan,
loading, running), the same for `onnxruntime.InferenceSession(plan).run`, their ratio (target: at
most 1.15) and the difference, which is the honest figure where both are short. Every measurement
is a process of its own; both kinds alternate, and each goes first as often as the other, so that a
busy machine slows both. The least and the median of each are shown: the median ratio is the median
over neighbouring pairs. The steps are medians of our own process.

Counted are all first calls: opening the cache, patterns and hashes that are made when they are
needed, the first of everything in a process. Not counted is what both sides load before, modules:
ONNX Runtime (some 100 ms) and numpy on both, the package and BLAKE3 (0.8 ms) on ours.

Threads of our sessions spin for a shorter time than those of ONNX Runtime by default: on a busy
machine we can be faster than the bare load.

Where memory comes to lie decides whether ONNX Runtime loads conv_25mb with 21,600 or 26,500 page
faults, 8 ms apart; a comment more in the program changes it. So every round runs both sides behind
a comment of another length.

The digest of a model that was left alone for a minute is remembered, so the models are given that
minute first; the plan is verified every time.

Run: python tests/benchmarks/cache_hit.py [--rounds 15] [--models PATH ...]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from processes import with_bytecode

from pytest_trt.files import REST_NS

_ROOT = Path(__file__).parents[2]
_EXAMPLES = sorted((_ROOT / "example_project" / "models").glob("*.onnx"))

_SETTINGS = """
import gc, json, sys, time
from pathlib import Path
import blake3, numpy, onnxruntime
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.options.table import OPTIONS
from pytest_trt.plugin.options.settings import Settings
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.profile_choice import shapes_at
from pytest_trt.onnx.file import load_model
import pytest_trt.backends.onnxruntime.backend
model_path, cache, feeds_path = map(Path, sys.argv[1:4])
values = {option.field: option.parse(option.default) for option in OPTIONS}
settings = Settings(**{**values, "arch": ("cpu",), "cache_dir": cache})
"""

_PREPARE = (
    _SETTINGS
    + """
run = TrtRun(settings)
model = run.model(model_path, print)
engine = run.engine(model, EngineSpec(), "cpu", calibration=tuple, progress=lambda text: None)
shapes = {spec.name: [d if isinstance(d, int) else 8 for d in spec.shape] for spec in model.inputs}
feeds = {}
for spec in model.inputs:
    integer = numpy.issubdtype(spec.dtype, numpy.integer)
    feeds[spec.name] = (numpy.ones if integer else numpy.zeros)(shapes[spec.name], spec.dtype)
numpy.savez(feeds_path, **feeds)
run.session(engine).run(feeds)
run.close()  # records that it ran
print(engine.plan)
"""
)

_OURS = (
    _SETTINGS
    + """
feeds = dict(numpy.load(feeds_path))
gc.collect()  # what the imports left would be collected at a random step
marks = [time.perf_counter()]
run = TrtRun(settings)
model = run.model(model_path, lambda text: None)
marks.append(time.perf_counter())
engine = run.engine(model, EngineSpec(), "cpu", calibration=tuple, progress=lambda text: None)
marks.append(time.perf_counter())
session = run.session(engine)
marks.append(time.perf_counter())
session.run(feeds)
marks.append(time.perf_counter())
assert engine.cached
print(json.dumps(marks))
"""
)

_BARE = """
import gc, json, sys, time
import numpy, onnxruntime
plan, feeds_path = sys.argv[1:3]
feeds = dict(numpy.load(feeds_path))
gc.collect()  # what the imports left would be collected at a random step
marks = [time.perf_counter()]
session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
marks.append(time.perf_counter())
session.run(None, feeds)
marks.append(time.perf_counter())
print(json.dumps(marks))
"""


def _convolutions(path: Path, channels: int, layers: int) -> Path:
    """Write a chain of 3x3 convolutions: image [n, channels, 16, 16] -> the same."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for i in range(layers):
        weight = rng.normal(scale=0.02, size=(channels, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes += [
            helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{i}"], [f"x{i + 1}"]),
        ]
    return _save(path, nodes, weights, layers, [1, channels, 16, 16])


def _products(path: Path, width: int, layers: int) -> Path:
    """Write a chain of matrix products: [n, width] -> the same."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for i in range(layers):
        weight = rng.normal(scale=0.02, size=(width, width)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes += [
            helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"p{i}"]),
            helper.make_node("Relu", [f"p{i}"], [f"x{i + 1}"]),
        ]
    return _save(path, nodes, weights, layers, ["n", width])


def _save(
    path: Path,
    nodes: list[object],
    weights: list[TensorProto],
    layers: int,
    shape: list[int | str],
) -> Path:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("x0", f"x{layers}")
    ]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    save(model, path)
    return path


def _process(code: str, *args: Path) -> str:
    command = [sys.executable, "-c", code, *map(str, args)]
    environment = with_bytecode(_ROOT, args[1].parent)
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr)
    return result.stdout.splitlines()[-1]


def _prepare(models: list[Path], folder: Path) -> list[Path]:
    """Build every engine, see to it that digests are remembered, and return the plans."""
    cache = folder / "cache"
    plans = [Path(_process(_PREPARE, model, cache, _feeds(model, folder))) for model in models]
    rested_ns = max(model.stat().st_ctime_ns for model in models) + REST_NS
    time.sleep(max(0.0, (rested_ns - time.time_ns()) / 1e9 + 0.1))
    for model in models:
        _process(_OURS, model, cache, _feeds(model, folder))
    remembered = len(list((cache / "v1" / "digests").iterdir()))
    print(f"digests of {remembered} of {len(models)} models are remembered")
    return plans


def _feeds(model: Path, folder: Path) -> Path:
    return folder / f"{model.stem}.npz"


def _measure(model: Path, plan: Path, folder: Path, rounds: int) -> None:
    feeds, cache = _feeds(model, folder), folder / "cache"
    ours, bare, steps = [], [], []
    for number in range(rounds):
        comment = "#" * (1 + 37 * number) + "\n"
        for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
            if side == "ours":
                marks = json.loads(_process(comment + _OURS, model, cache, feeds))
                ours.append((marks[-1] - marks[0]) * 1000)
                pairs = itertools.pairwise(marks)
                steps.append([(after - before) * 1000 for before, after in pairs])
            else:
                marks = json.loads(_process(comment + _BARE, plan, feeds))
                bare.append((marks[-1] - marks[0]) * 1000)
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    added = statistics.median(a - b for a, b in zip(ours, bare, strict=True))
    shown = " ".join(f"{statistics.median(column):>7.1f}" for column in zip(*steps, strict=True))
    print(
        f"{model.stem:<14}{plan.stat().st_size / 1e6:>7.1f}"
        f"{statistics.median(bare):>9.1f}{statistics.median(ours):>9.1f}{ratio:>7.2f}"
        f"{added:>8.1f}{min(bare):>9.1f}{min(ours):>9.1f}{min(ours) / min(bare):>7.2f}   {shown}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", type=Path, nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = arguments.models or [
            *_EXAMPLES,
            _convolutions(folder / "conv_1mb.onnx", channels=64, layers=7),
            _convolutions(folder / "conv_25mb.onnx", channels=192, layers=19),
            _products(folder / "matmul_25mb.onnx", width=1024, layers=6),
            _convolutions(folder / "conv_120mb.onnx", channels=384, layers=22),
            _products(folder / "matmul_120mb.onnx", width=2048, layers=7),
        ]
        plans = _prepare(models, folder)
        print(
            f"{'model':<14}{'MB':>7}{'bare ms':>9}{'ours ms':>9}{'ratio':>7}{'added':>8}"
            f"{'least':>9}{'least':>9}{'ratio':>7}    model  lookup    open     run"
        )
        for model, plan in zip(models, plans, strict=True):
            _measure(model, plan, folder, arguments.rounds)


if __name__ == "__main__":
    main()
