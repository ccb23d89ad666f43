"""What building and starting cost on a GPU: timing cache and warm start. Needs TensorRT.

- A ResNet-50 is built in FP16, then one with other weights: the second finds its kernels timed.
- `pytest` on that ResNet-50, everything cached, from the start of the process to the first verdict,
  against one process that does barely what cannot be saved: import TensorRT, create the CUDA
  context, deserialise. Both alternate; medians. No other plugin is loaded, as each adds its own
  start (hypothesis, pytest-xdist and pytest-benchmark 0.05 s together on an H200's host); how long
  an empty test takes says what is pytest's own.

Run: PYTHONPATH=.:tests python tests/benchmarks/gpu_start.py [--json FILE] [--only warm]
     [--keep DIR]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from figures import Figures
from gpu_engines import built, model_of

ROUNDS = 7

BARE = """
import sys, time
from cuda.bindings import runtime as cuda
started = time.perf_counter()
import tensorrt as trt
imported = time.perf_counter()
cuda.cudaFree(0)
context = time.perf_counter()
logger = trt.Logger(trt.Logger.ERROR)
runtime = trt.Runtime(logger)
engine = runtime.deserialize_cuda_engine(open(sys.argv[1], "rb").read())
ready = engine.create_execution_context()
done = time.perf_counter()
print(imported - started, context - imported, done - context)
"""

TEST = """
import pytest

pytestmark = pytest.mark.trt_model(
    "resnet50-0.onnx", precision="fp16",
    profiles={"image": ((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))},
)

@pytest.mark.trt_consistency
@pytest.mark.parametrize("trt_shape", ["opt"])
def test_same_answers(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""

CONFTEST = """
import os, time

def pytest_runtest_logreport(report):
    if report.when == "call":
        print(f"\\nverdict {report.outcome} {time.time() - float(os.environ['STARTED'])}")
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="timing,warm")
    parser.add_argument("--keep", type=Path, help="an empty folder for what is built, to be kept")
    options = parser.parse_args()
    figures, chosen = Figures(options.json), options.only.split(",")
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if "timing" in chosen:
            timing_cache(figures, folder)
        if "warm" in chosen:
            warm_start(figures, folder)


def timing_cache(figures: Figures, folder: Path) -> None:
    first = built("resnet50", "fp16", folder, seed=0)
    second = built("resnet50", "fp16", folder, seed=1)
    assert not first.engine.cached
    assert not second.engine.cached
    for session in (first.session, second.session):
        session.close()
    figures.add("resnet50 fp16: first build", first.engine.facts.build_s, "s")
    figures.add("resnet50 fp16: build of an equal network", second.engine.facts.build_s, "s")
    ratio = first.engine.facts.build_s / second.engine.facts.build_s
    figures.add("resnet50 fp16: first build over the next", ratio, "x", "at least 3")


def warm_start(figures: Figures, folder: Path) -> None:
    project = folder / "project"
    project.mkdir()
    model = model_of("resnet50", folder)
    (project / model.name).symlink_to(model)
    (project / "test_resnet.py").write_text(TEST)
    (project / "conftest.py").write_text(CONFTEST)
    cache, plan = folder / "cache", built("resnet50", "fp16", folder).plan
    empty = folder / "empty"
    empty.mkdir()
    (empty / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    (empty / "conftest.py").write_text(CONFTEST)
    start_of_pytest(project, cache)  # computes the reference
    whole, bare, nothing = [], [], []
    parts: list[list[float]] = []
    for _ in range(ROUNDS):
        whole.append(start_of_pytest(project, cache))
        nothing.append(start_of_pytest(empty, cache))
        done = subprocess.run(
            [sys.executable, "-c", BARE, str(plan)], capture_output=True, text=True, check=True
        )
        parts.append([float(part) for part in done.stdout.split()])
        bare.append(sum(parts[-1]))
    for what, seconds in zip(
        ("import TensorRT", "create the CUDA context", "deserialise"),
        map(statistics.median, zip(*parts, strict=True)),
        strict=True,
    ):
        figures.add(f"barely: {what}", seconds, "s")
    figures.add("pytest's start to the verdict of an empty test", statistics.median(nothing), "s")
    figures.add("pytest's start to the first verdict", statistics.median(whole), "s")
    beyond = statistics.median(a - b for a, b in zip(whole, bare, strict=True))
    figures.add("warm start beyond what cannot be saved", beyond, "s", "at most 0.5")


def start_of_pytest(project: Path, cache: Path) -> float:
    plugins = ["-p", "pytest_trt.plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-s", "-q", *plugins]
    # Without compiled modules each start would compile pytest, NumPy and ONNX anew.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "STARTED": str(time.time())}
    done = subprocess.run(
        [*command, f"--trt-cache-dir={cache}", "--rootdir", str(project), str(project)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("verdict")] or [""]
    if not line.startswith("verdict passed"):
        raise SystemExit(f"the test did not pass:\n{done.stdout}\n{done.stderr}")
    return float(line.split()[-1])


if __name__ == "__main__":
    main()
