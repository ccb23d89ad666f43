"""What a run of thousands of models costs, beside ONNX Runtime alone doing the same work.

The models are those of ONNX's own backend tests with float32 inputs, generated here, again and
again (copies differ in a version, so each is another model); the last hundred are the first
hundred. One test runs over them in one empty cache: each engine is built, loaded, run twice on the
case's inputs and compared with the FP32 reference. Bare ONNX Runtime builds (loads the model and
writes the optimised one), loads and runs each of them twice. It does so in a process of its own
before every hundred tests, with the models of these tests, and its time is not part of ours: other
work on the machine slows both.

With `--all-cases` the models are those of all cases that bare ONNX Runtime runs, each once in fp32
and once in fp16: tests may fail there, as FP16 overflows, and models that FP16 changes nothing in
are refused. Bare ONNX Runtime converts to FP16 with the converter of its own package, which leaves
inputs and outputs as they are; what that or the optimised model cannot do is counted, and the time
until then.

Printed are the ratio of the whole runs (start of the process, collection and summary included;
target: at most 5), and how a test grows with the number of cached engines: the median milliseconds
of the first and of the last hundred tests, and their ratio (target: at most 1.2). A second run
finds every engine. Wall time includes waiting for the disk and for other work on the machine; CPU
time neither, so it shows growth also on a busy machine.

The digests of models that were left alone for a minute are stored, so the models are given that
minute first: all tests then do the same. Python's modules are compiled before. Delete no thousands
of files in the minutes before: ext4 without a journal then takes 0.8 ms instead of 0.02 to create
a file, as it passes over each inode that was freed within the last one to six minutes, and a test
creates five files or folders. Source: linux/fs/ext4/ialloc.c, recently_deleted.

Run: python tests/benchmarks/many_models.py [--models 4000] [--precision fp32] [--all-cases]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from backend_data import cases
from onnx import TensorProto, numpy_helper, save
from onnx.backend.test.loader import load_model_tests
from processes import with_bytecode

from pytest_trt.files import REST_NS

_ROOT = Path(__file__).parents[2]

#: Plugins that are left out, as their time is not ours.
_OTHERS = {entry.name for entry in entry_points(group="pytest11")} - {"trt"}

_TEST = """
import pickle
from pathlib import Path
import pytest

HERE = Path(__file__).parent
INPUTS = pickle.loads((HERE / "inputs.pickle").read_bytes())

def case(path, precision):
    return pytest.param(path.stem, marks=pytest.mark.trt_model(path, precision=precision))

MODELS = sorted(HERE.glob("models/*.onnx"))

@pytest.mark.parametrize("model", [case(path, one) for path in MODELS for one in {precisions}])
@pytest.mark.trt_consistency(rtol=0.05, atol=0.05)
def test_same_answers(model, trt_session):
    trt_session.run(INPUTS[model])
    trt_session.run(INPUTS[model])
"""

#: Runs bare ONNX Runtime before every hundred tests, and writes the wall and CPU seconds of each
#: test, each bare process and each model in it.
_CONFTEST = """
import json, os, subprocess, sys, time
from pathlib import Path
import pytest

HERE = Path(__file__).parent
PATHS = sorted(map(str, HERE.glob("models/*.onnx")))
MODELS = [(precision, path) for path in PATHS for precision in {precisions}]
tests, bare = [], []

def now():
    return time.perf_counter(), time.process_time()

