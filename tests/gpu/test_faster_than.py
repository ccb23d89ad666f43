"""`faster_than` on a real GPU: FP16 of TensorRT against FP32, and against ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from builders_networks import model, value, weights
from onnx import helper

pytestmark = pytest.mark.gpu

#: Rows of inputs and of each of the matrices: enough for FP16 to be several times as fast.
SIZE = 1024

TESTS = f"""
import numpy as np
import pytest

pytestmark = pytest.mark.trt_model("matmuls.onnx", precision="fp16")
X = np.ones(({SIZE}, {SIZE}), np.float32)


@pytest.mark.trt_benchmark(faster_than={{"fp32": 1.2, "onnxruntime": 2}}, mode="graph")
def test_faster(trt_benchmark):
    trt_benchmark({{"x": X}})


@pytest.mark.trt_benchmark(faster_than={{"fp32": 1000}})
def test_not_so_much_faster(trt_benchmark):
    trt_benchmark({{"x": X}})
"""


def save_matmuls(path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", [given, weight], [made])
        for given, weight, made in (("x", "a", "xa"), ("xa", "b", "xab"), ("xab", "c", "y"))
    ]
    matrices = [weights(name, SIZE, SIZE, scale=0.02, seed=seed) for seed, name in enumerate("abc")]
    x, y = value("x", [SIZE, SIZE]), value("y", [SIZE, SIZE])
    onnx.save(model(nodes, [x], [y], matrices), path)


def test_fp16_is_faster_than_fp32_and_the_cpu_but_not_a_thousand_times(
    gpu, inner_pytest, tmp_path: Path
) -> None:
    save_matmuls(tmp_path / "matmuls.onnx")
    (tmp_path / "test_it.py").write_text(TESTS)
    # Of a slow CPU, few rounds of few calls are enough.
    done = inner_pytest(tmp_path, "--trt-benchmark-time=1", "--trt-report=report.json")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*x as fast as fp32, limit 1,000x (matmuls.onnx, fp16, sm*TRT517]"])
    report = json.loads((tmp_path / "report.json").read_text())
    speeds = [one["speed"]["speedups"] for test in report["tests"] for one in test["results"]]
    (fp32, cpu), (again,) = speeds
    assert (fp32["mode"], again["mode"], cpu["mode"]) == ("graph", "graph", "end_to_end")
    assert fp32["ran"].startswith(f"matmuls.onnx, fp32, {gpu.arch}, TensorRT ")
    assert cpu["ran"].startswith("matmuls.onnx, fp32, cpu, ONNX Runtime ")
    assert (fp32["outcome"], cpu["outcome"], again["outcome"]) == ("passed", "passed", "failed")
