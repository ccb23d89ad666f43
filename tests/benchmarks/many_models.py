"""What a run of thousands of models costs, beside ONNX Runtime alone doing the same work.

One test runs over many small distinct models in one empty cache: each engine is built, loaded, run
twice and compared with the FP32 reference. Bare ONNX Runtime builds (loads the model and writes the
optimised one), loads and runs each of them twice, half of them before our run and half after it, so
that other work on the machine slows both. Printed are the ratio of the whole runs (start of the
process, collection and reports included; target: at most 5), and how the time of a test grows with
the number of cached engines: the last hundred tests over the first hundred (target: at most 1.2; by
medians, as one pause of a busy machine moves a mean). A second run finds every engine.

The digests of models that were left alone for a minute are stored, so the models are given that
minute first: all tests then do the same.

Wall time includes waiting for the disk and for other work on the machine; CPU time neither.

Run: python tests/benchmarks/many_models.py [--models 4000] [--precision fp32]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from pytest_trt.onnx.digest_cache import REST_NS

_ROOT = Path(__file__).parents[2]

_TEST = """
from pathlib import Path
import pytest

MODELS = sorted(Path(__file__).parent.glob("models/*.onnx"))

def case(path):
    return pytest.param(path.stem, marks=pytest.mark.trt_model(path, precision="{precision}"))

@pytest.mark.parametrize("model", [case(path) for path in MODELS])
@pytest.mark.trt_consistency(rtol=0.05, atol=0.05)
def test_same_answers(model, trt_session, trt_inputs):
    trt_session.run(trt_inputs)
    trt_session.run(trt_inputs)
"""

#: Writes the wall and CPU seconds of each test.
_CONFTEST = """
import json, time
import pytest

marks = []

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    before = time.perf_counter(), time.process_time()
    result = yield
    marks.append((time.perf_counter() - before[0], time.process_time() - before[1]))
    return result

def pytest_sessionfinish(session):
    (session.config.rootpath / "marks.json").write_text(json.dumps(marks))
"""

_BARE = """
import sys
from pathlib import Path
import numpy as np
import onnxruntime as ort

folder, models = Path(sys.argv[1]), sys.argv[2:]
for model in models:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / Path(model).name)
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session = ort.InferenceSession(
        options.optimized_model_filepath, providers=["CPUExecutionProvider"]
    )
    feeds = {value.name: np.ones(value.shape, np.float32) for value in session.get_inputs()}
    for _ in range(2):
        session.run(None, feeds)
"""


def _write_models(folder: Path, number: int) -> list[Path]:
    """Write models with a product, an activation and a reduction, each of other weights."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    activations = ("Relu", "Tanh", "Sigmoid", "Softplus")
    paths = []
    for index in range(number):
        width = 4 + index % 13
        weight = rng.normal(size=(width, 8)).astype(np.float32)
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node(activations[index % 4], ["product"], ["active"]),
            helper.make_node("Softmax", ["active"], ["y"]),
        ]
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", [2, width]), ("y", [2, 8]))
        ]
        graph = helper.make_graph(
            nodes, "small", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        paths.append(folder / f"model_{index:04}.onnx")
        save(model, paths[-1])
    return paths


def _process(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return the wall and CPU seconds of a process, those of its children included."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    started_s = time.perf_counter()
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started_s
    if process.returncode:
        raise SystemExit((folder / "output.txt").read_text()[-3000:])
    return wall_s, usage.ru_utime + usage.ru_stime


def _bare(folder: Path, models: Sequence[Path]) -> tuple[float, float]:
    return _process(["-c", _BARE, str(folder / "bare"), *map(str, models)], folder)


def _ours(folder: Path) -> tuple[tuple[float, float], list[tuple[float, float]]]:
    options = ("-q", "-p", "no:cacheprovider", "--trt-arch=cpu", f"--trt-cache-dir={folder}/cache")
    seconds = _process(["-m", "pytest", *options], folder)
    return seconds, json.loads((folder / "marks.json").read_text())


def _growth(marks: Sequence[tuple[float, float]], column: int) -> str:
    first, last = (
        statistics.median(mark[column] for mark in part) for part in (marks[10:110], marks[-100:])
    )
    return f"{first * 1000:9.1f}{last * 1000:9.1f}{last / first:9.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=4000)
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = _write_models(folder / "models", arguments.models)
        (folder / "test_models.py").write_text(_TEST.format(precision=arguments.precision))
        (folder / "conftest.py").write_text(_CONFTEST)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "bare").mkdir()
        time.sleep(REST_NS / 1e9)
        before = _bare(folder, models[::2])
        runs = {"built": _ours(folder)}
        after = _bare(folder, models[1::2])
        runs["hit"] = _ours(folder)
        bare = [one + other for one, other in zip(before, after, strict=True)]
        print(f"{len(models)} models, {arguments.precision}, one cache")
        titles = ("", "bare s", "ours s", "ratio", "first ms", "last ms", "ratio")
        print("".join(f"{title:>9}" for title in titles))
        for title, (seconds, marks) in runs.items():
            for column, kind in enumerate(("wall", "CPU")):
                print(
                    f"{f'{title} {kind}':<9}{bare[column]:9.1f}{seconds[column]:9.1f}"
                    f"{seconds[column] / bare[column]:9.2f}{_growth(marks, column)}"
                )


if __name__ == "__main__":
    main()