def run_bare(models):
    before_s = time.perf_counter()
    command = [sys.executable, HERE / "bare.py", HERE / "bare", json.dumps(models)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    out = process.stdout.read()
    _, process.returncode, usage = os.wait4(process.pid, 0)
    spent = time.perf_counter() - before_s, usage.ru_utime + usage.ru_stime
    seconds, refused = json.loads(out)
    bare.append(dict(process=spent, models=seconds, refused=refused))

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    if len(tests) % 100 == 0:
        run_bare(MODELS[len(tests) : len(tests) + 100])
    before = now()
    result = yield
    tests.append([after - one for after, one in zip(now(), before)])
    return result

def pytest_sessionfinish(session):
    seconds = dict(tests=tests, bare=bare, failed=session.testsfailed)
    (HERE / "seconds.json").write_text(json.dumps(seconds))
"""

_BARE = """
import json, pickle, sys, time
from pathlib import Path
import onnxruntime as ort

def now():
    return time.perf_counter(), time.process_time()

def run(model, plan, inputs):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    options.optimized_model_filepath = plan
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session = ort.InferenceSession(plan, providers=["CPUExecutionProvider"])
    for _ in range(2):
        outputs = session.run(None, inputs)
    return outputs

def run_fp16(model, plan, inputs):
    converted = float16.convert_float_to_float16(onnx.load(model), keep_io_types=True)
    onnx.save(converted, plan + ".fp16")
    run(plan + ".fp16", plan, inputs)

if __name__ == "__main__":
    ort.set_default_logger_severity(4)
    folder, models, seconds, refused = Path(sys.argv[1]), json.loads(sys.argv[2]), [], []
    inputs = pickle.loads((folder.parent / "inputs.pickle").read_bytes())
    if any(precision == "fp16" for precision, _ in models):
        import onnx
        from onnxruntime.transformers import float16
    for precision, model in models:
        before = now()
        try:
            work = run_fp16 if precision == "fp16" else run
            work(model, str(folder / Path(model).name), inputs[Path(model).stem])
        except Exception:
            refused.append(model)
        seconds.append([after - one for after, one in zip(now(), before)])
    print(json.dumps([seconds, refused]))
"""

#: Operators that draw random numbers.
_RANDOM = re.compile("bernoulli|dropout|multinomial|random", re.IGNORECASE)

#: Cases whose tests fail, and try advice: ONNX Runtime 1.32 optimises them to other outputs, or
#: they have NaN in a type that NumPy lacks.
_WRONG = re.compile("attention_4d_with_past_and_present_qk_matmul_bias_.*_expanded|FLOAT8E4M3FN$")


def _write_models(folder: Path, number: int) -> None:
    """Write models that ONNX Runtime runs, and their inputs."""
    bare: dict[str, Any] = {"__name__": "bare"}
    exec(_BARE, bare)
    bare["ort"].set_default_logger_severity(4)
    (folder / "models").mkdir()
    found: list[tuple[Any, dict[str, Any]]] = []
    for case in load_model_tests(kind="node"):
        types = {value.type.tensor_type.elem_type for value in case.model.graph.input}
        names = [value.name for value in case.model.graph.input]
        feeds = dict(zip(names, map(_array, case.data_sets[0][0]), strict=False))
        save(case.model, folder / "trial.onnx")
        try:
            outputs = bare["run"](str(folder / "trial.onnx"), str(folder / "plan.onnx"), feeds)
        except Exception:  # not implemented on the CPU
            continue
        excluded = _RANDOM.search(case.name) or _WRONG.search(case.name)
        if types == {TensorProto.FLOAT} and not excluded and all(map(_is_comparable, outputs)):
            found.append((case, feeds))
    inputs: dict[str, dict[str, Any]] = {}
    for case, feeds in [*itertools.islice(itertools.cycle(found), number - 100), *found[:100]]:
        name = f"m{len(inputs):04}_{case.name}"
        case.model.producer_version = str(len(inputs))
        save(case.model, folder / "models" / f"{name}.onnx")
        inputs[name] = feeds
    (folder / "inputs.pickle").write_bytes(pickle.dumps(inputs))


def _write_all_cases(folder: Path) -> None:
    """Write the model of each case that bare ONNX Runtime runs, and its inputs."""
    bare: dict[str, Any] = {"__name__": "bare"}
    exec(_BARE, bare)
    (folder / "models").mkdir()
    inputs: dict[str, dict[str, Any]] = {}
    for case in cases(folder / "models"):
        try:
            bare["run"](str(case.path), str(folder / "plan.onnx"), case.inputs)
        except Exception:  # not implemented on the CPU, or of types that NumPy lacks
            case.path.unlink()
        else:
            inputs[case.name] = case.inputs
    (folder / "inputs.pickle").write_bytes(pickle.dumps(inputs))


def _is_comparable(output: Any) -> bool:
    """Whether a test can pass with this output: NaN, Inf and empty outputs fail it."""
    is_number = isinstance(output, np.ndarray) and output.dtype.kind in "biuf"
    return not is_number or bool(output.size and np.isfinite(output).all())


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _pytest(folder: Path, *arguments: str, cache: str = "cache") -> tuple[float, float]:
    """Return the wall and CPU seconds of a run, those of its children included."""
    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "--trt-arch=cpu",
        f"--trt-cache-dir={folder}/{cache}",
    )
    others = (f"-pno:{name}" for name in sorted(_OTHERS))
    # Otherwise pytest would look for tests in every folder of the cache.
    command = [sys.executable, "-m", "pytest", "test_models.py", *options, *others, *arguments]
    environment = with_bytecode(_ROOT, folder)
    started_s = time.perf_counter()
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started_s
    if process.returncode not in (0, 1):  # tests may fail
        raise SystemExit((folder / "output.txt").read_text()[-3000:])
    return wall_s, usage.ru_utime + usage.ru_stime


def _report(title: str, folder: Path) -> None:
    whole = _pytest(folder)
    seconds = json.loads((folder / "seconds.json").read_text())
    if seconds["failed"]:
        print(f"{title}: {seconds['failed']} tests failed")
    refused = sum(len(one["refused"]) for one in seconds["bare"])
    if refused:
        print(f"{title}: bare ONNX Runtime refused {refused} models")
    for column, kind in enumerate(("wall", "CPU")):
        tests = [test[column] for test in seconds["tests"]]
        processes = [one["process"][column] for one in seconds["bare"]]
        models = [[model[column] for model in one["models"]] for one in seconds["bare"]]
        # It needs one process for all, which starts once.
        bare_s = sum(map(sum, models)) + processes[0] - sum(models[0])
        ours_s = whole[column] - sum(processes)
        first, last = (statistics.median(part) for part in (tests[:100], tests[-100:]))
        print(
            f"{title:<7}{kind:<5}{bare_s:>9.1f}{ours_s:>9.1f}{ours_s / bare_s:>8.2f}"
            f"{first * 1000:>12.1f}{last * 1000:>12.1f}{last / first:>8.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=4000, help="a multiple of 100")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--all-cases", action="store_true", help="each once in fp32 and fp16")
    arguments = parser.parse_args()
    precisions = ("fp32", "fp16") if arguments.all_cases else (arguments.precision,)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "bare").mkdir()
        if arguments.all_cases:
            _write_all_cases(folder)
        else:
            _write_models(folder, arguments.models)
        (folder / "test_models.py").write_text(_TEST.format(precisions=precisions))
        (folder / "conftest.py").write_text(_CONFTEST.format(precisions=precisions))
        (folder / "bare.py").write_text(_BARE)
        (folder / "pytest.ini").write_text("[pytest]\n")
        time.sleep(REST_NS / 1e9)
        models = len(list((folder / "models").iterdir()))
        print(f"{models} models, {', '.join(precisions)}, one cache")
        print(
            f"{'':<12}{'bare s':>9}{'ours s':>9}{'ratio':>8}"
            f"{'first ms':>12}{'last ms':>12}{'growth':>8}"
        )
        _pytest(folder, "-k0000 or test_abs", cache="other")  # compiles what is imported
        _report("built", folder)
        _report("cached", folder)
        engines = len(list((folder / "cache" / "v1" / "engines").iterdir()))
        print(f"{engines} engines in the cache")


if __name__ == "__main__":
    main()
